#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""script/bench influx: Influx lines into Ephor, VictoriaMetrics and InfluxDB, the same bodies, interleaved.

1,000,000 lines of 2,000 tag sets with three fields (6,000 series, 3,000,000 samples) over 4 connections.
The peers are the distribution's packages, fetched into build/bench-peers and unpacked there, not
installed; without them they are left out, and the figures say so.
"""
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import bench_support as bench

LOAD = bench.BUILD / "bench" / "bench_influx_load"
PEERS = bench.ROOT / "build" / "bench-peers"
TAG_SETS, FIELDS = 2000, 3
SETTLE_S = 20
NS = 1_000_000_000
BARS = (("load_cpu_s_per_million", 1.5, "CPU s per million samples at load"),
        ("settled_cpu_s_per_million", 1.5, "the same, settled"),
        ("bytes_per_sample", 4, "bytes per sample on disk, settled"))


def fetched(package, program):
    """The unpacked program of a Debian package, or None with a line that says why."""
    path = PEERS / package / "usr" / "bin" / program
    if path.is_file():
        return path
    PEERS.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["apt-get", "download", package], cwd=PEERS, capture_output=True, text=True)
    files = sorted(PEERS.glob(f"{package}_*.deb"))
    if done.returncode == 0 and files:
        subprocess.run(["dpkg", "-x", str(files[-1]), str(PEERS / package)], check=False)
    if path.is_file():
        return path
    print(f"SKIPPED: {package}: {(done.stderr.strip().splitlines() or ['it could not be unpacked'])[-1]}")
    return None


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Peer:
    """A server of another make, its process and its data."""

    def __init__(self, command, folder, url, ready_path):
        self.url, self.folder = url, folder
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen([str(part) for part in command], stdout=self.log,
                                        stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(url + ready_path, timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self.log.seek(0)
        text = self.log.read()[-2000:]
        self.__exit__()
        sys.exit(f"bench: {command[0]} did not get ready\n{text}")

    usage = bench.Server.usage

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


class VictoriaMetrics(Peer):
    write_path = "/write"

    def __init__(self, program, folder):
        port = free_port()
        self.data = folder / "data"
        super().__init__([program, f"-storageDataPath={self.data}", f"-httpListenAddr=127.0.0.1:{port}",
                          "-retentionPeriod=12"], folder, f"http://127.0.0.1:{port}", "/health")

    def series_path(self, tags, begin_ns, end_ns):
        match = ",".join(f'{name}="{value}"' for name, value in tags.items())
        return "/api/v1/query_range?" + urllib.parse.urlencode(
            {"query": "latency_p50{" + match + "}", "start": begin_ns // NS, "end": end_ns // NS, "step": 1,
             "nocache": 1})

    @staticmethod
    def points(answer):
        return sum(len(one["values"]) for one in answer["data"]["result"])


class InfluxDb(Peer):
    write_path = "/write?db=bench"

    def __init__(self, program, folder):
        port, rpc = free_port(), free_port()
        self.data = folder / "data"
        config = folder / "influxdb.conf"
        config.write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{rpc}"\n'
            f'[meta]\ndir = "{self.data}/meta"\n'
            f'[data]\ndir = "{self.data}/data"\nwal-dir = "{self.data}/wal"\nindex-version = "tsi1"\n'
            f'query-log-enabled = false\n'
            f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n[monitor]\nstore-enabled = false\n')
        super().__init__([program, "run", "-config", config], folder, f"http://127.0.0.1:{port}", "/ping")
        create = urllib.parse.urlencode({"q": "CREATE DATABASE bench"}).encode()
        with urllib.request.urlopen(self.url + "/query", data=create, timeout=30) as answer:
            answer.read()

    def series_path(self, tags, begin_ns, end_ns):
        match = " AND ".join(f"{name} = '{value}'" for name, value in tags.items())
        query = f"SELECT p50 FROM latency WHERE {match} AND time >= {begin_ns} AND time <= {end_ns}"
        return "/query?" + urllib.parse.urlencode({"db": "bench", "q": query})

    @staticmethod
    def points(answer):
        return sum(len(series["values"]) for result in answer["results"]
                   for series in result.get("series", []))


class Ephor(bench.Server):
    """The shipped configuration with every default plugin; room for the series."""

    write_path = "/write"

    def __init__(self, _program, folder):
        super().__init__(folder / "data", ("plugins.metrics.config.max_series=10000",))
        self.data = folder / "data"

    def series_path(self, tags, begin_ns, end_ns):
        stamps = {name: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ns // NS))
                  for name, at_ns in (("from", begin_ns), ("to", end_ns + NS))}
        return "/api/metrics/history/latency_p50?" + urllib.parse.urlencode(
            {**tags, **stamps, "resolution": "raw", "limit": 1000})

    @staticmethod
    def points(answer):
        return sum(len(one["points"]) for one in answer["series"])


def tags_of(number):
    return {"component": f"c{number % 10}", "host": f"h{number // 10 % 10}", "symbol": f"s{number // 100}"}


def query_figures(server, begin_ns, seconds, count):
    """One series at a time, another each time: latencies, and the share that came whole."""
    latencies, whole = [], 0
    for number in range(count):
        path = server.series_path(tags_of(number * 7919 % TAG_SETS), begin_ns, begin_ns + (seconds - 1) * NS)
        began = time.monotonic()
        try:
            with urllib.request.urlopen(server.url + path, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            print(f"failed: {path}: {error.code} {error.read()[:300]!r}")
            continue
        latencies.append((time.monotonic() - began) * 1000)
        found = server.points(json.loads(text))
        if found == seconds:
            whole += 1
        elif whole == 0 and number == 0:
            print(f"found {found} points, expected {seconds}: {path}: {text[:300]!r}")
    return {"series_p50_ms": bench.median(latencies), "series_whole_share": whole / count}


def measure(kind, program, options, seed):
    with bench.scratch() as folder, kind(program, folder) as server:
        time.sleep(1)
        samples = options.lines * FIELDS
        seconds = options.lines // TAG_SETS
        begin_ns = (int(time.time()) - seconds - 10) * NS
        cpu_before, idle_rss_mb, _ = server.usage()
        done = subprocess.run(
            [str(part) for part in (LOAD, "--url", server.url, "--path", kind.write_path, "--lines",
                                    options.lines, "--begin-ns", begin_ns, "--seed", seed, "--connections",
                                    options.connections)], capture_output=True, text=True)
        cpu_load = server.usage()[0] - cpu_before
        if done.returncode != 0:
            sys.exit(f"bench: {kind.__name__}: {done.stdout[-1000:]} {done.stderr[-1000:]}")
        posted = json.loads(done.stdout)
        time.sleep(SETTLE_S)
        cpu_settled, _, peak_rss_mb = server.usage()
        size = sum(path.stat().st_size for path in server.data.rglob("*") if path.is_file())
        figures = {"samples_per_s": posted["samples_per_s"], "post_p99_ms": posted["post_p99_ms"],
                   "load_cpu_s_per_million": cpu_load / samples * 1e6,
                   "settled_cpu_s_per_million": (cpu_settled - cpu_before) / samples * 1e6,
                   "idle_rss_mb": idle_rss_mb, "peak_rss_mb": peak_rss_mb,
                   "running_bytes_per_sample": size / samples}
        figures |= query_figures(server, begin_ns, seconds, options.queries)
        server.__exit__()
        size = sum(path.stat().st_size for path in server.data.rglob("*") if path.is_file())
        return figures | {"bytes_per_sample": size / samples}


def main():
    options = bench.arguments(
        "influx", rounds=(int, 3, "rounds; the figures are medians"), lines=(int, 1_000_000, "lines"),
        connections=(int, 4, ""), queries=(int, 100, "series asked for"), seed=(int, 1, "of the lines"),
        only=(str, "", "names, comma-separated"))
    bench.need(bench.EPHOR, LOAD)
    kinds = {"ephor": (Ephor, bench.EPHOR)}
    for name, kind, package, program in (("victoria_metrics", VictoriaMetrics, "victoria-metrics",
                                          "victoria-metrics"), ("influxdb", InfluxDb, "influxdb", "influxd")):
        if (path := fetched(package, program)) is not None:
            kinds[name] = (kind, path)
    if options.only:
        kinds = {name: kinds[name] for name in options.only.split(",")}
    parts = {name: {} for name in kinds}
    for number in range(options.rounds):
        for name, (kind, program) in kinds.items():
            for key, value in measure(kind, program, options, options.seed + number).items():
                parts[name].setdefault(key, []).append(value)
            last = {key: values[-1] for key, values in parts[name].items()}
            print(f"round {number + 1}, {name}: {last['samples_per_s']:,.0f} samples/s, "
                  f"{last['load_cpu_s_per_million']:.2f} CPU s per million at load, "
                  f"{last['settled_cpu_s_per_million']:.2f} settled, {last['peak_rss_mb']:.0f} MB peak, "
                  f"{last['bytes_per_sample']:.2f} B/sample, one series {last['series_p50_ms']:.1f} ms",
                  flush=True)
    figures = {"rounds": options.rounds, "lines": options.lines, "samples": options.lines * FIELDS}
    for name, found in parts.items():
        for key, values in found.items():
            figures[f"{name}: {key}"] = bench.median(values)
    for name in parts:
        if name != "ephor" and "ephor" in parts:
            for key in ("load_cpu_s_per_million", "settled_cpu_s_per_million", "bytes_per_sample"):
                figures[f"ephor / {name}: {key}"] = figures[f"ephor: {key}"] / figures[f"{name}: {key}"]
    bench.write_figures("influx", figures, options.json)
    for key, bound, text in BARS:
        if (value := figures.get(f"ephor: {key}")) is not None:
            print(f"  {'met   ' if value <= bound else 'MISSED'}  {text}: {value:.4g} (bar <= {bound:g})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
