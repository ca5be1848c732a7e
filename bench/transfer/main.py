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
from contest import Record, machine, wish
from images import Failed, Images
from rivals import BitmapCopy, rivals
from scene import Place

PLACES = ("tmpfs", "disk", "link")
KINDS = ("raw", "qcow2")
TASKS = ("full", "increment", "idle")
SMALL = 8


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
    parser.add_argument("--small", action="store_true", help="an eighth of everything, to try out")
    parser.add_argument("--only", default="", help="contestants with this in their name")
    parser.add_argument("--port", type=int, default=17500, help="the first of two for understudyd")
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--json", type=Path, default=REPOSITORY / "build/bench/transfer.json")
    options = parser.parse_args()
    if options.cold:
        options.task = [task for task in options.task if task == "full"]
    return options


def run_place(place, images, options, record):
    """Understudy's clusters are the place's: without them only Understudy cannot compete."""
    clusters = None
    if options.only in Understudy.name:
        clusters = record.attempt(place.name, Understudy.name, lambda: Clusters(
            place, images, options.binaries, options.kind, options.port))
    for kind in options.kind:
        for task in options.task:
            case = (task, kind, place, images)
            where = f"{task}, {kind} → {kind}, {place.name}"
            contestants = [Understudy(*case, clusters)] if clusters else []
            if task != "idle":
                contestants += [record.attempt(where, name, begin)
                                for name, begin in rivals(*case) if options.only in name]
            record.case(where, contestants, options.rounds, place, kind=kind, task=task)


def main():
    options = arguments()
    folder = REPOSITORY / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    BitmapCopy.tool = options.binaries / "../bench/copy_bitmap"
    images = Images(folder / "small", SMALL) if options.small else Images(folder / "images")
    images.warm()
    print(f"{machine()}; {images.allocated(images.base['raw']) >> 20} MiB in"
          f" {images.virtual >> 20} MiB; {options.rounds} rounds")
    record = Record(options.json)
    with tempfile.TemporaryDirectory(prefix="us-bench.", dir="/tmp") as run:
        for name in options.place:
            place = record.attempt(name, "the place", lambda: Place(name, Path(run), folder))
            if not place:
                continue
            try:
                place.cold = images.base.values() if options.cold else []
                run_place(place, images, options, record)
            finally:
                place.close()
    record.end("./dev bench transfer")


try:
    main()
except Failed as failure:
    sys.exit(f"./dev bench transfer: {failure}")
