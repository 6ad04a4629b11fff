// SPDX-License-Identifier: MIT
/*
 * Chooses steps. Each slot of a domain has a role (table of some level, descriptor page, data), and
 * most choices are such as a kernel could make; the rest is meant to be refused. The generator may
 * look at the frame table to choose well; what it chose is all in the step.
 */
#include <string.h>

#include "core/frame.h"
#include "model.h"

#define TABLE (X86_PTE_P | X86_PTE_RW | X86_PTE_US)
#define GRANT_REFS 6

static uint64_t state;
static unsigned preempted; /* percent of the steps */

void gen_seed(uint64_t seed, unsigned preempt_percent)
{
    state = seed;
    preempted = preempt_percent;
}

static uint64_t next(void)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static unsigned rnd(unsigned n)
{
    return (unsigned)(next() % n);
}

static bool chance(unsigned percent)
{
    return rnd(100) < percent;
}

/* ---- what there is ---- */

static const uint8_t role_level[MODEL_PAGES] = {4, 3, 2, 1, 1, 4, 1, 1, 2, 3, 4};

static unsigned live_level(unsigned dom, unsigned page)
{
    mfn_t mfn = world[dom].page[page];
    if (!mfn || mfn >= HOST_FRAMES) {
        return 0;
    }
    const struct frame *f = mfn_to_frame(mfn);
    uint64_t kind = (f->type & TYPE_MASK) >> TYPE_SHIFT;
    return frame_owner(f) == world[dom].d && (f->type & TYPE_COUNT_MASK) && kind <= 4
               ? (unsigned)kind
               : 0;
}

static unsigned level_of(unsigned dom, unsigned page)
{
    unsigned live = live_level(dom, page);
    return live ? live : role_level[page];
}

static unsigned any_dom(void)
{
    for (unsigned tries = 0; tries < 8; tries++) {
        unsigned dom = rnd(MODEL_DOMS);
        if (world[dom].alive) {
            return dom;
        }
    }
    return 0;
}

static unsigned any_vcpu(unsigned dom)
{
    unsigned vcpu = rnd(MODEL_VCPUS);
    return actor_usable(dom, vcpu) ? vcpu : 0;
}

static int64_t special(void)
{
    return REF_IO + (int64_t)rnd(REF_END - REF_IO);
}

/* A page with this level, or of this role. */
static int64_t table_ref(unsigned dom, unsigned level)
{
    for (unsigned tries = 0; tries < 12; tries++) {
        unsigned page = tries < 8 ? rnd(12) : rnd(MODEL_PAGES);
        if (level_of(dom, page) == level) {
            return REF((int64_t)dom, page);
        }
    }
    return REF((int64_t)dom, rnd(MODEL_PAGES));
}

static int64_t data_ref(unsigned dom)
{
    unsigned page = chance(80) ? 6 + rnd(MODEL_IMAGE - 6) : rnd(MODEL_PAGES);
    return REF((int64_t)dom, page);
}

static int64_t leaf_ref(unsigned dom)
{
    unsigned kind = rnd(100);
    if (kind < 75) {
        return data_ref(dom);
    }
    if (kind < 85) {
        return REF((int64_t)dom, rnd(12));
    }
    return kind < 95 ? data_ref(any_dom()) : special();
}

static int64_t odd_flags(unsigned level)
{
    static const uint64_t odd[] = {
        X86_PTE_PSE, X86_PTE_PCD, X86_PTE_PWT, X86_PTE_G, X86_PTE_NX,
        1UL << 9,    1UL << 55,   X86_PTE_A,   X86_PTE_D, X86_PTE_A | X86_PTE_D};
    uint64_t flags = TABLE;
    if (chance(level == 1 ? 30 : 8)) {
        flags &= ~X86_PTE_RW;
    }
    if (chance(12)) {
        flags ^= odd[rnd(sizeof(odd) / sizeof(odd[0]))];
    }
    if (chance(3)) {
        flags &= ~X86_PTE_US;
    }
    return (int64_t)flags;
}

static void entry_value(unsigned dom, unsigned level, int64_t *ref, int64_t *flags)
{
    *flags = odd_flags(level);
    *ref = level == 1 || chance(12) ? leaf_ref(dom) : table_ref(dom, level - 1);
    if (chance(25)) {
        *ref = 0;
        *flags = 0;
    }
}

