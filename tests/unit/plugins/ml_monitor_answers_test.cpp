// SPDX-License-Identifier: Apache-2.0
//
// What the plugin answers about drift, features, periods, regimes and retraining.
#include <cmath>
#include <ephor/json.hpp>
#include <ephor/testing/fake_host.hpp>
#include <map>
#include <string>
#include <vector>

#include "ml_monitor_stream.hpp"
#include "support/catch.hpp"

extern "C" const ephor_entry* ephor_plugin_entry_v1(void);

using ephor::Json;
using ephor::testing::CloudEvent;
using ephor::testing::FakeHost;
using namespace ephor::ml_monitor::testing;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kHour = 3'600 * kSecond;

void load(FakeHost& host, std::string_view config = "{}") {
  host.load_plugin(*ephor_plugin_entry_v1(), config, "ml_monitor");
}
Json get(FakeHost& host, const std::string& target) {
  return Json::parse(host.request("GET", target));
}
int g_events = 0;
std::string event(const std::string& topic, const std::string& data, std::int64_t time_ns,
                  const std::string& correlation = "") {
  return CloudEvent{.topic = topic,
                    .data_json = data,
                    .time_ns = time_ns,
                    .id = "e" + std::to_string(++g_events),
                    .correlation_id = correlation}
             .line() +
         "\n";
}
std::string prediction(const std::string& id, const std::string& more, std::int64_t time_ns,
                       const std::string& correlation = "") {
  return event("ephor.prediction",
               R"({"prediction_id":")" + id +
                   R"(","model_id":"m","symbol":"X","prediction":"buy")" + more + "}",
               time_ns, correlation);
}
std::string outcome(const std::string& id, const std::string& actual, std::int64_t time_ns) {
  return event("ephor.outcome", R"({"prediction_id":")" + id + R"(","actual":")" + actual + R"("})",
               time_ns);
}
StreamForm broken() {
  StreamForm form;
  form.decisions = 900;
  form.faults = {{"broken", 450, 900, 1}};
  return form;
}

}  // namespace

TEST_CASE("regimes: a prediction's own, its decision's, its symbol's, or unknown", "[unit][ml]") {
  FakeHost host;
  load(host);
  host.deliver(prediction("1", "", 1));  // before any regime
  host.deliver(event("ephor.regime", R"({"symbol":"X","regime_type":"calm"})", 2));
  host.deliver(prediction("2", "", 3));                          // its symbol's
  host.deliver(prediction("3", R"(,"regime":"own")", 4, "c3"));  // its own
  host.deliver(prediction("4", "", 5, "c4"));                    // its decision's
  host.deliver(event("ephor.ensemble_decision",
                     R"({"decision_id":"d","symbol":"X","regime":"wild"})", 6, "c4"));
  host.deliver(event("ephor.ensemble_decision",
                     R"({"decision_id":"d3","symbol":"X","regime":"wild"})", 6, "c3"));
  host.deliver(event("ephor.regime", R"({"symbol":"Y","regime_type":"other"})", 7));
  for (const char* id : {"1", "2", "3", "4"}) host.deliver(outcome(id, "buy", 10));
  const Json regimes = get(host, "/api/ml/models/m")["regimes"];
  CHECK(regimes.size() == 4);
  for (const char* name : {"(unknown)", "calm", "own", "wild"}) {
    CAPTURE(name);
    CHECK(regimes[name]["scored"] == 1);
    CHECK(regimes[name]["accuracy"] == 1.0);
  }
  CHECK_FALSE(regimes["calm"].contains("predictions"));
}

