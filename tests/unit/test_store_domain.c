// SPDX-License-Identifier: MIT
/*
 * Domains as the store sees them, against a server in memory: they come and go, and the machine
 * says so of one or of all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "three_clients.h"

static void test_domain__introduce_release(void)
{
    IS(fake_ask(&dom0, XS_WATCH, 0, "@introduceDomain|i|"), "OK|");
    IS(fake_event(&dom0), "@introduceDomain|i");
    IS(fake_ask(&dom0, XS_WATCH, 0, "@releaseDomain|r|"), "OK|");
    IS(fake_event(&dom0), "@releaseDomain|r");
    IS(fake_ask(&g1, XS_WATCH, 0, "@releaseDomain|g|"), "OK|");
    IS(fake_event(&g1), "@releaseDomain|g");
    IS(fake_ask(&dom0, XS_INTRODUCE, 0, "7|1|1|"), "OK|");
    IS(fake_event(&dom0), "@introduceDomain|i");
    IS(fake_ask(&dom0, XS_INTRODUCE, 0, "7|1|2|"), "OK|");
    IS(fake_event(&dom0), "");
    IS(fake_ask(&dom0, XS_IS_DOMAIN_INTRODUCED, 0, "7|"), "T|");
    IS(fake_ask(&dom0, XS_RELEASE, 0, "7|"), "OK|");
    IS(fake_event(&dom0), "@releaseDomain|r");
    IS(fake_ask(&dom0, XS_RELEASE, 0, "7|"), "ENOENT");
    IS(fake_ask(&dom0, XS_RESUME, 0, "7|"), "ENOENT");
    /* Guests hear of it once the control domain lets them. */
    IS(fake_event(&g1), "");
    IS(fake_ask(&dom0, XS_SET_PERMS, 0, "@releaseDomain|n0|r1|"), "OK|");
    IS(fake_ask(&dom0, XS_GET_PERMS, 0, "@releaseDomain|"), "n0|r1|");
    fake_ask(&dom0, XS_INTRODUCE, 0, "7|1|1|");
    IS(fake_event(&dom0), "@introduceDomain|i");
    server_domain_shutdown(&s, 7);
    server_domain_shutdown(&s, 7);
    IS(fake_event(&dom0), "@releaseDomain|r");
    IS(fake_event(&dom0), "");
    IS(fake_event(&g1), "@releaseDomain|g");
    IS(fake_ask(&dom0, XS_RESUME, 0, "7|"), "OK|");
    server_domain_shutdown(&s, 7);
    IS(fake_event(&dom0), "@releaseDomain|r");
    server_domain_gone(&s, 7);
    IS(fake_event(&dom0), "@releaseDomain|r");
    IS(fake_ask(&dom0, XS_RESET_WATCHES, 0, ""), "OK|");
    drain(&g1);
    IS(fake_ask(&g1, XS_RESET_WATCHES, 0, ""), "OK|");
}

