#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The examples of the SDK, each loaded into a host by EPHOR_PLUGIN_PATH: real events through it, and what
it does about them."""
import json
import os
import random
import signal
import socket
import time

from ephor_e2e import BUILD, PATIENCE_S, Host, TestCase, cli, main

EXAMPLES = BUILD / "lib" / "ephor" / "examples"
START = 1_700_000_000


def event(topic, number, data, source="examples-test"):
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START + number))
    return json.dumps({"specversion": "1.0", "id": f"{topic}-{number}", "source": source, "type": topic,
                       "time": moment, "data": data}).encode()


def wait_for(what, look):
    """What `look` returns, as soon as it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE_S} s: {what}")


def told(host, topic):
    """[(sequence, event)] of one topic in the log."""
    return [(sequence, one) for sequence, one in host.tap() if one["type"] == topic]


class Examples(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("minimal_c", "minimal_cpp", "drift_detector", "file_sink", "socket_source", "rest_route"):
            if not (EXAMPLES / f"{name}.so").is_file():
                raise AssertionError(f"{EXAMPLES / name}.so is not built")
        os.environ["EPHOR_PLUGIN_PATH"] = str(EXAMPLES)

    @classmethod
    def tearDownClass(cls):
        del os.environ["EPHOR_PLUGIN_PATH"]
        super().tearDownClass()

    def host(self, name, config=None, *settings, **others):
        """A host with http_api and this example, not started."""
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps({"plugins": {"http_api": {}, name: {"config": config or {}}, **others}}))
        return Host(self.folder / name, *settings, config=file)

    def test_minimal_c_counts(self):
        with self.host("minimal_c") as host:
            before = host.get("/api/example/count")["events"]
            last = host.post_all([event("any.topic", i, {}) for i in range(5)])["last_sequence"]
            after = host.get("/api/example/count", after_sequence=last)["events"]
            posted = host.tap()
            # It counts ticks and the states of plugins, too: all that is in the log by then.
            self.assertGreaterEqual(after - before, 5)
            self.assertLessEqual(after, len(posted))

    def test_minimal_cpp_publishes(self):
        with self.host("minimal_cpp", {"threshold": 10}) as host:
            lines = [event("ephor.metric", i, {"name": "latency", "value": value})
                     for i, value in enumerate((9, 10, 11))]
            last = host.post_all(lines)["last_sequence"]
            self.assertEqual(host.get("/api/example/high", after_sequence=last), {"high": 1, "threshold": 10.0})
            found = wait_for("example.high", lambda: told(host, "example.high"))
            self.assertEqual([(one["source"], one["data"]) for _, one in found],
                             [("ephor/minimal_cpp", {"value": 11.0, "threshold": 10.0})])

    def test_a_drift_becomes_an_alert(self):
        with self.host("drift_detector", {"limit": 8}, alerter={}) as host:
            noise = random.Random(5)
            lines = [event("ephor.metric", i, {"name": "model.loss", "value": noise.gauss(1 if i < 300 else 1.3, 0.1)})
                     for i in range(320)]
            last = host.post_all(lines, connections=1)["last_sequence"]
            answer = host.get("/api/drift_detector/findings", after_sequence=last)
            self.assertEqual(answer["metrics"], 1)
            finding, = answer["findings"]
            self.assertEqual((finding["kind"], finding["target"], finding["state"]),
                             ("level_shift", "model.loss", "open"))
            (sequence, drift), = wait_for("ephor.drift", lambda: told(host, "ephor.drift"))
            self.assertEqual(drift["data"], finding)
            self.assertEqual(drift["source"], "ephor/drift_detector")
            alerts = host.get("/api/alerts", after_sequence=sequence)
            self.assertIn(finding["summary"], json.dumps(alerts))

    def test_the_sink_writes_each_event_once_whatever_is_killed(self):
        host = self.host("file_sink", {"topics": "sunk.*", "rotate_bytes": 1500},
                         "checkpoint.interval_s=0.2")

        def written():
            lines = []
            for file in sorted(host.data_dir.glob("file_sink.ndjson.*")):
                self.assertNotIn(b"before", file.name.encode())
                lines += [json.loads(line)["id"] for line in file.read_bytes().splitlines()]
            return lines

        expected = []
        for turn in range(4):
            host.start()
            if turn == 1:  # a checkpoint is there by now; the kills below come at any time
                wait_for("the first turn's events", lambda: len(written()) == len(expected))
            for part in range(3):
                numbers = range(turn * 100 + part * 10, turn * 100 + part * 10 + 10)
                host.post_all([event("sunk.one", i, {"n": i}) for i in numbers], connections=1)
                expected += [f"sunk.one-{i}" for i in numbers]
            if turn == 0:
                self.assertEqual(host.stop(), 0)
            elif turn < 3:
                host.kill()
        wait_for("everything is written", lambda: len(written()) >= len(expected))
        self.assertEqual(written(), expected)
        files = sorted(host.data_dir.glob("file_sink.ndjson.*"))
        self.assertGreater(len(files), 2)
        self.assertEqual(host.stop(), 0)
        self.assertEqual(written(), expected)

    def test_a_full_disk_is_degraded_health_and_no_loss(self):
        host = self.host("file_sink", {"topics": "sunk.*", "retry_s": 0.05, "path": "full.ndjson"})
        host.data_dir = self.folder / "full"
        host.data_dir.mkdir()
        file = host.data_dir / "full.ndjson.000001"
        file.symlink_to("/dev/full")

        def health():
            return next(one for one in host.status()["instances"] if one["instance"] == "file_sink")

        with host:
            host.post_all([event("sunk.one", 1, {})])
            wait_for("degraded", lambda: health()["health"] == "degraded")
            self.assertIn("No space left on device", health()["reason"])
            file.unlink()
            wait_for("ok again", lambda: health()["health"] == "ok")
            self.assertEqual([json.loads(line)["id"] for line in file.read_bytes().splitlines()], ["sunk.one-1"])

    def test_a_replay_writes_no_file(self):
        recording = self.folder / "recording.ndjson"
        recording.write_bytes(b"\n".join(event("sunk.one", i, {}) for i in range(3)) + b"\n")
        host = self.host("file_sink")
        cli("replay", recording, "--config", host.config, "--data-dir", self.folder / "replayed")
        self.assertEqual(list((self.folder / "replayed").glob("file_sink.ndjson*")), [])

    def test_the_socket_brings_events_in(self):
        with self.host("socket_source", {"path": "in.sock"}) as host:
            clients = []
            for _ in range(3):
                client = socket.socket(socket.AF_UNIX)
                client.settimeout(PATIENCE_S)
                client.connect(str(host.data_dir / "in.sock"))
                clients.append((client, client.makefile("rb")))
            for number, (client, answers) in enumerate(clients):
                bad = json.dumps({"specversion": "1.0", "id": "x", "source": "s", "type": "ephor.metric",
                                  "data": {"name": "m", "value": "high"}}).encode()
                client.sendall(event("from.socket", number, {"n": number}) + b"\n" + bad + b"\n")
                rejection = json.loads(answers.readline())
                self.assertEqual((rejection["line"], rejection["pointer"]), (2, "/data/value"))
                self.assertEqual(json.loads(answers.readline()), {"accepted": 1, "duplicate": 0, "rejected": 1})
            again, answers = clients[0]
            again.sendall(event("from.socket", 1, {"n": 1}) + b"\n")
            self.assertEqual(json.loads(answers.readline()), {"accepted": 0, "duplicate": 1, "rejected": 0})
            self.assertEqual([one["data"]["n"] for _, one in told(host, "from.socket")], [0, 1, 2])
            # Stopping does not wait for clients that stay.
        for client, answers in clients:
            self.assertEqual(answers.read(), b"")
            client.close()

    def test_the_route_has_schemas_and_statuses(self):
        with self.host("rest_route", {}, "checkpoint.interval_s=0.2") as host:
            lines = [event("ephor.market", i, {"symbol": symbol, "price": 100 + i})
                     for i, symbol in enumerate(("BTCUSDT", "ETHUSDT", "BTCUSDT"))]
            last = host.post_all(lines, connections=1)["last_sequence"]
            quote = host.get("/api/example/quotes/BTCUSDT", after_sequence=last)
            self.assertEqual(quote, {"symbol": "BTCUSDT", "price": 102.0, "updates": 2,
                                     "time": "2023-11-14T22:13:22Z"})
            status, body, _ = host.request("GET", "/api/example/quotes/NONE")
            self.assertEqual(status, 404, body)
            status, body, _ = host.request("GET", "/api/example/quotes?limit=0")
            self.assertEqual(status, 400, body)
            self.assertIn("found", json.dumps(body))
            listed = wait_for("a checkpoint", lambda: host.get("/api/example/quotes", limit=1)["quotes"])
            self.assertEqual(listed, [quote])
            paths = host.get("/openapi.json")["paths"]
            described = paths["/api/example/quotes/{symbol}"]["get"]
            self.assertEqual(described["parameters"][0]["name"], "symbol")
        with self.host("rest_route") as host:  # the state is there after the restart
            self.assertEqual(host.get("/api/example/quotes/BTCUSDT"), quote)


if __name__ == "__main__":
    main()
