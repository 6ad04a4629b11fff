/* SPDX-License-Identifier: MIT */
/*
 * libhv: the hypervisor's control calls as plain C functions, for the programs of the control
 * domain.
 *
 * Each function makes one hypercall (or one short, fixed sequence) through libxencall, with the
 * argument copied into memory the hypervisor can read. Structures and numbers are those of the
 * installed Xen 4.17 public headers, so the same tools run on Paravane and on Debian's Xen.
 *
 * Invariants: every function returns 0 (or a count, where said) or a negative errno; nothing is
 * printed; no state is kept beyond the open handles. A handle must not be used after fork():
 * the child opens its own. Not thread safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/xen.h>

#include <xen/domctl.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/sysctl.h>
#include <xen/version.h>

#define HV_PAGE_SHIFT 12
#define HV_PAGE_BYTES 4096UL

/* An open connection to the hypervisor; one per process. */
struct hv;

/* What a new domain gets at its creation. */
struct hv_create {
    uint8_t uuid[16];         /* handle kept by the hypervisor */
    uint32_t vcpu_count;      /* fixed for the domain's life */
    uint32_t evtchn_port_max; /* highest event-channel port number */
};

/* Opens the hypervisor's devices. Returns: -ENOENT or so when there is no hypervisor below. */
int hv_open(struct hv **out);
/* Closes the handle; NULL is allowed. */
void hv_close(struct hv *hv);

/* --- domains ----------------------------------------------------------------------------- */

/* Creates an empty, paused PV domain with a free id, which is stored in *domid. */
int hv_domain_create(struct hv *hv, const struct hv_create *create, uint32_t *domid);
/* Kills a domain and frees what it owns; repeats the call for as long as it asks for that. */
int hv_domain_destroy(struct hv *hv, uint32_t domid);
int hv_domain_pause(struct hv *hv, uint32_t domid);
int hv_domain_unpause(struct hv *hv, uint32_t domid);
/* Clears the shut-down state of a domain that has shut down, and lets it run. */
int hv_domain_resume(struct hv *hv, uint32_t domid);
/* Describes exactly this domain. Errors: -ESRCH when there is none of that id. */
int hv_domain_info(struct hv *hv, uint32_t domid, struct xen_domctl_getdomaininfo *info);
/* Describes up to max domains with ids >= first. Returns: how many were stored. */
int hv_domain_info_list(struct hv *hv, uint32_t first, struct xen_domctl_getdomaininfo *infos,
                        size_t max);
/* Gives the domain its vCPUs; count is the one named at creation. */
int hv_domain_max_vcpus(struct hv *hv, uint32_t domid, uint32_t count);
/* Sets the most memory the domain may own. */
int hv_domain_max_mem(struct hv *hv, uint32_t domid, uint64_t kib);
int hv_domain_set_handle(struct hv *hv, uint32_t domid, const uint8_t uuid[16]);
/* Sets the width of the guest's words (64). */
int hv_domain_set_address_size(struct hv *hv, uint32_t domid, uint32_t bits);
/* Has the domain read the processor's own time-stamp counter, never an emulated one. */
int hv_domain_native_tsc(struct hv *hv, uint32_t domid);
/* Fills the hypercall page of the domain; frame is its machine frame. */
int hv_domain_hypercall_page(struct hv *hv, uint32_t domid, uint64_t frame);

/* Reason with which a domain shut itself down (SHUTDOWN_*). */
static inline unsigned int hv_shutdown_reason(const struct xen_domctl_getdomaininfo *info)
{
    return (info->flags >> XEN_DOMINF_shutdownshift) & XEN_DOMINF_shutdownmask;
}

/* --- vCPUs ------------------------------------------------------------------------------- */

int hv_vcpu_set_context(struct hv *hv, uint32_t domid, uint32_t vcpu,
                        const struct vcpu_guest_context *context);
int hv_vcpu_get_context(struct hv *hv, uint32_t domid, uint32_t vcpu,
                        struct vcpu_guest_context *context);
int hv_vcpu_info(struct hv *hv, uint32_t domid, uint32_t vcpu, struct xen_domctl_getvcpuinfo *info);

/* --- processors and shares --------------------------------------------------------------- */

#define HV_MAX_PCPUS 256u
#define HV_CPUMAP_BYTES (HV_MAX_PCPUS / 8)

/* A domain's part of the processors. */
struct hv_share {
    uint32_t weight; /* relative to other domains; 1 to HV_MAX_WEIGHT */
    uint32_t cap;    /* percent of one pcpu it never gets more than; 0: none */
};
#define HV_MAX_WEIGHT 65535u

int hv_share_get(struct hv *hv, uint32_t domid, struct hv_share *share);
int hv_share_set(struct hv *hv, uint32_t domid, const struct hv_share *share);
/* The pcpus a vCPU may run on, bit n of byte n / 8 for pcpu n; zeros where there is no pcpu. */
int hv_vcpu_affinity_get(struct hv *hv, uint32_t domid, uint32_t vcpu,
                         uint8_t map[HV_CPUMAP_BYTES]);
