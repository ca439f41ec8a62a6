// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/abi.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "check/guarded_text.hpp"

namespace ephor::host::check {

class CheckingHost;

// Events as a plugin gets them, each record in guarded memory that goes away with the slice.
class EventSlice {
 public:
  explicit EventSlice(CheckingHost& host) : host_(host) {}

  struct Made {
    std::string topic;
    std::string data_json = "{}";
    std::uint64_t sequence = 0;  // 0: the next in order
    std::int64_t time_ns = 1'700'000'000'000'000'000;
    std::string source = "check";
    std::string correlation_id = {};
    std::uint8_t flags = 0;
  };
  // A CloudEvent around the data; the descriptor names what is in it.
  ephor_event& add(const Made& made);
  // Any bytes as a record; `data_offset` may lie anywhere in it.
  ephor_event& add_raw(std::string_view record, std::uint32_t data_offset, const Made& made);

  const std::vector<ephor_event>& events() const { return events_; }
  std::vector<ephor_event>& events() { return events_; }

 private:
  CheckingHost& host_;
  std::deque<GuardedText> records_;
  std::vector<ephor_event> events_;
};

}  // namespace ephor::host::check
