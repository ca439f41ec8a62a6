// SPDX-License-Identifier: Apache-2.0
//
// The C++20 layer over <ephor/abi.h>: header-only, standard library only. A plugin is a class that
// derives from ephor::Plugin and one line EPHOR_PLUGIN(Class, "id"). Exceptions are free inside;
// each function pointer of the ABI goes through one guard that turns them into a status.
#pragma once

#include <ephor/abi.h>
#include <ephor/note.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <ephor/abi_sizes.hpp>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ephor {

using Event = ephor_event;

inline ephor_view to_view(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view to_text(ephor_view view) {
  return view.size == 0 ? std::string_view() : std::string_view(view.data, view.size);
}

// A failure with a status and, where it is about a value of a JSON document, an RFC 6901 pointer.
class Error : public std::runtime_error {
 public:
  Error(ephor_status code, const std::string& what, std::string json_pointer = {})
      : std::runtime_error(what), code_(code), json_pointer_(std::move(json_pointer)) {}
  ephor_status code() const { return code_; }
  const std::string& json_pointer() const { return json_pointer_; }

 private:
  ephor_status code_;
  std::string json_pointer_;
};

// Refuses (EPHOR_UNSUPPORTED) a struct of the other side that is shorter than in its first release:
// what lies beyond its end is not the struct's.
template <typename Struct>
void must_be_whole(std::string_view where, const Struct& one) {
  if (is_whole(one)) return;
  throw Error(EPHOR_UNSUPPORTED, std::string(where) + ": found " + FirstRelease<Struct>::kName +
                                     " of " + std::to_string(one.struct_size) +
                                     " bytes, expected at least " +
                                     std::to_string(least_size<Struct>));
}

// Number `index` of an array of drafts, whose type may be longer on the side that made them.
inline const ephor_draft& draft_at(const ephor_draft* drafts, std::uint32_t index) {
  must_be_whole("publish", *drafts);
  if (drafts->struct_size % alignof(ephor_draft) != 0) {
    throw Error(EPHOR_INVALID, "publish: found drafts of " + std::to_string(drafts->struct_size) +
                                   " bytes, expected a multiple of 8");
  }
  const auto* first = reinterpret_cast<const char*>(drafts);
  return *reinterpret_cast<const ephor_draft*>(first + std::size_t{index} * drafts->struct_size);
}

namespace detail {

// How many bytes the UTF-8 character at the start of `text` takes; 0 if there is none.
inline std::size_t character_size(std::string_view text) noexcept {
  const auto at = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto follows = [&](std::size_t i, unsigned least = 0x80, unsigned most = 0xBF) {
    return at(i) >= least && at(i) <= most;
  };
  const unsigned lead = at(0);
  if (lead < 0x80) return text.empty() ? 0 : 1;
  if (lead >= 0xC2 && lead <= 0xDF) return follows(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {  // no longer forms, no surrogates
    return follows(1, lead == 0xE0 ? 0xA0 : 0x80, lead == 0xED ? 0x9F : 0xBF) && follows(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    return follows(1, lead == 0xF0 ? 0x90 : 0x80, lead == 0xF4 ? 0x8F : 0xBF) && follows(2) &&
                   follows(3)
               ? 4
               : 0;
  }
  return 0;
}

// Copies what fits, cut between two characters, with '?' for each byte that is no UTF-8: what a
// parser found wrong often stands in its message.
inline void put_text(char* to, std::size_t capacity, std::string_view text) noexcept {
  std::size_t size = 0;
  while (!text.empty()) {
    const std::size_t taken = character_size(text);
    if (size + std::max<std::size_t>(taken, 1) >= capacity) break;
    if (taken == 0) {
      to[size++] = '?';
    } else {
      size += text.copy(to + size, taken);
    }
    text.remove_prefix(std::max<std::size_t>(taken, 1));
  }
  to[size] = '\0';
}

}  // namespace detail

// Writes into the other side's fixed buffer, as UTF-8 and as far as it goes; never allocates.
// Returns `code`.
inline ephor_status store_error(ephor_error* out, ephor_status code, std::string_view message,
                                std::string_view json_pointer = {}) noexcept {
  if (out == nullptr || !EPHOR_HAS(out, ephor_error, code)) return code;
  out->code = code;
  if (EPHOR_HAS(out, ephor_error, message)) {
    detail::put_text(out->message, sizeof out->message, message);
  }
  if (EPHOR_HAS(out, ephor_error, json_pointer)) {
    detail::put_text(out->json_pointer, sizeof out->json_pointer, json_pointer);
  }
  return code;
}

// Runs `body` (returning void or ephor_status) and turns whatever it throws into a status.
template <typename Body>
ephor_status guarded(ephor_error* error, Body&& body) noexcept {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<Body>>) {
      body();
      return EPHOR_OK;
    } else {
      return body();
    }
  } catch (const Error& failure) {
    return store_error(error, failure.code(), failure.what(), failure.json_pointer());
  } catch (const std::bad_alloc&) {
    return store_error(error, EPHOR_FULL, "out of memory");
  } catch (const std::exception& failure) {
    return store_error(error, EPHOR_INTERNAL, failure.what());
  } catch (...) {
    return store_error(error, EPHOR_INTERNAL, "unknown exception");
  }
}

// Calls into the other side and throws its failure as ephor::Error.
template <typename Call>
void check(Call&& call) {
  ephor_error error{};
  error.struct_size = sizeof error;
  if (const ephor_status status = call(&error); status != EPHOR_OK) {
    throw Error(status, error.message[0] != '\0' ? error.message : "no message",
                error.json_pointer);
  }
}

inline ephor_writer string_writer(std::string& out) {
  return {sizeof(ephor_writer), 0, &out, [](void* context, ephor_view bytes) -> ephor_status {
            return guarded(nullptr,
                           [&] { static_cast<std::string*>(context)->append(to_text(bytes)); });
          }};
}

// A draft of an event to publish.
struct Draft {
  std::string_view topic;
  std::string_view data_json;
  const Event* cause = nullptr;  // its trace id is handed on
  std::string_view correlation_id = {};
};

// One cell of a row. Text and blobs are views: they live until the call they are passed to returns.
struct Cell : ephor_cell {
  Cell() : ephor_cell{EPHOR_CELL_NULL, 0, 0, 0.0, {nullptr, 0}} {}
  static Cell null() { return {}; }
  static Cell integer_value(std::int64_t value) { return make(EPHOR_CELL_INTEGER, value, 0.0, {}); }
  static Cell real_value(double value) { return make(EPHOR_CELL_REAL, 0, value, {}); }
  static Cell text(std::string_view value) { return make(EPHOR_CELL_TEXT, 0, 0.0, value); }
  static Cell json(std::string_view value) { return make(EPHOR_CELL_JSON, 0, 0.0, value); }
  static Cell blob(std::string_view value) { return make(EPHOR_CELL_BLOB, 0, 0.0, value); }

 private:
  static Cell make(std::uint32_t cell_kind, std::int64_t i, double r, std::string_view b) {
    Cell cell;
    cell.kind = cell_kind;
    cell.integer = i;
    cell.real = r;
    cell.bytes = to_view(b);
    return cell;
  }
};

// Where a checkpoint's rows go: absolute upserts by the declared key.
class Rows {
 public:
  explicit Rows(const ephor_rows* table) : table_(table) {}
  void upsert(std::string_view table, std::span<const Cell> cells) const {
    check([&](ephor_error* error) {
      return table_->upsert(table_->context, to_view(table), cells.data(),
                            static_cast<std::uint32_t>(cells.size()), error);
    });
  }
  void upsert(std::string_view table, std::initializer_list<Cell> cells) const {
    upsert(table, std::span<const Cell>(cells.begin(), cells.size()));
  }
  void erase(std::string_view table, std::initializer_list<Cell> key) const {
    check([&](ephor_error* error) {
      return table_->erase(table_->context, to_view(table), key.begin(),
                           static_cast<std::uint32_t>(key.size()), error);
    });
  }

 private:
  const ephor_rows* table_;
};

// A counter or gauge of ephor.metrics/1. Cheap to copy; without the extension it does nothing.
class Series {
 public:
  Series() = default;
  Series(const ephor_metrics* table, std::uint64_t series) : table_(table), series_(series) {}
  void add(double amount = 1.0) const {
    if (table_ != nullptr) table_->add(table_->context, series_, amount);
  }
  void set(double value) const {
    if (table_ != nullptr) table_->set(table_->context, series_, value);
  }

 private:
  const ephor_metrics* table_ = nullptr;
  std::uint64_t series_ = 0;
};

// Answers one query: a JSON request object in, the answer's text out. May throw ephor::Error.
using QueryHandler = std::function<std::string(std::string_view request)>;
using CommandHandler = std::function<void(std::string_view arguments, ephor_writer& out)>;

struct Route {
  std::string_view method;
  std::string_view path;
  std::string_view query;
  std::string_view summary;
  std::string_view scope = "read";
  std::string_view request_schema = {};
  std::string_view response_schema = {};
  std::string_view content_type = {};
};

// The host as one instance sees it. Copies share the table; handlers given to it live as long as
// the instance.
class Host {
 public:
  Host(const ephor_host* table, std::string_view instance)
      : table_(table), instance_(instance), handlers_(std::make_shared<Handlers>()) {}

  const std::string& instance() const { return instance_; }
  const ephor_host* table() const { return table_; }

  // nullptr if this host lacks the extension, or has it shorter than it was first released. [any]
  template <typename Table>
  const Table* extension(std::string_view id) const {
    const auto* found =
        static_cast<const Table*>(table_->get_extension(table_->context, to_view(id)));
    if constexpr (requires { FirstRelease<Table>::kSize; }) {
      if (found != nullptr && !is_whole(*found)) return nullptr;
    }
    return found;
  }
  // Throws EPHOR_UNSUPPORTED if this host lacks it. [any]
  template <typename Table>
  const Table& required(std::string_view id) const {
    if (const Table* found = extension<Table>(id)) return *found;
    throw Error(EPHOR_UNSUPPORTED, "this host has no extension " + std::string(id));
  }

  // [control] Until start returns; once. `key` belongs to EPHOR_POLICY_LATEST, see
  // ephor_subscription.
  void subscribe(std::initializer_list<std::string_view> patterns,
                 std::uint32_t policy = EPHOR_POLICY_REPLAY, std::string_view key = {}) const {
    subscribe(std::span<const std::string_view>(patterns.begin(), patterns.size()), policy, key);
  }
  // The same with patterns that only the configuration knows.
  void subscribe(std::span<const std::string_view> patterns,
                 std::uint32_t policy = EPHOR_POLICY_REPLAY, std::string_view key = {}) const {
    std::vector<ephor_view> views;
    for (const std::string_view pattern : patterns) views.push_back(to_view(pattern));
    const ephor_subscription subscription{sizeof(ephor_subscription),
                                          policy,
                                          views.data(),
                                          static_cast<std::uint32_t>(views.size()),
                                          0,
                                          to_view(key)};
    check([&](ephor_error* error) {
      return table_->subscribe(table_->context, &subscription, error);
    });
  }

  // [dispatch] See ephor_host.publish.
  void publish(const Draft& draft) const {
    ephor_draft plain{};
    plain.struct_size = sizeof plain;
    plain.topic = to_view(draft.topic);
    plain.data_json = to_view(draft.data_json);
    plain.correlation_id = to_view(draft.correlation_id);
    if (draft.cause != nullptr) {
      plain.cause_sequence = draft.cause->sequence;
      std::memcpy(plain.trace_id, draft.cause->trace_id, sizeof plain.trace_id);
    }
    check([&](ephor_error* error) { return table_->publish(table_->context, &plain, 1, error); });
  }

  std::uint16_t topic_id(std::string_view name) const {  // [any]
    std::uint16_t topic = 0;
    check([&](ephor_error* error) {
      return table_->topic_id(table_->context, to_view(name), &topic, error);
    });
    return topic;
  }
  std::string_view topic_name(std::uint16_t topic) const {  // [any]
    return to_text(table_->topic_name(table_->context, topic));
  }
  std::string_view source_name(std::uint32_t source) const {  // [any]
    return to_text(table_->source_name(table_->context, source));
  }
  std::string render_json(const Event& event) const {  // [any]
    std::string text;
    ephor_writer out = string_writer(text);
    check([&](ephor_error* error) {
      return table_->render_json(table_->context, &event, &out, error);
    });
    return text;
  }

  // [control] Offers a query; its handler runs on [query].
  void provide_query(std::string_view name, std::string_view summary, QueryHandler handler) const {
    const auto& query = required<ephor_query>("ephor.query/1");
    handlers_->queries.push_back(std::make_unique<QueryHandler>(std::move(handler)));
    check([&](ephor_error* error) {
      return query.provide(query.context, to_view(name), to_view(summary), &answer,
                           handlers_->queries.back().get(), error);
    });
  }
  // [control] Offers a query and a route onto it, if the host has routes.
  void provide_route(const Route& route, QueryHandler handler) const {
    provide_query(route.query, route.summary, std::move(handler));
    const auto* http = extension<ephor_http>("ephor.http/1");
    if (http == nullptr) return;
    const ephor_http_route plain{sizeof(ephor_http_route),       0,
                                 to_view(route.method),          to_view(route.path),
                                 to_view(route.query),           to_view(route.scope),
                                 to_view(route.summary),         to_view(route.request_schema),
                                 to_view(route.response_schema), to_view(route.content_type)};
    check([&](ephor_error* error) { return http->add_route(http->context, &plain, error); });
  }
  // [any] Asks a query of any instance; the answer's text.
  std::string ask(std::string_view name, std::string_view request_json = "{}",
                  std::int64_t timeout_ns = 0, std::uint64_t after_sequence = 0,
                  std::uint64_t* as_of_sequence = nullptr) const {
    const auto& query = required<ephor_query>("ephor.query/1");
    std::string text;
    ephor_writer out = string_writer(text);
    check([&](ephor_error* error) {
      return query.call(query.context, to_view(name), to_view(request_json), timeout_ns,
                        after_sequence, &out, as_of_sequence, error);
    });
    return text;
  }

  // [control] In create. `ephor NAME ...` runs it.
  void provide_command(std::string_view name, std::string_view summary,
                       CommandHandler handler) const {
    const auto* command = extension<ephor_command>("ephor.command/1");
    if (command == nullptr) return;
    handlers_->commands.push_back(std::make_unique<CommandHandler>(std::move(handler)));
    check([&](ephor_error* error) {
      return command->provide(command->context, to_view(name), to_view(summary), &run_command,
                              handlers_->commands.back().get(), error);
    });
  }

  // [control] See ephor_storage.declare.
  void declare_tables(std::string_view tables_json) const {
    const auto& storage = required<ephor_storage>("ephor.storage/1");
    check([&](ephor_error* error) {
      return storage.declare(storage.context, to_view(tables_json), error);
    });
  }
  // [any] One SELECT over committed rows; `visit` takes std::span<const ephor_cell>.
  void select(std::string_view sql, std::initializer_list<Cell> parameters,
              const std::function<void(std::span<const ephor_cell>)>& visit) const {
    const auto& storage = required<ephor_storage>("ephor.storage/1");
    check([&](ephor_error* error) {
      return storage.select(
          storage.context, to_view(sql), parameters.begin(),
          static_cast<std::uint32_t>(parameters.size()),
          [](void* user, const ephor_cell* cells, std::uint32_t count) -> ephor_status {
            using Visit = std::function<void(std::span<const ephor_cell>)>;
            return guarded(nullptr, [&] {
              (*static_cast<const Visit*>(user))(std::span<const ephor_cell>(cells, count));
            });
          },
          const_cast<void*>(static_cast<const void*>(&visit)), error);
    });
  }

  // [any] Events that carry `id` as correlation id, trace id or declared join key, in log order.
  void find_events(std::string_view id, const std::function<void(const Event&)>& visit) const {
    const auto& journal = required<ephor_journal>("ephor.journal/1");
    check([&](ephor_error* error) {
      return journal.find(
          journal.context, to_view(id),
          [](void* user, const ephor_event* event) {
            guarded(nullptr, [&] {
              (*static_cast<const std::function<void(const Event&)>*>(user))(*event);
            });
          },
          const_cast<void*>(static_cast<const void*>(&visit)), error);
    });
  }

  // [any] Brings records in from outside: CloudEvents or bare records, one, an array or lines
  // (EPHOR_FORMAT_*). Returns when what was accepted is durable. `default_source` names the source
  // of records that carry none; `on_rejected` gets each refused record, its views die with the
  // call. Throws Error: EPHOR_FULL or EPHOR_IO, nothing was kept, try again later; EPHOR_INVALID,
  // the body is above the host's limit. Copies `body` once and waits for the disk: not for
  // [dispatch].
  ephor_ingest_result ingest(std::string_view body, std::string_view default_source,
                             const std::function<void(const ephor_rejection&)>& on_rejected = {},
                             std::uint32_t format = EPHOR_FORMAT_AUTO) const {
    const auto& journal = required<ephor_journal>("ephor.journal/1");
    char* memory = nullptr;
    ephor_buffer* const buffer = journal.acquire(journal.context, body.size(), &memory);
    if (buffer == nullptr) {
      throw Error(EPHOR_INVALID, "ingest: found a body of " + std::to_string(body.size()) +
                                     " bytes, expected one below the host's limit");
    }
    body.copy(memory, body.size());
    ephor_ingest_result result{};
    result.struct_size = sizeof result;
    check([&](ephor_error* error) {
      return journal.ingest(
          journal.context, buffer, body.size(), format, to_view(default_source),
          [](void* user, const ephor_rejection* rejection) {
            using Visit = std::function<void(const ephor_rejection&)>;
            const auto& visit = *static_cast<const Visit*>(user);
            guarded(nullptr, [&] {
              if (visit) visit(*rejection);
            });
          },
          const_cast<void*>(static_cast<const void*>(&on_rejected)), &result, error);
    });
    return result;
  }

  // [any] Runs `task` once on a pool thread of the host; it has ended before stop returns. What it
  // throws is lost. Throws Error(EPHOR_FULL) if the queue is full, EPHOR_STATE behind stop.
  void run_task(std::function<void()> task) const {
    const auto& pool = required<ephor_task>("ephor.task/1");
    using Task = std::function<void()>;
    auto kept = std::make_unique<Task>(std::move(task));
    check([&](ephor_error* error) {
      return pool.run(
          pool.context,
          [](void* user) {
            const std::unique_ptr<Task> own(static_cast<Task*>(user));
            guarded(nullptr, [&] { (*own)(); });
          },
          kept.get(), error);
    });
    static_cast<void>(kept.release());  // the pool's thread has it
  }

  Series series(std::uint32_t kind, std::string_view name, std::string_view help,
                std::string_view labels_json = "{}") const {  // [any]
    const auto* metrics = extension<ephor_metrics>("ephor.metrics/1");
    if (metrics == nullptr) return {};
    std::uint64_t handle = 0;
    check([&](ephor_error* error) {
      return metrics->series(metrics->context, kind, to_view(name), to_view(help),
                             to_view(labels_json), &handle, error);
    });
    return {metrics, handle};
  }
  Series counter(std::string_view name, std::string_view help,
                 std::string_view labels_json = "{}") const {
    return series(EPHOR_METRIC_COUNTER, name, help, labels_json);
  }
  Series gauge(std::string_view name, std::string_view help,
               std::string_view labels_json = "{}") const {
    return series(EPHOR_METRIC_GAUGE, name, help, labels_json);
  }

  void log(std::int32_t level, std::string_view message) const {  // [any]
    const auto* log = extension<ephor_log>("ephor.log/1");
    if (log != nullptr && level >= log->level) log->log(log->context, level, to_view(message));
  }
  void report_health(std::int32_t state, std::string_view reason) const {  // [any]
    const auto* health = extension<ephor_health>("ephor.health/1");
    if (health != nullptr) health->report(health->context, state, to_view(reason));
  }
  // [any] JSON: {"mode": "live" | "replay" | "offline", "log_time", "data_dir", "instances", ...};
  // "{}" where the host has no ephor.health/1. Who acts on the world does so when live only.
  std::string health_snapshot() const {
    const auto* health = extension<ephor_health>("ephor.health/1");
    if (health == nullptr) return "{}";
    std::string text;
    ephor_writer out = string_writer(text);
    check([&](ephor_error* error) { return health->snapshot(health->context, &out, error); });
    return text;
  }

 private:
  struct Handlers {
    std::vector<std::unique_ptr<QueryHandler>> queries;
    std::vector<std::unique_ptr<CommandHandler>> commands;
  };

  static ephor_status answer(void* user, ephor_view request, ephor_reply* reply,
                             ephor_error* error) {
    return guarded(error, [&] {
      must_be_whole("query", *reply);
      const std::string text = (*static_cast<QueryHandler*>(user))(to_text(request));
      return reply->write(reply->context, to_view(text));
    });
  }
  static ephor_status run_command(void* user, ephor_view arguments, ephor_writer* out,
                                  ephor_error* error) {
    return guarded(error, [&] { (*static_cast<CommandHandler*>(user))(to_text(arguments), *out); });
  }

  const ephor_host* table_;
  std::string instance_;
  std::shared_ptr<Handlers> handlers_;
};

// Derive, take (Host, std::string_view config) in the constructor, override what you need.
class Plugin {
 public:
  Plugin() = default;
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;
  virtual ~Plugin() = default;

  virtual void start() {}                                  // [control]
  virtual void on_event(const Event&) {}                   // [dispatch]
  virtual void on_events(std::span<const Event> events) {  // [dispatch] 1 to 256, in log order
    for (const Event& event : events) on_event(event);
  }
  virtual void drain(std::int64_t /*deadline_ns*/) {}  // [control]
  virtual void stop() {}                               // [control]

  // [dispatch] Rows changed since the last save, and the whole state. Override both or neither.
  virtual void save(const Rows& /*rows*/, std::string& /*state*/) {}
  // [control] False: unreadable, rebuild from the journal.
  virtual bool load(std::uint32_t /*state_version*/, std::string_view /*state*/) { return false; }
};

namespace detail {

template <typename Class>
constexpr std::string_view version_of() {
  if constexpr (requires { Class::kVersion; }) return Class::kVersion;
  return "0.1.0";
}
template <typename Class>
constexpr std::string_view summary_of() {
  if constexpr (requires { Class::kSummary; }) return Class::kSummary;
  return "";
}
template <typename Class>
constexpr std::string_view schema_of() {
  if constexpr (requires { Class::kConfigSchema; }) return Class::kConfigSchema;
  return R"({"type":"object"})";
}
template <typename Class>
constexpr std::uint32_t capabilities_of() {
  if constexpr (requires { Class::kCapabilities; }) return Class::kCapabilities;
  return 0;
}
template <typename Class>
constexpr std::string_view license_of() {
  if constexpr (requires { Class::kLicense; }) return Class::kLicense;
  return "";
}
template <typename Class>
constexpr NoteFacts note_facts(std::string_view id) {
  return {id,
          version_of<Class>(),
          summary_of<Class>(),
          schema_of<Class>(),
          license_of<Class>(),
          capabilities_of<Class>()};
}
template <typename Class>
constexpr std::uint32_t state_version_of() {
  if constexpr (requires { Class::kStateVersion; }) return Class::kStateVersion;
  return 1;
}

// The C tables over one plugin class.
template <typename Class>
struct Adapter {
  static Plugin& self(void* pointer) { return *static_cast<Class*>(pointer); }

  static ephor_status start(void* pointer, ephor_error* error) {
    return guarded(error, [&] { self(pointer).start(); });
  }
  static ephor_status on_events(void* pointer, const ephor_event* events, std::uint32_t count,
                                ephor_error* error) {
    return guarded(error, [&] { self(pointer).on_events({events, count}); });
  }
  static ephor_status drain(void* pointer, std::int64_t deadline_ns, ephor_error* error) {
    return guarded(error, [&] { self(pointer).drain(deadline_ns); });
  }
  static ephor_status stop(void* pointer, ephor_error* error) {
    return guarded(error, [&] { self(pointer).stop(); });
  }
  static void destroy(void* pointer) {
    guarded(nullptr, [&] { delete static_cast<Class*>(pointer); });
  }
  static ephor_status save(void* pointer, const ephor_rows* rows, ephor_writer* state,
                           ephor_error* error) {
    return guarded(error, [&] {
      if (rows != nullptr) must_be_whole("save", *rows);
      must_be_whole("save", *state);
      std::string blob;
      self(pointer).save(Rows(rows), blob);
      return state->write(state->context, to_view(blob));
    });
  }
  static ephor_status load(void* pointer, std::uint32_t version, ephor_view state,
                           ephor_error* error) {
    return guarded(error, [&] {
      if (self(pointer).load(version, to_text(state))) return EPHOR_OK;
      return store_error(error, EPHOR_UNSUPPORTED, "the saved state is of an unreadable version");
    });
  }
  static const void* get_extension(void*, ephor_view id) {
    constexpr bool kHasState = !std::is_same_v<decltype(&Class::save), decltype(&Plugin::save)>;
    static const ephor_checkpoint checkpoint{sizeof(ephor_checkpoint), state_version_of<Class>(),
                                             &save, &load};
    return kHasState && to_text(id) == "ephor.storage/1" ? &checkpoint : nullptr;
  }
  static ephor_status create(const ephor_host* host, ephor_view instance, ephor_view config,
                             ephor_plugin* out, ephor_error* error) {
    return guarded(error, [&] {
      must_be_whole("create", *host);
      auto made = std::make_unique<Class>(Host(host, to_text(instance)), to_text(config));
      const ephor_plugin table{sizeof(ephor_plugin), 0,      made.release(), &start,
                               &on_events,           &drain, &stop,          &destroy,
                               &get_extension};
      const std::uint32_t size =
          std::min<std::uint32_t>(out->struct_size, static_cast<std::uint32_t>(sizeof table));
      std::memcpy(out, &table, size);
      out->struct_size = size;
    });
  }
};

}  // namespace detail
}  // namespace ephor

