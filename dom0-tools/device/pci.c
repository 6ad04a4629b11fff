/* SPDX-License-Identifier: MIT */
/*
 * PCI functions in /sys; see pci.h.
 *
 * What a range covers is rounded to whole frames: a page table cannot give less.
 */
#include "dom0-tools/device/pci.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAME_SHIFT 12
#define PATH_BYTES 256

/* Of a line in `resource`, as linux/ioport.h has them. */
#define RESOURCE_PORTS 0x100u
#define RESOURCE_MEMORY 0x200u

/* Configuration space. */
#define CONFIG_BYTES 256u
#define CONFIG_STATUS 0x06
#define CONFIG_FIRST_CAPABILITY 0x34
#define STATUS_HAS_CAPABILITIES 0x10
#define CAPABILITY_MSI 0x05
#define CAPABILITY_MSIX 0x11

static void path_of(const char *sysfs, const char *name, const char *file, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/bus/pci/devices/%s/%s", sysfs, name, file);
}

/* Returns: how many bytes, or a negative errno. */
static ssize_t slurp(const char *path, char *data, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, data, bytes);
    int saved = errno;

    if (fd >= 0) {
        close(fd);
    }
    return got < 0 ? -saved : got;
}

static int read_hex(const char *sysfs, const char *name, const char *file, uint32_t *value)
{
    char path[PATH_BYTES];
    char text[32] = "";
    ssize_t got;

    path_of(sysfs, name, file, path);
    got = slurp(path, text, sizeof(text) - 1);
    *value = (uint32_t)strtoul(text, NULL, 16);
    return got < 0 ? (int)got : 0;
}

static void read_driver(const char *sysfs, struct pci_function *function)
{
    char target[PATH_BYTES];
    char path[PATH_BYTES];
    const char *last;
    ssize_t got;

    path_of(sysfs, function->name, "driver", path);
    got = readlink(path, target, sizeof(target) - 1);
    if (got > 0) {
        target[got] = '\0';
        last = strrchr(target, '/');
        snprintf(function->driver, sizeof(function->driver), "%.31s",
                 last != NULL ? last + 1 : target);
    }
}

