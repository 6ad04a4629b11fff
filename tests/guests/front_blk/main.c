/* SPDX-License-Identifier: MIT */
/*
 * A disk's front end that cheats the control domain's own back end, which works with what it is
 * granted: entries that grant nothing, grant reading only, are given to another domain; segments
 * and sectors that cannot be; operations nobody knows; entries revoked and changed while the back
 * end uses them, a granted frame given up by its owner meanwhile. Each request is answered, with an
 * error where it deserves one, and good ones work before and after. At the end the domain dies in
 * the middle of it all, by `how`: 0 with requests under way, 1 with a producer index that has run
 * away, 2 with the ring's own grant and the page gone, 3 with the back end told to close meanwhile.
 * Not alone: the back end is in the control domain.
 */
#include "front.h"

#include <xen/io/blkif.h>

#define DISK 51712
#define SECTOR 512
#define PAGES 8

static uint8_t ring_page[PAGE_BYTES] PAGE_ALIGNED, scratch[PAGE_BYTES] PAGE_ALIGNED;
static uint8_t data[PAGES][PAGE_BYTES] PAGE_ALIGNED;
static struct front f;
static blkif_front_ring_t ring;
static uint64_t last_id, sectors;

static struct blkif_request *next_request(uint8_t operation, uint64_t sector)
{
    struct blkif_request *r = RING_GET_REQUEST(&ring, ring.req_prod_pvt);
    ring.req_prod_pvt++;
    memset(r, 0, sizeof(*r));
    r->operation = operation;
    r->id = ++last_id;
    r->sector_number = sector;
    return r;
}

static void push(void)
{
    RING_PUSH_REQUESTS(&ring);
    NEED_OK(event_send(f.port));
}

/* The next answer's status; 100 when none comes. */
static int answer(void)
{
    uint64_t until = now_ns() + 20000000000UL;
    while (__atomic_load_n(&ring.sring->rsp_prod, __ATOMIC_ACQUIRE) == ring.rsp_cons) {
        if (now_ns() > until) {
            return 100;
        }
        sleep_ns(1000000);
    }
    return RING_GET_RESPONSE(&ring, ring.rsp_cons++)->status;
}

/* One request with one segment, and its answer. */
static int one(uint8_t operation, uint64_t sector, grant_ref_t ref, uint8_t first, uint8_t last)
{
    struct blkif_request *r = next_request(operation, sector);
    r->nr_segments = 1;
    r->seg[0] = (struct blkif_request_segment){.gref = ref, .first_sect = first, .last_sect = last};
    push();
    return answer();
}

static void connect(void)
{
    grant_init();
    front_open(&f, "vbd", DISK);
    SHARED_RING_INIT((blkif_sring_t *)ring_page);
    FRONT_RING_INIT(&ring, (blkif_sring_t *)ring_page, PAGE_BYTES);
    front_put(&f, "ring-ref", front_grant(&f, ring_page, 0));
    front_put(&f, "event-channel", f.port);
    (void)store_request(XS_WRITE, 0, "device/vbd/%u/protocol|x86_64-abi", DISK);
    front_put(&f, "state", XenbusStateInitialised);
    NEED(front_wait(&f, XenbusStateConnected));
    front_put(&f, "state", XenbusStateConnected);
    char path[160];
    text_print(path, sizeof(path), "%s/sectors", f.backend);
    sectors = store_number(path);
    NEED(sectors >= 64 && sectors < 1UL << 40);
}

static void good(void)
{
    grant_ref_t out = front_grant(&f, data[0], GTF_readonly), in = front_grant(&f, data[1], 0);
    for (unsigned i = 0; i < PAGE_BYTES; i++) {
        data[0][i] = (uint8_t)(last_id + i * 7);
        data[1][i] = 0;
    }
    CHECK_IS(one(BLKIF_OP_WRITE, 8, out, 0, 7), BLKIF_RSP_OKAY);
    CHECK_IS(one(BLKIF_OP_READ, 8, in, 0, 7), BLKIF_RSP_OKAY);
    CHECK(memcmp(data[0], data[1], PAGE_BYTES) == 0);
    front_revoke(out);
    front_revoke(in);
}

