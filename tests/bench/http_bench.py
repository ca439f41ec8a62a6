#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""script/bench http: what a request costs, and an idle connection.

The full host (tokens, metrics, correlation ids and trace context on) beside Poco's own server, in
turns within one session, by wrk (Debian package; not installed by script/setup): a short GET on 16 and
on 256 connections. Then idle connections to the host: threads and memory of 2,000 of them, and what a
request costs beside them.
"""
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import bench_support as bench

POCO = bench.BUILD / "bench" / "bench_http_poco"
TOKEN = "bench-token-0123456789"


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.split()[0] for key, value in (line.split(":", 1) for line in lines) if value.split()}


def wrk(url, connections, seconds, pid):
    """(requests a second, p99 milliseconds, CPU microseconds of the server per request)."""
    before = cpu_seconds(pid)
    done = subprocess.run(["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--latency", "-H",
                           f"Authorization: Bearer {TOKEN}", url], capture_output=True, text=True)
    cpu = cpu_seconds(pid) - before
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    total = re.search(r"(\d+) requests in", done.stdout)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    if not (rate and total and p99) or "Non-2xx" in done.stdout:
        sys.exit(f"bench: wrk {url}:\n{done.stdout}{done.stderr}")
    milliseconds = float(p99[1]) * {"us": 1e-3, "ms": 1, "s": 1e3}[p99[2]]
    return float(rate[1]), milliseconds, cpu / int(total[1]) * 1e6


def idle_connections(server, count):
    pid = server.process.pid
    before = status_of(pid)
    where = urllib.parse.urlsplit(server.url)
    sockets = []
    for _ in range(count):
        sockets.append(socket.create_connection((where.hostname, where.port)))
        sockets[-1].sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sockets[-1].recv(65536)
    after = status_of(pid)
    begin = time.monotonic()
    server.get("/health/live")
    figures = {"idle_connections": count,
               "idle_threads_more": int(after["Threads"]) - int(before["Threads"]),
               "idle_rss_kb_each": (int(after["VmRSS"]) - int(before["VmRSS"])) / count,
               "request_beside_idle_ms": (time.monotonic() - begin) * 1e3}
    for one in sockets:
        one.close()
    return figures


def main():
    options = bench.arguments("http", seconds=(int, 4, "of each run"), rounds=(int, 3, "of each server"),
                              idle=(int, 2000, "idle connections"))
    bench.need(bench.EPHOR, POCO)
    if shutil.which("wrk") is None:
        sys.exit("bench: wrk is not installed (Debian package wrk)")
    figures, runs = {}, {}
    poco = subprocess.Popen([str(POCO)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    port = int(poco.stdout.readline())
    token = f'[{{"name": "bench", "token": "{TOKEN}", "scopes": ["admin"]}}]'
    with bench.scratch() as folder, bench.Server(
            folder / "data", [f"plugins.http_api.config.tokens={token}",
                              "plugins.http_api.config.keep_alive_timeout_s=120"]) as server:
        targets = {"poco": (f"http://127.0.0.1:{port}/", poco.pid),
                   "ephor": (server.url + "/ping", server.process.pid),
                   # behind a token, with a body (the list of routes, some kilobytes)
                   "ephor_routes": (server.url + "/api", server.process.pid)}
        for _ in range(options.rounds):
            for connections in (16, 256):
                for name, (url, pid) in targets.items():
                    runs.setdefault((name, connections), []).append(wrk(url, connections, options.seconds, pid))
        for (name, connections), found in runs.items():
            for index, figure in enumerate(("per_second", "p99_ms", "cpu_us")):
                figures[f"{name}_{connections}_{figure}"] = bench.median([run[index] for run in found])
        for connections in (16, 256):
            figures[f"ratio_to_poco_{connections}"] = (figures[f"ephor_{connections}_per_second"]
                                                       / figures[f"poco_{connections}_per_second"])
        figures["threads"] = int(status_of(server.process.pid)["Threads"])
        figures.update(idle_connections(server, options.idle))
    poco.stdin.close()
    poco.wait()
    bench.write_figures("http", figures, options.json)


if __name__ == "__main__":
    main()
