/* SPDX-License-Identifier: MIT */
/*
 * The strict parsers of single values (dom0-tools/config/values.c): what they accept, and near
 * misses of every kind that they must not.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dom0-tools/config/config.h"
#include "dom0-tools/config/values.h"
#include "tests/unit/runner.h"

static void test_value_number__range(void)
{
    uint64_t value = 1;

    CU_ASSERT_TRUE(value_number("0", &value));
    CU_ASSERT_EQUAL(value, 0);
    CU_ASSERT_TRUE(value_number("007", &value));
    CU_ASSERT_EQUAL(value, 7);
    CU_ASSERT_TRUE(value_number("18446744073709551615", &value));
    CU_ASSERT_EQUAL(value, UINT64_MAX);
    CU_ASSERT_FALSE(value_number("18446744073709551616", &value));
    CU_ASSERT_FALSE(value_number("99999999999999999999999999", &value));
}

static void test_value_number__not_digits(void)
{
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "1.0", "0x10", "1e3", "1,000"};
    uint64_t value = 42;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CU_ASSERT_FALSE(value_number(bad[i], &value));
    }
    CU_ASSERT_EQUAL(value, 42);
}

static void test_value_memory__units(void)
{
    static const struct {
        const char *text;
        const char *unit;
        uint64_t kib;
    } cases[] = {
        {"1", NULL, 1},           {"1024", "b", 1},       {"1025", "bytes", 2},
        {"1", "KB", 1},           {"1024", "KB", 1000},   {"3", "k", 3},
        {"3", "KiB", 3},          {"2", "MB", 1954},      {"2", "M", 2048},
        {"256", "MiB", 262144},   {"1", "GB", 976563},    {"1", "G", 1048576},
        {"1", "GiB", 1048576},    {"1", "TB", 976562500}, {"1", "T", 1073741824},
        {"1", "TiB", 1073741824}, {"2", "mib", 2048},     {"1024", "Byte", 1},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t kib = 0;

        CU_ASSERT_TRUE(value_memory_kib(cases[i].text, cases[i].unit, &kib));
        CU_ASSERT_EQUAL(kib, cases[i].kib);
    }
}

static void test_value_memory__bad(void)
{
    uint64_t kib;

    CU_ASSERT_FALSE(value_memory_kib("1", "kibi", &kib));
    CU_ASSERT_FALSE(value_memory_kib("1", "", &kib));
    CU_ASSERT_FALSE(value_memory_kib("1", "PiB", &kib));
    CU_ASSERT_FALSE(value_memory_kib("-1", "MiB", &kib));
    CU_ASSERT_FALSE(value_memory_kib("16777216", "TiB", &kib)); /* 2^64 bytes */
    CU_ASSERT_FALSE(value_memory_kib("18446744073709551615", NULL, &kib));
    CU_ASSERT_TRUE(value_memory_kib("18446744073709551615", "b", &kib));
    CU_ASSERT_EQUAL(kib, 1ull << 54);
}

static void test_value_mac(void)
{
    static const uint8_t want[6] = {0x00, 0x16, 0x3e, 0x0a, 0xff, 0x01};
    static const char *const bad[] = {
        "",
        "00",
        "00:16:3e:00:00",
        "00:16:3e:00:00:",
        "00:16:3e:00:00:0",
        "00:16:3e:00:00:011",
        "00:16:3e:00:00:01:02",
        "00-16-3e-00-00-01",
        "0:16:3e:00:00:01",
        "00:16:3g:00:00:01",
        "01:16:3e:00:00:01", /* multicast */
        "ff:ff:ff:ff:ff:ff",
        "00:00:00:00:00:00",
    };
    uint8_t mac[6];
    char text[18];

    CU_ASSERT_TRUE(value_mac("00:16:3E:0a:FF:01", mac));
    CU_ASSERT_EQUAL(memcmp(mac, want, sizeof(want)), 0);
    config_mac_format(mac, text);
    CU_ASSERT_STRING_EQUAL(text, "00:16:3e:0a:ff:01");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CU_ASSERT_FALSE(value_mac(bad[i], mac));
    }
    CU_ASSERT_EQUAL(memcmp(mac, want, sizeof(want)), 0);
}

static void test_value_uuid(void)
{
    static const char canonical[] = "4ef22d08-f46e-4ca0-b564-34148f6bd527";
    static const char *const bad[] = {
        "",
        "4ef22d08",
        "4ef22d08-f46e-4ca0-b564-34148f6bd52",
        "4ef22d08-f46e-4ca0-b564-34148f6bd5271",
        "4ef22d08-f46e-4ca0-b564-34148f6bd527-",
        "4ef22d08--f46e-4ca0-b564-34148f6bd527",
        "-4ef22d08-f46e-4ca0-b564-34148f6bd527",
        "4ef22d08-f46e-4ca0-b564-34148f6bd52g",
        "4ef22d08f46e-4ca0-b564-34148f6b-d527",
        "4ef22d08f46e-4ca0-b564-34148f6bd527",
    };
    uint8_t uuid[16];
    char text[37];

    CU_ASSERT_TRUE(value_uuid("4EF22D08F46E4CA0B56434148F6BD527", uuid));
    config_uuid_format(uuid, text);
    CU_ASSERT_STRING_EQUAL(text, canonical);
    CU_ASSERT_TRUE(value_uuid(canonical, uuid));
    config_uuid_format(uuid, text);
    CU_ASSERT_STRING_EQUAL(text, canonical);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CU_ASSERT_FALSE(value_uuid(bad[i], uuid));
    }
}

