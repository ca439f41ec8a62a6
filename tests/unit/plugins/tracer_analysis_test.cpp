// SPDX-License-Identifier: Apache-2.0
//
// The real tracer.so on the fake host: what it says of many traces together.
#include <algorithm>
#include <cmath>
#include <ephor/testing/fake_host.hpp>
#include <ephor/times.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/otlp_span.hpp"
#include "support/shared_data.hpp"
#include "tracer_select.hpp"
#include "tracer_session.hpp"

namespace {

using namespace ephor::testing;
using Json = nlohmann::json;

constexpr std::int64_t kStart = 1'700'000'040'000'000'000;  // a whole minute
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMs = 1'000'000;

struct Tracer {
  explicit Tracer(std::string_view config = "{}") {
    host.on_select([this](std::string_view sql, std::span<const ephor_cell> parameters) {
      return select_rows(host, sql, parameters);
    });
    host.load_plugin(plugin_entry("tracer"), config, "tracer");
  }
  Json get(std::string_view target) { return Json::parse(host.request("GET", target)); }

  FakeHost host;
};

std::string trace_hex(int trace) {
  char out[33];
  std::snprintf(out, sizeof out, "%016llx%016llx", trace * 0xC2B2AE3D27D4EB4FULL + 1,
                trace * 0x9E3779B97F4A7C15ULL + 1);
  return out;
}

std::string event_line(const std::string& id, const std::string& type, const Json& data,
                       std::int64_t time, const std::string& correlation, int trace,
                       const std::string& source = "test") {
  Json event{{"specversion", "1.0"}, {"id", id},     {"source", source},
             {"type", type},         {"data", data}, {"time", ephor::format_time(time)}};
  if (!correlation.empty()) event["correlationid"] = correlation;
  if (trace >= 0) event["traceparent"] = "00-" + trace_hex(trace) + "-00f067aa0ba902b7-01";
  return event.dump() + "\n";
}

struct MadeSpan {
  std::string id;
  std::string parent;
  std::string component;
  std::string operation;
  std::int64_t start = 0;  // since kStart
  std::int64_t end = 0;
  std::string error;
  Json attributes;
};

std::string span_line(const MadeSpan& span, int trace) {
  Json data{{"trace_id", trace_hex(trace)},
            {"span_id", span.id},
            {"component", span.component},
            {"operation", span.operation},
            {"start_time_unix_nano", kStart + span.start},
            {"end_time_unix_nano", kStart + span.end},
            {"status", span.error.empty() ? "ok" : "error"}};
  if (!span.parent.empty()) data["parent_span_id"] = span.parent;
  if (!span.error.empty()) data["error_message"] = span.error;
  if (!span.attributes.is_null()) data["attributes"] = span.attributes;
  return event_line("span-" + std::to_string(trace) + "-" + span.id, "ephor.span", data,
                    kStart + span.end, "corr-" + std::to_string(trace), trace, span.component);
}

// One every two seconds. Every tenth is slow, because the exchange is, mostly at kraken; a slow one
// loses money.
struct MadeTrace {
  std::vector<MadeSpan> spans;
  std::int64_t total = 0;
  std::int64_t exchange = 0;
  bool is_slow = false;
  double pnl = 0.0;
};

MadeTrace made_trace(int number) {
  std::mt19937_64 random(static_cast<std::uint64_t>(number));
  MadeTrace out;
  out.is_slow = number % 10 == 3;
  const std::int64_t at = number * 2 * kSecond;
  out.exchange = (out.is_slow ? 200 : 10) * kMs +
                 static_cast<std::int64_t>(random() % ((out.is_slow ? 100 : 5) * kMs));
  const std::int64_t analyst = 20 * kMs + static_cast<std::int64_t>(random() % (9 * kMs));
  const bool is_kraken = out.is_slow ? random() % 10 != 0 : random() % 4 == 0;
  const std::int64_t exchange_end = at + analyst + 2 * kMs + out.exchange;
  out.total = exchange_end + 3 * kMs - at;
  out.pnl = out.is_slow ? -50.0 - static_cast<double>(random() % 20)
                        : 10.0 + static_cast<double>(random() % 20);
  out.spans = {
      {"b", "a", "analyst", "predict", at + kMs, at + analyst, "", nullptr},
      {"d",
       "c",
       "exchange",
       "send",
       at + analyst + 2 * kMs,
       exchange_end,
       number % 25 == 4 ? "refused " + std::to_string(number) : "",
       {{"venue", is_kraken ? "kraken" : "binance"}, {"order.id", "o" + std::to_string(number)}}},
      {"c", "a", "tactician", "route", at + analyst + kMs, exchange_end + kMs, "", nullptr},
      {"a", "", "ares", "cycle", at, at + out.total, "", {{"symbol", "BTC"}}}};
  return out;
}

std::string lines_of(int first, int end) {
  std::string lines;
  for (int number = first; number < end; ++number) {
    const MadeTrace trace = made_trace(number);
    for (const MadeSpan& span : trace.spans) lines += span_line(span, number);
    const std::int64_t time = kStart + trace.spans.back().end;
    // The trade knows no more than its order.
    lines += event_line("trade-" + std::to_string(number), "ephor.trade",
                        {{"trade_id", "t" + std::to_string(number)},
                         {"order_id", "o" + std::to_string(number)},
                         {"symbol", "BTC"},
                         {"side", "buy"},
                         {"quantity", 1},
                         {"price", 1},
                         {"status", "closed"},
                         {"pnl", trace.pnl}},
                        time, "", -1);
  }
  return lines;
}

const std::vector<std::string> kTargets{
    "/api/tracing/services",
    "/api/tracing/services?window=1m",
    "/api/tracing/graph",
    "/api/tracing/graph?level=component",
    "/api/tracing/graph?level=operation&from=2023-11-14T22:15:00Z&to=2023-11-14T22:17:00Z",
    "/api/tracing/critical-path?quantile=0.9",
    "/api/tracing/critical-path?root=cycle&quantile=0.5&from=2023-11-14T22:15:00Z",
    "/api/tracing/active",
    "/api/tracing/compare?component=exchange&operation=send&quantile=0.9",
    "/api/tracing/pnl-by-latency",
    "/api/tracing/performance-correlation",
    "/api/tracing/performance",
    "/api/tracing/errors"};

std::vector<std::string> all_answers(Tracer& tracer) {
  std::vector<std::string> out;
  for (const std::string& target : kTargets) out.push_back(tracer.host.request("GET", target));
  return out;
}

}  // namespace

