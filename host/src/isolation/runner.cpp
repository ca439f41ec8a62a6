// SPDX-License-Identifier: Apache-2.0
#include "isolation/runner.hpp"

#include <ephor/plugin.hpp>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <memory>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/abi_check.hpp"
#include "core/plugin_loader.hpp"
#include "event/error.hpp"
#include "isolation/channel.hpp"
#include "isolation/runner_tables.hpp"
#include "isolation/shared_slice.hpp"

namespace ephor::host::isolation {
namespace {

constexpr int kSocket = 3;
constexpr int kSharedFile = 4;
constexpr std::int64_t kLookNs = 50'000'000;  // how often changed metrics are sent

// ---- which call crashed -------------------------------------------------------------------------

SharedHead* crash_head = nullptr;
thread_local std::uint32_t current_method = 0;

// Only what is safe in a signal handler: two stores; the default action then ends the process.
void note_crash(int signal) {
  if (crash_head != nullptr) {
    crash_head->crash_method.store(current_method);
    crash_head->crash_signal.store(signal);
  }
  ::raise(signal);  // its handler was reset; delivered on return
}

void note_crashes(SharedHead& head) {
  crash_head = &head;
  struct sigaction action {};
  action.sa_handler = &note_crash;
  action.sa_flags = static_cast<int>(SA_ONSTACK | SA_RESETHAND);
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) {
    ::sigaction(signal, &action, nullptr);
  }
}

// Marks what this thread is at, and gives it a stack for the handler: its own may have run over.
class CallMark {
 public:
  explicit CallMark(Method method) : before_(current_method) {
    thread_local bool has_stack = false;
    if (!has_stack) {
      has_stack = true;
      thread_local std::array<char, 16U << 10> stack;
      stack_t alternative{};
      alternative.ss_sp = stack.data();
      alternative.ss_size = stack.size();
      ::sigaltstack(&alternative, nullptr);
    }
    current_method = static_cast<std::uint32_t>(method);
    turns.fetch_add(1, std::memory_order_acq_rel);
  }
  ~CallMark() {
    turns.fetch_add(1, std::memory_order_acq_rel);
    current_method = before_;
  }
  CallMark(const CallMark&) = delete;
  CallMark& operator=(const CallMark&) = delete;

 private:
  // The host orders the calls, in another process: this process sees nothing of it. What one call
  // leaves behind, the next one finds through here, whatever thread it comes on.
  inline static std::atomic<std::uint64_t> turns{0};
  const std::uint32_t before_;
};

// ---- the plugin
// -----------------------------------------------------------------------------------

class Runner final : public Channel::Listener {
 public:
  Runner() : slices_(kSharedFile), channel_(kSocket, *this), tables_(channel_) {
    note_crashes(slices_.head());
  }

  [[noreturn]] void serve() {
    std::thread([this] {
      channel_.read_frames(0);
      // The host has gone, or has done with this plugin: nothing here is worth an orderly end, and
      // static destructors of plugins are none of it.
      ::_exit(0);
    }).detach();
    std::thread([this] {
      for (;;) {
        std::this_thread::sleep_for(std::chrono::nanoseconds(kLookNs));
        tables_.flush_metrics();
      }
    }).detach();
    for (;;) deliver();
  }

 private:
  void deliver() {
    const std::span<const ephor_event> events = slices_.wait();
    ephor_error error = fresh_error();
    tables_.begin_slice(events, slices_.drafts());
    const ephor_status status = contained_call(error, [&] {
      const CallMark mark(Method::on_events);
      return plugin_.on_events(plugin_.self, events.data(),
                               static_cast<std::uint32_t>(events.size()), &error);
    });
    slices_.answer(status, error.message, error.json_pointer, tables_.end_slice());
  }

  Reply answer(Method method, std::uint64_t call, std::string_view body) override {
    const CallMark mark(method);
    StateReader in(body);
    Reply reply = run(method, call, in);
    tables_.flush_metrics();
    return reply;
  }

  void notice(Method, std::string_view) override {}

  Reply run(Method method, std::uint64_t call, StateReader& in) {
    if (method != Method::create && plugin_.self == nullptr) {
      return {EPHOR_STATE, "the plugin has not been created", {}, {}};
    }
    switch (method) {
      case Method::create:
        return create(in);
      case Method::start:
        return called(plugin_.start);
      case Method::drain: {
        const std::int64_t deadline_ns = in.i64();
        return replied([&](ephor_error* error) {
          return plugin_.drain == nullptr ? EPHOR_OK
                                          : plugin_.drain(plugin_.self, deadline_ns, error);
        });
      }
      case Method::stop:
        tables_.wait_for_tasks();
        return called(plugin_.stop);
      case Method::destroy:
        if (plugin_.destroy != nullptr) plugin_.destroy(plugin_.self);
        return {};
      case Method::load: {
        const std::uint32_t version = in.u32();
        const std::string_view state = in.raw(in.remaining());
        return replied([&](ephor_error* error) {
          return checkpoint_->load(plugin_.self, version, to_view(state), error);
        });
      }
      case Method::save:
        return save(call);
      case Method::query:
        return tables_.run_query(in);
      case Method::command:
        return tables_.run_command(in, call);
      default:
        return {EPHOR_UNSUPPORTED, "the runner knows no such call", {}, {}};
    }
  }

  Reply called(ephor_status (*function)(void*, ephor_error*)) {
    return replied([&](ephor_error* error) {
      return function == nullptr ? EPHOR_OK : function(plugin_.self, error);
    });
  }

