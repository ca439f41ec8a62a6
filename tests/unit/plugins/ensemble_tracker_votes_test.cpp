// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <string>
#include <vector>

#include "decision.hpp"
#include "figures.hpp"
#include "learner.hpp"
#include "paths.hpp"
#include "support/catch.hpp"
#include "votes.hpp"

using namespace ephor::ensemble_tracker;

namespace {

constexpr NameId kBuy = 1;
constexpr NameId kSell = 2;
constexpr NameId kHold = 3;

// {label, weight, P(buy), P(sell)}; probabilities NaN: none.
struct Said {
  NameId label;
  double weight = 1.0;
  double buy = kUnknown;
  double sell = kUnknown;
  double confidence = kUnknown;
};

Decision decision_of(const std::vector<Said>& said) {
  Decision out;
  NameId model = 10;
  for (const Said& one : said) {
    Member member;
    member.model = model++;
    member.label = one.label;
    member.weight = one.weight;
    member.confidence = one.confidence;
    if (std::isfinite(one.buy)) {
      member.class_begin = static_cast<std::uint16_t>(out.classes.size());
      member.class_count = 2;
      out.classes.push_back({kBuy, one.buy});
      out.classes.push_back({kSell, one.sell});
    }
    out.members.push_back(member);
  }
  out.is_decided = true;
  return out;
}

std::vector<double> weights_of(const Decision& decision) {
  std::vector<double> out;
  for (const Member& member : decision.members) out.push_back(member.weight);
  return out;
}

}  // namespace

TEST_CASE("majority: share, pairs and entropy by hand", "[unit][ensemble]") {
  const Majority three = majority_of(decision_of({{kBuy}, {kBuy}, {kSell}, {kBuy}, {kHold}}));
  CHECK(three.label == kBuy);
  CHECK(three.share == Approx(0.6));
  CHECK(three.pairwise == Approx(3.0 / 10.0));  // 3 equal pairs of 10
  CHECK_FALSE(three.is_tie);
  const double entropy = -(0.6 * std::log(0.6) + 0.4 * std::log(0.2)) / std::log(3.0);
  CHECK(three.entropy == Approx(entropy));
  CHECK(majority_of(decision_of({})).label == kNoName);
  const Majority one = majority_of(decision_of({{kSell}}));
  CHECK(one.share == 1.0);
  CHECK(std::isnan(one.pairwise));
}

TEST_CASE("majority: a tie goes to the surer side, then to the lower number", "[unit][ensemble]") {
  const Majority sure = majority_of(
      decision_of({{kBuy, 1, kUnknown, kUnknown, 0.5}, {kSell, 1, kUnknown, kUnknown, 0.9}}));
  CHECK(sure.label == kSell);
  CHECK(sure.is_tie);
  CHECK(majority_of(decision_of({{kSell}, {kBuy}})).label == kBuy);
}

TEST_CASE("weighted vote: probabilities where all told them, else votes", "[unit][ensemble]") {
  VoteCounter votes;
  Decision soft = decision_of({{kBuy, 0.6, 0.55, 0.45}, {kSell, 0.4, 0.1, 0.9}});
  WeightedVote vote = votes.count(soft, weights_of(soft));
  CHECK(vote.is_soft);
  CHECK(vote.label == kSell);  // 0.6 * 0.45 + 0.4 * 0.9 = 0.63
  CHECK(vote.score == Approx(0.63));
  CHECK(vote.margin == Approx(0.26));
  CHECK(votes.count(soft, weights_of(soft), 1).label == kBuy);
  soft.members[1].class_count = 0;
  vote = votes.count(soft, weights_of(soft));
  CHECK_FALSE(vote.is_soft);
  CHECK(vote.label == kBuy);
  CHECK(vote.score == Approx(0.6));
  // Without a usable weight there is no vote.
  CHECK(votes.count(soft, std::vector<double>{kUnknown, 0.0}).label == kNoName);
}

TEST_CASE("brier loss: two classes, a class not named, and one class alone", "[unit][ensemble]") {
  Decision decision = decision_of({{kBuy, 1.0, 0.7, 0.3}});
  CHECK(brier_loss(decision, decision.members[0], kBuy) == Approx(0.09));
  CHECK(brier_loss(decision, decision.members[0], kSell) == Approx(0.49));
  CHECK(brier_loss(decision, decision.members[0], kHold) == Approx((0.49 + 0.09 + 1.0) / 2));
  decision.members[0].class_count = 1;  // P(buy) only: the rest is "not buy"
  CHECK(brier_loss(decision, decision.members[0], kSell) == Approx(0.49));
  CHECK(brier_loss(decision, decision.members[0], kBuy) == Approx(0.09));
  decision.classes[0].probability = 1.5;
  CHECK_FALSE(has_probabilities(decision, decision.members[0]));
}

