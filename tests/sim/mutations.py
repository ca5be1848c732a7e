#!/usr/bin/env python3
"""Proof that the simulation's checkers see: each rule below is broken in a program of its own, and
the simulation with that rule has to fail. A text that is no longer in its file is an error.

  mutations.py names           one line for each: NAME FILE
  mutations.py write NAME TO   the file of src/ with that rule broken
  mutations.py caught PROGRAM  runs recoveries and seeds with it; fails when all promises are kept
"""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
OWNERSHIP = "src/engine/ownership.cpp"

# name: (file, text that is there once, what stands there instead)
MUTATIONS = {
    # A superseded VM may be started again.
    "superseded_starts": (
        OWNERSHIP,
        "    if (here.phase == Phase::owned && here.owner == self) return {};\n    switch",
        "    if (here.phase != Phase::replica) return {};\n    switch",
    ),
    # Whoever speaks last is believed.
    "lower_epoch_wins": (
        OWNERSHIP,
        "    if (!prevails(there, here)) return std::nullopt;",
        "    if (there.owner == here.owner) return std::nullopt;\n"
        "    if (there.epoch == here.epoch && there.owner < here.owner) return std::nullopt;",
    ),
    # Of two owners under one epoch neither gives way.
    "no_tie_break": (
        OWNERSHIP,
        "    if (!prevails(there, here)) return std::nullopt;",
        "    if (there.epoch <= here.epoch) return std::nullopt;",
    ),
    # A lost reply is taken for a no.
    "source_guesses": (
        "src/tasks/recovery/move.cpp",
        "    if (!answer) return fail(waiting(work, std::move(answer.error())));",
        "    if (!answer)\n"
        "        answer = model::Ownership{vm.ownership.epoch + 1, site.cluster.id,\n"
        "                                  Phase::replica};",
    ),
    # What was declined looks like what was offered.
    "decline_keeps_the_epoch": (
        OWNERSHIP,
        "    return Ownership{offered.epoch + 1, source, here.phase};",
        "    return Ownership{offered.epoch, source, here.phase};",
    ),
    # A replica is taken over whatever it has heard since.
    "outdated_offer_counts": (
        OWNERSHIP,
        "here.owner == source && here.epoch < offered.epoch)",
        "here.owner == source)",
    ),
    # A superseded VM that runs is left running.
    "superseded_runs_on": (
        "src/tasks/owners/ownership_news.cpp",
        "    return site.hypervisor.pause(vm.id);",
        "    return {};",
    ),
    # Two replicas of one owner never hear of each other.
    "holders_stay_strangers": (
        "src/tasks/owners/ownership_news.cpp",
        "    return site.catalog.record_holders(vm, known);",
        "    return {};",
    ),
    # The VM is started before it is owned.
    "starts_before_it_owns": (
        "src/tasks/recovery/promote.cpp",
        '{.name = "own", .run = own, .must_go_on = true},\n'
        '                      {.name = "define", .run = define, .must_go_on = true},\n'
        '                      {.name = "start", .run = start, .must_go_on = true},\n',
        '{.name = "define", .run = define, .must_go_on = true},\n'
        '                      {.name = "start", .run = start, .must_go_on = true},\n'
        '                      {.name = "own", .run = own, .must_go_on = true},\n',
    ),
    # Who handed over to a cluster that heard of another owner waits for its word for ever.
    "refusal_by_another_is_no_word": (
        OWNERSHIP,
        "        if (!is_final) return std::nullopt;",
        "        return std::nullopt;",
    ),
    # The target is asked before the source has recorded it.
    "asks_before_it_records": (
        "src/tasks/recovery/move.cpp",
        "    UNDERSTUDY_TRY(change_role(site, vm, next, work.task().actor));\n"
        '    work.log(fmt::format("given away',
        "    if (auto link = site.peers.to(peer_id(work)); link)\n"
        "        (void)(*link)->hand_over({vm.id, next, last, true, false, {}});\n"
        "    UNDERSTUDY_TRY(change_role(site, vm, next, work.task().actor));\n"
        '    work.log(fmt::format("given away',
    ),
    # After the record the VM is started here when the move fails.
    "failed_move_restarts": (
        "src/tasks/recovery/move.cpp",
        "    if (owned) UNDERSTUDY_TRY(restart(work));",
        "    UNDERSTUDY_TRY(restart(work));",
    ),
    # What libvirt says after a crash is believed.
    "libvirt_is_believed": (
        "src/tasks/snapshots/snapshot_moment.cpp",
        "    if (!memo_of(work).taken || planned_switches(work).empty()) return {};",
        "    return {};",
    ),
    # Overlays that hold what was written to them once are used again.
    "overlays_are_used_twice": (
        "src/tasks/snapshots/snapshot_moment.cpp",
        "    UNDERSTUDY_TRY(forget_heads(work));\n    work.log",
        "    work.log",
    ),
    # What a superseded VM wrote is thrown away.
    "branch_is_lost": (
        "src/tasks/owners/branch.cpp",
        "        if (!equal || !*equal) return equal;",
        "        if (!equal) return equal;",
    ),
}


def mutated(name: str) -> str:
    file, before, after = MUTATIONS[name]
    text = (ROOT / file).read_text()
    if text.count(before) != 1:
        sys.exit(f"mutations.py: {name}: its text is {text.count(before)} times in {file}")
    return text.replace(before, after)


def caught(program: str) -> None:
    bad_days = {"UNDERSTUDY_SEEDS": "2000"}
    for tests in ("Recovery.*", "Three.*", "Scenario.*", "Seeds.odd_*", "RecoveryCutOff.*"):
        run = subprocess.run(
            [program, "--gtest_filter=" + tests, "--gtest_fail_fast"],
            capture_output=True,
            text=True,
            env=os.environ | bad_days,
        )
        if run.returncode == 0:
            continue
        said = re.findall(r"^.*(?:promise|seed) \d.*|^.*FAILED.*", run.stdout, re.MULTILINE)
        if not said and run.returncode > 0:
            sys.exit(f"it could not be run: {run.stdout}{run.stderr}")
        print(said[0] if said else f"ended by signal {-run.returncode}: a broken invariant")
        return
    sys.exit("all promises were kept: this rule is not watched")


def main() -> None:
    match sys.argv[1:]:
        case ["names"]:
            for name, (file, _, _) in MUTATIONS.items():
                print(name, file)
        case ["write", name, to]:
            pathlib.Path(to).write_text(mutated(name))
        case ["caught", program]:
            caught(program)
        case _:
            sys.exit(__doc__)


main()
