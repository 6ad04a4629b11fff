// SPDX-License-Identifier: MIT
/*
 * PHYSDEVOP_*: what the control domain's drivers ask about interrupts and devices, and the routing
 * of physical interrupts to event channels that comes of it.
 *
 *   line (token of arch/)  --->  domain, pirq, port
 *
 * Lines below MAX_GSIS are GSIs, the others message interrupts. line[].d is set while a pirq
 * of that domain stands for the line; d->pv.pirq[] holds the other direction. Both change under
 * irq_lock (RANK_IRQ). Arrivals come from arch/ with no lock held; the event is sent after irq_lock
 * is dropped, because sending may take d's evtchn_lock, which is of lower rank. A level-triggered
 * GSI stays masked from its arrival to the guest's EOI.
 */
#include "core/pirq.h"

#include "arch/arch.h"
#include "arch/upcalls.h"
#include "base/checked.h"
#include "base/log.h"
#include "core/domain.h"
#include "core/hooks.h"
#include "core/pci.h"
#include "core/span.h"
#include "core/subop.h"

#define IOBITMAP_PORTS_MAX 65536u
#define LINE_COUNT (MAX_GSIS + MAX_PIRQS)

/* In d->pv.pirq[]; any other number stands for line[number - 1]. */
#define PIRQ_FREE 0u
#define PIRQ_RESERVED 0xffffu /* handed out, nothing behind it yet */

static struct irq_line {
    struct domain *d; /* NULL: not mapped, and so not bound */
    uint32_t port;    /* bound event channel, 0 none */
    uint16_t pirq;
    bool needs_eoi;     /* level: masked until the guest says EOI */
    uint8_t cpu;        /* that it goes to */
    uint32_t taken;     /* how often it has arrived there since it does */
    int vector;         /* message interrupts */
    struct pci_msi msi; /* message interrupts: where the device keeps it */
} line[LINE_COUNT];

static struct spinlock irq_lock = SPINLOCK_INIT(RANK_IRQ);

static unsigned token_of(const struct irq_line *l)
{
    return (unsigned)(l - line);
}

static bool is_msi(const struct irq_line *l)
{
    return token_of(l) >= MAX_GSIS;
}

static bool is_level(const struct irq_line *l)
{
    return !is_msi(l) && arch_gsi_is_level(token_of(l));
}

/* ---- mapping ---- */

/* What the pirq with this number stands for, or NULL. */
static struct irq_line *find_locked(const struct domain *d, unsigned pirq)
{
    unsigned entry = pirq < MAX_PIRQS ? d->pv.pirq[clamp_index(pirq, MAX_PIRQS)] : PIRQ_FREE;
    return entry == PIRQ_FREE || entry == PIRQ_RESERVED ? NULL : &line[entry - 1];
}

/* A number for a source: what the caller asked for, or one that is no GSI's. */
static int choose_locked(const struct domain *d, int wanted)
{
    if (wanted >= MAX_PIRQS) {
        return -EINVAL;
    }
    if (wanted >= 0) {
        return find_locked(d, (unsigned)wanted) ? -EEXIST : wanted;
    }
    for (unsigned i = arch_facts.gsi_count; i < MAX_PIRQS; i++) {
        if (d->pv.pirq[i] == PIRQ_FREE) {
            return (int)i;
        }
    }
    return -ENOSPC;
}

static void map_locked(struct irq_line *l, const struct irq_line *content)
{
    *l = *content;
    l->d->pv.pirq[l->pirq] = (uint16_t)(token_of(l) + 1);
}

int pirq_map_gsi(struct domain *d, int gsi, int *pirq)
{
    if (gsi < 0 || (unsigned)gsi >= arch_facts.gsi_count) {
        return -EINVAL;
    }
    SPIN_GUARD(&irq_lock);
    struct irq_line *l = &line[gsi];
    if (l->d == d && (*pirq < 0 || *pirq == l->pirq)) {
        *pirq = l->pirq;
        return 0;
    }
    int nr = l->d ? -EEXIST : choose_locked(d, *pirq < 0 ? gsi : *pirq);
    if (nr >= 0) {
        map_locked(l, &(struct irq_line){.d = d, .pirq = (uint16_t)nr});
        *pirq = nr;
    }
    return MIN(nr, 0);
}

