/* SPDX-License-Identifier: MIT */
/*
 * Which domains the console daemon looks at (dom0-tools/console/domains.h, loop.h): an event that
 * names one costs a look at that one, however many there are. Store, hypervisor and guests are the
 * test's.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/console/domains.h"
#include "dom0-tools/storeclient/client.h"

#define DOMAINS 64u

int __wrap_guest_open(const struct guest_services *services, uint32_t domid, struct guest **out,
                      struct err *err);
void __wrap_guest_died(struct guest *guest, uint64_t now);
bool __wrap_guest_finished(struct guest *guest, uint64_t now);
void __wrap_guest_close(struct guest *guest);
int __wrap_hv_domain_info(struct hv *hv, uint32_t domid, struct xen_domctl_getdomaininfo *info);
int __wrap_hv_domain_info_list(struct hv *hv, uint32_t first,
                               struct xen_domctl_getdomaininfo *infos, size_t max);
char **__wrap_xs_directory(struct xs_handle *h, xs_transaction_t t, const char *path,
                           unsigned int *num);
bool __wrap_xs_watch(struct xs_handle *h, const char *path, const char *token);
bool __wrap_xs_watch_domains(struct xs_handle *h, const char *path, const char *token);
bool __wrap_xs_unwatch(struct xs_handle *h, const char *path, const char *token);

static struct loop loop;
static struct domains domains;
static bool lives[DOMAINS], introduced[DOMAINS], incomplete[DOMAINS], read_to_end[DOMAINS];
static unsigned int looked_at[DOMAINS], lists, directories, closed, watches;
static unsigned int special_watches;
static char last_watch[64];

int __wrap_guest_open(const struct guest_services *services, uint32_t domid, struct guest **out,
                      struct err *err)
{
    (void)services;
    if (incomplete[domid]) {
        return err_set(err, ENOENT, "not yet");
    }
    *out = calloc(1, sizeof(**out));
    (*out)->domid = domid;
    (*out)->port = 7; /* all in one chain of the loop's table */
    return 0;
}

void __wrap_guest_died(struct guest *guest, uint64_t now)
{
    (void)now;
    guest->dead = true;
    guest->port = -1;
}

bool __wrap_guest_finished(struct guest *guest, uint64_t now)
{
    (void)now;
    return read_to_end[guest->domid];
}

void __wrap_guest_close(struct guest *guest)
{
    closed++;
    free(guest);
}

int __wrap_hv_domain_info(struct hv *hv, uint32_t domid, struct xen_domctl_getdomaininfo *info)
{
    (void)hv;
    looked_at[domid]++;
    *info = (struct xen_domctl_getdomaininfo){.domain = (domid_t)domid};
    return lives[domid] ? 0 : -ESRCH;
}

int __wrap_hv_domain_info_list(struct hv *hv, uint32_t first,
                               struct xen_domctl_getdomaininfo *infos, size_t max)
{
    size_t count = 0;

    (void)hv;
    lists++;
    for (uint32_t i = first; i < DOMAINS && count < max; i++) {
        if (lives[i]) {
            infos[count++] = (struct xen_domctl_getdomaininfo){.domain = (domid_t)i};
        }
    }
    return (int)count;
}

char **__wrap_xs_directory(struct xs_handle *h, xs_transaction_t t, const char *path,
                           unsigned int *num)
{
    char **names = malloc(DOMAINS * (sizeof(*names) + 12));
    char *text = (char *)(names + DOMAINS);

    (void)h;
    (void)t;
    CU_ASSERT_STRING_EQUAL(path, "/local/domain");
    directories++;
    *num = 0;
    for (unsigned int i = 0; i < DOMAINS; i++) {
        if (introduced[i]) {
            names[(*num)++] = text;
            text += sprintf(text, "%u", i) + 1;
        }
    }
    return names;
}

