// SPDX-License-Identifier: Apache-2.0
#include "core/event_log.hpp"

#include <ephor/otlp.hpp>

#include <algorithm>
#include <chrono>
#include <semaphore>

#include "core/logger.hpp"
#include "event/error.hpp"
#include "event/times.hpp"

namespace ephor::host {
namespace {

constexpr Hash128 kNoId{};
constexpr std::int64_t kTroubleLastsNs = 30'000'000'000;
constexpr std::string_view kPluginSourcePrefix = "ephor/";
constexpr std::uint32_t kNoClock = UINT32_MAX;

// What was prepared before a failure is refused with it.
HostError earlier_failed() { return {EPHOR_IO, "an earlier batch could not be stored"}; }

std::string tick_record(std::int64_t time_ns) {
  const std::string time = format_time(time_ns);
  return host_record("ephor.tick", "tick-" + time, time_ns, R"({"log_time":")" + time + "\"}");
}

}  // namespace

EventLog::EventLog(EventLogOptions options, Journal& journal, Bus& bus, Names& names,
                   DescriberPool& describers)
    : options_(options),
      journal_(journal),
      bus_(bus),
      names_(names),
      describers_(describers),
      dedup_(options.dedup_window),
      log_time_(options.log_time) {
  load();
}

EventLog::~EventLog() { stop(); }

void EventLog::load() {
  // Newest first from the journal; the window wants oldest first.
  std::vector<Hash128> newest_first;
  journal_.load_recent_ids(options_.dedup_window, [&](std::uint64_t, std::span<const Hash128> ids) {
    newest_first.insert(newest_first.end(), ids.rbegin(), ids.rend());
  });
  for (auto id = newest_first.rbegin(); id != newest_first.rend(); ++id) {
    if (!(*id == kNoId)) dedup_.insert(*id);
  }
  committed_log_time_ = journal_.note();
  if (!committed_log_time_.empty() &&
      !log_time_.load(committed_log_time_,
                      [&](std::string_view name) { return names_.sources.id(name); })) {
    log(EPHOR_LOG_WARNING, kHostName, "journal: found no readable log time; it begins anew");
  }
  if (const std::uint64_t last = journal_.last_position(); last != 0) {
    StoredBatch stored;
    std::uint32_t count = 1;
    try {
      stored = journal_.read(last);
      count = static_cast<std::uint32_t>(stored.records.size());
    } catch (const HostError& failure) {
      log(EPHOR_LOG_ERROR, kHostName, failure.what());
    }
    last_sequence_ = sequence_of(last, count - 1);
  }
}

void EventLog::start() {
  {
    // An earlier host may have been killed before it released what waits.
    const std::scoped_lock lock(sequence_mutex_);
    if (log_time_.can_flush()) last_ingest_ns_ = monotonic_ns();
  }
  const std::scoped_lock lock(queue_mutex_);
  if (committer_.joinable()) return;
  is_stopping_ = false;
  committer_ = std::thread([this] { run(); });
}

void EventLog::stop() {
  {
    const std::scoped_lock lock(queue_mutex_);
    is_stopping_ = true;
  }
  queue_changed_.notify_all();
  if (committer_.joinable()) committer_.join();
}

std::int64_t EventLog::last_ingest_ns() const {
  if (ingesting_.load(std::memory_order_acquire) != 0) return monotonic_ns();
  return last_ingest_ns_.load(std::memory_order_relaxed);
}

std::int64_t EventLog::log_time_ns() const {
  const std::scoped_lock lock(sequence_mutex_);
  return log_time_.now_ns();
}

std::int64_t EventLog::greatest_time_ns() const {
  const std::scoped_lock lock(sequence_mutex_);
  return log_time_.greatest_ns();
}

EventLog::Stats EventLog::stats() const {
  const std::scoped_lock lock(stats_mutex_);
  return stats_;
}

std::string EventLog::trouble() const {
  const std::scoped_lock lock(stats_mutex_);
  return trouble_;
}

// ---- prepare --------------------------------------------------------------------------------

