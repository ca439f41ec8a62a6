// SPDX-License-Identifier: Apache-2.0
//
// Answers made of the events of one id, as found in the journal: the story of a correlation id and
// the tree of a trace. Pure: events in, JSON out.
#pragma once

#include <cstdint>
#include <ephor/json.hpp>
#include <string>
#include <vector>

#include "span_tree.hpp"

namespace ephor::tracer {

struct StoryEvent {
  std::uint64_t sequence = 0;
  std::int64_t time_ns = 0;
  std::string topic;
  std::string via;       // "correlation_id", or the join that found it, e.g. "decision_id"
  Json event;            // the whole CloudEvents object
  bool is_otlp = false;  // how it came
  std::string trace_id = {};  // 32 hex digits, as the host reads it (a client's own id stands in data)
};

// An id that events share.
struct JoinId {
  std::string kind;  // "decision_id", "execution_id", "order_id", "trade_id", "correlation_id" ...
  std::string id;
};

// The trace it is of or happened in; empty: none.
std::string trace_id_of(const StoryEvent& event);

// What `event` can be followed along.
std::vector<JoinId> join_ids_of(const StoryEvent& event);

// `tracked`: the row of correlation_tracking as JSON, null if there is none. `joined`: which ids
// were followed. `is_truncated`: a bound was met and events are missing.
Json tell_story(const std::string& correlation_id, std::vector<StoryEvent> events, Json tracked,
                Json joined, bool is_truncated);

// The trace's spans as nested JSON, and what else carries its trace id.
Json tell_trace(const std::string& trace_id, std::vector<StoryEvent> events, bool is_truncated);

}  // namespace ephor::tracer
