/* SPDX-License-Identifier: MIT */
/*
 * What VCPUOP_initialise must refuse, field by field: addresses a vCPU could not be sent to,
 * descriptor tables and page tables that are none, counts out of range. After each refusal the vCPU
 * still has no registers, and no frame has kept a type.
 */
#include "lib.h"

static struct vcpu_guest_context *c = &cpu_context;

static void nothing(uint64_t arg)
{
    (void)arg;
}

static void fresh(void)
{
    cpu_fill_context(c, 1, nothing, 0);
}

static void refused(const char *what)
{
    long rc = vcpu_op(VCPUOP_initialise, 1, c);
    CHECK_IS(rc, -EINVAL);
    if (rc != -EINVAL) {
        say("context with bad %s", what);
    }
    CHECK_IS(vcpu_op(VCPUOP_up, 1, 0), -EINVAL);
    fresh();
}

#define REFUSED(field, value)                                                                      \
    do {                                                                                           \
        c->field = (value);                                                                        \
        refused(#field " " #value);                                                                \
    } while (0)

#define ADDRESS(field)                                                                             \
    do {                                                                                           \
        REFUSED(field, NONCANONICAL);                                                              \
        REFUSED(field, 0xffff840000000000);                                                        \
    } while (0)

static void page_tables(void)
{
    uint64_t *page = page_new();
    REFUSED(ctrlreg[3], xen_pfn_to_cr3(mfn_of(page))); /* mapped writable */
    NEED_OK(page_protect(page, 0));
    page = page_new();
    page[5] = pte_make(mfn_of(page), PTE_RO);
    NEED_OK(page_protect(page, PTE_RO));
    REFUSED(ctrlreg[3], xen_pfn_to_cr3(mfn_of(page))); /* recursive */
    CHECK_IS(page_protect(page, PTE_RW), 0);           /* no type was kept */
    REFUSED(ctrlreg[3], 0);
    REFUSED(ctrlreg[3], xen_pfn_to_cr3(0x0000fffffffffUL));
    REFUSED(ctrlreg[3], xen_pfn_to_cr3(mfn_of(table_find(VIRT_BASE, 3))));
    REFUSED(ctrlreg[1], xen_pfn_to_cr3(mfn_of(page)) | 1);
    REFUSED(ctrlreg[1], xen_pfn_to_cr3(mfn_of(table_find(VIRT_BASE, 1))) | 1);
}

static void descriptors(void)
{
    uint64_t *page = page_new();
    c->gdt_frames[0] = mfn_of(page);
    REFUSED(gdt_ents, 512); /* mapped writable */
    c->gdt_frames[0] = 0x0fffffffffffUL;
    REFUSED(gdt_ents, 1);
    REFUSED(gdt_ents, 7169);
    REFUSED(gdt_ents, 1UL << 32 | 1);
    page[0] = 0x00008c0000080000; /* a call gate */
    NEED_OK(page_protect(page, PTE_RO));
    c->gdt_frames[0] = mfn_of(page);
    REFUSED(gdt_ents, 1);
    CHECK_IS(page_protect(page, PTE_RW), 0);
    REFUSED(ldt_ents, 8193);
    REFUSED(ldt_base, 0x1008);
    c->ldt_ents = 1;
    REFUSED(ldt_base, 0xffff840000000000);
}

void test_main(void)
{
    fresh();
    ADDRESS(user_regs.rip);
    ADDRESS(event_callback_eip);
    ADDRESS(failsafe_callback_eip);
    ADDRESS(syscall_callback_eip);
    for (unsigned i = 0; i < 256; i += 51) {
        ADDRESS(trap_ctxt[i].address);
    }
    REFUSED(user_regs.rsp, NONCANONICAL);
    REFUSED(fs_base, NONCANONICAL);
    REFUSED(gs_base_kernel, NONCANONICAL);
    REFUSED(gs_base_user, 0x8000000000000000);
    page_tables();
    descriptors();
    CHECK_IS(vcpu_op(VCPUOP_initialise, 1, c), 0);
    CHECK_IS(vcpu_op(VCPUOP_initialise, 1, c), -EEXIST);
}
