// SPDX-License-Identifier: Apache-2.0
#include "core/instance.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <future>
#include <tuple>

#include "core/event_log.hpp"
#include "core/instance_tables.hpp"
#include "core/log_reader.hpp"
#include "core/logger.hpp"
#include "core/registry.hpp"
#include "event/error.hpp"
#include "event/hash.hpp"

namespace ephor::host {
namespace {

using Clock = std::chrono::steady_clock;

Clock::time_point at_monotonic(std::int64_t ns) {
  return Clock::time_point(
      std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds(ns)));
}

std::string epoch_of(const LoadedPlugin& plugin, std::string_view config) {
  const std::string text = std::string(to_text(plugin.info->version)) + '\0' + std::string(config);
  char digits[9];
  std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(hash64(text)));
  return digits;
}

std::string described(std::string_view what, ephor_status status, const ephor_error& error) {
  std::string text = std::string(what) + ": ";
  text += error.message[0] != '\0' ? error.message : "no message";
  if (error.json_pointer[0] != '\0') text += std::string(" at ") + error.json_pointer;
  return text + " (status " + std::to_string(status) + ")";
}

ephor_error fresh_error() {
  ephor_error error;
  error.struct_size = sizeof error;
  error.code = EPHOR_OK;
  error.message[0] = '\0';
  error.json_pointer[0] = '\0';
  return error;
}

// A plugin written straight onto the C ABI may throw in spite of it.
template <typename Call>
ephor_status contained_call(ephor_error& error, Call&& call) noexcept {
  try {
    return call();
  } catch (const std::exception& thrown) {
    return store_error(&error, EPHOR_INTERNAL, std::string_view(thrown.what()));
  } catch (...) {
    return store_error(&error, EPHOR_INTERNAL, "an exception crossed the ABI");
  }
}

}  // namespace

Instance::Turn::Turn(Instance& instance)
    : turns_(instance.turns_), is_taken_(turns_.acquire(std::nullopt)) {}

Instance::Turn::Turn(Instance& instance, std::int64_t deadline_ns)
    : turns_(instance.turns_), is_taken_(turns_.acquire(at_monotonic(deadline_ns))) {}

Instance::Turn::~Turn() {
  if (is_taken_) turns_.release();
}

Instance::Instance(HostServices& services, std::string name, std::uint32_t order,
                   LoadedPlugin plugin, std::string config_json)
    : services_(services),
      name_(std::move(name)),
      order_(order),
      plugin_(std::move(plugin)),
      config_json_(std::move(config_json)),
      epoch_(epoch_of(plugin_, config_json_)),
      tables_(std::make_unique<InstanceTables>(*this)),
      rejected_(services.metrics.series(MetricRegistry::Kind::counter,
                                        "ephor_ingest_rejected_records_total",
                                        "Records refused at the door.", {{"instance", name_}})) {}

Instance::~Instance() {
  reader_.reset();
  if (table_.destroy != nullptr) {
    ephor_error error = fresh_error();
    contained_call(error, [&] {
      table_.destroy(table_.self);
      return EPHOR_OK;
    });
  }
}

// ---- control ----------------------------------------------------------------------------------

void Instance::create() {
  const Turn turn(*this);
  is_registering_ = true;
  table_ = {};
  table_.struct_size = sizeof table_;
  ephor_error error = fresh_error();
  const ephor_status status = contained_call(error, [&] {
    return plugin_.info->create(&tables_->host, to_view(name_), to_view(config_json_), &table_,
                                &error);
  });
  if (status != EPHOR_OK) {
    table_ = {};
    phase_ = Phase::failed;
    throw HostError(status, described("plugin " + name_ + ": create", status, error));
  }
  if (table_.get_extension != nullptr) {
    state_table_ = static_cast<const ephor_checkpoint*>(
        table_.get_extension(table_.self, to_view("ephor.storage/1")));
  }
}

