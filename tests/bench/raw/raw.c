/* SPDX-License-Identifier: MIT */
/*
 * What single hypercalls and crossings cost a kernel, without Linux in the way: the raw rows of
 * `make bench`. Runs in place of the control domain, on Paravane and on Xen. Each row is the
 * median of SAMPLES runs of the time-stamp counter around `n` operations, less the empty loop.
 *
 * Output, one line a row: "guest: BENCH <name>|<per operation, in hundredths>".
 */
#include "lib.h"

#define SAMPLES 15
#define PTES 32

/* ---- bounces: handlers that do nothing but skip the two bytes that faulted ---- */

extern char bounce_error[], bounce_plain[];
__asm__(".text\n"
        "bounce_error:\n" /* rcx, r11, error code, then the frame */
        "   mov 16(%rsp), %rcx\n"
        "   pop %rcx\n"
        "   pop %r11\n"
        "   add $8, %rsp\n"
        "   jmp 1f\n"
        "bounce_plain:\n"
        "   pop %rcx\n"
        "   pop %r11\n"
        "1: addq $2, (%rsp)\n"
        "   push $0\n" /* flags of the iret hypercall */
        "   push %rcx\n"
        "   push %r11\n"
        "   push %rax\n"
        "   mov $23, %eax\n"
        "   syscall\n");

static void *area;         /* test area page 0 */
static uint64_t *entry;    /* its L1 entry, as mapped */
static uint64_t entry_at;  /* its machine address */
static uint64_t value;     /* a frame of ours, mappable */
static uint32_t self_port; /* bound to ourselves, masked */
static void *table;        /* an empty page to pin */
static struct mmu_update updates[PTES * 2];
static struct multicall_entry calls[PTES];

static void op_null(void)
{
    (void)xen_version(XENVER_version, 0);
}

static void op_stack_switch(void)
{
    uint64_t here = (uint64_t)__builtin_frame_address(0);
    (void)stack_switch(FLAT_KERNEL_SS, here - 8192);
}

static void op_event(void)
{
    struct evtchn_send send = {.port = self_port};
    (void)evtchn_op(EVTCHNOP_send, &send);
    event_clear(self_port);
}

static void op_update_va(void)
{
    (void)update_va(area, value, 0);
    (void)update_va(area, 0, 0);
}

static void op_mmu_update_1(void)
{
    struct mmu_update u = {.ptr = entry_at, .val = value};
    (void)mmu_update(&u, 1, 0, DOMID_SELF);
    u.val = 0;
    (void)mmu_update(&u, 1, 0, DOMID_SELF);
}

static void op_mmu_update_32(void)
{
    (void)mmu_update(updates, PTES, 0, DOMID_SELF);
    (void)mmu_update(updates + PTES, PTES, 0, DOMID_SELF);
}

static void fill_calls(uint64_t pte)
{
    for (unsigned i = 0; i < PTES; i++) {
        calls[i] = (struct multicall_entry){.op = __HYPERVISOR_update_va_mapping,
                                            .args = {(uint64_t)area + i * PAGE_BYTES, pte, 0}};
    }
}

static void op_multicall_set(void)
{
    (void)multicall(calls, PTES);
}

static void op_pin(void)
{
    uint64_t mfn = mfn_of(table);
    (void)mmuext_mfn(MMUEXT_PIN_L1_TABLE, mfn);
    (void)mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn);
}

/* Grants of our own: what two domains would pay, without the way between them. */
#define REF 40
static struct gnttab_copy copy_op;

static void op_grant_copy(void)
{
    (void)grant_op(GNTTABOP_copy, &copy_op, 1);
}

static void op_grant_map(void)
{
    grant_handle_t handle;
    (void)grant_map(copy_op.source.domid, REF, (uint64_t)area, GNTMAP_host_map, &handle);
    (void)grant_unmap(handle, (uint64_t)area, 0);
}

static void prepare_grants(void)
{
    grant_init();
    domid_t me = own_domid();
    grant_set(REF, me, mfn_of(page_new()), GTF_permit_access);
    copy_op = (struct gnttab_copy){.len = PAGE_BYTES, .flags = GNTCOPY_source_gref};
    copy_op.source.domid = me;
    copy_op.source.u.ref = REF;
    copy_op.dest.domid = DOMID_SELF;
    copy_op.dest.u.gmfn = mfn_of(page_new());
    grant_handle_t handle;
    op_grant_copy();
    CHECK_IS(copy_op.status, GNTST_okay);
    CHECK_IS(grant_map(me, REF, (uint64_t)area, GNTMAP_host_map, &handle), 0);
    CHECK_IS(grant_unmap(handle, (uint64_t)area, 0), 0);
}

