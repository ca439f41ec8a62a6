// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "outcome_joiner.hpp"
#include "support/catch.hpp"

using namespace ephor::ml_monitor;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

PendingPrediction prediction_at(std::int64_t time_ns, double tag = 0.0) {
  PendingPrediction prediction;
  prediction.time_ns = time_ns;
  prediction.value = Value::of_number(tag);
  return prediction;
}
ActualOutcome outcome_at(std::int64_t time_ns, double value = 1.0) {
  return {time_ns, Value::of_number(value), false};
}
OutcomeJoiner::Limits limits(std::size_t waiting_max = 1000, std::int64_t wait_s = 100,
                             std::size_t remembered_max = 1000) {
  return {waiting_max, remembered_max, wait_s * kSecond};
}
OutcomeJoiner reloaded(const OutcomeJoiner& joiner, const OutcomeJoiner::Limits& bounds) {
  std::string state;
  ephor::StateWriter out(state);
  joiner.save(out);
  OutcomeJoiner copy(bounds);
  const Labels labels({});
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) {
    copy.load(in, labels, [](const PendingPrediction&) { return true; });
  }));
  return copy;
}

}  // namespace

TEST_CASE("joiner: an outcome finds its prediction whichever comes first", "[unit][ml]") {
  OutcomeJoiner joiner(limits());
  CHECK(joiner.add_prediction("p1", "", "m", prediction_at(0, 7)).joined.empty());
  CHECK(joiner.waiting_predictions() == 1);
  const auto& late = joiner.add_outcome("p1", outcome_at(5 * kSecond));
  REQUIRE(late.joined.size() == 1);
  CHECK(late.joined[0].prediction.value.number == 7);
  CHECK(joiner.add_outcome("p2", outcome_at(0, 3)).joined.empty());
  CHECK(joiner.waiting_outcomes() == 1);
  const auto& early = joiner.add_prediction("p2", "", "m", prediction_at(0));
  REQUIRE(early.joined.size() == 1);
  CHECK(early.joined[0].outcome.value.number == 3);
  CHECK(joiner.waiting_predictions() == 0);
  CHECK(joiner.waiting_outcomes() == 0);
  CHECK(joiner.counts().joined == 2);
}

TEST_CASE("joiner: the first of two counts; another value is a correction", "[unit][ml]") {
  OutcomeJoiner joiner(limits());
  joiner.add_prediction("p", "", "m", prediction_at(0, 1));
  CHECK_FALSE(joiner.add_prediction("p", "", "m", prediction_at(0, 2)).is_new);
  CHECK(joiner.add_outcome("p", outcome_at(1, 5)).joined[0].prediction.value.number == 1);
  CHECK_FALSE(joiner.add_outcome("p", outcome_at(2, 5)).is_new);
  CHECK_FALSE(joiner.add_outcome("p", outcome_at(3, 6)).is_new);
  CHECK_FALSE(joiner.add_prediction("p", "", "m", prediction_at(0, 3)).is_new);
  joiner.add_outcome("q", outcome_at(1, 5));
  CHECK_FALSE(joiner.add_outcome("q", outcome_at(1, 6)).is_new);
  CHECK(joiner.counts().joined == 1);
  CHECK(joiner.counts().repeated_predictions == 2);
  CHECK(joiner.counts().repeated_outcomes == 1);
  CHECK(joiner.counts().corrected_outcomes == 2);
}

TEST_CASE("joiner: a decision's outcome joins its predictions, also those to come", "[unit][ml]") {
  OutcomeJoiner joiner(limits());
  joiner.add_prediction("d:a", "d", "a", prediction_at(0, 1));
  joiner.add_prediction("d:b", "d", "b", prediction_at(0, 2));
  joiner.add_prediction("e:a", "e", "a", prediction_at(0, 3));
  const auto& now = joiner.add_decision_outcome("d", "", outcome_at(1));
  REQUIRE(now.joined.size() == 2);
  CHECK(now.joined[0].prediction.value.number == 1);
  CHECK(now.joined[1].prediction.value.number == 2);
  CHECK(joiner.add_prediction("d:c", "d", "c", prediction_at(0, 4)).joined.size() == 1);
  CHECK(joiner.waiting_outcomes() == 0);
  CHECK(joiner.waiting_predictions() == 1);
  CHECK_FALSE(joiner.add_decision_outcome("d", "", outcome_at(2, 0)).is_new);
  CHECK(joiner.counts().corrected_outcomes == 1);
  CHECK_FALSE(joiner.add_outcome("d:a", outcome_at(3)).is_new);
  joiner.add_decision_outcome("f", "", outcome_at(1));
  CHECK(joiner.waiting_outcomes() == 1);
}

TEST_CASE("joiner: a decision's outcome that names a model joins that model's prediction only",
          "[unit][ml]") {
  OutcomeJoiner joiner(limits());
  joiner.add_prediction("d:a", "d", "a", prediction_at(0, 1));
  joiner.add_prediction("d:b", "d", "b", prediction_at(0, 2));
  const auto& joined = joiner.add_decision_outcome("d", "b", outcome_at(1)).joined;
  REQUIRE(joined.size() == 1);
  CHECK(joined[0].prediction.value.number == 2);
  CHECK_FALSE(joiner.add_decision_outcome("d", "b", outcome_at(1)).is_new);
  CHECK(joiner.add_decision_outcome("d", "c", outcome_at(1, 9)).joined.empty());
  CHECK(joiner.waiting_outcomes() == 1);
  CHECK(joiner.add_prediction("d:c", "d", "c", prediction_at(0, 3)).joined.size() == 1);
  CHECK(joiner.waiting_outcomes() == 0);
  CHECK(joiner.waiting_predictions() == 1);
}

