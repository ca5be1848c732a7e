#!/usr/bin/env bash
# The lab's Ceph with cephx on, and a guest under a libvirtd of its own whose two disks are RBD
# images, which it reaches as client.understudy by a libvirt secret: it writes records, trims, is
# ended, and the host finds them in the images; the Ceph loses its OSD and its monitor meanwhile.
# A second cluster runs beside it. Needs root.
#
# Found out with libvirt 9.0 and QEMU 7.2:
# - A client with a wrong key hunts for another monitor until `client mount timeout` (5 minutes).
# - `virsh secret-set-value --file` wants the key as Ceph prints it (base64), without --plain.
# - The embedded driver cannot use secrets: a start ends in "No current identity to elevate".
# - libvirt has no size of an image while the VM is off ("missing storage backend").
# - An image in a namespace cannot be opened: QEMU gets "NAMESPACE/IMAGE" for its name.
set -euo pipefail
lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d /tmp/us-lab-ceph.XXXXXX)
secret=2ec115d7-3a88-4ceb-bc12-0ac909a6fd87
host='' # libvirtd's pid

finish() {
    local pid
    pid=$(cat "$work/host/run/qemu/guest.pid" 2>/dev/null) && kill -KILL "$pid" 2>/dev/null
    if [ -n "$host" ]; then
        kill "$host" 2>/dev/null || true
        wait "$host" 2>/dev/null || true
    fi
    for cluster in one two; do "$lab/ceph-down.sh" "$work/$cluster" || true; done
    rm -rf "$work"
}
trap finish EXIT

fail() {
    echo "FAILED: $*" >&2
    tail -n 15 "$work/console" "$work/libvirtd.log" >&2 || true
    exit 1
}
await() { # await SECONDS COMMAND…: until it succeeds
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || fail "waited in vain for: $*"
        read -rt 0.1 <> <(:) || true
    done
}
v() { virsh -q -c "qemu+unix:///system?socket=$work/host/run/libvirt-sock" "$@"; }
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}
said() { await 60 grep -aq -- "$1" "$work/console"; }
as_understudy() {
    rbd -c "$conf" --id understudy --keyring "$work/one/keys/understudy.keyring" "$@"
}

CEPH_OSD_BYTES=2147483648
export CEPH_OSD_BYTES
began=$SECONDS
"$lab/ceph-up.sh" "$work/two" "$(free_port)" >"$work/two.conf" &
conf=$("$lab/ceph-up.sh" --cephx --pool vms --pool other "$work/one" "$(free_port)")
wait $!
echo "two clusters after $((SECONDS - began)) s"
[ "$(ceph -c "$conf" fsid)" != "$(ceph -c "$(cat "$work/two.conf")" fsid)" ] || fail "one fsid"
[ "$("$lab/ceph-up.sh" "$work/one")" = "$conf" ] || fail "not begun again"

# Least rights, and none without a key.
as_understudy create vms/a --size 64M
as_understudy create vms/b --size 32M
! as_understudy --connect-timeout 5 create rbd/x --size 1M 2>/dev/null || fail "in any pool"
! timeout 20 ceph -c "$conf" --id understudy osd pool create x 1 2>/dev/null || fail "a pool"
ceph-authtool --create-keyring --gen-key -n client.understudy "$work/wrong" >/dev/null
! rbd -c "$conf" --id understudy --keyring "$work/wrong" --client-mount-timeout 2 ls vms \
    2>"$work/refusal" || fail "in with a wrong key"
grep -q 'handle_auth_bad_method' "$work/refusal" || fail "wrong key: $(cat "$work/refusal")"

"$lab/libvirt-host.sh" "lab-ceph" "$work/host" >"$work/libvirtd.log" 2>&1 &
host=$!
await 20 v list
cat >"$work/secret.xml" <<X
<secret ephemeral='no' private='yes'>
  <uuid>$secret</uuid>
  <usage type='ceph'><name>client.understudy of the lab</name></usage>
</secret>
X
v secret-define "$work/secret.xml" >/dev/null
image=$("$lab/guest-image.sh")
"$lab/domain-xml.sh" --name guest --image "$image" --disk rbd:vms/a:vda \
    --disk rbd:vms/b:vdb --ceph "$conf" --ceph-user understudy --ceph-secret "$secret" \
    --serial "$work/console" --talk "$work/talk" --cmdline "us.mode=fill,write us.seed=ceph" \
    >"$work/guest.xml"
v define "$work/guest.xml"
! v start guest 2>"$work/refusal" || fail "started without a key"
v secret-set-value "$secret" --file "$work/one/keys/understudy.key" >/dev/null
v start guest
said "wrote vdb 5"

"$lab/ceph-daemon.sh" "$work/one" osd kill
"$lab/ceph-daemon.sh" "$work/one" mon restart
"$lab/ceph-daemon.sh" "$work/one" osd start
before=$(grep -ac 'wrote vdb' "$work/console")
more() { [ "$(grep -ac 'wrote vdb' "$work/console")" -gt $((before + 3)) ]; }
await 60 more

"$lab/guest-tell" "$work/talk" stop us.trim=8:4 trim # a whole object
last=$(grep -a 'wrote vdb' "$work/console" | grep -ao '[0-9]*$' | tail -n 1)
v destroy guest
for disk in a b; do as_understudy --no-progress export "vms/$disk" "$work/$disk.raw"; done
"$lab/records" --seed ceph --last "$last" "vda=$work/a.raw" "vdb=$work/b.raw" || fail "records"
trimmed=$(as_understudy diff vms/a --format json |
    jq '[.[] | select(.offset >= 8388608 and .offset < 12582912 and .exists == "true")] | length')
[ "$trimmed" = 0 ] || fail "no trim reached the image: $(as_understudy diff vms/a)"

for cluster in one two; do
    "$lab/ceph-down.sh" "$work/$cluster"
    "$lab/ceph-down.sh" "$work/$cluster"
    ! pgrep -f -- "-c $work/$cluster/ceph.conf" >/dev/null || fail "$cluster still runs"
done
echo "ok: 0..$last on both images"
