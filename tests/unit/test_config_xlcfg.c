/* SPDX-License-Identifier: MIT */
/*
 * The files of xl (dom0-tools/config/xlcfg.h): what each setting becomes, everything that is
 * refused and the place its report names, conversion there and back, damaged input. Xen's own
 * library for these files judges beside ours what is syntax and what a disk's string means.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <libxlutil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/config/xlcfg.h"
#include "tests/unit/runner.h"

/* Lines 1 to 3; what is put in begins at line 4. */
#define HEAD "name = 'g'\nmemory = 64\nkernel = '/k'\n"

static struct vane_config *config;
static struct err err;

static int parse(const char *text)
{
    config = NULL;
    memset(&err, 0, sizeof(err));
    return xlcfg_parse("g.cfg", text, strlen(text), &config, &err);
}

static void refused(const char *text, const char *report)
{
    int rc = parse(text);
    bool as_told = rc == -EBADMSG && err.number == EBADMSG && strcmp(err.text, report) == 0;

    if (!as_told) {
        printf("\n  %d \"%s\"\n  instead of \"%s\"\n", rc, err.text, report);
    }
    CU_ASSERT_TRUE(as_told);
    CU_ASSERT_PTR_NULL(config);
    config_free(config);
}

static char *xml_of(const struct vane_config *of)
{
    char *text = NULL;

    CU_ASSERT_EQUAL_FATAL(config_write_xml(of, &text, &err), 0);
    return text;
}

/* Whether a disk's string means the same to xl's library. */
static void same_disk(XLU_Config *xlu, const char *spec, const struct vane_disk *disk)
{
    libxl_device_disk theirs;

    libxl_device_disk_init(&theirs);
    CU_ASSERT_EQUAL_FATAL(xlu_disk_parse(xlu, 1, &spec, &theirs), 0);
    CU_ASSERT_STRING_EQUAL(theirs.vdev, disk->target);
    /* Theirs takes a device's name below /dev only later. */
    CU_ASSERT_PTR_NOT_NULL(strstr(disk->path, theirs.pdev_path));
    CU_ASSERT_EQUAL(theirs.readwrite, disk->readonly ? 0 : 1);
    CU_ASSERT_EQUAL(theirs.is_cdrom, disk->cdrom ? 1 : 0);
    CU_ASSERT_EQUAL(theirs.format, LIBXL_DISK_FORMAT_RAW);
    libxl_device_disk_dispose(&theirs);
}

/* What a card may send in the interval that xl sets, but for what is lost by rounding. */
static void same_rate(XLU_Config *xlu, const char *text, const struct vane_net *net)
{
    const char *rate = strstr(text, "rate=");
    libxl_device_nic nic;
    double wanted;

    if (rate == NULL) {
        CU_ASSERT_EQUAL(net->rate_kib, 0);
        return;
    }
    libxl_device_nic_init(&nic);
    CU_ASSERT_EQUAL_FATAL(xlu_vif_parse_rate(xlu, rate + strlen("rate="), &nic), 0);
    wanted = (double)nic.rate_bytes_per_interval * 1e6 / nic.rate_interval_usecs / 1024;
    CU_ASSERT_DOUBLE_EQUAL((double)net->rate_kib, wanted, 1.0);
    libxl_device_nic_dispose(&nic);
}

/* The same of a PCI device. */
static void same_pci(XLU_Config *xlu, const char *spec, const struct vane_hostdev *hostdev)
{
    libxl_device_pci theirs;
    char name[32];

    libxl_device_pci_init(&theirs);
    CU_ASSERT_EQUAL_FATAL(xlu_pci_parse_spec_string(xlu, &theirs, spec), 0);
    snprintf(name, sizeof(name), "%04x:%02x:%02x.%x", theirs.domain, theirs.bus, theirs.dev,
             theirs.func);
    CU_ASSERT_STRING_EQUAL(name, hostdev->address);
    CU_ASSERT_EQUAL(theirs.seize, hostdev->managed);
    CU_ASSERT_FALSE(theirs.permissive || theirs.power_mgmt || theirs.msitranslate);
    libxl_device_pci_dispose(&theirs);
}

