// SPDX-License-Identifier: MIT
/*
 * The machine's serial console, shared by the control domain and the hypervisor. Input goes to one
 * of them; Ctrl-A typed three times in a row changes which. Lock: input_lock (RANK_CONSOLE).
 */
#pragma once

#include "base/types.h"

/* Input has arrived: take it and pass it on. Called for DEFER_CONSOLE, with no lock held. */
void console_rx_work(void);
/* True while what is typed goes to the hypervisor. */
extern bool console_to_hypervisor;
/* Do what `key` of the hypervisor's own keys stands for; unknown ones say how to
 * get help. No lock may be held. */
void console_keys_handle(char key);
