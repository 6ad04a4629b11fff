/* SPDX-License-Identifier: MIT */
/*
 * pv/insn.c, pv/priv_emul.c, pv/ioport.c, pv/msr.c: instructions of a guest from their bytes.
 * Input: flags, then registers one after the other as the flags' mask of given ones says, then the
 * code, which lies at the end of mapped memory. Decoding must not depend on bytes behind the
 * instruction; emulation changes nothing when it refuses, and never what a guest may not choose.
 */
#include "pv/insn.h"
#include "base/lock.h"
#include "core/frame.h"
#include "fuzz.h"
#include "host.h"
#include "pv/emul.h"
#include "pv/page_type.h"

const size_t fuzz_max_bytes = 256;

#define END_OF_WINDOW (HOST_GUEST_BASE + HOST_GUEST_BYTES)
#define HANDLER 0xffffffff81000000UL

static struct domain *domain[2]; /* the first is privileged, but its end is not the machine's */

static struct domain *create(domid_t id, bool privileged)
{
    const struct domain_limits limits = {.max_vcpus = 1,
                                         .max_evtchn_port = MAX_EVTCHNS - 1,
                                         .max_grant_frames = 1,
                                         .max_maptrack_frames = 1};
    struct domain *d = NULL;
    FUZZ_CHECK(domain_create(id, &limits, privileged, &d) == 0);
    d->vcpu[0]->initialised = true;
    for (unsigned vector = 0; vector < ARRAY_SIZE(d->vcpu[0]->pv.trap); vector++) {
        d->vcpu[0]->pv.trap[vector] =
            (struct trap_info){(uint8_t)vector, 0, SEL_GUEST_CS64, HANDLER + vector};
    }
    return d;
}

void fuzz_start(void)
{
    host_start(1);
    domain[0] = create(2, true);
    domain[1] = create(1, false);
}

/* ---- decoding ---- */

static bool is_register(unsigned nr)
{
    return nr < 16 || nr == INSN_NO_REG || nr == INSN_REG_RIP;
}

static bool is_width(unsigned bytes)
{
    return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
}

static void check_insn(const struct insn *insn, unsigned count)
{
    FUZZ_CHECK(insn->bytes > 0 && insn->bytes <= count && insn->bytes <= INSN_BYTES_MAX);
    FUZZ_CHECK(is_width(insn->operand) && (insn->address == 4 || insn->address == 8));
    FUZZ_CHECK(insn->reg < 16 && (insn->is_mem || insn->rm < 16));
    if (insn->is_mem) {
        FUZZ_CHECK(is_register(insn->base) && is_register(insn->index) && insn->scale <= 8);
    }
    FUZZ_CHECK(insn->store <= STORE_BTC);
}

static void decode(const uint8_t *code, unsigned count, bool mode64)
{
    struct insn insn, again;
    memset(&insn, 0, sizeof(insn));
    memset(&again, 0, sizeof(again));
    uint8_t *copy = fuzz_copy(code, count);
    int rc = insn_decode(copy, count, mode64, &insn);
    free(copy);
    FUZZ_CHECK(rc == 0 || rc == -EINVAL || rc == -ENODATA);
    if (rc) {
        return;
    }
    check_insn(&insn, count);
    /* Its own bytes are enough, one less is not. */
    copy = fuzz_copy(code, insn.bytes);
    FUZZ_CHECK(insn_decode(copy, insn.bytes, mode64, &again) == 0);
    FUZZ_CHECK(again.bytes == insn.bytes && again.opcode == insn.opcode &&
               again.disp == insn.disp && again.imm == insn.imm && again.store == insn.store);
    free(copy);
    copy = fuzz_copy(code, insn.bytes - 1U);
    FUZZ_CHECK(insn_decode(copy, insn.bytes - 1U, mode64, &again) == -ENODATA);
    free(copy);
}

/* ---- running ---- */

