// SPDX-License-Identifier: MIT
/* pv/priv_emul.c and pv/ioport.c: instructions of a guest, from their bytes to what they leave. */
#include <stdlib.h>
#include <string.h>

#include "core/frame.h"
#include "pv/emul.h"
#include "suite.h"

#define HANDLER 0xffffffff81000000UL
#define FLAGS 0x202UL

static struct domain *control, *guest;
static struct cpu_user_regs *regs;

/* Ports as plain memory, and a log of the order of accesses. */
static uint8_t ports[65536];
static unsigned port_reads;

static uint32_t port_in(uint16_t port, unsigned bytes)
{
    uint32_t value = 0;
    port_reads++;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint32_t)ports[(uint16_t)(port + i)] << (8 * i);
    }
    return value;
}

static void port_out(uint16_t port, unsigned bytes, uint32_t value)
{
    for (unsigned i = 0; i < bytes; i++) {
        ports[(uint16_t)(port + i)] = (uint8_t)(value >> (8 * i));
    }
}

static void start(struct vcpu *v)
{
    memset(ports, 0, sizeof(ports));
    port_reads = 0;
    host.on_in = port_in;
    host.on_out = port_out;
    suite_enter(v);
    regs = guest_regs();
    memset(regs, 0, sizeof(*regs));
    regs->cs = SEL_GUEST_CS64;
    regs->ss = SEL_GUEST_DS;
    regs->rflags = FLAGS;
    regs->rsp = host_guest_alloc(4096) + 4096;
    v->pv.kernel_mode = true;
    v->pv.kernel_sp = regs->rsp;
    v->pv.trap[TRAP_PF] = (struct trap_info){TRAP_PF, 4, SEL_GUEST_CS64, HANDLER + TRAP_PF};
    v->pv.trap[TRAP_DB] = (struct trap_info){TRAP_DB, 4, SEL_GUEST_CS64, HANDLER + TRAP_DB};
}

static void setup_domains(void)
{
    control = suite_control();
    guest = suite_domain(1, 1);
    control->vcpu[0]->pv.iopl = 1;
    guest->vcpu[0]->pv.iopl = 1;
}

static void finish(void)
{
    suite_enter(NULL);
    suite_destroy(guest);
    suite_destroy(control);
}

/* Run one instruction: true when emulated with rip behind it; false when nothing changed. */
static bool run(const void *bytes, unsigned count)
{
    regs->rip = host_guest_put(bytes, count);
    regs->error_code = 0;
    struct cpu_user_regs before = *regs;
    host_fetch_reset();
    bool done = priv_emul_gp(current_vcpu(), regs);
    if (done) {
        CU_ASSERT_EQUAL(regs->rip, before.rip + count);
    } else {
        CU_ASSERT_EQUAL(memcmp(&before, regs, sizeof(before)), 0);
    }
    return done;
}

#define RUN(...) run((uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

static void test_wrmsr__first_instruction_of_linux(void)
{
    setup_domains();
    start(guest->vcpu[0]);
    regs->rcx = 0xc0000101;
    regs->rax = 0x83400000;
    regs->rdx = 0xffffffff;
    CU_ASSERT(RUN(0x0f, 0x30));
    CU_ASSERT_EQUAL(host.gs_base_kernel, 0xffffffff83400000UL);
    regs->rax = regs->rdx = 0xdead;
    CU_ASSERT(RUN(0x0f, 0x32));
    CU_ASSERT_EQUAL(regs->rax, 0x83400000);
    CU_ASSERT_EQUAL(regs->rdx, 0xffffffff);
    regs->rdx = 0x80000000; /* not canonical */
    CU_ASSERT(!RUN(0x0f, 0x30));
    current_vcpu()->pv.kernel_mode = false;
    regs->rdx = 0xffffffff;
    CU_ASSERT(!RUN(0x0f, 0x30));
    CU_ASSERT(!RUN(0x0f, 0x32));
    finish();
}

