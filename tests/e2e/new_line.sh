#!/usr/bin/env bash
# The sites lose sight of each other, a VM is promoted while it still runs at the first, and both
# write. Of what the first wrote alone a VM of its own is made: it boots with all of that, depends
# on nothing of the other, and the VM itself goes on by increments.
#   new_line.sh BUILD_DIR [qcow2|rbd]    BUILD_DIR has understudyd and understudy. Needs root.
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
virsh_of prod define "$work/guest.xml" >/dev/null
with_link prod
with_link dr
pair

superseded() {
    us prod --format json vm info web1 |
        jq -e '.vm.ownership.phase == "superseded" and .vm.state != "running"'
}
# A copy comes with no console; these get the original's, one after the other, to be looked at.
with_console() { # with_console VM…
    local vm serial
    serial=$(tr -d '\n' <"$work/guest.xml" | grep -o '<serial .*</serial>' | head -n 1)
    end prod
    for vm; do
        virsh_of prod dumpxml "$vm" --inactive >"$work/copy.xml"
        tr -d '\n' <"$work/copy.xml" |
            sed "s|<serial .*</serial>|$serial|; s|<console .*</console>||" >"$work/looked-at.xml"
        virsh_of prod define "$work/looked-at.xml"
    done
    begin prod
}
boots_with() { # boots_with RECORDS VM: it verifies them, and writes on
    : >"$work/prod/console"
    us prod vm start "$2"
    await 60 guest_says 'wrote vdb' "$work/prod/console"
    found_records "$1"
    us prod -y vm stop "$2"
}

us prod vm start web1
await 60 guest_says 'wrote vdb' "$work/prod/console"
sent common full
shared=$(records)
link_to prod cut
link_to dr cut
await 60 more_than $((shared + 8))
alone=$(records)
us dr -y replica promote web1
link_to prod open
link_to dr open
await 60 superseded
us prod replica list
us prod replica list | grep -q 'web1 .*superseded .*replica resolve web1 --keep-there' ||
    fail "the list does not say what to do"

echo "--- names and wishes that cannot be"
code=0
us prod -y replica resolve web1 --as-new-vm web1 || code=$?
[ "$code" -eq 1 ] || fail "a name that is taken: exit code $code"
code=0
us prod -y replica resolve web1 --keep-here --as-new-vm fork || code=$?
[ "$code" -eq 2 ] || fail "--keep-here --as-new-vm: exit code $code"
superseded >/dev/null || fail "something was done"

echo "--- a VM of its own"
task=$(us prod -y --no-wait replica resolve web1 --as-new-vm fork)
crash prod
begin prod
us prod task watch "$task"
us prod --format json replica list | jq -e '.replicas[0].name == "web1" and .unsettled == []' \
    >/dev/null || fail "it is not resolved"
us prod --format json vm info fork | jq -e '.vm | .state == "stopped" and
    .ownership.phase == "owned" and .ownership.epoch == 1' >/dev/null || fail "there is no fork"

echo "--- that depends on nothing"
branch=$(us prod --format json vm snapshot list web1 |
    jq -er '.snapshots[] | select(.holds | any(startswith("branch"))) | .name')
us prod -y replica resolve web1 --as-new-vm again
sent after incremental dr prod
us prod -y vm snapshot remove web1 "$branch" --let-go
us prod -y replica remove web1
us dr -y vm stop web1
with_console fork again
boots_with "$alone" fork
boots_with "$alone" again
echo "new line on $storage: ok"
