#!/usr/bin/env bash
# Wrong input of every kind, by operators, by peers and by strangers: each is refused in clear words
# with the right exit code, nothing half remains, and both daemons live on.
#   inputs.sh BUILD_DIR     Needs root.
set -euo pipefail
bin=$(realpath "$1")
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
# shellcheck source=tests/e2e/clusters.sh
. "$here/clusters.sh"
cd "$work" # where a name that a shell has acted on would leave a file
api_port=$((first_port + 3))
weird="we ird \$(touch pwned) 'q\" ü; & *"
moment="sn ap\`touch pwned\` '\"é世; &"

# says CODE WORDS CLUSTER COMMAND…: it ends with this code, and its error holds these words; with
# --format json it is the same error as valid JSON.
says() {
    local wanted=$1 words=$2 code=0
    shift 2
    us "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
    [ "$code" -eq "$wanted" ] ||
        fail "exit code $code, not $wanted: $*: $(cat "$work/out" "$work/err")"
    grep -Fq -- "$words" "$work/err" || fail "$*: no '$words' in: $(cat "$work/err")"
    us "$1" --format json "${@:2}" >"$work/out" 2>"$work/err" </dev/null || true
    jq -e '.error | .kind and .text and has("kept") and has("advice")' "$work/err" >/dev/null ||
        fail "$*: no JSON error: $(cat "$work/err")"
}
token_of() { us "$1" peer invite --format json "${@:2}" | jq -r .token; }
joins() { # joins CODE WORDS CLUSTER TOKEN
    local code=0
    us "$3" peer join - <<<"$4" >"$work/out" 2>"$work/err" || code=$?
    [ "$code" -eq "$1" ] || fail "join ended with $code, not $1: $(cat "$work/err")"
    grep -Fq -- "$2" "$work/err" "$work/out" || fail "join: no '$2' in $(cat "$work/err")"
}
define() { # define NAME DISK…
    local disk disks=()
    for disk in "${@:2}"; do disks+=(--disk "$disk"); done
    "$lab/domain-xml.sh" --name "$1" --image "$work/image" "${disks[@]}" >"$work/vm.xml"
    virsh_of prod define "$work/vm.xml"
}

prepare() {
    local name
    mkdir "$work/image"
    touch "$work/image/vmlinuz" "$work/image/initrd" # named by the VMs; none of them is started
    for name in prod dr third; do "$lab/libvirt-embed.sh" "$work/$name/root" >/dev/null; done
    for name in plain weird odd; do qemu-img create -q -f qcow2 "$work/$name.qcow2" 16M; done
    qemu-io -c 'write -P 7 0 64k' "$work/weird.qcow2" >/dev/null
    qemu-img create -q -f vmdk "$work/odd.vmdk" 16M
    define web1 "$work/plain.qcow2:qcow2:vda"
    define "$weird" "$work/weird.qcow2:qcow2:vda"
    define odd "$work/odd.qcow2:qcow2:vda" "$work/odd.vmdk:vmdk:vdb"
}

before_there_is_a_cluster() {
    begin prod
    us prod cluster status | tells 'not set up yet' || fail "no word on the missing cluster"
    us prod --format json cluster status | jq -e '.cluster == null' >/dev/null
    says 3 'cluster init NAME' prod vm list
    says 3 'cluster init NAME' prod peer invite
    says 2 "letters, digits" prod cluster init 'two words'
    us prod cluster init prod
    us prod cluster init prod >/dev/null # once more changes nothing
    says 3 "cluster 'prod' already" prod cluster init other
}

pairing() {
    local token spent
    begin dr
    begin third
    us dr cluster init dr
    us third cluster init third
    spent=$(token_of dr)
    joins 0 'Paired with dr' prod "$spent"
    joins 3 'expired or was used' third "$spent"
    joins 3 'expired or was used' prod "$spent"
    joins 0 'Paired with dr' prod "$(token_of dr)" # pairing again is no error
    joins 3 "own" dr "$(token_of dr)"
    token=$(token_of dr)
    for spent in "${token%?}" "${token#?}" "${token/./}" "$token$token" hello \
        "$(printf '%9000d' 1)"; do
        joins 2 'token' third "$spent"
    done
    joins 2 'no token' third ''
    token=$(token_of dr --ttl 1ms)
    joins 3 'expired at' third "$token"
    says 2 'ttl' prod peer invite --ttl soon
    says 2 '7 days' prod peer invite --ttl 8d
    # Another key than the token's answers at its address.
    token=$(token_of dr | cut -d. -f2 | tr _- /+ | base64 -d 2>/dev/null || true)
    token=$(jq -c '.fingerprint = ("0" * 64)' <<<"$token" | tr -d '\n' | base64 -w0)
    token=$(tr -d = <<<"$token" | tr /+ _-)
    token="understudy1.$token.$(printf %s "$token" | sha256sum | cut -c1-8)"
    joins 3 'not the pinned one' third "$token"
}

