/* SPDX-License-Identifier: MIT */
/*
 * A target without libFuzzer. Every kept input is a case, played in a child process; then a child
 * plays mutations of them, each made from the seed and its number alone. The input under way is in
 * shared memory, so that it is there when the child is not.
 *
 *   NAME                        seeds/NAME, found/NAME, then 2 s of a fresh seed
 *   NAME SEED=s SECONDS=n       mutations only
 *   NAME SEED=s FIRST=i COUNT=n those from number i on
 *   NAME FILE...                replay
 *
 * What is found is written to build/fuzz/NAME/.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "args.h"
#include "fuzz.h"

#define INPUT_MAX 65536
#define POOL_MAX 512
#define DEFAULT_SECONDS 2
#define CPU_SECONDS 60 /* of one input; of the processor, whatever else it does */
#define AT_ONCE 64     /* inputs between two looks at the clock */

struct input {
    size_t bytes;
    uint8_t data[INPUT_MAX];
};

static struct shared {
    uint64_t played;
    struct input input;
} * shared;

static struct input *pool[POOL_MAX];
static char pool_name[POOL_MAX][512];
static size_t pool_count;

/* ---- inputs ---- */

static uint64_t random_state;

static uint64_t random64(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static size_t below(size_t end)
{
    return end ? random64() % end : 0;
}

static struct input *input_load(const char *path)
{
    struct input *in = calloc(1, sizeof(*in));
    FILE *f = fopen(path, "rb");
    if (in == NULL || f == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    in->bytes = fread(in->data, 1, INPUT_MAX, f);
    fclose(f);
    return in;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void pool_add(const char *folder)
{
    struct dirent **list;
    int n = scandir(folder, &list, NULL, by_name);
    for (int i = 0; i < n; i++) {
        if (list[i]->d_name[0] != '.' && pool_count < POOL_MAX) {
            char *path = pool_name[pool_count];
            snprintf(path, sizeof(pool_name[0]), "%s/%s", folder, list[i]->d_name);
            pool[pool_count++] = input_load(path);
        }
        free(list[i]);
    }
    if (n >= 0) {
        free(list);
    }
}

static void splice(struct input *in, const uint8_t *from, size_t bytes, size_t max)
{
    size_t at = below(in->bytes + 1);
    bytes = bytes < max - in->bytes ? bytes : max - in->bytes;
    memmove(in->data + at + bytes, in->data + at, in->bytes - at);
    memcpy(in->data + at, from, bytes);
    in->bytes += bytes;
}

static void overwrite(struct input *in)
{
    static const uint64_t values[] = {0,          1,          ~0ULL,      0x7f,      0x80,
                                      0xff,       0x7fff,     0x8000,     0xffff,    0x7fffffff,
                                      0x80000000, 0xffffffff, 1ULL << 47, 1ULL << 63};
    size_t width = (size_t)1 << below(4);
    if (in->bytes >= width) {
        size_t at = below(in->bytes - width + 1);
        uint64_t value, old = 0;
        memcpy(&old, in->data + at, width);
        value = below(3) ? values[below(sizeof(values) / sizeof(values[0]))]
                         : old + random64() % 35 - 17;
        memcpy(in->data + at, &value, width);
    }
}

/* The number written in digits at or behind a place, one more or one less. */
static void count_on(struct input *in)
{
    size_t at = below(in->bytes);
    while (at < in->bytes && (in->data[at] < '0' || in->data[at] > '9')) {
        at++;
    }
    while (at + 1 < in->bytes && in->data[at + 1] >= '0' && in->data[at + 1] <= '9') {
        at++;
    }
    if (at < in->bytes) {
        in->data[at] = (uint8_t)(in->data[at] + (below(2) ? 1 : -1));
    }
}

static void mutate_once(struct input *in, size_t max)
{
    uint8_t bytes[32];
    size_t at = below(in->bytes), n = 1 + below(sizeof(bytes));
    const struct input *other = pool[below(pool_count)];
    switch (below(9)) {
    case 0:
        in->data[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        in->data[at] = (uint8_t)random64();
        break;
    case 2:
    case 3:
        overwrite(in);
        break;
    case 4: /* leave some out */
        n = n < in->bytes - at ? n : in->bytes - at;
        memmove(in->data + at, in->data + at + n, in->bytes - at - n);
        in->bytes -= n;
        break;
    case 5: /* something new */
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (uint8_t)random64();
        }
        splice(in, bytes, n, max);
        break;
    case 6: /* a piece of itself again */
        n = n < in->bytes - at ? n : in->bytes - at;
        memcpy(bytes, in->data + at, n);
        splice(in, bytes, n, max);
        break;
    case 7:
        count_on(in);
        break;
    default: /* a piece of another */
        at = below(other->bytes);
        splice(in, other->data + at, below(other->bytes - at + 1), max);
    }
}

/* Input number nr of a seed. */
static void make_input(struct input *in, uint64_t seed, uint64_t nr)
{
    size_t max = fuzz_max_bytes < INPUT_MAX ? fuzz_max_bytes : INPUT_MAX;
    random_state = seed * 0x2545f4914f6cdd1d + nr;
    const struct input *from = pool[below(pool_count)];
    in->bytes = from->bytes < max ? from->bytes : max;
    memcpy(in->data, from->data, in->bytes);
    for (size_t n = (size_t)1 << below(5); n-- > 0;) {
        mutate_once(in, max);
    }
}

/* ---- playing ---- */

static void play(void)
{
    const struct itimerval limit = {.it_value.tv_sec = CPU_SECONDS};
    setitimer(ITIMER_PROF, &limit, NULL);
    fuzz_one(shared->input.data, shared->input.bytes);
    shared->played++;
}

static void play_mutations(uint64_t seed, uint64_t first, uint64_t count, double seconds)
{
    double end = args_now() + seconds;
    for (uint64_t nr = 0; count ? nr < count : nr % AT_ONCE || nr == 0 || args_now() < end; nr++) {
        make_input(&shared->input, seed, first + nr);
        play();
    }
}

static void keep(const char *what)
{
    char path[300];
    mkdir("build", 0777);
    mkdir("build/fuzz", 0777);
    mkdir("build/fuzz/" FUZZ_NAME, 0777);
    snprintf(path, sizeof(path), "build/fuzz/" FUZZ_NAME "/%s", what);
    FILE *f = fopen(path, "wb");
    if (f) {
        fwrite(shared->input.data, 1, shared->input.bytes, f);
        fclose(f);
        printf("the input is in %s\n", path);
    }
}

/* True: the child ended well. An exit by exit(), so that leaks are looked for. */
static bool ended_well(pid_t child, const char *what)
{
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return true;
    }
    printf("%s: %s %d after %lu inputs\n", what, WIFSIGNALED(status) ? "signal" : "exit status",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
           (unsigned long)shared->played);
    return false;
}

static bool replay(const struct input *in, const char *name)
{
    fflush(stdout);
    shared->played = 0;
    shared->input = *in;
    pid_t child = fork();
    if (child == 0) {
        play();
        exit(0);
    }
    return ended_well(child, name);
}

static bool mutations(uint64_t seed, uint64_t first, uint64_t count, double seconds)
{
    double start = args_now();
    fflush(stdout);
    shared->played = 0;
    pid_t child = fork();
    if (child == 0) {
        play_mutations(seed, first, count, seconds);
        exit(0);
    }
    bool good = ended_well(child, FUZZ_NAME);
    if (!good) {
        char what[64];
        snprintf(what, sizeof(what), "seed-%lu-%lu", (unsigned long)seed,
                 (unsigned long)(first + shared->played));
        keep(what);
    }
    printf("seed %lu: %lu inputs of %s in %.1f s, %s\n", (unsigned long)seed,
           (unsigned long)shared->played, FUZZ_NAME, args_now() - start,
           good ? "nothing found" : "a find");
    return good;
}

int main(int argc, char **argv)
{
    unsigned long seed = args_fresh_seed();
    unsigned long seconds = DEFAULT_SECONDS, first = 0, count = 0;
    bool good = true, files = false;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        return 2;
    }
    fuzz_start();
    pool_add("tests/fuzz/seeds/" FUZZ_NAME);
    pool_add("tests/fuzz/found/" FUZZ_NAME);
    if (pool_count == 0) {
        fprintf(stderr, "no seeds: run from the top of the repo\n");
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        if (!args_number(argv[i], "SEED=", &seed) && !args_number(argv[i], "SECONDS=", &seconds) &&
            !args_number(argv[i], "FIRST=", &first) && !args_number(argv[i], "COUNT=", &count)) {
            struct input *in = input_load(argv[i]);
            good &= replay(in, argv[i]);
            free(in);
            files = true;
        }
    }
    if (argc > 1) {
        return !(files ? good : mutations(seed, first, count, (double)seconds));
    }
    unsigned failed = 0;
    for (size_t i = 0; i < pool_count; i++) {
        failed += !replay(pool[i], pool_name[i]);
    }
    failed += !mutations(seed, 0, 0, (double)seconds);
    /* The form of a CUnit summary, which the runner of all tests reads. */
    unsigned cases = (unsigned)pool_count + 1;
    printf("%20s %6u %6u %6u %6u\n", "tests", cases, cases, cases - failed, failed);
    return failed != 0;
}
