#!/usr/bin/env bash
# Files of Ceph's `rbd` with a real Ceph: our exports are taken in by `rbd import-diff`, exports of
# `rbd` in the form in which Parallel Virtual Cluster writes them are taken in by us, full and
# incremental, byte for byte the images' snapshots. prod has qcow2 files, dr a pool in Ceph.
#   rbd_files.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"

with_ceph dr --pool vms --pool theirs --osd-bytes 4294967296
conf=${ceph_conf[dr]}
# The tool tells its progress even to a file.
rbd() { timeout 60 /usr/bin/rbd -c "$conf" "$@" 2>"$work/rbd.log" ||
    fail "rbd $*: $(cat "$work/rbd.log")"; }
image() { echo "rbd:theirs/$1:conf=$conf"; } # as QEMU names it
van=$work/van
mkdir "$van"

define_guest web1 us.mode=idle --talk "$work/prod/talk"
pair
us prod vm start web1
await 60 guest_says READY "$work/prod/console"
guest us.fill=8:8 us.count=5 fill write
us prod vm snapshot create web1 monday
guest us.trim=9:2 trim us.zero=13:1 zero us.fill=20:4 fill us.count=8 write
us prod vm snapshot create web1 tuesday

# Ours to Ceph.
us prod vm snapshot export web1 monday "$van/monday" --as rbd
us prod vm snapshot export web1 tuesday "$van/tuesday" --as rbd --incremental-from monday
us prod --format json vm snapshot info web1 monday >"$work/monday.json"
us prod --format json vm snapshot info web1 tuesday >"$work/tuesday.json"
while read -r target volume size; do
    rbd create "theirs/$target" --size "${size}B"
    for day in monday tuesday; do
        rbd import-diff "$van/$day/$target.rbd" "theirs/$target"
        snapshot=$(jq -r .snapshot.id "$work/$day.json")
        qemu-img compare "$(image "$target@understudy-$snapshot")" \
            "$(layer_of prod "$volume" "$snapshot")" -U >/dev/null ||
            fail "rbd import-diff of $day/$target.rbd made something else"
    done
done < <(jq -r '.snapshot.disks[] | "\(.target) \(.volume) \(.size)"' "$work/monday.json")
# Ours to us.
us dr vm snapshot import "$van/monday"
us dr vm snapshot import "$van/tuesday"
same_bytes monday
same_bytes tuesday
# The content is the same thing in either format.
us prod vm snapshot export web1 monday "$van/monday-qcow2"
contents() { jq -r '.disks[] | "\(.target) \(.content) \(.data)"' "$1/manifest.json"; }
[ "$(contents "$van/monday")" = "$(contents "$van/monday-qcow2")" ] || fail "two contents of one"

# From a pool in Ceph the same comes out, in either format.
for format in qcow2 rbd; do
    us dr vm snapshot export web1 monday "$van/dr-$format" --as "$format"
    us dr vm snapshot export web1 tuesday "$van/dr-$format-2" --as "$format" \
        --incremental-from monday
    [ "$(contents "$van/monday")" = "$(contents "$van/dr-$format")" ] || fail "another content"
done
while read -r target volume size; do
    qemu-img check -q "$van/dr-qcow2-2/$target.qcow2" || fail "qemu-img check of $target"
    qemu-img compare -U "$van/dr-qcow2-2/$target.qcow2" \
        "$(layer_of prod "$volume" "$(jq -r .snapshot.id "$work/tuesday.json")")" >/dev/null ||
        fail "the chain that dr exported is not the snapshot"
    rbd create "theirs/dr-$target" --size "${size}B"
    rbd import-diff "$van/dr-rbd/$target.rbd" "theirs/dr-$target"
    rbd import-diff "$van/dr-rbd-2/$target.rbd" "theirs/dr-$target"
    qemu-img compare -U "$van/dr-qcow2-2/$target.qcow2" "$(image "dr-$target")" >/dev/null ||
        fail "the diffs that dr exported are not the snapshot"
done < <(jq -r '.snapshot.disks[] | "\(.target) \(.volume) \(.size)"' "$work/monday.json")

