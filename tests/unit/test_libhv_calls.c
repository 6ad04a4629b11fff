/* SPDX-License-Identifier: MIT */
/*
 * Calls against a hypervisor of our own in the place of libxencall: what a call brings with it, and
 * the list of all domains, however many there are.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xencall.h>
#include <xenforeignmemory.h>
#include <xentoollog.h>

#include "dom0-tools/libhv/hv.h"
#include "dom0-tools/vane/look.h"
#include "tests/unit/runner.h"

/* What libxencall notes before what it gives. */
#define NOTES_BYTES 64u

xencall_handle *__wrap_xencall_open(xentoollog_logger *logger, unsigned int flags);
int __wrap_xencall_close(xencall_handle *handle);
void *__wrap_xencall_alloc_buffer(xencall_handle *handle, size_t bytes);
void __wrap_xencall_free_buffer(xencall_handle *handle, void *memory);
int __wrap_xencall1(xencall_handle *handle, unsigned int call, uint64_t argument);
xenforeignmemory_handle *__wrap_xenforeignmemory_open(xentoollog_logger *logger,
                                                      unsigned int flags);
int __wrap_xenforeignmemory_close(xenforeignmemory_handle *handle);

static char thing; /* what handles point to */
static unsigned int buffers, pages, alive, calls;
static unsigned int domains; /* with even numbers from 0 on */

xencall_handle *__wrap_xencall_open(xentoollog_logger *logger, unsigned int flags)
{
    (void)logger;
    (void)flags;
    return (xencall_handle *)&thing;
}

int __wrap_xencall_close(xencall_handle *handle)
{
    (void)handle;
    return 0;
}

xenforeignmemory_handle *__wrap_xenforeignmemory_open(xentoollog_logger *logger, unsigned int flags)
{
    (void)logger;
    (void)flags;
    return (xenforeignmemory_handle *)&thing;
}

int __wrap_xenforeignmemory_close(xenforeignmemory_handle *handle)
{
    (void)handle;
    return 0;
}

void *__wrap_xencall_alloc_buffer(xencall_handle *handle, size_t bytes)
{
    (void)handle;
    buffers++;
    alive++;
    pages += (unsigned int)((bytes + NOTES_BYTES + HV_PAGE_BYTES - 1) / HV_PAGE_BYTES);
    return calloc(1, bytes);
}

void __wrap_xencall_free_buffer(xencall_handle *handle, void *memory)
{
    (void)handle;
    alive -= memory != NULL;
    free(memory);
}

static int list(struct xen_sysctl_getdomaininfolist *op)
{
    struct xen_domctl_getdomaininfo *infos = op->buffer.p;
    unsigned int count = 0;

    for (unsigned int i = (op->first_domain + 1u) / 2; i < domains && count < op->max_domains;
         i++) {
        infos[count++].domain = (domid_t)(2 * i);
    }
    op->num_domains = count;
    return 0;
}

int __wrap_xencall1(xencall_handle *handle, unsigned int call, uint64_t argument)
{
    (void)handle;
    calls++;
    if (call == __HYPERVISOR_sysctl) {
        struct xen_sysctl *op = (struct xen_sysctl *)(uintptr_t)argument;

        return op->cmd == XEN_SYSCTL_getdomaininfolist ? list(&op->u.getdomaininfolist) : -1;
    }

    struct xen_domctl *op = (struct xen_domctl *)(uintptr_t)argument;

    if (op->domain % 2 != 0) {
        errno = ESRCH;
        return -1;
    }
    op->u.getdomaininfo.domain = op->domain;
    op->u.getdomaininfo.tot_pages = 1000u + op->domain;
    return 0;
}

static struct hv *start(void)
{
    struct hv *hv = NULL;

    buffers = pages = alive = calls = 0;
    CU_ASSERT_EQUAL_FATAL(hv_open(&hv), 0);
    return hv;
}

static void test_calls__share_a_page(void)
{
    struct xen_domctl_getdomaininfo info;
    struct hv *hv = start();

    for (uint32_t domid = 0; domid < 100; domid += 2) {
        CU_ASSERT_EQUAL(hv_domain_info(hv, domid, &info), 0);
        CU_ASSERT_TRUE(info.domain == domid && info.tot_pages == 1000u + domid);
        CU_ASSERT_EQUAL(hv_domain_info(hv, domid + 1, &info), -ESRCH);
    }
    CU_ASSERT_TRUE(calls == 100 && buffers == 1 && pages == 1);
    hv_close(hv);
    CU_ASSERT_EQUAL(alive, 0);
}

static void test_look_list__any_number(void)
{
    struct look look = {.hv = start()};
    struct look_domains all;
    struct err err = {0};

    for (domains = 0; domains < 600; domains++) {
        calls = pages = 0;
        CU_ASSERT_EQUAL_FATAL(look_list(&look, &all, &err), 0);
        CU_ASSERT_EQUAL(all.count, domains);
        for (unsigned int i = 0; i < all.count; i++) {
            CU_ASSERT_EQUAL(all.infos[i].domain, 2 * i);
        }
        CU_ASSERT_TRUE(calls <= 2 + domains / 100);
        CU_ASSERT_TRUE(domains > 20 || pages <= 2);
        free(all.infos);
    }
    hv_close(look.hv);
    CU_ASSERT_EQUAL(alive, 0);
}

int main(void)
{
    CU_TestInfo tests[] = {{"calls share a page", test_calls__share_a_page},
                           {"a list of any number", test_look_list__any_number},
                           CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"libhv", NULL, NULL, NULL, NULL, tests}, CU_SUITE_INFO_NULL};

    return run_suites(suites);
}