/* The line that stands for a message interrupt, or else a free one; NULL when there is none. */
static struct irq_line *msi_line_locked(const struct pci_msi *msi)
{
    struct irq_line *found = NULL;
    for (struct irq_line *l = &line[MAX_GSIS]; l < &line[LINE_COUNT]; l++) {
        if (!l->d) {
            found = found ?: l;
        } else if (l->msi.bdf == msi->bdf && l->msi.msix == msi->msix &&
                   l->msi.entry == msi->entry) {
            return l;
        }
    }
    return found;
}

/* Another pcpu is a change of one word only, so what can't be masked arrives at one of the two. */
static void msi_write(const struct irq_line *l)
{
    uint64_t address;
    uint32_t data;
    arch_msi_message(l->vector, l->cpu, &address, &data);
    pci_msi_program(&l->msi, address, data);
    pci_msi_mask(&l->msi, l->port == 0);
}

/* table_base tells MSI-X from MSI; the table itself is found by our own look at the device. */
static int map_msi(struct domain *d, struct physdev_map_pirq *arg)
{
    struct pci_msi msi;
    if (arg->devfn < 0 || arg->devfn > 0xff || (arg->bus & 0xffff) > 0xff || arg->entry_nr < 0) {
        return -EINVAL;
    }
    if (arg->type != MAP_PIRQ_TYPE_MSI && (unsigned)arg->bus >> 16) {
        return -ENODEV; /* a segment beyond the first */
    }
    uint16_t bdf = PCI_BDF(arg->bus & 0xff, arg->devfn);
    SPIN_GUARD(&irq_lock);
    if (read_once(d->state) != DOM_ALIVE) {
        return -ESRCH; /* or it would come after pirq_release() */
    }
    int rc = pci_msi_find(bdf, arg->table_base != 0, (unsigned)arg->entry_nr, &msi);
    int nr = rc ?: choose_locked(d, arg->pirq);
    struct irq_line *l = nr < 0 ? NULL : msi_line_locked(&msi);
    if (!l || l->d) {
        return nr < 0 ? nr : l ? -EEXIST : -ENOSPC;
    }
    int vector = arch_msi_vector_alloc(token_of(l));
    if (vector < 0) {
        return vector;
    }
    map_locked(l, &(struct irq_line){.d = d, .pirq = (uint16_t)nr, .vector = vector, .msi = msi});
    msi_write(l);
    arg->pirq = nr;
    return 0;
}

static void mask_locked(const struct irq_line *l, bool masked)
{
    if (is_msi(l)) {
        pci_msi_mask(&l->msi, masked);
    } else {
        arch_gsi_mask(token_of(l), masked);
    }
}

static void unbind_locked(struct irq_line *l)
{
    if (l->port) {
        mask_locked(l, true);
        if (!is_msi(l)) {
            arch_gsi_unbind(token_of(l));
        }
        l->port = 0;
        l->needs_eoi = false;
    }
}

static void unmap_locked(struct irq_line *l)
{
    unbind_locked(l);
    if (is_msi(l)) {
        arch_msi_vector_free(l->vector);
    }
    l->d->pv.pirq[l->pirq] = PIRQ_FREE;
    l->d = NULL;
}

long pirq_release(struct domain *d)
{
    for (unsigned i = 0; i < MAX_PIRQS; i++) {
        (void)!pirq_unmap(d, i);
    }
    return 0;
}

int pirq_unmap(struct domain *d, unsigned pirq)
{
    SPIN_GUARD(&irq_lock);
    struct irq_line *l = find_locked(d, pirq);
    if (l) {
        unmap_locked(l);
    } else if (pirq < MAX_PIRQS && d->pv.pirq[pirq] == PIRQ_RESERVED) {
        d->pv.pirq[pirq] = PIRQ_FREE;
    } else {
        return -EINVAL;
    }
    return 0;
}

/* ---- event channels ---- */