bool __wrap_xs_watch(struct xs_handle *h, const char *path, const char *token)
{
    (void)h;
    (void)token;
    watches++;
    snprintf(last_watch, sizeof(last_watch), "%s", path);
    return true;
}

bool __wrap_xs_watch_domains(struct xs_handle *h, const char *path, const char *token)
{
    (void)h;
    (void)path;
    (void)token;
    special_watches++;
    return true;
}

bool __wrap_xs_unwatch(struct xs_handle *h, const char *path, const char *token)
{
    (void)h;
    (void)token;
    CU_ASSERT_STRING_EQUAL(path, last_watch);
    watches--;
    return true;
}

static unsigned int looks(void)
{
    unsigned int sum = 0;

    for (unsigned int i = 0; i < DOMAINS; i++) {
        sum += looked_at[i];
    }
    return sum;
}

static void no_looks(void)
{
    memset(looked_at, 0, sizeof(looked_at));
    lists = directories = closed = 0;
}

static void come(unsigned int domid)
{
    lives[domid] = introduced[domid] = true;
}

static void event(const char *path)
{
    domains_event(&domains, path, "token");
    domains_look(&domains);
}

/* Domains 1 to 20 are there before the daemon. */
static int begin(void)
{
    memset(&loop, 0, sizeof(loop));
    domains = (struct domains){.loop = &loop};
    memset(lives, 0, sizeof(lives));
    memset(introduced, 0, sizeof(introduced));
    memset(incomplete, 0, sizeof(incomplete));
    memset(read_to_end, 1, sizeof(read_to_end));
    come(0);
    for (unsigned int i = 1; i <= 20; i++) {
        come(i);
    }
    return 0;
}

static void test_domains__all_are_found_at_the_start(void)
{
    no_looks();
    event("@introduceDomain");
    event("@releaseDomain");
    for (unsigned int i = 1; i <= 20; i++) {
        CU_ASSERT_PTR_NOT_NULL(loop_find(&loop, i));
    }
    CU_ASSERT_PTR_NULL(loop_find(&loop, 0));
    CU_ASSERT_PTR_NULL(loop_find(&loop, 21));
    CU_ASSERT_PTR_NULL(loop_find(&loop, UINT32_MAX));
    CU_ASSERT_EQUAL(directories, 1);
    CU_ASSERT_EQUAL(lists, 1);
    CU_ASSERT_EQUAL(looks(), 20);
}

static void test_domains__one_that_is_named(void)
{
    no_looks();
    come(30);
    come(31);
    event("@introduceDomain/30");
    CU_ASSERT_PTR_NOT_NULL(loop_find(&loop, 30));
    CU_ASSERT_PTR_NULL(loop_find(&loop, 31)); /* nobody has said so */
    CU_ASSERT_EQUAL(looked_at[30], 1);
    CU_ASSERT_EQUAL(looks(), 1);
    lives[30] = lives[5] = false;
    event("@releaseDomain/30");
    CU_ASSERT_PTR_NULL(loop_find(&loop, 30));
    CU_ASSERT_PTR_NOT_NULL(loop_find(&loop, 5));
    CU_ASSERT_EQUAL(looked_at[30], 2);
    CU_ASSERT_EQUAL(looks(), 2);
    loop_reap(&loop);
    CU_ASSERT_EQUAL(closed, 1);
    /* One that has only shut down, one that is served already, one that is not: nothing. */
    event("@releaseDomain/6");
    CU_ASSERT_PTR_NOT_NULL(loop_find(&loop, 6));
    event("@introduceDomain/6");
    event("@introduceDomain/40");
    event("@releaseDomain/41");
    event("@introduceDomain/0");
    event("@introduceDomain/70000");
    event("@releaseDomain/70000");
    CU_ASSERT_EQUAL(looks(), 4);
    CU_ASSERT_EQUAL(looked_at[41], 0);
    CU_ASSERT_EQUAL(directories + lists, 0);
    /* An event that names none has all looked at. */
    event("@releaseDomain");
    CU_ASSERT_EQUAL(lists, 1);
    CU_ASSERT_PTR_NULL(loop_find(&loop, 5));
    event("@introduceDomain");
    CU_ASSERT_EQUAL(directories, 1);
    CU_ASSERT_PTR_NOT_NULL(loop_find(&loop, 31));
    loop_reap(&loop);
    CU_ASSERT_EQUAL(closed, 2);
}