static void test_cpuid__prefix(void)
{
    static const uint8_t good[] = {0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2};
    static const uint8_t bad[] = {0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa3};
    setup_domains();
    start(guest->vcpu[0]);
    for (unsigned user = 0; user < 2; user++) {
        current_vcpu()->pv.kernel_mode = !user;
        regs->rax = 0x1234567840000000;
        regs->rip = host_guest_put(good, sizeof(good));
        uint64_t rip = regs->rip;
        CU_ASSERT(priv_emul_ud(current_vcpu(), regs));
        CU_ASSERT_EQUAL(regs->rip, rip + 7);
        CU_ASSERT_EQUAL(regs->rbx, 0x566e6558);
        CU_ASSERT(regs->rax >= 0x40000002 && regs->rax < 0x40000100);
    }
    regs->rip = host_guest_put(bad, sizeof(bad));
    CU_ASSERT(!priv_emul_ud(current_vcpu(), regs));
    regs->rip = HOST_BAD_ADDR;
    CU_ASSERT(!priv_emul_ud(current_vcpu(), regs));
    regs->rip = HOST_GUEST_BASE + HOST_GUEST_BYTES - 5; /* the rest is not mapped */
    memcpy(host_guest_ptr(regs->rip), good, 5);
    CU_ASSERT(!priv_emul_ud(current_vcpu(), regs));
    finish();
}

static void test_control_registers(void)
{
    setup_domains();
    start(guest->vcpu[0]);
    struct vcpu *v = current_vcpu();
    CU_ASSERT(RUN(0x0f, 0x20, 0xc0)); /* mov %cr0,%rax */
    CU_ASSERT_EQUAL(regs->rax, 0x80050033);
    regs->rax |= X86_CR0_TS;
    CU_ASSERT(RUN(0x0f, 0x22, 0xc0));
    CU_ASSERT(v->pv.ts && host.ts);
    CU_ASSERT(RUN(0x0f, 0x20, 0xc3)); /* to rbx */
    CU_ASSERT_EQUAL(regs->rbx, 0x8005003b);
    CU_ASSERT(RUN(0x0f, 0x06)); /* clts */
    CU_ASSERT(!v->pv.ts && !host.ts);
    regs->rax = 0x80050033 & ~X86_CR0_WP;
    CU_ASSERT(!RUN(0x0f, 0x22, 0xc0));
    /* CR4: what is read may be written back; what is not the guest's stays off. */
    CU_ASSERT(RUN(0x0f, 0x20, 0xe0));
    CU_ASSERT(!(regs->rax & (X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PGE | X86_CR4_UMIP)));
    regs->rax |= X86_CR4_OSXSAVE | X86_CR4_FSGSBASE | X86_CR4_PGE | 1UL << 40;
    CU_ASSERT(RUN(0x0f, 0x22, 0xe0));
    CU_ASSERT_EQUAL(v->pv.cr4, X86_CR4_OSXSAVE);
    v->info->arch.cr2 = 0x12345;
    CU_ASSERT(RUN(0x41, 0x0f, 0x20, 0xd0)); /* mov %cr2,%r8 */
    CU_ASSERT_EQUAL(regs->r8, 0x12345);
    CU_ASSERT(!RUN(0x44, 0x0f, 0x20, 0xc0)); /* cr8 */
    CU_ASSERT(!RUN(0x0f, 0x22, 0xd8));       /* cr3 is set by hypercall */
    v->pv.kernel_mode = false;
    CU_ASSERT(!RUN(0x0f, 0x20, 0xc0));
    CU_ASSERT(!RUN(0x0f, 0x06));
    finish();
}

