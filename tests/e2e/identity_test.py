#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A plugin's identity: what is read of a file without running it, which files are refused, and what
happens to a running host when a file is built again."""
import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import unittest
from pathlib import Path

from ephor_e2e import CLOUDEVENTS, PATIENCE_S, PLUGINS, ROOT, Host, TestCase, cli, main

COMPILER = os.environ.get("CC") or "cc"


def metrics(first, last):
    return json.dumps([{"specversion": "1.0", "id": f"m{n}", "source": "client", "type": "ephor.metric",
                        "data": {"name": "x", "value": n}} for n in range(first, last)]).encode()


class IdentityCase(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if shutil.which(COMPILER) is None:
            print(f"SKIPPED: no C compiler {COMPILER} is here", flush=True)
            raise unittest.SkipTest(f"no C compiler {COMPILER}")

    def setUp(self):
        self.plugins = self.folder / self.id().rsplit(".", 1)[-1]
        self.plugins.mkdir(mode=0o755)

    def build(self, name="probe", in_place=False, **defines):
        """Compiles probe.c; the file appears whole under its name, or is written where it stands."""
        file = self.plugins / f"{name}.so"
        fresh = self.folder / f"{self.id()}.fresh"
        flags = [f"-D{key}={value}" for key, value in defines.items()]
        subprocess.run([COMPILER, "-std=c11", "-fPIC", "-shared", "-fvisibility=hidden", "-O1",
                        "-I", str(ROOT / "sdk" / "include"), *flags, "-o", str(fresh),
                        str(ROOT / "tests" / "e2e" / "probe.c")], check=True)
        if in_place:
            with open(file, "r+b") as out:
                out.truncate(0)
                out.write(fresh.read_bytes())
            fresh.unlink()
        else:
            fresh.rename(file)
        return file

    def config(self, plugins, **more):
        file = self.folder / f"{self.id()}.json"
        file.write_text(json.dumps({"plugin_path": [str(self.plugins), str(PLUGINS)],
                                    "checkpoint": {"interval_s": 0.2}, "plugins": plugins, **more}, indent=1))
        return file

    def rows(self, *more, code=None):
        """`plugin list --json` of this test's files, by name."""
        done = cli("plugin", "list", "--json", "--set", f"plugin_path=['{self.plugins}']", *more, code=code)
        return {row["file"].rsplit("/", 1)[1]: row for row in json.loads(done.stdout)
                if row["file"].startswith(str(self.plugins))}

    def inspect(self, file, *more, code=0):
        return json.loads(cli("plugin", "inspect", file, *more, code=code).stdout)


