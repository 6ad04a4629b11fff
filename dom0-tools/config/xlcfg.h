/* SPDX-License-Identifier: MIT */
/*
 * xl's configuration files, the form in which guests of Xen are usually described.
 *
 * Read into and written from the same struct vane_config as domain XML, so that either converts to
 * the other. As with XML, what is accepted is honoured: a key or a value that asks for something
 * else than we do is refused by name, also where xl itself would pass over it.
 * Used by dom0-tools/vane (convert) and by the unit tests.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "dom0-tools/base/err.h"
#include "dom0-tools/config/config.h"

/* Whether a file looks like XML: its first visible byte is '<'. */
bool xlcfg_is_xml(const char *data, size_t bytes);

/* Reads a file of xl, `bytes` of it with a NUL behind them. Returns: 0 with a new configuration
 * (config_free() it). Errors: EBADMSG with file, line and key; EFBIG above CONFIG_MAX_FILE_BYTES.
 */
int xlcfg_parse(const char *name, const char *data, size_t bytes, struct vane_config **out,
                struct err *err);

/* Writes a configuration for xl; xlcfg_parse() reads it back to the same, but for title and
 * description, which become comments. *text is new memory with a NUL behind it.
 * Errors: EBADMSG for what cannot be said to xl. */
int xlcfg_write(const struct vane_config *config, char **text, struct err *err);
