// SPDX-License-Identifier: Apache-2.0
#include "mix_watch.hpp"

#include <algorithm>
#include <cmath>

namespace ephor::ensemble_tracker {
namespace {

constexpr std::size_t kLags = 10;
constexpr double kStandardErrorsMin = 2.0;

}  // namespace

MixWatch::Window MixWatch::judge() const {
  const Entry* const x = entries_.data() + before_;
  const auto n = static_cast<double>(window_);
  Window out;
  for (std::size_t i = 0; i < window_; ++i) out.mean += x[i].excess / n;
  double variance = 0.0;
  for (std::size_t lag = 0; lag <= kLags && lag < window_; ++lag) {
    double sum = 0.0;
    for (std::size_t i = lag; i < window_; ++i) {
      sum += (x[i].excess - out.mean) * (x[i - lag].excess - out.mean) / n;
    }
    const double weight = 1.0 - static_cast<double>(lag) / (kLags + 1.0);
    variance += lag == 0 ? sum : 2.0 * weight * sum;
  }
  // No spread at all: as sure as can be said.
  out.standard_errors = variance > 0.0 ? out.mean / std::sqrt(variance / n)
                                       : (out.mean > 0.0 ? 1e9 : (out.mean < 0.0 ? -1e9 : 0.0));
  return out;
}

std::int64_t MixWatch::find_onset() const {
  double sum = 0.0;
  double best = 0.0;
  std::size_t at = entries_.size() - 1;
  for (std::size_t i = entries_.size(); i-- > 0;) {
    sum += entries_[i].excess - latest_.mean / 2.0;
    if (sum <= best) continue;
    best = sum;
    at = i;
  }
  return entries_[at].time_ns;
}

MixWatch::Verdict MixWatch::add(std::int64_t time_ns, double excess) {
  entries_.push_back({time_ns, excess});
  if (entries_.size() - before_ < window_) return Verdict::nothing;
  previous_ = latest_;
  latest_ = judge();
  const bool is_bad = latest_.mean >= limit_ && latest_.standard_errors >= kStandardErrorsMin;
  const bool is_good = latest_.mean < limit_ / 2.0;
  bad_in_a_row_ = is_bad ? bad_in_a_row_ + 1 : 0;
  good_in_a_row_ = is_good ? good_in_a_row_ + 1 : 0;
  Verdict verdict = Verdict::nothing;
  if (!is_open_ && bad_in_a_row_ >= 2) {
    verdict = Verdict::found;
    is_open_ = true;
    onset_ns_ = find_onset();
  } else if (is_open_ && good_in_a_row_ >= 2) {
    verdict = Verdict::over;
    is_open_ = false;
  }
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(before_));
  before_ = entries_.size();
  return verdict;
}

void MixWatch::write(StateWriter& out) const {
  out.varint(entries_.size()).varint(before_);
  for (const Entry& entry : entries_) out.i64(entry.time_ns).f64(entry.excess);
  out.f64(latest_.mean).f64(latest_.standard_errors);
  out.f64(previous_.mean).f64(previous_.standard_errors);
  out.varint(bad_in_a_row_).varint(good_in_a_row_).i64(onset_ns_).boolean(is_open_);
}

void MixWatch::read(StateReader& in) {
  entries_.resize(in.count());
  before_ = static_cast<std::size_t>(in.varint());
  for (Entry& entry : entries_) {
    entry.time_ns = in.i64();
    entry.excess = in.f64();
  }
  latest_.mean = in.f64();
  latest_.standard_errors = in.f64();
  previous_.mean = in.f64();
  previous_.standard_errors = in.f64();
  bad_in_a_row_ = in.varint();
  good_in_a_row_ = in.varint();
  onset_ns_ = in.i64();
  is_open_ = in.boolean();
  if (before_ > entries_.size()) throw Error(EPHOR_INVALID, "state: a window that does not fit");
}

}  // namespace ephor::ensemble_tracker
