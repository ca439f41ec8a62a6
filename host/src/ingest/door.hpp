// SPDX-License-Identifier: Apache-2.0
//
// The door: bytes from outside in, batches ready for the journal out. It tells records apart, takes
// bare ones apart, checks and describes them. It knows nothing of what was seen before:
// deduplication is the log's.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "event/batch.hpp"
#include "event/interner.hpp"
#include "ingest/envelope.hpp"
#include "ingest/event_rules.hpp"
#include "ingest/fault.hpp"
#include "ingest/ingest_config.hpp"
#include "ingest/otlp_sources.hpp"
#include "ingest/otlp_traces.hpp"

namespace ephor::host {

// Rejections kept in one Arrival; further ones are only counted.
inline constexpr std::size_t kRejectionsMax = 10'000;

// Events of one arrived batch: the log may put a tick behind each.
inline constexpr std::uint32_t kArrivedEventsMax = kBatchEventsMax / 2;

// The events of one record: [first_event, first_event + event_count) of its batch; the first one is
// the primary, whose being new decides whether the record counts as accepted or as duplicate.
struct RecordGroup {
  std::uint32_t line = 0;  // from 1; in an array the element
  std::uint32_t first_event = 0;
  std::uint32_t event_count = 0;
  std::uint32_t record_count = 1;  // what it counts as: one event may hold many lines or points
};

struct ArrivedBatch {
  BatchPointer batch;  // position and sequences are still 0; join_keys sorted and distinct
  std::vector<RecordGroup> records;
};

struct Arrival {
  std::vector<ArrivedBatch> batches;  // none empty; more than one above kArrivedEventsMax events
  std::vector<Rejection> rejections;
  std::uint32_t record_count = 0;    // taken and rejected
  std::uint32_t rejected_count = 0;  // records; may exceed rejections.size()
  std::uint32_t event_count = 0;
};

struct Admission {
  std::uint32_t format = EPHOR_FORMAT_AUTO;
  std::string_view default_source = {};  // of bare records that name none
  std::int64_t arrived_ns = 0;
  std::uint32_t first_line = 1;  // number of the body's first line (lines only)
  // Sources "ephor" and "ephor/INSTANCE" are the host's and the plugins' own: only this one of them
  // may come in. Empty: none; kAnyOwnSource: all (another host's journal).
  std::string_view own_source = {};
};
inline constexpr std::string_view kAnyOwnSource = "*";

class Door {
 public:
  // `names` outlives it.
  Door(IngestConfig config, Names& names);
  ~Door();

  // [any] Takes a body whole; never throws for what is in it. Any number of threads.
  Arrival admit(Buffer body, const Admission& admission);

  // For whoever reads records back from the journal, one per thread; the door outlives it.
  std::unique_ptr<Describer> make_describer();

  const IngestConfig& config() const { return config_; }
  const OtlpSources& otlp_sources() const { return otlp_sources_; }

 private:
  class Worker;
  class Lease;

  const IngestConfig config_;
  const EventRules rules_;
  Names& names_;
  OtlpSources otlp_sources_;
  std::mutex mutex_;  // guards idle_
  std::vector<std::unique_ptr<Worker>> idle_;
};

}  // namespace ephor::host
