// SPDX-License-Identifier: MIT
/*
 * Three kinds of wrong: the guest's gets an errno, a fault or domain_crash(); the machine's panics
 * at boot; ours ends here. No guest input may reach ASSERT, BUG or panic.
 */
#pragma once

#include "base/types.h"

/* Print the message, registers and a backtrace, then stop or reboot as the command line says. */
noreturn void panic(const char *fmt, ...) format_printf(1, 2);

/* An invariant whose breach would break isolation: checked in every build. */
#define BUG_ON(cond)                                                                               \
    do {                                                                                           \
        if (unlikely(cond)) {                                                                      \
            panic("BUG: %s at %s:%d", #cond, __FILE__, __LINE__);                                  \
        }                                                                                          \
    } while (0)

/* Any other: in debug builds only. */
#define ASSERT(cond) BUG_ON(DEBUG_BUILD && !(cond))
