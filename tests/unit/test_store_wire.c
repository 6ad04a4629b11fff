// SPDX-License-Identifier: MIT
/*
 * Messages as they come in: framing, strings, paths, and a server fed with rubbish.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_store_util.h"

static void test_wire__byte_by_byte(void)
{
    const struct xsd_sockmsg hdr = {.type = XS_READ, .req_id = 3, .tx_id = 4, .len = 5};
    char bytes[sizeof(hdr) + 5];
    struct wire_in in = {0};

    memcpy(bytes, &hdr, sizeof(hdr));
    memcpy(bytes + sizeof(hdr), "/abc", 5);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            size_t len;
            char *at = wire_want(&in, &len);

            CU_ASSERT(len > 0);
            *at = bytes[i];
            CU_ASSERT_EQUAL(wire_got(&in, 1), i + 1 == sizeof(bytes));
        }
        CU_ASSERT_EQUAL(memcmp(&in.hdr, &hdr, sizeof(hdr)), 0);
        CU_ASSERT_STRING_EQUAL(in.body, "/abc");
        wire_reset(&in);
    }
}

static void test_wire__lengths(void)
{
    const uint32_t lens[] = {XENSTORE_PAYLOAD_MAX + 1, 65536, 0x7fffffff, 0x80000000, 0xffffffff};

    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct wire_in in = {.hdr = {.len = lens[i]}};

        CU_ASSERT_EQUAL(wire_got(&in, sizeof(in.hdr)), -EPROTO);
    }
    {
        struct wire_in in = {.hdr = {.len = XENSTORE_PAYLOAD_MAX}};
        size_t len;

        CU_ASSERT_EQUAL(wire_got(&in, sizeof(in.hdr)), 0);
        CU_ASSERT_PTR_EQUAL(wire_want(&in, &len), in.body);
        CU_ASSERT_EQUAL(len, XENSTORE_PAYLOAD_MAX);
        CU_ASSERT_EQUAL(wire_got(&in, len), 1);
    }
}

static void test_wire__strings(void)
{
    const char *argv[2] = {NULL, NULL};

    CU_ASSERT_EQUAL(wire_strings("", 0, argv, 2), 0);
    CU_ASSERT_EQUAL(wire_strings("a", 1, argv, 2), -EINVAL);
    CU_ASSERT_EQUAL(wire_strings("a", 2, argv, 2), 1);
    CU_ASSERT_EQUAL(wire_strings("a\0b", 3, argv, 2), -EINVAL);
    CU_ASSERT_EQUAL(wire_strings("a\0\0b", 5, argv, 2), 3);
    CU_ASSERT_STRING_EQUAL(argv[0], "a");
    CU_ASSERT_STRING_EQUAL(argv[1], "");
}

static void test_wire__paths(void)
{
    static const struct {
        const char *in;
        const char *out; /* NULL: refused */
    } cases[] = {
        {"/", "/"},
        {"/a", "/a"},
        {"/a/B-9_@", "/a/B-9_@"},
        {"device/vbd", "/local/domain/7/device/vbd"},
        {"", NULL},
        {"//", NULL},
        {"/a//b", NULL},
        {"/a/", NULL},
        {"a/", NULL},
        {"/a b", NULL},
        {"/a\n", NULL},
        {"/\xc3\xa4", NULL},
        {"/a.b", NULL},
        {"/../x", NULL},
        {"@introduceDomain", NULL},
    };
    char out[WIRE_PATH_ROOM], *big = mem_zalloc(5000);

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int rc = wire_path(cases[i].in, 7, false, out);

        CU_ASSERT_EQUAL(rc, cases[i].out ? 0 : -EINVAL);
        if (rc == 0) {
            CU_ASSERT_STRING_EQUAL(out, cases[i].out);
        }
    }
    CU_ASSERT_EQUAL(wire_path("@releaseDomain", 7, true, out), 0);
    CU_ASSERT_EQUAL(wire_path("@releaseDomain/5", 7, true, out), 0);
    CU_ASSERT_EQUAL(wire_path("@releaseDomain/", 7, true, out), -EINVAL);
    CU_ASSERT_EQUAL(wire_path("@releaseDomain//5", 7, true, out), -EINVAL);

    memset(big, 'x', XENSTORE_ABS_PATH_MAX);
    big[0] = '/';
    CU_ASSERT_EQUAL(wire_path(big, 7, false, out), 0);
    big[XENSTORE_ABS_PATH_MAX] = 'x';
    CU_ASSERT_EQUAL(wire_path(big, 7, false, out), -EINVAL);
    memset(big, 'x', 4000);
    big[XENSTORE_REL_PATH_MAX] = '\0';
    CU_ASSERT_EQUAL(wire_path(big, 65535, false, out), 0);
    big[XENSTORE_REL_PATH_MAX] = 'x';
    CU_ASSERT_EQUAL(wire_path(big, 7, false, out), -EINVAL);
    free(big);
}

