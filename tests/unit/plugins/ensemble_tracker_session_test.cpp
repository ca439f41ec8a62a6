// SPDX-License-Identifier: Apache-2.0
//
// Figures of recorded sessions against truth that other programs have computed.
#include <fstream>
#include <map>
#include <set>
#include <string>

#include "ensemble_tracker_support.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"
#include "tracer_session.hpp"

using namespace ephor::testing;

namespace {

// A client's bare record as the door takes it apart.
std::string lines_of(const Json& record) {
  const std::string type = record["type"];
  const std::string time = record["timestamp"].get<std::string>() + "Z";
  const std::int64_t time_s = parse_rfc3339(time)->time_ns / kSecond;
  const std::string decision_id = record.value("decision_id", "");
  const std::string correlation = record.value("correlation_id", "");
  if (type == "outcome") {
    return outcome_line(decision_id, record["actual_outcome"], time_s);
  }
  if (type != "ensemble_decision") return {};
  Json decision = record["ensemble_decision"];
  decision["decision_id"] = decision_id;
  decision["symbol"] = record["symbol"];
  decision["regime"] = record["regime_analysis"]["regime_type"];
  std::string out = event_line("ephor.ensemble_decision", decision, time_s, correlation);
  for (const Json& member : decision["individual_predictions"]) {
    Json one = member;
    one.erase("feature_importance");
    one["prediction_id"] = decision_id + ":" + member["model_id"].get<std::string>();
    one["decision_id"] = decision_id;
    out += event_line("ephor.prediction", one, time_s, correlation);
  }
  Json path = record["decision_path"];
  path["decision_id"] = decision_id;
  out += event_line("ephor.decision_path", path, time_s, correlation);
  Json regime = record["regime_analysis"];
  regime["symbol"] = record["symbol"];
  regime["decision_id"] = decision_id;
  return out + event_line("ephor.regime", regime, time_s, correlation);
}

}  // namespace

TEST_CASE("client records: every figure of the truth file", "[unit][ensemble]") {
  const auto path = shared_data("trading/client_events.jsonl");
  const auto truth_path = shared_data("trading/client_events.expected.json");
  if (!path || !truth_path) return;
  std::ifstream truth_file(*truth_path);
  const Json truth = Json::parse(truth_file);
  EnsembleHost tracker;
  std::ifstream lines(*path);
  for (std::string line; std::getline(lines, line);) {
    const std::string events = lines_of(Json::parse(line));
    if (!events.empty()) tracker.host.deliver(events);
  }
  tracker.host.flush(2'000'000'000 * kSecond);

  const Json all = tracker.get("/api/ml/ensembles")["overall"];
  CHECK(all["decisions"] == truth["unique_decisions"]);
  for (const Json& member : all["members"]) {
    const std::string model = member["model_id"];
    CHECK(member["accuracy"].get<double>() == Approx(truth["model_accuracy"][model].get<double>()));
    CHECK(std::abs(all["weights"]["learned"][model].get<double>() -
                   truth["final_weights_after_last"][model].get<double>()) <= 1e-12);
  }
  CHECK(all["accuracy"]["meta_learner_score"]["accuracy"].get<double>() ==
        Approx(truth["meta_learner_accuracy"].get<double>()));
  CHECK(all["agreement"]["majority_share"].get<double>() ==
        Approx(truth["mean_majority_share"].get<double>()));
  REQUIRE(all["by_regime"].size() == truth["by_regime"].size());
  for (const auto& item : truth["by_regime"].items()) {
    const Json& regime = all["by_regime"][item.key()];
    CHECK(regime["decisions"] == item.value()["n"]);
    CHECK(regime["accuracy"]["weighted_vote"]["correct"] == item.value()["ensemble_correct"]);
    CHECK(regime["accuracy"]["weighted_vote"]["accuracy"].get<double>() ==
          Approx(item.value()["ensemble_accuracy"].get<double>()));
  }
  // The client's weights are by the same rule, sent with nine digits.
  CHECK(all["regret"]["sent"]["regret"].get<double>() ==
        Approx(all["regret"]["learned"]["regret"].get<double>()).epsilon(1e-6));
  CHECK(all["regret"]["learned"]["regret"].get<double>() <=
        all["regret"]["learned"]["bound"].get<double>());
}

TEST_CASE("recorded session: accuracy per model and regime as counted from the file",
          "[unit][ensemble]") {
  const auto path = shared_data("session/btc.ndjson.gz");
  if (!path) return;
  struct Counts {
    int n = 0;
    int correct = 0;
  };
  std::set<std::string> ids;
  std::map<std::string, Json> decisions;                                   // by correlation id
  std::map<std::string, std::map<std::string, std::string>> said, actual;  // by it and model
  EnsembleHost tracker;
  std::string batch;
  for_each_line(*path, [&](std::string_view line) {
    const bool is_wanted = line.find("\"ephor.ensemble_decision\"") != std::string_view::npos ||
                           line.find("\"ephor.prediction\"") != std::string_view::npos ||
                           line.find("\"ephor.outcome\"") != std::string_view::npos;
    if (!is_wanted) return;
    const Json event = Json::parse(line, nullptr, false);
    if (event.is_discarded() || !event.contains("source") ||
        !ids.insert(event["source"].get<std::string>() + "/" + event["id"].get<std::string>())
             .second) {
      return;
    }
    const Json& data = event["data"];
    const std::string cycle = event["correlationid"];
    if (event["type"] == "ephor.ensemble_decision") decisions[cycle] = data;
    if (event["type"] == "ephor.prediction") said[cycle][data["model_id"]] = data["prediction"];
    if (event["type"] == "ephor.outcome") actual[cycle][data["model_id"]] = data["actual"];
    batch += line;
    if (batch.size() < 100'000) return;
    tracker.host.deliver(batch);
    batch.clear();
  });
  tracker.host.deliver(batch);
  tracker.host.flush(2'000'000'000 * kSecond);

  std::map<std::string, std::map<std::string, Counts>> by_model;  // "" and regime
  std::map<std::string, Counts> finals;
  for (const auto& [cycle, decision] : decisions) {
    const std::string regime = decision["regime"];
    std::string outcome;
    for (const auto& [model, label] : said[cycle]) {
      outcome = actual[cycle].at(model);
      for (const std::string& key : {std::string(), regime}) {
        ++by_model[model][key].n;
        by_model[model][key].correct += label == outcome;
      }
    }
    for (const std::string& key : {std::string(), regime}) {
      ++finals[key].n;
      finals[key].correct += decision["final_decision"] == outcome;
    }
  }
  const Json ensemble = tracker.get("/api/ensembles/main");
  CHECK(ensemble["decisions"] == decisions.size());
  REQUIRE(ensemble["members"].size() == by_model.size());
  for (const Json& member : ensemble["members"]) {
    for (const auto& [regime, counts] : by_model[member["model_id"]]) {
      const Json& figures =
          regime.empty()
              ? member
              : ensemble["by_regime"][regime]["members"][member["model_id"].get<std::string>()];
      CHECK(figures["n"] == counts.n);
      CHECK(figures["correct"] == counts.correct);
    }
  }
  for (const auto& [regime, counts] : finals) {
    const Json& figures = regime.empty() ? ensemble : ensemble["by_regime"][regime];
    CHECK(figures["accuracy"]["final_decision"]["n"] == counts.n);
    CHECK(figures["accuracy"]["final_decision"]["correct"] == counts.correct);
  }
}
