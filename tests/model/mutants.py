#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Is the model checker able to find mistakes? Each of the mistakes below is made in a copy of the
tree, alone, and the checker has SECONDS (20) to find it.

  mutants.py [NAME...]      all, or the named ones

A mistake is a piece of text of the hypervisor, which must occur exactly once, and what takes its
place. Exits non-zero when one is not found, or does not apply any more.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SECONDS = os.environ.get("SECONDS", "20")

MUTANTS = [
    # flushes
    ("no flush before a frame becomes a table",
     "            frame_tlb_flush(f, NULL);\n", "            if (0) frame_tlb_flush(f, NULL);\n"),
    ("flush after the check, not before",
     "            frame_tlb_flush(f, NULL);\n            f->pt_done = 0;\n"
     "            f->pt_flags = 0;\n",
     "            f->pt_done = 0;\n            f->pt_flags = 0;\n"
     "            int late = validate(f, type);\n            frame_tlb_flush(f, NULL);\n"
     "            return late;\n"),
    ("no stamp when the last writable mapping goes",
     "            f->tlb_stamp = arch_tlb_clock();\n            __atomic_store_n(&f->type, "
     "TYPE_WRITABLE,",
     "            __atomic_store_n(&f->type, TYPE_WRITABLE,"),
    ("no flush when frames are given out", "    frame_tlb_flush(block, NULL);\n", ""),
    ("no flush when an upper entry is replaced",
     "    if (copied || (old & X86_PTE_P)) {\n", "    if (copied) {\n"),
    ("upper entries are flushed too late",
     "    if (copied || (old & X86_PTE_P)) {\n",
     "    if (copied || (old & X86_PTE_P)) {\n"
     "        page_type_entry_put(level, old);\n        old = 0;\n"),
    ("an entry added to an L4 is not copied", "bool copied = level == 4 && arch_l4_changed();",
     "bool copied = level == 5 && arch_l4_changed();"),
    ("a changed flag in an L4 is not copied", "        if (level == 4 && arch_l4_changed()) {\n",
     "        if (level == 5 && arch_l4_changed()) {\n"),
    ("a batch of ended grants is not flushed",
     "    if (v->unmapped_count) {\n        arch_tlb_flush_mask(",
     "    if (!v->unmapped_count) {\n        arch_tlb_flush_mask("),
    ("a grant half undone is not flushed",
     "        if (arg->status == GNTST_okay) {\n            arch_tlb_flush_mask(",
     "        if (arg->status != GNTST_okay) {\n            arch_tlb_flush_mask("),
    ("old base pointer dropped while loaded",
     "    arch_load_page_tables(v);\n    if (old)", "    if (old)"),
    # references
    ("a dropped read-only entry keeps its frame",
     "        frame_put_writable_and_ref(f);\n    } else if (f) {\n        frame_put(f);\n",
     "        frame_put_writable_and_ref(f);\n    } else if (f) {\n"),
    ("a continued check keeps a reference", "ours is one too many. */\n            frame_put(f);\n",
     "ours is one too many. */\n"),
    ("pinning twice keeps a reference", "TYPE_PINNED) {\n        page_type_put(f);\n",
     "TYPE_PINNED) {\n"),
    ("page tables kept when the second of two is bad", "            drop_page_tables(v);\n", ""),
    ("read-only grants are not put", "    frame_put(use->frame);\n    domain_put(use->granter);\n",
     "    if (!use->readonly) frame_put(use->frame);\n    domain_put(use->granter);\n"),
    ("a frame outlives the last reference but one",
     "        __atomic_fetch_sub(&f->type, 1, __ATOMIC_SEQ_CST);\n        frame_put(f);\n",
     "        __atomic_fetch_sub(&f->type, 1, __ATOMIC_SEQ_CST);\n"),
    ("an interrupted check skips an entry",
     "(pte & X86_PTE_P) && give_way(f)) {\n            f->pt_done = (uint16_t)i;\n",
     "(pte & X86_PTE_P) && give_way(f)) {\n            f->pt_done = (uint16_t)(i + 1);\n"),
    ("an interrupted end of a table skips an entry",
     "        if (!done || (i && give_way(f))) {\n",
     "        if (!done || (i && give_way(f))) {\n            i -= i > 0;\n"),
    ("an entry that is added is not counted",
     "l1->pt_done + present);", "l1->pt_done);"),
    ("eight entries pass for empty when seven are",
     "e[4] | e[5] | e[6] | e[7]);", "e[4] | e[5] | e[6]);"),
    ("an entry made writable keeps what it was",
     "    if ((pte & X86_PTE_RW) && frame_get_writable(f)) {\n        return -EINVAL;\n    }\n"
     "    bool",
     "    bool"),
    ("a page table half taken apart is forgotten", "    frame_get_held(f);\n    v->mmu_deferred[",
     "    v->mmu_deferred["),
    # checks
    ("becoming writable needs no reference", "const uint64_t harmless = X86_PTE_NX |",
     "const uint64_t harmless = X86_PTE_RW | X86_PTE_NX |"),
    ("the last reserved slot is the guest's",
     "index <= HYP_L4_LAST;\n}\n\n/* The entry", "index < HYP_L4_LAST;\n}\n\n/* The entry"),
    ("global entries pass", "(pte | X86_PTE_US) & ~X86_PTE_G :", "(pte | X86_PTE_US) :"),
    ("large pages pass", "X86_PTE_PCD | X86_PTE_PAT; /* above L1: PSE */",
     "X86_PTE_PCD | (level == 1 ? X86_PTE_PAT : 0);"),
    ("absent entries may name RAM", "address >= arch_facts.absent_top ||",
     "address < arch_facts.absent_top ||"),
    ("call gates pass", "        return *desc & DESC_S;\n", "        return true;\n"),
    ("descriptors go into any typed frame",
     "if ((type & TYPE_MASK) == TYPE_SEGDESC && (type & TYPE_COUNT_MASK)) {",
     "if (type & TYPE_COUNT_MASK) {"),
    ("two domains share an active grant", "    if (pinned && active->grantee != grantee) {",
     "    if (pinned && active->grantee == DOMID_IO) {"),
    ("read-only grants may be written", "GTF_type_mask | (use->readonly ? 0 : GTF_readonly);",
     "GTF_type_mask;"),
    ("a grant is anybody's", "uint32_t cared = 0xffff0000U |",
     "grantee = 0;\n    uint32_t cared ="),
    ("frames keep what was in them", "        if (clear) {\n", "        if (clear && order) {\n"),
    ("a linear address finds the entry beside", "&table[PT_INDEX(va, 1)] : NULL;",
     "&table[PT_INDEX(va, 1) ^ 1] : NULL;"),
    ("accessed and dirty bits come from nowhere",
     "PRESERVE_AD ? X86_PTE_A | X86_PTE_D : 0;", "PRESERVE_AD ? 0 : X86_PTE_A | X86_PTE_D;"),
    ("a guest's table gets frames of the control domain",
     "if (b->owner != b->v->domain && b->owner != b->how.foreign) {", "if (!b->v) {"),
    # races
    ("a single request keeps its table's frame",
     "handle(&b, &req);\n    if (b.table) {", "handle(&b, &req);\n    if (b.table && !b.v) {"),
    ("two vCPUs may undo one mapping at once",
     "    mapping(gt, tested)->live = false;\n    return", "    return"),
    ("the M2P keeps a freed frame's entry", "    m2p_set(frame_to_mfn(f), INVALID_M2P);\n"
     "    if (!(f->count & FRAME_HYP)) {", "    if (!(f->count & FRAME_HYP)) {"),
]


