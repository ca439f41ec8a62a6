// SPDX-License-Identifier: Apache-2.0
//
// The extension tables of the checking host.
#include <ephor/plugin.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>

#include <nlohmann/json.hpp>

#include "check/checking_calls.hpp"
#include "check/checking_host.hpp"

// What acquire gives out: any type will do behind the opaque name.
struct ephor_buffer {
  std::string bytes;
};

namespace ephor::host::check {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kBodyBytesMax = 64ULL << 20;

void put(const ephor_writer* out, std::string_view text) {
  if (const ephor_status status = out->write(out->context, to_view(text)); status != EPHOR_OK) {
    throw Error(status, "the caller's writer failed");
  }
}

bool is_series_name(std::string_view name) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
  };
  return !name.empty() && is_letter(name[0]) && std::all_of(name.begin(), name.end(), [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9');
  });
}

// The records of a body, as the real door tells them apart.
std::uint32_t count_records(std::string_view body, std::uint32_t format) {
  const std::size_t first = body.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return 0;
  if (format == EPHOR_FORMAT_SINGLE) return 1;
  if (format == EPHOR_FORMAT_BATCH || (format == EPHOR_FORMAT_AUTO && body[first] == '[')) {
    const Json array = Json::parse(body, nullptr, false);
    return array.is_array() ? static_cast<std::uint32_t>(array.size()) : 0;
  }
  std::uint32_t lines = 0;
  while (!body.empty()) {
    const std::size_t end = std::min(body.find('\n'), body.size());
    if (body.substr(0, end).find_first_not_of(" \t\r") != std::string_view::npos) ++lines;
    body.remove_prefix(std::min(end + 1, body.size()));
  }
  return lines;
}

}  // namespace

struct ExtensionCalls {
  // ---- ephor.query/1
  static ephor_status provide_query(void* context, ephor_view name, ephor_view summary,
                                    ephor_query_handler handler, void* user, ephor_error* error) {
    return entered(context, "provide", error, [&](CheckingHost& host) {
      host.must_register("provide");
      CheckingHost::Query made{host.text(name, "query name"), host.text(summary, "query summary"),
                               handler, user};
      host.check_documented(Rule::queries, made.name, made.summary, "query");
      if (handler == nullptr) {
        host.note(Rule::queries, "query " + made.name + ": found no handler, expected a function");
        throw Error(EPHOR_INVALID, "no handler");
      }
      const std::scoped_lock lock(host.mutex_);
      for (const CheckingHost::Query& other : host.queries_) {
        if (other.name != made.name) continue;
        host.violations_.push_back({Rule::queries, "query " + made.name + " was provided twice"});
        throw Error(EPHOR_CONFLICT, "query " + made.name + " is taken");
      }
      host.queries_.push_back(std::move(made));
    });
  }
  static ephor_status call_query(void* context, ephor_view name, ephor_view request, std::int64_t,
                                 std::uint64_t, ephor_writer* answer, std::uint64_t* as_of,
                                 ephor_error* error) {
    return entered(context, "call", error, [&](CheckingHost& host) {
      const std::string wanted = host.text(name, "call: the query's name");
      const std::string asked = host.text(request, "call: the request");
      if (!asked.empty() && !Json::parse(asked, nullptr, false).is_object()) {
        host.note(Rule::json, "call of " + wanted + ": found a request that is no JSON object");
      }
      if (answer == nullptr || answer->struct_size < sizeof(ephor_writer)) {
        host.note(Rule::structs, "call of " + wanted + ": found no writer of struct_size " +
                                     std::to_string(sizeof(ephor_writer)));
        throw Error(EPHOR_INVALID, "no writer");
      }
      if (as_of != nullptr) *as_of = 0;
      throw Error(EPHOR_NOT_FOUND, "no query is named " + wanted);  // others' are not here
    });
  }
  static ephor_status list_queries(void* context, ephor_writer* out, ephor_error* error) {
    return entered(context, "list", error, [&](CheckingHost& host) {
      Json list = Json::array();
      for (const CheckingHost::Query& query : host.queries()) {
        list.push_back({{"name", query.name},
                        {"summary", query.summary},
                        {"instance", host.options().instance}});
      }
      put(out, list.dump(-1, ' ', false, Json::error_handler_t::replace));
    });
  }

