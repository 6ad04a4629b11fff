/* SPDX-License-Identifier: MIT */
/*
 * The program `vane` as its user meets it, without a hypervisor: exit statuses, one line for each
 * failure, help, and the commands that only read files. Runs the sanitized build that lies beside
 * the test.
 */
#include <CUnit/Basic.h>
#include <glob.h>
#include <json-c/json.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dom0-tools/config/config.h"
#include "tests/unit/runner.h"

#define CORPUS "tests/corpus/domain-xml"

static char program[4096]; /* the sanitized vane */
static char folder[] = "/tmp/test_vane.XXXXXX";

/* What the last run said. */
static char out[1 << 16];
static char errors[1 << 16];

static void slurp(const char *name, char *to, size_t room)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);

    FILE *file = fopen(path, "r");

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    to[fread(to, 1, room - 1, file)] = '\0';
    fclose(file);
}

/* Runs vane with arguments in the shell's form. Returns: its exit status, -1 for a crash. */
static int vane(const char *arguments)
{
    char command[8192];

    snprintf(command, sizeof(command),
             "cd %s && XENSTORED_PATH=$PWD/socket '%s' %s >out 2>err </dev/null", folder, program,
             arguments);

    int status = system(command);

    slurp("out", out, sizeof(out));
    slurp("err", errors, sizeof(errors));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void put(const char *name, const char *text)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);

    FILE *file = fopen(path, "w");

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
}

/* Expects a status, nothing on standard output, and this one line. */
static void fails(const char *arguments, int status, const char *line)
{
    int got = vane(arguments);
    bool as_told = got == status && strncmp(errors, "vane: ", 6) == 0 &&
                   strstr(errors, line) != NULL && out[0] == '\0' &&
                   strchr(errors, '\n') == errors + strlen(errors) - 1;

    if (!as_told) {
        printf("\n  vane %s: status %d, \"%s\" instead of %d, \"%s\"\n", arguments, got, errors,
               status, line);
    }
    CU_ASSERT_TRUE(as_told);
}

#define GOOD                                                                                       \
    "<domain type='xen'><name>good</name><memory unit='MiB'>64</memory>"                           \
    "<os><type>linux</type><kernel>/k</kernel></os></domain>"

/* --- cases ------------------------------------------------------------------------------- */

