// SPDX-License-Identifier: MIT
/*
 * PHYSDEVOP_*: what the control domain's drivers ask about interrupts and devices, and the virtual
 * I/O rights any guest keeps for its own user mode. The work is done in core/pirq.c and
 * core/pci.c; here arguments are checked and shaped.
 */
#include "core/domain.h"
#include "core/pci.h"
#include "core/pirq.h"
#include "core/subop.h"

#define IOBITMAP_PORTS_MAX 65536u

long physdevop_irq_status_query(struct hypercall *hc, struct physdev_irq_status_query *arg)
{
    bool needs_eoi;
    int rc = pirq_status(hc->d, arg->irq, &needs_eoi);
    arg->flags = needs_eoi ? XENIRQSTAT_needs_eoi : 0;
    return rc;
}

long physdevop_set_iopl(struct hypercall *hc, struct physdev_set_iopl *arg)
{
    if (arg->iopl > 3) {
        return -EINVAL;
    }
    hc->v->pv.iopl = (uint8_t)arg->iopl;
    return 0;
}

/* The address is only kept: the bitmap is read, with the guest's rights, when a port is used. */
long physdevop_set_iobitmap(struct hypercall *hc, struct physdev_set_iobitmap *arg)
{
    if (arg->nr_ports > IOBITMAP_PORTS_MAX || !is_canonical(GUEST_ADDR(arg->bitmap))) {
        return -EINVAL;
    }
    hc->v->pv.iobmp = GUEST_ADDR(arg->bitmap);
    hc->v->pv.iobmp_ports = arg->nr_ports;
    return 0;
}

/* ABI: Linux asks for every GSI and gives up on the device if this fails; it ignores the number,
 * because the vector is chosen when the GSI is bound. */
long physdevop_alloc_irq_vector(struct hypercall *hc unused, struct physdev_irq *arg)
{
    if (arg->irq >= arch_gsi_count()) {
        return -EINVAL;
    }
    arg->vector = arg->irq;
    return 0;
}

long physdevop_eoi(struct hypercall *hc, struct physdev_eoi *arg)
{
    return pirq_eoi(hc->d, arg->irq);
}

/* Interrupts go to the control domain only: it is the one that drives devices. */
static long pirq_owner_check(const struct hypercall *hc)
{
    if (!hc->d->privileged) {
        return -EPERM;
    }
    return hc->target == hc->d ? 0 : -EOPNOTSUPP;
}

/* table_base tells MSI-X from MSI; the table itself is found by our own look at the device. */
static long map_msi(struct hypercall *hc, struct physdev_map_pirq *arg)
{
    struct pci_msi msi;
    if (arg->devfn < 0 || arg->devfn > 0xff || (arg->bus & 0xffff) > 0xff || arg->entry_nr < 0) {
        return -EINVAL;
    }
    if (arg->type != MAP_PIRQ_TYPE_MSI && (unsigned)arg->bus >> 16) {
        return -ENODEV; /* a segment beyond the first */
    }
    uint16_t bdf = PCI_BDF(arg->bus & 0xff, arg->devfn);
    int rc = pci_msi_find(bdf, arg->table_base != 0, (unsigned)arg->entry_nr, &msi);
    return rc ?: pirq_map_msi(hc->d, &msi, &arg->pirq);
}

long physdevop_map_pirq(struct hypercall *hc, struct physdev_map_pirq *arg)
{
    long rc = pirq_owner_check(hc);
    if (rc) {
        return rc;
    }
    switch (arg->type) {
    case MAP_PIRQ_TYPE_GSI:
        return pirq_map_gsi(hc->d, arg->index, &arg->pirq);
    case MAP_PIRQ_TYPE_MULTI_MSI:
        /* Several messages of one capability need neighbouring vectors; drivers take one then. */
        if (arg->entry_nr != 1 || arg->table_base) {
            return -EOPNOTSUPP;
        }
        return map_msi(hc, arg);
    case MAP_PIRQ_TYPE_MSI:
    case MAP_PIRQ_TYPE_MSI_SEG:
        return map_msi(hc, arg);
    default:
        return -EINVAL;
    }
}

long physdevop_unmap_pirq(struct hypercall *hc, struct physdev_unmap_pirq *arg)
{
    long rc = pirq_owner_check(hc);
    return rc ?: pirq_unmap(hc->d, arg->pirq);
}

long physdevop_setup_gsi(struct hypercall *hc unused, struct physdev_setup_gsi *arg)
{
    if (arg->triggering > 1 || arg->polarity > 1) {
        return -EINVAL;
    }
    return pirq_setup_gsi(arg->gsi, arg->triggering, arg->polarity);
}

long physdevop_get_free_pirq(struct hypercall *hc, struct physdev_get_free_pirq *arg)
{
    if (arg->type != MAP_PIRQ_TYPE_MSI && arg->type != MAP_PIRQ_TYPE_MSI_SEG) {
        return -EINVAL;
    }
    return pirq_reserve(hc->d, &arg->pirq);
}

/* ---- devices coming and going ---- */

long physdevop_pci_add(uint16_t bdf)
{
    return pci_present(bdf) ? 0 : -ENODEV;
}

long physdevop_pci_remove(uint16_t bdf)
{
    pirq_forget_device(bdf);
    return 0;
}

long physdevop_pci_restore_msi(uint16_t bdf)
{
    pirq_restore_device(bdf);
    return 0;
}

long physdevop_pci_has_msix(uint16_t bdf)
{
    struct pci_msi msi;
    return pci_msi_find(bdf, true, 0, &msi);
}

#define OP_PCI(nr, name, type, segment, handler, doc)                                              \
    case nr: {                                                                                     \
        type arg;                                                                                  \
        if (guest_read(&arg, hc->arg[1], sizeof(arg))) {                                           \
            return -EFAULT;                                                                        \
        }                                                                                          \
        if (!hc->d->privileged) {                                                                  \
            return -EPERM;                                                                         \
        }                                                                                          \
        return (segment) ? -ENODEV : handler(PCI_BDF(arg.bus, arg.devfn));                         \
    }

long hc_physdev_op(struct hypercall *hc)
{
    switch (hc->arg[0]) {
#include "pv-abi/ops/physdev.def"
    }
    return -ENOSYS;
}
