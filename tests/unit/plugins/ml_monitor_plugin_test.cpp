// SPDX-License-Identifier: Apache-2.0
//
// The plugin as the host sees it: through its C tables, in a fake host.
#include <cmath>
#include <ephor/json.hpp>
#include <ephor/testing/fake_host.hpp>
#include <random>
#include <string>
#include <vector>

#include "support/catch.hpp"

extern "C" const ephor_entry* ephor_plugin_entry_v1(void);

using ephor::Json;
using ephor::testing::CloudEvent;
using ephor::testing::FakeHost;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kHour = 3'600 * kSecond;

void load(FakeHost& host, std::string_view config = "{}") {
  host.load_plugin(*ephor_plugin_entry_v1(), config, "ml_monitor");
}
std::string prediction(const std::string& id, const std::string& model, const std::string& value,
                       std::int64_t time_ns, const std::string& more = "") {
  return CloudEvent{.topic = "ephor.prediction",
                    .data_json = R"({"prediction_id":")" + id + R"(","model_id":")" + model +
                                 R"(","prediction":)" + value + more + "}",
                    .time_ns = time_ns,
                    .id = "p-" + id}
             .line() +
         "\n";
}
std::string outcome(const std::string& id, const std::string& value, std::int64_t time_ns,
                    const std::string& event_id = "") {
  return CloudEvent{.topic = "ephor.outcome",
                    .data_json = R"({"prediction_id":")" + id + R"(","actual":)" + value + "}",
                    .time_ns = time_ns,
                    .id = "o-" + (event_id.empty() ? id : event_id)}
             .line() +
         "\n";
}
std::string decision_outcome(const std::string& id, const std::string& value,
                             std::int64_t time_ns) {
  return CloudEvent{.topic = "ephor.outcome",
                    .data_json = R"({"decision_id":")" + id + R"(","actual":)" + value + "}",
                    .time_ns = time_ns,
                    .id = "od-" + id}
             .line() +
         "\n";
}
Json get(FakeHost& host, const std::string& target) {
  return Json::parse(host.request("GET", target));
}

// Several hours of three models, with repeats, late outcomes and all shapes of values.
std::string recording() {
  std::mt19937_64 random(21);
  const std::vector<std::string> labels = {R"("buy")", R"("SELL")", R"("hold")", "0.4", "-1"};
  std::string lines;
  for (int i = 0; i < 900; ++i) {
    const std::int64_t time = i * 30 * kSecond;
    const std::string id = std::to_string(i);
    const std::string model = "model_" + std::to_string(i % 3);
    lines += prediction(id, model, labels[random() % labels.size()], time,
                        R"(,"symbol":"BTCUSDT","model_version":")" + std::to_string(i / 400) +
                            R"(","confidence":0.5,"decision_id":"d)" + std::to_string(i / 3) +
                            R"(","probability":{"buy":0.5,"sell":0.3,"hold":0.2})");
    const std::string back = std::to_string(std::max(0, i - static_cast<int>(random() % 200)));
    if (i % 3 == 0) lines += outcome(back, labels[random() % 5], time + kSecond, id + "o");
    if (i % 7 == 0) lines += decision_outcome("d" + back, "1", time + kSecond);
    if (i % 100 == 50) {
      lines +=
          CloudEvent{.topic = "ephor.feature_importance",
                     .data_json = R"({"model_id":"model_1","method":"shap","importance":{"rsi":)" +
                                  std::to_string(i) + "}}",
                     .time_ns = time}
              .line() +
          "\n";
    }
  }
  return lines;
}

std::string everything(FakeHost& host) {
  std::string out = host.ask("ml_monitor.summary") + host.request("GET", "/api/ml/models");
  for (const char* model : {"model_0", "model_1", "model_2"}) {
    out += host.request("GET", std::string("/api/ml/models/") + model);
  }
  host.save();
  for (const auto& row : host.rows("model_behavior_tracking")) {
    for (const auto& [column, cell] : row) out += column + "=" + cell.bytes + "\n";
  }
  return out;
}

}  // namespace

