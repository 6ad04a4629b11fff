/* SPDX-License-Identifier: MIT */
/*
 * The figures of vane top for monitoring systems: OpenMetrics text, served over HTTP on loopback.
 *
 * One thread does it all: it takes a sample now and then and answers clients in between with what
 * the last two samples say, so that the number of clients costs nothing. A client that is slow,
 * silent or talks nonsense costs itself its connection and nobody else anything. Called by
 * vane exporter (dom0-tools/vane/top.c).
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "dom0-tools/top/top.h"

/* Writes counters of a sample and percentages of a report on it, ended by "# EOF". */
void exporter_write(FILE *to, const struct usage_sample *sample, const struct usage_report *report);

/* Listens on a port of 127.0.0.1; 0 for any. Returns: a socket; stores the port it got. */
int exporter_listen(uint16_t port, uint16_t *got, struct err *err);

/* Serves GET /metrics on the socket, taking a sample every settings->delay_ms, until the source
 * fails or, if settings->count is not 0, as many requests have been answered. */
int exporter_serve(int listener, const struct top_source *source,
                   const struct top_settings *settings, struct err *err);
