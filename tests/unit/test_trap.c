// SPDX-License-Identifier: MIT
/*
 * pv/trap.c: what a guest's kernel finds on its stack and in its registers when it is entered, what
 * iret makes of a frame, callbacks, and to whom an exception in guest mode goes.
 */
#include <string.h>

#include "arch/upcalls.h"
#include "core/hooks.h"
#include "pv/emul.h"
#include "pv/page_type.h"
#include "pv/trap.h"
#include "suite.h"

#define HANDLER 0xffffffff81000000UL
#define USER_RIP 0x401000UL
#define USER_RSP 0x7ffffff01238UL
#define KERNEL_STACK 4096

static struct domain *guest;
static struct vcpu *v;
static struct cpu_user_regs *regs;

static void begin(void)
{
    guest = suite_domain(1, 1);
    v = guest->vcpu[0];
    suite_enter(v);
    regs = guest_regs();
    memset(regs, 0, sizeof(*regs));
    regs->cs = SEL_GUEST_CS64;
    regs->ss = SEL_GUEST_DS;
    regs->rflags = X86_EFLAGS_FIXED | X86_EFLAGS_IF;
    regs->rip = host_guest_alloc(64);
    regs->rsp = host_guest_alloc(KERNEL_STACK) + KERNEL_STACK;
    v->pv.kernel_mode = true;
    v->pv.kernel_sp = regs->rsp;
    v->info->evtchn_upcall_mask = 0;
    for (unsigned vector = 0; vector < 32; vector++) {
        v->pv.trap[vector] =
            (struct trap_info){(uint8_t)vector, 0, SEL_GUEST_CS64, HANDLER + vector * 16};
    }
}

static void end(void)
{
    v->pv.l4_user = NULL;
    suite_enter(NULL);
    suite_destroy(guest);
}

static void to_user_mode(void)
{
    v->pv.kernel_mode = false;
    regs->rip = USER_RIP;
    regs->rsp = USER_RSP;
    regs->cs = SEL_GUEST_CS64;
    host.gs_base_kernel = 0x1111;
    host.gs_base_user = 0x2222;
}

static bool crashed(const char *why)
{
    return guest->shutdown_code == SHUTDOWN_crash && strstr(host.console, why);
}

static const uint64_t *frame_at(uint64_t rsp)
{
    return host_guest_ptr(rsp);
}

static bool entered(unsigned vector)
{
    return regs->rip == HANDLER + vector * 16 && regs->entry_vector == 0;
}

/* ---- the frame ---- */

static void test_inject__frame_of_the_user_mode(void)
{
    begin();
    to_user_mode();
    regs->rcx = 0xc0c0;
    regs->r11 = 0x1111;
    regs->entry_vector = 13;
    regs->rflags = X86_EFLAGS_FIXED | X86_EFLAGS_IF | X86_EFLAGS_TF | X86_EFLAGS_NT |
                   X86_EFLAGS_RF | X86_EFLAGS_AC | X86_EFLAGS_DF | X86_EFLAGS_IOPL;
    v->pv.kernel_sp -= 8; /* to be aligned */
    uint64_t sp = v->pv.kernel_sp;
    trap_inject(v, TRAP_GP, 0x18);
    CU_ASSERT_TRUE(entered(TRAP_GP));
    CU_ASSERT_EQUAL(regs->rsp, (sp & ~15UL) - 8 * 8);
    const uint64_t *f = frame_at(regs->rsp);
    CU_ASSERT_EQUAL(f[0], 0xc0c0);
    CU_ASSERT_EQUAL(f[1], 0x1111);
    CU_ASSERT_EQUAL(f[2], 0x18);
    CU_ASSERT_EQUAL(f[3], USER_RIP);
    CU_ASSERT_EQUAL(f[4], SEL_GUEST_CS64); /* RPL 3, nothing masked */
    /* As the interrupted code had them; IOPL is what the guest set, which is not shown. */
    CU_ASSERT_EQUAL(f[5], X86_EFLAGS_FIXED | X86_EFLAGS_IF | X86_EFLAGS_TF | X86_EFLAGS_NT |
                              X86_EFLAGS_RF | X86_EFLAGS_AC | X86_EFLAGS_DF);
    CU_ASSERT_EQUAL(f[6], USER_RSP);
    CU_ASSERT_EQUAL(f[7], SEL_GUEST_DS);
    CU_ASSERT_EQUAL(regs->ss, SEL_GUEST_DS);
    CU_ASSERT_EQUAL(regs->cs, SEL_GUEST_CS64);
    CU_ASSERT_EQUAL(regs->rflags & (X86_EFLAGS_TF | X86_EFLAGS_NT | X86_EFLAGS_RF | X86_EFLAGS_AC),
                    0);
    CU_ASSERT_TRUE(v->pv.kernel_mode);
    CU_ASSERT_EQUAL(host.gs_base_kernel, 0x2222); /* swapped */
    CU_ASSERT_EQUAL(v->info->evtchn_upcall_mask, 0);
    end();
}

