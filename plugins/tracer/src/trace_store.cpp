// SPDX-License-Identifier: Apache-2.0
#include "trace_store.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace ephor::tracer {

bool is_sampled(const TraceId& id, double rate) {
  std::uint64_t randomness = 0;
  for (std::size_t i = 9; i < 16; ++i) randomness = randomness << 8 | id[i];
  return static_cast<double>(randomness) >= std::ldexp(1.0 - rate, 56);
}

TraceStore::TraceStore(TraceStoreSettings settings, RowReader read_row)
    : settings_(settings),
      read_row_(std::move(read_row)),
      seen_(settings.ids_max),
      failed_(settings.ids_max),
      chunks_(std::max<std::size_t>(2, settings.memory_max / TraceChunk::kTraces)) {}

const TraceSummary* TraceStore::add(const SpanFacts& span, bool is_wanted) {
  // Spans of one trace mostly come together.
  bool is_new = false;
  if (last_key_ == 0 || span.trace_id != last_id_) {
    const std::uint64_t key = hash_of(span.trace_id);
    is_new = seen_.insert(key);
    last_number_ = is_new ? seen_.size() - 1 : number_of(key);
    if (!is_new && !last_number_) {  // seen_ is full: whether it is new is known of the latest only
      last_number_ = next_number_;
      is_new = true;
      if (is_wanted && settings_.history_max > 0) {
        overflow_.emplace(key, next_number_);
        overflow_order_.emplace_back(next_number_, key);
      }
    }
    if (is_new) next_number_ = *last_number_ + 1;
    last_id_ = span.trace_id;
    last_key_ = key;
  }
  if (span.is_error) failed_.insert(last_key_);
  if (!is_wanted || settings_.history_max == 0) return nullptr;
  const std::uint64_t number = *last_number_;
  if (!is_new && !is_kept(number)) {
    ++spans_after_eviction_;  // half a summary would mislead; the journal still has the spans
    return nullptr;
  }
  newest_ns_ = std::max(newest_ns_, span.end_ns);
  const std::uint64_t place = number / TraceChunk::kTraces;
  const auto [at, is_first] = kept_.try_emplace(place);
  Kept& kept = at->second;
  if (is_new) {
    kept.bits.set(number % TraceChunk::kTraces);
    ++kept_count_;
  }
  const std::shared_ptr<TraceChunk> chunk = chunk_for_writing(place, is_first);
  chunk->add(number, span);
  kept.last_end_ns = std::max(kept.last_end_ns, span.end_ns);
  if (is_new) make_room();  // never of the newest, which this is
  return chunk->find(number);
}

std::optional<std::uint64_t> TraceStore::number_of(std::uint64_t key) {
  if (const auto place = seen_.find(key)) return *place;
  if (const auto found = overflow_.find(key); found != overflow_.end()) return found->second;
  return std::nullopt;
}

bool TraceStore::is_kept(std::uint64_t number) const {
  const auto found = kept_.find(number / TraceChunk::kTraces);
  return found != kept_.end() && found->second.bits[number % TraceChunk::kTraces];
}

std::shared_ptr<TraceChunk> TraceStore::chunk_for_writing(std::uint64_t chunk, bool is_first) {
  if (const auto* found = chunks_.find(chunk)) {
    chunks_.mark_changed(chunk);
    return *found;
  }
  std::shared_ptr<TraceChunk> made;
  if (!is_first) {  // it has left memory since
    if (const auto body = read_row_ ? read_row_(chunk) : std::nullopt) {
      made = std::make_shared<TraceChunk>(TraceChunk::decode(chunk, *body));
    }
  }
  if (!made) made = std::make_shared<TraceChunk>(chunk);
  chunks_.insert(chunk, made);
  chunks_.mark_changed(chunk);
  return made;
}

std::shared_ptr<const TraceChunk> TraceStore::chunk_for_reading(std::uint64_t chunk) {
  if (const auto* found = chunks_.find(chunk)) return *found;
  const auto body = read_row_ ? read_row_(chunk) : std::nullopt;
  if (!body) return nullptr;
  return std::make_shared<TraceChunk>(TraceChunk::decode(chunk, *body));
}

