#!/usr/bin/env bash
# A host of its own: a real libvirtd with its own host name, host UUID, state and configuration, in
# its own mount and UTS namespaces, beside others on the same machine. Needs root.
#
#   libvirt-host.sh NAME DIR [FIRST_MIGRATION_PORT]     runs in the foreground; end it by its pid
#
# Connect to qemu+unix:///system?socket=DIR/run/libvirt-sock. Start hooks go to DIR/etc/hooks/qemu.
# Live migration between two of them works (tcp://127.0.0.1, port ranges that do not overlap).
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: libvirt-host.sh NAME DIR [FIRST_MIGRATION_PORT]" >&2 && exit 2; }
name=$1 dir=$(realpath -m "$2") port=${3:-49152}
mkdir -p "$dir"/{run,state,etc,cache} /run/libvirt /var/lib/libvirt /etc/libvirt /var/cache/libvirt
cp -rn /var/lib/libvirt/. "$dir/state/"
cp -rn /etc/libvirt/. "$dir/etc/"
cat "$(dirname "${BASH_SOURCE[0]}")/qemu.conf" - >"$dir/etc/qemu.conf" <<C
migration_port_min = $port
migration_port_max = $((port + 20))
C
if ! grep -q '^host_uuid' "$dir/etc/libvirtd.conf" 2>/dev/null; then
    printf 'host_uuid = "%s"\nauth_unix_rw = "none"\n' "$(cat /proc/sys/kernel/random/uuid)" \
        >>"$dir/etc/libvirtd.conf"
fi
# shellcheck disable=SC2016  # expanded by the inner shell, inside the namespaces
exec unshare --mount --uts bash -c '
    hostname "$1"
    mount --bind "$2/run" /run/libvirt && mount --bind "$2/state" /var/lib/libvirt &&
        mount --bind "$2/etc" /etc/libvirt && mount --bind "$2/cache" /var/cache/libvirt &&
        exec libvirtd -p "$2/libvirtd.pid"' host "$name" "$dir"
