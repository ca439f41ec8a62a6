// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "comparison.hpp"
#include "outcome_analysis.hpp"
#include "rank_statistics.hpp"
#include "support/catch.hpp"

using namespace ephor::tracer;
using ephor::Json;

namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::uint64_t kTrace = 0xABCDEF;

// Component 0 is the root with 10 ms of its own, component 1 took `slow_ms`.
std::vector<FinishedSpan> trace_of(std::int64_t slow_ms, std::uint64_t correlation,
                                   std::uint8_t number = 1) {
  std::vector<FinishedSpan> spans(2);
  spans[0].total_ns = (10 + slow_ms) * kMs;
  spans[0].end_ns = spans[0].total_ns;
  spans[0].self_ns = 10 * kMs;
  spans[0].time_ns = 1'000'000;
  spans[1] = spans[0];
  spans[1].component = 1;
  spans[1].self_ns = spans[1].total_ns = slow_ms * kMs;
  for (FinishedSpan& span : spans) {
    span.correlation = correlation;
    span.trace_id[0] = number;
  }
  return spans;
}

const ComponentNames kNames{"ares", "tactician"};

Json find(const Json& rows, const Json& component, const std::string& outcome) {
  for (const Json& row : rows) {
    if (row["component"] == component && row["outcome"] == outcome) return row;
  }
  return {};
}

template <typename Thing>
std::string state_of(const Thing& thing) {
  std::string out;
  ephor::StateWriter writer(out);
  thing.write(writer);
  return out;
}

}  // namespace

TEST_CASE("outcomes: a trade finds its trace along every id, in every order of events",
          "[unit][tracing]") {
  // The trace knows its correlation id and, by a span's attribute, a decision; the execution knows
  // the decision and the order; the trade knows one of them.
  struct Way {
    const char* name;
    JoinKeys trade;
  };
  const std::vector<Way> ways{
      {"trace", {kTrace, 0, {}, {}, {}, "t"}}, {"correlation", {0, 77, {}, {}, {}, "t"}},
      {"decision", {0, 0, "d", {}, {}, "t"}},  {"execution", {0, 0, {}, "e", {}, "t"}},
      {"order", {0, 0, {}, {}, "o", "t"}},     {"trade", {0, 0, {}, {}, {}, "t"}}};
  for (const Way& way : ways) {
    for (const bool is_restarted : {false, true}) {
      std::vector<std::function<void(OutcomeAnalysis&)>> events{
          [](OutcomeAnalysis& to) { to.add_trace(kTrace, trace_of(5, 77), 0); },
          [](OutcomeAnalysis& to) {
            to.add_link({kTrace, 0, "d", {}, {}, {}});
          },
          [](OutcomeAnalysis& to) {
            to.add_link({kTrace, 0, "d", "e", "o", "t"});
          },
          [&](OutcomeAnalysis& to) { to.add_trade(way.trade, true, 1.5, 0.1, 5); }};
      std::vector<int> order{0, 1, 2, 3};
      do {
        auto outcomes = std::make_unique<OutcomeAnalysis>(100);
        for (const int at : order) {
          events[static_cast<std::size_t>(at)](*outcomes);
          if (!is_restarted) continue;
          const std::string state = state_of(*outcomes);
          outcomes = std::make_unique<OutcomeAnalysis>(100);
          REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { outcomes->read(in); }));
        }
        int seen = 0;
        outcomes->for_each([&](const TraceOutcome& outcome) {
          ++seen;
          INFO(way.name);
          REQUIRE(outcome.trace);
          REQUIRE(outcome.trace->total_ns == 15 * kMs);
          REQUIRE(outcome.pnl == 1.5);
        });
        REQUIRE(seen == 1);
      } while (std::next_permutation(order.begin(), order.end()));
    }
  }
}

TEST_CASE("outcomes: the close counts, and the later close", "[unit][tracing]") {
  OutcomeAnalysis outcomes(10);
  const JoinKeys keys{kTrace, 0, {}, {}, {}, "t"};
  outcomes.add_trade(keys, true, 3.0, std::nullopt, 50);
  outcomes.add_trade(keys, false, std::nullopt, 0.25, 60);  // the opening, late
  outcomes.add_trade(keys, true, 4.0, std::nullopt, 70);
  outcomes.add_trade(keys, true, 9.0, std::nullopt, 65);
  outcomes.for_each([&](const TraceOutcome& outcome) {
    REQUIRE(outcome.is_closed);
    REQUIRE(outcome.pnl == 4.0);
    REQUIRE(outcome.slippage == 0.25);
    REQUIRE(outcome.time_ns == 70);
  });
}

