// SPDX-License-Identifier: Apache-2.0
#include "story.hpp"

#include <algorithm>
#include <array>
#include <ephor/times.hpp>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "event_members.hpp"
#include "trace_summary.hpp"

namespace ephor::tracer {
namespace {

// Children below it are counted, not shown: readers of JSON recurse.
constexpr std::size_t kDepthMax = 100;
constexpr std::array<std::string_view, 4> kJoins{"decision_id", "execution_id", "order_id",
                                                 "trade_id"};

SpanRecord span_of(const Json& data) {
  SpanRecord span;
  span.trace_id = text_at(data, "trace_id");
  span.span_id = text_at(data, "span_id");
  span.parent_span_id = text_at(data, "parent_span_id");
  span.component = text_at(data, "component");
  span.operation = text_at(data, "operation");
  span.kind = text_at(data, "kind");
  span.status = text_at(data, "status");
  span.error_message = text_at(data, "error_message");
  span.start_ns = integer_at(data, "start_time_unix_nano");
  span.end_ns = integer_at(data, "end_time_unix_nano");
  return span;
}

SpanTree tree_of(const std::vector<StoryEvent>& events) {
  std::vector<SpanRecord> spans;
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (events[i].topic != "ephor.span") continue;
    spans.push_back(span_of(data_of(events[i])));
    spans.back().event_index = i;
  }
  return build_span_tree(std::move(spans));
}

Json node_json(const SpanNode& node, const std::vector<StoryEvent>& events) {
  const SpanRecord& span = node.span;
  const Json& data = data_of(events[span.event_index]);
  Json out{{"span_id", span.span_id},
           {"parent_span_id", span.parent_span_id.empty() ? Json() : Json(span.parent_span_id)},
           {"component", span.component},
           {"operation", span.operation},
           {"start", format_time(span.start_ns)},
           {"duration_ms", to_milliseconds(span.end_ns - span.start_ns)},
           {"self_ms", to_milliseconds(node.self_ns)},
           {"status", span.status.empty() ? "unset" : span.status},
           {"children", Json::array()}};
  if (!span.kind.empty()) out["kind"] = span.kind;
  if (!span.error_message.empty()) out["error_message"] = span.error_message;
  if (const auto found = data.find("attributes"); found != data.end() && found->is_object()) {
    out["attributes"] = *found;
  }
  if (node.is_orphan) out["missing_parent"] = span.parent_span_id;
  if (node.is_cut_loop) out["was_own_ancestor"] = true;
  return out;
}

// Roots with their children nested. Deepest first, so that no recursion is needed.
Json nested(const SpanTree& tree, const std::vector<StoryEvent>& events) {
  std::vector<std::size_t> deepest_first(tree.nodes.size());
  for (std::size_t i = 0; i < deepest_first.size(); ++i) deepest_first[i] = i;
  std::stable_sort(deepest_first.begin(), deepest_first.end(), [&](std::size_t a, std::size_t b) {
    return tree.nodes[a].depth > tree.nodes[b].depth;
  });
  std::vector<Json> built(tree.nodes.size());
  for (const std::size_t index : deepest_first) {
    const SpanNode& node = tree.nodes[index];
    if (node.depth > kDepthMax) continue;
    built[index] = node_json(node, events);
    if (node.depth == kDepthMax && !node.children.empty()) {
      built[index]["children_not_shown"] = node.children.size();
      continue;
    }
    for (const std::size_t child : node.children) {
      built[index]["children"].push_back(std::move(built[child]));
    }
  }
  Json roots = Json::array();
  for (const std::size_t root : tree.roots) roots.push_back(std::move(built[root]));
  return roots;
}

Json critical_path_json(const SpanTree& tree) {
  Json path = Json::array();
  for (std::size_t i = 0; i < tree.critical_path.size(); ++i) {
    const SpanRecord& span = tree.nodes[tree.critical_path[i]].span;
    path.push_back({{"span_id", span.span_id},
                    {"component", span.component},
                    {"operation", span.operation},
                    {"ms", to_milliseconds(tree.critical_ns[i])}});
  }
  return path;
}

// From the first start to the last end of the spans.
Json extent_json(const SpanTree& tree) {
  if (tree.nodes.empty()) return {{"start", nullptr}, {"end", nullptr}, {"duration_ms", nullptr}};
  std::int64_t start = tree.nodes.front().span.start_ns;
  std::int64_t end = tree.nodes.front().span.end_ns;
  for (const SpanNode& node : tree.nodes) {
    start = std::min(start, node.span.start_ns);
    end = std::max(end, node.span.end_ns);
  }
  return {{"start", format_time(start)},
          {"end", format_time(end)},
          {"duration_ms", to_milliseconds(end - start)}};
}

Json tree_json(const SpanTree& tree, const std::vector<StoryEvent>& events) {
  return {{"span_count", tree.nodes.size()},
          {"orphan_count", tree.orphan_count},
          {"duplicate_span_ids", tree.duplicate_count},
          {"roots", nested(tree, events)},
          {"critical_path", critical_path_json(tree)}};
}

Json part_of(const StoryEvent& event) {
  return {{"time", format_time(event.time_ns)},
          {"event_id", text_at(event.event, "id")},
          {"source", text_at(event.event, "source")},
          {"via", event.via},
          {"data", data_of(event)}};
}

Json parts(const std::vector<StoryEvent>& events, std::string_view topic) {
  Json out = Json::array();
  for (const StoryEvent& event : events) {
    if (event.topic == topic) out.push_back(part_of(event));
  }
  return out;
}

bool is_trade_end(const std::string& status) {
  return status == "closed" || status == "cancelled" || status == "failed";
}

// One entry per trade id: how it was opened and how it ended.
Json trades_of(const std::vector<StoryEvent>& events) {
  std::map<std::string, std::size_t> positions;
  Json out = Json::array();
  for (const StoryEvent& event : events) {
    if (event.topic != "ephor.trade") continue;
    const std::string id = text_at(data_of(event), "trade_id");
    const auto [at, is_new] = positions.emplace(id, out.size());
    if (is_new) out.push_back({{"trade_id", id}, {"open", nullptr}, {"close", nullptr}});
    const bool is_end = is_trade_end(text_at(data_of(event), "status"));
    out[at->second][is_end ? "close" : "open"] = part_of(event);
  }
  return out;
}

Json errors_of(const std::vector<StoryEvent>& events) {
  Json out = Json::array();
  for (const StoryEvent& event : events) {
    const Json& data = data_of(event);
    const bool is_failed_span = event.topic == "ephor.span" && text_at(data, "status") == "error";
    const bool is_error_log = event.topic == "ephor.log" && text_at(data, "severity") == "error";
    if (!is_failed_span && !is_error_log) continue;
    out.push_back({{"time", format_time(event.time_ns)},
                   {"event_id", text_at(event.event, "id")},
                   {"component", is_failed_span ? Json(text_at(data, "component")) : Json()},
                   {"operation", is_failed_span ? Json(text_at(data, "operation")) : Json()},
                   {"message", text_at(data, is_failed_span ? "error_message" : "body")}});
  }
  return out;
}

// What a detector or the alerter said because of these events.
Json alerts_of(const std::vector<StoryEvent>& events) {
  Json out = Json::array();
  for (const StoryEvent& event : events) {
    if (event.topic == "ephor.finding" || event.topic.starts_with("ephor.alert") ||
        event.topic == "ephor.drift_alert") {
      out.push_back(part_of(event));
    }
  }
  return out;
}

void sort_by_time(std::vector<StoryEvent>& events) {
  std::sort(events.begin(), events.end(), [](const StoryEvent& a, const StoryEvent& b) {
    return std::tie(a.time_ns, a.sequence) < std::tie(b.time_ns, b.sequence);
  });
}

Json counts_by_type(const std::vector<StoryEvent>& events) {
  Json counts = Json::object();
  for (const StoryEvent& event : events) {
    counts[event.topic] = counts.value(event.topic, 0) + 1;
  }
  return counts;
}

Json raw_events(std::vector<StoryEvent>& events) {
  Json out = Json::array();
  for (StoryEvent& event : events) out.push_back(std::move(event.event));
  return out;
}

}  // namespace

