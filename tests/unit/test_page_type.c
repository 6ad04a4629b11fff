// SPDX-License-Identifier: MIT
/*
 * Page types and the calls that change page tables: pv/page_type.c, mmu_update.c. Every case builds
 * a small tree of tables in the fake machine's memory and counts what it holds before and after.
 */
#include <string.h>

#include "core/deferred.h"
#include "core/frame.h"
#include "core/hooks.h"
#include "pv/mmu_update.h"
#include "pv/page_type.h"
#include "suite.h"

#define TABLE (X86_PTE_P | X86_PTE_RW | X86_PTE_US)
#define DATA_VA 0x400000UL

/* l4 -> l3 -> l2 -> l1 -> data (writable), all of d. */
struct tree {
    struct domain *d;
    struct vcpu *v;
    struct frame *l4, *l3, *l2, *l1, *data;
};

static uint64_t *entries(struct frame *f)
{
    return frame_to_virt(f);
}

static uint64_t entry_of(const struct frame *f, uint64_t flags)
{
    return frame_to_mfn(f) << PAGE_SHIFT | flags;
}

static struct frame *new_frame(struct domain *d)
{
    struct frame *f = frame_alloc_domain(d, 0, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    return f;
}

static struct tree tree_make(domid_t id)
{
    struct tree t = {.d = suite_domain(id, 1)};
    t.v = t.d->vcpu[0];
    t.d->max_pages = 4096;
    t.l4 = new_frame(t.d);
    t.l3 = new_frame(t.d);
    t.l2 = new_frame(t.d);
    t.l1 = new_frame(t.d);
    t.data = new_frame(t.d);
    entries(t.l4)[PT_INDEX(DATA_VA, 4)] = entry_of(t.l3, TABLE);
    entries(t.l3)[PT_INDEX(DATA_VA, 3)] = entry_of(t.l2, TABLE);
    entries(t.l2)[PT_INDEX(DATA_VA, 2)] = entry_of(t.l1, TABLE);
    entries(t.l1)[PT_INDEX(DATA_VA, 1)] = entry_of(t.data, TABLE);
    suite_enter(t.v);
    (void)deferred_take(); /* waking the vCPU asked for the scheduler: nothing is to be preempted */
    return t;
}

static int pin(struct tree *t, struct frame *f, unsigned level)
{
    spin_lock(&t->d->mmu_lock);
    int rc = page_type_pin(frame_to_mfn(f), t->d, (uint64_t)level << TYPE_SHIFT);
    spin_unlock(&t->d->mmu_lock);
    return rc;
}

static int unpin(struct tree *t, struct frame *f)
{
    spin_lock(&t->d->mmu_lock);
    int rc = page_type_unpin(frame_to_mfn(f), t->d);
    spin_unlock(&t->d->mmu_lock);
    return rc;
}

static int set(struct tree *t, struct frame *f, unsigned index, uint64_t pte)
{
    spin_lock(&t->d->mmu_lock);
    int rc = mmu_entry_set(f, index, pte, t->d, t->d, false);
    spin_unlock(&t->d->mmu_lock);
    return rc;
}

static uint64_t type_count(const struct frame *f)
{
    return f->type & TYPE_COUNT_MASK;
}

static bool is_type(const struct frame *f, uint64_t type)
{
    return (f->type & TYPE_MASK) == type && type_count(f) > 0;
}

/* No frame of the tree has a use or a reference but the owner's. */
static void assert_untyped(const struct tree *t)
{
    const struct frame *all[] = {t->l4, t->l3, t->l2, t->l1, t->data};
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        CU_ASSERT_EQUAL(type_count(all[i]), 0);
        CU_ASSERT_EQUAL(frame_ref_count(all[i]), 1);
    }
}

static void tree_end(struct tree *t)
{
    suite_enter(NULL);
    suite_destroy(t->d);
}

static void test_pin__whole_tree(void)
{
    struct tree t = tree_make(1);
    CU_ASSERT_EQUAL(pin(&t, t.l4, 4), 0);
    CU_ASSERT(is_type(t.l4, TYPE_L4) && is_type(t.l3, TYPE_L3) && is_type(t.l2, TYPE_L2));
    CU_ASSERT(is_type(t.l1, TYPE_L1) && is_type(t.data, TYPE_WRITABLE));
    CU_ASSERT_EQUAL(type_count(t.l1), 1);
    CU_ASSERT_EQUAL(frame_ref_count(t.data), 2);
    CU_ASSERT_EQUAL(pin(&t, t.l4, 4), -EINVAL);
    CU_ASSERT_EQUAL(pin(&t, t.l1, 1), 0);
    CU_ASSERT_EQUAL(type_count(t.l1), 2);
    CU_ASSERT_EQUAL(unpin(&t, t.l1), 0);
    CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
    CU_ASSERT_EQUAL(unpin(&t, t.l4), -EINVAL);
    assert_untyped(&t);
    tree_end(&t);
}

