// SPDX-License-Identifier: Apache-2.0
//
// Latency regressions and error bursts, told by the real tracer.so.
#include <cmath>
#include <cstdint>
#include <ephor/testing/fake_host.hpp>
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
constexpr std::int64_t kMinute = 60'000'000'000;

struct Tracer {
  explicit Tracer(std::string_view config = "{}") {
    host.on_select([this](std::string_view sql, std::span<const ephor_cell> parameters) {
      return select_rows(host, sql, parameters);
    });
    host.load_plugin(plugin_entry("tracer"), config, "tracer");
  }
  Json findings(const std::string& query = "") {
    return Json::parse(host.request("GET", "/api/tracing/findings" + query))["findings"];
  }
  FakeHost host;
};

struct Weather {
  double slow = 1.0;        // times, of desk/price
  double error_rate = 0.0;  // of desk/check
};

// A system of three layers, one request a minute: web/get around desk/handle around desk/price
// (2 ms) and desk/check (1 ms). What fails is handed up to the root.
class System {
 public:
  explicit System(std::uint64_t seed) : random_(seed) {}

  std::string minutes(int count, Weather weather) {
    std::string lines;
    for (int i = 0; i < count; ++i) lines += request(weather);
    return lines;
  }
  std::int64_t minute() const { return minute_; }

 private:
  std::string request(const Weather& weather) {
    const std::int64_t start = kStart + kMinute * minute_++;
    const std::int64_t price_end = start + nanoseconds(2.0 * weather.slow);
    const std::int64_t end = price_end + nanoseconds(1.0);
    const bool is_failed = std::uniform_real_distribution<>()(random_) < weather.error_rate;
    const int id = static_cast<int>(minute_) * 10;
    return span(id, id + 1, "desk", "price", start, price_end, false) +
           span(id + 2, id + 1, "desk", "check", price_end, end, is_failed) +
           span(id + 1, id + 3, "desk", "handle", start, end, is_failed) +
           span(id + 3, 0, "web", "get", start, end, is_failed);
  }
  std::int64_t nanoseconds(double median_ms) {
    return static_cast<std::int64_t>(median_ms * std::exp(0.3 * normal_(random_)) * 1e6);
  }
  std::string span(int id, int parent, const char* component, const char* operation,
                   std::int64_t start, std::int64_t end, bool is_failed) {
    char trace[33];
    std::snprintf(trace, sizeof trace, "%032llx", static_cast<unsigned long long>(minute_));
    Json data{{"trace_id", trace},
              {"span_id", std::to_string(id)},
              {"component", component},
              {"operation", operation},
              {"start_time_unix_nano", start},
              {"end_time_unix_nano", end},
              {"status", is_failed ? "error" : "ok"}};
    if (parent != 0) data["parent_span_id"] = std::to_string(parent);
    if (is_failed) data["error_message"] = "limit service timed out after " + std::to_string(id);
    return Json{{"specversion", "1.0"},
                {"id", std::to_string(id)},
                {"source", component},
                {"type", "ephor.span"},
                {"time", rfc3339(end)},
                {"traceparent", "00-" + std::string(trace) + "-00f067aa0ba902b7-01"},
                {"data", data}}
               .dump() +
           "\n";
  }

  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
  std::int64_t minute_ = 1;
};

// 5 h well, 2 h of the weather, 5 h well.
std::vector<std::string> session(Weather weather, std::uint64_t seed = 1) {
  System system(seed);
  return {system.minutes(300, {}), system.minutes(120, weather), system.minutes(300, {})};
}

std::int64_t minute_of(const Json& time) {
  return (parse_rfc3339(time.get<std::string>()).value().time_ns - kStart) / kMinute;
}

bool finds_something(std::string_view config, Weather weather) {
  Tracer tracer(config);
  for (const std::string& part : session(weather)) tracer.host.deliver(part);
  return !tracer.findings().empty();
}

}  // namespace

TEST_CASE("tracer findings: the operation that slowed down, not its callers", "[unit][tracing]") {
  Tracer tracer;
  for (const std::string& part : session({.slow = 5.0})) tracer.host.deliver(part);
  const Json findings = tracer.findings();
  REQUIRE(findings.size() == 1);
  const Json& told = findings[0];
  REQUIRE(told["kind"] == "latency_regression");
  REQUIRE(told["target"] == "desk/price");
  REQUIRE(told["target_kind"] == "operation");
  REQUIRE(told["state"] == "closed");
  REQUIRE(told["severity"] == "critical");
  REQUIRE(told["finding_id"] ==
          "tracer:latency_regression:desk/price:" + told["onset"].get<std::string>());
  REQUIRE(std::abs(minute_of(told["onset"]) - 301) <= 1);
  REQUIRE(minute_of(told["detected"]) <= 310);
  REQUIRE(minute_of(told["closed"]) >= 421);
  REQUIRE(minute_of(told["closed"]) <= 450);
  const Json& evidence = told["evidence"];
  REQUIRE(evidence["self_ms"]["before"].get<double>() == Approx(2.0).epsilon(0.08));
  REQUIRE(evidence["factor"].get<double>() == Approx(5.0).epsilon(0.15));
  REQUIRE(evidence["ancestors"][0]["operation"] == "desk/handle");
  REQUIRE(evidence["ancestors"][1]["operation"] == "web/get");
  REQUIRE(evidence["ancestors"][1]["self_time_shifted"] == false);

  const auto published = tracer.host.published("ephor.finding");
  REQUIRE(published.size() == 2);
  const Json opened = Json::parse(published[0].data_json);
  REQUIRE(opened["state"] == "open");
  REQUIRE(opened["closed"].is_null());
  REQUIRE(opened["finding_id"] == told["finding_id"]);
  REQUIRE(Json::parse(published[1].data_json) == told);
  REQUIRE(Json::parse(tracer.host.ask("tracer.summary"))["findings"] == findings);
}

