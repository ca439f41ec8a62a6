// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "span_tree.hpp"
#include "support/catch.hpp"
#include "trace_store.hpp"

using namespace ephor::tracer;

namespace {

TraceId trace_number(std::uint64_t number) {
  std::mt19937_64 random(number);
  TraceId id{};
  for (std::uint8_t& byte : id) byte = static_cast<std::uint8_t>(random());
  return id;
}

SpanFacts facts(std::uint64_t trace, std::int64_t start, std::int64_t end, bool is_root = false,
                bool is_error = false, std::string_view component = "c") {
  SpanFacts span;
  span.trace_id = trace_number(trace);
  span.component = component;
  span.operation = "o";
  span.start_ns = start;
  span.end_ns = end;
  span.is_root = is_root;
  span.is_error = is_error;
  return span;
}

SpanRecord record(std::string id, std::string parent, std::int64_t start, std::int64_t end) {
  SpanRecord span;
  span.span_id = std::move(id);
  span.parent_span_id = std::move(parent);
  span.start_ns = start;
  span.end_ns = end;
  return span;
}

const SpanNode& node(const SpanTree& tree, std::string_view id) {
  for (const SpanNode& candidate : tree.nodes) {
    if (candidate.span.span_id == id) return candidate;
  }
  throw std::runtime_error("no span " + std::string(id));
}

}  // namespace

TEST_CASE("trace ids: hex there and back", "[unit][tracing]") {
  const TraceId id = trace_number(1);
  REQUIRE(trace_id_from(hex_of(id)) == id);
  REQUIRE(hex_of(*trace_id_from("F03E2FB81F223F4192C58EFD5185F071")) ==
          "f03e2fb81f223f4192c58efd5185f071");
  REQUIRE_FALSE(trace_id_from("f03e"));
  REQUIRE_FALSE(trace_id_from(std::string(32, 'g')));
}

TEST_CASE("sampling: a lower rate keeps a subset, about its share", "[unit][tracing]") {
  int tenth = 0;
  int half = 0;
  constexpr int kCount = 20'000;
  for (int i = 0; i < kCount; ++i) {
    const TraceId id = trace_number(static_cast<std::uint64_t>(i));
    tenth += is_sampled(id, 0.1) ? 1 : 0;
    half += is_sampled(id, 0.5) ? 1 : 0;
    REQUIRE((!is_sampled(id, 0.1) || is_sampled(id, 0.5)));
    REQUIRE(is_sampled(id, 1.0));
    REQUIRE_FALSE(is_sampled(id, 0.0));
  }
  // Five standard deviations of a binomial share.
  REQUIRE(std::abs(tenth / double{kCount} - 0.1) < 5 * std::sqrt(0.1 * 0.9 / kCount));
  REQUIRE(std::abs(half / double{kCount} - 0.5) < 5 * std::sqrt(0.5 * 0.5 / kCount));
}

TEST_CASE("traces: a summary gathers its spans in any order", "[unit][tracing]") {
  TraceStore store(10, 1000);
  store.add(facts(1, 20, 30, false, true, "b"), true);
  store.add(facts(1, 10, 50, true, false, "a"), true);
  const TraceStore::Found summary = store.find(trace_number(1));
  REQUIRE(summary);
  REQUIRE(summary->start_ns == 10);
  REQUIRE(summary->end_ns == 50);
  REQUIRE(summary->span_count == 2);
  REQUIRE(summary->error_count == 1);
  REQUIRE(summary.chunk->operations()[summary->root].component == "a");
  REQUIRE(components_of(*summary.chunk, *summary.summary) == std::vector<std::string>{"a", "b"});
}