TEST_CASE("ml_monitor: answers, rows, metrics of a small story", "[unit][ml]") {
  FakeHost host;
  load(host);
  CHECK(Json::parse(host.ask("ml_monitor.summary"))["predictions"] == 0);
  CHECK(get(host, "/api/ml/models")["models"].empty());
  host.deliver(
      prediction("1", "lstm", R"("buy")", 10 * kSecond,
                 R"(,"probability":{"buy":0.5,"sell":0.25,"hold":0.25},"confidence":0.5)"));
  host.deliver(prediction("2", "lstm", R"("LONG")", 20 * kSecond));
  host.deliver(outcome("1", R"("buy")", 30 * kSecond));
  host.deliver(outcome("2", R"("sell")", kHour + 1));
  host.deliver(prediction("3", "price", "101.5", kHour + 2));
  host.deliver(outcome("3", "100", kHour + 3));
  host.deliver(CloudEvent{.topic = "ephor.deployment",
                          .data_json = R"({"model_id":"lstm","model_version":"2.0"})",
                          .time_ns = kHour + 4}
                   .line());
  host.tick(2 * kHour);

  const Json lstm = get(host, "/api/ml/models/lstm");
  CHECK(lstm["predictions"] == 2);
  CHECK(lstm["correct"] == 1);
  CHECK(lstm["accuracy"] == 0.5);
  CHECK(lstm["brier_score"].get<double>() == Approx(0.25 + 0.0625 + 0.0625));
  CHECK(lstm["log_loss"].get<double>() == Approx(std::log(2.0)));
  CHECK(lstm["probability_count"] == 1);
  CHECK(lstm["deployed_version"] == "2.0");
  CHECK(lstm["last_outcome"] == "1970-01-01T01:00:00.000000001Z");
  CHECK(lstm["log_time"] == "1970-01-01T02:00:00Z");
  CHECK(lstm["confusion"]["classes"]["buy"]["precision"] == 0.5);
  CHECK(lstm["confusion"]["classes"]["sell"]["precision"].is_null());
  const Json price = get(host, "/api/ml/models/price");
  CHECK(price["accuracy"].is_null());
  CHECK(price["mean_absolute_error"] == 1.5);
  CHECK(price["root_mean_squared_error"] == 1.5);
  CHECK(get(host, "/api/ml/models?limit=1&offset=1")["models"][0]["model_id"] == "price");
  CHECK(host.metric("ephor_ml_predictions_total", R"({"model":"lstm"})") == 2.0);
  CHECK(host.metric("ephor_ml_accuracy", R"({"model":"lstm"})") == 0.5);
  CHECK_FALSE(host.metric("ephor_ml_accuracy", R"({"model":"price"})") > 0.0);

  host.save();
  const auto rows = host.rows("model_behavior_tracking");
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].at("id").bytes == "lstm:1970-01-01T00:00:00Z");
  const Json first = Json::parse(rows[0].at("performance_metrics").bytes);
  CHECK(first["hour"]["predictions"] == 2);
  CHECK(first["hour"]["correct"] == 1);
  CHECK(first["cumulative"]["outcomes_joined"] == 1);
  const Json second = Json::parse(rows[1].at("performance_metrics").bytes);
  CHECK(second["hour"]["predictions"] == 0);
  CHECK(second["hour"]["scored"] == 1);
  CHECK(second["hour"]["accuracy"] == 0.0);
  CHECK(second["cumulative"]["accuracy"] == 0.5);
  CHECK(rows[0].at("drift_scores").is_null());
  CHECK(rows[0].at("feature_importance").is_null());

  try {
    host.request("GET", "/api/ml/models/nobody");
    FAIL("expected EPHOR_NOT_FOUND");
  } catch (const ephor::Error& error) {
    CHECK(error.code() == EPHOR_NOT_FOUND);
  }
  CHECK_THROWS_AS(host.request("GET", "/api/ml/models?limit=many"), ephor::Error);
}

