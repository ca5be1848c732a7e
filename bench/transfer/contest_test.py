#!/usr/bin/env python3
"""Shows that a contestant that fails is named, costs the others nothing, and loses nothing."""
import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

import contest
import scene
from images import Failed


class Fake:
    """Fails in `step` of the round `at`."""

    def __init__(self, name, place, step=None, at=0, error=Failed("waited in vain for port 1")):
        self.name, self.place, self.step, self.at, self.error = name, place, step, at, error
        self.rounds, self.servers, self.cleaned = -1, [], 0

    def reach(self, step):
        if step == self.step and self.rounds == self.at:
            raise self.error

    def prepare(self):
        self.rounds += 1
        self.reach("prepare")

    def go(self):
        server = self.place.start(["sleep", "60"])
        self.servers.append(server)
        self.reach("go")
        self.place.end(server)
        return scene.Outcome(1.0 + self.rounds, 0.5, 1 << 20, 1 << 20), ""

    def check(self):
        self.reach("check")

    def clean(self):
        self.cleaned += 1
        self.reach("clean")


class Contest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.record = contest.Record(Path(folder.name) / "bench.json")
        self.place = scene.Place.__new__(scene.Place)
        self.place.name, self.place.processes = "lo", []
        self.daemon = self.place.start(["sleep", "60"])
        self.addCleanup(self.place.end_all_but, [])
        self.out = io.StringIO()

    def compete(self, *contestants, rounds=2):
        with contextlib.redirect_stdout(self.out), contextlib.redirect_stderr(self.out):
            self.record.case("full, lo", contestants, rounds, self.place, task="full")
        return json.loads(self.record.path.read_text())

    def measured(self, kept):
        return {name: len(rounds) for name, rounds in kept["cases"][-1]["results"].items()}

    def end(self):
        with contextlib.redirect_stdout(self.out), self.assertRaises(SystemExit) as ended:
            self.record.end("bench")
        return str(ended.exception)

    def test_nothing_failed(self):
        kept = self.compete(Fake("a", self.place), Fake("understudy", self.place))
        self.assertEqual(self.measured(kept), {"a": 2, "understudy": 2})
        self.assertEqual(kept["failures"], [])
        with contextlib.redirect_stdout(self.out):
            self.record.end("bench")

    def test_the_others_go_on_and_the_end_is_a_failure(self):
        for step in ("prepare", "go", "check"):
            bad = Fake("bad", self.place, step)
            kept = self.compete(bad, Fake("understudy", self.place), Fake("c", self.place))
            self.assertEqual(self.measured(kept), {"bad": 0, "understudy": 2, "c": 2}, step)
            self.assertEqual(kept["failures"][-1], {
                "where": "full, lo", "contestant": "bad", "reason": "waited in vain for port 1"})
            self.assertEqual((bad.rounds, bad.cleaned), (0, 1))
        self.assertIn("bad                      FAILED after 0 rounds: waited in vain for port 1",
                      self.out.getvalue())
        self.assertIn("bad (full, lo): waited in vain for port 1", self.end())

    def test_what_was_measured_of_it_before_is_kept(self):
        kept = self.compete(Fake("bad", self.place, "go", 1), Fake("b", self.place), rounds=3)
        self.assertEqual(self.measured(kept), {"bad": 1, "b": 3})
        kept = self.compete(Fake("bad", self.place, "clean"), Fake("b", self.place))
        self.assertEqual(self.measured(kept), {"bad": 1, "b": 2})

    def test_the_table_does_without_understudy(self):
        kept = self.compete(Fake("understudy", self.place, "go"), Fake("b", self.place))
        self.assertEqual(self.measured(kept), {"understudy": 0, "b": 2})

    def test_what_it_started_is_ended_and_nothing_else(self):
        bad = Fake("bad", self.place, "go")
        self.compete(bad)
        self.assertIsNotNone(bad.servers[0].returncode)
        self.assertEqual(self.place.processes, [self.daemon])
        self.assertIsNone(self.daemon.poll())

    def test_an_error_of_any_kind_counts(self):
        kept = self.compete(Fake("bad", self.place, "go", error=KeyError("x")))
        self.assertEqual(kept["failures"][0]["reason"], "KeyError: 'x'")

    def test_one_that_cannot_be_made_is_told(self):
        def begin():
            raise Failed("no ssh-keygen")
        with contextlib.redirect_stderr(self.out):
            self.assertIsNone(self.record.attempt("full, lo", "rsync", begin))
        kept = self.compete(None, Fake("b", self.place))
        self.assertEqual(self.measured(kept), {"b": 2})
        self.assertIn("rsync (full, lo): no ssh-keygen", self.end())

    def test_a_server_that_ends_is_not_waited_for(self):
        log = self.record.path.with_name("log")
        self.place.target_host = "127.0.0.1"
        server = self.place.start(["sh", "-c", "echo address in use; exit 3"], log=log)
        server.wait()
        with self.assertRaisesRegex(Failed, "ended by itself with 3: address in use"):
            self.place.await_port(1, server)
        with self.assertRaisesRegex(Failed, "ended by itself with 3: address in use"):
            self.place.end(server)
        self.assertNotIn(server, self.place.processes)


if __name__ == "__main__":
    unittest.main(argv=["contest_test", "-q"])
