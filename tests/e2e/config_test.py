#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Configuration errors, the shipped files, the lock of the data directory, stopping."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from ephor_e2e import CONFIG, EPHOR, PATIENCE_S, PLUGINS, ROOT, SLOWDOWN, Host, TestCase, cli, main

# A plugin of a far future: the entry of abi.h with abi_major 99.
WRONG_ABI = """
#include <stdint.h>
struct entry { uint32_t magic, struct_size; uint16_t major, built, required, count; const void *infos; };
static const struct entry the_entry = {0x4550484Fu, sizeof(struct entry), 99, 0, 0, 0, 0};
__attribute__((visibility("default"))) const void *ephor_plugin_entry_v1(void) { return &the_entry; }
"""


class Errors(TestCase):
    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def test_every_error_at_once_with_its_place(self):
        gcc = shutil.which("gcc") or shutil.which("cc")
        plugin_path = self.folder / "plugins"
        plugin_path.mkdir()
        if gcc:
            source = self.write("wrong_abi.c", WRONG_ABI)
            subprocess.run([gcc, "-shared", "-fPIC", "-o", plugin_path / "wrong_abi.so", source], check=True)
        (plugin_path / "no_library.so").write_text("this is text")
        text = f"""\
data_dir: data
plugin_path: ["{plugin_path}"]
logs: {{level: info}}
log:
  level: loud
journal:
  durability: 3
plugins:
  tracer:
    config:
      max_trace_historie: 5
      trace_sampling_rate: 1.5
  ml_monitor:
    config:
      window: "many"
  trade_tracker: {{enabled: "yes"}}
  not_there: {{}}
  no_library: {{}}
"""
        # (line, column, what the message has to name)
        expected = [(3, 1, ["logs"]), (5, 3, ["log.level", '"loud"', "expected"]),
                    (7, 3, ["journal.durability", "3", "expected"]),
                    (11, 7, ["plugins.tracer.config", "max_trace_historie"]),
                    (12, 7, ["plugins.tracer.config.trace_sampling_rate", "1.5", "<= 1"]),
                    (15, 7, ["plugins.ml_monitor.config.window", '"many"', "integer"]),
                    (16, 19, ["plugins.trade_tracker.enabled", '"yes"', "boolean"]),
                    (17, 3, ["plugins.not_there", "not_there.so"]),
                    (18, 3, ["plugins.no_library", "no_library.so"])]
        if gcc:
            text += "  wrong_abi: {}\n"
            expected.append((19, 3, ["plugins.wrong_abi", "99", "expected major 1"]))
        file = self.write("broken.yaml", text)
        for command in ("check", "run"):
            done = cli(command, "--config", file, "--data-dir", self.folder / "none", code=2)
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            for line, column, words in expected:
                place = f"{file}:{line}:{column} "
                found = [one for one in lines if place in one]
                self.assertEqual(len(found), 1, f"{command}: {place} in\n{done.stderr}")
                for word in words:
                    self.assertIn(word, found[0])
            self.assertEqual(len(lines), len(expected), done.stderr)
            self.assertFalse((self.folder / "none").exists())

    def test_a_file_that_is_no_yaml(self):
        file = self.write("no.yaml", "data_dir: data\nplugins: {tracer: [\n")
        done = cli("check", "--config", file, code=2)
        self.assertRegex(done.stderr, re.escape(str(file)) + r":\d+:\d+")
        done = cli("check", "--config", self.folder / "absent.yaml", code=2)
        self.assertIn("absent.yaml", done.stderr)

    def test_wrong_overrides(self):
        done = cli("check", "--config", CONFIG, "--set", "journal.durability=maybe", "--set", "nothing",
                   "--set", "plugins.tracer.config.none=1", code=2)
        lines = done.stderr.splitlines()
        self.assertEqual(len(lines), 3, done.stderr)
        self.assertTrue(all("--set" in line for line in lines), done.stderr)

    def test_a_missing_environment_variable_and_a_secret(self):
        environment = {key: value for key, value in os.environ.items() if key != "EPHOR_E2E_NONE"}
        file = self.write("env.yaml", 'database: {url: "${EPHOR_E2E_NONE}"}\n')
        done = cli("check", "--config", file, code=2, env=environment)
        self.assertRegex(done.stderr, re.escape(str(file)) + r":1:(12|17) database\.url: ")
        self.assertIn("EPHOR_E2E_NONE", done.stderr)
        cli("check", "--config", file, env={**environment, "EPHOR_E2E_NONE": "sqlite:"})
        file = self.write("leak.yaml", 'database: {url: "${EPHOR_E2E_SECRET}"}\n')
        done = cli("check", "--config", file, code=2, env={**environment, "EPHOR_E2E_SECRET": "hunter2:"})
        self.assertNotIn("hunter2", done.stderr + done.stdout, "a secret was shown")

    def test_usage(self):
        self.assertEqual(cli("frobnicate", code=2).stdout, "")
        self.assertIn("frobnicate", cli("frobnicate", code=2).stderr)
        cli(code=2)
        cli("run", code=2)
        cli("check", "--config", CONFIG, "--bogus", code=2)
        cli("replay", "--config", CONFIG, code=2)
        cli("replay", self.folder / "absent.ndjson", "--config", CONFIG, "--data-dir", self.folder / "x", code=2)
        self.assertIn("usage", cli("--help").stdout)
        self.assertRegex(cli("--version").stdout, r"\d+\.\d+")


