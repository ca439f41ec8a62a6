#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A stranger's way with nothing but the two packages and a compiler: scaffold, build, test, check,
load, ask over HTTP, stop.

Without more words in a folder the packages are unpacked into. `bare_system_test.py --bare`, or
EPHOR_BARE=1, does it in a bare Debian 12 system (debootstrap; root and apt's mirror are needed;
EPHOR_BARE_ROOT keeps the fresh root for the next time), where the packages are installed, installed
again, removed and purged too."""
import contextlib
import http.client
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import unittest
import urllib.parse
from pathlib import Path

from bare_root import COMPILER, BareSystem, Refusal, UnpackedSystem
from ephor_e2e import PATIENCE_S, ROOT

IS_BARE = "--bare" in sys.argv or os.environ.get("EPHOR_BARE", "") not in ("", "0")
# Verbs that a tree of this age may not have yet.
HAS_NEW = (ROOT / "sdk/templates").is_dir()
HAS_CHECK = (ROOT / "host/src/check").is_dir()


def events(topic, count, first=0):
    return [json.dumps({"specversion": "1.0", "id": f"{topic}-{number}", "source": "stranger",
                        "type": topic, "data": {"number": number}}).encode()
            for number in range(first, first + count)]


class Running:
    """`ephor run` inside a system, with http_api and one more plugin, by a configuration of its own."""

    def __init__(self, system, name, plugin):
        self.system, self.plugin = system, plugin
        if isinstance(system, BareSystem):  # as the service does: its user, its folder
            self.folder = system.root / "var/lib/ephor" / name
            system.run("install", "-d", "-o", "ephor", "-g", "ephor", "-m", "0750", "/var/lib/ephor",
                       system.inside(self.folder))
        else:
            self.folder = system.home / f"run-{name}"
            self.folder.mkdir()
        self.address = self.folder / "address"
        self.config = self.folder / "host.json"
        self.config.write_text(json.dumps({
            "data_dir": system.inside(self.folder / "data"),
            "plugins": {"http_api": {"config": {"listen": "127.0.0.1:0",
                                                "address_file": system.inside(self.address)}},
                        plugin: {}}}))
        self.log = open(self.folder / "log", "w+")

    def __enter__(self):
        inside = self.system.inside(self.config)
        self.process = self.system.start("ephor", "run", "--config", inside, folder=self.folder, log=self.log)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.address.exists() and self.address.read_text().endswith("\n"):
                url = urllib.parse.urlsplit(self.address.read_text().strip())
                self.server = (url.hostname, url.port)
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if self.request("GET", "/health/ready")[0] == 200:
                        return self
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"the host did not get ready:\n{self.text()}")

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE_S)
        text = self.text()
        self.log.close()
        if kind is None and self.process.returncode != 0:
            raise AssertionError(f"the host ended with {self.process.returncode}:\n{text}")

    def text(self):
        self.log.seek(0)
        return self.log.read()[-6000:]

    def request(self, method, path, body=None, kind="application/x-ndjson"):
        connection = http.client.HTTPConnection(*self.server, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def post(self, lines):
        status, answer = self.request("POST", "/api/events", b"\n".join(lines) + b"\n")
        if status != 200 or answer["accepted"] != len(lines):
            raise AssertionError(f"POST /api/events: {status} {answer}")
        return answer["last_sequence"]

    def get(self, path, after):
        status, answer = self.request("GET", f"{path}?after_sequence={after}")
        if status != 200:
            raise AssertionError(f"GET {path}: {status} {answer}")
        return answer


class Stranger(unittest.TestCase):
    system = None

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="ephor-bare-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.folder.chmod(0o755)
        started = time.monotonic()
        try:
            cls.system = (BareSystem if IS_BARE else UnpackedSystem)(cls.folder)
        except Refusal as refusal:
            print(f"SKIPPED: {refusal}", flush=True)
            raise unittest.SkipTest(str(refusal))
        cls.say(f"{cls.system.name} system", started)
        if IS_BARE:
            cls.install()

    @staticmethod
    def say(what, started):
        print(f"{what}: {time.monotonic() - started:.1f} s", flush=True)

    @classmethod
    def install(cls):
        system = cls.system
        system.run("apt-get", "update", "--quiet")
        for what, packages in (("packages", system.debs), ("compiler", COMPILER)):
            started = time.monotonic()
            system.install(*packages)
            cls.say(f"installed the {what}", started)

    # ---- what a stranger does

    def test_a_plugin_in_cpp(self):
        self.scaffold_to_http("my_plugin")

    def test_a_plugin_in_c(self):
        self.scaffold_to_http("my_c_plugin", "--lang", "c")

    def scaffold_to_http(self, name, *more):
        if not HAS_NEW:
            print(f"SKIPPED: there is no `ephor plugin new` yet ({name})", flush=True)
            self.skipTest("there is no `ephor plugin new` yet")
        system, started = self.system, time.monotonic()
        system.run("ephor", "plugin", "new", name, *more)
        system.run("cmake", "-S", name, "-B", f"{name}/b")
        built = system.run("cmake", "--build", f"{name}/b")
        self.assertNotIn("warning:", built)
        self.say(f"{name}: scaffolded and built", started)
        library = f"{system.inside(system.home)}/{name}/b/lib/ephor/plugins/{name}.so"
        if HAS_CHECK:
            started = time.monotonic()
            tested = system.run("ctest", "--test-dir", f"{name}/b", "--output-on-failure", "--no-tests=error")
            self.assertIn("plugin_check", tested)
            system.run("ephor", "plugin", "check", library)
            self.say(f"{name}: tested and checked", started)
        else:
            system.run("ctest", "--test-dir", f"{name}/b", "--output-on-failure", "--no-tests=error",
                       "--exclude-regex", "plugin_check")
            print(f"SKIPPED: there is no `ephor plugin check` yet ({name})", flush=True)
        system.run("cmake", "--install", f"{name}/b", "--prefix", system.inside(system.prefix))
        self.assertRegex(system.run("ephor", "plugin", "list"), rf"(?m)^{name}\s")
        with Running(system, name, name) as host:
            after = host.post(events("stranger.one", 3) + events("stranger.two", 5))
            topics = host.get(f"/api/{name}/counts", after)["topics"]
            self.assertEqual((topics["stranger.one"], topics["stranger.two"]), (3, 5))
            after = host.post(events("stranger.one", 2, first=3))
            self.assertEqual(host.get(f"/api/{name}/counts", after)["topics"]["stranger.one"], 5)
            inside = system.inside(host.config)
            asked = json.loads(system.run("ephor", "query", f"{name}.counts", "--config", inside))
            self.assertEqual(asked["topics"]["stranger.one"], 5)
        # What it counted is saved: a second life knows it, without the events.
        asked = json.loads(system.run("ephor", "query", f"{name}.counts", "--config", inside))
        self.assertEqual((asked["topics"]["stranger.one"], asked["topics"]["stranger.two"]), (5, 5))

    def test_an_example_by_hand(self):
        """The C example as its README has it, with a compiler and nothing else."""
        system = self.system
        folder = system.home / "by_hand"
        folder.mkdir()
        source = "share/ephor/examples/minimal_c/minimal.c"
        version_script = system.prefix / "share/cmake/EphorSDK/ephor_plugin.map"
        system.run("cc", "-shared", "-fPIC", "-fvisibility=hidden", "-I", system.inside(system.prefix / "include"),
                   f"-Wl,--version-script={system.inside(version_script)}", "-o", "minimal_c.so",
                   system.inside(system.prefix / source), folder=folder)
        plugins = system.prefix / "lib/ephor/plugins"
        system.run("install", "-m", "0644", "minimal_c.so", system.inside(plugins), folder=folder)
        with Running(system, "by_hand", "minimal_c") as host:
            before = host.get("/api/example/count", host.post(events("stranger", 3)))["events"]
            after = host.get("/api/example/count", host.post(events("stranger", 4, first=3)))["events"]
            self.assertGreaterEqual(before, 3)
            self.assertGreaterEqual(after, before + 4)

    @unittest.skipUnless(IS_BARE, "tests/abi/outside_plugin.sh does it here")
    def test_an_installed_example_project(self):
        """Examples that bring their own CMakeLists.txt build where only the SDK is."""
        system = self.system
        built = 0
        for project in sorted((system.prefix / "share/ephor/examples").glob("*/CMakeLists.txt")):
            name = project.parent.name
            if "nlohmann" in project.read_text():
                print(f"SKIPPED: {name} needs nlohmann-json3-dev", flush=True)
                continue
            system.run("cmake", "-S", system.inside(project.parent), "-B", f"examples/{name}")
            system.run("cmake", "--build", f"examples/{name}")
            system.run("ctest", "--test-dir", f"examples/{name}", "--output-on-failure",
                       "--exclude-regex", "" if HAS_CHECK else "plugin_check")
            built += 1
        if built == 0:
            print("SKIPPED: no example has a project of its own", flush=True)

    def test_the_shipped_configuration_runs(self):
        """Every plugin of the package loads, with the libraries the package asks for."""
        system = self.system
        listed = system.run("ephor", "plugin", "list")
        for plugin in ROOT.glob("plugins/*/CMakeLists.txt"):
            self.assertRegex(listed, rf"(?m)^{plugin.parent.name}\s")
        config = system.inside(system.root / "etc/ephor/ephor.yaml")
        self.assertIn("good", system.run("ephor", "check", "--config", config))
        folder = system.root / "tmp" / "shipped"
        folder.mkdir(parents=True)
        system.run("ephor", "simulate", "--hours", "1", "--seed", "1", "--out", "s.ndjson", folder=folder)
        # In a process of its own too: the runner is where the host looks for it.
        system.run("ephor", "replay", "s.ndjson", "--config", config, "--data-dir", "data", "--set",
                   'plugins.tracer.isolation="process"', "--summary", "summary.json", folder=folder)
        summary = json.loads((folder / "summary.json").read_text())
        lines = (folder / "s.ndjson").read_text().splitlines()
        self.assertEqual((summary["applied"], summary["rejected"]), (len(lines), 0))


@unittest.skipUnless(IS_BARE, "only in the bare system")
class PackageLife(unittest.TestCase):
    """Installed again, upgraded, removed, purged: in the order of the names, in one system."""

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="ephor-bare-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.folder.chmod(0o755)
        try:
            cls.system = BareSystem(cls.folder)
        except Refusal as refusal:
            raise unittest.SkipTest(str(refusal))
        cls.system.run("apt-get", "update", "--quiet")
        cls.before = cls.files()
        cls.system.install(*cls.system.debs)

    @classmethod
    def files(cls):
        listed = cls.system.run("find", "/", "-xdev", "-path", "/proc", "-prune", "-o", "-print")
        return {line for line in listed.splitlines() if "ephor" in line}

    def test_1_user_and_permissions(self):
        entry = self.system.run("getent", "passwd", "ephor").strip().split(":")
        self.assertLess(int(entry[2]), 1000)  # a system user
        self.assertEqual(entry[5:], ["/var/lib/ephor", "/usr/sbin/nologin"])
        self.assertEqual(self.system.run("stat", "-c", "%U:%G %a", "/etc/ephor").strip(), "root:ephor 750")
        enabled = self.system.root / "etc/systemd/system/multi-user.target.wants/ephor.service"
        self.assertTrue(enabled.is_symlink())
        self.system.run("ephor", "check", "--config", "/etc/ephor/ephor.yaml", user="ephor:ephor")

    def test_2_again(self):
        """The scripts may run any number of times; what an administrator changed stays."""
        config = self.system.root / "etc/ephor/ephor.yaml"
        config.write_text(config.read_text() + "# mine\n")
        self.system.run("chmod", "0755", "/etc/ephor")
        user = self.system.run("id", "ephor")
        self.system.run("dpkg", "--install", *self.system.debs)
        self.system.run("dpkg", "--install", *self.system.debs)
        self.assertTrue(config.read_text().endswith("# mine\n"))
        self.assertEqual(self.system.run("stat", "-c", "%a", "/etc/ephor").strip(), "755")
        self.assertEqual(self.system.run("id", "ephor"), user)
        self.assertEqual(self.system.run("dpkg", "--verify", "ephor-sdk"), "")

    def test_3_remove_keeps_what_purge_takes(self):
        data = self.system.root / "var/lib/ephor"
        self.system.run("install", "-d", "-o", "ephor", "-g", "ephor", "-m", "0750", "/var/lib/ephor")
        (data / "journal.db").write_text("precious")
        self.system.run("apt-get", "remove", "--yes", "ephor", "ephor-sdk")
        self.assertTrue((data / "journal.db").exists())
        self.assertTrue((self.system.root / "etc/ephor/ephor.yaml").exists())
        self.assertFalse((self.system.root / "usr/bin/ephor").exists())
        self.system.install(*self.system.debs)
        self.assertTrue((data / "journal.db").exists())
        self.system.run("apt-get", "purge", "--yes", "ephor", "ephor-sdk")
        left = {path for path in self.files() - self.before
                if not path.startswith(("/var/log/", "/var/cache/apt/", "/var/lib/apt/"))}
        self.assertEqual(left, set())
        self.system.install(*self.system.debs)
        self.system.run("ephor", "check", "--config", "/etc/ephor/ephor.yaml")


if __name__ == "__main__":
    unittest.main(argv=[word for word in sys.argv if word != "--bare"], verbosity=2)
