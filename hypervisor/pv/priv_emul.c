// SPDX-License-Identifier: MIT
/*
 * Privileged instructions. Guest kernel and guest user both run at CPL 3, so these raise #GP; they
 * are carried out for the kernel only, except port I/O, which user mode may do where the kernel's
 * virtual I/O privilege or bitmap lets it, and CPUID. What is refused leaves no trace.
 *
 * Works on the current vCPU; takes no locks of its own.
 */
#include "pv/priv_emul.h"

#include "arch/layout.h"
#include "base/string.h"
#include "core/guest_access.h"
#include "core/hypercall.h"
#include "pv/cpuid.h"
#include "pv/insn.h"
#include "pv/ioport.h"
#include "pv/misc.h"
#include "pv/msr.h"
#include "pv/trap.h"

/* Elements of one `rep ins/outs` done before the guest gets a chance of an interrupt. */
#define STRING_BATCH 256u

#define DR6_SINGLE_STEP (1UL << 14)
#define DESC_LONG (1UL << 53)
#define DESC_CODE (0x18UL << 40)
#define DESC_BASE (0xff0000ffffff0000UL)

/* How an instruction ends. */
enum outcome {
    REFUSED,   /* #GP for the guest, nothing changed */
    DONE,      /* advance rip */
    DELIVERED, /* rip stays or was changed: an exception was delivered, or it is to be repeated */
};

/* ---- where the instruction is ---- */

static bool read_descriptor(const struct vcpu *v, uint16_t sel, uint64_t *desc)
{
    unsigned index = sel >> 3, page = index / 512;
    const struct frame *f;
    if (sel & 4) {
        f = index < v->pv.ldt_entries ? v->pv.ldt[page] : NULL;
    } else {
        f = index < v->pv.gdt_entries ? v->pv.gdt[page] : NULL;
    }
    if (!f) {
        return false;
    }
    const uint64_t *table = frame_to_virt(f);
    *desc = read_once(table[index % 512]);
    return true;
}

/* Is the code segment a 64-bit one? False in *known: a segment we cannot emulate in. */
static bool code_is_64bit(const struct vcpu *v, uint16_t cs, bool *known)
{
    uint64_t desc;
    *known = true;
    if (cs == SEL_GUEST_CS64) {
        return true;
    }
    if (cs == SEL_GUEST_CS32) {
        return false;
    }
    if (!read_descriptor(v, cs, &desc) || (desc & DESC_CODE) != DESC_CODE) {
        *known = false;
        return false;
    }
    if (!(desc & DESC_LONG) && (desc & DESC_BASE)) {
        *known = false;
    }
    return desc & DESC_LONG;
}

/* ---- port I/O ---- */

/* May the present mode touch the port: by virtual IOPL or by the kernel's bitmap. */
static bool port_allowed(struct vcpu *v, uint16_t port, unsigned bytes)
{
    if (v->pv.iopl >= (v->pv.kernel_mode ? 1 : 3)) {
        return true;
    }
    if ((uint32_t)port + bytes > v->pv.iobmp_ports) {
        return false;
    }
    uint16_t bits = 0;
    unsigned shift = port % 8, need = shift + bytes > 8 ? 2 : 1;
    if (guest_read(&bits, v->pv.iobmp + port / 8, need)) {
        return false;
    }
    return !(bits >> shift & ((1U << bytes) - 1));
}

static enum outcome do_in_out(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *insn)
{
    unsigned bytes = MIN(insn->operand, 4);
    bool by_number = insn->opcode < 0xe8;
    uint16_t port = by_number ? (uint8_t)insn->imm : (uint16_t)regs->rdx;
    if (!port_allowed(v, port, bytes)) {
        return REFUSED;
    }
    if (insn->opcode & 2) {
        ioport_out(v->domain, port, bytes, (uint32_t)regs->rax);
    } else {
        insn_reg_write(regs, 0, bytes, true, ioport_in(v->domain, port, bytes));
    }
    return DONE;
}

