/* SPDX-License-Identifier: MIT */
/*
 * The control domain's interfaces: every operation of domctl, sysctl, platform_op and hypfs_op,
 * with the right version and the wrong one, on the caller itself, on others and on nobody; and the
 * physical interrupts and devices of physdev_op. Refused without exception, and the caller is as
 * before.
 *
 * Not alone: the calls are the control domain's.
 */
#include "lib.h"
#include "pv-abi/accounting.h"
#include "pv-abi/changed_domain.h"
#include "pv-abi/write_pages.h"

/* The numbers of Xen's operations, and those of our own. */
#define XEN_OPERATIONS 100
static const uint32_t own[] = {PV_DOMCTL_write_pages, PV_DOMCTL_changed_domain,
                               PV_SYSCTL_accounting};

static bool refused(long rc)
{
    return rc == -EPERM || rc == -ENOSYS;
}

void test_main(void)
{
    static union {
        struct xen_domctl domctl;
        struct xen_sysctl sysctl;
        struct xen_platform_op platform;
        uint64_t words[32];
    } u;
    static const domid_t targets[] = {0, DOMID_SELF, 31000, DOMID_XEN, DOMID_INVALID};
    domid_t self = own_domid();
    for (uint32_t n = 0; n < XEN_OPERATIONS + ARRAY_SIZE(own); n++) {
        uint32_t cmd = n < XEN_OPERATIONS ? n : own[n - XEN_OPERATIONS];
        for (unsigned i = 0; i <= ARRAY_SIZE(targets); i++) {
            memset(&u, 0, sizeof(u));
            u.domctl.cmd = cmd;
            u.domctl.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
            u.domctl.domain = i < ARRAY_SIZE(targets) ? targets[i] : self;
            CHECK_IS(HC1(__HYPERVISOR_domctl, &u), -EPERM);
        }
        memset(&u, 0, sizeof(u));
        u.sysctl.cmd = cmd;
        u.sysctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
        CHECK_IS(HC1(__HYPERVISOR_sysctl, &u), -EPERM);
        memset(&u, 0, sizeof(u));
        u.platform.cmd = cmd;
        u.platform.interface_version = XENPF_INTERFACE_VERSION;
        CHECK_IS(HC1(__HYPERVISOR_platform_op, &u), -EPERM);
        u.platform.interface_version = 0;
        long rc = HC1(__HYPERVISOR_platform_op, &u);
        CHECK(rc == -EPERM || rc == -EACCES);
    }
    for (unsigned cmd = 0; cmd < 4; cmd++) {
        CHECK_IS(HC3(__HYPERVISOR_hypfs_op, cmd, "/", 2), -EPERM);
    }
    CHECK(HC1(__HYPERVISOR_domctl, HYP_START) < 0);
    CHECK(HC1(__HYPERVISOR_sysctl, HYP_START) < 0);

    for (unsigned cmd = 0; cmd < 40; cmd++) {
        memset(&u, 0, sizeof(u));
        if (cmd == PHYSDEVOP_set_iopl || cmd == PHYSDEVOP_set_iobitmap) {
            continue;
        }
        long rc = physdev_op(cmd, &u);
        CHECK(refused(rc));
        if (!refused(rc)) {
            say("physdev_op %u: %ld", cmd, rc);
        }
    }
    struct physdev_map_pirq map = {
        .domid = DOMID_SELF, .type = MAP_PIRQ_TYPE_GSI, .index = 1, .pirq = 1};
    CHECK_IS(physdev_op(PHYSDEVOP_map_pirq, &map), -EPERM);
    map.domid = 0;
    CHECK_IS(physdev_op(PHYSDEVOP_map_pirq, &map), -EPERM);
    struct physdev_unmap_pirq unmap = {.domid = DOMID_SELF, .pirq = 1};
    CHECK_IS(physdev_op(PHYSDEVOP_unmap_pirq, &unmap), -EPERM);
    CHECK_IS(physdev_op(PHYSDEVOP_set_iopl, HYP_START), -EFAULT);
    CHECK_IS(physdev_op(1UL << 32 | PHYSDEVOP_set_iopl, &u), -ENOSYS);
}
