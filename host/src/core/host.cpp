// SPDX-License-Identifier: Apache-2.0
#include "core/host.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <future>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/host_queries.hpp"
#include "core/data_opening.hpp"
#include "core/instance_tables.hpp"
#include "core/logger.hpp"
#include "core/process_usage.hpp"
#include "event/error.hpp"
#include "event/times.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::created:
      return "created";
    case Phase::running:
      return "running";
    case Phase::draining:
      return "draining";
    case Phase::stopped:
      return "stopped";
    case Phase::failed:
      return "failed";
    case Phase::paused:
      return "paused";
    case Phase::recovering:
      return "recovering";
    case Phase::quarantined:
      return "quarantined";
  }
  return "unknown";
}

const char* name_of(RunMode mode) {
  if (mode == RunMode::live) return "live";
  return mode == RunMode::replay ? "replay" : "offline";
}

const char* health_name(std::int32_t state) {
  if (state == EPHOR_HEALTH_OK) return "ok";
  return state == EPHOR_HEALTH_DEGRADED ? "degraded" : "failed";
}

}  // namespace

DirectoryLock::DirectoryLock(const fs::path& data_dir) {
  std::error_code failure;
  fs::create_directories(data_dir, failure);
  if (failure) throw HostError(EPHOR_IO, data_dir.string() + ": " + failure.message());
  const fs::path file = data_dir / "lock";
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor_ < 0) throw HostError(EPHOR_IO, file.string() + ": " + std::strerror(errno));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    ::close(descriptor_);
    throw HostError(EPHOR_CONFLICT,
                    data_dir.string() + ": another Ephor runs on this data directory");
  }
}

DirectoryLock::~DirectoryLock() { ::close(descriptor_); }

Host::Host(Settings settings, RunMode mode) : settings_(std::move(settings)), mode_(mode) {
  set_log_level(settings_.log_level);
  open();
  bus_report_ = std::make_unique<BusReport>(*bus_, *log_, names_, [this] { return instances(); });
  add_host_queries(*this, *bus_report_);
  make_instances();
}

Host::~Host() {
  stop();
  supervisor_.reset();
  dispatcher_.reset();
  checkpointer_.reset();
  log_.reset();
  retired_.clear();
  instances_.clear();
}

void Host::open() {
  const bool is_offline = mode_ == RunMode::offline;
  if (is_offline) {
    if (!fs::exists(settings_.data_dir / "journal.db")) {
      throw HostError(EPHOR_NOT_FOUND, settings_.data_dir.string() +
                                           ": found no journal.db, expected the "
                                           "data directory of an Ephor");
    }
  } else {
    lock_ = std::make_unique<DirectoryLock>(settings_.data_dir);
  }
  door_ = std::make_unique<Door>(settings_.ingest, names_);
  describers_ = std::make_unique<DescriberPool>(*door_);
  SqliteJournalOptions journal;
  // A replay can be done again from its file; it syncs when it saves.
  journal.durability = mode_ == RunMode::replay && settings_.journal_durability == Durability::full
                           ? Durability::normal
                           : settings_.journal_durability;
  journal.read_only = is_offline;
  journal_ = open_journal(settings_.data_dir, journal);
  StorageOptions storage;
  storage.directory = settings_.data_dir;
  storage.url = settings_.database_url;
  storage.durability = settings_.storage_durability;
  storage.read_only = is_offline;
  storage_ = open_storage(storage, settings_.rebuild_storage);
  if (!is_offline) reconcile(*journal_, *storage_, *describers_);
  BusOptions bus;
  bus.bytes_max = settings_.bus_bytes;
  bus.last_position = journal_->last_position();
  bus_ = std::make_unique<Bus>(bus);
  log_ = std::make_unique<EventLog>(settings_.log, *journal_, *bus_, names_, *describers_);
  log_reader_ = std::make_unique<LogReader>(*journal_, *describers_);
  open_upkeep();
  tasks_ = std::make_unique<TaskPool>(2);
  services_ = std::make_unique<HostServices>(HostServices{names_, *bus_, *log_, *log_reader_,
                                                          *door_, *storage_, registry_, metrics_,
                                                          *tasks_, *this, *gaps_, mode_});
}

