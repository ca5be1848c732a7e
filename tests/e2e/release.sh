#!/usr/bin/env bash
# Snapshots of a running guest are removed, the VM is rolled back, and Understudy is taken out of it
# again: the guest runs on, in the end on the very files it had, with every record it wrote.
#   release.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"

goes_on() { await 60 more_than "$(($(records) + 3))"; }
sources() { us prod --format json vm info web1 | jq -r '.vm.disks[].source' | sort; }

define_guest web1
pair
before=$(sources)
us prod vm start web1
await 120 more_than 3
for name in one two three four; do
    us prod vm snapshot create web1 "$name"
    goes_on
done
us prod vm snapshot send web1 three --to dr
refused us prod -y vm snapshot remove web1 three
grep -q 'base for peer dr' "$work/refusal" || fail "the refusal does not say what holds it"
us prod -y vm snapshot remove web1 one two
goes_on
us prod vm snapshot list web1
us prod vm snapshot create web1 five
us prod vm snapshot send web1 five --to dr
same_bytes five
us prod -y vm release web1
goes_on
[ "$(sources)" = "$before" ] || fail "after the release the disks are $(sources)"
us prod -y vm stop web1
: >"$work/prod/console"
us prod vm start web1
await 120 guest_says 'VERIFY vdb' "$work/prod/console"
grep -aq BAD "$work/prod/console" && fail "the guest found damage after the release"
us prod vm snapshot create web1 again
us prod -y vm stop web1
us prod -y vm snapshot rollback web1 again
us dr -y replica remove web1
us dr --format json replica list | jq -e '.replicas == []' >/dev/null
[ -z "$(find "$work/dr/pool" -name '*.qcow2')" ] || fail "the removed replica left files"
echo "release: ok"
