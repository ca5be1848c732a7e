#!/usr/bin/env bash
# The life of a VM that is off: snapshots, sends, removal (layers merged offline, the definition
# follows), rollback, release; then it starts on its own files with every byte right. Two sends of
# one VM at once: one waits for the other.
#   stopped.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"

sources() { us prod --format json vm info web1 | jq -r '.vm.disks[].source' | sort; }
state() { us prod --format json vm info web1 | jq -r .vm.state; }
is_off() { [ "$(state)" = stopped ]; }
boots() { # boots LAST: it finds its records 0..LAST, then writes on and is switched off
    : >"$work/prod/console"
    us prod vm start web1
    await 60 guest_says 'DONE verify' "$work/prod/console"
    ! grep -aq BAD "$work/prod/console" || fail "the guest found damage"
    [ "$1" = none ] || guest_says "VERIFY vdb ok 0..$1" "$work/prod/console" ||
        fail "not 0..$1: $(grep -a VERIFY "$work/prod/console")"
    guest us.count=3 write
    await 60 guest_says 'DONE write' "$work/prod/console"
    us prod vm shutdown web1
    await 30 is_off
}
task_state() { us prod --format json task info "$1" | jq -r .task.state; }
over() { case $(task_state "$1") in succeeded | failed | cancelled) ;; *) return 1 ;; esac }

define_guest web1 us.mode=idle --talk "$work/prod/talk"
before=$(echo "$work/prod/vda.qcow2" "$work/prod/vdb.raw" | tr ' ' '\n')
pair
us prod vm start web1
await 60 guest_says READY "$work/prod/console"
guest us.fill=8:24 us.count=3 fill write
await 60 guest_says 'DONE write' "$work/prod/console"
us prod vm shutdown web1
await 30 is_off
sed -i 's/us\.mode=idle/us.mode=verify/' "$work/guest.xml"
end prod
virsh_of prod define "$work/guest.xml" >/dev/null
begin prod

us prod vm snapshot create web1 one
[ "$(state)" = stopped ] || fail "a snapshot started the VM"
us prod vm snapshot send web1 one --to dr
same_bytes one
boots 2
us prod vm snapshot create web1 two
us prod vm snapshot create web1 three # nothing between: empty layers are layers too

# Both at once: the second begins when the first has ended, and both are whole.
first=$(us prod --no-wait vm snapshot send web1 two --to dr --full --limit 24MiB)
second=$(us prod --no-wait vm snapshot send web1 three --to dr)
[ "$(task_state "$second")" = queued ] || fail "the second send is $(task_state "$second")"
await 60 over "$first"
await 60 over "$second"
for task in "$first" "$second"; do
    [ "$(task_state "$task")" = succeeded ] || fail "$(us prod task log "$task")"
done
same_bytes two
same_bytes three
us dr --format json replica list | jq -e '.replicas[0].snapshots == 3' >/dev/null ||
    fail "$(us dr replica list)"

# Removed from below and from above; the VM starts on what is left.
us prod -y vm snapshot remove web1 one two
boots 5
us prod vm snapshot create web1 four
us prod vm snapshot send web1 four --to dr
same_bytes four
boots 8
us prod -y vm snapshot rollback web1 four
boots 8

us prod -y vm release web1
[ "$(sources)" = "$before" ] || fail "after the release the disks are $(sources)"
[ -z "$(find "$work/prod/pool" -name '*.qcow2')" ] || fail "the release left layers"
boots 11
boots 14
echo "stopped: ok"
