// SPDX-License-Identifier: MIT
/*
 * arch/x86_64/entry.S and trap_entry.c, the very code of the product (real_code.h): from what the
 * processor leaves when a guest is interrupted or executes SYSCALL to what it finds when the guest
 * goes on. Nearly everything is compared with what pv/ makes of the same guest without them: in
 * the short ways, in those that give up on the way, and in those that call C throughout.
 */
#include <stdlib.h>
#include <string.h>

#include "core/evtchn.h"
#include "real_guest.h"
#include "suite.h"

#define NO_PORT 0xffffffff

static uint64_t lowest; /* short_lowest, as guests have it */

/* ---- one by one ---- */

static void test_short__bounces_to_the_kernel(void)
{
    begin();
    for (unsigned i = 0; i < 16; i++) {
        struct state s = plain_state(i & 1 ? TRAP_PF : i & 2 ? TRAP_UD : VECTOR_SYSCALL);
        s.kernel = (i & 3) && (i & 4);
        s.masked = i & 8;
        s.regs.error_code = i & 1 ? (i & 2) | PF_U : 0;
        s.regs.cs = s.kernel || !(i & 8) ? SEL_GUEST_CS64 : SEL_GUEST_CS32;
        s.shown_iopl = i & 8 ? 0x1000 : 0;
        check(&s, "");
        CU_ASSERT(real_run.steps < 150);
    }
    finish();
}

static void test_short__returns(void)
{
    begin();
    for (unsigned i = 0; i < 4; i++) {
        struct state s = iret_to(i & 1);
        s.masked = i & 2;
        if (i & 2) {
            s.frame[6] &= ~(uint64_t)X86_EFLAGS_IF;
        }
        check(&s, "");
        CU_ASSERT_EQUAL(real_run.end, REAL_IRET);
    }
    finish();
}

static void test_short__hypercalls(void)
{
    begin();
    struct state s = hypercall(__HYPERVISOR_xen_version, XENVER_version, 0);
    check(&s, "");
    s = hypercall(__HYPERVISOR_stack_switch, 0x1234e028, 0xffffc90000004000);
    check(&s, "");
    s = hypercall(__HYPERVISOR_xen_version, XENVER_changeset, area + 0x800);
    check(&s, "hypercall ");
    s = hypercall(63, 0, 0);
    check(&s, "hypercall ");
    s = hypercall(1UL << 32 | __HYPERVISOR_xen_version, XENVER_version, 0);
    check(&s, "hypercall ");
    s = hypercall(__HYPERVISOR_xen_version, XENVER_version, 0);
    s.regs.rcx = 0x0000800000000000; /* no SYSRET to there */
    check(&s, "syscall exit ");
    CU_ASSERT_EQUAL(real_run.end, REAL_IRET);
    s.regs.rcx = 0x401000;
    check(&s, "syscall exit ");
    CU_ASSERT_EQUAL(real_run.end, REAL_SYSRET);
    finish();
}

/* SYSRET would not load them. */
static void test_short__gates_with_other_selectors(void)
{
    begin();
    static const uint16_t selectors[] = {SEL_GUEST_CS32, 0x10, 0};
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(selectors); i++) {
        struct state s = plain_state(i % 2 ? TRAP_UD : TRAP_PF);
        s.regs.error_code = 0;
        s.trap.cs = selectors[i / 2];
        check(&s, "");
        CU_ASSERT_EQUAL(real_run.end, REAL_IRET);
        CU_ASSERT_EQUAL(real_run.regs.cs, selectors[i / 2] | 3);
    }
    finish();
}

/* To itself, as kernels send IPIs; the same port in both. */
static evtchn_port_t ipi_port(void)
{
    struct evtchn_bind_ipi bind = {.vcpu = 0};
    evtchn_port_t port = 0;
    for (unsigned way = PLAIN + 1; way-- > REAL;) {
        host_play(way);
        vaddr_t arg = host_guest_put(&bind, sizeof(bind));
        CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, arg, 0), 0);
        evtchn_port_t got = ((struct evtchn_bind_ipi *)host_guest_ptr(arg))->port;
        CU_ASSERT(way == PLAIN || got == port);
        port = got;
    }
    return port;
}

static void forget_events(void)
{
    for (unsigned way = REAL; way <= PLAIN; way++) {
        shared_info_t *shared = guest[way]->shared_info;
        memset(shared->evtchn_pending, 0, sizeof(shared->evtchn_pending));
        vcpu[way]->info->evtchn_pending_sel = 0;
    }
}

