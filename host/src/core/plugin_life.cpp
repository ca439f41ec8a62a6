// SPDX-License-Identifier: Apache-2.0
#include "core/plugin_life.hpp"

#include <ephor/plugin.hpp>

#include "core/abi_check.hpp"
#include "core/instance_settings.hpp"
#include "core/plugin_call.hpp"
#include "event/error.hpp"

namespace ephor::host {
namespace {

class LocalLife final : public PluginLife {
 public:
  explicit LocalLife(const ephor_plugin& table) : table_(table) {}
  ~LocalLife() override {
    if (table_.destroy == nullptr) return;
    ephor_error error = fresh_error();
    contained_call(error, [&] {
      table_.destroy(table_.self);
      return EPHOR_OK;
    });
  }
  const ephor_plugin& table() const override { return table_; }

 private:
  const ephor_plugin table_;
};

}  // namespace

std::unique_ptr<PluginLife> make_local_life(const InstanceSettings& settings,
                                            const ephor_host& host) {
  ephor_plugin table{};
  table.struct_size = sizeof table;
  ephor_error error = fresh_error();
  const ephor_status status = contained_call(error, [&] {
    return settings.plugin.info->create(&host, to_view(settings.name),
                                        to_view(settings.config_json), &table, &error);
  });
  if (status != EPHOR_OK) {
    throw HostError(status, described("plugin " + settings.name + ": create", status, error));
  }
  try {
    check_table("plugin " + settings.name, table, sizeof table);
  } catch (const HostError&) {
    const LocalLife unusable(table);  // destroys what was made, if the table came as far as that
    throw;
  }
  return std::make_unique<LocalLife>(table);
}

}  // namespace ephor::host
