#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""script/bench ingest: recorded sessions posted to a running host over loopback HTTP.

Everything loaded, journal durability `full`, 500-event NDJSON batches on 2 connections. Then: are the
counts those of the truth file, how soon is an accepted event visible in a query, how fast do the
endpoints answer with the session loaded.
"""
import gzip
import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse

import bench_support as bench

CLIENT = bench.BUILD / "bench" / "bench_ingest_client"


def client(*arguments):
    done = subprocess.run([str(part) for part in (CLIENT, *arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench: {CLIENT.name}: exit {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def post(server, session, options):
    cpu_before = server.usage()[0]
    sent = client("--url", server.url, "--file", session, "--batch", options.batch, "--connections",
                  options.connections)
    cpu_after, _, peak_rss_mb = server.usage()
    sent["host_cpu_us_per_event"] = (cpu_after - cpu_before) / max(sent["events"], 1) * 1e6
    sent["host_peak_rss_mb"] = peak_rss_mb
    return sent


def store_figures(data_dir, sent):
    """What the plugins have counted by now, in the words of a replay's summary."""
    figures = {"applied": sent.get("accepted"), "duplicates": sent.get("duplicate")}
    for name in ("tracer.summary", "ml_monitor.summary", "trade_tracker.summary"):
        done = subprocess.run([str(bench.EPHOR), "query", name, "--data-dir", str(data_dir)],
                              capture_output=True, text=True)
        if done.returncode == 0:
            figures.update(json.loads(done.stdout))
    return figures


def check_counts(data_dir, session, sent):
    """Mismatches with the truth once the plugins have read all, and how long that took."""
    truth, posted_at = bench.truth_of(session), time.monotonic()
    if truth is None:
        return {}
    while bench.truth_mismatches(store_figures(data_dir, sent), truth, is_quiet=True):
        if time.monotonic() - posted_at > 30:
            break
        time.sleep(0.05)
    settled_seconds = time.monotonic() - posted_at
    return {"truth_mismatches": bench.truth_mismatches(store_figures(data_dir, sent), truth),
            "settled_seconds": settled_seconds}


def span(number):
    """One span of a correlation id of its own, ending now."""
    start_ns = time.time_ns() - 1000
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    trace = f"{0xE0000000000000000000000000000000 + number:032x}"
    correlation = f"bench-visible-{time.time_ns()}-{number}"
    event = {"specversion": "1.0", "id": correlation, "source": "bench", "type": "ephor.span",
             "time": stamp, "correlationid": correlation,
             "data": {"trace_id": trace, "span_id": f"{number + 1:016x}", "component": "bench",
                      "operation": "visible", "start_time_unix_nano": start_ns,
                      "end_time_unix_nano": start_ns + 1000, "status": "ok"}}
    return correlation, json.dumps(event).encode()


def visible_latencies(server, count):
    """Milliseconds from the 2xx to an answer that holds the event, and how many never got there."""
    latencies, missed = [], 0
    for number in range(count):
        correlation, body = span(number)
        answer, _ = server.request("POST", "/api/events", body, "application/cloudevents+json")
        accepted_at = time.monotonic()
        path = (f"/api/tracing/correlation/{urllib.parse.quote(correlation)}"
                f"?after_sequence={answer['last_sequence']}")
        is_visible = False
        while not is_visible and time.monotonic() - accepted_at < 5:
            try:
                is_visible = correlation in json.dumps(server.get(path))
            except urllib.error.HTTPError as error:
                if error.code not in (404, 504):
                    raise
        if is_visible:
            latencies.append((time.monotonic() - accepted_at) * 1000)
        else:
            missed += 1
    return latencies, missed


def endpoints(server, session):
    """Paths to ask with the session loaded: every GET route, its parameters taken from the session."""
    values = {}
    with gzip.open(session, "rt") as lines:
        for _, line in zip(range(5000), lines):
            event = json.loads(line)
            data = event.get("data", {})
            found = {"correlation_id": event.get("correlationid"), **data, "id": event.get("id")}
            for key, value in found.items():
                if isinstance(value, str):
                    values.setdefault(key, value)
    document = server.try_get("/openapi.json") or {}
    paths = []
    for path, methods in sorted(document.get("paths", {}).items()):
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        if "get" in methods and path.startswith("/api") and all(name in values for name in names):
            for name in names:
                path = path.replace("{" + name + "}", urllib.parse.quote(values[name]))
            paths.append(path)
    return paths


def get_figures(server, session, count):
    figures, worst = {}, 0.0
    for path in endpoints(server, session):
        try:
            server.get(path)
        except (urllib.error.HTTPError, TimeoutError) as error:
            print(f"not measured: GET {path}: {error}")
            continue
        got = client("--url", server.url, "--get", path, "--count", count, "--connections", 1)
        p50 = got.get("get_p50_ms", got.get("p50_ms"))
        p99 = got.get("get_p99_ms", got.get("p99_ms"))
        figures[f"get_p50_ms {path}"], figures[f"get_p99_ms {path}"] = p50, p99
        worst = max(worst, p99 or 0.0)
    if figures:
        figures["get_p99_ms_worst"] = worst
    return figures


def measure(session, options):
    with bench.scratch() as folder, \
            bench.Server(folder / "data", ["journal.durability=full"]) as server:
        figures = {"ready_seconds": server.ready_seconds}
        sent = post(server, session, options)
        figures.update({key: value for key, value in sent.items() if isinstance(value, (int, float))})
        figures.update(check_counts(folder / "data", session, sent))
        again = post(server, session, options)
        figures["accepted_second_time"] = again.get("accepted")
        latencies, missed = visible_latencies(server, options.visible)
        figures.update({"visible_p50_ms": bench.median(latencies),
                        "visible_p99_ms": bench.quantile(latencies, 0.99),
                        "visible_missed": missed})
        figures.update(get_figures(server, session, options.gets))
        figures["exit_code"] = server.stop()
        return figures


def main():
    options = bench.arguments("ingest", batch=(int, 500, "events in a request"),
                              connections=(int, 2, "connections at once"),
                              visible=(int, 200, "spans for the accepted -> visible latency"),
                              gets=(int, 500, "requests for each endpoint"))
    bench.need(bench.EPHOR, bench.CONFIG, CLIENT)
    found, absent_count = bench.sessions(options.data)
    figures = {"sessions": len(found), "sessions_absent": absent_count}
    for session in found:
        own = measure(session, options)
        prefix = "" if len(found) == 1 else bench.stem(session) + "."
        figures.update({prefix + key: value for key, value in own.items()})
    bench.write_figures("ingest", figures, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
