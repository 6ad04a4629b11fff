/* SPDX-License-Identifier: MIT */
/*
 * Tests of dom0-tools/builder/layout.c: where things lie, and what the page tables say.
 *
 * The guest's memory is an array of pages made on first use. Machine frames run backwards from a
 * base, so a table that holds a pseudo-physical number by mistake points nowhere, and every walk
 * goes through machine frames as a processor's would.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/builder/layout.h"
#include "tests/unit/runner.h"

#define PAGE 4096ull
#define MFN_TOP 0x123456789ull
#define PRESENT 0x1ull
#define WRITE 0x2ull
#define USER 0x4ull
#define FRAME_MASK 0x000ffffffffff000ull
#define NOT_MAPPED UINT64_MAX

struct memory {
    uint64_t frames;
    uint64_t *p2m;
    void **pages;
    uint64_t fail_at; /* pfn that cannot be reached */
};

static void memory_init(struct memory *m, uint64_t frames)
{
    m->frames = frames;
    m->p2m = malloc(frames * sizeof(*m->p2m));
    m->pages = calloc(frames, sizeof(*m->pages));
    m->fail_at = UINT64_MAX;
    for (uint64_t i = 0; i < frames; i++) {
        m->p2m[i] = MFN_TOP - i;
    }
}

static void memory_free(struct memory *m)
{
    for (uint64_t i = 0; i < m->frames; i++) {
        free(m->pages[i]);
    }
    free(m->pages);
    free(m->p2m);
}

/* A new page holds rubbish: whoever builds a table must clear it. */
static void *memory_page(void *context, uint64_t pfn)
{
    struct memory *m = context;

    if (pfn >= m->frames || pfn == m->fail_at) {
        return NULL;
    }
    if (m->pages[pfn] == NULL) {
        m->pages[pfn] = malloc(PAGE);
        memset(m->pages[pfn], 0xa5, PAGE);
    }
    return m->pages[pfn];
}

/* Walks from the top-level table like a processor; returns the last entry or NOT_MAPPED. */
static uint64_t walk(const struct memory *m, uint64_t top_pfn, uint64_t va, unsigned int *levels)
{
    uint64_t pfn = top_pfn;
    uint64_t entry = 0;

    *levels = 0;
    for (int level = 4; level >= 1; level--) {
        const uint64_t *table = m->pages[pfn];

        if (table == NULL) {
            return NOT_MAPPED;
        }
        entry = table[(va >> (12 + 9 * (level - 1))) % 512];
        if ((entry & PRESENT) == 0) {
            return NOT_MAPPED;
        }
        (*levels)++;
        if (level > 1) {
            CU_ASSERT_EQUAL(entry & (WRITE | USER), WRITE | USER);
            pfn = MFN_TOP - ((entry & FRAME_MASK) >> 12);
            CU_ASSERT_FATAL(pfn < m->frames);
        }
    }
    return entry;
}

static bool is_table(const struct builder_layout *l, uint64_t pfn)
{
    return (pfn >= l->tables.pfn && pfn < l->tables.pfn + l->tables.count) ||
           (pfn >= l->p2m_tables.pfn && pfn < l->p2m_tables.pfn + l->p2m_tables.count);
}