/* The text is good for xl too, and the same in what can be compared without a machine. */
static void same_as_xl(const char *text)
{
    XLU_Config *xlu = xlu_cfg_init(stderr, "g.cfg");
    XLU_ConfigList *list;
    const char *value;
    int count = 0;
    long number;

    CU_ASSERT_PTR_NOT_NULL_FATAL(xlu);
    CU_ASSERT_EQUAL_FATAL(xlu_cfg_readdata(xlu, text, (int)strlen(text)), 0);
    CU_ASSERT_EQUAL(xlu_cfg_get_string(xlu, "name", &value, 0), 0);
    CU_ASSERT_STRING_EQUAL(value, config->name);
    CU_ASSERT_EQUAL(xlu_cfg_get_string(xlu, "kernel", &value, 0), 0);
    CU_ASSERT_STRING_EQUAL(value, config->kernel);
    if (xlu_cfg_get_string(xlu, "cmdline", &value, 1) == 0) {
        CU_ASSERT_STRING_EQUAL(value, config->cmdline);
    }
    if (xlu_cfg_get_long(xlu, "memory", &number, 1) == 0) {
        CU_ASSERT_EQUAL((uint64_t)number * 1024, config->current_memory_kib);
    }
    if (xlu_cfg_get_list(xlu, "disk", &list, &count, 1) == 0) {
        CU_ASSERT_EQUAL_FATAL((size_t)count, config->disk_count);
        for (int i = 0; i < count; i++) {
            same_disk(xlu, xlu_cfg_get_listitem(list, i), &config->disks[i]);
        }
    }
    if (xlu_cfg_get_list(xlu, "vif", &list, &count, 1) == 0) {
        CU_ASSERT_EQUAL_FATAL((size_t)count, config->net_count);
        for (int i = 0; i < count; i++) {
            same_rate(xlu, xlu_cfg_get_listitem(list, i), &config->nets[i]);
        }
    }
    if (xlu_cfg_get_list(xlu, "pci", &list, &count, 1) == 0) {
        CU_ASSERT_EQUAL_FATAL((size_t)count, config->hostdev_count);
        for (int i = 0; i < count; i++) {
            same_pci(xlu, xlu_cfg_get_listitem(list, i), &config->hostdevs[i]);
        }
    }
    xlu_cfg_destroy(xlu);
}

/* Accepted, by xl's library too, and the same again after having been written for xl. */
static void accepted(const char *text)
{
    int rc = parse(text);
    char *once;
    char *again;
    char *xl = NULL;

    if (rc != 0) {
        printf("\n  \"%s\" for %s\n", err.text, text);
    }
    CU_ASSERT_EQUAL_FATAL(rc, 0);
    same_as_xl(text);
    once = xml_of(config);
    CU_ASSERT_EQUAL_FATAL(xlcfg_write(config, &xl, &err), 0);
    config_free(config);
    rc = parse(xl);
    if (rc != 0) {
        printf("\n  \"%s\" for %s\n", err.text, xl);
    }
    CU_ASSERT_EQUAL_FATAL(rc, 0);
    same_as_xl(xl);
    again = xml_of(config);
    CU_ASSERT_STRING_EQUAL(once, again);
    free(again);
    free(once);
    free(xl);
}

/* --- what is accepted -------------------------------------------------------------------- */

