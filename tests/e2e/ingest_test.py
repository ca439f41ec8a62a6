#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""POST /api/events to a running host: every format, duplicates, rejections, restarts; and the answers
of the REST endpoints against a second computation."""
import concurrent.futures
import gzip
import json
import urllib.parse

from ephor_e2e import (CLOUDEVENT, CLOUDEVENTS, Figures, Host, TestCase, lower_quantile, main, read_lines,
                       replay, shared, simulate)


def metric(name, **more):
    return {"specversion": "1.0", "id": f"e-{name}", "source": "e2e", "type": "ephor.metric",
            "time": "2025-01-01T00:00:00Z", "data": {"name": "x", "value": 1.5}, **more}


def encoded(value):
    return json.dumps(value).encode()


class Session(TestCase):
    """A simulated session in a running host."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.file, cls.truth = simulate(cls.folder)
        cls.lines = read_lines(cls.file)
        cls.figures = Figures(cls.lines)
        cls.replayed, _ = replay(cls.file, cls.folder / "replayed")
        cls.host = Host(cls.folder / "plain").start()
        cls.total = cls.host.post_all(cls.lines, connections=2)
        cls.host.wait_read(cls.total["last_sequence"])

    @classmethod
    def tearDownClass(cls):
        cls.host.__exit__(None, None)
        super().tearDownClass()

    def check_host(self, host, figures=None):
        figures = figures or self.figures
        self.assert_figures(host.summary(), figures)
        self.check_performance(host, figures)
        self.check_models(host, figures)
        self.check_trades(host, figures)

    def check_performance(self, host, figures):
        answer = host.get("/api/tracing/performance")
        self.assertEqual(answer["all"]["count"], sum(map(len, figures.durations_ns.values())))
        self.assertEqual(answer["all"]["errors"], sum(figures.errors.values()))
        found = {(one["component"], one["operation"]): one for one in answer["operations"]}
        self.assertEqual(set(found), set(figures.durations_ns))
        for key, durations in figures.durations_ns.items():
            one = found[key]
            self.assertEqual((one["count"], one["errors"]), (len(durations), figures.errors[key]), key)
            self.assert_close(one["error_rate"], figures.errors[key] / len(durations), 1e-12, key)
            for share, name in ((0.5, "p50_ms"), (0.95, "p95_ms"), (0.99, "p99_ms")):
                exact = lower_quantile(durations, share) / 1e6
                self.assert_close(one[name], exact, 0.01 * exact + 1e-6, (key, name))
        self.assertEqual(answer, host.query("tracer.performance"))

    def check_models(self, host, figures):
        answer = host.get("/api/ml/models")
        found = {one["model_id"]: one for one in answer["models"]}
        self.assertEqual(set(found), set(figures.predictions))
        for model, one in found.items():
            self.assertEqual((one["predictions"], one["outcomes_joined"], one["correct"]),
                             (figures.predictions[model], figures.joined[model], figures.correct[model]), model)
            self.assert_close(one["accuracy"], figures.accuracy(model), 1e-12, model)
            alone = host.get("/api/ml/models/" + urllib.parse.quote(model, safe=""))
            self.assertEqual(alone["model_id"], model)

    def check_trades(self, host, figures):
        answer = host.get("/api/performance")
        self.assertEqual((answer["trades"], answer["closed"], answer["won"]),
                         (len(figures.trades), len(figures.closed), figures.won))
        self.assert_close(answer["pnl"], figures.pnl, 1e-6, "pnl")
        self.assert_close(answer["win_rate"], figures.won / len(figures.closed), 1e-12, "win_rate")
        gross = sum(one["pnl"] for one in figures.closed if one["pnl"] > 0)
        self.assert_close(answer["gross_profit"], gross, 1e-6, "gross_profit")
        seen, cursor = [], None
        while True:
            page = host.get("/api/trades", limit=50, **({"cursor": cursor} if cursor else {}))
            seen += page["trades"]
            cursor = page.get("next_cursor")
            if not cursor:
                break
        self.assertEqual(len(seen), len(figures.trades))
        for one in seen:
            self.assertEqual(one["pnl"], figures.trades[one["trade_id"]].get("pnl"), one["trade_id"])

    # ---- the session ----

    def test_plain_ndjson_gives_the_figures_of_the_replay(self):
        self.assertEqual(self.total["accepted"], len(self.figures.events))
        self.assertEqual((self.total["duplicate"], self.total["rejected"]), (self.figures.duplicates, 0))
        self.check_host(self.host)
        live = self.host.summary()
        for key in self.figures.summary():
            if key == "pnl":
                self.assert_close(live[key], self.replayed[key], 1e-9, key)
            else:
                self.assertEqual(live[key], self.replayed[key], key)

    def test_everything_a_second_time_is_a_duplicate(self):
        again = self.host.post_all(self.lines)
        self.assertEqual((again["accepted"], again["rejected"]), (0, 0))
        self.assertEqual(again["duplicate"], len(self.lines))
        self.check_host(self.host)

    def test_gzip_and_batches_give_the_same(self):
        half = len(self.lines) // 2
        with Host(self.folder / "formats") as host:
            packed = host.post_all(self.lines[:half], is_gzip=True)
            batched = host.post_all(self.lines[half:], kind=CLOUDEVENTS,
                                    make_body=lambda some: b"[" + b",".join(some) + b"]")
            self.assertEqual(packed["accepted"] + batched["accepted"], len(self.figures.events))
            host.wait_read(max(packed["last_sequence"], batched["last_sequence"]))
            self.check_host(host)

    def test_a_restart_keeps_every_answer(self):
        data_dir = self.folder / "restarted"
        paths = ["/api/tracing/performance", "/api/tracing/errors", "/api/tracing/findings", "/api/ml/models",
                 "/api/ml/models/xgb_flow", "/api/ml/drift", "/api/ml/features", "/api/ml/ensembles",
                 "/api/ensembles/main", "/api/regimes", "/api/decisions?limit=100", "/api/performance",
                 "/api/trades?limit=1000", "/api/alerts?state=all",
                 "/api/metrics/history/portfolio.equity?resolution=3600",
                 "/api/metrics/history/exchange.latency"]
        with Host(data_dir) as host:
            total = host.post_all(self.lines, connections=1)
            host.wait_read(total["last_sequence"])
            before = [host.get(path) for path in paths]
            summary = host.summary()
        with Host(data_dir) as host:
            # At once: states are restored, not rebuilt while the first answers are given.
            self.assertEqual(host.summary(), summary)
            for path, expected in zip(paths, before):
                self.assertEqual(host.get(path), expected, path)
            self.check_host(host)
            again = host.post_all(self.lines)
            self.assertEqual((again["accepted"], again["duplicate"]), (0, len(self.lines)))
            self.assertEqual(host.summary(), summary)

    # ---- what one id opens ----

    def test_a_trace_opens_to_its_spans(self):
        trace_id = next(iter(self.figures.error_traces))
        answer = self.host.get(f"/api/tracing/traces/{trace_id}")
        text = json.dumps(answer)
        expected = {event["data"]["span_id"] for event in self.figures.of("ephor.span")
                    if event["data"]["trace_id"] == trace_id}
        self.assertEqual(len(expected), self.figures.spans_of_trace[trace_id])
        for span_id in expected:
            self.assertIn(span_id, text)
        status, answer, _ = self.host.request("GET", "/api/tracing/traces/" + "0" * 31 + "1")
        self.assertEqual(status, 404, answer)
        status, answer, _ = self.host.request("GET", "/api/tracing/traces/xyz")
        self.assertEqual(status, 400, answer)

    def test_a_correlation_id_opens_to_its_story(self):
        closed = self.figures.closed[0]
        opening = next(event for event in self.figures.of("ephor.trade")
                       if event["data"]["trade_id"] == closed["trade_id"])
        correlation = opening["correlationid"]
        answer = self.host.get("/api/tracing/correlation/" + urllib.parse.quote(correlation, safe=""))
        text = json.dumps(answer)
        for event in self.figures.events.values():
            if event.get("correlationid") == correlation:
                self.assertIn(json.dumps(event["id"]), text, event["type"])
        self.assertIn(closed["trade_id"], text)
        status, answer, _ = self.host.request("GET", "/api/tracing/correlation/none-such")
        self.assertEqual(status, 404, answer)
        self.assertIn("none-such", answer["error"]["message"])

    def test_error_groups_add_up(self):
        answer = self.host.get("/api/tracing/errors", limit=1000)
        self.assertEqual(sum(group["count"] for group in answer["groups"]), sum(self.figures.errors.values()))
        per_operation = {}
        for group in answer["groups"]:
            key = (group["component"], group["operation"])
            per_operation[key] = per_operation.get(key, 0) + group["count"]
        self.assertEqual(per_operation, {key: count for key, count in self.figures.errors.items() if count})
        for group in answer["groups"]:
            for trace_id in group["trace_ids"]:
                self.assertIn(trace_id, self.figures.error_traces)

    def test_unknown_ids_and_paths_are_404_and_wrong_methods_405(self):
        for path in ("/api/trades/none-such", "/api/ml/models/none-such", "/api/nowhere", "/nowhere"):
            status, _, _ = self.host.request("GET", path)
            self.assertEqual(status, 404, path)
        status, _, headers = self.host.request("DELETE", "/api/performance")
        self.assertEqual(status, 405)
        self.assertIn("GET", headers["allow"])

    def test_metrics_and_openapi(self):
        text = self.host.get("/metrics")
        sample = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
                  for line in text.splitlines() if line and not line.startswith("#")}
        self.assertEqual(sample['ephor_tracer_spans_total{instance="tracer"}'], self.figures.types["ephor.span"])
        records = {result: sum(value for name, value in sample.items()
                               if name.startswith("ephor_http_ingest_records_total") and f'"{result}"' in name)
                   for result in ("accepted", "rejected")}
        self.assertEqual(records, {"accepted": len(self.figures.events), "rejected": 0})
        self.assertTrue(any(name.startswith("ephor_http_requests_total") for name in sample))
        described = self.host.get("/openapi.json")
        self.assertIn("/api/tracing/traces/{trace_id}", described["paths"])
        self.assertIn("/api/events", described["paths"])


