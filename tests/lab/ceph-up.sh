#!/usr/bin/env bash
# A one-node Ceph 16 on loopback in about 10 s; prints the ceph.conf to use. For a lab only: monitor
# protocol v1, no authentication, one copy of everything.
#
#   ceph-up.sh DIR [MON_PORT]      stop it: kill the pids in DIR/run/*.pid
#
# Needs the packages ceph-mon ceph-mgr ceph-osd ceph-common. Two clusters: two DIRs, two ports.
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: ceph-up.sh DIR [MON_PORT]" >&2 && exit 2; }
dir=$(realpath -m "$1") port=${2:-6789}
mkdir -p "$dir"/{mon,mgr,osd,run,log}
fsid=$(cat /proc/sys/kernel/random/uuid)
conf=$dir/ceph.conf
cat >"$conf" <<C
[global]
fsid = $fsid
mon host = 127.0.0.1:$port
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
mon warn on pool no redundancy = false
mon allow pool delete = true
osd crush chooseleaf type = 0
run dir = $dir/run
admin socket = $dir/run/\$name.asok
pid file = $dir/run/\$name.pid
log file = $dir/log/\$name.log
mon data = $dir/mon
mgr data = $dir/mgr
osd data = $dir/osd
bluestore block size = ${CEPH_OSD_BYTES:-8589934592}
osd memory target = 939524096
C
monmaptool --create --add a "127.0.0.1:$port" --fsid "$fsid" "$dir/monmap" --clobber >/dev/null
ceph-mon -c "$conf" -i a --mkfs --monmap "$dir/monmap"
ceph-mon -c "$conf" -i a
ceph() { timeout 20 /usr/bin/ceph -c "$conf" "$@"; }
for _ in $(seq 300); do
    ceph -s >/dev/null 2>&1 && break
    sleep 0.2
done
uuid=$(cat /proc/sys/kernel/random/uuid)
ceph osd new "$uuid" 0 >/dev/null
ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$uuid" 2>/dev/null
ceph-mgr -c "$conf" -i x
osd_lives() { kill -0 "$(cat "$dir/run/osd.0.pid" 2>/dev/null)" 2>/dev/null; }
for _ in $(seq 40); do # the first start can lose a race with the monitor
    osd_lives || ceph-osd -c "$conf" -i 0 2>/dev/null || true
    ceph osd stat 2>/dev/null | grep -q '1 up' && break
    sleep 0.5
done
osd_lives || { echo "ceph-up: no OSD came up, see $dir/log" >&2 && exit 1; }
ceph osd pool create vms 8 >/dev/null 2>&1
timeout 20 rbd -c "$conf" pool init vms
echo "$conf"
