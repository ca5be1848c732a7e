#!/usr/bin/env bash
# drill.sh where the replica is in Ceph.
#   drill_rbd.sh BUILD_DIR     BUILD_DIR has understudyd and understudy. Needs root.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/drill.sh" "$1" rbd
