// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <cmath>
#include <ephor/events.hpp>
#include <ephor/id_rows.hpp>
#include <ephor/json.hpp>
#include <ephor/ledger.hpp>
#include <ephor/metric_batch.hpp>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <ephor/text_hash.hpp>
#include <ephor/times.hpp>
#include <set>
#include <tuple>

#include "analysis.hpp"
#include "answers.hpp"
#include "drawdown_watch.hpp"
#include "equity.hpp"
#include "join_table.hpp"
#include "performance.hpp"
#include "period_answer.hpp"
#include "requests.hpp"
#include "rows.hpp"
#include "settings.hpp"
#include "trade_story.hpp"
#include "vocabulary.hpp"
#include "votes.hpp"

namespace ephor::trade_tracker {
namespace {

constexpr std::int64_t kPageRows = 500;

constexpr const char* kIdTable = "trade_tracker_ids";
// Kinds of its rows. Stored: numbers are never used again.
constexpr std::int64_t kTradeIds = 1;
constexpr std::int64_t kDecisionIds = 2;
constexpr std::int64_t kDecisionStubIds = 3;  // of which only an outcome or a path has come

constexpr std::size_t kExecutionEventsMax = 100;

std::optional<double> amount(const std::optional<double>& number) {
  return number && std::abs(*number) <= kAmountMax ? number : std::nullopt;
}

std::string trace_hex(const Event& event) {
  static constexpr std::string_view kHexDigits = "0123456789abcdef";
  std::string out;
  bool is_set = false;
  for (const std::uint8_t byte : event.trace_id) {
    is_set = is_set || byte != 0;
    out += kHexDigits[byte >> 4];
    out += kHexDigits[byte & 0xF];
  }
  return is_set ? out : std::string();
}

std::string_view data_of(const Event& event) {
  return {event.record + event.data_offset, event.record_length - event.data_offset};
}
bool has_member(const Event& event, std::string_view quoted_name) {
  return data_of(event).find(quoted_name) != std::string_view::npos;
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
  trade.trace_id = trace_hex(event);
  return trade;
}

}  // namespace

class TradeTracker final : public Plugin {
 public:
  static constexpr std::string_view kVersion = "0.1.0";
  static constexpr std::string_view kSummary =
      "trades opened and closed, profit and loss, joined with decisions, orders and fills";
  static constexpr std::uint32_t kStateVersion = 2;
  static constexpr std::string_view kConfigSchema = trade_tracker::kConfigSchema;

  TradeTracker(Host host, std::string_view config)
      : host_(std::move(host)),
        settings_(config),
        trades_(settings_.max_trades_in_memory),
        decisions_(settings_.max_decisions_in_memory),
        trade_ids_(settings_.max_distinct_ids),
        decision_ids_(settings_.max_distinct_ids),
        decision_stub_ids_(settings_.max_distinct_ids),
        joins_(settings_.max_joins),
        performance_(settings_.max_groups, settings_.max_curve_points),
        equity_(settings_.max_equity_days),
        drawdown_({settings_.max_drawdown_alert, settings_.max_drawdown_alert_amount},
                  host_.instance(), settings_.max_findings) {
    host_.declare_tables(kTablesJson);
    trade_topic_ = host_.topic_id("ephor.trade");
    decision_topic_ = host_.topic_id("ephor.ensemble_decision");
    order_topic_ = host_.topic_id("ephor.order");
    fill_topic_ = host_.topic_id("ephor.fill");
    outcome_topic_ = host_.topic_id("ephor.outcome");
    path_topic_ = host_.topic_id("ephor.decision_path");
    metric_topic_ = host_.topic_id("ephor.metric");
    metric_batch_topic_ = host_.topic_id("ephor.metric_batch");
    quoted_metric_ = "\"" + settings_.equity_metric + "\"";
    trades_gauge_ = host_.gauge("ephor_trade_tracker_trades", "Distinct trades");
    closed_gauge_ = host_.gauge("ephor_trade_tracker_trades_closed", "Closed trades");
    pnl_gauge_ = host_.gauge("ephor_trade_tracker_pnl", "Realised profit and loss");
    decisions_gauge_ = host_.gauge("ephor_trade_tracker_decisions", "Distinct decisions");
    provide_queries();
  }