static void test_vane__usage(void)
{
    CU_ASSERT_EQUAL(vane(""), 2);
    CU_ASSERT_PTR_NOT_NULL(strstr(errors, "Usage: vane COMMAND"));
    fails("frobnicate", 2, "unknown command 'frobnicate'");
    fails("--frobnicate", 2, "unknown option '--frobnicate'");
    fails("help frobnicate", 2, "unknown command 'frobnicate'");
    fails("create", 2, "create: missing operand: FILE");
    fails("create a b", 2, "create: surplus operand: b");
    fails("list --frobnicate", 2, "list: unknown option --frobnicate");
    fails("list -z", 2, "list: unknown option -z");
    fails("list -qz", 2, "list: unknown option -z (");
    fails("list x -jq", 2, "list: unknown option -j (");
    fails("list --quiet=5", 2, "list: option without a value has one: --quiet=5");
    fails("list --json=5", 2, "list: option without a value has one: --json=5");
    fails("start --d=3 x", 2, "start: option with several meanings: --d=3");
    fails("disk resize", 2, "disk resize: missing operand: DOMAIN TARGET (");
    fails("help list x", 2, "help: surplus operand: x (try: vane help list)");
    fails("help disk list x", 2, "help: surplus operand: x (try: vane help disk list)");
    fails("shutdown -t 5 x", 2, "shutdown: --timeout without --wait");
    fails("mem-set -t 5 x 64", 2, "mem-set: --timeout without --wait");
    fails("vcpu-set -t 5 x 1", 2, "vcpu-set: --timeout without --wait");
    fails("validate ''", 3, "'': No such file or directory");
    put("self.xml", GOOD);
    fails("convert -o ./self.xml self.xml", 2, "convert: 'self.xml' would be written over itself");
    fails("unpack-kernel self.xml ./self.xml", 2,
          "unpack-kernel: 'self.xml' would be written over itself");
    fails("unpack-kernel -n a b", 2, "unpack-kernel: no file is written with --notes, not 'b'");
    fails("pause --json x", 2, "pause: unknown option --json");
    fails("shutdown -t", 2, "shutdown: option without its value: -t");
    fails("shutdown", 2, "shutdown: either a DOMAIN or --all is needed");
    fails("reboot --all x", 2, "reboot: either a DOMAIN or --all is needed");
    fails("shutdown -t -5 x", 2, "-t takes a number from 1");
    fails("shutdown -t 5x x", 2, "-t takes a number from 1");
    fails("shutdown --timeout=99999999999999999999 x", 2, "-t takes a number from 1");
    fails("sched --weight=0 x", 2, "-w takes a number from 1 to 65535, not '0'");
    fails("sched --weight=65536 x", 2, "-w takes a number from 1 to 65535");
    fails("sched --cap=-1 x", 2, "-c takes a number from 0");
    fails("sched --cap=50", 2, "sched: missing operand: DOMAIN");
    fails("vcpu-set x", 2, "vcpu-set: missing operand: N (");
    fails("vcpu-set x 0", 2, "a number of vCPUs from 1 on is needed, not '0'");
    fails("vcpu-set x 4294967297", 2, "a number of vCPUs from 1 on is needed");
    fails("vcpu-set -t 0 x 1", 2, "-t takes a number from 1");
    fails("vcpu-pin x 0", 2, "vcpu-pin: missing operand: CPUS (");
    fails("vcpu-pin x some 0", 2, "the number of a vCPU or 'all' is needed, not 'some'");
    fails("vcpu-pin x all 3-1", 2, "'3-1' is no list of processors");
    fails("vcpu-pin x 0 256", 2, "'256' is no list of processors");
    fails("top x", 2, "top: surplus operand: x");
    fails("top -d 0", 2, "-d takes a number from 1 to 3600");
    fails("top -n 0 -b", 2, "-n takes a number from 1");
    fails("top --sort=money", 2, "no column 'money' to sort by");
    fails("mem-set x 0", 2, "an amount of at least 4 MiB is needed");
    fails("mem-set x -5", 2, "mem-set: unknown option -5");
    fails("mem-set x 5XiB", 2, "an amount of at least 4 MiB is needed");
    fails("mem-set x 99999999999999999999999999", 2, "an amount of at least 4 MiB is needed");
    fails("mem-set x 17TiB", 2, "an amount of at least 4 MiB is needed");
    fails("sysrq x", 2, "sysrq: missing operand: KEY (");
    fails("sysrq x hb", 2, "a key is one digit or small letter, not 'hb'");
    fails("sysrq x H", 2, "a key is one digit or small letter");
    fails("log ../../etc/passwd", 2, "log: '../../etc/passwd' cannot be the name of a guest");
    fails("log 7", 2, "log: '7' cannot be the name of a guest");
    fails("log -n 0 x", 2, "-n takes a number from 1");
    fails("log no-guest-ever-had-this-name", 3, "no-guest-ever-had-this-name.log: No such file");
    fails("exporter --port=0", 2, "-p takes a number from 1 to 65535");
    fails("exporter -d 3601", 2, "-d takes a number from 1 to 3600");
    fails("disk", 2, "disk: a command's second word is missing");
    fails("disk frob", 2, "unknown command 'disk frob'");
    fails("help net frob", 2, "unknown command 'net frob'");
    fails("disk attach x /a", 2, "disk attach: missing operand: TARGET (");
    fails("disk attach x a xvdb", 2, "'a' is not an absolute path");
    fails("disk attach x /a sda", 2, "'sda' is no virtual disk");
    fails("disk attach -f vmdk x /a xvdb", 2, "the format is raw or qcow2, not 'vmdk'");
    fails("disk attach -s -f qcow2 x /a xvdb", 2, "a qcow2 image cannot be shared");
    fails("disk attach -f qcow2 x /dev/loop0 xvdb", 2, "block device, not a qcow2 file");
    fails("disk attach -t 0 x /a xvdb", 2, "-t takes a number from 1");
    fails("disk detach x ../xvdb", 2, "'../xvdb' is no virtual disk");
    fails("disk resize x xvdb 0", 2, "a size is needed, such as 2048 (MiB) or 10GiB, not '0'");
    fails("disk resize x xvdb 99999999999TiB", 2, "a size is needed");
    fails("disk resize x xvdb -- -5", 2, "a size is needed");
    fails("net attach x", 2, "net attach: missing operand: BRIDGE (");
    fails("pci attach x", 2, "pci attach: missing operand: DEVICE (");
    fails("pci attach x 00:20.0", 2, "a device is named as in 00:05.0");
    fails("pci attach x ../../x", 2, "a device is named as in 00:05.0");
    fails("pci detach x -- -1:05.0", 2, "a device is named as in 00:05.0");
    fails("pci attach -t 0 x 00:05.0", 2, "-t takes a number from 1");
    fails("create -t 0 x.xml", 2, "-t takes a number from 1");
    fails("net attach x a/b", 2, "'a/b' cannot be the name of a bridge");
    fails("net attach -m 01:00:00:00:00:01 x br0", 2, "is no unicast hardware address");
    fails("net attach -r fast x br0", 2, "a rate is an amount in a second");
    fails("net attach -r 0 x br0", 2, "a rate is an amount in a second");
    fails("net attach -i vif9.9 x br0", 2, "cannot be the name of an interface of yours");
    fails("net detach x eth0", 2, "the number of a card or its address is needed, not 'eth0'");
    fails("mem-max x -- -1", 2, "an amount of at least 4 MiB is needed");
    fails("rename x 7", 2, "rename: '7' cannot be the name of a guest");
    fails("rename x ../y", 2, "rename: '../y' cannot be the name of a guest");
    fails("store ls relative", 2, "'relative' is no path of the store");
    fails("store ls /a//b", 2, "'/a//b' is no path of the store");
    fails("store read /a/", 2, "'/a/' is no path of the store");
    fails("store read /../a", 2, "'/../a' is no path of the store");
    fails("store write @releaseDomain x", 2, "is no path of the store");
    fails("store watch", 2, "store watch: missing operand: PATH...");
    fails("store watch -n 0 /", 2, "-n takes a number from 1");
    fails("store watch @nonsense", 2, "no '@nonsense' to watch, only @introduceDomain");
    fails("store watch @releaseDomains", 2, "no '@releaseDomains' to watch");
    fails("store quota -s nodes", 2, "a limit is set as in nodes=2000, not 'nodes'");
    fails("store quota -s nodes=-1", 2, "a limit is set as in nodes=2000");
    fails("store quota -s =1", 2, "a limit is set as in nodes=2000");
    fails("dump-core x", 2, "dump-core: missing operand: FILE (");
    fails("dump-core x out", 6, "out exists already");
    fails("events x", 2, "events: surplus operand: x");
    fails("events -n 0", 2, "-n takes a number from 1");
    fails("balloon x", 2, "what a guest keeps is set as in --least=64 DOMAIN");
    fails("balloon --least=64", 2, "what a guest keeps is set as in");
    fails("balloon --least=1 x", 2, "what a guest keeps is set as in");
    fails("balloon -f -d 0", 2, "-d takes a number from 1");
    fails("sched -w 5 -w 6 x", 2, "sched: option given twice: weight");
    fails("plan", 2, "plan: missing operand: FILE...");
    fails("plan --limit=101 x", 2, "-l takes a number from 1 to 100");
}