static void store(const struct cpu_user_regs *from, uint64_t old)
{
    struct insn_store s;
    struct cpu_user_regs regs = *from;
    int rc = insn_decode_store(&regs, &s);
    FUZZ_CHECK(rc == 0 || rc == -EFAULT || rc == -EINVAL);
    FUZZ_CHECK(!memcmp(&regs, from, sizeof(regs)));
    if (rc == 0) {
        uint64_t value = 0;
        FUZZ_CHECK(s.insn.is_mem && s.insn.store != STORE_NONE);
        old &= insn_width_mask(s.insn.operand);
        if (insn_store_value(&s, &regs, old, &value)) {
            FUZZ_CHECK((value & ~insn_width_mask(s.insn.operand)) == 0);
        }
        insn_store_finish(&s, &regs, old);
        FUZZ_CHECK(regs.rip == from->rip + s.insn.bytes);
        FUZZ_CHECK(((regs.rflags ^ from->rflags) & ~0x8d5UL) == 0);
    }
}

/* What emulation may leave in the registers. */
static void check_regs(const struct vcpu *v, const struct cpu_user_regs *before)
{
    const struct cpu_user_regs *regs = guest_regs();
    spin_assert_none_held();
    FUZZ_CHECK((regs->cs & 3) == 3 && (regs->ss & 3) == 3);
    FUZZ_CHECK((regs->rflags & 0x200) != 0); /* interrupts stay on */
    FUZZ_CHECK((regs->rflags & 0x3000) == (before->rflags & 0x3000));
    FUZZ_CHECK(is_canonical(host.fs_base) && is_canonical(host.gs_base_kernel) &&
               is_canonical(host.gs_base_user));
    FUZZ_CHECK((host.xcr0 & ~arch_facts.xcr0_mask) == 0);
    FUZZ_CHECK(v->domain->privileged || host.ports_written == 0);
}

static void run(struct vcpu *v, const struct cpu_user_regs *regs, unsigned what)
{
    *guest_regs() = *regs;
    bool done;
    if (what == 0) {
        done = priv_emul_gp(v, guest_regs());
    } else if (what == 1) {
        done = priv_emul_ud(v, guest_regs());
    } else {
        done = pt_write_fault(v, guest_regs(), regs->rdi);
    }
    if (!done) {
        FUZZ_CHECK(!memcmp(guest_regs(), regs, sizeof(*regs)));
    }
    check_regs(v, regs);
    FUZZ_CHECK(host.double_fetches == 0);
}

static void registers(struct fuzz_in *in, struct cpu_user_regs *regs, uint64_t given)
{
    uint64_t *reg[] = {&regs->rax, &regs->rcx, &regs->rdx, &regs->rbx, &regs->rsi,
                       &regs->rdi, &regs->rbp, &regs->r8,  &regs->r15, &regs->rsp};
    for (unsigned i = 0; i < ARRAY_SIZE(reg); i++) {
        *reg[i] = HOST_GUEST_BASE + i * 0x1000;
        if (given >> i & 1) {
            *reg[i] = fuzz_number(in, 8);
        }
    }
    if (given >> 10 & 1) {
        regs->rflags |= fuzz_number(in, 4) & 0xcd5; /* what a guest chooses */
    }
}

void fuzz_one(const uint8_t *data, size_t bytes)
{
    struct fuzz_in in = {data, bytes};
    uint8_t flags = fuzz_byte(&in);
    struct vcpu *v = domain[flags & 1]->vcpu[0];
    struct cpu_user_regs regs = {
        .cs = flags & 8 ? SEL_GUEST_CS32 : SEL_GUEST_CS64, .ss = SEL_GUEST_DS, .rflags = 0x202};
    host_reset();
    host.fs_base = host.gs_base_kernel = host.gs_base_user = host.xcr0 = 0;
    host_current[0] = v;
    host_regs[0] = regs;
    const struct pv_vcpu before = v->pv;
    v->pv.kernel_mode = flags & 2;
    v->pv.iopl = flags & 4 ? 3 : 0;
    registers(&in, &regs, fuzz_number(&in, 2));
    uint64_t old = fuzz_number(&in, 8);
    size_t count = in.left < INSN_BYTES_MAX + 1 ? in.left : INSN_BYTES_MAX + 1;
    regs.rip = END_OF_WINDOW - count;
    if (count) {
        memcpy(host_guest_ptr(regs.rip), in.at, count);
    }
    decode(in.at, (unsigned)count, !(flags & 8));
    host_fetch_reset();
    store(&regs, old);
    v->pv.kernel_sp = HOST_GUEST_BASE + 0x20000;
    for (unsigned what = 0; what < 3; what++) {
        host_fetch_reset();
        run(v, &regs, what);
    }
    v->pv = before;
    host_current[0] = vcpu_idle(0);
}
