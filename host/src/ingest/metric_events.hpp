// SPDX-License-Identifier: Apache-2.0
//
// From a metric batch to its event: what line protocol and OTLP have in common.
#pragma once

#include <cstdint>
#include <string>

#include "ingest/made_events.hpp"
#include "ingest/metric_batch.hpp"

namespace ephor::host {

inline constexpr std::size_t kMetricNameBytesMax = 256;
inline constexpr std::size_t kLabelNameBytesMax = 256;
inline constexpr std::size_t kLabelValueBytesMax = 2048;
inline constexpr std::size_t kLabelsMax = 60;  // of a series
// Of the name and all labels as JSON; more is no series but a document.
inline constexpr std::size_t kSeriesBytesMax = 4000;

// Collects the rows of one body and hands over an event whenever it holds enough.
class MetricEvents {
 public:
  MetricEvents(const MadeContext& context, MadeEventSink& sink);

  MetricBatch& batch() { return batch_; }
  // Before the rows of another item of the body. True: an event was made of what there was, and
  // every number of a table, series or column is void.
  bool next_item(std::uint32_t line, std::size_t bytes);
  // An item was taken whole.
  void count_item() { ++item_count_; }
  // When a sample was taken, from what the sender says (or does not).
  std::int64_t time_of(bool has_time, std::int64_t time_ns);
  // Events of another source go apart. True as next_item.
  bool set_source(std::string_view source);
  void flush();

 private:
  const MadeContext& context_;
  MadeEventSink& sink_;
  MetricBatch batch_;
  std::string source_;
  std::string data_;
  std::string record_;
  std::uint32_t first_line_ = 0;
  std::uint32_t item_count_ = 0;
  std::uint8_t flags_ = 0;
};

// What a name or a label must be; else says what it should be. Empty: nothing is wrong.
std::string name_fault(std::string_view what, std::string_view name, std::size_t bytes_max);

}  // namespace ephor::host
