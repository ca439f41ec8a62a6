// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/abi.h>

#include <cstdint>
#include <string_view>

namespace ephor::host {

class Instance;

// The C tables of the host as one instance sees them: argument checks, and the wall that keeps
// exceptions on this side.
struct InstanceTables {
  explicit InstanceTables(Instance& instance);

  ephor_host host;
  ephor_query query;
  ephor_http http;
  ephor_storage storage;
  ephor_journal journal;
  ephor_command command;
  ephor_metrics metrics;
  ephor_log log;
  ephor_health health;
  ephor_task task;

  const void* extension(std::string_view id) const;

 private:
  static Instance& self(void* context) { return *static_cast<Instance*>(context); }
  struct Calls;  // the functions behind the tables
};

// Answers `name` with the registry's provider. Throws HostError.
struct QueryCall {
  std::string_view name;
  std::string_view request;
  std::int64_t timeout_ns = 0;  // <= 0: kQueryTimeoutNs
  std::uint64_t after_sequence = 0;
};
inline constexpr std::int64_t kQueryTimeoutNs = 10'000'000'000;
void call_query(class Registry& registry, const QueryCall& call, ephor_writer* answer,
                std::uint64_t* as_of_sequence);

}  // namespace ephor::host
