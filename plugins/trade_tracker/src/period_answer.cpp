// SPDX-License-Identifier: Apache-2.0
#include "period_answer.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ephor/times.hpp>
#include <ephor/wilson.hpp>
#include <map>
#include <utility>
#include <vector>

#include "answers.hpp"
#include "statistics.hpp"

namespace ephor::trade_tracker {
namespace {

// Null with a reason, once for each name.
class Reasons {
 public:
  explicit Reasons(Json& out) : out_(out) {}
  Json value(std::string_view name, const std::optional<double>& found, std::string_view why_not) {
    if (found && std::isfinite(*found)) return *found;
    tell(name, why_not);
    return nullptr;
  }
  void tell(std::string_view name, std::string_view why) {
    out_["reasons"][std::string(name)] = why;
  }

 private:
  Json& out_;
};

Json extreme_json(const std::optional<Extreme>& extreme, bool is_wanted) {
  if (!extreme || !is_wanted) return nullptr;
  return {{"pnl", extreme->pnl}, {"trade_id", extreme->trade_id}};
}

void add_ratios(Json& out, Reasons& reasons, const TradeGroup& all, const Analysis& analysis) {
  const auto rate = win_rate(all);
  std::optional<double> average_win;
  std::optional<double> average_loss;
  std::optional<double> payoff;
  std::optional<double> ratio;
  if (all.won > 0) average_win = all.gross_profit.value() / static_cast<double>(all.won);
  if (all.lost > 0) average_loss = all.gross_loss.value() / static_cast<double>(all.lost);
  if (average_win && average_loss) payoff = *average_win / -*average_loss;
  if (rate && payoff) ratio = (1.0 + *payoff) * *rate - 1.0;
  out["average_win"] = reasons.value("average_win", average_win, "no trade was won");
  out["average_loss"] = reasons.value("average_loss", average_loss, "no trade was lost");
  out["payoff"] = reasons.value("payoff", payoff, "needs a won and a lost trade");
  out["expectancy_ratio"] =
      reasons.value("expectancy_ratio", ratio, "needs a won and a lost trade");
  out["kelly"] = reasons.value("kelly", kelly_share(rate, payoff), "needs a won and a lost trade");
  out["sqn"] = reasons.value("sqn", sqn_of(analysis.pnls),
                             analysis.pnls.size() < 2 ? "fewer than 2 closed trades with a P&L"
                                                      : "all closed trades have the same P&L");
  const auto no_trades = "no closed trade with a P&L";
  if (!rate) reasons.tell("win_rate", all.closed_with_pnl() == 0 ? no_trades : "all were even");
  if (!profit_factor(all)) {
    reasons.tell("profit_factor", all.closed_with_pnl() == 0 ? no_trades : "no trade was lost");
  }
  if (!expectancy(all)) reasons.tell("expectancy", no_trades);
  out["largest_win"] = extreme_json(analysis.best, all.won > 0);
  out["largest_loss"] = extreme_json(analysis.worst, all.lost > 0);
  out["streaks"] = {{"longest_won", analysis.longest_won},
                    {"longest_lost", analysis.longest_lost},
                    {"current", analysis.current_run}};
  out["r_multiple"] = {
      {"trades", analysis.r_multiples.size()},
      {"mean", reasons.value("r_multiple", mean_of(analysis.r_multiples),
                             "no closed trade with a P&L, a price, a quantity and a stop")},
      {"median", number_or_null(median_of(analysis.r_multiples))}};
}

Json holding_json(const std::optional<HoldingTimes>& holding) {
  if (!holding) return nullptr;
  return {{"trades", holding->count},
          {"mean_s", holding->mean_s},
          {"median_s", holding->median_s},
          {"min_s", holding->least_s},
          {"max_s", holding->most_s}};
}

Json exposure_json(const std::optional<Exposure>& exposure, const std::optional<double>& equity) {
  if (!exposure) return nullptr;
  const bool has_size = exposure->trades > exposure->trades_without_size;
  const auto of_equity = [&](double notional) {
    return equity && *equity > 0.0 && has_size ? number_or_null(notional / *equity) : Json();
  };
  return {{"from", format_time(exposure->from_ns)},
          {"to", format_time(exposure->to_ns)},
          {"time_share", exposure->open_share},
          {"long_time_share", exposure->long_share},
          {"short_time_share", exposure->short_share},
          {"gross_mean", has_size ? Json(exposure->gross_mean) : Json()},
          {"net_mean", has_size ? Json(exposure->net_mean) : Json()},
          {"gross_max", has_size ? Json(exposure->gross_most) : Json()},
          {"gross_mean_of_equity", of_equity(exposure->gross_mean)},
          {"gross_max_of_equity", of_equity(exposure->gross_most)},
          {"positions_max", exposure->positions_most},
          {"trades", exposure->trades},
          {"trades_without_size", exposure->trades_without_size}};
}

Json drawdown_json(const std::optional<DrawdownStory>& story,
                   const std::optional<double>& equity_first) {
  if (!story) return nullptr;
  const auto time = [](std::int64_t ns) { return ns == 0 ? Json() : Json(format_time(ns)); };
  const bool is_any = story->amount > 0.0;
  Json fraction;
  if (equity_first && *equity_first + story->peak_pnl > 0.0) {
    fraction = number_or_null(story->amount / (*equity_first + story->peak_pnl));
  }
  return {{"amount", story->amount},
          {"fraction", std::move(fraction)},
          {"peak", is_any ? time(story->peak_ns) : Json()},
          {"trough", is_any ? time(story->trough_ns) : Json()},
          {"recovered", is_any ? time(story->recovered_ns) : Json()},
          {"peak_pnl", is_any ? Json(story->peak_pnl) : Json()}};
}

Json hours_json(const Analysis& analysis) {
  Json out = Json::object();
  for (std::size_t hour = 0; hour < analysis.by_hour.size(); ++hour) {
    if (analysis.by_hour[hour].trades == 0) continue;
    char name[8];
    std::snprintf(name, sizeof name, "%02zu", hour);
    out[name] = group_json(analysis.by_hour[hour]);
  }
  return out;
}

Json models_json(const Analysis& analysis) {
  Json out = Json::object();
  for (const auto& [model, figures] : analysis.by_model) {
    const auto interval = wilson_95(figures.right, figures.calls);
    out[model] = {
        {"agreed", group_json(figures.agreed)},
        {"opposed", group_json(figures.opposed)},
        {"abstained", group_json(figures.abstained)},
        {"calls", figures.calls},
        {"right", figures.right},
        {"right_rate", figures.calls == 0 ? Json()
                                          : Json(static_cast<double>(figures.right) /
                                                 static_cast<double>(figures.calls))},
        {"right_rate_wilson_95", interval ? Json::array({interval->low, interval->high}) : Json()}};
  }
  return out;
}

// The days of the period that equity is known of.
struct DayRange {
  std::int64_t first = 0;
  std::int64_t last = -1;
};

DayRange days_of(const Period& period, std::int64_t first_ns, std::int64_t last_ns) {
  const std::int64_t from_ns = std::max(period.from_ns.value_or(first_ns), first_ns);
  const std::int64_t to_ns = period.to_ns ? std::min(*period.to_ns - 1, last_ns) : last_ns;
  return to_ns < from_ns ? DayRange{} : DayRange{day_of(from_ns), day_of(to_ns)};
}

void add_returns(Json& out, Reasons& reasons, const Analysis& analysis, const EquityBase& base,
                 double periods_per_year) {
  DayRange range;
  std::map<std::int64_t, double> closes;
  double before = 0.0;
  if (base.days != nullptr) {
    range = days_of(base.period, base.days->first()->time_ns, base.days->last()->time_ns);
    for (const auto& [day, summary] : base.days->days()) closes[day] = summary.last.value;
    before = base.days->at_end_before(range.first).value_or(base.days->first()->value);
  } else if (base.equity_first && !analysis.pnl_by_day.empty()) {
    const std::int64_t first_ns = analysis.pnl_by_day.begin()->first * kDayNs;
    range = days_of(base.period, first_ns, std::max(first_ns, base.known_to_ns));
    before = *base.equity_first;
    double equity = before;
    for (const auto& [day, pnl] : analysis.pnl_by_day) closes[day] = equity += pnl;
  }
  std::vector<double> returns;
  if (range.last >= range.first) returns = daily_returns(closes, range.first, range.last, before);
  const ReturnFigures figures = figures_of(returns, periods_per_year);
  std::string why = base.source.empty() ? base.reason
                    : returns.size() < 2
                        ? std::to_string(returns.size()) + " daily returns, at least 2 are needed"
                        : "all daily returns are the same, or equity was not above 0";
  const auto lost_nothing = [&] {
    return returns.size() >= 2 && figures.sharpe ? "no day with a loss" : why.c_str();
  };
  const auto date = [](std::int64_t day) { return format_time(day * kDayNs).substr(0, 10); };
  out["sharpe"] = reasons.value("sharpe", figures.sharpe, why);
  out["sortino"] = reasons.value("sortino", figures.sortino, lost_nothing());
  out["returns"] = {{"source", text_or_null(base.source)},
                    {"frequency", "daily, UTC"},
                    {"periods_per_year", periods_per_year},
                    {"days", returns.size()},
                    {"first_day", returns.empty() ? Json() : Json(date(range.first))},
                    {"last_day", returns.empty() ? Json() : Json(date(range.last))},
                    {"total_return", number_or_null(figures.total)},
                    {"sharpe", number_or_null(figures.sharpe)},
                    {"sortino", number_or_null(figures.sortino)},
                    {"volatility", number_or_null(figures.volatility)},
                    {"cagr", number_or_null(figures.cagr)},
                    {"max_drawdown", number_or_null(figures.max_drawdown)}};
}

Json equity_json(const EquityBase& base, double pnl) {
  Json last;
  Json last_time;
  if (base.days != nullptr) {
    const std::int64_t end = base.period.to_ns ? day_of(*base.period.to_ns) : INT64_MAX;
    const auto& days = base.days->days();
    auto at = end == INT64_MAX ? days.end() : days.lower_bound(end);
    if (at != days.begin()) {
      const EquitySample& sample = (--at)->second.last;
      last = sample.value;
      last_time = format_time(sample.time_ns);
    }
  }
  return {{"source", text_or_null(base.source)},
          {"reason", text_or_null(base.reason)},
          {"realised_first", number_or_null(base.equity_first)},
          {"realised_last", base.equity_first ? Json(*base.equity_first + pnl) : Json()},
          {"told_last", std::move(last)},
          {"told_last_time", std::move(last_time)}};
}

}  // namespace

void add_analysis(Json& out, const Analysis& analysis, const EquityBase& base,
                  double periods_per_year, bool is_part) {
  out["reasons"] = Json::object();
  Reasons reasons(out);
  EquityBase used = base;
  if (is_part) {
    used = {};
    used.period = base.period;
    used.reason = "only some trades of the account are asked for";
  }
  out["opened"] = analysis.opened;
  add_ratios(out, reasons, analysis.all, analysis);
  out["holding"] = holding_json(analysis.holding);
  out["exposure"] = exposure_json(analysis.exposure, used.equity_first);
  out["max_drawdown"] = drawdown_json(analysis.drawdown, used.equity_first);
  if (!used.equity_first) reasons.tell("max_drawdown.fraction", used.reason);
  out["by_hour"] = hours_json(analysis);
  out["by_model"] = models_json(analysis);
  out["closed_without_open_time"] = analysis.without_open_time;
  out["equity"] = equity_json(used, analysis.all.pnl.value());
  add_returns(out, reasons, analysis, used, periods_per_year);
  if (!used.equity_first) return;
  for (Json& point : out["equity_curve"]) {
    point["equity"] = *used.equity_first + point["pnl"].get<double>();
  }
}

}  // namespace ephor::trade_tracker