TEST_CASE("tracer: graph and services, against the spans that were sent", "[unit][tracing]") {
  Tracer tracer;
  constexpr int kTraces = 150;
  tracer.host.deliver(lines_of(0, kTraces));
  tracer.host.flush(kStart + 600 * kSecond);
  std::map<std::string, std::vector<double>> durations_ms;
  std::map<std::string, double> self_ms;
  int errors = 0;
  for (int number = 0; number < kTraces; ++number) {
    for (const MadeSpan& span : made_trace(number).spans) {
      const double ms = static_cast<double>(span.end - span.start) / 1e6;
      durations_ms[span.component].push_back(ms);
      self_ms[span.component] += ms;
      errors += span.error.empty() ? 0 : 1;
      // Its parent's self time is what it does not cover; none of them overlap.
      const std::string parent = span.parent == "a"   ? "ares"
                                 : span.parent == "c" ? "tactician"
                                                      : "";
      if (!parent.empty()) self_ms[parent] -= ms;
    }
  }
  double all_self_ms = 0;
  for (const auto& [component, ms] : self_ms) all_self_ms += ms;
  for (const char* level : {"service", "component"}) {
    const Json graph = tracer.get(std::string("/api/tracing/graph?level=") + level);
    REQUIRE(graph["nodes"].size() == 4);
    for (const Json& node : graph["nodes"]) {
      const std::string name = node["name"];
      REQUIRE(node["count"] == kTraces);
      REQUIRE(node["self_ms"].get<double>() == Approx(self_ms.at(name)));
      REQUIRE(node["self_share"].get<double>() == Approx(self_ms.at(name) / all_self_ms));
      REQUIRE(node["errors"] == (name == "exchange" ? errors : 0));
    }
    std::set<std::pair<std::string, std::string>> edges;
    for (const Json& edge : graph["edges"]) {
      edges.emplace(edge["from"], edge["to"]);
      std::vector<double> sorted = durations_ms.at(edge["to"]);
      std::sort(sorted.begin(), sorted.end());
      REQUIRE(edge["count"] == kTraces);
      for (const auto& [name, q] : {std::pair("p50_ms", 0.5), {"p95_ms", 0.95}, {"p99_ms", 0.99}}) {
        const double exact = sorted[static_cast<std::size_t>(q * (kTraces - 1))];
        REQUIRE(std::abs(edge[name].get<double>() - exact) <= 0.01001 * exact);
      }
      REQUIRE(edge["trace_ids"].size() == 3);
    }
    REQUIRE(edges == std::set<std::pair<std::string, std::string>>{
                         {"ares", "analyst"}, {"ares", "tactician"}, {"tactician", "exchange"}});
  }
  // 30 traces begin in each minute; those of the third end in it, too.
  const Json window = tracer.get(
      "/api/tracing/services?service=exchange&from=2023-11-14T22:16:00Z&to=2023-11-14T22:17:00Z");
  REQUIRE(window["services"][0]["count"] == 30);
  REQUIRE(window["services"][0]["rate_per_s"].get<double>() == Approx(0.5));
  REQUIRE(tracer.get("/api/tracing/services?window=1m&service=ares")["windows"].size() == 5);
}

