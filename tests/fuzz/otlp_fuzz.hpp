// SPDX-License-Identifier: Apache-2.0
//
// What the fuzz targets of OTLP share: a body goes through the door, what comes out is counted,
// goes through the journal's encoding and back, is rendered, and comes in once more as JSON.
#pragma once

#include <ephor/events.hpp>

#include <algorithm>
#include <exception>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "fuzz.hpp"
#include "ingest/door.hpp"
#include "store/batch_codec.hpp"

namespace ephor::fuzz {

using namespace ephor::host;

inline constexpr std::int64_t kArrivedNs = 1'800'000'000'000'000'000;

inline Buffer buffer_of(std::string_view text) {
  Buffer buffer(text.size());
  if (!text.empty()) std::memcpy(buffer.data(), text.data(), text.size());
  buffer.set_size(text.size());
  return buffer;
}

// Names are kept for ever: a house is pulled down after a while.
struct House {
  Names names;
  Door door;
  std::unique_ptr<Describer> describer;
  explicit House(bool is_tight)
      : door(config_of(is_tight), names), describer(door.make_describer()) {}

  static IngestConfig config_of(bool is_tight) {
    IngestConfig config;
    config.join_attributes = {"account", "desk"};
    if (is_tight) {
      config.future_skew_ns = 0;
      config.depth_max = 12;
      config.otlp_attributes_max = 3;
      config.otlp_fields_max = 200;
      config.otlp_text_bytes_max = 64;
      config.otlp_source_bytes_max = 256;
      config.otlp_sources_max = 16;
      config.otlp_source_memory_bytes = 65'536;
    }
    return config;
  }
};

inline House& house(bool is_tight) {
  static std::unique_ptr<House> houses[2];
  static std::uint32_t visits[2];
  std::unique_ptr<House>& wanted = houses[is_tight ? 1 : 0];
  if (wanted == nullptr || ++visits[is_tight ? 1 : 0] % 20'000 == 0) {
    wanted = std::make_unique<House>(is_tight);
  }
  return *wanted;
}

inline void check_rendered(const ephor_event& event, const Hash128& id, House& at) {
  std::string line;
  otlp::render(line, event, at.names.sources.name(event.source));
  EPHOR_PROMISE(nlohmann::json::accept(line), "a rendered span is JSON");
  const Arrival again =
      at.door.admit(buffer_of(line), {.format = EPHOR_FORMAT_SINGLE, .arrived_ns = kArrivedNs});
  // Rendering may nest deeper or be longer than the door takes; nothing else may be wrong with it.
  if (again.event_count == 0) {
    const std::string& reason = again.rejections.at(0).reason;
    EPHOR_PROMISE(reason.find("nest") != std::string::npos ||
                      reason.find("deep") != std::string::npos ||
                      reason.find("at most") != std::string::npos,
                  "a rendered span is taken");
    return;
  }
  const Batch& batch = *again.batches.at(0).batch;
  EPHOR_PROMISE(batch.events.size() == 1, "one span is one event");
  EPHOR_PROMISE(std::memcmp(batch.events[0].trace_id, event.trace_id, 16) == 0, "of its trace");
  EPHOR_PROMISE(batch.events[0].correlation == event.correlation, "of its correlation id");
  const bool is_other =
      at.names.sources.name(event.source).find("ephor.other") != std::string_view::npos;
  EPHOR_PROMISE(is_other || batch.ids[0] == id, "and the same span");
}

inline void check_batch(const Batch& batch, House& at) {
  EPHOR_PROMISE(batch.ids.size() == batch.events.size(), "an id for each event");
  const EncodedBatch encoded = encode_batch(batch);
  StoredBatch stored;
  decode_body(encoded.codec, encoded.body, encoded.count, encoded.record_bytes, stored);
  EPHOR_PROMISE(stored.records.size() == batch.events.size(), "all records come back");
  EPHOR_PROMISE(decode_ids(encoded.codec, encoded.ids, encoded.body, encoded.count,
                           encoded.record_bytes) == batch.ids,
                "and all ids");
  EventReader reader([&](std::uint32_t number) { return at.names.sources.name(number); });
  JoinKeys joins;
  for (std::size_t i = 0; i < batch.events.size(); ++i) {
    const ephor_event& before = batch.events[i];
    EPHOR_PROMISE(std::any_of(batch.buffers.begin(), batch.buffers.end(),
                              [&](const Buffer& buffer) {
                                return before.record >= buffer.data() &&
                                       before.record + before.record_length <=
                                           buffer.data() + buffer.size();
                              }),
                  "a record lies in its batch");
    EPHOR_PROMISE(before.time_ns <= kArrivedNs + at.door.config().future_skew_ns, "no far future");
    const StoredRecord& kept = stored.records[i];
    const StoredFacts facts{kept.time_ns, kept.encoding, kept.flags, stored.source(i)};
    ephor_event after{};
    EPHOR_PROMISE(at.describer->redescribe(stored.record(i), facts, after), "described again");
    after.record = before.record;
    EPHOR_PROMISE(std::memcmp(&before, &after, sizeof before) == 0, "as it was at first");
    at.describer->add_joins(stored.record(i), facts, joins);
    const Span span = reader.span(before);
    EPHOR_PROMISE(span.trace_id.size() == 32 && span.span_id.size() == 16, "has its ids");
    EPHOR_PROMISE(span.end_ns >= span.start_ns && span.start_ns > 0, "has its times");
    span.for_each_attribute([](std::string_view, const AttributeValue& value) {
      EPHOR_PROMISE(value.kind == AttributeValue::Kind::other || value.to_text().size() < 1U << 20,
                    "a value reads");
    });
    check_rendered(before, batch.ids[i], at);
  }
  EPHOR_PROMISE(joins.take_sorted() == batch.join_keys, "the same join keys");
}

inline void admit(std::string_view body, std::uint32_t format, House& at) {
  const Arrival arrival =
      at.door.admit(buffer_of(body), {.format = format, .arrived_ns = kArrivedNs});
  std::uint32_t taken = 0;
  for (const ArrivedBatch& arrived : arrival.batches) {
    taken += static_cast<std::uint32_t>(arrived.records.size());
    check_batch(*arrived.batch, at);
  }
  EPHOR_PROMISE(arrival.event_count == taken, "a span is an event");
  EPHOR_PROMISE(arrival.record_count == taken + arrival.rejected_count, "none is lost or doubled");
  for (const Rejection& rejection : arrival.rejections) {
    EPHOR_PROMISE(rejection.line > 0 && !rejection.reason.empty(), "has a place and a reason");
    EPHOR_PROMISE(rejection.json_pointer.size() <= kJsonPointerBytesMax, "its pointer fits");
    EPHOR_PROMISE(!nlohmann::json(rejection.reason).dump().empty(), "its reason is UTF-8");
  }
  EPHOR_PROMISE(at.names.sources.count() < 200'000, "names are bounded");
}

inline int run(const std::uint8_t* data, std::size_t size, std::uint32_t format) {
  Input input(data, size);
  House& at = house((input.number(1) & 1) != 0);
  try {
    admit(input.rest(), format, at);
  } catch (const std::exception& failure) {
    broken(__FILE__, __LINE__, std::string("no exception comes out: ") + failure.what());
  }
  return 0;
}

}  // namespace ephor::fuzz