static void test_inject__frame_of_the_kernel(void)
{
    begin();
    uint64_t rip = regs->rip, rsp = regs->rsp;
    host.gs_base_kernel = 0x1111;
    v->pv.kernel_sp = HOST_BAD_ADDR; /* only for entries from user mode */
    v->info->evtchn_upcall_mask = 1;
    v->pv.trap[TRAP_UD].flags = 4;
    v->pv.trap[TRAP_UD].cs = 0xe030;
    trap_inject(v, TRAP_UD, 77);
    CU_ASSERT_TRUE(entered(TRAP_UD));
    CU_ASSERT_EQUAL(regs->rsp, rsp - 7 * 8); /* no error code */
    const uint64_t *f = frame_at(regs->rsp);
    CU_ASSERT_EQUAL(f[2], rip);
    CU_ASSERT_EQUAL(f[3], (SEL_GUEST_CS64 & ~3UL) | 1UL << 32); /* looks like ring 0, masked */
    CU_ASSERT_EQUAL(f[4] & X86_EFLAGS_IF, 0);                   /* so interrupts look off */
    CU_ASSERT_EQUAL(f[5], rsp);
    CU_ASSERT_EQUAL(regs->cs, 0xe033);            /* never with less than RPL 3 */
    CU_ASSERT_EQUAL(host.gs_base_kernel, 0x1111); /* no change of mode */
    CU_ASSERT_TRUE(regs->rflags & X86_EFLAGS_IF); /* the real ones are on */
    CU_ASSERT_EQUAL(v->info->evtchn_upcall_mask, 1);
    end();
}

static void test_inject__gate_that_masks(void)
{
    begin();
    v->pv.trap[TRAP_DB].flags = 4;
    trap_inject(v, TRAP_DB, 0);
    CU_ASSERT_EQUAL(v->info->evtchn_upcall_mask, 1);
    CU_ASSERT_EQUAL(frame_at(regs->rsp)[3] >> 32, 0); /* as it was before */
    end();
}

static void test_inject__iopl_shown_when_asked_for(void)
{
    begin();
    guest->pv.vm_assist = 1U << VMASST_TYPE_architectural_iopl;
    pv_set_iopl(v, 3);
    trap_inject(v, TRAP_DB, 0);
    CU_ASSERT_EQUAL(frame_at(regs->rsp)[4] & X86_EFLAGS_IOPL, X86_EFLAGS_IOPL);
    CU_ASSERT_EQUAL(regs->rflags & X86_EFLAGS_IOPL, 0);
    end();
}

static void test_inject__without_vcpu_info(void)
{
    begin();
    vcpu_info_t *info = v->info;
    v->info = NULL;
    v->pv.trap[TRAP_PF].flags = 4;
    trap_inject_page_fault(v, 0x1234, PF_W);
    CU_ASSERT_TRUE(entered(TRAP_PF));
    CU_ASSERT_EQUAL(frame_at(regs->rsp)[4] >> 32, 1); /* nothing can be delivered: masked */
    uint64_t iret[9] = {[5] = SEL_GUEST_CS64 & ~3UL, [7] = regs->rsp};
    regs->rsp = host_guest_put(iret, sizeof(iret));
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_iret, 0, 0, 0), 0);
    CU_ASSERT_EQUAL(regs->rip, 0);
    v->info = info;
    end();
}

