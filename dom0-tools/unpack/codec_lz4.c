/* SPDX-License-Identifier: MIT */
/*
 * LZ4's legacy frame, which `lz4 -l` writes: the magic, then blocks of a 32-bit length and that
 * many bytes, each unpacking to at most 8 MiB. There is no end mark: the end of the input is the
 * end. A magic in the place of a length starts another frame.
 */
#include <errno.h>
#include <limits.h>
#include <lz4.h>
#include <string.h>

#include "dom0-tools/base/progress.h"
#include "dom0-tools/unpack/codec.h"

#define LEGACY_MAGIC 0x184c2102u
#define BLOCK_MAX_BYTES (8 << 20)

static uint32_t le32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

int codec_lz4(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes, size_t *done,
              struct err *err)
{
    size_t at = 4;

    *done = 0;
    while (at < in_bytes) {
        if (in_bytes - at < 4) {
            return err_set(err, ENOEXEC, "compressed kernel ends early");
        }

        uint32_t block = le32(in + at);

        at += 4;
        if (block == LEGACY_MAGIC) {
            continue;
        }
        if (block == 0 || block > (uint32_t)LZ4_COMPRESSBOUND(BLOCK_MAX_BYTES)) {
            return err_set(err, ENOEXEC, "compressed kernel is damaged: a block of %u bytes",
                           block);
        }
        if (block > in_bytes - at) {
            return err_set(err, ENOEXEC, "compressed kernel ends early");
        }

        size_t room = out_bytes - *done;
        int limit = room < BLOCK_MAX_BYTES ? (int)room : BLOCK_MAX_BYTES;
        int got =
            LZ4_decompress_safe((const char *)in + at, (char *)out + *done, (int)block, limit);

        if (got < 0) {
            return err_set(err, ENOEXEC,
                           "compressed kernel is damaged or unpacks to more than announced");
        }
        *done += (size_t)got;
        progress_step(*done);
        at += block;
    }
    return 0;
}
