/* SPDX-License-Identifier: MIT */
/*
 * The command stats: all counters of the guests once, for scripts; vane top turns the same counters
 * into percentages and rates.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dom0-tools/vane/look.h"
#include "dom0-tools/vane/sample.h"
#include "dom0-tools/vane/vane.h"

struct figure {
    const char *name;
    uint64_t value;
};

#define FIGURES 10u

/* The figures of one domain, sums over its vCPUs. */
static void figures_of(const struct usage_sample *sample, const struct usage_domain *domain,
                       struct figure figures[FIGURES])
{
    uint64_t used = 0, system = 0, ready = 0, wait = 0, offline = 0;

    for (size_t i = 0; i < domain->vcpu_count; i++) {
        const struct usage_vcpu *vcpu = &sample->vcpus[domain->first_vcpu + i];

        used += vcpu->used_ns;
        system += vcpu->system_ns;
        ready += vcpu->ready_ns;
        wait += vcpu->wait_ns;
        offline += vcpu->offline_ns;
    }

    const struct figure all[FIGURES] = {
        {"cpu_used_ns", used},
        {"cpu_system_ns", system},
        {"cpu_ready_ns", ready},
        {"cpu_wait_ns", wait},
        {"cpu_offline_ns", offline},
        {"memory_kib", domain->memory_kib},
        {"net_received_bytes", domain->net_rx_bytes},
        {"net_sent_bytes", domain->net_tx_bytes},
        {"disk_read_bytes", domain->disk_rd_bytes},
        {"disk_written_bytes", domain->disk_wr_bytes},
    };

    memcpy(figures, all, sizeof(all));
}

static void print_domain(const struct usage_sample *sample, const struct usage_domain *domain)
{
    struct figure figures[FIGURES];

    figures_of(sample, domain, figures);
    printf("%s.id=%u\n", domain->name, domain->domid);
    printf("%s.vcpus=%zu\n", domain->name, domain->vcpu_count);
    for (size_t i = 0; i < FIGURES; i++) {
        printf("%s.%s=%" PRIu64 "\n", domain->name, figures[i].name, figures[i].value);
    }
}

static struct json_object *json_of(const struct usage_sample *sample,
                                   const struct usage_domain *domain)
{
    struct json_object *out = json_object_new_object();
    struct figure figures[FIGURES];

    figures_of(sample, domain, figures);
    json_object_object_add(out, "id", json_object_new_int64(domain->domid));
    json_object_object_add(out, "name", json_object_new_string(domain->name));
    json_object_object_add(out, "vcpus", json_object_new_uint64(domain->vcpu_count));
    for (size_t i = 0; i < FIGURES; i++) {
        json_object_object_add(out, figures[i].name, json_object_new_uint64(figures[i].value));
    }
    return out;
}

static int show(const struct vane_args *args, const struct usage_sample *sample,
                const uint32_t *only)
{
    struct json_object *array = args->json ? json_object_new_array() : NULL;

    for (size_t i = 0; i < sample->domain_count; i++) {
        const struct usage_domain *domain = &sample->domains[i];

        if (only != NULL && domain->domid != *only) {
            continue;
        }
        if (array != NULL) {
            json_object_array_add(array, json_of(sample, domain));
        } else {
            print_domain(sample, domain);
        }
    }
    return array != NULL ? vane_print_json(array) : VANE_OK;
}

static int run_stats(const struct vane_args *args)
{
    struct xen_domctl_getdomaininfo info;
    struct usage_sample sample = {.domains = NULL};
    struct err err = {0};
    uint32_t only = 0;
    struct look look;
    int status = VANE_OK;

    if (look_open(&look, true, &err) != 0) {
        return vane_fail(&err);
    }

    int rc = args->count > 0 ? look_find(&look, args->operands[0], &info, &err) : 0;

    if (rc == 0) {
        only = args->count > 0 ? info.domain : 0;
        rc = sample_take(&look, &sample, &err);
    }
    if (rc == 0) {
        status = show(args, &sample, args->count > 0 ? &only : NULL);
        usage_sample_free(&sample);
    }
    look_close(&look);
    return rc == 0 ? status : vane_fail(&err);
}

const struct vane_command vane_commands_stats[] = {
    {
        .name = "stats",
        .operands = "[DOMAIN]",
        .summary = "print all counters of a domain, or of all, once",
        .details = "A line is DOMAIN.FIGURE=NUMBER. Times are sums over the vCPUs since they were "
                   "made; traffic is as the guest sees it. vane top shows rates.",
        .max_operands = 1,
        .json = true,
        .run = run_stats,
    },
    {.name = NULL},
};