TEST_CASE("periods: figures of whole hours, from rows and from memory", "[unit][ml]") {
  FakeHost host;
  load(host);
  // Hour 0: right, right; hour 1: wrong; hour 5: right.
  int id = 0;
  for (const auto& [hour, actual] :
       std::vector<std::pair<int, std::string>>{{0, "buy"}, {0, "buy"}, {1, "sell"}, {5, "buy"}}) {
    const std::string name = std::to_string(++id);
    host.deliver(prediction(name, R"(,"confidence":0.8,"probability":{"buy":0.8,"sell":0.2})",
                            hour * kHour + 1));
    host.deliver(outcome(name, actual, hour * kHour + 2));
  }
  // What storage has answered for the rows that are written.
  host.save();
  host.on_select([&](std::string_view, std::span<const ephor_cell> parameters) {
    std::vector<std::vector<ephor::testing::StoredCell>> out;
    for (const auto& row : host.rows("model_behavior_tracking")) {
      const std::string& hour = row.at("timestamp").bytes;
      if (hour < ephor::to_text(parameters[0].bytes) ||
          hour >= ephor::to_text(parameters[1].bytes)) {
        continue;
      }
      out.push_back({row.at("id"), row.at("model_id"), row.at("performance_metrics")});
    }
    return out;
  });
  const Json all = get(host, "/api/ml/models?from=1970-01-01T00:00:00Z")["models"][0];
  CHECK(all["scored"] == 4);
  CHECK(all["accuracy"] == 0.75);
  CHECK(all["brier_score"].get<double>() == Approx((3 * 0.08 + 1.28) / 4));
  CHECK(all["expected_calibration_error"].get<double>() == Approx(0.05));
  CHECK(all["f1_macro"].get<double>() == Approx((6.0 / 7 + 0.0) / 2));
  const Json early = get(host, "/api/ml/models?to=1970-01-01T02:00:00Z");
  CHECK(early["models"][0]["scored"] == 3);
  CHECK(early["over"]["to"] == "1970-01-01T02:00:00Z");
  const Json second =
      get(host, "/api/ml/models/m?from=1970-01-01T01:00:00Z&to=1970-01-01T02:00:00Z");
  CHECK(second["scored"] == 1);
  CHECK(second["confusion"]["by_actual_then_predicted"]["sell"]["buy"] == 1);
  CHECK(second["reliability"][8]["count"] == 1);
  // An hour that is not written yet counts as it is.
  host.deliver(prediction("9", "", 5 * kHour + 9));
  host.deliver(outcome("9", "sell", 5 * kHour + 10));
  CHECK(get(host, "/api/ml/models?from=18000000000000")["models"][0]["scored"] == 2);
  CHECK_THROWS_AS(host.request("GET", "/api/ml/models?from=yesterday"), ephor::Error);
}

TEST_CASE("drift: findings, detectors, features and scores of the row", "[unit][ml]") {
  FakeHost host;
  load(host);
  host.deliver(Stream(broken()).lines());
  const Json drift = get(host, "/api/ml/drift");
  CHECK(drift["findings_open"] == 1);
  REQUIRE(drift["findings"].size() == 1);
  const std::string id = drift["findings"][0]["finding_id"];
  CHECK(Json::parse(host.ask("ml_monitor.summary"))["findings"] == drift["findings"]);
  REQUIRE(drift["models"].size() == 4);
  for (const Json& model : drift["models"]) {
    CHECK(model["error_stream"]["adwin"].contains("alarms"));
    CHECK(model["error_stream"]["page_hinkley"].contains("statistic"));
    CHECK(model["streams"].size() == 5);
    CHECK(model["output_runs"][0]["run_length"] == 1);
  }
  CHECK(drift["features"].size() == 3);
  CHECK(get(host, "/api/ml/models/m1")["findings"][0]["finding_id"] == id);
  CHECK(get(host, "/api/ml/models/m0")["findings"].empty());
  CHECK(get(host, "/api/ml/drift?limit=2&offset=3")["models"].size() == 1);
  CHECK(get(host, "/api/ml/drift?to=1970-01-01T01:00:00Z")["findings"].empty());
  host.save();
  const auto rows = host.rows("model_behavior_tracking");
  bool is_in_row = false;
  for (const auto& row : rows) {
    if (row.at("model_id").bytes != "m1" || row.at("drift_scores").is_null()) continue;
    const Json scores = Json::parse(row.at("drift_scores").bytes);
    CHECK(scores["error_stream"]["page_hinkley"].contains("statistic"));
    is_in_row = is_in_row || scores["open_findings"] == Json::array({id});
  }
  CHECK(is_in_row);
  // The cause is the outcome that ended the block.
  CHECK(host.published("ephor.drift")[0].cause_sequence > 0);
}

