#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The fourteen endpoints of the user's plan, over HTTP, against figures recomputed from the session's
lines: /api/metrics/{dashboard, history/{metric_name}, performance, system-health}, /api/ml/{models, drift,
features, ensembles}, /api/tracing/{correlation/{id}, performance, errors}, /api/reports/{schedule, history,
generate}."""
import collections
import json
import math
import time
from datetime import datetime, timedelta, timezone

from ephor_e2e import PATIENCE_S, Figures, Host, TestCase, lower_quantile, main, read_lines, shared, simulate

JSON = {"Content-Type": "application/json"}


def mean(values):
    return math.fsum(values) / len(values)


def wilson(correct, total, z=1.959963984540054):
    """Wilson (1927), 95 %."""
    share, square = correct / total, z * z
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = z * math.sqrt(share * (1 - share) / total + square / (4 * total * total)) / (1 + square / total)
    return centre - half, centre + half


class Second(Figures):
    """What the plan's endpoints must say, computed from the lines once more."""

    def __init__(self, lines):
        super().__init__(lines)
        self._metrics()
        self._scores()
        self._decisions()

    def _metrics(self):
        self.series = collections.defaultdict(list)  # (name, labels): [(time, value)]
        for event in self.of("ephor.metric"):
            data = event["data"]
            key = (data["name"], json.dumps(data.get("labels", {}), sort_keys=True))
            self.series[key].append((event["time"], data["value"]))

    def _scores(self):
        """Per model: classes predicted and true, confidence, probabilities."""
        predicted = {event["data"]["prediction_id"]: event for event in self.of("ephor.prediction")}
        self.judged = collections.defaultdict(list)
        for event in self.of("ephor.outcome"):
            prediction = predicted.pop(event["data"].get("prediction_id"), None)
            if prediction is not None:
                self.judged[prediction["data"]["model_id"]].append((prediction, event["data"]["actual"]))

    def scores(self, model):
        pairs = [(event["data"]["prediction"], actual) for event, actual in self.judged[model]]
        classes = sorted({one for pair in pairs for one in pair})
        f1 = []
        for name in classes:
            hits = sum(a == b == name for a, b in pairs)
            said = sum(a == name for a, _ in pairs)
            true = sum(b == name for _, b in pairs)
            f1.append(0.0 if said + true == 0 else 2 * hits / (said + true))
        brier, log_loss, bins = [], [], collections.defaultdict(list)
        for event, actual in self.judged[model]:
            probability = event["data"]["probability"]
            brier.append(math.fsum((p - (name == actual)) ** 2 for name, p in probability.items()) +
                         (0.0 if actual in probability else 1.0))
            log_loss.append(-math.log(min(1.0, max(2.0 ** -52, probability.get(actual, 0.0)))))
            confidence = event["data"]["confidence"]
            bins[min(9, int(confidence * 10))].append((confidence, event["data"]["prediction"] == actual))
        total = sum(map(len, bins.values()))
        ece = math.fsum(len(one) / total * abs(mean([c for c, _ in one]) - mean([h for _, h in one]))
                        for one in bins.values())
        return {"accuracy": mean([a == b for a, b in pairs]), "f1_macro": mean(f1), "brier_score": mean(brier),
                "log_loss": mean(log_loss), "expected_calibration_error": ece}

    def _decisions(self):
        """Decisions, and per (regime, member) how often the member was right: outcomes come by the
        correlation id of the request that led to the decision."""
        actual = {}
        for event in self.of("ephor.outcome"):
            if "correlationid" in event:
                actual[(event["correlationid"], event["data"].get("model_id"))] = event["data"]["actual"]
        self.final = collections.Counter()
        self.by_regime = collections.Counter()
        self.member_hits = collections.defaultdict(lambda: [0, 0])         # model: [right, known]
        self.regime_member_hits = collections.defaultdict(lambda: [0, 0])  # (regime, model)
        self.final_hits = [0, 0]
        self.final_by_regime = collections.defaultdict(lambda: [0, 0])
        self.meta_hits = [0, 0]
        self.consensus = []
        seen = set()
        for event in self.of("ephor.ensemble_decision"):
            data = event["data"]
            if data["decision_id"] in seen:
                continue
            seen.add(data["decision_id"])
            self.final[data["final_decision"]] += 1
            self.by_regime[data["regime"]] += 1
            self.consensus.append(data["consensus_level"])
            truth = None
            for model, said in data["individual_predictions"].items():
                known = actual.get((event.get("correlationid"), model))
                if known is None:
                    continue
                truth = known
                for tally in (self.member_hits[model], self.regime_member_hits[(data["regime"], model)]):
                    tally[0] += said["prediction"] == known
                    tally[1] += 1
            if truth is not None:
                for tally, said in ((self.final_hits, data["final_decision"]),
                                    (self.final_by_regime[data["regime"]], data["final_decision"]),
                                    (self.meta_hits, data["meta_learner_prediction"])):
                    tally[0] += said == truth
                    tally[1] += 1


