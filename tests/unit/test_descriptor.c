// SPDX-License-Identifier: MIT
/*
 * pv/descriptor.c: which descriptors a guest may have, its GDT, single descriptors, and LDT pages,
 * checked as they are first touched. Every case counts what it holds of the pages.
 */
#include <string.h>

#include "arch/upcalls.h"
#include "core/deferred.h"
#include "core/frame.h"
#include "pv/descriptor.h"
#include "pv/mmu_update.h"
#include "pv/page_type.h"
#include "suite.h"

#define TABLE (X86_PTE_P | X86_PTE_RW | X86_PTE_US)
#define LDT_VA 0x400000UL
#define LDT_WINDOW (PERCPU_START + PERCPU_LDT)

#define CODE64 0x00af9b000000ffffUL /* DPL 0 */
#define DATA32 0x00cff3000000ffffUL /* DPL 3 */
#define DPL3 (3UL << 45)
#define CALL_GATE 0x0000ec0000080000UL
#define TSS 0x0000890000000067UL
#define LDT_DESC 0x000082000000ffffUL
#define TASK_GATE 0x0000e50000080000UL
#define ABSENT_GATE 0x00006c0000080000UL

static struct domain *guest;
static struct vcpu *v;

static struct frame *new_frame(void)
{
    struct frame *f = frame_alloc_domain(guest, 0, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    return f;
}

static uint64_t *entries(struct frame *f)
{
    return frame_to_virt(f);
}

static void begin(void)
{
    guest = suite_domain(1, 1);
    v = guest->vcpu[0];
    suite_enter(v);
    (void)deferred_take(); /* waking the vCPU asked for the scheduler: nothing is to be preempted */
}

static void end(void)
{
    v->pv.l4 = NULL;
    suite_enter(NULL);
    suite_destroy(guest);
}

static bool is_descriptors(const struct frame *f, unsigned times)
{
    return (f->type & TYPE_MASK) == TYPE_SEGDESC && (f->type & TYPE_COUNT_MASK) == times &&
           frame_ref_count(f) == 1 + times;
}

static bool is_free(const struct frame *f)
{
    return (f->type & TYPE_COUNT_MASK) == 0 && frame_ref_count(f) == 1;
}

static long set_gdt(const mfn_t *frames, unsigned count, uint64_t entries_wanted)
{
    vaddr_t list = host_guest_put(frames, count * sizeof(*frames));
    return suite_call(__HYPERVISOR_set_gdt, list, entries_wanted, 0);
}

static void test_set_gdt__replaces_the_old_one(void)
{
    begin();
    struct frame *a = new_frame(), *b = new_frame(), *c = new_frame();
    entries(a)[1] = CODE64;
    entries(a)[2] = DATA32;
    entries(a)[3] = ABSENT_GATE; /* not present: says nothing */
    const mfn_t two[] = {frame_to_mfn(a), frame_to_mfn(b)}, one[] = {frame_to_mfn(c)};
    CU_ASSERT_EQUAL(set_gdt(two, 2, 513), 0);
    CU_ASSERT(is_descriptors(a, 1) && is_descriptors(b, 1));
    CU_ASSERT_EQUAL(v->pv.gdt_entries, 513);
    CU_ASSERT_EQUAL(entries(a)[1], CODE64 | DPL3); /* never with more rights than it has */
    CU_ASSERT_EQUAL(entries(a)[2], DATA32);
    CU_ASSERT_EQUAL(entries(a)[3], ABSENT_GATE);
    CU_ASSERT_EQUAL(set_gdt(one, 1, 512), 0);
    CU_ASSERT(is_free(a) && is_free(b) && is_descriptors(c, 1));
    CU_ASSERT_EQUAL(set_gdt(one, 1, 0), 0);
    CU_ASSERT(is_free(c));
    end();
}

static void test_set_gdt__refused(void)
{
    static const uint64_t bad[] = {CALL_GATE, TSS, LDT_DESC, TASK_GATE};
    begin();
    struct frame *good = new_frame(), *other = new_frame();
    const mfn_t two[] = {frame_to_mfn(good), frame_to_mfn(other)};
    CU_ASSERT_EQUAL(set_gdt(two, 1, 1), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        entries(other)[511] = bad[i];
        CU_ASSERT_EQUAL(set_gdt(two, 2, 1024), -EINVAL);
        CU_ASSERT(is_descriptors(good, 1) && is_free(other)); /* as before */
        CU_ASSERT_EQUAL(v->pv.gdt_entries, 1);
    }
    entries(other)[511] = 0;
    CU_ASSERT_FALSE(frame_get_writable(other)); /* in use as data */
    CU_ASSERT_EQUAL(set_gdt(two, 2, 1024), -EINVAL);
    frame_put_writable(other);
    CU_ASSERT_EQUAL(set_gdt((mfn_t[]){frame_to_mfn(good), 3}, 2, 1024), -EINVAL);
    CU_ASSERT_EQUAL(set_gdt((mfn_t[]){HOST_FRAMES + 7}, 1, 1), -EINVAL);
    CU_ASSERT_EQUAL(set_gdt(two, 2, GDT_RESERVED_FIRST + 1), -EINVAL);
    CU_ASSERT_EQUAL(set_gdt(two, 2, 1UL << 32), -EINVAL);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_gdt, HOST_BAD_ADDR, 1, 0), -EFAULT);
    CU_ASSERT(is_descriptors(good, 1) && is_free(other));
    end();
}