class Shipped(TestCase):
    def test_each_shipped_file_is_good(self):
        files = sorted(path for path in (ROOT / "config").iterdir() if path.suffix in (".yaml", ".json"))
        self.assertGreaterEqual(len(files), 4)
        for file in files:
            self.assertIn("good", cli("check", "--config", file).stdout)

    def test_json_twins_say_the_same(self):
        for yaml in sorted((ROOT / "config").glob("*.yaml")):
            twin = json.loads(yaml.with_suffix(".json").read_text())
            self.assertEqual(cli("check", "--config", yaml).stdout.split(";")[1],
                             cli("check", "--config", yaml.with_suffix(".json")).stdout.split(";")[1])
            self.assertEqual(parse_simple_yaml(yaml.read_text()), twin, yaml.name)


def parse_simple_yaml(text):
    """The part of YAML that the shipped files use: nested block mappings, lists of `- {flow}`, flow
    mappings of one line, comments, plain and double-quoted scalars. Written apart from the loader."""
    lines = []
    for raw in text.splitlines():
        line = re.sub(r"(^|\s\s)#.*$", "", raw.rstrip()) if "#" in raw else raw.rstrip()
        line = "" if line.lstrip().startswith("#") else line
        if line.strip():
            lines.append((len(line) - len(line.lstrip()), line.strip()))

    def scalar(word):
        word = word.strip()
        if word.startswith("{"):
            inner = word[1:-1].strip()
            parts = re.split(r",\s*(?=[\w\"]+:)", inner) if inner else []
            return {key.strip(): scalar(value) for key, value in (part.split(":", 1) for part in parts)}
        if word.startswith("["):
            inner = word[1:-1].strip()
            return [scalar(one) for one in inner.split(",")] if inner else []
        try:
            return json.loads(word)
        except ValueError:
            return word

    def block(at, indent):
        if lines[at][1].startswith("- "):
            out = []
            while at < len(lines) and lines[at][0] == indent and lines[at][1].startswith("- "):
                out.append(scalar(lines[at][1][2:]))
                at += 1
            return out, at
        out = {}
        while at < len(lines) and lines[at][0] == indent:
            key, value = lines[at][1].split(":", 1)
            at += 1
            if value.strip():
                out[key] = scalar(value)
            elif at < len(lines) and lines[at][0] > indent:
                out[key], at = block(at, lines[at][0])
            else:
                out[key] = None
        return out, at

    return block(0, 0)[0]


