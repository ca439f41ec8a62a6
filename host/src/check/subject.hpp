// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/abi.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "check/allocations.hpp"
#include "check/checking_host.hpp"
#include "check/context.hpp"
#include "check/event_slice.hpp"

namespace ephor::host::check {

// What a query came to.
struct Answer {
  ephor_status status = EPHOR_OK;
  std::string body;
  std::string message;      // of a failure
  bool is_pending = false;  // EPHOR_PENDING was returned
  bool is_finished = true;  // false: pending, and the deadline passed
  std::uint32_t finish_count = 0;
};

// One instance of the plugin under a checking host of its own. Every call names its step, gives
// memory that dies with the call, and looks at what came back: the status, the error's texts, an
// exception, bytes behind `out`. What is wrong is noted at the host. The calls of one instance come
// one at a time, except `ask`.
class Subject {
 public:
  Subject(Context& context, HostOptions options = {});
  // Stops and destroys what lives; after a failed check it leaves everything as it is.
  ~Subject();
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  CheckingHost& host() { return *host_; }

  ephor_status create(std::string_view config);
  ephor_status start();
  ephor_status on_events(const EventSlice& slice);
  ephor_status drain(std::int64_t deadline_ns);
  ephor_status stop();
  void destroy();
  // save commits its rows into the host's storage if it succeeds.
  ephor_status save(std::string& state);
  ephor_status load(std::uint32_t version, std::string_view state);
  // Waits for a late answer until the deadline and half a second more. Any thread.
  Answer ask(const CheckingHost::Query& query, std::string_view request,
             std::int64_t timeout_ns = 5'000'000'000);
  ephor_status run_command(const CheckingHost::Command& command, std::string_view arguments,
                           std::string& out);

  // The same, and the check fails if they do.
  void must_create();  // with the context's configuration
  void must_start();
  void must_stop();
  void must_handle(const EventSlice& slice);

  // In the calls from here on, the allocation of that number (1: the first) of the calling thread
  // and all behind it fail; 0: none. Only where allocations::is_counted().
  void fail_allocations_from(std::uint64_t number,
                             std::size_t bytes_min = allocations::kFailingBytes) {
    failing_allocation_ = number;
    failing_bytes_ = bytes_min;
  }

  // Said with every call from here on: "whose value is null".
  void remark(std::string text) { remark_ = std::move(text); }

  bool is_created() const { return is_created_; }
  const ephor_plugin& table() const { return out_.table; }
  // NULL if it keeps no state.
  const ephor_checkpoint* checkpoint();
  const void* extension(std::string_view id);
  // Of the last failed create: nothing was written to `out`.
  bool is_out_untouched() const;

  // Of the last call on this thread's turn.
  const ephor_error& error() const { return error_; }
  double seconds() const { return seconds_; }
  // "INVALID (2): message at /pointer".
  std::string described(ephor_status status) const;

 private:
  template <typename Body>
  ephor_status call(CallKind kind, std::string_view name, ephor_error& error, const Body& body);
  void look_at(ephor_status status, const ephor_error& error, std::string_view name);
  void make_out();
  ephor_error fresh_error() const;

  struct Out {
    ephor_plugin table;
    unsigned char behind[64];  // must stay as it is
  };

  Context& context_;
  std::unique_ptr<CheckingHost> host_;
  Out out_{};
  Out out_before_{};
  ephor_error error_{};
  double seconds_ = 0.0;
  std::uint64_t failing_allocation_ = 0;
  std::size_t failing_bytes_ = allocations::kFailingBytes;
  std::string remark_;
  bool is_created_ = false;
  bool is_started_ = false;
  bool is_stopped_ = false;
};

// The name of a status and its number: "FULL (6)".
std::string status_text(ephor_status status);

// Fails the check with every violation of these rules; none: passes.
void require_no(CheckingHost& host, std::initializer_list<Rule> rules);

}  // namespace ephor::host::check
