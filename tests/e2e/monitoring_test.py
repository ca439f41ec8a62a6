#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The user's `monitoring:` block works as it stands, and each of its keys changes what happens."""
import time

from ephor_e2e import CONFIG, SLOWDOWN, Host, TestCase, WebSocket, cli, main, query, read_lines, replay

# As the user wrote it.
BLOCK = """
monitoring:
  metrics_dashboard: {update_interval: 5, max_metric_history: 1000, enable_real_time_updates: true, enable_websocket_broadcast: true}
  advanced_tracer: {enable_tracing: true, correlation_id_header: "X-Correlation-ID", trace_sampling_rate: 1.0, max_trace_history: 10000}
  ml_monitor: {enable_online_learning: true, drift_detection_enabled: true, feature_importance_tracking: true, auto_retraining_enabled: true, drift_threshold: 0.1}
  report_scheduler: {enable_automated_reports: true, default_schedule: "daily", email_distribution: true, report_formats: ["pdf", "html", "json"]}
  tracking_system: {enable_correlation_tracking: true, enable_ensemble_tracking: true, enable_regime_tracking: true, enable_decision_path_tracking: true, max_tracking_history: 50000}
"""
# Every key has a test below: test_SECTION_KEY.
KEYS = {
    "metrics_dashboard": ("update_interval", "max_metric_history", "enable_real_time_updates",
                          "enable_websocket_broadcast"),
    "advanced_tracer": ("enable_tracing", "correlation_id_header", "trace_sampling_rate", "max_trace_history"),
    "ml_monitor": ("enable_online_learning", "drift_detection_enabled", "feature_importance_tracking",
                   "auto_retraining_enabled", "drift_threshold"),
    "report_scheduler": ("enable_automated_reports", "default_schedule", "email_distribution", "report_formats"),
    "tracking_system": ("enable_correlation_tracking", "enable_ensemble_tracking", "enable_regime_tracking",
                        "enable_decision_path_tracking", "max_tracking_history"),
}


