// SPDX-License-Identifier: MIT
/*
 * Segment descriptors: which ones a guest may have, its GDT frames, and its LDT, whose pages are
 * checked and mapped one by one as the processor first touches them. Descriptor pages carry
 * TYPE_SEGDESC, so a guest changes them only through update_descriptor. Lock: mmu_lock.
 */
#include "pv/descriptor.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/string.h"
#include "core/deferred.h"
#include "core/guest_access.h"
#include "core/hypercall.h"
#include "pv/mmu_update.h"
#include "pv/page_type.h"

#define DESC_P (1UL << 47)
#define DESC_S (1UL << 44) /* code or data, not a system descriptor */
#define DESC_DPL (3UL << 45)

/* True, and safe to have in a guest's table with DPL 3 forced; false: refuse it. */
static bool descriptor_check(uint64_t *desc)
{
    if (*desc & DESC_P) {
        /* SAFETY: with DPL 3 a segment gives no more than the CPL the guest has anyway. A
         * conforming segment keeps the caller's CPL, so it is harmless too. But call gates, task
         * gates, TSS and LDT descriptors would let the processor change privilege or tables behind
         * our back. */
        *desc |= DESC_DPL;
        return *desc & DESC_S;
    }
    return true;
}

int descriptor_page_check(uint64_t *page)
{
    for (unsigned i = 0; i < PAGE_SIZE / 8; i++) {
        uint64_t desc = read_once(page[i]), fixed = desc;
        if (!descriptor_check(&fixed)) {
            return -EINVAL;
        }
        if (fixed != desc) {
            write_once(page[i], fixed);
        }
    }
    return 0;
}

static void put_all(struct frame **frames, unsigned count, struct domain *d)
{
    spin_lock(&d->mmu_lock);
    for (unsigned i = 0; i < count; i++) {
        if (frames[i]) {
            page_type_put(frames[i]);
            frames[i] = NULL;
        }
    }
    spin_unlock(&d->mmu_lock);
}

void descriptor_drop_ldt(struct vcpu *v)
{
    struct frame *old[LDT_PAGES];
    memcpy(old, v->pv.ldt, sizeof(old));
    memset(v->pv.ldt, 0, sizeof(v->pv.ldt));
    v->pv.ldt_entries = 0;
    if (v == current_vcpu()) {
        arch_load_ldt(v); /* the window lets go of the frames before the references do */
    }
    put_all(old, LDT_PAGES, v->domain);
}

int descriptor_set_gdt(struct vcpu *v, const mfn_t *frames, unsigned entries)
{
    unsigned count = DIV_ROUND_UP(entries, 512);
    struct frame *fresh[GUEST_GDT_FRAMES] = {NULL}, *old[GUEST_GDT_FRAMES];
    struct domain *d = v->domain;
    int rc = 0;
    ASSERT(entries <= GDT_RESERVED_FIRST);
    for (unsigned i = 0; i < count && rc == 0; i++) {
        spin_lock(&d->mmu_lock);
        rc = page_type_get(frames[i], d, TYPE_SEGDESC, &fresh[i]);
        spin_unlock(&d->mmu_lock);
        irq_window(false);
    }
    if (rc) {
        put_all(fresh, count, d);
        return rc;
    }
    memcpy(old, v->pv.gdt, sizeof(old));
    memcpy(v->pv.gdt, fresh, sizeof(fresh));
    v->pv.gdt_entries = entries;
    if (v == current_vcpu()) {
        arch_load_gdt(v);
    }
    put_all(old, GUEST_GDT_FRAMES, d);
    return 0;
}

long hc_set_gdt(struct hypercall *hc)
{
    mfn_t frames[GUEST_GDT_FRAMES];
    uint64_t entries = hc->arg[1];
    if (entries > GDT_RESERVED_FIRST) {
        return -EINVAL;
    }
    if (guest_read(frames, hc->arg[0], DIV_ROUND_UP(entries, 512) * sizeof(mfn_t))) {
        return -EFAULT;
    }
    int rc = descriptor_set_gdt(hc->v, frames, (unsigned)entries);
    if (rc) {
        log_guest(hc->d, "set_gdt of %lu entries refused (%d)", entries, rc);
    }
    return rc;
}

long hc_update_descriptor(struct hypercall *hc)
{
    maddr_t address = hc->arg[0];
    uint64_t desc = hc->arg[1];
    if ((address & 7) || !descriptor_check(&desc)) {
        return -EINVAL;
    }
    struct frame *f = frame_get_from_mfn(address >> PAGE_SHIFT, hc->d);
    if (!f) {
        return -EINVAL;
    }
    unsigned index = (unsigned)(address & ~PAGE_MASK) / 8;
    int rc = 0;
    /* A descriptor page keeps its type while we write: its type changes only under this lock. */
    spin_lock(&hc->d->mmu_lock);
    uint32_t type = read_once(f->type);
    if ((type & TYPE_MASK) == TYPE_SEGDESC && (type & TYPE_COUNT_MASK)) {
        write_once(((uint64_t *)frame_to_virt(f))[index], desc);
    } else {
        rc = mmu_plain_store(f, index, desc);
    }
    spin_unlock(&hc->d->mmu_lock);
    frame_put(f);
    return rc;
}

bool descriptor_ldt_fault(struct vcpu *v, unsigned page)
{
    vaddr_t va = v->pv.ldt_base + (vaddr_t)page * PAGE_SIZE;
    if (page >= DIV_ROUND_UP(v->pv.ldt_entries, 512U) || v->pv.ldt[page]) {
        return false;
    }
    SPIN_GUARD(&v->domain->mmu_lock);
    const uint64_t *slot = mmu_find_slot(v, va);
    uint64_t pte = slot ? read_once(*slot) : 0;
    if (!(pte & X86_PTE_P) ||
        page_type_get(PTE_MFN(pte), v->domain, TYPE_SEGDESC, &v->pv.ldt[page])) {
        return false;
    }
    arch_ldt_map_page(v, page);
    return true;
}
