// SPDX-License-Identifier: Apache-2.0
//
// Log time: how far the events have come, told by the events alone.
//
// Each source's watermark is its greatest event time less the allowed lateness (Akidau et al. 2015,
// The Dataflow Model, VLDB 8(12)). Log time is the least watermark of the active sources and never
// goes back; a source is active unless it lies more than `idle_after` behind the greatest event
// time. An event behind its source's watermark, or behind what an idle flush has released, is late.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::host {

struct LogTimeOptions {
  std::int64_t lateness_ns = 600'000'000'000;      // 10 min
  std::int64_t idle_after_ns = 1'800'000'000'000;  // 30 min; > lateness
};

// Not thread-safe; copyable, because a failed commit goes back to the copy before it.
class LogTime {
 public:
  static constexpr std::int64_t kNone = INT64_MIN;

  explicit LogTime(LogTimeOptions options = {}) : options_(options) {}

  struct Seen {
    bool is_late = false;
    std::optional<std::int64_t> tick_ns;  // log time has reached another whole second: this one
  };
  // `source`: its interned number. Amortised O(1), O(sources) when the slowest one moves.
  Seen observe(std::uint32_t source, std::int64_t time_ns);

  // Everything seen is released: log time reaches the greatest event time. Empty if nothing is new.
  std::optional<std::int64_t> flush();
  bool can_flush() const { return greatest_ns_ != kNone && greatest_ns_ > flushed_ns_; }

  // kNone until an event came.
  std::int64_t now_ns() const { return now_ns_; }
  std::int64_t greatest_ns() const { return greatest_ns_; }

  // To text and back, by source names, since numbers are the process's own.
  template <typename NameOf>
  std::string save(NameOf&& name_of) const;
  template <typename NumberOf>
  bool load(std::string_view text, NumberOf&& number_of);

 private:
  struct Source {
    std::uint32_t number = 0;
    std::int64_t greatest_ns = kNone;
  };
  struct Snapshot {
    std::int64_t now_ns, greatest_ns, flushed_ns, tick_s;
    std::vector<std::pair<std::string, std::int64_t>> sources;
  };
  static std::string to_text(const Snapshot& snapshot);
  static std::optional<Snapshot> from_text(std::string_view text);

  // What was idle for a day (at the default) begins anew, so that what is saved stays bounded.
  bool is_forgotten(const Source& one) const {
    constexpr std::int64_t kIdlePeriods = 48;
    return one.greatest_ns < greatest_ns_ - kIdlePeriods * options_.idle_after_ns;
  }
  Source& source(std::uint32_t number);
  std::optional<std::int64_t> advance();

  LogTimeOptions options_;
  std::vector<Source> sources_;          // in order of first sight
  std::vector<std::uint32_t> index_of_;  // by source number: index into sources_ + 1
  std::size_t slowest_ = 0;              // index of the source that holds log time back
  bool is_slowest_known_ = false;
  std::int64_t now_ns_ = kNone;
  std::int64_t greatest_ns_ = kNone;
  std::int64_t flushed_ns_ = kNone;
  std::int64_t tick_s_ = kNone;
};

template <typename NameOf>
std::string LogTime::save(NameOf&& name_of) const {
  Snapshot snapshot{now_ns_, greatest_ns_, flushed_ns_, tick_s_, {}};
  for (const Source& one : sources_) {
    if (!is_forgotten(one)) {
      snapshot.sources.emplace_back(std::string(name_of(one.number)), one.greatest_ns);
    }
  }
  return to_text(snapshot);
}

template <typename NumberOf>
bool LogTime::load(std::string_view text, NumberOf&& number_of) {
  const auto snapshot = from_text(text);
  if (!snapshot) return false;
  *this = LogTime(options_);
  for (const auto& [name, greatest_ns] : snapshot->sources) {
    source(number_of(name)).greatest_ns = greatest_ns;
  }
  now_ns_ = snapshot->now_ns;
  greatest_ns_ = snapshot->greatest_ns;
  flushed_ns_ = snapshot->flushed_ns;
  tick_s_ = snapshot->tick_s;
  return true;
}

}  // namespace ephor::host
