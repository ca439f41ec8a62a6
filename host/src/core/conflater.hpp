// SPDX-License-Identifier: Apache-2.0
//
// The overflow policy latest{key}: what a backlog is made of when only the newest event of each key
// is wanted.
//
//   reader.hold()
//   take(slices as they come, from the ring or from the journal) ... until nothing more or
//   is_full() seal() next() -> slices in log order, handed to the plugin, while is_delivering()
//   clear(), reader.release()
//
// Nothing is superseded as long as one slice holds all that was taken. The records are copies, so
// that the ring and the journal's batch may go. Memory: at most kKeysMax + 256 records, and no more
// than kBytesMax of them before is_full().
#pragma once

#include <ephor/abi.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "event/batch.hpp"
#include "event/interner.hpp"

namespace ephor::host {

// What an event is the newest of, as told by ephor_subscription.key.
class EventKey {
 public:
  // Throws HostError EPHOR_INVALID: what was found, what was expected.
  // `names` (may be null) tells the sources of events that are no JSON; it outlives the key.
  explicit EventKey(std::string_view key, const Names* names = nullptr);
  ~EventKey();
  EventKey(EventKey&&) noexcept;

  // Equal for events of one key. A JSON pointer names a text or a number, compared as JSON text
  // (1 and 1.0 differ, as 1 and "1" do); an event without it, as one without a source or
  // correlation id, is keyed by its topic. Not thread-safe.
  std::string of(const ephor_event& event);

 private:
  enum class Kind { topic, source, correlation, pointer };
  bool append_member(const ephor_event& event, std::string& out);
  // `json` with kRecordSlackBytes behind it.
  bool append_member(std::string_view json, std::string& out);

  Kind kind_ = Kind::topic;
  std::string pointer_;  // from the record's root
  struct Parser;
  std::unique_ptr<Parser> parser_;
  const Names* names_ = nullptr;
};

// Belongs to the thread that reads; superseded() may be asked from any.
class Conflater {
 public:
  static constexpr std::uint32_t kSliceEvents = 256;
  static constexpr std::size_t kKeysMax = 16'384;
  static constexpr std::size_t kBytesMax = 32U << 20;

  explicit Conflater(EventKey key) : key_(std::move(key)) {}

  // At most 256 events, in log order, behind all that was taken before. `published_ns` is kept for
  // each.
  void take(const ephor_event* events, std::uint32_t count, std::int64_t published_ns);
  bool is_full() const { return entries_.size() >= kKeysMax || bytes_ >= kBytesMax; }

  // Nothing more is taken until clear().
  void seal();
  bool is_delivering() const { return next_ < slices_.size(); }
  // The next at most 256 events, ascending; they live until clear().
  std::span<const ephor_event> next();
  // Of the span that next() gave, one each.
  std::span<const std::int64_t> published_ns() const { return published_in_hand_; }

  void clear();

  std::uint64_t superseded() const { return superseded_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    ephor_event event;
    std::int64_t published_ns;
    Buffer record;
  };
  void keep(Entry& entry, const ephor_event& event, std::int64_t published_ns);
  void begin_conflating();
  void take_one(const ephor_event& event, std::int64_t published_ns);

  EventKey key_;
  std::vector<Entry> entries_;
  bool is_conflating_ = false;                             // more than one slice was taken
  std::unordered_map<std::string, std::size_t> entry_of_;  // then: by key
  std::size_t bytes_ = 0;
  std::vector<ephor_event> slices_;  // sealed, ascending
  std::vector<std::int64_t> slices_published_ns_;
  std::size_t next_ = 0;
  std::span<const std::int64_t> published_in_hand_;
  std::atomic<std::uint64_t> superseded_{0};
};

}  // namespace ephor::host