// A plugin may hang in any call of its life cycle: the host then goes on without it, and without
// the thread.
void Host::guard(const std::shared_ptr<Instance>& instance, std::function<void(Instance&)> call) {
  if (mode_ != RunMode::live || instance->settings().faults.hard_limit_ns == 0) {
    return call(*instance);
  }
  std::promise<void> promise;
  std::future<void> result = promise.get_future();
  std::thread thread([instance, call = std::move(call), promise = std::move(promise)]() mutable {
    need_signal_stack();
    try {
      call(*instance);
      promise.set_value();
    } catch (...) {
      promise.set_exception(std::current_exception());
    }
  });
  constexpr std::chrono::milliseconds kLookUp{20};
  while (result.wait_for(kLookUp) != std::future_status::ready) {
    instance->look_after(monotonic_ns());
    if (!instance->is_hung()) continue;
    thread.detach();
    return;
  }
  thread.join();
  result.get();
}

// True, and it is quarantined, if it has brought the host down twice.
bool Host::has_crashed_before(Instance& instance) {
  if (crashes_ == nullptr) return false;
  const auto record = crashes_->of(instance.name(), instance.epoch(), wall_clock_ns());
  if (record.count == 0) return false;
  if (record.count == 1) {
    instance.note_fault(record.last + "; once more and it is quarantined");
    return false;
  }
  instance.quarantine(record.last + ", " + std::to_string(record.count) +
                      " times; `ephor plugin release " + instance.name() + "` tries it again");
  return true;
}

std::shared_ptr<Instance> Host::make_instance(const InstanceSettings& settings,
                                              std::uint32_t order) {
  auto made = std::make_shared<Instance>(*services_, settings, order);
  if (has_crashed_before(*made)) return made;
  try {
    guard(made, [](Instance& instance) {
      instance.create();
      instance.restore();
    });
  } catch (const HostError& failure) {
    // A process of its own that ended is a fault like another; a refusal is a mistake to be told.
    if (settings.isolation == Isolation::in_process || failure.status() != EPHOR_IO) throw;
    host::log(EPHOR_LOG_ERROR, made->name(), failure.what());
    made->process_ended(failure.what());
  }
  return made;
}

void Host::open_upkeep() {
  gaps_ = std::make_unique<GapLedger>(*journal_, *log_reader_, metrics_);
  log_reader_->tell_damage([this](const DamageError& damage) { gaps_->note_damage(damage); });
  Upkeep::Parts parts{*journal_, *storage_, *log_, metrics_, *gaps_, {}, {}, {}};
  for (const InstanceSettings& one : settings_.instances) parts.instances.push_back(one.name);
  parts.readers = [this] {
    std::vector<Upkeep::ReaderPlace> places;
    for (const auto& instance : instances()) {
      const bool must_read =
          instance->is_reader() && instance->subscription().policy != OverflowPolicy::drop_oldest;
      if (must_read)
        places.push_back({instance->name(), instance->position(), instance->saves_state()});
    }
    return places;
  };
  if (settings_.database_url.empty()) parts.storage_file = settings_.data_dir / "ephor.db";
  upkeep_ =
      std::make_unique<Upkeep>(std::move(parts), settings_.retention, settings_.log.dedup_window);
}

void Host::make_instances() {
  if (mode_ == RunMode::live) {
    crashes_ = std::make_unique<CrashHistory>(settings_.data_dir);
    if (auto crash = CrashNote::take(settings_.data_dir)) {
      for (const InstanceSettings& settings : settings_.instances) {
        if (crash->instance.empty() && settings.plugin.file.filename() == crash->module) {
          crash->instance = settings.name;
        }
      }
      host::log(EPHOR_LOG_ERROR, kHostName, "at its last run " + crash->text());
      crashes_->add(*crash, wall_clock_ns());
    }
  }
  std::uint32_t order = 0;
  for (const InstanceSettings& settings : settings_.instances) {
    const bool is_source = (settings.plugin.info->capabilities & EPHOR_CAP_SOURCE) != 0;
    if (is_source && mode_ != RunMode::live) continue;
    instances_.push_back(make_instance(settings, order++));
  }
}

