/* SPDX-License-Identifier: MIT */
/*
 * ticks [-l LOG TEXT] COMMAND [ARGUMENT...]: runs a command and prints the ticks of the time-stamp
 * counter until it has ended; with -l also those until TEXT stands in the file LOG, which the
 * command makes come to be. Under QEMU's -icount the ticks are instructions, those of whoever else
 * ran meanwhile included. Exit status: that of the command.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#define LIMIT_MS 600000
#define LOG_BYTES 65536

extern char **environ;

static bool stands_in(const char *log, const char *text)
{
    static char data[LOG_BYTES];
    int fd = open(log, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, data, sizeof(data)) : 0;

    if (fd >= 0) {
        close(fd);
    }
    return got > 0 && memmem(data, (size_t)got, text, strlen(text)) != NULL;
}

/* Returns: whether it came in time. */
static bool wait_for(int changes, const char *log, const char *text)
{
    struct pollfd ready = {.fd = changes, .events = POLLIN};
    char events[4096];

    while (!stands_in(log, text)) {
        if (poll(&ready, 1, LIMIT_MS) != 1 || read(changes, events, sizeof(events)) <= 0) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    const char *log = argc > 4 && !strcmp(argv[1], "-l") ? argv[2] : NULL;
    const char *text = log ? argv[3] : NULL;
    char **command = log ? argv + 4 : argv + 1;
    int changes = inotify_init1(IN_CLOEXEC);
    int status = 0;
    pid_t child;

    if (argc < 2) {
        return 2;
    }
    if (log) {
        char folder[256];

        snprintf(folder, sizeof(folder), "%s", log);
        if (inotify_add_watch(changes, dirname(folder), IN_MODIFY | IN_CREATE) < 0) {
            perror(folder);
            return 2;
        }
    }

    uint64_t start = __rdtsc();

    if (posix_spawnp(&child, command[0], NULL, NULL, command, environ) != 0 ||
        waitpid(child, &status, 0) != child) {
        perror(command[0]);
        return 2;
    }

    uint64_t returned = __rdtsc() - start;

    if (log && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        if (!wait_for(changes, log, text)) {
            fprintf(stderr, "ticks: no '%s' in %s\n", text, log);
            return 3;
        }
        printf("%llu %llu\n", (unsigned long long)returned,
               (unsigned long long)(__rdtsc() - start));
    } else {
        printf("%llu\n", (unsigned long long)returned);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}
