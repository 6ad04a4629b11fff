// SPDX-License-Identifier: MIT
/*
 * Instruction decode for emulation. Only what the emulators use has a row in opcodes[]: an
 * instruction that is not listed cannot be decoded, so it cannot be emulated by mistake. No locks;
 * called with the guest's registers as current.
 */
#include "pv/insn.h"

#include "arch/arch.h"
#include "base/config.h"
#include "base/string.h"
#include "core/guest_access.h"

/* What follows an opcode. */
#define NOTHING 1u
#define MODRM 2u
#define IMM8 4u
#define IMM 8u    /* immediate of operand size, at most 4 bytes */
#define MOFFS 16u /* absolute address of address size */
/* The operand's size, if not the prefixes' choice. */
#define WIDTH 32u   /* even opcodes work on one byte */
#define QUAD 64u    /* 64 bits, in a register whatever the mod field says */
#define CODE32 128u /* with ModRM, and known in 32-bit code too */

/* In the place of a store: the reg field of ModRM says which. */
enum { GROUP_ARITH = STORE_BTC + 1, GROUP_MOV, GROUP_BIT };

static const uint8_t groups[][8] = {
    [GROUP_ARITH - GROUP_ARITH] = {[1] = STORE_OR, [4] = STORE_AND, [6] = STORE_XOR},
    [GROUP_MOV - GROUP_ARITH] = {[0] = STORE_MOV},
    [GROUP_BIT - GROUP_ARITH] = {[5] = STORE_BTS, [6] = STORE_BTR, [7] = STORE_BTC},
};

static const struct {
    uint8_t shape, store;
} opcodes[512] = {
    [0x08 ... 0x09] = {MODRM | WIDTH, STORE_OR},
    [0x20 ... 0x21] = {MODRM | WIDTH, STORE_AND},
    [0x30 ... 0x31] = {MODRM | WIDTH, STORE_XOR},
    [0x6c ... 0x6f] = {NOTHING | WIDTH, STORE_NONE}, /* ins, outs */
    [0x80 ... 0x81] = {MODRM | IMM | WIDTH, GROUP_ARITH},
    [0x83] = {MODRM | IMM8, GROUP_ARITH},
    [0x86 ... 0x87] = {MODRM | WIDTH, STORE_XCHG},
    [0x88 ... 0x89] = {MODRM | WIDTH, STORE_MOV},
    [0xa2 ... 0xa3] = {MOFFS | WIDTH, STORE_MOV},
    [0xc6 ... 0xc7] = {MODRM | IMM | WIDTH, GROUP_MOV},
    [0xe4 ... 0xe7] = {IMM8 | WIDTH, STORE_NONE},     /* in, out with a port number */
    [0xec ... 0xef] = {NOTHING | WIDTH, STORE_NONE},  /* in, out with dx */
    [0xf4] = {NOTHING, STORE_NONE},                   /* hlt */
    [0xfa ... 0xfb] = {NOTHING, STORE_NONE},          /* cli, sti */
    [0x100 ... 0x101] = {MODRM | CODE32, STORE_NONE}, /* sldt, ..., xsetbv, invlpg, ... */
    [0x106] = {NOTHING, STORE_NONE},                  /* clts */
    [0x108 ... 0x109] = {NOTHING, STORE_NONE},        /* invd, wbinvd */
    [0x120 ... 0x123] = {MODRM | QUAD, STORE_NONE},   /* mov, control and debug registers */
    [0x130 ... 0x132] = {NOTHING, STORE_NONE},        /* wrmsr, rdtsc, rdmsr */
    [0x1a2] = {NOTHING, STORE_NONE},                  /* cpuid */
    [0x1ab] = {MODRM, STORE_BTS},
    [0x1b0 ... 0x1b1] = {MODRM | WIDTH, STORE_CMPXCHG},
    [0x1b3] = {MODRM, STORE_BTR},
    [0x1ba] = {MODRM | IMM8, GROUP_BIT},
    [0x1bb] = {MODRM, STORE_BTC},
};

