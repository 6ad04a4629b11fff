/* SPDX-License-Identifier: MIT */
/*
 * One guest as the console daemon serves it; see guest.h.
 *
 * All files are non-blocking but the log, which is an ordinary file. Names of log files come from
 * nodes only the control domain can write, and are tested nevertheless.
 */
#include "dom0-tools/console/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <xen/grant_table.h>

#include "dom0-tools/device/node.h"
#include "dom0-tools/storeclient/client.h"

#define INPUT_BYTES 1024u /* all that a ring holds */

/* As much of one guest at a time, so that its neighbours' turn comes. */
#define TURN_BYTES 16384u

/* A guest that writes is looked at by the clock, its channel masked: its events, one for every few
 * bytes, would cost more than its output. From look to look the ring should fill to the half; if it
 * was full, the guest has waited. */
#define LOOK_US_MIN 100u
#define LOOK_US_MAX 800u
#define RING_BYTES sizeof(((struct xencons_interface *)0)->out)

/* What one guest may have in each window: half a processor, 20 MiB a second. */
#define WINDOW_US 50000u
#define WINDOW_SPENT_US (WINDOW_US / 2)
#define WINDOW_BYTES (1u << 20)

/* A log grows to this size, then it becomes NAME.log.old and a new one is begun. */
#define LOG_BYTES_MAX (16u << 20)

#define LOG_PATH_BYTES 256

/* Time for readers of the terminal of a dead guest to take its last words. */
#define LAST_WORDS_US 2000000u

static bool name_is_file_name(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

static void log_path(const struct guest *guest, char path[LOG_PATH_BYTES])
{
    snprintf(path, LOG_PATH_BYTES, "%s/%s.log", guest->services->log_dir, guest->name);
}

static int open_log(struct guest *guest, struct err *err)
{
    char path[LOG_PATH_BYTES];
    struct stat status;

    if (mkdir(guest->services->log_dir, 0755) != 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "cannot make %s", guest->services->log_dir);
    }
    log_path(guest, path);
    guest->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (guest->log < 0) {
        return err_set_errno(err, errno, "cannot open %s", path);
    }
    guest->log_bytes = fstat(guest->log, &status) == 0 ? (uint64_t)status.st_size : 0;
    return 0;
}

/* Writes to the log, begun anew when it has become too long. A full disk loses the log, not the
 * console. */
static void write_log(struct guest *guest, const char *data, size_t bytes)
{
    char path[LOG_PATH_BYTES];
    char old[LOG_PATH_BYTES + 4];

    if (guest->log >= 0 && guest->log_bytes >= LOG_BYTES_MAX) {
        log_path(guest, path);
        snprintf(old, sizeof(old), "%s.old", path);
        close(guest->log);
        guest->log = -1;
        rename(path, old);
        open_log(guest, NULL);
    }
    while (guest->log >= 0 && bytes != 0) {
        ssize_t done = write(guest->log, data, bytes);

        if (done <= 0) {
            break;
        }
        data += done;
        bytes -= (size_t)done;
        guest->log_bytes += (uint64_t)done;
    }
}

static int open_terminal(struct guest *guest, const struct node *console, struct err *err)
{
    struct termios modes;
    char path[128];
    int rc;

    if (openpty(&guest->master, &guest->slave, NULL, NULL, NULL) != 0) {
        guest->master = -1;
        guest->slave = -1;
        return err_set_errno(err, errno, "no pseudo terminal");
    }
    if (tcgetattr(guest->slave, &modes) == 0) {
        cfmakeraw(&modes);
        tcsetattr(guest->slave, TCSANOW, &modes);
    }
    fcntl(guest->master, F_SETFL, O_NONBLOCK);
    fcntl(guest->master, F_SETFD, FD_CLOEXEC);
    fcntl(guest->slave, F_SETFD, FD_CLOEXEC);
    if (ttyname_r(guest->slave, path, sizeof(path)) != 0) {
        return err_set(err, EIO, "the pseudo terminal has no name");
    }
    rc = node_write(console, "tty", "%s", path);
    return rc != 0 ? err_set_errno(err, -rc, "cannot write %s/tty", console->path) : 0;
}

/* Maps the ring page: by the grant the builder made, or as the control domain may map anything. */
static int map_ring(struct guest *guest, uint64_t frame, struct err *err)
{
    const struct guest_services *services = guest->services;
    struct xencons_interface *page = NULL;
    xen_pfn_t pfn;

    if (services->grants != NULL) {
        page = xengnttab_map_grant_ref(services->grants, guest->domid, GNTTAB_RESERVED_CONSOLE,
                                       PROT_READ | PROT_WRITE);
        guest->by_grant = page != NULL;
    }
    if (page == NULL && services->memory != NULL) {
        pfn = frame;
        page = xenforeignmemory_map(services->memory, guest->domid, PROT_READ | PROT_WRITE, 1, &pfn,
                                    NULL);
    }
    if (page == NULL) {
        return err_set_errno(err, errno, "cannot map the console ring of domain %u", guest->domid);
    }
    console_ring_init(&guest->ring, page);
    return 0;
}

