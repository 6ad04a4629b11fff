/* SPDX-License-Identifier: MIT */
/*
 * Creating and removing domains; see life.h.
 *
 * Locks are files under /run/paravane: `lock` is held from the checks until the new domain's name
 * and disks stand in the store, where the next creator sees them; `domN.lock` by whoever takes
 * domain N apart; `pci.lock`, always the last, while a PCI function goes to a guest or back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dom0-tools/device/device.h"
#include "dom0-tools/device/hostdev.h"
#include "dom0-tools/device/node.h"
#include "dom0-tools/vane/life.h"

#define CONTROL_DOMID 0u
#define EVTCHN_PORT_MAX 1023u
#define FRAME_KIB 4u

/* What the hypervisor needs for a domain besides its memory: structures, grant table, vCPUs. */
#define OVERHEAD_FRAMES 256u
#define OVERHEAD_FRAMES_PER_VCPU 8u

/* A dead domain stays until everybody has dropped its pages; the store and the console daemon do so
 * when they hear of its end. */
#define GONE_TIMEOUT_MS 120000u

int life_open(struct life *life, struct err *err)
{
    int rc = hv_open(&life->hv);

    life->xs = NULL;
    life->wait_ms = 0;
    if (rc != 0) {
        return err_set(
            err, rc == -EACCES ? EACCES : ENODEV,
            "no hypervisor to talk to (%s): is this the control domain, and are you root?",
            strerror(-rc));
    }
    life->xs = xs_open(0);
    if (life->xs == NULL) {
        rc = err_set_errno(err, errno != 0 ? errno : ECONNREFUSED, "cannot reach the store daemon");
        life_close(life);
        return rc;
    }
    return 0;
}

void life_close(struct life *life)
{
    if (life->xs != NULL) {
        xs_close(life->xs);
    }
    hv_close(life->hv);
    life->xs = NULL;
    life->hv = NULL;
}

/* Takes a lock file. Returns: its descriptor, to be closed. */
static int lock_take(const char *path, struct err *err)
{
    int fd;

    if (mkdir(LIFE_RUN_DIR, 0755) != 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "cannot make %s", LIFE_RUN_DIR);
    }
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        int rc = err_set_errno(err, errno, "cannot lock %s", path);

        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    return fd;
}

int life_lock(struct err *err)
{
    return lock_take(LIFE_RUN_DIR "/lock", err);
}

int life_lock_domain(uint32_t domid, struct err *err)
{
    char path[64];

    snprintf(path, sizeof(path), LIFE_RUN_DIR "/dom%u.lock", domid);
    return lock_take(path, err);
}

int life_lock_hostdevs(struct err *err)
{
    return lock_take(LIFE_RUN_DIR "/pci.lock", err);
}

static void held_signals(sigset_t *held)
{
    sigemptyset(held);
    sigaddset(held, SIGINT);
    sigaddset(held, SIGTERM);
    sigaddset(held, SIGHUP);
}

void life_signals_hold(sigset_t *before)
{
    sigset_t held;

    held_signals(&held);
    sigprocmask(SIG_BLOCK, &held, before);
}

void life_signals_release(const sigset_t *before)
{
    sigprocmask(SIG_SETMASK, before, NULL);
}

bool life_interrupted(void)
{
    sigset_t waiting;

    sigpending(&waiting);
    return sigismember(&waiting, SIGINT) == 1 || sigismember(&waiting, SIGTERM) == 1 ||
           sigismember(&waiting, SIGHUP) == 1;
}

int life_find(struct life *life, const char *who, uint32_t *domid, struct err *err)
{
    struct xen_domctl_getdomaininfo info;
    char *end;
    unsigned long number = strtoul(who, &end, 10);
    bool found;

    if (who[0] >= '0' && who[0] <= '9' && *end == '\0') {
        found =
            number < DOMID_FIRST_RESERVED && hv_domain_info(life->hv, (uint32_t)number, &info) == 0;
        *domid = (uint32_t)number;
    } else {
        found = life_name_find(life->xs, who, domid);
    }
    if (!found) {
        return err_set(err, ESRCH, "there is no domain %s", who);
    }
    if (*domid == CONTROL_DOMID) {
        return err_set(err, EPERM, "%s is the control domain", who);
    }
    return 0;
}

