// SPDX-License-Identifier: MIT
/*
 * Instruction decode for emulation. Only what the emulators use has an entry in shape_of(): an
 * instruction that is not listed cannot be decoded, so it cannot be emulated by mistake. No locks;
 * called with the guest's registers as current.
 */
#include "pv/insn.h"

#include "arch/arch.h"
#include "core/guest_access.h"

#define SHAPE_MODRM 1u
#define SHAPE_BYTE 2u /* one-byte operand */
#define SHAPE_IMM8 4u
#define SHAPE_IMM 8u    /* immediate of operand size, at most 4 bytes */
#define SHAPE_MOFFS 16u /* absolute address of address size */
#define SHAPE_QUAD 32u  /* 64-bit operand whatever the prefixes say */
#define SHAPE_NONE 64u  /* no operand bytes */

#define ARITH_FLAGS 0x8d5u /* CF PF AF ZF SF OF */
#define FLAG_CF 1u
#define FLAG_PF 4u
#define FLAG_ZF 0x40u
#define FLAG_SF 0x80u
#define FLAG_OF 0x800u
#define FLAG_AF 0x10u

struct cursor {
    const uint8_t *at;
    unsigned left;
    bool ran_out;
};

static uint8_t next_byte(struct cursor *c)
{
    if (!c->left) {
        c->ran_out = true;
        return 0;
    }
    c->left--;
    return *c->at++;
}

static int64_t next_signed(struct cursor *c, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)next_byte(c) << (8 * i);
    }
    unsigned shift = 64 - 8 * bytes;
    return (int64_t)(value << shift) >> shift;
}

static unsigned shape_one_byte(uint8_t opcode)
{
    switch (opcode) {
    case 0x08: /* or, and, xor: memory from register */
    case 0x20:
    case 0x30:
    case 0x86: /* xchg */
    case 0x88: /* mov */
        return SHAPE_MODRM | SHAPE_BYTE;
    case 0x09:
    case 0x21:
    case 0x31:
    case 0x87:
    case 0x89:
        return SHAPE_MODRM;
    case 0x80: /* the same from an immediate */
    case 0xc6:
        return SHAPE_MODRM | SHAPE_BYTE | SHAPE_IMM8;
    case 0x83:
        return SHAPE_MODRM | SHAPE_IMM8;
    case 0x81:
    case 0xc7:
        return SHAPE_MODRM | SHAPE_IMM;
    case 0xa2: /* mov to an absolute address */
        return SHAPE_MOFFS | SHAPE_BYTE;
    case 0xa3:
        return SHAPE_MOFFS;
    case 0x6c: /* ins, outs */
    case 0x6e:
    case 0xec: /* in, out with dx */
    case 0xee:
        return SHAPE_NONE | SHAPE_BYTE;
    case 0xe4: /* in, out with a port number */
    case 0xe6:
        return SHAPE_IMM8 | SHAPE_BYTE;
    case 0xe5:
    case 0xe7:
        return SHAPE_IMM8;
    case 0x6d:
    case 0x6f:
    case 0xed:
    case 0xef:
    case 0xf4: /* hlt, cli, sti */
    case 0xfa:
    case 0xfb:
        return SHAPE_NONE;
    default:
        return 0;
    }
}

static unsigned shape_two_byte(uint8_t opcode)
{
    switch (opcode) {
    case 0x01: /* xsetbv, invlpg, ... */
    case 0xab: /* bts, btr, btc */
    case 0xb1: /* cmpxchg */
    case 0xb3:
    case 0xbb:
        return SHAPE_MODRM;
    case 0xb0:
        return SHAPE_MODRM | SHAPE_BYTE;
    case 0xba:
        return SHAPE_MODRM | SHAPE_IMM8;
    case 0x20: /* mov to and from control and debug registers */
    case 0x21:
    case 0x22:
    case 0x23:
        return SHAPE_MODRM | SHAPE_QUAD;
    case 0x06: /* clts, invd, wbinvd, wrmsr, rdtsc, rdmsr, cpuid */
    case 0x08:
    case 0x09:
    case 0x30:
    case 0x31:
    case 0x32:
    case 0xa2:
        return SHAPE_NONE;
    default:
        return 0;
    }
}

