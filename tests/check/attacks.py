#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What attacks what: the tables of pv-abi/ and docs/security.md against the tests there are.

  attacks.py           prints, for every hypercall and operation, which test kernels and unit tests
                       use it, and which results they ask for (`ok` and error names)
  attacks.py --check   complains about rows that no test sees succeed or fail, about names in the
                       tables of docs/security.md that are no test, and about test kernels that the
                       document does not name

A test asks for a result where one statement, or one line of a table, holds both the operation (its
ABI name, or a function around it) and the result. That can miss a test, so nothing is listed here
that has one of another form; it does not invent any.
"""
import fnmatch
import glob
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "scripts"))
sys.path.insert(0, os.path.join(TOP, "tests/boot"))

import abi  # noqa: E402
import cases  # noqa: E402

PREFIX = {"memory": "XENMEM_", "mmuext": "MMUEXT_", "evtchn": "EVTCHNOP_", "gnttab": "GNTTABOP_",
          "sched": "SCHEDOP_", "vcpu": "VCPUOP_", "physdev": "PHYSDEVOP_", "platform": "XENPF_",
          "sysctl": "XEN_SYSCTL_", "domctl": "XEN_DOMCTL_"}
# What cannot go wrong, or cannot be seen to go well: it does not come back, or only sets a hint.
NO_ERROR = {"iret", "sched.yield", "sched.block", "memory.maximum_ram_page", "fpu_taskswitch",
            "mmuext.tlb_flush_local", "mmuext.tlb_flush_all", "mmuext.invlpg_local",
            "mmuext.invlpg_all", "vcpu.stop_periodic_timer", "sysctl.sched_id", "set_timer_op",
            "gnttab.get_version", "stack_switch"}
NO_SUCCESS = {"iret", "sched.shutdown", "vcpu.down", "platform.firmware_info"}
# Refused for guests by one rule before anything else is looked at (control_denied).
CONTROL = ("platform.", "sysctl.", "domctl.")
ERROR = re.compile(r"-(E[A-Z0-9]+)|GNTST_(?!okay)(\w+)")
FUNCTION = re.compile(r"^[a-z_][\w *]*?\**(\w+)\(([^;{}]*)\)\n\{\n(.*?)^\}",
                      re.MULTILINE | re.DOTALL)
ASKS = re.compile(r"\b(CHECK_IS|CHECK|NEED_OK|NEED|CU_ASSERT\w*)\(((?:[^;]|\n)*?)\);")


def rows():
    """Key and ABI name of every row."""
    for _, name, _, _ in abi.rows("hypercalls.def"):
        yield name, "__HYPERVISOR_" + name
    for family in abi.FAMILIES:
        for _, name, _, _ in abi.rows("ops/%s.def" % family):
            word = PREFIX[family] + (name.upper() if family == "mmuext" else name)
            yield family + "." + name, word


# Ways of writing operations that are not their names.
SHORT = [(r"\bPHYSDEV\((\w+)", r"PHYSDEV(PHYSDEVOP_\1"),
         (r"\bPV_SYSCTL_", "XEN_SYSCTL_"),
         (r"\bPV_DOMCTL_", "XEN_DOMCTL_"),
         (r"\bMMUEXT_PIN_L1_TABLE \+",
          "MMUEXT_PIN_L1_TABLE MMUEXT_PIN_L2_TABLE MMUEXT_PIN_L3_TABLE MMUEXT_PIN_L4_TABLE")]


def read(path):
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", f.read(), flags=re.DOTALL)
    for short, long in SHORT:
        text = re.sub(short, long, text)
    return text


class Source:
    """One test's text, and which operations each of its functions comes down to."""

    def __init__(self, texts, keys):
        self.text = "\n".join(texts)
        self.uses = {}
        bodies = {}
        for text in texts:
            for match in FUNCTION.finditer(text):
                bodies.setdefault(match.group(1), match.group(3))
        for text in texts:
            for name, body in re.findall(r"^#define (\w+)\((?:[^)]*)\)((?:.*\\\n)*.*)$", text,
                                         re.MULTILINE):
                bodies.setdefault(name, body)
        direct = {name: self.words(body, keys) for name, body in bodies.items()}
        for _ in range(4):
            for name, body in bodies.items():
                called = set(re.findall(r"\b(\w+)\(", body)) & set(direct)
                direct[name] = direct[name].union(*(direct[c] for c in called if c != name))
        # A function around a few operations stands for them; one around many for none.
        self.uses = {name: ops for name, ops in direct.items() if 0 < len(ops) <= 5}

    @staticmethod
    def words(text, keys):
        return {keys[w] for w in re.findall(r"\w+", text) if w in keys}

    def operations(self, text, keys):
        found = self.words(text, keys)
        for word in re.findall(r"\b(\w+)\b", text):
            found |= self.uses.get(word, set())
        plain = {key for key in found if "." not in key}
        return found - plain if len(found) > len(plain) else found

    def results(self, keys, own):
        """Operation and result of each question in the text `own`."""
        for kind, body in ASKS.findall(own):
            errors = [a or b for a, b in ERROR.findall(body)]
            for key in self.operations(body, keys):
                for error in errors:
                    yield key, error
                if errors and re.search(r"\? -E\w+ : 0\b", body):
                    yield key, "ok"
                elif not errors and kind != "CU_ASSERT_NOT_EQUAL" and "<" not in body:
                    yield key, "ok"
        for line in own.split("\n"):
            errors = [a or b for a, b in ERROR.findall(line)]
            if errors and not ASKS.search(line):
                for key in self.words(line, keys):
                    for error in errors:
                        yield key, error


