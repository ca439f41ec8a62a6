// SPDX-License-Identifier: Apache-2.0
#include "core/host.hpp"

#include <ephor/plugin.hpp>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

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
  make_instances();
}

Host::~Host() {
  stop();
  dispatcher_.reset();
  checkpointer_.reset();
  log_.reset();
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
  journal_ = std::make_unique<SqliteJournal>(settings_.data_dir, journal);
  StorageOptions storage;
  storage.directory = settings_.data_dir;
  storage.url = settings_.database_url;
  storage.durability = settings_.storage_durability;
  storage.read_only = is_offline;
  storage_ = std::make_unique<Storage>(storage);
  BusOptions bus;
  bus.bytes_max = settings_.bus_bytes;
  bus.last_position = journal_->last_position();
  bus_ = std::make_unique<Bus>(bus);
  log_ = std::make_unique<EventLog>(settings_.log, *journal_, *bus_, names_, *describers_);
  log_reader_ = std::make_unique<LogReader>(*journal_, *describers_);
  tasks_ = std::make_unique<TaskPool>(2);
  services_ = std::make_unique<HostServices>(HostServices{names_, *bus_, *log_, *log_reader_,
                                                          *door_, *storage_, registry_, metrics_,
                                                          *tasks_, *this, mode_});
}

std::unique_ptr<Instance> Host::make_instance(const InstanceSettings& settings,
                                              std::uint32_t order) {
  auto made = std::make_unique<Instance>(*services_, settings.name, order, settings.plugin,
                                         settings.config_json);
  made->create();
  made->restore();
  return made;
}

void Host::make_instances() {
  std::uint32_t order = 0;
  for (const InstanceSettings& settings : settings_.instances) {
    const bool is_source = (settings.plugin.info->capabilities & EPHOR_CAP_SOURCE) != 0;
    if (is_source && mode_ != RunMode::live) continue;
    auto made = make_instance(settings, order);
    if (made->must_recreate()) {
      // Its blob is of another version: everything it knew is in the journal. Offline, where the
      // store stays as it is, the new instance just reads from the start.
      registry_.remove_of(*made);
      made.reset();
      made = std::make_unique<Instance>(*services_, settings.name, order, settings.plugin,
                                        settings.config_json);
      made->create();
      made->begin_anew();
    }
    instances_.push_back(std::move(made));
    ++order;
  }
}

void Host::start() {
  std::vector<Instance*> readers;
  for (const auto& instance : instances_) {
    if (!instance->is_source()) start_instance(*instance);
  }
  for (const auto& instance : instances_) {
    instance->open_reader();
    readers.push_back(instance.get());
  }
  if (mode_ == RunMode::live) log_->start();
  if (mode_ != RunMode::offline) {
    checkpointer_ = std::make_unique<Checkpointer>(
        *journal_, *storage_, *log_,
        mode_ == RunMode::replay || settings_.journal_durability != Durability::full);
  }
  dispatcher_ =
      std::make_unique<Dispatcher>(*bus_, readers, settings_.dispatch_threads, checkpointer_.get(),
                                   checkpointer_ != nullptr ? settings_.checkpoint_every_ns : 0);
  is_started_ = true;
  metrics_.add_collector([this] { collect_metrics(); });
  if (mode_ == RunMode::offline) {
    constexpr std::int64_t kCatchUpNs = 600'000'000'000;
    if (!wait_until_read(kCatchUpNs))
      throw HostError(EPHOR_TIMEOUT, "the journal could not be read to its end");
  }
  for (const auto& instance : instances_) {
    if (instance->is_source()) start_instance(*instance);
  }
  if (mode_ == RunMode::live) {
    for (const auto& instance : instances_) announce(*instance, name_of(instance->phase()));
    housekeeper_ = std::thread([this] { keep_house(); });
  }
}

// A plugin that does not start harms no other: it is failed, and health says so.
void Host::start_instance(Instance& instance) {
  try {
    instance.start();
  } catch (const HostError& failure) {
    host::log(EPHOR_LOG_ERROR, instance.name(), failure.what());
    instance.report_health(EPHOR_HEALTH_FAILED, failure.what());
  }
}

