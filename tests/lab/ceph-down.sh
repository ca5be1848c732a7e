#!/usr/bin/env bash
# Ends the cluster that ceph-up.sh began in DIR, whatever state its daemons are in, and nothing
# else; DIR stays, so that logs can be read.
#
#   ceph-down.sh DIR
set -euo pipefail
[ $# = 1 ] || { echo "usage: ceph-down.sh DIR" >&2 && exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ -e "$1/run" ] || exit 0
for kind in mgr osd mon; do "$here/ceph-daemon.sh" "$1" "$kind" kill; done
