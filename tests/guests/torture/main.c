/* SPDX-License-Identifier: MIT */
/*
 * Random hypercalls of the right types on two vCPUs, for seconds=N of the command line from seed=S:
 * pages, tables, ports, grants and areas of a small set, with values that are right half of the
 * time. There is no expectation for a single call but the range of answers; the hypervisor, the
 * canary and the domain's books must be unharmed. The same seed gives the same calls on each vCPU.
 *
 * Not alone: it needs the canary.
 */
#include "canary.h"
#include "lib.h"

#define PAGES 24
#define GRANTS 16

/* A vCPU's part of the game. */
struct player {
    uint64_t state;
    uint64_t calls, refused;
    volatile uint32_t done;
};

static struct player players[2];
static uint8_t *pages[PAGES];
static xen_pfn_t frames[PAGES];
static domid_t me, canary;
static uint64_t deadline;
static uint64_t canary_ref;
static uint64_t max_mfn;
/* Pages below are what this program is made of, with its page tables, the list of frames and the
 * tables that map that. */
static uint64_t ground;

static uint64_t draw(struct player *p)
{
    p->state ^= p->state << 13;
    p->state ^= p->state >> 7;
    p->state ^= p->state << 17;
    return p->state * 0x2545f4914f6cdd1dUL >> 16;
}

static uint64_t below(struct player *p, uint64_t n)
{
    return draw(p) % n;
}

static bool chance(struct player *p, unsigned one_in)
{
    return below(p, one_in) == 0;
}

/* ---- values ---- */

/* Our own page of that number, or no page: what the M2P says of any number. */
static uint64_t page_of(uint64_t mfn)
{
    return mfn <= max_mfn ? pfn_of_mfn(mfn) : ~0UL;
}

static uint64_t odd_number(struct player *p)
{
    static const uint64_t values[] = {0,
                                      1,
                                      7,
                                      0xfff,
                                      0x1000,
                                      0x200000,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      1UL << 43,
                                      0x00007fffffffffff,
                                      NONCANONICAL,
                                      HYP_START,
                                      0xffff840000200000,
                                      HYP_END - 8,
                                      ~0xfffUL,
                                      ~0UL};
    return chance(p, 3) ? draw(p) : values[below(p, ARRAY_SIZE(values))];
}

/* Any number but those of the frames this program itself is made of. */
static uint64_t not_ourselves(uint64_t mfn)
{
    uint64_t page = page_of(mfn);
    return page < ground && mfn_of_pfn(page) == mfn ? mfn_of(pages[0]) : mfn;
}

static uint64_t some_mfn(struct player *p)
{
    switch (below(p, 12)) {
    case 0:
        return not_ourselves(odd_number(p));
    case 1:
        return not_ourselves(below(p, 0x80000));
    case 2:
        return mfn_of(table_find(VIRT_BASE, 1 + (unsigned)below(p, 4)));
    case 3:
        return mfn_of(test_area_l1());
    case 4:
    case 5:
        return frames[below(p, PAGES)];
    default:
        return mfn_of(pages[below(p, PAGES)]);
    }
}

static uint64_t some_pte(struct player *p)
{
    static const uint64_t flags[] = {0,      PTE_RO,           PTE_RW,          PTE_RW | PTE_NX,
                                     PTE_P,  PTE_RW | PTE_G,   PTE_RO | PTE_PS, PTE_RW | PTE_PCD,
                                     PTE_RO, PTE_RW | 0x200UL, PTE_P | PTE_W,   PTE_RW};
    if (chance(p, 20)) {
        uint64_t pte = odd_number(p);
        return pte_make(not_ourselves((pte & PTE_ADDR) / PAGE_BYTES), pte & ~PTE_ADDR);
    }
    return pte_make(some_mfn(p) & 0xffffffffff, flags[below(p, ARRAY_SIZE(flags))]);
}

/* An address in the pages of the game: their windows in the test area, or their own. */
static uint64_t some_va(struct player *p)
{
    if (chance(p, 12)) {
        return odd_number(p);
    }
    return chance(p, 2) ? TEST_VA + below(p, 64) * PAGE_BYTES : (uint64_t)pages[below(p, PAGES)];
}

