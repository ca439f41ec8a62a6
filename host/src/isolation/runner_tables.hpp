// SPDX-License-Identifier: Apache-2.0
//
// The ephor_host of an isolated plugin: the same tables, each function of which asks the real host.
// What can be answered here is: names by their numbers, log levels, metric sums, JSON records.
#pragma once

#include <ephor/abi.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/task_pool.hpp"
#include "isolation/channel.hpp"

namespace ephor::host::isolation {

class RunnerTables {
 public:
  explicit RunnerTables(Channel& channel);

  // Before the plugin is created: what HostCalls::offered wrote.
  void take_offered(StateReader& in);
  const ephor_host& host() const { return host_; }

  // [dispatch] The slice in hand; drafts are gathered in `drafts` (kDraftBytesMax).
  void begin_slice(std::span<const ephor_event> events, char* drafts);
  std::size_t end_slice();  // how many bytes of drafts there are

  // Answers a request of the host for what the plugin registered.
  Reply run_query(StateReader& in);
  Reply run_command(StateReader& in, std::uint64_t call);

  void flush_metrics();   // [any] sends what add and set have changed
  void wait_for_tasks();  // until every task of the plugin has ended

 private:
  struct Calls;
  struct Query {
    ephor_query_handler handler = nullptr;
    void* user = nullptr;
  };
  struct Command {
    ephor_command_handler handler = nullptr;
    void* user = nullptr;
  };
  // What add and set came to since the last flush.
  struct Series {
    bool is_changed = false;
    bool is_set = false;
    double base = 0.0;
    double added = 0.0;
  };

  void publish(const ephor_draft* drafts, std::uint32_t count);
  std::uint16_t topic_id(std::string_view name);
  template <typename Number>
  ephor_view name(std::unordered_map<Number, std::string>& names, Method method, Number number);

  Channel& channel_;
  std::set<std::string, std::less<>> offered_;

  ephor_host host_;
  ephor_query query_;
  ephor_http http_;
  ephor_storage storage_;
  ephor_journal journal_;
  ephor_command command_;
  ephor_metrics metrics_;
  ephor_log log_;
  ephor_health health_;
  ephor_task task_;

  // [dispatch]
  std::span<const ephor_event> slice_;
  char* drafts_ = nullptr;
  std::size_t draft_bytes_ = 0;

  std::shared_mutex names_mutex_;  // guards down to topic_ids_; the texts never move
  std::unordered_map<std::uint16_t, std::string> topics_;
  std::unordered_map<std::uint32_t, std::string> sources_;
  std::unordered_map<std::string, std::uint16_t> topic_ids_;

  std::mutex registered_mutex_;  // guards the deques
  std::deque<Query> queries_;
  std::deque<Command> commands_;

  std::mutex metrics_mutex_;  // guards series_; held while a flush is sent, to keep their order
  std::vector<Series> series_;

  TaskPool tasks_{2};
};

}  // namespace ephor::host::isolation
