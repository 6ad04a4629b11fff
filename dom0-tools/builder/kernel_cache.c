/* SPDX-License-Identifier: MIT */
/*
 * See kernel_cache.h. Two files an entry, KEY.elf and KEY.image; the image is put in place last and
 * taken away first, so an entry that has one is complete.
 */
#include "dom0-tools/builder/kernel_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "dom0-tools/base/map.h"

#define PAGE_BYTES 4096u
#define CHUNK_BYTES ((size_t)64 << 10)
#define NAME_BYTES 32u

static void key_of(const void *start, size_t start_bytes, size_t bytes, char key[NAME_BYTES])
{
    snprintf(key, NAME_BYTES, "%zx-%08lx", bytes,
             crc32(0, start, start_bytes < PAGE_BYTES ? (uInt)start_bytes : PAGE_BYTES));
}

/* Opens the folder, made if need be. It is of no use when others may write there. */
static int open_folder(const char *folder, bool make)
{
    struct stat status;
    int fd;

    if (make) {
        mkdir(folder, 0700);
    }
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &status) != 0 || status.st_uid != geteuid() ||
                    (status.st_mode & (S_IWGRP | S_IWOTH)) != 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Maps a file of the folder. Returns: its descriptor, or -1. */
static int map_kept(int folder, const char *key, const char *suffix, void **data, size_t *bytes)
{
    char name[NAME_BYTES + 8];
    struct err ignored = {0};
    int fd;

    snprintf(name, sizeof(name), "%s%s", key, suffix);
    fd = map_open(openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), name, SIZE_MAX, data,
                  bytes, &ignored);
    if (fd >= 0) {
        futimens(fd, NULL); /* used now */
    }
    return fd >= 0 ? fd : -1;
}

int kernel_cache_get(const char *folder, const void *image, size_t image_bytes, void **elf,
                     size_t *elf_bytes)
{
    int dir = open_folder(folder, false);
    char key[NAME_BYTES];
    void *kept;
    size_t bytes;
    int found = -1;
    int fd;

    if (dir < 0) {
        return -1;
    }
    key_of(image, image_bytes, image_bytes, key);
    fd = map_kept(dir, key, ".image", &kept, &bytes);
    if (fd >= 0) {
        if (bytes == image_bytes && memcmp(kept, image, bytes) == 0) {
            found = map_kept(dir, key, ".elf", elf, elf_bytes);
        }
        map_end(kept);
        close(fd);
    }
    close(dir);
    return found;
}

/* Whether the page at an offset, or what there is of it, is zero. */
static bool is_hole(const char *data, size_t bytes, size_t at)
{
    static const char zeros[PAGE_BYTES];

    return memcmp(data + at, zeros, bytes - at < PAGE_BYTES ? bytes - at : PAGE_BYTES) == 0;
}

/* Writes all but pages of zeros, which become holes. */
static bool write_sparse(int fd, const char *data, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        size_t end = at;

        while (end < bytes && end - at < CHUNK_BYTES && !is_hole(data, bytes, end)) {
            end += PAGE_BYTES;
        }
        if (end == at) {
            at += PAGE_BYTES;
            continue;
        }
        end = end < bytes ? end : bytes;
        if (pwrite(fd, data + at, end - at, (off_t)at) != (ssize_t)(end - at)) {
            return false;
        }
        at = end;
    }
    return ftruncate(fd, (off_t)bytes) == 0;
}

static bool store(int folder, const char *key, const char *suffix, const void *data, size_t bytes)
{
    char name[NAME_BYTES + 8];
    char fresh[NAME_BYTES + 32];
    bool good;
    int fd;

    snprintf(name, sizeof(name), "%s%s", key, suffix);
    snprintf(fresh, sizeof(fresh), "%s.%d", name, (int)getpid());
    fd = openat(folder, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    /* On the disk before it has its name: what a power failure leaves is never taken for whole. */
    good = write_sparse(fd, data, bytes) && fdatasync(fd) == 0;
    good = close(fd) == 0 && good && renameat(folder, fresh, folder, name) == 0;
    if (!good) {
        unlinkat(folder, fresh, 0);
    }
    return good;
}

/* Makes room for one more: the entries used last stay, and nothing that is no entry. */
static void evict(int folder)
{
    for (;;) {
        DIR *list = fdopendir(dup(folder));
        char oldest[NAME_BYTES + 8] = "";
        struct timespec when = {0};
        struct dirent *entry;
        unsigned int count = 0;

        if (list == NULL) {
            return;
        }
        rewinddir(list);
        while ((entry = readdir(list)) != NULL) {
            size_t length = strlen(entry->d_name);
            struct stat status;

            if (length < 7 || length >= NAME_BYTES + 6 ||
                strcmp(entry->d_name + length - 6, ".image") != 0 ||
                fstatat(folder, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
                continue;
            }
            if (count++ == 0 || status.st_mtim.tv_sec < when.tv_sec ||
                (status.st_mtim.tv_sec == when.tv_sec && status.st_mtim.tv_nsec < when.tv_nsec)) {
                when = status.st_mtim;
                memcpy(oldest, entry->d_name, length + 1);
            }
        }
        closedir(list);
        if (count < KERNEL_CACHE_ENTRIES || unlinkat(folder, oldest, 0) != 0) {
            return;
        }
        strcpy(oldest + strlen(oldest) - strlen(".image"), ".elf");
        unlinkat(folder, oldest, 0);
    }
}

void kernel_cache_put(const char *folder, const void *image, size_t image_bytes, const void *elf,
                      size_t elf_bytes)
{
    int dir = open_folder(folder, true);
    char key[NAME_BYTES];
    char name[NAME_BYTES + 8];

    if (dir < 0) {
        return;
    }
    key_of(image, image_bytes, image_bytes, key);
    snprintf(name, sizeof(name), "%s.image", key);
    unlinkat(dir, name, 0); /* another image of that key */
    evict(dir);
    if (store(dir, key, ".elf", elf, elf_bytes) && !store(dir, key, ".image", image, image_bytes)) {
        snprintf(name, sizeof(name), "%s.elf", key); /* evict() goes by images */
        unlinkat(dir, name, 0);
    }
    close(dir);
}
