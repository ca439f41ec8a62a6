// SPDX-License-Identifier: Apache-2.0
//
// Decisions, hours and regime transitions as rows, and decisions back from theirs. The row of a
// decision holds all that is known of it, so that it may leave memory.
#pragma once

#include <ephor/plugin.hpp>
#include <span>
#include <string>
#include <string_view>

#include "tracker.hpp"

namespace ephor::ensemble_tracker {

extern const std::string_view kTablesJson;
// The select list that decision_of reads.
extern const std::string_view kDecisionColumns;

class RowWriter {
 public:
  RowWriter(const Rows& rows, const Tracker& tracker) : rows_(rows), tracker_(tracker) {}

  void decision(const Decision& decision);
  // `group`: whose slots the hour's weights are of.
  void hour(const Group& group, std::int64_t hour, const HourFigures& figures);
  void transition(const RegimeTransition& transition);

 private:
  std::string members_json(const Decision& decision);

  const Rows& rows_;
  const Tracker& tracker_;
};

Decision decision_of(std::span<const ephor_cell> cells, Tracker& tracker);

// {"known": .., "correct": ..} of every track of a cell, for the column figures.
Json cell_json(const Cell& cell, const Group& group, const Tracker& tracker);

}  // namespace ephor::ensemble_tracker
