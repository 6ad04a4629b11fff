/* SPDX-License-Identifier: MIT */
/*
 * Whole files in and out, bounded on the way in and all-or-nothing on the way out.
 *
 * Opened without blocking and tested before the first read, so that a FIFO or a device named by
 * mistake is refused instead of waited for.
 */
#include "dom0-tools/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads until `bytes` are there or the file ends. Returns: bytes read or -errno. */
static ssize_t read_all(int fd, char *buffer, size_t bytes)
{
    size_t done = 0;

    while (done < bytes) {
        ssize_t got = read(fd, buffer + done, bytes - done);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static int write_all(int fd, const char *buffer, size_t bytes)
{
    while (bytes > 0) {
        ssize_t put = write(fd, buffer, bytes);

        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return -errno;
        }
        buffer += put;
        bytes -= (size_t)put;
    }
    return 0;
}

static int read_open(int fd, const char *path, size_t max_bytes, void **data, size_t *bytes,
                     struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        return err_set_errno(err, errno, "%s", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(err, EINVAL, "%s: not a regular file", path);
    }
    if (st.st_size < 0 || (uintmax_t)st.st_size > max_bytes) {
        return err_set(err, EFBIG, "%s: file of %jd bytes is larger than the limit of %zu", path,
                       (intmax_t)st.st_size, max_bytes);
    }

    /* One byte more than the file had, to notice one that grows; one for the NUL. */
    size_t room = (size_t)st.st_size + 1;
    char *buffer = malloc(room + 1);

    if (buffer == NULL) {
        return err_set(err, ENOMEM, "%s: no memory for %zu bytes", path, room);
    }

    ssize_t got = read_all(fd, buffer, room);

    if (got < 0 || (size_t)got == room) {
        free(buffer);
        return got < 0 ? err_set_errno(err, (int)-got, "%s", path)
                       : err_set(err, EBUSY, "%s: file grew while it was read", path);
    }
    buffer[got] = '\0';
    *data = buffer;
    *bytes = (size_t)got;
    return 0;
}

int file_read(const char *path, size_t max_bytes, void **data, size_t *bytes, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        return err_set_errno(err, errno, "%s", *path != '\0' ? path : "''");
    }

    int rc = read_open(fd, path, max_bytes, data, bytes, err);

    close(fd);
    return rc;
}

bool file_is_same(const char *one, const char *other)
{
    struct stat a, b;

    return stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

int file_write(const char *path, const void *data, size_t bytes, struct err *err)
{
    char *temporary = NULL;

    if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
        return err_set(err, ENOMEM, "%s: no memory", path);
    }

    int fd = mkostemp(temporary, O_CLOEXEC);

    if (fd < 0) {
        int number = errno;

        free(temporary);
        return err_set_errno(err, number, "%s", path);
    }

    /* mkostemp() gives 0600; a kernel or a page of text is for everybody the umask allows. */
    mode_t mask = umask(0);

    umask(mask);

    int rc = write_all(fd, data, bytes);

    if (rc == 0 && fchmod(fd, 0666 & ~mask) != 0) {
        rc = -errno;
    }
    if (close(fd) != 0 && rc == 0) {
        rc = -errno;
    }
    if (rc == 0 && rename(temporary, path) != 0) {
        rc = -errno;
    }
    if (rc != 0) {
        unlink(temporary);
        err_set_errno(err, -rc, "%s", path);
    }
    free(temporary);
    return rc;
}
