// SPDX-License-Identifier: Apache-2.0
#include "reporter.hpp"

#include <chrono>
#include <ephor/state.hpp>
#include <ephor/times.hpp>

namespace ephor::reporter {
namespace {

constexpr std::size_t kJobsMost = 64;
// A mail that could not be sent for so long, or comes out of an old journal, is not sent any more.
constexpr std::int64_t kMailAgeMostNs = 3 * 86'400'000'000'000;

std::int64_t wall_clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Json health_of(const Host& host) {
  const auto* health = host.extension<ephor_health>("ephor.health/1");
  if (health == nullptr) return Json::object();
  std::string text;
  ephor_writer out = string_writer(text);
  check([&](ephor_error* error) { return health->snapshot(health->context, &out, error); });
  return parse_json(text, "health");
}

void write_order(StateWriter& out, const Order& order) {
  out.text(order.report_id).text(order.report_type).text(order.schedule_type);
  out.i64(order.from_ns).i64(order.to_ns).boolean(order.is_late);
}

Order read_order(StateReader& in) {
  Order order;
  order.report_id = in.text();
  order.report_type = in.text();
  order.schedule_type = in.text();
  order.from_ns = in.i64();
  order.to_ns = in.i64();
  order.is_late = in.boolean();
  return order;
}

}  // namespace

Reporter::Reporter(Host host, std::string_view config)
    : host_(std::move(host)),
      settings_(config),
      effects_(host_),
      workshop_(host_, settings_, TimeZone::load(settings_.timezone)),
      planner_(Schedule(settings_.schedule, TimeZone::load(settings_.timezone)), settings_),
      history_(settings_.max_reports) {
  host_.declare_tables(kTablesJson);
  report_topic_ = host_.topic_id(kReportTopic);
  delivery_topic_ = host_.topic_id(kDeliveryTopic);
  reports_gauge_ = host_.gauge("ephor_reporter_reports", "Reports made");
  failed_gauge_ = host_.gauge("ephor_reporter_reports_failed", "Reports that failed");
  waiting_gauge_ = host_.gauge("ephor_reporter_reports_waiting", "Reports that are to be made");
  provide_queries();
}

void Reporter::start() {
  const Json health = health_of(host_);
  mode_ = member_or<std::string>(health, "mode", "");
  const std::string data_dir = member_or<std::string>(health, "data_dir", "");
  if (!data_dir.empty()) workshop_.set_folder(std::filesystem::path(data_dir) / "reports");
  is_live_ = mode_ == "live" && !data_dir.empty();
  host_.subscribe({"ephor.tick", "ephor.flush", kReportTopic, kDeliveryTopic});
  if (!is_live_) return;
  worker_.start();
  if (settings_.smtp.is_configured() && settings_.email_distribution) {
    Mailer::Callbacks callbacks;
    callbacks.clock_ns = &wall_clock_ns;
    callbacks.message_of = [this](const OutboxItem& item) -> std::string {
      const EffectLog::Known known = effects_.find(item.report_id, item.recipient);
      if (known.delivery && known.delivery->is_settled()) return {};
      if (!known.record) throw Error(EPHOR_NOT_FOUND, "the journal has no record of the report");
      if (wall_clock_ns() - known.record->generated_at_ns > kMailAgeMostNs)
        throw Error(EPHOR_TIMEOUT, "the report is older than three days");
      return workshop_.message_of(*known.record, item.recipient);
    };
    callbacks.record = [this](const OutboxItem& item, const Outcome& outcome) {
      try {
        effects_.put(item, outcome, wall_clock_ns());
        return true;
      } catch (const std::exception& failure) {
        host_.log(EPHOR_LOG_WARNING,
                  std::string("a delivery could not be noted: ") + failure.what());
        return false;
      }
    };
    mailer_ = std::make_unique<Mailer>(settings_.smtp, std::move(callbacks));
    for (const ReportRecord* record : history_.latest()) queue_mails(*record);
    mailer_->start();
  }
  enqueue_pending();
}

void Reporter::stop_threads() {
  if (mailer_ != nullptr) mailer_->stop();
  worker_.stop();
}

// ---- events

void Reporter::on_events(std::span<const Event> events) {
  for (const Event& event : events) {
    try {
      read_event(event);
    } catch (const Error&) {
      ++unreadable_;
    } catch (const Json::exception&) {
      ++unreadable_;
    }
  }
  enqueue_pending();
  delete_expired();
  reports_gauge_.set(static_cast<double>(reports_total_));
  failed_gauge_.set(static_cast<double>(reports_failed_));
  waiting_gauge_.set(static_cast<double>(pending_.size()));
}

void Reporter::read_event(const Event& event) {
  if (event.topic == report_topic_) return fold_report(event);
  if (event.topic == delivery_topic_) return fold_delivery(event);
  log_time_ns_ = std::max(log_time_ns_, event.time_ns);
  if (settings_.enabled) plan(log_time_ns_);
}

void Reporter::plan(std::int64_t time_ns) {
  // What is played back never is of the clock's time, whenever it was recorded.
  const auto clock_ns = [this] { return is_live_ ? wall_clock_ns() : INT64_MAX / 2; };
  const Plan plan = planner_.advance(time_ns, clock_ns);
  if (plan.skipped) note_gap(*plan.skipped, time_ns);
  for (const Run& run : plan.runs) {
    open_gap_id_.clear();
    Order order;
    order.report_type = settings_.report_type;
    order.schedule_type = name_of(settings_.schedule.cadence);
    order.report_id = order.report_type + "-" + order.schedule_type + "-" + run.period.key;
    order.from_ns = run.period.from_ns;
    order.to_ns = run.period.to_ns;
    order.is_late = run.is_late;
    if (history_.find(order.report_id) == nullptr)
      pending_.emplace(order.report_id, std::move(order));
  }
}

void Reporter::note_gap(const Gap& gap, std::int64_t time_ns) {
  periods_skipped_ += static_cast<std::uint64_t>(gap.count);
  ReportRecord record;
  const ReportRecord* open = history_.find(open_gap_id_);
  if (open != nullptr && open->to_ns == gap.first.from_ns && open->error == gap.reason) {
    record = *open;
  } else {
    record.report_type = settings_.report_type;
    record.schedule_type = name_of(settings_.schedule.cadence);
    record.report_id =
        record.report_type + "-" + record.schedule_type + "-skipped-" + gap.first.key;
    record.status = "skipped";
    record.generated_at_ns = time_ns;
    record.from_ns = gap.first.from_ns;
    record.periods = 0;
    record.error = gap.reason;
    open_gap_id_ = record.report_id;
  }
  record.to_ns = gap.last.to_ns;
  record.periods += gap.count;
  history_.put(std::move(record));
}

void Reporter::fold_report(const Event& event) {
  if (!effects_.is_own(event)) return;
  ReportRecord record = record_from(data_of(event));
  pending_.erase(record.report_id);
  {
    const std::lock_guard lock(in_hand_mutex_);
    in_hand_.erase(record.report_id);
  }
  queue_mails(record);
  if (history_.find(record.report_id) != nullptr) return;
  ++reports_total_;
  if (record.status == "failed") ++reports_failed_;
  last_report_id_ = record.report_id;
  history_.put(std::move(record));
}

void Reporter::fold_delivery(const Event& event) {
  if (!effects_.is_own(event)) return;
  const Json data = data_of(event);
  const DeliveryRecord news = delivery_from(data);
  ReportRecord* record = history_.find(member_or<std::string>(data, "report_id", ""));
  if (record == nullptr) return;
  for (DeliveryRecord& known : record->deliveries) {
    if (known.recipient != news.recipient || known.is_settled() || known.attempts >= news.attempts)
      continue;
    known = news;
    if (news.state == "sent") ++mails_sent_;
    if (news.state == "dead") ++mails_dead_;
    history_.mark_changed(record->report_id);
  }
}

void Reporter::queue_mails(const ReportRecord& record) {
  if (mailer_ == nullptr) return;
  for (const DeliveryRecord& one : record.deliveries) {
    if (!one.is_settled())
      mailer_->add({record.report_id, one.recipient, one.attempts, one.next_attempt_ns});
  }
}

void Reporter::enqueue_pending() {
  if (!is_live_ || pending_.empty()) return;
  for (const auto& [report_id, planned] : pending_) {
    const std::lock_guard lock(in_hand_mutex_);
    if (!in_hand_.insert(report_id).second) continue;
    Order order = planned;
    order.formats = settings_.formats;
    order.recipients = settings_.recipients;
    const bool is_queued = worker_.add({[this, order] { run_scheduled(order); }, {}}, kJobsMost);
    if (!is_queued) in_hand_.erase(report_id);  // the next tick tries again
  }
}

// The worker's thread.
void Reporter::run_scheduled(const Order& order) {
  try {
    // Made before a crash, and the log behind the last checkpoint not read again that far.
    if (effects_.find(order.report_id).record) return;
    const ReportRecord record = workshop_.make(order, wall_clock_ns());
    if (worker_.is_stopping() && record.status == "failed") return;  // others stopped before
    effects_.put(record);
    if (record.status == "failed") {
      host_.log(EPHOR_LOG_ERROR, "report " + order.report_id + ": " + record.error);
      host_.report_health(EPHOR_HEALTH_DEGRADED, "report " + order.report_id + " failed");
    } else {
      host_.log(EPHOR_LOG_INFO, "report " + order.report_id + " is made");
      host_.report_health(EPHOR_HEALTH_OK, "");
    }
  } catch (const std::exception& failure) {
    host_.log(EPHOR_LOG_WARNING,
              "report " + order.report_id + " is tried again: " + failure.what());
    const std::lock_guard lock(in_hand_mutex_);
    in_hand_.erase(order.report_id);
  }
}

void Reporter::delete_expired() {
  for (ReportRecord& record : history_.take_expired()) {
    if (!is_live_) continue;
    worker_.add({[this, old = std::move(record)] { workshop_.remove_files(old); }, {}}, kJobsMost);
  }
}

// ---- state

void Reporter::save(const Rows& rows, std::string& state) {
  history_.save(rows);
  StateWriter out(state);
  planner_.save(out);
  out.i64(log_time_ns_).text(open_gap_id_).text(last_report_id_);
  out.varint(reports_total_).varint(reports_failed_).varint(periods_skipped_);
  out.varint(mails_sent_).varint(mails_dead_).varint(unreadable_);
  out.varint(pending_.size());
  for (const auto& [report_id, order] : pending_) write_order(out, order);
}

bool Reporter::load(std::uint32_t version, std::string_view state) {
  const bool is_read = version == kStateVersion && read_state(state, [&](StateReader& in) {
                         planner_.load(in);
                         log_time_ns_ = in.i64();
                         open_gap_id_ = in.text();
                         last_report_id_ = in.text();
                         reports_total_ = in.varint();
                         reports_failed_ = in.varint();
                         periods_skipped_ = in.varint();
                         mails_sent_ = in.varint();
                         mails_dead_ = in.varint();
                         unreadable_ = in.varint();
                         for (std::size_t left = in.count(20); left > 0; --left) {
                           Order order = read_order(in);
                           pending_.emplace(order.report_id, std::move(order));
                         }
                       });
  if (!is_read) return false;
  std::vector<ReportRecord> latest;
  host_.select(
      "SELECT record FROM report_history WHERE status <> 'expired' "
      "ORDER BY generated_at DESC, id DESC LIMIT ?",
      {Cell::integer_value(static_cast<std::int64_t>(settings_.max_reports))},
      [&](std::span<const ephor_cell> cells) {
        latest.push_back(record_from(parse_json(to_text(cells[0].bytes), "report_history")));
      });
  for (auto record = latest.rbegin(); record != latest.rend(); ++record)
    history_.restore(std::move(*record));
  return true;
}

}  // namespace ephor::reporter
