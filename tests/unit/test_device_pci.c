/* SPDX-License-Identifier: MIT */
/*
 * PCI functions in /sys (dom0-tools/device/pci.h), read from a tree made up here: names, ranges,
 * capabilities of honest and of lying devices, and what is written to move one.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dom0-tools/device/pci.h"
#include "tests/unit/runner.h"

#define CARD "0000:00:05.0"

static char root[] = "/tmp/test_pci.XXXXXX";
static struct err err;

static int shell(const char *line)
{
    setenv("R", root, 1);
    setenv("D", "bus/pci/devices/" CARD, 1);
    return system(line);
}

static void put(const char *file, const void *data, size_t bytes)
{
    char path[256];
    FILE *out;

    snprintf(path, sizeof(path), "%s/bus/pci/devices/" CARD "/%s", root, file);
    out = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    CU_ASSERT_EQUAL(fwrite(data, 1, bytes, out), bytes);
    fclose(out);
}

static const char *said(const char *file)
{
    static char text[64];
    char path[256];
    FILE *in;

    memset(text, 0, sizeof(text));
    snprintf(path, sizeof(path), "%s/bus/pci/%s", root, file);
    in = fopen(path, "r");
    if (in != NULL) {
        CU_ASSERT_TRUE(fread(text, 1, sizeof(text) - 1, in) < sizeof(text));
        fclose(in);
    }
    return text;
}

static int set_up(void)
{
    if (mkdtemp(root) == NULL) {
        return 1;
    }
    return shell("cd $R && mkdir -p $D bus/pci/drivers/e1000e && echo 0x8086 >$D/vendor &&"
                 "echo 0x10d3 >$D/device && echo 0x020000 >$D/class &&"
                 "ln -s ../../drivers/e1000e $D/driver && touch bus/pci/drivers/e1000e/unbind "
                 "bus/pci/drivers_probe");
}

static int clean_up(void)
{
    return shell("rm -rf $R");
}

static void test_names(void)
{
    static const char *const bad[] = {"",         "00:05",         "00:05.8",       "00:20.0",
                                      "0:05.0.1", "../../passwd",  "00:05.0\n",     " 00:05.0",
                                      "-0:05.0",  "00:05.0x",      "0000:00:05.0/", "00:05,0",
                                      "gg:05.0",  "00000:00:05.0", "0000:00:05:0"};
    char name[CONFIG_PCI_NAME_BYTES];

    CU_ASSERT_TRUE(config_pci_name("00:05.0", name));
    CU_ASSERT_STRING_EQUAL(name, CARD);
    CU_ASSERT_TRUE(config_pci_name("0001:fF:1f.7", name));
    CU_ASSERT_STRING_EQUAL(name, "0001:ff:1f.7");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CU_ASSERT_FALSE(config_pci_name(bad[i], name));
    }
}

static void test_ranges(void)
{
    static const char lines[] = "0x00000000feb40000 0x00000000feb5ffff 0x0000000000040200\n"
                                "0x00000000feb60800 0x00000000feb60fff 0x0000000000040200\n"
                                "0x000000000000c040 0x000000000000c05f 0x0000000000040101\n"
                                "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
                                "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
                                "0x00000000febd0000 0x00000000febd3fff 0x0000000000040200\n"
                                "0x00000000feb00000 0x00000000feb3ffff 0x0000000000046200\n";
    struct pci_function f;

    put("resource", lines, sizeof(lines) - 1);
    CU_ASSERT_EQUAL(pci_read(root, CARD, &f, &err), 0);
    CU_ASSERT_EQUAL(f.vendor, 0x8086);
    CU_ASSERT_EQUAL(f.device, 0x10d3);
    CU_ASSERT_EQUAL(f.class, 0x020000);
    CU_ASSERT_STRING_EQUAL(f.driver, "e1000e");
    CU_ASSERT_EQUAL_FATAL(f.range_count, 4); /* the expansion ROM is not among them */
    CU_ASSERT_EQUAL(f.ranges[0].first, 0xfeb40);
    CU_ASSERT_EQUAL(f.ranges[0].count, 0x20);
    CU_ASSERT_EQUAL(f.ranges[1].first, 0xfeb60);
    CU_ASSERT_EQUAL(f.ranges[1].count, 1);
    CU_ASSERT_TRUE(f.ranges[2].ports && f.ranges[2].first == 0xc040 && f.ranges[2].count == 0x20);
    CU_ASSERT_TRUE(!f.ranges[3].ports && f.ranges[3].first == 0xfebd0 && f.ranges[3].count == 4);
    CU_ASSERT_EQUAL(pci_read(root, "0000:00:06.0", &f, &err), -ENOENT);
}