static uint64_t frames_of(uint64_t kib)
{
    return kib / FRAME_KIB;
}

static int check_actions(const struct vane_config *config, struct err *err)
{
    const enum vane_action actions[] = {config->on_poweroff, config->on_reboot, config->on_crash};

    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (actions[i] == VANE_ACTION_RENAME_RESTART) {
            return err_set(err, EBADMSG, "the action %s is not supported",
                           config_action_name(actions[i]));
        }
    }
    return 0;
}

/* Fits a vCPU's pin to the machine. */
static int fit_pin(const struct vane_config *config, unsigned int vcpu, unsigned int pcpus,
                   struct cpuset *set, struct err *err)
{
    int rc;

    *set = config->pins[vcpu];
    rc = cpuset_fit(set, pcpus, err);
    return rc == 0 ? 0 : err_prefix(err, "the pin of vCPU %u", vcpu);
}

static int check_processors(struct life *life, const struct vane_config *config, struct err *err)
{
    struct xen_sysctl_physinfo info;
    struct cpuset set;
    int rc = hv_physinfo(life->hv, &info);

    if (rc != 0) {
        return err_set_errno(err, -rc, "cannot ask the hypervisor for its processors");
    }
    if (config->cap > 100 * info.nr_cpus) {
        return err_set(err, EBADMSG, "a cap of %u %% is more than the %u %% of all %u processors",
                       config->cap, 100 * info.nr_cpus, info.nr_cpus);
    }
    for (unsigned int i = 0; i < config->vcpus && rc == 0; i++) {
        rc = fit_pin(config, i, info.nr_cpus, &set, err);
    }
    if (rc != 0) {
        err->number = EBADMSG;
        rc = -EBADMSG;
    }
    return rc;
}

/* Gives a new domain its share and its pins, where the configuration has some. */
static int set_processors(struct life *life, const struct vane_config *config, uint32_t domid,
                          struct err *err)
{
    struct xen_sysctl_physinfo info;
    struct hv_share share;
    struct cpuset set;
    int rc = 0;

    if (config->weight != 0 || config->cap != 0) {
        rc = hv_share_get(life->hv, domid, &share);
        if (rc == 0) {
            share.weight = config->weight != 0 ? config->weight : share.weight;
            share.cap = config->cap;
            rc = hv_share_set(life->hv, domid, &share);
        }
    }
    if (rc == 0) {
        rc = hv_physinfo(life->hv, &info);
    }
    for (unsigned int i = 0; i < config->vcpus && rc == 0; i++) {
        if (config->pins[i].named != 0) {
            rc = fit_pin(config, i, info.nr_cpus, &set, err);
            rc = rc != 0 ? rc : hv_vcpu_affinity_set(life->hv, domid, i, set.bits);
        }
    }
    return rc == 0 ? 0 : err_set_errno(err, -rc, "the hypervisor refuses share or pins");
}

static int check_memory(struct life *life, const struct vane_config *config, struct err *err)
{
    uint64_t need = frames_of(config->current_memory_kib) + OVERHEAD_FRAMES +
                    (uint64_t)config->vcpus * OVERHEAD_FRAMES_PER_VCPU;
    struct xen_sysctl_physinfo info;
    int rc = hv_physinfo(life->hv, &info);

    if (rc != 0) {
        return err_set_errno(err, -rc, "cannot ask the hypervisor for its free memory");
    }
    if (need > info.free_pages) {
        return err_set(err, ENOMEM, "%llu MiB of memory are needed, %llu MiB are free",
                       (unsigned long long)((need + 255) / 256),
                       (unsigned long long)(info.free_pages / 256));
    }
    return 0;
}

/* A name that stands in the store without a domain behind it was left by a monitor that was killed:
 * cleans up after it, so that the name can be used again. */
