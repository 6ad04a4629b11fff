#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make bench MODE=wall`: wall time from power-on over userland to power-off, in turns on
Paravane, on Debian's Xen 4.17 and on the bare machine, with the same kernel, ramdisk and QEMU
options. Turns make what else the machine does hit all three alike; the ratio of medians is the
result.

  PAIRS=5               rounds
  SYSTEMS=xen,bare      systems; default paravane,xen,bare
"""
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts"))

import machine  # noqa: E402

LIMIT = 600


def one(hv, initrd):
    setup = machine.Setup(hv, "poweroff", initrd)
    setup.cpu = "max,-smap"
    log = os.path.join(machine.OUT, "logs/bench-%s.log" % hv)
    console = machine.Console(setup, log)
    off = console.wait_end(LIMIT)
    seconds = console.close()
    if not off or "PV: userland" not in console.text:
        raise SystemExit("bench: %s: %s; see %s" % (hv, console.how_it_ended(), log))
    return seconds


def main():
    os.makedirs(os.path.join(machine.OUT, "logs"), exist_ok=True)
    systems = os.environ.get("SYSTEMS", "paravane,xen,bare").split(",")
    initrd = os.environ.get("INITRD", "bare-initrd")
    times = {hv: [] for hv in systems}
    for number in range(int(os.environ.get("PAIRS", "3"))):
        for hv in systems:
            times[hv].append(one(hv, initrd))
        print("round %d: " % (number + 1) + "  ".join(
            "%s %.2f s" % (hv, times[hv][-1]) for hv in systems), flush=True)
    medians = {hv: statistics.median(times[hv]) for hv in systems}
    print("median:  " + "  ".join("%s %.2f s" % item for item in medians.items()))
    for hv in systems[1:]:
        print("%s / %s = %.3f" % (systems[0], hv, medians[systems[0]] / medians[hv]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
