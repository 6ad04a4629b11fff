/* SPDX-License-Identifier: MIT */
/*
 * Devices that come to and go from a running guest; see device.h.
 *
 * A guest takes time to forget a device whose nodes have gone. When the next one of the same number
 * appears before that, the guest's kernel believes it still has the old one and does not look: the
 * front end's state then stays as it was written. Such a device is taken back and offered again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dom0-tools/device/device.h"
#include "dom0-tools/device/device_internal.h"

/* A guest that has not looked at a device for this long may not have noticed it. */
#define NOTICE_MS 10000u

static const struct device_patience usual = {.timeout_ms = DEVICE_TIMEOUT_MS};

static struct node front_of(const struct device_name *name)
{
    return device_frontend(name->xs, XBT_NULL, name->domid, name->kind, name->id);
}

static struct node back_of(const struct device_name *name)
{
    return device_backend(name->xs, XBT_NULL, name->domid, name->kind, name->id);
}

bool device_exists(const struct device_name *name)
{
    struct node front = front_of(name);
    struct node back = back_of(name);

    return node_exists(&front) || node_exists(&back);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Removes both ends' nodes, the guest's first: that makes the back end let go by force. */
static int drop(const struct device_name *name)
{
    struct node front = front_of(name);
    char stop[64];
    int rc;

    device_backend_close(name->xs, name->domid, name->kind, name->id);
    snprintf(stop, sizeof(stop), "/local/domain/%u/device", name->domid);
    if (node_exists(&front)) {
        node_prune(&front, stop);
    }
    rc = device_backend_wait(name, &usual);
    device_backend_forget(name->xs, name->domid, name->kind, name->id);
    return rc;
}

/* --- coming ------------------------------------------------------------------------------ */

/* A guest's connecting, being waited for. */
struct connect_wait {
    const struct device_patience *patience;
    struct node front;
    struct node back;
    enum node_state front_state;
    enum node_state back_state;
    int stopped;
};

static bool is_connected(void *context)
{
    struct connect_wait *wait = context;

    wait->front_state = node_read_state(&wait->front);
    wait->back_state = node_read_state(&wait->back);
    if (wait->patience->stop != NULL) {
        wait->stopped = wait->patience->stop(wait->patience->context);
    }
    return wait->stopped != 0 || wait->front_state >= NODE_STATE_CLOSING ||
           wait->back_state >= NODE_STATE_CLOSING ||
           (wait->front_state == NODE_STATE_CONNECTED && wait->back_state == NODE_STATE_CONNECTED);
}

/* What an end of a device that gives up has said. */
static int report_refusal(const struct device_name *name, bool by_guest, struct err *err)
{
    struct node report =
        by_guest ? node_at(name->xs, XBT_NULL, "/local/domain/%u/error/device/%s/%u", name->domid,
                           name->kind, name->id)
                 : node_at(name->xs, XBT_NULL, "/local/domain/%u/error/backend/%s/%u/%u",
                           DEVICE_BACKEND_DOMID, name->kind, name->domid, name->id);
    char text[256];

    if (node_read(&report, "error", text, sizeof(text)) != 0) {
        snprintf(text, sizeof(text), "it gave up");
    }
    return err_set(err, EIO, "the %s: %s", by_guest ? "guest" : "back end", text);
}

/* Returns: -EAGAIN when the guest has not looked at the device within `ms`. */
static int wait_connected(const struct device_name *name, const struct device_patience *patience,
                          unsigned int ms, struct err *err)
{
    struct connect_wait wait = {
        .patience = patience, .front = front_of(name), .back = back_of(name)};
    int rc = node_wait(name->xs, wait.back.path, is_connected, &wait, ms);

    if (rc == 0 && wait.stopped != 0) {
        return device_stopped(wait.stopped, err);
    }
    if (rc == 0 && wait.front_state == NODE_STATE_CONNECTED &&
        wait.back_state == NODE_STATE_CONNECTED) {
        return 0;
    }
    if (rc == 0) {
        return report_refusal(name, wait.front_state >= NODE_STATE_CLOSING, err);
    }
    if (wait.front_state <= NODE_STATE_INITIALISING) {
        err_set(err, ETIMEDOUT, "the guest does not look at it: has it a driver, does it run?");
        return -EAGAIN;
    }
    return err_set(err, ETIMEDOUT, "the guest and the back end do not connect (states %d and %d)",
                   wait.front_state, wait.back_state);
}

int device_wait_connected(const struct device_name *name, const struct device_patience *patience,
                          struct err *err)
{
    int rc = wait_connected(name, patience, patience->timeout_ms, err);

    return rc == -EAGAIN ? -err->number : rc;
}

/* One offer of the device to the guest. */
static int offer(struct device_set *set, const struct device_name *name, int *lock, bool answer,
                 unsigned int ms, struct err *err)
{
    int rc = device_begin(set, name->domid, err);

    if (*lock >= 0) {
        close(*lock);
        *lock = -1;
    }
    rc = rc != 0 ? rc : device_finish(set, err);
    return rc != 0 || !answer ? rc : wait_connected(name, &set->patience, ms, err);
}

int device_plug(const struct device_name *name, const struct vane_config *config, int lock,
                bool answer, const struct device_patience *patience, struct err *err)
{
    uint64_t deadline = now_ms() + patience->timeout_ms;
    unsigned int notice = NOTICE_MS;
    struct device_set set;
    uint64_t left;
    int rc;

    do {
        uint64_t now = now_ms();

        left = now < deadline ? deadline - now : 0;
        device_set_init(&set, name->xs, config);
        set.patience = *patience;
        set.first_net = name->id;
        rc = offer(&set, name, &lock, answer, left < notice ? (unsigned int)left : notice, err);
        device_set_end(&set);
        if (rc != 0) {
            drop(name);
        }
        notice *= 2;
    } while (rc == -EAGAIN && now_ms() < deadline);
    return rc == -EAGAIN ? -err->number : rc;
}

/* --- going ------------------------------------------------------------------------------- */

/* Takes the request to close back, unless the guest has started to. */
static int reopen_body(xs_transaction_t transaction, void *context)
{
    const struct device_name *name = context;
    struct node front = device_frontend(name->xs, transaction, name->domid, name->kind, name->id);
    struct node back = device_backend(name->xs, transaction, name->domid, name->kind, name->id);

    if (node_read_state(&front) >= NODE_STATE_CLOSING ||
        node_read_state(&back) != NODE_STATE_CLOSING) {
        return -EBUSY;
    }
    node_put(&back, "online", "1");
    node_put(&back, "state", "%d", NODE_STATE_CONNECTED);
    return back.error;
}

/* Asks the guest to let go. */
static int ask_off(const struct device_name *name, const struct device_patience *patience,
                   struct err *err)
{
    struct node front = front_of(name);
    struct device_name again = *name;
    int rc;

    if (node_read_state(&front) != NODE_STATE_CONNECTED) {
        return 0; /* nobody uses it, or it is going already */
    }
    rc = device_backend_close(name->xs, name->domid, name->kind, name->id);
    if (rc != 0) {
        return err_set_errno(err, -rc, "cannot write store nodes");
    }
    rc = device_backend_wait(name, patience);
    if (rc == 0 || rc == -ESRCH) {
        return 0;
    }
    if (node_transaction(name->xs, reopen_body, &again) != 0) {
        return err_set(err, -rc, "the guest has begun to let go of it and has not finished");
    }
    return rc == -ETIMEDOUT
               ? err_set(err, ETIMEDOUT, "the guest does not let go of it (--force takes it)")
               : device_stopped(-rc, err);
}

int device_unplug(const struct device_name *name, bool force,
                  const struct device_patience *patience, struct err *err)
{
    int rc = force ? 0 : ask_off(name, patience, err);

    if (rc != 0) {
        return rc;
    }
    rc = drop(name);
    return rc != 0 ? err_set(err, -rc, "the back end does not let go of it") : 0;
}
