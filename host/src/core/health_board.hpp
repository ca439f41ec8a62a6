// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace ephor::host {

class Instance;

// Who knows the state of the whole host; see ephor_health.snapshot.
class HealthBoard {
 public:
  virtual ~HealthBoard() = default;
  virtual std::string health_json() const = 0;  // [any]
  // [any] An instance was quarantined, came back, failed: worth an ephor.plugin event.
  virtual void state_changed(const Instance& instance, std::string_view state,
                             std::string_view reason) = 0;
};

}  // namespace ephor::host
