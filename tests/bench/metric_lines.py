#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bodies of Influx lines as a trading fleet would send them, the same for every seed.

  python3 metric_lines.py FOLDER [--series 2000] [--steps 500] [--lines 5000] [--seed 1] [--start_s N]

writes FOLDER/00000.txt ...: `steps` seconds, in each one line of every series of tags, three fields a
line: a latency (log-normal noise, three decimals), a counter of orders, a price (a random walk of
cents). 2,000 sets of tags are 6,000 series, 500 steps 1,000,000 lines or 3,000,000 samples.
"""
import argparse
import random
from pathlib import Path

COMPONENTS = ("analyst", "strategist", "tactician", "supervisor", "exchange", "database", "gateway", "risk",
              "ledger", "feed")
SYMBOLS = tuple(f"{coin}USDT" for coin in (
    "BTC", "ETH", "SOL", "ADA", "XRP", "DOT", "BNB", "LTC", "TRX", "UNI", "ATOM", "AVAX", "LINK", "DOGE", "NEAR",
    "ETC", "FIL", "APT", "ARB", "OP"))


def tag_sets(count):
    """`measurement,tags` of each set, by component, symbol and instance."""
    sets = []
    for number in range(count):
        component = COMPONENTS[number % len(COMPONENTS)]
        symbol = SYMBOLS[number // len(COMPONENTS) % len(SYMBOLS)]
        instance = number // (len(COMPONENTS) * len(SYMBOLS))
        sets.append(f"bot,component={component},instance=i{instance:02d},symbol={symbol}")
    return sets


def lines(series=2000, steps=500, seed=1, start_s=1_700_000_000):
    """Every line, in order of time."""
    rng = random.Random(seed)
    sets = tag_sets(series)
    orders = [rng.randrange(100_000) for _ in sets]
    cents = [rng.randrange(100, 5_000_000) for _ in sets]
    for step in range(steps):
        time_ns = (start_s + step) * 1_000_000_000
        for i, tags in enumerate(sets):
            orders[i] += int(rng.expovariate(0.5))
            cents[i] = max(1, cents[i] + round(rng.gauss(0, 1 + cents[i] / 20_000)))
            latency = rng.lognormvariate(1.5, 0.4)
            yield (f"{tags} latency_ms={latency:.3f},orders={orders[i]}i,"
                   f"price={cents[i] // 100}.{cents[i] % 100:02d} {time_ns}\n")


def bodies(per_body=5000, **options):
    """The same lines, so many to a body."""
    body = []
    for line in lines(**options):
        body.append(line)
        if len(body) == per_body:
            yield "".join(body).encode()
            body = []
    if body:
        yield "".join(body).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    for name, default in (("series", 2000), ("steps", 500), ("lines", 5000), ("seed", 1), ("start_s", 1_700_000_000)):
        parser.add_argument("--" + name, type=int, default=default)
    options = vars(parser.parse_args())
    folder, per_body = options.pop("folder"), options.pop("lines")
    folder.mkdir(parents=True, exist_ok=True)
    for number, body in enumerate(bodies(per_body, **options)):
        (folder / f"{number:05d}.txt").write_bytes(body)


if __name__ == "__main__":
    main()
