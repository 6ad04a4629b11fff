/* SPDX-License-Identifier: MIT */
/*
 * What has no row in the tables of pv-abi/ answers -ENOSYS: every number of a hypercall, and every
 * operation of every family, of those the tables leave out (grant tables of version 2, transfer,
 * physmap operations, hardware-assisted guests, ...); -EINVAL where it also claims to go on. The
 * control domain's families say so to the control domain only; others get -EPERM. Such a call
 * changes no register but rax, rcx and r11.
 */
#include "lib.h"

#define NUMBERS 256

/* Bits of the numbers that have a row. The tables are the hypervisor's own. */
/* Those of our own have larger numbers: they have elements behind these. */
#define OWN 16
#define BIT(nr) [(nr) < NUMBERS ? (nr) : NUMBERS + (nr) % OWN] = true,
#define CALL(nr, ...) BIT(nr)
#define OP(nr, ...) BIT(nr)
#define OP_VOID(nr, ...) BIT(nr)
#define OP_EACH(nr, ...) BIT(nr)
#define OP_PCI(nr, ...) BIT(nr)
#define MMUEXT(nr, ...) BIT(nr)
#define MMUEXT_SELF(nr, ...) BIT(nr)
#define VOP(nr, ...) BIT(nr)
#define VOP_VOID(nr, ...) BIT(nr)
#define VOP_AT(nr, ...) BIT(nr)
#define ENV(nr, ...) BIT(nr)
#define DOMCTL(nr, ...) BIT(nr)
#define DOMCTL_VOID(nr, ...) BIT(nr)
#define DOMCTL_WHOLE(nr, ...) BIT(nr)
#define EXT(nr, ...)
static const bool calls[NUMBERS + OWN] = {
#include "pv-abi/hypercalls.def"
};
static const bool memory[NUMBERS + OWN] = {
#include "pv-abi/ops/memory.def"
};
static const bool mmuext[NUMBERS + OWN] = {
#include "pv-abi/ops/mmuext.def"
};
static const bool evtchn[NUMBERS + OWN] = {
#include "pv-abi/ops/evtchn.def"
};
static const bool gnttab[NUMBERS + OWN] = {
#include "pv-abi/ops/gnttab.def"
};
static const bool sched[NUMBERS + OWN] = {
#include "pv-abi/ops/sched.def"
};
static const bool vcpu[NUMBERS + OWN] = {
#include "pv-abi/ops/vcpu.def"
};
static const bool physdev[NUMBERS + OWN] = {
#include "pv-abi/ops/physdev.def"
};
static const bool platform[NUMBERS + OWN] = {
#include "pv-abi/ops/platform.def"
};
static const bool sysctl[NUMBERS + OWN] = {
#include "pv-abi/ops/sysctl.def"
};
static const bool domctl[NUMBERS + OWN] = {
#include "pv-abi/ops/domctl.def"
};

static uint64_t argument[64];

static long sub_op(unsigned long nr, unsigned long op)
{
    memset(argument, 0, sizeof(argument));
    switch (nr) {
    case __HYPERVISOR_mmuext_op:
        return mmuext_mfn((unsigned)op, mfn_of(argument));
    case __HYPERVISOR_grant_table_op:
        return grant_op(op, argument, 1);
    case __HYPERVISOR_vcpu_op:
        return vcpu_op(op, 0, argument);
    default:
        return HC2(nr, op, argument);
    }
}

/* An operation inside an envelope that begins with command and version. */
static long envelope_op(unsigned long nr, uint32_t command)
{
    memset(argument, 0, sizeof(argument));
    struct xen_domctl *op = (struct xen_domctl *)argument;
    op->cmd = command;
    op->interface_version = nr == __HYPERVISOR_domctl   ? XEN_DOMCTL_INTERFACE_VERSION
                            : nr == __HYPERVISOR_sysctl ? XEN_SYSCTL_INTERFACE_VERSION
                                                        : XENPF_INTERFACE_VERSION;
    return HC1(nr, argument);
}

