/* SPDX-License-Identifier: MIT */
/*
 * The processors of a configuration: <vcpu> and <cputune>.
 *
 * libvirt has no word for a cap; its bandwidth limit of a whole domain, <global_quota> of
 * microseconds in every <global_period>, says the same and is taken as one. Which vCPUs a pin may
 * name is known only when the whole document has been read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/config/config_internal.h"
#include "dom0-tools/config/values.h"

/* libvirt's limits and default, in microseconds. */
#define PERIOD_MIN 1000u
#define PERIOD_MAX 1000000u
#define PERIOD_DEFAULT 100000u
#define QUOTA_MIN 1000u

static struct vane_config *config_of(struct xml_reader *reader)
{
    return loading_of(reader)->config;
}

/* --- vcpu -------------------------------------------------------------------------------- */

static int parse_vcpus(struct xml_reader *reader, xmlNodePtr node, const char *text,
                       unsigned int *count)
{
    uint64_t number;

    if (!value_number(text, &number) || number < 1 || number > CONFIG_MAX_VCPUS) {
        return xml_error(reader, node, "'%.64s' is not a number of processors from 1 to %u", text,
                         CONFIG_MAX_VCPUS);
    }
    *count = (unsigned int)number;
    return 0;
}

static int read_current(struct xml_reader *reader, xmlNodePtr node)
{
    struct vane_config *config = config_of(reader);
    char *current;
    int rc = xml_attribute(reader, node, "current", &current);

    if (rc != 0 || current == NULL) {
        return rc;
    }
    loading_of(reader)->has_current_vcpus = true;
    rc = parse_vcpus(reader, node, current, &config->current_vcpus);
    if (rc == 0 && config->current_vcpus > config->vcpus) {
        rc = xml_error(reader, node, "current='%u' is more than the %u there are",
                       config->current_vcpus, config->vcpus);
    }
    free(current);
    return rc;
}

static bool is_plain(const char *text)
{
    bool out = false;

    for (; *text != '\0'; text++) {
        if (strchr("0123456789-,^", *text) == NULL || (out && *text == '-')) {
            return false;
        }
        out = *text == '^' || (out && *text != ',');
    }
    return true;
}

/* Takes the attribute cpuset, if it is there. */
static int read_cpuset(struct xml_reader *reader, xmlNodePtr node, struct cpuset *set)
{
    char *text;
    int rc = xml_attribute(reader, node, "cpuset", &text);

    /* What xl has besides, the word "all" and ^N-M, libvirt does not. */
    if (rc == 0 && text != NULL && (!is_plain(text) || cpuset_parse(text, set) != 0)) {
        rc = xml_error(reader, node, "cpuset='%.64s' is no list such as '0-3,^2'", text);
    }
    free(text);
    return rc;
}

int config_read_vcpu(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const placements[] = {"static", NULL};
    struct vane_config *config = config_of(reader);
    char *text;
    int rc = xml_exact(reader, node, &text);

    if (rc != 0) {
        return rc;
    }
    rc = parse_vcpus(reader, node, text, &config->vcpus);
    free(text);
    if (rc == 0) {
        rc = xml_attribute_choice(reader, node, "placement", placements, NULL);
    }
    rc = rc != 0 ? rc : read_current(reader, node);
    return rc != 0 ? rc : read_cpuset(reader, node, &loading_of(reader)->cpuset);
}

/* --- cputune ----------------------------------------------------------------------------- */

/* Takes an element's number between bounds. */
static int read_bounded(struct xml_reader *reader, xmlNodePtr node, uint64_t min, uint64_t max,
                        uint64_t *number)
{
    char *text;
    int rc = xml_exact(reader, node, &text);

    if (rc != 0) {
        return rc;
    }
    if (!value_number(text, number) || *number < min || *number > max) {
        rc = xml_error(reader, node, "'%.64s' is not a number from %llu to %llu", text,
                       (unsigned long long)min, (unsigned long long)max);
    }
    free(text);
    return rc;
}

static int read_shares(struct xml_reader *reader, xmlNodePtr node)
{
    uint64_t shares = 0;
    int rc = read_bounded(reader, node, 1, CONFIG_MAX_WEIGHT, &shares);

    config_of(reader)->weight = (unsigned int)shares;
    return rc;
}

static int read_period(struct xml_reader *reader, xmlNodePtr node)
{
    return read_bounded(reader, node, PERIOD_MIN, PERIOD_MAX, &loading_of(reader)->period_us);
}

static int read_quota(struct xml_reader *reader, xmlNodePtr node)
{
    return read_bounded(reader, node, QUOTA_MIN, (uint64_t)PERIOD_MAX * CPUSET_MAX,
                        &loading_of(reader)->quota_us);
}

static int read_vcpupin(struct xml_reader *reader, xmlNodePtr node)
{
    struct loading *loading = loading_of(reader);
    uint64_t vcpu;
    char *text;
    int rc = xml_attribute_required(reader, node, "vcpu", &text);

    if (rc != 0) {
        return rc;
    }
    if (!value_number(text, &vcpu) || vcpu >= CONFIG_MAX_VCPUS) {
        rc = xml_error(reader, node, "vcpu='%.64s' is not a number from 0 to %u", text,
                       CONFIG_MAX_VCPUS - 1);
    } else if (loading->pinned[vcpu]) {
        rc = xml_error(reader, node, "vCPU %s is pinned for the second time", text);
    }
    free(text);
    rc = rc != 0 ? rc : xml_attribute_required(reader, node, "cpuset", &text);
    if (rc != 0) {
        return rc;
    }
    free(text);
    loading->pinned[vcpu] = true;
    rc = read_cpuset(reader, node, &config_of(reader)->pins[vcpu]);
    return rc != 0 ? rc : xml_read_empty(reader, node);
}

int config_read_cputune(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const pin[] = {"vcpu", "cpuset", NULL};
    static const struct xml_rule rules[] = {
        {"shares", NULL, false, read_shares},
        {"global_period", NULL, false, read_period},
        {"global_quota", NULL, false, read_quota},
        {"vcpupin", pin, true, read_vcpupin},
        {.name = NULL},
    };
    struct loading *loading = loading_of(reader);
    int rc;

    loading->period_us = PERIOD_DEFAULT;
    rc = xml_read_children(reader, node, rules);
    if (rc == 0 && loading->quota_us != 0) {
        uint64_t cap = loading->quota_us * 100 / loading->period_us;

        if (cap < 1 || cap > 100u * CPUSET_MAX) {
            return xml_error(reader, node,
                             "<global_quota> of %llu in a period of %llu is not between one "
                             "percent of a processor and all there can be",
                             (unsigned long long)loading->quota_us,
                             (unsigned long long)loading->period_us);
        }
        config_of(reader)->cap = (unsigned int)cap;
    }
    return rc;
}

/* --- the end ----------------------------------------------------------------------------- */

int config_finish_vcpus(struct xml_reader *reader, xmlNodePtr root)
{
    struct loading *loading = loading_of(reader);
    struct vane_config *config = loading->config;

    if (!loading->has_current_vcpus) {
        config->current_vcpus = config->vcpus;
    }
    for (unsigned int i = 0; i < CONFIG_MAX_VCPUS; i++) {
        if (loading->pinned[i] && i >= config->vcpus) {
            return xml_error(reader, root, "<vcpupin> names vCPU %u of %u, which count from 0", i,
                             config->vcpus);
        }
        if (!loading->pinned[i]) {
            config->pins[i] = loading->cpuset;
        }
    }
    return 0;
}