static void bad_grants(void)
{
    grant_ref_t read_only = front_grant(&f, data[2], GTF_readonly);
    grant_ref_t others = front_grant(&f, data[2], 0);
    grant_table[others].domid = (domid_t)(f.backend_id + 1);
    CHECK_IS(one(BLKIF_OP_READ, 0, 500, 0, 7), BLKIF_RSP_ERROR);
    CHECK_IS(one(BLKIF_OP_READ, 0, 0x7fffffff, 0, 7), BLKIF_RSP_ERROR);
    CHECK_IS(one(BLKIF_OP_READ, 0, ~0U, 0, 7), BLKIF_RSP_ERROR);
    CHECK_IS(one(BLKIF_OP_READ, 0, read_only, 0, 7), BLKIF_RSP_ERROR);
    CHECK_IS(one(BLKIF_OP_READ, 0, others, 0, 7), BLKIF_RSP_ERROR);
    CHECK_IS(one(BLKIF_OP_WRITE, 0, others, 0, 7), BLKIF_RSP_ERROR);
    /* A frame that is somebody else's, the hypervisor's, or none. */
    static const uint32_t frames[] = {0, 1, 0x100, 0xffffff, 0x7fffffff, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(frames); i++) {
        grant_set(read_only, f.backend_id, frames[i], GTF_permit_access);
        CHECK_IS(one(BLKIF_OP_READ, 0, read_only, 0, 7), BLKIF_RSP_ERROR);
    }
    /* A page table of ours: it may be read, never written. */
    grant_set(read_only, f.backend_id, mfn_of(table_find(VIRT_BASE, 1)), GTF_permit_access);
    CHECK_IS(one(BLKIF_OP_READ, 0, read_only, 0, 7), BLKIF_RSP_ERROR);
    front_revoke(read_only);
    front_revoke(others);
}

static void bad_requests(void)
{
    grant_ref_t ref = front_grant(&f, data[3], 0);
    static const uint8_t counts[] = {0, BLKIF_MAX_SEGMENTS_PER_REQUEST + 1, 255};
    static const uint64_t starts[] = {~0UL, 1UL << 63, (1UL << 55) - 4};
    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
        next_request(BLKIF_OP_READ, 0)->nr_segments = counts[i];
        push();
        CHECK_IS(answer(), BLKIF_RSP_ERROR);
    }
    CHECK_IS(one(BLKIF_OP_READ, 0, ref, 5, 4), BLKIF_RSP_ERROR);
    CHECK_IS(one(BLKIF_OP_READ, 0, ref, 0, 8), BLKIF_RSP_ERROR);
    CHECK_IS(one(BLKIF_OP_READ, 0, ref, 255, 255), BLKIF_RSP_ERROR);
    CHECK_IS(one(BLKIF_OP_READ, sectors - 7, ref, 0, 7), BLKIF_RSP_ERROR);
    for (unsigned i = 0; i < ARRAY_SIZE(starts); i++) {
        CHECK_IS(one(BLKIF_OP_READ, starts[i], ref, 0, 7), BLKIF_RSP_ERROR);
        CHECK_IS(one(BLKIF_OP_WRITE, starts[i], ref, 0, 7), BLKIF_RSP_ERROR);
    }
    next_request(77, 0)->nr_segments = 1;
    push();
    CHECK(answer() < 0);
    struct blkif_request_indirect *indirect = (void *)next_request(BLKIF_OP_INDIRECT, 0);
    uint64_t id = last_id;
    *indirect = (struct blkif_request_indirect){.operation = BLKIF_OP_INDIRECT,
                                                .indirect_op = BLKIF_OP_READ,
                                                .nr_segments = 0xffff,
                                                .id = id};
    push();
    CHECK(answer() < 0);
    indirect = (void *)next_request(BLKIF_OP_INDIRECT, 0);
    id = last_id;
    *indirect = (struct blkif_request_indirect){
        .operation = BLKIF_OP_INDIRECT, .indirect_op = BLKIF_OP_READ, .nr_segments = 20, .id = id};
    indirect->indirect_grefs[0] = 501;
    push();
    CHECK(answer() < 0);
    front_revoke(ref);
}

