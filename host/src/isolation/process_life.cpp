// SPDX-License-Identifier: Apache-2.0
#include "isolation/process_life.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <mutex>
#include <optional>
#include <span>
#include <thread>

#include <sys/socket.h>
#include <unistd.h>

#include "core/instance_settings.hpp"
#include "event/error.hpp"
#include "event/times.hpp"
#include "isolation/channel.hpp"
#include "isolation/child_process.hpp"
#include "isolation/host_calls.hpp"
#include "isolation/shared_slice.hpp"

namespace ephor::host::isolation {
namespace {

constexpr std::int64_t kCreateTimeoutNs = 60'000'000'000;
constexpr std::int64_t kDestroyTimeoutNs = 5'000'000'000;
constexpr std::int64_t kExitGraceNs = 500'000'000;
constexpr std::int64_t kMemoryLookNs = 20'000'000;

std::string mebibytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / 1'048'576.0);
  return text;
}

class Sockets {
 public:
  Sockets() {
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_) != 0) {
      throw HostError(EPHOR_IO, std::string("a socket pair: ") + std::strerror(errno));
    }
  }
  ~Sockets() {
    for (const int end : ends_) {
      if (end >= 0) ::close(end);
    }
  }
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;
  int other() const { return ends_[1]; }
  int take() { return std::exchange(ends_[0], -1); }
  // The child has its own by now; as long as this one is open, its end is not seen.
  void close_other() { ::close(std::exchange(ends_[1], -1)); }

 private:
  int ends_[2] = {-1, -1};
};

class ProcessLife final : public PluginLife, private Channel::Listener {
 public:
  ProcessLife(const InstanceSettings& settings, const ephor_host& host)
      : name_(settings.name), limits_(settings.limits), calls_(host) {
    Sockets sockets;
    const std::vector<std::string> arguments{"--serve", std::to_string(::getpid()),
                                             std::to_string(limits_.open_files), name_};
    process_.emplace(start_program(runner_file(), arguments, {sockets.other(), slice_.file()}));
    sockets.close_other();
    channel_.emplace(sockets.take(), static_cast<Channel::Listener&>(*this));
    calls_.use(*channel_);
    reader_ = std::thread([this] { read(); });
    try {
      create(settings);
    } catch (...) {
      end();
      throw;
    }
  }

  ~ProcessLife() override {
    if (!is_lost()) channel_->call(Method::destroy, {}, {}, {}, monotonic_ns() + kDestroyTimeoutNs);
    end();
  }

  const ephor_plugin& table() const override { return table_; }
  bool is_lost() const override { return channel_->has_failed(); }
  std::string loss() const override {
    const std::scoped_lock lock(mutex_);
    return loss_;
  }
  bool kill(std::string_view why) override {
    {
      const std::scoped_lock lock(mutex_);
      if (why_killed_.empty()) why_killed_ = why;
    }
    process_->kill();
    return true;
  }
  int process_id() const override { return process_->id(); }
  std::uint64_t resident_bytes() const override { return process_->resident_bytes(); }

 private:
  static ProcessLife& self(void* pointer) { return *static_cast<ProcessLife*>(pointer); }

  // ---- the table of the plugin
  static ephor_status start(void* pointer, ephor_error* error) {
    return self(pointer).forward(Method::start, {}, error);
  }
  static ephor_status drain(void* pointer, std::int64_t deadline_ns, ephor_error* error) {
    return guarded(error, [&] {
      std::string body;
      StateWriter(body).i64(deadline_ns);
      return self(pointer).forward(Method::drain, body, error);
    });
  }
  static ephor_status stop(void* pointer, ephor_error* error) {
    return self(pointer).forward(Method::stop, {}, error);
  }
  static ephor_status on_events(void* pointer, const ephor_event* events, std::uint32_t count,
                                ephor_error* error) {
    return guarded(error, [&] { return self(pointer).deliver({events, count}, error); });
  }
  static const void* get_extension(void* pointer, ephor_view id) {
    ProcessLife& life = self(pointer);
    return life.has_state_ && to_text(id) == "ephor.storage/1" ? &life.checkpoint_ : nullptr;
  }
  static ephor_status save(void* pointer, const ephor_rows* rows, ephor_writer* state,
                           ephor_error* error) {
    return guarded(error, [&] { return self(pointer).save_into(*rows, *state, error); });
  }
  static ephor_status load(void* pointer, std::uint32_t version, ephor_view state,
                           ephor_error* error) {
    return guarded(error, [&] {
      std::string body;
      StateWriter(body).u32(version);
      return given(self(pointer).channel_->call(Method::load, body, to_text(state)), error);
    });
  }