/* Whoever asks for it hears which domain it is, everybody else what was always heard. */
static void test_domain__events_that_name_it(void)
{
    IS(fake_ask(&dom0, XS_WATCH, 0, "@introduceDomain|i|1|"), "OK|");
    IS(fake_event(&dom0), "@introduceDomain|i");
    IS(fake_ask(&dom0, XS_WATCH, 0, "@releaseDomain|old|"), "OK|");
    IS(fake_event(&dom0), "@releaseDomain|old");
    IS(fake_ask(&dom0, XS_WATCH, 0, "@releaseDomain|r|1|"), "OK|");
    IS(fake_event(&dom0), "@releaseDomain|r");
    IS(fake_ask(&dom0, XS_WATCH, 0, "@releaseDomain/7|seven|"), "OK|");
    IS(fake_event(&dom0), "@releaseDomain/7|seven");
    IS(fake_ask(&dom0, XS_INTRODUCE, 0, "7|1|1|"), "OK|");
    IS(fake_event(&dom0), "@introduceDomain/7|i");
    IS(fake_ask(&dom0, XS_INTRODUCE, 0, "77|1|1|"), "OK|");
    IS(fake_event(&dom0), "@introduceDomain/77|i");
    server_domain_gone(&s, 77);
    IS(fake_event(&dom0), "@releaseDomain/77|r");
    IS(fake_event(&dom0), "@releaseDomain|old");
    IS(fake_event(&dom0), "");
    server_domain_shutdown(&s, 7);
    IS(fake_event(&dom0), "@releaseDomain/7|r");
    IS(fake_event(&dom0), "@releaseDomain|old");
    IS(fake_event(&dom0), "@releaseDomain/7|seven");
    IS(fake_ask(&dom0, XS_RELEASE, 0, "7|"), "OK|");
    IS(fake_event(&dom0), "@releaseDomain/7|r");
    IS(fake_event(&dom0), "@releaseDomain|old");
    IS(fake_event(&dom0), "@releaseDomain/7|seven");
    IS(fake_event(&dom0), "");
    /* Rights are those of the special watch as a whole. */
    IS(fake_ask(&dom0, XS_SET_PERMS, 0, "@releaseDomain|n0|r1|"), "OK|");
    IS(fake_ask(&g1, XS_WATCH, 0, "@releaseDomain/7|g|"), "OK|");
    IS(fake_event(&g1), "@releaseDomain/7|g");
    IS(fake_ask(&g2, XS_WATCH, 0, "@releaseDomain/7|g|"), "OK|");
    IS(fake_event(&g2), "@releaseDomain/7|g");
    fake_ask(&dom0, XS_INTRODUCE, 0, "7|1|1|");
    server_domain_gone(&s, 7);
    IS(fake_event(&g1), "@releaseDomain/7|g");
    IS(fake_event(&g2), "");
    IS(fake_ask(&g1, XS_RESET_WATCHES, 0, ""), "OK|");
    IS(fake_ask(&g2, XS_RESET_WATCHES, 0, ""), "OK|");
    drain(&dom0);
    IS(fake_ask(&dom0, XS_RESET_WATCHES, 0, ""), "OK|");
}

/* Puts together what "children" answers piece by piece. Returns: how many pieces. */
static int children(const char *path, const char *name, char *all, size_t room)
{
    char text[64], from[16] = "0";
    int pieces = 0;
    size_t len = 0;

    do {
        const char *got, *end;

        snprintf(text, sizeof(text), "children|%s|%s|%s|", path, name, from);
        got = fake_ask(&dom0, XS_CONTROL, 0, text);
        CU_ASSERT(strlen(got) <= XENSTORE_PAYLOAD_MAX);
        end = strchr(got, '|');
        CU_ASSERT_FATAL(end != NULL && end - got < (int)sizeof(from) && pieces < 100);
        snprintf(from, sizeof(from), "%.*s", (int)(end - got), got);
        len += (size_t)snprintf(all + len, room - len, "%s", end + 1) - 1; /* the NUL at the end */
        all[len] = '\0';
        pieces++;
    } while (*from);
    return pieces;
}

