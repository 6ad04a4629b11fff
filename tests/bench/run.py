#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make bench`: what each system costs, counted in instructions under QEMU's -icount, where one
virtual nanosecond is one instruction and the time-stamp counter counts them. Paravane is built
without assertions.

  raw     a tiny kernel in place of the control domain (raw/raw.c): Xen and Paravane
  ops     ops.c as first process of a stock Debian kernel: on the bare machine, as control domain
          and as guest; the guest is made by `vane` on both hypervisors
  pair    two tiny kernels beside each other (raw/pair.c), also made by `vane`
  split   disk, network and console of a Linux guest through the split drivers (split.c), and what
          its control domain needs for the same disk; in microseconds and Mbit/s
  life    a domain's life (life): create, first line, destroy, list; with vane and our store, and on
          Xen with Debian's xl, its store and its console daemon
  crowd   the same from the first to the GUESTS-th (100) of many small domains

  ROWS=raw,control,guest   parts; default all but crowd
  MODE=wall ROWS=split     the clock on the wall: PAIRS= (3) runs of each system in turns, medians
  SYSTEMS=paravane             systems beside the ones a share needs; default all

Prints a table a part with "share", our extra over bare as a part of Xen's extra, and the geometric
mean; writes build/bench/results.json and, beside it, chart.svg.
"""
import gzip
import json
import math
import os
import re
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../scripts"))

import chart  # noqa: E402
import cpio  # noqa: E402
import image  # noqa: E402
import kmodules  # noqa: E402
import machine  # noqa: E402

BENCH = os.path.join(machine.OUT, "bench")
LIMIT = 3600
WALL_SAMPLES = 85       # the kernel hands it to its first process, whence split.c has it
DOMAIN_PARTS = ("life", "crowd")


def counted(hv, initrd, mode="shell"):
    setup = machine.Setup(hv, mode, initrd)
    setup.cpu, setup.cpus, setup.counted = "max,-smap", 1, not WALL
    setup.dom0_args = "quiet SAMPLES=%d" % WALL_SAMPLES if WALL else "quiet"
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


WALL = os.environ.get("MODE") == "wall"


def raw_rows(text):
    return {name: int(value) / 100
            for name, value in re.findall(r"BENCH (.+)\|(\d+)$", text, re.MULTILINE)}


def raw(hv):
    setup = counted(hv, "")
    setup.kernel = os.path.abspath(os.path.join(BENCH, "raw.elf"))
    return raw_rows(run("raw", setup))


def pair(hv):
    return raw_rows(run("pair", counted(hv, "../bench/guest-initrd", "test:pair")))


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


def split_initrd():
    kernel = kmodules.Kernel(os.path.join(machine.OUT, "x/kernel-amd64"))
    inner = cpio.Archive()
    image.userland(inner)
    inner.file("init", os.path.join(HERE, "split-init"), 0o755)
    inner.file("bin/split", os.path.join(BENCH, "split"), 0o755)
    kernel.add_to(inner, image.GUEST_MODULES)
    archive = cpio.Archive()
    archive.file("usr/lib/paravane/tests/split", os.path.join(HERE, "split"))
    archive.file("usr/lib/paravane/split", os.path.join(BENCH, "split"), 0o755)
    archive.file("boot/guest/vmlinuz-amd64", kernel.vmlinuz)
    archive.data("boot/guest/split-initrd", gzip.compress(inner.bytes(), 1, mtime=0))
    kernel.add_to(archive, image.DOM0_MODULES + ["brd"])
    with open(os.path.join(machine.IMAGE, "dom0-initrd"), "rb") as f:
        dom0 = f.read()
    with open(os.path.join(BENCH, "split-initrd"), "wb") as f:
        f.write(dom0 + archive.bytes())


def split(hv):
    return ops_rows(run("split", counted(hv, "../bench/split-initrd", "test:split")))


def split_in_turns(systems):
    """Wall time: what else the machine does hits all alike."""
    rounds = [{hv: split(hv) for hv in systems} for _ in range(int(os.environ.get("PAIRS") or 3))]
    return {hv: {row: statistics.median(r[hv][row] for r in rounds) for row in rounds[0][hv]}
            for hv in systems}


XEN_STORE, XEN_CONSOLE = "oxenstored", "xenconsoled"     # what Debian's init script starts


def xen_daemons(archive):
    """In the place of our two daemons, where the control domain's start-up looks for them."""
    folder = os.path.join(machine.OUT, "x/xl-tools", image.XEN_BIN)
    for name, place, args in ((XEN_STORE, "xenstored", ""),
                              (XEN_CONSOLE, "vane-consoled", "--log=guest")):
        path = os.path.join(folder, name)
        archive.file(image.XEN_BIN + "/" + name, path, 0o755)
        archive.text("usr/sbin/" + place, "#!/bin/sh\nmkdir -p /run/xen /run/xenstored\n"
                     "/%s/%s %s </dev/null >/dev/null 2>&1 && sleep 1\n"
                     % (image.XEN_BIN, name, args), 0o755)
        for library in image.libraries([path]):
            archive.file(library, os.path.realpath(library), 0o755)
    archive.folder("var/log/xen/console")
    archive.file("etc/xen/oxenstored.conf",
                 os.path.join(machine.OUT, "x/xl-common/etc/xen/oxenstored.conf"))


