// SPDX-License-Identifier: Apache-2.0
#include "isolation/runner_tables.hpp"

#include <ephor/plugin.hpp>

#include <chrono>
#include <algorithm>
#include <cstring>
#include <memory>

#include "event/batch.hpp"
#include "isolation/shared_slice.hpp"

struct ephor_buffer {
  ephor::host::Buffer bytes;
};

namespace ephor::host::isolation {
namespace {

// An answer in the making. Held by the handler's call and by whoever is to finish it.
struct HeldReply {
  ephor_reply reply{};
  Channel* channel = nullptr;
  std::uint64_t number = 0;
  std::mutex mutex;  // guards text
  std::string text;
  std::atomic<int> holders{2};

  void release() {
    if (holders.fetch_sub(1) == 1) delete this;
  }
};

ephor_status write_reply(void* context, ephor_view bytes) {
  return guarded(nullptr, [&] {
    auto& held = *static_cast<HeldReply*>(context);
    const std::scoped_lock lock(held.mutex);
    held.text.append(to_text(bytes));
  });
}

void finish_reply(void* context, ephor_status status, const ephor_error* error) {
  auto& held = *static_cast<HeldReply*>(context);
  guarded(nullptr, [&] {
    Reply result{status, message_in(error), json_pointer_in(error), {}};
    {
      const std::scoped_lock lock(held.mutex);
      result.body = std::move(held.text);
    }
    std::string body;
    StateWriter(body).u64(held.number).raw(encoded(result));
    held.channel->notify(Method::query_finished, body);
  });
  held.release();
}

ephor_status written(const Reply& reply, ephor_writer* out, ephor_error* error) {
  if (reply.status != EPHOR_OK) return given(reply, error);
  must_be_whole("the caller's writer", *out);
  return out->write(out->context, to_view(reply.body));
}

// Events of a part, each with readable slack behind its record.
ephor_status visit_events(std::string& part, ephor_event_visitor visitor, void* user) {
  const std::size_t size = part.size();
  part.append(kRecordSlackBytes, '\0');
  StateReader in(std::string_view(part).substr(0, size));
  while (!in.at_end()) {
    const ephor_event event = take_event(in);
    visitor(user, &event);
  }
  return EPHOR_OK;
}

}  // namespace

struct RunnerTables::Calls {
  static RunnerTables& self(void* context) { return *static_cast<RunnerTables*>(context); }
  static Reply ask(void* context, Method method, std::string_view body = {}) {
    return self(context).channel_.call(method, body);
  }

  // ---- ephor_host
  static const void* get_extension(void* context, ephor_view id) {
    RunnerTables& own = self(context);
    const std::string_view name = to_text(id);
    if (!own.offered_.contains(name)) return nullptr;
    if (name == "ephor.query/1") return &own.query_;
    if (name == "ephor.http/1") return &own.http_;
    if (name == "ephor.storage/1") return &own.storage_;
    if (name == "ephor.journal/1") return &own.journal_;
    if (name == "ephor.command/1") return &own.command_;
    if (name == "ephor.metrics/1") return &own.metrics_;
    if (name == "ephor.log/1") return &own.log_;
    if (name == "ephor.health/1") return &own.health_;
    return name == "ephor.task/1" ? &own.task_ : nullptr;
  }
  static ephor_status subscribe(void* context, const ephor_subscription* subscription,
                                ephor_error* error) {
    return guarded(error, [&] {
      must_be_whole("subscribe", *subscription);
      std::string body;
      StateWriter out(body);
      out.u32(subscription->policy).text(to_text(subscription->key));
      out.varint(subscription->pattern_count);
      for (std::uint32_t i = 0; i < subscription->pattern_count; ++i) {
        out.text(to_text(subscription->patterns[i]));
      }
      return given(ask(context, Method::subscribe, body), error);
    });
  }
  static ephor_status publish(void* context, const ephor_draft* drafts, std::uint32_t count,
                              ephor_error* error) {
    return guarded(error, [&] { self(context).publish(drafts, count); });
  }
  static ephor_status topic_id(void* context, ephor_view name, std::uint16_t* topic,
                               ephor_error* error) {
    return guarded(error, [&] { *topic = self(context).topic_id(to_text(name)); });
  }
  static ephor_view topic_name(void* context, std::uint16_t topic) {
    return self(context).name(self(context).topics_, Method::topic_name, topic);
  }
  static ephor_view source_name(void* context, std::uint32_t source) {
    return self(context).name(self(context).sources_, Method::source_name, source);
  }
  static ephor_status render_json(void* context, const ephor_event* event, ephor_writer* out,
                                  ephor_error* error) {
    return guarded(error, [&] {
      must_be_whole("the caller's writer", *out);
      if (event->encoding == EPHOR_ENCODING_JSON) {
        return out->write(out->context, {event->record, event->record_length});
      }
      std::string body;
      StateWriter to(body);
      put_event(to, *event);
      return written(ask(context, Method::render_json, body), out, error);
    });
  }

