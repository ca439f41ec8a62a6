#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Influx lines, OTLP metrics and OTLP logs over HTTP: what was sent is what is answered, sent twice it
counts once, and a killed host has it all."""
import json
import random
import sys
import time

from ephor_e2e import Host, PATIENCE_S, ROOT, TestCase, main

sys.path.insert(0, str(ROOT / "tests" / "bench"))
import metric_lines  # noqa: E402

START_S = 1_700_000_000
SERIES, STEPS = 60, 50


def otlp_metrics(value):
    point = {"timeUnixNano": str((START_S + 5) * 10**9), "asDouble": value,
             "attributes": [{"key": "symbol", "value": {"stringValue": "BTC"}}]}
    bad = {"timeUnixNano": "1", "asDouble": "NaN"}
    return json.dumps({"resourceMetrics": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "bot"}}]},
        "scopeMetrics": [{"metrics": [{"name": "otlp.lag", "unit": "ms",
                                       "gauge": {"dataPoints": [point, bad]}}]}]}]}).encode()


def otlp_logs(trace_id):
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"timeUnixNano": str(START_S * 10**9), "severityNumber": 17, "severityText": "ERROR",
         "body": {"stringValue": "limit hit"}, "traceId": trace_id, "spanId": "b7ad6b7169203331"}]}]}]}).encode()


class MetricsIngest(TestCase):
    def ask_until(self, host, path, is_good):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            status, body, _ = host.request("GET", path)
            if status == 200 and is_good(body):
                return body
            self.assertLess(time.monotonic(), deadline, f"{path}: {status} {str(body)[:500]}")
            time.sleep(0.05)

    def test_lines_are_counted_once_and_survive(self):
        bodies = list(metric_lines.bodies(per_body=500, series=SERIES, steps=STEPS, start_s=START_S))
        expected = {}
        for line in b"".join(bodies).decode().splitlines():
            tags, fields, at_ns = line.split(" ")
            if "component=analyst,instance=i00,symbol=BTCUSDT" in tags:
                for field in fields.split(","):
                    name, value = field.split("=")
                    expected.setdefault(f"bot_{name}", []).append(
                        (int(at_ns) // 10**9, float(value.rstrip("i"))))
        self.assertEqual(sorted(expected), ["bot_latency_ms", "bot_orders", "bot_price"])
        order = bodies + bodies[:3]
        random.Random(4).shuffle(order)
        host = Host(self.folder / "lines", "checkpoint.interval_s=0.2", "plugins.metrics.config.max_series=1000")

        def check():
            for name, points in expected.items():
                body = self.ask_until(
                    host, f"/api/metrics/history/{name}?component=analyst&instance=i00&symbol=BTCUSDT",
                    lambda body: body["series"][0]["count"] >= STEPS)
                self.assertEqual(body["series"][0]["count"], STEPS)
                found = [(point["time"], point["value"]) for point in body["series"][0]["points"]]
                wanted = [(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s)), value)
                          for at_s, value in points]
                self.assertEqual(found, wanted, name)
            body = self.ask_until(host, "/api/metrics/series?limit=1",
                                  lambda body: body["total"] == SERIES * 3 + 1)
            self.assertEqual(body["points_of_refused_series"], 0)

        with host:
            for body in order:
                status, answer, _ = host.request("POST", "/write?precision=ns", body,
                                                 {"Content-Type": "text/plain"})
                self.assertEqual(status, 204, answer)
            status, answer, _ = host.request("POST", "/write", b"m v=1 1\nm v=x\n")
            self.assertEqual(status, 400, answer)
            self.assertIn("expected a number", str(answer))
            check()
            host.kill()
            host.start()
            check()

    def test_otlp_metrics_and_logs(self):
        with Host(self.folder / "otlp") as host:
            headers = {"Content-Type": "application/json"}
            status, answer, _ = host.request("POST", "/v1/metrics", otlp_metrics(12.5), headers)
            self.assertEqual(status, 200, answer)
            self.assertEqual(int(answer["partialSuccess"]["rejectedDataPoints"]), 1)
            host.request("POST", "/v1/metrics", otlp_metrics(12.5), headers)
            body = self.ask_until(host, "/api/metrics/history/otlp.lag", lambda _: True)
            series, = body["series"]
            self.assertEqual(series["value"], 12.5)
            self.assertEqual(series["count"], 1)
            self.assertEqual(series["labels"], {"service.name": "bot", "symbol": "BTC"})
            trace_id = "0af7651916cd43dd8448eb211c80319c"
            status, answer, _ = host.request("POST", "/v1/logs", otlp_logs(trace_id), headers)
            self.assertEqual(status, 200, answer)
            story = self.ask_until(host, f"/api/tracing/correlation/{trace_id}",
                                   lambda body: "limit hit" in json.dumps(body))
            self.assertIn("ephor.log", json.dumps(story))


if __name__ == "__main__":
    main()
