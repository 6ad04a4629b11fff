#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make run`: starts the machine. With a person at the terminal QEMU takes it over; with BATCH=1
the control domain works through its list alone, and the exit status says whether all of it,
power-off included, went well.

Environment: HV=paravane (default), xen or bare; ACCEL, CPU, CPUS, MACHINE, MEMORY, DOM0_MEM,
HV_ARGS, DOM0_ARGS, MODE; BATCH=1.
"""
import os
import re
import sys

import machine

BATCH_LIMIT = 1800


def setup_from_environment():
    def env(name, usual):
        """make exports variables nobody has set as empty ones."""
        return os.environ.get(name) or usual

    batch = env("BATCH", "0") != "0"
    setup = machine.Setup(hv=env("HV", "paravane"), mode="batch" if batch else env("MODE", "run"),
                          initrd="dom0-initrd")
    setup.cpu = env("CPU", setup.cpu)
    setup.cpus = int(env("CPUS", setup.cpus))
    setup.machine = env("MACHINE", setup.machine)
    setup.memory = int(env("MEMORY", setup.memory))
    setup.dom0_memory = env("DOM0_MEM", setup.dom0_memory)
    setup.hv_args = env("HV_ARGS", "")
    setup.dom0_args = env("DOM0_ARGS", "")
    return setup, batch


def batch_run(setup):
    os.makedirs(os.path.join(machine.OUT, "logs"), exist_ok=True)
    log = os.path.join(machine.OUT, "logs/run.log")
    console = machine.Console(setup, log, echo=sys.stdout)
    off = console.wait_end(BATCH_LIMIT)
    seconds = console.close()
    problems = re.findall(r"^PV: FAIL (.*)$", console.text, re.MULTILINE)
    if console.fatal:
        problems.append("the console shows: " + console.fatal)
    if not re.search(r"^PV: verdict PASS$", console.text, re.MULTILINE) and not problems:
        problems.append("the control domain did not get to its verdict")
    if not off:
        problems.append("the machine did not power off: " + console.how_it_ended())
    print()
    for problem in problems:
        print("run: FAILED: " + problem)
    if problems:
        print("run: full log in " + os.path.relpath(log))
        return 1
    print("run: all well, %.0f s from power-on to power-off" % seconds)
    return 0


def main():
    setup, batch = setup_from_environment()
    missing = machine.missing(setup)
    if missing:
        print("run: FAILED: missing " + ", ".join(os.path.relpath(m) for m in missing))
        return 1
    if batch:
        return batch_run(setup)
    print("QEMU: Ctrl-A x ends it at once, Ctrl-A c is its monitor.", flush=True)
    command = setup.command() + ["-nographic"]
    os.execvp(command[0], command)
    return 1


if __name__ == "__main__":
    sys.exit(main())
