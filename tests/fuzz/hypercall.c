/* SPDX-License-Identifier: MIT */
/*
 * Everything a guest kernel can ask: upcall_syscall and upcall_guest_trap on the fake machine.
 *
 * The world of each input: domain 0 (asleep: its end would be the machine's), domain 1 privileged,
 * domains 2 and 3 not; two vCPUs each, on two pcpus, which the real scheduler hands out. Each has a
 * tree of page tables over 24 frames, a grant table and handlers; a window at HOST_GUEST_BASE is
 * memory of all. Calls, sub-operations and sizes come from pv-abi's tables.
 *
 * Input: a byte, which domains run, then steps. A step is a byte `kind << 1 | pcpu` and what
 * step() reads for it; numbers are written as value() reads them. A vCPU that a step finds on the
 * pcpu acts; none: the step does nothing. In the end all domains are killed and no frame may be
 * lost.
 */
#include "core/hypercall.h"
#include "arch/upcalls.h"
#include "base/lock.h"
#include "core/console.h"
#include "core/deferred.h"
#include "core/frame.h"
#include "core/grant_table.h"
#include "fuzz.h"
#include "host.h"
#include "pv/page_type.h"
#include "pv/trap.h"

const size_t fuzz_max_bytes = 1024;

#define CPUS 2
#define DOMS 4 /* 0 .. 3; their ids */
#define VCPUS 2
#define PAGES 24
#define SLOT_BYTES 512 /* of the window; arguments are built in the first 16 slots */
#define ARG_SLOTS 16
#define CONTEXT_SLOT 24
#define CALL_RIP 0x1002
#define HANDLER_RIP 0x4000
#define STACK 0x8000 /* within the image */
#define TABLE (X86_PTE_P | X86_PTE_RW | X86_PTE_US)
#define ROUNDS_MAX 5000

static mfn_t page[DOMS][PAGES + 1]; /* the last: the grant table's frame */
static uint64_t frames_at_start;
static unsigned arg_slot;
static unsigned preempt_period, preempt_questions;

/* ---- what there is to call ---- */

