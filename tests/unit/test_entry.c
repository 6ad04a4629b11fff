// SPDX-License-Identifier: MIT
/*
 * pv/entry.c: what a `syscall` of a guest means, and the way back: nothing runs before what is owed
 * has been done, and a guest that may not run does not. Batches of calls (core/hypercall.c).
 */
#include <string.h>

#include "arch/upcalls.h"
#include "core/deferred.h"
#include "core/frame.h"
#include "pv/page_type.h"
#include "suite.h"

#define HANDLER 0xffffffff81000000UL
#define TABLE (X86_PTE_P | X86_PTE_RW | X86_PTE_US)

static struct domain *guest;
static struct vcpu *v;

/* The scheduler's choice, not only ours: upcall_exit() is to find it running. */
static void begin(void)
{
    guest = suite_domain(1, 1);
    v = guest->vcpu[0];
    CU_ASSERT_PTR_EQUAL_FATAL(host_exit_path(), v);
    struct cpu_user_regs *regs = guest_regs();
    memset(regs, 0, sizeof(*regs));
    regs->cs = SEL_GUEST_CS64;
    regs->rip = 0x401000;
    regs->rsp = host_guest_alloc(4096) + 4096;
    regs->rflags = X86_EFLAGS_IF | X86_EFLAGS_FIXED;
    regs->entry_vector = 0x100;
    v->pv.kernel_mode = true;
    v->pv.kernel_sp = regs->rsp;
    v->pv.event = (struct pv_callback){HANDLER, true};
    v->info->evtchn_upcall_mask = 0;
}

static void finish(void)
{
    sched_pause(v, PAUSE_DOWN);
    host_exit_path();
    suite_destroy(guest);
}

/* ---- in ---- */

static void test_syscall__hypercall_of_the_kernel(void)
{
    begin();
    struct cpu_user_regs *regs = guest_regs();
    regs->rax = __HYPERVISOR_xen_version;
    regs->rdi = XENVER_version;
    upcall_syscall(regs);
    CU_ASSERT_EQUAL(regs->rax, PARAVANE_XEN_MAJOR << 16 | PARAVANE_XEN_MINOR);
    CU_ASSERT_EQUAL(regs->rip, 0x401000);
    CU_ASSERT_EQUAL(regs->entry_vector, 0x100); /* by SYSRET */
    regs->rax = 63;
    upcall_syscall(regs);
    CU_ASSERT_EQUAL(regs->rax, (uint64_t)-ENOSYS);
    regs->rax = 1UL << 32 | __HYPERVISOR_xen_version;
    upcall_syscall(regs);
    CU_ASSERT_EQUAL(regs->rax, (uint64_t)-ENOSYS);
    finish();
}

static void test_syscall__no_sysret_to_a_strange_place(void)
{
    begin();
    struct cpu_user_regs *regs = guest_regs();
    regs->rax = __HYPERVISOR_xen_version;
    regs->rip = 0x0000800000000000; /* a SYSCALL that ended at the last byte of the lower half */
    upcall_syscall(regs);
    CU_ASSERT_EQUAL(regs->entry_vector, 0);
    CU_ASSERT_EQUAL(regs->rax, PARAVANE_XEN_MAJOR << 16 | PARAVANE_XEN_MINOR);
    finish();
}

static void test_syscall__kernels_have_64_bits(void)
{
    begin();
    struct cpu_user_regs *regs = guest_regs();
    regs->cs = SEL_GUEST_CS32;
    regs->rax = __HYPERVISOR_xen_version;
    upcall_syscall(regs);
    CU_ASSERT_EQUAL(regs->rax, (uint64_t)-ENOSYS);
    CU_ASSERT_EQUAL(regs->entry_vector, 0);
    finish();
}

static void test_syscall__of_user_mode(void)
{
    static const struct {
        uint16_t cs;
        bool registered, masks;
    } kinds[] = {{SEL_GUEST_CS64, true, true},
                 {SEL_GUEST_CS64, true, false},
                 {SEL_GUEST_CS32, true, false},
                 {SEL_GUEST_CS64, false, false},
                 {SEL_GUEST_CS32, false, false}};
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        begin();
        struct cpu_user_regs *regs = guest_regs();
        bool compat = kinds[i].cs == SEL_GUEST_CS32;
        v->pv.syscall = (struct pv_callback){HANDLER + 0x64, kinds[i].masks};
        v->pv.syscall32 = (struct pv_callback){HANDLER + 0x32, kinds[i].masks};
        if (!kinds[i].registered) {
            (compat ? &v->pv.syscall32 : &v->pv.syscall)->address = 0;
        }
        v->pv.trap[TRAP_UD] = (struct trap_info){TRAP_UD, 0, SEL_GUEST_CS64, HANDLER + 6};
        v->pv.kernel_mode = false;
        regs->cs = kinds[i].cs;
        regs->rflags |= X86_EFLAGS_DF;
        regs->rax = __HYPERVISOR_xen_version; /* a number of the guest's own */
        upcall_syscall(regs);
        const uint64_t *frame = host_guest_ptr(regs->rsp);
        CU_ASSERT_EQUAL(regs->rax, __HYPERVISOR_xen_version);
        CU_ASSERT_TRUE(v->pv.kernel_mode);
        CU_ASSERT_EQUAL(frame[3], kinds[i].cs);
        CU_ASSERT_EQUAL(v->info->evtchn_upcall_mask, kinds[i].masks);
        if (kinds[i].registered) {
            CU_ASSERT_EQUAL(regs->rip, HANDLER + (compat ? 0x32 : 0x64));
            CU_ASSERT_EQUAL(regs->rflags & X86_EFLAGS_DF, 0);
            CU_ASSERT_EQUAL(frame[2], 0x401000);
        } else {
            CU_ASSERT_EQUAL(regs->rip, HANDLER + 6);
            CU_ASSERT_EQUAL(frame[2], 0x401000 - 2); /* at the instruction */
        }
        finish();
    }
}