static uint64_t address_mask(const struct insn *insn)
{
    return insn->address == 4 ? 0xffffffffUL : ~0UL;
}

/* One element of ins or outs; false: memory at *va faulted. */
static bool string_element(struct vcpu *v, const struct insn *insn, uint16_t port, vaddr_t va,
                           unsigned bytes)
{
    uint32_t value = 0;
    if (insn->opcode >= 0x6e) {
        if (guest_read(&value, va, bytes)) {
            return false;
        }
        ioport_out(v->domain, port, bytes, value);
        return true;
    }
    /* A port must not be read in vain: look whether the memory can be written first. */
    if (guest_read(&value, va, bytes) || guest_write(va, &value, bytes)) {
        return false;
    }
    value = ioport_in(v->domain, port, bytes);
    return guest_write(va, &value, bytes) == 0;
}

static enum outcome do_string(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *insn)
{
    bool out = insn->opcode >= 0x6e;
    unsigned bytes = MIN(insn->operand, 4);
    uint16_t port = (uint16_t)regs->rdx;
    uint64_t mask = address_mask(insn);
    uint64_t *pointer = out ? &regs->rsi : &regs->rdi;
    uint64_t step = regs->rflags & X86_EFLAGS_DF ? -(uint64_t)bytes : bytes;
    /* Only outs can have another segment than es or ds, and only fs and gs have bases. */
    if (insn->segment || !port_allowed(v, port, bytes)) {
        return REFUSED;
    }
    if (insn->rep && !(regs->rcx & mask)) {
        return DONE;
    }
    for (unsigned i = 0; i < STRING_BATCH; i++) {
        vaddr_t va = *pointer & mask;
        if (!string_element(v, insn, port, va, bytes)) {
            trap_inject_page_fault(v, va, (out ? 0 : PF_W) | PF_U);
            return DELIVERED;
        }
        *pointer = (*pointer & ~mask) | ((*pointer + step) & mask);
        if (!insn->rep) {
            return DONE;
        }
        regs->rcx = (regs->rcx & ~mask) | ((regs->rcx - 1) & mask);
        if (!(regs->rcx & mask)) {
            return DONE;
        }
    }
    return DELIVERED;
}

static enum outcome do_io(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *insn)
{
    return insn->opcode < 0x80 ? do_string(v, regs, insn) : do_in_out(v, regs, insn);
}

static bool is_io(const struct insn *insn)
{
    uint8_t op = insn->opcode;
    return !insn->two_byte &&
           ((op >= 0x6c && op <= 0x6f) || (op >= 0xe4 && op <= 0xe7) || (op >= 0xec && op <= 0xef));
}

/* ---- control and debug registers ---- */

uint64_t priv_emul_cr4_mask(void)
{
    return X86_CR4_TSD | X86_CR4_DE | (cpuid_guest_xcr0() ? X86_CR4_OSXSAVE : 0);
}

/* Bits that are on for all guests and that they may see. */
#define CR4_FIXED (X86_CR4_PAE | X86_CR4_MCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT)
#define CR0_FIXED                                                                                  \
    (X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_PG)

static uint64_t guest_cr0(const struct vcpu *v)
{
    return CR0_FIXED | (v->pv.ts ? X86_CR0_TS : 0);
}

static void set_ts(struct vcpu *v, bool on)
{
    if (v->pv.ts != on) {
        v->pv.ts = on;
        arch_set_ts(on);
    }
}

/* ABI: a base pointer is read as the frame number rotated, so that 52 bits fit below bit 64. */
static uint64_t guest_cr3(const struct vcpu *v)
{
    mfn_t mfn = v->pv.l4 ? frame_to_mfn(v->pv.l4) : 0;
    return mfn << 12 | mfn >> 52;
}

static enum outcome read_cr(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *insn)
{
    uint64_t value;
    switch (insn->reg) {
    case 0:
        value = guest_cr0(v);
        break;
    case 2:
        value = v->info ? v->info->arch.cr2 : 0;
        break;
    case 3:
        value = guest_cr3(v);
        break;
    case 4:
        value = CR4_FIXED | (v->pv.cr4 & priv_emul_cr4_mask());
        break;
    default:
        return REFUSED;
    }
    insn_reg_write(regs, insn->rm, 8, true, value);
    return DONE;
}

