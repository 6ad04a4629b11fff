/* SPDX-License-Identifier: MIT */
/*
 * bzImage to ELF (dom0-tools/unpack): each payload format, packed here by the library that real
 * kernels' packers use, and every way an image can be short, damaged or lying.
 */
#include <CUnit/Basic.h>
#include <bzlib.h>
#include <elf.h>
#include <errno.h>
#include <lz4hc.h>
#include <lzma.h>
#include <lzo/lzo1x.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "dom0-tools/unpack/unpack.h"
#include "tests/unit/runner.h"

#define CODE 1024u         /* boot sector and one setup sector */
#define PAYLOAD_OFFSET 48u /* behind some protected-mode code */
#define KERNEL_BYTES 300000u
#define LZ4_BLOCK ((size_t)8 << 20)

struct bytes {
    uint8_t *data;
    size_t count;
};

static struct bytes kernel; /* what every packed image must give */
static struct err err;

static struct bytes bytes_new(size_t count)
{
    struct bytes b = {.data = calloc(1, count), .count = count};

    if (b.data == NULL) {
        abort();
    }
    return b;
}

static void put32(uint8_t *at, uint32_t value)
{
    for (unsigned int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static void put32_be(uint8_t *at, uint32_t value)
{
    for (unsigned int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

/* Something that looks like an ELF file from outside and packs like code. */
static struct bytes make_kernel(size_t count)
{
    struct bytes b = bytes_new(count);
    uint32_t random = 7;

    for (size_t i = 0; i < count; i++) {
        random = random * 1103515245 + 12345;
        b.data[i] = (uint8_t)(random >> 16 & (i / 1000 % 2 ? 0xff : 0x03));
    }
    memcpy(b.data, ELFMAG, SELFMAG);
    return b;
}

/* --- packing ----------------------------------------------------------------------------- */

static struct bytes pack_gzip(struct bytes in)
{
    struct bytes out = bytes_new(in.count + 1000);
    z_stream z = {.next_in = in.data,
                  .avail_in = (uInt)in.count,
                  .next_out = out.data,
                  .avail_out = (uInt)out.count};

    deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY);
    CU_ASSERT_EQUAL(deflate(&z, Z_FINISH), Z_STREAM_END);
    out.count = z.total_out;
    deflateEnd(&z);
    return out;
}

static struct bytes pack_bzip2(struct bytes in)
{
    struct bytes out = bytes_new(in.count * 2 + 1000);
    unsigned int count = (unsigned int)out.count;

    CU_ASSERT_EQUAL(BZ2_bzBuffToBuffCompress((char *)out.data, &count, (char *)in.data,
                                             (unsigned int)in.count, 9, 0, 0),
                    BZ_OK);
    out.count = count;
    return out;
}

static struct bytes run_encoder(lzma_stream *s, struct bytes in)
{
    struct bytes out = bytes_new(in.count * 2 + 1000);

    s->next_in = in.data;
    s->avail_in = in.count;
    s->next_out = out.data;
    s->avail_out = out.count;
    CU_ASSERT_EQUAL(lzma_code(s, LZMA_FINISH), LZMA_STREAM_END);
    out.count = s->total_out;
    lzma_end(s);
    return out;
}

static struct bytes pack_lzma(struct bytes in)
{
    lzma_stream s = LZMA_STREAM_INIT;
    lzma_options_lzma options;

    lzma_lzma_preset(&options, 6);
    CU_ASSERT_EQUAL(lzma_alone_encoder(&s, &options), LZMA_OK);
    return run_encoder(&s, in);
}

/* As the kernel's xz_wrap.sh: x86 filter, then LZMA2 with a dictionary of 32 MiB. */
static struct bytes pack_xz(struct bytes in)
{
    lzma_stream s = LZMA_STREAM_INIT;
    lzma_options_lzma options;

    lzma_lzma_preset(&options, 6);
    options.dict_size = 32u << 20;

    lzma_filter filters[] = {{.id = LZMA_FILTER_X86},
                             {.id = LZMA_FILTER_LZMA2, .options = &options},
                             {.id = LZMA_VLI_UNKNOWN}};

    CU_ASSERT_EQUAL(lzma_stream_encoder(&s, filters, LZMA_CHECK_CRC32), LZMA_OK);
    return run_encoder(&s, in);
}

/* A file as lzop writes it, with sums of both forms of each block. */
static struct bytes pack_lzo(struct bytes in)
{
    static const uint8_t magic[9] = {0x89, 'L', 'Z', 'O', 0, '\r', '\n', 0x1a, '\n'};
    static const uint8_t header[] = {
        0x10, 0x40, 0x20, 0xa0, 0x09, 0x40, 3, 9, /* versions, method, level */
        0,    0,    0,    3,                      /* flags: Adler-32 of both forms */
        0,    0,    0x81, 0xa4, 1,    2,    3, 4, 0, 0, 0, 0, 3, 'a', 'b', 'c'};
    struct bytes out = bytes_new(in.count * 2 + 1000);
    uint8_t *work = malloc(LZO1X_1_MEM_COMPRESS);
    uint8_t *packed = malloc(512 << 10);
    uint8_t *at = out.data;

    CU_ASSERT_EQUAL(lzo_init(), LZO_E_OK);
    memcpy(at, magic, sizeof(magic));
    memcpy(at + 9, header, sizeof(header));
    at += 9 + sizeof(header);
    put32_be(at, lzo_adler32(1, header, sizeof(header)));
    at += 4;
    for (size_t done = 0; done < in.count;) {
        lzo_uint size = in.count - done < (256 << 10) ? in.count - done : 256 << 10;
        lzo_uint packed_size = 0;

        CU_ASSERT_EQUAL(lzo1x_1_compress(in.data + done, size, packed, &packed_size, work),
                        LZO_E_OK);
        put32_be(at, (uint32_t)size);
        put32_be(at + 8, lzo_adler32(1, in.data + done, size));
        if (packed_size < size) {
            put32_be(at + 4, (uint32_t)packed_size);
            put32_be(at + 12, lzo_adler32(1, packed, packed_size));
            memcpy(at + 16, packed, packed_size);
            at += 16 + packed_size;
        } else {
            put32_be(at + 4, (uint32_t)size);
            memcpy(at + 12, in.data + done, size);
            at += 12 + size;
        }
        done += size;
    }
    at += 4; /* a block of no bytes ends the file */
    out.count = (size_t)(at - out.data);
    free(packed);
    free(work);
    return out;
}

static struct bytes pack_lz4(struct bytes in)
{
    struct bytes out = bytes_new(in.count * 2 + 1000);
    size_t at = 4;

    put32(out.data, 0x184c2102);
    for (size_t done = 0; done < in.count;) {
        size_t size = in.count - done < LZ4_BLOCK ? in.count - done : LZ4_BLOCK;
        int packed = LZ4_compress_HC((char *)in.data + done, (char *)out.data + at + 4, (int)size,
                                     (int)(out.count - at - 4), 9);

        CU_ASSERT_TRUE_FATAL(packed > 0);
        put32(out.data + at, (uint32_t)packed);
        at += 4 + (size_t)packed;
        done += size;
    }
    out.count = at;
    return out;
}

static struct bytes pack_zstd(struct bytes in)
{
    struct bytes out = bytes_new(ZSTD_compressBound(in.count));

    out.count = ZSTD_compress(out.data, out.count, in.data, in.count, 19);
    CU_ASSERT_FALSE_FATAL(ZSTD_isError(out.count));
    return out;
}

static const struct format {
    const char *name;
    struct bytes (*pack)(struct bytes in);
    bool trailer; /* the size stands behind the stream */
    bool summed;  /* the stream has a checksum of its contents */
} formats[] = {
    {"gzip", pack_gzip, false, true}, {"bzip2", pack_bzip2, true, true},
    {"lzma", pack_lzma, true, false}, {"xz", pack_xz, true, true},
    {"lzo", pack_lzo, true, true},    {"lz4", pack_lz4, true, false},
    {"zstd", pack_zstd, true, false},
};
#define FORMAT_COUNT (sizeof(formats) / sizeof(formats[0]))

/* --- images ------------------------------------------------------------------------------ */

/* A stream with the kernel's size behind it, where the format asks for that. */
static struct bytes payload_of(const struct format *format, struct bytes in)
{
    struct bytes stream = format->pack(in);

    if (format->trailer) {
        stream.data = realloc(stream.data, stream.count + 4);
        put32(stream.data + stream.count, (uint32_t)in.count);
        stream.count += 4;
    }
    return stream;
}

static uint32_t image_limit(const struct bytes *image)
{
    uint32_t paragraphs;

    memcpy(&paragraphs, image->data + 0x1f4, 4);
    return CODE + paragraphs * 16;
}

/* Makes the sum over the image right, as the last step of a kernel's build does. */
static void image_seal(const struct bytes *image)
{
    uint32_t limit = image_limit(image);
    uLong sum = crc32(0, image->data, limit - 4);

    put32(image->data + limit - 4, (uint32_t)~sum);
}

/* A boot image of protocol 2.15 around a payload, with a PE header as kernels for EFI have. */
static struct bytes image_of(struct bytes payload, bool sealed)
{
    uint32_t code_bytes = PAYLOAD_OFFSET + (uint32_t)payload.count + 64;
    uint32_t paragraphs = (code_bytes + 4 + 15) / 16;
    struct bytes image = bytes_new(CODE + paragraphs * 16);

    memcpy(image.data, "MZ", 2);
    put32(image.data + 0x3c, 0x40);
    memcpy(image.data + 0x40, "PE\0", 4);
    image.data[0x1f1] = 1;
    put32(image.data + 0x1f4, paragraphs);
    put32(image.data + 0x1fe, 0xaa55);
    memcpy(image.data + 0x202, "HdrS\x0f\x02", 6);
    image.data[0x211] = 1;
    put32(image.data + 0x248, PAYLOAD_OFFSET);
    put32(image.data + 0x24c, (uint32_t)payload.count);
    memcpy(image.data + CODE + PAYLOAD_OFFSET, payload.data, payload.count);
    if (sealed) {
        image_seal(&image);
    }
    return image;
}

/* Unpacks from memory that ends where the image does. Returns: 1 same kernel, 0 other bytes. */
static int unpack(const uint8_t *data, size_t count, const struct bytes *want)
{
    uint8_t *copy = malloc(count + (count == 0));
    void *elf = NULL;
    size_t elf_bytes = 0;

    memcpy(copy, data, count);
    memset(&err, 0, sizeof(err));

    int rc = kernel_unpack(copy, count, &elf, &elf_bytes, &err);

    free(copy);
    if (rc != 0) {
        CU_ASSERT_EQUAL(err.number, -rc);
        CU_ASSERT_TRUE(err.text[0] != '\0');
        CU_ASSERT_PTR_NULL(elf);
        return rc;
    }
    rc = elf_bytes == want->count && memcmp(elf, want->data, elf_bytes) == 0;
    free(elf);
    return rc;
}

static int unpack_image(struct bytes image)
{
    return unpack(image.data, image.count, &kernel);
}

static void refused(struct bytes image, const char *report)
{
    int rc = unpack_image(image);

    if (rc != -ENOEXEC || strstr(err.text, report) == NULL) {
        printf("\n  %d \"%s\" instead of \"%s\"\n", rc, err.text, report);
    }
    CU_ASSERT_EQUAL(rc, -ENOEXEC);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, report));
}

/* --- cases ------------------------------------------------------------------------------- */

static void test_kernel_unpack__formats(void)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        struct bytes payload = payload_of(&formats[i], kernel);
        struct bytes sealed = image_of(payload, true);
        struct bytes bare = image_of(payload, false);

        CU_ASSERT_EQUAL(unpack_image(sealed), 1);
        CU_ASSERT_EQUAL(unpack_image(bare), 1);
        free(bare.data);
        free(sealed.data);
        free(payload.data);
    }
}

