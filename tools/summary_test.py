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


if __name__ == "__main__":
    unittest.main(argv=["summary_test", "-q"])
