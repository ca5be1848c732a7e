#!/usr/bin/env bash
# A guest that boots in seconds under TCG: Debian's cloud kernel and an initrd of busybox, the few
# modules it needs, guest-init and guest-record.c. Prints the directory that holds `vmlinuz` and
# `initrd`.
#
#   guest-image.sh [CACHE]        CACHE: what cache.sh prints
#
# The kernel comes out of Debian's package without installing it. Every kernel that has the modules
# below is as good as another, so the newest one that is kept is used and the archive is asked only
# when none is kept. UNDERSTUDY_LAB_ARCHIVE=ask asks for a newer one (and goes on with the one that
# is kept when there is no answer); =never asks in no case. `./dev test` asks at most once a run.
#
# One run at a time works in a cache; the others wait for it and find what it made. What nobody has
# used for 60 days is removed.
set -Eeuo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
modules=(virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk
    virtio_console button evdev failover net_failover virtio_net)
chosen=$(sha256sum <<<"${modules[*]}" | cut -c1-8)

fail() {
    trap - ERR
    echo "guest-image: $*" >&2
    exit 1
}
trap 'fail "line $LINENO: this failed: $BASH_COMMAND"' ERR

cache=$("$here/cache.sh" "${1:-}") || exit
archive=${UNDERSTUDY_LAB_ARCHIVE:-when-needed}
[[ $archive == @(ask|never|when-needed) ]] ||
    fail "UNDERSTUDY_LAB_ARCHIVE is ask, never or when-needed, not $archive"
[ -x /bin/busybox ] || fail "needs the package busybox-static (./dev setup installs it)"
exec 9>"$cache/lock"
flock -w 600 9 || fail "another run has held $cache/lock for 10 minutes; end it: fuser $cache/lock"
work=$(mktemp -d "$cache/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
why='' # the archive gave no kernel

# Sets $package and $version from apt's lists. Through files: a pipe's reader that has enough and
# ends early would kill the writer, and pipefail would take that for a failure.
look_up() {
    local meta=linux-image-cloud-amd64
    apt-cache depends "$meta" >"$work/depends" 2>"$work/log" ||
        { why="apt-cache knows no $meta: $(tail -n 1 "$work/log")" && return 1; }
    package=$(awk '/Depends: linux-image/ && !n++ { print $2 }' "$work/depends")
    [ -n "$package" ] || { why="$meta depends on no kernel" && return 1; }
    apt-cache show "$package" >"$work/show" 2>"$work/log" ||
        { why="apt-cache knows no $package: $(tail -n 1 "$work/log")" && return 1; }
    version=$(awk '/^Version:/ && !n++ { print $2 }' "$work/show")
    [ -n "$version" ] || { why="apt-cache tells no version of $package" && return 1; }
}

# Leaves vmlinuz and the modules in $work/kernel.
unpack_kernel() {
    local module
    rm -rf "$work"/{deb,kernel,root}
    mkdir "$work/deb" "$work/kernel" || return 1
    (cd "$work/deb" && timeout 300 apt-get -q download "$package") >"$work/log" 2>&1 ||
        { why="apt-get download $package: $(tail -n 1 "$work/log")" && return 1; }
    dpkg -x "$work"/deb/*.deb "$work/root" >"$work/log" 2>&1 ||
        { why="$package cannot be unpacked: $(tail -n 1 "$work/log")" && return 1; }
    mv "$work"/root/boot/vmlinuz-* "$work/kernel/vmlinuz" 2>/dev/null ||
        { why="$package $version holds no boot/vmlinuz-*" && return 1; }
    for module in "${modules[@]}"; do # one that is missing is part of the kernel itself
        find "$work/root" -name "$module.ko" -exec mv {} "$work/kernel/" \; || return 1
    done
    rm -rf "$work/root" "$work/deb"
}

newest_kept() { find "$cache" -maxdepth 1 -name "kernel-*-$chosen" | sort -V | tail -n 1; }

ask_archive() { # puts the archive's kernel into the cache if it is not there
    look_up || return 1
    [ ! -d "$cache/kernel-$version-$chosen" ] || return 0
    unpack_kernel || return 1
    mv -T "$work/kernel" "$cache/kernel-$version-$chosen"
}

# Sets $kernel, a directory in the cache.
find_kernel() {
    kernel=$(newest_kept)
    if [ "$archive" = ask ] || { [ -z "$kernel" ] && [ "$archive" != never ]; }; then
        if ! ask_archive; then
            # apt's lists are missing or older than the archive: fetch them once and look again.
            if [ "$(id -u)" = 0 ]; then timeout 120 apt-get -q update >/dev/null 2>&1 || true; fi
            ask_archive || [ -z "$kernel" ] ||
                echo "guest-image: $why; going on with the kernel that is kept: $kernel" >&2
        fi
        kernel=$(newest_kept)
    elif [ -z "$kernel" ]; then
        why="UNDERSTUDY_LAB_ARCHIVE=never forbids to ask Debian's archive"
    fi
    [ -n "$kernel" ] || fail "there is no kernel for the guests of tests: none is kept in $cache," \
        "and $why. Give this machine access to a Debian 12 archive (apt-get update must work) and" \
        "run $here/guest-image.sh again, or copy a kernel-*-$chosen directory from the cache of" \
        "another machine."
}

pack_initrd() {
    local tree=$work/tree
    mkdir -p "$tree"/{bin,dev,proc,sys,lib,tmp} "$work/image"
    cp /bin/busybox "$tree/bin/"
    find "$kernel" -name '*.ko' -exec cp -t "$tree/lib/" {} +
    install -m 755 "$here/guest-init" "$tree/init"
    gcc -O2 -std=gnu11 -Wall -Wextra -Werror -static -s -o "$tree/bin/guest-record" \
        "$here/guest-record.c" >&2 ||
        fail "gcc did not make guest-record (see above); ./dev setup installs what it needs"
    (cd "$tree" && find . | cpio -o -H newc 2>"$work/log" | gzip -1n) >"$work/image/initrd" ||
        fail "the initrd was not packed: $(tail -n 1 "$work/log")"
    ln "$kernel/vmlinuz" "$work/image/vmlinuz"
}

remove_unused() {
    find "$cache" -maxdepth 1 \( -name 'guest-*' -o -name 'kernel-*' \) -mtime +60 \
        -exec rm -rf {} +
    find "$cache" -maxdepth 1 -name '.new.*' -mtime +0 -exec rm -rf {} + # of killed runs
}

find_kernel
key=$(cat "${BASH_SOURCE[0]}" "$here"/guest-{init,record.c} "$here/record.h" /bin/busybox |
    sha256sum | cut -c1-12)
image=$cache/guest-${kernel##*/kernel-}-$key
if [ ! -d "$image" ]; then
    pack_initrd
    mv -T "$work/image" "$image"
fi
touch "$kernel" "$image"
remove_unused
echo "$image"
