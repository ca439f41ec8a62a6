# SPDX-License-Identifier: Apache-2.0
"""sdk/python/ephor_client.py against real hosts, and against a stub where a host has to misbehave. What is
expected is what was put in: every record carries a number, and the journal has each of them once."""
import asyncio
import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import gzip
import http.server
import json
import logging
import math
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.parse
from pathlib import Path

import ephor_e2e as e2e

PYTHON = e2e.ROOT / "sdk" / "python"
sys.path.insert(0, str(PYTHON))
import ephor_client  # noqa: E402

logging.getLogger("ephor_client").addHandler(logging.NullHandler())
logging.getLogger("ephor_client").propagate = False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what):
    deadline = time.monotonic() + e2e.PATIENCE_S
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not in {e2e.PATIENCE_S} s: {what}")


def url_of(host):
    return "http://%s:%d" % host.address


def client_of(host, **more):
    return ephor_client.Client(url_of(host), **{"source": "bot", "interval_s": 0.02, "retry_s": (0.05, 0.2), **more})


def numbers(host, source=None):
    """How often each number is in the journal, of ephor.metric events named `n`."""
    return collections.Counter(event["data"]["value"] for _, event in host.tap()
                               if event["type"] == "ephor.metric" and event["data"]["name"] == "n"
                               and source in (None, event["source"]))


def once(count, start=0):
    return collections.Counter(range(start, start + count))


def in_python(code, *arguments, **more):
    """A process of its own that has the client: its CompletedProcess."""
    return subprocess.run([sys.executable, "-c", "import ephor_client, os, sys, time\n" + code,
                           *map(str, arguments)], capture_output=True, text=True, timeout=e2e.PATIENCE_S,
                          env=dict(os.environ, PYTHONPATH=str(PYTHON), PYTHONDONTWRITEBYTECODE="1"), **more)