/* More than one block of LZ4 (8 MiB), LZO (256 KiB) and bzip2 (900 kB), the last one short. */
static void test_kernel_unpack__large(void)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        struct bytes large = make_kernel((formats[i].pack == pack_lz4 ? 17u << 20 : 1u << 20) + 13);
        struct bytes payload = payload_of(&formats[i], large);
        struct bytes image = image_of(payload, true);

        CU_ASSERT_EQUAL(unpack(image.data, image.count, &large), 1);
        free(image.data);
        free(payload.data);
        free(large.data);
    }
}

static void test_kernel_unpack__elf(void)
{
    CU_ASSERT_EQUAL(unpack_image(kernel), 1);
    CU_ASSERT_EQUAL(unpack(kernel.data, 4, &(struct bytes){kernel.data, 4}), 1);
    CU_ASSERT_EQUAL(unpack(kernel.data, 3, &kernel), -ENOEXEC);
    CU_ASSERT_EQUAL(unpack(kernel.data, 0, &kernel), -ENOEXEC);
}

/* A stream that ends early, in an image that is whole and has the right size behind it. */
static void test_kernel_unpack__short_stream(void)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        struct bytes stream = formats[i].pack(kernel);
        size_t step = stream.count / 60 + 1;

        for (size_t cut = 0; cut < stream.count; cut += step) {
            struct bytes part = bytes_new(cut + 4);

            memcpy(part.data, stream.data, cut);
            put32(part.data + cut, (uint32_t)kernel.count);

            struct bytes image = image_of(part, true);

            CU_ASSERT_EQUAL(unpack_image(image), -ENOEXEC);
            free(image.data);
            free(part.data);
        }
        free(stream.data);
    }
}

