// SPDX-License-Identifier: Apache-2.0
//
// The real trade_tracker.so on the fake host.
#include <algorithm>
#include <chrono>
#include <ephor/testing/fake_host.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/shared_data.hpp"
#include "tracer_select.hpp"
#include "tracer_session.hpp"

namespace {

using namespace ephor::testing;
using Json = nlohmann::json;

struct Tracker {
  explicit Tracker(std::string_view config = "{}") {
    host.on_select([this](std::string_view sql, std::span<const ephor_cell> parameters) {
      ++select_count;
      return select_rows(host, sql, parameters);
    });
    host.load_plugin(plugin_entry("trade_tracker"), config, "trade_tracker");
  }
  Json get(std::string_view target) { return Json::parse(host.request("GET", target)); }
  Json summary() { return Json::parse(host.ask("trade_tracker.summary")); }

  FakeHost host;
  int select_count = 0;
};

std::string event_line(const std::string& type, const Json& data, std::int64_t time_ns = 1,
                       const std::string& correlation = {}) {
  static int number = 0;
  Json event{{"specversion", "1.0"}, {"id", std::to_string(++number)},
             {"source", "test"},     {"type", type},
             {"data", data},         {"time", rfc3339(time_ns)}};
  if (!correlation.empty()) event["correlationid"] = correlation;
  return event.dump() + "\n";
}

Json trade(const std::string& id, const std::string& status) {
  return {{"trade_id", id}, {"symbol", "BTCUSDT"}, {"side", "LONG"},
          {"quantity", 2},  {"price", 100},        {"status", status}};
}

std::string opened(int number) {
  Json data = trade("t" + std::to_string(number), "open");
  data["decision_id"] = "d" + std::to_string(number);
  return event_line("ephor.trade", data, number * 1000 + 1, "c" + std::to_string(number));
}
std::string closed(int number) {
  Json data = trade("t" + std::to_string(number), "closed");
  data["close_price"] = 100 + number % 7 - 3;
  data["fees"] = 0.25;
  data["close_reason"] = "stop at " + std::to_string(number);
  return event_line("ephor.trade", data, number * 1000 + 500);
}
std::string decision(int number) {
  return event_line("ephor.ensemble_decision",
                    {{"decision_id", "d" + std::to_string(number)},
                     {"ensemble_id", "e"},
                     {"final_decision", "buy"},
                     {"regime", number % 2 == 0 ? "bull" : "bear"}},
                    number * 1000);
}

// Everything the plugin says, but for which event of a trade came first.
std::vector<std::string> all_answers(Tracker& tracker) {
  std::vector<std::string> out{tracker.host.ask("trade_tracker.summary"),
                               tracker.host.request("GET", "/api/performance")};
  for (int number = 0; number < 40; ++number) {
    Json answer = tracker.get("/api/trades/t" + std::to_string(number));
    answer.erase("first_sequence");
    out.push_back(answer.dump());
  }
  return out;
}

std::vector<std::string> session_of_40() {
  std::vector<std::string> lines;
  for (int number = 0; number < 40; ++number) {
    lines.push_back(decision(number));
    lines.push_back(opened(number));
    lines.push_back(closed(number));
    lines.push_back(event_line("ephor.outcome",
                               {{"decision_id", "d" + std::to_string(number)}, {"actual", 1}}));
  }
  return lines;
}

}  // namespace

TEST_CASE("trade_tracker: nothing known is null, not zero", "[unit][trading]") {
  Tracker tracker;
  REQUIRE(tracker.summary() ==
          Json::parse(R"({"decisions":0,"trades":0,"trades_closed":0,"trades_won":0,"pnl":null,
                          "findings":[]})"));
  const Json performance = tracker.get("/api/performance");
  for (const char* name : {"win_rate", "pnl", "profit_factor", "expectancy", "max_drawdown",
                           "gross_profit", "gross_loss", "fees", "mean_slippage"}) {
    INFO(name);
    REQUIRE(performance[name].is_null());
  }
  REQUIRE(performance["equity_curve"].empty());
  REQUIRE(tracker.get("/api/trades")["trades"].empty());
  REQUIRE_THROWS_AS(tracker.host.request("GET", "/api/trades/none"), ephor::Error);
}