static enum outcome write_cr(struct vcpu *v, const struct cpu_user_regs *regs,
                             const struct insn *insn)
{
    uint64_t value = insn_reg(regs, insn->rm);
    switch (insn->reg) {
    case 0:
        if ((value ^ guest_cr0(v)) & ~X86_CR0_TS) {
            return REFUSED;
        }
        set_ts(v, value & X86_CR0_TS);
        return DONE;
    case 2:
        if (!v->info) {
            return REFUSED;
        }
        v->info->arch.cr2 = value;
        return DONE;
    case 4:
        /* ABI: bits that are not the guest's are dropped, so reading, changing one and writing
         * back works. */
        v->pv.cr4 = value & priv_emul_cr4_mask();
        arch_set_cr4(v);
        return DONE;
    default:
        return REFUSED;
    }
}

/* DR4 and DR5 are 6 and 7 unless CR4.DE says otherwise. */
static bool debug_register(const struct vcpu *v, const struct insn *insn, unsigned *reg)
{
    *reg = insn->reg;
    if ((*reg == 4 || *reg == 5) && !(v->pv.cr4 & X86_CR4_DE)) {
        *reg += 2;
    }
    return *reg < 8 && *reg != 4 && *reg != 5;
}

static enum outcome do_mov_dr(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *insn)
{
    unsigned reg;
    if (!debug_register(v, insn, &reg)) {
        return REFUSED;
    }
    if (insn->opcode == 0x21) {
        insn_reg_write(regs, insn->rm, 8, true, v->pv.debugreg[reg]);
        return DONE;
    }
    return misc_set_debugreg(v, reg, insn_reg(regs, insn->rm)) ? REFUSED : DONE;
}

static bool xcr0_valid(uint64_t value)
{
    bool sse = value & 2, ymm = value & 4;
    uint64_t zmm = value & 0xe0;
    return cpuid_guest_xcr0() && !(value & ~cpuid_guest_xcr0()) && (value & 1) && (!ymm || sse) &&
           (!zmm || (zmm == 0xe0 && ymm));
}

static uint64_t edx_eax(const struct cpu_user_regs *regs)
{
    return regs->rdx << 32 | (uint32_t)regs->rax;
}

static void set_edx_eax(struct cpu_user_regs *regs, uint64_t value)
{
    regs->rax = (uint32_t)value;
    regs->rdx = value >> 32;
}

static enum outcome do_xsetbv(struct vcpu *v, const struct cpu_user_regs *regs)
{
    uint64_t value = edx_eax(regs);
    if ((uint32_t)regs->rcx != 0 || !(v->pv.cr4 & X86_CR4_OSXSAVE) || !xcr0_valid(value)) {
        return REFUSED;
    }
    v->pv.xcr0 = value;
    arch_xsetbv(value);
    return DONE;
}

/* Opcode 0f 01: xsetbv and invlpg of many. */
static enum outcome do_group7(struct vcpu *v, const struct cpu_user_regs *regs,
                              const struct insn *insn)
{
    if (insn->modrm == 0xd1) {
        return do_xsetbv(v, regs);
    }
    if (insn->is_mem && (insn->reg & 7) == 7 && !insn->segment) {
        vaddr_t va = insn_address(insn, regs);
        if (trap_address_ok(va)) {
            arch_tlb_flush_local(FLUSH_ONE, va);
        }
        return DONE;
    }
    return REFUSED;
}

/* ---- the others ---- */

static enum outcome do_rdmsr(struct vcpu *v, struct cpu_user_regs *regs)
{
    uint64_t value;
    if (!msr_read(v, (uint32_t)regs->rcx, &value)) {
        return REFUSED;
    }
    set_edx_eax(regs, value);
    return DONE;
}

