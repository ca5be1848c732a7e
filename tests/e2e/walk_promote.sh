#!/usr/bin/env bash
# kill -9 of either daemon before and after every step of a promote, and of the former owner's
# hearing of it: afterwards exactly one cluster owns the VM and runs it, no VM has ever run twice,
# what the chosen snapshot holds is there, and what was written after it is kept as a branch.
# Several VMs at once, each halted at a point of its own; every round has them promoted to the other
# cluster.
#   walk_promote.sh BUILD_DIR [VMS]     BUILD_DIR has understudyd and understudy. Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
# shellcheck source=tests/e2e/walking.sh
. "$(dirname "${BASH_SOURCE[0]}")/walking.sh"

declare -A point=() task=() sent=() known=()
from=prod to=dr # who owns all walkers, and who takes them
round=0

send_common() { # send_common WALKER: what the promote will be to
    us "$from" vm snapshot create "$1" "common$round" >"$work/$1.out" &&
        us "$from" vm snapshot send "$1" "common$round" --to "$to" >"$work/$1.out" 2>&1
}
wrote_more() { [ "$(records_of "$1")" -gt "${known[$1]}" ]; }
shut_down() { us "$from" vm shutdown "$1" >"$work/$1.out"; }
prepare() { # all walkers have a replica there and have written more than it holds
    local name
    round=$((round + 1))
    for name in "${walkers[@]}"; do sent[$name]=$(records_of "$name"); done
    each send_common "${walkers[@]}"
    for name in "${walkers[@]}"; do known[$name]=$(records_of "$name"); done
    for name in "${walkers[@]}"; do await 30 wrote_more "$name"; done
}
promote() { # promote WALKER [OPTION…]
    task[$1]=$(us "$to" --no-wait -y replica promote "$@")
}

# Done at the promoting cluster; if it says that a retry is needed, an operator does that.
settles() { # settles WALKER
    local said
    wait_for_task "$to" "${task[$1]}"
    [ "$(state_of_task "$to" "${task[$1]}")" != succeeded ] || return 0
    said=$(error_of_task "$to" "${task[$1]}")
    echo "$1 at ${point[$1]}: $said"
    # shellcheck disable=SC2016 # it is quoted so
    [[ $said == *'`understudy task retry'* ]] || fail "$1 is not told what to do: $said"
    us "$to" task retry "${task[$1]}"
    settles "$1"
}
one_owns() {
    local name
    look "$from" && look "$to"
    for name in "${walkers[@]}"; do
        grep -qx "$name owned running" "$work/$to.roles" || return
        grep -qx "$name superseded stopped" "$work/$from.roles" || return
    done
}
branch_of() { # branch_of WALKER: the snapshot of what the former owner wrote alone
    us "$from" --format json vm snapshot list "$1" |
        jq -er '.snapshots[] | select(.holds | any(startswith("branch"))) | .name'
}
found_what_was_sent() { # found_what_was_sent WALKER
    local found
    found=$(grep -a '^VERIFY vdb' "$work/$1.console" | tail -n 1 | grep -o '[0-9]*$')
    [ "${found:--1}" -ge "${sent[$1]}" ] || fail "$1 has ${found:-no} records, not ${sent[$1]}"
    if grep -a ^BAD "$work/$1.console"; then fail "$1 found damage"; fi
}
go_home() { # go_home WALKER: the former owner has a replica of it, and lets go of its branch
    local branch
    branch=$(branch_of "$1") && us "$from" -y replica resolve "$1" --keep-there >"$work/$1.out" &&
        us "$from" -y vm snapshot remove "$1" "$branch" --let-go >"$work/$1.out"
}
have_replicas() {
    local name
    look "$from" && look "$to"
    for name in "${walkers[@]}"; do lives_on "$to" "$name" || return; done
}
settle() {
    local name before=$from
    for name in "${walkers[@]}"; do settles "$name"; done
    await 60 one_owns
    no_two_guests
    for name in "${walkers[@]}"; do await 60 branch_of "$name"; done
    await 60 idle prod
    await 60 idle dr
    await 60 all_write
    for name in "${walkers[@]}"; do found_what_was_sent "$name"; done
    no_two_guests
    each go_home "${walkers[@]}"
    await 30 have_replicas
    no_two_guests
    from=$to to=$before
}

