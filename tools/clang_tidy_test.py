#!/usr/bin/env python3
"""Shows that tools/clang_tidy remembers a pass for all clones, and only for what passed."""
import importlib.machinery
import importlib.util
import json
import os
import tempfile
import unittest
from pathlib import Path

PATH = Path(__file__).parent / "clang_tidy"
LOADER = importlib.machinery.SourceFileLoader("clang_tidy", str(PATH))
tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("clang_tidy", LOADER))
LOADER.exec_module(tool)

OBJECT = "CMakeFiles/a.cpp.o"


class Clone:
    """One source with a header of its own and one of the system's, built."""

    def __init__(self, folder, system, build="build/release"):
        self.root, self.build = folder, folder / build
        self.source, self.header = folder / "src/a.cpp", folder / "src/a.hpp"
        self.files = [self.source, self.header, system]
        for path in (self.source, self.header, self.build / OBJECT):
            path.parent.mkdir(parents=True, exist_ok=True)
        self.source.write_text("int a;")
        self.header.write_text("#pragma once")
        self.built()

    def built(self):
        (self.build / OBJECT).write_text("")
        newest = max(path.stat().st_mtime_ns for path in self.files if path.exists())
        os.utime(self.build / OBJECT, ns=(newest, newest))

    def command(self):
        return (f"/usr/bin/c++ -DLAB=\\\"{self.root}/lab\\\" -I{self.root}/src -o {OBJECT}"
                f" -c {self.source} -MF {self.build}/d")

    def key(self, settings="19", command=None, files=None):
        return tool.Keys(self.root, self.build, settings).of(
            OBJECT, command or self.command(), self.files if files is None else files)


