// SPDX-License-Identifier: MIT
/* VCPUOP_*: every operation with its errors, the areas a guest registers, bringing vCPUs up and
 * down, the timers of a vCPU. */
#include "suite.h"

#include "core/frame.h"
#include "core/hooks.h"

static struct domain *dom0, *d;
static struct vcpu *v0, *v1;

static void begin(void)
{
    dom0 = suite_control();
    d = suite_domain(11, 3);
    v0 = d->vcpu[0];
    v1 = d->vcpu[1];
    suite_enter(v0);
}

static void end(void)
{
    suite_destroy(d);
    suite_destroy(dom0);
}

static long op(unsigned cmd, uint64_t id, const void *arg, size_t bytes)
{
    return suite_call(24, cmd, id, bytes ? host_guest_put(arg, bytes) : HOST_BAD_ADDR);
}
#define OP_CALL(cmd, id, arg) op(cmd, id, &(arg), sizeof(arg))
#define OP_PLAIN(cmd, id) op(cmd, id, NULL, 0)

static struct frame *page(void)
{
    struct frame *f = frame_alloc_domain(d, 0, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    return f;
}

/* A context that can be loaded: an empty L4 of the domain, everything else zero. */
static struct vcpu_guest_context *context(void)
{
    static struct vcpu_guest_context c;
    memset(&c, 0, sizeof(c));
    c.flags = VGCF_in_kernel;
    c.user_regs.rip = 0xffffffff81000000;
    c.user_regs.cs = 0x10;
    c.user_regs.ss = 0x18;
    c.ctrlreg[3] = xen_pfn_to_cr3(frame_to_mfn(page()));
    return &c;
}

/* ---- initialise, up, down ---- */

static void test_vcpuop_initialise__success_then_up(void)
{
    begin();
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_up, 1), -EINVAL);
    struct vcpu_guest_context *c = context();
    CU_ASSERT_EQUAL(op(VCPUOP_initialise, 1, c, sizeof(*c)), 0);
    CU_ASSERT_TRUE(v1->initialised);
    CU_ASSERT_EQUAL(v1->regs.rip, 0xffffffff81000000);
    CU_ASSERT_EQUAL(v1->regs.cs, 0x13);
    CU_ASSERT_EQUAL(op(VCPUOP_initialise, 1, c, sizeof(*c)), -EEXIST);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_is_up, 1), 0);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_up, 1), 0);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_up, 1), 0);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_is_up, 1), 1);
    CU_ASSERT_EQUAL(v1->sched.pause_bits, 0);
    end();
}

static void test_vcpuop_initialise__bad_contexts_change_nothing(void)
{
    begin();
    uint64_t frames = frame_free_count();
    struct vcpu_guest_context *c = context();
    c->user_regs.rip = 0xffff800000000000; /* ours */
    CU_ASSERT_EQUAL(op(VCPUOP_initialise, 1, c, sizeof(*c)), -EINVAL);
    c->user_regs.rip = 0;
    c->ctrlreg[3] = xen_pfn_to_cr3(HOST_FRAMES + 5);
    CU_ASSERT_TRUE(op(VCPUOP_initialise, 1, c, sizeof(*c)) < 0);
    c->ctrlreg[3] = xen_pfn_to_cr3(3); /* reserved by the machine */
    CU_ASSERT_TRUE(op(VCPUOP_initialise, 1, c, sizeof(*c)) < 0);
    CU_ASSERT_FALSE(v1->initialised);
    CU_ASSERT_FALSE(v1->context_busy);
    CU_ASSERT_EQUAL(suite_call(24, VCPUOP_initialise, 1, HOST_BAD_ADDR), -EFAULT);
    host.fault_in_alloc = 1;
    CU_ASSERT_EQUAL(op(VCPUOP_initialise, 1, c, sizeof(*c)), -ENOMEM);
    v1->context_busy = true;
    CU_ASSERT_EQUAL(op(VCPUOP_initialise, 1, c, sizeof(*c)), -EBUSY);
    v1->context_busy = false;
    CU_ASSERT_EQUAL(frame_free_count(), frames - 1); /* the test's own L4 */
    end();
}

