// SPDX-License-Identifier: MIT
/*
 * See real_code.h. A signal starts a run, by returning to the machine code instead of to where it
 * came from; the trap flag brings SIGTRAP after each instruction; instructions that need privilege
 * and accesses that fault bring SIGSEGV or SIGILL; the last of them returns to where the run was
 * started. All on a stack of its own, since the machine code changes its own.
 */
#include "real_code.h"

#include <asm/prctl.h>
#include <sanitizer/asan_interface.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "arch/layout.h"
#include "arch/x86_64/asm.h"
#include "arch/x86_bits.h"

struct real_run real_run;

/* entry.S is not in every program that uses this. */
extern const uint8_t trap_stubs[] __attribute__((weak));
extern const uint8_t jump_to_stack[] __attribute__((weak));
extern const uint8_t __x86_indirect_thunk_rsi[] __attribute__((weak));
/* Nor need there be any of these. */
extern const struct ex_entry __start___ex_table[] __attribute__((weak));
extern const struct ex_entry __stop___ex_table[] __attribute__((weak));
extern const struct code_patch __start___patches[] __attribute__((weak));
extern const struct code_patch __stop___patches[] __attribute__((weak));
#define JUMP_BYTES 16
#define THUNK_BYTES 32
#define CODE_MAX 0x4000

#define FLAG_TF 0x100UL
#define FLAG_DF 0x400UL

static uint8_t hit[CODE_MAX]; /* by distance from trap_stubs: has been executed */
static mcontext_t started_from;
static vaddr_t start_ip, start_sp;
static bool inside, window_open, patched_smap;
static uint8_t original[256][6];

/* The order of struct cpu_user_regs, in the signal's context. */
static const struct {
    size_t in_regs;
    int in_context;
} map[] = {
    {offsetof(struct cpu_user_regs, rax), REG_RAX}, {offsetof(struct cpu_user_regs, rbx), REG_RBX},
    {offsetof(struct cpu_user_regs, rcx), REG_RCX}, {offsetof(struct cpu_user_regs, rdx), REG_RDX},
    {offsetof(struct cpu_user_regs, rsi), REG_RSI}, {offsetof(struct cpu_user_regs, rdi), REG_RDI},
    {offsetof(struct cpu_user_regs, rbp), REG_RBP}, {offsetof(struct cpu_user_regs, r8), REG_R8},
    {offsetof(struct cpu_user_regs, r9), REG_R9},   {offsetof(struct cpu_user_regs, r10), REG_R10},
    {offsetof(struct cpu_user_regs, r11), REG_R11}, {offsetof(struct cpu_user_regs, r12), REG_R12},
    {offsetof(struct cpu_user_regs, r13), REG_R13}, {offsetof(struct cpu_user_regs, r14), REG_R14},
    {offsetof(struct cpu_user_regs, r15), REG_R15},
};
#define REGISTERS (sizeof(map) / sizeof(map[0]))

static uint64_t *value_of(struct cpu_user_regs *regs, unsigned i)
{
    return (uint64_t *)((char *)regs + map[i].in_regs);
}

static bool in_code(vaddr_t ip)
{
    vaddr_t thunk = (vaddr_t)__x86_indirect_thunk_rsi;
    return (ip >= (vaddr_t)trap_stubs && ip < (vaddr_t)jump_to_stack + JUMP_BYTES) ||
           (ip >= REAL_BLOCK + PERCPU_STUB && ip < REAL_BLOCK + PERCPU_TSS) ||
           (thunk && ip >= thunk && ip < thunk + THUNK_BYTES);
}

/* Where a fault at ip goes on; 0: nowhere. */
static vaddr_t fixup(vaddr_t ip)
{
    for (const struct ex_entry *e = __start___ex_table; e < __stop___ex_table; e++) {
        if (e->fault_ip == ip) {
            return e->fixup_ip;
        }
    }
    return 0;
}

/* ---- the end of a run ---- */

