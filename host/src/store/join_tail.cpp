// SPDX-License-Identifier: Apache-2.0
#include "store/join_tail.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

namespace ephor::host {

void JoinTail::add(std::uint64_t position, std::span<const std::uint64_t> keys) {
  if (keys.empty()) return;
  auto segment = std::make_shared<Segment>();
  segment->first_position = position;
  segment->keys.assign(keys.begin(), keys.end());
  segment->offsets.assign(keys.size(), 0);
  push(std::move(segment));
}

void JoinTail::append(const JoinTail& newer) {
  for (const Pointer& segment : newer.segments_) push(segment);
}

void JoinTail::push(Pointer newest) {
  while (!segments_.empty() && segments_.back()->keys.size() <= 2 * newest->keys.size()) {
    newest = merge(*segments_.back(), *newest);
    segments_.pop_back();
  }
  segments_.push_back(std::move(newest));
}

JoinTail::Pointer JoinTail::merge(const Segment& older, const Segment& newer) {
  auto made = std::make_shared<Segment>();
  made->first_position = std::min(older.first_position, newer.first_position);
  const std::uint64_t older_shift = older.first_position - made->first_position;
  const std::uint64_t newer_shift = newer.first_position - made->first_position;
  constexpr std::uint64_t kOffsetMax = std::numeric_limits<std::uint32_t>::max();
  const auto offset_of = [&](const Segment& from, std::uint64_t shift, std::size_t at) {
    const std::uint64_t offset = from.offsets[at] + shift;
    if (offset > kOffsetMax) {
      throw std::runtime_error("join index: a run spans more than 2^32 batches");
    }
    return static_cast<std::uint32_t>(offset);
  };
  const std::size_t count = older.keys.size() + newer.keys.size();
  made->keys.reserve(count);
  made->offsets.reserve(count);
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < older.keys.size() || j < newer.keys.size()) {
    bool is_older = j == newer.keys.size();
    if (!is_older && i < older.keys.size()) {
      is_older = std::make_pair(older.keys[i], older.position(i)) <=
                 std::make_pair(newer.keys[j], newer.position(j));
    }
    made->keys.push_back(is_older ? older.keys[i] : newer.keys[j]);
    made->offsets.push_back(is_older ? offset_of(older, older_shift, i)
                                     : offset_of(newer, newer_shift, j));
    ++(is_older ? i : j);
  }
  return made;
}

void JoinTail::remove_before(std::uint64_t position) {
  std::vector<Pointer> before = std::exchange(segments_, {});
  for (const Pointer& segment : before) {
    auto kept = std::make_shared<Segment>();
    kept->first_position = segment->first_position;
    for (std::size_t i = 0; i < segment->keys.size(); ++i) {
      if (segment->position(i) < position) continue;
      kept->keys.push_back(segment->keys[i]);
      kept->offsets.push_back(segment->offsets[i]);
    }
    if (kept->keys.size() == segment->keys.size()) {
      push(segment);
    } else if (!kept->keys.empty()) {
      push(std::move(kept));
    }
  }
}

void JoinTail::find(std::span<const std::uint64_t> keys,
                    std::vector<std::uint64_t>& positions) const {
  for (const Pointer& segment : segments_) {
    for (const std::uint64_t key : keys) {
      auto at = std::lower_bound(segment->keys.begin(), segment->keys.end(), key);
      for (; at != segment->keys.end() && *at == key; ++at) {
        positions.push_back(
            segment->position(static_cast<std::size_t>(at - segment->keys.begin())));
      }
    }
  }
}

std::size_t JoinTail::size() const {
  std::size_t count = 0;
  for (const Pointer& segment : segments_) count += segment->keys.size();
  return count;
}

std::shared_ptr<const JoinTail::Segment> JoinTail::merged() const {
  if (segments_.empty()) return std::make_shared<const Segment>();
  Pointer all = segments_.back();
  for (auto at = segments_.rbegin() + 1; at != segments_.rend(); ++at) all = merge(**at, *all);
  return all;
}

}  // namespace ephor::host
