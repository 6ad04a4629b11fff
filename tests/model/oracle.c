// SPDX-License-Identifier: MIT
/*
 * The recount. What holds references is walked as if nothing were known: base pointers, pins,
 * tables half done, GDTs, LDTs, registered vcpu_infos, grant handles, deferred lists. From that
 * follow the two counts of every frame, and these are compared with the frame table. On the way
 * every entry of every table in use is checked, and last what the pcpus have cached.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/frame.h"
#include "core/grant_table.h"
#include "model.h"
#include "pv/page_type.h"

/* What a frame should be. */
struct expected {
    uint32_t refs;  /* general references */
    uint32_t types; /* type references, all of one kind: */
    uint8_t kind;   /* type >> TYPE_SHIFT; 0 none yet */
    bool walked;    /* its entries have been counted */
    bool fixed;     /* shared by the hypervisor for reading: a type reference without a type */
};
static struct expected expected[HOST_FRAMES];
static mfn_t first_used; /* below it nothing has ever been allocated */

/* Foreign frames in the tables of a domain that needs a grant for them. */
#define FOREIGN_MAX 2048
static struct foreign {
    const struct domain *mapper;
    mfn_t mfn;
    bool write;
} foreign[FOREIGN_MAX];
static unsigned foreign_count;

#define DOMAINS_MAX 64
static struct domain *found_domains[DOMAINS_MAX];
static unsigned found_count;

void model_fail(const char *check, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s: ", check);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    /* main.c reads the last line; the exit status tells it apart from a crash. */
    fflush(stderr);
    _exit(3);
}

/* ---- references ---- */

static void add_ref(const struct frame *f)
{
    expected[frame_to_mfn(f)].refs++;
}

static void add_type(const struct frame *f, unsigned kind)
{
    struct expected *e = &expected[frame_to_mfn(f)];
    e->refs++;
    if (e->types && e->kind != kind) {
        model_fail("two-uses", "frame %lx is used as type %u and as type %u",
                   (unsigned long)frame_to_mfn(f), e->kind, kind);
    }
    e->kind = (uint8_t)kind;
    e->types++;
}

#define KIND_SEGDESC (TYPE_SEGDESC >> TYPE_SHIFT)
#define KIND_WRITABLE (TYPE_WRITABLE >> TYPE_SHIFT)

static unsigned kind_of(const struct frame *f)
{
    return (unsigned)((f->type & TYPE_MASK) >> TYPE_SHIFT);
}

static void note_domain(struct domain *d)
{
    for (unsigned i = 0; i < found_count; i++) {
        if (found_domains[i] == d) {
            return;
        }
    }
    if (found_count == DOMAINS_MAX) {
        model_fail("oracle", "too many domains");
    }
    found_domains[found_count++] = d;
}

/* ---- tables ---- */

static void need_grant(const struct domain *d, mfn_t mfn, bool write)
{
    if (foreign_count < FOREIGN_MAX) {
        foreign[foreign_count++] = (struct foreign){d, mfn, write};
    }
}

static void leaf(const struct domain *d, uint64_t pte, mfn_t table, unsigned index)
{
    mfn_t mfn = PTE_MFN(pte);
    if (mfn >= HOST_FRAMES || !arch_mfn_is_ram(mfn)) {
        if (!d->privileged || arch_mmio_denied(mfn)) {
            model_fail("device", "d%u maps device frame %lx in table %lx, %u", d->id,
                       (unsigned long)mfn, (unsigned long)table, index);
        }
        return;
    }
    const struct frame *f = mfn_to_frame(mfn);
    if (pte & X86_PTE_RW) {
        add_type(f, KIND_WRITABLE);
    } else {
        add_ref(f);
    }
    /* A dying domain's handles go before its tables, on which no pcpu runs any more. */
    if (frame_owner(f) != d && !d->privileged && d->state == DOM_ALIVE) {
        need_grant(d, mfn, pte & X86_PTE_RW);
    }
}