static int64_t entry_index(unsigned level)
{
    static const uint16_t top[] = {0, 0, 0, 1, 255, 256, 260, 271, 272, 511};
    if (chance(2)) {
        return rnd(512);
    }
    return level == 4   ? top[rnd(10)]
           : level == 3 ? rnd(3)
           : level == 2 ? rnd(chance(70) ? 6 : 24)
                        : rnd(MODEL_PAGES);
}

static int64_t some_va(void)
{
    uint64_t l4 = chance(85) ? 0 : chance(50) ? 1 : 272, l3 = chance(85) ? 0 : 1;
    uint64_t l2 = chance(60) ? 0 : rnd(6), l1 = rnd(MODEL_PAGES);
    uint64_t va = l4 << 39 | l3 << 30 | l2 << 21 | l1 << 12;
    if (l4 >= 256) {
        va |= 0xffffUL << 48;
    }
    return (int64_t)(chance(2) ? next() : va);
}

static int64_t foreign_code(unsigned dom)
{
    if (chance(dom ? 94 : 70)) {
        return -1;
    }
    return (int64_t)rnd(7) - 3;
}

/* ---- steps ---- */

static void add(struct step *s, int64_t value)
{
    if (s->count < STEP_ARGS) {
        s->arg[s->count++] = value;
    }
}

static void gen_mmu(struct step *s)
{
    unsigned n = 1 + rnd(3), dom = s->dom;
    bool other = chance(dom ? 4 : 12);
    if (other && chance(80)) {
        /* Tables of another domain, as its builder writes them. */
        dom = any_dom();
    }
    add(s, other && chance(60) ? (int64_t)dom : foreign_code(s->dom));
    add(s, other ? (int64_t)(dom == s->dom ? rnd(MODEL_DOMS) : dom) : -1);
    for (unsigned i = 0; i < n; i++) {
        unsigned level = 1 + rnd(4);
        int64_t table = table_ref(dom, level), ref, flags;
        level = MAX(level_of(dom, (unsigned)(table % 1000)), 1u);
        entry_value(dom, level, &ref, &flags);
        unsigned kind = rnd(20);
        add(s, kind == 0   ? MMU_MACHPHYS_UPDATE
               : kind < 5  ? MMU_PT_UPDATE_PRESERVE_AD
               : kind == 5 ? MMU_PT_UPDATE_NO_TRANSLATE
                           : MMU_NORMAL_PT_UPDATE);
        add(s, chance(97) ? table : chance(50) ? special() : leaf_ref(any_dom()));
        add(s, entry_index(level));
        add(s, ref);
        add(s, flags);
    }
}

static void gen_uva(struct step *s)
{
    static const int8_t flush[] = {0, 0, 1, 2, 5, 6, 9, 10, 3};
    int64_t ref, flags;
    entry_value(s->dom, 1, &ref, &flags);
    add(s, some_va());
    add(s, ref);
    add(s, flags);
    add(s, flush[rnd(sizeof(flush))]);
    add(s, foreign_code(s->dom));
}

static void gen_ext_op(struct step *s)
{
    unsigned kind = rnd(100), level = 1 + rnd(4);
    if (kind < 35) {
        add(s, MMUEXT_PIN_L1_TABLE + level - 1);
        add(s, chance(90) ? table_ref(s->dom, level) : leaf_ref(s->dom));
        add(s, 0);
    } else if (kind < 60) {
        add(s, MMUEXT_UNPIN_TABLE);
        add(s, table_ref(s->dom, level));
        add(s, 0);
    } else if (kind < 74) {
        add(s, kind < 67 ? MMUEXT_NEW_BASEPTR : MMUEXT_NEW_USER_BASEPTR);
        add(s, chance(8) ? -1 : table_ref(s->dom, 4));
        add(s, 0);
    } else if (kind < 84) {
        add(s, MMUEXT_TLB_FLUSH_LOCAL + rnd(7));
        add(s, some_va());
        add(s, 0);
    } else if (kind < 90) {
        add(s, MMUEXT_SET_LDT);
        add(s, some_va());
        add(s, chance(50) ? 512 : rnd(8200));
    } else {
        add(s, kind < 95 ? MMUEXT_CLEAR_PAGE : kind < 99 ? MMUEXT_COPY_PAGE : (int)rnd(30));
        add(s, leaf_ref(s->dom));
        add(s, leaf_ref(s->dom));
    }
}

static void gen_ext(struct step *s)
{
    add(s, foreign_code(s->dom));
    for (unsigned n = 1 + rnd(3); n; n--) {
        gen_ext_op(s);
    }
}

