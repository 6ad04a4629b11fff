#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make lint`: the formatter's opinion, the second compiler's warnings, clang-tidy and cppcheck, on
every C file of the repository. Prints what they find and exits non-zero if they find anything.
What is no fault is written so that they see it, or carries a NOLINT with the reason beside it.

  lint.py --quick    the formatter and cppcheck alone, which take seconds; what is not installed is
                     named and left out. `make check` does this.

The hypervisor's flags are those its build.mk has written to build/hypervisor/flags.
"""
import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.environ.get("B", "build")
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes",
            "-Wundef", "-Wvla", "-Werror"]
# Options of gcc that clang does not have, and what only makes sense while compiling.
NOT_CLANG = ("-fno-delete-null-pointer-checks", "-MMD", "-MP", "-mindirect-branch=thunk-extern",
             "-mindirect-branch-register")
TIDY = ",".join([
    "-*", "bugprone-*", "-bugprone-assignment-in-if-condition", "-bugprone-branch-clone",
    "-bugprone-easily-swappable-parameters",
    "-bugprone-implicit-widening-of-multiplication-result", "-bugprone-macro-parentheses",
    "-bugprone-narrowing-conversions", "-bugprone-reserved-identifier",
    "-bugprone-suspicious-string-compare", "clang-analyzer-core.*", "clang-analyzer-deadcode.*",
    "clang-analyzer-unix.*"])


def c_files(*folders, suffix=(".c",)):
    for folder in folders:
        for place, _, names in os.walk(os.path.join(TOP, folder)):
            for name in sorted(names):
                if name.endswith(suffix):
                    yield os.path.relpath(os.path.join(place, name), TOP)


def hypervisor_flags():
    """As gcc gets them, with clang's own freestanding headers in place of gcc's."""
    with open(os.path.join(TOP, OUT, "hypervisor/flags"), encoding="ascii") as f:
        words = shlex.split(f.read())[1:]
    own = subprocess.run(["clang", "-print-resource-dir"], capture_output=True, text=True,
                         check=True).stdout.strip() + "/include"
    flags = []
    for word in words:
        if word.startswith("/usr/lib/gcc/"):
            word = own
        if word not in NOT_CLANG:
            flags.append(word)
    return flags


def host_flags():
    packages = subprocess.run(["pkg-config", "--cflags", "libxml-2.0", "json-c"], text=True,
                              capture_output=True, check=True).stdout.split()
    return ["-std=gnu11", *WARNINGS, "-D_GNU_SOURCE", "-D__XEN_TOOLS__", "-I.", "-Ipv-abi",
            *packages]


def run(command):
    """What a tool that failed had to say, else nothing."""
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    said = done.stdout + "\n".join(line for line in done.stderr.split("\n")
                                   if not line.endswith(("generated.", "treated as errors")))
    return said.strip() or "%s ends with %d" % (command[0], done.returncode)


def quick_jobs():
    files = list(c_files("hypervisor", "pv-abi", "dom0-tools", "xenstore-lite", "tests",
                         suffix=(".c", ".h")))
    for start in range(0, len(files), 100):
        yield ["clang-format", "--dry-run", "-Werror", *files[start:start + 100]]
    yield ["cppcheck", "--quiet", "--error-exitcode=1", "--std=c11", "--inline-suppr",
           "--enable=warning,portability", "--suppress=missingInclude", "-D__x86_64__",
           "-j", "2", "dom0-tools", "xenstore-lite"]


def slow_jobs():
    for flags, folders in ((hypervisor_flags(), ["hypervisor"]),
                           (host_flags(), ["dom0-tools", "xenstore-lite"])):
        for path in c_files(*folders):
            yield ["clang", *flags, "-fsyntax-only", path]
            yield ["clang-tidy", "--quiet", "--warnings-as-errors=*", "--checks=" + TIDY, path,
                   "--", *flags]


def main():
    jobs = list(quick_jobs())
    if sys.argv[1:] == ["--quick"]:
        for tool in sorted({job[0] for job in jobs}):
            if not shutil.which(tool):
                print("lint: without %s, which is not installed" % tool)
        jobs = [job for job in jobs if shutil.which(job[0])]
    else:
        jobs += slow_jobs()
    clean = True
    with ThreadPoolExecutor(2) as pool:
        for job, said in zip(jobs, pool.map(run, jobs)):
            if said:
                clean = False
                print("lint: %s: %s" % (job[0], said))
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
