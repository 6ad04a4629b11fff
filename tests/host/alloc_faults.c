// SPDX-License-Identifier: MIT
/*
 * Allocations that fail on demand. The test programs are linked with --wrap for these functions,
 * so calls between files of the hypervisor come through here.
 */
#include "core/frame_alloc.h"
#include "host.h"

struct frame *__real_frame_alloc_hyp(unsigned order, unsigned addr_bits);
struct frame *__wrap_frame_alloc_hyp(unsigned order, unsigned addr_bits);
struct frame *__real_frame_alloc_domain(struct domain *d, unsigned order, unsigned addr_bits);
struct frame *__wrap_frame_alloc_domain(struct domain *d, unsigned order, unsigned addr_bits);
void *__real_hyp_alloc(size_t bytes);
void *__wrap_hyp_alloc(size_t bytes);

static bool injected(void)
{
    return host.fault_in_alloc && --host.fault_in_alloc == 0;
}

struct frame *__wrap_frame_alloc_hyp(unsigned order, unsigned addr_bits)
{
    return injected() ? NULL : __real_frame_alloc_hyp(order, addr_bits);
}

struct frame *__wrap_frame_alloc_domain(struct domain *d, unsigned order, unsigned addr_bits)
{
    return injected() ? NULL : __real_frame_alloc_domain(d, order, addr_bits);
}

void *__wrap_hyp_alloc(size_t bytes)
{
    return injected() ? NULL : __real_hyp_alloc(bytes);
}
