/* SPDX-License-Identifier: MIT */
/*
 * A configuration in the form of xl's files. Whatever is written is what xlcfg_parse() reads back;
 * what xl has no words for is an error, not a guess.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/config/xlcfg.h"

#define KIB_PER_MIB 1024u

/* A string in quotes. */
static void quote(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            fputc('\\', to);
            fputc(*text, to);
        } else if (*text == '\n' || *text == '\t') {
            fputs(*text == '\n' ? "\\n" : "\\t", to);
        } else {
            fputc(*text, to);
        }
    }
    fputc('"', to);
}

static void put(FILE *to, const char *key, const char *text)
{
    fprintf(to, "%s = ", key);
    quote(to, text);
    fputc('\n', to);
}

/* Each line of a text behind a '#'. */
static void comment(FILE *to, const char *what, const char *text)
{
    if (text == NULL || *text == '\0') {
        return;
    }
    fprintf(to, "# %s: ", what);
    for (; *text != '\0'; text++) {
        fputc(*text, to);
        fputs(*text == '\n' ? "# " : "", to);
    }
    fputc('\n', to);
}

static int put_memory(FILE *to, const char *key, uint64_t kib, struct err *err)
{
    if (kib % KIB_PER_MIB != 0) {
        return err_set(err, EBADMSG,
                       "%s: %" PRIu64 " KiB is no whole number of MiB, which is all xl can say",
                       key, kib);
    }
    fprintf(to, "%s = %" PRIu64 "\n", key, kib / KIB_PER_MIB);
    return 0;
}

/* --- processors -------------------------------------------------------------------------- */

static void pin_text(const struct cpuset *set, char text[CPUSET_TEXT_BYTES + 8])
{
    char any[CPUSET_TEXT_BYTES];

    cpuset_format_any(set, any);
    snprintf(text, CPUSET_TEXT_BYTES + 8, "%s%s",
             *any == '\0'  ? "all"
             : *any == '^' ? "all,"
                           : "",
             any);
}

static void put_pins(FILE *to, const struct vane_config *config)
{
    char text[CPUSET_TEXT_BYTES + 8];
    char first[CPUSET_TEXT_BYTES + 8];
    bool same = true;

    pin_text(&config->pins[0], first);
    for (unsigned int i = 1; i < config->vcpus; i++) {
        pin_text(&config->pins[i], text);
        same = same && strcmp(text, first) == 0;
    }
    if (same) {
        if (strcmp(first, "all") != 0) {
            put(to, "cpus", first);
        }
        return;
    }
    fputs("cpus = [", to);
    for (unsigned int i = 0; i < config->vcpus; i++) {
        pin_text(&config->pins[i], text);
        fputs(i > 0 ? ", " : "", to);
        quote(to, text);
    }
    fputs("]\n", to);
}

static void put_processors(FILE *to, const struct vane_config *config)
{
    fprintf(to, "vcpus = %u\n", config->current_vcpus);
    if (config->vcpus != config->current_vcpus) {
        fprintf(to, "maxvcpus = %u\n", config->vcpus);
    }
    put_pins(to, config);
    if (config->weight != 0) {
        fprintf(to, "cpu_weight = %u\n", config->weight);
    }
    if (config->cap != 0) {
        fprintf(to, "cap = %u\n", config->cap);
    }
}

/* --- devices ----------------------------------------------------------------------------- */

/* By a path xl tells a device from a file as we do; where that would be wrong, the older form says
 * it, in which a comma has no place. */
static int put_disk(FILE *to, const struct vane_disk *disk, struct err *err)
{
    bool block = disk->type == VANE_DISK_BLOCK;
    bool plain = block == (strncmp(disk->path, "/dev/", 5) == 0);
    const char *access = disk->readonly ? "ro" : "rw";
    char *text;
    int rc;

    if (disk->shareable) {
        return err_set(err, EBADMSG, "disk: '%.200s' is shareable, for which xl has no word",
                       disk->path);
    }
    if (!plain && disk->qcow2) {
        return err_set(err, EBADMSG, "disk: '%.200s' in /dev is a file, which xl would not believe",
                       disk->path);
    }
    if (!plain && strpbrk(disk->path, ",") != NULL) {
        return err_set(err, EBADMSG, "disk: '%.200s' cannot be said to xl, because of the comma",
                       disk->path);
    }
    rc = plain ? asprintf(&text, "format=%s, vdev=%s, access=%s%s, target=%s",
                          disk->qcow2 ? "qcow2" : "raw", disk->target, access,
                          disk->cdrom ? ", devtype=cdrom" : "", disk->path)
               : asprintf(&text, "%s:%s,%s%s,%s", block ? "phy" : "file", disk->path, disk->target,
                          disk->cdrom ? ":cdrom" : "", access);
    if (rc < 0) {
        return err_set(err, ENOMEM, "no memory");
    }
    fputs("    ", to);
    quote(to, text);
    fputs(",\n", to);
    free(text);
    return 0;
}

