// SPDX-License-Identifier: MIT
/*
 * Reading and writing guest memory through the page tables that are loaded: the current vCPU's.
 * Every access may fault; the exception table turns a fault into a short copy. Nowhere else is an
 * address touched that guests have mapped: with SMAP it would fault. No locks.
 */
#include "asm.h"
#include "machine.h"

/* The whole range is canonical and outside the hypervisor's part of the address space. */
static bool range_ok(vaddr_t va, size_t bytes)
{
    vaddr_t end;
    if (bytes == 0) {
        return true;
    }
    return !__builtin_add_overflow(va, bytes - 1, &end) && is_canonical(va) && is_canonical(end) &&
           (va >> 63) == (end >> 63) && (end < HYP_VIRT_START || va >= HYP_VIRT_END);
}

/* Between the two SMAP allows access. An exception closes the window until it returns. */
static void window_open(void)
{
    __asm__ volatile(PATCHED(PATCH_SMAP, 3, "stac")::: "memory", "cc");
}

static void window_close(void)
{
    __asm__ volatile(PATCHED(PATCH_SMAP, 3, "clac")::: "memory", "cc");
}

/* Forward copy, 8 bytes at a time and then single bytes; a fault ends it. Returns what is left. */
static size_t copy_faulting(void *dst, const void *src, size_t bytes)
{
    size_t words = bytes / 8, tail = bytes & 7;
    uint64_t tmp;
    window_open();
    __asm__ volatile(
        "   test %[words], %[words]\n"
        "   jz 3f\n"
        "1: mov (%[src]), %[tmp]\n"
        "2: mov %[tmp], (%[dst])\n"
        "   add $8, %[src]\n"
        "   add $8, %[dst]\n"
        "   dec %[words]\n"
        "   jnz 1b\n"
        "3: test %[tail], %[tail]\n"
        "   jz 6f\n"
        "4: movb (%[src]), %b[tmp]\n"
        "5: movb %b[tmp], (%[dst])\n"
        "   inc %[src]\n"
        "   inc %[dst]\n"
        "   dec %[tail]\n"
        "   jnz 4b\n"
        "6:\n" EX_TABLE("1b", "6b") EX_TABLE("2b", "6b") EX_TABLE("4b", "6b") EX_TABLE("5b", "6b")
        : [words] "+r"(words), [tail] "+r"(tail), [src] "+r"(src), [dst] "+r"(dst), [tmp] "=&q"(tmp)
        :
        : "memory", "cc");
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
