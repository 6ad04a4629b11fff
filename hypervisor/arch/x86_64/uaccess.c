// SPDX-License-Identifier: MIT
/*
 * Reading and writing guest memory through the page tables that are loaded: the current vCPU's.
 * Every access may fault; the exception table turns a fault into a short copy. Nowhere else is an
 * address touched that guests have mapped: with SMAP it would fault. No locks.
 */
#include "asm.h"
#include "machine.h"

/* The whole range is canonical and outside the hypervisor's part of the address space, which begins
 * where the upper half does. No range at all is refused, which leaves as much to do as it is. */
static inline bool range_ok(vaddr_t va, size_t bytes)
{
    vaddr_t last = va + bytes - 1;
    return last >= va && (last < 1UL << 47 || va >= HYP_VIRT_END);
}

_Static_assert(HYP_VIRT_START == ~0UL << 47, "there is something of guests' below it");

/* Between the two SMAP allows access. An exception closes the window until it returns. */
static void window_open(void)
{
    __asm__ volatile(PATCHED(PATCH_SMAP, 3, "stac")::: "memory", "cc");
}

static void window_close(void)
{
    __asm__ volatile(PATCHED(PATCH_SMAP, 3, "clac")::: "memory", "cc");
}

/* Forward copy, 8 bytes at a time and then single bytes; a fault ends it, with what is left in the
 * counts. Returns that. */
static inline size_t copy_faulting(void *dst, const void *src, size_t bytes)
{
    size_t words = bytes / 8, tail = bytes & 7;
    window_open();
    __asm__ volatile("1: rep movsq\n"
                     "   xchg %[tail], %%rcx\n"
                     "2: rep movsb\n"
                     "   xchg %[tail], %%rcx\n"
                     "3:\n" EX_TABLE("1b", "3b")
                         EX_TABLE("2b", "4f") ".pushsection .text.fixup, \"ax\"\n"
                                              "4: xchg %[tail], %%rcx\n"
                                              "   jmp 3b\n"
                                              ".popsection\n"
                     : "+c"(words), [tail] "+r"(tail), "+S"(src), "+D"(dst)
                     :
                     : "memory");
    window_close();
    return words * 8 + tail;
}

size_t arch_copy_from_guest(void *dst, vaddr_t src, size_t bytes)
{
    return range_ok(src, bytes) ? copy_faulting(dst, (const void *)src, bytes) : bytes;
}

size_t arch_copy_to_guest(vaddr_t dst, const void *src, size_t bytes)
{
    return range_ok(dst, bytes) ? copy_faulting((void *)dst, src, bytes) : bytes;
}
