// SPDX-License-Identifier: MIT
/* One word of bits a pcpu, atomic, no lock. A bit that was set already has kicked its pcpu. */
#include "core/deferred.h"

#include "arch/arch.h"
#include "base/config.h"
#include "base/lock.h"
#include "core/span.h"

uint32_t deferred_bits[MAX_PCPUS];

void deferred_raise(unsigned cpu, enum deferred_work work)
{
    uint32_t old = __atomic_fetch_or(&deferred_bits[cpu], (uint32_t)work, __ATOMIC_SEQ_CST);
    if (!(old & work) && cpu != arch_cpu_id()) {
        arch_kick_cpu(cpu);
    }
}

uint32_t deferred_take(void)
{
    return __atomic_exchange_n(&deferred_bits[arch_cpu_id()], 0, __ATOMIC_SEQ_CST);
}

void irq_window(bool idle)
{
    spin_assert_none_above(RANK_DOM_MMU); /* handlers take what is above */
    unsigned cause = span_end();
    if (idle) {
        arch_idle();
    } else {
        arch_irq_window();
    }
    (void)span_end(); /* of an interrupt */
    span_resume(cause);
}

bool preempt_needed(void)
{
    irq_window(false);
    return deferred_pending();
}
