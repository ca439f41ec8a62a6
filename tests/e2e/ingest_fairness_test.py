#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ingest and questions do not starve each other: while every thread of one kind is held, the other kind
is served; and in a flood of both all are answered."""
import concurrent.futures
import socket
import threading
import time

import ephor_otlp as otlp
from ephor_e2e import PATIENCE_S, Host, TestCase, main

# Few threads, so that they are soon all held.
THREADS = 4
INGEST_THREADS = 2
INGEST_QUEUE = 2
INGEST_RECEIVERS = 2
SETTINGS = (f"plugins.http_api.config.threads={THREADS}",
            f"plugins.http_api.config.ingest_threads={INGEST_THREADS}",
            f"plugins.http_api.config.ingest_queue={INGEST_QUEUE}",
            f"plugins.http_api.config.ingest_receivers={INGEST_RECEIVERS}",
            "plugins.http_api.config.request_timeout_ms=600000")


def body(number, spans=20):
    return otlp.request(otlp.Traces(number, spans // 4, 4, time.time_ns() - 10_000_000_000, 1_000_000).spans())


class Fairness(TestCase):
    def setUp(self):
        self.host = Host(self.folder / self._testMethodName, *SETTINGS).start()
        self.addCleanup(self.host.__exit__, None, None)

    def post(self, number, connection=None):
        return self.host.request("POST", "/v1/traces", body(number), {"Content-Type": otlp.PROTOBUF}, connection)

    def raw(self, text):
        one = socket.create_connection(self.host.address, timeout=PATIENCE_S)
        one.sendall(text)
        return one

    def test_questions_are_answered_while_all_of_ingest_stands_still(self):
        # Bodies that never end hold every place of ingest, until one more is told to wait.
        head = ("POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Type: {otlp.PROTOBUF}\r\nContent-Length: 100000\r\n\r\n").encode()
        held = [self.raw(head + b"\x0a") for _ in range(INGEST_THREADS + INGEST_QUEUE + INGEST_RECEIVERS)]
        refused = None
        deadline = time.monotonic() + PATIENCE_S
        while refused is None and time.monotonic() < deadline:
            one = self.raw(head + b"\x0a")
            one.settimeout(0.5)
            try:
                refused = one.recv(4096).decode("latin-1")
                one.close()
            except TimeoutError:
                held.append(one)
        self.assertIn(refused.split(" ")[1], ("429", "503"), refused)
        self.assertIn("retry-after:", refused.lower())
        for _ in range(50):
            self.assertEqual(self.host.request("GET", "/api/tracing/performance")[0], 200)
        for one in held:
            one.close()
        # Its places are free again.
        deadline = time.monotonic() + PATIENCE_S
        while (status := self.post(1)[0]) != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(status, 200)

    def test_ingest_goes_on_while_every_question_waits(self):
        # Each waits for a sequence that is far away.
        head = ("GET /api/tracing/performance?after_sequence=4611686018427387904 HTTP/1.1\r\n"
                "Host: localhost\r\n\r\n").encode()
        waiting = [self.raw(head) for _ in range(THREADS)]
        # One more, which would be answered at once if a thread were free.
        probe = self.raw(b"GET /api/tracing/performance HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for number in range(20):
            status, text, _ = self.post(100 + number)
            self.assertEqual(status, 200, text)
        for one in (*waiting, probe):
            one.setblocking(False)
            with self.assertRaises(BlockingIOError, msg="a question was answered: it held no thread"):
                one.recv(1)
            one.close()

    def test_a_flood_of_both_is_answered(self):
        is_over = threading.Event()
        asked = []

        def ask():
            connection = self.host.connection()
            while not is_over.is_set():
                asked.append(self.host.request("GET", "/api/tracing/performance", connection=connection)[0])
            connection.close()

        def flood(first):
            connection, refused = self.host.connection(), 0
            for number in range(first, first + 40):
                while (status := self.post(number, connection)[0]) in (429, 503):
                    refused += 1
                    time.sleep(0.01)
                self.assertEqual(status, 200)
            connection.close()
            return refused

        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            readers = [pool.submit(ask) for _ in range(6)]
            writers = [pool.submit(flood, 1000 * (one + 1)) for one in range(6)]
            for one in writers:
                one.result()
            is_over.set()
            for one in readers:
                one.result()
        self.assertEqual(set(asked) - {200, 503}, set())
        self.assertGreater(asked.count(200), 50)
        deadline, wanted = time.monotonic() + PATIENCE_S, 6 * 40 * 20
        while (spans := self.host.query("tracer.summary")["spans"]) < wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(spans, wanted)


if __name__ == "__main__":
    main()