static bool messages(const uint8_t config[256], size_t bytes)
{
    struct pci_function f;

    put("config", config, bytes);
    CU_ASSERT_EQUAL(pci_read(root, CARD, &f, &err), 0);
    return f.message;
}

static void test_messages(void)
{
    uint8_t config[256] = {0};

    config[0x34] = 0x40;
    config[0x40] = 0x01;
    config[0x41] = 0x50;
    config[0x50] = 0x11;
    CU_ASSERT_FALSE(messages(config, 256)); /* its status says that there is no list */
    config[0x06] = 0x10;
    CU_ASSERT_TRUE(messages(config, 256));
    config[0x50] = 0x05;
    CU_ASSERT_TRUE(messages(config, 256));
    config[0x50] = 0x10;
    CU_ASSERT_FALSE(messages(config, 256));
    config[0x51] = 0x40; /* a list without end */
    CU_ASSERT_FALSE(messages(config, 256));
    config[0x41] = 0xff; /* its last entry at the end of the space */
    config[0xfc] = 0x05;
    CU_ASSERT_TRUE(messages(config, 256));
    CU_ASSERT_FALSE(messages(config, 63));
}

static void test_take_and_give_back(void)
{
    struct pci_function f;

    CU_ASSERT_EQUAL(pci_read(root, CARD, &f, &err), 0);
    CU_ASSERT_EQUAL(pci_take(root, &f, &err), -ENODEV);
    CU_ASSERT_STRING_EQUAL(said("drivers/e1000e/unbind"), ""); /* nothing has been taken */
    CU_ASSERT_EQUAL(shell("cd $R/bus/pci/drivers && mkdir pciback && cd pciback &&"
                          "touch new_slot bind unbind remove_slot"),
                    0);
    CU_ASSERT_EQUAL(pci_take(root, &f, &err), 0);
    CU_ASSERT_STRING_EQUAL(said("drivers/e1000e/unbind"), CARD);
    CU_ASSERT_STRING_EQUAL(said("drivers/pciback/new_slot"), CARD);
    CU_ASSERT_STRING_EQUAL(said("drivers/pciback/bind"), CARD);
    CU_ASSERT_EQUAL(pci_give_back(root, CARD, &err), 0);
    CU_ASSERT_STRING_EQUAL(said("drivers/pciback/unbind"), CARD);
    CU_ASSERT_STRING_EQUAL(said("drivers/pciback/remove_slot"), CARD);
    CU_ASSERT_STRING_EQUAL(said("drivers_probe"), CARD);
}

/* What pciback does not want goes back to its driver, whichever step fails. */
static void test_refused(void)
{
    static const char *const missing[] = {"new_slot", "bind"};
    struct pci_function f;
    char line[256];

    CU_ASSERT_EQUAL(pci_read(root, CARD, &f, &err), 0);
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        snprintf(line, sizeof(line),
                 "cd $R/bus/pci && mkdir -p drivers/pciback && cd drivers/pciback && "
                 "touch new_slot bind unbind && rm %s && : >remove_slot && : >../../drivers_probe",
                 missing[i]);
        CU_ASSERT_EQUAL(shell(line), 0);
        CU_ASSERT_EQUAL(pci_take(root, &f, &err), -ENOENT);
        CU_ASSERT_PTR_NOT_NULL(strstr(err.text, missing[i]));
        CU_ASSERT_STRING_EQUAL(said("drivers/pciback/remove_slot"), CARD);
        CU_ASSERT_STRING_EQUAL(said("drivers_probe"), CARD);
    }
}

static int count_one(const struct pci_function *function, void *context)
{
    CU_ASSERT_STRING_EQUAL(function->name, CARD);
    ++*(int *)context;
    return 0;
}

static void test_each(void)
{
    int count = 0;

    CU_ASSERT_EQUAL(shell("mkdir $R/bus/pci/devices/other"), 0);
    CU_ASSERT_EQUAL(pci_each(root, count_one, &count, &err), 0);
    CU_ASSERT_EQUAL(count, 1);
    CU_ASSERT_EQUAL(pci_each("/nowhere", count_one, &count, &err), 0); /* no PCI here */
    CU_ASSERT_EQUAL(count, 1);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"names", test_names},       {"ranges", test_ranges},
        {"messages", test_messages}, {"taking and giving back", test_take_and_give_back},
        {"refused", test_refused},   {"all of them", test_each},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{"PCI functions", set_up, clean_up, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
