// SPDX-License-Identifier: Apache-2.0
//
// The queries and routes of the reporter.
#include <algorithm>
#include <chrono>
#include <ephor/times.hpp>

#include "build_report.hpp"
#include "mail_message.hpp"
#include "reporter.hpp"

namespace ephor::reporter {
namespace {

constexpr std::int64_t kDayNs = 86'400'000'000'000;
constexpr std::int64_t kPeriodMostNs = 3660 * kDayNs;

constexpr std::string_view kGenerateSchema = R"({"type": "object", "properties": {"body": {
  "type": "object", "properties": {
    "report_type": {"type": "string", "enum": ["performance", "models", "executive"]},
    "from": {"type": "string", "description": "RFC 3339; default: the last complete day of log time"},
    "to": {"type": "string"},
    "formats": {"type": "array", "items": {"type": "string", "enum": ["html", "json", "pdf"]}},
    "recipients": {"type": "array", "items": {"type": "string"}}}}}})";

std::int64_t wall_clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// RFC 3339, or whole nanoseconds.
std::optional<std::int64_t> time_parameter(const Json& request, const char* name) {
  const auto found = request.find(name);
  if (found == request.end() || found->is_null()) return std::nullopt;
  if (found->is_number_integer()) return found->get<std::int64_t>();
  if (found->is_string()) {
    const auto& text = found->get_ref<const std::string&>();
    if (text.empty()) return std::nullopt;
    const bool is_number =
        text.size() > 12 && text.find_first_not_of("0123456789") == std::string::npos;
    if (is_number) return request_integer(request, name, 0, 0, INT64_MAX);
    if (const auto time_ns = parse_time(text)) return time_ns;
  }
  throw Error(EPHOR_INVALID,
              std::string(name) + ": found " + found->dump() +
                  ", expected an RFC 3339 time such as 2017-11-08T00:00:00Z",
              std::string("/") + name);
}

std::string manual_id(const std::string& report_type, std::int64_t now_ns) {
  std::string stamp;
  for (const char c : format_time(now_ns)) {
    if (c != '-' && c != ':' && c != '.') stamp += c;
  }
  return report_type + "-manual-" + stamp;
}

Json answer_of(const ReportRecord& record) {
  Json out = record_json(record);
  for (Json& file : out["files"]) {
    const std::string format = file["format"];
    const bool is_there = file["status"] == "written" && record.status == "done";
    file["url"] = is_there ? Json("/api/reports/" + record.report_id + "/" + format) : Json();
  }
  return out;
}

// The reply outlives the call: its struct is copied, its context lives until finish.
class HeldReply {
 public:
  explicit HeldReply(const ephor_reply& reply) : reply_(reply) {}
  void answer(const std::string& text) const {
    reply_.write(reply_.context, to_view(text));
    reply_.finish(reply_.context, EPHOR_OK, nullptr);
  }
  void fail(ephor_status status, std::string_view message) const {
    ephor_error error{};
    error.struct_size = sizeof error;
    store_error(&error, status, message);
    reply_.finish(reply_.context, status, &error);
  }

 private:
  ephor_reply reply_;
};

}  // namespace

