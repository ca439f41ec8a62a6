// SPDX-License-Identifier: Apache-2.0
#include "core/registry.hpp"

#include <algorithm>
#include <mutex>

#include "core/instance.hpp"
#include "core/logger.hpp"
#include "event/error.hpp"

namespace ephor::host {
namespace {

// Parameter names do not tell routes apart: "/a/{x}" and "/a/{y}" are one address.
std::string address(std::string_view method, std::string_view path) {
  std::string out = std::string(method) + " ";
  bool is_in_name = false;
  for (const char c : path) {
    if (c == '}') is_in_name = false;
    if (!is_in_name) out += c;
    if (c == '{') is_in_name = true;
  }
  return out;
}

std::string_view owner_of(const RouteEntry& route) { return route.instance; }
std::string_view owner_of(const QueryEntry& query) { return query.provider(); }
std::string_view owner_of(const CommandEntry& command) { return command.instance->name(); }

// The entry that stands in the way; none if it was of the same instance's last life.
template <typename Entries, typename Entry>
const Entry* add_to(Entries& entries, const std::string& key, const Entry& entry) {
  const auto [at, is_new] = entries.try_emplace(key, entry);
  if (is_new) return nullptr;
  if (!at->second.is_stale || owner_of(at->second) != owner_of(entry)) return &at->second;
  at->second = entry;
  return nullptr;
}

}  // namespace

std::string_view QueryEntry::provider() const {
  return instance != nullptr ? std::string_view(instance->name()) : kHostName;
}

void Registry::add_query(QueryEntry query) {
  const std::unique_lock lock(mutex_);
  if (const QueryEntry* other = add_to(queries_, query.name, query)) {
    throw HostError(EPHOR_CONFLICT, "query " + query.name + " is already provided by instance " +
                                        std::string(owner_of(*other)));
  }
}

void Registry::add_route(RouteEntry route) {
  if (!route.path.starts_with('/') || route.method.empty()) {
    throw HostError(EPHOR_INVALID, "route: found \"" + route.method + " " + route.path +
                                       "\", expected a method and a path from /");
  }
  const std::unique_lock lock(mutex_);
  if (const RouteEntry* other = add_to(routes_, address(route.method, route.path), route)) {
    throw HostError(EPHOR_CONFLICT, "route " + route.method + " " + route.path +
                                        " is already provided by instance " +
                                        std::string(owner_of(*other)));
  }
  routes_generation_.fetch_add(1);
}

void Registry::add_command(CommandEntry command) {
  const std::unique_lock lock(mutex_);
  if (const CommandEntry* other = add_to(commands_, command.name, command)) {
    throw HostError(EPHOR_CONFLICT, "command " + command.name +
                                        " is already provided by instance " +
                                        std::string(owner_of(*other)));
  }
}

template <typename Entries>
std::size_t Registry::drop(Entries& entries, std::string_view instance, bool only_stale) {
  return std::erase_if(entries, [&](const auto& entry) {
    return owner_of(entry.second) == instance && (entry.second.is_stale || !only_stale);
  });
}

void Registry::begin_renewal(std::string_view instance) {
  const std::unique_lock lock(mutex_);
  const auto mark = [&](auto& entries) {
    for (auto& [unused, entry] : entries) {
      if (owner_of(entry) == instance) entry.is_stale = true;
    }
  };
  mark(queries_);
  mark(routes_);
  mark(commands_);
}

void Registry::end_renewal(std::string_view instance) {
  const std::unique_lock lock(mutex_);
  drop(queries_, instance, true);
  drop(commands_, instance, true);
  if (drop(routes_, instance, true) != 0) routes_generation_.fetch_add(1);
}

void Registry::remove_of(std::string_view instance) {
  const std::unique_lock lock(mutex_);
  drop(queries_, instance, false);
  drop(commands_, instance, false);
  if (drop(routes_, instance, false) != 0) routes_generation_.fetch_add(1);
}

std::optional<QueryEntry> Registry::query(std::string_view name) const {
  const std::shared_lock lock(mutex_);
  const auto found = queries_.find(name);
  return found == queries_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<QueryEntry> Registry::queries() const {
  const std::shared_lock lock(mutex_);
  std::vector<QueryEntry> out;
  for (const auto& [name, query] : queries_) out.push_back(query);
  return out;
}

void Registry::visit_routes(const std::function<void(const RouteEntry&)>& visitor) const {
  const std::shared_lock lock(mutex_);
  for (const auto& [unused, route] : routes_) visitor(route);
}

std::optional<CommandEntry> Registry::command(std::string_view name) const {
  const std::shared_lock lock(mutex_);
  const auto found = commands_.find(name);
  return found == commands_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<CommandEntry> Registry::commands() const {
  const std::shared_lock lock(mutex_);
  std::vector<CommandEntry> out;
  for (const auto& [name, command] : commands_) out.push_back(command);
  return out;
}

}  // namespace ephor::host