static void test_short__events(void)
{
    begin();
    uint32_t port = ipi_port();
    static const struct {
        bool bad_port, masked, seen;
        const char *calls;
    } cases[] = {{false, true, false, "send enter exit "},
                 {false, true, true, "send "},
                 {false, false, false, "send enter exit "},
                 {true, false, false, "send "}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct state s =
            hypercall(__HYPERVISOR_event_channel_op, EVTCHNOP_send, area + PAGE_SIZE + 0x800);
        s.regs.rsp = s.regs.rsi; /* what is at the stack pointer is the argument */
        s.frame[0] = cases[i].bad_port ? NO_PORT : port;
        s.masked = cases[i].masked;
        if (!cases[i].seen) {
            forget_events();
        }
        check(&s, cases[i].calls);
        CU_ASSERT_EQUAL(vcpu[REAL]->info->evtchn_pending_sel,
                        vcpu[PLAIN]->info->evtchn_pending_sel);
    }
    finish();
}

/* ---- what is not plain goes the long way, as if nothing had been tried ---- */

static void test_long__guests_out_of_the_ordinary(void)
{
    begin();
    struct state s = plain_state(VECTOR_SYSCALL);
    s.kernel = false;
    s.syscall.address = 0; /* to the gate of #UD, which there is none of */
    check(&s, "syscall ");
    finish();
    begin();
    s = plain_state(VECTOR_SYSCALL);
    s.kernel = false;
    s.syscall.mask_events = false;
    check(&s, "syscall exit ");
    s.syscall.mask_events = true;
    s.pending = true; /* and not masked: two frames */
    check(&s, "syscall exit ");
    s.pending = false;
    s.compat = true;
    check(&s, "syscall exit ");
    s = plain_state(TRAP_PF);
    s.regs.error_code = PF_P | PF_W; /* of a page table? */
    check(&s, "trap exit ");
    s.regs.error_code = PF_W;
    s.cr2 = 0xffff820000000000; /* where no guest has anything */
    check(&s, "trap exit ");
    s = plain_state(TRAP_UD);
    s.regs.rip = HOST_BAD_ADDR;
    check(&s, "trap exit ");
    s = plain_state(TRAP_DB);
    check(&s, "trap exit ");
    s = plain_state(TRAP_GP);
    check(&s, "trap exit ");
    s = iret_to(true);
    s.pending = true; /* comes at once */
    check(&s, "syscall exit ");
    s.pending = false;
    s.frame[3] = VGCF_in_syscall;
    check(&s, "syscall exit ");
    s.frame[3] = 0;
    s.frame[4] = 0x0000900000000000;
    s.vector = VECTOR_SYSCALL;
    s.trap = (struct trap_info){TRAP_GP, 0, SEL_GUEST_CS64, HANDLER};
    check(&s, "syscall "); /* no gate for it: a crash */
    finish();
}

/* Stacks that are not there, not aligned, or in the hypervisor's half. */
static void test_long__stacks(void)
{
    begin();
    struct state s = plain_state(VECTOR_SYSCALL);
    s.kernel = false;
    for (unsigned i = 1; i <= 9; i++) { /* each part of the frame, then none */
        s.fault = i;
        check(&s, i <= 8 ? "syscall exit " : "");
        CU_ASSERT_EQUAL(real_run.swaps, i <= 8 ? 2 : 1);
    }
    s = plain_state(TRAP_PF);
    for (unsigned i = 1; i <= 10; i++) {
        s.fault = i;
        check(&s, i <= 9 ? "trap exit " : "");
        CU_ASSERT_EQUAL(real_run.swaps, 0);
    }
    s = iret_to(true);
    for (unsigned i = 1; i <= 10; i++) {
        s.fault = i;
        check(&s, i <= 9 ? "syscall exit " : "");
    }
    s = plain_state(TRAP_PF);
    s.regs.rsp = area + 8; /* refused as the hypervisor's */
    short_lowest = area + PAGE_SIZE;
    s.regs.rsp = area + PAGE_SIZE - 1;
    check(&s, "trap exit ");
    s.regs.rsp = area + PAGE_SIZE + 15;
    check(&s, "");
    s = iret_to(false);
    s.regs.rsp = area + PAGE_SIZE - 8;
    check(&s, "syscall exit ");
    s.regs.rsp = area + PAGE_SIZE;
    check(&s, "");
    s = plain_state(TRAP_PF);
    short_lowest = lowest;
    check(&s, "trap exit "); /* in the lower half, as no kernel's is */
    s.regs.rsp = HYP_VIRT_END + 0xf8;
    check(&s, "trap ");
    CU_ASSERT_EQUAL(real_run.accesses, 0);
    finish();
    begin();
    s = plain_state(VECTOR_SYSCALL);
    s.kernel = false;
    s.kernel_sp = HOST_BAD_ADDR;
    check(&s, "syscall ");
    finish();
}

