# SPDX-License-Identifier: MIT
"""The boot tests: which machine each starts and what it expects.

Most name a script of tests/boot/dom0/, which runs in the control domain and reports a "PV: ok" or
"PV: FAIL" line for each case. Others are driven from here over the serial console. Limits are far
beyond what a slow machine needs; none of them is a measurement.
"""
import hashlib
import os
import random
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts"))

import bochs  # noqa: E402
import bound  # noqa: E402
import clock  # noqa: E402
import image  # noqa: E402
import kernels  # noqa: E402
import machine  # noqa: E402


class Test:
    """A control-domain script on some machine."""

    systems = ("paravane", "xen")
    limit = 1200
    weight = 1              # rough relative duration; heavier ones start first
    script = None
    machines = False        # True: run() starts machines of its own, and prepare() is not called

    def __init__(self, name, script=None, limit=None, weight=None, **options):
        self.name = name
        self.script = script or self.script
        self.limit = limit or self.limit
        self.weight = weight or self.weight
        self.options = options
        self.passed = []    # cases seen from outside
        self.problems = []

    def prepare(self, setup):
        """Set the machine up; `options` are attributes of machine.Setup."""
        setup.mode = "test:" + self.script if self.script else "shell"
        for name, value in self.options.items():
            if not hasattr(setup, name):
                raise ValueError("no machine option " + name)
            setattr(setup, name, value)

    def lacks(self):
        """What is not installed here, or None."""
        return None

    def drive(self, console):
        """Whatever there is to do while the machine runs."""

    def finish(self):
        """Looks at what the machine has left behind, and tidies up."""

    def expect(self, case, good, why):
        if good:
            self.passed.append(case)
        else:
            self.problems.append("%s: %s" % (case, why))


class Shell(Test):
    """Input and output of the control domain's console, by typing."""

    def drive(self, console):
        prompt = console.wait_for(r"dom0# ", self.limit)
        self.expect("shell prompt", prompt, "none came")
        if not prompt:
            return
        for number in range(1, 6):
            console.send("echo answer=$((%d * 7919))\n" % number)
            answer = console.wait_for(r"^answer=(\d+)\n", 120)
            good = answer and answer.group(1) == str(number * 7919)
            self.expect("typed command %d" % number, good, "no right answer")
        # Each line waits for the echo of the one before: what a person can paste is not the point.
        lines = ["%d %s\n" % (number, "0123456789" * 6) for number in range(20)]
        console.send("echo now; head -n 20 | md5sum\n")
        console.wait_for(r"^now\n", 120)
        for line in lines:
            console.send(line)
            console.wait_for(line, 120)
        digest = hashlib.md5("".join(lines).encode()).hexdigest()
        self.expect("20 lines typed", console.wait_for(r"^%s  -\n" % digest, 120),
                    "their checksum did not come back")
        if "Paravane" in console.text:
            self.switch_input(console)
        console.send("exit\n")

    def switch_input(self, console):
        """To the hypervisor's own keys and back."""
        console.send("\1\1\1")
        self.expect("Ctrl-A three times", console.wait_for("input now goes to the hypervisor", 120),
                    "input was not switched")
        console.send("q")
        self.expect("key of the hypervisor", console.wait_for(r"domain 0 \(control\): alive", 120),
                    "no list of domains")
        console.send("\1\1\1")
        self.expect("and back", console.wait_for(r"input now goes to the control domain", 120),
                    "input was not switched back")


class Xl(Test):
    """Debian's tools. Who types at a guest's console through `xl console` has to be a person."""

    script = "xl"
    systems = ("paravane",)

    def prepare(self, setup):
        super().prepare(setup)
        setup.initrd = "xl-initrd"
        setup.hv_args = "maxcpus=1"     # less to emulate; a pin to it is not the same as none

    def drive(self, console):
        if not console.wait_for(r"^PV: attached\n", self.limit):
            return
        console.send("\necho typed=$((6*7))\n")
        self.expect("answer by xl console", console.wait_for(r"^typed=42\n", 120), "none came")
        console.send("\x1d")


