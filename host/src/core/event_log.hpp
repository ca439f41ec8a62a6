// SPDX-License-Identifier: Apache-2.0
//
// The one way into the log. What comes in is deduplicated, given its log time, appended to the
// journal in groups, and then published to the readers; only then is it acknowledged.
//
//   prepare (caller's thread)   dedup, late flags and ticks under one short lock, which also gives
//                               the ticket that fixes the order; then compression
//   commit  (committer thread)  consecutive tickets in one transaction, then the ring, then the
//                               callers go on
//
// A batch that held nothing but duplicates still takes a ticket: it is acknowledged after what it
// duplicates. When a commit fails, every submission that was prepared before is refused with it,
// because it may count duplicates of what was not stored; what plugins derived is tried again.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "bus/bus.hpp"
#include "core/clock.hpp"
#include "core/dedup_window.hpp"
#include "core/derived.hpp"
#include "core/log_reader.hpp"
#include "core/log_time.hpp"
#include "core/topic_tally.hpp"
#include "event/batch.hpp"
#include "event/error.hpp"
#include "event/times.hpp"
#include "ingest/door.hpp"
#include "store/journal.hpp"

namespace ephor::host {

struct IngestCounts {
  std::uint64_t accepted = 0;       // records
  std::uint64_t duplicate = 0;      // records
  std::uint64_t events = 0;         // appended; without the host's own
  std::uint64_t last_sequence = 0;  // of what was appended, or of the log if nothing was
};

struct EventLogOptions {
  std::uint32_t dedup_window = 2'000'000;  // events
  LogTimeOptions log_time;
  std::size_t group_events_max = 65'536;  // of one transaction
};

class EventLog {
 public:
  // `journal`, `bus` and `describers` outlive the log. Loads the newest ids and the log time.
  EventLog(EventLogOptions options, Journal& journal, Bus& bus, Names& names,
           DescriberPool& describers);
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // [control] Live: a committer thread. stop() commits what is queued.
  void start();
  void stop();

  // [any] Live. Returns when everything is committed. Throws HostError when nothing was kept.
  IngestCounts ingest(std::vector<ArrivedBatch> incoming);
  // [any] Live. The ticket to hand to wait_committed; 0 if nothing was new.
  std::uint64_t append_derived(std::span<const DerivedDraft> drafts);
  std::uint64_t append_host(std::string_view topic, std::int64_t time_ns, std::string data_json);
  // [any] Live. Releases what waits for log time; 0 if nothing came since the last time.
  std::uint64_t flush();
  // [any] False at the time-out.
  bool wait_committed(std::uint64_t ticket, std::int64_t timeout_ns);

  // What prepare made of a batch; empty() if nothing of it is new.
  struct Submission {
    BatchPointer batch;
    EncodedBatch encoded;
    std::string log_time;  // to store with it
    std::uint64_t ticket = 0;
    std::uint64_t failures_seen = 0;
    bool must_not_fail = false;  // derived and host events: retried until stored
    std::string failure;         // why it cannot be stored; it is refused when its turn comes
    bool empty() const { return batch == nullptr; }
  };
  // The halves, for replay, where one thread prepares ahead and another commits in order.
  Submission prepare(ArrivedBatch incoming, IngestCounts& counts);
  std::optional<Submission> prepare_derived(std::span<const DerivedDraft> drafts);
  std::optional<Submission> prepare_flush();
  void commit_now(Submission submission);

  std::uint64_t last_sequence() const { return last_sequence_.load(std::memory_order_acquire); }
  std::int64_t log_time_ns() const;
  std::int64_t greatest_time_ns() const;
  // When something from outside was last acknowledged or on its way, by the monotonic clock: now,
  // while it is. After a start with something to release: that of the start. 0: never.
  std::int64_t last_ingest_ns() const;

  struct Stats {
    std::uint64_t events = 0;      // appended, all kinds
    std::uint64_t duplicates = 0;  // records
    std::uint64_t late = 0;
    std::uint64_t ticks = 0;
    std::uint64_t derived = 0;
    std::uint64_t derived_duplicates = 0;
    std::uint64_t derived_faults = 0;
    std::uint64_t commits = 0;
    std::uint64_t commit_failures = 0;
  };
  Stats stats() const;
  const TopicTally& topics() const { return topics_; }  // what was published since the start
  // [any] Why the last commit failed; empty once one has succeeded.
  std::string trouble() const;  // with events from outside, or half a minute later with any

 private:
  struct Waiting {
    Submission submission;
    std::function<void(const HostError*)> done;  // on the committer thread
  };

  void load();
  Submission ticketed(BatchPointer batch, bool must_not_fail);
  void encode(Submission& submission);
  void drop_duplicates_and_tell_time(ArrivedBatch& incoming, IngestCounts& counts);
  void enqueue(Submission submission, std::function<void(const HostError*)> done);
  std::uint64_t submit(Submission submission);
  void run();
  std::vector<Waiting> take_group(std::unique_lock<std::mutex>& lock);
  bool commit(std::vector<Waiting>& group);
  void publish(Submission& submission);
  void refuse_stale(std::vector<Waiting>& group);
  void take_back(std::vector<Waiting>& group, const HostError& failure);
  void refuse_queued(std::uint64_t failures_before);
  void forget_ids(const Batch& batch);
  std::uint32_t clock_of(std::uint32_t source);

  const EventLogOptions options_;
  Journal& journal_;
  Bus& bus_;
  Names& names_;
  DescriberPool& describers_;

  mutable std::mutex sequence_mutex_;  // guards down to in_flight_
  DedupWindow dedup_;
  // By source number: whose clock it follows, in log time; 0: not looked up yet.
  std::vector<std::uint32_t> clocks_;
  LogTime log_time_;
  std::string committed_log_time_;
  std::uint64_t next_ticket_ = 1;
  std::uint64_t failures_ = 0;
  // Prepared, neither stored nor refused yet, by ticket; what must not fail is not among them.
  std::map<std::uint64_t, const Batch*> in_flight_;

  std::mutex queue_mutex_;  // guards down to is_stopping_
  std::condition_variable queue_changed_;
  std::condition_variable committed_changed_;
  std::map<std::uint64_t, Waiting> queue_;
  std::uint64_t next_to_commit_ = 1;
  bool is_stopping_ = false;

  std::atomic<std::uint64_t> last_sequence_{0};
  std::atomic<std::int64_t> last_ingest_ns_{0};
  std::atomic<std::uint32_t> ingesting_{0};  // calls of ingest
  mutable std::mutex stats_mutex_;           // guards stats_ and trouble_
  Stats stats_;
  TopicTally topics_;
  std::string trouble_;
  std::int64_t troubled_ns_ = 0;  // guarded by it, too
  std::thread committer_;
};

}  // namespace ephor::host
