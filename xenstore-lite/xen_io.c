// SPDX-License-Identifier: MIT
/*
 * Rings, event channels and the list of domains. See xen_io.h.
 */
#include "xenstore-lite/xen_io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <xen/xen.h>

#include <xen/domctl.h>
#include <xen/sysctl.h>
#include <xencall.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>

#include "pv-abi/changed_domain.h"
#include "xenstore-lite/ring.h"

#define PAGE_BYTES 4096
/* Domains asked for in one call. */
#define LIST_CHUNK 128
/* Linux's ioctl to learn the port of its own ring, where xenfs is not to be had. */
#define XENBUS_BACKEND_PORT _IOC(_IOC_NONE, 'B', 0, 0)

enum mapping { BY_KERNEL, BY_GRANT, BY_FRAME };

/* The ring of one domain. */
struct xen_ring {
    struct ring ring;
    struct map_node by_port; /* in xen_io.rings */
    struct xen_io *io;
    uint16_t domid;
    uint32_t port; /* ours */
    enum mapping how;
};

struct xen_io {
    struct server *server;
    struct platform platform;
    xenevtchn_handle *evtchn;
    xengnttab_handle *gnttab;         /* NULL when there is none */
    xenforeignmemory_handle *foreign; /* NULL when there is none */
    xencall_handle *call;
    struct xen_domctl_getdomaininfo *list; /* LIST_CHUNK of them, where hypercalls may write */
    struct xen_sysctl *sysctl;             /* the same for the operations */
    struct xen_domctl *domctl;
    struct map rings;   /* struct xen_ring by port */
    uint32_t news_port; /* VIRQ_DOM_EXC */
};

static int port_cmp(const void *key, const struct map_node *n)
{
    uint32_t port = *(const uint32_t *)key, other = MAP_ENTRY(n, struct xen_ring, by_port)->port;

    return port < other ? -1 : port > other;
}

static void ring_notify(void *ctx)
{
    struct xen_ring *r = ctx;

    xenevtchn_notify(r->io->evtchn, r->port);
}

static void unmap_ring(struct xen_ring *r)
{
    switch (r->how) {
    case BY_KERNEL:
        munmap(r->ring.page, PAGE_BYTES);
        break;
    case BY_GRANT:
        xengnttab_unmap(r->io->gnttab, r->ring.page, 1);
        break;
    case BY_FRAME:
        xenforeignmemory_unmap(r->io->foreign, r->ring.page, 1);
        break;
    }
}

static void ring_release(void *ctx)
{
    struct xen_ring *r = ctx;

    map_remove(&r->io->rings, &r->port);
    xenevtchn_unbind(r->io->evtchn, r->port);
    unmap_ring(r);
    free(r);
}

/* Binds the event channel of a mapped ring and makes it a transport; frees the ring on error. */
static int bind_ring(struct xen_ring *r, uint32_t remote_port, struct transport *out)
{
    int port = xenevtchn_bind_interdomain(r->io->evtchn, r->domid, remote_port);

    if (port < 0) {
        int rc = -errno;

        fprintf(stderr, "xenstored: domain %u: cannot bind event channel %u: %s\n", r->domid,
                remote_port, strerror(-rc));
        unmap_ring(r);
        free(r);
        return rc;
    }
    r->port = (uint32_t)port;
    map_insert(&r->io->rings, &r->port, &r->by_port);
    r->ring.notify = ring_notify;
    r->ring.release = ring_release;
    r->ring.ctx = r;
    ring_init(&r->ring, out);
    ring_notify(r);
    return 0;
}

static int connect_domain(void *ctx, uint16_t domid, uint64_t mfn, uint32_t port,
                          struct transport *out)
{
    struct xen_io *x = ctx;
    struct xen_ring *r = mem_zalloc(sizeof(*r));

    r->io = x;
    r->domid = domid;
    if (x->gnttab) {
        r->how = BY_GRANT;
        r->ring.page = xengnttab_map_grant_ref(x->gnttab, domid, GNTTAB_RESERVED_XENSTORE,
                                               PROT_READ | PROT_WRITE);
    }
    if (!r->ring.page && x->foreign) {
        xen_pfn_t frame = mfn;
        int bad = 0;

        r->how = BY_FRAME;
        r->ring.page =
            xenforeignmemory_map(x->foreign, domid, PROT_READ | PROT_WRITE, 1, &frame, &bad);
    }
    if (!r->ring.page) {
        int rc = errno ? -errno : -ENODEV;

        fprintf(stderr, "xenstored: domain %u: cannot map its ring (grant %u, frame %llx): %s\n",
                domid, GNTTAB_RESERVED_XENSTORE, (unsigned long long)mfn, strerror(-rc));
        free(r);
        return rc;
    }
    return bind_ring(r, port, out);
}

