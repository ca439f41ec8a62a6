// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace ephor::host {

// Who knows the state of the whole host; see ephor_health.snapshot.
class HealthBoard {
 public:
  virtual ~HealthBoard() = default;
  virtual std::string health_json() const = 0;  // [any]
};

}  // namespace ephor::host
