// SPDX-License-Identifier: Apache-2.0
//
// The plugin in a fake host that runs live, with other plugins' answers and a folder of its own.
#pragma once

#include <chrono>
#include <csignal>
#include <ephor/testing/fake_host.hpp>
#include <functional>
#include <string>
#include <thread>

#include "reporter.hpp"
#include "reporter_support.hpp"
#include "support/patience.hpp"
#include "support/shared_data.hpp"

namespace ephor::reporter::testing {

inline std::int64_t wall_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

class ReporterHost {
 public:
  explicit ReporterHost(const std::string& config = "{}", const std::string& mode = "live") {
    std::signal(SIGPIPE, SIG_IGN);
    host.set_health_snapshot(
        Json{{"mode", mode}, {"data_dir", folder.path().string()}, {"instances", Json::array()}}
            .dump());
    host.answer_query("trade_tracker.performance", &performance_answer);
    host.answer_query("trade_tracker.trades", &trades_answer);
    host.answer_query("ml_monitor.models", &models_answer);
    host.answer_query("tracer.summary", &summary_answer);
    host.on_select([this](std::string_view sql, std::span<const ephor_cell> parameters) {
      return select(sql, parameters);
    });
    host.load_plugin<Reporter>(config, "reporter");
  }

  // Delivers what comes in until `is_done`; false after ten seconds (of an ordinary build).
  bool wait_for(const std::function<bool()>& is_done) {
    const auto end =
        std::chrono::steady_clock::now() + ephor::testing::patience(std::chrono::seconds(10));
    while (std::chrono::steady_clock::now() < end) {
      host.pump();
      if (is_done()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  Json get(const std::string& target) { return Json::parse(host.request("GET", target)); }
  Json history() { return get("/api/reports/history")["reports"]; }
  Json report(const std::string& report_id) { return get("/api/reports/" + report_id); }
  std::filesystem::path file(const std::string& name) const {
    return folder.path() / "reports" / name;
  }

  ephor::testing::TemporaryDirectory folder;
  ephor::testing::FakeHost host;

 private:
  using StoredCell = ephor::testing::StoredCell;
  // The two SELECTs of the plugin.
  std::vector<std::vector<StoredCell>> select(std::string_view sql,
                                              std::span<const ephor_cell> parameters) {
    const bool is_by_id = sql.find("WHERE id = ?") != std::string_view::npos;
    std::vector<ephor::testing::StoredRow> rows = host.rows("report_history");
    std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
      return a.at("generated_at").bytes > b.at("generated_at").bytes;
    });
    std::vector<std::vector<StoredCell>> out;
    for (const auto& row : rows) {
      const bool is_wanted = is_by_id ? row.at("id").bytes == to_text(parameters[0].bytes)
                                      : row.at("status").bytes != "expired";
      if (is_wanted) out.push_back({row.at("record")});
    }
    return out;
  }
};

}  // namespace ephor::reporter::testing
