/* SPDX-License-Identifier: MIT */
/*
 * The builder (dom0-tools/builder/builder.h) over a hypervisor that is here: whichever call fails,
 * the report keeps its errno and says what it was for, and nothing stays mapped.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dom0-tools/builder/builder.h"
#include "tests/unit/runner.h"

#define FRAMES 2048u
#define BASE 0xffffffff81000000ull
#define REASON EDEADLK /* no code of ours makes this one */

static uint8_t kernel[64 * HV_PAGE_BYTES];
static uint8_t ramdisk[3 * HV_PAGE_BYTES + 5];
static bool copies;
static unsigned int calls, fails_at; /* the call that fails, counted from 1 */
static const char *failed;
static int mapped;

static int call(const char *name)
{
    if (++calls != fails_at) {
        return 0;
    }
    failed = name;
    return -REASON;
}

/* ---- the hypervisor ---- */

int hv_domain_max_vcpus(struct hv *hv, uint32_t domid, uint32_t count)
{
    (void)hv, (void)domid, (void)count;
    return call("vCPUs");
}

int hv_domain_native_tsc(struct hv *hv, uint32_t domid)
{
    (void)hv, (void)domid;
    return call("time-stamp counter");
}

int hv_domain_set_address_size(struct hv *hv, uint32_t domid, uint32_t bits)
{
    (void)hv, (void)domid, (void)bits;
    return call("limit");
}

int hv_domain_max_mem(struct hv *hv, uint32_t domid, uint64_t kib)
{
    (void)hv, (void)domid, (void)kib;
    return call("limit");
}

int hv_memory_map_set(struct hv *hv, uint32_t domid, uint64_t ram_bytes)
{
    (void)hv, (void)domid, (void)ram_bytes;
    return call("limit");
}

int hv_evtchn_alloc(struct hv *hv, uint32_t domid, uint32_t remote, uint32_t *port)
{
    (void)hv, (void)domid, (void)remote;
    *port = 1;
    return call("event channels");
}

int hv_domain_info(struct hv *hv, uint32_t domid, struct xen_domctl_getdomaininfo *info)
{
    (void)hv, (void)domid;
    memset(info, 0, sizeof(*info));
    return call("look at");
}

long hv_populate(struct hv *hv, uint32_t domid, xen_pfn_t *frames, size_t count, unsigned int order)
{
    int rc = call("of memory");

    (void)hv, (void)domid;
    if (rc != 0) {
        return rc;
    }
    if (order != 0) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        frames[i] += 1000000;
    }
    return (long)count;
}

int hv_write_pages(struct hv *hv, uint32_t domid, const xen_pfn_t *frames, const void *data,
                   size_t count)
{
    (void)hv, (void)domid, (void)frames, (void)data;
    return !copies ? -ENOSYS : count == 0 ? 0 : call("cannot write");
}

void *hv_map(struct hv *hv, uint32_t domid, int prot, size_t count, const xen_pfn_t *frames)
{
    (void)hv, (void)domid, (void)frames;
    if (call(count == 1 ? "shared page" : "cannot write") != 0) {
        errno = REASON;
        return NULL;
    }
    mapped++;
    return mmap(NULL, count * HV_PAGE_BYTES, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

int hv_unmap(struct hv *hv, void *address, size_t count)
{
    (void)hv;
    mapped--;
    munmap(address, count * HV_PAGE_BYTES);
    return call(count == 1 ? "shared page" : "");
}

int hv_domain_hypercall_page(struct hv *hv, uint32_t domid, uint64_t frame)
{
    (void)hv, (void)domid, (void)frame;
    return call("hypercall page");
}

int hv_pin_l4(struct hv *hv, uint32_t domid, uint64_t frame)
{
    (void)hv, (void)domid, (void)frame;
    return call("refuses the page tables");
}

int hv_vcpu_set_context(struct hv *hv, uint32_t domid, uint32_t vcpu,
                        const struct vcpu_guest_context *context)
{
    (void)hv, (void)domid, (void)vcpu, (void)context;
    return call("first vCPU");
}

int hv_grants_seed(struct hv *hv, uint32_t domid, const struct hv_grant *grants, size_t count)
{
    (void)hv, (void)domid, (void)grants, (void)count;
    return call("grant table");
}

/* ---- cases ---- */

static int build(const char *cmdline, struct err *err)
{
    struct builder_image image = {
        .elf = kernel,
        .elf_bytes = sizeof(kernel),
        .elf_fd = -1,
        .info = {.segments = {{.load_pa = 0x1000000 & 0xffffff,
                               .vaddr = BASE,
                               .offset = 0,
                               .filesz = sizeof(kernel),
                               .memsz = sizeof(kernel)}},
                 .segment_count = 1,
                 .kernel_start = BASE,
                 .kernel_end = BASE + sizeof(kernel),
                 .entry = BASE,
                 .virt_base = BASE,
                 .hypercall_page = BASE + HV_PAGE_BYTES,
                 .init_p2m = ELF_INFO_NO_ADDR,
                 .hv_start_low = ELF_INFO_NO_ADDR},
        .ramdisk = ramdisk,
        .ramdisk_bytes = sizeof(ramdisk),
    };
    struct builder_guest guest = {
        .domid = 7, .frames = FRAMES, .max_frames = FRAMES, .vcpus = 1, .cmdline = cmdline};

    *err = (struct err){0};
    calls = 0;
    failed = NULL;
    return builder_build(NULL, &image, &guest, err);
}

static void each_call_fails(bool can_copy)
{
    struct err err;
    unsigned int all;

    copies = can_copy;
    fails_at = 0;
    CU_ASSERT_EQUAL(build("root=/dev/xvda", &err), 0);
    CU_ASSERT_EQUAL(mapped, 0);
    all = calls;
    CU_ASSERT(all > 15);
    for (unsigned int i = 1; i <= all; i++) {
        fails_at = i;
        CU_ASSERT_EQUAL(build("root=/dev/xvda", &err), -REASON);
        CU_ASSERT_EQUAL(err.number, REASON);
        CU_ASSERT_PTR_NOT_NULL_FATAL(failed);
        if (strstr(err.text, failed) == NULL || strstr(err.text, strerror(REASON)) == NULL) {
            printf("call %u, %s: %s\n", i, failed, err.text);
            CU_FAIL("what failed is not in the report");
        }
        CU_ASSERT_EQUAL(mapped, 0);
    }
}

static void test_copied(void)
{
    each_call_fails(true);
}

static void test_mapped(void)
{
    each_call_fails(false);
}

static void test_command_line(void)
{
    static char cmdline[2000];
    struct err err;

    memset(cmdline, 'x', sizeof(cmdline) - 1);
    copies = true;
    fails_at = 0;
    CU_ASSERT_EQUAL(build(cmdline, &err), -E2BIG);
    CU_ASSERT_STRING_EQUAL(err.text, "the command line has 1999 bytes, 1023 are the most");
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"each call fails, pages copied", test_copied},
        {"each call fails, pages mapped", test_mapped},
        {"a command line that is too long", test_command_line},
        CU_TEST_INFO_NULL,
    };

    memset(kernel, 0x90, sizeof(kernel));
    memset(ramdisk, 0x55, sizeof(ramdisk));
    return run_tests("builder", tests);
}
