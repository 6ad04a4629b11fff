/* SPDX-License-Identifier: MIT */
/*
 * The codecs whose library reads the whole stream format, and the table of all of them.
 *
 * Each gets the whole input at once and the output buffer in pieces, for the progress bar that
 * unpack.c shows. When nothing goes on any more, a full buffer means larger than announced, one
 * with room means truncated.
 */
#include "dom0-tools/unpack/codec.h"

#include "dom0-tools/base/progress.h"

#include <bzlib.h>
#include <errno.h>
#include <limits.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

static int damaged(struct err *err)
{
    return err_set(err, ENOEXEC, "compressed kernel is damaged");
}

static int truncated(struct err *err)
{
    return err_set(err, ENOEXEC, "compressed kernel ends early");
}

static int surplus(struct err *err)
{
    return err_set(err, ENOEXEC, "unexpected bytes behind the compressed kernel");
}

static int too_large(struct err *err)
{
    return err_set(err, ENOEXEC, "kernel unpacks to more bytes than announced");
}

/* The libraries count in 32 bits; bzImage fields do so too, so this never bites in practice. */
static int fits_uint(size_t in_bytes, size_t out_bytes, struct err *err)
{
    if (in_bytes > UINT_MAX || out_bytes > UINT_MAX) {
        return err_set(err, ENOEXEC, "compressed kernel is absurdly large");
    }
    return 0;
}

/* Unpacked between two looks at the progress bar. */
#define PIECE_BYTES ((size_t)1 << 20)

/* Room for the next piece. */
static size_t piece(size_t out_bytes, size_t done)
{
    progress_step(done);
    return out_bytes - done < PIECE_BYTES ? out_bytes - done : PIECE_BYTES;
}

static int unpack_gzip(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes,
                       size_t *done, struct err *err)
{
    int rc = fits_uint(in_bytes, out_bytes, err);

    if (rc != 0) {
        return rc;
    }

    z_stream stream = {
        .next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)in_bytes, .next_out = out};
    int status;

    /* 15 window bits, and 16 to insist on a gzip header with its checksum. */
    if (inflateInit2(&stream, 15 + 16) != Z_OK) {
        return err_set(err, ENOMEM, "no memory to unpack gzip");
    }

    do {
        *done = (size_t)(stream.next_out - out);
        stream.avail_out = (uInt)piece(out_bytes, *done);
        status = inflate(&stream, Z_NO_FLUSH);
    } while (status == Z_OK);
    *done = (size_t)(stream.next_out - out);
    inflateEnd(&stream);
    if (status == Z_STREAM_END) {
        return stream.avail_in != 0 ? surplus(err) : 0;
    }
    if (status == Z_BUF_ERROR) {
        return *done == out_bytes ? too_large(err) : truncated(err);
    }
    return status == Z_MEM_ERROR ? err_set(err, ENOMEM, "no memory to unpack gzip") : damaged(err);
}

static int unpack_bzip2(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes,
                        size_t *done, struct err *err)
{
    int rc = fits_uint(in_bytes, out_bytes, err);

    if (rc != 0) {
        return rc;
    }

    bz_stream stream = {.next_in = (char *)(uintptr_t)in,
                        .avail_in = (unsigned int)in_bytes,
                        .next_out = (char *)out};
    unsigned int before;
    int status;

    if (BZ2_bzDecompressInit(&stream, 0, 0) != BZ_OK) {
        return err_set(err, ENOMEM, "no memory to unpack bzip2");
    }

    do {
        *done = (size_t)(stream.next_out - (char *)out);
        before = stream.avail_in;
        stream.avail_out = (unsigned int)piece(out_bytes, *done);
        status = BZ2_bzDecompress(&stream);
    } while (status == BZ_OK &&
             (stream.avail_in != before || stream.next_out != (char *)out + *done));
    *done = (size_t)(stream.next_out - (char *)out);
    BZ2_bzDecompressEnd(&stream);
    switch (status) {
    case BZ_STREAM_END:
        return stream.avail_in != 0 ? surplus(err) : 0;
    case BZ_OK:
        return *done == out_bytes ? too_large(err) : truncated(err);
    case BZ_MEM_ERROR:
        return err_set(err, ENOMEM, "no memory to unpack bzip2");
    default:
        return damaged(err);
    }
}

