// SPDX-License-Identifier: Apache-2.0
//
// One configured plugin at work: its tables, its place in the log, its health, its saved state.
//
// Control, dispatch and query calls of an instance take turns (`Turn`), unless the plugin declares
// EPHOR_CAP_CONCURRENT_QUERY. A query waits for at most one slice of events.
//
// What happens when the plugin fails on a slice. Nobody knows how far it came, so what it holds in
// memory is not used any more: it gets a new life from its saved state, and the slice comes again,
// event by event. An event that fails `attempts` times alone is skipped and published as
// ephor.deadletter. A plugin without saved state is not asked again: its slice goes to
// ephor.deadletter as a whole. Too many failures lead to quarantine (core/faults.hpp).
#pragma once

#include <ephor/abi.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "bus/reader.hpp"
#include "core/call_board.hpp"
#include "core/conflater.hpp"
#include "core/derived.hpp"
#include "core/faults.hpp"
#include "core/instance_settings.hpp"
#include "core/metric_registry.hpp"
#include "core/plugin_life.hpp"
#include "core/run_mode.hpp"
#include "core/subscription_stats.hpp"
#include "core/task_pool.hpp"
#include "core/turn_queue.hpp"
#include "store/storage.hpp"

namespace ephor::host {

class DescriberPool;
class Door;
class EventLog;
class GapLedger;
class LogReader;
class Registry;
class HealthBoard;
struct InstanceTables;
struct QueryEntry;
struct CommandEntry;

// What instances are given; all of it outlives them.
struct HostServices {
  Names& names;
  Bus& bus;
  EventLog& log;
  LogReader& log_reader;
  Door& door;
  Storage& storage;
  Registry& registry;
  MetricRegistry& metrics;
  TaskPool& tasks;
  HealthBoard& health;
  GapLedger& gaps;
  RunMode mode;
};

enum class Phase {
  created,
  running,
  draining,
  stopped,
  failed,      // it did not start
  paused,      // it gives way to another instance of its name
  recovering,  // between two lives
  quarantined  // left alone: for a while, or until someone does something about it
};

class Instance {
 public:
  // `order` ranks instances wherever an order must be fixed.
  Instance(HostServices& services, InstanceSettings settings, std::uint32_t order);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  const std::string& name() const { return settings_.name; }
  const InstanceSettings& settings() const { return settings_; }
  const LoadedPlugin& plugin() const { return settings_.plugin; }
  const std::string& epoch() const { return epoch_; }
  std::uint32_t order() const { return order_; }
  bool is_source() const { return (plugin().info->capabilities & EPHOR_CAP_SOURCE) != 0; }

  // [control] Each throws HostError with the plugin's own words.
  void create();
  void restore();  // the saved state; or, if it cannot be read, anew from the start of the journal
  void open_reader();  // before the dispatchers begin
  void start();
  void drain(std::int64_t deadline_ns);
  void stop();
  // Reads and answers no more, so that its last checkpoint can be taken and another instance of its
  // name goes on from there. False if it was busy until the deadline. `resume` undoes it.
  bool pause(std::int64_t deadline_ns);
  bool has_unsaved() const;  // paused with a state that is not in the storage yet
  void resume();
  // Ends the plugin's life; what is left answers that it is stopped. After pause.
  void retire();

  // [dispatch] Delivers up to `budget` events; false if there was nothing to do. Never throws.
  bool serve(std::uint32_t budget);
  bool has_work() const;
  // [dispatch] It wants to be saved before it goes on.
  bool wants_checkpoint() const { return wants_checkpoint_.load(std::memory_order_relaxed); }
  // [dispatch] Rows and state of now, to be committed by the caller; empty if there is nothing to
  // save: no state, nothing new, or a checkpoint still on its way.
  std::optional<Checkpoint> checkpoint();
  void checkpoint_done(bool was_saved);
  // What must be in the journal before a checkpoint may be committed.
  std::uint64_t last_derived_ticket() const { return last_derived_ticket_.load(); }
  // Events that were derived in this round; replay appends them.
  std::vector<DerivedDraft> take_derived();

