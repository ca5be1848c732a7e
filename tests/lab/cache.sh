#!/usr/bin/env bash
# Makes and prints the directory in which the lab keeps what is slow to make: kernels, guests, what
# libvirt knows of QEMU. All clones of this repository share it.
#
#   cache.sh [DIR]      DIR: $UNDERSTUDY_LAB_CACHE, else ~/.cache/understudy/lab (or under
#                       $XDG_CACHE_HOME)
#
# Whoever keeps something there makes it under another name and renames it: a killed run leaves
# nothing half, and two runs at once do no harm.
set -euo pipefail
home=~ # also where HOME is not set
dir=${1:-${UNDERSTUDY_LAB_CACHE:-${XDG_CACHE_HOME:-$home/.cache}/understudy/lab}}
if ! mkdir -p "$dir" 2>/dev/null || [ ! -w "$dir" ]; then
    echo "lab: cannot write to $dir; make it writable, or set UNDERSTUDY_LAB_CACHE to a directory" \
        "that is" >&2
    exit 1
fi
cd "$dir" && pwd