static void test_inject__no_stack(void)
{
    begin();
    to_user_mode();
    v->pv.kernel_sp = HOST_BAD_ADDR;
    trap_inject(v, TRAP_GP, 0);
    CU_ASSERT_TRUE(crashed("no stack at"));
    CU_ASSERT_EQUAL(regs->rip, USER_RIP);
    end();
}

static void test_inject__handler_in_the_hypervisor(void)
{
    static const vaddr_t bad[] = {HYP_VIRT_START, HYP_VIRT_END - 1, 0x0000800000000000UL};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        begin();
        uint64_t rip = regs->rip;
        v->pv.trap[TRAP_GP].address = bad[i];
        trap_inject(v, TRAP_GP, 0);
        CU_ASSERT_TRUE(crashed("cannot be entered"));
        CU_ASSERT_EQUAL(regs->rip, rip);
        end();
    }
}

static void test_inject__no_handler(void)
{
    begin();
    v->pv.trap[TRAP_GP].address = 0;
    trap_inject(v, TRAP_GP, 0);
    CU_ASSERT_TRUE(crashed("no handler for exception 13"));
    end();
}

/* ---- set_trap_table ---- */

static void test_trap_table__sets_and_clears(void)
{
    const struct trap_info table[] = {{3, 3, 0xe030, HANDLER}, {0x80, 7, 0xe033, HANDLER + 1}, {0}};
    begin();
    CU_ASSERT_EQUAL(
        suite_call(__HYPERVISOR_set_trap_table, host_guest_put(table, sizeof(table)), 0, 0), 0);
    CU_ASSERT_EQUAL(v->pv.trap[3].address, HANDLER);
    CU_ASSERT_EQUAL(v->pv.trap[3].cs, 0xe033);
    CU_ASSERT_EQUAL(v->pv.trap[0x80].address, HANDLER + 1);
    CU_ASSERT_EQUAL(v->pv.trap[0x80].flags, 7);
    CU_ASSERT_EQUAL(v->pv.trap[13].address, HANDLER + 13 * 16); /* others stay */
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_trap_table, 0, 0, 0), 0);
    CU_ASSERT_EQUAL(v->pv.trap[3].address, 0);
    CU_ASSERT_EQUAL(v->pv.trap[13].address, 0);
    end();
}

static void test_trap_table__refused(void)
{
    struct trap_info endless[258], last;
    begin();
    for (unsigned i = 0; i < ARRAY_SIZE(endless); i++) {
        endless[i] = (struct trap_info){(uint8_t)i, 0, SEL_GUEST_CS64, HANDLER};
    }
    vaddr_t table = host_guest_put(endless, sizeof(endless));
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_trap_table, table, 0, 0), -EINVAL);
    endless[256].address = 0; /* all 256 and an end */
    table = host_guest_put(endless, sizeof(endless));
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_trap_table, table, 0, 0), 0);
    last = (struct trap_info){3, 0, SEL_GUEST_CS64, HYP_VIRT_START};
    table = host_guest_put(&last, sizeof(last));
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_trap_table, table, 0, 0), -EINVAL);
    last.address = 0x1000000000000000;
    table = host_guest_put(&last, sizeof(last));
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_trap_table, table, 0, 0), -EINVAL);
    CU_ASSERT_EQUAL(v->pv.trap[3].address, HANDLER);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_trap_table, HOST_BAD_ADDR, 0, 0), -EFAULT);
    end();
}

/* ---- iret ---- */

struct iret_frame {
    uint64_t rax, r11, rcx, flags, rip, cs, rflags, rsp, ss;
};

static long iret(const struct iret_frame *f)
{
    regs->rsp = host_guest_put(f, sizeof(*f));
    regs->entry_vector = 1;
    return suite_call(__HYPERVISOR_iret, 0, 0, 0);
}

