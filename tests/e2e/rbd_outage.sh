#!/usr/bin/env bash
# Ceph in trouble in the middle of a send between two clusters whose disks are in Ceph, a guest
# running at the source. The target's OSD dies: the task says so and waits, nothing half is listed,
# and once it is back the send goes on from where it was. The source's OSD dies: the same, and a
# snapshot asked for meanwhile comes about afterwards, with the guest running. A monitor dies: the
# send goes on. The target's pool is full: the task says what is needed, and after room was made a
# retry goes on. Every snapshot is the same on both sides byte for byte.
#   rbd_outage.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
# shellcheck source=tests/e2e/sending.sh
. "$(dirname "${BASH_SOURCE[0]}")/sending.sh"
patience=120
# What each attempt had on its way to a Ceph that serves nothing goes again: 16 MiB in the driver,
# and what sockets hold.
again_bytes=26000000

ceph_of() { timeout 30 ceph -c "${ceph_conf[$1]}" "${@:2}" >/dev/null 2>"$work/ceph.log"; }
daemon_of() { "$lab/ceph-daemon.sh" "$work/$1/ceph" "$2" "$3"; } # daemon_of CLUSTER KIND VERB
runs() { us prod --format json vm info web1 | jq -e '.vm.state == "running"'; }
tell_fullness_soon() { # tell_fullness_soon CLUSTER: instead of after half a minute
    ceph_of "$1" config set mon mon_tick_interval 1
    ceph_of "$1" config set global mgr_stats_period 1
    ceph_of "$1" config set mgr mgr_tick_period 1
}
retried() { # once Ceph has noticed that there is room again
    us prod task retry "$task" >/dev/null
    await 60 over
    state_is succeeded
}

for cluster in prod dr; do
    with_ceph $cluster --osd-bytes 4294967296
    pool_options[$cluster]='timeout = "4s"'
    tell_fullness_soon $cluster
done
define_guest web1 "us.mode=fill,write us.fill=16:42 us.pause=0.2"
with_link dr
pair
us prod vm start web1
await 120 more_than 3
for name in target source monitors full; do us prod vm snapshot create web1 $name; done

begin_send target
daemon_of dr osd kill
await 60 logged 'no answer within 4 s'
! over || fail "a dead OSD at the target ended the send: $(task_now .task)"
logged 'ceph -s' || fail "no advice: $(us prod task log "$task")"
await 30 more_than "$(records)"
stands_still
daemon_of dr osd start
ends_whole target
logged 'going on at disk' || fail "the send began from zero: $(us prod task log "$task")"

begin_send source
daemon_of prod osd kill
await 60 logged 'no answer within 4 s'
! over || fail "a dead OSD at the source ended the send: $(task_now .task)"
late=$(us prod --no-wait vm snapshot create web1 late)
daemon_of prod osd start
ends_whole source
logged 'going on at disk' || fail "the send began from zero: $(us prod task log "$task")"
taken() { us prod --format json task info "$late" | jq -e '.task.state == "succeeded"'; }
await 120 taken
await 30 runs
await 30 more_than "$(records)"

begin_send monitors 8MiB
daemon_of dr mon kill
daemon_of prod mon kill
seen=$(done_bytes)
await 60 further "$seen"
! over || fail "it was over too soon: $(task_now .task)"
daemon_of prod mon start
daemon_of dr mon start
ends_whole monitors

begin_send full 4MiB
ceph_of dr osd pool set-quota vms max_bytes 20000000
await 60 over
[ "$(task_now .task.state)" = failed ] || fail "a full pool: $(task_now .task)"
[ "$(task_now .task.error_kind)" = no_space ] || fail "a full pool: $(task_now .task)"
us prod task info "$task"
for words in 'over its quota' 'free' 'task retry'; do
    grep -q "$words" <<<"$(task_now .task.error)" ||
        fail "'$words' is not in: $(task_now .task.error)"
done
[ "$(listed)" = "$whole" ] || fail "half is listed"
await 30 more_than "$(records)"
ceph_of dr osd pool set-quota vms max_bytes 0
await 120 retried
ends_whole full
logged 'going on at disk' || fail "the retry began from zero: $(us prod task log "$task")"

us prod vm snapshot send web1 late --to dr
same_bytes late
echo "rbd_outage: ok"
