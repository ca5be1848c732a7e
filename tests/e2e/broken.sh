# A replica whose guest does not boot; sourced after clusters.sh.
# shellcheck shell=bash disable=SC2154

send_broken() { # web1's newest snapshot, `broken`, halts before it says READY
    end prod
    virsh_of prod dumpxml --inactive web1 >"$work/broken.xml"
    sed -i 's|</cmdline>| us.boot=halt</cmdline>|' "$work/broken.xml"
    virsh_of prod define "$work/broken.xml" >/dev/null
    begin prod
    us prod vm snapshot create web1 broken
    us prod vm snapshot send web1 broken --to dr
}
