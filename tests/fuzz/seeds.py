#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/fuzz/seeds/: for each target a few small inputs to start from, well-formed ones, so
that mutations of them get far. Run again after a change here; found cases are kept elsewhere."""
import bz2
import lzma
import os
import struct
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = 0xffffffff80000000


def write(target, name, data):
    folder = os.path.join(HERE, "seeds", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


# ---- kernels ----

def note(kind, value, name=b"Xen\0"):
    value = struct.pack("<Q", value) if isinstance(value, int) else value
    padded = value + b"\0" * (-len(value) % 4)
    return struct.pack("<III", len(name), len(value), kind) + name + padded


NOTES = [(1, BASE + 0x1000010), (2, BASE + 0x1001000), (3, BASE), (4, 0),
         (5, b"xen-3.0\0"), (6, b"linux\0"), (7, b"6.1\0"), (8, b"generic\0"),
         (10, b"!writable_page_tables|pae_pgdir_above_4gb\0"), (12, 0xffff800000000000),
         (13, struct.pack("<QQ", 1, 1)), (14, struct.pack("<I", 1)), (15, 0x8000000000),
         (16, struct.pack("<I", 1)), (17, 0x8801)]


def elf(notes):
    """A kernel of two segments and a page of hypercall stubs."""
    text = b"".join(note(*n) for n in notes)
    data_at = 64 + 3 * 56 + len(text)
    header = b"\177ELF\2\1\1" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, BASE + 0x1000000, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    phdr = struct.pack("<IIQQQQQQ", 1, 5, data_at, BASE + 0x1000000, 0x1000000, 32, 0x2000, 0x1000)
    phdr += struct.pack("<IIQQQQQQ", 1, 6, data_at + 32, 0, 0x1200000, 16, 0x3000, 0x1000)
    phdr += struct.pack("<IIQQQQQQ", 4, 4, 64 + 3 * 56, 0, 0, len(text), len(text), 4)
    return header + phdr + text + b"\x90" * 48


KERNEL = elf(NOTES)
FEW = elf([NOTES[1], NOTES[2], NOTES[4]])


def be32(value):
    return struct.pack(">I", value)


def lzop(data):
    head = bytes([0x10, 0x40, 0x20, 0xa0, 9, 0x40, 3, 9]) + be32(3) + be32(0x81a4)
    head += bytes([1, 2, 3, 4, 0, 0, 0, 0, 3]) + b"abc"
    block = be32(len(data)) + be32(len(data)) + be32(zlib.adler32(data)) + data
    # The same again as one literal run of the packed form: 18 + n bytes follow, n in 255s.
    more = data[:48]
    packed = bytes([len(more) + 17]) + more + b"\x11\0\0"
    block += be32(len(more)) + be32(len(packed)) + be32(zlib.adler32(more)) + \
        be32(zlib.adler32(packed)) + packed
    return (b"\x89LZO\0\r\n\x1a\n" + head + be32(zlib.adler32(head)) + block + be32(0),
            len(data) + len(more))


def lz4(data):
    rest = len(data) - 15
    run = b"\xf0" + b"\xff" * (rest // 255) + bytes([rest % 255]) + data
    return b"\x02\x21\x4c\x18" + struct.pack("<I", len(run)) + run


def zstd(data):
    frame = b"\x28\xb5\x2f\xfd" + b"\x60" + struct.pack("<H", len(data) - 256)
    return frame + struct.pack("<I", 1 | len(data) << 3)[:3] + data


def sized(stream, size):
    return stream + struct.pack("<I", size)


def bzimage(payload):
    code = payload + bytes(-(len(payload) + 4) % 16)
    image = bytearray(1024)
    image[0x1f1] = 1
    struct.pack_into("<I", image, 0x1f4, (len(code) + 4) // 16)
    struct.pack_into("<H", image, 0x1fe, 0xaa55)
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x206, 0x20f)
    image[0x211] = 1
    struct.pack_into("<II", image, 0x248, 0, len(payload))
    image = bytes(image) + code
    return image + struct.pack("<I", zlib.crc32(image) ^ 0xffffffff)


def unpack_seeds():
    gz = zlib.compressobj(9, zlib.DEFLATED, 31)
    packer = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}]
    lzo, lzo_size = lzop(FEW)
    size = len(FEW)
    streams = {
        "gzip": gz.compress(FEW) + gz.flush(),
        "bzip2": sized(bz2.compress(FEW), size),
        "lzma": sized(lzma.compress(FEW, lzma.FORMAT_ALONE), size),
        "xz": sized(lzma.compress(FEW, check=lzma.CHECK_CRC32, filters=packer), size),
        "lzo": sized(lzo, lzo_size),
        "lz4": sized(lz4(FEW), size),
        "zstd": sized(zstd(FEW), size),
    }
    for number, (name, stream) in enumerate(streams.items(), 1):
        write("unpack", name, bytes([number]) + stream)
    write("unpack", "bzimage", b"\0" + bzimage(streams["gzip"]))
    write("unpack", "elf", b"\0" + KERNEL)
    write("unpack", "notes", b"\x08" + KERNEL)


# ---- instructions ----

INSNS = """0f30 0f32 0fa2 0f01d1 0f01d0 0f01f9 0f20c0 0f22c0 0f20d8 0f22d8 0f20e0 0f22e0 0f06 0f09
fa fb f4 e420 e620 ec ee 66ed ef 6c f36c 6e f36e f3676d 0f0b78656e0fa2 0f2100 0f23ff 0f3f 8807
488907 4889 66c7078765 8786 f0480fb10f 65488904250000 83270f f0480fba2f05 f0480fab0f 480fbb0c98
48810f80000001 4487043c 678907 0f01c8 f30fae 26488b 0f31""".split()


def insn_seeds():
    for number, code in enumerate(INSNS):
        flags = number % 2 | 2 | 4 * (number // 2 % 2) | (8 if number % 9 == 8 else 0)
        regs = struct.pack("<Q", 0xc0000101)
        write("insn", code, bytes([flags]) + struct.pack("<H", 2) + regs +
              struct.pack("<Q", 0x1122334455667788) + bytes.fromhex(code))


# ---- XML ----

HEAD = ("<domain type='xen'><name>t</name><memory unit='MiB'>64</memory><os><type>linux</type>"
        "<kernel>/k</kernel></os>")
FULL = """<domain type='xen' id='7'><name> all </name>
<uuid>4ef22d08-f46e-4ca0-b564-34148f6bd527</uuid><title>T &amp; t</title>
<description>D<![CDATA[<d>]]></description><metadata><x:y xmlns:x='urn:x' z='1'/></metadata>
<memory unit='GiB'>1</memory><currentMemory>524287</currentMemory>
<vcpu placement='static' current='2'>4</vcpu><os><type arch='x86_64' machine='xenpv'>xen</type>
<kernel>/k</kernel><initrd>/i</initrd><cmdline>a=b  c</cmdline></os>
<features><acpi/><apic/><pae/></features><clock offset='utc'/>
<on_poweroff>preserve</on_poweroff><on_reboot>rename-restart</on_reboot>
<on_crash>coredump-restart</on_crash><devices><emulator>/q</emulator>
<disk type='block' device='cdrom'><driver name='phy' type='raw'/><source dev='/dev/b'/>
<target dev='xvdc' bus='xen'/></disk><disk type='file'><source file='/f'/><target dev='xvda2'/>
<readonly/><shareable/></disk><interface type='bridge'><mac address='00:16:3e:00:00:02'/>
<source bridge='br0'/><target dev='web0'/></interface>
<console type='pty'><target type='xen' port='0'/></console></devices></domain>"""


def xml_seeds():
    write("xml", "full", FULL.encode())
    write("xml", "small", (HEAD + "</domain>").encode())
    write("xml", "limits", (HEAD.replace(">64<", ">4<") +
                            "<vcpu current='128'>128</vcpu></domain>").encode())
    write("xml", "devices", (HEAD + "<devices><disk><source file='/a'/><target dev='xvda'/></disk>"
                             "<interface type='bridge'><source bridge='b'/></interface><console/>"
                             "</devices></domain>").encode())
    write("xml", "entity", b"<!DOCTYPE domain [<!ENTITY a SYSTEM 'file:///etc/passwd'><!ENTITY b "
          b"'xx&a;'>]>" + HEAD.replace("/k", "/&b;").encode() + b"</domain>")
    write("xml", "utf16", (HEAD + "</domain>").encode("utf-16"))


# ---- the store ----

XS = {name: number for number, name in enumerate(
    "control directory read get_perms watch unwatch transaction_start transaction_end introduce "
    "release get_domain_path write mkdir rm set_perms watch_event error is_domain_introduced "
    "resume set_target restrict reset_watches directory_part".split())}


def ask(who, what, payload=b"", tx=0):
    """who: 0, 1 domains on rings, 2, 3 the control domain's sockets. tx 0x80: the last one."""
    return bytes([who, XS[what], tx, len(payload)]) + payload