  // ---- supervision: [control], one thread at a time
  // Calls that last too long; a process that ended; health that is good again.
  void look_after(std::int64_t now_ns);
  bool needs_recovery(std::int64_t now_ns) const;
  // A new life from the saved state. Takes as long as the plugin's start does.
  void recover();
  // The process it was to live in ended before it could work.
  void process_ended(const std::string& why);
  // Left alone until `release`; `why` for health, log and whoever asks it something.
  void quarantine(const std::string& why);
  // An operator forgives: a quarantined instance starts again. False if its thread hangs in this
  // process, which only a new process mends.
  bool release();
  // A call into the plugin never came back and its thread is lost to the host.
  bool is_hung() const { return is_hung_.load(); }

  // [any] Answers through `answer`. Throws HostError: EPHOR_TIMEOUT, EPHOR_STATE or the plugin's.
  void answer(const QueryEntry& query, ephor_view request, std::int64_t deadline_ns,
              std::uint64_t after_sequence, ephor_writer* answer, std::uint64_t* as_of_sequence);
  void run_command(const CommandEntry& command, ephor_view arguments, ephor_writer* out);

  // [any]
  Phase phase() const { return phase_.load(); }
  std::uint64_t position() const;  // the sequence below which everything is handled
  bool is_reader() const { return has_reader_.load(); }
  const Reader* reader() const { return is_reader() ? reader_.get() : nullptr; }
  struct Subscription {
    std::vector<std::string> patterns;
    OverflowPolicy policy = OverflowPolicy::replay;
    std::string key;  // of OverflowPolicy::latest
  };
  Subscription subscription() const;
  std::uint64_t superseded() const { return superseded_.load(); }
  const SubscriptionStats& subscription_stats() const { return subscription_stats_; }
  bool is_behind() const { return is_reader() && reader_->is_behind(); }
  std::uint64_t restored_sequence() const { return restored_sequence_; }  // where it went on from
  ReaderStats reader_stats() const;
  struct Health {
    std::int32_t state = EPHOR_HEALTH_OK;
    std::string reason;
  };
  Health health() const;  // the worse of what the plugin says of itself and the host of it
  void report_health(std::int32_t state, std::string reason);  // the plugin's word
  // The host's word; a degraded one is taken back when a window has passed without another.
  void note_fault(std::string reason);
  void fault_is_over(std::string_view beginning);  // of what note_fault was told
  std::uint64_t error_count() const { return error_count_.load(); }
  std::uint64_t restart_count() const { return restart_count_.load(); }
  std::uint64_t quarantine_count() const { return quarantine_count_.load(); }
  std::uint64_t dead_letter_count() const { return dead_letter_count_.load(); }
  bool saves_state() const { return saves_state_.load(); }
  double handler_seconds() const { return static_cast<double>(handler_ns_.load()) * 1e-9; }
  std::uint64_t checkpoint_count() const { return checkpoint_count_.load(); }
  double checkpoint_age_seconds() const;                 // negative: none yet
  int process_id() const { return process_id_.load(); }  // of its own process, else 0

 private:
  friend struct InstanceTables;

  // A turn taken, given back at the end of the scope.
  class Turn {
   public:
    explicit Turn(Instance& instance);
    Turn(Instance& instance, std::int64_t deadline_ns);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    bool is_taken() const { return is_taken_; }

   private:
    TurnQueue& turns_;
    const bool is_taken_;
  };
  enum class Loss { call_failed, process_ended };

  // With the turn taken.
  void make_life();
  void set_life(std::shared_ptr<PluginLife> life);
  bool load_state();
  void begin_anew();
  void end_life();
  void start_life();
  void attach_reader();
  std::uint64_t first_sequence() const;

  bool is_at_work() const {
    const Phase phase = phase_.load();
    return phase == Phase::running || phase == Phase::draining;
  }
  bool read(std::uint32_t budget);
  bool read_latest(std::uint32_t budget);
  void take(const ephor_event* events, std::uint32_t count);
  void deliver(const ephor_event* events, std::uint32_t count);
  void deliver_carefully(const ephor_event* events, std::uint32_t count);
  void deliver_slice(const ephor_event* events, std::uint32_t count);
  bool must_be_careful(const ephor_event* events, std::uint32_t count) const;
  void slice_failed(const ephor_event* events, std::uint32_t count, ephor_status status,
                    const ephor_error& error);
  void publish_dead_letter(const ephor_event* events, std::uint32_t count, std::uint32_t attempts,
                           const std::string& error);
  void note_dead_letters(std::uint32_t count, std::uint64_t last, const std::string& why);
  void reread_slice();
  void read_has_advanced();
  void hand_over_derived();
  bool serve_from_journal(std::uint32_t budget);
  void note_failure(std::string_view what, ephor_status status, const ephor_error& error);
  void log_failure(const std::string& text);
  // Out of work, until the supervisor makes a new life of it; or for good.
  void leave(const FaultLedger::Verdict& verdict, const std::string& why);
  FaultLedger::Verdict judge(Loss loss);
  void call_overdue(const CallBoard::Overdue& call, bool is_hard);
  void call(const char* what, ephor_status (*function)(void*, ephor_error*));
  void wait_until_read(std::uint64_t sequence, std::int64_t deadline_ns);
  void must_be_at_work() const;
  void publish(const ephor_draft* drafts, std::uint32_t count);
  void subscribe(const ephor_subscription& subscription);
  void count_rejected(std::uint64_t records);

