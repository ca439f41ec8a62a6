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
  Instance* instance = nullptr;
  ephor_query_handler handler = nullptr;
  void* user = nullptr;
};

struct RouteEntry {
  std::string method, path, query, scope, summary, request_schema, response_schema, content_type;
  std::string instance;
};

struct CommandEntry {
  std::string name;
  std::string summary;
  Instance* instance = nullptr;
  ephor_command_handler handler = nullptr;
  void* user = nullptr;
};

// Thread-safe.
class Registry {
 public:
  // Each throws HostError EPHOR_CONFLICT naming the instance that has it, EPHOR_INVALID otherwise.
  void add_query(QueryEntry query);
  void add_route(RouteEntry route);
  void add_command(CommandEntry command);

  void remove_of(const Instance& instance);  // all of its entries

  std::optional<QueryEntry> query(std::string_view name) const;
  std::vector<QueryEntry> queries() const;  // sorted by name
  void visit_routes(const std::function<void(const RouteEntry&)>& visitor) const;
  std::optional<CommandEntry> command(std::string_view name) const;
  std::vector<CommandEntry> commands() const;
  std::uint64_t routes_generation() const { return routes_generation_.load(); }

 private:
  mutable std::shared_mutex mutex_;  // guards the maps
  std::map<std::string, QueryEntry, std::less<>> queries_;
  std::map<std::string, RouteEntry, std::less<>> routes_;  // "METHOD /path/{}" -> route
  std::map<std::string, CommandEntry, std::less<>> commands_;
  std::atomic<std::uint64_t> routes_generation_{0};
};

}  // namespace ephor::host
