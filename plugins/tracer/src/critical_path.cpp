// SPDX-License-Identifier: Apache-2.0
#include "critical_path.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <tuple>

namespace ephor::tracer {
namespace {

constexpr std::size_t kNone = PathSpan::kNone;
// A key is (root, bucket, operation): it sorts by root, then by how slow.
constexpr int kBucketShift = 20;
constexpr int kRootShift = 36;
constexpr std::uint32_t kWholeTrace = (1U << kBucketShift) - 1;  // counts traces and their time
constexpr std::uint32_t kBucketMask = (1U << (kRootShift - kBucketShift)) - 1;

std::int64_t floor_number(std::int64_t time_ns, std::int64_t width_ns) {
  return time_ns / width_ns - (time_ns % width_ns < 0 ? 1 : 0);
}

}  // namespace

const std::vector<std::int64_t>& CriticalPathFinder::find(std::span<const PathSpan> spans,
                                                          std::size_t root) {
  own_ns_.assign(spans.size(), 0);
  is_on_path_.assign(spans.size(), 0);
  first_child_.assign(spans.size(), kNone);
  next_sibling_.assign(spans.size(), kNone);
  by_end_.resize(spans.size());
  for (std::size_t i = 0; i < spans.size(); ++i) by_end_[i] = i;
  std::sort(by_end_.begin(), by_end_.end(), [&](std::size_t a, std::size_t b) {
    return std::tie(spans[a].end_ns, spans[a].tie) < std::tie(spans[b].end_ns, spans[b].tie);
  });
  // Each is put in front of those that ended before, so children come latest end first.
  for (const std::size_t i : by_end_) {
    const std::size_t parent = spans[i].parent;
    if (parent == kNone || parent == i || i == root) continue;
    next_sibling_[i] = first_child_[parent];
    first_child_[parent] = i;
  }
  parts_.assign(1, {root, spans[root].start_ns, spans[root].end_ns});
  while (!parts_.empty()) {
    const Part part = parts_.back();
    parts_.pop_back();
    const PathSpan& span = spans[part.span];
    std::int64_t until_ns = part.until_ns;
    is_on_path_[part.span] = 1;
    for (std::size_t child = first_child_[part.span]; child != kNone;
         child = next_sibling_[child]) {
      const PathSpan& next = spans[child];
      if (next.is_async || next.start_ns >= until_ns) continue;
      std::int64_t end_ns = next.end_ns;
      if (end_ns > span.end_ns) {
        if (next.clock == span.clock) continue;
        end_ns = span.end_ns;
      }
      // What runs beside a later part of the path, or ended before this part, made nobody wait.
      if (end_ns > until_ns || end_ns <= part.from_ns) continue;
      const std::int64_t from_ns = std::max(next.start_ns, part.from_ns);
      own_ns_[part.span] += until_ns - end_ns;
      parts_.push_back({child, from_ns, end_ns});
      until_ns = from_ns;
    }
    own_ns_[part.span] += until_ns - part.from_ns;
  }
  return own_ns_;
}

double CriticalPaths::bucket_start_ns(std::uint32_t bucket) {
  const double gamma = (1.0 + Sketch::kRelativeError) / (1.0 - Sketch::kRelativeError);
  if (bucket == 0) return 0.0;
  return std::pow(gamma, static_cast<double>(bucket) * 4.0 - 1.0 - 32'768.0);
}

std::uint64_t CriticalPaths::key_of(std::size_t root, std::uint32_t bucket,
                                    std::uint32_t operation) {
  return static_cast<std::uint64_t>(root) << kRootShift |
         static_cast<std::uint64_t>(bucket) << kBucketShift | operation;
}

std::optional<std::size_t> CriticalPaths::root_index(std::uint32_t operation) {
  for (std::size_t i = 0; i < roots_.size(); ++i) {
    if (roots_[i].operation == operation) return i;
  }
  if (roots_.size() >= roots_max_) return std::nullopt;
  roots_.push_back({operation, 0});
  return roots_.size() - 1;
}

void CriticalPaths::add_trace(std::span<const FinishedSpan> trace) {
  latest_root_.reset();
  std::size_t at = trace.size();
  spans_.clear();
  for (std::size_t i = 0; i < trace.size(); ++i) {
    const FinishedSpan& span = trace[i];
    spans_.push_back({span.start_ns, span.end_ns,
                      span.parent_at == FinishedSpan::kNoParent ? kNone : span.parent_at,
                      span.component, span.id, span.is_async || span.is_running});
    const bool is_root = !span.names_parent && !span.is_running;
    if (is_root && (at == trace.size() || span.end_ns > trace[at].end_ns)) at = i;
  }
  if (at == trace.size()) {
    ++without_root_;
    return;
  }
  latest_root_ = at;
  const FinishedSpan& root = trace[at];
  const auto index = root_index(root.operation);
  if (!index) {
    ++beyond_roots_;
    return;
  }
  const std::vector<std::int64_t>& own_ns = finder_.find(spans_, at);
  by_operation_.clear();
  for (std::size_t i = 0; i < trace.size(); ++i) {
    if (finder_.is_on_path()[i] == 0) continue;
    auto same = by_operation_.begin();
    while (same != by_operation_.end() && same->first != trace[i].operation) ++same;
    if (same == by_operation_.end()) {
      by_operation_.emplace_back(trace[i].operation, own_ns[i]);
    } else {
      same->second += own_ns[i];
    }
  }
  first_ns_ = traces_ == 0 ? root.time_ns : std::min(first_ns_, root.time_ns);
  last_ns_ = traces_ == 0 ? root.time_ns : std::max(last_ns_, root.time_ns);
  ++traces_;
  ++roots_[*index].traces;
  const std::uint32_t bucket = bucket_of(root.total_ns);
  const std::int64_t number = floor_number(root.time_ns, RedTable::kRings[0].width_ns);
  HotMinute& minute = hot_[static_cast<std::size_t>(number & 1)];
  const bool is_past = number < minute.number && !minute.sums.empty();
  HotMinute past;
  HotMinute& into = is_past ? past : minute;
  if (into.number != number) {
    settle(into);
    into.number = number;
  }
  const auto add = [&](std::uint32_t operation, std::int64_t ns) {
    Sums& sums = into.sums[key_of(*index, bucket, operation)];
    sums.ns += static_cast<std::uint64_t>(ns);
    ++sums.traces;
  };
  add(kWholeTrace, root.total_ns);
  for (const auto& [operation, ns] : by_operation_) add(operation, ns);
  if (is_past) settle(past);
}

std::int64_t CriticalPaths::ring_start(std::size_t ring) const {
  const RedTable::Ring& shape = RedTable::kRings[ring];
  return floor_number(last_ns_, shape.width_ns) - shape.capacity + 1;
}

void CriticalPaths::merge_at(std::int64_t time_ns, const Window& entries) const {
  for (std::size_t i = 0; i < rings_.size(); ++i) {
    const std::int64_t number = floor_number(time_ns, RedTable::kRings[i].width_ns);
    if (number < ring_start(i)) continue;
    Window& window = rings_[i][number];
    Window merged;
    merged.reserve(window.size() + entries.size());
    auto a = window.begin();
    for (const Entry& entry : entries) {
      while (a != window.end() && a->key < entry.key) merged.push_back(*a++);
      merged.push_back(entry);
      if (a == window.end() || a->key != entry.key) continue;
      merged.back().sums.ns += a->sums.ns;
      merged.back().sums.traces += a->sums.traces;
      ++a;
    }
    merged.insert(merged.end(), a, window.end());
    window = std::move(merged);
  }
}

void CriticalPaths::settle(HotMinute& minute) const {
  if (minute.sums.empty()) return;
  Window entries;
  entries.reserve(minute.sums.size());
  for (const auto& [key, sums] : minute.sums) entries.push_back({key, sums});
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.key < b.key; });
  merge_at(minute.number * RedTable::kRings[0].width_ns, entries);
  minute.sums.clear();
}

