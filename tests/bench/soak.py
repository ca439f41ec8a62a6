#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""script/bench soak: does a host that runs for a day and more stay as large as it is?

A live host with the shipped configuration, its bounded stores set so small that they fill within the
first hours, is fed a simulated session of --hours in order, as fast as it takes it, so that log time
passes. Once per simulated hour, after every reader has read it and the usual pages were asked for:
resident memory, descriptors, threads. The slope is Theil and Sen's (median of all pairwise slopes) over
the hours from --settle on.

Bars: slope < 1 MiB per simulated hour; descriptors and threads never above what they were in the first
quarter of those hours.

The slowest store to fill is the page cache of the storage's SQLite (64 MiB, as rows are written): with
a cycle each 5 s some 30 simulated hours.
"""
import json
import os
import statistics
import sys
import time
import urllib.parse
from pathlib import Path

import bench_support as bench

SLOPE_MAX_MIB_PER_HOUR = 1.0
BODY_BYTES = 1 << 20

# Each bound is reached in the first hours of a session with a cycle each --interval-s 5.
SMALL_STORES = (
    "journal.durability=off",
    "bus.bytes_max=4194304",
    "ingest.dedup_window=20000",
    "plugins.tracer.config.max_trace_history=500",
    "plugins.tracer.config.max_tracking_history=2000",
    "plugins.tracer.config.max_open_spans=1000",
    "plugins.tracer.config.max_distinct_ids=20000",
    "plugins.metrics.config.max_history=200",
    "plugins.metrics.config.keep_minutes_h=2",
    "plugins.ml_monitor.config.max_pending=2000",
    "plugins.ml_monitor.config.max_remembered=2000",
    "plugins.ml_monitor.config.max_open_decisions=2000",
    "plugins.ml_monitor.config.max_findings=50",
    "plugins.ml_monitor.config.max_retraining_requests=20",
    "plugins.ensemble_tracker.config.max_tracking_history=2000",
    "plugins.ensemble_tracker.config.max_open_decisions=2000",
    "plugins.ensemble_tracker.config.max_distinct_ids=20000",
    "plugins.ensemble_tracker.config.max_hours=4",
    "plugins.ensemble_tracker.config.max_regime_transitions=50",
    "plugins.ensemble_tracker.config.max_findings=20",
    "plugins.trade_tracker.config.max_trades_in_memory=200",
    "plugins.trade_tracker.config.max_decisions_in_memory=2000",
    "plugins.trade_tracker.config.max_joins=2000",
    "plugins.trade_tracker.config.max_curve_points=500",
    "plugins.trade_tracker.config.max_distinct_ids=20000",
    "plugins.alerter.config.max_alerts=50",
)
# What a person who looks at the pages asks for.
PAGES = ("/health/ready", "/metrics", "/api/system/bus", "/api/metrics/dashboard",
         "/api/metrics/performance", "/api/tracing/traces", "/api/tracing/performance",
         "/api/tracing/errors", "/api/ml/models", "/api/ml/drift", "/api/ml/features",
         "/api/ml/retraining", "/api/ml/ensembles", "/api/regimes", "/api/decisions", "/api/trades",
         "/api/performance", "/api/alerts", "/api/reports/history")


def hours_of(session, start_ns):
    """Yields (hour, bodies): the session's lines by the hour of their time, as NDJSON bodies."""
    hour, body, size, bodies = 0, [], 0, []
    with session.open("rb") as lines:
        for line in lines:
            at = hour_of(line, start_ns)
            if at > hour:
                yield hour, bodies + [b"".join(body)]
                hour, body, size, bodies = at, [], 0, []
            body.append(line)
            size += len(line)
            if size >= BODY_BYTES:
                bodies.append(b"".join(body))
                body, size = [], 0
    yield hour, bodies + [b"".join(body)]