static void test_vane__help(void)
{
    static const char *const commands[] = {
        "list",        "info",        "dmesg",         "version",    "pause",
        "unpause",     "create",      "destroy",       "shutdown",   "reboot",
        "console",     "validate",    "unpack-kernel", "sched",      "vcpu-list",
        "vcpu-set",    "vcpu-pin",    "top",           "plan",       "mem-set",
        "sysrq",       "log",         "exporter",      "define",     "undefine",
        "defined",     "dumpxml",     "autostart",     "start",      "disk attach",
        "disk detach", "disk list",   "disk resize",   "net attach", "net detach",
        "net list",    "mem-max",     "rename",        "store ls",   "store read",
        "store write", "store watch", "store quota",   "host",       "doctor",
        "stats",       "pci attach",  "pci detach",    "pci list",   "pci assignable",
        "dump-core",   "balloon",     "events",        "convert"};
    static char page[sizeof(out)];

    CU_ASSERT_EQUAL(vane("--generate-man"), 0);
    memcpy(page, out, sizeof(page));
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        char text[64];

        CU_ASSERT_EQUAL(vane("--help"), 0);
        snprintf(text, sizeof(text), "\n  %s ", commands[i]);
        CU_ASSERT_PTR_NOT_NULL(strstr(out, text));
        snprintf(text, sizeof(text), "help %s", commands[i]);
        CU_ASSERT_EQUAL(vane(text), 0);
        snprintf(text, sizeof(text), "Usage: vane %s", commands[i]);
        CU_ASSERT_PTR_EQUAL(strstr(out, text), out);
        snprintf(text, sizeof(text), "%s --help", commands[i]);
        CU_ASSERT_EQUAL(vane(text), 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(out, "print this text"));
        snprintf(text, sizeof(text), "\n.SS %.3s", commands[i]);
        CU_ASSERT_PTR_NOT_NULL(strstr(page, text));
    }
    /* EPERM and ENODEV have more reasons than that there is no hypervisor. */
    CU_ASSERT_EQUAL(vane("--help"), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "\n  5  no hypervisor or driver for it, "));
    CU_ASSERT_PTR_NOT_NULL(strstr(out, ", or only with --unsafe\n"));
    CU_ASSERT_EQUAL(vane("help disk"), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "\n  attach "));
    CU_ASSERT_EQUAL(vane("net --help"), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "\n  detach "));
    CU_ASSERT_EQUAL(vane("--version"), 0);
    CU_ASSERT_PTR_EQUAL(strstr(out, "vane "), out);
}

