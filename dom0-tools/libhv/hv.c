/* SPDX-License-Identifier: MIT */
/*
 * libhv, handles and envelopes: opening the hypervisor and issuing domctl, sysctl and version
 * calls.
 *
 * Every structure is copied into a bounce buffer and back, so callers pass ordinary memory. The
 * hypervisor's errno arrives in errno through libxencall and leaves as a negative result. Called by
 * all tools of the control domain; the memory, grant and event calls are in hv_memory.c.
 */
#include "dom0-tools/libhv/hv_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <xentoollog.h>

/* destroydomain asks to be called again while a big domain is taken apart; 2^26 rounds of 64 pages
 * would be more than any machine holds, so running out of them means no progress. */
#define DESTROY_TRIES_MAX (1u << 26)

/* ABI: a value of tsc_mode that no public header names. */
#define TSC_MODE_NEVER_EMULATE 2u

/* A page without what libxencall notes in it. */
#define SCRATCH_BYTES (HV_PAGE_BYTES - 64)

/* The libraries print a line of their own about each failure unless given a logger; callers of
 * libhv report in their words, once. */
static void ignore_message(xentoollog_logger *logger, xentoollog_level level, int errnoval,
                           const char *context, const char *format, va_list list)
{
    (void)logger;
    (void)level;
    (void)errnoval;
    (void)context;
    (void)format;
    (void)list;
}

xentoollog_logger hv_quiet = {.vmessage = ignore_message};

int hv_open(struct hv **out)
{
    struct hv *hv = calloc(1, sizeof(*hv));
    int rc;

    *out = NULL;
    if (hv == NULL) {
        return -ENOMEM;
    }
    hv->call = xencall_open(&hv_quiet, 0);
    if (hv->call == NULL) {
        goto undo;
    }
    hv->memory = xenforeignmemory_open(&hv_quiet, 0);
    if (hv->memory == NULL) {
        goto undo;
    }
    *out = hv;
    return 0;

undo:
    rc = errno != 0 ? -errno : -ENODEV;
    hv_close(hv);
    return rc;
}

void hv_close(struct hv *hv)
{
    if (hv == NULL) {
        return;
    }
    if (hv->memory != NULL) {
        xenforeignmemory_close(hv->memory);
    }
    if (hv->call != NULL) {
        xencall_free_buffer(hv->call, hv->scratch);
        xencall_close(hv->call);
    }
    free(hv);
}

/* Where a call's structure lies: the page of the handle, for libxencall clears what it gives anew
 * each time, which is more work than most calls are. Returns: NULL without memory. */
static void *scratch(struct hv *hv, size_t bytes)
{
    if (hv->scratch == NULL && bytes <= SCRATCH_BYTES) {
        hv->scratch = xencall_alloc_buffer(hv->call, SCRATCH_BYTES);
    }
    return bytes <= SCRATCH_BYTES ? hv->scratch : NULL;
}

/* Calls with a bounce buffer as only argument. */
static int call_envelope(struct hv *hv, unsigned int call, void *op, size_t bytes)
{
    void *bounce = scratch(hv, bytes);
    int rc;

    if (bounce == NULL) {
        return -ENOMEM;
    }
    memcpy(bounce, op, bytes);
    rc = xencall1(hv->call, call, (uint64_t)(uintptr_t)bounce);
    if (rc < 0) {
        rc = -errno;
    }
    memcpy(op, bounce, bytes);
    return rc;
}

int hv_domctl(struct hv *hv, struct xen_domctl *op)
{
    op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    return call_envelope(hv, __HYPERVISOR_domctl, op, sizeof(*op));
}

int hv_sysctl(struct hv *hv, struct xen_sysctl *op)
{
    op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    return call_envelope(hv, __HYPERVISOR_sysctl, op, sizeof(*op));
}

