// SPDX-License-Identifier: Apache-2.0
#include "outcome_window.hpp"

namespace ephor::ml_monitor {

void OutcomeWindow::push(const Verdict& verdict) {
  Item item;
  if (verdict.classes) item.classes = *verdict.classes;
  item.has_classes = verdict.classes.has_value();
  item.is_correct = verdict.is_correct;
  item.has_confidence = verdict.has_confidence;
  item.has_probability = verdict.has_probability;
  item.confidence = verdict.confidence;
  item.has_certainty = verdict.certainty.has_value();
  item.certainty = verdict.certainty.value_or(0.0);
  item.brier = verdict.brier;
  item.log_loss = verdict.log_loss;
  push(item);
}

void OutcomeWindow::push(const Item& item) {
  if (capacity_ == 0) return;
  hits_ += item.is_correct ? 1 : 0;
  if (verdicts_.size() < capacity_) {
    verdicts_.push_back(item);
    return;
  }
  hits_ -= verdicts_[next_].is_correct ? 1 : 0;
  verdicts_[next_] = item;
  next_ = next_ + 1 == capacity_ ? 0 : next_ + 1;
}

Scores OutcomeWindow::scores() const {
  Scores out;
  for (std::size_t i = 0; i < verdicts_.size(); ++i) {
    const Item& item = verdicts_[(next_ + i) % verdicts_.size()];
    Verdict verdict;
    verdict.kind = Verdict::Kind::kClass;
    if (item.has_classes) verdict.classes = item.classes;
    verdict.is_correct = item.is_correct;
    verdict.has_confidence = item.has_confidence;
    verdict.has_probability = item.has_probability;
    verdict.confidence = item.confidence;
    if (item.has_certainty) verdict.certainty = item.certainty;
    verdict.brier = item.brier;
    verdict.log_loss = item.log_loss;
    out.add(verdict);
  }
  return out;
}

void OutcomeWindow::save(StateWriter& out) const {
  out.varint(verdicts_.size());
  for (std::size_t i = 0; i < verdicts_.size(); ++i) {
    const Item& item = verdicts_[(next_ + i) % verdicts_.size()];
    out.u8(static_cast<std::uint8_t>((item.is_correct ? 1 : 0) | (item.has_confidence ? 2 : 0) |
                                     (item.has_probability ? 4 : 0) | (item.has_classes ? 8 : 0) |
                                     (item.has_certainty ? 16 : 0)));
    if (item.has_classes) out.u32(item.classes.predicted).u32(item.classes.actual);
    if (item.has_confidence) out.f64(item.confidence);
    if (item.has_certainty) out.f64(item.certainty);
    if (item.has_probability) out.f64(item.brier).f64(item.log_loss);
  }
}

void OutcomeWindow::load(StateReader& in, const Labels& labels) {
  for (std::size_t left = in.count(); left > 0; --left) {
    const std::uint8_t flags = in.u8();
    Item item;
    item.is_correct = (flags & 1) != 0;
    item.has_confidence = (flags & 2) != 0;
    item.has_probability = (flags & 4) != 0;
    item.has_classes = (flags & 8) != 0;
    item.has_certainty = (flags & 16) != 0;
    if (item.has_classes) {
      item.classes.predicted = in.u32();
      item.classes.actual = in.u32();
      if (!labels.is_valid(item.classes.predicted) || !labels.is_valid(item.classes.actual)) {
        throw Error(EPHOR_INVALID, "state: a class that has no name");
      }
    }
    if (item.has_confidence) item.confidence = in.f64();
    if (item.has_certainty) item.certainty = in.f64();
    if (item.has_probability) {
      item.brier = in.f64();
      item.log_loss = in.f64();
    }
    // In a bad state it may be anything; its bin must exist.
    if (!(item.certainty >= 0.0 && item.certainty <= 1.0)) {
      throw Error(EPHOR_INVALID, "state: a confidence out of range");
    }
    push(item);
  }
}

}  // namespace ephor::ml_monitor
