#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the rules of the house style that need no compiler but the one for headers:

  size      a source file has at most 800 lines, 1,000 under tests/, and 100 columns
  spdx      each starts with its licence line, within the first two lines
  headers   each header uses #pragma once and compiles alone
  layers    includes of hypervisor/ follow the arrows of the architecture

Prints one line a violation and exits non-zero if there is any.
"""
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.environ.get("B", "build")
FOLDERS = ["hypervisor", "pv-abi", "dom0-tools", "xenstore-lite", "tests", "scripts", ".ci"]
SOURCE = (".c", ".h", ".S", ".def", ".py", ".mk", ".sh")

# What a file of a layer may include, as prefixes of the path written in the include; see section 2
# of the architecture. An include without a slash is a header beside the file.
LAYERS = {
    "base": ("base/", "pv-abi/", "arch/arch.h"),
    # pv_state.h is plain data that struct vcpu and struct domain embed; upcalls.h declares the
    # functions these layers define for the machine to call.
    "core": ("base/", "core/", "pv-abi/", "pv/pv_state.h", "arch/arch.h", "arch/layout.h",
             "arch/upcalls.h"),
    "pv": ("base/", "core/", "pv/", "pv-abi/", "arch/arch.h", "arch/layout.h", "arch/upcalls.h",
           "arch/x86_bits.h"),
    # The switch moves a whole vCPU, the page tables make room for struct frame.
    "arch": ("base/", "pv-abi/", "arch/", "core/domain.h", "core/frame.h"),
    "boot": ("base/", "core/", "pv/", "boot/", "pv-abi/", "arch/arch.h", "arch/layout.h",
             "arch/boot_info.h", "arch/upcalls.h", "arch/x86_bits.h"),
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def sources():
    for folder in FOLDERS:
        for place, _, names in os.walk(os.path.join(TOP, folder)):
            for name in sorted(names):
                path = os.path.relpath(os.path.join(place, name), TOP)
                if "__pycache__" not in path:
                    yield path


def lines_of(path):
    with open(os.path.join(TOP, path), encoding="utf-8", errors="replace") as f:
        return f.read().split("\n")


def check_text(path, lines):
    """Size, columns, licence line."""
    limit = 1000 if path.startswith("tests/") else 800
    if len(lines) - 1 > limit:
        yield "%s: %d lines, limit %d" % (path, len(lines) - 1, limit)
    if path.endswith(SOURCE) or lines[0].startswith("#!"):
        if not any("SPDX-License-Identifier:" in line for line in lines[:2]):
            yield path + ": no SPDX line"
    for number, line in enumerate(lines, start=1):
        if len(line) > 100 and path.endswith((".c", ".h", ".S", ".py")):
            yield "%s:%d: %d columns" % (path, number, len(line))


def check_layers(path, lines):
    parts = path.split("/")
    if parts[0] != "hypervisor" or len(parts) < 3 or not path.endswith((".c", ".h", ".S")):
        return
    allowed = LAYERS.get(parts[1])
    if allowed is None:
        yield path + ": folder without a layer"
        return
    for number, line in enumerate(lines, start=1):
        match = INCLUDE.match(line)
        if not match:
            continue
        name = match.group(1)
        beside = "/" not in name and parts[1] == "arch"
        if not beside and not name.startswith(allowed):
            yield "%s:%d: a file of %s/ may not include %s" % (path, number, parts[1], name)


def header_flags(path):
    if path.startswith(("hypervisor/", "pv-abi/")):
        # What hypervisor/build.mk compiles with, compiler's name first.
        with open(os.path.join(TOP, OUT, "hypervisor/flags"), encoding="ascii") as f:
            return f.read().split()[1:]
    packages = subprocess.run(["pkg-config", "--cflags", "libxml-2.0", "json-c"], text=True,
                              capture_output=True, check=False).stdout.split()
    flags = ["-std=gnu11", "-Wall", "-Wundef", "-Werror", "-D_GNU_SOURCE", "-D__XEN_TOOLS__", "-I.",
             "-Ipv-abi"] + packages
    if path.startswith("tests/"):
        flags += ["-DDEBUG_BUILD=1", "-Ihypervisor", "-Itests", "-Itests/host",
                  "-I" + os.path.dirname(path)]
    return flags


def check_header(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        if "#pragma once" not in f.read():
            return [path + ": no #pragma once"]
    # Not the header itself as main file: the pragma is for included files.
    flags = [flag for flag in header_flags(path) if flag not in ("-MMD", "-MP")]
    done = subprocess.run(["gcc", *flags, "-fsyntax-only", "-x", "c", "-"], cwd=TOP, text=True,
                          input='#include "%s"\n' % path, capture_output=True, check=False)
    if done.returncode == 0:
        return []
    first = [line for line in done.stderr.split("\n") if "error" in line]
    return ["%s: does not compile alone: %s" % (path, first[0] if first else done.stderr[:200])]


def main():
    problems = []
    headers = []
    for path in sources():
        lines = lines_of(path)
        problems += check_text(path, lines)
        problems += check_layers(path, lines)
        if path.endswith(".h"):
            headers.append(path)
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(check_header, headers):
            problems += found
    for problem in problems:
        print("check: " + problem)
    stale = subprocess.run([os.path.join(TOP, "scripts/abi.py"), "--check"], check=False)
    if stale.returncode:
        problems.append("HYPERCALLS.md")
    if problems:
        print("check: %d problems" % len(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
