// SPDX-License-Identifier: Apache-2.0
#include "sources.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ephor/times.hpp>
#include <tuple>

namespace ephor::reporter {
namespace {

Json request_of(std::int64_t from_ns, std::int64_t to_ns) {
  return {{"from", format_time(from_ns)}, {"to", format_time(to_ns)}};
}

class Collector {
 public:
  Collector(const Ask& ask, const std::vector<std::string>& queries, const Window& window)
      : ask_(ask), queries_(queries), window_(window) {}

  Source ask(const std::string& query, const Json& request) const {
    Source source;
    source.note.query = query;
    if (std::find(queries_.begin(), queries_.end(), query) == queries_.end()) {
      source.note.error = "no such query: its plugin is not there";
      return source;
    }
    try {
      source.answer = parse_json(ask_(query, dump(request), source.note.as_of_sequence), query);
      source.note.has_answered = source.answer.is_object();
      if (!source.note.has_answered) source.note.error = "the answer is no object";
    } catch (const std::exception& failure) {
      source.note.error = failure.what();
      source.answer = nullptr;
    }
    return source;
  }

  // Asked for a stretch of time. Whoever does not say what its figures are over, has ignored it.
  Source over(const std::string& query, Json more, std::int64_t from_ns, std::int64_t to_ns) const {
    more.update(request_of(from_ns, to_ns));
    Source source = ask(query, more);
    source.note.is_of_period = !source.note.has_answered || (time(source.answer, "/over/from") &&
                                                             time(source.answer, "/over/to"));
    return source;
  }
  Source now(const std::string& query, Json more = Json::object()) const {
    return over(query, std::move(more), window_.from_ns, window_.to_ns);
  }
  Pair pair(const std::string& query, const Json& more) const {
    Pair out{now(query, more), over(query, more, window_.previous_from_ns, window_.from_ns)};
    // Figures over all time say nothing about a change.
    if (!out.before.note.is_of_period) out.before.answer = nullptr;
    return out;
  }

  void read_trades(Sources& out) const {
    out.trades = now("trade_tracker.trades", trades_request("-pnl"));
    const Source worst = now("trade_tracker.trades", trades_request("pnl"));
    keep(out.trades.answer, out.best_trades);
    keep(worst.answer, out.worst_trades);
    // Where there are few, both ends hold the same: each trade goes to the nearer one.
    std::stable_sort(
        out.best_trades.begin(), out.best_trades.end(),
        [](const Json& a, const Json& b) { return *real(a, "/pnl") > *real(b, "/pnl"); });
    std::stable_sort(
        out.worst_trades.begin(), out.worst_trades.end(),
        [](const Json& a, const Json& b) { return *real(a, "/pnl") < *real(b, "/pnl"); });
    const auto is_same = [](const Json& a, const Json& b) {
      return text(a, "/trade_id") == text(b, "/trade_id");
    };
    while (!out.best_trades.empty() && !out.worst_trades.empty()) {
      const bool is_shared =
          std::any_of(out.best_trades.begin(), out.best_trades.end(),
                      [&](const Json& one) { return is_same(one, out.worst_trades.back()); });
      if (!is_shared) break;
      if (out.best_trades.size() > out.worst_trades.size())
        out.best_trades.pop_back();
      else
        out.worst_trades.pop_back();
    }
    out.trades.answer = nullptr;
  }

  void read_findings(Sources& out) const {
    for (const std::string& query : queries_) {
      if (!query.ends_with(".summary")) continue;
      Source source = ask(query, Json::object());
      out.summaries.push_back(source.note);
      const Json* findings = find(source.answer, "/findings");
      if (findings == nullptr || !findings->is_array()) continue;
      for (const Json& finding : *findings) {
        if (finding.is_object() && was_open(finding)) out.findings.push_back(finding);
      }
    }
    std::stable_sort(out.findings.begin(), out.findings.end(),
                     [](const Json& a, const Json& b) { return order_of(a) < order_of(b); });
  }

 private:
  static Json trades_request(const char* sort) {
    return {{"status", "closed"}, {"sort", sort}, {"limit", std::to_string(2 * kTradesShown)}};
  }

