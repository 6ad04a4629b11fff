// SPDX-License-Identifier: MIT
/* Compiler attributes under short names. */
#pragma once

#define must_check __attribute__((warn_unused_result))
#define noreturn __attribute__((noreturn))
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