class Chain(e2e.TestCase):
    """What is recorded, and how it hangs together; one host."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.host = e2e.Host(cls.folder / "data").start()

    @classmethod
    def tearDownClass(cls):
        cls.host.stop()
        super().tearDownClass()

    def setUp(self):
        self.client = client_of(self.host, source=self.id().rsplit(".", 1)[1])

    def tearDown(self):
        self.client.close()

    def delivered(self, topic=None):
        """The data of this test's events, after a flush."""
        self.assertTrue(self.client.flush(e2e.PATIENCE_S), self.client.stats())
        return [event for _, event in self.host.tap()
                if event["source"] == self.client.source and topic in (None, event["type"])]

    def assert_none_lost(self):
        stats = self.client.stats()
        self.assertEqual(stats["recorded"], stats["accepted"] + stats["duplicate"], stats)
        self.assertEqual(stats["rejected"] + stats["refused"] + stats["unencodable"] + stats["errors"], 0, stats)

    def test_the_story_of_one_correlation_id_is_the_whole_chain(self):
        client, correlation = self.client, "auftrag-\u00e4 7/1"
        with client.span("cycle", "supervisor", correlation_id=correlation) as root:
            with client.span("predict", "analyst"):
                client.features({"rsi": 41.5}, symbol="ETHUSDT")
                prediction = client.prediction("xgb", "buy", confidence=0.7, symbol="ETHUSDT")
            client.regime("bull_trend", regime_confidence=0.8)
            decision = client.decision("main", "buy", individual_predictions={"xgb": 0.7})
            client.decision_path(decision, decision_steps=["signal", "size"])
            with self.assertRaises(ValueError):
                with client.span("risk_check", "tactician"):
                    raise ValueError("limit of 5 reached")
            client.order("o-1", "ETHUSDT", "buy", 0.5, "filled", decision_id=decision, execution_id="x-1")
            client.fill("o-1", 2000.0, 0.5, symbol="ETHUSDT", side="buy", execution_id="x-1")
            client.trade("t-1", "ETHUSDT", "buy", 0.5, 2000.0, "closed", decision_id=decision, order_id="o-1",
                         execution_id="x-1", close_price=2010.0, pnl=5.0)
            client.outcome("buy", prediction, realized_return=0.005)
            client.metric("equity", 10_005.0, "USD")
            client.model_behavior("xgb", prediction_drift=0.02)
            client.deployment("xgb", "1.4.2")
            client.feature_importance("xgb", {"rsi": 1.0})
            client.market("ETHUSDT", price=2000.0)
            client.benchmark("eth", price=2000.0)
            client.retrain_status("r-1", "requested", model_id="xgb")
            client.reference("xgb", trained_at="2026-01-01")
            client.log("info", "bought", "bot")
        events = self.delivered()
        self.assert_none_lost()
        self.assertEqual(len(events), 21)
        self.assertEqual({event["correlationid"] for event in events}, {correlation})
        for event in events:
            self.assertEqual(event["traceparent"][:36], f"00-{root.trace_id}-", event["type"])
        spans = {event["data"]["operation"]: event["data"] for event in events if event["type"] == "ephor.span"}
        self.assertEqual(set(spans), {"cycle", "predict", "risk_check"})
        self.assertNotIn("parent_span_id", spans["cycle"])
        for name in ("predict", "risk_check"):
            self.assertEqual(spans[name]["parent_span_id"], root.span_id)
        self.assertEqual(spans["cycle"]["status"], "ok")
        self.assertEqual(spans["cycle"]["attributes"]["decision_id"], decision)
        self.assertEqual((spans["risk_check"]["status"], spans["risk_check"]["error_message"]),
                         ("error", "ValueError: limit of 5 reached"))
        thrown, = spans["risk_check"]["events"]
        self.assertEqual(thrown["attributes"]["exception.type"], "ValueError")
        self.assertIn("python_client_test.py", thrown["attributes"]["exception.stacktrace"])
        # And the host tells it as one story.
        sequence = self.client_last_sequence()
        story = self.host.get("/api/tracing/correlation/" + urllib.parse.quote(correlation, safe=""),
                              after_sequence=sequence)
        told = json.dumps(story)
        for word in (prediction, decision, "o-1", "t-1", "x-1", "risk_check", "bull_trend", root.span_id):
            self.assertIn(word, told)

    def client_last_sequence(self):
        return self.host.status()["last_sequence"]

    def test_a_whole_trade_record_is_taken_apart(self):
        class Side(enum.Enum):
            LONG = "long"

        @dataclasses.dataclass
        class TradeRecord:
            trade_id: str
            symbol: str
            side: Side
            size: float
            price: decimal.Decimal
            status: str
            timestamp: datetime.datetime
            ensemble_decision: dict
            regime_analysis: dict
            decision_path: dict
            model_behaviors: list

        record = TradeRecord(
            "trade_1", "ETHUSDT", Side.LONG, 0.5, decimal.Decimal("2000.5"), "open",
            datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.timezone.utc),
            {"decision_id": "dec_1", "ensemble_id": "main", "primary_prediction": "buy",
             "individual_predictions": [{"model_id": "xgb", "prediction": "buy", "confidence": 0.7}]},
            {"regime_type": "bull_trend"}, {"decision_steps": ["a"]}, [{"model_id": "xgb"}])
        with self.client.correlate("corr-trade"):
            self.assertTrue(self.client.trade_record(record))
            self.client.trade_record(record)  # the same state again: a duplicate by its natural id
        found = collections.Counter(event["type"] for event in self.delivered())
        self.assertEqual(found, {"ephor.trade": 1, "ephor.ensemble_decision": 1, "ephor.prediction": 1,
                                 "ephor.regime": 1, "ephor.decision_path": 1, "ephor.model_behavior": 1})
        trade, = self.delivered("ephor.trade")
        self.assertEqual((trade["data"]["side"], trade["data"]["price"], trade["correlationid"], trade["time"]),
                         ("long", 2000.5, "corr-trade", "2026-03-01T12:00:00+00:00"))

    def test_values_of_every_kind_arrive_or_are_counted(self):
        class Array:
            def tolist(self):
                return [1.5, math.inf]

        class Mute:
            def __str__(self):
                raise RuntimeError("no words")

        nested = {"list": [1, [2]]}
        ring = {}
        ring["ring"] = ring
        strange = {"text": "\u00e4\U0001f4c8 \ud800 \x00\n\"\\", "nan": math.nan, "inf": [math.inf, 1.0],
                   "none": None, "big": 1 << 53, "bytes": b"\xff", "array": Array(), "date": datetime.date(2026, 1, 2),
                   "set": {1}, 7: "key", "nested": nested, "pair": (1, "two"), "flag": True, "empty": {}}
        self.assertTrue(self.client.event("strange", strange))
        nested["list"].append("later")  # what was recorded is not touched
        self.assertFalse(self.client.event("strange", {"mute": Mute()}))
        self.assertFalse(self.client.event("strange", ring))
        self.assertFalse(self.client.metric("bad", math.nan))
        self.assertFalse(self.client.metric("bad", math.inf))
        event, = self.delivered("strange")
        data = event["data"]
        self.assertEqual(data["text"], "\u00e4\U0001f4c8 ? \x00\n\"\\")
        self.assertEqual((data["nan"], data["inf"], data["array"]), (None, [None, 1.0], [1.5, None]))
        self.assertEqual((data["bytes"], data["date"], data["set"], data["7"]), ("\ufffd", "2026-01-02", [1], "key"))
        self.assertEqual((data["nested"], data["pair"], data["big"]), ({"list": [1, [2]]}, [1, "two"], 1 << 53))
        stats = self.client.stats()
        self.assertEqual((stats["non_finite"], stats["errors"], stats["invalid"]), (3, 2, 2))

    def test_a_rejected_record_is_counted_and_said_once_for_each_reason(self):
        said = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())
        log = logging.getLogger("ephor_client")
        log.addHandler(handler)
        self.addCleanup(log.removeHandler, handler)
        for i in range(5):
            self.client.trade(f"t{i}", "ETHUSDT", "buy", 1.0, 1.0, f"strange{i}")
            self.client.trade(f"u{i}", "ETHUSDT", "buy", 1.0, -1.0, "open")
            self.client.trade(f"v{i}", "ETHUSDT", "buy", 1.0, 1.0, "open")
        self.assertEqual(len(self.delivered()), 5)
        stats = self.client.stats()
        self.assertEqual((stats["accepted"], stats["rejected"]), (5, 10))
        self.assertEqual(sorted(stats["rejections"].values()), [5, 5])
        self.assertEqual(len([line for line in said if "rejected a ephor.trade" in line]), 2, said)

    def test_foreign_ids_name_the_trace_that_the_host_names(self):
        ids = ["x" * size for size in (*range(1, 20), 31, 33, 64, 127, 128, 129, 200, 239, 240)]
        ids += [f"{i:03}-" + "q\u00e4" * (i % 40) for i in range(60)] + ["0123456789abcdef0123456789ABCDEF"]
        for i, name in enumerate(ids):
            self.client.record("trace_span", {
                "correlation_id": name, "span_id": f"s{i}", "component_type": "analyst", "operation_name": "x",
                "start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z"})
        found = {event["correlationid"]: event["data"]["trace_id"] for event in self.delivered("ephor.span")}
        self.assertEqual(found, {name: ephor_client.trace_id_for(name) for name in ids})
        # Longer than the 256 bytes that an id may have: the ways of hashing that no id takes.
        self.assertEqual(ephor_client.trace_id_for("a" * 1025), "c91deb339ee4dc16d46a63acfb8da1ea")

    def test_threads_lose_and_repeat_nothing(self):
        def work(thread):
            with self.client.span(f"thread{thread}") as span:
                for i in range(400):
                    self.client.metric("n", thread * 1000 + i, thread=thread)
                spans[thread] = span

        spans = {}
        threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        events = self.delivered("ephor.metric")
        self.assertEqual(sorted(event["data"]["value"] for event in events),
                         [thread * 1000 + i for thread in range(6) for i in range(400)])
        for event in events:  # each thread has its own current span
            span = spans[event["data"]["labels"]["thread"]]
            self.assertEqual(event["traceparent"][3:52], f"{span.trace_id}-{span.span_id}")
        for thread in range(6):  # and its order
            own = [event["data"]["value"] for event in events if event["data"]["labels"]["thread"] == thread]
            self.assertEqual(own, sorted(own))
        self.assert_none_lost()

    def test_tasks_and_executors_carry_the_span(self):
        client = self.client

        @client.traced(component="tasks")
        async def leaf(name):
            await asyncio.sleep(0)
            client.metric("n", name)

        @client.traced("plain")
        def plain():
            return ephor_client.current()

        async def branch(name):
            async with client.span(f"branch{name}"):
                await asyncio.gather(leaf(name), leaf(name + 100))

        async def main():
            with client.span("root") as root:
                await asyncio.gather(*(branch(i) for i in range(5)))
                loop = asyncio.get_running_loop()
                bound = await loop.run_in_executor(None, client.bind(plain))
                unbound = await loop.run_in_executor(None, plain)
                with ephor_client.ContextExecutor(2) as pool:
                    pooled = pool.submit(plain).result()
                self.assertIs(ephor_client.current(), root)
            self.assertIsNone(ephor_client.current())
            return root, bound, unbound, pooled

        root, bound, unbound, pooled = asyncio.run(main())
        self.assertEqual({bound.parent_id, pooled.parent_id}, {root.span_id})
        self.assertEqual(unbound.parent_id, "")
        events = self.delivered()
        spans = {event["data"]["span_id"]: event["data"] for event in events if event["type"] == "ephor.span"}
        for event in events:
            if event["type"] != "ephor.metric":
                continue
            own = spans[event["traceparent"][36:52]]
            above = spans[own["parent_span_id"]]
            self.assertTrue(own["operation"].endswith("leaf"))
            self.assertEqual(above["operation"], f"branch{event['data']['value'] % 100}")
            self.assertEqual(above["parent_span_id"], root.span_id)
        self.assertEqual(len(spans), 1 + 5 + 10 + 3)

    def test_a_cancelled_task_is_no_failure(self):
        async def main():
            async def wait():
                with self.client.span("wait"):
                    await asyncio.sleep(3600)
            task = asyncio.ensure_future(wait())
            await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        asyncio.run(main())
        span, = self.delivered("ephor.span")
        self.assertEqual((span["data"]["status"], span["data"]["attributes"]), ("ok", {"cancelled": True}))

    def test_headers_join_two_programs(self):
        with self.client.span("caller") as caller:
            caller.baggage = {"account": "main \u00e4"}
            headers = self.client.inject({"Accept": "*/*"})
        self.assertEqual(headers["traceparent"], f"00-{caller.trace_id}-{caller.span_id}-03")
        self.assertEqual(headers["X-Correlation-ID"], caller.trace_id)
        with self.client.serve({name.upper(): value for name, value in headers.items()}, "callee") as callee:
            self.assertEqual((callee.trace_id, callee.parent_id), (caller.trace_id, caller.span_id))
            self.assertEqual(callee.baggage["account"][0], "main \u00e4")
        only = {"X-Correlation-ID": "corr-9"}
        with self.client.serve(only, "by correlation") as joined:
            self.assertEqual(joined.trace_id, ephor_client.trace_id_for("corr-9"))
            self.assertEqual((joined.correlation_id, joined.parent_id), ("corr-9", ""))
        self.assertIsNone(self.client.extract({"traceparent": "bad"}))
        self.assertEqual(len(self.delivered("ephor.span")), 3)

    def test_sampling_is_by_trace_and_spares_the_other_records(self):
        self.client.close()
        self.client = client_of(self.host, source=self.client.source, sample_rate=0.25)
        kept = set()
        for i in range(400):
            with self.client.span("root") as root:
                with self.client.span("child"):
                    self.client.metric("n", i)
            if int(root.trace_id, 16) % (1 << 56) < (1 << 54):
                kept.add(root.trace_id)
        events = self.delivered()
        spans = collections.Counter(event["data"]["trace_id"] for event in events if event["type"] == "ephor.span")
        self.assertEqual(spans, {trace: 2 for trace in kept})
        self.assertEqual(sum(event["type"] == "ephor.metric" for event in events), 400)
        self.assertTrue(50 < len(kept) < 160, len(kept))  # 100 +- 8.7

    def test_python_logs_join_the_span(self):
        logger = logging.getLogger("bot.orders")
        logger.propagate = False
        logger.setLevel(logging.INFO)
        logger.addHandler(ephor_client.LogHandler(self.client))
        with self.client.span("place") as span:
            logger.info("placed %d", 3)
            try:
                raise KeyError("gone")
            except KeyError:
                logger.exception("failed")
            logger.debug("not asked for")
            logger.error("%d", "no number")  # a mistake of the program, in its log call
        logs = self.delivered("ephor.log")
        self.assertEqual([(one["data"]["severity"], one["data"]["body"], one["data"]["logger"]) for one in logs],
                         [("info", "placed 3", "bot.orders"), ("error", "failed", "bot.orders")])
        self.assertEqual(logs[1]["data"]["attributes"]["exception.type"], "KeyError")
        self.assertEqual({one["traceparent"][36:52] for one in logs}, {span.span_id})
        self.assertEqual(self.client.stats()["errors"], 1)

    def test_forked_children_speak_for_themselves(self):
        with self.client.span("parent") as parent:
            self.client.metric("n", 0)
            child = os.fork()
            if child == 0:
                code = 1
                with contextlib.suppress(BaseException):
                    self.client.metric("n", 1)
                    code = 0 if self.client.close(e2e.PATIENCE_S) else 2
                os._exit(code)
            self.client.metric("n", 2)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        # Without close: a child of multiprocessing sends what it has at its end.
        process = multiprocessing.get_context("fork").Process(target=self.client.metric, args=("n", 3))
        process.start()
        process.join()
        events = self.delivered()
        metrics = [event for event in events if event["type"] == "ephor.metric"]
        self.assertEqual(sorted(event["data"]["value"] for event in metrics), [0, 1, 2, 3])
        self.assertEqual(len({event["id"] for event in metrics}), 4)
        self.assertEqual({event["traceparent"][36:52] for event in metrics if event["data"]["value"] < 3},
                         {parent.span_id})
        self.assertEqual(sum(event["type"] == "ephor.span" for event in events), 1)

    def test_the_end_of_the_program_sends_the_rest(self):
        done = in_python("c = ephor_client.Client(sys.argv[1], sys.argv[2], interval_s=30)\n"
                         "for i in range(700): c.metric('n', i)", url_of(self.host), self.client.source)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(numbers(self.host, self.client.source), once(700))

    def test_a_closed_client_and_one_without_a_host_take_nothing_and_raise_nothing(self):
        self.client.close()
        self.assertFalse(self.client.metric("n", 1))
        self.assertEqual(self.client.stats()["dropped_closed"], 1)
        silent = ephor_client.Client("", "silent")
        with silent.span("still works") as span:
            self.assertFalse(silent.metric("n", 1))
            self.assertEqual(silent.inject()["traceparent"][3:35], span.trace_id)
        self.assertTrue(silent.flush() and silent.close())
        with self.assertRaises(ValueError):
            ephor_client.Client("127.0.0.1:8780")


