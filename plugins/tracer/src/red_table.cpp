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
  self_sum_ns += other.self_sum_ns;
  if (other.count == 0) return;
  exemplars.merge(other.exemplars);
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
  out.signed_varint(duration_min_ns).signed_varint(duration_max_ns).varint(self_sum_ns);
  durations_ns.write(out);
  exemplars.write(out);
}

void RedCell::read(StateReader& in) {
  count = in.varint();
  errors = in.varint();
  duration_sum_ns = in.varint();
  duration_min_ns = in.signed_varint();
  duration_max_ns = in.signed_varint();
  self_sum_ns = in.varint();
  durations_ns.read(in);
  exemplars.read(in);
  if (durations_ns.count() != count || errors > count) {
    throw Error(EPHOR_INVALID, "operation figures do not add up");
  }
}

RedTable::RedTable(std::size_t operations_max) : operations_max_(operations_max) {}

void RedTable::HotCell::add(std::int64_t duration_ns, std::uint16_t bin, bool is_error) {
  duration_min_ns = count == 0 ? duration_ns : std::min(duration_min_ns, duration_ns);
  duration_max_ns = count == 0 ? duration_ns : std::max(duration_max_ns, duration_ns);
  ++count;
  errors += is_error ? 1 : 0;
  duration_sum_ns += static_cast<std::uint64_t>(duration_ns);
  if (bins.empty()) {
    bin_first = bin;
  } else if (bin < bin_first) {
    bins.insert(bins.begin(), static_cast<std::size_t>(bin_first - bin), 0);
    bin_first = bin;
  }
  const auto at = static_cast<std::size_t>(bin - bin_first);
  if (at >= bins.size()) bins.resize(at + 1, 0);
  ++bins[at];
}

RedCell RedTable::HotCell::take() {
  RedCell cell;
  cell.count = count;
  cell.errors = errors;
  cell.duration_sum_ns = duration_sum_ns;
  cell.duration_min_ns = duration_min_ns;
  cell.duration_max_ns = duration_max_ns;
  cell.self_sum_ns = self_sum_ns;
  cell.exemplars = exemplars;
  for (std::size_t i = 0; i < bins.size(); ++i) {
    if (bins[i] > 0) cell.durations_ns.add_bin(static_cast<std::uint16_t>(bin_first + i), bins[i]);
  }
  count = errors = duration_sum_ns = self_sum_ns = 0;
  duration_min_ns = duration_max_ns = 0;
  bins.clear();
  exemplars.clear();
  is_touched = false;
  return cell;
}

std::uint32_t RedTable::add(std::string_view component, std::string_view operation,
                            std::int64_t time_ns, std::int64_t duration_ns, bool is_error,
                            const Exemplar& exemplar) {
  const std::uint32_t index = index_of(component, operation);
  add_at(index, time_ns, duration_ns, Sketch::bin_of(static_cast<double>(duration_ns)), is_error,
         exemplar);
  return index;
}

void RedTable::add_at(std::uint32_t index, std::int64_t time_ns, std::int64_t duration_ns,
                      std::uint16_t bin, bool is_error, const Exemplar& exemplar) {
  duration_ns = std::max<std::int64_t>(duration_ns, 0);
  first_ns_ = count_ == 0 ? time_ns : std::min(first_ns_, time_ns);
  last_ns_ = count_ == 0 ? time_ns : std::max(last_ns_, time_ns);
  ++count_;
  errors_ += is_error ? 1 : 0;
  if (HotCell* cell = hot_cell(index, time_ns)) {
    cell->add(duration_ns, bin, is_error);
    if (exemplar.has_trace()) cell->exemplars.add(bin, exemplar);
    return;
  }
  RedCell one;
  one.add(duration_ns, bin, is_error);
  if (exemplar.has_trace()) one.exemplars.add(bin, exemplar);
  merge_at(index, time_ns, one);
}

void RedTable::add_self(std::uint32_t index, std::int64_t time_ns, std::int64_t self_ns) {
  self_ns = std::max<std::int64_t>(self_ns, 0);
  if (HotCell* cell = hot_cell(index, time_ns)) {
    cell->self_sum_ns += static_cast<std::uint64_t>(self_ns);
    return;
  }
  RedCell one;
  one.self_sum_ns = static_cast<std::uint64_t>(self_ns);
  merge_at(index, time_ns, one);
}

// Null for a time before the latest two minutes.
RedTable::HotCell* RedTable::hot_cell(std::uint32_t index, std::int64_t time_ns) {
  const std::int64_t number = floor_to(time_ns, kRings[0].width_ns) / kRings[0].width_ns;
  HotMinute& minute = hot_[static_cast<std::size_t>(number & 1)];
  if (minute.number != number) {
    if (number < minute.number && !minute.touched.empty()) return nullptr;
    settle(minute);
    minute.number = number;
  }
  if (index >= minute.cells.size()) minute.cells.resize(operations_.size());
  HotCell& cell = minute.cells[index];
  if (!cell.is_touched) {
    cell.is_touched = true;
    minute.touched.push_back(index);
  }
  return &cell;
}