  // ---- ephor.query/1 and command/1
  static ephor_status provide_query(void* context, ephor_view name, ephor_view summary,
                                    ephor_query_handler handler, void* user, ephor_error* error) {
    return guarded(error, [&] {
      RunnerTables& own = self(context);
      std::size_t number = 0;
      {
        const std::scoped_lock lock(own.registered_mutex_);
        number = own.queries_.size();
        own.queries_.push_back({handler, user});
      }
      std::string body;
      StateWriter(body).text(to_text(name)).text(to_text(summary)).u64(number);
      return given(ask(context, Method::provide_query, body), error);
    });
  }
  static ephor_status provide_command(void* context, ephor_view name, ephor_view summary,
                                      ephor_command_handler handler, void* user,
                                      ephor_error* error) {
    return guarded(error, [&] {
      RunnerTables& own = self(context);
      std::size_t number = 0;
      {
        const std::scoped_lock lock(own.registered_mutex_);
        number = own.commands_.size();
        own.commands_.push_back({handler, user});
      }
      std::string body;
      StateWriter(body).text(to_text(name)).text(to_text(summary)).u64(number);
      return given(ask(context, Method::provide_command, body), error);
    });
  }
  static ephor_status call_query(void* context, ephor_view name, ephor_view request,
                                 std::int64_t timeout_ns, std::uint64_t after_sequence,
                                 ephor_writer* answer, std::uint64_t* as_of_sequence,
                                 ephor_error* error) {
    return guarded(error, [&] {
      must_be_whole("the caller's writer", *answer);
      std::string body;
      StateWriter(body)
          .text(to_text(name))
          .text(to_text(request))
          .i64(timeout_ns)
          .u64(after_sequence);
      const Reply reply = ask(context, Method::call_query, body);
      StateReader in(reply.body);
      const std::uint64_t as_of = reply.body.empty() ? 0 : in.u64();
      if (as_of_sequence != nullptr) *as_of_sequence = as_of;
      if (reply.status != EPHOR_OK) return given(reply, error);
      return answer->write(answer->context, to_view(in.raw(in.remaining())));
    });
  }
  static ephor_status list_queries(void* context, ephor_writer* out, ephor_error* error) {
    return guarded(error, [&] { return written(ask(context, Method::list_queries), out, error); });
  }

  // ---- ephor.http/1
  static ephor_status add_route(void* context, const ephor_http_route* route, ephor_error* error) {
    return guarded(error, [&] {
      must_be_whole("add_route", *route);
      std::string body;
      StateWriter out(body);
      for (const ephor_view field :
           {route->method, route->path, route->query, route->scope, route->summary,
            route->request_schema, route->response_schema, route->content_type}) {
        out.text(to_text(field));
      }
      return given(ask(context, Method::add_route, body), error);
    });
  }
  static ephor_status visit_routes(void* context, ephor_http_visitor visitor, void* user) {
    return guarded(nullptr, [&] {
      const Reply reply = ask(context, Method::visit_routes);
      StateReader in(reply.body);
      while (!in.at_end()) {
        const ephor_view instance = to_view(in.view());
        ephor_http_route route{};
        route.struct_size = sizeof route;
        for (ephor_view* field :
             {&route.method, &route.path, &route.query, &route.scope, &route.summary,
              &route.request_schema, &route.response_schema, &route.content_type}) {
          *field = to_view(in.view());
        }
        visitor(user, instance, &route);
      }
      return reply.status;
    });
  }
  static std::uint64_t routes_generation(void* context) {
    return number_of(ask(context, Method::routes_generation));
  }
  static std::uint64_t number_of(const Reply& reply) {
    return reply.body.size() < sizeof(std::uint64_t) ? 0 : StateReader(reply.body).u64();
  }

