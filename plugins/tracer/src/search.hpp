// SPDX-License-Identifier: Apache-2.0
//
// What a search for traces asks, and whether a trace is what it asks for.
//
//   expression := all ("or" all)*        all := one ("and"? one)*
//   one        := "not" one | "(" expression ")" | "error" | field operator value
//   field      := service component operation root_service root_component root_operation status
//                 duration spans errors trace_id correlation_id decision_id execution_id order_id
//                 trade_id prediction_id symbol verdict reason, else the name of a span attribute
//                 ("attr." before it where it is also a field)
//   operator   := = != and, for duration, spans and errors, < <= > >=
//   value      := word | "quoted, with \" and \\";  durations: 250ms, 1.5s, 2m, 800us, 40ns
//
//   service=strategist and duration>1s and error
//
// A field of names or ids holds if one of the trace's spans has it. Of attributes a summary knows
// nothing: such a term is `unknown` until the spans are read.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trace_summary.hpp"

namespace ephor::tracer {

enum class Truth : std::uint8_t { no, unknown, yes };

enum class SearchField : std::uint8_t {
  service,
  component,
  operation,
  root_service,
  root_component,
  root_operation,
  error,
  duration,
  spans,
  errors,
  trace_id,
  id,  // of `kind`
  verdict,
  reason,
  attribute
};
enum class Comparison : std::uint8_t { equal, unequal, less, at_most, more, at_least };

struct SearchTerm {
  SearchField field = SearchField::error;
  Comparison comparison = Comparison::equal;
  IdKind kind = IdKind::correlation;  // of SearchField::id
  std::string name;                   // of an attribute
  std::string text;                   // wanted; of trace_id in lower case
  double number = 0.0;                // wanted, in nanoseconds or a count
};

// A tree of terms, flat: children come before their parent.
class SearchExpression {
 public:
  // Throws ephor::Error(EPHOR_INVALID) that names the character where it went wrong, with
  // `pointer`. Empty text holds for every trace.
  static SearchExpression parse(std::string_view text, const std::string& pointer = "/q");

  // Also demands `term`.
  void demand(SearchTerm term);

  // What is known of a term beside the summary (from the index, from the spans), != not applied.
  using AttributeTest = std::function<Truth(const SearchTerm&)>;
  Truth holds(const TraceChunk& chunk, const TraceSummary& summary,
              const AttributeTest& test) const;

  // False only if no trace of the chunk can match, as far as its names tell.
  bool may_match(const TraceChunk& chunk) const;

  // Terms every match must fulfil.
  std::vector<const SearchTerm*> demands() const;
  const std::vector<SearchTerm>& terms() const { return terms_; }

 private:
  friend class SearchParser;
  enum class NodeKind : std::uint8_t { term, all, any, negation };
  struct Node {
    NodeKind kind = NodeKind::term;
    std::size_t term = 0;
    std::vector<std::size_t> children;
  };

  Truth node_holds(std::size_t node, const TraceChunk& chunk, const TraceSummary& summary,
                   const AttributeTest& test) const;
  bool node_may_match(std::size_t node, const TraceChunk& chunk) const;
  void add_demands(std::size_t node, std::vector<const SearchTerm*>& out) const;

  std::vector<SearchTerm> terms_;
  std::vector<Node> nodes_;
  std::optional<std::size_t> root_;
};

// "250ms", "1.5s", "2m", "1h", "800us", "40ns", a bare number is milliseconds. Empty if it is none.
std::optional<double> duration_ns_from(std::string_view text);

// Whether a value of a span's attribute is what `wanted` says: as text, and numbers by value.
bool is_attribute_value(const std::string& wanted, std::string_view text,
                        std::optional<double> number);

}  // namespace ephor::tracer
