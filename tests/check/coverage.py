#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make coverage`: how much of the portable hypervisor the host's tests execute, file by file.

  coverage.py BUILD PROGRAM [-- PROGRAM ARGUMENT...]...

BUILD holds the objects of programs compiled with gcc's --coverage and -O0. Runs the programs (each
must succeed; after a -- one with arguments), then adds up what gcov says of every object.

What is counted, of hypervisor/base, core, pv and boot:
  lines     those gcc made code for, of the .c files and of the functions in headers. A line counts
            once, however many programs or objects it is in, and is covered if any executed it.
  branches  each way out of a conditional jump in gcc's unoptimised code: both of an `if`, of each
            operand of && and ||, of a loop's condition; each case of a `switch`. Merged like lines.
            Not those within BUG_ON(...) and ASSERT(...): their other way is a bug in us, which no
            test may reach. The last column has the figure with them.
Every .c file of base, core and pv counts, linked into a test or not: one that no object was made
from is an error. Of boot those that some test compiles count, the others are listed. A function
that no test calls has its lines counted as missed.

Of arch/x86_64/entry.S, which test_real_entry runs in steps, the instructions behind the stubs are
counted: not NOPs, which start-up may have patched, nor loops that only speculation gets into.

Fails if a total is below the limits, and prints with MISSED=file the lines that say why.
"""
import glob
import json
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ["hypervisor/base", "hypervisor/core", "hypervisor/pv", "hypervisor/boot"]
ENTRY, ENTRY_OBJECT = "hypervisor/arch/x86_64/entry.S", "unit/real/entry.o"
LIMIT_LINES, LIMIT_BRANCHES = 90.0, 80.0
ASSERTION = re.compile(r"\b(?:BUG_ON|ASSERT)\(")


def under(build, suffix):
    return sorted(glob.glob(os.path.join(build, "**", "*" + suffix), recursive=True))


def run(programs, build):
    logs = os.path.join(build, "logs")
    os.makedirs(logs, exist_ok=True)
    os.environ["REAL_HITS"] = os.path.abspath(os.path.join(build, "real.hits"))
    for number, command in enumerate(programs):
        done = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)
        log = os.path.join(logs, "%02d-%s.log" % (number, os.path.basename(command[0])))
        with open(log, "wb") as f:
            f.write(done.stdout)
        if done.returncode:
            sys.exit("%s failed, see %s" % (" ".join(command), log))


def assertion_lines(path):
    """The lines of a file that belong to an assertion, from its name to the closing bracket."""
    with open(os.path.join(TOP, path), encoding="ascii") as f:
        text = f.read()
    lines = set()
    for match in ASSERTION.finditer(text):
        if text.rfind("#define", text.rfind("\n", 0, match.start()) + 1, match.start()) >= 0:
            continue
        depth, at = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
        first = text.count("\n", 0, match.start()) + 1
        lines.update(range(first, text.count("\n", 0, at) + 2))
    return lines


class File:
    def __init__(self, path):
        self.lines = {}     # number: executed by any
        self.branches = {}  # (number, function, index): taken by any
        self.assertions = assertion_lines(path)

    def add(self, lines):
        for line in lines:
            number = line["line_number"]
            self.lines[number] = self.lines.get(number, False) or line["count"] > 0
            for index, branch in enumerate(line["branches"]):
                key = (number, line.get("function_name", ""), index)
                self.branches[key] = self.branches.get(key, False) or branch["count"] > 0

    def figures(self):
        """Lines, branches but for assertions', all branches: how many there are and are covered."""
        plain = [taken for key, taken in self.branches.items() if key[0] not in self.assertions]
        counted = (list(self.lines.values()), plain, list(self.branches.values()))
        return [number for values in counted for number in (len(values), sum(values))]

    def missed(self):
        for number in sorted(self.lines):
            ways = [taken for key, taken in self.branches.items() if key[0] == number]
            if not self.lines[number]:
                yield number, "never executed"
            elif not all(ways) and number not in self.assertions:
                yield number, "%d of %d ways not taken" % (len(ways) - sum(ways), len(ways))