int pirq_bind(struct domain *d, unsigned pirq, uint32_t port)
{
    SPIN_GUARD(&irq_lock);
    struct irq_line *l = find_locked(d, pirq);
    if (!l || l->port) {
        return l ? -EEXIST : -EINVAL;
    }
    int rc = is_msi(l) ? 0 : arch_gsi_bind(token_of(l), l->cpu);
    if (rc == 0) {
        l->port = port;
        mask_locked(l, false);
    }
    return rc;
}

void pirq_unbind(struct domain *d, unsigned pirq, uint32_t port)
{
    SPIN_GUARD(&irq_lock);
    struct irq_line *l = find_locked(d, pirq);
    if (l && l->port == port) {
        unbind_locked(l);
    }
}

void pirq_route(struct domain *d, unsigned pirq, unsigned cpu)
{
    SPIN_GUARD(&irq_lock);
    struct irq_line *l = find_locked(d, pirq);
    if (!l || !l->port || l->cpu == cpu) {
        return;
    }
    l->cpu = (uint8_t)cpu;
    l->taken = 0;
    if (is_msi(l)) {
        msi_write(l);
    } else {
        arch_gsi_route(token_of(l), cpu);
    }
}

void pirq_show(const struct domain *d, unsigned pirq)
{
    const struct irq_line *l = find_locked(d, pirq); /* without the lock: for a person */
    if (l) {
        printk("    %s to pcpu %u, taken there %u times\n", is_msi(l) ? "message" : "line", l->cpu,
               l->taken);
    }
}

void upcall_irq(unsigned token)
{
    span_note(SPAN_ENTRY, 1, token);
    ASSERT(token < LINE_COUNT);
    struct irq_line *l = &line[token];
    spin_lock(&irq_lock);
    struct domain *d = l->d;
    uint32_t port = l->port;
    l->needs_eoi = port && is_level(l);
    l->taken += l->cpu == arch_cpu_id();
    if (port) {
        domain_get_held(d);
    }
    spin_unlock(&irq_lock);
    if (port) {
        evtchn_send_pirq(d, port);
        domain_put(d);
    }
}

/* ---- PHYSDEVOP_* on interrupts ---- */

long physdevop_irq_status_query(struct hypercall *hc, struct physdev_irq_status_query *arg)
{
    SPIN_GUARD(&irq_lock);
    const struct irq_line *l = find_locked(hc->d, arg->irq);
    if (!l) {
        return -EINVAL;
    }
    arg->flags = is_level(l) ? XENIRQSTAT_needs_eoi : 0;
    return 0;
}

long physdevop_eoi(struct hypercall *hc, struct physdev_eoi *arg)
{
    SPIN_GUARD(&irq_lock);
    struct irq_line *l = find_locked(hc->d, arg->irq);
    if (!l) {
        return -EINVAL;
    }
    if (l->needs_eoi) {
        l->needs_eoi = false;
        mask_locked(l, false);
    }
    return 0;
}

/* ABI: Linux asks for every GSI and gives up on the device if this fails; it ignores the number,
 * because the vector is chosen when the GSI is bound. */
long physdevop_alloc_irq_vector(struct hypercall *hc unused, struct physdev_irq *arg)
{
    arg->vector = arg->irq;
    return arg->irq < arch_facts.gsi_count ? 0 : -EINVAL;
}

long physdevop_map_pirq(struct hypercall *hc, struct physdev_map_pirq *arg)
{
    struct domain *d = hc->target;
    if (!hc->d->privileged) {
        return -EPERM;
    }
    switch (arg->type) {
    case MAP_PIRQ_TYPE_GSI:
        /* A line can be shared, and who drives the other devices on it is the control domain. */
        return d == hc->d ? pirq_map_gsi(d, arg->index, &arg->pirq) : -EOPNOTSUPP;
    case MAP_PIRQ_TYPE_MULTI_MSI:
        /* Several messages of one capability need neighbouring vectors; drivers take one then. */
        if (arg->entry_nr != 1 || arg->table_base) {
            return -EOPNOTSUPP;
        }
        return map_msi(d, arg);
    case MAP_PIRQ_TYPE_MSI:
    case MAP_PIRQ_TYPE_MSI_SEG:
        return map_msi(d, arg);
    default:
        return -EINVAL;
    }
}