static unsigned round_of_clock;
static void clock_wraps(void)
{
    tlb_clock = 1;
    round_of_clock++;
}

/* What this CPU may have cached is as new as the load of CR3, or taken for as old as can be. */
static void test_short__flush_clock(void)
{
    begin();
    struct state s = plain_state(VECTOR_SYSCALL);
    s.kernel = false;
    last_flush = 2;
    tlb_clock = 0x1000;
    check(&s, "");
    CU_ASSERT_EQUAL(last_flush, 0x1000);
    CU_ASSERT_EQUAL(real_run.loads, 1);
    s = iret_to(true);
    tlb_clock = 0xfffffffe;
    real_run.on_cr3 = clock_wraps;
    check(&s, "");
    CU_ASSERT_EQUAL(last_flush, 0);
    CU_ASSERT_EQUAL(round_of_clock, 1);
    s = plain_state(VECTOR_SYSCALL);
    s.kernel = false;
    tlb_clock = 0xfffffffe;
    last_flush = 2;
    check(&s, "");
    CU_ASSERT_EQUAL(last_flush, 0);
    real_run.on_cr3 = NULL;
    tlb_clock = 5;
    finish();
}

/* ---- a thousand guests ---- */

static uint64_t one_of(const uint64_t *values, unsigned count)
{
    return values[number() % count];
}
#define ONE_OF(...)                                                                                \
    one_of((const uint64_t[]){__VA_ARGS__},                                                        \
           sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static struct state any_state(void)
{
    static const uint64_t vectors[] = {VECTOR_SYSCALL,
                                       VECTOR_SYSCALL,
                                       VECTOR_SYSCALL,
                                       TRAP_PF,
                                       TRAP_PF,
                                       TRAP_UD,
                                       TRAP_DB,
                                       TRAP_GP,
                                       0,
                                       3,
                                       17};
    struct state s = plain_state((unsigned)one_of(vectors, ARRAY_SIZE(vectors)));
    bool syscall = s.vector == VECTOR_SYSCALL, is_iret = syscall && number() % 3 == 0;
    if (is_iret) {
        s = iret_to(number() % 2);
        s.frame[3] = ONE_OF(0, 0, 0, VGCF_in_syscall);
        s.frame[4] = number() % 8 ? s.frame[4] : ONE_OF(0x800000000000, 0x7fffffffffff, 1UL << 63);
        s.frame[5] = number() % 4 ? s.frame[5] : number();
        s.frame[6] = number() % 2 ? s.frame[6] : number();
        s.frame[8] = number() % 4 ? s.frame[8] : number();
    } else if (syscall) {
        s.regs.rax = ONE_OF(__HYPERVISOR_xen_version, __HYPERVISOR_stack_switch, 63, 300,
                            __HYPERVISOR_event_channel_op, __HYPERVISOR_xen_version | 1UL << 32);
        s.regs.rdi = ONE_OF(0, 0, 2, 4, 4, 99, 0x10e02b);
        s.regs.rsi = ONE_OF(area + 0x10, area + AREA_BYTES - 2, HOST_BAD_ADDR, 0);
        s.compat = number() % 16 == 0;
    }
    s.kernel = is_iret || number() % 2;
    s.masked = number() % 2;
    s.pending = number() % 8 == 0;
    s.user_tables = !s.kernel || number() % 8;
    s.shown_iopl = (uint32_t)ONE_OF(0, 0x1000, 0x3000);
    s.kernel_sp -= number() % 8 ? 0 : number() % 64;
    s.kernel_sp = number() % 32 ? s.kernel_sp : ONE_OF(HOST_BAD_ADDR, area + 0x10, 0, ~15UL);
    s.regs.rsp -= number() % 8 ? 0 : number() % 64;
    s.regs.rsp = number() % 32 ? s.regs.rsp : ONE_OF(HOST_BAD_ADDR, area + 0x20, 0, ~7UL);
    s.syscall.mask_events = number() % 8;
    s.syscall.address = number() % 16 ? s.syscall.address : 0;
    s.trap.flags = (uint8_t)ONE_OF(0, 4, 7);
    s.trap.cs = number() % 8 ? s.trap.cs : SEL_GUEST_CS32;
    s.trap.address = number() % 16 ? s.trap.address : 0;
    s.cr2 = ONE_OF(0, 0x7fffffffe000, number(), s.cr2, HYP_VIRT_START, HYP_VIRT_END - 1);
    s.code = number() % 4 ? s.code : 0x65780b0f;
    uint64_t flags = number() & 0x254dd5;
    s.regs.rflags = X86_EFLAGS_IF | X86_EFLAGS_FIXED | (number() % 2 ? flags : flags & 0xcd5);
    if (syscall) {
        s.regs.r11 = s.regs.rflags;
        s.regs.rcx = number() % 8 ? s.regs.rcx : ONE_OF(0x401000, 0x800000000000, ~0UL);
    } else {
        s.regs.error_code = HAS_ERROR(s.vector) ? (uint32_t)number() & 0x1f : 0;
        s.regs.cs = (uint16_t)(number() % 4 ? s.regs.cs : number() | 3);
        s.regs.ss = (uint16_t)(number() % 4 ? s.regs.ss : number() | 3);
    }
    s.fault = number() % 16 ? 0 : (unsigned)(number() % 10);
    return s;
}

static void some_guests(unsigned count, uint8_t feature)
{
    unsigned shorter = 0;
    begin();
    for (unsigned i = 0; i < count; i++) {
        uint64_t from = seed;
        struct state s = any_state();
        real_patch(feature);
        if (!compare(&s)) {
            fprintf(stderr, "seed %#lx: vector %u, rax %#lx, calls %s\n", from, s.vector,
                    s.regs.rax, called);
            break;
        }
        shorter += called[0] == '\0';
        CU_ASSERT(!isolated || !real_run.accesses);
        if (crashed(guest[REAL])) {
            finish();
            begin();
        }
    }
    CU_ASSERT(isolated ? !shorter : shorter > count / 8);
    finish();
}

static void test_random__as_it_is(void)
{
    some_guests(1500, 0);
}

static void test_random__with_patches(void)
{
    static const uint8_t features[] = {PATCH_SMAP, PATCH_VERW, PATCH_RSB};
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
        some_guests(200, features[i]);
        begin();
        real_patch(features[i]);
        struct state s = iret_to(true);
        check(&s, "");
        CU_ASSERT_EQUAL(real_run.verw, features[i] == PATCH_VERW);
        s = hypercall(__HYPERVISOR_xen_version, XENVER_version, 0);
        check(&s, "");
        CU_ASSERT_EQUAL(real_run.verw, features[i] == PATCH_VERW);
        finish();
    }
}

