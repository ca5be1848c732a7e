#!/usr/bin/env bash
# kill -9 of either daemon in sends, again and again: in the middle of each disk, and at points all
# over a send's life, from planning to its last record. Each send goes on from where it was and ends
# whole, nothing half is ever listed, and the guest never notices.
#   kills.sh BUILD_DIR [KILLS_IN_THE_MIDDLE [KILLS_ANYWHERE]]     Needs root.
set -euo pipefail
bin=$(realpath "$1")
kills=${2:-8}
anywhere=${3:-8}
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"

task_now() { us prod --format json task info "$task" | jq "$1"; }
# Or the send had ended when the daemon was killed, and there is none to come.
attempt() { [ "$(task_now .task.attempts)" -gt "$1" ] || ended; }
# This attempt has sent so much that some of it is durable (checkpoints come every 200 ms).
well_on() {
    local now
    now=$(task_now .task.progress.done_bytes)
    { [ "$now" != "$1" ] && [ "$now" -ge 12000000 ]; } || ended
}
ended() { task_now .task.state | tells -E 'succeeded|failed|cancelled'; }
listed() { us dr --format json replica list | jq '[.replicas[].snapshots] | add // 0'; }

killed() { # killed CLUSTER: kill -9 of its daemon, and its restart; the guest must not notice
    crash "$1"
    begin "$1" >/dev/null
    done_kills=$((done_kills + 1))
    kill -0 "$qemu" || fail "the guest did not survive kill $done_kills of $1"
}
is_whole() { # is_whole SNAPSHOT: and it alone has come
    await 60 ended
    [ "$(task_now .task.state)" = '"succeeded"' ] || fail "the send ended as $(task_now .task)"
    whole=$((whole + 1))
    [ "$(listed)" = "$whole" ] || fail "$(listed) snapshots are listed, not $whole"
    same_bytes "$1"
}

define_guest web1 "us.mode=fill,verify,write us.fill=16:48 us.pause=0.2"
pair
us prod vm start web1
await 120 more_than 3
qemu=$(cat "$work/prod/root/run/qemu/web1.pid")
whole=0 done_kills=0 round=0
while [ "$done_kills" -lt "$kills" ]; do
    round=$((round + 1))
    us prod vm snapshot create web1 "round$round" >/dev/null
    task=$(us prod --no-wait vm snapshot send web1 "round$round" --to dr --full --limit 24MiB)
    attempts=0 seen=0
    for part in 1 2 3 4; do
        victim=prod
        [ $(((part + round) % 2)) -eq 0 ] || victim=dr
        await 60 attempt "$attempts"
        await 60 well_on "$seen"
        count=$(listed)
        ! ended || break
        seen=$(task_now .task.progress.done_bytes) attempts=$(task_now .task.attempts)
        [ "$count" = "$whole" ] || fail "a snapshot is listed that is not whole"
        killed "$victim"
    done
    is_whole "round$round"
    log_says "$task" 'going on at disk' || fail "the send began from zero"
    echo "round $round: $done_kills kills so far, whole and the same on both sides"
done

# One send undisturbed tells how long its life is; the others are cut at so many points of it.
us prod vm snapshot create web1 undisturbed >/dev/null
began=${EPOCHREALTIME/[.,]/}
task=$(us prod --no-wait vm snapshot send web1 undisturbed --to dr --full)
await 60 ended
life=$((${EPOCHREALTIME/[.,]/} - began))
is_whole undisturbed
for ((i = 0; i < anywhere; ++i)); do
    us prod vm snapshot create web1 "point$i" >/dev/null
    victim=prod
    [ $((i % 2)) -eq 0 ] || victim=dr
    task=$(us prod --no-wait vm snapshot send web1 "point$i" --to dr --full)
    # The moment itself is what is tried here, not a condition to wait for.
    point=$((life * (i / 2) / (anywhere / 2)))
    read -rt "$(printf '%d.%06d' $((point / 1000000)) $((point % 1000000)))" <> <(:) || true
    killed "$victim"
    is_whole "point$i"
    echo "point $i: $victim killed after $((point / 1000)) ms, whole and the same on both sides"
    us prod task log "$task"
done
[ "$done_kills" -ge 10 ] || fail "only $done_kills kills"
await 60 more_than "$(records)"
echo "kills: ok, $done_kills kills"