TEST_CASE("trade_tracker: events in any order give the same figures", "[unit][trading]") {
  std::vector<std::string> lines = session_of_40();
  Tracker ordered;
  for (const std::string& line : lines) ordered.host.deliver(line);
  const std::vector<std::string> expected = all_answers(ordered);
  const Json performance = ordered.get("/api/performance");
  // Of 40 trades the close is number % 7 - 3 above 100, times 2, less 0.25.
  int won = 0;
  double pnl = 0.0;
  for (int number = 0; number < 40; ++number) {
    const double value = 2.0 * (number % 7 - 3) - 0.25;
    won += value > 0.0 ? 1 : 0;
    pnl += value;
  }
  REQUIRE(performance["won"] == won);
  REQUIRE(performance["pnl"].get<double>() == Approx(pnl).margin(1e-9));
  REQUIRE(performance["by_regime"]["bull"]["trades"] == 20);
  REQUIRE(performance["by_close_reason"].size() == 1);
  REQUIRE(performance["by_close_reason"]["stop at #"]["closed"] == 40);
  REQUIRE(ordered.get("/api/trades/t3")["decision"]["actual"] == "1");
  REQUIRE(ordered.get("/api/trades/t3")["correlation_id"] == "c3");
  REQUIRE(ordered.get("/api/trades/t3")["close_reason"] == "stop at 3");
  std::mt19937_64 random(4);
  for (int round = 0; round < 5; ++round) {
    std::shuffle(lines.begin(), lines.end(), random);
    Tracker shuffled;
    shuffled.host.set_slice_size(1 + random() % 50);
    for (const std::string& line : lines) shuffled.host.deliver(line);
    REQUIRE(all_answers(shuffled) == expected);
  }
}

TEST_CASE("trade_tracker: little memory and crashes change no answer", "[unit][trading]") {
  const std::vector<std::string> lines = session_of_40();
  Tracker unbroken;
  for (const std::string& line : lines) unbroken.host.deliver(line);
  const std::vector<std::string> expected = all_answers(unbroken);
  std::mt19937_64 random(5);
  for (int round = 0; round < 8; ++round) {
    Tracker tracker(R"({"max_trades_in_memory": 3, "max_decisions_in_memory": 3})");
    for (const std::string& line : lines) {
      tracker.host.deliver(line);
      if (random() % 5 == 0) tracker.host.save();
      if (random() % 15 == 0) tracker.host.crash();
    }
    // A late correction of a trade that has long left memory.
    REQUIRE(all_answers(tracker) == expected);
    tracker.host.save();
    tracker.host.save();
    REQUIRE(tracker.host.crash());
    REQUIRE(all_answers(tracker) == expected);
    REQUIRE(tracker.select_count > 0);
    REQUIRE(tracker.host.rows("trades").size() == 40);
  }
}

TEST_CASE("trade_tracker: a corrected close replaces the first", "[unit][trading]") {
  Tracker tracker;
  tracker.host.deliver(closed(1));
  const double before = tracker.summary()["pnl"];
  REQUIRE(before == 2.0 * (1 - 3) - 0.25);
  Json data = trade("t1", "closed");
  data["pnl"] = 12.5;
  tracker.host.deliver(event_line("ephor.trade", data, 9000));
  REQUIRE(tracker.summary()["pnl"] == 12.5);
  REQUIRE(tracker.summary()["trades_won"] == 1);
  REQUIRE(tracker.summary()["trades_closed"] == 1);
}

TEST_CASE("trade_tracker: a trade finds its decision over execution and order", "[unit][trading]") {
  const std::string order =
      event_line("ephor.order", {{"order_id", "o1"}, {"decision_id", "d2"}, {"status", "pending"}});
  const std::string fill =
      event_line("ephor.fill", {{"order_id", "o1"}, {"execution_id", "x1"}, {"fee", 0.5}});
  Json data = trade("t9", "open");
  data["execution_id"] = "x1";
  const std::string opened_by_execution = event_line("ephor.trade", data);
  std::vector<std::string> lines{order, fill, opened_by_execution, decision(2)};
  for (const bool is_trade_first : {false, true}) {
    Tracker tracker;
    if (is_trade_first) std::swap(lines[0], lines[2]);
    if (is_trade_first) std::swap(lines[1], lines[2]);  // trade, order, fill, decision
    for (const std::string& line : lines) tracker.host.deliver(line);
    const Json answer = tracker.get("/api/trades/t9");
    REQUIRE(answer["decision_id"] == "d2");
    REQUIRE(answer["regime"] == "bull");
    REQUIRE(answer["decision"]["final_decision"] == "buy");
    const Json performance = tracker.get("/api/performance");
    REQUIRE(performance["fills"] == 1);
    REQUIRE(performance["fill_fees"] == 0.5);
    REQUIRE(performance["by_regime"]["bull"]["trades"] == 1);
    // The story of an id asks this way.
    for (const char* id : {"t9", "x1", "d2"}) {
      const Json known = Json::parse(
          tracker.host.ask("trade_tracker.describe", Json{{"ids", {"nobody", id}}}.dump()));
      REQUIRE(known["trades"].size() == 1);
      REQUIRE(known["trades"][0]["trade_id"] == "t9");
    }
    REQUIRE(tracker.host.ask("trade_tracker.describe", R"({"ids": ["nobody", ""]})") == "{}");
  }
}

