// SPDX-License-Identifier: MIT
/*
 * The log: a ring in memory that the control domain can read, and the serial port. Every line gets
 * the prefix "(PV) ". Lines that guests cause are limited per domain, so that no guest can drown
 * the others' messages or slow the machine down by its serial port. Lock: log_lock (RANK_CONSOLE);
 * what each domain paid is under it too. After log_panic_mode() nothing locks any more.
 */
#include "base/log.h"

#include "arch/arch.h"
#include "base/cmdline.h"
#include "base/config.h"
#include "base/format.h"
#include "base/lock.h"
#include "base/string.h"
#include "core/domain.h"

#define LINE_BYTES 512
#define GUEST_LINE_NS (NS_PER_SEC / 4)
#define GUEST_BURST_NS (32 * GUEST_LINE_NS)
#define PREFIX "(PV) "

static struct spinlock log_lock = SPINLOCK_INIT(RANK_CONSOLE);
/* under log_lock */
static char ring[LOG_BYTES];
static uint32_t ring_end, ring_start; /* free-running; bytes [start, end) are valid */
static bool in_line;                  /* the last byte written was no newline */

static ns_t nobody_paid; /* for messages without a known domain */

static bool panicking;

static void lock(void)
{
    if (!panicking) {
        spin_lock(&log_lock);
    }
}

static void unlock(void)
{
    if (!panicking) {
        spin_unlock(&log_lock);
    }
}

/* `asked`: output somebody wants to see, not messages of ours that may stay in memory. Only these
 * are kept: a tool that prints the log to the console would find what it prints, and never end. */
static void emit_locked(const char *s, size_t bytes, bool asked)
{
    for (size_t i = 0; i < bytes && !asked; i++) {
        ring[ring_end++ % LOG_BYTES] = s[i];
    }
    if (ring_end - ring_start > LOG_BYTES) {
        ring_start = ring_end - LOG_BYTES;
    }
    if (asked || panicking || strcmp(cmdline.loglvl, "none")) {
        arch_console_put(s, bytes);
    }
    in_line = s[bytes - 1] != '\n';
}

/* Text of our own: with the prefix at each start of a line. */
static void emit_lines_locked(const char *s)
{
    while (*s) {
        const char *newline = strchr(s, '\n');
        size_t bytes = newline ? (size_t)(newline - s) + 1 : strlen(s);
        if (!in_line) {
            emit_locked(PREFIX, sizeof(PREFIX) - 1, false);
        }
        emit_locked(s, bytes, false);
        s += bytes;
    }
}

void vprintk(const char *fmt, va_list ap)
{
    char line[LINE_BYTES];
    (void)format_va(line, sizeof(line), fmt, ap);
    lock();
    emit_lines_locked(line);
    unlock();
}

void printk(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprintk(fmt, ap);
    va_end(ap);
}

/* A line is paid for with time, up to a burst in advance: *paid is the moment up to which the lines
 * so far have used it up. */
static bool pay_locked(ns_t *paid)
{
    ns_t now = arch_now_ns(), after = MAX(*paid, now) + GUEST_LINE_NS;
    if (after > now + GUEST_BURST_NS) {
        return false;
    }
    *paid = after;
    return true;
}

void log_guest(struct domain *d, const char *fmt, ...)
{
    char line[LINE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int length = d ? format(line, sizeof(line), "d%u: ", (unsigned)d->id) : 0;
    (void)format_va(line + length, sizeof(line) - (size_t)length, fmt, ap);
    va_end(ap);
    lock();
    if (pay_locked(d ? &d->log_paid : &nobody_paid) || !strcmp(cmdline.loglvl, "all")) {
        emit_lines_locked(line);
        if (in_line) {
            emit_locked("\n", 1, false);
        }
    }
    unlock();
}

void log_regs(const struct cpu_user_regs *regs)
{
    printk("vector %u error %04x cs:rip %04x:%016lx rflags %08lx\n", regs->entry_vector,
           regs->error_code, regs->cs, regs->rip, regs->rflags);
    printk("rax %016lx rbx %016lx rcx %016lx\n", regs->rax, regs->rbx, regs->rcx);
    printk("rdx %016lx rsi %016lx rdi %016lx\n", regs->rdx, regs->rsi, regs->rdi);
    printk("rbp %016lx rsp %04x:%016lx\n", regs->rbp, regs->ss, regs->rsp);
    printk("r8  %016lx r9  %016lx r10 %016lx\n", regs->r8, regs->r9, regs->r10);
    printk("r11 %016lx r12 %016lx r13 %016lx\n", regs->r11, regs->r12, regs->r13);
    printk("r14 %016lx r15 %016lx\n", regs->r14, regs->r15);
}

void log_raw(const char *s, size_t bytes)
{
    lock();
    emit_locked(s, bytes, true);
    unlock();
}

size_t log_read(char *dst, size_t bytes, uint32_t *index)
{
    lock();
    uint32_t at = *index;
    if (at - ring_start > ring_end - ring_start) {
        at = ring_start; /* overwritten since, or never was */
    }
    size_t count = MIN(bytes, (size_t)(ring_end - at));
    for (size_t i = 0; i < count; i++) {
        dst[i] = ring[at++ % LOG_BYTES];
    }
    *index = at;
    unlock();
    return count;
}

void log_clear(void)
{
    lock();
    ring_start = ring_end;
    unlock();
}

void log_panic_mode(void)
{
    panicking = true;
}
