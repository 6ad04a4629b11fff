# SPDX-License-Identifier: MIT
"""A machine in Debian's Bochs: slower than QEMU's emulation and closer to a processor. It faults
on registers that do not exist and on addresses that are not canonical, checks reserved bits, keeps
global translations, has x2APIC, PCID and SMAP as hardware has them.

It starts from the CD image that Setup.grub_image() makes. Its screen goes to a pseudo-terminal
nobody looks at, its first serial port to a file that is read here.
"""
import fcntl
import os
import pty
import shutil
import struct
import subprocess
import tempfile
import termios
import threading
import time

import machine

CPU = "broadwell_ult"       # the oldest of its models with SMAP
TICKS = 25000000            # of a simulated second, an instruction each: its BIOS waits for 3 s

CONFIGURATION = """\
display_library: term
cpu: model=%(cpu)s, count=%(cpus)d, ips=%(ticks)d, reset_on_triple_fault=0
memory: guest=%(memory)d, host=%(memory)d
romimage: file=$BXSHARE/BIOS-bochs-latest
vgaromimage: file=$BXSHARE/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=%(image)s, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=%(folder)s/serial
log: %(log)s.bochs
panic: action=fatal
speaker: enabled=0
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
"""


def missing():
    """Why it cannot run here, or None."""
    plugin = "/usr/lib/x86_64-linux-gnu/bochs/plugins/libbx_term_gui.so"
    return None if shutil.which("bochs") and os.path.exists(plugin) else "Bochs is not installed"


class Bochs(machine.Transcript):
    """A running machine; as machine.Console, but nothing can be typed. The log named `log` is the
    serial line's, beside it is what Bochs itself says, in `log`.bochs."""

    def __init__(self, setup, log):
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="bochs-")
        setup.grub_image(self.folder)
        with open(os.path.join(self.folder, "bochsrc"), "w", encoding="ascii") as f:
            f.write(CONFIGURATION % {
                "cpu": setup.cpu, "cpus": setup.cpus, "ticks": TICKS, "memory": setup.memory,
                "image": setup.cdrom, "folder": self.folder, "log": log})
        # Debian builds Bochs with its debugger, which is told to go on.
        with open(os.path.join(self.folder, "commands"), "w", encoding="ascii") as f:
            f.write("c\n")
        self.log = open(log, "wb")
        self.screen, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.process = subprocess.Popen(
            ["bochs", "-q", "-f", "bochsrc", "-rc", "commands"], cwd=self.folder, stdin=other,
            stdout=other, stderr=other,
            env=dict(os.environ, TERM="vt100", BXSHARE="/usr/share/bochs"))
        os.close(other)
        self.readers = [threading.Thread(target=self._forget_screen, daemon=True),
                        threading.Thread(target=self._read, daemon=True)]
        for reader in self.readers:
            reader.start()

    def _forget_screen(self):
        try:
            while os.read(self.screen, 65536):
                pass
        except OSError:
            pass    # Bochs has gone

    def _read(self):
        path, offset, running = os.path.join(self.folder, "serial"), 0, True
        while running:
            running = self.process.poll() is None   # what it wrote before is still read
            if os.path.exists(path):
                with open(path, "rb") as f:
                    f.seek(offset)
                    data = f.read()
                offset += len(data)
                self.log.write(data)
                self.arrived.put(data.decode(errors="replace").replace("\r", ""))
            time.sleep(0.1)
        self.arrived.put(None)

    def close(self):
        """Ends Bochs and returns the seconds since it was started."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        seconds = time.monotonic() - self.started
        for reader in self.readers:
            reader.join(timeout=10)
        self.log.close()
        os.close(self.screen)
        shutil.rmtree(self.folder, ignore_errors=True)
        return seconds
