/* SPDX-License-Identifier: MIT */
/*
 * What happened between two looks at the guests (dom0-tools/usage/changes.c): each row is a state
 * before, one after, and the lines that must be told, in order.
 */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <string.h>

#include "dom0-tools/usage/changes.h"
#include "tests/unit/runner.h"

static char told[512];

static void tell(const struct change *change, void *context)
{
    size_t used = strlen(told);

    (void)context;
    snprintf(told + used, sizeof(told) - used, "%u %s %s%s%s;", change->domid, change->name,
             change->event, change->detail[0] != '\0' ? " " : "", change->detail);
}

/* A state in a word or two per thing: "1a" is domain 1 with uuid a called g1, and behind it p
 * paused, s stopped, m other memory, r another name; "d1c" a connected disk of domain 1, "d1w" one
 * that waits, "n1c" a card. */
static struct changes_state state(const char *text)
{
    struct changes_state out = {.domains = NULL};
    char copy[128];

    snprintf(copy, sizeof(copy), "%s", text);
    for (char *rest = NULL, *word = strtok_r(copy, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        if (word[0] == 'd' || word[0] == 'n') {
            struct changes_device *device = changes_add_device(&out);

            device->kind = word[0] == 'd' ? "disk" : "net";
            device->domid = (uint32_t)(word[1] - '0');
            device->connected = word[2] == 'c';
            snprintf(device->label, sizeof(device->label), "%s", word[0] == 'd' ? "xvdb" : "mac");
            continue;
        }

        struct changes_domain *domain = changes_add_domain(&out);

        domain->domid = (uint32_t)(word[0] - '0');
        domain->uuid[0] = (uint8_t)word[1];
        domain->paused = strchr(word, 'p') != NULL;
        domain->stopped = strchr(word, 's') != NULL;
        domain->reason = "poweroff";
        domain->target_kib = strchr(word, 'm') != NULL ? 2048 : 1024;
        snprintf(domain->name, sizeof(domain->name), "%s%c",
                 strchr(word, 'r') != NULL ? "new" : "g", word[0]);
    }
    return out;
}

static void test_changes_compare(void)
{
    static const struct {
        const char *before, *after, *told;
    } rows[] = {
        {"", "", ""},
        {"1a", "1a", ""},
        {"", "1a", "1 g1 created;"},
        {"1a 2b", "2b", "1 g1 gone;"},
        {"1a", "1b", "1 g1 gone;1 g1 created;"},
        {"1a", "1ap", "1 g1 paused;"},
        {"1ap", "1a", "1 g1 resumed;"},
        {"1a", "1as", "1 g1 stopped poweroff;"},
        {"1as", "1as", ""},
        {"1a", "1asp", "1 g1 stopped poweroff;"},
        {"1a", "1ar", "1 new1 renamed was g1;"},
        {"1a", "1am", "1 g1 memory 2 MiB, was 1;"},
        {"1a", "1a d1w", ""},
        {"1a d1w", "1a d1c", "1 g1 disk-attached xvdb;"},
        {"1a d1c", "1a", "1 g1 disk-detached xvdb;"},
        {"1a d1c n1c", "1a n1c", "1 g1 disk-detached xvdb;"},
        {"1a", "1a n1c", "1 g1 net-attached mac;"},
        {"1a d1c n1c", "", "1 g1 disk-detached xvdb;1 g1 net-detached mac;1 g1 gone;"},
        {"2b", "2b 1a d1c", "1 g1 created;1 g1 disk-attached xvdb;"},
        {"", "d7c", ""}, /* a device of nobody */
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct changes_state before = state(rows[i].before);
        struct changes_state after = state(rows[i].after);
        size_t lines = 0;

        told[0] = '\0';

        size_t count = changes_compare(&before, &after, tell, NULL);

        for (const char *at = told; (at = strchr(at, ';')) != NULL; at++) {
            lines++;
        }
        if (strcmp(told, rows[i].told) != 0) {
            printf("\n  row %zu: %s\n", i, told);
        }
        CU_ASSERT_STRING_EQUAL(told, rows[i].told);
        CU_ASSERT_EQUAL(count, lines);
        changes_free(&before);
        changes_free(&after);
    }
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"compare", test_changes_compare},
        CU_TEST_INFO_NULL,
    };
    return run_tests("what happened to the guests", tests);
}