/* Page tables without the hypervisor: all of C runs on the full ones. */
static void test_random__with_isolation(void)
{
    isolated = true;
    some_guests(200, PATCH_XPTI);
    isolated = false;
}

/* ---- interrupts, and what happens to the hypervisor itself ---- */

static void plain_interrupt(const struct state *s, struct outcome *out)
{
    prepare(PLAIN, s);
    *guest_regs() = s->regs;
    __real_upcall_enter();
    __real_upcall_exit();
    look(PLAIN, out);
    out->regs = *guest_regs();
    out->by_sysret = false;
}

static void test_interrupt__of_a_guest(void)
{
    begin();
    struct state s = plain_state(0x51);
    s.kernel = false;
    interrupts = 0;
    CU_ASSERT_TRUE(same(&s, run_real, plain_interrupt));
    CU_ASSERT_STRING_EQUAL(called, "enter exit ");
    s.pending = true;
    CU_ASSERT_TRUE(same(&s, run_real, plain_interrupt));
    CU_ASSERT_EQUAL(interrupts, 2);
    finish();
}

/* As at `s`, of the hypervisor at ip, on a stack of its own from `top` down. */
static void in_hypervisor(struct state *s, vaddr_t ip, vaddr_t top)
{
    prepare(REAL, s);
    s->regs.rip = ip;
    s->regs.cs = SEL_HYP_CS;
    s->regs.ss = 0;
    s->regs.rsp = top;
    s->regs.rflags = X86_EFLAGS_FIXED | X86_EFLAGS_DF | 0x41;
    real_run.regs = s->regs;
    real_run.cr2 = 0;
    real_run.access_flag = real_run.any_stack = true;
    real_run.fault_in_guest = 0;
    called[0] = '\0';
    tables_update();
    real_run.cr3 = INFO_FIELD(uint64_t, CPU_INFO_CR3);
    real_go((vaddr_t)trap_stubs[s->vector], push_frame(top & ~15UL, s->vector, &s->regs));
}

