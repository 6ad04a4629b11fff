// SPDX-License-Identifier: MIT
/*
 * Routing of physical interrupts to event channels.
 *
 *   line (token of arch/)  --->  domain, pirq  --->  port
 *
 * Lines below LINE_MSI_FIRST are GSIs, the others message interrupts. line[].d is set while a pirq
 * of that domain stands for the line; d->pv.pirq[] holds the other direction. Both change under
 * irq_lock. Arrivals come from arch/ with no lock held; the event is sent after irq_lock is
 * dropped, because sending may take d's evtchn_lock, which is of lower rank.
 */
#include "core/pirq.h"

#include "arch/arch.h"
#include "arch/upcalls.h"
#include "base/checked.h"
#include "core/domain.h"
#include "core/pci.h"

#define LINE_MSI_FIRST 256u
#define LINE_COUNT (LINE_MSI_FIRST + PV_PIRQ_MAX)

struct irq_line {
    struct domain *d; /* NULL: not mapped */
    uint16_t pirq;
    int vector;         /* message interrupts */
    struct pci_msi msi; /* message interrupts: where the device keeps it */
};

static struct spinlock irq_lock = SPINLOCK_INIT(RANK_IRQ);
static struct irq_line line[LINE_COUNT]; /* under irq_lock */

static unsigned gsi_count(void)
{
    return MIN(arch_gsi_count(), LINE_MSI_FIRST);
}

/* The mapped pirq with this number, or NULL. */
static struct pv_pirq *pirq_find_locked(struct domain *d, unsigned pirq)
{
    if (pirq >= PV_PIRQ_MAX) {
        return NULL;
    }
    struct pv_pirq *p = &d->pv.pirq[clamp_index(pirq, PV_PIRQ_MAX)];
    return p->type == PIRQ_GSI || p->type == PIRQ_MSI ? p : NULL;
}

/* A number for a new message interrupt: what the caller asked for, or one that is no GSI's. */
static int pirq_choose_locked(const struct domain *d, int wanted)
{
    if (wanted >= 0) {
        if (wanted >= PV_PIRQ_MAX) {
            return -EINVAL;
        }
        unsigned type = d->pv.pirq[wanted].type;
        return type == PIRQ_NONE || type == PIRQ_RESERVED ? wanted : -EEXIST;
    }
    for (unsigned i = gsi_count(); i < PV_PIRQ_MAX; i++) {
        if (d->pv.pirq[i].type == PIRQ_NONE) {
            return (int)i;
        }
    }
    return -ENOSPC;
}

int pirq_map_gsi(struct domain *d, int gsi, int *pirq)
{
    if (gsi < 0 || (unsigned)gsi >= gsi_count()) {
        return -EINVAL;
    }
    int rc = 0;
    spin_lock(&irq_lock);
    struct irq_line *l = &line[gsi];
    if (l->d) {
        if (l->d != d || (*pirq >= 0 && *pirq != l->pirq)) {
            rc = -EEXIST;
        } else {
            *pirq = l->pirq;
        }
        goto unlock;
    }
    rc = pirq_choose_locked(d, *pirq < 0 ? gsi : *pirq);
    if (rc >= 0) {
        d->pv.pirq[rc] = (struct pv_pirq){.type = PIRQ_GSI, .gsi = (uint16_t)gsi};
        *l = (struct irq_line){.d = d, .pirq = (uint16_t)rc};
        *pirq = rc;
        rc = 0;
    }
unlock:
    spin_unlock(&irq_lock);
    return rc;
}

static bool same_source(const struct pci_msi *a, const struct pci_msi *b)
{
    return a->bdf == b->bdf && a->msix == b->msix && a->entry == b->entry;
}

/* A free line for a message interrupt; -EEXIST when one already stands for this source. */
static int msi_line_locked(const struct pci_msi *msi)
{
    int found = -ENOSPC;
    for (unsigned i = LINE_MSI_FIRST; i < LINE_COUNT; i++) {
        if (line[i].d && same_source(&line[i].msi, msi)) {
            return -EEXIST;
        }
        if (!line[i].d && found < 0) {
            found = (int)i;
        }
    }
    return found;
}

static void msi_write(const struct irq_line *l)
{
    uint64_t address;
    uint32_t data;
    arch_msi_message(l->vector, &address, &data);
    pci_msi_program(&l->msi, address, data);
}

int pirq_map_msi(struct domain *d, const struct pci_msi *msi, int *pirq)
{
    spin_lock(&irq_lock);
    int nr = pirq_choose_locked(d, *pirq);
    int token = nr < 0 ? nr : msi_line_locked(msi);
    int vector = token < 0 ? token : arch_msi_vector_alloc((unsigned)token);
    if (vector >= 0) {
        line[token] =
            (struct irq_line){.d = d, .pirq = (uint16_t)nr, .vector = vector, .msi = *msi};
        d->pv.pirq[nr] = (struct pv_pirq){.type = PIRQ_MSI, .gsi = (uint16_t)token};
        msi_write(&line[token]);
        *pirq = nr;
    }
    spin_unlock(&irq_lock);
    return vector < 0 ? vector : 0;
}