static void test_wire__numbers(void)
{
    uint64_t n;

    CU_ASSERT_EQUAL(wire_number("0", 10, &n), 0);
    CU_ASSERT_EQUAL(wire_number("10", 10, &n), 0);
    CU_ASSERT_EQUAL(n, 10);
    CU_ASSERT_EQUAL(wire_number("11", 10, &n), -EINVAL);
    CU_ASSERT_EQUAL(wire_number("18446744073709551615", UINT64_MAX, &n), 0);
    CU_ASSERT_EQUAL(n, UINT64_MAX);
    CU_ASSERT_EQUAL(wire_number("18446744073709551616", UINT64_MAX, &n), -EINVAL);
    CU_ASSERT_EQUAL(wire_number("", 10, &n), -EINVAL);
    CU_ASSERT_EQUAL(wire_number("+1", 10, &n), -EINVAL);
    CU_ASSERT_EQUAL(wire_number(" 1", 10, &n), -EINVAL);
    CU_ASSERT_EQUAL(wire_number("1a", 10, &n), -EINVAL);
    CU_ASSERT_STRING_EQUAL(wire_error_name(ENOENT), "ENOENT");
    CU_ASSERT_STRING_EQUAL(wire_error_name(ENODEV), "EINVAL");
}

static void test_server__malformed_requests(void)
{
    static const struct {
        uint32_t type;
        const char *text;
    } bad[] = {
        {XS_READ, ""},
        {XS_READ, "/tool"},
        {XS_READ, "/tool|/tool|"},
        {XS_READ, "|"},
        {XS_READ, "/a b|"},
        {XS_DIRECTORY, "/tool"},
        {XS_DIRECTORY_PART, "/tool|"},
        {XS_DIRECTORY_PART, "/tool|x|"},
        {XS_DIRECTORY_PART, "/tool|-1|"},
        {XS_WRITE, "/tool"},
        {XS_WRITE, ""},
        {XS_WRITE, "@introduceDomain|x"},
        {XS_MKDIR, "/x"},
        {XS_RM, "/|"},
        {XS_GET_PERMS, "/tool"},
        {XS_SET_PERMS, "/tool|"},
        {XS_SET_PERMS, "/tool|z9|"},
        {XS_SET_PERMS, "/tool"},
        {XS_WATCH, "/tool|"},
        {XS_WATCH, "/tool|a|b|"},
        {XS_WATCH, "/tool|a|-1|"},
        {XS_WATCH, "/tool|a|1|2|"},
        {XS_WATCH, "/tool|a|4294967295|"},
        {XS_WATCH, "@nothing|a|"},
        {XS_WATCH, "@nothing/5|a|"},
        {XS_WATCH, "@introduceDomain/5|a|"},
        {XS_WATCH, "@releaseDomain/|a|"},
        {XS_WATCH, "@releaseDomain/05|a|"},
        {XS_WATCH, "@releaseDomain/x|a|"},
        {XS_WATCH, "@releaseDomain/5/6|a|"},
        {XS_WATCH, "@releaseDomain/32752|a|"},
        {XS_WATCH, "@releaseDomain|a|0|"},
        {XS_WATCH, "@releaseDomain|a|2|"},
        {XS_WATCH, "@releaseDomain|a||"},
        {XS_WRITE, "@releaseDomain/5|x"},
        {XS_GET_PERMS, "@releaseDomain/5|"},
        {XS_SET_PERMS, "@releaseDomain/5|n0|"},
        {XS_UNWATCH, "/tool|a|1|"},
        {XS_UNWATCH, "/tool|"},
        {XS_TRANSACTION_END, "X|"},
        {XS_TRANSACTION_END, ""},
        {XS_INTRODUCE, "1|2|"},
        {XS_INTRODUCE, "32752|2|3|"},
        {XS_INTRODUCE, "0|2|3|"},
        {XS_INTRODUCE, "1|2|0|"},
        {XS_RELEASE, "x|"},
        {XS_RELEASE, "0|"},
        {XS_IS_DOMAIN_INTRODUCED, "|"},
        {XS_GET_DOMAIN_PATH, "65536|"},
        {XS_RESUME, ""},
        {XS_SET_TARGET, "1|"},
        {XS_CONTROL, ""},
        {XS_CONTROL, "no-such-command|"},
        {XS_CONTROL, "quota|set|watches|0|"},
    };
    struct server s;
    struct fake f;

    server_init(&s, NULL);
    fake_connect(&f, &s, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *got = fake_ask(&f, bad[i].type, 0, bad[i].text);

        if (strcmp(got, "EINVAL") != 0) {
            printf("type %u \"%s\" gives %s\n", bad[i].type, bad[i].text, got);
        }
        CU_ASSERT_STRING_EQUAL(got, "EINVAL");
    }
    CU_ASSERT_STRING_EQUAL(fake_ask(&f, XS_WATCH_EVENT, 0, "a|b|"), "ENOSYS");
    CU_ASSERT_STRING_EQUAL(fake_ask(&f, XS_ERROR, 0, "EIO|"), "ENOSYS");
    CU_ASSERT_STRING_EQUAL(fake_ask(&f, 20, 0, ""), "ENOSYS");
    CU_ASSERT_STRING_EQUAL(fake_ask(&f, XS_INVALID, 0, ""), "ENOSYS");
    CU_ASSERT_STRING_EQUAL(fake_ask(&f, 0xffffffff, 0, ""), "ENOSYS");
    CU_ASSERT_STRING_EQUAL(fake_check(&f), "OK|");
    CU_ASSERT_EQUAL(s.store.nodes, 3);
    server_destroy(&s);
    fake_free(&f);
}

