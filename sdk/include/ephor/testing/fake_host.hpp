// SPDX-License-Identifier: Apache-2.0
//
// A host for the tests of one plugin: no files, sockets or threads of its own. Events go in as
// CloudEvents lines, everything the plugin does comes out as plain values.
//
//   ephor::testing::FakeHost host;
//   host.load_plugin<Counter>(R"({"threshold": 3})");
//   host.deliver(CloudEvent{.topic = "ephor.metric", .data_json = R"({"value":4})"}.line());
//   REQUIRE(host.published("counter.alarm").size() == 1);
//   REQUIRE(host.request("GET", "/api/counter") == R"({"events":1})");
//   host.crash();  // the state of the last save, then the events behind it again
//
// It is stricter than the real host where that finds mistakes: the memory of a slice is overwritten
// and freed when the handler has returned, a cause must be in the slice in hand, rows are checked
// against the declared columns, and a failing call throws ephor::Error into the test.
// It does not decide lateness (pass EPHOR_EVENT_LATE) and makes no ticks by itself.
#pragma once

#include <ephor/abi.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <ephor/otlp.hpp>
#include <ephor/plugin.hpp>
#include <ephor/testing/cloud_event.hpp>
#include <ephor/testing/json_value.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace ephor::testing {

struct Published {
  std::string topic;
  std::string data_json;
  std::uint64_t cause_sequence = 0;
  std::string correlation_id;
  std::string trace_id;  // 32 hexadecimal digits, empty if none
};

struct LogLine {
  std::int32_t level = 0;
  std::string message;
};

struct HealthReport {
  std::int32_t state = EPHOR_HEALTH_OK;
  std::string reason;
};

struct RecordedRoute {
  std::string method;
  std::string path;
  std::string query;
  std::string scope;
  std::string summary;
  std::string request_schema;
  std::string response_schema;
  std::string content_type;
};

// A cell that owns its bytes.
struct StoredCell {
  std::uint32_t kind = EPHOR_CELL_NULL;
  std::int64_t integer = 0;
  double real = 0.0;
  std::string bytes;

  bool is_null() const { return kind == EPHOR_CELL_NULL; }
  static StoredCell from(const ephor_cell& cell) {
    return {cell.kind, cell.kind == EPHOR_CELL_INTEGER ? cell.integer : 0,
            cell.kind == EPHOR_CELL_REAL ? cell.real : 0.0,
            cell.kind >= EPHOR_CELL_TEXT ? std::string(to_text(cell.bytes)) : std::string()};
  }
  ephor_cell view() const { return {kind, 0, integer, real, to_view(bytes)}; }
  auto key() const { return std::tie(kind, integer, real, bytes); }
  friend bool operator<(const StoredCell& a, const StoredCell& b) { return a.key() < b.key(); }
};

using StoredRow = std::map<std::string, StoredCell>;  // by column

struct Ingested {
  std::uint32_t format = EPHOR_FORMAT_AUTO;
  std::string default_source;
  std::string body;
};

struct Rejection {
  std::uint32_t line = 0;
  std::string json_pointer;
  std::string reason;
};

// Answers the select of a test's plugin; cells in the order of the select list.
using SelectHandler = std::function<std::vector<std::vector<StoredCell>>(
    std::string_view sql, std::span<const ephor_cell> parameters)>;
// Stands in for the host's door: fills `result`, may add rejections, may throw ephor::Error.
using IngestHandler = std::function<void(const Ingested& body, ephor_ingest_result& result,
                                         std::vector<Rejection>& rejections)>;

class FakeHost {
 public:
  FakeHost() { fill_tables(); }
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;
  ~FakeHost() {
    guarded(nullptr, [&] { unload(); });
  }

  // ---- the plugin's life --------------------------------------------------------------------

  // Creates the plugin through its C tables and starts it. Defaults of the schema's properties that
  // `config` leaves out are filled in, as the host does; the schema is not checked otherwise.
  template <typename Class>
  Class& load_plugin(std::string_view config = "{}", std::string_view instance = "test") {
    create_plugin<Class>(config, instance);
    start();
    return plugin<Class>();
  }
  void load_plugin(const ephor_entry& entry, std::string_view config = "{}",
                   std::string_view instance = "test", std::size_t info_index = 0) {
    create_plugin(entry, config, instance, info_index);
    start();
  }
  template <typename Class>
  Class& create_plugin(std::string_view config = "{}", std::string_view instance = "test") {
    namespace sdk = ::ephor::detail;
    factory_ = {&sdk::Adapter<Class>::create, sdk::capabilities_of<Class>()};
    create(config, sdk::schema_of<Class>(), instance);
    return plugin<Class>();
  }
  void create_plugin(const ephor_entry& entry, std::string_view config = "{}",
                     std::string_view instance = "test", std::size_t info_index = 0) {
    if (entry.magic != EPHOR_ENTRY_MAGIC || entry.abi_major != EPHOR_ABI_MAJOR ||
        entry.abi_minor_required > EPHOR_ABI_MINOR) {
      throw Error(EPHOR_UNSUPPORTED, "the library is built for another ABI");
    }
    if (info_index >= entry.info_count) throw Error(EPHOR_NOT_FOUND, "no plugin of that number");
    const ephor_plugin_info& info = *entry.infos[info_index];
    for (std::uint32_t i = 0; i < info.required_count; ++i) {
      if (find_extension(to_text(info.required_extensions[i])) == nullptr) {
        throw Error(EPHOR_UNSUPPORTED,
                    "no extension " + std::string(to_text(info.required_extensions[i])));
      }
    }
    factory_ = {info.create, info.capabilities};
    create(config, to_text(info.config_schema), instance);
  }
  void start() {
    require(Phase::created, "start");
    const std::lock_guard lock(instance_mutex_);
    check([&](ephor_error* error) { return plugin_.start(plugin_.self, error); });
    phase_ = Phase::running;
  }
  void drain(std::int64_t deadline_ns = 0) {
    check([&](ephor_error* error) { return plugin_.drain(plugin_.self, deadline_ns, error); });
  }
  void stop() {
    phase_ = Phase::stopped;  // first, so that queries of the plugin's own threads end
    check([&](ephor_error* error) { return plugin_.stop(plugin_.self, error); });
    join_tasks();
  }
  // Stops and destroys the instance; what it registered is forgotten, what it published stays.
  void unload() {
    if (phase_ == Phase::none) return;
    const ephor_status status = [&] {
      if (phase_ == Phase::stopped) return EPHOR_OK;
      phase_ = Phase::stopped;
      return plugin_.stop(plugin_.self, nullptr);
    }();
    join_tasks();
    plugin_.destroy(plugin_.self);
    const std::lock_guard lock(mutex_);
    phase_ = Phase::none;
    plugin_ = {};
    patterns_.clear();
    policy_ = EPHOR_POLICY_REPLAY;
    key_.clear();
    is_subscribed_ = false;
    std::erase_if(queries_, [](const auto& entry) { return entry.second.is_of_plugin; });
    std::erase_if(routes_, [](const auto& entry) { return entry.second; });
    commands_.clear();
    ++route_generation_;
    if (status != EPHOR_OK) throw Error(status, "stop failed");
  }

  // The object behind the C tables.
  template <typename Class>
  Class& plugin() {
    return *static_cast<Class*>(plugin_.self);
  }
  const ephor_plugin& plugin_table() const { return plugin_; }
  const ephor_host* table() const { return &host_; }

  // ---- events in ----------------------------------------------------------------------------