static void release_ring(struct guest *guest)
{
    if (guest->port >= 0) {
        xenevtchn_unbind(guest->services->events, (evtchn_port_t)guest->port);
        guest->port = -1;
    }
    if (guest->ring.page == NULL) {
        return;
    }
    if (guest->by_grant) {
        xengnttab_unmap(guest->services->grants, guest->ring.page, 1);
    } else {
        xenforeignmemory_unmap(guest->services->memory, guest->ring.page, 1);
    }
    guest->ring.page = NULL;
}

/* Where a guest's console is. */
struct place {
    uint64_t port;
    uint64_t frame;
};

/* Asks the store for name and place in one exchange. */
static int find_place(struct guest *guest, struct place *place, struct err *err)
{
    static const char *const names[3] = {"name", "console/port", "console/ring-ref"};
    char paths[3][64];
    const char *pointers[3] = {paths[0], paths[1], paths[2]};
    char *values[3];
    int rc = 0;

    for (int i = 0; i < 3; i++) {
        snprintf(paths[i], sizeof(paths[i]), "/local/domain/%u/%s", guest->domid, names[i]);
    }
    xs_read_many(guest->services->xs, pointers, 3, values);
    if (values[0] == NULL || strlen(values[0]) >= sizeof(guest->name) ||
        !name_is_file_name(values[0]) || node_number(values[1], &place->port) != 0 ||
        node_number(values[2], &place->frame) != 0) {
        rc = err_set(err, ENOENT, "no name, port or ring yet");
    } else {
        memcpy(guest->name, values[0], strlen(values[0]) + 1);
    }
    for (int i = 0; i < 3; i++) {
        free(values[i]);
    }
    return rc;
}

int guest_open(const struct guest_services *services, uint32_t domid, struct guest **out,
               struct err *err)
{
    struct node console = node_at(services->xs, XBT_NULL, "/local/domain/%u/console", domid);
    struct guest *guest = calloc(1, sizeof(*guest));
    struct place place = {0};
    char path[128];
    int rc;

    *out = NULL;
    if (guest == NULL) {
        return err_set(err, ENOMEM, "out of memory");
    }
    guest->services = services;
    guest->domid = domid;
    guest->port = -1;
    guest->log = -1;
    guest->master = -1;
    guest->slave = -1;
    guest->backlog = malloc(GUEST_BACKLOG_BYTES);
    if (guest->backlog == NULL) {
        rc = err_set(err, ENOMEM, "out of memory");
        goto undo;
    }
    rc = find_place(guest, &place, err);
    if (rc == 0) {
        rc = map_ring(guest, place.frame, err);
    }
    if (rc == 0) {
        rc = open_log(guest, err);
    }
    if (rc != 0) {
        goto undo;
    }
    guest->port = xenevtchn_bind_interdomain(services->events, domid, (evtchn_port_t)place.port);
    if (guest->port < 0) {
        rc = err_set_errno(err, errno, "cannot bind the console's event channel");
        goto undo;
    }
    /* The terminal's name in the store says that all is there. */
    snprintf(path, sizeof(path), "%s/" GUEST_SOCKET, services->run_dir, domid);
    rc = readers_open(path, &guest->readers, err);
    rc = rc != 0 ? rc : open_terminal(guest, &console, err);
    if (rc != 0) {
        goto undo;
    }
    guest->step_us = LOOK_US_MIN;
    guest->active = true; /* there may be output from before */
    *out = guest;
    return 0;

undo:
    guest_close(guest);
    return rc;
}

/* Adds output for the terminal, dropping the oldest when there is too much. */
static void backlog_add(struct guest *guest, const char *data, size_t bytes)
{
    size_t over = guest->backlog_bytes + bytes;

    over = over > GUEST_BACKLOG_BYTES ? over - GUEST_BACKLOG_BYTES : 0;
    guest->backlog_start = (guest->backlog_start + over) % GUEST_BACKLOG_BYTES;
    guest->backlog_bytes -= over;
    while (bytes != 0) {
        size_t end = (guest->backlog_start + guest->backlog_bytes) % GUEST_BACKLOG_BYTES;
        size_t part = GUEST_BACKLOG_BYTES - end < bytes ? GUEST_BACKLOG_BYTES - end : bytes;

        memcpy(guest->backlog + end, data, part);
        guest->backlog_bytes += part;
        data += part;
        bytes -= part;
    }
}

void guest_flush(struct guest *guest)
{
    while (guest->master >= 0 && guest->backlog_bytes != 0) {
        size_t part = GUEST_BACKLOG_BYTES - guest->backlog_start;
        ssize_t done;

        if (part > guest->backlog_bytes) {
            part = guest->backlog_bytes;
        }
        done = write(guest->master, guest->backlog + guest->backlog_start, part);
        if (done <= 0) {
            break;
        }
        guest->backlog_start = (guest->backlog_start + (size_t)done) % GUEST_BACKLOG_BYTES;
        guest->backlog_bytes -= (size_t)done;
    }
}