class Plan(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lines = cls.session_lines()
        cls.figures = Second(cls.lines)
        cls.host = Host(cls.folder / "host", "log_time.idle_flush_s=2").start()
        total = cls.host.post_all(cls.lines, connections=1, batch=2000)
        cls.sequence = total["last_sequence"]
        for path in ("/api/tracing/errors", "/api/ml/models", "/api/performance", "/api/ml/ensembles",
                     "/api/metrics/dashboard", "/api/alerts"):
            cls.host.get(path, after_sequence=cls.sequence)
        cls.wait_for_flush()

    @classmethod
    def wait_for_flush(cls):
        """The last minutes of a recording wait for log time; the flush after it releases them."""
        deadline = time.monotonic() + PATIENCE_S
        while cls.host.get("/api/ml/ensembles")["over"]["waiting_for_log_time"] > 0:
            if time.monotonic() > deadline:
                raise AssertionError("no flush came")
            time.sleep(0.1)

    @classmethod
    def session_lines(cls):
        return read_lines(simulate(cls.folder, hours=36)[0])

    @classmethod
    def tearDownClass(cls):
        if cls.__dict__.get("host") or hasattr(cls, "host"):
            cls.host.__exit__(None, None)
        super().tearDownClass()

    # ---- metrics

    def test_metrics_history(self):
        for (name, labels), points in self.figures.series.items():
            answer = self.host.get(f"/api/metrics/history/{name}", resolution="raw", limit=100000)
            series = next(one for one in answer["series"] if one["labels"] == json.loads(labels))
            found = [(one["time"], one["value"]) for one in series["points"]]
            expected = sorted(points)[-len(found):]
            self.assertEqual(len(found), min(len(points), 1000), name)
            self.assertEqual([value for _, value in found], [value for _, value in expected], name)
            self.check_rollups(name, json.loads(labels), points)

    def check_rollups(self, name, labels, points):
        hours = collections.defaultdict(list)
        for time, value in points:
            hours[time[:13]].append(value)
        answer = self.host.get(f"/api/metrics/history/{name}", resolution=3600, limit=10000)
        series = next(one for one in answer["series"] if one["labels"] == labels)
        found = {one["time"][:13]: one for one in series["points"]}
        for hour, one in found.items():
            values = hours[hour]
            self.assertEqual(one["count"], len(values), (name, hour))
            self.assertEqual((one["min"], one["max"]), (min(values), max(values)), (name, hour))
            self.assert_close(one["mean"], mean(values), 1e-9 * max(1.0, abs(mean(values))), (name, hour))
        self.assertEqual(set(found), set(sorted(hours)[-len(found):]), name)

    def test_metrics_dashboard(self):
        answer = self.host.get("/api/metrics/dashboard")
        for section, figure, expected in (
                ("trade_tracker", "trades_closed", len(self.figures.closed)),
                ("tracer", "spans", self.figures.types["ephor.span"]),
                ("ml_monitor", "predictions", sum(self.figures.predictions.values()))):
            self.assertEqual(answer["plugins"][section][figure], expected, (section, figure))
        latest = {(one["name"], json.dumps(one["labels"], sort_keys=True)): one["value"]
                  for one in answer["metrics"]}
        self.assertEqual(latest, {key: max(points)[1] for key, points in self.figures.series.items()})

    def test_metrics_performance_is_what_the_owners_say(self):
        answer = self.host.get("/api/metrics/performance")
        trading = self.host.get("/api/performance")
        for figure in ("pnl", "trades", "closed", "won", "win_rate", "profit_factor"):
            self.assertEqual(answer["trading"][figure], trading[figure], figure)
        self.assert_close(answer["trading"]["pnl"], self.figures.pnl, 1e-6, "pnl")
        self.assertEqual(answer["latency"]["all"], self.host.get("/api/tracing/performance")["all"])
        models = {one["model_id"]: one for one in answer["models"]}
        for model in self.figures.predictions:
            self.assert_close(models[model]["accuracy"], self.figures.accuracy(model), 1e-12, model)

    def test_metrics_system_health(self):
        answer = self.host.get("/api/metrics/system-health")
        pid = self.host.process.pid
        with open(f"/proc/{pid}/status") as status:
            facts = dict(line.split(":", 1) for line in status)
        rss = int(facts["VmRSS"].split()[0]) * 1024
        self.assert_close(answer["process"]["rss_bytes"], rss, 0.3 * rss, "rss")
        self.assert_close(answer["process"]["threads"], int(facts["Threads"]), 20, "threads")
        instances = {one["instance"]: one for one in answer["instances"]}
        self.assertLessEqual({"tracer", "ml_monitor", "trade_tracker", "metrics"}, set(instances))
        for name, one in instances.items():
            self.assertEqual((one["state"], one["lag_events"]), ("running", 0), name)

    # ---- ml

    def test_ml_models(self):
        answer = self.host.get("/api/ml/models")
        found = {one["model_id"]: one for one in answer["models"]}
        self.assertEqual(set(found), set(self.figures.predictions))
        for model, one in found.items():
            self.assertEqual((one["predictions"], one["outcomes_joined"], one["correct"]),
                             (self.figures.predictions[model], self.figures.joined[model],
                              self.figures.correct[model]), model)
            for figure, expected in self.figures.scores(model).items():
                self.assert_close(one[figure], expected, 1e-9, (model, figure))
            low, high = wilson(self.figures.correct[model], self.figures.joined[model])
            self.assert_close(one["accuracy_low_95"], low, 1e-9, model)
            self.assert_close(one["accuracy_high_95"], high, 1e-9, model)
            self.check_parts(model)

    def check_parts(self, model):
        """Versions and regimes of one model: counts of versions are exact, those of regimes add up."""
        detail = self.host.get(f"/api/ml/models/{model}")
        versions = collections.defaultdict(lambda: [0, 0])
        for event, actual in self.figures.judged[model]:
            tally = versions[event["data"]["model_version"]]
            tally[0] += event["data"]["prediction"] == actual
            tally[1] += 1
        found = {name: (one["correct"], one["outcomes_joined"]) for name, one in detail["versions"].items()}
        self.assertEqual(found, {name: tuple(tally) for name, tally in versions.items()}, model)
        self.assertEqual(sum(one["outcomes_joined"] for one in detail["regimes"].values()),
                         self.figures.joined[model], model)

    def test_ml_drift(self):
        answer = self.host.get("/api/ml/drift")
        summary = self.host.query("ml_monitor.summary")
        self.assertEqual(answer["findings"], summary["findings"])
        self.assertEqual({one["model_id"] for one in answer["models"]}, set(self.figures.predictions))
        features = {name for event in self.figures.of("ephor.features") for name in event["data"]["features"]}
        self.assertEqual({one["feature"] for one in answer["features"]}, features)

    def test_ml_features(self):
        values = collections.defaultdict(list)
        for event in self.figures.of("ephor.features"):
            for name, value in event["data"]["features"].items():
                values[name].append(value)
        found = {one["feature"]: one for one in self.host.get("/api/ml/features")["features"]}
        self.assertEqual(set(found), set(values))
        for name, one in found.items():
            self.assertEqual(one["count"], len(values[name]), name)
            scale = max(1e-12, max(map(abs, values[name])))
            self.assert_close(one["mean"], mean(values[name]), 1e-9 * scale, name)

    def test_ml_ensembles(self):
        answer = self.host.get("/api/ml/ensembles")
        self.assertEqual(len(answer["ensembles"]), 1)
        one = answer["ensembles"][0]
        self.assertEqual(one["decisions"], len(self.figures.decisions))
        self.assertEqual(one["by_final_decision"], dict(self.figures.final))
        members = {member["model_id"]: member for member in one["members"]}
        self.assertEqual(set(members), set(self.figures.member_hits))
        for model, (right, known) in self.figures.member_hits.items():
            self.check_tally(members[model], right, known, model)
        self.check_tally(one["accuracy"]["final_decision"], *self.figures.final_hits, "final")
        self.check_tally(one["accuracy"]["meta_learner"], *self.figures.meta_hits, "meta learner")
        self.assert_close(one["agreement"]["consensus_level_told"], mean(self.figures.consensus), 1e-9, "consensus")
        regimes = one["by_regime"]
        self.assertEqual({name: row["decisions"] for name, row in regimes.items()}, dict(self.figures.by_regime))
        for regime, row in regimes.items():
            self.check_tally(row["accuracy"]["final_decision"], *self.figures.final_by_regime[regime], regime)
            for model, member in row["members"].items():
                self.check_tally(member, *self.figures.regime_member_hits[(regime, model)], (regime, model))

    def check_tally(self, found, right, known, what):
        self.assertEqual((found["correct"], found["n"]), (right, known), what)
        if known:
            self.assert_close(found["accuracy"], right / known, 1e-12, what)
            for bound, expected in zip(found["interval"], wilson(right, known)):
                self.assert_close(bound, expected, 1e-9, what)

    # ---- tracing

    def test_tracing_performance(self):
        answer = self.host.get("/api/tracing/performance")
        found = {(one["component"], one["operation"]): one for one in answer["operations"]}
        self.assertEqual(set(found), set(self.figures.durations_ns))
        for key, durations in self.figures.durations_ns.items():
            one = found[key]
            self.assertEqual((one["count"], one["errors"]), (len(durations), self.figures.errors[key]), key)
            for share, name in ((0.5, "p50_ms"), (0.95, "p95_ms"), (0.99, "p99_ms")):
                exact = lower_quantile(durations, share) / 1e6
                self.assert_close(one[name], exact, 0.01 * exact + 1e-6, (key, name))

    def test_tracing_errors(self):
        answer = self.host.get("/api/tracing/errors", limit=1000)
        self.assertEqual(answer["over"]["error_spans"], sum(self.figures.errors.values()))
        found = collections.Counter()
        for group in answer["groups"]:
            found[(group["component"], group["operation"])] += group["count"]
        self.assertEqual(found, +self.figures.errors)

    def test_tracing_correlation(self):
        stories = collections.defaultdict(list)
        for event in self.figures.events.values():
            if "correlationid" in event:
                stories[event["correlationid"]].append(event)
        chosen = [one for one in stories if any(event["type"] == "ephor.trade" for event in stories[one])][:5]
        self.assertTrue(chosen)
        for correlation in chosen:
            story = self.host.get(f"/api/tracing/correlation/{correlation}")
            of_type = collections.Counter(event["type"] for event in stories[correlation])
            self.assertEqual(story["over"]["events_by_type"], dict(of_type), correlation)
            self.assertEqual(story["spans"]["span_count"], of_type["ephor.span"], correlation)
            self.assertEqual(len(story["predictions"]), of_type["ephor.prediction"], correlation)
            trade = next(event["data"] for event in stories[correlation] if event["type"] == "ephor.trade")
            self.assertIn(trade["trade_id"], [one["trade_id"] for one in story["trades"]], correlation)

    # ---- reports

    def day(self):
        """The last complete day of the session."""
        newest = max(event["time"] for event in self.figures.events.values())
        end = datetime.fromisoformat(newest[:10]).replace(tzinfo=timezone.utc)
        return end - timedelta(days=1), end

    def test_reports_generate_and_history(self):
        begin, end = self.day()
        status, answer, _ = self.host.request("POST", "/api/reports/generate",
                                              b'{"report_type": "performance", "formats": ["json", "html"]}', JSON)
        self.assertEqual(status, 200, answer)
        self.assertEqual((answer["over"]["from"][:19], answer["over"]["to"][:19]),
                         (begin.isoformat()[:19], end.isoformat()[:19]))
        closed = [one for one in self.figures.closed if begin.isoformat()[:19] <= self.closed_at(one) < end.isoformat()[:19]]
        report = self.host.get(f"/api/reports/{answer['report_id']}/json")
        figures = {one["id"]: one["value"] for section in report["sections"] for block in section["blocks"]
                   if block["kind"] == "figures" for one in block["figures"]}
        self.assertEqual(figures["closed"], len(closed))
        self.assert_close(figures["pnl"], math.fsum(one["pnl"] for one in closed), 1e-6, "pnl")
        folder = self.host.data_dir / "reports"
        names = {file.name for file in folder.iterdir()}
        self.assertLessEqual({f"{answer['report_id']}.json", f"{answer['report_id']}.html"}, names)
        history = self.host.get("/api/reports/history")["reports"]
        self.assertIn(answer["report_id"], [one["report_id"] for one in history])
        page = (folder / f"{answer['report_id']}.html").read_text()
        self.assertNotIn("nan", page.lower().split("<style")[0])
        self.assertIn("<svg", page)

    def closed_at(self, trade):
        """When the event of the close came: its time is the close's."""
        for event in self.figures.of("ephor.trade"):
            if event["data"]["trade_id"] == trade["trade_id"] and event["data"]["status"] == "closed":
                return event["time"][:19]
        raise AssertionError(trade["trade_id"])

    def test_reports_schedule(self):
        answer = self.host.get("/api/reports/schedule")
        self.assertTrue(answer["enabled"])
        self.assertEqual(answer["schedules"][0]["schedule"], "daily")


class Recorded(Plan):
    @classmethod
    def session_lines(cls):
        return read_lines(shared("session", "btc.ndjson.gz"))


if __name__ == "__main__":
    main()
