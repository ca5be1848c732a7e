#!/usr/bin/env bash
# The main job on RBD: two clusters, each with a Ceph of its own. At the first one cephx is on, the
# guest runs under libvirtd and has two images (one with object-map, one with none of the quick
# features); at the second there is neither. Snapshot, full send, writes, trims and a disk grown,
# incremental send, the first site killed with its guest, promote, and the promoted guest finds
# every record; images that are not Understudy's are as they were.
#   rbd.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"

strangers() { # what others have in dr's pool
    rbd_of dr snap ls vms/theirs --format json | jq -c '[.[].name]' &&
        rbd_of dr export vms/theirs@kept - | sha256sum &&
        rbd_of dr export vms/theirs - | sha256sum
}

with_libvirtd prod
with_ceph prod --cephx --osd-bytes 4294967296
with_ceph dr --osd-bytes 4294967296
head -c 9000000 /dev/urandom | rbd_of dr import - vms/theirs
rbd_of dr snap create vms/theirs@kept
rbd_of dr resize vms/theirs --size 6M --allow-shrink
before=$(strangers)

define_guest web1 "us.mode=verify,write us.pause=0.1" --talk "$work/prod/talk"
pair
us prod vm start web1
await 120 guest_says 'wrote vdb 5' "$work/prod/console"
guest us.fill=16:16 fill
sent first full
guest us.trim=20:8 trim us.zero=30:1 zero scatter
virsh_of prod blockresize web1 vdb 160M
guest us.disks=vdb us.fill=150:4 fill us.disks=all
await 60 more_than 29
sent second incremental
last=$(records)
sent third incremental
us prod --format json vm snapshot send web1 third --to dr --dry-run |
    jq -e '.plan.kind == "nothing"' >/dev/null
refused us dr vm start web1

# The first site burns down.
burn_down prod
"$lab/ceph-daemon.sh" "$work/prod/ceph" osd kill
: >"$work/prod/console"
us dr -y replica promote web1
await 240 guest_says 'DONE verify' "$work/prod/console"
found_records "$last"
guest size >"$work/sizes"
grep -q 'SIZE vdb 167772160' "$work/sizes" || fail "vdb is not as large: $(cat "$work/sizes")"
[ "$(strangers)" = "$before" ] || fail "an image of others has changed: $before, now $(strangers)"

# It comes back, hears of the higher epoch, and must not run the VM.
"$lab/ceph-up.sh" "$work/prod/ceph" >/dev/null
with_libvirtd prod
begin prod
superseded() {
    us prod --format json vm info web1 | jq -e '.vm.ownership.phase == "superseded"'
}
await 60 superseded
refused us prod vm start web1
echo "rbd: ok"