static int put_net(FILE *to, const struct vane_net *net, struct err *err)
{
    char mac[18] = "";
    char rate[48] = "";

    if (net->filter != 0) {
        return err_set(err, EBADMSG, "vif: a filter of addresses, for which xl has no word");
    }
    if (net->rate_kib != 0) {
        snprintf(rate, sizeof(rate), ", rate=%lluB/s", (unsigned long long)net->rate_kib * 1024);
    }

    if (net->mac_given) {
        config_mac_format(net->mac, mac);
    }
    fprintf(to, "    \"%s%s%sbridge=%s%s%s%s\",\n", net->mac_given ? "mac=" : "", mac,
            net->mac_given ? ", " : "", net->bridge, net->target != NULL ? ", vifname=" : "",
            net->target != NULL ? net->target : "", rate);
    return 0;
}

static int put_devices(FILE *to, const struct vane_config *config, struct err *err)
{
    int rc = 0;

    if (config->disk_count > 0) {
        fputs("disk = [\n", to);
        for (size_t i = 0; rc == 0 && i < config->disk_count; i++) {
            rc = put_disk(to, &config->disks[i], err);
        }
        fputs("]\n", to);
    }
    if (rc == 0 && config->net_count > 0) {
        fputs("vif = [\n", to);
        for (size_t i = 0; rc == 0 && i < config->net_count; i++) {
            rc = put_net(to, &config->nets[i], err);
        }
        fputs("]\n", to);
    }
    if (rc == 0 && config->hostdev_count > 0) {
        fputs("pci = [\n", to);
        for (size_t i = 0; i < config->hostdev_count; i++) {
            fprintf(to, "    \"%s%s\",\n", config->hostdevs[i].address,
                    config->hostdevs[i].managed ? ",seize=1" : "");
        }
        fputs("]\n", to);
    }
    return rc;
}

/* --- the whole --------------------------------------------------------------------------- */

static int put_config(FILE *to, const struct vane_config *config, struct err *err)
{
    char uuid[37];
    int rc;

    comment(to, "title", config->title);
    comment(to, "description", config->description);
    put(to, "name", config->name);
    put(to, "type", "pv");
    if (config->uuid_given) {
        config_uuid_format(config->uuid, uuid);
        put(to, "uuid", uuid);
    }
    rc = put_memory(to, "memory", config->current_memory_kib, err);
    if (rc == 0 && config->memory_kib != config->current_memory_kib) {
        rc = put_memory(to, "maxmem", config->memory_kib, err);
    }
    if (rc != 0) {
        return rc;
    }
    put_processors(to, config);
    put(to, "kernel", config->kernel);
    if (config->ramdisk != NULL) {
        put(to, "ramdisk", config->ramdisk);
    }
    if (*config->cmdline != '\0') {
        put(to, "cmdline", config->cmdline);
    }
    put(to, "on_poweroff", config_action_name(config->on_poweroff));
    put(to, "on_reboot", config_action_name(config->on_reboot));
    put(to, "on_crash", config_action_name(config->on_crash));
    return put_devices(to, config, err);
}

int xlcfg_write(const struct vane_config *config, char **text, struct err *err)
{
    char *data = NULL;
    size_t bytes;
    FILE *to = open_memstream(&data, &bytes);
    int rc;

    if (to == NULL) {
        return err_set(err, ENOMEM, "%s: no memory", config->name);
    }
    rc = put_config(to, config, err);
    if (fclose(to) != 0 && rc == 0) {
        rc = err_set(err, ENOMEM, "%s: no memory", config->name);
    }
    if (rc != 0) {
        free(data);
        return rc;
    }
    *text = data;
    return 0;
}
