// SPDX-License-Identifier: Apache-2.0
//
// Answers a search for traces, newest first. Ids and declared attributes go through the journal's
// index, so what was acknowledged is found at once, whether this plugin has read it or not. Names,
// durations and failures are decided by the summaries. Where only the spans can tell (an attribute
// that nobody declared) they are read, newest trace first, until a deadline: then the answer says
// how far back it looked.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "search.hpp"
#include "story.hpp"
#include "trace_store.hpp"

namespace ephor::tracer {

struct SearchRequest {
  static constexpr std::uint64_t kFirstPage = std::numeric_limits<std::int64_t>::max();

  SearchExpression expression;
  std::optional<std::int64_t> from_ns;  // of the trace's start
  std::optional<std::int64_t> to_ns;    // exclusive
  std::size_t limit = 20;
  std::uint64_t before = kFirstPage;  // the cursor: traces of a smaller number
  std::int64_t deadline_ms = 250;

  // From the parameters of a request. Throws ephor::Error with the parameter's pointer.
  static SearchRequest of(const Json& request);
};

// Where the spans come from.
struct TraceSource {
  // Every event that carries the id, in log order.
  std::function<std::vector<StoryEvent>(const std::string& id)> events_of;
  std::function<std::int64_t()> monotonic_ns;
  // Attributes the journal's index knows by their value.
  std::vector<std::string> join_attributes;
};

class TraceSearch {
 public:
  TraceSearch(TraceStore& traces, const TraceSource& source) : traces_(traces), source_(source) {}

  Json answer(const SearchRequest& request);

 private:
  using Ids = std::set<TraceId>;

  std::optional<Ids> ask_index(const SearchRequest& request);
  Ids ids_by(const std::string& text) const;
  bool is_indexed(const SearchTerm& term) const;
  bool is_wanted(const TraceChunk& chunk, const TraceSummary& summary);
  Truth tell(const TraceId& id, const SearchTerm& term);
  void look_up(const Ids& ids);
  void add_remembered();
  void scan();
  void add(const TraceChunk& chunk, const TraceSummary& summary);
  bool is_late() const { return source_.monotonic_ns() > deadline_ns_; }

  TraceStore& traces_;
  const TraceSource& source_;
  const SearchRequest* request_ = nullptr;
  std::int64_t deadline_ns_ = 0;
  std::map<const SearchTerm*, Ids> by_index_;  // which traces fulfil a term
  std::vector<StoryEvent> events_;             // of the trace in hand
  std::optional<TraceId> loaded_;
  std::set<TraceId> found_;
  Json list_ = Json::array();
  std::size_t looked_at_ = 0;
  std::size_t read_ = 0;
  std::size_t gone_ = 0;
  bool is_complete_ = true;
  std::optional<std::int64_t> back_to_ns_;
  std::optional<std::uint64_t> cursor_;
};

Json summary_json(const TraceChunk& chunk, const TraceSummary& summary);

// A summary of the spans among `events`, for a trace that has none (any more).
TraceChunk summary_of(const TraceId& id, const std::vector<StoryEvent>& events);

}  // namespace ephor::tracer
