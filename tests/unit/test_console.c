// SPDX-License-Identifier: MIT
/*
 * console_io, where typed characters go, and the hypervisor's keys.
 */
#include <string.h>

#include "base/cmdline.h"
#include "base/log.h"
#include "core/console.h"
#include "core/deferred.h"
#include "suite.h"

#define CONSOLE_IO 18
#define EVENT_OP 32

static struct domain *control, *guest;

static void begin(void)
{
    control = suite_control();
    guest = suite_domain(1, 1);
    suite_enter(control->vcpu[0]);
    (void)deferred_take(); /* or a long call would be interrupted by it */
    host.console_bytes = 0;
}

static void end(void)
{
    suite_destroy(guest);
    suite_destroy(control);
    strcpy(cmdline.loglvl, "info");
}

static const char *printed(void)
{
    host.console[MIN(host.console_bytes, sizeof(host.console) - 1)] = '\0';
    return host.console;
}

static long write_text(const char *text)
{
    return suite_call(CONSOLE_IO, CONSOLEIO_write, strlen(text),
                      host_guest_put(text, strlen(text)));
}

static void type(const char *text)
{
    host.console_input = text;
    console_rx_work();
}

/* What the control domain reads, up to `wanted` bytes. */
static const char *read_text(size_t wanted)
{
    static char text[4096];
    vaddr_t va = host_guest_alloc(wanted);
    long rc = suite_call(CONSOLE_IO, CONSOLEIO_read, wanted, va);
    CU_ASSERT_FATAL(rc >= 0 && (size_t)rc <= wanted && (size_t)rc < sizeof(text));
    memcpy(text, host_guest_ptr(va), (size_t)rc);
    text[rc] = '\0';
    return text;
}

/* ---- output ---- */

static void test_hc_console_io__control_domain_writes(void)
{
    begin();
    char longer[1000];
    memset(longer, 'x', sizeof(longer));
    longer[999] = '\0';
    CU_ASSERT_EQUAL(write_text("first\r\n"), 0);
    CU_ASSERT_STRING_EQUAL(printed(), "first\r\n");
    CU_ASSERT_EQUAL(write_text(longer), 0);
    CU_ASSERT_STRING_EQUAL(printed() + 7, longer);
    CU_ASSERT_EQUAL(write_text(""), 0);
    CU_ASSERT_EQUAL(write_text("\n"), 0);
    /* A quiet hypervisor does not silence the control domain. */
    strcpy(cmdline.loglvl, "none");
    host.console_bytes = 0;
    printk("not shown\n");
    CU_ASSERT_EQUAL(write_text("shown\n"), 0);
    CU_ASSERT_STRING_EQUAL(printed(), "shown\n");
    end();
}

/* The log is the hypervisor's: who prints it to the console must come to an end of it. */
static void test_hc_console_io__write_is_not_logged(void)
{
    begin();
    log_clear();
    printk("kept\n");
    CU_ASSERT_EQUAL(write_text("passed on\n"), 0);
    char text[32] = "";
    uint32_t index = 0;
    CU_ASSERT_EQUAL(log_read(text, sizeof(text) - 1, &index), 10);
    CU_ASSERT_STRING_EQUAL(text, "(PV) kept\n");
    end();
}

static void raise_work(void)
{
    deferred_raise(host_cpu, DEFER_SCHED);
}

static void test_hc_console_io__write_continued(void)
{
    enum { BYTES = 8192 };
    static char text[BYTES];
    begin();
    memset(text, 'y', sizeof(text));
    vaddr_t va = host_guest_put(text, sizeof(text));
    struct hypercall hc = {
        .v = current_vcpu(), .d = control, .nr = CONSOLE_IO, .arg = {CONSOLEIO_write, BYTES, va}};
    unsigned rounds = 0;
    long rc;
    host.on_window = raise_work;
    do {
        rc = hypercall_dispatch(&hc);
        CU_ASSERT_EQUAL(hc.arg[1] + hc.arg[2], va + BYTES);
        (void)deferred_take();
        rounds++;
    } while (rc == -ERESTART);
    host.on_window = NULL;
    CU_ASSERT_EQUAL(rc, 0);
    CU_ASSERT(rounds > 1);
    CU_ASSERT_EQUAL(host.console_bytes, BYTES);
    end();
}

