// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "sections.hpp"
#include "statistics.hpp"
#include "text.hpp"

namespace ephor::reporter {
namespace {

// One figure of both periods. Rates carry their counts, so that chance can be told from change.
struct Change {
  std::string what;
  Format format = Format::number;
  std::optional<double> before;
  std::optional<double> now;
  std::optional<std::int64_t> n_before;
  std::optional<std::int64_t> n_now;
  std::optional<Interval> interval;  // of the difference, 95 %
  bool is_gain_up = true;            // false: more is no gain, and not coloured as one

  // How far zero is from the interval, in its half-widths; unknown without one.
  double sureness() const {
    if (!interval) return 0;
    const double half = (interval->second - interval->first) / 2;
    const double centre = (interval->second + interval->first) / 2;
    return half > 0 ? std::abs(centre) / half : 0;
  }
  bool is_sure() const { return interval && (interval->first > 0 || interval->second < 0); }
};

Format difference_format(const Change& change) {
  if (change.format == Format::money && change.is_gain_up) return Format::signed_money;
  return change.format == Format::share ? Format::signed_share : change.format;
}

Change rate_change(std::string what, std::optional<std::int64_t> k1, std::optional<std::int64_t> n1,
                   std::optional<std::int64_t> k2, std::optional<std::int64_t> n2) {
  Change out;
  out.what = std::move(what);
  out.format = Format::share;
  if (k1 && n1 && *n1 > 0) out.before = static_cast<double>(*k1) / static_cast<double>(*n1);
  if (k2 && n2 && *n2 > 0) out.now = static_cast<double>(*k2) / static_cast<double>(*n2);
  if (out.before && out.now) out.interval = newcombe(*k1, *n1, *k2, *n2);
  out.n_before = n1;
  out.n_now = n2;
  return out;
}

// Figures over all time are no figures of the period.
const Json& of_period(const Source& source) {
  static const Json kNone;
  return source.note.is_of_period ? source.answer : kNone;
}

void trading_changes(const Sources& sources, std::vector<Change>& out) {
  const Json& now = of_period(sources.performance.now);
  const Json& before = sources.performance.before.answer;
  const auto n1 = integer(before, "/closed");
  const auto n2 = integer(now, "/closed");
  const auto decided = [](const Json& figures) -> std::optional<std::int64_t> {
    const auto won = integer(figures, "/won");
    const auto lost = integer(figures, "/lost");
    if (!won || !lost) return std::nullopt;
    return *won + *lost;
  };
  const auto add = [&](const char* what, std::string_view pointer) {
    out.push_back(
        {what, Format::money, real(before, pointer), real(now, pointer), n1, n2, {}, true});
  };
  add("Net P&L", "/pnl");
  add("P&L a trade", "/expectancy");
  out.push_back(rate_change("Trades won", integer(before, "/won"), decided(before),
                            integer(now, "/won"), decided(now)));
  add("Worst drawdown", "/max_drawdown/amount");
  out.back().is_gain_up = false;
}

void model_changes(const Sources& sources, std::vector<Change>& out) {
  const Json* models = find(of_period(sources.models.now), "/models");
  const Json* earlier = find(sources.models.before.answer, "/models");
  if (models == nullptr || !models->is_array()) return;
  for (const Json& model : *models) {
    const std::string model_id = text(model, "/model_id");
    const Json none;
    const Json* before = &none;
    if (earlier != nullptr && earlier->is_array()) {
      for (const Json& one : *earlier) {
        if (text(one, "/model_id") == model_id) before = &one;
      }
    }
    out.push_back(rate_change("Accuracy of " + model_id, integer(*before, "/correct"),
                              integer(*before, "/scored"), integer(model, "/correct"),
                              integer(model, "/scored")));
  }
}

void system_changes(const Sources& sources, std::vector<Change>& out) {
  const Json& now = of_period(sources.tracing.now);
  const Json& before = sources.tracing.before.answer;
  out.push_back(rate_change("Failed spans", integer(before, "/all/errors"),
                            integer(before, "/all/count"), integer(now, "/all/errors"),
                            integer(now, "/all/count")));
  const Json* components = find(now, "/components");
  const Json* earlier = find(before, "/components");
  if (components == nullptr || !components->is_array()) return;
  for (const Json& component : *components) {
    const std::string name = text(component, "/component");
    Change change;
    change.what = "p95 of " + name;
    change.format = Format::milliseconds;
    change.now = real(component, "/p95_ms");
    change.n_now = integer(component, "/count");
    if (earlier != nullptr && earlier->is_array()) {
      for (const Json& one : *earlier) {
        if (text(one, "/component") != name) continue;
        change.before = real(one, "/p95_ms");
        change.n_before = integer(one, "/count");
      }
    }
    out.push_back(std::move(change));
  }
}

std::string verdict_of(const Change& change) {
  if (!change.before || !change.now) return "no data to compare";
  if (!change.interval) return "no interval";
  return change.is_sure() ? "more than chance" : "within chance";
}

}  // namespace

std::string moment(const Window& window, std::int64_t time_ns) {
  return date_time(time_ns, window.offset_s) + " " + window.zone;
}

Section changes_section(const Sources& sources, const Window& window, std::size_t most) {
  Section section{"changes", "What changed", "", {}};
  std::vector<Change> changes;
  trading_changes(sources, changes);
  model_changes(sources, changes);
  system_changes(sources, changes);
  std::vector<std::string> sure;
  for (const Change& change : changes) {
    if (!change.is_sure()) continue;
    sure.push_back(change.what + " " + value_text(Value(*change.before), change.format, 0) +
                   " \u2192 " + value_text(Value(*change.now), change.format, 0));
  }
  const bool has_before = std::any_of(changes.begin(), changes.end(),
                                      [](const Change& one) { return one.before.has_value(); });
  const std::string period = "the period before (" + moment(window, window.previous_from_ns) +
                             " to " + moment(window, window.from_ns) + ")";
  if (!has_before)
    section.lead = "There is no data of " + period + ".";
  else if (sure.empty())
    section.lead = "No rate changed by more than chance explains, against " + period + ".";
  else
    section.lead = "More than chance explains, against " + period + ": ";
  for (std::size_t i = 0; i < sure.size() && i < 4; ++i)
    section.lead += (i == 0 ? "" : "; ") + sure[i];
  if (!sure.empty()) section.lead += sure.size() > 4 ? "; and others." : ".";

  if (changes.size() > most) {
    std::stable_sort(changes.begin(), changes.end(),
                     [](const Change& a, const Change& b) { return a.sureness() > b.sureness(); });
  }
  Table table;
  table.id = "changes";
  table.columns = {{"what", "Figure", Format::text},
                   {"before", "Before", Format::number},
                   {"now", "Now", Format::number},
                   {"change", "Change", Format::number},
                   {"change_low_95", "95\u202F% from", Format::number},
                   {"change_high_95", "to", Format::number},
                   {"n_before", "n before", Format::count},
                   {"n_now", "n now", Format::count},
                   {"verdict", "", Format::text}};
  table.note =
      "Changes of rates are in percentage points with Newcombe's 95\u202F% interval; outcomes that "
      "lean on each other make the true interval wider.";
  for (const Change& change : changes) {
    if (table.rows.size() == most) break;
    std::optional<double> difference;
    std::optional<double> low;
    std::optional<double> high;
    if (change.before && change.now) difference = *change.now - *change.before;
    if (change.interval) {
      low = change.interval->first;
      high = change.interval->second;
    }
    const Format format = difference_format(change);
    table.rows.push_back({change.what, Field(value(change.before), change.format),
                          Field(value(change.now), change.format), Field(value(difference), format),
                          Field(value(low), format), Field(value(high), format),
                          value(change.n_before), value(change.n_now), verdict_of(change)});
  }
  table.rows_total = static_cast<std::int64_t>(changes.size());
  section.blocks.push_back(std::move(table));
  return section;
}

}  // namespace ephor::reporter