void RedTable::merge_at(std::uint32_t index, std::int64_t time_ns, const RedCell& cell) const {
  total_.merge(cell);
  operations_[index].overall.merge(cell);
  for (std::size_t i = 0; i < kRings.size(); ++i) {
    auto& ring = rings_[i];
    const std::int64_t number = floor_to(time_ns, kRings[i].width_ns) / kRings[i].width_ns;
    const std::int64_t oldest =
        floor_to(last_ns_, kRings[i].width_ns) / kRings[i].width_ns - kRings[i].capacity + 1;
    if (number < oldest) continue;
    // Nearly always the newest window.
    auto at = !ring.empty() && ring.rbegin()->first == number ? std::prev(ring.end())
                                                              : ring.try_emplace(number).first;
    cell_of(at->second, index).merge(cell);
    while (ring.begin()->first < oldest) ring.erase(ring.begin());
  }
}

void RedTable::settle(HotMinute& minute) const {
  const std::int64_t time_ns = minute.number * kRings[0].width_ns;
  for (const std::uint32_t index : minute.touched) {
    merge_at(index, time_ns, minute.cells[index].take());
  }
  minute.touched.clear();
}

void RedTable::settle() const {
  for (HotMinute& minute : hot_) settle(minute);
  // What was settled before the clock went on may stand behind a ring's begin by now.
  for (std::size_t i = 0; i < kRings.size(); ++i) {
    const std::int64_t oldest =
        floor_to(last_ns_, kRings[i].width_ns) / kRings[i].width_ns - kRings[i].capacity + 1;
    while (!rings_[i].empty() && rings_[i].begin()->first < oldest) {
      rings_[i].erase(rings_[i].begin());
    }
  }
}

bool RedTable::is_one_operation(std::uint32_t index) const {
  return operations_[index].component != kOther;
}

std::string RedTable::name_of(std::uint32_t index) const {
  return operations_[index].component + "/" + operations_[index].operation;
}

std::uint32_t RedTable::index_of(std::string_view component, std::string_view operation) {
  key_.assign(component).push_back('\n');
  key_.append(operation);
  if (const auto found = index_.find(std::string_view(key_)); found != index_.end()) {
    return found->second;
  }
  if (operations_.size() + 1 >= operations_max_ && component != kOther) {
    return index_of(kOther, kOther);
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
  if (count_ == 0) return answer;
  settle();
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

std::pair<std::int64_t, std::int64_t> RedTable::range_of(const RedFilter& filter,
                                                         std::size_t ring) const {
  const std::int64_t width_ns = kRings[ring].width_ns;
  const std::int64_t start_ns = std::max(ring_start_ns(ring), floor_to(first_ns_, width_ns));
  const std::int64_t from_ns =
      floor_to(std::max(filter.from_ns.value_or(start_ns), start_ns), width_ns);
  const std::int64_t end_ns = floor_to(last_ns_, width_ns) + width_ns;
  const std::int64_t to_ns = ceil_to(std::min(filter.to_ns.value_or(end_ns), end_ns), width_ns);
  return {from_ns, to_ns};
}

std::vector<SampledTrace> RedTable::sample(const RedFilter& filter) const {
  std::vector<SampledTrace> out;
  if (count_ == 0) return out;
  settle();
  const std::size_t ring = ring_for(filter);
  const auto [from_ns, to_ns] = range_of(filter, ring);
  const std::int64_t width_ns = kRings[ring].width_ns;
  const auto& windows = rings_[ring];
  for (auto at = windows.lower_bound(from_ns / width_ns);
       at != windows.end() && at->first * width_ns < to_ns; ++at) {
    for (const auto& [index, cell] : at->second) {
      if (!matches(operations_[index], filter)) continue;
      std::map<std::uint16_t, std::uint64_t> counts;
      cell.durations_ns.for_each_bin([&](std::uint16_t bin, std::uint64_t count) {
        counts[Exemplars::bucket_of(bin)] += count;
      });
      for (const Exemplars::Bucket& bucket : cell.exemplars.buckets()) {
        const auto count = static_cast<double>(counts[bucket.bucket]);
        for (std::size_t i = 0; i < bucket.count; ++i) {
          out.push_back({bucket.bucket, count / bucket.count, bucket.traces[i]});
        }
      }
    }
  }
  std::sort(out.begin(), out.end(), [](const SampledTrace& a, const SampledTrace& b) {
    return std::tuple(a.exemplar.priority, a.bucket, a.weight) <
           std::tuple(b.exemplar.priority, b.bucket, b.weight);
  });
  return out;
}

void RedTable::answer_windows(const RedFilter& filter, std::size_t ring, RedAnswer& answer) const {
  const std::int64_t width_ns = kRings[ring].width_ns;
  const std::int64_t step_ns = filter.window_ns.value_or(width_ns);
  const auto [from_ns, to_ns] = range_of(filter, ring);
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
  settle();
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
    if (index_of(component, operation) + 1 != operations_.size()) {
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
  count_ = total_.count;
  errors_ = total_.errors;
  first_ns_ = in.i64();
  last_ns_ = in.i64();
}

}  // namespace ephor::tracer
