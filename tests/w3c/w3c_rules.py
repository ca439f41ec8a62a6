# SPDX-License-Identifier: Apache-2.0
"""w3c_rules.py COMMAND...: the rules of W3C trace context over HTTP, header by header as bytes on the wire.
Plays both the caller of the test endpoint and the service that it calls; what is expected is written out
from the recommendation (level 2)."""
import http.server
import json
import re
import socket
import subprocess
import sys
import threading
import unittest

TRACE = "12345678901234567890123456789012"
PARENT = "1234567890123456"
GOOD = f"00-{TRACE}-{PARENT}-01"
SENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0[0-3]")


class Callee(http.server.BaseHTTPRequestHandler):
    calls = []

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Callee.calls.append(self.headers.items())
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Rules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.callee = http.server.HTTPServer(("127.0.0.1", 0), Callee)
        threading.Thread(target=cls.callee.serve_forever, daemon=True).start()
        cls.endpoint = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        cls.port = int(cls.endpoint.stdout.readline().rsplit(":", 1)[1].strip("/\n"))

    @classmethod
    def tearDownClass(cls):
        cls.endpoint.communicate()
        cls.callee.shutdown()
        cls.callee.server_close()

    def ask(self, *headers, count=1):
        """The headers of each call that the endpoint makes when it is called with `headers`."""
        Callee.calls.clear()
        url = f"http://127.0.0.1:{self.callee.server_port}/"
        body = json.dumps([{"url": url, "arguments": []}] * count).encode()
        lines = [b"POST /test HTTP/1.1", b"Host: localhost", b"Connection: close",
                 b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
        lines += [name.encode() + b":" + value.encode() for name, value in headers]
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        self.assertIn(b" 200 ", answer.split(b"\r\n")[0], answer)
        self.assertEqual(len(Callee.calls), count)
        return [[(name.lower(), value) for name, value in call] for call in Callee.calls]

    def sent(self, *headers):
        """(trace id, parent id, tracestate or None) that went out; both headers at most once."""
        out, = self.ask(*headers)
        parents = [value for name, value in out if name == "traceparent"]
        states = [value for name, value in out if name == "tracestate"]
        self.assertEqual(len(parents), 1)
        self.assertLessEqual(len(states), 1)
        match = SENT.fullmatch(parents[0])
        self.assertIsNotNone(match, parents[0])
        self.assertNotEqual(match[1], "0" * 32)
        self.assertNotEqual(match[2], "0" * 16)
        return match[1], match[2], states[0] if states else None

    def state(self, *values):
        return self.sent(("traceparent", GOOD), *(("tracestate", value) for value in values))[2]

    def test_no_header_begins_a_trace_with_random_ids(self):
        one, other = self.sent(), self.sent()
        self.assertNotEqual(one[0], other[0])
        (name, value), = [pair for pair in self.ask()[0] if pair[0] == "traceparent"]
        self.assertTrue(value.endswith("-03"), value)  # sampled, random

    def test_valid_headers_are_carried_on_below_a_new_span(self):
        for value in (GOOD, " " + GOOD, "\t" + GOOD + " \t", "cc" + GOOD[2:], "cc" + GOOD[2:] + "-later"):
            trace, parent, _ = self.sent(("traceparent", value))
            self.assertEqual(trace, TRACE, value)
            self.assertNotEqual(parent, PARENT)

    def test_header_names_in_any_case(self):
        for name in ("TraceParent", "TRACEPARENT", "tRaCePaReNt"):
            self.assertEqual(self.sent((name, GOOD))[0], TRACE)
        for name in ("trace-parent", "trace.parent"):
            self.assertNotEqual(self.sent((name, GOOD))[0], TRACE)
        for name in ("TraceState", "TRACESTATE"):
            self.assertEqual(self.sent(("traceparent", GOOD), (name, "foo=1"))[2], "foo=1")
        for name in ("trace-state", "trace.state"):
            self.assertIsNone(self.sent(("traceparent", GOOD), (name, "foo=1"))[2])

    def test_an_invalid_traceparent_begins_a_trace_and_drops_tracestate(self):
        for value in (GOOD + ".", GOOD + "-later", "ff" + GOOD[2:], ".0" + GOOD[2:], "0" + GOOD,
                      GOOD[1:], GOOD.replace(TRACE, "0" * 32), GOOD.replace(PARENT, "0" * 16),
                      GOOD.replace(TRACE, TRACE + "3"), GOOD.replace(TRACE, TRACE[1:]),
                      GOOD.replace(TRACE, TRACE[:-1] + "."), GOOD.replace(TRACE, "A" + TRACE[1:]),
                      GOOD.replace(PARENT, PARENT + "7"), GOOD.replace(PARENT, PARENT[1:]),
                      GOOD.replace(PARENT, "." + PARENT[1:]), GOOD[:-1], GOOD + "1", GOOD[:-2] + ".0",
                      "cc" + GOOD[2:] + ".later", ""):
            trace, _, state = self.sent(("traceparent", value), ("tracestate", "foo=1"))
            self.assertNotIn(trace, (TRACE, "0" * 32), value)
            self.assertIsNone(state, value)

    def test_two_traceparents_are_none(self):
        other = GOOD.replace(TRACE, TRACE[:-1] + "1")
        self.assertNotIn(self.sent(("traceparent", GOOD), ("traceparent", other))[0],
                         (TRACE, TRACE[:-1] + "1"))

    def test_only_the_flags_sampled_and_random_are_carried_on(self):
        for flags, expected in (("00", "00"), ("01", "01"), ("02", "02"), ("03", "03"), ("ff", "03"),
                                ("fc", "00")):
            (name, value), = [pair for pair in self.ask(("traceparent", GOOD[:-2] + flags))[0]
                              if pair[0] == "traceparent"]
            self.assertEqual(value[-2:], expected)

    def test_tracestate_alone_is_dropped(self):
        self.assertIsNone(self.sent(("tracestate", "foo=1"))[2])

    def test_tracestates_are_joined_in_order(self):
        self.assertEqual(self.state("foo=1,bar=2", "rojo=1,congo=2", "baz=3"),
                         "foo=1,bar=2,rojo=1,congo=2,baz=3")
        self.assertEqual(self.state("", "foo=1", ""), "foo=1")
        self.assertEqual(self.state("foo=1 \t , \t bar=2,,"), "foo=1,bar=2")
        self.assertIsNone(self.state(""))

    def test_more_than_32_members_drop_all(self):
        members = [f"bar{i:02}={i}" for i in range(33)]
        self.assertEqual(self.state(",".join(members[:16]), ",".join(members[16:32])), ",".join(members[:32]))
        self.assertIsNone(self.state(",".join(members)))

    def test_keys(self):
        for key in ("z" * 256, "t" * 242 + "@v", "0a", "abcdefghijklmnopqrstuvwxyz0123456789_-*/@a-z_*/"):
            self.assertEqual(self.state(f"foo=1,{key}=1"), f"foo=1,{key}=1")
        for key in ("z" * 257, "FOO", "foo.bar", "foo ", "@foo", "_foo", ""):
            self.assertIsNone(self.state(f"foo=1,{key}=1"), key)

    def test_values(self):
        every = "".join(chr(c) for c in range(0x20, 0x7F) if chr(c) not in ",=")
        self.assertEqual(self.state("foo=" + every), "foo=" + every)
        for value in ("bar=baz", "", "v" * 257, "a\x7f", "\u00e4"):
            self.assertIsNone(self.state("bar=3,foo=" + value), value)

    def test_duplicate_keys_keep_one(self):
        self.assertEqual(self.state("foo=1,foo=1"), "foo=1")
        self.assertIn(self.state("foo=1", "foo=2"), ("foo=1", "foo=2"))

    def test_each_call_has_a_span_of_its_own(self):
        for headers in ([("traceparent", GOOD)], [], [("traceparent", "bad")]):
            calls = [SENT.fullmatch(dict(call)["traceparent"]) for call in self.ask(*headers, count=3)]
            self.assertEqual(len({call[1] for call in calls}), 1)
            self.assertEqual(len({call[2] for call in calls}), 3)

    def test_a_correlation_id_is_carried_on_and_names_the_trace(self):
        out = dict(self.ask(("x-correlation-id", "corr-1"))[0])
        self.assertEqual(out["x-correlation-id"], "corr-1")
        again = dict(self.ask(("X-Correlation-ID", "corr-1"))[0])
        self.assertEqual(SENT.fullmatch(out["traceparent"])[1], SENT.fullmatch(again["traceparent"])[1])
        self.assertEqual(dict(self.ask(("traceparent", GOOD))[0])["x-correlation-id"], TRACE)


if __name__ == "__main__":
    COMMAND = sys.argv[1:]  # starts the test endpoint
    unittest.main(argv=sys.argv[:1], verbosity=2)