enum family { SIMPLE, WITH_OP, GNTTAB, VCPU, MMUEXT_OPS, ENVELOPE };
static const struct callable {
    uint8_t nr;
    uint8_t family;
    uint16_t op, bytes;
    const char *layout; /* digits: bytes of each field; "": the input says */
} callables[] = {
#define CALL(nr, name, nargs, handler, doc) {nr, SIMPLE, nargs, 0, ""},
#include "pv-abi/hypercalls.def"
#undef CALL
#define OP(nr, name, type, dir, who, handler, doc) {FUZZ_NR, WITH_OP, nr, sizeof(type), ""},
#define OP_VOID(nr, name, who, handler, doc) {FUZZ_NR, WITH_OP, nr, 0, ""},
#define OP_PCI(nr, name, type, segment, handler, doc) {FUZZ_NR, WITH_OP, nr, sizeof(type), ""},
#define FUZZ_NR __HYPERVISOR_event_channel_op
#include "pv-abi/ops/evtchn.def"
#undef FUZZ_NR
#define FUZZ_NR __HYPERVISOR_memory_op
#include "pv-abi/ops/memory.def"
#undef FUZZ_NR
#define FUZZ_NR __HYPERVISOR_sched_op
#include "pv-abi/ops/sched.def"
#undef FUZZ_NR
#define FUZZ_NR __HYPERVISOR_physdev_op
#include "pv-abi/ops/physdev.def"
#undef FUZZ_NR
#undef OP
#undef OP_VOID
#undef OP_PCI
#define OP_EACH(nr, name, type, handler, doc)                                                      \
    {__HYPERVISOR_grant_table_op, GNTTAB, nr, sizeof(type), #type},
#include "pv-abi/ops/gnttab.def"
#undef OP_EACH
#define VOP(nr, name, type, handler, doc) {__HYPERVISOR_vcpu_op, VCPU, nr, sizeof(type), ""},
#define VOP_VOID(nr, name, handler, doc) {__HYPERVISOR_vcpu_op, VCPU, nr, 0, ""},
#define VOP_AT(nr, name, handler, doc) {__HYPERVISOR_vcpu_op, VCPU, nr, 64, ""},
#include "pv-abi/ops/vcpu.def"
#undef VOP
#undef VOP_VOID
#undef VOP_AT
#define MMUEXT(nr, name, handler, doc) {__HYPERVISOR_mmuext_op, MMUEXT_OPS, nr, 24, "888"},
#define MMUEXT_SELF MMUEXT
#include "pv-abi/ops/mmuext.def"
#undef MMUEXT_SELF
#undef MMUEXT
#define DOMCTL(nr, name, member, handler, doc) {__HYPERVISOR_domctl, ENVELOPE, nr, 64, ""},
#define DOMCTL_VOID(nr, name, handler, doc) {__HYPERVISOR_domctl, ENVELOPE, nr, 0, ""},
#define DOMCTL_WHOLE(nr, name, handler, doc) {__HYPERVISOR_domctl, ENVELOPE, nr, 72, ""},
#include "pv-abi/ops/domctl.def"
#undef DOMCTL
#undef DOMCTL_VOID
#undef DOMCTL_WHOLE
#define ENV(nr, name, member, handler, doc) {FUZZ_NR, ENVELOPE, nr, 64, ""},
#define EXT(nr, name, type, handler, doc) {FUZZ_NR, ENVELOPE, nr, sizeof(type), ""},
#define FUZZ_NR __HYPERVISOR_sysctl
#include "pv-abi/ops/sysctl.def"
#undef FUZZ_NR
#define FUZZ_NR __HYPERVISOR_platform_op
#include "pv-abi/ops/platform.def"
#undef FUZZ_NR
#undef ENV
#undef EXT
};

/* Fields of structures whose order the input need not guess. */
static const struct {
    const char *type, *layout;
} layouts[] = {
    {"struct gnttab_map_grant_ref", "8442248"}, {"struct gnttab_unmap_grant_ref", "88422"},
    {"struct gnttab_setup_table", "22428"},     {"struct gnttab_copy", "822822222"},
    {"struct gnttab_query_size", "22442"},      {"struct gnttab_set_version", "4"},
    {"struct gnttab_get_version", "224"},
};

/* ---- the end of the machine is no find ---- */

void __real_domain_shutdown(struct domain *d, uint8_t reason);
void __wrap_domain_shutdown(struct domain *d, uint8_t reason);
void __real_console_keys_handle(char key);
void __wrap_console_keys_handle(char key);

void __wrap_domain_shutdown(struct domain *d, uint8_t reason)
{
    if (d != dom_control) {
        __real_domain_shutdown(d, reason);
    }
}

void __wrap_console_keys_handle(char key)
{
    if (key != 'R') {
        __real_console_keys_handle(key);
    }
}

/* ---- pcpus ---- */

static void check_guest(const struct vcpu *v)
{
    host_processor_enter();
    FUZZ_CHECK(v->initialised && !v->sched.pause_bits && v->domain->state != DOM_DEAD);
}

/* The way back to a guest, as upcall_exit() goes it; false: the pcpu is idle. */
static bool leave(void)
{
    for (unsigned rounds = 0;; rounds++) {
        struct vcpu *v = host_exit_path();
        FUZZ_CHECK(rounds < ROUNDS_MAX);
        if (vcpu_is_idle(v)) {
            return false;
        }
        if (!page_type_finish_deferred(v)) {
            continue;
        }
        trap_deliver_pending(v);
        if (!deferred_pending() && !v->sched.pause_bits) {
            spin_assert_none_held();
            check_guest(v);
            return true;
        }
    }
}

/* The other pcpus go on while one waits for them. */
static void others_go_on(void)
{
    unsigned self = host_cpu;
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        if (cpu != self) {
            host_play(cpu);
            host_exit_path();
        }
    }
    host_play(self);
}

static void interrupt(void)
{
    if (preempt_period && ++preempt_questions % preempt_period == 0) {
        deferred_raise(arch_cpu_id(), DEFER_TIMER);
    }
}

/* ---- calls ---- */

