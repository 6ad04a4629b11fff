// SPDX-License-Identifier: MIT
/*
 * Page-table isolation: on processors open to Meltdown a guest runs on page tables of its pcpu that
 * map, of the hypervisor, only what entering it takes. The way in loads the full tables and the way
 * out these, as its last step but for the guest's registers (entry.S); no hypervisor page is
 * global.
 *
 * A pcpu has two such L4 pages, for a vCPU's kernel and user mode in turn, which are copies of the
 * vCPU's own outside the hypervisor's slots; everything below is shared, so only changes of L4
 * entries matter. l4_version counts these, of all domains: a copy of an older version is made anew
 * on the way out. Who changes an entry counts first and then has the pcpus that run the domain
 * flush; each comes by here before its guest goes on.
 *
 * Not hidden: frames of C code on the stacks of #DB, NMI and #MC. The tables belong to their pcpu;
 * l4_version is atomic.
 */
#include "asm.h"
#include "base/assert.h"
#include "base/string.h"
#include "machine.h"
#include "speculation.h"

#define LINK_FLAGS (X86_PTE_P | X86_PTE_RW | X86_PTE_US | X86_PTE_A)
#define READ_FLAGS (X86_PTE_P | X86_PTE_A)
#define SLOT_IMAGE PT_INDEX(HYP_IMAGE_START, 4) /* image and per-CPU blocks */

_Static_assert(PT_INDEX(PERCPU_START, 4) == SLOT_IMAGE &&
                   PT_INDEX(PERCPU_START, 3) != PT_INDEX(HYP_IMAGE_START, 3),
               "the image's tables are shared by all pcpus, the blocks' are not");

static struct tables {
    struct {
        uint64_t *l4;
        maddr_t of; /* what it is a copy of; 0 nothing */
        uint64_t version;
    } copy[2];
    uint64_t *l1; /* of the per-CPU block */
} tables[MAX_PCPUS];

static uint64_t *image_l2, *image_l1;
static uint64_t l4_version = 1; /* atomic */

bool arch_l4_changed(void)
{
    __atomic_fetch_add(&l4_version, 1, __ATOMIC_SEQ_CST);
    return speculation.xpti;
}

maddr_t xpti_guest_cr3(unsigned cpu, bool kernel_mode, maddr_t cr3)
{
    struct tables *t = &tables[cpu];
    uint64_t *l4 = t->copy[kernel_mode].l4;
    /* ORDER: version before the entries: whoever changes them now makes us come again. */
    uint64_t version = __atomic_load_n(&l4_version, __ATOMIC_SEQ_CST);
    if (t->copy[kernel_mode].of != cr3 || t->copy[kernel_mode].version != version) {
        const uint64_t *from = mfn_to_virt(cr3 >> PAGE_SHIFT);
        for (unsigned i = 0; i < PT_ENTRIES; i += i == HYP_L4_FIRST - 1 ? 17 : 1) {
            write_once(l4[i], read_once(from[i]));
        }
        t->copy[kernel_mode].of = cr3;
        t->copy[kernel_mode].version = version;
    }
    return virt_to_mfn(l4) << PAGE_SHIFT;
}

/* ---- building them ---- */

static uint64_t *table_new(void)
{
    return memset(mfn_to_virt(memmap_alloc(1, 1, INVALID_MFN)), 0, PAGE_SIZE);
}

static uint64_t link_to(const uint64_t *table)
{
    return virt_to_mfn(table) << PAGE_SHIFT | LINK_FLAGS;
}

/* The part of the image: entry code, and the IDT for the processor to read. */
static void map_image(void)
{
    image_l1 = table_new();
    image_l2 = table_new();
    image_l2[PT_INDEX(HYP_IMAGE_START, 2)] = link_to(image_l1);
    for (const char *at = __entry_start; at < __entry_end; at += PAGE_SIZE) {
        image_l1[PT_INDEX((vaddr_t)at, 1)] = image_maddr(at) | READ_FLAGS;
    }
    image_l1[PT_INDEX(trap_idt(), 1)] =
        image_maddr((const void *)trap_idt()) | READ_FLAGS | X86_PTE_NX;
}

