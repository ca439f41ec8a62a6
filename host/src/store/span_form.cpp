// SPDX-License-Identifier: Apache-2.0
#include "store/span_form.hpp"

#include <ephor/otlp.hpp>
#include <ephor/protobuf.hpp>

#include <cstring>
#include <stdexcept>

#include "event/hash.hpp"
#include "store/byte_sections.hpp"

namespace ephor::host {
namespace {

// Longer forms are rare and save little.
constexpr std::size_t kFormBytesMax = 4096;
constexpr std::size_t kKeyBytesMax = 256;

std::uint64_t below(std::uint64_t meaning, std::uint64_t part) {
  std::uint64_t mixed = (meaning ^ part) * 0x9E3779B97F4A7C15ULL;
  return mixed ^ (mixed >> 32U);
}

enum class Message { span, key_value, any_value, event, link, status };

class Describer {
 public:
  Describer(std::uint64_t time, ColumnNames& columns, std::string& stored)
      : time_(time), columns_(columns), stored_(stored) {}

  bool message(std::string_view bytes, Message kind, std::uint64_t meaning) {
    ProtoReader in(bytes);
    while (in.next()) {
      if (!field(in, kind, meaning)) return false;
      if (stored_.size() + literal_.size() > kFormBytesMax) return false;
    }
    return in.ok();
  }
  void finish() { flush(); }

 private:
  bool field(const ProtoReader& in, Message kind, std::uint64_t& meaning) {
    const std::string_view raw = in.raw();
    const std::uint64_t inside = below(meaning, in.field());
    switch (in.type()) {
      case WireType::varint:
        // Few values, and those that go together with the other fields of a form.
        if ((kind == Message::span && in.field() == 6) || kind == Message::status) {
          literal_ += raw;
          return true;
        }
        return number(raw, varint_size(in.varint()), FormStep::varint, inside);
      case WireType::fixed64:
        return fixed64(in, kind, inside);
      case WireType::fixed32:
        if (kind == Message::span && in.field() == 16) {
          literal_ += raw;
          return true;
        }
        return number(raw, 4, FormStep::fixed32, inside);
      case WireType::bytes:
        return bytes(in, kind, meaning, inside);
      case WireType::group:
        break;
    }
    return false;
  }

  bool fixed64(const ProtoReader& in, Message kind, std::uint64_t inside) {
    const std::string_view raw = in.raw();
    if (kind == Message::span && in.field() == 7 && once(FormStep::start)) {
      return put(raw, 8, FormStep::start);
    }
    if (kind == Message::span && in.field() == 8 && in.fixed64() == time_ && once(FormStep::end)) {
      return put(raw, 8, FormStep::end);
    }
    return number(raw, 8, FormStep::fixed64, inside);
  }

  bool bytes(const ProtoReader& in, Message kind, std::uint64_t& meaning, std::uint64_t inside) {
    const std::string_view raw = in.raw();
    const std::string_view content = in.bytes();
    const std::size_t tag_size = raw.size() - content.size() - varint_size(content.size());
    const auto nested = [&](Message part) {
      if (tag_size > raw.size()) return false;
      literal_ += raw.substr(0, tag_size);
      step(FormStep::open);
      if (!message(content, part, inside)) return false;
      step(FormStep::close);
      return true;
    };
    switch (kind) {
      case Message::span:
        if (in.field() == 1 && content.size() == 16 && once(FormStep::trace)) {
          return put(raw, 16, FormStep::trace);
        }
        if (in.field() == 2 && content.size() == 8 && once(FormStep::span)) {
          return put(raw, 8, FormStep::span);
        }
        if (in.field() == 4 && content.size() == 8 && once(FormStep::parent)) {
          return put(raw, 8, FormStep::parent);
        }
        if (in.field() == otlp::kSpanAttributes) return nested(Message::key_value);
        if (in.field() == otlp::kSpanEvents) return nested(Message::event);
        if (in.field() == otlp::kSpanLinks) return nested(Message::link);
        if (in.field() == 15) return nested(Message::status);
        break;
      case Message::event:
        if (in.field() == otlp::kEventAttributes) return nested(Message::key_value);
        break;
      case Message::link:
        if (in.field() == otlp::kLinkAttributes) return nested(Message::key_value);
        break;
      case Message::key_value:
        if (in.field() == 1) {
          if (content.size() > kKeyBytesMax) return false;
          meaning = below(meaning, hash64(content));
          literal_ += raw;
          return true;
        }
        if (in.field() == 2) return nested(Message::any_value);
        break;
      case Message::any_value:
      case Message::status:
        break;
    }
    if (tag_size > raw.size()) return false;
    literal_ += raw.substr(0, tag_size);
    return column(FormStep::text, inside, ColumnKind::text);
  }