static void test_xsetbv(void)
{
    static const struct {
        uint32_t index;
        uint64_t value;
        bool good;
    } cases[] = {
        {0, 1, true},  {0, 3, true},  {0, 7, true},     {0, 0, false},         {0, 2, false},
        {0, 5, false}, {1, 1, false}, {0, 0xe7, false}, {0, 1UL << 63, false}, {0, 9, false},
    };
    setup_domains();
    start(guest->vcpu[0]);
    regs->rax = 1;
    CU_ASSERT(!RUN(0x0f, 0x01, 0xd1)); /* CR4.OSXSAVE first */
    current_vcpu()->pv.cr4 = X86_CR4_OSXSAVE;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        regs->rcx = cases[i].index;
        regs->rax = (uint32_t)cases[i].value;
        regs->rdx = cases[i].value >> 32;
        CU_ASSERT_EQUAL(RUN(0x0f, 0x01, 0xd1), cases[i].good);
        if (cases[i].good) {
            CU_ASSERT_EQUAL(host.xcr0, cases[i].value);
        }
    }
    finish();
}

static void test_debug_registers(void)
{
    setup_domains();
    start(guest->vcpu[0]);
    regs->rax = 0x123000;
    CU_ASSERT(RUN(0x0f, 0x23, 0xc0)); /* mov %rax,%db0 */
    CU_ASSERT_EQUAL(current_vcpu()->pv.debugreg[0], 0x123000);
    regs->rax = HYP_VIRT_START;
    CU_ASSERT(!RUN(0x0f, 0x23, 0xc0)); /* a breakpoint in the hypervisor */
    CU_ASSERT(RUN(0x0f, 0x21, 0xe3));  /* db4 is db6 */
    CU_ASSERT_EQUAL(regs->rbx, current_vcpu()->pv.debugreg[6]);
    current_vcpu()->pv.cr4 = X86_CR4_DE;
    CU_ASSERT(!RUN(0x0f, 0x21, 0xe3));
    finish();
}

static void test_others(void)
{
    setup_domains();
    start(guest->vcpu[0]);
    host.flush_count = 0;
    CU_ASSERT(RUN(0xfa));  /* cli */
    CU_ASSERT(RUN(0xfb));  /* sti */
    CU_ASSERT(!RUN(0xf4)); /* hlt */
    CU_ASSERT(RUN(0x0f, 0x09));
    CU_ASSERT_EQUAL(host.flush_count, 0); /* no caches of its own to flush */
    regs->rax = 0x1000;
    CU_ASSERT(RUN(0x0f, 0x01, 0x38)); /* invlpg (%rax) */
    CU_ASSERT_EQUAL(host.flush_count, 1);
    CU_ASSERT_EQUAL(host.flush[0].va, 0x1000);
    regs->rax = 0x8000000000000000UL;
    CU_ASSERT(RUN(0x0f, 0x01, 0x38));
    CU_ASSERT_EQUAL(host.flush_count, 1);
    CU_ASSERT(!RUN(0x0f, 0x01, 0x10)); /* lgdt */
    CU_ASSERT(!RUN(0x0f, 0x01, 0xf0)); /* lmsw */
    CU_ASSERT(!RUN(0xf0, 0x0f, 0x06)); /* lock clts */
    current_vcpu()->pv.iopl = 0;
    CU_ASSERT(!RUN(0xfa));
    start(control->vcpu[0]);
    CU_ASSERT(RUN(0x0f, 0x09));
    CU_ASSERT_EQUAL(host.flush[host.flush_count - 1].flags, FLUSH_CACHE);
    /* A #GP with an error code is about a selector, not about these. */
    regs->error_code = 0x10;
    CU_ASSERT(!priv_emul_gp(current_vcpu(), regs));
    finish();
}

