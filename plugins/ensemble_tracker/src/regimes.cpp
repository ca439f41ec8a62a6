// SPDX-License-Identifier: Apache-2.0
#include "regimes.hpp"

#include <algorithm>

namespace ephor::ensemble_tracker {

bool RegimeTracker::add(const RegimeObservation& observation) {
  auto found = symbols_.find(observation.symbol);
  if (found == symbols_.end()) {
    if (symbols_.size() >= symbol_bound_) {
      ++beyond_bound_;
      return false;
    }
    found = symbols_.emplace(observation.symbol, SymbolRegime()).first;
    found->second.since_ns = observation.time_ns;
  }
  SymbolRegime& symbol = found->second;
  if (symbol.observations > 0 && observation.time_ns < symbol.latest.time_ns) {
    ++out_of_order_;
    return false;
  }
  if (symbol.observations > 0) ++symbol.matrix[{symbol.latest.regime, observation.regime}];
  ++symbol.observations;
  if (symbol.observations > 1 && observation.regime != symbol.latest.regime) {
    RegimeTransition transition;
    transition.time_ns = observation.time_ns;
    transition.symbol = observation.symbol;
    transition.from = symbol.latest.regime;
    transition.to = observation.regime;
    transition.confidence = observation.confidence;
    transition.dwell_ns = observation.time_ns - symbol.since_ns;
    transition.observations = symbol.run_observations;
    transition.is_flicker =
        symbol.before == observation.regime && symbol.run_observations <= flicker_observations_;
    transition.sequence = observation.sequence;
    DwellSums& dwell = symbol.dwells[transition.from];
    dwell.shortest_ns =
        dwell.runs == 0 ? transition.dwell_ns : std::min(dwell.shortest_ns, transition.dwell_ns);
    dwell.longest_ns = std::max(dwell.longest_ns, transition.dwell_ns);
    dwell.total_ns += transition.dwell_ns;
    ++dwell.runs;
    symbol.before = transition.from;
    symbol.since_ns = observation.time_ns;
    symbol.run_observations = 0;
    ++symbol.transitions;
    if (transition.is_flicker) ++symbol.flickers;
    ++transition_count_;
    transitions_.push_back(transition);
    if (transitions_.size() > transition_bound_) transitions_.pop_front();
    new_.push_back(transition);
  }
  ++symbol.run_observations;
  symbol.latest = observation;
  return true;
}

void RegimeTracker::write(StateWriter& out) const {
  out.varint(symbols_.size());
  for (const auto& [id, symbol] : symbols_) {
    const RegimeObservation& latest = symbol.latest;
    out.varint(id).i64(latest.time_ns).varint(latest.regime).f64(latest.confidence);
    out.f64(latest.told_duration).u64(latest.sequence).i64(symbol.since_ns);
    out.varint(symbol.run_observations).varint(symbol.observations);
    out.varint(symbol.transitions).varint(symbol.flickers).varint(symbol.before);
    out.varint(symbol.matrix.size());
    for (const auto& [pair, count] : symbol.matrix) {
      out.varint(pair.first).varint(pair.second).varint(count);
    }
    out.varint(symbol.dwells.size());
    for (const auto& [regime, dwell] : symbol.dwells) {
      out.varint(regime).varint(dwell.runs);
      out.i64(dwell.total_ns).i64(dwell.longest_ns).i64(dwell.shortest_ns);
    }
  }
  out.varint(transitions_.size());
  for (const RegimeTransition& one : transitions_) {
    out.i64(one.time_ns).varint(one.symbol).varint(one.from).varint(one.to).f64(one.confidence);
    out.i64(one.dwell_ns).varint(one.observations).boolean(one.is_flicker).u64(one.sequence);
  }
  out.varint(transition_count_).varint(out_of_order_).varint(beyond_bound_);
}

void RegimeTracker::read(StateReader& in) {
  const auto name = [&] { return static_cast<NameId>(in.varint()); };
  symbols_.clear();
  for (std::size_t left = in.count(40); left > 0; --left) {
    const NameId id = name();
    SymbolRegime& symbol = symbols_[id];
    symbol.latest.symbol = id;
    symbol.latest.time_ns = in.i64();
    symbol.latest.regime = name();
    symbol.latest.confidence = in.f64();
    symbol.latest.told_duration = in.f64();
    symbol.latest.sequence = in.u64();
    symbol.since_ns = in.i64();
    symbol.run_observations = in.varint();
    symbol.observations = in.varint();
    symbol.transitions = in.varint();
    symbol.flickers = in.varint();
    symbol.before = name();
    for (std::size_t pairs = in.count(3); pairs > 0; --pairs) {
      const NameId from = name();
      const NameId to = name();
      symbol.matrix[{from, to}] = in.varint();
    }
    for (std::size_t dwells = in.count(26); dwells > 0; --dwells) {
      DwellSums& dwell = symbol.dwells[name()];
      dwell.runs = in.varint();
      dwell.total_ns = in.i64();
      dwell.longest_ns = in.i64();
      dwell.shortest_ns = in.i64();
    }
  }
  transitions_.clear();
  for (std::size_t left = in.count(37); left > 0; --left) {
    RegimeTransition one;
    one.time_ns = in.i64();
    one.symbol = name();
    one.from = name();
    one.to = name();
    one.confidence = in.f64();
    one.dwell_ns = in.i64();
    one.observations = in.varint();
    one.is_flicker = in.boolean();
    one.sequence = in.u64();
    transitions_.push_back(one);
  }
  transition_count_ = in.varint();
  out_of_order_ = in.varint();
  beyond_bound_ = in.varint();
}

}  // namespace ephor::ensemble_tracker
