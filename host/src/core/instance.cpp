// SPDX-License-Identifier: Apache-2.0
#include "core/instance.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>
#include <utility>

#include "core/abi_check.hpp"
#include "core/clock.hpp"
#include "core/event_log.hpp"
#include "core/health_board.hpp"
#include "core/instance_tables.hpp"
#include "core/logger.hpp"
#include "core/plugin_call.hpp"
#include "core/registry.hpp"
#include "core/thread_stack.hpp"
#include "event/error.hpp"
#include "event/hash.hpp"
#include "isolation/process_life.hpp"

namespace ephor::host {
namespace {

constexpr std::int64_t kNever = INT64_MAX;
constexpr std::chrono::seconds kPatience{5};  // with calls, tasks and checkpoints that still run

std::string epoch_of(const InstanceSettings& settings) {
  const std::string text =
      std::string(to_text(settings.plugin.info->version)) + '\0' + settings.config_json;
  char digits[9];
  std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(hash64(text)));
  return digits;
}

std::string seconds_text(std::int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g s", static_cast<double>(ns) * 1e-9);
  return text;
}

}  // namespace

Instance::Turn::Turn(Instance& instance)
    : turns_(instance.turns_), is_taken_(turns_.acquire(std::nullopt)) {}

Instance::Turn::Turn(Instance& instance, std::int64_t deadline_ns)
    : turns_(instance.turns_),
      is_taken_(turns_.acquire(
          TurnQueue::TimePoint(std::chrono::duration_cast<TurnQueue::TimePoint::duration>(
              std::chrono::nanoseconds(deadline_ns))))) {}

Instance::Turn::~Turn() {
  if (is_taken_) turns_.release();
}

Instance::Instance(HostServices& services, InstanceSettings settings, std::uint32_t order)
    : services_(services),
      settings_(std::move(settings)),
      order_(order),
      epoch_(epoch_of(settings_)),
      tables_(std::make_unique<InstanceTables>(*this)),
      calls_(settings_.name),
      rejected_(services.metrics.series(MetricRegistry::Kind::counter,
                                        "ephor_ingest_rejected_records_total",
                                        "Records refused at the door.", {{"instance", name()}})),
      poison_(settings_.faults.attempts),
      ledger_(settings_.faults, services.mode == RunMode::replay) {}

Instance::~Instance() {
  reader_.reset();
  life_.reset();
}

// ---- lives --------------------------------------------------------------------------------------

void Instance::set_life(std::shared_ptr<PluginLife> life) {
  {
    const std::scoped_lock lock(life_mutex_);
    life_.swap(life);
  }
  life.reset();  // its destruction, outside of the lock
}

void Instance::make_life() {
  is_registering_ = true;
  is_subscribed_ = false;
  const CallBoard::Scope scope(calls_, "create");
  set_life(settings_.isolation == Isolation::process
               ? isolation::make_process_life(settings_, tables_->host)
               : make_local_life(settings_, tables_->host));
  table_ = life_->table();
  process_id_ = life_->process_id();
  state_table_ = checkpoint_of("plugin " + name(), table_);
  saves_state_ = state_table_ != nullptr;
}

// The sequence after the newest saved state, which is loaded. False if it cannot be read.
bool Instance::load_state() {
  restored_sequence_ = sequence_of(1, 0);
  saved_position_ = 0;
  if (state_table_ == nullptr) return true;
  if (services_.mode != RunMode::offline) generation_ = services_.storage.next_generation(name());
  const auto saved = services_.storage.load(name());
  if (!saved) return true;
  ephor_error error = fresh_error();
  const CallBoard::Scope scope(calls_, "load");
  const ephor_status status = contained_call(error, [&] {
    return state_table_->load(table_.self, saved->state_version, to_view(saved->state), &error);
  });
  if (status == EPHOR_OK) {
    saved_position_ = saved->sequence + 1;
    restored_sequence_ = saved_position_.load();
    return true;
  }
  if (life_->is_lost()) throw HostError(EPHOR_IO, life_->loss());
  log(EPHOR_LOG_WARNING, name(),
      described("saved state of version " + std::to_string(saved->state_version), status, error) +
          "; rebuilding from the journal");
  return false;
}

void Instance::begin_anew() {
  restored_sequence_ = sequence_of(1, 0);
  saved_position_ = 0;
  if (services_.mode == RunMode::offline) return;
  generation_ = services_.storage.next_generation(name());
  must_reset_ = true;
}