  // Every line that is not blank is one CloudEvents record. Appends them to the log and delivers
  // what is subscribed to, in slices. `flags` (EPHOR_EVENT_*) are added. Returns the last sequence.
  std::uint64_t deliver(std::string_view lines, std::uint8_t flags = 0) {
    append_lines(lines, flags);
    pump();
    return last_sequence();
  }
  // One OTLP record (a protobuf Span) on topic ephor.span.
  std::uint64_t deliver_otlp_span(std::string_view span, std::int64_t time_ns,
                                  std::string_view trace_id_hex, std::string_view source = "test") {
    Entry entry;
    entry.record = span;
    entry.trace_id = trace_id_of(trace_id_hex);
    otlp::Digits digits;
    std::string correlation(otlp::own_ids(span, digits).correlation_id);
    if (correlation.empty()) correlation = otlp::facts_of(source).correlation_id;
    entry.event.correlation = correlation_hash(correlation);
    entry.event.encoding = EPHOR_ENCODING_OTLP;
    entry.event.time_ns = time_ns;
    append(std::move(entry), "ephor.span", source);
    pump();
    return last_sequence();
  }
  // The host's own events: log time has reached `time_ns`; what waits should be released.
  std::uint64_t tick(std::int64_t time_ns) { return deliver_own("ephor.tick", time_ns); }
  std::uint64_t flush(std::int64_t time_ns) { return deliver_own("ephor.flush", time_ns); }
  // Events that are in the log but not delivered yet: those that came through ephor.journal/1.
  void pump() {
    while (phase_ == Phase::running && deliver_slice()) {
    }
  }

  // At most this many events in a slice (1 to 256): results must not depend on it.
  void set_slice_size(std::size_t size) { slice_size_ = size; }
  // on_events may fail: it is kept in failures() instead of thrown.
  void tolerate_failures(bool is_tolerant = true) { is_tolerant_ = is_tolerant; }
  // Published events enter the log, as in the real host, and reach the plugin if it subscribes.
  void feed_back_published(bool is_on = true) { feeds_back_ = is_on; }

  const std::vector<std::string>& failures() const { return failures_; }
  const std::vector<std::string>& subscription() const { return patterns_; }
  // The policy (EPHOR_POLICY_*) and the key the plugin subscribed with. This host delivers
  // everything, as to a reader that keeps up.
  std::uint32_t subscription_policy() const { return policy_; }
  const std::string& subscription_key() const { return key_; }
  std::uint64_t last_sequence() const {
    const std::lock_guard lock(mutex_);
    return log_.empty() ? 0 : log_.back()->event.sequence;
  }

  // ---- events out ---------------------------------------------------------------------------

  std::vector<Published> published(std::string_view topic_pattern = ">") const {
    const std::lock_guard lock(mutex_);
    std::vector<Published> out;
    for (const Published& event : published_) {
      if (topic_matches(topic_pattern, event.topic)) out.push_back(event);
    }
    return out;
  }
  // Published again after a crash and dropped, because the log already held them.
  std::size_t republished_count() const { return republished_count_; }

  // ---- queries, routes, commands ------------------------------------------------------------

  // The answer's text. Throws what the handler failed with; EPHOR_NOT_FOUND without such a query.
  std::string ask(std::string_view query, std::string_view request = "{}",
                  std::uint64_t after_sequence = 0) {
    std::string answer;
    ephor_writer out = string_writer(answer);
    check([&](ephor_error* error) {
      return query_.call(this, to_view(query), to_view(request), 0, after_sequence, &out, nullptr,
                         error);
    });
    return answer;
  }
  // Through the route, as http_api does: parameters of path and query string become strings of the
  // request object, `body` (one JSON value) its member "body".
  std::string request(std::string_view method, std::string_view target,
                      std::string_view body = {}) {
    const std::size_t mark = target.find('?');
    const std::vector<std::string_view> segments = split(target.substr(0, mark), '/');
    std::vector<std::pair<std::string, std::string>> parameters;
    std::string query = route_for(method, segments, parameters);
    if (mark != std::string_view::npos) {
      for (const std::string_view pair : split(target.substr(mark + 1), '&')) {
        const std::size_t equals = pair.find('=');
        parameters.emplace_back(
            percent_decoded(pair.substr(0, equals)),
            equals == std::string_view::npos ? "" : percent_decoded(pair.substr(equals + 1)));
      }
    }
    std::string json = "{";
    for (const auto& [name, value] : parameters) {
      if (json.size() > 1) json += ',';
      json += json_quoted(name) + ":" + json_quoted(value);
    }
    if (!body.empty())
      json += std::string(json.size() > 1 ? "," : "") + "\"body\":" + std::string(body);
    return ask(query, json + "}");
  }
  // A query of some other plugin that this one asks.
  void answer_query(std::string_view name, QueryHandler handler) {
    const std::lock_guard lock(mutex_);
    queries_[std::string(name)] = {nullptr, nullptr, std::move(handler), "", false};
  }
  // A route of some other plugin onto answer_query's.
  void add_route(RecordedRoute route) {
    const std::lock_guard lock(mutex_);
    routes_.emplace_back(std::move(route), false);
    ++route_generation_;
  }
  std::vector<RecordedRoute> routes() const {
    const std::lock_guard lock(mutex_);
    std::vector<RecordedRoute> out;
    for (const auto& [route, is_of_plugin] : routes_) out.push_back(route);
    return out;
  }
  // Runs `ephor NAME ...`; `arguments`: a JSON array of strings. Returns what it wrote.
  std::string run_command(std::string_view name, std::string_view arguments = "[]") {
    const auto found = commands_.find(std::string(name));
    if (found == commands_.end()) throw Error(EPHOR_NOT_FOUND, "no command " + std::string(name));
    std::string text;
    ephor_writer out = string_writer(text);
    check([&](ephor_error* error) {
      return found->second.first(found->second.second, to_view(arguments), &out, error);
    });
    return text;
  }

  // ---- storage ------------------------------------------------------------------------------

  // A checkpoint: rows, state and position are taken over together. Throws what save failed with
  // (then nothing is); EPHOR_UNSUPPORTED if the plugin keeps no state.
  void save() {
    const auto* checkpoint = checkpoint_table();
    if (checkpoint == nullptr) throw Error(EPHOR_UNSUPPORTED, "the plugin offers no checkpoint");
    const std::lock_guard lock(instance_mutex_);
    pending_rows_ = tables_;
    std::string state;
    ephor_writer out = string_writer(state);
    const ephor_rows rows{sizeof(ephor_rows), 0, this, &upsert, &erase};
    check([&](ephor_error* error) { return checkpoint->save(plugin_.self, &rows, &out, error); });
    tables_ = std::move(pending_rows_);
    saved_ = Saved{std::move(state), checkpoint->state_version, next_index_};
  }
  // An orderly stop and a new start. True if the state was loaded; false if the new instance was
  // rebuilt from the log, as for a plugin without state or with an unreadable one.
  bool restart() {
    if (checkpoint_table() != nullptr) save();
    return crash();
  }
  // The instance dies; a new one gets the last saved state and the events behind it again.
  bool crash() {
    const std::string config = config_;
    const std::string instance = instance_;
    guarded(nullptr, [&] { unload(); });
    make(config, instance);
    bool is_loaded = false;
    if (const auto* checkpoint = checkpoint_table(); checkpoint != nullptr && saved_) {
      is_loaded = checkpoint->load(plugin_.self, saved_->version, to_view(saved_->state),
                                   nullptr) == EPHOR_OK;
      if (!is_loaded) {  // it may be half loaded
        unload();
        make(config, instance);
      }
    }
    next_index_ = is_loaded ? saved_->next_index : 0;
    start();
    pump();
    return is_loaded;
  }
  // What the last save wrote, and a state to load instead at the next crash().
  std::string saved_state() const { return saved_ ? saved_->state : std::string(); }
  void set_saved_state(std::uint32_t version, std::string state) {
    saved_ = Saved{std::move(state), version, saved_ ? saved_->next_index : next_index_};
  }