static void test_control__children(void)
{
    static char all[65536], want[65536];
    char text[5000];
    size_t len = 0;

    IS(fake_ask(&dom0, XS_WRITE, 0, "/c/1/name|one"), "OK|");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/c/10/name|ten"), "OK|");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/c/2/other|x"), "OK|");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/c/3/name|a|b"), "OK|");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/c/4/name|"), "OK|");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/c/5/name/deep|five"), "OK|");
    CU_ASSERT_EQUAL(children("/c", "name", all, sizeof(all)), 1);
    IS(all, "1|one|10|ten|4||5||");
    CU_ASSERT_EQUAL(children("/c", "name/deep", all, sizeof(all)), 1);
    IS(all, "5|five|");
    CU_ASSERT_EQUAL(children("/c/1/name", "name", all, sizeof(all)), 1);
    IS(all, "");
    IS(fake_ask(&dom0, XS_CONTROL, 0, "children|/none|name|0|"), "ENOENT");
    IS(fake_ask(&dom0, XS_CONTROL, 0, "children|/c|/name|0|"), "EINVAL");
    IS(fake_ask(&dom0, XS_CONTROL, 0, "children|/c|na me|0|"), "EINVAL");
    IS(fake_ask(&dom0, XS_CONTROL, 0, "children|/c|name|x|"), "EINVAL");
    IS(fake_ask(&dom0, XS_CONTROL, 0, "children|/c|name|"), "EINVAL");
    IS(fake_ask(&dom0, XS_CONTROL, 0, "children|/c|name|4000000000|"), "||");
    IS(fake_ask(&g1, XS_CONTROL, 0, "children|/c|name|0|"), "EACCES");
    IS(fake_ask(&dom0, XS_RM, 0, "/c|"), "OK|");
    /* More than fits a message; and values that fit just and just not. */
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof(text), "/c/%04d/name|n%d", i, i);
        IS(fake_ask(&dom0, XS_WRITE, 0, text), "OK|");
        len += (size_t)snprintf(want + len, sizeof(want) - len, "%04d|n%d|", i, i);
    }
    CU_ASSERT(children("/c", "name", all, sizeof(all)) > 2);
    IS(all, want);
    IS(fake_ask(&dom0, XS_RM, 0, "/c|"), "OK|");
    for (int bytes = 4060; bytes < 4090; bytes++) {
        memset(text, 'v', sizeof(text));
        memcpy(text, "/c/b/a|", 7);
        text[7 + bytes] = '\0';
        IS(fake_ask(&dom0, XS_WRITE, 0, text), bytes + 7 <= XENSTORE_PAYLOAD_MAX ? "OK|" : "E2BIG");
        IS(fake_ask(&dom0, XS_WRITE, 0, "/c/c/a|last"), "OK|");
        (void)children("/c", "a", all, sizeof(all));
        CU_ASSERT_STRING_EQUAL(all + strlen(all) - 7, "c|last|");
    }
    IS(fake_ask(&dom0, XS_RM, 0, "/c|"), "OK|");
}

/* At home and elsewhere; others' nodes stay but for what is below its own. */
static void test_domain__nodes_of_the_gone(void)
{
    struct fake guest;

    fake_connect(&guest, &s, 9);
    IS(fake_ask(&dom0, XS_WRITE, 0, "/local/domain/9/name|nine"), "OK|");
    IS(fake_ask(&dom0, XS_MKDIR, 0, "/local/domain/9/data|"), "OK|");
    IS(fake_ask(&dom0, XS_SET_PERMS, 0, "/local/domain/9/data|n9|"), "OK|");
    IS(fake_ask(&guest, XS_WRITE, 0, "data/a/b|1"), "OK|");
    IS(fake_ask(&dom0, XS_MKDIR, 0, "/elsewhere/9|"), "OK|");
    IS(fake_ask(&dom0, XS_SET_PERMS, 0, "/elsewhere/9|n9|"), "OK|");
    IS(fake_ask(&dom0, XS_MKDIR, 0, "/local/domain/90/data|"), "OK|");
    server_domain_gone(&s, 9);
    IS(fake_ask(&dom0, XS_READ, 0, "/local/domain/9/name|"), "nine");
    IS(fake_ask(&dom0, XS_READ, 0, "/local/domain/9/data|"), "ENOENT");
    IS(fake_ask(&dom0, XS_READ, 0, "/elsewhere/9|"), "ENOENT");
    IS(fake_ask(&dom0, XS_READ, 0, "/local/domain/90/data|"), "");
    IS(fake_ask(&dom0, XS_CONTROL, 0, "check|"), "OK|");
    IS(fake_ask(&dom0, XS_RM, 0, "/local/domain/9|"), "OK|");
    IS(fake_ask(&dom0, XS_RM, 0, "/local/domain/90|"), "OK|");
    IS(fake_ask(&dom0, XS_RM, 0, "/elsewhere|"), "OK|");
    fake_free(&guest);
}

