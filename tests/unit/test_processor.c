// SPDX-License-Identifier: MIT
/*
 * The strict processor of the fake machine (tests/host/processor.c, tlb.c): that it refuses what
 * hardware refuses, and that nothing a guest asks for gets the hypervisor to ask it. These are the
 * checks that QEMU's emulation cannot make; docs/security.md has the list.
 */
#include <string.h>

#include "arch/upcalls.h"
#include "core/frame.h"
#include "core/hooks.h"
#include "pv/emul.h"
#include "pv/mmu_update.h"
#include "pv/page_type.h"
#include "pv/trap.h"
#include "suite.h"

#define HOLE 0x0000800000000000UL /* the first address that is not canonical */
#define HOLE_END 0xffff7fffffffffffUL
#define HANDLER 0xffffffff81000000UL
#define USER_VA 0x400000UL
#define TABLE (X86_PTE_P | X86_PTE_RW | X86_PTE_US)
#define VECTOR_SYSCALL 0x100
#define REFUSED(...) HOST_ENDS_IN(HOST_PANIC, __VA_ARGS__)

static struct domain *guest;
static struct vcpu *v;
static struct cpu_user_regs *regs;

static void begin(void)
{
    guest = suite_domain(1, 2);
    v = guest->vcpu[0];
    suite_enter(v);
    regs = guest_regs();
    *regs = (struct cpu_user_regs){.rip = USER_VA,
                                   .rsp = host_guest_alloc(PAGE_SIZE) + PAGE_SIZE,
                                   .cs = SEL_GUEST_CS64,
                                   .ss = SEL_GUEST_DS,
                                   .rflags = X86_EFLAGS_FIXED | X86_EFLAGS_IF,
                                   .entry_vector = VECTOR_SYSCALL};
    v->pv.kernel_mode = true;
    v->pv.kernel_sp = regs->rsp;
    v->pv.trap[TRAP_GP] = (struct trap_info){TRAP_GP, 0, SEL_GUEST_CS64, HANDLER};
}

static void end(void)
{
    v->pv.l4_user = NULL;
    suite_enter(NULL);
    suite_destroy(guest);
}

/* Functions of their own, as setjmp() forgets what its caller's variables were. */
static bool load_refused(void)
{
    return REFUSED(host_processor_load(v));
}

static bool enter_refused(void)
{
    return REFUSED(host_processor_enter());
}

static bool use_refused(void)
{
    mfn_t mfn;
    return REFUSED((void)host_tlb_use(USER_VA, false, &mfn));
}

static void drop(struct frame *f)
{
    CU_ASSERT_TRUE(frame_drop_allocation(f));
}

/* ---- what it refuses ---- */

static void test_refuses__segment_bases(void)
{
    CU_ASSERT(REFUSED(arch_set_segment_base(SEGBASE_FS, HOLE)));
    CU_ASSERT(REFUSED(arch_set_segment_base(SEGBASE_GS_USER, HOLE_END)));
    CU_ASSERT(REFUSED(arch_set_segment_base(SEGBASE_GS_KERNEL, 1UL << 63)));
    begin();
    v->pv.gs_base_user = HOLE;
    CU_ASSERT(load_refused());
    v->pv.gs_base_user = HOLE - 1;
    CU_ASSERT(!load_refused());
    end();
}

static void test_refuses__debug_registers(void)
{
    CU_ASSERT(REFUSED(arch_set_debugreg(6, 1UL << 32)));
    CU_ASSERT(REFUSED(arch_set_debugreg(7, 1UL << 63)));
    CU_ASSERT(REFUSED(arch_set_debugreg(7, 1UL << 13)));
    CU_ASSERT(REFUSED(arch_set_debugreg(4, 0)));
}

