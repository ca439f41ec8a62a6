// SPDX-License-Identifier: Apache-2.0
//
// A decision path as a row of gates: what each step weighed, what it had to pass, by how much it
// did.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "settings.hpp"
#include "vocabulary.hpp"

namespace ephor::ensemble_tracker {

struct PathStep {
  std::string_view name;
  double weight = kUnknown;
};

// What one ephor.decision_path told; views are valid as long as their text is.
struct Path {
  std::vector<PathStep> steps;
  std::vector<std::pair<std::string_view, double>> thresholds;
  std::string_view final_decision;

  void clear();
};

struct Gate {
  std::string_view step;
  double weight = kUnknown;
  std::string_view threshold_name;
  double threshold = kUnknown;
  double margin = kUnknown;  // < 0: not passed; NaN: nothing to pass
};

struct PathView {
  std::vector<Gate> gates;
  std::size_t first_failed = SIZE_MAX;
  std::size_t closest = SIZE_MAX;  // the least absolute margin
  double meta_score = kUnknown;
};

class PathRules {
 public:
  explicit PathRules(const Settings& settings)
      : meta_steps_(settings.meta_learner_steps),
        score_steps_(settings.score_steps),
        step_thresholds_(settings.step_thresholds.begin(), settings.step_thresholds.end()) {}

  void view(const Path& path, PathView& out) const;

 private:
  std::vector<std::string> meta_steps_;
  std::vector<std::string> score_steps_;
  std::map<std::string, std::string, std::less<>> step_thresholds_;
};

struct StepCounts {
  std::uint64_t seen = 0;
  std::uint64_t gated = 0;    // had something to pass
  std::uint64_t failed = 0;   // and did not
  std::uint64_t stopped = 0;  // the first that failed, and the decision was to hold
  double margin_sum = 0.0;
};

struct PathCounts {
  static constexpr std::size_t kStepsMax = 64;

  std::uint64_t paths = 0;
  std::uint64_t held = 0;
  std::uint64_t refused = 0;      // held though the primary prediction acts
  std::uint64_t unexplained = 0;  // refused, and every gate passed
  std::map<NameId, StepCounts> steps;

  void add(const PathView& path, Names& names, bool is_held, bool is_refused);
};
void write(StateWriter& out, const PathCounts& counts);
void read(StateReader& in, PathCounts& counts);

}  // namespace ephor::ensemble_tracker
