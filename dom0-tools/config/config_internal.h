/* SPDX-License-Identifier: MIT */
/*
 * What the readers of the parts of a configuration share: where results go and the small helpers
 * that report bad values in the same words. Private to dom0-tools/config.
 */
#pragma once

#include "dom0-tools/config/config.h"
#include "dom0-tools/config/xml.h"

/* xml_reader.target of a domain document. */
struct loading {
    struct vane_config *config;    /* what is being filled */
    bool has_current_memory;       /* <currentMemory> was there */
    bool has_current_vcpus;        /* vcpu's current= was there */
    struct cpuset cpuset;          /* vcpu's cpuset=, for vCPUs without a pin of their own */
    uint64_t period_us;            /* of the domain's bandwidth limit */
    uint64_t quota_us;             /* 0: no limit */
    bool pinned[CONFIG_MAX_VCPUS]; /* there is a <vcpupin> for it */
    bool has_passthrough;          /* <metadata> has our element of that name */
    unsigned int console_count;    /* consoles described; the guest gets one in any case */
};

static inline struct loading *loading_of(struct xml_reader *reader)
{
    return reader->target;
}

/* devices.c: takes <devices>. */
int config_read_devices(struct xml_reader *reader, xmlNodePtr node);

/* devices.c: makes room for one more element, zeroed. Errors: ENOMEM, EBADMSG above `max`. */
int config_grow(struct xml_reader *reader, xmlNodePtr node, void **array, size_t *count,
                size_t element_bytes, size_t max);

/* hostdev.c: take <hostdev> and <metadata>. */
int config_read_hostdev(struct xml_reader *reader, xmlNodePtr node);
int config_read_metadata(struct xml_reader *reader, xmlNodePtr node);

/* devices.c: makes up addresses for the interfaces without one. */
int config_finish_devices(struct xml_reader *reader);

/* filter.c: takes the <filterref> of the last network interface. */
int config_read_filter(struct xml_reader *reader, xmlNodePtr node);

/* cputune.c: take <vcpu> and <cputune>. */
int config_read_vcpu(struct xml_reader *reader, xmlNodePtr node);
int config_read_cputune(struct xml_reader *reader, xmlNodePtr node);

/* cputune.c: what depends on both. */
int config_finish_vcpus(struct xml_reader *reader, xmlNodePtr root);

/* config.c: fills `bytes` random bytes. Errors: -errno of the kernel, reported. */
int config_random(struct xml_reader *reader, void *data, size_t bytes);

/* Takes the text of an element that must be an absolute path. */
int config_read_path(struct xml_reader *reader, xmlNodePtr node, char **path);