static void test_update_descriptor__in_every_kind_of_page(void)
{
    begin();
    struct frame *gdt = new_frame(), *data = new_frame(), *table = new_frame();
    const mfn_t mfn = frame_to_mfn(gdt);
    CU_ASSERT_EQUAL(set_gdt(&mfn, 1, 512), 0);
    maddr_t at = (mfn << PAGE_SHIFT) + 8 * 7;
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_update_descriptor, at, CODE64, 0), 0);
    CU_ASSERT_EQUAL(entries(gdt)[7], CODE64 | DPL3);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_update_descriptor, at, CALL_GATE, 0), -EINVAL);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_update_descriptor, at + 4, DATA32, 0), -EINVAL);
    CU_ASSERT_EQUAL(entries(gdt)[7], CODE64 | DPL3);
    at = frame_to_mfn(data) << PAGE_SHIFT; /* a page that is to become one */
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_update_descriptor, at, DATA32, 0), 0);
    CU_ASSERT_EQUAL(entries(data)[0], DATA32);
    CU_ASSERT(is_free(data) && is_descriptors(gdt, 1));
    spin_lock(&guest->mmu_lock);
    CU_ASSERT_EQUAL(page_type_pin(frame_to_mfn(table), guest, TYPE_L1), 0);
    spin_unlock(&guest->mmu_lock);
    at = frame_to_mfn(table) << PAGE_SHIFT;
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_update_descriptor, at, DATA32, 0), -EINVAL);
    CU_ASSERT_EQUAL(entries(table)[0], 0);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_update_descriptor, 3UL << PAGE_SHIFT, 0, 0), -EINVAL);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_update_descriptor, ~7UL, 0, 0), -EINVAL);
    end();
}

/* ---- LDT ---- */

static struct frame *l1, *ldt, *writable;

/* Page tables that map an LDT page read-only and, behind it, one that may be written. */
static void map_ldt(void)
{
    struct frame *l4 = new_frame(), *l3 = new_frame(), *l2 = new_frame();
    l1 = new_frame();
    ldt = new_frame();
    writable = new_frame();
    entries(l4)[PT_INDEX(LDT_VA, 4)] = frame_to_mfn(l3) << PAGE_SHIFT | TABLE;
    entries(l3)[PT_INDEX(LDT_VA, 3)] = frame_to_mfn(l2) << PAGE_SHIFT | TABLE;
    entries(l2)[PT_INDEX(LDT_VA, 2)] = frame_to_mfn(l1) << PAGE_SHIFT | TABLE;
    entries(l1)[0] = frame_to_mfn(ldt) << PAGE_SHIFT | (TABLE & ~X86_PTE_RW);
    entries(l1)[1] = frame_to_mfn(writable) << PAGE_SHIFT | TABLE;
    spin_lock(&guest->mmu_lock);
    CU_ASSERT_EQUAL(page_type_pin(frame_to_mfn(l4), guest, TYPE_L4), 0);
    spin_unlock(&guest->mmu_lock);
    v->pv.l4 = l4; /* the pin keeps it */
}

static long set_ldt(vaddr_t base, unsigned count)
{
    struct mmuext_op op = {.cmd = MMUEXT_SET_LDT, .arg1.linear_addr = base, .arg2.nr_ents = count};
    struct hypercall hc = {.v = v,
                           .d = guest,
                           .nr = __HYPERVISOR_mmuext_op,
                           .arg = {host_guest_put(&op, sizeof(op)), 1, 0, DOMID_SELF}};
    host_fetch_reset();
    return hypercall_dispatch(&hc);
}

