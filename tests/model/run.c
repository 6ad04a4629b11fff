// SPDX-License-Identifier: MIT
/*
 * Steps are played here. Each vCPU has its pcpu, on which the model switches it in when it is its
 * turn, behind the scheduler's back: to the scheduler all vCPUs are down and the machine is idle.
 * A hypercall goes in through its registers; when it is to be continued, a step marked lazy leaves
 * it so, other vCPUs have their turns, and it goes on before the vCPU does anything else.
 */
#include <stdio.h>
#include <string.h>

#include "arch/upcalls.h"
#include "core/deferred.h"
#include "core/frame.h"
#include "model.h"
#include "pv/page_type.h"

#define CALL_RIP 0x1002
#define HANDLER_RIP 0x4000
#define TABLE (X86_PTE_P | X86_PTE_RW | X86_PTE_US)

struct model_dom world[MODEL_DOMS];
static uint64_t frames_at_start;

/* ---- preemption ---- */

static unsigned preempt_period, preempt_questions;

static void interrupt(void)
{
    if (preempt_period && ++preempt_questions % preempt_period == 0) {
        deferred_raise(arch_cpu_id(), DEFER_TIMER);
    }
}

static void preempt_every(unsigned period)
{
    preempt_period = period;
    preempt_questions = 0;
}

/* ---- turns ---- */

bool actor_usable(unsigned dom, unsigned vcpu)
{
    const struct model_dom *m = &world[dom];
    return m->alive && !m->dying && !m->d->shut_down && m->d->vcpu[vcpu]->initialised;
}

static struct vcpu *vcpu_of(unsigned dom, unsigned vcpu)
{
    return world[dom].d->vcpu[vcpu];
}

static void switch_to(struct vcpu *v)
{
    if (current_vcpu() != v) {
        arch_context_switch(current_vcpu(), v);
    }
}

/* The vCPUs of d (or only one) leave their pcpus, as when they are paused. */
static void switch_out(const struct domain *d, const struct vcpu *only)
{
    for (unsigned cpu = 0; cpu < MODEL_CPUS; cpu++) {
        host_play(cpu);
        if (current_vcpu()->domain == d && (!only || current_vcpu() == only)) {
            switch_to(vcpu_idle(cpu));
        }
    }
}

/* What a vCPU does before it returns to its guest. Lazy: it is switched out in the middle. */
static void exit_work(struct vcpu *v, bool lazy)
{
    unsigned rounds = 0;
    while (!page_type_finish_deferred(v) && !lazy) {
        (void)deferred_take();
        if (++rounds > 100000) {
            model_fail("progress", "deferred page tables are never done");
        }
    }
    (void)deferred_take();
}

static long round_of(struct actor *a)
{
    struct cpu_user_regs *regs = guest_regs();
    host_fetch_reset();
    regs->rip = CALL_RIP;
    upcall_syscall(regs);
    (void)deferred_take();
    a->busy = regs->rip == CALL_RIP - 2;
    if (host.double_fetches) {
        model_fail("fetch", "a guest's byte was read twice");
    }
    return (long)regs->rax;
}

static bool in_race, race_used; /* one is being played; the step is part of one */

/* All calls of the actor's entry are done. */
static void collect(struct actor *a, long rc)
{
    for (unsigned i = 0; i < a->calls; i++) {
        if (a->multicall) {
            const struct multicall_entry *entry = a->call[CALLS_MAX - 1].out;
            call_done(&a->step[i], &a->call[i], rc == 0 ? (long)entry[i].result : rc, false);
        } else {
            call_done(&a->step[i], &a->call[i], rc, !race_used);
        }
    }
    a->calls = 0;
}

/* Not in the middle of another pcpu's call, which holds references of its own. */
static void check_between(void)
{
    if (!in_race && !race_pending()) {
        oracle_check();
    }
}

