/* SPDX-License-Identifier: MIT */
/*
 * Finding and checking the payload of a bzImage, and unpacking it.
 *
 *   0        0x1f1            (setup_sects + 1) * 512      + payload_offset     + syssize * 16
 *   | boot sector | header | setup |  protected-mode code  | payload | size |  code  | sum |
 *
 * Kernels before 6.10 end in a CRC-32 over everything up to there. It is checked where present,
 * because some payload formats (lz4, lzma) have no sum of their own. Signing an image for secure
 * boot fills two fields of its PE header afterwards; the sum was made with both zero.
 */
#include "dom0-tools/unpack/unpack.h"

#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "dom0-tools/base/progress.h"
#include "dom0-tools/unpack/codec.h"

#define OFF_PE_POINTER 0x3c
#define OFF_SETUP_SECTS 0x1f1
#define OFF_SYSSIZE 0x1f4
#define OFF_BOOT_FLAG 0x1fe
#define OFF_HEADER_MAGIC 0x202
#define OFF_VERSION 0x206
#define OFF_LOADFLAGS 0x211
#define OFF_PAYLOAD_OFFSET 0x248
#define OFF_PAYLOAD_LENGTH 0x24c
#define HEADER_END 0x250

#define BOOT_FLAG 0xaa55
#define MIN_VERSION 0x0208
#define LOADED_HIGH 0x01
#define SECTOR_BYTES 512

/* Fields of the PE header, from its signature on, that signing changes. */
#define PE_CHECKSUM 88
#define PE_CHECKSUM_BYTES 4
#define PE_CERTIFICATES 168
#define PE_CERTIFICATES_BYTES 8
#define PE_END (PE_CERTIFICATES + PE_CERTIFICATES_BYTES)

struct payload {
    const uint8_t *data;
    size_t bytes;
};

static uint32_t le16(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8;
}

static uint32_t le32(const uint8_t *at)
{
    return le16(at) | le16(at + 2) << 16;
}

bool kernel_is_elf(const void *image, size_t len)
{
    return len >= SELFMAG && memcmp(image, ELFMAG, SELFMAG) == 0;
}

/* Adds `bytes` zeros to a running sum. */
static uLong sum_zeros(uLong sum, size_t bytes)
{
    static const uint8_t zeros[PE_CERTIFICATES_BYTES];

    return crc32(sum, zeros, (uInt)bytes);
}

/* CRC-32 of the first `limit` bytes as it was before the image was signed. */
static uLong image_sum(const uint8_t *image, size_t limit)
{
    uint32_t pe = le32(image + OFF_PE_POINTER);
    uLong sum = crc32(0, NULL, 0);
    size_t at = 0;

    if (image[0] == 'M' && image[1] == 'Z' && limit >= PE_END && pe <= limit - PE_END &&
        memcmp(image + pe, "PE\0", 4) == 0) {
        sum = crc32_z(sum, image, pe + PE_CHECKSUM);
        sum = sum_zeros(sum, PE_CHECKSUM_BYTES);
        at = pe + PE_CHECKSUM + PE_CHECKSUM_BYTES;
        sum = crc32_z(sum, image + at, pe + PE_CERTIFICATES - at);
        sum = sum_zeros(sum, PE_CERTIFICATES_BYTES);
        at = pe + PE_CERTIFICATES + PE_CERTIFICATES_BYTES;
    }
    return crc32_z(sum, image + at, limit - at);
}