TEST_CASE("outcomes: bounded, and what was forgotten is counted", "[unit][tracing]") {
  OutcomeAnalysis outcomes(10);
  for (std::uint64_t i = 1; i <= 25; ++i) {
    const std::string id = "t" + std::to_string(i);
    outcomes.add_trace(i, trace_of(1, i), 0);
    outcomes.add_trade({i, 0, {}, {}, {}, id}, true, 1.0, {}, 5);
  }
  REQUIRE(outcomes.size() == 10);
  REQUIRE(outcomes.forgotten() == 15);
  REQUIRE(outcomes.traces_kept() == 10);
}

TEST_CASE("outcomes: P&L by latency, against sums over the trades", "[unit][tracing]") {
  std::mt19937_64 random(1);
  OutcomeAnalysis outcomes(1000);
  struct Made {
    double ms;
    double pnl;
    double slippage;
  };
  std::vector<Made> made;
  for (std::uint64_t i = 1; i <= 200; ++i) {
    const auto slow_ms = static_cast<std::int64_t>(1 + random() % 90);
    const double pnl = static_cast<double>(random() % 200) - 100.0;
    made.push_back({static_cast<double>(slow_ms), pnl, static_cast<double>(random() % 9)});
    const std::string id = "t" + std::to_string(i);
    outcomes.add_trace(i, trace_of(slow_ms, 0), 0);
    outcomes.add_trade({i, 0, {}, {}, {}, id}, true, pnl, made.back().slippage,
                       static_cast<std::int64_t>(i));
  }
  outcomes.add_trade({999, 0, {}, {}, {}, "alone"}, true, 1.0, {}, 5);
  OutcomeQuestion question;
  question.edges_ms = {20, 50};
  const Json answer = pnl_by_latency_json(outcomes, kNames, question);
  REQUIRE(answer["over"]["trades"] == 200);
  REQUIRE(answer["over"]["trades_without_trace"] == 1);
  REQUIRE(answer["reason"].is_null());
  REQUIRE(answer["latencies"].size() == 3);  // the trace, ares, tactician
  for (const Json& row : answer["latencies"]) {
    if (row["component"] != "tactician" && !row["component"].is_null()) continue;
    const double shift = row["component"].is_null() ? 10.0 : 0.0;
    const double edges[] = {0, 20, 50, 1e9};
    for (std::size_t b = 0; b < 3; ++b) {
      int trades = 0;
      int won = 0;
      int lost = 0;
      double pnl = 0;
      double slippage = 0;
      for (const Made& one : made) {
        if (one.ms + shift < edges[b] || one.ms + shift >= edges[b + 1]) continue;
        ++trades;
        won += one.pnl > 0 ? 1 : 0;
        lost += one.pnl < 0 ? 1 : 0;
        pnl += one.pnl;
        slippage += one.slippage;
      }
      const Json& bucket = row["buckets"][b];
      REQUIRE(bucket["trades"] == trades);
      REQUIRE(bucket["won"] == won);
      REQUIRE(bucket["lost"] == lost);
      REQUIRE(bucket["pnl"].get<double>() == Approx(pnl));
      REQUIRE(bucket["slippage_mean"].get<double>() == Approx(slippage / trades));
      REQUIRE(bucket["worst"][0]["trace_id"].is_string());
    }
  }
  question.edges_ms.clear();
  question.buckets = 4;
  std::size_t all = 0;
  const Json quartiles = pnl_by_latency_json(outcomes, kNames, question);
  for (const Json& bucket : quartiles["latencies"][0]["buckets"]) {
    all += bucket["trades"].get<std::size_t>();
  }
  REQUIRE(all == 200);
  OutcomeAnalysis empty(10);
  REQUIRE(pnl_by_latency_json(empty, kNames, question)["reason"].is_string());
  REQUIRE(performance_correlation_json(empty, kNames, question)["reason"].is_string());
}

