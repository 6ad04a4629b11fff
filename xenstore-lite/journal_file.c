// SPDX-License-Identifier: MIT
/*
 * The journal's files. See journal_file.h.
 */
#include "xenstore-lite/journal_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "xenstore-lite/journal.h"
#include "xenstore-lite/server.h"

#define LOG_PER_SNAPSHOT 4
/* After a failed write, or snapshot, the next try comes so many seconds later. */
#define RETRY_SECONDS 5
/* A predecessor that was just killed may need a moment to be gone. */
#define LOCK_TRIES 100

size_t journal_log_bytes = 1UL << 20;

struct journal_file {
    struct journal journal;
    struct server *server;
    char *folder;
    int folder_fd, lock_fd, log_fd;
    uint64_t number;       /* of the log being written */
    size_t log_bytes;      /* in it */
    size_t snapshot_bytes; /* of the last snapshot */
    pid_t child;           /* writes a snapshot, or 0 */
    bool stopped;          /* a record could not be written: nothing more goes to this log */
    bool hole;             /* the files miss something: they need a new snapshot */
    time_t retry_at;       /* not before */
};

static time_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

static int complain(const struct journal_file *f, const char *what, const char *name)
{
    int rc = -errno;

    fprintf(stderr, "xenstored: %s/%s: %s: %s\n", f->folder, name, what, strerror(-rc));
    return rc;
}

static void name_file(char out[64], const char *kind, uint64_t number)
{
    snprintf(out, 64, "%s.%llu", kind, (unsigned long long)number);
}

/* The number in a name like "log.7"; 0 when it is something else. */
static uint64_t number_of(const char *name, const char *kind)
{
    size_t len = strlen(kind);
    uint64_t number = 0;

    if (strncmp(name, kind, len) != 0 || name[len] != '.' ||
        wire_number(name + len + 1, UINT64_MAX, &number) < 0) {
        return 0;
    }
    return number;
}

/* ---- writing ---- */

/* All bytes or none, as far as anybody can see: a torn record has a wrong sum. */
static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return true;
}

static void append(void *ctx, const void *record, size_t len)
{
    struct journal_file *f = ctx;
    char name[64];

    if (f->stopped) {
        return;
    }
    f->log_bytes += len;
    if (!write_all(f->log_fd, record, len)) {
        name_file(name, "log", f->number);
        complain(f, "cannot be written; a restart would lose what comes now", name);
        f->stopped = true;
        f->hole = true;
        f->retry_at = now() + RETRY_SECONDS;
    }
}

struct snapshot_file {
    int fd;
    bool failed;
};

static void append_snapshot(void *ctx, const void *record, size_t len)
{
    struct snapshot_file *out = ctx;

    out->failed = out->failed || !write_all(out->fd, record, len);
}

/* Writes snapshot.`number` of the state as it is. Returns: 0 or a negative errno.
 * Until it is whole its name is of this number alone: the child of a predecessor that was killed
 * may still be writing one. */
static int write_snapshot(const struct journal_file *f, uint64_t number)
{
    struct journal to_file = {.sink = append_snapshot};
    struct snapshot_file out;
    char name[64], unfinished[64];
    int rc;

    to_file.ctx = &out;
    out.failed = false;
    name_file(unfinished, "unfinished", number);
    out.fd = openat(f->folder_fd, unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out.fd < 0) {
        return complain(f, "cannot be made", unfinished);
    }
    journal_snapshot(&to_file, f->server);
    buf_free(&to_file.pending);
    name_file(name, "snapshot", number);
    rc = out.failed || renameat(f->folder_fd, unfinished, f->folder_fd, name) < 0
             ? complain(f, "cannot be written", name)
             : 0;
    close(out.fd);
    return rc;
}

static int begin_log(struct journal_file *f, uint64_t number)
{
    char name[64];
    int fd;

    name_file(name, "log", number);
    fd = openat(f->folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        return complain(f, "cannot be made", name);
    }
    if (f->log_fd >= 0) {
        close(f->log_fd);
    }
    f->log_fd = fd;
    f->number = number;
    f->log_bytes = 0;
    f->stopped = false;
    return 0;
}

