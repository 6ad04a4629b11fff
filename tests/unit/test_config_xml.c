/* SPDX-License-Identifier: MIT */
/*
 * The reader of domain XML (dom0-tools/config): complete documents, defaults, and everything that
 * must be refused, with the place its report names.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dom0-tools/base/file.h"
#include "dom0-tools/config/config.h"
#include "tests/unit/runner.h"

#define EXAMPLE "examples/first.xml"

/* Lines 1 to 4; what is put in begins at line 5. */
#define HEAD                                                                                       \
    "<domain type='xen'>\n<name>t</name>\n<memory unit='MiB'>64</memory>\n"                        \
    "<os><type>linux</type><kernel>/k</kernel></os>\n"
#define TAIL "</domain>\n"
#define DEVICES(text) HEAD "<devices>\n" text "</devices>\n" TAIL
#define DISK "<disk type='file'><source file='/a'/><target dev='xvda'/></disk>"

static struct vane_config *config;
static struct err err;

static int parse(const char *text)
{
    config = NULL;
    memset(&err, 0, sizeof(err));
    return config_parse("t.xml", text, strlen(text), &config, &err);
}

/* Reports a failed comparison together with the texts, which CUnit does not print. */
static void refused(const char *text, const char *report)
{
    int rc = parse(text);
    bool as_told = rc == -EBADMSG && err.number == EBADMSG && strstr(err.text, report) == err.text;

    if (!as_told) {
        printf("\n  %d \"%s\"\n  instead of \"%s\"\n  for %s\n", rc, err.text, report, text);
    }
    CU_ASSERT_TRUE(as_told);
    CU_ASSERT_PTR_NULL(config);
    config_free(config);
}

static void accepted(const char *text)
{
    int rc = parse(text);

    if (rc != 0) {
        printf("\n  %d \"%s\"\n  for %s\n", rc, err.text, text);
    }
    CU_ASSERT_EQUAL(rc, 0);
    config_free(config);
}

/* --- what is accepted -------------------------------------------------------------------- */

static void test_config_load__example(void)
{
    static const uint8_t mac[6] = {0x00, 0x16, 0x3e, 0x00, 0x00, 0x01};
    struct vane_config *c = NULL;

    CU_ASSERT_EQUAL_FATAL(config_load(EXAMPLE, &c, &err), 0);
    CU_ASSERT_STRING_EQUAL(c->name, "first");
    CU_ASSERT_EQUAL(c->memory_kib, 256 * 1024);
    CU_ASSERT_EQUAL(c->current_memory_kib, 256 * 1024);
    CU_ASSERT_EQUAL(c->vcpus, 1);
    CU_ASSERT_STRING_EQUAL(c->kernel, "/boot/guest/vmlinuz");
    CU_ASSERT_STRING_EQUAL(c->ramdisk, "/boot/guest/initrd.gz");
    CU_ASSERT_EQUAL_FATAL(c->disk_count, 1);
    CU_ASSERT_EQUAL(c->disks[0].type, VANE_DISK_FILE);
    CU_ASSERT_STRING_EQUAL(c->disks[0].path, "/var/lib/paravane/first.img");
    CU_ASSERT_EQUAL(c->disks[0].vdev, 0xca00);
    CU_ASSERT_FALSE(c->disks[0].readonly);
    CU_ASSERT_EQUAL_FATAL(c->net_count, 1);
    CU_ASSERT_STRING_EQUAL(c->nets[0].bridge, "pvbr0");
    CU_ASSERT_EQUAL(memcmp(c->nets[0].mac, mac, sizeof(mac)), 0);
    config_free(c);
}