/* Where arguments and results go: a page of the vCPU's own, sometimes its last bytes, sometimes
 * nowhere. */
static void *argument(struct player *p, const void *from, size_t bytes)
{
    static uint8_t areas[2][2 * PAGE_BYTES] PAGE_ALIGNED;
    uint8_t *to = areas[p - players] + (chance(p, 8) ? PAGE_BYTES - 8 : below(p, 64) * 8);
    if (chance(p, 64)) {
        return (void *)odd_number(p);
    }
    memcpy(to, from, bytes);
    return to;
}

#define ARGUMENT(value) argument(p, &(value), sizeof(value))

/* ---- calls ---- */

static long play_mmu(struct player *p)
{
    struct mmu_update reqs[4];
    unsigned count = 1 + (unsigned)below(p, 4);
    for (unsigned i = 0; i < count; i++) {
        uint64_t table = chance(p, 4) ? some_mfn(p) * PAGE_BYTES
                                      : maddr_of(chance(p, 2) ? (void *)test_area_l1()
                                                              : (void *)pages[below(p, PAGES)]);
        uint64_t slot = chance(p, 2) ? below(p, 64) : below(p, ENTRIES);
        reqs[i] = (struct mmu_update){(table + slot * 8) | below(p, 4), some_pte(p)};
        if ((reqs[i].ptr & 3) == MMU_MACHPHYS_UPDATE) {
            reqs[i].ptr &= ~3UL; /* it would only confuse ourselves */
        }
        /* Our own ground stays. */
        uint64_t page = page_of(reqs[i].ptr / PAGE_BYTES);
        if (page < ground && (page < ((uint64_t)pages[0] - VIRT_BASE) / PAGE_BYTES ||
                              page > ((uint64_t)pages[PAGES - 1] - VIRT_BASE) / PAGE_BYTES)) {
            reqs[i].ptr = maddr_of(test_area_l1() + below(p, 64));
        }
    }
    uint32_t done = 0;
    return mmu_update(ARGUMENT(reqs), count, &done, chance(p, 16) ? odd_number(p) : DOMID_SELF);
}

static long play_va(struct player *p)
{
    uint64_t va = some_va(p);
    return update_va(va, some_pte(p), below(p, 8) ? UVMF_INVLPG | UVMF_ALL : below(p, 16));
}

static long play_mmuext(struct player *p)
{
    static const unsigned char commands[] = {0, 1,  2,  3,  4,  4,  4,  4,  6,  7, 8,
                                             9, 10, 11, 12, 15, 16, 17, 18, 19, 99};
    struct mmuext_op ops[3];
    unsigned count = 1 + (unsigned)below(p, 3);
    for (unsigned i = 0; i < count; i++) {
        memset(&ops[i], 0, sizeof(ops[i]));
        ops[i].cmd = commands[below(p, ARRAY_SIZE(commands))];
        ops[i].arg1.mfn = chance(p, 6) ? some_va(p) : some_mfn(p);
        if (ops[i].cmd == MMUEXT_UNPIN_TABLE && page_of(ops[i].arg1.mfn) < ground) {
            ops[i].arg1.mfn = mfn_of(pages[below(p, PAGES)]);
        }
        if (ops[i].cmd == MMUEXT_CLEAR_PAGE || ops[i].cmd == MMUEXT_COPY_PAGE) {
            ops[i].arg1.mfn = mfn_of(pages[below(p, PAGES)]);
            ops[i].arg2.src_mfn = some_mfn(p);
        } else if (ops[i].cmd == 8 || ops[i].cmd == 9) {
            ops[i].arg2.src_mfn = (uint64_t)pages[below(p, PAGES)];
        }
    }
    uint32_t done = 0;
    return mmuext_op(ARGUMENT(ops), count, &done, chance(p, 16) ? odd_number(p) : DOMID_SELF);
}

