#!/usr/bin/env python3
"""Watches that no VM runs twice on this host: one-guest.py REPORT UUID…

Looks every 50 ms for QEMU processes with `-uuid UUID`. Whenever one of the VMs has two, a line goes
to REPORT. Prints "watching" when it has begun; ends when it is killed.
"""
import collections
import itertools
import os
import signal
import sys
import time

EVERY_SECONDS = 0.05
LOOKS_AT_EACH = 40  # then a process is known for what it is, and looked at once in so many rounds


def uuid_of(pid):
    """Of a QEMU that is neither gone nor a zombie; a process that is not QEMU has none."""
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as comm:
            if not comm.read().startswith("qemu-system"):
                return None
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as cmdline:
            words = cmdline.read().split("\0")
    except OSError:
        return None
    return words[words.index("-uuid") + 1] if "-uuid" in words[:-1] else None


def main():
    report, watched, guests = sys.argv[1], set(sys.argv[2:]), set()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    print("watching", flush=True)
    seen = {}
    for turn in itertools.count():
        pids = collections.defaultdict(list)
        running = [pid for pid in os.listdir("/proc") if pid.isdigit()]
        seen = {pid: seen.get(pid, 0) + 1 for pid in running}
        for pid in running:
            if seen[pid] > LOOKS_AT_EACH and turn % LOOKS_AT_EACH:
                if pid not in guests:
                    continue
            uuid = uuid_of(pid)
            guests.discard(pid)
            if uuid in watched:
                guests.add(pid)
                pids[uuid].append(pid)
        for uuid, twice in pids.items():
            if len(twice) > 1:
                with open(report, "a", encoding="utf-8") as file:
                    print(f"{time.time():.3f} {uuid} runs as {' and '.join(twice)}", file=file)
        if signal.sigtimedwait([signal.SIGTERM], EVERY_SECONDS):
            return


main()
