// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <ephor/state.hpp>
#include <string>
#include <vector>

#include "vocabulary.hpp"

namespace ephor::ensemble_tracker {

struct ClassProbability {
  NameId label = kNoName;
  double probability = 0.0;
};

// What one model said, and what came of it. NaN: not told.
struct Member {
  NameId model = kNoName;
  NameId label = kNoName;
  NameId actual = kNoName;        // of its own prediction
  std::uint16_t class_begin = 0;  // into Decision::classes
  std::uint16_t class_count = 0;
  double score = kUnknown;
  double confidence = kUnknown;
  double weight = kUnknown;
  std::int64_t outcome_ns = 0;
  std::uint64_t prediction_key = 0;  // hash of its prediction id, 0: none
  bool is_predicted = false;         // told by a prediction, not only by the decision

  bool has_said() const { return label != kNoName || class_count > 0 || score == score; }
  bool has_outcome() const { return actual != kNoName; }
};

enum class Stage : std::uint8_t {
  open,        // waits
  answered,    // outcomes known, all figures counted
  unanswered,  // closed without one
};

// A decision of an ensemble with all that belongs to it, in whatever order that came. Without
// `is_decided` it is what is known before the decision itself: predictions, a path, outcomes.
struct Decision {
  std::string id;
  std::string correlation_id;
  std::uint64_t key = 0;          // hash of the id, 0: not known
  std::uint64_t correlation = 0;  // hash of the correlation id, 0: none
  std::uint64_t sequence = 0;     // of the first event
  std::int64_t time_ns = 0;       // of the decision; before it came, of the first event
  NameId ensemble = kNoName;
  NameId symbol = kNoName;
  NameId regime = kNoName;
  NameId final_label = kNoName;
  NameId primary_label = kNoName;
  NameId meta_label = kNoName;
  NameId actual = kNoName;      // of the decision itself
  NameId stopped_by = kNoName;  // a step of the path
  double final_score = kUnknown;
  double primary_confidence = kUnknown;
  double meta_confidence = kUnknown;
  double meta_score = kUnknown;  // for buy, from the path
  double consensus_level = kUnknown;
  double disagreement_score = kUnknown;
  double realized_return = kUnknown;
  std::int64_t actual_ns = 0;
  std::vector<Member> members;
  std::vector<ClassProbability> classes;
  std::string path_json;
  Stage stage = Stage::open;
  bool is_decided = false;
  bool is_regime_own = false;  // told by the decision, not by a regime event beside it
  bool is_late = false;        // parts of it were: no part in figures that depend on order
  bool is_viewed = false;      // counted as a decision

  Member* find_member(NameId model) {
    for (Member& member : members) {
      if (member.model == model) return &member;
    }
    return nullptr;
  }
  // What came true for a member: its own outcome, else the decision's.
  NameId actual_of(const Member& member) const {
    return member.actual != kNoName ? member.actual : actual;
  }
  // What came true for the decision: its own outcome, else what its members' agree on.
  NameId common_actual() const;
  bool has_any_outcome() const;
  // Nothing more to wait for.
  bool is_complete() const;
  // When it became complete, or when its last known outcome came.
  std::int64_t answer_ns() const;
  void clear();
};

void write(StateWriter& out, const Decision& decision);
void read(StateReader& in, Decision& decision);

}  // namespace ephor::ensemble_tracker