class Description(IdentityCase):
    def test_no_code_runs_but_in_a_process_of_its_own(self):
        mark = self.folder / "mark"
        file = self.build(MARK=f'"{mark}"')
        config = self.config({"probe": {}})
        self.assertEqual(self.rows()["probe.so"]["state"], "ok")
        facts = self.inspect(file)
        cli("check", "--config", config)
        cli("schema", "--config", config)
        self.assertFalse(mark.exists(), "something has loaded the library")
        self.assertEqual((facts["id"], facts["version"], facts["abi"], facts["state"]),
                         ("probe", "1.0.0", "1.0", "ok"))
        self.assertEqual(facts["sha256"], hashlib.sha256(file.read_bytes()).hexdigest())
        self.assertEqual(facts["size"], file.stat().st_size)
        self.assertEqual(facts["exported_symbols"], 1)
        self.assertEqual(facts["config_schema"], {"type": "object", "additionalProperties": False})
        # Without a note there is nothing to read: listed as that, asked in a child.
        self.build("dumb", NO_NOTE=1, MARK=f'"{mark}"')
        self.assertEqual(self.rows()["dumb.so"]["state"], "no note")
        self.assertFalse(mark.exists())
        facts = self.inspect(self.plugins / "dumb.so")
        self.assertEqual((facts["id"], facts["state"]), ("probe", "no note"))
        self.assertIn("ephor-runner", facts["described_by"])
        self.assertTrue(mark.exists(), "this test cannot see code that runs")

    def test_a_stripped_file_says_the_same(self):
        if shutil.which("strip") is None:
            print("SKIPPED: no strip is here", flush=True)
            self.skipTest("no strip")
        file = self.build()
        before = self.inspect(file)
        subprocess.run(["strip", str(file)], check=True)
        after = self.inspect(file)
        self.assertLess(after["size"], before["size"])
        for changed in ("size", "sha256"):
            del before[changed], after[changed]
        self.assertEqual(after, before)

    def test_a_note_that_lies_is_refused_when_loaded(self):
        for isolation in ("in_process", "process"):
            with self.subTest(isolation):
                self.build(NOTE_VERSION='"1.0.1"')
                config = self.config({"probe": {"isolation": isolation}})
                cli("check", "--config", config)
                done = cli("run", "--config", config, "--data-dir", self.folder / f"lies-{isolation}", code=None)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("found the version 1.0.1 in its note and 1.0.0 in its entry", done.stderr)

    def test_what_is_not_for_this_host_is_listed_with_the_reason(self):
        note = {"note": 1, "id": "probe", "version": "9", "summary": "\u001b[31m", "abi": "1.9", "abi_required": 9}
        self.build("newer", NOTE_JSON=json.dumps(json.dumps(note)))
        self.build("other", NOTE_JSON=json.dumps(json.dumps({**note, "abi": "2.0", "abi_required": 0})))
        self.build("broken", NOTE_JSON='"{"')
        (self.plugins / "text.so").write_text("no library")
        os.mkfifo(self.plugins / "pipe.so")
        rows = self.rows(code=1)
        self.assertEqual({row["state"] for row in rows.values()}, {"refused"})
        for name, words in (("newer", "requires ABI 1.9"), ("other", "found ABI 2.0"), ("broken", "no JSON object"),
                            ("text", "no loadable library"), ("pipe", "found a pipe")):
            self.assertIn(words, rows[f"{name}.so"]["reason"])
        shown = cli("plugin", "list", "--set", f"plugin_path=['{self.plugins}']", code=1).stdout
        self.assertNotIn("\x1b", shown)
        for name in ("newer", "other", "broken", "text", "pipe"):
            done = cli("check", "--config", self.config({name: {}}), code=2)
            self.assertIn(f"plugins.{name}: ", done.stderr)


