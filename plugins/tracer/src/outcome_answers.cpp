// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <ephor/times.hpp>
#include <ephor/wilson.hpp>
#include <map>

#include "outcome_analysis.hpp"
#include "rank_statistics.hpp"
#include "trace_store.hpp"

namespace ephor::tracer {
namespace {

constexpr double kRateOfFalseDiscoveries = 0.05;
constexpr std::size_t kExamplesMax = 3;

struct Point {
  double latency_ms = 0.0;
  const TraceOutcome* outcome = nullptr;
};

struct Selection {
  std::vector<const TraceOutcome*> trades;   // closed, of the period
  std::vector<const TraceOutcome*> returns;  // realised returns
  std::uint64_t without_pnl = 0;
  std::uint64_t without_trace = 0;
  std::uint64_t not_closed = 0;
};

Selection select(const OutcomeAnalysis& outcomes, const OutcomeQuestion& question) {
  Selection out;
  outcomes.for_each([&](const TraceOutcome& outcome) {
    if (question.from_ns && outcome.time_ns < *question.from_ns) return;
    if (question.to_ns && outcome.time_ns >= *question.to_ns) return;
    if (outcome.trade_id.empty()) {
      if (outcome.trace) out.returns.push_back(&outcome);
      return;
    }
    if (!outcome.is_closed) {
      ++out.not_closed;
      return;
    }
    if (!outcome.trace) {
      ++out.without_trace;
      return;
    }
    if (!outcome.pnl) ++out.without_pnl;
    out.trades.push_back(&outcome);
  });
  return out;
}

// What is looked at: the whole trace, and each component that is in one of the traces.
struct Subject {
  Json name;  // null: the whole trace
  std::optional<std::uint32_t> component;
};

std::vector<Subject> subjects_of(const Selection& selection, const ComponentNames& components,
                                 const OutcomeQuestion& question) {
  std::map<std::string, std::uint32_t> by_name;
  for (const auto* list : {&selection.trades, &selection.returns}) {
    for (const TraceOutcome* outcome : *list) {
      for (const auto& [component, self_ns] : outcome->trace->components) {
        by_name[components.at(component)] = component;
      }
    }
  }
  std::vector<Subject> out;
  if (question.component.empty()) out.push_back({nullptr, std::nullopt});
  for (const auto& [name, component] : by_name) {
    if (question.component.empty() || question.component == name) out.push_back({name, component});
  }
  return out;
}

// Empty where the component took no part.
std::optional<double> latency_ms(const TraceLatency& trace, const Subject& subject) {
  if (!subject.component) return to_milliseconds(trace.total_ns);
  for (const auto& [component, self_ns] : trace.components) {
    if (component == *subject.component) return to_milliseconds(self_ns);
  }
  return std::nullopt;
}

std::vector<Point> points_of(const std::vector<const TraceOutcome*>& outcomes,
                             const Subject& subject) {
  std::vector<Point> out;
  for (const TraceOutcome* outcome : outcomes) {
    if (const auto ms = latency_ms(*outcome->trace, subject)) out.push_back({*ms, outcome});
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Point& a, const Point& b) { return a.latency_ms < b.latency_ms; });
  return out;
}

Json example_json(const TraceOutcome& outcome) {
  return {{"trade_id", outcome.trade_id.empty() ? Json() : Json(outcome.trade_id)},
          {"trace_id", hex_of(outcome.trace->trace_id)},
          {"time", format_time(outcome.time_ns)},
          {"pnl", number_or_null(outcome.pnl)}};
}

Json bucket_json(std::span<const Point> points) {
  std::uint64_t won = 0;
  std::uint64_t lost = 0;
  std::uint64_t with_pnl = 0;
  std::uint64_t with_slippage = 0;
  double pnl = 0.0;
  double slippage = 0.0;
  std::vector<const TraceOutcome*> worst;
  for (const Point& point : points) {
    if (point.outcome->slippage) {
      ++with_slippage;
      slippage += *point.outcome->slippage;
    }
    if (!point.outcome->pnl) continue;
    ++with_pnl;
    pnl += *point.outcome->pnl;
    won += *point.outcome->pnl > 0.0 ? 1 : 0;
    lost += *point.outcome->pnl < 0.0 ? 1 : 0;
    worst.push_back(point.outcome);
  }
  std::stable_sort(worst.begin(), worst.end(),
                   [](const auto* a, const auto* b) { return *a->pnl < *b->pnl; });
  Json examples = Json::array();
  for (std::size_t i = 0; i < std::min(worst.size(), kExamplesMax); ++i) {
    examples.push_back(example_json(*worst[i]));
  }
  const auto interval = wilson_95(won, won + lost);
  return {
      {"from_ms", points.empty() ? Json() : Json(points.front().latency_ms)},
      {"to_ms", points.empty() ? Json() : Json(points.back().latency_ms)},
      {"trades", points.size()},
      {"trades_with_pnl", with_pnl},
      {"pnl", with_pnl == 0 ? Json() : Json(pnl)},
      {"pnl_mean", with_pnl == 0 ? Json() : Json(pnl / static_cast<double>(with_pnl))},
      {"won", won},
      {"lost", lost},
      {"win_rate",
       won + lost == 0 ? Json() : Json(static_cast<double>(won) / static_cast<double>(won + lost))},
      {"win_rate_wilson_95", interval ? Json::array({interval->low, interval->high}) : Json()},
      {"slippage_mean",
       with_slippage == 0 ? Json() : Json(slippage / static_cast<double>(with_slippage))},
      {"worst", std::move(examples)}};
}

// Where each bucket begins in the sorted points; as even as ties allow, which stay together.
std::vector<std::size_t> cuts_of(const std::vector<Point>& points,
                                 const OutcomeQuestion& question) {
  std::vector<std::size_t> cuts{0};
  if (!question.edges_ms.empty()) {
    for (const double edge : question.edges_ms) {
      std::size_t at = cuts.back();
      while (at < points.size() && points[at].latency_ms < edge) ++at;
      cuts.push_back(at);
    }
  } else {
    for (std::size_t bucket = 1; bucket < question.buckets; ++bucket) {
      std::size_t at = points.size() * bucket / question.buckets;
      while (at > 0 && at < points.size() && points[at].latency_ms == points[at - 1].latency_ms) {
        ++at;
      }
      if (at > cuts.back() && at < points.size()) cuts.push_back(at);
    }
  }
  cuts.push_back(points.size());
  return cuts;
}

Json over_json(const OutcomeAnalysis& outcomes, const Selection& selection,
               const OutcomeQuestion& question) {
  return {{"from", time_or_null(question.from_ns)},
          {"to", time_or_null(question.to_ns)},
          {"trades", selection.trades.size()},
          {"trades_without_pnl", selection.without_pnl},
          {"trades_without_trace", selection.without_trace},
          {"trades_not_closed", selection.not_closed},
          {"traces_with_return", selection.returns.size()},
          {"outcomes_forgotten", outcomes.forgotten()},
          {"latency", "trace: duration of the root; component: self time of its spans"},
          {"pnl_from", "the field pnl of the trade's closing event"}};
}

}  // namespace

