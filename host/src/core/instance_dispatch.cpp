// SPDX-License-Identifier: Apache-2.0
#include "core/instance.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/abi_check.hpp"
#include "core/clock.hpp"
#include "core/delivery.hpp"
#include "core/event_log.hpp"
#include "core/gap_ledger.hpp"
#include "core/logger.hpp"
#include "core/plugin_call.hpp"
#include "event/error.hpp"
#include "event/event_json.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;

// Leaves the reading of the log; what is to be done has been noted.
struct SliceFailed {};  // the plugin failed on it, and is out of work
struct SaveFirst {};    // the slice comes again when what was before it is saved

// A row that is refused keeps the status it was refused with.
template <typename Body>
ephor_status row_kept(ephor_error* error, Body&& body) noexcept {
  return guarded(error, [&] {
    try {
      body();
    } catch (const HostError& failure) {
      throw Error(failure.status(), failure.what());
    }
  });
}

}  // namespace

void Instance::subscribe(const ephor_subscription& subscription) {
  check_whole("subscribe", subscription);
  if (!is_registering_) throw HostError(EPHOR_STATE, "subscribe: only until start has returned");
  if (is_subscribed_) throw HostError(EPHOR_STATE, "subscribe: the instance has a subscription");
  if (is_starting_ && is_source()) {
    throw HostError(EPHOR_STATE,
                    "subscribe: a source subscribes in create, because readers begin first");
  }
  if (subscription.policy > EPHOR_POLICY_LATEST) {
    throw HostError(EPHOR_UNSUPPORTED, "subscribe: found policy " +
                                           std::to_string(subscription.policy) +
                                           ", expected 0 (replay), 1 (drop_oldest) or 2 (latest)");
  }
  Subscription made;
  made.key = to_text(subscription.key);
  if (!made.key.empty() && subscription.policy != EPHOR_POLICY_LATEST) {
    throw HostError(EPHOR_INVALID, "subscribe: found key \"" + made.key +
                                       "\", which belongs to policy 2 (latest)");
  }
  EventKey key(made.key, &services_.names);
  for (std::uint32_t i = 0; i < subscription.pattern_count; ++i) {
    made.patterns.emplace_back(to_text(subscription.patterns[i]));
    check_topic_pattern(made.patterns.back());
  }
  // What is read again has to give the same results, however slow a reader is.
  if (services_.mode == RunMode::live) {
    made.policy = static_cast<OverflowPolicy>(subscription.policy);
  }
  conflater_ =
      made.policy == OverflowPolicy::latest ? std::make_unique<Conflater>(std::move(key)) : nullptr;
  const std::scoped_lock lock(subscription_mutex_);
  subscription_ = std::move(made);
  is_subscribed_ = true;
}

bool Instance::has_work() const {
  return is_at_work() && is_reader() && (reader_->has_more() || reader_->is_holding());
}