static void check_op(unsigned long nr, unsigned long op, long got, long want)
{
    CHECK_IS(got, want);
    if (got != want) {
        say("hypercall %lu operation %lx", nr, op);
    }
}

static void sub_ops(unsigned long nr, const bool *rows)
{
    /* Above bit 5 a memory operation says where it goes on. */
    unsigned end = nr == __HYPERVISOR_memory_op ? 64 : NUMBERS;
    for (unsigned long op = 0; op < end; op++) {
        if (!rows[op]) {
            check_op(nr, op, sub_op(nr, op), -ENOSYS);
            if (nr == __HYPERVISOR_memory_op) {
                check_op(nr, op, sub_op(nr, op | 1UL << 6), -EINVAL);
                check_op(nr, op, sub_op(nr, op | 1UL << 40), -EINVAL);
            }
        }
    }
    for (unsigned shift = 8; shift < 32 && nr != __HYPERVISOR_memory_op; shift++) {
        check_op(nr, 1UL << shift, sub_op(nr, 1UL << shift), -ENOSYS);
    }
}

static void envelopes(unsigned long nr, const bool *rows)
{
    for (unsigned op = 0; op < NUMBERS; op++) {
        if (!rows[op]) {
            check_op(nr, op, envelope_op(nr, op), alone() ? -ENOSYS : -EPERM);
        }
    }
}

static void registers_stay(void)
{
    unsigned long a = 0x1111, b = 0x2222, c = 0x3333, rbx = 0x4444, rc = 77;
    register unsigned long r10 __asm__("r10") = 0x5555, r8 __asm__("r8") = 0x6666,
                               r9 __asm__("r9") = 0x7777, r12 __asm__("r12") = 0x8888;
    __asm__ volatile("syscall"
                     : "+a"(rc), "+D"(a), "+S"(b), "+d"(c), "+b"(rbx), "+r"(r10), "+r"(r8),
                       "+r"(r9), "+r"(r12)
                     :
                     : "rcx", "r11", "memory");
    unsigned long got[] = {a, b, c, rbx, r10, r8, r9, r12};
    static const unsigned long want[] = {0x1111, 0x2222, 0x3333, 0x4444,
                                         0x5555, 0x6666, 0x7777, 0x8888};
    CHECK_IS(rc, -ENOSYS);
    for (unsigned i = 0; i < ARRAY_SIZE(got); i++) {
        CHECK_IS(got[i], want[i]);
    }
}

void test_main(void)
{
    for (unsigned long nr = 0; nr < NUMBERS; nr++) {
        if (!calls[nr]) {
            check_op(nr, 0, HC3(nr, 1, 2, 3), -ENOSYS);
        }
    }
    for (unsigned shift = 8; shift < 64; shift++) {
        CHECK_IS(HC3(1UL << shift, 1, 2, 3), -ENOSYS);
        CHECK_IS(HC3(1UL << shift | __HYPERVISOR_xen_version, 0, 0, 0), -ENOSYS);
    }
    CHECK_IS(HC3(~0UL, 0, 0, 0), -ENOSYS);
    registers_stay();

    sub_ops(__HYPERVISOR_memory_op, memory);
    sub_ops(__HYPERVISOR_mmuext_op, mmuext);
    sub_ops(__HYPERVISOR_event_channel_op, evtchn);
    sub_ops(__HYPERVISOR_grant_table_op, gnttab);
    sub_ops(__HYPERVISOR_sched_op, sched);
    sub_ops(__HYPERVISOR_vcpu_op, vcpu);
    sub_ops(__HYPERVISOR_physdev_op, physdev);
    envelopes(__HYPERVISOR_platform_op, platform);
    envelopes(__HYPERVISOR_sysctl, sysctl);
    envelopes(__HYPERVISOR_domctl, domctl);
}