#define FLAG_CF 1u
#define FLAG_PF 4u
#define FLAG_AF 0x10u
#define FLAG_ZF 0x40u
#define FLAG_SF 0x80u
#define FLAG_OF 0x800u
#define ARITH_FLAGS (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

struct cursor {
    const uint8_t *at;
    unsigned left;
    bool ran_out;
};

/* 0 when there is no more: an opcode, neither prefix nor known. */
static uint8_t next_byte(struct cursor *c)
{
    if (!c->left) {
        c->ran_out = true;
        return 0;
    }
    c->left--;
    return *c->at++;
}

static uint64_t sign_extend(uint64_t value, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (uint64_t)((int64_t)(value << shift) >> shift);
}

static int64_t next_signed(struct cursor *c, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)next_byte(c) << (8 * i);
    }
    return (int64_t)sign_extend(value, bytes);
}

/* Memory operand in 64- or 32-bit addressing: SIB and displacement. */
static void decode_memory(struct cursor *c, bool mode64, struct insn *out)
{
    unsigned mod = out->modrm >> 6;
    bool has_sib = (out->rm & 7) == 4;
    out->is_mem = true;
    out->base = out->rm;
    if (has_sib) {
        uint8_t sib = next_byte(c);
        unsigned index = (sib >> 3 & 7) | (out->rex & 2) << 2;
        out->base = (uint8_t)((sib & 7) | (out->rex & 1) << 3);
        out->index = index == 4 ? INSN_NO_REG : (uint8_t)index;
        out->scale = sib >> 6;
    }
    bool no_base = mod == 0 && (out->base & 7) == 5;
    if (no_base) {
        out->base = has_sib || !mode64 ? INSN_NO_REG : INSN_REG_RIP;
    }
    if (mod || no_base) {
        out->disp = next_signed(c, mod == 1 ? 1 : 4);
    }
}

/* Prefixes up to the opcode's first byte, which is returned. A REX prefix counts only right before
 * it. */
static uint8_t decode_prefixes(struct cursor *c, bool mode64, struct insn *out)
{
    for (;; out->rex = 0) {
        uint8_t b = next_byte(c);
        while (mode64 && (b & 0xf0) == 0x40) {
            out->rex = b;
            b = next_byte(c);
        }
        if (b == 0x66) {
            out->operand = 2;
        } else if (b == 0x67) {
            out->address = mode64 ? 4 : 2;
        } else if (b == 0xf2 || b == 0xf3) {
            out->rep = b;
        } else if (b == 0xf0) {
            out->lock = true;
        } else if (b == 0x64 || b == 0x65) {
            out->segment = b;
        } else if ((b & 0xe7) != 0x26) { /* es, cs, ss, ds: bases are 0 */
            return b;
        }
    }
}

int insn_decode(const uint8_t *bytes, unsigned count, bool mode64, struct insn *out)
{
    struct cursor c = {bytes, MIN(count, (unsigned)INSN_BYTES_MAX), false};
    *out = (struct insn){.mode64 = mode64,
                         .operand = 4,
                         .address = mode64 ? 8 : 4,
                         .base = INSN_NO_REG,
                         .index = INSN_NO_REG};
    out->opcode = decode_prefixes(&c, mode64, out);
    if (out->opcode == 0x0f) {
        out->opcode = 0x100 | next_byte(&c);
    }
    if (c.ran_out) {
        return -ENODATA;
    }
    unsigned shape = opcodes[out->opcode].shape, store = opcodes[out->opcode].store;
    if (!shape || out->address == 2 ||
        (!mode64 && (shape & (MODRM | MOFFS)) && !(shape & CODE32))) {
        return -EINVAL;
    }
    if ((shape & WIDTH) && !(out->opcode & 1)) {
        out->operand = 1;
    } else if ((out->rex & 8) || (shape & QUAD)) {
        out->operand = 8;
    }
    if (shape & MODRM) {
        out->modrm = next_byte(&c);
        out->reg = (uint8_t)((out->modrm >> 3 & 7) | (out->rex & 4) << 1);
        out->rm = (uint8_t)((out->modrm & 7) | (out->rex & 1) << 3);
        if (out->modrm >> 6 != 3 && !(shape & QUAD)) {
            decode_memory(&c, mode64, out);
        }
    }
    if (shape & MOFFS) {
        out->is_mem = true;
        out->disp = next_signed(&c, out->address);
    }
    if (shape & (IMM8 | IMM)) {
        out->has_imm = true;
        out->imm = next_signed(&c, shape & IMM8 ? 1 : MIN(out->operand, 4));
    }
    out->store = store < GROUP_ARITH ? store : groups[store - GROUP_ARITH][out->reg & 7];
    out->bytes = (uint8_t)(c.at - bytes);
    return c.ran_out ? -ENODATA : 0;
}

