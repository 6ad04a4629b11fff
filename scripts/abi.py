#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes pv-abi/HYPERCALLS.md from the tables the dispatcher is made of: every hypercall and
operation that is answered, with its number, its meaning and the file of its handler. What is not in
it is answered with -ENOSYS.

  abi.py           writes the page
  abi.py --check   status 1 when the page is not what the tables say
"""
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(TOP, "pv-abi/HYPERCALLS.md")
FAMILIES = ["memory", "mmuext", "evtchn", "gnttab", "sched", "vcpu", "physdev", "platform",
            "sysctl", "domctl"]
ROW = re.compile(r'^// FILE\((\S+)\)|^[A-Z_]+\(\s*(\d+),\s*(\w+),(?:[^"]|\n)*?"([^"]*)"\)',
                 re.MULTILINE)


def rows(path):
    """Number, name, meaning and file of each row of a table, by number."""
    with open(os.path.join(TOP, "pv-abi", path), encoding="ascii") as f:
        text = f.read()
    source, found = None, []
    for match in ROW.finditer(text):
        if match.group(1):
            source = match.group(1)
        else:
            found.append((int(match.group(2)), match.group(3), match.group(4), source))
    return sorted(found)


def table(path):
    lines = ["| Nr | Name | What it does | Handler in |", "|---:|---|---|---|"]
    lines += ["| %d | `%s` | %s | `%s` |" % row for row in rows(path)]
    return "\n".join(lines) + "\n"


def page():
    text = ["# Hypercalls\n",
            "Made by `make abi` from `hypercalls.def` and `ops/*.def`; `make check` sees that it "
            "is fresh.\nWhat is not listed is answered with `-ENOSYS`.\n",
            table("hypercalls.def")]
    for family in FAMILIES:
        text += ["## %s\n" % family, table("ops/%s.def" % family)]
    return "\n".join(text)


def main():
    want = page()
    if sys.argv[1:] == ["--check"]:
        have = open(PAGE, encoding="ascii").read() if os.path.exists(PAGE) else ""
        if have != want:
            print("check: pv-abi/HYPERCALLS.md is not what the tables say; run make abi")
            return 1
        return 0
    with open(PAGE, "w", encoding="ascii") as f:
        f.write(want)
    return 0


if __name__ == "__main__":
    sys.exit(main())
