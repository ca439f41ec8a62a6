// SPDX-License-Identifier: Apache-2.0
#include "core/topic_tally.hpp"

#include <algorithm>

namespace ephor::host {

TopicTally::~TopicTally() {
  for (const auto& page : pages_) delete page.load();
}

TopicTally::Entry& TopicTally::entry(std::uint16_t topic) {
  std::atomic<Page*>& page = pages_[topic >> 8];
  if (page.load(std::memory_order_relaxed) == nullptr) {
    page.store(new Page, std::memory_order_release);
  }
  return (*page.load(std::memory_order_relaxed))[topic & 0xff];
}

// A batch mostly holds runs of one topic.
void TopicTally::count(std::span<const ephor_event> events) {
  for (std::size_t at = 0; at < events.size();) {
    const std::uint16_t topic = events[at].topic;
    std::int64_t last_ns = events[at].time_ns;
    const std::size_t begin = at;
    for (++at; at < events.size() && events[at].topic == topic; ++at) {
      last_ns = std::max(last_ns, events[at].time_ns);
    }
    Entry& one = entry(topic);
    one.events.store(one.events.load(std::memory_order_relaxed) + (at - begin),
                     std::memory_order_relaxed);
    one.last_ns.store(std::max(one.last_ns.load(std::memory_order_relaxed), last_ns),
                      std::memory_order_relaxed);
  }
}

void TopicTally::visit(const Visitor& visitor) const {
  for (std::size_t high = 0; high < pages_.size(); ++high) {
    const Page* page = pages_[high].load(std::memory_order_acquire);
    if (page == nullptr) continue;
    for (std::size_t low = 0; low < page->size(); ++low) {
      const std::uint64_t events = (*page)[low].events.load(std::memory_order_relaxed);
      if (events == 0) continue;
      visitor(static_cast<std::uint16_t>(high << 8 | low), events,
              (*page)[low].last_ns.load(std::memory_order_relaxed));
    }
  }
}

}  // namespace ephor::host
