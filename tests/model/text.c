// SPDX-License-Identifier: MIT
/* Steps as text: a word, who, how, and the arguments in hexadecimal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

const char *const step_name[STEP_COUNT] = {
#define STEP(op, name) [STEP_##op] = name,
#include "steps.def"
#undef STEP
};

void step_print(const struct step *s, char *line, size_t bytes)
{
    size_t at = (size_t)snprintf(line, bytes, "%-8s d%u v%u p%u l%u f%u :", step_name[s->op],
                                 s->dom, s->vcpu, s->preempt, s->lazy, s->fail);
    for (unsigned i = 0; i < s->count && at < bytes; i++) {
        const char *form = s->arg[i] > 0xffff || s->arg[i] < -0xffff ? " 0x%lx" : " %ld";
        at += (size_t)snprintf(line + at, bytes - at, form, (unsigned long)s->arg[i]);
    }
}

bool step_parse(const char *line, struct step *s)
{
    char word[16];
    unsigned dom, vcpu, preempt, lazy, fail;
    int used = 0;
    memset(s, 0, sizeof(*s));
    if (sscanf(line, "%15s d%u v%u p%u l%u f%u :%n", word, &dom, &vcpu, &preempt, &lazy, &fail,
               &used) != 6 ||
        !used || dom >= MODEL_DOMS || vcpu >= MODEL_VCPUS) {
        return false;
    }
    s->op = STEP_COUNT;
    for (unsigned i = 0; i < STEP_COUNT; i++) {
        if (!strcmp(word, step_name[i])) {
            s->op = (uint8_t)i;
        }
    }
    s->dom = (uint8_t)dom;
    s->vcpu = (uint8_t)vcpu;
    s->preempt = (uint8_t)preempt;
    s->lazy = (uint8_t)lazy;
    s->fail = (uint8_t)fail;
    const char *at = line + used;
    while (s->op < STEP_COUNT && s->count < STEP_ARGS) {
        char *end;
        long long value = *at == ' ' && at[1] == '0' && at[2] == 'x'
                              ? (long long)strtoull(at, &end, 16)
                              : strtoll(at, &end, 10);
        if (end == at) {
            break;
        }
        s->arg[s->count++] = value;
        at = end;
    }
    return s->op < STEP_COUNT;
}