def store_seeds():
    write("store", "nodes", ask(2, "write", b"/a/b\0x") + ask(2, "mkdir", b"/a/c\0") +
          ask(2, "directory", b"/a\0") + ask(2, "read", b"/a/b\0") + ask(0, "read", b"/a/b\0") +
          ask(2, "set_perms", b"/a/b\0n0\0r1\0w2\0") + ask(2, "get_perms", b"/a/b\0") +
          ask(0, "read", b"/a/b\0") + ask(1, "write", b"/a/b\0y") + ask(2, "rm", b"/a\0") +
          ask(2, "directory_part", b"/\0" + b"0\0"))
    write("store", "watches", ask(2, "watch", b"/a\0t\0") + ask(0, "watch", b"data\0u\0") +
          ask(3, "watch", b"@releaseDomain\0v\0") + ask(2, "write", b"/a\0z") +
          ask(2, "write", b"/local/domain/1/data\0q") + ask(2, "set_perms", b"/a\0b1\0") +
          ask(2, "unwatch", b"/a\0t\0") + ask(0, "reset_watches", b"\0") + bytes([28, 0]))
    write("store", "transactions", ask(2, "transaction_start", b"\0") +
          ask(3, "transaction_start", b"\0") + ask(2, "write", b"/t\x001", 0x80) +
          ask(3, "write", b"/t\x002", 0x80) + ask(3, "rm", b"/tool\0", 0x80) +
          ask(2, "transaction_end", b"T\0", 0x80) + ask(3, "transaction_end", b"T\0", 0x80) +
          ask(3, "transaction_start", b"\0") + ask(3, "transaction_end", b"F\0", 0x80) +
          ask(2, "transaction_start", b"\0") + ask(2, "directory", b"/\0", 0x80) +
          ask(2, "transaction_end", b"T\0", 0x80))
    write("store", "guest", ask(2, "mkdir", b"/local/domain/1\0") +
          ask(2, "set_perms", b"/local/domain/1\0n1\0") + ask(0, "write", b"d/e/f\0value") +
          ask(0, "transaction_start", b"\0") + ask(0, "mkdir", b"d/g\0", 0x80) +
          ask(0, "set_perms", b"d/g\0b1\0n2\0", 0x80) + ask(0, "transaction_end", b"T\0", 0x80) +
          ask(1, "read", b"/local/domain/1/d/g\0") + ask(0, "watch", b"d\0t\0") +
          ask(0, "rm", b"d\0") + bytes([28, 1]) + ask(2, "directory", b"/local/domain\0"))
    write("store", "domains", ask(2, "introduce", b"1\x007\x003\0") + ask(3, "release", b"2\0") +
          ask(2, "introduce", b"2\x007\x003\0") + ask(2, "is_domain_introduced", b"2\0") +
          ask(2, "get_domain_path", b"1\0") + ask(2, "resume", b"1\0") +
          ask(2, "set_target", b"1\x002\0") + ask(0, "write", b"/local/domain/2/x\0y") +
          bytes([28, 0, 29, 3, 28, 4]))
    write("store", "control", ask(2, "control", b"check\0") + ask(2, "control", b"stats\0") +
          ask(2, "control", b"quota\0set\x001\0nodes\x002\0") + ask(2, "control", b"quota\x001\0") +
          ask(2, "control", b"help\0") + ask(0, "mkdir", b"a\0") + ask(0, "control", b"check\0"))
    long_header = struct.pack("<IIII", 2, 5, 0, 5000)
    for who, size in ((0, 4096), (1, 5000), (2, 4096), (3, 5000)):
        header = struct.pack("<IIII", XS["write"], 5, 0, size)
        write("store", "long-%d" % who, ask(who, "directory", b"/\0") +
              bytes([16 + who, 16, 0]) + header + bytes([16 + who, 3, 0]) + b"/a\0" +
              bytes([16 + who, 128, 39]) + b"x" * 128)
    write("store", "raw", bytes([16, 16, 0]) + long_header + bytes([18, 16, 0]) + long_header +
          bytes([24]) + struct.pack("<HI", 16, 1) + ask(0, "read", b"a\0") +
          bytes([25]) + struct.pack("<HI", 4, 0xffff0000) + ask(1, "read", b"a\0") +
          bytes([26, 0, 0, 0, 0, 0, 0]) + bytes([22, 8, 0]) + ask(2, "directory", b"/\0"))


# ---- hypercalls ----

def hypercall_seeds():
    """Calls in the order of the tables with numbers of all kinds; see value() in hypercall.c."""
    kinds = bytes([2, 0x80, 0x20, 6, 0x40, 10, 0x85, 0xa5, 0x60, 12, 0xe0, 1, 0x82, 0x22, 0x70, 1])
    for first in range(0, 160, 10):
        steps = b"".join(bytes([number % 2, number]) + bytes(3) + kinds[number % 7:][:9]
                         for number in range(first, first + 10))
        write("hypercall", "calls-%03d" % first, bytes([first // 10]) + steps)
    write("hypercall", "fork", bytes([6]) + bytes([20, 3]) + bytes(range(60)) +
          bytes([28, 0x81, 3, 0x48, 0x89, 0x17, 7, 0xa5, 0x42, 30, 1, 22, 255, 255, 26, 2, 24]))


def main():
    write("elf", "linux", KERNEL)
    write("elf", "few", FEW)
    unpack_seeds()
    insn_seeds()
    xml_seeds()
    store_seeds()
    hypercall_seeds()


if __name__ == "__main__":
    main()
