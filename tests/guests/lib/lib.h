/* SPDX-License-Identifier: MIT */
/*
 * What a test kernel is made of: a tiny 64-bit PV kernel, one folder and one question each, linked
 * with this library. A test writes `void test_main(void)`; the library brings it up as an
 * unprivileged guest, says its verdict on the console and switches the domain off.
 *
 * Verdicts: SUCCESS (all checks held), FAILURE (the hypervisor did not do what the head comment of
 * the test says), ERROR (the test itself could not be carried out), SKIP (not possible on this
 * machine). No verdict is a CRASH, unless the test has said before that this is what must happen
 * (expect_crash): then the domain's end by the hypervisor is the success.
 *
 * There are no locks here: what a second vCPU shares with the first a test makes volatile.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/io/xs_wire.h>

#include "pv-abi/abi.h"

#define PAGE_BYTES 4096UL
#define VIRT_BASE 0xffffffff80000000UL
#define HYP_START 0xffff800000000000UL
#define HYP_END 0xffff880000000000UL
#define NONCANONICAL 0x0000900000000000UL
#define ENTRIES 512UL
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PAGE_ALIGNED __attribute__((aligned(4096)))

/* ---- verdicts and checks (verdict.c) ---- */

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Each ends the domain. */
_Noreturn void success(void);
_Noreturn void failure(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void skip(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* From here on the only right thing that can happen is that the hypervisor ends the domain. */
void expect_crash(const char *why);

/* A check that failed is said at once; the test goes on and ends as FAILURE. */
void check_bool(bool good, const char *file, int line, const char *what);
void check_long(long got, long want, const char *file, int line, const char *what);
#define CHECK(condition) check_bool(condition, __FILE__, __LINE__, #condition)
#define CHECK_IS(expression, want)                                                                 \
    check_long((long)(expression), (long)(want), __FILE__, __LINE__, #expression)
/* What a test needs to go on at all; if not, the test is in error. */
#define NEED(condition)                                                                            \
    ((condition) ? (void)0 : error("%s:%d: cannot: %s", __FILE__, __LINE__, #condition))
#define NEED_OK(expression) need_ok((long)(expression), __FILE__, __LINE__, #expression)
void need_ok(long rc, const char *file, int line, const char *what);

/* ---- text (text.c) ---- */

size_t text_format(char *to, size_t bytes, const char *format, va_list args);
size_t text_print(char *to, size_t bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *text);
/* The value of a word NAME=NUMBER on the guest's command line. */
bool option_number(const char *name, uint64_t *value);

/* ---- console (console.c) ---- */

void console_init(void);
void console_write(const char *text, size_t bytes);
/* One typed character, or -1. */
int console_read(void);

/* ---- hypercalls ---- */

static inline long hypercall6(unsigned long nr, unsigned long a, unsigned long b, unsigned long c,
                              unsigned long d, unsigned long e, unsigned long f)
{
    register unsigned long r10 __asm__("r10") = d;
    register unsigned long r8 __asm__("r8") = e;
    register unsigned long r9 __asm__("r9") = f;
    long rc;
    __asm__ volatile("syscall"
                     : "=a"(rc), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8), "+r"(r9)
                     : "0"(nr)
                     : "rcx", "r11", "memory");
    return rc;
}

#define ARG(x) ((unsigned long)(x))
#define HC1(nr, a) hypercall6(nr, ARG(a), 0, 0, 0, 0, 0)
#define HC2(nr, a, b) hypercall6(nr, ARG(a), ARG(b), 0, 0, 0, 0)
#define HC3(nr, a, b, c) hypercall6(nr, ARG(a), ARG(b), ARG(c), 0, 0, 0)
#define HC4(nr, a, b, c, d) hypercall6(nr, ARG(a), ARG(b), ARG(c), ARG(d), 0, 0)

#define sched_op(op, arg) HC2(__HYPERVISOR_sched_op, op, arg)
#define evtchn_op(op, arg) HC2(__HYPERVISOR_event_channel_op, op, arg)
#define grant_op(op, arg, count) HC3(__HYPERVISOR_grant_table_op, op, arg, count)
#define memory_op(op, arg) HC2(__HYPERVISOR_memory_op, op, arg)
#define vcpu_op(op, vcpu, arg) HC3(__HYPERVISOR_vcpu_op, op, vcpu, arg)
#define physdev_op(op, arg) HC2(__HYPERVISOR_physdev_op, op, arg)
#define callback_op(op, arg) HC2(__HYPERVISOR_callback_op, op, arg)
#define xen_version(op, arg) HC2(__HYPERVISOR_xen_version, op, arg)
#define update_va(va, pte, flags) HC3(__HYPERVISOR_update_va_mapping, va, pte, flags)
#define mmu_update(reqs, count, done, dom) HC4(__HYPERVISOR_mmu_update, reqs, count, done, dom)
#define mmuext_op(ops, count, done, dom) HC4(__HYPERVISOR_mmuext_op, ops, count, done, dom)
#define multicall(list, count) HC2(__HYPERVISOR_multicall, list, count)
#define set_trap_table(table) HC1(__HYPERVISOR_set_trap_table, table)
#define set_gdt(frames, entries) HC2(__HYPERVISOR_set_gdt, frames, entries)
#define update_descriptor(maddr, value) HC2(__HYPERVISOR_update_descriptor, maddr, value)
#define set_segment_base(which, base) HC2(__HYPERVISOR_set_segment_base, which, base)
#define stack_switch(ss, sp) HC2(__HYPERVISOR_stack_switch, ss, sp)
#define vm_assist(cmd, type) HC2(__HYPERVISOR_vm_assist, cmd, type)
#define set_debugreg(reg, value) HC2(__HYPERVISOR_set_debugreg, reg, value)
#define get_debugreg(reg) HC1(__HYPERVISOR_get_debugreg, reg)
#define console_io(op, count, buf) HC3(__HYPERVISOR_console_io, op, count, buf)

/* ---- processor state ---- */

/* What every entry saves; ends with the hypervisor's frame. */
struct regs {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

struct context {
    uint64_t rbx, rbp, r12, r13, r14, r15, rsp, rip;
};

struct iret_frame {
    uint64_t rax, r11, rcx, flags, rip, cs, rflags, rsp, ss;
};

long context_save(struct context *to) __attribute__((returns_twice));
_Noreturn void context_jump(const struct context *to, long value);
_Noreturn void iret_to(const struct iret_frame *frame, uint64_t rdi, uint64_t rsi);

static inline uint64_t read_flags(void)
{
    uint64_t flags;
    __asm__ volatile("pushf; pop %0" : "=r"(flags) : : "memory");
    return flags;
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline void cpu_relax(void)
{
    __asm__ volatile("pause" : : : "memory");
}

#define barrier() __asm__ volatile("" : : : "memory")

/* ---- exceptions (trap.c) ---- */

#define VEC_DE 0
#define VEC_DB 1
#define VEC_NMI 2
#define VEC_BP 3
#define VEC_OF 4
#define VEC_UD 6
#define VEC_NM 7
#define VEC_DF 8
#define VEC_NP 11
#define VEC_SS 12
#define VEC_GP 13
#define VEC_PF 14
#define VEC_AC 17
#define VEC_EVENT 0x100
#define VEC_SYSCALL 0x101
#define VEC_SYSCALL32 0x102
#define VEC_FAILSAFE 0x103
#define NO_FAULT 0xffff

#define ERR_P 1
#define ERR_W 2
#define ERR_U 4
#define ERR_I 16

/* What became of a function that was tried. */
struct fault {
    unsigned vector; /* NO_FAULT: it returned */
    uint64_t error, cr2, value;
    struct regs regs;
};

/* Runs fn(arg) and comes back when it returns, with its value, or when it faults. Events are left
 * as they are. One try a vCPU at a time. */
struct fault try_call(uint64_t (*fn)(uint64_t arg), uint64_t arg);
/* The same in the guest's user mode, which needs user_tables_init(). System calls end it, too, as
 * VEC_SYSCALL; only number USER_EXIT is the ordinary return. */
struct fault try_user(uint64_t (*fn)(uint64_t arg), uint64_t arg);
#define USER_EXIT 0x7001
/* The iret hypercall with that frame; how it went wrong, if it came back by a fault. */
struct fault try_iret(const struct iret_frame *frame);
#define CHECK_FAULT(f, wanted_vector, wanted_error)                                                \
    check_fault(f, wanted_vector, wanted_error, __FILE__, __LINE__, #f)
void check_fault(struct fault f, unsigned vector, uint64_t error, const char *file, int line,
                 const char *what);

/* Exceptions that nobody tries go to this, if a test sets it; true: handled, return. */
extern bool (*trap_hook)(struct regs *regs);
void trap_init(void);
/* An entry of the trap table as the library has it. flags: DPL, 4 to mask events. */
long trap_set(unsigned vector, const void *handler, unsigned flags);
void trap_fill_context(struct vcpu_guest_context *context);
extern char trap_stubs[], event_entry[], syscall_entry[], syscall32_entry[], failsafe_entry[];
extern char user_return[], entry_return[], hypercall_page[], start_secondary[], cpu_stacks[];
extern char image_start[], image_end[];
extern uint64_t failsafe_selectors[4];
static inline void *trap_stub(unsigned vector)
{
    return trap_stubs + 32UL * vector;
}

/* Try single accesses. */
struct fault try_read(uint64_t va);
struct fault try_write(uint64_t va, uint64_t value);
struct fault try_exec(uint64_t va);
struct fault try_rdmsr(uint32_t msr);
struct fault try_wrmsr(uint32_t msr, uint64_t value);

/* ---- vCPUs (smp.c) ---- */

struct cpu {
    unsigned id;
    struct context recover; /* where a tried function's fault goes */
    struct fault *fault;    /* being tried, else NULL */
    struct vcpu_info *info; /* where it was moved to, else NULL: in shared_info */
    uint64_t user_stack[512];
};
struct cpu *cpu_of(unsigned id);
#define CPU_STACK_BYTES 0x8000UL
#define CPUS_MAX 4
struct cpu *this_cpu(void);
/* Has vCPU `id` run fn(arg) on its own stack; it then takes itself down. */
long cpu_start(unsigned id, void (*fn)(uint64_t arg), uint64_t arg);
/* The same, with a last look at the context before it is used. */
void cpu_fill_context(struct vcpu_guest_context *context, unsigned id, void (*fn)(uint64_t arg),
                      uint64_t arg);
extern struct vcpu_guest_context cpu_context;

/* ---- memory (memory.c) ---- */

extern struct start_info *start_info;
extern struct shared_info *shared_info;
/* Started in the control domain's place: there is no other domain, and nothing is refused for want
 * of rights. */
static inline bool alone(void)
{
    return start_info->flags & SIF_PRIVILEGED;
}

#define PTE_P 0x1UL
#define PTE_W 0x2UL
#define PTE_U 0x4UL
#define PTE_PWT 0x8UL
#define PTE_PCD 0x10UL
#define PTE_A 0x20UL
#define PTE_D 0x40UL
#define PTE_PS 0x80UL
#define PTE_G 0x100UL
#define PTE_NX (1UL << 63)
#define PTE_RO (PTE_P | PTE_U | PTE_A | PTE_D)
#define PTE_RW (PTE_RO | PTE_W)
#define PTE_ADDR 0x000ffffffffff000UL

void memory_init(void);
/* Frame of a page the initial tables map, and an entry for it. */
uint64_t mfn_of(const void *va);
static inline uint64_t maddr_of(const void *va)
{
    return mfn_of(va) * PAGE_BYTES + ((uint64_t)va & (PAGE_BYTES - 1));
}
static inline uint64_t pte_make(uint64_t mfn, uint64_t flags)
{
    return mfn * PAGE_BYTES | flags;
}
/* M2P, and the other way from the list the guest was given. */
uint64_t pfn_of_mfn(uint64_t mfn);
uint64_t mfn_of_pfn(uint64_t pfn);
/* A zeroed page that is mapped writable; never given back. */
void *page_new(void);
/* An owned frame that nothing maps; never given back. */
uint64_t frame_new(void);
/* The entry of an address at a level of the present tables, as mapped read-only; NULL: none. */
uint64_t *pte_find(uint64_t va, unsigned level);
/* The table that holds it. */
uint64_t *table_find(uint64_t va, unsigned level);
static inline unsigned pt_index(uint64_t va, unsigned level)
{
    return (va >> (12 + 9 * (level - 1))) & 511;
}
/* Change how a page of ours is mapped: read-only, writable, not at all. */
long page_protect(const void *page, uint64_t flags);
/* One request of mmu_update on the entry at `entry` (its mapping), own tables and frames. */
long pte_write(const uint64_t *entry, uint64_t value);
long pte_write_maddr(uint64_t maddr, uint64_t value);
/* One mmuext operation on a frame. */
long mmuext_mfn(unsigned cmd, uint64_t mfn);
/* A page made read-only and pinned as a table of that level. */
long page_pin(void *page, unsigned level);
long page_unpin(void *page);
/* Addresses 0x10000000000 on, for tests to map things: its tables, and a page's entry there. */
#define TEST_VA 0x10000000000UL
void test_area_init(void);
uint64_t *test_area_l1(void);
/* Entries that are not present may not name RAM: the processor is open to L1TF. */
bool absent_checked(void);
long test_area_set(unsigned page, uint64_t pte);
static inline void *test_va(unsigned page)
{
    return (void *)(TEST_VA + page * PAGE_BYTES);
}
/* User mode's tables: a copy of the kernel's, loaded as user base. */
void user_tables_init(void);
extern uint64_t *user_l4;

/* ---- events and time (event.c) ---- */

extern void (*event_handlers[256])(uint32_t port);
void event_init(void);
void event_dispatch(void);
bool event_is_pending(uint32_t port);
void event_mask(uint32_t port, bool on);
void event_clear(uint32_t port);
long event_send(uint32_t port);
long event_close(uint32_t port);
/* Each returns the port or a negative errno. */
long event_bind_ipi(unsigned vcpu);
long event_bind_virq(unsigned virq, unsigned vcpu);
long event_alloc_unbound(domid_t dom, domid_t remote);
long event_bind_interdomain(domid_t remote, uint32_t port);
long event_status(uint32_t port, struct evtchn_status *status);
struct vcpu_info *my_vcpu_info(void);
/* Upcalls of this vCPU on and off; on delivers what is pending. */
void events_on(void);
void events_off(void);
uint64_t now_ns(void);
void sleep_ns(uint64_t ns);
/* Waits for *flag to become nonzero; false after that many milliseconds. */
bool wait_for(const volatile uint32_t *flag, unsigned ms);
domid_t own_domid(void);

/* ---- grants (grant.c) ---- */

/* Maps the first frame of our table. */
void grant_init(void);
extern grant_entry_v1_t *grant_table;
void grant_set(grant_ref_t ref, domid_t to, uint64_t mfn, uint16_t flags);
/* Status, and the handle in *handle. */
long grant_map(domid_t dom, grant_ref_t ref, uint64_t host_addr, uint32_t flags,
               grant_handle_t *handle);
long grant_unmap(grant_handle_t handle, uint64_t host_addr, uint64_t dev_bus_addr);

/* ---- the store (store.c) ---- */

struct store_reply {
    uint32_t type, len;
    char text[XENSTORE_PAYLOAD_MAX + 1];
};
extern struct xenstore_domain_interface *store_ring;
extern struct store_reply store_reply; /* the last message received */
extern uint32_t store_events;          /* of watches, met while waiting for answers */
void store_init(void);
void store_kick(void);
bool store_send(uint32_t type, uint32_t tx, const void *body, size_t bytes);
/* The next message to store_reply; false when none comes. */
bool store_receive(void);
/* One request and its answer, or the error's name. */
const char *store_ask(uint32_t type, uint32_t tx, const void *body, size_t bytes);
/* The same with a text for the payload, in which '|' stands for a NUL. */
const char *store_request(uint32_t type, uint32_t tx, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A node that holds a number; ~0 if it cannot be read. */
uint64_t store_number(const char *path);
void check_text(const char *got, const char *want, const char *file, int line);
#define CHECK_TEXT(got, want) check_text(got, want, __FILE__, __LINE__)

void test_main(void);
