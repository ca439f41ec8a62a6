// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <ephor/events.hpp>
#include <ephor/id_rows.hpp>
#include <ephor/json.hpp>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "answers.hpp"
#include "reading.hpp"
#include "rows.hpp"
#include "settings.hpp"
#include "tracker.hpp"

namespace ephor::ensemble_tracker {
namespace {

constexpr const char* kIdTable = "ensemble_tracker_ids";
constexpr std::int64_t kDecisionIds = 1;  // kind of its rows; stored: never used again
constexpr std::int64_t kListMax = 10'000;

}  // namespace

class EnsembleTracker final : public Plugin {
 public:
  static constexpr std::string_view kVersion = "0.1.0";
  static constexpr std::string_view kSummary =
      "ensembles: who decides, with which weight, how right; regret, regimes, decision paths";
  static constexpr std::uint32_t kStateVersion = 1;
  static constexpr std::string_view kConfigSchema = ensemble_tracker::kConfigSchema;

  EnsembleTracker(Host host, std::string_view config)
      : host_(std::move(host)),
        settings_(config),
        tracker_(settings_, host_.instance(),
                 [this](std::string_view id) { return select_decision(id); }) {
    host_.declare_tables(kTablesJson);
    decision_topic_ = host_.topic_id("ephor.ensemble_decision");
    prediction_topic_ = host_.topic_id("ephor.prediction");
    outcome_topic_ = host_.topic_id("ephor.outcome");
    regime_topic_ = host_.topic_id("ephor.regime");
    transition_topic_ = host_.topic_id("ephor.regime_transition");
    path_topic_ = host_.topic_id("ephor.decision_path");
    tick_topic_ = host_.topic_id("ephor.tick");
    flush_topic_ = host_.topic_id("ephor.flush");
    decisions_gauge_ = host_.gauge("ephor_ensemble_tracker_decisions", "Distinct decisions");
    open_gauge_ = host_.gauge("ephor_ensemble_tracker_open", "Decisions that wait for outcomes");
    provide_queries();
  }

  void start() override {
    // What is switched off is not even sent.
    const bool ensembles = settings_.enable_ensemble_tracking;
    const bool regimes = settings_.enable_regime_tracking;
    const bool paths = settings_.enable_decision_path_tracking && ensembles;
    const std::string_view none = "ephor.tick";
    host_.subscribe({"ephor.tick", "ephor.flush", ensembles ? "ephor.ensemble_decision" : none,
                     ensembles ? "ephor.prediction" : none, ensembles ? "ephor.outcome" : none,
                     regimes ? "ephor.regime" : none, regimes ? "ephor.regime_transition" : none,
                     paths ? "ephor.decision_path" : none});
  }

  void on_events(std::span<const Event> events) override {
    for (const Event& event : events) {
      try {
        read_event(event);
      } catch (const Error& failure) {
        count_failure(failure);
      }
    }
    decisions_gauge_.set(static_cast<double>(tracker_.counts().decisions));
    open_gauge_.set(static_cast<double>(tracker_.open().size()));
  }

  void save(const Rows& rows, std::string& state) override {
    RowWriter writer(rows, tracker_);
    OpenDecisions& open = tracker_.open();
    for (std::uint32_t slot = open.oldest(); slot != OpenDecisions::kNone; slot = open.next(slot)) {
      if (open.take_changed(slot) && open.at(slot).is_decided) writer.decision(open.at(slot));
    }
    tracker_.closed().save([&](const Decision& decision) { writer.decision(decision); });
    for (const auto& group : tracker_.groups()) {
      group->save_hours([&](std::int64_t hour, const HourFigures& figures) {
        writer.hour(*group, hour, figures);
      });
    }
    if (Group* overall = tracker_.overall_group()) {
      overall->save_hours([](std::int64_t, const HourFigures&) {});
    }
    for (const RegimeTransition& one : tracker_.regimes().take_new()) writer.transition(one);
    save_ids(rows, kIdTable, kDecisionIds, tracker_.decision_ids());
    StateWriter out(state);
    out.varint(tracker_.decision_ids().size()).varint(unreadable_);
    tracker_.write(out);
  }

  bool load(std::uint32_t version, std::string_view state) override {
    std::size_t ids = 0;
    const bool is_read = version == kStateVersion && read_state(state, [&](StateReader& in) {
                           ids = static_cast<std::size_t>(in.varint());
                           unreadable_ = in.varint();
                           tracker_.read(in);
                         });
    return is_read && load_ids(host_, kIdTable, {{kDecisionIds, tracker_.decision_ids(), ids}});
  }

 private:
  // ---- events

  // One bad event must not cost the rest of its slice.
  void count_failure(const Error& failure) {
    ++unreadable_;
    if (failure.code() == EPHOR_INVALID || failure.code() == EPHOR_NOT_FOUND) return;
    host_.log(EPHOR_LOG_ERROR, failure.what());
    host_.report_health(EPHOR_HEALTH_DEGRADED, failure.what());
  }