static void check_bits(const struct domain *d, uint64_t pte, unsigned level, mfn_t table,
                       unsigned index)
{
    uint64_t never = level == 1 ? X86_PTE_G : X86_PTE_PSE | X86_PTE_PWT | X86_PTE_PCD | X86_PTE_G;
    if (!d->privileged) {
        never |= X86_PTE_PWT | X86_PTE_PCD | X86_PTE_PAT;
    }
    never |= X86_PTE_ADDR & ~((1UL << arch_facts.maddr_bits) - 1);
    if ((pte & never) || !(pte & X86_PTE_US)) {
        model_fail("bits", "entry %lx of d%u at level %u (table %lx, %u)", (unsigned long)pte,
                   d->id, level, (unsigned long)table, index);
    }
}

static void walk_table(struct frame *f, unsigned level);

/* A table somebody holds a type reference of. */
static void use_table(struct frame *f, unsigned level)
{
    add_type(f, level);
    walk_table(f, level);
}

static void walk_table(struct frame *f, unsigned level)
{
    mfn_t table = frame_to_mfn(f);
    const struct domain *d = frame_owner(f);
    if (expected[table].walked) {
        return;
    }
    expected[table].walked = true;
    if (!d || (f->count & FRAME_HYP)) {
        model_fail("owner", "table %lx is nobody's", (unsigned long)table);
    }
    if (kind_of(f) != level) {
        model_fail("type", "table %lx of level %u has type %u", (unsigned long)table, level,
                   kind_of(f));
    }
    bool partial = f->type & TYPE_PARTIAL;
    if (!partial && !(f->type & TYPE_VALIDATED)) {
        model_fail("unchecked", "table %lx of level %u is in use", (unsigned long)table, level);
    }
    const uint64_t *entry = frame_to_virt(f);
    unsigned end = partial ? f->pt_done : PT_ENTRIES, present = 0;
    for (unsigned i = 0; i < end; i++) {
        if (level == 4 && i >= HYP_L4_FIRST && i <= HYP_L4_LAST) {
            if (entry[i] && !partial) {
                model_fail("slots", "L4 %lx has %lx in slot %u", (unsigned long)table,
                           (unsigned long)entry[i], i);
            }
        } else if (entry[i] & X86_PTE_P) {
            present++;
            check_bits(d, entry[i], level, table, i);
            if (level == 1) {
                leaf(d, entry[i], table, i);
                continue;
            }
            mfn_t child = PTE_MFN(entry[i]);
            if (child >= HOST_FRAMES || frame_owner(mfn_to_frame(child)) != d) {
                model_fail("foreign-table", "table %lx of d%u uses %lx", (unsigned long)table,
                           d->id, (unsigned long)child);
            }
            if (mfn_to_frame(child)->type & TYPE_PARTIAL) {
                model_fail("unchecked", "table %lx uses %lx, which is half done",
                           (unsigned long)table, (unsigned long)child);
            }
            use_table(mfn_to_frame(child), level - 1);
        } else if (PTE_MFN(entry[i]) && PTE_MFN(entry[i]) < HOST_FRAMES) {
            model_fail("absent", "table %lx has %lx in slot %u", (unsigned long)table,
                       (unsigned long)entry[i], i);
        }
    }
    if (!partial && f->pt_done != present) {
        model_fail("count", "table %lx has %u entries, not %u", (unsigned long)table, present,
                   f->pt_done);
    }
}

/* ---- descriptors ---- */

static void use_descriptors(struct frame *f)
{
    mfn_t mfn = frame_to_mfn(f);
    add_type(f, KIND_SEGDESC);
    if (expected[mfn].walked) {
        return;
    }
    expected[mfn].walked = true;
    const uint64_t *desc = frame_to_virt(f);
    for (unsigned i = 0; i < PAGE_SIZE / 8; i++) {
        bool present = desc[i] >> 47 & 1, system = !(desc[i] >> 44 & 1);
        if (present && (system || (desc[i] >> 45 & 3) != 3)) {
            model_fail("descriptor", "%lx in frame %lx", (unsigned long)desc[i],
                       (unsigned long)mfn);
        }
    }
}

/* ---- what holds references ---- */

