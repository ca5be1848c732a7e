#!/usr/bin/env bash
# A disk of 100 GiB with 100 MiB in it: a full send takes the bytes, the memory and about the time
# of a disk of 200 MiB with the same in it, within Ceph, within files, and from one to the other.
#   thin.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
pieces=25 # of 4 MiB
max_wire=$((110 << 20)) max_memory=$((160 << 10))

fill() { # fill FORMAT IMAGE EVERY_MIB: the pieces, so far apart
    local piece commands=''
    for piece in $(seq 0 $((pieces - 1))); do
        commands+="write -q -s $work/piece $((piece * $3))M 4M"$'\n'
    done
    qemu-io -f "$1" "$2" <<<"$commands" >/dev/null
}
make_vm() { # make_vm NAME DISK: a stopped VM with one disk in the words of domain-xml.sh
    "$lab/domain-xml.sh" --name "$1" --image "$work" --disk "$2" --ceph "${ceph_conf[prod]}" \
        >"$work/vm.xml"
    virsh_of prod define "$work/vm.xml" >/dev/null
}
forget_peaks() { for pid in "${daemon[@]}"; do echo 5 >"/proc/$pid/clear_refs"; done; }
peak_of() { awk '/^VmHWM:/ { print $2 }' "/proc/${daemon[$1]}/status"; } # in KiB
check_same() { # check_same CLUSTER VM POOL_THERE
    local info id volume pool
    info=$(us prod --format json vm snapshot info "$2" one)
    id=$(jq -r .snapshot.id <<<"$info")
    read -r volume pool < <(jq -r '.snapshot.disks[0] | "\(.volume) \(.pool)"' <<<"$info")
    qemu-img compare -U "$(held_by prod "$pool" "$volume" "$id")" \
        "$(held_by "$1" "$3" "$volume" "$id")" >/dev/null || fail "$2 differs on $1"
}
send_it() { # send_it CLUSTER VM POOL_THERE: sets milliseconds
    local wire memory
    forget_peaks
    us prod --format json vm snapshot send "$2" one --to "$1" >"$work/sent"
    jq -e '.task.result.kind == "full"' "$work/sent" >/dev/null || fail "$(cat "$work/sent")"
    wire=$(jq .task.result.wire_bytes "$work/sent")
    milliseconds=$(jq '.task.result.seconds * 1000 | floor' "$work/sent")
    memory=$(printf '%s\n' "$(peak_of prod)" "$(peak_of "$1")" | sort -n | tail -n 1)
    echo "$2 to $1: $milliseconds ms, $((wire >> 20)) MiB on the wire, peak $((memory >> 10)) MiB"
    [ "$wire" -lt "$max_wire" ] || fail "$2: $wire bytes on the wire"
    [ "$memory" -lt "$max_memory" ] || fail "$2: a daemon needed $memory KiB"
    check_same "$1" "$2" "$3"
}
compare_sizes() { # compare_sizes CLUSTER KIND POOL_THERE
    local small
    send_it "$1" "small-$2" "$3"
    small=$milliseconds
    send_it "$1" "large-$2" "$3"
    [ "$milliseconds" -lt $((3 * small + 4000)) ] ||
        fail "$2 to $1: $milliseconds ms for 100 GiB, $small ms for 200 MiB with the same in it"
}

with_ceph prod --pool vms --pool second --pool third --osd-bytes 8589934592
with_pool_in dr prod second
with_pool_in third prod third
with_files prod dr third
head -c 4M /dev/urandom >"$work/piece"
mkdir -p "$work/prod"
while read -r name size apart; do
    rbd_of prod create "vms/$name" --size "$size"
    fill raw "rbd:vms/$name:conf=${ceph_conf[prod]}" "$apart"
    make_vm "$name-rbd" "rbd:vms/$name:vda"
    qemu-img create -q -f qcow2 "$work/prod/$name.qcow2" "$size"
    fill qcow2 "$work/prod/$name.qcow2" "$apart"
    make_vm "$name-files" "$work/prod/$name.qcow2:qcow2:vda"
done <<'T'
small 200M 8
large 100G 4096
T
pair
begin third
us third cluster init third
join prod third
us third peer map prod pool vms=files files=vms
for name in {small,large}-{rbd,files}; do us prod vm snapshot create "$name" one >/dev/null; done
compare_sizes dr rbd vms
compare_sizes dr files files
compare_sizes third rbd files
compare_sizes third files vms
echo "thin: ok"
