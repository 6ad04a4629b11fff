/* SPDX-License-Identifier: MIT */
/*
 * A client that measures two store daemons, ours or another, on their unix sockets: fills each to
 * its size, introduces domains, connects others that watch, then times each kind of request, one at
 * a time, answer by answer.
 *
 *   store SOCKET PID NODES WATCHES CONNECTIONS  SOCKET PID NODES WATCHES CONNECTIONS
 *
 * prints for each kind its name, the nanoseconds of one request to the first daemon and to the
 * second, and how many times as long as the first the second, PID, is on a processor for it; with
 * tabs between. All are medians.
 *
 * The machine may be a shared one, whose speed changes by two within seconds: so the two daemons
 * are asked in turns, a batch of a few milliseconds each, and it is the two neighbours that are
 * compared. All three processes are on one processor, where a wake-up is a switch and not an
 * interrupt to another, perhaps sleeping, one.
 */
#include <errno.h>
#include <sched.h>
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

#define ROUNDS 101u
#define BATCH 100u
#define SECONDS 60        /* after which no further round begins */
#define NODES_OF_ONE 100u /* below /bench/D, in tens */
#define SIDES 2u

/* One of the two daemons. */
struct side {
    const char *address;
    char schedstat[64]; /* file of its time */
    int fd;             /* of the connection that asks it */
    unsigned int owners;
    unsigned int domains;
};

static struct side sides[SIDES];
static struct side *at; /* the one that is asked */
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
    if (!event_seen && next(at->fd) != XS_WATCH_EVENT) {
        errno = EPROTO;
        die("event");
    }
    event_seen = false;
}

