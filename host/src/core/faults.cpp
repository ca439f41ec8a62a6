// SPDX-License-Identifier: Apache-2.0
#include "core/faults.hpp"

#include <algorithm>
#include <utility>

namespace ephor::host {

std::int64_t FaultLedger::backoff(std::uint32_t round) const {
  constexpr std::uint32_t kDoublingsMax = 30;
  std::int64_t delay_ns = settings_.backoff_ns;
  for (std::uint32_t i = 1; i < std::min(round, kDoublingsMax); ++i) {
    if (delay_ns >= settings_.backoff_max_ns) break;
    delay_ns *= 2;
  }
  return std::min(delay_ns, settings_.backoff_max_ns);
}

FaultLedger::Verdict FaultLedger::judge(std::int64_t now_ns) {
  if (is_calm(now_ns)) losses_ = rounds_ = 0;
  last_ns_ = now_ns;
  failures_.push_back(now_ns);
  while (!is_replay_ && failures_.front() < now_ns - settings_.window_ns) failures_.pop_front();
  if (failures_.size() <= settings_.budget) return {};
  failures_.clear();
  ++rounds_;
  if (is_replay_ || rounds_ > settings_.restarts_max) return {Action::give_up, 0};
  return {Action::quarantine, backoff(rounds_)};
}

FaultLedger::Verdict FaultLedger::note_failure(std::int64_t now_ns) { return judge(now_ns); }

FaultLedger::Verdict FaultLedger::note_loss(std::int64_t now_ns) {
  Verdict verdict = judge(now_ns);
  ++losses_;
  if (verdict.action == Action::go_on) verdict.delay_ns = backoff(losses_);
  return verdict;
}

bool FaultLedger::is_calm(std::int64_t now_ns) const {
  return !is_replay_ && (last_ns_ == INT64_MIN || now_ns - last_ns_ > settings_.window_ns);
}

void FaultLedger::clear() {
  failures_.clear();
  last_ns_ = INT64_MIN;
  losses_ = rounds_ = 0;
}

std::uint32_t PoisonEvents::note_failed(std::uint64_t sequence, std::string error) {
  Failed& failed = failed_[sequence];
  failed.error = std::move(error);
  if (++failed.attempts >= attempts_max_) poison_.insert(sequence);
  return failed.attempts;
}

bool PoisonEvents::note_skipped(std::uint64_t sequence) {
  return !std::exchange(failed_.at(sequence).was_skipped, true);
}

bool PoisonEvents::any_within(std::uint64_t first, std::uint64_t last) const {
  const auto found = poison_.lower_bound(first);
  return found != poison_.end() && *found <= last;
}

void PoisonEvents::forget_before(std::uint64_t sequence) {
  failed_.erase(failed_.begin(), failed_.lower_bound(sequence));
  poison_.erase(poison_.begin(), poison_.lower_bound(sequence));
}

}  // namespace ephor::host