  void start() override {
    host_.subscribe({"ephor.trade", "ephor.ensemble_decision", "ephor.order", "ephor.fill",
                     "ephor.outcome", "ephor.decision_path", "ephor.metric", "ephor.metric_batch"});
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
    save_ids(rows, kIdTable, kDecisionStubIds, decision_stub_ids_);
    StateWriter out(state);
    out.varint(trade_ids_.size()).varint(decision_ids_.size()).varint(decision_stub_ids_.size());
    out.varint(unreadable_).varint(orders_).varint(fills_);
    fill_fees_.write(out);
    joins_.write(out);
    performance_.write(out);
    equity_.write(out);
    drawdown_.write(out);
    out.i64(latest_ns_).varint(paths_too_long_);
  }

  bool load(std::uint32_t version, std::string_view state) override {
    std::size_t trade_count = 0;
    std::size_t decision_count = 0;
    std::size_t stub_count = 0;
    const bool is_read = version == kStateVersion && read_state(state, [&](StateReader& in) {
                           trade_count = static_cast<std::size_t>(in.varint());
                           decision_count = static_cast<std::size_t>(in.varint());
                           stub_count = static_cast<std::size_t>(in.varint());
                           unreadable_ = in.varint();
                           orders_ = in.varint();
                           fills_ = in.varint();
                           fill_fees_.read(in);
                           joins_.read(in);
                           performance_.read(in);
                           equity_.read(in);
                           drawdown_.read(in);
                           latest_ns_ = in.i64();
                           paths_too_long_ = in.varint();
                         });
    return is_read && load_ids(host_, kIdTable,
                               {{kTradeIds, trade_ids_, trade_count},
                                {kDecisionIds, decision_ids_, decision_count},
                                {kDecisionStubIds, decision_stub_ids_, stub_count}});
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
    } else if (event.topic == metric_topic_) {
      read_metric(event);
    } else if (event.topic == metric_batch_topic_) {
      read_metric_batch(event);
    } else if (event.topic == decision_topic_) {
      read_decision(event);
    } else if (event.topic == path_topic_) {
      read_path(event);
    } else if (event.topic == trade_topic_) {
      read_trade(event);
    } else if (event.topic == fill_topic_ || event.topic == order_topic_) {
      read_order(event);
    }
    latest_ns_ = std::max(latest_ns_, event.time_ns);
  }

  void read_trade(const Event& event) {
    TradeRecord news = trade_from(reader_.trade(event), event);
    news.correlation_id = correlation_id(event, correlation_scratch_);
    std::string nested_decision;
    std::string nested_path;
    read_rare_members(event, news, nested_decision, nested_path);
    const std::uint64_t key = hash64(news.trade_id);
    const bool is_close = news.is_closed();
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
    if (!nested_decision.empty()) {
      read_nested(event, nested_decision, [this](const Event& plain) { read_decision(plain); });
    }
    if (!nested_path.empty()) {
      read_nested(event, nested_path, [this](const Event& plain) { read_path(plain); });
    }
    if (is_close && equity_.is_empty()) {
      const double base = settings_.initial_equity.value_or(0.0);
      watch_drawdown(event, base + performance_.all().pnl.value(),
                     settings_.initial_equity.has_value());
    }
  }

