/* SPDX-License-Identifier: MIT */
/*
 * A client that measures a store daemon, ours or another, on its unix socket: fills it, introduces
 * domains, connects others that watch, then times each kind of request, one at a time, answer by
 * answer.
 *
 *   store SOCKET PID NODES WATCHES CONNECTIONS
 *
 * prints for each kind its name, the nanoseconds of one request, and those in which the daemon,
 * PID, was on a processor; with tabs between. Kinds take turns in batches, and a kind's figures are
 * those of its best batch: what else the machine does can only make one slower.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>

#define BATCHES 15
#define BATCH 100
#define SECONDS 40        /* after which no further round of batches begins */
#define NODES_OF_ONE 100u /* below /bench/D, in tens */

static int fd; /* of the connection that asks */
static unsigned int owners;
static char body[XENSTORE_PAYLOAD_MAX + 1];
static bool event_seen; /* one came before the answer, as Debian's daemon has it */

static void die(const char *what)
{
    fprintf(stderr, "bench-store: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int dial(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int out = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
    if (out < 0 || connect(out, (struct sockaddr *)&to, sizeof(to)) < 0) {
        die(path);
    }
    return out;
}

static void take(int from, void *data, size_t bytes)
{
    for (size_t got = 0; got < bytes;) {
        ssize_t n = read(from, (char *)data + got, bytes - got);

        if (n <= 0) {
            die("the daemon hung up");
        }
        got += (size_t)n;
    }
}

/* The next message into `body`. Returns: its type. */
static uint32_t next(int from)
{
    struct xsd_sockmsg hdr;

    take(from, &hdr, sizeof(hdr));
    if (hdr.len > XENSTORE_PAYLOAD_MAX) {
        errno = EPROTO;
        die("answer");
    }
    take(from, body, hdr.len);
    body[hdr.len] = '\0';
    return hdr.type;
}

/* One request, '|' in the text for a NUL, and its answer. */
static void ask_on(int to, uint32_t type, uint32_t txn, const char *text)
{
    struct {
        struct xsd_sockmsg hdr;
        char text[256];
    } message = {.hdr = {.type = type, .tx_id = txn, .len = (uint32_t)strlen(text)}};
    size_t bytes = sizeof(message.hdr) + message.hdr.len;

    for (size_t i = 0; i < message.hdr.len; i++) {
        message.text[i] = text[i] == '|' ? '\0' : text[i];
    }
    if (write(to, &message, bytes) != (ssize_t)bytes) {
        die("write");
    }
    for (;;) {
        uint32_t answer = next(to);

        if (answer == type) {
            return;
        }
        event_seen = answer == XS_WATCH_EVENT;
        if (!event_seen) {
            fprintf(stderr, "bench-store: request %u \"%s\": %s\n", type, text, body);
            exit(1);
        }
    }
}

/* The event that belongs to the last request. */
static void take_event(void)
{
    if (!event_seen && next(fd) != XS_WATCH_EVENT) {
        errno = EPROTO;
        die("event");
    }
    event_seen = false;
}

static void ask(uint32_t type, uint32_t txn, const char *format, unsigned int number)
{
    unsigned int owner = number * 7919u % owners;
    char text[200];

    snprintf(text, sizeof(text), format, owner, number % 10, number / 10 % 10, number);
    ask_on(fd, type, txn, text);
}

/* --- the kinds --------------------------------------------------------------------------- */

static void do_read(unsigned int i)
{
    ask(XS_READ, 0, "/bench/%u/%u/%u|", i);
}

static void do_write(unsigned int i)
{
    ask(XS_WRITE, 0, "/bench/%u/%u/%u|value", i);
}

static void do_mkdir(unsigned int i)
{
    ask(XS_MKDIR, 0, "/bench/%u/%u/%u/new%u|", i);
}

static void do_rm(unsigned int i)
{
    ask(XS_RM, 0, "/bench/%u/%u/%u/new%u|", i);
}

static void do_directory(unsigned int i)
{
    ask(XS_DIRECTORY, 0, "/bench/%u/%u|", i);
}

static void do_get_perms(unsigned int i)
{
    ask(XS_GET_PERMS, 0, "/bench/%u/%u/%u|", i);
}

static void do_set_perms(unsigned int i)
{
    ask(XS_SET_PERMS, 0, "/bench/%u/%u/%u|n0|r0|", i);
}

static void do_watch(unsigned int i)
{
    ask(XS_WATCH, 0, "/bench/%u/%u/%u|t%u|", i);
    take_event(); /* each is told of itself once */
}

static void do_unwatch(unsigned int i)
{
    ask(XS_UNWATCH, 0, "/bench/%u/%u/%u|t%u|", i);
}

static void do_event(unsigned int i)
{
    ask(XS_WRITE, 0, "/seen/%u/%u/%u|", i);
    take_event();
}

static void do_txn_start(unsigned int i)
{
    ask(XS_TRANSACTION_START, 0, "|", i);
    ask(XS_TRANSACTION_END, (uint32_t)atoi(body), "F|", i);
}

static void do_txn(unsigned int i)
{
    uint32_t txn;

    ask(XS_TRANSACTION_START, 0, "|", i);
    txn = (uint32_t)atoi(body);
    ask(XS_READ, txn, "/bench/%u/%u/%u|", i);
    ask(XS_WRITE, txn, "/bench/%u/%u/%u|value", i);
    ask(XS_TRANSACTION_END, txn, "T|", i);
}

static void do_path(unsigned int i)
{
    ask(XS_GET_DOMAIN_PATH, 0, "%u|", i);
}

static void do_introduced(unsigned int i)
{
    ask(XS_IS_DOMAIN_INTRODUCED, 0, "%u|", i);
}

static void do_connect(unsigned int i);

static struct kind {
    const char *name;
    void (*run)(unsigned int i);
    double best;     /* nanoseconds */
    double best_cpu; /* the same, of the daemon's time */
} kinds[] = {
    {"read", do_read, 0, 0},
    {"write", do_write, 0, 0},
    {"mkdir", do_mkdir, 0, 0},
    {"rm", do_rm, 0, 0},
    {"directory", do_directory, 0, 0},
    {"get permissions", do_get_perms, 0, 0},
    {"set permissions", do_set_perms, 0, 0},
    {"watch", do_watch, 0, 0},
    {"unwatch", do_unwatch, 0, 0},
    {"write and event", do_event, 0, 0},
    {"transaction, empty", do_txn_start, 0, 0},
    {"transaction, r+w", do_txn, 0, 0},
    {"domain path", do_path, 0, 0},
    {"is introduced", do_introduced, 0, 0},
    {"connect and read", do_connect, 0, 0},
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static const char *address;
static char schedstat[64]; /* file of the daemon's time */

static void do_connect(unsigned int i)
{
    int kept = fd;

    fd = dial(address);
    do_read(i);
    close(fd);
    fd = kept;
}

/* --- the run ----------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void fill(unsigned int nodes, unsigned int watches, unsigned int connections)
{
    char text[200];

    owners = nodes / NODES_OF_ONE;
    for (unsigned int i = 0; i < nodes; i++) {
        snprintf(text, sizeof(text), "/bench/%u/%u/%u|value", i / NODES_OF_ONE, i / 10 % 10,
                 i % 10);
        ask_on(fd, XS_WRITE, 0, text);
    }
    for (unsigned int c = 0; c < connections; c++) {
        int other = dial(address);

        for (unsigned int i = 0; i < watches / connections; i++) {
            snprintf(text, sizeof(text), "/others/%u/%u|t|", c, i);
            ask_on(other, XS_WATCH, 0, text);
        }
    }
    for (unsigned int domid = 1; domid <= connections; domid++) {
        snprintf(text, sizeof(text), "%u|1|1|", domid);
        ask_on(fd, XS_INTRODUCE, 0, text);
    }
    ask_on(fd, XS_WATCH, 0, "/seen|t|");
    take_event();
}

/* Nanoseconds the daemon has been on a processor. */
static double daemon_time(void)
{
    double spent = 0;
    FILE *file = fopen(schedstat, "r");

    if (file == NULL || fscanf(file, "%lf", &spent) != 1) {
        die(schedstat);
    }
    fclose(file);
    return spent;
}

static void keep_best(double *best, double one)
{
    *best = *best == 0 || one < *best ? one : *best;
}

/* A batch of one kind; rm and unwatch find what mkdir and watch have left. */
static void run_batch(struct kind *kind, unsigned int batch)
{
    double begin_cpu = daemon_time();
    double begin = now();

    for (unsigned int i = 0; i < BATCH; i++) {
        kind->run(batch * BATCH + i);
    }
    keep_best(&kind->best, (now() - begin) / BATCH);
    keep_best(&kind->best_cpu, (daemon_time() - begin_cpu) / BATCH);
}

int main(int argc, char **argv)
{
    const struct rlimit files = {4096, 4096};
    double begin;

    if (argc != 6) {
        fprintf(stderr, "usage: store SOCKET PID NODES WATCHES CONNECTIONS\n");
        return 2;
    }
    setrlimit(RLIMIT_NOFILE, &files);
    address = argv[1];
    fd = dial(address);
    snprintf(schedstat, sizeof(schedstat), "/proc/%d/schedstat", atoi(argv[2]));
    fill((unsigned int)atoi(argv[3]), (unsigned int)atoi(argv[4]), (unsigned int)atoi(argv[5]));
    begin = now();
    for (unsigned int batch = 0; batch < BATCHES && now() - begin < SECONDS * 1e9; batch++) {
        for (size_t k = 0; k < KIND_COUNT; k++) {
            run_batch(&kinds[k], batch);
        }
    }
    for (size_t k = 0; k < KIND_COUNT; k++) {
        printf("%s\t%.0f\t%.0f\n", kinds[k].name, kinds[k].best, kinds[k].best_cpu);
    }
    return 0;
}
