#!/usr/bin/env bash
# A VM with one disk in a file and one in Ceph, whose guest writes, zeroes and trims at random, is
# snapshotted forty times; each snapshot is sent to a cluster that keeps every disk on the same kind
# of storage, and to one that keeps it on the other kind. In the end all forty are the same
# everywhere, byte for byte: file → file, file → Ceph, Ceph → file, Ceph → Ceph.
#   forty.sh BUILD_DIR [SEED]     Needs root.
set -euo pipefail
bin=$(realpath "$1")
seed=${2:-$RANDOM}
RANDOM=$seed
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
snapshots=40
echo "seed $seed: forty.sh BUILD_DIR $seed does the same again"

somewhere() { # OFFSET:LENGTH in MiB, behind the records
    local offset=$((8 + RANDOM % 48))
    echo "$offset:$((1 + RANDOM % 6))"
}
some_writes() {
    guest "us.fill=$(somewhere)" fill "us.trim=$(somewhere)" trim "us.zero=$(somewhere)" zero \
        "us.scatter=$((8 + RANDOM % 40))" scatter >/dev/null
}
pool_there() { # pool_there CLUSTER SNAPSHOT TARGET: where that disk is
    us "$1" --format json vm snapshot info web1 "$2" |
        jq -er --arg target "$3" '.snapshot.disks[] | select(.target == $target) | .pool'
}
check_all() { # check_all CLUSTER FILE_POOL CEPH_POOL: all snapshots there, and where they must be
    local name info id target volume pool there
    for name in $(seq -f s%g $snapshots); do
        info=$(us prod --format json vm snapshot info web1 "$name")
        id=$(jq -r .snapshot.id <<<"$info")
        while read -r target volume pool; do
            there=$2
            [ "$pool" = files ] || there=$3
            [ "$(pool_there "$1" "$name" "$target")" = "$there" ] ||
                fail "$target of $name is not in pool $there of $1"
            qemu-img compare -U "$(held_by prod "$pool" "$volume" "$id")" \
                "$(held_by "$1" "$there" "$volume" "$id")" >/dev/null ||
                fail "$target of $name differs on $1"
        done < <(jq -r '.snapshot.disks[] | "\(.target) \(.volume) \(.pool)"' <<<"$info")
    done
    echo "$1: $snapshots snapshots of two disks, the same as on prod"
}

with_ceph prod --pool vms --pool second --pool third --osd-bytes 4294967296
with_pool_in dr prod second
with_pool_in third prod third
with_files prod dr third
mkdir -p "$work/prod"
qemu-img create -q -f qcow2 "$work/prod/vda.qcow2" 64M
rbd_of prod create vms/vdb --size 64M
image=$("$lab/guest-image.sh")
"$lab/domain-xml.sh" --name web1 --image "$image" --serial "$work/prod/console" \
    --disk "$work/prod/vda.qcow2:qcow2:vda" --disk rbd:vms/vdb:vdb --ceph "${ceph_conf[prod]}" \
    --cmdline "us.mode=write us.pause=0.2" --talk "$work/prod/talk" >"$work/guest.xml"
virsh_of prod define "$work/guest.xml" >/dev/null
pair
begin third
us third cluster init third
join prod third
us third peer map prod pool vms=files files=vms

us prod vm start web1
await 120 guest_says 'wrote vdb 5' "$work/prod/console"
for number in $(seq $snapshots); do
    some_writes
    us prod vm snapshot create web1 "s$number" >/dev/null
    for peer in dr third; do
        us prod --format json vm snapshot send web1 "s$number" --to "$peer" >"$work/sent"
        kind=incremental
        [ "$number" -gt 1 ] || kind=full
        jq -e --arg kind "$kind" '.task.result.kind == $kind' "$work/sent" >/dev/null ||
            fail "s$number was no $kind send to $peer: $(cat "$work/sent")"
    done
done
grep -aq BAD "$work/prod/console" && fail "the guest found damage"
check_all dr files vms
check_all third vms files
echo "forty: ok"
