// SPDX-License-Identifier: Apache-2.0
#include "threshold_rules.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ephor/times.hpp>

namespace ephor::alerter {
namespace {

bool is_breach(const RuleSettings& rule, double value) {
  return (rule.above && value > *rule.above) || (rule.below && value < *rule.below);
}

bool is_clear(const RuleSettings& rule, double value) {
  return (!rule.above || value <= *rule.above - rule.clear_margin) &&
         (!rule.below || value >= *rule.below + rule.clear_margin);
}

// Unsigned: clients' times may lie further apart than 63 bits of nanoseconds.
bool has_lasted(std::int64_t since_ns, std::int64_t now_ns, std::int64_t span_ns) {
  return static_cast<std::uint64_t>(now_ns) - static_cast<std::uint64_t>(since_ns) >=
         static_cast<std::uint64_t>(span_ns);
}

// How far outside; what is worst of several breaches.
double excess(const RuleSettings& rule, double value) {
  double out = -INFINITY;
  if (rule.above) out = std::max(out, value - *rule.above);
  if (rule.below) out = std::max(out, *rule.below - value);
  return out;
}

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

std::string with_unit(double value, std::string_view unit) {
  std::string out = number_text(value);
  if (!unit.empty() && unit != "1") (out += ' ') += unit;
  return out;
}

// "name{a=x,b=y}", sorted by label.
void series_name(const MetricSample& sample, std::string& out) {
  auto labels = sample.labels;
  std::sort(labels.begin(), labels.end());
  out = sample.name;
  if (labels.empty()) return;
  out += '{';
  for (const auto& [name, value] : labels) {
    if (out.back() != '{') out += ',';
    ((out += name) += '=') += value;
  }
  out += '}';
}

}  // namespace

ThresholdRules::ThresholdRules(std::vector<RuleSettings> rules, std::string instance,
                               std::size_t series_most)
    : rules_(std::move(rules)), instance_(std::move(instance)), series_most_(series_most) {}

bool ThresholdRules::watches(std::string_view metric_name) const {
  return std::any_of(rules_.begin(), rules_.end(),
                     [&](const RuleSettings& rule) { return rule.name == metric_name; });
}

bool ThresholdRules::is_about(const RuleSettings& rule, const MetricSample& sample) const {
  if (rule.name != sample.name) return false;
  return std::all_of(rule.labels.begin(), rule.labels.end(), [&](const auto& wanted) {
    return std::any_of(sample.labels.begin(), sample.labels.end(), [&](const auto& label) {
      return label.first == wanted.first && label.second == wanted.second;
    });
  });
}

// By what the rule says, so that a state survives a change of other rules.
ThresholdRules::Watch* ThresholdRules::watch_of(std::size_t rule_index,
                                                const MetricSample& sample) {
  const RuleSettings& rule = rules_[rule_index];
  series_name(sample, key_);
  for (const auto& bound : {rule.above, rule.below}) {
    key_ += '\n';
    if (bound) key_ += number_text(*bound);
  }
  key_ += '\n';
  key_ += std::to_string(rule.for_ns);
  if (const auto found = watches_.find(std::string_view(key_)); found != watches_.end()) {
    return &found->second;
  }
  if (watches_.size() >= series_most_) {
    ++unwatched_;
    return nullptr;
  }
  return &watches_[key_];
}

void ThresholdRules::add(const MetricSample& sample, std::vector<Finding>& findings) {
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    if (!is_about(rules_[i], sample)) continue;
    Watch* watch = watch_of(i, sample);
    if (watch == nullptr || sample.time_ns < watch->last_ns) continue;
    watch->last_ns = sample.time_ns;
    if (auto finding = step(rules_[i], *watch, sample)) findings.push_back(std::move(*finding));
  }
}

