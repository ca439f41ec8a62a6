// SPDX-License-Identifier: Apache-2.0
//
// Where the end-to-end time of a trace went, and where that of the slow traces went.
//
// The critical path is what would have had to be faster for the whole to end earlier (the algorithm
// of Jaeger's UI and of Google's CRISP; Zhang et al. 2022, "CRISP: Critical Path Analysis of
// Large-Scale Microservice Architectures", USENIX ATC). Walking back from the end of a span, the
// time belongs to the child that ended last before where the walk stands, and inside it to its own
// children; what no such child explains belongs to the span itself. A child that ran beside one
// that ended later made nobody wait, unless it ended before that one began.
//
// Three children need a word. One that outlives its parent and shares its clock was not waited for.
// One of another component that overlaps its parent's end is taken to have ended with it: clocks of
// two machines differ. A consumer of messages is never waited for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "red_table.hpp"
#include "trace_assembler.hpp"

namespace ephor::tracer {

struct PathSpan {
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  std::size_t parent = kNone;  // place in the trace
  std::uint64_t clock = 0;     // spans with the same value share a clock
  std::uint64_t tie = 0;       // of spans that end together the greatest counts as the last; stable
  bool is_async = false;
};

// How much of the time of `root` each span is answerable for: sums to the root's duration. Spans
// that are not below the root get 0. O(n log n); deep traces need no stack. Keeps its memory.
class CriticalPathFinder {
 public:
  const std::vector<std::int64_t>& find(std::span<const PathSpan> spans, std::size_t root);
  // Beside it: whether a span was on the path, be it for no time.
  const std::vector<char>& is_on_path() const { return is_on_path_; }

 private:
  struct Part {
    std::size_t span;
    std::int64_t from_ns;
    std::int64_t until_ns;
  };
  std::vector<std::int64_t> own_ns_;
  std::vector<char> is_on_path_;
  std::vector<std::size_t> by_end_;
  std::vector<std::size_t> first_child_;
  std::vector<std::size_t> next_sibling_;
  std::vector<Part> parts_;
};

// The sums over traces of one root operation, by how long they took: enough to answer for any
// window and any quantile, exactly but for the width of a bucket of durations (8.3 %).
class CriticalPaths {
 public:
  // Quarter as fine as the sketch of durations.
  static std::uint32_t bucket_of(std::int64_t duration_ns) {
    return Sketch::bin_of(static_cast<double>(duration_ns)) >> 2;
  }
  static double bucket_start_ns(std::uint32_t bucket);  // what lies in it is greater

  explicit CriticalPaths(std::size_t roots_max) : roots_max_(roots_max) {}

  // A finished trace. Counts for the operation of its root; without a root, or beyond `roots_max`
  // root operations, it is counted as left out.
  void add_trace(std::span<const FinishedSpan> trace);
  // Of the latest trace that had a root: its place, and its spans' times on the path.
  std::optional<std::size_t> latest_root() const { return latest_root_; }

  struct Share {
    std::uint32_t operation = 0;
    std::uint64_t ns = 0;
    std::uint64_t traces = 0;  // it was on the path of so many
  };
  struct Cohort {
    std::uint64_t traces = 0;
    std::uint64_t ns = 0;  // all of it
    std::vector<Share> shares;
  };
  struct Answer {
    std::int64_t from_ns = 0;
    std::int64_t to_ns = 0;
    std::int64_t resolution_ns = 0;
    double threshold_ns = 0.0;  // the slow cohort took longer
    Cohort slow;
    Cohort rest;
  };
  // Slow: the traces in the bucket of rank floor(quantile * (n - 1)) and above. Times are widened
  // as RedTable does. Empty without traces.
  std::optional<Answer> ask(std::uint32_t root_operation, std::optional<std::int64_t> from_ns,
                            std::optional<std::int64_t> to_ns, double quantile) const;

  struct Root {
    std::uint32_t operation = 0;
    std::uint64_t traces = 0;
  };
  const std::vector<Root>& roots() const { return roots_; }  // in order of appearance
  std::uint64_t without_root() const { return without_root_; }
  std::uint64_t beyond_roots() const { return beyond_roots_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  struct Sums {
    std::uint64_t ns = 0;
    std::uint64_t traces = 0;
  };
  struct Entry {
    std::uint64_t key = 0;
    Sums sums;
  };
  using Window = std::vector<Entry>;  // by key
  struct HotMinute {
    std::int64_t number = 0;
    std::unordered_map<std::uint64_t, Sums> sums;
  };

  static std::uint64_t key_of(std::size_t root, std::uint32_t bucket, std::uint32_t operation);
  std::optional<std::size_t> root_index(std::uint32_t operation);
  std::int64_t ring_start(std::size_t ring) const;
  void merge_at(std::int64_t time_ns, const Window& entries) const;
  void settle(HotMinute& minute) const;
  void settle() const;

  std::size_t roots_max_;
  std::vector<Root> roots_;
  mutable std::array<std::map<std::int64_t, Window>, RedTable::kRings.size()> rings_;
  mutable std::array<HotMinute, 2> hot_;  // by the parity of the minute
  std::int64_t first_ns_ = 0;
  std::int64_t last_ns_ = 0;
  std::uint64_t traces_ = 0;
  std::uint64_t without_root_ = 0;
  std::uint64_t beyond_roots_ = 0;
  std::optional<std::size_t> latest_root_;
  CriticalPathFinder finder_;
  std::vector<PathSpan> spans_;  // scratch
  std::vector<std::pair<std::uint32_t, std::int64_t>> by_operation_;
};

}  // namespace ephor::tracer