unknown_names() {
    local id
    id=$(cat /proc/sys/kernel/random/uuid)
    us prod vm snapshot create web1 one
    says 1 "no VM 'nosuch'" prod vm info nosuch
    says 1 "no VM 'nosuch'" prod vm start nosuch
    says 1 "no VM 'nosuch'" prod vm snapshot create nosuch
    says 1 "no VM 'nosuch'" prod -y vm release nosuch
    says 1 'nosuch' prod vm snapshot info web1 nosuch
    says 1 'nosuch' prod vm snapshot send web1 nosuch --to dr
    says 1 'nosuch' prod -y vm snapshot remove web1 nosuch
    says 1 'nosuch' prod -y vm snapshot rollback web1 nosuch
    says 1 "no peer 'nosuch'" prod vm snapshot send web1 --to nosuch
    says 1 "no peer 'nosuch'" prod peer info nosuch
    says 1 "no peer 'nosuch'" prod -y peer remove nosuch
    says 1 "no pool 'nosuch'" prod peer map dr pool ssd=nosuch
    says 1 "no VM 'nosuch'" dr -y replica promote nosuch
    says 1 "no VM 'nosuch'" dr replica info nosuch
    says 1 "$id" prod task info "$id"
    says 1 "no task '0000000'" prod task cancel 0000000
    says 2 "did you mean 'vm list'" prod vm lits
    says 2 'unknown option' prod vm list --all-of-them
    says 2 'THERE=HERE' prod peer map dr network lan
    says 2 'Add -y' prod vm stop web1
}

odd_names() {
    local name info
    us prod vm info "$weird" | tells -F "$weird" || fail "the name is not shown"
    us prod vm snapshot create "$weird" "$moment"
    for name in 'a/b' $'a\nb' $'\e[31m' '@x'; do
        says 2 'snapshot' prod vm snapshot create "$weird" "$name"
    done
    says 2 'empty' prod vm snapshot create "$weird" ''
    us prod vm snapshot send "$weird" "$moment" --to dr
    same_bytes "$moment" "$weird"
    us dr replica info "$weird" | tells -F "$moment" || fail "the snapshot's name did not arrive"
    says 3 "'we ird \$(touch pwned) '\\''q" dr vm start "$weird" # advice that can be pasted
    says 3 'not defined in libvirt here' dr -y vm stop "$weird"
    says 3 'replica' dr vm snapshot create "$weird"
    info=$(us prod --format json vm snapshot info "$weird" "$moment")
    [ "$(jq -r .snapshot.name <<<"$info")" = "$moment" ] || fail "JSON has another name: $info"
    completion 'vm info we\ i' "$weird"
    completion "vm snapshot info $(printf %q web1) o" one
    completion "vm snapshot send web1 one --to d" dr
    [ ! -e pwned ] || fail "a name acted in a shell"
}

