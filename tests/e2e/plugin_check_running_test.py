#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every check of a running plugin (threads, events, queries, state, host_failures, skew) can fail:
for each one, tests/plugins/bad/bad_running.c is compiled with its defect, must fail the check of
that name and say what the table below expects. Without a defect it passes all of them."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("EPHOR_BUILD_DIR", ROOT / "build" / "release"))
EPHOR = BUILD / "bin" / "ephor"
SOURCE = ROOT / "tests" / "plugins" / "bad" / "bad_running.c"
COMPILER = shutil.which("cc") or shutil.which("gcc")
GROUPS = ("threads", "events", "queries", "state", "host_failures", "skew")

CRASHED = "crashed"
# The check: a part of its message, and how it ends if not with "failed".
BAD = {
    "threads/any_thread": ("called on another thread",),
    "threads/tags_under_traffic": ("publish was called from save",),
    "threads/concurrent_queries": ("signal 6", CRASHED),
    "threads/instances_in_parallel": ("another instance is busy",),
    "threads/silent_after_stop": ("a call of log after stop has returned",),
    "threads/traffic_leaves_no_thread": ("1 more threads after stop",),
    "threads/tasks_end": ("tasks that ran for",),

    "events/documented": ("a valid ephor.metric fails",),
    "events/any_slices": ("events one by one and slices of 256 differ",),
    "events/is_deterministic": ("a run and the next over the same events differ",),
    "events/saves_disturb_nothing": ("a run with one save and one with many differ",),
    "events/batch_sizes": ("more than 128 events",),
    "events/sequence_gaps": ("a gap in the log",),
    "events/time_going_back": ("time goes back",),
    "events/extreme_times": ("call on_events at 1969", CRASHED),
    "events/flags": ("an unknown flag",),
    "events/otlp": ("found no JSON",),
    "events/unknown_topics": ("a topic it did not ask for", CRASHED),
    "events/no_endless_derivation": ("it still publishes running.tenth",),
    "events/copies_what_it_keeps": ("call on_events", CRASHED),
    "events/soak": ("memory grows by",),
    "events/wrong_types": ("is null", CRASHED),
    "events/missing_members": ("without members", CRASHED),
    "events/unknown_members": ("with unknown members", CRASHED),
    "events/extreme_values": ("call on_events", CRASHED),
    "events/deep_nesting": ("000 deep", CRASHED),
    "events/no_data": ("without data", CRASHED),
    "events/truncated_json": ("cut after 0 bytes", CRASHED),
    "events/invalid_utf8": ("is no text", CRASHED),
    "events/random_bytes": ("of seed 1", CRASHED),
    "events/otlp_bytes": ("of OTLP cut after 0 bytes", CRASHED),
    "events/unknown_encodings": ("of encoding 2", CRASHED),

    "queries/answers_are_json": ("expected one JSON value",),
    "queries/reads_succeed": ("INTERNAL (11): lost",),
    "queries/answers_fit_schemas": ("/api/running/count at /count",),
    "queries/schemas_are_schemas": ('"objekt"',),
    "queries/paths_are_distinct": ("/api/running/items/{name}",),
    "queries/before_the_first_event": ("divided by zero",),
    "queries/unknown_ids": ("nobody has this id",),
    "queries/survives_bad_input": ("x_unknown", CRASHED),
    "queries/hostile_parameters": ("syntax error",),
    "queries/repeatable": ("differ in their answers",),
    "queries/reads_disturb_nothing": ("one with GETs in between differ",),
    "queries/deadlines": ("GET /api/running/count back after",),
    "queries/pending_are_finished": ("GET /api/running/later finished 0 times",),

    "state/round_trip": ("the instance that saved and the one that loaded differ",),
    "state/goes_on_after_a_crash": ("one that crashed and went on behind event 1 differ",),
    "state/save_twice": ("expected the same state",),
    "state/rows_fit": ("save failed with INVALID (2): row of counts, column count",),
    "state/fresh_state": ("load of what save wrote fails",),
    "state/stays_bounded": ("expected a bound",),
    "state/random_state": ("random bytes, number 0 of seed 1", CRASHED),
    "state/truncated_state": ("its own state, cut after 0 of 24 bytes", CRASHED),
    "state/flipped_state": ("flipped", CRASHED),
    "state/other_versions": ("it takes a state of version 8",),
    "state/failed_load_leaks_nothing": ("more blocks of memory after 100 failed loads",),

    "host_failures/optional_absent": ("this host has no log",),
    "host_failures/required_absent": ("a message that names ephor.query/1",),
    "host_failures/any_absent": ("without ephor.metrics/1", CRASHED),
    "host_failures/each_call_in_create": ("call create in which host call", CRASHED),
    "host_failures/failed_create_leaks_nothing": ("more blocks of memory",),
    "host_failures/each_call_in_running": ("call on_events in which host call", CRASHED),
    "host_failures/publish_full": ("call on_events in which host call 1 fails", CRASHED),
    "host_failures/save_tells": ("save reports success, though upsert had failed",),
    "host_failures/state_writer_fails": ("save reports success, though its state",),
    "host_failures/reply_writer_fails": ("whose asker has gone", CRASHED),
    "host_failures/select_fails": ("no database",),
    "host_failures/random_failures": ("of seed 1", CRASHED),
    "host_failures/no_memory_in_create": ("call create whose allocation 1 fails", CRASHED),
    "host_failures/no_memory_in_start": ("call start whose allocation 1 fails", CRASHED),
    "host_failures/no_memory_in_events": ("call on_events whose allocation 1 fails", CRASHED),
    "host_failures/no_memory_in_save": ("call save whose allocation 1 fails", CRASHED),
    "host_failures/no_memory_in_load": ("call load whose allocation 1 fails", CRASHED),
    "host_failures/no_memory_in_queries": ("whose allocation 1 fails", CRASHED),

    "skew/newer_host": ("a host of another size",),
    "skew/oldest_host": ("a host that is too old",),
    "skew/reads_within_tables": ("signal 11", CRASHED),
    "skew/padded_errors": ("wrote behind the error",),
    "skew/padded_replies": ("a reply of another host",),
    "skew/padded_saves": ("rows of another host",),
    "skew/larger_out": ("out->struct_size 128",),
    "skew/unknown_statuses": ("answers status 99", CRASHED),
    "skew/unknown_mode": ("an unknown mode",),
}