  // ---- ephor.storage/1
  static ephor_status declare(void* context, ephor_view tables_json, ephor_error* error) {
    return guarded(
        error, [&] { return given(ask(context, Method::declare, to_text(tables_json)), error); });
  }
  static ephor_status select(void* context, ephor_view sql, const ephor_cell* parameters,
                             std::uint32_t count, ephor_row_visitor visitor, void* user,
                             ephor_error* error) {
    return guarded(error, [&] {
      std::string body;
      StateWriter out(body);
      out.text(to_text(sql));
      put_cells(out, parameters, count);
      return given(self(context).channel_.call(Method::select, body, {},
                                               [&](std::string& part) {
                                                 return guarded(nullptr, [&] {
                                                   return visit_rows(part, visitor, user);
                                                 });
                                               }),
                   error);
    });
  }
  static ephor_status visit_rows(std::string_view part, ephor_row_visitor visitor, void* user) {
    StateReader in(part);
    while (!in.at_end()) {
      const std::vector<ephor_cell> cells = take_cells(in);
      const ephor_status status =
          visitor(user, cells.data(), static_cast<std::uint32_t>(cells.size()));
      if (status != EPHOR_OK) return status;
    }
    return EPHOR_OK;
  }

  // ---- ephor.journal/1: bodies are received in memory of this process
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
    return guarded(error, [&] {
      if (result != nullptr) must_be_whole("ingest", *result);
      if (owned == nullptr || size > owned->bytes.capacity()) {
        throw Error(EPHOR_INVALID, "ingest: found a size beyond the buffer");
      }
      std::string body;
      StateWriter(body).u32(format).text(to_text(default_source));
      const Reply reply =
          self(context).channel_.call(Method::ingest, body, {owned->bytes.data(), size});
      if (reply.body.empty()) return given(reply, error);
      StateReader in(reply.body);
      ephor_ingest_result told{
          sizeof(ephor_ingest_result), in.u32(), in.u32(), in.u32(), in.u32(), 0, in.u64()};
      while (!in.at_end()) {
        const std::uint32_t line = in.u32();
        const ephor_view pointer = to_view(in.view());
        const ephor_rejection rejection{sizeof(ephor_rejection), line, pointer, to_view(in.view())};
        if (on_rejected != nullptr) on_rejected(user, &rejection);
      }
      if (result != nullptr && reply.status == EPHOR_OK) {
        told.struct_size = std::min(result->struct_size, told.struct_size);
        std::memcpy(result, &told, told.struct_size);
      }
      return given(reply, error);
    });
  }
  static ephor_status find(void* context, ephor_view id, ephor_event_visitor visitor, void* user,
                           ephor_error* error) {
    return guarded(error, [&] {
      std::string body;
      StateWriter(body).text(to_text(id));
      return given(self(context).channel_.call(Method::find, body, {},
                                               [&](std::string& part) {
                                                 return guarded(nullptr, [&] {
                                                   return visit_events(part, visitor, user);
                                                 });
                                               }),
                   error);
    });
  }
  static ephor_status read(void* context, std::uint64_t from, ephor_view pattern,
                           std::uint32_t limit, ephor_event_visitor visitor, void* user,
                           std::uint64_t* next, ephor_error* error) {
    return guarded(error, [&] {
      std::string body;
      StateWriter(body).u64(from).u32(limit).text(to_text(pattern));
      const Reply reply =
          self(context).channel_.call(Method::read, body, {}, [&](std::string& part) {
            return guarded(nullptr, [&] { return visit_events(part, visitor, user); });
          });
      if (reply.status == EPHOR_OK && next != nullptr) *next = number_of(reply);
      return given(reply, error);
    });
  }
  static std::uint64_t last_sequence(void* context) {
    return number_of(ask(context, Method::last_sequence));
  }

  // ---- ephor.metrics/1
  static ephor_status series(void* context, std::uint32_t kind, ephor_view name, ephor_view help,
                             ephor_view labels_json, std::uint64_t* handle, ephor_error* error) {
    return guarded(error, [&] {
      std::string body;
      StateWriter(body)
          .u32(kind)
          .text(to_text(name))
          .text(to_text(help))
          .text(to_text(labels_json));
      const Reply reply = ask(context, Method::series, body);
      if (reply.status == EPHOR_OK) *handle = number_of(reply);
      return given(reply, error);
    });
  }
  static void add(void* context, std::uint64_t handle, double amount) {
    change(context, handle, [&](Series& one) { one.added += amount; });
  }
  static void set(void* context, std::uint64_t handle, double value) {
    change(context, handle, [&](Series& one) {
      one.is_set = true;
      one.base = value;
      one.added = 0.0;
    });
  }
  template <typename Change>
  static void change(void* context, std::uint64_t handle, Change&& apply) {
    guarded(nullptr, [&] {
      RunnerTables& own = self(context);
      const std::scoped_lock lock(own.metrics_mutex_);
      constexpr std::uint64_t kHandleMax = 1U << 20;
      if (handle < 1 || handle > kHandleMax) return;
      if (own.series_.size() < handle) own.series_.resize(static_cast<std::size_t>(handle));
      Series& one = own.series_[static_cast<std::size_t>(handle - 1)];
      one.is_changed = true;
      apply(one);
    });
  }
  static ephor_status render(void* context, ephor_writer* out, ephor_error* error) {
    return guarded(error, [&] {
      self(context).flush_metrics();
      return written(ask(context, Method::render_metrics), out, error);
    });
  }

