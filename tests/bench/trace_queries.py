#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long the tracer's questions take over a store of traces, and what they cost the server.

Fills a fresh host with spans (11 a trace, 10 attributes each, 2 % failed traces), asks each kind of
question many times over one keep-alive connection, and reports p50, p99 and the server's CPU time a
question, beside the bytes on disk a span."""
import argparse
import http.client
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPANS = 11
BASE_NS = 1_700_000_000_000_000_000
OPERATIONS = ["cycle", "build_features", "predict", "blend", "decide", "risk_check", "size_position",
              "send_order", "await_fill", "store", "notify"]
COMPONENTS = ["ares", "analyst", "analyst", "strategist", "strategist", "tactician", "tactician", "exchange",
              "exchange", "database", "supervisor"]


def trace_lines(number, rng):
    trace, at = f"{rng.getrandbits(128):032x}", BASE_NS + number * 20_000_000
    is_failed, is_slow = rng.random() < 0.02, rng.random() < 0.01
    root = f"{rng.getrandbits(64):016x}"
    ids = {"correlation": f"corr-{number:08d}-{rng.getrandbits(32):08x}", "decision": f"decision:{number}",
           "order": f"ord-{number:08d}"}
    lines = []
    for i in range(SPANS):
        start = at + i * 1_000_000
        duration = (2_000_000_000 if is_slow and i == 0 else 15_000_000 if i == 0 else 900_000) + \
            rng.randrange(300_000)
        data = {"trace_id": trace, "span_id": root if i == 0 else f"{rng.getrandbits(64):016x}",
                "component": COMPONENTS[i], "operation": OPERATIONS[i], "start_time_unix_nano": start,
                "end_time_unix_nano": start + duration,
                "status": "error" if is_failed and i == 7 else "ok", "kind": "internal",
                "attributes": {"service.name": COMPONENTS[i], "decision.id": ids["decision"],
                               "order.id": ids["order"], "symbol": rng.choice(["BTCUSDT", "ETHUSDT"]),
                               "exchange": "binance", "timeframe": "1m", "attempt": i,
                               "latency": duration / 1e6, "cached": i % 2 == 0,
                               "model.name": f"model-{i % 5}"}}
        if i:
            data["parent_span_id"] = root
        if data["status"] == "error":
            data["error_message"] = f"connection reset after {number} ms"
        event = {"specversion": "1.0", "id": f"{trace[:16]}-{i}", "source": "bench", "type": "ephor.span",
                 "correlationid": ids["correlation"], "data": data}
        seconds, rest = divmod(start + duration, 1_000_000_000)
        event["time"] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
        lines.append(json.dumps(event, separators=(",", ":")))
    return trace, ids, is_failed, is_slow, lines


class Host:
    def __init__(self, build, folder, more):
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.wrong = []
        config = {"plugins": {"http_api": {"config": {"listen": "127.0.0.1:0",
                                                      "address_file": str(self.folder / "address")}},
                              "tracer": {"config": {"max_trace_history": 1_000_000, **more}}}}
        (self.folder / "ephor.json").write_text(json.dumps(config))
        self.process = subprocess.Popen([str(build / "bin" / "ephor"), "run", "--config",
                                         str(self.folder / "ephor.json"), "--data-dir", str(self.data)],
                                        stdout=open(self.folder / "log", "w"), stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        address = self.folder / "address"
        while not (address.exists() and address.read_text().endswith("\n")):
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit((self.folder / "log").read_text()[-3000:])
            time.sleep(0.02)
        url = urllib.parse.urlsplit(address.read_text().strip())
        self.connection = http.client.HTTPConnection(url.hostname, url.port, timeout=120)

    def request(self, method, path, body=None):
        self.connection.request(method, path, body, {"Content-Type": "application/x-ndjson"} if body else {})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"{method} {path}: {answer.status} {text[:500]}")
        return json.loads(text)

    def cpu_s(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self, what="VmRSS"):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def ask(host, name, targets, is_good, idle_s_per_s):
    """p50, p99 and the server's CPU time a question, less what it spends anyhow."""
    for target in targets[:20]:
        host.request("GET", target)
    times, before, began = [], host.cpu_s(), time.monotonic()
    for target in targets:
        start = time.monotonic()
        answer = host.request("GET", target)
        times.append((time.monotonic() - start) * 1e3)
        if not is_good(answer):
            host.wrong.append(f"{name}: a wrong answer to {target}: {json.dumps(answer)[:600]}")
            print(host.wrong[-1])
            return None
    spent = host.cpu_s() - before - idle_s_per_s * (time.monotonic() - began)
    times.sort()
    row = {"question": name, "count": len(times), "p50_ms": statistics.median(times),
           "p99_ms": times[min(len(times) - 1, int(0.99 * len(times)))],
           "server_cpu_ms": spent / len(times) * 1e3}
    print("{question:34} {count:5}  p50 {p50_ms:7.2f} ms  p99 {p99_ms:7.2f} ms  server CPU {server_cpu_ms:6.2f} ms"
          .format(**row), flush=True)
    return row


def disk_bytes(folder):
    return {name: sum(path.stat().st_size for path in folder.glob(name + "*")) for name in ("journal.db", "ephor.db")}