class Refusal(IdentityCase):
    def test_only_listed_files_are_loaded(self):
        file = self.build()
        digest = self.inspect(file)["sha256"]
        for isolation in ("in_process", "process"):
            with self.subTest(isolation):
                entry = {"isolation": isolation}
                config = self.config({"allow": [digest], "probe": entry})
                cli("check", "--config", config)
                rows = self.rows("--config", config)
                self.assertEqual(rows["probe.so"]["state"], "ok")
                config = self.config({"allow": ["0" * 64], "probe": entry})
                line = 1 + config.read_text().split("\n").index('  "allow": [')
                for command in (["check"], ["run", "--data-dir", self.folder / "refused"]):
                    done = cli(*command, "--config", config, code=2)
                    for words in (str(file), digest, f"plugins.allow at {config}:{line}:"):
                        self.assertIn(words, done.stderr)
                self.assertEqual(self.rows("--config", config)["probe.so"]["state"], "refused")
        http_api = hashlib.sha256((PLUGINS / "http_api.so").read_bytes()).hexdigest()
        config = self.config({"allow": [digest, http_api], "http_api": {}, "probe": {},
                              "own": {"plugin": "probe", "isolation": "process"}})
        with Host(self.folder / "allowed", config=config) as host:
            self.assertEqual(host.query("probe.probe")["answer"], 1)
            # What runs is the copy that was hashed; it goes with the host.
            copies = list(host.data_dir.glob("plugins-*/*/*.so"))
            self.assertEqual({copy.name for copy in copies}, {"http_api.so", "probe.so"})
            for copy in copies:
                self.assertEqual(hashlib.sha256(copy.read_bytes()).hexdigest(), copy.parent.name)
            maps = [Path(f"/proc/{pid}/maps").read_text() for pid in
                    [host.process.pid, *self.children(host.process.pid)]]
            self.assertTrue(all(str(copy) in "".join(maps) for copy in copies))
            self.assertNotIn(f"{self.plugins}/probe.so", "".join(maps))
            # A reload meets the list, too; nothing changes then.
            self.build(ANSWER=2)
            self.assertIn("expected one of the 2 of plugins.allow",
                          cli("reload", "--data-dir", host.data_dir, code=2).stderr)
            self.assertEqual(host.query("probe.probe")["answer"], 1)
        self.assertEqual(list((self.folder / "allowed").glob("plugins-*")), [])

    @staticmethod
    def children(pid):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def test_allow_is_no_instance(self):
        self.build()
        done = cli("check", "--config", self.config({"allow": {"plugin": "probe"}}), code=2)
        self.assertIn("no instance can be called allow", done.stderr)
        done = cli("check", "--config", self.config({"allow": ["12"]}), code=2)
        self.assertIn("plugins.allow.0", done.stderr)

    def test_what_others_can_write_to_is_refused(self):
        file = self.build()
        config = self.config({"probe": {}})
        free = self.config({"probe": {}}, allow_writable_plugins=True)
        for path, mode in ((file, 0o666), (self.plugins, 0o777)):
            before = path.stat().st_mode & 0o7777
            path.chmod(mode)
            config.write_text(free.read_text().replace('"allow_writable_plugins": true', '"log": {}'))
            done = cli("check", "--config", config, code=2)
            for words in (f"{path}: found mode {mode:04o}", f"chmod o-w {path}", "allow_writable_plugins"):
                self.assertIn(words, done.stderr)
            self.assertEqual(self.rows(code=1)["probe.so"]["state"], "refused")
            self.assertEqual(self.inspect(file, code=1)["id"], "probe")
            self.assertIn("found mode", cli("run", "--config", config, "--data-dir", self.folder / "w", code=2).stderr)
            config.write_text(config.read_text().replace('"log": {}', '"allow_writable_plugins": true'))
            cli("check", "--config", config)
            path.chmod(before)
        config.write_text(config.read_text().replace('"allow_writable_plugins": true', '"log": {}'))
        cli("check", "--config", config)
        # A group of one's own, or root's, is nobody else: what a umask of 002 leaves behind.
        if os.getgid() == 0:
            file.chmod(0o664)
            self.plugins.chmod(0o775)
            cli("check", "--config", config)


