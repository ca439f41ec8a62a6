// SPDX-License-Identifier: Apache-2.0
//
// Questions about single traces, asked of the real tracer.so on the fake host: search, Jaeger's
// query API, the story of any id, tail sampling.
#include <algorithm>
#include <ephor/testing/fake_host.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "tracer_select.hpp"
#include "tracer_session.hpp"

namespace {

using namespace ephor::testing;
using Json = nlohmann::json;

constexpr std::int64_t kStart = 1'700'000'000'000'000'000;

struct Tracer {
  explicit Tracer(std::string_view config = "{}") {
    host.on_select([this](std::string_view sql, std::span<const ephor_cell> parameters) {
      return select_rows(host, sql, parameters);
    });
    host.load_plugin(plugin_entry("tracer"), config, "tracer");
  }
  Json get(const std::string& target) { return Json::parse(host.request("GET", target)); }
  ephor_status failure_of(const std::string& target) {
    try {
      host.request("GET", target);
      return EPHOR_OK;
    } catch (const ephor::Error& failure) {
      return failure.code();
    }
  }

  FakeHost host;
};

std::string trace_hex(int trace) {
  char out[33];
  std::snprintf(out, sizeof out, "%016x%016llx", 0xabcd, (trace + 1) * 0x9E3779B97F4A7C15ULL);
  return out;
}

std::string time_text(std::int64_t ns) {
  const std::time_t seconds = static_cast<std::time_t>(ns / 1'000'000'000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  char out[80];
  std::snprintf(out, sizeof out, "%s.%09lldZ", text, static_cast<long long>(ns % 1'000'000'000));
  return out;
}

std::string line_of(const std::string& id, const std::string& type, const Json& data,
                    std::int64_t time_ns = kStart, const std::string& correlation = {},
                    const std::string& trace = {}) {
  Json event{{"specversion", "1.0"}, {"id", id},     {"source", "bot"},
             {"type", type},         {"data", data}, {"time", time_text(time_ns)}};
  if (!correlation.empty()) event["correlationid"] = correlation;
  if (!trace.empty()) event["traceparent"] = "00-" + trace + "-00f067aa0ba902b7-01";
  return event.dump() + "\n";
}

struct SpanSpec {
  int trace = 0;
  std::string id;
  std::string parent;
  std::string service = "bot";
  std::string component = "ares";
  std::string operation = "cycle";
  std::int64_t start = 0;
  std::int64_t duration = 1'000'000;
  std::string error = {};
  Json attributes = Json::object();
  std::string correlation = {};
};

std::string span_line(SpanSpec spec) {
  spec.attributes["service.name"] = spec.service;
  Json data{{"trace_id", trace_hex(spec.trace)},
            {"span_id", spec.id},
            {"component", spec.component},
            {"operation", spec.operation},
            {"start_time_unix_nano", kStart + spec.start},
            {"end_time_unix_nano", kStart + spec.start + spec.duration},
            {"status", spec.error.empty() ? "ok" : "error"},
            {"kind", spec.parent.empty() ? "server" : "internal"},
            {"attributes", spec.attributes}};
  if (!spec.parent.empty()) data["parent_span_id"] = spec.parent;
  if (!spec.error.empty()) data["error_message"] = spec.error;
  return line_of("span-" + std::to_string(spec.trace) + "-" + spec.id, "ephor.span", data,
                 kStart + spec.start + spec.duration, spec.correlation, trace_hex(spec.trace));
}

std::set<std::string> ids_of(const Json& answer) {
  std::set<std::string> ids;
  for (const Json& trace : answer["traces"]) ids.insert(trace["trace_id"].get<std::string>());
  return ids;
}

// Two spans a trace, one trace a second; every tenth fails, every hundredth is slow.
std::string many_traces(int first, int count) {
  std::string lines;
  for (int trace = first; trace < first + count; ++trace) {
    const std::int64_t at = trace * 1'000'000'000LL;
    const std::int64_t duration = trace % 100 == 99 ? 400'000'000 : 2'000'000 + trace % 7 * 10'000;
    lines += span_line({trace,
                        "a",
                        "",
                        "bot",
                        "ares",
                        "cycle",
                        at,
                        duration,
                        "",
                        {{"decision.id", "decision:" + std::to_string(trace)},
                         {"symbol", trace % 2 == 0 ? "BTCUSDT" : "ETHUSDT"}}});
    lines += span_line({trace, "b", "a", "bot", "analyst", "predict", at + 1000, duration / 2,
                        trace % 10 == 3 ? "timeout" : ""});
  }
  return lines;
}

const Json* tag_named(const Json& list, const std::string& key) {
  for (const Json& tag : list) {
    if (tag["key"] == key) return &tag;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("tracer: a search finds by names, ids, failures, durations and attributes",
          "[unit][tracing]") {
  Tracer tracer;
  tracer.host.deliver(many_traces(0, 300));
  REQUIRE(tracer.get("/api/tracing/search?status=error&limit=1000")["traces"].size() == 30);
  REQUIRE(tracer.get("/api/tracing/search?min_duration=300ms")["traces"].size() == 3);
  REQUIRE(
      tracer.get("/api/tracing/search?q=duration%3E300ms+and+symbol%3DETHUSDT")["traces"].size() ==
      3);
  const Json one = tracer.get("/api/tracing/search?decision_id=decision:42");
  REQUIRE(ids_of(one) == std::set<std::string>{trace_hex(42)});
  REQUIRE(one["traces"][0]["root_operation"] == "cycle");
  REQUIRE(one["traces"][0]["components"] == Json({"analyst", "ares"}));
  REQUIRE(one["traces"][0]["span_count"] == 2);
  REQUIRE(one["over"]["complete"] == true);
  // Newest first, page by page.
  Json page = tracer.get("/api/tracing/search?limit=2");
  REQUIRE(page["traces"][0]["trace_id"] == trace_hex(299));
  page = tracer.get("/api/tracing/search?limit=2&cursor=" + page["next_cursor"].get<std::string>());
  REQUIRE(page["traces"][0]["trace_id"] == trace_hex(297));
  // Only the decision names its id; the trace it was made in is found by it.
  tracer.host.deliver(line_of("d", "ephor.ensemble_decision",
                              {{"decision_id", "lonely"}, {"ensemble_id", "e"}}, kStart, "",
                              trace_hex(7)));
  REQUIRE(ids_of(tracer.get("/api/tracing/search?decision_id=lonely")) ==
          std::set<std::string>{trace_hex(7)});
  REQUIRE(tracer.failure_of("/api/tracing/search?q=duration") == EPHOR_INVALID);
  REQUIRE(tracer.failure_of("/api/tracing/search?status=broken") == EPHOR_INVALID);
  REQUIRE(tracer.failure_of("/api/tracing/search?limit=0") == EPHOR_INVALID);
}

TEST_CASE("tracer: a search is the same after a restart and with little memory",
          "[unit][tracing]") {
  const std::string config = R"({"max_trace_history": 3000})";
  const std::string tiny = R"({"max_trace_history": 3000, "max_traces_in_memory": 512})";
  const std::vector<std::string> questions{
      "/api/tracing/search?status=error&limit=1000",
      "/api/tracing/search?min_duration=100ms&limit=1000",
      "/api/tracing/search?component=analyst&symbol=BTCUSDT&limit=7",
      "/api/tracing/search?q=not+error+and+duration%3C2.02ms&limit=1000&deadline_ms=10000",
      "/api/tracing/traces?limit=1000"};
  std::map<std::string, std::string> expected;
  std::mt19937_64 random(3);
  for (const std::string& one : {config, tiny, config, tiny}) {
    Tracer tracer(one);
    tracer.host.set_slice_size(1 + random() % 200);
    for (int first = 0; first < 2000; first += 250) {
      tracer.host.deliver(many_traces(first, 250));
      if (random() % 2 == 0) tracer.host.save();
      if (random() % 3 == 0) tracer.host.crash();
    }
    tracer.host.deliver(span_line({1, "late", "a", "bot", "late", "late", 0, 1'000'000'000, "x"}));
    REQUIRE(tracer.host.restart());
    for (const std::string& question : questions) {
      const std::string answer = tracer.host.request("GET", question);
      const auto [at, is_first] = expected.emplace(question, answer);
      REQUIRE(at->second == answer);
    }
  }
  const Json errors = Json::parse(expected.at(questions[0]));
  REQUIRE(errors["traces"].size() == 201);
  REQUIRE(errors["traces"].back()["trace_id"] == trace_hex(1));
}

TEST_CASE("tracer: Jaeger's query API gives every fact of a span", "[unit][tracing]") {
  Tracer tracer;
  Json data{{"trace_id", trace_hex(1)},
            {"span_id", "00000000000000aa"},
            {"component", "ares"},
            {"operation", "cycle"},
            {"kind", "server"},
            {"start_time_unix_nano", kStart + 1234},
            {"end_time_unix_nano", kStart + 5'001'234},
            {"status", "error"},
            {"error_message", "it broke"},
            {"attributes",
             {{"service.name", "bot"},
              {"text", "x"},
              {"whole", 7},
              {"real", 2.5},
              {"flag", true},
              {"list", {1, 2}}}},
            {"resource", {{"host.name", "h1"}, {"service.name", "other"}}},
            {"scope", {{"name", "library"}, {"version", "1.2"}}},
            {"events",
             {{{"name", "exception"},
               {"time_unix_nano", kStart + 2000},
               {"attributes", {{"exception.type", "Timeout"}}}}}},
            {"links",
             {{{"trace_id", trace_hex(2)},
               {"span_id", "00000000000000bb"},
               {"attributes", {{"why", "batch"}}}}}}};
  tracer.host.deliver(line_of("s1", "ephor.span", data, kStart, "corr-1", trace_hex(1)));
  tracer.host.deliver(span_line(
      {1, "00000000000000cc", "00000000000000aa", "exchange", "gateway", "send", 2000, 1'000'000}));

  const Json services = tracer.get("/api/services");
  REQUIRE(services["data"] == Json({"bot", "exchange"}));
  REQUIRE(services["total"] == 2);
  for (const char* member : {"limit", "offset", "errors"}) REQUIRE(services.contains(member));
  REQUIRE(tracer.get("/api/services/exchange/operations")["data"] == Json({"send"}));
  REQUIRE(tracer.get("/api/operations?service=bot")["data"] ==
          Json::array({{{"name", "cycle"}, {"spanKind", "server"}}}));
  REQUIRE(tracer.failure_of("/api/operations") == EPHOR_INVALID);

  const Json trace = tracer.get("/api/traces/" + trace_hex(1))["data"][0];
  REQUIRE(trace["traceID"] == trace_hex(1));
  REQUIRE(trace["spans"].size() == 2);
  const Json& span = trace["spans"][0];
  REQUIRE(span["spanID"] == "00000000000000aa");
  REQUIRE(span["operationName"] == "cycle");
  REQUIRE(span["startTime"] == (kStart + 1234) / 1000);
  REQUIRE(span["duration"] == 5000);
  REQUIRE(span["startTimeUnixNano"] == std::to_string(kStart + 1234));
  REQUIRE(span["endTimeUnixNano"] == std::to_string(kStart + 5'001'234));
  const auto tag = [&](const std::string& key) {
    const Json* found = tag_named(span["tags"], key);
    REQUIRE(found != nullptr);
    return std::pair((*found)["type"].get<std::string>(), (*found)["value"]);
  };
  REQUIRE(tag("text") == std::pair(std::string("string"), Json("x")));
  REQUIRE(tag("whole") == std::pair(std::string("int64"), Json(7)));
  REQUIRE(tag("real") == std::pair(std::string("float64"), Json(2.5)));
  REQUIRE(tag("flag") == std::pair(std::string("bool"), Json(true)));
  REQUIRE(tag("list") == std::pair(std::string("string"), Json("[1,2]")));
  REQUIRE(tag("span.kind").second == "server");
  REQUIRE(tag("error") == std::pair(std::string("bool"), Json(true)));
  REQUIRE(tag("otel.status_code").second == "ERROR");
  REQUIRE(tag("otel.status_description").second == "it broke");
  REQUIRE(tag("otel.scope.name").second == "library");
  REQUIRE(tag("correlation.id").second == "corr-1");
  REQUIRE(span["logs"].size() == 1);
  REQUIRE(span["logs"][0]["timestamp"] == (kStart + 2000) / 1000);
  REQUIRE((*tag_named(span["logs"][0]["fields"], "event"))["value"] == "exception");
  REQUIRE((*tag_named(span["logs"][0]["fields"], "exception.type"))["value"] == "Timeout");
  REQUIRE(
      span["references"] ==
      Json::array({{{"refType", "FOLLOWS_FROM"},
                    {"traceID", trace_hex(2)},
                    {"spanID", "00000000000000bb"},
                    {"attributes", {{{"key", "why"}, {"type", "string"}, {"value", "batch"}}}}}}));
  const Json& process = trace["processes"][span["processID"].get<std::string>()];
  REQUIRE(process["serviceName"] == "bot");
  REQUIRE((*tag_named(process["tags"], "host.name"))["value"] == "h1");
  const Json& child = trace["spans"][1];
  REQUIRE(child["references"] == Json::array({{{"refType", "CHILD_OF"},
                                               {"traceID", trace_hex(1)},
                                               {"spanID", "00000000000000aa"}}}));
  REQUIRE(trace["processes"][child["processID"].get<std::string>()]["serviceName"] == "exchange");

  REQUIRE(tracer.failure_of("/api/traces/" + trace_hex(9)) == EPHOR_NOT_FOUND);
  REQUIRE(tracer.failure_of("/api/traces/zz") == EPHOR_INVALID);
  // Leading zeros may be left out, as Jaeger does.
  std::string hex = trace_hex(1);
  REQUIRE(tracer.get("/api/traces/" +
                     hex.substr(hex.find_first_not_of('0')))["data"][0]["traceID"] == hex);
  tracer.host.flush(kStart + 60'000'000'000);  // a call is counted when its trace has rested
  REQUIRE(tracer.get("/api/dependencies?endTs=1700000060000&lookback=3600000")["data"] ==
          Json::array({{{"parent", "bot"}, {"child", "exchange"}, {"callCount", 1}}}));
}

TEST_CASE("tracer: Jaeger's trace search filters span by span", "[unit][tracing]") {
  Tracer tracer;
  tracer.host.deliver(many_traces(0, 100));
  const auto count = [&](const std::string& query) {
    return tracer.get("/api/traces?limit=1000&deadline_ms=60000&" + query)["data"].size();
  };
  REQUIRE(count("service=bot") == 100);
  REQUIRE(count("service=bot&operation=predict") == 100);
  REQUIRE(count("service=bot&operation=nothing") == 0);
  REQUIRE(count("service=elsewhere") == 0);
  REQUIRE(count("service=bot&tags=%7B%22error%22%3A%22true%22%7D") == 10);
  REQUIRE(count("service=bot&tags=%7B%22decision.id%22%3A%22decision%3A5%22%7D") == 1);
  // The tag is on one span, the operation another's: no span has both.
  REQUIRE(count("service=bot&operation=predict&"
                "tags=%7B%22decision.id%22%3A%22decision%3A5%22%7D") == 0);
  REQUIRE(count("service=bot&minDuration=300ms") == 1);
  REQUIRE(count("service=bot&operation=predict&minDuration=300ms") == 0);
  REQUIRE(count("service=bot&maxDuration=2015us&operation=cycle") ==
          15 + 14);  // trace % 7 is 0 or 1
  REQUIRE(count("service=bot&start=" + std::to_string((kStart + 50'000'000'000) / 1000) +
                "&end=" + std::to_string((kStart + 59'500'000'000) / 1000)) == 10);
  REQUIRE(tracer.get("/api/traces?service=bot")["data"].size() == 20);
  REQUIRE(tracer.get("/api/traces?traceID=" + trace_hex(3) + "," + trace_hex(4))["data"].size() ==
          2);
  REQUIRE(tracer.failure_of("/api/traces?service=bot&tags=x") == EPHOR_INVALID);
  REQUIRE(tracer.failure_of("/api/traces?service=bot&minDuration=x") == EPHOR_INVALID);
}

TEST_CASE("tracer: the same story from any of its ids, and its gaps", "[unit][tracing]") {
  Tracer tracer;
  tracer.host.answer_query("helper.describe", [](std::string_view request) {
    const Json ids = Json::parse(request)["ids"];
    const auto known = std::count(ids.begin(), ids.end(), "ord-1");
    return known == 0 ? std::string("{}") : Json{{"known", known}}.dump();
  });
  tracer.host.deliver(span_line(
      {1, "root", "", "bot", "ares", "cycle", 0, 9'000'000, "", Json::object(), "corr-1"}));
  tracer.host.deliver(span_line({1, "leaf", "gone", "bot", "analyst", "predict", 1000, 1'000'000,
                                 "timeout", Json::object(), "corr-1"}));
  tracer.host.deliver(span_line({2,
                                 "root",
                                 "",
                                 "bot",
                                 "tactician",
                                 "order",
                                 0,
                                 2'000'000,
                                 "",
                                 {{"order.id", "ord-1"}},
                                 "corr-1"}));
  tracer.host.deliver(
      line_of("d", "ephor.ensemble_decision",
              {{"decision_id", "dec-1"}, {"ensemble_id", "e"}, {"primary_prediction", "buy"}},
              kStart, "corr-1", trace_hex(1)));
  tracer.host.deliver(
      line_of("o", "ephor.order",
              {{"order_id", "ord-1"}, {"decision_id", "dec-1"}, {"status", "filled"}}, kStart));
  tracer.host.deliver(line_of(
      "t1", "ephor.trade",
      {{"trade_id", "tr-1"}, {"order_id", "ord-1"}, {"execution_id", "ex-1"}, {"status", "open"}}));
  tracer.host.deliver(
      line_of("t2", "ephor.trade", {{"trade_id", "tr-1"}, {"status", "closed"}, {"pnl", -1.5}}));

  std::set<std::string> ids;
  for (const std::string id : {"corr-1", "dec-1", "ord-1", "ex-1", "tr-1"}) {
    const Json story = tracer.get("/api/tracing/correlation/" + id);
    std::set<std::string> events;
    for (const Json& event : story["events"]) events.insert(event["id"].get<std::string>());
    INFO(id);
    if (ids.empty()) ids = events;
    REQUIRE(events == ids);
    REQUIRE(story["over"]["is_truncated"] == false);
    REQUIRE(story["traces"].size() == 2);
    REQUIRE(story["pnl"]["pnl"] == -1.5);
    REQUIRE(story["trade"]["close"]["data"]["pnl"] == -1.5);
    REQUIRE(story["tracking"]["correlation_id"] == "corr-1");
    std::map<std::string, std::string> gaps;
    for (const Json& gap : story["gaps"]) gaps[gap["kind"]] = gap["id"];
    REQUIRE(gaps == std::map<std::string, std::string>{{"missing_parent", "leaf"},
                                                       {"order_without_fill", "ord-1"}});
  }
  REQUIRE(ids.size() == 7);
  for (const int trace : {1, 2}) {
    const Json story = tracer.get("/api/tracing/correlation/" + trace_hex(trace));
    REQUIRE(story["over"]["events"] == 7);
  }
  REQUIRE(tracer.get("/api/tracing/correlation/corr-1").dump().find("\"known\":1") !=
          std::string::npos);
  REQUIRE(tracer.get("/api/tracing/correlation/corr-1?describe=0")["described"].empty());
  REQUIRE(tracer.failure_of("/api/tracing/correlation/nobody") == EPHOR_NOT_FOUND);
}

TEST_CASE("tracer: gaps name a decision that nothing followed, and nothing else",
          "[unit][tracing]") {
  Tracer tracer;
  const auto decision = [&](const std::string& id, const std::string& what) {
    tracer.host.deliver(
        line_of("d" + id, "ephor.ensemble_decision",
                {{"decision_id", id}, {"ensemble_id", "e"}, {"primary_prediction", what}}, kStart,
                "c" + id));
    return tracer.get("/api/tracing/correlation/" + id)["gaps"];
  };
  REQUIRE(decision("1", "HOLD").empty());
  const Json gaps = decision("2", "sell");
  REQUIRE(gaps.size() == 1);
  REQUIRE(gaps[0]["kind"] == "decision_without_trade");
  REQUIRE(gaps[0]["id"] == "2");
}

TEST_CASE("tracer: tail sampling keeps all failed and slow traces, figures stay exact",
          "[unit][tracing]") {
  const std::string config = R"({"max_trace_history": 10000, "trace_linger_s": 5,
    "sampling": {"tail": true, "baseline_rate": 0.05, "rare_path_below": 0,
                 "slow_factor": 2.0, "slow_spans_min": 50}})";
  std::string expected_archive;
  std::string expected_summary;
  std::mt19937_64 random(8);
  for (int round = 0; round < 4; ++round) {
    Tracer tracer(config);
    if (round > 0) tracer.host.set_slice_size(1 + random() % 200);
    for (int first = 0; first < 2000; first += 200) {
      tracer.host.deliver(many_traces(first, 200));
      if (round > 0 && random() % 2 == 0) tracer.host.save();
      if (round > 0 && random() % 2 == 0) tracer.host.crash();
    }
    // A trade that lost money comes when its trace was long dropped or kept.
    for (const int trace : {100, 101, 102, 104}) {
      tracer.host.deliver(line_of("t" + std::to_string(trace), "ephor.trade",
                                  {{"trade_id", "tr" + std::to_string(trace)},
                                   {"decision_id", "decision:" + std::to_string(trace)},
                                   {"status", "closed"},
                                   {"pnl", trace == 104 ? 1.0 : -1.0}},
                                  kStart + 2'000'000'000'000));
    }
    tracer.host.flush(kStart + 3'000'000'000'000);
    // A late span of a kept trace belongs to it; one of a dropped trace changes nothing.
    tracer.host.deliver(span_line({13, "late", "a", "bot", "late", "late", 13'000'000'000, 1000}));
    tracer.host.restart();

    const Json traces = tracer.get("/api/tracing/traces?limit=1000&errors=1");
    REQUIRE(traces["traces"].size() == 200);
    for (const Json& trace : traces["traces"]) {
      REQUIRE(trace["sampling"] == Json{{"decision", "kept"}, {"reason", "error"}});
    }
    const Json slow = tracer.get("/api/tracing/search?min_duration=300ms&limit=1000");
    REQUIRE(slow["traces"].size() == 20);
    for (const Json& trace : slow["traces"]) {
      REQUIRE(trace["sampling"]["decision"] == "kept");
    }
    for (const int trace : {100, 101, 102}) {
      const Json found = tracer.get("/api/tracing/search?trace_id=" + trace_hex(trace));
      REQUIRE(found["traces"][0]["sampling"]["decision"] == "kept");
    }
    const Json summary = Json::parse(tracer.host.ask("tracer.summary"));
    REQUIRE(summary["spans"] == 4001);
    REQUIRE(summary["error_spans"] == 200);
    REQUIRE(summary["traces"] == 2000);
    const Json& sampling = summary["sampling"];
    REQUIRE(sampling["kept"]["error"] == 200);
    // 1780 others at 5 %: five standard deviations.
    REQUIRE(sampling["kept"]["baseline"].get<double>() > 89 - 46);
    REQUIRE(sampling["kept"]["baseline"].get<double>() < 89 + 46);
    REQUIRE(tracer.get("/api/tracing/performance")["all"]["count"] == 4001);
    // The archive has exactly the kept traces, and the same bytes whatever was interrupted.
    const std::size_t kept =
        tracer.get("/api/tracing/search?q=verdict%3Dkept&limit=1000")["traces"].size();
    const auto rows = tracer.host.rows("trace_archive");
    REQUIRE(rows.size() == kept);
    std::string archive;
    for (const auto& row : rows) {
      archive += std::to_string(row.at("trace").integer) + ":" +
                 std::to_string(row.at("spans").integer) + ":" + row.at("body").bytes + "\n";
    }
    if (round == 0) {
      expected_archive = archive;
      expected_summary = summary.dump();
    }
    REQUIRE(archive == expected_archive);
    REQUIRE(summary.dump() == expected_summary);
  }
}
