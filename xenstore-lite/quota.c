// SPDX-License-Identifier: MIT
/*
 * The table of limits. See quota.h.
 */
#include "xenstore-lite/quota.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct quota quota_default(void)
{
    return (struct quota){
#define Q(name, value, doc) .name = value,
        QUOTA_LIST(Q)
#undef Q
    };
}

bool quota_row(struct quota *q, unsigned int i, struct quota_row *row)
{
    const struct quota_row rows[] = {
#define Q(name, value, doc) {#name, doc, &q->name},
        QUOTA_LIST(Q)
#undef Q
    };

    if (i >= sizeof(rows) / sizeof(rows[0])) {
        return false;
    }
    *row = rows[i];
    return true;
}

int quota_set(struct quota *q, const char *name, const char *value)
{
    struct quota_row row;

    for (unsigned int i = 0; quota_row(q, i, &row); i++) {
        unsigned long n;
        char *end;

        if (strcmp(row.name, name) != 0) {
            continue;
        }
        errno = 0;
        n = strtoul(value, &end, 10);
        if (value[0] < '0' || value[0] > '9' || *end || errno || n < 1 || n > INT32_MAX) {
            return -EINVAL;
        }
        *row.value = (uint32_t)n;
        return 0;
    }
    return -ENOENT;
}