def collect():
    """For each row: {test: {results}}."""
    keys = {word: key for key, word in rows()}
    handlers = {}
    for path in glob.glob(os.path.join(TOP, "pv-abi/ops/*.def")):
        family = os.path.basename(path)[:-4]
        text = read(path)
        for match in re.finditer(r"^[A-Z_]+\(\s*\d+,\s*(\w+),(.*?)\"", text,
                                 re.MULTILINE | re.DOTALL):
            for word in re.findall(r"\b[a-z]+op_\w+|\bdomctl_\w+|\bsysctl_\w+", match.group(2)):
                handlers.setdefault(word, []).append("%s.%s" % (family, match.group(1)))
    found = {key: {} for key in keys.values()}

    def note(key, test, result=None):
        found[key].setdefault(test, set()).update([result] if result else [])

    library = [read(path) for path in glob.glob(os.path.join(TOP, "tests/guests/lib/*.[ch]"))]
    for path in sorted(glob.glob(os.path.join(TOP, "tests/guests/*/main.c"))):
        test = os.path.basename(os.path.dirname(path))
        own = read(path)
        source = Source([own] + library, keys)
        for key in source.operations(own, keys):
            note(key, test)
        for key, result in source.results(keys, own):
            note(key, test, result)
    suite = [read(os.path.join(TOP, "tests/unit", name)) for name in ("suite.c", "suite.h")]
    for path in sorted(glob.glob(os.path.join(TOP, "tests/unit/test_*.c"))):
        test = os.path.basename(path)[:-2]
        own = read(path)
        source = Source([own] + suite, keys)
        for key, result in source.results(keys, own):
            note(key, test, result)
        for name, _, body in FUNCTION.findall(own):
            handler = re.match(r"test_(\w+?)__", name)
            for key in handlers.get(handler.group(1), []) if handler else []:
                note(key, test)
                for error in ERROR.findall(body):
                    note(key, test, error[0] or error[1])
                if re.search(r", 0\)|GNTST_okay", body):
                    note(key, test, "ok")
            if handler and handler.group(1).startswith("hc_") and handler.group(1)[3:] in found:
                note(handler.group(1)[3:], test)
                for error in ERROR.findall(body):
                    note(handler.group(1)[3:], test, error[0] or error[1])
                if re.search(r", 0\)", body):
                    note(handler.group(1)[3:], test, "ok")
    return found


def missing(found):
    families = {key.split(".")[0] for key in found if "." in key}
    umbrella = {"memory_op", "mmuext_op", "event_channel_op", "grant_table_op", "sched_op",
                "vcpu_op", "physdev_op", "platform_op", "sysctl", "domctl"}
    assert len(families) == len(umbrella)
    for key, tests in found.items():
        results = set().union(*tests.values()) if tests else set()
        if key in umbrella:
            continue
        if "ok" not in results and key not in NO_SUCCESS:
            yield key + ": no test sees it succeed"
        if not results - {"ok"} and key not in NO_ERROR and not key.startswith(CONTROL):
            yield key + ": no test sees it refused"


def known_tests():
    names = {os.path.basename(os.path.dirname(p))
             for p in glob.glob(os.path.join(TOP, "tests/guests/*/main.c"))}
    kernels = set(names)
    names |= {os.path.basename(p)[:-2] for p in glob.glob(os.path.join(TOP, "tests/unit/*.c"))}
    names |= {"fuzz_" + name for name in os.listdir(os.path.join(TOP, "tests/fuzz/seeds"))}
    names |= {test.name for test in cases.all_tests()}
    return names, kernels


def document():
    """Names in the last cell of each row of the document's tables must be tests, or files."""
    names, kernels = known_tests()
    named = set()
    with open(os.path.join(TOP, "docs/security.md"), encoding="utf-8") as f:
        lines = f.read().split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.startswith("|") or set(line) <= set("|- "):
            continue
        for word in re.findall(r"`([^`]+)`", line.rstrip(" |").split("|")[-1]):
            hits = {name for name in names if fnmatch.fnmatchcase(name, word)}
            named |= hits
            target = re.match(r"make (\S+)", word)
            function = word.startswith("test_") and "__" in word and any(
                word + "(" in read(p) for p in glob.glob(os.path.join(TOP, "tests/unit/*.c")))
            if not (hits or target or function or os.path.exists(os.path.join(TOP, word))):
                yield "docs/security.md:%d: `%s` is no test" % (number, word)
    for name in sorted(kernels - named - {"canary", "hello"}):
        yield "docs/security.md: names no row that test kernel %s is for" % name


def main():
    found = collect()
    if sys.argv[1:] == ["--check"]:
        problems = list(missing(found)) + list(document())
        for problem in problems:
            print("check: " + problem)
        return bool(problems)
    for key, tests in found.items():
        print("%s:" % key)
        for test, results in sorted(tests.items()):
            print("    %-26s %s" % (test, " ".join(sorted(results))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
