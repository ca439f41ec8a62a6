// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "ensemble_tracker_support.hpp"
#include "support/catch.hpp"

using namespace ephor::testing;

namespace {

std::string decision_line(int number, const std::string& ensemble = "e") {
  const bool is_buy = number % 4 != 0;
  return event_line(
      "ephor.ensemble_decision",
      {{"decision_id", "d" + std::to_string(number)},
       {"ensemble_id", ensemble},
       {"symbol", "BTC"},
       {"regime", number % 2 == 0 ? "BULL" : "bear"},
       {"primary_prediction", "buy"},
       {"final_decision", is_buy ? "buy" : "hold"},
       {"meta_learner_prediction", number % 5 == 0 ? "sell" : "buy"},
       {"consensus_level", 0.75},
       {"individual_predictions",
        {{"a", {{"prediction", "buy"}, {"probability", {{"buy", 0.6}, {"sell", 0.4}}}}},
         {"b", {{"prediction", "sell"}, {"probability", {{"buy", 0.3}, {"sell", 0.7}}}}}}},
       {"ensemble_weights", {{"a", 0.75}, {"b", 0.25}}}},
      1'000 + number * 60, "c" + std::to_string(number));
}
std::string path_line(int number) {
  return event_line("ephor.decision_path",
                    {{"decision_id", "d" + std::to_string(number)},
                     {"decision_steps", {"consensus", "risk"}},
                     {"decision_reasons", {"votes", "none"}},
                     {"decision_weights", {number % 4 == 0 ? 0.5 : 0.75, 1.0}},
                     {"decision_thresholds", {{"consensus", 0.6}}}},
                    1'001 + number * 60);
}
std::string regime_line(int number) {
  return event_line("ephor.regime",
                    {{"symbol", "BTC"},
                     {"regime_type", number % 10 < 5 ? "BULL" : "bear"},
                     {"regime_confidence", 0.9}},
                    1'000 + number * 60);
}

void deliver_all(EnsembleHost& tracker, int count, bool with_outcomes = true) {
  for (int number = 0; number < count; ++number) {
    tracker.host.deliver(decision_line(number));
    tracker.host.deliver(path_line(number));
    tracker.host.deliver(regime_line(number));
    if (with_outcomes) {
      tracker.host.deliver(
          outcome_line("d" + std::to_string(number), number % 3 == 0 ? 0 : 1, 1'030 + number * 60));
    }
    tracker.host.tick((1'000 + number * 60 - 600) * kSecond);
  }
  tracker.host.flush(1'000'000 * kSecond);
}

std::string all_answers(EnsembleHost& tracker) {
  return tracker.host.ask("ensemble_tracker.summary") +
         tracker.host.request("GET", "/api/ml/ensembles") +
         tracker.host.request("GET", "/api/ensembles/e") +
         tracker.host.request("GET", "/api/regimes?limit=1000") +
         tracker.host.request("GET", "/api/decisions?limit=1000") +
         tracker.host.request("GET", "/api/decisions/d7");
}

}  // namespace

TEST_CASE("ensemble figures: by hand", "[unit][ensemble]") {
  EnsembleHost tracker;
  deliver_all(tracker, 60);
  const Json ensemble = tracker.get("/api/ml/ensembles")["ensembles"][0];
  CHECK(ensemble["decisions"] == 60);
  CHECK(ensemble["by_final_decision"] == Json{{"buy", 45}, {"hold", 15}});
  // Outcome buy in 40 of 60. hold in every fourth: 0, 4, .. of which a third ends in sell.
  CHECK(ensemble["accuracy"]["final_decision"]["correct"] == 30);
  CHECK(ensemble["accuracy"]["final_decision"]["acted"]["n"] == 45);
  CHECK(ensemble["accuracy"]["primary_prediction"]["correct"] == 40);
  // meta: sell in 12, right in 4 of them (multiples of 15); buy in 48, right in 48 - 16.
  CHECK(ensemble["accuracy"]["meta_learner"]["correct"] == 4 + 32);
  // 0.75 * 0.6 + 0.25 * 0.3 = 0.525 for buy.
  CHECK(ensemble["accuracy"]["weighted_vote"]["correct"] == 40);
  CHECK(ensemble["meta_learner_against_vote"]["overrides"] == 12);
  CHECK(ensemble["meta_learner_against_vote"]["hit_rate_when_overriding"].get<double>() ==
        Approx(4.0 / 12));
  CHECK(ensemble["meta_learner_against_vote"]["vote_hit_rate_then"].get<double>() ==
        Approx(8.0 / 12));
  CHECK(ensemble["members"][1]["model_id"] == "b");
  CHECK(ensemble["members"][1]["correct"] == 20);
  CHECK(ensemble["members"][0]["brier"].get<double>() == Approx((40 * 0.16 + 20 * 0.36) / 60));
  // Without a the vote is sell: 20 right instead of 40; without b nothing changes.
  CHECK(ensemble["members"][0]["contribution"]["gain"].get<double>() == Approx(20.0 / 60));
  CHECK(ensemble["members"][1]["contribution"]["flips"] == 0);
  CHECK(ensemble["by_regime"]["BULL"]["decisions"] == 30);
  CHECK(ensemble["by_regime"]["bear"]["accuracy"]["weighted_vote"]["correct"] == 20);
  CHECK(ensemble["agreement"]["majority_share"] == 0.5);
  CHECK(ensemble["agreement"]["pairwise_agreement"] == 0.0);
  CHECK(ensemble["agreement"]["ties"] == 60);
  CHECK(ensemble["agreement"]["consensus_level_told"] == 0.75);
  CHECK(ensemble["weights"]["sent"]["a"] == 0.75);
  CHECK(ensemble["paths"]["refused"] == 15);
  CHECK(ensemble["paths"]["steps"]["consensus"]["stopped"] == 15);
  CHECK(ensemble["paths"]["steps"]["risk"]["gated"] == 0);
  const Json regret = ensemble["regret"]["learned"];
  CHECK(regret["rounds"] == 60);
  CHECK(regret["regret"].get<double>() <= regret["bound"].get<double>());
  const Json pair = tracker.get("/api/ensembles/e")["pairs"][0];
  CHECK(pair["first_right"] == 40);
  CHECK(pair["second_right"] == 20);
  CHECK(pair["double_fault"] == 0.0);
  CHECK(pair["q_statistic"] == -1.0);
}

TEST_CASE("one decision: contributions sum to the score, and without a model the vote flips",
          "[unit][ensemble]") {
  EnsembleHost tracker;
  deliver_all(tracker, 8);
  const Json decision = tracker.get("/api/decisions/d4");
  CHECK(decision["votes"]["weighted"]["label"] == "buy");
  const double score = decision["votes"]["weighted"]["score"];
  CHECK(score == Approx(0.525));
  double sum = 0;
  for (const Json& member : decision["members"]) sum += member["contribution"].get<double>();
  CHECK(sum == Approx(score).epsilon(1e-12));
  CHECK(decision["members"][0]["flips_vote"] == true);
  CHECK(decision["members"][0]["vote_without"]["label"] == "sell");
  CHECK(decision["votes"]["decisive_models"] == Json{"a"});
  CHECK(decision["stopped_by"] == "consensus");
  CHECK(decision["path"]["first_failed"]["margin"].get<double>() == Approx(-0.1));
  CHECK(decision["path"]["raw"]["decision_reasons"][0] == "votes");
  CHECK(decision["outcome"] == "buy");
  CHECK(decision["correlation_id"] == "c4");
  CHECK_THROWS_AS(tracker.get("/api/decisions/none"), ephor::Error);
}

TEST_CASE("answers do not depend on slices, nor on a crash", "[unit][ensemble]") {
  EnsembleHost straight;
  deliver_all(straight, 50);
  const std::string expected = all_answers(straight);
  EnsembleHost single;
  single.host.set_slice_size(1);
  deliver_all(single, 50);
  CHECK(all_answers(single) == expected);
  EnsembleHost crashing;
  for (int number = 0; number < 50; ++number) {
    crashing.host.deliver(decision_line(number) + path_line(number) + regime_line(number));
    if (number % 7 == 3) crashing.host.save();
    crashing.host.deliver(
        outcome_line("d" + std::to_string(number), number % 3 == 0 ? 0 : 1, 1'030 + number * 60));
    crashing.host.tick((1'000 + number * 60 - 600) * kSecond);
    if (number % 5 == 4) crashing.host.crash();
  }
  crashing.host.flush(1'000'000 * kSecond);
  Json left = Json::parse(crashing.host.ask("ensemble_tracker.summary"));
  Json right = Json::parse(straight.host.ask("ensemble_tracker.summary"));
  // What is in memory is not part of the figures.
  left.erase("ensemble_decisions_in_memory");
  right.erase("ensemble_decisions_in_memory");
  CHECK(left == right);
  CHECK(crashing.host.request("GET", "/api/decisions?limit=1000") ==
        straight.host.request("GET", "/api/decisions?limit=1000"));
  CHECK(crashing.host.request("GET", "/api/decisions/d7") ==
        straight.host.request("GET", "/api/decisions/d7"));
  CHECK(crashing.get("/api/ensembles/e") == straight.get("/api/ensembles/e"));
  straight.host.save();
  crashing.host.save();
  CHECK(crashing.host.rows("regime_transitions").size() ==
        straight.host.rows("regime_transitions").size());
  const auto rows = crashing.host.rows("ensemble_weights");
  REQUIRE(rows.size() == straight.host.rows("ensemble_weights").size());
  CHECK(rows.back().at("figures").bytes ==
        straight.host.rows("ensemble_weights").back().at("figures").bytes);
}

TEST_CASE("decisions out of memory are read back from their rows", "[unit][ensemble]") {
  EnsembleHost all;
  EnsembleHost few(R"({"max_tracking_history": 5})");
  for (EnsembleHost* tracker : {&all, &few}) {
    for (int part = 0; part < 6; ++part) {
      for (int number = part * 10; number < part * 10 + 10; ++number) {
        tracker->host.deliver(decision_line(number) + path_line(number) +
                              outcome_line("d" + std::to_string(number), number % 3 == 0 ? 0 : 1,
                                           1'030 + number * 60));
        tracker->host.tick((1'050 + number * 60) * kSecond);
      }
      tracker->host.save();
      tracker->host.save();
    }
    tracker->host.flush(1'000'000 * kSecond);
  }
  CHECK(all.summary()["ensemble_decisions_in_memory"] == 60);
  CHECK(few.summary()["ensemble_decisions_in_memory"].get<int>() < 20);
  CHECK(few.host.request("GET", "/api/decisions?limit=1000") ==
        all.host.request("GET", "/api/decisions?limit=1000"));
  CHECK(few.host.request("GET", "/api/decisions?regime=BULL&decision=hold&limit=3&offset=2") ==
        all.host.request("GET", "/api/decisions?regime=BULL&decision=hold&limit=3&offset=2"));
  for (const std::string id : {"d0", "d13", "d59"}) {
    CHECK(few.host.request("GET", "/api/decisions/" + id) ==
          all.host.request("GET", "/api/decisions/" + id));
  }
  CHECK(few.select_count > 0);
}

TEST_CASE("ranges are whole hours and say so", "[unit][ensemble]") {
  EnsembleHost tracker;
  deliver_all(tracker, 200);  // 00:16:40 to 03:35:40
  const Json part =
      tracker.get("/api/ml/ensembles?from=1970-01-01T01:00:00Z&to=1970-01-01T01:30:00Z");
  CHECK(part["over"]["from"] == "1970-01-01T01:00:00Z");
  CHECK(part["over"]["to"] == "1970-01-01T02:00:00Z");
  CHECK(part["ensembles"][0]["decisions"] == 60);
  int sum = 0;
  const Json ensemble = tracker.get("/api/ensembles/e");
  for (const Json& hour : ensemble["hours"]) {
    sum += hour["decisions"].get<int>();
  }
  CHECK(sum == 200);
  CHECK_THROWS_AS(tracker.get("/api/ml/ensembles?from=noon"), ephor::Error);
}

TEST_CASE("each switch of the configuration changes behaviour", "[unit][ensemble]") {
  EnsembleHost no_ensembles(R"({"enable_ensemble_tracking": false})");
  deliver_all(no_ensembles, 20);
  CHECK(no_ensembles.summary()["ensemble_decisions"] == 0);
  CHECK(no_ensembles.get("/api/ml/ensembles")["reason"] == "enable_ensemble_tracking is false");
  CHECK(no_ensembles.summary()["regime_events"] == 20);

  EnsembleHost no_regimes(R"({"enable_regime_tracking": false})");
  deliver_all(no_regimes, 20);
  CHECK(no_regimes.get("/api/regimes")["reason"] == "enable_regime_tracking is false");
  CHECK(no_regimes.get("/api/ml/ensembles")["ensembles"][0]["by_regime"].is_null());
  CHECK(no_regimes.summary()["ensemble_decisions"] == 20);

  EnsembleHost no_paths(R"({"enable_decision_path_tracking": false})");
  deliver_all(no_paths, 20);
  CHECK(no_paths.summary()["decision_paths"] == 0);
  CHECK(no_paths.get("/api/ml/ensembles")["ensembles"][0]["paths"].is_null());

  EnsembleHost no_learning(R"({"enable_online_learning": false})");
  deliver_all(no_learning, 20);
  const Json ensemble = no_learning.get("/api/ml/ensembles")["ensembles"][0];
  CHECK(ensemble["weights"]["learned"].is_null());
  CHECK(ensemble["weights"]["learned_reason"] == "enable_online_learning is false");
  CHECK(ensemble["accuracy"]["learned_vote"].is_null());
  CHECK(ensemble["regret"]["learned"].is_null());
  CHECK(ensemble["regret"]["sent"]["rounds"] == 20);

  EnsembleHost aliases(R"({"regime_aliases": {"BULL": "bull_trend"}})");
  deliver_all(aliases, 20);
  CHECK(aliases.get("/api/regimes")["by_regime"].contains("bull_trend"));
  CHECK_FALSE(aliases.get("/api/regimes")["by_regime"].contains("BULL"));

  EnsembleHost tight(R"({"max_open_decisions": 5})");
  deliver_all(tight, 20, false);
  CHECK(tight.summary()["ensemble_closed_early"] == 15);
}

TEST_CASE("a second ensemble: each has its own figures, and there are those of all",
          "[unit][ensemble]") {
  EnsembleHost tracker;
  for (int number = 0; number < 40; ++number) {
    tracker.host.deliver(decision_line(number, number < 30 ? "one" : "two"));
    tracker.host.deliver(outcome_line("d" + std::to_string(number), 1, 1'030 + number * 60));
  }
  tracker.host.flush(1'000'000 * kSecond);
  const Json answer = tracker.get("/api/ml/ensembles");
  CHECK(answer["total"] == 2);
  CHECK(answer["ensembles"][0]["decisions"] == 30);
  CHECK(answer["ensembles"][1]["decisions"] == 10);
  CHECK(answer["overall"]["decisions"] == 40);
  CHECK(answer["overall"]["regret"]["learned"]["rounds"] == 40);
  CHECK(answer["overall"]["accuracy"]["primary_prediction"]["correct"] == 40);
  CHECK(tracker.get("/api/ml/ensembles?limit=1&offset=1")["ensembles"][0]["ensemble_id"] == "two");
}

TEST_CASE("weights that trust the wrong model are found, and their recovery", "[unit][ensemble]") {
  EnsembleHost tracker(R"({"degradation_window": 50})");
  EnsembleHost deaf(R"({"degradation_window": 50, "degradation_loss": 0.9})");
  for (int number = 0; number < 600; ++number) {
    const bool is_wrong = number >= 100 && number < 350;
    const std::string lines =
        event_line(
            "ephor.ensemble_decision",
            {{"decision_id", "d" + std::to_string(number)},
             {"ensemble_id", "e"},
             {"final_decision", "buy"},
             {"individual_predictions",
              {{"good", {{"prediction", "buy"}, {"probability", {{"buy", 0.7}, {"sell", 0.3}}}}},
               {"bad", {{"prediction", "sell"}, {"probability", {{"buy", 0.3}, {"sell", 0.7}}}}}}},
             {"ensemble_weights",
              {{"good", is_wrong ? 0.1 : 0.95}, {"bad", is_wrong ? 0.9 : 0.05}}}},
            1'000 + number * 60) +
        outcome_line("d" + std::to_string(number), 1, 1'030 + number * 60);
    for (EnsembleHost* host : {&tracker, &deaf}) {
      host->host.deliver(lines);
      host->host.tick((1'000 + number * 60 - 600) * kSecond);
    }
  }
  tracker.host.flush(1'000'000 * kSecond);
  const auto published = tracker.host.published("ephor.finding");
  REQUIRE(published.size() == 2);
  const Json opened = Json::parse(published[0].data_json);
  const Json closed = Json::parse(published[1].data_json);
  CHECK(opened["kind"] == "ensemble_degradation");
  CHECK(opened["target"] == "e");
  CHECK(opened["state"] == "open");
  CHECK(opened["onset"] == rfc3339((1'030 + 100 * 60) * kSecond));
  CHECK(closed["state"] == "closed");
  CHECK(closed["finding_id"] == opened["finding_id"]);
  // (0.1 * 0.7 + 0.9 * 0.3 - 1)^2 against nearly all on the good one: about 0.44 - 0.09.
  CHECK(opened["evidence"]["excess_loss"].get<double>() == Approx(0.34).margin(0.02));
  CHECK(tracker.summary()["findings"].size() == 1);
  CHECK(deaf.host.published("ephor.finding").empty());
}

TEST_CASE("late events take part in sums only", "[unit][ensemble]") {
  EnsembleHost tracker;
  tracker.host.deliver(decision_line(1));
  tracker.host.deliver(decision_line(2), EPHOR_EVENT_LATE);
  tracker.host.deliver(outcome_line("d1", 1, 2'000) + outcome_line("d2", 1, 2'000));
  tracker.host.deliver(regime_line(1) + regime_line(2), EPHOR_EVENT_LATE);
  tracker.host.flush(3'000 * kSecond);
  const Json ensemble = tracker.get("/api/ml/ensembles")["ensembles"][0];
  CHECK(ensemble["accuracy"]["final_decision"]["n"] == 2);
  CHECK(ensemble["regret"]["learned"]["rounds"] == 1);
  CHECK(ensemble["window"]["decisions"] == 1);
  CHECK(tracker.get("/api/regimes")["late"] == 2);
}

TEST_CASE("hostile names and broken state are refused or kept, never worse", "[unit][ensemble]") {
  EnsembleHost tracker(R"({"max_names": 16, "max_members": 4})");
  std::string long_name(5'000, 'x');
  for (int number = 0; number < 50; ++number) {
    Json members, weights;
    for (int k = 0; k < 12; ++k) {
      const std::string model = "m\"\\\n" + std::to_string(number * 12 + k);
      members[model] = {{"prediction", k % 2 == 0 ? "buy" : "se\"ll\u0001"}};
      weights[model] = k - 3.0;
    }
    tracker.host.deliver(event_line("ephor.ensemble_decision",
                                    {{"decision_id", "d\"" + std::to_string(number) + long_name},
                                     {"ensemble_id", "e" + std::to_string(number)},
                                     {"regime", long_name},
                                     {"final_decision", 17.5},
                                     {"individual_predictions", members},
                                     {"ensemble_weights", weights}},
                                    1'000 + number));
  }
  tracker.host.flush(2'000 * kSecond);
  tracker.host.save();
  CHECK(tracker.summary()["ensemble_decisions"] == 50);
  for (const auto& row : tracker.host.rows("ensemble_decisions")) {
    CHECK(Json::accept(row.at("members").bytes));
    CHECK(Json::accept(row.at("weights").bytes));
  }
  CHECK_FALSE(tracker.host.request("GET", "/api/ml/ensembles").empty());
}
