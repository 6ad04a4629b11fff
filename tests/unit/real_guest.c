// SPDX-License-Identifier: MIT
/* See real_guest.h. What the machine code calls is wrapped: it works on the fake machine's
 * registers of the guest. */
#include "real_guest.h"

#include <stdlib.h>
#include <string.h>

#include "core/frame.h"

extern const uint8_t syscall_stub[], syscall_compat_stub[];

struct domain *guest[2];
struct vcpu *vcpu[2];
vaddr_t area;
static struct frame *user_tables[2];
static uint64_t lowest;

/* ---- what entry.S and trap_entry.c call ---- */

uint32_t tlb_clock = 5;
uint32_t last_flush;
char called[200];
unsigned interrupts;
bool isolated;             /* with PATCH_XPTI */
#define GUEST_ONLY 0x800UL /* of CR3: the tables without the hypervisor */

void irq_dispatch(unsigned vector);
void smp_stop_check(uint64_t rip);
noreturn void panic_regs(const struct cpu_user_regs *regs, const char *why);
maddr_t exit_page_tables(void);

void tables_update(void)
{
    const struct vcpu *v = current_vcpu();
    uint64_t *tables = &INFO_FIELD(uint64_t, CPU_INFO_TABLES);
    tables[false] = v->pv.l4_user ? frame_to_mfn(v->pv.l4_user) << PAGE_SHIFT : 0;
    tables[true] = frame_to_mfn(v->pv.l4) << PAGE_SHIFT;
    INFO_FIELD(uint64_t, CPU_INFO_CR3) = tables[v->pv.kernel_mode];
}

static void c_begin(const char *name)
{
    strncat(called, name, sizeof(called) - strlen(called) - 1);
    CU_ASSERT_EQUAL(real_run.cr3, INFO_FIELD(uint64_t, CPU_INFO_CR3));
    host_regs[REAL] = *INFO_REGS;
}

bool crashed(const struct domain *d)
{
    return d->shutdown_code != DOMAIN_NO_CODE || d->vcpu[0]->sched.pause_bits;
}

/* On the way out the guest crashed, and the pcpu has nothing else to do. */
static jmp_buf plain_idle;
static void idle(void)
{
    if (host_cpu == REAL) {
        real_stop();
    }
    longjmp(plain_idle, 1);
}

static void c_end(void)
{
    if (crashed(guest[REAL])) {
        real_stop();
    }
    *INFO_REGS = host_regs[REAL];
    tables_update();
    real_run.cr3 = INFO_FIELD(uint64_t, CPU_INFO_CR3);
    real_resume();
}

#define WRAP(result, name, parameters, ...)                                                        \
    result __real_##name parameters;                                                               \
    result __wrap_##name parameters;                                                               \
    result __wrap_##name parameters

WRAP(void, upcall_syscall, (struct cpu_user_regs * regs))
{
    CU_ASSERT_PTR_EQUAL(regs, INFO_REGS);
    c_begin("syscall ");
    __real_upcall_syscall(guest_regs());
    c_end();
}

WRAP(bool, upcall_hypercall, (struct cpu_user_regs * regs, struct vcpu *v))
{
    CU_ASSERT_PTR_EQUAL(regs, INFO_REGS);
    c_begin("hypercall ");
    bool plain = __real_upcall_hypercall(guest_regs(), v);
    c_end();
    return plain;
}

WRAP(long, upcall_event_send, (struct vcpu * v, uint32_t port))
{
    c_begin("send ");
    long rc = __real_upcall_event_send(v, port);
    c_end();
    return rc;
}

WRAP(void, upcall_guest_trap, (struct cpu_user_regs * regs, vaddr_t cr2))
{
    CU_ASSERT_PTR_EQUAL(regs, INFO_REGS);
    c_begin("trap ");
    __real_upcall_guest_trap(guest_regs(), cr2);
    c_end();
}

WRAP(void, upcall_enter, (void))
{
    c_begin("enter ");
    __real_upcall_enter();
    c_end();
}

WRAP(void, upcall_failsafe, (void))
{
    c_begin("failsafe ");
    __real_upcall_failsafe();
    c_end();
}

WRAP(void, upcall_exit, (void))
{
    c_begin("exit ");
    __real_upcall_exit();
    c_end();
}

void irq_dispatch(unsigned vector)
{
    CU_ASSERT_EQUAL(vector, 0x51);
    interrupts++;
    real_resume();
}

void smp_stop_check(uint64_t rip)
{
    (void)rip;
    real_resume();
}