static void test_config_parse__everything(void)
{
    static const char text[] =
        "<?xml version='1.0' encoding='UTF-8'?>\n<!-- one -->\n"
        "<domain type='xen' id='7'><name> all </name>"
        "<uuid>4ef22d08-f46e-4ca0-b564-34148f6bd527</uuid><title>T &amp; t</title>"
        "<description>D<![CDATA[<d>]]></description>"
        "<metadata><x:y xmlns:x='urn:x' z='1'><q/></x:y></metadata>"
        "<memory unit='GiB'>1</memory><currentMemory>524287</currentMemory>"
        "<vcpu placement='static' current='2'>4</vcpu>"
        "<os><type arch='x86_64' machine='xenpv'>xen</type><kernel>/k</kernel>"
        "<initrd>/i</initrd><cmdline>a=b\n  c</cmdline></os>"
        "<features><acpi/><apic/><pae/></features><clock offset='utc'/>"
        "<on_poweroff>preserve</on_poweroff><on_reboot>rename-restart</on_reboot>"
        "<on_crash>coredump-restart</on_crash>"
        "<devices><emulator>/usr/bin/q</emulator>"
        "<disk type='block' device='cdrom'><driver name='phy' type='raw'/><source dev='/dev/b'/>"
        "<target dev='xvdc' bus='xen'/></disk>"
        "<disk type='file' device='disk'><source file='/f'/><target dev='xvda2'/>"
        "<readonly/><shareable/></disk>"
        "<interface type='bridge'><mac address='00:16:3e:00:00:02'/><source bridge='br0'/>"
        "<target dev='web0'/><model type='netfront'/><script path='vif-bridge'/></interface>"
        "<interface type='bridge'><source bridge='br1'/><target dev='vif3.1'/></interface>"
        "<console type='pty'><target type='xen' port='0'/></console>"
        "<memballoon model='xen'/></devices></domain>";
    char uuid[37];

    CU_ASSERT_EQUAL_FATAL(parse(text), 0);

    struct vane_config *c = config;

    CU_ASSERT_STRING_EQUAL(c->name, "all");
    CU_ASSERT_TRUE(c->uuid_given);
    config_uuid_format(c->uuid, uuid);
    CU_ASSERT_STRING_EQUAL(uuid, "4ef22d08-f46e-4ca0-b564-34148f6bd527");
    CU_ASSERT_STRING_EQUAL(c->title, "T & t");
    CU_ASSERT_STRING_EQUAL(c->description, "D<d>");
    CU_ASSERT_EQUAL(c->memory_kib, 1048576);
    CU_ASSERT_EQUAL(c->current_memory_kib, 524288); /* whole pages */
    CU_ASSERT_EQUAL(c->vcpus, 4);
    CU_ASSERT_EQUAL(c->current_vcpus, 2);
    CU_ASSERT_STRING_EQUAL(c->cmdline, "a=b   c");
    CU_ASSERT_EQUAL(c->on_poweroff, VANE_ACTION_PRESERVE);
    CU_ASSERT_EQUAL(c->on_reboot, VANE_ACTION_RENAME_RESTART);
    CU_ASSERT_EQUAL(c->on_crash, VANE_ACTION_COREDUMP_RESTART);
    CU_ASSERT_EQUAL_FATAL(c->disk_count, 2);
    CU_ASSERT_EQUAL(c->disks[0].type, VANE_DISK_BLOCK);
    CU_ASSERT_TRUE(c->disks[0].cdrom && c->disks[0].readonly && !c->disks[0].shareable);
    CU_ASSERT_EQUAL(c->disks[1].vdev, 0xca02);
    CU_ASSERT_TRUE(!c->disks[1].cdrom && c->disks[1].readonly && c->disks[1].shareable);
    CU_ASSERT_EQUAL_FATAL(c->net_count, 2);
    CU_ASSERT_STRING_EQUAL(c->nets[0].target, "web0");
    CU_ASSERT_TRUE(c->nets[0].mac_given);
    CU_ASSERT_PTR_NULL(c->nets[1].target);
    CU_ASSERT_FALSE(c->nets[1].mac_given);
    CU_ASSERT_EQUAL(memcmp(c->nets[1].mac, "\0\x16\x3e", 3), 0);
    config_free(c);
}

/* What vCPU `vcpu` of the configuration may run on, on a machine with eight pcpus. */
static const char *pins_of(unsigned int vcpu)
{
    static char text[CPUSET_TEXT_BYTES];

    cpuset_format(&config->pins[vcpu], 8, text);
    return text;
}