bool Instance::serve(std::uint32_t budget) {
  if (!is_reader() || !is_at_work()) return false;
  constexpr std::int64_t kTurnWaitNs = 1'000'000;  // then the dispatcher looks after its others
  const Turn turn(*this, monotonic_ns() + kTurnWaitNs);
  if (!turn.is_taken()) return true;
  if (!is_at_work()) return false;
  bool has_worked = false;
  try {
    has_worked = conflater_ == nullptr ? read(budget) : read_latest(budget);
  } catch (const SaveFirst&) {
    reread_slice();
    has_worked = true;
  } catch (const SliceFailed&) {
    has_worked = true;
  } catch (const std::exception& thrown) {
    ephor_error error = fresh_error();
    store_error(&error, EPHOR_IO, thrown.what());
    note_failure("reading the log", EPHOR_IO, error);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (has_worked) read_has_advanced();
  return has_worked;
}

bool Instance::read(std::uint32_t budget) {
  if (stored_next_ < stored_events_.size()) return serve_from_journal(budget);
  const Reader::Result result = reader_->poll(
      [this](const ephor_event* events, std::uint32_t count) { take(events, count); }, budget);
  if (result.state == Reader::State::fell_behind) return serve_from_journal(budget);
  return result.state != Reader::State::empty;
}

// A slice on its way, from the ring or from the journal.
void Instance::take(const ephor_event* events, std::uint32_t count) {
  if (reader_->is_holding()) {
    conflater_->take(events, count, reader_->published_ns());
  } else {
    deliver(events, count);
  }
}

// With a backlog of more than a slice: looks at what there is, at most so much of it that others
// get their turn, then hands over the newest of each key. Others see the position move when all of
// that is handled.
bool Instance::read_latest(std::uint32_t budget) {
  constexpr std::uint32_t kLooksMax = 64;
  if (!reader_->is_holding()) {
    if (!reader_->is_behind() && reader_->lag() <= Reader::kSliceEvents) return read(budget);
    reader_->hold();
    superseded_before_ = conflater_->superseded();
  }
  bool has_worked = conflater_->is_delivering();
  if (!conflater_->is_delivering()) {
    for (std::uint32_t look = 0; look < kLooksMax && !conflater_->is_full(); ++look) {
      if (!read(Reader::kSliceEvents)) break;
      has_worked = true;
    }
    conflater_->seal();
  }
  for (std::uint32_t given = 0; conflater_->is_delivering() && given < budget;) {
    const auto slice = conflater_->next();
    for (const std::int64_t published_ns : conflater_->published_ns()) {
      reader_->count_delivered(published_ns, 1);
    }
    deliver(slice.data(), static_cast<std::uint32_t>(slice.size()));
    given += static_cast<std::uint32_t>(slice.size());
  }
  if (conflater_->is_delivering()) return true;
  superseded_.fetch_add(conflater_->superseded() - superseded_before_);
  conflater_->clear();
  reader_->release();
  return has_worked;
}

void Instance::read_has_advanced() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (read_waiters_.load(std::memory_order_relaxed) == 0) return;
  const std::scoped_lock lock(read_mutex_);
  read_changed_.notify_all();
}

// The slice in hand was not handled: the reader goes back to where it begins.
void Instance::reread_slice() {
  stored_events_.clear();
  stored_next_ = 0;
  reader_->restart(TopicFilter(services_.names.topics, subscription_.patterns),
                   subscription_.policy, reader_->next_sequence(), 0);
}

// One slice from the journal; back to the ring as soon as it holds what comes next.
bool Instance::serve_from_journal(std::uint32_t budget) {
  if (stored_next_ >= stored_events_.size()) {
    const std::uint64_t next = reader_->unread_sequence();
    if (reader_->try_rejoin(next)) return true;
    // What is missing or damaged is passed, and said aloud.
    const GapLedger::Step step = services_.gaps.next(name(), next, stored_, stored_events_);
    if (!step.gap.empty()) {
      note_fault(step.gap);
      reader_->read_elsewhere(step.next_sequence, 0);
    }
    if (!step.has_batch) return !step.gap.empty();
    stored_next_ = 0;
    reader_->note_stored_batch(monotonic_ns() - (wall_clock_ns() - stored_.arrived_ns));
    while (stored_next_ < stored_events_.size() && stored_events_[stored_next_].sequence < next) {
      ++stored_next_;
    }
  }
  std::vector<ephor_event> slice;
  const std::size_t begin = stored_next_;
  const std::uint32_t most = std::min<std::uint32_t>(budget, Reader::kSliceEvents);
  while (stored_next_ < stored_events_.size() && slice.size() < most) {
    const ephor_event& event = stored_events_[stored_next_++];
    if (reader_->filter().matches(event.topic)) slice.push_back(event);
  }
  const auto count = static_cast<std::uint32_t>(slice.size());
  if (count != 0 && !reader_->is_holding())
    reader_->count_delivered(reader_->published_ns(), count);
  if (count != 0) take(slice.data(), count);
  const bool is_done = stored_next_ >= stored_events_.size();
  const std::uint64_t next =
      is_done ? sequence_of(stored_.position + 1, 0) : stored_events_[stored_next_].sequence;
  reader_->read_elsewhere(next, stored_next_ - begin);
  if (is_done) stored_events_.clear();
  return true;
}