/* bash itself completes words with what vane generates. */
static void test_vane__completion(void)
{
    CU_ASSERT_EQUAL(vane("--generate-completion"), 0);
    put("vane.bash", out);
    put("ask",
        "source ./vane.bash\nvane() { [ $1 = list ] && printf 'guest1\\nguest2\\n' ||\n"
        "printf 'NAME   AUTOSTART\\ngiven  yes\\n'; }\nCOMP_WORDS=(vane $@); COMP_CWORD=$#; _vane\n"
        "echo \"${COMPREPLY[*]}\"\n");

    static const struct {
        const char *words;
        const char *answer;
    } cases[] = {
        {"unp", "unpause unpack-kernel\n"},
        {"help des", "destroy\n"},
        {"list --j", "--json\n"},
        {"vcpu-", "vcpu-list vcpu-set vcpu-pin\n"},
        {"sched --", "--help --json --weight --cap\n"},
        {"create --dr", "--dry-run\n"},
        {"validate vane.b", "vane.bash\n"},
        {"nonsense x", "\n"},
        {"disk re", "resize\n"},
        {"destroy g", "guest1 guest2\n"},
        {"destroy guest1 g", "\n"},
        {"start g", "guest1 guest2 given\n"},
        {"start -t 5 gi", "given\n"},
        {"start --timeout = 5 gi", "given\n"},
        {"start --paused gi", "given\n"},
        {"rename guest1 g", "\n"},
        {"rename g", "guest1 guest2\n"},
        {"disk attach g", "guest1 guest2\n"},
        {"disk attach guest1 vane.b", "vane.bash\n"},
        {"disk attach guest1 /x xvd", "\n"},
        {"validate x vane.b", "vane.bash\n"},
        {"store read vane.b", "\n"},
        {"start -D vane.b", "vane.bash\n"},
        {"info g", "guest1 guest2\n"},
        {"list vane.b", "\n"},
        {"net attach --r", "--rate\n"},
        {"help store w", "write watch\n"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char command[256];

        snprintf(command, sizeof(command), "cd %s && bash ask %s >out", folder, cases[i].words);
        CU_ASSERT_EQUAL(system(command), 0);
        slurp("out", out, sizeof(out));
        CU_ASSERT_STRING_EQUAL(out, cases[i].answer);
    }
}

static void test_vane__validate(void)
{
    put("good.xml", GOOD);
    put("bad.xml", "<domain type='xen'>\n<foo/></domain>");
    CU_ASSERT_EQUAL(vane("validate good.xml"), 0);
    CU_ASSERT_STRING_EQUAL(out, "good.xml: valid, describes good\n");
    fails("validate bad.xml", 4, "bad.xml:2: <domain>: unknown element <foo>");
    fails("validate missing.xml", 3, "missing.xml: No such file or directory");
    fails("validate /dev/zero", 1, "/dev/zero: not a regular file");

    /* A wrong file among good ones: all are tested, the status tells. */
    CU_ASSERT_EQUAL(vane("validate good.xml bad.xml -- good.xml"), 4);
    CU_ASSERT_STRING_EQUAL(out, "good.xml: valid, describes good\n"
                                "good.xml: valid, describes good\n");
    CU_ASSERT_EQUAL(vane("validate --json good.xml good.xml"), 0);

    struct json_object *list = json_tokener_parse(out);
    struct json_object *first = json_object_array_get_idx(list, 0);
    struct json_object *value = NULL;

    CU_ASSERT_EQUAL(json_object_array_length(list), 2);
    CU_ASSERT_TRUE(json_object_object_get_ex(first, "memory_kib", &value));
    CU_ASSERT_EQUAL(json_object_get_int(value), 65536);
    json_object_put(list);
}

/* Files that describe different guests are different in JSON too: it lacks nothing. */
static void test_vane__validate_tells_all(void)
{
    static char *xml[200], *json[200];
    char *here = getcwd(NULL, 0);
    char arguments[4096];
    struct vane_config *config;
    glob_t files;

    CU_ASSERT_EQUAL_FATAL(glob(CORPUS "/good-*.xml", 0, NULL, &files), 0);
    CU_ASSERT_FATAL(files.gl_pathc > 30 && files.gl_pathc <= 200);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        CU_ASSERT_EQUAL_FATAL(config_load(files.gl_pathv[i], &config, NULL), 0);
        CU_ASSERT_EQUAL_FATAL(config_write_xml(config, &xml[i], NULL), 0);
        config_free(config);
        snprintf(arguments, sizeof(arguments), "validate --json '%s/%s'", here, files.gl_pathv[i]);
        CU_ASSERT_EQUAL(vane(arguments), 0);
        json[i] = strdup(out);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(xml[i], xml[j]) != 0 && strcmp(json[i], json[j]) == 0) {
                printf("\n  %s is not told from %s\n", files.gl_pathv[i], files.gl_pathv[j]);
                CU_FAIL("JSON lacks something");
            }
        }
    }
    for (size_t i = 0; i < files.gl_pathc; i++) {
        free(xml[i]);
        free(json[i]);
    }
    globfree(&files);
    free(here);
}

