// SPDX-License-Identifier: MIT
/*
 * The checker as a program. Each run of steps is a child process of its own, so that it always
 * starts from the same machine and a crash is only a finding; the steps are in shared memory.
 *
 *   check                                  replay tests/model/cases, then 10 s of a fresh seed
 *   check SECONDS=n [SEED=s] [STEPS=n]     runs of STEPS steps with seeds s, s+1, ...
 *   check SEED=s STEPS=n                   one such run
 *   check ... PREEMPT=n                    n percent of the steps are interrupted, not 35
 *   check FILE...                          replay
 *
 * A failing run is shrunk and written to OUT=file (tests/model/cases/found.steps).
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "args.h"
#include "model.h"

#define CASES "tests/model/cases"
#define STEPS_MAX 20000
#define CLASS_BYTES 160
#define RUN_SECONDS 60

static struct shared {
    unsigned count, played;
    struct step step[STEPS_MAX];
} * run;

static uint64_t total_steps;
static unsigned long preempt = 35; /* percent of the steps that are interrupted */

/* The leak checker calls sched_yield(), which is the hypervisor's here. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

/* Only there in a coverage build: writes what this process has counted, which _exit() does not. */
void __gcov_dump(void) __attribute__((weak));

/* ---- one run ---- */

static void play_list(void)
{
    world_start();
    for (run->played = 0; run->played < run->count;) {
        world_play(&run->step[run->played++]);
        oracle_check();
    }
    world_end();
}

static void play_random(uint64_t seed, unsigned steps)
{
    gen_seed(seed, (unsigned)preempt);
    world_start();
    while (run->count < steps) {
        gen_step(&run->step[run->count]);
        run->played = ++run->count;
        world_play(&run->step[run->count - 1]);
        oracle_check();
    }
    world_end();
}

static void read_back(int fd, char *text, size_t bytes)
{
    ssize_t got = pread(fd, text, bytes - 1, 0);
    text[got > 0 ? got : 0] = 0;
}

static void copy_line(char *out, const char *from, const char *stop)
{
    size_t n = strcspn(from, stop);
    n = n < CLASS_BYTES - 1 ? n : CLASS_BYTES - 1;
    memcpy(out, from, n);
    out[n] = 0;
}

/* What kind of failure it was: shrinking must not turn one into another. */
static void classify(int status, const char *text, char *class)
{
    const char *at;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3) {
        copy_line(class, text, ":");
    } else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        strcpy(class, "hang");
    } else if ((at = strstr(text, "hypervisor ended"))) {
        copy_line(class, at, "\n");
    } else if ((at = strstr(text, "ERROR: ")) || (at = strstr(text, "runtime error: "))) {
        copy_line(class, at, "(\n");
    } else {
        strcpy(class, "crash");
    }
}

/* 0: nothing found. Otherwise class says what, text what the child printed. */
static int in_child(uint64_t seed, unsigned steps, bool random, char *class, char *text,
                    size_t bytes)
{
    int fd = memfd_create("stderr", 0), status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(fd, STDERR_FILENO);
        alarm(RUN_SECONDS);
        if (random) {
            play_random(seed, steps);
        } else {
            play_list();
        }
        if (__gcov_dump) {
            __gcov_dump();
        }
        _exit(0);
    }
    waitpid(child, &status, 0);
    total_steps += run->played;
    int rc = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (rc) {
        read_back(fd, text, bytes);
        classify(status, text, class);
    }
    close(fd);
    return rc;
}

/* ---- shrinking ---- */

static struct step best[STEPS_MAX];
static unsigned best_count;

static bool still_fails(const char *class)
{
    char now[CLASS_BYTES], text[4096];
    return in_child(0, 0, false, now, text, sizeof(text)) && !strcmp(now, class);
}

static void keep(void)
{
    best_count = run->played < run->count ? run->played : run->count;
    memcpy(best, run->step, best_count * sizeof(best[0]));
}

static void restore(void)
{
    run->count = best_count;
    memcpy(run->step, best, best_count * sizeof(best[0]));
}

static bool drop_chunks(const char *class, unsigned chunk)
{
    bool dropped = false;
    for (unsigned at = 0; at < best_count;) {
        unsigned n = chunk < best_count - at ? chunk : best_count - at;
        restore();
        memmove(&run->step[at], &run->step[at + n], (best_count - at - n) * sizeof(best[0]));
        run->count -= n;
        if (still_fails(class)) {
            keep();
            dropped = true;
        } else {
            at += n;
        }
    }
    return dropped;
}

/* One step made simpler in one way; false: there is no such way. */
static bool simpler(struct step *s, unsigned way)
{
    unsigned unit = s->op == STEP_mmu ? 5 : s->op == STEP_ext ? 3 : 0;
    unsigned fixed = s->op == STEP_mmu ? 2 : 1;
    switch (way) {
    case 0:
        if (!s->fail) {
            return false;
        }
        s->fail = 0;
        return true;
    case 1:
        if (!s->preempt && !s->lazy) {
            return false;
        }
        s->preempt = s->lazy = 0;
        return true;
    default:
        /* one request fewer */
        if (!unit || fixed + (way - 1U) * unit > s->count || s->count < fixed + 2 * unit) {
            return false;
        }
        unsigned at = fixed + (way - 2U) * unit;
        memmove(&s->arg[at], &s->arg[at + unit], (s->count - at - unit) * sizeof(s->arg[0]));
        s->count = (uint8_t)(s->count - unit);
        return true;
    }
}

