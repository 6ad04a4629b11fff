// SPDX-License-Identifier: MIT
/*
 * Port policy. Accesses that touch only free ports go to the hardware as they are; those that touch
 * a port with a rule are taken apart into bytes, so no width gets around a rule. The configuration
 * ports are core/pci.c's. The clock's index register is kept per domain, because reading the clock
 * is two accesses and the hypervisor reads it too.
 */
#include "pv/ioport.h"

#include "core/pci.h"

#define PORT_CMOS_INDEX 0x70
#define PORT_CMOS_DATA 0x71
#define PORT_PCI_FIRST 0xcf8
#define PORT_PCI_LAST 0xcff

static const struct {
    uint16_t first, last;
} hypervisor_ports[] = {
    {0x20, 0x21},                 /* interrupt controllers */
    {0x40, 0x43},                 /* interval timer */
    {0x92, 0x92},                 /* A20 and reset */
    {0xa0, 0xa1},   {0xf0, 0xf0}, /* coprocessor error */
    {0x3f8, 0x3ff},               /* first serial port: the hypervisor's console */
    {0x4d0, 0x4d1},               /* triggers of the interrupt controllers */
};

enum port_rule { RULE_FREE, RULE_DENIED, RULE_CMOS };

static enum port_rule rule_of(uint32_t port)
{
    if (port > 0xffff) {
        return RULE_DENIED;
    }
    if (port == PORT_CMOS_INDEX || port == PORT_CMOS_DATA) {
        return RULE_CMOS;
    }
    if (port >= PORT_PCI_FIRST && port <= PORT_PCI_LAST) {
        return RULE_DENIED; /* only as a whole access, below */
    }
    for (unsigned i = 0; i < ARRAY_SIZE(hypervisor_ports); i++) {
        if (port >= hypervisor_ports[i].first && port <= hypervisor_ports[i].last) {
            return RULE_DENIED;
        }
    }
    return RULE_FREE;
}

static bool all_free(uint16_t port, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        if (rule_of(port + i) != RULE_FREE) {
            return false;
        }
    }
    return true;
}

static bool is_pci(uint16_t port, unsigned bytes)
{
    return port >= PORT_PCI_FIRST && port + bytes - 1 <= PORT_PCI_LAST;
}

static uint8_t byte_in(struct domain *d, uint32_t port)
{
    switch (rule_of(port)) {
    case RULE_FREE:
        return (uint8_t)arch_in((uint16_t)port, 1);
    case RULE_CMOS:
        if (port == PORT_CMOS_INDEX) {
            return d->pv.cmos_index;
        }
        arch_out(PORT_CMOS_INDEX, 1, d->pv.cmos_index);
        return (uint8_t)arch_in(PORT_CMOS_DATA, 1);
    default:
        return 0xff;
    }
}

static void byte_out(struct domain *d, uint32_t port, uint8_t value)
{
    switch (rule_of(port)) {
    case RULE_FREE:
        arch_out((uint16_t)port, 1, value);
        break;
    case RULE_CMOS:
        if (port == PORT_CMOS_INDEX) {
            /* Bit 7 would switch NMIs off. */
            d->pv.cmos_index = value & 0x7f;
        } else {
            arch_out(PORT_CMOS_INDEX, 1, d->pv.cmos_index);
            arch_out(PORT_CMOS_DATA, 1, value);
        }
        break;
    default:
        break;
    }
}

uint32_t ioport_in(struct domain *d, uint16_t port, unsigned bytes)
{
    if (!d->privileged) {
        return ~0U;
    }
    if (is_pci(port, bytes)) {
        return pci_guest_in(d, port, bytes);
    }
    if (all_free(port, bytes)) {
        return arch_in(port, bytes);
    }
    uint32_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint32_t)byte_in(d, (uint32_t)port + i) << (8 * i);
    }
    return value;
}

void ioport_out(struct domain *d, uint16_t port, unsigned bytes, uint32_t value)
{
    if (!d->privileged) {
        return;
    }
    if (is_pci(port, bytes)) {
        pci_guest_out(d, port, bytes, value);
    } else if (all_free(port, bytes)) {
        arch_out(port, bytes, value);
    } else {
        for (unsigned i = 0; i < bytes; i++) {
            byte_out(d, (uint32_t)port + i, (uint8_t)(value >> (8 * i)));
        }
    }
}
