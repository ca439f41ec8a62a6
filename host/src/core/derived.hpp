// SPDX-License-Identifier: Apache-2.0
//
// Events that the host writes itself: what plugins derive, and its own ticks, flushes and states.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "event/batch.hpp"
#include "event/interner.hpp"
#include "ingest/envelope.hpp"

namespace ephor::host {

// A plugin's draft, owned, with what names it: (epoch, instance, cause, index).
struct DerivedDraft {
  std::string topic;
  std::string data_json;
  std::string correlation_id;
  std::array<std::uint8_t, 16> trace_id{};
  std::string_view instance;  // outlives the draft
  std::string_view epoch;     // outlives the draft
  std::uint32_t instance_order = 0;
  std::uint32_t index = 0;  // among the drafts of this cause
  std::uint64_t cause_sequence = 0;
  std::int64_t time_ns = 0;  // the cause's
};

// Log order of derived events: by cause, instance, index.
bool comes_before(const DerivedDraft& a, const DerivedDraft& b);

// A batch of their records, described and flagged EPHOR_EVENT_DERIVED. A draft whose topic or data
// is bad is left out and reported in `faults`, one text each.
BatchPointer build_derived(std::span<const DerivedDraft> drafts, Describer& describer,
                           std::int64_t arrived_ns, std::vector<std::string>& faults);

// The record of one of the host's own events; source "ephor".
std::string host_record(std::string_view topic, std::string_view id, std::int64_t time_ns,
                        std::string_view data_json);
inline constexpr std::string_view kHostSource = "ephor";

// Moves `records` into one buffer of the batch and appends an event for each, flagged
// EPHOR_EVENT_HOST, not deduplicated (id all zero).
void append_host_events(Batch& batch, std::span<const std::string> records, Describer& describer,
                        std::vector<ephor_event>& events);

}  // namespace ephor::host