static void test_value_names(void)
{
    char longest[CONFIG_MAX_NAME_BYTES + 2];

    memset(longest, 'n', sizeof(longest));
    longest[CONFIG_MAX_NAME_BYTES] = '\0';
    CU_ASSERT_TRUE(value_domain_name(longest));
    longest[CONFIG_MAX_NAME_BYTES] = 'n';
    longest[CONFIG_MAX_NAME_BYTES + 1] = '\0';
    CU_ASSERT_FALSE(value_domain_name(longest));
    CU_ASSERT_TRUE(value_domain_name("web-1.example_x+y:z@q"));
    CU_ASSERT_TRUE(value_domain_name("1a"));
    CU_ASSERT_FALSE(value_domain_name("17")); /* could not be told from a domain's number */
    CU_ASSERT_FALSE(value_domain_name(""));
    CU_ASSERT_FALSE(value_domain_name("a/b"));
    CU_ASSERT_FALSE(value_domain_name("../x"));
    CU_ASSERT_FALSE(value_domain_name(".hidden"));
    CU_ASSERT_FALSE(value_domain_name("-rf"));
    CU_ASSERT_FALSE(value_domain_name("a b"));
    CU_ASSERT_FALSE(value_domain_name("a\nb"));
    CU_ASSERT_FALSE(value_domain_name("caf\xc3\xa9"));

    CU_ASSERT_TRUE(value_interface_name("pvbr0"));
    CU_ASSERT_TRUE(value_interface_name("fifteen-letters"));
    CU_ASSERT_FALSE(value_interface_name("sixteen--letters"));
    CU_ASSERT_FALSE(value_interface_name(""));
    CU_ASSERT_FALSE(value_interface_name("."));
    CU_ASSERT_FALSE(value_interface_name(".."));
    CU_ASSERT_FALSE(value_interface_name("a/b"));
    CU_ASSERT_FALSE(value_interface_name("a b"));
    CU_ASSERT_FALSE(value_interface_name("a:1"));
    CU_ASSERT_FALSE(value_interface_name("a+1"));
}

static void test_value_path(void)
{
    static char longest[4098];

    memset(longest, '/', 4095);
    CU_ASSERT_TRUE(value_path(longest));
    longest[4095] = '/';
    CU_ASSERT_FALSE(value_path(longest));
    CU_ASSERT_TRUE(value_path("/var/lib/disk with blanks.img"));
    CU_ASSERT_FALSE(value_path(""));
    CU_ASSERT_FALSE(value_path("relative"));
    CU_ASSERT_FALSE(value_path("/"));
    CU_ASSERT_FALSE(value_path("/a\nb"));
    CU_ASSERT_FALSE(value_path("/a\033[2J"));
}

static void test_vdev(void)
{
    static const struct {
        const char *target;
        uint32_t vdev;
    } good[] = {
        {"xvda", 0xca00},      {"xvda1", 0xca01},      {"xvda15", 0xca0f},    {"xvdb", 0xca10},
        {"xvdp", 0xcaf0},      {"xvdq", 0x10001000},   {"xvdq3", 0x10001003}, {"xvdz", 0x10001900},
        {"xvdaa", 0x10001a00}, {"xvdab2", 0x10001b02}, {"xvdzz", 0x1002bd00},
    };
    static const char *const bad[] = {"",      "xvd",    "xvdA",   "sda",    "hda",
                                      "xvda0", "xvda16", "xvda01", "xvdaaa", "xvda1x",
                                      "xvd1",  "xvda-1", "xvda/",  " xvda",  "xvda "};
    uint32_t vdev;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        vdev = 0;
        CU_ASSERT_EQUAL(config_vdev_from_target(good[i].target, &vdev), 0);
        CU_ASSERT_EQUAL(vdev, good[i].vdev);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CU_ASSERT_EQUAL(config_vdev_from_target(bad[i], &vdev), -EINVAL);
    }
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"numbers", test_value_number__range},
        {"what is no number", test_value_number__not_digits},
        {"memory units", test_value_memory__units},
        {"bad amounts of memory", test_value_memory__bad},
        {"hardware addresses", test_value_mac},
        {"uuids", test_value_uuid},
        {"names", test_value_names},
        {"paths", test_value_path},
        {"virtual device numbers", test_vdev},
        CU_TEST_INFO_NULL,
    };
    return run_tests("config values", tests);
}
