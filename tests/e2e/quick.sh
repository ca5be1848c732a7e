# Small VMs whose guest (lab/quick-guest.sh) boots in well under a second, verifies its records and
# writes on; for tests to source after clusters.sh.
# shellcheck shell=bash
# Gives: define_quick, records_of, nothing_lost. A guest's console is $work/NAME.console.
work=${work:?what clusters.sh sets} lab=${lab:?}
declare -A uuid=()

define_quick() { # define_quick SIZE_A SIZE_B NAME…: on prod, a qcow2 and a raw disk
    local image name dir=$work/prod size_a=$1 size_b=$2
    image=$("$lab/quick-guest.sh")
    mkdir -p "$dir"
    for name in "${@:3}"; do
        uuid[$name]=$(cat /proc/sys/kernel/random/uuid)
        qemu-img create -q -f qcow2 "$dir/$name-a.qcow2" "$size_a"
        truncate -s "$size_b" "$dir/$name-b.raw"
        "$lab/domain-xml.sh" --name "$name" --uuid "${uuid[$name]}" --machine pc --memory 32 \
            --image "$image" --disk "$dir/$name-a.qcow2:qcow2:vda" \
            --disk "$dir/$name-b.raw:raw:vdb" --serial "$work/$name.console" >"$work/guest.xml"
        virsh_of prod define "$work/guest.xml" >/dev/null
    done
}

records_of() { # records_of NAME: how far its guest's writing got
    grep -a '^wrote vdb' "$work/$1.console" 2>/dev/null | tail -n 1 | grep -o '[0-9]*$' || echo 0
}
has_written() { [ "$(records_of "$1")" -ge "$2" ]; } # has_written NAME RECORD

# Each boot has found all that was acknowledged before it.
nothing_lost() { # nothing_lost NAME
    awk '/^BAD/ { print; bad = 1 }
        /^wrote/ { written[$2] = $3 }
        /^VERIFY vd/ { sub(/.*\.\./, "", $4); if ($4 + 0 < written[$2] + 0) {
            print "after " written[$2] ": " $0; bad = 1 } }
        END { exit bad }' "$work/$1.console" >"$work/lost" || fail "$1: $(cat "$work/lost")"
}
