// SPDX-License-Identifier: MIT
/* What the hypervisor says about itself. */
#pragma once

/* Remember the hypervisor's command line for XENVER_commandline; called once at start-up. */
void version_set_cmdline(const char *line);