static void test_pin__writable_mapping_of_a_table_refused(void)
{
    struct tree t = tree_make(1);
    struct frame *tables[] = {t.l4, t.l3, t.l2, t.l1};
    for (unsigned i = 0; i < ARRAY_SIZE(tables); i++) {
        entries(t.l1)[7] = entry_of(tables[i], TABLE);
        CU_ASSERT_EQUAL(pin(&t, t.l4, 4), -EINVAL);
        assert_untyped(&t);
        entries(t.l1)[7] = entry_of(tables[i], TABLE & ~X86_PTE_RW);
        CU_ASSERT_EQUAL(pin(&t, t.l4, 4), 0);
        CU_ASSERT_EQUAL(set(&t, t.l1, 7, entry_of(tables[i], TABLE)), -EINVAL);
        CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
        assert_untyped(&t);
    }
    tree_end(&t);
}

static void test_pin__bad_entries_refused(void)
{
    struct tree t = tree_make(1), other = tree_make(2);
    suite_enter(t.v);
    struct {
        struct frame *table;
        unsigned index;
        uint64_t pte;
    } bad[] = {
        {t.l2, 9, entry_of(t.l1, TABLE | X86_PTE_PSE)}, /* a large page */
        {t.l3, 9, entry_of(t.l2, TABLE | X86_PTE_PSE)},
        {t.l4, 9, entry_of(t.l4, TABLE)}, /* self-reference */
        {t.l3, 9, entry_of(t.l3, TABLE)},
        {t.l2, 9, entry_of(t.data, TABLE)},     /* data as a table */
        {t.l2, 9, entry_of(t.l3, TABLE)},       /* wrong level */
        {t.l1, 9, entry_of(other.data, TABLE)}, /* somebody else's */
        {t.l1, 9, entry_of(other.data, TABLE & ~X86_PTE_RW)},
        {t.l2, 9, entry_of(other.l1, TABLE)},
        {t.l1, 9, entry_of(t.data, TABLE | X86_PTE_PCD)},     /* cache attributes */
        {t.l1, 9, (HOST_FRAMES + 5UL) << PAGE_SHIFT | TABLE}, /* not RAM */
        {t.l1, 9, 1UL << 51 | TABLE},                         /* beyond the address width */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        entries(bad[i].table)[bad[i].index] = bad[i].pte;
        CU_ASSERT_EQUAL(pin(&t, t.l4, 4), -EINVAL);
        entries(bad[i].table)[bad[i].index] = 0;
        assert_untyped(&t);
        assert_untyped(&other);
        CU_ASSERT_EQUAL(pin(&t, t.l4, 4), 0);
        CU_ASSERT_EQUAL(set(&t, bad[i].table, bad[i].index, bad[i].pte), -EINVAL);
        CU_ASSERT_EQUAL(entries(bad[i].table)[bad[i].index], 0);
        CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
        assert_untyped(&t);
    }
    suite_enter(NULL);
    suite_destroy(other.d);
    tree_end(&t);
}

/* Device memory that the control domain has let a domain have, uncached as its driver wants it. */
static void test_entry__device_memory_given(void)
{
    const mfn_t bar = 0xfebd0;
    struct tree t = tree_make(1);
    const uint64_t entry = bar << PAGE_SHIFT | TABLE | X86_PTE_PCD;
    CU_ASSERT_EQUAL(pin(&t, t.l4, 4), 0);
    CU_ASSERT_EQUAL(set(&t, t.l1, 9, entry), -EINVAL);
    t.d->pv.mmio[3] = (struct device_range){bar, 2};
    CU_ASSERT_EQUAL(set(&t, t.l1, 9, entry), 0);
    CU_ASSERT_EQUAL(set(&t, t.l1, 10, entry + PAGE_SIZE), 0);
    CU_ASSERT_EQUAL(set(&t, t.l1, 11, entry + 2 * PAGE_SIZE), -EINVAL);
    CU_ASSERT_EQUAL(set(&t, t.l2, 9, entry), -EINVAL); /* as a table of all things */
    /* What it was given does not make its own memory uncached, nor the APIC a device. */
    CU_ASSERT_EQUAL(set(&t, t.l1, 11, entry_of(t.data, TABLE | X86_PTE_PCD)), -EINVAL);
    t.d->pv.mmio[4] = (struct device_range){0xfee00, 1};
    CU_ASSERT_EQUAL(set(&t, t.l1, 11, 0xfee00UL << PAGE_SHIFT | TABLE), -EINVAL);
    CU_ASSERT_EQUAL(set(&t, t.l1, 10, 0), 0);
    CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
    assert_untyped(&t);
    entries(t.l1)[9] = 0;
    tree_end(&t);
}

