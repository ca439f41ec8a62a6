// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <cmath>
#include <ephor/events.hpp>
#include <ephor/id_rows.hpp>
#include <ephor/json.hpp>
#include <ephor/ledger.hpp>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <ephor/text_hash.hpp>
#include <ephor/times.hpp>
#include <tuple>

#include "answers.hpp"
#include "join_table.hpp"
#include "performance.hpp"
#include "rows.hpp"
#include "vocabulary.hpp"

namespace ephor::trade_tracker {
namespace {

constexpr std::int64_t kPageRows = 500;

constexpr const char* kIdTable = "trade_tracker_ids";
// Kinds of its rows. Stored: numbers are never used again.
constexpr std::int64_t kTradeIds = 1;
constexpr std::int64_t kDecisionIds = 2;

struct Settings {
  std::size_t max_trades_in_memory;
  std::size_t max_decisions_in_memory;
  std::size_t max_joins;
  std::size_t max_groups;
  std::size_t max_curve_points;
  std::size_t max_distinct_ids;

  explicit Settings(std::string_view config) {
    const Json json = parse_json(config, "trade_tracker configuration");
    max_trades_in_memory = member_or<std::size_t>(json, "max_trades_in_memory", 20'000);
    max_decisions_in_memory = member_or<std::size_t>(json, "max_decisions_in_memory", 50'000);
    max_joins = member_or<std::size_t>(json, "max_joins", 20'000);
    max_groups = member_or<std::size_t>(json, "max_groups", 1000);
    max_curve_points = member_or<std::size_t>(json, "max_curve_points", 50'000);
    max_distinct_ids = member_or<std::size_t>(json, "max_distinct_ids", 8'000'000);
  }
};

std::optional<double> amount(const std::optional<double>& number) {
  return number && std::abs(*number) <= kAmountMax ? number : std::nullopt;
}

// A label as it is, a number as its shortest text.
std::string text_of(const LabelOrNumber& value) {
  if (!value.number) return std::string(value.label);
  char out[32];
  const auto [end, error] = std::to_chars(out, out + sizeof out, *value.number);
  return error == std::errc() ? std::string(out, end) : std::string();
}

// What one ephor.trade event tells. Clients name times in several ways: open_time and close_time
// are the opening and the close; where they are missing, the event's own time is that of what it
// reports.
TradeRecord trade_from(const Trade& told, const Event& event) {
  TradeRecord trade;
  trade.trade_id = told.trade_id;
  trade.decision_id = told.decision_id;
  trade.execution_id = told.execution_id;
  trade.order_id = told.order_id;
  trade.symbol = told.symbol;
  trade.side = normalise_side(told.side);
  trade.status = normalise_status(told.status);
  trade.close_reason = told.close_reason;
  trade.regime = told.regime;
  trade.quantity = amount(told.quantity);
  trade.price = amount(told.price);
  trade.close_price = amount(told.close_price);
  trade.pnl = amount(told.pnl);
  trade.fees = amount(told.fees);
  trade.slippage = amount(told.slippage);
  trade.stop_loss = amount(told.stop_loss);
  trade.take_profit = amount(told.take_profit);
  trade.open_ns = parse_time(told.open_time);
  trade.close_ns = parse_time(told.close_time);
  if (trade.trade_id.empty()) throw Error(EPHOR_INVALID, "a trade without trade_id");
  const bool has_ended = stage_of(trade.status) >= 2;
  if (!has_ended) trade.close_ns.reset();
  if (!trade.open_ns && (!has_ended || trade.close_ns)) trade.open_ns = event.time_ns;
  if (!trade.close_ns && has_ended) trade.close_ns = event.time_ns;
  trade.updated_ns = event.time_ns;
  trade.sequence = event.sequence;
  return trade;
}

}  // namespace

class TradeTracker final : public Plugin {
 public:
  static constexpr std::string_view kVersion = "0.1.0";
  static constexpr std::string_view kSummary =
      "trades opened and closed, profit and loss, joined with decisions, orders and fills";
  static constexpr std::uint32_t kStateVersion = 1;
  static constexpr std::string_view kConfigSchema = R"({
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object", "additionalProperties": false,
    "properties": {
      "max_trades_in_memory": {"type": "integer", "minimum": 1, "maximum": 10000000, "default": 20000,
        "description": "trades kept in memory; others are read back from the table trades"},
      "max_decisions_in_memory": {"type": "integer", "minimum": 1, "maximum": 10000000, "default": 50000,
        "x-ephor-from": "monitoring.tracking_system.max_tracking_history",
        "description": "decisions kept in memory; others are read back from the table trade_decisions"},
      "max_joins": {"type": "integer", "minimum": 1, "maximum": 10000000, "default": 20000,
        "description": "executions and orders whose decision is remembered, and trades that wait for theirs"},
      "max_groups": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 1000,
        "description": "regimes, symbols and close reasons with figures of their own; further ones share one"},
      "max_curve_points": {"type": "integer", "minimum": 10, "maximum": 10000000, "default": 50000,
        "description": "latest closes held one by one for the equity curve; older ones are thinned"},
      "max_distinct_ids": {"type": "integer", "minimum": 1, "maximum": 1000000000, "default": 8000000,
        "description": "trade ids and decision ids (each) remembered to count distinct ones, about 16 bytes an id"}
    }})";

