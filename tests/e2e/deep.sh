#!/usr/bin/env bash
# A VM with a hundred snapshots, of which each was sent: libvirt nests a layer for each of them in
# its XML. It can be looked at, snapshotted and pruned, its replica drilled and promoted; the
# promoted VM is managed as any other, removed snapshots under the running guest and with the VM
# off, and released.
#   deep.sh BUILD_DIR [SNAPSHOTS]     Needs root.
set -euo pipefail
bin=$(realpath "$1")
snapshots=${2:-100}
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
# shellcheck source=tests/e2e/quick.sh
. "$(dirname "${BASH_SOURCE[0]}")/quick.sh"

count_of() { us "$1" --format json vm snapshot list web1 | jq '.snapshots | length'; }
layers_of() { # layers_of CLUSTER: how many files lie under vda, itself included
    local head
    head=$(us "$1" --format json vm info web1 |
        jq -r '.vm.disks[] | select(.target == "vda") | .source')
    qemu-img info -U --backing-chain --output=json "$head" | jq length
}
goes_on() { # goes_on: the guest writes
    await 60 has_written web1 $(($(records_of web1) + 1))
    nothing_lost web1
}

define_quick 16M 8M web1
pair
us prod vm start web1
goes_on
for number in $(seq "$snapshots"); do
    us prod vm snapshot create web1 "s$number" >/dev/null 2>"$work/said" ||
        fail "$(cat "$work/said")"
    us prod vm snapshot send web1 "s$number" --to dr >/dev/null 2>"$work/said" ||
        fail "$(cat "$work/said")"
done
[ "$(count_of prod)" -eq "$snapshots" ] || fail "prod lists $(count_of prod) snapshots"
[ "$(layers_of prod)" -eq $((snapshots + 1)) ] || fail "prod has $(layers_of prod) layers"
echo "$snapshots snapshots were taken and sent"
same_bytes "s$snapshots"
us prod -y vm snapshot remove web1 s1 s2 "s$((snapshots / 2))"
goes_on
us prod vm info web1 >/dev/null
us prod vm move web1 dr --dry-run >/dev/null
echo "three of them were removed under the guest"

us dr replica drill web1 --wait console=READY --timeout 60s
written=$(records_of web1)
us prod vm snapshot create web1 last >/dev/null
us prod vm snapshot send web1 last --to dr >/dev/null
burn_down prod
: >"$work/web1.console"
us dr -y replica promote web1
goes_on
found=$(grep -ao 'VERIFY vdb ok 0\.\.[0-9]*' "$work/web1.console" | grep -o '[0-9]*$' || echo -1)
[ "$found" -ge "$written" ] || fail "record $written was sent, the promoted VM ends at $found"
[ "$(layers_of dr)" -eq $((snapshots + 2)) ] || fail "dr has $(layers_of dr) layers"
us dr vm snapshot create web1 promoted >/dev/null
us dr -y vm snapshot remove web1 s1 s3 "s$snapshots"
goes_on
us dr -y vm stop web1
us dr -y vm snapshot remove web1 s4 s5
us dr vm start web1
goes_on
echo "promoted, it was pruned while it ran and while it was off"
us dr -y vm release web1
[ "$(layers_of dr)" -eq 1 ] || fail "after the release $(layers_of dr) layers are left"
goes_on
echo "deep: ok, $snapshots snapshots"
