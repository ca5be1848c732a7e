#!/usr/bin/env bash
# A libvirt of its own inside whichever process opens it: makes a root for qemu:///embed and prints
# the URI to open.
#
#   libvirt-embed.sh DIR
#
# Tried with libvirt 9.0 (guest_test.sh repeats it):
# - One process per root: it holds DIR/run/qemu/driver.pid, and a second opener fails with "Failed
#   to acquire pid file". Run virsh on a root only while no daemon has it open.
# - A guest that virsh starts outlives virsh: qemu is a daemon of its own and the next process that
#   opens the root takes it over through its monitor (DIR/run/qemu/*.pid names it). With the daemon
#   killed (-9), end the guest by that pid as well if the host is to be dead.
# - The monitor socket lies under DIR/lib/qemu/domain-N-NAME/, and a unix socket's path is at most
#   107 characters: keep DIR short.
# - A guest's end is seen only by a process that has the root open: qemu waits for it. `virsh
#   shutdown` alone leaves the domain "running" with a guest that is off, until the next opener.
#   Wait in the same virsh: virsh -c URI 'shutdown NAME; event --domain NAME --event lifecycle
#   --loop --timeout 30'.
# - Hooks are not run.
set -euo pipefail
[ $# = 1 ] || { echo "usage: libvirt-embed.sh DIR" >&2 && exit 2; }
mkdir -p "$1/etc"
dir=$(cd "$1" && pwd)
if [ "${#dir}" -gt 50 ]; then
    echo "libvirt-embed: $dir is too long for the sockets below it (50 characters at most)" >&2
    exit 1
fi
cp "$(dirname "${BASH_SOURCE[0]}")/qemu.conf" "$dir/etc/qemu.conf"

# Asking qemu what it can do takes libvirt about 4 s in a fresh root; the answer is kept.
cache=$("$(dirname "${BASH_SOURCE[0]}")/cache.sh")
versions=$(dpkg-query -W -f='${Version}-' libvirt-daemon qemu-system-x86) || {
    echo "libvirt-embed: needs libvirt-daemon and qemu-system-x86 (./dev setup installs them)" >&2
    exit 1
}
kept=$cache/qemu-$(tr -c 'A-Za-z0-9.\n' _ <<<"$versions")
if [ ! -d "$kept" ]; then
    virsh -q -c "qemu:///embed?root=$dir" capabilities >/dev/null 2>&1 || true
    if [ -d "$dir/cache/qemu/capabilities" ]; then
        new=$(mktemp -d "$cache/.new.XXXXXX")
        cp -r "$dir/cache/qemu/capabilities" "$new/capabilities"
        mv -T "$new/capabilities" "$kept" 2>/dev/null || [ -d "$kept" ] # another run was first
        rm -rf "$new"
    fi
elif [ ! -d "$dir/cache/qemu/capabilities" ]; then
    mkdir -p "$dir/cache/qemu"
    cp -r "$kept" "$dir/cache/qemu/capabilities"
fi
echo "qemu:///embed?root=$dir"
