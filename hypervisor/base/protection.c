// SPDX-License-Identifier: MIT
/* The table of protections. Filled by the first CPU before there are others; no lock. */
#include "base/protection.h"

#include "base/assert.h"
#include "base/format.h"
#include "base/log.h"

struct protection protections[PROTECTIONS_MAX];
unsigned protection_count;

void protection_report(const char *name, const char *state, ...)
{
    BUG_ON(protection_count == PROTECTIONS_MAX);
    struct protection *p = &protections[protection_count++];
    va_list ap;
    va_start(ap, state);
    (void)format(p->name, sizeof(p->name), "%s", name);
    (void)format_va(p->state, sizeof(p->state), state, ap);
    va_end(ap);
}

void protection_log(void)
{
    printk("Protections:");
    for (unsigned i = 0; i < protection_count; i++) {
        printk("%s %s %s", i ? ";" : "", protections[i].name, protections[i].state);
    }
    printk("\n");
}