bool Instance::must_be_careful(const ephor_event* events, std::uint32_t count) const {
  const std::uint64_t first = events[0].sequence;
  const std::uint64_t last = events[count - 1].sequence;
  return (last >= careful_from_ && first <= careful_until_) || poison_.any_within(first, last);
}

void Instance::deliver(const ephor_event* events, std::uint32_t count) {
  if (careful_until_ == 0 || !must_be_careful(events, count)) return deliver_slice(events, count);
  deliver_carefully(events, count);
}

void Instance::deliver_carefully(const ephor_event* events, std::uint32_t count) {
  if (!is_careful_saved_) {
    // So that the next attempt need not read again what lies before.
    is_careful_saved_ = true;
    // (A replay saves between its rounds only, when what was derived is in the journal.)
    if (services_.mode == RunMode::live && state_table_ != nullptr &&
        saved_position_ != reader_->next_sequence()) {
      wants_checkpoint_ = true;
      throw SaveFirst();
    }
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!poison_.is_poison(events[i].sequence)) {
      deliver_slice(events + i, 1);
      continue;
    }
    const std::string& why = poison_.error_of(events[i].sequence);
    publish_dead_letter(events + i, 1, settings_.faults.attempts, why);
    if (poison_.note_skipped(events[i].sequence)) note_dead_letters(1, events[i].sequence, why);
  }
}

void Instance::deliver_slice(const ephor_event* events, std::uint32_t count) {
  slice_ = events;
  slice_count_ = count;
  drafts_of_cause_.clear();
  ephor_error error = fresh_error();
  const auto [status, took_ns] =
      deliver_to(table_, events, count, calls_, subscription_stats_, error);
  handler_ns_.fetch_add(static_cast<std::uint64_t>(took_ns), std::memory_order_relaxed);
  slice_ = nullptr;
  slice_count_ = 0;
  // Its thread was given up while the call hung: what it did does not count, its position is
  // before.
  if (!is_at_work()) {
    is_hung_ = false;
    throw SliceFailed();
  }
  if (status != EPHOR_OK) slice_failed(events, count, status, error);
  if (services_.mode == RunMode::live && !derived_.empty()) hand_over_derived();
  if (services_.mode == RunMode::offline) derived_.clear();  // the log stays as it is
}

void Instance::slice_failed(const ephor_event* events, std::uint32_t count, ephor_status status,
                            const ephor_error& error) {
  note_failure("on_events", status, error);
  if (services_.mode == RunMode::offline) return;
  const bool is_lost = life_->is_lost();
  const Loss loss = is_lost ? Loss::process_ended : Loss::call_failed;
  const std::string error_text = is_lost ? life_->loss() : described("on_events", status, error);
  const std::uint64_t first = events[0].sequence;
  const std::uint64_t last = events[count - 1].sequence;
  const bool can_come_again =
      subscription_.policy == OverflowPolicy::replay && (state_table_ != nullptr || is_lost);
  if (can_come_again) {
    // What this slice led to will be derived again.
    std::erase_if(derived_,
                  [&](const DerivedDraft& draft) { return draft.cause_sequence >= first; });
    const bool is_repeat = count == 1 && poison_.note_failed(first, error_text) > 1;
    if (first < careful_from_ || last > careful_until_) {
      careful_from_ = first;
      careful_until_ = last;
      is_careful_saved_ = false;
    }
    leave(is_repeat && !is_lost ? FaultLedger::Verdict{} : judge(loss), error_text);
    throw SliceFailed();
  }
  publish_dead_letter(events, count, 1, error_text);
  note_dead_letters(count, last, error_text);
  const FaultLedger::Verdict verdict = judge(loss);
  if (!is_lost && verdict.action == FaultLedger::Action::go_on) return;
  if (services_.mode == RunMode::live && !derived_.empty()) hand_over_derived();
  leave(verdict, error_text);
  throw SliceFailed();
}

