// SPDX-License-Identifier: Apache-2.0
//
// The last N judged outcomes of a model, from which its windowed figures are counted when asked:
// about 56 bytes each, made as they come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <vector>

#include "labels.hpp"
#include "scores.hpp"

namespace ephor::ml_monitor {

class OutcomeWindow {
 public:
  explicit OutcomeWindow(std::size_t capacity) : capacity_(capacity) {}

  // Of Kind::kClass.
  void push(const Verdict& verdict);
  std::size_t count() const { return verdicts_.size(); }
  std::size_t hits() const { return hits_; }
  Scores scores() const;

  void save(StateWriter& out) const;  // oldest first
  // Keeps the newest if the capacity is smaller now.
  void load(StateReader& in, const Labels& labels);

 private:
  struct Item {
    Labels::ClassPair classes;
    double confidence = 0.0;
    double certainty = 0.0;
    double brier = 0.0;
    double log_loss = 0.0;
    bool is_correct = false;
    bool has_confidence = false;
    bool has_certainty = false;
    bool has_probability = false;
    bool has_classes = false;
  };
  void push(const Item& item);

  std::size_t capacity_;
  std::size_t next_ = 0;
  std::size_t hits_ = 0;
  std::vector<Item> verdicts_;  // a ring once it is full
};

}  // namespace ephor::ml_monitor
