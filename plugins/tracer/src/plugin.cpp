// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <ephor/events.hpp>
#include <ephor/id_rows.hpp>
#include <ephor/json.hpp>
#include <ephor/ledger.hpp>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <ephor/text_hash.hpp>
#include <ephor/times.hpp>
#include <set>

#include "answers.hpp"
#include "correlation_record.hpp"
#include "error_groups.hpp"
#include "red_table.hpp"
#include "regression_monitor.hpp"
#include "settings.hpp"
#include "story.hpp"
#include "trace_store.hpp"

namespace ephor::tracer {
namespace {

constexpr std::size_t kStoryEventsMax = 2000;
constexpr std::size_t kTraceEventsMax = 20'000;
constexpr std::size_t kJoinsMax = 32;

constexpr std::string_view kTables = R"({"version": 1, "tables": [
  {"name": "correlation_tracking", "key": ["correlation_id"], "columns": [
    {"name": "correlation_id", "type": "text"},
    {"name": "request_timestamp", "type": "text"},
    {"name": "response_timestamp", "type": "text"},
    {"name": "component_path", "type": "text"},
    {"name": "performance_metrics", "type": "json"},
    {"name": "error_info", "type": "json"},
    {"name": "metadata", "type": "json"}],
   "indices": [["request_timestamp"]]},
  {"name": "tracer_ids", "key": ["kind", "chunk"], "columns": [
    {"name": "kind", "type": "integer"},
    {"name": "chunk", "type": "integer"},
    {"name": "ids", "type": "blob"}]}]})";

constexpr const char* kIdTable = "tracer_ids";
// Kinds of its rows. Stored: numbers are never used again.
constexpr std::int64_t kTraceIds = 1;
constexpr std::int64_t kFailedTraceIds = 2;
constexpr std::int64_t kCorrelationIds = 3;

// A client's timestamp: text, or a number in seconds, milliseconds, microseconds or nanoseconds
// since the epoch, told apart by size (each unit covers the years 1973 to 5138).
std::optional<std::int64_t> client_time(simdjson::dom::element value) {
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) return parse_time(text);
  std::int64_t whole = 0;
  if (value.get(whole) == simdjson::SUCCESS && whole >= 100'000'000'000'000'000) return whole;
  double number = 0.0;
  if (value.get(number) != simdjson::SUCCESS || !(number > 0.0) || number > 9e18) {
    return std::nullopt;
  }
  const double scale = number < 1e11 ? 1e9 : number < 1e14 ? 1e6 : number < 1e17 ? 1e3 : 1.0;
  return static_cast<std::int64_t>(number * scale);
}

std::string text_of(const ephor_cell& cell) {
  return cell.kind == EPHOR_CELL_NULL ? std::string() : std::string(to_text(cell.bytes));
}

}  // namespace

class Tracer final : public Plugin {
 public:
  static constexpr std::string_view kVersion = "0.1.0";
  static constexpr std::string_view kSummary =
      "traces, correlation ids, rate, errors and durations per operation, grouped errors";
  static constexpr std::uint32_t kStateVersion = 2;
  static constexpr std::string_view kConfigSchema = tracer::kConfigSchema;

  Tracer(Host host, std::string_view config)
      : host_(std::move(host)),
        settings_(config),
        red_(settings_.max_operations),
        errors_(settings_.max_error_groups),
        traces_(settings_.max_trace_history, settings_.max_distinct_ids),
        correlations_seen_(settings_.max_distinct_ids),
        correlations_(settings_.max_tracking_history),
        regressions_(settings_.regressions, host_.instance(), names()) {
    host_.declare_tables(kTables);
    span_topic_ = host_.topic_id("ephor.span");
    request_topic_ = host_.topic_id("ephor.correlation_request");
    flush_topic_ = host_.topic_id("ephor.flush");
    spans_total_ = host_.counter("ephor_tracer_spans_total", "Spans read");
    errors_total_ = host_.counter("ephor_tracer_error_spans_total", "Failed spans read");
    traces_gauge_ = host_.gauge("ephor_tracer_traces", "Distinct trace ids");
    unreadable_total_ = host_.counter("ephor_tracer_unreadable_total", "Events that were no spans");
    provide_queries();
  }