class Monitoring(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.session = cls.folder / "session.ndjson"
        cli("simulate", "--hours", 24, "--seed", 5, "--out", cls.session,
            "--fault", "broken_model:xgb_flow:12:18")
        cls.as_written = cls.store("as-written")

    @classmethod
    def config(cls, name, section=None, key=None, value=None):
        """The block as it stands, or with one key changed."""
        block = BLOCK
        if section is not None:
            line = next(one for one in BLOCK.splitlines() if one.strip().startswith(section + ":"))
            head, rest = line.split(f"{key}: ", 1)
            old = rest[:rest.index("]") + 1] if rest.startswith("[") else rest.split(",")[0].rstrip("}")
            block = BLOCK.replace(line, f"{head}{key}: {value}{rest[len(old):]}")
        file = cls.folder / f"{name}.yaml"
        file.write_text(CONFIG.read_text() + block)
        return file

    @classmethod
    def store(cls, name, *change):
        """(data directory, configuration, summary) of the session under a configuration."""
        config = cls.config(name, *change)
        summary, _ = replay(cls.session, cls.folder / name, config=config)
        return cls.folder / name, config, summary

    def both(self, query_name, request, *change):
        """The answers with the block as it stands and with one key changed."""
        out = []
        for data_dir, config, _ in (self.as_written, self.store("-".join(map(str, change[:2])), *change)):
            out.append(query(query_name, data_dir, request, config))
        return out

    def live(self, name, *change):
        return Host(self.folder / f"live-{name}", config=self.config(f"live-{name}", *change))

    # ---- the block

    def test_the_block_is_good_and_every_key_is_tested(self):
        cli("check", "--config", self.config("whole"))
        for section, keys in KEYS.items():
            for key in keys:
                self.assertIn(f"{key}: ", BLOCK)
                self.assertTrue(hasattr(self, f"test_{section}_{key}"), f"{section}.{key}")

    def test_a_wrong_value_or_key_is_an_error_at_its_place(self):
        done = cli("check", "--config", self.config("wrong", "advanced_tracer", "trace_sampling_rate", 7), code=2)
        self.assertRegex(done.stderr, r"wrong\.yaml:\d+:\d+ monitoring\.advanced_tracer\.trace_sampling_rate: found 7")
        file = self.folder / "unknown.yaml"
        file.write_text(CONFIG.read_text() + BLOCK.replace("drift_threshold", "drift_treshold"))
        done = cli("check", "--config", file, code=2)
        self.assertRegex(done.stderr, r"unknown\.yaml:\d+:\d+ monitoring\.ml_monitor\.drift_treshold: found an "
                                      r"unknown key, .*did you mean drift_threshold")

    # ---- metrics_dashboard

    def snapshots(self, host, seconds):
        with WebSocket(host) as client:
            client.say({"watch": "/api/metrics/system-health"})
            self.assertEqual(client.hear()["type"], "watching")
            client.hear()
            client.socket.settimeout(seconds)
            seen, end = 0, time.monotonic() + seconds
            try:
                while time.monotonic() < end:
                    client.hear()
                    seen += 1
            except (TimeoutError, ValueError):
                pass
            return seen

    def test_metrics_dashboard_update_interval(self):
        with self.live("interval", "metrics_dashboard", "update_interval", 0.1) as host:
            self.assertGreater(self.snapshots(host, 1.5), 2)
        with self.live("interval-long", "metrics_dashboard", "update_interval", 600) as host:
            self.assertEqual(self.snapshots(host, 1.5), 0)

    def test_metrics_dashboard_max_metric_history(self):
        request = {"metric_name": "portfolio.equity", "resolution": "raw", "limit": 5000}
        wide, narrow = self.both("metrics.history", request, "metrics_dashboard", "max_metric_history", 10)
        points = [sum(len(one["points"]) for one in answer["series"]) for answer in (wide, narrow)]
        self.assertGreater(points[0], 10)
        self.assertEqual(points[1], 10)

    def test_metrics_dashboard_enable_real_time_updates(self):
        with self.live("updates", "metrics_dashboard", "enable_real_time_updates", "false") as host:
            with WebSocket(host) as client:
                client.say({"watch": "/api/performance"})
                self.assertEqual(client.hear()["type"], "error")
                client.say({"subscribe": "ephor.trade"})
                self.assertEqual(client.hear()["type"], "subscribed")

    def test_metrics_dashboard_enable_websocket_broadcast(self):
        with self.live("broadcast", "metrics_dashboard", "enable_websocket_broadcast", "false") as host:
            with WebSocket(host) as client:
                client.say({"subscribe": "ephor.trade"})
                self.assertEqual(client.hear()["type"], "error")
                client.say({"watch": "/api/performance"})
                self.assertEqual(client.hear()["type"], "watching")

    # ---- advanced_tracer

    def test_advanced_tracer_enable_tracing(self):
        _, _, summary = self.store("tracing-off", "advanced_tracer", "enable_tracing", "false")
        self.assertGreater(self.as_written[2]["spans"], 0)
        self.assertEqual(summary["spans"], 0)

    def test_advanced_tracer_correlation_id_header(self):
        with self.live("header", "advanced_tracer", "correlation_id_header", "X-Request-ID") as host:
            _, _, headers = host.request("GET", "/api", headers={"X-Request-ID": "mine-1"})
            self.assertEqual(headers.get("x-request-id"), "mine-1")
            self.assertNotIn("x-correlation-id", headers)

    def test_advanced_tracer_trace_sampling_rate(self):
        every, none = self.both("tracer.traces", {"limit": 10}, "advanced_tracer", "trace_sampling_rate", 0.0)
        self.assertEqual(len(every["traces"]), 10)
        self.assertEqual(none["traces"], [])

    def test_advanced_tracer_max_trace_history(self):
        wide, narrow = self.both("tracer.traces", {"limit": 100}, "advanced_tracer", "max_trace_history", 7)
        self.assertEqual((len(wide["traces"]), len(narrow["traces"])), (100, 7))

    # ---- ml_monitor

    def test_ml_monitor_enable_online_learning(self):
        learnt, none = self.both("ensemble_tracker.ensembles", {}, "ml_monitor", "enable_online_learning", "false")
        self.assertTrue(self.online_weights(learnt))
        self.assertFalse(self.online_weights(none))

    @staticmethod
    def online_weights(answer):
        return [one for ensemble in answer["ensembles"] for one in ensemble["members"]
                if one.get("weight_learned") is not None]

    def ml_findings(self, summary):
        return [one for one in summary["findings"] if one["finding_id"].startswith("ml_monitor:")]

    def test_ml_monitor_drift_detection_enabled(self):
        _, _, summary = self.store("detection-off", "ml_monitor", "drift_detection_enabled", "false")
        self.assertTrue(self.ml_findings(self.as_written[2]))
        self.assertEqual(self.ml_findings(summary), [])

    def test_ml_monitor_drift_threshold(self):
        _, _, summary = self.store("threshold", "ml_monitor", "drift_threshold", 1.0)
        self.assertLess(len(self.ml_findings(summary)), len(self.ml_findings(self.as_written[2])))

    def test_ml_monitor_feature_importance_tracking(self):
        # The simulator's sessions carry importances now and then.
        kept, none = self.both("ml_monitor.model", {"model_id": "xgb_flow"}, "ml_monitor",
                               "feature_importance_tracking", "false")
        self.assertIsNotNone(kept["feature_importance"])
        self.assertIsNone(none["feature_importance"])

    def test_ml_monitor_auto_retraining_enabled(self):
        asked, none = self.both("ml_monitor.retraining", {}, "ml_monitor", "auto_retraining_enabled", "false")
        self.assertTrue(asked["requests"])
        self.assertEqual(none["requests"], [])

    # ---- report_scheduler

    def test_report_scheduler_enable_automated_reports(self):
        on, off = self.both("reporter.schedule", {}, "report_scheduler", "enable_automated_reports", "false")
        self.assertTrue(on["enabled"])
        self.assertFalse(off["enabled"])

    def test_report_scheduler_default_schedule(self):
        daily, weekly = self.both("reporter.schedule", {}, "report_scheduler", "default_schedule", '"weekly"')
        self.assertEqual(daily["schedules"][0]["schedule"], "daily")
        self.assertEqual(weekly["schedules"][0]["schedule"], "weekly")
        self.assertNotEqual(daily["schedules"][0]["next"]["due"], weekly["schedules"][0]["next"]["due"])

    def report(self, host):
        last = host.post_all(read_lines(self.session), batch=5000)["last_sequence"]
        host.get("/api/reports/schedule", after_sequence=last)
        status, answer, _ = host.request("POST", "/api/reports/generate", b'{"recipients": ["desk@example.org"]}',
                                         {"Content-Type": "application/json"})
        self.assertEqual(status, 200, answer)
        return answer

    def test_report_scheduler_report_formats(self):
        with self.live("formats") as host:
            files = {one["format"]: one for one in self.report(host)["files"]}
            self.assertEqual({name: one["status"] for name, one in files.items()},
                             {"pdf": "skipped", "html": "written", "json": "written"})
            self.assertTrue(files["pdf"]["reason"])
        with self.live("formats-json", "report_scheduler", "report_formats", '["json"]') as host:
            self.assertEqual({one["format"] for one in self.report(host)["files"]}, {"json"})

    def test_report_scheduler_email_distribution(self):
        with self.live("mail") as host:
            on = self.report(host)["deliveries"]
        with self.live("mail-off", "report_scheduler", "email_distribution", "false") as host:
            off = self.report(host)["deliveries"]
        # Nothing can be sent here in either case; why not is said of each recipient.
        self.assertEqual([one["recipient"] for one in on + off], ["desk@example.org"] * 2)
        self.assertIn("smtp", on[0]["error"])
        self.assertIn("email_distribution is off", off[0]["error"])

    # ---- tracking_system

    def test_tracking_system_enable_correlation_tracking(self):
        _, _, summary = self.store("correlation-off", "tracking_system", "enable_correlation_tracking", "false")
        self.assertGreater(self.as_written[2]["correlations"], 0)
        self.assertEqual(summary["correlations"], 0)

    def test_tracking_system_enable_ensemble_tracking(self):
        on, off = self.both("ensemble_tracker.ensembles", {}, "tracking_system", "enable_ensemble_tracking", "false")
        self.assertTrue(on["ensembles"])
        self.assertEqual(off["ensembles"], [])

    def test_tracking_system_enable_regime_tracking(self):
        on, off = self.both("ensemble_tracker.regimes", {}, "tracking_system", "enable_regime_tracking", "false")
        self.assertTrue(on["symbols"])
        self.assertFalse(off["symbols"])

    def test_tracking_system_enable_decision_path_tracking(self):
        _, _, summary = self.store("paths-off", "tracking_system", "enable_decision_path_tracking", "false")
        self.assertGreater(self.as_written[2]["decision_paths"], 0)
        self.assertFalse(summary["decision_paths"])

    def test_tracking_system_max_tracking_history(self):
        # What leaves memory with a checkpoint is read back from its rows: the figures stay.
        figures = []
        for name, change in (("memory", ()), ("memory-small", ("tracking_system", "max_tracking_history", 100))):
            config = self.config(f"live-{name}", *change)
            with Host(self.folder / f"live-{name}", "checkpoint.interval_s=0.1", config=config) as host:
                last = host.post_all(read_lines(self.session), batch=5000)["last_sequence"]
                host.get("/api/ml/ensembles", after_sequence=last)
                # Some checkpoints for what shall stay, as many as it takes for what shall go.
                deadline = time.monotonic() + (60 if change else 1) * SLOWDOWN
                while (host.query("ensemble_tracker.summary")["ensemble_decisions_in_memory"] > 1000 and
                       time.monotonic() < deadline):
                    time.sleep(0.1)
                figures.append(host.query("ensemble_tracker.summary"))
        self.assertGreater(figures[0]["ensemble_decisions_in_memory"], 1000)
        self.assertLess(figures[1]["ensemble_decisions_in_memory"], 1000)
        for name in ("ensemble_decisions", "ensemble_predictions"):
            self.assertEqual(figures[0][name], figures[1][name], name)


if __name__ == "__main__":
    main()