TEST_CASE("tracer: exemplars lead to traces of their bucket", "[unit][tracing]") {
  Tracer tracer;
  tracer.host.deliver(lines_of(0, 100));
  std::map<std::string, double> exchange_ms;
  for (int number = 0; number < 100; ++number) {
    exchange_ms[trace_hex(number)] = static_cast<double>(made_trace(number).exchange) / 1e6;
  }
  const Json performance = tracer.get("/api/tracing/performance?component=exchange");
  const Json& buckets = performance["operations"][0]["exemplars"];
  REQUIRE(buckets.size() >= 2);
  for (const Json& bucket : buckets) {
    for (const Json& id : bucket["trace_ids"]) {
      REQUIRE(exchange_ms.at(id) >= bucket["from_ms"].get<double>() * 0.98);
      REQUIRE(exchange_ms.at(id) <= bucket["to_ms"].get<double>() * 1.02);
      REQUIRE(tracer.get("/api/tracing/traces/" + id.get<std::string>())["span_count"] == 4);
    }
  }
}

TEST_CASE("tracer: where the slow tenth went, and what is different about it", "[unit][tracing]") {
  Tracer tracer;
  constexpr int kTraces = 200;
  tracer.host.deliver(lines_of(0, kTraces));
  tracer.host.flush(kStart + 600 * kSecond);
  const Json path = tracer.get("/api/tracing/critical-path?root=cycle&quantile=0.905");
  REQUIRE(path["over"]["root"] == "ares/cycle");
  REQUIRE(path["slow"]["traces"] == kTraces / 10);
  double exchange_ms[2] = {};
  for (int number = 0; number < kTraces; ++number) {
    const MadeTrace trace = made_trace(number);
    exchange_ms[trace.is_slow ? 0 : 1] += static_cast<double>(trace.exchange) / 1e6;
  }
  REQUIRE(path["operations"][0]["component"] == "exchange");
  REQUIRE(path["operations"][0]["slow"]["ms_per_trace"].get<double>() ==
          Approx(exchange_ms[0] / (kTraces / 10)));
  REQUIRE(path["operations"][0]["rest"]["ms_per_trace"].get<double>() ==
          Approx(exchange_ms[1] / (kTraces * 9 / 10)));
  REQUIRE(path["operations"][0]["extra_share"].get<double>() > 0.95);
  std::set<std::string> slow;
  for (int number = 3; number < kTraces; number += 10) slow.insert(trace_hex(number));
  REQUIRE_FALSE(path["trace_ids"].empty());
  for (const Json& id : path["trace_ids"]) REQUIRE(slow.contains(id));

  const Json compared = tracer.get(
      "/api/tracing/compare?component=exchange&operation=send&quantile=0.905&traces=1000");
  REQUIRE(compared["reason"].is_null());
  bool has_venue = false;
  for (const Json& row : compared["differences"]) {
    if (row["kind"] != "attribute" || row["name"] != "venue" || row["value"] != "kraken") continue;
    has_venue = true;
    REQUIRE(row["is_significant"] == true);
    REQUIRE(row["slow"].get<double>() > 0.6);
    REQUIRE(row["rest"].get<double>() < 0.5);
  }
  REQUIRE(has_venue);
  for (const Json& id : compared["slow"]["trace_ids"]) REQUIRE(slow.contains(id));
  REQUIRE(compared["left_out"][0]["name"] == "order.id");
}

