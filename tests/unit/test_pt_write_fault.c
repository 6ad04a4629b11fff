// SPDX-License-Identifier: MIT
/*
 * pv/pt_write_fault.c, through the page fault it is part of: a kernel's stores to its level-1
 * tables, which it maps read-only, and what is refused and goes to the guest as the fault it is.
 */
#include <string.h>

#include "arch/upcalls.h"
#include "core/deferred.h"
#include "core/frame.h"
#include "pv/mmu_update.h"
#include "pv/page_type.h"
#include "suite.h"

#define TABLE (X86_PTE_P | X86_PTE_RW | X86_PTE_US)
#define READ_ONLY (X86_PTE_P | X86_PTE_US)
#define BASE 0x400000UL
#define HANDLER 0xffffffff81000000UL

/* What the one level-1 table maps, from BASE on: a page each. */
enum { AT_L1, AT_L2, AT_DATA, AT_DATA_RO, AT_DEVICE, AT_UNUSED, AT_FREE };
#define AT(page, index) (BASE + (page)*PAGE_SIZE + (index)*8UL)

static struct domain *guest;
static struct vcpu *v;
static struct cpu_user_regs *regs;
static struct frame *l4, *l3, *l2, *l1, *data, *spare;

static uint64_t *entries(struct frame *f)
{
    return frame_to_virt(f);
}

static uint64_t entry_of(const struct frame *f, uint64_t flags)
{
    return frame_to_mfn(f) << PAGE_SHIFT | flags;
}

static void begin(void)
{
    struct frame **all[] = {&l4, &l3, &l2, &l1, &data, &spare};
    guest = suite_domain(1, 1);
    v = guest->vcpu[0];
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        *all[i] = frame_alloc_domain(guest, 0, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(*all[i]);
    }
    entries(l4)[PT_INDEX(BASE, 4)] = entry_of(l3, TABLE);
    entries(l3)[PT_INDEX(BASE, 3)] = entry_of(l2, TABLE);
    entries(l2)[PT_INDEX(BASE, 2)] = entry_of(l1, TABLE);
    entries(l1)[AT_L1] = entry_of(l1, READ_ONLY);
    entries(l1)[AT_L2] = entry_of(l2, READ_ONLY);
    entries(l1)[AT_DATA] = entry_of(data, TABLE);
    entries(l1)[AT_DATA_RO] = entry_of(spare, READ_ONLY);
    suite_enter(v);
    (void)deferred_take(); /* waking the vCPU asked for the scheduler: nothing is to be preempted */
    spin_lock(&guest->mmu_lock);
    CU_ASSERT_EQUAL(page_type_pin(frame_to_mfn(l4), guest, TYPE_L4), 0);
    spin_unlock(&guest->mmu_lock);
    v->pv.l4 = l4; /* the pin keeps it */
    guest->pv.vm_assist = 1U << VMASST_TYPE_writable_pagetables;
    regs = guest_regs();
    memset(regs, 0, sizeof(*regs));
    regs->cs = SEL_GUEST_CS64;
    regs->rflags = X86_EFLAGS_IF | X86_EFLAGS_FIXED;
    regs->rsp = host_guest_alloc(4096) + 4096;
    v->pv.kernel_mode = true;
    v->pv.trap[TRAP_PF] = (struct trap_info){TRAP_PF, 0, SEL_GUEST_CS64, HANDLER};
}

static void end(void)
{
    v->pv.l4 = NULL;
    suite_enter(NULL);
    suite_destroy(guest);
}

enum result { STORED, AGAIN, FAULTED };

/* The instruction stores rcx to rdi and the processor refuses. */
static enum result store(const uint8_t *bytes, unsigned count, vaddr_t to, uint64_t value)
{
    vaddr_t rip = host_guest_put(bytes, count), rsp = regs->rsp;
    regs->rip = rip;
    regs->rdi = to;
    regs->rcx = value;
    regs->entry_vector = TRAP_PF;
    regs->error_code = PF_P | PF_W | PF_U;
    upcall_guest_trap(regs, to);
    if (regs->rip == HANDLER) {
        CU_ASSERT_EQUAL(v->info->arch.cr2, to);
        regs->rsp = rsp;
        return FAULTED;
    }
    CU_ASSERT_EQUAL(regs->rsp, rsp);
    CU_ASSERT_TRUE(regs->rip == rip || regs->rip == rip + count);
    return regs->rip == rip ? AGAIN : STORED;
}

