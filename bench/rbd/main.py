#!/usr/bin/env python3
"""`./dev bench rbd`: one image, sent from one Ceph cluster to another by Understudy and by what
users of Ceph would pick instead.

Contestants take turns within every round; what is told is the median. Run it through ./dev, which
gives it namespaces of its own and puts bench/transfer, whose pieces it uses, in Python's path.
"""
import argparse
import sys
import tempfile
from pathlib import Path

from ceph_rivals import ExportDiff, Mirroring, RbdMirror
from cephs import Cephs, RbdClusters, RbdUnderstudy
from clusters import REPOSITORY
from contest import Record, machine, wish
from images import Failed, Images
from scene import Place

PLACES = ("lan", "link")
TASKS = ("full", "increment", "idle")
SMALL = 8


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench rbd", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--place", type=wish(PLACES), default=("lan",),
                        help="lan: between two networks of this machine; link: 1 Gbit/s")
    parser.add_argument("--task", type=wish(TASKS), default=TASKS)
    parser.add_argument("--only", default="", help="contestants with this in their name")
    parser.add_argument("--small", action="store_true", help="an eighth of everything, to try out")
    parser.add_argument("--port", type=int, default=17500, help="the first of two for understudyd")
    parser.add_argument("--binaries", type=Path, required=True)
    parser.add_argument("--json", type=Path, default=REPOSITORY / "build/bench/rbd.json")
    return parser.parse_args()


def contestants(task, place, images, clusters, mirroring):
    """(name, what makes it): making one may fail."""
    yield RbdUnderstudy.name, lambda: RbdUnderstudy(task, "rbd", place, images, clusters)
    if task == "idle":
        return
    for packed in (False, True) if place.name == "link" else (False,):
        yield (ExportDiff.name_of(packed),
               lambda packed=packed: ExportDiff(task, place, clusters, packed))
    if mirroring:
        yield RbdMirror.name, lambda: RbdMirror(task, place, clusters, mirroring)


def run_place(place, images, options, record):
    cephs = Cephs(place)
    try:
        clusters = RbdClusters(place, images, options.binaries, options.port, cephs)
        mirroring = None
        if options.only in RbdMirror.name:
            mirroring = record.attempt(place.name, RbdMirror.name, lambda: Mirroring(place, cephs))
        for task in options.task:
            where = f"{task}, rbd → rbd, {place.name}"
            wanted = [record.attempt(where, name, begin)
                      for name, begin in contestants(task, place, images, clusters, mirroring)
                      if options.only in name]
            record.case(where, wanted, options.rounds, place, task=task)
    finally:
        cephs.close()


def main():
    options = arguments()
    folder = REPOSITORY / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    images = Images(folder / "small", SMALL) if options.small else Images(folder / "images")
    images.warm()
    print(f"{machine()}; {images.allocated(images.base['raw']) >> 20} MiB in"
          f" {images.virtual >> 20} MiB; {options.rounds} rounds")
    record = Record(options.json)
    with tempfile.TemporaryDirectory(prefix="us-bench.", dir="/tmp") as run_folder:
        for name in options.place:
            place = record.attempt(name, "the place", lambda: Place(name, Path(run_folder), folder))
            if not place:
                continue
            try:
                record.attempt(name, "both clusters",
                               lambda: run_place(place, images, options, record))
            finally:
                place.close()
    record.end("./dev bench rbd")


try:
    main()
except Failed as failure:
    sys.exit(f"./dev bench rbd: {failure}")
