// SPDX-License-Identifier: MIT
/* pv/misc.c: small calls on the caller's processor state, and what of it reaches the machine. */
#include <string.h>

#include "pv/emul.h"
#include "suite.h"

#define USER_VA 0x401000UL
#define NOT_CANONICAL 0x0000800000000000UL

static struct domain *guest;
static struct vcpu *v;

static void begin(void)
{
    guest = suite_domain(1, 2);
    v = guest->vcpu[0];
    suite_enter(v);
    memset(host.debugreg, 0, sizeof(host.debugreg));
}

static void end(void)
{
    suite_enter(NULL);
    suite_destroy(guest);
}

static long set_debugreg(unsigned long reg, uint64_t value)
{
    return suite_call(__HYPERVISOR_set_debugreg, reg, value, 0);
}

static uint64_t get_debugreg(unsigned long reg)
{
    return (uint64_t)suite_call(__HYPERVISOR_get_debugreg, reg, 0, 0);
}

static void test_stack_switch__selector_at_guest_privilege(void)
{
    begin();
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_stack_switch, 0xe028, USER_VA, 0), 0);
    CU_ASSERT_EQUAL(v->pv.kernel_ss, 0xe02b);
    CU_ASSERT_EQUAL(v->pv.kernel_sp, USER_VA);
    end();
}

static void test_fpu_taskswitch__machine_follows(void)
{
    begin();
    host.ts = false;
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_fpu_taskswitch, 1, 0, 0), 0);
    CU_ASSERT_TRUE(host.ts);
    CU_ASSERT_TRUE(v->pv.ts);
    host.ts = false; /* the machine's flag is only touched on a change */
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_fpu_taskswitch, 1, 0, 0), 0);
    CU_ASSERT_FALSE(host.ts);
    host.ts = true;
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_fpu_taskswitch, 0, 0, 0), 0);
    CU_ASSERT_FALSE(host.ts);
    CU_ASSERT_FALSE(v->pv.ts);
    end();
}

static void test_segment_base__each(void)
{
    begin();
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_segment_base, SEGBASE_FS, 0x1000, 0), 0);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_segment_base, SEGBASE_GS_USER, 0x2000, 0), 0);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_segment_base, SEGBASE_GS_KERNEL, ~0UL, 0), 0);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_segment_base, SEGBASE_GS_USER_SEL, 3, 0), 0);
    CU_ASSERT_EQUAL(host.fs_base, 0x1000);
    CU_ASSERT_EQUAL(host.gs_base_user, 0x2000);
    CU_ASSERT_EQUAL(host.gs_base_kernel, ~0UL);
    /* Loading such a base faults in the hypervisor. */
    for (unsigned which = SEGBASE_FS; which <= SEGBASE_GS_KERNEL; which++) {
        CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_segment_base, which, NOT_CANONICAL, 0),
                        -EINVAL);
    }
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_segment_base, SEGBASE_GS_USER_SEL + 1, 0, 0),
                    -EINVAL);
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_set_segment_base, 1UL << 32, 0, 0), -EINVAL);
    CU_ASSERT_EQUAL(host.fs_base, 0x1000);
    end();
}

static void test_debugreg__addresses(void)
{
    begin();
    for (unsigned reg = 0; reg < 4; reg++) {
        CU_ASSERT_EQUAL(set_debugreg(reg, USER_VA + reg), 0);
        CU_ASSERT_EQUAL(get_debugreg(reg), USER_VA + reg);
        CU_ASSERT_EQUAL(host.debugreg[reg], 0); /* none is on */
        CU_ASSERT_EQUAL(set_debugreg(reg, HYP_VIRT_START), -EPERM);
        CU_ASSERT_EQUAL(set_debugreg(reg, HYP_VIRT_END - 1), -EPERM);
        CU_ASSERT_EQUAL(set_debugreg(reg, NOT_CANONICAL), -EPERM);
        CU_ASSERT_EQUAL(get_debugreg(reg), USER_VA + reg);
    }
    CU_ASSERT_EQUAL(set_debugreg(7, 1), 0); /* all of them are loaded with the first that is on */
    for (unsigned reg = 0; reg < 4; reg++) {
        CU_ASSERT_EQUAL(host.debugreg[reg], USER_VA + reg);
    }
    CU_ASSERT_EQUAL(host.debugreg[7], 0x401);
    CU_ASSERT_EQUAL(set_debugreg(2, 0x5000), 0);
    CU_ASSERT_EQUAL(host.debugreg[2], 0x5000);
    host.debugreg[2] = 0;
    CU_ASSERT_EQUAL(set_debugreg(7, 2), 0); /* they are there already */
    CU_ASSERT_EQUAL(host.debugreg[2], 0);
    CU_ASSERT_EQUAL(set_debugreg(7, 0), 0);
    CU_ASSERT_EQUAL(host.debugreg[7], 0x400);
    end();
}