void Host::start() {
  for (const auto& instance : instances_) {
    if (!instance->is_source()) start_instance(instance);
  }
  for (const auto& instance : instances_) instance->open_reader();
  if (mode_ == RunMode::live) log_->start();
  if (mode_ != RunMode::offline) {
    checkpointer_ = std::make_unique<Checkpointer>(
        *journal_, *storage_, *log_,
        mode_ == RunMode::replay || settings_.journal_durability != Durability::full);
  }
  // A replay saves between its rounds: only then all that was derived is in the journal.
  dispatcher_ =
      std::make_unique<Dispatcher>(*bus_, settings_.dispatch_threads, checkpointer_.get(),
                                   mode_ == RunMode::live ? settings_.checkpoint_every_ns : 0);
  for (const auto& instance : instances_) dispatcher_->add(*instance);
  is_started_ = true;
  metrics_.add_collector([this] { collect_metrics(); });
  if (mode_ == RunMode::offline) {
    constexpr std::int64_t kCatchUpNs = 600'000'000'000;
    if (!wait_until_read(kCatchUpNs))
      throw HostError(EPHOR_TIMEOUT, "the journal could not be read to its end");
  } else {
    supervisor_ = std::make_unique<Supervisor>([this] { return instances(); }, dispatcher_.get());
  }
  for (const auto& instance : instances_) {
    if (instance->is_source()) start_instance(instance);
  }
  if (mode_ == RunMode::live) {
    for (const auto& instance : instances_) {
      announce(*instance, name_of(instance->phase()), instance->health().reason);
    }
    housekeeper_ = std::thread([this] { keep_house(); });
  }
}

// A plugin that does not start harms no other: it is failed, and health says so.
void Host::start_instance(const std::shared_ptr<Instance>& instance) {
  if (instance->phase() != Phase::created) return;
  try {
    guard(instance, [](Instance& one) { one.start(); });
  } catch (const HostError& failure) {
    host::log(EPHOR_LOG_ERROR, instance->name(), failure.what());
    instance->report_health(EPHOR_HEALTH_FAILED, failure.what());
  }
}

