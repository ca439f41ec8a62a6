#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""script/bench replay: a recorded session through everything, beside `zcat` of the same file.

Median of 5 runs of each, interleaved, file in the page cache. Over several sessions seconds and
counts are sums, RSS and start-up the worst; each one's own figures are then `<session>.<figure>`.
"""
import json
import sys

import bench_support as bench


def zcat_run(session):
    return bench.measured_run(["sh", "-c", 'exec zcat "$1" >/dev/null', "sh", session])["wall_seconds"]


def replay_run(session, folder, number):
    summary_file = folder / f"summary{number}.json"
    run = bench.measured_run([bench.EPHOR, "replay", session, "--config", bench.CONFIG, "--data-dir",
                              folder / f"data{number}", "--summary", summary_file])
    summary = json.loads(summary_file.read_text())
    run["startup_seconds"] = run["wall_seconds"] - summary["seconds"]
    return run, summary


def measure(session, repetitions):
    session.read_bytes()  # into the page cache
    zcat_seconds, runs, summary = [], [], {}
    for number in range(repetitions):
        zcat_seconds.append(zcat_run(session))
        with bench.scratch() as folder:
            run, summary = replay_run(session, folder, number)
        runs.append((run, summary))
        print(f"{bench.stem(session)} {number + 1}/{repetitions}: zcat {zcat_seconds[-1]:.3f} s, "
              f"replay {summary['seconds']:.3f} s", flush=True)
    with bench.scratch() as folder:
        replay_run(session, folder, 0)
        _, again = replay_run(session, folder, 0)
    records = summary["applied"] + summary["duplicates"] + summary["rejected"]
    figures = {
        "zcat_seconds": bench.median(zcat_seconds),
        "replay_seconds": bench.median([s["seconds"] for _, s in runs]),
        "replay_seconds_min": min(s["seconds"] for _, s in runs),
        "replay_seconds_max": max(s["seconds"] for _, s in runs),
        "startup_seconds": bench.median([r["startup_seconds"] for r, _ in runs]),
        "cpu_seconds": bench.median([s["cpu_seconds"] for _, s in runs]),
        "peak_rss_mb": bench.median([max(s["peak_rss_mb"], r["peak_rss_mb"]) for r, s in runs]),
        "applied_second_time": again["applied"],
        "truth_mismatches": bench.truth_mismatches(summary, bench.truth_of(session)),
    }
    figures["ratio"] = figures["replay_seconds"] / figures["zcat_seconds"]
    figures["cpu_us_per_event"] = figures["cpu_seconds"] / max(records, 1) * 1e6
    figures["events_per_second"] = records / figures["replay_seconds"]
    for key, value in summary.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            figures.setdefault(key, value)
    figures.pop("seconds", None)
    return figures


def total(per_session):
    """One set over all sessions: what adds up is added, of the others the worst."""
    worst = {"peak_rss_mb", "startup_seconds"}
    derived = {"ratio", "cpu_us_per_event", "events_per_second"}
    out = {}
    for figures in per_session:
        for key, value in figures.items():
            if value is None or key in derived:
                continue
            if key not in out:
                out[key] = value
            else:
                out[key] = max(out[key], value) if key in worst else out[key] + value
    if out:
        records = out["applied"] + out["duplicates"] + out["rejected"]
        out["ratio"] = out["replay_seconds"] / out["zcat_seconds"]
        out["cpu_us_per_event"] = out["cpu_seconds"] / max(records, 1) * 1e6
        out["events_per_second"] = records / out["replay_seconds"]
    return out


def main():
    options = bench.arguments("replay", repetitions=(int, 5, "runs of each, interleaved"))
    bench.need(bench.EPHOR, bench.CONFIG)
    found, absent_count = bench.sessions(options.data)
    per_session = {bench.stem(session): measure(session, options.repetitions) for session in found}
    figures = {"sessions": len(found), "sessions_absent": absent_count}
    figures.update(total(per_session.values()))
    if len(found) > 1:
        for name, own in per_session.items():
            figures.update({f"{name}.{key}": value for key, value in own.items()})
    bench.write_figures("replay", figures, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