long physdevop_unmap_pirq(struct hypercall *hc, struct physdev_unmap_pirq *arg)
{
    return hc->d->privileged ? pirq_unmap(hc->target, (unsigned)arg->pirq) : -EPERM;
}

long physdevop_get_free_pirq(struct hypercall *hc, struct physdev_get_free_pirq *arg)
{
    if (arg->type != MAP_PIRQ_TYPE_MSI && arg->type != MAP_PIRQ_TYPE_MSI_SEG) {
        return -EINVAL;
    }
    SPIN_GUARD(&irq_lock);
    int nr = choose_locked(hc->d, -1);
    if (nr >= 0) {
        hc->d->pv.pirq[nr] = PIRQ_RESERVED;
        arg->pirq = (uint32_t)nr;
    }
    return MIN(nr, 0);
}

long physdevop_setup_gsi(struct hypercall *hc unused, struct physdev_setup_gsi *arg)
{
    if (arg->triggering > 1 || arg->polarity > 1 || arg->gsi < 0 ||
        (unsigned)arg->gsi >= arch_facts.gsi_count) {
        return -EINVAL;
    }
    SPIN_GUARD(&irq_lock);
    return line[arg->gsi].port ? -EEXIST
                               : arch_gsi_setup((unsigned)arg->gsi, arg->triggering, arg->polarity);
}

/* ---- devices coming and going ---- */

long physdevop_pci_add(uint16_t bdf)
{
    return pci_present(bdf) ? 0 : -ENODEV;
}

long physdevop_pci_remove(uint16_t bdf)
{
    SPIN_GUARD(&irq_lock);
    for (struct irq_line *l = &line[MAX_GSIS]; l < &line[LINE_COUNT]; l++) {
        if (l->d && l->msi.bdf == bdf) {
            unmap_locked(l);
        }
    }
    return 0;
}

long physdevop_pci_restore_msi(uint16_t bdf)
{
    SPIN_GUARD(&irq_lock);
    for (const struct irq_line *l = &line[MAX_GSIS]; l < &line[LINE_COUNT]; l++) {
        if (l->d && l->msi.bdf == bdf) {
            msi_write(l);
        }
    }
    return 0;
}

long physdevop_pci_has_msix(uint16_t bdf)
{
    struct pci_msi msi;
    SPIN_GUARD(&irq_lock);
    return pci_msi_find(bdf, true, 0, &msi);
}

/* ---- the virtual I/O rights any guest keeps for its own user mode ---- */

long physdevop_set_iopl(struct hypercall *hc, struct physdev_set_iopl *arg)
{
    if (arg->iopl > 3) {
        return -EINVAL;
    }
    pv_set_iopl(hc->v, arg->iopl);
    return 0;
}

/* The address is only kept: the bitmap is read, with the guest's rights, when a port is used. */
long physdevop_set_iobitmap(struct hypercall *hc, struct physdev_set_iobitmap *arg)
{
    if (arg->nr_ports > IOBITMAP_PORTS_MAX || !is_canonical(GUEST_ADDR(arg->bitmap))) {
        return -EINVAL;
    }
    hc->v->pv.iobmp = GUEST_ADDR(arg->bitmap);
    hc->v->pv.iobmp_ports = arg->nr_ports;
    return 0;
}

#define OP_PCI(nr, name, type, segment, handler, doc)                                              \
    case nr: {                                                                                     \
        type arg;                                                                                  \
        if (guest_read(&arg, hc->arg[1], sizeof(arg))) {                                           \
            return -EFAULT;                                                                        \
        }                                                                                          \
        if (!hc->d->privileged) {                                                                  \
            return -EPERM;                                                                         \
        }                                                                                          \
        return (segment) ? -ENODEV : handler(PCI_BDF(arg.bus, arg.devfn));                         \
    }

long hc_physdev_op(struct hypercall *hc)
{
    switch (hc->arg[0]) {
#include "pv-abi/ops/physdev.def"
    }
    return -ENOSYS;
}