def collect(build):
    files = {}
    notes = under(build, ".gcno")
    for start in range(0, len(notes), 40):
        done = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities",
                               *(os.path.abspath(note) for note in notes[start:start + 40])],
                              cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              check=True)
        for text in done.stdout.splitlines():
            for found in json.loads(text)["files"]:
                path = os.path.relpath(os.path.join(TOP, found["file"]), TOP)
                # An object may be left from a source that is no more.
                if os.path.dirname(path) in FOLDERS and os.path.exists(os.path.join(TOP, path)):
                    files.setdefault(path, File(path)).add(found["lines"])
    return files


def assembly(build):
    """Instructions of entry.S: (source line, text, executed)."""
    with open(os.path.join(build, "real.hits"), encoding="ascii") as f:
        hits = {int(line, 16) for line in f}
    done = subprocess.run(["objdump", "-dl", "--no-show-raw-insn", "-j", ".entry",
                           os.path.join(build, ENTRY_OBJECT)],
                          stdout=subprocess.PIPE, encoding="ascii", check=True)
    line, found, symbol = 0, [], ""
    for text in done.stdout.splitlines():
        if re.match(r"[0-9a-f]+ <", text):
            symbol = text.split("<")[1].rstrip(">:")
        elif re.match(r"/.*:\d+", text):
            line = int(re.search(r":(\d+)", text).group(1))
        else:
            match = re.match(r"\s*([0-9a-f]+):\s+(\S.*)", text)
            if match and symbol not in ("trap_stubs", "short_lowest"):
                found.append((line, match.group(2), int(match.group(1), 16) in hits))
    kept = [entry for at, entry in enumerate(found)
            if not re.match(r"nop|xchg +%ax,%ax|cs nop|data16|pause|lfence", entry[1]) and
            not (entry[1].startswith("jmp") and found[at - 1][1].startswith("lfence"))]
    return kept


def row(name, figures):
    percent = ["%6.1f %%" % (100.0 * covered / total) if total else "       -"
               for total, covered in zip(figures[::2], figures[1::2])]
    return "%-36s %5d %s %6d %s %s" % (name, figures[0], percent[0], figures[2], *percent[1:])


def add(figures):
    return [sum(column) for column in zip(*figures)]


def report(files):
    print("%-36s %5s %8s %6s %8s %8s" % ("", "lines", "", "branch", "", "all"))
    folders = []
    for folder in FOLDERS:
        inside = {path: files[path].figures() for path in sorted(files)
                  if os.path.dirname(path) == folder}
        for path, figures in inside.items():
            print(row(path.replace("hypervisor/", "  "), figures))
        folders.append(add(inside.values()))
        print(row(folder, folders[-1]))
    total = add(folders)
    print(row("total", total))
    return 100.0 * total[1] / total[0], 100.0 * total[3] / total[2]


def main():
    build, words = sys.argv[1], sys.argv[2:]
    groups = [[]]
    for word in words:
        if word == "--":
            groups.append([])
        else:
            groups[-1].append(word)
    for data in under(build, ".gcda"):
        os.unlink(data)
    run([[program] for program in groups[0]] + groups[1:], build)
    files = collect(build)
    instructions = assembly(build)
    for path in os.environ.get("MISSED", "").split():
        if path == ENTRY:
            for line, text, executed in instructions:
                if not executed:
                    print("%s:%d: never executed: %s" % (path, line, text))
            continue
        for number, why in files[path].missed():
            print("%s:%d: %s" % (path, number, why))
    lines, branches = report(files)
    executed = sum(entry[2] for entry in instructions)
    print("%-36s %5d instructions, %.1f %%" % (ENTRY, len(instructions),
                                               100.0 * executed / len(instructions)))
    sources = [os.path.relpath(path, TOP) for folder in FOLDERS
               for path in sorted(glob.glob(os.path.join(TOP, folder, "*.c")))]
    left_out = [path for path in sources if path not in files]
    if left_out:
        print("not compiled by any test of the host: " + " ".join(left_out))
    if any(not path.startswith("hypervisor/boot/") for path in left_out):
        return "only files of boot may be left out"
    print("limits: %.0f %% of lines, %.0f %% of branches" % (LIMIT_LINES, LIMIT_BRANCHES))
    return (lines < LIMIT_LINES or branches < LIMIT_BRANCHES or
            100.0 * executed < LIMIT_LINES * len(instructions))


if __name__ == "__main__":
    sys.exit(main())
