/* SPDX-License-Identifier: MIT */
/* What the targets that contain the hypervisor need besides. */
#include "fuzz.h"

/* The leak checker calls sched_yield(), which is the hypervisor's here; what it would look for are
 * frames, and these the targets count themselves. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
