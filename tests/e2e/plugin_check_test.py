#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`ephor plugin check`: the built-in plugins and the examples pass, and what it prints can be
relied on: exit codes, formats, suppressions, seeds, the list of the documentation."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree

import plugin_check_bad_test as bad_plugins

ROOT = bad_plugins.ROOT
BUILD = bad_plugins.BUILD
EPHOR = bad_plugins.EPHOR
SUPPRESSIONS = ROOT / "tests" / "plugins" / "check_suppressions.yaml"
# What a plugin must be told so that it harms nobody else here: http_api listens when started.
CONFIGS = {"http_api": {"listen": "127.0.0.1:0"}}
BUILT_IN = ("alerter", "ensemble_tracker", "http_api", "metrics", "ml_monitor", "reporter",
            "simulator", "tracer", "trade_tracker")


def run(words, **more):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=600, check=False, **more)


def check(*words, **more):
    return run([EPHOR, "plugin", "check", *words], **more)


def libraries():
    """Every plugin of the build that an author would ship, by name."""
    found = {file.stem: file for file in (BUILD / "lib" / "ephor" / "plugins").glob("*.so")}
    for directory in (BUILD / "sdk" / "examples", BUILD / "lib" / "ephor" / "examples",
                      BUILD / "examples"):
        for file in directory.rglob("*.so"):
            found.setdefault(file.stem, file)
    return dict(sorted(found.items()))


class Shipped(unittest.TestCase):
    """Everything in the build's folders of plugins passes."""

    def test_all_pass(self):
        found = libraries()
        for name in BUILT_IN:
            self.assertIn(name, found, "not built")
        began = time.monotonic()
        problems = []
        for name, library in found.items():
            words = [library, "--format", "json", "--suppressions", SUPPRESSIONS,
                     "--timeout", bad_plugins.TIMEOUT_S]
            if name in CONFIGS:
                words += ["--config", json.dumps(CONFIGS[name])]
            ran = check(*words)
            if not ran.stdout:
                problems.append(f"{name}: {ran.stderr}")
                continue
            report = json.loads(ran.stdout)
            print(f"{name}: {report['passed']} passed, {report['failed']} failed, "
                  f"{report['skipped']} skipped, {report['suppressed']} suppressed, "
                  f"{report['seconds']:.1f} s", flush=True)
            self.assertEqual(ran.returncode, 0 if report["failed"] == 0 else 1)
            self.assertGreaterEqual(len(report["results"]), 70)
            problems += [f"{name}: unused suppression {one}"
                         for one in report["unused_suppressions"]]
            problems += [f"{name}: {one['check']} {one['outcome']}: {one['message']}"
                         for one in report["results"]
                         if one["outcome"] not in ("passed", "skipped", "suppressed")]
        print(f"all in {time.monotonic() - began:.1f} s")
        self.assertEqual(problems, [])


