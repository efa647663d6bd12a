/* What is taken of one inference: time, processor time, memory, and an emulator's count of instructions. */

#pragma once

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static double milliseconds(clockid_t clock) {
    timespec now;
    clock_gettime(clock, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static double wall_ms() { return milliseconds(CLOCK_MONOTONIC); }
static double processor_ms() { return milliseconds(CLOCK_PROCESS_CPUTIME_ID); }

/* A size of /proc/self/status, in kB; -1 where the system does not tell. */
static long status_kb(const char *key) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long found = -1;
    while (file && found < 0 && fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':')
            found = atol(line + strlen(key) + 1);
    if (file)
        fclose(file);
    return found;
}

/* A small file of /proc, to be freed; empty where there is none. */
static char *text_of(const char *path) {
    static const size_t MOST = 1 << 16;
    char *text = (char *)calloc(1, MOST + 1);
    FILE *file = fopen(path, "r");
    if (file) {
        text[fread(text, 1, MOST, file)] = 0;
        fclose(file);
    }
    return text;
}

/* The emulator's plugin, edgepress/emulation/instructions.c, answers through the pipe; nothing else does. */
class InstructionCounter {
public:
    InstructionCounter() { works = !pipe2(ends, O_NONBLOCK) && read_count() > 0; }

    bool available() const { return works; }

    /* Of this thread so far; 0 where nobody counts. */
    uint64_t read_count() {
        uint64_t count = 0;
        getpriority(MARKER, (id_t)ends[1]);
        return read(ends[0], &count, sizeof count) == sizeof count ? count : 0;
    }

private:
    static const int MARKER = 0x51454d55;
    int ends[2];
    bool works;
};
