/* SPDX-License-Identifier: MIT */
/*
 * A builder's page tables: the control domain makes a domain, writes tables into its frames and
 * pins them for it, as the ABI lets it. It gets no further than the guest itself would: tables that
 * reach frames of others, themselves, or large pages are refused, whoever owns the hand; what is
 * pinned cannot be mapped writable by the builder either; two of its vCPUs that pin, map and change
 * one tree at once break nothing; the domain ends with its tables pinned and mapped, and every
 * frame comes back. Beside the canary, where it is not the control domain, all of this is refused.
 */
#include "lib.h"

#define FRAMES 16
#define L(n) (4 - (n)) /* number of the frame that is the table of a level */
#define PIN(n) (MMUEXT_PIN_L1_TABLE + (n)-1)
#define ROUNDS 300

static struct xen_domctl op;
static xen_pfn_t frame[FRAMES];
static domid_t guest;
static volatile uint32_t go, done, good_pins;

static long domctl(uint32_t cmd, domid_t dom)
{
    op.cmd = cmd;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = dom;
    return HC1(__HYPERVISOR_domctl, &op);
}

static long create(void)
{
    memset(&op, 0, sizeof(op));
    op.u.createdomain.max_vcpus = 1;
    op.u.createdomain.max_evtchn_port = 127;
    op.u.createdomain.max_grant_frames = 4;
    op.u.createdomain.max_maptrack_frames = 4;
    op.u.createdomain.grant_opts = XEN_DOMCTL_GRANT_version(1);
    return domctl(XEN_DOMCTL_createdomain, 0);
}

static uint64_t free_frames(void)
{
    static struct xen_sysctl info;
    memset(&info, 0, sizeof(info));
    info.cmd = XEN_SYSCTL_physinfo;
    info.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    NEED_OK(HC1(__HYPERVISOR_sysctl, &info));
    return info.u.physinfo.free_pages;
}

static long ext(unsigned cmd, uint64_t mfn, domid_t dom)
{
    struct mmuext_op one = {.cmd = cmd, .arg1.mfn = mfn};
    return mmuext_op(&one, 1, 0, dom);
}

static long map(unsigned page, uint64_t pte)
{
    return HC4(__HYPERVISOR_update_va_mapping_otherdomain, test_va(page), pte,
               UVMF_INVLPG | UVMF_ALL, guest);
}

static uint64_t *entries(unsigned page)
{
    return test_va(page);
}

/* A request on a table of the guest, with frames of `from`. */
static long write_entry(unsigned page, unsigned index, uint64_t value, domid_t from)
{
    struct mmu_update req = {.ptr = frame[page] * PAGE_BYTES + index * 8, .val = value};
    return mmu_update(&req, 1, 0, from | (uint32_t)(guest + 1) << 16);
}

static void write_tree(void)
{
    for (unsigned i = 0; i < FRAMES; i++) {
        NEED_OK(map(i, pte_make(frame[i], PTE_RW)));
    }
    for (unsigned i = 0; i < 4; i++) {
        memset(entries(i), 0, PAGE_BYTES);
    }
    for (unsigned level = 4; level > 1; level--) {
        entries(L(level))[0] = pte_make(frame[L(level - 1)], PTE_RW);
    }
    for (unsigned i = 0; i < FRAMES; i++) {
        entries(L(1))[i] = pte_make(frame[i], i < 4 ? PTE_RO : PTE_RW);
    }
}

static void map_tables(uint64_t flags)
{
    for (unsigned i = 0; i < 4; i++) {
        NEED_OK(map(i, pte_make(frame[i], flags)));
    }
}

