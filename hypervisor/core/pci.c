// SPDX-License-Identifier: MIT
/*
 * PCI configuration accesses and message interrupts. The port pair 0xcf8/0xcfc is shared by the
 * hypervisor and the control domain, so every access sets the address anew under pci_lock and the
 * control domain's own idea of the address register is kept in its struct domain.
 *
 * Values read from a device are data of a stranger: walks of lists are bounded, and an MSI-X table
 * is only mapped where no RAM and nothing of the hypervisor can be.
 */
#include "core/pci.h"

#include "arch/arch.h"
#include "base/lock.h"
#include "core/domain.h"

#define PORT_ADDRESS 0xcf8
#define PORT_DATA 0xcfc
#define ADDRESS_ENABLE 0x80000000u

#define REG_STATUS 0x06
#define STATUS_CAP_LIST 0x10
#define REG_HEADER_TYPE 0x0e
#define REG_BAR0 0x10
#define REG_CAP_LIST 0x34
#define CAP_MSI 0x05
#define CAP_MSIX 0x11
/* A function has 48 dwords for capabilities behind its header: a longer list is a loop. */
#define CAP_LIST_MAX 48

#define MSI_CONTROL 2
#define MSI_CONTROL_WIDE 0x80
#define MSI_CONTROL_MASKABLE 0x100
#define MSI_CONTROL_COUNT 0x70 /* messages in use, as a power of two */

#define MSIX_CONTROL 2
#define MSIX_CONTROL_SIZE 0x7ff
#define MSIX_TABLE 4
#define MSIX_ENTRY_BYTES 16
#define MSIX_ENTRY_MASKED 1u

#define MSIX_PAGES_MAX 128u

static struct spinlock pci_lock = SPINLOCK_INIT(RANK_PCI);

static struct {
    mfn_t mfn;
    volatile uint8_t *va;
} msix_page[MSIX_PAGES_MAX]; /* pages with MSI-X tables; under the caller's lock */
static unsigned msix_page_count;

static uint32_t conf_access(uint32_t address, uint16_t port, unsigned bytes, bool write,
                            uint32_t value)
{
    SPIN_GUARD(&pci_lock);
    arch_out(PORT_ADDRESS, 4, address);
    if (!write) {
        return arch_in(port, bytes);
    }
    arch_out(port, bytes, value);
    return 0;
}

static uint32_t conf_address(uint16_t bdf, unsigned reg)
{
    return ADDRESS_ENABLE | (uint32_t)bdf << 8 | (reg & 0xfc);
}

uint32_t pci_read(uint16_t bdf, unsigned reg, unsigned bytes)
{
    return conf_access(conf_address(bdf, reg), PORT_DATA + (reg & 3), bytes, false, 0);
}

void pci_write(uint16_t bdf, unsigned reg, unsigned bytes, uint32_t value)
{
    (void)conf_access(conf_address(bdf, reg), PORT_DATA + (reg & 3), bytes, true, value);
}

bool pci_present(uint16_t bdf)
{
    return pci_read(bdf, 0, 2) != 0xffff;
}

/* ---- the control domain's accesses ---- */

static bool is_data_access(const struct domain *d, uint16_t port, unsigned bytes)
{
    return port >= PORT_DATA && port + bytes <= PORT_DATA + 4 && (d->pv.cf8 & ADDRESS_ENABLE);
}

uint32_t pci_guest_in(struct domain *d, uint16_t port, unsigned bytes)
{
    if (port == PORT_ADDRESS && bytes == 4) {
        return read_once(d->pv.cf8);
    }
    if (is_data_access(d, port, bytes)) {
        return conf_access(d->pv.cf8 & ~3u, port, bytes, false, 0);
    }
    return ~0u;
}

void pci_guest_out(struct domain *d, uint16_t port, unsigned bytes, uint32_t value)
{
    if (port == PORT_ADDRESS && bytes == 4) {
        write_once(d->pv.cf8, value);
    } else if (is_data_access(d, port, bytes)) {
        (void)conf_access(d->pv.cf8 & ~3u, port, bytes, true, value);
    }
}

/* ---- message interrupts ---- */

static unsigned find_capability(uint16_t bdf, unsigned id)
{
    if (!(pci_read(bdf, REG_STATUS, 2) & STATUS_CAP_LIST)) {
        return 0;
    }
    unsigned pos = pci_read(bdf, REG_CAP_LIST, 1) & 0xfc;
    for (unsigned i = 0; i < CAP_LIST_MAX && pos >= 0x40; i++) {
        uint32_t head = pci_read(bdf, pos, 2);
        if ((head & 0xff) == id) {
            return pos;
        }
        pos = head >> 8 & 0xfc;
    }
    return 0;
}

