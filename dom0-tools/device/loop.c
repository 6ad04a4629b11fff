/* SPDX-License-Identifier: MIT */
/*
 * Loop devices through /dev/loop-control; see loop.h.
 *
 * Finding a free device and configuring it are two steps, and another program may be faster in
 * between: the pair is tried again then.
 */
#include "dom0-tools/device/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ATTACH_TRIES_MAX 64u

/* Configures one free device. Returns: its descriptor, or a negative errno. */
static int attach_once(int control, int file, const char *path, bool readonly)
{
    struct loop_config config = {.fd = (__u32)file};
    char name[32];
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    int loop;

    if (number < 0) {
        return -errno;
    }
    snprintf(name, sizeof(name), "/dev/loop%d", number);
    loop = open(name, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (loop < 0) {
        return -errno;
    }
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (readonly ? LO_FLAGS_READ_ONLY : 0);
    snprintf((char *)config.info.lo_file_name, sizeof(config.info.lo_file_name), "%s", path);
    if (ioctl(loop, LOOP_CONFIGURE, &config) != 0) {
        int rc = -errno;

        close(loop);
        return rc;
    }
    return loop;
}

int loop_attach(const char *path, bool readonly, dev_t *device, struct err *err)
{
    struct stat status;
    int control;
    int file;
    int loop = -EBUSY;

    file = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (file < 0) {
        return err_set_errno(err, errno, "%s", path);
    }
    control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) {
        loop = err_set_errno(err, errno, "no loop devices: /dev/loop-control");
        close(file);
        return loop;
    }
    for (unsigned int i = 0; i < ATTACH_TRIES_MAX && loop == -EBUSY; i++) {
        loop = attach_once(control, file, path, readonly);
    }
    close(control);
    close(file);
    if (loop < 0) {
        return err_set_errno(err, -loop, "cannot make a loop device for %s", path);
    }
    if (fstat(loop, &status) != 0) {
        int rc = err_set_errno(err, errno, "loop device for %s", path);

        close(loop);
        return rc;
    }
    *device = status.st_rdev;
    return loop;
}

int loop_backing(unsigned int number, dev_t *file_device, ino_t *file_inode, bool *readonly)
{
    struct loop_info64 info;
    char name[32];
    int rc = 0;
    int loop;

    snprintf(name, sizeof(name), "/dev/loop%u", number);
    loop = open(name, O_RDONLY | O_CLOEXEC);
    if (loop < 0) {
        return -errno;
    }
    if (ioctl(loop, LOOP_GET_STATUS64, &info) != 0) {
        rc = -errno;
    } else {
        *file_device = (dev_t)info.lo_device;
        *file_inode = (ino_t)info.lo_inode;
        *readonly = (info.lo_flags & LO_FLAGS_READ_ONLY) != 0;
    }
    close(loop);
    return rc;
}

bool loop_find(dev_t file_device, ino_t file_inode,
               bool (*skip)(unsigned int number, void *context), void *context,
               unsigned int *number, bool *readonly)
{
    DIR *devices = opendir("/sys/block");
    struct dirent *entry;
    bool found = false;

    if (devices == NULL) {
        return false;
    }
    while (!found && (entry = readdir(devices)) != NULL) {
        dev_t device = 0;
        ino_t inode = 0;

        if (sscanf(entry->d_name, "loop%u", number) != 1 || skip(*number, context)) {
            continue;
        }
        found = loop_backing(*number, &device, &inode, readonly) == 0 && device == file_device &&
                inode == file_inode;
    }
    closedir(devices);
    return found;
}
