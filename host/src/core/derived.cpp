// SPDX-License-Identifier: Apache-2.0
#include "core/derived.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <tuple>

#include "event/times.hpp"
#include "ingest/json_text.hpp"

namespace ephor::host {
namespace {

std::string record_of(const DerivedDraft& draft) {
  std::string out = R"({"specversion":"1.0","id":)";
  append_json_string(out, std::string(draft.epoch) + "-" + std::string(draft.instance) + "-" +
                              std::to_string(draft.cause_sequence) + "-" +
                              std::to_string(draft.index));
  out += R"(,"source":)";
  append_json_string(out, std::string(kHostSource) + "/" + std::string(draft.instance));
  out += R"(,"type":)";
  append_json_string(out, draft.topic);
  out += R"(,"time":")" + format_time(draft.time_ns) + "\"";
  if (!draft.correlation_id.empty()) {
    out += R"(,"correlationid":)";
    append_json_string(out, draft.correlation_id);
  }
  if (std::any_of(draft.trace_id.begin(), draft.trace_id.end(),
                  [](auto byte) { return byte != 0; })) {
    // The parent is the cause, which has no span of its own: its id is the cause's number.
    std::array<std::uint8_t, 8> parent{};
    const std::uint64_t number = draft.cause_sequence | (1ULL << 63);
    for (std::size_t i = 0; i < parent.size(); ++i) {
      parent[i] = static_cast<std::uint8_t>(number >> (56 - 8 * i));
    }
    out += R"(,"traceparent":"00-)" + hex(draft.trace_id) + "-" + hex(parent) + "-01\"";
  }
  out += R"(,"data":)" + draft.data_json + "}";
  return out;
}

// One buffer that holds all texts, and where each begins.
Buffer joined(std::span<const std::string> texts, std::vector<std::size_t>& offsets) {
  std::size_t size = 0;
  for (const std::string& text : texts) size += text.size();
  Buffer buffer(size);
  std::size_t at = 0;
  for (const std::string& text : texts) {
    std::memcpy(buffer.data() + at, text.data(), text.size());
    offsets.push_back(at);
    at += text.size();
  }
  std::memset(buffer.data() + at, 0, kRecordSlackBytes);
  buffer.set_size(at);
  return buffer;
}

}  // namespace

bool comes_before(const DerivedDraft& a, const DerivedDraft& b) {
  return std::tie(a.cause_sequence, a.instance_order, a.index) <
         std::tie(b.cause_sequence, b.instance_order, b.index);
}

BatchPointer build_derived(std::span<const DerivedDraft> drafts, Describer& describer,
                           std::int64_t arrived_ns, std::vector<std::string>& faults) {
  std::vector<std::string> records;
  records.reserve(drafts.size());
  for (const DerivedDraft& draft : drafts) records.push_back(record_of(draft));
  auto batch = std::make_unique<Batch>();
  batch->arrived_ns = arrived_ns;
  std::vector<std::size_t> offsets;
  batch->buffers.push_back(joined(records, offsets));
  JoinKeys joins;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const std::string_view record(batch->buffers[0].data() + offsets[i], records[i].size());
    Fault fault;
    simdjson::dom::element root;
    ephor_event event{};
    Hash128 id;
    if (!describer.parse(record, root, fault) ||
        !describer.describe(record, root, arrived_ns, joins, event, id, fault)) {
      faults.push_back("derived event " + drafts[i].topic + " " + fault.json_pointer + ": " +
                       fault.reason);
      continue;
    }
    event.time_ns = drafts[i].time_ns;  // never clamped: it is the cause's
    event.flags = EPHOR_EVENT_DERIVED;
    batch->events.push_back(event);
    batch->ids.push_back(id);
  }
  batch->join_keys = joins.take_sorted();
  return batch;
}

std::string host_record(std::string_view topic, std::string_view id, std::int64_t time_ns,
                        std::string_view data_json) {
  std::string out = R"({"specversion":"1.0","id":)";
  append_json_string(out, id);
  out += R"(,"source":")" + std::string(kHostSource) + R"(","type":)";
  append_json_string(out, topic);
  out += R"(,"time":")" + format_time(time_ns) + R"(","data":)" + std::string(data_json) + "}";
  return out;
}

void append_host_events(Batch& batch, std::span<const std::string> records, Describer& describer,
                        std::vector<ephor_event>& events) {
  std::vector<std::size_t> offsets;
  batch.buffers.push_back(joined(records, offsets));
  JoinKeys ignored;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const std::string_view record(batch.buffers.back().data() + offsets[i], records[i].size());
    Fault fault;
    simdjson::dom::element root;
    ephor_event event{};
    Hash128 id;
    if (!describer.parse(record, root, fault) ||
        !describer.describe(record, root, INT64_MAX / 2, ignored, event, id, fault)) {
      throw std::logic_error("host event: " + fault.json_pointer + ": " + fault.reason);
    }
    event.flags = EPHOR_EVENT_HOST;
    events.push_back(event);
  }
}

}  // namespace ephor::host