/* Memory operand in 64-bit addressing: ModRM, SIB, displacement. */
static void decode_memory(struct cursor *c, struct insn *out, unsigned rex)
{
    unsigned mod = out->modrm >> 6, rm = out->modrm & 7;
    out->is_mem = true;
    out->base = (uint8_t)(rm | (rex & 1) << 3);
    out->index = INSN_NO_REG;
    if (rm == 4) {
        uint8_t sib = next_byte(c);
        unsigned index = (sib >> 3 & 7) | (rex & 2) << 2;
        out->base = (uint8_t)((sib & 7) | (rex & 1) << 3);
        out->index = index == 4 ? INSN_NO_REG : (uint8_t)index;
        out->scale = sib >> 6;
        if ((sib & 7) == 5 && mod == 0) {
            out->base = INSN_NO_REG;
            out->disp = next_signed(c, 4);
            return;
        }
    } else if (rm == 5 && mod == 0) {
        out->base = INSN_REG_RIP;
        out->disp = next_signed(c, 4);
        return;
    }
    if (mod == 1) {
        out->disp = next_signed(c, 1);
    } else if (mod == 2) {
        out->disp = next_signed(c, 4);
    }
}

static void decode_modrm(struct cursor *c, struct insn *out, unsigned rex)
{
    out->has_modrm = true;
    out->modrm = next_byte(c);
    out->reg = (uint8_t)((out->modrm >> 3 & 7) | (rex & 4) << 1);
    out->rm = (uint8_t)((out->modrm & 7) | (rex & 1) << 3);
    /* Moves of control and debug registers ignore the mod field. */
    bool always_reg = out->two_byte && out->opcode >= 0x20 && out->opcode <= 0x23;
    if (out->modrm >> 6 != 3 && !always_reg) {
        decode_memory(c, out, rex);
    }
}

/* Prefixes up to the opcode's first byte, which is returned. A REX prefix counts only right before
 * it. */
static uint8_t decode_prefixes(struct cursor *c, bool mode64, struct insn *out, unsigned *rex,
                               bool *narrow)
{
    for (;;) {
        uint8_t b = next_byte(c);
        if (mode64 && (b & 0xf0) == 0x40) {
            *rex = b;
            continue;
        }
        switch (b) {
        case 0x66:
            *narrow = true;
            break;
        case 0x67:
            out->address = mode64 ? 4 : 2;
            break;
        case 0xf2:
        case 0xf3:
            out->rep = b;
            break;
        case 0xf0:
            out->lock = true;
            break;
        case 0x64:
        case 0x65:
            out->segment = b;
            break;
        case 0x26: /* es, cs, ss, ds: bases are 0 */
        case 0x2e:
        case 0x36:
        case 0x3e:
            break;
        default:
            return b;
        }
        *rex = 0;
        if (c->ran_out) {
            return 0;
        }
    }
}