  bool number(std::string_view raw, std::size_t size, FormStep form_step, std::uint64_t inside) {
    if (size >= raw.size()) return false;
    literal_ += raw.substr(0, raw.size() - size);
    // The wire type, so that two of one field number do not share a column.
    return column(form_step, below(inside, static_cast<std::uint64_t>(form_step)),
                  ColumnKind::number);
  }

  bool column(FormStep form_step, std::uint64_t meaning, ColumnKind kind) {
    const std::uint32_t number = columns_.number_of(meaning, kind);
    if (number == ColumnNames::kColumnsMax) return false;
    step(form_step);
    append_varint(stored_, number);
    return true;
  }

  bool put(std::string_view raw, std::size_t size, FormStep form_step) {
    literal_ += raw.substr(0, raw.size() - size);
    step(form_step);
    return true;
  }

  bool once(FormStep form_step) {
    const unsigned bit = 1U << static_cast<unsigned>(form_step);
    if ((seen_ & bit) != 0) return false;
    seen_ |= bit;
    return true;
  }

  void step(FormStep form_step) {
    flush();
    stored_ += static_cast<char>(form_step);
  }
  void flush() {
    if (literal_.empty()) return;
    stored_ += static_cast<char>(FormStep::literal);
    append_varint(stored_, literal_.size());
    stored_ += literal_;
    literal_.clear();
  }

  const std::uint64_t time_;
  ColumnNames& columns_;
  std::string& stored_;
  std::string literal_;
  unsigned seen_ = 0;
};

constexpr unsigned bit_of(FormStep step) { return 1U << static_cast<unsigned>(step); }
constexpr unsigned kOnce = bit_of(FormStep::trace) | bit_of(FormStep::span) |
                           bit_of(FormStep::parent) | bit_of(FormStep::start) |
                           bit_of(FormStep::end);

// The shortest form of a varint. False: another, or the end.
inline bool read_varint(const char*& at, const char* end, std::uint64_t& value) {
  if (at == end) return false;
  const auto first = static_cast<std::uint8_t>(*at);
  if (first < 0x80) {
    value = first;
    ++at;
    return true;
  }
  value = 0;
  for (unsigned shift = 0; shift < 64 && at != end; shift += 7) {
    const auto byte = static_cast<std::uint8_t>(*at++);
    if (shift == 63 && byte > 1) return false;
    value |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return byte != 0;
  }
  return false;
}

}  // namespace

SpanForm::SpanForm(std::string_view stored, std::span<const ColumnKind> columns) {
  ByteReader in(stored, "a form ends");
  int depth = 0;
  while (in.left() != 0) {
    Step step;
    step.step = static_cast<FormStep>(in.u8());
    const auto expect_column = [&](ColumnKind kind) {
      const std::uint64_t column = in.varint();
      if (column >= columns.size() || columns[column] != kind) {
        throw std::runtime_error("a form's column " + std::to_string(column) + " of " +
                                 std::to_string(columns.size()));
      }
      step.column = static_cast<std::uint32_t>(column);
      columns_.push_back(step.column);
    };
    switch (step.step) {
      case FormStep::literal:
        step.literal = in.bytes(in.varint());
        // Every step makes bytes: records cannot cost more time than they have bytes.
        if (step.literal.empty()) throw std::runtime_error("a form's literal of no bytes");
        break;
      case FormStep::text:
        expect_column(ColumnKind::text);
        break;
      case FormStep::varint:
      case FormStep::fixed64:
      case FormStep::fixed32:
        expect_column(ColumnKind::number);
        break;
      case FormStep::open:
        if (++depth > kDepthMax) throw std::runtime_error("a form too deep");
        break;
      case FormStep::close:
        if (--depth < 0) throw std::runtime_error("a form that closes what is not open");
        break;
      case FormStep::trace:
      case FormStep::span:
      case FormStep::parent:
      case FormStep::start:
      case FormStep::end:
        if (has(step.step)) throw std::runtime_error("a form with two values of one kind");
        once_ |= bit_of(step.step) & kOnce;
        break;
      default:
        throw std::runtime_error("a form's step " +
                                 std::to_string(static_cast<unsigned>(step.step)));
    }
    steps_.push_back(step);
    if (step.step == FormStep::close) join_attribute();
  }
  if (depth != 0) throw std::runtime_error("a form that is not closed");
}

void SpanForm::join_attribute() {
  constexpr std::size_t kSteps = 7;
  if (steps_.size() < kSteps) return;
  const Step* const first = steps_.data() + steps_.size() - kSteps;
  const FormStep value = first[4].step;
  const bool has_value = value == FormStep::text || value == FormStep::varint ||
                         value == FormStep::fixed64 || value == FormStep::fixed32;
  if (first[0].step != FormStep::open || first[1].step != FormStep::literal ||
      first[2].step != FormStep::open || first[3].step != FormStep::literal || !has_value ||
      first[5].step != FormStep::close || first[6].step != FormStep::close) {
    return;
  }
  Step joined;
  joined.step = FormStep::attribute;
  joined.value = value;
  joined.column = first[4].column;
  joined.key = first[1].literal;
  joined.tag = first[3].literal;
  steps_.resize(steps_.size() - kSteps);
  if (!steps_.empty() && steps_.back().step == FormStep::literal) {
    joined.literal = steps_.back().literal;
    steps_.pop_back();
  }
  steps_.push_back(joined);
}

namespace {

// What is left of a record.
struct Scan {
  const char* at;
  const char* end;

