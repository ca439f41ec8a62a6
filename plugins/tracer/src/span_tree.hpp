// SPDX-License-Identifier: Apache-2.0
//
// The spans of one trace as a tree. Pure: spans in, tree out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ephor::tracer {

struct SpanRecord {
  std::string trace_id;
  std::string span_id;
  std::string parent_span_id;  // empty: none
  std::string component;
  std::string operation;
  std::string kind;
  std::string status;
  std::string error_message;
  std::size_t event_index = 0;  // where the caller has all of it
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
};

struct SpanNode {
  SpanRecord span;
  std::vector<std::size_t> children;  // by start, then span id
  std::int64_t self_ns = 0;           // duration less what its children cover of it
  std::size_t depth = 0;
  bool is_orphan = false;    // names a parent that is not here
  bool is_cut_loop = false;  // was its own ancestor; stands as a root
};

struct SpanTree {
  std::vector<SpanNode> nodes;
  std::vector<std::size_t> roots;          // by start, then span id
  std::vector<std::size_t> critical_path;  // nodes, from the root, by when they determine the end
  std::vector<std::int64_t> critical_ns;   // how much of the end-to-end time each is answerable for
  std::size_t orphan_count = 0;
  std::size_t duplicate_count = 0;  // same span id again: the first one stands
};

// O(n log n). The critical path (critical_path.hpp) is that of the root that ends last; spans of
// one component share a clock.
SpanTree build_span_tree(std::vector<SpanRecord> spans);

}  // namespace ephor::tracer
