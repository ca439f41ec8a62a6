// SPDX-License-Identifier: Apache-2.0
//
// What stands around each call of on_events: the watch over how long it takes (call_board), its
// figures, and that nothing it throws gets past. tests/bench/abi_hop_bench.cpp measures it.
#pragma once

#include <ephor/abi.h>

#include <cstdint>

#include "core/call_board.hpp"
#include "core/plugin_call.hpp"
#include "core/subscription_stats.hpp"

namespace ephor::host {

struct Delivery {
  ephor_status status = EPHOR_OK;
  std::int64_t took_ns = 0;
};

// [dispatch] Hands 1 to 256 events to a plugin. `error`: fresh.
inline Delivery deliver_to(const ephor_plugin& table, const ephor_event* events,
                           std::uint32_t count, CallBoard& calls, SubscriptionStats& stats,
                           ephor_error& error) {
  Delivery made;
  stats.begin();
  {
    const CallBoard::Scope scope(calls, "on_events", events[0].sequence);
    made.status =
        contained_call(error, [&] { return table.on_events(table.self, events, count, &error); });
  }
  made.took_ns = stats.end();
  return made;
}

}  // namespace ephor::host