  void start() override {
    if (!settings_.enable_tracing) return;
    host_.subscribe({"ephor.span", "ephor.correlation_request", "ephor.flush"});
  }

  void on_events(std::span<const Event> events) override {
    const std::uint64_t spans = red_.count();
    const std::uint64_t errors = red_.errors();
    for (const Event& event : events) {
      try {
        if (event.encoding == EPHOR_ENCODING_JSON) {
          read_event(event);
        } else {
          read_rendered(event);
        }
      } catch (const Error& failure) {
        count_failure(failure);
      }
    }
    spans_total_.add(static_cast<double>(red_.count() - spans));
    errors_total_.add(static_cast<double>(red_.errors() - errors));
    traces_gauge_.set(static_cast<double>(traces_.trace_count()));
  }

  void save(const Rows& rows, std::string& state) override {
    correlations_.save([&](const CorrelationRecord& record) { upsert(rows, row_of(record)); });
    save_ids(rows, kIdTable, kTraceIds, traces_.seen());
    save_ids(rows, kIdTable, kFailedTraceIds, traces_.failed());
    save_ids(rows, kIdTable, kCorrelationIds, correlations_seen_);
    StateWriter out(state);
    out.varint(traces_.seen().size()).varint(traces_.failed().size());
    out.varint(correlations_seen_.size()).varint(unreadable_).varint(late_);
    red_.write(out);
    errors_.write(out);
    traces_.write(out);
    regressions_.write(out);
  }

  bool load(std::uint32_t version, std::string_view state) override {
    std::size_t counts[3] = {};
    const bool is_read = version == kStateVersion && read_state(state, [&](StateReader& in) {
                           for (std::size_t& count : counts)
                             count = static_cast<std::size_t>(in.varint());
                           unreadable_ = in.varint();
                           late_ = in.varint();
                           red_.read(in);
                           errors_.read(in);
                           traces_.read(in);
                           regressions_.read(in);
                         });
    return is_read && load_ids(host_, kIdTable,
                               {{kTraceIds, traces_.seen(), counts[0]},
                                {kFailedTraceIds, traces_.failed(), counts[1]},
                                {kCorrelationIds, correlations_seen_, counts[2]}});
  }

 private:
  // ---- events

  // One bad event must not cost the rest of its slice.
  void count_failure(const Error& failure) {
    ++unreadable_;
    unreadable_total_.add();
    const bool is_bad_event = failure.code() == EPHOR_INVALID || failure.code() == EPHOR_NOT_FOUND;
    if (is_bad_event) return;
    host_.log(EPHOR_LOG_ERROR, failure.what());
    host_.report_health(EPHOR_HEALTH_DEGRADED, failure.what());
  }

  void read_event(const Event& event) {
    if (event.topic == span_topic_) {
      read_span(event);
    } else if (event.topic == request_topic_) {
      read_request(event);
    } else if (event.topic == flush_topic_) {
      regressions_.judge_all(event.time_ns);
      regressions_.findings().publish(host_, event);
    }
  }

  // Another encoding than JSON: the host writes it as a CloudEvents object.
  void read_rendered(const Event& event) {
    std::string text = host_.render_json(event);
    Event plain = event;
    plain.record_length = static_cast<std::uint32_t>(text.size());
    plain.data_offset = 0;  // no offset known: the reader looks for the data member
    plain.encoding = EPHOR_ENCODING_JSON;
    text.append(simdjson::SIMDJSON_PADDING, '\0');
    plain.record = text.data();
    read_event(plain);
  }

