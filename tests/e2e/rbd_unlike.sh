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

sent() { # sent SNAPSHOT KIND FROM TO: takes it, sends it, compares
    us "$3" vm snapshot create web1 "$1" >/dev/null
    us "$3" --format json vm snapshot send web1 "$1" --to "$4" >"$work/sent"
    jq -e --arg kind "$2" '.task.result.kind == $kind' "$work/sent" >/dev/null ||
        fail "$1 is no $2 send: $(cat "$work/sent")"
    same_bytes "$1" web1 "$3" "$4"
    echo "$1: $2 from $3 to $4, the same on both sides"
}
taken_over() { # taken_over FROM TO: FROM burns down, TO's guest finds all that FROM's had written
    local last
    last=$(records)
    sent "last-of-$1" incremental "$1" "$2"
    burn_down "$1"
    : >"$work/prod/console"
    us "$2" -y replica promote web1
    await 240 guest_says 'DONE verify' "$work/prod/console"
    grep -aq BAD "$work/prod/console" && fail "the guest of $2 found damage"
    for disk in vda vdb; do
        found=$(grep -ao "VERIFY $disk ok 0..[0-9]*" "$work/prod/console" | grep -o '[0-9]*$')
        [ "${found:--1}" -ge "$last" ] || fail "$disk ends at record $found, not $last"
    done
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