static void test_config_parse__processors(void)
{
    CU_ASSERT_EQUAL_FATAL(parse(HEAD "<cputune><vcpupin vcpu='1' cpuset='0-3,^2'/>"
                                     "<shares>512</shares>"
                                     "<vcpupin vcpu='3' cpuset='0-7'></vcpupin>"
                                     "<global_period>50000</global_period>"
                                     "<global_quota>12500</global_quota></cputune>"
                                     "<vcpu cpuset='4-5' current='2'>4</vcpu>" TAIL),
                          0);
    CU_ASSERT_EQUAL(config->vcpus, 4);
    CU_ASSERT_EQUAL(config->current_vcpus, 2);
    CU_ASSERT_EQUAL(config->weight, 512);
    CU_ASSERT_EQUAL(config->cap, 25);
    CU_ASSERT_STRING_EQUAL(pins_of(0), "4-5");
    CU_ASSERT_STRING_EQUAL(pins_of(1), "0-1,3");
    CU_ASSERT_STRING_EQUAL(pins_of(2), "4-5");
    CU_ASSERT_STRING_EQUAL(pins_of(3), "all");
    config_free(config);
    CU_ASSERT_EQUAL_FATAL(parse(HEAD "<cputune><global_quota>250000</global_quota></cputune>" TAIL),
                          0);
    CU_ASSERT_EQUAL(config->cap, 250); /* the period's default is 100 ms */
    CU_ASSERT_STRING_EQUAL(pins_of(0), "all");
    config_free(config);
    accepted(HEAD "<cputune/>" TAIL);
    accepted(HEAD
             "<cputune><shares>65535</shares><global_period>1000</global_period></cputune>" TAIL);
}

static void test_config_parse__defaults(void)
{
    uint8_t uuid[16];

    CU_ASSERT_EQUAL_FATAL(parse(HEAD TAIL), 0);
    CU_ASSERT_EQUAL(config->vcpus, 1);
    CU_ASSERT_EQUAL(config->current_vcpus, 1);
    CU_ASSERT_EQUAL(config->weight + config->cap, 0);
    CU_ASSERT_STRING_EQUAL(pins_of(0), "all");
    CU_ASSERT_EQUAL(config->current_memory_kib, 65536);
    CU_ASSERT_STRING_EQUAL(config->cmdline, "");
    CU_ASSERT_PTR_NULL(config->ramdisk);
    CU_ASSERT_EQUAL(config->on_poweroff, VANE_ACTION_DESTROY);
    CU_ASSERT_EQUAL(config->on_reboot, VANE_ACTION_RESTART);
    CU_ASSERT_EQUAL(config->on_crash, VANE_ACTION_DESTROY);
    CU_ASSERT_EQUAL(config->disk_count + config->net_count, 0);
    CU_ASSERT_FALSE(config->uuid_given);
    CU_ASSERT_EQUAL(config->uuid[6] >> 4, 4);
    memcpy(uuid, config->uuid, sizeof(uuid));
    config_free(config);

    /* Made up anew each time. */
    CU_ASSERT_EQUAL_FATAL(parse(HEAD TAIL), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(uuid, config->uuid, sizeof(uuid)), 0);
    config_free(config);
    accepted(HEAD "<vcpu>64</vcpu>" TAIL);
    accepted(DEVICES("<disk><source file='/a'/><target dev='xvda'/></disk>"));
    accepted(DEVICES("<console/>"));
}

/* --- what is refused --------------------------------------------------------------------- */

