#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`isolation: process`: the same results as in the host's process, and crashes that stay alone."""
import contextlib
import json
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

from ephor_e2e import (ANALYSTS, BUILD, CONFIG, PATIENCE_S, Host, TestCase, cli, journal_batches, main, query,
                       read_lines, replay, rows, simulate, store_summary)

# Answered from what was read alone: neither time nor process of the run is in them.
QUERIES = ("tracer.performance", "tracer.errors", "ml_monitor.models", "trade_tracker.performance",
           *(f"{name}.summary" for name in ANALYSTS))


def children_of(process):
    """{process id: command line} of the living children; threads of the parent each have their own."""
    found = {}
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                with contextlib.suppress(OSError):
                    found[int(child)] = Path(f"/proc/{child}/cmdline").read_text().split("\0")
    return found


def is_alive(process):
    with contextlib.suppress(OSError):
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return False


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.01)


# How a wild write ends a process; the address sanitizer has its own way.
SEGFAULT = "exit status 1" if "asan" in BUILD.name else r"signal 11 \(Segmentation fault\)"


class Isolation(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.session, _ = simulate(cls.folder, hours=8)
        cls.lines = read_lines(cls.session)

    def config(self, name, **entries):
        """A configuration of these instances (JSON), with the test plugins to be found."""
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps({"plugin_path": [str(BUILD / "tests" / "plugins")], "plugins": entries}))
        return file

    def all_isolated(self):
        names = ("http_api", *ANALYSTS)
        return self.config("isolated", **{name: {"isolation": "process"} for name in names})

    def test_every_analyst_gives_the_same_tables_and_answers(self):
        here, there = self.folder / "here", self.folder / "there"
        first, _ = replay(self.session, here)
        config = self.all_isolated()
        second, _ = replay(self.session, there, config=config)
        self.assertEqual(first["applied"], len({(json.loads(line)["source"], json.loads(line)["id"])
                                                for line in self.lines}))
        self.assertEqual(second["applied"], first["applied"])
        self.assertEqual(store_summary(here), store_summary(there, config))
        compared = 0
        for (table,) in rows(here / "ephor.db", "SELECT name FROM sqlite_master WHERE type = 'table'"):
            if table == "ephor_instances":  # holds the times of the run
                continue
            one, other = (sorted(rows(folder / "ephor.db", f'SELECT * FROM "{table}"'), key=str)
                          for folder in (here, there))
            self.assertEqual(one, other, table)
            compared += len(one)
        self.assertGreater(compared, 1000)
        states = [rows(folder / "ephor.db", "SELECT instance, state FROM ephor_instances ORDER BY instance")
                  for folder in (here, there)]
        self.assertEqual(len(states[0]), len(ANALYSTS))
        self.assertEqual(states[0], states[1])
        self.assertEqual(journal_batches(here), journal_batches(there))
        for name in QUERIES:
            self.assertEqual(query(name, here), query(name, there, config=config), name)

    def test_a_live_host_with_every_plugin_isolated(self):
        file = self.all_isolated()
        with Host(self.folder / "live", config=file) as host:
            children = children_of(host.process.pid)
            self.assertEqual(Counter(Path(words[0]).name for words in children.values()),
                             Counter({"ephor-runner": 1 + len(ANALYSTS)}))
            total = host.post_all(self.lines[:4000])
            self.assertEqual(total["accepted"] + total["duplicate"], 4000)
            host.wait_read(total["last_sequence"])
            alive = host.summary()
        for child in children:
            self.assertFalse(is_alive(child), child)
        # The same lines in the host's own process.
        with Host(self.folder / "own") as host:
            total = host.post_all(self.lines[:4000], connections=1)
            host.wait_read(total["last_sequence"])
            own = host.summary()
        for key in ("spans", "traces", "predictions", "outcomes_joined", "decisions", "trades"):
            self.assertEqual(alive[key], own[key], key)

    def test_a_simulator_may_be_isolated(self):
        file = self.config("simulated", http_api={}, faulty={"plugin": "faulty"},
                           simulator={"isolation": "process", "config": {}})
        with Host(self.folder / "simulated", config=file) as host:
            wait_until(lambda: host.query("faulty.faulty")["seen"] > 20, "events of the simulator")

    def check_contained(self, name, victim, words):
        """2000 events to a host with this victim: a witness reads each once, log and health say `words`."""
        file = self.config(name, http_api={}, metrics={}, witness={"plugin": "faulty"},
                           victim={"plugin": "faulty", "isolation": "process", **victim})
        events = [json.dumps({"specversion": "1.0", "id": f"c{n}", "source": "crash", "type": "test.point",
                              "time": "2025-01-01T00:00:00Z", "data": {"n": n}}).encode() for n in range(2000)]
        host = Host(self.folder / name, config=file)
        with contextlib.ExitStack() as stack:
            stack.callback(host.kill)
            host.start()
            total = host.post_all(events, connections=1)
            self.assertEqual(total["accepted"], 2000)
            wait_until(lambda: host.query("faulty.witness")["sources"].get("crash", {}).get("seen") == 2000,
                       "the witness has read all")
            seen = host.query("faulty.witness")["sources"]["crash"]
            self.assertEqual((seen["gaps"], seen["repeated"]), (0, 0))
            pattern = r"plugin victim: process \d+ ended: " + words
            wait_until(lambda: re.search(pattern, host.log_file.read_text()), f"{pattern} in the log")
            self.assertIn("victim", json.dumps(host.request("GET", "/health/ready")[1]))

    def test_a_crash_harms_nobody_else(self):
        self.check_contained("crashing", {"config": {"mode": "null_write", "at_count": 500, "topic": "test.>"}},
                             SEGFAULT + r" in on_events, sequence \d+")

    def test_a_leak_ends_at_its_limit(self):
        self.check_contained("leaking", {"config": {"mode": "leak", "mb_per_event": 2, "topic": "test.>"},
                                         "limits": {"memory_mb": 96}},
                             r"resident memory: found [\d.]+ MiB, expected at most 96.0 MiB \(limits.memory_mb\)")

    def test_an_exit_harms_nobody_else(self):
        self.check_contained("leaving", {"config": {"mode": "exit", "at_count": 3, "value": 5, "topic": "test.>"}},
                             r"exit status 5 in on_events")

    def test_children_die_with_a_killed_host(self):
        host = Host(self.folder / "killed", config=self.all_isolated()).start()
        children = children_of(host.process.pid)
        self.assertEqual(len(children), 1 + len(ANALYSTS))
        host.process.send_signal(signal.SIGKILL)
        host.process.wait()
        wait_until(lambda: not any(is_alive(child) for child in children), f"the end of {list(children)}")

    def test_a_signal_to_the_group_is_the_hosts_alone(self):
        """Ctrl-C and a service manager reach every process; the host has to drain first."""
        with Host(self.folder / "signalled", config=self.all_isolated()) as host:
            total = host.post_all(self.lines[:1000])
            for child in children_of(host.process.pid):
                os.kill(child, signal.SIGTERM)
                os.kill(child, signal.SIGINT)
            host.wait_read(total["last_sequence"])

    def test_a_plugin_that_cannot_be_described_is_a_configuration_error(self):
        broken = self.folder / "plugins"
        broken.mkdir()
        (broken / "nonsense.so").write_bytes(b"no library")
        file = self.folder / "broken.json"
        file.write_text(json.dumps({"plugin_path": [str(broken)],
                                    "plugins": {"nonsense": {"isolation": "process"},
                                                "faultless": {"plugin": "absent", "isolation": "process"}}}))
        done = cli("check", "--config", file, code=2)
        self.assertIn("nonsense.so: found no loadable library, expected a plugin", done.stderr)
        self.assertIn("found no absent.so", done.stderr)
        done = cli("check", "--config", self.all_isolated(), code=2,
                   env={**os.environ, "EPHOR_RUNNER": "/nowhere/ephor-runner"})
        self.assertIn("/nowhere/ephor-runner: No such file or directory", done.stderr)


if __name__ == "__main__":
    main()