std::optional<Finding> ThresholdRules::step(const RuleSettings& rule, Watch& watch,
                                            const MetricSample& sample) {
  if (is_breach(rule, sample.value)) {
    watch.clear_ns.reset();
    if (!watch.breached_ns) {
      watch.breached_ns = sample.time_ns;
      watch.worst = sample.value;
      watch.breaches = 0;
    }
    ++watch.breaches;
    if (excess(rule, sample.value) > excess(rule, watch.worst)) watch.worst = sample.value;
    if (watch.is_open || !has_lasted(*watch.breached_ns, sample.time_ns, rule.for_ns))
      return std::nullopt;
    watch.is_open = true;
    std::string series;
    series_name(sample, series);
    watch.finding_id = instance_ + ":threshold:" + series + ":" + format_time(*watch.breached_ns);
    return finding_of(rule, watch, sample);
  }
  if (!watch.is_open) {
    watch.breached_ns.reset();
    return std::nullopt;
  }
  if (!is_clear(rule, sample.value)) {
    watch.clear_ns.reset();
    return std::nullopt;
  }
  if (!watch.clear_ns) watch.clear_ns = sample.time_ns;
  if (!has_lasted(*watch.clear_ns, sample.time_ns, rule.for_ns)) return std::nullopt;
  watch.is_open = false;
  Finding closed = finding_of(rule, watch, sample);
  closed.is_open = false;
  watch.breached_ns.reset();
  watch.clear_ns.reset();
  return closed;
}

Finding ThresholdRules::finding_of(const RuleSettings& rule, const Watch& watch,
                                   const MetricSample& sample) const {
  Finding out;
  out.finding_id = watch.finding_id;
  out.kind = "threshold";
  series_name(sample, out.target);
  out.target_kind = "metric";
  out.source = instance_;
  out.severity = rule.severity;
  out.onset_ns = watch.breached_ns;
  out.time_ns = sample.time_ns;
  const bool is_above = rule.above && watch.worst > *rule.above;
  const double bound = is_above ? *rule.above : rule.below ? *rule.below : *rule.above;
  const std::string since = format_time(watch.breached_ns.value_or(sample.time_ns));
  out.summary = (rule.summary.empty() ? "" : rule.summary + ": ") + out.target +
                (watch.is_open ? " is " : " was ") + (is_above ? "above " : "below ") +
                with_unit(bound, sample.unit) +
                (watch.is_open ? " since " + since
                               : " from " + since + " to " +
                                     format_time(watch.clear_ns.value_or(sample.time_ns))) +
                ", worst " + with_unit(watch.worst, sample.unit);
  out.evidence_json = dump({{"rule",
                             {{"name", rule.name},
                              {"labels", rule.labels},
                              {"above", number_or_null(rule.above)},
                              {"below", number_or_null(rule.below)},
                              {"clear_margin", rule.clear_margin},
                              {"for_s", static_cast<double>(rule.for_ns) * 1e-9}}},
                            {"value", number_or_null(sample.value)},
                            {"worst", number_or_null(watch.worst)},
                            {"points_breached", watch.breaches},
                            {"unit", sample.unit.empty() ? Json() : Json(sample.unit)}});
  return out;
}

void ThresholdRules::write(StateWriter& out) const {
  std::vector<std::string_view> keys;
  for (const auto& [key, watch] : watches_) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  out.varint(unwatched_).varint(keys.size());
  const auto write_time = [&](const std::optional<std::int64_t>& time_ns) {
    out.boolean(time_ns.has_value()).i64(time_ns.value_or(0));
  };
  for (const std::string_view key : keys) {
    const Watch& watch = watches_.find(key)->second;
    out.text(key).i64(watch.last_ns).boolean(watch.is_open).text(watch.finding_id);
    out.f64(watch.worst).varint(watch.breaches);
    write_time(watch.breached_ns);
    write_time(watch.clear_ns);
  }
}

void ThresholdRules::read(StateReader& in) {
  unwatched_ = in.varint();
  const auto read_time = [&]() -> std::optional<std::int64_t> {
    const bool has_time = in.boolean();
    const std::int64_t time_ns = in.i64();
    if (!has_time) return std::nullopt;
    return time_ns;
  };
  for (std::size_t left = in.count(32); left > 0; --left) {
    Watch& watch = watches_[in.text()];
    watch.last_ns = in.i64();
    watch.is_open = in.boolean();
    watch.finding_id = in.text();
    watch.worst = in.f64();
    watch.breaches = in.varint();
    watch.breached_ns = read_time();
    watch.clear_ns = read_time();
  }
}

}  // namespace ephor::alerter
