#!/usr/bin/env bash
# The one Ceph of a test run, as a ctest fixture:
#
#   ceph-fixture.sh start CONF    starts it and leaves its ceph.conf at CONF
#   ceph-fixture.sh stop CONF     ends it and removes what it left
#
# In RAM where there is room for it, and with monitors that answer at once instead of gathering
# changes for a second: tests take hundreds of snapshots, and wait for quotas to be noticed.
set -euo pipefail
[ $# = 2 ] || { sed -n '2,5p' "$0" >&2 && exit 2; }
conf=$2
here=$(dirname "$(realpath "$0")")

free_port() {
    local port
    for _ in $(seq 50); do
        port=$((20000 + RANDOM % 10000))
        [ -n "$(ss -Hltn "sport = :$port")" ] || break
    done
    echo "$port"
}

stop() {
    [ -L "$conf" ] || return 0
    local dir pid_file pid
    dir=$(dirname "$(readlink "$conf")")
    for pid_file in "$dir"/run/*.pid; do
        pid=$(cat "$pid_file" 2>/dev/null) || continue
        kill -9 "$pid" 2>/dev/null || continue
        timeout 20 tail --pid="$pid" -f /dev/null || true
    done
    rm -rf "$dir"
    rm -f "$conf"
}

start() {
    stop
    local room=/tmp dir
    [ "$(df --output=avail -BM /dev/shm 2>/dev/null | tail -n 1 | tr -dc 0-9)" -lt 6000 ] ||
        room=/dev/shm
    dir=$(mktemp -d "$room/us-ceph-XXXXXX")
    mkdir -p "$(dirname "$conf")"
    ln -sf "$dir/ceph.conf" "$conf"
    "$here/../../lab/ceph-up.sh" "$dir" "$(free_port)"
    local option
    for option in "mon paxos_propose_interval 0.02" "mon paxos_min_wait 0.01" \
        "mon mon_tick_interval 1" "global mgr_stats_period 1" "mgr mgr_tick_period 1" \
        "osd osd_snap_trim_sleep_hdd 0.01"; do
        # shellcheck disable=SC2086  # three words
        timeout 20 ceph -c "$conf" config set $option
    done
    timeout 20 ceph -c "$conf" osd pool create vms-data 8 2>/dev/null
    timeout 20 rbd -c "$conf" pool init vms-data
}

"$1"
