// SPDX-License-Identifier: Apache-2.0
//
// What one can see of the bus and its readers: for /api/system/bus, `ephor top` and /metrics.
//
// Counts and quantiles are since the start of the host, or since the instance was made. Rates, the
// share of time spent in handlers and the quantiles called "recent" are over the last seconds
// (`interval_s` says how many): sample() keeps the figures of the last ten, one a second.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "bus/bus.hpp"
#include "bus/duration_histogram.hpp"
#include "core/event_log.hpp"
#include "core/metric_registry.hpp"
#include "event/interner.hpp"

namespace ephor::host {

class Instance;

class BusReport {
 public:
  using Instances = std::function<std::vector<std::shared_ptr<Instance>>()>;

  // All outlive the report. `instances` is asked whenever a report is asked for.
  BusReport(const Bus& bus, const EventLog& log, const Names& names, Instances instances);

  // [any] Notes the figures of now, if the last note is a second old. Cheap: some kilobytes are
  // copied per reader.
  void sample();

  // [any] {"ring", "readers": [...], "topics": [...]}: the answer of query system.bus.
  nlohmann::json json();
  // [any] ephor_reader_*, ephor_bus_*, ephor_topic_events_total.
  void collect(MetricRegistry& metrics) const;

 private:
  struct ReaderSample {
    std::uint64_t delivered = 0;
    std::int64_t busy_ns = 0;
    DurationHistogram::Snapshot handler_time;
    DurationHistogram::Snapshot queue_delay;
  };
  struct Sample {
    std::int64_t at_ns = 0;
    BusStats bus;
    std::map<std::string, ReaderSample> readers;  // by instance
    std::map<std::uint16_t, std::uint64_t> topics;
  };
  Sample take() const;
  std::shared_ptr<const Sample> past();

  nlohmann::json ring_json(const Sample& now, const Sample& past) const;
  nlohmann::json reader_json(const Instance& instance, const Sample& now, const Sample& past) const;
  nlohmann::json topics_json(const Sample& now, const Sample& past) const;

  const Bus& bus_;
  const EventLog& log_;
  const Names& names_;
  const Instances instances_;
  std::mutex mutex_;  // guards samples_
  std::deque<std::shared_ptr<const Sample>> samples_;
};

}  // namespace ephor::host