TEST_CASE("features: counts, distances, a given reference, importance", "[unit][ml]") {
  FakeHost host;
  load(host);
  std::string lines;
  for (int i = 0; i < 400; ++i) {
    const std::string value = i % 10 == 0 ? "null" : std::to_string(i % 7);
    lines +=
        event("ephor.features",
              R"({"symbol":"X","features":{"a":)" + value + R"(,"b":)" + std::to_string(i) + "}}",
              i * kSecond);
  }
  host.deliver(lines);
  host.deliver(event("ephor.feature_importance", R"({"model_id":"m","importance":{"a":0.5}})",
                     400 * kSecond));
  const Json features = get(host, "/api/ml/features");
  CHECK(features["features_total"] == 2);
  const Json& a = features["features"][0];
  CHECK(a["feature"] == "a");
  CHECK(a["symbol"] == "X");
  CHECK(a["count"] == 360);
  CHECK(a["missing"] == 40);
  CHECK(a["importance"]["m"] == 0.5);
  const Json& b = features["features"][1];
  CHECK(b["mean"].get<double>() == Approx(199.5));
  CHECK(b["standard_deviation"].get<double>() == Approx(std::sqrt(400.0 * 401.0 / 12.0)));
  CHECK(b["ks_statistic"] == 1.0);  // it only rises
  CHECK(b["psi"].get<double>() > 1.0);
  CHECK(b["open_findings"].empty());  // a wanderer has no level to shift from
  host.deliver(event("ephor.reference",
                     R"({"model_id":"m","features":{"b":{"quantiles":[0,400],"count":1000}}})",
                     401 * kSecond));
  const Json given = get(host, "/api/ml/features")["features"][1];
  CHECK(given["reference"]["is_given"] == true);
  CHECK(given["reference"]["values_behind"] == 1000);
  CHECK(given["quantiles_reference"]["0.5"].get<double>() == Approx(200.0).epsilon(0.01));
  CHECK(given["ks_statistic"].get<double>() < 1.0);
}

TEST_CASE("retraining: requested when a model finding lasts, followed, and not too often",
          "[unit][ml]") {
  FakeHost host;
  load(host);
  host.deliver(Stream(broken()).lines());
  const Json finding = get(host, "/api/ml/drift")["findings"][0];
  const std::int64_t detected = *ephor::parse_time(finding["detected"].get<std::string>());
  CHECK(host.published("ephor.retrain").empty());  // no tick yet: log time stands still
  host.tick(detected + 1'799 * kSecond);
  CHECK(host.published("ephor.retrain").empty());
  host.tick(detected + 1'900 * kSecond);
  REQUIRE(host.published("ephor.retrain").size() == 1);
  const Json request = Json::parse(host.published("ephor.retrain")[0].data_json);
  CHECK(request["model_id"] == "m1");
  CHECK(request["status"] == "requested");
  CHECK(request["finding_id"] == finding["finding_id"]);
  CHECK(request["model_version"] == "1");
  CHECK(request["evidence"]["open_for_s"] == 1'900);
  host.tick(detected + 20'000 * kSecond);
  CHECK(host.published("ephor.retrain").size() == 1);
  const std::string id = request["retrain_id"];
  const auto status = [&](const std::string& what, std::int64_t time_ns) {
    host.deliver(event("ephor.retrain_status",
                       R"({"retrain_id":")" + id + R"(","model_id":"m1","model_version":"2",)" +
                           R"("status":")" + what + R"("})",
                       time_ns));
    return get(host, "/api/ml/retraining")["requests"][0]["status"];
  };
  CHECK(status("running", detected + 30'000 * kSecond) == "running");
  CHECK(get(host, "/api/ml/drift")["findings_open"] == 1);
  CHECK(status("done", detected + 31'000 * kSecond) == "done");
  CHECK(get(host, "/api/ml/drift")["findings_open"] == 0);
  CHECK(host.published("ephor.drift").size() == 2);
  CHECK(get(host, "/api/ml/retraining")["requests_total"] == 1);
}

TEST_CASE("retraining: the keys, and what is no reason for it", "[unit][ml]") {
  const auto requests = [](const StreamForm& form, std::string_view config) {
    FakeHost host;
    load(host, config);
    host.deliver(Stream(form).lines());
    host.tick(Stream::time_of(2'000));
    host.tick(Stream::time_of(4'000));
    return host.published("ephor.retrain").size();
  };
  CHECK(requests(broken(), "{}") == 1);
  CHECK(requests(broken(), R"({"auto_retraining_enabled":false})") == 0);
  CHECK(requests(broken(), R"({"retraining_after_s":9e6})") == 0);
  StreamForm form;
  form.decisions = 900;
  for (const char* kind : {"stale", "shifted", "missing"}) {
    CAPTURE(kind);
    form.faults = {{kind, 450, 900, 1}};
    CHECK(requests(form, "{}") == 0);
  }
}