static void go_on(struct vcpu *v, struct actor *a, bool lazy)
{
    for (unsigned rounds = 0;; rounds++) {
        long rc = round_of(a);
        bool done = !a->busy;
        exit_work(v, lazy);
        host.fault_in_alloc = host.fault_in_access = 0;
        if (done) {
            collect(a, rc);
            return;
        }
        if (lazy) {
            return;
        }
        if (rounds > 20000) {
            model_fail("progress", "a call is never done");
        }
        check_between();
    }
}

static void call_now(struct vcpu *v, struct actor *a, const struct call *c, const struct step *how)
{
    struct cpu_user_regs *regs = guest_regs();
    regs->rax = c->nr;
    regs->rdi = c->arg[0];
    regs->rsi = c->arg[1];
    regs->rdx = c->arg[2];
    regs->r10 = c->arg[3];
    regs->r8 = c->arg[4];
    regs->r9 = c->arg[5];
    if (how) {
        host.fault_in_alloc = how->fail < 100 ? how->fail : 0;
        host.fault_in_access = how->fail < 100 ? 0 : how->fail - 99U;
    }
    go_on(v, a, how && how->lazy);
}

/* A call of the model's own. */
static long hyper(unsigned dom, unsigned vcpu, uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2,
                  uint64_t a3)
{
    struct actor *a = &world[dom].actor[vcpu];
    a->calls = 0;
    call_now(vcpu_of(dom, vcpu), a, &(struct call){.nr = nr, .arg = {a0, a1, a2, a3}}, NULL);
    return (long)guest_regs()->rax;
}

static void to_kernel(struct vcpu *v)
{
    if (!v->pv.kernel_mode) {
        guest_regs()->rip = CALL_RIP;
        upcall_syscall(guest_regs());
    }
}

static void set_up(unsigned dom, unsigned vcpu)
{
    struct actor *a = &world[dom].actor[vcpu];
    vaddr_t va;
    struct trap_info trap[4] = {{.vector = TRAP_UD, .cs = 0xe033, .address = HANDLER_RIP},
                                {.vector = TRAP_GP, .cs = 0xe033, .address = HANDLER_RIP},
                                {.vector = TRAP_PF, .cs = 0xe033, .address = HANDLER_RIP}};
    a->used = ACTOR_STACK;
    (void)actor_put(a, trap, sizeof(trap), &va);
    hyper(dom, vcpu, __HYPERVISOR_set_trap_table, va, 0, 0, 0);
    struct callback_register reg = {.type = CALLBACKTYPE_syscall, .address = HANDLER_RIP};
    (void)actor_put(a, &reg, sizeof(reg), &va);
    hyper(dom, vcpu, __HYPERVISOR_callback_op, CALLBACKOP_register, va, 0, 0);
    hyper(dom, vcpu, __HYPERVISOR_stack_switch, 0xe02b, a->window + ACTOR_STACK, 0, 0);
    hyper(dom, vcpu, __HYPERVISOR_vm_assist, VMASST_CMD_enable, VMASST_TYPE_writable_pagetables, 0,
          0);
    uint64_t *list = actor_put(a, NULL, 8, &va);
    struct gnttab_setup_table setup = {.dom = DOMID_SELF, .nr_frames = 1};
    setup.frame_list.p = (xen_pfn_t *)va;
    (void)actor_put(a, &setup, sizeof(setup), &va);
    hyper(dom, vcpu, __HYPERVISOR_grant_table_op, GNTTABOP_setup_table, va, 1, 0);
    world[dom].grants = *list;
    world[dom].shared = frame_to_mfn(world[dom].d->shared_frame);
    a->set_up = true;
}

/* It is this vCPU's turn; NULL when it cannot run. */
static struct vcpu *enter(unsigned dom, unsigned vcpu)
{
    if (!actor_usable(dom, vcpu)) {
        return NULL;
    }
    struct vcpu *v = vcpu_of(dom, vcpu);
    struct actor *a = &world[dom].actor[vcpu];
    host_play(v->sched.pcpu);
    switch_to(v);
    preempt_every(0);
    exit_work(v, false);
    to_kernel(v);
    if (a->busy) {
        go_on(v, a, false);
    }
    guest_regs()->rsp = a->window + ACTOR_STACK;
    if (!a->set_up) {
        set_up(dom, vcpu);
    }
    a->used = ACTOR_STACK;
    return actor_usable(dom, vcpu) ? v : NULL;
}

