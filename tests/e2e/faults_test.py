#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plugins that throw, hang, spin, crash the host or are poisoned by single events, beside one that
counts: nothing is lost for anyone else, and health, metrics and log name the culprit. And reload: what
changed begins anew where it stood, what did not change notices nothing."""
import contextlib
import http.client
import json
import re
import signal
import threading
import time

from ephor_e2e import BUILD, CLOUDEVENTS, PATIENCE_S, PLUGINS, Host, TestCase, cli, main, query, rows

FAULTY_PLUGINS = BUILD / "tests" / "plugins"
SOFT_S, HARD_S = 0.3, 0.8


def event(n, source="client", poison=False):
    data = {"n": n, "poison": True} if poison else {"n": n}
    return {"specversion": "1.0", "id": f"e{n}", "source": source, "type": "test.point",
            "time": f"2024-05-01T{n // 3600:02}:{n // 60 % 60:02}:{n % 60:02}Z", "data": data}


def events(first, last, **more):
    return json.dumps([event(n, **more) for n in range(first, last)]).encode()


class FaultsCase(TestCase):
    """A configuration of faulty plugins: a witness that only counts, and whoever the test adds."""

    def write_config(self, name, culprits, faults=None):
        plugins = {"http_api": {},
                   "witness": {"plugin": "faulty", "config": {"topic": "test.point"}}}
        for instance, settings in culprits.items():
            plugins[instance] = {"plugin": "faulty", **settings}
        config = {"plugin_path": [str(FAULTY_PLUGINS), str(PLUGINS)],
                  "checkpoint": {"interval_s": 0.2},
                  "faults": {"soft_limit_s": SOFT_S, "hard_limit_s": HARD_S, "window_s": 5,
                             "restart_backoff_s": 0.1, "restarts_max": 2, **(faults or {})},
                  "plugins": plugins}
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(config))
        return file

    def host(self, name, culprits, faults=None, **more):
        return Host(self.folder / name, config=self.write_config(name, culprits, faults), **more)

    def post(self, host, body):
        status, answer = host.post(body, CLOUDEVENTS)
        self.assertEqual(status, 200, answer)
        return answer["last_sequence"]

    def instance(self, host, name):
        """What health says of it; the same over HTTP whether ready or not."""
        health = host.request("GET", "/health/ready")[1]
        return next(one for one in health["instances"] if one["instance"] == name)

    def wait_for(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.005)
        self.fail(f"never came: {what}")

    def wait_state(self, host, name, state):
        return self.wait_for(lambda: (one := self.instance(host, name))["state"] == state and one,
                             f"{name} {state}")

    def counts(self, host, name, after=None):
        return host.get(f"/api/faulty/{name}", **({"after_sequence": after} if after else {}))

    def assert_whole(self, counts, seen):
        """Each event once, in order."""
        self.assertEqual((counts["seen"], counts["gaps"], counts["repeated"], counts["disorder"]),
                         (seen, 0, 0, 0), counts)

    def dead_letters(self, host):
        return [one["data"] for _, one in host.tap() if one["type"] == "ephor.deadletter"]

    def metric(self, host, name, instance):
        text = host.get("/metrics")
        found = re.search(rf'^{name}{{instance="{instance}"}} (\S+)$', text, re.M)
        self.assertIsNotNone(found, f"no {name} of {instance}")
        return float(found[1])


class Throws(FaultsCase):
    def test_on_every_event(self):
        # At its first event: as a skipped event is not counted, that is at every one.
        with self.host("always", {"culprit": {"config": {"mode": "throw", "topic": "test.point"}}},
                       {"budget": 6}) as host:
            last = 0
            for at in range(0, 2000, 100):
                last = self.post(host, events(at, at + 100))
            self.assert_whole(self.counts(host, "witness", last), 2000)
            # Two restarts from quarantine, then no more.
            self.wait_for(lambda: self.metric(host, "ephor_instance_quarantines_total", "culprit") == 3,
                          "the last quarantine")
            one = self.wait_state(host, "culprit", "quarantined")
            self.assertEqual(one["health"], "failed")
            self.assertIn("told to throw", one["reason"])
            self.assertIn("on_events", one["reason"])
            status, health, _ = host.request("GET", "/health/ready")
            self.assertEqual((status, health["ready"]), (200, True))
            status, answer, _ = host.request("GET", "/api/faulty/culprit")
            self.assertEqual(status, 503, answer)
            self.assertIn("quarantined", json.dumps(answer))
            self.assertGreater(self.metric(host, "ephor_instance_errors_total", "culprit"), 0)
            self.assertEqual(self.metric(host, "ephor_instance_errors_total", "witness"), 0)
            self.assertEqual(self.metric(host, "ephor_instance_up", "culprit"), 0)
            letters = self.dead_letters(host)
            self.assertEqual(self.metric(host, "ephor_instance_dead_letters_total", "culprit"), len(letters))
            self.assertTrue(letters)
            said = [one["data"] for _, one in host.tap() if one["type"] == "ephor.plugin"
                    and one["data"]["instance"] == "culprit"]
            self.assertEqual([one["state"] for one in said],
                             ["running", "quarantined", "running", "quarantined", "running", "quarantined"])
            self.assertIn("[culprit]", host.log())
            # An operator tries again.
            cli("plugin", "release", "culprit", "--data-dir", host.data_dir)
            self.wait_for(lambda: self.metric(host, "ephor_instance_quarantines_total", "culprit") > 3,
                          "another quarantine")
            self.assert_whole(self.counts(host, "witness", self.post(host, events(2000, 2100))), 2100)

    def test_on_single_events_they_are_skipped_after_three_attempts(self):
        poison = {150, 151, 700, 1999}

        def body(first, last):
            return json.dumps([event(n, poison=n in poison) for n in range(first, last)]).encode()

        host = self.host("poison", {"victim": {"config": {"mode": "throw_on", "topic": "test.point"}}},
                         {"budget": 100})
        with host:
            for at in range(0, 2000, 250):
                last = self.post(host, body(at, at + 250))
            self.assert_whole(self.counts(host, "witness", last), 2000)
            counts = self.wait_for(lambda: self.read_to(host, "victim", 2000 - len(poison)), "the rest")
            # Skipped numbers are gaps, but for the last, behind which nothing came.
            self.assertEqual((counts["gaps"], counts["repeated"], counts["disorder"]), (3, 0, 0))
            self.check_letters(host, poison)
            self.assertEqual(self.metric(host, "ephor_instance_dead_letters_total", "victim"), len(poison))
            self.assertEqual(self.instance(host, "victim")["health"], "degraded")
            # A window later it is well again.
            self.wait_for(lambda: self.instance(host, "victim")["health"] == "ok", "good health")
            host.kill()
        host.start()
        with contextlib.closing(host.connection()):
            last = self.post(host, body(2000, 2100))
            counts = self.counts(host, "victim", last)
            self.assertEqual((counts["seen"], counts["repeated"]), (2100 - len(poison), 0))
            self.check_letters(host, poison)
            self.assertEqual(host.stop(), 0)
        seen, = rows(host.data_dir / "ephor.db", "SELECT seen FROM faulty_victim WHERE topic = 'test.point'")
        self.assertEqual(seen[0], 2100 - len(poison))

    def read_to(self, host, name, seen):
        status, answer, _ = host.request("GET", f"/api/faulty/{name}")
        return answer if status == 200 and answer["seen"] == seen else None

    def check_letters(self, host, poison):
        letters = self.dead_letters(host)
        self.assertEqual(sorted(one["event"]["id"] for one in letters), sorted(f"e{n}" for n in poison))
        for one in letters:
            self.assertEqual((one["instance"], one["attempts"], one["events"]), ("victim", 3, 1))
            self.assertEqual(one["event"]["source"], "client")
            self.assertIn(f"event {one['last_sequence']} is poison", one["error"])

    def test_a_replay_with_poison_is_the_same_twice(self):
        config = self.write_config("replayed", {"victim": {"config": {"mode": "throw_on"}}}, {"budget": 100})
        session = self.folder / "poison.ndjson"
        session.write_text("".join(json.dumps(event(n, poison=n % 400 == 7)) + "\n" for n in range(3000)))
        found = []
        for name in ("a", "b"):
            data_dir = self.folder / f"replayed-{name}"
            cli("replay", session, "--config", config, "--data-dir", data_dir)
            answers = [query(f"faulty.{one}", data_dir, config=config) for one in ("witness", "victim")]
            for one in answers:
                one.pop("process_id")
            found.append((answers, rows(data_dir / "journal.db", "SELECT position, ids, body FROM batches")))
        self.assertEqual(found[0], found[1])
        self.assertEqual(found[0][0][0]["seen"], 3000)
        self.assertEqual(found[0][0][1]["topics"]["test.point"], 3000 - 8)
        self.assertEqual(found[0][0][1]["topics"]["ephor.deadletter"], 8)

    def test_without_state_the_slice_is_laid_aside_and_it_goes_on(self):
        with self.host("stateless", {"victim": {"config": {"mode": "throw_on", "topic": "test.point",
                                                           "stateful": False}}}) as host:
            self.post(host, events(0, 10))
            self.post(host, json.dumps([event(10, poison=True)]).encode())
            last = self.post(host, events(11, 20))
            self.assert_whole(self.counts(host, "witness", last), 20)
            counts = self.counts(host, "victim", last)
            self.assertEqual(counts["repeated"], 0)
            letters = self.dead_letters(host)
            self.assertEqual(sum(one["events"] for one in letters) + counts["seen"], 20)
            self.assertEqual([one["attempts"] for one in letters], [1])


class Hangs(FaultsCase):
    def check(self, name, mode):
        acted = self.folder / f"{name}.acted"
        with self.host(name, {"culprit": {"config": {"mode": mode, "topic": "test.point", "at_count": 500,
                                                     "once_file": str(acted)}}}) as host:
            last = 0
            for at in range(0, 2000, 50):
                last = self.post(host, events(at, at + 50))
            self.assert_whole(self.counts(host, "witness", last), 2000)
            one = self.wait_state(host, "culprit", "quarantined")
            found_s = time.time() - acted.stat().st_mtime
            print(f"\n{mode}: quarantined {found_s:.3f} s after it began, limit {HARD_S} s", flush=True)
            self.assertGreaterEqual(found_s, HARD_S)
            self.assertIn("on_events has not returned", one["reason"])
            self.assertEqual(host.request("GET", "/api/faulty/culprit")[0], 503)
            log = host.log_file.read_text()
            self.assertRegex(log, r"warning \[culprit\] on_events has not returned for 0.3 s")
            self.assertRegex(log, r"\n  .*faulty\.so\+0x[0-9a-f]+")  # its stack
            # The others go on, and a release is refused: only a new process helps.
            self.assert_whole(self.counts(host, "witness", self.post(host, events(2000, 2500))), 2500)
            refused = cli("plugin", "release", "culprit", "--data-dir", host.data_dir, code=1)
            self.assertIn("restart of the host", refused.stderr)
            began = time.monotonic()
            self.assertEqual(host.stop(), 0)
            self.assertLess(time.monotonic() - began, 15)
        # A new process reads on from what was saved; it acts only once.
        with Host(host.data_dir, config=host.config) as host:
            last = self.post(host, events(2500, 2600))
            self.assert_whole(self.counts(host, "culprit", last), 2600)
            self.assert_whole(self.counts(host, "witness", last), 2600)

    def test_for_ever(self):
        self.check("hang", "hang")

    def test_spinning(self):
        self.check("spin", "spin")

    def test_for_a_while_is_degraded_and_loses_nothing(self):
        with self.host("asleep", {"sleeper": {"config": {"mode": "sleep", "seconds": 0.6, "at_count": 300,
                                                         "topic": "test.point"}}}) as host:
            for at in range(0, 1000, 100):
                last = self.post(host, events(at, at + 100))
            one = self.wait_for(lambda: (one := self.instance(host, "sleeper"))["health"] == "degraded" and one,
                                "degraded")
            self.assertIn("has not returned for 0.3 s", one["reason"])
            self.assert_whole(self.counts(host, "sleeper", last), 1000)
            self.assert_whole(self.counts(host, "witness", last), 1000)
            self.wait_for(lambda: self.instance(host, "sleeper")["health"] == "ok", "good health")
            self.assertEqual(self.instance(host, "sleeper")["restarts"], 0)

    def test_in_its_start_the_others_run(self):
        with self.host("start", {"culprit": {"config": {"mode": "hang", "in": "start"}}}) as host:
            self.assert_whole(self.counts(host, "witness", self.post(host, events(0, 100))), 100)
            one = self.instance(host, "culprit")
            self.assertEqual(one["state"], "quarantined")
            self.assertIn("start has not returned", one["reason"])

    def test_in_a_query_only_its_answers_are_missing(self):
        with self.host("query", {"culprit": {"config": {"mode": "hang", "in": "query"}}}) as host:
            def ask():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    host.request("GET", "/api/faulty/culprit")

            asked = threading.Thread(target=ask)
            asked.start()
            self.wait_state(host, "culprit", "quarantined")
            self.assert_whole(self.counts(host, "witness", self.post(host, events(0, 100))), 100)
            self.assertEqual(host.request("GET", "/api/faulty/culprit")[0], 503)
            host.kill()
            asked.join()


class Crashes(FaultsCase):
    def test_the_next_start_names_the_culprit_and_the_one_after_quarantines_it(self):
        if "asan" in str(BUILD) or "tsan" in str(BUILD):
            self.skipTest("a sanitizer ends the process its own way")
        host = self.host("crash", {"culprit": {"config": {"mode": "null_write", "topic": "test.crash"}}})
        crash = json.dumps([{**event(1, "crasher"), "type": "test.crash"}]).encode()
        host.start()
        self.post(host, events(0, 100))
        with contextlib.suppress(OSError):
            host.post(crash, CLOUDEVENTS)
        self.assertEqual(host.process.wait(PATIENCE_S), -signal.SIGSEGV)
        # It reads the event again, and brings the host down a second time; the witness loses nothing.
        with contextlib.suppress(AssertionError):
            host.start()
        self.assertEqual(host.process.wait(PATIENCE_S), -signal.SIGSEGV)
        self.assertRegex(host.log_file.read_text(),
                         r"crashed with signal 11 .* in plugin culprit, on_events, in the slice from sequence \d+")
        host.start()
        one = self.instance(host, "culprit")
        self.assertEqual(one["state"], "quarantined")
        self.assertIn("2 times", one["reason"])
        self.assertIn("signal 11", one["reason"])
        self.assertEqual(host.request("GET", "/health/ready")[0], 200)
        self.assert_whole(self.counts(host, "witness", self.post(host, events(100, 200))), 200)
        self.assertEqual(host.stop(), 0)
        # Another configuration of the plugin is another plugin.
        config = self.write_config("crash", {"culprit": {"config": {"mode": "none", "topic": "test.crash"}}})
        with Host(host.data_dir, config=config) as host:
            self.assertEqual(self.counts(host, "culprit", host.get("/health/ready")["last_sequence"])["seen"], 1)


class Reload(FaultsCase):
    def reload(self, host, code=0):
        done = cli("reload", "--data-dir", host.data_dir, code=code)
        return json.loads(done.stdout) if code == 0 else done.stderr

    def test_of_one_threshold_under_load_loses_and_repeats_nothing(self):
        def culprits(value):
            return {"changed": {"config": {"topic": "test.point", "value": value}},
                    "other": {"config": {"topic": "test.point", "value": 1}}}

        with self.host("reload", culprits(1)) as host:
            is_over = threading.Event()
            posted = [0]

            def load():
                connection = host.connection()
                while not is_over.is_set():
                    host.post(events(posted[0], posted[0] + 20), CLOUDEVENTS, connection=connection)
                    posted[0] += 20
                connection.close()

            client = threading.Thread(target=load)
            client.start()
            try:
                for value in range(2, 12):
                    self.write_config("reload", culprits(value))
                    report = self.reload(host)
                    self.assertEqual((report["restarted"], report["added"], report["removed"]),
                                     (["changed"], [], []))
                    self.assertEqual(sorted(report["unchanged"]), ["http_api", "other", "witness"])
                    self.assertEqual(self.counts(host, "changed")["value"], value)
            finally:
                is_over.set()
                client.join()
            last = self.post(host, events(posted[0], posted[0] + 1))
            self.assertGreater(posted[0], 100)
            for name in ("changed", "other", "witness"):
                self.assert_whole(self.counts(host, name, last), posted[0] + 1)
                self.assertEqual(self.instance(host, name)["restarts"], 0)

    def test_a_mistake_changes_nothing(self):
        good = {"one": {"config": {"topic": "test.point", "value": 1}}}
        with self.host("mistake", good) as host:
            self.post(host, events(0, 50))
            self.write_config("mistake", {"one": {"config": {"topic": "test.point", "mode": "dance"}}})
            self.assertIn("mode", self.reload(host, code=2))
            # One that passes the schema and then refuses: what was replaced before it is put back.
            self.write_config("mistake", {"one": {"config": {"topic": "test.point", "value": 2}},
                                          "two": {"config": {"mode": "throw", "in": "start"}}})
            self.assertIn("as it was before", self.reload(host, code=1))
            last = self.post(host, events(50, 100))
            counts = self.counts(host, "one", last)
            self.assert_whole(counts, 100)
            self.assertEqual(counts["value"], 1)
            self.assertEqual(host.request("GET", "/api/faulty/two")[0], 404)
            self.assertEqual({one["instance"] for one in host.get("/health/ready")["instances"]},
                             {"http_api", "one", "witness"})

    def test_replaces_a_hung_instance_that_was_changed(self):
        with self.host("hung", {"culprit": {"config": {"mode": "hang", "topic": "test.point",
                                                       "at_count": 30}}}) as host:
            self.post(host, events(0, 20))
            self.wait_for(lambda: self.counts(host, "culprit")["seen"] == 20, "a checkpoint's worth")
            self.post(host, events(20, 50))
            self.wait_state(host, "culprit", "quarantined")
            self.write_config("hung", {"culprit": {"config": {"topic": "test.point"}}})
            self.assertEqual(self.reload(host)["restarted"], ["culprit"])
            self.assert_whole(self.counts(host, "culprit", self.post(host, events(50, 60))), 60)
            self.assertEqual(host.stop(), 0)

    def test_instances_come_and_go_and_sighup_does_the_same(self):
        with self.host("come", {"one": {"config": {"topic": "test.point"}}}) as host:
            self.post(host, events(0, 50))
            file = self.write_config("come", {"two": {"config": {"topic": "test.point"}}}, {"attempts": 3})
            host.process.send_signal(signal.SIGHUP)
            self.wait_for(lambda: host.request("GET", "/api/faulty/two")[0] == 200, "the new instance")
            self.wait_for(lambda: host.request("GET", "/api/faulty/one")[0] == 404, "the old one's end")
            last = self.post(host, events(50, 100))
            self.assert_whole(self.counts(host, "two", last), 100)  # a newcomer reads from the start
            self.assert_whole(self.counts(host, "witness", last), 100)
            # It comes back where it stood: nothing is read twice.
            config = json.loads(file.read_text())
            config["plugins"]["one"] = {"plugin": "faulty", "config": {"topic": "test.point"}}
            config["bus"] = {"bytes_max": 1 << 24}
            file.write_text(json.dumps(config))
            report = self.reload(host)
            self.assertEqual((report["added"], report["needs_host_restart"]), (["one"], ["bus"]))
            self.assert_whole(self.counts(host, "one", last), 100)


if __name__ == "__main__":
    main()
