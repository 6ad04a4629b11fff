/* SPDX-License-Identifier: MIT */
/*
 * `int N` for all 256 vectors, from kernel and user mode, without a gate, with one of DPL 0 and
 * with one of DPL 3: a general protection fault that names the gate (N * 8 + 2), or the handler
 * with the address behind the instruction; never anything of the hypervisor's.
 */
#include "lib.h"

static uint8_t *code;

static uint64_t run(uint64_t arg)
{
    return ((uint64_t(*)(uint64_t))code)(arg);
}

/* Vectors that have gates of DPL 3 in every system: breakpoint and overflow. */
static bool open_gate(unsigned n)
{
    return n == 3 || n == 4;
}

static void one(unsigned n)
{
    void *stub = trap_stub(0x80 + (n & 0x3f));
    unsigned stub_vector = 0x80 + (n & 0x3f);
    code[0] = 0xcd;
    code[1] = (uint8_t)n;
    code[2] = 0xc3;

    if (n >= 32) { /* no gate */
        struct fault f = try_user(run, 0);
        CHECK_FAULT(f, VEC_GP, n * 8 + 2);
        CHECK_IS(f.regs.rip, (uint64_t)code);
        f = try_call(run, 0);
        CHECK_FAULT(f, VEC_GP, n * 8 + 2);
    }
    if (n == VEC_GP) {
        return; /* its handler is what all of this comes back through */
    }
    CHECK_IS(trap_set(n, stub, 0), 0);
    struct fault f = try_call(run, 0);
    CHECK_FAULT(f, stub_vector, 0);
    CHECK_IS(f.regs.rip, (uint64_t)code + 2);
    CHECK_IS(f.regs.cs & 3, 0);
    f = try_user(run, 0);
    if (!open_gate(n)) {
        CHECK_FAULT(f, VEC_GP, n * 8 + 2);
        CHECK_IS(f.regs.rip, (uint64_t)code);
    }
    CHECK_IS(f.regs.cs & 3, 3);

    CHECK_IS(trap_set(n, stub, 3), 0);
    f = try_user(run, 0);
    CHECK_FAULT(f, stub_vector, 0);
    CHECK_IS(f.regs.rip, (uint64_t)code + 2);
    CHECK_IS(f.regs.cs & 3, 3);
    CHECK_IS(trap_set(n, trap_stub(n), 0), 0);
}

void test_main(void)
{
    user_tables_init();
    code = page_new();
    for (unsigned n = 0; n < 256; n++) {
        one(n);
    }
    /* The short forms. */
    code[0] = 0xcc;
    code[1] = 0xc3;
    CHECK_IS(trap_set(VEC_BP, trap_stub(VEC_BP), 3), 0);
    struct fault f = try_user(run, 0);
    CHECK_FAULT(f, VEC_BP, 0);
    CHECK_IS(f.regs.rip, (uint64_t)code + 1);
    code[0] = 0xf1; /* the debug trap that needs no right; the emulator does not know it */
    f = try_user(run, 0);
    CHECK(f.vector == VEC_DB || f.vector == VEC_UD);
    CHECK_IS(f.regs.cs & 3, 3);
}
