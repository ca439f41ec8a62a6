#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""script/bench client: what tracing costs the traced program.

A trading loop in Python runs a cycle every 20 ms against a running host: some work of its own, then 5 spans,
3 predictions with features, 1 decision, 1 regime, 4 metrics. Timed are the client's calls alone,
by the clock and by the thread's CPU time; and the CPU time of the whole process, sender thread included,
less that of the same loop without a client, in interleaved rounds. Each round is a process of its own.
The C++ figures are those of ephor/propagation.hpp: a request read and continued, 5 child spans injected.
"""
import collections
import json
import math
import os
import statistics
import subprocess
import sys
import time

import bench_support as bench

PROPAGATION = bench.BUILD / "bench" / "bench_propagation"
PERIOD_NS = 20_000_000
FEATURES = {name: 0.25 for name in ("rsi", "atr", "macd", "volume_ratio", "spread", "momentum")}


def cycle(client, number):
    with client.span("cycle", "supervisor", symbol="ETHUSDT", cycle=number):
        with client.span("load_candles", "exchange", rows=200):
            pass
        with client.span("predict", "analyst", timeframe="1m"):
            for model in ("xgb_trend", "lstm_seq", "rf_vol"):
                client.prediction(model, "buy", confidence=0.71, symbol="ETHUSDT", features=FEATURES)
        with client.span("blend", "strategist"):
            client.regime("bull_trend", symbol="ETHUSDT", regime_confidence=0.8)
            client.decision("main", "buy", primary_confidence=0.68, symbol="ETHUSDT",
                            ensemble_weights={"xgb_trend": 0.5, "lstm_seq": 0.3, "rf_vol": 0.2})
        with client.span("size_position", "tactician"):
            pass
        client.metric("equity", 10_250.5, "USD")
        client.metric("position", 0.25, symbol="ETHUSDT")
        client.metric("queue_depth", 3, component="exchange")
        client.metric("cycle_lag_ms", 0.4, "ms")


class Market:
    """Work as a bot has it: messages parsed, objects made, features computed, orders sized."""

    class Candle:
        def __init__(self, time_s, open, high, low, close, volume=0.0):
            self.time_s, self.open, self.high, self.low, self.close, self.volume = time_s, open, high, low, close, volume

    def __init__(self):
        self.candles, self.book = collections.deque(maxlen=60), {}

    def update(self, number):
        close = 2000.0 + math.sin(number) * 10.0
        message = json.dumps({"s": "ETHUSDT", "k": {"time_s": number, "open": close, "high": close + 1.0,
                                                    "low": close - 1.0, "close": close}, "b": [[close, 1.5]] * 10})
        parsed = json.loads(message)
        self.candles.append(Market.Candle(**parsed["k"], volume=float(number % 7)))
        self.book = {f"{price:.2f}": size for price, size in parsed["b"]}
        closes = [candle.close for candle in self.candles]
        mean = statistics.fmean(closes)
        features = dict(distance=close / mean - 1.0, spread=max(closes) - min(closes), depth=sum(self.book.values()))
        return sorted(features.items(), key=lambda item: -abs(item[1]))


def bot(url, cycles, work_ms):
    """One process: prints its figures as JSON. Without a URL there is no client at all."""
    sys.path.insert(0, str(bench.ROOT / "sdk" / "python"))
    client = None
    if url:
        import ephor_client
        client = ephor_client.Client(url, source="bench", queue_records_max=100_000)
        for number in range(50):  # warm
            cycle(client, number)
    wall, cpu, market = [], [], Market()
    process_before, begin = time.process_time_ns(), time.perf_counter_ns()
    for number in range(cycles):
        until = time.thread_time_ns() + int(work_ms * 1e6)
        while time.thread_time_ns() < until:  # the bot's own work, which holds the interpreter
            market.update(number)
        if client is not None:
            cpu_before, before = time.thread_time_ns(), time.perf_counter_ns()
            cycle(client, number)
            after, cpu_after = time.perf_counter_ns(), time.thread_time_ns()
            wall.append((after - before) / 1000)
            cpu.append((cpu_after - cpu_before) / 1000)
        time.sleep(max(0, begin + (number + 1) * PERIOD_NS - time.perf_counter_ns()) / 1e9)
    process_us = (time.process_time_ns() - process_before) / 1000 / cycles
    stats, hot_us = {}, None
    if client is not None:
        begin = time.thread_time_ns()
        for number in range(500):  # back to back: what is left of the cost when nothing else cools the caches
            cycle(client, number)
        hot_us = (time.thread_time_ns() - begin) / 500 / 1000
        client.flush(60)
        stats = client.stats()
        client.close()
    print(json.dumps({"wall": wall, "cpu": cpu, "process_us": process_us, "hot_us": hot_us,
                      "stats": stats}))


def run_bot(url, options):
    done = subprocess.run([sys.executable, __file__, "--bot", url, str(options.cycles), str(options.work_ms)],
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench: the bot: exit {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def main():
    options = bench.arguments("client", cycles=(int, 500, "cycles of 20 ms a round"),
                              rounds=(int, 3, "rounds with and without the client"),
                              work_ms=(float, 4.0, "CPU time of the loop's own work in a cycle"))
    bench.need(bench.EPHOR, bench.CONFIG)
    wall, cpu, added, sent, hot = [], [], [], [], []
    with bench.scratch() as folder, bench.Server(folder / "data") as server:
        for _ in range(options.rounds):
            without = run_bot("", options)
            traced = run_bot(server.url, options)
            wall += traced["wall"]
            cpu += traced["cpu"]
            added.append(traced["process_us"] - without["process_us"])
            sent.append(traced["stats"])
            hot.append(traced["hot_us"])
    caller_us = sum(cpu) / len(cpu)
    figures = {
        "records_per_cycle": 14, "cycles": len(wall),
        "load_average": os.getloadavg()[0],
        "caller_cpu_us_mean": caller_us, "caller_cpu_us_p10": bench.quantile(cpu, 0.1),
        "caller_cpu_us_back_to_back": bench.median(hot), "caller_wall_us_p50": bench.median(wall),
        "caller_wall_us_p99": bench.quantile(wall, 0.99), "caller_wall_us_max": max(wall),
        "caller_share_of_20ms_percent": caller_us / 20_000 * 100,
        "process_cpu_us_per_cycle_median": bench.median(added), "process_cpu_us_per_cycle_max": max(added),
        "process_share_of_20ms_percent": bench.median(added) / 20_000 * 100,
        "records_accepted": sum(one["accepted"] for one in sent),
        "records_lost": sum(one["recorded"] - one["accepted"] for one in sent)}
    if PROPAGATION.exists():
        done = subprocess.run([str(PROPAGATION)], capture_output=True, text=True, check=True)
        figures.update(json.loads(done.stdout))
    bench.write_figures("client", figures, options.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bot"]:
        os.environ.pop("EPHOR_URL", None)
        bot(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
    else:
        main()
