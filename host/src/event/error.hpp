// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/abi.h>

#include <cstdint>
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

// Stored bytes that cannot be what was written. `is_structural`: the file's own pages, so that more
// than one record may be lost; otherwise one batch's content. first and last are the journal
// positions concerned, 0 where that is not known.
class DamageError : public HostError {
 public:
  explicit DamageError(const std::string& what, bool whole_pages = true, std::uint64_t first = 0,
                       std::uint64_t last = 0, std::uint64_t event_count = 0)
      : HostError(EPHOR_IO, what),
        is_structural(whole_pages),
        first_position(first),
        last_position(last),
        events(event_count) {}

  const bool is_structural;
  const std::uint64_t first_position;
  const std::uint64_t last_position;
  const std::uint64_t events;  // 0: not known
};

}  // namespace ephor::host
