/* SPDX-License-Identifier: MIT */
/* Finding the canary; see canary.h. */
#include "canary.h"

domid_t canary_domid(void)
{
    uint64_t id = 0;
    NEED(option_number("canary", &id));
    return (domid_t)id;
}

unsigned canary_distance(void)
{
    unsigned distance = (unsigned)own_domid() - canary_domid();
    NEED(distance >= 1 && distance <= CANARY_DOMAINS);
    return distance;
}