// What a plugin brings in itself (a command, the outcome of an effect) does not move log time. OTLP
// has a source for each resource and scope, but their spans come from one process at one time: the
// service has the watermark, so that a scope that is heard seldom does not hold log time back.
std::uint32_t EventLog::clock_of(std::uint32_t source) {
  if (source >= clocks_.size()) clocks_.resize(names_.sources.count(), 0);
  std::uint32_t& clock = clocks_[source];
  if (clock != 0) return clock;
  const std::string_view name = names_.sources.name(source);
  if (name.starts_with(kPluginSourcePrefix)) {
    clock = kNoClock;
  } else if (otlp::is_otlp_source(name)) {
    clock = names_.sources.id(otlp::facts_of(name).event_source);
  } else {
    clock = source;
  }
  return clock;
}

void EventLog::drop_duplicates_and_tell_time(ArrivedBatch& incoming, IngestCounts& counts) {
  Batch& batch = *incoming.batch;
  std::vector<ephor_event> kept;
  std::vector<Hash128> kept_ids;
  kept.reserve(batch.events.size() + 64);
  kept_ids.reserve(batch.events.size() + 64);
  std::vector<std::string> ticks;
  std::vector<std::size_t> tick_places;  // index in `kept` where each tick belongs
  std::uint64_t late = 0;
  std::uint32_t last_source = UINT32_MAX;
  std::uint32_t clock = kNoClock;

  const auto take = [&](std::size_t index) {
    constexpr std::size_t kAhead = 8;
    if (index + kAhead < batch.ids.size()) dedup_.prefetch(batch.ids[index + kAhead]);
    if (!dedup_.insert(batch.ids[index])) return false;
    ephor_event& event = batch.events[index];
    if (event.source != last_source) {
      last_source = event.source;
      clock = clock_of(last_source);
    }
    LogTime::Seen seen;
    if (clock != kNoClock) seen = log_time_.observe(clock, event.time_ns);
    if (seen.is_late) {
      event.flags |= EPHOR_EVENT_LATE;
      ++late;
    }
    kept.push_back(event);
    kept_ids.push_back(batch.ids[index]);
    if (seen.tick_ns) {
      ticks.push_back(tick_record(*seen.tick_ns));
      tick_places.push_back(kept.size());
      kept.emplace_back();
      kept_ids.push_back(kNoId);
    }
    return true;
  };
  for (const RecordGroup& record : incoming.records) {
    bool is_new = false;
    for (std::uint32_t i = 0; i < record.event_count; ++i) {
      const bool was_taken = take(record.first_event + i);
      if (i == 0) is_new = was_taken;
    }
    if (is_new)
      counts.accepted += record.record_count;
    else
      counts.duplicate += record.record_count;
  }
  counts.events += kept.size() - ticks.size();
  if (!ticks.empty()) {
    std::vector<ephor_event> tick_events;
    append_host_events(batch, ticks, *describers_.lend(), tick_events);
    for (std::size_t i = 0; i < ticks.size(); ++i) kept[tick_places[i]] = tick_events[i];
  }
  batch.events = std::move(kept);
  batch.ids = std::move(kept_ids);
  const std::scoped_lock lock(stats_mutex_);
  stats_.late += late;
  stats_.ticks += ticks.size();
}

EventLog::Submission EventLog::ticketed(BatchPointer batch, bool must_not_fail) {
  Submission made;
  made.ticket = next_ticket_++;
  made.failures_seen = failures_;
  made.must_not_fail = must_not_fail;
  if (batch != nullptr && !batch->events.empty()) {
    made.log_time =
        log_time_.save([&](std::uint32_t number) { return names_.sources.name(number); });
    made.batch = std::move(batch);
    if (!must_not_fail) in_flight_.emplace(made.ticket, made.batch.get());
  }
  return made;
}

// A ticket once taken must be enqueued, or the queue stands still: a failure is handed on.
void EventLog::encode(Submission& submission) {
  if (submission.empty()) return;
  try {
    submission.encoded = journal_.encode(*submission.batch);
  } catch (const std::exception& thrown) {
    if (!submission.must_not_fail) {
      submission.failure = thrown.what();
      return;
    }
    log(EPHOR_LOG_ERROR, kHostName, std::string("events of the host are lost: ") + thrown.what());
    const std::scoped_lock lock(sequence_mutex_);
    forget_ids(*submission.batch);
    submission.batch.reset();
  }
}