  // ---- ephor.log/1, health/1, task/1
  static void log(void* context, std::int32_t level, ephor_view message) {
    guarded(nullptr, [&] {
      if (level < self(context).log_.level) return;
      std::string body;
      StateWriter(body).u32(static_cast<std::uint32_t>(level)).text(to_text(message));
      self(context).channel_.notify(Method::log, body);
    });
  }
  static void report(void* context, std::int32_t state, ephor_view reason) {
    guarded(nullptr, [&] {
      std::string body;
      StateWriter(body).u32(static_cast<std::uint32_t>(state)).text(to_text(reason));
      self(context).channel_.notify(Method::health, body);
    });
  }
  static ephor_status snapshot(void* context, ephor_writer* out, ephor_error* error) {
    return guarded(error, [&] { return written(ask(context, Method::snapshot), out, error); });
  }
  static ephor_status run_task(void* context, ephor_task_function function, void* user,
                               ephor_error* error) {
    return guarded(error, [&] {
      RunnerTables& own = self(context);
      const bool is_queued = own.tasks_.run(&own, [function, user, context] {
        try {
          function(user);
        } catch (...) {
          report(context, EPHOR_HEALTH_DEGRADED, to_view("a task threw an exception"));
        }
      });
      if (!is_queued) throw Error(EPHOR_FULL, "the task queue is full");
    });
  }
};

RunnerTables::RunnerTables(Channel& channel)
    : channel_(channel),
      host_{sizeof(ephor_host),    EPHOR_ABI_MAJOR,     EPHOR_ABI_MINOR,    this,
            &Calls::get_extension, &Calls::subscribe,   &Calls::publish,    &Calls::topic_id,
            &Calls::topic_name,    &Calls::source_name, &Calls::render_json},
      query_{sizeof(ephor_query), 0, this, &Calls::provide_query, &Calls::call_query,
             &Calls::list_queries},
      http_{sizeof(ephor_http),       0, this, &Calls::add_route, &Calls::visit_routes,
            &Calls::routes_generation},
      storage_{sizeof(ephor_storage), 0, this, &Calls::declare, &Calls::select},
      journal_{sizeof(ephor_journal),
               0,
               this,
               &Calls::acquire,
               &Calls::release,
               &Calls::ingest,
               &Calls::find,
               &Calls::read,
               &Calls::last_sequence},
      command_{sizeof(ephor_command), 0, this, &Calls::provide_command},
      metrics_{sizeof(ephor_metrics), 0,           this,          &Calls::series,
               &Calls::add,           &Calls::set, &Calls::render},
      log_{sizeof(ephor_log), EPHOR_LOG_INFO, this, &Calls::log},
      health_{sizeof(ephor_health), 0, this, &Calls::report, &Calls::snapshot},
      task_{sizeof(ephor_task), 0, this, &Calls::run_task} {}

void RunnerTables::take_offered(StateReader& in) {
  for (std::size_t left = in.count(); left > 0; --left) offered_.insert(in.text());
  log_.level = static_cast<std::int32_t>(in.u32());
}

// ---- names
// ----------------------------------------------------------------------------------------

std::uint16_t RunnerTables::topic_id(std::string_view name) {
  const std::string key(name);
  {
    const std::shared_lock lock(names_mutex_);
    if (const auto found = topic_ids_.find(key); found != topic_ids_.end()) return found->second;
  }
  std::string body;
  StateWriter(body).text(name);
  const Reply reply = channel_.call(Method::topic_id, body);
  if (reply.status != EPHOR_OK) throw Error(reply.status, reply.message, reply.json_pointer);
  const auto topic = static_cast<std::uint16_t>(StateReader(reply.body).u32());
  const std::unique_lock lock(names_mutex_);
  topic_ids_.emplace(key, topic);
  return topic;
}

template <typename Number>
ephor_view RunnerTables::name(std::unordered_map<Number, std::string>& names, Method method,
                              Number number) {
  {
    const std::shared_lock lock(names_mutex_);
    if (const auto found = names.find(number); found != names.end()) return to_view(found->second);
  }
  ephor_view out{nullptr, 0};
  guarded(nullptr, [&] {
    std::string body;
    StateWriter(body).u32(number);
    Reply reply = channel_.call(method, body);
    if (reply.status != EPHOR_OK || reply.body.empty()) return;  // it may get a name yet
    const std::unique_lock lock(names_mutex_);
    out = to_view(names.emplace(number, std::move(reply.body)).first->second);
  });
  return out;
}

