/* SPDX-License-Identifier: MIT */
/*
 * console_io is the control domain's: a guest's write and read are refused whatever the arguments,
 * and the hypervisor's log stays as it is. A guest talks through its ring.
 *
 * Not alone: the calls are the control domain's.
 */
#include "lib.h"

void test_main(void)
{
    static char text[64] = "from a guest\n";
    CHECK_IS(console_io(CONSOLEIO_write, 13, text), -EPERM);
    CHECK_IS(console_io(CONSOLEIO_write, 0, text), -EPERM);
    CHECK_IS(console_io(CONSOLEIO_write, 13, HYP_START), -EPERM);
    CHECK_IS(console_io(CONSOLEIO_write, ~0U, text), -EPERM);
    CHECK_IS(console_io(CONSOLEIO_read, 13, text), -EPERM);
    CHECK_IS(console_io(7, 13, text), -EPERM);
}
