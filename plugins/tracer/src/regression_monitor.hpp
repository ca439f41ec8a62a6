// SPDX-License-Identifier: Apache-2.0
//
// Watches every operation for two things: that it got slower of itself, and that it began to fail.
// Blame goes where the trouble is: time to the span that spent it, failure to the deepest span that
// failed; ancestors, which contain both, are named in the evidence and raise nothing themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/findings.hpp>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "error_watch.hpp"
#include "latency_watch.hpp"
#include "trace_assembler.hpp"

namespace ephor::tracer {

struct RegressionSettings {
  bool is_enabled = true;
  LatencySettings latency;
  ErrorSettings errors;
  std::int64_t linger_ns = 10'000'000'000;
  std::size_t open_spans_max = 20'000;
  std::size_t findings_max = 200;
};

// What the monitor asks of its owner.
struct RegressionNames {
  std::function<std::string(std::uint32_t operation)> operation;        // "component/operation"
  std::function<std::string(std::uint64_t error_group)> error_message;  // the pattern; empty: gone
};

class RegressionMonitor {
 public:
  // `instance`: begins every finding id.
  RegressionMonitor(RegressionSettings settings, std::string instance, RegressionNames names);

  void add(std::uint64_t trace, const OpenSpan& span) { assembler_.add(trace, span); }
  // Judges the traces that are finished by now. `now_ns`: event time of what is in hand.
  // `on_trace(std::span<const FinishedSpan>)` sees each of them, too.
  template <typename OnTrace>
  void judge(std::int64_t now_ns, OnTrace&& on_trace) {
    assembler_.take_finished(
        [&](std::span<const FinishedSpan> trace) { judge_trace(trace, now_ns, on_trace); });
  }
  // The same with all traces: nothing more will come for now.
  template <typename OnTrace>
  void judge_all(std::int64_t now_ns, OnTrace&& on_trace) {
    assembler_.take_all(
        [&](std::span<const FinishedSpan> trace) { judge_trace(trace, now_ns, on_trace); });
  }

  // What has opened or closed waits there to be published.
  Findings& findings() { return findings_; }
  const Findings& findings() const { return findings_; }
  const TraceAssembler& assembler() const { return assembler_; }
  const RegressionSettings& settings() const { return settings_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  struct Operation {
    LatencyWatch latency;
    ErrorWatch errors;
    std::uint32_t parent = FinishedSpan::kNoOperation;  // of its latest span
  };

  template <typename OnTrace>
  void judge_trace(std::span<const FinishedSpan> trace, std::int64_t now_ns, OnTrace&& on_trace) {
    on_trace(trace);
    if (!settings_.is_enabled) return;
    for (const FinishedSpan& span : trace) {
      if (!span.is_running && !span.is_unnamed) judge_span(span, now_ns);
    }
  }
  void judge_span(const FinishedSpan& span, std::int64_t now_ns) {
    if (operations_.size() <= span.operation) operations_.resize(span.operation + 1);
    Operation& operation = operations_[span.operation];
    operation.parent = span.parent_operation;
    // What fails ends early or waits for a timeout: its duration is another story.
    if (!span.is_error) {
      const WatchChange change =
          operation.latency.add(settings_.latency, span.time_ns, span.self_ns, span.total_ns);
      if (change != WatchChange::none) on_latency(span.operation, change, now_ns);
    }
    if (!span.is_error || span.is_error_origin) {
      const WatchChange change =
          operation.errors.add(settings_.errors, span.time_ns, span.is_error, span.error_group);
      if (change != WatchChange::none) on_errors(span.operation, change, now_ns);
    }
  }
  void on_latency(std::uint32_t operation, WatchChange change, std::int64_t now_ns);
  void on_errors(std::uint32_t operation, WatchChange change, std::int64_t now_ns);
  // Opens or closes by `change`; `news` holds severity, summary, evidence and onset.
  void tell(Finding news, WatchChange change, std::int64_t now_ns);
  Json ancestors_json(std::uint32_t operation) const;

  RegressionSettings settings_;
  RegressionNames names_;
  TraceAssembler assembler_;
  std::vector<Operation> operations_;  // by index
  Findings findings_;
};

}  // namespace ephor::tracer