long hv_call_struct(struct hv *hv, unsigned int call, unsigned int op, void *arg, size_t bytes)
{
    void *bounce = scratch(hv, bytes);
    long rc;

    if (bounce == NULL) {
        return -ENOMEM;
    }
    memcpy(bounce, arg, bytes);
    rc = xencall2L(hv->call, call, op, (uint64_t)(uintptr_t)bounce);
    if (rc < 0) {
        rc = -errno;
    }
    memcpy(arg, bounce, bytes);
    return rc;
}

/* A domctl without an argument. */
static int domctl_plain(struct hv *hv, uint32_t domid, uint32_t cmd)
{
    struct xen_domctl op = {.cmd = cmd, .domain = (domid_t)domid};

    return hv_domctl(hv, &op);
}

int hv_domain_create(struct hv *hv, const struct hv_create *create, uint32_t *domid)
{
    struct xen_domctl op = {
        .cmd = XEN_DOMCTL_createdomain,
        .domain = DOMID_FIRST_RESERVED, /* outside the valid ids: pick a free one */
    };
    struct xen_domctl_createdomain *c = &op.u.createdomain;
    int rc;

    memcpy(c->handle, create->uuid, sizeof(c->handle));
    c->max_vcpus = create->vcpu_count;
    c->max_evtchn_port = create->evtchn_port_max;
    c->max_grant_frames = -1;
    c->max_maptrack_frames = -1;
    c->grant_opts = XEN_DOMCTL_GRANT_version(1);
    rc = hv_domctl(hv, &op);
    if (rc == 0) {
        *domid = op.domain;
    }
    return rc;
}

int hv_domain_destroy(struct hv *hv, uint32_t domid)
{
    int rc = -EAGAIN;

    for (unsigned int i = 0; i < DESTROY_TRIES_MAX && rc == -EAGAIN; i++) {
        rc = domctl_plain(hv, domid, XEN_DOMCTL_destroydomain);
    }
    return rc;
}

int hv_domain_pause(struct hv *hv, uint32_t domid)
{
    return domctl_plain(hv, domid, XEN_DOMCTL_pausedomain);
}

int hv_domain_unpause(struct hv *hv, uint32_t domid)
{
    return domctl_plain(hv, domid, XEN_DOMCTL_unpausedomain);
}

int hv_domain_resume(struct hv *hv, uint32_t domid)
{
    return domctl_plain(hv, domid, XEN_DOMCTL_resumedomain);
}

int hv_domain_info(struct hv *hv, uint32_t domid, struct xen_domctl_getdomaininfo *info)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_getdomaininfo, .domain = (domid_t)domid};
    int rc = hv_domctl(hv, &op);

    if (rc != 0) {
        return rc;
    }
    /* Asked for an unused id, the hypervisor may describe the next domain instead. */
    if (op.u.getdomaininfo.domain != domid) {
        return -ESRCH;
    }
    *info = op.u.getdomaininfo;
    return 0;
}

int hv_domain_info_list(struct hv *hv, uint32_t first, struct xen_domctl_getdomaininfo *infos,
                        size_t max)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_getdomaininfolist};
    size_t bytes = max * sizeof(*infos);
    struct xen_domctl_getdomaininfo *bounce;
    int rc;

    if (max == 0 || max > DOMID_FIRST_RESERVED) {
        return -EINVAL;
    }
    bounce = xencall_alloc_buffer(hv->call, bytes); /* cleared */
    if (bounce == NULL) {
        return -ENOMEM;
    }
    op.u.getdomaininfolist.first_domain = (domid_t)first;
    op.u.getdomaininfolist.max_domains = (uint32_t)max;
    set_xen_guest_handle(op.u.getdomaininfolist.buffer, bounce);
    rc = hv_sysctl(hv, &op);
    if (rc == 0 && op.u.getdomaininfolist.num_domains > max) {
        rc = -EIO;
    }
    if (rc == 0) {
        memcpy(infos, bounce, op.u.getdomaininfolist.num_domains * sizeof(*infos));
        rc = (int)op.u.getdomaininfolist.num_domains;
    }
    xencall_free_buffer(hv->call, bounce);
    return rc;
}

