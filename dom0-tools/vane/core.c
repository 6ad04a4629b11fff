/* SPDX-License-Identifier: MIT */
/*
 * The command dump-core: a guest's memory in a file, for debuggers.
 *
 * The guest is paused meanwhile unless --live asks for the contrary, and runs on afterwards if it
 * ran before, whatever happens, Ctrl-C included.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "dom0-tools/dump/core.h"
#include "dom0-tools/vane/life.h"
#include "dom0-tools/vane/vane.h"

/* Dumps a guest that is locked against being taken apart. */
static int dump(struct life *life, uint32_t domid, const char *path, bool live, struct err *err)
{
    struct xen_domctl_getdomaininfo info;
    bool pause;
    int rc = hv_domain_info(life->hv, domid, &info);

    if (rc != 0 || (info.flags & XEN_DOMINF_dying) != 0) {
        return err_set(err, ESRCH, "the guest has gone");
    }
    pause = !live && (info.flags & (XEN_DOMINF_paused | XEN_DOMINF_shutdown)) == 0;
    if (pause) {
        rc = hv_domain_pause(life->hv, domid);
        if (rc != 0) {
            return err_set_errno(err, -rc, "cannot pause the guest");
        }
    }
    rc = core_write(life->hv, domid, path, life_interrupted, err);
    if (pause) {
        hv_domain_unpause(life->hv, domid);
    }
    return rc;
}

static int run_dump_core(const struct vane_args *args)
{
    const char *path = args->operands[1];
    struct err err = {0};
    struct life life;
    sigset_t before;
    uint32_t domid;
    int lock = -1;
    int rc;

    if (access(path, F_OK) == 0) {
        err_set(&err, EEXIST, "dump-core: %s exists already", path);
        return vane_fail(&err);
    }
    rc = life_open(&life, &err);
    if (rc != 0) {
        return vane_fail(&err);
    }
    rc = life_find(&life, args->operands[0], &domid, &err);
    if (rc == 0) {
        rc = lock = life_lock_domain(domid, &err);
    }
    if (rc >= 0) {
        life_signals_hold(&before);
        rc = dump(&life, domid, path, vane_option(args, 'l') != NULL, &err);
        life_signals_release(&before);
        close(lock);
    }
    life_close(&life);
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

static const struct vane_option dump_options[] = {
    {'l', "live", NULL, "let the guest run on meanwhile: the picture is blurred"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_core[] = {
    {
        .name = "dump-core",
        .operands = "DOMAIN FILE",
        .summary = "write a guest's memory to a file for debuggers",
        .details = "The file is an ELF core in the form of Xen's tools, which crash reads; pages "
                   "of zeros take no room. The guest is paused meanwhile. FILE must not exist; "
                   "whether there is room for it is tested first, and there is never half of it.",
        .min_operands = 2,
        .max_operands = 2,
        .options = dump_options,
        .run = run_dump_core,
    },
    {.name = NULL},
};