static void test_single_step__after_emulation(void)
{
    setup_domains();
    start(guest->vcpu[0]);
    regs->rflags = FLAGS | X86_EFLAGS_TF | X86_EFLAGS_RF;
    static const uint8_t clts[] = {0x0f, 0x06};
    uint64_t rip = regs->rip = host_guest_put(clts, 2), rsp = regs->rsp;
    CU_ASSERT(priv_emul_gp(current_vcpu(), regs));
    CU_ASSERT_EQUAL(regs->rip, HANDLER + TRAP_DB);
    CU_ASSERT(current_vcpu()->pv.debugreg[6] & 1UL << 14);
    /* rcx, r11, rip, cs, rflags, rsp, ss */
    uint64_t frame[7];
    CU_ASSERT_EQUAL_FATAL(rsp - regs->rsp, sizeof(frame));
    memcpy(frame, host_guest_ptr(regs->rsp), sizeof(frame));
    CU_ASSERT_EQUAL(frame[2], rip + 2);
    CU_ASSERT(!(frame[4] & X86_EFLAGS_RF) && (frame[4] & X86_EFLAGS_TF));
    finish();
}

/* ---- ports ---- */

static void test_ports__rights_of_the_mode(void)
{
    setup_domains();
    start(control->vcpu[0]);
    struct vcpu *v = current_vcpu();
    ports[0x80] = 0x5a;
    regs->rax = 0x1111111111111111;
    CU_ASSERT(RUN(0xe4, 0x80)); /* in $0x80,%al */
    CU_ASSERT_EQUAL(regs->rax, 0x111111111111115a);
    v->pv.iopl = 0;
    CU_ASSERT(!RUN(0xe4, 0x80));
    /* A bitmap: bit clear means allowed, for every byte of the access. */
    uint8_t bitmap[33];
    memset(bitmap, 0xff, sizeof(bitmap));
    bitmap[0x80 / 8] = 0xf0;
    v->pv.iobmp = host_guest_put(bitmap, sizeof(bitmap));
    v->pv.iobmp_ports = 256;
    v->pv.kernel_mode = false;
    regs->rdx = 0x80;
    CU_ASSERT(RUN(0xec));
    CU_ASSERT(RUN(0xed));
    regs->rdx = 0x82;
    CU_ASSERT(RUN(0x66, 0xed));
    CU_ASSERT(!RUN(0xed)); /* reaches 0x84 */
    regs->rdx = 0x100;
    CU_ASSERT(!RUN(0xec)); /* beyond the bitmap */
    v->pv.iobmp = HOST_BAD_ADDR;
    regs->rdx = 0x80;
    CU_ASSERT(!RUN(0xec));
    v->pv.iopl = 1; /* the kernel's level, not the user's */
    CU_ASSERT(!RUN(0xec));
    v->pv.iopl = 3;
    CU_ASSERT(RUN(0xec));
    finish();
}

static void test_ports__of_a_guest_are_empty(void)
{
    setup_domains();
    start(guest->vcpu[0]);
    memset(ports, 0x5a, sizeof(ports));
    regs->rdx = 0x3f8;
    CU_ASSERT(RUN(0xed));
    CU_ASSERT_EQUAL(regs->rax, 0xffffffff);
    regs->rax = 0;
    CU_ASSERT(RUN(0xee));
    CU_ASSERT_EQUAL(port_reads, 0);
    CU_ASSERT_EQUAL(host.ports_written, 0);
    finish();
}

static void test_ports__hypervisor_keeps_its_own(void)
{
    static const uint16_t denied[] = {0x20, 0xa1,  0x40,  0x43,  0x92,
                                      0xf0, 0x3f8, 0x3ff, 0x4d1, 0xcf9};
    setup_domains();
    start(control->vcpu[0]);
    memset(ports, 0x5a, sizeof(ports));
    for (unsigned i = 0; i < ARRAY_SIZE(denied); i++) {
        CU_ASSERT_EQUAL(ioport_in(control, denied[i], 1) & 0xff, 0xff);
        ioport_out(control, denied[i], 1, 0);
        CU_ASSERT_EQUAL(ports[denied[i]], 0x5a);
    }
    /* Wider accesses are taken apart: the free bytes work, the others do not. */
    CU_ASSERT_EQUAL(ioport_in(control, 0x3f6, 4), 0xffff5a5a);
    ioport_out(control, 0x3f6, 4, 0);
    CU_ASSERT(ports[0x3f6] == 0 && ports[0x3f7] == 0 && ports[0x3f8] == 0x5a);
    CU_ASSERT_EQUAL(ioport_in(control, 0xffff, 4), 0xffffff5a);
    CU_ASSERT_EQUAL(ioport_in(control, 0x1f0, 4), 0x5a5a5a5a);
    finish();
}