  void read_event(const Event& event) {
    const EventFacts facts{event.time_ns, event.sequence, event.correlation,
                           (event.flags & EPHOR_EVENT_LATE) != 0};
    if (event.topic == prediction_topic_) {
      tracker_.add_prediction(reader_.prediction(event), reader_.classes(), facts);
    } else if (event.topic == outcome_topic_) {
      tracker_.add_outcome(reader_.outcome(event), facts);
    } else if (event.topic == tick_topic_ || event.topic == flush_topic_) {
      tracker_.advance(event.time_ns, event.topic == flush_topic_);
    } else if (event.topic == decision_topic_) {
      const std::string_view correlation = correlation_id(event, correlation_scratch_);
      tracker_.add_decision(reader_.decision(event), reader_.classes(), facts, correlation);
    } else if (event.topic == regime_topic_) {
      tracker_.add_regime(reader_.regime(event), facts);
    } else if (event.topic == path_topic_) {
      tracker_.add_path(reader_.path(event), facts);
    } else if (event.topic == transition_topic_) {
      tracker_.count_transition_told();
    }
    if (tracker_.findings().has_news()) tracker_.findings().publish(host_, event);
  }

  std::optional<Decision> select_decision(std::string_view id) {
    std::optional<Decision> found;
    host_.select("SELECT " + std::string(kDecisionColumns) +
                     " FROM ensemble_decisions WHERE decision_id = ?",
                 {::ephor::Cell::text(id)},
                 [&](std::span<const ephor_cell> cells) { found = decision_of(cells, tracker_); });
    return found;
  }

  // ---- queries

  void provide_queries() {
    host_.provide_route(
        {.method = "GET",
         .path = "/api/ml/ensembles",
         .query = "ensemble_tracker.ensembles",
         .summary = "Every ensemble: decisions, accuracy, weights, regret, agreement; limit, "
                    "offset, from, to (whole hours)"},
        [this](std::string_view text) {
          const Json request = parse_json(text, "request");
          return dump(ensembles_json(
              tracker_, range_of(request),
              static_cast<std::size_t>(request_integer(request, "limit", 100, 1, kListMax)),
              static_cast<std::size_t>(request_integer(request, "offset", 0, 0, kListMax))));
        });
    host_.provide_route(
        {.method = "GET",
         .path = "/api/ensembles/{ensemble_id}",
         .query = "ensemble_tracker.ensemble",
         .summary = "One ensemble, or (all), with its matrices and the history of its weights; "
                    "from, to"},
        [this](std::string_view text) {
          const Json request = parse_json(text, "request");
          const std::string id = request_text(request, "ensemble_id");
          const Json answer = ensemble_json(tracker_, id, range_of(request));
          if (answer.is_null()) {
            throw Error(EPHOR_NOT_FOUND, "no ensemble \"" + id + "\"", "/ensemble_id");
          }
          return dump(answer);
        });
    host_.provide_route(
        {.method = "GET",
         .path = "/api/regimes",
         .query = "ensemble_tracker.regimes",
         .summary = "Regime of each symbol, its changes, latest first; symbol, limit, offset, "
                    "from, to"},
        [this](std::string_view text) {
          const Json request = parse_json(text, "request");
          return dump(regimes_json(
              tracker_, range_of(request),
              static_cast<std::size_t>(request_integer(request, "limit", 100, 1, kListMax)),
              static_cast<std::size_t>(request_integer(request, "offset", 0, 0, kListMax)),
              request_text(request, "symbol")));
        });
    host_.provide_route(
        {.method = "GET",
         .path = "/api/decisions",
         .query = "ensemble_tracker.decisions",
         .summary = "Decisions, latest first; ensemble, regime, decision, symbol, limit, offset, "
                    "from, to"},
        [this](std::string_view text) { return answer_decisions(text); });
    host_.provide_route(
        {.method = "GET",
         .path = "/api/decisions/{decision_id}",
         .query = "ensemble_tracker.decision",
         .summary = "One decision: models, weights, contributions, path, regime, outcome"},
        [this](std::string_view text) {
          const std::string id = request_text(parse_json(text, "request"), "decision_id");
          const auto decision = tracker_.find(id);
          if (!decision) throw Error(EPHOR_NOT_FOUND, "no decision \"" + id + "\"", "/decision_id");
          return dump(decision_detail(tracker_, *decision));
        });
    host_.provide_query(
        "ensemble_tracker.summary", "Figures of the whole history",
        [this](std::string_view) { return dump(summary_json(tracker_, unreadable_)); });
  }

  struct DecisionFilter {
    std::string ensemble;
    std::string regime;
    std::string decision;
    std::string symbol;
    Range range;
  };