  TradeTracker(Host host, std::string_view config)
      : host_(std::move(host)),
        settings_(config),
        trades_(settings_.max_trades_in_memory),
        decisions_(settings_.max_decisions_in_memory),
        trade_ids_(settings_.max_distinct_ids),
        decision_ids_(settings_.max_distinct_ids),
        joins_(settings_.max_joins),
        performance_(settings_.max_groups, settings_.max_curve_points) {
    host_.declare_tables(kTablesJson);
    trade_topic_ = host_.topic_id("ephor.trade");
    decision_topic_ = host_.topic_id("ephor.ensemble_decision");
    order_topic_ = host_.topic_id("ephor.order");
    fill_topic_ = host_.topic_id("ephor.fill");
    outcome_topic_ = host_.topic_id("ephor.outcome");
    trades_gauge_ = host_.gauge("ephor_trade_tracker_trades", "Distinct trades");
    closed_gauge_ = host_.gauge("ephor_trade_tracker_trades_closed", "Closed trades");
    pnl_gauge_ = host_.gauge("ephor_trade_tracker_pnl", "Realised profit and loss");
    decisions_gauge_ = host_.gauge("ephor_trade_tracker_decisions", "Distinct decisions");
    provide_queries();
  }

  void start() override {
    host_.subscribe(
        {"ephor.trade", "ephor.ensemble_decision", "ephor.order", "ephor.fill", "ephor.outcome"});
  }

  void on_events(std::span<const Event> events) override {
    for (const Event& event : events) {
      try {
        read_event(event);
      } catch (const Error& failure) {
        count_failure(failure);
      }
    }
    trades_gauge_.set(static_cast<double>(trade_ids_.size()));
    closed_gauge_.set(static_cast<double>(performance_.all().closed));
    pnl_gauge_.set(performance_.all().pnl.value());
    decisions_gauge_.set(static_cast<double>(decision_ids_.size()));
  }

  void save(const Rows& rows, std::string& state) override {
    trades_.save([&](const TradeRecord& trade) { upsert(rows, trade); });
    decisions_.save([&](const DecisionRecord& decision) { upsert(rows, decision); });
    save_ids(rows, kIdTable, kTradeIds, trade_ids_);
    save_ids(rows, kIdTable, kDecisionIds, decision_ids_);
    StateWriter out(state);
    out.varint(trade_ids_.size()).varint(decision_ids_.size());
    out.varint(unreadable_).varint(orders_).varint(fills_);
    fill_fees_.write(out);
    joins_.write(out);
    performance_.write(out);
  }

  bool load(std::uint32_t version, std::string_view state) override {
    std::size_t trade_count = 0;
    std::size_t decision_count = 0;
    const bool is_read = version == kStateVersion && read_state(state, [&](StateReader& in) {
                           trade_count = static_cast<std::size_t>(in.varint());
                           decision_count = static_cast<std::size_t>(in.varint());
                           unreadable_ = in.varint();
                           orders_ = in.varint();
                           fills_ = in.varint();
                           fill_fees_.read(in);
                           joins_.read(in);
                           performance_.read(in);
                         });
    return is_read && load_ids(host_, kIdTable,
                               {{kTradeIds, trade_ids_, trade_count},
                                {kDecisionIds, decision_ids_, decision_count}});
  }

