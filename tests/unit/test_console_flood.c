/* SPDX-License-Identifier: MIT */
/*
 * The console daemon's own loop and guests (dom0-tools/console/loop.h, guest.h) at full speed:
 * rings are ordinary pages, event channels those below, guests are threads that write numbered
 * lines and send an event for each. What is asked: all output arrives, at 10 MB/s and more, in the
 * log and at whoever reads along; who floods costs a bounded share and holds up nobody.
 *
 * Times of a busy machine say little and those of a slow one are others, so only with CONSOLE_BENCH
 * set (`make bench-console`) the rate and the delays themselves are judged.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dom0-tools/console/loop.h"
#include "tests/unit/runner.h"

#define GUESTS_MAX 10u /* numbered from 1; a guest's port is its number */
#define LINE_BYTES 64u
#define MB 1000000u
#define PATIENCE_US 60000000u /* with a machine that has other things to do */
#define LINES_MAX 1000u       /* of which it is noted when they were written */

struct writer {
    struct xencons_interface page;
    pthread_t thread;
    uint64_t lines;        /* to write */
    _Atomic uint64_t done; /* written */
    unsigned int grain;    /* bytes for each event */
    unsigned int rest_us;  /* between lines */
    atomic_bool running;
};

static struct writer writers[GUESTS_MAX + 1];
static uint64_t written_us[LINES_MAX]; /* by guest 1 */
static char folder[] = "/tmp/test_flood.XXXXXX";
static struct loop loop;

/* ---- event channels: each is free, pending, or delivered and masked until it is unmasked ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool pending[GUESTS_MAX + 1];
static bool masked[GUESTS_MAX + 1];
static unsigned int deliveries;
static int bell;

static void ring_bell(void)
{
    uint64_t one = 1;

    CU_ASSERT_EQUAL(write(bell, &one, sizeof(one)), (ssize_t)sizeof(one));
}

static void send_event(unsigned int port)
{
    pthread_mutex_lock(&lock);
    if (!pending[port]) {
        pending[port] = true;
        if (!masked[port]) {
            ring_bell();
        }
    }
    pthread_mutex_unlock(&lock);
}

int xenevtchn_fd(xenevtchn_handle *handle)
{
    (void)handle;
    return bell;
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *handle)
{
    uint64_t count;
    int found = -1;

    (void)handle;
    pthread_mutex_lock(&lock);
    if (read(bell, &count, sizeof(count)) > 0) {
        for (unsigned int port = 1; port <= GUESTS_MAX; port++) {
            if (!pending[port] || masked[port]) {
                continue;
            }
            if (found >= 0) {
                ring_bell(); /* one more */
                break;
            }
            found = (int)port;
            pending[port] = false;
            masked[port] = true;
            deliveries++;
        }
    }
    pthread_mutex_unlock(&lock);
    errno = EAGAIN;
    return found;
}

