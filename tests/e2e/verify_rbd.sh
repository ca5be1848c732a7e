#!/usr/bin/env bash
# Proof and resync where the replica is in Ceph: a bit flipped in one of an image's objects is
# found, named and repaired, and the snapshot is still the base of the next send; with its rows
# lost from the catalog the replica gets only what differs, and nothing of before stays in Ceph.
#   verify_rbd.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
# shellcheck source=tests/e2e/proof.sh
. "$(dirname "${BASH_SOURCE[0]}")/proof.sh"

in_ceph() { rados -c "${ceph_conf[dr]}" -p "${ceph_pool[dr]}" "$@"; }

flip_bit() { # flip_bit SNAPSHOT OFFSET: beside librbd, as a medium does it
    local image object size
    image=$(image_of dr "$(disk_of "$1" vda)" "$(id_of "$1")")
    image=$(jq -r .file.image <<<"${image#json:}")
    size=$(rbd_of dr info "vms/$image" --format json | jq .object_size)
    object=$(rbd_of dr info "vms/$image" --format json | jq -r .block_name_prefix).$(
        printf %016x $(($2 / size)))
    in_ceph get "$object" "$work/object"
    python3 - "$work/object" $(($2 % size)) <<'P'
import sys
with open(sys.argv[1], "r+b") as stored:
    stored.seek(int(sys.argv[2]))
    byte = stored.read(1)[0]
    stored.seek(int(sys.argv[2]))
    stored.write(bytes([byte ^ 1]))
P
    in_ceph put "$object" "$work/object"
}

only_snapshots_of() { # only_snapshots_of SNAPSHOT: in the records and in the images of dr
    local id volume image
    id=$(id_of "$1")
    for volume in $(in_ceph listomapkeys understudy.volumes | grep '^volume/'); do
        in_ceph getomapval understudy.volumes "$volume" "$work/record" >/dev/null 2>&1
        jq -e --arg id "$id" '[.snapshots[].id] == [$id] and (.images | length == 1)' \
            "$work/record" || return 1
        image=$(jq -r '.images[0].name' "$work/record")
        rbd_of dr snap ls --all "vms/$image" --format json |
            jq -e --arg name "understudy-$id" '[.[].name] == [$name]' || return 1
    done
}

with_ceph dr --osd-bytes 4294967296
define_guest web1 us.mode=idle --talk "$work/prod/talk"
with_link prod
with_link dr
pair
us prod vm start web1
await 60 guest_says READY "$work/prod/console"
guest us.fill=16:64 fill
us prod vm snapshot create web1 first >/dev/null
us prod vm snapshot send web1 first --to dr >/dev/null
verified_for 262144

at=$(((40 << 20) + 54321))
flip_bit first "$at"
differs_at vda $((at / 4096 * 4096))
repaired first
only_snapshots_of first >/dev/null || fail "something of the repair is left"
guest scatter
sent second incremental

forget_rows
guest scatter
us prod vm snapshot create web1 third >/dev/null
resynced third 3145728
await 60 only_snapshots_of third
sent fourth incremental
echo "verify_rbd: ok"