static uint8_t cmos[128];

static uint32_t cmos_in(uint16_t port, unsigned bytes)
{
    CU_ASSERT(port == 0x71 && bytes == 1);
    return cmos[ports[0x70] & 0x7f];
}

static void test_ports__clock_index_is_kept(void)
{
    setup_domains();
    start(control->vcpu[0]);
    host.on_in = cmos_in;
    cmos[4] = 0x12;
    ioport_out(control, 0x70, 1, 0x84);
    port_out(0x70, 1, 9); /* the hypervisor reads the clock in between */
    CU_ASSERT_EQUAL(ioport_in(control, 0x71, 1), 0x12);
    CU_ASSERT_EQUAL(ports[0x70], 4); /* NMI bit gone */
    finish();
}

static void test_string_io(void)
{
    uint8_t buffer[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    setup_domains();
    start(control->vcpu[0]);
    regs->rsi = host_guest_put(buffer, sizeof(buffer));
    regs->rdx = 0x100;
    regs->rcx = 3;
    CU_ASSERT(RUN(0xf3, 0x66, 0x6f)); /* rep outsw */
    CU_ASSERT(regs->rcx == 0 && host.ports_written == 3);
    CU_ASSERT_EQUAL(port_in(0x100, 2), 0x0605);
    CU_ASSERT(RUN(0xf3, 0x66, 0x6f)); /* nothing left */
    CU_ASSERT_EQUAL(host.ports_written, 3);
    /* Backwards, one byte in. */
    regs->rdi = host_guest_put(buffer, sizeof(buffer)) + 4;
    regs->rflags |= X86_EFLAGS_DF;
    ports[0x100] = 0xaa;
    vaddr_t at = regs->rdi;
    CU_ASSERT(RUN(0x6c));
    CU_ASSERT_EQUAL(regs->rdi, at - 1);
    CU_ASSERT_EQUAL(*(uint8_t *)host_guest_ptr(at), 0xaa);
    finish();
}

static void test_string_io__fault_before_the_port_is_read(void)
{
    setup_domains();
    start(control->vcpu[0]);
    static const uint8_t ins[] = {0xf3, 0x6d};
    vaddr_t rip = host_guest_put(ins, 2);
    regs->rip = rip;
    regs->rdi = HOST_BAD_ADDR;
    regs->rdx = 0x100;
    regs->rcx = 5;
    host_fetch_reset();
    port_reads = 0;
    CU_ASSERT(priv_emul_gp(current_vcpu(), regs));
    CU_ASSERT_EQUAL(regs->rip, HANDLER + TRAP_PF);
    CU_ASSERT_EQUAL(current_vcpu()->info->arch.cr2, HOST_BAD_ADDR);
    CU_ASSERT_EQUAL(port_reads, 0);
    CU_ASSERT(regs->rcx == 5 && regs->rdi == HOST_BAD_ADDR);
    finish();
}

static void test_string_io__long_one_can_be_interrupted(void)
{
    setup_domains();
    start(control->vcpu[0]);
    static const uint8_t outs[] = {0xf3, 0x6e};
    vaddr_t rip = regs->rip = host_guest_put(outs, 2);
    regs->rsi = host_guest_alloc(5000);
    regs->rdx = 0x100;
    regs->rcx = 1000;
    unsigned rounds = 0;
    while (regs->rip == rip && rounds < 100) {
        host_fetch_reset();
        CU_ASSERT(priv_emul_gp(current_vcpu(), regs));
        rounds++;
    }
    CU_ASSERT(rounds > 1 && rounds < 100);
    CU_ASSERT(regs->rcx == 0 && host.ports_written == 1000);
    finish();
}

static void test_store_system__same_for_kernel_and_user(void)
{
    setup_domains();
    start(guest->vcpu[0]);
    uint64_t at = host_guest_alloc(64), cr0 = 0x80050033;
    uint8_t *bytes = host_guest_ptr(at);
    host.fs_base = at + 16;
    host.gs_base_kernel = at + 32;
    for (unsigned user = 0; user < 2; user++) {
        current_vcpu()->pv.kernel_mode = !user;
        memset(bytes, 0x55, 64);
        regs->rdi = at;
        regs->rcx = regs->r9 = 0x1122334455667788;
        CU_ASSERT(RUN(0x0f, 0x01, 0x07)); /* sgdt (%rdi) */
        CU_ASSERT(!memcmp(bytes, "\0\0\0\0\xfe\xff\xff\xff\xff\xff\x55", 11));
        CU_ASSERT(RUN(0x0f, 0x01, 0x0f)); /* sidt (%rdi) */
        CU_ASSERT(!memcmp(bytes, "\0\0\0\0\xff\xff\xff\xff\xff\xff\x55", 11));
        CU_ASSERT(RUN(0x48, 0x0f, 0x01, 0x67, 0x0b)); /* smsw 11(%rdi): 16 bits */
        CU_ASSERT(!memcmp(bytes + 10, "\x55\x33\0\x55", 4));
        CU_ASSERT(RUN(0x66, 0x0f, 0x01, 0xe1)); /* smsw %cx */
        CU_ASSERT_EQUAL(regs->rcx, 0x1122334455660033);
        CU_ASSERT(RUN(0x0f, 0x01, 0xe1)); /* smsw %ecx */
        CU_ASSERT_EQUAL(regs->rcx, cr0);
        CU_ASSERT(RUN(0x49, 0x0f, 0x00, 0xc9)); /* str %r9 */
        CU_ASSERT_EQUAL(regs->r9, 0);
        CU_ASSERT(RUN(0x66, 0x0f, 0x00, 0xc1)); /* sldt %cx */
        CU_ASSERT_EQUAL(regs->rcx, cr0 & 0xffff0000);
        regs->rdi = 3;
        CU_ASSERT(RUN(0x64, 0x0f, 0x00, 0x0f)); /* str %fs:(%rdi) */
        CU_ASSERT(!memcmp(bytes + 18, "\x55\0\0\x55", 4));
        CU_ASSERT(RUN(0x65, 0x0f, 0x00, 0x07)); /* sldt %gs:(%rdi) */
        CU_ASSERT(!memcmp(bytes + 34, "\x55\0\0\x55", 4));
        /* Their neighbours are as privileged as ever. */
        CU_ASSERT(!RUN(0x0f, 0x00, 0xd1)); /* lldt */
        CU_ASSERT(!RUN(0x0f, 0x00, 0xd9)); /* ltr */
        CU_ASSERT(!RUN(0x0f, 0x01, 0xc0)); /* no register form of sgdt */
        CU_ASSERT(!RUN(0x0f, 0x01, 0xca)); /* clac */
        CU_ASSERT(!RUN(0x0f, 0x01, 0xf1)); /* lmsw */
        regs->rdi = 0x7ffffffffff8;
        CU_ASSERT(!RUN(0x0f, 0x01, 0x07)); /* not canonical at its end */
    }
    finish();
}

static void test_store_system__fault_names_the_missing_page(void)
{
    setup_domains();
    start(guest->vcpu[0]);
    const vaddr_t end = HOST_GUEST_BASE + HOST_GUEST_BYTES;
    for (unsigned user = 0; user < 2; user++) {
        current_vcpu()->pv.kernel_mode = !user;
        regs->rip = host_guest_put("\x0f\x01\x07", 3);
        regs->rdi = end - 4;
        host_fetch_reset();
        CU_ASSERT(priv_emul_gp(current_vcpu(), regs));
        CU_ASSERT_EQUAL(regs->rip, HANDLER + TRAP_PF);
        CU_ASSERT_EQUAL(current_vcpu()->info->arch.cr2, end);
    }
    finish();
}

/* Page tables that map one page at LOW_VA, where 32-bit code can be. */
#define LOW_VA 0x400000UL
static struct frame *low_tables(struct vcpu *v, uint8_t **page)
{
    struct frame *f = frame_alloc_hyp(3, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    mfn_t mfn = frame_to_mfn(f);
    for (unsigned level = 4; level > 0; level--) {
        uint64_t *table = mfn_to_virt(mfn + 4 - level);
        table[PT_INDEX(LOW_VA, level)] =
            (mfn + 5 - level) << PAGE_SHIFT | X86_PTE_P | X86_PTE_RW | X86_PTE_US;
    }
    *page = mfn_to_virt(mfn + 4);
    v->pv.l4 = f;
    return f;
}

static void test_code_segment__from_the_guests_table(void)
{
    static const struct {
        uint16_t cs;
        unsigned length; /* of 48 ed; 0: refused */
    } cases[] = {
        {4 << 3 | 3, 0}, /* 32-bit code: 48 is `dec %eax`, not known */
        {6 << 3 | 3, 2}, /* 64-bit code: 48 is a prefix */
        {7 << 3 | 3, 0}, /* data */
        {8 << 3 | 3, 0}, /* behind the limit */
        {6 << 3 | 7, 0}, /* there is no local table */
        {SEL_GUEST_CS64, 2},
    };
    setup_domains();
    start(control->vcpu[0]);
    struct vcpu *v = current_vcpu();
    struct frame *f = frame_alloc_hyp(0, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    uint64_t *gdt = frame_to_virt(f);
    gdt[4] = 0x00cffb000000ffff;
    gdt[5] = 0x00cffb000100ffff; /* 32-bit code with a base */
    gdt[6] = 0x00affb000000ffff;
    gdt[7] = 0x00cff3000000ffff;
    v->pv.gdt[0] = f;
    v->pv.gdt_entries = 8;
    uint8_t *page;
    struct frame *tables = low_tables(v, &page);
    memcpy(page + 0x10, (uint8_t[]){0x48, 0xed}, 2);
    regs->rdx = 0x100;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        regs->cs = cases[i].cs;
        regs->rip = LOW_VA + 0x10;
        host_fetch_reset();
        CU_ASSERT_EQUAL(priv_emul_gp(v, regs), cases[i].length != 0);
        CU_ASSERT_EQUAL(regs->rip, LOW_VA + 0x10 + cases[i].length);
    }
    /* 32-bit code, whose rip is cut, without and with a base; and the flat selector. */
    static const uint16_t narrow[] = {4 << 3 | 3, 5 << 3 | 3, SEL_GUEST_CS32};
    for (unsigned i = 0; i < ARRAY_SIZE(narrow); i++) {
        regs->cs = narrow[i];
        regs->rip = 1UL << 32 | (LOW_VA + 0x11);
        host_fetch_reset();
        CU_ASSERT_EQUAL(priv_emul_gp(v, regs), i != 1);
        CU_ASSERT_EQUAL(regs->rip, i == 1 ? 1UL << 32 | (LOW_VA + 0x11) : LOW_VA + 0x12);
    }
    /* Operands of 32-bit code: an absolute address, a base register's lower half; six bytes. */
    static const char *const code[] = {"\x0f\x01\x0d\x40\0\x40", "\x0f\x01\x40\x40"};
    regs->cs = SEL_GUEST_CS32;
    regs->rax = 1UL << 32 | LOW_VA;
    for (unsigned i = 0; i < ARRAY_SIZE(code); i++) {
        memcpy(page + 0x10, code[i], 7 - 3 * i);
        memset(page + 0x40, 0x55, 16);
        regs->rip = LOW_VA + 0x10;
        host_fetch_reset();
        CU_ASSERT(priv_emul_gp(v, regs));
        CU_ASSERT_EQUAL(regs->rip, LOW_VA + 0x17 - 3 * i);
        CU_ASSERT(!memcmp(page + 0x40, i ? "\0\0\0\0\xfe\xff\x55" : "\0\0\0\0\xff\xff\x55", 7));
    }
    v->pv.gdt[0] = v->pv.l4 = NULL;
    v->pv.gdt_entries = 0;
    frame_free_hyp(f, 0);
    frame_free_hyp(tables, 3);
    finish();
}

/* Whatever the bytes and registers: no fault of ours, and nothing but this guest is touched. */
static void test_random_instructions(void)
{
    setup_domains();
    start(guest->vcpu[0]);
    struct vcpu *v = current_vcpu();
    vaddr_t code = host_guest_alloc(32), memory = host_guest_alloc(4096);
    uint64_t gs = v->pv.gs_base_kernel;
    unsigned emulated = 0;
    for (unsigned round = 0; round < 50000 && !guest->shut_down; round++) {
        uint8_t *bytes = host_guest_ptr(code);
        for (unsigned i = 0; i < 16; i++) {
            bytes[i] = (uint8_t)random();
        }
        static const uint8_t two_byte[] = {0x01, 0x06, 0x09, 0x20, 0x21,
                                           0x22, 0x23, 0x30, 0x32, 0xa2};
        if (random() % 2) {
            bytes[0] = 0x0f;
            bytes[1] = two_byte[(unsigned)random() % sizeof(two_byte)];
        }
        regs->rip = code;
        regs->error_code = 0;
        regs->rax = (uint64_t)random() << 33 ^ (uint64_t)random();
        regs->rcx = random() % 2 ? (uint64_t)random() % 40 : 0xc0000080 + (uint64_t)random() % 4;
        regs->rdx = (uint64_t)random() % 0x10000;
        regs->rsi = regs->rdi = memory + 64;
        regs->rsp = memory + 4096;
        v->pv.kernel_mode = random() % 2;
        host_fetch_reset();
        emulated += priv_emul_gp(v, regs);
        CU_ASSERT(regs->rip == code || regs->rip >= HANDLER ||
                  (regs->rip > code && regs->rip <= code + 15));
        regs->rflags = FLAGS;
        v->pv.trap[TRAP_DB].address = HANDLER + TRAP_DB;
    }
    CU_ASSERT(emulated > 100);
    CU_ASSERT_EQUAL(v->pv.gs_base_kernel, gs);
    CU_ASSERT_EQUAL(host.ports_written, 0);
    CU_ASSERT(!guest->shut_down);
    finish();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_wrmsr__first_instruction_of_linux),
        CASE(test_cpuid__prefix),
        CASE(test_control_registers),
        CASE(test_xsetbv),
        CASE(test_debug_registers),
        CASE(test_others),
        CASE(test_single_step__after_emulation),
        CASE(test_ports__rights_of_the_mode),
        CASE(test_ports__of_a_guest_are_empty),
        CASE(test_ports__hypervisor_keeps_its_own),
        CASE(test_ports__clock_index_is_kept),
        CASE(test_string_io),
        CASE(test_string_io__fault_before_the_port_is_read),
        CASE(test_string_io__long_one_can_be_interrupted),
        CASE(test_store_system__same_for_kernel_and_user),
        CASE(test_store_system__fault_names_the_missing_page),
        CASE(test_code_segment__from_the_guests_table),
        CASE(test_random_instructions),
    };
    srandom(2);
    return SUITE("privileged instructions", 1, cases);
}
