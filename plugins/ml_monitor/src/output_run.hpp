// SPDX-License-Identifier: Apache-2.0
//
// How often in a row a model has said exactly the same, against what it did before: a model that
// repeats itself one time in `1 / repeat_share` makes a run of n with about repeat_share^n.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ephor/state.hpp>

#include "times.hpp"

namespace ephor::ml_monitor {

class OutputRun {
 public:
  static constexpr std::uint64_t kHistoryMin = 30;  // outputs before a run can be judged
  static constexpr std::uint64_t kLeast = 8;        // no shorter run is ever stale
  static constexpr double kChance = 1e-6;           // of so long a run of a sound model

  struct Ended {
    std::uint64_t length = 0;
    std::int64_t begin_ns = kNoTime;
  };

  // `hash` of the whole output. What the run before was, if this output ends it.
  Ended add(std::uint64_t hash, std::int64_t time_ns) {
    if (length_ > 0 && hash == hash_) {
      ++length_;
      return {};
    }
    const Ended ended{length_, begin_ns_};
    if (is_suspect()) {
      suspect_begin_ns_ = begin_ns_;
      suspect_end_ns_ = time_ns;
    }
    if (!is_reported_) {
      outputs_ += length_;
      repeats_ += length_ > 0 ? length_ - 1 : 0;
      longest_ = std::max(longest_, length_);
    }
    hash_ = hash;
    length_ = 1;
    begin_ns_ = time_ns;
    is_reported_ = false;
    return ended;
  }

  // Length from which the run in hand is stale; 0 while too little is known.
  std::uint64_t limit() const {
    if (outputs_ < kHistoryMin) return 0;
    const double needed = std::ceil(std::log(kChance) / std::log(repeat_share()));
    const auto by_chance = static_cast<std::uint64_t>(std::min(needed, 1e9));
    return std::max({kLeast, 2 * longest_ + 1, by_chance});
  }
  bool is_stale() const { return limit() > 0 && length_ >= limit(); }
  // Longer than ever before: not yet stale, but no longer evidence about anything else.
  bool is_suspect() const {
    return outputs_ >= kHistoryMin && length_ > std::max<std::uint64_t>(longest_, 3);
  }
  // An output of that time belonged to such a run.
  bool is_repeating_at(std::int64_t time_ns) const {
    return (is_suspect() && time_ns >= begin_ns_) ||
           (time_ns >= suspect_begin_ns_ && time_ns < suspect_end_ns_);
  }
  double repeat_share() const {
    return (static_cast<double>(repeats_) + 1.0) / (static_cast<double>(outputs_) + 2.0);
  }

  std::uint64_t length() const { return length_; }
  std::uint64_t longest() const { return longest_; }
  std::uint64_t outputs() const { return outputs_; }
  std::int64_t begin_ns() const { return begin_ns_; }
  // A run that was reported is no part of what is usual.
  void set_reported() { is_reported_ = true; }
  bool is_reported() const { return is_reported_; }

  void save(StateWriter& out) const {
    out.u64(hash_).varint(length_).varint(longest_).varint(outputs_).varint(repeats_);
    out.i64(begin_ns_).i64(suspect_begin_ns_).i64(suspect_end_ns_).boolean(is_reported_);
  }
  void load(StateReader& in) {
    hash_ = in.u64();
    length_ = in.varint();
    longest_ = in.varint();
    outputs_ = in.varint();
    repeats_ = in.varint();
    begin_ns_ = in.i64();
    suspect_begin_ns_ = in.i64();
    suspect_end_ns_ = in.i64();
    is_reported_ = in.boolean();
  }

 private:
  std::uint64_t hash_ = 0;
  std::uint64_t length_ = 0;
  std::uint64_t longest_ = 0;
  std::uint64_t outputs_ = 0;  // of runs that are over
  std::uint64_t repeats_ = 0;  // of them, those equal to the one before
  std::int64_t begin_ns_ = kNoTime;
  std::int64_t suspect_begin_ns_ = kNoTime;  // the last such run that is over
  std::int64_t suspect_end_ns_ = kNoTime;
  bool is_reported_ = false;
};

}  // namespace ephor::ml_monitor
