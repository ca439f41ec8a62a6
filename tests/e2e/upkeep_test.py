#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The upkeep of the data: journal verify, stat and export, backup in the middle of an ingest and the
way back, retention, damaged files, and a full disk."""
import json
import random
import re
import resource
import shutil
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from ephor_e2e import (Figures, Host, PATIENCE_S, TestCase, cli, journal_ids, main, read_lines,
                       replay, rows, simulate)

BATCH_LINES = 200
# Without what runs on the wall clock; checkpoints often, so that a backup falls between them.
SETTINGS = ("checkpoint.interval_s=0.2",)
# Rows by natural keys and without positions in the journal.
TABLES = {
    "trades": "SELECT trade_id, symbol, side, status, quantity, price, close_price, open_time, close_time, pnl "
              "FROM trades ORDER BY trade_id",
    "trade_decisions": "SELECT * FROM trade_decisions ORDER BY decision_id",
    "correlation_tracking": "SELECT * FROM correlation_tracking ORDER BY correlation_id",
    "metric_rollup": "SELECT name, labels, resolution_s, bucket_start, count, round(sum, 6), min, max "
                     "FROM metric_rollup ORDER BY name, labels_hash, resolution_s, bucket_start",
}


def tables(data_dir):
    return {name: rows(Path(data_dir) / "ephor.db", sql) for name, sql in TABLES.items()}


def bodies_of(lines):
    return [b"\n".join(lines[at:at + BATCH_LINES]) + b"\n" for at in range(0, len(lines), BATCH_LINES)]


def post_in_order(host, bodies, after_each=None):
    counts = Counter()
    connection = host.connection()
    for number, body in enumerate(bodies):
        status, answer = host.post(body, connection=connection)
        if status != 200:
            raise AssertionError(f"POST: {status} {answer}")
        counts.update({key: answer[key] for key in ("accepted", "duplicate", "rejected")})
        counts["last_sequence"] = answer["last_sequence"]
        if after_each:
            after_each(number)
    connection.close()
    return counts


def wait_until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"never came true in {PATIENCE_S} s: {what}")


def verify(data_dir, code=0):
    return json.loads(cli("journal", "verify", "--data-dir", data_dir, "--json", code=code).stdout)


def stat(data_dir):
    return json.loads(cli("journal", "stat", "--data-dir", data_dir, "--json").stdout)


def export(data_dir, *more):
    return cli("journal", "export", "--data-dir", data_dir, *more).stdout.encode().split(b"\n")[:-1]


def metric(host, name):
    text = host.request("GET", "/metrics")[1]
    found = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M)
    return float(found.group(1)) if found else None


class Upkeep(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.session, _ = simulate(cls.folder, seed=5)
        cls.lines = read_lines(cls.session)
        cls.figures = Figures(cls.lines)
        # What a session of its own, never disturbed, leads to.
        cls.base = cls.folder / "base"
        with Host(cls.base, *SETTINGS) as host:
            counts = post_in_order(host, bodies_of(cls.lines))
            host.wait_read(counts["last_sequence"])
        cls.expected = tables(cls.base)
        cls.summary = host.summary()

    def copy_of_base(self, name):
        copy = self.folder / name
        shutil.copytree(self.base, copy, ignore=shutil.ignore_patterns("*.sock", "lock"))
        return copy

    # ---- journal verify, stat, export

    def test_verify_and_stat_agree_with_the_lines(self):
        found = verify(self.base)
        self.assertEqual(found["faults"], [])
        figures = stat(self.base)
        self.assertEqual(found["events"], figures["events"])
        topics = {one["name"]: one["events"] for one in figures["topics"]}
        for topic, count in self.figures.types.items():
            self.assertEqual(topics[topic], count, topic)
        self.assertEqual(sum(figures["days"].values()), figures["events"])
        self.assertIn("TOPIC", cli("journal", "stat", "--data-dir", self.base).stdout)

    def test_export_gives_the_lines_back_and_replays_to_the_same(self):
        lines = export(self.base)
        seen = {(event["source"], event["id"]): event for event in map(json.loads, lines)}
        self.assertEqual(len(lines), len(seen))
        self.assertEqual(seen, {key: event for key, event in self.figures.events.items()})
        everything = export(self.base, "--raw")
        self.assertEqual(len(everything), stat(self.base)["events"])
        spans = export(self.base, "--topic", "ephor.span")
        self.assertEqual(len(spans), self.figures.types["ephor.span"])

        middle = sorted(event["time"] for event in self.figures.events.values())[len(seen) // 2]
        early, late = export(self.base, "--to", middle), export(self.base, "--from", middle)
        self.assertEqual(len(early) + len(late), len(lines))
        self.assertTrue(all(json.loads(line)["time"] < middle for line in early))

        file = self.folder / "exported.ndjson"
        file.write_bytes(b"\n".join(lines) + b"\n")
        replay(file, self.folder / "replayed")
        self.assertEqual(tables(self.folder / "replayed"), self.expected)
        self.assertEqual(cli("journal", "export", "--data-dir", self.base, "--from", "soon", code=2).stdout, "")

    def test_export_of_events_without_a_time_keeps_it(self):
        with Host(self.folder / "untimed") as host:
            events = [{"specversion": "1.0", "id": str(n), "source": "s", "type": "x.y", "data": {"n": n}}
                      for n in range(3)]
            host.post(b"\n".join(json.dumps(event).encode() for event in events))
            times = [line["time"] for line in map(json.loads, export(self.folder / "untimed"))]
            self.assertEqual(len(times), 3)
            self.assertEqual(verify(self.folder / "untimed")["faults"], [])  # beside the running host
        with Host(self.folder / "untimed2") as host:
            host.post(b"\n".join(export(self.folder / "untimed")))
            self.assertEqual([json.loads(line)["time"] for line in export(self.folder / "untimed2")], times)

    # ---- backup and restore

    def test_backup_in_the_middle_of_an_ingest_goes_on_as_if_nothing_was(self):
        archive = self.folder / "middle.tar.zst"
        bodies = bodies_of(self.lines)
        made = []

        def back_up():
            made.append(cli("backup", archive, "--data-dir", self.folder / "live", "--json").stdout)

        with Host(self.folder / "live", *SETTINGS) as host:
            worker = threading.Thread(target=back_up)

            def begin_in_the_middle(number):
                if number == len(bodies) // 2:
                    worker.start()

            post_in_order(host, bodies, begin_in_the_middle)
            worker.join()
        manifest = json.loads(made[0])
        self.assertGreater(manifest["journal"]["events"], 0)
        self.assertLess(manifest["journal"]["events"], stat(self.folder / "live")["events"])
        listed = subprocess.run(["tar", "--zstd", "-tf", archive], capture_output=True, text=True)
        if listed.returncode == 0:  # a tar that knows zstd
            self.assertTrue({"manifest.json", "journal.db", "ephor.db"} <= set(listed.stdout.split()))

        restored = self.folder / "restored"
        cli("restore", archive, "--into", restored)
        self.assertEqual(verify(restored)["faults"], [])
        cli("restore", archive, "--into", restored, code=1)  # it is not empty any more
        with Host(restored, *SETTINGS) as host:
            counts = post_in_order(host, bodies)
            host.wait_read(counts["last_sequence"])
        self.assertGreater(counts["duplicate"], 0)
        self.assertGreater(counts["accepted"], 0)
        self.assertEqual(tables(restored), self.expected)
        ids = Counter(journal_ids(restored))
        self.assertEqual(max(ids.values()), 1)

        damaged = bytearray(archive.read_bytes())
        damaged[len(damaged) // 2] ^= 0xFF
        (self.folder / "damaged.tar.zst").write_bytes(damaged)
        failed = cli("restore", self.folder / "damaged.tar.zst", "--into", self.folder / "none", code=1)
        self.assertIn("damaged.tar.zst", failed.stderr)
        self.assertFalse((self.folder / "none").exists())

    def test_backup_without_a_host(self):
        cli("backup", self.folder / "still.tar.zst", "--data-dir", self.base)
        cli("restore", self.folder / "still.tar.zst", "--into", self.folder / "still")
        self.assertEqual(tables(self.folder / "still"), self.expected)

    # ---- damage

    def test_a_damaged_page_is_no_crash_loop_and_no_silent_loss(self):
        data = self.copy_of_base("page")
        whole = verify(data)
        file = data / "journal.db"
        seed = random.SystemRandom().randrange(1 << 32)
        print(f"seed {seed}", flush=True)
        rng = random.Random(seed)
        content = bytearray(file.read_bytes())
        for page in [1] + [rng.randrange(2, len(content) // 4096) for _ in range(3)]:
            content[page * 4096:(page + 1) * 4096] = rng.randbytes(4096)
        file.write_bytes(content)
        for _ in range(2):  # the second start repairs what the first one or verify met
            with Host(data, *SETTINGS) as host:
                status, answer = host.post(bodies_of(self.lines)[0])
                self.assertEqual(status, 200, answer)
                host.wait_read(answer["last_sequence"])
                list(host.tap())
            found = verify(data, code=None)
        self.assertEqual([fault for fault in found["faults"] if "structure" in fault["what"]], [])
        ranges = [(gap["first_sequence"] >> 16, gap["last_sequence"] >> 16) for gap in found["gaps"]]
        for fault in found["faults"]:  # damaged content, known to be missing
            self.assertTrue(any(first <= fault["position"] <= last for first, last in ranges), fault)
        missing = sum(gap["batches"] for gap in found["gaps"])
        self.assertGreaterEqual(found["batches"] + missing, whole["batches"])

    def test_a_damaged_store_is_set_aside_and_derived_again(self):
        data = self.copy_of_base("store")
        with open(data / "ephor.db", "r+b") as file:
            file.write(bytes(4096))
        with Host(data, *SETTINGS) as host:
            host.wait_read(host.get("/health/live")["last_sequence"])
            self.assertIn("ephor.db.damaged-", host.log())
        self.assertEqual(tables(data), self.expected)
        self.assertEqual(len(list(data.glob("ephor.db.damaged-*"))), 1)

    # ---- retention

    def test_retention_bounds_a_running_host(self):
        data = self.folder / "bounded"
        limit = 300_000
        with Host(data, *SETTINGS, f"journal.retention.max_bytes={limit}") as host:
            counts = post_in_order(host, bodies_of(self.lines))
            host.wait_read(counts["last_sequence"])
            wait_until(lambda: metric(host, "ephor_journal_stored_bytes") <= limit, "stored bytes within the limit")
            self.assertEqual(metric(host, "ephor_journal_gaps"), 1)
            self.assertGreater(metric(host, "ephor_journal_oldest_sequence"), 65536)
            again = post_in_order(host, bodies_of(self.lines))
            self.assertEqual(again["accepted"], 0)
            self.assertEqual(host.get("/health/ready")["journal"]["health"], "ok")
        with Host(data, *SETTINGS) as host:
            again = post_in_order(host, bodies_of(self.lines))
            self.assertEqual(again["accepted"], 0)
        self.assertEqual(tables(data), self.expected)
        self.assertEqual(verify(data)["faults"], [])

    # ---- a full disk

    def test_a_full_disk_is_503_and_over_without_a_restart(self):
        data = self.folder / "full"
        bodies = bodies_of(self.lines)
        with Host(data, *SETTINGS) as host:
            pid = host.process.pid
            post_in_order(host, bodies[:2])
            _, unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            largest = max(file.stat().st_size for file in data.glob("*.db*"))
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest + 200_000, unlimited))
            refused = None
            acknowledged = 2
            for number, body in enumerate(bodies[2:], 2):
                status, answer, headers = host.request("POST", "/api/events", body,
                                                       {"Content-Type": "application/x-ndjson"})
                if status != 200:
                    refused = number
                    break
                acknowledged = number + 1
            self.assertIsNotNone(refused, "the limit was never reached")
            self.assertEqual(status, 503, answer)
            self.assertIn("retry-after", headers)
            health = host.get("/health/ready")["journal"]
            self.assertEqual(health["health"], "degraded")
            self.assertIn("no events are taken", health["reasons"][0])
            began = time.monotonic()
            self.assertEqual(host.post(bodies[-1])[0], 503)  # and is told soon
            self.assertLess(time.monotonic() - began, 10)

            resource.prlimit(pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
            wait_until(lambda: host.post(bodies[acknowledged])[0] == 200, "events are taken again")
            counts = post_in_order(host, bodies)
            self.assertEqual(counts["rejected"], 0)
            host.wait_read(counts["last_sequence"])
            wait_until(lambda: host.get("/health/ready")["journal"]["health"] == "ok", "health is ok again")
        self.assertEqual(tables(data), self.expected)
        self.assertEqual(max(Counter(journal_ids(data)).values()), 1)


if __name__ == "__main__":
    main()