static void end(greg_t *gregs, enum real_end how)
{
    real_run.end = how;
    for (unsigned i = 0; i < REGISTERS; i++) {
        *value_of(&real_run.regs, i) = (uint64_t)gregs[map[i].in_context];
    }
    struct cpu_user_regs *regs = &real_run.regs;
    if (how == REAL_SYSRET) {
        regs->rip = regs->rcx;
        regs->rflags = (regs->r11 & REAL_SYSRET_FLAGS) | X86_EFLAGS_FIXED;
        regs->rsp = (uint64_t)gregs[REG_RSP];
        regs->cs = SEL_GUEST_CS64;
        regs->ss = SEL_GUEST_DS;
    } else if (how == REAL_IRET) {
        const uint64_t *frame = (const uint64_t *)gregs[REG_RSP];
        regs->rip = frame[0];
        regs->cs = (uint16_t)frame[1];
        regs->rflags = frame[2];
        regs->rsp = frame[3];
        regs->ss = (uint16_t)frame[4];
    }
    CU_ASSERT_FALSE(patched_smap && window_open && how != REAL_STOPPED);
    inside = false;
    memcpy(gregs, started_from.gregs, sizeof(started_from.gregs));
}

/* ---- instructions that need privilege ---- */

static uint64_t own_fs_base;

/* Without errno, which is thread-local. */
static void syscall_raw(long number, long first, uint64_t second)
{
    long rc;
    __asm__ volatile("syscall"
                     : "=a"(rc)
                     : "a"(number), "D"(first), "S"(second)
                     : "rcx", "r11", "memory");
}

static greg_t *operand(greg_t *gregs, uint8_t rex, uint8_t modrm)
{
    static const int by_number[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                    REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                    REG_R12, REG_R13, REG_R14, REG_R15};
    return &gregs[by_number[(modrm & 7) | (rex & 1) << 3]];
}

/* Control and debug registers. */
static bool special_register(greg_t *gregs, uint8_t rex, const uint8_t *insn)
{
    bool write = insn[1] & 2, debug = insn[1] & 1;
    unsigned number = insn[2] >> 3 & 7;
    uint64_t *const control[8] = {&real_run.cr0, NULL, &real_run.cr2, &real_run.cr3, &real_run.cr4};
    uint64_t *value = debug ? &real_run.debugreg[number] : control[number];
    if ((insn[1] & ~3) != 0x20 || !value) {
        return false;
    }
    greg_t *reg = operand(gregs, rex, insn[2]);
    if (!write) {
        *reg = (greg_t)*value;
        return true;
    }
    if (value == &real_run.cr3) {
        real_run.loads++;
        if (real_run.on_cr3) {
            real_run.on_cr3();
        }
    }
    *value = (uint64_t)*reg;
    return true;
}

/* RDMSR, WRMSR: those of segment bases. */
static bool segment_base(greg_t *gregs, bool write)
{
    uint64_t *const bases[] = {&real_run.fs_base, &real_run.gs_base, &real_run.other_gs_base};
    uint64_t number = (uint64_t)gregs[REG_RCX] - MSR_FS_BASE;
    if (number >= 3) {
        return false;
    }
    if (write) {
        *bases[number] = (uint32_t)gregs[REG_RAX] | (uint64_t)gregs[REG_RDX] << 32;
        /* A selector may have been loaded, and the program has something there itself. */
        if (number == 0) {
            syscall_raw(SYS_arch_prctl, ARCH_SET_FS, own_fs_base);
        }
    } else {
        gregs[REG_RAX] = (greg_t)(uint32_t)*bases[number];
        gregs[REG_RDX] = (greg_t)(*bases[number] >> 32);
    }
    return true;
}

