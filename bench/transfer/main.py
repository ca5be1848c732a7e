#!/usr/bin/env python3
"""`./dev bench transfer`: one disk image, sent by Understudy and by what users would pick instead.

Contestants take turns within every round; what is told is the median. Run it through ./dev, which
gives it namespaces of its own.
"""
import argparse
import sys
import tempfile
from pathlib import Path

from clusters import REPOSITORY, Clusters, Understudy
from contest import compete, keep, machine, recorded, table, wish
from images import Failed, Images
from rivals import BitmapCopy, rivals
from scene import Place

PLACES = ("tmpfs", "disk", "link")
KINDS = ("raw", "qcow2")
TASKS = ("full", "increment", "idle")


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
            record.append({"place": place.name, "kind": kind, "task": task,
                           "results": recorded(results)})


def main():
    options = arguments()
    folder = REPOSITORY / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    BitmapCopy.tool = options.binaries / "../bench/copy_bitmap"
    images = Images(folder / "images")
    images.warm()
    print(f"{machine()}; {images.allocated(images.base['raw']) >> 20} MiB in"
          f" {images.virtual >> 20} MiB; {options.rounds} rounds")
    record = []
    with tempfile.TemporaryDirectory(prefix="us-bench.", dir="/tmp") as run:
        for name in options.place:
            place = Place(name, Path(run), folder)
            try:
                place.cold = images.base.values() if options.cold else []
                run_place(place, images, options, record)
            finally:
                place.close()
    keep(options.json, record)


try:
    main()
except Failed as failure:
    sys.exit(f"./dev bench transfer: {failure}")