  void read_span(const Event& event) {
    const Span span = reader_.span(event);
    const std::int64_t duration_ns = span.duration_ns();
    const bool is_late = (event.flags & EPHOR_EVENT_LATE) != 0;
    late_ += is_late ? 1 : 0;
    const std::uint32_t operation =
        red_.add(span.component, span.operation, event.time_ns, duration_ns, span.is_error());

    SpanFacts facts;
    std::memcpy(facts.trace_id.data(), event.trace_id, facts.trace_id.size());
    facts.component = span.component;
    facts.operation = span.operation;
    facts.correlation_id = correlation_id(event, correlation_scratch_);
    facts.start_ns = span.start_ns;
    facts.end_ns = span.end_ns;
    facts.is_root = span.parent_span_id.empty();
    facts.is_error = span.is_error();
    const bool is_kept = is_sampled(facts.trace_id, settings_.trace_sampling_rate);
    traces_.add(facts, is_kept);

    if (facts.trace_id != last_trace_id_ || last_trace_hex_.empty()) {
      last_trace_id_ = facts.trace_id;
      last_trace_hex_ = hex_of(facts.trace_id);
    }
    std::uint64_t error_group = 0;
    if (span.is_error()) {
      error_group = errors_.add(span.component, span.operation, span.error_message, event.time_ns,
                                is_kept ? std::string_view(last_trace_hex_) : std::string_view());
    }
    if (event.correlation != 0 && settings_.enable_correlation_tracking) {
      record_for(event.correlation, facts.correlation_id)
          .add_span(span.component, span.operation, span.start_ns, span.end_ns, span.is_error(),
                    span.error_message, last_trace_hex_);
      correlations_.mark_changed(event.correlation);
    }
    if (is_late || !settings_.regressions.is_enabled || !red_.is_one_operation(operation)) return;
    watch(event, span, facts.trace_id, operation, error_group);
  }

  void watch(const Event& event, const Span& span, const TraceId& trace_id, std::uint32_t operation,
             std::uint64_t error_group) {
    OpenSpan open;
    open.id = hash64(span.span_id);
    open.parent = span.parent_span_id.empty() ? 0 : hash64(span.parent_span_id);
    open.start_ns = span.start_ns;
    open.end_ns = span.end_ns;
    open.time_ns = event.time_ns;
    open.operation = operation;
    open.is_error = span.is_error();
    open.error_group = error_group;
    regressions_.add(trace_id == TraceId{} ? 0 : hash_of(trace_id), open);
    regressions_.judge(event.time_ns);
    if (regressions_.findings().has_news()) regressions_.findings().publish(host_, event);
  }

  RegressionNames names() const {
    return {[this](std::uint32_t operation) { return red_.name_of(operation); },
            [this](std::uint64_t error_group) {
              const auto found = errors_.groups().find(error_group);
              return found == errors_.groups().end() ? std::string() : found->second.pattern;
            }};
  }

  void read_request(const Event& event) {
    if (!settings_.enable_correlation_tracking) return;
    const simdjson::dom::object data = reader_.object(event);
    std::string id(correlation_id(event, correlation_scratch_));
    std::string_view in_data;
    if (id.empty() && data["correlation_id"].get(in_data) == simdjson::SUCCESS) id = in_data;
    if (id.empty()) throw Error(EPHOR_INVALID, "a correlation request without an id");
    const std::uint64_t key = event.correlation != 0 ? event.correlation : hash64(id);
    CorrelationRecord& record = record_for(key, id);
    for (const auto& [name, value] : data) {
      if (name == "request_timestamp") {
        if (const auto time = client_time(value)) record.request_ns = time;
      } else if (name == "response_timestamp") {
        if (const auto time = client_time(value)) record.response_ns = time;
      } else if (name == "metadata" && value.is_object()) {
        record.client_metadata_json = simdjson::minify(value);
      } else if (name == "component_path" && value.is_array()) {
        record.requested_path.clear();
        const simdjson::dom::array path = value.get_array().value_unsafe();
        for (const simdjson::dom::element component : path) {
          record.requested_path.emplace_back(EventReader::text(component));
        }
      }
    }
    correlations_.mark_changed(key);
  }

  // The record of a correlation id: in memory, from its row, or new. The caller marks it changed.
  CorrelationRecord& record_for(std::uint64_t key, std::string_view id) {
    if (CorrelationRecord* found = correlations_.find(key)) return *found;
    if (!correlations_seen_.insert(key)) {
      if (auto stored = select_record(id)) return correlations_.insert(key, std::move(*stored));
    }
    CorrelationRecord fresh;
    fresh.id = id;
    return correlations_.insert(key, std::move(fresh));
  }