static void test_config_parse__unknown_words(void)
{
    refused(HEAD "<foo/>" TAIL, "t.xml:5: <domain>: unknown element <foo>");
    refused(HEAD "\n\n<bootloader>/b</bootloader>" TAIL,
            "t.xml:7: <domain>: unknown element <bootloader>");
    refused(HEAD "<features>\n<hap/></features>" TAIL,
            "t.xml:6: <features>: unknown element <hap>");
    refused(DEVICES("<graphics type='vnc'/>"), "t.xml:6: <devices>: unknown element <graphics>");
    refused(DEVICES("<disk>\n<foo/></disk>"), "t.xml:7: <disk>: unknown element <foo>");
    refused(DEVICES("<disk><driver>\n<foo/></driver></disk>"),
            "t.xml:7: <driver>: unknown element <foo>");
    refused(DEVICES("<interface type='bridge'><coalesce/></interface>"),
            "t.xml:6: <interface>: unknown element <coalesce>");
    refused(HEAD "<vcpu><b>1</b></vcpu>" TAIL, "t.xml:5: <vcpu>: unknown element <b>");
    refused("<domain type='xen' x='1'/>", "t.xml:1: <domain>: unknown attribute 'x'");
    refused(HEAD "<vcpu cpus='1'>1</vcpu>" TAIL, "t.xml:5: <vcpu>: unknown attribute 'cpus'");
    refused(HEAD "<cputune><emulatorpin cpuset='1'/></cputune>" TAIL,
            "t.xml:5: <cputune>: unknown element <emulatorpin>");
    refused(DEVICES("<disk><driver cache='none'/></disk>"),
            "t.xml:6: <driver>: unknown attribute 'cache'");
    refused(DEVICES("<disk>\n<readonly x='1'/></disk>"),
            "t.xml:7: <readonly>: unknown attribute 'x'");
    refused("<network/>", "t.xml:1: <network>: the outermost element must be <domain>");
    refused("<domain type='xen' xmlns='urn:x'/>", "t.xml:1: <domain>: must not have a namespace");
    refused(HEAD "<x:vcpu xmlns:x='u'>1</x:vcpu>" TAIL,
            "t.xml:5: <domain>: unknown element <vcpu>");
    refused(HEAD "<vcpu xmlns:x='u' x:current='1'>2</vcpu>" TAIL,
            "t.xml:5: <vcpu>: unknown attribute 'current'");
    refused(HEAD "stray" TAIL, "t.xml:1: <domain>: unexpected text");
    refused(HEAD "<?pi?>" TAIL, "t.xml:1: <domain>: unexpected markup");
}

static void test_config_parse__missing(void)
{
    refused("<domain/>", "t.xml:1: <domain>: attribute 'type' is missing");
    refused("<domain type=''/>", "t.xml:1: <domain>: attribute 'type' is empty");
    refused("<domain type='kvm'/>", "t.xml:1: <domain>: type='kvm' is not supported");
    refused("<domain type='xen'/>", "t.xml:1: <domain>: element <name> is missing");
    refused("<domain type='xen'><name>a</name></domain>",
            "t.xml:1: <domain>: element <memory> is missing");
    refused("<domain type='xen'><name>a</name><memory>65536</memory></domain>",
            "t.xml:1: <domain>: element <os> is missing");
    refused("<domain type='xen'>\n<os><type>linux</type></os></domain>",
            "t.xml:2: <os>: element <kernel> is missing");
    refused(DEVICES("<disk/>"), "t.xml:6: <disk>: element <source> is missing");
    refused(DEVICES("<disk><source file='/a'/></disk>"),
            "t.xml:6: <disk>: element <target> is missing");
    refused(DEVICES("<disk><source/></disk>"), "t.xml:6: <source>: attribute 'file' is missing");
    refused(DEVICES("<disk type='block'><source file='/a'/></disk>"),
            "t.xml:6: <source>: attribute 'file' does not go with a disk of type 'block'");
    refused(DEVICES("<interface/>"), "t.xml:6: <interface>: attribute 'type' is missing");
    refused(DEVICES("<interface type='bridge'/>"),
            "t.xml:6: <interface>: element <source> is missing");
    refused(HEAD "<vcpu/>" TAIL, "t.xml:5: <vcpu>: is empty");
}

#define CPUTUNE(text) HEAD "<cputune>\n" text "</cputune>" TAIL

