/* SPDX-License-Identifier: MIT */
/*
 * The store's client: the functions of <xenstore.h> that our programs use, over the daemon's
 * socket.
 *
 * Debian's libxenstore asks one question after the other and takes a process switch each way for
 * every part of a message. Here a message is sent in one piece, and what changes the store within a
 * transaction is not waited for: its answers are read together, and what failed makes the end of
 * the transaction fail. Callers see two differences: such a change reports success where the
 * failure comes later, and a daemon that does not run is an error at once.
 *
 * A handle belongs to one thread. What has come is received in one piece, too; events that arrive
 * with an answer are kept, and a descriptor to poll for them (xs_fileno) is made when somebody asks
 * for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>
#include <xenstore.h>

#include <xen/io/xs_wire.h>

#include "dom0-tools/storeclient/client.h"

#define SOCKET_PATH "/run/xenstored/socket"
#define OUT_BYTES 16384u
/* Received at once: the answers to some hundred changes. */
#define IN_BYTES 4096u
/* Answers to this many requests fit into a socket's buffer, so sending never waits for reading. */
#define POSTED_MAX 128u

/* A watch event as callers get it: two pointers and what they point to. */
struct event {
    struct event *next;
    char **vector; /* to be freed by the caller of xs_check_watch() */
};

struct message {
    uint32_t type;
    uint32_t transaction;
    char *body; /* ends in a NUL that does not count */
    uint32_t bytes;
};

struct xs_handle {
    int fd; /* -1 when the daemon has gone */
    int poll_fd, event_fd;
    bool together;       /* between xs_together_begin() and its end */
    unsigned int posted; /* requests whose answers have not been read */
    int posted_error;    /* errno of the first that failed */
    struct event *events, **events_end;
    size_t in_at, in_end; /* received and not yet read, of `in` */
    size_t out_bytes;
    char in[IN_BYTES];
    char out[OUT_BYTES];
};

/* --- bytes ------------------------------------------------------------------------------- */

/* The daemon has gone or talks nonsense: nothing more is possible. */
static void hang_up(struct xs_handle *h)
{
    if (h->fd >= 0) {
        close(h->fd);
        h->fd = -1;
        h->in_at = h->in_end = 0;
    }
}

static bool send_all(struct xs_handle *h, const char *data, size_t bytes)
{
    while (bytes > 0 && h->fd >= 0) {
        ssize_t done = send(h->fd, data, bytes, MSG_NOSIGNAL);

        if (done > 0) {
            data += done;
            bytes -= (size_t)done;
        } else if (errno != EINTR) {
            hang_up(h);
        }
    }
    if (h->fd < 0) {
        errno = ENOTCONN;
    }
    return h->fd >= 0;
}

static bool flush(struct xs_handle *h)
{
    size_t bytes = h->out_bytes;

    h->out_bytes = 0;
    return send_all(h, h->out, bytes);
}

/* Receives into memory. Returns: bytes, 0 when nothing is there and `wait` is not set, or -1. */
static ssize_t receive_some(struct xs_handle *h, void *data, size_t bytes, bool wait)
{
    while (h->fd >= 0) {
        ssize_t got = recv(h->fd, data, bytes, wait ? 0 : MSG_DONTWAIT);

        if (got > 0) {
            return got;
        }
        if (got < 0 && errno == EAGAIN && !wait) {
            return 0;
        }
        if (got == 0 || errno != EINTR) {
            hang_up(h);
        }
    }
    errno = ENOTCONN;
    return -1;
}

/* Reads exactly that much. Returns: 1, 0 when nothing is there and `wait` is not set, or -1. */
static int receive_all(struct xs_handle *h, void *data, size_t bytes, bool wait)
{
    size_t have = 0;

    while (have < bytes) {
        size_t part = h->in_end - h->in_at;

        if (part == 0) {
            ssize_t got = receive_some(h, h->in, sizeof(h->in), wait || have > 0);

            if (got <= 0) {
                return (int)got;
            }
            h->in_at = 0;
            h->in_end = part = (size_t)got;
        }
        part = part < bytes - have ? part : bytes - have;
        memcpy((char *)data + have, h->in + h->in_at, part);
        h->in_at += part;
        have += part;
    }
    return 1;
}

/* Whether a whole event has been received, so that nobody who polls would hear of it. */
static bool event_is_in(const struct xs_handle *h)
{
    size_t have = h->in_end - h->in_at;
    struct xsd_sockmsg head;

    if (have < sizeof(head)) {
        return false;
    }
    memcpy(&head, h->in + h->in_at, sizeof(head));
    return head.type == XS_WATCH_EVENT && head.len <= have - sizeof(head);
}

