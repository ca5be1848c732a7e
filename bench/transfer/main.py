#!/usr/bin/env python3
"""`./dev bench transfer`: one disk image, sent by Understudy and by what users would pick instead.

Contestants take turns within every round; what is told is the median. Run it through ./dev, which
gives it namespaces of its own.
"""
import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from clusters import REPOSITORY, Clusters, Understudy
from images import Failed, Images
from rivals import BitmapCopy, rivals
from scene import Place

PLACES = ("tmpfs", "disk", "link")
KINDS = ("raw", "qcow2")
TASKS = ("full", "increment", "idle")


def wish(known):
    def parse(text):
        words = text.split(",")
        unknown = set(words) - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {known}")
        return words
    return parse


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench transfer", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--place", type=wish(PLACES), default=PLACES,
                        help="where the target writes: tmpfs, disk (both over loopback), link "
                             "(tmpfs behind 1 Gbit/s)")
    parser.add_argument("--kind", type=wish(KINDS), default=KINDS, help="disk format at both ends")
    parser.add_argument("--task", type=wish(TASKS), default=TASKS)
    parser.add_argument("--cold", action="store_true",
                        help="the source's image is not in the page cache (full sends only)")
    parser.add_argument("--only", default="", help="contestants with this in their name")
    parser.add_argument("--port", type=int, default=17500, help="the first of two for understudyd")
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--json", type=Path, default=REPOSITORY / "build/bench/transfer.json")
    options = parser.parse_args()
    if options.cold:
        options.task = [task for task in options.task if task == "full"]
    return options


def compete(contestants, rounds):
    """{name: [Outcome…]}; in the first round what arrived is compared with what was sent."""
    results = {contestant.name: [] for contestant in contestants}
    for number in range(rounds):
        for contestant in contestants:
            contestant.prepare()
            outcome, _ = contestant.go()
            if number == 0:
                contestant.check()
            contestant.clean()
            results[contestant.name].append(outcome)
            print(f"    {contestant.name:24} {outcome.seconds:7.2f} s", file=sys.stderr, flush=True)
    return results


def median(outcomes, field):
    return statistics.median(getattr(outcome, field) for outcome in outcomes)


def table(title, results):
    print(f"\n{title}")
    print(f"  {'':24} {'seconds':>8} {'min–max':>13} {'CPU s':>7} {'wire MiB':>9} {'peak MiB':>9}"
          f" {'to ours':>8}")
    ours = median(results["understudy"], "seconds") if "understudy" in results else None
    for name, outcomes in results.items():
        seconds = median(outcomes, "seconds")
        times = sorted(outcome.seconds for outcome in outcomes)
        ratio = f"{seconds / ours:7.2f}×" if ours else ""
        print(f"  {name:24} {seconds:8.2f} {times[0]:6.2f}–{times[-1]:<6.2f}"
              f" {median(outcomes, 'cpu'):7.2f} {median(outcomes, 'wire') / 2**20:9.2f}"
              f" {max(outcome.memory for outcome in outcomes) / 2**20:9.0f} {ratio:>8}")
    sys.stdout.flush()


def run_place(place, images, options, record):
    clusters = Clusters(place, images, options.binaries, options.kind, options.port)
    for kind in options.kind:
        for task in options.task:
            case = (task, kind, place, images)
            contestants = [Understudy(*case, clusters)]
            if task != "idle":
                contestants += rivals(*case)
            contestants = [one for one in contestants if options.only in one.name]
            if not contestants:
                continue
            print(f"  {place.name}, {kind}, {task}", file=sys.stderr)
            results = compete(contestants, options.rounds)
            table(f"{task}, {kind} → {kind}, {place.name}", results)
            record.append({"place": place.name, "kind": kind, "task": task, "results": {
                name: [asdict(outcome) for outcome in outcomes]
                for name, outcomes in results.items()}})


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), platform.machine())
    cpus = sum(line.startswith("processor") for line in open("/proc/cpuinfo", encoding="utf-8"))
    return f"{cpus} × {model}, Linux {platform.release()}"


def main():
    options = arguments()
    folder = REPOSITORY / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    BitmapCopy.tool = options.binaries / "../bench/copy_bitmap"
    images = Images(folder / "images")
    images.warm()
    print(f"{machine()}, {time.strftime('%Y-%m-%d')}; {images.allocated(images.base['raw']) >> 20}"
          f" MiB in {4096} MiB; {options.rounds} rounds")
    record = []
    with tempfile.TemporaryDirectory(prefix="us-bench.", dir="/tmp") as run:
        for name in options.place:
            place = Place(name, Path(run), folder)
            try:
                place.cold = images.base.values() if options.cold else []
                run_place(place, images, options, record)
            finally:
                place.close()
    options.json.write_text(json.dumps({"machine": machine(), "date": time.strftime("%F"),
                                        "cases": record}, indent=1))
    print(f"\n{options.json}")


try:
    main()
except Failed as failure:
    sys.exit(f"./dev bench transfer: {failure}")
