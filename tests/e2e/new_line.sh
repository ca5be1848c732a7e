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
lan=usnew$((first_port % 100000))
leave() {
    finish
    ip link del "$lan" 2>/dev/null || true
}
trap leave EXIT
ip link add "$lan" type bridge # that no card is plugged into
variables=$work/prod/web1_VARS.fd
define_guest web1 "us.mode=verify,write us.pause=0.1" --uefi "$variables" --memory 256 \
    --network "$lan"
# Two guests will write to this console at once.
sed -i "s|<source path='$work/prod/console'/>|<source path='$work/prod/console' append='on'/>|" \
    "$work/guest.xml"
virsh_of prod define "$work/guest.xml" >/dev/null
virsh_of prod dumpxml web1 --inactive >"$work/guest.xml" # with its card's address
with_link prod
with_link dr
pair

superseded() {
    us prod --format json vm info web1 |
        jq -e '.vm.ownership.phase == "superseded" and .vm.state != "running"'
}
with_console() { # with_console VM: a copy comes with none; it gets its original's, to be looked at
    local serial
    serial=$(tr -d '\n' <"$work/guest.xml" | grep -o '<serial .*</serial>' | head -n 1)
    end prod
    virsh_of prod dumpxml "$1" --inactive >"$work/copy.xml"
    tr -d '\n' <"$work/copy.xml" |
        sed "s|<serial .*</serial>|$serial|; s|<console .*</console>||" >"$work/looked-at.xml"
    virsh_of prod define "$work/looked-at.xml"
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
await 120 guest_says 'wrote vdb' "$work/prod/console"
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
crash prod # in or near the moment of the branch's snapshot
begin prod
branch_of() {
    us prod --format json vm snapshot list web1 |
        jq -er '.snapshots[] | select(.holds | any(startswith("branch"))) | .name'
}
await 120 branch_of
branch=$(branch_of)
us prod replica list | tells 'web1 .*superseded .*replica resolve web1 --keep-there' ||
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
us prod -y replica resolve web1 --as-new-vm again --start
us prod --format json vm info again | jq -e '.vm.state == "running"' >/dev/null ||
    fail "it was not started: $(us prod vm info again)"
us prod -y vm stop again
sent after incremental dr prod
us prod -y vm snapshot remove web1 "$branch" --let-go
us prod -y replica remove web1
us dr -y vm stop web1
disks_of() { # disks_of VM: what holds them in the snapshot that it was made with, for qemu-img
    local snapshot volume
    us prod --format json vm snapshot list "$1" >"$work/made"
    snapshot=$(jq -r '.snapshots[0].id' "$work/made")
    for volume in $(jq -r '.snapshots[0].disks[].volume' "$work/made"); do
        layer_of prod "$volume" "$snapshot"
    done
}
disks_of fork >"$work/fork" # one after the other: they share files of clusters.sh
disks_of again >"$work/again"
paste -d ' ' "$work/fork" "$work/again" >"$work/pairs"
[ "$(wc -l <"$work/pairs")" -eq 2 ] || fail "no two disks each: $(cat "$work/pairs")"
while read -r one other; do
    [ "$one" != "$other" ] || fail "a disk of both: $one"
    qemu-img compare -U "$one" "$other" >/dev/null || fail "they differ: $one $other"
done <"$work/pairs"
with_console fork
one_of_each() { # one_of_each XPATH: of web1's definition then, fork's and again's, all different
    local name
    for name in guest fork again; do xmllint --xpath "string($1)" "$work/$name.xml"; done |
        sort -u | grep -c .
}
end prod
for name in fork again; do virsh_of prod dumpxml "$name" --inactive >"$work/$name.xml"; done
begin prod
for path in /domain/uuid //interface/mac/@address //os/nvram; do
    [ "$(one_of_each "$path")" -eq 3 ] || fail "$path is shared: $(one_of_each "$path")"
done
copy=$(xmllint --xpath 'string(//os/nvram)' "$work/fork.xml")
cmp "$copy" "$variables" || fail "the copy's UEFI variables are not those that web1 had"
boots_with "$alone" fork
echo "new line on $storage: ok"
