"""What a user of Ceph would pick instead."""
import itertools
import shlex
import sys
from pathlib import Path

from cephs import IMAGE
from images import OBJECT, Failed, run
from rivals import Ssh
from scene import await_condition, must_live

GOAL = "vms/goal"
SITE = {"prod": "prod", "dr": "dr"}


class ExportDiff:
    """`rbd export-diff | ssh | rbd import-diff`, with the quickest of ssh's ciphers."""

    def __init__(self, what, place, clusters, packed=False):
        self.name = self.name_of(packed)
        self.what, self.place, self.packed = what, place, packed
        self.clusters, self.cephs = clusters, clusters.cephs
        self.ssh = Ssh(place)
        self.snapshot = clusters.snapshot({"full": "base", "increment": "changed"}[what])

    @staticmethod
    def name_of(packed):
        return "rbd export-diff | " + ("zstd | ssh" if packed else "ssh")

    def pipe(self, snapshot, since=None):
        conf = self.cephs.conf
        out = ["rbd", "-c", conf["prod"], "export-diff", "--no-progress",
               *(["--from-snap", since] if since else []), f"{IMAGE}@{snapshot}", "-"]
        into = ["rbd", "-c", conf["dr"], "import-diff", "--no-progress", "-", GOAL]
        pack, unpack = (" | zstd -q -1", "zstd -q -d | ") if self.packed else ("", "")
        ssh = f"{self.ssh.command} -c aes128-gcm@openssh.com root@{self.place.target_host}"
        return ["bash", "-o", "pipefail", "-c",
                f"{shlex.join(out)}{pack} | {ssh} {shlex.quote(unpack + shlex.join(into))}"]

    def prepare(self):
        self.clean()
        self.cephs.ask("dr", "rbd", "create", "--size", f"{self.clusters.images.virtual >> 20}M",
                       GOAL)
        if self.what == "increment":
            server = self.ssh.serve()
            run(*self.pipe(self.clusters.snapshot("base")))
            self.place.end(server)
        self.cephs.idle()

    def go(self):
        since = self.clusters.snapshot("base") if self.what == "increment" else None
        words = self.pipe(self.snapshot, since)
        return self.place.timed(words, [self.ssh.serve()])

    def check(self):
        self.cephs.compare(f"{IMAGE}@{self.snapshot}", f"{GOAL}@{self.snapshot}",
                           self.clusters.trimmed if self.what == "increment" else [])

    def clean(self):
        self.cephs.remove("dr", GOAL)


class Mirroring:
    """Both pools made ready for rbd-mirror, and the daemon at the target, which pulls."""

    def __init__(self, place, cephs):
        self.place = place
        for cluster in ("prod", "dr"):
            cephs.ask(cluster, "rbd", "mirror", "pool", "enable", "vms", "image", "--site-name",
                      SITE[cluster])
        token = place.run / f"{place.name}-token"
        token.touch(mode=0o600)
        token.write_text(cephs.ask("prod", "rbd", "mirror", "pool", "peer", "bootstrap", "create",
                                   "vms").splitlines()[-1])
        cephs.ask("dr", "rbd", "mirror", "pool", "peer", "bootstrap", "import", "--direction",
                  "rx-only", "vms", token)
        # It looks for its own cluster's conf by name, not where -c says.
        self.daemon = place.start(
            ["env", f"CEPH_CONF={cephs.conf['dr']}", "rbd-mirror", "-f", "--id", "admin",
             "--rbd_mirror_pool_replayers_refresh_interval", "1",
             "--rbd_mirror_image_state_check_interval", "1"],
            at_target=True, log=place.run / "rbd-mirror.log")
        def reaches_both():
            must_live(self.daemon)
            status = cephs.listed("dr", "rbd", "mirror", "pool", "status", "vms")
            return status and status["summary"]["daemon_health"] == "OK"
        await_condition("rbd-mirror to reach both clusters", reaches_both, 60)


class RbdMirror:
    """Snapshot mode, from the command that makes it begin until the target's copy is complete.
    Nothing is encrypted. It mirrors an image, not its snapshots: every round has a fresh one, of a
    fresh name, because one of the same name can be taken for the one before ("split-brain")."""

    name = "rbd-mirror (snapshots)"
    rounds = itertools.count()

    def __init__(self, what, place, clusters, mirroring):
        self.what, self.place, self.mirroring = what, place, mirroring
        self.clusters, self.cephs = clusters, clusters.cephs
        self.image = None

    def words(self, *command):
        """Begins a sync and waits until it is complete."""
        tool = Path(__file__).with_name("mirrored.py")
        return ["/usr/bin/python3", tool, self.cephs.conf["prod"], self.cephs.conf["dr"],
                self.image, "rbd", "-c", self.cephs.conf["prod"], *command]

    def prepare(self):
        self.clean()
        self.image = f"vms/mirrored{next(self.rounds)}"
        base = self.clusters.snapshot("base")
        self.cephs.ask("prod", "rbd", "cp", "--no-progress", f"{IMAGE}@{base}", self.image)
        if self.what == "increment":
            self.enter(self.words("mirror", "image", "enable", self.image, "snapshot"))
            self.clusters.images.write_changes(self.cephs.url("prod", self.image), "raw",
                                               self.clusters.trimmed)
        self.cephs.idle()

    def enter(self, words):
        return run(*self.place.enter_target, *words)

    def go(self):
        command = {"full": ["mirror", "image", "enable", self.image, "snapshot"],
                   "increment": ["mirror", "image", "snapshot", self.image]}[self.what]
        return self.place.timed([*self.place.enter_target, *self.words(*command)],
                                stays=[self.mirroring.daemon])

    def check(self):
        """rbd-mirror 16.2.15 leaves at the target what was trimmed at the source by whole objects:
        that is told, and the rest compared."""
        try:
            self.cephs.compare(self.image, self.image,
                               self.clusters.trimmed if self.what == "increment" else [])
        except Failed as failure:
            if self.what == "full":
                raise
            print(f"    {self.name}: {failure}", file=sys.stderr)
            copy = self.place.run / "mirrored.raw"
            self.cephs.ask("dr", "rbd", "export", "--no-progress", self.image, copy)
            for offset in self.clusters.trimmed:
                run("fallocate", "--punch-hole", "--offset", offset, "--length", OBJECT, copy)
            run("qemu-img", "compare", "-f", "raw", "-F", "raw", copy,
                self.cephs.url("prod", self.image))
            copy.unlink()

    def clean(self):
        if not self.image:
            return
        name = self.image.split("/")[1]
        self.cephs.ask("prod", "rbd", "mirror", "image", "disable", self.image)
        await_condition("rbd-mirror to let go of its copy", lambda: name not in (
            self.cephs.listed("dr", "rbd", "ls", "vms") or []), 120)
        self.cephs.remove("prod", self.image)
        self.image = None
