#!/usr/bin/env python3
"""Shows that every rule of tools/tidy finds what it is for, and lets the good case through."""
import importlib.machinery
import importlib.util
import tempfile
import unittest
from pathlib import Path

LOADER = importlib.machinery.SourceFileLoader("tidy", str(Path(__file__).parent / "tidy"))
tidy = importlib.util.module_from_spec(importlib.util.spec_from_loader("tidy", LOADER))
LOADER.exec_module(tidy)

GOOD = {
    "ARCHITECTURE.md": "## Promises\n| # | test |\n|---|---|\n| 1 | `Fox.jumps`, `run.sh` |\n",
    "CHANGELOG.md": "# Changelog\n",
    "src/CMakeLists.txt": "understudy_room(base LIBS fmt)\n"
                          "understudy_room(model DEPS base\n  LIBS x)\n"
                          "understudy_room(storage/qcow2 DEPS model)\n",
    "src/base/README.md": "here\n",
    "src/model/README.md": "here\n",
    "src/storage/README.md": "here\n",
    "src/storage/qcow2/README.md": "here\n",
    "src/base/a.hpp": "#pragma once\n",
    "src/storage/qcow2/b.cpp": '#include "base/a.hpp"\nclass Fox {};\n',
    "src/storage/qcow2/b_test.cpp": "TEST(Fox, jumps) {}\n",
    "tests/e2e/run.sh": "#!/bin/bash\nsleep 1\n",
}


