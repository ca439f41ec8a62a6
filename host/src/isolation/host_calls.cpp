// SPDX-License-Identifier: Apache-2.0
#include "isolation/host_calls.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <cstring>
#include <optional>

namespace ephor::host::isolation {
namespace {

// A runner cannot make the host wait longer than this for a query.
constexpr std::int64_t kQueryTimeoutNsMax = 60'000'000'000;
constexpr std::size_t kStubsMax = 10'000;
constexpr std::size_t kSeriesMax = 20'000;

template <typename Table>
const Table* table_of(const ephor_host& host, std::string_view id) {
  return static_cast<const Table*>(host.get_extension(host.context, to_view(id)));
}

// Rows or events on their way to a visitor in the runner, many to a part.
class PartSender {
 public:
  PartSender(Channel& channel, std::uint64_t call) : channel_(channel), call_(call) {}

  // What the visitor said of the part that is full now, else EPHOR_OK.
  template <typename Put>
  ephor_status add(Put&& put) {
    if (status_ != EPHOR_OK) return status_;
    StateWriter out(part_);
    put(out);
    if (part_.size() >= kPartBytes) flush();
    return status_;
  }
  void flush() {
    if (part_.empty() || status_ != EPHOR_OK) return;
    status_ = channel_.send_part(call_, part_);
    part_.clear();
  }