class Systemd(Test):
    """A control domain under systemd. Its image needs `scripts/fetch systemd` once."""

    script = "systemd"
    systems = ("paravane",)

    def prepare(self, setup):
        super().prepare(setup)
        setup.initrd = "systemd-initrd"
        setup.dom0_args = "TERM=dumb systemd.show_status=1 systemd.log_color=no"

    def drive(self, console):
        if not console.wait_for(r"^PV: verdict", self.limit):
            return
        for what in ("guests went down before the host", "console daemon", "store"):
            line = r"^PV: ok guests" if what.startswith("guests") else r"Stopped .*%s" % what
            self.expect(what + " stopped in its turn", console.wait_for(line, 300), "no such line")


class Reset(Test):
    """The control domain's reboot resets the machine instead of switching it off."""

    def drive(self, console):
        if not console.wait_for(r"dom0# ", self.limit):
            self.problems.append("no shell")
            return
        console.send("reboot -f\n")
        console.wait_end(300)
        self.expect("reset", console.ended == "guest-reset", console.how_it_ended())
        # What judge() asks for is an orderly end; for this test that is the reset.
        if console.ended == "guest-reset":
            console.ended = "guest-shutdown"


class Watchdog(Test):
    """A processor hung on purpose, by a key of the hypervisor's: it is found, says where it is, and
    the machine starts again."""

    def prepare(self, setup):
        super().prepare(setup)
        setup.hv_args = "watchdog=5 panic=1"

    def drive(self, console):
        if not console.wait_for(r"dom0# ", self.limit):
            self.problems.append("no shell")
            return
        console.send("\1\1\1")
        console.wait_for("input now goes to the hypervisor", 120)
        console.send("W")
        for case, line in (("found", r"PANIC on CPU \d+: this CPU makes no progress"),
                           ("registers", r"^\(PV\) rip|cs:rip e008:"),
                           ("backtrace", r" watchdog_provoke\+0x"),
                           ("held lock", r"It holds the lock of rank 100"),
                           ("the others", r"CPU \d+ was at")):
            self.expect(case, console.wait_for(line, 120, fatal_ends=False), "not said")
        console.wait_end(300)
        self.expect("restart", console.ended == "guest-reset", console.how_it_ended())
        # What judge() takes for a crash is what was asked for here.
        if not self.problems:
            console.ended, console.fatal = "guest-shutdown", None


class Smp(Test):
    """Everything busy on several processors for SECONDS."""

    def prepare(self, setup):
        super().prepare(setup)
        seconds = int(os.environ.get("SECONDS") or 20)
        self.limit += 4 * seconds
        setup.hv_args = "dom0_max_vcpus=2"
        setup.dom0_args = "pv.seconds=%d" % seconds


class Hotplug(Test):
    """Disks and cards of a running guest, ROUNDS times."""

    def prepare(self, setup):
        super().prepare(setup)
        rounds = int(os.environ.get("ROUNDS") or 2)
        self.limit += 20 * rounds
        setup.initrd = "plug-initrd"
        setup.dom0_args = "pv.rounds=%d" % rounds


class Peer:
    """The far end of the network cards' test: a TCP server that QEMU's user network reaches at
    10.0.2.2. The first line of a connection says "send" or "take"."""

    def __init__(self, stream):
        self.stream = stream
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(link,), daemon=True).start()

    def _one(self, link):
        with link, link.makefile("rwb") as stream:
            if stream.readline().strip() == b"send":
                stream.write(self.stream)
                return
            digest = hashlib.md5()
            digest.update(stream.read(len(self.stream)))
            stream.write(digest.hexdigest().encode() + b"\n")

    def close(self):
        self.listener.close()


class Guests(Test):
    """The test kernels of tests/guests/, each a case; ONLY=name,name for some of them."""

    def prepare(self, setup):
        super().prepare(setup)
        only = os.environ.get("ONLY")
        setup.dom0_args = "pv.only=" + only if only else ""


