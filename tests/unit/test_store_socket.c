// SPDX-License-Identifier: MIT
/*
 * The daemon as a process: started on a socket of its own without a hypervisor, used through the
 * stock libxenstore, and through the stock xenstore-* programs where they are installed or
 * unpacked.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>
#include <xenstore.h>

/* How long anything may take; far above what a slow machine needs. */
#define PATIENCE_S 60

static char here[512]; /* folder of this program */
static char dir[64];   /* folder for this run */
static char path_socket[96];
static char path_pid[96];
static pid_t daemon_pid;
static struct xs_handle *xs;

/* Waits for the daemon to make a file. Returns: false when it ends instead. */
static bool wait_for_file(const char *path)
{
    const struct timespec tick = {.tv_nsec = 10000000};

    for (int i = 0; i < PATIENCE_S * 100; i++) {
        if (access(path, F_OK) == 0) {
            return true;
        }
        if (waitpid(daemon_pid, NULL, WNOHANG) != 0) {
            daemon_pid = 0;
            return false;
        }
        nanosleep(&tick, NULL);
    }
    return false;
}

static int start_daemon(void)
{
    char program[600];

    snprintf(program, sizeof(program), "%s/san/xenstored", here);
    daemon_pid = fork();
    if (daemon_pid == 0) {
        execl(program, program, "--no-xen", "--socket", path_socket, "--pid-file", path_pid,
              "--no-fork", (char *)NULL);
        _exit(127);
    }
    /* The pid file is written once clients can connect. */
    if (daemon_pid < 0 || !wait_for_file(path_pid)) {
        return 1;
    }
    xs = xs_open(0);
    return xs ? 0 : 1;
}

static int open_suite(void)
{
    strcpy(dir, "/tmp/paravane-store-XXXXXX");
    if (!mkdtemp(dir)) {
        return 1;
    }
    snprintf(path_socket, sizeof(path_socket), "%s/run/socket", dir);
    snprintf(path_pid, sizeof(path_pid), "%s/pid", dir);
    setenv("XENSTORED_PATH", path_socket, 1);
    return start_daemon();
}

static int close_suite(void)
{
    char run[96];

    xs_close(xs);
    if (daemon_pid > 0) {
        kill(daemon_pid, SIGKILL);
        waitpid(daemon_pid, NULL, 0);
    }
    snprintf(run, sizeof(run), "%s/run", dir);
    unlink(path_socket);
    unlink(path_pid);
    rmdir(run);
    rmdir(dir);
    return 0;
}

static bool reads(xs_transaction_t t, const char *path, const char *want)
{
    unsigned int len = 0;
    char *got = xs_read(xs, t, path, &len);
    bool same = got && len == strlen(want) && memcmp(got, want, len) == 0;

    free(got);
    return same;
}

static bool writes(xs_transaction_t t, const char *path, const char *value)
{
    return xs_write(xs, t, path, value, (unsigned int)strlen(value));
}

static void test_socket__pid_file_and_mode(void)
{
    FILE *f = fopen(path_pid, "r");
    struct stat st;
    int pid = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_EQUAL(fscanf(f, "%d", &pid), 1);
    fclose(f);
    CU_ASSERT_EQUAL(pid, daemon_pid);
    CU_ASSERT_EQUAL(stat(path_socket, &st), 0);
    CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
}

static void test_libxenstore__nodes(void)
{
    struct xs_permissions perms[2] = {{.id = 3, .perms = XS_PERM_NONE},
                                      {.id = 4, .perms = XS_PERM_READ}};
    struct xs_permissions *got;
    unsigned int count = 0;
    char **list;

    CU_ASSERT_TRUE(writes(XBT_NULL, "/lib/a/b", "one"));
    CU_ASSERT_TRUE(reads(XBT_NULL, "/lib/a/b", "one"));
    CU_ASSERT_TRUE(xs_mkdir(xs, XBT_NULL, "/lib/a/c"));
    list = xs_directory(xs, XBT_NULL, "/lib/a", &count);
    CU_ASSERT_EQUAL_FATAL(count, 2);
    CU_ASSERT_STRING_EQUAL(list[0], "b");
    CU_ASSERT_STRING_EQUAL(list[1], "c");
    free(list);
    CU_ASSERT_TRUE(xs_set_permissions(xs, XBT_NULL, "/lib/a/b", perms, 2));
    got = xs_get_permissions(xs, XBT_NULL, "/lib/a/b", &count);
    CU_ASSERT_EQUAL_FATAL(count, 2);
    CU_ASSERT_EQUAL(got[0].id, 3);
    CU_ASSERT_EQUAL(got[1].id, 4);
    CU_ASSERT_EQUAL(got[1].perms, XS_PERM_READ);
    free(got);
    CU_ASSERT_TRUE(xs_rm(xs, XBT_NULL, "/lib"));
    errno = 0;
    CU_ASSERT_PTR_NULL(xs_read(xs, XBT_NULL, "/lib/a/b", &count));
    CU_ASSERT_EQUAL(errno, ENOENT);
    errno = 0;
    CU_ASSERT_FALSE(writes(XBT_NULL, "bad path", "x"));
    CU_ASSERT_EQUAL(errno, EINVAL);
}