std::string trace_id_of(const StoryEvent& event) {
  if (!event.trace_id.empty()) return event.trace_id;
  const std::string own = text_at(data_of(event), "trace_id");
  if (trace_id_from(own)) return own;
  const std::string parent = text_at(event.event, "traceparent");
  return parent.size() >= 35 ? parent.substr(3, 32) : std::string();
}

std::vector<JoinId> join_ids_of(const StoryEvent& event) {
  const Json& data = data_of(event);
  std::vector<JoinId> ids;
  const auto add = [&](std::string_view kind, std::string id) {
    if (!id.empty()) ids.push_back({std::string(kind), std::move(id)});
  };
  for (const std::string_view kind : kJoins) add(kind, text_at(data, kind));
  if (const auto found = data.find("attributes");
      event.topic == "ephor.span" && found != data.end() && found->is_object()) {
    for (const auto& [name, value] : found->items()) {
      const auto kind = id_kind_of(name);
      if (!kind || *kind == IdKind::symbol || *kind == IdKind::prediction) continue;
      add(name_of(*kind), value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  add("correlation_id", text_at(event.event, "correlationid"));
  add("trace_id", trace_id_of(event));
  return ids;
}

Json tell_story(const std::string& correlation_id, std::vector<StoryEvent> events, Json tracked,
                Json joined, bool is_truncated) {
  sort_by_time(events);
  const SpanTree tree = tree_of(events);
  std::set<std::string> trace_ids;
  for (const SpanNode& node : tree.nodes) trace_ids.insert(node.span.trace_id);
  Json errors = errors_of(events);
  Json decisions = parts(events, "ephor.ensemble_decision");
  const auto first_or_null = [](const Json& list) { return list.empty() ? Json() : list.front(); };
  Json paths = parts(events, "ephor.decision_path");
  Json regimes = parts(events, "ephor.regime");
  Json trades = trades_of(events);
  const bool has_events = !events.empty();
  Json story{{"correlation_id", correlation_id},
             {"over",
              {{"events", events.size()},
               {"events_by_type", counts_by_type(events)},
               {"first", has_events ? Json(format_time(events.front().time_ns)) : Json()},
               {"last", has_events ? Json(format_time(events.back().time_ns)) : Json()},
               {"is_truncated", is_truncated}}},
             {"tracking", std::move(tracked)},
             {"joined", std::move(joined)},
             {"trace_ids", trace_ids},
             {"request", extent_json(tree)},
             {"spans", tree_json(tree, events)},
             {"requests", parts(events, "ephor.correlation_request")},
             {"features", parts(events, "ephor.features")},
             {"predictions", parts(events, "ephor.prediction")},
             {"outcomes", parts(events, "ephor.outcome")},
             {"decision", first_or_null(decisions)},
             {"decisions", std::move(decisions)},
             {"decision_path", first_or_null(paths)},
             {"decision_paths", std::move(paths)},
             {"regime", first_or_null(regimes)},
             {"regimes", std::move(regimes)},
             {"orders", parts(events, "ephor.order")},
             {"fills", parts(events, "ephor.fill")},
             {"trade", first_or_null(trades)},
             {"trades", std::move(trades)},
             {"alerts", alerts_of(events)},
             {"errors", std::move(errors)}};
  story["events"] = raw_events(events);
  return story;
}

Json tell_trace(const std::string& trace_id, std::vector<StoryEvent> events, bool is_truncated) {
  sort_by_time(events);
  const SpanTree tree = tree_of(events);
  Json others = Json::array();
  std::set<std::string> correlation_ids;
  for (const StoryEvent& event : events) {
    const std::string correlation_id = text_at(event.event, "correlationid");
    if (!correlation_id.empty()) correlation_ids.insert(correlation_id);
    if (event.topic == "ephor.span") continue;
    others.push_back({{"time", format_time(event.time_ns)},
                      {"type", event.topic},
                      {"event_id", text_at(event.event, "id")},
                      {"source", text_at(event.event, "source")}});
  }
  std::set<std::string> components;
  std::size_t error_count = 0;
  for (const SpanNode& node : tree.nodes) {
    components.insert(node.span.component);
    error_count += node.span.status == "error" ? 1 : 0;
  }
  Json out = tree_json(tree, events);
  out.update(extent_json(tree));
  out["trace_id"] = trace_id;
  out["correlation_ids"] = correlation_ids;
  out["components"] = components;
  out["error_count"] = error_count;
  out["is_truncated"] = is_truncated;
  out["events"] = std::move(others);
  return out;
}

}  // namespace ephor::tracer