static long play_event(struct player *p)
{
    union {
        uint32_t words[8];
        struct evtchn_alloc_unbound alloc;
        struct evtchn_bind_interdomain inter;
        struct evtchn_bind_virq virq;
        struct evtchn_bind_vcpu move;
        struct evtchn_status status;
    } u = {.words = {0}};
    unsigned op = (unsigned)below(p, 14);
    uint32_t port = 3 + (uint32_t)below(p, chance(p, 8) ? 2000 : 40);
    u.words[0] = port;
    switch (op) {
    case EVTCHNOP_bind_interdomain:
        u.inter.remote_dom = chance(p, 4) ? canary : DOMID_SELF;
        u.inter.remote_port = port;
        break;
    case EVTCHNOP_alloc_unbound:
        u.alloc.dom = chance(p, 8) ? (domid_t)odd_number(p) : DOMID_SELF;
        u.alloc.remote_dom = chance(p, 2) ? canary : DOMID_SELF;
        break;
    case EVTCHNOP_bind_virq:
        u.virq.virq = (uint32_t)below(p, 30);
        u.virq.vcpu = (uint32_t)below(p, 3);
        break;
    case EVTCHNOP_bind_ipi:
        u.words[0] = (uint32_t)below(p, 3);
        break;
    case EVTCHNOP_bind_vcpu:
        u.move.vcpu = (uint32_t)below(p, 3);
        break;
    case EVTCHNOP_status:
        u.status.dom = DOMID_SELF;
        u.status.port = port;
        break;
    case EVTCHNOP_reset:
        return 0; /* the console would go */
    }
    return evtchn_op(op, ARGUMENT(u));
}

static long play_map(struct player *p)
{
    static grant_handle_t handles[64];
    unsigned slot = (unsigned)below(p, ARRAY_SIZE(handles));
    uint64_t at = TEST_VA + below(p, 64) * PAGE_BYTES;
    if (chance(p, 2)) {
        struct gnttab_unmap_grant_ref undo = {.host_addr = chance(p, 4) ? some_va(p) : at,
                                              .handle = chance(p, 8) ? (uint32_t)odd_number(p)
                                                                     : handles[slot]};
        return grant_op(GNTTABOP_unmap_grant_ref, ARGUMENT(undo), 1);
    }
    struct gnttab_map_grant_ref map = {.host_addr = chance(p, 8) ? some_va(p) : at,
                                       .flags = (uint32_t)below(p, 32),
                                       .ref = chance(p, 6) ? (grant_ref_t)canary_ref
                                                           : 8 + (grant_ref_t)below(p, GRANTS),
                                       .dom = chance(p, 6) ? canary : me};
    struct gnttab_map_grant_ref *arg = ARGUMENT(map);
    long rc = grant_op(GNTTABOP_map_grant_ref, arg, 1);
    if (rc == 0 && arg->status == GNTST_okay) {
        handles[slot] = arg->handle;
    }
    return rc;
}

static long play_grant(struct player *p)
{
    if (chance(p, 3)) {
        grant_set(8 + (grant_ref_t)below(p, GRANTS), chance(p, 4) ? canary : me, some_mfn(p),
                  (uint16_t)(chance(p, 4) ? below(p, 65536) : GTF_permit_access));
        return 0;
    }
    if (chance(p, 2)) {
        return play_map(p);
    }
    struct gnttab_copy copy = {.len = (uint16_t)below(p, 5000), .flags = (uint16_t)below(p, 4)};
    copy.source.domid = chance(p, 4) ? canary : copy.flags & 1 ? me : DOMID_SELF;
    copy.source.u.gmfn = copy.flags & 1 ? 8 + below(p, GRANTS) : some_mfn(p);
    copy.source.offset = (uint16_t)below(p, 4100);
    copy.dest.domid = DOMID_SELF;
    copy.dest.u.gmfn = mfn_of(pages[below(p, PAGES)]);
    copy.flags &= 1;
    copy.dest.offset = (uint16_t)below(p, 4100);
    return grant_op(GNTTABOP_copy, ARGUMENT(copy), 1);
}

