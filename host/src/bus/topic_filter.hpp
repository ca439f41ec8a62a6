// SPDX-License-Identifier: Apache-2.0
//
// Which topics a subscription wants. Grammar as in NATS: tokens parted by '.', '*' stands for
// exactly one token, a final '>' for one or more. Text is looked at once per topic number; after
// that a match is one byte looked up.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "event/interner.hpp"

namespace ephor::host {

class TopicFilter {
 public:
  // Matches every topic.
  TopicFilter() = default;
  // `topics` outlives the filter. A topic matches if any pattern does; no pattern: nothing matches.
  // Throws HostError(EPHOR_INVALID) that names the bad pattern.
  TopicFilter(const Interner& topics, std::vector<std::string> patterns);

  // Not thread-safe: a filter belongs to one reader.
  bool matches(std::uint16_t topic) {
    if (matches_all_) return true;
    if (topic < verdicts_.size() && verdicts_[topic] != kUnknown) {
      return verdicts_[topic] == kMatches;
    }
    return resolve(topic);
  }
  // True if no topic can fail, so that a caller need not look at each event.
  bool matches_all() const { return matches_all_; }

 private:
  static constexpr std::uint8_t kUnknown = 0;
  static constexpr std::uint8_t kFails = 1;
  static constexpr std::uint8_t kMatches = 2;

  bool resolve(std::uint16_t topic);

  const Interner* topics_ = nullptr;
  std::vector<std::string> patterns_;
  std::vector<std::uint8_t> verdicts_;  // by topic number
  bool matches_all_ = true;
};

// Throws HostError(EPHOR_INVALID): where, what was found, what was expected.
void check_topic_pattern(std::string_view pattern);

// Text against text, for callers without topic numbers. `pattern` has passed check_topic_pattern.
bool topic_matches(std::string_view pattern, std::string_view topic);

}  // namespace ephor::host
