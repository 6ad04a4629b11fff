// SPDX-License-Identifier: MIT
/* See guest_access.h. A thin, checked layer over the machine's copy functions. */
#include "core/guest_access.h"

#include "base/checked.h"

int guest_read(void *dst, vaddr_t src, size_t bytes)
{
    return arch_copy_from_guest(dst, src, bytes) ? -EFAULT : 0;
}

int guest_write(vaddr_t dst, const void *src, size_t bytes)
{
    return arch_copy_to_guest(dst, src, bytes) ? -EFAULT : 0;
}

static bool element_address(vaddr_t base, uint64_t index, size_t bytes, vaddr_t *va)
{
    uint64_t offset;
    return checked_mul(index, bytes, &offset) && checked_add(base, offset, va);
}

int guest_read_element(void *dst, vaddr_t base, uint64_t index, size_t bytes)
{
    vaddr_t va;
    return element_address(base, index, bytes, &va) ? guest_read(dst, va, bytes) : -EFAULT;
}

int guest_write_element(vaddr_t base, uint64_t index, const void *src, size_t bytes)
{
    vaddr_t va;
    return element_address(base, index, bytes, &va) ? guest_write(va, src, bytes) : -EFAULT;
}