/* Machine address in a memory base address register; 0 when it is none. */
static maddr_t bar_address(uint16_t bdf, unsigned bar)
{
    unsigned bars = (pci_read(bdf, REG_HEADER_TYPE, 1) & 0x7f) == 1 ? 2 : 6;
    if (bar >= bars) {
        return 0;
    }
    uint32_t low = pci_read(bdf, REG_BAR0 + 4 * bar, 4);
    if (low & 1) {
        return 0;
    }
    maddr_t base = low & ~0xfu;
    if ((low & 6) == 4 && bar + 1 < bars) {
        base |= (maddr_t)pci_read(bdf, REG_BAR0 + 4 * bar + 4, 4) << 32;
    }
    return base;
}

/* Mappings are for good, so they are kept. */
static volatile uint8_t *map_device_page(mfn_t mfn)
{
    for (unsigned i = 0; i < msix_page_count; i++) {
        if (msix_page[i].mfn == mfn) {
            return msix_page[i].va;
        }
    }
    volatile uint8_t *va =
        msix_page_count < MSIX_PAGES_MAX ? arch_ioremap(mfn << PAGE_SHIFT, PAGE_SIZE) : NULL;
    if (va) {
        msix_page[msix_page_count].mfn = mfn;
        msix_page[msix_page_count++].va = va;
    }
    return va;
}

static int find_msix_entry(uint16_t bdf, unsigned index, struct pci_msi *out)
{
    if (index > (pci_read(bdf, out->cap + MSIX_CONTROL, 2) & MSIX_CONTROL_SIZE)) {
        return -EINVAL;
    }
    uint32_t table = pci_read(bdf, out->cap + MSIX_TABLE, 4);
    maddr_t base = bar_address(bdf, table & 7);
    maddr_t at = base + (table & ~7u) + (maddr_t)index * MSIX_ENTRY_BYTES;
    mfn_t mfn = at >> PAGE_SHIFT;
    if (!base || at < base || at >> arch_facts.maddr_bits || arch_mfn_is_ram(mfn) ||
        arch_frame_is_hyp(mfn) || arch_mmio_denied(mfn)) {
        return -EINVAL;
    }
    volatile uint8_t *page = map_device_page(mfn);
    if (!page) {
        return -ENOMEM;
    }
    out->entry = (volatile uint32_t *)(page + (at & ~PAGE_MASK));
    return 0;
}

int pci_msi_find(uint16_t bdf, bool msix, unsigned index, struct pci_msi *out)
{
    unsigned cap = pci_present(bdf) ? find_capability(bdf, msix ? CAP_MSIX : CAP_MSI) : 0;
    if (!cap) {
        return -ENODEV;
    }
    *out = (struct pci_msi){.bdf = bdf, .cap = (uint8_t)cap, .msix = msix};
    if (msix) {
        return find_msix_entry(bdf, index, out);
    }
    uint32_t control = pci_read(bdf, cap + MSI_CONTROL, 2);
    out->wide = control & MSI_CONTROL_WIDE;
    out->maskable = control & MSI_CONTROL_MASKABLE;
    return 0;
}

void pci_msi_mask(const struct pci_msi *m, bool masked)
{
    if (m->msix) {
        m->entry[3] = masked ? MSIX_ENTRY_MASKED : 0;
    } else if (m->maskable) {
        pci_write(m->bdf, m->cap + (m->wide ? 16 : 12), 4, masked ? 1 : 0);
    }
}

void pci_msi_program(const struct pci_msi *m, uint64_t address, uint32_t data)
{
    pci_msi_mask(m, true);
    if (m->msix) {
        m->entry[0] = (uint32_t)address;
        m->entry[1] = (uint32_t)(address >> 32);
        m->entry[2] = data;
        return;
    }
    /* One message; the enable bit stays as the control domain has it. */
    uint32_t control = pci_read(m->bdf, m->cap + MSI_CONTROL, 2);
    pci_write(m->bdf, m->cap + MSI_CONTROL, 2, control & ~MSI_CONTROL_COUNT);
    pci_write(m->bdf, m->cap + 4, 4, (uint32_t)address);
    if (m->wide) {
        pci_write(m->bdf, m->cap + 8, 4, (uint32_t)(address >> 32));
    }
    pci_write(m->bdf, m->cap + (m->wide ? 12 : 8), 2, data);
}
