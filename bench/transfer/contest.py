"""Contestants taking turns, and what is told of them.

One that fails is named with the reason and sits out the rest of its case; what was measured of it
before, and the others, count. What was measured is written after each case, and a bench in which
anything failed ends with 1.
"""
import argparse
import json
import platform
import statistics
import sys
import time
import traceback
from dataclasses import asdict

from images import Failed


def wish(known):
    def parse(text):
        words = text.split(",")
        unknown = set(words) - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {known}")
        return words
    return parse


class Record:
    """What was measured and what failed, kept in a file from the first case on."""

    def __init__(self, path):
        self.path = path
        self.cases, self.failures = [], []

    def attempt(self, where, name, begin):
        """What `begin` gives; None when it fails, and then that is told and kept."""
        try:
            return begin()
        except Exception as error:  # pylint: disable=broad-except
            self.fail(where, name, told(name, error))
            return None

    def fail(self, where, name, reason):
        self.failures.append({"where": where, "contestant": name, "reason": reason})
        self.keep()

    def case(self, where, contestants, rounds, place, **what):
        """Has them compete, and tells and keeps what came of it. Contestants that are None were
        told before."""
        contestants = [one for one in contestants if one]
        if not contestants:
            return
        print(f"  {where}", file=sys.stderr)
        results, failed = compete(contestants, rounds, place)
        table(where, results, failed)
        self.cases.append({"place": place.name, **what, "results": recorded(results)})
        for name, reason in failed.items():
            self.fail(where, name, reason)
        self.keep()

    def keep(self):
        whole = {"machine": machine(), "cases": self.cases, "failures": self.failures}
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(whole, indent=1))
        new.replace(self.path)

    def end(self, bench):
        """Where it is kept; the end of the program, with 1 when something failed."""
        self.keep()
        print(f"\n{self.path}", flush=True)
        if self.failures:
            sys.exit(f"{bench}: failed, the rest was measured:\n" + "\n".join(
                f"  {one['contestant']} ({one['where']}): {short(one['reason'], 400)}"
                for one in self.failures))


def told(name, error):
    """The reason, and says it at once."""
    reason = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
    if not isinstance(error, Failed):
        traceback.print_exception(error, file=sys.stderr)
    print(f"    {name:24} FAILED: {reason}", file=sys.stderr, flush=True)
    return reason


def short(reason, length):
    words = " ".join(reason.split())
    return words if len(words) <= length else words[:length] + "…"


def compete(contestants, rounds, place):
    """({name: [Outcome…]}, {name: why it failed}); in the first round what arrived is compared
    with what was sent."""
    results, failed = {contestant.name: [] for contestant in contestants}, {}
    for number in range(rounds):
        for contestant in contestants:
            if contestant.name in failed:
                continue
            running = list(place.processes)
            try:
                contestant.prepare()
                outcome, _ = contestant.go()
                if number == 0:
                    contestant.check()
                results[contestant.name].append(outcome)
                contestant.clean()
            except Exception as error:  # pylint: disable=broad-except
                failed[contestant.name] = told(contestant.name, error)
                leave(contestant, place, running)
                continue
            print(f"    {contestant.name:24} {outcome.seconds:7.2f} s", file=sys.stderr, flush=True)
    return results, failed


def leave(contestant, place, running):
    """Makes room for the others: ends what it started, and removes what it left if it can."""
    place.end_all_but(running)
    try:
        contestant.clean()
    except Exception as error:  # pylint: disable=broad-except
        print(f"    {contestant.name:24} could not be cleaned up: {error}", file=sys.stderr)


def median(outcomes, field):
    return statistics.median(getattr(outcome, field) for outcome in outcomes)


def table(title, results, failed):
    print(f"\n{title}")
    print(f"  {'':24} {'seconds':>8} {'min–max':>13} {'CPU s':>7} {'wire MiB':>9} {'peak MiB':>9}"
          f" {'to ours':>8}")
    ours = median(results["understudy"], "seconds") if results.get("understudy") else None
    for name, outcomes in results.items():
        if name in failed:
            print(f"  {name:24} FAILED after {len(outcomes)} rounds: {short(failed[name], 120)}")
        if not outcomes:
            continue
        seconds = median(outcomes, "seconds")
        times = sorted(outcome.seconds for outcome in outcomes)
        ratio = f"{seconds / ours:7.2f}×" if ours else ""
        print(f"  {name:24} {seconds:8.2f} {times[0]:6.2f}–{times[-1]:<6.2f}"
              f" {median(outcomes, 'cpu'):7.2f} {median(outcomes, 'wire') / 2**20:9.2f}"
              f" {max(outcome.memory for outcome in outcomes) / 2**20:9.0f} {ratio:>8}")
    sys.stdout.flush()


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), platform.machine())
    cpus = sum(line.startswith("processor") for line in open("/proc/cpuinfo", encoding="utf-8"))
    return f"{cpus} × {model}, Linux {platform.release()}, {time.strftime('%Y-%m-%d')}"


def recorded(results):
    return {name: [asdict(outcome) for outcome in outcomes] for name, outcomes in results.items()}
