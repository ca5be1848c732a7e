#!/usr/bin/env bash
# Proof and resync, with real guests. A replica of 2 GiB is proven equal for less than 1 MiB over
# the wire; one bit flipped in its stored layer is found, named and repaired. Then the replica loses
# its rows in the catalog, and the next send moves only what differs; so does one after the two
# sides have no snapshot in common any more. All bytes between the two clusters are counted.
#   verify.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
# shellcheck source=tests/e2e/proof.sh
. "$(dirname "${BASH_SOURCE[0]}")/proof.sh"

# 2 GiB of what cannot be compressed on the first disk, before anybody has it open.
fill_first_disk() {
    openssl enc -aes-128-ctr -pass pass:verify -nosalt -pbkdf2 -in /dev/zero 2>/dev/null |
        head -c 2147483648 >"$work/content" || [ "${PIPESTATUS[1]}" -eq 0 ]
    qemu-img convert -f raw -O qcow2 "$work/content" "$work/prod/vda.qcow2"
    rm "$work/content"
}

# Flips one bit of a stored layer where the disk has OFFSET, and says where the disk's grain begins.
flip_bit() { # flip_bit SNAPSHOT OFFSET
    local volume id file host
    volume=$(disk_of "$1" vda)
    id=$(id_of "$1")
    file=$(jq -er --arg id "$id" '.layers[] | select(.snapshot == $id and .role == "snapshot")
        | .file' "$work/dr/pool/$volume/volume.json")
    file=$work/dr/pool/$volume/$file
    host=$(qemu-img map -U --output=json "$file" | jq -er --argjson at "$2" '.[]
        | select(.data and .start <= $at and $at < .start + .length) | .offset + $at - .start')
    python3 - "$file" "$host" <<'P'
import sys
with open(sys.argv[1], "r+b") as layer:
    layer.seek(int(sys.argv[2]))
    byte = layer.read(1)[0]
    layer.seek(int(sys.argv[2]))
    layer.write(bytes([byte ^ 16]))
P
    stored=$file
}

define_guest web1 us.mode=idle --talk "$work/prod/talk"
fill_first_disk
with_link prod
with_link dr
pair
us prod vm start web1
await 60 guest_says READY "$work/prod/console"
us prod vm snapshot create web1 first >/dev/null
us prod vm snapshot send web1 first --to dr >/dev/null

# Equal, for next to nothing.
us dr --format json replica list | jq -e '.replicas[0].verified == null' >/dev/null
verified_for 1048576
stated=$(jq '.tasks[0].result.verify_wire_bytes' "$work/verified")
[ "$stated" -lt 204800 ] || fail "$stated bytes of digests"
us dr replica list | tells -E 'equal (just now|.* ago)' || fail "not shown: $(us dr replica list)"

# One bit.
at=$(((1 << 30) + 123456789))
flip_bit first "$at"
differs_at vda $((at / 4096 * 4096))
repaired first
qemu-img check -q "$stored" || fail "the repair left a damaged layer"

# The rows of the replica are lost; its layers are there.
forget_rows
guest scatter
us prod vm snapshot create web1 second >/dev/null
resynced second 3145728
await 60 only_snapshots_of second
sent third incremental

# Nothing in common: the pairing is undone, the base goes, and they are paired again.
us prod -y peer remove dr --force >/dev/null
us prod -y vm snapshot remove web1 second third >/dev/null
join prod dr
guest scatter
us prod vm snapshot create web1 fourth >/dev/null
resynced fourth 3145728
verified_for 1048576
echo "verify: ok"