/* Empties the ring, up to `room` bytes and no more than a turn's. Returns: how many. */
static size_t drain_ring(struct guest *guest, size_t room)
{
    char data[TURN_BYTES];
    bool waiting = guest->backlog_bytes != 0; /* the terminal will say when it has room */
    size_t bytes = 0;
    size_t got;

    room = room < sizeof(data) ? room : sizeof(data);
    while (bytes < room &&
           (got = console_ring_read(&guest->ring, data + bytes, room - bytes)) != 0) {
        bytes += got;
    }
    if (bytes != 0) {
        xenevtchn_notify(guest->services->events, (evtchn_port_t)guest->port);
        write_log(guest, data, bytes);
        backlog_add(guest, data, bytes);
        if (!waiting) {
            guest_flush(guest);
        }
        readers_output(guest->readers, data, bytes);
    }
    return bytes;
}

static uint64_t processor_us(void)
{
    struct timespec used;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

/* Whether the guest has had its share of this window; it then waits for the next. */
static bool had_its_share(struct guest *guest, uint64_t now)
{
    if (now - guest->window_us >= WINDOW_US) {
        guest->window_us = now;
        guest->window_spent = 0;
        guest->window_bytes = 0;
    }
    if (guest->window_spent < WINDOW_SPENT_US && guest->window_bytes < WINDOW_BYTES) {
        return false;
    }
    guest->look_us = guest->window_us + WINDOW_US;
    return true;
}

/* When the next look is due after one that has found so much. */
static uint64_t next_look(struct guest *guest, size_t taken, uint64_t now)
{
    if (taken == TURN_BYTES) {
        return now;
    }
    if (taken >= RING_BYTES) {
        guest->step_us = LOOK_US_MIN;
    } else if (taken < RING_BYTES / 2 && guest->step_us < LOOK_US_MAX) {
        guest->step_us *= 2;
    }
    return now + guest->step_us;
}

void guest_turn(struct guest *guest, uint64_t now)
{
    uint64_t before = processor_us();
    size_t room;
    size_t taken;

    if (guest->dead || had_its_share(guest, now)) {
        return;
    }
    room = readers_room(guest->readers, now);
    taken = drain_ring(guest, room);
    guest->look_us = next_look(guest, taken, now);
    if (taken == 0 && room != 0) {
        guest->active = false;
        xenevtchn_unmask(guest->services->events, (evtchn_port_t)guest->port);
    }
    if (guest->input_held) {
        guest_input(guest);
    }
    guest->window_bytes += taken;
    guest->window_spent += processor_us() - before;
}

void guest_event(struct guest *guest, uint64_t now)
{
    guest->active = true;
    guest->look_us = now;
    guest->step_us = LOOK_US_MIN;
    guest_input(guest); /* it may have taken some */
}

/* Bytes of input that fit. Room only grows while we look, so what fits now is what may be read. */
static size_t input_room(const struct guest *guest)
{
    uint32_t used;

    if (guest->dead || !console_ring_writable(&guest->ring)) {
        return 0;
    }
    used = guest->ring.in_prod - __atomic_load_n(&guest->ring.page->in_cons, __ATOMIC_ACQUIRE);
    return used < INPUT_BYTES ? INPUT_BYTES - used : 0;
}

static void give_input(struct guest *guest, const char *data, size_t bytes)
{
    console_ring_write(&guest->ring, data, bytes);
    xenevtchn_notify(guest->services->events, (evtchn_port_t)guest->port);
}

void guest_input(struct guest *guest)
{
    char data[INPUT_BYTES];
    size_t room;

    guest->input_held = false;
    while (guest->master >= 0 && (room = input_room(guest)) != 0) {
        ssize_t got = read(guest->master, data, room);

        if (got <= 0) {
            break;
        }
        give_input(guest, data, (size_t)got);
    }
    guest_readers(guest);
}

void guest_readers(struct guest *guest)
{
    char data[INPUT_BYTES];
    size_t room = input_room(guest);
    size_t typed = readers_run(guest->readers, data, room);

    guest->input_held = guest->input_held || room == 0;
    if (typed != 0) {
        give_input(guest, data, typed);
    }
}

void guest_died(struct guest *guest, uint64_t now)
{
    if (guest->dead) {
        return;
    }
    drain_ring(guest, TURN_BYTES);
    guest->dead = true;
    guest->close_us = now + LAST_WORDS_US;
    guest->active = false;
    release_ring(guest);
    guest_flush(guest);
    readers_finish(guest->readers);
}

bool guest_finished(struct guest *guest, uint64_t now)
{
    int unread = 0;
    bool all_read;

    if (!guest->dead) {
        return false;
    }
    guest_flush(guest);
    all_read = readers_finish(guest->readers);
    if (now >= guest->close_us) {
        return true;
    }
    return all_read && guest->backlog_bytes == 0 &&
           (ioctl(guest->slave, FIONREAD, &unread) != 0 || unread == 0);
}

void guest_close(struct guest *guest)
{
    release_ring(guest);
    readers_close(guest->readers);
    if (guest->log >= 0) {
        close(guest->log);
    }
    if (guest->master >= 0) {
        close(guest->master);
    }
    if (guest->slave >= 0) {
        close(guest->slave);
    }
    free(guest->backlog);
    free(guest);
}
