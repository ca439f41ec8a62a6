#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random instants of an ingest: what was acknowledged is there, nothing is there twice,
and at the end every answer equals that of a run that was never killed.

EPHOR_KILLS=30 is the full proof, EPHOR_KILL_SEED=N repeats a run (the seed is printed),
EPHOR_KILL_SESSION=FILE takes another session than the simulated one."""
import http.client
import json
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

from ephor_e2e import Figures, Host, TestCase, journal_ids, main, read_lines, rows, simulate

KILLS = int(os.environ.get("EPHOR_KILLS", "6"))
SEED = int(os.environ.get("EPHOR_KILL_SEED", random.SystemRandom().randrange(1 << 32)))
BATCH_LINES = 100
# Checkpoints come so often that kills hit them too.
SETTINGS = ("checkpoint.interval_s=0.1", "journal.durability=full")

# Whole rows but for positions in the journal.
CANONICAL = {
    "trades": "SELECT trade_id, decision_id, execution_id, order_id, correlation_id, symbol, side, status, "
              "quantity, price, close_price, open_time, close_time, pnl, reported_pnl, fees, slippage, "
              "stop_loss, take_profit, close_reason, close_reason_group, regime, trade_regime, "
              "decision_regime, updated_time FROM trades ORDER BY trade_id",
    "trade_decisions": "SELECT * FROM trade_decisions ORDER BY decision_id",
    "correlation_tracking": "SELECT * FROM correlation_tracking ORDER BY correlation_id",
    "model_behavior_tracking": "SELECT * FROM model_behavior_tracking ORDER BY id",
    "metric_rollup": "SELECT * FROM metric_rollup ORDER BY name, labels_hash, resolution_s, bucket_start",
    "ensemble_decisions": "SELECT decision_id, ensemble_id, timestamp, symbol, regime, final_decision, "
                          "primary_prediction, meta_prediction, members, weights, path, outcome, correct "
                          "FROM ensemble_decisions ORDER BY decision_id",
    "ensemble_weights": "SELECT * FROM ensemble_weights ORDER BY ensemble_id, hour",
    "regime_transitions": "SELECT symbol, time_ns, from_regime, to_regime, confidence, dwell_s, observations, "
                          "flicker FROM regime_transitions ORDER BY symbol, time_ns, to_regime",
    "alerts": "SELECT kind, target, severity, state, opened_at, resolved_at, summary FROM alerts "
              "ORDER BY kind, target, opened_at",
}
# What does not depend on the order in which batches arrive, but for the last digit of a sum.
ORDER_FREE = {
    "trades": CANONICAL["trades"].replace("decision_regime, ", ""),
    "trade_decisions": CANONICAL["trade_decisions"],
    "correlation_tracking": CANONICAL["correlation_tracking"],
    "metric_rollup": CANONICAL["metric_rollup"].replace(
        "*", "name, labels, resolution_s, bucket_start, count, round(sum, 6), min, max, first, last, unit"),
}


class Interrupted:
    """Posts batches over some connections to a host that is killed now and then."""

    def __init__(self, host, bodies, connections):
        self.host = host
        self.todo = list(range(len(bodies)))[::-1]
        self.bodies = bodies
        self.connections = connections
        self.acknowledged = []
        self.cut_off = 0
        self.answered = Counter()
        self.lock = threading.Lock()

    def work(self):
        connection = self.host.connection()
        try:
            while True:
                with self.lock:
                    if not self.todo or self.is_dead:
                        return
                    index = self.todo.pop()
                try:
                    status, answer = self.host.post(self.bodies[index], connection=connection)
                except (OSError, http.client.HTTPException):
                    with self.lock:  # not acknowledged: it may be there, wholly or not at all
                        self.cut_off += 1
                        self.todo.append(index)
                        self.todo.sort(reverse=True)
                    return
                if status != 200:
                    raise AssertionError(f"POST /api/events: {status} {answer}")
                with self.lock:
                    self.acknowledged.append(index)
                    for key in ("accepted", "duplicate", "rejected"):
                        self.answered[key] += answer[key]
                    self.since += 1
        finally:
            connection.close()

    def run_until(self, acknowledgements, delay_s):
        """Posts until so many batches of this round are acknowledged, then `delay_s` more, then kills
        the host; or to the end without a kill (None)."""
        self.since, self.is_dead = 0, False
        threads = [threading.Thread(target=self.work) for _ in range(self.connections)]
        for thread in threads:
            thread.start()
        if acknowledgements is not None:
            while self.since < acknowledgements and any(thread.is_alive() for thread in threads):
                time.sleep(0.0005)
            time.sleep(delay_s)
            self.host.kill()
            self.is_dead = True
        for thread in threads:
            thread.join()


class Kill(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        chosen = os.environ.get("EPHOR_KILL_SESSION")
        file = Path(chosen) if chosen else simulate(cls.folder)[0]
        cls.lines = read_lines(file)
        cls.figures = Figures(cls.lines)
        cls.bodies = [b"\n".join(cls.lines[at:at + BATCH_LINES]) + b"\n"
                      for at in range(0, len(cls.lines), BATCH_LINES)]
        print(f"\n{KILLS} kills, EPHOR_KILL_SEED={SEED}, {len(cls.bodies)} batches", flush=True)

    def uninterrupted(self):
        data_dir = self.folder / "whole"
        if not data_dir.exists():
            with Host(data_dir, *SETTINGS) as host:
                host.post_all(self.lines, batch=BATCH_LINES, connections=1)
        return data_dir

    def attempt(self, name, connections, kills, draw):
        host = Host(self.folder / name, *SETTINGS)
        posting = Interrupted(host, self.bodies, connections)
        done_kills = 0
        while done_kills < kills:
            host.start()
            self.check_remembered(host, posting)
            left = len(posting.todo)
            share = max(1, left // (kills - done_kills + 1))
            posting.run_until(draw.randint(0, share), draw.random() * 0.03)
            done_kills += 1
        host.start()
        self.check_remembered(host, posting, everything=True)
        posting.run_until(None, 0)
        print(f"\n{name}: {kills} kills, {posting.cut_off} posts cut off, "
              f"{posting.answered['duplicate']} of their events were there already", flush=True)
        self.assertEqual(sorted(posting.acknowledged), list(range(len(self.bodies))))
        self.assertEqual(posting.answered["rejected"], 0)
        self.check_journal(host)
        self.check_fence(host.data_dir, kills + 1)
        again = host.post_all(self.lines)
        self.assertEqual((again["accepted"], again["duplicate"]), (0, len(self.lines)))
        host.wait_read(again["last_sequence"])
        self.assert_figures(host.summary(), self.figures)
        self.assertEqual(host.stop(), 0, host.log())
        return host.data_dir

    def check_remembered(self, host, posting, everything=False):
        """Acknowledged batches are duplicates after the kill, wholly."""
        chosen = posting.acknowledged if everything else posting.acknowledged[-3:]
        for index in chosen:
            status, answer = host.post(self.bodies[index])
            self.assertEqual((status, answer["accepted"], answer["duplicate"]),
                             (200, 0, self.bodies[index].count(b"\n")), f"batch {index} was acknowledged")

    def check_journal(self, host):
        """Each event once, none missing."""
        found = Counter((event["source"], event["id"]) for _, event in host.tap()
                        if event["source"] != "ephor" and not event["source"].startswith("ephor/"))
        self.assertEqual([key for key, count in found.items() if count > 1], [])
        self.assertEqual(set(found), set(self.figures.events))

    def check_fence(self, data_dir, starts):
        """Each start took a new generation: states were restored from checkpoints, and a writer of an
        earlier life could not have come through."""
        sql = "SELECT instance, generation FROM ephor_instances"
        for instance, generation in rows(data_dir / "ephor.db", sql):
            self.assertGreaterEqual(generation, starts, instance)

    def check_equal(self, one, other, queries):
        for table, sql in queries.items():
            left, right = (rows(data_dir / "ephor.db", sql) for data_dir in (one, other))
            self.assertEqual(len(left), len(right), table)
            for found, expected in zip(left, right):
                self.assertEqual(found, expected, table)

    def test_one_connection_gives_the_very_rows_of_a_run_never_killed(self):
        draw = random.Random(SEED)
        whole = self.uninterrupted()
        killed = self.attempt("one", 1, KILLS - KILLS // 2, draw)
        self.check_equal(killed, whole, CANONICAL)
        self.assert_ids(killed, whole)

    def test_two_connections_give_the_same_answers(self):
        # Batches overtake each other here, so what depends on arrival may differ: the cumulative part
        # of the hourly model rows, and whether a trade with a regime of its own notes its decision's
        # too. Figures may not.
        draw = random.Random(SEED + 1)
        whole = self.uninterrupted()
        killed = self.attempt("two", 2, KILLS // 2, draw)
        self.check_equal(killed, whole, ORDER_FREE)
        self.assert_ids(killed, whole)
        self.assertEqual(self.hourly(killed), self.hourly(whole))

    def hourly(self, data_dir):
        names = ("predictions", "outcomes_joined", "correct")
        sql = "SELECT id, performance_metrics FROM model_behavior_tracking"
        return {key: tuple(json.loads(text)["hour"][name] for name in names)
                for key, text in rows(data_dir / "ephor.db", sql)}

    def assert_ids(self, killed, whole):
        """The journal's own identities, once each: those of the events (ticks have none) and of what the
        plugins derived, whose ids name a position in the journal and so differ from run to run."""
        found, expected = Counter(journal_ids(killed)), Counter(journal_ids(whole))
        self.assertEqual([one.hex() for one, count in found.items() if count > 1], [])
        common = set(found) & set(expected)
        self.assertGreaterEqual(len(common), len(self.figures.events))
        self.assertLessEqual(len(found) - len(common), 1000)


if __name__ == "__main__":
    main()