static vaddr_t slot_va(unsigned slot)
{
    return HOST_GUEST_BASE + slot * SLOT_BYTES;
}

/* What SYSCALL pushes: the selectors are constants, and the way back may be by SYSRET. */
static void enter_by_syscall(struct cpu_user_regs *regs, uint16_t cs)
{
    regs->rip = CALL_RIP;
    regs->cs = cs;
    regs->ss = SEL_GUEST_DS;
    regs->entry_vector = 0x100;
    upcall_syscall(regs);
}

/* Run what is in the registers, to its end unless somebody else gets the pcpu. */
static void syscall(void)
{
    struct vcpu *v = current_vcpu();
    for (unsigned rounds = 0; rounds < ROUNDS_MAX; rounds++) {
        enter_by_syscall(guest_regs(), SEL_GUEST_CS64);
        if (!leave() || current_vcpu() != v || guest_regs()->rip != CALL_RIP - 2) {
            return;
        }
    }
}

/* ---- numbers ---- */

static const uint64_t special[32] = {
    0,
    ~0UL,
    1UL << 63,
    1UL << 47,
    (1UL << 47) - 1,
    HYP_VIRT_START,
    HYP_VIRT_END,
    HOST_BAD_ADDR,
    HOST_GUEST_BASE + HOST_GUEST_BYTES - 8,
    HANDLER_RIP,
    0x1000,
    0x10000 - 1,
    1UL << 31,
    1UL << 32,
    (1UL << 52) - 1,
    HOST_FRAMES,
    HOST_FRAMES - 1,
    0xfee00,
    5,
    XEN_DOMCTL_INTERFACE_VERSION,
    0xe033,
    0xe02b,
    DOMID_SELF | 1UL << 16,
    GNTMAP_host_map,
    GNTMAP_host_map | GNTMAP_contains_pte,
    GNTMAP_host_map | GNTMAP_readonly,
    GNTMAP_device_map,
    UVMF_INVLPG | UVMF_ALL,
    UVMF_TLB_FLUSH | UVMF_MULTI,
    1024,
    4096,
    64,
};

static mfn_t frame_value(struct fuzz_in *in)
{
    uint8_t which = fuzz_byte(in);
    return page[which >> 6][(which & 63) % (PAGES + 1)];
}

/* A number that means something to somebody: its kind is in the first three bits. */
static uint64_t value(struct fuzz_in *in, unsigned bytes)
{
    static const uint16_t domids[8] = {DOMID_SELF, 0, 1, 2, 3, DOMID_IO, DOMID_XEN, 4};
    static const uint64_t flags[8] = {7, 5, 3, 1, 0x67, 0x65, 0x87, 0};
    uint8_t what = fuzz_byte(in);
    unsigned low = what & 31;
    switch (what >> 5) {
    case 0:
        return low;
    case 1:
        return frame_value(in);
    case 2:
        return frame_value(in) << PAGE_SHIFT | flags[low & 7] | (low & 8 ? fuzz_byte(in) << 3 : 0) |
               (low & 16 ? 1UL << 63 : 0);
    case 3: /* where an entry is, and what to do there */
        return frame_value(in) << PAGE_SHIFT | low >> 2 << 3 | (low & 3);
    case 4:
        return low < 16 ? domids[low & 7] : slot_va(low);
    case 5:
        return low < 26 ? (uint64_t)low << PAGE_SHIFT : HOST_GUEST_BASE + fuzz_number(in, 2);
    case 6:
        return special[low];
    default:
        return fuzz_number(in, bytes);
    }
}

/* A structure into the next slot; its fields are numbers. */
static vaddr_t structure(struct fuzz_in *in, const char *layout, const void *head,
                         size_t head_bytes, size_t bytes)
{
    static const uint8_t widths[4] = {4, 8, 2, 1};
    vaddr_t va = slot_va(arg_slot++ % ARG_SLOTS);
    uint8_t *at = host_guest_ptr(va), choice = 0;
    memset(at, 0, SLOT_BYTES);
    if (head_bytes) {
        memcpy(at, head, head_bytes);
    }
    bytes = MIN(bytes + head_bytes, SLOT_BYTES);
    size_t done = head_bytes;
    for (unsigned field = 0; done < bytes && in->left; field++) {
        unsigned width;
        if (*layout) {
            width = (unsigned)(*layout++ - '0');
        } else {
            choice = field % 4 == 0 ? fuzz_byte(in) : (uint8_t)(choice >> 2);
            width = widths[choice & 3];
        }
        done = ROUND_UP(done, width);
        uint64_t number = value(in, width);
        if (done + width <= bytes) {
            memcpy(at + done, &number, width);
        }
        done += width;
    }
    return va;
}

