// SPDX-License-Identifier: MIT
/*
 * XENPF_*: what the control domain's kernel tells or asks about the machine itself. No state and no
 * locks of its own.
 */
#include "base/string.h"
#include "core/span.h"
#include "core/subop.h"
#include "core/time.h"

long platform_settime64(struct xenpf_settime64 *arg)
{
    return arg->mbz ? -EINVAL : time_wallclock_set(arg->secs, arg->nsecs, arg->system_time);
}

long platform_settime32(struct xenpf_settime32 *arg)
{
    return time_wallclock_set(arg->secs, arg->nsecs, arg->system_time);
}

/* The loader gave us nothing of the BIOS's disks, display or keyboard, and there is no EFI. */
long platform_firmware_info(struct xenpf_firmware_info *arg)
{
    uint32_t type = arg->type;
    return type >= XEN_FW_DISK_INFO && type <= XEN_FW_KBD_SHIFT_FLAGS ? -EOPNOTSUPP : -EINVAL;
}

long platform_enter_acpi_sleep(struct xenpf_enter_acpi_sleep *arg)
{
    if (arg->flags) {
        return -EOPNOTSUPP; /* hardware-reduced ACPI */
    }
    span_report(false);
    return arch_acpi_sleep(arg->sleep_state, arg->val_a, arg->val_b);
}

/* The hypervisor neither changes frequencies nor uses deeper idle states. */
long platform_set_processor_pminfo(struct xenpf_set_processor_pminfo *arg)
{
    return arg->type <= XEN_PM_PDC ? 0 : -EINVAL;
}

long platform_get_cpuinfo(struct xenpf_pcpuinfo *arg)
{
    arg->max_present = arch_facts.cpus_present - 1;
    if (arg->xen_cpuid > arg->max_present) {
        arg->flags = XEN_PCPU_FLAGS_INVALID;
        return 0;
    }
    arg->flags = arg->xen_cpuid < arch_facts.cpus_online ? XEN_PCPU_FLAGS_ONLINE : 0;
    arg->apic_id = arg->xen_cpuid;
    arg->acpi_id = arg->xen_cpuid;
    return 0;
}

long platform_get_cpu_version(struct xenpf_pcpu_version *arg)
{
    struct cpuid_regs r;
    arg->max_present = arch_facts.cpus_present - 1;
    if (arg->xen_cpuid > arg->max_present) {
        return -EINVAL;
    }
    arch_cpuid(0, 0, &r);
    memcpy(arg->vendor_id, &r.ebx, 4);
    memcpy(arg->vendor_id + 4, &r.edx, 4);
    memcpy(arg->vendor_id + 8, &r.ecx, 4);
    arch_cpuid(1, 0, &r);
    arg->stepping = r.eax & 0xf;
    arg->model = r.eax >> 4 & 0xf;
    arg->family = r.eax >> 8 & 0xf;
    if (arg->family == 6 || arg->family == 0xf) {
        arg->model |= r.eax >> 12 & 0xf0;
    }
    if (arg->family == 0xf) {
        arg->family += r.eax >> 20 & 0xff;
    }
    return 0;
}

long hc_platform_op(struct hypercall *hc)
{
    struct xen_platform_op op;
    long rc = envelope_in(hc, &op, sizeof(op), XENPF_INTERFACE_VERSION);
    if (rc) {
        return rc;
    }
    switch (op.cmd) {
#include "pv-abi/ops/platform.def"
    default:
        rc = -ENOSYS;
    }
    return envelope_out(hc, &op, sizeof(op), rc);
}
