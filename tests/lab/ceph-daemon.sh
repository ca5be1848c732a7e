#!/usr/bin/env bash
# One daemon of a cluster that ceph-up.sh began; each verb may be repeated and is done when it
# returns, or says within a minute or so what did not happen.
#
#   ceph-daemon.sh DIR mon|mgr|osd VERB
#     start    and wait until it answers (mon), serves (osd), lives (mgr)
#     stop     as an operator would (SIGTERM)
#     kill     SIGKILL, as a machine that loses power
#     restart  stop and start
#     freeze   SIGSTOP: its connections stay and nobody answers, as storage that hangs
#     go       ends a freeze
set -euo pipefail

usage() {
    sed -n '/^#   /s/^#   //p' "$0" >&2
    exit 2
}
[ $# = 3 ] || usage
dir=$(realpath "$1") kind=$2 verb=$3
case $kind in mon) id=a ;; mgr) id=x ;; osd) id=0 ;; *) usage ;; esac
conf=$dir/ceph.conf pid_file=$dir/run/$kind.$id.pid log=$dir/log/$kind.$id.log

fail() {
    echo "ceph-daemon: $kind of $dir: $*; its log ends:" >&2
    tail -n 15 "$log" >&2 || true
    exit 1
}

# The daemon's pid, for as long as that pid is this daemon: a number may have found another owner.
pid() {
    local pid
    pid=$(cat "$pid_file" 2>/dev/null) && [ -n "$pid" ] || return 1
    [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") == *"ceph-$kind -c $conf -i $id"* ]] ||
        return 1
    grep -q '^State:.Z' "/proc/$pid/status" && return 1 # dead, its parent has not noticed
    echo "$pid"
}

await() { # await SECONDS WORDS COMMAND…
    local until=$((SECONDS + $1)) words=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || fail "$words"
        read -rt 0.05 <> <(:) || true
    done
}

gone() { ! pid; }
# The monitor's word: what it knew of an OSD before that one's start does not count.
answers() { timeout 10 ceph -c "$conf" --connect-timeout 5 -s; }
state() { timeout 10 ceph --admin-daemon "$dir/run/osd.0.asok" status; }
serves() {
    [[ $(state) == *'"state": "active"'* &&
        $(timeout 10 ceph -c "$conf" --connect-timeout 5 osd stat) == *' 1 up'* ]]
}

launch() { # a start right after the monitor's can lose a race with it: try again
    pid >/dev/null && return
    # Until it has heard the monitor it stays in the foreground, for minutes.
    timeout 20 "ceph-$kind" -c "$conf" -i "$id" >"$dir/log/$kind.start" 2>&1 && await 5 "no pid" pid
}
start() {
    await 60 "does not start: $(tail -n 3 "$dir/log/$kind.start" 2>/dev/null)" launch
    case $kind in
        mon) await 60 "does not answer" answers ;;
        osd) await 60 "is not up" serves ;;
    esac
}
send() { # send SIGNAL: if it lives
    local pid
    if pid=$(pid); then kill -"$1" "$pid"; fi
}
stop() {
    send TERM
    send CONT
    await 60 "does not end" gone
}

case $verb in
    start) start ;;
    stop) stop ;;
    restart) stop && start ;;
    kill)
        send KILL
        await 60 "does not die" gone
        ;;
    freeze) send STOP ;;
    go) send CONT ;;
    *) usage ;;
esac
