// SPDX-License-Identifier: MIT
/*
 * The one path of every sub-operation: known, caller of the right class, argument copied in once,
 * target found, referenced and allowed, handler, copy-out, reference dropped. Rows of pv-abi/ops/
 * become the cases of a switch in a function that has `hc`:
 *
 *   OP(nr, name, type, dir, who, handler, doc)      structure argument, copied in (and out)
 *   OP_VOID(nr, name, who, handler, doc)            no argument
 *   OP_EACH(nr, name, type, handler, doc)           array argument, status written per element
 *   ENV(nr, name, member, handler, doc)             argument in the envelope `op`, result in `rc`
 *   EXT(nr, name, type, handler, doc)               likewise, of our own: laid over the union
 *
 * dir: IN, INOUT. who: ANY() effects stay within the caller; TARGET(member) the named domain,
 * allowed on oneself and for the control domain; PEER(member) anybody may name that domain, the
 * handler asks for its consent; CONTROL() control domain only. Handlers find the domain in
 * hc->target (the caller itself for ANY and CONTROL).
 */
#pragma once

#include "core/guest_access.h"
#include "core/hypercall.h"

enum subop_who { WHO_ANY, WHO_TARGET, WHO_CONTROL };
enum subop_dir { DIR_IN, DIR_INOUT };

#define ANY() WHO_ANY, DOMID_SELF
#define TARGET(member) WHO_TARGET, arg.member
#define PEER(member) WHO_ANY, arg.member
#define CONTROL() WHO_CONTROL, DOMID_SELF

/* Permission and target: sets hc->target, which stays until subop_leave(). -EPERM, -ESRCH. */
must_check long subop_enter(struct hypercall *hc, enum subop_who who, domid_t id);
static inline void subop_leave(struct hypercall *hc)
{
    if (hc->target != hc->d) { /* one's own domain stays anyway */
        domain_put(hc->target);
    }
}

#define OP(nr, name, type, dir, who, handler, doc)                                                 \
    case nr: {                                                                                     \
        type arg;                                                                                  \
        long rc = guest_read(&arg, hc->arg[1], sizeof(arg)) ?: subop_enter(hc, who);               \
        if (rc == 0) {                                                                             \
            rc = handler(hc, &arg);                                                                \
            if (DIR_##dir == DIR_INOUT && rc >= 0) {                                               \
                rc = guest_write(hc->arg[1], &arg, sizeof(arg)) ?: rc;                             \
            }                                                                                      \
            subop_leave(hc);                                                                       \
        }                                                                                          \
        return rc;                                                                                 \
    }

#define OP_VOID(nr, name, who, handler, doc)                                                       \
    case nr: {                                                                                     \
        long rc = subop_enter(hc, who);                                                            \
        if (rc == 0) {                                                                             \
            rc = handler(hc);                                                                      \
            subop_leave(hc);                                                                       \
        }                                                                                          \
        return rc;                                                                                 \
    }

/* Array form: the array is at hc->arg[1] and has hc->arg[2] elements left; both move on with each,
 * so they are right for a continuation. The handler reports through the element; a negative return
 * stops the array with that error. */
#define OP_EACH(nr, name, type, handler, doc)                                                      \
    case nr:                                                                                       \
        while (hc->arg[2]) {                                                                       \
            type arg;                                                                              \
            long rc = guest_read(&arg, hc->arg[1], sizeof(arg)) ?: handler(hc, &arg);              \
            if (rc == 0) {                                                                         \
                rc = guest_write(hc->arg[1], &arg, sizeof(arg));                                   \
            }                                                                                      \
            if (rc) {                                                                              \
                return rc;                                                                         \
            }                                                                                      \
            hc->arg[1] += sizeof(arg);                                                             \
            hc->arg[2]--;                                                                          \
            if (hc->arg[2] && hypercall_preempt_check()) {                                         \
                return -ERESTART;                                                                  \
            }                                                                                      \
        }                                                                                          \
        return 0;

/* Envelopes (struct xen_domctl and its like) are the control domain's alone, begin with command and
 * version, and are copied out again, whole, after success. Errors: -EPERM, -EFAULT, -EACCES wrong
 * version. envelope_out() passes rc on. */
must_check long envelope_in(const struct hypercall *hc, void *op, size_t bytes, uint32_t version);
must_check long envelope_out(const struct hypercall *hc, const void *op, size_t bytes, long rc);

#define ENV(nr, name, member, handler, doc)                                                        \
    case nr:                                                                                       \
        rc = handler(&op.u.member);                                                                \
        break;
#define EXT(nr, name, type, handler, doc)                                                          \
    case nr:                                                                                       \
        rc = handler((type *)&op.u);                                                               \
        break;