static void walk_vcpu(struct vcpu *v)
{
    if (v->pv.l4) {
        use_table(v->pv.l4, 4);
    }
    if (v->pv.l4_user) {
        use_table(v->pv.l4_user, 4);
    }
    for (unsigned i = 0; i < GUEST_GDT_FRAMES; i++) {
        if (v->pv.gdt[i]) {
            use_descriptors(v->pv.gdt[i]);
        }
    }
    for (unsigned i = 0; i < LDT_PAGES; i++) {
        if (v->pv.ldt[i]) {
            use_descriptors(v->pv.ldt[i]);
        }
    }
    if (v->info_frame) {
        add_type(v->info_frame, KIND_WRITABLE);
    }
    for (unsigned i = 0; i < v->mmu_deferred_count; i++) {
        add_ref(v->mmu_deferred[i]);
    }
}

static void walk_frames(void)
{
    for (mfn_t mfn = first_used; mfn < HOST_FRAMES; mfn++) {
        struct frame *f = mfn_to_frame(mfn);
        uint64_t type = f->type;
        if (frame_owner(f)) {
            note_domain(frame_owner(f));
        }
        if (f->count & FRAME_ALLOCATED) {
            add_ref(f);
        }
        if (f->count & FRAME_COUNT_MASK && (f->count & FRAME_HYP) && frame_owner(f)) {
            if (kind_of(f) == KIND_WRITABLE) {
                add_type(f, KIND_WRITABLE);
            } else {
                add_ref(f);
                expected[mfn].fixed = true;
            }
        }
        if ((type & TYPE_PINNED) && (type & TYPE_COUNT_MASK)) {
            if (kind_of(f) < 1 || kind_of(f) > 4) {
                model_fail("pin", "frame %lx of type %u is pinned", (unsigned long)mfn, kind_of(f));
            }
            use_table(f, kind_of(f));
        }
        if (type & TYPE_PARTIAL) {
            use_table(f, kind_of(f));
        }
    }
}

/* ---- grants ---- */

static const struct grant_mapping *live_mapping(const struct grant_table *gt, uint32_t handle)
{
    const struct maptrack_page *page = gt->maptrack[handle / HANDLES_PER_PAGE];
    uint32_t index = handle % HANDLES_PER_PAGE;
    bool live = page && index < MAPPINGS_PER_PAGE && page->mapping[index].live;
    return live ? &page->mapping[index] : NULL;
}

#define PINS_MAX 512
static struct pins {
    const struct domain *granter;
    uint32_t ref;
    unsigned readers, writers;
    const struct domain *grantee;
} pins[PINS_MAX];
static unsigned pins_count;

static void note_pin(const struct domain *d, const struct grant_mapping *m)
{
    unsigned i = 0;
    while (i < pins_count && (pins[i].granter != m->granter || pins[i].ref != m->ref)) {
        i++;
    }
    if (i == pins_count) {
        if (i == PINS_MAX) {
            model_fail("oracle", "too many grants");
        }
        pins[pins_count++] = (struct pins){.granter = m->granter, .ref = m->ref, .grantee = d};
    }
    *(m->flags & GNTMAP_readonly ? &pins[i].readers : &pins[i].writers) += 1;
    if (pins[i].grantee != d) {
        model_fail("grant", "reference %u of d%u is in use by two domains", m->ref, m->granter->id);
    }
}

static void walk_handles(const struct domain *d)
{
    const struct grant_table *gt = d->grant;
    uint32_t live = 0, used = 0;
    for (uint32_t h = 0; gt && h < gt->max_maptrack * HANDLES_PER_PAGE; h++) {
        const struct grant_mapping *m = live_mapping(gt, h);
        if (m) {
            note_domain(m->granter);
            note_pin(d, m);
            live++;
        }
    }
    for (uint32_t i = 0; gt && i < gt->max_maptrack; i++) {
        used += gt->maptrack[i] ? gt->maptrack[i]->used : 0;
    }
    if (live != used) {
        model_fail("grant", "of %u handles of d%u only %u are live", used, d->id, live);
    }
}

