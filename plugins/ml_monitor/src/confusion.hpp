// SPDX-License-Identifier: Apache-2.0
//
// Which class was taken for which, and what follows from it per class.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <vector>

#include "labels.hpp"

namespace ephor::ml_monitor {

class Confusion {
 public:
  static constexpr std::size_t kCellsMax = 256;

  void add(const Labels::ClassPair& pair, std::uint64_t count = 1);
  void add(const Confusion& other);
  std::uint64_t beyond_bound() const { return beyond_bound_; }

  // Unweighted means over the classes that were predicted or came true, as scikit-learn's
  // average="macro" with zero_division=0: a class that was never predicted has precision 0.
  struct Macro {
    std::size_t classes = 0;
    double precision = 0.0;
    double recall = 0.0;
    double f1 = 0.0;
  };
  Macro macro() const;

  // {by_actual_then_predicted, classes {name: {predicted, actual, correct, precision, recall, f1}},
  // beyond_bound}; classes without a name are taken together. null where nothing was counted.
  Json to_json(const Labels& labels) const;
  // What to_json wrote; whatever does not fit adds nothing.
  void read(const Json& json, Labels& labels);

  void save(StateWriter& out) const;
  void load(StateReader& in, const Labels& labels);
  bool operator==(const Confusion&) const = default;

 private:
  struct Cell {
    LabelId predicted = 0;
    LabelId actual = 0;
    std::uint64_t count = 0;
    bool operator==(const Cell&) const = default;
  };
  std::vector<Cell> cells_;
  std::uint64_t beyond_bound_ = 0;
};

}  // namespace ephor::ml_monitor
