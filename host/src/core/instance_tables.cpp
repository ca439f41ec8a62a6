// SPDX-License-Identifier: Apache-2.0
#include "core/instance_tables.hpp"

#include <ephor/plugin.hpp>

#include <map>
#include <span>

#include <nlohmann/json.hpp>

#include "core/abi_check.hpp"
#include "core/event_log.hpp"
#include "core/health_board.hpp"
#include "core/instance.hpp"
#include "core/log_reader.hpp"
#include "core/logger.hpp"
#include "core/registry.hpp"
#include "event/error.hpp"
#include "event/event_json.hpp"
#include "ingest/door.hpp"

struct ephor_buffer {
  ephor::host::Buffer bytes;
};

namespace ephor::host {
namespace {

// HostError keeps its status; everything else is as in ephor::guarded.
template <typename Body>
ephor_status contained(ephor_error* error, Body&& body) noexcept {
  return guarded(error, [&] {
    try {
      body();
    } catch (const HostError& failure) {
      throw Error(failure.status(), failure.what());
    }
  });
}

void put(const ephor_writer* out, std::string_view text) {
  check_whole("the caller's writer", *out);
  if (const ephor_status status = out->write(out->context, to_view(text)); status != EPHOR_OK) {
    throw HostError(status, "the caller's writer failed");
  }
}

constexpr std::uint64_t kBodyBytesMax = 1ULL << 30;

}  // namespace

void call_query(Registry& registry, const QueryCall& call, ephor_writer* answer,
                std::uint64_t* as_of_sequence) {
  const auto query = registry.query(call.name);
  if (!query) throw HostError(EPHOR_NOT_FOUND, "no query is named " + std::string(call.name));
  if (query->instance == nullptr) {
    if (as_of_sequence != nullptr) *as_of_sequence = 0;
    return put(answer, query->answer(call.request.empty() ? "{}" : call.request));
  }
  const std::int64_t timeout = call.timeout_ns > 0 ? call.timeout_ns : kQueryTimeoutNs;
  query->instance->answer(*query, to_view(call.request.empty() ? "{}" : call.request),
                          monotonic_ns() + timeout, call.after_sequence, answer, as_of_sequence);
}

struct InstanceTables::Calls {
  // ---- ephor_host
  static const void* get_extension(void* context, ephor_view id) {
    return self(context).tables_->extension(to_text(id));
  }
  static ephor_status subscribe(void* context, const ephor_subscription* subscription,
                                ephor_error* error) {
    return contained(error, [&] { self(context).subscribe(*subscription); });
  }
  static ephor_status publish(void* context, const ephor_draft* drafts, std::uint32_t count,
                              ephor_error* error) {
    return contained(error, [&] { self(context).publish(drafts, count); });
  }
  static ephor_status topic_id(void* context, ephor_view name, std::uint16_t* topic,
                               ephor_error* error) {
    return contained(error, [&] {
      if (!is_topic(to_text(name))) {
        throw HostError(EPHOR_INVALID, "topic: found \"" + std::string(to_text(name)) +
                                           "\", expected dot-separated tokens");
      }
      *topic = static_cast<std::uint16_t>(self(context).services_.names.topics.id(to_text(name)));
    });
  }
  static ephor_view topic_name(void* context, std::uint16_t topic) {
    return to_view(self(context).services_.names.topics.name(topic));
  }
  static ephor_view source_name(void* context, std::uint32_t source) {
    return to_view(self(context).services_.names.sources.name(source));
  }
  static ephor_status render_json(void* context, const ephor_event* event, ephor_writer* out,
                                  ephor_error* error) {
    return contained(error, [&] {
      with_event_json(*event, self(context).services_.names.sources.name(event->source),
                      [&](std::string_view json) { put(out, json); });
    });
  }