def life_initrd(hv):
    """Written anew each time: it is the present tools that are measured."""
    kernels = [kmodules.Kernel(os.path.join(machine.OUT, "x/kernel-amd64"))]
    inner = cpio.Archive()
    image.userland(inner)
    inner.file("init", os.path.join(HERE, "life-init"), 0o755)
    kernels[0].add_to(inner, image.GUEST_MODULES)
    archive = cpio.Archive()
    archive.file("usr/lib/paravane/tests/life", os.path.join(HERE, "life"))
    archive.file("usr/lib/paravane/ticks", os.path.join(BENCH, "ticks"), 0o755)
    archive.data("boot/life-initrd", gzip.compress(inner.bytes(), 1, mtime=0))
    archive.file("boot/life-vmlinux", os.path.join(machine.IMAGE, "vmlinux"))
    archive.file("boot/life-bzImage", os.path.join(machine.IMAGE, "bzImage"))
    archive.file("boot/idle", os.path.join(machine.OUT, "guests/idle.elf"))
    with open(os.path.join(machine.IMAGE, "xl-initrd" if hv == "xen" else "dom0-initrd"),
              "rb") as f:
        data = f.read()
    if hv == "xen":
        xen_daemons(archive)
    with open(os.path.join(BENCH, "life-" + hv), "wb") as f:
        f.write(data + archive.bytes())


def life(hv, part="life"):
    life_initrd(hv)
    setup = counted(hv, "../bench/life-" + hv, "test:life")
    setup.memory, setup.sparse = 5120, True
    setup.dom0_args = "quiet pv.part=%s pv.guests=%s" % (part, os.environ.get("GUESTS") or "100")
    return ops_rows(run(part, setup))


def crowd(hv):
    return life(hv, "crowd")


# What a row of ours is measured by, where that is another row of Xen's.
LIFE_PEER = {
    "create Linux from bzImage, again, to return": "create Linux from vmlinux, to return",
    "create Linux from bzImage, again, to its first line":
        "create Linux from vmlinux, to its first line",
    "destroy Linux from bzImage, again": "destroy Linux from vmlinux",
}


def prepare():
    os.makedirs(BENCH, exist_ok=True)
    ops = ops_archive()
    with open(os.path.join(BENCH, "ops-initrd"), "wb") as f:
        f.write(ops)
    archive = cpio.Archive()
    archive.file("usr/lib/paravane/tests/bench", os.path.join(HERE, "dom0"))
    archive.file("usr/lib/paravane/tests/pair", os.path.join(HERE, "pair"))
    archive.file("boot/guest/pair.elf", os.path.join(BENCH, "pair.elf"))
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


def unit_of(name):
    units = {"(KiB)": "KiB", "(us)": "us", "(Mbit/s)": "Mbit/s", "processes": "processes"}
    return next((unit for part, unit in units.items() if part in name), "instructions")


def number(value):
    return "-" if value is None else "%.1f" % value if value < 1000 else "{:,.0f}".format(value)


def table(part, columns):
    """Prints a part and returns its rows as results.json has them."""
    bare, xen, ours = (columns.get(hv, {}) for hv in ("bare", "xen", "paravane"))
    if part in DOMAIN_PARTS and xen:
        xen = xen | {row: xen[peer] for row, peer in LIFE_PEER.items()
                     if peer in xen and row in ours}
    results, shares = [], []
    print("\n%-42s %12s %12s %12s %7s" % (part, "bare", "Xen 4.17", "Paravane", "share"))
    for name in ours or xen:
        values = [side.get(name) for side in (bare, xen, ours)]
        # Of a rate the reverse says what the same costs.
        share = None if None in values[1:] else share_of(
            *values if unit_of(name) != "Mbit/s" else (None, values[2], values[1]))
        print("%-42s %12s %12s %12s %7s" % (name, *map(number, values),
                                            "-" if share is None else "%.3f" % share))
        results.append({"part": part, "name": name, "unit": unit_of(name), "bare": values[0],
                        "xen": values[1], "paravane": values[2], "share": share})
        if share is not None and share > 0:
            shares.append(share)
    if shares:
        mean = math.exp(sum(map(math.log, shares)) / len(shares))
        print("%-42s %46.3f" % ("geometric mean of %d shares" % len(shares), mean))
    sys.stdout.flush()
    return results


def main():
    parts = (os.environ.get("ROWS") or "raw,pair,control,guest,split,life").split(",")
    systems = (os.environ.get("SYSTEMS") or "bare,xen,paravane").split(",")
    results = []
    linux = {"control", "guest"} & set(parts)
    if linux or "pair" in parts:
        prepare()
    os.makedirs(BENCH, exist_ok=True)
    if "split" in parts:
        split_initrd()
    bare = control("bare") if "bare" in systems and linux else {}
    for part, measure in (("raw", raw), ("pair", pair), ("control", control), ("guest", guest),
                          ("split", split), ("life", life), ("crowd", crowd)):
        if part in parts:
            hosts = [hv for hv in systems if hv != "bare"]
            columns = split_in_turns(hosts) if WALL else {hv: measure(hv) for hv in hosts}
            if part in linux:
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
