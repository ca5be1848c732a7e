#!/usr/bin/env bash
# What an incremental send moves over the wire, all of it counted between the two clusters
# (handshakes and questions too): of an idle VM less than 64 KiB, of one with 1 MiB changed in
# 4 KiB scattered writes less than 2 MiB. What the task states is the truth.
#   wire.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"

carried() {
    local up down
    read -r up down < <(link_to dr count)
    echo $((up + down))
}
sent() { # sent SNAPSHOT LIMIT: takes and sends it, and judges what it moved
    local before moved stated
    us prod vm snapshot create web1 "$1" >/dev/null
    before=$(carried)
    us prod --format json vm snapshot send web1 "$1" --to dr >"$work/sent"
    moved=$(($(carried) - before))
    stated=$(jq '.task.result.wire_bytes' "$work/sent")
    echo "$1: $moved bytes over the wire, of which $stated content and framing"
    [ "$moved" -lt "$2" ] || fail "$1 moved $moved bytes, not less than $2"
    [ "$stated" -le "$moved" ] || fail "$1: $stated bytes are stated, $moved moved"
    # What is not stated: TLS's own bytes, questions and answers.
    [ $((moved - stated)) -lt $((65536 + stated / 200)) ] ||
        fail "$1: $moved moved, but only $stated are stated"
    same_bytes "$1"
}

define_guest web1 us.mode=idle --talk "$work/prod/talk"
with_link dr
pair
us prod vm start web1
await 60 guest_says READY "$work/prod/console"
guest us.fill=0:24 fill
sent first 60000000
sent idle 65536
guest scatter
sent scattered 2097152
echo "wire: ok"