static void test_config_parse__bad_processors(void)
{
    refused(HEAD "<vcpu cpuset='3-1'>2</vcpu>" TAIL, "t.xml:5: <vcpu>: cpuset='3-1' is no list");
    refused(HEAD "<vcpu cpuset='256'>2</vcpu>" TAIL, "t.xml:5: <vcpu>: cpuset='256' is no list");
    refused(CPUTUNE("<shares>0</shares>"), "t.xml:6: <shares>: '0' is not a number from 1 to");
    refused(CPUTUNE("<shares>65536</shares>"), "t.xml:6: <shares>: '65536' is not a number");
    refused(CPUTUNE("<global_quota>-1</global_quota>"), "t.xml:6: <global_quota>: '-1' is not");
    refused(CPUTUNE("<global_quota>999</global_quota>"), "t.xml:6: <global_quota>: '999' is not");
    refused(CPUTUNE("<global_period>0</global_period>"), "t.xml:6: <global_period>: '0' is not");
    refused(CPUTUNE("<global_period>1000000</global_period><global_quota>1000</global_quota>"),
            "t.xml:5: <cputune>: <global_quota> of 1000 in a period of 1000000");
    refused(CPUTUNE("<global_period>1000</global_period><global_quota>256000000</global_quota>"),
            "t.xml:5: <cputune>: <global_quota> of 256000000 in a period of 1000");
    refused(CPUTUNE("<vcpupin cpuset='0'/>"), "t.xml:6: <vcpupin>: attribute 'vcpu' is missing");
    refused(CPUTUNE("<vcpupin vcpu='0'/>"), "t.xml:6: <vcpupin>: attribute 'cpuset' is missing");
    refused(CPUTUNE("<vcpupin vcpu='x' cpuset='0'/>"), "t.xml:6: <vcpupin>: vcpu='x' is not");
    refused(CPUTUNE("<vcpupin vcpu='64' cpuset='0'/>"), "t.xml:6: <vcpupin>: vcpu='64' is not");
    refused(CPUTUNE("<vcpupin vcpu='0' cpuset='a'/>"), "t.xml:6: <vcpupin>: cpuset='a' is no");
    refused(CPUTUNE("<vcpupin vcpu='0' cpuset='0'/>\n<vcpupin vcpu='0' cpuset='1'/>"),
            "t.xml:7: <vcpupin>: vCPU 0 is pinned for the second time");
    refused(CPUTUNE("<vcpupin vcpu='1' cpuset='0'/>"),
            "t.xml:1: <domain>: <vcpupin> names vCPU 1 of 1, which count from 0");
}