static void check_active(const struct domain *d)
{
    const struct grant_table *gt = d->grant;
    for (uint32_t i = 0; gt && i < gt->frame_count * GRANTS_PER_FRAME; i++) {
        const struct grant_active *a = &gt->active[i / GRANTS_PER_FRAME][i % GRANTS_PER_FRAME];
        unsigned readers = 0, writers = 0;
        for (unsigned k = 0; k < pins_count; k++) {
            if (pins[k].granter == d && pins[k].ref == i) {
                readers = pins[k].readers;
                writers = pins[k].writers;
            }
        }
        if (a->readers != readers || a->writers != writers) {
            model_fail("grant", "reference %u of d%u: %u readers and %u writers, not %u and %u", i,
                       d->id, a->readers, a->writers, readers, writers);
        }
        for (unsigned k = 0; k < readers; k++) {
            add_ref(a->frame);
        }
        for (unsigned k = 0; k < writers; k++) {
            add_type(a->frame, KIND_WRITABLE);
        }
    }
}

/* Handles of d for the frame; only those that let it write, and only those of a mapping. */
static unsigned handles_for(const struct domain *d, mfn_t mfn, bool write, bool any_right)
{
    const struct grant_table *gt = d->grant;
    unsigned n = 0;
    for (uint32_t h = 0; gt && h < gt->max_maptrack * HANDLES_PER_PAGE; h++) {
        const struct grant_mapping *m = live_mapping(gt, h);
        if (m && (m->flags & GNTMAP_host_map) &&
            frame_to_mfn(grant_active(m->granter->grant, m->ref)->frame) == mfn) {
            bool writes = !(m->flags & GNTMAP_readonly);
            n += any_right ? writes || !write : writes == write;
        }
    }
    return n;
}

static void check_foreign(void)
{
    for (unsigned i = 0; i < foreign_count; i++) {
        const struct foreign *x = &foreign[i];
        unsigned uses = 0;
        for (unsigned k = 0; k < foreign_count; k++) {
            uses += foreign[k].mapper == x->mapper && foreign[k].mfn == x->mfn &&
                    foreign[k].write == x->write;
        }
        if (handles_for(x->mapper, x->mfn, x->write, false) < uses) {
            model_fail("foreign", "d%u maps frame %lx%s without a grant", x->mapper->id,
                       (unsigned long)x->mfn, x->write ? " writable" : "");
        }
    }
}

/* ---- comparison ---- */

static void check_frame(mfn_t mfn)
{
    const struct frame *f = mfn_to_frame(mfn);
    const struct expected *e = &expected[mfn];
    uint64_t count = f->count & FRAME_COUNT_MASK, types = f->type & TYPE_COUNT_MASK;
    if (f->type & TYPE_LOCKED) {
        model_fail("locked", "frame %lx", (unsigned long)mfn);
    }
    if (count != e->refs) {
        model_fail("refs", "frame %lx of type %u has %lu references, not %u", (unsigned long)mfn,
                   kind_of(f), (unsigned long)count, e->refs);
    }
    if (types != e->types + e->fixed) {
        model_fail("types", "frame %lx of type %u has %lu type references, not %u",
                   (unsigned long)mfn, kind_of(f), (unsigned long)types, e->types);
    }
    if (e->types && e->kind != kind_of(f)) {
        model_fail("type", "frame %lx has type %u, is used as %u", (unsigned long)mfn, kind_of(f),
                   e->kind);
    }
    if (!types && (f->type & (TYPE_VALIDATED | TYPE_PARTIAL | TYPE_PINNED))) {
        model_fail("flags", "frame %lx without a use has type word %lx", (unsigned long)mfn,
                   (unsigned long)f->type);
    }
    if (!count && frame_owner(f)) {
        model_fail("owner", "free frame %lx has an owner", (unsigned long)mfn);
    }
    if (!count && m2p_get(mfn) != INVALID_M2P) {
        model_fail("m2p", "frame %lx without an owner has an entry", (unsigned long)mfn);
    }
}

