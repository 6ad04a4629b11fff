/* SPDX-License-Identifier: MIT */
/*
 * What the canary offers to the domains that come after it; N is how many domains later than the
 * canary a test is (canary_distance). Ports are the canary's own numbers.
 */
#pragma once

#include "lib.h"

#define CANARY_DOMAINS 200
#define CANARY_PORT 2        /* + N; 1 and 2 are the store's and the console's */
#define CANARY_REF_READ 8    /* + N: a page of CANARY_BYTE, read-only */
#define CANARY_REF_WRITE 256 /* + N: a page anybody may write */
#define CANARY_BYTE 0xc5

/* The canary's domain, from the command line; the test is in error without one. */
domid_t canary_domid(void);
unsigned canary_distance(void);