int insn_decode(const uint8_t *bytes, unsigned count, bool mode64, struct insn *out)
{
    struct cursor c = {bytes, MIN(count, (unsigned)INSN_BYTES_MAX), false};
    unsigned rex = 0;
    bool narrow = false;
    *out = (struct insn){.address = mode64 ? 8 : 4, .base = INSN_NO_REG, .index = INSN_NO_REG};
    out->opcode = decode_prefixes(&c, mode64, out, &rex, &narrow);
    if (out->opcode == 0x0f) {
        out->two_byte = true;
        out->opcode = next_byte(&c);
    }
    if (c.ran_out) {
        return -ENODATA;
    }
    unsigned shape = out->two_byte ? shape_two_byte(out->opcode) : shape_one_byte(out->opcode);
    if (!shape || out->address == 2 || (!mode64 && (shape & (SHAPE_MODRM | SHAPE_MOFFS)))) {
        return -EINVAL;
    }
    out->has_rex = rex;
    out->rex_w = rex & 8;
    out->operand = shape & SHAPE_BYTE ? 1 : (rex & 8) || (shape & SHAPE_QUAD) ? 8 : narrow ? 2 : 4;
    if (shape & SHAPE_MODRM) {
        decode_modrm(&c, out, rex);
    }
    if (shape & SHAPE_MOFFS) {
        out->is_mem = true;
        out->disp = next_signed(&c, out->address);
    }
    if (shape & SHAPE_IMM8) {
        out->imm = next_signed(&c, 1);
    } else if (shape & SHAPE_IMM) {
        out->imm = next_signed(&c, MIN(out->operand, 4));
    }
    if (c.ran_out) {
        return -ENODATA;
    }
    out->bytes = (uint8_t)(c.at - bytes);
    return 0;
}

int insn_fetch(const struct cpu_user_regs *regs, bool mode64, struct insn *out)
{
    uint8_t bytes[INSN_BYTES_MAX];
    vaddr_t rip = mode64 ? regs->rip : (uint32_t)regs->rip;
    unsigned in_page = (unsigned)(PAGE_SIZE - (rip & ~PAGE_MASK));
    unsigned have = MIN(in_page, (unsigned)INSN_BYTES_MAX);
    if (guest_read(bytes, rip, have)) {
        return -EFAULT;
    }
    int rc = insn_decode(bytes, have, mode64, out);
    if (rc == -ENODATA && have < INSN_BYTES_MAX) {
        if (guest_read(bytes + have, rip + have, INSN_BYTES_MAX - have)) {
            return -EFAULT;
        }
        rc = insn_decode(bytes, INSN_BYTES_MAX, mode64, out);
    }
    return rc == -ENODATA ? -EINVAL : rc;
}

/* ---- registers ---- */

static const uint8_t reg_offset[16] = {
    offsetof(struct cpu_user_regs, rax), offsetof(struct cpu_user_regs, rcx),
    offsetof(struct cpu_user_regs, rdx), offsetof(struct cpu_user_regs, rbx),
    offsetof(struct cpu_user_regs, rsp), offsetof(struct cpu_user_regs, rbp),
    offsetof(struct cpu_user_regs, rsi), offsetof(struct cpu_user_regs, rdi),
    offsetof(struct cpu_user_regs, r8),  offsetof(struct cpu_user_regs, r9),
    offsetof(struct cpu_user_regs, r10), offsetof(struct cpu_user_regs, r11),
    offsetof(struct cpu_user_regs, r12), offsetof(struct cpu_user_regs, r13),
    offsetof(struct cpu_user_regs, r14), offsetof(struct cpu_user_regs, r15),
};

uint64_t insn_reg(const struct cpu_user_regs *regs, unsigned nr)
{
    return *(const uint64_t *)((const char *)regs + reg_offset[nr & 15]);
}

static uint64_t width_mask(unsigned bytes)
{
    return bytes >= 8 ? ~0UL : (1UL << (8 * bytes)) - 1;
}

/* One-byte registers 4 to 7 without REX are the second bytes of 0 to 3. */
static bool is_high_byte(unsigned nr, unsigned bytes, bool has_rex)
{
    return bytes == 1 && !has_rex && nr >= 4 && nr < 8;
}

static uint64_t reg_read(const struct cpu_user_regs *regs, unsigned nr, unsigned bytes,
                         bool has_rex)
{
    if (is_high_byte(nr, bytes, has_rex)) {
        return insn_reg(regs, nr - 4) >> 8 & 0xff;
    }
    return insn_reg(regs, nr) & width_mask(bytes);
}