static void test_hc_console_io__guest_writes(void)
{
    begin();
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(write_text("hello\n"), -EPERM);
    CU_ASSERT_EQUAL(host.console_bytes, 0);
    strcpy(cmdline.loglvl, "all");
    CU_ASSERT_EQUAL(write_text("one\n\033[2Jtwo\ttail"), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "d1: one\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "d1: ?[2Jtwo tail\n"));
    CU_ASSERT_PTR_NULL(strchr(printed(), '\033'));
    /* A text is text, not a format. */
    CU_ASSERT_EQUAL(write_text("%s%n\n"), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "d1: %s%n\n"));
    end();
}

/* How many of `lines` messages about d come out. */
static unsigned said_of(struct domain *d, unsigned lines)
{
    unsigned count = 0;
    host.console_bytes = 0;
    while (lines--) {
        log_guest(d, "odd");
    }
    for (const char *at = printed(); (at = strstr(at, "odd\n")); at++) {
        count++;
    }
    return count;
}

static void test_log_guest__limited_by_domain(void)
{
    begin();
    CU_ASSERT_EQUAL(said_of(guest, 100), 32);
    CU_ASSERT_EQUAL(said_of(guest, 10), 0);
    CU_ASSERT_EQUAL(said_of(control, 10), 10);
    CU_ASSERT_EQUAL(said_of(NULL, 100), 32);
    host_advance(NS_PER_SEC / 4);
    CU_ASSERT_EQUAL(said_of(guest, 10), 1);
    host_advance(NS_PER_SEC);
    CU_ASSERT_EQUAL(said_of(guest, 10), 4);
    host_advance(1000 * NS_PER_SEC);
    CU_ASSERT_EQUAL(said_of(guest, 100), 32);
    strcpy(cmdline.loglvl, "all");
    CU_ASSERT_EQUAL(said_of(guest, 50), 50);
    end();
}

static void test_hc_console_io__refused(void)
{
    begin();
    CU_ASSERT_EQUAL(suite_call(CONSOLE_IO, 2, 0, 0), -ENOSYS);
    CU_ASSERT_EQUAL(suite_call(CONSOLE_IO, CONSOLEIO_write, 4, HOST_BAD_ADDR), -EFAULT);
    CU_ASSERT_EQUAL(suite_call(CONSOLE_IO, CONSOLEIO_read, 4, HOST_BAD_ADDR), 0);
    type("ab");
    CU_ASSERT_EQUAL(suite_call(CONSOLE_IO, CONSOLEIO_read, 4, HOST_BAD_ADDR), -EFAULT);
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(suite_call(CONSOLE_IO, CONSOLEIO_read, 4, host_guest_alloc(8)), -EPERM);
    CU_ASSERT_EQUAL(suite_call(CONSOLE_IO, 2, 0, 0), -EPERM);
    end();
}

/* ---- input ---- */

static void test_hc_console_io__read(void)
{
    begin();
    struct evtchn_bind_virq bind = {.virq = VIRQ_CONSOLE, .vcpu = 0};
    vaddr_t va = host_guest_put(&bind, sizeof(bind));
    CU_ASSERT_EQUAL_FATAL(suite_call(EVENT_OP, EVTCHNOP_bind_virq, va, 0), 0);
    memcpy(&bind, host_guest_ptr(va), sizeof(bind));
    CU_ASSERT_FALSE(evtchn_is_pending(control, bind.port));
    CU_ASSERT_STRING_EQUAL(read_text(16), "");
    type("ls -l\r");
    CU_ASSERT(evtchn_is_pending(control, bind.port));
    CU_ASSERT_STRING_EQUAL(read_text(2), "ls");
    CU_ASSERT_STRING_EQUAL(read_text(0), "");
    CU_ASSERT_STRING_EQUAL(read_text(400), " -l\r");
    CU_ASSERT_STRING_EQUAL(read_text(16), "");
    CU_ASSERT_EQUAL(host.console_bytes, 0); /* the echo is the control domain's business */
    end();
}

static void test_console_rx_work__ring_full(void)
{
    static char text[3001];
    begin();
    memset(text, 'k', sizeof(text) - 1);
    type(text);
    while (*host.console_input) {
        console_rx_work();
    }
    CU_ASSERT_EQUAL(strlen(read_text(3000)), 1024);
    type("after");
    CU_ASSERT_STRING_EQUAL(read_text(3000), "after");
    end();
}

static void test_console_rx_work__focus(void)
{
    begin();
    type("a\001b\001\001c\001\001");
    CU_ASSERT_FALSE(console_to_hypervisor);
    CU_ASSERT_STRING_EQUAL(read_text(64), "a\001b\001\001c");
    type("\001");
    CU_ASSERT(console_to_hypervisor);
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "the hypervisor"));
    type("x\001y");
    CU_ASSERT(console_to_hypervisor);
    CU_ASSERT_STRING_EQUAL(read_text(64), "");
    type("\001\001\001z");
    CU_ASSERT_FALSE(console_to_hypervisor);
    CU_ASSERT_STRING_EQUAL(read_text(64), "z");
    end();
}

static void test_console_keys_handle__shows(void)
{
    begin();
    /* The guest has one port, of its own, and an event there that it has not taken. */
    struct evtchn_bind_ipi ipi = {.vcpu = 0};
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(suite_call(EVENT_OP, EVTCHNOP_bind_ipi, host_guest_put(&ipi, sizeof(ipi)), 0),
                    0);
    evtchn_set_pending(guest, 1);
    suite_enter(control->vcpu[0]);
    type("\001\001\001hqdem?\r\001\001\001");
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "domain 1: 1 ports"));
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "1: vcpu 0 ipi 0 domain 0 port 0 pending"));
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "vcpu 0: selector 1, upcall pending"));
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "keys: h help"));
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "frames free"));
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "domain 0 (control): alive"));
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "domain 1: alive"));
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "domain 1 vcpu 0: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "rip "));
    CU_ASSERT_PTR_NOT_NULL(strstr(printed(), "no such key"));
    CU_ASSERT_FALSE(console_to_hypervisor);
    end();
}

static void test_console_keys_handle__reboot(void)
{
    begin();
    CU_ASSERT(HOST_ENDS_IN(HOST_REBOOT, type("\001\001\001R")));
    type("\001\001\001");
    CU_ASSERT_FALSE(console_to_hypervisor);
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_hc_console_io__control_domain_writes),
        CASE(test_hc_console_io__write_is_not_logged),
        CASE(test_hc_console_io__write_continued),
        CASE(test_hc_console_io__guest_writes),
        CASE(test_log_guest__limited_by_domain),
        CASE(test_hc_console_io__refused),
        CASE(test_hc_console_io__read),
        CASE(test_console_rx_work__ring_full),
        CASE(test_console_rx_work__focus),
        CASE(test_console_keys_handle__shows),
        CASE(test_console_keys_handle__reboot),
    };
    return SUITE("console", 1, cases);
}