void panic_regs(const struct cpu_user_regs *regs, const char *why)
{
    (void)regs, (void)why;
    strcat(called, "panic ");
    for (;;) {
        real_stop();
    }
}

maddr_t exit_page_tables(void)
{
    real_resume();
    return INFO_FIELD(uint64_t, CPU_INFO_CR3) | GUEST_ONLY;
}

/* ---- a guest for each way ---- */

uint64_t real_guest_init(void)
{
    real_init();
    uint8_t *page = (uint8_t *)(REAL_BLOCK + PERCPU_STUB);
    syscall_stub_write(page, (vaddr_t)page);
    return lowest = short_lowest;
}

void begin(void)
{
    host_guest_reset();
    area = ROUND_UP(host_guest_alloc(AREA_BYTES + PAGE_SIZE), PAGE_SIZE);
    for (unsigned way = REAL; way <= PLAIN; way++) {
        host_play(way);
        guest[way] = suite_domain((domid_t)(way + 1), 1);
        vcpu[way] = guest[way]->vcpu[0];
        CU_ASSERT_PTR_EQUAL_FATAL(host_exit_path(), vcpu[way]);
        for (unsigned user = 0; user < 2; user++) {
            struct frame *f = frame_alloc_domain(guest[way], 0, 64);
            CU_ASSERT_PTR_NOT_NULL_FATAL(f);
            *(user ? &user_tables[way] : &vcpu[way]->pv.l4) = f;
        }
    }
    host.on_idle = idle;
    short_lowest = area + 0x100; /* a guest kernel's half is out of a program's reach */
    INFO_FIELD(struct vcpu *, CPU_INFO_CURRENT) = vcpu[REAL];
    INFO_FIELD(uint32_t *, CPU_INFO_LAST_FLUSH) = &last_flush;
    INFO_FIELD(uint16_t, CPU_INFO_VERW) = 0x2b;
    INFO_FIELD(uint32_t, CPU_INFO_CURRENT + 8) = 0;
}

void finish(void)
{
    real_unpatch();
    short_lowest = lowest;
    for (unsigned way = REAL; way <= PLAIN; way++) {
        host_play(way);
        vcpu[way]->pv.l4 = vcpu[way]->pv.l4_user = NULL;
        sched_pause(vcpu[way], PAUSE_DOWN);
        host_exit_path();
    }
    host_play(0);
    for (unsigned way = REAL; way <= PLAIN; way++) {
        suite_destroy(guest[way]);
    }
}

void prepare(unsigned way, const struct state *s)
{
    struct vcpu *v = vcpu[way];
    host_play(way);
    host_fetch_reset();
    CU_ASSERT_PTR_EQUAL_FATAL(current_vcpu(), v);
    v->pv.kernel_mode = s->kernel;
    v->pv.kernel_sp = s->kernel_sp;
    v->pv.kernel_ss = SEL_GUEST_DS;
    v->pv.shown_iopl = s->shown_iopl;
    v->pv.syscall = s->syscall;
    v->pv.syscall32 = s->syscall32;
    v->pv.event = v->pv.failsafe = (struct pv_callback){HANDLER + 0xe0, true};
    v->pv.failsafe_pending = false;
    memset(v->pv.trap, 0, sizeof(v->pv.trap));
    v->pv.trap[s->vector & 0xff] = s->trap;
    v->pv.l4_user = s->user_tables ? user_tables[way] : NULL;
    v->info->evtchn_upcall_mask = s->masked;
    v->info->evtchn_upcall_pending = s->pending;
    v->info->arch.cr2 = 0x11;
    host.gs_base_kernel = 0x1000;
    host.gs_base_user = 0x2000;
    memset((void *)area, 0xa5, AREA_BYTES);
    memcpy((void *)area, &s->code, sizeof(s->code));
    if (s->regs.rsp >= area && s->regs.rsp <= area + AREA_BYTES - sizeof(s->frame)) {
        memcpy((void *)s->regs.rsp, s->frame, sizeof(s->frame));
    }
}

void look(unsigned way, struct outcome *out)
{
    out->pv = vcpu[way]->pv;
    out->mask = vcpu[way]->info->evtchn_upcall_mask;
    out->pending = vcpu[way]->info->evtchn_upcall_pending;
    out->cr2 = vcpu[way]->info->arch.cr2;
    out->gs_base = host.gs_base_kernel;
    out->crashed = crashed(guest[way]);
    memcpy(out->memory, (void *)area, AREA_BYTES);
}

