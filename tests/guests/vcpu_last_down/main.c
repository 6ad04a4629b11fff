/* SPDX-License-Identifier: MIT */
/*
 * When the last vCPU takes itself down the domain is as good as switched off: it ends as a
 * power-off, and the memory comes back. (The verdict is said before; nothing may come after.)
 */
#include "lib.h"

void test_main(void)
{
    CHECK_IS(vcpu_op(VCPUOP_is_up, 1, 0), 0);
    say("verdict SUCCESS if nothing follows");
    (void)vcpu_op(VCPUOP_down, 0, 0);
    failure("it runs on");
}