  // ---- ephor.query/1
  static ephor_status provide_query(void* context, ephor_view name, ephor_view summary,
                                    ephor_query_handler handler, void* user, ephor_error* error) {
    return contained(error, [&] {
      must_register(context);
      self(context).services_.registry.add_query({std::string(to_text(name)),
                                                  std::string(to_text(summary)), &self(context),
                                                  handler, user});
    });
  }
  static ephor_status call(void* context, ephor_view name, ephor_view request,
                           std::int64_t timeout_ns, std::uint64_t after_sequence,
                           ephor_writer* answer, std::uint64_t* as_of_sequence,
                           ephor_error* error) {
    return contained(error, [&] {
      check_whole("the caller's writer", *answer);
      call_query(self(context).services_.registry,
                 {to_text(name), to_text(request), timeout_ns, after_sequence}, answer,
                 as_of_sequence);
    });
  }
  static ephor_status list_queries(void* context, ephor_writer* out, ephor_error* error) {
    return contained(error, [&] {
      nlohmann::json list = nlohmann::json::array();
      for (const QueryEntry& query : self(context).services_.registry.queries()) {
        list.push_back(
            {{"name", query.name}, {"summary", query.summary}, {"instance", query.provider()}});
      }
      put(out, list.dump());
    });
  }

  // ---- ephor.http/1
  static ephor_status add_route(void* context, const ephor_http_route* route, ephor_error* error) {
    return contained(error, [&] {
      must_register(context);
      check_whole("add_route", *route);
      const auto text = [](ephor_view view) { return std::string(to_text(view)); };
      self(context).services_.registry.add_route(
          {text(route->method), text(route->path), text(route->query), text(route->scope),
           text(route->summary), text(route->request_schema), text(route->response_schema),
           text(route->content_type), self(context).name()});
    });
  }
  static ephor_status visit_routes(void* context, ephor_http_visitor visitor, void* user) {
    return contained(nullptr, [&] {
      self(context).services_.registry.visit_routes([&](const RouteEntry& route) {
        const ephor_http_route plain{sizeof(ephor_http_route),       0,
                                     to_view(route.method),          to_view(route.path),
                                     to_view(route.query),           to_view(route.scope),
                                     to_view(route.summary),         to_view(route.request_schema),
                                     to_view(route.response_schema), to_view(route.content_type)};
        visitor(user, to_view(route.instance), &plain);
      });
    });
  }
  static std::uint64_t routes_generation(void* context) {
    return self(context).services_.registry.routes_generation();
  }

  // ---- ephor.storage/1
  static ephor_status declare(void* context, ephor_view tables_json, ephor_error* error) {
    return contained(error, [&] {
      must_register(context);
      self(context).services_.storage.declare(self(context).name(), to_text(tables_json));
    });
  }
  static ephor_status select(void* context, ephor_view sql, const ephor_cell* parameters,
                             std::uint32_t count, ephor_row_visitor visitor, void* user,
                             ephor_error* error) {
    return contained(error, [&] {
      self(context).services_.storage.select(
          to_text(sql), std::span<const ephor_cell>(parameters, count),
          [&](std::span<const ephor_cell> cells) {
            return visitor(user, cells.data(), static_cast<std::uint32_t>(cells.size()));
          });
    });
  }