static void test_entry__hypervisor_slots_untouchable(void)
{
    struct tree t = tree_make(1);
    entries(t.l4)[256] = entry_of(t.data, TABLE); /* ignored by validation, overwritten */
    CU_ASSERT_EQUAL(pin(&t, t.l4, 4), 0);
    for (unsigned slot = 256; slot <= 271; slot++) {
        CU_ASSERT_EQUAL(set(&t, t.l4, slot, 0), -EINVAL);
        CU_ASSERT_EQUAL(set(&t, t.l4, slot, entry_of(t.l3, TABLE)), -EINVAL);
    }
    CU_ASSERT_EQUAL(set(&t, t.l4, 255, entry_of(t.l3, TABLE)), 0);
    CU_ASSERT_EQUAL(set(&t, t.l4, 272, entry_of(t.l3, TABLE)), 0);
    CU_ASSERT_EQUAL(type_count(t.l3), 3);
    CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
    CU_ASSERT_EQUAL(type_count(t.l3), 0);
    tree_end(&t);
}

static void test_entry__references_follow(void)
{
    struct tree t = tree_make(1);
    struct frame *more = new_frame(t.d);
    CU_ASSERT_EQUAL(pin(&t, t.l4, 4), 0);
    CU_ASSERT_EQUAL(set(&t, t.l1, 3, entry_of(more, TABLE)), 0);
    CU_ASSERT(is_type(more, TYPE_WRITABLE));
    /* Losing the right to write gives the type back, even when nothing else changes. */
    CU_ASSERT_EQUAL(set(&t, t.l1, 3, entry_of(more, TABLE & ~X86_PTE_RW)), 0);
    CU_ASSERT_EQUAL(type_count(more), 0);
    CU_ASSERT_EQUAL(frame_ref_count(more), 2);
    /* A frame that is only mapped read-only may become a table; then it stays read-only. */
    CU_ASSERT_EQUAL(pin(&t, more, 1), 0);
    CU_ASSERT_EQUAL(set(&t, t.l1, 3, entry_of(more, TABLE)), -EINVAL);
    CU_ASSERT_EQUAL(unpin(&t, more), 0);
    CU_ASSERT_EQUAL(set(&t, t.l1, 3, entry_of(more, TABLE)), 0);
    CU_ASSERT_EQUAL(set(&t, t.l1, 3, 0x1234000), 0); /* not present: anything goes */
    CU_ASSERT_EQUAL(frame_ref_count(more), 1);
    CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
    assert_untyped(&t);
    tree_end(&t);
}