// What still runs in the old life must have ended; if it does not, the life is left to it.
void Instance::end_life() {
  if (life_ == nullptr) return;
  const bool is_unused = services_.tasks.wait_for(this, kPatience) && calls_.wait_idle(kPatience);
  if (is_unused && table_.stop != nullptr && !life_->is_lost()) {
    ephor_error error = fresh_error();
    const CallBoard::Scope scope(calls_, "stop");
    contained_call(error, [&] { return table_.stop(table_.self, &error); });
  }
  if (!is_unused) {
    log(EPHOR_LOG_ERROR, name(), "calls of its last life still run; what they use stays in memory");
    leaked_lives_.push_back(life_);
  }
  set_life(nullptr);
  table_ = {};
  state_table_ = nullptr;
  process_id_ = 0;
}

void Instance::start_life() {
  is_starting_ = true;
  try {
    call("start", table_.start);
  } catch (const HostError&) {
    is_registering_ = is_starting_ = false;
    throw;
  }
  is_registering_ = is_starting_ = false;
  services_.registry.end_renewal(name());
  if (must_reset_) services_.storage.reset(name());  // by now its tables are declared
  must_reset_ = false;
}

void Instance::call(const char* what, ephor_status (*function)(void*, ephor_error*)) {
  if (function == nullptr) return;
  ephor_error error = fresh_error();
  const CallBoard::Scope scope(calls_, what);
  const ephor_status status = contained_call(error, [&] { return function(table_.self, &error); });
  if (status != EPHOR_OK) {
    throw HostError(status, described("plugin " + name() + ": " + what, status, error));
  }
}

// Where its reader begins.
std::uint64_t Instance::first_sequence() const {
  const bool wants_only_new =
      subscription_.policy == OverflowPolicy::drop_oldest && saved_position_ == 0;
  return wants_only_new ? services_.bus.next_sequence() : restored_sequence_.load();
}

void Instance::attach_reader() {
  if (!is_subscribed_) return;
  restored_sequence_ = first_sequence();
  TopicFilter filter(services_.names.topics, subscription_.patterns);
  stored_events_.clear();
  stored_next_ = 0;
  if (conflater_ != nullptr) conflater_->clear();
  if (reader_ == nullptr) {
    reader_ = std::make_unique<Reader>(
        services_.bus, ReaderOptions{std::move(filter), subscription_.policy, restored_sequence_});
    has_reader_.store(true);
    return;
  }
  const std::uint64_t read = reader_->events_read();
  reader_->restart(std::move(filter), subscription_.policy, restored_sequence_,
                   read - std::min(read, events_read_at_save_));
}

// ---- control ------------------------------------------------------------------------------------

void Instance::create() {
  const Turn turn(*this);
  try {
    make_life();
  } catch (const HostError&) {
    phase_ = Phase::failed;
    throw;
  }
}

void Instance::restore() {
  const Turn turn(*this);
  if (load_state()) return;
  services_.registry.begin_renewal(name());
  end_life();
  make_life();
  begin_anew();
}

void Instance::open_reader() {
  if (phase_ == Phase::failed) return;
  attach_reader();
  if (reader_ != nullptr && phase_ == Phase::quarantined) reader_->detach();
}

void Instance::start() {
  const Turn turn(*this);
  try {
    start_life();
  } catch (const HostError&) {
    phase_ = Phase::failed;
    if (reader_ != nullptr) reader_->detach();
    throw;
  }
  phase_ = Phase::running;
}

void Instance::drain(std::int64_t deadline_ns) {
  if (phase_ != Phase::running) return;
  const Turn turn(*this, deadline_ns);
  if (!turn.is_taken() || phase_ != Phase::running) return;
  phase_ = Phase::draining;
  if (table_.drain == nullptr) return;
  ephor_error error = fresh_error();
  const CallBoard::Scope scope(calls_, "drain");
  const ephor_status status =
      contained_call(error, [&] { return table_.drain(table_.self, deadline_ns, &error); });
  if (status != EPHOR_OK) note_failure("drain", status, error);
}

