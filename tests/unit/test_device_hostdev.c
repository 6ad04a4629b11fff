/* SPDX-License-Identifier: MIT */
/*
 * Guests' PCI functions in the store (dom0-tools/device/hostdev.h), against our daemon on a socket
 * of its own. The kernel's back end and the guest are played by what the waits ask now and then.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dom0-tools/device/hostdev.h"
#include "tests/unit/own_store.h"

#define GUEST 5u
#define FRONT "/local/domain/5/device/pci/0"
#define BACK "/local/domain/0/backend/pci/5/0"
#define CARD "0000:00:05.0"
#define DISK "0000:00:06.0"
#define SOUND "0001:02:1f.7"
#define NOWHERE "ffff:fe:1f.7" /* not in this machine */

static struct err err;

static void put(const char *path, const char *value)
{
    CU_ASSERT_TRUE(xs_write(xs, XBT_NULL, path, value, (unsigned int)strlen(value)));
}

static bool is(const char *path, const char *want)
{
    unsigned int bytes;
    char *got = xs_read(xs, XBT_NULL, path, &bytes);
    bool same = want == NULL ? got == NULL : got != NULL && strcmp(got, want) == 0;

    free(got);
    return same;
}

/* --- guest and back end ------------------------------------------------------------------ */

enum manner {
    OBEDIENT,
    SILENT,  /* the guest does nothing */
    STUCK,   /* it begins and does not finish */
    GONE,    /* somebody ends the wait */
    UNMOVED, /* both say yes, the slot stays as it is */
};

static enum manner manner;
static int life_lock[2];     /* a pipe in its place: the other end notices */
static bool waited_unlocked; /* somebody waited, and the lock was free */

/* Whether the lock that add() was given is closed. */
static bool unlocked(void)
{
    char byte;

    return read(life_lock[0], &byte, 1) == 0;
}

static int play(void *context)
{
    (void)context;
    waited_unlocked = unlocked();
    if (manner == GONE) {
        return EINTR;
    }
    if (manner == SILENT || !is(BACK "/state", "7")) {
        return 0;
    }
    put(FRONT "/state", "7");
    if (manner == STUCK) {
        return 0;
    }
    for (char slot = '0'; slot < '8' && manner == OBEDIENT; slot++) {
        char path[] = BACK "/state-?";

        path[sizeof(path) - 2] = slot;
        if (is(path, "1")) {
            put(path, "3");
        }
    }
    put(BACK "/state", "8");
    put(FRONT "/state", "4");
    put(BACK "/state", "4");
    return 0;
}

static int add(const char *function, bool taken, unsigned int timeout_ms)
{
    const struct device_name name = {.xs = xs, .domid = GUEST, .kind = "pci"};
    const struct device_patience patience = {.timeout_ms = timeout_ms, .stop = play};

    CU_ASSERT_EQUAL_FATAL(pipe2(life_lock, O_NONBLOCK | O_CLOEXEC), 0);
    waited_unlocked = true; /* until it is seen otherwise */

    int rc = hostdev_add(
        &name, (struct hostdev_gift){.function = function, .taken = taken, .lock = life_lock[1]},
        &patience, &err);

    /* Whatever came of it. */
    CU_ASSERT_TRUE(waited_unlocked && unlocked());
    close(life_lock[0]);
    life_lock[0] = -1;
    return rc;
}

static int drop(const char *function, bool force, bool *taken, unsigned int timeout_ms)
{
    const struct device_name name = {.xs = xs, .domid = GUEST, .kind = "pci"};
    const struct device_patience patience = {.timeout_ms = timeout_ms, .stop = play};

    return hostdev_drop(&name, function, force, taken, &patience, &err);
}

static void connect_both(void)
{
    put(FRONT "/state", "4");
    put(BACK "/state", "4");
    put(BACK "/state-0", "3");
}

/* The guest has one and answers. */
static void one(void)
{
    manner = OBEDIENT;
    xs_rm(xs, XBT_NULL, "/local");
    CU_ASSERT_EQUAL(add(CARD, true, 0), 0);
    connect_both();
}

/* --- cases ------------------------------------------------------------------------------- */