int pirq_reserve(struct domain *d, uint32_t *pirq)
{
    spin_lock(&irq_lock);
    int nr = pirq_choose_locked(d, -1);
    if (nr >= 0) {
        d->pv.pirq[nr].type = PIRQ_RESERVED;
        *pirq = (uint32_t)nr;
    }
    spin_unlock(&irq_lock);
    return nr < 0 ? nr : 0;
}

static void unbind_locked(struct pv_pirq *p)
{
    if (p->port == 0) {
        return;
    }
    if (p->type == PIRQ_GSI) {
        arch_gsi_mask(p->gsi);
        arch_gsi_unbind(p->gsi);
    } else {
        pci_msi_mask(&line[p->gsi].msi, true);
    }
    p->port = 0;
    p->needs_eoi = false;
}

static void unmap_locked(struct pv_pirq *p)
{
    unbind_locked(p);
    struct irq_line *l = &line[p->gsi];
    if (p->type == PIRQ_MSI) {
        arch_msi_vector_free(l->vector);
    }
    l->d = NULL;
    p->type = PIRQ_NONE;
}

int pirq_unmap(struct domain *d, int pirq)
{
    if (pirq < 0 || pirq >= PV_PIRQ_MAX) {
        return -EINVAL;
    }
    int rc = 0;
    spin_lock(&irq_lock);
    struct pv_pirq *p = pirq_find_locked(d, (unsigned)pirq);
    if (p) {
        unmap_locked(p);
    } else if (d->pv.pirq[pirq].type == PIRQ_RESERVED) {
        d->pv.pirq[pirq].type = PIRQ_NONE;
    } else {
        rc = -EINVAL;
    }
    spin_unlock(&irq_lock);
    return rc;
}

int pirq_bind(struct domain *d, unsigned pirq, uint32_t port)
{
    int rc = 0;
    spin_lock(&irq_lock);
    struct pv_pirq *p = pirq_find_locked(d, pirq);
    if (!p) {
        rc = -EINVAL;
    } else if (p->port) {
        rc = -EEXIST;
    } else if (p->type == PIRQ_GSI) {
        rc = arch_gsi_bind(p->gsi);
    }
    if (rc == 0) {
        p->port = port;
        p->needs_eoi = false;
        if (p->type == PIRQ_GSI) {
            arch_gsi_unmask(p->gsi);
        } else {
            pci_msi_mask(&line[p->gsi].msi, false);
        }
    }
    spin_unlock(&irq_lock);
    return rc;
}

void pirq_unbind(struct domain *d, unsigned pirq, uint32_t port)
{
    spin_lock(&irq_lock);
    struct pv_pirq *p = pirq_find_locked(d, pirq);
    if (p && p->port == port) {
        unbind_locked(p);
    }
    spin_unlock(&irq_lock);
}

int pirq_eoi(struct domain *d, unsigned pirq)
{
    spin_lock(&irq_lock);
    struct pv_pirq *p = pirq_find_locked(d, pirq);
    if (p && p->needs_eoi) {
        p->needs_eoi = false;
        arch_gsi_unmask(p->gsi);
    }
    spin_unlock(&irq_lock);
    return p ? 0 : -EINVAL;
}

int pirq_status(struct domain *d, unsigned pirq, bool *needs_eoi)
{
    spin_lock(&irq_lock);
    struct pv_pirq *p = pirq_find_locked(d, pirq);
    *needs_eoi = p && p->type == PIRQ_GSI && arch_gsi_is_level(p->gsi);
    spin_unlock(&irq_lock);
    return p ? 0 : -EINVAL;
}

int pirq_setup_gsi(int gsi, bool level, bool low)
{
    if (gsi < 0 || (unsigned)gsi >= gsi_count()) {
        return -EINVAL;
    }
    spin_lock(&irq_lock);
    const struct irq_line *l = &line[gsi];
    bool bound = l->d && l->d->pv.pirq[l->pirq].port;
    int rc = bound ? -EEXIST : arch_gsi_setup((unsigned)gsi, level, low);
    spin_unlock(&irq_lock);
    return rc;
}

void pirq_restore_device(uint16_t bdf)
{
    spin_lock(&irq_lock);
    for (unsigned i = LINE_MSI_FIRST; i < LINE_COUNT; i++) {
        if (line[i].d && line[i].msi.bdf == bdf) {
            msi_write(&line[i]);
            pci_msi_mask(&line[i].msi, line[i].d->pv.pirq[line[i].pirq].port == 0);
        }
    }
    spin_unlock(&irq_lock);
}

void pirq_forget_device(uint16_t bdf)
{
    spin_lock(&irq_lock);
    for (unsigned i = LINE_MSI_FIRST; i < LINE_COUNT; i++) {
        if (line[i].d && line[i].msi.bdf == bdf) {
            unmap_locked(&line[i].d->pv.pirq[line[i].pirq]);
        }
    }
    spin_unlock(&irq_lock);
}

void upcall_irq(unsigned token)
{
    struct domain *d = NULL;
    uint32_t port = 0;
    spin_lock(&irq_lock);
    if (token < LINE_COUNT && line[token].d) {
        struct pv_pirq *p = &line[token].d->pv.pirq[line[token].pirq];
        d = line[token].d;
        port = p->port;
        p->needs_eoi = port && p->type == PIRQ_GSI && arch_gsi_is_level(p->gsi);
    }
    spin_unlock(&irq_lock);
    if (port) {
        evtchn_send_pirq(d, port);
    }
}
