// SPDX-License-Identifier: Apache-2.0
//
// Decides which reports a schedule makes as log time goes on: each period once, and none for time
// that is only played back. Pure; the clock comes in.
#pragma once

#include <cstdint>
#include <ephor/state.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "schedule.hpp"
#include "settings.hpp"

namespace ephor::reporter {

struct Run {
  Period period;
  bool is_late = false;  // made up for
};

// Periods that got no report, one after another.
struct Gap {
  Period first;
  Period last;
  std::int64_t count = 0;
  std::string reason;
};

struct Plan {
  std::vector<Run> runs;  // the oldest first
  std::optional<Gap> skipped;
};

class Planner {
 public:
  Planner(Schedule schedule, const Settings& settings)
      : schedule_(std::move(schedule)),
        max_lateness_ns_(settings.max_lateness_ns),
        catch_up_(settings.catch_up),
        max_catch_up_(settings.max_catch_up) {}

  // Log time has reached `time_ns`. `clock_ns` is asked only where something is due. The first call
  // ever plans nothing: what was before the first event, nobody knows.
  Plan advance(std::int64_t time_ns, const std::function<std::int64_t()>& clock_ns);

  // When the next period is due; 0 before the first call.
  std::int64_t next_due_ns() const { return next_due_ns_; }
  std::optional<Period> next_period() const;
  const Schedule& schedule() const { return schedule_; }

  void save(StateWriter& out) const;
  // A state of another schedule is read and forgotten.
  void load(StateReader& in);

 private:
  Schedule schedule_;
  std::int64_t max_lateness_ns_;
  CatchUp catch_up_;
  std::int64_t max_catch_up_;
  std::optional<std::int64_t> handled_;  // the last period that was decided about
  std::int64_t next_due_ns_ = 0;
};

}  // namespace ephor::reporter
