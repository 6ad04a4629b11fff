/* SPDX-License-Identifier: MIT */
/*
 * Which bits an entry may have. Refused at every level: address bits beyond the processor's, and
 * (for a guest without devices, or above level 1) cache attributes. Accepted: the software's bits,
 * NX, A, D. Global is taken off, user is put on. A non-present entry may say anything.
 */
#include "lib.h"

static void each_bit(unsigned level, uint64_t *entry, uint64_t base)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t one = 1UL << bit;
        if ((base & one) || (bit >= 12 && bit < 40)) {
            continue; /* set already, or names another frame */
        }
        long rc = pte_write(entry, base | one);
        bool harmless = bit == 2 || bit == 5 || bit == 6 || (bit >= 9 && bit <= 11) || bit >= 52 ||
                        (bit == 8 && level == 1) || bit == 1 ||
                        (alone() && level == 1 && (bit == 3 || bit == 4 || bit == 7));
        CHECK_IS(rc, harmless ? 0 : -EINVAL);
        if (rc != (harmless ? 0 : -EINVAL)) {
            say("level %u bit %u", level, bit);
        }
        if (rc == 0) {
            uint64_t want = base | one | PTE_U;
            if (bit == 8) {
                want &= ~PTE_G;
            }
            if (level > 1) {
                want |= PTE_A;
            }
            CHECK_IS(*entry & ~(PTE_A | PTE_D), want & ~(PTE_A | PTE_D));
        }
        CHECK_IS(pte_write(entry, 0), 0);
    }
}

void test_main(void)
{
    test_area_init();
    uint64_t *tables[3];
    for (unsigned i = 0; i < 3; i++) {
        tables[i] = page_new();
        NEED_OK(page_pin(tables[i], i + 1));
    }
    uint64_t *l1 = table_find(TEST_VA, 1);
    each_bit(1, l1 + 9, pte_make(frame_new(), PTE_P));
    for (unsigned level = 2; level <= 4; level++) {
        each_bit(level, table_find(TEST_VA, level) + 9, pte_make(mfn_of(tables[level - 2]), PTE_P));
    }
    /* Not present: the guest's own business, kept as it is. */
    static const uint64_t odd[] = {~1UL, 0x8000000000000000, 0xdeadbeefcafe0000, 2, PTE_PS | PTE_G};
    for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) {
        for (unsigned level = 1; level <= 4; level++) {
            uint64_t *entry = table_find(TEST_VA, level) + 10;
            /* A large page, the first: it is RAM. */
            bool bad = odd[i] == (PTE_PS | PTE_G) && level > 1 && absent_checked();
            CHECK_IS(pte_write(entry, odd[i]), bad ? -EINVAL : 0);
            CHECK_IS(*entry, bad ? 0 : odd[i]);
            CHECK_IS(pte_write(entry, 0), 0);
        }
    }
}
