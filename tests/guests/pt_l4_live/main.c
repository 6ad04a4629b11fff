/* SPDX-License-Identifier: MIT */
/*
 * Entries of a level-4 table in use are added, replaced and removed in every way: on the vCPU that
 * runs on it, from another vCPU, for user mode, while another table is loaded, and by making the
 * same frame a table again. Each change takes effect at once and a removed entry is gone, also when
 * the hypervisor runs guests on copies of their tables (page-table isolation).
 */
#include "lib.h"

#define SLOT 5
#define VA ((uint64_t)SLOT << 39)
#define ROUNDS 60

enum { A, B, TREES, NOTHING = TREES };
static uint64_t l3_entry[TREES + 1]; /* level-3 tables that map a page each at VA; none */
static uint64_t *data[TREES];
static uint64_t *running; /* the level-4 table we start with */

/* Two threads take turns: round 2n+1 has been changed, round 2n+2 has been looked at. */
static volatile uint32_t turn, done;

static uint64_t read_at(uint64_t va)
{
    return *(volatile uint64_t *)va;
}

static void make_tree(unsigned which)
{
    uint64_t *l1 = page_new(), *l2 = page_new(), *l3 = page_new();
    data[which] = page_new();
    data[which][0] = 0xc3c3c3c3c3c3c300 + which; /* the second byte on is RET */
    l1[0] = pte_make(mfn_of(data[which]), PTE_RW);
    NEED_OK(page_pin(l1, 1));
    l2[0] = pte_make(mfn_of(l1), PTE_RW);
    NEED_OK(page_pin(l2, 2));
    l3[0] = pte_make(mfn_of(l2), PTE_RW);
    NEED_OK(page_pin(l3, 3));
    l3_entry[which] = pte_make(mfn_of(l3), PTE_RW);
}

/* VA shows the page of that tree, or faults. */
static void expect_at(unsigned which, struct fault f)
{
    CHECK_IS(f.vector, which == NOTHING ? VEC_PF : NO_FAULT);
    if (which != NOTHING) {
        CHECK_IS(f.value, data[which][0]);
    }
}
#define EXPECT(which) expect_at(which, try_call(read_at, VA))

static void change(uint64_t *l4, unsigned which)
{
    CHECK_IS(pte_write(l4 + SLOT, l3_entry[which]), 0);
}

static void on_the_running_one(void)
{
    static const unsigned order[] = {A, B, NOTHING, B, A, NOTHING, A, NOTHING};
    for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        change(running, order[i]);
        EXPECT(order[i]);
    }
    /* By a store, which is a page fault like others at this level. */
    CHECK_FAULT(try_write((uint64_t)(running + SLOT), l3_entry[A]), VEC_PF, ERR_P | ERR_W);
    CHECK_IS(running[SLOT], 0);
    EXPECT(NOTHING);
    /* A flag only; whose effect needs the flush that the guest owes. */
    change(running, A);
    CHECK_FAULT(try_exec(VA + 1), NO_FAULT, 0);
    CHECK_IS(pte_write(running + SLOT, l3_entry[A] | PTE_NX), 0);
    CHECK_IS(mmuext_mfn(MMUEXT_TLB_FLUSH_LOCAL, 0), 0);
    CHECK_IS(try_exec(VA + 1).vector, VEC_PF);
    EXPECT(A);
    change(running, NOTHING);
}

static void second(uint64_t arg)
{
    (void)arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        change(running, i % 3);
        turn = 2 * i + 1;
        while (turn == 2 * i + 1) {
            cpu_relax();
        }
    }
    done = 1;
}

/* This vCPU makes no hypercall between two looks. */
static void from_the_second(void)
{
    NEED_OK(cpu_start(1, second, 0));
    for (unsigned i = 0; i < ROUNDS; i++) {
        while (turn != 2 * i + 1) {
            cpu_relax();
        }
        EXPECT(i % 3);
        turn = 2 * i + 2;
    }
    CHECK(wait_for(&done, 10000));
    change(running, NOTHING);
}

static void for_user_mode(void)
{
    user_tables_init();
    static const unsigned order[] = {NOTHING, A, B, NOTHING, B};
    for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        change(user_l4, order[i]);
        expect_at(order[i], try_user(read_at, VA));
        EXPECT(NOTHING);
    }
    change(user_l4, NOTHING);
}

static void base(const uint64_t *l4)
{
    NEED_OK(mmuext_mfn(MMUEXT_NEW_BASEPTR, mfn_of(l4)));
}

static void while_another_is_loaded(void)
{
    uint64_t *other = page_new();
    for (unsigned i = 0; i < ENTRIES; i++) {
        other[i] = i >= 256 && i < 272 ? 0 : running[i];
    }
    other[SLOT] = l3_entry[A];
    NEED_OK(page_pin(other, 4));
    base(other);
    EXPECT(A);
    change(running, B);
    EXPECT(A);
    base(running);
    EXPECT(B);
    change(other, NOTHING);
    EXPECT(B);
    base(other);
    EXPECT(NOTHING);
    change(other, A);
    EXPECT(A);
    base(running);

    /* The same frame, an ordinary page meanwhile. */
    NEED_OK(page_unpin(other));
    NEED_OK(page_protect(other, PTE_RW));
    other[SLOT] = l3_entry[B];
    NEED_OK(page_pin(other, 4));
    base(other);
    EXPECT(B);
    base(running);
    change(running, NOTHING);
    EXPECT(NOTHING);
    NEED_OK(page_unpin(other));
}

void test_main(void)
{
    make_tree(A);
    make_tree(B);
    running = table_find(VIRT_BASE, 4);
    EXPECT(NOTHING);
    on_the_running_one();
    while_another_is_loaded();
    from_the_second();
    for_user_mode();
}