static void test_iret__to_user_mode(void)
{
    const struct iret_frame f = {1,    2,        3,           0, USER_RIP, SEL_GUEST_CS64,
                                 ~0UL, USER_RSP, SEL_GUEST_DS};
    begin();
    v->pv.l4_user = mfn_to_frame(100); /* only looked at */
    host.gs_base_kernel = 0x1111;
    host.gs_base_user = 0x2222;
    v->info->evtchn_upcall_mask = 1;
    CU_ASSERT_EQUAL(iret(&f), 0);
    CU_ASSERT_FALSE(v->pv.kernel_mode);
    CU_ASSERT_EQUAL(host.gs_base_kernel, 0x2222);
    CU_ASSERT_EQUAL(regs->rax, 1);
    CU_ASSERT_EQUAL(regs->r11, 2);
    CU_ASSERT_EQUAL(regs->rcx, 3);
    CU_ASSERT_EQUAL(regs->rip, USER_RIP);
    CU_ASSERT_EQUAL(regs->rsp, USER_RSP);
    CU_ASSERT_EQUAL(regs->entry_vector, 0);
    CU_ASSERT_EQUAL(regs->rflags & (X86_EFLAGS_IOPL | X86_EFLAGS_NT | X86_EFLAGS_VM |
                                    X86_EFLAGS_VIF | X86_EFLAGS_VIP),
                    0);
    CU_ASSERT_EQUAL(regs->rflags >> 22, 0);
    CU_ASSERT_TRUE(regs->rflags & X86_EFLAGS_TF);
    CU_ASSERT_EQUAL(v->info->evtchn_upcall_mask, 0);
    end();
}

static void test_iret__to_the_kernel(void)
{
    struct iret_frame f = {.flags = VGCF_in_syscall, .rip = HANDLER, .cs = 0xe030, .rsp = 0x5000};
    begin();
    CU_ASSERT_EQUAL(iret(&f), 0);
    CU_ASSERT_TRUE(v->pv.kernel_mode);
    CU_ASSERT_EQUAL(regs->cs, 0xe033);
    CU_ASSERT_EQUAL(regs->ss, 3); /* the empty selector, as loaded at CPL 3 */
    CU_ASSERT_EQUAL(regs->rflags, X86_EFLAGS_IF | X86_EFLAGS_FIXED); /* IF is only virtual */
    CU_ASSERT_EQUAL(v->info->evtchn_upcall_mask, 1);
    CU_ASSERT_EQUAL(regs->rcx, HANDLER); /* what SYSRET leaves */
    CU_ASSERT_EQUAL(regs->r11, regs->rflags);
    end();
}

static void test_iret__bad_frames(void)
{
    struct iret_frame f = {.rip = USER_RIP, .cs = SEL_GUEST_CS64, .rsp = 0x5000};
    begin();
    CU_ASSERT_EQUAL(iret(&f), 0);
    CU_ASSERT_TRUE(crashed("without user page tables"));
    end();

    begin();
    regs->rsp = HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_iret, 0, 0, 0), 0);
    CU_ASSERT_TRUE(crashed("cannot be read"));
    end();

    begin();
    f.rip = 0x0000800000000000; /* an IRETQ or SYSRET to it would fault in the hypervisor */
    CU_ASSERT_EQUAL(iret(&f), 0);
    CU_ASSERT_TRUE(entered(TRAP_GP));
    CU_ASSERT_EQUAL(guest->shutdown_code, DOMAIN_NO_CODE);
    end();
}

/* ---- callbacks ---- */

static long callback(unsigned type, unsigned flags, vaddr_t address)
{
    const struct callback_register reg = {(uint16_t)type, (uint16_t)flags, address};
    return suite_call(__HYPERVISOR_callback_op, CALLBACKOP_register,
                      host_guest_put(&reg, sizeof(reg)), 0);
}