static void test_refuses__fpu_state(void)
{
    CU_ASSERT(REFUSED(arch_xsetbv(0)));
    CU_ASSERT(REFUSED(arch_xsetbv(5)));
    CU_ASSERT(REFUSED(arch_xsetbv(arch_facts.xcr0_mask + 1)));
    begin();
    uint8_t *area = v->pv.fpu;
    static const unsigned reserved[] = {26, 512 + 2, 512 + 8, 512 + 63};
    for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++) {
        area[reserved[i]] = 1;
        CU_ASSERT(load_refused());
        area[reserved[i]] = 0;
        CU_ASSERT(!load_refused());
    }
    end();
}

static void test_refuses__ways_into_a_guest(void)
{
    begin();
    CU_ASSERT(!enter_refused());
    regs->rip = HOLE;
    CU_ASSERT(enter_refused());
    regs->entry_vector = 0; /* IRETQ: the fault is the guest's */
    CU_ASSERT(!enter_refused());
    regs->cs &= 0xfffc;
    CU_ASSERT(enter_refused());
    regs->cs = SEL_GUEST_CS32;
    CU_ASSERT(!enter_refused());
    regs->entry_vector = VECTOR_SYSCALL;
    regs->rip = USER_VA;
    CU_ASSERT(enter_refused());
    regs->cs = SEL_GUEST_CS64;
    static const uint64_t flags[] = {X86_EFLAGS_IF, 1UL << 12, X86_EFLAGS_NT, X86_EFLAGS_VM};
    for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
        regs->rflags ^= flags[i];
        CU_ASSERT(enter_refused());
        regs->rflags ^= flags[i];
    }
    end();
}

/* ---- what a guest cannot make the hypervisor ask for ---- */

static void test_guest__segment_bases(void)
{
    static const uint32_t msrs[] = {MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE};
    static const uint64_t bases[] = {HOLE, HOLE_END, 1UL << 63, 1UL << 47, ~0UL >> 1};
    begin();
    for (unsigned i = 0; i < ARRAY_SIZE(bases); i++) {
        for (unsigned which = 0; which < 3; which++) {
            CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_segment_base, which, bases[i], 0), -EINVAL);
            CU_ASSERT_FALSE(msr_write(v, msrs[which], bases[i]));
        }
    }
    CU_ASSERT(!enter_refused());
    end();
}

static void test_guest__contexts(void)
{
    static struct vcpu_guest_context c;
    begin();
    struct frame *l4 = frame_alloc_domain(guest, 0, 0);
    struct vcpu *other = guest->vcpu[1];
    for (unsigned i = 0; i < 8; i++) {
        memset(&c, 0, sizeof(c));
        c.user_regs = *regs;
        c.ctrlreg[3] = xen_pfn_to_cr3(frame_to_mfn(l4));
        c.flags = VGCF_in_kernel | VGCF_i387_valid;
        c.user_regs.cs = c.user_regs.ss = 0;           /* become ring 3 */
        c.user_regs.rflags = ~(uint64_t)X86_EFLAGS_IF; /* and ordinary flags */
        memset(&c.fpu_ctxt, 0xff, sizeof(c.fpu_ctxt));
        uint64_t *bad[] = {&c.fs_base,     &c.gs_base_kernel, &c.gs_base_user, &c.user_regs.rip,
                           &c.debugreg[6], &c.debugreg[7],    &c.debugreg[4],  &c.debugreg[5]};
        *bad[i] = i < 4 ? HOLE : ~0UL;
        vaddr_t at = host_guest_put(&c, sizeof(c));
        long rc = suite_call(__HYPERVISOR_vcpu_op, VCPUOP_initialise, 1, at);
        CU_ASSERT_EQUAL(rc, i < 4 ? -EINVAL : 0);
        if (rc == 0) {
            suite_enter(other);
            *regs = other->regs;
            CU_ASSERT(!enter_refused());
            suite_enter(v);
            while (pv_vcpu_release(other)) {
            }
        }
    }
    drop(l4);
    end();
}