class Away(e2e.TestCase):
    """The host goes and comes back."""

    def setUp(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.place = self.folder / self.id().rsplit(".", 1)[1]
        self.spool = self.place / "spool"

    def host(self):
        return e2e.Host(self.place / "data", f"plugins.http_api.config.listen=127.0.0.1:{self.port}")

    def client(self, **more):
        more = {"source": "bot", "interval_s": 0.01, "retry_s": (0.02, 0.1), "spool_dir": str(self.spool), **more}
        client = ephor_client.Client(self.url, **more)
        self.addCleanup(client.close, 0)
        return client

    def left_over(self):
        return sorted(path.name for path in self.spool.iterdir())

    def test_restarts_and_kills_lose_and_repeat_nothing(self):
        client, stop, made = self.client(batch_records=50), threading.Event(), [0]

        def trade():
            while not stop.wait(0.001):
                for _ in range(5):
                    self.assertTrue(client.metric("n", made[0]))
                    made[0] += 1

        thread = threading.Thread(target=trade)
        thread.start()
        try:
            for end in (e2e.Host.kill, e2e.Host.stop, e2e.Host.kill, None):
                host = self.host().start()
                before = client.stats()["accepted"]
                wait_for(lambda: client.stats()["accepted"] > before + 500, "the client goes on")
                if end is not None:
                    end(host)
                    retries = client.stats()["retries"]
                    wait_for(lambda: client.stats()["retries"] > retries + 1, "the client notices")
        finally:
            stop.set()
            thread.join()
        self.assertTrue(client.flush(e2e.PATIENCE_S), client.stats())
        self.assertTrue(client.close())
        stats = client.stats()
        self.assertEqual(stats["recorded"], made[0])
        self.assertEqual(stats["accepted"] + stats["duplicate"], made[0], stats)
        self.assertGreater(stats["spooled"], 0)
        self.assertEqual(numbers(host), once(made[0]))
        self.assertEqual(self.left_over(), [])
        self.assertEqual(host.stop(), 0)

    def test_the_spool_outlives_the_program_and_its_killing(self):
        first = self.client()
        for i in range(1000):
            first.metric("n", i)
        self.assertTrue(first.close(e2e.PATIENCE_S))  # no host: into the spool, without waiting for one
        self.assertEqual(first.stats()["spooled"], 1000)
        self.assertLess(first.stats()["retries"], 100)  # of the thousands that the time would allow
        killed = subprocess.Popen(
            [sys.executable, "-c", "import ephor_client, sys, time\n"
             "c = ephor_client.Client(sys.argv[1], 'bot', spool_dir=sys.argv[2], interval_s=0.01)\n"
             "for i in range(1000, 1500): c.metric('n', i)\n"
             "while c.stats()['spooled'] < 500: time.sleep(0.01)\n"
             "print('spooled', flush=True)\ntime.sleep(3600)", self.url, str(self.spool)],
            stdout=subprocess.PIPE, text=True, env=dict(os.environ, PYTHONPATH=str(PYTHON)))
        self.assertEqual(killed.stdout.readline(), "spooled\n")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        killed.stdout.close()
        segment, = [path for path in self.spool.iterdir() if path.name.endswith(".spool")
                    and path.stat().st_size > 0][-1:]
        with segment.open("ab") as file:  # as a write that was cut short leaves it
            file.write(b"EPH1\x00\x00")
        with self.host() as host:
            second = self.client()
            second.metric("n", 1500)
            wait_for(lambda: not second.stats()["waiting_records"] and not second.stats()["spool_bytes"]
                     and second.stats()["accepted"] == 1501, f"all of it arrives: {second.stats()}")
            self.assertEqual(numbers(host), once(1501))
            self.assertEqual(second.stats()["spool_torn"], 1)
            self.assertTrue(second.close())
            self.assertEqual(self.left_over(), [])

    def test_a_spoilt_frame_costs_only_itself(self):
        def spool():
            return ephor_client._Spool(str(self.spool), "bot", "1-2", 1 << 20)

        first = spool()
        for i in range(5):
            self.assertTrue(first.append(ephor_client._Frame(b"line %d\n" % i, 1)))
        first.close()
        path, = self.spool.glob("*.spool")
        spoilt = bytearray(path.read_bytes())
        spoilt[spoilt.index(b"EPH1", 1) + 20] ^= 0xFF  # inside the second frame
        path.write_bytes(spoilt)
        again, found = spool(), []
        while (frame := again.peek()) is not None:
            found.append(frame.lines())
            again.pop()
        self.assertEqual(found, [[b"line %d\n" % i] for i in (0, 2, 3, 4)])
        self.assertEqual((again.torn, again.bytes, self.left_over()), (1, 0, []))

    def test_a_spool_in_use_is_left_alone(self):
        first = self.client()
        for i in range(10):
            first.metric("n", i)
        wait_for(lambda: first.stats()["spooled"] == 10, "the first spools")
        second = self.client()
        for i in range(100, 110):
            second.metric("n", i)
        wait_for(lambda: second.stats()["spooled"] == 10, "the second too")
        self.assertEqual([len(client._spool.segments) for client in (first, second)], [1, 1])
        with self.host() as host:
            self.assertTrue(first.flush(e2e.PATIENCE_S) and second.flush(e2e.PATIENCE_S))
            self.assertEqual(first.stats()["accepted"], 10)
            self.assertEqual(second.stats()["accepted"], 10)
            self.assertEqual(numbers(host), once(10) + once(10, 100))

    def test_beyond_the_bounds_records_are_refused_and_counted_exactly(self):
        client = self.client(spool_bytes_max=3000, memory_bytes_max=20_000, batch_records=20)
        for i in range(2000):
            client.metric("n", i)
            if i % 200 == 0:
                time.sleep(0.02)  # several batches
        wait_for(lambda: client.stats()["recorded"] == 2000, "the queue is read")
        lost = wait_for(lambda: client.stats()["dropped_backlog_full"], "some are refused")
        self.assertLessEqual(sum(path.stat().st_size for path in self.spool.iterdir()), 3000)
        with self.host() as host:
            self.assertTrue(client.flush(e2e.PATIENCE_S))
            lost = client.stats()["dropped_backlog_full"]
            found = numbers(host)
            self.assertEqual(set(found.values()), {1})
            self.assertEqual(len(found), 2000 - lost)
            self.assertGreater(len(found), 50)
            self.assertEqual(min(found), 0)  # what was taken first is kept

    def test_a_full_queue_refuses_at_once(self):
        client, gate = self.client(queue_records_max=100), threading.Event()
        render = client._renderer.line
        client._renderer.line = lambda item: gate.wait(e2e.PATIENCE_S) and render(item)  # a sender that stands
        taken = sum(client.metric("n", i) for i in range(1000))
        self.assertIn(taken, (100, 101))  # one may be in the sender's hand
        self.assertEqual(client.stats()["dropped_queue_full"], 1000 - taken)
        gate.set()
        wait_for(lambda: client.stats()["recorded"] == client.stats()["spooled"] == taken, "all else is kept")


class Stub(http.server.BaseHTTPRequestHandler):
    """A host by script: each request takes the next of `answers`: (status, headers, body), "hang up", or
    None for the truth."""

    protocol_version = "HTTP/1.1"
    answers = collections.deque()
    requests = []
    lines_max = 1_000_000

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        lines = body.splitlines()
        type(self).requests.append((time.monotonic(), [json.loads(line) for line in lines], dict(self.headers)))
        answer = self.answers.popleft() if self.answers else None
        if answer == "hang up":
            self.close_connection = True
            return
        if answer is None and len(lines) > self.lines_max:
            answer = (413, {}, {"error": {"code": "too_large", "message": "send it in parts"}})
        if answer is None:
            answer = (200, {}, {"accepted": len(lines), "duplicate": 0, "rejected": 0, "rejections": []})
        status, headers, body = answer
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Answers(unittest.TestCase):
    """What the client makes of a host's answers."""

    def setUp(self):
        class Own(Stub):
            answers, requests = collections.deque(), []

        self.stub = Own
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def client(self, **more):
        client = ephor_client.Client(f"http://127.0.0.1:{self.server.server_port}", "bot",
                                     **{"interval_s": 0.01, "retry_s": (0.01, 0.05), **more})
        self.addCleanup(client.close, 0)
        return client

    def arrived(self):
        """The numbers of the request that was answered 200, by id, in order."""
        return [(event["id"], event["data"]["value"]) for _, events, _ in self.stub.requests for event in events]

    def test_busy_answers_are_retried_and_retry_after_is_honoured(self):
        busy = {"error": {"code": "busy", "message": "wait"}}
        self.stub.answers.extend([(503, {"Retry-After": "1"}, busy), (429, {}, busy), (500, {}, b"oops"),
                                  (404, {}, b"<html>"), (200, {}, b"a captive portal"), "hang up"])
        client = self.client()
        client.metric("n", 1)
        self.assertTrue(client.flush(e2e.PATIENCE_S))
        times = [when for when, _, _ in self.stub.requests]
        self.assertGreaterEqual(times[1] - times[0], 1.0)
        self.assertGreaterEqual(len(times), 7)
        self.assertEqual(len(set(self.arrived())), 1)  # the same id each time
        self.assertEqual(client.stats()["accepted"], 1)
        self.assertGreaterEqual(client.stats()["retries"], 5)

    def test_a_date_in_retry_after(self):
        now = time.time()
        self.assertTrue(0 <= ephor_client._retry_after(
            time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now + 5))) <= 5.1)
        self.assertEqual(ephor_client._retry_after("120"), 120.0)
        for bad in (None, "", "soon", "nan", "inf"):
            self.assertIsNone(ephor_client._retry_after(bad), bad)
        self.assertEqual(ephor_client._retry_after("-5"), 0.0)
        self.assertEqual(ephor_client._retry_after("1e9"), 600.0)

    def test_too_large_a_body_is_sent_in_parts(self):
        self.stub.lines_max = 7
        client = self.client(interval_s=0.2)
        for i in range(100):
            client.metric("n", i)
        self.assertTrue(client.flush(e2e.PATIENCE_S))
        taken = [event["data"]["value"] for _, events, _ in self.stub.requests if len(events) <= 7
                 for event in events]
        self.assertEqual(taken, list(range(100)))
        self.assertEqual(client.stats()["accepted"], 100)

    def test_what_can_never_be_taken_is_given_up_and_counted(self):
        self.stub.answers.append((400, {}, {"error": {"code": "bad_body", "message": "no"}}))
        client = self.client()
        client.metric("n", 1)
        self.assertTrue(client.flush(e2e.PATIENCE_S))
        client.metric("n", 2)
        self.assertTrue(client.flush(e2e.PATIENCE_S))
        stats = client.stats()
        self.assertEqual((stats["refused"], stats["accepted"]), (1, 1))

    def test_a_host_that_hangs_holds_up_nobody(self):
        release = threading.Event()
        self.addCleanup(release.set)
        truth = self.stub.do_POST
        self.stub.do_POST = lambda handler: (release.wait(e2e.PATIENCE_S), truth(handler))
        client = self.client(timeout_s=3600)
        for i in range(1000):
            self.assertTrue(client.metric("n", i))
        self.assertFalse(client.flush(0.2))
        release.set()
        self.assertTrue(client.flush(e2e.PATIENCE_S))
        self.assertEqual([value for _, value in self.arrived()], list(range(1000)))

    def test_close_does_not_wait_for_a_host_that_hangs(self):
        release = threading.Event()
        self.addCleanup(release.set)
        self.stub.do_POST = lambda handler: release.wait(e2e.PATIENCE_S)
        client = self.client(timeout_s=3600)
        client.metric("n", 1)
        wait_for(lambda: client.stats()["requests"], "it is sent")
        self.assertFalse(client.close(0.1))  # and says that something is lost
        self.assertEqual(client.stats()["dropped_backlog_full"], 1)

    def test_compression_and_token(self):
        client = self.client(compress=True, token="secret", interval_s=0.1)
        for i in range(50):
            client.metric("n", i)
        self.assertTrue(client.flush(e2e.PATIENCE_S))
        self.assertEqual([value for _, value in self.arrived()], list(range(50)))
        for _, _, headers in self.stub.requests:
            self.assertEqual(headers["Authorization"], "Bearer secret")
        self.assertIn("gzip", [headers.get("Content-Encoding") for _, _, headers in self.stub.requests])