static void test_domain__number_used_again(void)
{
    struct fake first, second;
    uint64_t nodes = s.store.nodes;

    fake_connect(&first, &s, 8);
    IS(fake_ask(&dom0, XS_WRITE, 0, "/for-8|secret"), "OK|");
    IS(fake_ask(&dom0, XS_SET_PERMS, 0, "/for-8|n0|r8|"), "OK|");
    IS(fake_ask(&dom0, XS_MKDIR, 0, "/of-8/a|"), "OK|");
    IS(fake_ask(&dom0, XS_SET_PERMS, 0, "/of-8|n8|"), "OK|");
    IS(fake_ask(&first, XS_READ, 0, "/for-8|"), "secret");
    IS(fake_ask(&first, XS_WRITE, 0, "/of-8/b|1"), "OK|");
    server_domain_gone(&s, 8);
    CU_ASSERT_TRUE(first.closed);
    IS(fake_ask(&dom0, XS_READ, 0, "/of-8|"), "ENOENT");
    IS(fake_ask(&dom0, XS_GET_PERMS, 0, "/for-8|"), "n0|");
    fake_connect(&second, &s, 8);
    IS(fake_ask(&second, XS_READ, 0, "/for-8|"), "EACCES");
    /* What is created below such a node is not open to the newcomer either. */
    IS(fake_ask(&dom0, XS_WRITE, 0, "/for-8/x|1"), "OK|");
    IS(fake_ask(&second, XS_READ, 0, "/for-8/x|"), "EACCES");
    IS(fake_ask(&dom0, XS_SET_PERMS, 0, "/for-8|n0|r8|"), "OK|");
    IS(fake_ask(&second, XS_READ, 0, "/for-8|"), "secret");
    IS(fake_ask(&dom0, XS_RM, 0, "/for-8|"), "OK|");
    server_domain_gone(&s, 8);
    CU_ASSERT_EQUAL(s.store.nodes, nodes);
    fake_free(&first);
    fake_free(&second);
}

static void test_domain__list_of_the_machine(void)
{
    struct domain_status list[] = {{.domid = 0}, {.domid = 1}, {.domid = 2}, {.domid = 11}};

    server_domain(&s, 9);
    server_introduce(&s, 10, 1, 1);
    server_introduce(&s, 11, 1, 1);
    server_domain_list(&s, list, 4);
    CU_ASSERT_PTR_NULL(server_find_domain(&s, 9));
    CU_ASSERT_PTR_NULL(server_find_domain(&s, 10));
    CU_ASSERT_PTR_NOT_NULL_FATAL(server_find_domain(&s, 11));
    list[3].shutdown = true;
    server_domain_list(&s, list, 4);
    CU_ASSERT_TRUE(server_find_domain(&s, 11)->shutdown);
    list[3].dying = true;
    server_domain_list(&s, list, 4);
    CU_ASSERT_PTR_NULL(server_find_domain(&s, 11));
    CU_ASSERT_PTR_NOT_NULL(server_find_domain(&s, 1)->conn);
}

/* A machine that tells which domain has changed, as our hypervisor does. */
static struct {
    struct domain_status changed[4], all[8];
    size_t changed_count, all_count;
    bool tells;             /* it does */
    unsigned int asked;     /* about one domain, */
    unsigned int looked;    /* about all */
    unsigned int connected; /* rings */
} fake_machine;

static void no_close(void *io)
{
    (void)io;
}

static ssize_t no_bytes_in(void *io, void *data, size_t len)
{
    (void)io;
    (void)data;
    (void)len;
    return 0;
}

static ssize_t no_bytes_out(void *io, const void *data, size_t len)
{
    return no_bytes_in(io, (void *)(uintptr_t)data, len);
}