static void test_guest__iret(void)
{
    struct {
        uint64_t rax, r11, rcx, flags, rip, cs, rflags, rsp, ss;
    } frame;
    static const uint64_t rips[] = {HOLE, HOLE_END, USER_VA, HYP_VIRT_START};
    static const uint16_t selectors[] = {0, SEL_GUEST_CS32 & 0xfffc, 8, 0xfffc, 0xe033};
    for (unsigned i = 0; i < ARRAY_SIZE(rips) * ARRAY_SIZE(selectors); i++) {
        begin();
        memset(&frame, 0xff, sizeof(frame));
        frame.flags = i & 1 ? VGCF_in_syscall : 0;
        frame.rip = rips[i % ARRAY_SIZE(rips)];
        frame.cs = frame.ss = selectors[i / ARRAY_SIZE(rips)] & ~3U;
        frame.rflags = ~0UL & ~X86_EFLAGS_IF;
        regs->rsp = host_guest_put(&frame, sizeof(frame));
        regs->rax = __HYPERVISOR_iret;
        upcall_syscall(regs);
        CU_ASSERT(!enter_refused());
        CU_ASSERT_EQUAL(guest->shutdown_code, DOMAIN_NO_CODE);
        end();
    }
}

static void test_guest__syscall_at_the_edge(void)
{
    begin();
    regs->rip = HOLE;
    regs->rax = __HYPERVISOR_xen_version;
    upcall_syscall(regs);
    CU_ASSERT(!enter_refused());
    regs->entry_vector = VECTOR_SYSCALL;
    regs->cs = SEL_GUEST_CS32;
    upcall_syscall(regs);
    CU_ASSERT(!enter_refused());
    end();
}

static void test_guest__unknown_msrs(void)
{
    uint64_t value;
    begin();
    for (uint32_t msr = 0; msr < 0x2000; msr++) {
        /* None can be read on this machine: what has no constant answer is a fault. */
        bool known = msr_read(v, msr, &value);
        CU_ASSERT(known == (msr == MSR_TSC || msr == MSR_APIC_BASE || msr == MSR_PAT ||
                            (msr >= 0x174 && msr <= 0x176) || msr == 0x179 || msr == 0x17a));
    }
    v->pv.trap[TRAP_GP].address = 0; /* nor can a kernel that is still starting */
    CU_ASSERT_FALSE(msr_read(v, 0x1234, &value));
    CU_ASSERT_FALSE(msr_read(v, MSR_MISC_ENABLE, &value));
    end();
}

/* ---- translations ---- */

struct tables {
    struct frame *level[5], *data[2]; /* of level 1 to 4 */
};

static struct tables make_tables(void)
{
    struct tables t;
    for (unsigned i = 0; i < 7; i++) {
        *(i < 5 ? &t.level[i] : &t.data[i - 5]) = frame_alloc_domain(guest, 0, 0);
    }
    for (unsigned level = 4; level > 1; level--) {
        uint64_t *entries = frame_to_virt(t.level[level]);
        entries[PT_INDEX(USER_VA, level)] = frame_to_mfn(t.level[level - 1]) << PAGE_SHIFT | TABLE;
    }
    host.models_tlb = true;
    v->pv.l4 = t.level[4];
    arch_load_page_tables(v);
    return t;
}

static uint64_t *leaf(const struct tables *t)
{
    return (uint64_t *)frame_to_virt(t->level[1]) + PT_INDEX(USER_VA, 1);
}

static void drop_tables(const struct tables *t)
{
    v->pv.l4 = NULL;
    *leaf(t) = 0;
    memset(&host_tlb[0], 0, sizeof(host_tlb[0]));
    host.models_tlb = false;
    for (unsigned i = 0; i < 7; i++) {
        drop(i < 5 ? t->level[i] : t->data[i - 5]);
    }
}

static mfn_t translation(void)
{
    mfn_t mfn = INVALID_MFN;
    return host_tlb_use(USER_VA, false, &mfn) ? mfn : INVALID_MFN;
}

