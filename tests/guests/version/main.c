/* SPDX-License-Identifier: MIT */
/*
 * xen_version: what every guest may ask comes back as documented, what is the control domain's is
 * refused, and a bad address or sub-number is an error and nothing else.
 */
#include "lib.h"

void test_main(void)
{
    static char text[1024];
    struct xen_feature_info features = {.submap_idx = 0};
    struct xen_platform_parameters platform = {0};

    CHECK_IS(xen_version(XENVER_version, 0), 4 << 16 | 17);
    CHECK_IS(xen_version(XENVER_extraversion, text), 0);
    CHECK(text[0] != '\0' && strlen(text) < sizeof(xen_extraversion_t));
    CHECK_IS(xen_version(XENVER_capabilities, text), 0);
    CHECK(memcmp(text, "xen-3.0-x86_64 ", 15) == 0);
    CHECK_IS(xen_version(XENVER_pagesize, 0), 4096);
    CHECK_IS(xen_version(XENVER_platform_parameters, &platform), 0);
    CHECK_IS(platform.virt_start, HYP_START);

    CHECK_IS(xen_version(XENVER_get_features, &features), 0);
    CHECK(features.submap & 1u << XENFEAT_mmu_pt_update_preserve_ad);
    CHECK(features.submap & 1u << XENFEAT_gnttab_map_avail_bits);
    CHECK_IS(!!(features.submap & 1u << XENFEAT_dom0), alone());
    CHECK(!(features.submap & 1u << XENFEAT_writable_page_tables));
    CHECK(!(features.submap & 1u << XENFEAT_auto_translated_physmap));
    features.submap_idx = 1;
    CHECK_IS(xen_version(XENVER_get_features, &features), -EINVAL);

    /* The machine's command line is not a guest's business. */
    CHECK_IS(xen_version(XENVER_commandline, text), 0);
    CHECK_IS(memcmp(text, "<denied>", 9) == 0, !alone());
    CHECK_IS(xen_version(XENVER_build_id, text), alone() ? -ENODATA : -EPERM);

    CHECK_IS(xen_version(XENVER_extraversion, NONCANONICAL), -EFAULT);
    CHECK_IS(xen_version(XENVER_capabilities, HYP_START), -EFAULT);
    CHECK_IS(xen_version(XENVER_get_features, 0x1000), -EFAULT);
    CHECK_IS(xen_version(99, text), -ENOSYS);

    /* Text fields are padded with zeros: nothing of the hypervisor's memory comes along. */
    memset(text, 0x55, sizeof(text));
    CHECK_IS(xen_version(XENVER_changeset, text), 0);
    for (size_t i = strlen(text); i < sizeof(xen_changeset_info_t); i++) {
        CHECK_IS(text[i], 0);
    }
    CHECK_IS(text[sizeof(xen_changeset_info_t)], 0x55);
}