static const uint8_t mov8[] = {0x48, 0x89, 0x0f}, mov4[] = {0x89, 0x0f}, mov1[] = {0x88, 0x0f};
static const uint8_t xchg8[] = {0x48, 0x87, 0x0f};
static const uint8_t cmpxchg8[] = {0xf0, 0x48, 0x0f, 0xb1, 0x0f};
static const uint8_t nop[] = {0x90, 0x90};
#define STORE(insn, to, value) store(insn, sizeof(insn), to, value)

static uint64_t writers(const struct frame *f)
{
    return (f->type & TYPE_MASK) == TYPE_WRITABLE ? f->type & TYPE_COUNT_MASK : 0;
}

static void test_store__is_an_update_with_references(void)
{
    begin();
    uint64_t pte = entry_of(data, TABLE);
    CU_ASSERT_EQUAL(writers(data), 1);
    CU_ASSERT_EQUAL(STORE(mov8, AT(AT_L1, AT_FREE), pte), STORED);
    CU_ASSERT_EQUAL(entries(l1)[AT_FREE], pte);
    CU_ASSERT_EQUAL(writers(data), 2);
    CU_ASSERT_EQUAL(frame_ref_count(data), 3);
    CU_ASSERT_EQUAL(STORE(xchg8, AT(AT_L1, AT_FREE), 0), STORED);
    CU_ASSERT_EQUAL(regs->rcx, pte);
    CU_ASSERT_EQUAL(entries(l1)[AT_FREE], 0);
    CU_ASSERT_EQUAL(writers(data), 1);
    CU_ASSERT_EQUAL(frame_ref_count(data), 2);
    end();
}

static void test_store__part_of_an_entry(void)
{
    begin();
    entries(l1)[AT_FREE] = 0x5500000000; /* not present: any bits */
    CU_ASSERT_EQUAL(STORE(mov4, AT(AT_L1, AT_FREE), 0x12345678), STORED);
    CU_ASSERT_EQUAL(entries(l1)[AT_FREE], 0x5512345678);
    CU_ASSERT_EQUAL(STORE(mov1, AT(AT_L1, AT_FREE) + 5, 0xaa), STORED);
    CU_ASSERT_EQUAL(entries(l1)[AT_FREE], 0xaa5512345678);
    CU_ASSERT_EQUAL(STORE(mov4, AT(AT_L1, AT_FREE) + 4, 0), STORED);
    CU_ASSERT_EQUAL(entries(l1)[AT_FREE], 0x12345678);
    end();
}

static void test_store__compare_that_does_not_match(void)
{
    begin();
    uint64_t pte = entry_of(data, TABLE);
    regs->rax = 1;
    CU_ASSERT_EQUAL(STORE(cmpxchg8, AT(AT_L1, AT_FREE), pte), STORED);
    CU_ASSERT_EQUAL(entries(l1)[AT_FREE], 0);
    CU_ASSERT_EQUAL(regs->rax, 0); /* what is there */
    CU_ASSERT_EQUAL(STORE(cmpxchg8, AT(AT_L1, AT_FREE), pte), STORED);
    CU_ASSERT_EQUAL(entries(l1)[AT_FREE], pte);
    CU_ASSERT_EQUAL(writers(data), 2);
    end();
}

static void test_store__refused_entries_are_the_guests_fault(void)
{
    begin();
    const uint64_t bad[] = {entry_of(l1, TABLE), entry_of(l2, TABLE),
                            entry_of(data, TABLE | X86_PTE_PCD),
                            (HOST_FRAMES + 5UL) << PAGE_SHIFT | TABLE};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        CU_ASSERT_EQUAL(STORE(mov8, AT(AT_L1, AT_FREE), bad[i]), FAULTED);
        CU_ASSERT_EQUAL(entries(l1)[AT_FREE], 0);
    }
    end();
}

static void test_store__not_one_entry(void)
{
    begin();
    CU_ASSERT_EQUAL(STORE(mov8, AT(AT_L1, AT_FREE) + 4, 0), FAULTED); /* the ends of two */
    CU_ASSERT_EQUAL(STORE(mov4, AT(AT_L1, AT_FREE) + 6, 0), FAULTED);
    CU_ASSERT_EQUAL(STORE(nop, AT(AT_L1, AT_FREE), 0), FAULTED); /* no store at all */
    end();
}

