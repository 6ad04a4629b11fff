#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Assembles what `make run` and `make test` boot, under build/image/:

  vmlinux        Debian's amd64 kernel, unpacked from its bzImage by `vane unpack-kernel`
  bzImage        the same kernel as shipped, for a hypervisor that unpacks it itself
  dom0-initrd    the control domain: busybox, kernel modules, our tools and their libraries, and the
                 guest of examples/first.xml (kernel, ramdisk, disk image)
  test-initrd    the same plus what only the boot tests need
  xl-initrd      the control domain with Debian's own tools of the ABI we speak, for the test `xl`
  plug-initrd    the same and qemu-nbd with a qcow2 image, where this machine has them
  systemd-initrd the control domain under systemd, where scripts/fetch systemd has been run
  bare-initrd    busybox alone, for boot-time comparisons

Nothing here needs root. Tools that have not been built are left out and named, so that the image
can be made while a part of the tree does not build; the program that misses them fails then.
"""
import gzip
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile

import cpio
import kmodules
import systemd

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
OUT = os.path.join(TOP, os.environ.get("B", "build"))
IMAGE = os.path.join(OUT, "image")
BUSYBOX = "/bin/busybox"

DOM0_MODULES = """
xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs xen-blkback xen-netback xen-pciback
xen-acpi-processor
bridge sch_ingress cls_bpf tun loop nbd ext4 crc32c_generic sd_mod
virtio_pci virtio_blk virtio_net ahci ata_piix nvme e1000e e1000
""".split()
GUEST_MODULES = ("xen-blkfront xen-netfront xen-pcifront virtio_pci virtio_net ext4 "
                 "crc32c_generic").split()

# Our programs: file under build/, where it goes. Then the stock clients of the store.
TOOLS = [
    ("dom0-tools/vane", "usr/sbin/vane"),
    ("dom0-tools/vane-consoled", "usr/sbin/vane-consoled"),
    ("xenstore-lite/xenstored", "usr/sbin/xenstored"),
]
# Terminals the control domain's console may say it is.
TERMINALS = ["l/linux", "v/vt100", "v/vt102", "v/vt220", "x/xterm", "x/xterm-256color", "s/screen"]
CLIENTS = ["ls", "read", "write", "rm", "list", "exists", "chmod", "watch"]

# Debian's tools as they are: xl finds its other programs and its scripts by these paths.
XEN_BIN = "usr/lib/xen-4.17/bin"
XEN_PROGRAMS = ["xl", "xentop", "xenconsole", "xen-init-dom0", "libxl-save-helper"]
XEN_COMMANDS = ["xl", "xentop"]
XEN_WRAPPER = "usr/lib/xen-common/bin/xen-utils-wrapper"
XEN_HELPERS = ["/bin/bash", "/usr/bin/flock"]     # what its scripts need beyond busybox
XEN_FOLDERS = "var/lib/xen var/log/xen var/lib/xen/dump".split()

DISK_MIB = 48
PAYLOAD_MIB = 4     # on the guest's disk, with its checksum
BLOCKS = 64         # the stream of the transfer tests, each of 1 MiB with its heading
HEADING = b"block %09d\n"


def say(text):
    print("image: " + text, flush=True)


def write(name, data):
    """Replace a file of build/image only when it changes, and never leave half of one."""
    path = os.path.join(IMAGE, name)
    if os.path.exists(path):
        with open(path, "rb") as f:
            if f.read() == data:
                return
    with open(path + ".new", "wb") as f:
        f.write(data)
    os.rename(path + ".new", path)
    say("%s, %.1f MiB" % (name, len(data) / 1048576))


def applets():
    done = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True)
    return done.stdout.split()


def userland(archive):
    """busybox under all of its names, and the folders programs expect."""
    for folder in "proc sys dev dev/pts run tmp mnt root var/log var/lib var/cache etc".split():
        archive.folder(folder)
    archive.char_device("dev/console", 5, 1)
    archive.file("bin/busybox", BUSYBOX, 0o755)
    for name in applets():
        if name != "busybox":
            archive.link("bin/" + name, "busybox")
    archive.link("var/run", "/run")
    for name in ("init", "poweroff", "reboot", "modprobe"):
        archive.link("sbin/" + name, "/bin/busybox")
    archive.text("etc/passwd", "root::0:0:root:/root:/bin/sh\n")
    archive.text("etc/group", "root:x:0:\n")
    archive.text("etc/hosts", "127.0.0.1 localhost\n")


def folder_files(archive, source, target):
    """All files of one of our folders; scripts keep their x bit."""
    for name in sorted(os.listdir(source)):
        path = os.path.join(source, name)
        archive.file(target + "/" + name, path, 0o755 if os.access(path, os.X_OK) else 0o644)


def libraries(programs):
    """What the dynamic loader opens for these programs, loader included."""
    found = set()
    for program in programs:
        done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
        for line in done.stdout.splitlines():
            words = line.split()
            if "not found" in line:
                raise SystemExit("image: %s needs %s, which is not installed" % (program, words[0]))
            found.update(word for word in words if word.startswith("/"))
    return sorted(found)


def payload(size, seed):
    """Bytes that do not compress and are the same in every build."""
    return random.Random(seed).randbytes(size)


def stream_block():
    return payload((1 << 20) - len(HEADING % 0), 1)


def stream():
    """What /usr/lib/paravane/stream sends; see scripts/guest/stream."""
    block = stream_block()
    return b"".join(HEADING % number + block for number in range(1, BLOCKS + 1))


def guest_root(folder, block):
    """The guest's root file system as a folder, for mke2fs."""
    for name in "proc sys dev dev/pts run tmp mnt root bin sbin etc srv usr/lib/paravane".split():
        os.makedirs(os.path.join(folder, name))
    shutil.copy(BUSYBOX, os.path.join(folder, "bin/busybox"))
    for name in applets():
        if name != "busybox":
            os.symlink("busybox", os.path.join(folder, "bin", name))
    for name in ("init", "poweroff", "reboot"):
        os.symlink("/bin/busybox", os.path.join(folder, "sbin", name))
    for name, target in (("inittab", "etc"), ("rc", "etc"), ("sink", "usr/lib/paravane"),
                         ("stream", "usr/lib/paravane")):
        shutil.copy(os.path.join(HERE, "guest", name), os.path.join(folder, target))
    data = payload(PAYLOAD_MIB << 20, 2)
    files = {
        "etc/passwd": b"root::0:0:root:/root:/bin/sh\n",
        "srv/data": data,
        "srv/data.md5": (hashlib.md5(data).hexdigest() + "  /srv/data\n").encode(),
        "srv/block": block,
    }
    for name, content in files.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(content)


