// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <deque>
#include <ephor/events.hpp>
#include <ephor/id_rows.hpp>
#include <ephor/json.hpp>
#include <ephor/ledger.hpp>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <ephor/text_hash.hpp>
#include <ephor/times.hpp>
#include <set>

#include "analysis_routes.hpp"
#include "answers.hpp"
#include "correlation_record.hpp"
#include "error_groups.hpp"
#include "id_attributes.hpp"
#include "packing.hpp"
#include "red_table.hpp"
#include "regression_monitor.hpp"
#include "sampling.hpp"
#include "service_catalog.hpp"
#include "settings.hpp"
#include "story_queries.hpp"
#include "trace_analysis.hpp"
#include "trace_archive.hpp"
#include "trace_queries.hpp"
#include "trace_store.hpp"

namespace ephor::tracer {
namespace {

constexpr std::string_view kTables = R"({"version": 1, "tables": [
  {"name": "correlation_tracking", "key": ["correlation_id"], "columns": [
    {"name": "correlation_id", "type": "text"},
    {"name": "request_timestamp", "type": "text"},
    {"name": "response_timestamp", "type": "text"},
    {"name": "component_path", "type": "text"},
    {"name": "performance_metrics", "type": "json"},
    {"name": "error_info", "type": "json"},
    {"name": "metadata", "type": "json"}]},
  {"name": "tracer_ids", "key": ["kind", "chunk"], "columns": [
    {"name": "kind", "type": "integer"},
    {"name": "chunk", "type": "integer"},
    {"name": "ids", "type": "blob"}]},
  {"name": "trace_summary", "key": ["chunk"], "columns": [
    {"name": "chunk", "type": "integer"},
    {"name": "first_start_ns", "type": "integer"},
    {"name": "last_end_ns", "type": "integer"},
    {"name": "traces", "type": "integer"},
    {"name": "body", "type": "blob"}]},
  {"name": "trace_archive", "key": ["trace"], "columns": [
    {"name": "trace", "type": "integer"},
    {"name": "trace_id", "type": "blob"},
    {"name": "start_ns", "type": "integer"},
    {"name": "spans", "type": "integer"},
    {"name": "body", "type": "blob"}]}]})";

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
  static constexpr std::uint32_t kStateVersion = 5;
  static constexpr std::size_t kStateBytesMax = 1U << 30U;
  static constexpr std::string_view kConfigSchema = tracer::kConfigSchema;

  Tracer(Host host, std::string_view config)
      : host_(std::move(host)),
        settings_(config),
        reader_(host_),
        red_(settings_.max_operations),
        errors_(settings_.max_error_groups, settings_.error_gone_ns),
        traces_(settings_.traces, [this](std::uint64_t chunk) { return select_chunk(chunk); }),
        catalog_(settings_.max_service_operations),
        sampler_(settings_.sampling),
        archive_(host_, settings_.sampling.archived_traces_max),
        analysis_(settings_.analysis),
        trace_queries_(host_, traces_, catalog_, analysis_.graph(), archive_,
                       settings_.join_attributes),
        story_queries_(host_, traces_, trace_queries_,
                       [this](const std::string& id) { return tracked_json(id); }),
        correlations_seen_(settings_.max_distinct_ids),
        correlations_(settings_.max_tracking_history),
        regressions_(settings_.regressions, host_.instance(), names()) {
    host_.declare_tables(kTables);
    span_topic_ = host_.topic_id("ephor.span");
    request_topic_ = host_.topic_id("ephor.correlation_request");
    flush_topic_ = host_.topic_id("ephor.flush");
    trade_topic_ = host_.topic_id("ephor.trade");
    outcome_topic_ = host_.topic_id("ephor.outcome");
    spans_total_ = host_.counter("ephor_tracer_spans_total", "Spans read");
    errors_total_ = host_.counter("ephor_tracer_error_spans_total", "Failed spans read");
    traces_gauge_ = host_.gauge("ephor_tracer_traces", "Distinct trace ids");
    unreadable_total_ = host_.counter("ephor_tracer_unreadable_total", "Events that were no spans");
    provide_queries();
  }

  void start() override {
    if (!settings_.enable_tracing) return;
    std::vector<std::string_view> topics{"ephor.span", "ephor.correlation_request", "ephor.flush"};
    const bool is_sampling = settings_.sampling.is_tail && settings_.sampling.keeps_losing_trades;
    const bool is_correlating = settings_.analysis.outcomes_max > 0;
    if (is_sampling || is_correlating) topics.push_back("ephor.trade");
    if (is_correlating) {
      topics.insert(topics.end(),
                    {"ephor.outcome", "ephor.ensemble_decision", "ephor.order", "ephor.fill"});
    }
    host_.subscribe(topics);
  }

  void on_events(std::span<const Event> events) override {
    const std::uint64_t spans = red_.count();
    const std::uint64_t errors = red_.errors();
    for (const Event& event : events) {
      try {
        last_sequence_ = event.sequence;
        read_event(event);
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
    traces_.save_rows([&](const TraceChunk& chunk) { upsert(rows, chunk); },
                      [&](std::uint64_t chunk) {
                        rows.erase("trace_summary",
                                   {Cell::integer_value(static_cast<std::int64_t>(chunk))});
                      });
    archive_.save(rows, traces_, last_sequence_, span_topic_);
    save_ids(rows, kIdTable, kTraceIds, traces_.seen());
    save_ids(rows, kIdTable, kFailedTraceIds, traces_.failed());
    save_ids(rows, kIdTable, kCorrelationIds, correlations_seen_);
    std::string plain;
    StateWriter out(plain);
    out.varint(traces_.seen().size()).varint(traces_.failed().size());
    out.varint(correlations_seen_.size()).varint(unreadable_).varint(late_);
    red_.write(out);
    errors_.write(out);
    traces_.write(out);
    regressions_.write(out);
    analysis_.write(out);
    catalog_.write(out);
    sampler_.write(out);
    archive_.write(out);
    state = pack(plain, 1);
  }

  bool load(std::uint32_t version, std::string_view state) override {
    std::size_t counts[3] = {};
    std::string plain;
    try {
      // What packs better than that is no state but damage, which must not ask for any memory.
      const std::size_t plain_max = std::min(kStateBytesMax, state.size() * 1024);
      if (version == kStateVersion) plain = unpack(state, plain_max);
    } catch (const Error&) {
      return false;
    }
    const bool is_read = version == kStateVersion && read_state(plain, [&](StateReader& in) {
                           for (std::size_t& count : counts)
                             count = static_cast<std::size_t>(in.varint());
                           unreadable_ = in.varint();
                           late_ = in.varint();
                           red_.read(in);
                           errors_.read(in);
                           traces_.read(in);
                           regressions_.read(in);
                           analysis_.read(in);
                           catalog_.read(in);
                           sampler_.read(in);
                           archive_.read(in);
                         });
    if (!is_read || !load_ids(host_, kIdTable,
                              {{kTraceIds, traces_.seen(), counts[0]},
                               {kFailedTraceIds, traces_.failed(), counts[1]},
                               {kCorrelationIds, correlations_seen_, counts[2]}})) {
      return false;
    }
    traces_.warm_up();
    return true;
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

  // Hash of the event's trace id, 0: none.
  static std::uint64_t trace_key_of(const Event& event) {
    TraceId id{};
    std::memcpy(id.data(), event.trace_id, id.size());
    return id == TraceId{} ? 0 : hash_of(id);
  }

  auto finished_at(std::int64_t now_ns) {
    return [this, now_ns](std::span<const FinishedSpan> trace) {
      for (const FinishedSpan& span : trace) {
        if (!span.is_running) red_.add_self(span.operation, span.time_ns, span.self_ns);
      }
      analysis_.add_trace(trace, red_, now_ns);
    };
  }

  void read_event(const Event& event) {
    if (event.topic == span_topic_) {
      read_span(event);
    } else if (event.topic == request_topic_) {
      read_request(event);
    } else if (event.topic == trade_topic_) {
      read_trade(event);
    } else if (event.topic == flush_topic_) {
      sampler_.take_all([&](const TailSampler::Decision& decision) { apply(decision); });
      regressions_.judge_all(event.time_ns, finished_at(event.time_ns));
      analysis_.expire(event.time_ns);
      regressions_.findings().publish(host_, event);
    } else if (event.topic == outcome_topic_) {
      analysis_.add_outcome(reader_.outcome(event), trace_key_of(event), event);
    } else {
      analysis_.add_ids(reader_.object(event), trace_key_of(event), event);
    }
  }

  void read_span(const Event& event) {
    const Span span = reader_.span(event);
    const bool is_late = (event.flags & EPHOR_EVENT_LATE) != 0;
    late_ += is_late ? 1 : 0;
    OpenSpan open;
    std::memcpy(open.trace_id.data(), event.trace_id, open.trace_id.size());
    const std::uint64_t trace_key = open.trace_id == TraceId{} ? 0 : hash_of(open.trace_id);
    open.id = hash64(span.span_id);
    open.parent = span.parent_span_id.empty() ? 0 : hash64(span.parent_span_id);
    open.start_ns = span.start_ns;
    open.time_ns = event.time_ns;
    open.correlation = event.correlation;
    open.is_error = span.is_error();
    // OTLP has no end for a span that is told when it begins.
    open.is_running = span.end_ns == 0 && span.start_ns != 0;
    open.end_ns = open.is_running ? span.start_ns : span.end_ns;
    const std::int64_t duration_ns = open.end_ns - open.start_ns;
    const std::uint16_t bin = Sketch::bin_of(static_cast<double>(duration_ns));
    open.operation = red_.index_of(span.component, span.operation);
    if (!open.is_running) {
      red_.add_at(open.operation, event.time_ns, duration_ns, bin, open.is_error,
                  {open.trace_id, trace_key});
      open.error_group = store_span(event, span, open.trace_id, trace_key);
    }
    open.is_unnamed = !red_.is_one_operation(open.operation);
    analysis_.add_span(span, trace_key, bin, open);
    if (is_late) return;
    regressions_.add(trace_key, open);
    regressions_.judge(event.time_ns, finished_at(event.time_ns));
    if (regressions_.findings().has_news()) regressions_.findings().publish(host_, event);
  }

  // Into summaries, error groups and correlation records. The fingerprint of a failed span.
  std::uint64_t store_span(const Event& event, const Span& span, const TraceId& trace_id,
                           std::uint64_t trace_key) {
    SpanFacts facts;
    facts.trace_id = trace_id;
    facts.service = span.service;
    facts.component = span.component;
    facts.operation = span.operation;
    facts.correlation_id = span.correlation_id;
    read_ids(span, facts);
    analysis_.add_ids(facts.ids, trace_key);
    facts.start_ns = span.start_ns;
    facts.end_ns = span.end_ns;
    facts.is_root = span.parent_span_id.empty();
    facts.is_error = span.is_error();
    const bool is_kept = is_sampled(facts.trace_id, settings_.trace_sampling_rate);
    const TraceSummary* summary = traces_.add(facts, is_kept);
    catalog_.add(span.service, span.operation, span.kind);
    if (settings_.sampling.is_tail && summary != nullptr) sample(event, span, facts, *summary);
    ids_scratch_.swap(facts.ids);

    if (facts.trace_id != last_trace_id_ || last_trace_hex_.empty()) {
      last_trace_id_ = facts.trace_id;
      last_trace_hex_ = hex_of(facts.trace_id);
    }
    std::uint64_t error_group = 0;
    if (facts.is_error) {
      error_group =
          add_error(event, span, is_kept ? std::string_view(last_trace_hex_) : std::string_view());
    }
    if (event.correlation != 0 && settings_.enable_correlation_tracking) {
      record_for(event.correlation, facts.correlation_id)
          .add_span(span.component, span.operation, span.start_ns, span.end_ns, facts.is_error,
                    span.error_message);
      correlations_.mark_changed(event.correlation);
    }
    return error_group;
  }

  // With its latest exception, as OpenTelemetry's clients tell it.
  std::uint64_t add_error(const Event& event, const Span& span, std::string_view trace_id) {
    std::string type;
    std::string message;
    std::string location;
    span.for_each_event([&](const SpanEvent& told) {
      if (told.name != "exception") return;
      told.attributes.for_each_attribute([&](std::string_view name, const AttributeValue& value) {
        if (name == "exception.type") {
          type = value.to_text();
        } else if (name == "exception.message") {
          message = value.to_text();
        } else if (name == "exception.stacktrace") {
          location = top_frame(value.to_text());
        }
      });
    });
    if (message.empty()) message = span.error_message;
    return errors_.add(
        {span.component, span.operation, type, message, location, trace_id, event.time_ns});
  }

  // What else the span says its trace can be looked up by.
  void read_ids(const Span& span, SpanFacts& facts) {
    id_texts_.clear();
    facts.ids.swap(ids_scratch_);
    facts.ids.clear();
    for_each_id_attribute(span, [&](IdKind kind, const AttributeValue& value) {
      if (value.kind == AttributeValue::Kind::text) {
        facts.ids.push_back({kind, value.text});
      } else if (value.kind == AttributeValue::Kind::integer) {
        facts.ids.push_back({kind, id_texts_.emplace_back(value.to_text())});
      }
    });
  }

  // ---- tail sampling

  void sample(const Event& event, const Span& span, const SpanFacts& facts,
              const TraceSummary& summary) {
    if (summary.verdict != Verdict::none) {  // a late span follows what was decided
      if (summary.verdict == Verdict::kept && settings_.sampling.archives) {
        archive_.renew(summary.number);
      }
    } else {
      TailSpan tail;
      tail.trace = summary.number;
      tail.id = facts.trace_id;
      tail.service = span.service;
      tail.component = span.component;
      tail.operation = span.operation;
      tail.time_ns = event.time_ns;
      tail.duration_ns = span.duration_ns();
      tail.is_error = span.is_error();
      tail.id_hashes.push_back(hash_of(facts.trace_id));
      if (!facts.correlation_id.empty()) tail.id_hashes.push_back(hash64(facts.correlation_id));
      for (const NamedId& id : facts.ids) {
        if (id.kind == IdKind::symbol) {
          tail.symbol = id.text;
        } else {
          tail.id_hashes.push_back(hash64(id.text));
        }
      }
      sampler_.add(tail);
      if (settings_.sampling.archives) archive_.hold(summary.number, event);
    }
    sampler_.take_decided([&](const TailSampler::Decision& decision) { apply(decision); });
  }

  void apply(const TailSampler::Decision& decision) {
    traces_.decide(decision.trace, decision.verdict, decision.reason);
    if (!settings_.sampling.archives) return;
    const TraceStore::Found found = traces_.find_number(decision.trace);
    if (decision.verdict == Verdict::kept && found) {
      archive_.keep(decision.trace, found->span_count);
    } else {
      archive_.drop(decision.trace);
    }
  }

  // The trade that a trace led to comes long after it: what was dropped is kept after all, as far
  // as the journal still has it.
  void read_trade(const Event& event) {
    const Trade trade = reader_.trade(event);
    if (settings_.analysis.outcomes_max > 0) {
      analysis_.add_trade(trade, trace_key_of(event), event);
    }
    const bool is_sampling = settings_.sampling.is_tail && settings_.sampling.keeps_losing_trades;
    if (!is_sampling || !trade.pnl || *trade.pnl >= 0.0) return;
    std::vector<std::string> texts;
    for (const std::string_view id :
         {trade.trade_id, trade.decision_id, trade.execution_id, trade.order_id}) {
      if (!id.empty()) texts.emplace_back(id);
    }
    if (const auto id = correlation_id(event, correlation_scratch_); !id.empty()) {
      texts.emplace_back(id);
    }
    std::vector<std::uint64_t> hashes;
    for (const std::string& text : texts) hashes.push_back(hash64(text));
    TraceId own{};
    std::memcpy(own.data(), event.trace_id, own.size());
    std::set<std::uint64_t> late;
    if (own != TraceId{}) {
      hashes.push_back(hash_of(own));
      const TraceStore::Found found = traces_.find(own);
      if (found && found->verdict == Verdict::dropped) late.insert(found->number);
    }
    sampler_.add_losing_ids(hashes);
    for (const std::string& text : texts) {
      traces_.for_each_with_id(text, event.time_ns - settings_.sampling.losing_trade_ns,
                               [&](const TraceSummary& summary) {
                                 if (summary.verdict == Verdict::dropped) {
                                   late.insert(summary.number);
                                 }
                               });
    }
    for (const std::uint64_t number : late) {
      traces_.decide(number, Verdict::kept, Reason::losing_trade);
      if (settings_.sampling.archives) archive_.renew(number);
    }
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
        if (const auto time = client_time(value)) record.told().request_ns = time;
      } else if (name == "response_timestamp") {
        if (const auto time = client_time(value)) record.told().response_ns = time;
      } else if (name == "metadata" && value.is_object()) {
        record.told().metadata_json = simdjson::minify(value);
      } else if (name == "component_path" && value.is_array()) {
        std::vector<std::string>& requested = record.told().component_path;
        requested.clear();
        const simdjson::dom::array path = value.get_array().value_unsafe();
        for (const simdjson::dom::element component : path) {
          requested.emplace_back(EventReader::text(component));
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

  std::optional<std::string> select_chunk(std::uint64_t chunk) const {
    std::optional<std::string> body;
    host_.select("SELECT body FROM trace_summary WHERE chunk = ?",
                 {Cell::integer_value(static_cast<std::int64_t>(chunk))},
                 [&](std::span<const ephor_cell> cells) {
                   if (!cells.empty()) body = std::string(to_text(cells[0].bytes));
                 });
    return body;
  }

  static void upsert(const Rows& rows, const TraceChunk& chunk) {
    const std::string body = chunk.encode();
    rows.upsert(
        "trace_summary",
        {Cell::integer_value(static_cast<std::int64_t>(chunk.number())),
         Cell::integer_value(chunk.first_start_ns()), Cell::integer_value(chunk.last_end_ns()),
         Cell::integer_value(static_cast<std::int64_t>(chunk.traces().size())), Cell::blob(body)});
  }

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
    story_queries_.provide();
    trace_queries_.provide();
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
          return dump(errors_json(errors_, red_, red_.last_ns(), parse_json(request, "request")));
        });
    host_.provide_route({.method = "GET",
                         .path = "/api/tracing/findings",
                         .query = "tracer.findings",
                         .summary = "Latency regressions and error bursts, open ones first; "
                                    "filters: kind, state, target, from, to, limit, offset"},
                        [this](std::string_view request) {
                          return dump(findings_json(regressions_, parse_json(request, "request")));
                        });
    provide_analysis({host_, analysis_, red_, regressions_, reader_});
    host_.provide_query("tracer.summary", "Figures of the whole history",
                        [this](std::string_view) { return answer_summary(); });
  }

  Json tracked_json(const std::string& id) {
    if (const CorrelationRecord* record = correlations_.find(hash64(id));
        record && record->id == id) {
      return row_json(row_of(*record));
    }
    const auto row = select_row(id);
    return row ? row_json(*row) : Json();
  }

  Json sampling_json() const {
    if (!settings_.sampling.is_tail) return nullptr;
    Json kept = Json::object();
    for (const Reason reason :
         {Reason::error, Reason::slow, Reason::rare_path, Reason::losing_trade, Reason::baseline}) {
      kept[std::string(name_of(reason))] = sampler_.count(reason);
    }
    return {{"kept", std::move(kept)},
            {"dropped", sampler_.dropped()},
            {"open", sampler_.open_count()},
            {"decided_early", sampler_.decided_early()},
            {"paths_left_out", sampler_.paths_left_out()},
            {"archived", archive_.size()},
            {"archive_evicted", archive_.evicted()}};
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
                 {"sampling", sampling_json()},
                 {"unreadable", unreadable_},
                 {"findings", regressions_.findings().list()}});
  }

  Host host_;
  Settings settings_;
  EventReader reader_;
  RedTable red_;
  ErrorGroups errors_;
  TraceStore traces_;
  ServiceCatalog catalog_;
  TailSampler sampler_;
  TraceArchive archive_;
  TraceAnalysis analysis_;
  TraceQueries trace_queries_;
  StoryQueries story_queries_;
  IdSet correlations_seen_;
  Ledger<CorrelationRecord> correlations_;
  RegressionMonitor regressions_;
  std::uint64_t unreadable_ = 0;
  std::uint64_t late_ = 0;
  std::uint64_t last_sequence_ = 0;
  std::string correlation_scratch_;
  std::deque<std::string> id_texts_;  // of ids that came as numbers
  std::vector<NamedId> ids_scratch_;
  TraceId last_trace_id_{};
  std::string last_trace_hex_;
  std::uint16_t span_topic_ = 0;
  std::uint16_t request_topic_ = 0;
  std::uint16_t flush_topic_ = 0;
  std::uint16_t trade_topic_ = 0;
  std::uint16_t outcome_topic_ = 0;
  Series spans_total_;
  Series errors_total_;
  Series unreadable_total_;
  Series traces_gauge_;
};

}  // namespace ephor::tracer

EPHOR_PLUGIN(ephor::tracer::Tracer, "tracer")
