/* SPDX-License-Identifier: MIT */
/*
 * Lets Debian's xenstored run where there is no Xen, to be measured on its socket: stands (by
 * LD_PRELOAD) for the functions by which it talks to the hypervisor, and for two files of xenfs. No
 * event ever comes, a ring is a page on which nobody writes, and every domain exists and runs.
 *
 * The program itself is not changed; what it does for clients on its socket asks none of this but
 * whether a domain exists.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#define PAGE 4096u

static int events[2];   /* a pipe into which nobody writes */
static char handle[16]; /* what all handles point to */
static int last_port = 1;

int open(const char *path, int flags, ...)
{
    va_list list;
    mode_t mode;
    int fd;

    va_start(list, flags);
    mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;
    va_end(list);
    if (strcmp(path, "/proc/xen/xsd_port") != 0 && strcmp(path, "/proc/xen/xsd_kva") != 0) {
        return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    }
    /* The port of the kernel's ring as text, or the page. */
    fd = memfd_create("xenfs", 0);
    if (path[strlen(path) - 1] == 't') {
        return write(fd, "1\n", 2) == 2 && lseek(fd, 0, SEEK_SET) == 0 ? fd : -1;
    }
    return ftruncate(fd, PAGE) == 0 ? fd : -1;
}

xc_interface *xc_interface_open(xentoollog_logger *logger, xentoollog_logger *dombuild,
                                unsigned int flags)
{
    (void)logger, (void)dombuild, (void)flags;
    return (xc_interface *)(void *)handle;
}

int xc_interface_close(xc_interface *xch)
{
    (void)xch;
    return 0;
}

int xc_domain_getinfo(xc_interface *xch, uint32_t first, unsigned int max, xc_dominfo_t *info)
{
    (void)xch, (void)max;
    memset(info, 0, sizeof(*info));
    info->domid = first;
    info->running = 1;
    return 1;
}

xenevtchn_handle *xenevtchn_open(xentoollog_logger *logger, unsigned int flags)
{
    (void)logger, (void)flags;
    return pipe(events) == 0 ? (xenevtchn_handle *)(void *)handle : NULL;
}

xenevtchn_handle *xenevtchn_fdopen(xentoollog_logger *logger, int fd, unsigned int flags)
{
    (void)fd;
    return xenevtchn_open(logger, flags);
}

int xenevtchn_fd(xenevtchn_handle *xce)
{
    (void)xce;
    return events[0];
}

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce, (void)port;
    return 0;
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid,
                                                     evtchn_port_t port)
{
    (void)xce, (void)domid, (void)port;
    return ++last_port;
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *xce, unsigned int virq)
{
    (void)xce, (void)virq;
    return ++last_port;
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce)
{
    (void)xce;
    return -1;
}

int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce, (void)port;
    return 0;
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
    (void)xce, (void)port;
    return 0;
}

xengnttab_handle *xengnttab_open(xentoollog_logger *logger, unsigned int flags)
{
    (void)logger, (void)flags;
    return (xengnttab_handle *)(void *)handle;
}

int xengnttab_close(xengnttab_handle *xgt)
{
    (void)xgt;
    return 0;
}

int xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t count)
{
    (void)xgt, (void)count;
    return 0;
}

void *xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot)
{
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)xgt, (void)domid, (void)ref, (void)prot;
    return page != MAP_FAILED ? page : NULL;
}

int xengnttab_unmap(xengnttab_handle *xgt, void *start, uint32_t count)
{
    (void)xgt;
    return munmap(start, (size_t)count * PAGE);
}
