#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""script/bench ml: how many planted model faults ml_monitor finds, and how often it cries for nothing.

For each seed a simulated day without faults, and for each kind of fault one with it from hour 12 to 18 and
one from hour 8 to 16. Found: a finding of the right kind and target, detected inside the window.
"""
import json

import bench_support as bench

FAULTS = {  # fault: (target, kind of the finding)
    "feature_drift": ("volume_z", "feature_drift"),
    "broken_model": ("xgb_flow", "concept_drift"),
    "overconfidence": ("lstm_sequence", "overconfidence"),
    "stale_output": ("forest_swing", "stale_output"),
}
WINDOWS = ((12, 18), (8, 16))


def findings(seed, *faults):
    with bench.scratch() as folder:
        session, config, summary = folder / "day.ndjson", folder / "ml.yaml", folder / "summary.json"
        config.write_text("log: {level: error}\nplugins: {ml_monitor: {}}\n")
        words = [word for fault in faults for word in ("--fault", fault)]
        bench.measured_run([bench.EPHOR, "simulate", "--seed", str(seed), "--out", session, *words])
        bench.measured_run([bench.EPHOR, "replay", session, "--config", config, "--data-dir", folder / "data",
                            "--summary", summary])
        return json.loads(summary.read_text())["findings"]


def hour_of(time):
    """Hours since the session's begin, 2025-01-01."""
    return 24 * (int(time[8:10]) - 1) + int(time[11:13]) + int(time[14:16]) / 60


def main():
    options = bench.arguments("ml", first=(int, 401, "first seed"), seeds=(int, 10, "seeds with each fault"),
                              quiet=(int, 40, "seeds without a fault"))
    figures = {}
    for begin, end in WINDOWS:
        for fault, (target, kind) in FAULTS.items():
            found = 0
            for seed in range(options.first, options.first + options.seeds):
                found += any(one["kind"] == kind and one["target"] == target and
                             begin <= hour_of(one["detected"]) <= end
                             for one in findings(seed, f"{fault}:{target}:{begin}:{end}"))
            figures[f"found_{fault}_{begin}_{end}_of_{options.seeds}"] = found
    false = [len(findings(seed)) for seed in range(options.first, options.first + options.quiet)]
    figures[f"false_findings_in_{options.quiet}_days"] = sum(false)
    figures[f"days_with_false_findings_of_{options.quiet}"] = sum(count > 0 for count in false)
    bench.write_figures("ml", figures, options.json)


if __name__ == "__main__":
    main()
