// SPDX-License-Identifier: Apache-2.0
//
// What is known about each report: how it was made, its files, who got it. Folded from the plugin's
// own events in the log, so that a replay knows it too and a crash forgets nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <ephor/json.hpp>
#include <ephor/plugin.hpp>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace ephor::reporter {

struct FileRecord {
  std::string format;
  std::string status;  // written, skipped
  std::string name;    // below DATA_DIR/reports
  std::uint64_t bytes = 0;
  std::string sha256;
  std::string reason;
};

struct DeliveryRecord {
  std::string recipient;
  std::string state;  // queued, deferred, sent, dead, not sent
  std::int64_t attempts = 0;
  std::int64_t next_attempt_ns = 0;  // 0: none
  std::string error;
  bool is_settled() const { return state != "queued" && state != "deferred"; }
};

struct ReportRecord {
  std::string report_id;
  std::string report_type;
  std::string schedule_type;  // manual, hourly, daily, weekly, monthly
  std::string status;         // done, failed, skipped, expired
  std::int64_t generated_at_ns = 0;
  std::int64_t from_ns = 0;
  std::int64_t to_ns = 0;
  bool is_late = false;
  std::int64_t periods = 1;  // skipped: how many
  std::string error;
  std::vector<FileRecord> files;
  std::vector<DeliveryRecord> deliveries;

  const FileRecord* file(std::string_view format) const;
};

Json record_json(const ReportRecord& record);
// Throws Error or Json::exception if it is none.
ReportRecord record_from(const Json& json);

// The tables report_history and report_outbox, as ephor.storage/1 declares them.
extern const std::string_view kTablesJson;
void upsert_record(const Rows& rows, const ReportRecord& record);

// The latest reports in memory, bounded. Not thread-safe: [dispatch], [query].
class History {
 public:
  explicit History(std::size_t most) : most_(most) {}

  // A report that is known stays as it is but for one that grows: a gap.
  void put(ReportRecord record);
  ReportRecord* find(const std::string& report_id);
  void mark_changed(const std::string& report_id) { changed_.insert(report_id); }
  // From a row; neither changed nor counted.
  void restore(ReportRecord record);

  // Latest first.
  std::vector<const ReportRecord*> latest() const;
  std::size_t size() const { return records_.size(); }

  // Those that made room: their files may go. They are written once more, as expired.
  std::vector<ReportRecord> take_expired();

  void save(const Rows& rows);

 private:
  std::size_t most_;
  std::map<std::string, ReportRecord> records_;
  std::deque<std::string> order_;  // of arrival
  std::set<std::string> changed_;
  std::vector<ReportRecord> expired_;          // whose files are still there
  std::vector<ReportRecord> expired_unsaved_;  // whose row does not say so yet
};

}  // namespace ephor::reporter
