"""Understudy itself: two clusters as a user runs them, and sends of a stopped VM by the CLI."""
import json
import os
import re
import subprocess
from pathlib import Path

from images import run
from scene import await_condition, must_live

REPOSITORY = Path(__file__).resolve().parents[2]
LAB = REPOSITORY / "tests" / "lab"
SNAPSHOTS = ("base", "changed", "idle")


class Clusters:
    """prod with one stopped VM per disk format, each with a snapshot, its changed version and a
    third one in which nothing happened; and dr, which receives."""

    def __init__(self, place, images, binaries, kinds, first_port):
        self.place, self.images, self.binaries = place, images, binaries
        self.daemons = {}
        self.ports = {"prod": first_port, "dr": first_port + 1}
        self.hosts = {"prod": place.source_host, "dr": place.target_host}
        for cluster in ("prod", "dr"):
            self.lay_out(cluster)
        for kind in kinds:
            self.define(kind)
        for cluster in ("prod", "dr"):
            self.begin(cluster)
            self.ask(cluster, "cluster", "init", cluster)
        token = re.search(r"understudy1\.[\w.-]+", self.ask("dr", "peer", "invite"))[0]
        self.ask("prod", "peer", "join", "-", text=token)
        for kind in kinds:
            self.take_snapshots(kind)

    def folder(self, cluster):
        return self.place.run / f"{self.place.name}-{cluster}"

    def lay_out(self, cluster):
        folder = self.folder(cluster)
        folder.mkdir()
        run(LAB / "libvirt-embed.sh", folder / "root")
        address = f"{self.hosts[cluster]}:{self.ports[cluster]}"
        (folder / "understudyd.toml").write_text(
            f'state_dir = "{self.place.target}/{cluster}-state"\nsocket = "{folder}/sock"\n'
            f'node = "{cluster}"\nlisten_peers = "{address}"\nadvertise = "{address}"\n'
            f'hypervisor = "qemu:///embed?root={folder}/root"\n{self.pools(cluster)}')

    def pools(self, cluster):
        return "".join(f'[pools.{kind}]\ndriver = "qcow2"\nfull_format = "{kind}"\n'
                       f'path = "{self.place.target}/{cluster}-{kind}"\n'
                       for kind in ("qcow2", "raw"))

    def disk(self, kind):
        """In the words of domain-xml.sh."""
        return ["--disk", f"{self.images.base[kind]}:{kind}:vda"]

    def define(self, kind):
        folder = self.folder("prod")
        xml = folder / f"{kind}.xml"
        xml.write_text(run(LAB / "domain-xml.sh", "--name", kind, "--image", folder,
                           *self.disk(kind)))
        run("virsh", "-q", "-c", f"qemu:///embed?root={folder}/root", "define", xml)

    def begin(self, cluster):
        folder = self.folder(cluster)
        self.daemons[cluster] = self.place.start(
            [self.binaries / "understudyd", "-c", folder / "understudyd.toml"],
            at_target=cluster == "dr", log=folder / "log")
        def answers():
            must_live(self.daemons[cluster])
            done = subprocess.run(self.words(cluster, "cluster", "status"), capture_output=True)
            return done.returncode == 0
        await_condition(f"understudyd of {cluster}", answers, 60)

    def words(self, cluster, *words):
        return [self.binaries / "understudy", "--socket", self.folder(cluster) / "sock", *words]

    def ask(self, cluster, *words, text=None):
        return run(*self.words(cluster, *words), input=text)

    def take_snapshots(self, kind):
        for snapshot in SNAPSHOTS:
            if snapshot == "changed":
                self.change(kind)
            self.ask("prod", "vm", "snapshot", "create", kind, snapshot)

    def change(self, kind):
        self.images.write_changes(self.head(kind))

    def volume(self, cluster, kind):
        """The folder and the record of the VM's one volume."""
        info = json.loads(self.ask("prod", "--format", "json", "vm", "snapshot", "info", kind,
                                   "base"))
        volume = info["snapshot"]["disks"][0]["volume"]
        pool = "qcow2" if cluster == "prod" else kind
        folder = self.place.target / f"{cluster}-{pool}" / volume
        return folder, json.loads((folder / "volume.json").read_text())

    def head(self, kind):
        folder, record = self.volume("prod", kind)
        return folder / next(layer["file"] for layer in record["layers"] if layer["role"] == "head")

    def received(self, kind, snapshot):
        info = json.loads(self.ask("prod", "--format", "json", "vm", "snapshot", "info", kind,
                                   snapshot))
        folder, record = self.volume("dr", kind)
        layer = next(layer for layer in record["layers"]
                     if layer["snapshot"] == info["snapshot"]["id"])
        return folder / layer["file"], layer["format"]


class Understudy:
    """As a contestant, beside those of rivals.py."""

    name = "understudy"

    def __init__(self, what, kind, place, images, clusters):
        self.what, self.kind = what, kind
        self.place, self.images, self.clusters = place, images, clusters
        self.snapshot = {"full": "base", "increment": "changed", "idle": "idle"}[what]

    def send(self, snapshot):
        return self.clusters.words("prod", "vm", "snapshot", "send", self.kind, snapshot,
                                   "--to", "dr")

    def prepare(self):
        self.clean()
        ask = self.clusters.ask
        ask("dr", "peer", "map", "prod", "pool", f"qcow2={self.kind}")
        for earlier in SNAPSHOTS[:SNAPSHOTS.index(self.snapshot)]:
            run(*self.send(earlier))

    def go(self):
        return self.place.timed(self.send(self.snapshot), stays=self.clusters.daemons.values())

    def check(self):
        path, found = self.clusters.received(self.kind, self.snapshot)
        if self.what == "full" and found != self.kind:
            raise RuntimeError(f"the target holds {found}, not {self.kind}")
        wanted = (self.images.base if self.what == "full" else self.images.changed)["raw"]
        run("qemu-img", "compare", "-q", "-f", "raw", "-F", found, wanted, path)

    def clean(self):
        if not list(os.scandir(self.place.target / f"dr-{self.kind}")):
            return
        listed = json.loads(self.clusters.ask("dr", "--format", "json", "replica", "list"))
        if any(replica["name"] == self.kind for replica in listed["replicas"]):
            self.clusters.ask("dr", "replica", "remove", self.kind, "-y")