def guest_disk(block):
    """An ext4 image, compressed: most of it is zeros. Made again only when its sources change."""
    sources = [BUSYBOX, __file__] + [os.path.join(HERE, "guest", n) for n in
                                     sorted(os.listdir(os.path.join(HERE, "guest")))]
    digest = hashlib.sha256()
    for path in sources:
        with open(path, "rb") as f:
            digest.update(f.read())
    packed, stamp = os.path.join(IMAGE, "first.img.gz"), os.path.join(IMAGE, "first.img.from")
    if os.path.exists(packed) and os.path.exists(stamp):
        with open(stamp, encoding="ascii") as f:
            if f.read() == digest.hexdigest():
                return packed
    with tempfile.TemporaryDirectory() as folder:
        guest_root(folder, block)
        raw = os.path.join(IMAGE, "first.img")
        if os.path.exists(raw):
            os.unlink(raw)
        mke2fs = shutil.which("mke2fs", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        subprocess.run([mke2fs, "-q", "-F", "-t", "ext4", "-m", "0", "-E", "root_owner=0:0,"
                        "lazy_itable_init=0", "-O", "^resize_inode", "-L", "first", "-d", folder,
                        raw, "%dM" % DISK_MIB], check=True, stdout=subprocess.DEVNULL)
    with open(raw, "rb") as f:
        data = f.read()
    with open(packed, "wb") as f:
        f.write(gzip.compress(data, 6, mtime=0))
    os.unlink(raw)
    with open(stamp, "w", encoding="ascii") as f:
        f.write(digest.hexdigest())
    return packed


def guest_initrd(kernels):
    """The ramdisk guests start with, for either kernel flavour."""
    archive = cpio.Archive()
    userland(archive)
    archive.file("init", os.path.join(HERE, "guest/init"), 0o755)
    for kernel in kernels:
        kernel.add_to(archive, GUEST_MODULES)
    return gzip.compress(archive.bytes(), 1, mtime=0)


def add_tools(archive):
    present = []
    for source, target in TOOLS:
        path = os.path.join(OUT, source)
        if os.path.exists(path):
            archive.file(target, path, 0o755)
            present.append(path)
        else:
            say("without " + source)
    clients = os.path.join(OUT, "x/store-clients/usr/bin")
    for name in CLIENTS:
        archive.file("usr/bin/xenstore-" + name, os.path.join(clients, "xenstore-" + name), 0o755)
        present.append(os.path.join(clients, "xenstore-" + name))
    for library in libraries(present):
        archive.file(library, os.path.realpath(library), 0o755)


def add_terminals(archive):
    """What vane top's full screen knows terminals by."""
    for name in TERMINALS:
        path = os.path.join("/lib/terminfo", name)
        if os.path.exists(path):
            archive.file("lib/terminfo/" + name, path)


def add_examples(archive):
    folder = os.path.join(TOP, "examples")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".xml"):
            archive.file("etc/paravane/" + name, os.path.join(folder, name))
    archive.file("usr/share/paravane/schemas/domain.rng",
                 os.path.join(TOP, "dom0-tools/schema/domain.rng"))