/* What the same bytes were decoded to before: a kernel has few such instructions, and executes one
 * in a loop. Per pcpu; `bytes` is all that decoding depends on, the last one made up of `count` and
 * `mode64`. */
static struct known {
    uint64_t bytes[2];
    struct insn insn;
} known[MAX_PCPUS][2];

static int decode_known(vaddr_t rip, uint64_t bytes[2], unsigned count, bool mode64,
                        struct insn *out)
{
    struct known *k = &known[arch_cpu_id()][rip % ARRAY_SIZE(known[0])];
    int rc = 0;
    bytes[1] |= (uint64_t)(count << 1 | mode64) << 56;
    if (k->bytes[0] != bytes[0] || k->bytes[1] != bytes[1]) {
        rc = insn_decode((const uint8_t *)bytes, count, mode64, &k->insn);
        k->bytes[0] = bytes[0];
        k->bytes[1] = rc ? 0 : bytes[1]; /* count 0 is never asked for */
    }
    *out = k->insn;
    return rc;
}

int insn_fetch(const struct cpu_user_regs *regs, bool mode64, struct insn *out)
{
    uint64_t bytes[2] = {0};
    vaddr_t rip = mode64 ? regs->rip : (uint32_t)regs->rip;
    unsigned have = (unsigned)MIN(PAGE_SIZE - (rip & ~PAGE_MASK), INSN_BYTES_MAX);
    int rc = guest_read(bytes, rip, have) ?: decode_known(rip, bytes, have, mode64, out);
    if (rc == -ENODATA && have < INSN_BYTES_MAX) {
        bytes[1] &= ~0UL >> 8;
        rc = guest_read((char *)bytes + have, rip + have, INSN_BYTES_MAX - have)
                 ?: decode_known(rip, bytes, INSN_BYTES_MAX, mode64, out);
    }
    return rc == -ENODATA ? -EINVAL : rc;
}

/* ---- registers ---- */

#define REG(name) offsetof(struct cpu_user_regs, name)
static const uint8_t reg_offset[16] = {REG(rax), REG(rcx), REG(rdx), REG(rbx), REG(rsp), REG(rbp),
                                       REG(rsi), REG(rdi), REG(r8),  REG(r9),  REG(r10), REG(r11),
                                       REG(r12), REG(r13), REG(r14), REG(r15)};

/* Where the lowest byte of a register operand is. One-byte registers 4 to 7 without REX are the
 * second bytes of 0 to 3. */
static size_t operand_offset(unsigned nr, unsigned bytes, bool has_rex)
{
    bool high = bytes == 1 && !has_rex && nr >= 4 && nr < 8;
    return high ? reg_offset[nr - 4] + 1U : reg_offset[nr & 15];
}

static uint64_t reg_read(const struct cpu_user_regs *regs, unsigned nr, unsigned bytes,
                         bool has_rex)
{
    /* Also of the last register in the structure: more follows. */
    uint64_t value;
    memcpy(&value, (const char *)regs + operand_offset(nr, bytes, has_rex), sizeof(value));
    return value & insn_width_mask(bytes);
}

uint64_t insn_reg(const struct cpu_user_regs *regs, unsigned nr)
{
    return reg_read(regs, nr, 8, false);
}