  ephor_status forward(Method method, std::string_view body, ephor_error* error) {
    return guarded(error, [&] { return given(channel_->call(method, body), error); });
  }

  ephor_status deliver(std::span<const ephor_event> events, ephor_error* error) {
    while (!events.empty()) {
      if (is_lost()) return store_error(error, EPHOR_IO, loss());
      note_slice(events);
      const std::uint32_t sent = slice_.send(events);
      if (sent == 0) {
        return store_error(error, EPHOR_FULL,
                           "a record of " + std::to_string(events[0].record_length) +
                               " bytes, expected at most " + std::to_string(kRecordBytesMax));
      }
      const bool is_answered = slice_.wait([this] { return is_lost(); });
      is_delivering_.store(false);
      if (!is_answered) return store_error(error, EPHOR_IO, loss());
      const SliceSender::Answer answer = slice_.answer();
      const ephor_status published = calls_.publish(answer.drafts, error);
      if (answer.status != EPHOR_OK) {
        return store_error(error, answer.status, answer.message, answer.json_pointer);
      }
      if (published != EPHOR_OK) return published;
      events = events.subspan(sent);
    }
    return EPHOR_OK;
  }

  void note_slice(std::span<const ephor_event> events) {
    slice_first_.store(events.front().sequence);
    slice_last_.store(events.back().sequence);
    is_delivering_.store(true);
  }

  // Rows come in parts, in their order; the state is the reply.
  ephor_status save_into(const ephor_rows& rows, ephor_writer& state, ephor_error* error) {
    ephor_status row_status = EPHOR_OK;
    const Reply reply = channel_->call(Method::save, {}, {}, [&](std::string& part) {
      return row_status = take_rows(part, rows, error);
    });
    if (row_status != EPHOR_OK) return row_status;
    if (reply.status != EPHOR_OK) return given(reply, error);
    return state.write(state.context, to_view(reply.body));
  }

  static ephor_status take_rows(std::string_view part, const ephor_rows& rows, ephor_error* error) {
    return guarded(error, [&]() -> ephor_status {
      StateReader in(part);
      while (!in.at_end()) {
        const bool is_erased = in.boolean();
        const ephor_view table = to_view(in.view());
        const std::vector<ephor_cell> cells = take_cells(in);
        const auto put = is_erased ? rows.erase : rows.upsert;
        const ephor_status status =
            put(rows.context, table, cells.data(), static_cast<std::uint32_t>(cells.size()), error);
        if (status != EPHOR_OK) return status;
      }
      return EPHOR_OK;
    });
  }

