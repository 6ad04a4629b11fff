/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's addresses: the M2P can be read and nothing else; all the rest faults, for the
 * guest's kernel and its user mode, for reading, writing and executing.
 */
#include "lib.h"

static const uint64_t private[] = {
    0xffff808000000000, /* M2P, writable */
    0xffff810000000000, /* frame table */
    0xffff828000000000, /* image */
    0xffff828040000000, /* per-CPU blocks */
    0xffff828080000000, /* devices */
    0xffff840000000000, /* all memory */
    0xffff840000100000, 0xffff87fffffff000,
};

static uint64_t read_at(uint64_t va)
{
    return *(volatile uint64_t *)va;
}

static uint64_t write_at(uint64_t va)
{
    *(volatile uint64_t *)va = 0;
    return 0;
}

static uint64_t jump_to(uint64_t va)
{
    return ((uint64_t(*)(void))va)();
}

/* A fault there, and not one that tells whether something is mapped by another vector. */
static void faults(struct fault f, uint64_t va)
{
    CHECK_IS(f.vector, VEC_PF);
    CHECK_IS(f.cr2, va);
}

void test_main(void)
{
    user_tables_init();
    CHECK_FAULT(try_read(HYP_START), NO_FAULT, 0);
    faults(try_write(HYP_START, 0), HYP_START);
    CHECK_IS(try_write(HYP_START, 0).error, ERR_P | ERR_W);
    faults(try_exec(HYP_START), HYP_START);
    for (unsigned i = 0; i < ARRAY_SIZE(private); i++) {
        faults(try_read(private[i]), private[i]);
        faults(try_write(private[i], 1), private[i]);
        faults(try_exec(private[i]), private[i]);
        faults(try_user(read_at, private[i]), private[i]);
        faults(try_user(write_at, private[i]), private[i]);
        faults(try_user(jump_to, private[i]), private[i]);
    }
    CHECK_FAULT(try_read(NONCANONICAL), VEC_GP, 0);
    CHECK_FAULT(try_write(NONCANONICAL, 0), VEC_GP, 0);
}