static void test_syscall__no_stack_for_the_kernel(void)
{
    begin();
    v->pv.syscall.address = HANDLER;
    v->pv.kernel_mode = false;
    v->pv.kernel_sp = HOST_BAD_ADDR;
    guest_regs()->rflags |= X86_EFLAGS_DF;
    upcall_syscall(guest_regs());
    CU_ASSERT_EQUAL(guest->shutdown_code, SHUTDOWN_crash);
    CU_ASSERT_TRUE(guest_regs()->rflags & X86_EFLAGS_DF);
    finish();
}

/* ---- several at once ---- */

static vaddr_t list_of(const struct multicall_entry *entries, unsigned count)
{
    return host_guest_put(entries, count * sizeof(*entries));
}

static void test_multicall__results_one_by_one(void)
{
    struct multicall_entry calls[] = {
        {.op = __HYPERVISOR_xen_version, .args = {XENVER_version}},
        {.op = 63},
        {.op = __HYPERVISOR_multicall},
        {.op = __HYPERVISOR_stack_switch, .args = {0xe028, 0x1234}},
    };
    begin();
    vaddr_t list = list_of(calls, ARRAY_SIZE(calls));
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_multicall, list, ARRAY_SIZE(calls), 0), 0);
    const struct multicall_entry *done = host_guest_ptr(list);
    CU_ASSERT_EQUAL(done[0].result, PARAVANE_XEN_MAJOR << 16 | PARAVANE_XEN_MINOR);
    CU_ASSERT_EQUAL((long)done[1].result, -ENOSYS);
    CU_ASSERT_EQUAL((long)done[2].result, -EINVAL); /* none within another */
    CU_ASSERT_EQUAL(done[3].result, 0);
    CU_ASSERT_EQUAL(v->pv.kernel_sp, 0x1234);
    finish();
}

static void test_multicall__list_that_cannot_be_used(void)
{
    const struct multicall_entry call = {.op = 63};
    begin();
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_multicall, HOST_BAD_ADDR, 1, 0), -EFAULT);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_multicall, HOST_BAD_ADDR, 0, 0), 0);
    vaddr_t last = HOST_GUEST_BASE + HOST_GUEST_BYTES - sizeof(call);
    memcpy(host_guest_ptr(last), &call, sizeof(call));
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_multicall, last, 2, 0), -EFAULT);
    CU_ASSERT_EQUAL((long)((struct multicall_entry *)host_guest_ptr(last))->result, -ENOSYS);
    host.fault_in_access = 2; /* the result cannot be stored */
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_multicall, list_of(&call, 1), 1, 0), -EFAULT);
    finish();
}

static void test_multicall__iret_ends_it(void)
{
    const struct multicall_entry calls[] = {
        {.op = __HYPERVISOR_iret},
        {.op = __HYPERVISOR_stack_switch, .args = {0xe028, 0x1234}},
    };
    begin();
    struct cpu_user_regs *regs = guest_regs();
    uint64_t frame[9] = {[0] = 77, [4] = 0x500000, [5] = 0xe030, [7] = 0x600000};
    uint64_t sp = v->pv.kernel_sp;
    vaddr_t list = list_of(calls, ARRAY_SIZE(calls));
    regs->rsp = host_guest_put(frame, sizeof(frame));
    regs->rax = __HYPERVISOR_multicall;
    regs->rdi = list;
    regs->rsi = ARRAY_SIZE(calls);
    upcall_syscall(regs);
    CU_ASSERT_EQUAL(regs->rip, 0x500000);
    CU_ASSERT_EQUAL(regs->rax, 77); /* not the result of the batch */
    CU_ASSERT_EQUAL(regs->rsp, 0x600000);
    CU_ASSERT_EQUAL(v->pv.kernel_sp, sp);
    CU_ASSERT_EQUAL(((const struct multicall_entry *)host_guest_ptr(list))[1].result, 0);
    finish();
}

/* ---- out ---- */

static unsigned fired;

static void fire(void *arg)
{
    fired += arg == guest;
}