/* What a processor with L1TF could read from the cache. */
static void test_entry__absent_names_no_ram(void)
{
    struct tree t = tree_make(1);
    maddr_t ram = frame_to_mfn(t.data) << PAGE_SHIFT, top = HOST_FRAMES * PAGE_SIZE;
    maddr_t beyond = 1UL << arch_facts.maddr_bits;
    const struct frame *tables[] = {NULL, t.l1, t.l2, t.l3, t.l4};
    /* Swap entry 5 of area 3 and PROT_NONE of pfn 0x1234 as Linux writes them. */
    uint64_t swap = (~5UL << 14 >> 5) | 3UL << 59, none = (~0x1234000UL & X86_PTE_ADDR) | 0x165;
    uint64_t good[] = {0, 0x60, top, top | X86_PTE_RW, swap, none & ~X86_PTE_P, beyond | top};
    uint64_t bad[] = {ram, PAGE_SIZE, top - 8, ram | X86_PTE_RW | X86_PTE_NX, beyond | ram};
    CU_ASSERT_EQUAL(pin(&t, t.l4, 4), 0);
    for (unsigned level = 1; level <= 4; level++) {
        struct frame *f = mfn_to_frame(frame_to_mfn(tables[level]));
        for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
            arch_facts.absent_top = 0;
            CU_ASSERT_EQUAL(set(&t, f, 300, bad[i]), 0);
            CU_ASSERT_EQUAL(set(&t, f, 300, 0), 0);
            arch_facts.absent_top = top;
            CU_ASSERT_EQUAL(set(&t, f, 300, bad[i]), -EINVAL);
            CU_ASSERT_EQUAL(entries(f)[300], 0);
        }
        for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
            CU_ASSERT_EQUAL(set(&t, f, 300, good[i]), 0);
            CU_ASSERT_EQUAL(entries(f)[300], good[i]);
        }
        /* Address 0 with the size of a large page. */
        CU_ASSERT_EQUAL(set(&t, f, 300, X86_PTE_PSE), level == 1 ? 0 : -EINVAL);
        CU_ASSERT_EQUAL(set(&t, f, 300, 0), 0);
    }
    CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
    /* A frame with such an entry does not become a table, of any level, and keeps nothing. */
    for (unsigned level = 1; level <= 4; level++) {
        struct frame *f = mfn_to_frame(frame_to_mfn(tables[level]));
        entries(f)[511] = ram;
        CU_ASSERT_EQUAL(pin(&t, f, level), -EINVAL);
        entries(f)[511] = swap;
        CU_ASSERT_EQUAL(pin(&t, f, level), 0);
        CU_ASSERT_EQUAL(unpin(&t, f), 0);
        entries(f)[511] = 0;
    }
    arch_facts.absent_top = 0;
    assert_untyped(&t);
    tree_end(&t);
}

static void test_entry__accessed_and_dirty_kept_on_demand(void)
{
    struct tree t = tree_make(1);
    unsigned index = PT_INDEX(DATA_VA, 1);
    CU_ASSERT_EQUAL(pin(&t, t.l4, 4), 0);
    entries(t.l1)[index] |= X86_PTE_A | X86_PTE_D;
    spin_lock(&t.d->mmu_lock);
    CU_ASSERT_EQUAL(
        mmu_entry_set(t.l1, index, entry_of(t.data, TABLE & ~X86_PTE_RW), t.d, t.d, true), 0);
    spin_unlock(&t.d->mmu_lock);
    CU_ASSERT_EQUAL(entries(t.l1)[index] & (X86_PTE_A | X86_PTE_D), X86_PTE_A | X86_PTE_D);
    CU_ASSERT_EQUAL(set(&t, t.l1, index, entry_of(t.data, TABLE)), 0);
    CU_ASSERT_EQUAL(entries(t.l1)[index] & (X86_PTE_A | X86_PTE_D), 0);
    CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
    tree_end(&t);
}

/* Writability alone changes only that reference, and a frame of another domain is refused anew. */
static void test_entry__writability_alone(void)
{
    struct tree t = tree_make(1), other = tree_make(2);
    unsigned index = PT_INDEX(DATA_VA, 1);
    uint64_t rw = entry_of(t.data, TABLE), ro = rw & ~X86_PTE_RW;
    CU_ASSERT_EQUAL(pin(&t, t.l4, 4), 0);
    CU_ASSERT_EQUAL(set(&t, t.l1, index, ro), 0);
    CU_ASSERT_EQUAL(type_count(t.data), 0);
    CU_ASSERT_EQUAL(frame_ref_count(t.data), 2);
    /* While it is a table, it cannot be made writable. */
    CU_ASSERT_EQUAL(pin(&t, t.data, 1), 0);
    CU_ASSERT_EQUAL(set(&t, t.l1, index, rw), -EINVAL);
    CU_ASSERT_EQUAL(entries(t.l1)[index] & ~X86_PTE_US, ro & ~X86_PTE_US);
    CU_ASSERT_EQUAL(unpin(&t, t.data), 0);
    CU_ASSERT_EQUAL(set(&t, t.l1, index, rw), 0);
    CU_ASSERT(is_type(t.data, TYPE_WRITABLE));
    CU_ASSERT_EQUAL(frame_ref_count(t.data), 2);

    ro = entry_of(other.data, TABLE & ~X86_PTE_RW);
    spin_lock(&t.d->mmu_lock);
    CU_ASSERT_EQUAL(mmu_entry_set(t.l1, index, ro, t.d, other.d, false), 0);
    CU_ASSERT_EQUAL(mmu_entry_set(t.l1, index, ro | X86_PTE_RW, t.d, t.d, false), -EINVAL);
    CU_ASSERT_EQUAL(type_count(other.data), 0);
    CU_ASSERT_EQUAL(mmu_entry_set(t.l1, index, ro | X86_PTE_RW, t.d, other.d, false), 0);
    CU_ASSERT_EQUAL(mmu_entry_set(t.l1, index, ro, t.d, t.d, false), -EINVAL);
    CU_ASSERT_EQUAL(type_count(other.data), 1);
    spin_unlock(&t.d->mmu_lock);
    CU_ASSERT_EQUAL(set(&t, t.l1, index, 0), 0);
    CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
    assert_untyped(&t);
    assert_untyped(&other);
    tree_end(&other);
    tree_end(&t);
}

