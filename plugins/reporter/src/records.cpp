// SPDX-License-Identifier: Apache-2.0
#include "records.hpp"

#include <algorithm>

namespace ephor::reporter {
namespace {

Json files_json(const ReportRecord& record) {
  Json out = Json::array();
  for (const FileRecord& file : record.files) {
    const bool is_written = file.status == "written";
    out.push_back({{"format", file.format},
                   {"status", file.status},
                   {"name", text_or_null(file.name)},
                   {"bytes", is_written ? Json(file.bytes) : Json()},
                   {"sha256", text_or_null(file.sha256)},
                   {"reason", text_or_null(file.reason)}});
  }
  return out;
}

Json deliveries_json(const ReportRecord& record) {
  Json out = Json::array();
  for (const DeliveryRecord& one : record.deliveries) {
    out.push_back({{"recipient", one.recipient},
                   {"state", one.state},
                   {"attempts", one.attempts},
                   {"next_attempt",
                    one.next_attempt_ns == 0 ? Json() : Json(format_time(one.next_attempt_ns))},
                   {"error", text_or_null(one.error)}});
  }
  return out;
}

std::int64_t time_of(const Json& json, const char* name) {
  const auto time_ns = parse_time(member_or<std::string>(json, name, ""));
  return time_ns.value_or(0);
}

std::string text_of(const Json& json, const char* name) {
  return member_or<std::string>(json, name, "");
}

// A plain name in the folder of the reports: events come from outside too.
bool is_file_name(std::string_view name) {
  return name.empty() || (name.front() != '.' && name.size() < 200 &&
                          std::all_of(name.begin(), name.end(), [](char c) {
                            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                   (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
                          }));
}

}  // namespace

const std::string_view kTablesJson = R"({"version": 1, "tables": [
  {"name": "report_history", "key": ["id"], "columns": [
    {"name": "id", "type": "text"}, {"name": "report_type", "type": "text"},
    {"name": "generated_at", "type": "text"}, {"name": "schedule_type", "type": "text"},
    {"name": "recipients", "type": "json"}, {"name": "file_path", "type": "text"},
    {"name": "status", "type": "text"}, {"name": "period_from", "type": "text"},
    {"name": "period_to", "type": "text"}, {"name": "files", "type": "json"},
    {"name": "error", "type": "text"}, {"name": "bytes", "type": "integer"},
    {"name": "sha256", "type": "text"}, {"name": "record", "type": "json"}],
   "indices": [["generated_at"]],
   "run_dependent": ["generated_at", "file_path", "files", "bytes", "sha256",
                     "record/generated_at", "record/files"]},
  {"name": "report_outbox", "key": ["report_id", "recipient"], "columns": [
    {"name": "report_id", "type": "text"}, {"name": "recipient", "type": "text"},
    {"name": "state", "type": "text"}, {"name": "attempts", "type": "integer"},
    {"name": "next_attempt", "type": "text"}, {"name": "error", "type": "text"}],
   "run_dependent": ["attempts", "next_attempt", "error"]}]})";

const FileRecord* ReportRecord::file(std::string_view format) const {
  for (const FileRecord& one : files) {
    if (one.format == format && one.status == "written") return &one;
  }
  return nullptr;
}

Json record_json(const ReportRecord& record) {
  return {{"report_id", record.report_id},
          {"report_type", record.report_type},
          {"schedule_type", record.schedule_type},
          {"status", record.status},
          {"generated_at", format_time(record.generated_at_ns)},
          {"over", {{"from", format_time(record.from_ns)}, {"to", format_time(record.to_ns)}}},
          {"late", record.is_late},
          {"periods", record.periods},
          {"error", text_or_null(record.error)},
          {"files", files_json(record)},
          {"deliveries", deliveries_json(record)}};
}