static void read_ranges(const char *sysfs, struct pci_function *function)
{
    char path[PATH_BYTES];
    char text[2048] = "";
    char *line = text;

    path_of(sysfs, function->name, "resource", path);
    if (slurp(path, text, sizeof(text) - 1) < 0) {
        return;
    }
    for (unsigned int i = 0; i < PCI_RANGES && line != NULL && *line != '\0'; i++) {
        struct pci_range *range = &function->ranges[function->range_count];
        unsigned long long first;
        unsigned long long last;
        unsigned long long flags;

        if (sscanf(line, "%llx %llx %llx", &first, &last, &flags) == 3 && last > first) {
            range->ports = (flags & RESOURCE_PORTS) != 0;
            range->first = range->ports ? first : first >> FRAME_SHIFT;
            range->count = (range->ports ? last : last >> FRAME_SHIFT) - range->first + 1;
            function->range_count += (flags & (RESOURCE_PORTS | RESOURCE_MEMORY)) != 0;
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
}

static bool has_message(const char *sysfs, const char *name)
{
    uint8_t config[CONFIG_BYTES] = {0};
    char path[PATH_BYTES];
    unsigned int at;

    path_of(sysfs, name, "config", path);
    if (slurp(path, (char *)config, sizeof(config)) < 0x40 ||
        (config[CONFIG_STATUS] & STATUS_HAS_CAPABILITIES) == 0) {
        return false;
    }
    at = config[CONFIG_FIRST_CAPABILITY] & 0xfcu;
    /* A device may have made a loop of its list. */
    for (unsigned int i = 0; at >= 0x40 && i < CONFIG_BYTES / 4; i++) {
        if (config[at] == CAPABILITY_MSI || config[at] == CAPABILITY_MSIX) {
            return true;
        }
        at = config[at + 1] & 0xfcu;
    }
    return false;
}

int pci_read(const char *sysfs, const char *name, struct pci_function *function, struct err *err)
{
    uint32_t vendor;
    uint32_t device;
    int rc;

    memset(function, 0, sizeof(*function));
    snprintf(function->name, sizeof(function->name), "%s", name);
    rc = read_hex(sysfs, name, "vendor", &vendor);
    if (rc == -ENOENT) {
        return err_set(err, ENOENT, "device %s: there is none", name);
    }
    rc = rc != 0 ? rc : read_hex(sysfs, name, "device", &device);
    rc = rc != 0 ? rc : read_hex(sysfs, name, "class", &function->class);
    if (rc != 0) {
        return err_set_errno(err, -rc, "device %s", name);
    }
    function->vendor = (uint16_t)vendor;
    function->device = (uint16_t)device;
    read_driver(sysfs, function);
    read_ranges(sysfs, function);
    function->message = has_message(sysfs, name);
    return 0;
}

int pci_each(const char *sysfs, int (*visit)(const struct pci_function *function, void *context),
             void *context, struct err *err)
{
    struct dirent **entries;
    char path[PATH_BYTES];
    int rc = 0;
    int count;

    snprintf(path, sizeof(path), "%s/bus/pci/devices", sysfs);
    count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) {
        return errno == ENOENT ? 0 : err_set_errno(err, errno, "%s", path);
    }
    for (int i = 0; i < count; i++) {
        struct pci_function function;
        char name[CONFIG_PCI_NAME_BYTES];

        if (rc == 0 && config_pci_name(entries[i]->d_name, name)) {
            rc = pci_read(sysfs, name, &function, err);
            /* One that has gone meanwhile is not there. */
            rc = rc == 0 ? visit(&function, context) : rc == -ENOENT ? 0 : rc;
        }
        free(entries[i]);
    }
    free(entries);
    return rc;
}

/* Writes a function's name to one of the kernel's files. */
static int tell(const char *path, const char *name, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t done = fd < 0 ? -1 : write(fd, name, strlen(name));
    int saved = errno;

    if (fd >= 0) {
        close(fd);
    }
    return done < 0 ? err_set_errno(err, saved, "device %s: %s", name, path) : 0;
}

static int tell_back(const char *sysfs, const char *file, const char *name, struct err *err)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s/bus/pci/drivers/" PCI_BACK "/%s", sysfs, file);
    return tell(path, name, err);
}

/* Has the control domain's driver for it look at a function that nobody has. */
static int probe(const char *sysfs, const char *name, struct err *err)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s/bus/pci/drivers_probe", sysfs);
    return tell(path, name, err);
}

int pci_take(const char *sysfs, const struct pci_function *function, struct err *err)
{
    struct err ignored = {0};
    char path[PATH_BYTES];
    int rc = 0;

    snprintf(path, sizeof(path), "%s/bus/pci/drivers/" PCI_BACK, sysfs);
    if (access(path, F_OK) != 0) {
        return err_set(err, ENODEV,
                       "the kernel has no pciback driver: load the module xen-pciback");
    }
    if (function->driver[0] != '\0') {
        path_of(sysfs, function->name, "driver/unbind", path);
        rc = tell(path, function->name, err);
    }
    if (rc != 0) {
        return rc;
    }
    rc = tell_back(sysfs, "new_slot", function->name, err);
    rc = rc != 0 ? rc : tell_back(sysfs, "bind", function->name, err);
    if (rc != 0) { /* nobody would drive it */
        tell_back(sysfs, "remove_slot", function->name, &ignored);
        probe(sysfs, function->name, &ignored);
    }
    return rc;
}

int pci_give_back(const char *sysfs, const char *name, struct err *err)
{
    int rc = tell_back(sysfs, "unbind", name, err);

    rc = rc != 0 ? rc : tell_back(sysfs, "remove_slot", name, err);
    return rc != 0 ? rc : probe(sysfs, name, err);
}