static void test_retype__flushes_first(void)
{
    struct tree t = tree_make(1);
    CU_ASSERT_EQUAL(frame_get_writable(t.l1), 0);
    frame_put_writable(t.l1);
    host.flush_count = 0;
    CU_ASSERT_EQUAL(pin(&t, t.l1, 1), 0);
    CU_ASSERT(host.flush_count > 0);
    CU_ASSERT_EQUAL(unpin(&t, t.l1), 0);
    tree_end(&t);
}

/* Every question whether to stop is answered with yes. */
static void always_busy(void)
{
    deferred_raise(arch_cpu_id(), DEFER_TIMER);
}

static void wide_tree(struct tree *t)
{
    for (unsigned i = 0; i < 64; i++) {
        struct frame *l1 = new_frame(t->d);
        entries(l1)[i] = entry_of(t->data, TABLE);
        entries(t->l2)[100 + i] = entry_of(l1, TABLE);
    }
}

static void test_preemption__validation_and_dismantling(void)
{
    struct tree t = tree_make(1);
    unsigned rounds = 0;
    int rc;
    wide_tree(&t);
    host.on_window = always_busy;
    while ((rc = pin(&t, t.l4, 4)) == -ERESTART && rounds < 1000) {
        rounds++;
        /* Half-checked tables are nobody's to change or to write. */
        CU_ASSERT_EQUAL(mmu_table_level(t.l4), 0);
    }
    CU_ASSERT_EQUAL(rc, 0);
    CU_ASSERT(rounds > 3);
    CU_ASSERT_EQUAL(type_count(t.data), 65);
    CU_ASSERT_EQUAL(type_count(t.l4), 1);
    CU_ASSERT_EQUAL(frame_ref_count(t.l4), 2);
    CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
    CU_ASSERT(t.v->mmu_deferred_count > 0);
    for (rounds = 0; rounds < 1000 && !page_type_finish_deferred(t.v); rounds++) {
    }
    CU_ASSERT(rounds > 3 && rounds < 1000);
    host.on_window = NULL;
    (void)deferred_take();
    assert_untyped(&t);
    tree_end(&t);
}

/* What is mapped of a device goes with the right to it, and nothing else. */
static void test_device_unmap(void)
{
    const mfn_t bar = 0xfebd0;
    struct tree t = tree_make(1);
    const uint64_t entry = bar << PAGE_SHIFT | TABLE | X86_PTE_PCD;
    const uint64_t ram = entry_of(t.data, TABLE);
    CU_ASSERT_EQUAL(pin(&t, t.l4, 4), 0);
    t.d->pv.mmio[0] = (struct device_range){bar, 2};
    t.d->pv.mmio[1] = (struct device_range){bar + 8, 1};
    CU_ASSERT_EQUAL(set(&t, t.l1, 9, entry), 0);
    CU_ASSERT_EQUAL(set(&t, t.l1, 511, entry + PAGE_SIZE), 0);
    CU_ASSERT_EQUAL(set(&t, t.l1, 10, entry + 8 * PAGE_SIZE), 0);
    CU_ASSERT_EQUAL(set(&t, t.l1, 11, ram), 0);
    CU_ASSERT_EQUAL(pv_device_unmap(t.d), 0); /* it may have all of them */
    CU_ASSERT_EQUAL(entries(t.l1)[9], entry | X86_PTE_US);
    t.d->pv.mmio[0].count = 0;
    CU_ASSERT_EQUAL(pv_device_unmap(t.d), 0);
    CU_ASSERT_EQUAL(entries(t.l1)[9], 0);
    CU_ASSERT_EQUAL(entries(t.l1)[511], 0);
    CU_ASSERT_EQUAL(entries(t.l1)[10], (entry + 8 * PAGE_SIZE) | X86_PTE_US);
    CU_ASSERT_EQUAL(entries(t.l1)[11], ram);
    /* As often as it is interrupted, in the end all is gone. */
    t.d->pv.mmio[0].count = 2;
    CU_ASSERT_EQUAL(set(&t, t.l1, 9, entry), 0);
    t.d->pv.mmio[0].count = t.d->pv.mmio[1].count = 0;
    unsigned calls = 1;
    host.on_window = always_busy;
    while (pv_device_unmap(t.d) == -ERESTART && calls < 1000000) {
        calls++;
    }
    host.on_window = NULL;
    (void)deferred_take();
    CU_ASSERT(calls > 3);
    CU_ASSERT_EQUAL(entries(t.l1)[9] | entries(t.l1)[10], 0);
    CU_ASSERT_EQUAL(entries(t.l1)[11], ram);
    CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
    assert_untyped(&t);
    tree_end(&t);
}