 private:
  // ---- events

  // One bad event must not cost the rest of its slice.
  void count_failure(const Error& failure) {
    ++unreadable_;
    const bool is_bad_event = failure.code() == EPHOR_INVALID || failure.code() == EPHOR_NOT_FOUND;
    if (is_bad_event) return;
    host_.log(EPHOR_LOG_ERROR, failure.what());
    host_.report_health(EPHOR_HEALTH_DEGRADED, failure.what());
  }

  void read_event(const Event& event) {
    if (event.topic == outcome_topic_) {
      read_outcome(event);
    } else if (event.topic == decision_topic_) {
      read_decision(event);
    } else if (event.topic == trade_topic_) {
      read_trade(event);
    } else if (event.topic == fill_topic_ || event.topic == order_topic_) {
      read_order(event);
    }
  }

  void read_trade(const Event& event) {
    TradeRecord news = trade_from(reader_.trade(event), event);
    news.correlation_id = correlation_id(event, correlation_scratch_);
    const std::uint64_t key = hash64(news.trade_id);
    if (TradeRecord* known = find_trade(key, news.trade_id)) {
      TradeRecord updated = *known;
      merge(updated, news);
      join(updated);
      replace(key, std::move(updated));
    } else {
      join(news);
      performance_.add(key, news);
      trades_.insert(key, std::move(news));
      trade_ids_.insert(key);
      trades_.mark_changed(key);
    }
  }

  // Whatever may fail has been done when this is called: figures and record change together.
  void replace(std::uint64_t key, TradeRecord updated) {
    TradeRecord& known = *trades_.find(key);
    performance_.remove(key, known);
    performance_.add(key, updated);
    known = std::move(updated);
    trades_.mark_changed(key);
  }

  void read_decision(const Event& event) {
    const simdjson::dom::object data = reader_.object(event);
    DecisionRecord news;
    LabelOrNumber final_decision;
    LabelOrNumber primary;
    for (const auto& [name, value] : data) {
      if (name == "decision_id")
        news.decision_id = EventReader::text(value);
      else if (name == "ensemble_id")
        news.ensemble_id = EventReader::text(value);
      else if (name == "symbol")
        news.symbol = EventReader::text(value);
      else if (name == "regime")
        news.regime = EventReader::text(value);
      else if (name == "final_decision")
        final_decision = EventReader::label_or_number(value);
      else if (name == "primary_prediction")
        primary = EventReader::label_or_number(value);
    }
    if (news.decision_id.empty()) throw Error(EPHOR_INVALID, "a decision without decision_id");
    news.final_decision = text_of(final_decision.has_value() ? final_decision : primary);
    news.correlation_id = correlation_id(event, correlation_scratch_);
    news.time_ns = event.time_ns;
    const std::uint64_t key = hash64(news.decision_id);
    // The outcome may have come before. A decision told twice (by itself and inside of a trade
    // record): what is known stays.
    if (DecisionRecord* known = find_decision(key, news.decision_id)) {
      const auto fill = [](std::string& field, std::string& from) {
        if (field.empty()) field = std::move(from);
      };
      fill(known->ensemble_id, news.ensemble_id);
      fill(known->symbol, news.symbol);
      fill(known->regime, news.regime);
      fill(known->final_decision, news.final_decision);
      fill(known->correlation_id, news.correlation_id);
      known->time_ns = known->time_ns == 0 ? news.time_ns : std::min(known->time_ns, news.time_ns);
      news.decision_id = known->decision_id;
      news.regime = known->regime;
    } else {
      decisions_.insert(key, news);
    }
    decisions_.mark_changed(key);
    decision_ids_.insert(key);
    if (news.regime.empty()) return;
    for (const std::string& trade_id : joins_.take_waiting(JoinTable::key('d', news.decision_id))) {
      give_regime(trade_id, news.regime);
    }
  }

