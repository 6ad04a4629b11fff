/* SPDX-License-Identifier: MIT */
/*
 * Loading guests' kernels (dom0-tools/builder/builder.h): many, and one whose file is being written
 * to. What unpacks, what keeps the result and what looks at it are taken over here.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dom0-tools/builder/builder.h"
#include "dom0-tools/builder/kernel_cache.h"
#include "dom0-tools/unpack/unpack.h"
#include "tests/unit/runner.h"

#define BYTES 10000u

static char path[] = "/tmp/test_image.XXXXXX";
static char content[BYTES];
static unsigned int puts_seen;

int __wrap_kernel_cache_get(const char *folder, const void *image, size_t image_bytes, void **elf,
                            size_t *elf_bytes);
int __wrap_kernel_unpack(const void *image, size_t len, void **elf, size_t *elf_len,
                         struct err *err);
void __wrap_kernel_cache_put(const char *folder, const void *image, size_t image_bytes,
                             const void *elf, size_t elf_bytes);

int __wrap_elf_info_parse(const void *image, size_t len, struct elf_info *info, struct err *err);

int __wrap_elf_info_parse(const void *image, size_t len, struct elf_info *info, struct err *err)
{
    (void)image, (void)len, (void)info, (void)err;
    return 0;
}

int __wrap_kernel_cache_get(const char *folder, const void *image, size_t image_bytes, void **elf,
                            size_t *elf_bytes)
{
    (void)folder, (void)image, (void)image_bytes, (void)elf, (void)elf_bytes;
    return -1;
}

/* The file changes while it is unpacked. */
int __wrap_kernel_unpack(const void *image, size_t len, void **elf, size_t *elf_len,
                         struct err *err)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    CU_ASSERT_TRUE(len == BYTES && memcmp(image, content, len) == 0);
    CU_ASSERT_EQUAL(pwrite(fd, "other", 5, 5000), 5);
    close(fd);
    CU_ASSERT_EQUAL(memcmp(image, content, len), 0);
    *elf = calloc(1, 1);
    *elf_len = 1;
    return *elf != NULL ? 0 : err_set(err, ENOMEM, "no memory");
}

void __wrap_kernel_cache_put(const char *folder, const void *image, size_t image_bytes,
                             const void *elf, size_t elf_bytes)
{
    (void)folder, (void)elf;
    CU_ASSERT_TRUE(image_bytes == BYTES && elf_bytes == 1);
    CU_ASSERT_EQUAL(memcmp(image, content, BYTES), 0);
    puts_seen++;
}

static void test_image__changed(void)
{
    struct builder_image image;
    struct err err = {0};

    CU_ASSERT_EQUAL(builder_image_load(path, NULL, &image, &err), 0);
    CU_ASSERT_EQUAL(puts_seen, 1);
    builder_image_free(&image);
}

/* As `start --autostarted` does. */
static void test_image__many(void)
{
    struct builder_image image;
    struct err err = {0};
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    CU_ASSERT_EQUAL(pwrite(fd,
                           "\x7f"
                           "ELF",
                           4, 0),
                    4);
    close(fd);
    for (unsigned int i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL_FATAL(builder_image_load(path, path, &image, &err), 0);
        builder_image_free(&image);
    }
}

int main(void)
{
    CU_TestInfo tests[] = {{"changed while it is unpacked", test_image__changed},
                           {"many", test_image__many},
                           CU_TEST_INFO_NULL};
    int fd = mkstemp(path);
    int status;

    memset(content, 0x5a, sizeof(content));
    if (fd < 0 || write(fd, content, sizeof(content)) != (ssize_t)sizeof(content)) {
        return EXIT_FAILURE;
    }
    close(fd);
    status = run_tests("guest image", tests);
    unlink(path);
    return status;
}