void Reporter::provide_queries() {
  const auto& query = host_.required<ephor_query>("ephor.query/1");
  check([&](ephor_error* error) {
    return query.provide(query.context, to_view("reporter.generate"), to_view("Makes a report now"),
                         &Reporter::generate, this, error);
  });
  if (const auto* http = host_.extension<ephor_http>("ephor.http/1")) {
    const ephor_http_route route{sizeof(ephor_http_route),
                                 0,
                                 to_view("POST"),
                                 to_view("/api/reports/generate"),
                                 to_view("reporter.generate"),
                                 to_view("write"),
                                 to_view("Makes a report now and answers when its files are there"),
                                 to_view(kGenerateSchema),
                                 to_view(""),
                                 to_view("")};
    check([&](ephor_error* error) { return http->add_route(http->context, &route, error); });
  }
  const auto get = [this](std::string_view path, std::string_view name, std::string_view summary,
                          QueryHandler handler, std::string_view response_schema,
                          std::string_view content_type = {}) {
    host_.provide_route({.method = "GET",
                         .path = path,
                         .query = name,
                         .summary = summary,
                         .response_schema = response_schema,
                         .content_type = content_type},
                        std::move(handler));
  };
  constexpr std::string_view kHtml = "text/html; charset=utf-8";
  // A report says when it was made, and as of which place in the log.
  constexpr std::string_view kOfTheRun = R"({"x-run-dependent":true})";
  constexpr std::string_view kHistory =
      R"({"type":"object","x-run-dependent":["reports/*/generated_at","reports/*/files"]})";
  constexpr std::string_view kSchedule =
      R"({"type":"object","x-run-dependent":["mode","acts","schedules/*/last_run/generated_at",
"schedules/*/last_run/files"]})";
  constexpr std::string_view kPreview =
      R"({"type":"object","x-run-dependent":["generated_at","**/as_of","**/as_of_sequence",
"sections/*/blocks/id=log"]})";
  constexpr std::string_view kReport =
      R"({"type":"object","x-run-dependent":["generated_at","files"]})";
  get(
      "/api/reports/history", "reporter.history", "Reports made, latest first",
      [this](std::string_view request) { return answer_history(request); }, kHistory);
  get(
      "/api/reports/schedule", "reporter.schedule", "What is made when, and what was made last",
      [this](std::string_view) { return answer_schedule(); }, kSchedule);
  get(
      "/api/reports/preview", "reporter.preview", "A report as JSON that is not kept",
      [this](std::string_view request) { return answer_preview(request, "json"); }, kPreview);
  get(
      "/api/reports/preview/html", "reporter.preview_html", "A report as HTML that is not kept",
      [this](std::string_view request) { return answer_preview(request, "html"); }, kOfTheRun,
      kHtml);
  get(
      "/api/reports/{report_id}", "reporter.report", "How a report was made, its files and mails",
      [this](std::string_view request) { return answer_report(request); }, kReport);
  get(
      "/api/reports/{report_id}/html", "reporter.html", "A report as HTML",
      [this](std::string_view request) { return answer_file(request, "html"); }, kOfTheRun, kHtml);
  get(
      "/api/reports/{report_id}/json", "reporter.json", "A report as JSON",
      [this](std::string_view request) { return answer_file(request, "json"); }, kOfTheRun);
  host_.provide_query("reporter.summary", "Figures of the reporter in one flat object",
                      [this](std::string_view) { return answer_summary(); });
}

std::int64_t Reporter::log_time_ns() const {
  if (log_time_ns_ != 0) return log_time_ns_;
  const auto* health = host_.extension<ephor_health>("ephor.health/1");
  std::string text;
  ephor_writer out = string_writer(text);
  if (health != nullptr && health->snapshot(health->context, &out, nullptr) == EPHOR_OK) {
    const Json snapshot = parse_json(text, "health");
    const auto time_ns = parse_time(member_or<std::string>(snapshot, "log_time", ""));
    if (time_ns) return *time_ns;
  }
  throw Error(EPHOR_STATE, "no event has come yet: there is no last day; name from and to");
}

