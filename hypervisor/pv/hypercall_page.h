// SPDX-License-Identifier: MIT
/* The page of hypercall stubs that older kernels ask for. */
#pragma once

/* Fill a page: 32 bytes a hypercall number. */
void hypercall_page_fill(void *page);
