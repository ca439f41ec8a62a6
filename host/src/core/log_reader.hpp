// SPDX-License-Identifier: Apache-2.0
//
// Reading the log from the journal: events are described again from their records, exactly as the
// door described them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/batch_cache.hpp"
#include "event/batch.hpp"
#include "event/interner.hpp"
#include "ingest/door.hpp"
#include "store/journal.hpp"

namespace ephor::host {

// Describers are heavy to make and belong to one thread at a time: lent out, given back.
class DescriberPool {
 public:
  explicit DescriberPool(Door& door) : door_(door) {}

  class Lease {
   public:
    Lease(DescriberPool& pool, std::unique_ptr<Describer> describer)
        : pool_(pool), describer_(std::move(describer)) {}
    ~Lease() { pool_.give_back(std::move(describer_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Describer& operator*() const { return *describer_; }
    Describer* operator->() const { return describer_.get(); }

   private:
    DescriberPool& pool_;
    std::unique_ptr<Describer> describer_;
  };
  Lease lend();

 private:
  void give_back(std::unique_ptr<Describer> describer);

  Door& door_;
  std::mutex mutex_;  // guards idle_
  std::vector<std::unique_ptr<Describer>> idle_;
};

using EventVisitor = std::function<void(const ephor_event&)>;

// Thread-safe.
class LogReader {
 public:
  LogReader(const Journal& journal, DescriberPool& describers)
      : journal_(journal), describers_(describers) {}

  // Who is told of damage that `find` and `read` pass. Before anybody reads.
  using DamageSink = std::function<void(const DamageError&)>;
  void tell_damage(DamageSink sink) { tell_damage_ = std::move(sink); }

  // The events of the first batch at `position` or later; false at the end. `bytes` holds the
  // records. Throws DamageError if the batch is damaged; stored.position then names it.
  bool next(std::uint64_t position, StoredBatch& stored, std::vector<ephor_event>& events) const;

  // Events that carry `id` as correlation id, trace id, declared join key or join attribute, in log
  // order. Cost: one index look-up per kind, and the batches found are unpacked.
  void find(std::string_view id, const EventVisitor& visit) const;

  // At most `limit` events from sequence `from` on whose topic matches. Returns the sequence to go
  // on from, 0 at the end.
  std::uint64_t read(std::uint64_t from, std::string_view pattern, std::uint32_t limit,
                     const EventVisitor& visit, const Names& names) const;

 private:
  static constexpr std::size_t kRecentBytesMax = 8U << 20;

  const Journal& journal_;
  DescriberPool& describers_;
  DamageSink tell_damage_ = [](const DamageError&) {};
  mutable BatchCache recent_{kRecentBytesMax};  // of find
};

// The join keys of a stored batch, as the door computed them: distinct, sorted.
std::vector<std::uint64_t> join_keys_of(const StoredBatch& stored, Describer& describer);

}  // namespace ephor::host
