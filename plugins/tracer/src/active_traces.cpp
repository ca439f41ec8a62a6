// SPDX-License-Identifier: Apache-2.0
#include "active_traces.hpp"

#include <algorithm>
#include <cstring>

namespace ephor::tracer {
namespace {

void write_ids(StateWriter& out, const std::set<std::uint64_t>& ids) {
  out.varint(ids.size());
  for (const std::uint64_t id : ids) out.u64(id);
}

void read_ids(StateReader& in, std::set<std::uint64_t>& ids) {
  for (std::size_t left = in.count(8); left > 0; --left) ids.insert(in.u64());
}

void write_trace(StateWriter& out, const ActiveTrace& trace) {
  out.raw({reinterpret_cast<const char*>(trace.trace_id.data()), trace.trace_id.size()});
  out.i64(trace.start_ns).i64(trace.last_seen_ns).varint(trace.span_count);
  out.varint(trace.operation).i64(trace.operation_rank_ns);
  out.boolean(trace.has_root).boolean(trace.has_more);
  write_ids(out, trace.seen);
  write_ids(out, trace.missing);
  write_ids(out, trace.running);
}

ActiveTrace read_trace(StateReader& in) {
  ActiveTrace trace;
  std::memcpy(trace.trace_id.data(), in.raw(16).data(), 16);
  trace.start_ns = in.i64();
  trace.last_seen_ns = in.i64();
  trace.span_count = in.varint();
  trace.operation = static_cast<std::uint32_t>(in.varint());
  trace.operation_rank_ns = in.i64();
  trace.has_root = in.boolean();
  trace.has_more = in.boolean();
  read_ids(in, trace.seen);
  read_ids(in, trace.missing);
  read_ids(in, trace.running);
  return trace;
}

void note(ActiveTrace& trace, std::set<std::uint64_t>& ids, std::uint64_t id) {
  if (ids.size() < ActiveTrace::kIdsMax || ids.contains(id)) {
    ids.insert(id);
  } else {
    trace.has_more = true;
  }
}

bool is_whole(std::span<const FinishedSpan> trace) {
  bool has_root = false;
  for (const FinishedSpan& span : trace) {
    if (span.is_running) return false;
    if (span.names_parent && span.parent_at == FinishedSpan::kNoParent) return false;
    has_root = has_root || !span.names_parent;
  }
  return has_root;
}

}  // namespace

void add_spans(ActiveTrace& into, std::span<const FinishedSpan> spans) {
  for (const FinishedSpan& span : spans) {
    into.trace_id = span.trace_id;
    const bool is_root = !span.names_parent;
    const bool is_first = into.operation_rank_ns == 0 && into.span_count == 0;
    into.start_ns = is_first ? span.start_ns : std::min(into.start_ns, span.start_ns);
    into.last_seen_ns = is_first ? span.time_ns : std::max(into.last_seen_ns, span.time_ns);
    // A root names the trace; of several, or of none, the earliest.
    if (is_first || (is_root && !into.has_root) ||
        (is_root == into.has_root && span.start_ns < into.operation_rank_ns)) {
      into.operation = span.operation;
      into.operation_rank_ns = span.start_ns;
    }
    into.has_root = into.has_root || is_root;
    if (span.is_running) continue;
    ++into.span_count;
    if (into.seen.size() < ActiveTrace::kSeenMax) into.seen.insert(span.id);
  }
  for (const FinishedSpan& span : spans) {
    if (span.is_running && !into.seen.contains(span.id)) note(into, into.running, span.id);
    const bool is_missing = span.names_parent && span.parent_at == FinishedSpan::kNoParent &&
                            into.seen.size() < ActiveTrace::kSeenMax &&
                            !into.seen.contains(span.parent);
    if (is_missing) note(into, into.missing, span.parent);
  }
  for (const FinishedSpan& span : spans) {
    if (!span.is_running) into.running.erase(span.id);
    into.missing.erase(span.id);
  }
}

void ActiveTraces::add_trace(std::uint64_t key, std::span<const FinishedSpan> trace,
                             std::int64_t now_ns) {
  expire(now_ns);
  const auto found = waiting_.find(key);
  if (found == waiting_.end()) {
    if (whole_.contains(key)) return;
    if (is_whole(trace)) {
      remember_whole(key);
      return;
    }
  } else {
    by_start_.erase({found->second.start_ns, key});
  }
  const auto at = found == waiting_.end() ? waiting_.emplace(key, ActiveTrace{}).first : found;
  add_spans(at->second, trace);
  by_start_.emplace(at->second.start_ns, key);
  if (at->second.is_whole()) {
    ++completed_late_;
    erase(at);
    remember_whole(key);
    return;
  }
  if (waiting_.size() > traces_max_) {
    ++given_up_;
    erase(waiting_.find(by_start_.begin()->second));
  }
  expire(now_ns);
}

void ActiveTraces::expire(std::int64_t now_ns) {
  while (!by_start_.empty() && by_start_.begin()->first < now_ns - timeout_ns_) {
    const auto at = waiting_.find(by_start_.begin()->second);
    ++timed_out_count_;
    timed_out_.push_back(std::move(at->second));
    if (timed_out_.size() > kTimedOutKept) timed_out_.pop_front();
    const std::uint64_t key = at->first;
    by_start_.erase(by_start_.begin());
    waiting_.erase(at);
    remember_whole(key);  // it is told once
  }
}

void ActiveTraces::erase(Waiting::iterator at) {
  by_start_.erase({at->second.start_ns, at->first});
  waiting_.erase(at);
}

void ActiveTraces::remember_whole(std::uint64_t key) {
  if (!whole_.insert(key).second) return;
  whole_order_.push_back(key);
  if (whole_order_.size() <= kWholeKept) return;
  whole_.erase(whole_order_.front());
  whole_order_.pop_front();
}

void ActiveTraces::write(StateWriter& out) const {
  out.varint(waiting_.size());
  for (const auto& [key, trace] : waiting_) {
    out.u64(key);
    write_trace(out, trace);
  }
  out.varint(timed_out_.size());
  for (const ActiveTrace& trace : timed_out_) write_trace(out, trace);
  out.varint(whole_order_.size());
  for (const std::uint64_t key : whole_order_) out.u64(key);
  out.varint(timed_out_count_).varint(completed_late_).varint(given_up_);
}

void ActiveTraces::read(StateReader& in) {
  for (std::size_t left = in.count(60); left > 0; --left) {
    const std::uint64_t key = in.u64();
    const auto [at, is_new] = waiting_.emplace(key, read_trace(in));
    if (!is_new) throw Error(EPHOR_INVALID, "waiting trace twice");
    by_start_.emplace(at->second.start_ns, key);
  }
  for (std::size_t left = in.count(50); left > 0; --left) timed_out_.push_back(read_trace(in));
  for (std::size_t left = in.count(8); left > 0; --left) {
    const std::uint64_t key = in.u64();
    if (!whole_.insert(key).second) throw Error(EPHOR_INVALID, "whole trace twice");
    whole_order_.push_back(key);
  }
  timed_out_count_ = in.varint();
  completed_late_ = in.varint();
  given_up_ = in.varint();
}

}  // namespace ephor::tracer
