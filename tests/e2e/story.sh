#!/usr/bin/env bash
# The main job on real guests, as a test: two clusters on loopback, a guest with a qcow2 and a raw
# disk, snapshot, full send, writes, incremental send, the first cluster killed, promote, and every
# record up to the snapshot read back by the promoted guest itself.
#   story.sh BUILD_DIR     BUILD_DIR has understudyd and understudy. Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"

define_guest web1
pair
us prod vm start web1
await 120 guest_says 'wrote vdb 5' "$work/prod/console"
us prod vm snapshot create web1 first
us prod vm snapshot send web1 first --to dr
same_bytes first
await 60 guest_says 'wrote vdb [3-9][0-9]' "$work/prod/console"
us prod vm snapshot create web1 second
us prod vm snapshot send web1 second --to dr
same_bytes second
us dr replica list
refused us dr vm start web1
grep -q 'replica promote' "$work/refusal" || fail "the refusal does not say how to promote"
us prod --format json vm snapshot send web1 second --to dr --dry-run |
    jq -e '.plan.kind == "nothing"' >/dev/null
refused us dr -y replica promote web1

# The first site burns down.
kill -KILL "${daemon[prod]}"
kill -KILL "$(cat "$work/prod/root/run/qemu/web1.pid")"
unset "daemon[prod]"
cp "$work/prod/console" "$work/prod/console.before"
: >"$work/prod/console"
us dr -y replica promote web1
await 120 guest_says 'VERIFY vdb' "$work/prod/console"
found_records 29

# It comes back, hears of the higher epoch, and must not run the VM.
begin prod
superseded() {
    us prod --format json vm info web1 | jq -e '.vm.ownership.phase == "superseded"'
}
await 60 superseded
refused us prod vm start web1
echo "story: ok"
