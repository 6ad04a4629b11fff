// SPDX-License-Identifier: MIT
/* The hypervisor's own keys at the console: what state it can show to a person, and the reboot. */
#pragma once

/* Do what `key` stands for; unknown ones say how to get help. No lock may be held. */
void console_keys_handle(char key);