  std::optional<CorrelationRecord> select_record(std::string_view id) const {
    const auto row = select_row(id);
    if (!row) return std::nullopt;
    auto record = record_of(*row);
    if (!record) host_.log(EPHOR_LOG_WARNING, "correlation_tracking: unreadable row is replaced");
    return record;
  }

  std::optional<CorrelationRow> select_row(std::string_view id) const {
    std::optional<CorrelationRow> row;
    host_.select(
        "SELECT correlation_id, request_timestamp, response_timestamp, component_path, "
        "performance_metrics, error_info, metadata FROM correlation_tracking "
        "WHERE correlation_id = ?",
        {Cell::text(id)}, [&](std::span<const ephor_cell> cells) {
          if (cells.size() < 7) return;
          row = CorrelationRow{text_of(cells[0]), text_of(cells[1]), text_of(cells[2]),
                               text_of(cells[3]), text_of(cells[4]), text_of(cells[5]),
                               text_of(cells[6])};
        });
    return row;
  }

  // ---- rows

  static void upsert(const Rows& rows, const CorrelationRow& row) {
    const auto text = [](const std::string& value) {
      return value.empty() ? Cell::null() : Cell::text(value);
    };
    const auto json = [](const std::string& value) {
      return value.empty() ? Cell::null() : Cell::json(value);
    };
    rows.upsert(
        "correlation_tracking",
        {Cell::text(row.correlation_id), text(row.request_timestamp), text(row.response_timestamp),
         text(row.component_path), json(row.performance_metrics_json), json(row.error_info_json),
         json(row.metadata_json)});
  }

  // ---- queries

  void provide_queries() {
    host_.provide_route({.method = "GET",
                         .path = "/api/tracing/correlation/{correlation_id}",
                         .query = "tracer.correlation",
                         .summary = "The story of one correlation id"},
                        [this](std::string_view request) { return answer_correlation(request); });
    host_.provide_route({.method = "GET",
                         .path = "/api/tracing/traces/{trace_id}",
                         .query = "tracer.trace",
                         .summary = "The span tree of one trace"},
                        [this](std::string_view request) { return answer_trace(request); });
    host_.provide_route({.method = "GET",
                         .path = "/api/tracing/traces",
                         .query = "tracer.traces",
                         .summary = "Summaries of the latest traces; filters: component, "
                                    "root_operation, correlation_id, min_duration_ms, errors"},
                        [this](std::string_view request) {
                          return dump(traces_json(traces_, settings_.trace_sampling_rate,
                                                  parse_json(request, "request")));
                        });
    host_.provide_route(
        {.method = "GET",
         .path = "/api/tracing/performance",
         .query = "tracer.performance",
         .summary = "Count, error rate and duration quantiles per operation; "
                    "filters: component, operation, from, to, window"},
        [this](std::string_view request) {
          return dump(performance_json(red_, late_, parse_json(request, "request")));
        });
    host_.provide_route(
        {.method = "GET",
         .path = "/api/tracing/errors",
         .query = "tracer.errors",
         .summary = "Failed spans grouped by component, operation and message"},
        [this](std::string_view request) {
          return dump(errors_json(errors_, red_.count(), parse_json(request, "request")));
        });
    host_.provide_route({.method = "GET",
                         .path = "/api/tracing/findings",
                         .query = "tracer.findings",
                         .summary = "Latency regressions and error bursts, open ones first; "
                                    "filters: kind, state, target, from, to, limit, offset"},
                        [this](std::string_view request) {
                          return dump(findings_json(regressions_, parse_json(request, "request")));
                        });
    host_.provide_query("tracer.summary", "Figures of the whole history",
                        [this](std::string_view) { return answer_summary(); });
  }

  // Appends what the journal holds of `id`. False if the bound was met.
  bool collect(std::string_view id, std::string_view via, std::size_t events_max,
               std::set<std::uint64_t>& known, std::vector<StoryEvent>& events) const {
    bool is_complete = true;
    host_.find_events(id, [&](const Event& event) {
      if (events.size() >= events_max) {
        is_complete = is_complete && known.contains(event.sequence);
        return;
      }
      if (!known.insert(event.sequence).second) return;
      StoryEvent found;
      found.sequence = event.sequence;
      found.time_ns = event.time_ns;
      found.topic = host_.topic_name(event.topic);
      found.via = via;
      found.event = event.encoding == EPHOR_ENCODING_JSON
                        ? Json::parse(event.record, event.record + event.record_length)
                        : Json::parse(host_.render_json(event));
      events.push_back(std::move(found));
    });
    return is_complete;
  }