void Host::announce(const Instance& instance, std::string_view state, std::string_view reason) {
  const Json data{{"instance", instance.name()},
                  {"plugin", std::string(to_text(instance.plugin().info->id))},
                  {"version", std::string(to_text(instance.plugin().info->version))},
                  {"state", state},
                  {"reason", reason}};
  log_->append_host("ephor.plugin", wall_clock_ns(),
                    data.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Host::state_changed(const Instance& instance, std::string_view state,
                         std::string_view reason) {
  if (mode_ == RunMode::live && is_started_ && !is_stopping_) announce(instance, state, reason);
}

std::vector<std::shared_ptr<Instance>> Host::instances() const {
  const std::shared_lock lock(instances_mutex_);
  return instances_;
}

void Host::set_instances(std::vector<std::shared_ptr<Instance>> instances) {
  const std::unique_lock lock(instances_mutex_);
  instances_ = std::move(instances);
}

bool Host::has_hung_threads() const {
  const auto all = instances();
  return std::any_of(all.begin(), all.end(), [](const auto& one) { return one->is_hung(); }) ||
         std::any_of(retired_.begin(), retired_.end(),
                     [](const auto& one) { return one->is_hung(); });
}

void Host::release(std::string_view name) {
  const std::scoped_lock lock(reload_mutex_);
  for (const auto& instance : instances()) {
    if (instance->name() != name) continue;
    if (crashes_ != nullptr) crashes_->forget(instance->name());
    if (instance->release()) return;
    throw HostError(EPHOR_STATE, "instance " + instance->name() +
                                     ": a thread of the host hangs in it; only a restart of the "
                                     "host helps");
  }
  throw HostError(EPHOR_NOT_FOUND, "no instance is named " + std::string(name));
}

void Host::keep_house() {
  std::unique_lock lock(house_mutex_);
  while (!is_stopping_) {
    house_changed_.wait_for(lock, std::chrono::milliseconds(200));
    bus_report_->sample();
    const std::int64_t last_ns = log_->last_ingest_ns();
    if (!is_stopping_ && last_ns != 0 && monotonic_ns() - last_ns > settings_.idle_flush_ns) {
      log_->flush();
    }
    lock.unlock();
    upkeep_->tick();
    lock.lock();
  }
}

bool Host::wait_until_read(std::int64_t timeout_ns) {
  const std::uint64_t last = log_->last_sequence();
  if (last == 0) return true;
  const std::int64_t deadline_ns = monotonic_ns() + timeout_ns;
  constexpr std::int64_t kLookUpNs = 100'000'000;
  while (!bus_->wait_until_read(position_of(last), std::min(kLookUpNs, timeout_ns))) {
    if (is_abandoned_ || monotonic_ns() > deadline_ns) return false;
  }
  return true;
}

void Host::checkpoint() {
  for (const auto& instance : instances()) checkpointer_->take(*instance);
}

bool Host::save(std::int64_t timeout_ns) {
  if (checkpointer_ == nullptr) return true;
  if (!checkpointer_->wait_until_saved(timeout_ns)) return false;
  for (const auto& instance : instances_) checkpointer_->take(*instance);
  return checkpointer_->wait_until_saved(timeout_ns);
}

bool Host::stop() {
  if (is_stopped_) return has_stopped_cleanly_;
  is_stopped_ = true;
  {
    const std::scoped_lock lock(house_mutex_);
    is_stopping_ = true;
  }
  house_changed_.notify_all();
  if (housekeeper_.joinable()) housekeeper_.join();
  if (!is_started_) return true;
  const std::scoped_lock no_reload(reload_mutex_);
  supervisor_.reset();

  for (const auto& instance : instances_) {
    if (instance->is_source()) guard(instance, [](Instance& one) { one.stop(); });
  }
  const std::int64_t deadline_ns = monotonic_ns() + settings_.drain_timeout_ns;
  bool is_clean = true;
  if (!is_abandoned_ && mode_ != RunMode::offline) {
    // Readers may derive events while they drain: until nothing new comes.
    for (std::uint64_t seen = 0; is_clean && seen != log_->last_sequence();) {
      seen = log_->last_sequence();
      is_clean = wait_until_read(deadline_ns - monotonic_ns());
      for (const auto& instance : instances_) {
        if (!log_->wait_committed(instance->last_derived_ticket(), 1'000'000'000)) is_clean = false;
      }
    }
    for (const auto& instance : instances_) {
      guard(instance, [deadline_ns](Instance& one) { one.drain(deadline_ns); });
    }
    is_clean =
        save(std::max<std::int64_t>(deadline_ns - monotonic_ns(), 1'000'000'000)) && is_clean;
    if (!is_clean) {
      host::log(
          EPHOR_LOG_WARNING, kHostName,
          "not everything was read and saved in time; the next start goes on from the journal");
    }
  }
  constexpr std::int64_t kDispatchersNs = 5'000'000'000;
  dispatcher_->stop(kDispatchersNs);
  for (const auto& instance : instances_) {
    if (!instance->is_source()) guard(instance, [](Instance& one) { one.stop(); });
  }
  for (const auto& instance : instances_) {
    if (instance->phase() != Phase::quarantined) continue;
    host::log(EPHOR_LOG_WARNING, instance->name(),
              "stopped in quarantine; it goes on from its saved state");
  }
  checkpointer_.reset();
  log_->stop();
  has_stopped_cleanly_ = is_clean;
  return is_clean;
}

// ---- reload -------------------------------------------------------------------------------------

std::shared_ptr<Instance> Host::launch(const InstanceSettings& settings, std::uint32_t order) {
  auto made = make_instance(settings, order);
  try {
    if (made->phase() == Phase::created) {
      if (made->is_source()) made->open_reader();
      guard(made, [](Instance& instance) { instance.start(); });
      if (!made->is_source()) made->open_reader();
    }
  } catch (const HostError&) {
    retire(made);
    throw;
  }
  dispatcher_->add(*made);
  return made;
}

void Host::retire(const std::shared_ptr<Instance>& instance) {
  dispatcher_->remove(*instance);
  registry_.begin_renewal(instance->name());
  guard(instance, [](Instance& one) { one.retire(); });
  retired_.push_back(instance);
}

// All of `leaving` read and answer no more, and have saved where they stand; or all go on as before
// and HostError says why.
void Host::pause_and_save(const std::vector<std::shared_ptr<Instance>>& leaving) {
  const std::int64_t deadline_ns = monotonic_ns() + settings_.drain_timeout_ns;
  std::string late;
  for (const auto& instance : leaving) {
    if (!instance->pause(deadline_ns)) late = instance->name() + " is busy";
  }
  const auto is_unsaved = [](const auto& one) { return one->has_unsaved(); };
  while (late.empty() && std::any_of(leaving.begin(), leaving.end(), is_unsaved)) {
    for (const auto& instance : leaving) checkpointer_->take(*instance);
    if (!checkpointer_->wait_until_saved(std::max<std::int64_t>(deadline_ns - monotonic_ns(), 0)) ||
        monotonic_ns() > deadline_ns) {
      late = "what was read could not be saved in time";
    }
  }
  if (late.empty()) return;
  for (const auto& instance : leaving) instance->resume();
  throw HostError(EPHOR_TIMEOUT, "reload: " + late + "; nothing was changed");
}

Host::ReloadReport Host::reload(Settings next) {
  const std::scoped_lock lock(reload_mutex_);
  if (mode_ != RunMode::live || !is_started_ || is_stopping_) {
    throw HostError(EPHOR_STATE, "reload: the host is not running");
  }
  ReloadReport report;
  for (const auto& [key, value] : next.host_keys.items()) {
    if (key != "log" && settings_.host_keys.value(key, Json()) != value) {
      report.needs_host_restart.push_back(key);
    }
  }
  const auto before = instances();
  std::vector<std::shared_ptr<Instance>> leaving;
  for (const auto& instance : before) {
    const auto wanted =
        std::find_if(next.instances.begin(), next.instances.end(),
                     [&](const auto& settings) { return settings.name == instance->name(); });
    if (wanted == next.instances.end())
      report.removed.push_back(instance->name());
    else if (*wanted == instance->settings() && instance->phase() != Phase::failed)
      report.unchanged.push_back(instance->name());
    else
      report.restarted.push_back(instance->name());
    if (report.unchanged.empty() || report.unchanged.back() != instance->name()) {
      leaving.push_back(instance);
    }
  }
  pause_and_save(leaving);
  // Sources, which are last, go first.
  for (auto one = leaving.rbegin(); one != leaving.rend(); ++one) retire(*one);

  std::vector<std::shared_ptr<Instance>> after;
  std::vector<std::shared_ptr<Instance>> made;
  const auto make_all = [&](const std::vector<InstanceSettings>& all, bool must_succeed) {
    after.clear();
    made.clear();
    for (const InstanceSettings& settings : all) {
      const auto kept = std::find_if(before.begin(), before.end(), [&](const auto& instance) {
        return instance->name() == settings.name && instance->phase() != Phase::stopped;
      });
      if (kept != before.end()) {
        after.push_back(*kept);
        continue;
      }
      try {
        made.push_back(launch(settings, static_cast<std::uint32_t>(after.size())));
        after.push_back(made.back());
      } catch (const HostError& failure) {
        if (must_succeed) throw;
        host::log(EPHOR_LOG_ERROR, settings.name, failure.what());
      }
    }
  };
  try {
    make_all(next.instances, true);
  } catch (const HostError& failure) {
    for (auto one = made.rbegin(); one != made.rend(); ++one) retire(*one);
    make_all(settings_.instances, false);
    set_instances(after);
    for (const InstanceSettings& tried : next.instances) {
      const auto is_it = [&](const auto& one) { return one->name() == tried.name; };
      if (std::none_of(after.begin(), after.end(), is_it)) registry_.remove_of(tried.name);
    }
    throw HostError(failure.status(),
                    std::string("reload: ") + failure.what() + "; all is as it was before");
  }
  for (const auto& instance : made) {
    const auto& names = report.restarted;
    if (std::find(names.begin(), names.end(), instance->name()) == names.end()) {
      report.added.push_back(instance->name());
    }
  }
  for (const std::string& name : report.removed) registry_.remove_of(name);
  set_instances(after);
  set_log_level(next.log_level);
  settings_.instances = std::move(next.instances);
  settings_.log_level = next.log_level;
  settings_.host_keys["log"] = next.host_keys.value("log", Json());
  for (const auto& instance : made) announce(*instance, name_of(instance->phase()), "reloaded");
  return report;
}

std::string Host::query(std::string_view name, std::string_view request,
                        std::uint64_t after_sequence) {
  std::string text;
  ephor_writer out = string_writer(text);
  call_query(registry_, {name, request, 0, after_sequence}, &out, nullptr);
  return text;
}

std::string Host::health_json() const {
  Json out{{"live", true}, {"instances", Json::array()}};
  bool is_ready = is_started_ && !is_stopping_;
  const std::uint64_t last = log_->last_sequence();
  for (const auto& instance : instances()) {
    const Instance::Health health = instance->health();
    const Phase phase = instance->phase();
    // One that is between two lives, or left alone, keeps nobody else from work.
    const bool is_apart =
        phase == Phase::recovering || phase == Phase::quarantined || phase == Phase::paused;
    const bool is_good = phase == Phase::running && health.state != EPHOR_HEALTH_FAILED;
    is_ready = is_ready && (is_apart || is_good);
    const std::uint64_t position = instance->position();
    const bool has_read_all = !instance->is_reader() || position > last;
    out["instances"].push_back({{"instance", instance->name()},
                                {"plugin", std::string(to_text(instance->plugin().info->id))},
                                {"state", name_of(phase)},
                                {"health", health_name(health.state)},
                                {"reason", health.reason},
                                {"position", position},
                                {"lag_events", has_read_all ? 0 : instance->reader_stats().lag},
                                {"reads_journal", instance->is_behind()},
                                {"restarts", instance->restart_count()},
                                {"dead_letters", instance->dead_letter_count()}});
    if (const int process = instance->process_id(); process != 0) {
      out["instances"].back()["process"] = process;
    }
  }
  out["ready"] = is_ready;
  out["journal"] = upkeep_->health();
  const std::int64_t log_time_ns = log_->log_time_ns();
  const auto time_or_null = [](std::int64_t time_ns) {
    return time_ns == LogTime::kNone ? Json() : Json(format_time(time_ns));
  };
  out["log_time"] = time_or_null(log_time_ns);
  out["newest_time"] = time_or_null(log_->greatest_time_ns());
  out["last_sequence"] = last;
  out["mode"] = name_of(mode_);
  out["data_dir"] = fs::absolute(settings_.data_dir).lexically_normal().string();
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Host::status_json() {
  Json out = Json::parse(health_json());
  Json bus = bus_report_->json();
  std::map<std::string, Json> readers;
  for (Json& reader : bus["readers"]) {
    const std::string name = reader["instance"];
    readers[name] = std::move(reader);
  }
  out["ring"] = std::move(bus["ring"]);
  const auto all = instances();
  for (Json& one : out["instances"]) {
    const std::string& name = one["instance"].get_ref<const std::string&>();
    if (const auto found = readers.find(name); found != readers.end()) {
      one["reader"] = std::move(found->second);
    }
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const auto& instance) { return instance->name() == name; });
    if (found == all.end()) continue;  // a reload has taken it
    one["errors"] = (*found)->error_count();
    one["handler_seconds"] = (*found)->handler_seconds();
    one["checkpoints"] = (*found)->checkpoint_count();
  }
  const EventLog::Stats log = log_->stats();
  out["log"] = {{"events", log.events},   {"duplicates", log.duplicates},
                {"late", log.late},       {"derived", log.derived},
                {"commits", log.commits}, {"commit_failures", log.commit_failures}};
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void Host::collect_metrics() {
  using Kind = MetricRegistry::Kind;
  bus_report_->collect(metrics_);
  const auto put = [&](Kind kind, const char* name, const char* help,
                       const std::map<std::string, std::string>& labels, double value) {
    metrics_.series(kind, name, help, labels).value.store(value, std::memory_order_relaxed);
  };
  for (const auto& instance : instances()) {
    const std::map<std::string, std::string> labels{{"instance", instance->name()}};
    const ReaderStats stats = instance->reader_stats();
    if (instance->is_reader()) {
      put(Kind::counter, "ephor_reader_delivered_events_total", "Events handed to the instance.",
          labels, static_cast<double>(stats.delivered));
      put(Kind::counter, "ephor_reader_skipped_events_total", "Events lost to drop_oldest.", labels,
          static_cast<double>(stats.skipped));
      put(Kind::gauge, "ephor_reader_lag_events", "Events published and not yet read.", labels,
          static_cast<double>(stats.lag));
      put(Kind::gauge, "ephor_reader_lag_events_max", "The greatest lag since the start.", labels,
          static_cast<double>(stats.lag_max));
      put(Kind::counter, "ephor_reader_handler_seconds_total", "Time spent in on_events.", labels,
          instance->handler_seconds());
      put(Kind::counter, "ephor_reader_checkpoints_total", "Saved checkpoints.", labels,
          static_cast<double>(instance->checkpoint_count()));
    }
    put(Kind::counter, "ephor_instance_errors_total", "Failed calls into the plugin.", labels,
        static_cast<double>(instance->error_count()));
    put(Kind::counter, "ephor_instance_restarts_total", "New lives after a failure.", labels,
        static_cast<double>(instance->restart_count()));
    put(Kind::counter, "ephor_instance_quarantines_total", "Times it was left alone.", labels,
        static_cast<double>(instance->quarantine_count()));
    put(Kind::counter, "ephor_instance_dead_letters_total", "Events skipped as poison.", labels,
        static_cast<double>(instance->dead_letter_count()));
    put(Kind::gauge, "ephor_instance_up", "1 if the instance runs and is not failed.", labels,
        instance->phase() == Phase::running && instance->health().state != EPHOR_HEALTH_FAILED ? 1
                                                                                               : 0);
  }
  const EventLog::Stats log = log_->stats();
  put(Kind::counter, "ephor_log_events_total", "Events appended since the start.", {},
      static_cast<double>(log.events));
  put(Kind::counter, "ephor_ingest_otlp_sources_reduced_total",
      "OTLP resources and scopes of which only what identifies the service was kept.", {},
      static_cast<double>(door_->otlp_sources().reduced()));
  put(Kind::counter, "ephor_log_duplicate_records_total", "Records seen before.", {},
      static_cast<double>(log.duplicates));
  put(Kind::counter, "ephor_log_late_events_total", "Events behind their source's watermark.", {},
      static_cast<double>(log.late));
  put(Kind::counter, "ephor_log_derived_events_total", "Events published by plugins.", {},
      static_cast<double>(log.derived));
  put(Kind::counter, "ephor_log_commits_total", "Group commits.", {},
      static_cast<double>(log.commits));
  put(Kind::counter, "ephor_log_commit_failures_total", "Group commits that failed.", {},
      static_cast<double>(log.commit_failures));
  const JournalStats journal = journal_->stats();
  put(Kind::gauge, "ephor_journal_events", "Events kept in the journal.", {},
      static_cast<double>(journal.events));
  put(Kind::gauge, "ephor_journal_stored_bytes", "Their size as stored.", {},
      static_cast<double>(journal.stored_bytes));
  upkeep_->collect_metrics();
  const BusStats bus = bus_->stats();
  put(Kind::gauge, "ephor_bus_bytes", "Bytes of the batches in the ring.", {},
      static_cast<double>(bus.bytes_live));
  put(Kind::counter, "process_cpu_seconds_total", "User and system CPU time.", {},
      process_cpu_seconds());
  put(Kind::gauge, "process_resident_memory_bytes", "Resident set.", {},
      static_cast<double>(resident_bytes()));
  put(Kind::gauge, "process_peak_resident_memory_bytes", "Greatest resident set.", {},
      static_cast<double>(peak_resident_bytes()));
}

}  // namespace ephor::host
