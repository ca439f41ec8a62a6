#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replay equals replay to the byte; live, paced and replayed runs of the same events give the same
events, rows and answers (`ephor export --canonical`); a what-if replay shows what another threshold
would have found (`ephor diff`).

EPHOR_DETERMINISM_SESSION=FILE does it with another session, say the recorded one."""
import contextlib
import json
import os
import shutil
import sqlite3
import time
from datetime import datetime, timedelta
from pathlib import Path

from ephor_e2e import (CONFIG, Host, TestCase, cli, diff, export, export_lines, journal_batches, main,
                       read_lines, release, replay, rows, simulate)

# Rows that no order of arrival changes; `trades` notes a decision's regime only if it came before.
ORDER_FREE = ("event", "table correlation_tracking", "table trade_decisions", "table trades")
ORDERED_COLUMNS = {"decision_regime"}
# An idle flush comes only where release() asks for it.
QUIET = "log_time.idle_flush_s=600"


def sections(difference):
    return {one["section"]: one for one in difference["sections"]}


class Determinism(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        chosen = os.environ.get("EPHOR_DETERMINISM_SESSION")
        cls.file = Path(chosen) if chosen else simulate(cls.folder)[0]
        cls.lines = read_lines(cls.file)
        replay(cls.file, cls.folder / "first")
        cls.first = export(cls.folder / "first")

    def live(self, name, connections=1, batch=100, lines=None, **more):
        """A live host that all lines are posted to: its data directory, stopped."""
        data_dir = self.folder / name
        with Host(data_dir, QUIET) as host:
            host.post_all(lines or self.lines, batch=batch, connections=connections, **more)
        return data_dir

    def test_two_replays_give_the_same_bytes(self):
        replay(self.file, self.folder / "second")
        one, other = journal_batches(self.folder / "first"), journal_batches(self.folder / "second")
        self.assertGreater(len(one), 1)
        self.assertEqual(one, other)
        self.assertEqual(self.first.read_bytes(), export(self.folder / "second").read_bytes())
        # Not only what can be asked for: what the plugins keep, and the sequences in it.
        states = [rows(self.folder / name / "ephor.db", "SELECT instance, sequence, epoch, state FROM "
                  "ephor_instances ORDER BY instance") for name in ("first", "second")]
        self.assertGreater(sum(len(state or b"") for *_, state in states[0]), 1000)
        self.assertEqual(*states)

    def test_the_export_holds_all_that_came_in_and_all_rows(self):
        sent = {(one["source"], one["id"]): one for one in map(json.loads, self.lines)}
        found = export_lines(self.first, "event")
        self.assertEqual([key for key, _ in found], sorted(key for key, _ in found))
        self.assertEqual({key: value["topic"] for key, value in found},
                         {key: one["type"] for key, one in sent.items()})
        database = self.folder / "first" / "ephor.db"
        tables = [name for name, in rows(database, "SELECT name FROM sqlite_master WHERE type = 'table'")]
        self.assertIn("report_history", tables)
        for table in tables:
            count, = rows(database, f"SELECT count(*) FROM {table}")[0]
            self.assertEqual(len(export_lines(self.first, f"table {table}")), count, table)
        answers = [key for key, _ in export_lines(self.first, "answer")]
        for expected in (("GET /api/performance",), ("tracer.summary",), ("GET /api/ml/models",)):
            self.assertIn(expected, answers)
        self.assertNotIn("first_sequence", repr(export_lines(self.first, "table trades")))

    def test_a_live_run_gives_what_its_replay_gives(self):
        data_dir = self.live("live")
        release(data_dir)
        diff(export(data_dir), self.first)

    def test_a_running_host_exports_what_its_directory_holds(self):
        data_dir = self.folder / "running"
        with Host(data_dir, QUIET) as host:
            host.post_all(self.lines, batch=250, connections=1, is_gzip=True)
            running = export(data_dir).rename(self.folder / "running.first")
        diff(running, export(data_dir))

    def test_several_connections_give_what_a_replay_of_their_log_gives(self):
        data_dir = self.live("several", connections=4, batch=50)
        release(data_dir)
        found = export(data_dir)
        cli("replay", "--journal", data_dir, "--into", self.folder / "several2", "--config", CONFIG)
        diff(found, export(self.folder / "several2"))
        done = cli("diff", found, self.first, "--json", "--limit", 10**9, code=None)
        for name, one in sections(json.loads(done.stdout)).items():
            if name not in ORDER_FREE:
                continue
            changed = {change["path"] for row in one["rows"] for change in row["changes"]}
            self.assertEqual((one["only_a"], one["only_b"], changed - ORDERED_COLUMNS), (0, 0, set()), name)

    def test_a_flush_in_the_middle_is_part_of_the_log(self):
        # The clock made it; what comes behind it may be late because of it.
        data_dir = self.folder / "paused"
        half = len(self.lines) // 2
        with Host(data_dir, QUIET) as host:
            host.post_all(self.lines[:half], connections=1)
        release(data_dir)
        with Host(data_dir, QUIET) as host:
            host.post_all(self.lines[half:], connections=1)
        cli("replay", "--journal", data_dir, "--into", self.folder / "paused2", "--config", CONFIG)
        found = export(data_dir)
        diff(found, export(self.folder / "paused2"))
        # Neither the flush nor its missing end went unnoticed.
        diff(found, self.first, code=1)

    def test_the_pace_changes_nothing(self):
        # The first moments of the session, and a metric every tenth of a second for three more.
        begin = datetime.fromisoformat(json.loads(self.lines[0])["time"][:19])
        short = [line for line in self.lines[:200]
                 if datetime.fromisoformat(json.loads(line)["time"][:19]) < begin + timedelta(seconds=1)]
        self.assertGreater(len(short), 10)
        for n in range(30):
            moment = (begin + timedelta(seconds=1 + n / 10)).isoformat(timespec="milliseconds")
            short.append(json.dumps({"specversion": "1.0", "id": f"pace-{n}", "source": "pace",
                                     "type": "ephor.metric", "time": moment + "Z",
                                     "data": {"name": "pace", "value": n % 7}}).encode())
        file = self.folder / "short.ndjson"
        file.write_bytes(b"\n".join(short) + b"\n")
        began = time.monotonic()
        replay(file, self.folder / "paced", "--speed", "1x")
        self.assertGreater(time.monotonic() - began, 2)
        replay(file, self.folder / "unpaced", "--speed", "max")
        data_dir = self.live("short", batch=7, lines=short)
        release(data_dir)
        unpaced = export(self.folder / "unpaced")
        diff(export(self.folder / "paced"), unpaced)
        diff(export(data_dir), unpaced)

    def test_a_journal_gives_itself(self):
        cli("replay", "--journal", self.folder / "first", "--into", self.folder / "itself", "--config", CONFIG)
        self.assertEqual(export(self.folder / "itself").read_bytes(), self.first.read_bytes())

    def test_unread_events_are_refused_not_exported_as_if_they_were_not_there(self):
        data_dir = self.folder / "behind"
        with Host(data_dir, QUIET, "checkpoint.interval_s=3600") as host:
            host.post_all(self.lines[:2000], connections=1)
            host.kill()
        done = cli("export", "--canonical", "--config", CONFIG, "--data-dir", data_dir, code=1)
        self.assertIn("start a host on it", done.stderr)
        self.assertEqual(cli("diff", data_dir, self.first, "--config", CONFIG, code=2).stdout, "")


class WhatIf(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.session = cls.folder / "faults.ndjson"
        cli("simulate", "--hours", 24, "--seed", 5, "--out", cls.session,
            "--fault", "feature_drift:volume_z:10:18", "--fault", "broken_model:xgb_flow:10:18",
            "--fault", "error_burst:strategist/risk_check:3:5")
        cls.live_dir = cls.folder / "live"
        with Host(cls.live_dir, QUIET) as host:
            host.post_all(read_lines(cls.session), connections=1)
        release(cls.live_dir)

    def what_if(self, journal, name, *settings):
        more = [word for one in settings for word in ("--set", one)]
        cli("replay", "--journal", journal, "--into", self.folder / name, "--config", CONFIG, *more)
        return self.folder / name

    def findings(self, difference):
        return sorted((one["what"], one["kind"], one["target"]) for one in difference["findings"])

    def test_the_same_configuration_finds_the_same(self):
        again = self.what_if(self.live_dir, "same")
        # Directories are exported on the way.
        found = json.loads(cli("diff", self.live_dir, again, "--json", "--config", CONFIG).stdout)
        self.assertTrue(found["equal"])
        self.assertEqual(found["findings"], [])

    def test_another_threshold_finds_other_things(self):
        other = self.what_if(self.live_dir, "threshold", "plugins.ml_monitor.config.drift_threshold=0.7",
                             "plugins.tracer.config.error_rate_rise_min=0.5")
        one, two = export(self.live_dir), export(other)
        found = diff(one, two, code=1)
        self.assertEqual(self.findings(found), [
            ("later", "feature_drift", "volume_z"),
            ("vanished", "concept_drift", "xgb_flow"),
            ("vanished", "error_burst", "strategist/risk_check")])
        later, = (one for one in found["findings"] if one["what"] == "later")
        seconds = [datetime.fromisoformat(later[side]["detected"][:19]) for side in ("a", "b")]
        self.assertAlmostEqual(later["moved_s"], (seconds[1] - seconds[0]).total_seconds(), delta=1)
        # What is not asked of the detectors is the same: the trades, and what came in.
        by_name = sections(found)
        for name in ("event", "table trades", "table correlation_tracking", "table regime_transitions"):
            self.assertEqual([by_name[name][key] for key in ("only_a", "only_b", "changed")], [0, 0, 0], name)
        # The other way round they open, and earlier.
        self.assertEqual(self.findings(diff(two, one, code=1)), [
            ("earlier", "feature_drift", "volume_z"),
            ("opened", "concept_drift", "xgb_flow"),
            ("opened", "error_burst", "strategist/risk_check")])
        text = cli("diff", one, two, code=1).stdout
        self.assertIn("vanished: ephor/ml_monitor concept_drift xgb_flow: warning", text)

    def test_an_alert_rule_rings_afterwards(self):
        name = next(json.loads(line)["data"]["name"] for line in read_lines(self.session)
                    if b'"ephor.metric"' in line)
        rule = [{"name": name, "above": -1e12}]
        other = self.what_if(self.live_dir, "rule", "plugins.alerter.config.rules=" + json.dumps(rule))
        one, two = export(self.live_dir), export(other)
        by_name = sections(diff(one, two, code=1))
        self.assertGreater(by_name["table alerts"]["only_b"], 0)
        self.assertEqual(by_name["table alerts"]["only_a"], 0)
        for untouched in ("table trades", "table model_behavior_tracking"):
            self.assertEqual(by_name[untouched]["changed"], 0)

    def test_a_journal_that_has_lost_its_beginning_is_replayed_from_where_it_begins(self):
        kept = self.folder / "kept"
        shutil.copytree(self.live_dir, kept)
        with contextlib.closing(sqlite3.connect(kept / "journal.db")) as journal:
            first, = journal.execute("SELECT max(position) / 5 FROM batches").fetchone()
            journal.execute("DELETE FROM batches WHERE position < ?", (first,))
            journal.commit()
        left = {key for key, _ in export_lines(export(self.what_if(kept, "gap")), "event")}
        every = {key for key, _ in export_lines(export(self.live_dir), "event")}
        self.assertTrue(left < every)
        self.assertGreater(len(left), len(every) // 2)
        diff(export(self.what_if(kept, "gap2")), self.folder / "gap.export")
        other = self.what_if(kept, "gap3", "plugins.ml_monitor.config.drift_threshold=5")
        found = self.findings(diff(self.folder / "gap.export", export(other), code=1))
        self.assertIn(("vanished", "feature_drift", "volume_z"), found)


if __name__ == "__main__":
    main()
