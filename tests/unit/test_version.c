// SPDX-License-Identifier: MIT
/* xen_version: each command, for the control domain and for a guest. */
#include <string.h>

#include "base/cmdline.h"
#include "suite.h"

#define XEN_VERSION 17

static struct domain *control, *guest;

static void begin(void)
{
    control = suite_control();
    guest = suite_domain(1, 1);
    suite_enter(control->vcpu[0]);
}

static void end(void)
{
    suite_destroy(guest);
    suite_destroy(control);
}

/* Answer of a command that fills `bytes` bytes, over memory that was not zero; nothing behind it
 * may be touched. */
static const void *answer(unsigned cmd, size_t bytes)
{
    vaddr_t va = host_guest_alloc(bytes + 8);
    char *p = host_guest_ptr(va);
    memset(p, 0x77, bytes + 8);
    CU_ASSERT_EQUAL(suite_call(XEN_VERSION, cmd, va, 0), 0);
    for (unsigned i = 0; i < 8; i++) {
        CU_ASSERT_EQUAL(p[bytes + i], 0x77);
    }
    return p;
}

static bool zero_from(const char *text, size_t from, size_t bytes)
{
    for (size_t i = from; i < bytes; i++) {
        if (text[i]) {
            return false;
        }
    }
    return true;
}

static void test_hc_xen_version__numbers(void)
{
    begin();
    CU_ASSERT_EQUAL(suite_call(XEN_VERSION, XENVER_version, 0, 0), 0x40011);
    CU_ASSERT_EQUAL(suite_call(XEN_VERSION, XENVER_pagesize, 0, 0), 4096);
    const struct xen_platform_parameters *p =
        answer(XENVER_platform_parameters, sizeof(struct xen_platform_parameters));
    CU_ASSERT_EQUAL(p->virt_start, 0xffff800000000000);
    CU_ASSERT_EQUAL(suite_call(XEN_VERSION, 99, 0, 0), -ENOSYS);
    CU_ASSERT_EQUAL(suite_call(XEN_VERSION, XENVER_build_id, 0, 0), -ENODATA);
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(suite_call(XEN_VERSION, XENVER_version, 0, 0), 0x40011);
    CU_ASSERT_EQUAL(suite_call(XEN_VERSION, XENVER_build_id, 0, 0), -EPERM);
    end();
}

static void test_hc_xen_version__texts(void)
{
    begin();
    const char *text = answer(XENVER_extraversion, sizeof(xen_extraversion_t));
    CU_ASSERT_STRING_EQUAL(text, "-paravane");
    CU_ASSERT(zero_from(text, 9, sizeof(xen_extraversion_t)));
    text = answer(XENVER_capabilities, sizeof(xen_capabilities_info_t));
    CU_ASSERT_STRING_EQUAL(text, "xen-3.0-x86_64 ");
    CU_ASSERT(zero_from(text, 15, sizeof(xen_capabilities_info_t)));
    text = answer(XENVER_changeset, sizeof(xen_changeset_info_t));
    CU_ASSERT(zero_from(text, strlen(text), sizeof(xen_changeset_info_t)));
    const struct xen_compile_info *info =
        answer(XENVER_compile_info, sizeof(struct xen_compile_info));
    CU_ASSERT(strlen(info->compiler) > 0);
    CU_ASSERT(zero_from(info->compiler, strlen(info->compiler), sizeof(info->compiler)));
    CU_ASSERT_STRING_EQUAL(info->compile_by, "paravane");
    end();
}

static void test_hc_xen_version__commandline(void)
{
    begin();
    char longer[3000];
    memset(longer, 'c', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    cmdline_text = "console=com1 dom0_mem=1G";
    CU_ASSERT_STRING_EQUAL(answer(XENVER_commandline, sizeof(xen_commandline_t)),
                           "console=com1 dom0_mem=1G");
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_STRING_EQUAL(answer(XENVER_commandline, sizeof(xen_commandline_t)), "<denied>");
    suite_enter(control->vcpu[0]);
    cmdline_text = longer;
    const char *text = answer(XENVER_commandline, sizeof(xen_commandline_t));
    CU_ASSERT_EQUAL(strlen(text), sizeof(xen_commandline_t) - 1);
    cmdline_text = "";
    end();
}

static uint32_t features(void)
{
    struct xen_feature_info info = {.submap_idx = 0, .submap = 0xffffffff};
    vaddr_t va = host_guest_put(&info, sizeof(info));
    CU_ASSERT_EQUAL(suite_call(XEN_VERSION, XENVER_get_features, va, 0), 0);
    memcpy(&info, host_guest_ptr(va), sizeof(info));
    return info.submap;
}

static bool has(uint32_t map, unsigned feature)
{
    return map >> feature & 1;
}

static void test_hc_xen_version__features(void)
{
    begin();
    uint32_t map = features();
    CU_ASSERT(has(map, XENFEAT_mmu_pt_update_preserve_ad));
    CU_ASSERT(has(map, XENFEAT_gnttab_map_avail_bits));
    CU_ASSERT(has(map, XENFEAT_dom0));
    CU_ASSERT_FALSE(has(map, XENFEAT_writable_page_tables));
    CU_ASSERT_FALSE(has(map, XENFEAT_writable_descriptor_tables));
    CU_ASSERT_FALSE(has(map, XENFEAT_auto_translated_physmap));
    CU_ASSERT_FALSE(has(map, XENFEAT_supervisor_mode_kernel));
    CU_ASSERT_FALSE(has(map, XENFEAT_pae_pgdir_above_4gb));
    CU_ASSERT_FALSE(has(map, XENFEAT_direct_mapped));
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_FALSE(has(features(), XENFEAT_dom0));
    guest->pv.vm_assist |= 1u << VMASST_TYPE_pae_extended_cr3;
    CU_ASSERT(has(features(), XENFEAT_pae_pgdir_above_4gb));
    struct xen_feature_info other = {.submap_idx = 1};
    vaddr_t va = host_guest_put(&other, sizeof(other));
    CU_ASSERT_EQUAL(suite_call(XEN_VERSION, XENVER_get_features, va, 0), -EINVAL);
    end();
}

static void test_hc_xen_version__guest_handle(void)
{
    begin();
    for (unsigned i = 0; i < sizeof(guest->handle); i++) {
        guest->handle[i] = (uint8_t)(i + 1);
    }
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(memcmp(answer(XENVER_guest_handle, sizeof(guest->handle)), guest->handle, 16),
                    0);
    end();
}

static void test_hc_xen_version__bad_address(void)
{
    static const unsigned fill[] = {
        XENVER_extraversion,        XENVER_compile_info, XENVER_capabilities, XENVER_changeset,
        XENVER_platform_parameters, XENVER_get_features, XENVER_guest_handle, XENVER_commandline};
    begin();
    for (unsigned i = 0; i < ARRAY_SIZE(fill); i++) {
        CU_ASSERT_EQUAL(suite_call(XEN_VERSION, fill[i], HOST_BAD_ADDR, 0), -EFAULT);
    }
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_hc_xen_version__numbers),      CASE(test_hc_xen_version__texts),
        CASE(test_hc_xen_version__commandline),  CASE(test_hc_xen_version__features),
        CASE(test_hc_xen_version__guest_handle), CASE(test_hc_xen_version__bad_address),
    };
    return SUITE("version", 1, cases);
}