static void test_vane__unpack_kernel(void)
{
    struct stat before;
    char path[128];

    put("plain", "\177ELF and more");
    put("text", "hello");
    put("vmlinuz-1", "\177ELF");
    CU_ASSERT_EQUAL(vane("unpack-kernel plain copy"), 0);
    slurp("copy", out, sizeof(out));
    CU_ASSERT_STRING_EQUAL(out, "\177ELF and more");
    CU_ASSERT_EQUAL(vane("unpack-kernel plain -"), 0);
    CU_ASSERT_STRING_EQUAL(out, "\177ELF and more");
    CU_ASSERT_EQUAL(vane("unpack-kernel plain"), 0);
    slurp("plain.elf", out, sizeof(out));
    CU_ASSERT_EQUAL(vane("unpack-kernel vmlinuz-1"), 0);
    slurp("vmlinux-1", out, sizeof(out));
    CU_ASSERT_STRING_EQUAL(out, "\177ELF");

    fails("unpack-kernel text new", 4, "text: neither a Linux boot image");
    fails("unpack-kernel missing", 3, "missing: No such file");
    fails("unpack-kernel plain nowhere/x", 3, "nowhere/x: No such file");
    fails("unpack-kernel -n plain", 4, "plain: kernel is no ELF file");
    /* Neither a failed run's output nor its temporary file exists. */
    snprintf(path, sizeof(path), "%s/new", folder);
    CU_ASSERT_NOT_EQUAL(stat(path, &before), 0);
    CU_ASSERT_EQUAL(vane("unpack-kernel plain /dev/full/x"), 1);
}

static void test_vane__definitions(void)
{
    put("good.xml", GOOD);
    put("bad.xml", "<domain type='xen'>\n<foo/></domain>");
    CU_ASSERT_EQUAL(vane("define -D guests good.xml"), 0);
    CU_ASSERT_STRING_EQUAL(out, "good: defined\n");
    CU_ASSERT_EQUAL(vane("dumpxml -D guests good"), 0);
    CU_ASSERT_STRING_EQUAL(out, GOOD);
    CU_ASSERT_EQUAL(vane("defined -D guests"), 0);
    CU_ASSERT_STRING_EQUAL(out, "NAME  AUTOSTART\ngood  no\n");
    CU_ASSERT_EQUAL(vane("autostart -D guests good"), 0);
    CU_ASSERT_EQUAL(vane("autostart -D guests good"), 0);
    CU_ASSERT_EQUAL(vane("defined -D guests --json"), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "\"autostart\":true"));
    CU_ASSERT_EQUAL(vane("autostart --off -D guests good"), 0);
    CU_ASSERT_EQUAL(vane("defined -D guests"), 0);
    CU_ASSERT_STRING_EQUAL(out, "NAME  AUTOSTART\ngood  no\n");

    fails("define -D guests bad.xml", 4, "bad.xml:2: <domain>: unknown element <foo>");
    fails("define -D guests missing.xml", 3, "missing.xml: No such file");
    fails("define -D /proc/nowhere good.xml", 3, "cannot make /proc/nowhere");
    fails("undefine -D guests other", 3, "no guest other is defined in guests");
    fails("dumpxml -D guests ../guests/good", 2,
          "dumpxml: '../guests/good' cannot be the name of a guest");
    fails("dumpxml -D guests .good", 2, "cannot be the name of a guest");
    fails("undefine -D guests ../guests/good", 2,
          "undefine: '../guests/good' cannot be the name of a guest");
    fails("autostart -D guests a/b", 2, "autostart: 'a/b' cannot be the name of a guest");
    fails("start -D guests a/b", 2, "start: 'a/b' cannot be the name of a guest");
    fails("autostart -D guests other", 3, "no guest other is defined");
    fails("defined -D nowhere", 3, "nowhere: No such file");
    fails("start -D guests", 2, "either the name of a guest or --autostarted is needed");
    fails("start -D guests -a good", 2, "either the name of a guest or --autostarted");
    fails("start -D guests other", 3, "no guest other is defined");
    /* Nothing is marked, so nothing is started, and no hypervisor is missed. */
    CU_ASSERT_EQUAL(vane("start -D guests --autostarted"), 0);
    CU_ASSERT_EQUAL(vane("autostart -D guests good"), 0);
    CU_ASSERT_EQUAL(vane("undefine -D guests good"), 0);
    CU_ASSERT_EQUAL(vane("defined -D guests"), 0);
    CU_ASSERT_STRING_EQUAL(out, "NAME  AUTOSTART\n");
    /* Its mark has gone, too: a new definition starts without one. */
    CU_ASSERT_EQUAL(vane("define -D guests good.xml"), 0);
    CU_ASSERT_EQUAL(vane("defined -D guests"), 0);
    CU_ASSERT_STRING_EQUAL(out, "NAME  AUTOSTART\ngood  no\n");
}