  void read_order(const Event& event) {
    const simdjson::dom::object data = reader_.object(event);
    std::string_view decision_id;
    std::string_view execution_id;
    std::string_view order_id;
    std::optional<double> fee;
    for (const auto& [name, value] : data) {
      if (name == "decision_id")
        decision_id = EventReader::text(value);
      else if (name == "execution_id")
        execution_id = EventReader::text(value);
      else if (name == "order_id")
        order_id = EventReader::text(value);
      else if (name == "fee")
        fee = amount(EventReader::number(value));
    }
    if (event.topic == fill_topic_) {
      ++fills_;
      if (fee) fill_fees_.add(*fee);
    } else {
      ++orders_;
    }
    // An order that names no decision may be known to belong to one, and hands it to its execution.
    const std::string known(decision_id.empty() ? joins_.decision_of(JoinTable::key('o', order_id))
                                                : decision_id);
    if (known.empty()) return;
    if (!execution_id.empty()) tell_decision(JoinTable::key('e', execution_id), known);
    if (!order_id.empty()) tell_decision(JoinTable::key('o', order_id), known);
  }

  void tell_decision(std::uint64_t join_key, const std::string& decision_id) {
    joins_.set_decision(join_key, decision_id);
    for (const std::string& trade_id : joins_.take_waiting(join_key)) {
      const std::uint64_t key = hash64(trade_id);
      const TradeRecord* trade = find_trade(key, trade_id);
      if (trade == nullptr) continue;
      TradeRecord updated = *trade;
      join(updated);
      replace(key, std::move(updated));
    }
  }

  // Outcomes of decisions; those of single predictions are another plugin's business and are told
  // apart before the record is parsed.
  void read_outcome(const Event& event) {
    const std::string_view record(event.record, event.record_length);
    if (record.find("\"decision_id\"", event.data_offset) == std::string_view::npos) return;
    const Outcome outcome = reader_.outcome(event);
    if (outcome.decision_id.empty() || !outcome.prediction_id.empty()) return;
    const std::uint64_t key = hash64(outcome.decision_id);
    DecisionRecord* decision = find_decision(key, outcome.decision_id);
    if (decision == nullptr) {
      DecisionRecord fresh;
      fresh.decision_id = outcome.decision_id;
      decision = &decisions_.insert(key, std::move(fresh));
    }
    decision->actual = text_of(outcome.actual);
    decision->realised_return = outcome.realized_return;
    decisions_.mark_changed(key);
  }

  // ---- joining

  // Completes a trade by what its execution, order and decision say; waits where that is to come.
  void join(TradeRecord& trade) {
    if (trade.decision_id.empty() && !trade.execution_id.empty()) {
      trade.decision_id = joins_.decision_of(JoinTable::key('e', trade.execution_id));
    }
    if (trade.decision_id.empty() && !trade.order_id.empty()) {
      trade.decision_id = joins_.decision_of(JoinTable::key('o', trade.order_id));
    }
    if (trade.decision_id.empty()) {
      if (!trade.execution_id.empty()) {
        joins_.wait(JoinTable::key('e', trade.execution_id), trade.trade_id);
      }
      if (!trade.order_id.empty()) joins_.wait(JoinTable::key('o', trade.order_id), trade.trade_id);
      return;
    }
    if (!trade.decision_regime.empty()) return;
    const DecisionRecord* decision = find_decision(hash64(trade.decision_id), trade.decision_id);
    if (decision != nullptr && !decision->regime.empty()) {
      trade.decision_regime = decision->regime;
    } else {  // also where the trade names a regime itself: what is stored must not hang on the
              // order
      joins_.wait(JoinTable::key('d', trade.decision_id), trade.trade_id);
    }
  }

  void give_regime(const std::string& trade_id, const std::string& regime) {
    const std::uint64_t key = hash64(trade_id);
    const TradeRecord* trade = regime.empty() ? nullptr : find_trade(key, trade_id);
    if (trade == nullptr) return;
    TradeRecord updated = *trade;
    updated.decision_regime = regime;
    replace(key, std::move(updated));
  }

  // ---- records in memory or in their tables

