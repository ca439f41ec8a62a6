// SPDX-License-Identifier: Apache-2.0
#include "planner.hpp"

#include <algorithm>

namespace ephor::reporter {

Plan Planner::advance(std::int64_t time_ns, const std::function<std::int64_t()>& clock_ns) {
  Plan plan;
  if (handled_ && time_ns < next_due_ns_) return plan;
  const std::int64_t latest = schedule_.last_due(time_ns);
  const std::int64_t begin = handled_.value_or(latest) + 1;
  handled_ = std::max(latest, begin - 1);
  next_due_ns_ = schedule_.period(*handled_ + 1).due_ns;
  if (latest < begin) return plan;

  const std::int64_t behind_ns = clock_ns() - time_ns;
  const bool is_played_back = behind_ns > max_lateness_ns_ || behind_ns < -max_lateness_ns_;
  std::int64_t first_run = latest + 1;
  if (!is_played_back) {
    while (first_run > begin &&
           time_ns - schedule_.period(first_run - 1).due_ns <= max_lateness_ns_) {
      --first_run;
    }
    // What fell due longer ago, fell due while nobody was there.
    const bool makes_up_last = catch_up_ == CatchUp::last && first_run > latest;
    if (makes_up_last) first_run = latest;
    if (catch_up_ == CatchUp::all)
      first_run = std::min(first_run, std::max(begin, latest + 1 - max_catch_up_));
  }
  for (std::int64_t index = std::max(first_run, begin); index <= latest; ++index) {
    const Period period = schedule_.period(index);
    plan.runs.push_back({period, time_ns - period.due_ns > max_lateness_ns_});
  }
  if (first_run > begin) {
    plan.skipped = Gap{schedule_.period(begin), schedule_.period(first_run - 1), first_run - begin,
                       is_played_back ? "log time was not that of the clock: nothing is made of "
                                        "recordings and back-filled time"
                                      : "it fell due while Ephor was not running"};
  }
  return plan;
}

std::optional<Period> Planner::next_period() const {
  if (!handled_) return std::nullopt;
  return schedule_.period(*handled_ + 1);
}

void Planner::save(StateWriter& out) const {
  out.text(schedule_.signature()).boolean(handled_.has_value()).i64(handled_.value_or(0));
}

void Planner::load(StateReader& in) {
  const bool is_same = in.text() == schedule_.signature();
  const bool has_handled = in.boolean();
  const std::int64_t handled = in.i64();
  if (!is_same || !has_handled) return;
  handled_ = handled;
  next_due_ns_ = schedule_.period(handled + 1).due_ns;
}

}  // namespace ephor::reporter