def findings(changes):
    """Rule names found in the good tree with these files changed (None: removed)."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in {**GOOD, **changes}.items():
            if text is not None:
                target = Path(folder, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
        return sorted(rule for _, _, rule, _ in tidy.tidy(folder))


def functions(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.cpp")
        path.write_text(text)
        return tidy.cxx_functions(tidy.SourceFile(Path(folder), path))


class Rules(unittest.TestCase):
    def finds(self, rule, changes):
        self.assertEqual(findings(changes), [rule] if isinstance(rule, str) else rule)

    def test_a_good_tree_has_no_findings(self):
        self.finds([], {})

    def test_an_error_is_handed_up_in_one_form(self):
        def body(text):
            return {"src/base/a.cpp": f"Result<> f() {{\n    {text}\n}}\n"}
        self.finds([], body("return error_of(vm);"))
        self.finds([], body('return fail(std::move(vm.error()).during("x"));'))
        self.finds([], body("auto vm = UNDERSTUDY_VALUE(find());"))
        self.finds([], body("vm =\n    UNDERSTUDY_VALUE(find());"))
        self.finds("forwarded-error", body("return fail(std::move(vm.error()));"))
        self.finds("forwarded-error", body('return std::unexpected(std::move(e).during("x"));'))
        self.finds("value-alone", body("use(UNDERSTUDY_VALUE(find()));"))
        self.finds("value-alone", body("if (a == UNDERSTUDY_VALUE(find())) return {};"))

    def test_lines_and_files_have_a_length(self):
        self.finds([], {"src/base/a.hpp": "// " + "é" * 97 + "\n"})
        self.finds("line-length", {"src/base/a.hpp": "// " + "x" * 98 + "\n"})
        self.finds([], {"src/base/a.hpp": "\n" * 500})
        self.finds("file-length", {"src/base/a.hpp": "\n" * 501})

    def test_functions_have_a_length(self):
        self.finds([], {"src/base/a.cpp": "void f() {\n" + ";\n" * 68 + "}\n"})
        self.finds("function-length", {"src/base/a.cpp": "void f() {\n" + ";\n" * 69 + "}\n"})
        self.finds("function-length", {"tools/a.py": "def f():\n" + "    f()\n" * 70})
        self.finds("function-length", {"tools/a.sh": "f() {\n" + "    ls\n" * 70 + "}\n"})

    def test_rooms_use_only_what_cmake_allows(self):
        self.finds("include-edge", {"src/base/a.cpp": '#include "storage/qcow2/b.hpp"\n',
                                    "src/storage/qcow2/b.hpp": ""})
        self.finds("include-edge", {"src/base/a.cpp": '#include "b.hpp"\n'})
        self.finds([], {"src/base/a.cpp": '// #include "storage/qcow2/b.hpp"\n#include <b.hpp>\n'})
        self.finds(["folder-readme", "include-edge"], {"src/new/a.cpp": ""})

    def test_a_rooms_tests_may_use_more_than_the_room(self):
        rooms = ("understudy_room(base LIBS fmt)\n"
                 "understudy_room(model DEPS base\n  LIBS x TEST_DEPS storage/qcow2)\n"
                 "understudy_room(storage/qcow2 DEPS base)\n")
        include = '#include "storage/qcow2/b.hpp"\n'
        self.finds([], {"src/CMakeLists.txt": rooms, "src/storage/qcow2/b.hpp": "",
                        "src/model/a_test.cpp": include})
        self.finds("include-edge", {"src/CMakeLists.txt": rooms, "src/storage/qcow2/b.hpp": "",
                                    "src/model/a.cpp": include})

    def test_a_wing_is_a_room_of_its_own(self):
        rooms = ("understudy_room(base LIBS fmt)\n"
                 "understudy_room(storage/qcow2 DEPS base TEST_DEPS storage)\n"
                 "understudy_room(storage DEPS storage/qcow2)\n")
        tree = {"src/CMakeLists.txt": rooms, "src/model/README.md": None,
                "src/storage/all.hpp": "", "src/storage/qcow2/b.hpp": "",
                "src/storage/all.cpp": '#include "storage/qcow2/b.hpp"\n'}
        up = '#include "storage/all.hpp"\n'
        self.finds([], {**tree, "src/storage/qcow2/c_test.cpp": up})
        self.finds("include-edge", {**tree, "src/storage/qcow2/c.cpp": up})

    def test_nothing_goes_in_circles(self):
        self.finds(["room-cycle", "room-cycle"], {
            "src/CMakeLists.txt": "understudy_room(base DEPS model)\n"
                                  "understudy_room(model DEPS base)\n"
                                  "understudy_room(storage/qcow2 DEPS model)\n"})
        self.finds(["include-cycle", "include-cycle"], {
            "src/base/a.hpp": '#include "base/c.hpp"\n', "src/base/c.hpp": '#include "base/a.hpp"'})

    def test_names_say_something(self):
        self.finds("banned-name", {"src/base/a.hpp": "class SendManager {\n};"})
        self.finds("banned-name", {"src/base/a.hpp": "struct CommonThings;"})
        self.finds([], {"src/base/a.hpp": "// class SendManager\nclass Utility; auto c = Commons;"})
        self.finds("banned-name", {"src/base/string_utils.hpp": ""})
        self.finds("file-name", {"src/base/StringList.hpp": ""})
        self.finds("interface-prefix", {"src/base/a.hpp": "class IStorage {};"})
        self.finds([], {"src/base/a.hpp": "class Io {}; class ID {};"})

    def test_every_folder_has_a_short_readme(self):
        self.finds("folder-readme", {"src/storage/README.md": None})
        self.finds("folder-readme", {"src/storage/README.md": "x\n" * 41})

    def test_a_folder_holds_few_sources(self):
        full = {f"src/base/a{i}.cpp": "" for i in range(20)}
        self.finds([], {**full, "src/base/a_test.cpp": "", "src/base/b.hpp": "",
                        "src/model/a.cpp": ""})
        self.finds("folder-size", {**full, "src/base/b.cpp": ""})

    def test_a_long_source_opens_with_a_few_lines(self):
        code = "namespace a {\n" + "int x;\n" * 90 + "}\n"
        self.finds("opening", {"src/base/a.cpp": code})
        self.finds("opening", {"src/base/a.cpp": "// One line.\n" + code})
        self.finds("opening", {"src/base/a.cpp": code.replace("x;", "x;  // y")})
        self.finds([], {"src/base/a.cpp": "// What it does,\n// and in which order.\n" + code})
        self.finds([], {"src/base/a_test.cpp": code, "src/base/a.hpp": code,
                        "tests/a.cpp": code})
        self.finds([], {"src/base/a.cpp": "namespace a {\nint x;\n}\n"})

    def test_words_that_do_not_belong(self):
        self.finds("std-format", {"src/base/a.cpp": "auto x = std::format(1);"})
        self.finds([], {"src/base/a.cpp": 'auto x = "std::format"; std::formatter<int> y;'})
        self.finds("fixed-sleep", {"tests/sim/a.cpp": "std::this_thread::sleep_" "for(1s);"})
        self.finds("fixed-sleep", {"src/base/a_test.cpp": "sleep" "(1);"})
        self.finds([], {"src/base/a.cpp": "sleep_" "for(1s);"})
        self.finds([], {"tests/a.cpp": "void sleep" "(Time) override; clock.sleep" "(1);"})
        self.finds("unfinished", {"src/base/a.cpp": "// TO" "DO later"})
        self.finds("unfinished", {"dev": "echo not imp" "lemented"})
        self.finds("gtest-skip", {"src/base/a_test.cpp": "TEST(A, b) { GTEST_SKIP(); }"})

    def test_promises_name_tests_that_exist(self):
        page = "## Promises\n| # | t |\n"
        self.finds("promise", {"ARCHITECTURE.md": page + "| 1 | `Fox.sleeps` |\n"})
        self.finds("promise", {"ARCHITECTURE.md": page + "| 1 | `gone.sh` |\n"})
        self.finds("promise", {"ARCHITECTURE.md": page + "| 1 | trust us |\n"})
        self.finds("promise", {"ARCHITECTURE.md": "## Folders\n| 1 | `Fox.jumps` |\n"})
        self.finds("promise", {"ARCHITECTURE.md": None})
        self.finds("changelog", {"CHANGELOG.md": None})

    def test_exceptions_need_a_reason_and_a_use(self):
        page, long_line = "tools/tidy.exceptions", {"src/base/a.hpp": "x" * 101}
        self.finds([], {**long_line, page: "line-length src/base/a.hpp a table"})
        self.finds(["exception", "line-length"],
                   {**long_line, page: "line-length src/base/a.hpp"})
        self.finds("exception", {page: "line-length src/base/a.hpp a table"})


class Functions(unittest.TestCase):
    def names(self, text):
        return [name for name, _, _ in functions(text)]

    def test_finds_functions_in_namespaces_and_classes(self):
        text = ("namespace a {\nclass B : public C<D> {\n  int f() { return 1; }\n"
                "  B() = default;\n};\nint B::g() const {\n}\n}\n")
        self.assertEqual(self.names(text), ["f", "B::g"])

    def test_follows_initialiser_lists_to_the_body(self):
        text = "A::A(int x)\n    : a_{x}, b_(x), c_{\n} {\n  one();\n}\nint z{1};\nvoid f() {}\n"
        self.assertEqual(functions(text), [("A::A", 1, 5), ("f", 7, 7)])

    def test_is_not_fooled_by_literals_macros_and_templates(self):
        text = ('#define X(a) \\\n  do { \\\n  a\nvoid f() { g("}"); h(\'{\'); int n = 1\'000; }\n'
                'template <class T>\nclass B {\n  const char* r = R"x(}}} )x";\n'
                "  // }\n  T f() {}\n};\ntemplate <class T>\n"
                "struct T2 make() {\n}\nint table[] = {f(1), g(2)};\n")
        self.assertEqual(self.names(text), ["f", "f", "make"])


if __name__ == "__main__":
    unittest.main(argv=["tidy_test", "-b", "-q"])
