# Several small VMs, each halted at a point of its own in a move or a promote while either daemon is
# killed; for tests to source after clusters.sh. The points are those that the daemons name
# themselves while one VM goes through undisturbed: a new step is walked without a word here.
# shellcheck shell=bash
# Gives: define_walkers, watch_guests, pair_to_walk, points_of, halt_at, …
work=${work:?what clusters.sh sets} lab=${lab:?} bin=${bin:?}
export UNDERSTUDY_HALT_DIR=$work/halts # see README.md
# shellcheck disable=SC2034 # by clusters.sh: one for each VM that is halted, and some that go on
workers=32
walkers=() # those that walk now; others are off
declare -A halted=()
mkdir -p "$UNDERSTUDY_HALT_DIR"
# shellcheck source=tests/e2e/quick.sh
. "$(dirname "${BASH_SOURCE[0]}")/quick.sh"

define_walkers() { define_quick 64M 32M "$@"; } # define_walkers NAME…: on prod

watch_guests() { # from now on no walker may run twice: see no_two_guests
    "$(dirname "${BASH_SOURCE[0]}")/one-guest.py" "$work/twice" "${uuid[@]}" >"$work/watcher" &
    helpers+=($!)
    await 20 grep -q watching "$work/watcher"
}
no_two_guests() {
    kill -0 "${helpers[-1]}" || fail "the watcher has ended"
    [ ! -e "$work/twice" ] || fail "a VM ran twice: $(cat "$work/twice")"
}

other_than() { if [ "$1" = prod ]; then echo dr; else echo prod; fi; }

# ---- what a guest has written ----

# Since it booted last.
writes() {
    grep -a -e '^READY' -e '^wrote vdb' "$work/$1.console" 2>/dev/null | tail -n 1 | tells wrote
}

# ---- points ----

# What the daemons passed with this VM since its line in `passed` was empty, each once, in order.
begin_to_note() { : >"$UNDERSTUDY_HALT_DIR/passed"; }
points_of() { # points_of WALKER: and no more are noted
    sed -n "s/^${uuid[$1]}\.//p" "$UNDERSTUDY_HALT_DIR/passed" | awk '!seen[$0]++'
    rm "$UNDERSTUDY_HALT_DIR/passed"
}
# Where a daemon holds what other VMs need to get on: one VM at a time, and the last one.
stands_in_the_way() { [[ $1 == take_over.* || $1 == hear.* ]]; }

halt_at() { # halt_at WALKER POINT
    halted[$1]=$UNDERSTUDY_HALT_DIR/${uuid[$1]}.$2
    : >"${halted[$1]}"
}
has_halted() { [ -e "${halted[$1]}.reached" ]; }
# kill -9 of the daemon while all these stand where they were told to; then all go on.
kill_here() { # kill_here CLUSTER WALKER…
    local name
    for name in "${@:2}"; do await 120 has_halted "$name"; done
    crash "$1"
    for name in "${@:2}"; do rm "${halted[$name]}.reached"; done
    begin "$1" >/dev/null
}

# ---- what has become of it ----

over() { # over CLUSTER TASK
    us "$1" --format json task info "$2" |
        jq -e '.task.state | IN("succeeded", "failed", "cancelled")'
}
idle() { us "$1" --format json task list | jq -e '.tasks == []'; }
state_of_task() { us "$1" --format json task info "$2" | jq -r .task.state; }
error_of_task() { us "$1" --format json task info "$2" | jq -r .task.error; }

# Writes "VM PHASE STATE" of all VMs of a cluster to $work/CLUSTER.roles.
look() { # look CLUSTER
    {
        us "$1" --format json vm list |
            jq -r '.vms[] | "\(.name) \(.ownership.phase) \(.state)"'
        us "$1" --format json replica list |
            jq -r '.replicas[] | "\(.name) \(.ownership.phase) replica"'
    } >"$work/$1.roles"
}
# One cluster owns the VM and runs it, the other has a replica of it.
lives_on() { # lives_on CLUSTER WALKER
    grep -qx "$2 owned running" "$work/$1.roles" &&
        grep -qx "$2 replica replica" "$work/$(other_than "$1").roles"
}

# For each of these VMs at the same time; all must succeed.
each() { # each COMMAND WALKER…: COMMAND WALKER
    local name pid pids=()
    for name in "${@:2}"; do
        "$1" "$name" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || fail "$1"; done
}
all_write() {
    local name
    for name in "${walkers[@]}"; do writes "$name" || return; done
}
wait_for_task() { # wait_for_task CLUSTER TASK: to its end
    timeout 120 "$bin/understudy" --socket "$work/$1/sock" task watch "$2" >/dev/null 2>&1 ||
        await 10 over "$1" "$2"
}
