// SPDX-License-Identifier: Apache-2.0
#include "core/log_reader.hpp"

#include <algorithm>
#include <array>
#include <functional>

#include "bus/topic_filter.hpp"
#include "event/error.hpp"
#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

constexpr std::array kJoinKinds{JoinKind::correlation, JoinKind::trace, JoinKind::decision,
                                JoinKind::execution,   JoinKind::order, JoinKind::trade,
                                JoinKind::attribute};

StoredFacts facts_of(const StoredBatch& stored, std::size_t index) {
  const StoredRecord& record = stored.records[index];
  return {record.time_ns, record.encoding, record.flags, stored.source(index)};
}

bool redescribe(const StoredBatch& stored, std::size_t index, Describer& describer,
                ephor_event& event) {
  if (!describer.redescribe(stored.record(index), facts_of(stored, index), event)) return false;
  event.sequence = sequence_of(stored.position, static_cast<std::uint32_t>(index));
  return true;
}

// The join keys of one record, computed as the door did.
bool carries(const StoredBatch& stored, std::size_t index, Describer& describer,
             std::span<const std::uint64_t> keys) {
  JoinKeys joins;
  describer.add_joins(stored.record(index), facts_of(stored, index), joins);
  const std::vector<std::uint64_t> found = joins.take_sorted();
  return std::any_of(keys.begin(), keys.end(), [&](std::uint64_t key) {
    return std::binary_search(found.begin(), found.end(), key);
  });
}

// Cheap first: only a record that holds the id's bytes can carry it. A batch is some 300 KB, and an
// id's first letter stands everywhere in it: Horspool's search (1980) looks at every n-th byte.
class Needle {
 public:
  explicit Needle(std::string_view id)
      : id_(id),
        json_(escaped(id)),
        trace_id_(bytes_of_trace(id)),
        is_number_(!id.empty() && id.find_first_not_of("-0123456789") == std::string_view::npos),
        in_id_(id_),
        in_json_(json_),
        in_trace_id_(trace_id_) {}
  Needle(const Needle&) = delete;  // the searchers look at its texts
  Needle& operator=(const Needle&) = delete;

  // What is asked about from now on.
  void enter(const StoredBatch& stored) {
    holds_source_.clear();
    for (const std::string_view source : stored.sources) {
      holds_source_.push_back(in_json_.is_in(source));
    }
  }

  bool may_be_in(const StoredBatch& stored, std::size_t index) const {
    const std::string_view record = stored.record(index);
    if (stored.records[index].encoding != EPHOR_ENCODING_OTLP) return in_json_.is_in(record);
    // A span holds its trace id as bytes, texts as they are, and integers in binary; its source may
    // give the correlation id.
    const std::uint32_t source = stored.records[index].source;
    return is_number_ || (source != 0 && holds_source_[source - 1]) ||
           (!trace_id_.empty() && in_trace_id_.is_in(record)) || in_id_.is_in(record);
  }

 private:
  class Search {
   public:
    explicit Search(std::string_view pattern)
        : is_empty_(pattern.empty()), searcher_(pattern.begin(), pattern.end()) {}
    bool is_in(std::string_view text) const {
      return is_empty_ || searcher_(text.begin(), text.end()).first != text.end();
    }

   private:
    bool is_empty_;
    std::boyer_moore_horspool_searcher<std::string_view::const_iterator> searcher_;
  };

  static std::string escaped(std::string_view id) {
    std::string quoted;
    append_json_string(quoted, id);
    return quoted.substr(1, quoted.size() - 2);
  }
  static std::string bytes_of_trace(std::string_view id) {
    if (id.size() != 32 || id.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
      return {};
    }
    const auto bytes = trace_id_of(id);
    return {bytes.begin(), bytes.end()};
  }

  const std::string id_;
  const std::string json_;
  const std::string trace_id_;  // 16 bytes, or empty
  const bool is_number_;
  const Search in_id_;
  const Search in_json_;
  const Search in_trace_id_;
  std::vector<char> holds_source_;  // by source of the batch
};

}  // namespace

std::vector<std::uint64_t> join_keys_of(const StoredBatch& stored, Describer& describer) {
  JoinKeys joins;
  for (std::size_t i = 0; i < stored.records.size(); ++i) {
    describer.add_joins(stored.record(i), facts_of(stored, i), joins);
  }
  return joins.take_sorted();
}

DescriberPool::Lease DescriberPool::lend() {
  {
    const std::scoped_lock lock(mutex_);
    if (!idle_.empty()) {
      auto describer = std::move(idle_.back());
      idle_.pop_back();
      return {*this, std::move(describer)};
    }
  }
  return {*this, door_.make_describer()};
}

void DescriberPool::give_back(std::unique_ptr<Describer> describer) {
  constexpr std::size_t kIdleMax = 16;
  const std::scoped_lock lock(mutex_);
  if (idle_.size() < kIdleMax) idle_.push_back(std::move(describer));
}

bool LogReader::next(std::uint64_t position, StoredBatch& stored,
                     std::vector<ephor_event>& events) const {
  events.clear();
  if (!journal_.next(position, stored)) return false;
  const auto describer = describers_.lend();
  events.reserve(stored.records.size());
  for (std::size_t i = 0; i < stored.records.size(); ++i) {
    ephor_event event{};
    if (!redescribe(stored, i, *describer, event)) {
      throw DamageError("journal: position " + std::to_string(stored.position) + " record " +
                            std::to_string(i) + ": found no CloudEvents object",
                        false, stored.position, stored.position, stored.records.size());
    }
    events.push_back(event);
  }
  return true;
}

void LogReader::find(std::string_view id, const EventVisitor& visit) const {
  std::vector<std::uint64_t> keys;
  for (const JoinKind kind : kJoinKinds) keys.push_back(join_key(kind, hash64(id)));
  const std::vector<std::uint64_t> positions = journal_.find(keys);
  Needle needle(id);
  const auto describer = describers_.lend();
  for (const std::uint64_t position : positions) {
    BatchCache::Pointer batch;
    try {
      batch = recent_.get(position, [&](std::uint64_t at) { return journal_.read(at); });
    } catch (const DamageError& damage) {
      tell_damage_(damage);
      continue;
    } catch (const HostError& failure) {
      if (failure.status() != EPHOR_NOT_FOUND) throw;
      continue;  // removed since the index was read
    }
    const StoredBatch& stored = *batch;
    needle.enter(stored);
    for (std::size_t i = 0; i < stored.records.size(); ++i) {
      if (!needle.may_be_in(stored, i) || !carries(stored, i, *describer, keys)) continue;
      ephor_event event{};
      if (redescribe(stored, i, *describer, event)) visit(event);
    }
  }
}

std::uint64_t LogReader::read(std::uint64_t from, std::string_view pattern, std::uint32_t limit,
                              const EventVisitor& visit, const Names& names) const {
  check_topic_pattern(pattern);
  TopicFilter filter(names.topics, {std::string(pattern)});
  StoredBatch stored;
  std::vector<ephor_event> events;
  std::uint64_t position = position_of(from);
  const auto next_whole = [&] {
    for (;;) {
      try {
        return next(position, stored, events);
      } catch (const DamageError& damage) {
        if (damage.last_position < position) throw;
        tell_damage_(damage);
        position = damage.last_position + 1;
      }
    }
  };
  while (next_whole()) {
    for (const ephor_event& event : events) {
      if (event.sequence < from || !filter.matches(event.topic)) continue;
      if (limit-- == 0) return event.sequence;
      visit(event);
    }
    position = stored.position + 1;
  }
  return 0;
}

}  // namespace ephor::host