TEST_CASE("tracer: latency beside profit, joined by a span's order id", "[unit][tracing]") {
  Tracer tracer;
  constexpr int kTraces = 100;
  tracer.host.deliver(lines_of(0, kTraces));
  tracer.host.flush(kStart + 600 * kSecond);
  const Json pnl = tracer.get("/api/tracing/pnl-by-latency?component=exchange&edges_ms=100");
  REQUIRE(pnl["over"]["trades"] == kTraces);
  double slow_pnl = 0;
  for (int number = 3; number < kTraces; number += 10) slow_pnl += made_trace(number).pnl;
  const Json& buckets = pnl["latencies"][0]["buckets"];
  REQUIRE(buckets[1]["trades"] == kTraces / 10);
  REQUIRE(buckets[1]["pnl"].get<double>() == Approx(slow_pnl));
  REQUIRE(buckets[1]["won"] == 0);
  REQUIRE(buckets[0]["won"] == kTraces * 9 / 10);
  const Json correlation = tracer.get("/api/tracing/performance-correlation");
  for (const Json& row : correlation["correlations"]) {
    if (row["component"] != "exchange" || row["outcome"] != "won") continue;
    REQUIRE(row["n"] == kTraces);
    REQUIRE(row["spearman"].get<double>() < -0.3);
    REQUIRE(row["is_significant"] == true);
  }
  Tracer off(R"({"correlate_outcomes": false})");
  off.host.deliver(lines_of(0, 5));
  REQUIRE(off.get("/api/tracing/pnl-by-latency")["reason"].is_string());
}

TEST_CASE("tracer: traces that are not whole, until they are or time out", "[unit][tracing]") {
  Tracer tracer(R"({"trace_timeout_s": 60})");
  MadeTrace trace = made_trace(1);
  const MadeSpan root = trace.spans.back();
  trace.spans.pop_back();
  for (const MadeSpan& span : trace.spans) tracer.host.deliver(span_line(span, 1));
  Json active = tracer.get("/api/tracing/active");
  REQUIRE(active["over"]["active"] == 1);
  REQUIRE(active["active"][0]["trace_id"] == trace_hex(1));
  REQUIRE(active["active"][0]["missing_parents"] == 1);
  REQUIRE(active["active"][0]["has_root"] == false);
  // Another trace moves event time on by 30 s: it rests, and still waits.
  tracer.host.deliver(lines_of(16, 17));
  active = tracer.get("/api/tracing/active");
  REQUIRE(active["over"]["active"] == 1);
  REQUIRE(active["active"][0]["age_s"].get<double>() > 29.0);
  REQUIRE(active["active"][0]["is_timed_out"] == false);
  tracer.host.deliver(span_line(root, 1));
  tracer.host.flush(kStart + 40 * kSecond);
  active = tracer.get("/api/tracing/active");
  REQUIRE(active["over"]["active"] == 0);
  REQUIRE(active["over"]["completed_late_total"] == 1);
  // One whose root never comes.
  tracer.host.deliver(span_line(made_trace(30).spans[0], 30));
  tracer.host.deliver(lines_of(80, 81));
  tracer.host.flush(kStart + 200 * kSecond);
  active = tracer.get("/api/tracing/active");
  REQUIRE(active["over"]["timed_out_total"] == 1);
  REQUIRE(active["timed_out"][0]["trace_id"] == trace_hex(30));
}

TEST_CASE("tracer: analysis does not depend on slices, restarts or questions", "[unit][tracing]") {
  constexpr int kTraces = 90;
  Tracer unbroken;
  unbroken.host.deliver(lines_of(0, kTraces));
  unbroken.host.save();
  const std::vector<std::string> expected = all_answers(unbroken);
  std::mt19937_64 random(21);
  for (int round = 0; round < 6; ++round) {
    Tracer tracer;
    tracer.host.set_slice_size(1 + random() % 60);
    for (int first = 0; first < kTraces; first += 15) {
      tracer.host.deliver(lines_of(first, first + 15));
      if (random() % 3 == 0) all_answers(tracer);
      if (random() % 2 == 0) tracer.host.save();
      if (random() % 2 == 0) tracer.host.crash();
    }
    REQUIRE(tracer.host.restart());
    const std::vector<std::string> found = all_answers(tracer);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      INFO(kTargets[i]);
      REQUIRE(found[i] == expected[i]);
    }
  }
}

