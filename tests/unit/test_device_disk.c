/* SPDX-License-Identifier: MIT */
/*
 * Who may use what as a disk (dom0-tools/device/disk.c), against our store's daemon on a socket of
 * its own. Loop devices are played: file number n of this test is backed by loop n.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "dom0-tools/device/device_internal.h"
#include "dom0-tools/device/disk_users.h"
#include "dom0-tools/device/loop.h"
#include "tests/unit/own_store.h"

#define FILES 60
#define XVDA 51712u

static struct err err;
static char paths[FILES][600];
static bool loops[FILES]; /* those that are there */
static unsigned int reads, searches;

/* --- what the rest of the machine says ---------------------------------------------------- */

int __wrap_device_driver_check(const char *kind, const char *module, struct err *error);
int __wrap_loop_attach(const char *path, bool readonly, dev_t *device, struct err *error);
int __wrap_loop_backing(unsigned int number, dev_t *device, ino_t *inode, bool *readonly);
bool __wrap_loop_find(dev_t device, ino_t inode, bool (*skip)(unsigned int number, void *context),
                      void *context, unsigned int *number, bool *readonly);
void *__wrap_xs_read(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *len);
void *__real_xs_read(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *len);

int __wrap_device_driver_check(const char *kind, const char *module, struct err *error)
{
    (void)kind, (void)module, (void)error;
    return 0;
}

int __wrap_loop_backing(unsigned int number, dev_t *device, ino_t *inode, bool *readonly)
{
    struct stat status;

    if (number >= FILES || !loops[number] || stat(paths[number], &status) != 0) {
        return -ENXIO;
    }
    *device = status.st_dev;
    *inode = status.st_ino;
    *readonly = false;
    return 0;
}

int __wrap_loop_attach(const char *path, bool readonly, dev_t *device, struct err *error)
{
    (void)readonly, (void)error;
    for (unsigned int i = 0; i < FILES; i++) {
        if (strcmp(paths[i], path) == 0) {
            loops[i] = true;
            *device = makedev(LOOP_DEVICE_MAJOR, i);
            return open(path, O_RDONLY | O_CLOEXEC); /* as the loop device has */
        }
    }
    return -ENOENT;
}

bool __wrap_loop_find(dev_t device, ino_t inode, bool (*skip)(unsigned int number, void *context),
                      void *context, unsigned int *number, bool *readonly)
{
    searches++;
    for (*number = 0; *number < FILES; ++*number) {
        dev_t file_device;
        ino_t file_inode;

        if (!skip(*number, context) &&
            __wrap_loop_backing(*number, &file_device, &file_inode, readonly) == 0 &&
            file_device == device && file_inode == inode) {
            return true;
        }
    }
    return false;
}

void *__wrap_xs_read(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned int *len)
{
    reads++;
    return __real_xs_read(h, t, path, len);
}

/* --- guests -------------------------------------------------------------------------------- */

static struct vane_disk disk;
static struct device_set sets[FILES];

static const struct vane_config *with(unsigned int file, bool readonly, bool shareable)
{
    static char target[] = "xvda";
    static struct vane_config config;

    disk = (struct vane_disk){.path = paths[file],
                              .target = target,
                              .vdev = XVDA,
                              .readonly = readonly,
                              .shareable = shareable};
    config = (struct vane_config){.disks = &disk, .disk_count = 1};
    return &config;
}

static void start(uint32_t domid, const struct vane_config *config)
{
    struct node home = node_at(xs, XBT_NULL, "/local/domain/%u", domid);

    CU_ASSERT_EQUAL(node_write(&home, "name", "guest%u", domid), 0);
    device_set_init(&sets[domid], xs, config);
    sets[domid].domid = domid;
    CU_ASSERT_EQUAL(disk_begin(&sets[domid], 0, &err), 0);
}

static void end(uint32_t domid)
{
    struct node home = node_at(xs, XBT_NULL, "/local/domain/%u", domid);

    device_backend_forget(xs, domid, "vbd", XVDA);
    node_remove(&home);
    device_set_end(&sets[domid]);
}

static bool is_there(const char *path)
{
    struct node node = node_at(xs, XBT_NULL, "%s", path);

    return node_exists(&node);
}

/* --- cases --------------------------------------------------------------------------------- */

static void test_one_writer(void)
{
    CU_ASSERT_EQUAL(disk_check(xs, with(1, false, false), &err), 0);
    start(1, with(1, false, false));
    CU_ASSERT_EQUAL(disk_check(xs, with(1, false, false), &err), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "is in use by domain guest1"));
    CU_ASSERT_EQUAL(disk_check(xs, with(1, true, false), &err), -EBUSY);
    CU_ASSERT_EQUAL(disk_check(xs, with(2, false, false), &err), 0);
    loops[1] = false;
    end(1);
    CU_ASSERT_EQUAL(disk_check(xs, with(1, false, false), &err), 0);
}

static void test_another_name(void)
{
    char name[sizeof(paths[0]) + 8];

    snprintf(name, sizeof(name), "%s.hard", paths[1]);
    CU_ASSERT_EQUAL(link(paths[1], name), 0);
    start(1, with(1, false, false));
    (void)with(1, false, false);
    disk.path = name;
    CU_ASSERT_EQUAL(disk_check(xs, &(struct vane_config){.disks = &disk, .disk_count = 1}, &err),
                    -EBUSY);
    unlink(name);
    loops[1] = false;
    end(1);
}