 private:
  Channel& channel_;
  const std::uint64_t call_;
  std::string part_;
  ephor_status status_ = EPHOR_OK;
};

}  // namespace

HostCalls::HostCalls(const ephor_host& host)
    : host_(host),
      query_(table_of<ephor_query>(host, "ephor.query/1")),
      http_(table_of<ephor_http>(host, "ephor.http/1")),
      storage_(table_of<ephor_storage>(host, "ephor.storage/1")),
      journal_(table_of<ephor_journal>(host, "ephor.journal/1")),
      command_(table_of<ephor_command>(host, "ephor.command/1")),
      metrics_(table_of<ephor_metrics>(host, "ephor.metrics/1")),
      log_(table_of<ephor_log>(host, "ephor.log/1")),
      health_(table_of<ephor_health>(host, "ephor.health/1")),
      task_(table_of<ephor_task>(host, "ephor.task/1")) {}

std::string HostCalls::offered() const {
  std::string out;
  StateWriter to(out);
  const std::pair<std::string_view, bool> tables[] = {
      {"ephor.query/1", query_ != nullptr},     {"ephor.http/1", http_ != nullptr},
      {"ephor.storage/1", storage_ != nullptr}, {"ephor.journal/1", journal_ != nullptr},
      {"ephor.command/1", command_ != nullptr}, {"ephor.metrics/1", metrics_ != nullptr},
      {"ephor.log/1", log_ != nullptr},         {"ephor.health/1", health_ != nullptr},
      {"ephor.task/1", task_ != nullptr}};
  to.varint(static_cast<std::uint64_t>(std::count_if(std::begin(tables), std::end(tables),
                                                     [](const auto& one) { return one.second; })));
  for (const auto& [id, is_there] : tables) {
    if (is_there) to.text(id);
  }
  to.u32(static_cast<std::uint32_t>(log_ != nullptr ? log_->level : EPHOR_LOG_INFO));
  return out;
}

template <typename Table>
const Table& HostCalls::needed(const Table* table) const {
  if (table == nullptr) throw Error(EPHOR_UNSUPPORTED, "this host has no such extension");
  return *table;
}

template <typename Call>
Reply HostCalls::written(Call&& call) {
  std::string text;
  ephor_writer out = string_writer(text);
  Reply reply = replied([&](ephor_error* error) { return call(&out, error); });
  reply.body = std::move(text);
  return reply;
}

Reply HostCalls::answer(Method method, std::uint64_t call, std::string_view body) {
  StateReader in(body);
  switch (method) {
    case Method::subscribe:
      return subscribe(in);
    case Method::publish:
      return replied([&](ephor_error* error) { return publish(body, error); });
    case Method::topic_id:
      return topic_id(in);
    case Method::topic_name: {
      const auto topic = static_cast<std::uint16_t>(in.u32());
      return {EPHOR_OK, {}, {}, std::string(to_text(host_.topic_name(host_.context, topic)))};
    }
    case Method::source_name:
      return {EPHOR_OK, {}, {}, std::string(to_text(host_.source_name(host_.context, in.u32())))};
    case Method::render_json:
      return render_json(in);
    case Method::provide_query:
      return provide_query(in);
    case Method::call_query:
      return call_query(in);
    case Method::list_queries: {
      const ephor_query& query = needed(query_);
      return written([&](ephor_writer* out, ephor_error* error) {
        return query.list(query.context, out, error);
      });
    }
    case Method::add_route:
      return add_route(in);
    case Method::visit_routes:
      return visit_routes();
    case Method::routes_generation: {
      Reply reply;
      const ephor_http& http = needed(http_);
      StateWriter(reply.body).u64(http.generation(http.context));
      return reply;
    }
    case Method::declare: {
      const ephor_storage& storage = needed(storage_);
      return replied([&](ephor_error* error) {
        return storage.declare(storage.context, to_view(body), error);
      });
    }
    case Method::select:
      return select(in, call);
    case Method::ingest:
      return ingest(in);
    case Method::find:
      return find(in, call);
    case Method::read:
      return read(in, call);
    case Method::last_sequence: {
      Reply reply;
      const ephor_journal& journal = needed(journal_);
      StateWriter(reply.body).u64(journal.last_sequence(journal.context));
      return reply;
    }
    case Method::provide_command:
      return provide_command(in);
    case Method::series:
      return series(in);
    case Method::render_metrics: {
      const ephor_metrics& metrics = needed(metrics_);
      return written([&](ephor_writer* out, ephor_error* error) {
        return metrics.render(metrics.context, out, error);
      });
    }
    case Method::snapshot: {
      const ephor_health& health = needed(health_);
      return written([&](ephor_writer* out, ephor_error* error) {
        return health.snapshot(health.context, out, error);
      });
    }
    default:
      return {EPHOR_UNSUPPORTED, "the host knows no such call", {}, {}};
  }
}

void HostCalls::notice(Method method, std::string_view body) {
  StateReader in(body);
  switch (method) {
    case Method::log: {
      const auto level = static_cast<std::int32_t>(in.u32());
      if (log_ != nullptr) log_->log(log_->context, level, to_view(in.view()));
      return;
    }
    case Method::health: {
      const auto state = static_cast<std::int32_t>(in.u32());
      if (health_ != nullptr) health_->report(health_->context, state, to_view(in.view()));
      return;
    }
    case Method::metrics:
      set_metrics(in);
      return;
    case Method::query_finished:
      finish_query(in);
      return;
    default:
      return;  // of a later protocol, or nonsense: it harms nobody
  }
}

// ---- ephor_host ---------------------------------------------------------------------------------

Reply HostCalls::subscribe(StateReader& in) {
  ephor_subscription subscription{};
  subscription.struct_size = sizeof subscription;
  subscription.policy = in.u32();
  subscription.key = to_view(in.view());
  std::vector<ephor_view> patterns(in.count());
  for (ephor_view& pattern : patterns) pattern = to_view(in.view());
  subscription.patterns = patterns.data();
  subscription.pattern_count = static_cast<std::uint32_t>(patterns.size());
  return replied(
      [&](ephor_error* error) { return host_.subscribe(host_.context, &subscription, error); });
}

ephor_status HostCalls::publish(std::string_view drafts, ephor_error* error) {
  StateReader in(drafts);
  std::vector<ephor_draft> taken;
  while (!in.at_end()) taken.push_back(take_draft(in));
  if (taken.empty()) return EPHOR_OK;
  return host_.publish(host_.context, taken.data(), static_cast<std::uint32_t>(taken.size()),
                       error);
}

Reply HostCalls::topic_id(StateReader& in) {
  std::uint16_t topic = 0;
  const std::string_view name = in.view();
  Reply reply = replied([&](ephor_error* error) {
    return host_.topic_id(host_.context, to_view(name), &topic, error);
  });
  StateWriter(reply.body).u32(topic);
  return reply;
}

Reply HostCalls::render_json(StateReader& in) {
  const ephor_event event = take_event(in);
  return written([&](ephor_writer* out, ephor_error* error) {
    return host_.render_json(host_.context, &event, out, error);
  });
}

// ---- queries and commands -----------------------------------------------------------------------

Reply HostCalls::provide_query(StateReader& in) {
  const ephor_query& table = needed(query_);
  Stub* stub = nullptr;
  const std::string name = in.text();
  const std::string_view summary = in.view();
  const std::uint64_t number = in.u64();
  {
    const std::scoped_lock lock(mutex_);
    if (stubs_.size() >= kStubsMax) throw Error(EPHOR_FULL, "more queries than a host registers");
    stub = &stubs_.emplace_back(Stub{this, number, name});
  }
  return replied([&](ephor_error* error) {
    return table.provide(table.context, to_view(name), to_view(summary), &query, stub, error);
  });
}

HostCalls::OpenCall::OpenCall(HostCalls& calls) : calls_(calls) {
  const std::scoped_lock lock(calls_.mutex_);
  if (calls_.has_ended_) throw Error(EPHOR_STATE, "its process has ended");
  ++calls_.calls_open_;
}

HostCalls::OpenCall::~OpenCall() {
  const std::scoped_lock lock(calls_.mutex_);
  --calls_.calls_open_;
  calls_.changed_.notify_all();
}

ephor_status HostCalls::query(void* user, ephor_view request, ephor_reply* reply,
                              ephor_error* error) {
  const Stub& stub = *static_cast<const Stub*>(user);
  return guarded(error, [&] {
    const OpenCall open(*stub.calls);
    return stub.calls->answer_query(stub, request, *reply, error);
  });
}

ephor_status HostCalls::answer_query(const Stub& stub, ephor_view request, ephor_reply& reply,
                                     ephor_error* error) {
  std::uint64_t number = 0;
  {
    const std::scoped_lock lock(mutex_);
    number = ++last_owed_;
    owed_[number].reply = reply;
  }
  std::string body;
  StateWriter(body).u64(stub.number).u64(number).i64(reply.deadline_ns).text(to_text(request));
  const Reply result = channel_->call(Method::query, body);
  std::optional<Reply> finished;  // before the handler has returned
  {
    const std::scoped_lock lock(mutex_);
    const auto owed = owed_.find(number);
    if (result.status == EPHOR_PENDING && !owed->second.has_come) {
      owed->second.is_pending = true;
      return EPHOR_PENDING;
    }
    if (result.status == EPHOR_PENDING) finished = std::move(owed->second.result);
    owed_.erase(owed);
  }
  if (finished) {
    finish(reply, *finished);
    return EPHOR_PENDING;
  }
  if (!result.body.empty()) reply.write(reply.context, to_view(result.body));
  return given(result, error);
}

void HostCalls::finish(const ephor_reply& reply, const Reply& result) {
  ephor_error told = fresh_error();
  given(result, &told);
  if (!result.body.empty()) reply.write(reply.context, to_view(result.body));
  reply.finish(reply.context, result.status == EPHOR_PENDING ? EPHOR_INTERNAL : result.status,
               &told);
}

void HostCalls::finish_query(StateReader& in) {
  const std::uint64_t number = in.u64();
  Reply result = decoded_reply(in.raw(in.remaining()));
  ephor_reply reply{};
  {
    const std::scoped_lock lock(mutex_);
    const auto owed = owed_.find(number);
    if (owed == owed_.end()) return;  // answered already, or never asked
    if (!owed->second.is_pending) {
      owed->second.has_come = true;
      owed->second.result = std::move(result);
      return;
    }
    reply = owed->second.reply;
    owed_.erase(owed);
  }
  finish(reply, result);
}

Reply HostCalls::provide_command(StateReader& in) {
  const ephor_command& table = needed(command_);
  Stub* stub = nullptr;
  const std::string name = in.text();
  const std::string_view summary = in.view();
  const std::uint64_t number = in.u64();
  {
    const std::scoped_lock lock(mutex_);
    if (stubs_.size() >= kStubsMax) throw Error(EPHOR_FULL, "more commands than a host registers");
    stub = &stubs_.emplace_back(Stub{this, number, name});
  }
  return replied([&](ephor_error* error) {
    return table.provide(table.context, to_view(name), to_view(summary), &command, stub, error);
  });
}

ephor_status HostCalls::command(void* user, ephor_view arguments, ephor_writer* out,
                                ephor_error* error) {
  const Stub& stub = *static_cast<const Stub*>(user);
  return guarded(error, [&] {
    const OpenCall open(*stub.calls);
    std::string body;
    StateWriter(body).u64(stub.number).text(to_text(arguments));
    // Output comes as it is made: a command may run for long.
    const auto write = [&](std::string& part) { return out->write(out->context, to_view(part)); };
    return given(stub.calls->channel_->call(Method::command, body, {}, write), error);
  });
}

Reply HostCalls::call_query(StateReader& in) {
  const ephor_query& table = needed(query_);
  const std::string_view name = in.view();
  const std::string_view request = in.view();
  const std::int64_t timeout_ns = std::min(in.i64(), kQueryTimeoutNsMax);
  const std::uint64_t after = in.u64();
  std::uint64_t as_of = 0;
  std::string text;
  ephor_writer out = string_writer(text);
  Reply reply = replied([&](ephor_error* error) {
    return table.call(table.context, to_view(name), to_view(request), timeout_ns, after, &out,
                      &as_of, error);
  });
  StateWriter(reply.body).u64(as_of).raw(text);
  return reply;
}

// ---- routes
// ---------------------------------------------------------------------------------------

Reply HostCalls::add_route(StateReader& in) {
  const ephor_http& http = needed(http_);
  ephor_http_route route{};
  route.struct_size = sizeof route;
  for (ephor_view* field : {&route.method, &route.path, &route.query, &route.scope, &route.summary,
                            &route.request_schema, &route.response_schema, &route.content_type}) {
    *field = to_view(in.view());
  }
  return replied([&](ephor_error* error) { return http.add_route(http.context, &route, error); });
}

// All at once: the host holds a lock while it visits, and a runner must not hold that.
Reply HostCalls::visit_routes() {
  const ephor_http& http = needed(http_);
  Reply reply;
  reply.status = http.visit(
      http.context,
      [](void* user, ephor_view instance, const ephor_http_route* route) {
        guarded(nullptr, [&] {
          StateWriter out(*static_cast<std::string*>(user));
          out.text(to_text(instance));
          for (const ephor_view field :
               {route->method, route->path, route->query, route->scope, route->summary,
                route->request_schema, route->response_schema, route->content_type}) {
            out.text(to_text(field));
          }
        });
      },
      &reply.body);
  return reply;
}

// ---- storage and journal
// --------------------------------------------------------------------------

Reply HostCalls::select(StateReader& in, std::uint64_t call) {
  const ephor_storage& storage = needed(storage_);
  const std::string_view sql = in.view();
  const std::vector<ephor_cell> parameters = take_cells(in);
  PartSender rows(*channel_, call);
  Reply reply = replied([&](ephor_error* error) {
    return storage.select(
        storage.context, to_view(sql), parameters.data(),
        static_cast<std::uint32_t>(parameters.size()),
        [](void* user, const ephor_cell* cells, std::uint32_t count) -> ephor_status {
          ephor_status status = EPHOR_OK;
          const ephor_status own = guarded(nullptr, [&] {
            status = static_cast<PartSender*>(user)->add(
                [&](StateWriter& out) { put_cells(out, cells, count); });
          });
          return own != EPHOR_OK ? own : status;
        },
        &rows, error);
  });
  rows.flush();
  return reply;
}

Reply HostCalls::ingest(StateReader& in) {
  const ephor_journal& journal = needed(journal_);
  const std::uint32_t format = in.u32();
  const std::string_view default_source = in.view();
  const std::string_view text = in.raw(in.remaining());
  char* data = nullptr;
  ephor_buffer* buffer = journal.acquire(journal.context, text.size(), &data);
  if (buffer == nullptr) throw Error(EPHOR_FULL, "the host has no room for the body");
  if (!text.empty()) std::memcpy(data, text.data(), text.size());
  struct Rejections {
    std::uint64_t count = 0;
    std::string encoded;
  } rejections;
  ephor_ingest_result result{};
  result.struct_size = sizeof result;
  Reply reply = replied([&](ephor_error* error) {
    return journal.ingest(
        journal.context, buffer, text.size(), format, to_view(default_source),
        [](void* user, const ephor_rejection* rejection) {
          guarded(nullptr, [&] {
            auto& all = *static_cast<Rejections*>(user);
            StateWriter(all.encoded)
                .u32(rejection->line)
                .text(to_text(rejection->json_pointer))
                .text(to_text(rejection->reason));
            ++all.count;
          });
        },
        &rejections, &result, error);
  });
  StateWriter(reply.body)
      .u32(result.accepted)
      .u32(result.duplicate)
      .u32(result.rejected)
      .u32(result.events)
      .u64(result.last_sequence)
      .raw(rejections.encoded);
  return reply;
}

namespace {

void send_event(void* user, const ephor_event* event) {
  guarded(nullptr, [&] {
    static_cast<PartSender*>(user)->add([&](StateWriter& out) { put_event(out, *event); });
  });
}

}  // namespace

Reply HostCalls::find(StateReader& in, std::uint64_t call) {
  const ephor_journal& journal = needed(journal_);
  const std::string_view id = in.view();
  PartSender events(*channel_, call);
  Reply reply = replied([&](ephor_error* error) {
    return journal.find(journal.context, to_view(id), &send_event, &events, error);
  });
  events.flush();
  return reply;
}

Reply HostCalls::read(StateReader& in, std::uint64_t call) {
  const ephor_journal& journal = needed(journal_);
  const std::uint64_t from = in.u64();
  const std::uint32_t limit = in.u32();
  const std::string_view pattern = in.view();
  std::uint64_t next = 0;
  PartSender events(*channel_, call);
  Reply reply = replied([&](ephor_error* error) {
    return journal.read(journal.context, from, to_view(pattern), limit, &send_event, &events, &next,
                        error);
  });
  events.flush();
  StateWriter(reply.body).u64(next);
  return reply;
}

// ---- metrics
// --------------------------------------------------------------------------------------

Reply HostCalls::series(StateReader& in) {
  const ephor_metrics& metrics = needed(metrics_);
  const std::uint32_t kind = in.u32();
  const std::string_view name = in.view();
  const std::string_view help = in.view();
  const std::string_view labels = in.view();
  std::uint64_t handle = 0;
  Reply reply = replied([&](ephor_error* error) {
    return metrics.series(metrics.context, kind, to_view(name), to_view(help), to_view(labels),
                          &handle, error);
  });
  if (reply.status != EPHOR_OK) return reply;
  const std::scoped_lock lock(mutex_);
  // The same series again gets the number it has.
  const auto found = std::find(series_.begin(), series_.end(), handle);
  const auto place = static_cast<std::uint64_t>(found - series_.begin());
  if (found == series_.end()) {
    if (series_.size() >= kSeriesMax) throw Error(EPHOR_FULL, "more series than a host keeps");
    series_.push_back(handle);
  }
  StateWriter(reply.body).u64(place + 1);
  return reply;
}

void HostCalls::set_metrics(StateReader& in) {
  if (metrics_ == nullptr) return;
  const std::scoped_lock lock(mutex_);
  while (!in.at_end()) {
    const std::uint64_t number = in.varint();
    const bool is_set = in.boolean();
    const double base = in.f64();
    const double added = in.f64();
    if (number < 1 || number > series_.size()) continue;
    const std::uint64_t handle = series_[static_cast<std::size_t>(number - 1)];
    if (is_set) {
      metrics_->set(metrics_->context, handle, base + added);
    } else {
      metrics_->add(metrics_->context, handle, added);
    }
  }
}

// ---- the end
// --------------------------------------------------------------------------------------

void HostCalls::tell_loss(const std::string& text) {
  if (log_ != nullptr) log_->log(log_->context, EPHOR_LOG_ERROR, to_view(text));
  if (health_ != nullptr) health_->report(health_->context, EPHOR_HEALTH_FAILED, to_view(text));
}

void HostCalls::end(const std::string& why) {
  std::vector<ephor_reply> left;
  {
    std::unique_lock lock(mutex_);
    has_ended_ = true;
    changed_.wait(lock, [&] { return calls_open_ == 0; });
    for (const auto& [unused, owed] : owed_) left.push_back(owed.reply);
    owed_.clear();
  }
  ephor_error told = fresh_error();
  store_error(&told, EPHOR_IO, why);
  for (const ephor_reply& reply : left) reply.finish(reply.context, EPHOR_IO, &told);
}

}  // namespace ephor::host::isolation