class Formats(TestCase):
    """Small posts, one host."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.host = Host(cls.folder / "host").start()

    @classmethod
    def tearDownClass(cls):
        cls.host.__exit__(None, None)
        super().tearDownClass()

    def assert_counts(self, answer, accepted, duplicate=0, rejected=0):
        status, body = answer
        self.assertEqual((body.get("accepted"), body.get("duplicate"), body.get("rejected")),
                         (accepted, duplicate, rejected), (status, body))

    def test_one_event(self):
        self.assert_counts(self.host.post(encoded(metric("one")), CLOUDEVENT), 1)
        self.assert_counts(self.host.post(encoded(metric("one")), CLOUDEVENT), 0, duplicate=1)
        self.assert_counts(self.host.post(json.dumps(metric("two"), indent=2).encode(), "application/json"), 1)

    def test_a_batch(self):
        batch = [metric(f"batch-{n}") for n in range(10)]
        self.assert_counts(self.host.post(encoded(batch), CLOUDEVENTS), 10)
        self.assert_counts(self.host.post(encoded(batch), "application/json"), 0, duplicate=10)
        self.assert_counts(self.host.post(encoded(batch + [metric("batch-10")]), CLOUDEVENTS, True), 1, 10)

    def test_the_same_event_twice_in_one_body(self):
        body = encoded(metric("twin")) + b"\n" + encoded(metric("twin")) + b"\n"
        self.assert_counts(self.host.post(body), 1, duplicate=1)

    def test_the_same_id_of_another_source_is_another_event(self):
        self.assert_counts(self.host.post(encoded(metric("shared", source="a"))), 1)
        self.assert_counts(self.host.post(encoded(metric("shared", source="b"))), 1)

    def test_bare_records(self):
        records = [{"type": "trade_record", "trade_id": "bare-1", "symbol": "ETHUSDT", "side": "enter_long",
                    "size": 2, "price": 100.0, "timestamp": "2025-01-01 00:00:00", "status": "closed",
                    "order_type": "market", "close_price": 110.0, "pnl": 19.5,
                    "close_timestamp": "2025-01-01T01:00:00"}]
        body = b"".join(encoded(record) + b"\n" for record in records)
        self.assert_counts(self.host.post(body), 1)
        self.assert_counts(self.host.post(body), 0, duplicate=1)
        status, answer = self.host.post(encoded({"type": "outcome", "decision_id": "bare-d", "actual_outcome": 1,
                                                 "timestamp": "2025-01-01T00:05:00"}), "application/json")
        self.assertEqual((status, answer["accepted"]), (200, 1))
        trade = self.host.get("/api/trades/bare-1", after_sequence=answer["last_sequence"])
        trade = trade.get("trade", trade)
        self.assertEqual((trade["quantity"], trade["pnl"], trade["symbol"]), (2, 19.5, "ETHUSDT"))

    def test_a_partial_rejection_names_each_line(self):
        lines = [encoded(metric("p-0")), b"{", encoded(metric("p-2")), b"", b"null",
                 encoded(metric("p-5", data={"name": "x", "value": "5"})), encoded(metric("p-6"))]
        status, answer = self.host.post(b"\n".join(lines))
        self.assertEqual(status, 200)
        self.assert_counts((status, answer), 3, rejected=3)
        self.assertEqual([one["line"] for one in answer["rejections"]], [2, 5, 6])
        self.assertEqual(answer["rejections"][2]["pointer"], "/data/value")
        self.assertFalse(answer["rejections_truncated"])
        for one in answer["rejections"]:
            self.assertTrue(one["reason"])

    def test_all_rejected_is_400(self):
        status, answer = self.host.post(b"{}\n[]\n")
        self.assertEqual(status, 400)
        self.assert_counts((status, answer), 0, rejected=2)

    def test_bodies_that_are_none(self):
        self.assertEqual(self.host.post(b"")[0], 400)
        self.assertEqual(self.host.post(b"\n\n")[0], 400)
        self.assertEqual(self.host.post(encoded(metric("t")), "text/plain")[0], 415)
        status, _, _ = self.host.request("POST", "/api/events", b"no gzip",
                                         {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"})
        self.assertEqual(status, 400)
        whole = gzip.compress(encoded(metric("cut")))
        status, _, _ = self.host.request("POST", "/api/events", whole[:-6],
                                         {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"})
        self.assertEqual(status, 400)
        self.assertEqual(self.host.get("/health/live")["live"], True)

    def test_chunked_bodies(self):
        lines = [encoded(metric(f"chunk-{n}")) + b"\n" for n in range(100)]
        status, answer, _ = self.host.request("POST", "/api/events", iter(lines),
                                              {"Content-Type": "application/x-ndjson"})
        self.assertEqual((status, answer["accepted"]), (200, 100))

    def test_no_event_is_counted_twice_by_a_race(self):
        body = b"".join(encoded(metric(f"race-{n}")) + b"\n" for n in range(200))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: self.host.post(body), range(8)))
        self.assertEqual(sum(answer["accepted"] for _, answer in answers), 200)
        self.assertEqual(sum(answer["duplicate"] for _, answer in answers), 1400)


class SharedData(TestCase):
    def test_the_recorded_session_over_http(self):
        file = shared("session", "btc.ndjson.gz")
        truth = json.loads(shared("session", "btc.truth.json").read_text())
        lines = read_lines(file)
        with Host(self.folder / "btc") as host:
            total = host.post_all(lines, connections=2)
            self.assertEqual((total["accepted"], total["duplicate"], total["rejected"]), (280134, 805, 0))
            host.wait_read(total["last_sequence"])
            found = host.summary()
        self.assertEqual(found["spans"], 126805)
        self.assertEqual((found["predictions"], found["outcomes_joined"]), (53245, 53245))
        self.assertEqual((found["trades_closed"], found["trades_won"]), (818, 480))
        self.assert_close(found["pnl"], truth["final_equity"] - 10000, 0.01, "pnl")

    def test_the_clients_records_over_http(self):
        ares = json.loads(shared("ares", "ares.truth.json").read_text())
        with Host(self.folder / "ares") as host:
            total = host.post_all(read_lines(shared("ares", "ares.ndjson")), batch=50)
            self.assertEqual(total["rejected"], 0)
            host.wait_read(total["last_sequence"])
            found = host.summary()
        self.assertEqual((found["spans"], found["error_spans"], found["traces"]),
                         (ares["spans"], ares["spans_with_error_message"], ares["trace_requests"]))
        self.assertEqual((found["trades"], found["trades_closed"], found["trades_won"]),
                         (ares["trades"], ares["closed"], ares["won"]))
        self.assert_close(found["pnl"], ares["pnl"], 1e-6, "pnl")
        client = json.loads(shared("trading", "client_events.expected.json").read_text())
        with Host(self.folder / "client") as host:
            # One connection: a body spans more than max_wait_s, and bodies that overtook each other
            # would leave predictions behind that log time has given up.
            total = host.post_all(read_lines(shared("trading", "client_events.jsonl")), connections=1,
                                  is_gzip=True)
            self.assertEqual(total["rejected"], 0)
            host.wait_read(total["last_sequence"])
            found = host.summary()
            models = {one["model_id"]: one["accuracy"] for one in host.get("/api/ml/models")["models"]}
        self.assertEqual((found["decisions"], found["trades"]), (client["unique_decisions"], client["trades"]))
        self.assert_close(found["pnl"], client["total_pnl"], 1e-6, "pnl")
        for model, accuracy in client["model_accuracy"].items():
            self.assert_close(models[model], accuracy, 1e-12, model)

    def test_the_hostile_lines_over_http(self):
        body = shared("trading", "client_events_bad.jsonl").read_bytes()
        with Host(self.folder / "bad") as host:
            _, answer = host.post(body)
            lines = [one["line"] for one in answer["rejections"]]
            self.assertEqual([line for line in lines if line != 11],
                             [line for line in range(1, 16) if line != 11])
            self.assertEqual(host.get("/health/ready")["ready"], True)


if __name__ == "__main__":
    main()
