#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command line: plugin list and inspect, query live and offline, tap, top, schema."""
import json
import select
import subprocess

from ephor_e2e import CONFIG, EPHOR, PLUGINS, Host, TestCase, cli, main, read_lines, simulate

QUERIES = ("tracer.summary", "tracer.performance", "tracer.errors", "tracer.traces", "ml_monitor.summary",
           "ml_monitor.models", "trade_tracker.summary", "trade_tracker.performance", "trade_tracker.trades")


class Plugins(TestCase):
    def ids(self):
        return sorted(file.stem for file in PLUGINS.glob("*.so"))

    def test_list(self):
        found = cli("plugin", "list").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in found], self.ids())
        for line in found:
            self.assertRegex(line, r"^\S+\s+\d+\.\d+\.\d+\S*\s+\S")

    def test_inspect(self):
        for name in self.ids():
            facts = json.loads(cli("plugin", "inspect", name).stdout)
            self.assertEqual(facts["id"], name)
            self.assertTrue(facts["abi"].startswith("1."))
            self.assertEqual(facts["config_schema"]["type"], "object")
            self.assertEqual(json.loads(cli("plugin", "inspect", PLUGINS / f"{name}.so").stdout)["id"], name)
        self.assertIn("none_such", cli("plugin", "inspect", "none_such", code=None).stderr)
        self.assertNotEqual(cli("plugin", "inspect", "none_such", code=None).returncode, 0)
        cli("plugin", code=2)

    def test_schema(self):
        schema = json.loads(cli("schema").stdout)
        self.assertEqual(schema["type"], "object")
        plugins = schema["properties"]["plugins"]["properties"]
        self.assertEqual(plugins.pop("allow")["type"], "array")
        self.assertEqual(sorted(plugins), self.ids())
        for name in self.ids():
            config = json.loads(cli("plugin", "inspect", name).stdout)["config_schema"]
            self.assertEqual(plugins[name]["properties"]["config"], config)
            for key, described in config.get("properties", {}).items():
                self.assertIn("description", described, f"{name}.{key}")
                self.assertIn("default", described, f"{name}.{key}")


class Asking(TestCase):
    def test_query_is_the_same_live_and_offline(self):
        file, _ = simulate(self.folder, hours=4)
        lines = read_lines(file)
        host = Host(self.folder / "data").start()
        total = host.post_all(lines, connections=1)
        host.wait_read(total["last_sequence"])
        live = {name: host.query(name) for name in QUERIES}
        trade_id = live["trade_tracker.trades"]["trades"][0]["trade_id"]
        one = host.query("trade_tracker.trade", {"trade_id": trade_id})
        failed = cli("query", "trade_tracker.trade", '{"trade_id": "none"}', "--config", CONFIG,
                     "--data-dir", host.data_dir, code=None)
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn("none", failed.stderr)
        self.assertIn("no.such", cli("query", "no.such", "--config", CONFIG, "--data-dir", host.data_dir,
                                     code=None).stderr)
        cli("query", "tracer.summary", "[1]", "--config", CONFIG, "--data-dir", host.data_dir, code=2)
        # What was not saved yet is read from the journal.
        host.kill()
        for name in QUERIES:
            self.assertEqual(host.query(name), live[name], f"{name} after a kill")
        host.start()
        self.assertEqual(host.stop(), 0)
        for name in QUERIES:
            self.assertEqual(host.query(name), live[name], f"{name} offline")
        self.assertEqual(host.query("trade_tracker.trade", {"trade_id": trade_id}), one)
        done = cli("query", "tracer.summary", "--config", CONFIG, "--data-dir", self.folder / "nowhere", code=1)
        self.assertIn("nowhere", done.stderr)

    def test_top_and_tap_need_a_host(self):
        for command in (["top", "--once"], ["tap", ">"]):
            done = cli(*command, "--config", CONFIG, "--data-dir", self.folder / "none", code=1)
            self.assertIn("no host", done.stderr)

    def test_top_once(self):
        with Host(self.folder / "top") as host:
            host.post(json.dumps({"specversion": "1.0", "id": "1", "source": "e2e", "type": "ephor.metric",
                                  "data": {"name": "x", "value": 1}}).encode())
            text = cli("top", "--once", "--data-dir", host.data_dir).stdout
            for name in ("tracer", "ml_monitor", "trade_tracker", "http_api"):
                line = next(line for line in text.splitlines() if line.startswith(name))
                self.assertIn("running", line)
                self.assertIn("ok", line)

    def test_tap_shows_what_is_posted_in_order(self):
        count, wanted = 1200, "ephor.metric"
        with Host(self.folder / "tap") as host:
            taps = [subprocess.Popen([str(EPHOR), "tap", pattern, "--limit", str(count), "--data-dir",
                                      str(host.data_dir)], stdout=subprocess.PIPE, text=True)
                    for pattern in (wanted, "ephor.*")]
            try:
                # A tap begins with what is committed after it joined: markers tell when it has.
                seen = []
                for number, tap in enumerate(taps):
                    seen.append(self.join(host, tap, number))
                lines = [json.dumps({"specversion": "1.0", "id": f"n-{n}", "source": "e2e",
                                     "type": wanted if n % 2 == 0 else "other.topic",
                                     "data": {"name": "x", "value": n}}).encode() for n in range(3 * count)]
                host.post_all(lines, batch=97, connections=1)
                for tap, first in zip(taps, seen):
                    events = first + [json.loads(line) for line in tap.stdout]
                    self.assertEqual(tap.wait(30), 0)
                    self.assertEqual(len(events), count)
                    sequences = [event["sequence"] for event in events]
                    self.assertEqual(sequences, sorted(set(sequences)))
                    posted = [event["event"] for event in events if event["event"]["id"].startswith("n-")]
                    self.assertTrue(all(event["type"] == wanted for event in posted))
                    self.assertEqual([event["id"] for event in posted], [f"n-{2 * n}" for n in range(len(posted))])
                    self.assertGreater(len(posted), count // 2)
            finally:
                for tap in taps:
                    tap.kill()
                    tap.wait()
                    tap.stdout.close()

    def join(self, host, tap, number):
        """Posts markers until the tap shows one: what it showed."""
        for n in range(600):
            host.post(json.dumps({"specversion": "1.0", "id": f"marker-{number}-{n}", "source": "e2e",
                                  "type": "ephor.metric", "data": {"name": "m", "value": n}}).encode())
            if select.select([tap.stdout], [], [], 0.1)[0]:
                return [json.loads(tap.stdout.readline())]
        self.fail("the tap showed nothing in 60 s")


if __name__ == "__main__":
    main()
