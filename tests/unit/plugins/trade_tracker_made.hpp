// SPDX-License-Identifier: Apache-2.0
//
// The real trade_tracker.so on the fake host, and made-up trades for it.
#pragma once

#include <cstdint>
#include <ephor/testing/fake_host.hpp>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tracer_select.hpp"
#include "tracer_session.hpp"

namespace ephor::testing {

using Json = nlohmann::json;

inline constexpr std::int64_t kSecond = 1'000'000'000;
inline constexpr std::int64_t kStart = 1'700'000'000 * kSecond;
inline constexpr std::int64_t kHour = 3600 * kSecond;
inline constexpr std::int64_t kDay = 24 * kHour;

struct Tracker {
  explicit Tracker(std::string_view config = "{}") {
    host.on_select([this](std::string_view sql, std::span<const ephor_cell> parameters) {
      return select_rows(host, sql, parameters);
    });
    host.load_plugin(plugin_entry("trade_tracker"), config, "trade_tracker");
  }
  Json get(const std::string& target) { return Json::parse(host.request("GET", target)); }
  std::vector<std::string> ids(const std::string& query) {
    std::vector<std::string> out;
    const Json answer = get("/api/trades?" + query);
    for (const Json& trade : answer["trades"]) out.push_back(trade["trade_id"]);
    return out;
  }
  FakeHost host;
};

inline std::string line_of(const std::string& type, std::int64_t time_ns, const Json& data,
                           const std::string& more = {}) {
  static int number = 0;
  Json event{{"specversion", "1.0"}, {"id", "p" + std::to_string(++number)},
             {"source", "test"},     {"type", type},
             {"data", data},         {"time", rfc3339(time_ns)}};
  if (!more.empty()) event["traceparent"] = "00-" + more + "-00f067aa0ba902b7-01";
  return event.dump() + "\n";
}

struct Made {
  int number;
  std::int64_t open_ns;
  std::int64_t close_ns;
  double pnl;
  bool is_long;
};

// Trades of random times and results, each with a decision of three models.
inline std::vector<Made> make_trades(int count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Made> out;
  for (int i = 0; i < count; ++i) {
    const auto open = kStart + static_cast<std::int64_t>(random() % (5 * kDay));
    const auto held = static_cast<std::int64_t>(random() % (6 * kHour)) + kSecond;
    const double pnl = static_cast<double>(static_cast<int>(random() % 2001) - 1000) / 64.0;
    out.push_back({i, open, open + held, pnl, random() % 2 == 0});
  }
  return out;
}

inline std::vector<std::string> lines_of(const std::vector<Made>& trades) {
  std::vector<std::string> out;
  for (const Made& made : trades) {
    const std::string id = std::to_string(made.number);
    Json data{{"trade_id", "t" + id},
              {"decision_id", "d" + id},
              {"symbol", made.number % 3 == 0 ? "ETH" : "BTC"},
              {"side", made.is_long ? "buy" : "sell"},
              {"quantity", 1},
              {"price", 100},
              {"status", "open"},
              {"stop_loss", made.is_long ? 98 : 102}};
    out.push_back(line_of("ephor.trade", made.open_ns, data, std::string(31, '0') + "7"));
    data["status"] = "closed";
    data["pnl"] = made.pnl;
    data["close_price"] = made.is_long ? 100 + made.pnl : 100 - made.pnl;
    data.erase("stop_loss");
    out.push_back(line_of("ephor.trade", made.close_ns, data));
    out.push_back(line_of("ephor.ensemble_decision", made.open_ns,
                          {{"decision_id", "d" + id},
                           {"ensemble_id", "e"},
                           {"final_decision", made.is_long ? "buy" : "sell"},
                           {"primary_confidence", 0.75},
                           {"individual_predictions",
                            {{"bull", {{"prediction", "buy"}, {"confidence", 0.6}}},
                             {"bear", {{"prediction", "sell"}, {"confidence", 0.7}}},
                             {"calm", {{"prediction", "hold"}}}}},
                           {"ensemble_weights", {{"bull", 0.5}, {"bear", 0.3}, {"calm", 0.2}}},
                           {"regime", made.number % 2 == 0 ? "up" : "down"}}));
    out.push_back(line_of("ephor.decision_path", made.open_ns,
                          {{"decision_id", "d" + id}, {"decision_steps", {"a", "b"}}}));
  }
  return out;
}

inline std::string period_query(std::int64_t from, std::int64_t to) {
  return "from=" + rfc3339(from) + "&to=" + rfc3339(to);
}

}  // namespace ephor::testing