static void test_xlcfg__everything(void)
{
    static const uint8_t mac[6] = {0, 0x16, 0x3e, 0, 0, 7};

    accepted("# a guest\nname=\"all\"; type = 'pv'\n"
             "uuid = \"0123456789abcdef0123456789abcdef\" # no dashes\n"
             "memory = '128' ; maxmem = 0x100\n"
             "vcpus = 2\nmaxvcpus = 4\ncpus = [ '0-1', \"2,3\",\n  'all,^1', ]\n"
             "cpu_weight = 512\ncap = 150\n"
             "kernel = \"/boot/vmlinuz\"\nramdisk = '/boot/initrd'\n"
             "root = '/dev/xvda ro'\nextra = 'quiet \\'x\\\\ \"'\nextra += ' more'\n"
             "on_poweroff = 'preserve'\non_reboot = 'destroy'\non_crash = 'coredump-restart'\n"
             "disk = [ 'phy:/dev/vg/a,xvda,w', 'file:/b.img,xvdb,r', '/c,raw,xvdc,rw' ]\n"
             "disk += [ 'vdev=xvdd, format=raw, access=w, target=/d, e.img' ]\n"
             "vif = [ 'mac=00:16:3e:00:00:07,bridge=br0,rate=10Mb/s', '' ]\n"
             "vfb = []\n");
    CU_ASSERT_STRING_EQUAL(config->name, "all");
    CU_ASSERT_EQUAL(config->current_memory_kib, 128 * 1024);
    CU_ASSERT_EQUAL(config->memory_kib, 256 * 1024);
    CU_ASSERT_EQUAL(config->vcpus, 4);
    CU_ASSERT_EQUAL(config->current_vcpus, 2);
    CU_ASSERT_TRUE(cpuset_has(&config->pins[0], 1) && !cpuset_has(&config->pins[0], 2));
    CU_ASSERT_TRUE(cpuset_has(&config->pins[1], 3) && !cpuset_has(&config->pins[1], 0));
    CU_ASSERT_TRUE(cpuset_has(&config->pins[2], 200) && !cpuset_has(&config->pins[2], 1));
    CU_ASSERT_TRUE(cpuset_has(&config->pins[3], 0) && cpuset_has(&config->pins[3], 255));
    CU_ASSERT_EQUAL(config->weight, 512);
    CU_ASSERT_EQUAL(config->cap, 150);
    CU_ASSERT_STRING_EQUAL(config->cmdline, "root=/dev/xvda ro quiet 'x\\ \" more");
    CU_ASSERT_EQUAL(config->on_poweroff, VANE_ACTION_PRESERVE);
    CU_ASSERT_EQUAL(config->on_reboot, VANE_ACTION_DESTROY);
    CU_ASSERT_EQUAL(config->on_crash, VANE_ACTION_COREDUMP_RESTART);
    CU_ASSERT_EQUAL_FATAL(config->disk_count, 4);
    CU_ASSERT_EQUAL(config->disks[0].type, VANE_DISK_BLOCK);
    CU_ASSERT_TRUE(config->disks[1].readonly && config->disks[1].type == VANE_DISK_FILE);
    CU_ASSERT_STRING_EQUAL(config->disks[3].path, "/d, e.img");
    CU_ASSERT_FALSE(config->disks[3].readonly);
    CU_ASSERT_EQUAL_FATAL(config->net_count, 2);
    CU_ASSERT_EQUAL(memcmp(config->nets[0].mac, mac, 6), 0);
    CU_ASSERT_EQUAL(config->nets[0].rate_kib, 1220); /* xl counts by 1000 */
    CU_ASSERT_STRING_EQUAL(config->nets[1].bridge, "xenbr0");
    CU_ASSERT_EQUAL(config->nets[1].rate_kib, 0);
    CU_ASSERT_FALSE(config->nets[1].mac_given);
    config_free(config);
}