/* The next message, in memory of its own. Returns: as receive_all(). */
static int receive(struct xs_handle *h, struct message *message, bool wait)
{
    struct xsd_sockmsg head;
    int rc = receive_all(h, &head, sizeof(head), wait);

    if (rc != 1) {
        return rc;
    }
    message->type = head.type;
    message->transaction = head.tx_id;
    message->bytes = head.len;
    message->body = head.len <= XENSTORE_PAYLOAD_MAX ? malloc(head.len + 1u) : NULL;
    if (message->body == NULL) {
        hang_up(h);
        errno = EIO;
        return -1;
    }
    message->body[head.len] = '\0';
    if (head.len > 0 && receive_all(h, message->body, head.len, true) != 1) {
        free(message->body);
        return -1;
    }
    return 1;
}

/* --- events ------------------------------------------------------------------------------ */

/* Whoever polls hears of events that have been read already. */
static void mark(const struct xs_handle *h, bool pending)
{
    uint64_t one = 1;

    if (h->event_fd >= 0) {
        ssize_t done =
            pending ? write(h->event_fd, &one, sizeof(one)) : read(h->event_fd, &one, sizeof(one));

        (void)done; /* it may be in that state already */
    }
}

/* Keeps an event; without memory it is lost, as if it had never been sent. */
static void keep_event(struct xs_handle *h, const struct message *message)
{
    struct event *event = calloc(1, sizeof(*event));
    char **vector = malloc(2 * sizeof(*vector) + message->bytes + 1);
    size_t path_bytes = strlen(message->body) + 1;

    if (event == NULL || vector == NULL || path_bytes > message->bytes) {
        free(event);
        free(vector);
        return;
    }
    vector[XS_WATCH_PATH] = (char *)(vector + 2);
    vector[XS_WATCH_TOKEN] = vector[XS_WATCH_PATH] + path_bytes;
    memcpy(vector[XS_WATCH_PATH], message->body, message->bytes + 1);
    event->vector = vector;
    if (h->events == NULL) {
        mark(h, true);
    }
    *h->events_end = event;
    h->events_end = &event->next;
}

/* Keeps the events that came with what was read. */
static void keep_events(struct xs_handle *h)
{
    struct message message;

    while (event_is_in(h) && receive(h, &message, true) == 1) {
        keep_event(h, &message);
        free(message.body);
    }
}

static char **take_event(struct xs_handle *h)
{
    struct event *event = h->events;
    char **vector = event->vector;

    h->events = event->next;
    if (h->events == NULL) {
        h->events_end = &h->events;
        mark(h, false);
    }
    free(event);
    return vector;
}

/* --- requests ---------------------------------------------------------------------------- */

/* A request's payload, in parts. */
struct parts {
    struct iovec part[4];
    int count;
};

static struct parts text_parts(const char *text)
{
    return (struct parts){{{(void *)(uintptr_t)text, strlen(text) + 1}}, 1};
}

static bool put(struct xs_handle *h, uint32_t type, xs_transaction_t transaction,
                const struct parts *parts)
{
    struct xsd_sockmsg head = {.type = type, .tx_id = transaction};

    for (int i = 0; i < parts->count; i++) {
        head.len += (uint32_t)parts->part[i].iov_len;
    }
    if (head.len > XENSTORE_PAYLOAD_MAX) {
        errno = E2BIG;
        return false;
    }
    if (h->out_bytes + sizeof(head) + head.len > sizeof(h->out) && !flush(h)) {
        return false;
    }
    memcpy(h->out + h->out_bytes, &head, sizeof(head));
    h->out_bytes += sizeof(head);
    for (int i = 0; i < parts->count; i++) {
        memcpy(h->out + h->out_bytes, parts->part[i].iov_base, parts->part[i].iov_len);
        h->out_bytes += parts->part[i].iov_len;
    }
    return true;
}

static int error_number(const char *name)
{
    for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++) {
        if (strcmp(xsd_errors[i].errstring, name) == 0) {
            return xsd_errors[i].errnum;
        }
    }
    return EINVAL;
}

/* The next answer, events put aside. Returns: its body, or NULL with errno. */
static char *answer(struct xs_handle *h, uint32_t type, uint32_t *bytes)
{
    struct message message;

    for (;;) {
        if (receive(h, &message, true) != 1) {
            return NULL;
        }
        if (message.type != XS_WATCH_EVENT) {
            break;
        }
        keep_event(h, &message);
        free(message.body);
    }
    keep_events(h);
    if (message.type == type) {
        *bytes = message.bytes;
        return message.body;
    }
    if (message.type == XS_ERROR) {
        int number = error_number(message.body);

        free(message.body);
        errno = number;
        return NULL;
    }
    free(message.body);
    hang_up(h);
    errno = EIO;
    return NULL;
}