static const char *layout_of(const struct callable *c)
{
    for (unsigned i = 0; i < ARRAY_SIZE(layouts); i++) {
        if (!strcmp(c->layout, layouts[i].type)) {
            return layouts[i].layout;
        }
    }
    return c->family == MMUEXT_OPS ? c->layout : "";
}

static vaddr_t envelope(struct fuzz_in *in, const struct callable *c)
{
    struct {
        uint32_t cmd, version;
        uint64_t domain;
    } head = {.cmd = c->op, .version = XEN_DOMCTL_INTERFACE_VERSION};
    size_t bytes = 16;
    if (c->nr == __HYPERVISOR_sysctl) {
        head.version = XEN_SYSCTL_INTERFACE_VERSION;
        bytes = 8;
    } else if (c->nr == __HYPERVISOR_platform_op) {
        head.version = XENPF_INTERFACE_VERSION;
        bytes = 8;
    } else {
        head.domain = value(in, 2) & 0xffff;
    }
    return structure(in, "", &head, bytes, c->bytes);
}

/* One call's number and arguments. */
static void build(struct fuzz_in *in, uint64_t *nr, uint64_t arg[6])
{
    uint16_t which = (uint16_t)fuzz_number(in, 1);
    const struct callable *c = &callables[which % ARRAY_SIZE(callables)];
    *nr = c->nr;
    memset(arg, 0, 6 * sizeof(arg[0]));
    if (c->family == SIMPLE) {
        unsigned count = c->op;
        if (c->nr == __HYPERVISOR_mmu_update) {
            arg[0] = structure(in, "88888888", NULL, 0, 64);
            arg[1] = fuzz_byte(in);
            arg[3] = value(in, 2) & 0xffff;
            return;
        }
        for (unsigned i = 0; i < count; i++) {
            arg[i] = value(in, 8);
        }
    } else if (c->family == WITH_OP) {
        arg[0] = c->op;
        arg[1] = structure(in, "", NULL, 0, c->bytes);
    } else if (c->family == GNTTAB) {
        unsigned count = fuzz_byte(in);
        arg[0] = c->op;
        arg[1] = structure(in, layout_of(c), NULL, 0, c->bytes * (1UL + count % 4));
        arg[2] = count < 128 ? 1 + count % 4 : count;
    } else if (c->family == VCPU) {
        arg[0] = c->op;
        arg[1] = fuzz_byte(in);
        arg[2] = arg[1] & 0x80 ? slot_va(CONTEXT_SLOT) : structure(in, "", NULL, 0, c->bytes);
        arg[1] &= 0x7f;
    } else if (c->family == MMUEXT_OPS) {
        const uint64_t op = c->op;
        uint8_t count = fuzz_byte(in);
        arg[0] = structure(in, "8888888", &op, sizeof(op), 16 + 24 * (count & 3));
        arg[1] = count & 3;
        arg[1] += count < 128;
        arg[3] = value(in, 2) & 0xffff;
    } else {
        arg[0] = envelope(in, c);
    }
}

static void set_arguments(uint64_t nr, const uint64_t arg[6])
{
    struct cpu_user_regs *regs = guest_regs();
    regs->rax = nr;
    regs->rdi = arg[0];
    regs->rsi = arg[1];
    regs->rdx = arg[2];
    regs->r10 = arg[3];
    regs->r8 = arg[4];
    regs->r9 = arg[5];
}

static void call(struct fuzz_in *in)
{
    uint64_t nr, arg[6];
    build(in, &nr, arg);
    set_arguments(nr, arg);
    syscall();
}