  // ---- ephor.http/1
  static ephor_status add_route(void* context, const ephor_http_route* route, ephor_error* error) {
    return entered(context, "add_route", error, [&](CheckingHost& host) {
      host.must_register("add_route");
      if (route == nullptr) {
        host.note(Rule::structs, "add_route: found NULL, expected a route");
        throw Error(EPHOR_INVALID, "route: NULL");
      }
      host.check_size(route->struct_size, sizeof *route, "ephor_http_route");
      CheckingHost::Route made{host.text(route->method, "route method"),
                               host.text(route->path, "route path"),
                               host.text(route->query, "route query"),
                               host.text(route->scope, "route scope"),
                               host.text(route->summary, "route summary"),
                               host.text(route->request_schema, "route request_schema"),
                               host.text(route->response_schema, "route response_schema"),
                               host.text(route->content_type, "route content_type")};
      const std::string name = made.method + " " + made.path;
      for (const auto& [schema, what] : {std::pair(made.request_schema, "request schema"),
                                         std::pair(made.response_schema, "response schema")}) {
        if (!schema.empty()) host.check_json(schema, "route " + name + ", " + what);
      }
      if (!made.path.starts_with('/') || made.method.empty()) {
        host.note(Rule::routes,
                  "route: found \"" + name + "\", expected a method and a path from /");
        throw Error(EPHOR_INVALID, "route");
      }
      const std::scoped_lock lock(host.mutex_);
      for (const CheckingHost::Route& other : host.routes_) {
        if (other.method != made.method || other.path != made.path) continue;
        host.violations_.push_back({Rule::routes, "route " + name + " was added twice"});
        throw Error(EPHOR_CONFLICT, "route " + name + " is taken");
      }
      host.routes_.push_back(std::move(made));
    });
  }
  static ephor_status visit_routes(void* context, ephor_http_visitor visitor, void* user) {
    return entered(context, "visit", nullptr, [&](CheckingHost& host) {
      for (const CheckingHost::Route& route : host.routes()) {
        const ephor_http_route plain{sizeof plain,
                                     0,
                                     to_view(route.method),
                                     to_view(route.path),
                                     to_view(route.query),
                                     to_view(route.scope),
                                     to_view(route.summary),
                                     to_view(route.request_schema),
                                     to_view(route.response_schema),
                                     to_view(route.content_type)};
        visitor(user, to_view(host.options().instance), &plain);
      }
    });
  }
  static std::uint64_t generation(void* context) {
    CheckingHost* host = host_behind(context, "generation");
    return host == nullptr ? 0 : host->routes().size() + 1;
  }

  // ---- ephor.storage/1
  template <typename Body>
  static void stored(CheckingHost& host, std::string_view function, const Body& body) {
    try {
      const std::scoped_lock lock(host.storage_mutex_);
      body();
    } catch (const HostError& failure) {
      host.note(Rule::storage, std::string(function) + ": " + failure.what());
      throw;
    }
  }
  static ephor_status declare(void* context, ephor_view tables, ephor_error* error) {
    return entered(context, "declare", error, [&](CheckingHost& host) {
      host.must_register("declare");
      const std::string text = host.text(tables, "declared tables");
      stored(host, "declare", [&] { host.storage_.declare(text); });
    });
  }
  static ephor_status select(void* context, ephor_view sql, const ephor_cell* parameters,
                             std::uint32_t count, ephor_row_visitor visitor, void* user,
                             ephor_error* error) {
    return entered(context, "select", error, [&](CheckingHost& host) {
      const std::string text = host.text(sql, "SELECT");
      stored(host, "select", [&] {
        host.storage_.select(text, {parameters, count}, [&](std::span<const ephor_cell> cells) {
          return visitor(user, cells.data(), static_cast<std::uint32_t>(cells.size()));
        });
      });
    });
  }