static long uncallback(unsigned type)
{
    const struct callback_unregister unreg = {.type = (uint16_t)type};
    return suite_call(__HYPERVISOR_callback_op, CALLBACKOP_unregister,
                      host_guest_put(&unreg, sizeof(unreg)), 0);
}

static void test_callback__each_has_its_slot(void)
{
    begin();
    const struct {
        unsigned type;
        struct pv_callback *slot;
        bool vital;
    } all[] = {{CALLBACKTYPE_event, &v->pv.event, true},
               {CALLBACKTYPE_failsafe, &v->pv.failsafe, true},
               {CALLBACKTYPE_syscall, &v->pv.syscall, false},
               {CALLBACKTYPE_syscall32, &v->pv.syscall32, false}};
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        CU_ASSERT_EQUAL(callback(all[i].type, 0, HANDLER + i), 0);
        CU_ASSERT_EQUAL(all[i].slot->address, HANDLER + i);
        CU_ASSERT_EQUAL(all[i].slot->mask_events, all[i].type == CALLBACKTYPE_event);
        CU_ASSERT_EQUAL(callback(all[i].type, CALLBACKF_mask_events, HANDLER + 8 + i), 0);
        CU_ASSERT_TRUE(all[i].slot->mask_events);
        CU_ASSERT_EQUAL(callback(all[i].type, 0, HYP_VIRT_START), -EINVAL);
        CU_ASSERT_EQUAL(callback(all[i].type, 0, 0x0000800000000000), -EINVAL);
        CU_ASSERT_EQUAL(uncallback(all[i].type), all[i].vital ? -EINVAL : 0);
        CU_ASSERT_EQUAL(all[i].slot->address, all[i].vital ? HANDLER + 8 + i : 0);
    }
    end();
}

static void test_callback__nmi_is_a_gate(void)
{
    begin();
    CU_ASSERT_EQUAL(callback(CALLBACKTYPE_nmi, 0, HANDLER + 5), 0);
    CU_ASSERT_EQUAL(v->pv.trap[TRAP_NMI].address, HANDLER + 5);
    CU_ASSERT_EQUAL(v->pv.trap[TRAP_NMI].flags, 4);
    CU_ASSERT_EQUAL(callback(CALLBACKTYPE_nmi, 0, HYP_VIRT_END - 1), -EINVAL);
    CU_ASSERT_EQUAL(uncallback(CALLBACKTYPE_nmi), 0);
    CU_ASSERT_EQUAL(v->pv.trap[TRAP_NMI].address, 0);
    end();
}

static void test_callback__refused(void)
{
    begin();
    CU_ASSERT_EQUAL(callback(CALLBACKTYPE_sysenter, 0, HANDLER), -ENOSYS);
    CU_ASSERT_EQUAL(uncallback(CALLBACKTYPE_sysenter), -ENOSYS);
    CU_ASSERT_EQUAL(callback(1234, 0, HANDLER), -ENOSYS);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_callback_op, 2, HOST_BAD_ADDR, 0), -ENOSYS);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_callback_op, CALLBACKOP_register, HOST_BAD_ADDR, 0),
                    -EFAULT);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_callback_op, CALLBACKOP_unregister, HOST_BAD_ADDR, 0),
                    -EFAULT);
    end();
}

/* ---- what is pending ---- */

static void test_pending__event_once(void)
{
    begin();
    v->pv.event = (struct pv_callback){HANDLER + 0x900, true};
    v->info->evtchn_upcall_pending = 1;
    uint64_t rip = regs->rip;
    v->info->evtchn_upcall_mask = 1;
    trap_deliver_pending(v);
    CU_ASSERT_EQUAL(regs->rip, rip);
    v->info->evtchn_upcall_mask = 0;
    trap_deliver_pending(v);
    CU_ASSERT_EQUAL(regs->rip, HANDLER + 0x900);
    CU_ASSERT_EQUAL(frame_at(regs->rsp)[2], rip);
    uint64_t rsp = regs->rsp;
    trap_deliver_pending(v); /* masked by the first */
    CU_ASSERT_EQUAL(regs->rsp, rsp);
    v->pv.event.address = 0;
    v->info->evtchn_upcall_mask = 0;
    trap_deliver_pending(v);
    CU_ASSERT_EQUAL(regs->rsp, rsp);
    end();
}