static void test_ldt__pages_come_when_they_are_touched(void)
{
    begin();
    map_ldt();
    entries(ldt)[3] = CODE64;
    CU_ASSERT_EQUAL(set_ldt(LDT_VA, 1024), 0);
    CU_ASSERT_PTR_NULL(v->pv.ldt[0]);
    CU_ASSERT_TRUE(upcall_hyp_fault(LDT_WINDOW + 3 * 8));
    CU_ASSERT_PTR_EQUAL(v->pv.ldt[0], ldt);
    CU_ASSERT_EQUAL(entries(ldt)[3], CODE64 | DPL3);
    CU_ASSERT_EQUAL(ldt->type & TYPE_COUNT_MASK, 1);
    CU_ASSERT_FALSE(upcall_hyp_fault(LDT_WINDOW + 3 * 8));         /* it is there already */
    CU_ASSERT_FALSE(upcall_hyp_fault(LDT_WINDOW + PAGE_SIZE));     /* mapped writable */
    CU_ASSERT_FALSE(upcall_hyp_fault(LDT_WINDOW + 2 * PAGE_SIZE)); /* beyond its end */
    CU_ASSERT_EQUAL(set_ldt(LDT_VA, 1024), 0);                     /* the same: nothing happens */
    CU_ASSERT_PTR_EQUAL(v->pv.ldt[0], ldt);
    CU_ASSERT_EQUAL(set_ldt(LDT_VA, 512), 0);
    CU_ASSERT_PTR_NULL(v->pv.ldt[0]);
    CU_ASSERT_EQUAL(ldt->type & TYPE_COUNT_MASK, 0);
    CU_ASSERT_TRUE(upcall_hyp_fault(LDT_WINDOW));
    CU_ASSERT_EQUAL(set_ldt(0, 0), 0);
    CU_ASSERT_EQUAL(ldt->type & TYPE_COUNT_MASK, 0);
    CU_ASSERT_EQUAL(frame_ref_count(ldt), 2); /* ours and that of the entry */
    end();
}

static void test_ldt__guest_fault_is_handled_silently(void)
{
    begin();
    map_ldt();
    CU_ASSERT_EQUAL(set_ldt(LDT_VA, 1), 0);
    struct cpu_user_regs *regs = guest_regs();
    memset(regs, 0, sizeof(*regs));
    regs->entry_vector = TRAP_PF;
    regs->rip = 0x1000;
    regs->rsp = 0x2000;
    upcall_guest_trap(regs, LDT_WINDOW + 8); /* retried */
    CU_ASSERT(regs->rip == 0x1000 && regs->rsp == 0x2000);
    CU_ASSERT_PTR_EQUAL(v->pv.ldt[0], ldt);
    CU_ASSERT_EQUAL(set_ldt(0, 0), 0);
    end();
}

static void test_ldt__bad_contents(void)
{
    begin();
    map_ldt();
    entries(ldt)[0] = CALL_GATE;
    CU_ASSERT_EQUAL(set_ldt(LDT_VA, 512), 0); /* nobody has looked yet */
    CU_ASSERT_FALSE(upcall_hyp_fault(LDT_WINDOW));
    CU_ASSERT_PTR_NULL(v->pv.ldt[0]);
    CU_ASSERT_EQUAL(ldt->type & TYPE_COUNT_MASK, 0);
    CU_ASSERT_EQUAL(set_ldt(LDT_VA + 0x200000, 512), 0); /* not mapped at all */
    CU_ASSERT_FALSE(upcall_hyp_fault(LDT_WINDOW));
    CU_ASSERT_EQUAL(set_ldt(0, 0), 0);
    end();
}

static void test_set_ldt__refused(void)
{
    begin();
    CU_ASSERT_EQUAL(set_ldt(LDT_VA, 8193), -EINVAL);
    CU_ASSERT_EQUAL(set_ldt(LDT_VA + 8, 1), -EINVAL);
    CU_ASSERT_EQUAL(set_ldt(HYP_VIRT_START, 1), -EINVAL);
    CU_ASSERT_EQUAL(set_ldt(0x0000800000000000, 1), -EINVAL);
    CU_ASSERT_EQUAL(v->pv.ldt_entries, 0);
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_set_gdt__replaces_the_old_one),
        CASE(test_set_gdt__refused),
        CASE(test_update_descriptor__in_every_kind_of_page),
        CASE(test_ldt__pages_come_when_they_are_touched),
        CASE(test_ldt__guest_fault_is_handled_silently),
        CASE(test_ldt__bad_contents),
        CASE(test_set_ldt__refused),
    };
    return SUITE("descriptor", 1, cases);
}
