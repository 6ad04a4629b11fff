// SPDX-License-Identifier: MIT
/*
 * The guest's address space. A window of plain memory serves tests that only need somewhere to put
 * arguments. For other addresses the current vCPU's L4 is walked through the fake machine memory
 * exactly as a processor would, user bit and write bit included.
 */
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "host.h"

#define FETCH_MAX 4096

/* At the address where guests see it, for code that does not come through here. */
static uint8_t *const window = (uint8_t *)HOST_GUEST_BASE;
static size_t window_used;
static struct fetch {
    vaddr_t start, end;
} fetch[FETCH_MAX];
static unsigned fetch_count;

__attribute__((constructor)) static void window_map(void)
{
    BUG_ON(mmap(window, HOST_GUEST_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != window);
}

vaddr_t host_guest_alloc(size_t bytes)
{
    /* A gap of 64 bytes keeps neighbours apart for the double-fetch recorder. */
    size_t start = ROUND_UP(window_used, 64);
    BUG_ON(start + bytes > HOST_GUEST_BYTES);
    window_used = start + bytes + 64;
    memset(window + start, 0, bytes);
    return HOST_GUEST_BASE + start;
}

void *host_guest_ptr(vaddr_t va)
{
    BUG_ON(va < HOST_GUEST_BASE || va >= HOST_GUEST_BASE + HOST_GUEST_BYTES);
    return window + (va - HOST_GUEST_BASE);
}

vaddr_t host_guest_put(const void *src, size_t bytes)
{
    vaddr_t va = host_guest_alloc(bytes);
    memcpy(host_guest_ptr(va), src, bytes);
    return va;
}

void host_guest_reset(void)
{
    window_used = 0;
    fetch_count = 0;
}

void host_fetch_reset(void)
{
    fetch_count = 0;
    host.double_fetches = 0;
}

static void note_fetch(vaddr_t start, size_t bytes)
{
    for (unsigned i = 0; i < fetch_count; i++) {
        if (start < fetch[i].end && start + bytes > fetch[i].start) {
            host.double_fetches++;
        }
    }
    if (fetch_count < FETCH_MAX) {
        fetch[fetch_count++] = (struct fetch){start, start + bytes};
    }
}

static uint8_t *walk(vaddr_t va, bool write)
{
    const struct vcpu *v = current_vcpu();
    if (!v || !v->pv.l4 || !is_canonical(va) || PT_INDEX(va, 4) - 256 < 16) {
        return NULL;
    }
    mfn_t mfn = frame_to_mfn(v->pv.l4);
    for (unsigned level = 4; level > 0; level--) {
        uint64_t entry = ((uint64_t *)mfn_to_virt(mfn))[PT_INDEX(va, level)];
        bool usable = (entry & X86_PTE_P) && (entry & X86_PTE_US) &&
                      (!write || (entry & X86_PTE_RW)) && PTE_MFN(entry) < HOST_FRAMES;
        if (!usable) {
            return NULL;
        }
        mfn = PTE_MFN(entry);
    }
    return (uint8_t *)mfn_to_virt(mfn) + (va & ~PAGE_MASK);
}

/* Where `va` is, and how many bytes from it on are contiguous; NULL when not mapped. */
static uint8_t *resolve(vaddr_t va, bool write, size_t *run)
{
    if (va >= HOST_GUEST_BASE && va < HOST_GUEST_BASE + HOST_GUEST_BYTES) {
        *run = HOST_GUEST_BASE + HOST_GUEST_BYTES - va;
        return window + (va - HOST_GUEST_BASE);
    }
    *run = PAGE_SIZE - (va & ~PAGE_MASK);
    return walk(va, write);
}

static bool injected(void)
{
    if (host.on_access) {
        host.on_access();
    }
    return host.fault_in_access && --host.fault_in_access == 0;
}

size_t arch_copy_from_guest(void *dst, vaddr_t src, size_t bytes)
{
    if (injected()) {
        return bytes;
    }
    uint8_t *out = dst;
    while (bytes) {
        size_t run;
        const uint8_t *in = resolve(src, false, &run);
        if (!in) {
            break;
        }
        run = MIN(run, bytes);
        note_fetch(src, run);
        memcpy(out, in, run);
        out += run;
        src += run;
        bytes -= run;
    }
    return bytes;
}

static size_t store(vaddr_t dst, const uint8_t *src, size_t bytes)
{
    if (injected()) {
        return bytes;
    }
    while (bytes) {
        size_t run;
        uint8_t *out = resolve(dst, true, &run);
        if (!out) {
            break;
        }
        run = MIN(run, bytes);
        if (src) {
            memcpy(out, src, run);
            src += run;
        } else {
            memset(out, 0, run);
        }
        dst += run;
        bytes -= run;
    }
    return bytes;
}

size_t arch_copy_to_guest(vaddr_t dst, const void *src, size_t bytes)
{
    return store(dst, src, bytes);
}
