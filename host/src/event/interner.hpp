// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace ephor::host {

// Names to small numbers, for the life of the process. Number 0 is the empty name. Thread-safe;
// `id` costs one hash look-up under a shared lock. Callers on a hot path keep their last answer.
class Interner {
 public:
  // `limit`: how many names may exist; further ones get `overflow_name`'s number.
  explicit Interner(std::uint32_t limit, std::string overflow_name = "ephor.other")
      : limit_(limit) {
    id("");
    overflow_ = id(overflow_name);
  }

  std::uint32_t id(std::string_view name) {
    {
      std::shared_lock lock(mutex_);
      if (const auto found = ids_.find(name); found != ids_.end()) return found->second;
    }
    std::unique_lock lock(mutex_);
    if (const auto found = ids_.find(name); found != ids_.end()) return found->second;
    if (names_.size() >= limit_) return overflow_;
    names_.emplace_back(name);
    const auto number = static_cast<std::uint32_t>(names_.size() - 1);
    ids_.emplace(names_.back(), number);
    count_.store(number + 1, std::memory_order_release);
    return number;
  }

  // The number of a name that is there already.
  std::optional<std::uint32_t> find(std::string_view name) const {
    std::shared_lock lock(mutex_);
    const auto found = ids_.find(name);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }

  // Lives as long as the interner; empty for an unknown number.
  std::string_view name(std::uint32_t number) const {
    std::shared_lock lock(mutex_);
    return number < names_.size() ? std::string_view(names_[number]) : std::string_view();
  }

  // Numbers below it exist. Grows only; one atomic load.
  std::uint32_t count() const { return count_.load(std::memory_order_acquire); }

 private:
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  mutable std::shared_mutex mutex_;  // guards names_, ids_
  std::deque<std::string> names_;
  std::unordered_map<std::string_view, std::uint32_t, TextHash, std::equal_to<>> ids_;
  std::atomic<std::uint32_t> count_{0};
  std::uint32_t limit_;
  std::uint32_t overflow_ = 0;
};

// The numbers that event descriptors carry.
struct Names {
  Interner topics{65'535};
  Interner sources{1'000'000};
};

}  // namespace ephor::host
