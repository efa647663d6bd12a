/* As much of JSON as our messages need: a text is read into a tree, and strings are written with their escapes. */

#pragma once

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One value. Members and elements are a list: `first`, and from there `next`; a member has a `key`. */
struct Json {
    enum Kind { NOTHING, FALSE, TRUE, NUMBER, TEXT, LIST, MAP } kind = NOTHING;
    double number = 0;
    char *text = nullptr;
    char *key = nullptr;
    Json *first = nullptr;
    Json *next = nullptr;

    ~Json() {
        free(text);
        free(key);
        delete first;
        for (Json *rest = next; rest;) {
            Json *after = rest->next;
            rest->next = nullptr;
            delete rest;
            rest = after;
        }
    }

    /* The member of this name; a value that is nothing where there is none. */
    const Json &operator[](const char *name) const {
        static const Json nothing;
        for (const Json *one = kind == MAP ? first : nullptr; one; one = one->next)
            if (!strcmp(one->key, name))
                return *one;
        return nothing;
    }

    const char *words() const { return kind == TEXT ? text : ""; }
    long whole() const { return kind == NUMBER && fabs(number) < 1e15 ? (long)number : 0; }
    bool yes() const { return kind == TRUE; }

    int count() const {
        int found = 0;
        for (const Json *one = first; one; one = one->next)
            found++;
        return found;
    }
};

class JsonReader {
public:
    /* The tree, to be deleted; null for what is no JSON. `text` ends with a zero. */
    static Json *read(const char *text) {
        JsonReader reader(text);
        Json *value = reader.value(0);
        reader.skip();
        if (reader.failed || *reader.at) {
            delete value;
            return nullptr;
        }
        return value;
    }

private:
    static const int DEEPEST = 32; /* our messages are six deep */

    explicit JsonReader(const char *text) : at(text) {}

    const char *at;
    bool failed = false;

    void skip() { at += strspn(at, " \t\r\n"); }

    bool take(char wanted) {
        skip();
        if (*at != wanted)
            return false;
        at++;
        return true;
    }

    bool take_word(const char *word) {
        size_t length = strlen(word);
        if (strncmp(at, word, length))
            return false;
        at += length;
        return true;
    }

    Json *value(int depth) {
        Json *made = new Json;
        skip();
        if (depth > DEEPEST)
            failed = true;
        else if (*at == '{' || *at == '[')
            members(made, depth);
        else if (*at == '"') {
            made->kind = Json::TEXT;
            made->text = string();
        } else if (take_word("true"))
            made->kind = Json::TRUE;
        else if (take_word("false"))
            made->kind = Json::FALSE;
        else if (!take_word("null"))
            number(made);
        return made;
    }

    void number(Json *made) {
        char *end;
        made->kind = Json::NUMBER;
        made->number = strtod(at, &end);
        failed = failed || end == at;
        at = end;
    }

    void members(Json *made, int depth) {
        const bool is_map = *at++ == '{';
        const char close = is_map ? '}' : ']';
        made->kind = is_map ? Json::MAP : Json::LIST;
        Json **place = &made->first;
        if (take(close))
            return;
        do {
            skip();
            char *key = is_map ? string() : nullptr;
            if (is_map && !take(':'))
                failed = true;
            *place = value(depth + 1);
            (*place)->key = key;
            place = &(*place)->next;
        } while (!failed && take(','));
        if (!take(close))
            failed = true;
    }

    /* What stands between the quotes, its escapes as UTF-8: never longer than it was. */
    char *string() {
        if (*at != '"') {
            failed = true;
            return strdup("");
        }
        const char *start = ++at;
        while (*at && *at != '"')
            at += *at == '\\' && at[1] ? 2 : 1;
        char *made = (char *)malloc(at - start + 1), *to = made;
        for (const char *from = start; from < at;)
            to = *from == '\\' ? escaped(&from, to) : (*to = *from++, to + 1);
        *to = 0;
        failed = failed || *at != '"';
        at += *at == '"';
        return made;
    }

    char *escaped(const char **from, char *to) {
        static const char names[] = "nrtbf", meanings[] = "\n\r\t\b\f";
        const char *place = strchr(names, (*from)[1]);
        if ((*from)[1] != 'u') {
            *to = place ? meanings[place - names] : (*from)[1];
            *from += 2;
            return to + 1;
        }
        uint32_t code = unit(*from);
        *from += 6;
        if (code >> 10 == 0xD8 >> 2 && (*from)[0] == '\\' && (*from)[1] == 'u') { /* the first of a pair */
            code = 0x10000 + ((code & 0x3FF) << 10) + (unit(*from) & 0x3FF);
            *from += 6;
        }
        return utf8(code, to);
    }

    /* The number of \uXXXX. */
    uint32_t unit(const char *from) {
        char digits[5] = {};
        strncpy(digits, from + 2, 4);
        char *end;
        uint32_t code = strtoul(digits, &end, 16);
        failed = failed || end != digits + 4;
        return code;
    }

    static char *utf8(uint32_t code, char *to) {
        const int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        static const uint8_t leads[] = {0, 0xC0, 0xE0, 0xF0};
        *to++ = (char)(leads[more] | code >> 6 * more);
        for (int rest = more; rest--;)
            *to++ = (char)(0x80 | (code >> 6 * rest & 0x3F));
        return to;
    }
};

/* A text that grows. */
class JsonWriter {
public:
    ~JsonWriter() { free(text); }
    const char *c_str() const { return text ? text : ""; }
    size_t length() const { return used; }

    JsonWriter &raw(const char *added) { return put(added, strlen(added)); }

    JsonWriter &number(double value) {
        char digits[32];
        snprintf(digits, sizeof digits, "%.17g", value);
        return raw(digits);
    }

    JsonWriter &whole(unsigned long long value) {
        char digits[32];
        snprintf(digits, sizeof digits, "%llu", value);
        return raw(digits);
    }

    JsonWriter &string(const char *value) {
        raw("\"");
        for (; *value; value++) {
            char escape[8] = {*value};
            if (*value == '"' || *value == '\\')
                snprintf(escape, sizeof escape, "\\%c", *value);
            else if ((unsigned char)*value < 0x20 || (unsigned char)*value > 0x7E)
                snprintf(escape, sizeof escape, "\\u%04x", (unsigned char)*value);
            raw(escape);
        }
        return raw("\"");
    }

private:
    char *text = nullptr;
    size_t used = 0, room = 0;

    JsonWriter &put(const char *added, size_t length) {
        if (used + length >= room) {
            room = 2 * (used + length) + 64;
            text = (char *)realloc(text, room);
        }
        memcpy(text + used, added, length + 1);
        used += length;
        return *this;
    }
};
