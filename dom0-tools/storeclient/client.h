/* SPDX-License-Identifier: MIT */
/*
 * What our client of the store offers beyond <xenstore.h>.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <xenstore.h>

/* Reads nodes as xs_read() does, with one exchange for many; values[i] is to be freed, or NULL
 * where there is nothing to be read. Returns: false when the daemon has gone. */
bool xs_read_many(struct xs_handle *h, const char *const paths[], size_t count, char *values[]);

/* Changes outside of transactions that follow are sent with the next request that is waited for, in
 * their order, and report success until xs_together_end() says what became of them: false, and
 * errno of the first that failed. */
void xs_together_begin(struct xs_handle *h);
bool xs_together_end(struct xs_handle *h);
