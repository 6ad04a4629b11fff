// SPDX-License-Identifier: MIT
/* Limits. The one build switch, DEBUG_BUILD, 1 or 0, turns assertions and lock-rank checks on. */
#pragma once

#define MAX_PCPUS 256
#define MAX_VCPUS 64 /* per domain */
#define MAX_DOMAINS 1024
#define MAX_EVTCHNS 4096    /* 2-level, 64-bit guests */
#define MAX_GRANT_FRAMES 64 /* default limit per domain */
#define MAX_MAPTRACK_FRAMES 1024
#define MAX_PIRQS 256
#define MAX_GSIS 256
#define LOG_BYTES (64u << 10)
