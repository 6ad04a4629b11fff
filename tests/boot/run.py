#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the boot tests of cases.py, two machines at a time, and prints one line for each.

  run.py [--units FILE...]     unit tests first; their count goes into the same summary
  BOOT=name,name               these tests instead of those listed in tests/boot/enabled; "all"
                               for every one there is, "none" for none
  CPUS=n                       processors of the machine, where a test would have 2
  HV=xen                       on the peer, to tell a fault of ours from one of the tools or tests

A test ends as SUCCESS, FAILURE (a case said no), CRASH (no verdict, or a line that no healthy
machine prints) or SKIP (it cannot run on this hypervisor). Only SUCCESS is green: a test somebody
asked for that was skipped makes the run fail. Bochs may be missing unless BOOT= asks for it: what
it would have run is listed before the last line. Logs are in build/logs/. The last line is
"N passed, N failed", counting cases, and the exit status is 0 only if none failed.
"""
import os
import re
import subprocess
import sys
import threading
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../scripts"))

import cases  # noqa: E402
import machine  # noqa: E402

LOGS = os.path.join(machine.OUT, "logs")
PARALLEL = 2


class Tally:
    """Counts cases over threads and keeps a line of output in one piece."""

    def __init__(self):
        self.lock = threading.Lock()
        self.passed = 0
        self.failed = 0
        self.skipped = []
        self.problems = []

    def report(self, verdict, name, seconds, passed, problems):
        with self.lock:
            self.passed += passed
            self.failed += len(problems)
            took = "%6.1f s" % seconds if seconds else "        "
            print("%-8s %-24s %s  %d cases" % (verdict, name, took, passed + len(problems)))
            for problem in problems:
                print("         " + problem)
            self.problems += ["%s: %s" % (name, problem) for problem in problems]
            sys.stdout.flush()

    def skip(self, name, why):
        """Something optional is not there: said here and again at the end, and no failure."""
        with self.lock:
            self.skipped.append("%s (%s)" % (name, why))
            print("%-8s %-24s %s" % ("SKIP", name, why), flush=True)


def judge(test, console, off):
    """A finished run's verdict: word, number of cases that passed, problems."""
    passed = len(re.findall(r"^PV: ok ", console.text, re.MULTILINE)) + len(test.passed)
    problems = re.findall(r"^PV: FAIL (.*)$", console.text, re.MULTILINE) + test.problems
    verdict = re.search(r"^PV: verdict (PASS|FAIL)", console.text, re.MULTILINE)
    crash = []
    if console.fatal:
        crash.append("the console shows: " + console.fatal)
    if test.script and not verdict:
        crash.append("no verdict; last line: " + console.text.strip().split("\n")[-1])
    elif test.script and verdict.group(1) != "PASS" and not problems:
        problems.append("the verdict is not PASS")
    if off:
        passed += 1
    else:
        crash.append("no clean power-off: " + console.how_it_ended())
    word = "CRASH" if crash else "FAILURE" if problems else "SUCCESS"
    return word, passed, problems + crash


def run_test(test, hv, tally):
    if hv not in test.systems:
        tally.report("SKIP", test.name, 0, 0, ["cannot run on " + hv])
        return
    if test.machines:
        lacks = test.lacks()
        if lacks and os.environ.get("BOOT"):
            tally.report("SKIP", test.name, 0, 0, [lacks])
        elif lacks:
            tally.skip(test.name, lacks)
        else:
            tally.report(*test.run(LOGS))
        return
    setup = machine.Setup(hv)
    test.prepare(setup)
    setup.cpus = int(os.environ.get("CPUS") or setup.cpus)
    missing = machine.missing(setup)
    if missing:
        tally.report("SKIP", test.name, 0, 0, ["missing " + ", ".join(missing)])
        return
    console = machine.Console(setup, os.path.join(LOGS, test.name + ".log"))
    try:
        test.drive(console)
        off = console.wait_end(test.limit)
    finally:
        seconds = console.close()
        test.finish()
    word, passed, problems = judge(test, console, off)
    tally.report(word, test.name, seconds, passed, problems)


def worker(waiting, hv, tally):
    while True:
        with tally.lock:
            if not waiting:
                return
            test = waiting.pop(0)
        try:
            run_test(test, hv, tally)
        except Exception as error:  # a broken test must not take the others with it
            traceback.print_exc()
            tally.report("CRASH", test.name, 0, 0, ["the test itself: %r" % error])


def chosen():
    """The tests to run, longest first so that the two machines end at about the same time."""
    known = {test.name: test for test in cases.all_tests()}
    wanted = os.environ.get("BOOT", "")
    if wanted == "all":
        names = list(known)
    elif wanted == "none":
        names = []
    elif wanted:
        names = wanted.split(",")
    else:
        with open(os.path.join(HERE, "enabled"), encoding="ascii") as f:
            names = [line.strip() for line in f if line.strip() and not line.startswith("#")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit("boot tests: no test named %s; there are: %s" %
                         (", ".join(unknown), " ".join(known)))
    return sorted((known[name] for name in names), key=lambda test: -test.weight)


def run_units(programs, tally):
    """Each program is a CUnit runner: its own summary gives the number of cases."""
    for program in programs:
        name = os.path.basename(program)
        log = os.path.join(LOGS, "unit-" + name + ".log")
        done = subprocess.run([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)
        with open(log, "wb") as f:
            f.write(done.stdout)
        text = done.stdout.decode(errors="replace")
        summary = re.search(r"^\s*tests\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", text, re.MULTILINE)
        passed = int(summary.group(3)) if summary else int(done.returncode == 0)
        failed = int(summary.group(4)) if summary else int(done.returncode != 0)
        cases = re.findall(r"^Suite .*, Test (.+) had failures:", text, re.MULTILINE)
        problems = ["%s failed, see %s" % (case, os.path.relpath(log)) for case in cases]
        problems += ["case failed, see " + os.path.relpath(log)] * (failed - len(cases))
        if done.returncode != 0 and failed == 0:
            problems = ["exit status %d, see %s" % (done.returncode, os.path.relpath(log))]
        if passed + failed == 0:
            problems = ["ran no case at all"]
        tally.report("FAILURE" if problems else "SUCCESS", name, 0, passed, problems)
        # Random runs say which they were.
        for line in re.findall(r"^seed .*$", text, re.MULTILINE):
            print("         " + line)


def main():
    os.makedirs(LOGS, exist_ok=True)
    tally = Tally()
    arguments = sys.argv[1:]
    if arguments and arguments[0] == "--units":
        run_units(arguments[1:], tally)
    waiting = chosen()
    hv = os.environ.get("HV") or "paravane"
    threads = [threading.Thread(target=worker, args=(waiting, hv, tally)) for _ in range(PARALLEL)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # All once more, where one who sees only the end of a long log finds them.
    for problem in tally.problems:
        print("FAILED: " + problem)
    for skipped in tally.skipped:
        print("NOT RUN: " + skipped)
    print("%d passed, %d failed" % (tally.passed, tally.failed))
    return 1 if tally.failed or tally.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
