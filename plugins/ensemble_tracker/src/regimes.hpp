// SPDX-License-Identifier: Apache-2.0
//
// Which regime each symbol is believed to be in: the present one, how long the past ones lasted,
// and what followed what. Observations are to be given in the order of time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <ephor/state.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "vocabulary.hpp"

namespace ephor::ensemble_tracker {

struct RegimeObservation {
  std::int64_t time_ns = 0;
  NameId symbol = kNoName;
  NameId regime = kNoName;
  double confidence = kUnknown;
  double told_duration = kUnknown;  // as sent, in the client's own unit
  std::uint64_t sequence = 0;
};

struct RegimeTransition {
  std::int64_t time_ns = 0;
  NameId symbol = kNoName;
  NameId from = kNoName;
  NameId to = kNoName;
  double confidence = kUnknown;
  std::int64_t dwell_ns = 0;       // how long `from` was there
  std::uint64_t observations = 0;  // of `from` in a row
  bool is_flicker = false;         // `from` was short, and what was before it came back
  std::uint64_t sequence = 0;
};

struct DwellSums {
  std::uint64_t runs = 0;  // ended ones
  std::int64_t total_ns = 0;
  std::int64_t longest_ns = 0;
  std::int64_t shortest_ns = 0;
};

struct SymbolRegime {
  RegimeObservation latest;
  std::int64_t since_ns = 0;
  std::uint64_t run_observations = 0;
  std::uint64_t observations = 0;
  std::uint64_t transitions = 0;
  std::uint64_t flickers = 0;
  NameId before = kNoName;
  std::map<std::pair<NameId, NameId>, std::uint64_t> matrix;  // observation to observation
  std::map<NameId, DwellSums> dwells;
};

class RegimeTracker {
 public:
  RegimeTracker(std::size_t transition_bound, std::uint32_t flicker_observations,
                std::size_t symbol_bound)
      : transition_bound_(transition_bound),
        flicker_observations_(flicker_observations),
        symbol_bound_(symbol_bound) {}

  // False if it is older than the symbol's latest: counted, and otherwise left out.
  bool add(const RegimeObservation& observation);

  const std::map<NameId, SymbolRegime>& symbols() const { return symbols_; }
  const std::deque<RegimeTransition>& transitions() const { return transitions_; }
  std::uint64_t transition_count() const { return transition_count_; }
  std::uint64_t out_of_order() const { return out_of_order_; }
  std::uint64_t beyond_bound() const { return beyond_bound_; }
  // Transitions since the last call, for rows.
  std::vector<RegimeTransition> take_new() { return std::exchange(new_, {}); }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  std::size_t transition_bound_;
  std::uint32_t flicker_observations_;
  std::size_t symbol_bound_;
  std::map<NameId, SymbolRegime> symbols_;
  std::deque<RegimeTransition> transitions_;
  std::vector<RegimeTransition> new_;
  std::uint64_t transition_count_ = 0;
  std::uint64_t out_of_order_ = 0;
  std::uint64_t beyond_bound_ = 0;
};

}  // namespace ephor::ensemble_tracker
