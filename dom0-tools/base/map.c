/* SPDX-License-Identifier: MIT */
/*
 * See map.h. A page that a file does not have any more raises SIGBUS when it is looked at; the
 * handler puts a page of zeros in its place.
 */
#include "dom0-tools/base/map.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_BYTES 4096u
#define MAPS_MAX 16u

static struct range {
    uintptr_t start, bytes; /* 0: none */
    bool ended;             /* nobody looks at it any more */
} maps[MAPS_MAX];
static pid_t owner; /* whose they are: a child has none of them, and something else there */
static volatile sig_atomic_t shrunk;

static void on_lost_page(int number, siginfo_t *info, void *context)
{
    uintptr_t address = (uintptr_t)info->si_addr;

    (void)context;
    for (unsigned int i = 0; i < MAPS_MAX; i++) {
        void *page = (void *)(address & ~(uintptr_t)(PAGE_BYTES - 1));

        if (address - maps[i].start < maps[i].bytes &&
            mmap(page, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
                page) {
            shrunk = 1;
            return;
        }
    }
    signal(number, SIG_DFL); /* not ours: it comes again and ends the program */
}

/* The place in the list of a mapping, 0: of none. */
static struct range *find(uintptr_t start)
{
    for (unsigned int i = 0; i < MAPS_MAX; i++) {
        if (maps[i].start == start) {
            return &maps[i];
        }
    }
    return NULL;
}

/* Whether there is a mapping that somebody looks at. */
static bool any_used(void)
{
    bool used = false;

    for (unsigned int i = 0; i < MAPS_MAX; i++) {
        used = used || (maps[i].start != 0 && !maps[i].ended);
    }
    return used;
}

/* A place for another mapping, for which one that has ended goes. NULL: there are too many. */
static struct range *make_place(void)
{
    struct range *range;

    if (owner != getpid()) {
        memset(maps, 0, sizeof(maps));
        owner = getpid();
    }
    if (!any_used()) {
        shrunk = 0; /* who lost something has ended */
    }
    range = find(0);
    for (unsigned int i = 0; i < MAPS_MAX && range == NULL; i++) {
        if (maps[i].ended) {
            range = &maps[i];
            munmap((void *)range->start, range->bytes);
        }
    }
    return range;
}

/* Takes note of a mapping. False: there are too many. */
static bool guard(void *data, size_t bytes)
{
    struct sigaction action = {.sa_sigaction = on_lost_page, .sa_flags = SA_SIGINFO};
    struct range *range = make_place();

    if (range == NULL || sigaction(SIGBUS, &action, NULL) != 0) {
        return false;
    }
    *range = (struct range){.start = (uintptr_t)data,
                            .bytes = (bytes + PAGE_BYTES - 1) & -(uintptr_t)PAGE_BYTES};
    return true;
}

void map_end(void *data)
{
    struct range *range = data != NULL ? find((uintptr_t)data) : NULL;

    if (range != NULL) {
        range->ended = true;
    }
}

static int map_pages(int fd, void **data, size_t bytes)
{
    static char nothing;

    *data = &nothing;
    if (bytes == 0) {
        return 0;
    }
    *data = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (*data == MAP_FAILED) {
        return -errno;
    }
    madvise(*data, bytes, MADV_DONTFORK);
    madvise(*data, bytes, MADV_SEQUENTIAL); /* spares the kernel to note each page's use */
    if (!guard(*data, bytes)) {
        munmap(*data, bytes);
        return -ENOMEM;
    }
    return 0;
}

int map_open(int fd, const char *path, size_t max_bytes, void **data, size_t *bytes,
             struct err *err)
{
    struct stat status;
    int rc;

    if (fd < 0 || fstat(fd, &status) != 0) {
        rc = err_set_errno(err, errno, "%s", path);
    } else if (!S_ISREG(status.st_mode)) {
        rc = err_set(err, EINVAL, "%s: not a regular file", path);
    } else if (status.st_size < 0 || (uintmax_t)status.st_size > max_bytes) {
        rc = err_set(err, EFBIG, "%s: file of %jd bytes is larger than the limit of %zu", path,
                     (intmax_t)status.st_size, max_bytes);
    } else {
        *bytes = (size_t)status.st_size;
        rc = map_pages(fd, data, *bytes);
        rc = rc == 0 ? 0 : err_set_errno(err, -rc, "%s", path);
    }
    if (rc != 0 && fd >= 0) {
        close(fd);
    }
    return rc == 0 ? fd : rc;
}

int map_file(const char *path, size_t max_bytes, void **data, size_t *bytes, struct err *err)
{
    return map_open(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), path, max_bytes, data, bytes,
                    err);
}

size_t map_next_data(int fd, size_t *at, size_t end)
{
    struct stat status;
    off_t data = *at < end ? lseek(fd, (off_t)*at, SEEK_DATA) : (off_t)end;
    off_t hole;

    if (data < 0 && errno != ENXIO) {
        return end - *at; /* nobody knows of holes here */
    }
    if (data < 0) {
        /* Behind the end of the file reads as zeros, too: it must not pass for a hole. */
        if (fstat(fd, &status) != 0 || (uintmax_t)status.st_size < end) {
            shrunk = 1;
        }
        return 0;
    }
    if ((size_t)data >= end) {
        return 0;
    }
    hole = lseek(fd, data, SEEK_HOLE);
    *at = (size_t)data;
    return hole > data && (size_t)hole < end ? (size_t)(hole - data) : end - *at;
}

bool map_has_shrunk(void)
{
    return shrunk != 0;
}