static void gen_grant(struct step *s)
{
    add(s, rnd(GRANT_REFS));
    add(s, rnd(MODEL_DOMS));
    add(s, chance(95) ? leaf_ref(s->dom) : special());
    add(s, chance(85) ? GTF_permit_access | (chance(30) ? GTF_readonly : 0) : rnd(256));
}

/* Where each handle was mapped, so that unmapping finds it again. */
static struct {
    int64_t where, index;
} mapped[MODEL_DOMS][MODEL_HANDLES];

static unsigned grant_for(unsigned dom, unsigned granter)
{
    const struct model_dom *m = &world[granter];
    unsigned ref = rnd(GRANT_REFS);
    for (unsigned tries = 0; m->grants && tries < 6; tries++) {
        const grant_entry_v1_t *e = (const grant_entry_v1_t *)mfn_to_virt(m->grants) + ref;
        if ((e->flags & GTF_type_mask) == GTF_permit_access && e->domid == world[dom].id) {
            break;
        }
        ref = rnd(GRANT_REFS);
    }
    return ref;
}

static void gen_gmap(struct step *s)
{
    static const uint8_t flags[] = {GNTMAP_host_map,
                                    GNTMAP_host_map,
                                    GNTMAP_host_map | GNTMAP_readonly,
                                    GNTMAP_host_map | GNTMAP_device_map,
                                    GNTMAP_device_map,
                                    0};
    unsigned granter = any_dom(), slot = rnd(MODEL_HANDLES);
    add(s, grant_for(s->dom, granter));
    add(s, granter);
    add(s, flags[rnd(sizeof(flags))]);
    if (chance(65)) {
        /* The second L1 of the image is for this. */
        add(s, chance(80) ? (int64_t)(1UL << 21 | (uint64_t)rnd(8) << 12) : some_va());
        add(s, -1);
    } else {
        add(s, table_ref(s->dom, 1));
        add(s, rnd(MODEL_PAGES));
    }
    add(s, slot);
    mapped[s->dom][slot].where = s->arg[3];
    mapped[s->dom][slot].index = s->arg[4];
}

static void gen_gunmap(struct step *s)
{
    unsigned slot = rnd(MODEL_HANDLES);
    for (unsigned tries = 0; tries < 8 && world[s->dom].handle[slot] == UINT32_MAX; tries++) {
        slot = rnd(MODEL_HANDLES);
    }
    add(s, slot);
    unsigned other = chance(85) ? slot : rnd(MODEL_HANDLES);
    add(s, chance(90) ? mapped[s->dom][other].where : chance(50) ? -1 : some_va());
    add(s, mapped[s->dom][other].index);
    add(s, chance(80) ? -1 : data_ref(any_dom()));
}

static void gen_memory(struct step *s)
{
    if (s->op == STEP_populate) {
        add(s, chance(90) ? -1 : (int64_t)rnd(MODEL_DOMS));
        add(s, 6 + rnd(MODEL_PAGES - 8));
        add(s, 1 + rnd(3));
        add(s, chance(85) ? 0 : rnd(3));
        return;
    }
    unsigned n = 1 + rnd(3);
    if (s->op == STEP_decrease) {
        add(s, chance(90) ? -1 : (int64_t)rnd(MODEL_DOMS));
    } else {
        unsigned order = rnd(2);
        n = order ? 2 : n;
        add(s, n);
        add(s, order);
        add(s, 6 + rnd(MODEL_PAGES - 8));
    }
    while (n--) {
        add(s, chance(95) ? data_ref(s->dom) : leaf_ref(any_dom()));
    }
}

static void gen_descriptors(struct step *s)
{
    static const uint64_t desc[] = {0,
                                    0x00cf9b000000ffff,
                                    0x00affb000000ffff,
                                    0x0000ec0000000000,
                                    0x00008b0000000067,
                                    0x00cff3000000ffff};
    if (s->op == STEP_gdt) {
        static const uint16_t entries[] = {512, 512, 1024, 0, 1, 7168, 7169};
        add(s, entries[rnd(7)]);
        for (unsigned i = 0; i < (unsigned)(s->arg[0] + 511) / 512 && i < 14; i++) {
            add(s, chance(70) ? REF((int64_t)s->dom, 11 + rnd(2)) : leaf_ref(s->dom));
        }
    } else if (s->op == STEP_desc) {
        add(s, chance(70) ? REF((int64_t)s->dom, 11 + rnd(2)) : leaf_ref(s->dom));
        add(s, rnd(8));
        add(s, (int64_t)desc[rnd(6)]);
    } else {
        add(s, rnd(3));
    }
}

