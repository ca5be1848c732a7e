#!/usr/bin/env bash
# Snapshots of a running guest go into directories and come out of them again: qcow2 files in a
# chain that QEMU's own tools check and compare, a replica seeded from files and then sent to
# incrementally, a new VM that boots with every record, exports that were cut off, damaged or
# tampered with.
#   export.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"

van=$work/van # what is carried from one cluster to the other
mkdir "$van"
ends_with() { # ends_with CODE TEXT WORDS…: the command fails like that and says so
    local wanted=$1 text=$2 code=0
    shift 2
    "$@" >"$work/refusal" 2>&1 || code=$?
    [ "$code" -eq "$wanted" ] || fail "exit code $code, not $wanted: $*: $(cat "$work/refusal")"
    grep -q -- "$text" "$work/refusal" || fail "'$text' is not said: $(cat "$work/refusal")"
}
id_of() { us "$1" --format json vm snapshot info web1 "$2" | jq -r .snapshot.id; }
# What an export holds is what the snapshot holds, byte for byte, and its files are sound.
same_as_snapshot() { # same_as_snapshot DIRECTORY SNAPSHOT
    local volume target info
    (cd "$1" && sha256sum --quiet -c SHA256SUMS) || fail "the sums of $1"
    info=$(us prod --format json vm snapshot info web1 "$2")
    while read -r volume target; do
        qemu-img check -q "$1/$target.qcow2" || fail "qemu-img check of $1/$target.qcow2"
        qemu-img compare -U "$(layer_of prod "$volume" "$(id_of prod "$2")")" "$1/$target.qcow2" \
            >/dev/null || fail "$1/$target.qcow2 is not the snapshot"
    done < <(jq -r '.snapshot.disks[] | "\(.volume) \(.target)"' <<<"$info")
}
nothing_half_done() {
    [ -z "$(find "$van" -maxdepth 1 -name '*.partial-*')" ] || fail "leftovers: $(ls "$van")"
}

define_guest web1 us.mode=idle --talk "$work/prod/talk"
pair
us prod vm start web1
await 60 guest_says READY "$work/prod/console"
guest us.fill=8:8 us.count=5 fill write
await 60 guest_says 'wrote vdb 4' "$work/prod/console"
us prod vm snapshot create web1 monday
guest us.trim=9:2 trim us.zero=13:1 zero us.fill=20:4 fill us.count=8 write
await 60 guest_says 'wrote vdb 12' "$work/prod/console"
us prod vm snapshot create web1 tuesday
guest us.fill=30:2 fill us.count=11 write
await 60 guest_says 'wrote vdb 23' "$work/prod/console"
us prod vm snapshot create web1 wednesday

# A chain of exports, each in its own directory, in files that QEMU's tools open.
us prod vm snapshot export web1 monday "$van/monday" | tee "$work/said"
grep -q "Wrote $van/monday: full, qcow2 files" "$work/said" || fail "what the export says"
(cd "$van" && us prod vm snapshot export web1@tuesday tuesday --incremental-from monday)
us prod vm snapshot export web1 wednesday "$van/wednesday" --incremental-from web1@tuesday
for name in monday tuesday wednesday; do same_as_snapshot "$van/$name" "$name"; done
qemu-img info --output=json "$van/tuesday/vda.qcow2" |
    jq -e '."backing-filename" == "../monday/vda.qcow2"' >/dev/null || fail "the backing file"
[ "$(stat -c %a "$van/monday" "$van/monday/vda.qcow2" | xargs)" = "700 600" ] || fail "permissions"
full=$(stat -c %s "$van/monday/vda.qcow2") part=$(stat -c %s "$van/wednesday/vda.qcow2")
[ "$part" -lt "$full" ] || fail "the increment is no smaller: $part of $full"

# What is refused, and leaves nothing behind.
ends_with 3 'exists and is not empty' us prod vm snapshot export web1 monday "$van/monday"
ends_with 1 'is not beside' us prod vm snapshot export web1 tuesday "$work/alone" \
    --incremental-from monday
us prod vm snapshot export web1 tuesday "$work/alone" --incremental-from monday \
    --base-dir "$van/monday"
same_as_snapshot "$work/alone" tuesday
ends_with 2 'no earlier snapshot' us prod vm snapshot export web1 monday "$van/x" \
    --incremental-from tuesday
ends_with 1 'o such file' us prod vm snapshot export web1 monday "$van/no/such/place"
ends_with 2 'no format' us prod vm snapshot export web1 monday "$van/x" --as vmdk
ends_with 1 'monday.*is not here' us dr vm snapshot import "$van/tuesday"
ends_with 2 'holds neither' us dr vm snapshot import "$work/prod/pool"
us dr --format json replica list | jq -e '.replicas == []' >/dev/null || fail "a replica too soon"
nothing_half_done