static long play_memory(struct player *p)
{
    static const unsigned char ops[] = {0, 1, 1, 3, 4, 6, 6, 9, 11, 12, 24, 28};
    unsigned op = ops[below(p, ARRAY_SIZE(ops))], slot = (unsigned)below(p, PAGES);
    xen_pfn_t list[2] = {frames[slot], frames[below(p, PAGES)]};
    struct xen_memory_reservation r = {.nr_extents = 1 + below(p, 2),
                                       .extent_order = chance(p, 8) ? (unsigned)below(p, 12) : 0,
                                       .domid =
                                           chance(p, 16) ? (domid_t)odd_number(p) : DOMID_SELF};
    uint64_t start = chance(p, 16) ? odd_number(p) << 6 : 0;
    if (op == XENMEM_decrease_reservation) {
        r.extent_order = 0; /* more would take the ground from under us */
    }
    set_xen_guest_handle(r.extent_start, list);
    if (op == XENMEM_exchange) {
        xen_pfn_t out = 0x5000 + slot;
        struct xen_memory_exchange x = {.in = r, .out = r};
        x.in.nr_extents = x.out.nr_extents = 1;
        x.in.extent_order = x.out.extent_order = 0;
        set_xen_guest_handle(x.out.extent_start, &out);
        long rc = memory_op(op | start, &x);
        if (rc == 0) {
            frames[slot] = out;
        }
        return rc;
    }
    if (op == XENMEM_populate_physmap) {
        list[0] = 0x5000 + slot;
        list[1] = 0x5100 + slot;
    }
    long rc = memory_op(op | start, ARGUMENT(r));
    if (op == XENMEM_populate_physmap && rc > 0 && start == 0) {
        frames[slot] = list[0];
    }
    return rc;
}

static long play_descriptors(struct player *p)
{
    xen_pfn_t list[14];
    for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
        list[i] = some_mfn(p);
    }
    struct mmuext_op ldt = {.cmd = MMUEXT_SET_LDT, .arg1.linear_addr = some_va(p) & ~0xfffUL};
    switch (below(p, 4)) {
    case 0:
        return set_gdt(ARGUMENT(list), below(p, 3) ? below(p, 1000) : odd_number(p));
    case 1:
        ldt.arg2.nr_ents = (uint32_t)below(p, 9000);
        return mmuext_op(&ldt, 1, 0, DOMID_SELF);
    case 2:
        return update_descriptor(maddr_of(pages[below(p, PAGES)]) + below(p, 4096), odd_number(p));
    default:
        return set_gdt(list, 0);
    }
}

static long play_state(struct player *p)
{
    unsigned other = 1 - (unsigned)(p - players);
    struct vcpu_register_runstate_memory_area area = {.addr.p = some_va(p)};
    struct vcpu_set_singleshot_timer timer = {.timeout_abs_ns = now_ns() + below(p, 2000000),
                                              .flags = (uint32_t)below(p, 2)};
    struct vcpu_set_periodic_timer period = {.period_ns = 1000000 + below(p, 100000000)};
    struct sched_poll poll = {.nr_ports = 0, .timeout = now_ns() + below(p, 3000000)};
    switch (below(p, 12)) {
    case 0:
        return vcpu_op(VCPUOP_register_runstate_memory_area, other, ARGUMENT(area));
    case 1:
        return vcpu_op(VCPUOP_set_singleshot_timer, below(p, 3), ARGUMENT(timer));
    case 2:
        return vcpu_op(VCPUOP_set_periodic_timer, below(p, 3), ARGUMENT(period));
    case 3:
        return vcpu_op(VCPUOP_stop_periodic_timer, below(p, 3), 0);
    case 4:
        return sched_op(SCHEDOP_poll, ARGUMENT(poll));
    case 5:
        return sched_op(SCHEDOP_yield, 0);
    case 6:
        return set_segment_base(below(p, 4), odd_number(p));
    case 7:
        return vm_assist(below(p, 3), below(p, 40));
    case 8:
        return set_debugreg(below(p, 8) == 7 ? 6 : below(p, 4), odd_number(p));
    case 9:
        return xen_version(below(p, 12), some_va(p));
    case 10:
        return HC1(__HYPERVISOR_fpu_taskswitch, below(p, 2));
    default:
        return vcpu_op(VCPUOP_get_runstate_info, other, some_va(p));
    }
}

