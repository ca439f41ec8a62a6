// SPDX-License-Identifier: Apache-2.0
#include "equity.hpp"

#include <algorithm>
#include <ephor/text_hash.hpp>
#include <tuple>

namespace ephor::trade_tracker {
namespace {

// Of samples of one instant the greater value stands, so that order decides nothing.
bool is_earlier(const EquitySample& a, const EquitySample& b) {
  return a.time_ns != b.time_ns ? a.time_ns < b.time_ns : a.value > b.value;
}
bool is_later(const EquitySample& a, const EquitySample& b) {
  return std::tie(a.time_ns, a.value) > std::tie(b.time_ns, b.value);
}
bool is_lower(const EquitySample& a, const EquitySample& b) {
  return std::tie(a.value, a.time_ns) < std::tie(b.value, b.time_ns);
}
bool is_higher(const EquitySample& a, const EquitySample& b) {
  return a.value != b.value ? a.value > b.value : a.time_ns < b.time_ns;
}

void write_sample(StateWriter& out, const EquitySample& sample) {
  out.i64(sample.time_ns).f64(sample.value);
}
EquitySample read_sample(StateReader& in) {
  EquitySample sample;
  sample.time_ns = in.i64();
  sample.value = in.f64();
  return sample;
}

}  // namespace

std::int64_t day_of(std::int64_t time_ns) {
  const std::int64_t day = time_ns / kDayNs;
  return time_ns % kDayNs < 0 ? day - 1 : day;
}

void EquityDays::add(std::string_view account, EquitySample sample) {
  const std::uint64_t hash = hash64(account);
  const auto at = std::lower_bound(accounts_.begin(), accounts_.end(), hash);
  if ((at == accounts_.end() || *at != hash) && accounts_.size() < kAccountsMax) {
    accounts_.insert(at, hash);
  }
  ++sample_count_;
  const auto [found, is_new] =
      days_.try_emplace(day_of(sample.time_ns), EquityDay{sample, sample, sample, sample});
  if (is_new) {
    if (days_.size() > days_max_) days_.erase(days_.begin());
    return;
  }
  EquityDay& day = found->second;
  if (is_earlier(sample, day.first)) day.first = sample;
  if (is_later(sample, day.last)) day.last = sample;
  if (is_lower(sample, day.lowest)) day.lowest = sample;
  if (is_higher(sample, day.highest)) day.highest = sample;
}

std::optional<EquitySample> EquityDays::first() const {
  if (days_.empty()) return std::nullopt;
  return days_.begin()->second.first;
}

std::optional<EquitySample> EquityDays::last() const {
  if (days_.empty()) return std::nullopt;
  return days_.rbegin()->second.last;
}

std::optional<double> EquityDays::at_end_before(std::int64_t day) const {
  auto at = days_.lower_bound(day);
  if (at == days_.begin()) return std::nullopt;
  return (--at)->second.last.value;
}

void EquityDays::write(StateWriter& out) const {
  out.varint(sample_count_).varint(accounts_.size());
  for (const std::uint64_t account : accounts_) out.u64(account);
  out.varint(days_.size());
  for (const auto& [day, summary] : days_) {
    out.signed_varint(day);
    for (const EquitySample& sample :
         {summary.first, summary.last, summary.lowest, summary.highest}) {
      write_sample(out, sample);
    }
  }
}

void EquityDays::read(StateReader& in) {
  sample_count_ = in.varint();
  accounts_.clear();
  for (std::size_t left = in.count(8); left > 0; --left) accounts_.push_back(in.u64());
  days_.clear();
  for (std::size_t left = in.count(65); left > 0; --left) {
    EquityDay& day = days_[in.signed_varint()];
    for (EquitySample* sample : {&day.first, &day.last, &day.lowest, &day.highest}) {
      *sample = read_sample(in);
    }
  }
}

std::vector<double> daily_returns(const std::map<std::int64_t, double>& closes,
                                  std::int64_t first_day, std::int64_t last_day, double base) {
  std::vector<double> out;
  double previous = base;
  for (std::int64_t day = first_day; day <= last_day; ++day) {
    if (!(previous > 0.0)) return {};
    const auto found = closes.find(day);
    const double value = found == closes.end() ? previous : found->second;
    out.push_back(value / previous - 1.0);
    previous = value;
  }
  return out;
}

}  // namespace ephor::trade_tracker