static void test_config_parse__bad_values(void)
{
    refused(HEAD "<vcpu>0</vcpu>" TAIL, "t.xml:5: <vcpu>: '0' is not a number");
    refused(HEAD "<vcpu>-1</vcpu>" TAIL, "t.xml:5: <vcpu>: '-1' is not a number");
    refused(HEAD "<vcpu>65</vcpu>" TAIL, "t.xml:5: <vcpu>: '65' is not a number");
    refused(HEAD "<vcpu>4294967297</vcpu>" TAIL, "t.xml:5: <vcpu>: '4294967297' is not");
    refused(HEAD "<vcpu current='3'>2</vcpu>" TAIL, "t.xml:5: <vcpu>: current='3' is more");
    refused(HEAD "<vcpu current='0'>2</vcpu>" TAIL, "t.xml:5: <vcpu>: '0' is not a number");
    refused(HEAD "<vcpu placement='auto'>2</vcpu>" TAIL, "t.xml:5: <vcpu>: placement='auto'");
    refused(HEAD "<currentMemory unit='MiB'>65</currentMemory>" TAIL,
            "t.xml:1: <domain>: <currentMemory> of 66560 KiB is more");
    refused(HEAD "<currentMemory unit='XiB'>6</currentMemory>" TAIL,
            "t.xml:5: <currentMemory>: unknown unit 'XiB'");
    refused("<domain type='xen'><memory>-5</memory></domain>",
            "t.xml:1: <memory>: '-5' KiB is not an amount");
    refused("<domain type='xen'><memory>4095</memory></domain>",
            "t.xml:1: <memory>: '4095' KiB is not an amount");
    refused("<domain type='xen'><memory unit='TiB'>17</memory></domain>",
            "t.xml:1: <memory>: '17' TiB is not an amount");
    refused("<domain type='xen'><memory>99999999999999999999999</memory></domain>",
            "t.xml:1: <memory>: '99999999999999999999999' KiB is not an amount");
    refused("<domain type='xen'><name>a/b</name></domain>", "t.xml:1: <name>: 'a/b' cannot be");
    refused(HEAD "<uuid>12</uuid>" TAIL, "t.xml:5: <uuid>: '12' is no uuid");
    refused("<domain type='xen'><os><type>hvm</type></os></domain>",
            "t.xml:1: <type>: 'hvm' is not supported");
    refused("<domain type='xen'><os><type arch='i686'>xen</type></os></domain>",
            "t.xml:1: <type>: arch='i686' is not supported");
    refused("<domain type='xen'><os><type>xen</type><kernel>k</kernel></os></domain>",
            "t.xml:1: <kernel>: 'k' is not an absolute path");
    refused(HEAD "<clock offset='localtime'/>" TAIL, "t.xml:5: <clock>: offset='localtime'");
    refused(HEAD "<on_poweroff>coredump-destroy</on_poweroff>" TAIL,
            "t.xml:5: <on_poweroff>: 'coredump-destroy' is not supported here");
    refused(HEAD "<on_crash>explode</on_crash>" TAIL, "t.xml:5: <on_crash>: 'explode'");
    refused(DEVICES("<disk type='network'/>"), "t.xml:6: <disk>: type='network' is not");
    refused(DEVICES("<disk device='floppy'/>"), "t.xml:6: <disk>: device='floppy' is not");
    refused(DEVICES("<disk><driver type='vdi'/></disk>"), "t.xml:6: <driver>: type='vdi'");
    refused(DEVICES("<disk type='block'><driver type='qcow2'/><source dev='/dev/a'/>"
                    "<target dev='xvda'/></disk>"),
            "t.xml:6: <disk>: format qcow2 is for files");
    refused(DEVICES("<interface type='bridge'><source bridge='b'/><bandwidth>"
                    "<outbound average='0'/></bandwidth></interface>"),
            "t.xml:6: <outbound>: average='0' is not a number of KiB");
    refused(DEVICES("<disk><source file='a'/></disk>"), "t.xml:6: <source>: 'a' is not an abs");
    refused(DEVICES("<disk><target dev='sda'/></disk>"), "t.xml:6: <target>: dev='sda' is no");
    refused(DEVICES("<disk><target dev='xvda' bus='ide'/></disk>"), "t.xml:6: <target>: bus='ide'");
    refused(DEVICES("<interface type='network'/>"), "t.xml:6: <interface>: type='network'");
    refused(DEVICES("<interface type='bridge'><mac address='ff:16:3e:00:00:01'/></interface>"),
            "t.xml:6: <mac>: address='ff:16:3e:00:00:01' is no unicast");
    refused(DEVICES("<interface type='bridge'><source bridge='a/b'/></interface>"),
            "t.xml:6: <source>: bridge='a/b' cannot be");
    refused(DEVICES("<interface type='bridge'><model type='e1000'/></interface>"),
            "t.xml:6: <model>: type='e1000'");
    refused(DEVICES("<interface type='bridge'><script path='/tmp/x'/></interface>"),
            "t.xml:6: <script>: path='/tmp/x'");
    refused(DEVICES("<console type='file'/>"), "t.xml:6: <console>: type='file'");
    refused(DEVICES("<console type='pty'><target type='serial'/></console>"),
            "t.xml:6: <target>: type='serial'");
}