/* Checks every page of the initial mapping and of the list's own mapping. */
static void check_tables(const struct builder_layout *l, struct memory *m)
{
    const struct builder_pages pages = {.page = memory_page, .context = m};
    unsigned int levels;
    uint64_t wrong = 0;

    CU_ASSERT_EQUAL_FATAL(builder_page_tables(l, m->p2m, &pages), 0);
    for (uint64_t pfn = 0; pfn < l->main.count; pfn++) {
        uint64_t entry = walk(m, l->tables.pfn, builder_layout_va(l, pfn), &levels);
        bool writable = (entry & WRITE) != 0;

        wrong += entry == NOT_MAPPED || levels != 4;
        wrong += (entry & FRAME_MASK) >> 12 != m->p2m[pfn];
        wrong += writable == is_table(l, pfn);
        wrong += (entry & USER) == 0;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(walk(m, l->tables.pfn, builder_layout_va(l, l->main.count), &levels),
                    NOT_MAPPED);
    for (uint64_t i = 0; i < l->p2m.count; i++) {
        uint64_t entry = walk(m, l->tables.pfn, l->p2m_va + i * PAGE, &levels);

        wrong += (entry & FRAME_MASK) >> 12 != m->p2m[l->p2m.pfn + i] || (entry & WRITE) == 0;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    /* No table may be reachable through a writable page entry: count what the L1s allow. */
    for (uint64_t pfn = 0; pfn < m->frames; pfn++) {
        CU_ASSERT(m->pages[pfn] == NULL || is_table(l, pfn));
    }
}

/* The parts follow each other without touching, and all lie inside the guest. */
static void check_order(const struct builder_layout *l, uint64_t frames)
{
    const struct builder_segment *parts[] = {&l->kernel,  &l->start_info, &l->store,
                                             &l->console, &l->tables,     &l->stack};
    uint64_t end = 0;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        CU_ASSERT(parts[i]->count != 0);
        CU_ASSERT(parts[i]->pfn >= end);
        end = parts[i]->pfn + parts[i]->count;
    }
    CU_ASSERT_EQUAL(l->stack.pfn, l->tables.pfn + l->tables.count);
    CU_ASSERT(l->main.count % 1024 == 0);
    CU_ASSERT(l->main.count >= end + 128);
    CU_ASSERT(l->main.count <= frames);
    CU_ASSERT(l->main.count < end + 128 + 1024);
}

/* A kernel like Debian 12's: at 16 MiB, ends at 74 MiB, list at a place of its own. */
static struct elf_info debian_kernel(void)
{
    struct elf_info info = {
        .virt_base = 0xffffffff80000000ull,
        .kernel_start = 0xffffffff81000000ull,
        .kernel_end = 0xffffffff84a00000ull,
        .entry = 0xffffffff830781c0ull,
        .hypercall_page = ELF_INFO_NO_ADDR,
        .init_p2m = 0x8000000000ull,
        .mod_start_pfn = true,
    };

    return info;
}

static void test_layout__debian_kernel(void)
{
    struct elf_info info = debian_kernel();
    uint64_t frames = 65536;
    struct builder_layout l;
    struct memory m;

    CU_ASSERT_EQUAL_FATAL(builder_layout(&info, frames, 10 * PAGE + 1, &l, NULL), 0);
    check_order(&l, frames);
    CU_ASSERT_EQUAL(l.kernel.pfn, 0x1000);
    CU_ASSERT_EQUAL(l.kernel.count, 0x3a00);
    CU_ASSERT_EQUAL(l.start_info.pfn, 0x4a00);
    CU_ASSERT_EQUAL(l.ramdisk.pfn, l.main.count);
    CU_ASSERT_EQUAL(l.ramdisk.count, 11);
    CU_ASSERT_EQUAL(l.ramdisk_mapped, false);
    CU_ASSERT_EQUAL(l.p2m.pfn, l.ramdisk.pfn + 11);
    CU_ASSERT_EQUAL(l.p2m.count, 128);
    CU_ASSERT_EQUAL(l.p2m_tables.pfn, l.p2m.pfn + 128);
    CU_ASSERT_EQUAL(l.p2m_tables.count, 3);
    CU_ASSERT_EQUAL(l.p2m_va, info.init_p2m);
    /* top, one L3, one L2, an L1 for each 2 MiB */
    CU_ASSERT_EQUAL(l.tables.count, 3 + l.main.count / 512);
    memory_init(&m, frames);
    check_tables(&l, &m);
    memory_free(&m);
}

static void test_layout__inline_list_and_ramdisk(void)
{
    struct elf_info info = debian_kernel();
    uint64_t frames = 40000;
    struct builder_layout l;
    struct memory m;

    info.init_p2m = ELF_INFO_NO_ADDR;
    info.mod_start_pfn = false;
    CU_ASSERT_EQUAL_FATAL(builder_layout(&info, frames, 3 * PAGE, &l, NULL), 0);
    check_order(&l, frames);
    CU_ASSERT_EQUAL(l.ramdisk_mapped, true);
    CU_ASSERT_EQUAL(l.ramdisk.pfn, 0x4a00);
    CU_ASSERT_EQUAL(l.p2m.pfn, 0x4a03);
    CU_ASSERT_EQUAL(l.p2m.count, 79); /* 40000 * 8 / 4096, rounded up */
    CU_ASSERT_EQUAL(l.p2m_va, builder_layout_va(&l, l.p2m.pfn));
    CU_ASSERT_EQUAL(l.p2m_area.count, 0);
    CU_ASSERT_EQUAL(l.p2m_tables.count, 0);
    memory_init(&m, frames);
    check_tables(&l, &m);
    memory_free(&m);
}

/* A mapping that crosses a 1 GiB boundary needs two level-2 tables, one that starts in the middle
 * of a level-1 table's range still ends on its own page. */
static void test_layout__unaligned_base_two_middle_tables(void)
{
    struct elf_info info = debian_kernel();
    uint64_t frames = 300000;
    struct builder_layout l;
    struct memory m;

    info.virt_base = 0xffffffff00123000ull;
    info.kernel_start = info.virt_base + 0x5000;
    info.kernel_end = info.virt_base + 0x40200800ull;
    CU_ASSERT_EQUAL_FATAL(builder_layout(&info, frames, 0, &l, NULL), 0);
    check_order(&l, frames);
    CU_ASSERT_EQUAL(l.main.tables[2].count, 2);
    CU_ASSERT_EQUAL(l.ramdisk.count, 0);
    memory_init(&m, frames);
    check_tables(&l, &m);
    memory_free(&m);
}

/* Exactly enough memory is accepted, one frame less is not. */
static void test_layout__smallest_memory(void)
{
    struct elf_info info = debian_kernel();
    struct builder_layout l;
    struct err err = {0};
    uint64_t need;

    CU_ASSERT_EQUAL_FATAL(builder_layout(&info, 65536, 5 * PAGE, &l, NULL), 0);
    need = l.main.count + 5;
    for (uint64_t frames = need; frames < need + 200; frames++) {
        int rc = builder_layout(&info, frames, 5 * PAGE, &l, &err);
        uint64_t end = l.p2m_tables.pfn + l.p2m_tables.count;

        CU_ASSERT_EQUAL(rc == 0, end <= frames);
        if (rc != 0) {
            CU_ASSERT_EQUAL(rc, -EBADMSG);
        }
    }
    CU_ASSERT_EQUAL(builder_layout(&info, 1024, 0, &l, &err), -EBADMSG);
    CU_ASSERT(strstr(err.text, "4 MiB of memory are too few") != NULL);
}

static void test_layout__impossible_sizes(void)
{
    struct elf_info info = debian_kernel();
    struct builder_layout l;

    CU_ASSERT_EQUAL(builder_layout(&info, 0, 0, &l, NULL), -EBADMSG);
    CU_ASSERT_EQUAL(builder_layout(&info, UINT64_MAX, 0, &l, NULL), -EBADMSG);
    CU_ASSERT_EQUAL(builder_layout(&info, 65536, UINT64_MAX, &l, NULL), -EBADMSG);
    CU_ASSERT_EQUAL(builder_layout(&info, 65536, 65536 * PAGE, &l, NULL), -EBADMSG);
}

static void test_layout__impossible_addresses(void)
{
    struct elf_info info = debian_kernel();
    struct builder_layout l;
    static const uint64_t bad_lists[] =
        {
            0xffff800000000000ull, 0x00007ffffffff000ull, 0x0000900000000000ull,
            0xfffffffffffff000ull, 0xffffffff00000000ull, 0x8000000800ull,
            0x0000017fffff0000ull, /* crosses into the next top-level slot */
        };

    for (size_t i = 0; i < sizeof(bad_lists) / sizeof(bad_lists[0]); i++) {
        info = debian_kernel();
        info.init_p2m = bad_lists[i];
        CU_ASSERT_EQUAL(builder_layout(&info, 65536, 0, &l, NULL), -ENOEXEC);
    }
    info = debian_kernel();
    info.virt_base = 0xffff810000000000ull; /* the hypervisor's own range */
    info.kernel_start = info.virt_base;
    info.kernel_end = info.virt_base + 0x100000;
    CU_ASSERT_EQUAL(builder_layout(&info, 65536, 0, &l, NULL), -ENOEXEC);
    info.virt_base = 0xffffffffffc00000ull; /* kernel fits, the slack behind it wraps */
    info.kernel_start = info.virt_base;
    info.kernel_end = 0xfffffffffffff000ull;
    CU_ASSERT_EQUAL(builder_layout(&info, 65536, 0, &l, NULL), -ENOEXEC);
}

/* Whichever page cannot be reached, the failure is reported. */
static void test_page_tables__unreachable_page(void)
{
    struct elf_info info = debian_kernel();
    struct builder_layout l;
    struct memory m;
    const struct builder_pages pages = {.page = memory_page, .context = &m};

    CU_ASSERT_EQUAL_FATAL(builder_layout(&info, 65536, 0, &l, NULL), 0);
    memory_init(&m, 65536);
    for (uint64_t i = 0; i < l.tables.count; i++) {
        m.fail_at = l.tables.pfn + i;
        CU_ASSERT_EQUAL(builder_page_tables(&l, m.p2m, &pages), -EIO);
    }
    for (uint64_t i = 0; i < l.p2m_tables.count; i++) {
        m.fail_at = l.p2m_tables.pfn + i;
        CU_ASSERT_EQUAL(builder_page_tables(&l, m.p2m, &pages), -EIO);
    }
    memory_free(&m);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"Debian's kernel", test_layout__debian_kernel},
        {"list and ramdisk inside the mapping", test_layout__inline_list_and_ramdisk},
        {"unaligned base", test_layout__unaligned_base_two_middle_tables},
        {"smallest memory", test_layout__smallest_memory},
        {"impossible sizes", test_layout__impossible_sizes},
        {"impossible addresses", test_layout__impossible_addresses},
        {"unreachable page", test_page_tables__unreachable_page},
        CU_TEST_INFO_NULL,
    };
    return run_tests("builder layout", tests);
}
