# SPDX-License-Identifier: Apache-2.0
"""Traces in a running host: what is acknowledged is found at once by every id, a restart and a short retention
of the journal change what is promised and nothing else, and tail sampling keeps what it must."""
import json
import time
from unittest import main

from ephor_e2e import Host, TestCase, PATIENCE_S

BASE_NS = 1_700_000_000_000_000_000


def hex_id(number, digits):
    return f"{(number + 1) * 0x9E3779B97F4A7C15 % (1 << (4 * digits)):0{digits}x}"


def time_text(ns):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)) + f".{ns % 10**9:09d}Z"


def line(event_id, kind, data, at=BASE_NS, correlation=None, trace=None):
    event = {"specversion": "1.0", "id": event_id, "source": "bot", "type": kind, "time": time_text(at), "data": data}
    if correlation:
        event["correlationid"] = correlation
    if trace:
        event["traceparent"] = f"00-{trace}-{hex_id(1, 16)}-01"
    return json.dumps(event).encode()


def trace_lines(number, is_failed=False, duration_ns=2_000_000, spans=4):
    """One trace a second: a root and its children."""
    trace, at = hex_id(number, 32), BASE_NS + number * 10**9
    lines = []
    for i in range(spans):
        data = {"trace_id": trace, "span_id": hex_id(number * 16 + i, 16), "component": ["ares", "analyst"][i % 2],
                "operation": f"step_{i}", "start_time_unix_nano": at + i * 1000,
                "end_time_unix_nano": at + i * 1000 + duration_ns,
                "status": "error" if is_failed and i == spans - 1 else "ok",
                "attributes": {"decision.id": f"decision:{number}", "colour": f"colour-{number % 7}",
                               "padding": hex_id(number * 31 + i, 32) * 4}}
        if i:
            data["parent_span_id"] = hex_id(number * 16, 16)
        lines.append(line(f"{number}-{i}", "ephor.span", data, at + duration_ns, f"corr-{number}"))
    return lines


def found(answer):
    return [trace["trace_id"] for trace in answer["traces"]]


