// SPDX-License-Identifier: Apache-2.0
//
// When a report is due and what it is over. One run per local period, numbered: a run's number is
// its identity, whatever the clock does. Pure: log time comes in, periods come out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "time_zone.hpp"

namespace ephor::reporter {

enum class Cadence { hourly, daily, weekly, monthly };

// Throws Error(EPHOR_INVALID) on another word.
Cadence cadence_of(std::string_view word);
std::string_view name_of(Cadence cadence);

// A reporting window [from, to) by the local calendar, so that a day of a clock change has 23 or 25
// hours, and the instant from which its report may be made.
struct Period {
  std::int64_t index = 0;
  std::int64_t from_ns = 0;
  std::int64_t to_ns = 0;
  std::int64_t due_ns = 0;
  std::string key;  // local date of the run's window: "2017-11-08", hourly "2017-11-08T13"
};

class Schedule {
 public:
  struct Options {
    Cadence cadence = Cadence::daily;
    std::int64_t at_s = 300;  // local time of day of the run; hourly: the minutes of it
    int weekday = 0;          // of a weekly run, 0 = Monday
    int day_of_month = 1;     // of a monthly run; the last day where the month has no such day
  };

  Schedule(Options options, TimeZone zone) : options_(options), zone_(std::move(zone)) {}

  // A run's window ends at the local midnight that begins the run's date (hourly: at the full hour)
  // and begins one day, seven days or one month before.
  Period period(std::int64_t index) const;
  // The number of the last period that is due at `time_ns`.
  std::int64_t last_due(std::int64_t time_ns) const;
  // The last complete local day before `time_ns`: what a report is over if nothing is asked for.
  Period last_complete_day(std::int64_t time_ns) const;

  Cadence cadence() const { return options_.cadence; }
  const TimeZone& zone() const { return zone_; }
  // Tells schedules apart whose period numbers mean different things.
  std::string signature() const;

 private:
  std::int64_t run_date(std::int64_t index) const;  // days since 1970-01-01, local
  std::int64_t midnight_ns(std::int64_t date) const;

  Options options_;
  TimeZone zone_;
};

// "2017-11-08" of a number of days since 1970-01-01.
std::string date_text(std::int64_t days);

}  // namespace ephor::reporter