namespace {

// The same span as a client of OpenTelemetry sends it.
void deliver_otlp(Tracer& tracer, const MadeSpan& span, int trace) {
  const auto id = [](const std::string& name) { return std::string(7, '\1') + name; };
  OtlpSpan out;
  out.trace_id(OtlpSpan::from_hex(trace_hex(trace))).span_id(id(span.id));
  if (!span.parent.empty()) out.parent_span_id(id(span.parent));
  out.name(span.operation).kind(1).start_ns(kStart + span.start).end_ns(kStart + span.end);
  for (const auto& [name, value] : span.attributes.items()) {
    out.attribute(name, value.get<std::string>());
  }
  if (!span.error.empty()) out.error(span.error);
  tracer.host.deliver_otlp_span(out.bytes(), kStart + span.end, trace_hex(trace), span.component);
}

}  // namespace

TEST_CASE("tracer: spans of OpenTelemetry give the answers of the same spans as JSON",
          "[unit][tracing]") {
  Tracer json;
  Tracer otlp;
  for (int number = 0; number < 60; ++number) {
    json.host.deliver(lines_of(number, number + 1));
    for (const MadeSpan& span : made_trace(number).spans) deliver_otlp(otlp, span, number);
    const std::string lines = lines_of(number, number + 1);
    otlp.host.deliver(lines.substr(lines.rfind('\n', lines.size() - 2) + 1));  // the trade
  }
  for (Tracer* tracer : {&json, &otlp}) tracer->host.flush(kStart + 600 * kSecond);
  const std::vector<std::string> expected = all_answers(json);
  const std::vector<std::string> found = all_answers(otlp);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO(kTargets[i]);
    REQUIRE(found[i] == expected[i]);
  }
}

TEST_CASE("tracer: a latency regression and an error burst are found in OpenTelemetry's spans",
          "[unit][tracing]") {
  Tracer tracer;
  std::mt19937_64 random(8);
  // One trace a second for 50 minutes; the exchange is slow from the 30th to the 45th, and refuses
  // every third from the 40th on.
  for (int number = 0; number < 3000; ++number) {
    const std::int64_t at = number * kSecond;
    const bool is_slow = number >= 1800 && number < 2700;
    const auto noise = static_cast<std::int64_t>(random() % (4 * kMs));
    const std::int64_t end = at + (is_slow ? 60 : 15) * kMs + noise;
    deliver_otlp(tracer,
                 {"d", "a", "exchange", "send", at + kMs, end,
                  number >= 2400 && number % 3 == 0 ? "refused" : "", Json::object()},
                 number);
    deliver_otlp(tracer, {"a", "", "ares", "cycle", at, end + 2 * kMs, "", Json::object()}, number);
  }
  std::map<std::string, Json> found;
  const Json findings = tracer.get("/api/tracing/findings");
  for (const Json& one : findings["findings"]) found[one["kind"].get<std::string>()] = one;
  REQUIRE(findings["findings"].size() == 2);
  REQUIRE(found.at("latency_regression")["target"] == "exchange/send");
  REQUIRE(found.at("error_burst")["target"] == "exchange/send");
  const auto minute_of = [](const Json& finding) {
    return (*ephor::parse_time(finding["detected"].get<std::string>()) - kStart) / (60 * kSecond);
  };
  REQUIRE(minute_of(found.at("latency_regression")) >= 30);
  REQUIRE(minute_of(found.at("latency_regression")) < 45);
  REQUIRE(minute_of(found.at("error_burst")) >= 40);
}

