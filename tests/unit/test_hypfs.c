// SPDX-License-Identifier: MIT
/* core/hypfs.c and base/protection.c: the tree of texts, as a stock tool reads it. */
#include <stdlib.h>
#include <string.h>

#include "base/protection.h"
#include "suite.h"

#define HYPFS_OP 42

static struct domain *control, *guest;

static void begin(void)
{
    control = suite_control();
    guest = suite_domain(1, 1);
    suite_enter(control->vcpu[0]);
    protection_count = 0;
    protection_report("NX", "on");
    protection_report("SMAP", "off: %s", "not in this processor");
    protection_report("W^X", "on, checked");
}

static void end(void)
{
    suite_enter(NULL);
    suite_destroy(guest);
    suite_destroy(control);
}

static long call(unsigned cmd, vaddr_t path, uint64_t length, vaddr_t to, uint64_t room)
{
    struct cpu_user_regs regs = {.rax = HYPFS_OP, .rdi = cmd, .rsi = path, .rdx = length};
    regs.r10 = to;
    regs.r8 = room;
    host_fetch_reset();
    hypercall_from_regs(&regs);
    return (long)regs.rax;
}

/* Read `path` into `room` bytes, behind which nothing is touched. */
static long read_into(const char *path, uint64_t room, struct xen_hypfs_direntry *head,
                      char *content)
{
    vaddr_t to = host_guest_alloc(room + 8);
    uint8_t *p = host_guest_ptr(to);
    memset(p, 0x77, room + 8);
    long rc =
        call(XEN_HYPFS_OP_read, host_guest_put(path, strlen(path) + 1), strlen(path) + 1, to, room);
    for (unsigned i = 0; i < 8; i++) {
        CU_ASSERT_EQUAL(p[room + i], 0x77);
    }
    if (head && (!rc || rc == -ENOBUFS)) {
        memcpy(head, p, sizeof(*head));
    }
    if (content && !rc) {
        memcpy(content, p + sizeof(*head), head->content_len);
    }
    return rc;
}

static void expect_text(const char *path, const char *text)
{
    struct xen_hypfs_direntry head;
    char content[256];
    CU_ASSERT_EQUAL_FATAL(read_into(path, sizeof(content), &head, content), 0);
    CU_ASSERT(head.type == XEN_HYPFS_TYPE_STRING && head.encoding == XEN_HYPFS_ENC_PLAIN);
    CU_ASSERT(head.pad == 0 && head.max_write_len == 0);
    CU_ASSERT_EQUAL(head.content_len, strlen(text) + 1);
    CU_ASSERT_STRING_EQUAL(content, text);
}

/* Names of a directory, each followed by a blank; checks that each entry tells its own length. */
static void list_names(const char *path, char *names)
{
    struct xen_hypfs_direntry head;
    static char content[2048] __attribute__((aligned(8)));
    char child[256];
    names[0] = 0;
    CU_ASSERT_EQUAL_FATAL(read_into(path, sizeof(content), &head, content), 0);
    CU_ASSERT_EQUAL(head.type, XEN_HYPFS_TYPE_DIR);
    const char *at = content;
    static char list[2048] __attribute__((aligned(8)));
    for (;;) {
        memcpy(list, at, (size_t)(content + head.content_len - at));
        const struct xen_hypfs_dirlistentry *e = (const void *)list;
        struct xen_hypfs_direntry found;
        strcat(strcat(names, e->name), " ");
        snprintf(child, sizeof(child), "%s/%.100s", strcmp(path, "/") ? path : "", e->name);
        CU_ASSERT_EQUAL(read_into(child, 1024, &found, NULL), 0);
        CU_ASSERT_EQUAL(found.type, e->e.type);
        CU_ASSERT_EQUAL(found.content_len, e->e.content_len);
        CU_ASSERT_EQUAL(e->off_next % 4, 0);
        if (!e->off_next) {
            break;
        }
        at += e->off_next;
        CU_ASSERT_FATAL(at < content + head.content_len);
    }
}

static void test_hc_hypfs_op__version(void)
{
    begin();
    CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_get_version, 0, 0, 0, 0), 1);
    for (unsigned i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_get_version, i == 0, i == 1, i == 2, i == 3), -EINVAL);
    }
    end();
}

static void test_hc_hypfs_op__directories(void)
{
    char names[512];
    begin();
    list_names("/", names);
    CU_ASSERT_STRING_EQUAL(names, "buildinfo protection ");
    list_names("/protection", names);
    CU_ASSERT_STRING_EQUAL(names, "NX SMAP W^X ");
    list_names("/buildinfo", names);
    CU_ASSERT_STRING_EQUAL(names, "changeset compiler ");
    /* As many as there may be, with the longest names and texts: cut, and they fit. */
    char name[40], text[200];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = 0;
    while (protection_count < PROTECTIONS_MAX) {
        snprintf(name, sizeof(name), "%02u-a-name-too-long-to-be-kept", protection_count);
        protection_report(name, "%s", text);
    }
    list_names("/protection", names);
    CU_ASSERT_EQUAL(strlen(names), strlen("NX SMAP W^X ") + (PROTECTIONS_MAX - 3) * 16);
    text[79] = 0;
    expect_text("/protection/23-a-name-too-l", text);
    /* None at all: an empty folder is none. */
    protection_count = 0;
    CU_ASSERT_EQUAL(read_into("/protection", 100, NULL, NULL), -ENOENT);
    end();
}