static void test_config_parse__conflicts(void)
{
    refused(HEAD "<vcpu>1</vcpu>\n<vcpu>2</vcpu>" TAIL,
            "t.xml:6: <vcpu>: stands here for the second time");
    refused(HEAD "<name>u</name>" TAIL, "t.xml:5: <name>: stands here for the second time");
    refused(DEVICES(DISK "\n" DISK), "t.xml:7: <disk>: target 'xvda' is taken");
    refused(DEVICES(DISK "\n<disk><source file='/b'/><target dev='xvda3'/></disk>"),
            "t.xml:7: <disk>: target 'xvda3' is taken");
    accepted(DEVICES("<disk><source file='/b'/><target dev='xvda3'/></disk>"
                     "<disk><source file='/c'/><target dev='xvda4'/></disk>"
                     "<disk><source file='/d'/><target dev='xvdq'/></disk>"
                     "<disk><source file='/d'/><target dev='xvdr'/></disk>"));
    refused(DEVICES("<disk><source file='/d'/><target dev='xvdq'/></disk>"
                    "<disk><source file='/d'/><target dev='xvdq15'/></disk>"),
            "t.xml:6: <disk>: target 'xvdq15' is taken");
    refused(DEVICES("<interface type='bridge'><mac address='00:16:3e:00:00:02'/><source "
                    "bridge='b'/></interface>\n<interface type='bridge'><mac "
                    "address='00:16:3E:00:00:02'/><source bridge='b'/></interface>"),
            "t.xml:7: <interface>: another interface has the address 00:16:3e:00:00:02");
    refused(DEVICES("<interface type='bridge'><source bridge='b'/><target dev='w'/></interface>"
                    "<interface type='bridge'><source bridge='b'/><target dev='w'/></interface>"),
            "t.xml:6: <interface>: another interface has the name 'w'");
    refused(DEVICES("<console/>\n<console/>"), "t.xml:7: <console>: a guest has one console");
}

static void test_config_parse__too_many(void)
{
    char text[32768];
    size_t at = (size_t)snprintf(text, sizeof(text), "%s<devices>", HEAD);

    for (unsigned int i = 0; i <= CONFIG_MAX_DISKS; i++) {
        at += (size_t)snprintf(text + at, sizeof(text) - at,
                               "<disk><source file='/%u'/><target dev='xvd%c%c'/></disk>", i,
                               'a' + i / 26, 'a' + i % 26);
    }
    snprintf(text + at, sizeof(text) - at, "</devices>%s", TAIL);
    refused(text, "t.xml:5: <disk>: there are more than 64 of them");
}

/* --- hostile and broken documents -------------------------------------------------------- */

static void test_config_parse__document_types(void)
{
    static const char told[] = ": <!DOCTYPE>: document types and entities are not allowed";
    char report[128];

    snprintf(report, sizeof(report), "t.xml:2%s", told);
    refused("<?xml version='1.0'?>\n<!DOCTYPE a [<!ENTITY b 'b'>"
            "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'>"
            "<!ENTITY d '&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;'>]>\n"
            "<domain type='xen'><name>&d;</name></domain>",
            report);
    snprintf(report, sizeof(report), "t.xml:1%s", told);
    refused("<!DOCTYPE domain SYSTEM 'file:///etc/passwd'><domain type='xen'/>", report);
    refused("<!DOCTYPE domain [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
            "<domain type='xen'><name>&x;</name></domain>",
            report);
    refused("<!DOCTYPE domain><domain type='xen'/>", report);
    refused("<domain type='xen'><name>&x;</name></domain>", "t.xml:1: not well-formed: Entity");
}

static void test_config_parse__not_well_formed(void)
{
    refused("", "t.xml: file is empty");
    refused("hello", "t.xml:1: not well-formed: ");
    refused("<domain type='xen'>\n<name>a</nam>", "t.xml:2: not well-formed: ");
    refused("<domain type='xen'></domain><domain/>", "t.xml:1: not well-formed: ");
    refused("<domain type='xen' type='xen'/>", "t.xml:1: not well-formed: ");
    refused("<domain type='xen'>\xff\xfe</domain>", "t.xml:1: not well-formed: ");
    refused("<a><b><c><d><e><f><g><h><i><j><k><l><m><n><o><p><q>",
            "t.xml:1: elements are nested too deeply");
}

