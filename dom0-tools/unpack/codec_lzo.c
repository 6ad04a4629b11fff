/* SPDX-License-Identifier: MIT */
/*
 * The file format of lzop, big-endian throughout:
 *
 *   magic 9 | version 2 | library 2 | needed 2 | method 1 | level 1 | flags 4 | [filter 4]
 *   mode 4 | mtime 4 | mtime high 4 | name length 1 | name | header checksum 4
 *   then blocks: unpacked size 4 (0 ends) | packed size 4 | [sums of unpacked] | [sums of packed]
 *                | packed bytes
 *
 * `needed`, `level` and `mtime high` exist from version 0x0940 on. The sums of the packed bytes are
 * left out when a block is stored as it is. The library only unpacks single blocks.
 */
#include <errno.h>
#include <lzo/lzo1x.h>
#include <stdbool.h>
#include <string.h>

#include "dom0-tools/base/progress.h"
#include "dom0-tools/unpack/codec.h"

#define MAGIC_BYTES 9
#define VERSION_LONG_HEADER 0x0940

#define FLAG_ADLER32_OUT 0x00000001u
#define FLAG_ADLER32_IN 0x00000002u
#define FLAG_EXTRA_FIELD 0x00000040u
#define FLAG_CRC32_OUT 0x00000100u
#define FLAG_CRC32_IN 0x00000200u
#define FLAG_MULTIPART 0x00000400u
#define FLAG_FILTER 0x00000800u
#define FLAG_HEADER_CRC32 0x00001000u

#define BLOCK_MAX_BYTES (64u << 20)

/* A place in the input; reading past the end gives zeros and sets `ended`. */
struct reader {
    const uint8_t *data;
    size_t bytes;
    size_t at;
    bool ended;
};

static uint32_t take(struct reader *in, unsigned int bytes)
{
    uint32_t value = 0;

    if (in->bytes - in->at < bytes) {
        in->at = in->bytes;
        in->ended = true;
        return 0;
    }
    while (bytes-- > 0) {
        value = value << 8 | in->data[in->at++];
    }
    return value;
}

static int ends_early(struct err *err)
{
    return err_set(err, ENOEXEC, "compressed kernel ends early");
}

static int damaged(struct err *err)
{
    return err_set(err, ENOEXEC, "compressed kernel is damaged");
}

static int read_header(struct reader *in, uint32_t *flags, struct err *err)
{
    in->at = MAGIC_BYTES;

    uint32_t version = take(in, 2);
    bool long_header = version >= VERSION_LONG_HEADER;

    take(in, 2);
    if (long_header) {
        take(in, 2);
    }

    uint32_t method = take(in, 1);

    if (long_header) {
        take(in, 1);
    }
    *flags = take(in, 4);
    if (*flags & (FLAG_FILTER | FLAG_MULTIPART | FLAG_EXTRA_FIELD) || method < 1 || method > 3) {
        return in->ended ? ends_early(err)
                         : err_set(err, ENOEXEC,
                                   "compressed kernel uses an lzop feature kernels do not use "
                                   "(method %u, flags 0x%x)",
                                   method, *flags);
    }
    take(in, 4);
    take(in, 4);
    if (long_header) {
        take(in, 4);
    }
    for (uint32_t name = take(in, 1); name > 0; name--) {
        take(in, 1);
    }

    const uint8_t *start = in->data + MAGIC_BYTES;
    size_t length = in->at - MAGIC_BYTES;
    uint32_t sum = take(in, 4);

    if (in->ended) {
        return ends_early(err);
    }
    return sum == (*flags & FLAG_HEADER_CRC32 ? lzo_crc32(0, start, length)
                                              : lzo_adler32(1, start, length))
               ? 0
               : damaged(err);
}

/* The sums a block carries about one of its two forms. */
struct sums {
    bool has_adler;
    bool has_crc;
    uint32_t adler;
    uint32_t crc;
};

static struct sums take_sums(struct reader *in, bool has_adler, bool has_crc)
{
    struct sums sums = {.has_adler = has_adler, .has_crc = has_crc};

    sums.adler = has_adler ? take(in, 4) : 0;
    sums.crc = has_crc ? take(in, 4) : 0;
    return sums;
}

static bool sums_match(const struct sums *sums, const uint8_t *data, size_t bytes)
{
    return (!sums->has_adler || lzo_adler32(1, data, bytes) == sums->adler) &&
           (!sums->has_crc || lzo_crc32(0, data, bytes) == sums->crc);
}

/* One block whose unpacked size has been read and is known to fit `out`. */
static int unpack_block(struct reader *in, uint32_t flags, uint8_t *out, uint32_t out_bytes,
                        struct err *err)
{
    uint32_t packed = take(in, 4);
    struct sums sums_out = take_sums(in, flags & FLAG_ADLER32_OUT, flags & FLAG_CRC32_OUT);
    bool stored = packed == out_bytes;
    struct sums sums_in =
        take_sums(in, !stored && (flags & FLAG_ADLER32_IN), !stored && (flags & FLAG_CRC32_IN));

    if (in->ended || in->bytes - in->at < packed) {
        return ends_early(err);
    }
    if (packed == 0 || packed > out_bytes || !sums_match(&sums_in, in->data + in->at, packed)) {
        return damaged(err);
    }
    if (stored) {
        memcpy(out, in->data + in->at, packed);
    } else {
        lzo_uint got = out_bytes;

        if (lzo1x_decompress_safe(in->data + in->at, packed, out, &got, NULL) != LZO_E_OK ||
            got != out_bytes) {
            return damaged(err);
        }
    }
    in->at += packed;
    return sums_match(&sums_out, out, out_bytes) ? 0 : damaged(err);
}

int codec_lzo(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes, size_t *done,
              struct err *err)
{
    struct reader reader = {.data = in, .bytes = in_bytes};
    uint32_t flags;

    *done = 0;
    if (lzo_init() != LZO_E_OK) {
        return err_set(err, ENOMEM, "the lzo library cannot be used");
    }

    int rc = read_header(&reader, &flags, err);

    while (rc == 0) {
        uint32_t block = take(&reader, 4);

        if (reader.ended) {
            return ends_early(err);
        }
        if (block == 0) {
            return reader.at == in_bytes
                       ? 0
                       : err_set(err, ENOEXEC, "unexpected bytes behind the compressed kernel");
        }
        if (block > BLOCK_MAX_BYTES) {
            return damaged(err);
        }
        if (block > out_bytes - *done) {
            return err_set(err, ENOEXEC, "kernel unpacks to more bytes than announced");
        }
        rc = unpack_block(&reader, flags, out + *done, block, err);
        *done += block;
        progress_step(*done);
    }
    return rc;
}
