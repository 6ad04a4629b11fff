// SPDX-License-Identifier: MIT
/* Included first into every file of the image: all symbols stay inside it, so that even
 * declarations of other files' objects are reached relative to RIP, without a table. */
#pragma once

#ifndef __ASSEMBLY__
#pragma GCC visibility push(hidden)
#endif
