#!/usr/bin/env bash
# kill -9 of the daemon, and of the libvirt within it, at points all over the one moment of a
# snapshot, while the guest writes: QEMU may have been told to switch and libvirt not have written
# it down. Each snapshot is completed all the same, and the guest loses nothing.
#   moments.sh BUILD_DIR [KILLS]     BUILD_DIR has understudyd and understudy. Needs root.
set -euo pipefail
bin=$(realpath "$1")
kills=${2:-10}
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
export UNDERSTUDY_HALT_DIR=$work/halts # see README.md
mkdir "$UNDERSTUDY_HALT_DIR"

state_is() { us prod --format json vm info web1 | jq -e --arg s "$1" '.vm.state == $s'; }
ended() {
    us prod --format json task info "$task" |
        jq -e '.task.state | IN("succeeded", "failed", "cancelled")'
}
halt() { : >"$UNDERSTUDY_HALT_DIR/$uuid.snapshot_create.moment.$1"; }
halted() { [ -e "$UNDERSTUDY_HALT_DIR/$uuid.snapshot_create.moment.$1.reached" ]; }
go_on() { rm "$UNDERSTUDY_HALT_DIR/$uuid.snapshot_create.moment.$1.reached"; }
begin_moment() { # begin_moment NAME: and stands right before it
    halt before
    task=$(us prod --no-wait vm snapshot create web1 "$1")
    await 30 halted before
}
is_whole() {
    await 60 ended
    us prod --format json task info "$task" | jq -e '.task.state == "succeeded"' >/dev/null ||
        fail "$(us prod task log "$task")"
}

define_guest web1
pair
us prod vm start web1
await 120 more_than 3
uuid=$(us prod --format json vm info web1 | jq -r .vm.id)

# How long one takes.
halt after
begin_moment undisturbed
began=${EPOCHREALTIME/[.,]/}
go_on before
while ! halted after; do :; done
life=$((${EPOCHREALTIME/[.,]/} - began))
go_on after
is_whole

for ((i = 0; i < kills; ++i)); do
    begin_moment "point$i"
    point=$((life * i / kills))
    go_on before
    # The moment itself is what is tried here, not a condition to wait for.
    read -rt "$(printf '%d.%06d' $((point / 1000000)) $((point % 1000000)))" <> <(:) || true
    crash prod
    begin prod >/dev/null
    is_whole
    state_is running >/dev/null || fail "after kill $i the guest does not run"
    await 60 more_than "$(records)"
    echo "killed after $((point / 1000)) of $((life / 1000)) ms: the snapshot is whole"
    us prod task log "$task"
done
us prod vm snapshot send web1 "point$((kills - 1))" --to dr
same_bytes "point$((kills - 1))"

written=$(records)
us prod -y vm stop web1
: >"$work/prod/console"
us prod vm start web1
await 60 guest_says 'VERIFY vdb' "$work/prod/console"
found_records "$written"
echo "moments: ok, $kills kills"
