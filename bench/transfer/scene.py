"""Where a run takes place: folders, the two hosts' networks, processes, and how they are measured.

The whole bench runs in namespaces of its own (./dev bench makes them), so that networks, mounts and
processes are gone when it ends, however it ends.
"""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from images import Failed, run as command

TICK = os.sysconf("SC_CLK_TCK")
LINK_RATE = "1gbit"
LINKED = ("lan", "link")
TOUCHED = 3 << 30
TMPFS_BYTES = 14 << 30


@dataclass
class Outcome:
    seconds: float
    cpu: float      # of both ends together
    wire: int       # bytes in both directions, with every header
    memory: int     # peak of the largest process


def cpu_of(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11:15]) / TICK


def peak_of(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return 0


def forget_peak(pid):
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def must_live(server):
    if server.poll() is not None:
        said = Path(server.log).read_text(errors="replace")[-600:].strip() if server.log else ""
        raise Failed(f"a server ended by itself with {server.returncode}: {said}"
                     f" ({' '.join(server.args)})")


def await_condition(what, condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise Failed(f"waited in vain for {what}")
        time.sleep(0.02)


class Place:
    """`target` is where the receiving side writes; `source_host` and `target_host` are addresses.

    tmpfs and disk: both hosts are this one, over loopback. lan and link: the target has a network
    of its own and writes to a tmpfs; link: behind LINK_RATE in either direction.
    """

    def __init__(self, name, run, disk_folder):
        self.name = name
        self.run = run
        self.processes = []
        self.cold = []  # files that every timed run finds outside the page cache
        self.enter_target = []
        self.source_host = self.target_host = "127.0.0.1"
        self.device = "lo"
        if name == "disk":
            self.target = Path(tempfile.mkdtemp(prefix="target.", dir=disk_folder))
        else:
            self.target = run / name
            self.target.mkdir()
            command("mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "none", self.target)
        self.touch()
        if name in LINKED:
            self.make_link()

    def touch(self):
        """Memory that a virtual machine has never used is slow the first time; whoever came first
        would pay for it."""
        path = self.target / "touch"
        with open(path, "wb") as out:
            for _ in range(TOUCHED >> 20):
                out.write(b"x" * (1 << 20))
        path.unlink()

    def make_link(self):
        host = self.start(["unshare", "--net", "sleep", "infinity"])
        ours = os.stat("/proc/self/ns/net").st_ino
        await_condition("a network", lambda: os.stat(f"/proc/{host.pid}/ns/net").st_ino != ours)
        self.enter_target = ["nsenter", "-t", str(host.pid), "-n"]
        self.source_host, self.target_host, self.device = "10.77.0.1", "10.77.0.2", "us0"
        shape = ["root", "tbf", "rate", LINK_RATE, "burst", "256kb", "latency", "20ms"]
        for words in (
                ["ip", "link", "add", "us0", "type", "veth", "peer", "us1", "netns", str(host.pid)],
                ["ip", "addr", "add", "10.77.0.1/24", "dev", "us0"],
                ["ip", "link", "set", "us0", "up"],
                [*self.enter_target, "ip", "addr", "add", "10.77.0.2/24", "dev", "us1"],
                [*self.enter_target, "ip", "link", "set", "lo", "up"],
                [*self.enter_target, "ip", "link", "set", "us1", "up"]):
            command(*words)
        if self.name == "link":
            command("tc", "qdisc", "add", "dev", "us0", *shape)
            command(*self.enter_target, "tc", "qdisc", "add", "dev", "us1", *shape)

    # ---- processes ----

    def start(self, words, at_target=False, log=None):
        words = [str(word) for word in words]
        out = open(log, "ab") if log else subprocess.DEVNULL
        process = subprocess.Popen((self.enter_target if at_target else []) + words,
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        if log:
            out.close()
        process.log = log
        self.processes.append(process)
        return process

    def end(self, process, signal_number=signal.SIGTERM):
        """Ends it and gives what it and its children used."""
        self.processes.remove(process)
        must_live(process)
        process.send_signal(signal_number)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return usage

    def end_all_but(self, these):
        """At once, and also those that have ended already."""
        for process in [one for one in self.processes if one not in these]:
            self.processes.remove(process)
            process.kill()
            process.wait()

    def close(self):
        if self.name in LINKED and Path("/sys/class/net/us0").exists():
            command("ip", "link", "del", "us0")
        self.end_all_but([])
        if self.name == "disk":
            shutil.rmtree(self.target)
        else:
            command("umount", "-l", self.target)

    def await_port(self, port, server):
        def answers():
            must_live(server)
            try:
                with socket.create_connection((self.target_host, port), timeout=1):
                    return True
            except OSError:
                return False
        await_condition(f"port {port}", answers)

    # ---- measuring ----

    def wire(self):
        for line in Path("/proc/net/dev").read_text().splitlines():
            device, _, counts = line.partition(":")
            if device.strip() == self.device:
                fields = [int(count) for count in counts.split()]
                # On loopback every packet is counted twice.
                return fields[0] if self.device == "lo" else fields[0] + fields[8]
        raise Failed(f"no network device {self.device}")

    def timed(self, words, servers=(), stays=()):
        """Runs a command to its end. `servers` were started for it and are ended with it; `stays`
        are daemons that live on."""
        command("sync", "-f", self.target)
        words = [str(word) for word in words]
        for path in self.cold:
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for process in stays:
            forget_peak(process.pid)
        cpu_before = sum(cpu_of(process.pid) for process in stays)
        wire_before = self.wire()
        with tempfile.TemporaryFile() as out:
            begun = time.monotonic()
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            said = out.read().decode(errors="replace")
        if status:
            raise Failed(f"{' '.join(words)}: {said}")
        wire = self.wire() - wire_before
        usages = [usage] + [self.end(server) for server in servers]
        cpu = sum(use.ru_utime + use.ru_stime for use in usages)
        cpu += sum(cpu_of(process.pid) for process in stays) - cpu_before
        peaks = [peak_of(process.pid) for process in stays] or \
            [use.ru_maxrss << 10 for use in usages]
        return Outcome(seconds, cpu, wire, max(peaks)), said