static void test_debugreg__status_and_aliases(void)
{
    begin();
    CU_ASSERT_EQUAL(set_debugreg(6, ~0UL), 0);
    CU_ASSERT_EQUAL(get_debugreg(6), 0xffffefff);
    CU_ASSERT_EQUAL(host.debugreg[6], 0xffffefff);
    CU_ASSERT_EQUAL(set_debugreg(4, 0), 0);
    CU_ASSERT_EQUAL(get_debugreg(4), 0xffff0ff0);
    CU_ASSERT_EQUAL(get_debugreg(6), 0xffff0ff0);
    CU_ASSERT_EQUAL(set_debugreg(5, 0), 0);
    CU_ASSERT_EQUAL(get_debugreg(7), 0x400);
    CU_ASSERT_EQUAL(set_debugreg(8, 0), -EINVAL);
    CU_ASSERT_EQUAL(get_debugreg(8), (uint64_t)-EINVAL);
    CU_ASSERT_EQUAL(get_debugreg(1UL << 32), (uint64_t)-EINVAL);
    end();
}

static void test_debugreg__control(void)
{
    begin();
    CU_ASSERT_EQUAL(set_debugreg(7, 1UL << 32), -EPERM);
    CU_ASSERT_EQUAL(set_debugreg(7, 1UL << 13), -EPERM); /* general detect */
    for (unsigned slot = 0; slot < 4; slot++) {
        unsigned shift = 16 + slot * 4;
        CU_ASSERT_EQUAL(set_debugreg(7, 2UL << shift), -EPERM); /* I/O */
        CU_ASSERT_EQUAL(set_debugreg(7, 1UL << shift), 0);      /* stores */
        CU_ASSERT_EQUAL(set_debugreg(7, 0xfUL << shift), 0);    /* accesses, 4 bytes */
    }
    CU_ASSERT_EQUAL(set_debugreg(7, 0xd800), 0);
    CU_ASSERT_EQUAL(get_debugreg(7), 0x400);
    end();
}

static void test_debugreg__of_another_vcpu(void)
{
    begin();
    struct vcpu *other = guest->vcpu[1];
    CU_ASSERT_EQUAL(misc_set_debugreg(other, 0, USER_VA), 0);
    CU_ASSERT_EQUAL(misc_set_debugreg(other, 7, 3), 0);
    CU_ASSERT_EQUAL(other->pv.debugreg[0], USER_VA);
    CU_ASSERT_EQUAL(other->pv.debugreg[7], 0x403);
    CU_ASSERT_EQUAL(host.debugreg[7], 0); /* it does not run here */
    end();
}

static void test_vm_assist__known_ones(void)
{
    begin();
    for (unsigned type = 0; type < 40; type++) {
        bool known =
            type == VMASST_TYPE_writable_pagetables || type == VMASST_TYPE_pae_extended_cr3 ||
            type == VMASST_TYPE_architectural_iopl || type == VMASST_TYPE_runstate_update_flag;
        long rc = suite_call(__HYPERVISOR_vm_assist, VMASST_CMD_enable, type, 0);
        CU_ASSERT_EQUAL(rc, known ? 0 : -EINVAL);
        CU_ASSERT_EQUAL(guest->pv.vm_assist, known ? 1U << type : 0);
        CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_vm_assist, VMASST_CMD_disable, type, 0), rc);
        CU_ASSERT_EQUAL(guest->pv.vm_assist, 0);
    }
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_vm_assist, 2, VMASST_TYPE_writable_pagetables, 0),
                    -ENOSYS);
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_stack_switch__selector_at_guest_privilege),
        CASE(test_fpu_taskswitch__machine_follows),
        CASE(test_segment_base__each),
        CASE(test_debugreg__addresses),
        CASE(test_debugreg__status_and_aliases),
        CASE(test_debugreg__control),
        CASE(test_debugreg__of_another_vcpu),
        CASE(test_vm_assist__known_ones),
    };
    return SUITE("misc", 1, cases);
}
