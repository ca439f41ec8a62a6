#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a bad plugin costs the others: one that throws on every event, hangs, spins, leaks or writes
through null, beside one that counts. Each is measured in turn with a run in which nobody misbehaves,
on a host of its own; the figures are medians over the rounds.

For each: how long it took to be found out (from the moment it began, against its limit), the 50th and
99th percentile of the time from a POST to the answer that knows its events, and their ratio to the good
run's; and whether the other lost anything."""
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench_support import arguments

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from ephor_e2e import BUILD, CLOUDEVENTS, PLUGINS, Host  # noqa: E402

SOFT_S, HARD_S = 0.25, 0.75
PROCESS = {"isolation": "process"}
CULPRITS = {
    "throw": {"config": {"mode": "throw"}},
    "hang": {"config": {"mode": "hang", "at_count": 1000}},
    "spin": {"config": {"mode": "spin", "at_count": 1000}},
    "leak, isolated": {"config": {"mode": "leak", "at_count": 1000, "mb_per_event": 1}, **PROCESS,
                       "limits": {"memory_mb": 200}},
    "null write, isolated": {"config": {"mode": "null_write", "at_count": 1000}, **PROCESS},
    "hang, isolated": {"config": {"mode": "hang", "at_count": 1000}, **PROCESS},
}


def run(folder, name, culprit, seconds):
    """Latencies in ms, seconds from the act to its discovery, and what the witness lost."""
    acted = folder / f"{name}.acted"
    config = folder / f"{name}.json"
    settings = {**culprit, "plugin": "faulty",
                "config": {"topic": "test.point", "once_file": str(acted), **culprit["config"]}}
    if culprit["config"]["mode"] == "throw":
        settings["config"].pop("once_file")
    config.write_text(json.dumps({
        "plugin_path": [str(BUILD / "tests" / "plugins"), str(PLUGINS)],
        "faults": {"soft_limit_s": SOFT_S, "hard_limit_s": HARD_S, "budget": 10},
        "plugins": {"http_api": {}, "culprit": settings,
                    "witness": {"plugin": "faulty", "config": {"topic": "test.point"}}}}))
    latencies, found_s, posted = [], None, 0
    with Host(folder / name, config=config) as host:
        connection = host.connection()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            body = json.dumps([{"specversion": "1.0", "id": f"e{n}", "source": "bench", "type": "test.point",
                                "time": "2024-05-01T00:00:00Z", "data": {"n": n}}
                               for n in range(posted, posted + 10)]).encode()
            began = time.perf_counter()
            status, answer = host.post(body, CLOUDEVENTS, connection=connection)
            assert status == 200, answer
            status, counts, _ = host.request(
                "GET", f"/api/faulty/witness?after_sequence={answer['last_sequence']}", connection=connection)
            latencies.append((time.perf_counter() - began) * 1e3)
            posted += 10
            assert status == 200, counts
            if found_s is None and acted.exists():
                health = host.request("GET", "/health/ready", connection=connection)[1]
                one = next(one for one in health["instances"] if one["instance"] == "culprit")
                if one["state"] != "running" or one["restarts"]:
                    found_s = time.time() - acted.stat().st_mtime
            time.sleep(0.002)
        connection.close()
        lost = posted - counts["seen"] + counts["gaps"] + counts["repeated"]
    return latencies, found_s, lost


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main():
    options = arguments("faults", rounds=(int, 3, "pairs of runs of each"),
                        seconds=(float, 6, "length of a run"),
                        only=(str, "", "measure only what has this in its name"))
    figures = {}
    print(f"{'':22} {'found after':>12} {'p50 ms':>8} {'p99 ms':>8} {'p50 ratio':>10} {'p99 ratio':>10} {'lost':>5}")
    for name, culprit in CULPRITS.items():
        if options.only not in name:
            continue
        ratios, found, rows, lost = {0.5: [], 0.99: []}, [], [], 0
        for round_number in range(options.rounds):
            with tempfile.TemporaryDirectory(prefix="ephor-bench-") as scratch:
                good = {**culprit, "config": {"mode": "none"}}
                calm, _, _ = run(Path(scratch), "calm", good, options.seconds)
                latencies, found_s, more = run(Path(scratch), "faulty", culprit, options.seconds)
            lost += more
            found += [] if found_s is None else [found_s]
            rows.append([percentile(latencies, share) for share in ratios])
            for share, values in ratios.items():
                values.append(percentile(latencies, share) / percentile(calm, share))
        p50, p99 = (statistics.median(column) for column in zip(*rows))
        r50, r99 = (statistics.median(values) for values in ratios.values())
        found_text = f"{statistics.median(found):.3f} s" if found else "-"
        print(f"{name:22} {found_text:>12} {p50:8.2f} {p99:8.2f} {r50:10.2f} {r99:10.2f} {lost:5}", flush=True)
        key = name.replace(", ", "_").replace(" ", "_")
        figures |= {f"{key}_p99_ratio": r99, f"{key}_p50_ratio": r50, f"{key}_lost": lost}
        if found:
            figures[f"{key}_found_s"] = max(found)
    print(f"limits: soft {SOFT_S} s, hard {HARD_S} s")
    if options.json:
        options.json.write_text(json.dumps({"name": "faults", "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