  void create(const InstanceSettings& settings) {
    std::string body;
    StateWriter(body)
        .u32(kProtocolVersion)
        .text(settings.plugin.image().string())
        .text(settings.name)
        .text(settings.config_json)
        .raw(calls_.offered());
    const std::int64_t begin_ns = monotonic_ns();
    Reply reply = channel_->call(Method::create, body, {}, {}, begin_ns + kCreateTimeoutNs);
    if (reply.status == EPHOR_TIMEOUT && monotonic_ns() - begin_ns >= kCreateTimeoutNs) {
      kill("create took longer than " + std::to_string(kCreateTimeoutNs / 1'000'000'000) + " s");
    }
    if (reply.status != EPHOR_OK) {
      if (is_lost()) throw HostError(reply.status, reply.message);
      ephor_error error = fresh_error();
      given(reply, &error);
      throw HostError(reply.status, described("plugin " + name_ + ": create", reply.status, error));
    }
    StateReader in(reply.body);
    has_state_ = in.boolean();
    checkpoint_ = {sizeof(ephor_checkpoint), in.u32(), &save, &load};
  }

  // ---- Channel::Listener
  Reply answer(Method method, std::uint64_t call, std::string_view body) override {
    return calls_.answer(method, call, body);
  }
  void notice(Method method, std::string_view body) override { calls_.notice(method, body); }
  void look_after() override {
    const std::uint64_t resident = process_->resident_bytes();
    if (resident > limits_.memory_bytes) {
      kill("resident memory: found " + mebibytes(resident) + ", expected at most " +
           mebibytes(limits_.memory_bytes) + " (limits.memory_mb)");
    }
  }

  void read() {
    const std::string gone = channel_->read_frames(limits_.memory_bytes != 0 ? kMemoryLookNs : 0);
    if (gone.starts_with("it sent")) {
      kill(gone);
    }
    const std::string end = process_->reap(kExitGraceNs);
    std::string text = "plugin " + name_ + ": process " + std::to_string(process_->id()) +
                       " ended: " + cause(end) + where();
    {
      const std::scoped_lock lock(mutex_);
      loss_ = text;
    }
    // A process that ends while nothing is asked of it (a thread of its own crashed) would be
    // missed until something is.
    if (!is_ending_ && !is_delivering_ && channel_->pending().empty()) calls_.tell_loss(text);
    channel_->shut_down();
    channel_->fail(text);
    slice_.wake();
  }

  std::string cause(const std::string& end) const {
    const std::scoped_lock lock(mutex_);
    return why_killed_.empty() ? end : why_killed_;
  }

  // The call it was in: as its crash handler says, else as the host sees it.
  std::string where() const {
    auto method = static_cast<Method>(slice_.crash().method);
    if (slice_.crash().signal == 0) {
      const std::vector<Method> pending = channel_->pending();
      method = is_delivering_    ? Method::on_events
               : pending.empty() ? Method::none
                                 : pending.front();
    }
    if (method == Method::none) return {};
    std::string text = " in " + std::string(name_of(method));
    if (method != Method::on_events) return text;
    text += ", sequence " + std::to_string(slice_first_);
    if (slice_last_ != slice_first_) text += " to " + std::to_string(slice_last_);
    return text;
  }

  // Whatever state the process is in: it is gone after it, and so is the reader.
  void end() {
    is_ending_ = true;
    channel_->shut_down();
    reader_.join();  // it waits for the process, or kills it
    channel_->stop_answering();
    calls_.end(loss());
  }

  const std::string name_;
  const ProcessLimits limits_;
  SliceSender slice_;
  HostCalls calls_;
  std::optional<ChildProcess> process_;
  std::optional<Channel> channel_;
  std::thread reader_;
  bool has_state_ = false;
  ephor_checkpoint checkpoint_{};
  const ephor_plugin table_{sizeof(ephor_plugin), 0,      this,  &start,
                            &on_events,           &drain, &stop, [](void*) {},
                            &get_extension};

  std::atomic<bool> is_ending_{false};
  std::atomic<bool> is_delivering_{false};
  std::atomic<std::uint64_t> slice_first_{0};
  std::atomic<std::uint64_t> slice_last_{0};
  mutable std::mutex mutex_;  // guards loss_, why_killed_
  std::string loss_;
  std::string why_killed_;
};

}  // namespace

std::unique_ptr<PluginLife> make_process_life(const InstanceSettings& settings,
                                              const ephor_host& host) {
  try {
    return std::make_unique<ProcessLife>(settings, host);
  } catch (const HostError& failure) {
    const std::string before = "plugin " + settings.name + ": ";
    const std::string what = failure.what();
    throw HostError(failure.status(), what.starts_with(before) ? what : before + what);
  }
}

}  // namespace ephor::host::isolation
