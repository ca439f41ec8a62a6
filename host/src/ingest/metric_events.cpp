// SPDX-License-Identifier: Apache-2.0
#include "ingest/metric_events.hpp"

#include <ephor/abi.h>
#include <simdjson.h>

#include <algorithm>

#include "ingest/event_rules.hpp"
#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

constexpr std::size_t kEnvelopeBytesMax = 7 * 1024;  // the source's 1024 escaped, and the rest

MetricBatchLimits limits_of(const MadeContext& context) {
  MetricBatchLimits limits;
  const std::size_t room =
      std::max(context.record_bytes_max, kEnvelopeBytesMax) - kEnvelopeBytesMax;
  limits.bytes_max = std::min(limits.bytes_max, room);
  return limits;
}

}  // namespace

MetricEvents::MetricEvents(const MadeContext& context, MadeEventSink& sink)
    : context_(context), sink_(sink), batch_(limits_of(context)), source_(context.default_source) {}

bool MetricEvents::next_item(std::uint32_t line, std::size_t bytes) {
  const bool is_full = batch_.is_full(bytes);
  if (is_full) flush();
  if (batch_.empty()) first_line_ = line;
  return is_full;
}

bool MetricEvents::set_source(std::string_view source) {
  if (source == source_) return false;
  const bool was_filled = !batch_.empty();
  flush();
  source_ = source;
  return was_filled;
}

std::int64_t MetricEvents::time_of(bool has_time, std::int64_t time_ns) {
  if (!has_time) {
    flags_ |= EPHOR_EVENT_TIME_ARRIVAL;
    return context_.arrived_ns;
  }
  if (time_ns > context_.arrived_ns + context_.future_skew_ns) {
    flags_ |= EPHOR_EVENT_TIME_CLAMPED;
    return context_.arrived_ns;
  }
  return time_ns;
}

void MetricEvents::flush() {
  if (!batch_.empty()) {
    data_.clear();
    batch_.write(data_);
    record_.clear();
    write_made_record(record_, data_, source_, "ephor.metric_batch", batch_.newest_ns(), {}, data_);
    sink_.take({record_, first_line_, item_count_, flags_, {}});
  }
  // What was taken and told nothing is counted with the next event.
  if (!batch_.empty()) item_count_ = 0;
  batch_.clear();
  flags_ = 0;
}

std::string name_fault(std::string_view what, std::string_view name, std::size_t bytes_max) {
  const bool is_good = !name.empty() && name.size() <= bytes_max && !has_control_character(name) &&
                       simdjson::validate_utf8(name.data(), name.size());
  if (is_good) return {};
  return "found " + (name.empty() ? std::string("nothing") : shown(name.substr(0, 80))) + " as " +
         std::string(what) + ", expected UTF-8 text of 1 to " + std::to_string(bytes_max) +
         " bytes without control characters";
}

}  // namespace ephor::host