void insn_reg_write(struct cpu_user_regs *regs, unsigned nr, unsigned bytes, bool has_rex,
                    uint64_t value)
{
    value &= insn_width_mask(bytes);
    char *at = (char *)regs + operand_offset(nr, bytes, has_rex);
    if (bytes >= 4) {
        *(uint64_t *)at = value;
    } else {
        memcpy(at, &value, bytes);
    }
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

/* source is the number of a bit; one from a register counts from the operand on, in either
 * direction. */
static void locate_bit(struct insn_store *s)
{
    uint64_t bit = sign_extend(s->source, s->insn.operand), in_operand = s->insn.operand * 8U - 1;
    if (!s->insn.has_imm) {
        s->address += (uint64_t)((int64_t)(bit & ~in_operand) / 8);
    }
    s->bit = (uint8_t)(bit & in_operand);
    s->source = s->insn.store == STORE_BTR ? ~(1UL << s->bit) : 1UL << s->bit;
}

int insn_decode_store(const struct cpu_user_regs *regs, struct insn_store *out)
{
    struct insn *insn = &out->insn;
    int rc = insn_fetch(regs, true, insn);
    if (rc) {
        return rc;
    }
    /* A string repetition prefix on these would be another instruction or means nothing. */
    if (!insn->is_mem || insn->segment || insn->rep || insn->store == STORE_NONE) {
        return -EINVAL;
    }
    out->address = insn_address(insn, regs);
    out->source = insn->has_imm ? (uint64_t)insn->imm & insn_width_mask(insn->operand)
                                : reg_read(regs, insn->reg, insn->operand, insn->rex);
    if (insn->store >= STORE_BTS) {
        locate_bit(out);
    }
    return 0;
}

bool insn_store_value(const struct insn_store *s, const struct cpu_user_regs *regs, uint64_t old,
                      uint64_t *value)
{
    switch (s->insn.store) {
    case STORE_AND:
    case STORE_BTR:
        *value = old & s->source;
        break;
    case STORE_OR:
    case STORE_BTS:
        *value = old | s->source;
        break;
    case STORE_XOR:
    case STORE_BTC:
        *value = old ^ s->source;
        break;
    default:
        *value = s->source;
        break;
    }
    return s->insn.store != STORE_CMPXCHG || old == (regs->rax & insn_width_mask(s->insn.operand));
}

static bool sign(uint64_t value, unsigned bytes)
{
    return value >> (bytes * 8 - 1) & 1;
}

static uint64_t result_flags(uint64_t result, unsigned bytes)
{
    return (result ? 0 : FLAG_ZF) | (sign(result, bytes) ? FLAG_SF : 0) |
           (__builtin_parity((uint8_t)result) ? 0 : FLAG_PF);
}

/* Flags of left - right, as a comparison leaves them. */
static uint64_t compare_flags(uint64_t left, uint64_t right, unsigned bytes)
{
    uint64_t diff = (left - right) & insn_width_mask(bytes);
    return result_flags(diff, bytes) | (left < right ? FLAG_CF : 0) |
           ((left ^ right ^ diff) & FLAG_AF) |
           (sign((left ^ right) & (left ^ diff), bytes) ? FLAG_OF : 0);
}

void insn_store_finish(const struct insn_store *s, struct cpu_user_regs *regs, uint64_t old)
{
    uint64_t value, others = regs->rflags & ~(uint64_t)ARITH_FLAGS;
    const unsigned bytes = s->insn.operand;
    bool stored = insn_store_value(s, regs, old, &value);
    switch (s->insn.store) {
    case STORE_XCHG:
        insn_reg_write(regs, s->insn.reg, bytes, s->insn.rex, old);
        break;
    case STORE_CMPXCHG:
        regs->rflags = others | compare_flags(regs->rax & insn_width_mask(bytes), old, bytes);
        if (!stored) {
            insn_reg_write(regs, 0, bytes, true, old);
        }
        break;
    case STORE_AND ... STORE_XOR:
        regs->rflags = others | result_flags(value, bytes);
        break;
    case STORE_BTS ... STORE_BTC:
        regs->rflags = (regs->rflags & ~(uint64_t)FLAG_CF) | (old >> s->bit & 1);
        break;
    default:
        break;
    }
    regs->rflags &= ~X86_EFLAGS_RF;
    regs->rip += s->insn.bytes;
}