Order Reporter::order_from(const Json& request, bool is_to_be_kept) const {
  Order order;
  order.report_type = request_text(request, "report_type", settings_.report_type);
  if (!is_report_type(order.report_type)) {
    throw Error(EPHOR_INVALID,
                "report_type: found \"" + order.report_type +
                    "\", expected performance, models or executive",
                "/report_type");
  }
  order.schedule_type = "manual";
  auto from_ns = time_parameter(request, "from");
  auto to_ns = time_parameter(request, "to");
  if (!from_ns && !to_ns) {
    const Period day = planner_.schedule().last_complete_day(log_time_ns());
    from_ns = day.from_ns;
    to_ns = day.to_ns;
  }
  order.to_ns = to_ns ? *to_ns : log_time_ns();
  order.from_ns = from_ns ? *from_ns : order.to_ns - kDayNs;
  if (order.from_ns >= order.to_ns || order.to_ns - order.from_ns > kPeriodMostNs) {
    throw Error(EPHOR_INVALID,
                "from, to: found " + format_time(order.from_ns) + " to " +
                    format_time(order.to_ns) + ", expected a period of at most ten years",
                "/from");
  }
  order.formats =
      request.contains("formats")
          ? checked_formats(member_or<std::vector<std::string>>(request, "formats", {}), "/formats")
          : settings_.formats;
  if (!is_to_be_kept) return order;
  order.recipients = member_or<std::vector<std::string>>(request, "recipients", {});
  std::sort(order.recipients.begin(), order.recipients.end());
  order.recipients.erase(std::unique(order.recipients.begin(), order.recipients.end()),
                         order.recipients.end());
  for (const std::string& recipient : order.recipients) {
    if (!is_mail_address(recipient)) {
      throw Error(
          EPHOR_INVALID,
          "recipients: found " + Json(recipient).dump() + ", expected an address such as name@host",
          "/recipients");
    }
  }
  if (order.recipients.size() > settings_.max_recipients) {
    throw Error(EPHOR_INVALID,
                "recipients: found " + std::to_string(order.recipients.size()) +
                    ", expected at most " + std::to_string(settings_.max_recipients),
                "/recipients");
  }
  return order;
}

ephor_status Reporter::generate(void* user, ephor_view text, ephor_reply* reply,
                                ephor_error* error) {
  return guarded(error, [&] {
    auto& self = *static_cast<Reporter*>(user);
    const Json request = parse_json(to_text(text), "request");
    // Through the route the order is the body; on the command line it is the request itself.
    const Json body = member_or<Json>(request, "body", request);
    if (!body.is_object()) throw Error(EPHOR_INVALID, "expected an object", "/body");
    Order order = self.order_from(body, true);
    if (!self.is_live_) {
      throw Error(
          EPHOR_STATE,
          "this host does not run live, so it makes nothing that stays; ask reporter.preview");
    }
    order.report_id = manual_id(order.report_type, wall_clock_ns());
    const HeldReply held(*reply);
    const auto make = [&self, order, held] {
      try {
        const ReportRecord record = self.workshop_.make(order, wall_clock_ns());
        const std::uint64_t sequence = self.effects_.put(record);
        if (record.status == "failed") {
          self.host_.log(EPHOR_LOG_ERROR, "report " + order.report_id + ": " + record.error);
          held.fail(EPHOR_INTERNAL, "report " + order.report_id + ": " + record.error);
          return;
        }
        Json answer = answer_of(record);
        answer["sequence"] = sequence;
        held.answer(dump(answer));
      } catch (const Error& failure) {
        held.fail(failure.code(), failure.what());
      } catch (const std::exception& failure) {
        held.fail(EPHOR_INTERNAL, failure.what());
      }
    };
    const auto drop = [held] { held.fail(EPHOR_STATE, "Ephor is stopping"); };
    if (!self.worker_.add({make, drop}, 16))
      throw Error(EPHOR_FULL, "sixteen reports are waiting to be made; try again later");
    return EPHOR_PENDING;
  });
}

std::string Reporter::answer_preview(std::string_view text, std::string_view format) const {
  const Json request = parse_json(text, "request");
  Order order = order_from(request, false);
  order.report_id = "preview";
  const std::string wanted = request_text(request, "format", std::string(format));
  return Workshop::render(workshop_.build(order, wall_clock_ns()), wanted);
}

