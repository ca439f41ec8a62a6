// SPDX-License-Identifier: Apache-2.0
//
// The journal: the one ordered log on disk. It knows batches and bytes, not what is in a record.
//
// An append has two halves. `encode` compresses a batch on the caller's thread; `append` commits a
// group of encoded batches in one transaction and gives them their positions. What append returned
// for is durable in the sense of the configured Durability, and readers find it from then on.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "event/batch.hpp"
#include "event/error.hpp"

namespace ephor::host {

// What an acknowledged batch survives: `full` a power cut, `normal` and `off` a killed process.
// (`normal` keeps the file sound after a power cut but may lose the last commits; `off` promises
// nothing after one.)
enum class Durability { full, normal, off };

// A batch ready to be stored.
struct EncodedBatch {
  std::uint32_t codec = 0;  // how body is laid out; stored
  std::uint32_t count = 0;
  std::int64_t time_min_ns = 0;
  std::int64_t time_max_ns = 0;
  std::uint64_t record_bytes = 0;  // sum of the records' lengths
  std::string body;
  // 16 bytes per event: low, high, little endian; without those that reading `body` makes.
  std::string ids;
};

// One element of a group commit.
struct Pending {
  Batch* batch = nullptr;  // receives position and sequences
  EncodedBatch encoded;    // of that batch
};

struct StoredRecord {
  std::uint64_t offset = 0;  // into StoredBatch.bytes
  std::uint32_t length = 0;
  std::uint8_t encoding = 0;
  std::uint8_t flags = 0;
  std::int64_t time_ns = 0;
  std::uint32_t source = 0;  // of an OTLP record: index into StoredBatch.sources + 1; 0: none
};

struct StoredBatch {
  std::uint64_t position = 0;
  std::int64_t arrived_ns = 0;
  Buffer bytes;  // starts with the stored header; records are found by offset
  std::vector<StoredRecord> records;
  std::vector<std::string_view> sources;  // texts of OTLP records' sources; views into bytes
  // The ids that lie beside the body, in order: of a batch without spans all of them, else those
  // that reading cannot make (Journal::load_recent_ids makes the others).
  std::vector<Hash128> stored_ids;

  std::string_view record(std::size_t index) const {
    return {bytes.data() + records[index].offset, records[index].length};
  }
  // Empty if the record names its source itself.
  std::string_view source(std::size_t index) const {
    const std::uint32_t number = records[index].source;
    return number == 0 ? std::string_view() : sources[number - 1];
  }
};

struct JournalStats {
  std::uint64_t batches = 0;
  std::uint64_t events = 0;
  std::uint64_t record_bytes = 0;  // before compression
  std::uint64_t stored_bytes = 0;  // compressed bodies and ids
  std::uint64_t oldest_position = 0;
  std::uint64_t last_position = 0;
};

// Events that were in the log and cannot be read any more.
struct JournalGap {
  std::uint64_t first_sequence = 0;
  std::uint64_t last_sequence = 0;
  std::uint64_t batches = 0;
  std::optional<std::uint64_t> events;  // empty: not known any more
  std::uint64_t bytes = 0;              // as stored
  std::string why;                      // "retention", or what was found
  std::int64_t at_ns = 0;               // when it was found or made
};

// How much one step of retention may take.
struct RemovalLimits {
  std::uint64_t before_position = 0;
  std::uint64_t batches_max = 256;
  std::uint64_t bytes_max = 4U << 20;  // stored
  std::int64_t arrived_before_ns = INT64_MAX;
  std::uint64_t ids_window = 0;  // ids among the newest so many events of the log are kept
};
struct Removal {
  std::uint64_t batches = 0;
  std::uint64_t events = 0;
  std::uint64_t bytes = 0;
};

// Thread-safe. Every failure is a HostError: EPHOR_FULL (disk or limit; try again later), EPHOR_IO,
// EPHOR_NOT_FOUND, EPHOR_INVALID; damage is a DamageError.
class Journal {
 public:
  virtual ~Journal() = default;

  // Compresses on the calling thread; needs no lock.
  virtual EncodedBatch encode(const Batch& batch) const = 0;

  // Commits the group in one transaction, in its order: batch.position and every event's sequence
  // are set before the commit. On failure nothing of the group is stored, positions are 0 again and
  // will be used by the next group. `note` replaces what note() gives, in the same transaction.
  virtual void append(std::span<Pending> group, std::string_view note) = 0;
  void append(std::span<Pending> group) { append(group, note()); }
  // What the newest append noted; empty if none did. The log keeps its log time there.
  virtual std::string note() const = 0;

  // Forces all that was appended onto the disk, whatever the durability.
  virtual void sync() = 0;

  // Throws EPHOR_NOT_FOUND if there is no such batch, DamageError naming it if it is damaged.
  virtual StoredBatch read(std::uint64_t position) const = 0;
  // The first batch with position >= `from`; false at the end. Throws DamageError if it is damaged;
  // batch.position is then the last one that cannot be read, so that a reader can go on behind it.
  virtual bool next(std::uint64_t from, StoredBatch& batch) const = 0;
  // Positions of the batches that hold an event with one of these join_key()s, ascending, distinct.
  virtual std::vector<std::uint64_t> find(std::span<const std::uint64_t> keys) const = 0;
  std::vector<std::uint64_t> find(std::uint64_t key) const { return find({&key, 1}); }

  // 0 if nothing was ever appended; never goes back, also when batches are removed.
  virtual std::uint64_t last_position() const = 0;
  // Of the batches that are kept; 0 if there is none.
  virtual std::uint64_t oldest_position() const = 0;

  // The ids of the newest `events_max` events, newest batch first, in stored order within a batch.
  // A damaged batch is left out; ids that removed batches left behind come last.
  using IdsVisitor = std::function<void(std::uint64_t position, std::span<const Hash128> ids)>;
  virtual void load_recent_ids(std::uint64_t events_max, const IdsVisitor& visitor) const = 0;

  // Forgets every batch before `position`.
  virtual void remove_before(std::uint64_t position) = 0;

  // What is known to be missing, ascending.
  virtual std::vector<JournalGap> gaps() const { return {}; }
  // False if it is known already. Keeps it, or, opened for reading only, remembers it.
  virtual bool record_gap(const JournalGap&) { return false; }

  virtual JournalStats stats() const = 0;

  // Random, made with the data directory, stable for its life: 32 hex digits.
  virtual std::string id() const = 0;
};

// Like next(), but goes on behind damage, which it hands to `on_damage`.
bool next_readable(const Journal& journal, std::uint64_t from, StoredBatch& batch,
                   const std::function<void(const DamageError&)>& on_damage);

}  // namespace ephor::host
