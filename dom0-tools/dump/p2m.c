/* SPDX-License-Identifier: MIT */
/*
 * Reading a guest's list of frames; see p2m.h.
 *
 * ABI: in an entry the highest bit marks another domain's frame and the one below it a frame of the
 * machine that the guest sees at its own address; neither is the guest's memory.
 */
#include "dom0-tools/dump/p2m.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES 512u
#define NOT_OWN (3ull << 62)

#define PTE_PRESENT 1u
#define PTE_LARGE 0x80u
#define PTE_FRAME(entry) (((entry)&0x000ffffffffff000ull) >> 12)

/* ABI: a page-table frame in cr3's form has its high bits folded into the low ones. */
static uint64_t frame_of_cr3(uint64_t cr3)
{
    return cr3 >> 12 | (cr3 & 0xfff) << 52;
}

/* Reads one word of a machine frame. */
static int read_word(const struct p2m_source *source, uint64_t frame, unsigned int index,
                     uint64_t *word)
{
    const uint64_t *page = source->map(source->context, frame);

    if (page == NULL) {
        return -EFAULT;
    }
    *word = page[index];
    source->unmap(source->context, page);
    return 0;
}

/* Frame of the n-th page of the list, by the tree. */
static int page_of_tree(const struct p2m_source *source, const struct p2m_root *root, uint64_t n,
                        uint64_t *frame)
{
    uint64_t middle;
    int rc = n / ENTRIES >= ENTRIES
                 ? -EFAULT
                 : read_word(source, root->list_list, (unsigned int)(n / ENTRIES), &middle);

    return rc != 0 ? rc : read_word(source, middle, (unsigned int)(n % ENTRIES), frame);
}

/* The same by the array: a walk of the guest's page tables. */
static int page_of_array(const struct p2m_source *source, const struct p2m_root *root, uint64_t n,
                         uint64_t *frame)
{
    uint64_t address = root->address + n * ENTRIES * sizeof(uint64_t);
    uint64_t entry;

    *frame = frame_of_cr3(root->cr3);
    for (unsigned int shift = 39; shift >= 12; shift -= 9) {
        int rc = read_word(source, *frame, (unsigned int)(address >> shift) % ENTRIES, &entry);

        if (rc != 0 || (entry & PTE_PRESENT) == 0) {
            return -EFAULT;
        }
        *frame = PTE_FRAME(entry);
        if (shift == 21 && (entry & PTE_LARGE) != 0) {
            *frame += (address >> 12) % ENTRIES;
            return 0;
        }
    }
    return 0;
}

/* Takes over one page of the list. */
static int take_page(const struct p2m_source *source, uint64_t frame, uint64_t *to, size_t count)
{
    const uint64_t *page = source->map(source->context, frame);

    if (page == NULL) {
        return -EFAULT;
    }
    memcpy(to, page, count * sizeof(*to));
    source->unmap(source->context, page);
    for (size_t i = 0; i < count; i++) {
        if ((to[i] & NOT_OWN) != 0) {
            to[i] = P2M_NONE;
        }
    }
    return 0;
}

int p2m_read(const struct p2m_source *source, const struct p2m_root *root, uint64_t **frames,
             size_t *count, struct err *err)
{
    bool tree = root->list_list != 0 && root->list_list != UINT64_MAX;
    int rc = 0;

    if (root->max_pfn == 0 || (!tree && root->cr3 == 0)) {
        return err_set(err, ENODATA, "the guest's kernel does not tell where its memory is");
    }
    if (root->max_pfn > P2M_MAX_FRAMES || (!tree && root->address % 4096 != 0)) {
        return err_set(err, EFBIG, "the guest tells nonsense about its memory");
    }
    *count = (size_t)root->max_pfn;
    *frames = malloc(*count * sizeof(**frames));
    if (*frames == NULL) {
        return err_set(err, ENOMEM, "no memory for a list of %zu frames", *count);
    }
    for (size_t at = 0; at < *count && rc == 0; at += ENTRIES) {
        size_t part = *count - at < ENTRIES ? *count - at : ENTRIES;
        uint64_t page = 0;

        rc = (tree ? page_of_tree : page_of_array)(source, root, at / ENTRIES, &page);
        rc = rc != 0 ? rc : take_page(source, page, *frames + at, part);
    }
    if (rc != 0) {
        free(*frames);
        *frames = NULL;
        return err_set(err, -rc, "the guest's list of its memory cannot be read");
    }
    return 0;
}