def main():
    parser = argparse.ArgumentParser(prog="script/bench trace_queries", description=__doc__)
    parser.add_argument("--build", type=Path, default=Path(os.environ.get("EPHOR_BUILD_DIR", ROOT / "build/release")))
    parser.add_argument("--traces", type=int, default=45_000)
    parser.add_argument("--count", type=int, default=400, help="questions of each kind")
    parser.add_argument("--tracer", type=json.loads, default={}, help="further configuration of the tracer")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = random.Random(7)
    with tempfile.TemporaryDirectory(prefix="ephor-queries-") as folder:
        host = Host(options.build, folder, options.tracer)
        known, body, last, cpu, spent = [], [], 0, host.cpu_s(), 0.0
        for number in range(options.traces):
            *facts, lines = trace_lines(number, rng)
            known.append(facts)
            body += lines
            if len(body) >= 990 or number == options.traces - 1:
                last = host.request("POST", "/api/events", "\n".join(body) + "\n")["last_sequence"]
                body = []
        host.request("GET", f"/api/tracing/search?limit=1&after_sequence={last}")
        spent = host.cpu_s() - cpu
        print(f"{options.traces * SPANS} spans, {spent / options.traces / SPANS * 1e6:.2f} CPU s per million "
              f"(CloudEvents JSON), RSS {host.rss_mb():.0f} MB, peak {host.rss_mb('VmHWM'):.0f} MB", flush=True)
        time.sleep(8)  # a checkpoint, merges of the index
        before, began = host.cpu_s(), time.monotonic()
        time.sleep(3)
        idle = (host.cpu_s() - before) / (time.monotonic() - began)

        some = [known[rng.randrange(len(known))] for _ in range(options.count)]
        failed = {facts[0] for facts in known if facts[2]}
        slow = {facts[0] for facts in known if facts[3]}

        def ids(answer):
            return [trace["trace_id"] for trace in answer["traces"]]

        rows = []

        def run(name, targets, is_good):
            rows.append(ask(host, name, targets, is_good, idle))

        run("trace by id", [f"/api/tracing/traces/{facts[0]}" for facts in some],
            lambda answer: answer["span_count"] == SPANS)
        run("trace by id, Jaeger", [f"/api/traces/{facts[0]}" for facts in some],
            lambda answer: len(answer["data"][0]["spans"]) == SPANS)
        run("search: failed, 20", ["/api/tracing/search?status=error&limit=20"] * options.count,
            lambda answer: len(ids(answer)) == 20 and set(ids(answer)) <= failed)
        run("search: slow, 20", ["/api/tracing/search?min_duration=1s&limit=20"] * options.count,
            lambda answer: len(ids(answer)) == 20 and set(ids(answer)) <= slow)
        run("search: expression",
            ["/api/tracing/search?limit=20&q=" +
             urllib.parse.quote("component=exchange and duration>10ms and error")] * options.count,
            lambda answer: len(ids(answer)) == 20 and set(ids(answer)) <= failed)
        run("search: nothing matches (all read)",
            ["/api/tracing/search?min_duration=1h"] * options.count,
            lambda answer: not ids(answer) and answer["over"]["complete"])
        run("search: attribute decision.id",
            ["/api/tracing/search?attribute=" + urllib.parse.quote(f"decision.id={facts[1]['decision']}")
             for facts in some], lambda answer: len(ids(answer)) == 1)
        for kind in ("correlation", "decision", "order"):
            run(f"search: {kind}_id",
                [f"/api/tracing/search?{kind}_id=" + urllib.parse.quote(facts[1][kind]) for facts in some],
                lambda answer: len(ids(answer)) == 1)
        run("story of a correlation id",
            ["/api/tracing/correlation/" + urllib.parse.quote(facts[1]["correlation"]) for facts in some],
            lambda answer: answer["spans"]["span_count"] == SPANS)
        run("Jaeger search by service, 20", ["/api/traces?service=exchange&limit=20"] * (options.count // 10),
            lambda answer: len(answer["data"]) == 20)
        found, cursor = set(), None
        while True:
            answer = host.request("GET", "/api/tracing/search?status=error&limit=1000" +
                                  (f"&cursor={cursor}" if cursor else ""))
            found |= set(ids(answer))
            cursor = answer["next_cursor"]
            if cursor is None:
                break
        print(f"failed traces found: {len(found)} of {len(failed)}")
        host.stop()
        spans = options.traces * SPANS
        sizes = disk_bytes(host.data)
        database = sqlite3.connect(host.data / "ephor.db")
        summaries = database.execute("SELECT sum(length(body)) FROM trace_summary").fetchone()[0] or 0
        tracked = database.execute("SELECT count(*) FROM correlation_tracking").fetchone()[0]
        print(f"bytes a span: journal.db {sizes['journal.db'] / spans:.1f}, ephor.db {sizes['ephor.db'] / spans:.1f} "
              f"(trace_summary bodies {summaries / spans:.2f} = {summaries / options.traces:.1f} a trace; "
              f"{tracked} rows of correlation_tracking)")
        if options.json:
            options.json.write_text(json.dumps({"questions": [row for row in rows if row], "disk": sizes, "spans": spans}))
        if len(found) != len(failed) or host.wrong:
            sys.exit("a search was not complete")


if __name__ == "__main__":
    main()
