// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/abi.h>

#include <stdexcept>
#include <string>

namespace ephor::host {

// A failure of the host with a status that can cross the ABI. What: where, what was found, what was
// expected.
class HostError : public std::runtime_error {
 public:
  HostError(ephor_status status, const std::string& what)
      : std::runtime_error(what), status_(status) {}
  ephor_status status() const { return status_; }

 private:
  ephor_status status_;
};

}  // namespace ephor::host
