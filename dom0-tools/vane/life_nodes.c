/* SPDX-License-Identifier: MIT */
/*
 * A guest's nodes in the store, as Linux's front ends and people expect them.
 *
 * The guest may read its own directory and write only where the protocol wants it to: control,
 * data, drivers, feature, attr and error. Everything else belongs to the control domain, so what is
 * read back from there later is what was written here.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dom0-tools/device/node.h"
#include "dom0-tools/storeclient/client.h"
#include "dom0-tools/vane/life.h"

#define CONTROL_DOMID 0u

/* A domain whose nodes are being made. */
struct create {
    struct life *life;
    uint32_t domid;
    const struct vane_config *config;
    struct err *err;
};

/* Nodes the guest owns; the empty ones are directories or values it fills. */
static const char *const guest_owned[] = {
    "control/shutdown",
    "control/feature-poweroff",
    "control/feature-reboot",
    "control/feature-suspend",
    "control/sysrq",
    "data",
    "drivers",
    "feature",
    "attr",
    "error",
};

static void vm_path(const struct vane_config *config, char path[64])
{
    char uuid[37];

    config_uuid_format(config->uuid, uuid);
    snprintf(path, 64, "/vm/%s", uuid);
}

/* Refuses a name that a domain has. */
static int check_name(struct xs_handle *xs, const char *wanted, struct err *err)
{
    uint32_t domid;

    if (life_name_taken(xs, wanted, &domid)) {
        return err_set(err, EEXIST, "the name %s is in use by domain %u", wanted, domid);
    }
    return 0;
}

/* Refuses a uuid another domain has; that nobody has the name, life_check() has seen to. */
static int check_uuid(const struct create *create, xs_transaction_t transaction)
{
    struct xs_handle *xs = create->life->xs;
    struct node vm;
    char path[64];

    vm_path(create->config, path);
    vm = node_at(xs, transaction, "%s", path);
    if (node_exists(&vm)) {
        return err_set(create->err, EEXIST, "the uuid %s is in use", path + strlen("/vm/"));
    }
    return 0;
}

static int write_vm(const struct create *create, xs_transaction_t transaction)
{
    const struct vane_config *config = create->config;
    struct node vm;
    char path[64];

    vm_path(config, path);
    vm = node_at(create->life->xs, transaction, "%s", path);
    node_make(&vm, CONTROL_DOMID, create->domid);
    node_put(&vm, "name", "%s", config->name);
    node_put(&vm, "uuid", "%s", path + strlen("/vm/"));
    node_put(&vm, "start_time", "%lld", (long long)time(NULL));
    node_put(&vm, "on_poweroff", "%s", config_action_name(config->on_poweroff));
    node_put(&vm, "on_reboot", "%s", config_action_name(config->on_reboot));
    node_put(&vm, "on_crash", "%s", config_action_name(config->on_crash));
    node_put(&vm, "image/ostype", "linux");
    node_put(&vm, "image/kernel", "%s", config->kernel);
    if (config->ramdisk != NULL) {
        node_put(&vm, "image/ramdisk", "%s", config->ramdisk);
    }
    node_put(&vm, "image/cmdline", "%s", config->cmdline);
    return vm.error;
}

static void write_values(const struct create *create, struct node *home)
{
    const struct vane_config *config = create->config;
    char path[64];

    vm_path(config, path);
    node_put(home, "vm", "%s", path);
    node_put(home, "name", "%s", config->name);
    node_put(home, "domid", "%u", create->domid);
    node_put(home, "memory/static-max", "%llu", (unsigned long long)config->memory_kib);
    node_put(home, "memory/target", "%llu", (unsigned long long)config->current_memory_kib);
    for (unsigned int i = 0; i < config->vcpus; i++) {
        char name[32];

        snprintf(name, sizeof(name), "cpu/%u/availability", i);
        node_put(home, name, "%s", i < config->current_vcpus ? "online" : "offline");
    }
    node_put(home, "control/platform-feature-multiprocessor-suspend", "1");
    node_put(home, "control/platform-feature-xs_reset_watches", "1");
}

static int create_body(xs_transaction_t transaction, void *context)
{
    const struct create *create = context;
    struct xs_handle *xs = create->life->xs;
    struct node home = node_at(xs, transaction, "/local/domain/%u", create->domid);
    struct node device = node_at(xs, transaction, "%s/device", home.path);
    int rc = check_uuid(create, transaction);

    if (rc != 0) {
        return rc;
    }
    node_make(&home, CONTROL_DOMID, create->domid);
    write_values(create, &home);
    node_make(&device, CONTROL_DOMID, create->domid);
    rc = home.error != 0 ? home.error : device.error;
    for (size_t i = 0; i < sizeof(guest_owned) / sizeof(guest_owned[0]) && rc == 0; i++) {
        struct node owned = node_at(xs, transaction, "%s/%s", home.path, guest_owned[i]);

        node_make(&owned, create->domid, create->domid);
        rc = owned.error;
    }
    if (rc == 0) {
        rc = write_vm(create, transaction);
    }
    return rc != 0 ? err_set_errno(create->err, -rc, "cannot write store nodes") : 0;
}

