// SPDX-License-Identifier: Apache-2.0
//
// What plugins register and the host carries: queries, routes onto them, commands.
#pragma once

#include <ephor/abi.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::host {

class Instance;

struct QueryEntry {
  std::string name;
  std::string summary;
  Instance* instance = nullptr;  // nullptr: the host answers it itself, by `answer`
  ephor_query_handler handler = nullptr;
  void* user = nullptr;
  bool is_stale = false;  // of a life that is over; its instance answers that it is not at work
  // [any] The answer's text to a JSON object. May throw.
  std::function<std::string(std::string_view request)> answer = {};

  std::string_view provider() const;  // the instance's name, or the host's
};

struct RouteEntry {
  std::string method, path, query, scope, summary, request_schema, response_schema, content_type;
  std::string instance;
  bool is_stale = false;
};

struct CommandEntry {
  std::string name;
  std::string summary;
  Instance* instance = nullptr;
  ephor_command_handler handler = nullptr;
  void* user = nullptr;
  bool is_stale = false;
};

// Thread-safe.
class Registry {
 public:
  // Each throws HostError EPHOR_CONFLICT naming the instance that has it, EPHOR_INVALID otherwise.
  void add_query(QueryEntry query);
  void add_route(RouteEntry route);
  void add_command(CommandEntry command);

  // An instance gets a new life: what it had stays, and is replaced by what the new life adds under
  // the same name; what it has not added by the end of the renewal goes.
  void begin_renewal(std::string_view instance);
  void end_renewal(std::string_view instance);
  void remove_of(std::string_view instance);  // all of its entries

  std::optional<QueryEntry> query(std::string_view name) const;
  std::vector<QueryEntry> queries() const;  // sorted by name
  void visit_routes(const std::function<void(const RouteEntry&)>& visitor) const;
  std::optional<CommandEntry> command(std::string_view name) const;
  std::vector<CommandEntry> commands() const;
  std::uint64_t routes_generation() const { return routes_generation_.load(); }

 private:
  template <typename Entries>
  static std::size_t drop(Entries& entries, std::string_view instance, bool only_stale);

  mutable std::shared_mutex mutex_;  // guards the maps
  std::map<std::string, QueryEntry, std::less<>> queries_;
  std::map<std::string, RouteEntry, std::less<>> routes_;  // "METHOD /path/{}" -> route
  std::map<std::string, CommandEntry, std::less<>> commands_;
  std::atomic<std::uint64_t> routes_generation_{0};
};

}  // namespace ephor::host
