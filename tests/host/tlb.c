// SPDX-License-Identifier: MIT
/*
 * Translation on the fake machine: flushes are written down; with host.models_tlb each pcpu also
 * keeps what a processor may have cached (translations, tables it walked through, the descriptor
 * windows) until a flush that covers it, so that a test can look for what has become stale. It then
 * also has page-table isolation: guests run on a copy of their L4, which is made when they are
 * entered, be it after a flush that somebody else asked for.
 */
#include <string.h>

#include "base/assert.h"
#include "host.h"

struct host_tlb host_tlb[HOST_TLB_CPUS];

/* ---- flushes ---- */

static void log_flush(struct host_flush flush)
{
    if (host.on_flush) {
        host.on_flush();
    }
    if (host.flush_count < HOST_LOG_MAX) {
        host.flush[host.flush_count++] = flush;
    }
}

/* As loading CR3 does: global translations stay, whosever they are. */
static void forget_all(struct host_tlb *t)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < t->count; i++) {
        if (t->entry[i].global) {
            t->entry[kept++] = t->entry[i];
        }
    }
    t->count = kept;
    t->tables = 0;
    t->last_flush = ++host.tlb_clock;
}

/* As invlpg does: the translations of one page, and all of the paging-structure cache. */
static void forget_one(struct host_tlb *t, vaddr_t va)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < t->count; i++) {
        if (t->entry[i].va != (va & PAGE_MASK)) {
            t->entry[kept++] = t->entry[i];
        }
    }
    t->count = kept;
    t->tables = 0;
}

static void copy_l4(struct host_tlb *t)
{
    if (t->l4) {
        memcpy(t->l4_copy, frame_to_virt(t->l4), sizeof(t->l4_copy));
    }
}

static void flush_cpu(unsigned cpu, unsigned flags, vaddr_t va)
{
    BUG_ON(cpu >= host.cpus || cpu >= HOST_TLB_CPUS);
    if (flags & FLUSH_TLB) {
        forget_all(&host_tlb[cpu]);
    } else if (flags & FLUSH_ONE) {
        forget_one(&host_tlb[cpu], va);
    }
    copy_l4(&host_tlb[cpu]);
}

bool arch_l4_changed(void)
{
    copy_l4(&host_tlb[host_cpu]);
    return host.models_tlb;
}

void arch_tlb_flush_local(unsigned flags, vaddr_t va)
{
    log_flush((struct host_flush){.kind = HOST_FLUSH_LOCAL, .flags = flags, .va = va});
    if (host.models_tlb) {
        flush_cpu(host_cpu, flags, va);
    } else {
        host.tlb_clock++;
    }
}

void arch_tlb_flush_mask(const cpumask_t *mask, unsigned flags, vaddr_t va)
{
    log_flush(
        (struct host_flush){.kind = HOST_FLUSH_MASK, .flags = flags, .va = va, .mask = *mask});
    if (!host.models_tlb) {
        host.tlb_clock++;
        return;
    }
    for_each_cpu(cpu, mask)
    {
        flush_cpu(cpu, flags, va);
    }
}

uint32_t arch_tlb_clock(void)
{
    return host.tlb_clock;
}

void arch_tlb_filter(cpumask_t *mask, uint32_t stamp)
{
    if (!host.models_tlb) {
        if (host.tlb_clock > stamp) {
            memset(mask, 0, sizeof(*mask));
        }
        return;
    }
    for (unsigned cpu = 0; cpu < host.cpus; cpu++) {
        if (host_tlb[cpu].last_flush > stamp) {
            cpumask_clear(mask, cpu);
        }
    }
}

/* ---- what is loaded ---- */

void arch_load_page_tables(const struct vcpu *v)
{
    if (!host.models_tlb) {
        return;
    }
    const struct frame *l4 = NULL;
    if (!vcpu_is_idle(v)) {
        l4 = v->pv.kernel_mode ? v->pv.l4 : v->pv.l4_user;
    }
    if (host_tlb[host_cpu].l4 != l4) {
        host_tlb[host_cpu].l4 = l4;
        forget_all(&host_tlb[host_cpu]);
        copy_l4(&host_tlb[host_cpu]);
    }
}

void arch_load_gdt(const struct vcpu *v)
{
    if (host.models_tlb) {
        memcpy(host_tlb[host_cpu].gdt, v->pv.gdt, sizeof(v->pv.gdt));
    }
}

void arch_load_ldt(const struct vcpu *v)
{
    if (host.models_tlb) {
        memcpy(host_tlb[host_cpu].ldt, v->pv.ldt, sizeof(v->pv.ldt));
    }
}

void arch_ldt_map_page(const struct vcpu *v, unsigned page)
{
    if (host.models_tlb) {
        host_tlb[host_cpu].ldt[page] = v->pv.ldt[page];
    }
}