  // ---- ephor.journal/1
  static ephor_buffer* acquire(void* context, std::uint64_t capacity, char** data) {
    const allocations::HostSide ours;
    CheckingHost* host = host_behind(context, "acquire");
    if (host == nullptr || data == nullptr || capacity > kBodyBytesMax) return nullptr;
    if (host->options_.failing && host->options_.failing("acquire") != EPHOR_OK) return nullptr;
    auto* buffer = new ephor_buffer{std::string(capacity + 64, '\0')};
    *data = buffer->bytes.data();
    const std::scoped_lock lock(host->mutex_);
    ++host->call_counts_["acquire"];
    host->buffers_.insert(buffer);
    return buffer;
  }
  // True: it was given out and not yet taken back.
  static bool takes_back(CheckingHost& host, const ephor_buffer* buffer, const char* function) {
    {
      const std::scoped_lock lock(host.mutex_);
      if (host.buffers_.erase(buffer) != 0) return true;
    }
    host.note(Rule::handles,
              std::string(function) +
                  ": found a buffer that acquire did not give or that was given back");
    return false;
  }
  static void release(void* context, ephor_buffer* buffer) {
    const allocations::HostSide ours;
    CheckingHost* host = host_behind(context, "release");
    if (host == nullptr || buffer == nullptr || !takes_back(*host, buffer, "release")) return;
    delete buffer;
  }
  static ephor_status ingest(void* context, ephor_buffer* buffer, std::uint64_t size,
                             std::uint32_t format, ephor_view default_source,
                             ephor_rejection_visitor, void*, ephor_ingest_result* result,
                             ephor_error* error) {
    std::unique_ptr<ephor_buffer> owned;
    {
      const allocations::HostSide ours;
      if (CheckingHost* host = host_behind(context, "ingest");
          host != nullptr && takes_back(*host, buffer, "ingest")) {
        owned.reset(buffer);
      }
    }
    return entered(context, "ingest", error, [&](CheckingHost& host) {
      (void)host.text(default_source, "ingest: the default source");
      if (owned == nullptr || size > owned->bytes.size() - 64 || format > EPHOR_FORMAT_LINES) {
        host.note(Rule::handles, "ingest: found " + std::to_string(size) + " bytes of format " +
                                     std::to_string(format) +
                                     ", expected what fits the buffer, and a format up to 3");
        throw Error(EPHOR_INVALID, "ingest");
      }
      if (host.options_.mode != "live") throw Error(EPHOR_STATE, "the host is not running live");
      if (host.is_stopped_) {
        host.note(Rule::lifetime, "ingest was called after stop has returned");
      }
      const std::string body = owned->bytes.substr(0, size);
      const std::uint32_t count = count_records(body, format);
      if (result != nullptr) {
        host.check_size(result->struct_size, sizeof *result, "ephor_ingest_result");
        result->accepted = result->events = count;
        result->duplicate = result->rejected = 0;
        result->last_sequence = host.sequence_ += static_cast<std::uint64_t>(count) << 16;
      }
      const std::scoped_lock lock(host.mutex_);
      host.ingested_.push_back(body);
    });
  }
  static ephor_status find(void* context, ephor_view id, ephor_event_visitor, void*,
                           ephor_error* error) {
    return entered(context, "find", error,
                   [&](CheckingHost& host) { (void)host.text(id, "find: the id"); });
  }
  static ephor_status read(void* context, std::uint64_t, ephor_view pattern, std::uint32_t,
                           ephor_event_visitor, void*, std::uint64_t* next, ephor_error* error) {
    return entered(context, "read", error, [&](CheckingHost& host) {
      (void)host.text(pattern, "read: the pattern");
      if (next != nullptr) *next = 0;  // the journal is empty
    });
  }
  static std::uint64_t last_sequence(void* context) {
    CheckingHost* host = host_behind(context, "last_sequence");
    return host == nullptr ? 0 : host->sequence_.load();
  }

  // ---- ephor.command/1
  static ephor_status provide_command(void* context, ephor_view name, ephor_view summary,
                                      ephor_command_handler handler, void* user,
                                      ephor_error* error) {
    return entered(context, "provide_command", error, [&](CheckingHost& host) {
      host.must_be_in({CallKind::create}, "provide (of a command)", "create");
      CheckingHost::Command made{host.text(name, "command name"),
                                 host.text(summary, "command summary"), handler, user};
      host.check_documented(Rule::commands, made.name, made.summary, "command");
      const std::scoped_lock lock(host.mutex_);
      for (const CheckingHost::Command& other : host.commands_) {
        if (other.name != made.name) continue;
        host.violations_.push_back(
            {Rule::commands, "command " + made.name + " was provided twice"});
        throw Error(EPHOR_CONFLICT, "command " + made.name + " is taken");
      }
      host.commands_.push_back(std::move(made));
    });
  }

