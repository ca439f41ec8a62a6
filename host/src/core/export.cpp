// SPDX-License-Identifier: Apache-2.0
#include "core/export.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <simdjson.h>

#include "core/canonical.hpp"
#include "core/host.hpp"
#include "event/error.hpp"
#include "event/event_json.hpp"
#include "event/hash.hpp"
#include "event/times.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kPluginSourcePrefix = "ephor/";
// Of a route with an id in its path, so many answers are taken.
constexpr std::size_t kIdsMax = 50;

std::string hash_text(std::string_view bytes) {
  const Hash128 hash = hash128(bytes);
  char digits[33];
  std::snprintf(digits, sizeof digits, "%016llx%016llx", static_cast<unsigned long long>(hash.high),
                static_cast<unsigned long long>(hash.low));
  return digits;
}

// The lines of one section, put in order at its end.
class Section {
 public:
  Section(std::string name, const LineSink& sink) : name_(std::move(name)), sink_(sink) {}

  void add(const Json& key, const Json& value) {
    std::string line = R"({"section":)" + canonical_text(name_);
    line += ",\"key\":" + canonical_text(key);
    line += ",\"value\":" + canonical_text(value) + "}";
    lines_.push_back(std::move(line));
  }
  void finish() {
    std::sort(lines_.begin(), lines_.end());
    for (const std::string& line : lines_) sink_(line);
    lines_.clear();
  }

 private:
  const std::string name_;
  const LineSink& sink_;
  std::vector<std::string> lines_;
};

// ---- the journal ------------------------------------------------------------------------------

std::string_view text_member(simdjson::dom::element record, const char* name) {
  std::string_view text;
  if (record[name].get(text) != simdjson::SUCCESS) return {};
  return text;
}

class JournalExport {
 public:
  JournalExport(Host& host, const LineSink& sink)
      : host_(host), derived_("derived", sink), effects_("effect", sink), events_("event", sink) {}

  void run() {
    StoredBatch stored;
    std::vector<ephor_event> events;
    for (std::uint64_t position = 1; host_.log_reader().next(position, stored, events);
         position = stored.position + 1) {
      for (const ephor_event& event : events) {
        if ((event.flags & EPHOR_EVENT_HOST) == 0) add(event);
      }
    }
    derived_.finish();
    effects_.finish();
    events_.finish();
  }

 private:
  void add(const ephor_event& event) {
    const std::string_view text(event.record, event.record_length);
    const std::string source(host_.names().sources.name(event.source));
    const std::string topic(host_.names().topics.name(event.topic));
    if ((event.flags & EPHOR_EVENT_DERIVED) != 0) return add_derived(event, source, topic);
    simdjson::dom::element record;
    if (event.encoding == EPHOR_ENCODING_OTLP) {
      const simdjson::padded_string rendered(event_json(event, source));
      if (parser_.parse(rendered).get(record) == simdjson::SUCCESS) {
        return add_event(event, record, std::string(text_member(record, "source")), topic);
      }
      return events_.add({source, hash_text(text)}, {{"topic", topic}});
    }
    // A buffer of the host has the bytes behind its end that the parser wants.
    if (event.encoding != EPHOR_ENCODING_JSON ||
        parser_.parse(event.record, event.record_length, false).get(record) != simdjson::SUCCESS) {
      return events_.add({source, hash_text(text)}, {{"topic", topic}});
    }
    add_event(event, record, source, topic);
  }

  void add_event(const ephor_event& event, simdjson::dom::element record, const std::string& source,
                 const std::string& topic) {
    const std::string id(text_member(record, "id"));
    if (source.starts_with(kPluginSourcePrefix)) {
      // A plugin noted what it did to the world, and when by the clock.
      return effects_.add({source, id}, {{"topic", topic}});
    }
    const bool is_of_the_clock =
        (event.flags & (EPHOR_EVENT_TIME_ARRIVAL | EPHOR_EVENT_TIME_CLAMPED)) != 0;
    simdjson::dom::element data;
    const bool has_data = record["data"].get(data) == simdjson::SUCCESS;
    events_.add({source, id},
                {{"topic", topic},
                 {"time", is_of_the_clock ? Json() : Json(format_time(event.time_ns))},
                 {"data", has_data ? Json(hash_text(simdjson::minify(data))) : Json()}});
  }