/* Calls fn with the number of every file of a kind. */
static void each_file(struct journal_file *f, const char *kind,
                      void (*fn)(struct journal_file *f, const char *name, uint64_t number,
                                 uint64_t *value),
                      uint64_t *value)
{
    int fd = openat(f->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;

    while (dir && (e = readdir(dir)) != NULL) {
        uint64_t number = number_of(e->d_name, kind);

        if (number > 0) {
            fn(f, e->d_name, number, value);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

static void find_newest(struct journal_file *f, const char *name, uint64_t number, uint64_t *newest)
{
    (void)f;
    (void)name;
    *newest = number > *newest ? number : *newest;
}

static void remove_older(struct journal_file *f, const char *name, uint64_t number, uint64_t *keep)
{
    if (number < *keep) {
        unlinkat(f->folder_fd, name, 0);
    }
}

/* snapshot.`number` is there: what came before it is not needed any more. */
static void snapshot_done(struct journal_file *f, uint64_t number)
{
    struct stat st;
    char name[64];

    each_file(f, "log", remove_older, &number);
    each_file(f, "snapshot", remove_older, &number);
    each_file(f, "unfinished", remove_older, &number);
    name_file(name, "snapshot", number);
    if (fstatat(f->folder_fd, name, &st, 0) == 0) {
        f->snapshot_bytes = (size_t)st.st_size;
    }
    f->hole = f->stopped;
}

/* The child's state is ours at this moment; it touches nothing but its file. */
static void start_snapshot(struct journal_file *f)
{
    if (begin_log(f, f->number + 1) < 0) {
        f->retry_at = now() + RETRY_SECONDS;
        return;
    }
    f->child = fork();
    if (f->child == 0) {
        close(f->lock_fd);
        _exit(write_snapshot(f, f->number) < 0);
    }
    if (f->child < 0) {
        complain(f, "no process for a snapshot", "");
        f->child = 0;
        f->retry_at = now() + RETRY_SECONDS;
    }
}

void journal_tend(struct journal_file *f)
{
    bool due =
        f->log_bytes > journal_log_bytes && f->log_bytes > LOG_PER_SNAPSHOT * f->snapshot_bytes;
    int status;

    journal_commit(&f->journal, f->server);
    if (f->child > 0 && waitpid(f->child, &status, WNOHANG) == f->child) {
        f->child = 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            snapshot_done(f, f->number);
        } else {
            /* The older files are still there, and all logs. */
            f->retry_at = now() + RETRY_SECONDS;
        }
    }
    if (f->child == 0 && (due || f->hole) && now() >= f->retry_at) {
        start_snapshot(f);
    }
}

/* ---- starting ---- */

static int read_file(const struct journal_file *f, const char *name, struct buf *out)
{
    char chunk[65536];
    ssize_t n;
    int fd = openat(f->folder_fd, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return -errno;
    }
    while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
        buf_add(out, chunk, (size_t)n);
    }
    if (n < 0) {
        n = -errno;
    }
    close(fd);
    return (int)n;
}

/* Applies one file. Returns: 0, or -ENOENT when it is not there. */
static int apply(struct journal_file *f, const char *kind, uint64_t number)
{
    struct buf all = {0};
    char name[64];
    int rc;

    name_file(name, kind, number);
    rc = read_file(f, name, &all);
    if (rc == 0) {
        size_t used = journal_replay(f->server, all.data, all.len);

        if (used < all.len) {
            fprintf(stderr, "xenstored: %s/%s: the last %zu bytes are not a whole record\n",
                    f->folder, name, all.len - used);
        }
    } else if (rc != -ENOENT) {
        errno = -rc;
        complain(f, "cannot be read", name);
    }
    buf_free(&all);
    return rc;
}

/* Applies what is there. Returns: the greatest number used. */
static uint64_t take_up(struct journal_file *f)
{
    uint64_t snapshot = 0, log = 0;

    each_file(f, "snapshot", find_newest, &snapshot);
    each_file(f, "log", find_newest, &log);
    if (snapshot > 0) {
        if (node_find(f->server->store.live.root, "/tool")) {
            view_rm(&f->server->store.live, "/tool");
            server_book(f->server, &f->server->store.live);
        }
        apply(f, "snapshot", snapshot);
        for (uint64_t n = snapshot; n <= log; n++) {
            apply(f, "log", n);
        }
    }
    return log > snapshot ? log : snapshot;
}

static int lock_folder(struct journal_file *f)
{
    const struct timespec pause = {.tv_nsec = 50000000};

    f->lock_fd = openat(f->folder_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f->lock_fd < 0) {
        return complain(f, "cannot be made", "lock");
    }
    for (int i = 0; flock(f->lock_fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK || i == LOCK_TRIES) {
            return complain(f, "another store keeps its state here", "lock");
        }
        nanosleep(&pause, NULL);
    }
    return 0;
}

int journal_open(const char *folder, struct server *s, struct journal_file **out)
{
    struct journal_file *f = mem_zalloc(sizeof(*f));
    uint64_t number = 0;
    int rc;

    *f = (struct journal_file){.journal = {.sink = append},
                               .server = s,
                               .folder = mem_strdup(folder),
                               .folder_fd = -1,
                               .lock_fd = -1,
                               .log_fd = -1};
    f->journal.ctx = f;
    mkdir(folder, 0700);
    f->folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = f->folder_fd < 0 ? complain(f, "cannot be used", "") : lock_folder(f);
    if (rc == 0) {
        number = take_up(f) + 1;
        rc = begin_log(f, number);
    }
    if (rc == 0) {
        rc = write_snapshot(f, number);
    }
    if (rc < 0) {
        journal_close(f);
        return rc;
    }
    snapshot_done(f, number);
    s->journal = &f->journal;
    *out = f;
    return 0;
}

void journal_close(struct journal_file *f)
{
    const int fds[] = {f->log_fd, f->lock_fd, f->folder_fd};

    if (f->server->journal == &f->journal) {
        journal_commit(&f->journal, f->server);
        f->server->journal = NULL;
    }
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    buf_free(&f->journal.pending);
    free(f->folder);
    free(f);
}