void insn_reg_write(struct cpu_user_regs *regs, unsigned nr, unsigned bytes, bool has_rex,
                    uint64_t value)
{
    bool high = is_high_byte(nr, bytes, has_rex);
    uint64_t *reg = (uint64_t *)((char *)regs + reg_offset[(high ? nr - 4 : nr) & 15]);
    uint64_t mask = bytes == 4 ? ~0UL : width_mask(bytes);
    value &= width_mask(bytes);
    if (high) {
        mask <<= 8;
        value <<= 8;
    }
    *reg = (*reg & ~mask) | value;
}

vaddr_t insn_address(const struct insn *insn, const struct cpu_user_regs *regs)
{
    uint64_t va = (uint64_t)insn->disp;
    if (insn->base == INSN_REG_RIP) {
        va += regs->rip + insn->bytes;
    } else if (insn->base != INSN_NO_REG) {
        va += insn_reg(regs, insn->base);
    }
    if (insn->index != INSN_NO_REG) {
        va += insn_reg(regs, insn->index) << insn->scale;
    }
    return insn->address == 4 ? (uint32_t)va : va;
}

/* ---- stores ---- */

static bool group_op(unsigned reg, enum insn_store_op *op)
{
    switch (reg & 7) {
    case 1:
        *op = STORE_OR;
        return true;
    case 4:
        *op = STORE_AND;
        return true;
    case 6:
        *op = STORE_XOR;
        return true;
    default:
        return false;
    }
}

/* What a one-byte opcode stores; immediate: the source is one. */
static bool store_one_byte(const struct insn *insn, enum insn_store_op *op, bool *immediate)
{
    *immediate = false;
    switch (insn->opcode) {
    case 0x08:
    case 0x09:
        *op = STORE_OR;
        return true;
    case 0x20:
    case 0x21:
        *op = STORE_AND;
        return true;
    case 0x30:
    case 0x31:
        *op = STORE_XOR;
        return true;
    case 0x86:
    case 0x87:
        *op = STORE_XCHG;
        return true;
    case 0x88:
    case 0x89:
    case 0xa2:
    case 0xa3:
        *op = STORE_MOV;
        return true;
    case 0xc6:
    case 0xc7:
        *op = STORE_MOV;
        *immediate = true;
        return (insn->reg & 7) == 0;
    case 0x80:
    case 0x81:
    case 0x83:
        *immediate = true;
        return group_op(insn->reg, op);
    default:
        return false;
    }
}

static bool store_two_byte(const struct insn *insn, enum insn_store_op *op, bool *immediate)
{
    *immediate = false;
    switch (insn->opcode) {
    case 0xb0:
    case 0xb1:
        *op = STORE_CMPXCHG;
        return true;
    case 0xab:
        *op = STORE_BTS;
        return true;
    case 0xb3:
        *op = STORE_BTR;
        return true;
    case 0xbb:
        *op = STORE_BTC;
        return true;
    case 0xba:
        *op = (insn->reg & 7) == 5 ? STORE_BTS : (insn->reg & 7) == 6 ? STORE_BTR : STORE_BTC;
        *immediate = true;
        return (insn->reg & 7) >= 5;
    default:
        return false;
    }
}

/* A bit number from a register counts from the operand on, in either direction. */
static void locate_bit(struct insn_store *s, bool immediate)
{
    int64_t bit = (int64_t)s->source;
    int64_t bits = s->bytes * 8;
    if (!immediate) {
        unsigned shift = 64 - (unsigned)bits;
        bit = (int64_t)((uint64_t)bit << shift) >> shift;
        /* bits is a power of two: round down to whole operands. */
        s->address += (uint64_t)((bit & ~(bits - 1)) / 8);
    }
    s->source = (uint64_t)bit & (uint64_t)(bits - 1);
}