/* Each of these is a file of its own. */
static void test_xlcfg__forms(void)
{
    static const char *const good[] = {
        HEAD,
        HEAD "vcpus = 3",
        HEAD "maxvcpus = 3",
        HEAD "maxmem = 65",
        HEAD "cpus = '^2'\nvcpus = 2",
        HEAD "cpus = \"all\"",
        HEAD "cpus = [ 3 ]",
        HEAD "vcpus = 1\n\n\n;;",
        HEAD "extra = ''\nroot = ''",
        HEAD "cmdline = 'a=\"b\" c=\\\\d'",
        HEAD "disk = []\nvif = []",
        HEAD "disk = ['/dev/a,,xvda']",
        HEAD "disk = ['/dev/a,raw,xvda:cdrom,r']",
        HEAD "disk = ['/a.iso,,xvda,ro,cdrom']",
        HEAD "disk = ['vdev=xvda,devtype=cdrom,target=/a.iso']",
        HEAD "disk = ['format=raw,vdev=xvdaa1,backendtype=phy,target=/dev/a,b']",
        HEAD "disk = ['file:/dev/odd,xvda,w', 'phy:/odd,xvdb,r']",
        HEAD "disk = ['phy:vg/name,xvda,w']",
        HEAD "vif = ['bridge=br0, vifname=web0, type=vif, script=vif-bridge']",
        HEAD "vif = ['rate=250KB/s', 'rate=1GB/s@50ms', 'rate=2048B/s', 'rate=16384b/s']",
        HEAD "pci = ['01:00.0', '0000:02:1f.7,seize=1']",
        HEAD "pci = [ '0001:fF:00.1,seize=0,permissive=0,power_mgmt=0,msitranslate=0' ]",
        HEAD "pci = []",
        HEAD "builder = 'generic'",
        HEAD "extra = 'tab\\tnew\\nline'",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        accepted(good[i]);
        config_free(config);
    }
    /* Lines as Windows ends them are not xl's, but nothing can go wrong with them. */
    CU_ASSERT_EQUAL(parse("name = 'g'\r\nmemory = 64\r\nkernel = '/k'\r\n"), 0);
    config_free(config);
}

/* --- what is refused --------------------------------------------------------------------- */

static void test_xlcfg__bad_syntax(void)
{
    refused("", "g.cfg:1: name: is missing");
    refused("name", "g.cfg:1: '=' is missing after 'name'");
    refused("= 3", "g.cfg:1: a line must begin with the name of a setting");
    refused("name = ", "g.cfg:1: name: a value is a number, a string in quotes or a list");
    refused("name = g", "g.cfg:1: name: a value is a number, a string in quotes or a list");
    refused("\n\nname = 'g\n'", "g.cfg:3: a string has no end");
    refused("name = 'g", "g.cfg:1: a string has no end");
    refused("name = \"g'", "g.cfg:1: a string has no end");
    refused("name = 'g\\", "g.cfg:1: unknown escape '\\' in a string");
    refused("name = '\\q'", "g.cfg:1: unknown escape '\\q' in a string");
    refused("name = '\\x41'", "g.cfg:1: unknown escape '\\x' in a string");
    refused("name = '\x01'", "g.cfg:1: a string has a control character");
    refused("name = '\\a'", "g.cfg:1: a string has a control character");
    refused("name = 'a\xff'", "g.cfg:1: a string is not UTF-8 text");
    refused("name = 'g' 'h'", "g.cfg:1: name: there is more behind the value");
    refused("disk = [\n'a'\n'b' ]", "g.cfg:3: disk: ',' or ']' is missing in the list");
    refused("disk = [ 'a', \n\n", "g.cfg:1: disk: the list has no end");
    refused("disk = [ ['a'] ]", "g.cfg:1: disk: a list within a list");
    refused("disk = [ , ]", "g.cfg:1: disk: a value is a number, a string in quotes or a list");
    refused("extra += 'a'", "g.cfg:1: extra: nothing is there to append to");
    refused("extra = 'a'\nextra += [ 'b' ]",
            "g.cfg:2: extra: a list and a string cannot be joined");
    refused("name = 'a'\nname = 'a'", "g.cfg:2: name: is set again, after line 1");
}

