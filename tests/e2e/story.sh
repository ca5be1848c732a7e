#!/usr/bin/env bash
# The main job on real guests, as a test: two clusters on loopback, a guest with a qcow2 and a raw
# disk, snapshot, full send, writes, incremental send, the first cluster killed, promote, and every
# record up to the snapshot read back by the promoted guest itself.
#   story.sh BUILD_DIR     BUILD_DIR has understudyd and understudy. Needs root.
set -euo pipefail
bin=$(realpath "$1")
lab=$(cd "$(dirname "${BASH_SOURCE[0]}")/../lab" && pwd)
work=$(mktemp -d /tmp/us-e2e.XXXXXX)
declare -A daemon=()

fail() {
    echo "FAILED: $*" >&2
    tail -n 15 "$work"/*/log "$work"/*/console >&2 2>/dev/null || true
    exit 1
}

finish() {
    local pid file
    for pid in "${daemon[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    for file in "$work"/*/root/run/qemu/*.pid; do
        if [ -e "$file" ]; then kill -KILL "$(cat "$file")" 2>/dev/null || true; fi
    done
    [ -n "${US_KEEP:-}" ] || rm -rf "$work"
}
trap finish EXIT

await() { # await SECONDS COMMAND…: until it succeeds
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || fail "waited in vain for: $*"
        read -rt 0.1 <> <(:) || true # a short pause without a process
    done
}

us() { # us CLUSTER WORDS…: what an operator of that cluster types
    local cluster=$1
    shift
    "$bin/understudy" --socket "$work/$cluster/sock" "$@"
}

begin() { # begin CLUSTER PORT
    local dir=$work/$1
    mkdir -p "$dir"
    [ -e "$dir/root" ] || "$lab/libvirt-embed.sh" "$dir/root" >/dev/null
    cat >"$dir/understudyd.toml" <<C
state_dir = "$dir/state"
socket = "$dir/sock"
node = "$1-node"
listen_peers = "127.0.0.1:$2"
advertise = "127.0.0.1:$2"
hypervisor = "qemu:///embed?root=$dir/root"
contact_every = "2s"
[pools.vms]
driver = "qcow2"
path = "$dir/pool"
C
    "$bin/understudyd" -c "$dir/understudyd.toml" >>"$dir/log" 2>&1 &
    daemon[$1]=$!
    await 60 us "$1" cluster status
}

guest_says() { grep -q "$1" "$2"; }

# The file that holds a snapshot of a disk, by the pool's own record.
layer_of() { # layer_of CLUSTER VOLUME SNAPSHOT
    local dir=$work/$1/pool/$2 file
    file=$(jq -er --arg id "$3" '.layers[] | select(.snapshot == $id) | .file' "$dir/volume.json")
    case $file in /*) echo "$file" ;; *) echo "$dir/$file" ;; esac
}

# Every disk of one snapshot is the same on both clusters, byte for byte.
same_bytes() { # same_bytes SNAPSHOT_NAME
    local info snapshot volume target here there format
    info=$(us prod --format json vm snapshot info web1 "$1")
    snapshot=$(jq -r .snapshot.id <<<"$info")
    while read -r volume target; do
        here=$(layer_of prod "$volume" "$snapshot")
        there=$(layer_of dr "$volume" "$snapshot")
        case $here in *.raw) format=raw ;; *) format=qcow2 ;; esac
        qemu-img compare -U -f "$format" -F qcow2 "$here" "$there" >/dev/null ||
            fail "$target of $1 differs: $here $there"
    done < <(jq -r '.snapshot.disks[] | "\(.volume) \(.target)"' <<<"$info")
}

refused() { # refused WORDS…: exit code 3
    local code=0
    "$@" >"$work/refusal" 2>&1 || code=$?
    [ "$code" -eq 3 ] || fail "exit code $code, not 3: $*: $(cat "$work/refusal")"
}

image=$("$lab/guest-image.sh")
for cluster in prod dr; do mkdir -p "$work/$cluster"; "$lab/libvirt-embed.sh" "$work/$cluster/root" >/dev/null; done
qemu-img create -q -f qcow2 "$work/prod/vda.qcow2" 256M
truncate -s 128M "$work/prod/vdb.raw"
"$lab/domain-xml.sh" --name web1 --image "$image" --disk "$work/prod/vda.qcow2:qcow2:vda" \
    --disk "$work/prod/vdb.raw:raw:vdb" --serial "$work/prod/console" \
    --cmdline "us.mode=verify,write us.pause=0.1" >"$work/web1.xml"
virsh -q -c "qemu:///embed?root=$work/prod/root" define "$work/web1.xml"

begin prod 17373
begin dr 17374
us prod cluster init prod
us dr cluster init dr
us dr peer invite >"$work/invitation"
token=$(grep -o 'understudy1\.[A-Za-z0-9_.-]*' "$work/invitation" | head -n 1)
us prod peer join - <<<"$token"
us prod vm start web1
await 120 guest_says 'wrote vdb 5' "$work/prod/console"
us prod vm snapshot create web1 first
us prod vm snapshot send web1 first --to dr
same_bytes first
await 60 guest_says 'wrote vdb [3-9][0-9]' "$work/prod/console"
us prod vm snapshot create web1 second
us prod vm snapshot send web1 second --to dr
same_bytes second
us dr replica list
last=$(grep -a 'wrote vdb' "$work/prod/console" | tail -n 1 | grep -ao '[0-9]*')
refused us dr vm start web1
grep -q 'replica promote' "$work/refusal" || fail "the refusal does not say how to promote"
us prod --format json vm snapshot send web1 second --to dr --dry-run | jq -e '.plan.kind == "nothing"' >/dev/null
refused us dr -y replica promote web1

# The first site burns down.
kill -KILL "${daemon[prod]}"
kill -KILL "$(cat "$work/prod/root/run/qemu/web1.pid")"
unset "daemon[prod]"
cp "$work/prod/console" "$work/prod/console.before"
: >"$work/prod/console"
us dr -y replica promote web1
await 120 guest_says 'VERIFY vdb' "$work/prod/console"
grep -aq BAD "$work/prod/console" && fail "the promoted guest found damage"
for disk in vda vdb; do
    found=$(grep -ao "VERIFY $disk ok 0..[0-9]*" "$work/prod/console" | grep -o '[0-9]*$')
    echo "$disk: records 0..$found in the promoted guest"
    [ "${found:--1}" -ge 29 ] || fail "$disk ends at record $found, $last were written before"
done

# It comes back, hears of the higher epoch, and must not run the VM.
begin prod 17373
superseded() { us prod --format json vm list | jq -e '.vms[] | select(.name == "web1") | .ownership.phase == "superseded"'; }
await 60 superseded
refused us prod vm start web1
echo "story: ok"
