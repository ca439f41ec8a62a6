// SPDX-License-Identifier: Apache-2.0
#include "outcome_analysis.hpp"

#include <algorithm>
#include <cstring>
#include <ephor/text_hash.hpp>

#include "text.hpp"

namespace ephor::tracer {
namespace {

constexpr std::size_t kLinksPerOutcome = 4;
constexpr std::uint64_t kKindMix = 0x9E3779B97F4A7C15ULL;

enum Kind : std::uint64_t { correlation = 1, decision, execution, order, trade, realised };

std::uint64_t key_of(Kind kind, std::uint64_t hash) { return hash ^ (kind * kKindMix); }

void write_latency(StateWriter& out, const TraceLatency& latency) {
  out.raw({reinterpret_cast<const char*>(latency.trace_id.data()), latency.trace_id.size()});
  out.i64(latency.time_ns).signed_varint(latency.total_ns).varint(latency.components.size());
  for (const auto& [component, self_ns] : latency.components) {
    out.varint(component).signed_varint(self_ns);
  }
}

TraceLatency read_latency(StateReader& in) {
  TraceLatency latency;
  std::memcpy(latency.trace_id.data(), in.raw(16).data(), 16);
  latency.time_ns = in.i64();
  latency.total_ns = in.signed_varint();
  for (std::size_t left = in.count(2); left > 0; --left) {
    const auto component = static_cast<std::uint32_t>(in.varint());
    latency.components.emplace_back(component, in.signed_varint());
  }
  return latency;
}

}  // namespace

std::vector<std::uint64_t> JoinKeys::list() const {
  std::vector<std::uint64_t> out;
  if (trace != 0) out.push_back(trace);
  const auto add = [&](Kind kind, std::string_view id) {
    if (!id.empty()) out.push_back(key_of(kind, hash64(id)));
  };
  add(Kind::decision, decision_id);
  add(Kind::execution, execution_id);
  add(Kind::order, order_id);
  add(Kind::trade, trade_id);
  // Last, because one correlation id may span several traces.
  if (correlation != 0) out.push_back(key_of(Kind::correlation, correlation));
  return out;
}

void OutcomeAnalysis::add_trace(std::uint64_t key, std::span<const FinishedSpan> trace,
                                std::optional<std::size_t> root) {
  if (trace.empty() || outcomes_max_ == 0 || latencies_.contains(key)) return;
  if (latencies_.size() >= outcomes_max_) {
    latencies_.erase(latency_order_.front());
    latency_order_.pop_front();
  }
  TraceLatency& latency = latencies_[key];
  latency_order_.push_back(key);
  std::int64_t start_ns = trace.front().start_ns;
  std::int64_t end_ns = trace.front().end_ns;
  std::uint64_t correlation_hash = 0;
  for (const FinishedSpan& span : trace) {
    start_ns = std::min(start_ns, span.start_ns);
    end_ns = std::max(end_ns, span.end_ns);
    latency.time_ns = std::max(latency.time_ns, span.time_ns);
    if (correlation_hash == 0) correlation_hash = span.correlation;
    auto& components = latency.components;
    auto at = components.begin();
    while (at != components.end() && at->first < span.component) ++at;
    if (at == components.end() || at->first != span.component) {
      at = components.insert(at, {span.component, 0});
    }
    at->second += span.self_ns;
  }
  latency.trace_id = trace.front().trace_id;
  latency.total_ns = root ? trace[*root].total_ns : end_ns - start_ns;
  if (root) latency.time_ns = trace[*root].time_ns;
  if (correlation_hash != 0) link(key_of(Kind::correlation, correlation_hash), key);
  fulfil(key);
}

void OutcomeAnalysis::link(std::uint64_t key, std::uint64_t trace) {
  if (!links_.emplace(key, trace).second) return;
  link_order_.push_back(key);
  if (link_order_.size() > outcomes_max_ * kLinksPerOutcome) {
    links_.erase(link_order_.front());
    link_order_.pop_front();
  }
  fulfil(key);
}

std::uint64_t OutcomeAnalysis::trace_of(std::span<const std::uint64_t> keys) const {
  for (const std::uint64_t key : keys) {
    if (latencies_.contains(key)) return key;
    if (const auto found = links_.find(key); found != links_.end()) return found->second;
  }
  return 0;
}

void OutcomeAnalysis::add_link(const JoinKeys& keys) {
  const std::vector<std::uint64_t> list = keys.list();
  const std::uint64_t trace = keys.trace != 0 ? keys.trace : trace_of(list);
  if (trace == 0) return;
  for (const std::uint64_t key : list) {
    if (key != trace) link(key, trace);
  }
}

TraceOutcome& OutcomeAnalysis::outcome_of(std::uint64_t key, std::deque<std::uint64_t>& order) {
  const auto found = outcomes_.find(key);
  if (found != outcomes_.end()) return found->second;
  if (order.size() >= outcomes_max_) {
    const auto oldest = outcomes_.find(order.front());
    forget_interest(oldest->first, oldest->second);
    outcomes_.erase(oldest);
    order.pop_front();
    ++forgotten_;
  }
  order.push_back(key);
  return outcomes_[key];
}

void OutcomeAnalysis::add_trade(const JoinKeys& keys, bool is_closed, std::optional<double> pnl,
                                std::optional<double> slippage, std::int64_t time_ns) {
  if (keys.trade_id.empty() || outcomes_max_ == 0) return;
  add_link(keys);
  const std::uint64_t key = key_of(Kind::trade, hash64(keys.trade_id));
  TraceOutcome& outcome = outcome_of(key, trade_order_);
  outcome.trade_id = cut_text(keys.trade_id, kIdBytesMax);
  // The close says what the trade was worth; of several, the later one.
  const bool is_newer = is_closed == outcome.is_closed ? time_ns >= outcome.time_ns : is_closed;
  if (is_newer) {
    outcome.time_ns = time_ns;
    outcome.is_closed = is_closed;
    if (is_closed) outcome.pnl = pnl;
    if (slippage) outcome.slippage = slippage;
  } else if (!outcome.slippage) {
    outcome.slippage = slippage;
  }
  for (const std::uint64_t one : keys.list()) {
    if (std::find(outcome.keys.begin(), outcome.keys.end(), one) != outcome.keys.end()) continue;
    // A trace id is surer than what was known before.
    outcome.keys.insert(one == keys.trace ? outcome.keys.begin() : outcome.keys.end(), one);
  }
  resolve(key, outcome);
}

void OutcomeAnalysis::add_return(const JoinKeys& keys, double realized_return,
                                 std::int64_t time_ns) {
  std::vector<std::uint64_t> list = keys.list();
  if (list.empty() || outcomes_max_ == 0) return;
  const std::uint64_t trace = keys.trace != 0 ? keys.trace : trace_of(list);
  const std::uint64_t key = key_of(Kind::realised, trace != 0 ? trace : list.front());
  TraceOutcome& outcome = outcome_of(key, return_order_);
  outcome.return_sum += realized_return;
  ++outcome.return_count;
  outcome.is_closed = true;
  outcome.time_ns = std::max(outcome.time_ns, time_ns);
  if (outcome.keys.empty()) outcome.keys = std::move(list);
  resolve(key, outcome);
}

void OutcomeAnalysis::resolve(std::uint64_t key, TraceOutcome& outcome) {
  if (outcome.trace) return;
  const std::uint64_t trace = trace_of(outcome.keys);
  if (const auto found = latencies_.find(trace); found != latencies_.end()) {
    outcome.trace = found->second;
    forget_interest(key, outcome);
    return;
  }
  const auto wait_for = [&](std::uint64_t id) {
    std::vector<std::uint64_t>& waiting = interest_[id];
    if (std::find(waiting.begin(), waiting.end(), key) == waiting.end()) waiting.push_back(key);
  };
  if (trace != 0 &&
      std::find(outcome.keys.begin(), outcome.keys.end(), trace) == outcome.keys.end()) {
    outcome.keys.insert(outcome.keys.begin(), trace);
  }
  for (const std::uint64_t id : outcome.keys) wait_for(id);
}

void OutcomeAnalysis::fulfil(std::uint64_t key) {
  const auto found = interest_.find(key);
  if (found == interest_.end()) return;
  const std::vector<std::uint64_t> waiting = found->second;
  for (const std::uint64_t one : waiting) {
    if (const auto outcome = outcomes_.find(one); outcome != outcomes_.end()) {
      resolve(one, outcome->second);
    }
  }
}

void OutcomeAnalysis::forget_interest(std::uint64_t key, const TraceOutcome& outcome) {
  for (const std::uint64_t id : outcome.keys) {
    const auto found = interest_.find(id);
    if (found == interest_.end()) continue;
    std::erase(found->second, key);
    if (found->second.empty()) interest_.erase(found);
  }
}

void OutcomeAnalysis::write(StateWriter& out) const {
  out.varint(latency_order_.size());
  for (const std::uint64_t key : latency_order_) {
    out.u64(key);
    write_latency(out, latencies_.find(key)->second);
  }
  out.varint(link_order_.size());
  for (const std::uint64_t key : link_order_) out.u64(key).u64(links_.find(key)->second);
  out.varint(outcomes_.size());
  const auto write_outcome = [&](std::uint64_t key) {
    const TraceOutcome& outcome = outcomes_.find(key)->second;
    out.u64(key).text(outcome.trade_id).i64(outcome.time_ns);
    out.boolean(outcome.is_closed).optional_f64(outcome.pnl).optional_f64(outcome.slippage);
    out.f64(outcome.return_sum).varint(outcome.return_count).varint(outcome.keys.size());
    for (const std::uint64_t one : outcome.keys) out.u64(one);
    out.boolean(outcome.trace.has_value());
    if (outcome.trace) write_latency(out, *outcome.trace);
  };
  for (const std::uint64_t key : trade_order_) write_outcome(key);
  for (const std::uint64_t key : return_order_) write_outcome(key);
  out.varint(forgotten_);
}

void OutcomeAnalysis::read(StateReader& in) {
  for (std::size_t left = in.count(34); left > 0; --left) {
    const std::uint64_t key = in.u64();
    if (!latencies_.emplace(key, read_latency(in)).second) {
      throw Error(EPHOR_INVALID, "latency of a trace twice");
    }
    latency_order_.push_back(key);
  }
  for (std::size_t left = in.count(16); left > 0; --left) {
    const std::uint64_t key = in.u64();
    if (!links_.emplace(key, in.u64()).second) throw Error(EPHOR_INVALID, "id twice");
    link_order_.push_back(key);
  }
  for (std::size_t left = in.count(30); left > 0; --left) {
    const std::uint64_t key = in.u64();
    TraceOutcome outcome;
    outcome.trade_id = in.text();
    outcome.time_ns = in.i64();
    outcome.is_closed = in.boolean();
    outcome.pnl = in.optional_f64();
    outcome.slippage = in.optional_f64();
    outcome.return_sum = in.f64();
    outcome.return_count = in.varint();
    for (std::size_t keys = in.count(8); keys > 0; --keys) outcome.keys.push_back(in.u64());
    if (in.boolean()) outcome.trace = read_latency(in);
    const auto [at, is_new] = outcomes_.emplace(key, std::move(outcome));
    if (!is_new) throw Error(EPHOR_INVALID, "outcome twice");
    (at->second.trade_id.empty() ? return_order_ : trade_order_).push_back(key);
    if (!at->second.trace) {
      for (const std::uint64_t id : at->second.keys) interest_[id].push_back(key);
    }
  }
  forgotten_ = in.varint();
}

}  // namespace ephor::tracer