static void test_xlcfg__bad_values(void)
{
    refused("memory = 64\nkernel = '/k'", "g.cfg:1: name: is missing");
    refused("name = 'g'\nmemory = 64", "g.cfg:1: kernel: is missing");
    refused("name = 'g'\nkernel = '/k'", "g.cfg:1: memory: is missing");
    refused("name = ['g']", "g.cfg:1: name: must not be a list");
    refused("name = '../g'", "g.cfg:1: name: '../g' cannot be the name of a guest");
    refused(HEAD "uuid = '0123'", "g.cfg:4: uuid: '0123' is no uuid");
    refused("memory = 12a", "g.cfg:1: memory: '12a' is not a number");
    refused("memory = 010", "g.cfg:1: memory: '010' is not a number");
    refused("memory = '-4'", "g.cfg:1: memory: '-4' is not a number");
    refused("memory = 0xg", "g.cfg:1: memory: '0xg' is not a number");
    refused("memory = 3", "g.cfg:1: memory: 3 is not between 4 and 16777216");
    refused("memory = 99999999999999999999",
            "g.cfg:1: memory: '99999999999999999999' is not a number");
    refused(HEAD "maxmem = 63", "g.cfg:4: maxmem: is less than memory");
    refused(HEAD "vcpus = 0", "g.cfg:4: vcpus: 0 is not between 1 and 64");
    refused(HEAD "vcpus = 4\nmaxvcpus = 3", "g.cfg:5: maxvcpus: is less than vcpus");
    refused(HEAD "cpus = 'nodes:0'", "g.cfg:4: cpus: 'nodes:0' is no list such as \"0-3,^2\"");
    refused(HEAD "cpus = ['0',\n'1']", "g.cfg:4: cpus: there are 2 sets for 1 vCPUs");
    refused(HEAD "cpu_weight = 65536", "g.cfg:4: cpu_weight: 65536 is not between 1 and 65535");
    refused(HEAD "type = 'hvm'", "g.cfg:4: type: 'hvm' is not done: only type=\"pv\"");
    refused(HEAD "builder = 'hvm'", "g.cfg:4: builder: 'hvm' is not done: only type=\"pv\"");
    refused(HEAD "ramdisk = 'initrd'", "g.cfg:4: ramdisk: 'initrd' is not an absolute path");
    refused(HEAD "on_crash = 'soft-reset'", "g.cfg:4: on_crash: 'soft-reset' is not done");
    refused(HEAD "on_reboot = 'coredump-restart'",
            "g.cfg:4: on_reboot: 'coredump-restart' is not done");
    refused(HEAD "root = '/dev/xvda'\ncmdline = 'a'",
            "g.cfg:5: cmdline: xl ignores root and extra beside it; take one or the other");
}

static void test_xlcfg__not_done(void)
{
    refused(HEAD "bootloader = 'pygrub'",
            "g.cfg:4: bootloader: name kernel and ramdisk instead; nothing is read from a guest's "
            "disk to start it");
    refused(HEAD "\nvfb = [ 'type=vnc' ]", "g.cfg:5: vfb: this kind of device is not done");
    refused(HEAD "ioports = [ '2f8-2ff' ]",
            "g.cfg:4: ioports: nothing of the machine's is given to guests");
    refused(HEAD "pci_seize = 1", "g.cfg:4: pci_seize: not done");
    refused(HEAD "hap = 1", "g.cfg:4: hap: a paravirtualized guest has none");
    refused(HEAD "pool = 'x'", "g.cfg:4: pool: not done");
    refused(HEAD "dhcp = 'dhcp'", "g.cfg:4: dhcp: unknown setting");
}