  // ---- ephor.metrics/1: a handle is the number of the series, from 1
  static ephor_status series(void* context, std::uint32_t kind, ephor_view name, ephor_view help,
                             ephor_view labels, std::uint64_t* handle, ephor_error* error) {
    return entered(context, "series", error, [&](CheckingHost& host) {
      const std::string called = host.text(name, "series name");
      const std::string helped = host.text(help, "series help");
      const std::string labelled = host.text(labels, "series labels");
      const auto refuse = [&](const std::string& text) {
        host.note(Rule::metrics, text);
        throw Error(EPHOR_INVALID, text);
      };
      if (!is_series_name(called))
        refuse("series: found the name \"" + called + "\", expected one of Prometheus");
      if (kind > EPHOR_METRIC_GAUGE)
        refuse("series " + called + ": found kind " + std::to_string(kind));
      if (kind == EPHOR_METRIC_COUNTER && !called.ends_with("_total")) {
        host.note(Rule::metrics,
                  "series " + called + ": found a counter, whose name ends in _total");
      }
      if (helped.empty()) host.note(Rule::metrics, "series " + called + ": found no help text");
      const Json given = Json::parse(labelled.empty() ? "{}" : labelled, nullptr, false);
      if (!given.is_object()) refuse("series " + called + ": found labels that are no JSON object");
      for (const auto& [label, value] : given.items()) {
        if (!is_series_name(label) || label.find(':') != std::string::npos || !value.is_string()) {
          refuse("series " + called + ": found label " + label + ", expected a name and a text");
        }
      }
      if (handle == nullptr) refuse("series " + called + ": found no place for the handle");
      const std::scoped_lock lock(host.mutex_);
      const auto [at, is_new] =
          host.series_by_key_.try_emplace(called + given.dump(), host.series_.size());
      if (is_new) host.series_.push_back({kind, called, 0.0});
      if (host.series_[at->second].kind != kind) {
        host.violations_.push_back({Rule::metrics, "series " + called + " is of two kinds"});
      }
      *handle = at->second + 1;
    });
  }
  static void change(void* context, std::uint64_t handle, double amount, bool is_set) {
    const allocations::HostSide ours;
    const char* function = is_set ? "set" : "add";
    CheckingHost* host = host_behind(context, function);
    if (host == nullptr) return;
    std::string wrong;
    Rule rule = Rule::metrics;
    {
      const std::scoped_lock lock(host->mutex_);
      if (handle < 1 || handle > host->series_.size()) {
        rule = Rule::handles;
        wrong = std::string(function) + ": found series " + std::to_string(handle) +
                ", which nobody gave out";
      } else {
        CheckingHost::Series& series = host->series_[handle - 1];
        const bool is_counter = series.kind == EPHOR_METRIC_COUNTER;
        if (is_counter && (is_set ? amount < series.value : amount < 0)) {
          wrong = "series " + series.name + ": found a counter that goes down";
        }
        series.value = is_set ? amount : series.value + amount;
      }
    }
    if (!wrong.empty()) host->note(rule, wrong);
    if (host->is_destroyed_)
      host->note(Rule::lifetime, std::string(function) + " was called after destroy has returned");
  }
  static void add(void* context, std::uint64_t handle, double amount) {
    change(context, handle, amount, false);
  }
  static void set(void* context, std::uint64_t handle, double value) {
    change(context, handle, value, true);
  }
  static ephor_status render(void* context, ephor_writer* out, ephor_error* error) {
    return entered(context, "render", error, [&](CheckingHost& host) {
      std::string text;
      {
        const std::scoped_lock lock(host.mutex_);
        for (const CheckingHost::Series& series : host.series_) {
          text += series.name + " " + Json(series.value).dump() + "\n";
        }
      }
      put(out, text);
    });
  }

