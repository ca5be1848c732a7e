# A send that is disturbed in its middle, for tests to source after clusters.sh: begin_send,
# ends_whole and what is asked of $task meanwhile. Expects with_link dr and a guest with 84 MiB.
# shellcheck shell=bash

task_now() { us prod --format json task info "$task" | jq -r "$1"; }
state_is() { [ "$(task_now .task.state)" = "$1" ]; }
over() { task_now .task.state | tells -E 'succeeded|failed|cancelled'; }
logged() { log_says "$task" "$1"; }
listed() { us dr --format json replica list | jq '[.replicas[].snapshots] | add // 0'; }
carried() { link_to dr count | cut -d' ' -f1; }
done_bytes() { task_now .task.progress.done_bytes; }
far() { [ "$(done_bytes)" -ge 16000000 ] || over; }
further() { [ "$(done_bytes)" -gt "$1" ] || over; } # further BYTES

begin_send() { # begin_send NAME [LIMIT]: and waits until some of it is durable
    before=$(carried) whole=$(listed)
    task=$(us prod --no-wait vm snapshot send web1 "$1" --to dr --full --limit "${2:-20MiB}")
    await 30 far
    ! over || fail "it was over too soon: $(task_now .task)"
    [ "$(listed)" = "$whole" ] || fail "a snapshot is listed that is not whole"
    unset begun
}
# While the target writes nothing: what sockets hold of an attempt (tens of MiB where the kernel
# gives them room) counts no more. Each attempt from here on moves less than all of it.
stands_still() {
    before=$(carried)
    begun=$(task_now '.task.attempts - if .task.state == "running" then 1 else 0 end')
}
ends_whole() { # ends_whole NAME: it went on from what was durable
    await "${patience:-60}" over
    state_is succeeded || fail "the send ended as $(task_now .task)"
    [ "$(listed)" = $((whole + 1)) ] || fail "$(listed) snapshots are listed"
    # All of it again would be 84 MiB, and 16 MB more from the first part.
    local moved=$(($(carried) - before)) most attempts
    attempts=$(task_now .task.attempts)
    most=$((98000000 + ${again_bytes:-0} * attempts))
    [ -z "${begun:-}" ] || most=$((76000000 * (attempts - begun)))
    [ "$moved" -lt "$most" ] || fail "$moved bytes moved, $attempts attempts, ${begun:-0} before"
    same_bytes "$1"
    await 30 more_than "$(records)"
    echo "$1: $moved bytes moved for a snapshot of 84 MiB"
}