class Alone(Test):
    """The test kernels that need no other domain (kernels.py), each in the control domain's place
    in a machine of its own. CPU="model model" for other processors than the usual one, HV_ARGS for
    options of the hypervisor, ONLY=name,name for some of the kernels."""

    systems = ("paravane",)
    weight = 4
    machines = True
    start = machine.Console
    cpu = "max"
    chosen = None           # names of the kernels instead of ONLY
    hv_args = ""

    def run(self, logs):
        started = time.monotonic()
        for cpu in (os.environ.get("CPU") or self.cpu).split():
            for kernel in kernels.wanted(self.chosen or os.environ.get("ONLY")):
                problem = kernel.reason and "not alone: " + kernel.reason
                problem = problem or kernels.run_alone(kernel, self.start, cpu,
                                                       os.path.join(logs, self.name),
                                                       self.hv_args)
                self.expect("kernel %s on %s" % (kernel.name, cpu), not problem, problem)
        word = "FAILURE" if self.problems else "SUCCESS"
        return word, self.name, time.monotonic() - started, len(self.passed), self.problems


class Isolated(Alone):
    """Those that could break what page-table isolation adds: every way in and out, and changes of
    page tables."""

    hv_args = "xpti=yes spec-ctrl=yes"
    chosen = ",".join([
        "pt_l4_live", "pt_levels", "pt_base_in_use", "pt_race_entry", "mmuext", "update_va",
        "hyp_memory", "int_n", "iret", "iret_selectors", "crash_failsafe", "crash_iret_frame",
        "single_step", "debug_movss", "nmi", "compat", "sysret_end", "vcpu_user_mode", "vcpu_life",
        "gdt", "descriptors", "segments"])


class Bound(Test):
    """No stretch without interrupts is longer than 250,000 instructions: the kernel "bound" does
    the worst of each call in the control domain's place; with a script, Linux does its everyday."""

    systems = ("paravane",)
    weight = 2
    machines = True

    def run(self, logs):
        setup = machine.Setup()
        setup.counted, setup.cpus = True, 1
        setup.hv_args = "noreboot"
        end = kernels.ENDED
        if self.script:
            setup.mode, end = "test:" + self.script, r"span: longest .*\n"
        else:
            setup.kernel = os.path.join(machine.OUT, "guests/bound.elf")
            setup.dom0_memory = "256M"
            setup.hv_args += " dom0_max_vcpus=64"
        console = machine.Console(setup, os.path.join(logs, self.name + ".log"))
        try:
            ended = console.wait_for(end, self.limit)
        finally:
            seconds = console.close()
        worst = bound.table(console.text)
        bad = bound.problems(worst, 1 if self.script else bound.CALLS_LEAST)
        if not ended or console.fatal:
            bad.append(console.fatal or "no end")
        if not self.script and "guest: verdict SUCCESS" not in console.text:
            bad.append("the kernel's verdict is not SUCCESS")
        bound.show(worst, 12)
        return "FAILURE" if bad else "SUCCESS", self.name, seconds, len(worst), bad


class Overcommit(Test):
    """A guest's clock for SECONDS on busy processors."""

    def prepare(self, setup):
        super().prepare(setup)
        seconds = int(os.environ.get("SECONDS") or 15)
        self.limit += 2 * seconds
        setup.dom0_args = "pv.seconds=%d" % seconds


class Fifty(Test):
    """Many small guests at once; GUESTS=n for another number than the usual."""

    usual = 50
    memory = 8192

    def prepare(self, setup):
        super().prepare(setup)
        setup.memory, setup.sparse = self.memory, True
        setup.dom0_args = "pv.guests=%d" % int(os.environ.get("GUESTS") or self.usual)


class Hundred(Fifty):
    """The same with a hundred."""

    usual = 100
    memory = 12288


class Small(Fifty):
    """As many domains of 32 MiB as 4 GiB hold beside a control domain of 512 MiB."""

    usual = 110
    memory = 4096

    def prepare(self, setup):
        super().prepare(setup)
        setup.dom0_memory = "512M"


class Clock(Test):
    """The clock beside the host's, and how late timers are; see clock.py."""

    systems = ("paravane",)
    weight = 2
    machines = True

    def run(self, logs):
        started = time.monotonic()
        for case, measure in (("drift and wall clock", clock.drift), ("timers", clock.timers)):
            measured, problems = measure(logs)
            for line in measured:
                print("%s: %s" % (self.name, line), flush=True)
            self.expect(case, not problems, "; ".join(problems))
        word = "FAILURE" if self.problems else "SUCCESS"
        return word, self.name, time.monotonic() - started, len(self.passed), self.problems