TEST_CASE("ml_monitor: results do not depend on slices, saves or crashes", "[unit][ml]") {
  const std::string lines = recording();
  std::string expected;
  for (const std::size_t slice : {std::size_t{256}, std::size_t{1}, std::size_t{7}}) {
    FakeHost host;
    host.set_slice_size(slice);
    load(host);
    host.deliver(lines);
    const std::string found = everything(host);
    if (expected.empty()) expected = found;
    CHECK(found == expected);
  }
  for (const std::uint64_t seed : {1, 2, 3}) {
    std::mt19937_64 random(seed);
    FakeHost host;
    host.set_slice_size(16);
    load(host);
    for (std::size_t at = 0; at < lines.size();) {
      const std::size_t end = lines.find('\n', std::min(lines.size() - 1, at + random() % 20'000));
      host.deliver(std::string_view(lines).substr(at, end - at));
      at = end + 1;
      if (random() % 2 == 0) host.save();
      if (random() % 3 == 0) host.crash();
    }
    CHECK(everything(host) == expected);
    CHECK(host.restart());
    CHECK(everything(host) == expected);
  }
}

TEST_CASE("ml_monitor: an unreadable state is refused, and the log rebuilds it", "[unit][ml]") {
  FakeHost host;
  load(host);
  host.deliver(recording());
  const std::string expected = everything(host);
  host.set_saved_state(2, "no state of ours");
  CHECK_FALSE(host.crash());
  CHECK(everything(host) == expected);
  host.save();
  host.set_saved_state(1, host.saved_state());
  CHECK_FALSE(host.crash());
}

TEST_CASE("ml_monitor: malformed data is counted and harms nothing else", "[unit][ml]") {
  FakeHost host;
  load(host);
  host.deliver(
      prediction("1", "m", "{}", 1) + prediction("2", "", R"("buy")", 2) +
      prediction("3", "m", R"("buy")", 3) + outcome("3", "[]", 4) +
      CloudEvent{.topic = "ephor.outcome", .data_json = "7", .time_ns = 5}.line() + "\n" +
      CloudEvent{.topic = "ephor.feature_importance", .data_json = "{}", .time_ns = 6}.line() +
      "\n" + outcome("3", R"("buy")", 7, "again"));
  const Json answer = get(host, "/api/ml/models");
  CHECK(answer["joining"]["malformed"] == 5);
  CHECK(answer["joining"]["joined"] == 1);
}

TEST_CASE("ml_monitor: each configuration key changes what it says", "[unit][ml]") {
  const std::string lines =
      prediction("1", "a", R"("buy")", 0) + prediction("2", "b", R"("up")", 1) +
      prediction("3", "b", "0.2", 2) + outcome("2", R"("buy")", 3) + outcome("3", R"("buy")", 4) +
      outcome("1", "1", 10 * kSecond) + outcome("1", "1", 11 * kSecond, "1b") +
      CloudEvent{.topic = "ephor.feature_importance",
                 .data_json = R"({"model_id":"a","importance":{"rsi":1}})",
                 .time_ns = 5}
          .line();
  const auto after = [&](std::string_view config) {
    FakeHost host;
    load(host, config);
    host.deliver(lines);
    Json out = get(host, "/api/ml/models");
    for (const char* model : {"a", "b"}) {
      try {
        out[model] = get(host, std::string("/api/ml/models/") + model);
      } catch (const ephor::Error&) {
        out[model] = nullptr;
      }
    }
    return out;
  };
  const Json plain = after("{}");
  CHECK(plain["joining"]["joined"] == 3);
  CHECK(plain["joining"]["outcomes_repeated"] == 1);
  CHECK(plain["a"]["accuracy"] == 1.0);
  CHECK(plain["b"]["accuracy"] == 0.5);
  CHECK(plain["a"]["feature_importance"]["rsi"] == 1);

  CHECK(after(R"({"enable":false})")["models_total"] == 0);
  // The second and third prediction and the outcome of the second each push one out.
  CHECK(after(R"({"max_pending":1})")["joining"]["predictions_evicted"] == 3);
  CHECK(after(R"({"max_remembered":0})")["joining"]["outcomes_waiting"] == 1);
  CHECK(after(R"({"max_wait_s":5})")["joining"]["predictions_expired"] == 1);
  CHECK(after(R"({"window":1})")["b"]["window"]["accuracy"] == 1.0);
  CHECK(after(R"({"aliases":{"UP":"long"}})")["b"]["accuracy"] == 1.0);
  CHECK(after(R"({"numeric_outcome_labels":{"1":"sell"}})")["a"]["accuracy"] == 0.0);
  CHECK(after(R"({"score_dead_band":0.2})")["b"]["accuracy"] == 0.0);
  CHECK(after(R"({"feature_importance_tracking":false})")["a"]["feature_importance"].is_null());
  const Json few = after(R"({"max_models":1})");
  CHECK(few["models_total"] == 1);
  CHECK(few["beyond_max_models"]["predictions"] == 2);
  CHECK_THROWS_AS(after(R"({"numeric_outcome_labels":{"one":"buy"}})"), ephor::Error);
}

TEST_CASE("ml_monitor: late events count, but stay out of the window", "[unit][ml]") {
  FakeHost host;
  load(host);
  host.deliver(prediction("1", "m", R"("buy")", 1) + prediction("2", "m", R"("buy")", 2));
  host.deliver(outcome("1", R"("buy")", 3));
  host.deliver(outcome("2", R"("sell")", 2), EPHOR_EVENT_LATE);
  const Json model = get(host, "/api/ml/models/m");
  CHECK(model["accuracy"] == 0.5);
  CHECK(model["window"]["outcomes"] == 1);
  CHECK(model["window"]["accuracy"] == 1.0);
  CHECK(get(host, "/api/ml/models")["joining"]["late"] == 1);
}