def run(words, **more):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=400, check=False, **more)


def compiled(directory, name, defect):
    """The plugin with this defect, as directory/NAME.so."""
    out = directory / f"{name}.so"
    built = run([COMPILER, "-std=gnu11", "-fPIC", "-shared", "-fvisibility=hidden",
                 f"-I{ROOT / 'sdk' / 'include'}", f'-DPLUGIN_ID="{name}"', f'-DDEFECT="{defect}"',
                 SOURCE, "-lpthread", "-o", out])
    if built.returncode != 0:
        raise AssertionError(f"{name}: {built.stderr}")
    return out


def checked(library, only, *words):
    ran = run([EPHOR, "plugin", "check", library, "--format", "json", "--only", only, *words])
    if not ran.stdout:
        raise AssertionError(f"no report: {ran.stderr}")
    return ran.returncode, json.loads(ran.stdout)


@unittest.skipUnless(COMPILER, "no C compiler: bad plugins cannot be made")
class BadRunningPlugins(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="ephor-bad-running-")
        cls.directory = pathlib.Path(cls.scratch.name)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def test_each_check_has_its_defect(self):
        listed = json.loads(run([EPHOR, "plugin", "check", "--list", "--format", "json"]).stdout)
        self.assertEqual(sorted(one["check"] for one in listed
                                if one["check"].split("/")[0] in GROUPS), sorted(BAD))
        self.assertGreaterEqual(len(BAD), 35)

    def test_the_good_plugin_passes_all(self):
        library = compiled(self.directory, "running", "")
        code, report = checked(library, ",".join(GROUPS), "--timeout", "60")
        # One that is skipped would show nothing.
        bad = [(one["check"], one["outcome"], one["message"]) for one in report["results"]
               if one["outcome"] != "passed"]
        self.assertEqual(bad, [])
        self.assertEqual(code, 0)

    def test_each_defect_fails_its_check(self):
        def look(item):
            name, (says, *rest) = item
            outcome = rest[0] if rest else "failed"
            library = compiled(self.directory, name.replace("/", "_"), name)
            code, report = checked(library, name, "--jobs", "1", "--timeout", "60")
            result = report["results"][0]
            if (result["check"], result["outcome"]) != (name, outcome) or code != 1:
                return [f"{name}: found {result['outcome']}, exit code {code}, expected {outcome} "
                        f"and 1: {result['message']}"]
            if says not in result["message"]:
                return [f"{name}: found \"{result['message']}\", expected \"{says}\""]
            return []

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            problems = [line for found in pool.map(look, BAD.items()) for line in found]
        self.assertEqual(problems, [])


if __name__ == "__main__":
    if not EPHOR.exists():
        sys.exit(f"{EPHOR}: not built")
    unittest.main()