TEST_CASE("joiner: sides too far apart in time never join, with or without a tick", "[unit][ml]") {
  for (const bool ticks : {false, true}) {
    OutcomeJoiner joiner(limits(1000, 100));
    joiner.add_prediction("p", "", "m", prediction_at(0));
    joiner.add_decision_outcome("d", "", outcome_at(0));
    joiner.add_outcome("o", outcome_at(0));
    joiner.add_prediction("edge", "", "m", prediction_at(1 * kSecond));
    if (ticks) {
      CHECK(joiner.advance(101 * kSecond).lost.size() == 1);
      CHECK(joiner.waiting_predictions() == 1);
      CHECK(joiner.waiting_outcomes() == 0);
    }
    CHECK(joiner.add_outcome("p", outcome_at(101 * kSecond)).joined.empty());
    CHECK(joiner.add_outcome("edge", outcome_at(101 * kSecond)).joined.size() == 1);
    CHECK(joiner.add_prediction("x", "d", "m", prediction_at(101 * kSecond)).joined.empty());
    CHECK(joiner.add_prediction("o", "", "m", prediction_at(101 * kSecond)).joined.empty());
    CHECK(joiner.counts().joined == 1);
    CHECK(joiner.counts().expired_predictions == 1);
    CHECK(joiner.counts().expired_outcomes == 2);
    CHECK(joiner.waiting_predictions() == 2);
    CHECK(joiner.waiting_outcomes() == 1);
  }
}

TEST_CASE("joiner: above the bound the longest waiting is given up and counted", "[unit][ml]") {
  OutcomeJoiner joiner(limits(3));
  for (const char* id : {"a", "b", "c"}) joiner.add_prediction(id, "", "m", prediction_at(0));
  CHECK(joiner.add_prediction("d", "", "m", prediction_at(0)).lost.size() == 1);
  CHECK(joiner.add_outcome("e", outcome_at(0)).lost.size() == 1);
  CHECK(joiner.counts().evicted_predictions == 2);
  CHECK(joiner.waiting_predictions() == 2);
  CHECK(joiner.add_outcome("c", outcome_at(0)).joined.size() == 1);
  for (const char* id : {"1", "2", "3", "4", "5"}) {
    joiner.add_decision_outcome(id, "", outcome_at(0));
  }
  CHECK(joiner.counts().evicted_outcomes == 2);
}

TEST_CASE("joiner: forgets the oldest joined ids only", "[unit][ml]") {
  OutcomeJoiner joiner(limits(1000, 100, 4));
  for (int i = 0; i < 10; ++i) {
    const std::string id = std::to_string(i);
    joiner.add_prediction(id, "", "m", prediction_at(0));
    joiner.add_outcome(id, outcome_at(0));
  }
  OutcomeJoiner copy = reloaded(joiner, limits(1000, 100, 4));
  for (OutcomeJoiner* each : {&joiner, &copy}) {
    for (int i = 6; i < 10; ++i)
      CHECK_FALSE(each->add_outcome(std::to_string(i), outcome_at(0)).is_new);
    CHECK(each->add_outcome("5", outcome_at(0)).is_new);
  }
}

// A plain second implementation of the rules without bounds: which outcome each prediction gets.
TEST_CASE("joiner: agrees with a plain reference on random orders, across reloads", "[unit][ml]") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    std::mt19937_64 random(seed);
    OutcomeJoiner joiner(limits(100'000, 1'000'000, 100'000));
    std::map<std::string, std::string> decision_of;    // predictions seen
    std::map<std::string, double> by_id, by_decision;  // first outcomes seen
    std::map<std::string, double> expected, found;     // prediction -> what came true
    std::map<double, std::string> id_of_tag;
    const auto take = [&](const OutcomeJoiner::Changes& changes) {
      for (const Joined& joined : changes.joined) {
        const std::string& id = id_of_tag.at(joined.prediction.value.number);
        REQUIRE(found.emplace(id, joined.outcome.value.number).second);
      }
    };
    for (int step = 0; step < 600; ++step) {
      const std::string decision = "d" + std::to_string(random() % 20);
      const std::string id = decision + ":" + std::to_string(random() % 6);
      const double value = static_cast<double>(random() % 3);
      const auto what = random() % 8;
      if (what < 5) {
        if (decision_of.emplace(id, decision).second) {
          const double tag = static_cast<double>(decision_of.size());
          id_of_tag[tag] = id;
          take(joiner.add_prediction(id, decision, "m" + id, prediction_at(step, tag)));
          if (by_id.contains(id))
            expected[id] = by_id[id];
          else if (by_decision.contains(decision))
            expected[id] = by_decision[decision];
        } else {
          CHECK_FALSE(joiner.add_prediction(id, decision, "m" + id, prediction_at(step)).is_new);
        }
      } else if (what < 7) {
        take(joiner.add_outcome(id, outcome_at(step, value)));
        by_id.emplace(id, value);
        if (decision_of.contains(id)) expected.emplace(id, by_id[id]);
      } else {
        take(joiner.add_decision_outcome(decision, "", outcome_at(step, value)));
        by_decision.emplace(decision, value);
        for (const auto& [prediction, its_decision] : decision_of) {
          if (its_decision == decision) expected.emplace(prediction, by_decision[decision]);
        }
      }
      if (random() % 40 == 0) joiner = reloaded(joiner, limits(100'000, 1'000'000, 100'000));
    }
    CHECK(found == expected);
    CHECK(joiner.counts().joined == expected.size());
    CHECK(joiner.waiting_predictions() == decision_of.size() - expected.size());
  }
}