static uint64_t touch(uint64_t va)
{
    *(volatile uint64_t *)va = va;
    return *(volatile uint64_t *)va;
}

static long play_touch(struct player *p)
{
    uint64_t va = some_va(p);
    (void)try_call(touch, va & ~7UL);
    return 0;
}

static long play_many(struct player *p)
{
    struct multicall_entry list[4];
    memset(list, 0, sizeof(list));
    for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
        list[i].op = chance(p, 2) ? __HYPERVISOR_update_va_mapping : __HYPERVISOR_xen_version;
        list[i].args[0] = list[i].op == __HYPERVISOR_xen_version ? below(p, 12) : some_va(p);
        list[i].args[1] = list[i].op == __HYPERVISOR_xen_version ? some_va(p) : some_pte(p);
    }
    return multicall(ARGUMENT(list), below(p, 5));
}

/* A call may leave our own pages mapped otherwise, or not at all: what the game stands on is put
 * right where that is possible. */
static void repair(struct player *p)
{
    uint8_t *page = pages[below(p, PAGES)];
    (void)mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(page));
    (void)page_protect(page, chance(p, 3) ? PTE_RO : PTE_RW);
}

static void play(struct player *p)
{
    static long (*const moves[])(struct player *) = {
        play_mmu,   play_mmu,   play_va,     play_va,    play_mmuext,      play_mmuext, play_event,
        play_grant, play_grant, play_memory, play_state, play_descriptors, play_touch,  play_many};
    while (now_ns() < deadline) {
        long rc = moves[below(p, ARRAY_SIZE(moves))](p);
        p->calls++;
        if (rc < 0) {
            p->refused++;
            CHECK(rc >= -133);
        }
        if (p->calls % 4 == 0) {
            repair(p);
        }
    }
    p->done = 1;
}

/* What the game brings about at any place: a selector that is gone with its table, a debug trap. */
static bool anywhere(struct regs *regs)
{
    return regs->vector == VEC_FAILSAFE || regs->vector == VEC_DB || regs->vector == VEC_NM;
}

static void second(uint64_t arg)
{
    (void)arg;
    play(&players[1]);
}

void test_main(void)
{
    uint64_t seconds = 5, seed = 1;
    (void)option_number("seconds", &seconds);
    (void)option_number("seed", &seed);
    canary = canary_domid();
    canary_ref = CANARY_REF_WRITE + canary_distance();
    me = own_domid();
    struct xen_machphys_mapping m2p;
    NEED_OK(memory_op(XENMEM_machphys_mapping, &m2p));
    max_mfn = m2p.max_mfn;
    grant_init();
    test_area_init();
    for (unsigned i = 0; i < PAGES; i++) {
        pages[i] = page_new();
        frames[i] = frame_new();
    }
    ground = pfn_of_mfn(frames[0]);
    CHECK(ground >= start_info->first_p2m_pfn + start_info->nr_p2m_frames);
    for (unsigned i = 0; i < 2; i++) {
        players[i].state = (seed + 1) * 0x9e3779b97f4a7c15UL + i * 0xdeadbeefUL;
    }
    trap_hook = anywhere;
    deadline = now_ns() + seconds * 1000000000UL;
    NEED_OK(cpu_start(1, second, 0));
    play(&players[0]);
    uint64_t until = now_ns() + 60000000000UL;
    while (!players[1].done && now_ns() < until) {
        (void)sched_op(SCHEDOP_yield, 0);
    }
    CHECK(players[1].done);
    CHECK(players[0].calls > 100 && players[1].calls > 100);
    CHECK(players[0].refused < players[0].calls);
    say("%lu and %lu calls, %lu and %lu refused", players[0].calls, players[1].calls,
        players[0].refused, players[1].refused);
}
