/* A plugin of qemu (plugin interface 1) that counts guest instructions, one count for every guest thread.
 *
 * A guest thread that calls getpriority(MARKER, descriptor) gets its own count so far as eight bytes, in the order
 * of the machine, written to that descriptor: an end of a pipe, of which it reads the other one. Where no plugin
 * is, the same call is an error that does nothing. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define MARKER 0x51454d55 /* "QEMU": no value that getpriority knows */
#define GETPRIORITY 141   /* its number on ARM64 */
#define MOST_THREADS 4096 /* threads beyond share a count, which is then no thread's */
#define LINE 64           /* bytes that processors keep in step: counts in one of them would slow each other */

/* What qemu gives its plugins, as far as it is used here. */
typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
enum { NO_REGISTERS = 0 };
typedef void (*executed_t)(unsigned int vcpu, void *data);
typedef void (*translated_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *block);
typedef void (*called_t)(qemu_plugin_id_t id, unsigned int vcpu, int64_t number, uint64_t a1, uint64_t a2,
                         uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, executed_t callback, int flags, void *data);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, translated_t callback);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t id, called_t callback);

EXPORT int qemu_plugin_version = 1;

static struct {
    uint64_t instructions;
    char rest[LINE - sizeof(uint64_t)];
} threads[MOST_THREADS] __attribute__((aligned(LINE)));

static void executed(unsigned int vcpu, void *data) {
    threads[vcpu % MOST_THREADS].instructions += (uintptr_t)data;
}

/* A block's own count goes with it as the data of its callback, which so needs no look-up. */
static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
    (void)id;
    uintptr_t instructions = qemu_plugin_tb_n_insns(block);
    qemu_plugin_register_vcpu_tb_exec_cb(block, executed, NO_REGISTERS, (void *)instructions);
}

static void called(qemu_plugin_id_t id, unsigned int vcpu, int64_t number, uint64_t which, uint64_t descriptor,
                   uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    (void)id, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number != GETPRIORITY || which != MARKER)
        return;
    uint64_t count = threads[vcpu % MOST_THREADS].instructions;
    /* The guest's descriptors are the emulator's own. A count that is not written is missed by who reads it. */
    ssize_t written = write((int)descriptor, &count, sizeof count);
    (void)written;
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
