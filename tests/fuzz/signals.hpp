// SPDX-License-Identifier: Apache-2.0
//
// What the fuzz targets of metrics and logs share: a body through the door, and promises about what
// comes out, told by a second reader.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <memory>
#include <string>

#include "fuzz.hpp"
#include "ingest/door.hpp"
#include "store/batch_codec.hpp"
#include "support/metric_batch_reference.hpp"

namespace ephor::fuzz {

// Names are kept for ever: a house is pulled down after a while.
struct SignalHouse {
  host::Names names;
  host::Door door;
  std::unique_ptr<host::Describer> describer;
  SignalHouse() : door(config(), names), describer(door.make_describer()) {}

  static host::IngestConfig config() {
    host::IngestConfig config;
    config.record_bytes_max = 32 * 1024;
    return config;
  }
  static SignalHouse& get() {
    static std::unique_ptr<SignalHouse> house;
    static std::uint32_t visits = 0;
    if (house == nullptr || ++visits % 20'000 == 0) house = std::make_unique<SignalHouse>();
    return *house;
  }
};

inline void check_made_event(const ephor_event& event, SignalHouse& at, std::string_view topic) {
  const std::string_view record(event.record, event.record_length);
  EPHOR_PROMISE(record.size() <= at.door.config().record_bytes_max, "a record keeps its bound");
  EPHOR_PROMISE(at.names.topics.name(event.topic) == topic, "it has its topic");
  const auto read = nlohmann::json::parse(record, nullptr, false);
  EPHOR_PROMISE(read.is_object(), "a made record is JSON");
  if (topic != "ephor.metric_batch") return;
  std::int64_t newest_ns = INT64_MIN;
  for (const auto& sample : testing::reference_samples(read.at("data"))) {
    EPHOR_PROMISE(!sample.name.empty() && sample.name.size() <= 256, "a metric has its name");
    EPHOR_PROMISE(std::isfinite(sample.value), "a value is finite");
    EPHOR_PROMISE(sample.labels.size() <= 64, "labels keep their bound");
    EPHOR_PROMISE(sample.counts.empty() || sample.counts.size() == sample.bounds.size() + 1,
                  "a histogram has a count more than bounds");
    newest_ns = std::max(newest_ns, sample.time_ns);
  }
  EPHOR_PROMISE(newest_ns <= event.time_ns, "the event's time is that of its newest sample");
}

// Returns the number of records taken and rejected.
inline std::uint32_t admit_signals(std::string_view body, std::uint32_t format,
                                   std::string_view topic) {
  SignalHouse& at = SignalHouse::get();
  host::Buffer buffer(body.size());
  if (!body.empty()) std::memcpy(buffer.data(), body.data(), body.size());
  buffer.set_size(body.size());
  host::Admission admission;
  admission.format = format;
  admission.arrived_ns = 1'800'000'000'000'000'000;
  try {
    const host::Arrival arrival = at.door.admit(std::move(buffer), admission);
    std::uint32_t taken = 0;
    for (const host::ArrivedBatch& arrived : arrival.batches) {
      EPHOR_PROMISE(arrived.batch->ids.size() == arrived.batch->events.size(), "an id each");
      for (const host::RecordGroup& group : arrived.records) taken += group.record_count;
      for (const ephor_event& event : arrived.batch->events) check_made_event(event, at, topic);
      host::encode_batch(*arrived.batch);
    }
    EPHOR_PROMISE(arrival.record_count == taken + arrival.rejected_count, "none is lost");
    for (const host::Rejection& rejection : arrival.rejections) {
      EPHOR_PROMISE(rejection.line > 0 && !rejection.reason.empty(), "it says where and why");
      EPHOR_PROMISE(!nlohmann::json(rejection.reason).dump().empty(), "UTF-8");
      EPHOR_PROMISE(!nlohmann::json(rejection.json_pointer).dump().empty(), "UTF-8");
    }
    return arrival.record_count;
  } catch (const std::exception& failure) {
    broken(__FILE__, __LINE__, std::string("no exception comes out: ") + failure.what());
  }
}

}  // namespace ephor::fuzz
