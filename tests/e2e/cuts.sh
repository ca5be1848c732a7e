#!/usr/bin/env bash
# A send and all that can end it, while the guest runs on: the link reset, silent for a while, lost
# for good; either daemon stopped; cancelled. It goes on from what was durable, or leaves nothing.
#   cuts.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
# shellcheck source=tests/e2e/sending.sh
. "$(dirname "${BASH_SOURCE[0]}")/sending.sh"
link_patience=4s

files_of_dr() { find "$work/dr/pool" -type f | sort; }

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
await 30 further "$seen"
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
