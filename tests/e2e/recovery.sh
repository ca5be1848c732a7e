#!/usr/bin/env bash
# The worst days on real guests: a VM is moved there and back with nothing lost, the sites lose
# sight of each other and the VM is promoted while it still runs at the first, they meet again, and
# everything comes home by increments.
#   recovery.sh BUILD_DIR [qcow2|rbd]    BUILD_DIR has understudyd and understudy. Needs root.
set -euo pipefail
bin=$(realpath "$1")
storage=${2:-qcow2}
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"

if [ "$storage" = rbd ]; then
    with_ceph prod
    with_ceph dr
fi
define_guest web1
# Two guests will write to this console at once.
sed -i "s|<source path='$work/prod/console'/>|<source path='$work/prod/console' append='on'/>|" \
    "$work/guest.xml"
grep -q "append='on'" "$work/guest.xml" || fail "the console is not appended to"
virsh_of prod define "$work/guest.xml" >/dev/null
with_link prod
with_link dr
pair

phase_is() { # phase_is CLUSTER PHASE
    us "$1" --format json vm info web1 | jq -e --arg p "$2" '.vm.ownership.phase == $p'
}
state_is() { # state_is CLUSTER STATE
    us "$1" --format json vm info web1 | jq -e --arg s "$2" '.vm.state == $s'
}
boots() { # boots: the guest has verified its disks, and none was damaged
    await 120 guest_says 'VERIFY vdb' "$work/prod/console"
    grep -aq BAD "$work/prod/console" && fail "the guest found damage"
    return 0
}
moved() { # moved CLUSTER OTHER: there, with the facts in $work/moved
    cp "$work/prod/console" "$work/console.$1-$2"
    us "$1" --format json -y vm move web1 "$2" >"$work/moved" ||
        fail "move from $1 to $2: $(cat "$work/moved")"
    jq -e '.task.result | .started and .downtime_ms > 0 and .downtime_ms < 120000' \
        "$work/moved" >/dev/null || fail "no downtime is told: $(cat "$work/moved")"
    boots
    echo "moved from $1 to $2: down for $(jq .task.result.downtime_ms "$work/moved") ms," \
        "$(wire_bytes) bytes on the wire"
}
wire_bytes() { jq .task.result.wire_bytes "$work/moved"; }
fresh_console() { : >"$work/prod/console"; }

echo "--- there"
us prod vm start web1
await 120 guest_says 'wrote vdb 20' "$work/prod/console"
us prod vm move web1 dr --dry-run
written=$(records)
fresh_console
moved prod dr
full=$(wire_bytes)
found_records "$written"
await 60 phase_is prod replica
refused us prod vm start web1
us dr vm list
us prod replica list

echo "--- and back"
await 60 guest_says 'wrote vdb' "$work/prod/console"
us dr --format json vm info web1 | jq -e '.vm.replications[0].peer_name == "prod"' >/dev/null ||
    fail "dr does not know that prod has its VM"
written=$(records)
fresh_console
moved dr prod
found_records "$written"
[ "$(wire_bytes)" -lt $((full / 2)) ] || [ "$full" -lt 4000000 ] ||
    fail "the way back took $(wire_bytes) bytes, the way there $full"
await 60 phase_is dr replica

echo "--- parted"
await 60 guest_says 'wrote vdb' "$work/prod/console"
us prod vm snapshot create web1 common
us prod vm snapshot send web1 common --to dr
link_to prod cut
link_to dr cut
us prod --format json vm info web1 | jq -e '.vm.state == "running"' >/dev/null
fresh_console
us dr -y replica promote web1
boots
phase_is prod owned >/dev/null || fail "prod cannot know yet"
await 60 guest_says 'wrote vdb' "$work/prod/console"

echo "--- met again"
link_to prod open
link_to dr open
await 60 phase_is prod superseded
await 60 state_is prod paused
phase_is dr owned >/dev/null || fail "dr lost the VM"
refused us prod vm start web1
branch_of() {
    us prod --format json vm snapshot list web1 |
        jq -er '.snapshots[] | select(.holds | any(startswith("branch"))) | .name'
}
await 120 branch_of
branch=$(branch_of)
us prod vm snapshot list web1
refused us prod -y vm snapshot remove web1 "$branch"
refused us prod -y replica resolve web1 --keep-here
us prod -y replica resolve web1 --keep-there
phase_is prod replica >/dev/null || fail "it is no replica after resolve"

echo "--- home by increments"
us dr vm move web1 prod --dry-run
us dr --format json vm move web1 prod --dry-run >"$work/plan"
jq -e '.plan | .downtime_ms > 0 and .running and .expected_bytes == .bytes + .unsent_bytes and
    .unsent_bytes > 0' "$work/plan" >/dev/null || fail "the dry run: $(cat "$work/plan")"
sent after incremental dr prod
expected=$(jq .plan.expected_bytes "$work/plan")
travelled=$(jq .task.result.bytes "$work/sent")
echo "expected $expected bytes, $travelled travelled"
# A new qcow2 layer has some 200 KiB before anything is written to it.
if [ "$expected" -gt $((travelled * 4 + 1000000)) ] || [ "$travelled" -gt $((expected * 4)) ]; then
    fail "the dry run expected $expected bytes, and $travelled travelled"
fi
jq -e '.task.result.wire_bytes < 4000000' "$work/sent" >/dev/null ||
    fail "the failback is no increment: $(cat "$work/sent")"
written=$(records)
fresh_console
moved dr prod
found_records "$written"
us prod vm snapshot list web1
us prod -y vm snapshot remove web1 "$branch" --let-go
await 60 phase_is dr replica

echo "--- off"
us prod vm shutdown web1
await 60 state_is prod stopped
us prod --format json -y vm move web1 dr >"$work/moved"
jq -e '.task.result.started == false' "$work/moved" >/dev/null || fail "$(cat "$work/moved")"
await 60 phase_is dr owned
is_idle() { us dr --format json task list | jq -e '.tasks == []'; }
await 60 is_idle
state_is dr stopped >/dev/null || fail "a VM that was off was started by its move"
written=$(records)
fresh_console
us dr vm start web1
boots
found_records "$written"
echo "recovery on $storage: ok"