TEST_CASE("tracer: a span of OpenTelemetry that is told when it begins is running",
          "[unit][tracing]") {
  Tracer tracer;
  const auto deliver = [&](std::int64_t end_ns, std::int64_t time_ns) {
    OtlpSpan span;
    span.trace_id(OtlpSpan::from_hex(trace_hex(5))).span_id("12345678").name("cycle").kind(1);
    span.start_ns(kStart).end_ns(end_ns);
    tracer.host.deliver_otlp_span(span.bytes(), time_ns, trace_hex(5), "ares");
  };
  deliver(0, kStart);
  Json active = tracer.get("/api/tracing/active");
  REQUIRE(active["active"][0]["running_spans"] == 1);
  REQUIRE(active["active"][0]["waits_for"][0] == "running spans");
  REQUIRE(tracer.get("/api/tracing/performance")["all"]["count"] == 0);
  deliver(kStart + kSecond, kStart + kSecond);
  tracer.host.flush(kStart + 30 * kSecond);
  active = tracer.get("/api/tracing/active");
  REQUIRE(active["over"]["active"] == 0);
  REQUIRE(active["over"]["running_spans_total"] == 1);
  REQUIRE(tracer.get("/api/tracing/performance")["all"]["count"] == 1);
}

TEST_CASE("tracer: errors are told by type and place, and when they come back", "[unit][tracing]") {
  Tracer tracer;
  const auto failed = [&](int number, std::int64_t at, const std::string& type,
                          const std::string& trace) {
    Json data{{"trace_id", trace_hex(number)},
              {"span_id", "s"},
              {"component", "c"},
              {"operation", "o"},
              {"start_time_unix_nano", kStart + at},
              {"end_time_unix_nano", kStart + at + kMs},
              {"status", "error"},
              {"error_message", "failed"},
              {"events",
               {{{"name", "exception"},
                 {"attributes",
                  {{"exception.type", type},
                   {"exception.message", "no price " + std::to_string(number)},
                   {"exception.stacktrace", trace}}}}}}};
    tracer.host.deliver(
        event_line("e" + std::to_string(number), "ephor.span", data, kStart + at, "", number));
  };
  constexpr std::int64_t kHour = 3600 * kSecond;
  const std::string python =
      "Traceback (most recent call last):\n  File \"/srv/run.py\", line 3, in main\n    load()\n"
      "  File \"/srv/prices.py\", line LINE, in load\n    raise KeyError\nKeyError: 1";
  const auto at_line = [&](const std::string& line) {
    std::string out = python;
    return out.replace(out.find("LINE"), 4, line);
  };
  failed(1, 0, "KeyError", at_line("7"));
  failed(2, kHour, "KeyError", at_line("9"));  // a new version: the line has moved
  failed(3, kHour, "ValueError", at_line("9"));
  failed(4, kHour, "KeyError",
         "java.lang.X: no\n\tat com.shop.Prices.load(Prices.java:31)\n\tat a.B");
  Json groups = tracer.get("/api/tracing/errors")["groups"];
  REQUIRE(groups.size() == 3);
  REQUIRE(groups[0]["count"] == 2);
  REQUIRE(groups[0]["type"] == "KeyError");
  REQUIRE(groups[0]["message"] == "no price <n>");
  REQUIRE(groups[0]["location"] == "load (prices.py)");
  REQUIRE(groups[0]["state"] == "new");
  REQUIRE(groups[0]["count_24h"] == 2);
  REQUIRE(groups[0]["share_of_spans"].get<double>() == Approx(0.5));
  failed(5, 40 * kHour, "KeyError", at_line("7"));
  groups = tracer.get("/api/tracing/errors?state=regressed")["groups"];
  REQUIRE(groups.size() == 1);
  REQUIRE(groups[0]["regressions"] == 1);
  REQUIRE(groups[0]["absent_s"] == 39 * 3600);
  REQUIRE(groups[0]["count_24h"] == 1);
  REQUIRE(tracer.get("/api/tracing/errors?state=gone")["groups"].size() == 2);
}