static void test_vcpuop_initialise__every_word_is_checked(void)
{
    begin();
    struct vcpu_guest_context *c = context();
    const uint64_t ours = HYP_VIRT_START, hole = 0x0000800000000000;
    const struct {
        void *word;
        uint64_t bad;
    } words[] = {
        {&c->user_regs.rip, hole},
        {&c->user_regs.rsp, hole},
        {&c->fs_base, hole},
        {&c->gs_base_kernel, hole},
        {&c->gs_base_user, hole},
        {&c->gdt_ents, GDT_RESERVED_FIRST + 1},
        {&c->gdt_ents, UINT64_MAX},
        {&c->ldt_ents, 8193},
        {&c->ldt_base, 0x1001},
        {&c->event_callback_eip, ours},
        {&c->failsafe_callback_eip, ours},
        {&c->syscall_callback_eip, hole},
        {&c->trap_ctxt[0].address, ours},
        {&c->trap_ctxt[255].address, hole},
        {&c->gdt_ents, 1}, /* of frame 0, which is not its */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        uint64_t good;
        memcpy(&good, words[i].word, 8);
        memcpy(words[i].word, &words[i].bad, 8);
        CU_ASSERT_EQUAL(op(VCPUOP_initialise, 1, c, sizeof(*c)), -EINVAL);
        memcpy(words[i].word, &good, 8);
    }
    c->ldt_base = HYP_VIRT_START;
    c->ldt_ents = 1;
    CU_ASSERT_EQUAL(op(VCPUOP_initialise, 1, c, sizeof(*c)), -EINVAL);
    c->ldt_ents = 0; /* nowhere, so anywhere */
    CU_ASSERT_FALSE(v1->initialised);
    CU_ASSERT_PTR_NULL(v1->pv.l4);
    CU_ASSERT_EQUAL(op(VCPUOP_initialise, 1, c, sizeof(*c)), 0);
    end();
}

static void test_vcpuop_initialise__bad_user_tables_drop_the_kernels(void)
{
    begin();
    struct vcpu_guest_context *c = context();
    const struct frame *l4 = mfn_to_frame(xen_cr3_to_pfn(c->ctrlreg[3]));
    c->ctrlreg[1] = xen_pfn_to_cr3(3) | 1;
    CU_ASSERT_EQUAL(op(VCPUOP_initialise, 1, c, sizeof(*c)), -EINVAL);
    CU_ASSERT_PTR_NULL(v1->pv.l4);
    CU_ASSERT_EQUAL(l4->type & TYPE_COUNT_MASK, 0);
    CU_ASSERT_EQUAL(frame_ref_count(l4), 1);
    end();
}

static void test_context__comes_back_as_it_was_set(void)
{
    static struct vcpu_guest_context back;
    begin();
    struct vcpu_guest_context *c = context();
    uint32_t *fpu = (uint32_t *)&c->fpu_ctxt;
    c->flags = VGCF_i387_valid | VGCF_failsafe_disables_events | VGCF_syscall_disables_events;
    c->ctrlreg[0] = X86_CR0_TS;
    c->ctrlreg[1] = xen_pfn_to_cr3(frame_to_mfn(page())) | 1;
    c->user_regs.rflags = ~0UL;
    c->gdt_ents = 513;
    c->gdt_frames[0] = frame_to_mfn(page());
    c->gdt_frames[1] = frame_to_mfn(page());
    c->ldt_base = 0x5000;
    c->ldt_ents = 8192;
    c->kernel_ss = 0xe028;
    c->kernel_sp = 0x7000;
    c->debugreg[0] = 0x1000;
    c->debugreg[1] = HYP_VIRT_START; /* left out */
    c->debugreg[7] = 1;
    c->trap_ctxt[14] = (struct trap_info){3, 4, 0xe030, 0x2000}; /* by its place */
    fpu[0] = 0x27f;
    fpu[6] = 0xffff1f80; /* MXCSR */
    c->event_callback_eip = 0x3000;
    c->vm_assist = ~0UL;
    c->fs_base = 1;
    c->gs_base_kernel = 2;
    c->gs_base_user = 3;
    CU_ASSERT_EQUAL(op(VCPUOP_initialise, 1, c, sizeof(*c)), 0);
    pv_context_get(v1, &back);
    CU_ASSERT_EQUAL(back.flags, c->flags);
    CU_ASSERT_EQUAL(back.ctrlreg[0], X86_CR0_PG | X86_CR0_WP | X86_CR0_PE | X86_CR0_TS);
    CU_ASSERT_EQUAL(back.ctrlreg[1], c->ctrlreg[1]);
    CU_ASSERT_EQUAL(back.ctrlreg[3], c->ctrlreg[3]);
    CU_ASSERT_EQUAL(back.user_regs.rflags, 0x25bfff); /* no NT, VM, VIF, VIP */
    CU_ASSERT_EQUAL(v1->regs.rflags & X86_EFLAGS_IOPL, 0);
    CU_ASSERT_EQUAL(back.user_regs.cs, 0x13); /* user mode: as it runs */
    CU_ASSERT(back.gdt_ents == 513 && !memcmp(back.gdt_frames, c->gdt_frames, 16));
    CU_ASSERT_EQUAL(back.gdt_frames[2], 0);
    CU_ASSERT(back.ldt_base == 0x5000 && back.ldt_ents == 8192);
    CU_ASSERT(back.kernel_ss == 0xe02b && back.kernel_sp == 0x7000);
    CU_ASSERT(back.debugreg[0] == 0x1000 && back.debugreg[1] == 0 && back.debugreg[7] == 0x401);
    CU_ASSERT(back.trap_ctxt[14].vector == 14 && back.trap_ctxt[14].cs == 0xe033);
    CU_ASSERT(back.trap_ctxt[14].address == 0x2000 && back.trap_ctxt[14].flags == 4);
    fpu = (uint32_t *)&back.fpu_ctxt;
    CU_ASSERT(fpu[0] == 0x27f && fpu[6] == 0x1f80);
    CU_ASSERT_EQUAL(back.event_callback_eip, 0x3000);
    CU_ASSERT(back.fs_base == 1 && back.gs_base_kernel == 2 && back.gs_base_user == 3);
    CU_ASSERT_EQUAL(back.vm_assist, 0); /* the first vCPU's sets it */
    end();
}

