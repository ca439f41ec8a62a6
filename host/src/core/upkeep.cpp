// SPDX-License-Identifier: Apache-2.0
#include "core/upkeep.hpp"

#include <algorithm>

#include "core/logger.hpp"
#include "event/error.hpp"
#include "event/times.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
using Kind = MetricRegistry::Kind;

constexpr std::int64_t kMillisecondNs = 1'000'000;

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json facts_of(const JournalGap& gap) {
  return {{"first_sequence", gap.first_sequence},
          {"last_sequence", gap.last_sequence},
          {"batches", gap.batches},
          {"events", gap.events ? Json(*gap.events) : Json()},
          {"why", gap.why}};
}

std::uint64_t bytes_of(const std::filesystem::path& file) {
  std::error_code absent;
  const auto size = std::filesystem::file_size(file, absent);
  return absent ? 0 : size;
}

}  // namespace

Upkeep::Upkeep(Parts parts, const RetentionSettings& retention, std::uint64_t dedup_window)
    : parts_(std::move(parts)), retention_(retention, parts_.journal, dedup_window) {}

void Upkeep::tick() {
  constexpr std::int64_t kRetentionNs = 40 * kMillisecondNs;
  constexpr std::int64_t kMergingNs = 10 * kMillisecondNs;
  try {
    announce_new_gaps();
    const std::unique_lock lock(still_mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return;  // a backup; the next tick comes soon
    std::int64_t end_ns = monotonic_ns() + kRetentionNs;
    while (retention_.is_on() && retention_.step(wall_clock_ns(), need()) &&
           monotonic_ns() < end_ns) {
    }
    end_ns = monotonic_ns() + kMergingNs;
    while (parts_.journal.merge_index_step() && monotonic_ns() < end_ns) {
    }
    report({});
  } catch (const std::exception& failure) {
    report(failure.what());
  }
}

void Upkeep::report(const std::string& trouble) {
  const std::scoped_lock lock(mutex_);
  if (trouble != trouble_ && !trouble.empty()) {
    log(EPHOR_LOG_ERROR, kHostName, "upkeep: " + trouble);
  }
  trouble_ = trouble;
  held_by_ = retention_.held_by();
}

// Asking the storage costs a query, so it is asked once a second; positions only grow.
Retention::Need Upkeep::need() {
  constexpr std::int64_t kAskEveryNs = 1000 * kMillisecondNs;
  const std::int64_t now_ns = monotonic_ns();
  if (need_asked_ns_ != 0 && now_ns - need_asked_ns_ < kAskEveryNs) return need_;
  Retention::Need need;
  const auto add = [&](const std::string& who, std::uint64_t position) {
    if (position < need.position) need = {position, who};
  };
  std::set<std::string> has_saved;
  for (const InstancePosition& saved : parts_.storage.instances()) {
    has_saved.insert(saved.instance);
    const auto& known = parts_.instances;
    if (std::find(known.begin(), known.end(), saved.instance) != known.end()) {
      add(saved.instance, position_of(saved.sequence));
    } else if (strangers_.insert(saved.instance).second) {
      log(EPHOR_LOG_WARNING, kHostName,
          "retention: " + saved.instance +
              " has saved state and is configured no more; it holds nothing back");
    }
  }
  for (const ReaderPlace& reader : parts_.readers()) {
    // What it knows is nowhere but in the journal until it has saved once.
    const bool is_unsaved = reader.saves_state && !has_saved.contains(reader.instance);
    add(reader.instance, is_unsaved ? 0 : position_of(reader.sequence));
  }
  need_ = need;
  need_asked_ns_ = now_ns;
  return need_;
}

void Upkeep::announce_new_gaps() {
  for (const JournalGap& gap : parts_.gaps.take_new()) {
    parts_.log.append_host("ephor.gap", wall_clock_ns(), dumped(facts_of(gap)));
  }
}

void Upkeep::collect_metrics() {
  const auto put = [&](Kind kind, const char* name, const char* help, double value) {
    parts_.metrics.series(kind, name, help, {}).value.store(value, std::memory_order_relaxed);
  };
  const JournalStats stats = parts_.journal.stats();
  const SqliteJournal::Size size = parts_.journal.size();
  put(Kind::gauge, "ephor_journal_batches", "Batches kept in the journal.",
      static_cast<double>(stats.batches));
  put(Kind::gauge, "ephor_journal_file_bytes", "Size of journal.db.",
      static_cast<double>(size.file_bytes));
  put(Kind::gauge, "ephor_journal_free_bytes", "Part of journal.db that will be used again.",
      static_cast<double>(size.free_bytes));
  put(Kind::gauge, "ephor_journal_index_runs", "Runs that a look-up of an id searches.",
      static_cast<double>(size.index_runs));
  put(Kind::gauge, "ephor_journal_removed_ids", "Ids kept of removed events.",
      static_cast<double>(size.removed_ids));
  put(Kind::gauge, "ephor_journal_oldest_sequence", "The first sequence that is kept.",
      static_cast<double>(sequence_of(stats.oldest_position, 0)));
  const std::int64_t oldest_ns = parts_.journal.oldest_arrival_ns();
  put(Kind::gauge, "ephor_journal_oldest_age_seconds", "Since the oldest kept batch arrived.",
      oldest_ns == 0 ? 0.0 : static_cast<double>(wall_clock_ns() - oldest_ns) * 1e-9);
  double events = 0.0;
  const std::vector<JournalGap> gaps = parts_.journal.gaps();
  for (const JournalGap& gap : gaps) events += static_cast<double>(gap.events.value_or(0));
  put(Kind::gauge, "ephor_journal_gaps", "Ranges that are missing from the journal.",
      static_cast<double>(gaps.size()));
  put(Kind::gauge, "ephor_journal_gap_events", "Events in them, where their number is known.",
      events);
  put(Kind::gauge, "ephor_log_failing", "1 while the journal takes no events.",
      parts_.log.trouble().empty() ? 0.0 : 1.0);
  if (!parts_.storage_file.empty()) {
    put(Kind::gauge, "ephor_storage_file_bytes", "Size of ephor.db.",
        static_cast<double>(bytes_of(parts_.storage_file)));
  }
}

Json Upkeep::health() const {
  std::vector<std::string> reasons;
  if (const std::string trouble = parts_.log.trouble(); !trouble.empty()) {
    reasons.push_back("no events are taken: " + trouble);
  }
  Json held_by;
  {
    const std::scoped_lock lock(mutex_);
    if (!trouble_.empty()) reasons.push_back("upkeep: " + trouble_);
    if (!held_by_.empty()) held_by = held_by_;
  }
  Json gaps = Json::array();
  bool is_damaged = false;
  for (const JournalGap& gap : parts_.journal.gaps()) {
    gaps.push_back(facts_of(gap));
    is_damaged = is_damaged || gap.why != "retention";
  }
  if (is_damaged) reasons.emplace_back("events are missing, see gaps");
  Json reason = Json::array();
  for (const std::string& one : reasons) reason.push_back(one);
  return {{"health", reasons.empty() ? "ok" : "degraded"},
          {"reasons", reason},
          {"retention_waits_for", held_by},
          {"gaps", gaps},
          {"missed", parts_.gaps.missed()}};
}

}  // namespace ephor::host