/* False: not one of those that are known here. */
static bool privileged(greg_t *gregs)
{
    const uint8_t *insn = (const uint8_t *)gregs[REG_RIP];
    uint8_t rex = (insn[0] & 0xf0) == 0x40 ? *insn++ : 0;
    if (insn[0] == 0xcf || insn[0] == 0xf4) {
        end(gregs, insn[0] == 0xcf ? REAL_IRET : REAL_STOPPED);
        return true;
    }
    if (insn[0] != 0x0f) {
        return false;
    }
    if (insn[1] == 0x07) {
        end(gregs, REAL_SYSRET);
        return true;
    }
    bool two_bytes = insn[1] == 0x09 || insn[1] == 0x06 || insn[1] == 0x30 || insn[1] == 0x32;
    if (insn[1] == 0x30 || insn[1] == 0x32) {
        if (!segment_base(gregs, insn[1] == 0x30)) {
            return false;
        }
    } else if (insn[1] == 0x06) {
        real_run.cr0 &= ~8UL; /* TS */
    } else if (insn[1] == 0x01 && insn[2] == 0xd1) {
        real_run.xcr0 = (uint32_t)gregs[REG_RAX] | (uint64_t)gregs[REG_RDX] << 32;
    } else if (insn[1] == 0x01 && (insn[2] == 0xca || insn[2] == 0xcb)) {
        window_open = insn[2] == 0xcb;
        real_run.windows += window_open;
    } else if (insn[1] == 0x01 && insn[2] == 0xf8) {
        real_run.swaps++;
    } else if (insn[1] == 0x01 && (insn[2] & 0xf8) == 0x38 && (insn[2] & 7) != 4) {
        real_run.pages++; /* INVLPG with the address in a register */
        real_run.page = (vaddr_t)*operand(gregs, rex, insn[2]);
        if (real_run.on_page) {
            real_run.on_page();
        }
    } else if (insn[1] == 0x09) {
        real_run.caches++;
    } else if (!special_register(gregs, rex, insn)) {
        return false;
    }
    gregs[REG_RIP] = (greg_t)(insn + (two_bytes ? 2 : 3));
    return true;
}

/* ---- between two instructions ---- */

static bool is_verw(const uint8_t *insn)
{
    return insn[0] == 0x0f && insn[1] == 0x00 && (insn[2] >> 3 & 7) == 5;
}

/* Machine code has called C. */
static void check_call(const greg_t *gregs)
{
    vaddr_t sp = (vaddr_t)gregs[REG_RSP];
    CU_ASSERT_EQUAL(sp % 8, 0);
    CU_ASSERT_FALSE(gregs[REG_EFL] & (greg_t)FLAG_DF);
    CU_ASSERT_FALSE(patched_smap && window_open);
    CU_ASSERT(real_run.any_stack || sp < REAL_BLOCK + STACK_BYTES - 0x1000);
    for (unsigned i = 0; i < REGISTERS; i++) {
        for (unsigned j = 0; j < REGISTERS; j++) {
            uint64_t guests = *value_of(&real_run.regs, j);
            if (guests > UINT32_MAX && (uint64_t)gregs[map[i].in_context] == guests) {
                CU_FAIL("C is entered with a register of the guest's");
            }
        }
    }
}

static void step(greg_t *gregs)
{
    vaddr_t ip = (vaddr_t)gregs[REG_RIP];
    if (!in_code(ip)) {
        if (inside) {
            inside = false;
            check_call(gregs);
            gregs[REG_EFL] &= ~(greg_t)FLAG_TF;
        }
        return;
    }
    inside = true;
    real_run.steps++;
    if (ip - (vaddr_t)trap_stubs < CODE_MAX) {
        hit[ip - (vaddr_t)trap_stubs] = 1;
    }
    vaddr_t to = fixup(ip);
    if (to) {
        CU_ASSERT_TRUE(!patched_smap || window_open);
        real_run.accesses++;
        if (real_run.accesses == real_run.fault_in_guest) {
            gregs[REG_RIP] = (greg_t)to;
            step(gregs);
            return;
        }
    }
    real_run.verw |= is_verw((const uint8_t *)ip);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)info;
    greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (number == SIGUSR1) {
        memcpy(started_from.gregs, gregs, sizeof(started_from.gregs));
        for (unsigned i = 0; i < REGISTERS; i++) {
            gregs[map[i].in_context] = (greg_t)*value_of(&real_run.regs, i);
        }
        gregs[REG_RIP] = (greg_t)start_ip;
        gregs[REG_RSP] = (greg_t)start_sp;
        gregs[REG_EFL] = (greg_t)((real_run.regs.rflags & 0xcd5) | 0x202);
        if (in_code(start_ip)) { /* else it is C */
            gregs[REG_EFL] |= (greg_t)FLAG_TF;
            step(gregs);
        }
    } else if (number == SIGUSR2) {
        gregs[REG_EFL] |= (greg_t)FLAG_TF;
    } else if (number == SIGTRAP) {
        step(gregs);
    } else {
        vaddr_t ip = (vaddr_t)gregs[REG_RIP], to = fixup(ip);
        bool was_inside = inside;
        if (to) {
            real_run.faults++;
            CU_ASSERT_TRUE(!patched_smap || window_open);
            gregs[REG_RIP] = (greg_t)to;
        } else if (!privileged(gregs)) {
            fprintf(stderr, "signal %d at %#lx, rsp %#llx\n", number, ip, gregs[REG_RSP]);
            signal(number, SIG_DFL); /* ours: it comes again */
            return;
        }
        if (was_inside && inside) {
            step(gregs);
        }
    }
}

