// SPDX-License-Identifier: Apache-2.0
//
// The real tracer.so on the fake host.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <ephor/testing/fake_host.hpp>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/shared_data.hpp"
#include "tracer_select.hpp"
#include "tracer_session.hpp"

namespace {

using namespace ephor::testing;
using Json = nlohmann::json;

constexpr std::int64_t kStart = 1'700'000'000'000'000'000;

struct Tracer {
  explicit Tracer(std::string_view config = "{}") {
    host.on_select([this](std::string_view sql, std::span<const ephor_cell> parameters) {
      ++select_count;
      return select_rows(host, sql, parameters);
    });
    host.load_plugin(plugin_entry("tracer"), config, "tracer");
  }
  Json get(std::string_view target) { return Json::parse(host.request("GET", target)); }
  Json summary() { return Json::parse(host.ask("tracer.summary")); }

  FakeHost host;
  int select_count = 0;
};

std::string trace_hex(int trace) {
  char out[33];
  std::snprintf(out, sizeof out, "%016x%016llx", 0xabcd, trace * 0x9E3779B97F4A7C15ULL);
  return out;
}

std::string event_line(const std::string& id, const std::string& type, const Json& data,
                       const std::string& correlation = {}, const std::string& trace = {}) {
  Json event{{"specversion", "1.0"}, {"id", id},     {"source", "test"},
             {"type", type},         {"data", data}, {"time", "2023-11-14T22:13:20Z"}};
  if (!correlation.empty()) event["correlationid"] = correlation;
  if (!trace.empty()) event["traceparent"] = "00-" + trace + "-00f067aa0ba902b7-01";
  return event.dump() + "\n";
}

std::string span_line(int number, int trace, std::string parent, std::string component,
                      std::int64_t start, std::int64_t end, const std::string& error = {}) {
  Json data{{"trace_id", trace_hex(trace)},
            {"span_id", std::to_string(number)},
            {"component", std::move(component)},
            {"operation", "handle"},
            {"start_time_unix_nano", kStart + start},
            {"end_time_unix_nano", kStart + end},
            {"status", error.empty() ? "ok" : "error"}};
  if (!parent.empty()) data["parent_span_id"] = std::move(parent);
  if (!error.empty()) data["error_message"] = error;
  return event_line("span-" + std::to_string(number), "ephor.span", data,
                    "corr-" + std::to_string(trace), trace_hex(trace));
}

// Three components per trace, an error in every fifth.
std::string lines_of(int traces, int first = 0) {
  std::string lines;
  for (int trace = first; trace < first + traces; ++trace) {
    const int span = trace * 3;
    const std::int64_t at = trace * 1'000'000'000LL;
    lines += span_line(span + 1, trace, std::to_string(span), "analyst", at + 10, at + 400'000);
    lines +=
        span_line(span + 2, trace, std::to_string(span), "tactician", at + 400'000, at + 900'000,
                  trace % 5 == 0 ? "timeout after " + std::to_string(trace) + " ms" : "");
    lines += span_line(span, trace, "", "ares", at, at + 1'000'000);
  }
  return lines;
}

std::vector<std::string> all_answers(Tracer& tracer) {
  std::vector<std::string> out{tracer.host.ask("tracer.summary")};
  for (const char* target :
       {"/api/tracing/performance", "/api/tracing/performance?window=1m", "/api/tracing/errors",
        "/api/tracing/traces?limit=1000", "/api/tracing/correlation/corr-3",
        "/api/tracing/correlation/corr-20"}) {
    out.push_back(tracer.host.request("GET", target));
  }
  return out;
}

}  // namespace

TEST_CASE("tracer: figures, groups, summaries and the tree of a trace", "[unit][tracing]") {
  Tracer tracer;
  REQUIRE(tracer.get("/api/tracing/performance")["all"]["p50_ms"].is_null());
  tracer.host.deliver(lines_of(50));
  const Json summary = tracer.summary();
  REQUIRE(summary["spans"] == 150);
  REQUIRE(summary["error_spans"] == 10);
  REQUIRE(summary["traces"] == 50);
  REQUIRE(summary["error_traces"] == 10);
  REQUIRE(summary["correlations"] == 50);
  const Json performance = tracer.get("/api/tracing/performance?component=tactician");
  REQUIRE(performance["operations"].size() == 1);
  REQUIRE(performance["operations"][0]["error_rate"].get<double>() == Approx(0.2));
  REQUIRE(performance["operations"][0]["p95_ms"].get<double>() == Approx(0.5).epsilon(0.0101));
  const Json errors = tracer.get("/api/tracing/errors");
  REQUIRE(errors["groups"].size() == 1);
  REQUIRE(errors["groups"][0]["message"] == "timeout after <n> ms");
  REQUIRE(errors["groups"][0]["count"] == 10);
  const Json list = tracer.get("/api/tracing/traces?errors=1&limit=3");
  REQUIRE(list["traces"].size() == 3);
  REQUIRE(list["traces"][0]["trace_id"] == trace_hex(45));
  REQUIRE(list["traces"][0]["root_component"] == "ares");
  const Json trace = tracer.get("/api/tracing/traces/" + trace_hex(7));
  REQUIRE(trace["span_count"] == 3);
  REQUIRE(trace["duration_ms"].get<double>() == Approx(1.0));
  REQUIRE(trace["roots"].size() == 1);
  REQUIRE(trace["roots"][0]["children"][1]["component"] == "tactician");
  REQUIRE(tracer.host.metric("ephor_tracer_spans_total") == 150.0);
  REQUIRE(tracer.host.metric("ephor_tracer_error_spans_total") == 10.0);
  REQUIRE(tracer.host.metric("ephor_tracer_traces") == 50.0);
}

TEST_CASE("tracer: wrong requests are told what is wrong", "[unit][tracing]") {
  Tracer tracer;
  tracer.host.deliver(lines_of(2));
  const auto code_of = [&](const std::string& target) {
    try {
      tracer.host.request("GET", target);
      return EPHOR_OK;
    } catch (const ephor::Error& failure) {
      return failure.code();
    }
  };
  REQUIRE(code_of("/api/tracing/correlation/nobody") == EPHOR_NOT_FOUND);
  REQUIRE(code_of("/api/tracing/traces/" + std::string(32, 'a')) == EPHOR_NOT_FOUND);
  REQUIRE(code_of("/api/tracing/traces/xyz") == EPHOR_INVALID);
  REQUIRE(code_of("/api/tracing/performance?from=yesterday") == EPHOR_INVALID);
  REQUIRE(code_of("/api/tracing/performance?window=7x") == EPHOR_INVALID);
  REQUIRE(code_of("/api/tracing/performance?window=30s") == EPHOR_INVALID);
  REQUIRE(code_of("/api/tracing/traces?limit=0") == EPHOR_INVALID);
}

TEST_CASE("tracer: the story of a correlation id follows decision, order and trade",
          "[unit][tracing]") {
  Tracer tracer;
  tracer.host.deliver(lines_of(1));
  tracer.host.deliver(event_line("d", "ephor.ensemble_decision",
                                 {{"decision_id", "dec-1"}, {"ensemble_id", "e"}}, "corr-0"));
  // None of these knows the correlation id.
  tracer.host.deliver(event_line(
      "f", "ephor.fill",
      {{"order_id", "ord-1"}, {"execution_id", "ex-1"}, {"decision_id", "dec-1"}, {"price", 1}}));
  tracer.host.deliver(event_line(
      "t1", "ephor.trade",
      {{"trade_id", "tr-1"}, {"execution_id", "ex-1"}, {"status", "open"}, {"symbol", "X"}}));
  tracer.host.deliver(
      event_line("t2", "ephor.trade", {{"trade_id", "tr-1"}, {"status", "closed"}, {"pnl", 1.5}}));
  tracer.host.deliver(event_line("t3", "ephor.trade", {{"trade_id", "tr-2"}, {"status", "open"}}));
  const Json story = tracer.get("/api/tracing/correlation/corr-0");
  REQUIRE(story["over"]["events"] == 7);
  REQUIRE(story["decision"]["data"]["decision_id"] == "dec-1");
  REQUIRE(story["fills"].size() == 1);
  REQUIRE(story["trades"].size() == 1);
  REQUIRE(story["trade"]["open"]["event_id"].is_string());
  REQUIRE(story["trade"]["close"]["data"]["pnl"] == 1.5);
  REQUIRE(story["spans"]["span_count"] == 3);
  REQUIRE(story["errors"].size() == 1);
  REQUIRE(story["tracking"]["component_path"] == "ares>analyst>tactician");
  REQUIRE(story["events"].size() == 7);
}

TEST_CASE("tracer: a correlation request sets times, path and metadata", "[unit][tracing]") {
  Tracer tracer;
  tracer.host.deliver(event_line("r", "ephor.correlation_request",
                                 {{"request_timestamp", "2026-11-22 08:22:52.005418"},
                                  {"response_timestamp", 1'795'335'772.5},
                                  {"component_path", {"analyst", "tactician"}},
                                  {"metadata", {{"cycle", 0}, {"symbol", "ETHUSDT"}}}},
                                 "ares-1"));
  tracer.host.save();
  const auto rows = tracer.host.rows("correlation_tracking");
  REQUIRE(rows.size() == 1);
  REQUIRE(rows[0].at("request_timestamp").bytes == "2026-11-22T08:22:52.005418Z");
  REQUIRE(rows[0].at("response_timestamp").bytes == "2026-11-22T08:22:52.500000Z");
  REQUIRE(rows[0].at("component_path").bytes == "analyst>tactician");
  REQUIRE(rows[0].at("error_info").is_null());
  REQUIRE(Json::parse(rows[0].at("metadata").bytes)["symbol"] == "ETHUSDT");
}

TEST_CASE("tracer: each configuration key changes what it says", "[unit][tracing]") {
  Tracer off(R"({"enable_tracing": false})");
  off.host.deliver(lines_of(5));
  REQUIRE(off.summary()["spans"] == 0);
  REQUIRE(off.host.subscription().empty());

  Tracer untracked(R"({"enable_correlation_tracking": false})");
  untracked.host.deliver(lines_of(5));
  untracked.host.save();
  REQUIRE(untracked.summary()["spans"] == 15);
  REQUIRE(untracked.host.rows("correlation_tracking").empty());

  Tracer sampled(R"({"trace_sampling_rate": 0.3})");
  sampled.host.deliver(lines_of(300));
  REQUIRE(sampled.summary()["spans"] == 900);
  REQUIRE(sampled.summary()["traces"] == 300);
  const Json kept = sampled.get("/api/tracing/traces?limit=1000");
  REQUIRE(kept["over"]["summaries"].get<int>() > 50);
  REQUIRE(kept["over"]["summaries"].get<int>() < 130);

  Tracer shorter(R"({"max_trace_history": 7})");
  shorter.host.deliver(lines_of(30));
  REQUIRE(shorter.get("/api/tracing/traces")["traces"].size() == 7);
  REQUIRE(shorter.summary()["traces"] == 30);

  Tracer grouped(R"({"max_operations": 2, "max_error_groups": 1})");
  grouped.host.deliver(lines_of(10));
  REQUIRE(grouped.get("/api/tracing/performance")["operations"].size() == 2);
}

TEST_CASE("tracer: late spans of an evicted correlation id go on from its row", "[unit][tracing]") {
  Tracer small(R"({"max_tracking_history": 5})");
  Tracer large;
  for (Tracer* tracer : {&small, &large}) {
    tracer->host.deliver(lines_of(40));
    tracer->host.save();
    tracer->host.save();
    tracer->host.deliver(
        span_line(900, 3, "9", "supervisor", 3'000'000'000, 3'002'000'000, "late"));
    tracer->host.save();
  }
  REQUIRE(small.select_count > 0);
  REQUIRE(large.select_count == 0);
  REQUIRE(small.summary()["correlations"] == 40);
  const auto text = [](Tracer& tracer) {
    std::string out;
    for (const auto& row : tracer.host.rows("correlation_tracking")) {
      for (const auto& [column, cell] : row) out += column + "=" + cell.bytes + "\n";
    }
    return out;
  };
  REQUIRE(text(small) == text(large));
}

TEST_CASE("tracer: killed anywhere, the answers are those of an unbroken run", "[unit][tracing]") {
  Tracer unbroken;
  unbroken.host.deliver(lines_of(60));
  unbroken.host.save();
  const std::vector<std::string> expected = all_answers(unbroken);
  std::mt19937_64 random(11);
  for (int round = 0; round < 8; ++round) {
    Tracer tracer;
    tracer.host.set_slice_size(1 + random() % 40);
    for (int part = 0; part < 6; ++part) {
      tracer.host.deliver(lines_of(10, part * 10));
      if (random() % 2 == 0) tracer.host.save();
      if (random() % 2 == 0) tracer.host.crash();
    }
    REQUIRE(tracer.host.restart());
    REQUIRE(all_answers(tracer) == expected);
  }
}

TEST_CASE("tracer: an unreadable state is refused, never fatal", "[unit][tracing]") {
  Tracer tracer;
  tracer.host.deliver(lines_of(25));
  tracer.host.save();
  const std::string state = tracer.host.saved_state();
  const std::vector<std::string> expected = all_answers(tracer);
  tracer.host.set_saved_state(99, state);
  REQUIRE_FALSE(tracer.host.crash());
  REQUIRE(all_answers(tracer) == expected);
  std::mt19937_64 random(12);
  for (int i = 0; i < 60; ++i) {
    std::string damaged = state;
    damaged.resize(random() % damaged.size());
    tracer.host.set_saved_state(4, damaged);
    REQUIRE_FALSE(tracer.host.crash());
  }
  REQUIRE(all_answers(tracer) == expected);
}

TEST_CASE("tracer: an event that is no span costs nothing but itself", "[unit][tracing]") {
  Tracer tracer;
  std::string lines = span_line(1, 1, "", "a", 0, 5);
  lines += event_line("bad", "ephor.span", "text instead of an object");
  lines += span_line(2, 1, "1", "a", 0, 5);
  tracer.host.deliver(lines);
  REQUIRE(tracer.summary()["spans"] == 2);
  REQUIRE(tracer.summary()["unreadable"] == 1);
}

TEST_CASE("tracer: the recorded session, against an independent count", "[unit][tracing][data]") {
  const auto path = shared_data("session/btc.ndjson.gz");
  if (!path) return;
  struct Expected {
    std::uint64_t errors = 0;
    std::vector<std::int64_t> durations_ns;
  };
  std::map<std::pair<std::string, std::string>, Expected> expected;
  std::set<std::string> ids;
  std::set<std::string> traces;
  std::set<std::string> failed;
  std::vector<std::string> parts(1);
  for_each_line(*path, [&](std::string_view line) {
    if (line.find("\"type\":\"ephor.span\"") == std::string_view::npos) return;
    const Json event = Json::parse(line);
    if (!ids.insert(event["source"].get<std::string>() + "\n" + event["id"].get<std::string>())
             .second) {
      return;  // one of the 805 repeated lines
    }
    const Json& data = event["data"];
    Expected& operation = expected[{data["component"], data["operation"]}];
    operation.durations_ns.push_back(data["end_time_unix_nano"].get<std::int64_t>() -
                                     data["start_time_unix_nano"].get<std::int64_t>());
    traces.insert(data["trace_id"].get<std::string>());
    if (data["status"] == "error") {
      ++operation.errors;
      failed.insert(data["trace_id"].get<std::string>());
    }
    if (parts.back().size() > 1'000'000) parts.emplace_back();
    parts.back() += line;
  });
  REQUIRE(ids.size() == 126'805);

  Tracer tracer;
  std::chrono::nanoseconds spent{0};
  for (const std::string& part : parts) {
    const auto begin = std::chrono::steady_clock::now();
    tracer.host.deliver(part);
    spent += std::chrono::steady_clock::now() - begin;
  }
  const Json summary = tracer.summary();
  REQUIRE(summary["spans"] == 126'805);
  REQUIRE(summary["error_spans"] == 714);
  REQUIRE(summary["traces"] == traces.size());
  REQUIRE(summary["error_traces"] == failed.size());
  REQUIRE(summary["correlations"] == 10'666);
  const Json performance = tracer.get("/api/tracing/performance");
  REQUIRE(performance["operations"].size() == expected.size());
  for (const Json& row : performance["operations"]) {
    Expected& operation = expected.at({row["component"], row["operation"]});
    std::vector<std::int64_t>& sorted = operation.durations_ns;
    std::sort(sorted.begin(), sorted.end());
    REQUIRE(row["count"] == sorted.size());
    REQUIRE(row["errors"] == operation.errors);
    for (const auto& [name, q] : {std::pair("p50_ms", 0.5), {"p95_ms", 0.95}, {"p99_ms", 0.99}}) {
      const double exact_ms =
          static_cast<double>(
              sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))]) /
          1e6;
      REQUIRE(std::abs(row[name].get<double>() - exact_ms) <= 0.01001 * exact_ms);
    }
  }
  // Normalising must find the three messages that the session's faults are made of.
  const Json errors = tracer.get("/api/tracing/errors");
  std::set<std::string> messages;
  for (const Json& group : errors["groups"]) messages.insert(group["message"].get<std::string>());
  REQUIRE(messages == std::set<std::string>{"limit service timeout after <n> ms",
                                            "exposure snapshot missing",
                                            "connection reset by exchange"});
  const auto begin = std::chrono::steady_clock::now();
  tracer.host.save();
  const auto first_save = std::chrono::steady_clock::now() - begin;
  const auto again = std::chrono::steady_clock::now();
  tracer.host.save();
  const auto second_save = std::chrono::steady_clock::now() - again;
  const auto ms = [](auto duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
  };
  std::cout << "tracer on the session: deliver (fake host included) " << ms(spent)
            << " ms, first save " << ms(first_save) << " ms, second save " << ms(second_save)
            << " ms, state " << tracer.host.saved_state().size() / 1024 << " KiB\n";
  REQUIRE(tracer.host.rows("correlation_tracking").size() == 10'666);
  REQUIRE(tracer.host.crash());
  REQUIRE(tracer.host.ask("tracer.summary") == summary.dump());
  REQUIRE(tracer.get("/api/tracing/performance") == performance);
}