  // What few trades have: a second look at the event only if the name is in it at all. A nested
  // decision or path becomes the data of an event of its own; its own decision_id wins, as the
  // later of two members does.
  void read_rare_members(const Event& event, TradeRecord& trade, std::string& nested_decision,
                         std::string& nested_path) {
    const bool has_excursion = has_member(event, "_excursion\"");
    const bool has_decision = has_member(event, "\"ensemble_decision\"");
    const bool has_path = has_member(event, "\"decision_path\"");
    if (!has_excursion && !has_decision && !has_path) return;
    const std::string& decision_id = trade.decision_id.empty() ? trade.trade_id : trade.decision_id;
    const auto nested = [&](simdjson::dom::element value) -> std::string {
      const std::string text = simdjson::minify(value);
      if (!value.is_object() || text.size() <= 2) return {};
      return "{\"decision_id\":" + Json(decision_id).dump() + "," + text.substr(1);
    };
    const simdjson::dom::object data = reader_.object(event);
    for (const auto& [name, value] : data) {
      if (name == "ensemble_decision") {
        nested_decision = nested(value);
      } else if (name == "decision_path") {
        nested_path = nested(value);
      } else if (name == "max_adverse_excursion") {
        trade.max_adverse_excursion = amount(EventReader::number(value));
      } else if (name == "max_favorable_excursion") {
        trade.max_favorable_excursion = amount(EventReader::number(value));
      } else if (name == "execution_metadata" && value.is_object()) {
        const simdjson::dom::object inner = value.get_object().value_unsafe();
        for (const auto& [inner_name, inner_value] : inner) {
          if (inner_name == "max_adverse_excursion") {
            trade.max_adverse_excursion = amount(EventReader::number(inner_value));
          } else if (inner_name == "max_favorable_excursion") {
            trade.max_favorable_excursion = amount(EventReader::number(inner_value));
          }
        }
      }
    }
    if (trade.decision_id.empty() && !nested_decision.empty()) trade.decision_id = decision_id;
  }

  template <typename Read>
  void read_nested(const Event& event, const std::string& data, Read&& read) {
    std::string text = "{\"data\":" + data + "}";
    Event plain = event;
    plain.record_length = static_cast<std::uint32_t>(text.size());
    plain.data_offset = 8;
    plain.correlation = 0;  // its text is not in this record
    text.append(simdjson::SIMDJSON_PADDING, '\0');
    plain.record = text.data();
    read(plain);
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
    const EnsembleDecision told = reader_.decision(event);
    if (told.decision_id.empty()) throw Error(EPHOR_INVALID, "a decision without decision_id");
    DecisionRecord news;
    news.decision_id = told.decision_id;
    news.ensemble_id = told.ensemble_id;
    news.symbol = told.symbol;
    news.regime = told.regime;
    news.final_decision = text_of(told.final_decision);
    news.meta_prediction = text_of(told.meta_learner_prediction);
    news.members_json = members_json(told.members, told.weights);
    news.confidence = told.primary_confidence;
    news.meta_confidence = told.meta_learner_confidence;
    news.consensus_level = told.consensus_level;
    news.disagreement_score = told.disagreement_score;
    news.trace_id = trace_hex(event);
    news.time_ns = event.time_ns;
    news.correlation_id = correlation_id(event, correlation_scratch_);
    const std::uint64_t key = hash64(news.decision_id);
    // The outcome may have come before. A decision told twice (by itself and inside of a trade
    // record): what is known stays.
    if (DecisionRecord* known = find_decision(key, news.decision_id)) {
      fill_gaps(*known, news);
      news.decision_id = known->decision_id;
      news.regime = known->regime;
      news.members_json = known->members_json;
    } else {
      decisions_.insert(key, news);
    }
    decisions_.mark_changed(key);
    decision_ids_.insert(key);
    const auto waiting = joins_.take_waiting(JoinTable::key('d', news.decision_id));
    if (waiting.empty()) return;
    const std::string votes = votes_of_members(news.members_json);
    for (const std::string& trade_id : waiting) give_decision(trade_id, news.regime, votes);
  }