  Reply create(StateReader& in) {
    if (const std::uint32_t protocol = in.u32(); protocol != kProtocolVersion) {
      return {EPHOR_UNSUPPORTED,
              "ephor-runner: found a host of protocol " + std::to_string(protocol) + ", expected " +
                  std::to_string(kProtocolVersion) + ": they are built together",
              {},
              {}};
    }
    const std::string file = in.text();
    instance_ = in.text();
    config_ = in.text();
    tables_.take_offered(in);
    const ephor_plugin_info* info = nullptr;
    try {
      info = PluginLoader::load_file(file).info;
    } catch (const HostError& failure) {
      return {failure.status(), failure.what(), {}, {}};
    }
    plugin_.struct_size = sizeof plugin_;
    Reply reply = replied([&](ephor_error* error) {
      return info->create(&tables_.host(), to_view(instance_), to_view(config_), &plugin_, error);
    });
    if (reply.status != EPHOR_OK) return reply;
    try {
      check_table("plugin " + instance_, plugin_, sizeof plugin_);
      checkpoint_ = checkpoint_of("plugin " + instance_, plugin_);
    } catch (const HostError& failure) {
      return {failure.status(), failure.what(), {}, {}};
    }
    StateWriter(reply.body)
        .boolean(checkpoint_ != nullptr)
        .u32(checkpoint_ != nullptr ? checkpoint_->state_version : 0);
    return reply;
  }

  // Rows on their way to the host's checkpoint. A row it refuses fails the save with its words.
  struct SentRows {
    Channel& channel;
    std::uint64_t call;
    std::string part;
    ephor_status status = EPHOR_OK;

    ephor_status add(bool is_erased, ephor_view table, const ephor_cell* cells, std::uint32_t count,
                     ephor_error* error) {
      const std::size_t begun_at = part.size();
      const ephor_status kept = guarded(error, [&] {
        StateWriter out(part);
        out.boolean(is_erased).text(to_text(table));
        put_cells(out, cells, count);
      });
      if (kept != EPHOR_OK) {
        part.resize(begun_at);  // nothing of a row that cannot be sent
        return kept;
      }
      return guarded(error, [&]() -> ephor_status {
        if (part.size() >= kPartBytes) flush();
        return status == EPHOR_OK ? EPHOR_OK : store_error(error, status, "a row was refused");
      });
    }
    void flush() {
      if (part.empty() || status != EPHOR_OK) return;
      status = channel.send_part(call, part);
      part.clear();
    }
  };

  Reply save(std::uint64_t call) {
    if (checkpoint_ == nullptr) return {EPHOR_UNSUPPORTED, "the plugin has no state", {}, {}};
    SentRows sent{channel_, call, {}, EPHOR_OK};
    const ephor_rows rows{
        sizeof(ephor_rows), 0, &sent,
        [](void* context, ephor_view table, const ephor_cell* cells, std::uint32_t count,
           ephor_error* error) {
          return static_cast<SentRows*>(context)->add(false, table, cells, count, error);
        },
        [](void* context, ephor_view table, const ephor_cell* key, std::uint32_t count,
           ephor_error* error) {
          return static_cast<SentRows*>(context)->add(true, table, key, count, error);
        }};
    std::string state;
    ephor_writer out = string_writer(state);
    Reply reply = replied(
        [&](ephor_error* error) { return checkpoint_->save(plugin_.self, &rows, &out, error); });
    if (reply.status != EPHOR_OK) return reply;
    sent.flush();
    if (sent.status != EPHOR_OK) return {sent.status, "a row was refused", {}, {}};
    reply.body = std::move(state);
    return reply;
  }

  SliceReceiver slices_;
  Channel channel_;
  RunnerTables tables_;
  std::string instance_;
  std::string config_;
  ephor_plugin plugin_{};
  const ephor_checkpoint* checkpoint_ = nullptr;
};

void write_all(int to, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(to, text.data(), text.size());
    if (put <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

nlohmann::json described(const ephor_entry& entry, const ephor_plugin_info& info) {
  const auto texts = [](const ephor_view* views, std::uint32_t count) {
    nlohmann::json out = nlohmann::json::array();
    for (std::uint32_t i = 0; i < count; ++i) out.push_back(std::string(to_text(views[i])));
    return out;
  };
  return {{"id", std::string(to_text(info.id))},
          {"version", std::string(to_text(info.version))},
          {"summary", std::string(to_text(info.summary))},
          {"config_schema", std::string(to_text(info.config_schema))},
          {"capabilities", info.capabilities},
          {"required_extensions", texts(info.required_extensions, info.required_count)},
          {"optional_extensions", texts(info.optional_extensions, info.optional_count)},
          {"abi_major", entry.abi_major},
          {"abi_minor_built", entry.abi_minor_built},
          {"abi_minor_required", entry.abi_minor_required}};
}

}  // namespace

void serve_plugin() {
  // A program that the plugin starts must not hold the socket open when this one ends.
  for (const int descriptor : {kSocket, kSharedFile}) ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  // Never destroyed: threads of it run until _exit.
  Runner& runner = *new Runner();
  runner.serve();
}

void describe_to(int output, const std::filesystem::path& file) {
  nlohmann::json out;
  try {
    const LoadedPlugin plugin = PluginLoader::load_file(file);
    out = described(*plugin.entry, *plugin.info);
  } catch (const HostError& failure) {
    out = {{"error", {{"status", failure.status()}, {"message", failure.what()}}}};
  }
  write_all(output, out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace ephor::host::isolation
