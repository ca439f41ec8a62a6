// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "sections.hpp"
#include "statistics.hpp"
#include "text.hpp"

namespace ephor::reporter {
namespace {

constexpr std::size_t kGroupsMost = 12;

// Trades that were won or lost: what the win rate is over.
std::int64_t decided(const Json& figures) {
  return integer(figures, "/won").value_or(0) + integer(figures, "/lost").value_or(0);
}

std::optional<Interval> win_interval(const Json& figures) {
  return wilson(integer(figures, "/won").value_or(0), decided(figures));
}

struct Group {
  std::string name;
  const Json* figures;
};

// The groups of one kind, the most traded first.
std::vector<Group> groups_of(const Json& performance, std::string_view pointer) {
  std::vector<Group> out;
  const Json* groups = find(performance, pointer);
  if (groups == nullptr || !groups->is_object()) return out;
  for (const auto& [name, figures] : groups->items()) {
    if (figures.is_object()) out.push_back({name, &figures});
  }
  std::stable_sort(out.begin(), out.end(), [](const Group& a, const Group& b) {
    return integer(*a.figures, "/closed").value_or(0) > integer(*b.figures, "/closed").value_or(0);
  });
  return out;
}

std::string trades_word(std::int64_t count) {
  return whole(count) + (count == 1 ? " trade" : " trades");
}

std::string headline_lead(const Json& now) {
  const auto pnl = real(now, "/pnl");
  const std::int64_t closed = integer(now, "/closed").value_or(0);
  if (!pnl || closed == 0) return "No trade was closed in this period.";
  std::string out = "Net P&L " + money(*pnl, true) + " over " + trades_word(closed) + " closed";
  const auto interval = win_interval(now);
  if (interval) {
    out += "; " + share(real(now, "/win_rate").value_or(0)) + " won (95\u202F% interval " +
           share(interval->first) + " to " + share(interval->second) + ")";
  }
  return out + ".";
}

Table group_table(const Source& now, const Source& before, const std::string& id,
                  const std::string& title, const std::string& label, std::string_view pointer) {
  Table table;
  table.id = id;
  table.title = title;
  table.columns = {{"group", label, Format::text},
                   {"closed", "Closed", Format::count},
                   {"win_rate", "Won", Format::share},
                   {"win_rate_low", "95\u202F% from", Format::share},
                   {"win_rate_high", "to", Format::share},
                   {"pnl", "P&L", Format::signed_money},
                   {"profit_factor", "Profit factor", Format::number},
                   {"expectancy", "P&L a trade", Format::signed_money},
                   {"pnl_before", "P&L before", Format::signed_money}};
  table.empty = "No closed trades to group.";
  const auto groups = groups_of(now.answer, pointer);
  for (const Group& group : groups) {
    if (table.rows.size() == kGroupsMost) break;
    const auto interval = win_interval(*group.figures);
    const Json* earlier_groups = find(before.answer, pointer);
    const auto earlier = earlier_groups != nullptr && earlier_groups->is_object()
                             ? earlier_groups->find(group.name)
                             : Json::const_iterator();
    const bool has_earlier = earlier_groups != nullptr && earlier_groups->is_object() &&
                             earlier != earlier_groups->end();
    table.rows.push_back(
        {group.name.empty() ? "(none)" : group.name, value(integer(*group.figures, "/closed")),
         value(real(*group.figures, "/win_rate")), interval ? Value(interval->first) : Value(),
         interval ? Value(interval->second) : Value(), value(real(*group.figures, "/pnl")),
         value(real(*group.figures, "/profit_factor")), value(real(*group.figures, "/expectancy")),
         has_earlier ? value(real(*earlier, "/pnl")) : Value()});
  }
  if (groups.size() > table.rows.size())
    table.rows_total = static_cast<std::int64_t>(groups.size());
  return table;
}

BarChart regime_chart(const Source& now) {
  BarChart chart;
  chart.id = "pnl_by_regime";
  chart.title = "P&L by regime";
  chart.subtitle = "realised, account currency";
  chart.format = Format::signed_money;
  chart.empty = "No closed trades to group.";
  for (const Group& group : groups_of(now.answer, "/by_regime")) {
    const auto pnl = real(*group.figures, "/pnl");
    if (!pnl || chart.bars.size() == kGroupsMost) continue;
    chart.bars.push_back({group.name.empty() ? "(none)" : group.name, *pnl,
                          trades_word(integer(*group.figures, "/closed").value_or(0))});
  }
  return chart;
}

Figures shape_figures(const Json& now, const Json& before) {
  Figures block{"shape", {}};
  const auto add = [&](const char* id, const char* label, Format format, std::string_view pointer) {
    const std::string why = text(now, "/reasons/" + std::string(id));
    block.figures.push_back({id, label, format, value(real(now, pointer)), std::nullopt,
                             real(now, pointer) ? "" : why, value(real(before, pointer))});
  };
  add("average_win", "Average win", Format::signed_money, "/average_win");
  add("average_loss", "Average loss", Format::signed_money, "/average_loss");
  add("payoff", "Win to loss", Format::number, "/payoff");
  add("sqn", "System quality (SQN)", Format::number, "/sqn");
  add("holding", "Held, mean", Format::seconds, "/holding/mean_s");
  add("time_share", "Time in the market", Format::share, "/exposure/time_share");
  add("fees", "Fees", Format::money, "/fees");
  add("longest_lost", "Longest losing streak", Format::count, "/streaks/longest_lost");
  return block;
}

// What the trades earned that a model had voted for, and those it had voted against.
Table model_table(const Source& source) {
  Table table;
  table.id = "pnl_by_model";
  table.title = "P&L by the models' votes";
  table.columns = {{"model_id", "Model", Format::id},
                   {"agreed", "Voted for", Format::count},
                   {"agreed_pnl", "P&L of those", Format::signed_money},
                   {"opposed", "Voted against", Format::count},
                   {"opposed_pnl", "P&L of those", Format::signed_money},
                   {"right_rate", "Right", Format::share},
                   {"right_low_95", "95\u202F% from", Format::share},
                   {"right_high_95", "to", Format::share}};
  table.empty = source.note.has_answered ? "No trade's models are known." : no_data_because(source);
  table.note = "Trades are shared: the same trade counts for every model that voted for it.";
  const Json* models = find(source.answer, "/by_model");
  if (models == nullptr || !models->is_object()) return table;
  for (const auto& [name, one] : models->items()) {
    if (table.rows.size() == kGroupsMost) break;
    const auto calls = integer(one, "/calls");
    const auto right = integer(one, "/right");
    const auto interval = calls && right ? wilson(*right, *calls) : std::nullopt;
    table.rows.push_back({name, value(integer(one, "/agreed/closed")),
                          value(real(one, "/agreed/pnl")), value(integer(one, "/opposed/closed")),
                          value(real(one, "/opposed/pnl")), value(real(one, "/right_rate")),
                          interval ? Value(interval->first) : Value(),
                          interval ? Value(interval->second) : Value()});
  }
  table.rows_total = static_cast<std::int64_t>(models->size());
  return table;
}

Table trade_table(const std::vector<Json>& trades, const std::string& id,
                  const std::string& title) {
  Table table;
  table.id = id;
  table.title = title;
  table.columns = {{"trade_id", "Trade", Format::id},        {"close_time", "Closed", Format::time},
                   {"symbol", "Symbol", Format::text},       {"side", "Side", Format::text},
                   {"regime", "Regime", Format::text},       {"held_s", "Held", Format::seconds},
                   {"close_reason", "Reason", Format::text}, {"pnl", "P&L", Format::signed_money}};
  table.empty = "None.";
  const auto word = [](const Json& from, std::string_view pointer) {
    const std::string found = text(from, pointer);
    return found.empty() ? Value() : Value(found);
  };
  for (const Json& trade : trades) {
    const auto open_ns = time(trade, "/open_time");
    const auto close_ns = time(trade, "/close_time");
    table.rows.push_back(
        {word(trade, "/trade_id"), value(close_ns), word(trade, "/symbol"), word(trade, "/side"),
         word(trade, "/regime"),
         open_ns && close_ns ? Value(static_cast<double>(*close_ns - *open_ns) / 1e9) : Value(),
         word(trade, "/close_reason"), value(real(trade, "/pnl"))});
  }
  return table;
}

}  // namespace

std::string no_data_because(const Source& source) {
  return source.note.has_answered ? ""
                                  : "No data: " + source.note.query + " " +
                                        (source.note.error.starts_with("no such query")
                                             ? "is not there."
                                             : "failed: " + source.note.error);
}

void add_period_note(const Source& source, Section& section) {
  if (source.note.is_of_period) return;
  section.blocks.push_back(Note{Severity::low, "Not of this period",
                                source.note.query + " gave figures over all it knows."});
}

std::string period_note(const Source& source, const Window& window) {
  const auto from = time(source.answer, "/over/from");
  const auto to = time(source.answer, "/over/to");
  if (from && to && (*from != window.from_ns || *to != window.to_ns))
    return "Counted from " + moment(window, *from) + " to " + moment(window, *to) + ".";
  constexpr std::int64_t kHourNs = 3'600'000'000'000;
  const std::string basis = text(source.answer, "/over/basis");
  const bool is_whole = window.from_ns % kHourNs == 0 && window.to_ns % kHourNs == 0;
  return basis.empty() || is_whole ? "" : "Counted in " + basis + ".";
}

Section headline_section(const Sources& sources, const Window& window) {
  const Source& source = sources.performance.now;
  const Json& now = source.answer;
  const Json& before = sources.performance.before.answer;
  Section section{"headline", "Result", "", {}};
  section.lead = source.note.has_answered ? headline_lead(now) : no_data_because(source);
  add_period_note(source, section);

  Figures block{"headline", {}};
  const auto add = [&](const char* id, const char* label, Format format, std::string_view pointer,
                       std::string context = {}) -> Figure& {
    block.figures.push_back({id, label, format, value(real(now, pointer)), std::nullopt,
                             std::move(context), value(real(before, pointer))});
    return block.figures.back();
  };
  const auto why_not = [&](const char* name) { return text(now, "/reasons/" + std::string(name)); };
  add("pnl", "Net P&L", Format::signed_money, "/pnl", "realised");
  Figure& win_rate = add("win_rate", "Trades won", Format::share, "/win_rate", why_not("win_rate"));
  win_rate.interval = win_interval(now);
  if (decided(now) > 0) {
    win_rate.context = whole(integer(now, "/won").value_or(0)) + " of " + whole(decided(now));
  }
  add("profit_factor", "Profit factor", Format::number, "/profit_factor", why_not("profit_factor"));
  add("expectancy", "P&L a trade", Format::signed_money, "/expectancy", why_not("expectancy"));
  Figure& drawdown = add("max_drawdown", "Worst drawdown", Format::money, "/max_drawdown/amount");
  if (const auto fraction = real(now, "/max_drawdown/fraction"))
    drawdown.context = share(*fraction) + " of equity";
  if (const auto trough = time(now, "/max_drawdown/trough"))
    drawdown.context +=
        (drawdown.context.empty() ? "lowest " : ", lowest ") + moment(window, *trough);
  Figure& sharpe = add("sharpe", "Sharpe ratio", Format::number, "/sharpe", why_not("sharpe"));
  if (real(now, "/sharpe")) {
    sharpe.context = whole(integer(now, "/returns/days").value_or(0)) + " daily returns, " +
                     whole(integer(now, "/returns/periods_per_year").value_or(0)) + " a year";
  }
  Figure& equity = add("equity", "Equity", Format::money, "/equity/told_last");
  if (!real(now, "/equity/told_last")) {
    equity.value = value(real(now, "/equity/realised_last"));
    equity.before = value(real(before, "/equity/realised_last"));
    equity.context = text(now, "/equity/reason");
  } else if (const auto told = time(now, "/equity/told_last_time")) {
    equity.context = "told " + moment(window, *told);
  }
  add("closed", "Trades closed", Format::count, "/closed",
      whole(integer(now, "/opened").value_or(0)) + " opened");
  if (!integer(now, "/opened")) block.figures.back().context.clear();
  section.blocks.push_back(std::move(block));
  return section;
}

Section equity_section(const Sources& sources, const Window& window) {
  const Source& source = sources.performance.now;
  Section section{"equity", "Equity", "", {}};
  LineChart chart;
  chart.id = "equity";
  chart.title = "Realised P&L";
  chart.subtitle = "summed over the period at each close, below it the drawdown; account currency";
  chart.format = Format::signed_money;
  chart.from_ns = window.from_ns;
  chart.to_ns = window.to_ns;
  chart.has_drawdown = true;
  chart.empty = !source.note.has_answered   ? no_data_because(source)
                : !source.note.is_of_period ? "No data: " + source.note.query + " knows no period."
                                            : "No trade was closed in this period.";
  const Json* points = find(source.answer, "/equity_curve");
  if (points != nullptr && points->is_array() && source.note.is_of_period) {
    for (const Json& point : *points) {
      const auto at_ns = time(point, "/time");
      const auto pnl = real(point, "/pnl");
      if (!at_ns || !pnl || *at_ns < window.from_ns || *at_ns >= window.to_ns) continue;
      if (chart.points.empty()) chart.points.push_back({window.from_ns, 0.0});
      chart.points.push_back({*at_ns, *pnl});
    }
  }
  if (chart.points.size() > 1) {
    const auto [low, high] =
        std::minmax_element(chart.points.begin(), chart.points.end(),
                            [](const Point& a, const Point& b) { return a.value < b.value; });
    section.lead = "From 0 to " + money(chart.points.back().value, true) + ", lowest " +
                   money(low->value, true) + " on " + moment(window, low->time_ns) + ", highest " +
                   money(high->value, true) + " on " + moment(window, high->time_ns) + ".";
  }
  section.blocks.push_back(std::move(chart));
  return section;
}

Section trades_section(const Sources& sources, const Window&) {
  const Source& source = sources.performance.now;
  const Source& before = sources.performance.before;
  Section section{"trades", "Trades", "", {}};
  if (!source.note.has_answered) section.lead = no_data_because(source);
  add_period_note(source, section);
  const auto regimes = groups_of(source.answer, "/by_regime");
  if (regimes.size() > 1) {
    const auto by_pnl = [](const Group& a, const Group& b) {
      return real(*a.figures, "/pnl").value_or(0) < real(*b.figures, "/pnl").value_or(0);
    };
    const Group& worst = *std::min_element(regimes.begin(), regimes.end(), by_pnl);
    const Group& best = *std::max_element(regimes.begin(), regimes.end(), by_pnl);
    section.lead = "Best in " + best.name + " (" +
                   money(real(*best.figures, "/pnl").value_or(0), true) + "), worst in " +
                   worst.name + " (" + money(real(*worst.figures, "/pnl").value_or(0), true) + ").";
  }
  section.blocks.push_back(shape_figures(source.answer, before.answer));
  section.blocks.push_back(regime_chart(source));
  section.blocks.push_back(
      group_table(source, before, "by_regime", "By regime", "Regime", "/by_regime"));
  section.blocks.push_back(
      group_table(source, before, "by_symbol", "By symbol", "Symbol", "/by_symbol"));
  section.blocks.push_back(group_table(source, before, "by_side", "By side", "Side", "/by_side"));
  section.blocks.push_back(group_table(source, before, "by_close_reason", "By close reason",
                                       "Reason", "/by_close_reason"));

  section.blocks.push_back(model_table(source));

  Table best_table = trade_table(sources.best_trades, "best_trades", "Best trades");
  if (!sources.trades.note.has_answered) best_table.empty = no_data_because(sources.trades);
  section.blocks.push_back(std::move(best_table));
  section.blocks.push_back(trade_table(sources.worst_trades, "worst_trades", "Worst trades"));
  return section;
}

}  // namespace ephor::reporter