void CriticalPaths::settle() const {
  for (HotMinute& minute : hot_) settle(minute);
  for (std::size_t i = 0; i < rings_.size(); ++i) {
    while (!rings_[i].empty() && rings_[i].begin()->first < ring_start(i)) {
      rings_[i].erase(rings_[i].begin());
    }
  }
}

std::optional<CriticalPaths::Answer> CriticalPaths::ask(std::uint32_t root_operation,
                                                        std::optional<std::int64_t> from_ns,
                                                        std::optional<std::int64_t> to_ns,
                                                        double quantile) const {
  std::size_t root = 0;
  while (root < roots_.size() && roots_[root].operation != root_operation) ++root;
  if (root == roots_.size() || traces_ == 0) return std::nullopt;
  settle();
  const std::int64_t wanted_ns = std::max(from_ns.value_or(first_ns_), first_ns_);
  std::size_t ring = 0;
  while (ring + 1 < rings_.size() &&
         ring_start(ring) * RedTable::kRings[ring].width_ns > wanted_ns) {
    ++ring;
  }
  const std::int64_t width_ns = RedTable::kRings[ring].width_ns;
  Answer answer;
  answer.resolution_ns = width_ns;
  const std::int64_t first = std::max(floor_number(wanted_ns, width_ns), ring_start(ring));
  const std::int64_t last =
      floor_number(std::min(to_ns.value_or(last_ns_ + 1), last_ns_ + 1) - 1, width_ns);
  answer.from_ns = first * width_ns;
  answer.to_ns = std::max(answer.from_ns, (last + 1) * width_ns);
  std::map<std::uint64_t, Sums> sums;
  const auto& windows = rings_[ring];
  for (auto at = windows.lower_bound(first); at != windows.end() && at->first <= last; ++at) {
    const Window& window = at->second;
    auto entry = std::lower_bound(window.begin(), window.end(), key_of(root, 0, 0),
                                  [](const Entry& e, std::uint64_t key) { return e.key < key; });
    for (; entry != window.end() && entry->key >> kRootShift == root; ++entry) {
      Sums& sum = sums[entry->key];
      sum.ns += entry->sums.ns;
      sum.traces += entry->sums.traces;
    }
  }
  std::uint64_t traces = 0;
  for (const auto& [key, sum] : sums) {
    if ((key & kWholeTrace) == kWholeTrace) traces += sum.traces;
  }
  if (traces == 0) return std::nullopt;
  const auto rank = static_cast<std::uint64_t>(quantile * static_cast<double>(traces - 1));
  std::uint64_t below = 0;
  std::uint32_t threshold = 0;
  for (const auto& [key, sum] : sums) {
    if ((key & kWholeTrace) != kWholeTrace) continue;
    threshold = static_cast<std::uint32_t>(key >> kBucketShift) & kBucketMask;
    below += sum.traces;
    if (below > rank) break;
  }
  answer.threshold_ns = bucket_start_ns(threshold);
  std::map<std::uint32_t, std::array<Share, 2>> by_operation;
  for (const auto& [key, sum] : sums) {
    const auto bucket = static_cast<std::uint32_t>(key >> kBucketShift) & kBucketMask;
    const bool is_slow = bucket >= threshold;
    const auto operation = static_cast<std::uint32_t>(key & kWholeTrace);
    if (operation == kWholeTrace) {
      Cohort& cohort = is_slow ? answer.slow : answer.rest;
      cohort.traces += sum.traces;
      cohort.ns += sum.ns;
      continue;
    }
    Share& share = by_operation[operation][is_slow ? 0 : 1];
    share.ns += sum.ns;
    share.traces += sum.traces;
  }
  for (auto& [operation, shares] : by_operation) {
    shares[0].operation = shares[1].operation = operation;
    answer.slow.shares.push_back(shares[0]);
    answer.rest.shares.push_back(shares[1]);
  }
  return answer;
}