/* Reads the answers of what has been posted. Only the first failure is kept. */
static bool collect(struct xs_handle *h)
{
    if (h->posted > 0 && !flush(h)) {
        return false;
    }
    while (h->posted > 0) {
        struct message message;

        if (receive(h, &message, true) != 1) {
            return false;
        }
        if (message.type == XS_WATCH_EVENT) {
            keep_event(h, &message);
        } else {
            h->posted--;
            if (message.type == XS_ERROR && h->posted_error == 0) {
                h->posted_error = error_number(message.body);
            }
        }
        free(message.body);
    }
    keep_events(h);
    return true;
}

/* Sends and waits. Returns: the answer in new memory, or NULL with errno. */
static char *ask(struct xs_handle *h, uint32_t type, xs_transaction_t transaction,
                 struct parts parts, uint32_t *bytes)
{
    if (h->fd < 0) {
        errno = ENOTCONN;
        return NULL;
    }
    if (!put(h, type, transaction, &parts) || !flush(h) || !collect(h)) {
        return NULL;
    }
    return answer(h, type, bytes);
}

static bool tell(struct xs_handle *h, uint32_t type, xs_transaction_t transaction,
                 struct parts parts)
{
    uint32_t bytes;
    char *ok = ask(h, type, transaction, parts, &bytes);

    free(ok);
    return ok != NULL;
}

/* As tell(), but within a transaction, or between xs_together_begin() and xs_together_end(), the
 * end says what became of it. */
static bool post(struct xs_handle *h, uint32_t type, xs_transaction_t transaction,
                 struct parts parts)
{
    if (transaction == XBT_NULL && !h->together) {
        return tell(h, type, transaction, parts);
    }
    if (h->posted == POSTED_MAX && !collect(h)) {
        return false;
    }
    if (h->fd < 0 || !put(h, type, transaction, &parts)) {
        return false;
    }
    h->posted++;
    return true;
}

/* --- connection -------------------------------------------------------------------------- */

const char *xs_daemon_socket(void)
{
    const char *path = getenv("XENSTORED_PATH");

    return path != NULL ? path : SOCKET_PATH;
}

struct xs_handle *xs_open(unsigned long flags)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct xs_handle *h = calloc(1, sizeof(*h));
    int problem;

    (void)flags; /* none of them asks for anything that is done otherwise here */
    if (h == NULL) {
        return NULL;
    }
    h->event_fd = h->poll_fd = -1;
    h->events_end = &h->events;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", xs_daemon_socket());
    h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (h->fd >= 0 && connect(h->fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
        return h;
    }
    problem = errno;
    xs_close(h);
    errno = problem;
    return NULL;
}

void xs_close(struct xs_handle *h)
{
    if (h == NULL) {
        return;
    }
    hang_up(h);
    while (h->events != NULL) {
        free(take_event(h));
    }
    if (h->poll_fd >= 0) {
        close(h->poll_fd);
        close(h->event_fd);
    }
    free(h);
}

bool xs_lasts(const struct xs_handle *h)
{
    struct pollfd end = {.fd = h->fd, .events = POLLRDHUP};

    return h->fd >= 0 && poll(&end, 1, 0) == 0;
}

struct xs_handle *xs_renew(struct xs_handle *h)
{
    if (h != NULL && xs_lasts(h)) {
        return h;
    }
    xs_close(h);
    return xs_open(0);
}

int xs_fileno(struct xs_handle *h)
{
    struct epoll_event in = {.events = EPOLLIN};

    if (h->poll_fd < 0) {
        h->poll_fd = epoll_create1(EPOLL_CLOEXEC);
        h->event_fd = eventfd(h->events != NULL, EFD_CLOEXEC | EFD_NONBLOCK);
        epoll_ctl(h->poll_fd, EPOLL_CTL_ADD, h->event_fd, &in);
        epoll_ctl(h->poll_fd, EPOLL_CTL_ADD, h->fd, &in);
    }
    return h->poll_fd;
}

/* --- nodes ------------------------------------------------------------------------------- */

void *xs_read(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *len)
{
    return ask(h, XS_READ, t, text_parts(path), len);
}

