# SPDX-License-Identifier: MIT
"""A machine in QEMU: its command line, its serial console, how it ended.

Shared by run.py, bench.py and the boot tests. The same control-domain image can be started on
Paravane, on Debian's Xen (hv="xen", the peer we compare with) and on the bare machine.
A power-off and a reset both end QEMU with status 0; which of them it was is asked over QMP.
"""
import glob
import json
import os
import queue
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(TOP, os.environ.get("B") or "build")
IMAGE = os.path.join(OUT, "image")

# What never may appear on a console, whatever the test: a crash of either system below or above.
FATAL = re.compile(
    r"[Pp]anic|PANIC|\bBUG\b|[Aa]ssertion.*fail|ASSERT|Call Trace|Oops|general protection|"
    r"[Tt]riple fault|[Uu]nable to handle|WARNING: CPU|segfault|Domain 0 crashed|FATAL")
# Lines of a healthy boot that the words above would catch.
HARMLESS = re.compile(r"^PV: |panic=|panic_on|[Cc]ommand line|oops=|PANICS")


class Setup:
    """Everything that is put on QEMU's command line."""

    def __init__(self, hv="paravane", mode="shell", initrd="test-initrd"):
        self.hv = hv
        self.mode = mode
        self.initrd = initrd
        self.machine = "q35"
        self.cpu = "max"
        self.memory = 2048
        self.sparse = False     # more memory than this host may have: none is set aside
        self.cpus = 2
        self.dom0_memory = "1G"
        self.counted = False    # one instruction is one nanosecond, or
        self.shift = 0          # 1 << shift of them; several processors take turns
        self.hypervisor = "hypervisor/paravane.bin"
        self.kernel = None      # in place of the control domain's kernel, without a ramdisk
        self.hv_args = ""
        self.dom0_args = ""
        self.devices = []
        self.cdrom = None       # a GRUB image made by grub_image(), instead of QEMU's own loader

    def _modules(self):
        """The hypervisor with its options, then the kernel with its own, then the ramdisk."""
        initrd = os.path.join(IMAGE, self.initrd)
        # A hung system can then be asked over its console what it waits for: Ctrl-O, then a key.
        mode = "sysrq_always_enabled pv.mode=" + self.mode
        if self.hv == "bare":
            args = "console=ttyS0 %s %s" % (mode, self.dom0_args)
            return [(os.path.join(IMAGE, "bzImage"), args), (initrd, "")]
        args = "console=hvc0 %s %s" % (mode, self.dom0_args)
        if self.hv == "xen":
            kernel, hypervisor = "bzImage", os.path.join(OUT, "x/xen.bin")
            own = "console=com1 com1=115200,8n1 loglvl=all dom0=pv"
        else:
            kernel, hypervisor = "vmlinux", os.path.join(OUT, self.hypervisor)
            own = "console=com1"
        if self.kernel:
            kernel = self.kernel
        own = "%s dom0_mem=%s %s" % (own, self.dom0_memory, self.hv_args)
        modules = [(hypervisor, own.strip()), (os.path.join(IMAGE, kernel), args.strip())]
        return modules if self.kernel else modules + [(initrd, "")]

    def files(self):
        return [path for path, _ in self._modules()]

    def grub_image(self, folder):
        """Writes a CD image from which GRUB starts the same, and has the machine use it."""
        boot = os.path.join(folder, "iso/boot")
        os.makedirs(os.path.join(boot, "grub"))
        steps = ["serial; terminal_output serial"]
        for word, (path, args) in zip(("multiboot", "module", "module"), self._modules()):
            shutil.copy(path, boot)
            steps.append("%s /boot/%s %s" % (word, os.path.basename(path), args))
        with open(os.path.join(boot, "grub/grub.cfg"), "w", encoding="ascii") as f:
            f.write("\n".join(steps + ["boot", ""]))
        self.cdrom = os.path.join(folder, "grub.iso")
        # Only what is used: a slow machine reads it all.
        modules = "--install-modules=biosdisk iso9660 multiboot normal part_msdos serial"
        subprocess.run(["grub-mkrescue", "-o", self.cdrom, "--fonts=", "--locales=", "--themes=",
                        modules, os.path.dirname(boot)],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)

    def _kernel(self):
        if self.cdrom:
            return ["-cdrom", self.cdrom]
        (kernel, own), *modules = self._modules()
        # QEMU splits modules at commas; a comma of an argument is written twice.
        words = [("%s %s" % (path, args.replace(",", ",,"))).strip() for path, args in modules]
        return ["-kernel", kernel, "-append", own, "-initrd", ",".join(words)]

    def command(self):
        cpu = self.cpu
        # Linux on Xen does not come up with SMAP under QEMU's emulation; see docs/lab.md.
        if self.hv == "xen" and cpu == "max":
            cpu = "max,-smap"
        machine, memory = self.machine, []
        if self.sparse:
            machine += ",memory-backend=ram"
            memory = ["-object", "memory-backend-ram,id=ram,size=%dM,reserve=off" % self.memory]
        return [
            "qemu-system-x86_64", "-machine", machine, *memory, "-m", str(self.memory),
            "-smp", str(self.cpus), "-cpu", cpu, "-accel", os.environ.get("ACCEL") or "tcg",
            *(["-icount", "shift=%d,sleep=off" % self.shift] if self.counted else []),
            "-name", "paravane,debug-threads=on",
            "-no-reboot", "-nic", "none"] + self._kernel() + self.devices