static void test_together(void)
{
    start(1, with(1, true, false));
    start(2, with(2, false, true));
    CU_ASSERT_EQUAL(disk_check(xs, with(1, true, false), &err), 0);
    CU_ASSERT_EQUAL(disk_check(xs, with(1, false, false), &err), -EBUSY);
    CU_ASSERT_EQUAL(disk_check(xs, with(2, false, true), &err), 0);
    CU_ASSERT_EQUAL(disk_check(xs, with(2, true, false), &err), -EBUSY);
    loops[1] = loops[2] = false;
    end(1);
    end(2);
}

/* A file that the control domain has behind a loop device, or a guest has as a block device. */
static void test_behind_a_loop_device(void)
{
    const struct disk_what loop = {.block = true, .device = makedev(LOOP_DEVICE_MAJOR, 3)};
    struct node home = node_at(xs, XBT_NULL, "/local/domain/4");
    struct node back = device_backend(xs, XBT_NULL, 4, "vbd", XVDA);
    int held = open(paths[3], O_RDWR);

    CU_ASSERT_EQUAL(disk_check(xs, with(3, false, false), &err), 0);
    loops[3] = true;
    CU_ASSERT_EQUAL(disk_check(xs, with(3, false, true), &err), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "is in use by /dev/loop3"));
    node_put(&home, "name", "db");
    node_put(&back, "physical-device", "7:3");
    node_put(&back, "mode", "w");
    disk_users_add(&back, 4, XVDA, &loop, 1);
    CU_ASSERT_EQUAL(home.error | back.error, 0);
    CU_ASSERT_EQUAL(disk_check(xs, with(3, false, true), &err), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "is in use by domain db"));
    node_put(&back, "shareable", "1");
    CU_ASSERT_EQUAL(disk_check(xs, with(3, false, true), &err), 0);
    CU_ASSERT_EQUAL(disk_check(xs, with(3, false, false), &err), -EBUSY);
    loops[3] = false;
    close(held);
    device_backend_forget(xs, 4, "vbd", XVDA);
    node_remove(&home);
}

/* Nothing of the index outlives the last disk; what others leave in it means nothing. */
static void test_entries(void)
{
    struct node back = device_backend(xs, XBT_NULL, 2, "vbd", XVDA);

    start(1, with(1, false, false));
    start(2, with(2, false, false));
    CU_ASSERT_TRUE(is_there("/vane/disks/b7-1/1-51712"));
    loops[1] = loops[2] = false;
    end(1);
    CU_ASSERT_FALSE(is_there("/vane/disks/b7-1"));
    CU_ASSERT_TRUE(is_there("/vane/disks/b7-2/2-51712"));
    node_remove(&back);
    CU_ASSERT_EQUAL(disk_check(xs, with(2, false, false), &err), 0);
    start(2, with(2, false, false));
    CU_ASSERT_EQUAL(disk_check(xs, with(2, false, false), &err), -EBUSY);
    loops[2] = false;
    end(2);
    CU_ASSERT_FALSE(is_there("/vane"));
}

/* Disks of xl's guests are in no index. */
static void test_of_other_tools(void)
{
    struct node back = device_backend(xs, XBT_NULL, 9, "vbd", XVDA);
    struct node theirs = node_at(xs, XBT_NULL, "/libxl");
    int held = open(paths[1], O_RDWR);

    loops[1] = true;
    node_put(&back, "physical-device", "7:1");
    node_put(&back, "mode", "w");
    node_put(&theirs, "9/type", "pv");
    CU_ASSERT_EQUAL(disk_check(xs, with(1, false, false), &err), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "is in use by domain 9"));
    loops[1] = false;
    close(held);
    node_remove(&back);
    node_remove(&theirs);
}

/* What a check asks the store for does not grow with the guests, nor are loop devices looked
 * through for a file that nobody has open. */
static void test_many(void)
{
    int fd = open(paths[0], O_RDONLY);
    bool leases = fcntl(fd, F_SETLEASE, F_WRLCK) == 0;
    unsigned int alone;

    close(fd);
    reads = 0;
    CU_ASSERT_EQUAL(disk_check(xs, with(0, false, false), &err), 0);
    alone = reads;
    CU_ASSERT_TRUE(alone > 0);
    for (uint32_t i = 1; i < FILES; i++) {
        start(i, with(i, false, false));
    }
    reads = searches = 0;
    CU_ASSERT_EQUAL(disk_check(xs, with(0, false, false), &err), 0);
    CU_ASSERT_EQUAL(reads, alone);
    CU_ASSERT_TRUE(!leases || searches == 0);
    for (uint32_t i = 1; i < FILES; i++) {
        CU_ASSERT_EQUAL(disk_check(xs, with(i, false, false), &err), -EBUSY);
    }
    for (uint32_t i = 1; i < FILES; i++) {
        loops[i] = false;
        end(i);
    }
}

static int make_files(void)
{
    int rc = own_store_start();

    for (unsigned int i = 0; i < FILES && rc == 0; i++) {
        int fd;

        snprintf(paths[i], sizeof(paths[i]), "%s/disk%u", own_store_folder, i);
        fd = open(paths[i], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        rc = fd < 0 || ftruncate(fd, 1 << 20) != 0;
        close(fd);
    }
    return rc;
}

static int remove_files(void)
{
    for (unsigned int i = 0; i < FILES; i++) {
        unlink(paths[i]);
    }
    return own_store_end();
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"one writer", test_one_writer},
        {"by another name", test_another_name},
        {"readers, and who shares", test_together},
        {"behind a loop device", test_behind_a_loop_device},
        {"entries", test_entries},
        {"of other tools", test_of_other_tools},
        {"many", test_many},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{"disks of guests", make_files, remove_files, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};

    (void)argc;
    snprintf(own_store_here, sizeof(own_store_here), "%s", dirname(argv[0]));
    return run_suites(suites);
}
