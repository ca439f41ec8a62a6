// SPDX-License-Identifier: Apache-2.0
#include "regression_monitor.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ephor/times.hpp>
#include <utility>

namespace ephor::tracer {
namespace {

constexpr std::string_view kLatency = "latency_regression";
constexpr std::string_view kErrors = "error_burst";
constexpr double kCriticalFactor = 4.0;
constexpr double kCriticalRate = 0.25;
constexpr int kAncestorsMax = 16;

// Three significant digits, no exponent: "1.86", "250", "0.0031".
std::string short_number(double value) {
  char text[64];
  const double size = std::abs(value);
  int digits = 2;
  if (size >= 100.0) {
    digits = 0;
  } else if (size >= 10.0) {
    digits = 1;
  } else if (size < 1.0 && size > 0.0) {
    digits = std::min(12, 2 - static_cast<int>(std::floor(std::log10(size))));
  }
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}
std::string ms_text(double ns) { return short_number(ns / 1e6) + " ms"; }
std::string percent_text(double rate) { return short_number(rate * 100.0) + " %"; }

Json rate_json(std::uint64_t errors, std::uint64_t spans) {
  const Interval interval = wilson_interval(errors, spans);
  return {{"rate", spans == 0 ? Json() : Json(ErrorCase::rate(errors, spans))},
          {"errors", errors},
          {"spans", spans},
          {"wilson_95", spans == 0 ? Json() : Json::array({interval.low, interval.high})}};
}

Json latency_evidence(const LatencyCase& found, const LatencySettings& settings) {
  return {
      {"detector", "CUSUM of robust scores of log self time per batch"},
      {"figure", "self time: duration less what child spans cover"},
      {"factor", found.factor()},
      {"self_ms", {{"before", found.self_before_ns / 1e6}, {"after", found.self_after_ns / 1e6}}},
      {"duration_ms",
       {{"before", found.total_before_ns / 1e6}, {"after", found.total_after_ns / 1e6}}},
      {"batches", {{"before", found.batches_before}, {"after", found.batches_after}}},
      {"spans_after", found.spans_after},
      {"spans_per_batch", found.spans_per_batch},
      {"log_spread", found.log_spread},
      {"correlation", found.correlation},
      {"statistic", found.statistic},
      {"threshold", found.threshold},
      {"limits",
       {{"factor_min", settings.factor_min},
        {"increase_min_ms", settings.increase_min_ns / 1e6},
        {"batches_min", LatencyWatch::kBatchesMin}}}};
}

Json error_evidence(const ErrorCase& found, const ErrorSettings& settings) {
  return {{"detector", "Bernoulli CUSUM of failures that began here"},
          {"before", rate_json(found.errors_before, found.spans_before)},
          {"after", rate_json(found.errors_after, found.spans_after)},
          {"statistic", found.statistic},
          {"threshold", found.threshold},
          {"dispersion", found.dispersion},
          {"limits",
           {{"rise_min", settings.rise_min},
            {"factor_min", settings.factor_min},
            {"errors_min", settings.errors_min}}},
          {"message_count", found.message_count}};
}

// How a finding ended: until when, and the end of its sentence.
struct Ending {
  std::int64_t until_ns;
  Json recovered;  // a time, or null
  const char* words;
};

Ending ending_of(WatchChange change, std::int64_t recovered_ns, std::int64_t now_ns) {
  if (change == WatchChange::accepted) return {now_ns, nullptr, "; accepted as the new normal."};
  return {recovered_ns, format_time(recovered_ns), "; it has recovered."};
}

}  // namespace

RegressionMonitor::RegressionMonitor(RegressionSettings settings, std::string instance,
                                     RegressionNames names)
    : settings_(settings),
      names_(std::move(names)),
      assembler_(settings_.linger_ns, settings_.open_spans_max),
      findings_(std::move(instance), "ephor.finding", settings_.findings_max) {}

Json RegressionMonitor::ancestors_json(std::uint32_t operation) const {
  Json out = Json::array();
  std::uint32_t at = operations_[operation].parent;
  for (int i = 0; i < kAncestorsMax && at < operations_.size() && at != operation; ++i) {
    out.push_back({{"operation", names_.operation(at)},
                   {"self_time_shifted",
                    operations_[at].latency.is_raised() || operations_[at].latency.is_open()}});
    at = operations_[at].parent;
  }
  return out;
}

void RegressionMonitor::tell(Finding news, WatchChange change, std::int64_t now_ns) {
  if (change == WatchChange::opened) {
    news.target_kind = "operation";
    news.detected_ns = now_ns;
    findings_.open(std::move(news));
    return;
  }
  Finding* const finding = findings_.find_open(news.kind, news.target);
  if (finding == nullptr) return;
  finding->severity = news.severity;
  finding->summary = news.summary;
  finding->evidence = std::move(news.evidence);
  findings_.close(news.kind, news.target, now_ns,
                  change == WatchChange::accepted ? "accepted as the new normal" : "recovered");
}

void RegressionMonitor::on_latency(std::uint32_t operation, WatchChange change,
                                   std::int64_t now_ns) {
  const LatencyCase& found = operations_[operation].latency.latest();
  Finding news;
  news.kind = kLatency;
  news.target = names_.operation(operation);
  news.onset_ns = found.onset_ns;
  news.severity = found.factor() >= kCriticalFactor ? "critical" : "warning";
  news.evidence = latency_evidence(found, settings_.latency);
  news.evidence["ancestors"] = ancestors_json(operation);
  const std::string figures = ms_text(found.self_before_ns) + " to " +
                              ms_text(found.self_after_ns) + " (" + short_number(found.factor()) +
                              " times)";
  const std::string subject = "Typical self time of " + news.target;
  const std::string onset = format_time(found.onset_ns);
  const std::string spans = std::to_string(found.spans_after) + " spans";
  if (change == WatchChange::opened) {
    news.summary = subject + " rose from " + figures + " at " + onset + ", seen in " + spans + ".";
  } else {
    const Ending end = ending_of(change, found.recovered_ns, now_ns);
    news.evidence["recovered"] = end.recovered;
    news.summary = subject + " had risen from " + figures + " from " + onset + " to " +
                   format_time(end.until_ns) + ", over " + spans + end.words;
  }
  tell(std::move(news), change, now_ns);
}

void RegressionMonitor::on_errors(std::uint32_t operation, WatchChange change,
                                  std::int64_t now_ns) {
  const ErrorCase& found = operations_[operation].errors.latest();
  const std::string message = names_.error_message(found.message_group);
  Finding news;
  news.kind = kErrors;
  news.target = names_.operation(operation);
  news.onset_ns = found.onset_ns;
  const bool is_critical =
      found.rate_after() >= kCriticalRate && found.errors_after >= 2 * settings_.errors.errors_min;
  news.severity = is_critical ? "critical" : "warning";
  news.evidence = error_evidence(found, settings_.errors);
  news.evidence["message"] = text_or_null(message);
  news.evidence["ancestors"] = ancestors_json(operation);
  const std::string counts =
      std::to_string(found.errors_after) + " of " + std::to_string(found.spans_after) + " spans";
  const std::string rates =
      percent_text(found.rate_before()) + " to " + percent_text(found.rate_after());
  const std::string subject = "Error rate of " + news.target;
  const std::string onset = format_time(found.onset_ns);
  if (change == WatchChange::opened) {
    news.summary = subject + " rose from " + rates + " (" + counts + ") at " + onset + ".";
  } else {
    const Ending end = ending_of(change, found.recovered_ns, now_ns);
    news.evidence["recovered"] = end.recovered;
    news.summary = subject + " had risen from " + rates + " (" + counts + ") from " + onset +
                   " to " + format_time(end.until_ns) + end.words;
  }
  if (!message.empty()) news.summary += " Most frequent: \"" + message + "\".";
  tell(std::move(news), change, now_ns);
}

void RegressionMonitor::write(StateWriter& out) const {
  assembler_.write(out);
  out.varint(operations_.size());
  for (const Operation& operation : operations_) {
    out.u32(operation.parent);
    operation.latency.write(out);
    operation.errors.write(out);
  }
  findings_.save(out);
}

void RegressionMonitor::read(StateReader& in) {
  assembler_.read(in);
  operations_.clear();
  for (std::size_t left = in.count(100); left > 0; --left) {
    Operation& operation = operations_.emplace_back();
    operation.parent = in.u32();
    operation.latency.read(in);
    operation.errors.read(in);
  }
  findings_.load(in);
}

}  // namespace ephor::tracer
