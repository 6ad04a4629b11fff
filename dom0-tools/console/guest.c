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
#include <unistd.h>

#include <xen/grant_table.h>

#include "dom0-tools/device/node.h"

#define CHUNK_BYTES 2048u
#define INPUT_BYTES 1024u /* all that a ring holds */

/* A log grows to this size, then it becomes NAME.log.old and a new one is begun. */
#define LOG_BYTES_MAX (16u << 20)

/* More events than this in an interval, and the guest waits for the interval's end. */
#define BURST_EVENTS_MAX 60u
#define BURST_INTERVAL_MS 200u

/* Time for readers of the terminal of a dead guest to take its last words. */
#define LAST_WORDS_MS 2000u

static bool name_is_file_name(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

static int open_log(struct guest *guest, struct err *err)
{
    char path[256];
    struct stat status;

    if (mkdir(GUEST_LOG_DIR, 0755) != 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "cannot make %s", GUEST_LOG_DIR);
    }
    snprintf(path, sizeof(path), GUEST_LOG_DIR "/%s.log", guest->name);
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
    char path[256];
    char old[264];

    if (guest->log >= 0 && guest->log_bytes > LOG_BYTES_MAX) {
        snprintf(path, sizeof(path), GUEST_LOG_DIR "/%s.log", guest->name);
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
static int map_ring(struct guest *guest, const struct node *console, struct err *err)
{
    const struct guest_services *services = guest->services;
    struct xencons_interface *page = NULL;
    uint64_t frame;
    xen_pfn_t pfn;
    int rc = node_read_number(console, "ring-ref", &frame);

    if (rc != 0) {
        return err_set(err, ENOENT, "no ring yet");
    }
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

int guest_open(const struct guest_services *services, uint32_t domid, struct guest **out,
               struct err *err)
{
    struct node home = node_at(services->xs, XBT_NULL, "/local/domain/%u", domid);
    struct node console = node_at(services->xs, XBT_NULL, "/local/domain/%u/console", domid);
    struct guest *guest = calloc(1, sizeof(*guest));
    uint64_t port = 0;
    char path[64];
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
    if (node_read(&home, "name", guest->name, sizeof(guest->name)) != 0 ||
        node_read_number(&console, "port", &port) != 0 || !name_is_file_name(guest->name)) {
        rc = err_set(err, ENOENT, "no name or port yet");
        goto undo;
    }
    rc = map_ring(guest, &console, err);
    if (rc == 0) {
        rc = open_log(guest, err);
    }
    if (rc != 0) {
        goto undo;
    }
    guest->port = xenevtchn_bind_interdomain(services->events, domid, (evtchn_port_t)port);
    if (guest->port < 0) {
        rc = err_set_errno(err, errno, "cannot bind the console's event channel");
        goto undo;
    }
    /* The terminal's name in the store says that all is there. */
    snprintf(path, sizeof(path), GUEST_SOCKET, domid);
    rc = readers_open(path, &guest->readers, err);
    rc = rc != 0 ? rc : open_terminal(guest, &console, err);
    if (rc != 0) {
        goto undo;
    }
    *out = guest;
    return 0;

undo:
    guest_close(guest);
    return rc;
}

/* Adds output for the terminal, dropping the oldest when there is too much. */
static void backlog_add(struct guest *guest, const char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        size_t end = (guest->backlog_start + guest->backlog_bytes) % GUEST_BACKLOG_BYTES;

        guest->backlog[end] = data[i];
        if (guest->backlog_bytes < GUEST_BACKLOG_BYTES) {
            guest->backlog_bytes++;
        } else {
            guest->backlog_start = (guest->backlog_start + 1) % GUEST_BACKLOG_BYTES;
        }
    }
}

/* Hands the backlog to the terminal for as long as it takes it. */
static void backlog_flush(struct guest *guest)
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

/* Empties the ring once: at most what it held at the start, so a guest that writes without end
 * does not keep the daemon here. */
static void drain_ring(struct guest *guest)
{
    char data[CHUNK_BYTES];
    size_t bytes = console_ring_read(&guest->ring, data, sizeof(data));

    if (bytes != 0) {
        xenevtchn_notify(guest->services->events, (evtchn_port_t)guest->port);
        write_log(guest, data, bytes);
        backlog_add(guest, data, bytes);
        readers_output(guest->readers, data, bytes);
    }
}

void guest_output(struct guest *guest, uint64_t now_ms)
{
    if (guest->masked && now_ms >= guest->unmask_ms) {
        guest->masked = false;
        xenevtchn_unmask(guest->services->events, (evtchn_port_t)guest->port);
    }
    if (!guest->dead && !guest->masked) {
        drain_ring(guest);
    }
    backlog_flush(guest);
}

void guest_event(struct guest *guest, uint64_t now_ms)
{
    if (now_ms - guest->burst_ms >= BURST_INTERVAL_MS) {
        guest->burst_ms = now_ms;
        guest->burst = 0;
    }
    if (++guest->burst > BURST_EVENTS_MAX) {
        guest->masked = true;
        guest->unmask_ms = guest->burst_ms + BURST_INTERVAL_MS;
        return;
    }
    xenevtchn_unmask(guest->services->events, (evtchn_port_t)guest->port);
    guest_output(guest, now_ms);
    guest_input(guest);
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
    size_t typed = readers_run(guest->readers, data, input_room(guest));

    if (typed != 0) {
        give_input(guest, data, typed);
    }
}

void guest_died(struct guest *guest, uint64_t now_ms)
{
    if (guest->dead) {
        return;
    }
    drain_ring(guest);
    guest->dead = true;
    guest->close_ms = now_ms + LAST_WORDS_MS;
    guest->masked = false;
    release_ring(guest);
    backlog_flush(guest);
    readers_finish(guest->readers);
}

bool guest_finished(struct guest *guest, uint64_t now_ms)
{
    int unread = 0;
    bool all_read;

    if (!guest->dead) {
        return false;
    }
    backlog_flush(guest);
    all_read = readers_finish(guest->readers);
    if (now_ms >= guest->close_ms) {
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