TEST_CASE("trade_tracker: lists by status and symbol, page by page", "[unit][trading]") {
  for (const char* config : {"{}", R"({"max_trades_in_memory": 4})"}) {
    Tracker tracker(config);
    for (int number = 0; number < 30; ++number) {
      tracker.host.deliver(opened(number));
      if (number % 3 == 0) tracker.host.deliver(closed(number));
      if (number % 4 == 0) tracker.host.save();
    }
    std::vector<std::string> seen;
    std::string cursor;
    for (int page = 0; page < 10; ++page) {
      const Json answer = tracker.get("/api/trades?status=open&symbol=BTCUSDT&limit=7" + cursor);
      for (const Json& entry : answer["trades"]) seen.push_back(entry["trade_id"]);
      if (answer["next_cursor"].is_null()) break;
      cursor = "&cursor=" + answer["next_cursor"].get<std::string>();
    }
    std::vector<std::string> expected;
    for (int number = 29; number >= 0; --number) {
      if (number % 3 != 0) expected.push_back("t" + std::to_string(number));
    }
    REQUIRE(seen == expected);
    REQUIRE(tracker.get("/api/trades?symbol=ETH")["trades"].empty());
    REQUIRE_THROWS_AS(tracker.host.request("GET", "/api/trades?limit=x"), ephor::Error);
  }
}

TEST_CASE("trade_tracker: times of a closed record alone", "[unit][trading]") {
  Tracker tracker;
  Json data = trade("a", "closed");  // as a client posts it whole: its time is that of the opening
  data["close_timestamp"] = "2025-03-28T08:37:00";
  tracker.host.deliver(event_line("ephor.trade", data, 1'743'147'420'000'000'000));
  Json answer = tracker.get("/api/trades/a");
  REQUIRE(answer["open_time"] == "2025-03-28T07:37:00Z");
  REQUIRE(answer["close_time"] == "2025-03-28T08:37:00Z");
  data = trade("b", "closed");
  tracker.host.deliver(event_line("ephor.trade", data, 1'743'147'420'000'000'000));
  answer = tracker.get("/api/trades/b");
  REQUIRE(answer["open_time"].is_null());
  REQUIRE(answer["close_time"] == "2025-03-28T07:37:00Z");
  REQUIRE(answer["pnl"].is_null());
}

TEST_CASE("trade_tracker: an unreadable state is refused, never fatal", "[unit][trading]") {
  Tracker tracker;
  for (const std::string& line : session_of_40()) tracker.host.deliver(line);
  tracker.host.save();
  const std::string state = tracker.host.saved_state();
  const std::vector<std::string> expected = all_answers(tracker);
  std::mt19937_64 random(6);
  for (int i = 0; i < 40; ++i) {
    std::string damaged = state;
    damaged.resize(random() % damaged.size());
    tracker.host.set_saved_state(2, damaged);
    REQUIRE_FALSE(tracker.host.crash());
  }
  REQUIRE(all_answers(tracker) == expected);
}

