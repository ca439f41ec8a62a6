// SPDX-License-Identifier: Apache-2.0
//
// The host's side of what a runner asks: each request becomes a call of the real ephor_host and its
// extensions, and its result goes back. What comes from the runner is checked before it is used.
#pragma once

#include <ephor/abi.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "isolation/channel.hpp"

namespace ephor::host::isolation {

class HostCalls {
 public:
  // `host` outlives it. Fetches the extensions the host has.
  explicit HostCalls(const ephor_host& host);

  void use(Channel& channel) { channel_ = &channel; }

  // What the runner is told when it creates the plugin: which extensions there are, the log level.
  std::string offered() const;

  Reply answer(Method method, std::uint64_t call, std::string_view body);  // [pool]
  void notice(Method method, std::string_view body);                       // [reader]

  // [dispatch] Hands over drafts in the encoding of put_draft.
  ephor_status publish(std::string_view drafts, ephor_error* error);

  // [reader] Into the host's log and the instance's health.
  void tell_loss(const std::string& text);

  // [any] No call begins any more and every answer still owed is given as a failure; waits until
  // the calls into the runner have come back.
  void end(const std::string& why);

 private:
  // What the registry holds of a query or command of the runner.
  struct Stub {
    HostCalls* calls = nullptr;
    std::uint64_t number = 0;
    std::string name;
  };
  // A call from the registry into the runner; `end` waits for those that are open.
  class OpenCall {
   public:
    explicit OpenCall(HostCalls& calls);  // throws ephor::Error if it is over
    ~OpenCall();
    OpenCall(const OpenCall&) = delete;
    OpenCall& operator=(const OpenCall&) = delete;

   private:
    HostCalls& calls_;
  };
  // An answer that the runner may give later.
  struct Owed {
    ephor_reply reply{};
    bool is_pending = false;  // the handler has said so: finish is ours to call
    bool has_come = false;    // it was finished before that
    Reply result;
  };

  static ephor_status query(void* user, ephor_view request, ephor_reply* reply, ephor_error* error);
  static ephor_status command(void* user, ephor_view arguments, ephor_writer* out,
                              ephor_error* error);

  ephor_status answer_query(const Stub& stub, ephor_view request, ephor_reply& reply,
                            ephor_error* error);
  Reply subscribe(StateReader& in);
  Reply topic_id(StateReader& in);
  Reply render_json(StateReader& in);
  Reply provide_query(StateReader& in);
  Reply call_query(StateReader& in);
  Reply add_route(StateReader& in);
  Reply visit_routes();
  Reply select(StateReader& in, std::uint64_t call);
  Reply ingest(StateReader& in);
  Reply find(StateReader& in, std::uint64_t call);
  Reply read(StateReader& in, std::uint64_t call);
  Reply provide_command(StateReader& in);
  Reply series(StateReader& in);
  void set_metrics(StateReader& in);
  void finish_query(StateReader& in);
  static void finish(const ephor_reply& reply, const Reply& result);

  template <typename Call>
  Reply written(Call&& call);  // of a call with an ephor_writer
  template <typename Table>
  const Table& needed(const Table* table) const;

  const ephor_host& host_;
  Channel* channel_ = nullptr;
  const ephor_query* query_ = nullptr;
  const ephor_http* http_ = nullptr;
  const ephor_storage* storage_ = nullptr;
  const ephor_journal* journal_ = nullptr;
  const ephor_command* command_ = nullptr;
  const ephor_metrics* metrics_ = nullptr;
  const ephor_log* log_ = nullptr;
  const ephor_health* health_ = nullptr;
  const ephor_task* task_ = nullptr;

  std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::deque<Stub> stubs_;             // stable addresses: the registry has them
  std::vector<std::uint64_t> series_;  // the runner's handle is the place in it, from 1
  std::map<std::uint64_t, Owed> owed_;
  std::uint64_t last_owed_ = 0;
  std::size_t calls_open_ = 0;
  bool has_ended_ = false;
};

}  // namespace ephor::host::isolation