  void keep(const Json& answer, std::vector<Json>& out) const {
    const Json* trades = find(answer, "/trades");
    if (trades == nullptr || !trades->is_array()) return;
    for (const Json& trade : *trades) {
      const auto close_ns = time(trade, "/close_time");
      const bool is_wanted = close_ns && *close_ns >= window_.from_ns &&
                             *close_ns < window_.to_ns && real(trade, "/pnl");
      if (is_wanted && out.size() < kTradesShown) out.push_back(trade);
    }
  }

  bool was_open(const Json& finding) const {
    auto begin_ns = time(finding, "/onset");
    if (!begin_ns) begin_ns = time(finding, "/detected");
    const auto end_ns = time(finding, "/closed");
    return (!begin_ns || *begin_ns < window_.to_ns) && (!end_ns || *end_ns >= window_.from_ns);
  }

  static std::tuple<int, int, std::int64_t, std::string> order_of(const Json& finding) {
    const std::string severity = text(finding, "/severity");
    return {text(finding, "/state") == "open" ? 0 : 1,
            severity == "critical"  ? 0
            : severity == "warning" ? 1
                                    : 2,
            -time(finding, "/detected").value_or(0), text(finding, "/finding_id")};
  }

  const Ask& ask_;
  const std::vector<std::string>& queries_;
  const Window& window_;
};

}  // namespace

Sources collect(const Ask& ask, const std::vector<std::string>& queries, const Window& window,
                Source log) {
  const Collector collector(ask, queries, window);
  Sources out;
  out.performance = collector.pair("trade_tracker.performance", {{"points", "400"}});
  collector.read_trades(out);
  out.models = collector.pair("ml_monitor.models", {{"limit", "1000"}});
  out.tracing = collector.pair("tracer.performance", Json::object());
  out.errors = collector.now("tracer.errors", {{"limit", "1000"}});
  out.ensembles = collector.now("ensemble_tracker.ensembles");
  out.regimes = collector.now("ensemble_tracker.regimes");
  out.alerts = collector.now("alerter.alerts", {{"state", "all"}, {"limit", "200"}});
  out.log = std::move(log);
  collector.read_findings(out);
  return out;
}

Json log_counters(std::string_view text) {
  constexpr std::pair<std::string_view, std::string_view> kSeries[] = {
      {"ephor_log_events_total", "events"},
      {"ephor_log_duplicate_records_total", "duplicates"},
      {"ephor_log_late_events_total", "late"},
      {"ephor_ingest_rejected_records_total", "rejected"},
      {"ephor_log_commits_total", "commits"}};
  Json out = Json::object();
  for (const auto& [series, name] : kSeries) out[std::string(name)] = nullptr;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t space = line.rfind(' ');
    if (line.starts_with('#') || space == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, line.find_first_of("{ "));
    for (const auto& [series, member] : kSeries) {
      double number = 0.0;
      const std::string_view digits = line.substr(space + 1);
      if (name != series ||
          std::from_chars(digits.data(), digits.data() + digits.size(), number).ec != std::errc())
        continue;
      Json& sum = out[std::string(member)];
      sum = static_cast<std::int64_t>(number) + (sum.is_null() ? 0 : sum.get<std::int64_t>());
    }
  }
  return out;
}

const Json* find(const Json& json, std::string_view pointer) {
  const Json* at = &json;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);
    const std::size_t end = std::min(pointer.find('/'), pointer.size());
    if (!at->is_object()) return nullptr;
    const auto found = at->find(pointer.substr(0, end));
    if (found == at->end()) return nullptr;
    at = &*found;
    pointer.remove_prefix(end);
  }
  return at;
}

std::optional<double> real(const Json& json, std::string_view pointer) {
  const Json* found = find(json, pointer);
  if (found == nullptr || !found->is_number()) return std::nullopt;
  const auto number = found->get<double>();
  return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

std::optional<std::int64_t> integer(const Json& json, std::string_view pointer) {
  const auto number = real(json, pointer);
  if (!number || std::abs(*number) > 9e15) return std::nullopt;
  return static_cast<std::int64_t>(std::llround(*number));
}

std::string text(const Json& json, std::string_view pointer) {
  const Json* found = find(json, pointer);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<std::int64_t> time(const Json& json, std::string_view pointer) {
  return parse_time(text(json, pointer));
}

Value value(const std::optional<double>& figure) { return figure ? Value(*figure) : Value(); }
Value value(const std::optional<std::int64_t>& figure) { return figure ? Value(*figure) : Value(); }

}  // namespace ephor::reporter