static void test_server__oversized_message_ends_the_connection(void)
{
    const struct xsd_sockmsg hdr = {.type = XS_READ, .len = XENSTORE_PAYLOAD_MAX + 1};
    struct server s;
    struct fake socket, guest, other;

    server_init(&s, NULL);
    fake_connect(&socket, &s, 0);
    fake_connect(&guest, &s, 1);
    fake_connect(&other, &s, 2);
    fake_raw(&socket, &hdr, sizeof(hdr));
    fake_raw(&guest, &hdr, sizeof(hdr));
    fake_run(&s);
    CU_ASSERT_TRUE(socket.closed);
    CU_ASSERT_FALSE(guest.closed);
    CU_ASSERT_EQUAL(guest.failed, -EPROTO);
    fake_send(&guest, XS_GET_DOMAIN_PATH, 0, "1", 2);
    fake_run(&s);
    CU_ASSERT_EQUAL(guest.from_server.len, 0);
    CU_ASSERT_STRING_EQUAL(fake_ask(&other, XS_GET_DOMAIN_PATH, 0, "1|"), "/local/domain/1|");
    server_destroy(&s);
    fake_free(&socket);
    fake_free(&guest);
    fake_free(&other);
}

static void test_server__rubbish_does_no_harm(void)
{
    struct server s;
    struct fake control, f[3];
    unsigned int seed = 20261121;
    static const char *const words[] = {"/",  "/a", "/a/b", "a",  "@releaseDomain", "n0", "r1",
                                        "T",  "F",  "0",    "1",  "4096",           "",   "b2",
                                        "/x", "w3", "\x80", "//", "quota",          "set"};

    server_init(&s, NULL);
    fake_connect(&control, &s, 0);
    for (int i = 0; i < 3; i++) {
        fake_connect(&f[i], &s, (uint16_t)(i + 1));
    }
    fake_ask(&control, XS_SET_PERMS, 0, "/|b0|");
    for (int round = 0; round < 30000; round++) {
        char body[64];
        size_t len = 0;
        uint32_t type;

        seed = seed * 1103515245 + 12345;
        type = (seed >> 16) % (XS_TYPE_COUNT + 1);
        for (unsigned int n = (seed >> 8) % 4; n > 0; n--) {
            const char *w;

            seed = seed * 1103515245 + 12345;
            w = words[(seed >> 16) % (sizeof(words) / sizeof(words[0]))];
            memcpy(body + len, w, strlen(w) + 1);
            len += strlen(w) + ((seed >> 9) % 8 != 0);
        }
        fake_send(&f[round % 3], type, (seed >> 24) % 8, body, len);
        if (round % 7 == 0) {
            fake_run(&s);
        }
    }
    fake_run(&s);
    for (int i = 0; i < 3; i++) {
        struct fake_msg m;
        unsigned int answers = 0;

        while (fake_next(&f[i], &m)) {
            answers += m.hdr.type != XS_WATCH_EVENT;
        }
        CU_ASSERT_EQUAL(answers, 10000);
        CU_ASSERT_FALSE(f[i].closed);
        CU_ASSERT_EQUAL(f[i].failed, 0);
    }
    CU_ASSERT_STRING_EQUAL(fake_check(&control), "OK|");
    server_destroy(&s);
    fake_free(&control);
    for (int i = 0; i < 3; i++) {
        fake_free(&f[i]);
    }
}

