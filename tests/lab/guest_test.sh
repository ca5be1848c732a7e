#!/usr/bin/env bash
# The lab's own test: a real guest under libvirt's embed driver writes records on a qcow2 and a raw
# disk, is frozen through its agent, trims, is shut down by ACPI, and finds everything again at its
# next boot; the host finds the same in the files. Needs root.
set -euo pipefail
lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d /tmp/us-lab.XXXXXX)
uri=$("$lab/libvirt-embed.sh" "$work/root")

# One virsh has the root open throughout, as a daemon has it: it sees events that a virsh per
# command would miss.
mkfifo "$work/in"
stdbuf -oL virsh -q -c "$uri" <"$work/in" >"$work/out" 2>&1 &
virsh=$!
disown
exec 7>"$work/in"
v() { # v COMMAND: gives it to virsh and prints what virsh says to it
    local start
    start=$(wc -l <"$work/out")
    printf '%s\necho end-of-answer-%s.\n' "$1" "$start" >&7
    wait_for "^end-of-answer-$start\." "$work/out"
    tail -n +"$((start + 1))" "$work/out" |
        grep -v -e ': info :' -e ': warning :' -e '^end-of' -e '^virsh # ' || true
}

finish() {
    local pid
    kill -KILL "$virsh" 2>/dev/null
    pid=$(cat "$work"/root/run/qemu/guest.pid 2>/dev/null) && kill -KILL "$pid" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "FAILED: $*" >&2
    tail -n 20 "$work/console" >&2 || tail -n 20 "$work/out" "$work"/root/log/qemu/*.log >&2 || true
    exit 1
}

wait_for() { # wait_for TEXT FILE: until FILE shows it, 60 s at most
    local tenths
    for ((tenths = 0; tenths < 600; tenths++)); do
        grep -q -- "$1" "$2" 2>/dev/null && return
        sleep 0.1
    done
    fail "not seen in $2: $1"
}
said() { wait_for "$1" "$work/console"; }

boot() { # boot CMDLINE
    rm -f "$work/console"
    "$lab/domain-xml.sh" --name guest --uuid 5d4cd8a7-0f5c-4c0e-9c1e-7f0c2b9d6a11 \
        --image "$image" --disk "$work/a.qcow2:qcow2:vda" --disk "$work/b.raw:raw:vdb" \
        --serial "$work/console" --talk "$work/talk" --agent "$work/agent" \
        --cmdline "$1" >"$work/guest.xml"
    v "define $work/guest.xml" >/dev/null
    v "start guest" >/dev/null
    said READY
}

allocated() {
    qemu-img map -U --output=json "$1" | jq "[.[] | select(.data)] | map(.length) | add"
}

image=$("$lab/guest-image.sh")
qemu-img create -q -f qcow2 "$work/a.qcow2" 64M
truncate -s 64M "$work/b.raw"

boot "us.mode=fill,write us.agent=1 us.seed=lab"
said "wrote vdb 20"
v "domfsfreeze guest"
said FROZEN
v "domfsthaw guest"
said THAWED
"$lab/guest-tell" "$work/talk" stop size
full=$(allocated "$work/a.qcow2")
"$lab/guest-tell" "$work/talk" us.trim=8:3 trim
[ "$(allocated "$work/a.qcow2")" -le $((full - 3 * 1048576)) ] || fail "no trim in the qcow2"
"$lab/guest-tell" "$work/talk" scatter
last=$(sed -n 's/^wrote vdb //p' "$work/console" | tail -n 1)
v "shutdown guest"
said DOWN
for ((tries = 0; tries < 100; tries++)); do
    [ -n "$(v "list --name")" ] || break
    sleep 0.1
done
[ -z "$(v "list --name")" ] || fail "libvirt did not see the guest's end: $(v list)"

qemu-img convert -O raw "$work/a.qcow2" "$work/a.raw"
"$lab/records" --seed lab --last "$last" "vda=$work/a.raw" "vdb=$work/b.raw" || fail "records"
printf 'X' | dd of="$work/a.raw" bs=1 seek=9000 conv=notrunc status=none
! "$lab/records" --seed lab "vda=$work/a.raw" >/dev/null || fail "damage was not seen on the host"

boot "us.mode=verify us.last=$last us.seed=lab"
said "DONE verify"
grep -q "VERIFY vda ok 0..$last" "$work/console" || fail "vda"
grep -q "VERIFY vdb ok 0..$last" "$work/console" || fail "vdb"
grep -q "VERIFY moment ok" "$work/console" || fail "moment"
! grep BAD "$work/console" || fail "BAD"
"$lab/guest-tell" "$work/talk" us.zero=0:1 zero >/dev/null
! "$lab/guest-tell" "$work/talk" us.last=auto verify >"$work/zeroed" || fail "lost records not seen"
grep -q "BAD vda has no record" "$work/zeroed" || fail "lost records are not named"
v "destroy guest" >/dev/null
echo "ok: 0..$last on both disks"