static void gen_store(struct step *s)
{
    int64_t ref, flags;
    entry_value(s->dom, 1 + rnd(4), &ref, &flags);
    uint64_t va = (uint64_t)some_va();
    /* Mostly a table, through the map of the image. */
    if (chance(70)) {
        va = (uint64_t)rnd(12) << PAGE_SHIFT;
    }
    add(s, (int64_t)(va | (uint64_t)rnd(MODEL_PAGES) << 3));
    add(s, ref);
    add(s, flags);
    add(s, rnd(6));
}

static void gen_vcpu(struct step *s)
{
    if (s->op == STEP_info) {
        add(s, leaf_ref(s->dom));
        add(s, chance(90) ? 64 * rnd(64) : rnd(5000));
        return;
    }
    add(s, chance(90) ? 1 : rnd(3));
    add(s, chance(70) ? REF((int64_t)s->dom, 0) : table_ref(s->dom, 4));
    add(s, chance(50) ? -1 : table_ref(s->dom, 4));
    add(s, chance(60) ? -1 : REF((int64_t)s->dom, 11));
}

/* ---- small plans: what takes several steps in a row to be interesting ---- */

#define PLAN_MAX 16
static struct step plan[PLAN_MAX];
static unsigned plan_count, plan_at;

static struct step *planned(const struct step *like, enum step_op op)
{
    struct step *s = &plan[plan_count++];
    *s = (struct step){.op = (uint8_t)op, .dom = like->dom, .vcpu = like->vcpu};
    return s;
}

static void plan_use(const struct step *like)
{
    struct step *s = planned(like, STEP_use);
    add(s, 1);
}

static void plan_remap(const struct step *like, unsigned page, int64_t flags, int flush)
{
    struct step *s = planned(like, STEP_uva);
    add(s, (int64_t)page << PAGE_SHIFT);
    add(s, flags ? REF((int64_t)like->dom, page) : 0);
    add(s, flags);
    add(s, flush);
    add(s, -1);
}

static void plan_ext(const struct step *like, unsigned cmd, unsigned page)
{
    struct step *s = planned(like, STEP_ext);
    add(s, -1);
    add(s, cmd);
    add(s, REF((int64_t)like->dom, page));
    add(s, 0);
}

static void plan_entry(const struct step *like, unsigned table, unsigned index, int64_t ref,
                       int64_t flags)
{
    struct step *s = planned(like, STEP_mmu);
    add(s, -1);
    add(s, -1);
    add(s, MMU_NORMAL_PT_UPDATE);
    add(s, REF((int64_t)like->dom, table));
    add(s, index);
    add(s, ref);
    add(s, flags);
}

/* A writable page becomes a table while a translation is left, and the other way round. */
static void plan_table(const struct step *like)
{
    unsigned page = 5 + rnd(6), level = role_level[page], parent = 3 - level;
    unsigned index = 2 + rnd(4);
    if (chance(50)) {
        plan_use(like);
    }
    if (level < 4 && chance(70)) {
        plan_entry(like, page, rnd(4), table_ref(like->dom, level > 1 ? level - 1 : 1), TABLE);
    }
    plan_remap(like, page, TABLE & ~X86_PTE_RW, 0);
    if (chance(50)) {
        /* as full as the one of the image */
        struct step *s = planned(like, STEP_ext);
        add(s, -1);
        add(s, MMUEXT_COPY_PAGE);
        add(s, REF((int64_t)like->dom, page));
        add(s, REF((int64_t)like->dom, 4 - level));
    }
    if (level == 4) {
        plan_entry(like, page, 0, REF((int64_t)like->dom, 1), TABLE);
        plan_ext(like, MMUEXT_PIN_L4_TABLE, page);
        plan_ext(like, chance(50) ? MMUEXT_NEW_USER_BASEPTR : MMUEXT_NEW_BASEPTR, page);
        return;
    }
    if (chance(50)) {
        plan_ext(like, MMUEXT_PIN_L1_TABLE + level - 1, page);
    }
    plan_entry(like, parent, index, REF((int64_t)like->dom, page), TABLE);
    plan_use(like);
    if (chance(60)) {
        plan_entry(like, parent, index, 0, 0);
        plan_ext(like, MMUEXT_UNPIN_TABLE, page);
        plan_remap(like, page, TABLE, 0);
    }
}

