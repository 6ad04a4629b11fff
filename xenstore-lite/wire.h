// SPDX-License-Identifier: MIT
/*
 * The wire format: putting messages together from bytes as they come, and checking what is in them.
 *
 * Everything that arrives is hostile until a function here has let it through. A message longer
 * than the protocol allows cannot be skipped safely; it ends the connection.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <xen/io/xs_wire.h>

#define WIRE_PATH_ROOM (XENSTORE_ABS_PATH_MAX + 1)

/* A message on its way in. */
struct wire_in {
    struct xsd_sockmsg hdr;              /* complete once got >= sizeof(hdr) */
    size_t got;                          /* bytes received, header included */
    char body[XENSTORE_PAYLOAD_MAX + 1]; /* payload, then a NUL of our own */
};

/* Where the next bytes go, and how many are missing (never 0 between messages). */
void *wire_want(struct wire_in *in, size_t *len);
/*
 * Notes that `len` bytes have been put there.
 * Returns: 1 when a message is complete, 0 when more is needed.
 * Errors: -EPROTO when the header announces more than the protocol allows.
 */
int wire_got(struct wire_in *in, size_t len);
/* Ready for the next message. */
void wire_reset(struct wire_in *in);

/*
 * Splits a payload into strings that each end with a NUL.
 * Returns: how many; of those the first `max` are in argv.
 * Errors: -EINVAL when the last one has no NUL.
 */
int wire_strings(const char *body, size_t len, const char **argv, int max);

/*
 * Checks a path and makes it absolute: relative ones start at the caller's home.
 * `special` lets the names of the special watches (@...) through unchanged.
 * Errors: -EINVAL.
 */
int wire_path(const char *path, uint16_t domid, bool special, char out[WIRE_PATH_ROOM]);
/* The home of a domain, "/local/domain/N". */
void wire_home(uint16_t domid, char out[32]);

/* A decimal number up to max. Errors: -EINVAL. */
int wire_number(const char *text, uint64_t max, uint64_t *out);

/* The protocol's name of an errno (positive). */
const char *wire_error_name(int err);
