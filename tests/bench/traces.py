#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""script/bench traces: what tracing costs, and whether all that was acknowledged is found again.

Prebuilt OTLP bodies of 1,000 spans (11 a trace, 9 attributes a span, 2 % of the traces failed, 0.5 %
longer than a second) flood a host over keep-alive connections; then it settles, is asked for traces
and searched, and takes a steady load while new traces are read back. Each round has a new data folder.

Two variants, interleaved: `all`, the shipped configuration with every default plugin, and `tracing`,
the same with only http_api and tracer. The bars of the issue are held against `all`.
"""
import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse

import bench_support as bench
import cpu_parts

LOAD = bench.BUILD / "bench" / "bench_traces_load"
SPANS_PER_TRACE = 11
STEP_NS = 550_000  # 20,000 spans a second of event time
SETTLE_S = 15
# As many summaries as the load has traces, and more; the default keeps 10,000.
SETTINGS = ("plugins.tracer.config.max_trace_history=1000000",)
VARIANTS = {
    "all": SETTINGS,
    "tracing": SETTINGS + tuple(f"plugins.{name}.enabled=false" for name in (
        "metrics", "ml_monitor", "ensemble_tracker", "trade_tracker", "alerter", "reporter")),
}
TRACE_PATH = "/api/tracing/traces/"
STORY_PATH = "/api/tracing/correlation/"
SEARCH_PATH = "/api/tracing/search"
SERVICES_PATH = "/api/services"
HITS = 20

# (figure, its bound, what it is): met when the figure does not exceed the bound. True: has to be 1.
BARS = (
    ("load_cpu_s_per_million", 6, "OTLP/protobuf, CPU s per million spans at load"),
    ("settled_cpu_s_per_million", 7, "the same, settled"),
    ("json_load_cpu_s_per_million", 7, "OTLP/JSON, CPU s per million spans at load"),
    ("idle_rss_mb", 40, "resident, idle, MB"),
    ("peak_rss_mb", 150, "resident, peak, MB"),
    ("disk_bytes_per_span", 75, "bytes per span on disk, settled"),
    ("visible_idle_p50_ms", 5, "POST to readable by id, idle, p50 ms"),
    ("visible_idle_max_ms", 50, "the same, max"),
    ("visible_steady_p50_ms", 5, "POST to readable by id under 20k spans/s, p50 ms"),
    ("visible_steady_max_ms", 50, "the same, max"),
    ("by_id_p50_ms", 2, "trace by id, p50 ms"),
    ("by_id_server_cpu_ms", 1.5, "trace by id, CPU ms of the server"),
    ("search_error_p50_ms", 5, "search of failed traces, p50 ms"),
    ("search_slow_p50_ms", 5, "search of traces over 1 s, p50 ms"),
    ("search_attribute_p50_ms", 5, "search of one attribute's value, p50 ms"),
    ("by_correlation_p50_ms", 3, "story by correlation id, p50 ms"),
    ("by_decision_p50_ms", 3, "story by decision id, p50 ms"),
    ("by_order_p50_ms", 3, "story by order id, p50 ms"),
    ("accepted_share", True, "every span acknowledged"),
    ("whole_share", True, "sampled traces whole"),
    ("search_error_complete", True, "every failed trace found"),
    ("search_slow_complete", True, "every slow trace found"),
    ("search_attribute_complete", True, "every sampled decision id found by search"),
)


def load(command, *arguments, may_fail=False):
    done = subprocess.run([str(part) for part in (LOAD, command, *arguments)], capture_output=True, text=True)
    if done.returncode != 0 and not may_fail:
        sys.exit(f"bench: {LOAD.name} {command}: exit {done.returncode}: {done.stdout[-1000:]} "
                 f"{done.stderr[-1000:]}")
    return json.loads(done.stdout)


class Load:
    """One flood: its seed, its times, and what is in it."""

    def __init__(self, spans, seed):
        self.spans = spans
        begins_ns = time.time_ns() - spans // SPANS_PER_TRACE * STEP_NS - 5_000_000_000
        self.shape = ("--spans", spans, "--seed", seed, "--base-ns", begins_ns)

    def post(self, server, *more):
        return load("post", "--url", server.url, *self.shape, *more)

    def plan(self, sample):
        return load("plan", *self.shape, "--sample", sample)


def disk_bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def wait_until_read(server, spans, seconds=300):
    """Until the tracer has read them all; how long that took."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        done = subprocess.run([str(bench.EPHOR), "query", "tracer.summary", "--config", str(bench.CONFIG),
                               "--data-dir", str(server.data_dir)], capture_output=True, text=True)
        if done.returncode == 0 and json.loads(done.stdout)["spans"] >= spans:
            return time.monotonic() - begin
        time.sleep(0.2)
    sys.exit(f"bench: the tracer has not read {spans} spans after {seconds} s: {done.stdout} {done.stderr}")


