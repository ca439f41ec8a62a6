#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random instants of an ingest, of a start, of a stop: what was acknowledged is there,
nothing is there twice, and at the end every event, row and answer equals that of a run that was
never killed (`ephor export --canonical`).

EPHOR_KILLS=300 is the full proof, EPHOR_KILL_SEED=N repeats a run (the seed is printed),
EPHOR_KILL_SESSION=FILE takes another session than the simulated one."""
import contextlib
import http.client
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from ephor_e2e import (CONFIG, Figures, Host, TestCase, cli, diff, export, export_lines, journal_ids,
                       main, read_lines, release, rows, simulate)

KILLS = int(os.environ.get("EPHOR_KILLS", "8"))
SEED = int(os.environ.get("EPHOR_KILL_SEED", random.SystemRandom().randrange(1 << 32)))
BATCH_LINES = 100
# Checkpoints come so often that kills hit them too. No idle flush between two posts, see release().
SETTINGS = ("checkpoint.interval_s=0.05", "journal.durability=full", "log_time.idle_flush_s=600")
# When the kill comes, and how often: between two acknowledgements, while a checkpoint is likely to
# be written, during the stop, during the start.
MOMENTS = {"commit": 4, "checkpoint": 2, "drain": 2, "start": 2}


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
                if status == 503:  # it is stopping: nothing of it was kept
                    with self.lock:
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

    def run_until(self, acknowledgements, kill):
        """Posts until so many batches of this round are acknowledged, then calls `kill`; or to the end
        without a kill (None)."""
        self.since, self.is_dead = 0, False
        threads = [threading.Thread(target=self.work) for _ in range(self.connections)]
        for thread in threads:
            thread.start()
        if acknowledgements is not None:
            while self.since < acknowledgements and any(thread.is_alive() for thread in threads):
                time.sleep(0.0005)
            kill()
            self.is_dead = True
        for thread in threads:
            thread.join()


class Killer:
    """Ends a host at a moment of the given kind. Counts what the kills really hit."""

    def __init__(self, host, draw):
        self.host = host
        self.draw = draw
        self.hits = Counter()
        self.start_s = 0.3

    def choose(self):
        return self.draw.choices(list(MOMENTS), MOMENTS.values())[0]

    def while_posting(self, moment):
        if moment == "drain":
            self.host.process.send_signal(signal.SIGTERM)
            time.sleep(self.draw.random() * 0.15)
            has_ended = self.host.process.poll() is not None
            self.hits["stopped before the kill" if has_ended else "drain"] += 1
        else:
            # Some posts take a commit of a few milliseconds; checkpoints come every 50.
            time.sleep(self.draw.random() * (0.004 if moment == "commit" else 0.06))
            self.hits[moment] += 1
        self.host.kill()

    def while_starting(self):
        with contextlib.suppress(FileNotFoundError):
            self.host.address_file.unlink()
        with open(self.host.log_file, "a") as log:
            process = subprocess.Popen(self.host.command(), stdout=log, stderr=log)
        Host.processes.append(process)
        time.sleep(self.draw.random() * self.start_s)
        process.kill()
        process.wait()
        self.hits["start"] += 1

    def start(self):
        began = time.monotonic()
        self.host.start()
        self.start_s = 0.9 * self.start_s + 0.1 * (time.monotonic() - began)


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
        with Host(data_dir, *SETTINGS) as host:
            host.post_all(self.lines, batch=BATCH_LINES, connections=1)
        release(data_dir)
        return export(data_dir)

    def attempt(self, name, connections, kills, draw):
        host = Host(self.folder / name, *SETTINGS)
        posting = Interrupted(host, self.bodies, connections)
        killer = Killer(host, draw)
        began = time.monotonic()
        behind = starts = 0
        for done_kills in range(kills):
            moment = killer.choose()
            if moment == "start":
                killer.while_starting()
            else:
                killer.start()
                starts += 1
                self.check_remembered(host, posting, posting.acknowledged[-3:])
                share = max(1, len(posting.todo) // (kills - done_kills))
                posting.run_until(draw.randint(0, share), lambda: killer.while_posting(moment))
            behind += self.is_behind(host.data_dir)
        host.start()
        self.check_remembered(host, posting, posting.acknowledged)
        posting.run_until(None, None)
        print(f"\n{name}: {kills} kills in {time.monotonic() - began:.0f} s "
              f"({', '.join(f'{count} {moment}' for moment, count in sorted(killer.hits.items()))}), "
              f"{posting.cut_off} posts cut off, {posting.answered['duplicate']} of their events were "
              f"there already; {behind} times an instance had to read again", flush=True)
        self.assertEqual(sorted(posting.acknowledged), list(range(len(self.bodies))))
        self.assertEqual(posting.answered["rejected"], 0)
        again = host.post_all(self.lines)
        self.assertEqual((again["accepted"], again["duplicate"]), (0, len(self.lines)))
        host.wait_read(again["last_sequence"])
        self.assert_figures(host.summary(), self.figures)
        self.assertEqual(host.stop(), 0, host.log())
        self.check_fence(host.data_dir, starts + 1)
        release(host.data_dir)
        found = export(host.data_dir)
        self.check_journal(host.data_dir, found)
        return found

    def check_remembered(self, host, posting, chosen):
        """Acknowledged batches are duplicates after the kill, wholly."""
        for index in chosen:
            status, answer = host.post(self.bodies[index])
            self.assertEqual((status, answer["accepted"], answer["duplicate"]),
                             (200, 0, self.bodies[index].count(b"\n")), f"batch {index} was acknowledged")

    @staticmethod
    def is_behind(data_dir):
        """Whether the kill left an instance with less saved than the journal holds."""
        try:
            saved = rows(data_dir / "ephor.db", "SELECT min(coalesce(sequence, 0)) FROM ephor_instances")
            last = rows(data_dir / "journal.db", "SELECT max(position) FROM batches")
        except sqlite3.OperationalError:  # killed before there was a table
            return False
        return bool(last[0][0]) and (saved[0][0] or 0) >> 16 < last[0][0]

    def check_journal(self, data_dir, file):
        """Each event once, none missing."""
        found = Counter(key for key, _ in export_lines(file, "event"))
        self.assertEqual([key for key, count in found.items() if count > 1], [])
        self.assertEqual(set(found), set(self.figures.events))
        # What was derived once is there once.
        twice = [one.hex() for one, count in Counter(journal_ids(data_dir)).items() if count > 1]
        self.assertEqual(twice, [])

    def check_fence(self, data_dir, starts):
        """Each start took a new generation: states were restored from checkpoints, and a writer of an
        earlier life could not have come through."""
        sql = "SELECT instance, generation FROM ephor_instances"
        for instance, generation in rows(data_dir / "ephor.db", sql):
            self.assertGreaterEqual(generation, starts, instance)

    def test_one_connection_gives_all_that_a_run_never_killed_gives(self):
        killed = self.attempt("one", 1, KILLS - KILLS // 4, random.Random(SEED))
        diff(killed, self.uninterrupted())

    def test_two_connections_give_all_that_their_log_gives(self):
        # Batches overtake each other, so the log's order is its own; a replay of that log, in one go,
        # has to give the same. And what came in is what was sent, whatever the order.
        killed = self.attempt("two", 2, KILLS // 4, random.Random(SEED + 1))
        cli("replay", "--journal", self.folder / "two", "--into", self.folder / "again", "--config", CONFIG)
        diff(killed, export(self.folder / "again"))


if __name__ == "__main__":
    main()