static void test_preemption__given_up_half_way(void)
{
    struct tree t = tree_make(1);
    wide_tree(&t);
    host.on_window = always_busy;
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(pin(&t, t.l4, 4), -ERESTART);
    }
    host.on_window = NULL;
    (void)deferred_take();
    /* The guest never comes back to it: its death frees everything (checked by the suite). */
    tree_end(&t);
}

static void test_preemption__killed_half_way(void)
{
    struct tree t = tree_make(1);
    wide_tree(&t);
    CU_ASSERT_EQUAL(pin(&t, t.l4, 4), 0);
    host.on_window = always_busy;
    CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
    CU_ASSERT(t.v->mmu_deferred_count > 0);
    host.on_window = NULL;
    (void)deferred_take();
    /* The vCPU never comes to finishing its list: no frame may be lost (checked by the suite). */
    tree_end(&t);
}

static void test_preemption__refused_half_way(void)
{
    struct tree t = tree_make(1);
    int rc;
    wide_tree(&t);
    entries(t.l2)[511] = entry_of(t.data, TABLE | X86_PTE_PSE);
    host.on_window = always_busy;
    while ((rc = pin(&t, t.l4, 4)) == -ERESTART) {
    }
    CU_ASSERT_EQUAL(rc, -EINVAL);
    while (!page_type_finish_deferred(t.v)) {
    }
    host.on_window = NULL;
    (void)deferred_take();
    assert_untyped(&t);
    tree_end(&t);
}

/* ---- hypercalls ---- */

static long call4(uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    struct hypercall hc = {
        .v = current_vcpu(), .d = current_vcpu()->domain, .nr = nr, .arg = {a0, a1, a2, a3}};
    return hypercall_dispatch(&hc);
}

static void test_mmu_update__stops_at_the_first_error(void)
{
    struct tree t = tree_make(1);
    maddr_t l1 = frame_to_mfn(t.l1) << PAGE_SHIFT;
    struct mmu_update req[3] = {
        {.ptr = l1 + 8, .val = entry_of(t.data, TABLE)},
        {.ptr = l1 + 16, .val = entry_of(t.l4, TABLE)},
        {.ptr = l1 + 24, .val = entry_of(t.data, TABLE)},
    };
    unsigned done = 99;
    CU_ASSERT_EQUAL(pin(&t, t.l4, 4), 0);
    vaddr_t reqs = host_guest_put(req, sizeof(req)), done_va = host_guest_put(&done, sizeof(done));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmu_update, reqs, 3, done_va, DOMID_SELF), -EINVAL);
    memcpy(&done, host_guest_ptr(done_va), sizeof(done));
    CU_ASSERT_EQUAL(done, 1);
    CU_ASSERT(entries(t.l1)[1] != 0 && entries(t.l1)[3] == 0);
    /* success */
    req[1].val = 0;
    reqs = host_guest_put(req, sizeof(req));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmu_update, reqs, 3, done_va, DOMID_SELF), 0);
    memcpy(&done, host_guest_ptr(done_va), sizeof(done));
    CU_ASSERT_EQUAL(done, 3);
    /* bad address, misalignment, other domains, nonexistent domain */
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmu_update, HOST_BAD_ADDR, 1, 0, DOMID_SELF), -EFAULT);
    req[0].ptr = l1 + 12;
    reqs = host_guest_put(req, sizeof(req));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmu_update, reqs, 1, 0, DOMID_SELF), -EINVAL);
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmu_update, reqs, 1, 0, 0), -EPERM);
    CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
    tree_end(&t);
}