/* ---- domains ---- */

/* The first four frames are a tree that maps all frames of the image, tables read-only; the fifth
 * is a second, empty L1. What a builder does through its own mappings. */
static void write_image(const struct model_dom *m)
{
    uint64_t *table[4];
    for (unsigned i = 0; i < 4; i++) {
        table[i] = mfn_to_virt(m->page[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        table[i][0] = m->page[i + 1] << PAGE_SHIFT | TABLE;
    }
    table[2][1] = m->page[4] << PAGE_SHIFT | TABLE;
    for (unsigned i = 8; i < 20; i++) {
        table[2][i] = table[2][1]; /* enough to be interrupted in */
    }
    for (unsigned i = 0; i < MODEL_IMAGE; i++) {
        uint64_t flags = i < 5 ? TABLE & ~X86_PTE_RW : TABLE;
        table[3][i] = m->page[i] << PAGE_SHIFT | flags;
    }
    table[0][260] = m->page[3] << PAGE_SHIFT | TABLE; /* a slot that is not the guest's */
}

static void reset_names(struct model_dom *m)
{
    for (unsigned i = 0; i < MODEL_HANDLES; i++) {
        m->handle[i] = UINT32_MAX;
    }
    for (unsigned i = 0; i < MODEL_VCPUS; i++) {
        struct actor *a = &m->actor[i];
        *a = (struct actor){.window = a->window};
    }
}

/* A call of the control domain that a step describes. */
static void control_step(struct step s)
{
    struct call c;
    struct actor *a = &world[0].actor[0];
    if (call_build(&s, a, &c)) {
        a->step[0] = s;
        a->call[0] = c;
        a->calls = 1;
        a->multicall = false;
        call_now(vcpu_of(0, 0), a, &c, NULL);
    }
}

static void populate_image(unsigned dom)
{
    control_step((struct step){.op = STEP_maxmem, .dom = (uint8_t)dom, .arg = {MODEL_MEM_PAGES}});
    control_step((struct step){
        .op = STEP_populate, .dom = 0, .count = 4, .arg = {(int64_t)dom, 0, MODEL_IMAGE, 0}});
    write_image(&world[dom]);
}

static void create(unsigned dom, unsigned preempt)
{
    struct model_dom *m = &world[dom];
    if (m->alive || m->dying || dom == 0 || !enter(0, 0)) {
        return;
    }
    struct actor *a = &world[0].actor[0];
    struct xen_domctl op = {.cmd = XEN_DOMCTL_createdomain,
                            .interface_version = XEN_DOMCTL_INTERFACE_VERSION,
                            .domain = (domid_t)dom,
                            .u.createdomain = {.max_vcpus = MODEL_VCPUS,
                                               .max_evtchn_port = 1023,
                                               .max_grant_frames = 2,
                                               .max_maptrack_frames = 1,
                                               .grant_opts = 1}};
    vaddr_t va;
    struct xen_domctl *out = actor_put(a, &op, sizeof(op), &va);
    if (hyper(0, 0, __HYPERVISOR_domctl, va, 0, 0, 0)) {
        return;
    }
    reset_names(m);
    m->id = out->domain;
    m->d = domain_get(m->id);
    domain_put(m->d);
    m->alive = true;
    populate_image(dom);
    preempt_every(preempt);
    /* The second vCPU of every other domain is left to be initialised by the first. */
    for (unsigned vcpu = 0; vcpu <= dom % 2; vcpu++) {
        control_step((struct step){.op = STEP_context,
                                   .dom = (uint8_t)dom,
                                   .count = 4,
                                   .arg = {vcpu, REF((int64_t)dom, 0), -1, -1}});
    }
    op.cmd = XEN_DOMCTL_unpausedomain;
    op.domain = m->id;
    (void)actor_put(a, &op, sizeof(op), &va);
    hyper(0, 0, __HYPERVISOR_domctl, va, 0, 0, 0);
}

/* The control domain, as start-up makes it. */
static void create_control(void)
{
    struct model_dom *m = &world[0];
    const struct domain_limits limits = {.max_vcpus = MODEL_VCPUS,
                                         .max_evtchn_port = 1023,
                                         .max_grant_frames = 2,
                                         .max_maptrack_frames = 1};
    if (domain_create(0, &limits, true, &m->d)) {
        model_fail("start", "no control domain");
    }
    m->alive = true;
    m->d->max_pages = MODEL_MEM_PAGES;
    reset_names(m);
    domain_unpause(m->d);
    struct vcpu *v = m->d->vcpu[0];
    v->initialised = v->pv.kernel_mode = true;
    host_play(v->sched.pcpu);
    switch_to(v);
    populate_image(0);
    struct mmuext_op op = {.cmd = MMUEXT_NEW_BASEPTR, .arg1.mfn = m->page[0]};
    vaddr_t va;
    (void)actor_put(&m->actor[0], &op, sizeof(op), &va);
    if (hyper(0, 0, __HYPERVISOR_mmuext_op, va, 1, 0, DOMID_SELF)) {
        model_fail("start", "no page tables of the control domain");
    }
    (void)enter(0, 0);
}

void world_start(void)
{
    host_start(MODEL_CPUS);
    arch_facts.absent_top = HOST_FRAMES * PAGE_SIZE;
    frames_at_start = frame_free_count();
    oracle_start();
    host.models_tlb = true;
    host.on_window = interrupt;
    for (unsigned dom = 0; dom < MODEL_DOMS; dom++) {
        for (unsigned i = 0; i < MODEL_VCPUS; i++) {
            world[dom].actor[i].window = host_guest_alloc(ACTOR_WINDOW);
        }
    }
    create_control();
    create(1, 0);
    create(2, 0);
    oracle_check();
}

/* ---- steps that are not hypercalls ---- */

/* Instructions that store rdx to (rdi). */
static const struct {
    uint8_t code[16];
    uint8_t length;
} store_form[] = {
    {{0x48, 0x89, 0x17}, 3},             /* mov */
    {{0x48, 0x87, 0x17}, 3},             /* xchg */
    {{0xf0, 0x48, 0x0f, 0xb1, 0x17}, 5}, /* lock cmpxchg; rax is what is there */
    {{0x89, 0x17}, 2},                   /* mov, 32 bits */
    {{0x48, 0x21, 0x17}, 3},             /* and */
    {{0x48, 0x0f, 0xba, 0x37, 0x01}, 5}, /* btr 1: the writable bit */
};

static uint64_t stored(unsigned form, uint64_t old, uint64_t value)
{
    return form == 3   ? (old & ~0xffffffffUL) | (value & 0xffffffff)
           : form == 4 ? old & value
           : form == 5 ? old & ~X86_PTE_RW
                       : value;
}

/* The page tables name mfn, too, not only a translation from before that is still owed a flush. */
static bool maps(const struct vcpu *v, vaddr_t va, mfn_t mfn)
{
    uint64_t entry = frame_to_mfn(v->pv.l4) << PAGE_SHIFT | X86_PTE_P;
    for (unsigned level = 4; level && (entry & X86_PTE_P); level--) {
        entry = ((const uint64_t *)mfn_to_virt(PTE_MFN(entry)))[PT_INDEX(va, level)];
    }
    return (entry & X86_PTE_P) && PTE_MFN(entry) == mfn;
}

static void store(struct vcpu *v, struct actor *a, const struct step *s)
{
    vaddr_t va = (vaddr_t)s->arg[0] & ~7UL;
    uint64_t value = (ref_mfn(s->arg[1]) << PAGE_SHIFT & X86_PTE_ADDR) | (uint64_t)s->arg[2];
    struct cpu_user_regs *regs = guest_regs();
    mfn_t mfn;
    if (host_tlb_use(va, true, &mfn)) {
        memcpy((uint8_t *)mfn_to_virt(mfn) + (va & ~PAGE_MASK), &value, sizeof(value));
        return;
    }
    bool present = host_tlb_use(va, false, &mfn);
    unsigned form = (unsigned)s->arg[3] % ARRAY_SIZE(store_form);
    (void)actor_put(a, store_form[form].code, sizeof(store_form[form].code), &regs->rip);
    regs->rdi = va;
    regs->rdx = value;
    regs->rax = 0;
    if (present) {
        memcpy(&regs->rax, (uint8_t *)mfn_to_virt(mfn) + (va & ~PAGE_MASK), 8);
    }
    regs->entry_vector = TRAP_PF;
    regs->error_code = PF_W | PF_U | (present ? PF_P : 0);
    host_fetch_reset();
    vaddr_t code = regs->rip;
    uint64_t old = regs->rax;
    present = present && maps(v, va, mfn);
    upcall_guest_trap(regs, va);
    if (present && regs->rip == code + store_form[form].length && !race_used) {
        check_entry(mfn, (va & ~PAGE_MASK) / 8, stored(form, old, value), 0);
    }
}

static void to_user(struct vcpu *v, struct actor *a)
{
    const uint64_t frame[] = {0, 0, 0, 0, HANDLER_RIP, 0xe033, X86_EFLAGS_IF, 0, 0xe02b};
    if (!v->pv.l4_user) {
        return;
    }
    (void)actor_put(a, frame, sizeof(frame), &guest_regs()->rsp);
    guest_regs()->rax = __HYPERVISOR_iret;
    hypercall_from_regs(guest_regs());
}

static void write_grant(const struct step *s)
{
    const struct model_dom *m = &world[s->dom];
    if (!m->grants || !m->alive) {
        return;
    }
    grant_entry_v1_t *e = mfn_to_virt(m->grants);
    e += (uint64_t)s->arg[0] % (PAGE_SIZE / sizeof(*e));
    e->frame = (uint32_t)ref_mfn(s->arg[2]);
    e->domid = s->arg[1] >= 0 && s->arg[1] < MODEL_DOMS ? world[s->arg[1]].id : 99;
    e->flags = (uint16_t)((e->flags & (GTF_reading | GTF_writing)) | (uint16_t)s->arg[3]);
}

static void ldt_fault(struct vcpu *v, const struct step *s)
{
    struct cpu_user_regs *regs = guest_regs();
    (void)v;
    regs->rip = CALL_RIP;
    regs->entry_vector = TRAP_PF;
    regs->error_code = 0;
    upcall_guest_trap(regs, PERCPU_START + (vaddr_t)arch_cpu_id() * PERCPU_STRIDE + PERCPU_LDT +
                                ((uint64_t)s->arg[0] % LDT_PAGES) * PAGE_SIZE);
}

/* True: done here. */
static bool play_directly(struct vcpu *v, struct actor *a, const struct step *s)
{
    mfn_t mfn;
    switch (s->op) {
    case STEP_touch:
        (void)host_tlb_use((vaddr_t)s->arg[0], s->arg[1] & 1, &mfn);
        return true;
    case STEP_use:
        host_tlb_use_all(s->arg[0] & 1);
        return true;
    case STEP_store:
        store(v, a, s);
        return true;
    case STEP_user:
        to_user(v, a);
        return true;
    case STEP_grant:
        write_grant(s);
        return true;
    case STEP_ldtfault:
        ldt_fault(v, s);
        return true;
    case STEP_resume:
        return true; /* by entering */
    default:
        return false;
    }
}

/* ---- hypercalls ---- */

static struct {
    unsigned dom, vcpu, left;
    bool open;
    struct step how;
} batch;

static void run_batch(void)
{
    batch.open = false;
    struct actor *a = &world[batch.dom].actor[batch.vcpu];
    /* The steps were kept; their arguments are made now that it is the vCPU's turn. */
    struct step kept[CALLS_MAX];
    unsigned n = a->calls;
    memcpy(kept, a->step, sizeof(kept));
    a->calls = 0;
    struct vcpu *v = enter(batch.dom, batch.vcpu);
    if (!v || n == 0) {
        return;
    }
    struct call *entries = &a->call[CALLS_MAX - 1];
    vaddr_t va;
    entries->out = actor_put(a, NULL, n * sizeof(struct multicall_entry), &va);
    struct multicall_entry *entry = entries->out;
    for (unsigned i = 0; i < n; i++) {
        if (!call_build(&kept[i], a, &a->call[a->calls])) {
            continue;
        }
        const struct call *c = &a->call[a->calls];
        entry[a->calls].op = c->nr;
        memcpy(entry[a->calls].args, c->arg, sizeof(c->arg));
        a->step[a->calls++] = kept[i];
    }
    a->multicall = true;
    preempt_every(batch.how.preempt);
    call_now(v, a, &(struct call){.nr = __HYPERVISOR_multicall, .arg = {va, a->calls}}, &batch.how);
}

/* Steps in which the control domain acts on another. */
static bool by_control(const struct step *s)
{
    return s->op == STEP_destroy || s->op == STEP_maxmem || s->op == STEP_context ||
           s->op == STEP_resource || s->op == STEP_stubs;
}

/* True: the step is part of a multicall. */
static bool collected(const struct step *s)
{
    if (!batch.open) {
        return false;
    }
    bool call = s->op <= STEP_info && !by_control(s) && s->op != STEP_create &&
                s->op != STEP_grant && s->op != STEP_ldtfault && s->op != STEP_touch &&
                s->op != STEP_use && s->op != STEP_store && s->op != STEP_user;
    if (!call || s->dom != batch.dom || s->vcpu != batch.vcpu) {
        run_batch();
        return false;
    }
    struct actor *a = &world[batch.dom].actor[batch.vcpu];
    a->step[a->calls++] = *s;
    if (--batch.left == 0) {
        run_batch();
    }
    return true;
}

static void open_batch(const struct step *s)
{
    if (enter(s->dom, s->vcpu)) {
        batch.dom = s->dom;
        batch.vcpu = s->vcpu;
        batch.left = 1 + (unsigned)s->arg[0] % (CALLS_MAX - 2);
        batch.how = *s;
        batch.open = true;
        world[s->dom].actor[s->vcpu].calls = 0;
    }
}

static void play_call(const struct step *s)
{
    unsigned dom = by_control(s) ? 0 : s->dom, vcpu = by_control(s) ? 0 : s->vcpu;
    struct vcpu *v = enter(dom, vcpu);
    struct actor *a = &world[dom].actor[vcpu];
    if (!v || (by_control(s) && s->dom && !world[s->dom].d)) {
        return;
    }
    if (s->dom && s->op == STEP_destroy) {
        world[s->dom].dying = true;
        switch_out(world[s->dom].d, NULL);
    } else if (s->dom && s->op == STEP_context && (uint64_t)s->arg[0] < MODEL_VCPUS) {
        switch_out(world[s->dom].d, vcpu_of(s->dom, (unsigned)s->arg[0]));
    }
    host_play(v->sched.pcpu);
    if (play_directly(v, a, s) || !call_build(s, a, &a->call[0])) {
        return;
    }
    a->step[0] = *s;
    a->calls = 1;
    a->multicall = false;
    preempt_every(s->preempt);
    call_now(v, a, &a->call[0], s);
}

/* ---- races ---- */

static struct {
    unsigned nth;
    unsigned steps; /* 1: the step for the other pcpu is to come, 2: the one it disturbs */
    struct step step;
} race;

static bool raced(const struct step *s);

void world_play(const struct step *s)
{
    if (raced(s) || collected(s)) {
        return;
    }
    switch (s->op) {
    case STEP_race:
        race.nth = 1 + (unsigned)s->arg[0] % 64;
        race.steps = 1;
        break;
    case STEP_create:
        create(s->dom, s->preempt);
        break;
    case STEP_multi:
        open_batch(s);
        break;
    case STEP_idle:
        if (world[s->dom].alive) {
            switch_out(world[s->dom].d, vcpu_of(s->dom, s->vcpu));
        }
        break;
    case STEP_touch:
    case STEP_use:
        /* In user mode these happen there. */
        if (actor_usable(s->dom, s->vcpu) && world[s->dom].actor[s->vcpu].set_up &&
            !world[s->dom].actor[s->vcpu].busy) {
            struct vcpu *v = vcpu_of(s->dom, s->vcpu);
            host_play(v->sched.pcpu);
            switch_to(v);
            exit_work(v, false);
            (void)play_directly(v, NULL, s);
        }
        break;
    default:
        play_call(s);
        break;
    }
    preempt_every(0);
    spin_assert_none_held();
}

/* ---- what happens in a race ---- */

/* The other pcpu's turn. */
static void race_now(void)
{
    struct host_machine kept = {.fault_in_alloc = host.fault_in_alloc,
                                .fault_in_access = host.fault_in_access};
    unsigned cpu = arch_cpu_id(), period = preempt_period, questions = preempt_questions;
    host.fault_in_alloc = host.fault_in_access = 0;
    in_race = true;
    play_call(&race.step);
    in_race = false;
    host.fault_in_alloc = kept.fault_in_alloc;
    host.fault_in_access = kept.fault_in_access;
    host_fetch_reset();
    preempt_period = period;
    preempt_questions = questions;
    host_play(cpu);
}

static unsigned pcpu_of(const struct step *s)
{
    unsigned dom = by_control(s) ? 0 : s->dom, vcpu = by_control(s) ? 0 : s->vcpu;
    return actor_usable(dom, vcpu) ? vcpu_of(dom, vcpu)->sched.pcpu : MODEL_CPUS;
}

/* Steps that are a call by one vCPU. */
static bool is_call(const struct step *s)
{
    return s->op != STEP_create && s->op != STEP_multi && s->op != STEP_idle &&
           s->op != STEP_race && s->op != STEP_touch && s->op != STEP_use;
}

static bool can_race(const struct step *inner, const struct step *outer)
{
    unsigned cpu = pcpu_of(inner), other = pcpu_of(outer);
    /* These wait until the domain's vCPUs have stopped. */
    bool stops = inner->op == STEP_destroy || inner->op == STEP_context ||
                 outer->op == STEP_destroy || outer->op == STEP_context;
    bool ends = stops && inner->dom == outer->dom;
    return is_call(inner) && is_call(outer) && !ends && cpu != other && cpu < MODEL_CPUS &&
           other < MODEL_CPUS && !world[outer->dom].actor[outer->vcpu].busy;
}

/* True: the step was part of a race. */
static bool raced(const struct step *s)
{
    if (race.steps == 1) {
        race.step = *s;
        race.step.lazy = 0;
        race.steps = 2;
        return true;
    }
    if (race.steps == 0) {
        return false;
    }
    race.steps = 0;
    if (!can_race(&race.step, s)) {
        world_play(&race.step);
        world_play(s);
        return true;
    }
    race_used = true;
    race_at(race.nth, race_now);
    world_play(s);
    bool missed = race_pending();
    race_at(0, NULL);
    race_used = false;
    if (missed) {
        world_play(&race.step);
    }
    return true;
}

static void kill(struct domain *d)
{
    long rc;
    switch_out(d, NULL);
    host_play(0);
    switch_to(vcpu_idle(0));
    do {
        (void)deferred_take();
        (void)page_type_finish_deferred(current_vcpu());
        rc = domain_kill(d);
    } while (rc == -ERESTART);
}

void world_end(void)
{
    if (batch.open) {
        run_batch();
    }
    for (unsigned vcpu = 0; vcpu < MODEL_VCPUS; vcpu++) {
        (void)enter(0, vcpu);
    }
    for (unsigned dom = MODEL_DOMS; dom-- > 0;) {
        if (world[dom].d) {
            struct domain *d = world[dom].d;
            world[dom].alive = world[dom].dying = false;
            world[dom].d = NULL;
            kill(d);
            if (dom) {
                oracle_check();
            }
        }
    }
    if (frame_free_count() != frames_at_start) {
        model_fail("lost", "%ld frames are lost", (long)(frames_at_start - frame_free_count()));
    }
}
