// SPDX-License-Identifier: Apache-2.0
#include "check/observed.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>

#include "check/process_state.hpp"
#include "core/canonical.hpp"
#include "event/times.hpp"

namespace ephor::host::check {
namespace {

// A value that the session has, for a parameter of that name.
std::string known_value(std::string_view parameter) {
  constexpr std::pair<std::string_view, const char*> kKnown[] = {
      {"model", "m-1"},     {"decision", "d-3"},   {"trade", "t-3"},       {"order", "o-3"},
      {"execution", "x-3"}, {"ensemble", "e-1"},   {"correlation", "c-3"}, {"prediction", "p-3"},
      {"symbol", "SYM1"},   {"name", "latency_1"}, {"metric", "latency_1"}};
  for (const auto& [part, value] : kKnown) {
    if (parameter.find(part) != std::string_view::npos) return value;
  }
  if (parameter.find("trace") != std::string_view::npos) return std::string(31, '0') + "1";
  return "d-3";
}

std::string request_of(const std::string& path) {
  Json request = Json::object();
  for (std::size_t at = 0; (at = path.find('{', at)) != std::string::npos; ++at) {
    const std::string name = path.substr(at + 1, path.find('}', at) - at - 1);
    request[name] = known_value(name);
  }
  return request.dump();
}

}  // namespace

std::vector<Ask> asks_of(CheckingHost& host) {
  std::vector<Ask> out;
  const std::vector<CheckingHost::Route> routes = host.routes();
  for (const CheckingHost::Query& query : host.queries()) {
    bool has_route = false;
    for (const CheckingHost::Route& route : routes) {
      if (route.query != query.name) continue;
      has_route = true;
      const bool is_json =
          route.content_type.empty() || route.content_type.find("json") != std::string::npos;
      out.push_back({query, route.method + " " + route.path, request_of(route.path),
                     route.response_schema, route.method == "GET", is_json});
    }
    if (!has_route) out.push_back({query, "query " + query.name, "{}", "", false, true});
  }
  return out;
}

Drafts drafts_of(CheckingHost& host) {
  Drafts out;
  for (const CheckingHost::Published& one : host.published()) {
    out[one.cause_sequence].push_back(one.topic + " " + one.correlation_id + " " + one.data_json);
  }
  return out;
}

std::string rows_of(CheckingHost& host) {
  std::vector<std::string> lines;
  for (const Table& table : host.storage().tables()) {
    const RunDependent left_out(table.run_dependent);
    host.storage().select(
        "SELECT * FROM \"" + table.name + "\"", {}, [&](std::span<const ephor_cell> cells) {
          Json row = Json::object();
          for (std::size_t i = 0; i < cells.size() && i < table.columns.size(); ++i) {
            const ephor_cell& cell = cells[i];
            Json& value = row[table.columns[i].name];
            if (cell.kind == EPHOR_CELL_INTEGER) value = cell.integer;
            if (cell.kind == EPHOR_CELL_REAL) value = cell.real;
            if (cell.kind < EPHOR_CELL_TEXT) continue;
            value = std::string(to_text(cell.bytes));
            if (table.columns[i].type != ColumnType::json) continue;
            Json parsed = Json::parse(to_text(cell.bytes), nullptr, false);
            if (!parsed.is_discarded()) value = std::move(parsed);
          }
          left_out.leave_out_of(row);
          lines.push_back(table.name + " " + canonical_text(row) + "\n");
          return EPHOR_OK;
        });
  }
  std::sort(lines.begin(), lines.end());
  std::string out;
  for (const std::string& line : lines) out += line;
  return out;
}

std::string answers_of(Subject& subject) {
  std::string out;
  for (const Ask& ask : asks_of(subject.host())) {
    if (!ask.is_read || !ask.is_json) continue;
    const RunDependent left_out = RunDependent::of_schema(ask.response_schema);
    if (left_out.is_everything()) continue;
    const Answer answer = subject.ask(ask.query, ask.request);
    out += ask.name + ": ";
    if (answer.status != EPHOR_OK) {
      out += status_text(answer.status) + "\n";
      continue;
    }
    Json body = Json::parse(answer.body, nullptr, false);
    left_out.leave_out_of(body);
    out += (body.is_discarded() ? answer.body : canonical_text(body)) + "\n";
  }
  return out;
}

Observed observe(Subject& subject) {
  if (subject.checkpoint() != nullptr) {
    std::string state;
    if (const ephor_status status = subject.save(state); status != EPHOR_OK) {
      Context::fail("save failed with " + subject.described(status));
    }
  }
  return {drafts_of(subject.host()), rows_of(subject.host()), answers_of(subject)};
}

void must_agree(const Observed& left, const Observed& right, const std::string& left_name,
                const std::string& right_name) {
  const auto differ = [&](const std::string& what, const std::string& how) {
    Context::fail("that " + left_name + " and " + right_name + " differ in " + what + ": " + how,
                  "the same");
  };
  for (const auto& [cause, texts] : left.drafts) {
    const auto found = right.drafts.find(cause);
    if (found != right.drafts.end() && found->second == texts) continue;
    differ("what was published because of event " + std::to_string(cause),
           "- " + texts.front().substr(0, 300) + "\n+ " +
               (found == right.drafts.end() ? "nothing" : found->second.front().substr(0, 300)) +
               "\n(" + std::to_string(texts.size()) + " and " +
               std::to_string(found == right.drafts.end() ? 0 : found->second.size()) + " drafts)");
  }
  for (const auto& [cause, texts] : right.drafts) {
    if (!left.drafts.contains(cause)) {
      differ("what was published because of event " + std::to_string(cause),
             "- nothing\n+ " + texts.front().substr(0, 300));
    }
  }
  if (left.rows != right.rows) differ("their rows", difference(left.rows, right.rows));
  if (left.answers != right.answers) {
    differ("their answers", difference(left.answers, right.answers));
  }
}

HostOptions replaying(CheckingStorage* rows) {
  HostOptions options;
  options.mode = "replay";
  options.rows_before = rows;
  return options;
}

void skip_source(Context& context) {
  if (context.is_source()) Context::skip("it is a source, which is not started in a replay");
}

Traffic begin(Subject& subject) {
  subject.must_create();
  subject.must_start();
  Traffic traffic(subject.host().patterns());
  if (traffic.is_empty()) Context::skip("it wants no events");
  return traffic;
}

void give(Subject& subject, const Traffic& traffic, std::uint64_t from, std::uint64_t count,
          std::uint64_t slice) {
  for (std::uint64_t done = 0; done < count; done += slice) {
    subject.must_handle(traffic.slice(subject.host(), from + done, std::min(slice, count - done)));
  }
}

void end(Subject& subject) {
  (void)subject.drain(monotonic_ns() + 1'000'000'000);
  subject.must_stop();
  subject.destroy();
}

std::int64_t after_share(const Context& context, double share) {
  return monotonic_ns() + static_cast<std::int64_t>(context.target().timeout_s * share * 1e9);
}

void must_answer_soundly(Subject& subject) {
  for (const Ask& ask : asks_of(subject.host())) {
    const Answer answer = subject.ask(ask.query, ask.request);
    if (answer.status != EPHOR_OK || !ask.is_json || nlohmann::json::accept(answer.body)) continue;
    Context::fail("the answer of " + ask.name + ": " + answer.body.substr(0, 200),
                  "one JSON value");
  }
}

}  // namespace ephor::host::check