  // Committed rows in the order of their keys.
  std::vector<StoredRow> rows(std::string_view table) const {
    std::vector<StoredRow> out;
    const Table& found = table_named(tables_, table);
    for (const auto& [key, cells] : found.rows) {
      StoredRow row;
      for (std::size_t i = 0; i < cells.size(); ++i) row[found.columns[i].first] = cells[i];
      out.push_back(std::move(row));
    }
    return out;
  }
  std::vector<std::string> table_names() const {
    std::vector<std::string> out;
    for (const auto& [name, table] : tables_) out.push_back(name);
    return out;
  }
  void on_select(SelectHandler handler) { select_ = std::move(handler); }

  // ---- journal ------------------------------------------------------------------------------

  std::vector<Ingested> ingested() const {
    const std::lock_guard lock(mutex_);
    return ingested_;
  }
  void on_ingest(IngestHandler handler) { ingest_ = std::move(handler); }
  // From now on ingest fails so; EPHOR_OK ends it.
  void fail_ingest(ephor_status status) { ingest_failure_ = status; }
  void fail_publish(ephor_status status) { publish_failure_ = status; }
  void set_body_limit(std::uint64_t bytes) { body_limit_bytes_ = bytes; }

  // ---- metrics, log, health, extensions -----------------------------------------------------

  // The value of a series; empty if it was never made.
  std::optional<double> metric(std::string_view name, std::string_view labels_json = "{}") const {
    const std::lock_guard lock(mutex_);
    const auto found = series_by_key_.find({std::string(name), labels_of(labels_json)});
    if (found == series_by_key_.end()) return std::nullopt;
    return series_[found->second].value;
  }
  std::vector<LogLine> log_lines() const {
    const std::lock_guard lock(mutex_);
    return log_lines_;
  }
  void set_log_level(std::int32_t level) { log_table_.level = level; }
  std::vector<HealthReport> health_reports() const {
    const std::lock_guard lock(mutex_);
    return health_reports_;
  }
  void set_health_snapshot(std::string json) {
    const std::lock_guard lock(mutex_);
    health_snapshot_ = std::move(json);
  }
  // This host has no such extension, e.g. "ephor.http/1". Before the plugin is created.
  void withhold(std::string_view extension_id) { withheld_.emplace(extension_id); }

  // How long a query may take, waiting for the plugin included.
  void set_query_timeout(std::chrono::nanoseconds timeout) { query_timeout_ = timeout; }

 private:
  enum class Phase { none, created, running, stopped };

  struct Factory {
    decltype(ephor_plugin_info::create) create = nullptr;
    std::uint32_t capabilities = 0;
  };
  struct Entry {
    std::string record;
    EnvelopeView envelope;
    TraceId trace_id{};
    ephor_event event{};
    std::string topic;
  };
  struct Query {
    ephor_query_handler handler = nullptr;
    void* user = nullptr;
    QueryHandler answer;
    std::string summary;
    bool is_of_plugin = true;
  };
  struct Table {
    std::vector<std::pair<std::string, std::string>> columns;  // name, type
    std::vector<std::size_t> key;                              // column indices
    std::map<std::vector<StoredCell>, std::vector<StoredCell>> rows;
  };
  using Tables = std::map<std::string, Table, std::less<>>;
  using Labels = std::map<std::string, std::string>;
  struct MetricSeries {
    std::uint32_t kind;
    std::string name;
    std::string help;
    Labels labels;
    double value = 0.0;
  };
  struct Saved {
    std::string state;
    std::uint32_t version = 0;
    std::size_t next_index = 0;
  };
  struct Answer {  // one call of a query; outlives a late finish
    std::mutex mutex;
    std::condition_variable is_finished;
    std::string text;
    ephor_status status = EPHOR_PENDING;
    ephor_error error{};
    ephor_reply reply{};
  };

  // ---- life ---------------------------------------------------------------------------------

  void require(Phase phase, const char* what) const {
    if (phase_ != phase) {
      throw Error(EPHOR_STATE, std::string(what) + ": not in this phase of the plugin's life");
    }
  }
  void create(std::string_view config, std::string_view schema, std::string_view instance) {
    require(Phase::none, "create");
    make(with_defaults(parse_json_value(schema), parse_json_value(config)), std::string(instance));
  }
  void make(const std::string& config, const std::string& instance) {
    config_ = config;
    instance_ = instance;
    ephor_plugin made{};
    made.struct_size = sizeof made;
    const std::lock_guard lock(instance_mutex_);
    phase_ = Phase::created;  // it registers from here on
    try {
      check([&](ephor_error* error) {
        return factory_.create(&host_, to_view(instance_), to_view(config_), &made, error);
      });
      must_be_whole("create", made);
    } catch (...) {
      phase_ = Phase::none;
      throw;
    }
    plugin_ = made;
  }
  const ephor_checkpoint* checkpoint_table() const {
    if (plugin_.get_extension == nullptr) return nullptr;
    return static_cast<const ephor_checkpoint*>(
        plugin_.get_extension(plugin_.self, to_view("ephor.storage/1")));
  }
  void join_tasks() {
    std::vector<std::thread> tasks;
    {
      const std::lock_guard lock(mutex_);
      tasks.swap(tasks_);
    }
    for (std::thread& task : tasks) task.join();
  }
  // `config` with the defaults of the schema's properties, as JSON text.
  static std::string with_defaults(const JsonValue& schema, const JsonValue& config) {
    if (!config.is_object()) throw Error(EPHOR_INVALID, "config: expected an object");
    std::string out = "{";
    const auto put = [&](std::string_view name, std::string_view value) {
      if (out.size() > 1) out += ',';
      out += json_quoted(name) + ":" + std::string(value);
    };
    const JsonValue* properties = schema.find("properties");
    const JsonValue empty{JsonValue::Kind::object, "{}", {}, {}, {}};
    for (const JsonMember& member : config.members) {
      const JsonValue* property = properties == nullptr ? nullptr : properties->find(member.name);
      const bool is_deep = property != nullptr && member.value.is_object() &&
                           property->find("properties") != nullptr;
      put(member.name,
          is_deep ? with_defaults(*property, member.value) : std::string(member.value.raw));
    }
    if (properties != nullptr) {
      for (const JsonMember& property : properties->members) {
        if (config.find(property.name) != nullptr) continue;
        const JsonValue* fallback = property.value.find("default");
        const bool is_deep = property.value.find("properties") != nullptr;
        if (is_deep && (fallback == nullptr || fallback->is_object())) {
          put(property.name,
              with_defaults(property.value, fallback == nullptr ? empty : *fallback));
        } else if (fallback != nullptr) {
          put(property.name, fallback->raw);
        }
      }
    }
    return out + "}";
  }

  // ---- log and delivery ---------------------------------------------------------------------

