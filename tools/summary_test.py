#!/usr/bin/env python3
"""Shows that tools/summary counts what ran, and lets nothing that did not run pass for passed."""
import importlib.machinery
import importlib.util
import tempfile
import unittest
from pathlib import Path

LOADER = importlib.machinery.SourceFileLoader("summary", str(Path(__file__).parent / "summary"))
summary = importlib.util.module_from_spec(importlib.util.spec_from_loader("summary", LOADER))
LOADER.exec_module(summary)


def ctest_case(name, status, skipped=None):
    inner = f'<skipped message="{skipped}"/>' if skipped else ""
    return f'<testcase name="{name}" status="{status}">{inner}</testcase>'


def gtest_case(name, result="completed", failure=""):
    return f'<testcase classname="S" name="{name}" status="run" result="{result}">{failure}' \
           "</testcase>"


def tally(cases, gtest=None):
    """(passed, failed names, skipped names) of one label; gtest: program → its cases."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        if cases is not None:
            (results / "unit.xml").write_text(f"<testsuite>{''.join(cases)}</testsuite>")
        (results / "unit").mkdir()
        for program, inner in (gtest or {}).items():
            text = f"<testsuites><testsuite>{''.join(inner)}</testsuite></testsuites>"
            (results / "unit" / f"{program}.xml").write_text(text)
        found = summary.label_tally(results, "unit", {"unit_a": "test_a"}, ["unit_a"])
        return found.passed, [f.split(" ")[0] for f in found.failed], found.skipped


class Summary(unittest.TestCase):
    def test_a_gtest_program_counts_by_its_cases(self):
        cases = [gtest_case("a"), gtest_case("b"), gtest_case("c", "skipped"),
                 gtest_case("d", failure="<failure/>")]
        self.assertEqual(tally([ctest_case("unit_a", "fail")], {"test_a": cases}),
                         (2, ["S.d"], ["S.c"]))

    def test_a_program_that_died_is_a_failure(self):
        self.assertEqual(tally([ctest_case("unit_a", "fail")]), (0, ["unit_a"], []))
        self.assertEqual(tally([ctest_case("unit_a", "fail")], {"test_a": [gtest_case("a")]}),
                         (1, ["unit_a"], []))

    def test_a_script_counts_as_one(self):
        self.assertEqual(tally([ctest_case("lab", "run")]), (1, [], []))

    def test_only_a_skip_is_a_skip(self):
        self.assertEqual(tally([ctest_case("lab", "notrun", "SKIP_RETURN_CODE=77")]),
                         (0, [], ["lab"]))
        self.assertEqual(tally([ctest_case("lab", "disabled")]), (0, [], ["lab"]))
        self.assertEqual(tally([ctest_case("lab", "notrun", "Unable to find executable")]),
                         (0, ["lab"], []))

    def test_a_label_that_did_not_run_is_a_failure(self):
        self.assertEqual(tally(None), (0, ["unit"], []))


BUDGETS = summary.read_budgets("# minutes\nbuild 1 21\nunit  5\n\ne2e 20\n")


def told(took, times=()):
    return summary.told_times(took, BUDGETS, list(times))


class Times(unittest.TestCase):
    def test_a_part_within_its_budget_is_no_warning(self):
        lines = told({"unit": (300, 0)})
        self.assertEqual([line.split() for line in lines],
                         [["part", "minutes", "budget"], ["unit", "5.0", "5.0"]])

    def test_a_part_over_its_budget_is_said_plainly(self):
        lines = told({"unit": (306, 0)})
        self.assertIn("OVER", lines[1])
        self.assertEqual(lines[-1], "WARNING: unit is over its budget: 5.1 of 5.0 minutes")

    def test_what_is_new_may_take_longer_by_its_share(self):
        self.assertNotIn("OVER", "".join(told({"build": (660, 0.5)})))
        self.assertIn("WARNING: build is over its budget: 11.1 of 11.0 minutes",
                      told({"build": (666, 0.5)}))
        self.assertIn("OVER", told({"build": (61, 0)})[1])

    def test_the_whole_run_has_a_budget_too(self):
        took = {"e2e": (1500, 0), "build": (30, 0), "unit": (240, 0)}
        self.assertIn("WARNING: the whole run is over its budget: 29.5 of 26.0 minutes", told(took))
        self.assertNotIn("whole run", "".join(told({"e2e": (1500, 0)})))

    def test_a_part_without_a_budget_is_a_warning(self):
        self.assertIn("WARNING: new has no budget in tools/budgets", told({"new": (1, 0)}))

    def test_the_slowest_ten_are_named(self):
        lines = told({}, [(number, f"t{number}") for number in range(12)])
        self.assertEqual(lines[0], "the slowest 10 tests, in seconds:")
        self.assertEqual([line.split()[1] for line in lines[1:]],
                         [f"t{number}" for number in range(11, 1, -1)])

    def test_every_part_has_a_budget_and_together_they_are_what_was_promised(self):
        budgets = summary.read_budgets(summary.BUDGETS.read_text())
        self.assertEqual(set(budgets), summary.LABELS | {"build", "check"})
        self.assertLess(sum(warm for warm, _ in budgets.values()), 45)
        self.assertLess(sum(cold for _, cold in budgets.values()), 75)

    def test_what_was_spent_is_read_as_dev_writes_it(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(summary.spent(Path(folder)), {})
            Path(folder, "spent").write_text("build 90 1 4\nsim 5\ncheck 0 0 0\n")
            self.assertEqual(summary.spent(Path(folder)),
                             {"build": (90, 0.25), "sim": (5, 0), "check": (0, 0)})

    def test_a_case_and_a_script_are_timed(self):
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder)
            (results / "unit").mkdir()
            (results / "unit.xml").write_text(
                '<testsuite><testcase name="unit_a" status="run" time="9"/>'
                '<testcase name="lab" status="run" time="2.5"/></testsuite>')
            (results / "unit" / "test_a.xml").write_text(
                '<testsuites><testsuite><testcase classname="S" name="a" time="8"'
                ' result="completed"/></testsuite></testsuites>')
            tally = summary.label_tally(results, "unit", {"unit_a": "test_a"}, ["unit_a", "lab"])
            self.assertEqual(tally.times, [(8, "S.a"), (2.5, "lab")])


if __name__ == "__main__":
    unittest.main(argv=["summary_test", "-q"])