static void test_pending__nmi_waits_for_a_handler(void)
{
    begin();
    struct trap_info gate = v->pv.trap[TRAP_NMI];
    uint64_t rip = regs->rip;
    v->pv.trap[TRAP_NMI].address = 0;
    pv_nmi_raise(v);
    trap_deliver_pending(v);
    CU_ASSERT_EQUAL(regs->rip, rip);
    v->pv.trap[TRAP_NMI] = gate;
    trap_deliver_pending(v);
    CU_ASSERT_TRUE(entered(TRAP_NMI));
    uint64_t rsp = regs->rsp;
    trap_deliver_pending(v);
    CU_ASSERT_EQUAL(regs->rsp, rsp);
    end();
}

static void test_pending__failsafe_has_the_selectors(void)
{
    begin();
    uint16_t ds, gs;
    __asm__("mov %%ds, %0; mov %%gs, %1" : "=r"(ds), "=r"(gs));
    uint64_t rip = regs->rip, rsp = regs->rsp;
    v->pv.failsafe = (struct pv_callback){HANDLER + 0xf00, true};
    upcall_failsafe();
    trap_deliver_pending(v);
    CU_ASSERT_EQUAL(regs->rip, HANDLER + 0xf00);
    CU_ASSERT_EQUAL(regs->rsp, rsp - 11 * 8);
    const uint64_t *f = frame_at(regs->rsp);
    CU_ASSERT_EQUAL(f[2], ds);
    CU_ASSERT_EQUAL(f[5], gs);
    CU_ASSERT_EQUAL(f[6], rip);
    CU_ASSERT_EQUAL(v->info->evtchn_upcall_mask, 1);
    rsp = regs->rsp;
    trap_deliver_pending(v);
    CU_ASSERT_EQUAL(regs->rsp, rsp);
    v->pv.failsafe.address = 0;
    upcall_failsafe();
    trap_deliver_pending(v);
    CU_ASSERT_TRUE(crashed("no failsafe callback"));
    end();
}

/* ---- exceptions in guest mode ---- */

static void fault(unsigned vector, uint32_t error, vaddr_t cr2)
{
    regs->entry_vector = vector;
    regs->error_code = error;
    host_fetch_reset();
    upcall_guest_trap(regs, cr2);
}

static void test_guest_trap__page_fault_as_the_guest_sees_it(void)
{
    begin();
    fault(TRAP_PF, PF_P | PF_W | PF_U | PF_RSVD, 0x123456);
    CU_ASSERT_TRUE(entered(TRAP_PF));
    CU_ASSERT_EQUAL(frame_at(regs->rsp)[2], PF_P | PF_W); /* the kernel is not a user to itself */
    CU_ASSERT_EQUAL(v->info->arch.cr2, 0x123456);
    to_user_mode();
    fault(TRAP_PF, PF_U, 0x999);
    CU_ASSERT_EQUAL(frame_at(regs->rsp)[2], PF_U);
    CU_ASSERT_EQUAL(v->info->arch.cr2, 0x999);
    /* A store to a read-only page that is no table. */
    guest->pv.vm_assist = 1U << VMASST_TYPE_writable_pagetables;
    fault(TRAP_PF, PF_P | PF_W | PF_U, 0x777000);
    CU_ASSERT_EQUAL(frame_at(regs->rsp)[2], PF_P | PF_W);
    to_user_mode();
    fault(TRAP_PF, PF_P | PF_W | PF_U, 0x777000);
    CU_ASSERT_EQUAL(frame_at(regs->rsp)[2], PF_P | PF_W | PF_U);
    end();
}

