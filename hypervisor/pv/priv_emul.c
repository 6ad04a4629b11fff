// SPDX-License-Identifier: MIT
/*
 * Privileged instructions. Guest kernel and guest user both run at CPL 3, so these raise #GP; they
 * are carried out for the kernel only, except port I/O, which user mode may do where the kernel's
 * virtual I/O privilege or bitmap lets it, and CPUID. What is refused leaves no trace.
 *
 * Works on the current vCPU; takes no locks of its own.
 */
#include "arch/layout.h"
#include "base/string.h"
#include "core/guest_access.h"
#include "pv/emul.h"
#include "pv/insn.h"
#include "pv/trap.h"

/* Elements of one `rep ins/outs` done before the guest gets a chance of an interrupt. */
#define STRING_BATCH 128u

#define DR6_SINGLE_STEP (1UL << 14)
#define DESC_LONG (1UL << 53)
#define DESC_CODE (0x18UL << 40)
#define DESC_BASE (0xff0000ffffff0000UL)

/* Bits that are on for all guests and that they may see. */
#define CR4_FIXED (X86_CR4_PAE | X86_CR4_MCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT)
#define CR0_FIXED                                                                                  \
    (X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_PG)

/* How an instruction ends. */
enum outcome {
    REFUSED,   /* #GP for the guest, nothing changed */
    DONE,      /* advance rip */
    DELIVERED, /* rip stays or was changed: an exception was delivered, or it is to be repeated */
};

/* Width of the code segment, 64 or 32; 0: one that we cannot emulate in. */
static unsigned code_width(const struct vcpu *v, uint16_t cs)
{
    if (cs == SEL_GUEST_CS64 || cs == SEL_GUEST_CS32) {
        return cs == SEL_GUEST_CS64 ? 64 : 32;
    }
    bool local = cs & 4;
    unsigned index = cs >> 3;
    if (index >= (local ? v->pv.ldt_entries : v->pv.gdt_entries)) {
        return 0;
    }
    const struct frame *f = (local ? v->pv.ldt : v->pv.gdt)[index / 512];
    uint64_t desc = f ? read_once(((const uint64_t *)frame_to_virt(f))[index % 512]) : 0;
    if ((desc & DESC_CODE) != DESC_CODE) {
        return 0;
    }
    return desc & DESC_LONG ? 64 : desc & DESC_BASE ? 0 : 32;
}

/* ---- port I/O ---- */

/* May the present mode touch the port: by virtual IOPL or by the kernel's bitmap. */
static bool port_allowed(struct vcpu *v, uint16_t port, unsigned bytes)
{
    uint16_t bits = 0;
    unsigned shift = port % 8, need = shift + bytes > 8 ? 2 : 1;
    if (v->pv.iopl >= (v->pv.kernel_mode ? 1 : 3)) {
        return true;
    }
    return (uint32_t)port + bytes <= v->pv.iobmp_ports &&
           !guest_read(&bits, v->pv.iobmp + port / 8, need) &&
           !(bits >> shift & ((1U << bytes) - 1));
}