static void test_exit__interrupts_are_worked_off(void)
{
    begin();
    struct timer timer;
    timer_init(&timer, fire, guest, 0);
    timer_set(&timer, host.now + 1000);
    host.console_input = "hello";
    fired = 0;
    host_advance(2000);
    upcall_timer();
    upcall_console_input();
    CU_ASSERT_EQUAL(fired, 0);
    upcall_exit();
    CU_ASSERT_EQUAL(fired, 1);
    CU_ASSERT_EQUAL(*host.console_input, '\0');
    CU_ASSERT_FALSE(deferred_pending());
    CU_ASSERT_PTR_EQUAL(current_vcpu(), v);
    timer_stop(&timer);
    finish();
}

static void test_exit__delivers_an_event(void)
{
    begin();
    v->info->evtchn_upcall_pending = 1;
    upcall_exit();
    CU_ASSERT_EQUAL(guest_regs()->rip, HANDLER);
    CU_ASSERT_EQUAL(guest_regs()->entry_vector, 0);
    CU_ASSERT_EQUAL(v->info->evtchn_upcall_mask, 1);
    finish();
}

static void wake_guest(void)
{
    /* A wake-up that comes with the third interrupt. */
    if (host.idles == 3) {
        sched_resume(v, PAUSE_BLOCKED);
    }
}

static void test_exit__sleeps_while_nobody_can_run(void)
{
    begin();
    host.on_idle = wake_guest;
    sched_pause(v, PAUSE_BLOCKED);
    upcall_exit();
    CU_ASSERT_EQUAL(host.idles, 3);
    CU_ASSERT_PTR_EQUAL(current_vcpu(), v);
    CU_ASSERT_EQUAL(guest_regs()->rip, 0x401000);
    finish();
}

static struct domain *second;

static void start_second(void)
{
    domain_unpause(second);
}

static void test_exit__a_guest_that_dies_at_the_door(void)
{
    begin();
    second = suite_domain(2, 1);
    domain_pause(second);
    host.on_idle = start_second;
    v->info->evtchn_upcall_pending = 1;
    guest_regs()->rsp = HOST_BAD_ADDR;
    upcall_exit();
    CU_ASSERT_EQUAL(guest->shutdown_code, SHUTDOWN_crash);
    CU_ASSERT_EQUAL(host.idles, 1);
    CU_ASSERT_PTR_EQUAL(current_vcpu(), second->vcpu[0]);
    sched_pause(second->vcpu[0], PAUSE_DOWN);
    finish();
    suite_destroy(second);
}

/* ---- page tables left to take apart ---- */

#define CHILDREN 40

static unsigned interrupts;

static void interrupt(void)
{
    interrupts++;
    deferred_raise(host_cpu, DEFER_SCHED);
}

static void test_exit__takes_page_tables_apart_interruptibly(void)
{
    begin();
    struct frame *root = frame_alloc_domain(guest, 0, 0), *child[CHILDREN];
    uint64_t *entries = frame_to_virt(root);
    for (unsigned i = 0; i < CHILDREN; i++) {
        child[i] = frame_alloc_domain(guest, 0, 0);
        entries[i] = frame_to_mfn(child[i]) << PAGE_SHIFT | TABLE;
    }
    spin_lock(&guest->mmu_lock);
    CU_ASSERT_EQUAL(page_type_pin(frame_to_mfn(root), guest, TYPE_L2), 0);
    interrupts = 0;
    host.on_window = interrupt;
    CU_ASSERT_EQUAL(page_type_unpin(frame_to_mfn(root), guest), 0);
    spin_unlock(&guest->mmu_lock);
    CU_ASSERT_EQUAL(v->mmu_deferred_count, 1);
    CU_ASSERT_TRUE(child[0]->type & TYPE_COUNT_MASK); /* from the end */
    v->info->evtchn_upcall_pending = 1;
    upcall_exit();
    CU_ASSERT_TRUE(interrupts > 2);
    CU_ASSERT_EQUAL(v->mmu_deferred_count, 0);
    for (unsigned i = 0; i < CHILDREN; i++) {
        CU_ASSERT_EQUAL(child[i]->type & TYPE_COUNT_MASK, 0);
        CU_ASSERT_EQUAL(frame_ref_count(child[i]), 1);
    }
    CU_ASSERT_EQUAL(frame_ref_count(root), 1);
    CU_ASSERT_EQUAL(guest_regs()->rip, HANDLER); /* and only then the guest */
    finish();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_syscall__hypercall_of_the_kernel),
        CASE(test_syscall__no_sysret_to_a_strange_place),
        CASE(test_syscall__kernels_have_64_bits),
        CASE(test_syscall__of_user_mode),
        CASE(test_syscall__no_stack_for_the_kernel),
        CASE(test_multicall__results_one_by_one),
        CASE(test_multicall__list_that_cannot_be_used),
        CASE(test_multicall__iret_ends_it),
        CASE(test_exit__interrupts_are_worked_off),
        CASE(test_exit__delivers_an_event),
        CASE(test_exit__sleeps_while_nobody_can_run),
        CASE(test_exit__a_guest_that_dies_at_the_door),
        CASE(test_exit__takes_page_tables_apart_interruptibly),
    };
    return SUITE("entry", 1, cases);
}
