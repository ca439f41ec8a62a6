// SPDX-License-Identifier: Apache-2.0
//
// Decisions, predictions and outcomes come together by any id, in any order.
#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "ensemble_tracker_support.hpp"
#include "support/catch.hpp"

using namespace ephor::testing;

namespace {

Json decision_data(const std::string& id, const Json& members, const Json& weights) {
  return {{"decision_id", id},
          {"ensemble_id", "e"},
          {"symbol", "BTC"},
          {"final_decision", "buy"},
          {"primary_prediction", "buy"},
          {"meta_learner_prediction", "SELL"},
          {"individual_predictions", members},
          {"ensemble_weights", weights},
          {"regime", "bull"}};
}

Json probability(double buy) { return {{"buy", buy}, {"sell", 1.0 - buy}}; }

// One cycle as a client with correlation ids sends it: no decision id but in the decision.
std::vector<std::string> correlated_cycle(int number) {
  const std::string cycle = std::to_string(number);
  const std::int64_t at = 1'000 + number * 60;
  std::vector<std::string> lines;
  for (const auto& [model, buy] : {std::pair<std::string, double>{"a", 0.8}, {"b", 0.3}}) {
    lines.push_back(event_line("ephor.prediction",
                               {{"prediction_id", model + ":" + cycle},
                                {"model_id", model},
                                {"ensemble_id", "e"},
                                {"symbol", "BTC"},
                                {"prediction", buy > 0.5 ? "buy" : "sell"},
                                {"probability", probability(buy)}},
                               at, "c" + cycle));
    lines.push_back(event_line("ephor.outcome",
                               {{"prediction_id", model + ":" + cycle},
                                {"model_id", model},
                                {"actual", number % 3 == 0 ? "sell" : "buy"}},
                               at + 300, "c" + cycle));
  }
  lines.push_back(event_line(
      "ephor.ensemble_decision",
      decision_data("d" + cycle, {{"a", {{"prediction", "buy"}}}, {"b", {{"prediction", "sell"}}}},
                    {{"a", 0.6}, {"b", 0.4}}),
      at + 1, "c" + cycle));
  return lines;
}

std::string answers(EnsembleHost& tracker) {
  Json summary = tracker.summary();
  std::string out = summary.dump() + tracker.host.request("GET", "/api/ml/ensembles") +
                    tracker.host.request("GET", "/api/ensembles/e") +
                    tracker.host.request("GET", "/api/regimes");
  for (const int number : {0, 1, 17, 39}) {
    Json one = tracker.get("/api/decisions/d" + std::to_string(number));
    // The members' order is that of arrival.
    std::sort(one["members"].begin(), one["members"].end());
    out += one.dump();
  }
  return out;
}

}  // namespace