static void test_libxenstore__long_directory(void)
{
    unsigned int count = 0;
    char path[64];
    char **list;

    for (int i = 0; i < 1500; i++) {
        snprintf(path, sizeof(path), "/long/entry-%04d", i);
        CU_ASSERT_TRUE(xs_mkdir(xs, XBT_NULL, path));
    }
    /* Too long for one answer: the library fetches it in parts. */
    list = xs_directory(xs, XBT_NULL, "/long", &count);
    CU_ASSERT_EQUAL(count, 1500);
    if (list) {
        CU_ASSERT_STRING_EQUAL(list[0], "entry-0000");
        CU_ASSERT_STRING_EQUAL(list[1499], "entry-1499");
    }
    free(list);
    CU_ASSERT_TRUE(xs_rm(xs, XBT_NULL, "/long"));
}

static void test_libxenstore__transactions(void)
{
    struct xs_handle *other = xs_open(0);
    xs_transaction_t t;

    CU_ASSERT_PTR_NOT_NULL_FATAL(other);
    CU_ASSERT_TRUE(writes(XBT_NULL, "/tx", "0"));
    t = xs_transaction_start(xs);
    CU_ASSERT_NOT_EQUAL(t, XBT_NULL);
    CU_ASSERT_TRUE(reads(t, "/tx", "0"));
    CU_ASSERT_TRUE(writes(t, "/tx", "1"));
    CU_ASSERT_TRUE(xs_write(other, XBT_NULL, "/tx-elsewhere", "x", 1));
    CU_ASSERT_TRUE(xs_transaction_end(xs, t, false));
    CU_ASSERT_TRUE(reads(XBT_NULL, "/tx", "1"));
    t = xs_transaction_start(xs);
    CU_ASSERT_TRUE(reads(t, "/tx", "1"));
    CU_ASSERT_TRUE(writes(t, "/tx", "2"));
    CU_ASSERT_TRUE(xs_write(other, XBT_NULL, "/tx", "9", 1));
    errno = 0;
    CU_ASSERT_FALSE(xs_transaction_end(xs, t, false));
    CU_ASSERT_EQUAL(errno, EAGAIN);
    CU_ASSERT_TRUE(reads(XBT_NULL, "/tx", "9"));
    xs_close(other);
    CU_ASSERT_TRUE(xs_rm(xs, XBT_NULL, "/tx"));
    CU_ASSERT_TRUE(xs_rm(xs, XBT_NULL, "/tx-elsewhere"));
}

/* The next event of the library, if it comes in time. */
static bool event_is(const char *path, const char *token)
{
    struct pollfd p = {.fd = xs_fileno(xs), .events = POLLIN};
    unsigned int count;
    char **ev;
    bool same;

    if (poll(&p, 1, PATIENCE_S * 1000) != 1) {
        return false;
    }
    ev = xs_read_watch(xs, &count);
    same = ev && strcmp(ev[XS_WATCH_PATH], path) == 0 && strcmp(ev[XS_WATCH_TOKEN], token) == 0;
    free(ev);
    return same;
}