void Instance::restore() {
  const Turn turn(*this);
  std::uint64_t from = sequence_of(1, 0);
  if (state_table_ != nullptr) {
    if (services_.mode != RunMode::offline) generation_ = services_.storage.next_generation(name_);
    if (const auto saved = services_.storage.load(name_)) {
      ephor_error error = fresh_error();
      const ephor_status status = contained_call(error, [&] {
        return state_table_->load(table_.self, saved->state_version, to_view(saved->state), &error);
      });
      if (status == EPHOR_OK) {
        from = saved->sequence + 1;
        saved_position_ = from;
      } else {
        log(EPHOR_LOG_WARNING, name_,
            described("saved state of version " + std::to_string(saved->state_version), status,
                      error) +
                "; rebuilding from the journal");
        must_recreate_ = true;
      }
    }
  }
  restored_sequence_ = from;
}

void Instance::begin_anew() {
  restored_sequence_ = sequence_of(1, 0);
  if (services_.mode == RunMode::offline) return;
  generation_ = services_.storage.next_generation(name_);
  must_reset_ = true;
}

void Instance::open_reader() {
  if (!is_subscribed_ || phase_ == Phase::failed) return;
  if (policy_ == OverflowPolicy::drop_oldest && saved_position_ == 0) {
    restored_sequence_ = services_.bus.next_sequence();
  }
  ReaderOptions options;
  options.filter = TopicFilter(services_.names.topics, patterns_);
  options.policy = policy_;
  options.next_sequence = restored_sequence_;
  reader_ = std::make_unique<Reader>(services_.bus, std::move(options));
}

void Instance::call(const char* what, ephor_status (*function)(void*, ephor_error*)) {
  if (function == nullptr) return;
  ephor_error error = fresh_error();
  const ephor_status status = contained_call(error, [&] { return function(table_.self, &error); });
  if (status != EPHOR_OK) {
    throw HostError(status, described("plugin " + name_ + ": " + what, status, error));
  }
}

void Instance::start() {
  const Turn turn(*this);
  is_starting_ = true;
  try {
    call("start", table_.start);
  } catch (const HostError&) {
    phase_ = Phase::failed;
    is_registering_ = false;
    throw;
  }
  is_registering_ = false;
  if (must_reset_) services_.storage.reset(name_);  // by now its tables are declared
  must_reset_ = false;
  phase_ = Phase::running;
}

void Instance::drain(std::int64_t deadline_ns) {
  const Turn turn(*this);
  if (phase_ != Phase::running) return;
  phase_ = Phase::draining;
  if (table_.drain == nullptr) return;
  ephor_error error = fresh_error();
  const ephor_status status =
      contained_call(error, [&] { return table_.drain(table_.self, deadline_ns, &error); });
  if (status != EPHOR_OK) note_failure("drain", status, error);
}