static void test_hc_hypfs_op__texts(void)
{
    begin();
    expect_text("/protection/NX", "on");
    expect_text("/protection/SMAP", "off: not in this processor");
    expect_text("/protection/W^X", "on, checked");
    expect_text("/buildinfo/changeset", "paravane");
    expect_text("/buildinfo/compiler", __VERSION__);
    end();
}

static void test_hc_hypfs_op__bad_paths(void)
{
    static const char *const missing[] = {"/prot",
                                          "/protections",
                                          "/protection/",
                                          "/protection/N",
                                          "/protection/NXX",
                                          "/protection/NX/",
                                          "//",
                                          "/buildinfo/NX",
                                          "/NX"};
    char path[XEN_HYPFS_MAX_PATHLEN + 2];
    begin();
    for (unsigned i = 0; i < ARRAY_SIZE(missing); i++) {
        CU_ASSERT_EQUAL(read_into(missing[i], 100, NULL, NULL), -ENOENT);
    }
    CU_ASSERT_EQUAL(read_into("protection", 100, NULL, NULL), -EINVAL);
    CU_ASSERT_EQUAL(read_into("", 100, NULL, NULL), -EINVAL);
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = 0;
    vaddr_t va = host_guest_put(path, sizeof(path)), to = host_guest_alloc(100);
    CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_read, va, sizeof(path), to, 100), -EINVAL);
    CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_read, va + 1, 0, to, 100), -EINVAL);
    for (uint64_t bytes = 62; bytes < 67; bytes++) {
        memset(host_guest_ptr(va + 1), 'x', 100);
        ((char *)host_guest_ptr(va))[bytes - 1] = 0;
        CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_read, va, bytes, to, 100), -ENOENT);
    }
    /* A path ends at its length, and not before. */
    va = host_guest_put("/protection/NX\0trailing words that do not fit in its buffer at all", 66);
    CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_read, va, 15, to, 100), 0);
    CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_read, va, 14, to, 100), -EINVAL);
    CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_read, va, 16, to, 100), -EINVAL);
    CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_read, va, 66, to, 100), -EINVAL);
    CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_read, HOST_BAD_ADDR, 15, to, 100), -EFAULT);
    end();
}

static void test_hc_hypfs_op__room(void)
{
    struct xen_hypfs_direntry head = {0};
    char content[16];
    begin();
    CU_ASSERT_EQUAL(read_into("/protection/NX", sizeof(head) - 1, NULL, NULL), -EINVAL);
    CU_ASSERT_EQUAL(read_into("/protection/NX", sizeof(head), &head, NULL), -ENOBUFS);
    CU_ASSERT_EQUAL(head.content_len, 3);
    CU_ASSERT_EQUAL(read_into("/protection/NX", sizeof(head) + 2, &head, NULL), -ENOBUFS);
    CU_ASSERT_EQUAL(read_into("/protection/NX", sizeof(head) + 3, &head, content), 0);
    CU_ASSERT_STRING_EQUAL(content, "on");
    vaddr_t path = host_guest_put("/protection/NX", 15);
    CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_read, path, 15, HOST_BAD_ADDR, 100), -EFAULT);
    CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_read, path, 15, path, ~0UL), 0);
    end();
}

static void test_hc_hypfs_op__read_only_and_for_control(void)
{
    begin();
    vaddr_t path = host_guest_put("/protection/NX", 15), to = host_guest_alloc(100);
    CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_write_contents, path, 15, to, 3), -EACCES);
    CU_ASSERT_EQUAL(call(3, path, 15, to, 100), -EOPNOTSUPP);
    suite_enter(guest->vcpu[0]);
    for (unsigned cmd = 0; cmd < 4; cmd++) {
        CU_ASSERT_EQUAL(call(cmd, path, 15, to, 100), -EPERM);
    }
    CU_ASSERT_EQUAL(call(XEN_HYPFS_OP_get_version, 0, 0, 0, 0), -EPERM);
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_hc_hypfs_op__version), CASE(test_hc_hypfs_op__directories),
        CASE(test_hc_hypfs_op__texts),   CASE(test_hc_hypfs_op__bad_paths),
        CASE(test_hc_hypfs_op__room),    CASE(test_hc_hypfs_op__read_only_and_for_control),
    };
    return SUITE("texts about the hypervisor", 1, cases);
}