static void test_libxenstore__watches(void)
{
    CU_ASSERT_TRUE(xs_watch(xs, "/watched", "tok"));
    CU_ASSERT_TRUE(event_is("/watched", "tok"));
    CU_ASSERT_TRUE(writes(XBT_NULL, "/watched/x", "1"));
    CU_ASSERT_TRUE(event_is("/watched/x", "tok"));
    CU_ASSERT_TRUE(xs_unwatch(xs, "/watched", "tok"));
    CU_ASSERT_TRUE(xs_watch(xs, "@introduceDomain", "in"));
    CU_ASSERT_TRUE(event_is("@introduceDomain", "in"));
    CU_ASSERT_TRUE(xs_introduce_domain(xs, 5, 1000, 3));
    CU_ASSERT_TRUE(event_is("@introduceDomain", "in"));
    CU_ASSERT_TRUE(xs_is_domain_introduced(xs, 5));
    CU_ASSERT_TRUE(xs_resume_domain(xs, 5));
    CU_ASSERT_FALSE(xs_set_target(xs, 5, 6));
    CU_ASSERT_TRUE(xs_release_domain(xs, 5));
    CU_ASSERT_FALSE(xs_is_domain_introduced(xs, 5));
    CU_ASSERT_TRUE(xs_unwatch(xs, "@introduceDomain", "in"));
}

static void test_libxenstore__domain_path_and_control(void)
{
    char *path = xs_get_domain_path(xs, 12), *text;

    CU_ASSERT_PTR_NOT_NULL_FATAL(path);
    CU_ASSERT_STRING_EQUAL(path, "/local/domain/12");
    free(path);
    text = xs_control_command(xs, "check", NULL, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_STRING_EQUAL(text, "OK");
    free(text);
}

static void test_socket__abrupt_clients(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct xsd_sockmsg hdr = {.type = XS_READ, .len = 500};
    char byte;

    strcpy(addr.sun_path, path_socket);
    for (int i = 0; i < 50; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        CU_ASSERT_EQUAL(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
        CU_ASSERT_EQUAL(send(fd, &hdr, (size_t)i % sizeof(hdr) + 1, 0),
                        (ssize_t)((size_t)i % sizeof(hdr) + 1));
        close(fd);
    }
    hdr.len = 5000;
    {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        CU_ASSERT_EQUAL(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
        CU_ASSERT_EQUAL(send(fd, &hdr, sizeof(hdr), 0), (ssize_t)sizeof(hdr));
        /* The daemon hangs up. */
        CU_ASSERT_EQUAL(recv(fd, &byte, 1, 0), 0);
        close(fd);
    }
    CU_ASSERT_TRUE(writes(XBT_NULL, "/alive", "yes"));
    CU_ASSERT_TRUE(xs_rm(xs, XBT_NULL, "/alive"));
}

static void test_socket__second_daemon_is_refused(void)
{
    char program[700];

    snprintf(program, sizeof(program), "%s/san/xenstored --no-xen --socket %s 2>/dev/null", here,
             path_socket);
    CU_ASSERT_EQUAL(WEXITSTATUS(system(program)), 1);
    CU_ASSERT_TRUE(writes(XBT_NULL, "/alive", "yes"));
    CU_ASSERT_TRUE(xs_rm(xs, XBT_NULL, "/alive"));
}

static void test_socket__options(void)
{
    char program[700];

    snprintf(program, sizeof(program), "%s/san/xenstored --help | grep -q -- --no-xen", here);
    CU_ASSERT_EQUAL(system(program), 0);
    snprintf(program, sizeof(program), "%s/san/xenstored --version | grep -q xenstored", here);
    CU_ASSERT_EQUAL(system(program), 0);
    snprintf(program, sizeof(program), "%s/san/xenstored --nonsense 2>/dev/null", here);
    CU_ASSERT_EQUAL(WEXITSTATUS(system(program)), 2);
    snprintf(program, sizeof(program), "%s/san/xenstored stray 2>/dev/null", here);
    CU_ASSERT_EQUAL(WEXITSTATUS(system(program)), 2);
}

/* Where the stock programs are: unpacked by the build, or installed. */
static const char *stock_tools(void)
{
    static char unpacked[600];
    static const char *const places[] = {unpacked, "/usr/bin", "/usr/sbin"};
    char probe[640];

    snprintf(unpacked, sizeof(unpacked), "%s/../x/xenstore-utils/usr/bin", here);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(probe, sizeof(probe), "%s/xenstore-ls", places[i]);
        if (access(probe, X_OK) == 0) {
            return places[i];
        }
    }
    return NULL;
}

static void test_stock_tools(void)
{
    /* Each line is a command in a shell with the tools in its path; it succeeds or the test fails.
     */
    static const char *const lines[] = {
        "xenstore-write /stock/a 1 /stock/b 'two words'",
        "test \"$(xenstore-read /stock/b)\" = 'two words'",
        "test \"$(xenstore-list /stock | tr '\\n' ,)\" = a,b,",
        "xenstore-exists /stock/a",
        "! xenstore-exists /stock/c",
        "! xenstore-read /stock/c 2>/dev/null",
        "xenstore-chmod /stock/a n3 r4",
        "xenstore-ls -fp /stock | grep -qF '/stock/a = \"1\"   (n3,r4)'",
        "test \"$(xenstore-ls /stock | wc -l)\" = 2",
        "timeout 60 xenstore-watch -n 2 /stock/a > $PWD_RUN/w & "
        "until grep -q /stock/a $PWD_RUN/w; do sleep 0.05; done; "
        "xenstore-write /stock/a 5; wait $! && test $(grep -c /stock/a $PWD_RUN/w) = 2; "
        "rc=$?; rm -f $PWD_RUN/w; exit $rc",
        "xenstore-rm /stock",
        "! xenstore-exists /stock/a",
    };
    const char *tools = stock_tools();
    char command[1200];

    if (!tools) {
        printf("(skipped: no stock xenstore-* programs here) ");
        return;
    }
    setenv("PWD_RUN", dir, 1);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        int rc;

        snprintf(command, sizeof(command), "PATH=%s:$PATH; %s", tools, lines[i]);
        rc = system(command);
        if (rc != 0) {
            printf("\n  failed: %s\n", lines[i]);
        }
        CU_ASSERT_EQUAL(rc, 0);
    }
}

/* The test program that Debian ships with its tools: each of its tests, then a mix at random. */
static void test_stock_test_program(void)
{
    static const char *const options[] = {"-i 20", "-r 2"};
    static const char name[] = "usr/lib/xen-4.17/bin/test-xenstore";
    char program[640];
    char command[800];

    snprintf(program, sizeof(program), "%s/../x/xl-tools/%s", here, name);
    if (access(program, X_OK) != 0) {
        snprintf(program, sizeof(program), "/%s", name);
    }
    if (access(program, X_OK) != 0) {
        printf("(skipped: Debian's test-xenstore is not here) ");
        return;
    }
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        snprintf(command, sizeof(command), "timeout %d %s %s >%s/stock-test 2>&1", PATIENCE_S,
                 program, options[i], dir);
        CU_ASSERT_EQUAL(system(command), 0);
    }
    snprintf(command, sizeof(command), "%s/stock-test", dir);
    unlink(command);
}