static void op_page_fault(void)
{
    uint64_t at = 0x123456789000;
    __asm__ volatile(".byte 0x8a, 0x07" /* mov (%rdi), %al */ : "+D"(at) : : "rax", "memory");
}

static void op_ud2(void)
{
    __asm__ volatile("ud2" : : : "memory");
}

static void op_cr0(void)
{
    uint64_t cr0;
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
}

static void op_yield(void)
{
    (void)sched_op(SCHEDOP_yield, 0);
}

static void op_empty(void)
{
    barrier();
}

static uint64_t median_of(void (*op)(void), unsigned n)
{
    uint64_t sample[SAMPLES];
    for (unsigned s = 0; s < SAMPLES + 1; s++) { /* the first warms up and is overwritten */
        unsigned at = s ? s - 1 : 0;
        uint64_t start = rdtsc();
        for (unsigned i = 0; i < n; i++) {
            op();
        }
        sample[at] = rdtsc() - start;
    }
    for (unsigned i = 1; i < SAMPLES; i++) {
        for (unsigned j = i; j && sample[j] < sample[j - 1]; j--) {
            uint64_t keep = sample[j];
            sample[j] = sample[j - 1];
            sample[j - 1] = keep;
        }
    }
    return sample[SAMPLES / 2] * 100 / n;
}

static void row(const char *name, void (*op)(void), unsigned n)
{
    uint64_t all = median_of(op, n), empty = median_of(op_empty, n);
    say("BENCH %s|%lu", name, all - empty);
}

static void prepare(void)
{
    test_area_init();
    area = test_va(0);
    value = pte_make(frame_new(), PTE_RW);
    entry = test_area_l1();
    entry_at = maddr_of(entry);
    for (unsigned i = 0; i < PTES; i++) {
        uint64_t at = entry_at + i * sizeof(uint64_t);
        updates[i] = (struct mmu_update){.ptr = at, .val = value};
        updates[PTES + i] = (struct mmu_update){.ptr = at, .val = 0};
    }
    long port = event_bind_ipi(0);
    NEED(port > 0);
    self_port = (uint32_t)port;
    event_mask(self_port, true);
    table = page_new();
    NEED_OK(page_protect(table, PTE_RO));
    NEED_OK(trap_set(VEC_PF, bounce_error, 0));
    NEED_OK(trap_set(VEC_UD, bounce_plain, 0));
}

/* Every operation must work, or a row would be the cost of an error. */
static void check_once(void)
{
    CHECK_IS(update_va(area, value, 0), 0);
    CHECK_IS(update_va(area, 0, 0), 0);
    CHECK_IS(mmu_update(updates, PTES, 0, DOMID_SELF), 0);
    CHECK_IS(mmu_update(updates + PTES, PTES, 0, DOMID_SELF), 0);
    CHECK_IS(page_pin(table, 1), 0);
    CHECK_IS(page_unpin(table), 0);
    CHECK_IS(page_protect(table, PTE_RO), 0); /* unpinning left it writable */
    fill_calls(value);
    CHECK_IS(multicall(calls, PTES), 0);
    CHECK_IS(calls[PTES - 1].result, 0);
    fill_calls(0);
    CHECK_IS(multicall(calls, PTES), 0);
    CHECK_IS(event_send(self_port), 0);
    CHECK(event_is_pending(self_port));
}

void test_main(void)
{
    prepare();
    check_once();
    prepare_grants();
    row("null hypercall (xen_version)", op_null, 500);
    row("stack_switch", op_stack_switch, 500);
    row("event send to oneself, masked", op_event, 500);
    row("update_va_mapping, set and clear", op_update_va, 200);
    row("mmu_update of one entry, set and clear", op_mmu_update_1, 200);
    /* These two set all and clear all: half of it is one pass. */
    row("mmu_update of 32 entries, twice", op_mmu_update_32, 20);
    fill_calls(value);
    (void)multicall(calls, PTES);
    row("multicall of 32 update_va_mapping", op_multicall_set, 20);
    row("pin and unpin an empty L1", op_pin, 50);
    row("grant copy of 4 KiB", op_grant_copy, 50);
    row("grant map and unmap", op_grant_map, 50);
    row("page fault bounced and back", op_page_fault, 500);
    row("ud2 bounced and back", op_ud2, 500);
    row("CR0 read by trap", op_cr0, 500);
    row("sched_yield", op_yield, 500);
    say("BENCH end");
    success();
}
