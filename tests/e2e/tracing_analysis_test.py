#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the tracer says of the recorded session's traces, against a second computation here: calls,
critical paths, joins of trades to traces, correlation of latency and profit, and that the slow
traces' time leads to the planted fault."""
import json
import math
import statistics
from collections import defaultdict

from ephor_e2e import TestCase, main, query, read_lines, replay, shared

MS = 1e6


def ranks(values):
    """Ranks from 1, ties share the mean of theirs."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    out = [0.0] * len(values)
    first = 0
    while first < len(order):
        last = first
        while last < len(order) and values[order[last]] == values[order[first]]:
            last += 1
        for i in order[first:last]:
            out[i] = (first + 1 + last) / 2
        first = last
    return out


def spearman(x, y):
    a, b = ranks(x), ranks(y)
    return statistics.correlation(a, b)


def self_times(spans):
    """Per span: its duration less what its children cover of it, by a sweep over their borders."""
    out = {}
    for span in spans.values():
        children = [one for one in spans.values() if one["parent_span_id"] == span["span_id"]]
        borders = sorted({span["start"], span["end"],
                          *(min(max(edge, span["start"]), span["end"]) for one in children
                            for edge in (one["start"], one["end"]))})
        covered = sum(right - left for left, right in zip(borders, borders[1:])
                      if any(one["start"] <= left and right <= one["end"] for one in children))
        out[span["span_id"]] = span["end"] - span["start"] - covered
    return out


def critical_path(spans, span, begin, until, own):
    """The definition, slowly: the child that ended last before where we stand, again and again."""
    while True:
        children = []
        for one in spans.values():
            if one["parent_span_id"] != span["span_id"] or one["start"] >= until:
                continue
            end = one["end"]
            if end > span["end"]:
                if one["component"] == span["component"]:
                    continue
                end = span["end"]
            if begin < end <= until:
                children.append((one["end"], end, one))
        if not children:
            break
        _, end, last = max(children, key=lambda child: child[0])
        own[span["operation"], span["component"]] += until - end
        start = max(last["start"], begin)
        critical_path(spans, last, start, end, own)
        until = start
    own[span["operation"], span["component"]] += until - begin


class Session(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        session = shared("session", "btc.ndjson.gz")
        # The tracer alone: another plugin would only cost time here.
        cls.config = cls.folder / "tracer.json"
        cls.config.write_text(json.dumps({"plugins": {"tracer": {}}}))
        cls.data = cls.folder / "data"
        replay(session, cls.data, config=cls.config)
        cls.traces, cls.trades, cls.trace_of, seen = defaultdict(dict), {}, {}, set()
        for line in read_lines(session):
            if b'"ephor.span"' not in line and b'"ephor.trade"' not in line:
                continue
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if (event["source"], event["id"]) in seen:
                continue
            seen.add((event["source"], event["id"]))
            data = event["data"]
            if event["type"] == "ephor.span":
                span = {**data, "start": data["start_time_unix_nano"], "end": data["end_time_unix_nano"],
                        "parent_span_id": data.get("parent_span_id")}
                cls.traces[data["trace_id"]][data["span_id"]] = span
                cls.trace_of[event["correlationid"]] = data["trace_id"]
            elif event["type"] == "ephor.trade" and data["status"] == "closed":
                cls.trades[data["trade_id"]] = {**data, "correlation": event["correlationid"]}

    def ask(self, name, **request):
        return query(name, self.data, request, self.config)

    def test_calls_are_those_of_the_spans(self):
        calls, errors = defaultdict(int), defaultdict(int)
        for spans in self.traces.values():
            for span in spans.values():
                parent = spans.get(span["parent_span_id"])
                if parent and parent["component"] != span["component"]:
                    calls[parent["component"], span["component"]] += 1
                    errors[parent["component"], span["component"]] += span["status"] == "error"
        for level in ("service", "component"):
            graph = self.ask("tracer.graph", level=level)
            self.assertEqual({(one["from"], one["to"]): one["count"] for one in graph["edges"]}, dict(calls))
            self.assertEqual({(one["from"], one["to"]): one["errors"] for one in graph["edges"]}, dict(errors))
            self.assertAlmostEqual(sum(one["self_share"] for one in graph["nodes"]), 1.0)
        own = defaultdict(float)
        for spans in self.traces.values():
            for span_id, ns in self_times(spans).items():
                own[spans[span_id]["component"]] += ns / MS
        for node in graph["nodes"]:
            self.assertAlmostEqual(node["self_ms"], own[node["name"]], delta=1e-6 * own[node["name"]])

    def test_critical_paths_are_those_of_the_definition(self):
        roots = []
        for spans in self.traces.values():
            for root in spans.values():
                if root["parent_span_id"] is None:
                    own = defaultdict(float)
                    critical_path(spans, root, root["start"], root["end"], own)
                    roots.append((root["end"] - root["start"], own))
        answer = self.ask("tracer.critical_path", quantile="0.99")
        threshold = answer["over"]["threshold_ms"] * MS
        durations = sorted(duration for duration, _ in roots)
        at_rank = durations[int(0.99 * (len(durations) - 1))]
        self.assertLess(threshold, at_rank)
        self.assertGreater(threshold * (1.01 / 0.99) ** 4, at_rank)
        slow = [own for duration, own in roots if duration > threshold]
        rest = [own for duration, own in roots if duration <= threshold]
        self.assertEqual(answer["slow"]["traces"], len(slow))
        self.assertEqual(answer["rest"]["traces"], len(rest))
        for row in answer["operations"]:
            key = row["operation"], row["component"]
            for name, cohort in (("slow", slow), ("rest", rest)):
                expected = sum(own.get(key, 0) for own in cohort) / MS / len(cohort)
                self.assertTrue(math.isclose(row[name]["ms_per_trace"], expected, rel_tol=1e-9), (key, name))
        # Where the slow ones went is what the session's author made slow.
        first = answer["operations"][0]
        self.assertEqual((first["component"], first["operation"]), ("tactician", "size_position"))
        for trace_id in answer["trace_ids"]:
            root = next(one for one in self.traces[trace_id].values() if one["parent_span_id"] is None)
            self.assertGreater(root["end"] - root["start"], threshold / 1.4)

    def test_profit_by_latency_is_that_of_the_trades(self):
        answer = self.ask("tracer.pnl_by_latency", component="tactician", edges_ms="7")
        self.assertEqual(answer["over"]["trades"], len(self.trades))
        expected = [[0, 0.0], [0, 0.0]]
        x, y = [], []
        for trade in self.trades.values():
            spans = self.traces[self.trace_of[trade["correlation"]]]
            own = self_times(spans)
            latency = sum(own[one["span_id"]] for one in spans.values() if one["component"] == "tactician") / MS
            bucket = expected[0 if latency < 7 else 1]
            bucket[0] += 1
            bucket[1] += trade["pnl"]
            x.append(latency)
            y.append(trade["pnl"])
        buckets = answer["latencies"][0]["buckets"]
        self.assertEqual([one["trades"] for one in buckets], [one[0] for one in expected])
        for found, wanted in zip(buckets, expected):
            self.assertAlmostEqual(found["pnl"], wanted[1], places=6)
        rows = self.ask("tracer.performance_correlation")["correlations"]
        row = next(one for one in rows if (one["component"], one["outcome"]) == ("tactician", "pnl"))
        self.assertEqual(row["n"], len(x))
        self.assertAlmostEqual(row["spearman"], spearman(x, y), places=9)
        # Latency does not make money or lose it in this session.
        self.assertEqual([one for one in rows if one["is_significant"]], [])

    def test_the_comparison_names_the_planted_fault(self):
        answer = self.ask("tracer.compare", component="ares", operation="trading_cycle", quantile="0.9",
                          **{"from": "2017-11-08T12:00:00Z", "to": "2017-11-09T12:00:00Z"})
        found = {(one["kind"], one["name"]) for one in answer["differences"] if one["is_significant"]}
        self.assertIn(("operation_self_ms", "tactician/size_position"), found)
        for trace_id in answer["slow"]["trace_ids"]:
            self.assertIn(trace_id, self.traces)

    def test_two_replays_say_the_same(self):
        again = self.folder / "again"
        replay(shared("session", "btc.ndjson.gz"), again, config=self.config)
        for name, request in (("tracer.graph", {"level": "operation"}), ("tracer.critical_path", {}),
                              ("tracer.services", {}), ("tracer.performance_correlation", {}),
                              ("tracer.pnl_by_latency", {}), ("tracer.active", {}), ("tracer.errors", {}),
                              ("tracer.performance", {"window": "1d"})):
            with self.subTest(name):
                self.assertEqual(self.ask(name, **request), query(name, again, request, self.config))


if __name__ == "__main__":
    main()
