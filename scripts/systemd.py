# SPDX-License-Identifier: MIT
"""A control domain that systemd runs, for the boot test `systemd`: Debian's packages systemd, udev
and kmod as they are (scripts/fetch systemd), over the files of dom0-initrd, with our units enabled
and the example guest marked to start with the host. image.py writes it as systemd-initrd where the
packages have been fetched.
"""
import os
import subprocess
import tempfile

PACKAGES = ("sd-shared", "sd-systemd", "sd-sysv", "sd-udev", "sd-kmod")   # links of scripts/fetch
FOLDERS = ("bin", "sbin", "lib", "usr/bin", "usr/sbin", "usr/lib", "etc")
LIBRARIES = "usr/lib/x86_64-linux-gnu/systemd"      # its own, of its own version
UNITS = "lib/systemd/system"
WANTED = "etc/systemd/system/multi-user.target.wants"
OURS = ("paravane-store.service", "paravane-consoled.service", "paravane-guests.service")

# What an administrator would set up: a bridge, and the guest's disk. It stops after the guests, so
# it sees what they leave behind.
HOST_UNIT = """[Unit]
Description=The test's bridge and disk
Before=paravane-guests.service network-online.target
After=paravane-consoled.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /usr/lib/paravane/tests/systemd begin
ExecStop=/bin/sh /usr/lib/paravane/tests/systemd end
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
"""

TEST_UNIT = """[Unit]
Description=The test
After=paravane-guests.service

[Service]
Type=oneshot
ExecStart=/bin/sh /usr/lib/paravane/tests/systemd test
TimeoutStartSec=infinity
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
"""


def fetched(out):
    return all(os.path.isdir(os.path.join(out, "x", name)) for name in PACKAGES)


def add_package(archive, package):
    """All a package installs but its documentation. Returns: its programs and libraries."""
    binaries = []
    for folder in FOLDERS:
        for at, folders, names in os.walk(os.path.join(package, folder)):
            inside = os.path.relpath(at, package)
            for name in sorted(folders + names):
                path = os.path.join(at, name)
                if os.path.islink(path):
                    archive.link(inside + "/" + name, os.readlink(path))
                elif os.path.isfile(path):
                    runs = os.access(path, os.X_OK)
                    archive.file(inside + "/" + name, path, 0o755 if runs else 0o644)
                    with open(path, "rb") as f:
                        if f.read(4) == b"\x7fELF":
                            binaries.append(path)
    return binaries


def index_modules(archive, kmod):
    """The indexes that libkmod reads, which busybox does without."""
    with tempfile.TemporaryDirectory() as folder:
        release = None
        for path, (_, data, _) in archive.entries.items():
            if path.startswith("lib/modules/") and path.endswith(".ko"):
                release = path.split("/")[2]
                os.makedirs(os.path.dirname(os.path.join(folder, path)), exist_ok=True)
                with open(os.path.join(folder, path), "wb") as f:
                    f.write(data)
        subprocess.run(["depmod", "-b", folder, release], check=True, stderr=subprocess.DEVNULL,
                       executable=os.path.join(kmod, "bin/kmod"))
        base = os.path.join("lib/modules", release)
        for name in sorted(os.listdir(os.path.join(folder, base))):
            if name.startswith("modules."):
                archive.file(base + "/" + name, os.path.join(folder, base, name))


def add_to(archive, top, out, libraries):
    """Makes systemd the first process of a control domain's archive."""
    packages = [os.path.join(out, "x", name) for name in PACKAGES]
    own = os.path.join(packages[0], LIBRARIES)
    binaries = [path for package in packages for path in add_package(archive, package)]
    os.environ["LD_LIBRARY_PATH"] = own
    for library in libraries(binaries):
        if os.path.basename(os.path.dirname(library)) != "systemd":
            archive.file(library, os.path.realpath(library), 0o755)
    del os.environ["LD_LIBRARY_PATH"]
    index_modules(archive, packages[PACKAGES.index("sd-kmod")])
    archive.link("init", "/lib/systemd/systemd")
    archive.link("etc/os-release", "/usr/lib/os-release")
    archive.text("usr/lib/os-release", "ID=debian\nPRETTY_NAME=\"Debian, for a test\"\n")
    archive.text("etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    archive.text("etc/group", "root:x:0:\ntty:x:5:\ndisk:x:6:\nkmem:x:15:\ninput:x:101:\n"
                 "systemd-journal:x:102:\n")
    archive.link("etc/systemd/system/default.target", "/lib/systemd/system/multi-user.target")
    for unit in ("getty.target", "systemd-networkd.service", "systemd-resolved.service"):
        archive.link("etc/systemd/system/" + unit, "/dev/null")
    ours = os.path.join(top, "dom0-tools/systemd")
    for name in sorted(os.listdir(ours)):
        if name != "stop-guests":
            archive.file(UNITS + "/" + name, os.path.join(ours, name))
    archive.text(UNITS + "/test-host.service", HOST_UNIT)
    archive.text(UNITS + "/test.service", TEST_UNIT)
    for name in OURS + ("test-host.service", "test.service"):
        archive.link(WANTED + "/" + name, "/lib/systemd/system/" + name)
    archive.file("etc/paravane/guests/first.xml", os.path.join(top, "examples/first.xml"))
    archive.text("etc/paravane/guests/autostart/first.xml", "")
    archive.file("usr/lib/paravane/tests/systemd", os.path.join(top, "tests/boot/dom0/systemd"))