@unittest.skipUnless(bad_plugins.COMPILER, "no C compiler: the plugins of this test cannot be made")
class Command(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="ephor-plugin-check-")
        cls.directory = pathlib.Path(cls.scratch.name)
        cls.good = bad_plugins.compiled(cls.directory, "good", None)
        cls.printing = bad_plugins.compiled(
            cls.directory, "printing", bad_plugins.BAD["load/prints_nothing"])

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def made(self, name, macros):
        return bad_plugins.compiled(self.directory, name, bad_plugins.Bad("", macros))

    def test_exit_codes(self):
        self.assertEqual(check(self.good, "--only", "load/prints_nothing").returncode, 0)
        self.assertEqual(check(self.printing, "--only", "load/prints_nothing").returncode, 1)
        for words in ([], [self.directory / "absent.so"], [self.good, "--only", "load/no_such"],
                      [self.good, "--format", "xml"], [self.good, "--timeout", "soon"],
                      [self.good, "--no-such-option"], [self.good, "--config", "{broken"],
                      [self.good, self.good], [self.good, "--only", "load", "--skip", "load"]):
            ran = check(*words)
            self.assertEqual(ran.returncode, 2, (words, ran.stderr))
            self.assertIn("expected", ran.stderr)
            self.assertEqual(ran.stdout, "")

    def test_only_and_skip(self):
        ran = check(self.good, "--only", "descriptor,load/is_elf", "--skip", "descriptor/v*",
                    "--format", "json")
        names = [one["check"] for one in json.loads(ran.stdout)["results"]]
        self.assertIn("load/is_elf", names)
        self.assertIn("descriptor/id", names)
        self.assertNotIn("descriptor/version", names)
        self.assertEqual({name.split("/")[0] for name in names}, {"load", "descriptor"})

    def test_human_output_ends_with_the_figures(self):
        ran = check(self.printing, "--only", "load/prints_nothing,load/is_elf")
        self.assertEqual(ran.stdout.splitlines()[-1],
                         "1 passed, 1 failed, 0 skipped, 0 suppressed")
        self.assertIn("FAILED     load/prints_nothing", ran.stdout)
        self.assertIn("why: ", ran.stdout)
        self.assertIn("| hello", ran.stdout)  # what it printed
        self.assertNotIn("\033", ran.stdout)  # no terminal

    def test_junit_is_xml_with_the_same_figures(self):
        ran = check(self.printing, "--only", "load", "--format", "junit")
        suites = ElementTree.fromstring(ran.stdout)
        suite, = suites
        self.assertEqual(suite.get("name"), "printing.load")
        self.assertEqual(int(suite.get("tests")), len(suite.findall("testcase")))
        failed = [case.get("name") for case in suite if case.find("failure") is not None]
        self.assertEqual(failed, ["load/prints_nothing"])
        self.assertEqual(int(suite.get("failures")), 1)

    def test_junit_escapes_what_a_plugin_says(self):
        library = self.made("rude", {"BAD_LOAD": r'fputs("<&\"\x1b]]>\xff", stdout)'})
        ran = check(library, "--only", "load/prints_nothing", "--format", "junit")
        case = ElementTree.fromstring(ran.stdout).find("testsuite/testcase")
        self.assertEqual(case.find("system-out").text, '<&"\\x1b]]>\ufffd')

    def test_output_goes_to_a_file(self):
        out = self.directory / "report.json"
        ran = check(self.good, "--only", "load/is_elf", "--format", "json", "--output", out)
        self.assertEqual((ran.returncode, ran.stdout), (0, ""))
        self.assertEqual(json.loads(out.read_text())["passed"], 1)

    def test_a_crash_an_exit_and_a_hang_are_results(self):
        for name, code, outcome, says in (
                ("crashing", "abort()", "crashed", r"signal 6 \(Aborted\) in load/loads, load the"),
                ("exiting", "_exit(0)", "crashed", r"exit status 0 in load/loads, load the library"),
                ("hanging", "for (;;) pause()", "timed out",
                 r"no end within 0.5 s in load/loads, load the library")):
            library = self.made(name, {"BAD_LOAD": code})
            ran = check(library, "--only", "load/loads", "--timeout", "0.5", "--format", "json")
            result = json.loads(ran.stdout)["results"][0]
            self.assertEqual(result["outcome"], outcome)
            self.assertRegex(result["message"], says)
            self.assertEqual(ran.returncode, 1)

    def test_what_a_plugin_started_is_killed(self):
        marker = f"30.{os.getpid()}"
        library = self.made("forking", {
            "BAD_LOAD": f'if (fork() == 0) execlp("sleep", "sleep", "{marker}", (char*)NULL)'})
        check(library, "--only", "load/loads")
        left = [pid for pid in os.listdir("/proc") if pid.isdigit()
                and marker.encode() in cmdline(pid)]
        self.assertEqual(left, [])

    def test_memory_is_bounded(self):
        if "asan" in str(BUILD) or "tsan" in str(BUILD):
            self.skipTest("a sanitizer takes terabytes of address space")
        library = self.made("hungry", {
            "BAD_LOAD": "for (;;) { char* p = malloc(1u << 30); if (p == NULL) abort(); p[0] = 1; }"})
        ran = check(library, "--only", "load/loads", "--format", "json")
        self.assertIn("signal 6", json.loads(ran.stdout)["results"][0]["message"])

    def test_what_another_check_says_is_said_once(self):
        library = self.made("endless", bad_plugins.BAD["load/loads"].macros)
        report = json.loads(check(library, "--only", "load/loads,descriptor", "--format",
                                  "json").stdout)
        by_name = {one["check"]: one for one in report["results"]}
        self.assertEqual(by_name["load/loads"]["outcome"], "failed")
        self.assertEqual(by_name["descriptor/id"]["outcome"], "skipped")
        # Without that check the others cannot pass by being skipped.
        ran = check(library, "--only", "descriptor/id", "--format", "json")
        self.assertEqual((ran.returncode, json.loads(ran.stdout)["failed"]), (1, 1))

    def test_suppressions_need_a_reason_and_a_use(self):
        file = self.directory / "suppressions.yaml"
        file.write_text("suppressions:\n"
                        "- {check: load/prints_*, plugin: printing, reason: it greets}\n"
                        "- {check: load/is_elf, plugin: printing, reason: was mended}\n"
                        "- {check: load/is_elf, plugin: another, reason: not of this one}\n")
        ran = check(self.printing, "--only", "load", "--suppressions", file, "--format", "json")
        report = json.loads(ran.stdout)
        self.assertEqual((ran.returncode, report["failed"], report["suppressed"]), (0, 0, 1))
        self.assertEqual([one["reason"] for one in report["unused_suppressions"]], ["was mended"])
        suppressed, = [one for one in report["results"] if one["outcome"] == "suppressed"]
        self.assertEqual(suppressed["suppressed_by"], "it greets")
        for wrong in ("suppressions:\n- {check: load/is_elf, plugin: printing}\n",
                      "suppressions:\n- {check: load/is_elf, plugin: printing, reason: ' '}\n",
                      "[]\n", "suppressions: {\n"):
            file.write_text(wrong)
            ran = check(self.printing, "--suppressions", file)
            self.assertEqual(ran.returncode, 2, wrong)

    def test_a_seed_repeats_a_run(self):
        def message(seed):
            library = self.made("refusing", {"BAD_CREATE_REFUSES_SILENTLY": "1"})
            ran = check(library, "--only", "config/random_valid", "--seed", seed, "--format", "json")
            report = json.loads(ran.stdout)
            self.assertEqual(report["seed"], int(seed))
            return report["results"][0]["message"]

        self.assertEqual(message("7"), message("7"))
        self.assertEqual(len({message(str(seed)) for seed in range(5)}) > 1, True)

    def test_a_configuration_can_be_given(self):
        library = self.made("demanding", bad_plugins.schema(
            root='"type":"object","additionalProperties":false,"required":["threshold"]',
            key='{"type":"integer","minimum":1,"description":"needed"}'))
        ran = check(library, "--only", "config/default_creates", "--format", "json")
        self.assertIn("--config", json.loads(ran.stdout)["results"][0]["message"])
        file = self.directory / "config.yaml"
        file.write_text("threshold: 3\n")
        for config in ('{"threshold": 3}', file):
            ran = check(library, "--only", "config/default_creates", "--config", config)
            self.assertEqual(ran.returncode, 0, ran.stdout)

    def test_a_plugin_is_found_by_its_name(self):
        environment = {**os.environ, "EPHOR_PLUGIN_PATH": str(self.directory)}
        ran = check("good", "--only", "load/is_elf", env=environment)
        self.assertEqual(ran.returncode, 0, ran.stderr)


def cmdline(pid):
    try:
        return pathlib.Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""


PAGE = ROOT / "docs" / "plugin-check.md"
LIST = re.compile(r"(<!-- ephor plugin check --list --format markdown -->\n).*(<!-- end -->)", re.S)


def page_with_list():
    listed = check("--list", "--format", "markdown").stdout
    return LIST.sub(lambda found: found.group(1) + listed + found.group(2), PAGE.read_text())


class Documentation(unittest.TestCase):
    def test_the_page_lists_every_check(self):
        self.assertEqual(PAGE.read_text(), page_with_list(),
                         "plugin_check_test.py --write-page writes it")


if __name__ == "__main__":
    if not EPHOR.exists():
        sys.exit(f"{EPHOR}: not built")
    if "--write-page" in sys.argv:
        PAGE.write_text(page_with_list())
        sys.exit()
    unittest.main()
