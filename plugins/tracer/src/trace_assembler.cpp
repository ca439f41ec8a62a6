// SPDX-License-Identifier: Apache-2.0
#include "trace_assembler.hpp"

#include <algorithm>
#include <cstring>
#include <tuple>

namespace ephor::tracer {
namespace {

constexpr std::size_t kLinearMax = 48;  // below it a scan beats an index

// Where the parents of spans stand in the same list.
class ParentIndex {
 public:
  explicit ParentIndex(const std::vector<OpenSpan>& spans) : spans_(spans) {
    if (spans.size() <= kLinearMax) return;
    for (std::size_t i = 0; i < spans.size(); ++i) by_id_.emplace_back(spans[i].id, i);
    std::sort(by_id_.begin(), by_id_.end());
  }
  // `spans.size()` if it is not here.
  std::size_t find(std::uint64_t id) const {
    if (by_id_.empty()) {
      for (std::size_t i = 0; i < spans_.size(); ++i) {
        if (spans_[i].id == id) return i;
      }
      return spans_.size();
    }
    const auto at = std::lower_bound(by_id_.begin(), by_id_.end(), std::pair(id, std::size_t{0}));
    return at != by_id_.end() && at->first == id ? at->second : spans_.size();
  }

 private:
  const std::vector<OpenSpan>& spans_;
  std::vector<std::pair<std::uint64_t, std::size_t>> by_id_;
};

}  // namespace

void finish_trace(std::vector<OpenSpan>& spans, std::vector<FinishedSpan>& out) {
  std::sort(spans.begin(), spans.end(), [](const OpenSpan& a, const OpenSpan& b) {
    return std::tie(a.start_ns, b.end_ns, a.id) < std::tie(b.start_ns, a.end_ns, b.id);
  });
  const std::size_t first = out.size();
  for (const OpenSpan& span : spans) {
    FinishedSpan& finished = out.emplace_back();
    finished.operation = span.operation;
    finished.time_ns = span.time_ns;
    finished.total_ns = std::max<std::int64_t>(0, span.end_ns - span.start_ns);
    finished.self_ns = finished.total_ns;
    finished.error_group = span.error_group;
    finished.id = span.id;
    finished.parent = span.parent;
    finished.names_parent = span.parent != 0;
    finished.service = span.service;
    finished.component = span.component;
    finished.correlation = span.correlation;
    finished.trace_id = span.trace_id;
    finished.start_ns = span.start_ns;
    finished.end_ns = span.end_ns;
    finished.is_async = span.is_async;
    finished.is_running = span.is_running;
    finished.is_unnamed = span.is_unnamed;
    finished.is_error = finished.is_error_origin = span.is_error;
  }
  // Children come by start, so what they cover together is one pass; `covered_until` is the end up
  // to which each span is covered so far.
  const ParentIndex index(spans);
  std::vector<std::int64_t> covered_until(spans.size());
  for (std::size_t i = 0; i < spans.size(); ++i) covered_until[i] = spans[i].start_ns;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    if (spans[i].parent == 0) continue;
    const std::size_t p = index.find(spans[i].parent);
    if (p == spans.size() || p == i) continue;
    FinishedSpan& parent = out[first + p];
    out[first + i].parent_operation = parent.operation;
    out[first + i].parent_at = static_cast<std::uint32_t>(p);
    if (spans[i].is_error) parent.is_error_origin = false;
    const std::int64_t from = std::max(spans[i].start_ns, covered_until[p]);
    const std::int64_t to = std::min(spans[i].end_ns, spans[p].end_ns);
    if (to <= from) continue;
    parent.self_ns -= to - from;
    covered_until[p] = to;
  }
}

void TraceAssembler::add(std::uint64_t trace, const OpenSpan& span) {
  clock_ns_ = std::max(clock_ns_, span.time_ns);
  // Spans of no trace get one each; a number never collides with what is open by more than chance.
  if (trace == 0) trace = ++lone_ * 0x9E3779B97F4A7C15ULL;
  std::uint32_t at = newest_;
  if (at == kNone || traces_[at].key != trace) {
    const auto found = index_.find(trace);
    at = found == index_.end() ? open(trace) : found->second;
    if (at != newest_) {
      unlink(at);
      append(at);
    }
  }
  traces_[at].touched_ns = clock_ns_;
  traces_[at].spans.push_back(span);
  ++span_count_;
}