/* Sends questions in one piece, then takes the answers. */
static bool read_together(struct xs_handle *h, const char *const paths[], size_t count,
                          char *values[])
{
    for (size_t i = 0; i < count; i++) {
        struct parts parts = text_parts(paths[i]);

        if (!put(h, XS_READ, XBT_NULL, &parts)) {
            return false;
        }
    }
    if (!flush(h)) {
        return false;
    }
    for (size_t i = 0; i < count && h->fd >= 0; i++) {
        uint32_t bytes;

        values[i] = answer(h, XS_READ, &bytes);
    }
    return h->fd >= 0;
}

bool xs_read_many(struct xs_handle *h, const char *const paths[], size_t count, char *values[])
{
    memset(values, 0, count * sizeof(values[0]));
    if (h->fd < 0 || !collect(h)) {
        return false;
    }
    for (size_t at = 0; at < count; at += POSTED_MAX) {
        size_t part = count - at < POSTED_MAX ? count - at : POSTED_MAX;

        if (!read_together(h, paths + at, part, values + at)) {
            return false;
        }
    }
    return true;
}

bool xs_write(struct xs_handle *h, xs_transaction_t t, const char *path, const void *data,
              unsigned int len)
{
    struct parts parts = text_parts(path);

    parts.part[parts.count++] = (struct iovec){(void *)(uintptr_t)data, len};
    return post(h, XS_WRITE, t, parts);
}

bool xs_mkdir(struct xs_handle *h, xs_transaction_t t, const char *path)
{
    return post(h, XS_MKDIR, t, text_parts(path));
}

bool xs_rm(struct xs_handle *h, xs_transaction_t t, const char *path)
{
    return tell(h, XS_RM, t, text_parts(path)); /* that it is not there is often welcome */
}

bool xs_set_permissions(struct xs_handle *h, xs_transaction_t t, const char *path,
                        struct xs_permissions *perms, unsigned int num_perms)
{
    static const char letters[] = {'n', 'r', 'w', 'b'}; /* by XS_PERM_READ | XS_PERM_WRITE */
    struct parts parts = text_parts(path);
    char text[256];
    size_t bytes = 0;

    for (unsigned int i = 0; i < num_perms && bytes < sizeof(text) - 16; i++) {
        bytes += (size_t)snprintf(text + bytes, sizeof(text) - bytes, "%c%u",
                                  letters[perms[i].perms & 3], perms[i].id) +
                 1;
    }
    parts.part[parts.count++] = (struct iovec){text, bytes};
    return post(h, XS_SET_PERMS, t, parts);
}

/* A list too long for one message comes in parts, each behind the number of the node's version;
 * when that changes, all begins anew. Returns: names one behind the other, or NULL. */
static char *list_in_parts(struct xs_handle *h, xs_transaction_t t, const char *path,
                           uint32_t *bytes)
{
    char *all = NULL;
    char version[24] = "";

    *bytes = 0;
    for (;;) {
        struct parts parts = text_parts(path);
        char offset[16];
        uint32_t got;
        char *part, *grown;
        size_t skip;

        snprintf(offset, sizeof(offset), "%u", *bytes);
        parts.part[parts.count++] = (struct iovec){offset, strlen(offset) + 1};
        part = ask(h, XS_DIRECTORY_PART, t, parts, &got);
        skip = part != NULL ? strlen(part) + 1 : 0;
        if (part == NULL || skip > sizeof(version) || skip > got ||
            (grown = realloc(all, *bytes + got)) == NULL) {
            free(part);
            free(all);
            return NULL;
        }
        all = grown;
        if (*bytes > 0 && strcmp(version, part) != 0) {
            *bytes = 0;
            free(part);
            continue;
        }
        memcpy(version, part, skip);
        memcpy(all + *bytes, part + skip, got - skip);
        *bytes += (uint32_t)(got - skip);
        /* The end is an empty name. */
        bool end =
            got == skip || (part[got - 1] == '\0' && (got - skip == 1 || part[got - 2] == '\0'));

        free(part);
        if (end) {
            *bytes -= got > skip;
            return all;
        }
    }
}

char **xs_directory(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *num)
{
    uint32_t bytes, names = 0;
    char *list = ask(h, XS_DIRECTORY, t, text_parts(path), &bytes);
    char **vector;

    if (list == NULL && errno == E2BIG) {
        list = list_in_parts(h, t, path, &bytes);
    }
    if (list == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        names += list[i] == '\0';
    }
    vector = malloc((names + 1) * sizeof(*vector) + bytes);
    if (vector != NULL) {
        char *text = (char *)(vector + names + 1);

        memcpy(text, list, bytes);
        for (uint32_t i = 0; i < names; i++) {
            vector[i] = text;
            text += strlen(text) + 1;
        }
        vector[names] = NULL;
        *num = names;
    }
    free(list);
    return vector;
}