static void test_kernel_unpack__surplus(void)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        struct bytes stream = formats[i].pack(kernel);
        struct bytes longer = bytes_new(stream.count + 9);

        memcpy(longer.data, stream.data, stream.count);
        put32(longer.data + stream.count + 5, (uint32_t)kernel.count);

        struct bytes image = image_of(longer, true);

        CU_ASSERT_EQUAL(unpack_image(image), -ENOEXEC);
        free(image.data);
        free(longer.data);
        free(stream.data);
    }
}

static void test_kernel_unpack__wrong_size(void)
{
    static const uint32_t sizes[] = {0,
                                     1,
                                     KERNEL_BYTES - 1,
                                     KERNEL_BYTES + 1,
                                     KERNEL_BYTES * 2,
                                     1u << 30,
                                     (1u << 30) + 1,
                                     UINT32_MAX};

    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        struct bytes payload = payload_of(&formats[i], kernel);

        for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
            put32(payload.data + payload.count - 4, sizes[j]);

            struct bytes image = image_of(payload, true);

            CU_ASSERT_EQUAL(unpack_image(image), -ENOEXEC);
            free(image.data);
        }
        free(payload.data);
    }
}

/* A changed byte anywhere in a sealed image is noticed; in an unsealed one it never does harm, and
 * is noticed if the format has a sum of its own. */