void host_tlb_switch(struct vcpu *prev, struct vcpu *next)
{
    if (!host.models_tlb) {
        return;
    }
    if (!vcpu_is_idle(next)) {
        cpumask_set(&next->domain->dirty_cpus, host_cpu);
    }
    arch_load_page_tables(next);
    if (prev->domain != next->domain) {
        cpumask_clear(&prev->domain->dirty_cpus, host_cpu);
    }
    if (!vcpu_is_idle(next)) {
        arch_load_gdt(next);
        arch_load_ldt(next);
    }
}

/* ---- use ---- */

static void note_table(struct host_tlb *t, mfn_t mfn, unsigned level)
{
    for (unsigned i = 0; i < t->tables; i++) {
        if (t->table[i].mfn == mfn && t->table[i].level == level) {
            return;
        }
    }
    if (t->tables < HOST_WALK_MAX) {
        t->table[t->tables++] = (struct host_table){mfn, level};
    }
}

static struct host_translation *find(struct host_tlb *t, vaddr_t va)
{
    for (unsigned i = 0; i < t->count; i++) {
        if (t->entry[i].va == va) {
            return &t->entry[i];
        }
    }
    return NULL;
}

/* Cache `pte`, the leaf of `va`, unless there is a translation already that does. */
static bool cache(struct host_tlb *t, vaddr_t va, uint64_t *pte, bool write, mfn_t *mfn)
{
    struct host_translation *e = find(t, va);
    if (!e || (write && !e->write)) {
        if (!arch_mfn_has_frame(PTE_MFN(*pte))) {
            return false; /* devices: nothing a test looks at */
        }
        *pte |= X86_PTE_A | (write ? X86_PTE_D : 0);
        if (!e) {
            /* A full cache drops something; what, nobody can rely on. */
            e = &t->entry[t->count < HOST_TLB_MAX ? t->count++ : va >> PAGE_SHIFT & 511];
        }
        *e = (struct host_translation){.va = va,
                                       .mfn = PTE_MFN(*pte),
                                       .write = write,
                                       .global = *pte & X86_PTE_G,
                                       .mapper = current_vcpu()->domain,
                                       .owner = frame_owner(mfn_to_frame(PTE_MFN(*pte)))};
    }
    *mfn = e->mfn;
    return true;
}

static bool usable(uint64_t entry, bool write)
{
    if ((entry & X86_PTE_P) && (entry & X86_PTE_ADDR) >> arch_facts.maddr_bits) {
        panic("the processor refuses: reserved address bits in entry %lx", entry);
    }
    return (entry & X86_PTE_P) && (entry & X86_PTE_US) && (!write || (entry & X86_PTE_RW));
}

static bool hypervisors_slot(unsigned level, unsigned index)
{
    return level == 4 && index >= HYP_L4_FIRST && index <= HYP_L4_LAST;
}

bool host_tlb_use(vaddr_t va, bool write, mfn_t *mfn)
{
    struct host_tlb *t = &host_tlb[host_cpu];
    const struct host_translation *e = find(t, va & PAGE_MASK);
    if (e && (e->write || !write)) {
        *mfn = e->mfn;
        return true;
    }
    if (!t->l4 || !is_canonical(va)) {
        return false;
    }
    mfn_t table = frame_to_mfn(t->l4);
    for (unsigned level = 4; level > 0; level--) {
        unsigned index = PT_INDEX(va, level);
        uint64_t *entry = (level == 4 ? t->l4_copy : (uint64_t *)mfn_to_virt(table)) + index;
        if (hypervisors_slot(level, index) || !usable(*entry, write)) {
            return false;
        }
        if (level == 1) {
            return cache(t, va & PAGE_MASK, entry, write, mfn);
        }
        table = PTE_MFN(*entry);
        *entry |= X86_PTE_A;
        note_table(t, table, level - 1);
    }
    return false;
}

static void use_table(struct host_tlb *t, mfn_t table, unsigned level, vaddr_t base, bool write)
{
    uint64_t *entry = level == 4 ? t->l4_copy : mfn_to_virt(table);
    for (unsigned i = 0; i < PT_ENTRIES; i++) {
        vaddr_t va = base | (vaddr_t)i << PT_SHIFT(level);
        mfn_t mfn;
        if (!usable(entry[i], false) || hypervisors_slot(level, i)) {
            continue;
        }
        bool to_write = write && (entry[i] & X86_PTE_RW);
        if (level == 1) {
            (void)cache(t, (vaddr_t)((int64_t)(va << 16) >> 16), &entry[i], to_write, &mfn);
        } else {
            entry[i] |= X86_PTE_A;
            note_table(t, PTE_MFN(entry[i]), level - 1);
            use_table(t, PTE_MFN(entry[i]), level - 1, va, to_write);
        }
    }
}

void host_tlb_use_all(bool write)
{
    struct host_tlb *t = &host_tlb[host_cpu];
    if (t->l4) {
        use_table(t, frame_to_mfn(t->l4), 4, 0, write);
    }
}