int hv_domain_max_vcpus(struct hv *hv, uint32_t domid, uint32_t count)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_max_vcpus, .domain = (domid_t)domid};

    op.u.max_vcpus.max = count;
    return hv_domctl(hv, &op);
}

int hv_domain_max_mem(struct hv *hv, uint32_t domid, uint64_t kib)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_max_mem, .domain = (domid_t)domid};

    op.u.max_mem.max_memkb = kib;
    return hv_domctl(hv, &op);
}

int hv_domain_set_handle(struct hv *hv, uint32_t domid, const uint8_t uuid[16])
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_setdomainhandle, .domain = (domid_t)domid};

    memcpy(op.u.setdomainhandle.handle, uuid, sizeof(op.u.setdomainhandle.handle));
    return hv_domctl(hv, &op);
}

int hv_domain_set_address_size(struct hv *hv, uint32_t domid, uint32_t bits)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_set_address_size, .domain = (domid_t)domid};

    op.u.address_size.size = bits;
    return hv_domctl(hv, &op);
}

int hv_domain_native_tsc(struct hv *hv, uint32_t domid)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_settscinfo, .domain = (domid_t)domid};

    op.u.tsc_info.tsc_mode = TSC_MODE_NEVER_EMULATE;
    return hv_domctl(hv, &op);
}

int hv_device_memory(struct hv *hv, uint32_t domid, uint64_t first, uint64_t count, bool allow)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_iomem_permission, .domain = (domid_t)domid};

    op.u.iomem_permission.first_mfn = first;
    op.u.iomem_permission.nr_mfns = count;
    op.u.iomem_permission.allow_access = allow;
    return hv_domctl(hv, &op);
}

int hv_device_ports(struct hv *hv, uint32_t domid, uint64_t first, uint64_t count, bool allow)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_ioport_permission, .domain = (domid_t)domid};

    op.u.ioport_permission.first_port = (uint32_t)first;
    op.u.ioport_permission.nr_ports = (uint32_t)count;
    op.u.ioport_permission.allow_access = allow;
    return hv_domctl(hv, &op);
}

int hv_domain_hypercall_page(struct hv *hv, uint32_t domid, uint64_t frame)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_hypercall_init, .domain = (domid_t)domid};

    op.u.hypercall_init.gmfn = frame;
    return hv_domctl(hv, &op);
}

/* Moves a vCPU's context to or from the hypervisor through one bounce buffer. */
static int vcpu_context(struct hv *hv, uint32_t cmd, uint32_t domid, uint32_t vcpu,
                        struct vcpu_guest_context *context)
{
    struct xen_domctl op = {.cmd = cmd, .domain = (domid_t)domid};
    struct vcpu_guest_context *bounce = xencall_alloc_buffer(hv->call, sizeof(*bounce));
    int rc;

    if (bounce == NULL) {
        return -ENOMEM;
    }
    memcpy(bounce, context, sizeof(*bounce));
    op.u.vcpucontext.vcpu = vcpu;
    set_xen_guest_handle(op.u.vcpucontext.ctxt, bounce);
    rc = hv_domctl(hv, &op);
    memcpy(context, bounce, sizeof(*context));
    xencall_free_buffer(hv->call, bounce);
    return rc;
}

int hv_vcpu_set_context(struct hv *hv, uint32_t domid, uint32_t vcpu,
                        const struct vcpu_guest_context *context)
{
    struct vcpu_guest_context copy = *context;

    return vcpu_context(hv, XEN_DOMCTL_setvcpucontext, domid, vcpu, &copy);
}

int hv_vcpu_get_context(struct hv *hv, uint32_t domid, uint32_t vcpu,
                        struct vcpu_guest_context *context)
{
    memset(context, 0, sizeof(*context));
    return vcpu_context(hv, XEN_DOMCTL_getvcpucontext, domid, vcpu, context);
}

int hv_vcpu_info(struct hv *hv, uint32_t domid, uint32_t vcpu, struct xen_domctl_getvcpuinfo *info)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_getvcpuinfo, .domain = (domid_t)domid};
    int rc;

    op.u.getvcpuinfo.vcpu = vcpu;
    rc = hv_domctl(hv, &op);
    if (rc == 0) {
        *info = op.u.getvcpuinfo;
    }
    return rc;
}