static int check_name(struct life *life, const char *name, struct err *err)
{
    struct xen_domctl_getdomaininfo info;
    uint32_t domid = 0;

    if (!life_name_taken(life->xs, name, &domid)) {
        return 0;
    }
    if (domid == CONTROL_DOMID) {
        return err_set(err, EPERM, "%s is the control domain", name);
    }
    if (hv_domain_info(life->hv, domid, &info) == -ESRCH) {
        return life_teardown(life, domid, NULL, err);
    }
    return err_set(err, EEXIST, "the name %s is in use by domain %u", name, domid);
}

int life_check(struct life *life, const struct vane_config *config,
               const struct builder_image *image, struct err *err)
{
    int rc = check_actions(config, err);

    if (rc == 0) {
        rc = check_name(life, config->name, err);
    }
    if (rc == 0) {
        rc = builder_check(image, frames_of(config->current_memory_kib), err);
    }
    if (rc == 0) {
        rc = check_memory(life, config, err);
    }
    if (rc == 0) {
        rc = check_processors(life, config, err);
    }
    if (rc == 0) {
        rc = device_check(life->xs, config, err);
    }
    return rc != 0 ? rc : life_hostdev_check(life, config, err);
}

/* Writes the devices' nodes. A guest that ends just now does not take a function back meanwhile. */
static int begin_devices(struct device_set *devices, uint32_t domid, struct err *err)
{
    int lock = devices->config->hostdev_count != 0 ? life_lock_hostdevs(err) : 0;
    int rc;

    if (lock < 0) {
        return lock;
    }
    rc = device_begin(devices, domid, err);
    if (devices->config->hostdev_count != 0) {
        close(lock);
    }
    return rc;
}

/* The steps under the lock: domain, name and disks are claimed when this returns 0. */
static int claim(struct life *life, const struct vane_config *config,
                 const struct builder_image *image, struct device_set *devices, uint32_t *domid,
                 struct err *err)
{
    struct hv_create create = {
        .vcpu_count = config->vcpus,
        .evtchn_port_max = EVTCHN_PORT_MAX,
    };
    int rc = life_check(life, config, image, err);

    if (rc != 0) {
        return rc;
    }
    memcpy(create.uuid, config->uuid, sizeof(create.uuid));
    rc = hv_domain_create(life->hv, &create, domid);
    if (rc != 0) {
        return err_set_errno(err, -rc, "the hypervisor refuses to create a domain");
    }
    rc = life_nodes_create(life, *domid, config, err);
    if (rc == 0) {
        rc = begin_devices(devices, *domid, err);
    }
    return rc;
}

/* The steps after that, which take time. */
static int complete(struct life *life, const struct vane_config *config,
                    const struct builder_image *image, struct device_set *devices, uint32_t domid,
                    struct err *err)
{
    struct builder_guest guest = {
        .domid = domid,
        .frames = frames_of(config->current_memory_kib),
        .max_frames = frames_of(config->memory_kib),
        .vcpus = config->vcpus,
        .cmdline = config->cmdline,
        .store_domid = CONTROL_DOMID,
        .console_domid = CONTROL_DOMID,
    };
    int rc = builder_build(life->hv, image, &guest, err);

    if (rc == 0) {
        rc = set_processors(life, config, domid, err);
    }
    if (rc == 0) {
        rc = life_hostdev_permit_all(life, domid, config, err);
    }
    if (rc == 0) {
        rc = device_finish(devices, err);
    }
    if (rc == 0) {
        rc = life_nodes_connect(life, &guest, err);
    }
    return rc;
}

/* Ctrl-C is held back, and ends the waits. */
static int stop_waiting(void *context)
{
    (void)context;
    return life_interrupted() ? EINTR : 0;
}

int life_create(struct life *life, const struct vane_config *config,
                const struct builder_image *image, uint32_t *domid, struct err *err)
{
    struct device_set devices;
    uint32_t created = DOMID_INVALID;
    struct err ignored = {0};
    int lock = life_lock(err);
    int rc;

    if (lock < 0) {
        return lock;
    }
    device_set_init(&devices, life->xs, config);
    devices.patience.stop = stop_waiting;
    if (life->wait_ms != 0) {
        devices.patience.timeout_ms = life->wait_ms;
    }
    rc = claim(life, config, image, &devices, &created, err);
    close(lock);
    if (rc == 0) {
        rc = complete(life, config, image, &devices, created, err);
    }
    device_set_end(&devices);
    if (rc != 0) {
        if (created != DOMID_INVALID) {
            life_teardown(life, created, NULL, &ignored);
        }
        return rc;
    }
    *domid = created;
    return 0;
}