static void plan_give_back(const struct step *like)
{
    unsigned page = 13 + rnd(MODEL_IMAGE - 13);
    plan_use(like);
    plan_remap(like, page, 0, 0);
    struct step *s = planned(like, chance(70) ? STEP_decrease : STEP_exchange);
    if (s->op == STEP_decrease) {
        add(s, -1);
    } else {
        add(s, 1);
        add(s, 0);
        add(s, page);
    }
    add(s, REF((int64_t)like->dom, page));
    struct step other = *like;
    other.dom = (uint8_t)any_dom();
    other.vcpu = 0;
    s = planned(&other, STEP_populate);
    add(s, -1);
    add(s, page);
    add(s, 1);
    add(s, 0);
}

static void plan_grant(const struct step *like)
{
    struct step mapper = *like;
    mapper.dom = (uint8_t)any_dom();
    mapper.vcpu = (uint8_t)any_vcpu(mapper.dom);
    unsigned ref = rnd(GRANT_REFS), slot = rnd(MODEL_HANDLES), page = 13 + rnd(8);
    int64_t va = (int64_t)(1UL << 21 | (uint64_t)rnd(8) << 12);
    struct step *s = planned(like, STEP_grant);
    add(s, ref);
    add(s, mapper.dom);
    add(s, REF((int64_t)like->dom, page));
    add(s, GTF_permit_access);
    if (chance(30)) {
        /* the table that will have the entry, in a second place */
        plan_entry(&mapper, 2, 2 + rnd(4), REF((int64_t)mapper.dom, 4), TABLE);
    }
    s = planned(&mapper, STEP_gmap);
    add(s, ref);
    add(s, like->dom);
    add(s, GNTMAP_host_map | (chance(30) ? GNTMAP_readonly : 0));
    add(s, va);
    add(s, -1);
    add(s, slot);
    mapped[mapper.dom][slot].where = va;
    mapped[mapper.dom][slot].index = -1;
    plan_use(&mapper);
    s = planned(&mapper, STEP_gunmap);
    add(s, slot);
    add(s, va);
    add(s, -1);
    add(s, -1);
}

static void plan_segments(const struct step *like)
{
    unsigned page = 11 + rnd(2);
    plan_use(like);
    plan_remap(like, page, TABLE & ~X86_PTE_RW, 0);
    if (chance(50)) {
        struct step *s = planned(like, STEP_gdt);
        add(s, 512);
        add(s, REF((int64_t)like->dom, page));
    } else {
        struct step *s = planned(like, STEP_ext);
        add(s, -1);
        add(s, MMUEXT_SET_LDT);
        add(s, (int64_t)page << PAGE_SHIFT);
        add(s, 512);
        s = planned(like, STEP_ldtfault);
        add(s, 0);
    }
}

/* ---- choice ---- */

static void fill(struct step *s)
{
    switch (s->op) {
    case STEP_mmu:
        gen_mmu(s);
        break;
    case STEP_uva:
        gen_uva(s);
        break;
    case STEP_ext:
        gen_ext(s);
        break;
    case STEP_gdt:
    case STEP_desc:
    case STEP_ldtfault:
        gen_descriptors(s);
        break;
    case STEP_populate:
    case STEP_decrease:
    case STEP_exchange:
        gen_memory(s);
        break;
    case STEP_increase:
        add(s, chance(80) ? -1 : (int64_t)rnd(MODEL_DOMS));
        add(s, 1 + rnd(3));
        add(s, chance(50) ? 0 : 20 + rnd(8));
        break;
    case STEP_setup:
        add(s, rnd(4));
        break;
    case STEP_resource:
        add(s, rnd(3));
        add(s, rnd(4));
        break;
    case STEP_stubs:
        add(s, leaf_ref(s->dom));
        break;
    case STEP_maxmem:
        add(s, MODEL_MEM_PAGES - rnd(30));
        break;
    case STEP_grant:
        gen_grant(s);
        break;
    case STEP_gmap:
        gen_gmap(s);
        break;
    case STEP_gunmap:
        gen_gunmap(s);
        break;
    case STEP_gcopy:
        add(s, rnd(GRANT_REFS));
        add(s, any_dom());
        add(s, leaf_ref(s->dom));
        add(s, rnd(2));
        break;
    case STEP_touch:
        add(s, some_va());
        add(s, rnd(2));
        break;
    case STEP_use:
        add(s, rnd(2));
        break;
    case STEP_store:
        gen_store(s);
        break;
    case STEP_init:
    case STEP_context:
    case STEP_info:
        gen_vcpu(s);
        break;
    case STEP_multi:
        add(s, rnd(6));
        break;
    case STEP_race:
        add(s, chance(50) ? rnd(4) : chance(60) ? rnd(12) : rnd(64));
        break;
    default:
        break;
    }
}