def ask(server, paths, prefix, folder):
    """Latencies of GETs over one connection, and the server's CPU a request."""
    file = folder / "paths"
    file.write_text("\n".join(paths) + "\n")
    cpu_before = server.usage()[0]
    got = load("ask", "--url", server.url, "--paths", file, may_fail=True)
    cpu = (server.usage()[0] - cpu_before) * 1000 / len(paths)
    if got["failed"]:
        print(f"failed: {got['failed']} of {len(paths)} GETs as {paths[0]}: {got.get('failure')}")
    return {f"{prefix}_p50_ms": got["get_p50_ms"], f"{prefix}_p95_ms": got["get_p95_ms"],
            f"{prefix}_server_cpu_ms": cpu, f"{prefix}_failed": got["failed"]}


def search_path(**filters):
    return SEARCH_PATH + "?" + urllib.parse.urlencode(filters)


def found_ids(server, **filters):
    """Trace ids of all pages of a search, each of which has to say that it is complete."""
    found, cursor = set(), None
    while True:
        more = {"cursor": cursor} if cursor else {}
        answer = server.get(search_path(limit=1000, deadline_ms=10000, **filters, **more))
        if not answer["over"]["complete"]:
            print(f"not complete: {filters}: {answer['over']}")
            return set()
        found |= {trace["trace_id"] for trace in answer["traces"]}
        cursor = answer.get("next_cursor")
        if not cursor:
            return found


def tree_ids(answer):
    """Span ids of a trace's tree, sorted, each as often as it stands there."""
    found, todo = [], [answer["roots"]]
    while todo:
        for node in todo.pop():
            found.append(node["span_id"])
            todo.append(node.get("children", []))
    return sorted(found)


def share_whole(server, sample):
    """Share of the sampled traces that are read back with every span, each once."""
    whole = 0
    for trace in sample:
        try:
            answer = server.get(TRACE_PATH + trace["trace_id"])
        except urllib.error.HTTPError:
            continue
        whole += tree_ids(answer) == sorted(span["span_id"] for span in trace["spans"])
    return whole / len(sample)


def query_figures(server, planned, options, folder):
    sample = planned["sample"]
    figures = {"whole_share": share_whole(server, sample)}
    figures |= ask(server, [TRACE_PATH + trace["trace_id"] for trace in sample], "by_id", folder)
    for name, key in (("correlation", "correlation_id"), ("decision", "decision_id"), ("order", "order_id")):
        paths = [STORY_PATH + trace[key] for trace in sample]
        figures |= ask(server, paths, f"by_{name}", folder)
    searches = {"search_error": {"status": "error"}, "search_slow": {"min_duration": "1s"}}
    for name, filters in searches.items():
        paths = [search_path(limit=HITS, **filters)] * options.queries
        figures |= ask(server, paths, name, folder)
    paths = [search_path(limit=HITS, attribute=f"decision.id={trace['decision_id']}") for trace in sample]
    figures |= ask(server, paths, "search_attribute", folder)
    figures |= ask(server, [SERVICES_PATH] * options.queries, "services", folder)
    figures["search_error_complete"] = completeness(found_ids(server, status="error"), planned["errors"])
    figures["search_slow_complete"] = completeness(found_ids(server, min_duration="1s"), planned["slow"])
    found = sum(found_ids(server, attribute=f"decision.id={trace['decision_id']}") == {trace["trace_id"]}
                for trace in sample)
    figures["search_attribute_complete"] = found / len(sample)
    return figures


