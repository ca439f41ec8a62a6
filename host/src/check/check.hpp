// SPDX-License-Identifier: Apache-2.0
//
// One thing that is asked of a plugin, and what came of it. A check runs in a process of its own
// (ephor-checker), so that it may crash, hang or end the process.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::host::check {

class Context;

struct Check {
  std::string_view name;     // group/what; does not change once it was released
  std::string_view summary;  // one line: what a plugin that passes does
  std::string_view why;      // what goes wrong in a host otherwise; shown with a failure
  void (*run)(Context&);     // returns: passed; else throws one of the below
};

// The group of a check: what stands before the slash.
inline std::string_view group_of(std::string_view name) { return name.substr(0, name.find('/')); }

// Every check, in the order in which they are shown. One function per group.
const std::vector<Check>& all_checks();
std::vector<Check> load_checks();
std::vector<Check> process_checks();
std::vector<Check> note_checks();
std::vector<Check> descriptor_checks();
std::vector<Check> schema_checks();
std::vector<Check> config_checks();
std::vector<Check> lifecycle_checks();
std::vector<Check> leak_checks();
std::vector<Check> contract_checks();
std::vector<Check> thread_checks();
std::vector<Check> event_checks();
std::vector<Check> hostile_checks();  // of the group events, too
std::vector<Check> query_checks();
std::vector<Check> state_checks();
std::vector<Check> host_failure_checks();
std::vector<Check> skew_checks();

// What a check throws. The text says what was found and what was expected.
class Ended : public std::exception {
 public:
  explicit Ended(std::string text) : text_(std::move(text)) {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};
class Failed : public Ended {
  using Ended::Ended;
};
// There is nothing to check, say no state; the text says why.
class Skipped : public Ended {
  using Ended::Ended;
};
// Another check (the text is its name) fails on what this one needs first.
class Blocked : public Ended {
  using Ended::Ended;
};

enum class Outcome { passed, failed, skipped, blocked, crashed, timed_out };
std::string_view name_of(Outcome outcome);

// What one child process came to.
struct Result {
  const Check* check = nullptr;
  Outcome outcome = Outcome::passed;
  std::string message;  // of passed: a remark, may be empty
  std::string output;   // what the plugin printed, shortened
  double seconds = 0.0;
  std::string suppressed_by;  // the reason; empty: not suppressed

  bool is_bad() const {
    return outcome == Outcome::failed || outcome == Outcome::crashed ||
           outcome == Outcome::timed_out;
  }
};

}  // namespace ephor::host::check
