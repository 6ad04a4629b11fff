// SPDX-License-Identifier: MIT
/*
 * Widths, addresses, page arithmetic, and compiler attributes under short names, for every layer.
 *
 * Addresses are plain 64-bit integers with names that say what they count. In a paravirtual
 * hypervisor nearly every frame number is a machine frame; guest (pseudo-physical) numbers appear
 * only in the M2P and are always called pfn.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t mfn_t;   /* machine frame number */
typedef uint64_t pfn_t;   /* guest's pseudo-physical frame number */
typedef uint64_t maddr_t; /* machine address, bytes */
typedef uint64_t vaddr_t; /* linear address, bytes */
typedef int64_t ns_t;     /* nanoseconds since the hypervisor started */

#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))

#define NS_PER_SEC 1000000000LL
#define NS_PER_MS 1000000LL
#define NS_PER_US 1000LL

#define INVALID_MFN (~0UL)
#define INVALID_M2P (~0UL)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define ROUND_UP(n, d) (DIV_ROUND_UP(n, d) * (d))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define must_check __attribute__((warn_unused_result))
#define noreturn __attribute__((noreturn))
#define inline_always inline __attribute__((always_inline))
#define noinline __attribute__((noinline))
#define unused __attribute__((unused))
#define packed __attribute__((packed))
#define format_printf(fmt, first) __attribute__((format(printf, fmt, first)))
#define unlikely(x) __builtin_expect(!!(x), 0)

/* A plain access the compiler may neither tear, repeat nor drop: for memory a guest or another
 * CPU changes at the same time. */
#define read_once(x) (*(const volatile __typeof__(x) *)&(x))
#define write_once(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

/* Compiler barrier; x86 orders stores with stores and loads with loads by itself. */
#define barrier() __asm__ volatile("" ::: "memory")
#define smp_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)
#define smp_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
