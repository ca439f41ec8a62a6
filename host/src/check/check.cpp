// SPDX-License-Identifier: Apache-2.0
#include "check/check.hpp"

namespace ephor::host::check {

const std::vector<Check>& all_checks() {
  static const std::vector<Check> kAll = [] {
    std::vector<Check> all;
    for (const auto group :
         {&load_checks, &process_checks, &note_checks, &descriptor_checks, &schema_checks,
          &config_checks, &lifecycle_checks, &leak_checks, &contract_checks}) {
      for (const Check& check : group()) all.push_back(check);
    }
    for (const auto group : {&thread_checks, &event_checks, &hostile_checks, &query_checks,
                             &state_checks, &host_failure_checks, &skew_checks}) {
      for (const Check& check : group()) all.push_back(check);
    }
    return all;
  }();
  return kAll;
}

std::string_view name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::passed:
      return "passed";
    case Outcome::failed:
      return "failed";
    case Outcome::skipped:
      return "skipped";
    case Outcome::blocked:
      return "blocked";
    case Outcome::crashed:
      return "crashed";
    case Outcome::timed_out:
      return "timed out";
  }
  return "unknown";
}

}  // namespace ephor::host::check
