#!/usr/bin/env bash
# kill -9 of either daemon before and after every step of a move, on both sides: afterwards exactly
# one cluster owns the VM and runs it, no VM has ever run twice, and nothing that its guest was told
# is durable is lost. Several VMs go there and back at once, each halted at a point of its own.
#   walk_move.sh BUILD_DIR [VMS]     BUILD_DIR has understudyd and understudy. Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
# shellcheck source=tests/e2e/walking.sh
. "$(dirname "${BASH_SOURCE[0]}")/walking.sh"

declare -A at=() # the cluster that owns each walker
declare -A point=() task=()

move() { # move WALKER: to the other cluster
    local from=${at[$1]}
    task[$1]=$(us "$from" --no-wait -y vm move "$1" "$(other_than "$from")")
}

# Ended well there; or not at all, and then it says so, and all is as it was.
settles() { # settles WALKER
    local from=${at[$1]} said
    timeout 120 "$bin/understudy" --socket "$work/$from/sock" task watch "${task[$1]}" \
        >/dev/null 2>&1 || await 10 over "$from" "${task[$1]}"
    if [ "$(state_of_task "$from" "${task[$1]}")" = succeeded ]; then
        at[$1]=$(other_than "$from")
        return
    fi
    said=$(error_of_task "$from" "${task[$1]}")
    echo "$1 at ${point[$1]}: $said"
    # shellcheck disable=SC2016 # it is quoted so
    if [[ $said == *'`understudy task retry'* ]]; then
        us "$from" task retry "${task[$1]}"
        settles "$1"
    elif [[ $said == *"owns the VM"* ]]; then
        at[$1]=$(other_than "$from")
    fi
}
live_where_they_should() {
    local name
    look prod && look dr
    for name in "${walkers[@]}"; do lives_on "${at[$name]}" "$name" || return; done
}
all_write() {
    local name
    for name in "${walkers[@]}"; do writes "$name" || return; done
}
settle() {
    local name
    for name in "$@"; do settles "$name"; done
    await 60 idle prod
    await 60 idle dr
    await 30 live_where_they_should
    await 60 all_write
    for name in "${walkers[@]}"; do nothing_lost "$name"; done
    no_two_guests
}

# A point to kill the cluster at that has this role in the walker's move; one that stands in the way
# of other VMs first, but only one such per role, and `last` has who must wait for the others.
take_point() { # take_point WALKER ROLE: false when none is left
    local -n left=left_$2
    local i chosen=
    for i in "${!left[@]}"; do
        if ! stands_in_the_way "${left[i]}"; then
            chosen=${chosen:-$i}
        elif [ -z "${last[$2]:-}" ]; then
            chosen=$i
            last[$2]=$1
            break
        fi
    done
    [ -n "$chosen" ] || return 1
    point[$1]=${left[chosen]}
    unset 'left[chosen]'
}

walk_once() { # walk_once VICTIM: with as many VMs as there are points to try
    local name role first=() both=()
    local -A last=()
    for name in "${walkers[@]}"; do
        role=target
        [ "${at[$name]}" != "$1" ] || role=source
        take_point "$name" "$role" || continue
        halt_at "$name" "${point[$name]}"
        both+=("$name")
        [[ " ${last[*]} " == *" $name "* ]] || first+=("$name")
    done
    [ "${#both[@]}" -gt 0 ] || return 0
    for name in "${first[@]}"; do move "$name"; done
    for name in "${first[@]}"; do await 60 has_halted "$name"; done
    for name in "${last[@]}"; do move "$name"; done
    kill_here "$1" "${both[@]}"
    settle "${both[@]}"
    walked=$((walked + ${#both[@]}))
    for name in "${both[@]}"; do
        echo "$name: $1 killed at ${point[$name]}, now on ${at[$name]}"
    done
    echo "$walked kills walked after $((SECONDS - began)) s"
}

define_walkers "${2:-14}"
pair
for name in "${walkers[@]}"; do
    at[$name]=prod
    us prod vm start "$name" >/dev/null
done
await 60 all_write
watch_guests

begin_to_note
for name in "${walkers[@]}"; do
    move "$name"
    point[$name]=nowhere
done
settle "${walkers[@]}"
mapfile -t left_source < <(points_of w1)
# shellcheck disable=SC2034 # used by its name
left_target=("${left_source[@]}")
printf '%s\n' "${left_source[@]}"
[ "${#left_source[@]}" -gt 60 ] || fail "a move has more points than that"
began=$SECONDS
all=$((2 * ${#left_source[@]})) walked=0
for ((round = 0; walked < all; ++round)); do
    [ "$round" -lt "$all" ] || fail "some points are never tried: ${left_source[*]}"
    if ((round % 2)); then walk_once dr; else walk_once prod; fi
done
echo "walk_move: ok, $walked kills, each at a point of its own"
