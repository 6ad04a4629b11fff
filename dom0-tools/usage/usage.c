/* SPDX-License-Identifier: MIT */
/*
 * Samples and what two of them say; see usage.h.
 */
#include "dom0-tools/usage/usage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- samples ----------------------------------------------------------------------------- */

/* Makes room for one element more; lists grow by doubling, so at powers of two. */
static void *grow(void *list, size_t count, size_t element_bytes)
{
    if (count != 0 && (count & (count - 1)) != 0) {
        return list;
    }
    return realloc(list, (count != 0 ? 2 * count : 1) * element_bytes);
}

struct usage_domain *usage_add_domain(struct usage_sample *sample)
{
    struct usage_domain *list = grow(sample->domains, sample->domain_count, sizeof(*list));

    if (list == NULL) {
        return NULL;
    }
    sample->domains = list;
    list += sample->domain_count++;
    memset(list, 0, sizeof(*list));
    list->first_vcpu = sample->vcpu_count;
    return list;
}

struct usage_vcpu *usage_add_vcpu(struct usage_sample *sample)
{
    struct usage_vcpu *list = grow(sample->vcpus, sample->vcpu_count, sizeof(*list));

    if (list == NULL) {
        return NULL;
    }
    sample->vcpus = list;
    list += sample->vcpu_count++;
    memset(list, 0, sizeof(*list));
    sample->domains[sample->domain_count - 1].vcpu_count++;
    return list;
}

void usage_sample_free(struct usage_sample *sample)
{
    free(sample->domains);
    free(sample->vcpus);
    *sample = (struct usage_sample){0};
}

/* --- comparing --------------------------------------------------------------------------- */

/* What an absent counterpart counts as. */
static const struct usage_domain no_domain;
static const struct usage_vcpu no_vcpu;

