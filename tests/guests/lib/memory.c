/* SPDX-License-Identifier: MIT */
/*
 * Frames, page tables and how our pages are mapped. The initial tables map all of the kernel and
 * its pool, at VIRT_BASE + pfn * 4096; frames beyond are owned but, the list of frames apart,
 * mapped nowhere.
 */
#include "lib.h"

#define POOL_PAGES 200

static uint8_t pool[POOL_PAGES][PAGE_BYTES] PAGE_ALIGNED;
static uint8_t shared_info_page[PAGE_BYTES] PAGE_ALIGNED;
static unsigned pool_used;
static uint64_t next_pfn;
static uint64_t *kernel_l4;
static uint64_t *test_tables[3];
uint64_t *user_l4;
struct shared_info *shared_info;

static void die(void)
{
    struct sched_shutdown off = {.reason = SHUTDOWN_crash};
    (void)sched_op(SCHEDOP_shutdown, &off);
}

void memory_init(void)
{
    kernel_l4 = (uint64_t *)start_info->pt_base;
    shared_info = (struct shared_info *)shared_info_page;
    if (update_va(shared_info, start_info->shared_info | PTE_RW, UVMF_INVLPG)) {
        die();
    }
    for (next_pfn = 1024; pte_find(VIRT_BASE + next_pfn * PAGE_BYTES, 1); next_pfn += 512) {
    }
    uint64_t p2m_end = start_info->first_p2m_pfn + start_info->nr_p2m_frames;
    next_pfn = next_pfn > p2m_end ? next_pfn : p2m_end;
}

uint64_t mfn_of_pfn(uint64_t pfn)
{
    return ((uint64_t *)start_info->mfn_list)[pfn];
}

uint64_t mfn_of(const void *va)
{
    return mfn_of_pfn(((uint64_t)va - VIRT_BASE) / PAGE_BYTES);
}

uint64_t pfn_of_mfn(uint64_t mfn)
{
    return ((uint64_t *)HYP_START)[mfn];
}

void *page_new(void)
{
    NEED(pool_used < POOL_PAGES);
    return pool[pool_used++];
}

uint64_t frame_new(void)
{
    NEED(next_pfn < start_info->nr_pages);
    return mfn_of_pfn(next_pfn++);
}

uint64_t *table_find(uint64_t va, unsigned level)
{
    uint64_t *table = kernel_l4;
    for (unsigned at = 4; at > level; at--) {
        uint64_t pte = table[pt_index(va, at)];
        if (!(pte & PTE_P)) {
            return NULL;
        }
        table = (uint64_t *)(VIRT_BASE + pfn_of_mfn((pte & PTE_ADDR) / PAGE_BYTES) * PAGE_BYTES);
    }
    return table;
}

uint64_t *pte_find(uint64_t va, unsigned level)
{
    uint64_t *table = table_find(va, level);
    return table ? table + pt_index(va, level) : NULL;
}

long page_protect(const void *page, uint64_t flags)
{
    return update_va(page, flags ? pte_make(mfn_of(page), flags) : 0, UVMF_TLB_FLUSH | UVMF_ALL);
}

long pte_write_maddr(uint64_t maddr, uint64_t value)
{
    struct mmu_update req = {.ptr = maddr | MMU_NORMAL_PT_UPDATE, .val = value};
    return mmu_update(&req, 1, 0, DOMID_SELF);
}

long pte_write(const uint64_t *entry, uint64_t value)
{
    return pte_write_maddr(maddr_of(entry), value);
}

long mmuext_mfn(unsigned cmd, uint64_t mfn)
{
    struct mmuext_op op = {.cmd = cmd, .arg1.mfn = mfn};
    return mmuext_op(&op, 1, 0, DOMID_SELF);
}

long page_pin(void *page, unsigned level)
{
    long rc = page_protect(page, PTE_RO);
    return rc ? rc : mmuext_mfn(MMUEXT_PIN_L1_TABLE + level - 1, mfn_of(page));
}

long page_unpin(void *page)
{
    long rc = mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(page));
    return rc ? rc : page_protect(page, PTE_RW);
}

/* Three new tables, hung into the kernel's at TEST_VA. */
void test_area_init(void)
{
    if (test_tables[0]) {
        return;
    }
    for (unsigned i = 0; i < 3; i++) {
        test_tables[i] = page_new();
        if (i) {
            test_tables[i][pt_index(TEST_VA, i + 1)] = pte_make(mfn_of(test_tables[i - 1]), PTE_RW);
        }
    }
    for (unsigned i = 0; i < 3; i++) {
        NEED_OK(page_protect(test_tables[i], PTE_RO));
    }
    NEED_OK(pte_write(kernel_l4 + pt_index(TEST_VA, 4), pte_make(mfn_of(test_tables[2]), PTE_RW)));
}

uint64_t *test_area_l1(void)
{
    test_area_init();
    return test_tables[0];
}

bool absent_checked(void)
{
    const uint64_t *entry = &test_area_l1()[511];
    long rc = pte_write(entry, frame_new() * PAGE_BYTES);
    CHECK_IS(pte_write(entry, 0), 0);
    return rc != 0;
}

long test_area_set(unsigned page, uint64_t pte)
{
    test_area_init();
    return update_va(test_va(page), pte, UVMF_INVLPG | UVMF_ALL);
}

void user_tables_init(void)
{
    if (user_l4) {
        return;
    }
    test_area_init();
    user_l4 = page_new();
    for (unsigned i = 0; i < ENTRIES; i++) {
        user_l4[i] = i >= 256 && i < 272 ? 0 : kernel_l4[i];
    }
    NEED_OK(page_pin(user_l4, 4));
    NEED_OK(mmuext_mfn(MMUEXT_NEW_USER_BASEPTR, mfn_of(user_l4)));
}
