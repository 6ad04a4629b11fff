/* SPDX-License-Identifier: MIT */
/*
 * Several calls in one: each gets its own result, unknown ones and nested ones an error; what
 * cannot be read ends the list with -EFAULT after the entries before it were carried out.
 */
#include "lib.h"

static struct multicall_entry entry(unsigned long op, unsigned long a, unsigned long b)
{
    struct multicall_entry e = {.op = op, .result = 0x7777, .args = {a, b}};
    return e;
}

void test_main(void)
{
    static struct multicall_entry list[300];
    list[0] = entry(__HYPERVISOR_xen_version, XENVER_version, 0);
    list[1] = entry(1000, 0, 0);
    list[2] = entry(__HYPERVISOR_multicall, (unsigned long)list, 1);
    list[3] = entry(__HYPERVISOR_xen_version, XENVER_get_features, HYP_START);
    list[4] = entry(__HYPERVISOR_xen_version, XENVER_pagesize, 0);
    CHECK_IS(multicall(list, 5), 0);
    CHECK_IS(list[0].result, 4 << 16 | 17);
    CHECK_IS(list[1].result, -ENOSYS);
    CHECK_IS(list[2].result, -EINVAL);
    CHECK_IS(list[3].result, -EFAULT);
    CHECK_IS(list[4].result, 4096);
    CHECK_IS(list[5].result, 0);
    CHECK_IS(multicall(list, 0), 0);
    CHECK_IS(multicall(HYP_START, 1), -EFAULT);
    CHECK_IS(multicall(NONCANONICAL, 1), -EFAULT);
    CHECK_IS(multicall(-64L, 2), -EFAULT);
    CHECK_IS(multicall(HYP_START, 0), 0);

    /* A list that runs into a page that is not there: the first two are carried out. */
    uint8_t *page = page_new(), *hole = page_new();
    NEED(hole == page + PAGE_BYTES);
    NEED_OK(page_protect(hole, 0));
    struct multicall_entry *edge = (struct multicall_entry *)(hole - 160);
    edge[0] = entry(__HYPERVISOR_xen_version, XENVER_pagesize, 0);
    edge[1] = entry(__HYPERVISOR_xen_version, XENVER_pagesize, 0);
    CHECK_IS(multicall(edge, 3), -EFAULT);
    CHECK_IS(edge[0].result, 4096);
    CHECK_IS(edge[1].result, 4096);
    NEED_OK(page_protect(hole, PTE_RW));

    /* A list that cannot be written. */
    struct multicall_entry *fixed = (struct multicall_entry *)page;
    fixed[0] = entry(__HYPERVISOR_xen_version, XENVER_pagesize, 0);
    NEED_OK(page_protect(page, PTE_RO));
    CHECK_IS(multicall(fixed, 1), -EFAULT);
    CHECK_IS(fixed[0].result, 0x7777);

    for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
        list[i] = entry(__HYPERVISOR_xen_version, XENVER_pagesize, 0);
    }
    CHECK_IS(multicall(list, ARRAY_SIZE(list)), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
        CHECK_IS(list[i].result, 4096);
    }
}
