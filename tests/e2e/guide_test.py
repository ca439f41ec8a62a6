#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The code of docs/plugin-authoring.md is compiled code: each block names the file it is taken from, an
example or a template, and has to stand in it line by line."""
import re
import unittest

from ephor_e2e import ROOT

GUIDE = ROOT / "docs" / "plugin-authoring.md"
SOURCE = re.compile(r"<!-- from (sdk/(?:examples|templates)/\S+) -->")
COMPILED = {"cpp", "c", "cmake"}


def blocks(text):
    """(line number, language, marker line or "", lines) of every fenced block."""
    found, lines, before = [], text.splitlines(), ""
    at = 0
    while at < len(lines):
        fence = re.fullmatch(r"```(\w*)", lines[at])
        if fence is None:
            before, at = lines[at], at + 1
            continue
        end = lines.index("```", at + 1)
        found.append((at + 1, fence.group(1), before, lines[at + 1:end]))
        before, at = "", end + 1
    return found


def excerpt_is_in(block, source):
    """Whether the lines follow one another in the source, each with the same additional indentation."""
    for start in range(len(source) - len(block) + 1):
        indent = len(source[start]) - len(source[start].lstrip()) - (len(block[0]) - len(block[0].lstrip()))
        if indent >= 0 and all(there == (" " * indent + here if here else "")
                               for here, there in zip(block, source[start:])):
            return True
    return False


def source_lines(path):
    text = (ROOT / path).read_text()
    if path.startswith("sdk/templates/"):  # as `ephor plugin new my_plugin` fills them in
        text = text.replace("@NAME@", "my_plugin").replace("@Name@", "MyPlugin")
    return text.splitlines()


class Guide(unittest.TestCase):
    def test_every_block_of_code_is_taken_from_a_file_that_is_compiled(self):
        compiled = [block for block in blocks(GUIDE.read_text()) if block[1] in COMPILED]
        self.assertGreaterEqual(len(compiled), 15)
        for line, language, marker, lines in compiled:
            with self.subTest(line=line):
                named = SOURCE.fullmatch(marker)
                self.assertIsNotNone(named, f"{GUIDE}:{line}: a block of {language} with no "
                                            f"`<!-- from sdk/... -->` in the line before it")
                self.assertTrue(excerpt_is_in(lines, source_lines(named.group(1))),
                                f"{GUIDE}:{line}: it does not stand like this in {named.group(1)}")

    def test_the_comparison_can_fail(self):
        source = ["class A {", "  int b;", "", "  int c;", "};"]
        self.assertTrue(excerpt_is_in(["int b;", "", "int c;"], source))
        for wrong in (["int b;", "int c;"], ["int b;", "", " int c;"], ["int d;"], ["  int b;", "int c;"]):
            self.assertFalse(excerpt_is_in(wrong, source), wrong)

    def test_every_page_and_file_it_names_is_there(self):
        text = GUIDE.read_text()
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text):
            self.assertTrue((GUIDE.parent / target).exists(), f"{target} is not there")
        for path in re.findall(r"`((?:sdk|docs|tests|host)/[\w./-]+\.\w+)`", text):
            if "my_plugin" in path:  # of the project that is made
                continue
            self.assertTrue((ROOT / path).exists(), f"{path} is not there")
        for header in re.findall(r"`<?(ephor/[\w/]+\.hp*)>?`", text):
            self.assertTrue((ROOT / "sdk/include" / header).exists(), f"{header} is not there")


if __name__ == "__main__":
    unittest.main(verbosity=2)
