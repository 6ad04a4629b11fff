/* SPDX-License-Identifier: MIT */
/*
 * Taking a sample; see sample.h.
 */
#include "dom0-tools/vane/sample.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BACKENDS "/sys/bus/xen-backend/devices"
#define SECTOR_BYTES 512u
#define PAGE_KIB (HV_PAGE_BYTES / 1024)

/* --- traffic ----------------------------------------------------------------------------- */

/* A number of sysfs; 0 when it cannot be read. */
static uint64_t read_counter(const char *folder, const char *name)
{
    uint64_t number = 0;
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    if (fscanf(file, "%" SCNu64, &number) != 1) {
        number = 0;
    }
    fclose(file);
    return number;
}

static struct usage_domain *find(struct usage_sample *sample, uint32_t domid)
{
    for (size_t i = 0; i < sample->domain_count; i++) {
        if (sample->domains[i].domid == domid) {
            return &sample->domains[i];
        }
    }
    return NULL;
}

/* The interface of a network back end stands in its folder net/. What it received, the guest sent.
 */
static void add_net(struct usage_domain *domain, const char *device)
{
    char folder[256];
    struct dirent *entry;
    DIR *net;

    snprintf(folder, sizeof(folder), BACKENDS "/%s/net", device);
    net = opendir(folder);
    while (net != NULL && (entry = readdir(net)) != NULL) {
        char statistics[640];

        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(statistics, sizeof(statistics), "%s/%s/statistics", folder, entry->d_name);
        domain->net_tx_bytes += read_counter(statistics, "rx_bytes");
        domain->net_rx_bytes += read_counter(statistics, "tx_bytes");
    }
    if (net != NULL) {
        closedir(net);
    }
}

static void add_disk(struct usage_domain *domain, const char *device)
{
    char folder[256];

    snprintf(folder, sizeof(folder), BACKENDS "/%s/statistics", device);
    domain->disk_rd_bytes += read_counter(folder, "rd_sect") * SECTOR_BYTES;
    domain->disk_wr_bytes += read_counter(folder, "wr_sect") * SECTOR_BYTES;
}

/* Back ends are called vif-DOMID-N and vbd-DOMID-N. */
static void read_traffic(struct usage_sample *sample)
{
    DIR *devices = opendir(BACKENDS);
    struct dirent *entry;

    while (devices != NULL && (entry = readdir(devices)) != NULL) {
        struct usage_domain *domain = NULL;
        char type[4];
        unsigned int domid;

        if (strlen(entry->d_name) < 64 && sscanf(entry->d_name, "%3[a-z]-%u-", type, &domid) == 2) {
            domain = find(sample, domid);
        }
        if (domain != NULL && strcmp(type, "vif") == 0) {
            add_net(domain, entry->d_name);
        } else if (domain != NULL && strcmp(type, "vbd") == 0) {
            add_disk(domain, entry->d_name);
        }
    }
    if (devices != NULL) {
        closedir(devices);
    }
}

/* --- processors -------------------------------------------------------------------------- */

static int add_time(struct usage_sample *sample, const struct hv_vcpu_time *time)
{
    struct usage_vcpu *vcpu = usage_add_vcpu(sample);

    if (vcpu == NULL) {
        return -ENOMEM;
    }
    *vcpu = (struct usage_vcpu){
        .vcpu = time->vcpu,
        .pcpu = time->pcpu,
        .online = time->online,
        .used_ns = time->used_ns,
        .system_ns = time->system_ns,
        .ready_ns = time->ready_ns,
        .wait_ns = time->wait_ns,
        .offline_ns = time->offline_ns,
    };
    return 0;
}

/* The same from a hypervisor that counts only the time used. */
static int add_used(const struct look *look, struct usage_sample *sample, uint32_t domid,
                    uint32_t vcpu)
{
    struct xen_domctl_getvcpuinfo info;
    struct hv_vcpu_time time = {.vcpu = vcpu};

    if (hv_vcpu_info(look->hv, domid, vcpu, &info) != 0) {
        return 0;
    }
    time.pcpu = info.cpu;
    time.online = info.online != 0;
    time.used_ns = info.cpu_time;
    return add_time(sample, &time);
}

/* What is gathered before the domains are put together. */
struct readings {
    struct look_domains list;
    struct hv_vcpu_time *times; /* by domain and vCPU */
    size_t time_count;
};

static int add_domain(const struct look *look, struct usage_sample *sample,
                      const struct readings *readings, const struct xen_domctl_getdomaininfo *info)
{
    struct usage_domain *domain = usage_add_domain(sample);
    int rc = domain != NULL ? 0 : -ENOMEM;

    if (rc != 0) {
        return rc;
    }
    domain->domid = info->domain;
    domain->memory_kib = info->tot_pages * PAGE_KIB;
    look_name(look, info->domain, domain->name, sizeof(domain->name));
    if (!sample->has_states) {
        for (uint32_t i = 0; i <= info->max_vcpu_id && rc == 0; i++) {
            rc = add_used(look, sample, info->domain, i);
        }
        return rc;
    }
    for (size_t i = 0; i < readings->time_count && rc == 0; i++) {
        if (readings->times[i].domid == info->domain) {
            rc = add_time(sample, &readings->times[i]);
        }
    }
    return rc;
}

static uint64_t monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int read_host(const struct look *look, struct usage_sample *sample)
{
    struct xen_sysctl_physinfo info;
    int rc = hv_physinfo(look->hv, &info);

    if (rc != 0) {
        return rc;
    }
    sample->pcpus = info.nr_cpus;
    sample->memory_kib = info.total_pages * PAGE_KIB;
    sample->free_kib = info.free_pages * PAGE_KIB;
    if (gethostname(sample->host, sizeof(sample->host) - 1) != 0 || sample->host[0] == '\0') {
        snprintf(sample->host, sizeof(sample->host), "localhost");
    }
    rc = hv_idle_time(look->hv, &sample->idle_ns);
    sample->idle_at_ns = monotonic_ns();
    return rc;
}

int sample_take(const struct look *look, struct usage_sample *sample, struct err *err)
{
    struct readings readings = {0};
    int rc = look_list(look, &readings.list, err);

    *sample = (struct usage_sample){0};
    if (rc != 0) {
        return rc;
    }
    rc = read_host(look, sample);
    if (rc == 0) {
        rc = hv_accounting(look->hv, &readings.times, &readings.time_count, &sample->now_ns);
        sample->has_states = rc == 0;
        if (rc == -ENOSYS || rc == -EOPNOTSUPP) {
            sample->now_ns = monotonic_ns();
            rc = 0;
        }
    }
    for (size_t i = 0; i < readings.list.count && rc == 0; i++) {
        rc = add_domain(look, sample, &readings, &readings.list.infos[i]);
    }
    free(readings.times);
    free(readings.list.infos);
    if (rc != 0) {
        usage_sample_free(sample);
        return look_call_failed(err, rc, "cannot read where processor time went");
    }
    read_traffic(sample);
    return 0;
}
