// SPDX-License-Identifier: MIT
/*
 * multicall: several hypercalls in one entry. Each entry gets its own result; a failed one does not
 * stop the rest. Nesting is refused; iret ends the batch, since the registers it leaves belong to
 * another context. No locks.
 */
#include "base/string.h"
#include "core/guest_access.h"
#include "core/hypercall.h"

long hc_multicall(struct hypercall *hc)
{
    if (hc->in_multicall) {
        return -EINVAL;
    }
    /* The list and what is left of it, always right for a continuation. */
    uint64_t *list = &hc->arg[0], *count = &hc->arg[1];
    while (*count) {
        struct multicall_entry entry;
        if (guest_read(&entry, *list, sizeof(entry))) {
            return -EFAULT;
        }
        struct hypercall inner = {.v = hc->v, .d = hc->d, .nr = entry.op, .in_multicall = true};
        memcpy(inner.arg, entry.args, sizeof(inner.arg));
        long rc = hypercall_dispatch(&inner);
        if (inner.registers_replaced) {
            /* SAFETY: the caller's page tables may have changed with the mode; nothing of the batch
             * is touched again. */
            hc->registers_replaced = true;
            return 0;
        }
        if (rc == -ERESTART) {
            memcpy(entry.args, inner.arg, sizeof(inner.arg));
            return guest_write(*list, &entry, sizeof(entry)) ?: -ERESTART;
        }
        if (guest_write(*list + offsetof(struct multicall_entry, result), &rc, sizeof(rc))) {
            return -EFAULT;
        }
        *list += sizeof(entry);
        --*count;
        if (*count && hypercall_preempt_check()) {
            return -ERESTART;
        }
    }
    return 0;
}