// Its cause is the last event of the slice. Of several nobody knows which one it was.
void Instance::publish_dead_letter(const ephor_event* events, std::uint32_t count,
                                   std::uint32_t attempts, const std::string& error) {
  const ephor_event& last = events[count - 1];
  Json data{{"instance", name()},
            {"plugin", std::string(to_text(plugin().info->id))},
            {"first_sequence", events[0].sequence},
            {"last_sequence", last.sequence},
            {"events", count},
            {"attempts", attempts},
            {"error", error}};
  if (count == 1 && last.encoding <= EPHOR_ENCODING_OTLP) {
    const Json record =
        Json::parse(event_json(last, services_.names.sources.name(last.source)), nullptr, false);
    for (const char* key : {"id", "source", "type"}) {
      if (record.is_object() && record.contains(key)) data["event"][key] = record[key];
    }
  }
  const std::string text = data.dump(-1, ' ', false, Json::error_handler_t::replace);
  ephor_draft draft{};
  draft.struct_size = sizeof draft;
  draft.topic = to_view("ephor.deadletter");
  draft.data_json = to_view(text);
  draft.cause_sequence = last.sequence;
  std::copy(std::begin(last.trace_id), std::end(last.trace_id), std::begin(draft.trace_id));
  slice_ = events;
  slice_count_ = count;
  drafts_of_cause_.clear();
  publish(&draft, 1);
  // A number that no draft of the plugin has: it may have derived something before it failed.
  derived_.back().index = UINT32_MAX;
  slice_ = nullptr;
  slice_count_ = 0;
  if (services_.mode == RunMode::live) hand_over_derived();
}

void Instance::note_dead_letters(std::uint32_t count, std::uint64_t last, const std::string& why) {
  dead_letter_count_.fetch_add(count);
  log(EPHOR_LOG_ERROR, name(),
      "skipped " + std::to_string(count) + (count == 1 ? " event" : " events up to") +
          " sequence " + std::to_string(last) + ": " + why);
}

void Instance::hand_over_derived() {
  const std::uint64_t ticket = services_.log.append_derived(derived_);
  derived_.clear();
  if (ticket != 0) last_derived_ticket_.store(ticket);
}

std::vector<DerivedDraft> Instance::take_derived() {
  if (is_hung_) return {};
  const Turn turn(*this);
  return std::exchange(derived_, {});
}

void Instance::publish(const ephor_draft* drafts, std::uint32_t count) {
  if (slice_ == nullptr) {
    throw HostError(EPHOR_STATE, "publish: only while handling a slice of events");
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const ephor_draft& draft = draft_at(drafts, i);
    const ephor_event* end = slice_ + slice_count_;
    const ephor_event* cause = std::lower_bound(
        slice_, end, draft.cause_sequence,
        [](const ephor_event& event, std::uint64_t sequence) { return event.sequence < sequence; });
    if (cause == end || cause->sequence != draft.cause_sequence) {
      throw HostError(EPHOR_INVALID, "publish: found cause " +
                                         std::to_string(draft.cause_sequence) +
                                         ", expected an event of the slice in hand");
    }
    if (!is_topic(to_text(draft.topic))) {
      throw HostError(EPHOR_INVALID, "publish: found topic \"" + std::string(to_text(draft.topic)) +
                                         "\", expected dot-separated tokens");
    }
    DerivedDraft owned;
    owned.topic = to_text(draft.topic);
    owned.data_json = to_text(draft.data_json);
    owned.correlation_id = to_text(draft.correlation_id);
    std::copy(std::begin(draft.trace_id), std::end(draft.trace_id), owned.trace_id.begin());
    owned.instance = name();
    owned.epoch = epoch_;
    owned.instance_order = order_;
    owned.cause_sequence = cause->sequence;
    owned.time_ns = cause->time_ns;
    drafts_of_cause_.resize(slice_count_);
    owned.index = drafts_of_cause_[static_cast<std::size_t>(cause - slice_)]++;
    derived_.push_back(std::move(owned));
  }
}

