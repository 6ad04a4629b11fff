// SPDX-License-Identifier: MIT
/*
 * Port policy. Accesses that touch only free ports go to the hardware as they are; those that touch
 * a port with a rule are taken apart into bytes, so no width gets around a rule. The configuration
 * ports are core/pci.c's. The clock's index register is kept per domain, because reading the clock
 * is two accesses and the hypervisor reads it too.
 */
#include "core/pci.h"
#include "pv/emul.h"

#define PORT_CMOS_INDEX 0x70
#define PORT_CMOS_DATA 0x71
#define PORT_PCI_FIRST 0xcf8
#define PORT_PCI_LAST 0xcff

enum port_rule { RULE_FREE, RULE_DENIED, RULE_CMOS_INDEX, RULE_CMOS_DATA };

static const struct {
    uint32_t first, last;
    enum port_rule rule;
} port_rules[] = {
    {0x20, 0x21, RULE_DENIED}, /* interrupt controllers */
    {0x40, 0x43, RULE_DENIED}, /* interval timer */
    {PORT_CMOS_INDEX, PORT_CMOS_INDEX, RULE_CMOS_INDEX},
    {PORT_CMOS_DATA, PORT_CMOS_DATA, RULE_CMOS_DATA},
    {0x92, 0x92, RULE_DENIED}, /* A20 and reset */
    {0xa0, 0xa1, RULE_DENIED},
    {0xf0, 0xf0, RULE_DENIED},                    /* coprocessor error */
    {0x3f8, 0x3ff, RULE_DENIED},                  /* first serial port: the hypervisor's console */
    {0x4d0, 0x4d1, RULE_DENIED},                  /* triggers of the interrupt controllers */
    {PORT_PCI_FIRST, PORT_PCI_LAST, RULE_DENIED}, /* only as a whole access, below */
    {0x10000, ~0U, RULE_DENIED},                  /* over the end */
};

/* The rule of a port; of several, of the first that has one. */
static enum port_rule rule_of(uint32_t port, unsigned bytes)
{
    for (unsigned i = 0; i < ARRAY_SIZE(port_rules); i++) {
        if (port + bytes > port_rules[i].first && port <= port_rules[i].last) {
            return port_rules[i].rule;
        }
    }
    return RULE_FREE;
}

static bool is_pci(uint16_t port, unsigned bytes)
{
    return port >= PORT_PCI_FIRST && port + bytes - 1 <= PORT_PCI_LAST;
}

static uint8_t byte_in(const struct domain *d, uint32_t port)
{
    switch (rule_of(port, 1)) {
    case RULE_FREE:
        return (uint8_t)arch_in((uint16_t)port, 1);
    case RULE_CMOS_INDEX:
        return d->pv.cmos_index;
    case RULE_CMOS_DATA:
        arch_out(PORT_CMOS_INDEX, 1, d->pv.cmos_index);
        return (uint8_t)arch_in(PORT_CMOS_DATA, 1);
    default:
        return 0xff;
    }
}

static void byte_out(struct domain *d, uint32_t port, uint8_t value)
{
    enum port_rule rule = rule_of(port, 1);
    if (rule == RULE_CMOS_INDEX) {
        d->pv.cmos_index = value & 0x7f; /* bit 7 would switch NMIs off */
    } else if (rule != RULE_DENIED) {
        if (rule == RULE_CMOS_DATA) {
            arch_out(PORT_CMOS_INDEX, 1, d->pv.cmos_index);
        }
        arch_out((uint16_t)port, 1, value);
    }
}

/* A domain with a device of its own: the device's ports, and none with a rule. */
static bool may_use(struct domain *d, uint16_t port, unsigned bytes)
{
    return rule_of(port, bytes) == RULE_FREE && domain_may_reach(d, d->pv.ports, port, bytes);
}

uint32_t ioport_in(struct domain *d, uint16_t port, unsigned bytes)
{
    uint32_t value = 0;
    if (!d->privileged) {
        return may_use(d, port, bytes) ? arch_in(port, bytes) : ~0U;
    }
    if (is_pci(port, bytes)) {
        return pci_guest_in(d, port, bytes);
    }
    if (rule_of(port, bytes) == RULE_FREE) {
        return arch_in(port, bytes);
    }
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint32_t)byte_in(d, port + i) << (8 * i);
    }
    return value;
}

void ioport_out(struct domain *d, uint16_t port, unsigned bytes, uint32_t value)
{
    if (!d->privileged) {
        if (may_use(d, port, bytes)) {
            arch_out(port, bytes, value);
        }
        return;
    }
    if (is_pci(port, bytes)) {
        pci_guest_out(d, port, bytes, value);
    } else if (rule_of(port, bytes) == RULE_FREE) {
        arch_out(port, bytes, value);
    } else {
        for (unsigned i = 0; i < bytes; i++) {
            byte_out(d, port + i, (uint8_t)(value >> (8 * i)));
        }
    }
}
