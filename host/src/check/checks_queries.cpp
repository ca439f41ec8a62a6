// SPDX-License-Identifier: Apache-2.0
//
// queries/*: what is asked of it, rightly and wrongly.
#include <ephor/plugin.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <regex>
#include <set>
#include <thread>

#include "check/check.hpp"
#include "check/context.hpp"
#include "check/observed.hpp"
#include "core/schema.hpp"
#include "event/times.hpp"

namespace ephor::host::check {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

// An instance that has read a session, if it wants events, and saved it.
void prepare(Subject& subject, std::uint64_t events = 1000) {
  subject.must_create();
  subject.must_start();
  if (subject.host().queries().empty()) Context::skip("it has no queries");
  const Traffic traffic(subject.host().patterns());
  if (!traffic.is_empty() && events > 0) give(subject, traffic, 0, events);
  std::string state;
  if (subject.checkpoint() != nullptr && subject.save(state) != EPHOR_OK) {
    Context::fail("save failed with " + subject.described(subject.error().code));
  }
}

std::vector<std::string> parameters_of(const std::string& path) {
  std::vector<std::string> out;
  for (std::size_t at = 0; (at = path.find('{', at)) != std::string::npos; ++at) {
    out.push_back(path.substr(at + 1, path.find('}', at) - at - 1));
  }
  return out;
}

std::string failure_of(const Answer& answer) {
  return status_text(answer.status) + ": " + answer.message;
}

void answers_are_json(Context& context) {
  Subject subject(context);
  prepare(subject);
  must_answer_soundly(subject);
  require_no(subject.host(), {Rule::errors, Rule::exceptions, Rule::queries});
  context.note(std::to_string(asks_of(subject.host()).size()) + " answers");
}

// A GET route with parameters of the session answers, or says that it has none of that name.
void reads_succeed(Context& context) {
  Subject subject(context);
  prepare(subject);
  int count = 0;
  for (const Ask& ask : asks_of(subject.host())) {
    if (!ask.is_read) continue;
    const Answer answer = subject.ask(ask.query, ask.request);
    ++count;
    const bool is_right = answer.status == EPHOR_OK || answer.status == EPHOR_NOT_FOUND ||
                          answer.status == EPHOR_INVALID || answer.status == EPHOR_UNSUPPORTED ||
                          answer.status == EPHOR_STATE;
    Context::expect(is_right, ask.name + " asked " + ask.request + ": " + failure_of(answer),
                    "an answer, or a status that tells the asker what to do");
  }
  if (count == 0) Context::skip("it has no GET routes");
  context.note(std::to_string(count) + " routes");
}

void answers_fit_schemas(Context& context) {
  Subject subject(context);
  prepare(subject);
  int count = 0;
  for (const Ask& ask : asks_of(subject.host())) {
    if (!ask.is_read || !ask.is_json || ask.response_schema.empty()) continue;
    const Json schema = Json::parse(ask.response_schema, nullptr, false);
    if (!schema.is_object()) continue;  // queries/schemas_are_schemas
    const Answer answer = subject.ask(ask.query, ask.request);
    if (answer.status != EPHOR_OK) continue;
    Json body = Json::parse(answer.body, nullptr, false);
    if (body.is_discarded()) continue;  // queries/answers_are_json
    ++count;
    std::vector<SchemaError> errors;
    apply_schema(schema, body, "", errors);
    if (!errors.empty()) {
      Context::fail("the answer of " + ask.name + " at " +
                        (errors[0].pointer.empty() ? "/" : errors[0].pointer) + ": " +
                        errors[0].message,
                    "what its response_schema says");
    }
  }
  if (count == 0) Context::skip("no answer has a response_schema");
  context.note(std::to_string(count) + " answers");
}

void schemas_are_schemas(Context& context) {
  Subject subject(context);
  prepare(subject, 0);
  static const std::set<std::string> kTypes{"object",  "array",   "string", "number",
                                            "integer", "boolean", "null"};
  int count = 0;
  for (const CheckingHost::Route& route : subject.host().routes()) {
    for (const auto& [text, what] : {std::pair(route.request_schema, "request_schema"),
                                     std::pair(route.response_schema, "response_schema")}) {
      if (text.empty()) continue;
      ++count;
      const std::string where = std::string(what) + " of " + route.method + " " + route.path;
      const Json schema = Json::parse(text, nullptr, false);
      Context::expect(schema.is_object() || schema.is_boolean(), where + ": " + text.substr(0, 80),
                      "a JSON Schema: an object");
      if (!schema.is_object()) continue;
      const Json type = schema.value("type", Json("object"));
      for (const Json& one : type.is_array() ? type : Json::array({type})) {
        Context::expect(one.is_string() && kTypes.contains(one.get<std::string>()),
                        where + " with type " + one.dump(), "a type of JSON Schema");
      }
      for (const char* member : {"properties", "$defs"}) {
        Context::expect(!schema.contains(member) || schema[member].is_object(),
                        where + " with " + member + " that are no object", "an object");
      }
      try {
        Json tried = Json::object();
        std::vector<SchemaError> unused;
        apply_schema(schema, tried, "", unused);
      } catch (const std::exception& failure) {
        Context::fail(where + ": " + failure.what(), "keywords used rightly");
      }
    }
  }
  if (count == 0) Context::skip("no route has a schema");
  context.note(std::to_string(count) + " schemas");
}

void paths_are_distinct(Context& context) {
  Subject subject(context);
  prepare(subject, 0);
  static const std::regex kParameter("\\{[^}]*\\}");
  std::map<std::string, std::string> seen;
  for (const CheckingHost::Route& route : subject.host().routes()) {
    const std::string shape = route.method + " " + std::regex_replace(route.path, kParameter, "{}");
    const auto [at, is_new] = seen.emplace(shape, route.path);
    Context::expect(is_new, "the routes " + at->second + " and " + route.path,
                    "paths that differ in more than the names of their parameters");
    const std::vector<std::string> names = parameters_of(route.path);
    Context::expect(std::set<std::string>(names.begin(), names.end()).size() == names.size(),
                    "the route " + route.path, "each parameter once");
  }
  if (seen.empty()) Context::skip("it has no routes");
}

void before_the_first_event(Context& context) {
  Subject subject(context);
  prepare(subject, 0);
  for (const Ask& ask : asks_of(subject.host())) {
    const Answer answer = subject.ask(ask.query, ask.request);
    Context::expect(answer.status != EPHOR_INTERNAL,
                    ask.name + " before any event: " + failure_of(answer), "no data, or NOT_FOUND");
  }
  must_answer_soundly(subject);
  require_no(subject.host(), {Rule::errors, Rule::exceptions});
}

void unknown_ids(Context& context) {
  Subject subject(context);
  prepare(subject);
  int count = 0;
  for (const CheckingHost::Route& route : subject.host().routes()) {
    if (route.method != "GET") continue;
    const std::vector<std::string> parameters = parameters_of(route.path);
    if (parameters.empty()) continue;
    Json request = Json::object();
    for (const std::string& name : parameters) request[name] = "nobody-has-this-id";
    for (const CheckingHost::Query& query : subject.host().queries()) {
      if (query.name != route.query) continue;
      ++count;
      const Answer answer = subject.ask(query, request.dump());
      Context::expect(answer.status != EPHOR_INTERNAL && answer.status != EPHOR_IO,
                      "GET " + route.path + " of an unknown id: " + failure_of(answer),
                      "NOT_FOUND, or an answer without data");
    }
  }
  if (count == 0) Context::skip("no GET route has a parameter");
  context.note(std::to_string(count) + " routes");
}

// Each query with requests that are wrong in every way a client or another plugin can send.
void survives_bad_input(Context& context) {
  Subject subject(context);
  prepare(subject, 400);
  std::vector<std::string> requests{"{}",
                                    R"({"x_unknown":{"a":[1,2]}})",
                                    R"({"body":null})",
                                    R"({"body":[]})",
                                    R"({"body":{"a":{"b":1}}})",
                                    R"({"body":"text"})",
                                    R"({"":0,"limit":-1,"offset":-1,"from":"x","to":{}})",
                                    R"({"limit":1e308,"window":"-9223372036854775808"})",
                                    "[]",
                                    "null",
                                    "1",
                                    "\"text\"",
                                    "",
                                    "{",
                                    R"({"a":"\ud800"})"};
  std::string deep(R"({"body":)");
  deep.append(100'000, '[').append(100'000, ']').append("}");
  requests.push_back(std::move(deep));
  requests.push_back(Json{{"body", std::string(1 << 20, 'x')}}.dump());
  int count = 0;
  for (const Ask& ask : asks_of(subject.host())) {
    for (const std::string& request : requests) {
      subject.remark(request.substr(0, 60));
      (void)subject.ask(ask.query, request);
      ++count;
    }
    // Every member that the route names, of every type.
    const Json right = Json::parse(ask.request);
    for (const auto& [name, unused] : right.items()) {
      for (const Json& value : {Json(), Json(7), Json(true), Json::array({1}), Json::object()}) {
        Json wrong = right;
        wrong[name] = value;
        subject.remark(wrong.dump());
        (void)subject.ask(ask.query, wrong.dump());
        ++count;
      }
    }
  }
  require_no(subject.host(), {Rule::exceptions, Rule::errors});
  context.note(std::to_string(count) + " requests");
}

// What a path or a query string can bring: text, always.
void hostile_parameters(Context& context) {
  Subject subject(context);
  prepare(subject, 400);
  const std::string texts[] = {"",
                               "'",
                               "' OR '1'='1",
                               "x; DROP TABLE x; --",
                               "%",
                               "_",
                               "../../../../etc/passwd",
                               std::string("a\0b", 3),
                               "\xF0\x9F\x92\xA9\xE2\x80\xAE",
                               "-1",
                               "99999999999999999999999",
                               "NaN",
                               "1e999",
                               "%n%s",
                               "<script>alert(1)</script>",
                               std::string(65'536, 'x')};
  int count = 0;
  for (const CheckingHost::Route& route : subject.host().routes()) {
    if (route.method != "GET") continue;
    std::vector<std::string> names = parameters_of(route.path);
    const std::size_t in_path = names.size();
    const Json schema = Json::parse(route.request_schema, nullptr, false);
    if (schema.is_object() && schema.value("properties", Json()).is_object()) {
      for (const auto& [name, unused] : schema["properties"].items()) {
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      }
    }
    for (const CheckingHost::Query& query : subject.host().queries()) {
      if (query.name != route.query) continue;
      for (const std::string& name : names) {
        for (const std::string& text : texts) {
          Json request = Json::object();
          for (std::size_t i = 0; i < in_path; ++i) request[names[i]] = "d-3";
          request[name] = text;
          const std::string shown = name + " = " + Json(text.substr(0, 40)).dump();
          subject.remark("with " + shown);
          const Answer answer = subject.ask(query, request.dump());
          ++count;
          Context::expect(answer.status != EPHOR_INTERNAL,
                          "GET " + route.path + " with " + shown + ": " + failure_of(answer),
                          "INVALID or NOT_FOUND: the asker is wrong, not the plugin");
          Context::expect(answer.body.find("root:x:0") == std::string::npos,
                          "/etc/passwd in the answer of GET " + route.path, "not a file");
        }
      }
    }
  }
  require_no(subject.host(), {Rule::exceptions, Rule::errors, Rule::storage});
  if (count == 0) Context::skip("no GET route takes a parameter");
  context.note(std::to_string(count) + " requests");
}

void repeatable(Context& context) {
  Subject subject(context, replaying());
  prepare(subject);
  const Observed first{.drafts = {}, .rows = {}, .answers = answers_of(subject)};
  if (first.answers.empty()) Context::skip("it has no GET routes with JSON that is repeatable");
  const Observed second{.drafts = {}, .rows = {}, .answers = answers_of(subject)};
  must_agree(first, second, "the first answers", "those to the same questions right after");
}

void reads_disturb_nothing(Context& context) {
  skip_source(context);
  const auto lived = [&](bool is_asked) {
    Subject subject(context, replaying());
    const Traffic traffic = begin(subject);
    for (std::uint64_t from = 0; from < 1600; from += 160) {
      give(subject, traffic, from, 160);
      if (!is_asked) continue;
      for (const Ask& ask : asks_of(subject.host())) {
        if (ask.is_read) (void)subject.ask(ask.query, ask.request);
      }
    }
    Observed out = observe(subject);
    end(subject);
    return out;
  };
  must_agree(lived(false), lived(true), "a run without questions", "one with GETs in between");
}

void deadlines(Context& context) {
  Subject subject(context);
  prepare(subject);
  for (const std::int64_t timeout_ns : {-kSecondNs, std::int64_t{0}, kSecondNs / 1000, kSecondNs}) {
    for (const Ask& ask : asks_of(subject.host())) {
      if (!ask.is_read) continue;
      subject.remark("with a deadline " + std::to_string(timeout_ns / 1'000'000) + " ms from now");
      const std::int64_t began = monotonic_ns();
      const Answer answer = subject.ask(ask.query, ask.request, timeout_ns);
      const double seconds = static_cast<double>(monotonic_ns() - began) / 1e9;
      const double seconds_max = std::max(0.0, static_cast<double>(timeout_ns) / 1e9) + 2.0;
      Context::expect(
          seconds < seconds_max, ask.name + " back after " + std::to_string(seconds) + " s",
          "its return at the deadline (" + std::to_string(seconds_max) + " s with patience)");
      if (answer.status == EPHOR_TIMEOUT || timeout_ns < kSecondNs) continue;
      Context::expect(answer.is_finished, ask.name + " pending beyond its deadline", "an end");
    }
  }
}

// A reply that outlives its question, as the host's does until everybody is done with it.
struct LateReply {
  std::atomic<int> finished{0};
  std::string name;
};

void pending_are_finished(Context& context) {
  Subject subject(context);
  prepare(subject);
  std::deque<LateReply>& replies = *new std::deque<LateReply>();  // a bad plugin calls them late
  std::deque<ephor_reply>& tables = *new std::deque<ephor_reply>();
  int pending = 0;
  for (const Ask& ask : asks_of(subject.host())) {
    LateReply& reply = replies.emplace_back();
    reply.name = ask.name;
    ephor_reply& table = tables.emplace_back();
    table = {
        sizeof(ephor_reply),
        0,
        &reply,
        [](void*, ephor_view) -> ephor_status { return EPHOR_OK; },
        [](void* to, ephor_status, const ephor_error*) { ++static_cast<LateReply*>(to)->finished; },
        monotonic_ns() + kSecondNs};
    ephor_error error{};
    error.struct_size = sizeof error;
    const GuardedText request(ask.request);
    context.step("ask " + ask.name);
    ephor_status status = EPHOR_INTERNAL;
    try {
      const CallScope scope(subject.host(), CallKind::query);
      status = ask.query.handler(ask.query.user, request.view(), &table, &error);
    } catch (...) {
      Context::fail("an exception from " + ask.name, "a status");
    }
    if (status == EPHOR_PENDING) {
      ++pending;
    } else {
      Context::expect(reply.finished == 0,
                      ask.name + " finished and returned " + status_text(status),
                      "EPHOR_PENDING from who calls finish");
      replies.pop_back();
    }
  }
  if (pending == 0) Context::skip("none of its answers comes later");
  end(subject);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  for (const LateReply& reply : replies) {
    Context::expect(reply.finished == 1,
                    reply.name + " finished " + std::to_string(reply.finished) + " times by the " +
                        "end of stop",
                    "once");
  }
  context.note(std::to_string(pending) + " answers came later");
}

}  // namespace

std::vector<Check> query_checks() {
  return {
      {"queries/answers_are_json", "Every answer is JSON where its route says so.",
       "The dashboard and other plugins parse it.", &answers_are_json},
      {"queries/reads_succeed", "GET routes answer, or say whose fault it is.",
       "INTERNAL and IO become a 500, for which somebody is woken.", &reads_succeed},
      {"queries/answers_fit_schemas", "Answers are as their response_schema says.",
       "Clients are generated from OpenAPI.", &answers_fit_schemas},
      {"queries/schemas_are_schemas", "Request and response schemas are JSON Schema.",
       "One that is none breaks the OpenAPI page of the whole host.", &schemas_are_schemas},
      {"queries/paths_are_distinct", "No two of its routes match the same path.",
       "Which one answers would be luck.", &paths_are_distinct},
      {"queries/before_the_first_event", "Questions before the first event get \"no data\".",
       "The dashboard is opened first.", &before_the_first_event},
      {"queries/unknown_ids", "An id that nobody has is NOT_FOUND, not a failure.",
       "A wrong link must not look like a broken host.", &unknown_ids},
      {"queries/survives_bad_input", "Wrong requests do no harm and get an error with a text.",
       "They come from outside.", &survives_bad_input},
      {"queries/hostile_parameters", "SQL, paths, control bytes and long texts are mere text.",
       "They come from outside.", &hostile_parameters},
      {"queries/repeatable", "The same question at the same position gets the same answer.",
       "What differs by the run alone is named: x-run-dependent.", &repeatable},
      {"queries/reads_disturb_nothing", "GETs change nothing in what it does.",
       "A dashboard that is open must not change what is found.", &reads_disturb_nothing},
      {"queries/deadlines", "It is back when the deadline is over, also if it was over before.",
       "A query holds up the events of its instance.", &deadlines},
      {"queries/pending_are_finished",
       "An answer that comes later is finished once, before stop ends.",
       "The host keeps the asker waiting until then.", &pending_are_finished},
  };
}

}  // namespace ephor::host::check
