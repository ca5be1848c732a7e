#!/usr/bin/env bash
# Unlike storage: a running VM on RBD images is sent to a cluster with qcow2 files, full and
# incremental with trims, promoted there, and from there sent on to a cluster with RBD again, full
# and incremental, and promoted. Every snapshot is the same on both sides byte for byte, and every
# guest finds its records at boot.
#   rbd_unlike.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"

taken_over() { # taken_over FROM TO: FROM burns down, TO's guest finds all that FROM's had written
    local last
    last=$(records)
    sent "last-of-$1" incremental "$1" "$2"
    burn_down "$1"
    : >"$work/prod/console"
    us "$2" -y replica promote web1
    await 240 guest_says 'DONE verify' "$work/prod/console"
    found_records "$last"
    echo "$2: every record up to $last"
}

with_ceph prod --pool vms --pool second --osd-bytes 4294967296
with_pool_in third prod second
define_guest web1 "us.mode=verify,write us.pause=0.1" --talk "$work/prod/talk"
pair
begin third
us third cluster init third
join dr third

us prod vm start web1
await 120 guest_says 'wrote vdb 5' "$work/prod/console"
guest us.fill=16:16 fill
sent first full prod dr
guest us.trim=20:8 trim us.zero=30:1 zero scatter
sent second incremental prod dr
taken_over prod dr

sent fourth full dr third
guest us.trim=16:2 trim us.fill=40:2 fill
sent fifth incremental dr third
taken_over dr third
echo "rbd_unlike: ok"