  bool accepts(const DecisionFilter& filter, const Decision& decision) const {
    const auto is = [](const Names& names, NameId id, const std::string& wanted) {
      return wanted.empty() || (id != kNoName && names.name(id) == wanted);
    };
    return decision.is_decided && is(tracker_.ensembles(), decision.ensemble, filter.ensemble) &&
           is(tracker_.regime_names(), decision.regime, filter.regime) &&
           is(tracker_.symbols(), decision.symbol, filter.symbol) &&
           (filter.decision.empty() ||
            (decision.final_label != kNoName &&
             tracker_.labels().name(decision.final_label) == filter.decision)) &&
           filter.range.has(decision.time_ns);
  }

  std::string answer_decisions(std::string_view text) {
    const Json request = parse_json(text, "request");
    const auto limit = static_cast<std::size_t>(request_integer(request, "limit", 100, 1, 1000));
    const auto offset =
        static_cast<std::size_t>(request_integer(request, "offset", 0, 0, kListMax));
    DecisionFilter filter;
    filter.ensemble = request_text(request, "ensemble");
    filter.regime = request_text(request, "regime");
    filter.decision = request_text(request, "decision");
    filter.symbol = request_text(request, "symbol");
    filter.range = range_of(request);
    const std::size_t wanted = offset + limit;
    std::map<std::pair<std::int64_t, std::string>, Json> found;  // by time, id
    const auto take = [&](const Decision& decision) {
      if (!accepts(filter, decision)) return;
      const std::pair key(decision.time_ns, decision.id);
      if (found.size() >= wanted && key <= found.begin()->first) return;
      if (found.contains(key)) return;
      found.emplace(key, decision_brief(tracker_, decision));
      if (found.size() > wanted) found.erase(found.begin());
    };
    const OpenDecisions& open = tracker_.open();
    for (std::uint32_t slot = open.oldest(); slot != OpenDecisions::kNone; slot = open.next(slot)) {
      take(open.at(slot));
    }
    tracker_.closed().for_each(take);
    // What is in memory is newer than its row; the table is asked only for what is not.
    const std::size_t in_memory = open.size() + tracker_.closed().size();
    if (in_memory < tracker_.decision_ids().size()) select_decisions(filter, wanted, take);
    Json list = Json::array();
    std::size_t at = 0;
    for (auto one = found.rbegin(); one != found.rend(); ++one) {
      if (at++ >= offset) list.push_back(std::move(one->second));
    }
    return dump({{"over",
                  {{"decisions", tracker_.counts().decisions},
                   {"from", time_or_null(filter.range.from_ns)},
                   {"to", time_or_null(filter.range.to_ns)}}},
                 {"limit", limit},
                 {"offset", offset},
                 {"decisions", std::move(list)}});
  }

  template <typename Take>
  void select_decisions(const DecisionFilter& filter, std::size_t wanted, const Take& take) {
    const std::string sql =
        "SELECT " + std::string(kDecisionColumns) +
        " FROM ensemble_decisions WHERE time_ns < ? AND (? = '' OR ensemble_id = ?) AND "
        "(? = '' OR regime = ?) AND (? = '' OR final_decision = ?) AND (? = '' OR symbol = ?) "
        "ORDER BY time_ns DESC LIMIT ?";
    using ::ephor::Cell;
    // Rows of what is in memory are behind it: so many more may be passed over.
    const auto rows = static_cast<std::int64_t>(
        wanted + std::min<std::size_t>(tracker_.open().size() + tracker_.closed().size(), 20'000));
    std::vector<Decision> stored;
    host_.select(
        sql,
        {Cell::integer_value(filter.range.to_ns.value_or(INT64_MAX)), Cell::text(filter.ensemble),
         Cell::text(filter.ensemble), Cell::text(filter.regime), Cell::text(filter.regime),
         Cell::text(filter.decision), Cell::text(filter.decision), Cell::text(filter.symbol),
         Cell::text(filter.symbol), Cell::integer_value(rows)},
        [&](std::span<const ephor_cell> cells) {
          if (stored.size() >= wanted) return;
          Decision decision = decision_of(cells, tracker_);
          const bool is_open = tracker_.open().find_id(decision.key) != FlatIndex::kNone;
          if (is_open || tracker_.closed().find(decision.key) != nullptr) return;
          if (accepts(filter, decision)) stored.push_back(std::move(decision));
        });
    for (const Decision& decision : stored) take(decision);
  }

  Host host_;
  Settings settings_;
  Tracker tracker_;
  Reader reader_;
  std::uint64_t unreadable_ = 0;
  std::string correlation_scratch_;
  std::uint16_t decision_topic_ = 0;
  std::uint16_t prediction_topic_ = 0;
  std::uint16_t outcome_topic_ = 0;
  std::uint16_t regime_topic_ = 0;
  std::uint16_t transition_topic_ = 0;
  std::uint16_t path_topic_ = 0;
  std::uint16_t tick_topic_ = 0;
  std::uint16_t flush_topic_ = 0;
  Series decisions_gauge_;
  Series open_gauge_;
};

}  // namespace ephor::ensemble_tracker

EPHOR_PLUGIN(ephor::ensemble_tracker::EnsembleTracker, "ensemble_tracker")