/* A domain whose end is awaited. */
struct gone_wait {
    struct life *life;
    uint32_t domid;
};

static bool is_gone(void *context)
{
    const struct gone_wait *wait = context;
    struct xen_domctl_getdomaininfo info;

    return hv_domain_info(wait->life->hv, wait->domid, &info) == -ESRCH;
}

/* Gives back what a dead guest had, unless another has it by now. */
static int return_hostdevs(struct life *life, uint32_t domid, const struct hostdev_list *taken,
                           struct err *err)
{
    int lock = taken->count != 0 ? life_lock_hostdevs(err) : 0;
    int rc;

    if (lock < 0 || taken->count == 0) {
        return lock;
    }
    rc = hostdev_return(life->xs, domid, taken, err);
    close(lock);
    return rc;
}

/* Something of it is there, in the hypervisor or the store. */
static bool exists(struct life *life, uint32_t domid)
{
    struct node home = node_at(life->xs, XBT_NULL, "/local/domain/%u", domid);
    char name[CONFIG_MAX_NAME_BYTES + 1];
    struct xen_domctl_getdomaininfo info;

    return hv_domain_info(life->hv, domid, &info) == 0 ||
           node_read(&home, "name", name, sizeof(name)) == 0;
}

int life_teardown(struct life *life, uint32_t domid, bool *found, struct err *err)
{
    struct gone_wait wait = {.life = life, .domid = domid};
    struct hostdev_list taken;
    struct err later = {0};
    char path[64];
    char event[32];
    bool dead;
    int devices;
    int lock;
    int rc;

    snprintf(event, sizeof(event), "@releaseDomain/%u", domid);
    snprintf(path, sizeof(path), LIFE_RUN_DIR "/dom%u.lock", domid);
    lock = lock_take(path, err);
    if (lock < 0) {
        return lock;
    }
    if (found != NULL) {
        *found = exists(life, domid);
    }
    hv_domain_pause(life->hv, domid); /* fails when it is gone, which is as good */
    hostdev_taken(life->xs, domid, &taken);
    devices = device_remove(life->xs, domid);
    rc = hv_domain_destroy(life->hv, domid);
    dead = rc == 0 || rc == -ESRCH;
    xs_release_domain(life->xs, domid); /* the store may have noticed by itself */
    if (rc != 0 && rc != -ESRCH) {
        rc = err_set_errno(err, -rc, "the hypervisor refuses to destroy domain %u", domid);
    } else if (node_wait(life->xs, event, is_gone, &wait, GONE_TIMEOUT_MS) != 0) {
        rc = err_set(err, ETIMEDOUT, "domain %u is dead, but its memory is still in use", domid);
    } else if (devices != 0) {
        rc = err_set(err, ETIMEDOUT, "a back end of domain %u does not let go", domid);
    } else {
        rc = 0;
    }
    /* Not before it is dead: until then what it has mapped of them is within its reach. */
    if (dead && return_hostdevs(life, domid, &taken, rc == 0 ? err : &later) != 0 && rc == 0) {
        rc = -err->number;
    }
    life_nodes_remove(life, domid);
    unlink(path);
    life_monitor_path(domid, path);
    unlink(path);
    close(lock);
    return rc;
}

int life_start(struct life *life, struct vane_config *config, bool paused, uint32_t domid,
               struct err *err)
{
    struct err ignored = {0};
    int rc = life_monitor_start(config, domid, err);

    if (rc == 0 && !paused) {
        life_console_await(domid);
        rc = hv_domain_unpause(life->hv, domid);
        if (rc != 0) {
            rc = err_set_errno(err, -rc, "cannot start domain %u", domid);
        }
    }
    if (rc != 0) {
        life_teardown(life, domid, NULL, &ignored);
    }
    return rc;
}
