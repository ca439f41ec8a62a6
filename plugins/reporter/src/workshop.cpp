// SPDX-License-Identifier: Apache-2.0
#include "workshop.hpp"

#include "build_report.hpp"
#include "files.hpp"
#include "mail_message.hpp"
#include "render.hpp"
#include "sources.hpp"
#include "text.hpp"

namespace ephor::reporter {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

std::string mail_name(const std::string& report_id) { return report_id + ".mail.html"; }

std::vector<std::string> queries_of(const Host& host) {
  const auto& query = host.required<ephor_query>("ephor.query/1");
  std::string list;
  ephor_writer out = string_writer(list);
  check([&](ephor_error* error) { return query.list(query.context, &out, error); });
  std::vector<std::string> names;
  const Json entries = parse_json(list, "the list of queries");
  for (const Json& entry : entries) {
    const std::string name = member_or<std::string>(entry, "name", "");
    const bool is_own = member_or<std::string>(entry, "instance", "") == host.instance();
    if (!name.empty() && !is_own) names.push_back(name);
  }
  return names;
}

Source log_of(const Host& host) {
  Source source;
  source.note.query = "ephor.metrics/1";
  const auto* metrics = host.extension<ephor_metrics>("ephor.metrics/1");
  if (metrics == nullptr) return source;
  std::string text;
  ephor_writer out = string_writer(text);
  if (metrics->render(metrics->context, &out, nullptr) != EPHOR_OK) return source;
  source.answer = log_counters(text);
  source.note.has_answered = true;
  return source;
}

}  // namespace

Report Workshop::build(const Order& order, std::int64_t now_ns) const {
  ReportHead head;
  head.report_id = order.report_id;
  head.report_type = order.report_type;
  head.schedule_type = order.schedule_type;
  head.generated_at_ns = now_ns;
  head.is_late = order.is_late;
  head.window.from_ns = order.from_ns;
  head.window.to_ns = order.to_ns;
  head.window.previous_from_ns = order.from_ns - (order.to_ns - order.from_ns);
  head.window.offset_s = zone_.offset_s(order.from_ns / kSecondNs);
  head.window.zone = zone_.name();
  const Ask ask = [this](std::string_view query, std::string_view request, std::uint64_t& as_of) {
    return host_.ask(query, request, 0, 0, &as_of);
  };
  const Sources sources = collect(ask, queries_of(host_), head.window, log_of(host_));
  return build_report(head, sources, zone_);
}

std::string Workshop::render(const Report& report, std::string_view format) {
  if (format == "json") return render_json(report);
  if (format == "html") return render_html(report);
  throw Error(EPHOR_INVALID, "format: found \"" + std::string(format) + "\", expected html or json",
              "/format");
}

ReportRecord Workshop::make(const Order& order, std::int64_t now_ns) const {
  ReportRecord record;
  record.report_id = order.report_id;
  record.report_type = order.report_type;
  record.schedule_type = order.schedule_type;
  record.generated_at_ns = now_ns;
  record.from_ns = order.from_ns;
  record.to_ns = order.to_ns;
  record.is_late = order.is_late;
  try {
    write(order, build(order, now_ns), record);
    record.status = "done";
    record.deliveries = deliveries_of(order);
  } catch (const std::exception& failure) {
    record.status = "failed";
    record.error = failure.what();
    for (const std::string& recipient : order.recipients)
      record.deliveries.push_back({recipient, "not sent", 0, 0, "the report failed"});
  }
  return record;
}

void Workshop::write(const Order& order, const Report& report, ReportRecord& record) const {
  if (folder_.empty()) throw Error(EPHOR_STATE, "the host does not say where its data lies");
  for (const std::string& format : order.formats) {
    FileRecord file;
    file.format = format;
    if (format == "pdf") {
      file.status = "skipped";
      file.reason = "there is no PDF renderer yet";
    } else {
      const std::string bytes = render(report, format);
      file.name = order.report_id + "." + format;
      write_file(folder_ / file.name, bytes);
      file.status = "written";
      file.bytes = bytes.size();
      file.sha256 = sha256_hex(bytes);
    }
    record.files.push_back(std::move(file));
  }
  if (!order.recipients.empty())
    write_file(folder_ / mail_name(order.report_id), render_mail_html(report));
}

std::vector<DeliveryRecord> Workshop::deliveries_of(const Order& order) const {
  std::vector<DeliveryRecord> out;
  for (const std::string& recipient : order.recipients) {
    if (!settings_.email_distribution)
      out.push_back({recipient, "not sent", 0, 0, "email_distribution is off"});
    else if (!settings_.smtp.is_configured())
      out.push_back({recipient, "not sent", 0, 0, "no smtp configured"});
    else
      out.push_back({recipient, "queued", 0, 0, ""});
  }
  return out;
}

std::string Workshop::read(const ReportRecord& record, std::string_view format) const {
  const FileRecord* file = record.file(format);
  if (file == nullptr) {
    throw Error(EPHOR_NOT_FOUND,
                "report " + record.report_id + " has no " + std::string(format) + " file",
                "/format");
  }
  return read_file(folder_ / file->name);
}

void Workshop::remove_files(const ReportRecord& record) const {
  std::error_code ignored;
  for (const FileRecord& file : record.files) {
    if (!file.name.empty()) std::filesystem::remove(folder_ / file.name, ignored);
  }
  if (!record.deliveries.empty())
    std::filesystem::remove(folder_ / mail_name(record.report_id), ignored);
}

std::string Workshop::message_of(const ReportRecord& record, const std::string& recipient) const {
  Mail mail;
  mail.from = settings_.smtp.from;
  mail.to = recipient;
  mail.message_id = message_id_of(record.report_id, recipient, mail.from);
  mail.date_ns = record.generated_at_ns;
  const std::string day = date_time(record.from_ns, zone_.offset_s(record.from_ns / kSecondNs));
  mail.subject = "Ephor " + record.report_type + " report, from " + day + " " + zone_.name();
  mail.html = read_file(folder_ / mail_name(record.report_id));
  for (const FileRecord& file : record.files) {
    if (file.status != "written") continue;
    mail.attachments.push_back(
        {file.name, file.format == "html" ? "text/html; charset=utf-8" : "application/json",
         read_file(folder_ / file.name)});
  }
  return compose(mail);
}

}  // namespace ephor::reporter
