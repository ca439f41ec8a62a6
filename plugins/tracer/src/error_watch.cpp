// SPDX-License-Identifier: Apache-2.0
#include "error_watch.hpp"

#include <algorithm>
#include <cmath>

namespace ephor::tracer {
namespace {

constexpr double kUsualMin = 1e-5;
constexpr double kUsualMax = 0.6;  // what fails more often than this has no bursts to be told
constexpr std::uint64_t kCalibrateEvery = 100;
constexpr std::uint64_t kBlockSpans = 100;
constexpr double kDispersionMemory = 1.0 / 32.0;  // blocks
constexpr double kDispersionMax = 20.0;
// A chart with threshold log(run length) runs at least that long (Wald); simulation shows about
// three times as much for rates below 1 %, hence the difference.
constexpr double kThresholdSlack = 1.1;
constexpr double kRecoveryThreshold = 9.2;  // log of 10^4: odds against a pause within the burst

}  // namespace

bool ErrorWatch::is_at_rest() const {
  return charts_[0].statistic == 0.0 && charts_[1].statistic == 0.0 && charts_[2].statistic == 0.0;
}

WatchChange ErrorWatch::add(const ErrorSettings& settings, std::int64_t time_ns, bool is_error,
                            std::uint64_t message_group) {
  if (is_open_) {
    if (is_error) count_message(message_group);
    return watch_recovery(settings, time_ns, is_error);
  }
  if (!is_ready_) {
    admit(is_error ? 1 : 0, 1, settings);
    return WatchChange::none;
  }
  if (!is_error && is_at_rest()) {
    admit(0, 1, settings);
    return WatchChange::none;
  }
  const double threshold =
      (std::log(settings.false_alarm_spans) - kThresholdSlack) * std::max(1.0, dispersion_);
  bool is_raised = false;
  for (Chart& chart : charts_) {
    const double moved = chart.statistic + (is_error ? chart.on_error : chart.on_success);
    if (moved <= 0.0) {
      chart.statistic = 0.0;
      chart.errors = chart.spans = 0;
      continue;
    }
    if (chart.statistic == 0.0) chart.onset_ns = time_ns;
    chart.statistic = std::min(moved, 2.0 * threshold);
    chart.errors += is_error ? 1 : 0;
    ++chart.spans;
    is_raised = is_raised || chart.statistic > threshold;
  }
  pending_.errors += is_error ? 1 : 0;
  ++pending_.spans;
  if (is_error) count_message(message_group);
  if (is_raised && is_error && open_case(settings, time_ns)) return WatchChange::opened;
  const bool is_rest = is_at_rest();
  if (is_rest || pending_.spans >= kPendingSpans) {
    admit(pending_.errors, pending_.spans, settings);
    pending_ = {};
  }
  if (is_rest) messages_.clear();
  return WatchChange::none;
}

void ErrorWatch::admit(std::uint64_t errors, std::uint64_t spans, const ErrorSettings& settings) {
  current_.errors += errors;
  current_.spans += spans;
  until_calibration_ += spans;
  if (is_ready_) measure_dispersion(errors, spans);
  if (current_.spans >= kEpochSpans) {
    earlier_ = current_;
    current_ = {};
  }
  if (errors > 0 || until_calibration_ >= kCalibrateEvery || !is_ready_) calibrate(settings);
}

void ErrorWatch::calibrate(const ErrorSettings& settings) {
  const Counts known = reference();
  if (known.spans < settings.warmup_spans) return;
  until_calibration_ = 0;
  is_ready_ = true;
  usual_ = std::clamp(wilson_interval(known.errors, known.spans, 1.0).high, kUsualMin, 1.0);
  const double least = std::max(usual_ + settings.rise_min, settings.factor_min * usual_);
  const std::array<double, kCharts> rates{least, std::max(0.1, 2.0 * least),
                                          std::max(0.5, 4.0 * least)};
  for (std::size_t i = 0; i < kCharts; ++i) {
    const double rate = std::clamp(rates[i], std::min(usual_ * 1.01, 0.98), 0.98);
    charts_[i].on_error = std::log(rate / usual_);
    charts_[i].on_success = std::log((1.0 - rate) / (1.0 - std::min(usual_, 0.97)));
  }
}

// Pearson's residual of blocks of healthy spans: about 1 if failures are independent.
void ErrorWatch::measure_dispersion(std::uint64_t errors, std::uint64_t spans) {
  block_.errors += errors;
  block_.spans += spans;
  if (block_.spans < kBlockSpans) return;
  const double usual = std::min(usual_, 0.97);
  const double expected = static_cast<double>(block_.spans) * usual;
  const double difference = static_cast<double>(block_.errors) - expected;
  const double residual = difference * difference / (expected * (1.0 - usual));
  block_ = {};
  dispersion_ += (std::min(residual, 10.0 * kDispersionMax) - dispersion_) * kDispersionMemory;
  dispersion_ = std::min(dispersion_, kDispersionMax);
}

// Space saving (Metwally et al. 2005): beyond the bound the rarest makes room and leaves its count.
void ErrorWatch::count_message(std::uint64_t group) {
  for (Message& message : messages_) {
    if (message.group != group) continue;
    ++message.count;
    return;
  }
  if (messages_.size() < kMessagesMax) {
    messages_.push_back({group, 1});
    return;
  }
  Message& rarest =
      *std::min_element(messages_.begin(), messages_.end(),
                        [](const Message& a, const Message& b) { return a.count < b.count; });
  rarest = {group, rarest.count + 1};
}

bool ErrorWatch::open_case(const ErrorSettings& settings, std::int64_t time_ns) {
  const Chart& chart =
      *std::max_element(charts_.begin(), charts_.end(),
                        [](const Chart& a, const Chart& b) { return a.statistic < b.statistic; });
  const double rate = ErrorCase::rate(chart.errors, chart.spans);
  const Counts known = reference();
  const double before = ErrorCase::rate(known.errors, known.spans);
  if (usual_ > kUsualMax || chart.errors < settings.errors_min ||
      time_ns - chart.onset_ns < settings.persistence_ns || rate < before + settings.rise_min ||
      rate < before * settings.factor_min ||
      wilson_interval(chart.errors, chart.spans, 1.96).low <= usual_) {
    return false;
  }
  case_ = {};
  case_.onset_ns = chart.onset_ns;
  case_.errors_before = known.errors;
  case_.spans_before = known.spans;
  case_.errors_after = chart.errors;
  case_.spans_after = chart.spans;
  case_.statistic = chart.statistic;
  case_.threshold =
      (std::log(settings.false_alarm_spans) - kThresholdSlack) * std::max(1.0, dispersion_);
  case_.dispersion = dispersion_;
  const auto most =
      std::max_element(messages_.begin(), messages_.end(),
                       [](const Message& a, const Message& b) { return a.count < b.count; });
  case_.message_group = most->group;
  case_.message_count = std::min(most->count, chart.errors);
  is_open_ = true;
  recovery_ = 0.0;
  recovering_ = {};
  pending_ = {};
  block_ = {};
  for (Chart& reset : charts_) {
    reset.statistic = 0.0;
    reset.errors = reset.spans = 0;
  }
  return true;
}

// The same test the other way round: the usual rate against that of the burst so far. The latter is
// the predictive one (Jeffreys' prior), so that a burst of few failures is not over after a few
// successes.
WatchChange ErrorWatch::watch_recovery(const ErrorSettings& settings, std::int64_t time_ns,
                                       bool is_error) {
  const auto errors = static_cast<double>(case_.errors_after + recovering_.errors);
  const auto spans = static_cast<double>(case_.spans_after + recovering_.spans);
  const double burst = std::clamp((errors + 0.5) / (spans + 1.0), usual_ * 1.01 + 1e-6, 0.999);
  const double moved =
      recovery_ + (is_error ? std::log(usual_ / burst) : std::log((1.0 - usual_) / (1.0 - burst)));
  recovery_ = std::max(0.0, moved);
  if (recovery_ > 0.0) {
    if (recovering_.spans == 0) recovering_since_ns_ = time_ns;
    recovering_.errors += is_error ? 1 : 0;
    ++recovering_.spans;
  } else {
    case_.errors_after += recovering_.errors + (is_error ? 1 : 0);
    case_.spans_after += recovering_.spans + 1;
    recovering_ = {};
  }
  const bool has_recovered = recovery_ > kRecoveryThreshold * std::max(1.0, case_.dispersion) &&
                             time_ns - recovering_since_ns_ >= settings.persistence_ns;
  const bool is_accepted = time_ns - case_.onset_ns >= settings.accept_after_ns;
  if (!has_recovered && !is_accepted) return WatchChange::none;
  const auto most =
      std::max_element(messages_.begin(), messages_.end(),
                       [](const Message& a, const Message& b) { return a.count < b.count; });
  if (most != messages_.end()) {
    case_.message_group = most->group;
    case_.message_count = std::min(most->count, case_.errors_after);
  }
  messages_.clear();
  is_open_ = false;
  if (has_recovered) {
    case_.recovered_ns = recovering_since_ns_;
    admit(recovering_.errors, recovering_.spans, settings);
    recovering_ = {};
    return WatchChange::recovered;
  }
  earlier_ = current_ = {};
  is_ready_ = false;
  until_calibration_ = 0;
  dispersion_ = 1.0;
  recovering_ = {};
  return WatchChange::accepted;
}

void ErrorWatch::write(StateWriter& out) const {
  for (const Counts& counts : {earlier_, current_, block_, pending_, recovering_}) {
    out.varint(counts.errors).varint(counts.spans);
  }
  out.varint(until_calibration_).boolean(is_ready_).f64(usual_).f64(dispersion_);
  for (const Chart& chart : charts_) {
    out.f64(chart.on_error).f64(chart.on_success).f64(chart.statistic).i64(chart.onset_ns);
    out.varint(chart.errors).varint(chart.spans);
  }
  out.varint(messages_.size());
  for (const Message& message : messages_) out.u64(message.group).varint(message.count);
  out.boolean(is_open_).f64(recovery_).i64(recovering_since_ns_);
  out.i64(case_.onset_ns).i64(case_.recovered_ns);
  out.varint(case_.errors_before).varint(case_.spans_before);
  out.varint(case_.errors_after).varint(case_.spans_after);
  out.f64(case_.statistic).f64(case_.threshold).f64(case_.dispersion);
  out.u64(case_.message_group).varint(case_.message_count);
}

void ErrorWatch::read(StateReader& in) {
  for (Counts* counts : {&earlier_, &current_, &block_, &pending_, &recovering_}) {
    counts->errors = in.varint();
    counts->spans = in.varint();
    if (counts->errors > counts->spans) throw Error(EPHOR_INVALID, "more errors than spans");
  }
  until_calibration_ = in.varint();
  is_ready_ = in.boolean();
  usual_ = in.f64();
  dispersion_ = in.f64();
  for (Chart& chart : charts_) {
    chart.on_error = in.f64();
    chart.on_success = in.f64();
    chart.statistic = in.f64();
    chart.onset_ns = in.i64();
    chart.errors = in.varint();
    chart.spans = in.varint();
  }
  messages_.clear();
  for (std::size_t left = in.count(9); left > 0; --left) {
    const std::uint64_t group = in.u64();
    messages_.push_back({group, in.varint()});
  }
  is_open_ = in.boolean();
  recovery_ = in.f64();
  recovering_since_ns_ = in.i64();
  case_.onset_ns = in.i64();
  case_.recovered_ns = in.i64();
  case_.errors_before = in.varint();
  case_.spans_before = in.varint();
  case_.errors_after = in.varint();
  case_.spans_after = in.varint();
  case_.statistic = in.f64();
  case_.threshold = in.f64();
  case_.dispersion = in.f64();
  case_.message_group = in.u64();
  case_.message_count = in.varint();
}

}  // namespace ephor::tracer
