/* SPDX-License-Identifier: MIT */
/*
 * The seven compressed forms a Linux kernel's payload comes in, each as one function.
 *
 * A codec unpacks a whole stream into a buffer whose size the caller chose. It never writes past
 * the buffer, never allocates by a size the stream names beyond CODEC_MAX_DICT_BYTES, and fails if
 * input is left over, ends early or does not pass the format's own checks. Private to
 * dom0-tools/unpack.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dom0-tools/base/err.h"

/* Most memory a decoder may take for its dictionary; kernels are made with at most 128 MiB. */
#define CODEC_MAX_DICT_BYTES (256u << 20)

struct codec {
    const char *name;
    const char *magic; /* first bytes of the stream */
    size_t magic_bytes;
    size_t trailer_bytes; /* 4 if the kernel's size stands behind the stream, 0 if within it */
    /* Unpacks all of `in`. Returns: 0 with *done bytes written, at most out_bytes.
     * Errors: ENOEXEC damaged or larger than the buffer, ENOMEM. */
    int (*unpack)(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes, size_t *done,
                  struct err *err);
};

/* Codec for a stream by its first bytes; NULL for an unknown one. */
const struct codec *codec_find(const uint8_t *stream, size_t bytes);

/* codec_lzo.c: the format of the lzop program. */
int codec_lzo(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes, size_t *done,
              struct err *err);
/* codec_lz4.c: LZ4's legacy frame. */
int codec_lz4(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes, size_t *done,
              struct err *err);