def hour_of(line, start):
    key = b'"time":"'
    begin = line.index(key) + len(key)
    text = line[begin:begin + 13].decode()  # 2025-01-01T00
    day, hour = text.split("T")
    return (int(time.mktime(time.strptime(day, "%Y-%m-%d"))) // 3600 + int(hour)) - start


def first_hour(session):
    with session.open("rb") as lines:
        return hour_of(lines.readline(), 0)


def descriptors_of(folder):
    """The least of several looks: connections of a moment ago are closed meanwhile."""
    counts = []
    for _ in range(10):
        counts.append(len(list((folder / "fd").iterdir())))
        time.sleep(0.02)
    return min(counts)


def sample(process):
    folder = Path(f"/proc/{process.pid}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return {"rss_mib": int(status["VmRSS"].split()[0]) / 1024,
            "anonymous_mib": int(status["RssAnon"].split()[0]) / 1024,
            "file_mib": int(status["RssFile"].split()[0]) / 1024,
            "descriptors": descriptors_of(folder),
            "threads": int(status["Threads"])}


def theil_sen(points):
    """Median of the slopes of all pairs."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1:]]
    return statistics.median(slopes) if slopes else None


def wait_until_read(server, sequence):
    """Every instance has read that far, and its checkpoint had a chance to follow."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        instances = server.get("/health/ready")["instances"]
        if all(one["lag_events"] == 0 and not one["reads_journal"] for one in instances):
            return
        time.sleep(0.05)
    sys.exit("soak: the readers did not come to the end of an hour in 600 s")


def feed(server, session, is_verbose):
    samples, events = [], 0
    start = first_hour(session)
    begin = time.monotonic()
    for hour, bodies in hours_of(session, start):
        answer = {}
        for body in bodies:
            if not body:
                continue
            answer, _ = server.request("POST", "/api/events", body, "application/x-ndjson")
            if answer.get("rejected"):
                sys.exit(f"soak: the host rejected records of its own simulator: {answer}")
            events += answer["accepted"]
        wait_until_read(server, answer.get("last_sequence"))
        for page in PAGES:
            server.try_get(page)
        samples.append({"hour": hour, "events": events, **sample(server.process)})
        if is_verbose:
            last = samples[-1]
            print(f"hour {hour}: {events} events, rss {last['rss_mib']:.1f} MiB (anonymous "
                  f"{last['anonymous_mib']:.1f}), {last['descriptors']} descriptors, {last['threads']} "
                  f"threads, {time.monotonic() - begin:.0f} s", flush=True)
    return samples, events, time.monotonic() - begin


def figures_of(samples, events, seconds, settle):
    kept = [one for one in samples if one["hour"] >= settle]
    early = kept[:max(1, len(kept) // 4)]
    figures = {"simulated_hours": len(samples), "events": events, "seconds": seconds,
               "settle_hours": settle,
               "rss_mib_at_settle": kept[0]["rss_mib"], "rss_mib_at_end": kept[-1]["rss_mib"],
               "rss_mib_max": max(one["rss_mib"] for one in samples)}
    for name in ("rss_mib", "anonymous_mib"):
        figures[f"{name}_per_hour"] = theil_sen([(one["hour"], one[name]) for one in kept])
    for name in ("descriptors", "threads"):
        values = [one[name] for one in kept]
        figures[f"{name}_min"], figures[f"{name}_max"] = min(values), max(values)
        figures[f"{name}_growth"] = max(values) - max(one[name] for one in early)
    figures["is_flat"] = int(figures["rss_mib_per_hour"] < SLOPE_MAX_MIB_PER_HOUR and
                             figures["descriptors_growth"] <= 0 and figures["threads_growth"] <= 0)
    return figures


def main():
    given = bench.arguments("soak", **{
        "hours": (float, 72.0, "length of the session, simulated hours"),
        "interval-s": (float, 5.0, "simulated seconds between two cycles of the trading system"),
        "settle": (int, 36, "the slope is fitted from this simulated hour on"),
        "seed": (int, 1, "of the simulated session"),
        "samples": (Path, None, "write every hour's sample to this file as JSON")})
    bench.need(bench.EPHOR)
    with bench.scratch() as folder:
        session = folder / "session.ndjson"
        bench.measured_run([bench.EPHOR, "simulate", "--hours", given.hours, "--interval-s",
                            given.interval_s, "--seed", given.seed, "--out", session])
        with bench.Server(folder / "data", SMALL_STORES) as server:
            samples, events, seconds = feed(server, session, True)
    if given.samples:
        given.samples.write_text(json.dumps(samples, indent=1) + "\n")
    figures = figures_of(samples, events, seconds, min(given.settle, len(samples) - 1))
    bench.write_figures("soak", figures, given.json)
    sys.exit(0 if figures["is_flat"] else 1)


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    main()
