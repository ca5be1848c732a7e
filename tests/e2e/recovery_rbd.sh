#!/usr/bin/env bash
# recovery.sh on a pool in Ceph at both sites.
#   recovery_rbd.sh BUILD_DIR     BUILD_DIR has understudyd and understudy. Needs root.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/recovery.sh" "$1" rbd