static void test_mmu_update__m2p_and_plain_stores(void)
{
    struct tree t = tree_make(1), other = tree_make(2);
    suite_enter(t.v);
    struct mmu_update req = {.ptr = frame_to_mfn(t.data) << PAGE_SHIFT | MMU_MACHPHYS_UPDATE,
                             .val = 77};
    vaddr_t va = host_guest_put(&req, sizeof(req));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmu_update, va, 1, 0, DOMID_SELF), 0);
    CU_ASSERT_EQUAL(m2p_get(frame_to_mfn(t.data)), 77);
    req.ptr = frame_to_mfn(other.data) << PAGE_SHIFT | MMU_MACHPHYS_UPDATE;
    va = host_guest_put(&req, sizeof(req));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmu_update, va, 1, 0, DOMID_SELF), -EINVAL);
    /* a frame that is no table yet is simply written, one's own only */
    req = (struct mmu_update){.ptr = (frame_to_mfn(t.data) << PAGE_SHIFT) + 64, .val = 0x55};
    va = host_guest_put(&req, sizeof(req));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmu_update, va, 1, 0, DOMID_SELF), 0);
    CU_ASSERT_EQUAL(entries(t.data)[8], 0x55);
    req.ptr = (frame_to_mfn(other.data) << PAGE_SHIFT) + 64;
    va = host_guest_put(&req, sizeof(req));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmu_update, va, 1, 0, DOMID_SELF), -EINVAL);
    CU_ASSERT_EQUAL(entries(other.data)[8], 0);
    suite_enter(NULL);
    suite_destroy(other.d);
    tree_end(&t);
}

static void test_mmuext__pins_and_base_pointers(void)
{
    struct tree t = tree_make(1);
    struct mmuext_op op = {.cmd = MMUEXT_PIN_L4_TABLE, .arg1.mfn = frame_to_mfn(t.l4)};
    vaddr_t va = host_guest_put(&op, sizeof(op));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmuext_op, va, 1, 0, DOMID_SELF), 0);
    op.cmd = MMUEXT_NEW_BASEPTR;
    va = host_guest_put(&op, sizeof(op));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmuext_op, va, 1, 0, DOMID_SELF), 0);
    CU_ASSERT_PTR_EQUAL(t.v->pv.l4, t.l4);
    CU_ASSERT_EQUAL(type_count(t.l4), 2);
    /* a table of another level, or none, is no base pointer */
    op.arg1.mfn = frame_to_mfn(t.l3);
    va = host_guest_put(&op, sizeof(op));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmuext_op, va, 1, 0, DOMID_SELF), -EINVAL);
    op.arg1.mfn = 0;
    va = host_guest_put(&op, sizeof(op));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmuext_op, va, 1, 0, DOMID_SELF), -EINVAL);
    CU_ASSERT_PTR_EQUAL(t.v->pv.l4, t.l4);
    op.cmd = MMUEXT_NEW_USER_BASEPTR; /* 0: no user mode */
    va = host_guest_put(&op, sizeof(op));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmuext_op, va, 1, 0, DOMID_SELF), 0);
    op.cmd = 99;
    va = host_guest_put(&op, sizeof(op));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmuext_op, va, 1, 0, DOMID_SELF), -ENOSYS);
    CU_ASSERT_EQUAL(unpin(&t, t.l4), 0);
    CU_ASSERT_EQUAL(type_count(t.l4), 1); /* the vCPU still uses it */
    tree_end(&t);
}

static long flush_op(unsigned cmd, vaddr_t va)
{
    struct mmuext_op op = {.cmd = cmd, .arg1.linear_addr = va};
    host.flush_count = 0;
    return call4(__HYPERVISOR_mmuext_op, host_guest_put(&op, sizeof(op)), 1, 0, DOMID_SELF);
}