static void multicall(struct fuzz_in *in)
{
    struct multicall_entry *list = host_guest_ptr(slot_va(ARG_SLOTS));
    uint8_t how = fuzz_byte(in);
    unsigned count = 1 + how % 6U;
    memset(list, 0, 6 * sizeof(*list));
    for (unsigned i = 0; i < count; i++) {
        uint64_t nr;
        build(in, &nr, (uint64_t *)list[i].args);
        list[i].op = nr;
    }
    const uint64_t arg[6] = {slot_va(ARG_SLOTS), how & 0x80 ? fuzz_byte(in) : count};
    set_arguments(__HYPERVISOR_multicall, arg);
    syscall();
}

/* ---- what a guest does without a call ---- */

static void poke(struct fuzz_in *in)
{
    struct domain *d = current_vcpu()->domain;
    uint8_t what = fuzz_byte(in), at = fuzz_byte(in);
    uint64_t number = value(in, 8);
    if (what & 1) {
        vaddr_t va = what & 2 ? HOST_GUEST_BASE + (at & 31U) * SLOT_BYTES + (what & 0xf8U)
                              : (vaddr_t)(at % PAGES) << PAGE_SHIFT | (what & 0xf8);
        (void)!arch_copy_to_guest(va, &number, sizeof(number));
    } else if (what & 2) { /* a grant: flags, domain, frame */
        grant_entry_v1_t entry = {
            .flags = fuzz_byte(in) & 0x1f, .domid = (domid_t)(at & 3), .frame = (uint32_t)number};
        if (d->grant->frame_count) {
            memcpy((grant_entry_v1_t *)frame_to_virt(d->grant->frame[0]) + (at >> 2), &entry,
                   sizeof(entry));
        }
    } else {
        memcpy((uint8_t *)d->shared_info + at * 8UL, &number, sizeof(number));
    }
}

static void trap(struct fuzz_in *in)
{
    struct cpu_user_regs *regs = guest_regs();
    uint8_t vector = fuzz_byte(in), n = fuzz_byte(in) & 15;
    vaddr_t code = slot_va(CONTEXT_SLOT - 1);
    for (unsigned i = 0; i < n; i++) {
        *((uint8_t *)host_guest_ptr(code) + i) = fuzz_byte(in);
    }
    regs->rip = n ? code : HANDLER_RIP;
    regs->entry_vector = vector & 0x80 ? (vector & 1 ? TRAP_PF : TRAP_GP) : vector % 32;
    regs->error_code = regs->entry_vector == TRAP_PF ? (fuzz_byte(in) & 3) | PF_U : 0;
    regs->rdi = value(in, 8);
    regs->rdx = value(in, 8);
    if (regs->entry_vector != TRAP_NMI && regs->entry_vector != TRAP_MC &&
        regs->entry_vector != TRAP_DF) {
        upcall_guest_trap(regs, regs->rdi);
    }
}

static void to_user(struct fuzz_in *in)
{
    struct cpu_user_regs *regs = guest_regs();
    uint8_t how = fuzz_byte(in);
    if (how & 1) { /* whatever mode it is in, 64 or 32 bits */
        enter_by_syscall(regs, how & 2 ? SEL_GUEST_CS32 : SEL_GUEST_CS64);
    } else {
        regs->rsp = value(in, 8);
        regs->rflags = trap_fix_flags(fuzz_number(in, 4));
    }
}

static void step(struct fuzz_in *in)
{
    uint8_t what = fuzz_byte(in);
    host_play(what & 1);
    if (!leave()) {
        what = (what >> 1) % 16 == 11 ? what : 12 << 1; /* idle */
    }
    switch ((what >> 1) % 16) {
    case 8:
    case 9:
        poke(in);
        break;
    case 10:
        multicall(in);
        break;
    case 11:
        host_advance((ns_t)fuzz_number(in, 2) << 10);
        break;
    case 12: /* idle, or: who waits for that pcpu gets it */
        host_advance(NS_PER_SEC / 20);
        break;
    case 13: {
        uint8_t fail = fuzz_byte(in);
        host.fault_in_alloc = fail < 64 ? fail : 0;
        host.fault_in_access = fail < 64 ? 0 : fail & 31;
        preempt_period = fail & 0x80 ? fail & 7 : 0;
        preempt_questions = 0;
        break;
    }
    case 14:
        trap(in);
        break;
    case 15:
        to_user(in);
        break;
    default:
        call(in);
    }
    (void)leave();
}

