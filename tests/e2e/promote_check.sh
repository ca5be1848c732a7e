#!/usr/bin/env bash
# A promote that looks whether its guest comes up: of one that does not boot it says so, leaves it
# running, keeps evidence, and what it advises brings up the older point. A daemon that is
# killed meanwhile looks again, and starts nothing twice.
#   promote_check.sh BUILD_DIR     BUILD_DIR has understudyd and understudy. Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
# shellcheck source=tests/e2e/broken.sh
. "$(dirname "${BASH_SOURCE[0]}")/broken.sh"

define_guest web1
pair
us prod vm start web1
await 60 guest_says 'wrote vdb' "$work/prod/console"
written=$(records)
us prod vm snapshot create web1 good
us prod vm snapshot send web1 good --to dr
us prod -y vm stop web1
send_broken
burn_down prod

echo "--- it does not boot"
: >"$work/prod/console"
task=$(us dr -y --no-wait replica promote web1 --check --wait agent --timeout 15s)
await 60 guest_says HALTED "$work/prod/console"
guest_pid=$(cat "$work"/dr/root/run/qemu/web1.pid)
crash dr
begin dr
code=0
us dr task watch "$task" >"$work/said" 2>&1 || code=$?
cat "$work/said"
[ "$code" -eq 1 ] || fail "exit code $code"
grep -q 'owned and was started here, but did not come up' "$work/said" || fail "it does not say so"
grep -q "'good'" "$work/said" || fail "it names no older point"
evidence=$(grep -o 'evidence in [^ ]*' "$work/said" | cut -d ' ' -f 3)
jq -e '.passed | not' "$evidence/result.json" >/dev/null || fail "$(cat "$evidence/result.json")"
[ "$(cat "$work"/dr/root/run/qemu/web1.pid)" = "$guest_pid" ] || fail "it was started twice"
us dr vm list

echo "--- the older point, as advised"
: >"$work/prod/console"
us dr -y vm stop web1
us dr -y vm snapshot rollback web1 good
us dr vm start web1
await 60 guest_says 'wrote vdb' "$work/prod/console"
found_records "$written"
echo "promote_check: ok"
