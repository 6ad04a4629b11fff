// SPDX-License-Identifier: MIT
/*
 * Instruction decode: bytes to a small struct. Knows the privileged instructions guests execute,
 * port I/O, and the stores a guest kernel makes to its page tables; anything else is refused.
 * Decoding has no side effects and reads no state but the registers it is given.
 */
#pragma once

#include "base/types.h"
#include "pv-abi/abi.h"

#define INSN_BYTES_MAX 15
#define INSN_NO_REG 0xff
#define INSN_REG_RIP 0xfe

enum insn_store_op {
    STORE_NONE,
    STORE_MOV,
    STORE_XCHG,
    STORE_CMPXCHG,
    STORE_AND,
    STORE_OR,
    STORE_XOR,
    STORE_BTS,
    STORE_BTR,
    STORE_BTC,
};

struct insn {
    uint16_t opcode; /* 0x1NN: opcode NN follows 0f */
    uint8_t bytes;   /* length */
    uint8_t operand; /* bytes of the operand: 1, 2, 4, 8 */
    uint8_t address; /* bytes of addresses: 4, 8 */
    uint8_t rep;     /* 0, 0xf2 or 0xf3 */
    uint8_t rex;     /* the prefix or 0 */
    uint8_t segment; /* 0 or the prefix of fs (64) or gs (65) */
    bool mode64, lock, is_mem, has_imm;
    uint8_t modrm, reg, rm;     /* register numbers with their REX bits; rm when !is_mem */
    uint8_t base, index, scale; /* memory operand: register numbers or INSN_NO_REG, INSN_REG_RIP */
    enum insn_store_op store;   /* what it does to the memory operand, if that is known here */
    int64_t disp, imm;          /* sign-extended */
};

/* Decode. mode64: a 64-bit code segment; in 32-bit ones few instructions with memory operands
 * are known. Returns 0, -ENODATA when `count` bytes are not enough, -EINVAL when unknown. */
must_check int insn_decode(const uint8_t *bytes, unsigned count, bool mode64, struct insn *out);
/* Fetch from the current guest at regs->rip, only as many bytes as needed (the page after the
 * instruction is not touched), and decode. -EFAULT, -EINVAL. */
must_check int insn_fetch(const struct cpu_user_regs *regs, bool mode64, struct insn *out);

/* Registers by number (0 rax ... 15 r15). */
uint64_t insn_reg(const struct cpu_user_regs *regs, unsigned nr);
/* Write `bytes` bytes of a register as instructions do: 4 clear the upper half, 1 and 2 keep the
 * rest. has_rex selects spl..dil instead of ah..bh for 1-byte numbers 4 to 7. */
void insn_reg_write(struct cpu_user_regs *regs, unsigned nr, unsigned bytes, bool has_rex,
                    uint64_t value);
/* Linear address of the memory operand; segment bases are not applied. */
vaddr_t insn_address(const struct insn *insn, const struct cpu_user_regs *regs);
/* The bits of an operand of 1, 2, 4 or 8 bytes. */
static inline uint64_t insn_width_mask(unsigned bytes)
{
    return ~0UL >> (64 - 8 * bytes);
}

/* A store to memory, with everything taken from the registers. */
struct insn_store {
    struct insn insn;
    vaddr_t address; /* of the bytes stored to (bit instructions: of the word with the bit) */
    uint64_t source; /* value stored or combined; BTR: all but the bit */
    uint8_t bit;     /* bit instructions: number of the bit */
};

/* Fetch and decode the store at regs->rip of 64-bit code. -EFAULT, -EINVAL not such a store. */
must_check int insn_decode_store(const struct cpu_user_regs *regs, struct insn_store *out);
/* The value to store where `old` is (both zero-extended); false: nothing is stored
 * (a compare-exchange that does not match). */
must_check bool insn_store_value(const struct insn_store *s, const struct cpu_user_regs *regs,
                                 uint64_t old, uint64_t *value);
/* The store has been done (or not, see above) where `old` was: set registers and flags, advance
 * rip. */
void insn_store_finish(const struct insn_store *s, struct cpu_user_regs *regs, uint64_t old);