class InBochs(Alone):
    """The same in Bochs, whose processor is stricter than QEMU's."""

    start = bochs.Bochs
    cpu = bochs.CPU

    def lacks(self):
        return bochs.missing()


class FewInBochs(InBochs):
    """What differs most between the two, in the time that `make test` has."""

    chosen = "msrs,segments,sysret_end,iret_selectors,pt_store"


class Torture(Test):
    """A guest that makes random hypercalls for SECONDS, from SEED or one drawn here and printed."""

    def prepare(self, setup):
        super().prepare(setup)
        seconds = int(os.environ.get("SECONDS") or 30)
        seed = int(os.environ.get("SEED") or random.randrange(1, 1 << 31))
        self.limit += 2 * seconds
        print("torture: SECONDS=%d SEED=%d" % (seconds, seed), flush=True)
        setup.dom0_args = "pv.seconds=%d pv.seed=%d" % (seconds, seed)


SECOND_HALF = 128 << 20     # where the control domain writes the stream back


class Devices(Test):
    """Disks and network cards on the control domain's own drivers. Each disk holds the stream at
    its start; the control domain reads it and writes it again further on, and what arrived in the
    image file is compared here."""

    script = "devices"
    weight = 6
    limit = 1800

    def __init__(self, name, disks, cards, **options):
        super().__init__(name, **options)
        self.disks = disks      # kernel's name, QEMU device; {} becomes the drive's name
        self.cards = cards      # QEMU devices; the control domain finds them by MAC

    def prepare(self, setup):
        super().prepare(setup)
        self.stream = image.stream()
        self.folder = tempfile.TemporaryDirectory(prefix="disks-", dir=machine.OUT)
        self.peer = Peer(self.stream)
        devices = []
        self.files = []
        for number, (_, device) in enumerate(self.disks):
            path = os.path.join(self.folder.name, "disk%d" % number)
            with open(path, "wb") as f:
                f.write(self.stream)
                f.truncate(SECOND_HALF * 2)
            self.files.append(path)
            devices += ["-drive", "if=none,id=d%d,format=raw,file=%s" % (number, path)]
            devices += ["-device", device.format("d%d" % number)]
        for number, card in enumerate(self.cards):
            # A network of its own for each, so that a route names the card.
            devices += ["-netdev", "user,id=n%d,net=10.0.%d.0/24" % (number, number + 2)]
            mac = "52:54:00:00:00:%02x" % (number + 2)
            devices += ["-device", "%s,netdev=n%d,mac=%s" % (card, number, mac)]
        setup.devices = devices
        setup.dom0_args = "pv.disks=%s pv.cards=%d pv.port=%d" % (
            ",".join(disk for disk, _ in self.disks), len(self.cards), self.peer.port)

    def finish(self):
        self.peer.close()
        for path, (name, _) in zip(self.files, self.disks):
            with open(path, "rb") as f:
                f.seek(SECOND_HALF)
                self.expect(name + " in the image file", f.read(len(self.stream)) == self.stream,
                            "not what the control domain wrote")
        self.folder.cleanup()


class Interrupts(Test):
    """Where interrupts of devices are taken; the hypervisor's key that tells is typed here,
    whenever the script asks."""

    script = "irqs"
    systems = ("paravane",)

    def prepare(self, setup):
        super().prepare(setup)
        self.disk = tempfile.NamedTemporaryFile(dir=machine.OUT)
        self.disk.truncate(1 << 20)
        setup.machine = "pc"
        setup.devices = ["-device", "ahci,id=sata", "-netdev", "user,id=n0",
                         "-device", "e1000,netdev=n0"]
        for name, device in (("d0", "ide-hd,bus=ide.0"), ("d1", "ide-hd,bus=sata.0"),
                             ("d2", "virtio-blk-pci")):
            drive = "if=none,id=%s,format=raw,snapshot=on,file=%s" % (name, self.disk.name)
            setup.devices += ["-drive", drive, "-device", "%s,drive=%s" % (device, name)]

    def drive(self, console):
        while console.wait_for(r"^PV: show\n", self.limit):
            console.send("\1\1\1e\1\1\1")

    def finish(self):
        self.disk.close()