int hv_physinfo(struct hv *hv, struct xen_sysctl_physinfo *info)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_physinfo};
    int rc = hv_sysctl(hv, &op);

    if (rc == 0) {
        *info = op.u.physinfo;
    }
    return rc;
}

long hv_console_ring(struct hv *hv, char *text, size_t text_bytes, bool clear)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_readconsole};
    char *bounce;
    long rc;

    if (text_bytes == 0 || text_bytes > UINT32_MAX) {
        return -EINVAL;
    }
    bounce = xencall_alloc_buffer(hv->call, text_bytes);
    if (bounce == NULL) {
        return -ENOMEM;
    }
    op.u.readconsole.clear = clear ? 1 : 0;
    op.u.readconsole.count = (uint32_t)text_bytes;
    set_xen_guest_handle(op.u.readconsole.buffer, bounce);
    rc = hv_sysctl(hv, &op);
    if (rc == 0 && op.u.readconsole.count > text_bytes) {
        rc = -EIO;
    }
    if (rc == 0) {
        memcpy(text, bounce, op.u.readconsole.count);
        rc = (long)op.u.readconsole.count;
    }
    xencall_free_buffer(hv->call, bounce);
    return rc;
}

int hv_sched_id(struct hv *hv, uint32_t *id)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_sched_id};
    int rc = hv_sysctl(hv, &op);

    if (rc == 0) {
        *id = op.u.sched_id.sched_id;
    }
    return rc;
}

int hv_version(struct hv *hv)
{
    int rc = xencall2(hv->call, __HYPERVISOR_xen_version, XENVER_version, 0);

    return rc < 0 ? -errno : rc;
}

/* A version call whose answer is a fixed-size text; cut to fit, always terminated. */
static int version_text(struct hv *hv, unsigned int op, char *answer, size_t answer_bytes,
                        char *text, size_t text_bytes)
{
    long rc;
    size_t len;

    if (text_bytes == 0) {
        return -EINVAL;
    }
    text[0] = '\0';
    rc = hv_call_struct(hv, __HYPERVISOR_xen_version, op, answer, answer_bytes);
    if (rc < 0) {
        return (int)rc;
    }
    len = strnlen(answer, answer_bytes);
    if (len >= text_bytes) {
        len = text_bytes - 1;
    }
    memcpy(text, answer, len);
    text[len] = '\0';
    return 0;
}

int hv_extra_version(struct hv *hv, char *text, size_t text_bytes)
{
    xen_extraversion_t answer = {0};

    return version_text(hv, XENVER_extraversion, answer, sizeof(answer), text, text_bytes);
}

int hv_capabilities(struct hv *hv, char *text, size_t text_bytes)
{
    xen_capabilities_info_t answer = {0};

    return version_text(hv, XENVER_capabilities, answer, sizeof(answer), text, text_bytes);
}

int hv_changeset(struct hv *hv, char *text, size_t text_bytes)
{
    xen_changeset_info_t answer = {0};

    return version_text(hv, XENVER_changeset, answer, sizeof(answer), text, text_bytes);
}

int hv_command_line(struct hv *hv, char *text, size_t text_bytes)
{
    xen_commandline_t answer = {0};

    return version_text(hv, XENVER_commandline, answer, sizeof(answer), text, text_bytes);
}

int hv_compile_info(struct hv *hv, struct xen_compile_info *info)
{
    long rc =
        hv_call_struct(hv, __HYPERVISOR_xen_version, XENVER_compile_info, info, sizeof(*info));

    if (rc < 0) {
        return (int)rc;
    }
    info->compiler[sizeof(info->compiler) - 1] = '\0';
    info->compile_by[sizeof(info->compile_by) - 1] = '\0';
    info->compile_domain[sizeof(info->compile_domain) - 1] = '\0';
    info->compile_date[sizeof(info->compile_date) - 1] = '\0';
    return 0;
}