ReportRecord record_from(const Json& json) {
  ReportRecord record;
  record.report_id = text_of(json, "report_id");
  record.report_type = text_of(json, "report_type");
  record.schedule_type = text_of(json, "schedule_type");
  record.status = text_of(json, "status");
  record.generated_at_ns = time_of(json, "generated_at");
  const Json over = member_or<Json>(json, "over", Json::object());
  record.from_ns = time_of(over, "from");
  record.to_ns = time_of(over, "to");
  record.is_late = member_or(json, "late", false);
  record.periods = member_or<std::int64_t>(json, "periods", 1);
  record.error = text_of(json, "error");
  for (const Json& one : member_or<Json>(json, "files", Json::array())) {
    record.files.push_back({text_of(one, "format"), text_of(one, "status"), text_of(one, "name"),
                            member_or<std::uint64_t>(one, "bytes", 0), text_of(one, "sha256"),
                            text_of(one, "reason")});
  }
  for (const Json& one : member_or<Json>(json, "deliveries", Json::array())) {
    record.deliveries.push_back({text_of(one, "recipient"), text_of(one, "state"),
                                 member_or<std::int64_t>(one, "attempts", 0),
                                 time_of(one, "next_attempt"), text_of(one, "error")});
  }
  if (record.report_id.empty()) throw Error(EPHOR_INVALID, "a report without report_id");
  for (const FileRecord& one : record.files) {
    if (!is_file_name(one.name)) throw Error(EPHOR_INVALID, "a file name with a path in it");
  }
  return record;
}

void upsert_record(const Rows& rows, const ReportRecord& record) {
  Json recipients = Json::array();
  for (const DeliveryRecord& one : record.deliveries) recipients.push_back(one.recipient);
  const auto written = std::find_if(record.files.begin(), record.files.end(),
                                    [](const FileRecord& one) { return one.status == "written"; });
  const bool has_file = written != record.files.end();
  std::uint64_t bytes = 0;
  for (const FileRecord& one : record.files) bytes += one.bytes;
  const std::string generated_at = format_time(record.generated_at_ns);
  const std::string from = format_time(record.from_ns);
  const std::string to = format_time(record.to_ns);
  const std::string recipients_text = dump(recipients);
  const std::string files_text = dump(files_json(record));
  const std::string record_text = dump(record_json(record));
  const std::string path = has_file ? "reports/" + written->name : "";
  const auto text_or_empty = [](const std::string& text) {
    return text.empty() ? Cell::null() : Cell::text(text);
  };
  rows.upsert(
      "report_history",
      {Cell::text(record.report_id), Cell::text(record.report_type), Cell::text(generated_at),
       Cell::text(record.schedule_type), Cell::json(recipients_text), text_or_empty(path),
       Cell::text(record.status), Cell::text(from), Cell::text(to), Cell::json(files_text),
       text_or_empty(record.error), Cell::integer_value(static_cast<std::int64_t>(bytes)),
       has_file ? Cell::text(written->sha256) : Cell::null(), Cell::json(record_text)});
  for (const DeliveryRecord& one : record.deliveries) {
    const std::string next = one.next_attempt_ns == 0 ? "" : format_time(one.next_attempt_ns);
    rows.upsert("report_outbox",
                {Cell::text(record.report_id), Cell::text(one.recipient), Cell::text(one.state),
                 Cell::integer_value(one.attempts), text_or_empty(next), text_or_empty(one.error)});
  }
}

void History::put(ReportRecord record) {
  const std::string report_id = record.report_id;
  const auto [at, is_new] = records_.insert_or_assign(report_id, std::move(record));
  (void)at;
  changed_.insert(report_id);
  if (!is_new) return;
  order_.push_back(report_id);
  while (order_.size() > most_) {
    const auto oldest = records_.find(order_.front());
    oldest->second.status = "expired";
    expired_unsaved_.push_back(oldest->second);
    expired_.push_back(std::move(oldest->second));
    changed_.erase(oldest->first);
    records_.erase(oldest);
    order_.pop_front();
  }
}

void History::restore(ReportRecord record) {
  const std::string report_id = record.report_id;
  if (records_.emplace(report_id, std::move(record)).second) order_.push_back(report_id);
}

ReportRecord* History::find(const std::string& report_id) {
  const auto found = records_.find(report_id);
  return found == records_.end() ? nullptr : &found->second;
}

std::vector<const ReportRecord*> History::latest() const {
  std::vector<const ReportRecord*> out;
  for (auto id = order_.rbegin(); id != order_.rend(); ++id) out.push_back(&records_.at(*id));
  return out;
}

std::vector<ReportRecord> History::take_expired() { return std::exchange(expired_, {}); }

void History::save(const Rows& rows) {
  for (const std::string& report_id : changed_) upsert_record(rows, records_.at(report_id));
  changed_.clear();
  for (const ReportRecord& record : expired_unsaved_) upsert_record(rows, record);
  expired_unsaved_.clear();
}

}  // namespace ephor::reporter