#define MAIN_STACK (REAL_BLOCK + STACK_BYTES - 0x1000)

static bool as_it_was(const struct state *s)
{
    return real_run.end == REAL_IRET &&
           !memcmp(&real_run.regs, &s->regs, offsetof(struct cpu_user_regs, error_code)) &&
           real_run.regs.rsp == s->regs.rsp && real_run.regs.cs == SEL_HYP_CS &&
           real_run.regs.rflags == s->regs.rflags;
}

static void test_hypervisor__goes_on(void)
{
    begin();
    struct state s = plain_state(0x51);
    interrupts = 0;
    in_hypervisor(&s, 0x1234, MAIN_STACK - 0x108);
    CU_ASSERT_TRUE(as_it_was(&s) && real_run.regs.rip == 0x1234 && interrupts == 1);
    s = plain_state(TRAP_PF);
    for (const struct ex_entry *e = __ex_table_start; e < __ex_table_end; e++) {
        in_hypervisor(&s, e->fault_ip, MAIN_STACK - 0x108);
        CU_ASSERT_TRUE(as_it_was(&s) && real_run.regs.rip == e->fixup_ip);
    }
    for (unsigned i = 0; i < 2; i++) {
        isolated = i;
        if (isolated) {
            real_patch(PATCH_XPTI);
        }
        s = plain_state(TRAP_NMI);
        in_hypervisor(&s, 0x1234, REAL_BLOCK + PERCPU_IST_TOP(3));
        CU_ASSERT_TRUE(as_it_was(&s) && real_run.regs.rip == 0x1234);
        CU_ASSERT_EQUAL(real_run.cr3, INFO_FIELD(uint64_t, CPU_INFO_CR3));
        CU_ASSERT_EQUAL(real_run.loads, i ? 2 : 0);
    }
    isolated = false;
    finish();
}

static void test_hypervisor__ends(void)
{
    static const unsigned vectors[] = {TRAP_PF, TRAP_UD, TRAP_DF, TRAP_MC};
    begin();
    for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++) {
        struct state s = plain_state(vectors[i]);
        in_hypervisor(&s, 0x1234, i < 2 ? MAIN_STACK : REAL_BLOCK + PERCPU_IST_TOP(i - 1));
        CU_ASSERT_EQUAL(real_run.end, REAL_STOPPED);
        CU_ASSERT_STRING_EQUAL(called, "panic ");
    }
    finish();
}

/* The guest's last IRETQ faulted: the frame of the fault lies over its registers. */
static void real_bad_iret(const struct state *s, struct outcome *out)
{
    struct state fault = *s;
    fault.regs.error_code = 0x1234;
    *INFO_REGS = s->regs;
    prepare(REAL, s);
    in_hypervisor(&fault, (vaddr_t)iret_to_guest, INFO + REGS_RIP);
    look(REAL, out);
    out->regs = real_run.regs;
    out->by_sysret = false;
}

static void plain_bad_iret(const struct state *s, struct outcome *out)
{
    prepare(PLAIN, s);
    *guest_regs() = s->regs;
    __real_upcall_failsafe();
    __real_upcall_exit();
    look(PLAIN, out);
    out->regs = *guest_regs();
    out->by_sysret = false;
}

static void test_hypervisor__iret_that_faults(void)
{
    begin();
    for (unsigned i = 0; i < 2; i++) {
        struct state s = plain_state(TRAP_GP);
        s.regs.ss = 0x1337;
        CU_ASSERT_TRUE(same(&s, real_bad_iret, plain_bad_iret));
        CU_ASSERT_STRING_EQUAL(called, "failsafe exit ");
        CU_ASSERT_EQUAL(real_run.regs.rip, HANDLER + 0xe0);
        real_patch(PATCH_SMAP);
    }
    finish();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_short__bounces_to_the_kernel),
        CASE(test_short__returns),
        CASE(test_short__hypercalls),
        CASE(test_short__gates_with_other_selectors),
        CASE(test_short__events),
        CASE(test_short__flush_clock),
        CASE(test_long__guests_out_of_the_ordinary),
        CASE(test_long__stacks),
        CASE(test_random__as_it_is),
        CASE(test_random__with_patches),
        CASE(test_random__with_isolation),
        CASE(test_interrupt__of_a_guest),
        CASE(test_hypervisor__goes_on),
        CASE(test_hypervisor__ends),
        CASE(test_hypervisor__iret_that_faults),
    };
    lowest = real_guest_init();
    return SUITE("real_entry", 2, cases);
}
