#!/usr/bin/env python3
"""Makes cases.tar.zst and the list of its cases: make.py WRITER [SCENE…]

WRITER is golden_tasks_writer, built at commit c5b03b3. For each scene its stage is made once, and
played once to find the events, then once for each event at which the daemons die. States that are
alike are kept once. Then run the test with UNDERSTUDY_GOLDEN_WRITE=1 to get their ends.
"""
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT_LENGTH = 100
PLACEHOLDER = b"/golden".ljust(ROOT_LENGTH, b"_")
HERE = Path(__file__).resolve().parent.parent


class Workshop:
    def __init__(self, writer):
        self.writer = writer
        self.top = Path(tempfile.mkdtemp(prefix="golden-"))
        self.root = self.top / ("_" * (ROOT_LENGTH - len(str(self.top)) - 1))
        self.raw = self.top / "raw"  # what each case was, to begin another scene with
        self.raw.mkdir()
        self.cases = {}  # name: (step, where)
        self.trees = {}  # name: {path: bytes}
        self.seen = {}  # digest of a case: its name

    def call(self, *words):
        subprocess.run([self.writer, *map(str, words)], check=True)

    def restore(self, what):
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(what, self.root)

    def play(self, scene, after):
        stage = self.top / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        if after:
            source, step, where = after.split(" ", 2)
            name = next(n for n, known in self.cases.items()
                        if n.startswith(source + ".") and known[0] == step and where in known[1])
            shutil.copytree(self.raw / name, stage)
        else:
            shutil.rmtree(self.root, ignore_errors=True)
            self.root.mkdir()
            self.call("set", scene, self.root)
            shutil.copytree(self.root, stage)
        self.restore(stage)
        events = self.top / "events"
        self.call("run", scene, self.root, events)
        names = events.read_text().splitlines()
        kept = 0
        for number, event in enumerate(names):
            self.restore(stage)
            self.call("die", scene, self.root, number)
            kept += self.keep(f"{scene}.{kept:02}", *event.split(" ", 1))
        print(f"{scene}: {kept} of {len(names)} events", flush=True)

    def keep(self, name, step, where):
        tree = self.read_tree()
        digest = hashlib.sha256(repr(sorted(tree.items())).encode()).digest()
        if known := self.seen.get(digest):
            if where == "before":  # nothing tells better what is under way
                self.cases[known] = (step, where)
            return 0
        self.seen[digest] = name
        self.cases[name] = (step, where)
        self.trees[name] = tree
        shutil.copytree(self.root, self.raw / name)
        return 1

    def read_tree(self):
        tree = {}
        mine = str(self.root).encode()
        for path in sorted(self.root.rglob("*")):
            relative = path.relative_to(self.root).as_posix()
            if not path.is_file() or path.name.startswith(".understudy"):
                continue
            if path.name.startswith("catalog.db"):
                continue
            data = path.read_bytes()
            # Sums are kept of files that are carried about.
            tree[relative] = data if "/files/" in relative else data.replace(mine, PLACEHOLDER)
        for host in ("a", "b"):
            dump = subprocess.run(["sqlite3", self.root / host / "catalog.db", ".dump"],
                                  check=True, capture_output=True).stdout
            tree[f"{host}/catalog.sql"] = dump.replace(mine, PLACEHOLDER)
        return tree

    def pack(self):
        uses = {}
        for tree in self.trees.values():
            for data in tree.values():
                uses[data] = uses.get(data, 0) + 1
        archive = self.top / "cases.tar"
        shared = {}
        with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
            for data, count in sorted(uses.items()):
                if count < 2:
                    continue
                shared[data] = f"shared/{len(shared):04}"
                add(tar, shared[data], data)
            paths = [(path.split("/")[-1], path, name) for name in self.trees
                     for path in self.trees[name]]
            for _, path, name in sorted(paths):  # like ones beside each other
                data = self.trees[name][path]
                add(tar, f"{name}/{path}", data, shared.get(data))
        subprocess.run(["zstd", "-q", "-f", "--ultra", "-22", "--long=27", archive, "-o",
                        HERE / "cases.tar.zst"], check=True)
        lines = [f"{name} {step} - - {where}\n" for name, (step, where) in self.cases.items()]
        (HERE / "cases.txt").write_text("".join(lines))
        print(len(lines), "cases,", archive.stat().st_size, "bytes,",
              (HERE / "cases.tar.zst").stat().st_size, "compressed")


def add(tar, name, data, link=None):
    info = tarfile.TarInfo(name)
    info.mode = 0o600
    if link:
        info.type, info.linkname = tarfile.LNKTYPE, link
        tar.addfile(info)
    else:
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))


def main():
    workshop = Workshop(os.path.abspath(sys.argv[1]))
    scenes = subprocess.run([workshop.writer, "scenes"], check=True, capture_output=True,
                            text=True).stdout
    for line in scenes.splitlines():
        name, _, after = line.partition(" ")
        if not sys.argv[2:] or name in sys.argv[2:]:
            workshop.play(name, after.strip())
    workshop.pack()
    shutil.rmtree(workshop.top)


if __name__ == "__main__":
    main()