/* Reads the kernel's own port from xenfs. */
static int read_port(uint32_t *port)
{
    char text[16] = "";
    uint64_t n;
    int fd = open("/proc/xen/xsd_port", O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0) {
        return -errno;
    }
    got = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (got <= 0) {
        return -EIO;
    }
    text[strcspn(text, "\n")] = '\0';
    if (wire_number(text, UINT32_MAX, &n) < 0) {
        return -EIO;
    }
    *port = (uint32_t)n;
    return 0;
}

/* Maps the control domain kernel's page: from xenfs, or else from its device. */
static int map_kernel(void **page, uint32_t *port)
{
    int fd, rc;

    if (access("/proc/xen/xsd_port", F_OK) != 0) {
        mount("xenfs", "/proc/xen", "xenfs", 0, NULL);
    }
    fd = open("/proc/xen/xsd_kva", O_RDWR | O_CLOEXEC);
    rc = fd < 0 ? -errno : read_port(port);
    if (rc < 0) {
        if (fd >= 0) {
            close(fd);
        }
        fd = open("/dev/xen/xenbus_backend", O_RDWR | O_CLOEXEC);
        if (fd < 0) {
            return -errno;
        }
        rc = ioctl(fd, XENBUS_BACKEND_PORT, 0);
        if (rc <= 0) {
            rc = rc < 0 ? -errno : -ENODEV;
            close(fd);
            return rc;
        }
        *port = (uint32_t)rc;
    }
    *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rc = *page == MAP_FAILED ? -errno : 0;
    close(fd);
    return rc;
}

static int connect_kernel(struct xen_io *x)
{
    struct xen_ring *r;
    struct transport t;
    uint32_t port = 0;
    void *page = NULL;
    int rc = map_kernel(&page, &port);

    if (rc < 0) {
        fprintf(stderr, "xenstored: cannot map this kernel's ring: %s\n", strerror(-rc));
        return rc;
    }
    r = mem_zalloc(sizeof(*r));
    r->io = x;
    r->how = BY_KERNEL;
    r->ring.page = page;
    rc = bind_ring(r, port, &t);
    if (rc == 0) {
        struct domain *d = server_domain(x->server, 0);

        if (d->conn) {
            conn_resume(d->conn, &t);
        } else {
            server_attach(x->server, d, &t);
        }
    }
    return rc;
}

/* The next domains of the machine, from number `first` on. Returns: how many, or an error. */
static int list_chunk(struct xen_io *x, uint16_t first, uint32_t most)
{
    memset(x->sysctl, 0, sizeof(*x->sysctl));
    x->sysctl->cmd = XEN_SYSCTL_getdomaininfolist;
    x->sysctl->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    x->sysctl->u.getdomaininfolist.first_domain = first;
    x->sysctl->u.getdomaininfolist.max_domains = most;
    set_xen_guest_handle(x->sysctl->u.getdomaininfolist.buffer, x->list);
    if (xencall1(x->call, __HYPERVISOR_sysctl, (uintptr_t)x->sysctl) < 0) {
        return -errno;
    }
    return (int)x->sysctl->u.getdomaininfolist.num_domains;
}

static struct domain_status status_of(uint16_t domid, uint32_t flags)
{
    return (struct domain_status){
        .domid = domid,
        .shutdown = flags & XEN_DOMINF_shutdown,
        .dying = flags & XEN_DOMINF_dying,
    };
}

static int domain_status(void *ctx, uint16_t domid, struct domain_status *out)
{
    struct xen_io *x = ctx;
    int got = list_chunk(x, domid, 1);

    if (got < 1 || x->list[0].domain != domid) {
        return got < 0 ? got : -ESRCH;
    }
    *out = status_of(domid, x->list[0].flags);
    return 0;
}

