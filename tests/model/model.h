// SPDX-License-Identifier: MIT
/*
 * The model checker of the PV MMU: random sequences of steps by several domains on a fake machine,
 * each followed by a recount of every reference and type from scratch.
 *
 *   main.c    arguments, a child process for each run, shrinking, replay
 *   gen.c     chooses the next step from a seed; mostly plausible ones
 *   text.c    steps as lines of text
 *   run.c     plays a step: whose turn it is, continuations, hypercalls
 *   race.c    where a second pcpu's call may come between
 *   calls.c   arguments and results of the hypercalls
 *   oracle.c  the recount
 *
 * Frames are named by domain and slot, not by number, so that a sequence still means something when
 * steps are left out of it.
 */
#pragma once

#include "core/hypercall.h"
#include "host.h"

#define MODEL_CPUS 3
#define MODEL_DOMS 4
#define MODEL_VCPUS 2
#define MODEL_PAGES 40   /* slots of a domain: names of frames */
#define MODEL_IMAGE 24   /* of these filled when it is built */
#define MODEL_HANDLES 16 /* names of grant handles */
#define MODEL_MEM_PAGES 48

/* ---- steps ---- */

enum step_op {
#define STEP(op, name) STEP_##op,
#include "steps.def"
#undef STEP
    STEP_COUNT
};

#define STEP_ARGS 20
struct step {
    uint8_t op;  /* enum step_op */
    uint8_t dom; /* who does it */
    uint8_t vcpu;
    uint8_t preempt; /* every n-th question whether to stop is answered with yes; 0 never */
    uint8_t lazy;    /* what was preempted is left as it is */
    uint8_t fail;    /* the n-th allocation fails; from 100 on: the n-th guest access; 0 none */
    uint8_t count;   /* arguments */
    int64_t arg[STEP_ARGS];
};

/* text.c */
extern const char *const step_name[STEP_COUNT];
void step_print(const struct step *s, char *line, size_t bytes);
/* False: not a step. */
bool step_parse(const char *line, struct step *s);

/* ---- frame names ---- */

#define REF(dom, page) ((dom)*1000 + (page))
enum special_ref {
    REF_IO = 9000,                        /* reserved memory below the heap */
    REF_DEVICE,                           /* beyond RAM */
    REF_DENIED,                           /* a device nobody may map */
    REF_FAR,                              /* beyond the address width */
    REF_HUGE,                             /* no frame number at all */
    REF_SHARED,                           /* + domain: its shared information page */
    REF_GRANTS = REF_SHARED + MODEL_DOMS, /* + domain: first frame of its grant table */
    REF_END = REF_GRANTS + MODEL_DOMS
};

/* ---- the world ---- */

struct call {
    uint64_t nr, arg[6];
    void *out; /* where results are, in the window */
};

#define CALLS_MAX 8
#define ACTOR_WINDOW 0x10000UL /* bytes of a vCPU's window */
#define ACTOR_STACK 0x2000UL   /* of these for its stack */
struct actor {
    bool set_up;    /* has handlers and a stack */
    bool busy;      /* a call is to be continued */
    vaddr_t window; /* its arguments */
    size_t used;
    unsigned calls; /* of the call under way: more than one, a multicall */
    struct step step[CALLS_MAX];
    struct call call[CALLS_MAX];
    bool multicall;
};

struct model_dom {
    bool alive, dying;
    domid_t id;
    struct domain *d;        /* while alive or dying */
    mfn_t page[MODEL_PAGES]; /* 0: none */
    mfn_t grants, shared;
    uint32_t handle[MODEL_HANDLES]; /* UINT32_MAX: none */
    struct actor actor[MODEL_VCPUS];
};
extern struct model_dom world[MODEL_DOMS];

mfn_t ref_mfn(int64_t ref);

/* run.c */
void world_start(void);
void world_play(const struct step *s);
/* Everything is taken down; nothing may be left. */
void world_end(void);
/* May vcpu run? */
bool actor_usable(unsigned dom, unsigned vcpu);

/* calls.c: arguments of a step into the actor's window; false: it is not a hypercall or makes no
 * sense now. And its results; alone: nothing else has happened since its last part began. */
bool call_build(const struct step *s, struct actor *a, struct call *c);
void call_done(const struct step *s, const struct call *c, long rc, bool alone);
void check_entry(mfn_t mfn, uint64_t index, uint64_t value, uint64_t free_bits);
void *actor_put(struct actor *a, const void *src, size_t bytes, vaddr_t *va);

/* gen.c */
void gen_seed(uint64_t seed, unsigned preempt_percent);
void gen_step(struct step *s);

/* race.c: play `play` at the nth point from now where this pcpu holds no lock; 0: never. */
void race_at(unsigned nth, void (*play)(void));
bool race_pending(void);
/* It was played at the last point there was. */
bool race_just_now(void);

/* oracle.c */
void oracle_start(void);
void oracle_check(void);
/* The model found something wrong: report and end this run. */
noreturn void model_fail(const char *check, const char *fmt, ...) format_printf(2, 3);