/* The last words of a dead domain are kept while another of its number is served. */
static void test_domains__number_used_again(void)
{
    struct guest *first, *second;

    no_looks();
    first = loop_find(&loop, 9);
    read_to_end[9] = false;
    lives[9] = false;
    event("@releaseDomain/9");
    loop_reap(&loop);
    CU_ASSERT_EQUAL(closed, 0);
    come(9);
    event("@introduceDomain/9");
    second = loop_find(&loop, 9);
    CU_ASSERT_PTR_NOT_NULL(second);
    CU_ASSERT_PTR_NOT_EQUAL(second, first);
    read_to_end[9] = true;
    loop_reap(&loop);
    CU_ASSERT_EQUAL(closed, 1);
    CU_ASSERT_PTR_EQUAL(loop_find(&loop, 9), second);
}

static void test_domains__console_that_comes_late(void)
{
    no_looks();
    come(50);
    incomplete[50] = true;
    watches = 0;
    event("@introduceDomain/50");
    CU_ASSERT_EQUAL(watches, 1);
    CU_ASSERT_STRING_EQUAL(last_watch, "/local/domain/50/console");
    domains_event(&domains, "/local/domain/50/console/tty", "console");
    CU_ASSERT_EQUAL(watches, 1);
    incomplete[50] = false;
    domains_event(&domains, "/local/domain/50/console/port", "console");
    CU_ASSERT_EQUAL(watches, 0);
    CU_ASSERT_PTR_NOT_NULL(loop_find(&loop, 50));
    /* One that dies instead is awaited no longer. */
    come(51);
    incomplete[51] = true;
    event("@introduceDomain/51");
    CU_ASSERT_EQUAL(watches, 1);
    lives[51] = false;
    event("@releaseDomain/51");
    CU_ASSERT_EQUAL(watches, 0);
    CU_ASSERT_EQUAL(directories + lists, 0);
}

/* With a new connection to the store all are looked at, once. */
static void test_domains__watch(void)
{
    special_watches = 0;
    CU_ASSERT_TRUE(domains_watch(&domains));
    CU_ASSERT_EQUAL(special_watches, 2);
    no_looks();
    domains_look(&domains);
    CU_ASSERT_EQUAL(lists, 1);
    CU_ASSERT_EQUAL(directories, 1);
    domains_look(&domains);
    CU_ASSERT_EQUAL(lists, 1);
}

static void test_domains__nothing_is_left(void)
{
    while (loop.guests != NULL) {
        loop_remove(&loop, loop.guests);
    }
    for (unsigned int i = 0; i < LOOP_PORTS; i++) {
        CU_ASSERT_PTR_NULL(loop.by_port[i]);
    }
    for (unsigned int i = 0; i < DOMID_FIRST_RESERVED; i++) {
        CU_ASSERT_PTR_NULL(loop.by_domid[i]);
    }
    CU_ASSERT_PTR_NULL(loop.busy);
}

int main(void)
{
    unsigned int failed;
    CU_pSuite suite;

    CU_initialize_registry();
    suite = CU_add_suite("domains the console daemon serves", begin, NULL);
    CU_ADD_TEST(suite, test_domains__all_are_found_at_the_start);
    CU_ADD_TEST(suite, test_domains__one_that_is_named);
    CU_ADD_TEST(suite, test_domains__number_used_again);
    CU_ADD_TEST(suite, test_domains__console_that_comes_late);
    CU_ADD_TEST(suite, test_domains__watch);
    CU_ADD_TEST(suite, test_domains__nothing_is_left);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    CU_cleanup_registry();
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