class TracingStoreTest(TestCase):
    def wait_until(self, condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"not in {PATIENCE_S} s: {what}")
            time.sleep(0.05)

    def test_what_is_acknowledged_is_found_at_once_by_every_id(self):
        with Host(self.folder / "ids") as host:
            for number in range(20):
                host.post_all(trace_lines(number), connections=1)
                trace = hex_id(number, 32)
                # No wait: the answer to the POST is enough.
                self.assertEqual(found(host.get("/api/tracing/search", decision_id=f"decision:{number}")), [trace])
                self.assertEqual(found(host.get("/api/tracing/search", attribute=f"decision.id=decision:{number}")),
                                 [trace])
                self.assertEqual(found(host.get("/api/tracing/search", correlation_id=f"corr-{number}")), [trace])
                self.assertEqual(found(host.get("/api/tracing/search", trace_id=trace)), [trace])
                self.assertEqual(host.get(f"/api/tracing/traces/{trace}")["span_count"], 4)
                self.assertEqual(len(host.get(f"/api/traces/{trace}")["data"][0]["spans"]), 4)

    def test_the_story_of_any_id(self):
        trace = hex_id(1, 32)
        lines = trace_lines(1) + [
            line("p", "ephor.prediction", {"prediction_id": "pred-1", "model_id": "m", "prediction": "buy"}, BASE_NS,
                 "corr-1", trace),
            line("d", "ephor.ensemble_decision", {"decision_id": "decision:1", "ensemble_id": "e",
                                                  "primary_prediction": "buy"}, BASE_NS, "corr-1", trace),
            line("o", "ephor.order", {"order_id": "ord-1", "decision_id": "decision:1", "symbol": "X", "side": "buy",
                                      "quantity": 1, "status": "filled"}),
            line("f", "ephor.fill", {"order_id": "ord-1", "execution_id": "ex-1", "price": 10, "quantity": 1}),
            line("t", "ephor.trade", {"trade_id": "tr-1", "execution_id": "ex-1", "order_id": "ord-1", "symbol": "X",
                                      "side": "buy", "quantity": 1, "price": 10, "status": "open"}),
            line("u", "ephor.trade", {"trade_id": "tr-1", "symbol": "X", "side": "buy", "quantity": 1, "price": 10,
                                      "close_price": 9, "pnl": -1.0, "status": "closed"}, BASE_NS + 10**9)]
        with Host(self.folder / "story") as host:
            counts = host.post_all(lines, connections=1)
            self.assertEqual(counts["rejected"], 0)
            host.wait_read(counts["last_sequence"])
            for name in ("corr-1", trace, "decision:1", "ord-1", "ex-1", "tr-1", "pred-1"):
                story = host.get(f"/api/tracing/correlation/{name}")
                with self.subTest(id=name):
                    self.assertEqual(story["over"]["events"], len(lines))
                    self.assertEqual(story["spans"]["span_count"], 4)
                    self.assertEqual(story["pnl"], {"closed_trades": 1, "pnl": -1.0})
                    self.assertEqual([gap["kind"] for gap in story["gaps"]], ["prediction_without_outcome"])
                    trades = story["described"]["trade_tracker"]["trades"]
                    self.assertEqual([trade["trade_id"] for trade in trades], ["tr-1"])
            self.assertEqual(host.request("GET", "/api/tracing/correlation/nobody")[0], 404)

    def test_tail_sampling_outlives_a_short_retention(self):
        data = self.folder / "tail"
        settings = ['plugins.tracer.config.sampling={"tail": true, "baseline_rate": 0.0, "rare_path_below": 0}',
                    "plugins.tracer.config.trace_linger_s=2"]
        failed = set(range(3, 600, 20))
        lines = [one for number in range(600) for one in trace_lines(number, is_failed=number in failed)]
        with Host(data, *settings, "journal.retention.max_bytes=40000") as host:
            last = host.post_all(lines, connections=1, batch=200)["last_sequence"]
            host.get("/api/tracing/errors", after_sequence=last)
            self.wait_until(lambda: host.request("GET", f"/api/traces/{hex_id(0, 32)}")[0] == 404,
                            "a dropped trace goes with the journal")
            for number in sorted(failed)[:-3]:
                spans = host.get(f"/api/traces/{hex_id(number, 32)}")["data"][0]["spans"]
                self.assertEqual(len(spans), 4)
            gone = host.get(f"/api/tracing/traces/{hex_id(0, 32)}")
            self.assertEqual((gone["span_count"], gone["spans_gone"]), (0, 4))
            self.assertEqual(gone["summary"]["sampling"]["decision"], "dropped")
            self.assertEqual(host.get("/api/tracing/performance")["all"]["count"], len(lines))
            errors = host.get("/api/tracing/search", status="error", limit=1000)
            self.assertEqual({trace["sampling"]["reason"] for trace in errors["traces"][1:]}, {"error"})
            self.assertEqual(len(errors["traces"]), len(failed))
        with Host(data, *settings) as host:  # and a restart changes nothing
            self.assertEqual(len(host.get("/api/tracing/search", status="error", limit=1000)["traces"]), len(failed))
            self.assertEqual(len(host.get(f"/api/traces/{hex_id(3, 32)}")["data"][0]["spans"]), 4)

    def test_a_killed_host_finds_the_same(self):
        data, questions = self.folder / "killed", ({"status": "error", "limit": 1000}, {"min_duration": "1s"},
                                                    {"q": "colour=colour-3 and component=analyst", "limit": 1000,
                                                     "deadline_ms": 10_000})
        lines = [one for number in range(700)
                 for one in trace_lines(number, number % 9 == 0, 2 * 10**9 if number % 50 == 7 else 10**6, 2)]
        host = Host(data).start()
        last = host.post_all(lines, connections=1)["last_sequence"]
        before = [host.get("/api/tracing/search", after_sequence=last, **question) for question in questions]
        host.kill()
        self.assertEqual([len(answer["traces"]) for answer in before], [78, 14, 100])
        with Host(data) as host:
            after = [host.get("/api/tracing/search", after_sequence=last, **question) for question in questions]
        self.assertEqual([found(answer) for answer in after], [found(answer) for answer in before])


if __name__ == "__main__":
    main()