def completeness(found, planted):
    """1 when exactly the planted ones are found; spans after the last whole trace may add one more."""
    missing = set(planted) - found
    extra = found - set(planted)
    return 1.0 if not missing and len(extra) <= 1 else 1 - len(missing) / len(planted)


def steady_figures(server, options, seed):
    """20,000 spans/s while new traces are posted and read back."""
    spans = 20_000 * options.seconds
    begins_ns = time.time_ns()
    cpu_before = server.usage()[0]
    began = time.monotonic()
    steady = subprocess.Popen(
        [str(part) for part in (LOAD, "post", "--url", server.url, "--spans", spans, "--seed", seed,
                                "--base-ns", begins_ns, "--rate", 20_000, "--connections", 4)],
        stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    seen = load("visible", "--url", server.url, "--seed", seed + 1, "--count",
                max(20, (options.seconds - 3) * 10), "--gap-ms", 80, may_fail=True)
    posted = json.loads(steady.communicate()[0])
    cpu = server.usage()[0] - cpu_before
    return {"visible_steady_p50_ms": seen["visible_p50_ms"], "visible_steady_max_ms": seen["visible_max_ms"],
            "visible_steady_post_max_ms": seen["visible_post_max_ms"],
            "visible_steady_failed": seen["failed"], "steady_post_p99_ms": posted["post_p99_ms"],
            "steady_spans_per_s": posted["spans_per_s"],
            "steady_core_share": cpu / (time.monotonic() - began)}


def measure_protobuf(variant, options, seed):
    with bench.scratch() as folder, bench.Server(folder / "data", VARIANTS[variant]) as server:
        time.sleep(1)
        cpu_before, idle_rss_mb, _ = server.usage()
        flood = Load(options.spans, seed)
        posted = flood.post(server, "--connections", options.connections)
        cpu_load = server.usage()[0] - cpu_before
        answered_at = time.monotonic()
        planned = flood.plan(options.sample)
        last = planned["sample"][-1]
        figures = {"last_whole_after_flood": share_whole(server, [last])}
        figures["read_after_s"] = wait_until_read(server, posted["spans"])
        time.sleep(max(0.0, SETTLE_S - (time.monotonic() - answered_at)))
        cpu_settled, rss_mb, peak_rss_mb = server.usage()
        millions = options.spans / 1e6
        figures |= {
            "spans_per_s": posted["spans_per_s"], "post_p99_ms": posted["post_p99_ms"],
            "busy_answers": posted["busy_answers"], "accepted_share": posted["spans"] / options.spans,
            "load_cpu_s_per_million": cpu_load / millions,
            "settled_cpu_s_per_million": (cpu_settled - cpu_before) / millions,
            "idle_rss_mb": idle_rss_mb, "peak_rss_mb": peak_rss_mb, "settled_rss_mb": rss_mb,
            "disk_running_bytes_per_span": disk_bytes(server.data_dir) / options.spans}
        figures |= query_figures(server, planned, options, folder)
        idle = load("visible", "--url", server.url, "--seed", seed + 1000, "--count", 100, "--gap-ms", 20,
                    may_fail=True)
        figures |= {"visible_idle_p50_ms": idle["visible_p50_ms"],
                    "visible_idle_max_ms": idle["visible_max_ms"], "visible_idle_failed": idle["failed"]}
        figures |= steady_figures(server, options, seed + 2000)
        return figures


def print_profile(variant, options, seed):
    """Where the CPU of one flood went, until it settled. Sampling costs: no other figure is taken."""
    with bench.scratch() as folder, bench.Server(folder / "data", VARIANTS[variant]) as server:
        with cpu_parts.Recording(server.process.pid, folder) as recording:
            posted = Load(options.spans, seed).post(server, "--connections", options.connections)
            wait_until_read(server, posted["spans"])
            time.sleep(SETTLE_S)
        for part, share in recording.parts().items():
            print(f"  {100 * share:5.1f} %  {part}")


def measure_json(variant, options, seed):
    with bench.scratch() as folder, bench.Server(folder / "data", VARIANTS[variant]) as server:
        time.sleep(1)
        cpu_before = server.usage()[0]
        posted = Load(options.spans, seed).post(server, "--encoding", "json", "--connections",
                                                options.connections)
        cpu_load = server.usage()[0] - cpu_before
        wait_until_read(server, posted["spans"])
        time.sleep(SETTLE_S)
        cpu_settled, _, peak_rss_mb = server.usage()
        return {"json_load_cpu_s_per_million": cpu_load / options.spans * 1e6,
                "json_settled_cpu_s_per_million": (cpu_settled - cpu_before) / options.spans * 1e6,
                "json_spans_per_s": posted["spans_per_s"], "json_peak_rss_mb": peak_rss_mb,
                "json_accepted_share": posted["spans"] / options.spans}


def measure_disk(variant, options, seed):
    """A host that took the flood, settled and was stopped: nothing is left in a log of writes."""
    with bench.scratch() as folder:
        with bench.Server(folder / "data", VARIANTS[variant]) as server:
            posted = Load(options.spans, seed).post(server, "--connections", options.connections)
            wait_until_read(server, posted["spans"])
            time.sleep(SETTLE_S)
        figures = {"disk_bytes_per_span": disk_bytes(folder / "data") / options.spans}
        for file in ("journal.db", "ephor.db"):
            size = (folder / "data" / file).stat().st_size
            figures[f"disk_{file.split('.')[0]}_bytes_per_span"] = size / options.spans
        return figures


def print_bars(figures, prefix):
    for key, bound, text in BARS:
        value = figures.get(prefix + key)
        if value is None:
            print(f"  not measured  {text}")
            continue
        is_met = value == 1 if bound is True else value <= bound
        bar = "all" if bound is True else f"<= {bound:g}"
        print(f"  {'met   ' if is_met else 'MISSED'}  {text}: {value:.4g} (bar {bar})")


def main():
    options = bench.arguments(
        "traces", rounds=(int, 3, "rounds of each variant; the figures are medians"),
        spans=(int, 500_000, "spans of a flood"), connections=(int, 8, "of the flood"),
        sample=(int, 300, "traces read back"), queries=(int, 200, "times each search is asked"),
        seconds=(int, 20, "of steady load"), variants=(str, "all,tracing", "which variants"),
        seed=(int, 1, "of the load"), profile=(int, 0, "1: print where the CPU goes (perf) and nothing else"))
    bench.need(bench.EPHOR, LOAD)
    variants = options.variants.split(",")
    if options.profile:
        for variant in variants:
            print(f"{variant}:")
            print_profile(variant, options, options.seed)
        return 0
    parts = {variant: {} for variant in variants}
    for number in range(options.rounds):
        for variant in variants:
            seed = options.seed + 10_000 * number
            for measure in (measure_protobuf, measure_json, measure_disk):
                for key, value in measure(variant, options, seed).items():
                    parts[variant].setdefault(key, []).append(value)
            done = parts[variant]
            print(f"round {number + 1}, {variant}: {done['spans_per_s'][-1]:,.0f} spans/s, "
                  f"{done['load_cpu_s_per_million'][-1]:.2f} CPU s per million at load, "
                  f"{done['settled_cpu_s_per_million'][-1]:.2f} settled", flush=True)
    figures = {"rounds": options.rounds, "spans": options.spans}
    for variant, found in parts.items():
        for key, values in found.items():
            figures[f"{variant}: {key}"] = bench.median(values)
    bench.write_figures("traces", figures, options.json)
    for variant in variants:
        print(f"{variant}:")
        print_bars(figures, f"{variant}: ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