void TraceStore::make_room() {
  while (kept_count_ > settings_.history_max) {
    const auto oldest = kept_.begin();
    std::size_t offset = 0;
    while (!oldest->second.bits[offset]) ++offset;
    oldest->second.bits.reset(offset);
    --kept_count_;
    ++evicted_;
    const std::uint64_t number = oldest->first * TraceChunk::kTraces + offset;
    while (!overflow_order_.empty() && overflow_order_.front().first <= number) {
      overflow_.erase(overflow_order_.front().second);
      overflow_order_.pop_front();
    }
    if (oldest->second.bits.none()) drop_chunk(oldest->first);
  }
  if (settings_.keep_ns == 0) return;
  while (kept_.size() > 1 && kept_.begin()->second.last_end_ns < newest_ns_ - settings_.keep_ns) {
    kept_count_ -= kept_.begin()->second.bits.count();
    evicted_ += kept_.begin()->second.bits.count();
    drop_chunk(kept_.begin()->first);
  }
}

void TraceStore::drop_chunk(std::uint64_t chunk) {
  kept_.erase(chunk);
  gone_.push_back(chunk);
}

TraceStore::Found TraceStore::find(const TraceId& id) {
  const auto number = number_of(hash_of(id));
  return number ? find_number(*number) : Found{};
}

TraceStore::Found TraceStore::find_number(std::uint64_t number) {
  if (!is_kept(number)) return {};
  auto chunk = chunk_for_reading(number / TraceChunk::kTraces);
  const TraceSummary* summary = chunk ? chunk->find(number) : nullptr;
  return {std::move(chunk), summary};
}

void TraceStore::decide(std::uint64_t number, Verdict verdict, Reason reason) {
  if (!is_kept(number)) return;
  const auto chunk = chunk_for_writing(number / TraceChunk::kTraces, false);
  if (TraceSummary* summary = chunk->find(number)) {
    summary->verdict = verdict;
    summary->reason = reason;
  }
}

std::uint64_t TraceStore::oldest_number() const {
  if (kept_.empty()) return next_number_;
  const auto& [chunk, kept] = *kept_.begin();
  std::size_t offset = 0;
  while (offset < TraceChunk::kTraces && !kept.bits[offset]) ++offset;
  return chunk * TraceChunk::kTraces + offset;
}

void TraceStore::write(StateWriter& out) const {
  out.varint(evicted_).varint(spans_after_eviction_).varint(next_number_).i64(newest_ns_);
  out.varint(kept_.size());
  for (const auto& [chunk, kept] : kept_) {
    out.varint(chunk).i64(kept.last_end_ns).boolean(kept.bits.all());
    if (kept.bits.all()) continue;
    for (std::size_t first = 0; first < TraceChunk::kTraces; first += 8) {
      unsigned byte = 0;
      for (std::size_t bit = 0; bit < 8; ++bit) byte |= kept.bits[first + bit] ? 1U << bit : 0U;
      out.u8(static_cast<std::uint8_t>(byte));
    }
  }
  out.varint(overflow_order_.size());
  for (const auto& [number, key] : overflow_order_) out.varint(number).u64(key);
}

void TraceStore::read(StateReader& in) {
  evicted_ = in.varint();
  spans_after_eviction_ = in.varint();
  next_number_ = in.varint();
  newest_ns_ = in.i64();
  for (std::size_t left = in.count(10); left > 0; --left) {
    Kept& kept = kept_[in.varint()];
    kept.last_end_ns = in.i64();
    if (in.boolean()) {
      kept.bits.set();
    } else {
      for (std::size_t first = 0; first < TraceChunk::kTraces; first += 8) {
        const unsigned byte = in.u8();
        for (std::size_t bit = 0; bit < 8; ++bit) kept.bits[first + bit] = (byte >> bit & 1U) != 0;
      }
    }
    kept_count_ += kept.bits.count();
  }
  for (std::size_t left = in.count(9); left > 0; --left) {
    const std::uint64_t number = in.varint();
    const std::uint64_t key = in.u64();
    overflow_.emplace(key, number);
    overflow_order_.emplace_back(number, key);
  }
}

void TraceStore::warm_up() {
  const std::size_t fit = settings_.memory_max / TraceChunk::kTraces;
  auto at = kept_.end();
  for (std::size_t left = fit; left > 0 && at != kept_.begin(); --left) --at;
  for (; at != kept_.end(); ++at) {
    if (chunks_.find(at->first) != nullptr) continue;
    const auto body = read_row_ ? read_row_(at->first) : std::nullopt;
    if (body) {
      chunks_.insert(at->first, std::make_shared<TraceChunk>(TraceChunk::decode(at->first, *body)));
    }
  }
}

}  // namespace ephor::tracer
