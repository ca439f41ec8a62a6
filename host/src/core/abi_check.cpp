// SPDX-License-Identifier: Apache-2.0
#include "core/abi_check.hpp"

#include <ephor/plugin.hpp>

#include <utility>

#include "core/plugin_call.hpp"

namespace ephor::host {
namespace {

void check_view(const std::string& where, const char* field, ephor_view view) {
  if (view.data != nullptr || view.size == 0) return;
  throw HostError(EPHOR_INVALID, where + ": " + field + ": found " + std::to_string(view.size) +
                                     " bytes at NULL, expected text");
}

void check_views(const std::string& where, const char* field, const ephor_view* views,
                 std::uint32_t count) {
  if (count != 0 && views == nullptr) {
    throw HostError(EPHOR_INVALID, where + ": " + field + ": found NULL, expected " +
                                       std::to_string(count) + " ids");
  }
  for (std::uint32_t i = 0; i < count; ++i) check_view(where, field, views[i]);
}

ephor_status no_events(void*, const ephor_event*, std::uint32_t, ephor_error* error) {
  return store_error(error, EPHOR_UNSUPPORTED,
                     "the plugin subscribed, and its table has no on_events");
}

}  // namespace

void check_info(const std::string& where, const ephor_plugin_info& info) {
  check_whole(where, info);
  for (const auto& [field, view] :
       {std::pair{"id", info.id}, std::pair{"version", info.version},
        std::pair{"summary", info.summary}, std::pair{"config_schema", info.config_schema}}) {
    check_view(where, field, view);
  }
  check_views(where, "required_extensions", info.required_extensions, info.required_count);
  check_views(where, "optional_extensions", info.optional_extensions, info.optional_count);
}

void check_table(const std::string& where, ephor_plugin& table, std::uint32_t given) {
  check_whole(where + ": create", table);
  if (table.struct_size > given) {
    throw HostError(EPHOR_INVALID, where + ": create: found ephor_plugin of " +
                                       std::to_string(table.struct_size) +
                                       " bytes, expected at most the " + std::to_string(given) +
                                       " that the host gave");
  }
  if (table.on_events == nullptr) table.on_events = &no_events;
}

const ephor_checkpoint* checkpoint_of(const std::string& where, const ephor_plugin& table) {
  if (table.get_extension == nullptr) return nullptr;
  const void* found = nullptr;
  ephor_error error = fresh_error();
  const ephor_status status = contained_call(error, [&] {
    found = table.get_extension(table.self, to_view("ephor.storage/1"));
    return EPHOR_OK;
  });
  if (status != EPHOR_OK)
    throw HostError(status, described(where + ": get_extension", status, error));
  const auto* checkpoint = static_cast<const ephor_checkpoint*>(found);
  if (checkpoint == nullptr) return nullptr;
  check_whole(where + ": ephor.storage/1", *checkpoint);
  if (checkpoint->save == nullptr || checkpoint->load == nullptr) {
    throw HostError(EPHOR_INVALID, where + ": ephor.storage/1: found no " +
                                       (checkpoint->save == nullptr ? "save" : "load") +
                                       ", expected both save and load");
  }
  return checkpoint;
}

}  // namespace ephor::host
