// SPDX-License-Identifier: Apache-2.0
#include "sampling.hpp"

#include <algorithm>
#include <ephor/text_hash.hpp>
#include <map>
#include <utility>

#include "trace_store.hpp"

namespace ephor::tracer {
namespace {

constexpr std::uint64_t kNewNormal = 20;  // one slow span in so many
constexpr double kTailMax = 4.0;          // p99 over p90, at most

}  // namespace

TailSampler::TailSampler(SamplingSettings settings) : settings_(std::move(settings)) {}

void TailSampler::add(const TailSpan& span) {
  clock_ns_ = std::max(clock_ns_, span.time_ns);
  auto found = open_.find(span.trace);
  if (found == open_.end()) {
    found = open_.emplace(span.trace, OpenTrace{}).first;
    found->second.id = span.id;
    found->second.place = order_.insert(order_.end(), span.trace);
  } else {
    order_.splice(order_.end(), order_, found->second.place);
  }
  OpenTrace& trace = found->second;
  trace.touched_ns = clock_ns_;
  ++trace.span_count;
  ++span_count_;
  trace.is_error |= span.is_error;
  trace.rate = std::max(trace.rate, rate_of(span));
  const std::uint64_t operation = hash64(span.component) * 3 + hash64(span.operation);
  // A failed span's duration is another story, as for the regressions.
  if (!span.is_error && settings_.slow_factor > 0.0) {
    trace.is_slow |= is_slow(operation, span.duration_ns);
  }
  if (settings_.rare_path_below > 0 && trace.operations.size() < kOperationsPerPathMax) {
    const auto at = std::lower_bound(trace.operations.begin(), trace.operations.end(), operation);
    if (at == trace.operations.end() || *at != operation) trace.operations.insert(at, operation);
  }
  if (!settings_.keeps_losing_trades) return;
  for (const std::uint64_t id : span.id_hashes) {
    trace.is_losing |= losing_.contains(id);
    if (std::find(trace.ids.begin(), trace.ids.end(), id) == trace.ids.end() &&
        trace.ids.size() < TraceChunk::kIdsPerTraceMax) {
      trace.ids.push_back(id);
    }
  }
}

void TailSampler::add_losing_ids(const std::vector<std::uint64_t>& id_hashes) {
  for (const std::uint64_t id : id_hashes) {
    if (!losing_.insert(id).second) continue;
    losing_order_.push_back(id);
    if (losing_order_.size() <= kLosingIdsMax) continue;
    losing_.erase(losing_order_.front());
    losing_order_.pop_front();
  }
  for (auto& [number, trace] : open_) {
    trace.is_losing |= std::any_of(trace.ids.begin(), trace.ids.end(), [&](std::uint64_t id) {
      return std::find(id_hashes.begin(), id_hashes.end(), id) != id_hashes.end();
    });
  }
}

bool TailSampler::is_slow(std::uint64_t operation, std::int64_t duration_ns) {
  auto found = latencies_.find(operation);
  if (found == latencies_.end()) {
    if (latencies_.size() >= kOperationsMax) return false;
    found = latencies_.emplace(operation, Latency{}).first;
    found->second.next_at = settings_.slow_spans_min;
  }
  Latency& latency = found->second;
  const auto value = static_cast<double>(duration_ns);
  // Judged by those before it.
  const bool is_slow = value > latency.p99_ns * settings_.slow_factor;
  (is_slow ? latency.slow_ns : latency.durations_ns).add(value);
  if (++latency.seen >= latency.next_at) {
    if (latency.slow_ns.count() * kNewNormal > latency.seen) {
      latency.durations_ns.merge(latency.slow_ns);
      latency.slow_ns = Sketch(512);
    }
    const double p99_ns = latency.durations_ns.quantile(0.99).value_or(value);
    const double p90_ns = latency.durations_ns.quantile(0.90).value_or(value);
    // The first spans may hold a few slow ones; they must not set the measure.
    latency.p99_ns = std::min(p99_ns, kTailMax * p90_ns);
    latency.next_at = latency.seen + latency.seen / 10 + 1;
  }
  return is_slow;
}

double TailSampler::rate_of(const TailSpan& span) const {
  double rate = -1.0;
  const auto fits = [](const std::string& wanted, std::string_view found) {
    return wanted.empty() || wanted == found;
  };
  for (const RateRule& rule : settings_.rates) {
    if (fits(rule.service, span.service) && fits(rule.component, span.component) &&
        fits(rule.operation, span.operation) && fits(rule.symbol, span.symbol)) {
      rate = std::max(rate, rule.rate);
    }
  }
  return rate;
}

bool TailSampler::is_rare(const OpenTrace& trace) {
  if (settings_.rare_path_below == 0) return false;
  const std::uint64_t path = hash64({reinterpret_cast<const char*>(trace.operations.data()),
                                     trace.operations.size() * sizeof(std::uint64_t)});
  const auto found = paths_.find(path);
  if (found != paths_.end()) return ++found->second <= settings_.rare_path_below;
  if (paths_.size() >= kPathsMax) {
    ++paths_left_out_;
    return false;
  }
  paths_.emplace(path, 1);
  return true;
}

TailSampler::Decision TailSampler::decide_oldest() {
  const std::uint64_t number = order_.front();
  const auto found = open_.find(number);
  const OpenTrace trace = std::move(found->second);
  span_count_ -= trace.span_count;
  open_.erase(found);
  order_.pop_front();
  const bool is_rare_path = is_rare(trace);  // counts, so asked in every case
  Reason reason = Reason::none;
  if (trace.is_error && settings_.keeps_errors) {
    reason = Reason::error;
  } else if (trace.is_losing) {
    reason = Reason::losing_trade;
  } else if (trace.is_slow) {
    reason = Reason::slow;
  } else if (is_rare_path) {
    reason = Reason::rare_path;
  } else if (is_sampled(trace.id, trace.rate >= 0.0 ? trace.rate : settings_.baseline_rate)) {
    reason = Reason::baseline;
  }
  if (reason == Reason::none) {
    ++dropped_;
    return {number, Verdict::dropped, reason};
  }
  ++counts_[static_cast<std::size_t>(reason)];
  return {number, Verdict::kept, reason};
}

void TailSampler::write(StateWriter& out) const {
  out.i64(clock_ns_).varint(dropped_).varint(decided_early_).varint(paths_left_out_);
  for (const std::uint64_t count : counts_) out.varint(count);
  out.varint(order_.size());
  for (const std::uint64_t number : order_) {
    const OpenTrace& trace = open_.at(number);
    out.varint(number).i64(trace.touched_ns).varint(trace.span_count).f64(trace.rate);
    out.raw({reinterpret_cast<const char*>(trace.id.data()), trace.id.size()});
    out.boolean(trace.is_error).boolean(trace.is_slow).boolean(trace.is_losing);
    out.varint(trace.operations.size());
    for (const std::uint64_t operation : trace.operations) out.u64(operation);
    out.varint(trace.ids.size());
    for (const std::uint64_t id : trace.ids) out.u64(id);
  }
  const std::map<std::uint64_t, const Latency*> sorted = [&] {
    std::map<std::uint64_t, const Latency*> all;
    for (const auto& [operation, latency] : latencies_) all.emplace(operation, &latency);
    return all;
  }();
  out.varint(sorted.size());
  for (const auto& [operation, latency] : sorted) {
    out.u64(operation).f64(latency->p99_ns).varint(latency->seen).varint(latency->next_at);
    latency->durations_ns.write(out);
    latency->slow_ns.write(out);
  }
  const std::map<std::uint64_t, std::uint64_t> paths(paths_.begin(), paths_.end());
  out.varint(paths.size());
  for (const auto& [path, count] : paths) out.u64(path).varint(count);
  out.varint(losing_order_.size());
  for (const std::uint64_t id : losing_order_) out.u64(id);
}

void TailSampler::read(StateReader& in) {
  clock_ns_ = in.i64();
  dropped_ = in.varint();
  decided_early_ = in.varint();
  paths_left_out_ = in.varint();
  for (std::uint64_t& count : counts_) count = in.varint();
  for (std::size_t left = in.count(40); left > 0; --left) {
    const std::uint64_t number = in.varint();
    const auto [found, is_new] = open_.emplace(number, OpenTrace{});
    if (!is_new) throw Error(EPHOR_INVALID, "open trace twice");
    OpenTrace& trace = found->second;
    trace.touched_ns = in.i64();
    trace.span_count = in.varint();
    trace.rate = in.f64();
    const std::string_view id = in.raw(trace.id.size());
    std::copy(id.begin(), id.end(), reinterpret_cast<char*>(trace.id.data()));
    trace.is_error = in.boolean();
    trace.is_slow = in.boolean();
    trace.is_losing = in.boolean();
    for (std::size_t n = in.count(8); n > 0; --n) trace.operations.push_back(in.u64());
    for (std::size_t n = in.count(8); n > 0; --n) trace.ids.push_back(in.u64());
    trace.place = order_.insert(order_.end(), number);
    span_count_ += trace.span_count;
  }
  for (std::size_t left = in.count(18); left > 0; --left) {
    Latency& latency = latencies_[in.u64()];
    latency.p99_ns = in.f64();
    latency.seen = in.varint();
    latency.next_at = in.varint();
    latency.durations_ns.read(in);
    latency.slow_ns.read(in);
  }
  for (std::size_t left = in.count(9); left > 0; --left) {
    const std::uint64_t path = in.u64();
    paths_[path] = in.varint();
  }
  for (std::size_t left = in.count(8); left > 0; --left) {
    const std::uint64_t id = in.u64();
    losing_.insert(id);
    losing_order_.push_back(id);
  }
}

}  // namespace ephor::tracer
