// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "check/event_slice.hpp"

namespace ephor::host::check {

// What clients and the host send to a plugin: an endless session of the events in docs/events.md
// that its patterns want, valid and the same in every run. Ids repeat after kCycle events of a
// topic, so that what is kept by id stays bounded.
class Traffic {
 public:
  static constexpr std::uint64_t kCycle = 200;
  static constexpr std::int64_t kBeginNs = 1'700'000'000'000'000'000;
  static constexpr std::int64_t kStepNs = 100'000'000;

  explicit Traffic(const std::vector<std::string>& patterns);

  // The topics it consists of; none: the plugin wants no event.
  const std::vector<std::string>& topics() const { return topics_; }
  bool is_empty() const { return topics_.empty(); }
  // Documented, so that a plugin that asks for the topic must handle the event.
  static bool is_documented(std::string_view topic);

  // Event `number` of the session: its topic changes from one to the next.
  void add(EventSlice& slice, std::uint64_t number) const;
  EventSlice slice(CheckingHost& host, std::uint64_t from, std::uint64_t count) const;

  // The data of one event; `turn` counts the events of that topic.
  static nlohmann::json data_of(std::string_view topic, std::uint64_t turn, std::int64_t time_ns);
  // With data of the caller's; whatever is not set is made as for event `number`.
  static void add_with(EventSlice& slice, std::string_view topic, std::uint64_t number,
                       std::string_view data_json, std::int64_t time_ns, std::uint8_t flags = 0,
                       std::uint64_t sequence = 0);

  static std::int64_t time_of(std::uint64_t number) {
    return kBeginNs + static_cast<std::int64_t>(number) * kStepNs;
  }
  static std::uint64_t sequence_of(std::uint64_t number) { return (number + 16) << 16; }

 private:
  std::vector<std::string> topics_;
};

// One opentelemetry.proto.trace.v1.Span as bytes.
std::string otlp_span(std::uint64_t turn, std::int64_t time_ns);

}  // namespace ephor::host::check
