/* SPDX-License-Identifier: MIT */
/*
 * A domain that takes all the ports it can get is stopped at its limit by -ENOSPC, whatever the
 * kind of port; giving one back makes room for exactly one.
 */
#include "lib.h"

void test_main(void)
{
    unsigned taken = 0;
    long port, last = 0;
    while ((port = event_bind_ipi(taken & 1)) > 0) {
        last = port;
        taken++;
        NEED(taken < 5000);
    }
    CHECK_IS(port, -ENOSPC);
    CHECK_IS(last, 1023);
    CHECK_IS(taken, 1023 - 2); /* the store's and the console's are taken already */
    CHECK_IS(event_bind_virq(VIRQ_TIMER, 0), -ENOSPC);
    CHECK_IS(event_alloc_unbound(DOMID_SELF, 0), -ENOSPC);
    CHECK_IS(event_close(500), 0);
    CHECK_IS(event_bind_virq(VIRQ_TIMER, 0), 500);
    CHECK_IS(event_bind_ipi(0), -ENOSPC);
    for (uint32_t i = 3; i <= 1023; i++) {
        CHECK_IS(event_close(i), 0);
    }
    CHECK_IS(event_bind_ipi(0), 3);
}