class Pci(Test):
    """Two network cards of the machine's for guests."""

    def prepare(self, setup):
        super().prepare(setup)
        setup.initrd = "plug-initrd"
        setup.devices = []
        for n in (8, 9):
            setup.devices += ["-netdev", "user,id=n%d,net=10.0.%d.0/24" % (n, n), "-device",
                              "virtio-net-pci,netdev=n%d,mac=52:54:00:00:00:%02x,disable-legacy=on"
                              % (n, n)]


class Grub(Test):
    """Started by GRUB from a CD image, as an installed machine is from its disk."""

    script = "boot"
    limit = 300
    weight = 2

    def prepare(self, setup):
        super().prepare(setup)
        self.folder = tempfile.TemporaryDirectory(prefix="grub-", dir=machine.OUT)
        setup.grub_image(self.folder.name)

    def drive(self, console):
        self.expect("loader", console.wait_for(r"Loader: GRUB", self.limit), "is not GRUB")

    def finish(self):
        self.folder.cleanup()


def all_tests():
    q35_disks = [("vda", "virtio-blk-pci,drive={}"), ("sda", "ide-hd,drive={},bus=ide.0"),
                 ("nvme0n1", "nvme,drive={},serial=pv1")]
    pc_disks = [("sda", "ide-hd,drive={},bus=ide.0"), ("vda", "virtio-blk-pci,drive={}")]
    # Where the number of processors is not what is asked: one takes least to emulate.
    one = {"cpus": 1}
    tests = [
        Test("boot", "boot"),
        Shell("shell", **one),
        Reset("reset", **one),
        Devices("devices", q35_disks, ["virtio-net-pci", "e1000e"],
                **one),
        Devices("devices-pc", pc_disks, ["e1000"], machine="pc", **one),
        Test("memory-512m", "boot", **one, memory=512, dom0_memory="384M"),
        Test("memory-16g", "boot", **one, memory=16384),
        Test("memory-64g", "boot", **one, memory=65536, sparse=True),
        Grub("grub", **one),
        Test("guest", "guest", weight=5),
        Test("restart", "restart", **one, weight=6),
        Test("crash", "crash", **one, weight=5),
        Test("three", "three", **one, weight=5),
        Test("rounds", "rounds", **one, weight=8, limit=2400),
        Test("badinput", "badinput", **one, weight=6, limit=2400),
        Test("store", "store", **one, weight=2),
        Test("cpus", "cpus", weight=4),
        Test("console", "console", weight=2),
        Test("ask", "ask", **one, weight=3),
        Hotplug("hotplug", "hotplug", **one, weight=3),
        Pci("pci", "pci", **one, weight=2),
        Xl("xl", weight=5),
        Systemd("systemd"),
        Test("store-killed", "store-killed", **one, weight=4),
        Test("fair", "fair", weight=3),
        Guests("guests", "guests", weight=7, **one),
        Alone("alone"),
        Isolated("xpti"),
        Bound("bound"),
        Bound("bound-linux", "guest"),
        Clock("clock"),
        Test("wide", "wide", weight=5, memory=4096, limit=3600),
        Fifty("fifty", "fifty", weight=9, limit=3600),
        Hundred("hundred", "fifty", weight=9, limit=7200),
        Small("small", "small", **one, weight=5),
        Overcommit("overcommit", "overcommit", weight=2),
        Test("abuse", "abuse", weight=7),
        InBochs("bochs-all"),
        FewInBochs("bochs"),
        Torture("torture", "torture", weight=4),
        Smp("smp", "smp", weight=8, cpus=4, limit=900),
        # CPUS=255 is as many as QEMU has without x2APIC. It looks through all of them whenever the
        # kernel writes where code has been, so what is timed in seconds says nothing.
        Test("many", "many", weight=5, limit=3600, cpus=24, hv_args="dom0_max_vcpus=2",
             dom0_args="nosoftlockup rcupdate.rcu_cpu_stall_suppress=1"),
        Watchdog("watchdog"),
        Interrupts("irqs", weight=2),
        Test("balloon", "balloon"),
        # Counted, so that it makes no difference how busy the machine below is.
        Test("demand", "demand", weight=4, counted=True, shift=3),
    ]
    for cpu in ("qemu64", "Nehalem", "Skylake-Server", "EPYC"):
        tests.append(Test("cpu-" + cpu, "boot", cpu=cpu, **one))
    return tests