TEST_CASE("tracer findings: the operation that failed, not its callers", "[unit][tracing]") {
  Tracer tracer;
  for (const std::string& part : session({.error_rate = 0.4})) tracer.host.deliver(part);
  const Json findings = tracer.findings();
  REQUIRE(findings.size() == 1);
  const Json& told = findings[0];
  REQUIRE(told["kind"] == "error_burst");
  REQUIRE(told["target"] == "desk/check");
  REQUIRE(told["state"] == "closed");
  REQUIRE(told["severity"] == "critical");
  REQUIRE(minute_of(told["onset"]) >= 301);
  REQUIRE(minute_of(told["detected"]) <= 320);
  const Json& evidence = told["evidence"];
  REQUIRE(evidence["before"]["errors"] == 0);
  REQUIRE(evidence["after"]["rate"].get<double>() == Approx(0.4).margin(0.18));
  REQUIRE(evidence["after"]["wilson_95"][0].get<double>() < 0.4);
  REQUIRE(evidence["after"]["wilson_95"][1].get<double>() > 0.4);
  REQUIRE(evidence["message"] == "limit service timed out after <n>");
}

TEST_CASE("tracer findings: none without a fault", "[unit][tracing]") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Tracer tracer;
    for (const std::string& part : session({.error_rate = 0.001}, seed)) tracer.host.deliver(part);
    REQUIRE(tracer.findings().empty());
  }
}