EventLog::Submission EventLog::prepare(ArrivedBatch incoming, IngestCounts& counts) {
  const IngestCounts before = counts;
  Submission made;
  {
    const std::scoped_lock lock(sequence_mutex_);
    drop_duplicates_and_tell_time(incoming, counts);
    made = ticketed(std::move(incoming.batch), false);
  }
  encode(made);
  const std::scoped_lock lock(stats_mutex_);
  stats_.duplicates += counts.duplicate - before.duplicate;
  return made;
}

std::optional<EventLog::Submission> EventLog::prepare_derived(
    std::span<const DerivedDraft> drafts) {
  std::vector<std::string> faults;
  BatchPointer batch = build_derived(drafts, *describers_.lend(), wall_clock_ns(), faults);
  for (const std::string& fault : faults) log(EPHOR_LOG_ERROR, kHostName, fault);

  Submission made;
  std::uint64_t duplicates = 0;
  {
    const std::scoped_lock lock(sequence_mutex_);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < batch->events.size(); ++i) {
      if (!dedup_.insert(batch->ids[i])) {
        ++duplicates;
        continue;
      }
      batch->events[kept] = batch->events[i];
      batch->ids[kept++] = batch->ids[i];
    }
    batch->events.resize(kept);
    batch->ids.resize(kept);
    if (kept != 0) made = ticketed(std::move(batch), true);
  }
  {
    const std::scoped_lock lock(stats_mutex_);
    stats_.derived += drafts.size() - faults.size() - duplicates;
    stats_.derived_duplicates += duplicates;
    stats_.derived_faults += faults.size();
  }
  if (made.empty()) return std::nullopt;
  encode(made);
  return made;
}

std::optional<EventLog::Submission> EventLog::prepare_flush() {
  Submission made;
  {
    const std::scoped_lock lock(sequence_mutex_);
    const auto released_ns = log_time_.flush();
    if (!released_ns) return std::nullopt;
    const std::string time = format_time(*released_ns);
    auto batch = std::make_unique<Batch>();
    batch->arrived_ns = wall_clock_ns();
    const std::vector<std::string> records{host_record("ephor.flush", "flush-" + time, *released_ns,
                                                       R"({"log_time":")" + time + "\"}")};
    append_host_events(*batch, records, *describers_.lend(), batch->events);
    batch->ids.assign(1, kNoId);
    made = ticketed(std::move(batch), true);
  }
  encode(made);
  return made;
}

// ---- live -----------------------------------------------------------------------------------

IngestCounts EventLog::ingest(std::vector<ArrivedBatch> incoming) {
  // A slow commit is no silence of the sources.
  struct Ingesting {
    explicit Ingesting(EventLog& of) : log(of) { log.ingesting_.fetch_add(1); }
    ~Ingesting() {
      log.last_ingest_ns_.store(monotonic_ns(), std::memory_order_relaxed);
      log.ingesting_.fetch_sub(1, std::memory_order_release);
    }
    EventLog& log;
  } const ingesting(*this);
  IngestCounts counts;
  std::binary_semaphore is_done(0);
  std::optional<HostError> failure;
  std::atomic<std::size_t> left = incoming.size();
  std::mutex failure_mutex;
  counts.last_sequence = last_sequence();
  if (incoming.empty()) return counts;
  for (ArrivedBatch& one : incoming) {
    enqueue(prepare(std::move(one), counts), [&](const HostError* failed) {
      if (failed != nullptr) {
        const std::scoped_lock lock(failure_mutex);
        failure = *failed;
      }
      if (left.fetch_sub(1) == 1) is_done.release();
    });
  }
  is_done.acquire();
  if (failure) throw *failure;
  counts.last_sequence = last_sequence();
  return counts;
}

std::uint64_t EventLog::submit(Submission submission) {
  const std::uint64_t ticket = submission.ticket;
  enqueue(std::move(submission), [](const HostError*) {});
  return ticket;
}

std::uint64_t EventLog::append_derived(std::span<const DerivedDraft> drafts) {
  auto made = prepare_derived(drafts);
  return made ? submit(std::move(*made)) : 0;
}

