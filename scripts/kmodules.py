# SPDX-License-Identifier: MIT
"""Picks kernel modules out of an unpacked kernel package, with all they depend on.

The package is never installed, so depmod has not run and there is no modules.dep. Each module says
in its .modinfo section what it depends on and which devices it drives; from that this file writes
modules.dep and modules.alias for just the chosen modules, in the form modprobe reads.
"""
import glob
import os
import struct


def _modinfo(path):
    """The key=value strings of a module's .modinfo section."""
    with open(path, "rb") as f:
        image = f.read()
    if image[:6] != b"\x7fELF\x02\x01":
        raise ValueError(path + ": not a 64-bit module")
    table, = struct.unpack_from("<Q", image, 0x28)
    entry_size, count, names_index = struct.unpack_from("<HHH", image, 0x3A)

    def section(index):
        header = table + index * entry_size
        name, _, _, _, offset, size = struct.unpack_from("<IIQQQQ", image, header)
        return name, offset, size

    _, names_offset, _ = section(names_index)
    for index in range(count):
        name, offset, size = section(index)
        start = names_offset + name
        if image[start:image.index(b"\0", start)] == b".modinfo":
            return [s.decode() for s in image[offset:offset + size].split(b"\0") if s]
    return []


def _key(name):
    return name.replace("-", "_")


class Kernel:
    """One unpacked linux-image package."""

    def __init__(self, package):
        self.package = package
        folders = glob.glob(os.path.join(package, "lib/modules/*"))
        if len(folders) != 1:
            raise ValueError(package + ": expected one folder under lib/modules")
        self.folder = folders[0]
        self.release = os.path.basename(self.folder)
        self.vmlinuz = os.path.join(package, "boot/vmlinuz-" + self.release)
        self.paths = {}
        for path in glob.glob(os.path.join(self.folder, "kernel/**/*.ko"), recursive=True):
            self.paths[_key(os.path.basename(path)[:-3])] = path
        self.builtin = set()
        with open(os.path.join(self.folder, "modules.builtin"), encoding="ascii") as f:
            for line in f:
                self.builtin.add(_key(os.path.basename(line.strip())[:-3]))
        self.info = {}

    def _info(self, key):
        if key not in self.info:
            self.info[key] = [s.split("=", 1) for s in _modinfo(self.paths[key]) if "=" in s]
        return self.info[key]

    def _needs(self, key):
        for name, value in self._info(key):
            if name == "depends":
                return [_key(n) for n in value.split(",") if n and _key(n) not in self.builtin]
        return []

    def closure(self, names):
        """The named modules and their dependencies, each after what it needs. Built-in ones are
        left out; a name the kernel does not have at all is left out too, for not every flavour
        has every driver."""
        order = []

        def visit(key):
            if key in order or key in self.builtin or key not in self.paths:
                return
            for need in self._needs(key):
                if need not in self.paths:
                    raise ValueError("module %s needs %s, which is missing" % (key, need))
                visit(need)
            order.append(key)

        for name in names:
            visit(_key(name))
        return order

    def add_to(self, archive, names):
        """Put the named modules, what they need and modprobe's tables into an archive."""
        order = self.closure(names)
        base = "lib/modules/%s/" % self.release
        inside = {key: os.path.relpath(self.paths[key], self.folder) for key in order}
        dep = []
        alias = []
        for key in order:
            archive.file(base + inside[key], self.paths[key])
            # modprobe loads the list from its end, so the nearest dependency comes first.
            needs = [k for k in reversed(self.closure([key])) if k != key]
            dep.append(inside[key] + ":" + "".join(" " + inside[k] for k in needs))
            alias += ["alias %s %s" % (v, key) for n, v in self._info(key) if n == "alias"]
        archive.text(base + "modules.dep", "\n".join(dep) + "\n")
        archive.text(base + "modules.alias", "\n".join(alias) + "\n")
        archive.text(base + "modules.symbols", "")
