# SPDX-License-Identifier: MIT
"""What the machine's clock does beside the host's: the test kernel "clock" in the control domain's
place says the time, and each line is stamped as it arrives.

A line can only be late, never early, so of many the quickest tell. How far the guest's clock is
behind the host's is the least of a period; by how much that changes from the first period to the
last is the drift.
"""
import os
import re
import time

import kernels
import machine

SECONDS = 60
PERIOD = 15.0
DRIFT_PPM = 50
WALL_SECONDS = 2.5      # the battery-backed clock knows whole seconds, and is read once
TIMERS = 400
LATE_NS = 1000000


def _setup(arguments, seconds):
    setup = kernels.setup_for(kernels.wanted("clock")[0])
    setup.dom0_args = arguments
    return setup, seconds + kernels.LIMIT


def drift(logs):
    """Returns lines that say what was measured, and what is wrong."""
    setup, limit = _setup("stamps=%d" % SECONDS, 3 * SECONDS)
    console = machine.Console(setup, os.path.join(logs, "clock-drift.log"))
    stamps = []
    try:
        while True:
            match = console.wait_for(r"guest: (?:time (\d+) wall (\d+)|verdict .*)\n", limit)
            if not match or not match.group(1):
                break
            stamps.append((time.monotonic(), time.time(), int(match.group(1)) / 1e9,
                           int(match.group(2)) / 1e9))
        console.wait_for(kernels.ENDED, kernels.LIMIT)
    finally:
        console.close()
    problem = kernels.judge(console.text, console.fatal)
    if problem or len(stamps) < 100:
        return [], [problem or "%d stamps only" % len(stamps)]
    first, last = stamps[0][0], stamps[-1][0]
    early = min(host - guest for host, _, guest, _ in stamps if host < first + PERIOD)
    late = min(host - guest for host, _, guest, _ in stamps if host > last - PERIOD)
    ppm = (late - early) / (last - first - PERIOD) * 1e6
    wall = min(abs(now - said) for _, now, _, said in stamps)
    bad = []
    if abs(ppm) > DRIFT_PPM:
        bad.append("drift %.1f ppm" % ppm)
    if wall > WALL_SECONDS:
        bad.append("the wall clock is wrong by %.3f s" % wall)
    return ["drift %.1f ppm over %.0f s" % (ppm, last - first),
            "wall clock %.3f s from the host's" % wall], bad


def timers(logs):
    """The same for one-shot timers, counted: one instruction is one nanosecond."""
    setup, limit = _setup("timers=%d" % TIMERS, 0)
    setup.counted, setup.cpus = True, 1
    console = machine.Console(setup, os.path.join(logs, "clock-timers.log"))
    try:
        console.wait_for(kernels.ENDED, limit)
    finally:
        console.close()
    problem = kernels.judge(console.text, console.fatal)
    worst = re.search(r"guest: (\d+) timers, the latest (\d+) ns late", console.text)
    if problem or not worst:
        return [], [problem or "no figure"]
    return [worst.group(0)], ["too late"] if int(worst.group(2)) > LATE_NS else []
