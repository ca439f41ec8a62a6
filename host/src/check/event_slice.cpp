// SPDX-License-Identifier: Apache-2.0
#include "check/event_slice.hpp"

#include <ephor/plugin.hpp>

#include <nlohmann/json.hpp>

#include "check/checking_host.hpp"
#include "event/hash.hpp"
#include "event/times.hpp"

namespace ephor::host::check {
namespace {

constexpr std::size_t kSlackBytes = 64;  // promised behind every record

}  // namespace

ephor_event& EventSlice::add_raw(std::string_view record, std::uint32_t data_offset,
                                 const Made& made) {
  records_.emplace_back(record, kSlackBytes);
  ephor_event event{};
  event.sequence = made.sequence != 0 ? made.sequence : host_.next_sequence();
  event.time_ns = made.time_ns;
  event.correlation = made.correlation_id.empty() ? 0 : hash64(made.correlation_id);
  event.record = records_.back().data();
  event.record_length = static_cast<std::uint32_t>(record.size());
  event.data_offset = data_offset;
  event.source = host_.source_number(made.source);
  event.topic = host_.topic_number(made.topic);
  event.encoding = EPHOR_ENCODING_JSON;
  event.flags = made.flags;
  return events_.emplace_back(event);
}

ephor_event& EventSlice::add(const Made& made) {
  const auto quoted = [](const std::string& text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  };
  std::string record = R"({"specversion":"1.0","id":)" + quoted(std::to_string(host_.next_id())) +
                       R"(,"source":)" + quoted(made.source) + R"(,"type":)" + quoted(made.topic) +
                       R"(,"time":")" + format_time(made.time_ns) + '"';
  if (!made.correlation_id.empty()) {
    record += R"(,"correlationid":)" + quoted(made.correlation_id);
  }
  record += R"(,"data":)";
  const auto offset = static_cast<std::uint32_t>(record.size());
  record += made.data_json + "}";
  return add_raw(record, offset, made);
}

}  // namespace ephor::host::check
