// SPDX-License-Identifier: MIT
/*
 * What guests are told about time: the system time in each vCPU's vcpu_info (nanoseconds since the
 * hypervisor started, computed from the TSC by the guest), and the wall clock in the shared page
 * (the time of day at system time 0). Wall-clock words are written under the domain's life_lock,
 * a vCPU's time words by the pcpu that runs it.
 */
#pragma once

#include "base/types.h"

struct domain;
struct vcpu;

/* Read the battery clock. Called once, by domain_init(). */
void time_init(void);
/* Set the clock: it was `sec` and `nsec` at system time `at`. All domains are told. -EINVAL. */
must_check int time_wallclock_set(uint64_t sec, uint32_t nsec, uint64_t at);
/* Domain d's clock differs from the machine's by `sec` seconds. */
void time_set_offset(struct domain *d, int64_t sec);
/* Write d's wall clock into its shared page; under its life_lock. */
void time_wallclock_update_locked(struct domain *d);
/* Write the TSC's scale into v's vcpu_info unless it is there. v is current or does not run. */
void time_vcpu_update(struct vcpu *v);