# A damaged copy, a tampered manifest: nothing is listed, nothing stays.
cp -r "$van/monday" "$van/damaged"
printf X | dd of="$van/damaged/vda.qcow2" bs=1 seek=1500000 conv=notrunc status=none
ends_with 1 'vda.qcow2 is not what its export says' us dr vm snapshot import "$van/damaged"
sed -i 's/"web1"/"web2"/' "$van/damaged/manifest.json"
ends_with 1 'manifest.json is not what SHA256SUMS says' us dr vm snapshot import "$van/damaged"
us dr --format json replica list | jq -e '.replicas == []' >/dev/null || fail "a damaged replica"
[ -z "$(find "$work/dr/pool" -name '*.qcow2')" ] || fail "a damaged import left files"
rm -r "$van/damaged"

# Seeding: the full one from files, an increment from files, the next over the wire.
us dr vm snapshot import "$van/monday" | tee "$work/said"
grep -q 'Imported web1@monday (full); prod owns the VM' "$work/said" || fail "what the import says"
us dr vm snapshot import "$van/monday" | tells 'there already' || fail "the same once more"
us dr vm snapshot import "$van/tuesday"
same_bytes monday
same_bytes tuesday
us dr --format json replica list | jq -e '.replicas[0] | .name == "web1" and .ready' >/dev/null ||
    fail "the seeded replica: $(us dr --format json replica list)"
refused us dr -y vm snapshot remove web1 tuesday # the base of what prod sends next
us prod --format json vm snapshot send web1 wednesday --to dr >"$work/sent"
jq -e '.task.result.kind == "incremental"' "$work/sent" >/dev/null ||
    fail "after seeding, the send is not incremental: $(cat "$work/sent")"
same_bytes wednesday
refused us dr vm start web1 # a seeded replica is a replica

# The daemon dies in the middle of an export, and an export is cancelled.
guest us.fill=40:80 fill
us prod vm snapshot create web1 big
task=$(us prod --no-wait vm snapshot export web1 big "$van/big")
await 20 compgen -G "$van/big.partial-*/vda.qcow2"
crash prod
begin prod
us prod task watch "$task"
same_as_snapshot "$van/big" big
task=$(us prod --no-wait vm snapshot export web1 big "$van/cancelled")
us prod task cancel "$task" >/dev/null
us prod task watch "$task" >/dev/null 2>&1 || true
[ ! -e "$van/cancelled" ] || [ -e "$van/cancelled/SHA256SUMS" ] || fail "a half export"
nothing_half_done
us prod --format json vm snapshot info web1 big | jq -e '.snapshot.holds == []' >/dev/null ||
    fail "a hold is left: $(us prod --format json vm snapshot info web1 big)"

# The same for an import; then a new VM from the whole chain, which boots with its records.
us dr -y replica remove web1
task=$(us dr --no-wait vm snapshot import "$van/big")
await 20 compgen -G "$work/dr/pool/*/*.qcow2"
crash dr
begin dr
us dr task watch "$task"
same_bytes big
ends_with 2 'name is missing' us dr vm snapshot import "$van/wednesday" --as-new-vm ""
us dr vm snapshot import "$van/wednesday" --as-new-vm web1-copy | tee "$work/said"
grep -q 'web1-copy is a new VM here' "$work/said" || fail "what the new VM's import says"
ends_with 1 "a VM 'web1-copy' is here already" us dr vm snapshot import "$van/wednesday" \
    --as-new-vm web1-copy
us dr --format json vm info web1-copy | jq -e --arg id "$(us prod --format json vm info web1 |
    jq -r .vm.id)" '.vm.id != $id and .vm.state == "stopped" and .vm.ownership.phase == "owned"' \
    >/dev/null || fail "the new VM: $(us dr --format json vm info web1-copy)"
us prod -y vm stop web1
end prod # whose guest's console the copy gets, to be looked at: a copy comes with none
end dr
virsh_of dr dumpxml web1-copy --inactive >"$work/copy.xml"
serial=$(tr -d '\n' <"$work/guest.xml" | grep -o '<serial .*</serial>' | head -n 1)
tr -d '\n' <"$work/copy.xml" | sed "s|<serial .*</serial>|$serial|; s|<console .*</console>||" \
    >"$work/copy-console.xml"
virsh_of dr define "$work/copy-console.xml"
: >"$work/prod/console"
begin dr
us dr vm start web1-copy
await 60 guest_says READY "$work/prod/console"
guest us.last=10 verify >"$work/found" || fail "the copy: $(cat "$work/found")"
grep -q '^VERIFY vdb ok 0..10$' "$work/found" || fail "the copy: $(cat "$work/found")"
us dr vm snapshot create web1-copy first
us dr -y vm stop web1-copy
us dr -y vm snapshot rollback web1-copy wednesday
us dr vm start web1-copy
us dr --format json vm list | jq -e '[.vms[].name] == ["web1-copy"]' >/dev/null ||
    fail "after the rollback: $(us dr vm list)"
us dr --format json replica list | jq -e '.replicas[0].name == "web1"' >/dev/null ||
    fail "the replica beside the copy"
echo "export: ok"
