// SPDX-License-Identifier: Apache-2.0
#include "core/log_reader.hpp"

#include <algorithm>
#include <array>

#include "bus/topic_filter.hpp"
#include "event/error.hpp"
#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

constexpr std::array kJoinKinds{JoinKind::correlation, JoinKind::trace, JoinKind::decision,
                                JoinKind::execution,   JoinKind::order, JoinKind::trade,
                                JoinKind::attribute};

bool redescribe(const StoredBatch& stored, std::size_t index, Describer& describer,
                ephor_event& event) {
  const StoredRecord& record = stored.records[index];
  if (!describer.redescribe(stored.record(index), {record.time_ns, record.encoding, record.flags},
                            event)) {
    return false;
  }
  event.sequence = sequence_of(stored.position, static_cast<std::uint32_t>(index));
  return true;
}

// The join keys of one record, computed as the door did.
bool carries(std::string_view text, Describer& describer, std::span<const std::uint64_t> keys) {
  Fault fault;
  simdjson::dom::element root;
  ephor_event event{};
  Hash128 id;
  JoinKeys joins;
  if (!describer.parse(text, root, fault) ||
      !describer.describe(text, root, INT64_MAX / 2, joins, event, id, fault)) {
    return false;
  }
  const std::vector<std::uint64_t> found = joins.take_sorted();
  return std::any_of(keys.begin(), keys.end(), [&](std::uint64_t key) {
    return std::binary_search(found.begin(), found.end(), key);
  });
}

}  // namespace

std::vector<std::uint64_t> join_keys_of(const StoredBatch& stored, Describer& describer) {
  JoinKeys joins;
  for (std::size_t i = 0; i < stored.records.size(); ++i) {
    const std::string_view text = stored.record(i);
    Fault fault;
    simdjson::dom::element root;
    ephor_event event{};
    Hash128 id;
    if (describer.parse(text, root, fault)) {
      describer.describe(text, root, INT64_MAX / 2, joins, event, id, fault);
    }
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
  std::vector<std::uint64_t> positions;
  for (const JoinKind kind : kJoinKinds) {
    keys.push_back(join_key(kind, hash64(id)));
    const auto found = journal_.find(keys.back());
    positions.insert(positions.end(), found.begin(), found.end());
  }
  std::sort(positions.begin(), positions.end());
  positions.erase(std::unique(positions.begin(), positions.end()), positions.end());

  std::string escaped;
  append_json_string(escaped, id);
  const std::string_view needle = std::string_view(escaped).substr(1, escaped.size() - 2);
  const auto describer = describers_.lend();
  for (const std::uint64_t position : positions) {
    StoredBatch stored;
    try {
      stored = journal_.read(position);
    } catch (const DamageError& damage) {
      tell_damage_(damage);
      continue;
    } catch (const HostError& failure) {
      if (failure.status() != EPHOR_NOT_FOUND) throw;
      continue;  // removed since the index was read
    }
    for (std::size_t i = 0; i < stored.records.size(); ++i) {
      const std::string_view text = stored.record(i);
      // Cheap first: only a record that holds the id's text can carry it.
      if (text.find(needle) == std::string_view::npos || !carries(text, *describer, keys)) continue;
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
