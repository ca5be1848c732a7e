#!/usr/bin/env bash
# kill -9 of either daemon before and after every step of a move, on both sides: afterwards exactly
# one cluster owns the VM and runs it, no VM has ever run twice, and nothing that its guest was told
# is durable is lost. Several VMs go there and back at once, each halted at a point of its own.
#   walk_move.sh BUILD_DIR [VMS_AT_ONCE]     BUILD_DIR has understudyd and understudy. Needs root.
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
    wait_for_task "$from" "${task[$1]}"
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
settle() {
    local name
    for name in "$@"; do settles "$name"; done
    await 60 idle prod
    await 60 idle dr
    no_two_guests
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
    for name in "${first[@]}"; do await 120 has_halted "$name"; done
    for name in "${last[@]}"; do move "$name"; done
    kill_here "$1" "${both[@]}"
    settle "${both[@]}"
    walked=$((walked + ${#both[@]}))
    for name in "${both[@]}"; do
        echo "$name: $1 killed at ${point[$name]}, now on ${at[$name]}"
    done
    echo "$walked kills walked after $((SECONDS - began)) s"
}

# Each move leaves its snapshots, and the longer a disk's chain, the slower every step: after some
# rounds others walk on. More at once wait so long for each other that each sends more rounds.
readonly moves_each=4 teams=7
begin_team() { # begin_team WALKER…: they run on prod, those before are off
    local name
    for name in "${walkers[@]}"; do us "${at[$name]}" vm stop -y "$name" >/dev/null; done
    walkers=("$@")
    for name; do
        at[$name]=prod
        us prod vm start "$name" >/dev/null
    done
    await 60 all_write
}

size=${2:-6}
mapfile -t everyone < <(seq -f w%g $((teams * size)))
define_walkers w0 "${everyone[@]}"
pair
watch_guests

# Once undisturbed: what points there are.
begin_team w0
begin_to_note
move w0
point[w0]=nowhere
settle w0
mapfile -t left_source < <(points_of w0)
# shellcheck disable=SC2034 # used by its name
left_target=("${left_source[@]}")
printf '%s\n' "${left_source[@]}"
[ "${#left_source[@]}" -gt 60 ] || fail "a move has more points than that"

began=$SECONDS
all=$((2 * ${#left_source[@]})) walked=0 rounds=0 victim=prod
while [ "$walked" -lt "$all" ]; do
    if ((rounds % moves_each == 0 && rounds / moves_each < teams)); then
        begin_team "${everyone[@]:rounds/moves_each*size:size}"
    fi
    before=$walked
    walk_once "$victim"
    victim=$(other_than "$victim")
    # As the VMs are now, one cluster's points may be all used up, and then it is the other's turn.
    if [ "$walked" = "$before" ]; then walk_once "$victim"; fi
    [ "$walked" -gt "$before" ] || fail "never tried: ${left_source[*]} ${left_target[*]}"
    rounds=$((rounds + 1))
done
echo "walk_move: ok, $walked kills, each at a point of its own"
