/* SPDX-License-Identifier: MIT */
/*
 * Mapped files (dom0-tools/base/map.h): contents, refusals, and files that shrink under the reader.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dom0-tools/base/map.h"
#include "tests/unit/runner.h"

#define BYTES (5u * 4096u + 10u)

static char path[] = "/tmp/test_map.XXXXXX";
static char content[BYTES];

static void write_file(size_t bytes)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

    CU_ASSERT_EQUAL(write(fd, content, bytes), (ssize_t)bytes);
    close(fd);
}

static void test_map__contents(void)
{
    struct err err = {0};
    void *data;
    size_t bytes;
    int fd;

    write_file(BYTES);
    for (unsigned int i = 0; i < 100; i++) {
        fd = map_file(path, BYTES, &data, &bytes, &err);
        CU_ASSERT_TRUE_FATAL(fd >= 0);
        CU_ASSERT_TRUE(bytes == BYTES && memcmp(data, content, BYTES) == 0);
        close(fd);
        map_end(data);
    }
    write_file(0);
    fd = map_file(path, BYTES, &data, &bytes, &err);
    CU_ASSERT_TRUE(fd >= 0 && bytes == 0 && data != NULL);
    close(fd);
    map_end(data);
    CU_ASSERT_FALSE(map_has_shrunk());
}

static void test_map__refused(void)
{
    struct err err = {0};
    void *data;
    size_t bytes;

    write_file(BYTES);
    CU_ASSERT_EQUAL(map_file(path, BYTES - 1, &data, &bytes, &err), -EFBIG);
    CU_ASSERT_EQUAL(map_file("/nowhere", BYTES, &data, &bytes, &err), -ENOENT);
    CU_ASSERT_EQUAL(map_file("/tmp", BYTES, &data, &bytes, &err), -EINVAL);
    CU_ASSERT_EQUAL(map_file("/dev/zero", BYTES, &data, &bytes, &err), -EINVAL);
}

/* What has ended makes room, what has not stays; a child's memory is not taken for its parent's
 * mappings. */
static void test_map__many(void)
{
    struct err err = {0};
    void *data, *used, *other;
    size_t bytes;
    int status = 0;
    int fd;
    pid_t child;

    write_file(BYTES);
    close(map_file(path, BYTES, &used, &bytes, &err));
    for (unsigned int i = 0; i < 100; i++) {
        fd = map_file(path, BYTES, &data, &bytes, &err);
        CU_ASSERT_TRUE_FATAL(fd >= 0);
        close(fd);
        map_end(data);
    }
    CU_ASSERT_EQUAL(memcmp(used, content, BYTES), 0);
    child = fork();
    if (child == 0) {
        char *own = mmap(data, 4096, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

        for (unsigned int i = 0; own == data && i < 100; i++) {
            if (map_file(path, BYTES, &other, &bytes, &err) < 0) {
                _exit(2);
            }
            map_end(other);
            own[0] = 1;
        }
        _exit(own == data ? 0 : 1);
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    map_end(used);
}

static void test_map__data(void)
{
    struct err err = {0};
    void *data;
    size_t bytes, at = 0;
    int ends[2];
    int fd;

    write_file(4096);
    CU_ASSERT_EQUAL(truncate(path, 1 << 20), 0);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    CU_ASSERT_EQUAL(pwrite(fd, content, 10, 512 << 10), 10);
    close(fd);
    fd = map_file(path, 2 << 20, &data, &bytes, &err);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(map_next_data(fd, &at, 100), 100);
    CU_ASSERT_EQUAL(map_next_data(fd, &at, bytes), 4096);
    at = 4096;
    CU_ASSERT_EQUAL(map_next_data(fd, &at, 512 << 10), 0);
    CU_ASSERT_EQUAL(map_next_data(fd, &at, bytes), 4096);
    CU_ASSERT_EQUAL(at, 512 << 10);
    at += 4096;
    CU_ASSERT_EQUAL(map_next_data(fd, &at, bytes), 0); /* a hole at the end */
    CU_ASSERT_EQUAL(map_next_data(fd, &at, at), 0);
    CU_ASSERT_FALSE(map_has_shrunk());
    /* What does not know holes has none. */
    CU_ASSERT_EQUAL(pipe(ends), 0);
    CU_ASSERT_EQUAL(map_next_data(ends[0], &at, bytes), bytes - at);
    close(ends[0]);
    close(ends[1]);
    map_end(data);
    close(fd);
}

/* A file that ends before it should is not taken for one with a hole there; in a child, since what
 * has shrunk stays so. */
static void test_map__data_lost(void)
{
    struct err err = {0};
    void *data;
    size_t bytes, at = 8192;
    int status = 0;
    int fd;
    pid_t child;

    write_file(BYTES);
    fd = map_file(path, BYTES, &data, &bytes, &err);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(truncate(path, 8192), 0);
    child = fork();
    if (child == 0) {
        _exit(map_next_data(fd, &at, bytes) == 0 && map_has_shrunk() ? 0 : 1);
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    map_end(data);
    close(fd);
}

static void test_map__shrinks(void)
{
    struct err err = {0};
    void *data, *other;
    size_t bytes;
    int fd, status = 0;

    write_file(BYTES);
    fd = map_file(path, BYTES, &other, &bytes, &err);
    close(fd);
    fd = map_file(path, BYTES, &data, &bytes, &err);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    CU_ASSERT_EQUAL(truncate(path, 4096), 0);
    CU_ASSERT_FALSE(map_has_shrunk());
    CU_ASSERT_EQUAL(((volatile char *)data)[BYTES - 1], 0);
    CU_ASSERT_TRUE(map_has_shrunk());
    CU_ASSERT_EQUAL(memcmp(data, content, 4096), 0);
    for (size_t i = 4096; i < BYTES; i++) {
        CU_ASSERT_EQUAL(((volatile char *)data)[i], 0);
    }
    map_end(data);
    close(fd);
    close(map_file(path, BYTES, &data, &bytes, &err));
    CU_ASSERT_TRUE(map_has_shrunk()); /* the other is in use */
    map_end(data);
    map_end(other);
    close(map_file(path, BYTES, &data, &bytes, &err));
    CU_ASSERT_FALSE(map_has_shrunk()); /* what comes later is another guest's */
    map_end(data);

    /* Another's fault is not hidden. */
    pid_t child = fork();

    if (child == 0) {
        raise(SIGBUS);
        raise(SIGBUS);
        _exit(0);
    }
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"contents", test_map__contents},
        {"refused", test_map__refused},
        {"many", test_map__many},
        {"data", test_map__data},
        {"data lost", test_map__data_lost},
        {"shrinks", test_map__shrinks},
        CU_TEST_INFO_NULL,
    };
    int fd = mkstemp(path);
    int status;

    memset(content, 0x5a, sizeof(content));
    if (fd < 0) {
        return EXIT_FAILURE;
    }
    close(fd);
    status = run_tests("mapped files", tests);
    unlink(path);
    return status;
}