static void test_server__pieces_and_many_at_once(void)
{
    struct server s;
    struct fake f;
    struct fake_msg m;
    int count = 0;

    server_init(&s, NULL);
    fake_connect(&f, &s, 0);
    f.step = 1;
    for (int i = 0; i < 200; i++) {
        char body[32];
        int len = sprintf(body, "/n/%d", i) + 1;

        len += sprintf(body + len, "%d", i);
        fake_send(&f, XS_WRITE, 0, body, (size_t)len);
    }
    fake_run(&s);
    while (fake_next(&f, &m)) {
        CU_ASSERT_EQUAL(m.hdr.type, XS_WRITE);
        count++;
    }
    CU_ASSERT_EQUAL(count, 200);
    CU_ASSERT_STRING_EQUAL(fake_ask(&f, XS_READ, 0, "/n/199|"), "199");
    server_destroy(&s);
    fake_free(&f);
}

static void add_suites(void)
{
    CU_pSuite wire = CU_add_suite("wire format", NULL, NULL);
    CU_pSuite server = CU_add_suite("hostile messages", NULL, NULL);

    CU_ADD_TEST(wire, test_wire__byte_by_byte);
    CU_ADD_TEST(wire, test_wire__lengths);
    CU_ADD_TEST(wire, test_wire__strings);
    CU_ADD_TEST(wire, test_wire__paths);
    CU_ADD_TEST(wire, test_wire__numbers);
    CU_ADD_TEST(server, test_server__malformed_requests);
    CU_ADD_TEST(server, test_server__oversized_message_ends_the_connection);
    CU_ADD_TEST(server, test_server__rubbish_does_no_harm);
    CU_ADD_TEST(server, test_server__pieces_and_many_at_once);
}

int main(void)
{
    return fake_main("test_store_wire", add_suites);
}