std::uint32_t TraceAssembler::open(std::uint64_t key) {
  std::uint32_t at = 0;
  if (free_.empty()) {
    at = static_cast<std::uint32_t>(traces_.size());
    traces_.emplace_back();
  } else {
    at = free_.back();
    free_.pop_back();
  }
  traces_[at].key = key;
  index_.emplace(key, at);
  append(at);
  return at;
}

void TraceAssembler::append(std::uint32_t at) {
  traces_[at].previous = newest_;
  traces_[at].next = kNone;
  (newest_ == kNone ? oldest_ : traces_[newest_].next) = at;
  newest_ = at;
}

void TraceAssembler::unlink(std::uint32_t at) {
  const Trace& trace = traces_[at];
  (trace.previous == kNone ? oldest_ : traces_[trace.previous].next) = trace.next;
  (trace.next == kNone ? newest_ : traces_[trace.next].previous) = trace.previous;
}

void TraceAssembler::finish_oldest() {
  const std::uint32_t at = oldest_;
  Trace& trace = traces_[at];
  finish_trace(trace.spans, finished_);
  for (FinishedSpan& span : finished_) {
    if (span.trace_id != std::array<std::uint8_t, 16>{}) span.trace_priority = trace.key;
  }
  span_count_ -= trace.spans.size();
  trace.spans.clear();
  if (trace.spans.capacity() > 1024) trace.spans.shrink_to_fit();
  unlink(at);
  index_.erase(trace.key);
  free_.push_back(at);
}

void TraceAssembler::write(StateWriter& out) const {
  out.i64(clock_ns_).varint(finished_early_).varint(lone_).varint(index_.size());
  for (std::uint32_t at = oldest_; at != kNone; at = traces_[at].next) {
    const Trace& trace = traces_[at];
    out.u64(trace.key).i64(trace.touched_ns).varint(trace.spans.size());
    for (const OpenSpan& span : trace.spans) {
      out.u64(span.id).u64(span.parent).i64(span.start_ns).i64(span.end_ns).i64(span.time_ns);
      out.u64(span.error_group).varint(span.operation).boolean(span.is_error);
      out.varint(span.service).varint(span.component).u64(span.correlation);
      out.raw({reinterpret_cast<const char*>(span.trace_id.data()), span.trace_id.size()});
      out.boolean(span.is_async).boolean(span.is_running).boolean(span.is_unnamed);
    }
  }
}

void TraceAssembler::read(StateReader& in) {
  clock_ns_ = in.i64();
  finished_early_ = in.varint();
  lone_ = in.varint();
  for (std::size_t left = in.count(17); left > 0; --left) {
    const std::uint64_t key = in.u64();
    if (index_.contains(key)) throw Error(EPHOR_INVALID, "open trace twice");
    Trace& trace = traces_[open(key)];
    trace.touched_ns = in.i64();
    for (std::size_t spans = in.count(77); spans > 0; --spans) {
      OpenSpan span;
      span.id = in.u64();
      span.parent = in.u64();
      span.start_ns = in.i64();
      span.end_ns = in.i64();
      span.time_ns = in.i64();
      span.error_group = in.u64();
      span.operation = static_cast<std::uint32_t>(in.varint());
      span.is_error = in.boolean();
      span.service = static_cast<std::uint32_t>(in.varint());
      span.component = static_cast<std::uint32_t>(in.varint());
      span.correlation = in.u64();
      std::memcpy(span.trace_id.data(), in.raw(16).data(), 16);
      span.is_async = in.boolean();
      span.is_running = in.boolean();
      span.is_unnamed = in.boolean();
      trace.spans.push_back(span);
      ++span_count_;
    }
  }
}

}  // namespace ephor::tracer