/* ---- the world ---- */

static void switch_to(struct vcpu *v)
{
    if (current_vcpu() != v) {
        arch_context_switch(current_vcpu(), v);
    }
}

/* A call of a vCPU that the scheduler does not know of yet. */
static void setup_call(uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    const uint64_t arg[6] = {a0, a1, a2, a3};
    set_arguments(nr, arg);
    do {
        guest_regs()->rip = CALL_RIP;
        hypercall_from_regs(guest_regs());
        (void)deferred_take();
    } while (guest_regs()->rip != CALL_RIP);
    FUZZ_CHECK(guest_regs()->rax < 1000);
}

static vaddr_t put(const void *data, size_t bytes)
{
    vaddr_t va = slot_va(arg_slot++ % ARG_SLOTS);
    memcpy(host_guest_ptr(va), data, bytes);
    return va;
}

/* The first four frames are a tree over all of them, tables read-only; the fifth an empty L1. */
static void write_image(const mfn_t *image)
{
    uint64_t *table[5];
    for (unsigned i = 0; i < 5; i++) {
        table[i] = mfn_to_virt(image[i]);
        memset(table[i], 0, PAGE_SIZE);
    }
    for (unsigned i = 0; i < 3; i++) {
        table[i][0] = image[i + 1] << PAGE_SHIFT | TABLE;
    }
    table[2][1] = image[4] << PAGE_SHIFT | TABLE;
    for (unsigned i = 0; i < PAGES; i++) {
        table[3][i] = image[i] << PAGE_SHIFT | (i < 5 ? TABLE & ~X86_PTE_RW : TABLE);
    }
}

static void populate(struct domain *d)
{
    mfn_t *image = page[d->id];
    uint64_t *list = host_guest_ptr(slot_va(ARG_SLOTS));
    struct xen_memory_reservation r = {.nr_extents = PAGES, .domid = DOMID_SELF};
    r.extent_start.p = (xen_pfn_t *)slot_va(ARG_SLOTS);
    for (unsigned i = 0; i < PAGES; i++) {
        list[i] = i;
    }
    setup_call(__HYPERVISOR_memory_op, XENMEM_populate_physmap, put(&r, sizeof(r)), 0, 0);
    FUZZ_CHECK(guest_regs()->rax == PAGES);
    memcpy(image, list, PAGES * sizeof(list[0]));
    write_image(image);
    struct gnttab_setup_table setup = {.dom = DOMID_SELF, .nr_frames = 1};
    setup.frame_list.p = (xen_pfn_t *)slot_va(ARG_SLOTS);
    setup_call(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, put(&setup, sizeof(setup)), 1, 0);
    image[PAGES] = list[0];
}

static void start_vcpu(struct vcpu *v)
{
    host_play(v->sched.pcpu);
    switch_to(v);
    v->initialised = v->pv.kernel_mode = true;
    struct cpu_user_regs *regs = guest_regs();
    *regs = (struct cpu_user_regs){
        .cs = SEL_GUEST_CS64, .ss = SEL_GUEST_DS, .rflags = 0x202, .rsp = STACK};
    if (v->id == 0) {
        populate(v->domain);
    }
    struct mmuext_op op = {.cmd = MMUEXT_NEW_BASEPTR, .arg1.mfn = page[v->domain->id][0]};
    setup_call(__HYPERVISOR_mmuext_op, put(&op, sizeof(op)), 1, 0, DOMID_SELF);
    struct trap_info traps[20] = {{0}};
    for (unsigned i = 0; i < 19; i++) {
        traps[i] = (struct trap_info){(uint8_t)i, 0, 0xe033, HANDLER_RIP};
    }
    setup_call(__HYPERVISOR_set_trap_table, put(traps, sizeof(traps)), 0, 0, 0);
    for (uint16_t type = 0; type <= CALLBACKTYPE_syscall; type++) {
        struct callback_register reg = {.type = type, .address = HANDLER_RIP};
        setup_call(__HYPERVISOR_callback_op, CALLBACKOP_register, put(&reg, sizeof(reg)), 0, 0);
    }
    setup_call(__HYPERVISOR_stack_switch, 0xe02b, STACK, 0, 0);
    switch_to(vcpu_idle(host_cpu));
    sched_resume(v, PAUSE_DOWN);
}

