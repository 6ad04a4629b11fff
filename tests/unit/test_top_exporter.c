/* SPDX-License-Identifier: MIT */
/*
 * The exporter (dom0-tools/top): its text, and its HTTP side with clients that ask, ask wrongly,
 * say nothing, and go away. The server runs in a child, on a port the kernel picks.
 */
#include <CUnit/Basic.h>
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dom0-tools/top/exporter.h"
#include "tests/unit/runner.h"

#define S 1000000000ull

/* Samples in which a second passes and one domain uses half a processor. */
static int take(void *context, struct usage_sample *sample, struct err *err)
{
    uint64_t now = ++*(uint64_t *)context * S;
    struct usage_domain *domain;
    struct usage_vcpu *vcpu;

    *sample = (struct usage_sample){.host = "h",
                                    .now_ns = now,
                                    .has_states = true,
                                    .pcpus = 2,
                                    .idle_ns = now + 5,
                                    .memory_kib = 2048,
                                    .free_kib = 1024};
    domain = usage_add_domain(sample);
    vcpu = domain != NULL ? usage_add_vcpu(sample) : NULL;
    if (vcpu == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    domain->domid = 7;
    snprintf(domain->name, sizeof(domain->name), "a\"b\\c");
    domain->memory_kib = 512;
    domain->net_rx_bytes = 11;
    domain->disk_wr_bytes = 22;
    vcpu->online = true;
    vcpu->used_ns = now / 2;
    vcpu->ready_ns = now / 4;
    vcpu->wait_ns = now / 4;
    return 0;
}

/* --- text -------------------------------------------------------------------------------- */

static char text[1 << 16];

static bool has_line(const char *line)
{
    const char *at = strstr(text, line);

    if (at == NULL || (at != text && at[-1] != '\n') || at[strlen(line)] != '\n') {
        printf("\n  no line %s in:\n%s", line, text);
        return false;
    }
    return true;
}

static void test_exporter_write__lines(void)
{
    struct usage_sample before;
    struct usage_sample after;
    struct usage_report report;
    uint64_t calls = 0;
    struct err err = {0};
    FILE *to = fmemopen(text, sizeof(text), "w");

    CU_ASSERT_EQUAL(take(&calls, &before, &err), 0);
    CU_ASSERT_EQUAL(take(&calls, &after, &err), 0);
    CU_ASSERT_EQUAL(usage_compare(&before, &after, &report, &err), 0);
    exporter_write(to, &after, &report);
    fclose(to);
    CU_ASSERT_TRUE(has_line("paravane_host_processors 2"));
    CU_ASSERT_TRUE(has_line("paravane_host_idle_seconds_total 2.000000005"));
    CU_ASSERT_TRUE(has_line("paravane_host_free_memory_bytes 1048576"));
    CU_ASSERT_TRUE(has_line("# TYPE paravane_domain_cpu_seconds counter"));
    CU_ASSERT_TRUE(has_line("paravane_domain_cpu_seconds_total{id=\"7\",name=\"a\\\"b\\\\c\","
                            "state=\"used\"} 1.000000000"));
    CU_ASSERT_TRUE(has_line("paravane_domain_cpu_seconds_total{id=\"7\",name=\"a\\\"b\\\\c\","
                            "state=\"ready\"} 0.500000000"));
    CU_ASSERT_TRUE(has_line("paravane_domain_cpu_percent{id=\"7\",name=\"a\\\"b\\\\c\","
                            "figure=\"demand\"} 66.7"));
    CU_ASSERT_TRUE(has_line("paravane_domain_vcpus_online{id=\"7\",name=\"a\\\"b\\\\c\"} 1"));
    CU_ASSERT_TRUE(
        has_line("paravane_domain_net_receive_bytes_total{id=\"7\",name=\"a\\\"b\\\\c\"} 11"));
    CU_ASSERT_TRUE(
        has_line("paravane_domain_disk_write_bytes_total{id=\"7\",name=\"a\\\"b\\\\c\"} 22"));
    CU_ASSERT_STRING_EQUAL(text + strlen(text) - strlen("\n# EOF\n"), "\n# EOF\n");
    usage_report_free(&report);
    usage_sample_free(&before);
    usage_sample_free(&after);
}

/* --- HTTP -------------------------------------------------------------------------------- */

static uint16_t port;
static pid_t server;

static void start(unsigned long requests)
{
    struct top_settings settings = {.delay_ms = 50, .count = requests};
    struct err err = {0};
    int listener = exporter_listen(0, &port, &err);

    CU_ASSERT_TRUE_FATAL(listener >= 0 && port != 0);
    fflush(stdout);
    server = fork();
    if (server == 0) {
        uint64_t calls = 0;

        alarm(60);
        _exit(-exporter_serve(listener, &(struct top_source){take, &calls}, &settings, &err));
    }
    close(listener);
}

/* The server ends by itself after its number of requests. */
static void end(void)
{
    int status = -1;

    CU_ASSERT_EQUAL(waitpid(server, &status, 0), server);
    CU_ASSERT_EQUAL(status, 0);
}

static int dial(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 30};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CU_ASSERT_EQUAL(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    CU_ASSERT_EQUAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Reads until the server closes, into text. */
static void hear(int fd)
{
    size_t got = 0;
    ssize_t more;

    while ((more = read(fd, text + got, sizeof(text) - 1 - got)) > 0) {
        got += (size_t)more;
    }
    text[got] = '\0';
    close(fd);
}

static void ask(const char *request)
{
    int fd = dial();

    CU_ASSERT_EQUAL(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    hear(fd);
}

static void test_exporter_serve__metrics(void)
{
    start(2);
    ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CU_ASSERT_PTR_EQUAL(strstr(text, "HTTP/1.1 200 OK\r\n"), text);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "application/openmetrics-text; version=1.0.0"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "\nparavane_host_processors 2\n"));

    const char *body = strstr(text, "\r\n\r\n");
    const char *length = strstr(text, "Content-Length: ");

    CU_ASSERT_PTR_NOT_NULL_FATAL(body);
    CU_ASSERT_PTR_NOT_NULL_FATAL(length);
    CU_ASSERT_EQUAL(strtoul(length + 16, NULL, 10), strlen(body + 4));

    /* In two pieces, as a slow client sends. */
    int fd = dial();

    CU_ASSERT_EQUAL(write(fd, "GET /metrics?x=1 HT", 19), 19);
    usleep(100000);
    CU_ASSERT_EQUAL(write(fd, "TP/1.0\r\n\r\n", 10), 10);
    hear(fd);
    CU_ASSERT_PTR_EQUAL(strstr(text, "HTTP/1.1 200 OK\r\n"), text);
    end();
}

static void test_exporter_serve__wrong_requests(void)
{
    start(3);
    ask("GET / HTTP/1.1\r\n\r\n");
    CU_ASSERT_PTR_EQUAL(strstr(text, "HTTP/1.1 404 Not Found\r\n"), text);
    ask("POST /metrics HTTP/1.1\r\n\r\n");
    CU_ASSERT_PTR_EQUAL(strstr(text, "HTTP/1.1 405 Method Not Allowed\r\n"), text);
    ask("GET /metrics\r\n\r\n");
    CU_ASSERT_PTR_EQUAL(strstr(text, "HTTP/1.1 400 Bad Request\r\n"), text);
    end();
}

static void test_exporter_serve__hostile_clients(void)
{
    static char huge[8192];
    int silent[20];

    start(1);
    /* A header without end is cut off; so is a NUL in it. */
    memset(huge, 'x', sizeof(huge) - 1);
    int fd = dial();

    CU_ASSERT_TRUE(send(fd, huge, sizeof(huge) - 1, MSG_NOSIGNAL) > 0);
    hear(fd);
    CU_ASSERT_STRING_EQUAL(text, "");
    fd = dial();
    CU_ASSERT_EQUAL(send(fd, "GET \0/metrics", 13, MSG_NOSIGNAL), 13);
    hear(fd);
    CU_ASSERT_STRING_EQUAL(text, "");

    /* More clients that say nothing than there are places: theirs become free after a while. */
    for (size_t i = 0; i < 20; i++) {
        silent[i] = dial();
    }
    for (unsigned int i = 0; i < 100; i++) {
        fd = dial();
        (void)send(fd, "GET /metrics HTTP/1.1\r\n\r\n", 25, MSG_NOSIGNAL);
        hear(fd);
        if (text[0] != '\0') {
            break;
        }
        usleep(200000);
    }
    CU_ASSERT_PTR_EQUAL(strstr(text, "HTTP/1.1 200 OK\r\n"), text);
    for (size_t i = 0; i < 20; i++) {
        close(silent[i]);
    }
    end();
}

static void test_exporter_listen__port_in_use(void)
{
    struct err err = {0};
    uint16_t again;
    int first = exporter_listen(0, &port, &err);

    CU_ASSERT_EQUAL(exporter_listen(port, &again, &err), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "cannot listen on 127.0.0.1:"));
    close(first);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"lines", test_exporter_write__lines},
        {"metrics", test_exporter_serve__metrics},
        {"wrong requests", test_exporter_serve__wrong_requests},
        {"hostile clients", test_exporter_serve__hostile_clients},
        {"port in use", test_exporter_listen__port_in_use},
        CU_TEST_INFO_NULL,
    };
    return run_tests("exporter", tests);
}