TEST_CASE("outcomes: the component whose latency costs money is found, the other is not",
          "[unit][tracing]") {
  std::mt19937_64 random(2);
  OutcomeAnalysis outcomes(1000);
  std::vector<double> x;
  std::vector<double> y;
  std::normal_distribution<double> noise(0.0, 20.0);
  for (std::uint64_t i = 1; i <= 150; ++i) {
    const auto slow_ms = static_cast<std::int64_t>(1 + random() % 90);
    auto trace = trace_of(slow_ms, 0);
    trace[0].self_ns = static_cast<std::int64_t>(1 + random() % 30) * kMs;  // says nothing
    x.push_back(static_cast<double>(slow_ms));
    y.push_back(-static_cast<double>(slow_ms) + noise(random));
    const std::string id = "t" + std::to_string(i);
    outcomes.add_trace(i, trace, 0);
    outcomes.add_trade({i, 0, {}, {}, {}, id}, true, y.back(), {}, 5);
    outcomes.add_return({i, 0, {}, {}, {}, {}}, noise(random), 6);
  }
  const Json answer = performance_correlation_json(outcomes, kNames, {});
  const Json found = find(answer["correlations"], "tactician", "pnl");
  REQUIRE(found["n"] == 150);
  REQUIRE(found["spearman"].get<double>() == Approx(spearman(x, y)->rho));
  REQUIRE(found["spearman"].get<double>() < -0.5);
  REQUIRE(found["interval_95"][1].get<double>() < 0.0);
  REQUIRE(found["is_significant"] == true);
  REQUIRE(find(answer["correlations"], "ares", "pnl")["is_significant"] == false);
  REQUIRE(find(answer["correlations"], "tactician", "realized_return")["is_significant"] == false);
  REQUIRE(find(answer["correlations"], "tactician", "slippage").is_null());  // no trade tells one
  REQUIRE(answer["over"]["comparisons"] == 9);  // pnl, won, return; trace, ares, tactician
  // Few pairs say so.
  OutcomeAnalysis few(10);
  few.add_trace(1, trace_of(3, 0), 0);
  few.add_trade({1, 0, {}, {}, {}, "t"}, true, 1.0, {}, 5);
  const Json row = performance_correlation_json(few, kNames, {})["correlations"][0];
  REQUIRE(row["n"] == 1);
  REQUIRE(row["spearman"].is_null());
  REQUIRE(row["reason"] == "found 1 pairs, expected at least 10");
}

namespace {

ComparedSpan compared(const std::string& id, const std::string& parent,
                      const std::string& component, std::int64_t start_ms, std::int64_t end_ms) {
  ComparedSpan out;
  out.span.span_id = id;
  out.span.parent_span_id = parent;
  out.span.component = component;
  out.span.operation = "handle";
  out.span.status = "ok";
  out.span.start_ns = start_ms * kMs;
  out.span.end_ns = end_ms * kMs;
  return out;
}

}  // namespace