void Host::announce(const Instance& instance, std::string_view state) {
  const Json data{{"instance", instance.name()},
                  {"plugin", std::string(to_text(instance.plugin().info->id))},
                  {"version", std::string(to_text(instance.plugin().info->version))},
                  {"state", state},
                  {"reason", instance.health().reason}};
  log_->append_host("ephor.plugin", wall_clock_ns(),
                    data.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Host::keep_house() {
  std::unique_lock lock(house_mutex_);
  while (!is_stopping_) {
    house_changed_.wait_for(lock, std::chrono::milliseconds(200));
    const std::int64_t last_ns = log_->last_ingest_ns();
    if (!is_stopping_ && last_ns != 0 && monotonic_ns() - last_ns > settings_.idle_flush_ns) {
      log_->flush();
    }
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

  for (const auto& instance : instances_) {
    if (instance->is_source()) instance->stop();
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
    for (const auto& instance : instances_) instance->drain(deadline_ns);
    is_clean =
        save(std::max<std::int64_t>(deadline_ns - monotonic_ns(), 1'000'000'000)) && is_clean;
    if (!is_clean) {
      host::log(
          EPHOR_LOG_WARNING, kHostName,
          "not everything was read and saved in time; the next start goes on from the journal");
    }
  }
  dispatcher_.reset();
  for (const auto& instance : instances_) {
    if (!instance->is_source()) instance->stop();
  }
  checkpointer_.reset();
  log_->stop();
  has_stopped_cleanly_ = is_clean;
  return is_clean;
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
  for (const auto& instance : instances_) {
    const Instance::Health health = instance->health();
    is_ready =
        is_ready && instance->phase() == Phase::running && health.state != EPHOR_HEALTH_FAILED;
    const std::uint64_t position = instance->position();
    const bool has_read_all = !instance->is_reader() || position > last;
    out["instances"].push_back({{"instance", instance->name()},
                                {"plugin", std::string(to_text(instance->plugin().info->id))},
                                {"state", name_of(instance->phase())},
                                {"health", health_name(health.state)},
                                {"reason", health.reason},
                                {"position", position},
                                {"lag_events", has_read_all ? 0 : instance->reader_stats().lag},
                                {"reads_journal", instance->is_behind()}});
  }
  out["ready"] = is_ready;
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
  for (std::size_t i = 0; i < instances_.size(); ++i) {
    const ReaderStats stats = instances_[i]->reader_stats();
    Json& one = out["instances"][i];
    one["delivered"] = stats.delivered;
    one["skipped"] = stats.skipped;
    one["lag_max"] = stats.lag_max;
    one["errors"] = instances_[i]->error_count();
    one["handler_seconds"] = instances_[i]->handler_seconds();
    one["checkpoints"] = instances_[i]->checkpoint_count();
  }
  const EventLog::Stats log = log_->stats();
  out["log"] = {{"events", log.events},   {"duplicates", log.duplicates},
                {"late", log.late},       {"derived", log.derived},
                {"commits", log.commits}, {"commit_failures", log.commit_failures}};
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void Host::collect_metrics() {
  using Kind = MetricRegistry::Kind;
  const auto put = [&](Kind kind, const char* name, const char* help,
                       const std::map<std::string, std::string>& labels, double value) {
    metrics_.series(kind, name, help, labels).value.store(value, std::memory_order_relaxed);
  };
  for (const auto& instance : instances_) {
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
    put(Kind::gauge, "ephor_instance_up", "1 if the instance runs and is not failed.", labels,
        instance->phase() == Phase::running && instance->health().state != EPHOR_HEALTH_FAILED ? 1
                                                                                               : 0);
  }
  const EventLog::Stats log = log_->stats();
  put(Kind::counter, "ephor_log_events_total", "Events appended since the start.", {},
      static_cast<double>(log.events));
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
