# Two clusters on loopback with real guests, for the tests of this folder to source. Sets work (a
# directory that is removed at the end, unless US_KEEP is set), and ends what it started.
# shellcheck shell=bash
# Expects: bin (where understudyd and understudy are). Gives: us, begin, define_guest, pair, …
bin=${bin:?where understudyd and understudy are}
lab=$(cd "$(dirname "${BASH_SOURCE[0]}")/../lab" && pwd)
work=$(mktemp -d /tmp/us-e2e.XXXXXX)
declare -A daemon=()
helpers=() # pids of what else was started
mounts=()  # what is mounted below work
first_port=${US_PORT:-17373} # two runs side by side need different ones, ten apart
declare -A port=([prod]=$first_port [dr]=$((first_port + 1)) [third]=$((first_port + 2)))
declare -A reached_at=() # the port that a cluster gives out as its own: a link's in front of it
declare -A pool_path=() pool_options=()

fail() {
    echo "FAILED: $*" >&2
    tail -n 15 "$work"/*/log "$work"/*/console >&2 2>/dev/null || true
    exit 1
}

finish() {
    local pid file
    for pid in "${daemon[@]}" "${helpers[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true # so that the shell has nothing to report
    done
    for file in "$work"/*/root/run/qemu/*.pid; do
        if [ -e "$file" ]; then kill -KILL "$(cat "$file")" 2>/dev/null || true; fi
    done
    for file in "${mounts[@]}"; do umount -l "$file"; done
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

begin() { # begin CLUSTER: its daemon, on port ${port[CLUSTER]}
    local dir=$work/$1
    mkdir -p "$dir"
    [ -e "$dir/root" ] || "$lab/libvirt-embed.sh" "$dir/root" >/dev/null
    cat >"$dir/understudyd.toml" <<C
state_dir = "$dir/state"
socket = "$dir/sock"
node = "$1-node"
listen_peers = "127.0.0.1:${port[$1]}"
advertise = "127.0.0.1:${reached_at[$1]:-${port[$1]}}"
hypervisor = "qemu:///embed?root=$dir/root"
contact_every = "2s"
checkpoint_every = "200ms"
link_patience = "${link_patience:-60s}"
[pools.vms]
driver = "qcow2"
path = "${pool_path[$1]:-$dir/pool}"
${pool_options[$1]:-}
C
    "$bin/understudyd" -c "$dir/understudyd.toml" >>"$dir/log" 2>&1 &
    daemon[$1]=$!
    await 60 us "$1" cluster status
}

# Ends a daemon as systemd would and waits until it has: the guest runs on, and virsh may open the
# cluster's root meanwhile.
end() { # end CLUSTER
    kill -TERM "${daemon[$1]}"
    wait "${daemon[$1]}" || fail "understudyd of $1 ended with $?"
    unset "daemon[$1]"
}

crash() { # crash CLUSTER: kill -9 of its daemon
    kill -KILL "${daemon[$1]}"
    wait "${daemon[$1]}" 2>/dev/null || true
    unset "daemon[$1]"
}

link_to() { # link_to CLUSTER WORD: the link that with_link put in front of it (see lab/link)
    "$lab/link" "$work/$1.link" "$2"
}
with_link() { # with_link CLUSTER: its peers reach it over a link; before pairing
    reached_at[$1]=$((first_port + 5))
    "$lab/link" "$work/$1.link" "${reached_at[$1]}" "${port[$1]}" &
    helpers+=($!)
    await 10 link_to "$1" open
}

# What an operator of a host with libvirtd types beside the daemon.
virsh_of() { # virsh_of CLUSTER WORDS…
    local root=$work/$1/root
    shift
    virsh -q -c "qemu:///embed?root=$root" "$@" 2>"$work/virsh.log" ||
        fail "virsh $*: $(cat "$work/virsh.log")"
}

guest() { "$lab/guest-tell" "$work/prod/talk" "$@"; } # gives the guest work and waits for it

# How far the guest's writing got.
records() { grep -a 'wrote vdb' "$work/prod/console" | tail -n 1 | grep -ao '[0-9]*' || echo 0; }
more_than() { [ "$(records)" -gt "$1" ]; }
log_says() { grep -q "$2" <<<"$(us prod task log "$1")"; } # log_says TASK TEXT
guest_says() { grep -aq "$1" "$2"; }

# The guest of these tests: two disks, qcow2 and raw, defined on prod before its daemon starts (the
# embed driver is one process per root). Verifies its records at boot, then writes on.
define_guest() { # define_guest NAME [KERNEL_WORDS [OPTION_OF_DOMAIN_XML…]]
    local image cluster name=$1 dir=$work/prod words=${2:-us.mode=verify,write us.pause=0.1}
    shift $(($# > 2 ? 2 : $#))
    image=$("$lab/guest-image.sh")
    for cluster in prod dr; do
        mkdir -p "$work/$cluster"
        "$lab/libvirt-embed.sh" "$work/$cluster/root" >/dev/null
    done
    qemu-img create -q -f qcow2 "$dir/vda.qcow2" 256M
    truncate -s 128M "$dir/vdb.raw"
    "$lab/domain-xml.sh" --name "$name" --image "$image" --disk "$dir/vda.qcow2:qcow2:vda" \
        --disk "$dir/vdb.raw:raw:vdb" --serial "$dir/console" --cmdline "$words" "$@" \
        >"$work/guest.xml"
    virsh -q -c "qemu:///embed?root=$dir/root" define "$work/guest.xml" 2>/dev/null
}

pair() { # both clusters made and paired
    local token
    begin prod
    begin dr
    us prod cluster init prod
    us dr cluster init dr
    token=$(us dr peer invite | grep -o 'understudy1\.[A-Za-z0-9_.-]*' | head -n 1)
    us prod peer join - <<<"$token"
}

# The file that holds a snapshot of a disk, by the pool's own record, for qemu-img.
layer_of() { # layer_of CLUSTER VOLUME SNAPSHOT
    local dir=${pool_path[$1]:-$work/$1/pool}/$2 file
    file=$(jq -er --arg id "$3" '.layers[] | select(.snapshot == $id and .role == "snapshot")
        | {driver: .format, file: {driver: "file", filename: .file}}' "$dir/volume.json")
    jq -r --arg dir "$dir" 'if .file.filename | startswith("/") then . else
        .file.filename = "\($dir)/\(.file.filename)" end | "json:\(.)"' <<<"$file"
}

virtual_size() { qemu-img info -U --output=json "$1" | jq '."virtual-size"'; }

# Every disk of one snapshot is the same on both clusters, byte for byte.
same_bytes() { # same_bytes SNAPSHOT_NAME [VM]
    local info snapshot volume target here there
    info=$(us prod --format json vm snapshot info "${2:-web1}" "$1")
    snapshot=$(jq -r .snapshot.id <<<"$info")
    while read -r volume target; do
        here=$(layer_of prod "$volume" "$snapshot")
        there=$(layer_of dr "$volume" "$snapshot")
        qemu-img compare -U "$here" "$there" >/dev/null ||
            fail "$target of $1 differs: $here $there"
        [ "$(virtual_size "$here")" = "$(virtual_size "$there")" ] ||
            fail "$target of $1 has another size there: $here $there"
    done < <(jq -r '.snapshot.disks[] | "\(.volume) \(.target)"' <<<"$info")
}

refused() { # refused WORDS…: exit code 3
    local code=0
    "$@" >"$work/refusal" 2>&1 || code=$?
    [ "$code" -eq 3 ] || fail "exit code $code, not 3: $*: $(cat "$work/refusal")"
}