TEST_CASE("wilson interval: the textbook value", "[unit][ensemble]") {
  // 8 of 10: Wilson (1927), as statsmodels' proportion_confint(8, 10, method="wilson").
  const ephor::Interval interval = wilson(8, 10);
  CHECK(interval.low == Approx(0.4901625).epsilon(1e-6));
  CHECK(interval.high == Approx(0.9433178).epsilon(1e-6));
  CHECK(std::isnan(wilson(0, 0).low));
  CHECK(wilson(0, 5).low == 0.0);
}

TEST_CASE("window: the last entries alone count", "[unit][ensemble]") {
  Window window(3);
  for (int i = 0; i < 10; ++i) window.add(0b11, i % 2 == 0 ? 0b01 : 0b10);
  CHECK(window.size() == 3);
  CHECK(window.score(0).known == 3);
  CHECK(window.score(0).correct == 1);  // of 7, 8, 9
  CHECK(window.score(1).correct == 2);
  CHECK(window.score(5).known == 0);
}

TEST_CASE("weight history: bounded, even, keeps the first and the latest", "[unit][ensemble]") {
  WeightHistory history(16);
  for (int i = 0; i < 1'000; ++i) history.add(i, std::vector<double>{static_cast<double>(i)});
  CHECK(history.points().size() <= 16);
  CHECK(history.points().size() >= 8);
  CHECK(history.points().front().time_ns == 0);
  CHECK(history.latest().time_ns == 999);
  const std::int64_t step = history.points()[1].time_ns - history.points()[0].time_ns;
  for (std::size_t i = 1; i < history.points().size(); ++i) {
    CHECK(history.points()[i].time_ns - history.points()[i - 1].time_ns == step);
  }
}

TEST_CASE("learner: one round by hand, with and without probabilities", "[unit][ensemble]") {
  Learner learner({1.0, 0.0}, true, 100);
  learner.grow(2);
  Decision decision = decision_of({{kBuy, 0.5, 0.9, 0.1}, {kSell, 0.5, 0.4, 0.6}});
  decision.actual = kBuy;
  const std::vector<std::size_t> slots{0, 1};
  learner.add(decision, slots, weights_of(decision));
  // Losses 0.01 and 0.36; the even mix says 0.65: loss 0.1225.
  CHECK(learner.weights()[0] == Approx(1.0 / (1.0 + std::exp(-0.35))).epsilon(1e-12));
  CHECK(learner.own().experts()[0].regret() == Approx(0.1225 - 0.01));
  CHECK(learner.sent().own_loss() == Approx(0.1225));
  CHECK(learner.brier_rounds() == 1);
  decision.members[0].class_count = 0;
  const double before = learner.weights()[0];
  learner.add(decision, slots, weights_of(decision));
  const double odds = before / (1.0 - before) * std::exp(1.0);  // losses 0 and 1
  CHECK(learner.weights()[0] == Approx(odds / (1.0 + odds)).epsilon(1e-12));
  CHECK(learner.worst_excess() < 0.0);
}

TEST_CASE("path: thresholds by name, by alias, and as a band", "[unit][ensemble]") {
  const PathRules rules{Settings("{}")};
  Path path;
  path.steps = {{"blend", 0.43}, {"consensus", 0.4}, {"risk_check", 1.0}};
  path.thresholds = {{"confidence", 0.4}, {"consensus", 0.6}};
  PathView view;
  rules.view(path, view);
  REQUIRE(view.gates.size() == 3);
  CHECK(view.gates[0].margin == Approx(0.03));
  CHECK(view.gates[1].margin == Approx(-0.2));
  CHECK(std::isnan(view.gates[2].margin));
  CHECK(view.first_failed == 1);
  CHECK(view.closest == 0);
  CHECK(std::isnan(view.meta_score));

  path.steps = {{"ensemble_vote", 0.47}, {"meta_learner", 0.62}};
  path.thresholds = {{"buy", 0.55}, {"sell", 0.45}};
  rules.view(path, view);
  CHECK(view.gates[0].margin == Approx(-0.02));  // between both: no edge
  CHECK(view.gates[1].margin == Approx(0.07));
  CHECK(view.meta_score == 0.62);
}
