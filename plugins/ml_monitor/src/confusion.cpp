// SPDX-License-Identifier: Apache-2.0
#include "confusion.hpp"

#include <map>
#include <string>

namespace ephor::ml_monitor {
namespace {

struct Counts {
  std::uint64_t predicted = 0;
  std::uint64_t actual = 0;
  std::uint64_t correct = 0;
};

double ratio_or_zero(double part, std::uint64_t whole) {
  return whole == 0 ? 0.0 : part / static_cast<double>(whole);
}
Json ratio_or_null(double part, std::uint64_t whole) {
  return whole == 0 ? Json() : Json(part / static_cast<double>(whole));
}

}  // namespace

void Confusion::add(const Labels::ClassPair& pair, std::uint64_t count) {
  for (Cell& cell : cells_) {
    if (cell.predicted == pair.predicted && cell.actual == pair.actual) {
      cell.count += count;
      return;
    }
  }
  if (cells_.size() < kCellsMax) {
    cells_.push_back({pair.predicted, pair.actual, count});
  } else {
    beyond_bound_ += count;
  }
}

void Confusion::add(const Confusion& other) {
  for (const Cell& cell : other.cells_) add({cell.predicted, cell.actual}, cell.count);
  beyond_bound_ += other.beyond_bound_;
}

Confusion::Macro Confusion::macro() const {
  std::map<LabelId, Counts> classes;
  for (const Cell& cell : cells_) {
    classes[cell.predicted].predicted += cell.count;
    classes[cell.actual].actual += cell.count;
    if (cell.predicted == cell.actual) classes[cell.actual].correct += cell.count;
  }
  Macro out;
  for (const auto& [label, counts] : classes) {
    const auto correct = static_cast<double>(counts.correct);
    ++out.classes;
    out.precision += ratio_or_zero(correct, counts.predicted);
    out.recall += ratio_or_zero(correct, counts.actual);
    out.f1 += ratio_or_zero(2.0 * correct, counts.predicted + counts.actual);
  }
  if (out.classes > 0) {
    for (double* mean : {&out.precision, &out.recall, &out.f1}) {
      *mean /= static_cast<double>(out.classes);
    }
  }
  return out;
}

Json Confusion::to_json(const Labels& labels) const {
  std::map<std::string, Counts> classes;
  Json matrix = Json::object();
  for (const Cell& cell : cells_) {
    const std::string predicted(labels.name(cell.predicted));
    const std::string actual(labels.name(cell.actual));
    classes[predicted].predicted += cell.count;
    classes[actual].actual += cell.count;
    if (cell.predicted == cell.actual) classes[actual].correct += cell.count;
    Json& place = matrix[actual][predicted];
    place = cell.count + (place.is_null() ? 0 : place.get<std::uint64_t>());
  }
  Json per_class = Json::object();
  for (const auto& [name, counts] : classes) {
    const auto correct = static_cast<double>(counts.correct);
    per_class[name] = {{"predicted", counts.predicted},
                       {"actual", counts.actual},
                       {"correct", counts.correct},
                       {"precision", ratio_or_null(correct, counts.predicted)},
                       {"recall", ratio_or_null(correct, counts.actual)},
                       {"f1", ratio_or_null(2.0 * correct, counts.predicted + counts.actual)}};
  }
  return {{"by_actual_then_predicted", std::move(matrix)},
          {"classes", std::move(per_class)},
          {"beyond_bound", beyond_bound_}};
}

void Confusion::read(const Json& json, Labels& labels) {
  if (!json.is_object()) return;
  beyond_bound_ = json.value("beyond_bound", std::uint64_t{0});
  const Json matrix = json.value("by_actual_then_predicted", Json::object());
  for (const auto& [actual, row] : matrix.items()) {
    if (!row.is_object()) continue;
    for (const auto& [predicted, count] : row.items()) {
      if (!count.is_number_unsigned()) continue;
      add({labels.intern(predicted), labels.intern(actual)}, count.get<std::uint64_t>());
    }
  }
}

void Confusion::save(StateWriter& out) const {
  out.varint(beyond_bound_).varint(cells_.size());
  for (const Cell& cell : cells_) out.u32(cell.predicted).u32(cell.actual).varint(cell.count);
}

void Confusion::load(StateReader& in, const Labels& labels) {
  beyond_bound_ = in.varint();
  const std::size_t count = in.count(9);
  if (count > kCellsMax) throw Error(EPHOR_INVALID, "state: too many pairs of classes");
  cells_.resize(count);
  for (Cell& cell : cells_) {
    cell.predicted = in.u32();
    cell.actual = in.u32();
    cell.count = in.varint();
    if (!labels.is_valid(cell.predicted) || !labels.is_valid(cell.actual)) {
      throw Error(EPHOR_INVALID, "state: a class that has no name");
    }
  }
}

}  // namespace ephor::ml_monitor