  // Its id and its parent span are made of the cause's place in this journal; they are left out.
  void add_derived(const ephor_event& event, const std::string& source, const std::string& topic) {
    const Json record =
        Json::parse(event.record, event.record + event.record_length, nullptr, false);
    Json value{{"data", record.value("data", Json())}};
    if (const auto found = record.find("correlationid"); found != record.end()) {
      value["correlationid"] = *found;
    }
    derived_.add({source, topic, format_time(event.time_ns)}, value);
  }

  Host& host_;
  simdjson::dom::parser parser_;
  Section derived_;
  Section effects_;
  Section events_;
};

// ---- tables -----------------------------------------------------------------------------------

Json value_of(const ephor_cell& cell, ColumnType type) {
  switch (cell.kind) {
    case EPHOR_CELL_INTEGER:
      return type == ColumnType::real ? Json(static_cast<double>(cell.integer))
                                      : Json(cell.integer);
    case EPHOR_CELL_REAL:
      return cell.real;
    case EPHOR_CELL_BLOB:
      return {{"bytes", cell.bytes.size}, {"hash", hash_text(to_text(cell.bytes))}};
    case EPHOR_CELL_TEXT:
    case EPHOR_CELL_JSON: {
      const std::string_view text = to_text(cell.bytes);
      if (type == ColumnType::blob) return {{"bytes", text.size()}, {"hash", hash_text(text)}};
      if (type != ColumnType::json) return std::string(text);
      Json parsed = Json::parse(text, nullptr, false);
      return parsed.is_discarded() ? Json(std::string(text)) : parsed;
    }
    default:
      return nullptr;
  }
}

void export_table(Host& host, const Table& table, const LineSink& sink) {
  const RunDependent left_out(table.run_dependent);
  std::string columns;
  for (const Column& column : table.columns) {
    columns += (columns.empty() ? "\"" : ", \"") + column.name + "\"";
  }
  Section section("table " + table.name, sink);
  host.storage().select("SELECT " + columns + " FROM \"" + table.name + "\"", {},
                        [&](std::span<const ephor_cell> cells) {
                          Json row = Json::object();
                          Json key = Json::array();
                          for (std::size_t i = 0; i < table.columns.size(); ++i) {
                            row[table.columns[i].name] = value_of(cells[i], table.columns[i].type);
                          }
                          for (const std::size_t i : table.key) {
                            key.push_back(row[table.columns[i].name]);
                            row.erase(table.columns[i].name);
                          }
                          left_out.leave_out_of(row);
                          section.add(key, row);
                          return EPHOR_OK;
                        });
  section.finish();
}

void export_tables(Host& host, const LineSink& sink) {
  std::set<std::string> known;
  for (const std::shared_ptr<const Table>& table : host.storage().tables()) {
    known.insert(table->name);
    export_table(host, *table, sink);
  }
  // Of plugins that are not configured now: nobody here knows their columns.
  Section unread("unread table", sink);
  host.storage().select("SELECT name, owner FROM ephor_tables", {},
                        [&](std::span<const ephor_cell> cells) {
                          const std::string name(to_text(cells[0].bytes));
                          if (!known.contains(name)) {
                            unread.add({name}, {{"owner", std::string(to_text(cells[1].bytes))}});
                          }
                          return EPHOR_OK;
                        });
  unread.finish();
}

// ---- answers ----------------------------------------------------------------------------------

void collect(const Json& value, const std::string& name, std::set<std::string>& found) {
  if (!value.is_structured()) return;
  if (value.is_object()) {
    const auto member = value.find(name);
    if (member != value.end() && member->is_string()) found.insert(member->get<std::string>());
  }
  for (const Json& child : value) collect(child, name, found);
}

// What says how much is in memory just now depends on when it was last saved.
void leave_out_memory(Json& value) {
  if (!value.is_structured()) return;
  if (value.is_object()) {
    for (auto member = value.begin(); member != value.end();) {
      member = member.key().ends_with("_in_memory") ? value.erase(member) : std::next(member);
    }
  }
  for (Json& child : value) leave_out_memory(child);
}

class AnswerExport {
 public:
  AnswerExport(Host& host, const LineSink& sink) : host_(host), section_("answer", sink) {
    for (const auto& instance : host.instances()) {
      if (instance->is_source()) sources_.insert(instance->name());
    }
  }