class Running(TestCase):
    def test_a_second_host_is_refused(self):
        with Host(self.folder / "data") as host:
            done = cli("run", "--config", CONFIG, "--data-dir", host.data_dir,
                       "--set", "plugins.http_api.config.listen=127.0.0.1:0", code=1)
            self.assertIn(str(host.data_dir), done.stderr)
            self.assertIn("another Ephor", done.stderr)
            done = cli("replay", CONFIG, "--config", CONFIG, "--data-dir", host.data_dir, code=1)
            self.assertIn("another Ephor", done.stderr)
            self.assertEqual(host.get("/health/ready")["ready"], True)

    def test_sigterm_stops_within_five_seconds(self):
        host = Host(self.folder / "stop").start()
        lines = [json.dumps({"specversion": "1.0", "id": str(n), "source": "e2e", "type": "ephor.metric",
                             "data": {"name": "x", "value": n}}).encode() for n in range(20000)]
        total = host.post_all(lines)
        self.assertEqual(total["accepted"], 20000)
        idle = host.connection()  # a kept-alive connection must not hold it up
        host.request("GET", "/health/live", connection=idle)
        began = time.monotonic()
        self.assertEqual(host.stop(), 0, host.log())
        self.assertLess(time.monotonic() - began, 5 * SLOWDOWN)
        idle.close()
        self.assertFalse((host.data_dir / "control.sock").exists())
        with host:
            self.assertEqual(host.post_all(lines)["duplicate"], 20000)

    def test_sigint_stops_too(self):
        host = Host(self.folder / "interrupt").start()
        host.process.send_signal(signal.SIGINT)
        self.assertEqual(host.process.wait(5), 0, host.log())

    def test_the_control_socket_is_the_owners(self):
        with Host(self.folder / "mode") as host:
            self.assertEqual((host.data_dir / "control.sock").stat().st_mode & 0o777, 0o600)

    def test_a_request_nested_too_deep_is_refused_and_ends_nothing(self):
        levels = 1_000_000  # copying it would take more stack than a thread has
        deep = b'{"command":"query","name":"x","request":' + b"[" * levels + b"]" * levels + b"}\n"
        with Host(self.folder / "deep") as host:
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(PATIENCE_S)
                control.connect(str(host.data_dir / "control.sock"))
                control.sendall(deep)
                stream = control.makefile("rwb")
                answer = json.loads(stream.readline())
                self.assertFalse(answer["ok"])
                self.assertIn("levels", answer["message"])
                stream.write(b'{"command":"status"}\n')
                stream.flush()
                self.assertTrue(json.loads(stream.readline())["ok"])

    def test_a_busy_port_fails_one_plugin_clearly(self):
        with Host(self.folder / "first") as host:
            address = "{}:{}".format(*host.address)
            other = subprocess.Popen(
                [str(EPHOR), "run", "--config", str(CONFIG), "--data-dir", str(self.folder / "other"),
                 "--set", f"plugins.http_api.config.listen={address}"], stderr=subprocess.PIPE, text=True)
            try:
                text = ""
                for line in other.stderr:
                    text += line
                    if address in line or "running on" in line or "Address already in use" in line:
                        break
                self.assertIn(address.split(":")[1], text)
            finally:
                other.terminate()
                rest = other.communicate(timeout=30)[1]
            self.assertRegex(text + rest, r"http_api.*(in use|already)")

    def test_the_demo_runs_and_has_data(self):
        with Host(self.folder / "demo", "plugins.simulator.config.backfill_hours=1",
                  config=ROOT / "config" / "demo.yaml") as host:
            deadline = time.monotonic() + 60 * SLOWDOWN
            while time.monotonic() < deadline and host.summary()["outcomes_joined"] == 0:
                time.sleep(0.1)
            self.assertGreater(host.summary()["outcomes_joined"], 0)
            self.assertGreater(host.get("/api/tracing/performance")["all"]["count"], 0)
            began = time.monotonic()
            self.assertEqual(host.stop(), 0, host.log())
            self.assertLess(time.monotonic() - began, 5 * SLOWDOWN)


if __name__ == "__main__":
    assert PLUGINS.is_dir(), f"{PLUGINS} is not built"
    main()