class Transcript:
    """What a machine has said so far, and waiting for more of it. Whoever reads the machine puts
    text into `arrived`, at the end None."""

    def __init__(self):
        self.started = time.monotonic()
        self.text = ""
        self.seen = 0
        self.arrived = queue.Queue()
        self.fatal = None       # first line that no healthy machine prints

    def _take(self, text):
        self.text += text
        if self.fatal is None:
            start = self.text.rfind("\n", 0, len(self.text) - len(text)) + 1
            # Of whole lines: "options: panic=1" that has come in two pieces is not a panic.
            for line in self.text[start:].split("\n")[:-1]:
                if FATAL.search(line) and not HARMLESS.search(line):
                    self.fatal = line.strip()
                    break

    def wait_for(self, pattern, seconds, fatal_ends=True):
        """The next match behind what earlier calls have found, or None: the machine has ended, a
        fatal line has come, or the time is up. The caller tells which by asking."""
        expression = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + seconds
        while True:
            match = expression.search(self.text, self.seen)
            if match:
                self.seen = match.end()
                return match
            if fatal_ends and self.fatal:
                return None
            try:
                text = self.arrived.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if text is None:
                self.arrived.put(None)
                return None
            self._take(text)


class Console(Transcript):
    """A running machine whose serial port is read, kept in a log and, if asked, shown."""

    def __init__(self, setup, log, echo=None):
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="paravane-")
        self.echo = echo
        self.ended = None       # QMP's reason for the end: guest-shutdown, guest-reset ...
        self.cpus = setup.cpus
        self.requests = None    # to QMP, once it is there
        self.log = open(log, "wb")
        monitor = os.path.join(self.folder, "qmp")
        command = setup.command() + ["-display", "none", "-monitor", "none", "-serial", "stdio",
                                     "-qmp", "unix:%s,server=on,wait=on" % monitor]
        self.log.write((" ".join(command) + "\n").encode())
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, bufsize=0)
        self.readers = [threading.Thread(target=self._read, daemon=True),
                        threading.Thread(target=self._monitor, args=(monitor,), daemon=True)]
        for reader in self.readers:
            reader.start()

    def _read(self):
        while True:
            data = self.process.stdout.read(65536)
            if not data:
                break
            self.log.write(data)
            self.log.flush()
            text = data.decode(errors="replace").replace("\r", "").replace("\0", "")
            if self.echo:
                self.echo.write(text)
                self.echo.flush()
            self.arrived.put(text)
        self.arrived.put(None)

    def _monitor(self, path):
        link = socket.socket(socket.AF_UNIX)
        while self.process.poll() is None:
            try:
                link.connect(path)
                break
            except OSError:
                time.sleep(0.05)
        try:
            stream = link.makefile("rwb")
            stream.write(b'{"execute": "qmp_capabilities"}\n')
            stream.flush()
            self.requests = stream
            for line in stream:
                message = json.loads(line)
                if message.get("event") == "SHUTDOWN":
                    self.ended = message["data"]["reason"]
                elif isinstance(message.get("return"), str):
                    self.log.write(message["return"].replace("\r", "").encode())
        except (OSError, ValueError):
            pass    # QEMU has gone; what it said before is in self.ended
        finally:
            link.close()

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait_end(self, seconds):
        """Until the machine has powered off. Returns whether it did, as opposed to being reset, or
        still running, or QEMU having failed."""
        self.wait_for(r"(?!)", seconds, fatal_ends=False)
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.describe()
            return False
        self.readers[1].join(timeout=10)
        return self.process.returncode == 0 and self.ended == "guest-shutdown"

    def monitor(self, command, cpu=0):
        """What a person would type at QEMU's monitor; the answer comes into the log."""
        request = {"execute": "human-monitor-command",
                   "arguments": {"command-line": command, "cpu-index": cpu}}
        self.requests.write(json.dumps(request).encode() + b"\n")
        self.requests.flush()

    def threads(self):
        """A line for each of the emulator's own threads: what it has used and what it waits for."""
        lines = []
        ticks = os.sysconf("SC_CLK_TCK")
        for folder in sorted(glob.glob("/proc/%d/task/*" % self.process.pid)):
            try:
                with open(folder + "/stat", encoding="ascii", errors="replace") as f:
                    name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
                with open(folder + "/wchan", encoding="ascii") as f:
                    waits = f.read()
            except OSError:
                continue    # it has just ended
            state, used = rest.split()[0], sum(int(word) for word in rest.split()[11:13])
            lines.append("%-16s %s %8.2f s  %s\n" % (name, state, used / ticks, waits))
        return "Emulator's threads:\n" + "".join(lines)

    def describe(self):
        """Has QEMU say in the log what each processor is at, its stack and its interrupts included:
        for a machine that has hung, of which nothing else will be left. Twice, for what turns in a
        circle looks different the second time, and an emulator that stands still does not."""
        try:
            for _ in range(2):
                self.log.write(self.threads().encode())
                for command in (["info registers -a"] +
                                ["info lapic %d" % cpu for cpu in range(self.cpus)]):
                    self.monitor(command)
                time.sleep(1)
            for cpu in range(self.cpus):
                self.monitor("x /96gx $esp", cpu)
            time.sleep(1)
        except (AttributeError, OSError, ValueError):
            pass    # QEMU has gone, or has never answered

    def how_it_ended(self):
        if self.process.poll() is None:
            return "still running after %d s" % (time.monotonic() - self.started)
        return "QEMU status %d, %s" % (self.process.returncode, self.ended or "no shutdown event")

    def close(self):
        """Ends QEMU if it still runs and returns the seconds since it was started."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        seconds = time.monotonic() - self.started
        for reader in self.readers:
            reader.join(timeout=10)
        self.log.close()
        self.process.stdin.close()
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return seconds


def missing(setup):
    """Files a setup needs that are not there, for a message better than QEMU's."""
    return [path for path in setup.files() if not os.path.exists(path)]
