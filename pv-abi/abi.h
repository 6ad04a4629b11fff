// SPDX-License-Identifier: MIT
/*
 * The guest-visible contract: the structures and constants of Xen's public headers as installed by
 * Debian's libxen-dev (4.17). This is the only place of the repo that includes them for the
 * hypervisor, so that the version and the feature macros are chosen once.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifndef __XEN_TOOLS__
#define __XEN_TOOLS__ 1
#endif

#include <xen/xen.h>

#include <xen/callback.h>
#include <xen/domctl.h>
#include <xen/elfnote.h>
#include <xen/event_channel.h>
#include <xen/features.h>
#include <xen/grant_table.h>
#include <xen/hypfs.h>
#include <xen/memory.h>
#include <xen/nmi.h>
#include <xen/physdev.h>
#include <xen/platform.h>
#include <xen/sched.h>
#include <xen/sysctl.h>
#include <xen/vcpu.h>
#include <xen/version.h>

/* The ABI's errno values under their usual names, unless the host's <errno.h> came first (the
 * numbers are the same). ERESTART never reaches a guest: it asks the dispatcher to continue. */
#ifndef EPERM
enum abi_errno {
#define XEN_ERRNO(name, value) name = (value),
#include <xen/errno.h>
    ERESTART_INTERNAL = 85,
};
#endif
#ifndef ERESTART
#define ERESTART 85
#endif

#define PARAVANE_XEN_MAJOR 4
#define PARAVANE_XEN_MINOR 17
