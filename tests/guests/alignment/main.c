/* SPDX-License-Identifier: MIT */
/*
 * The alignment-check flag: set by the guest, an access that is not aligned is its own exception
 * 17, from kernel and user mode, and its handler is entered without the flag. A hypercall made with
 * the flag set, with arguments that are not aligned, works: the hypervisor is never checked.
 * (QEMU's emulation checks nothing; there the accesses succeed.)
 */
#include "lib.h"

#define FLAG_AC (1UL << 18)

static uint64_t words[4];
static uint64_t handler_flags;

static bool hook(struct regs *regs)
{
    if (regs->vector == VEC_AC) {
        handler_flags = read_flags();
    }
    return false;
}

/* One word at `at`, with the flag set around it. */
static uint64_t checked_read(uint64_t at)
{
    uint64_t value;
    __asm__ volatile("pushf; orl $0x40000, (%%rsp); popf; mov (%1), %0; pushf;"
                     "andl $~0x40000, (%%rsp); popf"
                     : "=&r"(value)
                     : "r"(at)
                     : "memory", "cc");
    return value;
}

static uint64_t checked_call(uint64_t at)
{
    long rc = __HYPERVISOR_event_channel_op;
    __asm__ volatile("pushf; orl $0x40000, (%%rsp); popf; syscall; pushf; pop %%rbx;"
                     "push %%rbx; andl $~0x40000, (%%rsp); popf"
                     : "+a"(rc)
                     : "D"(EVTCHNOP_bind_ipi), "S"(at)
                     : "rcx", "r11", "rbx", "memory", "cc");
    return (uint64_t)rc;
}

static void tried(struct fault f, uint64_t at)
{
    if (f.vector == NO_FAULT) {
        CHECK_IS(f.value, *(volatile uint64_t *)at);
        return;
    }
    CHECK_FAULT(f, VEC_AC, 0);
    CHECK(f.regs.rflags & FLAG_AC);
    CHECK(!(handler_flags & FLAG_AC));
}

void test_main(void)
{
    uint64_t odd = (uint64_t)words + 3;
    memset(words, 0x5a, sizeof(words));
    user_tables_init();
    trap_hook = hook;
    CHECK_FAULT(try_call(checked_read, (uint64_t)words), NO_FAULT, 0);
    struct fault f = try_call(checked_read, odd);
    tried(f, odd);
    bool checks = f.vector == VEC_AC;
    say("alignment is %s", checks ? "checked" : "not checked here");
    CHECK_FAULT(try_user(checked_read, (uint64_t)words), NO_FAULT, 0);
    f = try_user(checked_read, odd);
    tried(f, odd);
    CHECK_IS(f.vector == VEC_AC, checks);

    struct evtchn_bind_ipi *bind = (struct evtchn_bind_ipi *)odd;
    memset(words, 0, sizeof(words));
    f = try_call(checked_call, odd);
    CHECK_FAULT(f, NO_FAULT, 0);
    CHECK_IS(f.value, 0);
    CHECK(bind->port > 0);
}
