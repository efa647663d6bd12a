/* Messages as edgepress/serving.py sends them: eight bytes with the length of a head, the head as JSON
 * {"text": ..., "arrays": [[dtype, shape], ...]}, and the arrays as they lie in memory. */

#pragma once

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"

static const int MOST_ARRAYS = 64, MOST_AXES = 8;
static const uint64_t LONGEST_HEAD = 1 << 24; /* a head is some kilobytes; more is no message of ours */

struct Array {
    char dtype[8] = "<f4";
    int axes = 0;
    int shape[MOST_AXES] = {};
    void *data = nullptr;

    ~Array() { free(data); }

    size_t elements() const {
        size_t found = 1;
        for (int axis = 0; axis < axes; axis++)
            found *= shape[axis];
        return found;
    }

    /* All numbers here have four bytes: others are refused before. */
    size_t bytes() const { return 4 * elements(); }
};

struct Arrays {
    Array items[MOST_ARRAYS];
    int count = 0;
};

static bool read_exactly(int from, void *to, size_t count) {
    for (char *place = (char *)to; count;) {
        ssize_t got = read(from, place, count);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        place += got;
        count -= got;
    }
    return true;
}

static bool write_exactly(int to, const void *from, size_t count) {
    for (const char *place = (const char *)from; count;) {
        ssize_t put = write(to, place, count);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        place += put;
        count -= put;
    }
    return true;
}

/* False for numbers that we do not take. */
static bool describe(const Json &told, Array *array) {
    if (told.count() != 2 || strcmp(told.first->words(), "<f4") != 0)
        return false;
    const Json *axis = told.first->next->first;
    for (array->axes = 0; axis; axis = axis->next) {
        if (array->axes == MOST_AXES || axis->whole() < 1 || axis->whole() > INT32_MAX)
            return false;
        array->shape[array->axes++] = (int)axis->whole();
    }
    return true;
}

/* The text of the next message, as JSON, to be deleted; null at the end, or for what is no message. */
static Json *receive(int from, Arrays *arrays) {
    uint64_t length;
    if (!read_exactly(from, &length, sizeof length) || length > LONGEST_HEAD)
        return nullptr;
    char *head = (char *)calloc(1, length + 1);
    Json *told = read_exactly(from, head, length) ? JsonReader::read(head) : nullptr;
    free(head);
    if (!told)
        return nullptr;
    bool whole = true;
    const Json *one = (*told)["arrays"].first;
    for (arrays->count = 0; whole && one; one = one->next) {
        if (arrays->count == MOST_ARRAYS) {
            whole = false;
            break;
        }
        Array *array = &arrays->items[arrays->count++];
        whole = describe(*one, array);
        free(array->data);
        array->data = whole ? malloc(array->bytes()) : nullptr;
        whole = array->data && read_exactly(from, array->data, array->bytes());
    }
    Json *text = whole ? JsonReader::read((*told)["text"].words()) : nullptr;
    delete told;
    return text;
}

static bool send(int to, const JsonWriter &text, const Arrays &arrays) {
    JsonWriter head;
    head.raw("{\"text\": ").string(text.c_str()).raw(", \"arrays\": [");
    for (int index = 0; index < arrays.count; index++) {
        const Array &array = arrays.items[index];
        head.raw(index ? ", [" : "[").string(array.dtype).raw(", [");
        for (int axis = 0; axis < array.axes; axis++)
            head.raw(axis ? ", " : "").whole(array.shape[axis]);
        head.raw("]]");
    }
    head.raw("]}");
    uint64_t length = head.length();
    bool sent = write_exactly(to, &length, sizeof length) && write_exactly(to, head.c_str(), length);
    for (int index = 0; index < arrays.count; index++)
        sent = sent && write_exactly(to, arrays.items[index].data, arrays.items[index].bytes());
    return sent;
}