static void test_mmuext__flushes(void)
{
    struct tree t = tree_make(1);
    struct domain *control = suite_control();
    suite_enter(t.v);
    CU_ASSERT_EQUAL(flush_op(MMUEXT_TLB_FLUSH_LOCAL, 0), 0);
    CU_ASSERT(host.flush_count == 1 && host.flush[0].kind == HOST_FLUSH_LOCAL);
    CU_ASSERT_EQUAL(host.flush[0].flags, FLUSH_TLB);
    CU_ASSERT_EQUAL(flush_op(MMUEXT_INVLPG_LOCAL, DATA_VA), 0);
    CU_ASSERT(host.flush[0].flags == FLUSH_ONE && host.flush[0].va == DATA_VA);
    CU_ASSERT_EQUAL(flush_op(MMUEXT_INVLPG_ALL, DATA_VA), 0);
    CU_ASSERT(host.flush[0].kind == HOST_FLUSH_MASK && host.flush[0].flags == FLUSH_ONE);
    CU_ASSERT_EQUAL(flush_op(MMUEXT_INVLPG_LOCAL, 0x0000800000000000), 0);
    CU_ASSERT_EQUAL(flush_op(MMUEXT_INVLPG_ALL, 0x0000800000000000), 0);
    CU_ASSERT_EQUAL(host.flush_count, 0); /* no such address */
    CU_ASSERT_EQUAL(flush_op(MMUEXT_FLUSH_CACHE, 0), -EACCES);
    CU_ASSERT_EQUAL(flush_op(MMUEXT_FLUSH_CACHE_GLOBAL, 0), -EACCES);
    CU_ASSERT_EQUAL(host.flush_count, 0);
    suite_enter(control->vcpu[0]);
    CU_ASSERT_EQUAL(flush_op(MMUEXT_FLUSH_CACHE, 0), 0);
    CU_ASSERT(host.flush_count == 1 && host.flush[0].flags == FLUSH_CACHE);
    tree_end(&t);
    suite_destroy(control);
}

/* ABI: the count is written after any error, also when there is no such domain. */
static void test_mmu_batches__count_written_for_a_missing_domain(void)
{
    static const uint64_t calls[] = {__HYPERVISOR_mmu_update, __HYPERVISOR_mmuext_op};
    struct tree t = tree_make(1);
    for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
        for (unsigned privileged = 0; privileged < 2; privileged++) {
            unsigned done = 99;
            vaddr_t done_va = host_guest_put(&done, sizeof(done));
            t.d->privileged = privileged;
            CU_ASSERT_EQUAL(call4(calls[i], HOST_BAD_ADDR, 3, done_va, 77),
                            privileged ? -ESRCH : -EPERM);
            memcpy(&done, host_guest_ptr(done_va), sizeof(done));
            CU_ASSERT_EQUAL(done, 0);
        }
    }
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmuext_op, HOST_BAD_ADDR, 3, HOST_BAD_ADDR, 77), -EFAULT);
    t.d->privileged = false;
    tree_end(&t);
}

static void test_update_va_mapping__entry_of_the_address(void)
{
    struct tree t = tree_make(1);
    struct frame *more = new_frame(t.d);
    struct mmuext_op op = {.cmd = MMUEXT_NEW_BASEPTR, .arg1.mfn = frame_to_mfn(t.l4)};
    vaddr_t va = host_guest_put(&op, sizeof(op));
    CU_ASSERT_EQUAL(call4(__HYPERVISOR_mmuext_op, va, 1, 0, DOMID_SELF), 0);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_update_va_mapping, DATA_VA, entry_of(more, TABLE),
                               UVMF_INVLPG | UVMF_LOCAL),
                    0);
    CU_ASSERT(is_type(more, TYPE_WRITABLE));
    CU_ASSERT_EQUAL(type_count(t.data), 0);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_update_va_mapping, DATA_VA, 0, 0), 0);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_update_va_mapping, DATA_VA + (1UL << 30), 0, 0),
                    -EINVAL);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_update_va_mapping, HYP_VIRT_START, 0, 0), -EINVAL);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_update_va_mapping, 1UL << 50, 0, 0), -EINVAL);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_update_va_mapping, DATA_VA, entry_of(t.l1, TABLE), 0),
                    -EINVAL);
    tree_end(&t);
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_pin__whole_tree),
        CASE(test_pin__writable_mapping_of_a_table_refused),
        CASE(test_pin__bad_entries_refused),
        CASE(test_entry__device_memory_given),
        CASE(test_device_unmap),
        CASE(test_entry__hypervisor_slots_untouchable),
        CASE(test_entry__references_follow),
        CASE(test_entry__absent_names_no_ram),
        CASE(test_entry__accessed_and_dirty_kept_on_demand),
        CASE(test_entry__writability_alone),
        CASE(test_retype__flushes_first),
        CASE(test_preemption__validation_and_dismantling),
        CASE(test_preemption__given_up_half_way),
        CASE(test_preemption__killed_half_way),
        CASE(test_preemption__refused_half_way),
        CASE(test_mmu_update__stops_at_the_first_error),
        CASE(test_mmu_update__m2p_and_plain_stores),
        CASE(test_mmuext__pins_and_base_pointers),
        CASE(test_mmuext__flushes),
        CASE(test_mmu_batches__count_written_for_a_missing_domain),
        CASE(test_update_va_mapping__entry_of_the_address),
    };
    return SUITE("page types", 1, cases);
}
