/* SPDX-License-Identifier: MIT */
/*
 * What a device costs behind the split drivers: the rows "split" of `make bench`, queue depth 1.
 *
 *   split disk NAME DEVICE     reads and writes past the page cache
 *   split net ADDRESS          TCP to a server and back, and one byte there and back
 *   split serve                that server, until it is killed
 *   split console TTY          time until a terminal has taken in so much text
 *   split call                 a hypercall of a program, by privcmd
 *
 * Time is the monotonic clock's; under QEMU's -icount a nanosecond of it is an instruction. Output,
 * one line a row: "BENCH <name>\t<value>", the median of 7 samples, or of as many as the
 * environment's SAMPLES says: a clock on the wall needs more.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define KIB 1024UL
#define MIB (KIB * KIB)
#define SAMPLES 7u
#define SAMPLES_MAX 255u
#define PORT 7007
#define STREAM (8 * MIB)
#define CHUNK (64 * KIB)
#define CONSOLE_BYTES (64 * KIB)

static unsigned samples = SAMPLES;

static void need(bool good, const char *what)
{
    if (!good) {
        printf("BENCH failed: %s: %s\n", what, strerror(errno));
        fflush(stdout);
        exit(1);
    }
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median time in us of an operation; the first round warms up. */
static double median(void (*op)(void), unsigned n)
{
    static double sample[SAMPLES_MAX];
    for (int s = -1; s < (int)samples; s++) {
        double start = now_us();
        for (unsigned i = 0; i < n; i++) {
            op();
        }
        sample[s < 0 ? 0 : s] = (now_us() - start) / n;
    }
    qsort(sample, samples, sizeof(sample[0]), by_size);
    return sample[samples / 2];
}

/* ---- disk ---- */

static int device;
static size_t request;
static bool writes;
static char *buffer;
static off_t next;

static void op_disk(void)
{
    ssize_t done =
        writes ? pwrite(device, buffer, request, next) : pread(device, buffer, request, next);
    need(done == (ssize_t)request, "disk");
    next = (next + (off_t)request) % (off_t)(16 * MIB);
}

static void disk(const char *name, const char *path)
{
    static const struct {
        size_t bytes;
        unsigned n;
        bool writes;
    } rows[] = {{4 * KIB, 200, false}, {64 * KIB, 60, false}, {MIB, 8, false},
                {4 * KIB, 200, true},  {64 * KIB, 60, true},  {MIB, 8, true}};
    need((device = open(path, O_RDWR | O_DIRECT)) >= 0, path);
    need(posix_memalign((void **)&buffer, 4096, MIB) == 0, "memory");
    memset(buffer, 0x5a, MIB);
    request = MIB;
    writes = true;
    for (unsigned i = 0; i < 16; i++) {
        op_disk(); /* a ramdisk has pages from the first write on */
    }
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        request = rows[i].bytes;
        writes = rows[i].writes;
        next = 0;
        printf("BENCH %s: %s of %zu KiB (us)\t%.2f\n", name, writes ? "write" : "read",
               request / KIB, median(op_disk, rows[i].n));
    }
}

/* ---- network: a client asks with one byte for what comes next ---- */

static int peer;
static char data[CHUNK];

static void get(size_t bytes)
{
    while (bytes) {
        ssize_t got = read(peer, data, bytes < CHUNK ? bytes : CHUNK);
        need(got > 0, "receive");
        bytes -= (size_t)got;
    }
}

static void put(size_t bytes)
{
    while (bytes) {
        ssize_t done = write(peer, data, bytes < CHUNK ? bytes : CHUNK);
        need(done > 0, "send");
        bytes -= (size_t)done;
    }
}

static void ask(char what)
{
    need(write(peer, &what, 1) == 1, "ask");
}

static void op_round(void)
{
    ask('r');
    get(1);
}

static void op_send(void)
{
    ask('s');
    put(STREAM);
    get(1);
}

static void op_receive(void)
{
    ask('t');
    get(STREAM);
}

static int stream_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    need(fd >= 0, "socket");
    need(!setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) &&
             !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)),
         "options");
    return fd;
}

static void serve(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int listener = stream_socket();
    need(!bind(listener, (struct sockaddr *)&at, sizeof(at)) && !listen(listener, 1), "listen");
    for (;;) {
        char what;
        need((peer = accept(listener, NULL, NULL)) >= 0, "accept");
        while (read(peer, &what, 1) == 1) {
            if (what == 's') {
                get(STREAM);
            }
            put(what == 't' ? STREAM : 1);
        }
        close(peer);
    }
}

static void net(const char *address)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    need(inet_pton(AF_INET, address, &at.sin_addr) == 1, address);
    peer = stream_socket();
    need(connect(peer, (struct sockaddr *)&at, sizeof(at)) == 0, "connect");
    double bits = 8.0 * STREAM;
    printf("BENCH TCP guest to control domain (Mbit/s)\t%.0f\n", bits / median(op_send, 1));
    printf("BENCH TCP control domain to guest (Mbit/s)\t%.0f\n", bits / median(op_receive, 1));
    printf("BENCH TCP round trip of 1 byte (us)\t%.2f\n", median(op_round, 100));
}

/* ---- console, hypercall ---- */

static void op_console(void)
{
    for (size_t at = 0; at < CONSOLE_BYTES; at += sizeof(data) / 64) {
        need(write(device, data, sizeof(data) / 64) == (ssize_t)sizeof(data) / 64, "console");
    }
    tcdrain(device);
}

static void console(const char *path)
{
    need((device = open(path, O_WRONLY | O_NOCTTY)) >= 0, path);
    memset(data, '.', sizeof(data));
    for (size_t i = 63; i < sizeof(data); i += 64) {
        data[i] = '\n';
    }
    double us = median(op_console, 1);
    printf("BENCH console output of 64 KiB (us)\t%.0f\n", us);
}

static void op_call(void)
{
    struct {
        uint64_t op, arg[5];
    } call = {17, {0}}; /* xen_version, XENVER_version */
    need(ioctl(device, _IOC(_IOC_NONE, 'P', 0, sizeof(call)), &call) > 0, "hypercall");
}

static void call(void)
{
    need((device = open("/dev/xen/privcmd", O_RDWR)) >= 0, "privcmd");
    printf("BENCH null hypercall by privcmd (us)\t%.3f\n", median(op_call, 500));
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *asked = getenv("SAMPLES");
    if (asked != NULL) {
        samples = (unsigned)atoi(asked);
        need(samples >= 1 && samples <= SAMPLES_MAX, "SAMPLES");
    }
    if (argc == 4 && !strcmp(argv[1], "disk")) {
        disk(argv[2], argv[3]);
    } else if (argc == 3 && !strcmp(argv[1], "net")) {
        net(argv[2]);
    } else if (argc == 2 && !strcmp(argv[1], "serve")) {
        serve();
    } else if (argc == 3 && !strcmp(argv[1], "console")) {
        console(argv[2]);
    } else if (argc == 2 && !strcmp(argv[1], "call")) {
        call();
    } else {
        return 2;
    }
    return 0;
}