Json pnl_by_latency_json(const OutcomeAnalysis& outcomes, const ComponentNames& components,
                         const OutcomeQuestion& question) {
  const Selection selection = select(outcomes, question);
  Json rows = Json::array();
  for (const Subject& subject : subjects_of(selection, components, question)) {
    const std::vector<Point> points = points_of(selection.trades, subject);
    if (points.empty()) continue;
    const std::vector<std::size_t> cuts = cuts_of(points, question);
    Json buckets = Json::array();
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      Json bucket = bucket_json(std::span(points).subspan(cuts[i], cuts[i + 1] - cuts[i]));
      if (!question.edges_ms.empty()) {
        bucket["from_ms"] = i == 0 ? Json(0.0) : Json(question.edges_ms[i - 1]);
        bucket["to_ms"] = i < question.edges_ms.size() ? Json(question.edges_ms[i]) : Json();
      }
      buckets.push_back(std::move(bucket));
    }
    rows.push_back({{"component", subject.name}, {"buckets", std::move(buckets)}});
  }
  const bool has_data = !rows.empty();
  return {{"over", over_json(outcomes, selection, question)},
          {"latencies", std::move(rows)},
          {"reason", has_data ? Json()
                              : Json("no data: no closed trade is joined to a trace by trace, "
                                     "correlation, decision, execution, order or trade id")}};
}

