# SPDX-License-Identifier: MIT
"""Writes cpio archives in the "newc" form the kernel unpacks as an initramfs.

Everything in an archive belongs to root and carries a fixed time, whoever builds it and when, so
that the same inputs give the same archive. Used by image.py only.
"""
import os
import stat


class Archive:
    """A tree of directories, files, links and device nodes, kept in the order it was added."""

    def __init__(self):
        self.entries = {}

    def _parents(self, path):
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.folder(parent)

    def _add(self, path, mode, data=b"", rdev=(0, 0)):
        path = path.strip("/")
        self._parents(path)
        self.entries[path] = (mode, data, rdev)

    def folder(self, path, mode=0o755):
        self._add(path, stat.S_IFDIR | mode)

    def data(self, path, data, mode=0o644):
        self._add(path, stat.S_IFREG | mode, data)

    def text(self, path, text, mode=0o644):
        self.data(path, text.encode(), mode)

    def file(self, path, source, mode=0o644):
        with open(source, "rb") as f:
            self._add(path, stat.S_IFREG | mode, f.read())

    def link(self, path, target):
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def char_device(self, path, major, minor, mode=0o600):
        self._add(path, stat.S_IFCHR | mode, rdev=(major, minor))

    def has(self, path):
        return path.strip("/") in self.entries

    def bytes(self):
        """The whole archive, trailer included, padded as the kernel expects between archives."""
        out = bytearray()
        for number, (path, (mode, data, rdev)) in enumerate(self.entries.items(), start=1):
            _entry(out, path, number, mode, data, rdev)
        _entry(out, "TRAILER!!!", 0, 0, b"", (0, 0))
        out.extend(bytes(-len(out) % 512))
        return bytes(out)


def _entry(out, path, number, mode, data, rdev):
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, rdev[0], rdev[1], len(name), 0)
    out.extend(b"070701" + b"".join(b"%08X" % field for field in fields))
    out.extend(name)
    out.extend(bytes(-len(out) % 4))
    out.extend(data)
    out.extend(bytes(-len(out) % 4))
