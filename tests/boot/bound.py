# SPDX-License-Identifier: MIT
"""How long a pcpu runs with interrupts off, in instructions: what a debug hypervisor (core/span.c)
says about itself on QEMU's instruction-counted clock, by cause, and whether it is too long."""
import os
import re

import machine

LIMIT = 250000
# The worst of these must have been seen, or the run has not tried what it is for.
CALLS_LEAST = 40
ABI = os.path.join(machine.TOP, "pv-abi")
FAMILIES = {"platform_op": "platform", "memory_op": "memory", "grant_table_op": "gnttab",
            "vcpu_op": "vcpu", "mmuext_op": "mmuext", "sched_op": "sched",
            "event_channel_op": "evtchn", "physdev_op": "physdev", "sysctl": "sysctl",
            "domctl": "domctl"}
NUMBERED = ("xen_version", "console_io", "callback_op")
SPAN = re.compile(r"span: (up to|longest) (\d+) cycles in (\w+) (\d+)\.(\d+)$", re.MULTILINE)


def _rows(path):
    with open(os.path.join(ABI, path), encoding="ascii") as f:
        return {int(number): name
                for number, name in re.findall(r"^[A-Z_]+\((\d+), (\w+)", f.read(), re.MULTILINE)}


def _name(kind, number, operation, calls):
    if kind != "hypercall":
        return "%s %d" % (kind, number)
    call = calls.get(number, "hypercall %d" % number)
    if call in FAMILIES:
        known = _rows("ops/%s.def" % FAMILIES[call])
        return "%s %s" % (call, known.get(operation, "other"))
    return "%s %d" % (call, operation) if call in NUMBERED else call


def table(text):
    """{cause: longest span} of all that the console shows."""
    calls = _rows("hypercalls.def")
    worst = {}
    for _, cycles, kind, number, operation in SPAN.findall(text):
        name = _name(kind, int(number), int(operation), calls)
        worst[name] = max(worst.get(name, 0), int(cycles))
    return worst


def problems(worst, least=CALLS_LEAST):
    """What is wrong with that table."""
    found = ["%s: %d instructions without an interrupt, limit %d" % (name, cycles, LIMIT)
             for name, cycles in worst.items() if cycles > LIMIT]
    if len(worst) < least:
        found.append("only %d causes were measured" % len(worst))
    return found


def show(worst, count):
    for name in sorted(worst, key=worst.get, reverse=True)[:count]:
        print("         %9d %s" % (worst[name], name))