/* Runs an lzma decoder that has been set up, and ends it. */
static int run_lzma(lzma_stream *stream, const uint8_t *in, size_t in_bytes, uint8_t *out,
                    size_t out_bytes, size_t *done, struct err *err)
{
    stream->next_in = in;
    stream->avail_in = in_bytes;
    stream->next_out = out;

    lzma_ret status;

    do {
        *done = (size_t)(stream->next_out - out);
        stream->avail_out = piece(out_bytes, *done);
        status = lzma_code(stream, LZMA_FINISH);
    } while (status == LZMA_OK);
    *done = (size_t)(stream->next_out - out);

    size_t left = stream->avail_in;
    size_t room = out_bytes - *done;

    lzma_end(stream);
    switch (status) {
    case LZMA_STREAM_END:
        return left != 0 ? surplus(err) : 0;
    case LZMA_BUF_ERROR:
        return room == 0 ? too_large(err) : truncated(err);
    case LZMA_MEM_ERROR:
        return err_set(err, ENOMEM, "no memory to unpack the kernel");
    case LZMA_MEMLIMIT_ERROR:
        return err_set(err, ENOEXEC, "compressed kernel wants a dictionary above %u MiB",
                       CODEC_MAX_DICT_BYTES >> 20);
    default:
        return damaged(err);
    }
}

static int unpack_lzma(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes,
                       size_t *done, struct err *err)
{
    lzma_stream stream = LZMA_STREAM_INIT;

    if (lzma_alone_decoder(&stream, CODEC_MAX_DICT_BYTES) != LZMA_OK) {
        return err_set(err, ENOMEM, "no memory to unpack lzma");
    }
    return run_lzma(&stream, in, in_bytes, out, out_bytes, done, err);
}

static int unpack_xz(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes,
                     size_t *done, struct err *err)
{
    lzma_stream stream = LZMA_STREAM_INIT;

    if (lzma_stream_decoder(&stream, CODEC_MAX_DICT_BYTES, 0) != LZMA_OK) {
        return err_set(err, ENOMEM, "no memory to unpack xz");
    }
    return run_lzma(&stream, in, in_bytes, out, out_bytes, done, err);
}

/* zstd's own limit, and the largest window that kernels are packed with. */
#define ZSTD_WINDOW_LOG_MAX 27

/* Returns: 0 at the frame's end, zstd's error, or anything else when there is no more to do. */
static size_t run_zstd(ZSTD_DCtx *context, const uint8_t *in, size_t in_bytes, uint8_t *out,
                       size_t out_bytes, size_t *done)
{
    ZSTD_inBuffer input = {in, in_bytes, 0};
    ZSTD_outBuffer output = {out, 0, 0};
    size_t before;
    size_t left;

    do {
        *done = output.pos;
        before = input.pos;
        output.size = *done + piece(out_bytes, *done);
        left = ZSTD_decompressStream(context, &output, &input);
    } while (!ZSTD_isError(left) && left != 0 && (input.pos != before || output.pos != *done));
    *done = output.pos;
    return left;
}

static int unpack_zstd(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes,
                       size_t *done, struct err *err)
{
    size_t frame = ZSTD_findFrameCompressedSize(in, in_bytes);

    if (ZSTD_isError(frame)) {
        return ZSTD_getErrorCode(frame) == ZSTD_error_srcSize_wrong ? truncated(err) : damaged(err);
    }
    if (frame != in_bytes) {
        return surplus(err);
    }

    ZSTD_DCtx *context = ZSTD_createDCtx();

    if (context == NULL) {
        return err_set(err, ENOMEM, "no memory to unpack zstd");
    }

    size_t left = run_zstd(context, in, in_bytes, out, out_bytes, done);

    ZSTD_freeDCtx(context);
    if (left == 0) {
        return 0;
    }
    if (!ZSTD_isError(left)) {
        return *done == out_bytes ? too_large(err) : truncated(err);
    }
    switch (ZSTD_getErrorCode(left)) {
    case ZSTD_error_memory_allocation:
        return err_set(err, ENOMEM, "no memory to unpack zstd");
    case ZSTD_error_frameParameter_windowTooLarge:
        return err_set(err, ENOEXEC, "compressed kernel wants a window above %u MiB",
                       1u << (ZSTD_WINDOW_LOG_MAX - 20));
    default:
        return damaged(err);
    }
}

static const struct codec codecs[] = {
    {"gzip", "\x1f\x8b", 2, 0, unpack_gzip},
    {"bzip2", "BZh", 3, 4, unpack_bzip2},
    {"lzma", "\x5d\0\0", 3, 4, unpack_lzma},
    {"xz",
     "\xfd"
     "7zXZ\0",
     6, 4, unpack_xz},
    {"lzo", "\x89LZO\0\r\n\x1a\n", 9, 4, codec_lzo},
    {"lz4", "\x02\x21\x4c\x18", 4, 4, codec_lz4},
    {"zstd", "\x28\xb5\x2f\xfd", 4, 4, unpack_zstd},
};

const struct codec *codec_find(const uint8_t *stream, size_t bytes)
{
    for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
        if (bytes >= codecs[i].magic_bytes &&
            memcmp(stream, codecs[i].magic, codecs[i].magic_bytes) == 0) {
            return &codecs[i];
        }
    }
    return NULL;
}
