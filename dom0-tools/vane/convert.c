/* SPDX-License-Identifier: MIT */
/*
 * The command convert: a guest's file from xl's form to XML and back.
 *
 * Which form a file has is seen in it, not in its name. Both go through the one configuration, so
 * what is converted is also valid.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/base/file.h"
#include "dom0-tools/config/xlcfg.h"
#include "dom0-tools/vane/vane.h"

/* Which form to write: as told, else the one the file does not have. */
static int choose(const struct vane_args *args, bool is_xml, bool *to_xml)
{
    const char *form = vane_option(args, 't');

    *to_xml = form != NULL ? strcmp(form, "xml") == 0 : !is_xml;
    if (form != NULL && !*to_xml && strcmp(form, "xl") != 0) {
        vane_error("convert: there is no form '%s' (xml, xl)", form);
        return -EINVAL;
    }
    return 0;
}

static int put_out(const struct vane_args *args, const char *text, struct err *err)
{
    const char *path = vane_option(args, 'o');

    if (path != NULL) {
        return file_write(path, text, strlen(text), err);
    }
    return fputs(text, stdout) >= 0 && fflush(stdout) == 0
               ? 0
               : err_set_errno(err, errno, "standard output");
}

static int run_convert(const struct vane_args *args)
{
    const char *path = args->operands[0];
    struct vane_config *config = NULL;
    struct err err = {0};
    char *text = NULL;
    bool to_xml;
    size_t bytes;
    void *data;
    int rc;

    if (vane_option(args, 'o') != NULL && file_is_same(path, vane_option(args, 'o'))) {
        vane_error("convert: '%s' would be written over itself", path);
        return VANE_USAGE;
    }
    if (file_read(path, CONFIG_MAX_FILE_BYTES, &data, &bytes, &err) != 0) {
        return vane_fail(&err);
    }
    if (choose(args, xlcfg_is_xml(data, bytes), &to_xml) != 0) {
        free(data);
        return VANE_USAGE;
    }
    rc = xlcfg_is_xml(data, bytes) ? config_parse(path, data, bytes, &config, &err)
                                   : xlcfg_parse(path, data, bytes, &config, &err);
    free(data);
    if (rc == 0) {
        rc = to_xml ? config_write_xml(config, &text, &err) : xlcfg_write(config, &text, &err);
        if (rc != 0) {
            err_prefix(&err, "%s", path);
        }
        config_free(config);
    }
    rc = rc != 0 ? rc : put_out(args, text, &err);
    free(text);
    return rc != 0 ? vane_fail(&err) : VANE_OK;
}

static const struct vane_option convert_options[] = {
    {'t', "to", "FORM", "write that form: xml or xl (default: the one FILE does not have)"},
    {'o', "output", "OUT", "write to a file (default: standard output)"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_convert[] = {
    {
        .name = "convert",
        .operands = "FILE",
        .summary = "turn a configuration of xl into XML, or back",
        .details = "FILE is what xl create takes, or XML as create takes it. Of xl's settings are "
                   "done: name, uuid, type (pv), memory, maxmem, vcpus, maxvcpus, cpus, "
                   "cpu_weight, cap, kernel, ramdisk, cmdline, root, extra, disk, vif, pci, "
                   "on_poweroff, on_reboot and on_crash. Any other is an error that names file, "
                   "line and setting, as is a value that asks for what is not done; nothing is "
                   "passed over.\n\n"
                   "A disk whose target is below /dev is a block device, any other a file; phy: "
                   "and file: before it say so explicitly. A vif without bridge= joins xenbr0, as "
                   "with xl. A PCI device with seize=1 is what XML calls managed. To xl, title and "
                   "description are written as comments and metadata is "
                   "left out. What xl has no words for is an error.",
        .min_operands = 1,
        .max_operands = 1,
        .options = convert_options,
        .run = run_convert,
    },
    {.name = NULL},
};
