#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make bench-store`: operations per second of the store, and how they change when everything in it
becomes ten times as much, beside Debian's own xenstored: both on a unix socket, the same client
(tests/bench/store.c), in one run. Ours keeps its journal, as it does when it serves a machine.

Debian's daemon is started with tests/bench/no_xen.c in the place of the libraries by which it
talks to a hypervisor, without which it ends at once: "Failed to open connection to hypervisor".

The growth is that of the daemon's own processor time, which others on the machine disturb less.
Fails when a request of ours takes more than twice what it takes at a tenth.

  NODES=100000          at the larger size; a tenth as many watches, a hundredth as many connections
  STORES=ours,debian    which
"""
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

OUT = os.environ.get("B", "build")
NODES = int(os.environ.get("NODES") or 100000)
STORES = (os.environ.get("STORES") or "ours,debian").split(",")
CLIENT = os.path.join(OUT, "bench/store")
LIMIT = 2.0
PATIENCE = 20


def command(store, folder):
    socket = os.path.join(folder, "socket")
    if store == "ours":
        return [os.path.join(OUT, "xenstore-lite/xenstored"), "--no-xen", "--socket", socket,
                "--state", os.path.join(folder, "state")]
    return [os.path.join(OUT, "x/xl-tools/usr/lib/xen-4.17/bin/xenstored"), "--no-fork",
            "--pid-file", os.path.join(folder, "pid")]


def wait_for(path, process):
    for _ in range(PATIENCE * 50):
        if os.path.exists(path):
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    return False


def measure(store, nodes):
    """Nanoseconds, and those of the daemon, by kind of request; or None and why."""
    folder = tempfile.mkdtemp(prefix="bench-store.")
    environment = dict(os.environ, XENSTORED_RUNDIR=folder, XENSTORED_ROOTDIR=folder,
                       XENSTORED_PATH=os.path.join(folder, "socket"))
    if store == "debian":
        environment["LD_PRELOAD"] = os.path.abspath(os.path.join(OUT, "bench/no_xen.so"))
    with open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
        try:
            daemon = subprocess.Popen(command(store, folder), env=environment, stdout=log,
                                      stderr=log, stdin=subprocess.DEVNULL)
        except OSError as error:
            shutil.rmtree(folder)
            return None, str(error)
        try:
            if not wait_for(os.path.join(folder, "socket"), daemon):
                log.seek(0)
                return None, log.read().strip() or "it ends without a word"
            sizes = [str(nodes), str(nodes // 10), str(nodes // 100)]
            done = subprocess.run([CLIENT, os.path.join(folder, "socket"), str(daemon.pid)] + sizes,
                                  text=True, capture_output=True, check=False,
                                  timeout=PATIENCE * 20)
            if done.returncode != 0:
                return None, done.stderr.strip()
            rows = [line.split("\t") for line in done.stdout.splitlines()]
            return {name: (float(wall), float(cpu)) for name, wall, cpu in rows}, ""
        except subprocess.TimeoutExpired:
            return None, "not done in %d seconds" % (PATIENCE * 20)
        finally:
            daemon.terminate()
            daemon.wait()
            shutil.rmtree(folder)


def cells(few, many):
    return "%9.0f %9.0f %6.2f" % (1e9 / few[0], 1e9 / many[0], many[1] / few[1])


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    found = {}
    for store in STORES:
        results = [measure(store, NODES // 10), measure(store, NODES)]
        missing = [why for result, why in results if result is None]
        if missing:
            print("bench-store: %s does not run here: %s" % (store, missing[0]))
        else:
            found[store] = [result for result, _ in results]
    if not found:
        return 1
    print("operations per second with %d and %d nodes, and growth of the daemon's time for each"
          % (NODES // 10, NODES))
    print("%-20s" % "" + "".join("  %-26s" % store for store in found))
    for kind in next(iter(found.values()))[0]:
        line = "%-20s" % kind
        for few, many in found.values():
            line += "  " + cells(few[kind], many[kind])
        print(line)
    if "ours" not in found:
        return 0
    few, many = found["ours"]
    slow = [kind for kind in few if many[kind][1] > LIMIT * few[kind][1]]
    for kind in slow:
        print("bench-store: %s takes %.2f times as long" % (kind, many[kind][1] / few[kind][1]))
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