static void test_xlcfg__bad_devices(void)
{
    refused(HEAD "pci = '01:00.0'", "g.cfg:4: pci: must be a list in [ ]");
    refused(HEAD "pci = [ '' ]", "g.cfg:4: pci: '' is no device such as 0000:01:00.0");
    refused(HEAD "pci = [ '01:20.0' ]",
            "g.cfg:4: pci: '01:20.0' is no device such as 0000:01:00.0");
    refused(HEAD "pci = [ '01:00.0@5' ]",
            "g.cfg:4: pci: '01:00.0@5' is no device such as 0000:01:00.0");
    refused(HEAD "pci = [ '01:00.0,permissive=1' ]",
            "g.cfg:4: pci: 'permissive=1' is not done: seize=1 is");
    refused(HEAD "pci = [ '01:00.0,seize=2' ]", "g.cfg:4: pci: 'seize=2' is not done: seize=1 is");
    refused(HEAD "pci = [ '01:00.0',\n'0000:01:00.0' ]",
            "g.cfg:5: pci: device 0000:01:00.0 stands here twice");
    refused(HEAD "pci = [ '1:0.0','2:0.0','3:0.0','4:0.0','5:0.0','6:0.0','7:0.0','8:0.0',"
                 "'9:0.0' ]",
            "g.cfg:4: pci: there are too many");
    refused(HEAD "disk = '/a,raw,xvda'", "g.cfg:4: disk: must be a list in [ ]");
    refused(HEAD "disk = [ '' ]", "g.cfg:4: disk: the target is missing");
    refused(HEAD "disk = [ '/a' ]", "g.cfg:4: disk: the vdev is missing");
    refused(HEAD "disk = [\n'/a,vhd,xvda' ]",
            "g.cfg:5: disk: format 'vhd' is not done: only raw and qcow2");
    refused(HEAD "disk = [ '/dev/a,qcow2,xvda' ]",
            "g.cfg:4: disk: a block device is not in the format qcow2");
    refused(HEAD "disk = [ '/a,raw,hda' ]",
            "g.cfg:4: disk: vdev 'hda' is no virtual disk: xvda, xvdb ...");
    refused(HEAD "disk = [ '/a,raw,xvda,x' ]",
            "g.cfg:4: disk: access 'x' is not one of r, ro, w and rw");
    refused(HEAD "disk = [ '/a,raw,xvda,r,y' ]",
            "g.cfg:4: disk: 'y' is more than target, format, vdev and access");
    refused(HEAD "disk = [ 'tap:aio:/a,xvda,w' ]",
            "g.cfg:4: disk: 'tap:aio:/a' is not done: only files and block devices");
    refused(HEAD "disk = [ 'file:a,xvda,w' ]", "g.cfg:4: disk: target 'a' is not an absolute path");
    refused(HEAD "disk = [ '/a,raw,xvda,rw,script=block-nbd' ]",
            "g.cfg:4: disk: 'script=block-nbd' is not done");
    refused(HEAD "disk = [ '/a,raw,xvda,rw,backendtype=tap' ]",
            "g.cfg:4: disk: 'backendtype=tap' is not done");
    refused(HEAD "disk = [ '/a,raw,xvda,rw,discard' ]", "g.cfg:4: disk: 'discard' is not done");
    refused(HEAD "vif = [ 'ip=10.0.0.1' ]",
            "g.cfg:4: vif: 'ip=10.0.0.1' is not done: mac, bridge, vifname, rate and type=vif are");
    refused(HEAD "vif = [ 'type=ioemu' ]",
            "g.cfg:4: vif: 'type=ioemu' is not done: mac, bridge, vifname, rate and type=vif are");
    refused(HEAD "vif = [ 'mac=01:00:00:00:00:00' ]",
            "g.cfg:4: vif: mac '01:00:00:00:00:00' is no unicast hardware address");
    refused(HEAD "vif = [ 'rate=' ]", "g.cfg:4: vif: rate '' is none such as 10Mb/s or 250KB/s");
    refused(HEAD "vif = [ 'rate=10' ]",
            "g.cfg:4: vif: rate '10' is none such as 10Mb/s or 250KB/s");
    refused(HEAD "vif = [ 'rate=8Kb' ]",
            "g.cfg:4: vif: rate '8Kb' is none such as 10Mb/s or 250KB/s");
    refused(HEAD "vif = [ 'rate=4Kb/s' ]",
            "g.cfg:4: vif: rate '4Kb/s' is none such as 10Mb/s or 250KB/s");
    refused(HEAD "vif = [ 'rate=1MB/s@20ms' ]",
            "g.cfg:4: vif: rate '1MB/s@20ms' is none such as 10Mb/s or 250KB/s");
    refused(HEAD "vif = [ 'rate=99999999999MB/s' ]",
            "g.cfg:4: vif: rate '99999999999MB/s' is none such as 10Mb/s or 250KB/s");
    refused(HEAD "vif = [ 'bridge=a/b' ]",
            "g.cfg:4: vif: 'a/b' cannot be the name of an interface");
    /* What spans several devices is the XML reader's to find. */
    CU_ASSERT_EQUAL(parse(HEAD "disk = [ '/a,raw,xvda', '/b,raw,xvda' ]"), -EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "target 'xvda' is taken by another disk"));
}

