"""Contestants taking turns, and what is told of them."""
import argparse
import json
import platform
import statistics
import sys
import time
from dataclasses import asdict


def wish(known):
    def parse(text):
        words = text.split(",")
        unknown = set(words) - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {known}")
        return words
    return parse


def compete(contestants, rounds):
    """{name: [Outcome…]}; in the first round what arrived is compared with what was sent."""
    results = {contestant.name: [] for contestant in contestants}
    for number in range(rounds):
        for contestant in contestants:
            contestant.prepare()
            outcome, _ = contestant.go()
            if number == 0:
                contestant.check()
            contestant.clean()
            results[contestant.name].append(outcome)
            print(f"    {contestant.name:24} {outcome.seconds:7.2f} s", file=sys.stderr, flush=True)
    return results


def median(outcomes, field):
    return statistics.median(getattr(outcome, field) for outcome in outcomes)


def table(title, results):
    print(f"\n{title}")
    print(f"  {'':24} {'seconds':>8} {'min–max':>13} {'CPU s':>7} {'wire MiB':>9} {'peak MiB':>9}"
          f" {'to ours':>8}")
    ours = median(results["understudy"], "seconds") if "understudy" in results else None
    for name, outcomes in results.items():
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


def keep(path, record):
    path.write_text(json.dumps({"machine": machine(), "cases": record}, indent=1))
    print(f"\n{path}")