/* A tree with one entry wrong, which the guest itself could not have pinned. */
static void wrong_tree(unsigned level, unsigned index, uint64_t entry)
{
    map_tables(PTE_RW);
    uint64_t was = entries(L(level))[index];
    entries(L(level))[index] = entry;
    map_tables(PTE_RO);
    long rc = ext(PIN(4), frame[L(4)], guest);
    CHECK_IS(rc, -EINVAL);
    if (rc) {
        map_tables(PTE_RW);
        entries(L(level))[index] = was;
        return;
    }
    say("level %u, entry %u as %lx", level, index, entry);
    NEED_OK(ext(MMUEXT_UNPIN_TABLE, frame[L(4)], guest));
}

static void wrong_trees(void)
{
    uint64_t mine = frame_new();
    const uint64_t foreign[] = {pte_make(mine, PTE_RO), pte_make(mine, PTE_RW),
                                pte_make(mfn_of((void *)start_info->pt_base), PTE_RO),
                                pte_make(0x200, PTE_RO), pte_make(1UL << 39, PTE_RO)};
    for (unsigned i = 0; i < ARRAY_SIZE(foreign); i++) {
        for (unsigned level = 1; level <= 4; level++) {
            wrong_tree(level, 20, foreign[i]);
        }
    }
    for (unsigned level = 1; level <= 4; level++) {
        wrong_tree(level, 20, pte_make(frame[L(level)], PTE_RW)); /* itself */
    }
    wrong_tree(1, 0, pte_make(frame[L(4)], PTE_RW)); /* a table, writable */
    wrong_tree(2, 0, pte_make(frame[8], PTE_RW | PTE_PS));
    wrong_tree(3, 0, pte_make(frame[L(1)], PTE_RW)); /* a level too far down */
}

static void pins(void)
{
    map_tables(PTE_RW);
    CHECK_IS(ext(PIN(4), frame[L(4)], guest), -EINVAL); /* the builder maps them writable */
    map_tables(PTE_RO);
    CHECK_IS(ext(PIN(4), frame[L(4)], DOMID_SELF), -EINVAL);
    CHECK_IS(ext(PIN(4), mfn_of((void *)start_info->pt_base), guest), -EINVAL);
    CHECK_IS(ext(PIN(4), frame[L(4)], (domid_t)(guest + 1)), -ESRCH);
    CHECK_IS(ext(MMUEXT_UNPIN_TABLE, frame[L(4)], guest), -EINVAL);
    CHECK_IS(ext(PIN(4), frame[L(4)], guest), 0);
    CHECK_IS(ext(PIN(4), frame[L(4)], guest), -EINVAL);
    CHECK_IS(ext(PIN(3), frame[L(4)], guest), -EINVAL);
    CHECK_IS(ext(PIN(3), frame[L(3)], guest), 0);
    CHECK_IS(ext(MMUEXT_UNPIN_TABLE, frame[L(3)], guest), 0);
    CHECK_IS(ext(MMUEXT_CLEAR_PAGE, frame[L(1)], guest), -EINVAL);
    CHECK_IS(ext(MMUEXT_NEW_BASEPTR, frame[L(4)], guest), -EPERM);
    CHECK_IS(ext(MMUEXT_NEW_BASEPTR, frame[L(4)], DOMID_SELF), -EINVAL);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_IS(map(i, pte_make(frame[i], PTE_RW)), -EINVAL);
    }
    uint64_t mine = frame_new();
    CHECK_IS(write_entry(L(1), 40, pte_make(frame[9], PTE_RW), guest), 0);
    CHECK_IS(write_entry(L(1), 41, pte_make(frame[L(2)], PTE_RW), guest), -EINVAL);
    CHECK_IS(write_entry(L(1), 41, pte_make(mine, PTE_RO), guest), -EINVAL);
    CHECK_IS(write_entry(L(4), 256, pte_make(frame[L(3)], PTE_RW), guest), -EINVAL);
    CHECK_IS(write_entry(L(3), 0, pte_make(frame[9], PTE_RW), guest), -EINVAL);
    CHECK_IS(entries(L(1))[40] & PTE_ADDR, frame[9] * PAGE_BYTES);
    CHECK_IS(entries(L(1))[41], 0);
    CHECK_IS(ext(MMUEXT_UNPIN_TABLE, frame[L(4)], guest), 0);
}