  // ---- ephor.journal/1
  static ephor_buffer* acquire(void*, std::uint64_t capacity, char** data) {
    if (capacity > kBodyBytesMax) return nullptr;
    try {
      auto buffer = std::make_unique<ephor_buffer>(ephor_buffer{Buffer(capacity)});
      *data = buffer->bytes.data();
      return buffer.release();
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }
  static void release(void*, ephor_buffer* buffer) { delete buffer; }
  static ephor_status ingest(void* context, ephor_buffer* buffer, std::uint64_t size,
                             std::uint32_t format, ephor_view default_source,
                             ephor_rejection_visitor on_rejected, void* user,
                             ephor_ingest_result* result, ephor_error* error) {
    const std::unique_ptr<ephor_buffer> owned(buffer);
    return contained(error, [&] {
      if (result != nullptr) check_whole("ingest", *result);
      if (owned == nullptr || size > owned->bytes.capacity()) {
        throw HostError(EPHOR_INVALID, "ingest: found a size beyond the buffer");
      }
      HostServices& services = self(context).services_;
      if (services.mode != RunMode::live) {
        throw HostError(EPHOR_STATE, "ingest: the host is not running live");
      }
      owned->bytes.set_size(size);
      const std::string own_source = "ephor/" + self(context).name();
      Arrival arrival =
          services.door.admit(std::move(owned->bytes), {.format = format,
                                                        .default_source = to_text(default_source),
                                                        .arrived_ns = wall_clock_ns(),
                                                        .own_source = own_source});
      for (const Rejection& rejection : arrival.rejections) {
        const ephor_rejection plain{sizeof(ephor_rejection), rejection.line,
                                    to_view(rejection.json_pointer), to_view(rejection.reason)};
        if (on_rejected != nullptr) on_rejected(user, &plain);
      }
      self(context).count_rejected(arrival.rejected_count);
      const std::uint32_t rejected = arrival.rejected_count;
      const IngestCounts counts = services.log.ingest(std::move(arrival.batches));
      if (result == nullptr) return;
      result->struct_size = sizeof *result;
      result->accepted = static_cast<std::uint32_t>(counts.accepted);
      result->duplicate = static_cast<std::uint32_t>(counts.duplicate);
      result->rejected = rejected;
      result->events = static_cast<std::uint32_t>(counts.events);
      result->last_sequence = counts.last_sequence;
    });
  }
  static ephor_status find(void* context, ephor_view id, ephor_event_visitor visitor, void* user,
                           ephor_error* error) {
    return contained(error, [&] {
      self(context).services_.log_reader.find(
          to_text(id), [&](const ephor_event& event) { visitor(user, &event); });
    });
  }
  static ephor_status read(void* context, std::uint64_t from, ephor_view pattern,
                           std::uint32_t limit, ephor_event_visitor visitor, void* user,
                           std::uint64_t* next, ephor_error* error) {
    return contained(error, [&] {
      HostServices& services = self(context).services_;
      const std::uint64_t goes_on = services.log_reader.read(
          from, to_text(pattern), limit, [&](const ephor_event& event) { visitor(user, &event); },
          services.names);
      if (next != nullptr) *next = goes_on;
    });
  }
  static std::uint64_t last_sequence(void* context) {
    return self(context).services_.log.last_sequence();
  }

  // ---- ephor.command/1
  static ephor_status provide_command(void* context, ephor_view name, ephor_view summary,
                                      ephor_command_handler handler, void* user,
                                      ephor_error* error) {
    return contained(error, [&] {
      must_register(context);
      self(context).services_.registry.add_command({std::string(to_text(name)),
                                                    std::string(to_text(summary)), &self(context),
                                                    handler, user});
    });
  }

  // ---- ephor.metrics/1: a handle is the address of the series, which never moves
  static ephor_status series(void* context, std::uint32_t kind, ephor_view name, ephor_view help,
                             ephor_view labels_json, std::uint64_t* handle, ephor_error* error) {
    return contained(error, [&] {
      std::map<std::string, std::string> labels{{"instance", self(context).name()}};
      const auto given = nlohmann::json::parse(to_text(labels_json));
      for (const auto& [label, value] : given.items()) labels[label] = value.get<std::string>();
      if (kind > EPHOR_METRIC_GAUGE) {
        throw HostError(EPHOR_INVALID, "metric kind: found " + std::to_string(kind) +
                                           ", expected 0 (counter) or 1 (gauge)");
      }
      *handle = reinterpret_cast<std::uint64_t>(&self(context).services_.metrics.series(
          static_cast<MetricRegistry::Kind>(kind), to_text(name), to_text(help), labels));
    });
  }
  static void add(void*, std::uint64_t handle, double amount) {
    reinterpret_cast<MetricRegistry::Series*>(handle)->value.fetch_add(amount,
                                                                       std::memory_order_relaxed);
  }
  static void set(void*, std::uint64_t handle, double value) {
    reinterpret_cast<MetricRegistry::Series*>(handle)->value.store(value,
                                                                   std::memory_order_relaxed);
  }
  static ephor_status render(void* context, ephor_writer* out, ephor_error* error) {
    return contained(error, [&] { put(out, self(context).services_.metrics.render()); });
  }

  // ---- ephor.log/1, health/1, task/1
  static void write_log(void* context, std::int32_t level, ephor_view message) {
    contained(nullptr, [&] { host::log(level, self(context).name(), to_text(message)); });
  }
  static void report(void* context, std::int32_t state, ephor_view reason) {
    contained(nullptr, [&] { self(context).report_health(state, std::string(to_text(reason))); });
  }
  static ephor_status snapshot(void* context, ephor_writer* out, ephor_error* error) {
    return contained(error, [&] { put(out, self(context).services_.health.health_json()); });
  }
  static ephor_status run_task(void* context, ephor_task_function function, void* user,
                               ephor_error* error) {
    return contained(error, [&] {
      Instance& instance = self(context);
      const bool is_queued = instance.services_.tasks.run(&instance, [function, user, &instance] {
        const CallBoard::Scope scope(instance.calls_, "task", 0, CallBoard::Limits::none);
        try {
          function(user);
        } catch (...) {
          instance.note_fault("a task threw an exception");
        }
      });
      if (!is_queued) throw HostError(EPHOR_FULL, "the task queue is full");
    });
  }

  static void must_register(void* context) {
    if (!self(context).is_registering_) {
      throw HostError(EPHOR_STATE, "only until start has returned");
    }
  }
};

InstanceTables::InstanceTables(Instance& instance)
    : host{sizeof(ephor_host),    EPHOR_ABI_MAJOR,     EPHOR_ABI_MINOR,    &instance,
           &Calls::get_extension, &Calls::subscribe,   &Calls::publish,    &Calls::topic_id,
           &Calls::topic_name,    &Calls::source_name, &Calls::render_json},
      query{sizeof(ephor_query), 0, &instance, &Calls::provide_query, &Calls::call,
            &Calls::list_queries},
      http{sizeof(ephor_http),       0, &instance, &Calls::add_route, &Calls::visit_routes,
           &Calls::routes_generation},
      storage{sizeof(ephor_storage), 0, &instance, &Calls::declare, &Calls::select},
      journal{sizeof(ephor_journal),
              0,
              &instance,
              &Calls::acquire,
              &Calls::release,
              &Calls::ingest,
              &Calls::find,
              &Calls::read,
              &Calls::last_sequence},
      command{sizeof(ephor_command), 0, &instance, &Calls::provide_command},
      metrics{sizeof(ephor_metrics), 0,           &instance,     &Calls::series,
              &Calls::add,           &Calls::set, &Calls::render},
      log{sizeof(ephor_log), log_level(), &instance, &Calls::write_log},
      health{sizeof(ephor_health), 0, &instance, &Calls::report, &Calls::snapshot},
      task{sizeof(ephor_task), 0, &instance, &Calls::run_task} {}

const void* InstanceTables::extension(std::string_view id) const {
  if (id == "ephor.query/1") return &query;
  if (id == "ephor.http/1") return &http;
  if (id == "ephor.storage/1") return &storage;
  if (id == "ephor.journal/1") return &journal;
  if (id == "ephor.command/1") return &command;
  if (id == "ephor.metrics/1") return &metrics;
  if (id == "ephor.log/1") return &log;
  if (id == "ephor.health/1") return &health;
  if (id == "ephor.task/1") return &task;
  return nullptr;
}

}  // namespace ephor::host
