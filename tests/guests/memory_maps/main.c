/* SPDX-License-Identifier: MIT */
/*
 * What a guest may ask about memory: its map, the M2P's place, the highest frame. What it may not:
 * the machine's map, other domains' figures, setting maps, resources; operations of other kinds of
 * guests do not exist.
 *
 * Not alone: it asks for what is domain 0's.
 */
#include "lib.h"

struct __attribute__((packed)) entry {
    uint64_t addr, size;
    uint32_t type;
};

void test_main(void)
{
    static struct entry map[8];
    struct xen_memory_map ask = {.nr_entries = ARRAY_SIZE(map)};
    set_xen_guest_handle(ask.buffer, map);
    CHECK_IS(memory_op(XENMEM_memory_map, &ask), 0);
    CHECK_IS(ask.nr_entries, 1);
    CHECK_IS(map[0].type, 1);
    CHECK(map[0].size >= start_info->nr_pages * PAGE_BYTES);
    ask.nr_entries = 8;
    CHECK_IS(memory_op(XENMEM_machine_memory_map, &ask), -EPERM);
    set_xen_guest_handle(ask.buffer, (void *)HYP_START);
    CHECK_IS(memory_op(XENMEM_memory_map, &ask), -EFAULT);

    struct xen_machphys_mapping m2p;
    CHECK_IS(memory_op(XENMEM_machphys_mapping, &m2p), 0);
    CHECK_IS(m2p.v_start, HYP_START);
    CHECK(m2p.v_end > m2p.v_start && m2p.max_mfn * 8 <= m2p.v_end - m2p.v_start);
    CHECK_FAULT(try_read(HYP_START + (m2p.max_mfn - 1) * 8), NO_FAULT, 0);
    CHECK(memory_op(XENMEM_maximum_ram_page, 0) >= (long)mfn_of_pfn(0));

    domid_t others[] = {0, DOMID_XEN, DOMID_IO, DOMID_INVALID, 31000};
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        CHECK_IS(memory_op(XENMEM_current_reservation, &others[i]), -EPERM);
        CHECK_IS(memory_op(XENMEM_maximum_reservation, &others[i]), -EPERM);
    }
    struct xen_foreign_memory_map set = {.domid = DOMID_SELF};
    CHECK_IS(memory_op(XENMEM_set_memory_map, &set), -EPERM);
    struct xen_memory_reservation claim = {.domid = DOMID_SELF, .nr_extents = 1};
    CHECK_IS(memory_op(XENMEM_claim_pages, &claim), -EPERM);
    struct xen_mem_acquire_resource resource = {.domid = DOMID_SELF, .type = 1};
    CHECK_IS(memory_op(XENMEM_acquire_resource, &resource), -EPERM);

    static const unsigned char refused[] = {5,  7,  14, 15, 16, 17, 18, 19, 20,
                                            21, 22, 23, 25, 26, 27, 29, 63};
    static uint64_t zeros[16];
    for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
        CHECK_IS(memory_op(refused[i], zeros), -ENOSYS);
    }
    /* A start in the middle, where none makes sense. */
    CHECK_IS(memory_op(XENMEM_machphys_mapping | 1UL << 6, &m2p), -EINVAL);
    CHECK_IS(memory_op(XENMEM_exchange | 5UL << 6, &m2p), -EINVAL);
    static const unsigned char known[] = {0, 1, 3, 4, 6, 9, 11, 12, 24};
    for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
        CHECK_IS(memory_op(known[i], HYP_START), -EFAULT);
        CHECK_IS(memory_op(known[i], NONCANONICAL), -EFAULT);
    }
}