// ---- publish
// --------------------------------------------------------------------------------------

void RunnerTables::begin_slice(std::span<const ephor_event> events, char* drafts) {
  slice_ = events;
  drafts_ = drafts;
  draft_bytes_ = 0;
}

std::size_t RunnerTables::end_slice() {
  slice_ = {};
  return std::exchange(draft_bytes_, 0);
}

void RunnerTables::publish(const ephor_draft* drafts, std::uint32_t count) {
  if (slice_.empty()) {
    throw Error(EPHOR_STATE, "publish: only while handling a slice of events");
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const ephor_draft& draft = draft_at(drafts, i);
    const std::uint64_t cause = draft.cause_sequence;
    const auto at = std::lower_bound(
        slice_.begin(), slice_.end(), cause,
        [](const ephor_event& event, std::uint64_t sequence) { return event.sequence < sequence; });
    if (at == slice_.end() || at->sequence != cause) {
      throw Error(EPHOR_INVALID, "publish: found cause " + std::to_string(cause) +
                                     ", expected an event of the slice in hand");
    }
    (void)topic_id(to_text(draft.topic));  // the host refuses what is no topic
    std::string encoded_draft;
    StateWriter out(encoded_draft);
    put_draft(out, draft);
    if (draft_bytes_ + encoded_draft.size() > kDraftBytesMax) {
      // No more room behind the slice: what there is goes ahead, in its order.
      const Reply reply =
          channel_.call(Method::publish, {drafts_, std::exchange(draft_bytes_, 0)}, encoded_draft);
      if (reply.status != EPHOR_OK) throw Error(reply.status, reply.message, reply.json_pointer);
      continue;
    }
    std::memcpy(drafts_ + draft_bytes_, encoded_draft.data(), encoded_draft.size());
    draft_bytes_ += encoded_draft.size();
  }
}

// ---- what the host asks
// ---------------------------------------------------------------------------

Reply RunnerTables::run_query(StateReader& in) {
  Query query;
  {
    const std::uint64_t place = in.u64();
    const std::scoped_lock lock(registered_mutex_);
    if (place >= queries_.size()) return {EPHOR_NOT_FOUND, "no such query", {}, {}};
    query = queries_[static_cast<std::size_t>(place)];
  }
  auto* held = new HeldReply();
  held->channel = &channel_;
  held->number = in.u64();
  held->reply = {sizeof(ephor_reply), 0, held, &write_reply, &finish_reply, in.i64()};
  const std::string_view request = in.view();
  Reply result = replied([&](ephor_error* error) {
    return query.handler(query.user, to_view(request), &held->reply, error);
  });
  if (result.status != EPHOR_PENDING) {
    result.body = std::move(held->text);
    held->release();  // nobody will finish it
  }
  held->release();
  return result;
}

Reply RunnerTables::run_command(StateReader& in, std::uint64_t call) {
  Command command;
  {
    const std::uint64_t place = in.u64();
    const std::scoped_lock lock(registered_mutex_);
    if (place >= commands_.size()) return {EPHOR_NOT_FOUND, "no such command", {}, {}};
    command = commands_[static_cast<std::size_t>(place)];
  }
  const std::string_view arguments = in.view();
  struct Output {
    Channel& channel;
    std::uint64_t call;
  } output{channel_, call};
  ephor_writer out{sizeof(ephor_writer), 0, &output, [](void* context, ephor_view bytes) {
                     const Output& to = *static_cast<Output*>(context);
                     return to.channel.send_part(to.call, to_text(bytes));
                   }};
  return replied([&](ephor_error* error) {
    return command.handler(command.user, to_view(arguments), &out, error);
  });
}

void RunnerTables::flush_metrics() {
  guarded(nullptr, [&] {
    const std::scoped_lock lock(metrics_mutex_);
    std::string body;
    StateWriter out(body);
    for (std::size_t i = 0; i < series_.size(); ++i) {
      Series& one = series_[i];
      if (!one.is_changed) continue;
      out.varint(i + 1).boolean(one.is_set).f64(one.base).f64(one.added);
      one = {};
    }
    if (!body.empty()) channel_.notify(Method::metrics, body);
  });
}

// However long it takes: the host ends a process that never comes to it.
void RunnerTables::wait_for_tasks() {
  while (!tasks_.wait_for(this, std::chrono::seconds(1))) {
  }
}

}  // namespace ephor::host::isolation
