/* SPDX-License-Identifier: MIT */
/*
 * libhv, memory and its neighbours: populating a domain, mapping and pinning its pages, seeding
 * its grant table, making event-channel ports for it.
 *
 * Foreign mappings are ordinary memory of the caller until hv_unmap(); they hold a writable
 * reference in the hypervisor, so a builder drops them before it pins page tables.
 */
#include "dom0-tools/libhv/hv_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pv-abi/write_pages.h"

#define E820_RAM 1u

/* Each of which finds the pages present unless the machine is short of memory. */
#define WRITE_TRIES 16u

/* One range of the map a guest reads; packed in the ABI. */
struct e820_range {
    uint64_t start;
    uint64_t bytes;
    uint32_t type;
} __attribute__((packed));

_Static_assert(sizeof(struct e820_range) == 20, "the ABI's e820 range has 20 bytes");

long hv_populate(struct hv *hv, uint32_t domid, xen_pfn_t *frames, size_t count, unsigned int order)
{
    struct xen_memory_reservation op = {
        .nr_extents = count,
        .extent_order = order,
        .domid = (domid_t)domid,
    };
    size_t bytes = count * sizeof(*frames);
    xen_pfn_t *bounce;
    long rc;

    if (count == 0) {
        return 0;
    }
    bounce = xencall_alloc_buffer(hv->call, bytes);
    if (bounce == NULL) {
        return -ENOMEM;
    }
    memcpy(bounce, frames, bytes);
    set_xen_guest_handle(op.extent_start, bounce);
    rc = hv_call_struct(hv, __HYPERVISOR_memory_op, XENMEM_populate_physmap, &op, sizeof(op));
    if (rc >= 0) {
        memcpy(frames, bounce, (size_t)rc * sizeof(*frames));
    }
    xencall_free_buffer(hv->call, bounce);
    return rc;
}

int hv_memory_map_set(struct hv *hv, uint32_t domid, uint64_t ram_bytes)
{
    struct xen_foreign_memory_map op = {.domid = (domid_t)domid};
    struct e820_range *bounce = xencall_alloc_buffer(hv->call, sizeof(*bounce));
    long rc;

    if (bounce == NULL) {
        return -ENOMEM;
    }
    *bounce = (struct e820_range){.start = 0, .bytes = ram_bytes, .type = E820_RAM};
    op.map.nr_entries = 1;
    set_xen_guest_handle(op.map.buffer, bounce);
    rc = hv_call_struct(hv, __HYPERVISOR_memory_op, XENMEM_set_memory_map, &op, sizeof(op));
    xencall_free_buffer(hv->call, bounce);
    return (int)rc;
}

void *hv_map(struct hv *hv, uint32_t domid, int prot, size_t count, const xen_pfn_t *frames)
{
    return xenforeignmemory_map(hv->memory, domid, prot, count, frames, NULL);
}

void *hv_map_some(struct hv *hv, uint32_t domid, size_t count, const xen_pfn_t *frames, int *failed)
{
    return xenforeignmemory_map(hv->memory, domid, PROT_READ, count, frames, failed);
}

int hv_unmap(struct hv *hv, void *address, size_t count)
{
    return xenforeignmemory_unmap(hv->memory, address, count) == 0 ? 0 : -errno;
}

/* Makes pages present that the kernel has taken away since they were last used. */
static void touch(const volatile uint8_t *data, size_t pages)
{
    for (size_t i = 0; i < pages; i++) {
        (void)data[i * HV_PAGE_BYTES];
        (void)data[i * HV_PAGE_BYTES + HV_PAGE_BYTES - 1];
    }
}

/* One call. The data is only read, so it may be anywhere, also in a file's pages. */
static int write_pages(struct hv *hv, uint32_t domid, xen_pfn_t *bounce, const uint8_t *data,
                       size_t count)
{
    struct xen_domctl op = {.cmd = PV_DOMCTL_write_pages, .domain = (domid_t)domid};
    struct pv_domctl_write_pages arg = {.count = count};
    int rc = -EFAULT;

    set_xen_guest_handle(arg.frames, bounce);
    set_xen_guest_handle(arg.data, (uint8_t *)(uintptr_t)data);
    for (unsigned int tries = 0; rc == -EFAULT && tries < WRITE_TRIES; tries++) {
        touch(data, tries > 0 ? count : 0);
        memcpy(&op.u, &arg, sizeof(arg));
        rc = hv_domctl(hv, &op);
    }
    return rc;
}