class KeysOfResults(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.system = self.folder / "string"
        self.system.write_text("namespace std {}")
        self.one = Clone(self.folder / "one", self.system)
        self.key = self.one.key()

    def test_it_is_the_same_in_another_place_and_another_build_directory(self):
        self.assertIsNotNone(self.key)
        self.assertEqual(Clone(self.folder / "two", self.system).key(), self.key)
        self.assertEqual(Clone(self.folder / "one-more/deep", self.system).key(), self.key)
        self.assertEqual(Clone(self.folder / "three", self.system, "out").key(), self.key)

    def test_it_is_another_when_anything_differs_that_the_result_depends_on(self):
        self.assertNotEqual(self.one.key(settings="20"), self.key)
        self.assertNotEqual(self.one.key(command=self.one.command() + " -DX"), self.key)
        for path in self.one.files:
            before = path.read_text()
            path.write_text(before + " // more")
            self.one.built()
            self.assertNotIn(self.one.key(), (None, self.key), path)
            path.write_text(before)
        self.one.built()
        self.assertEqual(self.one.key(), self.key)
        self.assertNotEqual(self.one.key(files=self.one.files[:2]), self.key)

    def test_a_root_that_the_filter_of_headers_matches_is_another(self):
        self.assertNotEqual(Clone(self.folder / "src/four", self.system).key(), self.key)

    def test_there_is_none_when_the_record_may_be_out_of_date(self):
        self.assertIsNone(self.one.key(files=[]))
        later = (self.one.build / OBJECT).stat().st_mtime_ns + 1
        os.utime(self.one.header, ns=(later, later))
        self.assertIsNone(self.one.key())
        self.one.built()
        self.assertEqual(self.one.key(), self.key)
        self.one.header.unlink()
        self.assertIsNone(self.one.key())

    def test_a_stale_record_of_ninja_is_none(self):
        listing = ("a.o: #deps 1, deps mtime 1 (VALID)\n    ../../src/a.cpp\n\n"
                   "b.o: #deps 1, deps mtime 1 (STALE)\n    ../../src/b.cpp\n\n")
        self.assertEqual(tool.recorded(Path("/r/build/release"), listing),
                         {"a.o": [Path("/r/src/a.cpp")]})


class Batches(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def item(self, name, text, flags="-DA"):
        source = self.root / name
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text)
        return source, f"{name}.o", f"/usr/bin/c++ {flags} -o {name}.o -c {source}", name

    def of(self, *items, together=10):
        return [[item[3] for item in batch]
                for batch in tool.batches(list(items), self.root, together)]

    def test_sources_with_the_same_flags_go_together_up_to_a_number(self):
        plain = [self.item(f"{name}.cpp", "") for name in "abc"]
        self.assertEqual(self.of(*plain, self.item("d.cpp", "", "-DB")),
                         [["a.cpp", "b.cpp", "c.cpp"], ["d.cpp"]])
        self.assertEqual(self.of(*plain, together=2), [["a.cpp", "b.cpp"], ["c.cpp"]])

    def test_two_that_define_one_name_do_not(self):
        for text in ("namespace {\nint f() { return 1; }\n}  // namespace",
                     "namespace {\nconstexpr int kMost = 1;\n}  // namespace",
                     "namespace {\nstruct S {\n};\n}  // namespace",
                     "namespace {\nTEST(Room, has_a_door) {}\n}  // namespace",
                     "#define TRY 1\n", "int main() {}"):
            both = self.of(self.item("a.cpp", text), self.item("b.cpp", text))
            self.assertEqual(both, [["a.cpp"], ["b.cpp"]], text)
        self.assertEqual(len(self.of(
            self.item("a.cpp", "namespace {\nusing std::map;\nmap a();\n}  // namespace"),
            self.item("b.cpp", "namespace {\nusing std::map;\nmap b();\n}  // namespace"))), 1)

    def test_one_that_others_could_hide_or_whose_folder_has_settings_goes_alone(self):
        unused = self.item("a.cpp", "using std::map;  // map\n")
        self.assertEqual(len(self.of(unused, self.item("b.cpp", ""))), 2)
        (self.root / "src").mkdir()
        (self.root / "src/.clang-tidy").write_text("")
        self.assertEqual(len(self.of(self.item("src/c.cpp", ""), self.item("b.cpp", ""))), 2)

    def test_what_has_a_finding_or_does_not_compile_together_is_examined_alone(self):
        (self.root / ".clang-tidy").write_text("Checks: -*,bugprone-integer-division\n"
                                               "WarningsAsErrors: '*'\n")
        build = self.root / "build"
        build.mkdir()
        items = [self.item("good.cpp", "static double half() { return 0.5; }"),
                 self.item("other.cpp", "static float half() { return 0.5; }"),
                 self.item("bad.cpp", "double third(int a) { return a / 3; }")]
        (build / "compile_commands.json").write_text(json.dumps(
            [{"directory": str(build), "file": str(source), "command": command}
             for source, _, command, _ in items]))

        def seen(batch):
            return [(item[3], good, "integer-division" in shown)
                    for item, good, shown, _ in tool.examine(build, self.root, batch)]

        self.assertEqual(seen(items[:2]), [("good.cpp", True, False), ("other.cpp", True, False)])
        self.assertEqual(seen(items[::2]), [("good.cpp", True, False), ("bad.cpp", False, True)])
        self.assertTrue(tool.as_one(self.root, items[:1])[0])
        self.assertFalse(tool.as_one(self.root, items[:2])[0])
        self.assertFalse(tool.as_one(self.root, items[2:])[0])


class RememberedPasses(unittest.TestCase):
    def test_those_used_last_are_kept(self):
        with tempfile.TemporaryDirectory() as folder:
            remembered = tool.Remembered(Path(folder) / "made")
            for number, key in enumerate("abc"):
                remembered.add(key)
                os.utime(remembered.folder / key, ns=(number, number))
            self.assertTrue(remembered.has("a"))  # and is used now
            self.assertFalse(remembered.has("d"))
            remembered.forget_oldest(kept=2)
            self.assertEqual([remembered.has(key) for key in "abc"], [True, False, True])


if __name__ == "__main__":
    unittest.main(argv=["clang_tidy_test", "-q"])
