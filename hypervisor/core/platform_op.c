// SPDX-License-Identifier: MIT
/*
 * XENPF_*: what the control domain's kernel tells or asks about the machine itself. No state and no
 * locks of its own.
 */
#include "base/string.h"
#include "core/handlers.h"
#include "core/subop.h"
#include "core/time.h"

long platform_settime64(struct hypercall *hc, struct xen_platform_op *op)
{
    (void)hc;
    const struct xenpf_settime64 *t = &op->u.settime64;
    return t->mbz ? -EINVAL : time_wallclock_set(t->secs, t->nsecs, t->system_time);
}

long platform_settime32(struct hypercall *hc, struct xen_platform_op *op)
{
    (void)hc;
    const struct xenpf_settime32 *t = &op->u.settime32;
    return time_wallclock_set(t->secs, t->nsecs, t->system_time);
}

/* The loader gave us nothing of the BIOS's disks, display or keyboard, and there is no EFI. */
long platform_firmware_info(struct hypercall *hc, struct xen_platform_op *op)
{
    (void)hc;
    uint32_t type = op->u.firmware_info.type;
    return type >= XEN_FW_DISK_INFO && type <= XEN_FW_KBD_SHIFT_FLAGS ? -EOPNOTSUPP : -EINVAL;
}

long platform_enter_acpi_sleep(struct hypercall *hc, struct xen_platform_op *op)
{
    (void)hc;
    const struct xenpf_enter_acpi_sleep *s = &op->u.enter_acpi_sleep;
    if (s->flags) {
        return -EOPNOTSUPP; /* hardware-reduced ACPI */
    }
    return arch_acpi_sleep(s->sleep_state, s->val_a, s->val_b);
}

/* The hypervisor neither changes frequencies nor uses deeper idle states. */
long platform_set_processor_pminfo(struct hypercall *hc, struct xen_platform_op *op)
{
    (void)hc;
    return op->u.set_pminfo.type <= XEN_PM_PDC ? 0 : -EINVAL;
}

long platform_get_cpuinfo(struct hypercall *hc, struct xen_platform_op *op)
{
    (void)hc;
    struct xenpf_pcpuinfo *p = &op->u.pcpu_info;
    p->max_present = arch_cpus_present() - 1;
    if (p->xen_cpuid > p->max_present) {
        p->flags = XEN_PCPU_FLAGS_INVALID;
        return 0;
    }
    p->flags = p->xen_cpuid < arch_cpus_online() ? XEN_PCPU_FLAGS_ONLINE : 0;
    p->apic_id = p->xen_cpuid;
    p->acpi_id = p->xen_cpuid;
    return 0;
}

long platform_get_cpu_version(struct hypercall *hc, struct xen_platform_op *op)
{
    (void)hc;
    struct xenpf_pcpu_version *p = &op->u.pcpu_version;
    struct cpuid_regs r;
    p->max_present = arch_cpus_present() - 1;
    if (p->xen_cpuid > p->max_present) {
        return -EINVAL;
    }
    arch_cpuid(0, 0, &r);
    memcpy(p->vendor_id, &r.ebx, 4);
    memcpy(p->vendor_id + 4, &r.edx, 4);
    memcpy(p->vendor_id + 8, &r.ecx, 4);
    arch_cpuid(1, 0, &r);
    p->stepping = r.eax & 0xf;
    p->model = r.eax >> 4 & 0xf;
    p->family = r.eax >> 8 & 0xf;
    if (p->family == 6 || p->family == 0xf) {
        p->model |= r.eax >> 12 & 0xf0;
    }
    if (p->family == 0xf) {
        p->family += r.eax >> 20 & 0xff;
    }
    return 0;
}

long hc_platform_op(struct hypercall *hc)
{
    struct xen_platform_op op;
    long rc;
    if (!hc->d->privileged) {
        return -EPERM;
    }
    if (guest_read(&op, hc->arg[0], sizeof(op))) {
        return -EFAULT;
    }
    if (op.interface_version != XENPF_INTERFACE_VERSION) {
        return -EACCES;
    }
    switch (op.cmd) {
#define ENV(nr, name, handler, doc)                                                                \
    case nr:                                                                                       \
        rc = handler(hc, &op);                                                                     \
        break;
#include "pv-abi/ops/platform.def"
#undef ENV
    default:
        return -ENOSYS;
    }
    if (rc >= 0 && guest_write(hc->arg[0], &op, sizeof(op))) {
        rc = -EFAULT;
    }
    return rc;
}
