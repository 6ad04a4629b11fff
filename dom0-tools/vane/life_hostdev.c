/* SPDX-License-Identifier: MIT */
/*
 * What the hypervisor has to know of PCI functions in guests' hands; see life.h.
 *
 * The kernel's pciback tells it of their message interrupts; of their memory and ports it is told
 * here. Nobody tells it of an IOMMU: it has no support for one.
 */
#include <errno.h>
#include <string.h>

#include "dom0-tools/device/hostdev.h"
#include "dom0-tools/vane/life.h"

int life_hostdev_protection(struct life *life, bool unsafe, const char *hint, struct err *err)
{
    struct xen_sysctl_physinfo info = {.capabilities = 0};
    int rc = hv_physinfo(life->hv, &info);

    if (rc != 0) {
        return err_set_errno(err, -rc, "cannot ask the hypervisor");
    }
    if (unsafe) {
        return 0;
    }
    return err_set(err, EPERM,
                   (info.capabilities & XEN_SYSCTL_PHYSCAP_directio) != 0
                       ? "the IOMMU is not told of it by vane, so the guest could reach all memory "
                         "with it (%s gives it nevertheless)"
                       : "no IOMMU protects the machine's memory from it, so the guest could reach "
                         "all of it (%s gives it nevertheless)",
                   hint);
}

int life_hostdev_permit(struct life *life, uint32_t domid, const char *name, bool allow,
                        struct err *err)
{
    struct pci_function function;
    int rc = pci_read(PCI_SYSFS, name, &function, err);

    if (rc != 0) {
        return rc;
    }
    for (unsigned int i = 0; i < function.range_count && (rc == 0 || !allow); i++) {
        const struct pci_range *range = &function.ranges[i];

        rc = range->ports ? hv_device_ports(life->hv, domid, range->first, range->count, allow)
                          : hv_device_memory(life->hv, domid, range->first, range->count, allow);
    }
    return rc != 0 ? err_set_errno(err, -rc, "device %s: the hypervisor refuses", name) : 0;
}

int life_hostdev_check(struct life *life, const struct vane_config *config, struct err *err)
{
    int rc = config->hostdev_count != 0
                 ? life_hostdev_protection(life, config->unsafe,
                                           "--unsafe, or <passthrough xmlns='" CONFIG_NAMESPACE
                                           "' unsafe='yes'/> in <metadata>,",
                                           err)
                 : 0;

    return rc != 0 ? err_prefix(err, "%s:%u: <hostdev>: device %s", config->file,
                                config->hostdevs[0].line, config->hostdevs[0].address)
                   : 0;
}

int life_hostdev_permit_all(struct life *life, uint32_t domid, const struct vane_config *config,
                            struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < config->hostdev_count && rc == 0; i++) {
        rc = life_hostdev_permit(life, domid, config->hostdevs[i].address, true, err);
    }
    return rc;
}
