// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <ephor/plugin.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "simulator_support.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

using namespace ephor::simulator;
using namespace ephor::simulator::testing;
using nlohmann::json;

namespace {

const Recorded& day() {
  static const Recorded stream = stream_of({"--hours", "24", "--seed", "1"});
  return stream;
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("simulate: one seed gives the same bytes, another gives others", "[unit][simulator]") {
  REQUIRE(stream_of({"--hours", "24", "--seed", "1"}).text == day().text);
  REQUIRE(stream_of({"--hours", "24", "--seed", "2"}).text != day().text);
}

TEST_CASE("simulate: files are the same bytes, compressed or not", "[unit][simulator]") {
  const ephor::testing::TemporaryDirectory folder;
  const auto write = [&](const char* name) {
    const auto path = folder.path() / name;
    simulate_to_files(parse_simulate({"--hours", "2", "--seed", "4", "--out", path.string(),
                                      "--truth=" + (folder.path() / "truth.json").string()}));
    return bytes_of(path);
  };
  REQUIRE(write("a.ndjson.gz") == write("b.ndjson.gz"));
  REQUIRE(write("c.ndjson") == stream_of({"--hours", "2", "--seed", "4"}).text);
  REQUIRE(write("a.ndjson.gz").substr(0, 2) == "\x1f\x8b");
  const json truth = json::parse(bytes_of(folder.path() / "truth.json"));
  REQUIRE(truth["lines"] == lines_of(bytes_of(folder.path() / "c.ndjson")).size());
  REQUIRE_THROWS_AS(
      simulate_to_files(parse_simulate({"--out", (folder.path() / "no" / "where").string()})),
      ephor::Error);
}

TEST_CASE("simulate: every line has the envelope and the required data", "[unit][simulator]") {
  const std::map<std::string, std::vector<std::string>> required{
      {"ephor.market", {"symbol", "open", "high", "low", "close"}},
      {"ephor.span",
       {"trace_id", "span_id", "component", "operation", "start_time_unix_nano",
        "end_time_unix_nano"}},
      {"ephor.features", {"features"}},
      {"ephor.prediction", {"prediction_id", "model_id", "prediction"}},
      {"ephor.outcome", {"prediction_id", "actual", "realized_return", "horizon_s"}},
      {"ephor.ensemble_decision", {"decision_id", "ensemble_id", "final_decision"}},
      {"ephor.regime", {"regime_type"}},
      {"ephor.decision_path", {"decision_id"}},
      {"ephor.trade", {"trade_id", "symbol", "side", "quantity", "price", "status"}},
      {"ephor.metric", {"name", "value"}},
      {"ephor.feature_importance", {"model_id", "importance"}},
      {"ephor.deployment", {"model_id", "model_version"}}};
  const Recorded stream =
      stream_of({"--hours", "4", "--seed", "1", "--fault", "broken_model:xgb_flow:1:2"});
  std::set<std::pair<std::string, std::string>> ids;
  std::set<std::string> types;
  std::string last_time;
  for (const json& event : stream.events) {
    REQUIRE(event["specversion"] == "1.0");
    REQUIRE(ids.emplace(event["source"], event["id"]).second);
    const std::string type = event["type"];
    types.insert(type);
    for (const std::string& name : required.at(type)) REQUIRE(event["data"].contains(name));
    REQUIRE(event["time"].get<std::string>().size() == 30);
    REQUIRE(event["time"] >= last_time);  // one minute apart, cycles do not overlap
    last_time = event["time"];
    if (type == "ephor.prediction") {
      double total = 0.0;
      for (const auto& [label, value] : event["data"]["probability"].items()) {
        total += value.get<double>();
      }
      REQUIRE(total == Approx(1.0).margin(1e-9));
    }
  }
  REQUIRE(types.size() == required.size());
}

TEST_CASE("simulate: the truth counts what is in the file", "[unit][simulator]") {
  const json truth = json::parse(truth_json(day().options, day().truth));
  std::map<std::string, std::uint64_t> by_type;
  std::uint64_t error_spans = 0;
  std::uint64_t closed = 0;
  std::uint64_t won = 0;
  for (const json& event : day().events) {
    ++by_type[event["type"]];
    const json& data = event["data"];
    if (event["type"] == "ephor.span" && data["status"] == "error") ++error_spans;
    if (event["type"] != "ephor.trade" || data["status"] != "closed") continue;
    ++closed;
    if (data["pnl"] > 0.0) ++won;
  }
  REQUIRE(truth["events_by_type"] == json(by_type));
  REQUIRE(truth["lines"] == day().events.size());
  REQUIRE(truth["error_spans"] == error_spans);
  REQUIRE(truth["trades_closed"] == closed);
  REQUIRE(truth["trades_won"] == won);
  REQUIRE(truth["last"] == day().events.back()["time"]);
  REQUIRE(closed > 50);
  for (const auto& [model, joined] : joined_by_model(day().events)) {
    REQUIRE(truth["models"][model]["outcomes"] == joined.size());
    REQUIRE(truth["models"][model]["correct"].get<double>() ==
            Approx(accuracy_of(joined) * static_cast<double>(joined.size())));
  }
}

TEST_CASE("simulate: profit follows from prices, quantities and fees", "[unit][simulator]") {
  double equity = 10000.0;
  std::map<std::string, json> open;
  for (const json& event : day().events) {
    if (event["type"] != "ephor.trade") continue;
    const json& data = event["data"];
    const std::string id = data["trade_id"];
    if (data["status"] == "open") {
      REQUIRE(open.emplace(id, event).second);
      continue;
    }
    REQUIRE(open.at(id)["data"]["price"] == data["price"]);
    REQUIRE(open.at(id)["correlationid"] == event["correlationid"]);
    REQUIRE(open.at(id)["time"] == data["open_time"]);
    const double sign = data["side"] == "buy" ? 1.0 : -1.0;
    const double price = data["price"];
    const double close_price = data["close_price"];
    const double quantity = data["quantity"];
    const double fees = data["fees"];
    REQUIRE(fees == Approx(0.0002 * quantity * (price + close_price)).margin(1e-6));
    REQUIRE(data["pnl"].get<double>() ==
            Approx(sign * (close_price - price) * quantity - fees).margin(1e-6));
    equity += data["pnl"].get<double>();
    open.erase(id);
  }
  REQUIRE(open.size() <= 1);
  REQUIRE(day().truth.final_equity == Approx(equity).margin(1e-6));
}

TEST_CASE("simulate: an outcome is what the market did over the horizon", "[unit][simulator]") {
  std::vector<double> closes;
  std::map<std::string, std::size_t> step_of;
  std::size_t checked = 0;
  for (const json& event : day().events) {
    const json& data = event["data"];
    if (event["type"] == "ephor.market") closes.push_back(data["close"]);
    if (event["type"] == "ephor.prediction") step_of[data["prediction_id"]] = closes.size() - 1;
    if (event["type"] != "ephor.outcome") continue;
    const std::size_t step = step_of.at(data["prediction_id"]);
    REQUIRE(closes.size() - 1 == step + 5);
    const double realized = closes.back() / closes[step] - 1.0;
    REQUIRE(data["realized_return"].get<double>() == Approx(realized).margin(1e-8));
    REQUIRE(data["horizon_s"] == 300);
    const std::string actual = realized > 0.0007 ? "buy" : realized < -0.0007 ? "sell" : "hold";
    REQUIRE(data["actual"] == actual);
    ++checked;
  }
  REQUIRE(checked > 7000);
}

TEST_CASE("simulate: spans form one tree per cycle and carry the error upwards",
          "[unit][simulator]") {
  std::map<std::string, std::vector<json>> traces;
  for (const json& event : day().events) {
    if (event["type"] == "ephor.span") traces[event["data"]["trace_id"]].push_back(event["data"]);
  }
  REQUIRE(traces.size() == 1440);
  for (const auto& [id, spans] : traces) {
    std::map<std::string, json> by_id;
    bool has_error = false;
    for (const json& span : spans) {
      REQUIRE(by_id.emplace(span["span_id"], span).second);
      has_error = has_error || span["status"] == "error";
    }
    std::size_t roots = 0;
    for (const json& span : spans) {
      if (span["parent_span_id"].is_null()) {
        ++roots;
        REQUIRE(span["operation"] == "trading_cycle");
        REQUIRE((span["status"] == "error") == has_error);
        continue;
      }
      const json& parent = by_id.at(span["parent_span_id"]);
      REQUIRE(parent["start_time_unix_nano"] <= span["start_time_unix_nano"]);
      REQUIRE(parent["end_time_unix_nano"] >= span["end_time_unix_nano"]);
      if (span["status"] == "error") REQUIRE(parent["status"] == "error");
    }
    REQUIRE(roots == 1);
    if (!has_error) REQUIRE(spans.size() == 12);
  }
}

TEST_CASE("simulate: better models are right more often", "[unit][simulator]") {
  const Recorded week = stream_of({"--hours", "336", "--seed", "3"});
  auto joined = joined_by_model(week.events);
  double last = 1.0;
  for (const ModelLaw& model : kModels) {
    const double accuracy = accuracy_of(joined.at(std::string(model.id)));
    CAPTURE(model.id, accuracy);
    REQUIRE(accuracy < last);
    REQUIRE(accuracy > 0.35);
    last = accuracy;
  }
}

TEST_CASE("simulate: bad arguments are named", "[unit][simulator]") {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{"--hours", "24"}, "--out is missing"},
      {{"--out", "x", "--hours", "many"}, "--hours: found 'many'"},
      {{"--out", "x", "--hours", "0"}, "expected a number from 0.001 to 8784"},
      {{"--out", "x", "--seed", "-1"}, "--seed: found '-1'"},
      {{"--out", "x", "--start", "yesterday"}, "--start: found 'yesterday'"},
      {{"--out", "x", "--wings", "2"}, "unknown option '--wings'"},
      {{"--out"}, "--out: found no value"},
      {{"--out", "x", "--fault", "fire"}, "expected KIND:TARGET:FROM_H:TO_H"},
      {{"--out", "x", "--fault", "fire::0:1"}, "expected one of feature_drift"},
      {{"--out", "x", "--fault", "broken_model:nobody:0:1"}, "expected for broken_model one of"},
      {{"--out", "x", "--fault", "broken_model:xgb_flow:2:1"}, "TO_H: found '1'"},
      {{"--out", "x", "--fault", "error_burst::0:1:1.5"}, "rate: found 1.5"}};
  for (const auto& [arguments, expected] : cases) {
    CAPTURE(expected);
    try {
      parse_simulate(arguments);
      FAIL("no error");
    } catch (const ephor::Error& error) {
      REQUIRE(error.code() == EPHOR_INVALID);
      REQUIRE(std::string(error.what()).find(expected) != std::string::npos);
    }
  }
}