static const struct usage_domain *find_domain(const struct usage_sample *sample, uint32_t domid)
{
    size_t low = 0;
    size_t high = sample->domain_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (sample->domains[middle].domid < domid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < sample->domain_count && sample->domains[low].domid == domid ? &sample->domains[low]
                                                                             : &no_domain;
}

static const struct usage_vcpu *find_vcpu(const struct usage_sample *sample,
                                          const struct usage_domain *domain, uint32_t vcpu)
{
    for (size_t i = 0; i < domain->vcpu_count; i++) {
        if (sample->vcpus[domain->first_vcpu + i].vcpu == vcpu) {
            return &sample->vcpus[domain->first_vcpu + i];
        }
    }
    return &no_vcpu;
}

static bool ran_backwards(const struct usage_vcpu *before, const struct usage_vcpu *after)
{
    return after->used_ns < before->used_ns || after->system_ns < before->system_ns ||
           after->ready_ns < before->ready_ns || after->wait_ns < before->wait_ns ||
           after->offline_ns < before->offline_ns;
}

/* A vCPU's part of a period of all. Its own period may be shorter: it may be new. */
static struct usage_cpu compare_vcpu(const struct usage_vcpu *before,
                                     const struct usage_vcpu *after, double period_ns)
{
    double used = (double)(after->used_ns - before->used_ns);
    double system = (double)(after->system_ns - before->system_ns);
    double ready = (double)(after->ready_ns - before->ready_ns);
    double wait = (double)(after->wait_ns - before->wait_ns);
    double offline = (double)(after->offline_ns - before->offline_ns);
    double ran = used + system;
    double own_way = ran + wait + offline; /* its period without the time in which it was ready */
    double demand = own_way > 0 ? ran / own_way : ready > 0 ? 1 : 0;

    return (struct usage_cpu){
        .used = 100 * used / period_ns,
        .system = 100 * system / period_ns,
        .ready = 100 * ready / period_ns,
        .wait = 100 * wait / period_ns,
        .offline = 100 * offline / period_ns,
        .demand = 100 * demand,
    };
}

static void add_cpu(struct usage_cpu *sum, const struct usage_cpu *part)
{
    sum->used += part->used;
    sum->system += part->system;
    sum->ready += part->ready;
    sum->wait += part->wait;
    sum->offline += part->offline;
    sum->demand += part->demand;
}

static double rate(uint64_t before, uint64_t after, double period_s)
{
    /* A device that went and came back counts from nothing. */
    return (double)(after >= before ? after - before : after) / period_s;
}

/* Whether a domain of this number in both samples is the same one. */
static bool is_same(const struct usage_sample *before, const struct usage_domain *was,
                    const struct usage_sample *after, const struct usage_domain *is)
{
    for (size_t i = 0; i < is->vcpu_count; i++) {
        const struct usage_vcpu *now = &after->vcpus[is->first_vcpu + i];

        if (ran_backwards(find_vcpu(before, was, now->vcpu), now)) {
            return false;
        }
    }
    return true;
}

static void compare_domain(const struct usage_sample *before, const struct usage_sample *after,
                           const struct usage_domain *is, struct usage_report *report)
{
    const struct usage_domain *was = find_domain(before, is->domid);
    struct usage_row *row = &report->rows[report->row_count++];

    if (!is_same(before, was, after, is)) {
        was = &no_domain;
    }
    *row = (struct usage_row){
        .domid = is->domid,
        .memory_kib = is->memory_kib,
        .net_rx = rate(was->net_rx_bytes, is->net_rx_bytes, report->period_s),
        .net_tx = rate(was->net_tx_bytes, is->net_tx_bytes, report->period_s),
        .disk_rd = rate(was->disk_rd_bytes, is->disk_rd_bytes, report->period_s),
        .disk_wr = rate(was->disk_wr_bytes, is->disk_wr_bytes, report->period_s),
        .first_vcpu = report->vcpu_count,
        .vcpu_count = is->vcpu_count,
    };
    memcpy(row->name, is->name, sizeof(row->name));
    for (size_t i = 0; i < is->vcpu_count; i++) {
        const struct usage_vcpu *now = &after->vcpus[is->first_vcpu + i];
        struct usage_vcpu_row *line = &report->vcpus[report->vcpu_count++];

        *line = (struct usage_vcpu_row){
            .vcpu = now->vcpu,
            .pcpu = now->pcpu,
            .online = now->online,
            .cpu = compare_vcpu(find_vcpu(before, was, now->vcpu), now, report->period_s * 1e9),
        };
        add_cpu(&row->cpu, &line->cpu);
        row->online_vcpus += now->online ? 1 : 0;
    }
}

static void add_row(struct usage_row *total, const struct usage_row *row)
{
    add_cpu(&total->cpu, &row->cpu);
    total->online_vcpus += row->online_vcpus;
    total->memory_kib += row->memory_kib;
    total->net_rx += row->net_rx;
    total->net_tx += row->net_tx;
    total->disk_rd += row->disk_rd;
    total->disk_wr += row->disk_wr;
}

int usage_compare(const struct usage_sample *before, const struct usage_sample *after,
                  struct usage_report *report, struct err *err)
{
    *report = (struct usage_report){
        .has_states = after->has_states,
        .pcpus = after->pcpus,
        .memory_kib = after->memory_kib,
        .free_kib = after->free_kib,
    };
    memcpy(report->host, after->host, sizeof(report->host));
    if (after->now_ns <= before->now_ns) {
        return err_set(err, EINVAL, "no time has passed between two looks at the domains");
    }
    report->period_s = (double)(after->now_ns - before->now_ns) / 1e9;

    /* On a busy host there may be long between two readings that make one sample. */
    double idle_s = after->idle_at_ns > before->idle_at_ns
                        ? (double)(after->idle_at_ns - before->idle_at_ns) / 1e9
                        : report->period_s;

    report->idle = rate(before->idle_ns, after->idle_ns, idle_s) / 1e7;
    report->rows = calloc(after->domain_count + 1, sizeof(*report->rows));
    report->vcpus = calloc(after->vcpu_count + 1, sizeof(*report->vcpus));
    if (report->rows == NULL || report->vcpus == NULL) {
        usage_report_free(report);
        return err_set(err, ENOMEM, "no memory");
    }
    for (size_t i = 0; i < after->domain_count; i++) {
        compare_domain(before, after, &after->domains[i], report);
        add_row(&report->total, &report->rows[i]);
    }
    return 0;
}

void usage_report_free(struct usage_report *report)
{
    free(report->rows);
    free(report->vcpus);
    *report = (struct usage_report){0};
}
