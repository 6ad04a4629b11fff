// SPDX-License-Identifier: MIT
/*
 * panic(), halt and reboot on the fake machine: back to the test that expects them, else the
 * process aborts, so that an assertion nobody expected fails the run.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "host.h"

jmp_buf host_end_jump;
bool host_end_armed;
char host_panic_message[256];

static noreturn void end(enum host_end how)
{
    if (!host_end_armed) {
        fprintf(stderr, "hypervisor ended (%d): %s\n", how, host_panic_message);
        abort();
    }
    longjmp(host_end_jump, how);
}

void panic(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(host_panic_message, sizeof(host_panic_message), fmt, ap);
    va_end(ap);
    end(HOST_PANIC);
}

void arch_halt(void)
{
    end(HOST_HALT);
}

void arch_reboot(void)
{
    end(HOST_REBOOT);
}