static void test_kernel_unpack__changed(void)
{
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        struct bytes payload = payload_of(&formats[i], kernel);
        struct bytes sealed = image_of(payload, true);
        struct bytes bare = image_of(payload, false);
        size_t start = CODE + PAYLOAD_OFFSET;
        size_t step = payload.count / 50 + 1;

        for (size_t at = 0; at < payload.count; at += at < 64 ? 1 : step) {
            sealed.data[start + at] ^= 0x10;
            CU_ASSERT_EQUAL(unpack_image(sealed), -ENOEXEC);
            sealed.data[start + at] ^= 0x10;

            bare.data[start + at] ^= 0x10;

            int rc = unpack_image(bare);

            CU_ASSERT_TRUE(rc == 0 || rc == 1 || rc == -ENOEXEC);
            if (formats[i].summed) {
                /* Equal bytes may come of a change to a time stamp or a file name. */
                CU_ASSERT_NOT_EQUAL(rc, 0);
            }
            bare.data[start + at] ^= 0x10;
        }
        free(bare.data);
        free(sealed.data);
        free(payload.data);
    }
}

static void test_kernel_unpack__truncated_image(void)
{
    struct bytes payload = payload_of(&formats[0], kernel);
    struct bytes image = image_of(payload, true);

    for (size_t count = 0; count < image.count; count += count < 1100 ? 1 : 4999) {
        CU_ASSERT_EQUAL(unpack(image.data, count, &kernel), -ENOEXEC);
    }
    refused((struct bytes){image.data, image.count - 1}, "boot image is truncated");
    /* What a signature appends lies behind the image. */
    image.data = realloc(image.data, image.count + 1000);
    memset(image.data + image.count, 0xee, 1000);
    CU_ASSERT_EQUAL(unpack(image.data, image.count + 1000, &kernel), 1);
    free(image.data);
    free(payload.data);
}

