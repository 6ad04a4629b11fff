// SPDX-License-Identifier: MIT
/*
 * What Linux pays for what programs do all day: the rows of `make bench`. A static program that is
 * the first process of the machine or guest that is measured, alone in it. Each row is the median
 * of many samples of the time-stamp counter, which counts instructions under QEMU's -icount.
 *
 * Output, one line a row: "BENCH <name>\t<per operation>". The last line is "BENCH end".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define MIB (1UL << 20)
#define SAMPLES 15

static const char *self; /* a path to exec this program under */

static void need(int good, const char *what)
{
    if (!good) {
        printf("BENCH failed: %s: %s\n", what, strerror(errno));
        fflush(stdout);
        _exit(1);
    }
}

static uint64_t tsc(void)
{
    uint32_t lo, hi;
    __asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi)::"memory");
    return (uint64_t)hi << 32 | lo;
}

/* ---- the operations: each does `n` of them and returns the counter's difference ---- */

#define TIMED(body)                                                                                \
    ({                                                                                             \
        uint64_t start_ = tsc();                                                                   \
        for (unsigned i = 0; i < n; i++) {                                                         \
            body;                                                                                  \
        }                                                                                          \
        tsc() - start_;                                                                            \
    })

static uint64_t op_getppid(unsigned n)
{
    return TIMED(syscall(SYS_getppid));
}

static uint64_t op_read(unsigned n)
{
    static int fd = -1;
    char byte;
    if (fd < 0) {
        need((fd = open("/dev/zero", O_RDONLY)) >= 0, "/dev/zero");
    }
    return TIMED(need(read(fd, &byte, 1) == 1, "read"));
}

static uint64_t op_gettimeofday(unsigned n)
{
    struct timeval tv;
    return TIMED(gettimeofday(&tv, NULL));
}

static volatile char *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(p != MAP_FAILED, "mmap");
    return p;
}

/* The first page of the range is touched before, so that no page table is missing in the middle of
 * what is measured more often than a large range pays for it. */
static uint64_t op_fault_read(unsigned n)
{
    volatile char *p = map((n + 1) * PAGE);
    char sum = p[n * PAGE];
    uint64_t spent = TIMED(sum = (char)(sum + p[i * PAGE]));
    munmap((void *)p, (n + 1) * PAGE);
    return spent;
}

static uint64_t op_fault_write(unsigned n)
{
    volatile char *p = map((n + 1) * PAGE);
    p[n * PAGE] = 1;
    uint64_t spent = TIMED(p[i * PAGE] = 1);
    munmap((void *)p, (n + 1) * PAGE);
    return spent;
}

static void map_touch_unmap(void)
{
    volatile char *p = map(4 * MIB);
    for (size_t at = 0; at < 4 * MIB; at += PAGE) {
        p[at] = 1;
    }
    munmap((void *)p, 4 * MIB);
}

static uint64_t op_mmap(unsigned n)
{
    return TIMED(map_touch_unmap());
}

static void reap(pid_t child)
{
    int status;
    need(child > 0 && waitpid(child, &status, 0) == child && status == 0, "child");
}

static void fork_exit(void)
{
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    reap(child);
}

static uint64_t op_fork(unsigned n)
{
    return TIMED(fork_exit());
}

static uint64_t op_fork_16m(unsigned n)
{
    volatile char *p = map(16 * MIB);
    for (size_t at = 0; at < 16 * MIB; at += PAGE) {
        p[at] = 1;
    }
    uint64_t spent = TIMED(fork_exit());
    munmap((void *)p, 16 * MIB);
    return spent;
}

static char *const exec_args[] = {"ops", "exit", NULL}, *const no_env[] = {NULL};

static void fork_exec(void)
{
    pid_t child = fork();
    if (child == 0) {
        execve(self, exec_args, no_env);
        _exit(1);
    }
    reap(child);
}

static uint64_t op_fork_exec(unsigned n)
{
    return TIMED(fork_exec());
}

static void vfork_exec(void)
{
    pid_t child = vfork();
    if (child == 0) {
        execve(self, exec_args, no_env);
        _exit(1);
    }
    reap(child);
}

static uint64_t op_vfork_exec(unsigned n)
{
    return TIMED(vfork_exec());
}

static uint64_t op_pipe(unsigned n)
{
    int there[2], back[2];
    char byte = 0;
    need(pipe(there) == 0 && pipe(back) == 0, "pipe");
    pid_t child = fork();
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1) {
        }
        _exit(0);
    }
    close(there[0]);
    need(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "first byte");
    uint64_t spent = TIMED(
        need(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "pipe ping-pong"));
    close(there[1]);
    reap(child);
    close(back[0]);
    close(back[1]);
    return spent;
}

static uint32_t turn;
static unsigned rounds;

