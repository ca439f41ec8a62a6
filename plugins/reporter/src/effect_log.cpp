// SPDX-License-Identifier: Apache-2.0
#include "effect_log.hpp"

#include <cstring>

namespace ephor::reporter {

std::uint64_t EffectLog::put(const ReportRecord& record) const {
  return ingest(kReportTopic, record.report_id, record.report_id, record.generated_at_ns,
                record_json(record));
}

void EffectLog::put(const OutboxItem& item, const Outcome& outcome, std::int64_t time_ns) const {
  const Json data{{"report_id", item.report_id},
                  {"recipient", item.recipient},
                  {"state", outcome.delivered == Delivered::sent   ? "sent"
                            : outcome.delivered == Delivered::dead ? "dead"
                                                                   : "deferred"},
                  {"attempts", item.attempts},
                  {"next_attempt",
                   item.next_attempt_ns == 0 ? Json() : Json(format_time(item.next_attempt_ns))},
                  {"error", text_or_null(outcome.error)}};
  ingest(kDeliveryTopic,
         item.report_id + "/" + item.recipient + "/" + std::to_string(item.attempts),
         item.report_id, time_ns, data);
}

std::uint64_t EffectLog::ingest(std::string_view topic, const std::string& id,
                                const std::string& report_id, std::int64_t time_ns,
                                const Json& data) const {
  const auto& journal = host_.required<ephor_journal>("ephor.journal/1");
  std::string text = dump({{"specversion", "1.0"},
                           {"id", id},
                           {"source", source_},
                           {"type", topic},
                           {"time", format_time(time_ns)},
                           {"correlationid", report_id}});
  text.pop_back();
  text += ",\"data\":" + dump(data) + "}";
  char* memory = nullptr;
  ephor_buffer* buffer = journal.acquire(journal.context, text.size(), &memory);
  if (buffer == nullptr) throw Error(EPHOR_FULL, "the journal has no room for an event");
  std::memcpy(memory, text.data(), text.size());
  ephor_ingest_result result{};
  result.struct_size = sizeof result;
  std::string refusal;
  check([&](ephor_error* error) {
    return journal.ingest(
        journal.context, buffer, text.size(), EPHOR_FORMAT_SINGLE, to_view(source_),
        [](void* user, const ephor_rejection* rejection) {
          guarded(nullptr, [&] { *static_cast<std::string*>(user) = to_text(rejection->reason); });
        },
        &refusal, &result, error);
  });
  if (result.rejected > 0) throw Error(EPHOR_INTERNAL, "the journal refused an event: " + refusal);
  return result.duplicate > 0 ? 0 : result.last_sequence;
}

EffectLog::Known EffectLog::find(const std::string& report_id, const std::string& recipient) const {
  Known known;
  host_.find_events(report_id, [&](const Event& event) {
    const std::string_view topic = host_.topic_name(event.topic);
    if ((topic != kReportTopic && topic != kDeliveryTopic) || !is_own(event)) return;
    const Json data = data_of(event);
    if (member_or<std::string>(data, "report_id", "") != report_id) return;
    if (topic == kReportTopic) {
      if (!known.record) known.record = record_from(data);
      return;
    }
    DeliveryRecord delivery = delivery_from(data);
    if (delivery.recipient == recipient) known.delivery = std::move(delivery);
  });
  return known;
}

Json data_of(const Event& event) {
  const Json record = parse_json({event.record, event.record_length}, "event");
  return member_or<Json>(record, "data", Json());
}

DeliveryRecord delivery_from(const Json& data) {
  const auto next_ns = parse_time(member_or<std::string>(data, "next_attempt", ""));
  return {member_or<std::string>(data, "recipient", ""), member_or<std::string>(data, "state", ""),
          member_or<std::int64_t>(data, "attempts", 0), next_ns.value_or(0),
          member_or<std::string>(data, "error", "")};
}

}  // namespace ephor::reporter