# Parallel Virtual Cluster's directory of a snapshot; see its daemon-common/vm.py.
pvc_xml() { # the guest's definition with its disks in Ceph, as that cluster reaches it
    local disk=0 target
    sed 's/web1/web2/; s/<uuid>.*<\/uuid>/<uuid>8a7b0000-0000-4000-8000-000000000002<\/uuid>/' \
        "$work/guest.xml" | tr -d '\n' | sed 's/<disk .*<\/disk>//' >"$work/pvc.begin"
    for target in vda vdb; do
        cat <<X
<disk type='network' device='disk'><driver name='qemu' type='raw'/>
<auth username='libvirt'><secret type='ceph'
  uuid='5f1b0000-0000-4000-8000-00000000000$disk'/></auth>
<source protocol='rbd' name='theirs/web2_disk$disk'><host name='hv1' port='6789'/></source>
<target dev='$target' bus='virtio'/></disk>
X
        disk=$((disk + 1))
    done >"$work/pvc.disks"
    sed "s|</devices>|$(tr -d '\n' <"$work/pvc.disks")</devices>|" "$work/pvc.begin"
}
pvc_export() { # pvc_export SNAPSHOT [PARENT]
    local directory=$van/pvc/web2/$1 files='[]' volume file
    mkdir -p "$directory/images"
    for volume in web2_disk0 web2_disk1; do
        if [ -n "${2:-}" ]; then
            file=images/theirs.$volume.rbddiff
            rbd export-diff --from-snap "$2" "theirs/$volume@$1" "$directory/$file"
        else
            file=images/theirs.$volume.rbdimg
            rbd export --export-format 2 "theirs/$volume@$1" "$directory/$file"
        fi
        files=$(jq --arg file "$file" '. + [[$file, 67108864]]' <<<"$files")
    done
    jq -n --arg name "$1" --arg parent "${2:-}" --argjson files "$files" \
        --arg xml "$(pvc_xml)" '{type: "x", snapshot_name: $name, export_files: $files,
        incremental_parent: (if $parent == "" then null else $parent end), export_size_bytes: 1,
        vm_detail: {name: "web2", uuid: "8a7b0000-0000-4000-8000-000000000002", xml: $xml,
            snapshots: [{name: $name, timestamp: 1700000000.5}]}}' >"$directory/snapshot.json"
}
scribble() { # scribble SEED: writes, trims and zeroes of every length, on both images
    local volume n RANDOM=$1
    for volume in web2_disk0 web2_disk1; do
        local words=()
        for ((n = 0; n < 40; n++)); do
            local at=$(((RANDOM * 32768 + RANDOM) % 62914560)) length=$((RANDOM * 4 + 1))
            case $((n % 5)) in
                3) words+=(-c "discard $at $length") ;;
                4) words+=(-c "write -z $at $length") ;;
                *) words+=(-c "write -P $((RANDOM % 255 + 1)) $at $length") ;;
            esac
        done
        qemu-io -f raw "${words[@]}" "$(image "$volume")" >/dev/null
    done
}
same_as_image() { # same_as_image VM SNAPSHOT: on dr
    local info volume target disk=0
    info=$(us dr --format json vm snapshot info "$1" "$2")
    while read -r volume target; do
        qemu-img compare "$(image "web2_disk$disk@$2")" \
            "$(layer_of dr "$volume" "$(jq -r .snapshot.id <<<"$info")")" >/dev/null ||
            fail "$target of $1 is not web2_disk$disk@$2"
        disk=$((disk + 1))
    done < <(jq -r '.snapshot.disks[] | "\(.volume) \(.target)"' <<<"$info")
}
rbd create theirs/web2_disk0 --size 64M
rbd create theirs/web2_disk1 --size 64M --stripe-unit 64K --stripe-count 4
snap() { for volume in web2_disk0 web2_disk1; do rbd snap create "theirs/$volume@$1"; done; }
scribble 1
snap before
scribble 2
snap full
scribble 3
snap between
rbd resize theirs/web2_disk0 --size 32M --allow-shrink --no-progress
rbd resize theirs/web2_disk0 --size 96M --no-progress
scribble 4
snap later
scribble 5
pvc_export full
pvc_export later full
pvc_export before
for name in full later before; do
    us dr vm snapshot import "$van/pvc/web2/$name" --as-new-vm "web2-$name" >"$work/said"
    same_as_image "web2-$name" "$name"
done
us dr --format json vm snapshot info web2-later later >"$work/later.json"
jq -e '.snapshot.taken == "2023-11-14T22:13:20.500Z" and .snapshot.disks[0].size == 100663296' \
    "$work/later.json" >/dev/null || fail "the snapshot: $(cat "$work/later.json")"
us dr vm snapshot info web2-later later --xml >"$work/later.xml"
! grep -q 'hv1\|5f1b0000\|8a7b0000\|theirs' "$work/later.xml" || fail "of the other cluster:
$(cat "$work/later.xml")"

# What is not whole or not there is refused, and leaves nothing.
says() { # says TEXT WORDS…: the command fails and says so
    local text=$1
    shift
    ! "$@" >"$work/refusal" 2>&1 || fail "no failure: $*"
    grep -q -- "$text" "$work/refusal" || fail "'$text' is not said: $(cat "$work/refusal")"
}
says 'as-new-vm web2' us dr vm snapshot import "$van/pvc/web2/full"
truncate -s -1 "$van/pvc/web2/later/images/theirs.web2_disk1.rbddiff"
says 'ends in the middle' us dr vm snapshot import "$van/pvc/web2/later" --as-new-vm broken
rm -r "$van/pvc/web2/full"
says "full export 'full'" us dr vm snapshot import "$van/pvc/web2/later" --as-new-vm broken
us dr --format json vm list | jq -e '[.vms[].name] | index("broken") == null' >/dev/null ||
    fail "a broken VM is listed"
us dr vm start web2-later
echo "rbd_files: ok"