  std::size_t left() const { return static_cast<std::size_t>(end - at); }
  bool literal(std::string_view text) {
    if (left() < text.size() || !is_equal(at, text.data(), text.size())) return false;
    at += text.size();
    return true;
  }
  bool fixed(std::size_t size, std::uint64_t& value) {
    if (left() < size) return false;
    value = 0;
    std::memcpy(&value, at, size);
    at += size;
    return true;
  }
  bool take(std::size_t size, const char*& bytes) {
    if (left() < size) return false;
    bytes = at;
    at += size;
    return true;
  }
  bool size(const char*& close) {
    std::uint64_t number = 0;
    if (!read_varint(at, end, number) || left() < number) return false;
    close = at + number;
    return true;
  }
  bool value(FormStep step, FormValue& out) {
    out.data = nullptr;
    switch (step) {
      case FormStep::text:
        if (!read_varint(at, end, out.number) || left() < out.number) return false;
        out.data = at;
        at += out.number;
        return true;
      case FormStep::varint:
        return read_varint(at, end, out.number);
      case FormStep::fixed64:
        return fixed(8, out.number);
      default:
        return fixed(4, out.number);
    }
  }
};

}  // namespace

bool SpanForm::match(std::string_view record, std::uint64_t time, SpanValues& out) const {
  Scan scan{record.data(), record.data() + record.size()};
  const char* closes[kDepthMax];
  int depth = 0;
  if (out.values.size() < columns_.size()) out.values.resize(columns_.size());
  FormValue* value = out.values.data();
  std::uint64_t number = 0;
  for (const Step& step : steps_) {
    switch (step.step) {
      case FormStep::attribute: {
        const char* outer = nullptr;
        const char* inner = nullptr;
        if (!scan.literal(step.literal) || !scan.size(outer) || !scan.literal(step.key) ||
            !scan.size(inner) || inner != outer || !scan.literal(step.tag) ||
            !scan.value(step.value, *value++) || scan.at != outer) {
          return false;
        }
        break;
      }
      case FormStep::literal:
        if (!scan.literal(step.literal)) return false;
        break;
      case FormStep::trace:
        if (!scan.take(16, out.trace_id)) return false;
        break;
      case FormStep::span:
        if (!scan.take(8, out.span_id)) return false;
        break;
      case FormStep::parent:
        if (!scan.take(8, out.parent_id)) return false;
        break;
      case FormStep::start:
        if (!scan.fixed(8, number)) return false;
        out.duration_ns = time - number;
        break;
      case FormStep::end:
        if (!scan.fixed(8, number) || number != time) return false;
        break;
      case FormStep::text:
      case FormStep::varint:
      case FormStep::fixed64:
      case FormStep::fixed32:
        if (!scan.value(step.step, *value++)) return false;
        break;
      case FormStep::open:
        if (!scan.size(closes[depth++])) return false;
        break;
      case FormStep::close:
        if (closes[--depth] != scan.at) return false;
        break;
    }
  }
  return scan.at == scan.end;
}

void ColumnNames::clear() {
  kinds_.clear();
  keys_.clear();
  slots_.assign(kColumnsMax * 2, 0);
}

std::uint32_t ColumnNames::number_of(std::uint64_t meaning, ColumnKind kind) {
  const std::uint64_t key = below(meaning, static_cast<std::uint64_t>(kind));
  for (std::size_t slot = (key >> 20U) % slots_.size();; slot = (slot + 1) % slots_.size()) {
    if (slots_[slot] == 0) {
      if (kinds_.size() == kColumnsMax) return kColumnsMax;
      keys_.push_back(key);
      kinds_.push_back(kind);
      slots_[slot] = static_cast<std::uint32_t>(kinds_.size());
    }
    const std::uint32_t number = slots_[slot] - 1;
    if (keys_[number] == key && kinds_[number] == kind) return number;
  }
}

bool describe_form(std::string_view record, std::uint64_t time, ColumnNames& columns,
                   std::string& stored) {
  stored.clear();
  Describer describer(time, columns, stored);
  if (!describer.message(record, Message::span, 0)) return false;
  describer.finish();
  return true;
}

}  // namespace ephor::host
