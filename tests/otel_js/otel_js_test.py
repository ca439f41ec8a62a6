# SPDX-License-Identifier: Apache-2.0
"""OpenTelemetry's own SDK for JavaScript, unmodified, against a real host: 100 traces each as protobuf and as
JSON, plain and gzip, read back through Jaeger's query API and compared span by span with what was put in.

The SDK is installed by `npm ci` from the lock file into the build folder, once; without node, npm or the
network the test is skipped and says so. EPHOR_OTEL_JS_MODULES names a folder that has node_modules already."""
import json
import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import ephor_e2e as e2e  # noqa: E402

HERE = Path(__file__).resolve().parent
TRACES = 100
# The marks that say how a span was brought in, of the Jaeger model itself.
OWN_TAGS = {"span.kind", "error", "otel.status_code", "otel.status_description", "otel.scope.name",
            "otel.scope.version", "component", "correlation.id", "w3c.tracestate"}


def skip(why):
    print(f"SKIPPED: {why}", flush=True)
    raise unittest.SkipTest(why)


def modules():
    """A folder with send.mjs beside the node_modules of the lock file."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            skip(f"{program} is not installed")
    folder = Path(os.environ.get("EPHOR_OTEL_JS_MODULES", e2e.BUILD / "tests" / "otel_js"))
    folder.mkdir(parents=True, exist_ok=True)
    mark, wanted = folder / "node_modules" / ".ephor-lock", (HERE / "package-lock.json").read_text()
    if not mark.is_file() or mark.read_text() != wanted:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder / name)
        try:
            done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder,
                                  capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            skip("npm ci took more than 300 s")
        if done.returncode != 0:
            skip(f"npm ci: {done.stderr.strip()[-300:]}")
        mark.write_text(wanted)
    shutil.copy(HERE / "send.mjs", folder / "send.mjs")
    return folder


def value_of(tag):
    """An attribute as Jaeger writes it. Arrays travel as their JSON text."""
    expected = {"string": str, "bool": bool, "int64": int, "float64": (int, float)}[tag["type"]]
    if not isinstance(tag["value"], expected) or (tag["type"] != "bool" and isinstance(tag["value"], bool)):
        raise AssertionError(f"a tag of type {tag['type']} with the value {tag['value']!r}")
    return tag["value"]


def tags_of(tags):
    found = {tag["key"]: value_of(tag) for tag in tags}
    if len(found) != len(tags):
        raise AssertionError(f"a key twice: {[tag['key'] for tag in tags]}")
    return found


def as_tags(attributes):
    """What was put in, as it has to come out."""
    return {name: Array(value) if isinstance(value, list) else value for name, value in attributes.items()}


class Array(list):
    """Equal to its JSON text, however that is spaced."""

    def __eq__(self, other):
        return isinstance(other, str) and json.loads(other) == list(self)

    __hash__ = None


class OtelJs(e2e.TestCase):
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.modules = modules()

    def send(self, host, form, compression, seed):
        url = "http://%s:%d" % host.address
        done = subprocess.run(["node", "send.mjs", url, form, compression, str(TRACES), str(seed)],
                              cwd=self.modules, capture_output=True, text=True, timeout=e2e.PATIENCE_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("rror", done.stderr)
        spans = json.loads(done.stdout)
        traces = {}
        for span in spans:
            traces.setdefault(span["trace_id"], {})[span["span_id"]] = span
        self.assertEqual(len(traces), TRACES)
        return traces

    def assert_span(self, found, process, expected):
        expected_references = []
        if expected["parent_id"]:
            expected_references.append(("CHILD_OF", expected["trace_id"], expected["parent_id"]))
        expected_references += [("FOLLOWS_FROM", link["trace_id"], link["span_id"]) for link in expected["links"]]
        self.assertEqual([(one["refType"], one["traceID"], one["spanID"]) for one in found["references"]],
                         expected_references)
        links = [one for one in found["references"] if one["refType"] == "FOLLOWS_FROM"]
        for one, link in zip(links, expected["links"]):
            self.assertEqual(tags_of(one.get("attributes", [])), as_tags(link["attributes"]))
        self.assertEqual(found["operationName"], expected["name"])
        # Jaeger's model has microseconds; the exact times stand beside them.
        start, end = int(expected["start_ns"]), int(expected["end_ns"])
        self.assertEqual((found["startTime"], found["duration"]), (start // 1000, (end - start) // 1000))
        self.assertEqual((found["startTimeUnixNano"], found["endTimeUnixNano"]),
                         (expected["start_ns"], expected["end_ns"]))
        tags = tags_of(found["tags"])
        self.assertEqual({key: value for key, value in tags.items() if key not in OWN_TAGS},
                         as_tags(expected["attributes"]))
        self.assertEqual(tags.get("span.kind"), expected["kind"])
        self.assertEqual(tags.get("otel.status_code", "UNSET"), expected["status"].upper())
        self.assertEqual(tags.get("error", False), expected["status"] == "error")
        self.assertEqual(tags.get("otel.status_description", ""), expected["message"])
        self.assertEqual((tags.get("otel.scope.name"), tags.get("otel.scope.version", "")),
                         (expected["scope"]["name"], expected["scope"]["version"]))
        self.assertEqual(process["serviceName"], expected["service"])
        self.assertEqual(tags_of(process["tags"]),
                         {key: value for key, value in expected["resource"].items() if key != "service.name"})
        self.assertEqual(len(found["logs"]), len(expected["events"]))
        for log, event in zip(found["logs"], expected["events"]):
            self.assertEqual(log["timestamp"], int(event["time_ns"]) // 1000)
            self.assertEqual(log["timeUnixNano"], event["time_ns"])
            self.assertEqual(tags_of(log["fields"]), {"event": event["name"], **as_tags(event["attributes"])})

    def test_every_form_comes_back_span_by_span(self):
        with e2e.Host(self.folder / "data") as host:
            for seed, (form, compression) in enumerate([("proto", "none"), ("proto", "gzip"), ("json", "none"),
                                                        ("json", "gzip")], 1):
                with self.subTest(form=form, compression=compression):
                    whole = 0
                    traces = self.send(host, form, compression, seed)
                    for trace_id, spans in traces.items():
                        answer = host.get(f"/api/traces/{trace_id}")  # acknowledged is readable, at once
                        trace, = answer["data"]
                        self.assertEqual(trace["traceID"], trace_id)
                        found = {span["spanID"]: span for span in trace["spans"]}
                        self.assertEqual(len(found), len(trace["spans"]))
                        self.assertEqual(set(found), set(spans))
                        for span_id, expected in spans.items():
                            with self.subTest(trace=trace_id, span=span_id):
                                self.assertEqual(found[span_id]["traceID"], trace_id)
                                self.assert_span(found[span_id],
                                                 trace["processes"][found[span_id]["processID"]], expected)
                        whole += 1
                    print(f"{form}, {compression}: {whole} of {TRACES} traces whole", flush=True)
                    self.assertEqual(whole, TRACES)
            services = host.get("/api/services")["data"]
            self.assertLessEqual({"bot", "exchange-gateway", "mod\u00e8le-\u00e4"}, set(services))


if __name__ == "__main__":
    unittest.main()