static int machine_connect(void *ctx, uint16_t domid, uint64_t mfn, uint32_t port,
                           struct transport *out)
{
    (void)ctx;
    (void)domid;
    (void)mfn;
    (void)port;
    fake_machine.connected++;
    *out = (struct transport){.read = no_bytes_in, .write = no_bytes_out, .close = no_close};
    return 0;
}

static int machine_status(void *ctx, uint16_t domid, struct domain_status *out)
{
    (void)ctx;
    fake_machine.asked++;
    for (size_t i = 0; i < fake_machine.all_count; i++) {
        if (fake_machine.all[i].domid == domid) {
            *out = fake_machine.all[i];
            return 0;
        }
    }
    return -ESRCH;
}

static int machine_changed(void *ctx, struct domain_status *out)
{
    (void)ctx;
    if (!fake_machine.tells) {
        return -ENOSYS;
    }
    if (fake_machine.changed_count == 0) {
        return 0;
    }
    *out = fake_machine.changed[--fake_machine.changed_count];
    return 1;
}

static void machine_look(void *ctx)
{
    (void)ctx;
    fake_machine.looked++;
    server_domain_list(&s, fake_machine.all, fake_machine.all_count);
}

static const struct platform machine = {.connect = machine_connect,
                                        .status = machine_status,
                                        .changed = machine_changed,
                                        .look = machine_look};

static void test_domain__news(void)
{
    struct domain_status all[] = {{.domid = 0},  {.domid = 1},  {.domid = 2},
                                  {.domid = 20}, {.domid = 21}, {.domid = 22}};

    memset(&fake_machine, 0, sizeof(fake_machine));
    memcpy(fake_machine.all, all, sizeof(all));
    fake_machine.all_count = 6;
    fake_machine.tells = true;
    s.platform = &machine;
    machine_look(NULL); /* as at the start */
    CU_ASSERT_EQUAL(s.unseen, 0);
    fake_machine.looked = 0;
    IS(fake_ask(&dom0, XS_WATCH, 0, "@releaseDomain|r|1|"), "OK|");
    IS(fake_event(&dom0), "@releaseDomain|r");
    IS(fake_ask(&dom0, XS_INTRODUCE, 0, "20|1|1|"), "OK|");
    IS(fake_ask(&dom0, XS_INTRODUCE, 0, "21|1|1|"), "OK|");
    /* One by one until there are no more; the others are left alone. */
    fake_machine.changed[0] = (struct domain_status){.domid = 21, .dying = true};
    fake_machine.changed[1] = (struct domain_status){.domid = 20, .shutdown = true};
    fake_machine.changed[2] = (struct domain_status){.domid = 99, .dying = true}; /* unknown here */
    fake_machine.changed[3] = (struct domain_status){.domid = 0, .dying = true};  /* cannot be */
    fake_machine.changed_count = 4;
    server_news(&s);
    IS(fake_event(&dom0), "@releaseDomain/20|r");
    IS(fake_event(&dom0), "@releaseDomain/21|r");
    IS(fake_event(&dom0), "");
    CU_ASSERT_EQUAL(fake_machine.changed_count, 0);
    CU_ASSERT_PTR_NULL(server_find_domain(&s, 21));
    CU_ASSERT_PTR_NOT_NULL(server_find_domain(&s, 0));
    CU_ASSERT_EQUAL(fake_machine.looked, 0);
    server_news(&s);
    IS(fake_event(&dom0), "");
    CU_ASSERT_EQUAL(fake_machine.looked, 0);
    /* One that is only named somewhere may never have been: all are looked at while there is one.
     */
    IS(fake_ask(&dom0, XS_WRITE, 0, "/named|x"), "OK|");
    IS(fake_ask(&dom0, XS_SET_PERMS, 0, "/named|n0|r33|"), "OK|");
    CU_ASSERT_EQUAL(s.unseen, 1);
    fake_machine.all[4].domid = 22;
    fake_machine.all_count = 5;
    server_news(&s);
    CU_ASSERT_EQUAL(fake_machine.looked, 1);
    CU_ASSERT_EQUAL(s.unseen, 0);
    CU_ASSERT_PTR_NULL(server_find_domain(&s, 33));
    server_news(&s);
    CU_ASSERT_EQUAL(fake_machine.looked, 1);
    IS(fake_ask(&dom0, XS_RM, 0, "/named|"), "OK|");
    /* One that stopped before it was introduced has been told of already. */
    fake_machine.all[4].shutdown = true;
    fake_machine.asked = 0;
    IS(fake_ask(&dom0, XS_INTRODUCE, 0, "22|1|1|"), "OK|");
    IS(fake_event(&dom0), "@releaseDomain/22|r");
    CU_ASSERT_EQUAL(fake_machine.asked, 1);
    IS(fake_ask(&dom0, XS_INTRODUCE, 0, "22|1|2|"), "OK|");
    IS(fake_event(&dom0), "");
    CU_ASSERT_EQUAL(fake_machine.asked, 1);
    /* A machine that does not tell is asked for all. */
    fake_machine.tells = false;
    fake_machine.all_count = 4;
    server_news(&s);
    CU_ASSERT_EQUAL(fake_machine.looked, 2);
    IS(fake_event(&dom0), "@releaseDomain/22|r");
    server_domain_gone(&s, 20);
    IS(fake_event(&dom0), "@releaseDomain/20|r");
    IS(fake_ask(&dom0, XS_RESET_WATCHES, 0, ""), "OK|");
    s.platform = NULL;
}

