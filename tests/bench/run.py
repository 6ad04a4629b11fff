#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make bench`: what each system costs, counted in instructions under QEMU's -icount, where one
virtual nanosecond is one instruction and the time-stamp counter counts them. Paravane is built
without assertions.

  raw     a tiny kernel in place of the control domain (raw/main.c): Xen and Paravane
  ops     ops.c as first process of a stock Debian kernel: on the bare machine, as control domain
          and as guest; the guest is made by `vane` on both hypervisors

  ROWS=raw,control,guest   parts; default all
  SYSTEMS=paravane             systems beside the ones a share needs; default all

Prints a table a part with "share", our extra over bare as a part of Xen's extra, and the geometric
mean; writes build/bench/results.json and, beside it, chart.svg.
"""
import json
import math
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../scripts"))

import chart  # noqa: E402
import cpio  # noqa: E402
import image  # noqa: E402
import kmodules  # noqa: E402
import machine  # noqa: E402

BENCH = os.path.join(machine.OUT, "bench")
LIMIT = 1800


def counted(hv, initrd, mode="shell"):
    setup = machine.Setup(hv, mode, initrd)
    setup.cpu, setup.cpus, setup.counted = "max,-smap", 1, True
    setup.dom0_args = "quiet"
    setup.hypervisor = "release/paravane.bin"
    return setup


def run(part, setup):
    """Starts the machine and returns what its BENCH lines say: {row: instructions}."""
    log = os.path.join(BENCH, "%s-%s.log" % (part, setup.hv))
    console = machine.Console(setup, log)
    end = console.wait_for(r"BENCH (end|failed.*)", LIMIT)
    console.wait_end(30)
    console.close()
    if not end or end.group(1) != "end":
        raise SystemExit("bench: %s on %s: %s; see %s" % (
            part, setup.hv, end.group(0) if end else console.fatal or console.how_it_ended(), log))
    return console.text


def raw(hv):
    setup = counted(hv, "")
    setup.kernel = os.path.abspath(os.path.join(BENCH, "raw.elf"))
    found = re.findall(r"BENCH (.+)\|(\d+)$", run("raw", setup), re.MULTILINE)
    return {name: int(value) / 100 for name, value in found}


def ops_rows(text):
    return {name: float(value)
            for name, value in re.findall(r"BENCH (.+)\t([\d.]+)$", text, re.MULTILINE)}


def ops_archive():
    archive = cpio.Archive()
    image.userland(archive)
    archive.file("init", os.path.join(BENCH, "ops"), 0o755)
    return archive.bytes()


def control(hv):
    return ops_rows(run("control", counted(hv, "../bench/ops-initrd")))


def guest(hv):
    return ops_rows(run("guest", counted(hv, "../bench/guest-initrd", "test:bench")))


def prepare():
    os.makedirs(BENCH, exist_ok=True)
    ops = ops_archive()
    with open(os.path.join(BENCH, "ops-initrd"), "wb") as f:
        f.write(ops)
    archive = cpio.Archive()
    archive.file("usr/lib/paravane/tests/bench", os.path.join(HERE, "dom0"))
    archive.file("boot/guest/vmlinuz-amd64",
                 kmodules.Kernel(os.path.join(machine.OUT, "x/kernel-amd64")).vmlinuz)
    archive.data("boot/guest/ops-initrd", ops)
    with open(os.path.join(machine.IMAGE, "dom0-initrd"), "rb") as f:
        dom0 = f.read()
    with open(os.path.join(BENCH, "guest-initrd"), "wb") as f:
        f.write(dom0 + archive.bytes())


def share_of(bare, xen, ours):
    """Our extra as a part of Xen's; None where Xen has none worth dividing by."""
    if bare is None:
        return ours / xen if xen else None
    return (ours - bare) / (xen - bare) if xen - bare > 1 else None


def number(value):
    return "-" if value is None else "%.1f" % value if value < 1000 else "{:,.0f}".format(value)


def table(part, columns):
    """Prints a part and returns its rows as results.json has them."""
    bare, xen, ours = (columns.get(hv, {}) for hv in ("bare", "xen", "paravane"))
    results, shares = [], []
    print("\n%-42s %12s %12s %12s %7s" % (part, "bare", "Xen 4.17", "Paravane", "share"))
    for name in ours or xen:
        values = [side.get(name) for side in (bare, xen, ours)]
        share = None if None in values[1:] else share_of(*values)
        print("%-42s %12s %12s %12s %7s" % (name, *map(number, values),
                                            "-" if share is None else "%.3f" % share))
        results.append({"part": part, "name": name, "unit": "instructions", "bare": values[0],
                        "xen": values[1], "paravane": values[2], "share": share})
        if share is not None and share > 0:
            shares.append(share)
    if shares:
        mean = math.exp(sum(map(math.log, shares)) / len(shares))
        print("%-42s %46.3f" % ("geometric mean of %d shares" % len(shares), mean))
    sys.stdout.flush()
    return results


def main():
    parts = (os.environ.get("ROWS") or "raw,control,guest").split(",")
    systems = (os.environ.get("SYSTEMS") or "bare,xen,paravane").split(",")
    results = []
    if parts != ["raw"]:
        prepare()
    bare = control("bare") if "bare" in systems and parts != ["raw"] else {}
    for part, measure in (("raw", raw), ("control", control), ("guest", guest)):
        if part in parts:
            columns = {hv: measure(hv) for hv in systems if hv != "bare"}
            if part != "raw":
                columns["bare"] = bare
            results += table(part, columns)
    with open(os.path.join(BENCH, "results.json"), "w", encoding="ascii") as f:
        json.dump(results, f, indent=1)
        f.write("\n")
    chart.write(os.path.join(BENCH, "chart.svg"), results)
    print("\nbench: %s and chart.svg beside it" % os.path.relpath(os.path.join(BENCH,
                                                                              "results.json")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
