#!/usr/bin/env bash
# What a VM is besides its disks: UEFI variables travel with the snapshot and stay in their file at
# home; the guest's agent freezes it for the moment; a TPM and a host device are named, refused at
# send and accepted by name; a shared disk is refused. Nothing half is sent.
#   firmware.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"

variables=$work/prod/web1_VARS.fd
hostdev=hostdev:pci:0000:7f:00.0
is_off() { us prod --format json vm info web1 | jq -e '.vm.state == "stopped"'; }
redefine() { # redefine SED_SCRIPT: the guest's definition, changed
    end prod
    virsh_of prod dumpxml --inactive web1 | sed "$1" >"$work/changed.xml"
    virsh_of prod define "$work/changed.xml" >/dev/null
    begin prod
}
at_dr() {
    us dr --format json replica list | jq -c '[.replicas[].snapshots]'
    find "$work/dr/pool" -type f | sort
}

define_guest web1 "us.mode=idle us.agent=1" --talk "$work/prod/talk" --agent "$work/prod/agent" \
    --uefi "$variables" --memory 256
uuid=$(sed -n 's/.*<uuid>\(.*\)<.uuid>.*/\1/p' "$work/guest.xml")
pair
us prod vm start web1
await 90 guest_says READY "$work/prod/console"
guest us.count=5 write
await 30 guest_says 'DONE write' "$work/prod/console"
us prod vm snapshot create web1 one
cp "$variables" "$work/variables"
! cmp -s "$variables" /usr/share/OVMF/OVMF_VARS_4M.fd || fail "the firmware wrote no variables"
us prod --format json vm snapshot info web1 one |
    jq -e '.snapshot.consistency == "filesystem"' >/dev/null || fail "the guest was not frozen"
guest_says FROZEN "$work/prod/console" || fail "the agent was not asked to freeze"
await 5 guest_says THAWED "$work/prod/console"
us prod vm snapshot send web1 one --to dr
same_bytes one

# A drill asks the agent, and has variables of its own.
drill() {
    us dr replica drill web1 --timeout 2m >"$work/drill" || fail "$(cat "$work/drill")"
    grep -q 'passed: the guest agent answered' "$work/drill" || fail "$(cat "$work/drill")"
    [ -z "$(ls -A "$work/dr/state/nvram")" ] || fail "the copy left $(ls "$work/dr/state/nvram")"
    cat "$work/drill"
}
drill
us prod vm shutdown web1
await 30 is_off

redefine "s#</devices>#<tpm model='tpm-crb'><backend type='passthrough'>\
<device path='/dev/tpm0'/></backend></tpm>\
<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' bus='0x7f' \
slot='0x00' function='0x0'/></source></hostdev></devices>#"
us prod vm info web1 >"$work/info"
us prod vm snapshot create web1 two
there=$(at_dr)
refused us prod vm snapshot send web1 two --to dr
for key in tpm "$hostdev"; do
    grep -q "$key" "$work/info" || fail "vm info does not name $key: $(cat "$work/info")"
    grep -q "$key" "$work/refusal" || fail "the refusal does not name $key: $(cat "$work/refusal")"
done
refused us prod vm snapshot send web1 two --to dr --accept tpm
[ "$(at_dr)" = "$there" ] || fail "a refused send left something: $(at_dr)"
us prod vm snapshot send web1 two --to dr --accept tpm --accept "$hostdev"
same_bytes two
drill
for key in tpm "$hostdev"; do
    grep -q "$key" "$work/drill" || fail "the drill does not name $key"
done
us dr replica info web1 >"$work/info"
for key in tpm "$hostdev"; do
    grep -q "$key" "$work/info" || fail "readiness does not name $key: $(cat "$work/info")"
done

# Only a raw disk can be shared: libvirt refuses to define any other.
truncate -s 16M "$work/prod/shared.raw"
redefine "s#</devices>#<disk type='file' device='disk'><driver name='qemu' type='raw'/>\
<source file='$work/prod/shared.raw'/><target dev='vdc' bus='virtio'/>\
<shareable/></disk></devices>#"
code=0
us prod vm snapshot create web1 shared >"$work/refusal" 2>&1 || code=$?
[ "$code" = 1 ] || fail "exit code $code for a shared disk"
grep -q 'vdc: it is shared' "$work/refusal" || fail "which disk and why: $(cat "$work/refusal")"
! us prod vm snapshot info web1 shared >/dev/null 2>&1 || fail "half a snapshot is listed"
redefine "/<disk/{:a;N;/<.disk>/!ba;/<shareable.>/d}" # the whole element

us prod -y vm snapshot rollback web1 two # a rollback needs no leave for what is at home
printf 'later' | dd of="$variables" bs=1 seek=4096 conv=notrunc status=none
us prod -y vm snapshot rollback web1 one
cmp "$variables" "$work/variables" || fail "the rollback left other UEFI variables"
end prod
virsh_of prod dumpxml web1 >"$work/back.xml"
! grep -q hostdev "$work/back.xml" || fail "the rollback kept the later definition"
grep -q ">$variables<" "$work/back.xml" || fail "the rollback moved the UEFI variables"

us dr -y replica promote web1 --snapshot one --no-start
cmp "$work/dr/state/nvram/${uuid}_VARS.fd" "$work/variables" || fail "other UEFI variables there"
: >"$work/prod/console"
us dr vm start web1
await 90 guest_says READY "$work/prod/console"
guest us.last=4 verify
echo "firmware: ok"