/* The eight guests on three hosts of tests/unit/test_usage_plan.c. */
static void test_vane__convert(void)
{
    put("good.xml", GOOD);
    put("bad.cfg", "name = 'bad'\nmemory = 64\nbootloader = 'pygrub'\n");
    CU_ASSERT_EQUAL(vane("convert good.xml -o good.cfg"), 0);
    CU_ASSERT_EQUAL(vane("convert good.cfg"), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "<memory unit=\"MiB\">64</memory>"));
    CU_ASSERT_EQUAL(vane("convert --to=xl good.cfg"), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "\nmemory = 64\n"));
    CU_ASSERT_EQUAL(vane("convert --to xml good.xml"), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "<name>good</name>"));
    fails("convert bad.cfg", 4, "bad.cfg:3: bootloader: name kernel and ramdisk instead");
    fails("convert none.cfg", 3, "none.cfg");
    fails("convert -t yaml good.cfg", 2, "there is no form 'yaml' (xml, xl)");
    fails("convert", 2, "convert: missing operand: FILE");
    fails("convert good.cfg -o none/x.xml", 3, "none/x.xml");
}

static void test_vane__plan(void)
{
    char text[4096];
    size_t at = (size_t)snprintf(text, sizeof(text),
                                 "{\"host\":{\"name\":\"a\",\"pcpus\":1,\"free_memory_kib\":0},"
                                 "\"domains\":[");

    for (unsigned int i = 1; i <= 8; i++) {
        at += (size_t)snprintf(text + at, sizeof(text) - at,
                               "%s{\"id\":%u,\"name\":\"g%u\",\"used_percent\":12.5,"
                               "\"demand_percent\":25.0,\"memory_kib\":1024}",
                               i > 1 ? "," : "", i, i);
    }
    snprintf(text + at, sizeof(text) - at, "]}");
    put("a.json", text);
    put("bc.json",
        "{\"host\":{\"name\":\"b\",\"pcpus\":1,\"free_memory_kib\":9999},\"domains\":[]}\n"
        "{\"host\":{\"name\":\"c\",\"pcpus\":1,\"free_memory_kib\":9999},\"domains\":[]}\n");
    CU_ASSERT_EQUAL(vane("plan --limit=80 a.json bc.json"), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "5 moves, the fewest that do\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "move g1 (domain 1, 25.0 %, 1 MiB) from a to b\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "\na       200.0    75.0    80.0\n"));
    CU_ASSERT_EQUAL(vane("plan --json --limit=80 a.json bc.json"), 0);

    struct json_object *document = json_tokener_parse(out);
    struct json_object *moves = NULL;

    CU_ASSERT_TRUE(json_object_object_get_ex(document, "moves", &moves));
    CU_ASSERT_EQUAL(json_object_array_length(moves), 5);
    json_object_put(document);
    CU_ASSERT_EQUAL(vane("plan bc.json"), 0);
    CU_ASSERT_PTR_EQUAL(strstr(out, "nothing has to move\n"), out);
    fails("plan a.json", 7, "there is no way to place these guests");
    fails("plan missing.json", 3, "missing.json: No such file");
    put("bad.json", "{\"hosts\":[{\"host\":{\"name\":\"a\",\"pcpus\":1},\"domains\":[]}]}");
    fails("plan a.json bad.json", 4, "bad.json: hosts[0].host.free_memory_kib: is missing");
    put("bad.json", "{\n\"hosts\":\n");
    fails("plan bad.json", 4, "bad.json:3: no JSON: ");
}

static void test_vane__output_full(void)
{
    put("good.xml", GOOD);

    char command[4400];

    snprintf(command, sizeof(command), "cd %s && '%s' validate good.xml >/dev/full 2>err", folder,
             program);

    int status = system(command);

    slurp("err", errors, sizeof(errors));
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 1);
    CU_ASSERT_STRING_EQUAL(errors, "vane: cannot write to standard output\n");
}

