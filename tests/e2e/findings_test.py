#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Planted faults are found: each fault of the simulator leads to its finding, inside its window and
with the right target; a session without faults leads to none; the recorded session's faults too."""
import json
from datetime import datetime, timedelta, timezone

from ephor_e2e import TestCase, cli, main, replay, shared

# What the simulator calls a fault, and what the plugins call what they see.
FINDING_OF = {
    "feature_drift": "feature_drift",
    "broken_model": "concept_drift",
    "concept_drift": "concept_drift",
    "latency_regression": "latency_regression",
    "error_burst": "error_burst",
    "overconfidence": "overconfidence",
    "stale_output": "stale_output",
}
TARGETS = {
    "feature_drift": "volume_z",
    "broken_model": "xgb_flow",
    "latency_regression": "tactician/size_position",
    "error_burst": "strategist/risk_check",
    "overconfidence": "lstm_sequence",
    "stale_output": "forest_swing",
}
MEMBERS = ("finding_id", "kind", "target", "target_kind", "state", "severity", "onset", "detected", "closed",
           "summary", "evidence")


def moment(text):
    return datetime.fromisoformat(text[:19]).replace(tzinfo=timezone.utc)


class Findings(TestCase):
    def findings(self, hours, seed, *faults):
        name = f"s{seed}-{'-'.join(one.split(':')[0] for one in faults) or 'none'}"
        file = self.folder / f"{name}.ndjson"
        arguments = [word for one in faults for word in ("--fault", one)]
        cli("simulate", "--hours", hours, "--seed", seed, "--out", file, *arguments)
        summary, _ = replay(file, self.folder / name)
        self.check_shape(summary["findings"])
        return summary["findings"]

    def check_shape(self, findings):
        ids = [one["finding_id"] for one in findings]
        self.assertEqual(len(ids), len(set(ids)), ids)
        for one in findings:
            for member in MEMBERS:
                self.assertIn(member, one)
            self.assertIn(one["state"], ("open", "closed"))
            self.assertIn(one["severity"], ("info", "warning", "critical"))
            self.assertEqual(one["state"] == "closed", one["closed"] is not None, one["finding_id"])
            self.assertTrue(one["summary"] and one["evidence"], one["finding_id"])
            if one["onset"] is not None:
                self.assertLessEqual(moment(one["onset"]), moment(one["detected"]))

    def require(self, findings, kind, target, begin, end):
        """One that was detected from `begin` to `end`."""
        found = [one for one in findings if one["kind"] == kind and one["target"] == target and
                 begin <= moment(one["detected"]) <= end]
        self.assertTrue(found, f"no {kind} of {target} detected from {begin} to {end}; there are "
                               f"{[(one['kind'], one['target'], one['detected']) for one in findings]}")
        return found[0]


class Simulated(Findings):
    def test_each_fault_leads_to_its_finding(self):
        start = datetime(2025, 1, 1, tzinfo=timezone.utc)
        for kind, target in TARGETS.items():
            with self.subTest(kind):
                findings = self.findings(24, 5, f"{kind}:{target}:12:18")
                self.require(findings, FINDING_OF[kind], target, start + timedelta(hours=12),
                             start + timedelta(hours=18))

    def test_without_faults_there_is_none(self):
        for seed in (11, 12):
            with self.subTest(seed=seed):
                self.assertEqual([(one["kind"], one["target"]) for one in self.findings(24, seed)
                                  if one["severity"] != "info"], [])

    def test_the_same_seed_gives_the_same_bytes(self):
        for name in ("one", "two"):
            cli("simulate", "--hours", 24, "--seed", 1, "--out", self.folder / name)
        one = (self.folder / "one").read_bytes()
        self.assertEqual(one, (self.folder / "two").read_bytes())
        cli("simulate", "--hours", 24, "--seed", 2, "--out", self.folder / "other")
        self.assertNotEqual(one, (self.folder / "other").read_bytes())


class Recorded(Findings):
    def test_the_planted_faults_are_found_in_their_windows(self):
        session, truth = shared("session", "btc.ndjson.gz"), shared("session", "btc.truth.json")
        summary, _ = replay(session, self.folder / "btc")
        findings = summary["findings"]
        self.check_shape(findings)
        for fault in json.loads(truth.read_text())["faults"]:
            with self.subTest(fault["kind"]):
                self.require(findings, FINDING_OF[fault["kind"]], fault["target"], moment(fault["from"]),
                             moment(fault["to"]))
        for kind in ("latency_regression", "error_burst"):
            self.assertEqual(sum(one["kind"] == kind for one in findings), 1, kind)


if __name__ == "__main__":
    main()