static void test_socket__stops_cleanly(void)
{
    int status = -1;

    xs_close(xs);
    xs = NULL;
    kill(daemon_pid, SIGTERM);
    CU_ASSERT_EQUAL(waitpid(daemon_pid, &status, 0), daemon_pid);
    /* Also says that the sanitizers have nothing to report, leaks included. */
    CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CU_ASSERT_NOT_EQUAL(access(path_socket, F_OK), 0);
    CU_ASSERT_NOT_EQUAL(access(path_pid, F_OK), 0);
    daemon_pid = 0;
}

int main(int argc, char **argv)
{
    unsigned int failed;
    CU_pSuite suite;

    (void)argc;
    snprintf(here, sizeof(here), "%s", dirname(argv[0]));
    if (CU_initialize_registry() != CUE_SUCCESS) {
        return EXIT_FAILURE;
    }
    suite = CU_add_suite("daemon on a socket", open_suite, close_suite);
    CU_ADD_TEST(suite, test_socket__pid_file_and_mode);
    CU_ADD_TEST(suite, test_libxenstore__nodes);
    CU_ADD_TEST(suite, test_libxenstore__long_directory);
    CU_ADD_TEST(suite, test_libxenstore__transactions);
    CU_ADD_TEST(suite, test_libxenstore__watches);
    CU_ADD_TEST(suite, test_libxenstore__domain_path_and_control);
    CU_ADD_TEST(suite, test_socket__abrupt_clients);
    CU_ADD_TEST(suite, test_socket__second_daemon_is_refused);
    CU_ADD_TEST(suite, test_socket__options);
    CU_ADD_TEST(suite, test_stock_tools);
    CU_ADD_TEST(suite, test_stock_test_program);
    CU_ADD_TEST(suite, test_socket__stops_cleanly);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    printf("test_store_socket: %u suites, %u tests, %u asserts, %u failed\n",
           CU_get_number_of_suites_run(), CU_get_number_of_tests_run(), CU_get_number_of_asserts(),
           failed);
    if (CU_get_number_of_tests_run() == 0) {
        failed = 1;
    }
    CU_cleanup_registry();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