void Instance::stop() {
  if (is_hung_) return;
  services_.tasks.wait_for(this, kPatience);
  // A query may be waiting on this instance's own threads; they end on stop, so it takes no turn
  // longer than a moment to come.
  const Turn turn(*this, monotonic_ns() + 5'000'000'000);
  if (phase_ == Phase::stopped || table_.stop == nullptr) return;
  phase_ = Phase::stopped;
  ephor_error error = fresh_error();
  const CallBoard::Scope scope(calls_, "stop");
  const ephor_status status =
      contained_call(error, [&] { return table_.stop(table_.self, &error); });
  if (status != EPHOR_OK) note_failure("stop", status, error);
}

bool Instance::pause(std::int64_t deadline_ns) {
  if (is_hung_) return true;  // there is nothing of it to save
  const Turn turn(*this, deadline_ns);
  if (!turn.is_taken()) return false;
  const std::scoped_lock lock(fault_mutex_);
  if (is_at_work()) phase_ = Phase::paused;
  return true;
}

bool Instance::has_unsaved() const {
  if (phase_ != Phase::paused || state_table_ == nullptr || !is_reader()) return false;
  return is_checkpoint_on_its_way_ || saved_position_ != position();
}

void Instance::resume() {
  {
    const std::scoped_lock lock(fault_mutex_);
    if (phase_ == Phase::paused) phase_ = Phase::running;
  }
  services_.bus.wakers().wake_parked();
}

void Instance::retire() {
  {
    const std::scoped_lock lock(fault_mutex_);
    phase_ = Phase::stopped;
  }
  if (reader_ != nullptr) reader_->detach();
  if (is_hung_) return;
  const Turn turn(*this, monotonic_ns() + std::chrono::nanoseconds(kPatience).count());
  if (turn.is_taken()) end_life();
}

// ---- supervision --------------------------------------------------------------------------------

void Instance::look_after(std::int64_t now_ns) {
  const FaultSettings& faults = settings_.faults;
  calls_.look(
      now_ns, faults.soft_limit_ns, faults.hard_limit_ns,
      [&](const CallBoard::Overdue& overdue) { call_overdue(overdue, false); },
      [&](const CallBoard::Overdue& overdue) { call_overdue(overdue, true); });
  // Between two calls nobody else notices.
  if (process_id_ != 0 && is_at_work()) {
    const Turn turn(*this, now_ns);
    if (turn.is_taken() && is_at_work() && life_->is_lost()) {
      log_failure(life_->loss());
      leave(judge(Loss::process_ended), life_->loss());
    }
  }
  const std::scoped_lock lock(fault_mutex_);
  if (phase_ == Phase::running && found_.state != EPHOR_HEALTH_OK &&
      now_ns - found_at_ns_ > faults.window_ns) {
    found_ = {};
  }
}

void Instance::call_overdue(const CallBoard::Overdue& overdue, bool is_hard) {
  const FaultSettings& faults = settings_.faults;
  std::string why = std::string(overdue.what) + " has not returned for " +
                    seconds_text(is_hard ? faults.hard_limit_ns : faults.soft_limit_ns);
  if (overdue.sequence != 0) {
    why += ", in the slice from sequence " + std::to_string(overdue.sequence);
  }
  error_count_.fetch_add(1);
  if (!is_hard) {
    note_fault(why);
    if (process_id_ == 0) make_thread_idle(overdue.thread_id);
    std::string stack;
    for (const std::string& frame : stack_of_thread(overdue.thread_id)) stack += "\n  " + frame;
    log(EPHOR_LOG_WARNING, name(), why + (stack.empty() ? "; no stack" : "; it is in" + stack));
    return;
  }
  log(EPHOR_LOG_ERROR, name(), why);
  const std::shared_ptr<PluginLife> life = [&] {
    const std::scoped_lock lock(life_mutex_);
    return life_;
  }();
  if (life != nullptr && life->kill(why)) return;  // the call comes back, and says so
  is_hung_ = true;
  leave({FaultLedger::Action::give_up, 0}, why + "; its thread is lost until the host restarts");
}

bool Instance::needs_recovery(std::int64_t now_ns) const {
  const Phase phase = phase_.load();
  if (phase != Phase::recovering && phase != Phase::quarantined) return false;
  const std::scoped_lock lock(fault_mutex_);
  return now_ns >= recover_at_ns_;
}

void Instance::recover() {
  const Turn turn(*this, monotonic_ns() + std::chrono::nanoseconds(kPatience).count());
  const auto put_off = [&] {
    const std::scoped_lock lock(fault_mutex_);
    recover_at_ns_ = monotonic_ns() + 1'000'000'000;
  };
  if (!turn.is_taken()) return put_off();
  {
    const std::scoped_lock lock(fault_mutex_);
    if (phase_ != Phase::recovering && phase_ != Phase::quarantined) return;
  }
  // What it saved last is the state it begins with: it must be known.
  for (std::int64_t left_ms = 1000; is_checkpoint_on_its_way_; --left_ms) {
    if (left_ms == 0) return put_off();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  try {
    services_.registry.begin_renewal(name());
    end_life();
    report_health(EPHOR_HEALTH_OK, "");  // what the last life said of itself is over
    make_life();
    if (!load_state()) {
      end_life();
      make_life();
      begin_anew();
    }
    if (is_source()) attach_reader();
    start_life();
    if (!is_source()) attach_reader();
  } catch (const std::exception& failure) {
    log_failure(failure.what());
    return leave(judge(process_id_ != 0 ? Loss::process_ended : Loss::call_failed), failure.what());
  }
  restart_count_.fetch_add(1);
  bool was_announced = false;
  {
    const std::scoped_lock lock(fault_mutex_);
    phase_ = Phase::running;
    recover_at_ns_ = kNever;
    found_ = {EPHOR_HEALTH_DEGRADED, "restarted: " + found_.reason};
    found_at_ns_ = monotonic_ns();
    was_announced = std::exchange(was_announced_, false);
  }
  services_.bus.wakers().wake_parked();
  if (was_announced) services_.health.state_changed(*this, "running", "restarted");
}

void Instance::process_ended(const std::string& why) { leave(judge(Loss::process_ended), why); }

void Instance::quarantine(const std::string& why) { leave({FaultLedger::Action::give_up, 0}, why); }

bool Instance::release() {
  if (is_hung_) return false;
  const std::scoped_lock lock(fault_mutex_);
  ledger_.clear();
  if (phase_ == Phase::quarantined || phase_ == Phase::failed) {
    phase_ = Phase::quarantined;
    recover_at_ns_ = 0;
  }
  return true;
}

FaultLedger::Verdict Instance::judge(Loss loss) {
  const std::scoped_lock lock(fault_mutex_);
  return loss == Loss::process_ended ? ledger_.note_loss(monotonic_ns())
                                     : ledger_.note_failure(monotonic_ns());
}

void Instance::leave(const FaultLedger::Verdict& verdict, const std::string& why) {
  const bool is_over = verdict.action == FaultLedger::Action::give_up;
  const bool is_brief = verdict.action == FaultLedger::Action::go_on;
  std::string reason = why;
  if (!is_brief) {
    quarantine_count_.fetch_add(1);
    reason =
        (is_over ? "quarantined: " : "quarantined for " + seconds_text(verdict.delay_ns) + ": ") +
        why;
    log(EPHOR_LOG_ERROR, name(), reason);
  }
  {
    const std::scoped_lock lock(fault_mutex_);
    if (phase_ == Phase::stopped) return;
    phase_ = is_brief ? Phase::recovering : Phase::quarantined;
    recover_at_ns_ = is_over ? kNever : monotonic_ns() + verdict.delay_ns;
    found_ = {is_brief ? EPHOR_HEALTH_DEGRADED : EPHOR_HEALTH_FAILED, why};
    found_at_ns_ = monotonic_ns();
    if (!is_brief) was_announced_ = true;
  }
  // A replay waits for it, so that its results are whole; live, nobody does.
  const bool must_wait = services_.mode == RunMode::replay && !is_over;
  if (reader_ != nullptr && !must_wait) reader_->detach();
  read_has_advanced();  // whoever waits for it hears that it is not at work
  if (!is_brief) services_.health.state_changed(*this, "quarantined", reason);
}

// ---- what others see ----------------------------------------------------------------------------

std::uint64_t Instance::position() const {
  return is_reader() ? reader_->next_sequence() : restored_sequence_.load();
}

Instance::Subscription Instance::subscription() const {
  const std::scoped_lock lock(subscription_mutex_);
  return subscription_;
}

ReaderStats Instance::reader_stats() const {
  return is_reader() ? reader_->stats() : ReaderStats{};
}

Instance::Health Instance::health() const {
  const std::scoped_lock lock(fault_mutex_);
  return found_.state >= said_.state && !found_.reason.empty() ? found_ : said_;
}

void Instance::report_health(std::int32_t state, std::string reason) {
  const std::scoped_lock lock(fault_mutex_);
  const bool is_known = state >= EPHOR_HEALTH_OK && state <= EPHOR_HEALTH_FAILED;
  said_ = {is_known ? state : EPHOR_HEALTH_FAILED, std::move(reason)};
}

void Instance::note_fault(std::string reason) {
  const std::scoped_lock lock(fault_mutex_);
  if (found_.state == EPHOR_HEALTH_FAILED) return;
  found_ = {EPHOR_HEALTH_DEGRADED, std::move(reason)};
  found_at_ns_ = monotonic_ns();
}

void Instance::fault_is_over(std::string_view beginning) {
  const std::scoped_lock lock(fault_mutex_);
  if (found_.state == EPHOR_HEALTH_DEGRADED && found_.reason.starts_with(beginning)) found_ = {};
}

void Instance::count_rejected(std::uint64_t records) {
  rejected_.value.fetch_add(static_cast<double>(records), std::memory_order_relaxed);
}

double Instance::checkpoint_age_seconds() const {
  const std::int64_t at = checkpoint_at_ns_.load();
  return at == 0 ? -1.0 : static_cast<double>(monotonic_ns() - at) * 1e-9;
}

}  // namespace ephor::host
