#!/usr/bin/env bash
# A guest that boots in seconds under TCG: Debian's cloud kernel and an initrd of busybox, the few
# modules it needs and guest-init. Prints the directory that holds `vmlinuz` and `initrd`.
#
#   guest-image.sh [CACHE]        CACHE: $UNDERSTUDY_LAB_CACHE, else build/lab of this repository
#
# The kernel comes out of Debian's package without installing it. Kept by package version, modules
# and the content of what goes in; made under another name and renamed, so a killed run leaves
# nothing half, and two runs at once do no harm. Without a network the newest kernel kept is used.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${1:-${UNDERSTUDY_LAB_CACHE:-$here/../../build/lab}}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
modules=(virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk
    virtio_console button evdev failover net_failover virtio_net)
chosen=$(sha256sum <<<"${modules[*]}" | cut -c1-8)

fail() {
    echo "guest-image: $*" >&2
    exit 1
}

work=$(mktemp -d "$cache/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT

kernel_package() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        awk '/Depends: linux-image/ { print $2; exit }'
}

# Leaves vmlinuz and the modules in $work/kernel.
unpack_kernel() { # unpack_kernel PACKAGE
    mkdir -p "$work/deb" "$work/kernel"
    (cd "$work/deb" && apt-get -q download "$1") >"$work/apt.log" 2>&1 || return 1
    dpkg -x "$work/deb/$1"_*.deb "$work/root"
    mv "$work"/root/boot/vmlinuz-* "$work/kernel/vmlinuz"
    local module
    for module in "${modules[@]}"; do
        find "$work/root" -name "$module.ko" -exec mv {} "$work/kernel/" \;
    done
    rm -rf "$work/root" "$work/deb"
}

# Sets $kernel, a directory in the cache.
find_kernel() {
    local package version
    package=$(kernel_package)
    version=$(apt-cache show "$package" 2>/dev/null | awk '/^Version:/ { print $2; exit }')
    kernel=$cache/kernel-$version-$chosen
    [ -n "$version" ] && [ -d "$kernel" ] && return
    if [ -z "$version" ] || ! unpack_kernel "$package"; then
        # The lists are missing or older than the archive: fetch them once and look again.
        if [ "$(id -u)" = 0 ]; then apt-get -q update >"$work/update.log" 2>&1 || true; fi
        package=$(kernel_package)
        version=$(apt-cache show "$package" 2>/dev/null | awk '/^Version:/ { print $2; exit }')
        kernel=$cache/kernel-$version-$chosen
        if [ -z "$version" ] || ! unpack_kernel "$package"; then
            kernel=$(find "$cache" -maxdepth 1 -name "kernel-*-$chosen" | sort -V | tail -n 1)
            [ -n "$kernel" ] || fail "cannot download linux-image-cloud-amd64 and no kernel is" \
                "kept in $cache: give this machine access to a Debian 12 archive" \
                "$(tail -n 1 "$work/apt.log" 2>/dev/null)"
            return
        fi
    fi
    mv -T "$work/kernel" "$kernel" 2>/dev/null || [ -d "$kernel" ] # another run was first
}

pack_initrd() {
    local tree=$work/tree
    mkdir -p "$tree"/{bin,dev,proc,sys,lib,tmp} "$work/image"
    cp /bin/busybox "$tree/bin/"
    cp "$kernel"/*.ko "$tree/lib/"
    install -m 755 "$here/guest-init" "$tree/init"
    (cd "$tree" && find . | cpio -o -H newc 2>/dev/null | gzip -1n) >"$work/image/initrd"
    ln "$kernel/vmlinuz" "$work/image/vmlinuz"
}

[ -x /bin/busybox ] || fail "needs the package busybox-static (./dev setup installs it)"
find_kernel
key=$(cat "${BASH_SOURCE[0]}" "$here/guest-init" /bin/busybox | sha256sum | cut -c1-12)
image=$cache/guest-${kernel##*/kernel-}-$key
if [ ! -d "$image" ]; then
    pack_initrd
    mv -T "$work/image" "$image" 2>/dev/null || [ -d "$image" ]
fi
echo "$image"
