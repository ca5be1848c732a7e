#!/usr/bin/env bash
# A one-node Ceph on loopback (monitor, manager, one BlueStore OSD on a sparse file) in about 3 s;
# prints the ceph.conf to use. For a lab only: one copy of everything.
#
#   ceph-up.sh [option…] DIR [MON_PORT]      the monitor's port is 6789 unless given
#     --cephx            clients must authenticate; keys are in DIR/keys: the conf names admin's,
#                        DIR/keys/understudy.keyring is of client.understudy, who may do with the
#                        pools made here what RBD needs and nothing else; secret text: *.key
#     --pool NAME        again for each pool of RBD images (default: vms)
#     --address IP       where all its daemons listen (default: 127.0.0.1)
#     --osd-bytes BYTES  size of the OSD, a sparse file (default: $CEPH_OSD_BYTES, else 8 GiB)
#     --allocated        not sparse: nobody pays later for the first use of its blocks
#
# Called again, it starts what is not running of the cluster that it made in DIR.
# ceph-daemon.sh stops, kills, freezes and starts single daemons; ceph-down.sh ends what was begun
# here. Two clusters: two DIRs, two ports. Needs ceph-mon ceph-mgr ceph-osd ceph-common.
#
# Found out on Ceph 16, whose defaults would take 12 s:
# - BlueStore waits `bdev aio poll ms` at each of a dozen closes of its file, and the monitor
#   `paxos propose interval` before each change of a map.
# - The manager loads 270 MiB of Python modules that a lab has no use for, but without a manager no
#   pool's free space is known. One without them works and reports "mgr modules have failed".
# - An OSD of 512 MiB works (196 MiB free), one of 256 MiB does not.
# - The manager's and the OSD's own ports are chosen by Ceph from 6800 on, whatever MON_PORT is.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    sed -n '/^#   /s/^#   //p' "$0" >&2
    exit 2
}

cephx=none pools=() address=127.0.0.1 osd_bytes=${CEPH_OSD_BYTES:-8589934592}
allocated=false
while [ $# -gt 0 ]; do
    case $1 in
        --cephx) cephx=cephx && shift ;;
        --pool) pools+=("${2:?}") && shift 2 ;;
        --address) address=${2:?} && shift 2 ;;
        --osd-bytes) osd_bytes=${2:?} && shift 2 ;;
        --allocated) allocated=true && shift ;;
        -*) usage ;;
        *) break ;;
    esac
done
[ $# = 1 ] || [ $# = 2 ] || usage
[ ${#pools[@]} -gt 0 ] || pools=(vms)
dir=$(realpath -m "$1") port=${2:-6789}
conf=$dir/ceph.conf
if [ -e "$dir/made" ]; then
    for kind in mon mgr osd; do "$here/ceph-daemon.sh" "$dir" "$kind" start; done
    echo "$conf"
    exit
fi
"$here/ceph-down.sh" "$dir" # what a killed run left half made
rm -rf "${dir:?}"/{mon,mgr,osd,run,log,keys}
mkdir -p "$dir"/{mon,mgr,osd,run,log,keys}
# All that the manager would load and no test needs.
unused=$(cd /usr/share/ceph/mgr && printf '%s ' */ | tr -d /)

fsid=$(cat /proc/sys/kernel/random/uuid)
cat >"$conf" <<C
[global]
fsid = $fsid
mon host = $address:$port
public addr = $address
cluster addr = $address
auth cluster required = $cephx
auth service required = $cephx
auth client required = $cephx
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon warn on pool no redundancy = false
mon allow pool delete = true
osd crush chooseleaf type = 0
run dir = $dir/run
log file = $dir/log/\$name.log
mon data = $dir/mon
mgr data = $dir/mgr
osd data = $dir/osd
bluestore block size = $osd_bytes
bluestore block preallocate file = $allocated
osd memory target = 939524096
bdev aio poll ms = 20
paxos propose interval = 0.05
paxos min wait = 0.02
mgr disabled modules = $unused
[mon]
admin socket = $dir/run/\$name.asok
pid file = $dir/run/\$name.pid
keyring = $dir/mon/keyring
[mgr]
admin socket = $dir/run/\$name.asok
pid file = $dir/run/\$name.pid
keyring = $dir/keys/all.keyring
[osd]
admin socket = $dir/run/\$name.asok
pid file = $dir/run/\$name.pid
keyring = $dir/keys/all.keyring
[client]
log file =
[client.admin]
keyring = $dir/keys/admin.keyring
[client.understudy]
keyring = $dir/keys/understudy.keyring
C

key() { ceph-authtool "$dir/keys/$1.keyring" "${@:2}" >/dev/null; }
key all --create-keyring --gen-key -n osd.0 --cap mon 'profile osd' --cap osd 'allow *' \
    --cap mgr 'profile osd'
key all --gen-key -n mgr.x --cap mon 'profile mgr' --cap osd 'allow *'
key mon --create-keyring --gen-key -n mon. --cap mon 'allow *'
key admin --create-keyring --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' \
    --cap mgr 'allow *'
caps=''
for pool in "${pools[@]}"; do caps+="${caps:+, }profile rbd pool=$pool"; done
key understudy --create-keyring --gen-key -n client.understudy --cap mon 'profile rbd' \
    --cap osd "$caps" --cap mgr "$caps"
for user in admin understudy; do
    ceph-authtool -p -n "client.$user" "$dir/keys/$user.keyring" >"$dir/keys/$user.key"
done
cat "$dir"/keys/*.keyring >"$dir/mon.keys" # the monitor takes them all in when it is made

fail() {
    echo "ceph-up: $*" >&2
    tail -n 15 "$dir"/log/* >&2 2>/dev/null || true
    "$here/ceph-down.sh" "$dir" || true
    exit 1
}
ceph() { timeout 30 /usr/bin/ceph -c "$conf" "$@"; }
# Right after its start the monitor may answer and yet refuse ("problem getting command
# descriptions"): once more, for some seconds.
told() { # told COMMAND…
    local until=$((SECONDS + 10))
    until "$@" >/dev/null 2>"$dir/log/told"; do
        [ "$SECONDS" -lt "$until" ] || return 1
        read -rt 0.1 <> <(:) || true
    done
}

if [ -n "$(ss -Hltn "sport = :$port")" ]; then
    rm "$conf" # nothing to end
    fail "port $port is taken: $(ss -Hltnp "sport = :$port")"
fi
monmaptool --create --add a "$address:$port" --fsid "$fsid" "$dir/monmap" --clobber >/dev/null
ceph-mon -c "$conf" -i a --mkfs --monmap "$dir/monmap" --keyring "$dir/mon.keys" ||
    fail "the monitor was not made"
uuid=$(cat /proc/sys/kernel/random/uuid)
ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$uuid" --no-mon-config 2>"$dir/log/osd.mkfs" &
making=$!
"$here/ceph-daemon.sh" "$dir" mon start || fail "no monitor"
told ceph osd new "$uuid" 0 || fail "the monitor takes no OSD"
wait "$making" || fail "the OSD was not made: $(cat "$dir/log/osd.mkfs")"
"$here/ceph-daemon.sh" "$dir" mgr start &
"$here/ceph-daemon.sh" "$dir" osd start || fail "no OSD"
wait $! || fail "no manager"
for pool in "${pools[@]}"; do
    told ceph osd pool create "$pool" 8 || fail "pool $pool was not made"
    timeout 30 rbd -c "$conf" pool init "$pool" || fail "pool $pool was not made"
done
touch "$dir/made"
echo "$conf"
