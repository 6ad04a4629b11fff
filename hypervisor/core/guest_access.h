// SPDX-License-Identifier: MIT
/*
 * The only way to read or write guest memory by guest pointers: those of the current vCPU's kernel
 * address space. Each byte is fetched once; callers check the copy. Never under a spinlock.
 * Errors: -EFAULT.
 */
#pragma once

#include "arch/arch.h"
#include "pv-abi/abi.h"

must_check int guest_read(void *dst, vaddr_t src, size_t bytes);
must_check int guest_write(vaddr_t dst, const void *src, size_t bytes);
/* Array element access with overflow checks: element `index` of an array at `base`. */
must_check int guest_read_element(void *dst, vaddr_t base, uint64_t index, size_t bytes);
must_check int guest_write_element(vaddr_t base, uint64_t index, const void *src, size_t bytes);
/* The address in an ABI guest handle (a typed pointer of the guest). */
#define GUEST_ADDR(handle) ((vaddr_t)(handle).p)