std::string Reporter::answer_history(std::string_view text) const {
  const Json request = parse_json(text, "request");
  const auto limit = static_cast<std::size_t>(request_integer(request, "limit", 50, 1, 1000));
  const auto offset =
      static_cast<std::size_t>(request_integer(request, "offset", 0, 0, 1'000'000'000));
  const std::string type = request_text(request, "report_type");
  const std::string status = request_text(request, "status");
  std::vector<const ReportRecord*> wanted = history_.latest();
  std::erase_if(wanted, [&](const ReportRecord* record) {
    return (!type.empty() && record->report_type != type) ||
           (!status.empty() && record->status != status);
  });
  Json reports = Json::array();
  for (std::size_t i = offset; i < wanted.size() && reports.size() < limit; ++i)
    reports.push_back(answer_of(*wanted[i]));
  return dump(
      {{"over", {{"reports", wanted.size()}, {"reports_kept_at_most", settings_.max_reports}}},
       {"limit", limit},
       {"offset", offset},
       {"reports", std::move(reports)}});
}

std::string Reporter::answer_schedule() const {
  const auto next = planner_.next_period();
  Json upcoming;
  if (next) {
    upcoming = {{"from", format_time(next->from_ns)},
                {"to", format_time(next->to_ns)},
                {"due", format_time(next->due_ns)}};
  }
  Json last;
  for (const ReportRecord* record : history_.latest()) {
    if (record->schedule_type == "manual" || record->status == "skipped") continue;
    last = answer_of(*record);
    break;
  }
  Json waiting = Json::array();
  for (const auto& [report_id, order] : pending_) waiting.push_back(report_id);
  const Json schedule{
      {"report_type", settings_.report_type}, {"schedule", name_of(settings_.schedule.cadence)},
      {"timezone", settings_.timezone},       {"at_s", settings_.schedule.at_s},
      {"formats", settings_.formats},         {"recipients", settings_.recipients},
      {"next", std::move(upcoming)},          {"last_run", std::move(last)},
      {"waiting", std::move(waiting)}};
  return dump({{"enabled", settings_.enabled},
               {"acts", is_live_},
               {"mode", text_or_null(mode_)},
               {"log_time", log_time_ns_ == 0 ? Json() : Json(format_time(log_time_ns_))},
               {"max_lateness_s", settings_.max_lateness_ns / 1'000'000'000},
               {"email",
                {{"distribution", settings_.email_distribution},
                 {"smtp_configured", settings_.smtp.is_configured()}}},
               {"periods_skipped", periods_skipped_},
               {"schedules", Json::array({schedule})}});
}

ReportRecord Reporter::known_report(const Json& request) {
  const std::string report_id = request_text(request, "report_id");
  if (const ReportRecord* known = history_.find(report_id)) return *known;
  std::optional<ReportRecord> stored;
  host_.select("SELECT record FROM report_history WHERE id = ?", {Cell::text(report_id)},
               [&](std::span<const ephor_cell> cells) {
                 stored = record_from(parse_json(to_text(cells[0].bytes), "report_history"));
               });
  if (stored) return *stored;
  throw Error(EPHOR_NOT_FOUND, "no report \"" + report_id + "\"", "/report_id");
}

std::string Reporter::answer_report(std::string_view text) {
  return dump(answer_of(known_report(parse_json(text, "request"))));
}

std::string Reporter::answer_file(std::string_view text, std::string_view format) {
  return workshop_.read(known_report(parse_json(text, "request")), format);
}

std::string Reporter::answer_summary() const {
  std::uint64_t waiting = 0;
  for (const ReportRecord* record : history_.latest()) {
    waiting += static_cast<std::uint64_t>(
        std::count_if(record->deliveries.begin(), record->deliveries.end(),
                      [](const DeliveryRecord& one) { return !one.is_settled(); }));
  }
  return dump({{"reports_total", reports_total_},
               {"reports_failed", reports_failed_},
               {"reports_waiting", pending_.size()},
               {"report_periods_skipped", periods_skipped_},
               {"report_mails_sent", mails_sent_},
               {"report_mails_waiting", waiting},
               {"report_mails_dead", mails_dead_},
               {"last_report", text_or_null(last_report_id_)},
               {"findings", Json::array()}});
}

}  // namespace ephor::reporter