  TradeRecord* find_trade(std::uint64_t key, std::string_view id) {
    if (TradeRecord* found = trades_.find(key)) return found;
    if (!trade_ids_.may_contain(key)) return nullptr;
    std::optional<TradeRecord> stored = select_trade(id);
    return stored ? &trades_.insert(key, std::move(*stored)) : nullptr;
  }
  DecisionRecord* find_decision(std::uint64_t key, std::string_view id) {
    if (DecisionRecord* found = decisions_.find(key)) return found;
    if (!decision_ids_.may_contain(key)) return nullptr;
    std::optional<DecisionRecord> stored = select_decision(id);
    return stored ? &decisions_.insert(key, std::move(*stored)) : nullptr;
  }
  std::optional<TradeRecord> select_trade(std::string_view id) const {
    std::optional<TradeRecord> found;
    host_.select("SELECT " + std::string(kTradeColumns) + " FROM trades WHERE trade_id = ?",
                 {Cell::text(id)},
                 [&](std::span<const ephor_cell> cells) { found = trade_of(cells); });
    return found;
  }
  std::optional<DecisionRecord> select_decision(std::string_view id) const {
    std::optional<DecisionRecord> found;
    host_.select(
        "SELECT " + std::string(kDecisionColumns) + " FROM trade_decisions WHERE decision_id = ?",
        {Cell::text(id)}, [&](std::span<const ephor_cell> cells) { found = decision_of(cells); });
    return found;
  }

  // ---- queries

  void provide_queries() {
    host_.provide_route({.method = "GET",
                         .path = "/api/trades",
                         .query = "trade_tracker.trades",
                         .summary = "Trades, latest first; filters: status, symbol; limit, cursor"},
                        [this](std::string_view request) { return answer_trades(request); });
    host_.provide_route({.method = "GET",
                         .path = "/api/trades/{trade_id}",
                         .query = "trade_tracker.trade",
                         .summary = "One trade with its decision"},
                        [this](std::string_view request) { return answer_trade(request); });
    host_.provide_route({.method = "GET",
                         .path = "/api/performance",
                         .query = "trade_tracker.performance",
                         .summary = "Trading figures over the whole history; points: of the curve"},
                        [this](std::string_view request) { return answer_performance(request); });
    host_.provide_query("trade_tracker.summary", "Figures of the whole history",
                        [this](std::string_view) { return answer_summary(); });
  }

  struct TradeFilter {
    std::string status;
    std::string symbol;
    std::uint64_t before = 0;  // first_sequence below it; 0: from the latest
    bool accepts(const TradeRecord& trade) const {
      return (status.empty() || trade.status == status) &&
             (symbol.empty() || trade.symbol == symbol) && (before == 0 || trade.sequence < before);
    }
  };

  std::string answer_trades(std::string_view text) {
    const Json request = parse_json(text, "request");
    const auto limit = static_cast<std::size_t>(request_integer(request, "limit", 100, 1, 1000));
    TradeFilter filter;
    filter.status = normalise_status(request_text(request, "status"));
    filter.symbol = request_text(request, "symbol");
    filter.before = static_cast<std::uint64_t>(request_integer(request, "cursor", 0, 0, INT64_MAX));
    std::vector<TradeRecord> found = trades_in_memory(filter, limit + 1);
    // What is in memory is newer than its row; the table is asked only for what is not.
    if (trades_.size() < trade_ids_.size()) add_stored_trades(filter, limit + 1, found);
    std::sort(found.begin(), found.end(), [](const TradeRecord& a, const TradeRecord& b) {
      return std::tie(b.sequence, a.trade_id) < std::tie(a.sequence, b.trade_id);
    });
    const bool has_more = found.size() > limit;
    if (has_more) found.resize(limit);
    Json list = Json::array();
    for (const TradeRecord& trade : found) list.push_back(trade_json(trade));
    return dump({{"over", {{"trades", trade_ids_.size()}}},
                 {"next_cursor", has_more ? Json(std::to_string(found.back().sequence)) : Json()},
                 {"trades", std::move(list)}});
  }

  std::vector<TradeRecord> trades_in_memory(const TradeFilter& filter, std::size_t limit) const {
    std::vector<const TradeRecord*> wanted;
    trades_.for_each([&](const TradeRecord& trade) {
      if (filter.accepts(trade)) wanted.push_back(&trade);
    });
    const std::size_t count = std::min(limit, wanted.size());
    std::partial_sort(
        wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(count), wanted.end(),
        [](const TradeRecord* a, const TradeRecord* b) { return a->sequence > b->sequence; });
    std::vector<TradeRecord> found;
    for (std::size_t i = 0; i < count; ++i) found.push_back(*wanted[i]);
    return found;
  }

