// SPDX-License-Identifier: Apache-2.0
//
// One configured plugin at work: its tables, its place in the log, its health, its saved state.
//
// Control, dispatch and query calls of an instance take turns (`Turn`), unless the plugin declares
// EPHOR_CAP_CONCURRENT_QUERY. A query waits for at most one slice of events.
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
#include "core/derived.hpp"
#include "core/metric_registry.hpp"
#include "core/plugin_loader.hpp"
#include "core/run_mode.hpp"
#include "core/task_pool.hpp"
#include "core/turn_queue.hpp"
#include "store/storage.hpp"

namespace ephor::host {

class DescriberPool;
class Door;
class EventLog;
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
  const HealthBoard& health;
  RunMode mode;
};

enum class Phase { created, running, draining, stopped, failed };

class Instance {
 public:
  // `config` has passed the schema. `order` ranks instances wherever an order must be fixed.
  Instance(HostServices& services, std::string name, std::uint32_t order, LoadedPlugin plugin,
           std::string config_json);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  const std::string& name() const { return name_; }
  const LoadedPlugin& plugin() const { return plugin_; }
  bool is_source() const { return (plugin_.info->capabilities & EPHOR_CAP_SOURCE) != 0; }

  // [control] Each throws HostError with the plugin's own words.
  void create();
  void restore();  // loads the saved state, or begins at the start of the journal
  bool must_recreate() const { return must_recreate_; }  // its state could not be read
  void begin_anew();   // in place of restore: rows and state go, from the start of the journal
  void open_reader();  // before the dispatchers begin
  void start();
  void drain(std::int64_t deadline_ns);
  void stop();

  // [dispatch] Delivers up to `budget` events; false if there was nothing to do. Never throws.
  bool serve(std::uint32_t budget);
  bool has_work() const;
  // [dispatch] Rows and state of now, to be committed by the caller; empty if there is nothing to
  // save: no state, nothing new, or a checkpoint still on its way.
  std::optional<Checkpoint> checkpoint();
  void checkpoint_done(bool was_saved);
  // What must be in the journal before a checkpoint may be committed.
  std::uint64_t last_derived_ticket() const { return last_derived_ticket_.load(); }
  // Events that were derived in this round; replay appends them.
  std::vector<DerivedDraft> take_derived();

  // [any] Answers through `answer`. Throws HostError: EPHOR_TIMEOUT, EPHOR_STATE or the plugin's.
  void answer(const QueryEntry& query, ephor_view request, std::int64_t deadline_ns,
              std::uint64_t after_sequence, ephor_writer* answer, std::uint64_t* as_of_sequence);
  void run_command(const CommandEntry& command, ephor_view arguments, ephor_writer* out);

  // [any]
  Phase phase() const { return phase_.load(); }
  std::uint64_t position() const;  // the sequence below which everything is handled
  bool is_reader() const { return reader_ != nullptr; }
  bool is_lossy() const { return policy_ == OverflowPolicy::drop_oldest; }
  bool is_behind() const { return reader_ != nullptr && reader_->is_behind(); }
  ReaderStats reader_stats() const;
  struct Health {
    std::int32_t state = EPHOR_HEALTH_OK;
    std::string reason;
  };
  Health health() const;
  void report_health(std::int32_t state, std::string reason);
  std::uint64_t error_count() const { return error_count_.load(); }
  double handler_seconds() const { return static_cast<double>(handler_ns_.load()) * 1e-9; }
  std::uint64_t checkpoint_count() const { return checkpoint_count_.load(); }
  double checkpoint_age_seconds() const;  // negative: none yet

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

  void call(const char* what, ephor_status (*function)(void*, ephor_error*));
  void deliver(const ephor_event* events, std::uint32_t count);
  void hand_over_derived();
  bool serve_from_journal(std::uint32_t budget);
  bool pass_over(std::uint32_t budget);
  void note_failure(std::string_view what, ephor_status status, const ephor_error& error);
  void wait_until_read(std::uint64_t sequence, std::int64_t deadline_ns);
  void publish(const ephor_draft* drafts, std::uint32_t count);
  void subscribe(const ephor_subscription& subscription);
  void count_rejected(std::uint64_t records);

  HostServices& services_;
  const std::string name_;
  const std::uint32_t order_;
  const LoadedPlugin plugin_;
  const std::string config_json_;
  const std::string epoch_;  // 8 hex digits of the hash of plugin version and configuration
  std::unique_ptr<InstanceTables> tables_;
  ephor_plugin table_{};
  const ephor_checkpoint* state_table_ = nullptr;
  std::uint64_t generation_ = 0;
  MetricRegistry::Series& rejected_;

  TurnQueue turns_;
  std::atomic<Phase> phase_{Phase::created};
  bool is_registering_ = false;  // create to the return of start
  bool is_starting_ = false;
  bool must_recreate_ = false;
  bool must_reset_ = false;

  // [dispatch]
  std::vector<std::string> patterns_;
  OverflowPolicy policy_ = OverflowPolicy::replay;
  bool is_subscribed_ = false;
  std::unique_ptr<Reader> reader_;
  std::uint64_t restored_sequence_ = 0;
  StoredBatch stored_;  // the journal batch in hand while behind
  std::vector<ephor_event> stored_events_;
  std::size_t stored_next_ = 0;
  const ephor_event* slice_ = nullptr;
  std::uint32_t slice_count_ = 0;
  std::vector<std::uint32_t> drafts_of_cause_;  // by place in the slice
  std::vector<DerivedDraft> derived_;
  std::uint64_t saved_position_ = 0;
  std::atomic<bool> is_checkpoint_on_its_way_{false};

  std::atomic<std::uint64_t> last_derived_ticket_{0};
  std::atomic<std::uint64_t> error_count_{0};
  std::atomic<std::uint64_t> handler_ns_{0};
  std::atomic<std::uint64_t> checkpoint_count_{0};
  std::atomic<std::int64_t> checkpoint_at_ns_{0};
  std::int64_t failure_logged_ns_ = 0;
  std::uint64_t failures_unlogged_ = 0;

  std::mutex read_mutex_;  // with read_changed_, for wait_until_read
  std::condition_variable read_changed_;
  std::atomic<std::uint32_t> read_waiters_{0};

  mutable std::mutex health_mutex_;  // guards health_
  Health health_;
};

}  // namespace ephor::host