  HostServices& services_;
  const InstanceSettings settings_;
  const std::uint32_t order_;
  const std::string epoch_;  // 8 hex digits of the hash of plugin version and configuration
  std::unique_ptr<InstanceTables> tables_;
  CallBoard calls_;
  std::mutex life_mutex_;  // with the turn: guards life_, which is read with one of both
  std::shared_ptr<PluginLife> life_;
  std::vector<std::shared_ptr<PluginLife>> leaked_lives_;  // still in use by calls that hang
  ephor_plugin table_{};                                   // of life_
  const ephor_checkpoint* state_table_ = nullptr;
  std::atomic<bool> saves_state_{false};
  std::uint64_t generation_ = 0;
  MetricRegistry::Series& rejected_;

  TurnQueue turns_;
  std::atomic<Phase> phase_{Phase::created};
  bool is_registering_ = false;  // create to the return of start
  bool is_starting_ = false;
  bool must_reset_ = false;

  mutable std::mutex subscription_mutex_;  // with the turn: guards subscription_
  Subscription subscription_;
  // [dispatch]
  bool is_subscribed_ = false;
  std::unique_ptr<Conflater> conflater_;  // of OverflowPolicy::latest
  std::uint64_t superseded_before_ = 0;   // by what is held now
  SubscriptionStats subscription_stats_;
  std::unique_ptr<Reader> reader_;  // made once
  std::atomic<bool> has_reader_{false};
  std::atomic<std::uint64_t> restored_sequence_{0};
  StoredBatch stored_;  // the journal batch in hand while behind
  std::vector<ephor_event> stored_events_;
  std::size_t stored_next_ = 0;
  const ephor_event* slice_ = nullptr;
  std::uint32_t slice_count_ = 0;
  std::vector<std::uint32_t> drafts_of_cause_;  // by place in the slice
  std::vector<DerivedDraft> derived_;
  std::atomic<std::uint64_t> saved_position_{0};
  std::uint64_t events_read_at_save_ = 0;
  std::atomic<bool> is_checkpoint_on_its_way_{false};
  std::atomic<bool> wants_checkpoint_{false};

  // [dispatch] The slice it failed on: comes again event by event, after what was before is saved.
  std::uint64_t careful_from_ = 0;
  std::uint64_t careful_until_ = 0;
  bool is_careful_saved_ = false;
  PoisonEvents poison_;

  std::atomic<std::uint64_t> last_derived_ticket_{0};
  std::atomic<std::uint64_t> error_count_{0};
  std::atomic<std::uint64_t> restart_count_{0};
  std::atomic<std::uint64_t> quarantine_count_{0};
  std::atomic<std::uint64_t> dead_letter_count_{0};
  std::atomic<std::uint64_t> superseded_{0};
  std::atomic<std::uint64_t> handler_ns_{0};
  std::atomic<std::uint64_t> checkpoint_count_{0};
  std::atomic<std::int64_t> checkpoint_at_ns_{0};
  std::atomic<int> process_id_{0};
  std::atomic<bool> is_hung_{false};

  std::mutex read_mutex_;  // with read_changed_, for wait_until_read
  std::condition_variable read_changed_;
  std::atomic<std::uint32_t> read_waiters_{0};

  mutable std::mutex fault_mutex_;  // guards down to failures_unlogged_, and changes of phase_
  FaultLedger ledger_;
  std::int64_t recover_at_ns_ = INT64_MAX;
  bool was_announced_ = false;  // that it is not at work
  Health said_;                 // by the plugin
  Health found_;                // by the host
  std::int64_t found_at_ns_ = 0;
  std::int64_t failure_logged_ns_ = 0;
  std::uint64_t failures_unlogged_ = 0;
};

}  // namespace ephor::host