TEST_CASE("tracer: wrong questions about traces are told what is wrong", "[unit][tracing]") {
  Tracer tracer;
  const auto code_of = [&](const std::string& target) {
    try {
      tracer.host.request("GET", target);
      return EPHOR_OK;
    } catch (const ephor::Error& failure) {
      return failure.code();
    }
  };
  for (const std::string& target : kTargets) {
    const bool is_about_one =
        target.find("compare") != std::string::npos || target.find("root=") != std::string::npos;
    REQUIRE((code_of(target) == EPHOR_OK) == !is_about_one);
  }
  tracer.host.deliver(lines_of(0, 3));
  tracer.host.flush(kStart + 60 * kSecond);
  REQUIRE(code_of("/api/tracing/graph?level=planet") == EPHOR_INVALID);
  REQUIRE(code_of("/api/tracing/critical-path?root=nothing") == EPHOR_NOT_FOUND);
  REQUIRE(code_of("/api/tracing/critical-path?quantile=2") == EPHOR_INVALID);
  REQUIRE(code_of("/api/tracing/compare") == EPHOR_INVALID);
  REQUIRE(code_of("/api/tracing/compare?operation=nothing") == EPHOR_NOT_FOUND);
  REQUIRE(code_of("/api/tracing/pnl-by-latency?edges_ms=5,3") == EPHOR_INVALID);
  REQUIRE(code_of("/api/tracing/active?limit=0") == EPHOR_INVALID);
}

TEST_CASE("tracer: bounds of the analysis are kept and told", "[unit][tracing]") {
  Tracer tracer(R"({"max_services": 2, "max_edges": 2, "max_root_operations": 0,
                    "max_outcomes": 10})");
  tracer.host.deliver(lines_of(0, 40));
  tracer.host.flush(kStart + 600 * kSecond);
  REQUIRE(tracer.get("/api/tracing/services")["services"].size() == 2);
  std::uint64_t calls = 0;
  const Json graph = tracer.get("/api/tracing/graph?level=operation");
  for (const Json& edge : graph["edges"]) {
    calls += edge["count"].get<std::uint64_t>();
  }
  REQUIRE(calls == 120);
  REQUIRE(tracer.get("/api/tracing/critical-path")["over"]["traces_beyond_roots_total"] == 40);
  REQUIRE(tracer.get("/api/tracing/pnl-by-latency")["over"]["outcomes_forgotten"] == 30);
}

TEST_CASE("tracer: the recorded session's traces, against an independent count",
          "[unit][tracing][data]") {
  const auto path = shared_data("session/btc.ndjson.gz");
  if (!path) return;
  std::map<std::pair<std::string, std::string>, std::uint64_t> edges;
  std::map<std::string, std::string> component_of;  // by trace and span
  std::vector<std::pair<std::string, std::string>> calls;
  std::set<std::string> ids;
  std::set<std::string> closed;
  Tracer tracer;
  std::string part;
  for_each_line(*path, [&](std::string_view line) {
    const bool is_span = line.find("\"type\":\"ephor.span\"") != std::string_view::npos;
    const bool is_trade = line.find("\"type\":\"ephor.trade\"") != std::string_view::npos;
    if (!is_span && !is_trade) return;
    const Json event = Json::parse(line);
    if (!ids.insert(event["source"].get<std::string>() + "\n" + event["id"].get<std::string>())
             .second) {
      return;
    }
    const Json& data = event["data"];
    if (is_trade && data["status"] == "closed") closed.insert(data["trade_id"].get<std::string>());
    if (is_span) {
      const std::string trace = data["trace_id"];
      component_of[trace + data["span_id"].get<std::string>()] = data["component"];
      if (data["parent_span_id"].is_string()) {
        calls.emplace_back(trace + data["parent_span_id"].get<std::string>(), data["component"]);
      }
    }
    part += line;
    if (part.size() > 1'000'000) {
      tracer.host.deliver(part);
      part.clear();
    }
  });
  tracer.host.deliver(part);
  tracer.host.flush(1'600'000'000'000'000'000);
  std::uint64_t without_parent = 0;
  for (const auto& [parent, component] : calls) {
    const auto found = component_of.find(parent);
    if (found == component_of.end()) {
      ++without_parent;
    } else if (found->second != component) {
      ++edges[{found->second, component}];
    }
  }
  const Json graph = tracer.get("/api/tracing/graph?level=component");
  REQUIRE(graph["edges"].size() == edges.size());
  for (const Json& edge : graph["edges"]) {
    REQUIRE(edge["count"] == edges.at({edge["from"], edge["to"]}));
  }
  REQUIRE(graph["over"]["spans_without_parent_total"] == without_parent);
  const Json pnl = tracer.get("/api/tracing/pnl-by-latency");
  REQUIRE(pnl["over"]["trades"].get<std::size_t>() +
              pnl["over"]["trades_without_trace"].get<std::size_t>() ==
          closed.size());
  REQUIRE(pnl["over"]["trades_without_trace"] == 0);
}
