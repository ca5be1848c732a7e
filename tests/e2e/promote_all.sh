#!/usr/bin/env bash
# A site burns down, and the other one takes over all that it had, in one command: what is ready
# runs, what is not is named and stays a replica.
#   promote_all.sh BUILD_DIR     BUILD_DIR has understudyd and understudy. Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
# shellcheck source=tests/e2e/walking.sh
. "$(dirname "${BASH_SOURCE[0]}")/walking.sh"

send_first() { # send_first VM
    us prod vm snapshot create "$1" first >"$work/$1.out" &&
        us prod vm snapshot send "$1" first --to dr >"$work/$1.out" 2>&1
}
says() { grep -Eq -- "$1" "$work/said" || fail "not said: $1: $(cat "$work/said")"; }
runs_at_dr() { us dr --format json vm info "$1" | jq -e '.vm.state == "running"'; }

echo "--- four VMs, one of them with a network that dr does not have"
walkers=(db1 db2 lone)
define_walkers "${walkers[@]}"
virsh_of prod dumpxml --inactive lone >"$work/lone.xml"
sed -i "s|</devices>|<interface type='network'><source network='us-nowhere'/></interface>&|" \
    "$work/lone.xml"
virsh_of prod define "$work/lone.xml" >/dev/null
define_guest web1
pair
for name in db1 db2 web1; do us prod vm start "$name"; done
await 60 guest_says 'wrote vdb' "$work/prod/console"
walkers=(db1 db2)
await 60 all_write
each send_first db1 db2 lone web1

echo "--- nothing of it while the owner answers"
code=0
us dr -y replica promote db1 db2 >"$work/said" 2>&1 || code=$?
[ "$code" -eq 3 ] || fail "exit code $code: $(cat "$work/said")"
says '^db1 +not promoted|^db1 +FAILED'
for word in 'replica promote' 'replica promote --all db1' 'replica promote db1 --peer prod' \
    'replica promote db1 db2 --snapshot first' 'replica promote db1 --wait agent'; do
    code=0
    # shellcheck disable=SC2086 # these are words
    us dr -y $word >"$work/said" 2>&1 || code=$?
    [ "$code" -eq 2 ] || fail "$word: exit code $code: $(cat "$work/said")"
done

echo "--- prod burns down"
burn_down prod
us dr replica promote --all --peer prod --dry-run >"$work/said"
cat "$work/said"
says '^db1 +first .* crash +prod .* yes$'
says '^lone +first .* NO$'
says 'blocks +network:us-nowhere'
says '^web1 +first .* yes$'
code=0
us dr -y replica promote --all --peer prod --check --wait none --timeout 3s >"$work/said" \
    2>"$work/errors" || code=$?
cat "$work/said" "$work/errors"
[ "$code" -eq 1 ] || fail "exit code $code"
says '^db1 +runs here +2 '
says '^db2 +runs here +2 '
says '^lone +not promoted +- '
says 'lone: not ready: network:us-nowhere'
grep -q '1 of 4 were not promoted as wished: lone' "$work/errors" || fail "no conclusion"
for name in db1 db2 web1; do runs_at_dr "$name" >/dev/null || fail "$name does not run"; done
await 60 all_write
for name in db1 db2; do
    grep -aq BAD "$work/$name.console" && fail "$name found damage"
    await 30 guest_says 'VERIFY moment ok' "$work/$name.console"
done
us dr --format json replica list | jq -e '[.replicas[] | select(.ownership.phase == "replica") |
    .name] == ["lone"]' >/dev/null || fail "$(us dr replica list)"

echo "--- and lone, when its operator says so"
us dr -y replica promote lone --no-start --accept network:us-nowhere

echo "promote_all: ok"