  // ---- ephor.log/1, health/1, task/1
  static void write_log(void* context, std::int32_t level, ephor_view message) {
    entered(context, "log", nullptr, [&](CheckingHost& host) {
      const std::string text = host.text(message, "log line");
      if (level < EPHOR_LOG_TRACE || level > EPHOR_LOG_ERROR) {
        host.note(Rule::log, "log: found level " + std::to_string(level) + ", expected 0 to 4");
      }
      if (text.empty()) host.note(Rule::log, "log: found an empty line");
      const std::scoped_lock lock(host.mutex_);
      host.log_lines_.push_back({level, text});
    });
  }
  static void report(void* context, std::int32_t state, ephor_view reason) {
    entered(context, "report", nullptr, [&](CheckingHost& host) {
      const std::string text = host.text(reason, "health reason");
      if (state < EPHOR_HEALTH_OK || state > EPHOR_HEALTH_FAILED) {
        host.note(Rule::health,
                  "report: found state " + std::to_string(state) + ", expected 0 to 2");
      } else if (state != EPHOR_HEALTH_OK && text.empty()) {
        host.note(Rule::health, "report: found state " + std::to_string(state) +
                                    " without a reason, expected why");
      }
      const std::scoped_lock lock(host.mutex_);
      host.health_reports_.push_back({state, text});
    });
  }
  static ephor_status snapshot(void* context, ephor_writer* out, ephor_error* error) {
    return entered(context, "snapshot", error, [&](CheckingHost& host) {
      const Json told{{"ready", !host.is_registering_.load()},
                      {"live", true},
                      {"mode", host.options_.mode},
                      {"data_dir", host.options_.directory.string()},
                      {"log_time", nullptr},
                      {"newest_time", nullptr},
                      {"instances", Json::array()}};
      put(out, told.dump());
    });
  }
  static ephor_status run_task(void* context, ephor_task_function function, void* user,
                               ephor_error* error) {
    return entered(context, "run", error, [&](CheckingHost& host) {
      if (function == nullptr) {
        host.note(Rule::structs, "run: found no function, expected one");
        throw Error(EPHOR_INVALID, "no function");
      }
      if (host.is_stopped_) {
        host.note(Rule::lifetime, "run (of a task) was called after stop has returned");
        throw Error(EPHOR_STATE, "the instance is stopped");
      }
      const std::scoped_lock lock(host.mutex_);
      std::thread([&host, function, user] {
        try {
          const CallScope scope(host, CallKind::task);
          function(user);
        } catch (...) {
          host.note(Rule::exceptions, "a task threw an exception across the ABI");
        }
        const std::scoped_lock ending(host.mutex_);
        --host.running_tasks_;
        host.task_ended_.notify_all();
      }).detach();
      ++host.running_tasks_;
    });
  }
};

template <typename Table>
void CheckingHost::present(std::string id, const Table& table) {
  const std::size_t kept =
      sizeof table - std::min<std::size_t>(options_.extension_missing_bytes, sizeof table - 16);
  std::vector<std::byte>& bytes = extensions_[std::move(id)];
  bytes.assign(kept + options_.extension_padding_bytes, std::byte{0xA5});
  std::memcpy(bytes.data(), &table, kept);
  const auto size = static_cast<std::uint32_t>(bytes.size());
  std::memcpy(bytes.data(), &size, sizeof size);  // struct_size is every table's first field
}

void CheckingHost::present_tables() {
  using Calls = ExtensionCalls;
  present("ephor.query/1", ephor_query{sizeof(ephor_query), 0, this, &Calls::provide_query,
                                       &Calls::call_query, &Calls::list_queries});
  present("ephor.http/1", ephor_http{sizeof(ephor_http), 0, this, &Calls::add_route,
                                     &Calls::visit_routes, &Calls::generation});
  present("ephor.storage/1",
          ephor_storage{sizeof(ephor_storage), 0, this, &Calls::declare, &Calls::select});
  present("ephor.journal/1",
          ephor_journal{sizeof(ephor_journal), 0, this, &Calls::acquire, &Calls::release,
                        &Calls::ingest, &Calls::find, &Calls::read, &Calls::last_sequence});
  present("ephor.command/1",
          ephor_command{sizeof(ephor_command), 0, this, &Calls::provide_command});
  present("ephor.metrics/1", ephor_metrics{sizeof(ephor_metrics), 0, this, &Calls::series,
                                           &Calls::add, &Calls::set, &Calls::render});
  present("ephor.log/1", ephor_log{sizeof(ephor_log), EPHOR_LOG_TRACE, this, &Calls::write_log});
  present("ephor.health/1",
          ephor_health{sizeof(ephor_health), 0, this, &Calls::report, &Calls::snapshot});
  present("ephor.task/1", ephor_task{sizeof(ephor_task), 0, this, &Calls::run_task});
}

}  // namespace ephor::host::check