/* Only our own hypervisor tells; Xen has no such operation. */
static int take_changed(void *ctx, struct domain_status *out)
{
    struct xen_io *x = ctx;
    struct pv_domctl_changed_domain answer;

    memset(x->domctl, 0, sizeof(*x->domctl));
    x->domctl->cmd = PV_DOMCTL_changed_domain;
    x->domctl->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    if (xencall1(x->call, __HYPERVISOR_domctl, (uintptr_t)x->domctl) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    memcpy(&answer, &x->domctl->u, sizeof(answer));
    *out = status_of(x->domctl->domain, answer.flags);
    return 1;
}

static void look_at_all(void *ctx)
{
    xen_io_look(ctx);
}

void xen_io_look(struct xen_io *x)
{
    struct domain_status *all = NULL;
    size_t count = 0;
    uint32_t first = 0;
    int got;

    do {
        got = list_chunk(x, (uint16_t)first, LIST_CHUNK);
        if (got < 0) {
            /* Nothing may be concluded from half a list. */
            fprintf(stderr, "xenstored: cannot list domains: %s\n", strerror(-got));
            free(all);
            return;
        }
        all = mem_resize(all, count + LIST_CHUNK, sizeof(all[0]));
        for (int i = 0; i < got && i < LIST_CHUNK; i++) {
            all[count++] = status_of(x->list[i].domain, x->list[i].flags);
            first = (uint32_t)x->list[i].domain + 1;
        }
    } while (got == LIST_CHUNK && first < DOMID_FIRST_RESERVED);
    server_domain_list(x->server, all, count);
    free(all);
}

void xen_io_events(struct xen_io *x)
{
    int port = xenevtchn_pending(x->evtchn);
    uint32_t key = (uint32_t)port;
    struct map_node *n;

    if (port < 0) {
        return;
    }
    /* Unmasked before it is looked at: what comes later raises another event. */
    xenevtchn_unmask(x->evtchn, key);
    if (key == x->news_port) {
        server_news(x->server);
        return;
    }
    n = map_find(&x->rings, &key);
    if (n) {
        const struct xen_ring *r = MAP_ENTRY(n, struct xen_ring, by_port);
        const struct domain *d = server_find_domain(x->server, r->domid);

        if (d && d->conn) {
            conn_wake(d->conn);
        }
    }
}

const struct platform *xen_io_platform(struct xen_io *x)
{
    return &x->platform;
}

int xen_io_fd(struct xen_io *x)
{
    return xenevtchn_fd(x->evtchn);
}

static int open_devices(struct xen_io *x)
{
    int port;

    x->evtchn = xenevtchn_open(NULL, 0);
    if (!x->evtchn) {
        fprintf(stderr, "xenstored: cannot open the event channel device: %s\n", strerror(errno));
        return -errno;
    }
    x->call = xencall_open(NULL, 0);
    if (!x->call) {
        fprintf(stderr, "xenstored: cannot open privcmd: %s\n", strerror(errno));
        return -errno;
    }
    x->sysctl = xencall_alloc_buffer(x->call, sizeof(*x->sysctl));
    x->domctl = xencall_alloc_buffer(x->call, sizeof(*x->domctl));
    x->list = xencall_alloc_buffer(x->call, LIST_CHUNK * sizeof(x->list[0]));
    if (!x->sysctl || !x->domctl || !x->list) {
        fprintf(stderr, "xenstored: no memory for hypercalls\n");
        return -ENOMEM;
    }
    x->gnttab = xengnttab_open(NULL, 0);
    x->foreign = xenforeignmemory_open(NULL, 0);
    if (!x->gnttab && !x->foreign) {
        fprintf(stderr, "xenstored: neither grant device nor privcmd: guests cannot connect\n");
        return -ENODEV;
    }
    port = xenevtchn_bind_virq(x->evtchn, VIRQ_DOM_EXC);
    if (port < 0) {
        fprintf(stderr, "xenstored: cannot listen for news of domains: %s\n", strerror(errno));
        return -errno;
    }
    x->news_port = (uint32_t)port;
    return 0;
}

int xen_io_open(struct server *s, struct xen_io **out)
{
    struct xen_io *x = mem_zalloc(sizeof(*x));
    int rc;

    x->server = s;
    x->platform = (struct platform){.connect = connect_domain,
                                    .status = domain_status,
                                    .changed = take_changed,
                                    .look = look_at_all,
                                    .ctx = x};
    map_init(&x->rings, port_cmp);
    rc = open_devices(x);
    if (rc == 0) {
        rc = connect_kernel(x);
    }
    if (rc < 0) {
        xen_io_close(x);
        return rc;
    }
    *out = x;
    return 0;
}

void xen_io_close(struct xen_io *x)
{
    if (x->call) {
        xencall_free_buffer(x->call, x->sysctl);
        xencall_free_buffer(x->call, x->domctl);
        xencall_free_buffer(x->call, x->list);
        xencall_close(x->call);
    }
    if (x->foreign) {
        xenforeignmemory_close(x->foreign);
    }
    if (x->gnttab) {
        xengnttab_close(x->gnttab);
    }
    if (x->evtchn) {
        xenevtchn_close(x->evtchn);
    }
    free(x);
}
