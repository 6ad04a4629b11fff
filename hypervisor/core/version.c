// SPDX-License-Identifier: MIT
/*
 * xen_version: which ABI this is and what of it is offered. Guests look for exactly the strings and
 * bits given here; what is ours shows only in the texts a person reads. No state but the command
 * line, which start-up sets once; no lock.
 */
#include "arch/layout.h"
#include "base/cmdline.h"
#include "base/format.h"
#include "core/guest_access.h"
#include "core/hypercall.h"

/* Fixed-size text fields of the ABI, padded with zeros: nothing else of ours goes along. */
static long write_text(vaddr_t to, const char *text, size_t bytes)
{
    char field[sizeof(xen_commandline_t)] = "";
    (void)format(field, bytes, "%s", text);
    return guest_write(to, field, bytes);
}

static long get_features(const struct domain *d, vaddr_t arg)
{
    struct xen_feature_info info;
    if (guest_read(&info, arg, sizeof(info))) {
        return -EFAULT;
    }
    if (info.submap_idx != 0) {
        return -EINVAL;
    }
    bool extended_cr3 = read_once(d->pv.vm_assist) & (1u << VMASST_TYPE_pae_extended_cr3);
    info.submap = 1u << XENFEAT_mmu_pt_update_preserve_ad | 1u << XENFEAT_gnttab_map_avail_bits |
                  1u << XENFEAT_not_direct_mapped |
                  (uint32_t)extended_cr3 << XENFEAT_pae_pgdir_above_4gb |
                  (uint32_t)d->privileged << XENFEAT_dom0;
    return guest_write(arg, &info, sizeof(info));
}

long hc_xen_version(struct hypercall *hc)
{
    vaddr_t arg = hc->arg[1];
    switch ((uint32_t)hc->arg[0]) {
    case XENVER_version:
        return PARAVANE_XEN_MAJOR << 16 | PARAVANE_XEN_MINOR;
    case XENVER_extraversion:
        return write_text(arg, "-paravane", sizeof(xen_extraversion_t));
    case XENVER_compile_info: {
        static const struct xen_compile_info info = {.compiler = __VERSION__,
                                                     .compile_by = "paravane"};
        return guest_write(arg, &info, sizeof(info));
    }
    case XENVER_capabilities:
        /* ABI: tools look for this word, with the space that ends it. */
        return write_text(arg, "xen-3.0-x86_64 ", sizeof(xen_capabilities_info_t));
    case XENVER_changeset:
        return write_text(arg, "paravane", sizeof(xen_changeset_info_t));
    case XENVER_platform_parameters: {
        const struct xen_platform_parameters p = {.virt_start = HYP_VIRT_START};
        return guest_write(arg, &p, sizeof(p));
    }
    case XENVER_get_features:
        return get_features(hc->d, arg);
    case XENVER_pagesize:
        return PAGE_SIZE;
    case XENVER_guest_handle:
        return guest_write(arg, hc->d->handle, sizeof(hc->d->handle));
    case XENVER_commandline:
        /* It may name the machine's devices: not for guests. */
        return write_text(arg, hc->d->privileged ? cmdline_text : "<denied>",
                          sizeof(xen_commandline_t));
    case XENVER_build_id:
        return hc->d->privileged ? -ENODATA : -EPERM;
    default:
        return -ENOSYS;
    }
}
