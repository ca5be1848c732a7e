#!/usr/bin/env bash
# A send and all that can end it, while the guest runs on: the link reset, silent for a while, lost
# for good; either daemon stopped; cancelled. It goes on from what was durable, or leaves nothing.
#   cuts.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
link_patience=4s

task_now() { us prod --format json task info "$task" | jq -r "$1"; }
state_is() { [ "$(task_now .task.state)" = "$1" ]; }
over() { task_now .task.state | grep -Eq 'succeeded|failed|cancelled'; }
logged() { log_says "$task" "$1"; }
listed() { us dr --format json replica list | jq '[.replicas[].snapshots] | add // 0'; }
carried() { link_to dr count | cut -d' ' -f1; }
done_bytes() { task_now .task.progress.done_bytes; }
far() { [ "$(done_bytes)" -ge 16000000 ] || over; }
further() { [ "$(done_bytes)" -gt "$seen" ] || over; }
files_of_dr() { find "$work/dr/pool" -type f | sort; }

begin_send() { # begin_send NAME [OPTION…]: and waits until some of it is durable
    local name=$1
    shift
    before=$(carried) whole=$(listed)
    task=$(us prod --no-wait vm snapshot send web1 "$name" --to dr --full --limit 20MiB "$@")
    await 30 far
    ! over || fail "it was over too soon: $(task_now .task)"
    [ "$(listed)" = "$whole" ] || fail "a snapshot is listed that is not whole"
}
ends_whole() { # ends_whole NAME: it went on from what was durable
    await 60 over
    state_is succeeded || fail "the send ended as $(task_now .task)"
    [ "$(listed)" = $((whole + 1)) ] || fail "$(listed) snapshots are listed"
    # All of it again would be 84 MiB, and 16 MB more from the first part.
    [ $(($(carried) - before)) -lt 98000000 ] || fail "$(($(carried) - before)) bytes moved"
    same_bytes "$1"
    await 30 more_than "$(records)"
    echo "$1: $(($(carried) - before)) bytes moved for a snapshot of 84 MiB"
}

define_guest web1 "us.mode=fill,write us.fill=16:42 us.pause=0.2"
with_link dr
pair
us prod vm start web1
await 60 more_than 3
for name in reset silent lost ended cancelled; do us prod vm snapshot create web1 "$name"; done

begin_send reset
link_to dr cut
await 30 logged 'send web1@reset to dr'
! over || fail "a cut link ended the send: $(task_now .task)"
await 30 more_than "$(records)"
link_to dr open
ends_whole reset
logged 'going on at disk' || fail "the send began from zero: $(us prod task log "$task")"

begin_send silent
link_to dr hole
records=$(records)
await 30 more_than $((records + 4)) # about a second
link_to dr open
ends_whole silent
[ "$(task_now .task.attempts)" = 1 ] || fail "a link that was silent for a moment cost an attempt"

begin_send lost
link_to dr lose
ends_whole lost
logged 'going on at disk' || fail "the send began from zero: $(us prod task log "$task")"

begin_send ended
end dr
begin dr
seen=$(done_bytes)
await 30 further
end prod
begin prod
ends_whole ended
logged 'going on at disk' || fail "the send began from zero: $(us prod task log "$task")"

there=$(files_of_dr)
begin_send cancelled
[ "$(files_of_dr)" != "$there" ] || fail "nothing is there to clean up"
us prod task cancel "$task"
await 30 over
state_is cancelled || fail "the send ended as $(task_now .task)"
[ "$(files_of_dr)" = "$there" ] || fail "left behind: $(diff <(echo "$there") <(files_of_dr))"
[ "$(listed)" = "$whole" ] || fail "a cancelled send is listed"
# A snapshot that no send holds any more can be removed.
us prod -y vm snapshot remove web1 cancelled
await 30 more_than "$(records)"
echo "cuts: ok"