std::uint64_t EventLog::append_host(std::string_view topic, std::int64_t time_ns,
                                    std::string data_json) {
  auto batch = std::make_unique<Batch>();
  batch->arrived_ns = wall_clock_ns();
  const std::string id =
      std::string(topic) + "-" + std::to_string(time_ns) + "-" + std::to_string(monotonic_ns());
  const std::vector<std::string> records{host_record(topic, id, time_ns, data_json)};
  append_host_events(*batch, records, *describers_.lend(), batch->events);
  batch->ids.assign(1, kNoId);
  Submission made;
  {
    const std::scoped_lock lock(sequence_mutex_);
    made = ticketed(std::move(batch), true);
  }
  encode(made);
  return submit(std::move(made));
}

std::uint64_t EventLog::flush() {
  auto made = prepare_flush();
  return made ? submit(std::move(*made)) : 0;
}

bool EventLog::wait_committed(std::uint64_t ticket, std::int64_t timeout_ns) {
  std::unique_lock lock(queue_mutex_);
  return committed_changed_.wait_for(lock, std::chrono::nanoseconds(timeout_ns),
                                     [&] { return next_to_commit_ > ticket; });
}

void EventLog::enqueue(Submission submission, std::function<void(const HostError*)> done) {
  {
    const std::scoped_lock lock(queue_mutex_);
    const std::uint64_t ticket = submission.ticket;
    queue_.emplace(ticket, Waiting{std::move(submission), std::move(done)});
  }
  queue_changed_.notify_one();
}

std::vector<EventLog::Waiting> EventLog::take_group(std::unique_lock<std::mutex>& lock) {
  queue_changed_.wait(lock, [&] {
    return (!queue_.empty() && queue_.begin()->first == next_to_commit_) ||
           (is_stopping_ && queue_.empty());
  });
  std::vector<Waiting> group;
  std::size_t events = 0;
  std::uint64_t ticket = next_to_commit_;
  while (!queue_.empty() && queue_.begin()->first == ticket && events < options_.group_events_max) {
    const Submission& first = queue_.begin()->second.submission;
    const bool is_alone = !first.failure.empty();
    if (is_alone && !group.empty()) break;
    if (!first.empty()) events += first.batch->events.size();
    group.push_back(std::move(queue_.begin()->second));
    queue_.erase(queue_.begin());
    ++ticket;
    if (is_alone) break;
  }
  return group;
}

void EventLog::run() {
  for (;;) {
    std::unique_lock lock(queue_mutex_);
    std::vector<Waiting> group = take_group(lock);
    if (group.empty()) return;
    const std::uint64_t after = next_to_commit_ + group.size();
    lock.unlock();
    auto pause = std::chrono::milliseconds(50);
    while (!commit(group)) {  // what must not fail is left in the group
      std::this_thread::sleep_for(pause);
      pause = std::min(pause * 2, std::chrono::milliseconds(2000));
    }
    lock.lock();
    next_to_commit_ = after;
    committed_changed_.notify_all();
  }
}

// What was prepared before a failure may count duplicates of what was not stored.
void EventLog::refuse_stale(std::vector<Waiting>& group) {
  std::vector<Waiting> stale;
  {
    const std::scoped_lock lock(sequence_mutex_);
    std::vector<Waiting> kept;
    for (Waiting& one : group) {
      const bool is_stale = one.submission.failures_seen != failures_;
      // Its log time has seen what was refused.
      if (is_stale) one.submission.log_time = committed_log_time_;
      (is_stale && !one.submission.must_not_fail ? stale : kept).push_back(std::move(one));
    }
    group = std::move(kept);
  }
  const HostError failure = earlier_failed();
  for (Waiting& one : stale) one.done(&failure);
}