  void add_stored_trades(const TradeFilter& filter, std::size_t limit,
                         std::vector<TradeRecord>& found) {
    const std::string sql = "SELECT " + std::string(kTradeColumns) +
                            " FROM trades WHERE first_sequence < ? AND (? = '' OR status = ?) "
                            "AND (? = '' OR symbol = ?) ORDER BY first_sequence DESC LIMIT ?";
    std::int64_t before = filter.before == 0 ? INT64_MAX : static_cast<std::int64_t>(filter.before);
    std::size_t stored = 0;
    for (std::int64_t rows = kPageRows; rows == kPageRows && stored < limit;) {
      rows = 0;
      host_.select(
          sql,
          {Cell::integer_value(before), Cell::text(filter.status), Cell::text(filter.status),
           Cell::text(filter.symbol), Cell::text(filter.symbol), Cell::integer_value(kPageRows)},
          [&](std::span<const ephor_cell> cells) {
            TradeRecord trade = trade_of(cells);
            ++rows;
            before = static_cast<std::int64_t>(trade.sequence);
            if (trades_.find(hash64(trade.trade_id)) != nullptr) return;
            ++stored;
            found.push_back(std::move(trade));
          });
    }
  }

  std::string answer_trade(std::string_view text) {
    const std::string id = request_text(parse_json(text, "request"), "trade_id");
    const TradeRecord* in_memory = trades_.find(hash64(id));
    std::optional<TradeRecord> trade;
    if (in_memory != nullptr) trade = *in_memory;
    if (!trade) trade = select_trade(id);
    if (!trade) throw Error(EPHOR_NOT_FOUND, "no trade \"" + id + "\"", "/trade_id");
    Json out = trade_json(*trade);
    out["decision"] = decision_of_trade(*trade);
    return dump(out);
  }

  Json decision_of_trade(const TradeRecord& trade) {
    if (trade.decision_id.empty()) return nullptr;
    if (const DecisionRecord* known = decisions_.find(hash64(trade.decision_id))) {
      return decision_json(*known);
    }
    const auto stored = select_decision(trade.decision_id);
    return stored ? decision_json(*stored) : Json();
  }

  std::string answer_performance(std::string_view text) const {
    const Json request = parse_json(text, "request");
    const auto points = static_cast<std::size_t>(request_integer(request, "points", 200, 2, 5000));
    Json out = performance_json(performance_, points);
    out["decisions"] = decision_ids_.size();
    out["orders"] = orders_;
    out["fills"] = fills_;
    out["fill_fees"] = fills_ == 0 ? Json() : Json(fill_fees_.value());
    out["trades_waiting_for_a_join"] = joins_.waiting_count();
    out["unreadable"] = unreadable_;
    return dump(out);
  }

  std::string answer_summary() const {
    const TradeGroup& all = performance_.all();
    return dump({{"decisions", decision_ids_.size()},
                 {"trades", trade_ids_.size()},
                 {"trades_closed", all.closed},
                 {"trades_won", all.won},
                 {"pnl", all.closed_with_pnl() == 0 ? Json() : Json(all.pnl.value())},
                 {"findings", Json::array()}});
  }

  Host host_;
  Settings settings_;
  EventReader reader_;
  Ledger<TradeRecord> trades_;
  Ledger<DecisionRecord> decisions_;
  IdSet trade_ids_;
  IdSet decision_ids_;
  JoinTable joins_;
  Performance performance_;
  ExactSum fill_fees_;
  std::uint64_t orders_ = 0;
  std::uint64_t fills_ = 0;
  std::uint64_t unreadable_ = 0;
  std::string correlation_scratch_;
  std::uint16_t trade_topic_ = 0;
  std::uint16_t decision_topic_ = 0;
  std::uint16_t order_topic_ = 0;
  std::uint16_t fill_topic_ = 0;
  std::uint16_t outcome_topic_ = 0;
  Series trades_gauge_;
  Series closed_gauge_;
  Series pnl_gauge_;
  Series decisions_gauge_;
};

}  // namespace ephor::trade_tracker

EPHOR_PLUGIN(ephor::trade_tracker::TradeTracker, "trade_tracker")