/* Checks the header and finds the payload within the file. */
static int find_payload(const uint8_t *image, size_t len, struct payload *payload, struct err *err)
{
    if (len < HEADER_END || le16(image + OFF_BOOT_FLAG) != BOOT_FLAG ||
        memcmp(image + OFF_HEADER_MAGIC, "HdrS", 4) != 0) {
        return err_set(err, ENOEXEC, "neither a Linux boot image (bzImage) nor an ELF file");
    }

    uint32_t version = le16(image + OFF_VERSION);

    if (version < MIN_VERSION) {
        return err_set(err, ENOEXEC,
                       "boot protocol %u.%02u is too old: 2.08 is the first with a "
                       "payload that can be found",
                       version >> 8, version & 0xff);
    }
    if (!(image[OFF_LOADFLAGS] & LOADED_HIGH)) {
        return err_set(err, ENOEXEC, "a zImage; only bzImages are understood");
    }

    uint32_t sectors = image[OFF_SETUP_SECTS] != 0 ? image[OFF_SETUP_SECTS] : 4;
    uint64_t code = ((uint64_t)sectors + 1) * SECTOR_BYTES;
    uint64_t limit = code + (uint64_t)le32(image + OFF_SYSSIZE) * 16;
    uint64_t start = code + le32(image + OFF_PAYLOAD_OFFSET);
    uint64_t bytes = le32(image + OFF_PAYLOAD_LENGTH);

    if (limit > len) {
        return err_set(err, ENOEXEC, "boot image is truncated: %zu bytes of %llu", len,
                       (unsigned long long)limit);
    }
    if (limit < HEADER_END || start > limit || bytes > limit - start) {
        return err_set(err, ENOEXEC, "boot image is damaged: its payload lies outside it");
    }
    /* A sum over data that ends in its own CRC-32 has this one value. */
    if (le32(image + limit - 4) != 0 && image_sum(image, (size_t)limit) != 0xffffffffu) {
        return err_set(err, ENOEXEC, "boot image is damaged: its checksum is wrong");
    }
    payload->data = image + start;
    payload->bytes = (size_t)bytes;
    return 0;
}

static int unpack_payload(const struct payload *payload, void **elf, size_t *elf_len,
                          struct err *err)
{
    const struct codec *codec = codec_find(payload->data, payload->bytes);

    if (codec == NULL) {
        return err_set(err, ENOEXEC, "kernel is compressed in an unknown way");
    }
    if (payload->bytes < codec->magic_bytes + 4) {
        return err_set(err, ENOEXEC, "compressed kernel ends early");
    }

    uint32_t size = le32(payload->data + payload->bytes - 4);

    if (size < sizeof(Elf64_Ehdr) || size > KERNEL_UNPACK_MAX_BYTES) {
        return err_set(err, ENOEXEC, "kernel's announced size of %u bytes is absurd", size);
    }

    /* One byte of room too many shows a kernel larger than announced. */
    uint8_t *out = malloc((size_t)size + 1);
    size_t done = 0;

    if (out == NULL) {
        return err_set(err, ENOMEM, "no memory for a kernel of %u bytes", size);
    }

    progress_begin("unpack", size);

    int rc = codec->unpack(payload->data, payload->bytes - codec->trailer_bytes, out,
                           (size_t)size + 1, &done, err);

    progress_end();
    if (rc != 0) {
        err_prefix(err, "%s", codec->name);
    } else if (done != size) {
        rc = err_set(err, ENOEXEC, "%s: kernel unpacks to %s bytes than the %u announced",
                     codec->name, done > size ? "more" : "fewer", size);
    } else if (!kernel_is_elf(out, size)) {
        rc = err_set(err, ENOEXEC, "%s: what the boot image holds is no ELF file", codec->name);
    }
    if (rc != 0) {
        free(out);
        return rc;
    }
    *elf = out;
    *elf_len = size;
    return 0;
}

int kernel_unpack(const void *image, size_t len, void **elf, size_t *elf_len, struct err *err)
{
    struct payload payload = {0};

    if (kernel_is_elf(image, len)) {
        void *copy = malloc(len);

        if (copy == NULL) {
            return err_set(err, ENOMEM, "no memory for a kernel of %zu bytes", len);
        }
        memcpy(copy, image, len);
        *elf = copy;
        *elf_len = len;
        return 0;
    }

    int rc = find_payload(image, len, &payload, err);

    return rc != 0 ? rc : unpack_payload(&payload, elf, elf_len, err);
}