/* Sends as many as the ring takes, each to a page with an entry of its own. */
static void send_many(uint8_t operation, grant_ref_t refs[PAGES])
{
    for (unsigned i = 0; i < PAGES; i++) {
        struct blkif_request *r = next_request(operation, i * 8 % (sectors - 8));
        r->nr_segments = 1;
        r->seg[0] = (struct blkif_request_segment){.gref = refs[i], .last_sect = 7};
    }
    push();
}

/* Entries that change under the back end's hands. What it has mapped stays what it was, the rest
 * fails; nothing else may happen. */
static void change_in_use(void)
{
    grant_ref_t refs[PAGES];
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < PAGES; i++) {
            refs[i] = front_grant(&f, data[i], 0);
        }
        send_many(round % 2 ? BLKIF_OP_READ : BLKIF_OP_WRITE, refs);
        for (unsigned i = 0; i < PAGES; i++) {
            for (unsigned spin = 0; spin < round * 50; spin++) {
                cpu_relax();
            }
            if (i % 4 == 0) {
                front_revoke(refs[i]);
            } else if (i % 4 == 1) {
                grant_set(refs[i], f.backend_id, mfn_of(scratch), GTF_permit_access);
            } else if (i % 4 == 2) {
                grant_table[refs[i]].domid = 77;
            } else {
                grant_table[refs[i]].flags = 0xffff;
            }
        }
        for (unsigned i = 0; i < PAGES; i++) {
            int status = answer();
            CHECK(status == BLKIF_RSP_OKAY || status == BLKIF_RSP_ERROR);
        }
        for (unsigned i = 0; i < PAGES; i++) {
            front_revoke(refs[i]);
        }
    }
}

/* The owner gives a frame up while the back end may be writing to it, and takes another. */
static void give_up_in_use(void)
{
    for (unsigned round = 0; round < 10; round++) {
        uint8_t *page = page_new();
        xen_pfn_t mfn = mfn_of(page);
        grant_ref_t ref = front_grant(&f, page, 0);
        struct xen_memory_reservation give = {.nr_extents = 1, .domid = DOMID_SELF};
        set_xen_guest_handle(give.extent_start, &mfn);
        struct blkif_request *r = next_request(BLKIF_OP_READ, 0);
        r->nr_segments = 1;
        r->seg[0] = (struct blkif_request_segment){.gref = ref, .last_sect = 7};
        push();
        NEED_OK(page_protect(page, 0));
        CHECK_IS(memory_op(XENMEM_decrease_reservation, &give), 1);
        int status = answer();
        CHECK(status == BLKIF_RSP_OKAY || status == BLKIF_RSP_ERROR);
        front_revoke(ref);
    }
}

void test_main(void)
{
    grant_ref_t refs[PAGES];
    uint64_t how = 0;
    (void)option_number("how", &how);
    connect();
    good();
    bad_grants();
    bad_requests();
    good();
    change_in_use();
    give_up_in_use();
    good();
    expect_crash("it dies with requests under way");
    for (unsigned i = 0; i < PAGES; i++) {
        refs[i] = front_grant(&f, data[i], 0);
    }
    send_many(BLKIF_OP_WRITE, refs);
    if (how == 1) {
        ring.sring->req_prod += 0x1000;
        (void)event_send(f.port);
        sleep_ns(300000000);
    } else if (how == 2) {
        grant_table[16].flags = 0;
        memset(ring_page, 0xff, sizeof(ring_page));
        (void)page_protect(ring_page, 0);
    } else if (how == 3) {
        front_put(&f, "state", XenbusStateClosing);
        (void)event_send(f.port);
    }
    struct sched_shutdown off = {.reason = SHUTDOWN_crash};
    (void)sched_op(SCHEDOP_shutdown, &off);
}