class BuiltAgain(IdentityCase):
    """One plugin in the host, one in a process of its own, and a witness whose file never changes."""

    def setUp(self):
        super().setUp()
        self.build(ANSWER=1)
        self.build("witness", ANSWER=100)
        self.posted = 0

    def host(self, *more):
        config = self.config({"http_api": {}, "probe": {}, "own": {"plugin": "probe", "isolation": "process"},
                              "witness": {}})
        host = Host(self.folder / f"{self.id()}.data", config=config)
        command = host.command
        host.command = lambda: command() + list(more)
        return host

    def wait_for(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(0.01)
        self.fail(f"never came: {what}")

    def load(self, host):
        """Posts until the event is set: (thread, event)."""
        is_over = threading.Event()

        def work():
            connection = host.connection()
            while not is_over.is_set():
                status, answer = host.post(metrics(self.posted, self.posted + 20), CLOUDEVENTS, connection=connection)
                self.assertEqual(status, 200, answer)
                self.posted += 20
            connection.close()

        thread = threading.Thread(target=work)
        thread.start()
        return thread, is_over

    def answers(self, host):
        return [host.query(f"{name}.probe")["answer"] for name in ("probe", "own", "witness")]

    def wait_answers(self, host, expected):
        def condition():
            found = [cli("query", f"{name}.probe", "--data-dir", host.data_dir, code=None)
                     for name in ("probe", "own", "witness")]
            # An instance that is just being replaced does not answer.
            return [done.returncode == 0 and json.loads(done.stdout)["answer"] for done in found] == expected

        self.wait_for(condition, f"the answers {expected}")

    def assert_whole(self, host):
        for name in ("probe", "own", "witness"):
            self.wait_for(lambda: host.query(f"{name}.probe")["events"] >= self.posted, f"{name} has read all")
            self.assertEqual(host.query(f"{name}.probe")["events"], self.posted, name)
        self.assertGreater(self.posted, 100)

    def assert_tidy(self, host):
        self.assertEqual(host.stop(), 0)
        self.assertEqual(list(host.data_dir.glob("plugins-*")), [])

    def test_run_watch_loads_it_by_itself(self):
        with self.host("--watch") as host:
            self.assertEqual(self.answers(host), [1, 1, 100])
            thread, is_over = self.load(host)
            try:
                for answer, version, in_place in ((2, "1.1.0", False), (3, "1.2.0", True)):
                    self.build(ANSWER=answer, VERSION=f'"{version}"', in_place=in_place)
                    self.wait_answers(host, [answer, answer, 100])
                # Not a plugin, and a build that does not start: the old one runs on, and it is said why.
                (self.plugins / "probe.so").write_bytes(b"half a file")
                self.wait_for(lambda: "the loaded version runs on" in host.log(), "a word on what is no library")
                self.assertEqual(self.answers(host), [3, 3, 100])
                self.build(ANSWER=4, FAIL_START=1)
                self.wait_for(lambda: "this build does not start" in host.log(), "a word on what does not start")
                self.wait_answers(host, [3, 3, 100])
                self.build(ANSWER=5)
                self.wait_answers(host, [5, 5, 100])
            finally:
                is_over.set()
                thread.join()
            self.assert_whole(host)
            digest = hashlib.sha256((self.plugins / "probe.so").read_bytes()).hexdigest()[:12]
            self.assertRegex(host.log_file.read_text(), r"1\.0\.0 \(SHA-256 [0-9a-f]{12}\) -> 1\.1\.0 \(SHA-256 ")
            self.assertIn(f"1.2.0 (SHA-256 ", host.log_file.read_text())
            self.assertIn(f"-> 1.0.0 (SHA-256 {digest})", host.log_file.read_text())
            self.assertNotIn('"restarted":["witness', host.log_file.read_text())
            self.assert_tidy(host)

    def test_reload_sees_it_too(self):
        with self.host() as host:
            thread, is_over = self.load(host)
            try:
                for answer in (2, 3):
                    self.build(ANSWER=answer)
                    self.assertEqual(self.answers(host), [answer - 1, answer - 1, 100])
                    report = json.loads(cli("reload", "--data-dir", host.data_dir).stdout)
                    self.assertEqual(sorted(report["restarted"]), ["own", "probe"])
                    self.assertEqual(sorted(report["unchanged"]), ["http_api", "witness"])
                    self.assertEqual(sorted(report["new_versions"]), ["own", "probe"])
                    self.assertEqual(self.answers(host), [answer, answer, 100])
                # Touched: what is the same is no new version.
                (self.plugins / "probe.so").touch()
                self.assertEqual(json.loads(cli("reload", "--data-dir", host.data_dir).stdout)["restarted"], [])
                # Put back: the code that is mapped already runs again.
                copies = set(host.data_dir.glob("plugins-*/*"))
                self.build(ANSWER=2)
                self.assertEqual(sorted(json.loads(cli("reload", "--data-dir", host.data_dir).stdout)["restarted"]),
                                 ["own", "probe"])
                self.assertEqual(self.answers(host), [2, 2, 100])
                self.assertEqual(set(host.data_dir.glob("plugins-*/*")), copies)
            finally:
                is_over.set()
                thread.join()
            self.assert_whole(host)
            self.assert_tidy(host)

    def test_copies_of_a_killed_host_go_with_the_next(self):
        with self.host("--watch") as host:
            self.assertEqual(len(list(host.data_dir.glob("plugins-*"))), 1)
            host.process.send_signal(signal.SIGKILL)
            host.process.wait()
            left = {one.name for one in host.data_dir.glob("plugins-*")}
            self.assertEqual(len(left), 1)
            host.start()
            now = {one.name for one in host.data_dir.glob("plugins-*")}
            self.assertEqual((len(now), now & left), (1, set()))
            self.assert_tidy(host)


if __name__ == "__main__":
    main()