static const struct {
    enum step_op op;
    unsigned weight;
} choice[] = {{STEP_mmu, 26},   {STEP_uva, 12},     {STEP_ext, 18},     {STEP_store, 10},
              {STEP_touch, 5},  {STEP_use, 8},      {STEP_gmap, 5},     {STEP_gunmap, 5},
              {STEP_grant, 4},  {STEP_populate, 4}, {STEP_decrease, 4}, {STEP_exchange, 3},
              {STEP_gdt, 3},    {STEP_desc, 3},     {STEP_ldtfault, 2}, {STEP_user, 2},
              {STEP_init, 2},   {STEP_context, 1},  {STEP_info, 1},     {STEP_idle, 2},
              {STEP_multi, 4},  {STEP_resume, 3},   {STEP_gcopy, 2},    {STEP_maxmem, 1},
              {STEP_create, 1}, {STEP_destroy, 1},  {STEP_race, 12},    {STEP_increase, 1},
              {STEP_setup, 1},  {STEP_resource, 1}, {STEP_stubs, 1}};

static enum step_op choose(void)
{
    unsigned total = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(choice); i++) {
        total += choice[i].weight;
    }
    unsigned at = rnd(total);
    for (unsigned i = 0;; i++) {
        if (at < choice[i].weight) {
            return choice[i].op;
        }
        at -= choice[i].weight;
    }
}

static void how(struct step *s)
{
    if (chance(preempted)) {
        s->preempt = (uint8_t)(1 + rnd(3));
        s->lazy = chance(40);
    }
    if (chance(5)) {
        s->fail = (uint8_t)(chance(50) ? 1 + rnd(3) : 100 + rnd(4));
    }
}

/* The two sides of a race: mostly of one domain, its vCPUs on their two pcpus. */
static struct step gen_side(const struct step *first)
{
    struct step s = {.dom = (uint8_t)any_dom()};
    if (first && chance(65)) {
        s.dom = first->dom;
    }
    s.vcpu = first ? !first->vcpu : (uint8_t)any_vcpu(s.dom);
    if (first && s.dom == first->dom && chance(30)) {
        s = *first; /* both do the same */
        s.vcpu = !first->vcpu;
        return s;
    }
    do {
        s.op = (uint8_t)choose();
    } while (s.op == STEP_multi || s.op == STEP_race || s.op == STEP_create || s.op == STEP_use ||
             s.op == STEP_touch || s.op == STEP_idle);
    if (chance(10)) {
        s.op = STEP_gunmap; /* what two vCPUs could both undo */
    }
    fill(&s);
    how(&s);
    s.lazy = 0;
    return s;
}

void gen_step(struct step *s)
{
    static unsigned in_batch, in_race;
    static struct step batch, side;
    *s = (struct step){0};
    if (in_race) {
        side = gen_side(in_race == 2 ? NULL : &side);
        in_race--;
        *s = side;
        return;
    }
    if (plan_at < plan_count && !in_batch) {
        *s = plan[plan_at++];
        how(s);
        return;
    }
    s->dom = (uint8_t)any_dom();
    s->vcpu = (uint8_t)any_vcpu(s->dom);
    s->op = (uint8_t)choose();
    if (in_batch) {
        in_batch--;
        s->dom = batch.dom;
        s->vcpu = batch.vcpu;
        do {
            s->op = (uint8_t)choose();
        } while (s->op == STEP_multi || s->op == STEP_race);
    } else if (chance(8)) {
        static void (*const plans[])(const struct step *) = {plan_table, plan_table, plan_give_back,
                                                             plan_grant, plan_segments};
        plan_count = plan_at = 0;
        plans[rnd(ARRAY_SIZE(plans))](s);
        *s = plan[plan_at++];
        how(s);
        return;
    }
    if (s->op == STEP_create || s->op == STEP_destroy) {
        s->dom = (uint8_t)(1 + rnd(MODEL_DOMS - 1));
    }
    fill(s);
    how(s);
    in_race = s->op == STEP_race ? 2 : 0;
    if (s->op == STEP_multi) {
        in_batch = 1 + (unsigned)s->arg[0] % (CALLS_MAX - 2);
        batch = *s;
    }
}