/* ---- the way through machine code ---- */

vaddr_t push_frame(vaddr_t top, unsigned vector, const struct cpu_user_regs *regs)
{
    uint64_t *sp = (uint64_t *)top;
    *--sp = regs->ss;
    *--sp = regs->rsp;
    *--sp = regs->rflags;
    *--sp = regs->cs;
    *--sp = regs->rip;
    if (HAS_ERROR(vector)) {
        *--sp = regs->error_code;
    }
    return (vaddr_t)sp;
}

static void go(const struct state *s)
{
    real_run.regs = s->regs;
    real_run.cr2 = s->cr2;
    real_run.access_flag = s->vector != VECTOR_SYSCALL && (s->regs.rflags & X86_EFLAGS_AC);
    real_run.any_stack = s->vector == TRAP_DB;
    real_run.fault_in_guest = s->fault;
    called[0] = '\0';
    memset(INFO_REGS, 0x5a, sizeof(*INFO_REGS));
    tables_update();
    real_run.cr3 = INFO_FIELD(uint64_t, CPU_INFO_CR3) | (isolated ? GUEST_ONLY : 0);
    if (s->vector == VECTOR_SYSCALL) {
        /* SYSCALL leaves the guest's stack pointer. */
        uint64_t offset = s->compat ? (uint64_t)(syscall_compat_stub - syscall_stub) : 0;
        real_run.regs.rflags = X86_EFLAGS_FIXED;
        real_go(REAL_BLOCK + PERCPU_STUB + offset, s->regs.rsp);
    } else {
        vaddr_t top = s->vector == TRAP_DB ? REAL_BLOCK + PERCPU_IST_TOP(4) : INFO + REGS_ES;
        real_go((vaddr_t)trap_stubs[s->vector], push_frame(top, s->vector, &s->regs));
    }
}

void run_real(const struct state *s, struct outcome *out)
{
    prepare(REAL, s);
    go(s);
    if (real_run.swaps & 1) {
        arch_swap_gs();
    }
    look(REAL, out);
    out->regs = real_run.regs;
    out->by_sysret = real_run.end == REAL_SYSRET;
    CU_ASSERT_EQUAL(real_run.end == REAL_STOPPED, out->crashed);
    if (!out->crashed) {
        const uint64_t *tables = &INFO_FIELD(uint64_t, CPU_INFO_TABLES);
        CU_ASSERT_EQUAL(INFO_FIELD(uint64_t, CPU_INFO_CR3), tables[out->pv.kernel_mode]);
        CU_ASSERT_EQUAL(real_run.cr3, tables[out->pv.kernel_mode] | (isolated ? GUEST_ONLY : 0));
    }
}

/* ---- and without it ---- */

void run_plain(const struct state *s, struct outcome *out)
{
    prepare(PLAIN, s);
    struct cpu_user_regs *regs = guest_regs();
    *regs = s->regs;
    regs->entry_vector = s->vector;
    if (s->vector == VECTOR_SYSCALL) {
        regs->cs = s->compat ? SEL_GUEST_CS32 : SEL_GUEST_CS64;
        regs->ss = SEL_GUEST_DS;
        regs->rip = regs->rcx;
        regs->rflags = regs->r11;
        __real_upcall_syscall(regs);
    } else {
        __real_upcall_guest_trap(regs, s->cr2);
    }
    if (!crashed(guest[PLAIN]) && !setjmp(plain_idle)) {
        __real_upcall_exit();
    }
    look(PLAIN, out);
    out->regs = *regs;
    out->by_sysret = regs->entry_vector == VECTOR_SYSCALL;
    if (out->by_sysret) {
        out->regs.rcx = regs->rip;
        out->regs.r11 = regs->rflags;
        out->regs.rflags = (regs->rflags & REAL_SYSRET_FLAGS) | X86_EFLAGS_FIXED;
    }
}

/* ---- are they the same? ---- */

static bool same_pv(const struct pv_vcpu *a, const struct pv_vcpu *b)
{
    return !memcmp(a->trap, b->trap, sizeof(a->trap)) && a->kernel_mode == b->kernel_mode &&
           a->kernel_ss == b->kernel_ss && a->kernel_sp == b->kernel_sp &&
           a->shown_iopl == b->shown_iopl && a->failsafe_pending == b->failsafe_pending;
}