static void pass_turn(uint32_t mine, uint32_t other)
{
    while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != mine) {
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, other, NULL);
    }
    __atomic_store_n(&turn, other, __ATOMIC_RELEASE);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1);
}

static void *futex_peer(void *arg)
{
    for (unsigned i = 0; i < rounds; i++) {
        pass_turn(1, 0);
    }
    return arg;
}

static uint64_t op_futex(unsigned n)
{
    pthread_t peer;
    turn = 0;
    rounds = n + 1;
    need(pthread_create(&peer, NULL, futex_peer, NULL) == 0, "thread");
    pass_turn(0, 1);
    uint64_t spent = TIMED(pass_turn(0, 1));
    need(pthread_join(peer, NULL) == 0, "join");
    return spent;
}

static volatile unsigned handled;

static void handler(int number)
{
    (void)number;
    handled++;
}

static uint64_t op_signal(unsigned n)
{
    signal(SIGUSR1, handler);
    handled = 0;
    pid_t me = getpid();
    uint64_t spent = TIMED(kill(me, SIGUSR1));
    need(handled == n, "signals");
    return spent;
}

static uint64_t op_mprotect(unsigned n)
{
    volatile char *p = map(16 * PAGE);
    for (unsigned i = 0; i < 16; i++) {
        p[i * PAGE] = 1;
    }
    uint64_t spent = TIMED(need(mprotect((void *)p, 16 * PAGE, PROT_READ) == 0 &&
                                    mprotect((void *)p, 16 * PAGE, PROT_READ | PROT_WRITE) == 0,
                                "mprotect"));
    munmap((void *)p, 16 * PAGE);
    return spent;
}

static void *nothing(void *arg)
{
    return arg;
}

static void thread_join(void)
{
    pthread_t thread;
    need(pthread_create(&thread, NULL, nothing, NULL) == 0, "thread");
    need(pthread_join(thread, NULL) == 0, "join");
}

static uint64_t op_thread(unsigned n)
{
    return TIMED(thread_join());
}

static uint64_t op_nanosleep(unsigned n)
{
    struct timespec ts = {0, 1000};
    return TIMED(nanosleep(&ts, NULL));
}

static void shell(void)
{
    pid_t child = fork();
    if (child == 0) {
        char *const args[] = {"sh", "-c",
                              "/bin/true; /bin/true; /bin/true; /bin/true; "
                              "/bin/true; /bin/true; /bin/true; /bin/true",
                              NULL};
        execve("/bin/sh", args, no_env);
        _exit(1);
    }
    reap(child);
}

static uint64_t op_shell(unsigned n)
{
    return TIMED(shell());
}

static const struct {
    const char *name;
    uint64_t (*run)(unsigned n);
    unsigned n; /* operations a sample */
} rows[] = {
    {"getppid", op_getppid, 2000},
    {"read of 1 byte from /dev/zero", op_read, 2000},
    {"gettimeofday", op_gettimeofday, 2000},
    {"page fault, zero page read", op_fault_read, 400},
    {"page fault, anonymous write", op_fault_write, 400},
    {"mmap + touch + munmap of 4 MiB", op_mmap, 1},
    {"fork + exit + wait", op_fork, 10},
    {"fork + exit + wait with 16 MiB touched", op_fork_16m, 2},
    {"fork + exec + wait", op_fork_exec, 10},
    {"vfork + exec + wait", op_vfork_exec, 10},
    {"pipe ping-pong (2 switches)", op_pipe, 500},
    {"futex ping-pong", op_futex, 500},
    {"signal to self", op_signal, 500},
    {"mprotect pair", op_mprotect, 200},
    {"thread create + join", op_thread, 50},
    {"nanosleep 1 us", op_nanosleep, 50},
    {"shell running 8 programs", op_shell, 1},
};

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void run_all(void)
{
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        uint64_t sample[SAMPLES];
        rows[r].run(rows[r].n); /* warm */
        for (unsigned s = 0; s < SAMPLES; s++) {
            sample[s] = rows[r].run(rows[r].n);
        }
        qsort(sample, SAMPLES, sizeof(sample[0]), by_size);
        printf("BENCH %s\t%.1f\n", rows[r].name, (double)sample[SAMPLES / 2] / rows[r].n);
    }
    printf("BENCH end\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "exit")) {
        return 0;
    }
    self = argv[0];
    bool first = getpid() == 1;
    if (first) {
        self = "/init";
        mkdir("/dev", 0755);
        mount("dev", "/dev", "devtmpfs", 0, NULL);
    }
    /* Large pages exist on the bare machine only: without them all systems do the same work. */
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    run_all();
    if (first) {
        sync();
        reboot(RB_POWER_OFF);
    }
    return 0;
}