static void ask(uint32_t type, uint32_t txn, const char *format, unsigned int number)
{
    unsigned int owner = number * 7919u % at->owners;
    char text[200];

    snprintf(text, sizeof(text), format, owner, number % 10, number / 10 % 10, number);
    ask_on(at->fd, type, txn, text);
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

/* One of the introduced domains. */
static void ask_domain(uint32_t type, unsigned int i)
{
    char text[16];

    snprintf(text, sizeof(text), "%u|", 1 + i % at->domains);
    ask_on(at->fd, type, 0, text);
}

static void do_path(unsigned int i)
{
    ask_domain(XS_GET_DOMAIN_PATH, i);
}

static void do_introduced(unsigned int i)
{
    ask_domain(XS_IS_DOMAIN_INTRODUCED, i);
}

static void do_connect(unsigned int i)
{
    int kept = at->fd;

    at->fd = dial(at->address);
    do_read(i);
    close(at->fd);
    at->fd = kept;
}

static const struct {
    const char *name;
    void (*run)(unsigned int i);
} kinds[] = {
    {"read", do_read},
    {"write", do_write},
    {"mkdir", do_mkdir},
    {"rm", do_rm},
    {"directory", do_directory},
    {"get permissions", do_get_perms},
    {"set permissions", do_set_perms},
    {"watch", do_watch},
    {"unwatch", do_unwatch},
    {"write and event", do_event},
    {"transaction, empty", do_txn_start},
    {"transaction, r+w", do_txn},
    {"domain path", do_path},
    {"is introduced", do_introduced},
    {"connect and read", do_connect},
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

/* What was found of each kind, by rounds. */
static struct figures {
    double wall[SIDES][ROUNDS]; /* nanoseconds of one */
    double growth[ROUNDS];      /* the daemons' time for it, the second's by the first's */
} figures[KIND_COUNT];

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

    at->owners = nodes / NODES_OF_ONE;
    at->domains = connections;
    for (unsigned int i = 0; i < nodes; i++) {
        snprintf(text, sizeof(text), "/bench/%u/%u/%u|value", i / NODES_OF_ONE, i / 10 % 10,
                 i % 10);
        ask_on(at->fd, XS_WRITE, 0, text);
    }
    for (unsigned int c = 0; c < connections; c++) {
        int other = dial(at->address);

        for (unsigned int i = 0; i < watches / connections; i++) {
            snprintf(text, sizeof(text), "/others/%u/%u|t|", c, i);
            ask_on(other, XS_WATCH, 0, text);
        }
    }
    for (unsigned int domid = 1; domid <= connections; domid++) {
        snprintf(text, sizeof(text), "%u|1|1|", domid);
        ask_on(at->fd, XS_INTRODUCE, 0, text);
    }
    ask_on(at->fd, XS_WATCH, 0, "/seen|t|");
    take_event();
}

/* A daemon from its five arguments. */
static void open_side(char **arguments)
{
    at->address = arguments[0];
    snprintf(at->schedstat, sizeof(at->schedstat), "/proc/%d/schedstat", atoi(arguments[1]));
    at->fd = dial(at->address);
    fill((unsigned int)atoi(arguments[2]), (unsigned int)atoi(arguments[3]),
         (unsigned int)atoi(arguments[4]));
}

/* This process and the two daemons, on the processor it is on now. */
static void share_processor(const char *first, const char *second)
{
    pid_t processes[] = {0, atoi(first), atoi(second)};
    int cpu = sched_getcpu();
    cpu_set_t set;

    if (cpu < 0) {
        die("processor");
    }
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    for (size_t i = 0; i < sizeof(processes) / sizeof(processes[0]); i++) {
        if (sched_setaffinity(processes[i], sizeof(set), &set) < 0) {
            die("affinity");
        }
    }
}

/* Nanoseconds the daemon has been on a processor. */
static double daemon_time(void)
{
    double spent = 0;
    FILE *file = fopen(at->schedstat, "r");

    if (file == NULL || fscanf(file, "%lf", &spent) != 1) {
        die(at->schedstat);
    }
    fclose(file);
    return spent;
}

/* A batch of one kind for each daemon, in turns the first; rm and unwatch find what mkdir and watch
 * of this round have left. */
static void run_pair(size_t kind, unsigned int round)
{
    double spent[SIDES];

    for (unsigned int turn = 0; turn < SIDES; turn++) {
        unsigned int side = (round + turn) % SIDES;
        double begin_cpu;
        double begin;

        at = &sides[side];
        begin_cpu = daemon_time();
        begin = now();
        for (unsigned int i = 0; i < BATCH; i++) {
            kinds[kind].run(round * BATCH + i);
        }
        figures[kind].wall[side][round] = (now() - begin) / BATCH;
        spent[side] = daemon_time() - begin_cpu;
    }
    figures[kind].growth[round] = spent[1] / spent[0];
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left > right) - (left < right);
}

static double median(double *of, unsigned int count)
{
    qsort(of, count, sizeof(*of), by_size);
    return of[count / 2];
}

int main(int argc, char **argv)
{
    const struct rlimit files = {4096, 4096};
    unsigned int rounds = 0;
    double begin;

    if (argc != 11) {
        fprintf(stderr, "usage: store SOCKET PID NODES WATCHES CONNECTIONS (the same again)\n");
        return 2;
    }
    setrlimit(RLIMIT_NOFILE, &files);
    for (unsigned int side = 0; side < SIDES; side++) {
        at = &sides[side];
        open_side(&argv[1 + 5 * side]);
    }
    share_processor(argv[2], argv[7]);
    begin = now();
    while (rounds < ROUNDS && now() - begin < SECONDS * 1e9) {
        for (size_t k = 0; k < KIND_COUNT; k++) {
            run_pair(k, rounds);
        }
        rounds++;
    }
    for (size_t k = 0; k < KIND_COUNT; k++) {
        struct figures *found = &figures[k];

        printf("%s\t%.0f\t%.0f\t%.3f\n", kinds[k].name, median(found->wall[0], rounds),
               median(found->wall[1], rounds), median(found->growth, rounds));
    }
    return 0;
}