/* Where there is no hypervisor, every command that needs one says so and nothing else. */
static void test_vane__no_hypervisor(void)
{
    static const char *const commands[] = {"list",
                                           "list --json",
                                           "info",
                                           "info x",
                                           "dmesg",
                                           "pause x",
                                           "unpause x",
                                           "destroy x",
                                           "shutdown x",
                                           "shutdown --all --wait",
                                           "reboot x",
                                           "console x",
                                           "sched",
                                           "sched --json x",
                                           "top",
                                           "top --json",
                                           "mem-set x 64",
                                           "exporter",
                                           "sysrq x h",
                                           "top -b -n 2",
                                           "sched -w 1 x",
                                           "vcpu-list",
                                           "vcpu-list x",
                                           "vcpu-set x 1",
                                           "vcpu-pin x 0 0-3,^2",
                                           "vcpu-pin x all all",
                                           "disk attach x /dev/null xvdb",
                                           "disk detach -f x xvdb",
                                           "disk list",
                                           "disk list --json x",
                                           "disk resize x xvdb 10GiB",
                                           "net attach x br0",
                                           "net detach x 00:16:3e:00:00:01",
                                           "net list",
                                           "pci list",
                                           "pci attach x 00:05.0",
                                           "pci detach x 00:05.0",
                                           "mem-max x 64",
                                           "rename x y",
                                           "host",
                                           "stats",
                                           "stats --json x",
                                           "dump-core x /tmp/none/core",
                                           "events",
                                           "events --json -n 1",
                                           "balloon",
                                           "balloon --move",
                                           "balloon -l 64 x"};

    if (access("/dev/xen/privcmd", F_OK) == 0) {
        printf("(skipped: this machine has a hypervisor) ");
        return;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        fails(commands[i], 5, "no hypervisor to talk to");
    }
}

/* --- bad words ---------------------------------------------------------------------------- */

/* What no name, path, number or address is. */
static const char *const nasty[] = {
    "",         "../../../etc/shadow", "two\nlines", "\033[2Jclears", "\xff\xfe\x80",
    "%s%n%s%n", "$(reboot)'\";reboot", NULL, /* stands for 100,000 letters */
};

/* Runs vane with a command's words and `count` times the same operand. Returns: its status, -1 for
 * a crash. */