static void test_guest_trap__ldt_fault_is_on_the_guests_ldt(void)
{
    begin();
    vaddr_t window = PERCPU_START + PERCPU_LDT;
    v->pv.ldt_base = 0x600000; /* not mapped */
    v->pv.ldt_entries = 1024;
    fault(TRAP_PF, PF_P, window + 0x1008);
    CU_ASSERT_TRUE(entered(TRAP_PF));
    CU_ASSERT_EQUAL(v->info->arch.cr2, 0x601008);
    CU_ASSERT_FALSE(upcall_hyp_fault(window + 0x1008));
    CU_ASSERT_FALSE(upcall_hyp_fault(window + LDT_PAGES * PAGE_SIZE));
    CU_ASSERT_FALSE(upcall_hyp_fault(window - 1));
    suite_enter(NULL);
    CU_ASSERT_FALSE(upcall_hyp_fault(window + 0x1008)); /* the idle vCPU has none */
    suite_enter(v);
    v->pv.ldt_entries = 0;
    end();
}

static void test_guest_trap__software_interrupt(void)
{
    static const uint8_t code[] = {0xcd, 0x80, 0x90, 0xcd, 0x90};
    begin();
    v->pv.trap[0x80] = (struct trap_info){0x80, 3, SEL_GUEST_CS64, HANDLER + 0x800};
    v->pv.trap[0x90] = (struct trap_info){0x90, 4, SEL_GUEST_CS64, HANDLER + 0x900};
    vaddr_t at = host_guest_put(code, sizeof(code));

    to_user_mode();
    regs->rip = at;
    fault(TRAP_GP, 0x80 * 8 + 2, 0);
    CU_ASSERT_EQUAL(regs->rip, HANDLER + 0x800);
    CU_ASSERT_EQUAL(frame_at(regs->rsp)[2], at + 2); /* behind the instruction, no error code */
    CU_ASSERT_EQUAL(v->info->evtchn_upcall_mask, 0);

    to_user_mode();
    regs->rip = at;
    fault(TRAP_GP, 0x80 * 16 + 2, 0); /* as the emulator has it */
    CU_ASSERT_EQUAL(regs->rip, HANDLER + 0x800);

    to_user_mode(); /* a gate for the kernel only */
    regs->rip = at + 3;
    fault(TRAP_GP, 0x90 * 8 + 2, 0);
    CU_ASSERT_TRUE(entered(TRAP_GP));
    CU_ASSERT_EQUAL(frame_at(regs->rsp)[2], 0x90 * 8 + 2);
    CU_ASSERT_EQUAL(frame_at(regs->rsp)[3], at + 3);

    regs->rip = at + 3; /* by which it may be used */
    fault(TRAP_GP, 0x90 * 8 + 2, 0);
    CU_ASSERT_EQUAL(regs->rip, HANDLER + 0x900);
    CU_ASSERT_EQUAL(v->info->evtchn_upcall_mask, 1);

    v->pv.trap[0x90].address = 0;
    regs->rip = at + 3;
    fault(TRAP_GP, 0x90 * 8 + 2, 0);
    CU_ASSERT_TRUE(entered(TRAP_GP));
    end();
}

static void test_guest_trap__gp_that_is_no_interrupt(void)
{
    static const uint8_t nop[] = {0x90, 0x90};
    begin();
    regs->rip = host_guest_put(nop, sizeof(nop));
    fault(TRAP_GP, 0x82, 0); /* a selector of the IDT, but no INT */
    CU_ASSERT_TRUE(entered(TRAP_GP));
    CU_ASSERT_EQUAL(frame_at(regs->rsp)[2], 0x82);
    regs->rip = HOST_BAD_ADDR;
    fault(TRAP_GP, 0x82, 0);
    CU_ASSERT_EQUAL(frame_at(regs->rsp)[3], HOST_BAD_ADDR);
    /* One that is emulated is not delivered. */
    static const uint8_t clts[] = {0x0f, 0x06};
    vaddr_t at = host_guest_put(clts, sizeof(clts));
    regs->rip = at;
    v->pv.ts = true;
    fault(TRAP_GP, 0, 0);
    CU_ASSERT_EQUAL(regs->rip, at + 2);
    CU_ASSERT_FALSE(v->pv.ts);
    end();
}

