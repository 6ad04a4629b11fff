// SPDX-License-Identifier: MIT
/*
 * Allocations that fail on demand, and a look at those that succeed. The test programs are linked
 * with --wrap for these functions, so calls between files of the hypervisor come through here.
 */
#include "core/frame.h"
#include "host.h"

struct frame *__real_frame_alloc_hyp(unsigned order, unsigned addr_bits);
struct frame *__wrap_frame_alloc_hyp(unsigned order, unsigned addr_bits);
void *__real_hyp_alloc(size_t bytes);
void *__wrap_hyp_alloc(size_t bytes);

static bool injected(void)
{
    return host.fault_in_alloc && --host.fault_in_alloc == 0;
}

static void note(mfn_t first, uint64_t count)
{
    if (host.on_alloc) {
        host.on_alloc(first, count);
    }
}

static struct frame *noted(struct frame *f, unsigned order)
{
    if (f) {
        note(frame_to_mfn(f), 1UL << order);
    }
    return f;
}

struct frame *__wrap_frame_alloc_hyp(unsigned order, unsigned addr_bits)
{
    return injected() ? NULL : noted(__real_frame_alloc_hyp(order, addr_bits), order);
}

struct frame *frame_alloc_domain(struct domain *d, unsigned order, unsigned addr_bits)
{
    struct frame *f = order > FRAME_ORDER_MAX ? NULL : frame_alloc_hyp(order, addr_bits);
    if (f && frame_assign(d, f, order)) {
        frame_free_hyp(f, order);
        f = NULL;
    }
    return f;
}

void *__wrap_hyp_alloc(size_t bytes)
{
    void *object = injected() ? NULL : __real_hyp_alloc(bytes);
    if (object) {
        note(virt_to_mfn(object), DIV_ROUND_UP(bytes, PAGE_SIZE));
    }
    return object;
}