def dom0_archive(amd64, cloud, block):
    archive = cpio.Archive()
    userland(archive)
    amd64.add_to(archive, DOM0_MODULES)
    folder_files(archive, os.path.join(HERE, "dom0"), "usr/lib/paravane")
    archive.file("usr/lib/paravane/stop-guests",
                 os.path.join(TOP, "dom0-tools/systemd/stop-guests"), 0o755)
    archive.link("init", "usr/lib/paravane/init")
    archive.link("etc/inittab", "/usr/lib/paravane/inittab")
    archive.link("etc/profile", "/usr/lib/paravane/profile")
    archive.file("usr/lib/paravane/stream", os.path.join(HERE, "guest/stream"), 0o755)
    archive.file("usr/lib/paravane/sink", os.path.join(HERE, "guest/sink"), 0o755)
    add_tools(archive)
    add_terminals(archive)
    add_examples(archive)
    archive.file("boot/guest/vmlinuz", cloud.vmlinuz)
    archive.data("boot/guest/initrd.gz", guest_initrd([amd64, cloud]))
    archive.file("var/lib/paravane/first.img.gz", guest_disk(block))
    archive.data("srv/block", block)
    archive.text("etc/paravane/stream.md5", hashlib.md5(stream()).hexdigest() + "\n")
    return archive


def test_archive(amd64):
    """Added behind dom0-initrd; the kernel unpacks one archive after the other."""
    archive = cpio.Archive()
    folder_files(archive, os.path.join(TOP, "tests/boot/dom0"), "usr/lib/paravane/tests")
    archive.file("usr/lib/paravane/tests/memory-used",
                 os.path.join(TOP, "examples/memory-used"), 0o755)
    archive.file("boot/guest/vmlinuz-amd64", amd64.vmlinuz)
    kernels = os.path.join(OUT, "guests")
    for name in sorted(os.listdir(kernels)):
        if name.endswith(".elf"):
            archive.file("boot/kernels/" + name[:-4], os.path.join(kernels, name))
    return archive


