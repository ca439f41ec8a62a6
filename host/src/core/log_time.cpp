// SPDX-License-Identifier: Apache-2.0
#include "core/log_time.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace ephor::host {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

std::int64_t whole_seconds(std::int64_t ns) {
  return ns >= 0 ? ns / kSecondNs : -((-ns + kSecondNs - 1) / kSecondNs);
}

}  // namespace

LogTime::Source& LogTime::source(std::uint32_t number) {
  if (number >= index_of_.size()) index_of_.resize(number + 1, 0);
  if (index_of_[number] == 0) {
    sources_.push_back({number, kNone});
    index_of_[number] = static_cast<std::uint32_t>(sources_.size());
    is_slowest_known_ = false;
  }
  return sources_[index_of_[number] - 1];
}

LogTime::Seen LogTime::observe(std::uint32_t number, std::int64_t time_ns) {
  Source& from = source(number);
  // As if it had been saved and loaded since: a restart makes no difference.
  if (from.greatest_ns != kNone && is_forgotten(from)) from.greatest_ns = kNone;
  Seen seen;
  seen.is_late = (from.greatest_ns != kNone && time_ns < from.greatest_ns - options_.lateness_ns) ||
                 (flushed_ns_ != kNone && time_ns < flushed_ns_);
  if (from.greatest_ns != kNone && time_ns <= from.greatest_ns) return seen;
  from.greatest_ns = time_ns;
  greatest_ns_ = std::max(greatest_ns_, time_ns);
  const bool holds_back = !is_slowest_known_ || &from == &sources_[slowest_] ||
                          sources_[slowest_].greatest_ns < greatest_ns_ - options_.idle_after_ns;
  if (holds_back) seen.tick_ns = advance();
  return seen;
}

std::optional<std::int64_t> LogTime::advance() {
  is_slowest_known_ = false;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const std::int64_t at = sources_[i].greatest_ns;
    if (at == kNone || at < greatest_ns_ - options_.idle_after_ns) continue;
    if (!is_slowest_known_ || at < sources_[slowest_].greatest_ns) {
      slowest_ = i;
      is_slowest_known_ = true;
    }
  }
  const std::int64_t least = sources_[slowest_].greatest_ns - options_.lateness_ns;
  if (now_ns_ != kNone && least <= now_ns_) return std::nullopt;
  now_ns_ = least;
  if (const std::int64_t second = whole_seconds(least); second > tick_s_) {
    tick_s_ = second;
    return second * kSecondNs;
  }
  return std::nullopt;
}

std::optional<std::int64_t> LogTime::flush() {
  if (!can_flush()) return std::nullopt;
  flushed_ns_ = greatest_ns_;
  now_ns_ = std::max(now_ns_, greatest_ns_);
  tick_s_ = std::max(tick_s_, whole_seconds(now_ns_));
  return greatest_ns_;
}

std::string LogTime::to_text(const Snapshot& snapshot) {
  nlohmann::json out{{"version", 1},
                     {"now_ns", snapshot.now_ns},
                     {"greatest_ns", snapshot.greatest_ns},
                     {"flushed_ns", snapshot.flushed_ns},
                     {"tick_s", snapshot.tick_s},
                     {"sources", nlohmann::json::array()}};
  for (const auto& [name, greatest_ns] : snapshot.sources)
    out["sources"].push_back({name, greatest_ns});
  return out.dump();
}

std::optional<LogTime::Snapshot> LogTime::from_text(std::string_view text) {
  try {
    const auto in = nlohmann::json::parse(text);
    if (in.at("version") != 1) return std::nullopt;
    Snapshot out{in.at("now_ns"), in.at("greatest_ns"), in.at("flushed_ns"), in.at("tick_s"), {}};
    for (const auto& one : in.at("sources")) out.sources.emplace_back(one.at(0), one.at(1));
    return out;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace ephor::host
