/* SPDX-License-Identifier: MIT */
/*
 * dom0-tools/unpack: a guest's kernel from a file. The first byte of the input says what the rest
 * is: 0 a boot image or ELF file as it stands; 1 to 7 a compressed payload, which is put into a
 * boot image whose header is right; from 8 on an ELF file for the notes alone.
 * What is packed may announce any size: more than LIMIT is as if there were no memory for it.
 */
#include <elf.h>
#include <errno.h>
#include <lzma.h>

#include "dom0-tools/unpack/codec.h"
#include "dom0-tools/unpack/elfnotes.h"
#include "dom0-tools/unpack/unpack.h"
#include "fuzz.h"

#define LIMIT ((size_t)8 << 20)
#define CODE 1024u /* boot sector and one setup sector */

const size_t fuzz_max_bytes = 4096;

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
lzma_ret __real_lzma_alone_decoder(lzma_stream *s, uint64_t limit);
lzma_ret __wrap_lzma_alone_decoder(lzma_stream *s, uint64_t limit);
lzma_ret __real_lzma_stream_decoder(lzma_stream *s, uint64_t limit, uint32_t flags);
lzma_ret __wrap_lzma_stream_decoder(lzma_stream *s, uint64_t limit, uint32_t flags);

/* The unpacker's own allocations. */
void *__wrap_malloc(size_t bytes)
{
    FUZZ_CHECK(bytes <= KERNEL_UNPACK_MAX_BYTES + 1);
    return bytes > LIMIT ? NULL : __real_malloc(bytes);
}

/* Dictionaries: the limit given must be the promised one; a smaller one saves time. */
lzma_ret __wrap_lzma_alone_decoder(lzma_stream *s, uint64_t limit)
{
    FUZZ_CHECK(limit == CODEC_MAX_DICT_BYTES);
    return __real_lzma_alone_decoder(s, LIMIT);
}

lzma_ret __wrap_lzma_stream_decoder(lzma_stream *s, uint64_t limit, uint32_t flags)
{
    FUZZ_CHECK(limit == CODEC_MAX_DICT_BYTES);
    return __real_lzma_stream_decoder(s, LIMIT, flags);
}

void fuzz_start(void)
{
}

static void check_error(int rc, const struct err *err)
{
    FUZZ_CHECK(rc == -ENOEXEC || rc == -ENOMEM);
    FUZZ_CHECK(err->number == -rc && err->text[0]);
}

static void check_text(const char *text, size_t room)
{
    FUZZ_CHECK(memchr(text, 0, room) != NULL);
}

/* What a builder relies on, see elfnotes.h. */
static void check_info(const struct elf_info *info, size_t len)
{
    FUZZ_CHECK(info->segment_count >= 1 && info->segment_count <= ELF_INFO_MAX_SEGMENTS);
    FUZZ_CHECK(info->kernel_start < info->kernel_end);
    FUZZ_CHECK(info->entry >= info->kernel_start && info->entry < info->kernel_end);
    for (unsigned i = 0; i < info->segment_count; i++) {
        const struct elf_segment *s = &info->segments[i];
        FUZZ_CHECK(s->offset <= len && s->filesz <= len - s->offset);
        FUZZ_CHECK(s->memsz > 0 && s->filesz <= s->memsz);
        FUZZ_CHECK(s->vaddr == info->virt_base + s->load_pa);
        FUZZ_CHECK(s->vaddr >= info->kernel_start && s->memsz <= info->kernel_end - s->vaddr);
        for (unsigned j = 0; j < i; j++) {
            const struct elf_segment *o = &info->segments[j];
            FUZZ_CHECK(s->vaddr >= o->vaddr + o->memsz || o->vaddr >= s->vaddr + s->memsz);
        }
    }
    if (info->hypercall_page != ELF_INFO_NO_ADDR) {
        FUZZ_CHECK(info->hypercall_page % 4096 == 0 && info->hypercall_page >= info->kernel_start);
        FUZZ_CHECK(info->hypercall_page < info->kernel_end);
    }
    FUZZ_CHECK(info->init_p2m == ELF_INFO_NO_ADDR || info->init_p2m % 4096 == 0);
    check_text(info->guest_os, sizeof(info->guest_os));
    check_text(info->guest_version, sizeof(info->guest_version));
    check_text(info->loader, sizeof(info->loader));
    FUZZ_CHECK(!strcmp(info->xen_version, "xen-3.0"));
}

static void parse(const uint8_t *data, size_t len)
{
    struct elf_info info;
    struct err err = {0};
    int rc = elf_info_parse(data, len, &info, &err);
    if (rc) {
        check_error(rc, &err);
    } else {
        check_info(&info, len);
    }
}

static void unpack(const uint8_t *image, size_t len)
{
    void *elf = NULL;
    size_t elf_len = 0;
    struct err err = {0};
    int rc = kernel_unpack(image, len, &elf, &elf_len, &err);
    if (rc) {
        check_error(rc, &err);
        FUZZ_CHECK(elf == NULL);
        return;
    }
    FUZZ_CHECK(elf && elf_len <= LIMIT && elf_len >= SELFMAG && !memcmp(elf, ELFMAG, SELFMAG));
    parse(elf, elf_len);
    free(elf);
}

static void put32(uint8_t *at, size_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

/* A boot image around a payload; it says that it has no checksum. */
static void unpack_within(const uint8_t *payload, size_t bytes)
{
    size_t units = (bytes + 4 + 15) / 16, len = CODE + units * 16;
    uint8_t *image = calloc(1, len);
    if (image == NULL) {
        abort();
    }
    image[0x1f1] = 1;
    put32(image + 0x1f4, units);
    put32(image + 0x1fe, 0xaa55);
    memcpy(image + 0x202, "HdrS", 4);
    image[0x206] = 0x0f;
    image[0x207] = 0x02;
    image[0x211] = 1;
    put32(image + 0x24c, bytes);
    memcpy(image + CODE, payload, bytes);
    unpack(image, len);
    free(image);
}

/* A codec alone, into a buffer of no size that the stream knows. */
static void decode(const uint8_t *payload, size_t bytes)
{
    /* A codec's caller has seen its magic within the stream. */
    const struct codec *codec = bytes < 2 ? NULL : codec_find(payload, bytes - 2);
    if (codec == NULL) {
        return;
    }
    size_t room = (size_t)payload[bytes - 1] * payload[bytes - 2] + 1, done = 0;
    uint8_t *out = calloc(1, room);
    struct err err = {0};
    int rc = codec->unpack(payload, bytes - 2, out, room, &done, &err);
    if (rc) {
        check_error(rc, &err);
    } else {
        FUZZ_CHECK(done <= room);
    }
    free(out);
}

void fuzz_one(const uint8_t *data, size_t bytes)
{
    if (bytes == 0) {
        return;
    }
    unsigned kind = data[0];
    uint8_t *copy = fuzz_copy(data + 1, --bytes);
    if (kind == 0) {
        unpack(copy, bytes);
    } else if (kind < 8) {
        unpack_within(copy, bytes);
        decode(copy, bytes);
    } else {
        parse(copy, bytes);
    }
    free(copy);
}
