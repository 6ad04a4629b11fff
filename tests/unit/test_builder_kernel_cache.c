/* SPDX-License-Identifier: MIT */
/*
 * The cache of unpacked kernels: found again by content alone, holes, damage, bound.
 */
#include <CUnit/Basic.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dom0-tools/base/map.h"
#include "dom0-tools/builder/kernel_cache.h"
#include "tests/unit/runner.h"

#define IMAGE_BYTES 200000u
#define ELF_BYTES 3000001u

static char base[] = "/tmp/paravane-cache-XXXXXX";
static char folder[64], path[64];
static char image[IMAGE_BYTES], elf[ELF_BYTES];

static void write_image(size_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CU_ASSERT_EQUAL(write(fd, image, bytes), (ssize_t)bytes);
    close(fd);
}

/* Whether the file at `path` is found, and what was put with it. */
static bool found(void)
{
    void *got = NULL;
    size_t bytes = 0;
    struct err err = {0};
    void *wanted = NULL;
    size_t wanted_bytes;
    int file = map_file(path, (size_t)-1, &wanted, &wanted_bytes, &err);
    int fd = file >= 0 ? kernel_cache_get(folder, wanted, wanted_bytes, &got, &bytes) : -1;

    if (file >= 0) {
        map_end(wanted);
        close(file);
    }
    if (fd >= 0) {
        CU_ASSERT_TRUE(bytes == sizeof(elf) && memcmp(got, elf, bytes) == 0);
        map_end(got);
        close(fd);
    }
    return fd >= 0;
}

static unsigned int files(void)
{
    DIR *list = opendir(folder);
    struct dirent *entry;
    unsigned int count = 0;

    while (list != NULL && (entry = readdir(list)) != NULL) {
        count += entry->d_name[0] != '.';
    }
    if (list != NULL) {
        closedir(list);
    }
    return count;
}

static int open_suite(void)
{
    if (mkdtemp(base) == NULL) {
        return 1;
    }
    snprintf(folder, sizeof(folder), "%s/cache", base);
    snprintf(path, sizeof(path), "%s/image", base);
    for (size_t i = 0; i < sizeof(image); i++) {
        image[i] = (char)(i * 2654435761u >> 13);
    }
    /* Two pages, a hole, data across a page's end, and a last page that is not whole. */
    memset(elf, 'a', 8192);
    memset(elf + 1000000, 'b', 5000);
    memset(elf + ELF_BYTES - 10, 'c', 10);
    return 0;
}

static void test_cache__found_again(void)
{
    struct stat status;
    char name[400];
    DIR *list;
    struct dirent *entry;

    write_image(sizeof(image));
    CU_ASSERT_FALSE(found());
    kernel_cache_put(folder, image, sizeof(image), elf, sizeof(elf));
    for (unsigned int i = 0; i < 40; i++) { /* as one process does that starts many guests */
        CU_ASSERT_TRUE(found());
    }
    CU_ASSERT_EQUAL(files(), 2);
    list = opendir(folder);
    while ((entry = readdir(list)) != NULL) {
        snprintf(name, sizeof(name), "%s/%s", folder, entry->d_name);
        if (strstr(name, ".elf") != NULL) {
            CU_ASSERT_TRUE(stat(name, &status) == 0 && status.st_blocks * 512 < 100000);
        }
    }
    closedir(list);
}

static void test_cache__only_the_same(void)
{
    image[IMAGE_BYTES - 1] ^= 1; /* same key */
    write_image(sizeof(image));
    CU_ASSERT_FALSE(found());
    kernel_cache_put(folder, image, sizeof(image), elf, sizeof(elf));
    CU_ASSERT_TRUE(found());
    CU_ASSERT_EQUAL(files(), 2);
    write_image(sizeof(image) - 1);
    CU_ASSERT_FALSE(found());
    write_image(0);
    CU_ASSERT_FALSE(found());
    unlink(path);
    CU_ASSERT_FALSE(found());
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    CU_ASSERT_FALSE(found());
    unlink(path);
}

static void test_cache__damage(void)
{
    char name[400];
    DIR *list = opendir(folder);
    struct dirent *entry;

    write_image(sizeof(image));
    CU_ASSERT_TRUE(found());
    while ((entry = readdir(list)) != NULL) {
        snprintf(name, sizeof(name), "%s/%s", folder, entry->d_name);
        if (strstr(name, ".image") != NULL) {
            CU_ASSERT_EQUAL(truncate(name, 4096), 0);
        }
    }
    closedir(list);
    CU_ASSERT_FALSE(found());
    kernel_cache_put(folder, image, sizeof(image), elf, sizeof(elf));
    CU_ASSERT_TRUE(found());
    /* Where others may write, nothing is believed. */
    CU_ASSERT_EQUAL(chmod(folder, 0777), 0);
    CU_ASSERT_FALSE(found());
    CU_ASSERT_EQUAL(chmod(folder, 0700), 0);
    CU_ASSERT_TRUE(found());
}

/* An image that cannot be kept leaves nothing behind that nobody would find. */
static void test_cache__half(void)
{
    char name[400];
    DIR *list = opendir(folder);
    struct dirent *entry;

    CU_ASSERT_EQUAL(files(), 2);
    while ((entry = readdir(list)) != NULL) {
        snprintf(name, sizeof(name), "%s/%s", folder, entry->d_name);
        if (strstr(name, ".image") != NULL) {
            break;
        }
    }
    closedir(list);
    CU_ASSERT_TRUE_FATAL(entry != NULL && unlink(name) == 0 && mkdir(name, 0700) == 0);
    kernel_cache_put(folder, image, sizeof(image), elf, sizeof(elf));
    CU_ASSERT_EQUAL(files(), 1);
    CU_ASSERT_EQUAL(rmdir(name), 0);
    kernel_cache_put(folder, image, sizeof(image), elf, sizeof(elf));
    CU_ASSERT_TRUE(found() && files() == 2);
}

static void test_cache__bound(void)
{
    for (unsigned int i = 0; i < KERNEL_CACHE_ENTRIES + 3; i++) {
        image[0] = (char)i;
        kernel_cache_put(folder, image, sizeof(image), elf, sizeof(elf));
        CU_ASSERT_TRUE(files() <= 2 * KERNEL_CACHE_ENTRIES);
        usleep(2000);
    }
    CU_ASSERT_EQUAL(files(), 2 * KERNEL_CACHE_ENTRIES);
    write_image(sizeof(image));
    CU_ASSERT_TRUE(found()); /* the latest */
    image[0] = 0;
    write_image(sizeof(image));
    CU_ASSERT_FALSE(found()); /* the first */
}

static int close_suite(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf %s", base);
    return system(command);
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"found again", test_cache__found_again},
        {"only the same", test_cache__only_the_same},
        {"damage", test_cache__damage},
        {"half", test_cache__half},
        {"bound", test_cache__bound},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"kernel cache", open_suite, close_suite, NULL, NULL, tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(suites);
}
