// SPDX-License-Identifier: MIT
/*
 * The only way to read or write guest memory by guest pointers: those of the current vCPU's kernel
 * address space. Each byte is fetched once; callers check the copy. Never under a spinlock.
 * Errors: -EFAULT.
 */
#pragma once

#include "arch/arch.h"
#include "base/checked.h"
#include "pv-abi/abi.h"

/* The address in an ABI guest handle (a typed pointer of the guest). */
#define GUEST_ADDR(handle) ((vaddr_t)(handle).p)

static inline must_check int guest_read(void *dst, vaddr_t src, size_t bytes)
{
    return arch_copy_from_guest(dst, src, bytes) ? -EFAULT : 0;
}

static inline must_check int guest_write(vaddr_t dst, const void *src, size_t bytes)
{
    return arch_copy_to_guest(dst, src, bytes) ? -EFAULT : 0;
}

/* Element `index` of an array at `base`. */
static inline must_check int guest_read_element(void *dst, vaddr_t base, uint64_t index,
                                                size_t bytes)
{
    uint64_t at;
    return checked_mul(index, bytes, &at) && checked_add(base, at, &at) ? guest_read(dst, at, bytes)
                                                                        : -EFAULT;
}

static inline must_check int guest_write_element(vaddr_t base, uint64_t index, const void *src,
                                                 size_t bytes)
{
    uint64_t at;
    return checked_mul(index, bytes, &at) && checked_add(base, at, &at)
               ? guest_write(at, src, bytes)
               : -EFAULT;
}
