# SPDX-License-Identifier: Apache-2.0
"""What the benches share: arguments, recorded sessions, running the host, figures. Python 3 only."""
import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "release"
EPHOR = BUILD / "bin" / "ephor"
CONFIG = ROOT / "config" / "ephor.yaml"


def arguments(name, **more):
    """--data and --json, and `more` options {flag: (type, default, help)}."""
    parser = argparse.ArgumentParser(prog=f"script/bench {name}")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--json", type=Path)
    for flag, (kind, default, text) in more.items():
        parser.add_argument(f"--{flag}", type=kind, default=default, help=text)
    return parser.parse_args()


def manifest_files(folder):
    """Paths a folder's manifest.json names, those that are absent too; None without a manifest."""
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    files = json.loads(path.read_text()).get("files", [])
    names = [entry.get("file") if isinstance(entry, dict) else entry for entry in files]
    return [folder / name for name in names if name]


def sessions(data):
    """(recorded sessions, number of those named but absent) below data/session."""
    folder = data / "session"
    named = manifest_files(folder)
    if named is None:
        named = sorted(folder.glob("*.ndjson.gz")) or [folder / "btc.ndjson.gz"]
    named = [path for path in named if path.name.endswith(".ndjson.gz")]
    present = [path for path in named if path.is_file()]
    for path in named:
        if path not in present:
            print(f"absent: {path}")
    return present, len(named) - len(present)


def stem(session):
    return session.name.removesuffix(".ndjson.gz")


def truth_of(session):
    path = session.with_name(stem(session) + ".truth.json")
    return json.loads(path.read_text()) if path.is_file() else None


def truth_mismatches(summary, truth, is_quiet=False):
    """How many figures of the summary differ from the session's truth file; None without a truth."""
    if truth is None:
        return None
    by_type = truth.get("events_by_type", {})
    pairs = [("applied", truth.get("unique_events"), 0), ("duplicates", truth.get("duplicate_lines"), 0),
             ("spans", by_type.get("ephor.span"), 0), ("predictions", by_type.get("ephor.prediction"), 0),
             ("outcomes_joined", by_type.get("ephor.outcome"), 0),
             ("trades_closed", truth.get("trades_closed"), 0), ("trades_won", truth.get("trades_won"), 0)]
    if "final_equity" in truth:
        pairs.append(("pnl", truth["final_equity"] - 10000, 0.01))
    count = 0
    for key, expected, tolerance in pairs:
        if expected is None:
            continue
        found = summary.get(key)
        if found is None or abs(found - expected) > tolerance:
            if not is_quiet:
                print(f"differs from the truth: {key}: found {found}, expected {expected}")
            count += 1
    return count


def write_figures(name, figures, path):
    """Prints the figures and writes {"name", "figures"} where asked to; what is None is left out."""
    kept = {key: value for key, value in figures.items() if value is not None}
    width = max((len(key) for key in kept), default=0)
    for key, value in kept.items():
        print(f"{key:<{width}}  {value:,.6g}" if isinstance(value, float) else f"{key:<{width}}  {value}")
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"name": name, "figures": kept}, indent=1) + "\n")


def need(*paths):
    for path in paths:
        if not path.exists():
            sys.exit(f"bench: {path} is not there; build release with EPHOR_BUILD_BENCH=ON")


def median(values):
    return statistics.median(values) if values else None


def quantile(values, share):
    """Nearest rank: the least value that at least `share` of the values do not exceed."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[max(0, min(len(ranked) - 1, -int(-share * len(ranked) // 1) - 1))]


@contextlib.contextmanager
def scratch():
    """A new folder beside the build (a real disk, not a tmpfs): fsync has to cost what it costs."""
    parent = ROOT / "build" / "bench-data"
    parent.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def measured_run(command):
    """Runs to the end: {"wall_seconds", "cpu_seconds", "peak_rss_mb"} of it and its children."""
    begin = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"bench: {' '.join(map(str, command))}: exit {process.returncode}\n{errors[-4000:]}")
    return {"wall_seconds": wall, "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "peak_rss_mb": usage.ru_maxrss / 1024}


class Server:
    """A host on a free port of loopback with the shipped configuration and a new data folder."""

    def __init__(self, data_dir, settings=()):
        self.data_dir = data_dir
        address_file = data_dir.parent / (data_dir.name + ".address")
        self.log = (data_dir.parent / (data_dir.name + ".log")).open("w+")
        command = [EPHOR, "run", "--config", CONFIG, "--data-dir", data_dir,
                   "--set", "plugins.http_api.config.listen=127.0.0.1:0",
                   "--set", f"plugins.http_api.config.address_file={address_file}"]
        for setting in settings:
            command += ["--set", setting]
        begin = time.monotonic()
        self.process = subprocess.Popen([str(part) for part in command], stdout=self.log,
                                        stderr=subprocess.STDOUT)
        self.url = self._wait_for(lambda: address_file.is_file() and address_file.read_text().strip())
        self.url = self.url.splitlines()[0].rstrip("/")
        if not self.url.startswith("http"):
            self.url = "http://" + self.url
        self._wait_for(lambda: self.try_get("/health/ready") is not None)
        self.ready_seconds = time.monotonic() - begin

    def _wait_for(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if found := condition():
                return found
            time.sleep(0.01)
        self.log.seek(0)
        text = self.log.read()[-4000:]
        self.stop()
        sys.exit(f"bench: the host did not get ready\n{text}")

    def request(self, method, path, body=None, content_type="application/json"):
        """(JSON answer or None, sequence it is as of or None); raises HTTPError."""
        request = urllib.request.Request(self.url + path, data=body, method=method)
        if body is not None:
            request.add_header("Content-Type", content_type)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            as_of = answer.headers.get("Ephor-As-Of-Sequence")
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        return value, int(as_of) if as_of else None

    def get(self, path):
        return self.request("GET", path)[0]

    def try_get(self, path):
        try:
            return self.get(path) or {}
        except (urllib.error.URLError, OSError):
            return None

    def usage(self):
        """(CPU seconds, resident MiB, peak resident MiB) of the host so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        status = dict(line.split(":", 1) for line in
                      Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        return cpu, int(status["VmRSS"].split()[0]) / 1024, int(status["VmHWM"].split()[0]) / 1024

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.log.close()
