/* SPDX-License-Identifier: MIT */
/*
 * A domain that takes all the ports it can get is stopped at its limit by -ENOSPC, whatever the
 * kind of port; giving one back makes room for exactly one.
 */
#include "lib.h"

void test_main(void)
{
    /* The store's and the console's are taken already, where there are any. */
    uint32_t end = alone() ? 4095 : 1023, first = alone() ? 1 : 3;
    unsigned taken = 0;
    long port, last = 0;
    while ((port = event_bind_ipi(taken & 1)) > 0) {
        last = port;
        taken++;
        NEED(taken < 5000);
    }
    CHECK_IS(port, -ENOSPC);
    CHECK_IS(last, end);
    CHECK_IS(taken, end - first + 1);
    CHECK_IS(event_bind_virq(VIRQ_TIMER, 0), -ENOSPC);
    CHECK_IS(event_alloc_unbound(DOMID_SELF, 0), -ENOSPC);
    CHECK_IS(event_close(500), 0);
    CHECK_IS(event_bind_virq(VIRQ_TIMER, 0), 500);
    CHECK_IS(event_bind_ipi(0), -ENOSPC);
    for (uint32_t i = first; i <= end; i++) {
        CHECK_IS(event_close(i), 0);
    }
    CHECK_IS(event_bind_ipi(0), first);
}