#if defined(_WIN32)
#define EPHOR_EXPORT __declspec(dllexport)
#else
#define EPHOR_EXPORT __attribute__((visibility("default")))
#endif

// The entry, and the note of <ephor/note.h>. Optional static members of Class: kVersion, kSummary,
// kConfigSchema, kLicense (std::string_view), kCapabilities, kStateVersion (std::uint32_t), all
// constexpr.
#define EPHOR_PLUGIN(Class, plugin_id)                                                          \
  EPHOR_NOTE_PLACE_ static constexpr auto ephor_plugin_note =                                   \
      ephor::detail::make_note<ephor::detail::note_size(ephor::detail::note_facts<Class>(       \
          plugin_id))>(ephor::detail::note_facts<Class>(plugin_id));                            \
  extern "C" EPHOR_EXPORT const ephor_entry* ephor_plugin_entry_v1(void);                       \
  extern "C" EPHOR_EXPORT const ephor_entry* ephor_plugin_entry_v1(void) {                      \
    static const ephor_plugin_info info{sizeof(ephor_plugin_info),                              \
                                        ephor::detail::capabilities_of<Class>(),                \
                                        ephor::to_view(plugin_id),                              \
                                        ephor::to_view(ephor::detail::version_of<Class>()),     \
                                        ephor::to_view(ephor::detail::summary_of<Class>()),     \
                                        ephor::to_view(ephor::detail::schema_of<Class>()),      \
                                        nullptr,                                                \
                                        nullptr,                                                \
                                        0,                                                      \
                                        0,                                                      \
                                        &ephor::detail::Adapter<Class>::create};                \
    static const ephor_plugin_info* const infos[] = {&info};                                    \
    static const ephor_entry entry{                                                             \
        EPHOR_ENTRY_MAGIC, sizeof(ephor_entry), EPHOR_ABI_MAJOR, EPHOR_ABI_MINOR, 0, 1, infos}; \
    return &entry;                                                                              \
  }