  static void fill_gaps(DecisionRecord& known, DecisionRecord& news) {
    for (const auto field : {&DecisionRecord::ensemble_id, &DecisionRecord::symbol,
                             &DecisionRecord::regime, &DecisionRecord::final_decision,
                             &DecisionRecord::correlation_id, &DecisionRecord::trace_id,
                             &DecisionRecord::meta_prediction, &DecisionRecord::members_json}) {
      if ((known.*field).empty()) known.*field = std::move(news.*field);
    }
    for (const auto field :
         {&DecisionRecord::confidence, &DecisionRecord::meta_confidence,
          &DecisionRecord::consensus_level, &DecisionRecord::disagreement_score}) {
      if (!(known.*field)) known.*field = news.*field;
    }
    known.time_ns = known.time_ns == 0 ? news.time_ns : std::min(known.time_ns, news.time_ns);
  }

  void read_path(const Event& event) {
    if (!settings_.keep_decision_paths) return;
    const simdjson::dom::object data = reader_.object(event);
    std::string_view id;
    if (data["decision_id"].get(id) != simdjson::SUCCESS || id.empty()) {
      throw Error(EPHOR_INVALID, "a decision path without decision_id");
    }
    std::string text = simdjson::minify(data);
    if (text.size() > settings_.max_path_bytes) {
      ++paths_too_long_;
      return;
    }
    const std::string decision_id(id);
    const std::uint64_t key = hash64(decision_id);
    DecisionRecord& decision = decision_or_stub(key, decision_id);
    decision.path_json = std::move(text);
    decisions_.mark_changed(key);
  }

  // The account's equity. Other metrics are told apart before the record is parsed.
  void read_metric(const Event& event) {
    if (settings_.equity_metric.empty() || !has_member(event, quoted_metric_)) return;
    const simdjson::dom::object data = reader_.object(event);
    std::string_view name;
    std::optional<double> value;
    std::string account;
    for (const auto& [member, content] : data) {
      if (member == "name") {
        name = EventReader::text(content);
      } else if (member == "value") {
        value = amount(EventReader::number(content));
      } else if (member == "labels" && content.is_object()) {
        const simdjson::dom::object labels = content.get_object().value_unsafe();
        for (const std::string_view label : {"account", "strategy", "environment"}) {
          std::string_view text;
          if (labels[label].get(text) == simdjson::SUCCESS) (account += text) += '\n';
        }
      }
    }
    if (name != settings_.equity_metric || !value || !std::isfinite(*value)) return;
    equity_.add(account, {event.time_ns, *value});
    if ((event.flags & EPHOR_EVENT_LATE) != 0 || equity_.is_ambiguous()) return;
    watch_drawdown(event, *value, true);
  }

  void read_metric_batch(const Event& event) {
    if (settings_.equity_metric.empty() || !has_member(event, quoted_metric_)) return;
    const bool is_late = (event.flags & EPHOR_EVENT_LATE) != 0;
    metric_reader_.for_each_series(event, [&](const MetricSamples& series) {
      if (series.name != settings_.equity_metric) return;
      std::string account;
      for (const std::string_view wanted : {"account", "strategy", "environment"}) {
        for (const MetricLabel& label : series.labels) {
          if (label.name == wanted) (account += label.value) += '\n';
        }
      }
      std::vector<MetricSample> samples(series.samples.begin(), series.samples.end());
      std::stable_sort(samples.begin(), samples.end(),
                       [](const auto& a, const auto& b) { return a.time_ns < b.time_ns; });
      for (const MetricSample& sample : samples) {
        equity_.add(account, {sample.time_ns, sample.value});
        if (!is_late && !equity_.is_ambiguous()) {
          watch_drawdown(event, sample.time_ns, sample.value, true);
        }
      }
    });
  }

  void watch_drawdown(const Event& event, double equity, bool is_whole) {
    watch_drawdown(event, event.time_ns, equity, is_whole);
  }
  void watch_drawdown(const Event& event, std::int64_t time_ns, double equity, bool is_whole) {
    drawdown_.update(time_ns, equity, is_whole);
    if (drawdown_.findings().has_news()) drawdown_.findings().publish(host_, event);
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
    DecisionRecord& decision = decision_or_stub(key, outcome.decision_id);
    decision.actual = text_of(outcome.actual);
    decision.realised_return = outcome.realized_return;
    decisions_.mark_changed(key);
  }