static void test_vcpuop_initialise__without_vcpu_info(void)
{
    begin();
    struct vcpu_guest_context *c = context();
    vcpu_info_t *info = v1->info;
    v1->info = NULL;
    CU_ASSERT_EQUAL(op(VCPUOP_initialise, 1, c, sizeof(*c)), -EINVAL);
    v1->info = info;
    end();
}

static void test_vcpuop_down__self_and_other(void)
{
    begin();
    v1->initialised = true;
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_up, 1), 0);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_down, 1), 0);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_is_up, 1), 0);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_up, 1), 0);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_down, 0), 0);
    CU_ASSERT_TRUE(v0->sched.pause_bits & PAUSE_DOWN);
    CU_ASSERT_FALSE(d->shut_down);
    suite_enter(v1);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_up, 0), 0); /* registers are still there */
    CU_ASSERT_FALSE(v0->sched.pause_bits & PAUSE_DOWN);
    end();
}

static void test_vcpuop_down__last_one_switches_the_domain_off(void)
{
    begin();
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_down, 0), 0);
    CU_ASSERT_TRUE(d->shut_down);
    CU_ASSERT_EQUAL(d->shutdown_code, SHUTDOWN_poweroff);
    end();
}

static void test_vcpuop__no_such_vcpu_or_operation(void)
{
    begin();
    for (unsigned cmd = 0; cmd < 16; cmd++) {
        CU_ASSERT_EQUAL(OP_PLAIN(cmd, 3), -ENOENT);
        CU_ASSERT_EQUAL(OP_PLAIN(cmd, MAX_VCPUS), -ENOENT);
        CU_ASSERT_EQUAL(OP_PLAIN(cmd, UINT64_MAX), -ENOENT);
    }
    CU_ASSERT_EQUAL(OP_PLAIN(12, 0), -ENOSYS);
    CU_ASSERT_EQUAL(OP_PLAIN(14, 0), -ENOSYS);
    CU_ASSERT_EQUAL(OP_PLAIN(99, 0), -ENOSYS);
    end();
}

static void test_vcpuop__bad_addresses(void)
{
    begin();
    const unsigned with_argument[] = {
        VCPUOP_get_runstate_info,  VCPUOP_register_runstate_memory_area,
        VCPUOP_set_periodic_timer, VCPUOP_set_singleshot_timer,
        VCPUOP_register_vcpu_info, VCPUOP_register_vcpu_time_memory_area,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(with_argument); i++) {
        CU_ASSERT_EQUAL(OP_PLAIN(with_argument[i], 0), -EFAULT);
    }
    end();
}