/* --- there and back ---------------------------------------------------------------------- */

#define XML(text)                                                                                  \
    "<domain type='xen'><name>x</name><memory unit='MiB'>64</memory>" text                         \
    "<os><type>linux</type><kernel>/k</kernel></os></domain>"

static void test_xlcfg__from_xml(void)
{
    static const char *const good[] = {
        XML(""),
        XML("<vcpu cpuset='0-3,^2' current='1'>4</vcpu>"),
        XML("<vcpu cpuset='^0'>4</vcpu><cputune><vcpupin vcpu='1' cpuset='7,9-10'/></cputune>"),
        XML("<vcpu>2</vcpu><cputune><vcpupin vcpu='1' cpuset='0,^0'/></cputune>"),
        XML("<cputune><shares>7</shares><global_quota>25000</global_quota></cputune>"),
        XML("<currentMemory unit='MiB'>32</currentMemory><uuid>"
            "00112233-4455-6677-8899-aabbccddeeff</uuid>"),
        XML("<devices><disk type='file'><source file='/dev/f'/><target dev='xvda'/></disk>"
            "<disk type='block' device='cdrom'><source dev='/b'/><target dev='xvdb'/></disk>"
            "<interface type='bridge'><source bridge='b'/><target dev='t'/></interface>"
            "<interface type='bridge'><source bridge='b'/>"
            "<bandwidth><outbound average='1250'/></bandwidth></interface>"
            "</devices>"),
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char *before;
        char *after;
        char *xl = NULL;

        config = NULL;
        CU_ASSERT_EQUAL_FATAL(config_parse("x", good[i], strlen(good[i]), &config, &err), 0);
        before = xml_of(config);
        CU_ASSERT_EQUAL_FATAL(xlcfg_write(config, &xl, &err), 0);
        config_free(config);
        CU_ASSERT_EQUAL_FATAL(parse(xl), 0);
        same_as_xl(xl);
        after = xml_of(config);
        CU_ASSERT_STRING_EQUAL(before, after);
        config_free(config);
        free(before);
        free(after);
        free(xl);
    }
}

static void test_xlcfg__unsayable(void)
{
    static const char memory[] = XML("<currentMemory unit='KiB'>65532</currentMemory>");
    static const char disk[] = XML("<devices><disk type='file'><source file='/dev/a,b'/>"
                                   "<target dev='xvda'/></disk></devices>");
    static const char shared[] = XML("<devices><disk type='file'><source file='/s'/>"
                                     "<target dev='xvda'/><shareable/></disk></devices>");
    static const char titled[] = XML("<description>a\nname = 'evil'</description>");
    char *xl = NULL;

    CU_ASSERT_EQUAL_FATAL(config_parse("x", memory, strlen(memory), &config, &err), 0);
    CU_ASSERT_EQUAL(xlcfg_write(config, &xl, &err), -EBADMSG);
    CU_ASSERT_STRING_EQUAL(err.text,
                           "memory: 65532 KiB is no whole number of MiB, which is all xl can say");
    config_free(config);
    CU_ASSERT_EQUAL_FATAL(config_parse("x", disk, strlen(disk), &config, &err), 0);
    CU_ASSERT_EQUAL(xlcfg_write(config, &xl, &err), -EBADMSG);
    config_free(config);

    CU_ASSERT_EQUAL_FATAL(config_parse("x", shared, strlen(shared), &config, &err), 0);
    CU_ASSERT_EQUAL(xlcfg_write(config, &xl, &err), -EBADMSG);
    CU_ASSERT_STRING_EQUAL(err.text, "disk: '/s' is shareable, for which xl has no word");
    config_free(config);

    /* A description stays a comment, whatever is in it. */
    CU_ASSERT_EQUAL_FATAL(config_parse("x", titled, strlen(titled), &config, &err), 0);
    CU_ASSERT_EQUAL_FATAL(xlcfg_write(config, &xl, &err), 0);
    config_free(config);
    CU_ASSERT_EQUAL(strncmp(xl, "# description: a\n# name = 'evil'\n", 33), 0);
    CU_ASSERT_EQUAL_FATAL(parse(xl), 0);
    CU_ASSERT_STRING_EQUAL(config->name, "x");
    config_free(config);
    free(xl);
}