/* A translation the tables mark global outlives every load of CR3; only its own address's flush
 * ends it. */
static void test_tlb__keeps_what_is_global(void)
{
    begin();
    struct tables t = make_tables();
    mfn_t first = frame_to_mfn(t.data[0]), second = frame_to_mfn(t.data[1]);
    for (unsigned global = 0; global < 2; global++) {
        uint64_t flags = TABLE | (global ? X86_PTE_G : 0);
        *leaf(&t) = first << PAGE_SHIFT | flags;
        CU_ASSERT_EQUAL(translation(), first);
        *leaf(&t) = second << PAGE_SHIFT | flags;
        CU_ASSERT_EQUAL(translation(), first); /* nobody has flushed */
        arch_tlb_flush_local(FLUSH_TLB, 0);
        CU_ASSERT_EQUAL(translation(), global ? first : second);
        arch_tlb_flush_local(FLUSH_ONE, USER_VA);
        CU_ASSERT_EQUAL(translation(), second);
        arch_tlb_flush_local(FLUSH_ONE, USER_VA);
    }
    drop_tables(&t);
    end();
}

static void test_tlb__refuses_reserved_bits(void)
{
    begin();
    struct tables t = make_tables();
    for (unsigned bit = arch_facts.maddr_bits; bit < 52; bit++) {
        *leaf(&t) = frame_to_mfn(t.data[0]) << PAGE_SHIFT | TABLE | 1UL << bit;
        CU_ASSERT(use_refused());
    }
    *leaf(&t) = 1UL << 51; /* not present: anything */
    CU_ASSERT_EQUAL(translation(), INVALID_MFN);
    drop_tables(&t);
    end();
}

/* By every door: the bit is taken off, so that a load of CR3 ends a guest's translations; address
 * bits that do not exist are refused. */
static void test_guest__global_and_reserved_bits(void)
{
    begin();
    struct frame *table = frame_alloc_domain(guest, 0, 0), *data = frame_alloc_domain(guest, 0, 0);
    uint64_t *entries = frame_to_virt(table), good = frame_to_mfn(data) << PAGE_SHIFT | TABLE;
    entries[1] = good | X86_PTE_G;
    {
        SPIN_GUARD(&guest->mmu_lock);
        CU_ASSERT_EQUAL(page_type_pin(frame_to_mfn(table), guest, TYPE_L1), 0);
        CU_ASSERT_EQUAL(entries[1], good);
        CU_ASSERT_EQUAL(mmu_entry_set(table, 2, good | X86_PTE_G, guest, guest, false), 0);
        CU_ASSERT_EQUAL(entries[2], good);
        CU_ASSERT_EQUAL(mmu_entry_set(table, 2, good | X86_PTE_G, guest, guest, true), 0);
        CU_ASSERT_EQUAL(entries[2], good);
        for (unsigned bit = arch_facts.maddr_bits; bit < 52; bit++) {
            CU_ASSERT_EQUAL(mmu_entry_set(table, 3, good | 1UL << bit, guest, guest, false),
                            -EINVAL);
            CU_ASSERT_EQUAL(entries[3], 0);
        }
        CU_ASSERT_EQUAL(page_type_unpin(frame_to_mfn(table), guest), 0);
    }
    drop(table);
    drop(data);
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_refuses__segment_bases),
        CASE(test_refuses__debug_registers),
        CASE(test_refuses__fpu_state),
        CASE(test_refuses__ways_into_a_guest),
        CASE(test_guest__segment_bases),
        CASE(test_guest__contexts),
        CASE(test_guest__iret),
        CASE(test_guest__syscall_at_the_edge),
        CASE(test_guest__unknown_msrs),
        CASE(test_tlb__keeps_what_is_global),
        CASE(test_tlb__refuses_reserved_bits),
        CASE(test_guest__global_and_reserved_bits),
    };
    return SUITE("processor", 1, cases);
}