void Instance::note_failure(std::string_view what, ephor_status status, const ephor_error& error) {
  const std::string text = described(what, status, error);
  note_fault(text);
  log_failure(text);
}

void Instance::log_failure(const std::string& text) {
  error_count_.fetch_add(1, std::memory_order_relaxed);
  constexpr std::int64_t kLogEveryNs = 1'000'000'000;
  const std::int64_t now = monotonic_ns();
  std::uint64_t unlogged = 0;
  {
    const std::scoped_lock lock(fault_mutex_);
    if (now - failure_logged_ns_ < kLogEveryNs) {
      ++failures_unlogged_;
      return;
    }
    failure_logged_ns_ = now;
    unlogged = std::exchange(failures_unlogged_, 0);
  }
  log(EPHOR_LOG_ERROR, name(),
      text + (unlogged == 0 ? "" : " (and " + std::to_string(unlogged) + " failures not logged)"));
}

// ---- checkpoints --------------------------------------------------------------------------------

std::optional<Checkpoint> Instance::checkpoint() {
  if (!is_at_work() && phase_ != Phase::paused) return std::nullopt;
  constexpr std::int64_t kTurnWaitNs = 1'000'000'000;
  const Turn turn(*this, monotonic_ns() + kTurnWaitNs);
  if (!turn.is_taken() || (!is_at_work() && phase_ != Phase::paused)) return std::nullopt;
  wants_checkpoint_ = false;
  if (state_table_ == nullptr || reader_ == nullptr) return std::nullopt;
  if (reader_->is_holding()) return std::nullopt;  // the state is ahead of the position
  const std::uint64_t position = reader_->next_sequence();
  if (position == saved_position_ || is_checkpoint_on_its_way_) return std::nullopt;
  Checkpoint made = services_.storage.checkpoint(name());
  made.plugin_version = to_text(plugin().info->version);
  made.state_version = state_table_->state_version;
  made.sequence = position - 1;
  made.generation = generation_;
  made.epoch = epoch_;
  made.saved_at_ns = wall_clock_ns();
  const ephor_rows rows{
      sizeof(ephor_rows), 0, &made,
      [](void* context, ephor_view table, const ephor_cell* cells, std::uint32_t count,
         ephor_error* error) {
        return row_kept(error, [&] {
          static_cast<Checkpoint*>(context)->upsert(to_text(table), {cells, count});
        });
      },
      [](void* context, ephor_view table, const ephor_cell* key, std::uint32_t count,
         ephor_error* error) {
        return row_kept(error, [&] {
          static_cast<Checkpoint*>(context)->erase(to_text(table), {key, count});
        });
      }};
  ephor_writer state{sizeof(ephor_writer), 0, &made, [](void* context, ephor_view bytes) {
                       return guarded(nullptr, [&] {
                         static_cast<Checkpoint*>(context)->append_state(to_text(bytes));
                       });
                     }};
  ephor_error error = fresh_error();
  const CallBoard::Scope scope(calls_, "save", position);
  const ephor_status status =
      contained_call(error, [&] { return state_table_->save(table_.self, &rows, &state, &error); });
  if (status != EPHOR_OK) {
    note_failure("save", status, error);
    const bool is_lost = life_->is_lost();
    // It may have forgotten what it did not write: the next object begins with what was saved.
    leave(judge(is_lost ? Loss::process_ended : Loss::call_failed),
          is_lost ? life_->loss() : described("save", status, error));
    return std::nullopt;
  }
  is_checkpoint_on_its_way_ = true;
  saved_position_ = position;
  events_read_at_save_ = reader_->events_read();
  poison_.forget_before(position);
  return made;
}

void Instance::checkpoint_done(bool was_saved) {
  if (was_saved) {
    checkpoint_count_.fetch_add(1);
    checkpoint_at_ns_.store(monotonic_ns());
  }
  is_checkpoint_on_its_way_ = false;
}

}  // namespace ephor::host
