#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make lint`: the formatter's opinion, the second compiler's warnings, clang-tidy and cppcheck, on
every C file of the repository. Prints what they find and exits non-zero if they find anything.

The analysers do not see that an error report is never zero, and the like. What they said and was
looked at is counted by file and kind in lint.baseline, which only shrinks: more than that fails,
and so does less, until the line is corrected. The formatter and the compiler have no baseline.

The hypervisor's flags are those its build.mk has written to build/hypervisor/flags.
"""
import os
import re
import shlex
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
    """Output of a tool that failed, else nothing."""
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return done.stdout + "\n".join(line for line in done.stderr.split("\n")
                                   if "error" in line or "warning:" in line)


def jobs():
    for path in c_files("hypervisor", "pv-abi", "dom0-tools", "xenstore-lite", "tests",
                        suffix=(".c", ".h")):
        yield "format", ["clang-format", "--dry-run", "-Werror", path]
    flags = hypervisor_flags()
    for path in c_files("hypervisor"):
        yield "clang", ["clang", *flags, "-fsyntax-only", path]
        yield "tidy", ["clang-tidy", "--quiet", "--warnings-as-errors=*", "--checks=" + TIDY, path,
                       "--", *flags]
    for path in c_files("dom0-tools", "xenstore-lite"):
        flags = host_flags()
        yield "clang", ["clang", *flags, "-fsyntax-only", path]
        yield "tidy", ["clang-tidy", "--quiet", "--warnings-as-errors=*", "--checks=" + TIDY, path,
                       "--", *flags]
    yield "cppcheck", ["cppcheck", "--quiet", "--error-exitcode=1", "--std=c11", "--inline-suppr",
                       "--enable=warning,portability", "--suppress=missingInclude", "-D__x86_64__",
                       "-j", "2", "dom0-tools", "xenstore-lite"]


BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lint.baseline")
FINDING = re.compile(r"^(\S+?):\d+:\d+: (?:error|warning): "
                     r".*\[([a-zA-Z.-]+)(?:,-warnings-as-errors)?\]$")


def baseline():
    with open(BASELINE, encoding="ascii") as f:
        rows = [line.split() for line in f if line.strip() and not line.startswith("#")]
    return {(path, kind): int(count) for count, kind, path in rows}


def compare(seen, known):
    """Lines about what differs from the baseline."""
    for key in sorted(set(seen) | set(known)):
        path, kind = key
        now, then = seen.get(key, 0), known.get(key, 0)
        if now > then:
            yield "%s: %d of %s, %d in the baseline" % (path, now, kind, then)
        elif now < then:
            yield "%s: only %d of %s left: correct lint.baseline" % (path, now, kind)


def main():
    problems = []
    findings = {}
    with ThreadPoolExecutor(2) as pool:
        work = [(tool, pool.submit(run, command)) for tool, command in jobs()]
        for tool, result in work:
            text = result.result().strip()
            if tool in ("tidy", "cppcheck"):
                for line in text.split("\n"):
                    match = FINDING.match(line)
                    if match:
                        path = os.path.relpath(os.path.join(TOP, match.group(1)), TOP)
                        findings.setdefault((path, match.group(2)), set()).add(line)
            elif text:
                problems.append("%s: %s" % (tool, text.split("\n")[0]))
    problems += compare({key: len(lines) for key, lines in findings.items()}, baseline())
    for key in sorted(findings):
        if len(findings[key]) > baseline().get(key, 0):
            print("\n".join(sorted(findings[key])))
    for problem in problems:
        print("lint: " + problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
