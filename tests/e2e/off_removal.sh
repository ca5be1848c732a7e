#!/usr/bin/env bash
# Snapshots of a running VM that are removed while it is off: libvirt has written the layers into
# its definition, and must not look for those that are merged away. The VM starts, whichever
# snapshots go, and has all that its guest wrote; so it does after a release.
#   off_removal.sh BUILD_DIR [embed|libvirtd]     Needs root.
set -euo pipefail
bin=$(realpath "$1")
libvirt=${2:-embed}
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
# shellcheck source=tests/e2e/quick.sh
. "$(dirname "${BASH_SOURCE[0]}")/quick.sh"

[ "$libvirt" = embed ] || with_libvirtd prod
vms=(older only newer both released)
define_quick 16M 8M "${vms[@]}"
begin prod
us prod cluster init prod

boots() { # boots VM: it finds its records, then writes on
    local written
    written=$(records_of "$1")
    us prod vm start "$1"
    await 60 has_written "$1" $((written + 1))
    nothing_lost "$1"
}
taken_while_it_runs() { # taken_while_it_runs VM SNAPSHOT…: then it is switched off
    local name
    for name in "${@:2}"; do
        us prod vm snapshot create "$1" "$name" >/dev/null
        await 60 has_written "$1" $(($(records_of "$1") + 1))
    done
    us prod -y vm stop "$1"
}

for vm in "${vms[@]}"; do boots "$vm"; done
taken_while_it_runs only a
taken_while_it_runs older a b
taken_while_it_runs newer a b
taken_while_it_runs both a b
taken_while_it_runs released a b
us prod -y vm snapshot remove only a
us prod -y vm snapshot remove older a
us prod -y vm snapshot remove newer b
us prod -y vm snapshot remove both a b
us prod -y vm release released
for vm in "${vms[@]}"; do boots "$vm"; done
[ -z "$(find "$work/prod/pool" -path "*${uuid[released]}*")" ] || fail "the release left layers"

# The same VM again: what a start leaves in the definition is no hindrance either.
taken_while_it_runs older c
us prod -y vm snapshot remove older b
boots older
us prod -y vm snapshot remove older c # under the running guest
us prod -y vm stop older
boots older
echo "off_removal: ok, with $libvirt"