int life_nodes_create(struct life *life, uint32_t domid, const struct vane_config *config,
                      struct err *err)
{
    struct create create = {.life = life, .domid = domid, .config = config, .err = err};
    int rc;

    err->number = 0;
    rc = node_transaction(life->xs, create_body, &create);
    if (rc == 0) {
        life_name_claim(config->name, domid);
    }
    if (rc != 0 && err->number == 0) {
        rc = err_set_errno(err, -rc, "cannot write store nodes");
    }
    return rc;
}

/* Another name for a domain. */
struct rename {
    struct life *life;
    uint32_t domid;
    const char *name;
    struct err *err;
};

static int rename_body(xs_transaction_t transaction, void *context)
{
    const struct rename *to = context;
    struct xs_handle *xs = to->life->xs;
    struct node home = node_at(xs, transaction, "/local/domain/%u", to->domid);
    char path[64];
    int rc = check_name(xs, to->name, to->err);

    if (rc != 0) {
        return rc;
    }
    if (!node_exists(&home)) {
        return err_set(to->err, ESRCH, "domain %u has gone", to->domid);
    }
    node_put(&home, "name", "%s", to->name);
    if (home.error == 0 && node_read(&home, "vm", path, sizeof(path)) == 0 &&
        strncmp(path, "/vm/", 4) == 0) {
        struct node vm = node_at(xs, transaction, "%s", path);

        node_put(&vm, "name", "%s", to->name);
        home.error = vm.error;
    }
    return home.error;
}

int life_nodes_rename(struct life *life, uint32_t domid, const char *name, struct err *err)
{
    struct rename to = {.life = life, .domid = domid, .name = name, .err = err};
    struct node home = node_at(life->xs, XBT_NULL, "/local/domain/%u", domid);
    char old[CONFIG_MAX_NAME_BYTES + 1] = "";
    int lock = life_lock(err);
    int rc;

    if (lock < 0) {
        return lock;
    }
    err->number = 0;
    node_read(&home, "name", old, sizeof(old));
    rc = node_transaction(life->xs, rename_body, &to);
    if (rc == 0) {
        life_name_drop(old, domid);
        life_name_claim(name, domid);
    }
    if (rc != 0 && err->number == 0) {
        rc = err_set_errno(err, -rc, "cannot write store nodes");
    }
    close(lock);
    return rc;
}

int life_nodes_ask(struct life *life, uint32_t domid, const char *who, struct err *err,
                   const char *name, const char *format, ...)
{
    struct node home = node_at(life->xs, XBT_NULL, "/local/domain/%u", domid);
    char value[64];
    va_list args;
    int rc;

    va_start(args, format);
    vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    rc = node_change(&home, name, "%s", value);
    if (rc == -ENOENT) {
        return err_set(err, ESRCH, "%s has gone", who);
    }
    return rc == 0 ? 0 : err_set_errno(err, -rc, "cannot write %s of %s", name, who);
}

int life_nodes_connect(struct life *life, const struct builder_guest *guest, struct err *err)
{
    struct node home = node_at(life->xs, XBT_NULL, "/local/domain/%u", guest->domid);
    bool introduced;
    int problem;

    /* Nobody looks before the domain is introduced, which goes with them. */
    xs_together_begin(life->xs);
    node_put(&home, "store/port", "%u", guest->store_port);
    node_put(&home, "store/ring-ref", "%llu", (unsigned long long)guest->store_frame);
    node_put(&home, "console/port", "%u", guest->console_port);
    node_put(&home, "console/ring-ref", "%llu", (unsigned long long)guest->console_frame);
    node_put(&home, "console/type", "xenconsoled");
    node_put(&home, "console/output", "pty");
    node_put(&home, "console/limit", "1048576");
    introduced = xs_introduce_domain(life->xs, guest->domid, guest->store_frame, guest->store_port);
    problem = errno;
    if (!xs_together_end(life->xs) || home.error != 0) {
        return err_set_errno(err, home.error != 0 ? -home.error : errno,
                             "cannot write store nodes");
    }
    if (!introduced) {
        return err_set_errno(err, problem, "the store does not accept the domain");
    }
    return 0;
}

void life_nodes_remove(struct life *life, uint32_t domid)
{
    struct node home = node_at(life->xs, XBT_NULL, "/local/domain/%u", domid);
    char name[CONFIG_MAX_NAME_BYTES + 1];
    char path[64];

    if (node_read(&home, "vm", path, sizeof(path)) == 0 && strncmp(path, "/vm/", 4) == 0) {
        struct node vm = node_at(life->xs, XBT_NULL, "%s", path);

        node_prune(&vm, "");
    }
    if (node_read(&home, "name", name, sizeof(name)) == 0) {
        life_name_drop(name, domid);
    }
    node_remove(&home);
}