static void check_domains(void)
{
    for (unsigned i = 0; i < found_count; i++) {
        struct domain *d = found_domains[i];
        uint64_t pages = 0;
        uint32_t refs = d->state != DOM_DEAD;
        for (mfn_t mfn = first_used; mfn < HOST_FRAMES; mfn++) {
            const struct frame *f = mfn_to_frame(mfn);
            pages += frame_owner(f) == d && !(f->count & FRAME_HYP);
        }
        if (pages != d->page_count) {
            model_fail("pages", "d%u has %lu frames, not %lu", d->id, (unsigned long)pages,
                       (unsigned long)d->page_count);
        }
        refs += pages > 0;
        for (unsigned k = 0; k < pins_count; k++) {
            refs += pins[k].granter == d ? pins[k].readers + pins[k].writers : 0;
        }
        if (d->refs != refs) {
            model_fail("domain-refs", "d%u has %u references, not %u", d->id, d->refs, refs);
        }
    }
}

/* ---- what the pcpus have cached ---- */

static bool is_protected(const struct frame *f)
{
    return kind_of(f) >= 1 && kind_of(f) <= 5 && (f->type & TYPE_COUNT_MASK);
}

static void check_translation(unsigned cpu, const struct host_translation *t)
{
    const struct frame *f = mfn_to_frame(t->mfn);
    if (t->write && is_protected(f)) {
        model_fail("tlb-table", "pcpu %u can still write to %lx, of type %u, at %lx", cpu,
                   (unsigned long)t->mfn, kind_of(f), (unsigned long)t->va);
    }
    if (frame_owner(f) && frame_owner(f) != t->owner) {
        model_fail("tlb-owner", "pcpu %u still has %lx at %lx, which has gone to d%u", cpu,
                   (unsigned long)t->mfn, (unsigned long)t->va, frame_owner(f)->id);
    }
    if (frame_owner(f) && frame_owner(f) != t->mapper && !t->mapper->privileged &&
        !handles_for(t->mapper, t->mfn, t->write, true)) {
        model_fail("tlb-grant", "pcpu %u can still reach %lx of d%u at %lx: the grant is over", cpu,
                   (unsigned long)t->mfn, frame_owner(f)->id, (unsigned long)t->va);
    }
}

static void check_cached_table(unsigned cpu, const struct host_table *t)
{
    const struct frame *f = mfn_to_frame(t->mfn);
    bool live = kind_of(f) == t->level && (f->type & TYPE_COUNT_MASK) &&
                (f->type & TYPE_VALIDATED) && !(f->type & TYPE_PARTIAL);
    if (!live) {
        model_fail("tlb-walk", "pcpu %u walks through %lx, no table of level %u any more", cpu,
                   (unsigned long)t->mfn, t->level);
    }
}

static void check_loaded(unsigned cpu)
{
    const struct host_tlb *t = &host_tlb[cpu];
    const struct vcpu *v = host_current[cpu];
    if (t->l4) {
        check_cached_table(cpu, &(struct host_table){frame_to_mfn(t->l4), 4});
        if (frame_owner(t->l4) != v->domain) {
            model_fail("loaded", "pcpu %u runs on the tables of another domain", cpu);
        }
        const uint64_t *entry = frame_to_virt(t->l4);
        for (unsigned i = 0; i < PT_ENTRIES; i++) {
            if ((entry[i] ^ t->l4_copy[i]) & ~X86_PTE_A) {
                model_fail("copy", "pcpu %u runs on an old copy of L4 %lx: %u is %lx, not %lx", cpu,
                           (unsigned long)frame_to_mfn(t->l4), i, (unsigned long)t->l4_copy[i],
                           (unsigned long)entry[i]);
            }
        }
    }
    if (vcpu_is_idle(v)) {
        return;
    }
    if (t->l4 != (v->pv.kernel_mode ? v->pv.l4 : v->pv.l4_user)) {
        model_fail("loaded", "pcpu %u runs on other tables than its vCPU's", cpu);
    }
    if (memcmp(t->gdt, v->pv.gdt, sizeof(t->gdt)) || memcmp(t->ldt, v->pv.ldt, sizeof(t->ldt))) {
        model_fail("windows", "pcpu %u uses other descriptor tables than its vCPU's", cpu);
    }
}