int hv_write_pages(struct hv *hv, uint32_t domid, const xen_pfn_t *frames, const void *data,
                   size_t count)
{
    xen_pfn_t *bounce = xencall_alloc_buffer(hv->call, PV_WRITE_PAGES_MAX * sizeof(*bounce));
    size_t done = 0;
    int rc = bounce != NULL ? 0 : -ENOMEM;

    do {
        size_t part = count - done < PV_WRITE_PAGES_MAX ? count - done : PV_WRITE_PAGES_MAX;

        if (rc == 0) {
            memcpy(bounce, frames + done, part * sizeof(*bounce));
            rc = write_pages(hv, domid, bounce, (const uint8_t *)data + done * HV_PAGE_BYTES, part);
        }
        done += part;
    } while (rc == 0 && done < count);
    xencall_free_buffer(hv->call, bounce);
    return rc;
}

int hv_pin_l4(struct hv *hv, uint32_t domid, uint64_t frame)
{
    struct mmuext_op *op = xencall_alloc_buffer(hv->call, sizeof(*op));
    int rc;

    if (op == NULL) {
        return -ENOMEM;
    }
    memset(op, 0, sizeof(*op));
    op->cmd = MMUEXT_PIN_L4_TABLE;
    op->arg1.mfn = frame;
    rc = xencall4(hv->call, __HYPERVISOR_mmuext_op, (uint64_t)(uintptr_t)op, 1, 0, domid);
    if (rc < 0) {
        rc = -errno;
    }
    xencall_free_buffer(hv->call, op);
    return rc;
}

/* Writes the entries into a mapped page of version-1 grants; flags last, as the ABI wants. */
static void grants_write(struct grant_entry_v1 *table, const struct hv_grant *grants, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct grant_entry_v1 *entry = &table[grants[i].ref];

        entry->frame = grants[i].frame;
        entry->domid = grants[i].to;
        __atomic_store_n(&entry->flags, (uint16_t)GTF_permit_access, __ATOMIC_RELEASE);
    }
}

/* The way for kernels without resource mapping: the hypervisor names the table's frame, which is
 * then mapped like any other page of the domain. */
static int grants_seed_by_frame(struct hv *hv, uint32_t domid, const struct hv_grant *grants,
                                size_t count)
{
    struct gnttab_setup_table op = {.dom = (domid_t)domid, .nr_frames = 1};
    xen_pfn_t *frame = xencall_alloc_buffer(hv->call, sizeof(*frame));
    struct gnttab_setup_table *bounce;
    struct grant_entry_v1 *table;
    xen_pfn_t table_frame;
    int rc;

    if (frame == NULL) {
        return -ENOMEM;
    }
    bounce = xencall_alloc_buffer(hv->call, sizeof(*bounce));
    if (bounce == NULL) {
        xencall_free_buffer(hv->call, frame);
        return -ENOMEM;
    }
    *frame = 0;
    set_xen_guest_handle(op.frame_list, frame);
    *bounce = op;
    rc = xencall3(hv->call, __HYPERVISOR_grant_table_op, GNTTABOP_setup_table,
                  (uint64_t)(uintptr_t)bounce, 1);
    rc = rc < 0 ? -errno : 0;
    if (rc == 0 && bounce->status != GNTST_okay) {
        rc = -EINVAL;
    }
    table_frame = *frame;
    xencall_free_buffer(hv->call, bounce);
    xencall_free_buffer(hv->call, frame);
    if (rc != 0) {
        return rc;
    }
    table = hv_map(hv, domid, PROT_READ | PROT_WRITE, 1, &table_frame);
    if (table == NULL) {
        return -errno;
    }
    grants_write(table, grants, count);
    return hv_unmap(hv, table, 1);
}

int hv_grants_seed(struct hv *hv, uint32_t domid, const struct hv_grant *grants, size_t count)
{
    xenforeignmemory_resource_handle *resource;
    void *table = NULL;

    for (size_t i = 0; i < count; i++) {
        if (grants[i].ref >= HV_PAGE_BYTES / sizeof(struct grant_entry_v1)) {
            return -EINVAL;
        }
    }
    resource = xenforeignmemory_map_resource(
        hv->memory, (domid_t)domid, XENMEM_resource_grant_table,
        XENMEM_resource_grant_table_id_shared, 0, 1, &table, PROT_READ | PROT_WRITE, 0);
    if (resource == NULL) {
        return grants_seed_by_frame(hv, domid, grants, count);
    }
    grants_write(table, grants, count);
    return xenforeignmemory_unmap_resource(hv->memory, resource) == 0 ? 0 : -errno;
}

int hv_evtchn_alloc(struct hv *hv, uint32_t domid, uint32_t remote, uint32_t *port)
{
    struct evtchn_alloc_unbound op = {.dom = (domid_t)domid, .remote_dom = (domid_t)remote};
    long rc =
        hv_call_struct(hv, __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &op, sizeof(op));

    if (rc < 0) {
        return (int)rc;
    }
    *port = op.port;
    return 0;
}
