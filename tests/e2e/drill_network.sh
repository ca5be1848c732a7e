#!/usr/bin/env bash
# A drill on an isolated network: the copy answers there, at the address that the VM itself has and
# answers at meanwhile. Of a copy that does not boot the VM's own answer is not taken for one. In
# networks that lead anywhere, or are the VM's own, no copy is ever started.
#   drill_network.sh BUILD_DIR     Needs root; makes two bridges that no card is plugged into.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
# shellcheck source=tests/e2e/broken.sh
. "$(dirname "${BASH_SOURCE[0]}")/broken.sh"
lan=uslan$((first_port % 100000)) cellar=uscel$((first_port % 100000))
leave() {
    finish
    ip link del "$lan" 2>/dev/null || true
    ip link del "$cellar" 2>/dev/null || true
}
trap leave EXIT

ports_of() { ls "/sys/class/net/$1/brif"; }
vm_answers() { (exec 3<>/dev/tcp/198.51.100.9/8080) 2>/dev/null; }
copy_runs() { grep -al "guest=web1-[d]rill-" /proc/[0-9]*/cmdline 2>/dev/null | tells .; }

ip link add "$lan" type bridge
ip link add "$cellar" type bridge
ip address add 198.51.100.1/24 dev "$lan"
ip link set "$lan" up
ip link set "$cellar" up
define_guest web1 'us.mode=idle us.net=198.51.100.9' --network "$lan"
pair
us prod vm start web1
await 120 vm_answers
us prod vm snapshot create web1 first
us prod vm snapshot send web1 first --to dr

echo "--- it answers on a network of its own"
ip address add 198.51.100.2/24 dev "$cellar"
us dr replica drill web1 --network "$cellar" --wait tcp=198.51.100.9:8080 --timeout 2m
us dr --format json replica info web1 | jq -e '.replica.drilled.passed' >/dev/null
vm_answers || fail "the VM itself was disturbed"
[ "$(ports_of "$lan" | wc -l)" -eq 1 ] || fail "plugged into $lan: $(ports_of "$lan")"
[ -z "$(ports_of "$cellar")" ] || fail "left in $cellar: $(ports_of "$cellar")"

echo "--- the VM's own answer is none"
send_broken
code=0
us dr replica drill web1 --network "$cellar" --wait tcp=198.51.100.9:8080 --timeout 10s || code=$?
[ "$code" -eq 1 ] || fail "a copy that hangs has passed"
vm_answers || fail "the VM does not answer: nothing was proven"

echo "--- where no copy goes"
refused us dr replica drill web1 --network "$lan"
ip link add "$cellar.v" type veth peer name "$cellar.w"
ip link set "$cellar.v" master "$cellar"
refused us dr replica drill web1 --network "$cellar"
grep -q "$cellar.v is plugged into it" "$work/refusal" || fail "$(cat "$work/refusal")"
ip link del "$cellar.v"
us dr replica drill web1 --network "$cellar.none" && fail "a network that is not there"
us dr --format json replica info web1 | jq -e '.replica.drilled.snapshot_name == "broken"' \
    >/dev/null || fail "what was refused has become a finding"
copy_runs && fail "a copy still runs"
us dr replica drill web1@first --wait none --timeout 5s
[ "$(ports_of "$lan" | wc -l)" -eq 1 ] || fail "plugged into $lan: $(ports_of "$lan")"
echo "drill_network: ok"
