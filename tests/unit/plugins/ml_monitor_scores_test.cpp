// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "labels.hpp"
#include "model_table.hpp"
#include "scores.hpp"
#include "support/catch.hpp"
#include "times.hpp"

using namespace ephor::ml_monitor;

TEST_CASE("wilson_95: agrees with Newcombe (1998), Statistics in Medicine 17, table I, method 3",
          "[unit][ml]") {
  struct Row {
    std::uint64_t correct, total;
    double low, high;
  };
  for (const Row& row : {Row{81, 263, 0.2553, 0.3662}, Row{15, 148, 0.0624, 0.1605},
                         Row{0, 20, 0.0, 0.1611}, Row{1, 29, 0.0061, 0.1718}}) {
    const auto interval = ephor::wilson_95(row.correct, row.total);
    REQUIRE(interval);
    CHECK(std::abs(interval->low - row.low) < 5e-5);  // the table has four decimals
    CHECK(std::abs(interval->high - row.high) < 5e-5);
  }
  CHECK_FALSE(ephor::wilson_95(0, 0));
  CHECK(ephor::wilson_95(10, 10)->high == Approx(1.0));
}

TEST_CASE("scores: without data every mean is null", "[unit][ml]") {
  const ephor::Json json = Scores{}.to_json();
  for (const char* name : {"accuracy", "accuracy_low_95", "accuracy_high_95", "mean_confidence",
                           "mean_confidence_scored", "brier_score", "log_loss",
                           "mean_absolute_error", "root_mean_squared_error"}) {
    CHECK(json.at(name).is_null());
  }
  CHECK(json.at("predictions") == 0);
}

TEST_CASE("log_loss: is -ln p, clipped at the double's epsilon", "[unit][ml]") {
  CHECK(log_loss(1.0) == 0.0);
  CHECK(log_loss(0.5) == Approx(0.6931471805599453));
  CHECK(log_loss(0.0) == Approx(36.04365338911715));  // 52 ln 2
}

TEST_CASE("labels: spellings meet in one class", "[unit][ml]") {
  Labels::Config config;
  config.aliases = {{"Strong Up", "long"}, {"WAIT", "hold"}};
  Labels labels(config);
  const LabelId buy = labels.intern("buy");
  for (const char* spelling :
       {"BUY", " Buy ", "long", "LONG", "enter_long", "1", "1.0", "strong up"}) {
    CHECK(labels.intern(spelling) == buy);
  }
  const LabelId sell = labels.intern("sell");
  for (const char* spelling : {"Short", "ENTER_SHORT", "-1", "0"}) {
    CHECK(labels.intern(spelling) == sell);
  }
  CHECK(labels.intern("neutral") == labels.intern("Flat"));
  CHECK(labels.intern("wait") == labels.intern("hold"));
  CHECK(labels.intern("breakout") != buy);
  CHECK(labels.name(labels.intern("BreakOut")) == "breakout");
}

TEST_CASE("labels: which sides are classes", "[unit][ml]") {
  Labels::Config config;
  config.score_dead_band = 0.25;
  Labels labels(config);
  const Value buy = Value::of_label(labels.intern("buy"));
  const auto is_right = [&](const Value& predicted, const Value& actual) {
    const auto pair = labels.classes(predicted, actual);
    REQUIRE(pair);
    return pair->predicted == pair->actual;
  };
  CHECK(is_right(buy, Value::of_number(1)));
  CHECK_FALSE(is_right(buy, Value::of_number(0)));
  CHECK_FALSE(is_right(buy, Value::of_number(-1)));
  CHECK_FALSE(labels.classes(buy, Value::of_number(0.3)));
  CHECK(is_right(Value::of_number(0.26), buy));
  CHECK(is_right(Value::of_number(-0.26), Value::of_label(labels.intern("sell"))));
  CHECK(is_right(Value::of_number(-0.25), Value::of_label(labels.intern("hold"))));
  CHECK_FALSE(labels.classes(Value::of_number(1.5), buy));
  CHECK_FALSE(labels.classes(Value::of_number(0.5), Value::of_number(0.5)));
}

TEST_CASE("labels: beyond the bound classes still compare rightly", "[unit][ml]") {
  Labels labels({});
  std::vector<LabelId> ids;
  for (int i = 0; i < 3000; ++i) ids.push_back(labels.intern("class" + std::to_string(i)));
  for (int i = 0; i < 3000; ++i) {
    CHECK(labels.intern("CLASS" + std::to_string(i)) == ids[static_cast<std::size_t>(i)]);
    CHECK(labels.is_valid(ids[static_cast<std::size_t>(i)]));
  }
  std::sort(ids.begin(), ids.end());
  CHECK(std::adjacent_find(ids.begin(), ids.end()) == ids.end());
  CHECK(labels.name(labels.intern("class2999")) == "(other)");
}

TEST_CASE("outcome window: counts the newest outcomes only, and comes back from its state",
          "[unit][ml]") {
  const Labels labels({});
  std::vector<bool> history;
  OutcomeWindow window(70);
  for (int i = 0; i < 200; ++i) {
    history.push_back(i * i % 7 < 3);
    Verdict verdict;
    verdict.kind = Verdict::Kind::kClass;
    verdict.is_correct = history.back();
    verdict.has_probability = true;
    verdict.brier = i;
    window.push(verdict);
    const std::size_t count = std::min<std::size_t>(history.size(), 70);
    REQUIRE(window.count() == count);
    REQUIRE(window.hits() ==
            static_cast<std::size_t>(std::count(history.end() - static_cast<std::ptrdiff_t>(count),
                                                history.end(), true)));
  }
  std::string state;
  ephor::StateWriter out(state);
  window.save(out);
  OutcomeWindow smaller(10);
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { smaller.load(in, labels); }));
  CHECK(smaller.count() == 10);
  CHECK(smaller.hits() ==
        static_cast<std::size_t>(std::count(history.end() - 10, history.end(), true)));
  CHECK(smaller.scores().brier_sum == 10 * 194.5);  // 190 to 199
  CHECK(smaller.scores().scored == 10);
}

TEST_CASE("rfc3339 and hour_start", "[unit][ml]") {
  CHECK(rfc3339(1'510'036'140'500'000'000) == "2017-11-07T06:29:00.5Z");
  CHECK(rfc3339(hour_start(1'510'036'140'088'320'685)) == "2017-11-07T06:00:00Z");
  CHECK(hour_start(-1) == -kHourNs);
  CHECK(hour_start(INT64_MIN) > INT64_MIN);
  CHECK(hour_start(kHourNs) == kHourNs);
}