# Gives each of the first walkers one of these points; the others are promoted undisturbed.
give_points() { # give_points POINT…
    local name
    first=() last=()
    for name in "${walkers[@]}"; do
        point[$name]=${1:-nowhere}
        shift $(($# > 0))
        if stands_in_the_way "${point[$name]}"; then last+=("$name"); else first+=("$name"); fi
        [ "${point[$name]}" = nowhere ] || halt_at "$name" "${point[$name]}"
    done
}
promote_all() { # promote_all [OPTION…]: and sets `both`, who halted
    local name
    both=()
    for name in "${first[@]}"; do promote "$name" "$@"; done
    for name in "${first[@]}" "${last[@]}"; do
        [ "${point[$name]}" = nowhere ] || both+=("$name")
    done
    for name in "${first[@]}"; do
        [ "${point[$name]}" = nowhere ] || await 120 has_halted "$name"
    done
    for name in "${last[@]}"; do promote "$name" "$@"; done
}
tell() { # tell VICTIM
    local name
    for name in "${both[@]}"; do echo "$name: $1 killed at ${point[$name]}, now on $from"; done
    walked=$((walked + ${#both[@]}))
    echo "$walked kills walked after $((SECONDS - began)) s"
}

# The owner lives, but its VMs are off, so that none can run twice while it has not heard yet. It is
# the owner that is killed, at its own points and at those of the promote.
walk_hearing() { # walk_hearing POINT…
    local victim=$from
    prepare
    each shut_down "${walkers[@]}"
    give_points "$@"
    promote_all --even-if-owner-answers
    kill_here "$victim" "${both[@]}"
    settle
    tell "$victim"
}

# The owner's site is lost with the VMs running, and the cluster that takes them over is killed. The
# owner comes back when they run there.
walk_lost() { # walk_lost POINT…
    local victim=$to
    prepare
    give_points "$@"
    burn_down "$from"
    promote_all
    kill_here "$victim" "${both[@]}"
    for name in "${walkers[@]}"; do settles "$name"; done
    await 60 all_write
    begin "$from" >/dev/null
    settle
    tell "$victim"
}

mapfile -t walkers < <(seq -f w%g "${2:-6}")
define_walkers "${walkers[@]}"
pair
for name in "${walkers[@]}"; do us prod vm start "$name" >/dev/null; done
await 60 all_write
watch_guests

# Once undisturbed: what points there are.
walked=0 began=$SECONDS first=() last=() both=()
prepare
each shut_down "${walkers[@]}"
begin_to_note
give_points
promote_all --even-if-owner-answers
settle
mapfile -t points < <(points_of w1 | grep -e '^promote' -e '^hear' -e '^keep_branch')
printf '%s\n' "${points[@]}"
[ "${#points[@]}" -ge 20 ] || fail "a promote has more points than that"

mapfile -t left < <(printf '%s\n' "${points[@]}" | grep ^promote)
while [ "${#left[@]}" -gt 0 ]; do
    walk_lost "${left[@]:0:${#walkers[@]}}"
    left=("${left[@]:${#walkers[@]}}")
done
# Each round has one point of hearing, which holds the others' up, as long as there are any.
mapfile -t hearing < <(printf '%s\n' "${points[@]}" | grep ^hear)
mapfile -t left < <(printf '%s\n' "${points[@]}" | grep -v ^hear)
while [ "${#left[@]}" -gt 0 ] || [ "${#hearing[@]}" -gt 0 ]; do
    some=$((${#walkers[@]} - (${#hearing[@]} > 0)))
    walk_hearing "${left[@]:0:some}" "${hearing[@]:0:1}"
    left=("${left[@]:some}") hearing=("${hearing[@]:1}")
done
echo "walk_promote: ok, $walked kills, each at a point of its own"
