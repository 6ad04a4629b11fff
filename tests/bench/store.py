#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`make bench-store`: operations per second of the store, and how they change when everything in it
becomes ten times as much, beside Debian's own xenstored: both on a unix socket, the same client
(tests/bench/store.c, which tells how it is measured), in one run. Ours keeps its journal, as it
does when it serves a machine.

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


class Daemon:
    """A store in a folder of its own, for as long as the block."""

    def __init__(self, store):
        self.folder = tempfile.mkdtemp(prefix="bench-store.")
        self.socket = os.path.join(self.folder, "socket")
        self.log = open(os.path.join(self.folder, "log"), "w+", encoding="utf-8")
        environment = dict(os.environ, XENSTORED_RUNDIR=self.folder, XENSTORED_PATH=self.socket,
                           XENSTORED_ROOTDIR=self.folder)
        if store == "debian":
            environment["LD_PRELOAD"] = os.path.abspath(os.path.join(OUT, "bench/no_xen.so"))
        try:
            self.process = subprocess.Popen(command(store, self.folder), env=environment,
                                            stdout=self.log, stderr=self.log,
                                            stdin=subprocess.DEVNULL)
        except OSError:
            shutil.rmtree(self.folder)
            raise

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder)

    def arguments(self, nodes):
        """Those of the client for this daemon at that size, once it listens."""
        for _ in range(PATIENCE * 50):
            if os.path.exists(self.socket) or self.process.poll() is not None:
                break
            time.sleep(0.02)
        if not os.path.exists(self.socket):
            self.log.seek(0)
            raise OSError(self.log.read().strip() or "it ends without a word")
        return [self.socket, str(self.process.pid), str(nodes), str(nodes // 10), str(nodes // 100)]


def measure(store, nodes):
    """By kind of request: nanoseconds at a tenth, at `nodes`, growth; or None and why."""
    try:
        with Daemon(store) as few, Daemon(store) as many:
            done = subprocess.run([CLIENT] + few.arguments(nodes // 10) + many.arguments(nodes),
                                  text=True, capture_output=True, check=False,
                                  timeout=PATIENCE * 20)
    except OSError as error:
        return None, str(error)
    except subprocess.TimeoutExpired:
        return None, "not done in %d seconds" % (PATIENCE * 20)
    if done.returncode != 0:
        return None, done.stderr.strip()
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {name: tuple(map(float, figures)) for name, *figures in rows}, ""


def cells(few, many, growth):
    return "%9.0f %9.0f %6.2f" % (1e9 / few, 1e9 / many, growth)


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    found = {}
    for store in STORES:
        result, why = measure(store, NODES)
        if result is None:
            print("bench-store: %s does not run here: %s" % (store, why))
        else:
            found[store] = result
    if not found:
        return 1
    print("operations per second with %d and %d nodes, and growth of the daemon's time for each"
          % (NODES // 10, NODES))
    print("%-20s" % "" + "".join("  %-26s" % store for store in found))
    for kind in next(iter(found.values())):
        print("%-20s" % kind + "".join("  " + cells(*rows[kind]) for rows in found.values()))
    slow = {kind: row[2] for kind, row in found.get("ours", {}).items() if row[2] > LIMIT}
    for kind, growth in slow.items():
        print("bench-store: %s takes %.2f times as long" % (kind, growth))
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
