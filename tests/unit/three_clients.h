// SPDX-License-Identifier: MIT
/*
 * A server in memory with a control domain and two guests, for the store's unit tests: a suite has
 * open_server() and close_server() around it and test_books__balance() as its last case.
 */
#pragma once

#include "test_store_util.h"

#define IS(expr, want) CU_ASSERT_STRING_EQUAL(expr, want)

static struct server s;
static struct fake dom0, g1, g2;

static int open_server(void)
{
    server_init(&s, NULL);
    fake_connect(&dom0, &s, 0);
    fake_connect(&g1, &s, 1);
    fake_connect(&g2, &s, 2);
    /* What a toolstack prepares for a guest. */
    fake_ask(&dom0, XS_MKDIR, 0, "/local/domain/1/data|");
    fake_ask(&dom0, XS_SET_PERMS, 0, "/local/domain/1|n0|r1|");
    fake_ask(&dom0, XS_SET_PERMS, 0, "/local/domain/1/data|n1|");
    fake_ask(&dom0, XS_MKDIR, 0, "/local/domain/2/data|");
    fake_ask(&dom0, XS_SET_PERMS, 0, "/local/domain/2|n0|r2|");
    fake_ask(&dom0, XS_SET_PERMS, 0, "/local/domain/2/data|n2|");
    return 0;
}

/* The last case of each suite: the books agree with the tree after all of the others. */
static void test_books__balance(void)
{
    IS(fake_check(&dom0), "OK|");
}

static int close_server(void)
{
    server_destroy(&s);
    fake_free(&dom0);
    fake_free(&g1);
    fake_free(&g2);
    return 0;
}

/* Takes whatever has been sent to a client. */
static void drain(struct fake *f)
{
    struct fake_msg m;

    fake_run(&s);
    while (fake_next(f, &m)) {
    }
}