  void append_lines(std::string_view lines, std::uint8_t flags) {
    for (const std::string_view line : split(lines, '\n')) {
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      Entry entry;
      entry.record = line;
      entry.event.flags = flags;
      append_json(std::move(entry));
    }
  }
  void append_json(Entry entry) {
    entry.envelope = read_envelope(entry.record);
    ephor_event& event = entry.event;
    entry.trace_id = entry.envelope.trace_id;
    event.correlation = correlation_hash(entry.envelope.correlation_id);
    if (!entry.envelope.time) {
      event.flags |= EPHOR_EVENT_TIME_ARRIVAL;
      event.time_ns = log_time_ns_;
    } else {
      event.time_ns = entry.envelope.time->time_ns;
      if (entry.envelope.time->is_naive) event.flags |= EPHOR_EVENT_TIME_NAIVE;
    }
    event.encoding = EPHOR_ENCODING_JSON;
    event.data_offset = static_cast<std::uint32_t>(entry.envelope.data_offset);
    const std::string topic = entry.envelope.topic;
    const std::string source = entry.envelope.source;
    append(std::move(entry), topic, source);
  }
  void append(Entry entry, std::string_view topic, std::string_view source) {
    const std::lock_guard lock(mutex_);
    log_time_ns_ = std::max(log_time_ns_, entry.event.time_ns);
    entry.topic = topic;
    entry.event.topic = static_cast<std::uint16_t>(intern(topics_, topic));
    entry.event.source = intern(sources_, source);
    entry.event.record_length = static_cast<std::uint32_t>(entry.record.size());
    std::memcpy(entry.event.trace_id, entry.trace_id.data(), entry.trace_id.size());
    // Sparse on purpose: sequences are ordered, not dense.
    entry.event.sequence = (static_cast<std::uint64_t>(log_.size()) / 3 + 1) << 16 |
                           static_cast<std::uint64_t>(log_.size()) % 3;
    entry.record.append(kSlackBytes, ' ');
    log_.push_back(std::make_shared<Entry>(std::move(entry)));
    log_.back()->event.record = log_.back()->record.data();
  }
  std::uint64_t deliver_own(std::string_view topic, std::int64_t time_ns) {
    CloudEvent event{.topic = std::string(topic), .time_ns = time_ns, .source = "ephor"};
    event.data_json = R"({"time":")" + rfc3339(time_ns) + R"("})";
    event.id = event.topic + "-" + std::to_string(log_.size());
    return deliver(event.line(), EPHOR_EVENT_HOST);
  }
  // False if the log is read to its end.
  bool deliver_slice() {
    std::vector<std::shared_ptr<Entry>> slice;
    {
      const std::lock_guard lock(mutex_);
      while (next_index_ < log_.size() && slice.size() < slice_size_) {
        const auto& entry = log_[next_index_++];
        if (is_subscribed_to(entry->topic)) slice.push_back(entry);
      }
      if (slice.empty()) return next_index_ < log_.size();
    }
    std::size_t size_bytes = kSlackBytes;
    for (const auto& entry : slice) size_bytes += entry->event.record_length;
    const auto memory = std::make_unique<char[]>(size_bytes);
    std::vector<ephor_event> events;
    char* to = memory.get();
    for (const auto& entry : slice) {
      ephor_event event = entry->event;
      std::memcpy(to, entry->record.data(), event.record_length);
      event.record = to;
      to += event.record_length;
      events.push_back(event);
    }
    std::memset(to, ' ', kSlackBytes);
    hand_over(events);
    std::memset(memory.get(), '#', size_bytes);  // views die here
    return true;
  }
  void hand_over(const std::vector<ephor_event>& events) {
    const std::lock_guard lock(instance_mutex_);
    slice_ = events;
    drafts_per_cause_.clear();
    ephor_error error{};
    error.struct_size = sizeof error;
    const ephor_status status = plugin_.on_events(
        plugin_.self, events.data(), static_cast<std::uint32_t>(events.size()), &error);
    slice_.clear();
    if (status == EPHOR_OK) return;
    if (!is_tolerant_) throw Error(status, error.message, error.json_pointer);
    failures_.emplace_back(error.message);
  }
  bool is_subscribed_to(std::string_view topic) const {
    for (const std::string& pattern : patterns_) {
      if (topic_matches(pattern, topic)) return true;
    }
    return false;
  }
  static std::uint32_t intern(std::deque<std::string>& names, std::string_view name) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i] == name) return static_cast<std::uint32_t>(i);
    }
    names.emplace_back(name);
    return static_cast<std::uint32_t>(names.size() - 1);
  }
  static ephor_view name_of(const std::deque<std::string>& names, std::size_t number) {
    return number < names.size() ? to_view(names[number]) : ephor_view{nullptr, 0};
  }
  // The entries a visitor sees, copied so that it runs without the lock.
  std::vector<std::shared_ptr<Entry>> log_copy() const {
    const std::lock_guard lock(mutex_);
    return {log_.begin(), log_.end()};
  }
  static bool span_carries(const Entry& entry, std::string_view id) {
    bool is_found = false;
    otlp::for_each_attribute(
        {entry.record.data(), entry.event.record_length}, otlp::kSpanAttributes,
        [&](std::string_view name, const otlp::Value& value) {
          otlp::Digits digits;
          for (const std::string_view kind :
               {"correlation", "decision", "execution", "order", "trade"}) {
            const bool is_join = name.size() == kind.size() + 3 && name.starts_with(kind) &&
                                 (name.ends_with(".id") || name.ends_with("_id"));
            is_found = is_found || (is_join && otlp::id_of(value, digits) == id);
          }
        });
    return is_found;
  }
  static bool carries(const Entry& entry, std::string_view id) {
    if (entry.envelope.correlation_id == id || hex_of(entry.event.trace_id) == id) return true;
    if (entry.event.encoding != EPHOR_ENCODING_JSON) return span_carries(entry, id);
    const std::string_view record(entry.record.data(), entry.event.record_length);
    if (entry.event.data_offset >= record.size()) return false;
    const JsonValue object = parse_json_value(record);
    const JsonValue* data = object.find("data");
    for (const std::string_view key : {"decision_id", "execution_id", "order_id", "trade_id"}) {
      if (data->text_of(key) == id) return true;
    }
    return false;
  }

  // ---- routes -------------------------------------------------------------------------------

  static std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> out;
    while (true) {
      const std::size_t end = text.find(separator);
      out.push_back(text.substr(0, end));
      if (end == std::string_view::npos) return out;
      text.remove_prefix(end + 1);
    }
  }
  static std::string percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      unsigned value = 0;
      if (text[i] == '%' && i + 2 < text.size() &&
          std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr ==
              text.data() + i + 3) {
        out += static_cast<char>(value);
        i += 2;
      } else {
        out += text[i] == '+' ? ' ' : text[i];
      }
    }
    return out;
  }
  // The query behind the route; literal segments win over parameters.
  std::string route_for(std::string_view method, const std::vector<std::string_view>& segments,
                        std::vector<std::pair<std::string, std::string>>& parameters) const {
    const std::lock_guard lock(mutex_);
    const RecordedRoute* best = nullptr;
    for (const auto& [route, is_of_plugin] : routes_) {
      if (route.method != method) continue;
      std::vector<std::pair<std::string, std::string>> found;
      const std::vector<std::string_view> pattern = split(route.path, '/');
      bool is_match = pattern.size() == segments.size();
      for (std::size_t i = 0; is_match && i < pattern.size(); ++i) {
        if (pattern[i].starts_with('{') && pattern[i].ends_with('}')) {
          found.emplace_back(pattern[i].substr(1, pattern[i].size() - 2),
                             percent_decoded(segments[i]));
        } else {
          is_match = pattern[i] == segments[i];
        }
      }
      if (is_match && (best == nullptr || found.size() < parameters.size())) {
        best = &route;
        parameters = found;
      }
    }
    if (best == nullptr) throw Error(EPHOR_NOT_FOUND, "no such route");
    return best->query;
  }

  // ---- rows ---------------------------------------------------------------------------------

  static const Table& table_named(const Tables& tables, std::string_view name) {
    const auto found = tables.find(name);
    if (found == tables.end()) {
      throw Error(EPHOR_NOT_FOUND, "table " + std::string(name) + " was not declared");
    }
    return found->second;
  }
  static void check_cell(const ephor_cell& cell,
                         const std::pair<std::string, std::string>& column) {
    if (cell.kind == EPHOR_CELL_NULL) return;
    const std::string& type = column.second;
    const bool is_good = (type == "integer" && cell.kind == EPHOR_CELL_INTEGER) ||
                         (type == "real" && cell.kind <= EPHOR_CELL_REAL) ||
                         (type == "text" && cell.kind == EPHOR_CELL_TEXT) ||
                         (type == "json" && cell.kind == EPHOR_CELL_JSON) ||
                         (type == "blob" && cell.kind == EPHOR_CELL_BLOB);
    if (!is_good) {
      throw Error(EPHOR_INVALID, "column " + column.first + ": found a cell of kind " +
                                     std::to_string(cell.kind) + ", expected " + type);
    }
    if (cell.kind == EPHOR_CELL_JSON) (void)parse_json_value(to_text(cell.bytes));
  }
  void declare_tables(std::string_view json) {
    const JsonValue spec = parse_json_value(json);
    const JsonValue* tables = spec.find("tables");
    if (tables == nullptr) throw Error(EPHOR_INVALID, "expected a member tables", "/tables");
    for (const JsonValue& described : tables->elements) {
      Table table;
      const std::string name(described.text_of("name"));
      if (const JsonValue* columns = described.find("columns")) {
        for (const JsonValue& column : columns->elements) {
          const std::string type(column.text_of("type"));
          if (type != "integer" && type != "real" && type != "text" && type != "json" &&
              type != "blob") {
            throw Error(EPHOR_INVALID, "table " + name + ": found type \"" + type +
                                           "\", expected integer, real, text, json or blob");
          }
          table.columns.emplace_back(column.text_of("name"), type);
        }
      }
      if (const JsonValue* key = described.find("key")) {
        for (const JsonValue& part : key->elements) {
          std::size_t i = 0;
          while (i < table.columns.size() && table.columns[i].first != part.text) ++i;
          if (i == table.columns.size()) {
            throw Error(EPHOR_INVALID, "table " + name + ": key " + part.text + " is no column");
          }
          table.key.push_back(i);
        }
      }
      if (name.empty() || table.columns.empty() || table.key.empty()) {
        throw Error(EPHOR_INVALID, "a table needs name, columns and key");
      }
      const auto found = tables_.find(name);
      if (found != tables_.end()) table.rows = std::move(found->second.rows);
      tables_[name] = std::move(table);
    }
  }
  static Table& pending_table(void* context, ephor_view name) {
    return const_cast<Table&>(
        table_named(static_cast<FakeHost*>(context)->pending_rows_, to_text(name)));
  }
  static ephor_status upsert(void* context, ephor_view name, const ephor_cell* cells,
                             std::uint32_t count, ephor_error* error) {
    return guarded(error, [&] {
      Table& table = pending_table(context, name);
      if (count != table.columns.size()) {
        throw Error(EPHOR_INVALID, "table " + std::string(to_text(name)) + ": found " +
                                       std::to_string(count) + " cells, expected " +
                                       std::to_string(table.columns.size()));
      }
      std::vector<StoredCell> row;
      for (std::uint32_t i = 0; i < count; ++i) {
        check_cell(cells[i], table.columns[i]);
        row.push_back(StoredCell::from(cells[i]));
      }
      std::vector<StoredCell> key;
      for (const std::size_t part : table.key) {
        if (row[part].is_null()) throw Error(EPHOR_INVALID, "a key cell is null");
        key.push_back(row[part]);
      }
      table.rows[std::move(key)] = std::move(row);
    });
  }
  static ephor_status erase(void* context, ephor_view name, const ephor_cell* cells,
                            std::uint32_t count, ephor_error* error) {
    return guarded(error, [&] {
      Table& table = pending_table(context, name);
      if (count != table.key.size()) throw Error(EPHOR_INVALID, "wrong number of key cells");
      std::vector<StoredCell> key;
      for (std::uint32_t i = 0; i < count; ++i) key.push_back(StoredCell::from(cells[i]));
      table.rows.erase(key);
    });
  }

  // ---- ingest -------------------------------------------------------------------------------

  struct Buffer {
    std::unique_ptr<char[]> data;
    std::uint64_t capacity = 0;
  };
  // The door, simply: JSON objects with a text type are accepted, CloudEvents of a known
  // (source, id) are duplicates, the accepted CloudEvents enter the log (see pump).
  void accept(const Ingested& body, ephor_ingest_result& result,
              std::vector<Rejection>& rejections) {
    std::uint32_t line = 0;
    for (const std::string_view record : records_of(body)) {
      ++line;
      if (record.find_first_not_of(" \t\r\n") == std::string_view::npos) continue;
      try {
        accept_record(record, result);
      } catch (const Error& failure) {
        ++result.rejected;
        rejections.push_back({line, failure.json_pointer(), failure.what()});
      }
    }
    result.last_sequence = last_sequence();
  }
  void accept_record(std::string_view record, ephor_ingest_result& result) {
    const JsonValue object = parse_json_value(record);
    if (!object.is_object() || object.text_of("type").empty()) {
      throw Error(EPHOR_INVALID, "expected an object with a text member type", "/type");
    }
    if (object.find("specversion") != nullptr) {
      const EnvelopeView envelope = read_envelope(object.raw);
      {
        const std::lock_guard lock(mutex_);
        if (!ids_.emplace(envelope.source, envelope.id).second) {
          ++result.duplicate;
          return;
        }
      }
      Entry entry;
      entry.record = object.raw;
      append_json(std::move(entry));
      ++result.events;
    }
    ++result.accepted;
  }
  static std::vector<std::string_view> records_of(const Ingested& body) {
    const std::string_view text = body.body;
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    const bool is_array =
        body.format == EPHOR_FORMAT_BATCH ||
        (body.format == EPHOR_FORMAT_AUTO && first != std::string_view::npos && text[first] == '[');
    if (body.format == EPHOR_FORMAT_SINGLE) return {text};
    if (!is_array) return split(text, '\n');
    std::vector<std::string_view> out;
    const JsonValue array = parse_json_value(text);
    for (const JsonValue& element : array.elements) out.push_back(element.raw);
    return out;
  }
  void ingest(std::string body, std::uint32_t format, std::string_view default_source,
              ephor_ingest_result& result, std::vector<Rejection>& rejections) {
    if (ingest_failure_ != EPHOR_OK) throw Error(ingest_failure_, "the fake host refuses");
    Ingested ingested{format, std::string(default_source), std::move(body)};
    if (ingest_)
      ingest_(ingested, result, rejections);
    else
      accept(ingested, result, rejections);
    const std::lock_guard lock(mutex_);
    ingested_.push_back(std::move(ingested));
  }

  // ---- the core table -----------------------------------------------------------------------

  static FakeHost& self(void* context) { return *static_cast<FakeHost*>(context); }

  static ephor_status subscribe(void* context, const ephor_subscription* subscription,
                                ephor_error* error) {
    return guarded(error, [&] {
      FakeHost& host = self(context);
      host.require(Phase::created, "subscribe");
      must_be_whole("subscribe", *subscription);
      if (host.is_subscribed_) throw Error(EPHOR_STATE, "one subscription per instance");
      if (subscription->policy > EPHOR_POLICY_LATEST) {
        throw Error(EPHOR_UNSUPPORTED, "policy " + std::to_string(subscription->policy));
      }
      std::string key(to_text(subscription->key));
      const bool is_name = key == "topic" || key == "source" || key == "correlation";
      if (!key.empty() && !is_name && key.front() != '/') {
        throw Error(EPHOR_INVALID, "key \"" + key + "\"");
      }
      if (!key.empty() && subscription->policy != EPHOR_POLICY_LATEST) {
        throw Error(EPHOR_INVALID, "key \"" + key + "\" belongs to the policy latest");
      }
      for (std::uint32_t i = 0; i < subscription->pattern_count; ++i) {
        const std::string_view pattern = to_text(subscription->patterns[i]);
        const std::size_t rest = pattern.find('>');
        const bool has_rest_inside = rest != std::string_view::npos && rest + 1 != pattern.size();
        if (pattern.empty() || has_rest_inside) {
          throw Error(EPHOR_INVALID, "pattern \"" + std::string(pattern) + "\"");
        }
        host.patterns_.emplace_back(pattern);
      }
      host.policy_ = subscription->policy;
      host.key_ = std::move(key);
      host.is_subscribed_ = true;
    });
  }
  static ephor_status publish(void* context, const ephor_draft* drafts, std::uint32_t count,
                              ephor_error* error) {
    return guarded(error, [&] {
      FakeHost& host = self(context);
      if (host.publish_failure_ != EPHOR_OK) {
        throw Error(host.publish_failure_, "the fake host refuses");
      }
      for (std::uint32_t i = 0; i < count; ++i) host.publish_one(draft_at(drafts, i));
    });
  }
  void publish_one(const ephor_draft& draft) {
    if (slice_.empty()) throw Error(EPHOR_STATE, "publish: no slice is in hand");
    if (draft.topic.size == 0) throw Error(EPHOR_INVALID, "publish: the topic is empty");
    (void)parse_json_value(to_text(draft.data_json));
    const auto cause = std::find_if(slice_.begin(), slice_.end(), [&](const ephor_event& event) {
      return event.sequence == draft.cause_sequence;
    });
    if (cause == slice_.end()) {
      throw Error(EPHOR_INVALID, "publish: the cause is not in the slice in hand");
    }
    const std::uint32_t index = drafts_per_cause_[draft.cause_sequence]++;
    Published event{std::string(to_text(draft.topic)), std::string(to_text(draft.data_json)),
                    draft.cause_sequence, std::string(to_text(draft.correlation_id)),
                    hex_of(draft.trace_id)};
    {
      const std::lock_guard lock(mutex_);
      if (!derived_ids_.emplace(draft.cause_sequence, index).second) {
        ++republished_count_;
        return;
      }
      published_.push_back(event);
    }
    if (!feeds_back_) return;
    Entry entry;
    entry.record = CloudEvent{event.topic,
                              event.data_json,
                              cause->time_ns,
                              "ephor/" + instance_,
                              std::to_string(draft.cause_sequence) + "-" + std::to_string(index),
                              event.correlation_id,
                              event.trace_id}
                       .line();
    entry.event.flags = EPHOR_EVENT_DERIVED;
    append_json(std::move(entry));
  }
  static ephor_status topic_id(void* context, ephor_view name, std::uint16_t* topic,
                               ephor_error* error) {
    return guarded(error, [&] {
      const std::lock_guard lock(self(context).mutex_);
      *topic = static_cast<std::uint16_t>(intern(self(context).topics_, to_text(name)));
    });
  }
  static ephor_view topic_name(void* context, std::uint16_t topic) {
    const std::lock_guard lock(self(context).mutex_);
    return name_of(self(context).topics_, topic);
  }
  static ephor_view source_name(void* context, std::uint32_t source) {
    const std::lock_guard lock(self(context).mutex_);
    return name_of(self(context).sources_, source);
  }
  static ephor_status render_json(void* context, const ephor_event* event, ephor_writer* out,
                                  ephor_error* error) {
    if (event->encoding == EPHOR_ENCODING_OTLP) {
      std::string rendered;
      otlp::render(rendered, *event, to_text(source_name(context, event->source)));
      return out->write(out->context, to_view(rendered));
    }
    if (event->encoding != EPHOR_ENCODING_JSON) {
      return store_error(error, EPHOR_UNSUPPORTED,
                         "the fake host renders only JSON and OTLP records");
    }
    return out->write(out->context, {event->record, event->record_length});
  }

  // ---- the extensions -----------------------------------------------------------------------

  static ephor_status provide_query(void* context, ephor_view name, ephor_view summary,
                                    ephor_query_handler handler, void* user, ephor_error* error) {
    return guarded(error, [&] {
      FakeHost& host = self(context);
      host.require(Phase::created, "provide");
      const std::lock_guard lock(host.mutex_);
      const bool is_new = host.queries_
                              .emplace(to_text(name), Query{handler, user, nullptr,
                                                            std::string(to_text(summary)), true})
                              .second;
      if (!is_new) throw Error(EPHOR_CONFLICT, "query " + std::string(to_text(name)) + " is taken");
    });
  }
  static ephor_status call_query(void* context, ephor_view name, ephor_view request,
                                 std::int64_t timeout_ns, std::uint64_t after_sequence,
                                 ephor_writer* answer, std::uint64_t* as_of_sequence,
                                 ephor_error* error) {
    return guarded(error, [&] {
      FakeHost& host = self(context);
      Query query;
      {
        const std::lock_guard lock(host.mutex_);
        const auto found = host.queries_.find(to_text(name));
        if (found == host.queries_.end()) {
          throw Error(EPHOR_NOT_FOUND, "no query " + std::string(to_text(name)));
        }
        query = found->second;
        if (as_of_sequence != nullptr) *as_of_sequence = host.as_of();
        if (after_sequence > host.as_of()) {
          throw Error(EPHOR_TIMEOUT, "the plugin has not read as far as after_sequence");
        }
      }
      const std::string text = query.is_of_plugin ? host.call_plugin(query, request, timeout_ns)
                                                  : query.answer(to_text(request));
      return answer->write(answer->context, to_view(text));
    });
  }
  std::uint64_t as_of() const {
    return next_index_ == 0 ? 0 : log_[next_index_ - 1]->event.sequence;
  }
  // False at the deadline. Not a timed mutex: the thread sanitizer does not see one being locked.
  static bool lock_until(std::unique_lock<std::recursive_mutex>& lock,
                         std::chrono::steady_clock::time_point deadline) {
    while (!lock.try_lock()) {
      if (std::chrono::steady_clock::now() >= deadline) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    return true;
  }
  std::string call_plugin(const Query& query, ephor_view request, std::int64_t timeout_ns) {
    const auto deadline = std::chrono::steady_clock::now() +
                          (timeout_ns > 0 ? std::chrono::nanoseconds(timeout_ns) : query_timeout_);
    const auto answer = std::make_shared<Answer>();
    answer->reply = {sizeof(ephor_reply), 0,
                     answer.get(),        &write_reply,
                     &finish_reply,       deadline.time_since_epoch().count()};
    answer->error.struct_size = sizeof answer->error;
    std::unique_lock instance(instance_mutex_, std::defer_lock);
    if ((factory_.capabilities & EPHOR_CAP_CONCURRENT_QUERY) == 0 &&
        !lock_until(instance, deadline)) {
      throw Error(EPHOR_TIMEOUT, "the plugin is busy");
    }
    if (phase_ != Phase::running) throw Error(EPHOR_STATE, "the plugin does not run");
    ephor_error error{};
    error.struct_size = sizeof error;
    const ephor_status status = query.handler(query.user, request, &answer->reply, &error);
    if (instance.owns_lock()) instance.unlock();
    std::unique_lock lock(answer->mutex);
    if (status == EPHOR_PENDING) {
      {
        const std::lock_guard keep(mutex_);
        late_answers_.push_back(answer);
      }
      if (!answer->is_finished.wait_until(lock, deadline,
                                          [&] { return answer->status != EPHOR_PENDING; })) {
        throw Error(EPHOR_TIMEOUT, "no answer before the deadline");
      }
      if (answer->status != EPHOR_OK) {
        throw Error(answer->status, answer->error.message, answer->error.json_pointer);
      }
    } else if (status != EPHOR_OK) {
      throw Error(status, error.message, error.json_pointer);
    }
    return answer->text;
  }
  static ephor_status write_reply(void* context, ephor_view bytes) {
    return guarded(nullptr, [&] {
      auto& answer = *static_cast<Answer*>(context);
      const std::lock_guard lock(answer.mutex);
      answer.text += to_text(bytes);
    });
  }
  static void finish_reply(void* context, ephor_status status, const ephor_error* error) {
    guarded(nullptr, [&] {
      auto& answer = *static_cast<Answer*>(context);
      const std::lock_guard lock(answer.mutex);
      answer.status = status;
      if (error != nullptr) answer.error = *error;
      answer.is_finished.notify_all();
    });
  }
  static ephor_status list_queries(void* context, ephor_writer* out, ephor_error* error) {
    return guarded(error, [&] {
      FakeHost& host = self(context);
      std::string text = "[";
      {
        const std::lock_guard lock(host.mutex_);
        for (const auto& [name, query] : host.queries_) {
          if (text.size() > 1) text += ',';
          text += R"({"name":)" + json_quoted(name) + R"(,"summary":)" +
                  json_quoted(query.summary) + R"(,"instance":)" +
                  json_quoted(query.is_of_plugin ? host.instance_ : "other") + "}";
        }
      }
      return out->write(out->context, to_view(text += ']'));
    });
  }
  static ephor_status add_route_entry(void* context, const ephor_http_route* route,
                                      ephor_error* error) {
    return guarded(error, [&] {
      FakeHost& host = self(context);
      host.require(Phase::created, "add_route");
      must_be_whole("add_route", *route);
      const auto text = [](ephor_view view) { return std::string(to_text(view)); };
      RecordedRoute made{text(route->method),          text(route->path),
                         text(route->query),           text(route->scope),
                         text(route->summary),         text(route->request_schema),
                         text(route->response_schema), text(route->content_type)};
      const std::lock_guard lock(host.mutex_);
      for (const auto& [other, is_of_plugin] : host.routes_) {
        if (other.method == made.method && other.path == made.path) {
          throw Error(EPHOR_CONFLICT, made.method + " " + made.path + " is taken");
        }
      }
      host.routes_.emplace_back(std::move(made), true);
      ++host.route_generation_;
    });
  }
  static ephor_status visit_routes(void* context, ephor_http_visitor visitor, void* user) {
    return guarded(nullptr, [&] {
      for (const RecordedRoute& route : self(context).routes()) {
        const ephor_http_route view{sizeof(ephor_http_route),       0,
                                    to_view(route.method),          to_view(route.path),
                                    to_view(route.query),           to_view(route.scope),
                                    to_view(route.summary),         to_view(route.request_schema),
                                    to_view(route.response_schema), to_view(route.content_type)};
        visitor(user, to_view(self(context).instance_), &view);
      }
    });
  }
  static std::uint64_t route_generation(void* context) {
    const std::lock_guard lock(self(context).mutex_);
    return self(context).route_generation_;
  }
  static ephor_status declare(void* context, ephor_view json, ephor_error* error) {
    return guarded(error, [&] { self(context).declare_tables(to_text(json)); });
  }
  static ephor_status select(void* context, ephor_view sql, const ephor_cell* parameters,
                             std::uint32_t parameter_count, ephor_row_visitor visitor, void* user,
                             ephor_error* error) {
    return guarded(error, [&] {
      FakeHost& host = self(context);
      if (!host.select_) {
        throw Error(EPHOR_UNSUPPORTED, "the fake host runs no SQL: give it an on_select");
      }
      for (const auto& row : host.select_(to_text(sql), {parameters, parameter_count})) {
        std::vector<ephor_cell> cells;
        for (const StoredCell& cell : row) cells.push_back(cell.view());
        if (visitor(user, cells.data(), static_cast<std::uint32_t>(cells.size())) != EPHOR_OK) {
          break;
        }
      }
    });
  }
  static ephor_buffer* acquire_buffer(void* context, std::uint64_t capacity, char** data) {
    if (capacity > self(context).body_limit_bytes_) return nullptr;
    auto buffer = std::make_unique<Buffer>();
    buffer->data = std::make_unique<char[]>(capacity + kSlackBytes);
    buffer->capacity = capacity;
    *data = buffer->data.get();
    return reinterpret_cast<ephor_buffer*>(buffer.release());
  }
  static void release_buffer(void*, ephor_buffer* buffer) {
    delete reinterpret_cast<Buffer*>(buffer);
  }
  static ephor_status ingest_buffer(void* context, ephor_buffer* buffer, std::uint64_t size,
                                    std::uint32_t format, ephor_view default_source,
                                    ephor_rejection_visitor on_rejected, void* user,
                                    ephor_ingest_result* result, ephor_error* error) {
    const std::unique_ptr<Buffer> owned(reinterpret_cast<Buffer*>(buffer));
    return guarded(error, [&] {
      if (size > owned->capacity) throw Error(EPHOR_INVALID, "size is above the capacity");
      if (result != nullptr) must_be_whole("ingest", *result);
      ephor_ingest_result made{};
      std::vector<Rejection> rejections;
      self(context).ingest(std::string(owned->data.get(), size), format, to_text(default_source),
                           made, rejections);
      for (const Rejection& rejection : rejections) {
        const ephor_rejection view{sizeof(ephor_rejection), rejection.line,
                                   to_view(rejection.json_pointer), to_view(rejection.reason)};
        if (on_rejected != nullptr) on_rejected(user, &view);
      }
      if (result == nullptr) return;
      made.struct_size =
          std::min<std::uint32_t>(result->struct_size, static_cast<std::uint32_t>(sizeof made));
      std::memcpy(result, &made, made.struct_size);
    });
  }
  static ephor_status find_events(void* context, ephor_view id, ephor_event_visitor visitor,
                                  void* user, ephor_error* error) {
    return guarded(error, [&] {
      for (const auto& entry : self(context).log_copy()) {
        if (carries(*entry, to_text(id))) visitor(user, &entry->event);
      }
    });
  }
  static ephor_status read_events(void* context, std::uint64_t from, ephor_view pattern,
                                  std::uint32_t limit, ephor_event_visitor visitor, void* user,
                                  std::uint64_t* next, ephor_error* error) {
    return guarded(error, [&] {
      std::uint32_t visited = 0;
      if (next != nullptr) *next = 0;
      for (const auto& entry : self(context).log_copy()) {
        if (entry->event.sequence < from || !topic_matches(to_text(pattern), entry->topic))
          continue;
        if (visited++ == limit) {
          if (next != nullptr) *next = entry->event.sequence;
          return;
        }
        visitor(user, &entry->event);
      }
    });
  }
  static std::uint64_t last_committed(void* context) { return self(context).last_sequence(); }
  static ephor_status provide_command(void* context, ephor_view name, ephor_view,
                                      ephor_command_handler handler, void* user,
                                      ephor_error* error) {
    return guarded(error, [&] {
      self(context).require(Phase::created, "provide a command");
      if (!self(context).commands_.emplace(to_text(name), std::pair(handler, user)).second) {
        throw Error(EPHOR_CONFLICT, "command " + std::string(to_text(name)) + " is taken");
      }
    });
  }
  static Labels labels_of(std::string_view json) {
    Labels out;
    const JsonValue object = parse_json_value(json.empty() ? "{}" : json);
    if (!object.is_object()) throw Error(EPHOR_INVALID, "labels: expected an object of texts");
    for (const JsonMember& member : object.members) {
      if (!member.value.is_string()) throw Error(EPHOR_INVALID, "label " + member.name);
      out[member.name] = member.value.text;
    }
    return out;
  }
  static ephor_status make_series(void* context, std::uint32_t kind, ephor_view name,
                                  ephor_view help, ephor_view labels_json, std::uint64_t* handle,
                                  ephor_error* error) {
    return guarded(error, [&] {
      FakeHost& host = self(context);
      Labels labels = labels_of(to_text(labels_json));
      const std::lock_guard lock(host.mutex_);
      const auto [found, is_new] = host.series_by_key_.emplace(
          std::pair(std::string(to_text(name)), labels), host.series_.size());
      if (is_new) {
        host.series_.push_back(
            {kind, std::string(to_text(name)), std::string(to_text(help)), std::move(labels), 0.0});
      }
      *handle = found->second;
    });
  }
  static void add_to_series(void* context, std::uint64_t series, double amount) {
    const std::lock_guard lock(self(context).mutex_);
    self(context).series_.at(series).value += amount;
  }
  static void set_series(void* context, std::uint64_t series, double value) {
    const std::lock_guard lock(self(context).mutex_);
    self(context).series_.at(series).value = value;
  }
  static ephor_status render_metrics(void* context, ephor_writer* out, ephor_error* error) {
    return guarded(error, [&] {
      FakeHost& host = self(context);
      std::string text;
      {
        const std::lock_guard lock(host.mutex_);
        std::string_view family;
        for (const auto& [key, index] : host.series_by_key_) {
          const MetricSeries& series = host.series_[index];
          if (series.name != family) {
            text += "# HELP " + series.name + " " + series.help + "\n# TYPE " + series.name +
                    (series.kind == EPHOR_METRIC_COUNTER ? " counter\n" : " gauge\n");
          }
          family = series.name;
          text += series.name + "{instance=" + json_quoted(host.instance_);
          for (const auto& [label, value] : series.labels) {
            text += "," + label + "=" + json_quoted(value);
          }
          char number[32];
          std::snprintf(number, sizeof number, "%.17g", series.value);
          text += std::string("} ") + number + "\n";
        }
      }
      return out->write(out->context, to_view(text));
    });
  }
  static void write_log(void* context, std::int32_t level, ephor_view message) {
    guarded(nullptr, [&] {
      const std::lock_guard lock(self(context).mutex_);
      self(context).log_lines_.push_back({level, std::string(to_text(message))});
    });
  }
  static void report_health(void* context, std::int32_t state, ephor_view reason) {
    guarded(nullptr, [&] {
      const std::lock_guard lock(self(context).mutex_);
      self(context).health_reports_.push_back({state, std::string(to_text(reason))});
    });
  }
  static ephor_status health_snapshot(void* context, ephor_writer* out, ephor_error* error) {
    return guarded(error, [&] {
      std::string text;
      {
        const std::lock_guard lock(self(context).mutex_);
        text = self(context).health_snapshot_;
      }
      return out->write(out->context, to_view(text));
    });
  }
  static ephor_status run_task(void* context, ephor_task_function function, void* user,
                               ephor_error* error) {
    return guarded(error, [&] {
      FakeHost& host = self(context);
      if (host.phase_ == Phase::stopped) throw Error(EPHOR_STATE, "the plugin is stopped");
      const std::lock_guard lock(host.mutex_);
      host.tasks_.emplace_back(function, user);
    });
  }

  const void* find_extension(std::string_view id) const {
    if (withheld_.contains(id)) return nullptr;
    if (id == "ephor.query/1") return &query_;
    if (id == "ephor.http/1") return &http_;
    if (id == "ephor.storage/1") return &storage_;
    if (id == "ephor.journal/1") return &journal_;
    if (id == "ephor.command/1") return &command_;
    if (id == "ephor.metrics/1") return &metrics_;
    if (id == "ephor.log/1") return &log_table_;
    if (id == "ephor.health/1") return &health_;
    if (id == "ephor.task/1") return &task_;
    return nullptr;
  }
  void fill_tables() {
    const auto get_extension = [](void* context, ephor_view id) -> const void* {
      return self(context).find_extension(to_text(id));
    };
    host_ = {sizeof host_,  EPHOR_ABI_MAJOR, EPHOR_ABI_MINOR, this,
             get_extension, &subscribe,      &publish,        &topic_id,
             &topic_name,   &source_name,    &render_json};
    query_ = {sizeof query_, 0, this, &provide_query, &call_query, &list_queries};
    http_ = {sizeof http_, 0, this, &add_route_entry, &visit_routes, &route_generation};
    storage_ = {sizeof storage_, 0, this, &declare, &select};
    journal_ = {sizeof journal_,
                0,
                this,
                &acquire_buffer,
                &release_buffer,
                &ingest_buffer,
                &find_events,
                &read_events,
                &last_committed};
    command_ = {sizeof command_, 0, this, &provide_command};
    metrics_ = {sizeof metrics_, 0,           this,           &make_series,
                &add_to_series,  &set_series, &render_metrics};
    log_table_ = {sizeof log_table_, EPHOR_LOG_TRACE, this, &write_log};
    health_ = {sizeof health_, 0, this, &report_health, &health_snapshot};
    task_ = {sizeof task_, 0, this, &run_task};
  }

  static constexpr std::size_t kSlackBytes = 64;  // promised behind every record

  ephor_host host_{};
  ephor_query query_{};
  ephor_http http_{};
  ephor_storage storage_{};
  ephor_journal journal_{};
  ephor_command command_{};
  ephor_metrics metrics_{};
  ephor_log log_table_{};
  ephor_health health_{};
  ephor_task task_{};

  // Serialises the calls into the instance, as the host does. Recursive: a query may be asked from
  // inside a handler of the same plugin.
  std::recursive_mutex instance_mutex_;
  std::atomic<Phase> phase_{Phase::none};
  Factory factory_;
  ephor_plugin plugin_{};
  std::string config_;
  std::string instance_;
  std::vector<ephor_event> slice_;
  std::map<std::uint64_t, std::uint32_t> drafts_per_cause_;
  std::size_t slice_size_ = 256;
  bool is_tolerant_ = false;
  bool feeds_back_ = false;
  std::vector<std::string> failures_;
  std::optional<Saved> saved_;
  Tables tables_;
  Tables pending_rows_;
  std::map<std::string, std::pair<ephor_command_handler, void*>> commands_;
  SelectHandler select_;
  IngestHandler ingest_;
  std::atomic<ephor_status> ingest_failure_{EPHOR_OK};
  std::atomic<ephor_status> publish_failure_{EPHOR_OK};
  std::atomic<std::uint64_t> body_limit_bytes_{64ULL << 20};
  std::chrono::nanoseconds query_timeout_ = std::chrono::seconds(5);
  std::set<std::string, std::less<>> withheld_;

  mutable std::mutex mutex_;  // guards all below: [any] functions come from any thread
  std::deque<std::shared_ptr<Entry>> log_;
  std::size_t next_index_ = 0;  // of log_: the first that was not delivered
  std::int64_t log_time_ns_ = 0;
  std::deque<std::string> topics_{""};
  std::deque<std::string> sources_{""};
  std::vector<std::string> patterns_;
  std::uint32_t policy_ = EPHOR_POLICY_REPLAY;
  std::string key_;
  bool is_subscribed_ = false;
  std::vector<Published> published_;
  std::set<std::pair<std::uint64_t, std::uint32_t>> derived_ids_;
  std::size_t republished_count_ = 0;
  std::set<std::pair<std::string, std::string>> ids_;
  std::map<std::string, Query, std::less<>> queries_;
  std::vector<std::pair<RecordedRoute, bool>> routes_;  // true: of the plugin
  std::uint64_t route_generation_ = 1;
  std::vector<Ingested> ingested_;
  std::deque<MetricSeries> series_;
  std::map<std::pair<std::string, Labels>, std::size_t> series_by_key_;
  std::vector<LogLine> log_lines_;
  std::vector<HealthReport> health_reports_;
  std::string health_snapshot_ =
      R"({"ready":true,"live":true,"mode":"live","instances":[],"log_time":null})";
  std::vector<std::thread> tasks_;
  std::vector<std::shared_ptr<Answer>> late_answers_;
};

}  // namespace ephor::testing