static bool same_regs(const struct outcome *real, const struct outcome *plain)
{
    struct cpu_user_regs a = real->regs, b = plain->regs;
    const uint64_t *frame = (const uint64_t *)b.rsp;
    if (real->by_sysret && !plain->by_sysret) {
        /* A handler finds rcx and r11 in its frame. */
        CU_ASSERT(frame[0] == b.rcx && frame[1] == b.r11);
        a.rcx = b.rcx;
        a.r11 = b.r11;
    }
    return !memcmp(&a, &b, offsetof(struct cpu_user_regs, error_code)) && a.rip == b.rip &&
           a.cs == b.cs && a.rflags == b.rflags && a.rsp == b.rsp && a.ss == b.ss;
}

/* Everything of it but what a frame that could not be written left below. */
static bool same_memory(const struct outcome *real, const struct outcome *plain)
{
    return real->crashed || !memcmp(real->memory, plain->memory, AREA_BYTES);
}

bool same(const struct state *s, way_fn *real_way, way_fn *plain_way)
{
    static struct outcome real, plain;
    real_way(s, &real);
    plain_way(s, &plain);
    const struct {
        bool same;
        const char *what;
    } parts[] = {{real.crashed == plain.crashed, "end"},
                 {same_pv(&real.pv, &plain.pv), "state"},
                 {real.mask == plain.mask, "mask"},
                 {real.pending == plain.pending, "pending"},
                 {real.cr2 == plain.cr2, "cr2"},
                 {real.gs_base == plain.gs_base, "GS base"},
                 {real.crashed || same_regs(&real, &plain), "registers"},
                 {same_memory(&real, &plain), "memory"}};
    bool equal = true;
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        if (!parts[i].same) {
            fprintf(stderr, "not the same: %s\n", parts[i].what);
            equal = false;
        }
    }
    CU_ASSERT_TRUE(equal);
    return equal;
}

bool compare(const struct state *s)
{
    return same(s, run_real, run_plain);
}

/* As before, and it calls these of C, in this order. */
void check(const struct state *s, const char *calls)
{
    CU_ASSERT_TRUE(compare(s));
    CU_ASSERT_STRING_EQUAL(called, calls);
    if (strcmp(called, calls)) {
        fprintf(stderr, "called: %s, not: %s\n", called, calls);
    }
}

/* ---- guests ---- */

uint64_t seed = 1;
uint64_t number(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1d;
}

/* In kernel mode, at an exception or hypercall. */
struct state plain_state(unsigned vector)
{
    struct state s = {
        .vector = vector,
        .kernel = true,
        .user_tables = true,
        .kernel_sp = area + AREA_BYTES - 0x40,
        .syscall = {HANDLER, true},
        .syscall32 = {HANDLER + 0x32, true},
        .trap = {(uint8_t)vector, 4, SEL_GUEST_CS64, HANDLER + 0x100},
        .cr2 = 0xffff888012345678,
        .code = 0x90900b0f,
    };
    uint64_t *gprs = (uint64_t *)&s.regs;
    for (unsigned i = 0; i < offsetof(struct cpu_user_regs, error_code) / 8; i++) {
        gprs[i] = number() | 1UL << 63;
    }
    s.regs.rip = vector == TRAP_UD ? area : HANDLER + 0x4567;
    s.regs.cs = SEL_GUEST_CS64;
    s.regs.ss = SEL_GUEST_DS;
    s.regs.rsp = area + PAGE_SIZE - 0x230;
    s.regs.rflags = X86_EFLAGS_IF | X86_EFLAGS_FIXED | 0x45;
    if (vector == VECTOR_SYSCALL) {
        s.regs.rcx = s.regs.rip;
        s.regs.r11 = s.regs.rflags;
    }
    return s;
}

struct state hypercall(uint64_t nr, uint64_t a0, uint64_t a1)
{
    struct state s = plain_state(VECTOR_SYSCALL);
    s.regs.rax = nr;
    s.regs.rdi = a0;
    s.regs.rsi = a1;
    return s;
}

struct state iret_to(bool user)
{
    struct state s = hypercall(__HYPERVISOR_iret, 0, 0);
    const uint64_t frame[] = {number(), /* rax, r11, rcx, flags */
                              number(),
                              number(),
                              0,
                              user ? 0x401000 : HANDLER + 0x40,
                              user ? SEL_GUEST_CS64 : SEL_GUEST_CS64 & ~3,
                              X86_EFLAGS_IF | X86_EFLAGS_FIXED | 0x41,
                              user ? 0x7ffffffde000 : area + 0x700,
                              SEL_GUEST_DS};
    memcpy(s.frame, frame, sizeof(frame));
    return s;
}