int xenevtchn_unmask(xenevtchn_handle *handle, evtchn_port_t port)
{
    (void)handle;
    pthread_mutex_lock(&lock);
    masked[port] = false;
    if (pending[port]) {
        ring_bell();
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

int xenevtchn_notify(xenevtchn_handle *handle, evtchn_port_t port)
{
    (void)handle;
    (void)port; /* the writers look by themselves */
    return 0;
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *handle, uint32_t domid,
                                                     evtchn_port_t port)
{
    (void)handle;
    (void)port;
    return (int)domid;
}

int xenevtchn_unbind(xenevtchn_handle *handle, evtchn_port_t port)
{
    (void)handle;
    (void)port;
    return 0;
}

void *xengnttab_map_grant_ref(xengnttab_handle *handle, uint32_t domid, uint32_t ref, int prot)
{
    (void)handle;
    (void)ref;
    (void)prot;
    return &writers[domid].page;
}

int xengnttab_unmap(xengnttab_handle *handle, void *start, uint32_t count)
{
    (void)handle;
    (void)start;
    (void)count;
    return 0;
}

/* ---- the store: the three nodes of a guest that are read, and any that is written; the linker
 * puts these in the place of our client's ---- */

bool __wrap_xs_read_many(struct xs_handle *handle, const char *const paths[], size_t count,
                         char *values[]);
bool __wrap_xs_write(struct xs_handle *handle, xs_transaction_t transaction, const char *path,
                     const void *data, unsigned int length);

bool __wrap_xs_read_many(struct xs_handle *handle, const char *const paths[], size_t count,
                         char *values[])
{
    (void)handle;
    CU_ASSERT_EQUAL(count, 3); /* all in one exchange */
    for (size_t i = 0; i < count; i++) {
        char text[32] = "1";
        unsigned int domid = 0;

        CU_ASSERT_EQUAL(sscanf(paths[i], "/local/domain/%u/", &domid), 1);
        if (strcmp(strrchr(paths[i], '/') + 1, "name") == 0) {
            snprintf(text, sizeof(text), "flood%u", domid);
        }
        values[i] = strdup(text);
    }
    return true;
}

bool __wrap_xs_write(struct xs_handle *handle, xs_transaction_t transaction, const char *path,
                     const void *data, unsigned int length)
{
    (void)handle;
    (void)transaction;
    (void)path;
    (void)data;
    (void)length;
    return true;
}

/* ---- guests ---- */

static void line_of(uint64_t number, char line[LINE_BYTES + 1])
{
    char digits[24];
    int count = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);

    memset(line, 'a' + (int)(number % 26), LINE_BYTES);
    memcpy(line, digits, (size_t)count);
    line[LINE_BYTES - 1] = '\n';
    line[LINE_BYTES] = '\0';
}

static void put_byte(struct xencons_interface *page, char byte)
{
    uint32_t prod = page->out_prod;

    while (prod - __atomic_load_n(&page->out_cons, __ATOMIC_ACQUIRE) >= sizeof(page->out)) {
        sched_yield();
    }
    page->out[prod % sizeof(page->out)] = byte;
    __atomic_store_n(&page->out_prod, prod + 1, __ATOMIC_RELEASE);
}

static void *write_lines(void *context)
{
    struct writer *writer = context;
    unsigned int port = (unsigned int)(writer - writers);

    for (uint64_t i = 0; i < writer->lines && writer->running; i++) {
        char line[LINE_BYTES + 1];

        line_of(i, line);
        if (port == 1 && i < LINES_MAX) {
            written_us[i] = loop_now_us();
        }
        for (unsigned int at = 0; at < LINE_BYTES; at++) {
            put_byte(&writer->page, line[at]);
            if ((at + 1) % writer->grain == 0) {
                send_event(port);
            }
        }
        writer->done = i + 1;
        if (writer->rest_us != 0) {
            usleep(writer->rest_us);
        }
    }
    writer->running = false;
    return NULL;
}

static void go(unsigned int number)
{
    struct writer *writer = &writers[number];

    CU_ASSERT_EQUAL_FATAL(pthread_create(&writer->thread, NULL, write_lines, writer), 0);
}

static void prepare(unsigned int number, uint64_t lines, unsigned int grain, unsigned int rest_us)
{
    struct writer *writer = &writers[number];
    struct guest *guest;
    struct err err;

    memset(writer, 0, sizeof(*writer));
    writer->lines = lines;
    writer->grain = grain;
    writer->rest_us = rest_us;
    writer->running = true;
    pending[number] = false;
    masked[number] = false;
    CU_ASSERT_EQUAL_FATAL(guest_open(&loop.services, number, &guest, &err), 0);
    loop_add(&loop, guest);
}

static void start(unsigned int number, uint64_t lines, unsigned int grain, unsigned int rest_us)
{
    prepare(number, lines, grain, rest_us);
    go(number);
}

static void log_name(unsigned int number, const char *suffix, char path[128])
{
    snprintf(path, 128, "%s/flood%u.log%s", folder, number, suffix);
}

/* Ends all guests; the daemon goes on taking until the last has written what it wanted. */
static void stop_all(void)
{
    for (unsigned int i = 1; i <= GUESTS_MAX; i++) {
        writers[i].running = false;
    }
    for (struct guest *guest = loop.guests; guest != NULL; guest = guest->next) {
        while (pthread_tryjoin_np(writers[guest->domid].thread, NULL) != 0) {
            loop_once(&loop, -1, -1, 1000);
        }
    }
    while (loop.guests != NULL) {
        struct guest *guest = loop.guests;
        char path[128];

        log_name(guest->domid, "", path);
        loop_remove(&loop, guest);
        unlink(path);
        strcat(path, ".old");
        unlink(path);
    }
}

static uint64_t processor_us(void)
{
    struct timespec used;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

static uint64_t size_of(unsigned int number, const char *suffix)
{
    struct stat status;
    char path[128];

    log_name(number, suffix, path);
    return stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

static int dial(unsigned int number)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s/" GUEST_SOCKET, folder, number);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    loop_once(&loop, -1, -1, 0);
    return fd;
}

/* ---- whoever reads along checks each line, and may take its time ---- */

struct along {
    pthread_t thread;
    int fd;
    unsigned int every_us; /* a rest after each 32 KiB */
    uint64_t lines;
    bool wrong;
};

static void *read_along(void *context)
{
    static _Thread_local char data[32768];
    struct along *along = context;
    size_t have = 0;
    ssize_t got;

    while ((got = read(along->fd, data + have, sizeof(data) - have)) > 0) {
        size_t at = 0;

        for (have += (size_t)got; have - at >= LINE_BYTES; at += LINE_BYTES) {
            char line[LINE_BYTES + 1];

            line_of(along->lines++, line);
            along->wrong = along->wrong || memcmp(line, data + at, LINE_BYTES) != 0;
        }
        memmove(data, data + at, have - at);
        have -= at;
        if (along->every_us != 0) {
            usleep(along->every_us);
        }
    }
    return NULL;
}

/* Follows the log, which is begun anew every 16 MiB, from its old to its new file. */
static void check_logs(unsigned int number, uint64_t lines)
{
    static const char *const suffixes[] = {".old", ""};
    uint64_t next = lines * LINE_BYTES - size_of(number, ".old") - size_of(number, "");

    for (unsigned int i = 0; i < 2; i++) {
        char path[128];
        char line[LINE_BYTES + 1];
        bool good = true;
        FILE *file;
        int got;

        log_name(number, suffixes[i], path);
        file = fopen(path, "r");
        CU_ASSERT_PTR_NOT_NULL_FATAL(file);
        line_of(next / LINE_BYTES, line);
        while (good && (got = getc(file)) != EOF) {
            if (next % LINE_BYTES == 0) {
                line_of(next / LINE_BYTES, line);
            }
            good = line[next++ % LINE_BYTES] == got;
        }
        CU_ASSERT_TRUE(good);
        fclose(file);
    }
    CU_ASSERT_EQUAL(next, lines * LINE_BYTES);
}

/* One guest, two readers of whom one is slow in bursts, a terminal that nobody reads. */
static void test_nothing_is_lost(void)
{
    const uint64_t lines = 36 * (uint64_t)MB / LINE_BYTES; /* the log is begun anew twice */
    struct along along[2] = {{.every_us = 0}, {.every_us = 500}};
    uint64_t begin;
    uint64_t used;
    uint64_t took;
    double rate;

    prepare(1, lines, 16, 0);
    for (int i = 0; i < 2; i++) {
        along[i].fd = dial(1);
    }
    go(1);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL_FATAL(pthread_create(&along[i].thread, NULL, read_along, &along[i]), 0);
    }
    begin = loop_now_us();
    used = processor_us();
    while (writers[1].running || writers[1].page.out_cons != writers[1].page.out_prod) {
        CU_ASSERT_EQUAL(loop_once(&loop, -1, -1, 1000), 0);
    }
    took = loop_now_us() - begin;
    used = processor_us() - used;
    rate = (double)lines * LINE_BYTES / (double)took;
    loop_died(&loop, loop.guests);
    while (!guest_finished(loop.guests, loop_now_us())) {
        loop_once(&loop, -1, -1, 1000);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(along[i].thread, NULL);
        CU_ASSERT_EQUAL(along[i].lines, lines);
        CU_ASSERT_FALSE(along[i].wrong);
        close(along[i].fd);
    }
    check_logs(1, lines);
    printf("\n  %.1f MB/s, %.1f %% of a processor, %u events of %llu delivered\n", rate,
           100.0 * (double)used / (double)took, deliveries,
           (unsigned long long)lines * (LINE_BYTES / 16));
    if (getenv("CONSOLE_BENCH") != NULL) {
        CU_ASSERT_TRUE(rate >= 10);
        /* 10 MB/s in the half of a processor that it may have. */
        CU_ASSERT_TRUE((double)lines * LINE_BYTES / (double)used >= 20);
    }
    stop_all();
}

/* One that never reads is waited for once, then no more. */
static void test_who_stops_is_left(void)
{
    uint64_t begin;
    int stopped;

    start(1, 8 * (uint64_t)MB / LINE_BYTES, LINE_BYTES, 0);
    stopped = dial(1);
    begin = loop_now_us();
    while (writers[1].running) {
        loop_once(&loop, -1, -1, 1000);
    }
    CU_ASSERT_TRUE(loop_now_us() - begin >= READERS_PATIENCE_US);
    CU_ASSERT_TRUE(loop_now_us() - begin < PATIENCE_US);
    close(stopped);
    stop_all();
}

/* An event for each byte, from two, and a line now and then from another, which comes at once. */
static void test_flood_is_bounded(void)
{
    uint64_t slowest = 0;
    uint64_t seen = 0;
    uint64_t begin;
    uint64_t used;

    start(1, LINES_MAX, LINE_BYTES, 20000);
    for (unsigned int i = 2; i <= 3; i++) {
        start(i, UINT64_MAX, 1, 0);
    }
    begin = loop_now_us();
    used = processor_us();
    /* Until there is something to judge, however long this machine takes for it. */
    while (loop_now_us() - begin < 1500000 || (seen < 50 && loop_now_us() - begin < PATIENCE_US)) {
        loop_once(&loop, -1, -1, 1000);
        while (seen < writers[1].done && size_of(1, "") >= (seen + 1) * LINE_BYTES) {
            uint64_t late = loop_now_us() - written_us[seen++];

            slowest = late > slowest ? late : slowest;
        }
    }
    used = processor_us() - used;
    printf("\n  two floods: %.1f %% of a processor; %llu lines of another, up to %.1f ms late\n",
           100.0 * (double)used / (double)(loop_now_us() - begin), (unsigned long long)seen,
           (double)slowest / 1000);
    CU_ASSERT_TRUE(seen >= 50);
    CU_ASSERT_TRUE(size_of(2, "") > 0 && size_of(3, "") > 0);
    CU_ASSERT_TRUE(getenv("CONSOLE_BENCH") == NULL || slowest < 20000);
    stop_all();
}

/* Eight rings that are never empty: each has as much as any other. Filled between the rounds, so
 * that no thread's luck is measured. */
static void test_floods_are_equal(void)
{
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    uint64_t begin;

    for (unsigned int i = 1; i <= 8; i++) {
        prepare(i, 0, 1, 0);
        go(i); /* ends at once */
    }
    begin = loop_now_us();
    while (loop_now_us() - begin < 1000000) {
        for (unsigned int i = 1; i <= 8; i++) {
            struct xencons_interface *page = &writers[i].page;

            writers[i].done += page->out_cons + (uint32_t)sizeof(page->out) - page->out_prod;
            page->out_prod = page->out_cons + (uint32_t)sizeof(page->out);
            send_event(i);
        }
        loop_once(&loop, -1, -1, 1000);
    }
    for (unsigned int i = 1; i <= 8; i++) {
        least = writers[i].done < least ? writers[i].done : least;
        most = writers[i].done > most ? writers[i].done : most;
    }
    printf("\n  eight floods: from %.1f to %.1f MB each\n", (double)least / MB, (double)most / MB);
    CU_ASSERT_TRUE(least >= most - most / 4);
    stop_all();
}

static int set_up(void)
{
    bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    prctl(PR_SET_TIMERSLACK, 1000ul);
    loop.services.grants = (xengnttab_handle *)&loop; /* only handed on */
    loop.services.log_dir = folder;
    loop.services.run_dir = folder;
    return bell < 0 || mkdtemp(folder) == NULL;
}

static int clean_up(void)
{
    close(bell);
    loop_close(&loop);
    return rmdir(folder) != 0;
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"nothing is lost", test_nothing_is_lost},
        {"who stops is left", test_who_stops_is_left},
        {"a flood is bounded", test_flood_is_bounded},
        {"floods are equal", test_floods_are_equal},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{"console flood", set_up, clean_up, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