int insn_decode_store(const struct cpu_user_regs *regs, struct insn_store *out)
{
    struct insn insn;
    bool immediate;
    int rc = insn_fetch(regs, true, &insn);
    if (rc) {
        return rc;
    }
    /* A string repetition prefix on these would be another instruction or means nothing. */
    if (!insn.is_mem || insn.segment || insn.rep) {
        return -EINVAL;
    }
    if (!(insn.two_byte ? store_two_byte : store_one_byte)(&insn, &out->op, &immediate)) {
        return -EINVAL;
    }
    out->address = insn_address(&insn, regs);
    out->bytes = insn.operand;
    out->reg = insn.reg;
    out->has_rex = insn.has_rex;
    out->insn_bytes = insn.bytes;
    if (immediate) {
        out->source = (uint64_t)insn.imm & width_mask(insn.operand);
    } else {
        out->source = reg_read(regs, insn.reg, insn.operand, insn.has_rex);
    }
    if (out->op >= STORE_BTS) {
        locate_bit(out, immediate);
    }
    return 0;
}

bool insn_store_value(const struct insn_store *s, const struct cpu_user_regs *regs, uint64_t old,
                      uint64_t *value)
{
    switch (s->op) {
    case STORE_CMPXCHG:
        if (old != (regs->rax & width_mask(s->bytes))) {
            return false;
        }
        *value = s->source;
        return true;
    case STORE_AND:
        *value = old & s->source;
        return true;
    case STORE_OR:
        *value = old | s->source;
        return true;
    case STORE_XOR:
        *value = old ^ s->source;
        return true;
    case STORE_BTS:
        *value = old | 1UL << s->source;
        return true;
    case STORE_BTR:
        *value = old & ~(1UL << s->source);
        return true;
    case STORE_BTC:
        *value = old ^ 1UL << s->source;
        return true;
    default:
        *value = s->source;
        return true;
    }
}

static uint64_t result_flags(uint64_t result, unsigned bytes)
{
    uint64_t flags = 0;
    if (!result) {
        flags |= FLAG_ZF;
    }
    if (result >> (bytes * 8 - 1) & 1) {
        flags |= FLAG_SF;
    }
    if (!__builtin_parity((unsigned)(result & 0xff))) {
        flags |= FLAG_PF;
    }
    return flags;
}

/* Flags of left - right, as a comparison leaves them. */
static uint64_t compare_flags(uint64_t left, uint64_t right, unsigned bytes)
{
    uint64_t diff = (left - right) & width_mask(bytes);
    uint64_t flags = result_flags(diff, bytes);
    if (left < right) {
        flags |= FLAG_CF;
    }
    if ((left ^ right ^ diff) & 0x10) {
        flags |= FLAG_AF;
    }
    if ((left ^ right) & (left ^ diff) & 1UL << (bytes * 8 - 1)) {
        flags |= FLAG_OF;
    }
    return flags;
}

void insn_store_finish(const struct insn_store *s, struct cpu_user_regs *regs, uint64_t old)
{
    uint64_t value;
    bool stored = insn_store_value(s, regs, old, &value);
    uint64_t flags = regs->rflags & ~(uint64_t)ARITH_FLAGS;
    switch (s->op) {
    case STORE_XCHG:
        insn_reg_write(regs, s->reg, s->bytes, s->has_rex, old);
        break;
    case STORE_CMPXCHG:
        regs->rflags = flags | compare_flags(regs->rax & width_mask(s->bytes), old, s->bytes);
        if (!stored) {
            insn_reg_write(regs, 0, s->bytes, true, old);
        }
        break;
    case STORE_AND:
    case STORE_OR:
    case STORE_XOR:
        regs->rflags = flags | result_flags(value, s->bytes);
        break;
    case STORE_BTS:
    case STORE_BTR:
    case STORE_BTC:
        regs->rflags = (regs->rflags & ~(uint64_t)FLAG_CF) | (old >> s->source & 1);
        break;
    case STORE_MOV:
        break;
    }
    regs->rflags &= ~X86_EFLAGS_RF;
    regs->rip += s->insn_bytes;
}