/* Changes 4 bytes of a good image's header, seals it again, and expects a report. */
static void header_refused(uint32_t at, uint32_t value, const char *report)
{
    struct bytes payload = payload_of(&formats[0], kernel);
    struct bytes image = image_of(payload, true);

    put32(image.data + at, value);
    if (image_limit(&image) == image.count) {
        image_seal(&image);
    }
    refused(image, report);
    free(image.data);
    free(payload.data);
}

static void test_kernel_unpack__header(void)
{
    header_refused(0x1fe, 0, "neither a Linux boot image");
    header_refused(0x202, 0x41414141, "neither a Linux boot image");
    header_refused(0x206, 0x0207, "boot protocol 2.07 is too old");
    header_refused(0x210, 0, "zImage");
    header_refused(0x1f4, UINT32_MAX, "truncated");
    header_refused(0x248, UINT32_MAX, "payload lies outside");
    header_refused(0x24c, UINT32_MAX, "payload lies outside");
    header_refused(0x24c, KERNEL_BYTES * 4, "payload lies outside");
    header_refused(0x24c, 0, "compressed in an unknown way");
    header_refused(0x24c, 5, "ends early");
    header_refused(0x248, PAYLOAD_OFFSET + 1, "compressed in an unknown way");
}

static void test_kernel_unpack__not_elf(void)
{
    struct bytes other = make_kernel(1000);

    other.data[1] = 'X';
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        struct bytes payload = payload_of(&formats[i], other);
        struct bytes image = image_of(payload, true);

        refused(image, "is no ELF file");
        free(image.data);
        free(payload.data);
    }
    free(other.data);
}

/* Signing for secure boot writes two fields of the PE header after the sum was made. */
static void test_kernel_unpack__signed(void)
{
    struct bytes payload = payload_of(&formats[5], kernel);
    struct bytes image = image_of(payload, true);

    put32(image.data + 0x40 + 88, 0x12345678);
    put32(image.data + 0x40 + 168, (uint32_t)image.count);
    put32(image.data + 0x40 + 172, 1472);
    CU_ASSERT_EQUAL(unpack_image(image), 1);
    image.data[0x40 + 92] ^= 1; /* the field behind the first */
    refused(image, "checksum is wrong");
    image.data[0x40 + 92] ^= 1;
    image.data[0x40 + 167] ^= 1;
    refused(image, "checksum is wrong");
    image.data[0x40 + 167] ^= 1;
    image.data[CODE] ^= 1;
    refused(image, "checksum is wrong");
    free(image.data);
    free(payload.data);
}

/* A dictionary of 4 GiB in the stream's header must not be believed. */
static void test_kernel_unpack__absurd_dictionary(void)
{
    struct bytes payload = payload_of(&formats[2], kernel);

    put32(payload.data + 1, 0xf0000000);
    payload.data[3] = 0; /* keep the magic's third byte */

    struct bytes image = image_of(payload, true);

    CU_ASSERT_EQUAL(unpack_image(image), -ENOEXEC);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "dictionary"));
    free(image.data);
    free(payload.data);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"seven formats", test_kernel_unpack__formats},
        {"several blocks", test_kernel_unpack__large},
        {"plain ELF", test_kernel_unpack__elf},
        {"short stream", test_kernel_unpack__short_stream},
        {"surplus bytes", test_kernel_unpack__surplus},
        {"wrong size", test_kernel_unpack__wrong_size},
        {"changed bytes", test_kernel_unpack__changed},
        {"truncated image", test_kernel_unpack__truncated_image},
        {"header", test_kernel_unpack__header},
        {"not an ELF file", test_kernel_unpack__not_elf},
        {"signed image", test_kernel_unpack__signed},
        {"absurd dictionary", test_kernel_unpack__absurd_dictionary},
        CU_TEST_INFO_NULL,
    };
    kernel = make_kernel(KERNEL_BYTES);
    int status = run_tests("unpack kernel", tests);

    free(kernel.data);
    return status;
}