static int run_words(const char *command, const char *operand, unsigned int count)
{
    char words[64];
    char *arguments[10] = {program};
    unsigned int used = 1;

    snprintf(words, sizeof(words), "%s", command);
    for (char *rest = NULL, *word = strtok_r(words, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        arguments[used++] = word;
    }
    arguments[used++] = (char[]){"--"};
    for (unsigned int i = 0; i < count; i++) {
        arguments[used++] = (char *)(uintptr_t)operand;
    }

    pid_t child = fork();

    if (child == 0) {
        if (chdir(folder) != 0 || freopen("out", "w", stdout) == NULL ||
            freopen("err", "w", stderr) == NULL || freopen("/dev/null", "r", stdin) == NULL) {
            _exit(99);
        }
        setenv("XENSTORED_PATH", "socket", 1);
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* the other cases look for them */
        execv(program, arguments);
        _exit(99);
    }

    int status = -1;

    waitpid(child, &status, 0);
    slurp("out", out, sizeof(out));
    slurp("err", errors, sizeof(errors));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Whether a run failed as it should: a documented status, one line, nothing that a terminal could
 * take for a command. */
static bool failed_well(int status)
{
    size_t bytes = strlen(errors);

    if (status < 1 || status > 8 || out[0] != '\0' || strncmp(errors, "vane: ", 6) != 0 ||
        strchr(errors, '\n') != errors + bytes - 1) {
        return false;
    }
    for (size_t i = 0; i + 1 < bytes; i++) {
        if (errors[i] < ' ' || errors[i] > '~') {
            return false;
        }
    }
    return true;
}

static void test_vane__bad_words(void)
{
    size_t long_bytes = 100000;
    char *long_word = malloc(long_bytes + 1);
    static char list[sizeof(out)];
    unsigned int tried = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(long_word);
    memset(long_word, 'a', long_bytes);
    long_word[long_bytes] = '\0';
    CU_ASSERT_EQUAL(vane("--help"), 0);
    snprintf(list, sizeof(list), "%s", strstr(out, "\nCommands:\n") + 11);
    for (char *rest = NULL, *line = strtok_r(list, "\n", &rest); line != NULL && line[0] == ' ';
         line = strtok_r(NULL, "\n", &rest)) {
        char command[32] = "";

        /* Name and summary stand two or more blanks apart, or in the name's column. */
        snprintf(command, sizeof(command), "%.14s", line + 2);
        for (size_t end = strlen(command); end > 0 && command[end - 1] == ' ';) {
            command[--end] = '\0';
        }
        for (size_t i = 0; i < sizeof(nasty) / sizeof(nasty[0]); i++) {
            const char *word = nasty[i] != NULL ? nasty[i] : long_word;
            unsigned int count = 1;
            int status;

            while ((status = run_words(command, word, count)) == 2 && count < 3 &&
                   strstr(errors, "missing operand") != NULL) {
                count++;
            }
            if (!failed_well(status) || strstr(errors, "unknown command") != NULL) {
                printf("\n  vane %s, word %zu: status %d, \"%.200s\", \"%.80s\"\n", command, i,
                       status, errors, out);
            }
            CU_ASSERT_TRUE(failed_well(status));
            CU_ASSERT_PTR_NULL(strstr(errors, "unknown command"));
            tried++;
        }
    }
    free(long_word);
    CU_ASSERT_TRUE(tried > 300);
}

/* No store daemon: one line, at once, rather than waiting on the kernel's device. */
static void test_vane__no_store(void)
{
    static const char *const commands[] = {"store ls",
                                           "store ls -r --json /local",
                                           "store read /a",
                                           "store write /a b",
                                           "store watch /a",
                                           "store quota",
                                           "store quota -s nodes=5 7"};

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        fails(commands[i], 5, "cannot reach the store daemon");
    }
}

/* With a store that refuses: what it does not know is said. */
static void test_vane__store_refuses(void)
{
    char command[8500];

    snprintf(command, sizeof(command),
             "'%.*s/../../xenstore-lite/xenstored' --no-xen --no-state --daemon --socket %s/socket "
             "--pid-file %s/pid",
             (int)(strrchr(program, '/') - program), program, folder, folder);
    CU_ASSERT_EQUAL_FATAL(system(command), 0);
    CU_ASSERT_EQUAL(vane("store write /a b"), 0);
    fails("store read /none", 3, "/none: No such file or directory");
    fails("store quota 5", 3, "the store knows no domain 5");
    fails("store quota -s foo=5", 3, "the store knows no limit foo (try: vane store quota)\n");
    fails("store quota -s nodes=5 9", 3, "no limit nodes (try: vane store quota), or no domain 9");
    CU_ASSERT_EQUAL(vane("store quota -s nodes=999"), 0);
    snprintf(command, sizeof(command), "kill $(cat %s/pid); rm -f %s/socket*", folder, folder);
    CU_ASSERT_EQUAL(system(command), 0);
}

/* What every host lacks that is no host: said with what mends it, and a status to act on. */
static void test_vane__doctor(void)
{
    if (access("/dev/xen/privcmd", F_OK) == 0) {
        printf("(skipped: this machine has a hypervisor) ");
        return;
    }
    CU_ASSERT_EQUAL(vane("doctor"), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "MISSING  hypervisor: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(out, "modprobe xen-netback"));
    CU_ASSERT_EQUAL(vane("doctor --json"), 1);

    struct json_object *list = json_tokener_parse(out);
    struct json_object *value = NULL;

    CU_ASSERT_TRUE(json_object_array_length(list) > 10);
    CU_ASSERT_TRUE(json_object_object_get_ex(json_object_array_get_idx(list, 1), "mend", &value));
    json_object_put(list);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"usage", test_vane__usage},
        {"help", test_vane__help},
        {"completion", test_vane__completion},
        {"validate", test_vane__validate},
        {"validate tells all", test_vane__validate_tells_all},
        {"unpack-kernel", test_vane__unpack_kernel},
        {"definitions", test_vane__definitions},
        {"convert", test_vane__convert},
        {"plan", test_vane__plan},
        {"full output", test_vane__output_full},
        {"no hypervisor", test_vane__no_hypervisor},
        {"bad words", test_vane__bad_words},
        {"no store", test_vane__no_store},
        {"a store that refuses", test_vane__store_refuses},
        {"doctor", test_vane__doctor},
        CU_TEST_INFO_NULL,
    };
    char *self = argc > 0 ? realpath(argv[0], NULL) : NULL;

    if (self == NULL || mkdtemp(folder) == NULL) {
        return 1;
    }
    snprintf(program, sizeof(program), "%s/vane", dirname(self));

    int status = run_tests("vane command line", tests);
    char command[64];

    snprintf(command, sizeof(command), "rm -r %s", folder);
    free(self);
    return system(command) != 0 ? 1 : status;
}
