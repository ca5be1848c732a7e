#!/usr/bin/env bash
# What happens to disks in their life: trimmed, zeroed, grown while the guest runs and while it is
# off, one added, one taken away and put back; on a qcow2 and on a raw bottom layer, into raw files
# at the target. Each change is sent incrementally, every snapshot is the same on both sides byte
# for byte, and the promoted guest finds its disks as they were.
#   disks.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"

by_hand() { # by_hand COMMAND…: while the daemon is away, as it is the only one with this libvirt
    end prod
    "$@"
    begin prod
}
stopped() { us prod --format json vm info web1 | jq -e '.vm.state == "stopped"'; }
off() {
    us prod vm shutdown web1
    await 30 stopped
}
on() {
    : >"$work/prod/console"
    us prod vm start web1
    await 60 guest_says READY "$work/prod/console"
}
source_of() { us prod --format json vm info web1 |
    jq -er --arg t "$1" '.vm.disks[] | select(.target == $t) | .source'; }

truncate -s 1M "$work/tools.iso"
define_guest web1 us.mode=idle --talk "$work/prod/talk" --device "<disk type='file' device='cdrom'>
    <driver name='qemu' type='raw'/><source file='$work/tools.iso'/><target dev='sda' bus='sata'/>
    <readonly/></disk>"
pool_options[dr]='full_format = "raw"'
pair
us prod vm start web1
await 60 guest_says READY "$work/prod/console"

guest us.fill=8:8 us.count=5 fill write size
await 30 guest_says 'wrote vdb 4' "$work/prod/console"
sent first full
[ -n "$(find "$work/dr/pool" -name '*.raw')" ] || fail "the target's files are not raw"
guest us.trim=9:2 trim us.zero=13:1 zero us.fill=20:4 fill
sent trimmed incremental

by_hand virsh_of prod blockresize web1 vda 320M
guest size >"$work/sizes"
grep -q 'SIZE vda 335544320' "$work/sizes" || fail "the guest does not see its disk grow"
guest us.disks=vda us.fill=318:2 fill us.disks=all
sent grown incremental

off
qemu-img resize -q "$(source_of vdb)" 160M
truncate -s 64M "$work/prod/vdc.raw"
by_hand virsh_of prod attach-disk web1 "$work/prod/vdc.raw" vdc --config \
    --driver qemu --subdriver raw --targetbus virtio
on
guest us.disks=vdb us.fill=150:4 fill us.disks=vdc us.fill=30:2 fill us.count=5 write
await 30 guest_says 'wrote vdc 4' "$work/prod/console"
sent added incremental

off
kept=$(source_of vdb)
by_hand virsh_of prod detach-disk web1 vdb --config
on
guest us.disks=vda us.fill=40:1 fill
sent removed incremental
us prod --format json vm snapshot info web1 removed |
    jq -e '[.snapshot.disks[].target] == ["vda", "vdc"]' >/dev/null || fail "the disks of removed"

off
by_hand virsh_of prod attach-disk web1 "$kept" vdb --config \
    --driver qemu --subdriver qcow2 --targetbus virtio
on
guest us.disks=vdb us.fill=60:1 fill us.disks=all
sent back incremental

# All snapshots of all that remain the same there, also with later ones upon them.
for name in first trimmed grown added removed back; do same_bytes "$name"; done
us prod -y vm stop web1
end prod
: >"$work/prod/console"
us dr -y replica promote web1
await 60 guest_says READY "$work/prod/console"
guest us.last=4 verify size >"$work/found" || fail "the promoted guest: $(cat "$work/found")"
for line in 'VERIFY vda ok 0..4' 'VERIFY vdb ok 0..4' 'VERIFY vdc ok 0..4' \
    'SIZE vda 335544320' 'SIZE vdb 167772160' 'SIZE vdc 67108864'; do
    grep -q "^$line$" "$work/found" || fail "not said: $line: $(cat "$work/found")"
done
end dr
virsh_of dr dumpxml web1 >"$work/there.xml"
grep -q "device='cdrom'" "$work/there.xml" || fail "the CD-ROM drive is gone"
! grep -q tools.iso "$work/there.xml" || fail "the CD-ROM drive is not empty"
echo "disks: ok"