static void second(uint64_t arg)
{
    (void)arg;
    go = 1;
    for (unsigned i = 0; i < ROUNDS; i++) {
        long rc = ext(PIN(4), frame[L(4)], guest);
        good_pins += rc == 0;
        CHECK(rc == 0 || rc == -EINVAL);
        (void)write_entry(L(1), 40, i & 1 ? pte_make(frame[9], PTE_RW) : 0, guest);
        rc = ext(MMUEXT_UNPIN_TABLE, frame[L(4)], guest);
        CHECK(rc == 0 || rc == -EINVAL);
    }
    done = 1;
}

static void race(void)
{
    map_tables(PTE_RO);
    NEED_OK(cpu_start(1, second, 0));
    NEED(wait_for(&go, 10000));
    for (unsigned i = 0; !done; i++) {
        long rc = map(i % 4, pte_make(frame[i % 4], i & 4 ? PTE_RW : PTE_RO));
        CHECK(rc == 0 || rc == -EINVAL);
        if (rc == 0 && (i & 4)) {
            CHECK_IS(map(i % 4, pte_make(frame[i % 4], PTE_RO)), 0);
        }
        rc = ext(PIN(1 + i % 3), frame[L(1 + i % 3)], guest);
        CHECK(rc == 0 || rc == -EINVAL);
        if (rc == 0) {
            rc = ext(MMUEXT_UNPIN_TABLE, frame[L(1 + i % 3)], guest);
            CHECK(rc == 0 || rc == -EINVAL);
        }
    }
    CHECK(good_pins > 0);
    map_tables(PTE_RW);
}

/* What a guest gets of all this. */
static void not_the_builder(void)
{
    guest = 0;
    CHECK_IS(create(), -EPERM);
    test_area_init();
    CHECK_IS(ext(PIN(4), mfn_of((void *)start_info->pt_base), 0), -EPERM);
    CHECK_IS(map(0, pte_make(frame_new(), PTE_RW)), -EPERM);
    struct mmu_update req = {.ptr = maddr_of(test_area_l1()), .val = 0};
    CHECK_IS(mmu_update(&req, 1, 0, DOMID_SELF | 1U << 16), -EPERM);
}

void test_main(void)
{
    if (!alone()) {
        not_the_builder();
        return;
    }
    test_area_init();
    uint64_t free_before = free_frames();
    NEED_OK(create());
    guest = op.domain;
    memset(&op.u, 0, sizeof(op.u));
    op.u.max_mem.max_memkb = FRAMES * 4;
    NEED_OK(domctl(XEN_DOMCTL_max_mem, guest));
    for (unsigned i = 0; i < FRAMES; i++) {
        frame[i] = i;
    }
    struct xen_memory_reservation r = {.nr_extents = FRAMES, .domid = guest};
    set_xen_guest_handle(r.extent_start, frame);
    NEED(memory_op(XENMEM_populate_physmap, &r) == FRAMES);
    write_tree();
    wrong_trees();
    pins();
    race();

    /* Its end, with tables pinned and one of them still mapped here. */
    map_tables(PTE_RO);
    NEED_OK(ext(PIN(4), frame[L(4)], guest));
    CHECK_IS(domctl(XEN_DOMCTL_destroydomain, guest), 0);
    CHECK(entries(L(4))[0] == pte_make(frame[L(3)], PTE_RW) || entries(L(4))[0] == 0);
    for (unsigned i = 0; i < FRAMES; i++) {
        CHECK_IS(update_va(test_va(i), 0, UVMF_INVLPG | UVMF_ALL), 0);
    }
    CHECK_IS(domctl(XEN_DOMCTL_destroydomain, guest), -ESRCH);
    CHECK_IS(free_frames(), free_before);
}
