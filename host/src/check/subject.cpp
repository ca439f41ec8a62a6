// SPDX-License-Identifier: Apache-2.0
#include "check/subject.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>

#include <simdjson.h>

#include "check/allocations.hpp"
#include "check/guarded_text.hpp"
#include "event/times.hpp"

namespace ephor::host::check {
namespace {

constexpr unsigned char kUntouched = 0x5C;
constexpr std::array kStatusNames{"OK",    "PENDING",     "INVALID",  "NOT_FOUND",
                                  "STATE", "UNSUPPORTED", "FULL",     "TIMEOUT",
                                  "IO",    "DENIED",      "CONFLICT", "INTERNAL"};

// One answer in the making. Kept alive by whoever may still finish it.
struct Reply {
  std::mutex mutex;  // guards all below
  std::condition_variable changed;
  Answer answer;
  bool is_over = false;  // nobody listens any more
  CheckingHost* host = nullptr;
  std::string query;

  static ephor_status write(void* context, ephor_view bytes) {
    const allocations::HostSide ours;
    return guarded(nullptr, [&] {
      Reply& self = *static_cast<Reply*>(context);
      const std::scoped_lock lock(self.mutex);
      if (self.is_over) return;
      if (self.answer.finish_count > 0) {
        self.host->note(Rule::queries, "query " + self.query + " wrote after finish");
        return;
      }
      self.answer.body += to_text(bytes);
    });
  }
  static void finish(void* context, ephor_status status, const ephor_error* error) {
    const allocations::HostSide ours;
    guarded(nullptr, [&] {
      Reply& self = *static_cast<Reply*>(context);
      const std::scoped_lock lock(self.mutex);
      if (self.is_over) return;
      if (++self.answer.finish_count > 1) {
        self.host->note(Rule::queries, "query " + self.query + " was finished twice");
      }
      self.answer.status = status;
      if (error != nullptr) self.answer.message = std::string(error->message);
      self.changed.notify_all();
    });
  }
};

// The end of a text in a buffer of fixed size; its size if there is no NUL.
std::size_t length_in(const char* text, std::size_t capacity) {
  return static_cast<std::size_t>(std::find(text, text + capacity, '\0') - text);
}

}  // namespace

std::string status_text(ephor_status status) {
  const bool is_known = status >= 0 && static_cast<std::size_t>(status) < kStatusNames.size();
  return std::string(is_known ? kStatusNames[static_cast<std::size_t>(status)] : "unknown") + " (" +
         std::to_string(status) + ")";
}

void require_no(CheckingHost& host, std::initializer_list<Rule> rules) {
  std::string found;
  for (const Violation& one : host.violations()) {
    if (std::find(rules.begin(), rules.end(), one.rule) == rules.end()) continue;
    found += (found.empty() ? "" : "\n") + one.text;
  }
  if (!found.empty()) Context::fail(found);
}

Subject::Subject(Context& context, HostOptions options) : context_(context) {
  options.is_source = context.is_source();
  options.directory = context.target().directory;
  host_ = std::make_unique<CheckingHost>(std::move(options));
}

Subject::~Subject() {
  if (std::uncaught_exceptions() > 0) {
    (void)host_.release();  // the plugin may still use it until the process ends
    return;
  }
  if (!is_created_) return;
  if (!is_stopped_) stop();
  destroy();
}

ephor_error Subject::fresh_error() const {
  ephor_error error;
  std::memset(&error, 'Z', sizeof error);  // a text without its NUL is seen
  error.struct_size = sizeof error;
  error.code = EPHOR_OK;
  error.message[0] = error.json_pointer[0] = '\0';
  return error;
}

void Subject::make_out() {
  std::memset(&out_, kUntouched, sizeof out_);
  out_.table = {};
  out_.table.struct_size = sizeof out_.table;
  out_before_ = out_;
}

bool Subject::is_out_untouched() const {
  return std::memcmp(&out_, &out_before_, sizeof out_) == 0;
}

void Subject::look_at(ephor_status status, const ephor_error& error, std::string_view name) {
  const auto wrong = [&](const std::string& text) {
    host_->note(Rule::errors, std::string(name) + ": " + text);
  };
  if (status < 0 || static_cast<std::size_t>(status) >= kStatusNames.size()) {
    wrong("found status " + std::to_string(status) + ", expected 0 to 11");
  }
  if (status == EPHOR_OK || status == EPHOR_PENDING) return;
  const std::size_t length = length_in(error.message, sizeof error.message);
  const std::size_t pointer_length = length_in(error.json_pointer, sizeof error.json_pointer);
  if (length == sizeof error.message || pointer_length == sizeof error.json_pointer) {
    return wrong("found an error text without its NUL");
  }
  if (length == 0) {
    return wrong("found status " + status_text(status) + " without a message, expected one");
  }
  if (!simdjson::validate_utf8(error.message, length)) wrong("found a message that is no UTF-8");
  if (error.code != status) {
    wrong("found error code " + std::to_string(error.code) + " with status " + status_text(status) +
          ", expected the same");
  }
  if (pointer_length != 0 && error.json_pointer[0] != '/') {
    wrong("found the pointer \"" + std::string(error.json_pointer) + "\", expected RFC 6901");
  }
}

std::string Subject::described(ephor_status status) const {
  std::string out = status_text(status) + ": ";
  out += error_.message[0] != '\0'
             ? std::string(error_.message, length_in(error_.message, sizeof error_.message))
             : "no message";
  if (error_.json_pointer[0] != '\0') out += std::string(" at ") + error_.json_pointer;
  return out;
}

template <typename Body>
ephor_status Subject::call(CallKind kind, std::string_view name, ephor_error& error,
                           const Body& body) {
  context_.step("call " + std::string(name) +
                (host_->options().instance == "checked" ? "" : " of " + host_->options().instance) +
                (remark_.empty() ? "" : " " + remark_));
  error = fresh_error();
  ephor_status status = EPHOR_INTERNAL;
  const auto began = std::chrono::steady_clock::now();
  try {
    const CallScope scope(*host_, kind);
    if (failing_allocation_ != 0) allocations::fail_from(failing_allocation_, failing_bytes_);
    status = body(&error);
    allocations::fail_none();
  } catch (...) {
    allocations::fail_none();
    host_->note(Rule::exceptions, std::string(name) + " threw an exception across the ABI");
    store_error(&error, EPHOR_INTERNAL, "an exception crossed the ABI");
  }
  seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  context_.step("after " + std::string(name));
  look_at(status, error, name);
  if (status == EPHOR_PENDING && kind != CallKind::query) {
    host_->note(Rule::errors, std::string(name) + ": found EPHOR_PENDING, which queries have only");
  }
  return status;
}

ephor_status Subject::create(std::string_view config) {
  const ephor_plugin_info& info = context_.info();
  make_out();
  const GuardedText instance(host_->options().instance);
  const GuardedText text(config);
  const ephor_status status = call(CallKind::create, "create", error_, [&](ephor_error* error) {
    return info.create(host_->table(), instance.view(), text.view(), &out_.table, error);
  });
  if (std::memcmp(out_.behind, out_before_.behind, sizeof out_.behind) != 0) {
    host_->note(Rule::structs, "create wrote behind the " + std::to_string(sizeof(ephor_plugin)) +
                                   " bytes that out has");
  }
  if (status != EPHOR_OK) {
    host_->registering_ends();
    return status;
  }
  is_created_ = true;
  is_started_ = is_stopped_ = false;
  if (out_.table.struct_size < sizeof(ephor_plugin) - sizeof(void*) ||
      out_.table.struct_size > sizeof(ephor_plugin)) {
    host_->note(Rule::structs, "create: found out->struct_size " +
                                   std::to_string(out_.table.struct_size) + ", expected " +
                                   std::to_string(sizeof(ephor_plugin)));
  }
  return status;
}

ephor_status Subject::start() {
  if (out_.table.start == nullptr) return EPHOR_OK;
  const ephor_status status = call(CallKind::start, "start", error_, [&](ephor_error* error) {
    return out_.table.start(out_.table.self, error);
  });
  host_->registering_ends();
  is_started_ = status == EPHOR_OK;
  return status;
}

ephor_status Subject::on_events(const EventSlice& slice) {
  if (out_.table.on_events == nullptr) return EPHOR_OK;
  const auto count = static_cast<std::uint32_t>(slice.events().size());
  host_->slice_begins(slice.events().data(), count);
  const ephor_status status =
      call(CallKind::on_events, "on_events", error_, [&](ephor_error* error) {
        return out_.table.on_events(out_.table.self, slice.events().data(), count, error);
      });
  host_->slice_ends();
  return status;
}

ephor_status Subject::drain(std::int64_t deadline_ns) {
  if (out_.table.drain == nullptr) return EPHOR_OK;
  return call(CallKind::drain, "drain", error_, [&](ephor_error* error) {
    return out_.table.drain(out_.table.self, deadline_ns, error);
  });
}

ephor_status Subject::stop() {
  host_->join_tasks();  // every task has ended before
  is_stopped_ = true;
  if (out_.table.stop == nullptr) return EPHOR_OK;
  const ephor_status status = call(CallKind::stop, "stop", error_, [&](ephor_error* error) {
    return out_.table.stop(out_.table.self, error);
  });
  host_->stopped();
  return status;
}

void Subject::destroy() {
  host_->join_tasks();
  is_created_ = false;
  if (out_.table.destroy != nullptr) {
    ephor_error unused{};
    call(CallKind::destroy, "destroy", unused, [&](ephor_error*) {
      out_.table.destroy(out_.table.self);
      return EPHOR_OK;
    });
  }
  host_->destroyed();
}

const void* Subject::extension(std::string_view id) {
  if (out_.table.get_extension == nullptr) return nullptr;
  const void* found = nullptr;
  const GuardedText text(id);
  ephor_error unused{};
  call(CallKind::table, "get_extension", unused, [&](ephor_error*) {
    found = out_.table.get_extension(out_.table.self, text.view());
    return EPHOR_OK;
  });
  return found;
}

const ephor_checkpoint* Subject::checkpoint() {
  return static_cast<const ephor_checkpoint*>(extension("ephor.storage/1"));
}

ephor_status Subject::save(std::string& state) {
  const ephor_checkpoint* table = checkpoint();
  if (table == nullptr) return EPHOR_UNSUPPORTED;
  std::string blob;
  ephor_writer writer{
      sizeof(ephor_writer), 0, &blob, [](void* to, ephor_view bytes) -> ephor_status {
        const allocations::HostSide ours;
        return guarded(nullptr, [&] { static_cast<std::string*>(to)->append(to_text(bytes)); });
      }};
  host_->storage().begin();
  const ephor_status status = call(CallKind::save, "save", error_, [&](ephor_error* error) {
    return table->save(out_.table.self, host_->rows(), &writer, error);
  });
  if (status == EPHOR_OK) {
    host_->storage().commit();
    state = std::move(blob);
  } else {
    host_->storage().roll_back();
  }
  return status;
}

ephor_status Subject::load(std::uint32_t version, std::string_view state) {
  const ephor_checkpoint* table = checkpoint();
  if (table == nullptr) return EPHOR_UNSUPPORTED;
  const GuardedText blob(state);
  return call(CallKind::load, "load", error_, [&](ephor_error* error) {
    return table->load(out_.table.self, version, blob.view(), error);
  });
}

Answer Subject::ask(const CheckingHost::Query& query, std::string_view request,
                    std::int64_t timeout_ns) {
  // Given up if the plugin may still finish it, so that it finds memory there.
  auto reply = std::make_unique<Reply>();
  reply->host = host_.get();
  reply->query = query.name;
  const std::int64_t deadline = monotonic_ns() + timeout_ns;
  ephor_reply plain{sizeof(ephor_reply), 0, reply.get(), &Reply::write, &Reply::finish, deadline};
  const GuardedText text(request);
  ephor_error error{};
  context_.step("ask " + query.name + (remark_.empty() ? "" : " " + remark_));
  error = fresh_error();
  ephor_status status = EPHOR_INTERNAL;
  try {
    const CallScope scope(*host_, CallKind::query);
    status = query.handler(query.user, text.view(), &plain, &error);
  } catch (...) {
    host_->note(Rule::exceptions, "query " + query.name + " threw an exception across the ABI");
    store_error(&error, EPHOR_INTERNAL, "an exception crossed the ABI");
  }
  look_at(status, error, "query " + query.name);
  std::unique_lock lock(reply->mutex);
  Answer& answer = reply->answer;
  if (status == EPHOR_PENDING) {
    answer.is_pending = true;
    constexpr std::int64_t kGraceNs = 500'000'000;
    answer.is_finished = reply->changed.wait_for(
        lock,
        std::chrono::nanoseconds(std::max<std::int64_t>(0, deadline - monotonic_ns()) + kGraceNs),
        [&] { return answer.finish_count > 0; });
    if (!answer.is_finished) answer.status = EPHOR_TIMEOUT;
  } else {
    if (answer.finish_count > 0) {
      host_->note(Rule::queries,
                  "query " + query.name + " was finished and answered without EPHOR_PENDING");
    }
    answer.status = status;
    answer.message = std::string(error.message, length_in(error.message, sizeof error.message));
  }
  Answer out = answer;
  reply->is_over = true;
  lock.unlock();
  if (out.is_pending) (void)reply.release();
  return out;
}

ephor_status Subject::run_command(const CheckingHost::Command& command, std::string_view arguments,
                                  std::string& out) {
  ephor_writer writer = string_writer(out);
  const GuardedText text(arguments);
  return call(CallKind::command, "command " + command.name, error_, [&](ephor_error* error) {
    return command.handler(command.user, text.view(), &writer, error);
  });
}

void Subject::must_create() {
  const ephor_status status = create(context_.config_text());
  if (status == EPHOR_OK) return context_.note_created();
  if (!context_.has_created()) Context::blocked_by("config/default_creates");
  Context::fail("create failed with " + described(status) + " after it had succeeded before");
}

void Subject::must_start() {
  const ephor_status status = start();
  if (status != EPHOR_OK) Context::fail("start failed with " + described(status));
}

void Subject::must_stop() {
  const ephor_status status = stop();
  if (status != EPHOR_OK) Context::fail("stop failed with " + described(status));
}

void Subject::must_handle(const EventSlice& slice) {
  const ephor_status status = on_events(slice);
  if (status != EPHOR_OK) Context::fail("on_events failed with " + described(status));
}

}  // namespace ephor::host::check
