// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "ingest/event_rules.hpp"
#include "support/catch.hpp"

using namespace ephor::host;

namespace {

struct Checked {
  bool is_good;
  Fault fault;
  std::vector<std::uint64_t> joins;
};

Checked check(std::string_view type, const std::string& data,
              const std::vector<std::string>& attributes = {}) {
  const EventRules rules(attributes);
  simdjson::dom::parser parser;
  simdjson::dom::object object = parser.parse(data);
  JoinKeys joins;
  Checked checked;
  checked.is_good = rules.of(type).check(object, joins, checked.fault);
  checked.joins = joins.take_sorted();
  return checked;
}

constexpr const char* kTrade =
    R"({"trade_id":"t","symbol":"B","side":"%","quantity":1,"price":1,"status":"open"})";

std::string trade(const std::string& side) {
  std::string text = kTrade;
  return text.replace(text.find('%'), 1, side);
}

}  // namespace

TEST_CASE("rules: every spelling of a side the client uses is taken, in any case",
          "[unit][ingest]") {
  for (const char* side : {"buy", "sell", "long", "short", "enter_long", "enter_short", "exit_long",
                           "exit_short", "hold", "cancel_order", "BUY", "Long"}) {
    CHECK(check("ephor.trade", trade(side)).is_good);
  }
  const Checked bad = check("ephor.trade", trade("diagonal"));
  CHECK(bad.fault.json_pointer == "/data/side");
  CHECK(bad.fault.reason ==
        "found \"diagonal\", expected one of buy, sell, long, short, enter_long, enter_short, "
        "exit_long, exit_short, hold, cancel_order");
}

TEST_CASE("rules: ids have bounds", "[unit][ingest]") {
  const auto metric = [](const std::string& name) {
    return check("ephor.metric", R"({"name":")" + name + R"(","value":1})").is_good;
  };
  CHECK(metric(std::string(256, 'x')));
  CHECK_FALSE(metric(std::string(257, 'x')));
  CHECK_FALSE(metric(""));
  CHECK_FALSE(metric("a\\u0000b"));
  CHECK_FALSE(metric("a\\r\\nb"));
  CHECK_FALSE(metric("12345678\\u007f"));
  CHECK(metric("größe"));
}

TEST_CASE("rules: a control character is found wherever it stands", "[unit][ingest]") {
  for (std::size_t size = 0; size < 40; ++size) {
    std::string text(size, 'a');
    CHECK_FALSE(has_control_character(text));
    CHECK_FALSE(has_control_character(std::string(size, '\xC3')));
    for (std::size_t at = 0; at < size; ++at) {
      for (const char c : {'\0', '\n', '\x1F', '\x7F'}) {
        text[at] = c;
        CHECK(has_control_character(text));
      }
      text[at] = ' ';
    }
    CHECK_FALSE(has_control_character(text));
  }
}

TEST_CASE("rules: optional fields may be null or empty, required ones not", "[unit][ingest]") {
  const std::string head = R"({"trace_id":"a","span_id":"b","component":"c","operation":"o",)";
  CHECK(check("ephor.span", head + R"("start_time_unix_nano":1,"end_time_unix_nano":1,)" +
                                R"("parent_span_id":"","error_message":null})")
            .is_good);
  const Checked bad =
      check("ephor.span", head + R"("start_time_unix_nano":1,"end_time_unix_nano":null})");
  CHECK(bad.fault.json_pointer == "/data/end_time_unix_nano");
}

TEST_CASE("rules: a group asks for one whole alternative", "[unit][ingest]") {
  CHECK(check("ephor.market", R"({"symbol":"B","price":1})").is_good);
  CHECK(check("ephor.market", R"({"symbol":"B","open":1,"high":1,"low":1,"close":1})").is_good);
  CHECK_FALSE(check("ephor.market", R"({"symbol":"B","open":1,"close":1})").is_good);
  CHECK(check("ephor.reference", R"({"rsi":{"quantiles":[1],"count":5}})").is_good);
  CHECK(check("ephor.reference", R"({"model_id":"m"})").is_good);
  CHECK_FALSE(check("ephor.reference", R"({"note":"x"})").is_good);
}

TEST_CASE("rules: numbers are numbers and weights are not negative", "[unit][ingest]") {
  const auto decision = [](const std::string& weights) {
    return check(
        "ephor.ensemble_decision",
        R"({"decision_id":"d","ensemble_id":"e","final_decision":0.5,"ensemble_weights":)" +
            weights + "}");
  };
  CHECK(decision(R"({"a":0,"b":1.5})").is_good);
  CHECK(decision(R"({"a":0.5,"b":-0.5})").fault.json_pointer == "/data/ensemble_weights/b");
  CHECK(decision(R"({"a":"1"})").fault.reason == "found \"1\", expected a number >= 0");
  CHECK_FALSE(decision("[1]").is_good);
}

TEST_CASE("rules: unknown types and fields are taken, join keys are collected", "[unit][ingest]") {
  CHECK(check("com.example", R"({"anything":[{}]})").is_good);
  // Keys by their definition in event/hash.hpp.
  std::vector<std::uint64_t> expected = {join_key(JoinKind::decision, hash64("d")),
                                         join_key(JoinKind::trade, hash64("t")),
                                         join_key(JoinKind::attribute, hash64("p"))};
  std::ranges::sort(expected);
  const std::string data = R"({"decision_id":"d","trade_id":"t","position_id":"p","order_id":7})";
  CHECK(check("com.example", data, {"position_id"}).joins == expected);
  CHECK(check("ephor.drift_alert", data, {"position_id"}).joins == expected);
}

TEST_CASE("join keys: rolling back forgets the filter too", "[unit][ingest]") {
  JoinKeys joins;
  joins.add(JoinKind::trade, 1);
  joins.add(JoinKind::trade, 2);
  joins.roll_back(1);
  joins.add(JoinKind::trade, 2);
  joins.add(JoinKind::trade, 2);
  CHECK(joins.take_sorted().size() == 2);
}
