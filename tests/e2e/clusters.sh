# Two clusters on loopback with real guests, for the tests of this folder to source. Sets work (a
# directory that is removed at the end, unless US_KEEP is set), and ends what it started.
# shellcheck shell=bash
# Expects: bin (where understudyd and understudy are). Gives: us, begin, define_guest, pair, …
# A cluster's disks are in files and its libvirt is embedded, unless with_ceph and with_libvirtd say
# otherwise before it begins.
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
declare -A ceph_conf=() # of a cluster whose pool is in Ceph: see with_ceph
declare -A ceph_pool=() # what Ceph calls that pool
declare -A libvirtd=()  # pid of a cluster's own libvirtd: see with_libvirtd
ceph_secret=2ec115d7-3a88-4ceb-bc12-0ac909a6fd87 # in every libvirtd that has one

fail() {
    echo "FAILED: $*" >&2
    tail -n 15 "$work"/*/log "$work"/*/console >&2 2>/dev/null || true
    exit 1
}

finish() {
    local pid file
    for pid in "${daemon[@]}" "${libvirtd[@]}" "${helpers[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true # so that the shell has nothing to report
    done
    for file in "$work"/*/root/run/qemu/*.pid "$work"/*/host/run/qemu/*.pid; do
        if [ -e "$file" ]; then kill -KILL "$(cat "$file")" 2>/dev/null || true; fi
    done
    for file in "$work"/*/ceph; do "$lab/ceph-down.sh" "$file" || true; done
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

uri_of() { # uri_of CLUSTER: its libvirt
    local dir=$work/$1
    if [ -n "${libvirtd[$1]:-}" ]; then
        echo "qemu+unix:///system?socket=$dir/host/run/libvirt-sock"
    else
        [ -e "$dir/root" ] || "$lab/libvirt-embed.sh" "$dir/root" >/dev/null
        echo "qemu:///embed?root=$dir/root"
    fi
}

# From now on the cluster has a libvirtd, as a host has; without, its daemon embeds libvirt, which
# then has no secrets for Ceph.
with_libvirtd() { # with_libvirtd CLUSTER
    mkdir -p "$work/$1"
    "$lab/libvirt-host.sh" "$1-host" "$work/$1/host" >>"$work/$1/libvirtd.log" 2>&1 &
    libvirtd[$1]=$!
    await 30 virsh -q -c "$(uri_of "$1")" list
}

# Its pool `vms` is in a Ceph of its own, in that one's pool of the same name.
with_ceph() { # with_ceph CLUSTER [OPTION OF ceph-up.sh…]: with --cephx after with_libvirtd
    local dir=$work/$1/ceph
    mkdir -p "$work/$1"
    ceph_conf[$1]=$("$lab/ceph-up.sh" "${@:2}" "$dir" $((${port[$1]} + 6)))
    ceph_pool[$1]=vms
    [ -n "${libvirtd[$1]:-}" ] || return 0
    cat >"$work/secret.xml" <<C
<secret ephemeral='no' private='yes'><uuid>$ceph_secret</uuid>
  <usage type='ceph'><name>client.understudy</name></usage></secret>
C
    virsh_of "$1" secret-define "$work/secret.xml" >/dev/null
    virsh_of "$1" secret-set-value "$ceph_secret" --file "$dir/keys/understudy.key" >/dev/null
}

# Its pool `vms` is another pool of another cluster's Ceph (made there with --pool NAME).
with_pool_in() { # with_pool_in CLUSTER OTHER NAME
    ceph_conf[$1]=${ceph_conf[$2]}
    ceph_pool[$1]=$3
}

# They have a second pool beside `vms`: `files`, a directory.
with_files() { # with_files CLUSTER…
    local cluster
    for cluster; do
        pool_options[$cluster]="[pools.files]
driver = \"qcow2\"
path = \"$work/$cluster/files\""
    done
}

pool_of() { # pool_of CLUSTER: what understudyd.toml says of its pool
    local conf=${ceph_conf[$1]:-}
    if [ -z "$conf" ]; then
        printf 'driver = "qcow2"\npath = "%s"\n' "${pool_path[$1]:-$work/$1/pool}"
    else
        printf 'driver = "rbd"\nceph_conf = "%s"\npool = "%s"\n' "$conf" "${ceph_pool[$1]}"
        [ -z "${libvirtd[$1]:-}" ] ||
            printf 'user = "understudy"\nkeyring = "%s"\nsecret = "%s"\n' \
                "${conf%/*}/keys/understudy.keyring" "$ceph_secret"
    fi
    echo "${pool_options[$1]:-}"
}

begin() { # begin CLUSTER: its daemon, on port ${port[CLUSTER]}
    local dir=$work/$1
    mkdir -p "$dir"
    cat >"$dir/understudyd.toml" <<C
state_dir = "$dir/state"
socket = "$dir/sock"
node = "$1-node"
listen_peers = "127.0.0.1:${port[$1]}"
advertise = "127.0.0.1:${reached_at[$1]:-${port[$1]}}"
hypervisor = "$(uri_of "$1")"
contact_every = "2s"
checkpoint_every = "200ms"
link_patience = "${link_patience:-60s}"
workers = ${workers:-4}
[pools.vms]
$(pool_of "$1")
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

burn_down() { # burn_down CLUSTER: its daemon, its libvirtd and its guests, at once
    local file
    crash "$1"
    for file in "$work/$1"/{root,host}/run/qemu/*.pid; do
        if [ -e "$file" ]; then kill -KILL "$(cat "$file")" 2>/dev/null || true; fi
    done
    [ -n "${libvirtd[$1]:-}" ] || return 0
    kill -KILL "${libvirtd[$1]}" 2>/dev/null || true # driver.pid may have named it
    wait "${libvirtd[$1]}" 2>/dev/null || true
}

link_to() { # link_to CLUSTER WORD: the link that with_link put in front of it (see lab/link)
    "$lab/link" "$work/$1.link" "$2"
}
with_link() { # with_link CLUSTER: its peers reach it over a link; before pairing
    reached_at[$1]=$((port[$1] + 4))
    "$lab/link" "$work/$1.link" "${reached_at[$1]}" "${port[$1]}" &
    helpers+=($!)
    await 10 link_to "$1" open
}

# What an operator of a host with libvirtd types beside the daemon. libvirt 9.0's embedded driver
# may crash when it is closed while it still reconnects to the guests that run: then, once more.
virsh_of() { # virsh_of CLUSTER WORDS…
    local uri code=0
    uri=$(uri_of "$1")
    shift
    virsh -q -c "$uri" "$@" 2>"$work/virsh.log" >"$work/virsh.said" || code=$?
    if [ "$code" -eq 139 ]; then
        code=0
        virsh -q -c "$uri" "$@" 2>"$work/virsh.log" >"$work/virsh.said" || code=$?
    fi
    [ "$code" -eq 0 ] || fail "virsh $*: $(cat "$work/virsh.log")"
    cat "$work/virsh.said"
}

guest() { "$lab/guest-tell" "$work/prod/talk" "$@"; } # gives the guest work and waits for it

# How far the guest's writing got.
records() { grep -a 'wrote vdb' "$work/prod/console" | tail -n 1 | grep -ao '[0-9]*' || echo 0; }
more_than() { [ "$(records)" -gt "$1" ]; }
log_says() { grep -q "$2" <<<"$(us prod task log "$1")"; } # log_says TASK TEXT
# What comes through a pipe, to its end: `grep -q` ends at the first match, and pipefail counts the
# writer's broken pipe as a failure.
tells() { grep "$@" >/dev/null; }
guest_says() { grep -aq "$1" "$2"; }

# The guest of these tests: two disks, qcow2 and raw, or two images where prod has its pool in Ceph;
# defined on prod before its daemon starts (the embed driver is one process per root). Verifies its
# records at boot, then writes on.
define_guest() { # define_guest NAME [KERNEL_WORDS [OPTION_OF_DOMAIN_XML…]]
    local image name=$1 dir=$work/prod words=${2:-us.mode=verify,write us.pause=0.1} disks
    shift $(($# > 2 ? 2 : $#))
    image=$("$lab/guest-image.sh")
    mkdir -p "$dir"
    if [ -z "${ceph_conf[prod]:-}" ]; then
        qemu-img create -q -f qcow2 "$dir/vda.qcow2" 256M
        truncate -s 128M "$dir/vdb.raw"
        disks=(--disk "$dir/vda.qcow2:qcow2:vda" --disk "$dir/vdb.raw:raw:vdb")
    else
        rbd_of prod create vms/vda --size 256M
        rbd_of prod create vms/vdb --size 128M --image-feature layering # none of the quick ones
        disks=(--disk rbd:vms/vda:vda --disk rbd:vms/vdb:vdb --ceph "${ceph_conf[prod]}")
        [ -z "${libvirtd[prod]:-}" ] ||
            disks+=(--ceph-user understudy --ceph-secret "$ceph_secret")
    fi
    "$lab/domain-xml.sh" --name "$name" --image "$image" "${disks[@]}" --serial "$dir/console" \
        --cmdline "$words" "$@" >"$work/guest.xml"
    virsh_of prod define "$work/guest.xml" >/dev/null
}

rbd_of() { # rbd_of CLUSTER WORDS…: `rbd` in its Ceph, as its administrator
    rbd -c "${ceph_conf[$1]}" "${@:2}" 2>"$work/rbd.log" ||
        fail "rbd ${*:2}: $(cat "$work/rbd.log")"
}

pair() { # both clusters made and paired
    begin prod
    begin dr
    us prod cluster init prod
    us dr cluster init dr
    join prod dr
}

join() { # join CLUSTER OTHER: pairs the two
    local token
    token=$(us "$2" peer invite | grep -o 'understudy1\.[A-Za-z0-9_.-]*' | head -n 1)
    us "$1" peer join - <<<"$token"
}

# What holds a snapshot of a disk, by the pool's own record, for qemu-img.
layer_of() { # layer_of CLUSTER VOLUME SNAPSHOT
    local dir=${pool_path[$1]:-$work/$1/pool}/$2 file
    if [ -n "${ceph_conf[$1]:-}" ]; then
        image_of "$@"
        return
    fi
    file=$(jq -er --arg id "$3" '.layers[] | select(.snapshot == $id and .role == "snapshot")
        | {driver: .format, file: {driver: "file", filename: .file}}' "$dir/volume.json")
    jq -r --arg dir "$dir" 'if .file.filename | startswith("/") then . else
        .file.filename = "\($dir)/\(.file.filename)" end | "json:\(.)"' <<<"$file"
}

image_of() { # image_of CLUSTER VOLUME SNAPSHOT: the same of a pool in Ceph
    local conf=${ceph_conf[$1]} pool=${ceph_pool[$1]} image
    rados -c "$conf" -p "$pool" getomapval understudy.volumes "volume/$2" "$work/record" \
        >/dev/null 2>&1
    image=$(jq -er --arg id "$3" '.snapshots[] | select(.id == $id and .state == "listed")
        | .image' "$work/record")
    jq -cn --arg conf "$conf" --arg pool "$pool" --arg image "$image" --arg id "$3" \
        '{driver: "raw", file: {driver: "rbd", conf: $conf, user: "admin", pool: $pool,
          image: $image, snapshot: "understudy-\($id)"}} | "json:\(.)"' -r
}

# The same where a cluster has a pool `vms` in Ceph and a pool `files` beside it.
held_by() { # held_by CLUSTER POOL VOLUME SNAPSHOT
    if [ "$2" = vms ]; then
        image_of "$1" "$3" "$4"
    else
        (unset 'ceph_conf[$1]' && pool_path[$1]=$work/$1/files && layer_of "$1" "$3" "$4")
    fi
}

virtual_size() { qemu-img info -U --output=json "$1" | jq '."virtual-size"'; }

# Every disk of one snapshot is the same on both clusters, byte for byte.
same_bytes() { # same_bytes SNAPSHOT_NAME [VM [CLUSTER OTHER]]
    local info snapshot volume target here there from=${3:-prod} to=${4:-dr}
    info=$(us "$from" --format json vm snapshot info "${2:-web1}" "$1")
    snapshot=$(jq -r .snapshot.id <<<"$info")
    while read -r volume target; do
        here=$(layer_of "$from" "$volume" "$snapshot")
        there=$(layer_of "$to" "$volume" "$snapshot")
        qemu-img compare -U "$here" "$there" >/dev/null ||
            fail "$target of $1 differs: $here $there"
        [ "$(virtual_size "$here")" = "$(virtual_size "$there")" ] ||
            fail "$target of $1 has another size there: $here $there"
    done < <(jq -r '.snapshot.disks[] | "\(.volume) \(.target)"' <<<"$info")
}

sent() { # sent SNAPSHOT KIND [CLUSTER OTHER]: web1's, taken, sent, and compared
    local from=${3:-prod} to=${4:-dr}
    us "$from" vm snapshot create web1 "$1" >/dev/null
    us "$from" --format json vm snapshot send web1 "$1" --to "$to" >"$work/sent"
    jq -e --arg kind "$2" '.task.result.kind == $kind' "$work/sent" >/dev/null ||
        fail "$1 is no $2 send: $(cat "$work/sent")"
    same_bytes "$1" web1 "$from" "$to"
    echo "$1: $2 from $from to $to, the same on both sides"
}

found_records() { # found_records LAST: what a promoted guest said of its disks at boot
    local disk found
    grep -aq BAD "$work/prod/console" && fail "the promoted guest found damage"
    for disk in vda vdb; do
        found=$(grep -ao "VERIFY $disk ok 0..[0-9]*" "$work/prod/console" | grep -o '[0-9]*$')
        echo "$disk: records 0..$found in the promoted guest"
        [ "${found:--1}" -ge "$1" ] || fail "$disk ends at record $found, $1 was written before"
    done
}

refused() { # refused WORDS…: exit code 3
    local code=0
    "$@" >"$work/refusal" 2>&1 || code=$?
    [ "$code" -eq 3 ] || fail "exit code $code, not 3: $*: $(cat "$work/refusal")"
}