static enum outcome do_in_out(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *insn)
{
    unsigned bytes = MIN(insn->operand, 4);
    uint16_t port = insn->has_imm ? (uint8_t)insn->imm : (uint16_t)regs->rdx;
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

/* One element of ins or outs; false: memory at va faulted. */
static bool string_element(struct vcpu *v, bool out, uint16_t port, vaddr_t va, unsigned bytes)
{
    uint32_t value = 0;
    /* A port must not be read in vain: look whether the memory can be written first. */
    if (guest_read(&value, va, bytes) || (!out && guest_write(va, &value, bytes))) {
        return false;
    }
    if (out) {
        ioport_out(v->domain, port, bytes, value);
        return true;
    }
    value = ioport_in(v->domain, port, bytes);
    return guest_write(va, &value, bytes) == 0;
}

static enum outcome do_string(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *insn)
{
    bool out = insn->opcode & 2;
    unsigned bytes = MIN(insn->operand, 4);
    uint16_t port = (uint16_t)regs->rdx;
    uint64_t mask = insn_width_mask(insn->address);
    uint64_t *pointer = out ? &regs->rsi : &regs->rdi;
    uint64_t step = regs->rflags & X86_EFLAGS_DF ? -(uint64_t)bytes : bytes;
    /* Only outs can have another segment than es or ds, and only fs and gs have bases. */
    if (insn->segment || !port_allowed(v, port, bytes)) {
        return REFUSED;
    }
    for (unsigned i = 0; i < STRING_BATCH; i++) {
        if (insn->rep && !(regs->rcx & mask)) {
            return DONE;
        }
        vaddr_t va = *pointer & mask;
        if (!string_element(v, out, port, va, bytes)) {
            trap_inject_page_fault(v, va, (out ? 0 : PF_W) | PF_U);
            return DELIVERED;
        }
        *pointer = (*pointer & ~mask) | ((*pointer + step) & mask);
        if (!insn->rep) {
            return DONE;
        }
        regs->rcx = (regs->rcx & ~mask) | ((regs->rcx - 1) & mask);
    }
    return regs->rcx & mask ? DELIVERED : DONE;
}

/* ---- what UMIP hides ---- */

/* ABI: what Linux tells user programs where it uses UMIP itself. Both addresses are a kernel's. */
#define SHOWN_GDT_BASE 0xfffffffffffe0000UL
#define SHOWN_IDT_BASE 0xffffffffffff0000UL

static enum outcome store(struct vcpu *v, vaddr_t va, const void *data, size_t bytes)
{
    if (!is_canonical(va) || !is_canonical(va + bytes - 1)) {
        return REFUSED;
    }
    for (size_t done = 0, part; done < bytes; done += part) {
        part = MIN(bytes - done, PAGE_SIZE - ((va + done) & ~PAGE_MASK));
        if (guest_write(va + done, (const char *)data + done, part)) {
            trap_inject_page_fault(v, va + done, PF_W);
            return DELIVERED;
        }
    }
    return DONE;
}

static uint64_t guest_cr0(const struct vcpu *v)
{
    return CR0_FIXED | (v->pv.ts ? X86_CR0_TS : 0);
}

/* sgdt, sidt, sldt, str, smsw: they tell user programs, too, but nothing about us. */
static enum outcome do_store_system(struct vcpu *v, struct cpu_user_regs *regs,
                                    const struct insn *insn)
{
    enum { SLDT = 0x1000, STR, SGDT = 0x1010, SIDT, SMSW = 0x1014 };
    struct packed {
        uint16_t limit;
        uint64_t base;
    } table = {0, SHOWN_GDT_BASE};
    uint64_t value = 0; /* selectors of no LDT and no task */
    vaddr_t va = insn_address(insn, regs);
    if (insn->segment) {
        va += arch_get_segment_base(insn->segment == 0x64 ? SEGBASE_FS : SEGBASE_GS_KERNEL);
        va = insn->mode64 ? va : (uint32_t)va;
    }
    switch (insn->opcode << 4 | (insn->reg & 7)) {
    case SIDT:
        table.base = SHOWN_IDT_BASE;
        /* fall through */
    case SGDT:
        return insn->is_mem ? store(v, va, &table, insn->mode64 ? 10 : 6) : REFUSED;
    case SMSW:
        value = guest_cr0(v);
        /* fall through */
    case SLDT:
    case STR:
        if (insn->is_mem) {
            return store(v, va, &value, 2);
        }
        insn_reg_write(regs, insn->rm, insn->operand, true, value);
        return DONE;
    default:
        return REFUSED;
    }
}

/* ---- control and debug registers ---- */

/* CR4 bits a guest may choose. */
static uint64_t guest_cr4_mask(void)
{
    return X86_CR4_TSD | X86_CR4_DE | (cpuid_guest_xcr0() ? X86_CR4_OSXSAVE : 0);
}

static enum outcome read_cr(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *insn)
{
    uint64_t value;
    mfn_t l4;
    switch (insn->reg) {
    case 0:
        value = guest_cr0(v);
        break;
    case 2:
        value = v->info ? v->info->arch.cr2 : 0;
        break;
    case 3:
        /* ABI: the frame number rotated, so that 52 bits fit below bit 64. */
        l4 = v->pv.l4 ? frame_to_mfn(v->pv.l4) : 0;
        value = l4 << 12 | l4 >> 52;
        break;
    case 4:
        value = CR4_FIXED | (v->pv.cr4 & guest_cr4_mask());
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
    if (insn->reg == 0 && !((value ^ guest_cr0(v)) & ~X86_CR0_TS)) {
        misc_set_ts(v, value & X86_CR0_TS);
    } else if (insn->reg == 2 && v->info) {
        v->info->arch.cr2 = value;
    } else if (insn->reg == 4) {
        /* ABI: bits that are not the guest's are dropped, so reading, changing one and writing
         * back works. */
        v->pv.cr4 = value & guest_cr4_mask();
        arch_set_cr4(v);
    } else {
        return REFUSED;
    }
    return DONE;
}

static enum outcome do_mov_dr(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *insn)
{
    unsigned reg = misc_debugreg_alias(insn->reg);
    if (reg >= 8 || (reg != insn->reg && (v->pv.cr4 & X86_CR4_DE))) {
        return REFUSED;
    }
    if (insn->opcode == 0x121) {
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

/* Opcode 0f 01: xsetbv and invlpg of many. */
static enum outcome do_group7(struct vcpu *v, const struct cpu_user_regs *regs,
                              const struct insn *insn)
{
    uint64_t xcr0 = edx_eax(regs);
    if (insn->modrm == 0xd1 && (uint32_t)regs->rcx == 0 && (v->pv.cr4 & X86_CR4_OSXSAVE) &&
        xcr0_valid(xcr0)) {
        v->pv.xcr0 = xcr0;
        arch_xsetbv(xcr0);
        return DONE;
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

/* ---- all of them ---- */

static enum outcome do_cpuid(const struct vcpu *v, struct cpu_user_regs *regs)
{
    struct cpuid_regs r = cpuid_guest(v, (uint32_t)regs->rax, (uint32_t)regs->rcx);
    regs->rax = r.eax;
    regs->rbx = r.ebx;
    regs->rcx = r.ecx;
    regs->rdx = r.edx;
    return DONE;
}

static enum outcome emulate_kernel(struct vcpu *v, struct cpu_user_regs *regs,
                                   const struct insn *insn)
{
    uint64_t value;
    switch (insn->opcode) {
    case 0xfa ... 0xfb: /* cli, sti: events are masked in vcpu_info */
        return v->pv.iopl >= 1 ? DONE : REFUSED;
    case 0x101:
        return do_group7(v, regs, insn);
    case 0x106: /* clts */
        misc_set_ts(v, false);
        return DONE;
    case 0x108 ... 0x109: /* invd, as wbinvd */
        if (v->domain->privileged) {
            arch_tlb_flush_local(FLUSH_CACHE, 0);
        }
        return DONE;
    case 0x120:
        return read_cr(v, regs, insn);
    case 0x122:
        return write_cr(v, regs, insn);
    case 0x121:
    case 0x123:
        return do_mov_dr(v, regs, insn);
    case 0x130:
        return msr_write(v, (uint32_t)regs->rcx, edx_eax(regs)) ? DONE : REFUSED;
    case 0x131: /* the kernel itself set CR4.TSD */
        set_edx_eax(regs, arch_rdtsc());
        return DONE;
    case 0x132:
        if (!msr_read(v, (uint32_t)regs->rcx, &value)) {
            return REFUSED;
        }
        set_edx_eax(regs, value);
        return DONE;
    default:
        return REFUSED;
    }
}

static enum outcome emulate(struct vcpu *v, struct cpu_user_regs *regs, const struct insn *insn)
{
    if (insn->lock) {
        return REFUSED;
    }
    switch (insn->opcode) {
    case 0x6c ... 0x6f:
        return do_string(v, regs, insn);
    case 0xe4 ... 0xe7:
    case 0xec ... 0xef:
        return do_in_out(v, regs, insn);
    case 0x1a2:
        return do_cpuid(v, regs);
    case 0x100 ... 0x101: {
        enum outcome outcome = do_store_system(v, regs, insn);
        return outcome == REFUSED && v->pv.kernel_mode ? emulate_kernel(v, regs, insn) : outcome;
    }
    default:
        return v->pv.kernel_mode ? emulate_kernel(v, regs, insn) : REFUSED;
    }
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
    unsigned width = regs->error_code ? 0 : code_width(v, regs->cs);
    if (!width || insn_fetch(regs, width == 64, &insn)) {
        return false;
    }
    enum outcome outcome = emulate(v, regs, &insn);
    if (outcome == DONE) {
        complete(v, regs, width == 64, insn.bytes);
    }
    return outcome != REFUSED;
}

bool priv_emul_ud(struct vcpu *v, struct cpu_user_regs *regs)
{
    static const uint8_t prefixed_cpuid[] = {0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2};
    uint8_t bytes[sizeof(prefixed_cpuid)];
    if (code_width(v, regs->cs) != 64 || guest_read(bytes, regs->rip, sizeof(bytes)) ||
        memcmp(bytes, prefixed_cpuid, sizeof(bytes))) {
        return false;
    }
    (void)do_cpuid(v, regs);
    complete(v, regs, true, sizeof(bytes));
    return true;
}
