#!/usr/bin/env bash
# Full disks. At the target in the middle of a send: the task says what is needed and what is free,
# nothing half is listed, and after room was made a retry goes on from there. At the source when a
# snapshot is taken: it is refused and the VM is as it was; when the guest's disks grow: it waits.
#   full.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"

small_disk() { # small_disk CLUSTER SIZE: its pool is on a file system of that size
    mkdir -p "$work/$1/small"
    mount -t tmpfs -o "size=$2" understudy-test "$work/$1/small"
    mounts+=("$work/$1/small")
    pool_path[$1]=$work/$1/small/pool
}
task_now() { us prod --format json task info "$task" | jq -r "$1"; }
over() { task_now .task.state | tells -E 'succeeded|failed|cancelled'; }
fill_up() { # fill_up CLUSTER: and keeps nothing free
    dd if=/dev/zero of="$work/$1/small/ballast" bs=1M 2>/dev/null || true
    dd if=/dev/zero of="$work/$1/small/ballast2" bs=4096 2>/dev/null || true
}
make_room() { rm -f "$work/$1/small/ballast" "$work/$1/small/ballast2"; }
sources() { us prod --format json vm info web1 | jq -r '.vm.disks[].source' | sort; }
paused() { us prod --format json vm info web1 | jq -e '.vm.state == "paused"'; }
layers() { find "$work/prod/small/pool" -type f -name '*.qcow2' | sort; }

define_guest web1 "us.mode=fill,write us.fill=16:40 us.pause=0.2" --talk "$work/prod/talk"
small_disk prod 64M
small_disk dr 160M
head -c 96M /dev/zero >"$work/dr/small/ballast"
pair
us prod vm start web1
await 60 more_than 3

us prod vm snapshot create web1 one
task=$(us prod --no-wait vm snapshot send web1 one --to dr)
await 60 over
[ "$(task_now .task.state)" = failed ] || fail "a full target: $(task_now .task)"
[ "$(task_now .task.error_kind)" = no_space ] || fail "a full target: $(task_now .task)"
us prod task info "$task"
for words in 'No space left' 'more needed there' 'free in' "task retry"; do
    grep -q "$words" <<<"$(task_now .task.error)" ||
        fail "'$words' is not in: $(task_now .task.error)"
done
us dr --format json replica list | jq -e '.replicas == []' >/dev/null || fail "half is listed"
await 30 more_than "$(records)"
make_room dr
us prod task retry "$task"
await 60 over
[ "$(task_now .task.state)" = succeeded ] || fail "after room was made: $(task_now .task)"
log_says "$task" 'going on at disk' || fail "the retry began from zero"
same_bytes one

guest stop
fill_up prod
before=$(sources) files=$(layers)
code=0
us prod vm snapshot create web1 two >"$work/refusal" 2>&1 || code=$?
cat "$work/refusal"
[ "$code" = 1 ] || fail "exit code $code for a full pool"
grep -q 'free in' "$work/refusal" || fail "what is free is not said"
[ "$(sources)" = "$before" ] || fail "the VM is on other files now: $(sources)"
[ "$(layers)" = "$files" ] || fail "left behind: $(layers)"
# Its disks cannot grow either: QEMU holds the guest until there is room, and nothing is lost.
guest write
await 30 paused
make_room prod
end prod
virsh_of prod resume web1
begin prod
await 30 more_than "$(records)"
us prod vm snapshot create web1 two
us prod vm snapshot send web1 two --to dr
same_bytes two
echo "full: ok"
