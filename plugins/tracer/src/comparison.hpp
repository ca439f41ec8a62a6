// SPDX-License-Identifier: Apache-2.0
//
// What is different about the slow ones? Two cohorts of traces of one operation, those in which it
// took longer than a threshold and the others, compared in all that the spans tell: attributes of
// the operation's span and of the root, self time of each operation below it, of each component,
// and failures.
//
// The traces are exemplars: within a bucket of durations a uniform sample by a hash of their ids.
// So under the hypothesis that something has nothing to do with the duration, it is as frequent in
// the sampled slow traces as in the sampled others, however the buckets were sampled: the tests
// need no weights. The figures beside them do, and have them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/json.hpp>
#include <map>
#include <string>
#include <vector>

#include "span_tree.hpp"

namespace ephor::tracer {

struct ComparedSpan {
  SpanRecord span;
  std::map<std::string, std::string> texts;  // attributes that are no numbers
  std::map<std::string, double> numbers;
};

struct ComparedTrace {
  std::string trace_id;
  double weight = 1.0;  // how many traces it stands for
  std::vector<ComparedSpan> spans;
};

struct ComparisonQuestion {
  std::string component;
  std::string operation;
  double threshold_ns = 0.0;  // slow: longer than that
  std::size_t limit = 50;     // differences told
};

// The most values of an attribute that are compared one by one: beyond it, it is an id or a number.
inline constexpr std::size_t kAttributeValuesMax = 20;
inline constexpr std::size_t kCohortMin = 5;

// {"cohorts", "differences", "left_out", "reason"}; differences by how sure they are, then by size.
// Within a trace, the operation's slowest span counts.
Json compare_json(const std::vector<ComparedTrace>& traces, const ComparisonQuestion& question);

}  // namespace ephor::tracer