static void check_cached(void)
{
    for (unsigned cpu = 0; cpu < MODEL_CPUS; cpu++) {
        const struct host_tlb *t = &host_tlb[cpu];
        for (unsigned i = 0; i < t->count; i++) {
            check_translation(cpu, &t->entry[i]);
        }
        for (unsigned i = 0; i < t->tables; i++) {
            check_cached_table(cpu, &t->table[i]);
        }
        check_loaded(cpu);
    }
}

/* A flush is about to be done: too late for frames that have been believed already. */
static void before_flush(void)
{
    for (unsigned cpu = 0; cpu < MODEL_CPUS; cpu++) {
        const struct host_tlb *t = &host_tlb[cpu];
        for (unsigned i = 0; i < t->count; i++) {
            const struct frame *f = mfn_to_frame(t->entry[i].mfn);
            if (t->entry[i].write && is_protected(f) && (f->type & TYPE_VALIDATED)) {
                model_fail("late-flush", "frame %lx was checked while pcpu %u could write to it",
                           (unsigned long)t->entry[i].mfn, cpu);
            }
        }
        for (unsigned i = 0; i < t->tables; i++) {
            check_cached_table(cpu, &t->table[i]);
        }
    }
}

/* Frames left the heap: nothing of what was in them may be left, and nobody may have anything of
 * them cached. */
static void after_alloc(mfn_t first, uint64_t count)
{
    static const uint8_t zeroes[PAGE_SIZE];
    first_used = MIN(first_used, first);
    if (frame_owner(mfn_to_frame(first)) && race_just_now()) {
        return; /* their owner has already had a turn with them */
    }
    for (mfn_t mfn = first; mfn < first + count; mfn++) {
        if (memcmp(mfn_to_virt(mfn), zeroes, PAGE_SIZE)) {
            model_fail("uncleared", "frame %lx is given out with what was in it",
                       (unsigned long)mfn);
        }
    }
    for (unsigned cpu = 0; cpu < MODEL_CPUS; cpu++) {
        const struct host_tlb *t = &host_tlb[cpu];
        for (unsigned i = 0; i < t->count; i++) {
            if (t->entry[i].mfn - first < count) {
                model_fail("tlb-reuse", "frame %lx is given out while pcpu %u has it cached",
                           (unsigned long)t->entry[i].mfn, cpu);
            }
        }
        for (unsigned i = 0; i < t->tables; i++) {
            if (t->table[i].mfn - first < count) {
                model_fail("tlb-reuse", "frame %lx is given out while pcpu %u walks through it",
                           (unsigned long)t->table[i].mfn, cpu);
            }
        }
    }
}

/* ---- all of it ---- */

void oracle_start(void)
{
    first_used = HOST_FRAMES;
    host.on_flush = before_flush;
    host.on_alloc = after_alloc;
}

static void find_domains(void)
{
    found_count = 0;
    struct domain *d = domain_get_next(0);
    while (d) {
        note_domain(d);
        unsigned next = d->id + 1U;
        domain_put(d);
        d = domain_get_next((domid_t)next);
    }
}

void oracle_check(void)
{
    memset(expected + first_used, 0, (HOST_FRAMES - first_used) * sizeof(expected[0]));
    foreign_count = pins_count = 0;
    find_domains();
    walk_frames();
    unsigned listed = found_count;
    for (unsigned i = 0; i < listed; i++) {
        for (unsigned k = 0; k < found_domains[i]->max_vcpus; k++) {
            walk_vcpu(found_domains[i]->vcpu[k]);
        }
        if (found_domains[i]->pv.relinquish_cursor) {
            add_ref(found_domains[i]->pv.relinquish_cursor);
        }
        walk_handles(found_domains[i]);
    }
    for (unsigned i = 0; i < found_count; i++) {
        check_active(found_domains[i]);
    }
    for (unsigned cpu = 0; cpu < MODEL_CPUS; cpu++) {
        const struct vcpu *idle = vcpu_idle(cpu);
        for (unsigned i = 0; i < idle->mmu_deferred_count; i++) {
            add_ref(idle->mmu_deferred[i]);
        }
    }
    for (mfn_t mfn = first_used; mfn < HOST_FRAMES; mfn++) {
        check_frame(mfn);
    }
    check_foreign();
    check_domains();
    check_cached();
}