static void test_first(void)
{
    struct hostdev_list list;
    uint32_t domid = 0;

    one();
    CU_ASSERT_TRUE(is(BACK "/dev-0", CARD) && is(BACK "/key-0", CARD) && is(BACK "/num_devs", "1"));
    CU_ASSERT_TRUE(is(FRONT "/backend", BACK) && is(BACK "/frontend", FRONT));
    CU_ASSERT_TRUE(hostdev_owner(xs, CARD, &domid) && domid == GUEST);
    CU_ASSERT_FALSE(hostdev_owner(xs, DISK, &domid));
    hostdev_taken(xs, GUEST, &list);
    CU_ASSERT_EQUAL_FATAL(list.count, 1);
    CU_ASSERT_STRING_EQUAL(list.names[0], CARD);
    hostdev_taken(xs, GUEST + 1, &list);
    CU_ASSERT_EQUAL(list.count, 0);
}

static void test_coming_and_going(void)
{
    struct hostdev_list list;
    bool taken = false;
    uint32_t domid;

    one();
    CU_ASSERT_EQUAL(add(DISK, false, PATIENCE_MS), 0);
    CU_ASSERT_TRUE(is(BACK "/dev-1", DISK) && is(BACK "/num_devs", "2"));
    CU_ASSERT_TRUE(is(BACK "/state-1", "3") && is(BACK "/state", "4"));
    hostdev_taken(xs, GUEST, &list);
    CU_ASSERT_EQUAL(list.count, 1);
    CU_ASSERT_EQUAL(drop(SOUND, false, &taken, PATIENCE_MS), -ENOENT);
    CU_ASSERT_EQUAL(drop(CARD, true, &taken, PATIENCE_MS), -EBUSY);
    CU_ASSERT_EQUAL(drop(CARD, false, &taken, PATIENCE_MS), 0);
    CU_ASSERT_TRUE(taken);
    CU_ASSERT_FALSE(hostdev_owner(xs, CARD, &domid));
    hostdev_taken(xs, GUEST, &list);
    CU_ASSERT_EQUAL(list.count, 0);
    /* The free slot is used before a new one. */
    CU_ASSERT_EQUAL(add(SOUND, true, PATIENCE_MS), 0);
    CU_ASSERT_TRUE(is(BACK "/dev-0", SOUND) && is(BACK "/num_devs", "2"));
    CU_ASSERT_EQUAL(drop(DISK, false, &taken, PATIENCE_MS), 0);
    CU_ASSERT_FALSE(taken);
    /* With the last one all goes. */
    CU_ASSERT_EQUAL(drop(SOUND, true, &taken, PATIENCE_MS), 0);
    CU_ASSERT_TRUE(taken);
    CU_ASSERT_TRUE(is(BACK, NULL) && is(FRONT, NULL));
}

static void test_who_does_not_answer(void)
{
    bool taken;
    uint32_t domid;

    one();
    manner = SILENT;
    CU_ASSERT_EQUAL(add(DISK, true, 1), -ETIMEDOUT);
    CU_ASSERT_STRING_EQUAL(err.text, "device " DISK ": the guest does not follow");
    CU_ASSERT_TRUE(is(BACK "/state", "4") && is(BACK "/state-1", "6"));
    CU_ASSERT_FALSE(hostdev_owner(xs, DISK, &domid));
    manner = GONE;
    CU_ASSERT_EQUAL(add(DISK, true, PATIENCE_MS), -EINTR);
    CU_ASSERT_TRUE(is(BACK "/state", "4") && is(BACK "/state-1", "6"));
    manner = UNMOVED;
    CU_ASSERT_EQUAL(add(DISK, true, PATIENCE_MS), -EIO);
    CU_ASSERT_FALSE(hostdev_owner(xs, DISK, &domid));
    manner = OBEDIENT;
    CU_ASSERT_EQUAL(add(DISK, true, PATIENCE_MS), 0);
    manner = SILENT;
    CU_ASSERT_EQUAL(drop(DISK, false, &taken, 1), -ETIMEDOUT);
    CU_ASSERT_TRUE(is(BACK "/state-1", "3") && hostdev_owner(xs, DISK, &domid));
    manner = STUCK;
    CU_ASSERT_EQUAL(drop(DISK, false, &taken, 1), -ETIMEDOUT);
    CU_ASSERT_STRING_EQUAL(err.text,
                           "device " DISK ": the guest has begun to follow and has not finished");
    /* Half-way there nothing else can be asked of it. */
    CU_ASSERT_EQUAL(add(SOUND, true, PATIENCE_MS), -EBUSY);
}