void xpti_map_cpu(unsigned cpu, const uint64_t *hyp_l4)
{
    vaddr_t block = PERCPU_START + (vaddr_t)cpu * PERCPU_STRIDE;
    if (!speculation.xpti) {
        return;
    }
    if (!image_l1) {
        map_image();
    }
    uint64_t *l3 = table_new(), *l2 = table_new();
    tables[cpu].l1 = table_new();
    l3[PT_INDEX(HYP_IMAGE_START, 3)] = link_to(image_l2);
    l3[PT_INDEX(block, 3)] = link_to(l2);
    l2[PT_INDEX(block, 2)] = link_to(tables[cpu].l1);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t *l4 = tables[cpu].copy[i].l4 = table_new();
        l4[HYP_L4_FIRST] = hyp_l4[HYP_L4_FIRST]; /* the M2P that guests read */
        l4[SLOT_IMAGE] = link_to(l3);
    }
}

void xpti_page(unsigned cpu, uint64_t offset, uint64_t pte)
{
    vaddr_t va = PERCPU_START + (vaddr_t)cpu * PERCPU_STRIDE + offset;
    /* Of the main stack only the last page, where entry code saves registers: C's frames are below
     * it and hold what other guests would like to know. */
    bool hidden = offset >= PERCPU_IST_TOP(4) && offset < STACK_BYTES - PAGE_SIZE;
    if (speculation.xpti && !hidden) {
        write_once(tables[cpu].l1[PT_INDEX(va, 1)], pte);
    }
}

/* ---- and proving that they hide the rest ---- */

static bool leaf_ok(vaddr_t va, uint64_t pte, vaddr_t block)
{
    bool text = va >= (vaddr_t)__entry_start && va < (vaddr_t)__entry_end;
    bool idt = (va & PAGE_MASK) == trap_idt();
    bool own = va >= block && va < block + PERCPU_STRIDE &&
               (va < block + PERCPU_IST_TOP(4) || va >= block + STACK_BYTES - PAGE_SIZE);
    return !(pte & X86_PTE_US) && (own || ((text || idt) && !(pte & X86_PTE_RW)));
}

static unsigned count_leaves(const uint64_t *table, unsigned level, vaddr_t base, vaddr_t block)
{
    unsigned count = 0;
    for (unsigned i = 0; i < PT_ENTRIES; i++) {
        vaddr_t va = base + ((vaddr_t)i << PT_SHIFT(level));
        if (!(table[i] & X86_PTE_P)) {
            BUG_ON(table[i]);
        } else if (level > 1) {
            BUG_ON(table[i] & X86_PTE_PSE);
            count += count_leaves(mfn_to_virt(PTE_MFN(table[i])), level - 1, va, block);
        } else {
            BUG_ON(!leaf_ok(va, table[i], block));
            count++;
        }
    }
    return count;
}

unsigned xpti_check(unsigned cpu, const uint64_t *hyp_l4)
{
    vaddr_t block = PERCPU_START + (vaddr_t)cpu * PERCPU_STRIDE;
    unsigned count = 0;
    for (unsigned i = 0; speculation.xpti && i < 2; i++) {
        const uint64_t *l4 = tables[cpu].copy[i].l4;
        for (unsigned slot = HYP_L4_FIRST; slot <= HYP_L4_LAST; slot++) {
            if (slot == HYP_L4_FIRST) {
                BUG_ON(l4[slot] != hyp_l4[slot]);
            } else if (slot == SLOT_IMAGE) {
                vaddr_t base = HYP_IMAGE_START & ~((1UL << PT_SHIFT(4)) - 1);
                count = count_leaves(mfn_to_virt(PTE_MFN(l4[slot])), 3, base, block);
            } else {
                BUG_ON(l4[slot]);
            }
        }
    }
    return count;
}