void Instance::stop() {
  services_.tasks.wait_for(this);
  // A query may be waiting on this instance's own threads; they end on stop, so it takes no turn
  // longer than a moment to come.
  const Turn turn(*this, monotonic_ns() + 5'000'000'000);
  if (phase_ == Phase::stopped || table_.stop == nullptr) return;
  phase_ = Phase::stopped;
  ephor_error error = fresh_error();
  const ephor_status status =
      contained_call(error, [&] { return table_.stop(table_.self, &error); });
  if (status != EPHOR_OK) note_failure("stop", status, error);
}

// ---- dispatch ---------------------------------------------------------------------------------

void Instance::subscribe(const ephor_subscription& subscription) {
  if (!is_registering_) throw HostError(EPHOR_STATE, "subscribe: only until start has returned");
  if (is_subscribed_) throw HostError(EPHOR_STATE, "subscribe: the instance has a subscription");
  if (is_starting_ && is_source()) {
    throw HostError(EPHOR_STATE,
                    "subscribe: a source subscribes in create, because readers begin first");
  }
  if (subscription.policy > EPHOR_POLICY_DROP_OLDEST) {
    throw HostError(EPHOR_UNSUPPORTED, "subscribe: found policy " +
                                           std::to_string(subscription.policy) +
                                           ", expected 0 (replay) or 1 (drop_oldest)");
  }
  std::vector<std::string> patterns;
  for (std::uint32_t i = 0; i < subscription.pattern_count; ++i) {
    patterns.emplace_back(to_text(subscription.patterns[i]));
    check_topic_pattern(patterns.back());
  }
  patterns_ = std::move(patterns);
  policy_ = static_cast<OverflowPolicy>(subscription.policy);
  is_subscribed_ = true;
}

bool Instance::has_work() const { return reader_ != nullptr && reader_->has_more(); }

bool Instance::serve(std::uint32_t budget) {
  if (reader_ == nullptr) return false;
  if (phase_ == Phase::failed) return pass_over(budget);
  constexpr std::int64_t kTurnWaitNs = 1'000'000;  // then the dispatcher looks after its others
  const Turn turn(*this, monotonic_ns() + kTurnWaitNs);
  if (!turn.is_taken()) return true;
  bool has_worked = false;
  try {
    if (stored_next_ < stored_events_.size()) {
      has_worked = serve_from_journal(budget);
    } else {
      const Reader::Result result = reader_->poll(
          [this](const ephor_event* events, std::uint32_t count) { deliver(events, count); },
          budget);
      has_worked = result.state != Reader::State::empty;
      if (result.state == Reader::State::fell_behind) has_worked = serve_from_journal(budget);
    }
  } catch (const std::exception& thrown) {
    ephor_error error = fresh_error();
    store_error(&error, EPHOR_IO, thrown.what());
    note_failure("reading the log", EPHOR_IO, error);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  if (has_worked) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (read_waiters_.load(std::memory_order_relaxed) != 0) {
      const std::scoped_lock lock(read_mutex_);
      read_changed_.notify_all();
    }
  }
  return has_worked;
}

// A source that did not start: nobody waits for it.
bool Instance::pass_over(std::uint32_t budget) {
  const Reader::Result result = reader_->poll([](const ephor_event*, std::uint32_t) {}, budget);
  if (result.state != Reader::State::fell_behind) return result.state != Reader::State::empty;
  const std::uint64_t next = services_.bus.next_sequence();
  reader_->read_elsewhere(next, 0);
  reader_->try_rejoin(next);
  return true;
}

// One slice from the journal; back to the ring as soon as it holds what comes next.
bool Instance::serve_from_journal(std::uint32_t budget) {
  if (stored_next_ >= stored_events_.size()) {
    const std::uint64_t next = reader_->next_sequence();
    if (reader_->try_rejoin(next)) return true;
    try {
      if (!services_.log_reader.next(position_of(next), stored_, stored_events_)) return false;
    } catch (const HostError& failure) {
      // A damaged batch: what is in it is lost to this reader; the gap is said aloud.
      report_health(EPHOR_HEALTH_DEGRADED, std::string("journal gap: ") + failure.what());
      log(EPHOR_LOG_ERROR, name_, failure.what());
      stored_events_.clear();
      if (stored_.position < position_of(next)) throw;
      reader_->read_elsewhere(sequence_of(stored_.position + 1, 0), 0);
      return true;
    }
    stored_next_ = 0;
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
  if (!slice.empty()) deliver(slice.data(), static_cast<std::uint32_t>(slice.size()));
  const bool is_done = stored_next_ >= stored_events_.size();
  const std::uint64_t next =
      is_done ? sequence_of(stored_.position + 1, 0) : stored_events_[stored_next_].sequence;
  reader_->read_elsewhere(next, stored_next_ - begin);
  if (is_done) stored_events_.clear();
  return true;
}

void Instance::deliver(const ephor_event* events, std::uint32_t count) {
  slice_ = events;
  slice_count_ = count;
  drafts_of_cause_.clear();
  ephor_error error = fresh_error();
  const std::int64_t before = monotonic_ns();
  const ephor_status status =
      contained_call(error, [&] { return table_.on_events(table_.self, events, count, &error); });
  handler_ns_.fetch_add(static_cast<std::uint64_t>(monotonic_ns() - before),
                        std::memory_order_relaxed);
  slice_ = nullptr;
  slice_count_ = 0;
  if (status != EPHOR_OK) note_failure("on_events", status, error);
  if (services_.mode == RunMode::live && !derived_.empty()) hand_over_derived();
  if (services_.mode == RunMode::offline) derived_.clear();  // the log stays as it is
}

void Instance::hand_over_derived() {
  const std::uint64_t ticket = services_.log.append_derived(derived_);
  derived_.clear();
  if (ticket != 0) last_derived_ticket_.store(ticket);
}

std::vector<DerivedDraft> Instance::take_derived() {
  const Turn turn(*this);
  return std::exchange(derived_, {});
}

void Instance::publish(const ephor_draft* drafts, std::uint32_t count) {
  if (slice_ == nullptr) {
    throw HostError(EPHOR_STATE, "publish: only while handling a slice of events");
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const ephor_draft& draft = drafts[i];
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
    owned.instance = name_;
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
  error_count_.fetch_add(1, std::memory_order_relaxed);
  const std::string text = described(what, status, error);
  report_health(EPHOR_HEALTH_DEGRADED, text);
  constexpr std::int64_t kLogEveryNs = 1'000'000'000;
  const std::int64_t now = monotonic_ns();
  if (now - failure_logged_ns_ < kLogEveryNs) {
    ++failures_unlogged_;
    return;
  }
  log(EPHOR_LOG_ERROR, name_,
      text + (failures_unlogged_ == 0
                  ? ""
                  : " (and " + std::to_string(failures_unlogged_) + " failures not logged)"));
  failure_logged_ns_ = now;
  failures_unlogged_ = 0;
}

// ---- checkpoints ------------------------------------------------------------------------------

std::optional<Checkpoint> Instance::checkpoint() {
  if (state_table_ == nullptr || reader_ == nullptr || phase_ == Phase::failed) return std::nullopt;
  const Turn turn(*this);
  const std::uint64_t position = reader_->next_sequence();
  if (position == saved_position_ || is_checkpoint_on_its_way_) return std::nullopt;
  Checkpoint made = services_.storage.checkpoint(name_);
  made.plugin_version = to_text(plugin_.info->version);
  made.state_version = state_table_->state_version;
  made.sequence = position - 1;
  made.generation = generation_;
  made.epoch = epoch_;
  made.saved_at_ns = wall_clock_ns();
  const ephor_rows rows{
      sizeof(ephor_rows), 0, &made,
      [](void* context, ephor_view table, const ephor_cell* cells, std::uint32_t count,
         ephor_error* error) {
        return guarded(error, [&] {
          static_cast<Checkpoint*>(context)->upsert(to_text(table), {cells, count});
        });
      },
      [](void* context, ephor_view table, const ephor_cell* key, std::uint32_t count,
         ephor_error* error) {
        return guarded(error, [&] {
          static_cast<Checkpoint*>(context)->erase(to_text(table), {key, count});
        });
      }};
  ephor_writer state{sizeof(ephor_writer), 0, &made, [](void* context, ephor_view bytes) {
                       return guarded(nullptr, [&] {
                         static_cast<Checkpoint*>(context)->append_state(to_text(bytes));
                       });
                     }};
  ephor_error error = fresh_error();
  const ephor_status status =
      contained_call(error, [&] { return state_table_->save(table_.self, &rows, &state, &error); });
  if (status != EPHOR_OK) {
    note_failure("save", status, error);
    return std::nullopt;
  }
  is_checkpoint_on_its_way_ = true;
  saved_position_ = position;
  return made;
}

void Instance::checkpoint_done(bool was_saved) {
  if (was_saved) {
    checkpoint_count_.fetch_add(1);
    checkpoint_at_ns_.store(monotonic_ns());
  }
  is_checkpoint_on_its_way_ = false;
}

double Instance::checkpoint_age_seconds() const {
  const std::int64_t at = checkpoint_at_ns_.load();
  return at == 0 ? -1.0 : static_cast<double>(monotonic_ns() - at) * 1e-9;
}

// ---- queries ----------------------------------------------------------------------------------

void Instance::wait_until_read(std::uint64_t sequence, std::int64_t deadline_ns) {
  if (reader_ == nullptr || position() > sequence) return;
  read_waiters_.fetch_add(1, std::memory_order_seq_cst);
  std::unique_lock lock(read_mutex_);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool has_read = read_changed_.wait_until(lock, at_monotonic(deadline_ns),
                                                 [&] { return position() > sequence; });
  read_waiters_.fetch_sub(1);
  if (!has_read) {
    throw HostError(EPHOR_TIMEOUT, "instance " + name_ + " has not read sequence " +
                                       std::to_string(sequence) + " in time");
  }
}

void Instance::answer(const QueryEntry& query, ephor_view request, std::int64_t deadline_ns,
                      std::uint64_t after_sequence, ephor_writer* answer,
                      std::uint64_t* as_of_sequence) {
  const Phase phase = phase_.load();
  if (phase == Phase::failed || phase == Phase::stopped || phase == Phase::created) {
    throw HostError(EPHOR_STATE, "instance " + name_ + " is not running");
  }
  if (after_sequence != 0) wait_until_read(after_sequence, deadline_ns);

  // Shared, because a late finish may come after the caller has gone.
  struct Answer {
    std::mutex mutex;  // guards answer
    std::string answer;
    std::promise<std::pair<ephor_status, std::string>> finished;
  };
  const auto pending = std::make_shared<Answer>();
  struct Context {
    std::shared_ptr<Answer> pending;
  };
  auto context = std::make_unique<Context>(Context{pending});
  ephor_reply reply{
      sizeof(ephor_reply),
      0,
      context.get(),
      [](void* to, ephor_view bytes) {
        return guarded(nullptr, [&] {
          Answer& target = *static_cast<Context*>(to)->pending;
          const std::scoped_lock lock(target.mutex);
          target.answer.append(to_text(bytes));
        });
      },
      [](void* to, ephor_status status, const ephor_error* error) {
        const std::unique_ptr<Context> owned(static_cast<Context*>(to));
        guarded(nullptr, [&] {
          owned->pending->finished.set_value({status, error != nullptr ? error->message : ""});
        });
      },
      deadline_ns};
  ephor_error error = fresh_error();
  ephor_status status = EPHOR_OK;
  const auto run = [&] {
    if (as_of_sequence != nullptr) {
      *as_of_sequence = reader_ != nullptr ? position() - 1 : services_.log.last_sequence();
    }
    status =
        contained_call(error, [&] { return query.handler(query.user, request, &reply, &error); });
  };
  if ((plugin_.info->capabilities & EPHOR_CAP_CONCURRENT_QUERY) != 0) {
    run();
  } else {
    const Turn turn(*this, deadline_ns);
    if (!turn.is_taken()) {
      throw HostError(EPHOR_TIMEOUT, "instance " + name_ + " is busy: no turn for " + query.name);
    }
    run();
  }
  std::string message = error.message;
  if (status == EPHOR_PENDING) {
    (void)context.release();  // finish owns it
    auto finished = pending->finished.get_future();
    if (finished.wait_until(at_monotonic(deadline_ns)) != std::future_status::ready) {
      throw HostError(EPHOR_TIMEOUT, "query " + query.name + " did not answer in time");
    }
    std::tie(status, message) = finished.get();
  }
  if (status != EPHOR_OK) {
    throw Error(status, message.empty() ? "query " + query.name + " failed" : message,
                error.json_pointer);
  }
  const std::scoped_lock lock(pending->mutex);
  if (answer->write(answer->context, to_view(pending->answer)) != EPHOR_OK) {
    throw HostError(EPHOR_FULL, "the answer of " + query.name + " could not be written");
  }
}

void Instance::run_command(const CommandEntry& command, ephor_view arguments, ephor_writer* out) {
  const Turn turn(*this);
  ephor_error error = fresh_error();
  const ephor_status status =
      contained_call(error, [&] { return command.handler(command.user, arguments, out, &error); });
  if (status != EPHOR_OK) {
    throw HostError(status, error.message[0] != '\0' ? error.message : "command failed");
  }
}

// ---- what others see --------------------------------------------------------------------------

std::uint64_t Instance::position() const {
  return reader_ != nullptr ? reader_->next_sequence() : restored_sequence_;
}

ReaderStats Instance::reader_stats() const {
  return reader_ != nullptr ? reader_->stats() : ReaderStats{};
}

Instance::Health Instance::health() const {
  const std::scoped_lock lock(health_mutex_);
  return health_;
}

void Instance::report_health(std::int32_t state, std::string reason) {
  const std::scoped_lock lock(health_mutex_);
  health_ = {state, std::move(reason)};
}

void Instance::count_rejected(std::uint64_t records) {
  rejected_.value.fetch_add(static_cast<double>(records), std::memory_order_relaxed);
}

}  // namespace ephor::host
