#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 in a flood of OTLP: every acknowledged span is there after the restart, whole, exactly once.

EPHOR_TRACE_KILLS=100 is the full proof, EPHOR_KILL_SEED=N repeats a run (the seed is printed)."""
import http.client
import os
import random
import threading
import time
from collections import Counter

import ephor_otlp as otlp
from ephor_e2e import PATIENCE_S, Host, TestCase, main

KILLS = int(os.environ.get("EPHOR_TRACE_KILLS", "4"))
SEED = int(os.environ.get("EPHOR_KILL_SEED", random.SystemRandom().randrange(1 << 32)))
CONNECTIONS = 4
BODY_SPANS = 100
BODIES_PER_KILL = 60
SETTINGS = ("checkpoint.interval_s=0.05", "journal.durability=full", "log_time.idle_flush_s=600")


class Flood:
    """Posts bodies over some connections until the host is gone or nothing is left."""

    def __init__(self, host, bodies):
        self.host = host
        self.bodies = bodies
        self.todo = list(range(len(bodies)))[::-1]
        self.acknowledged = set()
        self.cut_off = 0
        self.lock = threading.Lock()
        self.failures = []

    def work(self):
        connection = self.host.connection()
        try:
            while True:
                with self.lock:
                    if not self.todo or self.is_over:
                        return
                    index = self.todo.pop()
                try:
                    connection.request("POST", "/v1/traces", otlp.request(self.bodies[index]),
                                       {"Content-Type": otlp.PROTOBUF})
                    answer = connection.getresponse()
                    status, text = answer.status, answer.read()
                except (OSError, http.client.HTTPException):
                    with self.lock:  # not acknowledged: it may be there, wholly or not at all
                        self.todo.append(index)
                        self.cut_off += 1
                    return
                with self.lock:
                    if status == 200 and otlp.rejected(text) == 0:
                        self.acknowledged.add(index)
                    else:
                        self.failures.append((status, text[:300]))
        finally:
            connection.close()

    def run(self, kill_after=None):
        """Until so many more bodies are acknowledged, then kill -9; to the end without a number."""
        self.is_over = False
        goal = None if kill_after is None else len(self.acknowledged) + kill_after
        threads = [threading.Thread(target=self.work) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        if goal is not None:
            while len(self.acknowledged) < goal and any(thread.is_alive() for thread in threads):
                time.sleep(0.0005)
            self.host.kill()
            self.is_over = True
        for thread in threads:
            thread.join()


class TracesKill(TestCase):
    def facts_of(self, span):
        return {"trace_id": span.trace_id.hex(), "span_id": span.span_id.hex(),
                "parent_span_id": span.parent_id.hex() or None, "component": span.service,
                "operation": span.name, "start_time_unix_nano": span.start_ns,
                "end_time_unix_nano": span.end_ns, "status": "error" if span.is_error else "unset",
                "attributes": span.attributes}

    def journal_spans(self, host):
        """What the journal holds: {(trace id, span id): [data of each event]}."""
        found = {}
        for _, event in host.tap():
            if event["type"] != "ephor.span":
                continue
            data = event["data"]
            found.setdefault((data["trace_id"], data["span_id"]), []).append(data)
        return found

    def check(self, host, flood):
        found = self.journal_spans(host)
        for index in flood.acknowledged:
            for span in flood.bodies[index]:
                events = found.get(span.key, [])
                self.assertEqual(len(events), 1, f"span {span.key} of acknowledged body {index}")
                expected = self.facts_of(span)
                self.assertEqual({key: events[0].get(key) for key in expected}, expected)
        self.assertEqual([key for key, events in found.items() if len(events) != 1], [])

    def test_every_acknowledged_span_is_there_once(self):
        draw = random.Random(SEED)
        per_trace = 5
        traces = otlp.Traces(SEED, KILLS * BODIES_PER_KILL * BODY_SPANS // per_trace, per_trace,
                             time.time_ns() - 60_000_000_000, 500_000)
        # Traces cross bodies, as exporters cut them.
        bodies = otlp.bodies(traces.spans(), BODY_SPANS - 3)
        host = Host(self.folder / "data", *SETTINGS)
        flood = Flood(host, bodies)
        for number in range(KILLS):
            host.start()
            flood.run(kill_after=draw.randint(1, BODIES_PER_KILL))
            self.assertEqual(flood.failures, [])
        acknowledged_before = set(flood.acknowledged)
        with host:
            self.check(host, flood)  # before anything is sent again
            flood.run()
            self.assertEqual(flood.failures, [])
            self.assertEqual(flood.acknowledged, set(range(len(bodies))))
            self.check(host, flood)
            print(f"\n{KILLS} kills, EPHOR_KILL_SEED={SEED}: {len(acknowledged_before)} of {len(bodies)} bodies "
                  f"acknowledged before the last, {flood.cut_off} cut off", flush=True)
            self.check_by_id(host, draw.sample(traces.traces, 20))
            self.check_again(host, flood)

    def check_by_id(self, host, traces):
        """The tracer, whose state was saved somewhere before a kill, has caught up."""
        for trace in traces:
            status, answer, _ = host.request("GET", f"/api/tracing/traces/{trace[0].trace_id.hex()}")
            self.assertEqual(status, 200, answer)
            self.assertEqual(Counter(tree_ids(answer)), Counter(span.span_id.hex() for span in trace))

    def check_again(self, host, flood):
        """What was acknowledged is a duplicate: accepted, and nothing new in the journal."""
        before = len(self.journal_spans(host))
        for index in sorted(flood.acknowledged)[:20]:
            status, _, _ = host.request("POST", "/v1/traces", otlp.request(flood.bodies[index]),
                                        {"Content-Type": otlp.PROTOBUF})
            self.assertEqual(status, 200)
        found = self.journal_spans(host)
        self.assertEqual(len(found), before)
        self.assertTrue(all(len(events) == 1 for events in found.values()))
        wanted, deadline = sum(map(len, flood.bodies)), time.monotonic() + PATIENCE_S
        while (spans := host.query("tracer.summary")["spans"]) < wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(spans, wanted)


def tree_ids(answer):
    """Span ids of the tree, each as often as it stands there."""
    found, todo = [], [answer["roots"]]
    while todo:
        for node in todo.pop():
            found.append(node["span_id"])
            todo.append(node.get("children", []))
    return found


if __name__ == "__main__":
    main()