// After a failed commit: all that is prepared and may be refused is forgotten at once, so that
// whatever is prepared from now on finds neither ids nor log time of it. Refuses what may be
// refused and leaves the rest in `group`.
void EventLog::take_back(std::vector<Waiting>& group, const HostError& failure) {
  log(EPHOR_LOG_ERROR, kHostName, std::string("journal: ") + failure.what());
  std::uint64_t failures = 0;
  {
    const std::scoped_lock lock(sequence_mutex_);
    failures = ++failures_;
    for (const auto& [ticket, batch] : in_flight_) forget_ids(*batch);
    in_flight_.clear();
    log_time_ = LogTime(options_.log_time);
    if (!committed_log_time_.empty()) {
      log_time_.load(committed_log_time_,
                     [&](std::string_view name) { return names_.sources.id(name); });
    }
  }
  {
    const std::scoped_lock lock(stats_mutex_);
    ++stats_.commit_failures;
    trouble_ = failure.what();
    troubled_ns_ = monotonic_ns();
  }
  refuse_queued(failures);
  std::vector<Waiting> kept;
  for (Waiting& one : group) {
    if (one.submission.must_not_fail)
      kept.push_back(std::move(one));
    else
      one.done(&failure);
  }
  group = std::move(kept);
}

// What is queued behind the failure would be refused when its turn comes, which may be long where
// derived events are tried again and again: its callers are told now, and its ticket stays.
void EventLog::refuse_queued(std::uint64_t failures_before) {
  std::vector<std::function<void(const HostError*)>> refused;
  {
    const std::scoped_lock lock(queue_mutex_);
    for (auto& [ticket, waiting] : queue_) {
      Submission& queued = waiting.submission;
      if (queued.must_not_fail || queued.failures_seen >= failures_before) continue;
      queued.batch.reset();
      queued.encoded = {};
      refused.push_back(std::exchange(waiting.done, [](const HostError*) {}));
    }
  }
  const HostError failure = earlier_failed();
  for (const auto& done : refused) done(&failure);
}

// True when nothing of the group is left to do.
bool EventLog::commit(std::vector<Waiting>& group) {
  refuse_stale(group);
  if (!group.empty() && !group.front().submission.failure.empty()) {
    take_back(group, HostError(EPHOR_FULL, group.front().submission.failure));
    return group.empty();
  }
  std::vector<Pending> pending;
  std::string log_time;
  bool is_proof = false;  // that clients are served again: a small derived batch may still fit
  for (Waiting& one : group) {
    if (one.submission.empty()) continue;
    is_proof = is_proof || !one.submission.must_not_fail;
    pending.push_back({one.submission.batch.get(), std::move(one.submission.encoded)});
    log_time = one.submission.log_time;
  }
  try {
    if (!pending.empty()) journal_.append(pending, log_time);
  } catch (const HostError& failure) {
    std::size_t at = 0;
    for (Waiting& one : group) {
      if (!one.submission.empty()) one.submission.encoded = std::move(pending[at++].encoded);
    }
    take_back(group, failure);
    return group.empty();
  }
  {
    const std::scoped_lock lock(sequence_mutex_);
    if (!pending.empty()) committed_log_time_ = log_time;
    for (const Waiting& one : group) in_flight_.erase(one.submission.ticket);
  }
  for (Waiting& one : group) {
    if (!one.submission.empty()) publish(one.submission);
    one.done(nullptr);
  }
  const std::scoped_lock lock(stats_mutex_);
  ++stats_.commits;
  if (is_proof || monotonic_ns() - troubled_ns_ > kTroubleLastsNs) trouble_.clear();
  return true;
}

void EventLog::commit_now(Submission submission) {
  if (!submission.failure.empty()) throw HostError(EPHOR_FULL, submission.failure);
  if (!submission.empty()) {
    Pending pending{submission.batch.get(), std::move(submission.encoded)};
    journal_.append({&pending, 1}, submission.log_time);
    {
      const std::scoped_lock lock(sequence_mutex_);
      in_flight_.erase(submission.ticket);
    }
    publish(submission);
  }
  const std::scoped_lock lock(stats_mutex_);
  ++stats_.commits;
}

void EventLog::publish(Submission& submission) {
  const std::uint64_t last = submission.batch->events.back().sequence;
  const std::size_t count = submission.batch->events.size();
  topics_.count(submission.batch->events);
  bus_.publish(std::move(submission.batch));
  last_sequence_.store(last, std::memory_order_release);
  const std::scoped_lock lock(stats_mutex_);
  stats_.events += count;
}

// sequence_mutex_ is held.
void EventLog::forget_ids(const Batch& batch) {
  for (const Hash128& id : batch.ids) {
    if (!(id == kNoId)) dedup_.erase(id);
  }
}

}  // namespace ephor::host
