// SPDX-License-Identifier: Apache-2.0
//
// The form of a protobuf Span: what spans of one place in a program share (tags, keys, the order of
// fields), written as steps that say where each value goes. A span is its form and its values, and
// the two make the same bytes again; a span for which that would not be so has no form.
//
// A form as stored, one step behind the other: u8 step, then
//   literal  varint size | bytes
//   trace, span, parent  16, 8 and 8 bytes that stand in columns of their own
//   start    fixed64: the event's time less the duration
//   end      fixed64: the event's time
//   text     varint column: a text behind its size
//   varint, fixed64, fixed32  varint column: a number
//   open, close  what lies between stands behind its size
// Sizes and varints are the shortest; others make a span that has no form.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::host {

enum class FormStep : std::uint8_t {
  literal = 1,
  trace = 2,
  span = 3,
  parent = 4,
  start = 5,
  end = 6,
  text = 7,
  varint = 8,
  fixed64 = 9,
  fixed32 = 10,
  open = 11,
  close = 12,
  // Never stored: literal, open, literal, open, literal, a value, close, close, as attributes are.
  attribute = 13,
};

enum class ColumnKind : std::uint8_t { text = 1, number = 2 };

// The value of a step that has a column: of a text its bytes, else the number.
struct FormValue {
  const char* data = nullptr;
  std::uint64_t number = 0;  // of a text its size

  std::string_view text() const { return {data, static_cast<std::size_t>(number)}; }
};

// What a span says beside its form. Views into the record.
struct SpanValues {
  const char* trace_id = nullptr;
  const char* span_id = nullptr;
  const char* parent_id = nullptr;
  std::uint64_t duration_ns = 0;
  std::vector<FormValue> values;  // by step
};

class SpanForm {
 public:
  struct Step {
    FormStep step;
    FormStep value = FormStep::literal;  // of an attribute: text, varint, fixed64 or fixed32
    std::uint32_t column = 0;            // of text, varint, fixed64, fixed32 and attribute
    std::string_view literal;
    std::string_view key;  // of an attribute what stands before its value's size
    std::string_view tag;  // and before the value
  };
  static constexpr int kDepthMax = 8;

  // `stored` outlives it. Throws std::runtime_error on anything but a form whose columns are those
  // of `columns`.
  SpanForm(std::string_view stored, std::span<const ColumnKind> columns);

  // Takes `record` apart. False: it is of another form.
  bool match(std::string_view record, std::uint64_t time, SpanValues& out) const;

  const std::vector<Step>& steps() const { return steps_; }
  // The columns of its values, in their order.
  const std::vector<std::uint32_t>& columns() const { return columns_; }
  bool has_trace() const { return has(FormStep::trace); }
  bool has_span() const { return has(FormStep::span); }
  bool has_parent() const { return has(FormStep::parent); }
  bool has_start() const { return has(FormStep::start); }

 private:
  bool has(FormStep step) const { return (once_ >> static_cast<unsigned>(step) & 1U) != 0; }

  void join_attribute();

  std::vector<Step> steps_;
  std::vector<std::uint32_t> columns_;
  unsigned once_ = 0;  // of the steps that stand in a form at most once, those that do
};

// The numbers of columns, given out by what their values mean.
class ColumnNames {
 public:
  static constexpr std::size_t kColumnsMax = 2048;

  void clear();
  // The same for the same meaning and kind, from 0. Columns of different meanings may share a
  // number if their hashes do; that costs bytes, nothing else.
  std::uint32_t number_of(std::uint64_t meaning, ColumnKind kind);
  const std::vector<ColumnKind>& kinds() const { return kinds_; }

 private:
  std::vector<ColumnKind> kinds_;
  std::vector<std::uint64_t> keys_;
  std::vector<std::uint32_t> slots_;  // number + 1
};

// Writes the form of `record`, an event of `time`, to `stored`. False: it has none, or more columns
// than there may be. One that is written may still not match.
bool describe_form(std::string_view record, std::uint64_t time, ColumnNames& columns,
                   std::string& stored);

}  // namespace ephor::host