TEST_CASE("joins: by correlation id, whatever the order", "[unit][ensemble]") {
  std::vector<std::string> lines;
  for (int number = 0; number < 40; ++number) {
    for (std::string& line : correlated_cycle(number)) lines.push_back(std::move(line));
  }
  std::string expected;
  std::mt19937_64 random(3);
  for (int round = 0; round < 6; ++round) {
    EnsembleHost tracker;
    if (round == 4) tracker.host.set_slice_size(1);
    for (const std::string& line : lines) {
      tracker.host.deliver(line);
      if (round == 5 && random() % 20 == 0) {
        tracker.host.save();
        tracker.host.crash();
      }
    }
    tracker.host.flush(10'000 * kSecond);
    const Json summary = tracker.summary();
    CHECK(summary["ensemble_decisions_answered"] == 40);
    CHECK(summary["ensemble_outcomes"] == 80);
    CHECK(summary["ensemble_decisions_open"] == 0);
    // a says buy: right in 26 of 40; b the other 14.
    const Json members = tracker.get("/api/ml/ensembles")["ensembles"][0]["members"];
    for (const Json& member : members) {
      CHECK(member["n"] == 40);
      CHECK(member["correct"] == (member["model_id"] == "a" ? 26 : 14));
    }
    // The order of members, and so of slots, may differ; figures may not. Rounds keep one order of
    // first sight by leaving the first cycle in place.
    if (round == 0) expected = answers(tracker);
    CAPTURE(round);
    CHECK((answers(tracker) == expected));
    std::shuffle(lines.begin() + 5, lines.end(), random);
  }
}

TEST_CASE("joins: by decision id and by prediction id alone", "[unit][ensemble]") {
  EnsembleHost tracker;
  // Outcome first, then path, prediction, decision; one outcome knows its prediction's id only.
  tracker.host.deliver(event_line("ephor.outcome", {{"prediction_id", "p1"}, {"actual", 1}}, 400));
  tracker.host.deliver(event_line("ephor.decision_path",
                                  {{"decision_id", "d"},
                                   {"decision_steps", {"blend"}},
                                   {"decision_weights", {0.5}},
                                   {"decision_thresholds", {{"blend", 0.4}}}},
                                  101));
  tracker.host.deliver(event_line(
      "ephor.prediction",
      {{"prediction_id", "p1"}, {"decision_id", "d"}, {"model_id", "a"}, {"prediction", 0.7}},
      100));
  tracker.host.deliver(event_line(
      "ephor.ensemble_decision", decision_data("d", {{"a", 0.7}, {"b", -0.2}}, {{"a", 1.0}}), 102));
  tracker.host.deliver(event_line(
      "ephor.outcome", {{"decision_id", "d"}, {"model_id", "b"}, {"actual", "SHORT"}}, 401));
  tracker.host.flush(1'000 * kSecond);
  const Json decision = tracker.get("/api/decisions/d");
  CHECK(decision["state"] == "answered");
  CHECK(decision["members"][0]["correct"] == true);
  CHECK(decision["members"][1]["correct"] == true);
  CHECK(decision["outcome"].is_null());  // the members' outcomes differ
  CHECK(decision["path"]["gates"][0]["margin"].get<double>() == Approx(0.1));
  CHECK(tracker.summary()["ensemble_predictions_without_decision"] == 0);
}

TEST_CASE("joins: repeats, corrections and strangers are counted and change nothing",
          "[unit][ensemble]") {
  EnsembleHost tracker;
  const Json data = decision_data("d", {{"a", "buy"}, {"b", "sell"}}, {{"a", 0.5}, {"b", 0.5}});
  tracker.host.deliver(event_line("ephor.ensemble_decision", data, 100, "c"));
  tracker.host.deliver(event_line("ephor.ensemble_decision", data, 101, "c"));
  tracker.host.deliver(outcome_line("d", 1, 200));
  tracker.host.deliver(outcome_line("d", 1, 201));
  tracker.host.deliver(outcome_line("d", 0, 202));
  tracker.host.deliver(event_line("ephor.outcome", {{"prediction_id", "x"}, {"actual", 1}}, 203));
  tracker.host.deliver(
      event_line("ephor.outcome", {{"prediction_id", "y"}, {"actual", 0.37}}, 203));
  tracker.host.deliver(event_line("ephor.ensemble_decision", {{"ensemble_id", "e"}}, 204));
  tracker.host.flush(1'000 * kSecond);
  tracker.host.deliver(outcome_line("d", 0, 2'000));
  tracker.host.deliver(event_line("ephor.ensemble_decision", data, 2'001, "c"));
  tracker.host.flush(3'000 * kSecond);
  const Json summary = tracker.summary();
  CHECK(summary["ensemble_decisions"] == 1);
  CHECK(summary["ensemble_decisions_repeated"] == 2);
  CHECK(summary["ensemble_outcomes"] == 2);  // d's, and that of x, which waits
  CHECK(summary["ensemble_outcomes_repeated"] == 2);
  CHECK(summary["ensemble_outcomes_corrected"] == 1);
  CHECK(summary["ensemble_outcomes_not_classes"] == 1);
  CHECK(summary["ensemble_unreadable"] == 1);
  CHECK(summary["ensemble_accuracy"] == 1.0);
}

TEST_CASE("joins: two decisions of one correlation id are kept apart", "[unit][ensemble]") {
  EnsembleHost tracker;
  for (const std::string symbol : {"BTC", "ETH"}) {
    tracker.host.deliver(event_line("ephor.prediction",
                                    {{"prediction_id", "a" + symbol},
                                     {"model_id", "a"},
                                     {"symbol", symbol},
                                     {"prediction", "buy"}},
                                    100, "c"));
  }
  for (const std::string symbol : {"ETH", "BTC"}) {
    Json data = decision_data("d" + symbol, {{"a", "buy"}}, {{"a", 1.0}});
    data["symbol"] = symbol;
    tracker.host.deliver(event_line("ephor.ensemble_decision", data, 101, "c"));
  }
  for (const std::string symbol : {"BTC", "ETH"}) {
    tracker.host.deliver(event_line(
        "ephor.outcome",
        {{"prediction_id", "a" + symbol}, {"actual", symbol == "BTC" ? "buy" : "sell"}}, 200, "c"));
  }
  tracker.host.flush(1'000 * kSecond);
  CHECK(tracker.get("/api/decisions/dBTC")["correct"] == true);
  CHECK(tracker.get("/api/decisions/dETH")["correct"] == false);
}

TEST_CASE("joins: an outcome that never comes, and one that comes after all", "[unit][ensemble]") {
  EnsembleHost tracker(R"({"outcome_wait_s": 100})");
  const Json data = decision_data("d", {{"a", "buy"}}, {{"a", 1.0}});
  tracker.host.deliver(event_line("ephor.ensemble_decision", data, 100));
  Json other = decision_data("half", {{"a", "buy"}, {"b", "buy"}}, {{"a", 1.0}});
  tracker.host.deliver(event_line("ephor.ensemble_decision", other, 100));
  tracker.host.deliver(event_line(
      "ephor.outcome", {{"decision_id", "half"}, {"model_id", "a"}, {"actual", "buy"}}, 110));
  tracker.host.tick(150 * kSecond);
  CHECK(tracker.summary()["ensemble_decisions_open"] == 2);
  tracker.host.tick(201 * kSecond);
  Json summary = tracker.summary();
  CHECK(summary["ensemble_decisions_open"] == 0);
  CHECK(summary["ensemble_decisions_unanswered"] == 1);
  CHECK(summary["ensemble_decisions_answered"] == 1);  // half: with what is known
  CHECK(tracker.get("/api/decisions/d")["state"] == "unanswered");
  tracker.host.deliver(outcome_line("d", "sell", 5'000));
  summary = tracker.summary();
  CHECK(summary["ensemble_late_answers"] == 1);
  CHECK(summary["ensemble_decisions_answered"] == 2);
  CHECK(tracker.get("/api/decisions/d")["correct"] == false);
  const Json ensemble = tracker.get("/api/ensembles/e");
  CHECK(ensemble["accuracy"]["final_decision"]["n"] == 2);
  CHECK(ensemble["answered_out_of_order"] == 1);
  CHECK(ensemble["window"]["decisions"] == 1);  // order matters there
}