/* A guest that stops half-way: what it was to get is not given back a second time when it ends. */
static void test_stuck(void)
{
    struct hostdev_list list;

    one();
    manner = STUCK;
    CU_ASSERT_EQUAL(add(DISK, true, 1), -ETIMEDOUT);
    hostdev_taken(xs, GUEST, &list);
    CU_ASSERT_EQUAL_FATAL(list.count, 1);
    CU_ASSERT_STRING_EQUAL(list.names[0], CARD);
}

/* Between a guest's end and the return of what it had, another can have got it. */
static void test_passed_on(void)
{
    struct hostdev_list list = {.count = 1, .names = {DISK}};

    one();
    CU_ASSERT_EQUAL(add(DISK, false, PATIENCE_MS), 0);
    CU_ASSERT_TRUE(is(BACK "/taken-1", "0"));
    CU_ASSERT_EQUAL(hostdev_return(xs, GUEST + 1, &list, &err), 0);
    CU_ASSERT_TRUE(is(BACK "/taken-1", "1") && is(BACK "/taken-0", "1"));
    hostdev_taken(xs, GUEST, &list);
    CU_ASSERT_EQUAL(list.count, 2);
    /* Its own nodes, which could not be removed, do not keep it. */
    put(BACK "/dev-1", NOWHERE);
    snprintf(list.names[0], sizeof(list.names[0]), NOWHERE);
    list.count = 1;
    CU_ASSERT_NOT_EQUAL(hostdev_return(xs, GUEST, &list, &err), 0);
}

static void test_too_many(void)
{
    char path[64];

    one();
    for (unsigned int i = 1; i < HOSTDEV_SLOTS; i++) {
        snprintf(path, sizeof(path), BACK "/state-%u", i);
        put(path, "3");
    }
    put(BACK "/num_devs", "32");
    CU_ASSERT_EQUAL(add(DISK, true, PATIENCE_MS), -ENOSPC);
    put(BACK "/num_devs", "4294967295"); /* nonsense is bounded */
    CU_ASSERT_EQUAL(add(DISK, true, PATIENCE_MS), -ENOSPC);
}

static void test_usable(void)
{
    struct pci_function card = {
        .name = CARD, .class = 0x020000, .message = true, .driver = "e1000"};

    one();
    put("/local/domain/5/name", "web");
    CU_ASSERT_EQUAL(hostdev_usable(xs, &card, true, "-", &err), -EBUSY);
    CU_ASSERT_STRING_EQUAL(err.text, "device " CARD ": web has it");
    snprintf(card.name, sizeof(card.name), DISK);
    CU_ASSERT_EQUAL(hostdev_usable(xs, &card, false, "--take", &err), -EBUSY);
    CU_ASSERT_STRING_EQUAL(err.text, "device " DISK
                                     ": the control domain's e1000 drives it (--take takes it)");
    card.message = false;
    CU_ASSERT_EQUAL(hostdev_usable(xs, &card, true, "-", &err), -EOPNOTSUPP);
    card.class = 0x060400;
    CU_ASSERT_EQUAL(hostdev_usable(xs, &card, true, "-", &err), -EINVAL);
}

/* Where in the file it stands. */
static void test_blame(void)
{
    char file[] = "web.xml";
    struct vane_hostdev hostdev = {.address = "ffff:fe:1f.7", .managed = true, .line = 12};
    const struct vane_config config = {.file = file, .hostdevs = &hostdev, .hostdev_count = 1};

    CU_ASSERT_EQUAL(hostdev_check(xs, &config, &err), -ENOENT);
    CU_ASSERT_STRING_EQUAL(err.text, "web.xml:12: <hostdev>: device ffff:fe:1f.7: there is none");
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"the first", test_first},
        {"coming and going", test_coming_and_going},
        {"who does not answer", test_who_does_not_answer},
        {"stuck half-way", test_stuck},
        {"passed on", test_passed_on},
        {"too many", test_too_many},
        {"what can be given", test_usable},
        {"where it stands", test_blame},
        CU_TEST_INFO_NULL,
    };
    (void)argc;
    return own_store_main(argv, "PCI functions of guests", tests);
}
