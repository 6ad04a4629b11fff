/* SPDX-License-Identifier: MIT */
/*
 * Stores of the guest's kernel to its own level-1 tables. Without the assist they fault as what
 * they are; with it, mov, xchg, cmpxchg, and, bts and byte stores work as if the table were
 * writable, with all checks: what would break a rule, or spans two entries, is a page fault and
 * changes nothing.
 */
#include "lib.h"

static uint64_t *l1;

static uint64_t straddle(uint64_t arg)
{
    (void)arg;
    *(volatile uint64_t *)((char *)l1 + 4) = 0x123456789abc;
    return 0;
}

static uint64_t byte_store(uint64_t value)
{
    ((volatile uint8_t *)&l1[0])[0] = (uint8_t)value;
    return 0;
}

static uint64_t exchange(uint64_t value)
{
    return __atomic_exchange_n(&l1[0], value, __ATOMIC_SEQ_CST);
}

static uint64_t compare(uint64_t value)
{
    uint64_t expected = l1[0];
    return __atomic_compare_exchange_n(&l1[0], &expected, value, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static uint64_t compare_wrong(uint64_t value)
{
    uint64_t expected = l1[0] ^ PTE_NX;
    return __atomic_compare_exchange_n(&l1[0], &expected, value, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static uint64_t and_byte(uint64_t value)
{
    __asm__ volatile("lock andb %b1, %0" : "+m"(*(uint8_t *)&l1[0]) : "r"(value) : "memory");
    return 0;
}

static uint64_t set_bit(uint64_t bit)
{
    __asm__ volatile("lock bts %1, %0" : "+m"(l1[0]) : "r"(bit) : "memory");
    return 0;
}

static uint64_t clear_bit(uint64_t bit)
{
    __asm__ volatile("lock btr %1, %0" : "+m"(l1[0]) : "r"(bit) : "memory");
    return 0;
}

static struct fault store(uint64_t value)
{
    return try_write((uint64_t)&l1[0], value);
}

static void user_store(void)
{
    user_tables_init();
    uint64_t was = l1[0];
    struct fault f = try_user(byte_store, 0);
    CHECK_FAULT(f, VEC_PF, ERR_P | ERR_W | ERR_U);
    CHECK_IS(l1[0], was);
}

void test_main(void)
{
    uint64_t frame = frame_new();
    uint64_t rw = pte_make(frame, PTE_RW), ro = pte_make(frame, PTE_RO);
    l1 = test_area_l1();
    CHECK_FAULT(store(rw), VEC_PF, ERR_P | ERR_W);
    CHECK_IS(l1[0], 0);

    CHECK_IS(vm_assist(VMASST_CMD_enable, VMASST_TYPE_writable_pagetables), 0);
    CHECK_FAULT(store(rw), NO_FAULT, 0);
    CHECK_IS(l1[0], rw);
    CHECK_FAULT(try_write(TEST_VA, 77), NO_FAULT, 0);
    /* Not present any more, which may be refused. */
    bool refused = absent_checked();
    uint64_t left = refused ? rw : rw & ~0xffUL;
    CHECK_FAULT(try_call(byte_store, 0), refused ? VEC_PF : NO_FAULT, refused ? ERR_P | ERR_W : 0);
    CHECK_IS(l1[0] & ~(PTE_A | PTE_D), left & ~(PTE_A | PTE_D));
    struct fault f = try_call(exchange, ro);
    CHECK_FAULT(f, NO_FAULT, 0);
    CHECK_IS(f.value & ~(PTE_A | PTE_D), left & ~(PTE_A | PTE_D));
    CHECK_IS(l1[0], ro);
    f = try_call(compare, rw);
    CHECK_FAULT(f, NO_FAULT, 0);
    CHECK_IS(f.value, 1);
    CHECK_IS(l1[0], rw);
    f = try_call(compare_wrong, 0);
    CHECK_FAULT(f, NO_FAULT, 0);
    CHECK_IS(f.value, 0);
    CHECK_IS(l1[0], rw);
    CHECK_FAULT(try_call(and_byte, ~PTE_W), NO_FAULT, 0);
    CHECK_IS(l1[0], ro);
    CHECK_FAULT(try_call(set_bit, 63), NO_FAULT, 0);
    CHECK_IS(l1[0], ro | PTE_NX);
    CHECK_FAULT(try_call(clear_bit, 63), NO_FAULT, 0);
    CHECK_IS(l1[0], ro);

    /* Rules hold. */
    CHECK_FAULT(store(pte_make(mfn_of(l1), PTE_RW)), VEC_PF, ERR_P | ERR_W);
    CHECK_FAULT(store(pte_make(0x200, PTE_RO)), VEC_PF, ERR_P | ERR_W);
    CHECK_FAULT(store(ro | 1UL << 51), VEC_PF, ERR_P | ERR_W);
    if (!alone()) {
        CHECK_FAULT(store(ro | PTE_PS), VEC_PF, ERR_P | ERR_W);
    }
    CHECK_FAULT(try_call(exchange, pte_make(mfn_of(l1), PTE_RW)), VEC_PF, ERR_P | ERR_W);
    CHECK_FAULT(try_call(straddle, 0), VEC_PF, ERR_P | ERR_W);
    CHECK_IS(l1[0], ro);
    /* Only level 1 is written like that. */
    for (unsigned level = 2; level <= 4; level++) {
        uint64_t *table = table_find(TEST_VA, level);
        CHECK_FAULT(try_write((uint64_t)&table[11], 0), VEC_PF, ERR_P | ERR_W);
    }
    user_store();
    CHECK_IS(vm_assist(VMASST_CMD_disable, VMASST_TYPE_writable_pagetables), 0);
    CHECK_FAULT(store(0), VEC_PF, ERR_P | ERR_W);
    CHECK_IS(l1[0], ro);
}