/* Whatever is cut off or changed in a document, the reader neither crashes nor accepts half. */
static void test_config_parse__cut_and_changed(void)
{
    void *data;
    size_t bytes;

    CU_ASSERT_EQUAL_FATAL(file_read(EXAMPLE, CONFIG_MAX_FILE_BYTES, &data, &bytes, &err), 0);

    char *text = data;
    char *end = strstr(text, "</domain>");
    size_t complete = (size_t)(end - text) + strlen("</domain>");

    for (size_t cut = 0; cut < complete; cut++) {
        char *copy = malloc(cut + 1); /* exactly as long, for the sanitizer to see an overrun */

        memcpy(copy, text, cut);
        CU_ASSERT_EQUAL(config_parse("t", copy, cut, &config, &err), -EBADMSG);
        free(copy);
    }

    uint32_t random = 1;

    for (unsigned int round = 0; round < 5000; round++) {
        char *copy = malloc(bytes);

        memcpy(copy, text, bytes);
        for (unsigned int i = 0; i <= round % 3; i++) {
            random = random * 1103515245 + 12345;
            copy[(random >> 8) % bytes] = (char)(random >> 24);
        }
        if (config_parse("t", copy, bytes, &config, &err) == 0) {
            CU_ASSERT_PTR_NOT_NULL(config->kernel);
            config_free(config);
        }
        free(copy);
    }
    free(data);
}

static void test_config_load__files(void)
{
    char folder[] = "/tmp/test_config.XXXXXX";
    char path[64];
    int fd;

    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/f.xml", folder);
    config = NULL;
    CU_ASSERT_EQUAL(config_load(path, &config, &err), -ENOENT);
    CU_ASSERT_EQUAL(err.number, ENOENT);
    CU_ASSERT_EQUAL(config_load(folder, &config, &err), -EINVAL);

    /* A FIFO without a writer: refused, not waited for. */
    CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
    CU_ASSERT_EQUAL(config_load(path, &config, &err), -EINVAL);
    unlink(path);

    /* 100 MiB of holes cost nothing to make; they must cost nothing to refuse either. */
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CU_ASSERT_TRUE(fd >= 0 && ftruncate(fd, 100 << 20) == 0);
    close(fd);
    CU_ASSERT_EQUAL(config_load(path, &config, &err), -EFBIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "larger than the limit"));
    CU_ASSERT_EQUAL(truncate(path, CONFIG_MAX_FILE_BYTES), 0);
    CU_ASSERT_EQUAL(config_load(path, &config, &err), -EBADMSG);
    CU_ASSERT_PTR_NULL(config);
    unlink(path);
    rmdir(folder);
}

/* A report is one line of plain characters, whatever the file says. */
static void test_config_parse__report_is_clean(void)
{
    CU_ASSERT_EQUAL(parse(HEAD "<uuid>a&#10;b&#9;\xc3\xa9</uuid>" TAIL), -EBADMSG);
    CU_ASSERT_STRING_EQUAL(err.text, "t.xml:5: <uuid>: 'a?b?"
                                     "?"
                                     "?' is no uuid");
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"the example", test_config_load__example},
        {"everything there is", test_config_parse__everything},
        {"processors", test_config_parse__processors},
        {"bad processors", test_config_parse__bad_processors},
        {"defaults", test_config_parse__defaults},
        {"unknown words", test_config_parse__unknown_words},
        {"missing parts", test_config_parse__missing},
        {"bad values", test_config_parse__bad_values},
        {"conflicts", test_config_parse__conflicts},
        {"too many", test_config_parse__too_many},
        {"document types and entities", test_config_parse__document_types},
        {"not well-formed", test_config_parse__not_well_formed},
        {"cut and changed", test_config_parse__cut_and_changed},
        {"files", test_config_load__files},
        {"clean reports", test_config_parse__report_is_clean},
        CU_TEST_INFO_NULL,
    };
    return run_tests("config xml", tests);
}
