#!/usr/bin/env bash
# A guest that boots in well under a second under TCG (quick-guest.c). Prints a directory that holds
# `vmlinuz`, for domain-xml.sh with --machine pc.
#
#   quick-guest.sh [CACHE]        CACHE: what cache.sh prints
#
# Kept by the content of what it is made of; two runs at once do no harm.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$("$here/cache.sh" "${1:-}")
key=$(cat "${BASH_SOURCE[0]}" "$here/quick-guest.c" "$here/record.h" | sha256sum | cut -c1-12)
image=$cache/quick-$key
if [ ! -d "$image" ]; then
    work=$(mktemp -d "$cache/.new.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/image"
    # Without build-id: QEMU looks for the multiboot header in the first 8 KiB of the file.
    gcc -m32 -march=i686 -mgeneral-regs-only -std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding \
        -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables -nostdlib -static -no-pie \
        -fno-tree-loop-distribute-patterns -Wl,-Ttext=0x100000 -Wl,--build-id=none \
        -Wl,-z,noexecstack -o "$work/image/vmlinuz" "$here/quick-guest.c" || {
        echo "quick-guest: gcc did not make it (see above); ./dev setup installs what it needs" >&2
        exit 1
    }
    mv -T "$work/image" "$image" 2>/dev/null || [ -d "$image" ]
fi
echo "$image"
