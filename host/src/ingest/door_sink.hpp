// SPDX-License-Identifier: Apache-2.0
//
// Where a reader of a foreign format puts what it finds in a body.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "event/batch.hpp"
#include "event/hash.hpp"
#include "ingest/fault.hpp"

namespace ephor::host {

struct JoinId {
  JoinKind kind = JoinKind::trace;
  std::uint64_t hash = 0;  // hash64 of the id's text
};

class DoorSink {
 public:
  // One record that is one event. `is_in_body`: its bytes lie in the body that arrived; otherwise
  // they are copied. `line`: number of the item in the body, from 1.
  virtual void take(const ephor_event& event, bool is_in_body, const Hash128& id,
                    std::span<const JoinId> joins, std::uint32_t line) = 0;
  virtual void reject(std::uint32_t line, Fault fault) = 0;

 protected:
  ~DoorSink() = default;
};

}  // namespace ephor::host