/* What a daemon that was killed had asked for and not acted on is found by the next one's look. */
static void test_domain__news_a_dead_daemon_took(void)
{
    struct domain_status status, all[] = {{.domid = 0}, {.domid = 1}, {.domid = 2}};

    memset(&fake_machine, 0, sizeof(fake_machine));
    memcpy(fake_machine.all, all, sizeof(all));
    fake_machine.all_count = 3;
    fake_machine.tells = true;
    s.platform = &machine;
    IS(fake_ask(&dom0, XS_INTRODUCE, 0, "30|1|1|"), "OK|");
    IS(fake_ask(&dom0, XS_WATCH, 0, "@releaseDomain/30|r|"), "OK|");
    IS(fake_event(&dom0), "@releaseDomain/30|r");
    fake_machine.changed[0] = (struct domain_status){.domid = 30, .dying = true};
    fake_machine.changed_count = 1;
    CU_ASSERT_EQUAL(machine_changed(NULL, &status), 1); /* and dies */
    server_news(&s);
    CU_ASSERT_PTR_NOT_NULL(server_find_domain(&s, 30));
    machine_look(NULL);
    CU_ASSERT_PTR_NULL(server_find_domain(&s, 30));
    IS(fake_event(&dom0), "@releaseDomain/30|r");
    IS(fake_ask(&dom0, XS_RESET_WATCHES, 0, ""), "OK|");
    s.platform = NULL;
}

static void add_suites(void)
{
    CU_pSuite domain = CU_add_suite("domains", open_server, close_server);

    CU_ADD_TEST(domain, test_domain__introduce_release);
    CU_ADD_TEST(domain, test_domain__events_that_name_it);
    CU_ADD_TEST(domain, test_control__children);
    CU_ADD_TEST(domain, test_domain__news);
    CU_ADD_TEST(domain, test_domain__news_a_dead_daemon_took);
    CU_ADD_TEST(domain, test_domain__nodes_of_the_gone);
    CU_ADD_TEST(domain, test_domain__number_used_again);
    CU_ADD_TEST(domain, test_domain__list_of_the_machine);
    CU_ADD_TEST(domain, test_books__balance);
}

int main(void)
{
    return fake_main("test_store_domain", add_suites);
}