TEST_CASE("comparison: what makes traces slow is told first, chance is not called a difference",
          "[unit][tracing]") {
  std::mt19937_64 random(3);
  std::vector<ComparedTrace> traces;
  std::vector<std::size_t> slow_with_venue;
  double database_ms[2] = {};
  double weights[2] = {};
  double venue_weight[2] = {};
  std::uint64_t hits[2] = {};
  std::uint64_t counts[2] = {};
  for (int i = 0; i < 120; ++i) {
    const bool is_slow = i % 3 == 0;
    const bool is_kraken = random() % 10 < (is_slow ? 9 : 2);
    const auto database = static_cast<std::int64_t>((is_slow ? 60 : 5) + random() % 5);
    ComparedTrace trace;
    trace.trace_id = std::to_string(i);
    trace.weight = 1.0 + static_cast<double>(random() % 4);
    ComparedSpan root = compared("r", "", "ares", 0, 20 + database + 10);
    root.texts["symbol"] = random() % 2 == 0 ? "BTC" : "ETH";
    ComparedSpan target = compared("t", "r", "tactician", 5, 15 + database);
    target.texts["venue"] = is_kraken ? "kraken" : "binance";
    target.texts["request"] = "id" + std::to_string(i);
    target.texts["same"] = "everywhere";
    target.numbers["size"] = static_cast<double>(random() % 100);
    trace.spans = {root, target, compared("d", "t", "database", 6, 6 + database)};
    traces.push_back(trace);
    const std::size_t side = is_slow ? 0 : 1;
    database_ms[side] += static_cast<double>(database) * trace.weight;
    weights[side] += trace.weight;
    venue_weight[side] += is_kraken ? trace.weight : 0.0;
    hits[side] += is_kraken ? 1 : 0;
    ++counts[side];
  }
  ComparisonQuestion question;
  question.component = "tactician";
  question.operation = "handle";
  question.threshold_ns = 40.0 * kMs;
  const Json answer = compare_json(traces, question);
  REQUIRE(answer["slow"]["traces_read"] == 40);
  REQUIRE(answer["rest"]["traces_read"] == 80);
  REQUIRE(answer["slow"]["traces"].get<double>() == Approx(weights[0]));
  const auto row_of = [&](const std::string& kind, const std::string& name, const Json& value) {
    for (const Json& row : answer["differences"]) {
      if (row["kind"] == kind && row["name"] == name && row["value"] == value) return row;
    }
    return Json();
  };
  const Json venue = row_of("attribute", "venue", "kraken");
  REQUIRE(venue["slow"].get<double>() == Approx(venue_weight[0] / weights[0]));
  REQUIRE(venue["rest"].get<double>() == Approx(venue_weight[1] / weights[1]));
  REQUIRE(venue["p"].get<double>() ==
          Approx(fisher_exact_p(hits[0], counts[0], hits[1], counts[1])));
  REQUIRE(venue["is_significant"] == true);
  const Json database = row_of("operation_self_ms", "database/handle", nullptr);
  REQUIRE(database["slow"].get<double>() == Approx(database_ms[0] / weights[0]));
  REQUIRE(database["rest"].get<double>() == Approx(database_ms[1] / weights[1]));
  REQUIRE(database["is_significant"] == true);
  REQUIRE(row_of("root_attribute", "symbol", "BTC")["is_significant"] == false);
  REQUIRE(row_of("attribute", "size", nullptr)["is_significant"] == false);
  REQUIRE(row_of("attribute", "same", "everywhere").is_null());
  REQUIRE(answer["left_out"].size() == 1);  // the request's id
  REQUIRE(answer["differences"][0]["is_significant"] == true);
  // The tactician itself does the same in both.
  REQUIRE(row_of("operation_self_ms", "tactician/handle", nullptr).is_null());
}

TEST_CASE("comparison: false alarms stay within their rate where nothing differs",
          "[unit][tracing]") {
  std::mt19937_64 random(4);
  int with_any = 0;
  constexpr int kRounds = 200;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<ComparedTrace> traces;
    for (int i = 0; i < 60; ++i) {
      ComparedTrace trace;
      trace.trace_id = std::to_string(i);
      ComparedSpan target = compared("t", "", "a", 0, i < 20 ? 50 : 10);
      for (int k = 0; k < 8; ++k) {
        target.texts["text" + std::to_string(k)] = std::to_string(random() % 4);
        target.numbers["number" + std::to_string(k)] = static_cast<double>(random() % 1000);
      }
      // What it spends itself differs, so it spends it in a child of no interest.
      trace.spans = {target};
      traces.push_back(std::move(trace));
    }
    ComparisonQuestion question;
    question.component = "a";
    question.operation = "handle";
    question.threshold_ns = 20.0 * kMs;
    bool has_any = false;
    const Json compared = compare_json(traces, question);
    for (const Json& row : compared["differences"]) {
      const bool is_attribute = row["kind"] == "attribute";
      has_any = has_any || (is_attribute && row["is_significant"] == true);
    }
    with_any += has_any ? 1 : 0;
  }
  // With the two true differences (self time of the operation and of its component) found too, the
  // rate for the others is a little above 5 %; 2 of 42 hypotheses true and 4 standard errors.
  REQUIRE(with_any < kRounds * 0.22);
}

TEST_CASE("comparison: too few traces say so", "[unit][tracing]") {
  ComparedTrace one;
  one.spans = {compared("t", "", "a", 0, 50)};
  const Json answer = compare_json({one, one}, {"a", "handle", 20.0 * kMs, 50});
  REQUIRE(answer["reason"] == "found 2 slow and 0 other traces, expected at least 5 of each");
  REQUIRE(answer["differences"].empty());
}