/* ---- for the tests ---- */

static void write_hits(void)
{
    const char *path = getenv("REAL_HITS");
    FILE *f = path ? fopen(path, "w") : NULL;
    for (unsigned i = 0; f && i < CODE_MAX; i++) {
        if (hit[i]) {
            fprintf(f, "%x\n", i);
        }
    }
    if (f) {
        fclose(f);
    }
}

static void make_writable(vaddr_t at)
{
    vaddr_t page = at & ~0xfffUL;
    if (mprotect((void *)page, 0x2000, PROT_READ | PROT_WRITE | PROT_EXEC)) {
        abort();
    }
}

void real_init(void)
{
    static uint8_t stack[1 << 16];
    syscall_raw(SYS_arch_prctl, ARCH_GET_FS, (uint64_t)&own_fs_base);
    void *block = mmap((void *)REAL_BLOCK, PERCPU_STRIDE, PROT_READ | PROT_WRITE | PROT_EXEC,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    stack_t alternative = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction action = {.sa_sigaction = on_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    bool bad = block != (void *)REAL_BLOCK || sigaltstack(&alternative, NULL);
    static const int signals[] = {SIGUSR1, SIGUSR2, SIGTRAP, SIGSEGV, SIGILL, SIGBUS};
    for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        bad |= sigaction(signals[i], &action, NULL);
    }
    unsigned count = 0;
    for (const struct code_patch *p = __start___patches; p < __stop___patches; p++) {
        make_writable(p->at);
        memcpy(original[count++], (const void *)p->at, p->length);
    }
    if (bad || count > sizeof(original) / sizeof(original[0]) || atexit(write_hits)) {
        abort();
    }
}

void real_patch(uint8_t feature)
{
    patched_smap |= feature == PATCH_SMAP;
    for (const struct code_patch *p = __start___patches; p < __stop___patches; p++) {
        if (p->feature == feature) {
            memcpy((void *)p->at, p->insn, p->length);
        }
    }
}

void real_unpatch(void)
{
    unsigned i = 0;
    patched_smap = false;
    for (const struct code_patch *p = __start___patches; p < __stop___patches; p++) {
        memcpy((void *)p->at, original[i++], p->length);
    }
}

bool real_window_open(void)
{
    return window_open;
}

void real_go(vaddr_t ip, vaddr_t sp)
{
    start_ip = ip;
    start_sp = sp;
    window_open = real_run.access_flag;
    real_run.steps = real_run.swaps = real_run.loads = real_run.accesses = 0;
    real_run.verw = false;
    ASAN_UNPOISON_MEMORY_REGION((void *)REAL_BLOCK, STACK_BYTES);
    raise(SIGUSR1);
}

void real_stop(void)
{
    __asm__ volatile("hlt"); /* needs privilege, too */
}

void real_resume(void)
{
    raise(SIGUSR2);
}

int real_main(const char *suite, CU_TestInfo *tests)
{
    CU_SuiteInfo suites[] = {{suite, NULL, NULL, NULL, NULL, tests}, CU_SUITE_INFO_NULL};
    real_init();
    if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS) {
        return 1;
    }
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed != 0;
}
