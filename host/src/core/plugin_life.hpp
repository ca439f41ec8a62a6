// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/abi.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace ephor::host {

struct InstanceSettings;

// One made plugin object, wherever it lives. Its end destroys the object ([control]; it was stopped
// before).
class PluginLife {
 public:
  virtual ~PluginLife() = default;

  virtual const ephor_plugin& table() const = 0;

  // [any] The process it lived in has ended: every call fails, and only a new life helps.
  virtual bool is_lost() const { return false; }
  // [any] Why, in words: "process 4711: signal 11 (Segmentation fault)".
  virtual std::string loss() const { return {}; }
  // [any] Ends a process of its own at once, so that a call that hangs comes back with a failure.
  // False, and nothing happens, if it lives in the host's.
  virtual bool kill(std::string_view /*why*/) { return false; }
  // [any] Of a process of its own; 0 otherwise.
  virtual int process_id() const { return 0; }
  virtual std::uint64_t resident_bytes() const { return 0; }
};

// Makes the object in this process. `host` and what it leads to outlive it. Throws HostError with
// the plugin's own words.
std::unique_ptr<PluginLife> make_local_life(const InstanceSettings& settings,
                                            const ephor_host& host);

}  // namespace ephor::host