/* --- transactions ------------------------------------------------------------------------ */

xs_transaction_t xs_transaction_start(struct xs_handle *h)
{
    uint32_t bytes;
    char *id = ask(h, XS_TRANSACTION_START, XBT_NULL, text_parts(""), &bytes);
    xs_transaction_t t = id != NULL ? (xs_transaction_t)strtoul(id, NULL, 10) : XBT_NULL;

    free(id);
    h->posted_error = 0;
    return t;
}

bool xs_transaction_end(struct xs_handle *h, xs_transaction_t t, bool abort)
{
    int failed;
    bool ok;

    if (!collect(h)) {
        return false;
    }
    failed = h->posted_error;
    h->posted_error = 0;
    ok = tell(h, XS_TRANSACTION_END, t, text_parts(abort || failed != 0 ? "F" : "T"));
    if (failed != 0 && !abort) {
        errno = failed;
        return false;
    }
    return ok;
}

void xs_together_begin(struct xs_handle *h)
{
    h->together = true;
    h->posted_error = 0;
}

bool xs_together_end(struct xs_handle *h)
{
    int failed;

    h->together = false;
    if (!collect(h)) {
        return false;
    }
    failed = h->posted_error;
    h->posted_error = 0;
    if (failed != 0) {
        errno = failed;
    }
    return failed == 0;
}

/* --- watches ----------------------------------------------------------------------------- */

static bool watch_request(struct xs_handle *h, uint32_t type, const char *path, const char *token)
{
    struct parts parts = text_parts(path);

    parts.part[parts.count++] = (struct iovec){(void *)(uintptr_t)token, strlen(token) + 1};
    return tell(h, type, XBT_NULL, parts);
}

bool xs_watch(struct xs_handle *h, const char *path, const char *token)
{
    return watch_request(h, XS_WATCH, path, token);
}

bool xs_watch_depth(struct xs_handle *h, const char *path, const char *token, unsigned int depth)
{
    struct parts parts = text_parts(path);
    char text[16];

    snprintf(text, sizeof(text), "%u", depth);
    parts.part[parts.count++] = (struct iovec){(void *)(uintptr_t)token, strlen(token) + 1};
    parts.part[parts.count++] = (struct iovec){text, strlen(text) + 1};
    return tell(h, XS_WATCH, XBT_NULL, parts);
}

bool xs_watch_domains(struct xs_handle *h, const char *name, const char *token)
{
    return xs_watch_depth(h, name, token, 1) || (errno == EINVAL && xs_watch(h, name, token));
}

bool xs_unwatch(struct xs_handle *h, const char *path, const char *token)
{
    return watch_request(h, XS_UNWATCH, path, token);
}

static char **next_event(struct xs_handle *h, bool wait)
{
    while (h->events == NULL) {
        struct message message;
        int rc = receive(h, &message, wait);

        if (rc != 1) {
            errno = rc == 0 ? EAGAIN : errno;
            return NULL;
        }
        if (message.type == XS_WATCH_EVENT) {
            keep_event(h, &message);
        }
        free(message.body);
    }
    keep_events(h);
    return take_event(h);
}

char **xs_check_watch(struct xs_handle *h)
{
    return next_event(h, false);
}

char **xs_read_watch(struct xs_handle *h, unsigned int *num)
{
    char **vector = next_event(h, true);

    *num = vector != NULL ? 2 : 0;
    return vector;
}

/* --- domains and control ----------------------------------------------------------------- */

bool xs_introduce_domain(struct xs_handle *h, unsigned int domid, unsigned long mfn,
                         unsigned int eventchn)
{
    char text[3][24];
    struct parts parts = {.count = 3};
    unsigned long numbers[3] = {domid, mfn, eventchn};

    for (int i = 0; i < 3; i++) {
        snprintf(text[i], sizeof(text[i]), "%lu", numbers[i]);
        parts.part[i] = (struct iovec){text[i], strlen(text[i]) + 1};
    }
    return tell(h, XS_INTRODUCE, XBT_NULL, parts);
}

bool xs_release_domain(struct xs_handle *h, unsigned int domid)
{
    char text[24];

    snprintf(text, sizeof(text), "%u", domid);
    return tell(h, XS_RELEASE, XBT_NULL, text_parts(text));
}

char *xs_control_command(struct xs_handle *h, const char *cmd, void *data, unsigned int len)
{
    struct parts parts = text_parts(cmd);
    uint32_t bytes;

    parts.part[parts.count++] = (struct iovec){data, len};
    return ask(h, XS_CONTROL, XBT_NULL, parts, &bytes);
}
