// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ephor/json.hpp>
#include <ephor/plugin.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "config_schema.hpp"
#include "effect_log.hpp"
#include "mailer.hpp"
#include "planner.hpp"
#include "records.hpp"
#include "settings.hpp"
#include "worker.hpp"
#include "workshop.hpp"

namespace ephor::reporter {

class Reporter final : public Plugin {
 public:
  static constexpr std::string_view kVersion = "0.1.0";
  static constexpr std::string_view kSummary =
      "reports on a schedule and on demand, as HTML and JSON, kept and mailed";
  static constexpr std::uint32_t kStateVersion = 1;
  static constexpr std::string_view kConfigSchema = reporter::kConfigSchema;

  Reporter(Host host, std::string_view config);

  void start() override;
  void on_events(std::span<const Event> events) override;
  void drain(std::int64_t) override { stop_threads(); }
  void stop() override { stop_threads(); }
  void save(const Rows& rows, std::string& state) override;
  bool load(std::uint32_t version, std::string_view state) override;

 private:
  // reports: events and the schedule
  void read_event(const Event& event);
  void plan(std::int64_t time_ns);
  void note_gap(const Gap& gap, std::int64_t time_ns);
  void fold_report(const Event& event);
  void fold_delivery(const Event& event);
  void enqueue_pending();
  void run_scheduled(const Order& order);
  void delete_expired();
  void stop_threads();
  void queue_mails(const ReportRecord& record);

  // answers
  void provide_queries();
  static ephor_status generate(void* self, ephor_view request, ephor_reply* reply,
                               ephor_error* error);
  Order order_from(const Json& request, bool is_to_be_kept) const;
  std::string answer_preview(std::string_view request, std::string_view format) const;
  std::string answer_history(std::string_view request) const;
  std::string answer_schedule() const;
  std::string answer_report(std::string_view request);
  std::string answer_file(std::string_view request, std::string_view format);
  std::string answer_summary() const;
  ReportRecord known_report(const Json& request);
  std::int64_t log_time_ns() const;

  Host host_;
  Settings settings_;
  EffectLog effects_;
  Workshop workshop_;
  Planner planner_;
  History history_;
  bool is_live_ = false;  // only then something is done to the world
  std::string mode_;

  std::int64_t log_time_ns_ = 0;
  std::string open_gap_id_;
  std::map<std::string, Order> pending_;  // planned, and not known to be made
  std::uint64_t reports_total_ = 0;
  std::uint64_t reports_failed_ = 0;
  std::uint64_t periods_skipped_ = 0;
  std::uint64_t mails_sent_ = 0;
  std::uint64_t mails_dead_ = 0;
  std::uint64_t unreadable_ = 0;
  std::string last_report_id_;

  std::mutex in_hand_mutex_;  // guards in_hand_
  std::set<std::string> in_hand_;

  std::uint16_t report_topic_ = 0;
  std::uint16_t delivery_topic_ = 0;
  Series reports_gauge_;
  Series failed_gauge_;
  Series waiting_gauge_;

  // Last: their threads use what is above.
  Worker worker_;
  std::unique_ptr<Mailer> mailer_;
};

}  // namespace ephor::reporter