int hv_vcpu_affinity_set(struct hv *hv, uint32_t domid, uint32_t vcpu,
                         const uint8_t map[HV_CPUMAP_BYTES]);

/* Where a vCPU's time has gone since it was made, in ns; the five add up to its age. */
struct hv_vcpu_time {
    uint32_t domid;
    uint32_t vcpu;
    uint32_t pcpu;
    bool online;
    uint64_t used_ns;
    uint64_t system_ns;
    uint64_t ready_ns;
    uint64_t wait_ns;
    uint64_t offline_ns;
};

/* Times of all vCPUs of all domains, by domain and vCPU, upwards; free(*times).
 * Errors: ENOSYS on a hypervisor that does not keep them. */
int hv_accounting(struct hv *hv, struct hv_vcpu_time **times, size_t *count, uint64_t *now_ns);
/* Time all pcpus together have been idle. */
int hv_idle_time(struct hv *hv, uint64_t *idle_ns);

/* --- devices of the machine in a guest's hands -------------------------------------------- */

/* Lets a domain map frames of device memory, or use ports, or no more. A range is taken as it was
 * given. Errors: ENOSPC too many ranges. */
int hv_device_memory(struct hv *hv, uint32_t domid, uint64_t first, uint64_t count, bool allow);
int hv_device_ports(struct hv *hv, uint32_t domid, uint64_t first, uint64_t count, bool allow);

/* --- the machine ------------------------------------------------------------------------- */

int hv_physinfo(struct hv *hv, struct xen_sysctl_physinfo *info);
/* Copies the hypervisor's log into text. Returns: the number of bytes copied (no final NUL). */
long hv_console_ring(struct hv *hv, char *text, size_t text_bytes, bool clear);
/* Returns: (major << 16) | minor. */
int hv_version(struct hv *hv);
/* The rest of the version, such as ".7"; always NUL terminated. */
int hv_extra_version(struct hv *hv, char *text, size_t text_bytes);
/* The guest types it can run, such as "xen-3.0-x86_64"; always NUL terminated. */
int hv_capabilities(struct hv *hv, char *text, size_t text_bytes);
/* Who compiled it, when and with what. */
int hv_compile_info(struct hv *hv, struct xen_compile_info *info);
int hv_changeset(struct hv *hv, char *text, size_t text_bytes);
/* The command line the hypervisor was started with. */
int hv_command_line(struct hv *hv, char *text, size_t text_bytes);
int hv_sched_id(struct hv *hv, uint32_t *id);

/* A text the hypervisor shows, such as the state of a protection. */
struct hv_text {
    char name[64];
    char value[256];
};
/* Reads the texts of a folder, such as "/protection". Returns: how many were stored, at most max; 0
 * from a hypervisor that has no such folder. */
size_t hv_texts(const char *folder, struct hv_text *texts, size_t max);

/* --- memory ------------------------------------------------------------------------------ */

/*
 * Gives the domain count extents of 2^order frames. frames[] holds the first pseudo-physical
 * frame of each extent and receives the first machine frame.
 * Returns: how many extents were given, which is fewer than count when memory runs out.
 */
long hv_populate(struct hv *hv, uint32_t domid, xen_pfn_t *frames, size_t count,
                 unsigned int order);
/* Sets the map the guest reads with XENMEM_memory_map: one range of RAM of that size at 0. */
int hv_memory_map_set(struct hv *hv, uint32_t domid, uint64_t ram_bytes);
/* Maps count frames of the domain, in order, as one range. NULL with errno set on failure. */
void *hv_map(struct hv *hv, uint32_t domid, int prot, size_t count, const xen_pfn_t *frames);
/* As hv_map(), to read, where some may fail: failed[i] is then that frame's errno, else 0. */
void *hv_map_some(struct hv *hv, uint32_t domid, size_t count, const xen_pfn_t *frames,
                  int *failed);
int hv_unmap(struct hv *hv, void *address, size_t count);
/*
 * Fills count whole frames of the domain with the pages at `data`, without mapping them. With a
 * count of 0 it asks whether the hypervisor can. Errors: -ENOSYS it cannot.
 */
int hv_write_pages(struct hv *hv, uint32_t domid, const xen_pfn_t *frames, const void *data,
                   size_t count);
/*
 * Pins a page of the domain as top-level page table, which checks the whole tree below it.
 * Requires: no frame of the tree is mapped writable by anyone.
 */
int hv_pin_l4(struct hv *hv, uint32_t domid, uint64_t frame);

/* --- grants and events ------------------------------------------------------------------- */

/* A grant the builder puts into a new domain's table. */
struct hv_grant {
    uint32_t ref;   /* entry to fill */
    uint32_t frame; /* machine frame offered */
    domid_t to;     /* who may map it */
};
/* Fills entries of the first page of the domain's version-1 grant table. */
int hv_grants_seed(struct hv *hv, uint32_t domid, const struct hv_grant *grants, size_t count);
/* Makes an unbound port in domain domid for domain remote to bind to. */
int hv_evtchn_alloc(struct hv *hv, uint32_t domid, uint32_t remote, uint32_t *port);