static void start_domain(domid_t id, bool privileged, bool runs)
{
    const struct domain_limits limits = {.max_vcpus = VCPUS,
                                         .max_evtchn_port = 127,
                                         .max_grant_frames = 2,
                                         .max_maptrack_frames = 1};
    struct domain *d = NULL;
    FUZZ_CHECK(domain_create(id, &limits, privileged, &d) == 0);
    d->max_pages = PAGES + 16;
    if (id) {
        for (unsigned i = 0; i < VCPUS; i++) {
            start_vcpu(d->vcpu[i]);
        }
    }
    if (runs) {
        FUZZ_CHECK(domctl_unpausedomain(d) == 0); /* the pause of creation is a counted one */
    }
}

/* A context for VCPUOP_initialise and setvcpucontext: domain 2's tables. */
static void write_context(void)
{
    struct vcpu_guest_context *c = host_guest_ptr(slot_va(CONTEXT_SLOT));
    *c = (struct vcpu_guest_context){.flags = VGCF_in_kernel | VGCF_online,
                                     .kernel_ss = 0xe02b,
                                     .kernel_sp = STACK,
                                     .user_regs = {.cs = 0xe033, .ss = 0xe02b, .rip = HANDLER_RIP}};
    c->ctrlreg[3] = page[2][0] << PAGE_SHIFT;
}

static void start_world(uint8_t who)
{
    host_reset();
    memset(host_guest_ptr(HOST_GUEST_BASE), 0, 40 * SLOT_BYTES);
    arg_slot = preempt_period = 0;
    host.fs_base = host.gs_base_kernel = host.gs_base_user = 0;
    host.on_relax = others_go_on;
    host.on_window = interrupt;
    host.on_access =
        host_fetch_reset; /* arguments overlap here: the recorder would only cost time */
    start_domain(0, true, false);
    for (domid_t id = 1; id < DOMS; id++) {
        start_domain(id, id == 1, (who % 7 + 1) >> (id - 1) & 1);
    }
    write_context();
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        host_play(cpu);
        (void)leave();
    }
}

static void kill_domain(struct domain *d)
{
    long rc;
    unsigned rounds = 0;
    do {
        (void)page_type_finish_deferred(current_vcpu());
        host_exit_path();
        rc = domain_kill(d);
        FUZZ_CHECK(++rounds < ROUNDS_MAX);
    } while (rc == -ERESTART);
    FUZZ_CHECK(rc == 0);
}

static void end_world(void)
{
    host.fault_in_alloc = host.fault_in_access = 0;
    preempt_period = 0;
    domain_for_each(domain_pause);
    for (unsigned cpu = CPUS; cpu-- > 0;) {
        host_play(cpu);
        FUZZ_CHECK(!leave() && vcpu_is_idle(current_vcpu()));
    }
    struct domain *d;
    while ((d = domain_get_next(0)) != NULL) {
        kill_domain(d);
        domain_put(d);
    }
    FUZZ_CHECK(domain_count == 0);
    if (frame_free_count() != frames_at_start) {
        dprintf(2, "%ld frames are lost\n", (long)(frames_at_start - frame_free_count()));
    }
    FUZZ_CHECK(frame_free_count() == frames_at_start);
}

void fuzz_start(void)
{
    host_start(CPUS);
    frames_at_start = frame_free_count();
}

void fuzz_one(const uint8_t *data, size_t bytes)
{
    struct fuzz_in in = {data, bytes};
    start_world(fuzz_byte(&in));
    while (in.left) {
        step(&in);
    }
    end_world();
}
