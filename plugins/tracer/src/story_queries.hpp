// SPDX-License-Identifier: Apache-2.0
//
// The story of any id: what the journal's index finds of it, of the ids those events name, and what
// other plugins say of them. A plugin that knows more about ids than its events tell provides a
// query INSTANCE.describe: the request is {"ids": [...]}, the answer any JSON object; it stands in
// the story under "described" with the instance's name.
#pragma once

#include <ephor/json.hpp>
#include <ephor/plugin.hpp>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "story.hpp"
#include "trace_queries.hpp"
#include "trace_store.hpp"

namespace ephor::tracer {

class StoryQueries {
 public:
  // The row of correlation_tracking of a correlation id as JSON, null if there is none.
  using Tracked = std::function<Json(const std::string& correlation_id)>;

  // All outlive this object.
  StoryQueries(const Host& host, TraceStore& traces, TraceQueries& queries, Tracked tracked)
      : host_(host), traces_(traces), queries_(queries), tracked_(std::move(tracked)) {}

  void provide();  // [control]

 private:
  struct Found {
    std::vector<StoryEvent> events;
    std::set<std::uint64_t> known;  // sequences of them
    Json joined = Json::array();
    std::set<std::string> ids;  // followed
    bool is_complete = true;
  };

  std::string answer(const Json& request);
  void start(const std::string& id, Found& found);
  void follow(Found& found);
  void follow_one(const JoinId& join, Found& found);
  Json tracked_of(const std::string& id, const Found& found) const;
  Json described_by_others(const std::set<std::string>& ids);
  void read_describers(std::string list_json);

  const Host& host_;
  TraceStore& traces_;
  TraceQueries& queries_;
  Tracked tracked_;
  struct Describer {
    std::string query;
    std::string instance;
  };
  std::vector<Describer> describers_;
  std::string describers_read_from_;  // the host's list of all queries
};

}  // namespace ephor::tracer