Json performance_correlation_json(const OutcomeAnalysis& outcomes, const ComponentNames& components,
                                  const OutcomeQuestion& question) {
  struct Measure {
    const char* name;
    bool is_of_trades;
    std::optional<double> (*of)(const TraceOutcome&);
  };
  static constexpr Measure kMeasures[] = {
      {"pnl", true, [](const TraceOutcome& one) { return one.pnl; }},
      {"won", true,
       [](const TraceOutcome& one) -> std::optional<double> {
         if (!one.pnl || *one.pnl == 0.0) return std::nullopt;
         return *one.pnl > 0.0 ? 1.0 : 0.0;
       }},
      {"slippage", true, [](const TraceOutcome& one) { return one.slippage; }},
      {"realized_return", false, [](const TraceOutcome& one) { return one.realized_return(); }}};
  const Selection selection = select(outcomes, question);
  Json rows = Json::array();
  std::vector<double> p;
  std::vector<std::size_t> row_of;
  for (const Measure& measure : kMeasures) {
    const auto& from = measure.is_of_trades ? selection.trades : selection.returns;
    for (const Subject& subject : subjects_of(selection, components, question)) {
      std::vector<double> x;
      std::vector<double> y;
      std::vector<const TraceOutcome*> used;
      for (const TraceOutcome* outcome : from) {
        const auto ms = latency_ms(*outcome->trace, subject);
        const auto value = measure.of(*outcome);
        if (!ms || !value || !std::isfinite(*value)) continue;
        x.push_back(*ms);
        y.push_back(*value);
        used.push_back(outcome);
      }
      if (x.empty()) continue;
      Json row{{"component", subject.name},
               {"outcome", measure.name},
               {"n", x.size()},
               {"spearman", nullptr},
               {"interval_95", nullptr},
               {"p", nullptr},
               {"false_discovery_rate", nullptr},
               {"is_significant", nullptr},
               {"reason", nullptr},
               {"slowest", Json::array()}};
      std::vector<std::size_t> order(x.size());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
      std::stable_sort(order.begin(), order.end(),
                       [&](std::size_t a, std::size_t b) { return x[a] > x[b]; });
      for (std::size_t i = 0; i < std::min(order.size(), kExamplesMax); ++i) {
        row["slowest"].push_back(example_json(*used[order[i]]));
      }
      if (const auto found = spearman(x, y)) {
        row["spearman"] = found->rho;
        row["interval_95"] = Json::array({found->low, found->high});
        row["p"] = found->p;
        row_of.push_back(rows.size());
        p.push_back(found->p);
      } else {
        row["reason"] = x.size() < kCorrelationMin
                            ? "found " + std::to_string(x.size()) + " pairs, expected at least " +
                                  std::to_string(kCorrelationMin)
                            : std::string("latency or outcome is the same in all of them");
      }
      rows.push_back(std::move(row));
    }
  }
  const std::vector<double> rates = false_discovery_rates(p);
  for (std::size_t i = 0; i < rates.size(); ++i) {
    rows[row_of[i]]["false_discovery_rate"] = rates[i];
    rows[row_of[i]]["is_significant"] = rates[i] <= kRateOfFalseDiscoveries;
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Json& a, const Json& b) {
    const double left = a["p"].is_null() ? 2.0 : a["p"].get<double>();
    const double right = b["p"].is_null() ? 2.0 : b["p"].get<double>();
    return left < right;
  });
  Json over = over_json(outcomes, selection, question);
  over["comparisons"] = p.size();
  over["false_discovery_rate_max"] = kRateOfFalseDiscoveries;
  over["method"] =
      "Spearman's rank correlation, interval of Bonett and Wright, false discovery rate of "
      "Benjamini and Hochberg over all rows";
  const bool has_data = !rows.empty();
  return {{"over", std::move(over)},
          {"correlations", std::move(rows)},
          {"reason", has_data ? Json()
                              : Json("no data: no outcome is joined to a trace by trace, "
                                     "correlation, decision, execution, order or trade id")}};
}

}  // namespace ephor::tracer
