// SPDX-License-Identifier: Apache-2.0
//
// A host over one data directory: journal, storage, bus, log and the instances of a configuration,
// brought up and down in order.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "bus/bus.hpp"
#include "core/bus_report.hpp"
#include "core/checkpointer.hpp"
#include "core/crash_note.hpp"
#include "core/dispatcher.hpp"
#include "core/event_log.hpp"
#include "core/gap_ledger.hpp"
#include "core/health_board.hpp"
#include "core/instance.hpp"
#include "core/log_reader.hpp"
#include "core/metric_registry.hpp"
#include "core/registry.hpp"
#include "core/run_mode.hpp"
#include "core/settings.hpp"
#include "core/supervisor.hpp"
#include "core/task_pool.hpp"
#include "core/upkeep.hpp"
#include "event/interner.hpp"
#include "ingest/door.hpp"
#include "store/sqlite_journal.hpp"
#include "store/storage.hpp"

namespace ephor::host {

// One host per data directory: held by flock on DATA_DIR/lock.
class DirectoryLock {
 public:
  // Makes the directory. Throws HostError EPHOR_CONFLICT if another host has it.
  explicit DirectoryLock(const std::filesystem::path& data_dir);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int descriptor_ = -1;
};

class Host final : public HealthBoard {
 public:
  // Opens everything and makes the instances, each with its saved state; nothing runs yet. In
  // offline mode nothing is written and no lock is taken. Throws HostError.
  Host(Settings settings, RunMode mode);
  ~Host() override;

  // Live: readers, then sources. Replay: readers only. Offline: reads the journal to its end.
  void start();
  // Sources first; then what is in the log is read to its end, saved, and everything stops. True if
  // all of it was done in time. Safe to call twice.
  bool stop();
  // What a reload did, by instance name.
  struct ReloadReport {
    std::vector<std::string> restarted, added, removed, unchanged;
    std::vector<std::string> needs_host_restart;  // keys of the host that changed, not taken over
  };
  // [control] Live. Instances whose settings changed begin anew from their saved state, at the
  // sequence the old one ended at; the others notice nothing. Throws HostError when something
  // fails; then all are what they were before.
  ReloadReport reload(Settings next);
  // [control] Lifts the quarantine of an instance. Throws HostError if there is no such instance,
  // or only a new process helps.
  void release(std::string_view instance);

  // Ends at the next chance, without draining. [any]
  void abandon() { is_abandoned_.store(true); }

  // Waits until every reader has handled all that is in the log. [control]
  bool wait_until_read(std::int64_t timeout_ns);
  // Replay: takes a checkpoint of every instance, which is committed in the background. [control]
  void checkpoint();
  // Saves every instance now and waits for it. [control]
  bool save(std::int64_t timeout_ns);

  // [any] The answer's text. Throws HostError or ephor::Error.
  std::string query(std::string_view name, std::string_view request = "{}",
                    std::uint64_t after_sequence = 0);
  std::string health_json() const override;
  std::string status_json();  // what `ephor top` shows
  void state_changed(const Instance& instance, std::string_view state,
                     std::string_view reason) override;
  // [any] Threads that plugins never gave back: the process must end without them.
  bool has_hung_threads() const;

  const Settings& settings() const { return settings_; }
  EventLog& log() { return *log_; }
  const LogReader& log_reader() const { return *log_reader_; }
  Door& door() { return *door_; }
  Bus& bus() { return *bus_; }
  Names& names() { return names_; }
  Storage& storage() { return *storage_; }
  bool is_offline() const { return mode_ == RunMode::offline; }
  Registry& registry() { return registry_; }
  MetricRegistry& metrics() { return metrics_; }
  std::vector<std::shared_ptr<Instance>> instances() const;  // [any]
  Upkeep& upkeep() { return *upkeep_; }

 private:
  void open();
  void open_upkeep();
  void make_instances();
  std::shared_ptr<Instance> make_instance(const InstanceSettings& settings, std::uint32_t order);
  bool has_crashed_before(Instance& instance);
  void start_instance(const std::shared_ptr<Instance>& instance);
  void guard(const std::shared_ptr<Instance>& instance, std::function<void(Instance&)> call);
  std::shared_ptr<Instance> launch(const InstanceSettings& settings, std::uint32_t order);
  void retire(const std::shared_ptr<Instance>& instance);
  void pause_and_save(const std::vector<std::shared_ptr<Instance>>& leaving);
  void set_instances(std::vector<std::shared_ptr<Instance>> instances);
  void announce(const Instance& instance, std::string_view state, std::string_view reason);
  void keep_house();
  void collect_metrics();

  Settings settings_;
  const RunMode mode_;
  std::unique_ptr<DirectoryLock> lock_;
  Names names_;
  MetricRegistry metrics_;
  Registry registry_;
  std::unique_ptr<Door> door_;
  std::unique_ptr<DescriberPool> describers_;
  std::unique_ptr<SqliteJournal> journal_;
  std::unique_ptr<Storage> storage_;
  std::unique_ptr<Bus> bus_;
  std::unique_ptr<EventLog> log_;
  std::unique_ptr<LogReader> log_reader_;
  std::unique_ptr<GapLedger> gaps_;
  std::unique_ptr<TaskPool> tasks_;
  std::unique_ptr<HostServices> services_;
  std::unique_ptr<CrashHistory> crashes_;
  mutable std::shared_mutex instances_mutex_;  // guards instances_
  std::vector<std::shared_ptr<Instance>> instances_;
  // Replaced by a reload; kept, because a question to one may be on its way.
  std::vector<std::shared_ptr<Instance>> retired_;
  std::mutex reload_mutex_;  // one reload or release at a time
  std::unique_ptr<BusReport> bus_report_;
  std::unique_ptr<Checkpointer> checkpointer_;
  std::unique_ptr<Dispatcher> dispatcher_;
  std::unique_ptr<Supervisor> supervisor_;
  std::unique_ptr<Upkeep> upkeep_;

  std::atomic<bool> is_started_{false};
  std::atomic<bool> is_stopping_{false};
  std::atomic<bool> is_abandoned_{false};
  bool is_stopped_ = false;
  bool has_stopped_cleanly_ = true;
  std::mutex house_mutex_;  // with house_changed_: wakes keep_house at the end
  std::condition_variable house_changed_;
  std::thread housekeeper_;
};

}  // namespace ephor::host
