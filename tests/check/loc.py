#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make loc`: physical lines (comments and empty lines included) of the privileged part, folder by
folder. Fails when the total is above the limit.

  loc.py LIMIT FOLDER...
"""
import os
import sys

SUFFIXES = (".c", ".h", ".S", ".def")


def main():
    limit = int(sys.argv[1])
    lines = {}
    for top in sys.argv[2:]:
        for folder, _, names in os.walk(top):
            for name in names:
                if name.endswith(SUFFIXES):
                    with open(os.path.join(folder, name), "rb") as f:
                        lines[folder] = lines.get(folder, 0) + f.read().count(b"\n")
    total = sum(lines.values())
    for folder in sorted(lines):
        print("%6d  %s" % (lines[folder], folder))
    print("%6d  total, limit %d" % (total, limit))
    return 1 if total > limit else 0


if __name__ == "__main__":
    sys.exit(main())
