/* SPDX-License-Identifier: MIT */
/*
 * A sample as OpenMetrics text; see exporter.h.
 *
 * Times and bytes are counters since the domain began, for whoever asks to make rates of; the
 * percentages are those of vane top over the exporter's own period.
 */
#include <inttypes.h>

#include "dom0-tools/top/exporter.h"

/* A text in the quotes of a label. */
static void put_quoted(FILE *to, const char *text)
{
    fputc('"', to);
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            fputs("\\n", to);
            continue;
        }
        if (*text == '"' || *text == '\\') {
            fputc('\\', to);
        }
        fputc(*text, to);
    }
    fputc('"', to);
}

static void put_family(FILE *to, const char *name, const char *type, const char *unit,
                       const char *help)
{
    fprintf(to, "# TYPE paravane_%s %s\n", name, type);
    if (*unit != '\0') {
        fprintf(to, "# UNIT paravane_%s %s\n", name, unit);
    }
    fprintf(to, "# HELP paravane_%s %s\n", name, help);
}

/* The beginning of a domain's line, labels left open. */
static void put_domain(FILE *to, const char *name, uint32_t domid, const char *domain)
{
    fprintf(to, "paravane_%s{id=\"%" PRIu32 "\",name=", name, domid);
    put_quoted(to, domain);
}

/* --- times ------------------------------------------------------------------------------- */

enum state {
    STATE_USED,
    STATE_SYSTEM,
    STATE_READY,
    STATE_WAIT,
    STATE_OFFLINE,
    STATE_COUNT,
};

static const char *const state_names[STATE_COUNT] = {"used", "system", "ready", "wait", "offline"};

static uint64_t state_ns(const struct usage_sample *sample, const struct usage_domain *domain,
                         enum state state)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < domain->vcpu_count; i++) {
        const struct usage_vcpu *vcpu = &sample->vcpus[domain->first_vcpu + i];
        const uint64_t times[STATE_COUNT] = {vcpu->used_ns, vcpu->system_ns, vcpu->ready_ns,
                                             vcpu->wait_ns, vcpu->offline_ns};

        sum += times[state];
    }
    return sum;
}

static void put_seconds(FILE *to, uint64_t ns)
{
    fprintf(to, "%" PRIu64 ".%09" PRIu64 "\n", ns / 1000000000, ns % 1000000000);
}

static void put_times(FILE *to, const struct usage_sample *sample)
{
    put_family(to, "domain_cpu_seconds", "counter", "seconds",
               "Time of all vCPUs of a domain in each state.");
    for (size_t i = 0; i < sample->domain_count; i++) {
        const struct usage_domain *domain = &sample->domains[i];

        for (enum state state = 0; state < (sample->has_states ? STATE_COUNT : 1); state++) {
            put_domain(to, "domain_cpu_seconds_total", domain->domid, domain->name);
            fprintf(to, ",state=\"%s\"} ", state_names[state]);
            put_seconds(to, state_ns(sample, domain, state));
        }
    }
}

/* --- percentages ------------------------------------------------------------------------- */

static void put_percentages(FILE *to, const struct usage_report *report)
{
    static const struct {
        const char *name;
        enum usage_column column;
    } figures[] = {
        {"used", USAGE_USED}, {"system", USAGE_SYSTEM}, {"ready", USAGE_READY},
        {"wait", USAGE_WAIT}, {"demand", USAGE_DEMAND},
    };
    size_t count = report->has_states ? sizeof(figures) / sizeof(figures[0]) : 1;

    put_family(to, "domain_cpu_percent", "gauge", "percent",
               "Percent of one processor over the exporter's last period, and the demand.");
    for (size_t i = 0; i < report->row_count; i++) {
        for (size_t f = 0; f < count; f++) {
            char text[USAGE_CELL_BYTES];

            usage_cell(report, &report->rows[i], figures[f].column, text);
            put_domain(to, "domain_cpu_percent", report->rows[i].domid, report->rows[i].name);
            fprintf(to, ",figure=\"%s\"} %s\n", figures[f].name, text);
        }
    }
}

/* --- the rest ---------------------------------------------------------------------------- */

/* A family with one number of each domain. */
struct family {
    const char *name;
    const char *type;
    const char *suffix; /* of the lines of a counter */
    const char *unit;
    const char *help;
    uint64_t (*number)(const struct usage_sample *sample, const struct usage_domain *domain);
};

static uint64_t online(const struct usage_sample *sample, const struct usage_domain *domain)
{
    uint64_t count = 0;

    for (size_t i = 0; i < domain->vcpu_count; i++) {
        count += sample->vcpus[domain->first_vcpu + i].online;
    }
    return count;
}

static uint64_t memory(const struct usage_sample *sample, const struct usage_domain *domain)
{
    (void)sample;
    return domain->memory_kib * 1024;
}

static uint64_t net_rx(const struct usage_sample *sample, const struct usage_domain *domain)
{
    (void)sample;
    return domain->net_rx_bytes;
}

static uint64_t net_tx(const struct usage_sample *sample, const struct usage_domain *domain)
{
    (void)sample;
    return domain->net_tx_bytes;
}

static uint64_t disk_rd(const struct usage_sample *sample, const struct usage_domain *domain)
{
    (void)sample;
    return domain->disk_rd_bytes;
}

static uint64_t disk_wr(const struct usage_sample *sample, const struct usage_domain *domain)
{
    (void)sample;
    return domain->disk_wr_bytes;
}

static const struct family families[] = {
    {"domain_vcpus_online", "gauge", "", "", "vCPUs a domain uses.", online},
    {"domain_memory_bytes", "gauge", "", "bytes", "Memory a domain owns.", memory},
    {"domain_net_receive_bytes", "counter", "_total", "bytes", "What it received.", net_rx},
    {"domain_net_transmit_bytes", "counter", "_total", "bytes", "What it sent.", net_tx},
    {"domain_disk_read_bytes", "counter", "_total", "bytes", "What it read.", disk_rd},
    {"domain_disk_write_bytes", "counter", "_total", "bytes", "What it wrote.", disk_wr},
};

static void put_host(FILE *to, const struct usage_sample *sample)
{
    put_family(to, "host_processors", "gauge", "", "Processors of the machine.");
    fprintf(to, "paravane_host_processors %" PRIu32 "\n", sample->pcpus);
    put_family(to, "host_idle_seconds", "counter", "seconds", "Idle time of all processors.");
    fputs("paravane_host_idle_seconds_total ", to);
    put_seconds(to, sample->idle_ns);
    put_family(to, "host_memory_bytes", "gauge", "bytes", "Memory of the machine.");
    fprintf(to, "paravane_host_memory_bytes %" PRIu64 "\n", sample->memory_kib * 1024);
    put_family(to, "host_free_memory_bytes", "gauge", "bytes", "Memory nobody owns.");
    fprintf(to, "paravane_host_free_memory_bytes %" PRIu64 "\n", sample->free_kib * 1024);
}

void exporter_write(FILE *to, const struct usage_sample *sample, const struct usage_report *report)
{
    put_host(to, sample);
    put_times(to, sample);
    put_percentages(to, report);
    for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++) {
        const struct family *family = &families[f];

        put_family(to, family->name, family->type, family->unit, family->help);
        for (size_t i = 0; i < sample->domain_count; i++) {
            const struct usage_domain *domain = &sample->domains[i];
            char name[64];

            snprintf(name, sizeof(name), "%s%s", family->name, family->suffix);
            put_domain(to, name, domain->domid, domain->name);
            fprintf(to, "} %" PRIu64 "\n", family->number(sample, domain));
        }
    }
    fputs("# EOF\n", to);
}
