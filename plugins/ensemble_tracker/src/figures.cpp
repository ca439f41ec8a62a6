// SPDX-License-Identifier: Apache-2.0
#include "figures.hpp"

#include <algorithm>
#include <cmath>

namespace ephor::ensemble_tracker {

void Score::add(const Score& other) {
  known += other.known;
  correct += other.correct;
  acted += other.acted;
  acted_correct += other.acted_correct;
  briers += other.briers;
  brier_sum += other.brier_sum;
}

void write(StateWriter& out, const Score& score) {
  out.varint(score.known).varint(score.correct).varint(score.acted).varint(score.acted_correct);
  out.varint(score.briers);
  if (score.briers > 0) out.f64(score.brier_sum);
}

void read(StateReader& in, Score& score) {
  score.known = in.varint();
  score.correct = in.varint();
  score.acted = in.varint();
  score.acted_correct = in.varint();
  score.briers = in.varint();
  score.brier_sum = score.briers > 0 ? in.f64() : 0.0;
}

std::uint64_t Cell::decision_count() const {
  std::uint64_t sum = 0;
  for (const auto& [label, count] : decisions) sum += count;
  return sum;
}

void Cell::add(const Cell& other) {
  for (const auto& [label, count] : other.decisions) decisions[label] += count;
  for (std::size_t i = 0; i < other.tracks.size(); ++i) track(i).add(other.tracks[i]);
}

void write(StateWriter& out, const Cell& cell) {
  out.varint(cell.decisions.size());
  for (const auto& [label, count] : cell.decisions) out.varint(label).varint(count);
  out.varint(cell.tracks.size());
  for (const Score& score : cell.tracks) write(out, score);
}

void read(StateReader& in, Cell& cell) {
  for (std::size_t left = in.count(2); left > 0; --left) {
    const auto label = static_cast<NameId>(in.varint());
    cell.decisions[label] = in.varint();
  }
  cell.tracks.resize(in.count(5));
  for (Score& score : cell.tracks) read(in, score);
}

void write(StateWriter& out, const RegimeCells& cells) {
  out.varint(cells.size());
  for (const auto& [regime, cell] : cells) {
    out.varint(regime);
    write(out, cell);
  }
}

void read(StateReader& in, RegimeCells& cells) {
  cells.clear();
  for (std::size_t left = in.count(3); left > 0; --left) {
    const auto regime = static_cast<NameId>(in.varint());
    read(in, cells[regime]);
  }
}

void Window::add(std::uint64_t known, std::uint64_t correct) {
  const auto count = [&](const Entry& entry, std::uint32_t change) {
    for (std::uint64_t bits = entry.known; bits != 0; bits &= bits - 1) {
      known_[static_cast<std::size_t>(__builtin_ctzll(bits))] += change;
    }
    for (std::uint64_t bits = entry.correct; bits != 0; bits &= bits - 1) {
      correct_[static_cast<std::size_t>(__builtin_ctzll(bits))] += change;
    }
  };
  entries_.push_back({known, correct & known});
  count(entries_.back(), 1);
  if (entries_.size() <= bound_) return;
  count(entries_.front(), static_cast<std::uint32_t>(-1));
  entries_.pop_front();
}

Score Window::score(std::size_t track) const {
  Score score;
  score.known = known_[track];
  score.correct = correct_[track];
  return score;
}

void Window::write(StateWriter& out) const {
  out.varint(entries_.size());
  for (const Entry& entry : entries_) out.varint(entry.known).varint(entry.correct);
}

void Window::read(StateReader& in) {
  entries_.clear();
  known_ = {};
  correct_ = {};
  for (std::size_t left = in.count(2); left > 0; --left) {
    const std::uint64_t known = in.varint();
    add(known, in.varint());
  }
}

Interval wilson(std::uint64_t hits, std::uint64_t trials) {
  if (trials == 0) return {kUnknown, kUnknown};
  return wilson_interval(hits, trials);
}

}  // namespace ephor::ensemble_tracker