/* The fault is on a table, the instruction (changed by another vCPU since) stores elsewhere. */
static void test_store__elsewhere_than_the_fault(void)
{
    begin();
    regs->rip = host_guest_put(mov8, sizeof(mov8));
    regs->rdi = AT(AT_DATA, 0);
    regs->rcx = 1;
    regs->error_code = PF_P | PF_W | PF_U;
    regs->entry_vector = TRAP_PF;
    upcall_guest_trap(regs, AT(AT_L1, AT_FREE));
    CU_ASSERT_EQUAL(regs->rip, HANDLER);
    CU_ASSERT_EQUAL(entries(data)[0], 0);
    end();
}

static void test_store__only_to_level_1_tables_mapped_read_only(void)
{
    begin();
    entries(l1)[AT_DEVICE] = 0xfee00000 | READ_ONLY; /* no frame of memory */
    CU_ASSERT_EQUAL(STORE(mov8, AT(AT_L2, 9), 0), FAULTED);
    CU_ASSERT_EQUAL(STORE(mov8, AT(AT_DATA, 0), 0), FAULTED);    /* mapped writable by now */
    CU_ASSERT_EQUAL(STORE(mov8, AT(AT_DATA_RO, 0), 0), FAULTED); /* no table */
    CU_ASSERT_EQUAL(STORE(mov8, AT(AT_DEVICE, 0), 0), FAULTED);
    CU_ASSERT_EQUAL(STORE(mov8, AT(AT_UNUSED, 0), 0), FAULTED);
    CU_ASSERT_EQUAL(STORE(mov8, 0x0000700000000000, 0), FAULTED); /* no tables there */
    CU_ASSERT_EQUAL(STORE(mov8, M2P_RO_START, 0), FAULTED);
    CU_ASSERT_EQUAL(entries(l2)[9], 0);
    CU_ASSERT_EQUAL(entries(spare)[0], 0);
    entries(l1)[AT_DEVICE] = 0;
    end();
}

static void test_store__only_for_the_kernel_that_asked(void)
{
    begin();
    guest->pv.vm_assist = 0;
    CU_ASSERT_EQUAL(STORE(mov8, AT(AT_L1, AT_FREE), 0x5500), FAULTED);
    guest->pv.vm_assist = 1U << VMASST_TYPE_writable_pagetables;
    v->pv.kernel_sp = regs->rsp;
    v->pv.kernel_mode = false;
    CU_ASSERT_EQUAL(STORE(mov8, AT(AT_L1, AT_FREE), 0x5500), FAULTED);
    CU_ASSERT_EQUAL(entries(l1)[AT_FREE], 0);
    end();
}

/* Another vCPU, while the instruction is read. */
static void unmap_table(void)
{
    host.on_access = NULL;
    spin_lock(&guest->mmu_lock);
    CU_ASSERT_EQUAL(mmu_entry_set(l1, AT_L1, 0, guest, guest, false), 0);
    spin_unlock(&guest->mmu_lock);
}

static void test_store__tables_change_meanwhile(void)
{
    begin();
    host.on_access = unmap_table;
    /* The tables are looked at once, after the instruction: the fault is what the guest gets. */
    CU_ASSERT_EQUAL(STORE(mov8, AT(AT_L1, AT_FREE), 0x5500), FAULTED);
    CU_ASSERT_EQUAL(entries(l1)[AT_FREE], 0);
    CU_ASSERT_EQUAL(STORE(mov8, AT(AT_L1, AT_FREE), 0x5500), FAULTED);
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_store__is_an_update_with_references),
        CASE(test_store__part_of_an_entry),
        CASE(test_store__compare_that_does_not_match),
        CASE(test_store__refused_entries_are_the_guests_fault),
        CASE(test_store__not_one_entry),
        CASE(test_store__elsewhere_than_the_fault),
        CASE(test_store__only_to_level_1_tables_mapped_read_only),
        CASE(test_store__only_for_the_kernel_that_asked),
        CASE(test_store__tables_change_meanwhile),
    };
    return SUITE("pt_write_fault", 1, cases);
}
