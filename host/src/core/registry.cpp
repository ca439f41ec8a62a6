// SPDX-License-Identifier: Apache-2.0
#include "core/registry.hpp"

#include <algorithm>
#include <mutex>

#include "core/instance.hpp"
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

}  // namespace

void Registry::add_query(QueryEntry query) {
  const std::unique_lock lock(mutex_);
  const auto [at, is_new] = queries_.try_emplace(query.name, query);
  if (!is_new) {
    throw HostError(EPHOR_CONFLICT, "query " + query.name + " is already provided by instance " +
                                        at->second.instance->name());
  }
}

void Registry::add_route(RouteEntry route) {
  if (!route.path.starts_with('/') || route.method.empty()) {
    throw HostError(EPHOR_INVALID, "route: found \"" + route.method + " " + route.path +
                                       "\", expected a method and a path from /");
  }
  const std::unique_lock lock(mutex_);
  const auto [at, is_new] = routes_.try_emplace(address(route.method, route.path), route);
  if (!is_new) {
    throw HostError(EPHOR_CONFLICT, "route " + route.method + " " + route.path +
                                        " is already provided by instance " + at->second.instance);
  }
  routes_generation_.fetch_add(1);
}

void Registry::add_command(CommandEntry command) {
  const std::unique_lock lock(mutex_);
  const auto [at, is_new] = commands_.try_emplace(command.name, command);
  if (!is_new) {
    throw HostError(EPHOR_CONFLICT, "command " + command.name +
                                        " is already provided by instance " +
                                        at->second.instance->name());
  }
}

void Registry::remove_of(const Instance& instance) {
  const std::unique_lock lock(mutex_);
  std::erase_if(queries_, [&](const auto& entry) { return entry.second.instance == &instance; });
  std::erase_if(routes_,
                [&](const auto& entry) { return entry.second.instance == instance.name(); });
  std::erase_if(commands_, [&](const auto& entry) { return entry.second.instance == &instance; });
  routes_generation_.fetch_add(1);
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