static void test_guest_trap__invalid_opcode(void)
{
    static const uint8_t ud2[8] = {0x0f, 0x0b};
    static const uint8_t cpuid[] = {0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2};
    begin();
    regs->rip = host_guest_put(ud2, sizeof(ud2));
    fault(TRAP_UD, 0, 0);
    CU_ASSERT_TRUE(entered(TRAP_UD));
    vaddr_t at = host_guest_put(cpuid, sizeof(cpuid));
    regs->rip = at;
    fault(TRAP_UD, 0, 0);
    CU_ASSERT_EQUAL(regs->rip, at + 7);
    end();
}

static void test_guest_trap__debug_status_is_collected(void)
{
    begin();
    v->pv.debugreg[6] = 0xffff4ff1;
    host.debugreg[6] = 2;
    fault(TRAP_DB, 0, 0);
    CU_ASSERT_TRUE(entered(TRAP_DB));
    CU_ASSERT_EQUAL(v->pv.debugreg[6], 0xffff4ff2); /* BS stays, the breakpoint is the new one */
    CU_ASSERT_EQUAL(host.debugreg[6], 0xffff0ff0);
    end();
}

static void test_guest_trap__device_not_available(void)
{
    begin();
    uint64_t rip = regs->rip;
    host.ts = true; /* ours: lazy FPU */
    fault(TRAP_NM, 0, 0);
    CU_ASSERT_FALSE(host.ts);
    CU_ASSERT_EQUAL(regs->rip, rip);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_fpu_taskswitch, 1, 0, 0), 0);
    CU_ASSERT_TRUE(host.ts);
    fault(TRAP_NM, 0, 0);
    CU_ASSERT_TRUE(entered(TRAP_NM));
    CU_ASSERT_FALSE(host.ts);
    CU_ASSERT_FALSE(v->pv.ts);
    end();
}

static void test_guest_trap__the_rest_is_delivered(void)
{
    static const struct {
        uint8_t vector;
        bool error;
    } others[] = {{0, false}, {3, false},  {4, false}, {5, false}, {11, true},
                  {12, true}, {16, false}, {17, true}, {19, false}};
    begin();
    uint64_t rsp = regs->rsp;
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        regs->rsp = rsp;
        fault(others[i].vector, 0x50, 0);
        CU_ASSERT_TRUE(entered(others[i].vector));
        CU_ASSERT_EQUAL(regs->rsp, rsp - (others[i].error ? 8 : 7) * 8);
        CU_ASSERT_TRUE(!others[i].error || frame_at(regs->rsp)[2] == 0x50);
    }
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_inject__frame_of_the_user_mode),
        CASE(test_inject__frame_of_the_kernel),
        CASE(test_inject__gate_that_masks),
        CASE(test_inject__iopl_shown_when_asked_for),
        CASE(test_inject__without_vcpu_info),
        CASE(test_inject__no_stack),
        CASE(test_inject__handler_in_the_hypervisor),
        CASE(test_inject__no_handler),
        CASE(test_trap_table__sets_and_clears),
        CASE(test_trap_table__refused),
        CASE(test_iret__to_user_mode),
        CASE(test_iret__to_the_kernel),
        CASE(test_iret__bad_frames),
        CASE(test_callback__each_has_its_slot),
        CASE(test_callback__nmi_is_a_gate),
        CASE(test_callback__refused),
        CASE(test_pending__event_once),
        CASE(test_pending__nmi_waits_for_a_handler),
        CASE(test_pending__failsafe_has_the_selectors),
        CASE(test_guest_trap__page_fault_as_the_guest_sees_it),
        CASE(test_guest_trap__ldt_fault_is_on_the_guests_ldt),
        CASE(test_guest_trap__software_interrupt),
        CASE(test_guest_trap__gp_that_is_no_interrupt),
        CASE(test_guest_trap__invalid_opcode),
        CASE(test_guest_trap__debug_status_is_collected),
        CASE(test_guest_trap__device_not_available),
        CASE(test_guest_trap__the_rest_is_delivered),
    };
    return SUITE("trap", 1, cases);
}
