// SPDX-License-Identifier: Apache-2.0
#include "system_health.hpp"

#include <charconv>
#include <cmath>
#include <ephor/times.hpp>
#include <utility>

namespace ephor::metrics {
namespace {

// The value of the label `instance` in `a="x",instance="y"`; escapes are those of Prometheus.
std::string instance_label(std::string_view labels) {
  constexpr std::string_view kName = "instance=\"";
  std::size_t at = labels.find(kName);
  while (at != std::string_view::npos && at > 0 && labels[at - 1] != ',') {
    at = labels.find(kName, at + 1);
  }
  if (at == std::string_view::npos) return {};
  std::string out;
  for (std::size_t i = at + kName.size(); i < labels.size() && labels[i] != '"'; ++i) {
    if (labels[i] == '\\' && i + 1 < labels.size()) {
      ++i;
      out += labels[i] == 'n' ? '\n' : labels[i];
    } else {
      out += labels[i];
    }
  }
  return out;
}

Json member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? Json() : *found;
}

// Seconds from an RFC 3339 member to now; null if it is null.
Json age_s(const Json& time, std::int64_t now_ns) {
  if (!time.is_string()) return nullptr;
  const auto then_ns = parse_time(time.get_ref<const std::string&>());
  return then_ns ? Json((static_cast<double>(now_ns) - static_cast<double>(*then_ns)) * 1e-9)
                 : Json();
}

// Of one instance; the snapshot's members and the host's figures.
Json instance_json(const Json& instance, const HostFigures& figures) {
  const std::string name = instance.value("instance", std::string());
  Json out = instance;
  out["lag_events_max"] = figures.value("ephor_reader_lag_events_max", name);
  out["delivered_events"] = figures.value("ephor_reader_delivered_events_total", name);
  out["skipped_events"] = figures.value("ephor_reader_skipped_events_total", name);
  out["handler_seconds"] = figures.value("ephor_reader_handler_seconds_total", name);
  out["checkpoints"] = figures.value("ephor_reader_checkpoints_total", name);
  out["errors"] = figures.value("ephor_instance_errors_total", name);
  return out;
}

}  // namespace

HostFigures::HostFigures(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.front() == '#') continue;
    // The value follows the last blank; label values may hold blanks and braces.
    const std::size_t blank = line.rfind(' ');
    if (blank == std::string_view::npos) continue;
    const std::string_view series = line.substr(0, blank);
    double value = 0.0;
    const char* const last = line.data() + line.size();
    if (std::from_chars(line.data() + blank + 1, last, value).ec != std::errc()) continue;
    const std::size_t brace = series.find('{');
    const std::string_view labels =
        brace == std::string_view::npos ? std::string_view() : series.substr(brace + 1);
    values_[{std::string(series.substr(0, brace)), instance_label(labels)}] = value;
  }
}

Json HostFigures::value(const std::string& name, const std::string& instance) const {
  const auto found = values_.find({name, instance});
  if (found == values_.end()) return nullptr;
  const double value = found->second;
  // Counts are whole numbers in JSON too.
  constexpr double kWholeMax = 9007199254740992.0;  // 2^53
  if (value == std::floor(value) && std::abs(value) < kWholeMax) {
    return static_cast<std::int64_t>(value);
  }
  return number_or_null(value);
}

Json system_health_json(const Json& snapshot, const HostFigures& figures, ProcessFacts& process,
                        std::int64_t now_ns) {
  Json rows = Json::array();
  Json lags = Json::array();
  bool is_degraded = false;
  bool is_failed = false;
  const Json instances = snapshot.value("instances", Json::array());
  for (const Json& instance : instances) {
    const std::string health = instance.value("health", std::string());
    const std::string state = instance.value("state", std::string());
    is_failed = is_failed || health == "failed" || state == "failed";
    is_degraded = is_degraded || health == "degraded";
    rows.push_back(instance_json(instance, figures));
    lags.push_back({{"instance", member(instance, "instance")},
                    {"lag_events", member(instance, "lag_events")},
                    {"reads_journal", member(instance, "reads_journal")}});
  }
  const bool is_live = snapshot.value("live", false);
  Json out{{"as_of", format_time(now_ns)},
           {"status", is_failed || !is_live ? "failed"
                      : is_degraded         ? "degraded"
                                            : "ok"},
           {"ready", member(snapshot, "ready")},
           {"live", member(snapshot, "live")},
           {"mode", member(snapshot, "mode")},
           {"process", process.process()},
           {"machine", machine_facts()},
           {"disk", disk_facts(snapshot.value("data_dir", std::string()))}};
  const Json newest = member(snapshot, "newest_time");
  out["log"] = {{"log_time", member(snapshot, "log_time")},
                {"newest_time", newest},
                {"newest_age_s", age_s(newest, now_ns)},
                {"last_sequence", member(snapshot, "last_sequence")},
                {"events", figures.value("ephor_log_events_total")},
                {"duplicate_records", figures.value("ephor_log_duplicate_records_total")},
                {"late_events", figures.value("ephor_log_late_events_total")},
                {"derived_events", figures.value("ephor_log_derived_events_total")},
                {"commits", figures.value("ephor_log_commits_total")},
                {"commit_failures", figures.value("ephor_log_commit_failures_total")}};
  out["journal"] = {{"events", figures.value("ephor_journal_events")},
                    {"stored_bytes", figures.value("ephor_journal_stored_bytes")}};
  out["bus"] = {{"bytes", figures.value("ephor_bus_bytes")}, {"instances", std::move(lags)}};
  out["instances"] = std::move(rows);
  return out;
}

}  // namespace ephor::metrics
