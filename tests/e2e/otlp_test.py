#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an OpenTelemetry SDK, Telegraf and InfluxDB's clients see: OTLP/HTTP and line protocol against a
running host. The protobuf bodies are encoded here by hand, from the public .proto files."""
import gzip
import json
import struct
import unittest
import urllib.parse

from ephor_e2e import Host, TestCase

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
START_NS = 1_700_000_000_000_000_000


# ---- protobuf's wire format, as little as is needed -----------------------------------------------


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer(number, value):
    return varint(number << 3) + varint(value)


def fixed64(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def real(number, value):
    return varint(number << 3 | 1) + struct.pack("<d", value)


def message(number, body):
    body = body.encode() if isinstance(body, str) else body
    return varint(number << 3 | 2) + varint(len(body)) + body


def attribute(number, key, value):
    kept = message(1, value) if isinstance(value, str) else integer(3, value)
    return message(number, message(1, key) + message(2, kept))


def fields(body):
    """{number: [value]} of varints and bytes."""
    found = {}
    while body:
        key, body = take_varint(body)
        if key & 7 == 0:
            value, body = take_varint(body)
        elif key & 7 == 2:
            size, body = take_varint(body)
            value, body = body[:size], body[size:]
        else:
            raise AssertionError(f"wire type {key & 7}")
        found.setdefault(key >> 3, []).append(value)
    return found


def take_varint(body):
    value = shift = 0
    while True:
        byte, body = body[0], body[1:]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, body


# ---- bodies --------------------------------------------------------------------------------------


class Span:
    def __init__(self, trace, number, name, parent=0, correlation=None):
        self.trace_id, self.span_id = f"{trace:032x}", f"{number:016x}"
        self.parent = f"{parent:016x}" if parent else ""
        self.name = name
        self.start, self.end = START_NS + number * 1_000_000, START_NS + number * 1_000_000 + 750_000
        self.correlation = correlation

    def protobuf(self):
        body = message(1, bytes.fromhex(self.trace_id)) + message(2, bytes.fromhex(self.span_id))
        if self.parent:
            body += message(4, bytes.fromhex(self.parent))
        body += message(5, self.name) + integer(6, 2) + fixed64(7, self.start) + fixed64(8, self.end)
        body += attribute(9, "number", int(self.span_id, 16))
        if self.correlation:
            body += attribute(9, "correlation.id", self.correlation)
        return body + message(15, integer(3, 1))

    def json(self):
        attributes = [{"key": "number", "value": {"intValue": str(int(self.span_id, 16))}}]
        if self.correlation:
            attributes.append({"key": "correlation.id", "value": {"stringValue": self.correlation}})
        return {"traceId": self.trace_id, "spanId": self.span_id, "parentSpanId": self.parent,
                "name": self.name, "kind": 2, "startTimeUnixNano": str(self.start),
                "endTimeUnixNano": str(self.end), "attributes": attributes, "status": {"code": 1}}


def traces_protobuf(spans, service="analyst"):
    resource = message(1, attribute(1, "service.name", service))
    scope = message(1, message(1, "e2e") + message(2, "1.0"))
    return message(1, resource + message(2, scope + b"".join(message(2, one.protobuf()) for one in spans)))


def traces_json(spans, service="analyst"):
    return json.dumps({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeSpans": [{"scope": {"name": "e2e", "version": "1.0"},
                        "spans": [one.json() for one in spans]}]}]}).encode()


def trace(number, size=6, correlation=None):
    first = number * 100 + 1
    return [Span(0xABC000 + number, first + i, f"step {i}", first + (i - 1) // 2 if i else 0, correlation)
            for i in range(size)]


def span_ids(tree):
    """Every span_id in an answer, however deep."""
    if isinstance(tree, dict):
        own = [tree["span_id"]] if "span_id" in tree else []
        return own + [one for value in tree.values() for one in span_ids(value)]
    return [one for value in tree for one in span_ids(value)] if isinstance(tree, list) else []


class Otlp(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.host = Host(cls.folder / "data").start()
        cls.addClassCleanup(cls.host.stop)

    def send(self, path, body, kind, encoding=None, **more):
        """(status, raw body, headers)"""
        headers = {"Content-Type": kind, **more}
        if encoding == "gzip":
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        connection = self.host.connection()
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        raw = answer.read()
        connection.close()
        return answer.status, raw, {name.lower(): value for name, value in answer.getheaders()}

    def test_traces_of_each_encoding_are_whole(self):
        sent = {}
        for number, (kind, encoding) in enumerate((k, e) for k in (PROTOBUF, JSON) for e in (None, "gzip")):
            spans = trace(number)
            sent[spans[0].trace_id] = spans
            body = traces_protobuf(spans) if kind == PROTOBUF else traces_json(spans)
            status, raw, headers = self.send("/v1/traces", body, kind, encoding)
            self.assertEqual((status, headers["content-type"]), (200, kind), raw)
            self.assertEqual(raw, b"" if kind == PROTOBUF else b"{}")
            last = int(headers["ephor-as-of-sequence"])
        for trace_id, spans in sent.items():
            found = self.host.get(f"/api/tracing/traces/{trace_id}", after_sequence=last)
            self.assertEqual({one.span_id for one in spans}, set(span_ids(found)) & {one.span_id for one in spans})
            self.assertIn("step 3", json.dumps(found))

    def test_a_span_sent_twice_is_taken_once(self):
        body = traces_protobuf(trace(20))
        before = len(self.spans_of(trace(20)))
        self.assertEqual(self.send("/v1/traces", body, PROTOBUF)[0], 200)
        self.assertEqual(self.send("/v1/traces", body, PROTOBUF)[:2], (200, b""))
        self.assertEqual(self.send("/v1/traces", traces_json(trace(20)), JSON)[:2], (200, b"{}"))
        self.assertEqual(len(self.spans_of(trace(20))) - before, 6)

    def spans_of(self, spans):
        return [event for _, event in self.host.tap("ephor.span") if spans[0].trace_id in json.dumps(event)]

    def test_a_bad_span_is_told_and_the_others_kept(self):
        spans = trace(30)
        spans[2].span_id = "0" * 16
        status, raw, _ = self.send("/v1/traces", traces_protobuf(spans), PROTOBUF)
        self.assertEqual(status, 200)
        partial = fields(fields(raw)[1][0])
        self.assertEqual(partial[1], [1])
        self.assertIn(b"span 3", partial[2][0])
        self.assertEqual(len(self.spans_of(spans)), 5)
        status, raw, _ = self.send("/v1/traces", traces_json(spans[2:3]), JSON)
        self.assertEqual((status, json.loads(raw)["code"]), (400, 3))
        status, raw, headers = self.send("/v1/traces", b"\xff\xff rubbish", PROTOBUF)
        self.assertEqual((status, headers["content-type"]), (400, PROTOBUF))
        self.assertEqual(fields(raw)[1], [3])

    def test_empty_requests_are_good(self):
        for path in ("/v1/traces", "/v1/metrics", "/v1/logs"):
            self.assertEqual(self.send(path, b"", PROTOBUF)[:2], (200, b""))
            self.assertEqual(self.send(path, b"{}", JSON)[:2], (200, b"{}"))

    def test_a_correlation_id_finds_the_trace(self):
        spans = trace(40, correlation="e2e-correlation-40")
        _, _, headers = self.send("/v1/traces", traces_protobuf(spans), PROTOBUF)
        story = self.host.get("/api/tracing/correlation/e2e-correlation-40",
                              after_sequence=int(headers["ephor-as-of-sequence"]))
        self.assertLessEqual({one.span_id for one in spans}, set(span_ids(story)))

    def test_metrics_and_logs_arrive(self):
        point = fixed64(3, START_NS) + real(4, 12.5) + attribute(7, "symbol", "BTCUSDT")
        metric = message(1, "e2e_gauge") + message(5, message(1, point))
        resource = message(1, attribute(1, "service.name", "analyst"))
        status, raw, headers = self.send(
            "/v1/metrics", message(1, resource + message(2, message(2, metric))), PROTOBUF, "gzip")
        self.assertEqual((status, raw), (200, b""))
        history = self.host.get("/api/metrics/history/e2e_gauge",
                                after_sequence=int(headers["ephor-as-of-sequence"]))
        self.assertIn("12.5", json.dumps(history))
        log = {"resourceLogs": [{"scopeLogs": [{"logRecords": [
            {"timeUnixNano": str(START_NS), "severityText": "WARN", "severityNumber": 13,
             "body": {"stringValue": "e2e says hello"}}]}]}]}
        self.assertEqual(self.send("/v1/logs", json.dumps(log).encode(), JSON)[:2], (200, b"{}"))
        self.assertIn("e2e says hello", json.dumps(self.host.tap("ephor.log")))

    def test_influx_lines_arrive(self):
        lines = "".join(f"e2e_cpu,host=h{i % 3} load={i}.5,idle={100 - i}i {1_700_000_000 + i}\n"
                        for i in range(30)).encode()
        status, raw, headers = self.send("/write?db=telegraf&precision=s", lines, "text/plain")
        self.assertEqual((status, raw), (204, b""))
        history = self.host.get("/api/metrics/history/e2e_cpu_load", host="h1",
                                after_sequence=int(headers["ephor-as-of-sequence"]))
        self.assertIn("28.5", json.dumps(history))
        query = urllib.parse.urlencode({"org": "o", "bucket": "b", "precision": "ms"})
        status, raw, _ = self.send(f"/api/v2/write?{query}", b"e2e_v2 value=1 1700000000000\n", "text/plain",
                                   "gzip", Authorization="Token none-is-needed-here")
        self.assertEqual((status, raw), (204, b""))
        status, raw, _ = self.send("/write?db=x", b"e2e_ok value=1\nno line\ne2e_ok value=2 7\n", "text/plain")
        self.assertEqual(status, 400)
        self.assertRegex(json.loads(raw)["error"], r"^partial write: 1 of 3 lines rejected: line 2.*dropped=1$")
        status, _, headers = self.host.request("GET", "/ping")
        self.assertEqual(status, 204)
        self.assertIn("x-influxdb-version", headers)

    def test_what_is_no_otlp_is_refused(self):
        status, raw, _ = self.send("/v1/traces", b"x", "text/plain")
        self.assertEqual((status, json.loads(raw)["code"]), (415, 3))
        status, raw, _ = self.send("/v1/traces", b"x", PROTOBUF, **{"Content-Encoding": "br"})
        self.assertEqual((status, fields(raw)[1]), (415, [3]))


if __name__ == "__main__":
    unittest.main()