TEST_CASE("traces: counts stay exact beyond the history, and late spans make no half summaries",
          "[unit][tracing]") {
  TraceStore store(10, 100'000);
  for (std::uint64_t i = 0; i < 1000; ++i) store.add(facts(i, 1, 2, true, i % 4 == 0), true);
  store.add(facts(3, 5, 6, false, true), true);
  REQUIRE(store.trace_count() == 1000);
  REQUIRE(store.error_trace_count() == 251);
  REQUIRE(store.size() == 10);
  REQUIRE(store.evicted_count() == 990);
  REQUIRE(store.spans_after_eviction() == 1);
  REQUIRE_FALSE(store.find(trace_number(3)));
  std::vector<std::uint64_t> latest;
  store.for_each_latest([&](const TraceChunk&, const TraceSummary& summary) {
    for (std::uint64_t i = 0; i < 1000; ++i) {
      if (summary.id == trace_number(i)) latest.push_back(i);
    }
    return latest.size() < 3;
  });
  REQUIRE(latest == std::vector<std::uint64_t>{999, 998, 997});

  std::string state;
  ephor::StateWriter out(state);
  store.write(out);
  TraceStore read(10, 100'000);
  REQUIRE(ephor::read_state(state, [&](ephor::StateReader& in) { read.read(in); }));
  std::string again;
  ephor::StateWriter out_again(again);
  read.write(out_again);
  REQUIRE(again == state);
}

TEST_CASE("traces: what sampling leaves out is still counted", "[unit][tracing]") {
  TraceStore store(10, 1000);
  store.add(facts(1, 1, 2, true, true), false);
  REQUIRE(store.trace_count() == 1);
  REQUIRE(store.error_trace_count() == 1);
  REQUIRE(store.size() == 0);
}

TEST_CASE("span tree: children, self time and the critical path", "[unit][tracing]") {
  // root 0..100; a 10..40 with a1 15..35; b 30..80 (overlaps a); c 85..95.
  const SpanTree tree = build_span_tree({record("b", "root", 30, 80), record("a1", "a", 15, 35),
                                         record("root", "", 0, 100), record("c", "root", 85, 95),
                                         record("a", "root", 10, 40)});
  REQUIRE(tree.roots.size() == 1);
  const SpanNode& root = node(tree, "root");
  REQUIRE(root.children.size() == 3);
  REQUIRE(tree.nodes[root.children[0]].span.span_id == "a");
  REQUIRE(tree.nodes[root.children[2]].span.span_id == "c");
  // Covered: 10..80 and 85..95 of 100.
  REQUIRE(root.self_ns == 20);
  REQUIRE(node(tree, "a").self_ns == 10);
  REQUIRE(node(tree, "a1").depth == 2);
  // Back from 100: root 5, c 10, root 5, b 50, then nothing that ended by 30: root 30.
  std::map<std::string, std::int64_t> path;
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < tree.critical_path.size(); ++i) {
    path[tree.nodes[tree.critical_path[i]].span.span_id] = tree.critical_ns[i];
    sum += tree.critical_ns[i];
  }
  REQUIRE(path == std::map<std::string, std::int64_t>{{"root", 40}, {"c", 10}, {"b", 50}});
  REQUIRE(sum == 100);
}

TEST_CASE("span tree: orphans, duplicates and loops do no harm", "[unit][tracing]") {
  const SpanTree tree = build_span_tree({record("x", "gone", 5, 6), record("r", "", 0, 10),
                                         record("r", "", 0, 11), record("l1", "l2", 1, 2),
                                         record("l2", "l1", 3, 4), record("self", "self", 7, 8)});
  REQUIRE(tree.nodes.size() == 5);
  REQUIRE(tree.duplicate_count == 1);
  REQUIRE(tree.orphan_count == 1);
  REQUIRE(node(tree, "x").is_orphan);
  REQUIRE(node(tree, "l1").is_cut_loop);
  REQUIRE_FALSE(node(tree, "l2").is_cut_loop);
  REQUIRE(node(tree, "self").is_cut_loop);
  REQUIRE(tree.roots.size() == 4);
  REQUIRE(build_span_tree({}).nodes.empty());
}

TEST_CASE("span tree: depth is not limited by the stack", "[unit][tracing]") {
  std::vector<SpanRecord> spans;
  constexpr int kDepth = 200'000;
  for (int i = 0; i < kDepth; ++i) {
    spans.push_back(
        record(std::to_string(i), i == 0 ? "" : std::to_string(i - 1), i, 1'000'000 - i));
  }
  const SpanTree tree = build_span_tree(std::move(spans));
  REQUIRE(node(tree, std::to_string(kDepth - 1)).depth == kDepth - 1);
}
