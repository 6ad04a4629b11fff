/* SPDX-License-Identifier: MIT */
/* boot/elf.c: the control domain's kernel. The input is the image. */
#include "boot/boot.h"
#include "fuzz.h"

const size_t fuzz_max_bytes = 4096;

void fuzz_start(void)
{
}

/* What the builder copies must be in the image and lie between low and high. */
static void check_segments(const struct elf_image *elf, const uint8_t *image, size_t bytes)
{
    FUZZ_CHECK(elf->segment_count > 0 && elf->segment_count <= ELF_SEGMENTS_MAX);
    FUZZ_CHECK(elf->low_paddr < elf->high_paddr);
    for (unsigned i = 0; i < elf->segment_count; i++) {
        const struct elf_segment *s = &elf->segment[i];
        FUZZ_CHECK(s->paddr >= elf->low_paddr && s->paddr <= elf->high_paddr);
        FUZZ_CHECK(s->file_bytes <= elf->high_paddr - s->paddr);
        FUZZ_CHECK(s->file_bytes <= bytes);
        FUZZ_CHECK(s->file_bytes == 0 || (s->data >= image && s->data < image + bytes &&
                                          s->file_bytes <= (size_t)(image + bytes - s->data)));
    }
}

void fuzz_one(const uint8_t *data, size_t bytes)
{
    uint8_t *image = fuzz_copy(data, bytes);
    struct elf_image elf;
    memset(&elf, 0xa5, sizeof(elf));
    const char *wrong = elf_parse(image, bytes, &elf);
    if (wrong == NULL) {
        check_segments(&elf, image, bytes);
    } else {
        FUZZ_CHECK(wrong[0] != '\0');
    }
    free(image);
}