TEST_CASE("trade_tracker: the recorded session, against its truth file", "[unit][trading][data]") {
  const auto path = shared_data("session/btc.ndjson.gz");
  const auto truth_path = shared_data("session/btc.truth.json");
  if (!path || !truth_path) return;
  std::set<std::string> ids;
  std::string lines;
  for_each_line(*path, [&](std::string_view line) {
    const bool is_wanted =
        line.find("\"type\":\"ephor.trade\"") != std::string_view::npos ||
        line.find("\"type\":\"ephor.ensemble_decision\"") != std::string_view::npos;
    if (!is_wanted) return;
    const Json event = Json::parse(line);
    if (ids.insert(event["source"].get<std::string>() + "\n" + event["id"].get<std::string>())
            .second) {
      lines += line;
    }
  });
  std::string truth_text;
  for_each_line(*truth_path, [&](std::string_view line) { truth_text += line; });
  const Json truth = Json::parse(truth_text);
  Tracker tracker;
  const auto begin = std::chrono::steady_clock::now();
  tracker.host.deliver(lines);
  const auto delivered = std::chrono::steady_clock::now();
  tracker.host.save();
  const auto saved = std::chrono::steady_clock::now();
  const auto ms = [](auto duration) {
    return std::chrono::duration<double, std::milli>(duration).count();
  };
  std::cout << "trade_tracker on the session: deliver (fake host included) "
            << ms(delivered - begin) << " ms, save " << ms(saved - delivered) << " ms, state "
            << tracker.host.saved_state().size() / 1024 << " KiB\n";
  const Json summary = tracker.summary();
  REQUIRE(summary["decisions"] == truth["events_by_type"]["ephor.ensemble_decision"]);
  REQUIRE(summary["trades"] == 819);
  REQUIRE(summary["trades_closed"] == truth["trades_closed"]);
  REQUIRE(summary["trades_won"] == truth["trades_won"]);
  // The truth is rounded to four digits.
  REQUIRE(summary["pnl"].get<double>() ==
          Approx(truth["final_equity"].get<double>() - 10'000.0).margin(0.001));
  REQUIRE(tracker.host.crash());
  REQUIRE(tracker.summary() == summary);
}

TEST_CASE("trade_tracker: the client's records, against their truth file",
          "[unit][trading][data]") {
  const auto path = shared_data("trading/client_events.jsonl");
  const auto truth_path = shared_data("trading/client_events.expected.json");
  if (!path || !truth_path) return;
  // As the door takes them apart, in the members that matter here.
  Tracker tracker;
  std::set<std::string> decisions;
  std::set<std::string> trades;
  for_each_line(*path, [&](std::string_view line) {
    const Json record = Json::parse(line);
    const std::int64_t time_ns =
        parse_rfc3339(record["timestamp"].get<std::string>()).value().time_ns;
    if (record["type"] == "ensemble_decision" &&
        decisions.insert(record["decision_id"].get<std::string>()).second) {
      tracker.host.deliver(
          event_line("ephor.ensemble_decision",
                     {{"decision_id", record["decision_id"]},
                      {"ensemble_id", record["ensemble_decision"]["ensemble_id"]},
                      {"primary_prediction", record["ensemble_decision"]["primary_prediction"]},
                      {"regime", record["regime_analysis"]["regime_type"]}},
                     time_ns));
    } else if (record["type"] == "trade_record" &&
               trades.insert(record["trade_id"].get<std::string>()).second) {
      Json data = record;
      data.erase("type");
      tracker.host.deliver(event_line("ephor.trade", data, time_ns));
    }
  });
  std::string truth_text;
  for_each_line(*truth_path, [&](std::string_view line) { truth_text += line; });
  const Json truth = Json::parse(truth_text);
  const Json performance = tracker.get("/api/performance");
  REQUIRE(performance["decisions"] == truth["unique_decisions"]);
  REQUIRE(performance["trades"] == truth["trades"]);
  const auto require_near = [](const Json& found, const Json& expected) {
    REQUIRE(found.get<double>() == Approx(expected.get<double>()).margin(1e-9).epsilon(1e-12));
  };
  require_near(performance["win_rate"], truth["win_rate"]);
  require_near(performance["pnl"], truth["total_pnl"]);
  require_near(performance["gross_profit"], truth["gross_profit"]);
  require_near(performance["gross_loss"], truth["gross_loss"]);
  require_near(performance["profit_factor"], truth["profit_factor"]);
  for (const auto& [regime, expected] : truth["by_regime"].items()) {
    REQUIRE(performance["by_regime"][regime]["trades"] == expected["trades"]);
    require_near(performance["by_regime"][regime]["pnl"], expected["pnl"]);
  }
  for (const auto& [reason, pnl] : truth["pnl_by_close_reason"].items()) {
    require_near(performance["by_close_reason"][reason]["pnl"], pnl);
  }
}
