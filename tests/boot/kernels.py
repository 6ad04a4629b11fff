# SPDX-License-Identifier: MIT
"""The test kernels of tests/guests/ without any other domain: which there are, how one is started
in the control domain's place, and what its console says about it.

A kernel that cannot do without others says so in its head comment: "Not alone: <reason>.", one that
wants options of the hypervisor when it is alone "Alone with <options>."
"""
import collections
import os
import re

import machine

SOURCES = os.path.join(machine.TOP, "tests/guests")
LIMIT = 120
# The control domain's end is the machine's; with noreboot it stops there.
ENDED = r"control domain has (shut down|crashed) |^\(PV\) Stopped, "

Kernel = collections.namedtuple("Kernel", "name path reason options")


def wanted(names):
    """All that can run alone, or those of "name,name"; `reason` says why one of these cannot."""
    only = [name for name in (names or "").split(",") if name]
    found = []
    for name in only or sorted(os.listdir(SOURCES)):
        source = os.path.join(SOURCES, name, "main.c")
        if not os.path.exists(source):
            if only:
                raise SystemExit("no test kernel named " + name)
            continue
        with open(source, encoding="ascii") as f:
            head = f.read()
        refusal = re.search(r"^ \* Not alone: (.*)$", head, re.MULTILINE)
        options = re.search(r"^ \* Alone with (.*)\.$", head, re.MULTILINE)
        if only or not refusal:
            found.append(Kernel(name, os.path.join(machine.OUT, "guests", name + ".elf"),
                                refusal and refusal.group(1), options.group(1) if options else ""))
    return found


def judge(text, fatal):
    """What is wrong with the run of a kernel that said `text`; None: nothing."""
    said = re.findall(r"^guest: (.*)$", text, re.MULTILINE) or ["nothing"]
    end = re.search(ENDED, text, re.MULTILINE)
    last = "; ".join(said[-8:])
    if fatal:
        return "CRASH: the console shows: " + fatal
    if not end:
        return "CRASH: no end; last: " + last
    good = {"shut down": "verdict SUCCESS ", "crashed": "verdict EXPECT-END "}
    return None if said[-1].startswith(good.get(end.group(1), "-")) else last


def setup_for(kernel, hv_args=""):
    setup = machine.Setup()
    setup.kernel = kernel.path
    setup.memory = 256
    setup.dom0_memory = "12M"   # as much as beside the canary
    own = os.environ.get("HV_ARGS") or ""
    setup.hv_args = " ".join(["dom0_max_vcpus=2 noreboot", kernel.options, hv_args, own])
    return setup


def run_alone(kernel, start, cpu, logs, hv_args=""):
    """In the machine that start(setup, log) makes: machine.Console or bochs.Bochs. Returns what is
    wrong, or None."""
    setup = setup_for(kernel, hv_args)
    setup.cpu = cpu
    os.makedirs(logs, exist_ok=True)
    console = start(setup, os.path.join(logs, kernel.name + ".log"))
    try:
        console.wait_for(ENDED, LIMIT)
    finally:
        console.close()
    return judge(console.text, console.fatal)
