// SPDX-License-Identifier: Apache-2.0
#include "story_queries.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "story_gaps.hpp"

namespace ephor::tracer {
namespace {

constexpr std::size_t kStoryEventsMax = 2000;
constexpr std::size_t kJoinsMax = 32;
constexpr std::size_t kDescribedIdsMax = 64;
constexpr std::int64_t kDescribeTimeoutNs = 1'000'000'000;
constexpr std::string_view kDescribe = ".describe";

}  // namespace

void StoryQueries::provide() {
  host_.provide_route(
      {.method = "GET",
       .path = "/api/tracing/correlation/{correlation_id}",
       .query = "tracer.correlation",
       .summary = "The story of any id: correlation, trace, decision, execution, "
                  "order, trade or prediction; describe=0 asks no other plugin",
       .response_schema = R"({"type":"object","x-run-dependent":[
"described/**/first_sequence","described/**/sequence"]})"},
      [this](std::string_view request) { return answer(parse_json(request, "request")); });
}

std::string StoryQueries::answer(const Json& request) {
  const std::string id = request_text(request, "correlation_id");
  Found found;
  start(id, found);
  follow(found);
  Json tracked = tracked_of(id, found);
  const Json described = request_integer(request, "describe", 1, 0, 1) == 1
                             ? described_by_others(found.ids)
                             : Json::object();
  std::map<std::string, std::size_t> spans_known;
  const auto remember = [&](const TraceSummary& summary) {
    spans_known[hex_of(summary.id)] = summary.span_count;
  };
  for (const std::string& one : found.ids) {
    const auto trace = trace_id_from(one);
    const TraceStore::Found summary = trace ? traces_.find(*trace) : TraceStore::Found{};
    if (summary) remember(*summary.summary);
  }
  if (found.events.empty()) traces_.for_each_with_id(id, INT64_MIN, remember);
  if (found.events.empty() && tracked.is_null() && spans_known.empty() && described.empty()) {
    throw Error(EPHOR_NOT_FOUND,
                "no event carries the id \"" + id +
                    "\" as correlation, trace, decision, execution, order, trade or prediction id",
                "/correlation_id");
  }
  Json gaps = gaps_of(found.events, spans_known);
  Json traces = traces_of(found.events);
  Json pnl = pnl_of(found.events);
  Json story = tell_story(id, std::move(found.events), std::move(tracked), std::move(found.joined),
                          !found.is_complete);
  story["id"] = id;
  story["gaps"] = std::move(gaps);
  story["traces"] = std::move(traces);
  story["pnl"] = std::move(pnl);
  story["described"] = described;
  return dump(story);
}

void StoryQueries::start(const std::string& id, Found& found) {
  found.ids.insert(id);
  if (const auto trace = trace_id_from(id)) {
    found.ids.insert(hex_of(*trace));
    found.events = queries_.events_of_trace(*trace, &found.is_complete);
    for (StoryEvent& event : found.events) {
      found.known.insert(event.sequence);
      event.via = event.via == "archive" ? event.via : "id";
    }
    return;
  }
  found.is_complete =
      collect_events(host_, id, "correlation_id", kStoryEventsMax, found.known, found.events);
  // Which kind of id it is shows in what was found.
  for (StoryEvent& event : found.events) {
    const std::vector<JoinId> joins = join_ids_of(event);
    const auto own =
        std::find_if(joins.begin(), joins.end(), [&](const JoinId& join) { return join.id == id; });
    if (own != joins.end()) event.via = own->kind;
  }
}

// From the events found so far, each id once: a trace's id and the ids of a decision's way to its
// trade. The correlation id of what was found brings the rest.
void StoryQueries::follow(Found& found) {
  for (std::size_t i = 0; i < found.events.size(); ++i) {
    for (const JoinId& join : join_ids_of(found.events[i])) {
      if (!found.ids.insert(join.id).second) continue;
      if (found.joined.size() >= kJoinsMax) {
        found.is_complete = false;
        return;
      }
      follow_one(join, found);
    }
  }
}

void StoryQueries::follow_one(const JoinId& join, Found& found) {
  const std::size_t before = found.events.size();
  if (const auto trace = trace_id_from(join.id); trace && join.kind == "trace_id") {
    bool is_complete = true;
    for (StoryEvent& event : queries_.events_of_trace(*trace, &is_complete)) {
      if (event.sequence != 0 && !found.known.insert(event.sequence).second) continue;
      if (found.events.size() >= kStoryEventsMax) is_complete = false;
      if (!is_complete) break;
      found.events.push_back(std::move(event));
    }
    found.is_complete = found.is_complete && is_complete;
  } else {
    found.is_complete =
        collect_events(host_, join.id, join.kind, kStoryEventsMax, found.known, found.events) &&
        found.is_complete;
  }
  found.joined.push_back(
      {{"by", join.kind}, {"id", join.id}, {"events_added", found.events.size() - before}});
}

Json StoryQueries::tracked_of(const std::string& id, const Found& found) const {
  Json tracked = tracked_(id);
  for (const Json& join : found.joined) {
    if (!tracked.is_null()) break;
    if (join["by"] == "correlation_id") tracked = tracked_(join["id"].get<std::string>());
  }
  return tracked;
}

// The list is long and hardly ever changes.
void StoryQueries::read_describers(std::string list_json) {
  if (list_json == describers_read_from_) return;
  describers_.clear();
  for (const Json& query : Json::parse(list_json, nullptr, false)) {
    std::string name = query.value("name", "");
    std::string instance = query.value("instance", "");
    if (!name.ends_with(kDescribe) || instance == host_.instance()) continue;
    describers_.push_back({std::move(name), std::move(instance)});
  }
  describers_read_from_ = std::move(list_json);
}

Json StoryQueries::described_by_others(const std::set<std::string>& ids) {
  Json out = Json::object();
  const auto* table = host_.extension<ephor_query>("ephor.query/1");
  if (table == nullptr) return out;
  std::string text;
  ephor_writer writer = string_writer(text);
  check([&](ephor_error* error) { return table->list(table->context, &writer, error); });
  read_describers(std::move(text));
  Json list = Json::array();
  for (const std::string& id : ids) {
    if (list.size() < kDescribedIdsMax) list.push_back(id);
  }
  const std::string request = dump({{"ids", std::move(list)}});
  for (const auto& [query, instance] : describers_) {
    try {
      Json answer = parse_json(host_.ask(query, request, kDescribeTimeoutNs), query);
      if (!answer.empty()) out[instance] = std::move(answer);
    } catch (const Error& failure) {  // one that is busy or broken must not cost the story
      out[instance] = {{"error", failure.what()}};
    }
  }
  return out;
}

}  // namespace ephor::tracer