/* ---- vcpu_info ---- */

static void test_vcpuop_register_vcpu_info__moves_contents(void)
{
    begin();
    struct frame *f = page();
    struct vcpu_register_vcpu_info arg = {.mfn = frame_to_mfn(f), .offset = 192};
    vcpu_info_t *there = (vcpu_info_t *)((char *)frame_to_virt(f) + 192);
    v0->info->arch.cr2 = 0x1234;
    v0->info->evtchn_upcall_mask = 1;
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_vcpu_info, 0, arg), 0);
    CU_ASSERT_PTR_EQUAL(v0->info, there);
    CU_ASSERT_EQUAL(there->arch.cr2, 0x1234);
    CU_ASSERT_EQUAL(there->evtchn_upcall_mask, 1);
    /* Nothing may be lost: everything looks pending once. */
    CU_ASSERT_EQUAL(there->evtchn_upcall_pending, 1);
    CU_ASSERT_EQUAL(there->evtchn_pending_sel, ~0UL);
    CU_ASSERT_EQUAL(there->time.tsc_to_system_mul, arch_facts.tsc.mul);
    CU_ASSERT_EQUAL(f->count & FRAME_COUNT_MASK, 2);
    CU_ASSERT_EQUAL(f->type, TYPE_WRITABLE | 1);
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_vcpu_info, 0, arg), -EINVAL); /* once in a life */
    end();
}

static void test_vcpuop_register_vcpu_info__for_a_vcpu_that_is_down(void)
{
    begin();
    struct vcpu_register_vcpu_info arg = {.mfn = frame_to_mfn(page())};
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_vcpu_info, 1, arg), 0);
    /* But not under the feet of one that is up. */
    d->vcpu[2]->initialised = true;
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_up, 2), 0);
    arg.offset = 64;
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_vcpu_info, 2, arg), -EINVAL);
    CU_ASSERT_PTR_EQUAL(d->vcpu[2]->info, &d->shared_info->vcpu_info[2]);
    end();
}

static void test_vcpuop_register_vcpu_info__without_a_slot_before(void)
{
    begin();
    struct frame *f = page();
    memset(frame_to_virt(f), 0xaa, PAGE_SIZE);
    v1->info = NULL; /* as for ids from 32 on */
    struct vcpu_register_vcpu_info arg = {.mfn = frame_to_mfn(f), .offset = 4096 - 64};
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_vcpu_info, 1, arg), 0);
    CU_ASSERT_EQUAL(v1->info->evtchn_upcall_mask, 1);
    CU_ASSERT_EQUAL(v1->info->arch.cr2, 0);
    end();
}

static void test_vcpuop_register_vcpu_info__errors(void)
{
    begin();
    struct frame *f = page(), *foreign = frame_alloc_domain(dom0, 0, 0);
    const struct {
        uint64_t mfn;
        uint32_t offset;
        long rc;
    } bad[] = {
        {frame_to_mfn(f), 4096 - 63, -ENXIO},
        {frame_to_mfn(f), 4096, -ENXIO},
        {frame_to_mfn(f), UINT32_MAX, -ENXIO},
        {frame_to_mfn(f), UINT32_MAX - 63, -ENXIO},
        {frame_to_mfn(f), 4, -ENXIO},
        {frame_to_mfn(foreign), 0, -EINVAL},
        {HOST_FRAMES, 0, -EINVAL},
        {UINT64_MAX, 0, -EINVAL},
        {3, 0, -EINVAL},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct vcpu_register_vcpu_info arg = {.mfn = bad[i].mfn, .offset = bad[i].offset};
        CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_vcpu_info, 0, arg), bad[i].rc);
    }
    /* In use as a page table: not writable. */
    f->type = TYPE_L1 | 1;
    struct vcpu_register_vcpu_info arg = {.mfn = frame_to_mfn(f)};
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_vcpu_info, 0, arg), -EINVAL);
    f->type = TYPE_NONE;
    CU_ASSERT_EQUAL(f->count & FRAME_COUNT_MASK, 1);
    CU_ASSERT_PTR_EQUAL(v0->info, &d->shared_info->vcpu_info[0]);
    end();
}

/* ---- runstate ---- */