  void run() {
    std::vector<RouteEntry> with_id;
    host_.registry().visit_routes([&](const RouteEntry& route) {
      if (route.method != "GET" || sources_.contains(route.instance)) return;
      (route.path.find('{') == std::string::npos ? plain_ : with_id).push_back(route);
    });
    for (const RouteEntry& route : plain_) {
      const Json answer = add({"GET " + route.path}, route, Json::object());
      answers_[route.instance].push_back(answer);
    }
    for (const RouteEntry& route : with_id) add_ids(route);
    for (const QueryEntry& query : host_.registry().queries()) {
      if (!query.name.ends_with(".summary")) continue;
      RouteEntry no_route;
      no_route.query = query.name;
      add({query.name}, no_route, Json::object());
    }
    section_.finish();
  }

 private:
  // The ids are those that the instance's own lists name, the first of them in order.
  void add_ids(const RouteEntry& route) {
    const std::size_t begin = route.path.find('{');
    const std::size_t end = route.path.find('}', begin);
    if (end == std::string::npos || route.path.find('{', end) != std::string::npos) return;
    const std::string name = route.path.substr(begin + 1, end - begin - 1);
    std::set<std::string> ids;
    for (const Json& answer : answers_[route.instance]) collect(answer, name, ids);
    std::size_t taken = 0;
    for (const std::string& id : ids) {
      if (taken++ == kIdsMax) return;
      add({"GET " + route.path, id}, route, {{name, id}});
    }
  }

  Json add(const std::vector<std::string>& key, const RouteEntry& route, const Json& request) {
    const RunDependent left_out = RunDependent::of_schema(route.response_schema);
    if (left_out.is_everything()) return nullptr;
    Json answer;
    try {
      const std::string text = host_.query(route.query, request.dump());
      answer = Json::parse(text, nullptr, false);
      if (answer.is_discarded()) answer = text;
    } catch (const HostError& failure) {
      answer = {{"failed", failure.status()}};
    } catch (const Error& failure) {
      answer = {{"failed", failure.code()}};
    }
    Json shown = answer;
    left_out.leave_out_of(shown);
    leave_out_memory(shown);
    section_.add(key, shown);
    return answer;
  }

  Host& host_;
  Section section_;
  std::set<std::string> sources_;
  std::vector<RouteEntry> plain_;
  std::map<std::string, std::vector<Json>> answers_;  // by instance, of plain_
};

// Offline, what an instance had still to read is in its memory and not in its tables.
void refuse_unsaved(Host& host) {
  for (const auto& instance : host.instances()) {
    if (!instance->saves_state() || instance->position() <= instance->restored_sequence()) continue;
    throw HostError(EPHOR_STATE,
                    host.settings().data_dir.string() + ": instance " + instance->name() +
                        " has saved up to " + std::to_string(instance->restored_sequence()) +
                        " of a log that reaches " + std::to_string(host.log().last_sequence()) +
                        "; expected all of it: start a host on it and stop it once");
  }
}

}  // namespace

void settle(Host& host) {
  constexpr std::int64_t kTimeoutNs = 600'000'000'000;
  const std::int64_t deadline_ns = monotonic_ns() + kTimeoutNs;
  bool is_in_time = true;
  for (std::uint64_t seen = UINT64_MAX; is_in_time && seen != host.log().last_sequence();) {
    seen = host.log().last_sequence();
    is_in_time = host.wait_until_read(deadline_ns - monotonic_ns());
    for (const auto& instance : host.instances()) {
      is_in_time = is_in_time && host.log().wait_committed(instance->last_derived_ticket(),
                                                           deadline_ns - monotonic_ns());
    }
  }
  if (!is_in_time || !host.save(deadline_ns - monotonic_ns())) {
    throw HostError(EPHOR_TIMEOUT, "the log was not read and saved within 600 s");
  }
}

void export_canonical(Host& host, const LineSink& sink) {
  if (host.is_offline()) refuse_unsaved(host);
  const std::uint64_t last = host.log().last_sequence();
  sink(R"({"section":"ephor export","key":[],"value":{"version":1}})");
  AnswerExport(host, sink).run();
  JournalExport(host, sink).run();
  export_tables(host, sink);
  if (host.log().last_sequence() != last) {
    throw HostError(EPHOR_CONFLICT, "events came in during the export; expected a log at rest");
  }
}

}  // namespace ephor::host
