#!/usr/bin/env bash
# Drills of a replica with real guests. A copy boots and verifies its disks while increments arrive;
# one that does not boot gives a failed drill with its screenshot and the end of its console; a
# daemon killed in the middle of one cleans up and begins anew. Nothing is ever left of a copy.
#   drill.sh BUILD_DIR [qcow2|rbd]    BUILD_DIR has understudyd and understudy. Needs root.
set -euo pipefail
bin=$(realpath "$1")
storage=${2:-qcow2}
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
# shellcheck source=tests/e2e/broken.sh
. "$(dirname "${BASH_SOURCE[0]}")/broken.sh"

records_of_volumes() { # what dr's pool itself says of its volumes, one JSON a line
    local volume
    if [ "$storage" = qcow2 ]; then
        cat "$work"/dr/pool/*/volume.json
        return
    fi
    for volume in $(in_ceph listomapkeys understudy.volumes | grep '^volume/'); do
        in_ceph getomapval understudy.volumes "$volume" "$work/record" >/dev/null 2>&1
        cat "$work/record"
    done
}
in_ceph() { rados -c "${ceph_conf[dr]}" -p "${ceph_pool[dr]}" "$@"; }

named() { # the files or images that those name
    if [ "$storage" = qcow2 ]; then
        jq -r '.layers[].file' <<<"$(records_of_volumes)"
    else
        jq -r '.images[].name' <<<"$(records_of_volumes)"
    fi
}
stored() { # those that there are
    if [ "$storage" = qcow2 ]; then
        find "$work/dr/pool" -name '*.qcow2' -printf '%f\n' -o -name '*.raw' -printf '%f\n'
    else
        rbd_of dr ls vms
        rbd_of dr trash ls vms
    fi
}

copies() { # QEMU processes of drills
    local file
    for file in /proc/[0-9]*/cmdline; do
        (tr "\0" " " <"$file") 2>/dev/null | grep -a "guest=web1-drill-" | grep -a "$work" || true
    done
}
copy_runs() { [ -n "$(copies)" ]; }
copy_said() { grep -aq "$1" "$work"/dr/state/drills/consoles/*; }

nothing_left() { # nothing_left WHEN
    copy_runs && fail "$1: a copy still runs: $(copies)"
    grep -rl -- -drill- "$work/dr/root/etc/qemu" && fail "$1: a copy is still defined"
    records_of_volumes | tells '"drill"' && fail "$1: a copy's disk is still there"
    [ "$(named | sort)" = "$(stored | sort)" ] ||
        fail "$1: in the records: $(named | sort), in the pool: $(stored | sort)"
    us dr --format json vm snapshot list web1 | jq -e '[.snapshots[].holds[] |
        select(startswith("drill"))] == []' >/dev/null || fail "$1: a snapshot is still held"
    [ -z "$(ls -A "$work/dr/state/drills/consoles")" ] || fail "$1: a console is still there"
    [ -z "$(ls -A "$work/dr/state/nvram" 2>/dev/null)" ] || fail "$1: UEFI variables are left"
    us dr --format json vm list | jq -e '.vms == []' >/dev/null || fail "$1: a copy is listed"
    echo "$1: nothing is left"
}

is_png() { # is_png FILE: with a picture in it
    python3 - "$1" <<'P'
import struct, sys, zlib
data = open(sys.argv[1], "rb").read()
assert data[:8] == b"\x89PNG\r\n\x1a\n"
at, pixels = 8, b""
while at < len(data):
    length, kind = struct.unpack(">I4s", data[at:at + 8])
    body = data[at + 8:at + 8 + length]
    assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0]
    if kind == b"IHDR":
        width, height = struct.unpack(">II", body[:8])
    if kind == b"IDAT":
        pixels += body
    at += 12 + length
assert len(zlib.decompress(pixels)) >= width * height, "no pixels"
print(f"screenshot: {width} x {height}")
P
}

drilled() { # drilled FILTER: what `replica info` says of the last one
    us dr --format json replica info web1 >"$work/info"
    jq -e ".replica.drilled | $1" "$work/info" >/dev/null ||
        fail "not $1: $(jq .replica.drilled "$work/info")"
    evidence=$(jq -r .replica.drilled.evidence "$work/info")
    is_png "$evidence/screen.png" || fail "no screenshot in $evidence"
    jq -e --argjson is "$(jq .replica.drilled.passed "$work/info")" '.passed == $is' \
        "$evidence/result.json" >/dev/null || fail "$(cat "$evidence/result.json")"
}

send_on() { # increments, one after the other, until $work/enough is there
    local n=0
    while [ ! -e "$work/enough" ]; do
        n=$((n + 1))
        us prod vm snapshot create web1 "inc$n" >/dev/null &&
            us prod vm snapshot send web1 "inc$n" --to dr >/dev/null || return 1
        echo "$n" >"$work/increments"
    done
}
increments() { cat "$work/increments" 2>/dev/null || echo 0; }
more_increments_than() { [ "$(increments)" -gt "$1" ]; }

[ "$storage" = qcow2 ] || with_ceph dr
define_guest web1
pair
us prod vm start web1
await 120 guest_says 'wrote vdb 5' "$work/prod/console"
us prod vm snapshot create web1 first
us prod vm snapshot send web1 first --to dr
us dr replica list | tells unknown || fail "an RTO without a drill: $(us dr replica list)"

echo "--- while increments arrive"
send_on &
sender=$!
await 60 more_increments_than 0
before=$(increments)
us dr replica drill web1 --wait 'console=VERIFY moment ok' --timeout 2m ||
    fail "the drill failed"
during=$(($(increments) - before))
await 60 more_increments_than "$((before + during))"
touch "$work/enough"
wait "$sender" || fail "a send failed"
[ "$during" -gt 0 ] || fail "no increment arrived during the drill"
echo "$during increments arrived meanwhile"
same_bytes first
same_bytes "inc$(increments)"
drilled '.passed and .boot_ms > 0 and .ready_ms >= .boot_ms'
drilled '.snapshot_name | startswith("inc")'
grep -aq 'VERIFY vda ok' "$evidence/console.txt" || fail "no console in $evidence"
us dr replica list
us dr replica info web1
nothing_left "after a drill"

echo "--- one that does not boot"
send_broken
code=0
us dr replica drill web1 --wait console=READY --timeout 20s >"$work/said" || code=$?
[ "$code" -eq 1 ] || fail "exit code $code: $(cat "$work/said")"
cat "$work/said"
drilled '(.passed | not) and .snapshot_name == "broken" and .boot_ms == 0'
grep -aq HALTED "$evidence/console.txt" || fail "no end of the console: $(ls -l "$evidence")"
us dr event list | tells 'drill web1@broken: FAILED' || fail "no event: $(us dr event list)"
us dr replica list | tells 'FAILED' || fail "not listed: $(us dr replica list)"
us dr --format json task list --all | jq -e '[.tasks[] | select(.kind == "replica_drill") |
    .state] | all(. == "succeeded")' >/dev/null || fail "a drill as such has failed"
nothing_left "after a failed drill"
us dr replica drill --all --peer prod --wait console=HALTED --timeout 1m
[ -z "$(us dr replica drill --all --peer other 2>/dev/null)" ] || fail "a drill of another's"

echo "--- the daemon is killed while the copy runs"
task=$(us dr --no-wait replica drill web1@first --wait 'console=VERIFY moment' --timeout 2m)
await 60 copy_runs
crash dr
copy_runs || fail "the copy ended with the daemon"
begin dr
us dr task watch "$task" >/dev/null || fail "the drill did not go on: $(us dr task log "$task")"
drilled '.passed and .snapshot_name == "first"'
nothing_left "after kill -9"

task=$(us dr --no-wait replica drill web1 --snapshot first --wait console=NEVER)
await 60 copy_runs
await 60 copy_said READY
us dr replica drill web1 >"$work/second" 2>&1 && fail "two drills of one VM at once"
crash dr
begin dr
us dr task cancel "$task" >/dev/null
cancelled() { us dr --format json task info "$task" | jq -e '.task.state == "cancelled"'; }
await 60 cancelled
nothing_left "after kill -9 and a cancel"
drilled '.passed' # the cancelled one found nothing out

echo "--- the replica is removed while a copy runs"
us dr --no-wait replica drill web1 --snapshot first --wait console=NEVER >/dev/null
await 60 copy_runs
us dr -y replica remove web1
copy_runs && fail "a copy still runs"
[ -z "$(stored)" ] || fail "left in the pool: $(stored)"
find "$work/dr/state/drills" -type f | grep . && fail "evidence of a replica that is gone"
echo "drill on $storage: ok"
