#!/usr/bin/env bash
# A VM that must not run here does not start on a host with a real libvirtd, whoever asks: virsh,
# with understudyd up and down, and the host's own autostart after a reboot.
#   guard.sh BUILD_DIR     BUILD_DIR has understudyd and understudy. Needs root.
set -euo pipefail
bin=$(realpath "$1")
# shellcheck source=tests/e2e/clusters.sh
. "$(dirname "${BASH_SOURCE[0]}")/clusters.sh"
hook=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../../packaging/libvirt-hook/qemu")

mkdir -p "$work/prod/host/etc/hooks/qemu.d"
cat >"$work/prod/host/etc/hooks/qemu.d/understudy" <<C
#!/bin/sh
export UNDERSTUDY_CLI=$bin/understudy UNDERSTUDY_SOCKET=$work/prod/sock
export UNDERSTUDY_STATE_DIR=$work/prod/state
exec $hook "\$@"
C
chmod +x "$work/prod/host/etc/hooks/qemu.d/understudy"
with_libvirtd prod
define_guest web1
pair
tell_virsh() { virsh -q -c "$(uri_of prod)" "$@"; }
is_off() { [ "$(tell_virsh domstate web1 | head -n 1)" = "shut off" ]; }
not_started() { # not_started WHO: virsh's start is refused, with words that help
    if tell_virsh start web1 2>"$work/virsh.said"; then fail "virsh started it, $1"; fi
    grep -q "web1.*superseded" "$work/virsh.said" ||
        fail "$1, virsh says only: $(cat "$work/virsh.said")"
    is_off || fail "it is not off, $1"
}

# Its own VM starts, by us and by virsh.
us prod vm start web1
await 120 guest_says 'wrote vdb 3' "$work/prod/console"
us prod vm snapshot create web1 first
us prod vm snapshot send web1 first --to dr
tell_virsh destroy web1
tell_virsh start web1
tell_virsh destroy web1
uuid=$(tell_virsh domuuid web1 | tr -d '\n')
us prod vm may-start "$uuid"

# The site is cut off, and the other one takes over.
crash prod
us dr -y replica promote web1 --no-start
begin prod
not_started "understudyd being up"
refused us prod vm may-start "$uuid"
phase_is_superseded() {
    us prod --format json vm info web1 | jq -e '.vm.ownership.phase == "superseded"'
}
await 60 phase_is_superseded
crash prod
not_started "understudyd being down"

# The host reboots, with the VM's autostart set by hand.
tell_virsh autostart web1
kill -KILL "${libvirtd[prod]}"
wait "${libvirtd[prod]}" 2>/dev/null || true
with_libvirtd prod
is_off || fail "the host's autostart started it"
tell_virsh dominfo web1 >"$work/dominfo"
grep -q 'Autostart: *enable' "$work/dominfo" || fail "the autostart was not set"
begin prod
is_off || fail "understudyd started it"

# A copy of what must not run is no such VM: the hook lets it start, and nothing else.
us prod -y replica resolve web1 --keep-there
us prod replica drill web1 --wait console=READY --timeout 2m
[ -z "$(tell_virsh list --all --name | tr -d '\n')" ] || fail "left: $(tell_virsh list --all)"
tell_virsh define "$work/guest.xml" >/dev/null
if tell_virsh start web1 2>"$work/virsh.said"; then fail "virsh started a replica"; fi
tell_virsh undefine web1 >/dev/null
us prod event list
us prod event list --verify
us prod --format json event list >"$work/events"
grep -q superseded "$work/events" || fail "no event tells of it"
echo "guard: ok"