static void test_vcpuop_get_runstate_info__success(void)
{
    begin();
    vaddr_t va = host_guest_alloc(sizeof(vcpu_runstate_info_t));
    vcpu_runstate_info_t *r = host_guest_ptr(va);
    host_advance(NS_PER_MS);
    CU_ASSERT_EQUAL(suite_call(24, VCPUOP_get_runstate_info, 1, va), 0);
    CU_ASSERT_EQUAL(r->state, RUNSTATE_offline);
    CU_ASSERT_EQUAL(r->time[RUNSTATE_offline], NS_PER_MS);
    end();
}

static void test_vcpuop_register_runstate__written_at_once_and_on_return(void)
{
    begin();
    suite_enter(NULL);
    vaddr_t va = host_guest_alloc(sizeof(vcpu_runstate_info_t));
    vcpu_runstate_info_t *r = host_guest_ptr(va);
    struct vcpu_register_runstate_memory_area arg = {.addr.p = va};
    while (host_exit_path() != v0) {
        host_advance(NS_PER_MS);
    }
    ns_t before = host.now;
    host_advance(3 * NS_PER_MS);
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_runstate_memory_area, 0, arg), 0);
    CU_ASSERT_EQUAL(r->state, RUNSTATE_running);
    /* What it has run since it got the pcpu is for its reader to add. */
    CU_ASSERT_EQUAL(r->state_entry_time, (uint64_t)before);
    CU_ASSERT_EQUAL(r->time[RUNSTATE_running], 0);
    sched_pause(v0, PAUSE_BLOCKED);
    CU_ASSERT_PTR_NOT_EQUAL(host_exit_path(), v0);
    host_advance(7 * NS_PER_MS);
    sched_wake(v0);
    while (host_exit_path() != v0) {
        host_advance(NS_PER_MS);
    }
    CU_ASSERT_EQUAL(r->state, RUNSTATE_running);
    CU_ASSERT_EQUAL(r->time[RUNSTATE_blocked], 7 * NS_PER_MS);
    CU_ASSERT_EQUAL(r->state_entry_time, (uint64_t)host.now);
    /* The guest unmaps it: no harm. */
    v0->runstate_va = HOST_BAD_ADDR;
    vcpu_runstate_update_area(v0);
    arg.addr.p = 0;
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_runstate_memory_area, 0, arg), 0);
    CU_ASSERT_EQUAL(v0->runstate_va, 0);
    domain_pause(d);
    domain_pause(dom0);
    host_exit_path();
    end();
}

static void test_vcpuop_register_runstate__for_another_and_bad(void)
{
    begin();
    vaddr_t va = host_guest_alloc(sizeof(vcpu_runstate_info_t));
    const vcpu_runstate_info_t *r = host_guest_ptr(va);
    struct vcpu_register_runstate_memory_area arg = {.addr.p = va};
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_runstate_memory_area, 1, arg), 0);
    CU_ASSERT_EQUAL(v1->runstate_va, va);
    CU_ASSERT_EQUAL(r->state, RUNSTATE_offline);
    arg.addr.p = HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_runstate_memory_area, 1, arg), -EFAULT);
    CU_ASSERT_EQUAL(v1->runstate_va, va);
    end();
}

/* The same words as in vcpu_info, which say that they hold everywhere. */
static void test_vcpuop_register_time__same_as_the_first(void)
{
    begin();
    vaddr_t va = host_guest_alloc(sizeof(struct vcpu_time_info));
    struct vcpu_time_info first = v0->info->time, *second = host_guest_ptr(va);
    struct vcpu_register_time_memory_area arg = {.addr.p = va};
    CU_ASSERT_EQUAL(first.flags, XEN_PVCLOCK_TSC_STABLE_BIT);
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_vcpu_time_memory_area, 0, arg), 0);
    CU_ASSERT_TRUE(second->version && second->version % 2 == 0);
    first.version = second->version;
    CU_ASSERT_EQUAL(memcmp(&first, second, sizeof(first)), 0);
    arg.addr.p = HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_vcpu_time_memory_area, 0, arg), -EFAULT);
    arg.addr.p = 0;
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_register_vcpu_time_memory_area, 0, arg), 0);
    end();
}