/* --- damaged input ----------------------------------------------------------------------- */

static const char whole[] =
    "name='d';memory=64;kernel='/k'\nextra='a\\\\b' # c\ncpus=[ '0-1',\n\"^3\" ]\nvcpus=2\n"
    "disk=['phy:/dev/a,xvda,w','vdev=xvdb,target=/b,c']\nvif=['mac=00:16:3e:01:02:03']\n";

/* Exact memory for the sanitizer to guard, with the NUL that file_read() puts behind. */
static void try_bytes(const char *text, size_t bytes)
{
    char *copy = malloc(bytes + 1);

    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    config = NULL;
    memset(&err, 0, sizeof(err));
    if (xlcfg_parse("g.cfg", copy, bytes, &config, &err) == 0) {
        config_free(config);
    } else {
        CU_ASSERT_TRUE(err.number == EBADMSG && err.text[0] != '\0' && config == NULL);
    }
    free(copy);
}

static void test_xlcfg__cut_and_changed(void)
{
    static const char nasty[] = "'\"[]\\#;=,\n\t \x01\xff{0x";
    char changed[sizeof(whole)];
    uint64_t random = 1;

    accepted(whole);
    config_free(config);
    for (size_t bytes = 0; bytes < sizeof(whole); bytes++) {
        try_bytes(whole, bytes);
    }
    for (size_t at = 0; at < sizeof(whole) - 1; at++) {
        for (size_t i = 0; i < sizeof(nasty); i++) { /* the NUL too */
            memcpy(changed, whole, sizeof(whole));
            changed[at] = nasty[i];
            try_bytes(changed, sizeof(whole) - 1);
        }
    }
    for (unsigned int round = 0; round < 3000; round++) {
        memcpy(changed, whole, sizeof(whole));
        for (unsigned int i = 0; i < 4; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            changed[(random >> 33) % (sizeof(whole) - 1)] = nasty[(random >> 20) % sizeof(nasty)];
        }
        try_bytes(changed, sizeof(whole) - 1);
    }
}

static void test_xlcfg__too_much(void)
{
    size_t bytes = CONFIG_MAX_FILE_BYTES + 1;
    char *text = malloc(bytes + 1);

    memset(text, ' ', bytes);
    text[bytes] = '\0';
    CU_ASSERT_EQUAL(xlcfg_parse("g.cfg", text, bytes, &config, &err), -EFBIG);
    for (size_t at = 0; at + 8 < 8 * 300; at += 8) {
        snprintf(text + at, 9, "a%04zu=1\n", at / 8);
    }
    CU_ASSERT_EQUAL(xlcfg_parse("g.cfg", text, strlen(text), &config, &err), -EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "there are more than 256 settings"));
    free(text);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"everything there is", test_xlcfg__everything},
        {"other forms", test_xlcfg__forms},
        {"bad syntax", test_xlcfg__bad_syntax},
        {"bad values", test_xlcfg__bad_values},
        {"not done", test_xlcfg__not_done},
        {"bad devices", test_xlcfg__bad_devices},
        {"from XML and back", test_xlcfg__from_xml},
        {"what xl has no words for", test_xlcfg__unsayable},
        {"cut and changed", test_xlcfg__cut_and_changed},
        {"too much", test_xlcfg__too_much},
        CU_TEST_INFO_NULL,
    };
    return run_tests("config xlcfg", tests);
}