void CriticalPaths::write(StateWriter& out) const {
  settle();
  out.varint(roots_.size());
  for (const Root& root : roots_) out.varint(root.operation).varint(root.traces);
  for (const auto& ring : rings_) {
    out.varint(ring.size());
    for (const auto& [number, window] : ring) {
      out.signed_varint(number).varint(window.size());
      std::uint64_t previous = 0;
      for (const Entry& entry : window) {
        out.varint(entry.key - previous).varint(entry.sums.ns).varint(entry.sums.traces);
        previous = entry.key;
      }
    }
  }
  out.i64(first_ns_).i64(last_ns_).varint(traces_).varint(without_root_).varint(beyond_roots_);
}

void CriticalPaths::read(StateReader& in) {
  for (std::size_t left = in.count(2); left > 0; --left) {
    if (roots_.size() >= roots_max_) throw Error(EPHOR_INVALID, "more than max_root_operations");
    Root& root = roots_.emplace_back();
    root.operation = static_cast<std::uint32_t>(in.varint());
    root.traces = in.varint();
  }
  for (auto& ring : rings_) {
    for (std::size_t left = in.count(2); left > 0; --left) {
      Window& window = ring[in.signed_varint()];
      std::uint64_t key = 0;
      for (std::size_t entries = in.count(3); entries > 0; --entries) {
        key += in.varint();
        const std::uint64_t ns = in.varint();
        window.push_back({key, {ns, in.varint()}});
      }
    }
  }
  first_ns_ = in.i64();
  last_ns_ = in.i64();
  traces_ = in.varint();
  without_root_ = in.varint();
  beyond_roots_ = in.varint();
}

}  // namespace ephor::tracer