static void do_cpuid(struct vcpu *v, struct cpu_user_regs *regs)
{
    struct cpuid_regs r;
    cpuid_guest(v, (uint32_t)regs->rax, (uint32_t)regs->rcx, &r);
    regs->rax = r.eax;
    regs->rbx = r.ebx;
    regs->rcx = r.ecx;
    regs->rdx = r.edx;
}

static enum outcome kernel_two_byte(struct vcpu *v, struct cpu_user_regs *regs,
                                    const struct insn *insn)
{
    switch (insn->opcode) {
    case 0x01:
        return do_group7(v, regs, insn);
    case 0x06: /* clts */
        set_ts(v, false);
        return DONE;
    case 0x08: /* invd, as wbinvd */
    case 0x09:
        if (v->domain->privileged) {
            arch_tlb_flush_local(FLUSH_CACHE, 0);
        }
        return DONE;
    case 0x20:
        return read_cr(v, regs, insn);
    case 0x22:
        return write_cr(v, regs, insn);
    case 0x21:
    case 0x23:
        return do_mov_dr(v, regs, insn);
    case 0x30:
        return msr_write(v, (uint32_t)regs->rcx, edx_eax(regs)) ? DONE : REFUSED;
    case 0x31: /* the kernel itself set CR4.TSD */
        set_edx_eax(regs, arch_rdtsc());
        return DONE;
    case 0x32:
        return do_rdmsr(v, regs);
    default:
        return REFUSED;
    }
}

static enum outcome emulate(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *insn)
{
    if (insn->lock) {
        return REFUSED;
    }
    if (is_io(insn)) {
        return do_io(v, regs, insn);
    }
    if (insn->two_byte && insn->opcode == 0xa2) {
        do_cpuid(v, regs);
        return DONE;
    }
    if (!v->pv.kernel_mode) {
        return REFUSED;
    }
    if (insn->two_byte) {
        return kernel_two_byte(v, regs, insn);
    }
    if ((insn->opcode == 0xfa || insn->opcode == 0xfb) && v->pv.iopl >= 1) {
        return DONE; /* cli, sti: events are masked in vcpu_info */
    }
    return REFUSED;
}

/* After an emulated instruction: what the processor would do at its end. */
static void complete(struct vcpu *v, struct cpu_user_regs *regs, bool mode64, unsigned bytes)
{
    regs->rip += bytes;
    if (!mode64) {
        regs->rip = (uint32_t)regs->rip;
    }
    regs->rflags &= ~X86_EFLAGS_RF;
    if (regs->rflags & X86_EFLAGS_TF) {
        v->pv.debugreg[6] |= DR6_SINGLE_STEP;
        trap_inject(v, TRAP_DB, 0);
    }
}

bool priv_emul_gp(struct vcpu *v, struct cpu_user_regs *regs)
{
    struct insn insn;
    bool known;
    if (regs->error_code) {
        return false;
    }
    bool mode64 = code_is_64bit(v, regs->cs, &known);
    if (!known || insn_fetch(regs, mode64, &insn)) {
        return false;
    }
    switch (emulate(v, regs, &insn)) {
    case DONE:
        complete(v, regs, mode64, insn.bytes);
        return true;
    case DELIVERED:
        return true;
    default:
        return false;
    }
}

bool priv_emul_ud(struct vcpu *v, struct cpu_user_regs *regs)
{
    static const uint8_t prefix[] = {0x0f, 0x0b, 'x', 'e', 'n'}, cpuid[] = {0x0f, 0xa2};
    uint8_t bytes[sizeof(prefix)];
    bool known;
    if (!code_is_64bit(v, regs->cs, &known) || !known) {
        return false;
    }
    if (guest_read(bytes, regs->rip, sizeof(prefix)) || memcmp(bytes, prefix, sizeof(prefix))) {
        return false;
    }
    if (guest_read(bytes, regs->rip + sizeof(prefix), sizeof(cpuid)) ||
        memcmp(bytes, cpuid, sizeof(cpuid))) {
        return false;
    }
    do_cpuid(v, regs);
    complete(v, regs, true, sizeof(prefix) + sizeof(cpuid));
    return true;
}
