// SPDX-License-Identifier: Apache-2.0
//
// Makes reports: asks, builds, renders, writes the files. [any]
#pragma once

#include <cstdint>
#include <ephor/plugin.hpp>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "effect_log.hpp"
#include "model.hpp"
#include "records.hpp"
#include "settings.hpp"
#include "time_zone.hpp"

namespace ephor::reporter {

struct Order {
  std::string report_id;
  std::string report_type;
  std::string schedule_type;
  std::int64_t from_ns = 0;
  std::int64_t to_ns = 0;
  std::vector<std::string> formats;
  std::vector<std::string> recipients;
  bool is_late = false;
};

class Workshop {
 public:
  Workshop(const Host& host, const Settings& settings, TimeZone zone)
      : host_(host), settings_(settings), zone_(std::move(zone)) {}

  // The folder of the reports; empty: nothing can be written.
  void set_folder(std::filesystem::path folder) { folder_ = std::move(folder); }
  const std::filesystem::path& folder() const { return folder_; }

  Report build(const Order& order, std::int64_t now_ns) const;
  // Never throws but for memory: a failure is in the record.
  ReportRecord make(const Order& order, std::int64_t now_ns) const;
  // "html" or "json".
  static std::string render(const Report& report, std::string_view format);

  std::string read(const ReportRecord& record, std::string_view format) const;
  void remove_files(const ReportRecord& record) const;
  // The mail of a report that was made.
  std::string message_of(const ReportRecord& record, const std::string& recipient) const;

 private:
  std::vector<DeliveryRecord> deliveries_of(const Order& order) const;
  void write(const Order& order, const Report& report, ReportRecord& record) const;

  Host host_;
  const Settings& settings_;
  TimeZone zone_;
  std::filesystem::path folder_;
};

}  // namespace ephor::reporter