  // Follows decision -> execution -> order -> trade from the events found so far, each id once.
  bool follow_joins(std::string_view correlation_id, std::set<std::uint64_t>& known,
                    std::vector<StoryEvent>& events, Json& joined) const {
    std::set<std::string> followed{std::string(correlation_id)};
    bool is_complete = true;
    for (std::size_t i = 0; i < events.size(); ++i) {
      for (const JoinId& join : join_ids_of(events[i])) {
        if (!followed.insert(join.id).second) continue;
        if (joined.size() >= kJoinsMax) return false;
        const std::size_t before = events.size();
        is_complete = collect(join.id, join.kind, kStoryEventsMax, known, events) && is_complete;
        joined.push_back(
            {{"by", join.kind}, {"id", join.id}, {"events_added", events.size() - before}});
      }
    }
    return is_complete;
  }

  std::string answer_correlation(std::string_view request) {
    const std::string id = request_text(parse_json(request, "request"), "correlation_id");
    std::set<std::uint64_t> known;
    std::vector<StoryEvent> events;
    Json joined = Json::array();
    bool is_complete = collect(id, "correlation_id", kStoryEventsMax, known, events);
    is_complete = follow_joins(id, known, events, joined) && is_complete;
    Json tracked;
    if (const CorrelationRecord* record = correlations_.find(hash64(id));
        record && record->id == id) {
      tracked = row_json(row_of(*record));
    } else if (const auto row = select_row(id)) {
      tracked = row_json(*row);
    }
    if (events.empty() && tracked.is_null()) {
      throw Error(EPHOR_NOT_FOUND, "no event carries the correlation id \"" + id + "\"",
                  "/correlation_id");
    }
    return dump(
        tell_story(id, std::move(events), std::move(tracked), std::move(joined), !is_complete));
  }

  std::string answer_trace(std::string_view request) {
    const std::string text = request_text(parse_json(request, "request"), "trace_id");
    const auto id = trace_id_from(text);
    if (!id) {
      throw Error(EPHOR_INVALID, "trace_id: found \"" + text + "\", expected 32 hex digits",
                  "/trace_id");
    }
    std::set<std::uint64_t> known;
    std::vector<StoryEvent> events;
    const bool is_complete = collect(hex_of(*id), "trace_id", kTraceEventsMax, known, events);
    if (events.empty()) {
      throw Error(EPHOR_NOT_FOUND, "no event carries the trace id " + hex_of(*id), "/trace_id");
    }
    return dump(tell_trace(hex_of(*id), std::move(events), !is_complete));
  }

  std::string answer_summary() const {
    return dump({{"spans", red_.count()},
                 {"error_spans", red_.errors()},
                 {"traces", traces_.trace_count()},
                 {"error_traces", traces_.error_trace_count()},
                 {"traces_exact", traces_.is_count_exact()},
                 {"correlations", correlations_seen_.size()},
                 {"error_groups", errors_.groups().size()},
                 {"late_spans", late_},
                 {"unreadable", unreadable_},
                 {"findings", regressions_.findings().list()}});
  }

  Host host_;
  Settings settings_;
  EventReader reader_;
  RedTable red_;
  ErrorGroups errors_;
  TraceStore traces_;
  IdSet correlations_seen_;
  Ledger<CorrelationRecord> correlations_;
  RegressionMonitor regressions_;
  std::uint64_t unreadable_ = 0;
  std::uint64_t late_ = 0;
  std::string correlation_scratch_;
  TraceId last_trace_id_{};
  std::string last_trace_hex_;
  std::uint16_t span_topic_ = 0;
  std::uint16_t request_topic_ = 0;
  std::uint16_t flush_topic_ = 0;
  Series spans_total_;
  Series errors_total_;
  Series unreadable_total_;
  Series traces_gauge_;
};

}  // namespace ephor::tracer

EPHOR_PLUGIN(ephor::tracer::Tracer, "tracer")