def xl_archive():
    """Added behind dom0-initrd: Debian's xen-utils, unmodified, and the shell its scripts want."""
    tools, common = os.path.join(OUT, "x/xl-tools"), os.path.join(OUT, "x/xl-common")
    archive = cpio.Archive()
    folder_files(archive, os.path.join(TOP, "tests/boot/dom0"), "usr/lib/paravane/tests")
    programs = [os.path.join(tools, XEN_BIN, name) for name in XEN_PROGRAMS]
    for name, path in zip(XEN_PROGRAMS, programs):
        archive.file(XEN_BIN + "/" + name, path, 0o755)
    archive.file(XEN_WRAPPER, os.path.join(common, XEN_WRAPPER), 0o755)
    for name in XEN_COMMANDS:
        archive.link("usr/sbin/" + name, "/" + XEN_WRAPPER)
    archive.file("etc/xen/xl.conf", os.path.join(common, "etc/xen/xl.conf"))
    folder_files(archive, os.path.join(common, "etc/xen/scripts"), "etc/xen/scripts")
    for path in XEN_HELPERS:
        archive.file(path, path, 0o755)
    for library in libraries(programs + XEN_HELPERS):
        archive.file(library, os.path.realpath(library), 0o755)
    for folder in XEN_FOLDERS:
        archive.folder(folder)
    archive.link("var/lock", "/run/lock")
    return archive


def plug_archive():
    """qemu-nbd, and an image in its format with the checksum of its bytes."""
    archive = cpio.Archive()
    server, convert = shutil.which("qemu-nbd"), shutil.which("qemu-img")
    if not server or not convert:
        say("without qemu-nbd")
        return archive
    archive.file("usr/bin/qemu-nbd", server, 0o755)
    for library in libraries([server]):
        archive.file(library, os.path.realpath(library), 0o755)
    data = payload(PAYLOAD_MIB << 20, 3)
    with tempfile.TemporaryDirectory() as folder:
        raw, packed = os.path.join(folder, "raw"), os.path.join(folder, "qcow2")
        with open(raw, "wb") as f:
            f.write(data)
        subprocess.run([convert, "convert", "-f", "raw", "-O", "qcow2", raw, packed], check=True)
        archive.file("var/lib/paravane/plug.qcow2", packed)
    archive.text("etc/paravane/plug.md5", hashlib.md5(data).hexdigest() + "\n")
    return archive


def bare_archive():
    archive = cpio.Archive()
    userland(archive)
    archive.file("init", os.path.join(HERE, "dom0/init"), 0o755)
    return archive


def unpack_kernel(amd64):
    """The plain ELF inside Debian's bzImage, by the tool an installed host would use."""
    shutil.copyfile(amd64.vmlinuz, os.path.join(IMAGE, "bzImage"))
    vane = os.path.join(OUT, "dom0-tools/vane")
    target = os.path.join(IMAGE, "vmlinux")
    if not os.path.exists(vane):
        say("without vmlinux, which needs dom0-tools/vane")
        return
    source = os.path.realpath(amd64.vmlinuz)
    stamp = target + ".from"
    if os.path.exists(target) and os.path.lexists(stamp) and os.readlink(stamp) == source:
        if os.path.getmtime(target) > max(os.path.getmtime(vane), os.path.getmtime(source)):
            return
    subprocess.run([vane, "unpack-kernel", source, target], check=True)
    os.utime(target)
    if os.path.lexists(stamp):
        os.unlink(stamp)
    os.symlink(source, stamp)


def main():
    os.makedirs(IMAGE, exist_ok=True)
    amd64 = kmodules.Kernel(os.path.join(OUT, "x/kernel-amd64"))
    cloud = kmodules.Kernel(os.path.join(OUT, "x/kernel-cloud"))
    block = stream_block()
    dom0 = dom0_archive(amd64, cloud, block).bytes()
    write("dom0-initrd", dom0)
    test = dom0 + test_archive(amd64).bytes()
    write("test-initrd", test)
    write("plug-initrd", test + plug_archive().bytes())
    write("xl-initrd", dom0 + xl_archive().bytes())
    if systemd.fetched(OUT):
        archive = dom0_archive(amd64, cloud, block)
        systemd.add_to(archive, TOP, OUT, libraries)
        write("systemd-initrd", archive.bytes())
    write("bare-initrd", bare_archive().bytes())
    unpack_kernel(amd64)
    return 0


if __name__ == "__main__":
    sys.exit(main())