class Example(e2e.TestCase):
    def test_the_trading_bot_runs_and_its_trades_are_whole(self):
        with e2e.Host(self.folder / "data") as host:
            done = subprocess.run([sys.executable, PYTHON / "examples" / "trading_bot.py", "--url", url_of(host),
                                   "--cycles", "60", "--period-ms", "1"], capture_output=True, text=True,
                                  timeout=e2e.PATIENCE_S)
            self.assertEqual(done.returncode, 0, done.stderr)
            said = json.loads(done.stdout.splitlines()[-1])
            self.assertEqual(said["rejected"] + said["errors"] + said["refused"], 0, said)
            events = [event for _, event in host.tap() if event["source"] == "trading_bot"]
            found = collections.Counter(event["type"] for event in events)
            closed = [event for event in events if event["type"] == "ephor.trade"
                      and event["data"]["status"] == "closed"]
            self.assertEqual(len(closed), said["trades"])
            self.assertGreater(len(closed), 3)
            for name in ("ephor.span", "ephor.prediction", "ephor.ensemble_decision", "ephor.regime",
                         "ephor.decision_path", "ephor.model_behavior", "ephor.outcome", "ephor.metric", "ephor.log"):
                self.assertGreater(found[name], 0, name)
            figures = host.get("/api/performance", after_sequence=host.status()["last_sequence"])
            self.assertAlmostEqual(sum(event["data"]["pnl"] for event in closed), said["pnl"], places=6)
            self.assertIn(f"{said['pnl']:.2f}", json.dumps(figures))


if __name__ == "__main__":
    unittest.main()
