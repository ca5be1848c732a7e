#!/usr/bin/env bash
# Prints the domain XML of a test guest (TCG: no /dev/kvm, whatever the machine has).
#
#   domain-xml.sh --name NAME --image DIR [option…]
#     --image DIR       what guest-image.sh or quick-guest.sh printed
#     --machine TYPE    default q35; the quick guest needs pc
#     --uuid UUID       default: a fresh one
#     --memory MIB      default 128
#     --disk PATH:FORMAT:TARGET[:OPTIONS]   again for each disk; OPTIONS go to <driver> and are
#                       separated by commas (discard=unmap,detect_zeroes=unmap); default
#                       discard=unmap. No ':' in PATH.
#     --disk rbd:POOL/IMAGE:TARGET[:OPTIONS]    the same in the Ceph of --ceph
#     --ceph CONF       where that Ceph's monitors are
#     --ceph-user NAME --ceph-secret UUID       with cephx: libvirt's secret with that user's key
#     --serial FILE     the guest's console (default: none)
#     --talk SOCKET     a unix socket on the same port, for guest-tell; needs --serial
#     --cmdline TEXT    after "console=ttyS0 panic=-1 quiet no_timer_check" (us.mode=… and so on,
#                       see guest-init). Under TCG on a busy host the timer's check fails, and then
#                       the kernel does not start.
#     --agent SOCKET    a channel for the guest agent (add us.agent=1 to the command line)
#     --uefi FILE       boots by UEFI (package ovmf); its variables are in FILE
#     --device XML      one more device, as it stands; may be given again
#     --network NAME    a network card on the host's bridge of that name (see us.net)
set -euo pipefail

usage() {
    sed -n '/^#   /s/^#   //p' "$0" >&2
    exit 2
}

xml() { # text that is safe in element content and in quoted attributes
    local text=${1//'&'/'&amp;'} # quoted: a bare & would stand for what was found
    text=${text//'<'/'&lt;'}
    text=${text//'>'/'&gt;'}
    text=${text//'"'/'&quot;'}
    printf '%s' "${text//"'"/'&apos;'}"
}

name='' image='' uuid='' machine=q35 memory=128
serial='' talk='' cmdline='' agent='' bridge='' variables=''
ceph='' ceph_user='' ceph_secret=''
disks=() devices=()
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case $1 in
        --name) name=$2 ;;
        --image) image=$2 ;;
        --uuid) uuid=$2 ;;
        --machine) machine=$2 ;;
        --memory) memory=$2 ;;
        --disk) disks+=("$2") ;;
        --serial) serial=$2 ;;
        --talk) talk=$2 ;;
        --cmdline) cmdline=$2 ;;
        --agent) agent=$2 ;;
        --uefi) variables=$2 ;;
        --device) devices+=("$2") ;;
        --ceph) ceph=$2 ;;
        --ceph-user) ceph_user=$2 ;;
        --ceph-secret) ceph_secret=$2 ;;
        --network) bridge=$2 ;;
        *) usage ;;
    esac
    shift 2
done
[ -n "$name" ] || usage
if [ -z "$image" ]; then
    echo "domain-xml: --image is missing or empty; if it came from guest-image.sh, that failed" >&2
    exit 2
fi
[ -z "$talk" ] || [ -n "$serial" ] || usage
[ -n "$uuid" ] || uuid=$(cat /proc/sys/kernel/random/uuid)

print_image() { # print_image POOL/IMAGE: the <source> of a disk in Ceph
    local monitor
    echo "      <source protocol='rbd' name='$(xml "$1")'>"
    for monitor in $(sed -n 's/^mon host = //p' "${ceph:?--ceph is missing}" | tr ',' ' '); do
        echo "        <host name='$(xml "${monitor%:*}")' port='$(xml "${monitor##*:}")'/>"
    done
    [ -z "$ceph_user" ] || cat <<X
        <auth username='$(xml "$ceph_user")'>
          <secret type='ceph' uuid='$(xml "$ceph_secret")'/>
        </auth>
X
    echo "      </source>"
}

print_disk() { # print_disk PATH:FORMAT:TARGET[:OPTIONS] or rbd:POOL/IMAGE:TARGET[:OPTIONS]
    local path format target options option attributes='' type=file source
    IFS=: read -r path format target options <<<"$1"
    if [ "$path" = rbd ]; then
        type=network source=$(print_image "$format") format=raw
    else
        source="      <source file='$(xml "$path")'/>"
    fi
    [ -n "$target" ] || usage
    for option in $(tr ',' ' ' <<<"${options:-discard=unmap}"); do
        attributes+=" ${option%%=*}='$(xml "${option#*=}")'"
    done
    cat <<X
    <disk type='$type' device='disk'>
      <driver name='qemu' type='$(xml "$format")'$attributes/>
$source
      <target dev='$(xml "$target")' bus='virtio'/>
    </disk>
X
}

print_firmware() {
    [ -z "$variables" ] || cat <<X
    <loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>$(xml "$variables")</nvram>
X
}

print_initrd() {
    [ ! -e "$image/initrd" ] || echo "    <initrd>$(xml "$image")/initrd</initrd>"
}

print_serial() {
    if [ -n "$talk" ]; then
        cat <<X
    <serial type='unix'>
      <source mode='bind' path='$(xml "$talk")'/>
      <log file='$(xml "$serial")' append='on'/>
      <target port='0'/>
    </serial>
X
    elif [ -n "$serial" ]; then
        cat <<X
    <serial type='file'>
      <source path='$(xml "$serial")' append='on'/>
      <target port='0'/>
    </serial>
X
    fi
}

print_extras() {
    [ -z "$agent" ] || cat <<X
    <channel type='unix'>
      <source mode='bind' path='$(xml "$agent")'/>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
X
    [ -z "$bridge" ] || cat <<X
    <interface type='bridge'>
      <source bridge='$(xml "$bridge")'/>
      <model type='virtio'/>
    </interface>
X
}

# A crash or reboot of the guest ends it: a test sees a stopped guest, not a loop of boots.
cat <<X
<domain type='qemu'>
  <name>$(xml "$name")</name>
  <uuid>$(xml "$uuid")</uuid>
  <memory unit='MiB'>$memory</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='$(xml "$machine")'>hvm</type>
$(print_firmware)
    <kernel>$(xml "$image")/vmlinuz</kernel>
$(print_initrd)
    <cmdline>$(xml "console=ttyS0 panic=-1 quiet no_timer_check${cmdline:+ $cmdline}")</cmdline>
  </os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
$(for disk in "${disks[@]}"; do print_disk "$disk"; done)
$(print_serial)
$(print_extras)
$(printf '%s\n' "${devices[@]}")
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>
X
