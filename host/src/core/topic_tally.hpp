// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/abi.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <span>

namespace ephor::host {

// How many events of each topic were published, and when the newest of them happened. One thread
// counts, without a lock; any looks. Memory grows by 4 KiB for each 256 topics that occur.
class TopicTally {
 public:
  TopicTally() = default;
  ~TopicTally();
  TopicTally(const TopicTally&) = delete;
  TopicTally& operator=(const TopicTally&) = delete;

  void count(std::span<const ephor_event> events);

  // [any] Topics that occurred, by number; `last_ns`: greatest event time.
  using Visitor =
      std::function<void(std::uint16_t topic, std::uint64_t events, std::int64_t last_ns)>;
  void visit(const Visitor& visitor) const;

 private:
  struct Entry {
    std::atomic<std::uint64_t> events{0};
    std::atomic<std::int64_t> last_ns{INT64_MIN};
  };
  using Page = std::array<Entry, 256>;
  Entry& entry(std::uint16_t topic);

  std::array<std::atomic<Page*>, 256> pages_{};
};

}  // namespace ephor::host