# What bash would put there for this line, by the script that the program prints.
completion() { # completion LINE NAME
    (
        export UNDERSTUDY_SOCKET=$work/prod/sock PATH=$bin:$PATH
        # shellcheck source=/dev/null
        . <(understudy completion bash)
        COMP_LINE="understudy $1" COMP_POINT=$((11 + ${#1}))
        COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
        COMPREPLY=()
        _understudy understudy "${1##* }" ''
        eval "word=${COMPREPLY[0]:-}"
        [ "${word:-}" = "$2" ] || fail "'$1' is completed to '${COMPREPLY[*]}'"
    )
}

unsupported_disk() {
    local before
    before=$(find "$work/prod/pool" | sort)
    us prod vm info odd | tells vmdk || fail "vm info does not show the unsupported disk"
    says 1 'vdb' prod vm snapshot create odd
    grep -q vmdk "$work/err" || fail "no word on why: $(cat "$work/err")"
    us prod --format json vm snapshot list odd | jq -e '.snapshots == []' >/dev/null
    [ "$(find "$work/prod/pool" | sort)" = "$before" ] || fail "the refused snapshot left files"
}

plans_and_tasks() {
    local task plan
    plan=$(us prod --format json vm snapshot send web1 one --to dr --dry-run)
    jq -e '.plan.kind == "full" and (.plan.disks | length) == 1' <<<"$plan" >/dev/null
    us dr --format json replica list | jq -e '.replicas | length == 1' >/dev/null
    task=$(us prod --no-wait vm snapshot send web1 one --to dr)
    us prod task watch "$task" >"$work/out"
    grep -q Done "$work/out" || fail "task watch: $(cat "$work/out")"
    us prod --format json task info "$task" | jq -e '.task.state == "succeeded"' >/dev/null
    us prod --format json task log "$task" | jq -e '.lines | length > 0' >/dev/null
    us prod --format json task list --all | jq -e '.tasks | length > 2' >/dev/null
    says 1 'succeeded already' prod task cancel "$task"
    says 1 'failed or was cancelled' prod task retry "$task"
    us prod --format json vm snapshot send web1 one --to dr | jq -e .task.state >/dev/null
}

strangers_and_abuse() {
    local cluster log
    cluster=$(us prod --format json cluster status | jq -r .cluster.id)
    python3 "$here/wire_abuse.py" "${port[dr]}" "$work/prod/state" "$cluster" >"$work/abuse" ||
        fail "wire_abuse: $(tail -n 3 "$work/abuse")"
    us dr --format json replica list | jq -e '.replicas | length == 2' >/dev/null
    # A certificate that nobody pinned, and none at all.
    log=$(printf 'GET /peer/v1/vms/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' "$cluster" |
        openssl s_client -quiet -connect "127.0.0.1:${port[dr]}" 2>/dev/null \
            -cert "$work/third/state/identity/cert.pem" -key "$work/third/state/identity/key.pem" ||
        true)
    grep -q 'does not know this certificate' <<<"$log" || fail "a stranger was told: $log"
    log=$(printf 'GET / HTTP/1.1\r\n\r\n' |
        openssl s_client -quiet -connect "127.0.0.1:${port[dr]}" 2>&1 || true)
    ! grep -q '^HTTP' <<<"$log" || fail "a client without a certificate was served"
    us dr cluster status >/dev/null
}

replaced_identity() {
    end dr
    mv "$work/dr/state/identity" "$work/dr/state/identity.before"
    begin dr
    us prod peer info dr | tells 'not the pinned one' || fail "a new identity went unnoticed"
    says 3 'not the pinned one' prod vm snapshot send web1 one --to dr --dry-run
    joins 3 'another certificate' prod "$(token_of dr)"
    end dr
    rm -r "$work/dr/state/identity"
    mv "$work/dr/state/identity.before" "$work/dr/state/identity"
    begin dr
    joins 0 'Paired with dr' prod "$(token_of dr)"
}

peer_down() {
    local task
    crash dr
    us prod peer info dr | tells 'cannot reach dr' || fail "peer info of a dead peer"
    says 4 'cannot reach dr' prod vm snapshot send web1 one --to dr --full --dry-run
    us prod vm snapshot create web1 two
    task=$(us prod --no-wait vm snapshot send web1 two --to dr)
    await 10 waits_for_dr "$task"
    us prod task cancel "$task"
    await 10 cancelled "$task"
    says 4 'cannot reach understudyd' dr vm list
}
waits_for_dr() { us prod task log "$1" | tells 'cannot reach dr'; }
cancelled() { us prod --format json task info "$1" | jq -e '.task.state == "cancelled"'; }

end_of_pairing() {
    begin dr
    says 3 '2 VMs of this cluster are sent to it' prod -y peer remove dr
    us prod peer map dr network lan=br0
    us prod peer info dr | tells 'network lan on the peer is br0 here' || fail "no map is shown"
    us prod peer map dr network --remove lan | tells none || fail "the map is not taken back"
    us prod -y peer remove dr --force
    us prod --format json peer list | jq -e '.peers == []' >/dev/null
    us prod --format json vm snapshot list web1 | jq -e '.snapshots | length == 2' >/dev/null
    says 1 'no peers' prod vm snapshot send web1 two
    us dr peer info prod | tells 'does not know this certificate' || fail "the other side is told"
    crash prod
    us dr -y replica promote "$weird" --no-start
    says 3 'owns the VM already' dr -y replica promote "$weird"
    us dr vm list | tells -F "$weird" || fail "the promoted VM is not listed"
    [ ! -e pwned ] || fail "a name acted in a shell"
}

# Over HTTPS, with what is left: third.
api_over_https() {
    local pin url=https://127.0.0.1:$api_port
    end third
    sed -i "1i listen_api = \"127.0.0.1:$api_port\"" "$work/third/understudyd.toml"
    "$bin/understudyd" -c "$work/third/understudyd.toml" >>"$work/third/log" 2>&1 &
    daemon[third]=$!
    await 20 us third cluster status
    pin=$(openssl x509 -in "$work/third/state/identity/cert.pem" -noout -fingerprint -sha256)
    export UNDERSTUDY_URL=$url UNDERSTUDY_FINGERPRINT=${pin#*=}
    export UNDERSTUDY_TOKEN_FILE=$work/third/state/api-token
    "$bin/understudy" cluster status | tells third || fail "the API over HTTPS"
    (umask 077 && printf 'wrong-token-wrong-token-wrong-token\n' >"$work/token")
    ends 4 'does not accept the token' --token-file "$work/token" cluster status
    chmod 644 "$work/token"
    ends 2 'every user of this machine can read it' --token-file "$work/token" cluster status
    ends 3 'not the pinned one' --fingerprint "${UNDERSTUDY_FINGERPRINT//[0-9]/0}" cluster status
    ends 4 'cannot reach understudyd' --url "https://127.0.0.1:$((api_port + 5))" cluster status
    ends 2 'https://' --url "http://127.0.0.1:$api_port" cluster status
    UNDERSTUDY_FINGERPRINT='' ends 2 'fingerprint' cluster status
    unset UNDERSTUDY_URL UNDERSTUDY_FINGERPRINT UNDERSTUDY_TOKEN_FILE
    [ "$(curl -sk -o "$work/out" -w '%{http_code}' "$url/v1/cluster")" = 401 ] ||
        fail "a caller without a token got in"
    jq -e .error.text "$work/out" >/dev/null
    # Another user, even where the socket's mode lets everybody in.
    chmod 711 "$work" "$work/third"
    chmod 666 "$work/third/sock"
    cp "$bin/understudy" "$work/understudy"
    ends 4 'not allowed on this socket' as_nobody
}
as_nobody() {
    setpriv --reuid=65534 --regid=65534 --clear-groups \
        "$work/understudy" --socket "$work/third/sock" cluster status
}
ends() { # ends CODE WORDS, then as_nobody or words for understudy
    local wanted=$1 words=$2 code=0
    shift 2
    if [ "$1" = as_nobody ]; then set -- "$@"; else set -- "$bin/understudy" "$@"; fi
    "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
    [ "$code" -eq "$wanted" ] || fail "exit code $code, not $wanted: $*: $(cat "$work/err")"
    grep -Fq -- "$words" "$work/err" || fail "$*: no '$words' in $(cat "$work/err")"
}

# A daemon that cannot start says why and ends with a code that is not 0.
daemons_that_cannot_start() {
    local dir=$work/none
    mkdir "$dir"
    starts_not "another understudyd is running on $work/third/state" \
        "state_dir = \"$work/third/state\""
    starts_not 'another process listens' "state_dir = \"$dir/a\"" "socket = \"$work/third/sock\""
    starts_not 'Not a directory' "state_dir = \"$work/none.toml/x\""
    starts_not "$api_port" "state_dir = \"$dir/b\"" "listen_api = \"127.0.0.1:$api_port\""
    starts_not "line 1: unknown field 'state_dri'" "state_dri = \"$dir\""
    starts_not "line 2: 'workers'" "state_dir = \"$dir\"" 'workers = "many"'
    # What is only needed from `cluster init` on fails there, and leaves no half cluster behind.
    printf '%s\n' "state_dir = \"$dir/c\"" "socket = \"$dir/sock\"" \
        "listen_peers = \"127.0.0.1:${port[third]}\"" \
        "hypervisor = \"qemu:///system?socket=$dir/no\"" >"$dir/toml"
    "$bin/understudyd" -c "$dir/toml" >"$dir/log" 2>&1 &
    daemon[none]=$!
    await 20 us none cluster status
    says 4 'connect to libvirt' none cluster init none
    us none --format json cluster status | jq -e '.cluster == null' >/dev/null
}
starts_not() { # starts_not WORDS LINE_OF_THE_CONFIGURATION…
    local words=$1 code=0
    shift
    printf '%s\n' "$@" >"$work/none.toml"
    grep -q '^socket' "$work/none.toml" || sed -i "\$a socket = \"$work/none/s\"" "$work/none.toml"
    timeout 20 "$bin/understudyd" -c "$work/none.toml" >"$work/out" 2>&1 || code=$?
    case $code in 0 | 124) fail "understudyd ended with $code: $*" ;; esac
    grep -Fq -- "$words" "$work/out" || fail "no '$words' in $(cat "$work/out")"
}

every_help_has_an_example() {
    local command
    while read -r command; do
        # shellcheck disable=SC2086 # it is several words
        "$bin/understudy" $command --help | tells '^Example' || fail "$command --help: no example"
    done < <(for noun in cluster peer vm replica task event; do
        "$bin/understudy" "$noun" --help | sed -n 's/^  \([a-z -]*[a-z]\) .*/\1/p'
    done)
}

for part in prepare before_there_is_a_cluster pairing unknown_names odd_names unsupported_disk \
    plans_and_tasks strangers_and_abuse replaced_identity peer_down end_of_pairing api_over_https \
    daemons_that_cannot_start every_help_has_an_example; do
    "$part"
    echo "$part: ok after $SECONDS s"
done
for name in dr third; do kill -0 "${daemon[$name]}" || fail "understudyd of $name is gone"; done
echo "inputs: ok"