  // The decision, or a record that waits for it.
  DecisionRecord& decision_or_stub(std::uint64_t key, std::string_view id) {
    if (DecisionRecord* known = find_decision(key, id)) return *known;
    DecisionRecord fresh;
    fresh.decision_id = id;
    decision_stub_ids_.insert(key);
    return decisions_.insert(key, std::move(fresh));
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
    if (!trade.decision_regime.empty() && !trade.model_votes.empty()) return;
    const DecisionRecord* decision = find_decision(hash64(trade.decision_id), trade.decision_id);
    if (decision != nullptr) {
      if (trade.decision_regime.empty()) trade.decision_regime = decision->regime;
      if (trade.model_votes.empty()) trade.model_votes = votes_of_members(decision->members_json);
    }
    wait_for_decision(trade);
  }

  // Also where the trade names a regime itself: what is stored must not hang on the order.
  void wait_for_decision(const TradeRecord& trade) {
    if (!trade.decision_regime.empty() && !trade.model_votes.empty()) return;
    joins_.wait(JoinTable::key('d', trade.decision_id), trade.trade_id);
  }

  void give_decision(const std::string& trade_id, const std::string& regime,
                     const std::string& votes) {
    const std::uint64_t key = hash64(trade_id);
    const TradeRecord* trade = find_trade(key, trade_id);
    if (trade == nullptr) return;
    TradeRecord updated = *trade;
    if (updated.decision_regime.empty()) updated.decision_regime = regime;
    if (updated.model_votes.empty()) updated.model_votes = votes;
    replace(key, std::move(updated));
    wait_for_decision(*trades_.find(key));
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
    if (!decision_ids_.may_contain(key) && !decision_stub_ids_.may_contain(key)) return nullptr;
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
                         .summary = "Trades, latest first; filters: status, symbol, side, regime, "
                                    "model, result, decision_id, correlation_id, from, to; sort, "
                                    "limit, offset, cursor",
                         .response_schema = R"({"type":"object","x-run-dependent":[
"trades/*/first_sequence","next_cursor"]})"},
                        [this](std::string_view request) { return answer_trades(request); });
    host_.provide_route({.method = "GET",
                         .path = "/api/trades/{trade_id}",
                         .query = "trade_tracker.trade",
                         .summary = "One trade: decision, models, path, orders and fills",
                         .response_schema = R"({"type":"object","x-run-dependent":[
"first_sequence","**/sequence"]})"},
                        [this](std::string_view request) { return answer_trade(request); });
    host_.provide_route({.method = "GET",
                         .path = "/api/performance",
                         .query = "trade_tracker.performance",
                         .summary = "Trading figures over all trades or those of a period; from, "
                                    "to, symbol, side, regime; points: of the curve"},
                        [this](std::string_view request) { return answer_performance(request); });
    host_.provide_query("trade_tracker.describe",
                        "Trades and decisions that carry one of the request's ids",
                        [this](std::string_view request) { return answer_describe(request); });
    host_.provide_query("trade_tracker.summary", "Figures of the whole history",
                        [this](std::string_view) { return answer_summary(); });
  }

  std::string answer_trades(std::string_view text) {
    const Json request = parse_json(text, "request");
    const auto limit = static_cast<std::size_t>(request_integer(request, "limit", 100, 1, 1000));
    const auto offset =
        static_cast<std::size_t>(request_integer(request, "offset", 0, 0, 1'000'000'000));
    const TradeFilter filter(request);
    const TradeOrder order(request);
    Json over{{"trades", trade_ids_.size()},
              {"from", time_or_null(filter.period.from_ns)},
              {"to", time_or_null(filter.period.to_ns)}};
    std::vector<TradeRecord> found;
    const bool is_paged = filter.is_plain() && order.is_default() && offset == 0;
    if (is_paged) {
      found = trades_in_memory(filter, limit + 1);
      // What is in memory is newer than its row; the table is asked only for what is not.
      if (trades_.size() < trade_ids_.size()) add_stored_trades(filter, limit + 1, found);
    } else {
      const std::int64_t from_ns = filter.period.from_ns.value_or(INT64_MIN);
      const bool is_whole = visit_trades(from_ns, [&](std::uint64_t, const TradeRecord& trade) {
        if (filter.accepts(trade)) found.push_back(trade);
      });
      require_whole(is_whole);
      over["matching"] = found.size();
    }
    std::sort(found.begin(), found.end(), order);
    found.erase(found.begin(),
                found.begin() + static_cast<std::ptrdiff_t>(std::min(offset, found.size())));
    const bool has_more = found.size() > limit;
    if (has_more) found.resize(limit);
    Json list = Json::array();
    for (const TradeRecord& trade : found) list.push_back(trade_json(trade));
    const bool has_cursor = has_more && order.is_default();
    return dump({{"over", std::move(over)},
                 {"next_cursor", has_cursor ? Json(std::to_string(found.back().sequence)) : Json()},
                 {"next_offset", has_more ? Json(offset + limit) : Json()},
                 {"trades", std::move(list)}});
  }

  // Calls `visit(key, trade)` for each trade that ended at or after `from_ns` or has not ended,
  // from memory or its row, in no certain order. False if the bound of one question was met.
  template <typename Visit>
  bool visit_trades(std::int64_t from_ns, Visit&& visit) {
    std::size_t count = 0;
    trades_.for_each([&](const TradeRecord& trade) {
      if (end_of(trade) < from_ns || ++count > settings_.max_trades_scanned) return;
      visit(hash64(trade.trade_id), trade);
    });
    if (trades_.size() < trade_ids_.size()) {
      host_.select("SELECT " + std::string(kTradeColumns) + " FROM trades WHERE end_ns >= ?",
                   {Cell::integer_value(from_ns)}, [&](std::span<const ephor_cell> cells) {
                     TradeRecord trade = trade_of(cells);
                     const std::uint64_t key = hash64(trade.trade_id);
                     if (trades_.find(key) != nullptr) return;
                     if (++count > settings_.max_trades_scanned) return;
                     visit(key, trade);
                   });
    }
    return count <= settings_.max_trades_scanned;
  }
  void require_whole(bool is_whole) const {
    if (is_whole) return;
    throw Error(EPHOR_INVALID,
                "from: found more than " + std::to_string(settings_.max_trades_scanned) +
                    " trades to go through (max_trades_scanned), expected a shorter period",
                "/from");
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
    out["decision"] = nullptr;
    out["models"] = Json::array();
    if (const auto decision = decision_of_trade(*trade)) {
      out["decision"] = decision_json(*decision);
      out["models"] = models_json(*trade, *decision);
      if (trade->trace_id.empty()) out["trace_id"] = text_or_null(decision->trace_id);
      if (trade->correlation_id.empty()) {
        out["correlation_id"] = text_or_null(decision->correlation_id);
      }
    }
    out["executions"] = executions_json(*trade);
    return dump(out);
  }

  // {"ids": [...]}: what is known of them, of trades also in their rows. Empty: nothing is.
  std::string answer_describe(std::string_view text) {
    constexpr std::size_t kDescribedMax = 100;
    const Json request = parse_json(text, "request");
    const auto ids = member_or(request, "ids", std::vector<std::string>{});
    const auto is_asked = [&](const std::string& id) {
      return !id.empty() && std::find(ids.begin(), ids.end(), id) != ids.end();
    };
    std::map<std::string, TradeRecord> trades;
    trades_.for_each([&](const TradeRecord& trade) {
      const bool is_wanted = is_asked(trade.trade_id) || is_asked(trade.decision_id) ||
                             is_asked(trade.execution_id) || is_asked(trade.order_id) ||
                             is_asked(trade.correlation_id) || is_asked(trade.trace_id);
      if (is_wanted && trades.size() < kDescribedMax) trades.emplace(trade.trade_id, trade);
    });
    Json decisions = Json::array();
    for (const std::string& id : ids) {
      const std::uint64_t key = hash64(id);
      if (!trades.contains(id) && trade_ids_.may_contain(key)) {
        if (auto stored = select_trade(id)) trades.emplace(id, std::move(*stored));
      }
      std::optional<DecisionRecord> decision;
      if (const DecisionRecord* known = decisions_.find(key)) {
        decision = *known;
      } else if (decision_ids_.may_contain(key) || decision_stub_ids_.may_contain(key)) {
        decision = select_decision(id);
      }
      if (decision && decisions.size() < kDescribedMax)
        decisions.push_back(decision_json(*decision));
    }
    if (trades.empty() && decisions.empty()) return "{}";
    Json list = Json::array();
    for (const auto& [id, trade] : trades) list.push_back(trade_json(trade));
    return dump({{"trades", std::move(list)}, {"decisions", std::move(decisions)}});
  }

  std::optional<DecisionRecord> decision_of_trade(const TradeRecord& trade) {
    if (trade.decision_id.empty()) return std::nullopt;
    if (const DecisionRecord* known = decisions_.find(hash64(trade.decision_id))) return *known;
    return select_decision(trade.decision_id);
  }

  // Orders and fills of a trade as the journal has them.
  Json executions_json(const TradeRecord& trade) const {
    ExecutionStory story;
    std::set<std::uint64_t> known;
    for (const std::string& id : {trade.execution_id, trade.order_id}) {
      if (id.empty()) continue;
      host_.find_events(id, [&](const Event& event) {
        const bool is_wanted = event.topic == order_topic_ || event.topic == fill_topic_;
        if (!is_wanted || known.size() >= kExecutionEventsMax) return;
        if (!known.insert(event.sequence).second) return;
        const Json record =
            event.encoding == EPHOR_ENCODING_JSON
                ? Json::parse(event.record, event.record + event.record_length, nullptr, false)
                : Json::parse(host_.render_json(event), nullptr, false);
        if (record.is_object()) {
          story.add(event.topic == fill_topic_, event.sequence, event.time_ns, record);
        }
      });
    }
    return story.json();
  }

  std::string answer_performance(std::string_view text) {
    const Json request = parse_json(text, "request");
    const auto points = static_cast<std::size_t>(request_integer(request, "points", 200, 2, 5000));
    const Period period = request_period(request);
    const std::string symbol = request_text(request, "symbol");
    const std::string side = normalise_side(request_text(request, "side"));
    const std::string regime = request_text(request, "regime");
    const bool is_part = !symbol.empty() || !side.empty() || !regime.empty();
    const bool is_all = !is_part && !period.from_ns && !period.to_ns;

    Performance of_period(settings_.max_groups, settings_.max_curve_points);
    Analyst analyst(period, latest_ns_, settings_.max_groups);
    ExactSum pnl_from;  // of all closes from the period's begin on
    const std::int64_t from_ns = period.from_ns.value_or(INT64_MIN);
    const bool is_whole = visit_trades(from_ns, [&](std::uint64_t key, const TradeRecord& trade) {
      if (const auto pnl = realised_pnl(trade); pnl && trade.close_ns) pnl_from.add(*pnl);
      const bool is_wanted = (symbol.empty() || trade.symbol == symbol) &&
                             (side.empty() || trade.side == side) &&
                             (regime.empty() || trade.known_regime() == regime);
      const bool is_later = period.to_ns && trade.open_ns && *trade.open_ns >= *period.to_ns;
      if (!is_wanted || is_later) return;
      const TradeRecord stood = period.to_ns ? as_of(trade, *period.to_ns) : trade;
      if (!is_all) of_period.add(key, stood);
      analyst.add(key, stood);
    });
    if (!is_all) require_whole(is_whole);
    Json out = performance_json(is_all ? performance_ : of_period, points);
    EquityBase base = equity_base(period);
    if (base.equity_first && period.from_ns) {
      ExactSum before = performance_.all().pnl;
      before.add(-pnl_from.value());
      *base.equity_first += before.value();
    }
    if (is_whole) {
      add_analysis(out, analyst.finish(), base, settings_.periods_per_year, is_part);
    } else {
      out["reasons"]["analysis"] = "more trades than max_trades_scanned: ask for a period";
    }
    out["over"] = {{"from", time_or_null(period.from_ns)},
                   {"to", time_or_null(period.to_ns)},
                   {"known_to", latest_ns_ == 0 ? Json() : Json(format_time(latest_ns_))},
                   {"symbol", text_or_null(symbol)},
                   {"side", text_or_null(side)},
                   {"regime", text_or_null(regime)}};
    out["decisions"] = decision_ids_.size();
    out["orders"] = orders_;
    out["fills"] = fills_;
    out["fill_fees"] = fills_ == 0 ? Json() : Json(fill_fees_.value());
    out["trades_waiting_for_a_join"] = joins_.waiting_count();
    out["unreadable"] = unreadable_;
    out["decision_paths_too_long"] = paths_too_long_;
    return dump(out);
  }

  // What is known of the account's equity, and as what it is told.
  EquityBase equity_base(const Period& period) const {
    EquityBase base;
    base.period = period;
    base.known_to_ns = latest_ns_;
    if (equity_.is_ambiguous()) {
      base.reason = "several accounts tell an equity: they are not added up";
    } else if (const auto first = equity_.first()) {
      base.source = "ephor.metric " + settings_.equity_metric;
      // Before the first trade as a rule; a trade closed before it is in the value already.
      base.equity_first = first->value - pnl_before(first->time_ns);
      base.days = &equity_;
    } else if (settings_.initial_equity) {
      base.source = "initial_equity";
      base.equity_first = *settings_.initial_equity;
    } else {
      base.reason = settings_.equity_metric.empty()
                        ? "no initial_equity is configured"
                        : "no metric " + settings_.equity_metric +
                              " has come and no initial_equity is configured";
    }
    return base;
  }

  double pnl_before(std::int64_t time_ns) const {
    return performance_.curve().before(time_ns).value_or(0.0);
  }

  std::string answer_summary() const {
    const TradeGroup& all = performance_.all();
    return dump({{"decisions", decision_ids_.size()},
                 {"trades", trade_ids_.size()},
                 {"trades_closed", all.closed},
                 {"trades_won", all.won},
                 {"pnl", all.closed_with_pnl() == 0 ? Json() : Json(all.pnl.value())},
                 {"findings", drawdown_.findings().list()}});
  }

  Host host_;
  Settings settings_;
  EventReader reader_;
  MetricReader metric_reader_{host_};
  Ledger<TradeRecord> trades_;
  Ledger<DecisionRecord> decisions_;
  IdSet trade_ids_;
  IdSet decision_ids_;
  IdSet decision_stub_ids_;
  JoinTable joins_;
  Performance performance_;
  EquityDays equity_;
  DrawdownWatch drawdown_;
  std::int64_t latest_ns_ = 0;  // greatest event time
  std::uint64_t paths_too_long_ = 0;
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
  std::uint16_t path_topic_ = 0;
  std::uint16_t metric_topic_ = 0;
  std::uint16_t metric_batch_topic_ = 0;
  std::string quoted_metric_;
  Series trades_gauge_;
  Series closed_gauge_;
  Series pnl_gauge_;
  Series decisions_gauge_;
};

}  // namespace ephor::trade_tracker

EPHOR_PLUGIN(ephor::trade_tracker::TradeTracker, "trade_tracker")
