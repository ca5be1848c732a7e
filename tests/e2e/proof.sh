# What the tests of comparing and resyncing share; sourced after clusters.sh.
# shellcheck shell=bash disable=SC2154

carried() { # all bytes between the two clusters so far
    local cluster up down sum=0
    for cluster in prod dr; do
        read -r up down < <(link_to "$cluster" count)
        sum=$((sum + up + down))
    done
    echo "$sum"
}

id_of() { # id_of SNAPSHOT
    us prod --format json vm snapshot info web1 "$1" | jq -r .snapshot.id
}
disk_of() { # disk_of SNAPSHOT TARGET: its volume
    us prod --format json vm snapshot info web1 "$1" |
        jq -r --arg target "$2" '.snapshot.disks[] | select(.target == $target) | .volume'
}

verified_for() { # verified_for LIMIT: the newest snapshot, and what that moved
    local before moved
    before=$(carried)
    us dr --format json replica verify web1 >"$work/verified" || fail "$(cat "$work/verified")"
    moved=$(($(carried) - before))
    jq -e '.tasks[-1].result.verification.equal' "$work/verified" >/dev/null ||
        fail "not equal: $(cat "$work/verified")"
    echo "equal, for $moved bytes over the wire, of which $(jq \
        '.tasks[-1].result.verify_wire_bytes' "$work/verified") are questions and answers"
    [ "$moved" -lt "$1" ] || fail "$moved bytes to find out that nothing differs"
}

differs_at() { # differs_at TARGET OFFSET: one grain, named everywhere
    local code=0
    us dr replica verify web1 >"$work/differs" 2>&1 || code=$?
    [ "$code" -eq 1 ] || fail "exit code $code, not 1: $(cat "$work/differs")"
    grep -q "$1 at $2+4096" "$work/differs" || fail "not named: $(cat "$work/differs")"
    us dr replica list | tells DIFFERS || fail "not listed: $(us dr replica list)"
    us dr replica info web1 | tells "$1 at $2, 4096 bytes" ||
        fail "not shown: $(us dr replica info web1)"
    echo "one flipped bit: $(grep "^error" "$work/differs")"
}

repaired() { # repaired SNAPSHOT
    us dr replica verify web1 --repair >"$work/repaired" || fail "$(cat "$work/repaired")"
    grep -q '4.0 KiB repaired' "$work/repaired" || fail "$(cat "$work/repaired")"
    grep -q 'equal to what prod has' "$work/repaired" || fail "$(cat "$work/repaired")"
    same_bytes "$1"
    us dr replica list | tells -E 'equal (just now|.* ago)' || fail "still: $(us dr replica list)"
}

# Whatever dr's catalog knows of VMs, gone while its daemon is down.
forget_rows() {
    end dr
    sqlite3 "$work/dr/state/catalog.db" 'PRAGMA foreign_keys = ON; DELETE FROM holds;
        DELETE FROM replications; DELETE FROM snapshots; DELETE FROM vms;'
    begin dr
    us dr --format json replica list | jq -e '.replicas == []' >/dev/null || fail "still listed"
}

resynced() { # resynced SNAPSHOT LIMIT: sends it, and judges what that moved
    local before moved
    us prod --format json vm snapshot send web1 "$1" --to dr --dry-run >"$work/plan"
    jq -e --argjson most "$2" '.plan.kind == "resync" and .plan.bytes <= $most' "$work/plan" \
        >/dev/null || fail "no resync is planned: $(cat "$work/plan")"
    before=$(carried)
    us prod --format json vm snapshot send web1 "$1" --to dr >"$work/sent"
    moved=$(($(carried) - before))
    jq -e '.task.result.kind == "resync"' "$work/sent" >/dev/null || fail "$(cat "$work/sent")"
    echo "$1: resync, $(jq .plan.bytes "$work/plan") bytes differ, $moved over the wire"
    [ "$moved" -lt "$2" ] || fail "$1 moved $moved bytes, not less than $2"
    same_bytes "$1"
}

only_snapshots_of() { # only_snapshots_of SNAPSHOT: nothing else is left in dr's volumes
    local id volume
    id=$(id_of "$1")
    for volume in "$work"/dr/pool/*/volume.json; do
        jq -e --arg id "$id" '[.layers[] | select(.role == "snapshot") | .snapshot] == [$id]' \
            "$volume" || return 1
    done
}
