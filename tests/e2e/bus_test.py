#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What one can see of the bus: /api/system/bus, /metrics and `ephor top` against the lines posted."""
import json
import re
import time
from collections import Counter

from ephor_e2e import PATIENCE_S, Host, TestCase, cli, main, read_lines, simulate


def matches(pattern, topic):
    """Topic patterns as the host has them, a second time."""
    wanted, found = pattern.split("."), topic.split(".")
    if wanted[-1] == ">":
        return len(found) >= len(wanted) and all(w in ("*", f) for w, f in zip(wanted[:-1], found))
    return len(wanted) == len(found) and all(w in ("*", f) for w, f in zip(wanted, found))


class Bus(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        file, _ = simulate(cls.folder, hours=2)
        cls.lines = read_lines(file)
        cls.host = Host(cls.folder / "host").start()
        cls.posted = cls.host.post_all(cls.lines)
        cls.bus = cls.settled()

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()
        super().tearDownClass()

    @classmethod
    def settled(cls):
        """The answer once every reader has read all there is; checkpoints and ticks add to the log."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            bus = cls.host.get("/api/system/bus")
            if all(one["lag"] == 0 and one["position"] > cls.posted["last_sequence"] for one in bus["readers"]):
                return bus
            time.sleep(0.05)
        raise AssertionError("the readers did not come to the end")

    def test_topics_are_counted_as_posted(self):
        self.assertGreater(len(self.lines), 1000)
        expected = Counter(json.loads(line)["type"] for line in self.lines)
        found = {one["topic"]: one["events"] for one in self.bus["topics"]}
        for topic, count in expected.items():
            if topic not in ("ephor.tick", "ephor.finding"):
                self.assertGreaterEqual(found[topic], count, topic)
        # Metrics are published by plugins, too; a span only comes from outside.
        self.assertEqual(found["ephor.span"], expected["ephor.span"])
        self.assertEqual(sum(found.values()), self.bus["ring"]["events_published"])
        self.assertEqual(self.bus["topics_known"], len(found))

    def test_readers_got_what_their_patterns_match(self):
        topics = {one["topic"]: one["events"] for one in self.bus["topics"]}
        names = {one["instance"] for one in self.bus["readers"]}
        self.assertLessEqual({"tracer", "metrics", "ml_monitor", "trade_tracker"}, names)
        for reader in self.bus["readers"]:
            wanted = sum(count for topic, count in topics.items()
                         if any(matches(pattern, topic) for pattern in reader["patterns"]))
            lost = reader["skipped"] + reader["superseded"]
            if lost == 0:
                self.assertEqual(reader["delivered"], wanted, reader["instance"])
            self.assertFalse(reader["on_journal"])
            for group in ("queue_delay_ms", "handler_ms"):
                figures = reader[group]
                if figures["count"] == 0:
                    self.assertIsNone(figures["p99"])
                    continue
                self.assertLessEqual(figures["p50"], figures["p90"])
                self.assertLessEqual(figures["p90"], figures["p99"])
                self.assertLessEqual(figures["p99"], figures["max"])
                self.assertLessEqual(figures["sum_ms"], figures["max"] * figures["count"] * 1.0001)
            self.assertEqual(reader["queue_delay_ms"]["count"], reader["delivered"])
            self.assertGreaterEqual(reader["handler_ms"]["count"], reader["delivered"] / 256)
            self.assertTrue(0.0 <= reader["busy_share"] <= 1.0)

    def test_metrics_say_the_same(self):
        text = self.host.get("/metrics")
        for reader in self.settled()["readers"]:
            def value(name, more="", reader=reader):
                labels = 'instance="' + reader["instance"] + '"' + more
                found = re.search(r"^" + re.escape(f"{name}{{{labels}}}") + r" (\S+)$", text, re.MULTILINE)
                self.assertIsNotNone(found, f"{name} {labels}")
                return float(found.group(1))

            self.assertLessEqual(value("ephor_reader_delivered_events_total"), reader["delivered"])
            self.assertGreaterEqual(value("ephor_reader_delivered_events_total"),
                                    next(one["delivered"] for one in self.bus["readers"]
                                         if one["instance"] == reader["instance"]))
            self.assertEqual(value("ephor_reader_queue_delay_seconds_count"),
                             value("ephor_reader_delivered_events_total"))
            self.assertEqual(value("ephor_reader_superseded_events_total"), reader["superseded"])
            self.assertGreaterEqual(value("ephor_reader_handler_seconds", ',quantile="0.99"'), 0.0)
        self.assertIn("\n# TYPE ephor_reader_queue_delay_seconds summary\n", text)
        self.assertEqual(text.count("# TYPE ephor_reader_queue_delay_seconds"), 1)
        spans = sum(json.loads(line)["type"] == "ephor.span" for line in self.lines)
        self.assertIn(f'\nephor_topic_events_total{{topic="ephor.span"}} {spans}\n', text)

    def test_top(self):
        text = cli("top", "--once", "--data-dir", self.host.data_dir).stdout
        lines = text.splitlines()
        self.assertLessEqual(max(map(len, lines)), 100)
        self.assertEqual(lines[1].split()[:4], ["INSTANCE", "STATE", "HEALTH", "POLICY"])
        readers = {one["instance"] for one in self.bus["readers"]}
        self.assertLessEqual(readers, {line.split()[0] for line in lines[2:]})
        status = json.loads(cli("top", "--once", "--json", "--data-dir", self.host.data_dir).stdout)
        self.assertEqual({one["instance"] for one in status["instances"] if "reader" in one}, readers)
        self.assertEqual(status["ring"]["bytes_max"], self.bus["ring"]["bytes_max"])

    def test_the_host_answers_like_a_plugin(self):
        self.assertEqual(set(self.host.query("system.bus")), set(self.bus))
        self.assertIn("instances", self.host.get("/api/system/status"))
        described = self.host.get("/openapi.json")["paths"]
        self.assertIn("get", described["/api/system/bus"])
        self.assertEqual(self.host.request("POST", "/api/system/bus", b"{}")[0], 405)


if __name__ == "__main__":
    main()
