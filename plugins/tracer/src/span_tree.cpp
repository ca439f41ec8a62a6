// SPDX-License-Identifier: Apache-2.0
#include "span_tree.hpp"

#include <algorithm>
#include <ephor/text_hash.hpp>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "critical_path.hpp"
#include "text.hpp"

namespace ephor::tracer {
namespace {

using Index = std::unordered_map<std::string_view, std::size_t>;
constexpr std::size_t kNone = static_cast<std::size_t>(-1);

bool starts_before(const SpanTree& tree, std::size_t a, std::size_t b) {
  const SpanRecord& left = tree.nodes[a].span;
  const SpanRecord& right = tree.nodes[b].span;
  return std::tie(left.start_ns, left.span_id) < std::tie(right.start_ns, right.span_id);
}

// Parents by index; spans that form a loop lose the link of the one that starts first.
std::vector<std::size_t> link_parents(SpanTree& tree, const Index& by_id) {
  std::vector<std::size_t> parents(tree.nodes.size(), kNone);
  for (std::size_t i = 0; i < tree.nodes.size(); ++i) {
    const std::string& parent_id = tree.nodes[i].span.parent_span_id;
    if (parent_id.empty()) continue;
    const auto found = by_id.find(parent_id);
    if (found == by_id.end()) {
      tree.nodes[i].is_orphan = true;
      ++tree.orphan_count;
    } else {
      parents[i] = found->second;
    }
  }
  enum : char { kNew, kOnWay, kDone };
  std::vector<char> states(tree.nodes.size(), kNew);
  std::vector<std::size_t> way;
  for (std::size_t i = 0; i < tree.nodes.size(); ++i) {
    way.clear();
    std::size_t at = i;
    for (; at != kNone && states[at] == kNew; at = parents[at]) {
      states[at] = kOnWay;
      way.push_back(at);
    }
    if (at != kNone && states[at] == kOnWay) {
      std::size_t first = at;
      for (std::size_t other = parents[at]; other != at; other = parents[other]) {
        if (starts_before(tree, other, first)) first = other;
      }
      parents[first] = kNone;
      tree.nodes[first].is_cut_loop = true;
    }
    for (const std::size_t node : way) states[node] = kDone;
  }
  return parents;
}

std::int64_t self_time(const SpanTree& tree, const SpanNode& node) {
  std::int64_t covered = 0;
  std::int64_t covered_until = node.span.start_ns;
  for (const std::size_t child : node.children) {  // ordered by start
    const std::int64_t from = std::max(tree.nodes[child].span.start_ns, covered_until);
    const std::int64_t to = std::min(tree.nodes[child].span.end_ns, node.span.end_ns);
    if (to <= from) continue;
    covered += to - from;
    covered_until = to;
  }
  return std::max<std::int64_t>(0, node.span.end_ns - node.span.start_ns - covered);
}

void find_critical_path(SpanTree& tree) {
  if (tree.roots.empty()) return;
  std::size_t root = tree.roots.front();
  for (const std::size_t other : tree.roots) {
    if (tree.nodes[other].span.end_ns > tree.nodes[root].span.end_ns) root = other;
  }
  std::vector<PathSpan> spans(tree.nodes.size());
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const SpanRecord& span = tree.nodes[i].span;
    spans[i].start_ns = span.start_ns;
    spans[i].end_ns = span.end_ns;
    spans[i].clock = hash64(span.component);
    spans[i].tie = hash64(span.span_id);
    spans[i].is_async = is_consumer(span.kind);
    for (const std::size_t child : tree.nodes[i].children) spans[child].parent = i;
  }
  CriticalPathFinder finder;
  const std::vector<std::int64_t>& own = finder.find(spans, root);
  for (std::size_t i = 0; i < spans.size(); ++i) {
    if (finder.is_on_path()[i] != 0) tree.critical_path.push_back(i);
  }
  std::sort(tree.critical_path.begin(), tree.critical_path.end(),
            [&](std::size_t a, std::size_t b) {
              return std::tie(tree.nodes[a].span.start_ns, tree.nodes[a].depth,
                              tree.nodes[a].span.span_id) < std::tie(tree.nodes[b].span.start_ns,
                                                                     tree.nodes[b].depth,
                                                                     tree.nodes[b].span.span_id);
            });
  for (const std::size_t node : tree.critical_path) tree.critical_ns.push_back(own[node]);
}

}  // namespace

SpanTree build_span_tree(std::vector<SpanRecord> spans) {
  SpanTree tree;
  tree.nodes.reserve(spans.size());  // by_id holds views into the nodes
  Index by_id;
  for (SpanRecord& span : spans) {
    if (by_id.contains(span.span_id)) {
      ++tree.duplicate_count;
      continue;
    }
    tree.nodes.emplace_back().span = std::move(span);
    by_id.emplace(tree.nodes.back().span.span_id, tree.nodes.size() - 1);
  }
  const std::vector<std::size_t> parents = link_parents(tree, by_id);
  for (std::size_t i = 0; i < tree.nodes.size(); ++i) {
    (parents[i] == kNone ? tree.roots : tree.nodes[parents[i]].children).push_back(i);
  }
  const auto by_start = [&](std::size_t a, std::size_t b) { return starts_before(tree, a, b); };
  std::sort(tree.roots.begin(), tree.roots.end(), by_start);
  std::vector<std::size_t> pending = tree.roots;
  while (!pending.empty()) {
    SpanNode& node = tree.nodes[pending.back()];
    pending.pop_back();
    std::sort(node.children.begin(), node.children.end(), by_start);
    node.self_ns = self_time(tree, node);
    for (const std::size_t child : node.children) {
      tree.nodes[child].depth = node.depth + 1;
      pending.push_back(child);
    }
  }
  find_critical_path(tree);
  return tree;
}

}  // namespace ephor::tracer
