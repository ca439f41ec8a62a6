// SPDX-License-Identifier: Apache-2.0
#include "red_table.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>

namespace ephor::tracer {
namespace {

constexpr std::string_view kOther = "(other)";

std::int64_t floor_to(std::int64_t time_ns, std::int64_t width_ns) {
  const std::int64_t rest = time_ns % width_ns;
  return time_ns - (rest < 0 ? rest + width_ns : rest);
}
std::int64_t ceil_to(std::int64_t time_ns, std::int64_t width_ns) {
  const std::int64_t floor = floor_to(time_ns, width_ns);
  return floor == time_ns ? floor : floor + width_ns;
}

}  // namespace

void RedCell::add(std::int64_t duration_ns, std::uint16_t bin, bool is_error) {
  duration_min_ns = count == 0 ? duration_ns : std::min(duration_min_ns, duration_ns);
  duration_max_ns = count == 0 ? duration_ns : std::max(duration_max_ns, duration_ns);
  ++count;
  errors += is_error ? 1 : 0;
  duration_sum_ns += static_cast<std::uint64_t>(duration_ns);
  durations_ns.add_bin(bin);
}

void RedCell::merge(const RedCell& other) {
  if (other.count == 0) return;
  duration_min_ns =
      count == 0 ? other.duration_min_ns : std::min(duration_min_ns, other.duration_min_ns);
  duration_max_ns =
      count == 0 ? other.duration_max_ns : std::max(duration_max_ns, other.duration_max_ns);
  count += other.count;
  errors += other.errors;
  duration_sum_ns += other.duration_sum_ns;
  durations_ns.merge(other.durations_ns);
}

void RedCell::write(StateWriter& out) const {
  out.varint(count).varint(errors).varint(duration_sum_ns);
  out.signed_varint(duration_min_ns).signed_varint(duration_max_ns);
  durations_ns.write(out);
}

void RedCell::read(StateReader& in) {
  count = in.varint();
  errors = in.varint();
  duration_sum_ns = in.varint();
  duration_min_ns = in.signed_varint();
  duration_max_ns = in.signed_varint();
  durations_ns.read(in);
  if (durations_ns.count() != count || errors > count) {
    throw Error(EPHOR_INVALID, "operation figures do not add up");
  }
}

RedTable::RedTable(std::size_t operations_max) : operations_max_(operations_max) {}

std::uint32_t RedTable::add(std::string_view component, std::string_view operation,
                            std::int64_t time_ns, std::int64_t duration_ns, bool is_error) {
  duration_ns = std::max<std::int64_t>(duration_ns, 0);
  first_ns_ = total_.count == 0 ? time_ns : std::min(first_ns_, time_ns);
  last_ns_ = total_.count == 0 ? time_ns : std::max(last_ns_, time_ns);
  const std::uint16_t bin = Sketch::bin_of(static_cast<double>(duration_ns));
  const std::uint32_t index = operation_index(component, operation);
  total_.add(duration_ns, bin, is_error);
  operations_[index].overall.add(duration_ns, bin, is_error);
  for (std::size_t i = 0; i < kRings.size(); ++i) {
    auto& ring = rings_[i];
    const std::int64_t number = floor_to(time_ns, kRings[i].width_ns) / kRings[i].width_ns;
    const std::int64_t oldest =
        floor_to(last_ns_, kRings[i].width_ns) / kRings[i].width_ns - kRings[i].capacity + 1;
    if (number < oldest) continue;
    // Nearly always the newest window.
    auto at = !ring.empty() && ring.rbegin()->first == number ? std::prev(ring.end())
                                                              : ring.try_emplace(number).first;
    cell_of(at->second, index).add(duration_ns, bin, is_error);
    while (ring.begin()->first < oldest) ring.erase(ring.begin());
  }
  return index;
}

bool RedTable::is_one_operation(std::uint32_t index) const {
  return operations_[index].component != kOther;
}

std::string RedTable::name_of(std::uint32_t index) const {
  return operations_[index].component + "/" + operations_[index].operation;
}

std::uint32_t RedTable::operation_index(std::string_view component, std::string_view operation) {
  key_.assign(component).push_back('\n');
  key_.append(operation);
  if (const auto found = index_.find(std::string_view(key_)); found != index_.end()) {
    return found->second;
  }
  if (operations_.size() + 1 >= operations_max_ && component != kOther) {
    return operation_index(kOther, kOther);
  }
  operations_.push_back({std::string(component), std::string(operation), {}});
  const auto index = static_cast<std::uint32_t>(operations_.size() - 1);
  index_.emplace(key_, index);
  return index;
}

RedCell& RedTable::cell_of(Window& window, std::uint32_t operation) {
  const auto at =
      std::lower_bound(window.begin(), window.end(), operation,
                       [](const auto& cell, std::uint32_t o) { return cell.first < o; });
  if (at != window.end() && at->first == operation) return at->second;
  return window.emplace(at, operation, RedCell{})->second;
}

bool RedTable::matches(const Operation& operation, const RedFilter& filter) const {
  return (filter.component.empty() || filter.component == operation.component) &&
         (filter.operation.empty() || filter.operation == operation.operation);
}

std::int64_t RedTable::ring_start_ns(std::size_t ring) const {
  const Ring& shape = kRings[ring];
  return floor_to(last_ns_, shape.width_ns) - (shape.capacity - 1) * shape.width_ns;
}

std::size_t RedTable::ring_for(const RedFilter& filter) const {
  const auto divides = [&](std::size_t ring) {
    return !filter.window_ns || *filter.window_ns % kRings[ring].width_ns == 0;
  };
  // A series without a start: as coarse as the window allows, so that it reaches back farthest.
  if (filter.window_ns && !filter.from_ns) {
    for (std::size_t ring = kRings.size(); ring-- > 0;) {
      if (divides(ring)) return ring;
    }
  }
  const std::int64_t from_ns = std::max(filter.from_ns.value_or(first_ns_), first_ns_);
  std::optional<std::size_t> coarsest;
  for (std::size_t ring = 0; ring < kRings.size(); ++ring) {
    if (!divides(ring)) continue;
    coarsest = ring;
    if (ring_start_ns(ring) <= from_ns) return ring;
  }
  if (coarsest) return *coarsest;
  throw Error(EPHOR_INVALID,
              "window: found " + std::to_string(*filter.window_ns / 1'000'000'000) +
                  " s, expected a multiple of 60 s",
              "/window");
}

RedAnswer RedTable::ask(const RedFilter& filter) const {
  RedAnswer answer;
  if (filter.window_ns && *filter.window_ns <= 0) {
    throw Error(EPHOR_INVALID, "window: expected more than 0", "/window");
  }
  const bool is_timed = filter.from_ns || filter.to_ns || filter.window_ns;
  if (total_.count == 0) return answer;
  if (is_timed) {
    answer_windows(filter, ring_for(filter), answer);
  } else {
    answer_overall(filter, answer);
  }
  std::sort(answer.operations.begin(), answer.operations.end(),
            [](const RedRow& a, const RedRow& b) {
              return std::tie(a.component, a.operation) < std::tie(b.component, b.operation);
            });
  return answer;
}

void RedTable::answer_overall(const RedFilter& filter, RedAnswer& answer) const {
  answer.from_ns = first_ns_;
  answer.to_ns = last_ns_;
  for (const Operation& operation : operations_) {
    if (matches(operation, filter)) {
      answer.operations.push_back({operation.component, operation.operation, operation.overall});
    }
  }
}

void RedTable::answer_windows(const RedFilter& filter, std::size_t ring, RedAnswer& answer) const {
  const std::int64_t width_ns = kRings[ring].width_ns;
  const std::int64_t step_ns = filter.window_ns.value_or(width_ns);
  const std::int64_t start_ns = std::max(ring_start_ns(ring), floor_to(first_ns_, width_ns));
  const std::int64_t from_ns =
      floor_to(std::max(filter.from_ns.value_or(start_ns), start_ns), width_ns);
  const std::int64_t end_ns = floor_to(last_ns_, width_ns) + width_ns;
  const std::int64_t to_ns = ceil_to(std::min(filter.to_ns.value_or(end_ns), end_ns), width_ns);
  answer.from_ns = from_ns;
  answer.to_ns = std::max(from_ns, to_ns);
  answer.resolution_ns = width_ns;
  if (filter.window_ns && (to_ns - from_ns) / step_ns > static_cast<std::int64_t>(kPointsMax)) {
    throw Error(EPHOR_INVALID,
                "window: found more than " + std::to_string(kPointsMax) +
                    " windows between from and to, expected a wider window",
                "/window");
  }
  std::map<std::uint32_t, RedCell> by_operation;
  const auto& windows = rings_[ring];
  for (auto at = windows.lower_bound(from_ns / width_ns);
       at != windows.end() && at->first * width_ns < to_ns; ++at) {
    const std::int64_t point_ns = floor_to(at->first * width_ns, step_ns);
    for (const auto& [index, cell] : at->second) {
      if (!matches(operations_[index], filter)) continue;
      by_operation[index].merge(cell);
      if (!filter.window_ns) continue;
      if (answer.windows.empty() || answer.windows.back().from_ns != point_ns) {
        answer.windows.push_back({point_ns, point_ns + step_ns, {}});
      }
      answer.windows.back().cell.merge(cell);
    }
  }
  for (auto& [index, cell] : by_operation) {
    answer.operations.push_back(
        {operations_[index].component, operations_[index].operation, std::move(cell)});
  }
}

void RedTable::write(StateWriter& out) const {
  out.varint(operations_.size());
  for (const Operation& operation : operations_) {
    out.text(operation.component).text(operation.operation);
    operation.overall.write(out);
  }
  for (const auto& ring : rings_) {
    out.varint(ring.size());
    for (const auto& [number, window] : ring) {
      out.signed_varint(number).varint(window.size());
      for (const auto& [index, cell] : window) {
        out.varint(index);
        cell.write(out);
      }
    }
  }
  total_.write(out);
  out.i64(first_ns_).i64(last_ns_);
}

void RedTable::read(StateReader& in) {
  for (std::size_t left = in.count(8); left > 0; --left) {
    const std::string component = in.text();
    const std::string operation = in.text();
    if (operation_index(component, operation) + 1 != operations_.size()) {
      throw Error(EPHOR_INVALID, "operation twice, or more than operations_max");
    }
    operations_.back().overall.read(in);
  }
  for (auto& ring : rings_) {
    for (std::size_t left = in.count(2); left > 0; --left) {
      Window& window = ring[in.signed_varint()];
      for (std::size_t cells = in.count(7); cells > 0; --cells) {
        const std::uint64_t index = in.varint();
        if (index >= operations_.size()) throw Error(EPHOR_INVALID, "unknown operation");
        cell_of(window, static_cast<std::uint32_t>(index)).read(in);
      }
    }
  }
  total_.read(in);
  first_ns_ = in.i64();
  last_ns_ = in.i64();
}

}  // namespace ephor::tracer