static void test_vcpuop_register_runstate__update_flag(void)
{
    begin();
    vaddr_t va = host_guest_alloc(sizeof(vcpu_runstate_info_t));
    const vcpu_runstate_info_t *r = host_guest_ptr(va);
    v0->runstate_va = va;
    d->pv.vm_assist |= 1u << VMASST_TYPE_runstate_update_flag;
    /* Stop after the first and the second of the three writes: a reader sees the flag. */
    host.fault_in_access = 2;
    vcpu_runstate_update_area(v0);
    CU_ASSERT_TRUE((r->state_entry_time & XEN_RUNSTATE_UPDATE) != 0);
    host.fault_in_access = 3;
    vcpu_runstate_update_area(v0);
    CU_ASSERT_TRUE((r->state_entry_time & XEN_RUNSTATE_UPDATE) != 0);
    vcpu_runstate_update_area(v0);
    CU_ASSERT_TRUE((r->state_entry_time & XEN_RUNSTATE_UPDATE) == 0);
    d->pv.vm_assist = 0;
    end();
}

/* ---- timers ---- */

static uint32_t bind_timer(unsigned vcpu)
{
    struct evtchn_bind_virq arg = {.virq = VIRQ_TIMER, .vcpu = vcpu};
    vaddr_t va = host_guest_put(&arg, sizeof(arg));
    CU_ASSERT_EQUAL(suite_call(32, EVTCHNOP_bind_virq, va, 0), 0);
    return ((struct evtchn_bind_virq *)host_guest_ptr(va))->port;
}

/* Take the event, if there is one. */
static bool took(uint32_t port)
{
    v0->info->evtchn_pending_sel = 0;
    v0->info->evtchn_upcall_pending = 0;
    return test_and_clear_bit(port, d->shared_info->evtchn_pending);
}

static void test_vcpuop_set_singleshot_timer__fires_once(void)
{
    begin();
    uint32_t port = bind_timer(0);
    struct vcpu_set_singleshot_timer arg = {.timeout_abs_ns = (uint64_t)host.now + NS_PER_MS};
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_set_singleshot_timer, 0, arg), 0);
    host_advance(NS_PER_MS - 1);
    timer_run();
    CU_ASSERT_FALSE(took(port));
    host_advance(1);
    timer_run();
    CU_ASSERT_TRUE(took(port));
    host_advance(NS_PER_SEC);
    timer_run();
    CU_ASSERT_FALSE(took(port));
    end();
}

static void test_vcpuop_set_singleshot_timer__past_zero_and_absurd(void)
{
    begin();
    uint32_t port = bind_timer(0);
    /* ABI: Linux stops if this ever fails; a past deadline fires at once. */
    const uint64_t past[] = {0, 1, (uint64_t)host.now};
    for (unsigned i = 0; i < ARRAY_SIZE(past); i++) {
        struct vcpu_set_singleshot_timer arg = {.timeout_abs_ns = past[i]};
        CU_ASSERT_EQUAL(OP_CALL(VCPUOP_set_singleshot_timer, 0, arg), 0);
        timer_run();
        CU_ASSERT_TRUE(took(port));
    }
    const uint64_t never[] = {INT64_MAX, 1UL << 63, UINT64_MAX};
    for (unsigned i = 0; i < ARRAY_SIZE(never); i++) {
        struct vcpu_set_singleshot_timer arg = {.timeout_abs_ns = never[i]};
        CU_ASSERT_EQUAL(OP_CALL(VCPUOP_set_singleshot_timer, 0, arg), 0);
        host_advance(NS_PER_SEC);
        timer_run();
        CU_ASSERT_FALSE(took(port));
    }
    end();
}

static void test_vcpuop_set_singleshot_timer__future_flag_and_caller(void)
{
    begin();
    struct vcpu_set_singleshot_timer arg = {.timeout_abs_ns = (uint64_t)host.now - 1,
                                            .flags = VCPU_SSHOTTMR_future};
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_set_singleshot_timer, 0, arg), -ETIME);
    CU_ASSERT_FALSE(v0->singleshot.armed);
    arg.timeout_abs_ns = (uint64_t)host.now + 5;
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_set_singleshot_timer, 0, arg), 0);
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_set_singleshot_timer, 1, arg), -EINVAL);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_stop_singleshot_timer, 1), -EINVAL);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_stop_singleshot_timer, 0), 0);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_stop_singleshot_timer, 0), 0);
    CU_ASSERT_FALSE(v0->singleshot.armed);
    end();
}

