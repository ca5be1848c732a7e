"""The disk image that is sent, its changed version, and both again as qcow2.

Made once and kept; the same files on the same machine give the same image.
"""
import json
import os
import random
import shutil
import subprocess
from pathlib import Path

BLOCK = 64 * 1024
OBJECT = 4 << 20             # what an image in Ceph is cut into
VIRTUAL = 4 << 30
TREE_BYTES = 1100 << 20      # of /usr: programs, libraries, documents
RANDOM_BYTES = 384 << 20     # what no compression shrinks
CHANGED_SHARE = 0.02         # of all 64 KiB blocks of the disk
TRIMMED_OBJECTS = 8
BITMAP = "since-base"


class Failed(Exception):
    """Something outside did not do what it should; its text is for whoever runs the bench."""


def run(*words, **options):
    """What it says is shown only when it fails."""
    done = subprocess.run([str(word) for word in words], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **options)
    if done.returncode:
        raise Failed(f"{' '.join(str(word) for word in words)}: {done.stdout}")
    return done.stdout


def lay_out_tree(into, wanted):
    """Files of /usr in order of their names until there are enough."""
    total = 0
    for folder, folders, names in os.walk("/usr"):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file():
                continue
            total += path.stat().st_size
            if total > wanted:
                return
            target = into / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def random_file(path, size):
    """Always the same bytes: a cipher's stream over nothing."""
    key = ["-K", "00" * 16, "-iv", "00" * 16]
    with open(path, "wb") as out:
        cipher = subprocess.Popen(
            ["openssl", "enc", "-aes-128-ctr", *key, "-in", "/dev/zero"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        left = size
        while left:
            piece = cipher.stdout.read(min(left, 1 << 20))
            out.write(piece)
            left -= len(piece)
        cipher.stdout.close()
        cipher.wait()


def data_blocks(image):
    """Where the disk holds something."""
    blocks = []
    end = image.seek(0, os.SEEK_END)
    hole = 0
    while hole < end:
        try:
            data = os.lseek(image.fileno(), hole, os.SEEK_DATA)
        except OSError:  # only a hole is left
            break
        hole = os.lseek(image.fileno(), data, os.SEEK_HOLE)
        blocks += range((data + BLOCK - 1) // BLOCK, hole // BLOCK)
    return blocks


def changed_blocks(base, virtual):
    """(offset, bytes): half of them random; half like other data of the disk, but backwards, so
    that they compress as it does and are nowhere else."""
    dice = random.Random(2026)
    count = round(virtual / BLOCK * CHANGED_SHARE)
    with open(base, "rb") as image:
        data = data_blocks(image)
        for number, block in enumerate(sorted(dice.sample(range(virtual // BLOCK), count))):
            content = b""
            if number % 2:
                image.seek(dice.choice(data) * BLOCK)
                content = image.read(BLOCK)[::-1]
            yield block * BLOCK, content if any(content) else dice.randbytes(BLOCK)


class Images:
    """base.raw base.qcow2 changed.raw changed.qcow2 (with the bitmap of what changed).

    `shrink` divides all sizes: for trying things out."""

    def __init__(self, folder, shrink=1):
        self.folder = Path(folder)
        self.shrink = shrink
        self.virtual = VIRTUAL // shrink
        self.pieces = self.folder / "pieces"  # each called after its place on the disk
        self.base = {"raw": self.folder / "base.raw", "qcow2": self.folder / "base.qcow2"}
        self.changed = {"raw": self.folder / "changed.raw", "qcow2": self.folder / "changed.qcow2"}
        if not (self.folder / "complete").exists():
            self.make()

    def make(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        tree = self.folder / "tree"
        tree.mkdir(parents=True)
        lay_out_tree(tree, TREE_BYTES // self.shrink)
        random_file(tree / "random", RANDOM_BYTES // self.shrink)
        raw = self.base["raw"]
        run("mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", tree, raw,
            f"{self.virtual >> 10}k", env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin"})
        shutil.rmtree(tree)
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, self.base["qcow2"])
        for kind in ("raw", "qcow2"):
            run("cp", "--sparse=always", self.base[kind], self.changed[kind])
        self.make_pieces()
        with open(self.changed["raw"], "r+b") as image:
            for piece in self.pieces.iterdir():
                image.seek(int(piece.name))
                image.write(piece.read_bytes())
        run("qemu-img", "bitmap", "--add", self.changed["qcow2"], BITMAP)
        self.write_changes(self.changed["qcow2"])
        run("sync", "-f", self.folder)
        (self.folder / "complete").touch()

    def make_pieces(self):
        """What changes, once and for all: which parts of a file are holes changes with time."""
        self.pieces.mkdir()
        for offset, content in changed_blocks(self.base["raw"], self.virtual):
            (self.pieces / str(offset)).write_bytes(content)

    def write_changes(self, disk, disk_format="qcow2", trimmed=()):
        """As a guest would have: through QEMU, into the file's top layer."""
        commands = [f"write -q -s {piece} {piece.name} {BLOCK}" for piece in self.pieces.iterdir()]
        commands += [f"discard -q {offset} {OBJECT}" for offset in trimmed]
        run("qemu-io", "-d", "unmap", "-f", disk_format, disk, input="\n".join(commands))

    def whole_objects(self):
        """Where some objects begin that hold data throughout."""
        with open(self.base["raw"], "rb") as image:
            data = set(data_blocks(image))
        each = OBJECT // BLOCK
        whole = [at for at in range(self.virtual // OBJECT)
                 if all(at * each + block in data for block in range(each))]
        return [at * OBJECT for at in random.Random(7).sample(whole, TRIMMED_OBJECTS)]

    def allocated(self, path):
        mapped = run("qemu-img", "map", "--output=json", "-f", path.suffix[1:], path)
        return sum(part["length"] for part in json.loads(mapped) if part["data"])

    def warm(self):
        """Into the page cache: what is compared is not this machine's disk."""
        for path in (*self.base.values(), *self.changed.values()):
            with open(path, "rb") as image:
                while image.read(4 << 20):
                    pass
