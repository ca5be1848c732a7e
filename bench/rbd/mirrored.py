"""Runs a command that makes a mirror snapshot, and waits until rbd-mirror has copied the newest.

mirrored.py SOURCE_CONF TARGET_CONF POOL/IMAGE COMMAND…

For the Python that Ceph's modules belong to. Looking by them costs next to nothing, which the
`rbd` command, started again and again, would not.
"""
import subprocess
import sys
import time

import rados
import rbd

LIMIT = 300
PAUSE = 0.02


def mirror_snapshots(io, name):
    """{id: what is known of it}"""
    try:
        with rbd.Image(io, name, read_only=True) as image:
            return {one["id"]: one["mirror"] for one in image.list_snaps()
                    if one["namespace"] == rbd.RBD_SNAP_NAMESPACE_TYPE_MIRROR}
    except rbd.ImageNotFound:
        return {}


def main(source_conf, target_conf, image, *command):
    pool, name = image.split("/")
    clusters = [rados.Rados(conffile=conf, rados_id="admin") for conf in (source_conf, target_conf)]
    for cluster in clusters:
        cluster.connect()
    source, target = (cluster.open_ioctx(pool) for cluster in clusters)
    subprocess.run(command, check=True)
    wanted = max(mirror_snapshots(source, name))
    until = time.monotonic() + LIMIT
    while True:
        there = mirror_snapshots(target, name).values()
        if any(one["complete"] and one["primary_snap_id"] == wanted for one in there):
            return
        if time.monotonic() > until:
            sys.exit(f"{name}: snapshot {wanted} has not arrived after {LIMIT} s: {list(there)}")
        time.sleep(PAUSE)


main(*sys.argv[1:])