TEST_CASE("tracer findings: the same for any slices, killed anywhere", "[unit][tracing]") {
  Tracer whole;
  const std::vector<std::string> parts = session({.slow = 3.0, .error_rate = 0.3});
  for (const std::string& part : parts) whole.host.deliver(part);
  whole.host.flush(kStart + 800 * kMinute);
  const Json expected = whole.findings();
  REQUIRE(expected.size() >= 2);
  std::mt19937_64 random(3);
  for (int round = 0; round < 4; ++round) {
    Tracer tracer;
    tracer.host.set_slice_size(round == 0 ? 1 : 1 + random() % 256);
    for (const std::string& part : parts) {
      for (std::size_t at = 0; at < part.size();) {
        std::size_t end = part.find('\n', std::min(part.size() - 1, at + random() % 100'000));
        end = end == std::string::npos ? part.size() : end + 1;
        tracer.host.deliver(std::string_view(part).substr(at, end - at));
        at = end;
        if (random() % 3 == 0) tracer.host.save();
        if (random() % 6 == 0) tracer.host.crash();
      }
    }
    tracer.host.flush(kStart + 800 * kMinute);
    REQUIRE(tracer.findings() == expected);
    REQUIRE(tracer.host.published("ephor.finding").size() ==
            whole.host.published("ephor.finding").size());
  }
}

TEST_CASE("tracer findings: late spans are not judged", "[unit][tracing]") {
  Tracer tracer;
  const std::vector<std::string> parts = session({.slow = 5.0});
  tracer.host.deliver(parts[0]);
  tracer.host.deliver(parts[1], EPHOR_EVENT_LATE);
  REQUIRE(tracer.findings().empty());
}

TEST_CASE("tracer findings: the list is filtered and paged", "[unit][tracing]") {
  Tracer tracer;
  const std::vector<std::string> parts = session({.slow = 5.0, .error_rate = 0.5});
  tracer.host.deliver(parts[0]);
  tracer.host.deliver(parts[1]);
  REQUIRE(tracer.findings().size() == 2);
  REQUIRE(tracer.findings("?kind=error_burst").size() == 1);
  REQUIRE(tracer.findings("?target=desk/price")[0]["kind"] == "latency_regression");
  REQUIRE(tracer.findings("?state=open").size() == 2);
  REQUIRE(tracer.findings("?state=closed").empty());
  REQUIRE(tracer.findings("?limit=1").size() == 1);
  REQUIRE(tracer.findings("?offset=1").size() == 1);
  REQUIRE(tracer.findings("?offset=2").empty());
  REQUIRE(tracer.findings("?to=" + rfc3339(kStart + 200 * kMinute)).empty());
  REQUIRE(tracer.findings("?from=" + rfc3339(kStart + 900 * kMinute)).size() == 2);
  tracer.host.deliver(parts[2]);
  REQUIRE(tracer.findings("?from=" + rfc3339(kStart + 900 * kMinute)).empty());
  REQUIRE(tracer.findings("?state=closed").size() == 2);
}

TEST_CASE("tracer findings: each configuration key changes what is found", "[unit][tracing]") {
  REQUIRE(finds_something("{}", {.slow = 3.0}));
  for (const char* config :
       {R"({"find_regressions": false})", R"({"latency_factor_min": 4})",
        R"({"latency_increase_min_ms": 50})", R"({"latency_false_alarm_batches": 1e12,
        "latency_batch_s": 3600})",
        R"({"finding_persistence_s": 86400})",
        R"({"finding_warmup_spans": 800, "latency_batch_s": 3600})"}) {
    INFO(config);
    REQUIRE_FALSE(finds_something(config, {.slow = 3.0}));
  }
  REQUIRE(finds_something("{}", {.error_rate = 0.3}));
  for (const char* config :
       {R"({"error_rate_rise_min": 0.8})", R"({"error_rate_factor_min": 1000})",
        R"({"error_count_min": 1000})", R"({"error_false_alarm_spans": 1e12,
        "error_rate_rise_min": 0.4})",
        R"({"finding_warmup_spans": 800})"}) {
    INFO(config);
    REQUIRE_FALSE(finds_something(config, {.error_rate = 0.3}));
  }

  Tracer one(R"({"max_findings": 1})");
  for (const std::string& part : session({.slow = 5.0, .error_rate = 0.5})) one.host.deliver(part);
  REQUIRE(one.findings().size() == 1);

  Tracer accepts(R"({"finding_accept_after_h": 1})");
  const std::vector<std::string> parts = session({.slow = 5.0});
  accepts.host.deliver(parts[0]);
  accepts.host.deliver(parts[1]);
  REQUIRE(accepts.findings()[0]["evidence"]["closed_because"] == "accepted as the new normal");

  // Spans of callees that come one request late: without patience the caller seems to be slow.
  const auto targets_of = [&](const char* config) {
    Tracer tracer(config);
    std::string rest;
    std::string delayed;
    for (const std::string& part : parts) {
      for (std::size_t at = 0; at < part.size();) {
        const std::size_t end = part.find('\n', at) + 1;
        const std::string line = part.substr(at, end - at);
        at = end;
        delayed += line;
        if (line.find("\"web\"") == std::string::npos) continue;
        tracer.host.deliver(line + rest);
        rest = std::exchange(delayed, {});
        rest.resize(rest.size() - line.size());
      }
    }
    std::string targets;
    for (const Json& told : tracer.findings()) targets += told["target"].get<std::string>() + " ";
    return targets;
  };
  REQUIRE(targets_of("{}").find("web/get") != std::string::npos);
  REQUIRE(targets_of(R"({"trace_linger_s": 90})") == "desk/price ");
  Tracer early(R"({"max_open_spans": 100, "trace_linger_s": 3600})");
  early.host.deliver(parts[0]);
  Tracer patient(R"({"trace_linger_s": 3600})");
  patient.host.deliver(parts[0]);
  const auto early_count = [](Tracer& tracer) {
    return Json::parse(
               tracer.host.request("GET", "/api/tracing/findings"))["over"]["traces_judged_early"]
        .get<int>();
  };
  REQUIRE(early_count(early) > 0);
  REQUIRE(early_count(patient) == 0);
}

TEST_CASE("tracer findings: the two faults of the recorded session and nothing else",
          "[unit][tracing][data]") {
  const auto path = shared_data("session/btc.ndjson.gz");
  if (!path) return;
  Tracer tracer;
  std::string lines;
  std::set<std::string> ids;
  for_each_line(*path, [&](std::string_view line) {
    if (line.find("\"type\":\"ephor.span\"") == std::string_view::npos) return;
    const std::size_t at = line.find("\"id\":");
    if (ids.emplace(line.substr(at, line.find(',', at) - at)).second) lines += line;
  });
  tracer.host.deliver(lines);
  const Json findings = tracer.findings();
  REQUIRE(findings.size() == 2);
  const auto within = [](const Json& time, const char* from, const char* to) {
    const std::string text = time.get<std::string>();
    return from <= text && text <= to;
  };
  const Json& errors = findings[0];
  REQUIRE(errors["kind"] == "error_burst");
  REQUIRE(errors["target"] == "strategist/risk_check");
  REQUIRE(within(errors["detected"], "2017-11-12T13:43", "2017-11-12T13:58"));
  REQUIRE(within(errors["closed"], "2017-11-13T04:24", "2017-11-13T05:24"));
  const Json& latency = findings[1];
  REQUIRE(latency["kind"] == "latency_regression");
  REQUIRE(latency["target"] == "tactician/size_position");
  REQUIRE(within(latency["onset"], "2017-11-08T20:22", "2017-11-08T20:25"));
  REQUIRE(within(latency["detected"], "2017-11-08T20:23", "2017-11-08T20:38"));
  REQUIRE(within(latency["closed"], "2017-11-09T12:12", "2017-11-09T12:42"));
  REQUIRE(latency["evidence"]["factor"].get<double>() == Approx(6.0).epsilon(0.05));
}
