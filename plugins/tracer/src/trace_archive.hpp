// SPDX-License-Identifier: Apache-2.0
//
// The spans of traces that tail sampling keeps, as rows of their own: they stay whole when the
// journal has let go of them. A row is one zstd frame of the spans' CloudEvents objects in log
// order, so that it can be read without knowing how the spans came.
//
// Spans of undecided traces wait here as they arrived; a trace whose spans are not all here (after
// a restart, or late ones) is read from the journal when the rows are saved. Both ways give the
// same row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "story.hpp"
#include "trace_store.hpp"

namespace ephor::tracer {

class TraceArchive {
 public:
  static constexpr const char* kTable = "trace_archive";

  TraceArchive(Host host, std::size_t traces_max) : host_(std::move(host)), max_(traces_max) {}

  // A span of a trace that is not decided yet.
  void hold(std::uint64_t trace, const Event& event);
  // The trace was decided: its spans are kept if `span_count` of them are here, else read later.
  void keep(std::uint64_t trace, std::size_t span_count);
  void drop(std::uint64_t trace) { held_.erase(trace); }
  // A span of a trace that is kept came late.
  void renew(std::uint64_t trace) { changed_.insert(trace); }

  // Writes what is new; erases what is too much and what has no summary any more. `last_sequence`:
  // how far this plugin has read.
  void save(const Rows& rows, TraceStore& traces, std::uint64_t last_sequence,
            std::uint16_t span_topic);

  // The archived spans of a trace, in log order; empty if there are none.
  std::vector<StoryEvent> read(std::uint64_t trace) const;

  std::size_t size() const { return kept_.size(); }
  std::uint64_t evicted() const { return evicted_; }

  void write(StateWriter& out) const;  // after save
  void read(StateReader& in);

 private:
  struct Held {
    Event event{};
    std::string record;
  };
  struct Line {
    bool is_otlp = false;
    std::int64_t time_ns = 0;
    std::string json;
  };

  Line line_of(const Event& event) const;
  static std::string packed(const std::vector<Line>& lines);
  std::vector<Line> stored(std::uint64_t trace) const;
  std::string read_journal(std::uint64_t trace, const TraceSummary& summary,
                           std::uint64_t last_sequence, std::uint16_t span_topic) const;

  Host host_;
  std::size_t max_;
  std::unordered_map<std::uint64_t, std::vector<Held>> held_;  // by trace
  std::map<std::uint64_t, std::string> fresh_;                 // rows to be written
  std::set<std::uint64_t> changed_;                            // rows to be made of the journal
  std::set<std::uint64_t> kept_;                               // traces that have a row
  std::uint64_t evicted_ = 0;
};

}  // namespace ephor::tracer
