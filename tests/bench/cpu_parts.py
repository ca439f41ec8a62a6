# SPDX-License-Identifier: Apache-2.0
"""Which part of the host spends the CPU: samples of `perf` with call chains, named by the first frame,
from the leaf up, that a rule knows. Without `perf` there is no table, and a line says so."""
import re
import shutil
import signal
import subprocess
import time
from collections import Counter

# (part, symbols), looked at in this order.
SYMBOLS = (
    ("zstd", r"ZSTD_|HUF_|FSE_|HIST_"),
    ("join index", r"Join(Keys|Index|Run|Tail|Page|Merge)|join_(index|merge|page)"),
    ("deduplication, log time", r"drop_duplicates|DedupWindow|LogTime"),
    ("door: OTLP", r"Otlp|otlp|ProtoReader|ProtoWriter"),
    ("door: lines", r"[Ii]nflux|MetricBatch|MadeEvent"),
    ("journal", r"SqliteJournal|Journal|encode_batch|batch_codec"),
    ("checkpoints, storage", r"Checkpoint|Storage|SqliteBackend|RowStatement"),
    ("door: JSON", r"simdjson|Describer|TypeRules|Door::|EventRules|BareRecord"),
    ("bus, dispatch", r"Bus::|Ring|Dispatcher|LogReader|Instance::"),
)
# (part of a file's name, part)
OBJECTS = (("tracer.so", "tracer"), ("metrics.so", "metrics"), ("http_api.so", "http_api"),
           ("libPoco", "http_api"), ("alerter.so", "other plugins"), ("trade_tracker.so", "other plugins"),
           ("ensemble_tracker.so", "other plugins"), ("ml_monitor.so", "other plugins"),
           ("reporter.so", "other plugins"))


class Recording:
    """Samples one process while the context lasts; `parts()` afterwards."""

    def __init__(self, process_id, folder, hertz=397):
        self.file = folder / "perf.data"
        self.process_id, self.hertz, self.perf = process_id, hertz, None

    def __enter__(self):
        if shutil.which("perf") is None:
            print("SKIPPED: no perf here, so no table of the CPU's parts")
            return self
        self.perf = subprocess.Popen(
            ["perf", "record", "-F", str(self.hertz), "--call-graph", "dwarf,8192", "-p", str(self.process_id),
             "-o", str(self.file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)  # until it samples
        return self

    def __exit__(self, *_):
        if self.perf is not None:
            self.perf.send_signal(signal.SIGINT)
            self.perf.wait()

    def parts(self):
        """{part: share of the samples}, greatest first; empty without perf."""
        if self.perf is None or not self.file.is_file():
            return {}
        text = subprocess.run(["perf", "script", "-i", str(self.file), "-F", "comm,tid,period,ip,sym,dso",
                               "--no-inline"], capture_output=True, text=True).stdout
        counts = Counter()
        for sample in text.split("\n\n"):
            frames = [(found[1], found[2]) for found in
                      (re.match(r"\s*[0-9a-f]+ (.*) \((.*)\)\s*$", line) for line in sample.split("\n")) if found]
            if frames:
                counts[part_of(frames)] += 1
        return {part: count / counts.total() for part, count in counts.most_common()}


def part_of(frames):
    is_sqlite = False
    for symbol, path in frames:
        is_sqlite = is_sqlite or "libsqlite3" in path
        if "libzstd" in path:
            return "zstd"
        for name, part in OBJECTS:
            if name in path:
                return part
        for part, pattern in SYMBOLS:
            if re.search(pattern, symbol):
                return f"{part} (SQLite)" if is_sqlite else part
    return "SQLite" if is_sqlite else "other"