static void test_vcpuop_set_periodic_timer__ticks_until_stopped(void)
{
    begin();
    uint32_t port = bind_timer(0);
    struct vcpu_set_periodic_timer arg = {.period_ns = 10 * NS_PER_MS};
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_set_periodic_timer, 0, arg), 0);
    for (int i = 0; i < 5; i++) {
        host_advance(10 * NS_PER_MS);
        timer_run();
        CU_ASSERT_TRUE(took(port));
        timer_run();
        CU_ASSERT_FALSE(took(port));
    }
    /* A long pause makes one tick, and the beat is kept. */
    ns_t due = v0->periodic.deadline;
    host_advance(1234 * NS_PER_MS);
    timer_run();
    CU_ASSERT_TRUE(took(port));
    timer_run();
    CU_ASSERT_FALSE(took(port));
    CU_ASSERT_EQUAL((v0->periodic.deadline - due) % (10 * NS_PER_MS), 0);
    CU_ASSERT_TRUE(v0->periodic.deadline > host.now);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_stop_periodic_timer, 0), 0);
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_stop_periodic_timer, 1), 0); /* others too */
    host_advance(NS_PER_SEC);
    timer_run();
    CU_ASSERT_FALSE(took(port));
    end();
}

static void test_vcpuop_set_periodic_timer__range(void)
{
    begin();
    const uint64_t bad[] = {0, 1, NS_PER_MS - 1, 1UL << 62, 1UL << 63, UINT64_MAX};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct vcpu_set_periodic_timer arg = {.period_ns = bad[i]};
        CU_ASSERT_EQUAL(OP_CALL(VCPUOP_set_periodic_timer, 0, arg), -EINVAL);
    }
    CU_ASSERT_FALSE(v0->periodic.armed);
    end();
}

static void test_vcpu__timer_of_a_blocked_vcpu_wakes_it(void)
{
    begin();
    (void)bind_timer(0);
    struct vcpu_set_singleshot_timer arg = {.timeout_abs_ns = (uint64_t)host.now + 5};
    CU_ASSERT_EQUAL(OP_CALL(VCPUOP_set_singleshot_timer, 0, arg), 0);
    v0->info->evtchn_upcall_mask = 0;
    sched_pause(v0, PAUSE_BLOCKED);
    host_advance(5);
    timer_run();
    CU_ASSERT_EQUAL(v0->sched.pause_bits, 0);
    end();
}

static void test_vcpuop_send_nmi__pending(void)
{
    begin();
    CU_ASSERT_EQUAL(OP_PLAIN(VCPUOP_send_nmi, 1), 0);
    CU_ASSERT_TRUE(v1->pv.nmi_pending);
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_vcpuop_initialise__success_then_up),
        CASE(test_vcpuop_initialise__bad_contexts_change_nothing),
        CASE(test_vcpuop_initialise__every_word_is_checked),
        CASE(test_vcpuop_initialise__bad_user_tables_drop_the_kernels),
        CASE(test_context__comes_back_as_it_was_set),
        CASE(test_vcpuop_initialise__without_vcpu_info),
        CASE(test_vcpuop_down__self_and_other),
        CASE(test_vcpuop_down__last_one_switches_the_domain_off),
        CASE(test_vcpuop__no_such_vcpu_or_operation),
        CASE(test_vcpuop__bad_addresses),
        CASE(test_vcpuop_register_vcpu_info__moves_contents),
        CASE(test_vcpuop_register_vcpu_info__for_a_vcpu_that_is_down),
        CASE(test_vcpuop_register_vcpu_info__without_a_slot_before),
        CASE(test_vcpuop_register_vcpu_info__errors),
        CASE(test_vcpuop_get_runstate_info__success),
        CASE(test_vcpuop_register_runstate__written_at_once_and_on_return),
        CASE(test_vcpuop_register_runstate__for_another_and_bad),
        CASE(test_vcpuop_register_runstate__update_flag),
        CASE(test_vcpuop_register_time__same_as_the_first),
        CASE(test_vcpuop_set_singleshot_timer__fires_once),
        CASE(test_vcpuop_set_singleshot_timer__past_zero_and_absurd),
        CASE(test_vcpuop_set_singleshot_timer__future_flag_and_caller),
        CASE(test_vcpuop_set_periodic_timer__ticks_until_stopped),
        CASE(test_vcpuop_set_periodic_timer__range),
        CASE(test_vcpu__timer_of_a_blocked_vcpu_wakes_it),
        CASE(test_vcpuop_send_nmi__pending),
    };
    return SUITE("vcpu", 1, cases);
}