def sources(tree):
    for place, _, names in os.walk(os.path.join(tree, "hypervisor")):
        for name in names:
            if name.endswith((".c", ".h")):
                yield os.path.join(place, name)


def apply(tree, old, new):
    """Replace the one occurrence; the path, or None."""
    hits = []
    for path in sources(tree):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        hits += [(path, text)] * text.count(old)
    if len(hits) != 1:
        return None
    path, text = hits[0]
    with open(path, "w", encoding="utf-8") as f:
        f.write(text.replace(old, new))
    return path


def try_one(tree, name, old, new):
    """'found ...', 'NOT FOUND' or what else is wrong; and whether that is as it should be."""
    path = apply(tree, old, new)
    if not path:
        return "does not apply: update tests/model/mutants.py", False
    try:
        made = subprocess.run(["make", "-s", "-j2", "-C", tree, "build/model/check"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if made.returncode:
            return "does not compile: " + made.stdout.decode()[-300:], False
        start = time.time()
        run = subprocess.run(["build/model/check", "SECONDS=" + SECONDS, "SEED=1", "OUT=/dev/null"],
                             cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             check=False)
        text = run.stdout.decode(errors="replace")
        if run.returncode == 0:
            return "NOT FOUND in %s s" % SECONDS, False
        lines = text.split("\n")
        steps = next((line.split()[0] for line in lines if "steps are enough" in line), "?")
        cause = lines[0].split(": ", 1)[-1][:70]
        return "found in %.1f s, %s steps: %s" % (time.time() - start, steps, cause), True
    finally:
        shutil.copy2(os.path.join(TOP, os.path.relpath(path, tree)), path)
        os.utime(path)


def main():
    wanted = sys.argv[1:]
    good = 0
    chosen = [m for m in MUTANTS if not wanted or any(w in m[0] for w in wanted)]
    with tempfile.TemporaryDirectory() as place:
        tree = os.path.join(place, "tree")
        os.makedirs(tree)
        for name in ("hypervisor", "pv-abi", "tests", "scripts", "Makefile"):
            source = os.path.join(TOP, name)
            copy = shutil.copytree if os.path.isdir(source) else shutil.copy2
            copy(source, os.path.join(tree, name))
        for part in ("unit", "model"):
            built = os.path.join(TOP, "build", part)
            if os.path.isdir(built):
                shutil.copytree(built, os.path.join(tree, "build", part))
        for name, old, new in chosen:
            result, ok = try_one(tree, name, old, new)
            good += ok
            print("%-50s %s" % (name, result), flush=True)
    print("%d of %d found" % (good, len(chosen)))
    return 0 if good == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