static void simplify(const char *class)
{
    for (unsigned i = 0; i < best_count; i++) {
        for (unsigned way = 0; way < 8; way++) {
            restore();
            if (simpler(&run->step[i], way) && still_fails(class)) {
                keep();
            }
        }
    }
}

static void shrink(const char *class)
{
    keep();
    for (unsigned chunk = best_count / 2; chunk > 0; chunk /= 2) {
        while (drop_chunks(class, chunk) && chunk == 1) {
        }
    }
    simplify(class);
    drop_chunks(class, 1);
    restore();
}

/* ---- files ---- */

static void write_steps(FILE *f, const char *text)
{
    char line[512];
    copy_line(line, text, "\n");
    fprintf(f, "# %s\n", line);
    for (unsigned i = 0; i < run->count; i++) {
        step_print(&run->step[i], line, sizeof(line));
        fprintf(f, "%s\n", line);
    }
}

static bool read_steps(const char *path)
{
    char line[512];
    FILE *f = fopen(path, "r");
    if (!f) {
        perror(path);
        return false;
    }
    run->count = 0;
    bool ok = true;
    while (ok && fgets(line, sizeof(line), f)) {
        if (line[0] != '#' && line[0] != '\n') {
            ok = run->count < STEPS_MAX && step_parse(line, &run->step[run->count++]);
        }
    }
    fclose(f);
    if (!ok) {
        fprintf(stderr, "%s: bad step: %s", path, line);
    }
    return ok && run->count;
}

static int replay(const char *path)
{
    char class[CLASS_BYTES], text[4096];
    if (!read_steps(path)) {
        return 1;
    }
    if (in_child(0, 0, false, class, text, sizeof(text))) {
        printf("%s: fails: %s\n", path, text);
        return 1;
    }
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_case(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && !strcmp(dot, ".steps");
}

/* ---- the whole ---- */

static void report(uint64_t seed, const char *class, const char *text, const char *out)
{
    printf("seed %lu, step %u: %s\n", (unsigned long)seed, run->played, text);
    shrink(class);
    char again[CLASS_BYTES], last[4096] = "";
    if (!in_child(0, 0, false, again, last, sizeof(last))) {
        restore();
    }
    printf("%u steps are enough:\n", run->count);
    write_steps(stdout, last);
    FILE *f = fopen(out, "w");
    if (f) {
        write_steps(f, last);
        fclose(f);
        printf("written to %s\n", out);
    }
}

static int random_runs(uint64_t seed, unsigned steps, double seconds, const char *out)
{
    char class[CLASS_BYTES], text[4096];
    double start = args_now();
    unsigned runs = 0;
    uint64_t first = seed;
    do {
        run->count = run->played = 0;
        if (in_child(seed, steps, true, class, text, sizeof(text))) {
            report(seed, class, text, out);
            return 1;
        }
        seed++;
        runs++;
    } while (args_now() - start < seconds);
    printf("seed %lu: %u runs, %lu steps in %.1f s, nothing found\n", (unsigned long)first, runs,
           (unsigned long)total_steps, args_now() - start);
    return 0;
}

static int replay_all(unsigned *count)
{
    struct dirent **list;
    int n = scandir(CASES, &list, is_case, by_name), failed = 0;
    for (int i = 0; i < n; i++) {
        char path[512];
        snprintf(path, sizeof(path), CASES "/%s", list[i]->d_name);
        failed += replay(path);
        free(list[i]);
    }
    if (n > 0) {
        free(list);
    }
    *count = n > 0 ? (unsigned)n : 0;
    return failed;
}

int main(int argc, char **argv)
{
    unsigned long seed = args_fresh_seed();
    unsigned long steps = 400, seconds = 0;
    const char *out = CASES "/found.steps";
    int failed = 0, files = 0;
    run = mmap(NULL, sizeof(*run), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (run == MAP_FAILED) {
        return 1;
    }
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "OUT=", 4)) {
            out = argv[i] + 4;
        } else if (!args_number(argv[i], "SEED=", &seed) &&
                   !args_number(argv[i], "STEPS=", &steps) &&
                   !args_number(argv[i], "SECONDS=", &seconds) &&
                   !args_number(argv[i], "PREEMPT=", &preempt)) {
            failed += replay(argv[i]);
            files++;
        }
    }
    if (files) {
        return failed != 0;
    }
    steps = steps < STEPS_MAX ? steps : STEPS_MAX;
    if (argc > 1) {
        return random_runs(seed, (unsigned)steps, (double)seconds, out);
    }
    unsigned cases;
    failed = replay_all(&cases);
    int found = random_runs(seed, (unsigned)steps, 10, out);
    /* The form of a CUnit summary, which the runner of all tests reads. */
    printf("%20s %6u %6u %6u %6u\n", "tests", cases + 1, cases + 1,
           cases + 1 - (unsigned)(failed + found), (unsigned)(failed + found));
    return failed || found;
}
