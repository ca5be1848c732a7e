"""What a user would pick instead. Each contestant prepares, runs one timed command and checks.

Every one gets the options that help it most without giving up encryption or the final sync.
"""
import os
import secrets
import shutil

from images import BITMAP, run
from scene import await_condition

NBD_PORT, SSH_PORT = 10809, 10822


class Contestant:
    """One tool, one disk format at both ends, `full` or `increment`."""

    def __init__(self, name, what, kind, place, images):
        self.name, self.what, self.kind = name, what, kind
        self.place, self.images = place, images
        self.goal = place.target / f"goal.{kind}"

    def prepare(self):
        """Leaves the target as it is before the send."""
        self.goal.unlink(missing_ok=True)
        if self.what == "increment":
            run("cp", "--sparse=always", self.images.base[self.kind], self.goal)

    def go(self):
        raise NotImplementedError

    def check(self):
        wanted = (self.images.changed if self.what == "increment" else self.images.base)[self.kind]
        run("qemu-img", "compare", "-q", "-f", self.kind, "-F", self.kind, wanted, self.goal)

    def clean(self):
        self.goal.unlink(missing_ok=True)


class Nbd(Contestant):
    """The target serves its disk over TLS (pre-shared key); `program` is nbdkit or qemu-nbd."""

    def __init__(self, *words, program):
        super().__init__(*words)
        self.program = program
        self.keys = self.place.run / "psk"
        if not self.keys.exists():
            self.keys.mkdir(mode=0o700)
            (self.keys / "keys.psk").write_text(f"understudy:{secrets.token_hex(32)}\n")
        self.uri = (f"nbds://understudy@{self.place.target_host}:{NBD_PORT}/"
                    f"?tls-psk-file={self.keys}/keys.psk")
        self.socket = self.place.run / "source.sock"

    def prepare(self):
        super().prepare()
        if self.what == "full" and self.kind == "qcow2" and self.program == "qemu-nbd":
            run("qemu-img", "create", "-q", "-f", "qcow2", self.goal, self.images.virtual)
        elif self.what == "full":
            size = self.images.base[self.kind].stat().st_size
            with open(self.goal, "wb") as goal:
                goal.truncate(size)

    def serve(self):
        if self.program == "nbdkit":
            words = ["nbdkit", "-f", "--tls=require", f"--tls-psk={self.keys}/keys.psk",
                     "-i", self.place.target_host, "-p", NBD_PORT, "file", self.goal]
        else:
            words = ["qemu-nbd", "-t", "-f", self.kind, "--shared=8", "-b", self.place.target_host,
                     "-p", NBD_PORT, "--tls-creds", "t",
                     "--object", f"tls-creds-psk,id=t,endpoint=server,dir={self.keys}", self.goal]
        server = self.place.start(words, at_target=True, log=self.place.run / "rivals.log")
        self.place.await_port(NBD_PORT, server)
        return server

    def serve_source(self, path, *words):
        self.socket.unlink(missing_ok=True)
        server = self.place.start(
            ["qemu-nbd", "-t", "-r", "-f", "qcow2", "--shared=8", "-k", self.socket, *words, path],
            log=self.place.run / "rivals.log")
        await_condition("the source's qemu-nbd", self.socket.exists)
        return server, f"nbd+unix:///?socket={self.socket}"


class Nbdcopy(Nbd):
    def go(self):
        servers = [self.serve()]
        source = self.images.base[self.kind]
        if self.kind == "qcow2" and self.program == "qemu-nbd":
            server, source = self.serve_source(source)
            servers.append(server)
        return self.place.timed(["nbdcopy", "--destination-is-zero", "--flush", source, self.uri],
                                servers)


class QemuImg(Nbd):
    def go(self):
        target = (f"driver=nbd,server.type=inet,server.host={self.place.target_host},"
                  f"server.port={NBD_PORT},tls-creds=t")
        return self.place.timed(
            ["qemu-img", "convert", "-n", "--target-is-zero", "-W", "-f", self.kind,
             "--object", f"tls-creds-psk,id=t,endpoint=client,username=understudy,dir={self.keys}",
             self.images.base[self.kind], "--target-image-opts", target],
            [self.serve()])


class BitmapCopy(Nbd):
    """The extents of a dirty bitmap, as incremental backup by NBD does it (copy_bitmap.cpp)."""

    tool = None

    def go(self):
        source, uri = self.serve_source(self.images.changed["qcow2"], "-B", BITMAP)
        return self.place.timed([self.tool, uri, self.uri, f"qemu:dirty-bitmap:{BITMAP}"],
                                [self.serve(), source])


class Ssh:
    """A server at the target, with keys of its own."""

    def __init__(self, place):
        self.place = place
        self.keys = place.run / "ssh"
        if not self.keys.exists():
            self.keys.mkdir(mode=0o700)
            for name in ("host", "user"):
                run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.keys / name)
            shutil.copyfile(self.keys / "user.pub", self.keys / "authorized")
            (self.keys / "config").write_text(
                f"HostKey {self.keys}/host\nAuthorizedKeysFile {self.keys}/authorized\n"
                f"Port {SSH_PORT}\nListenAddress {self.place.target_host}\nUsePAM no\n"
                f"PidFile {self.keys}/pid\nStrictModes no\nPermitRootLogin yes\n")
        self.command = (
            f"ssh -F none -i {self.keys}/user -p {SSH_PORT} -o IdentitiesOnly=yes"
            " -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR")

    def serve(self):
        os.makedirs("/run/sshd", exist_ok=True)
        server = self.place.start(["/usr/sbin/sshd", "-D", "-e", "-f", self.keys / "config"],
                                  at_target=True, log=self.place.run / "rivals.log")
        self.place.await_port(SSH_PORT, server)
        return server


class Rsync(Contestant):
    """Over ssh."""

    def __init__(self, *words, compress=False):
        super().__init__(*words)
        self.compress = compress
        self.ssh = Ssh(self.place)

    def go(self):
        server = self.ssh.serve()
        source = (self.images.changed if self.what == "increment" else self.images.base)[self.kind]
        # --sparse only where everything is new: that spares the target the holes of 4 GiB.
        options = ["--sparse"] if self.what == "full" else []
        if self.compress:
            options += ["--compress", "--compress-choice=zstd"]
        return self.place.timed(
            ["rsync", "--inplace", "--fsync", *options, "-e", self.ssh.command, source,
             f"root@{self.place.target_host}:{self.goal}"], [server])


def has_zstd():
    return shutil.which("rsync") and "zstd" in run("rsync", "--version")


def rivals(what, kind, place, images):
    """(name, what makes it): making one may fail."""
    def rival(name, sort, **options):
        return name, lambda: sort(name, what, kind, place, images, **options)
    if what == "full":
        yield rival("nbdcopy → nbdkit", Nbdcopy, program="nbdkit")
        yield rival("nbdcopy → qemu-nbd", Nbdcopy, program="qemu-nbd")
        yield rival("qemu-img → qemu-nbd", QemuImg, program="qemu-nbd")
    else:
        program = "nbdkit" if kind == "raw" else "qemu-nbd"
        yield rival(f"dirty bitmap → {program}", BitmapCopy, program=program)
    yield rival("rsync", Rsync)
    if has_zstd():
        yield rival("rsync zstd", Rsync, compress=True)
