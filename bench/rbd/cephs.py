"""The two Ceph clusters of a run, Understudy over them, and what is asked of images in them."""
import json
import subprocess

from clusters import LAB, Clusters, Understudy
from images import OBJECT, Failed, run
from scene import await_condition

PORTS = {"prod": 6789, "dr": 6790}
OSD_BYTES = 6 << 30   # a file in the place's tmpfs
IMAGE = "vms/vda"     # of the stopped VM


class Cephs:
    """One at each end, without authentication: none of the contestants is slowed by it."""

    def __init__(self, place):
        self.place = place
        self.folders = {cluster: place.target / f"ceph-{cluster}" for cluster in PORTS}
        self.conf = {}
        try:
            self.begin(place)
        except Failed:
            self.close()  # the next place needs the ports of the one that began
            raise

    def begin(self, place):
        hosts = {"prod": place.source_host, "dr": place.target_host}
        for cluster, port in PORTS.items():
            enter = place.enter_target if cluster == "dr" else []
            self.conf[cluster] = run(
                *enter, LAB / "ceph-up.sh", "--address", hosts[cluster], "--osd-bytes", OSD_BYTES,
                "--allocated", self.folders[cluster], port).strip().splitlines()[-1]
            # What a round leaves behind is gone before the next one begins, not minutes later.
            self.ask(cluster, "ceph", "config", "set", "osd", "osd_snap_trim_sleep_hdd", "0.01")

    def words(self, cluster, *words):
        """A command of Ceph, where that cluster is."""
        enter = self.place.enter_target if cluster == "dr" else []
        return [*enter, words[0], "-c", self.conf[cluster], *words[1:]]

    def ask(self, cluster, *words, text=None):
        return run(*self.words(cluster, *words), input=text)

    def listed(self, cluster, *words):
        """What a command says in JSON; nothing when it fails."""
        done = subprocess.run(
            [str(word) for word in self.words(cluster, *words, "--format", "json")],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        return None if done.returncode else json.loads(done.stdout or "null")

    def url(self, cluster, image):
        """For QEMU's tools, which must be entered into the target's network for dr's."""
        return f"rbd:{image}:conf={self.conf[cluster]}"

    def remove(self, cluster, image):
        """With its snapshots, and waits until the OSD has let go of the space."""
        if image.split("/")[1] not in (self.listed(cluster, "rbd", "ls", "vms") or []):
            return
        self.ask(cluster, "rbd", "snap", "purge", "--no-progress", image)
        self.ask(cluster, "rbd", "rm", "--no-progress", image)

    def idle(self):
        """Removed objects go in the background; nobody shall pay for what came before."""
        def trimmed(cluster):
            listed = self.listed(cluster, "ceph", "pg", "ls")
            return listed and not any("snaptrim" in group["state"] for group in listed["pg_stats"])
        for cluster in PORTS:
            await_condition(f"Ceph of {cluster} to trim snapshots", lambda: trimmed(cluster), 120)

    def close(self):
        for folder in self.folders.values():
            run(LAB / "ceph-down.sh", folder)

    def compare(self, source, target, trimmed):
        """What arrived is what was sent, and what was trimmed takes no room there."""
        # QEMU reaches both clusters from the target's network only.
        run(*self.place.enter_target, "qemu-img", "compare", "-f", "raw", "-F", "raw",
            self.url("prod", source), self.url("dr", target))
        kept = [extent for extent in self.listed("dr", "rbd", "diff", target)
                if extent["exists"] == "true" and any(
                    extent["offset"] < offset + OBJECT
                    and offset < extent["offset"] + extent["length"] for offset in trimmed)]
        if kept:
            raise Failed(f"what was trimmed takes room in {target}: {kept}")


class RbdClusters(Clusters):
    """prod and dr with a pool in their own Ceph; the VM's disk is IMAGE of prod's."""

    def __init__(self, place, images, binaries, first_port, cephs):
        self.cephs = cephs
        self.trimmed = images.whole_objects()
        cephs.ask("prod", "rbd", "import", "--no-progress", images.base["raw"], IMAGE)
        super().__init__(place, images, binaries, ["rbd"], first_port)

    def pools(self, cluster):
        return (f'[pools.vms]\ndriver = "rbd"\nceph_conf = "{self.cephs.conf[cluster]}"\n'
                f'pool = "vms"\n')

    def disk(self, kind):
        return ["--disk", f"rbd:{IMAGE}:vda", "--ceph", self.cephs.conf["prod"]]

    def change(self, kind):
        self.images.write_changes(self.cephs.url("prod", IMAGE), "raw", self.trimmed)

    def snapshot(self, name):
        """What it is called in either Ceph."""
        info = json.loads(self.ask("prod", "--format", "json", "vm", "snapshot", "info", "rbd",
                                   name))
        return "understudy-" + info["snapshot"]["id"]


class RbdUnderstudy(Understudy):
    def prepare(self):
        self.clean()
        wanted = {"full": [], "increment": ["base"], "idle": ["base", "changed"]}[self.what]
        for earlier in wanted:
            run(*self.send(earlier))
        self.clusters.cephs.idle()

    def check(self):
        cephs, name = self.clusters.cephs, self.clusters.snapshot(self.snapshot)
        for image in cephs.listed("dr", "rbd", "ls", "vms"):
            if name in [one["name"] for one in cephs.listed("dr", "rbd", "snap", "ls",
                                                            f"vms/{image}")]:
                cephs.compare(f"{IMAGE}@{name}", f"vms/{image}@{name}",
                              [] if self.what == "full" else self.clusters.trimmed)
                return
        raise Failed(f"no image of dr has snapshot {name}")

    def clean(self):
        listed = json.loads(self.clusters.ask("dr", "--format", "json", "replica", "list"))
        if listed["replicas"]:
            self.clusters.ask("dr", "replica", "remove", "rbd", "-y")
