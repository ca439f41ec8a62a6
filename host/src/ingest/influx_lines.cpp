// SPDX-License-Identifier: Apache-2.0
#include "ingest/influx_lines.hpp"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "event/hash.hpp"
#include "ingest/json_text.hpp"
#include "ingest/metric_events.hpp"

namespace ephor::host {
namespace {

constexpr std::size_t kShownBytes = 40;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Without the backslashes that stand before one of `specials`.
std::string unescaped(std::string_view text, std::string_view specials) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    const bool is_escape = text[at] == '\\' && at + 1 < text.size() &&
                           specials.find(text[at + 1]) != std::string_view::npos;
    if (is_escape) ++at;
    out += text[at];
  }
  return out;
}

// One past the last byte before the first of `stops` that no backslash stands before.
std::size_t end_of_token(std::string_view text, std::size_t from, std::string_view stops) {
  for (std::size_t at = from; at < text.size(); ++at) {
    if (text[at] == '\\' && at + 1 < text.size()) {
      ++at;
      continue;
    }
    if (stops.find(text[at]) != std::string_view::npos) return at;
  }
  return text.size();
}

// The first blank that no backslash stands before: behind measurement and tags.
std::size_t end_of_key(std::string_view line) {
  const std::size_t blank = line.find(' ');
  if (blank == std::string_view::npos) return line.size();
  const bool has_escape = std::memchr(line.data(), '\\', blank) != nullptr;
  return has_escape ? end_of_token(line, 0, " ") : blank;
}

class LineReader {
 public:
  LineReader(std::string_view body, std::int64_t unit_ns, const MadeContext& context,
             MadeEventSink& sink)
      : body_(body), unit_ns_(unit_ns), sink_(sink), events_(context, sink) {
    slots_.resize(kSlotsMin);
  }

  void read() {
    while (at_ < body_.size()) {
      ++number_;
      start_ = at_;
      const std::size_t end = std::min(body_.find('\n', at_), body_.size());
      line_ = without_return(body_.substr(at_, end - at_));
      next_ = end + 1;
      const std::size_t first = line_.find_first_not_of(" \t");
      if (first == std::string_view::npos || line_[first] == '#') {
        at_ = next_;
        continue;
      }
      line_.remove_prefix(first);
      start_ += first;
      read_line();
      at_ = next_;
    }
    events_.flush();
  }

 private:
  static constexpr std::size_t kSlotsMin = 1024;

  // A series as it was first spelled.
  struct Slot {
    std::uint64_t hash = 0;
    const char* key = nullptr;  // null: free
    std::uint32_t key_size = 0;
    std::uint32_t table = 0;
    std::uint32_t series = 0;
  };
  struct Field {
    std::string_view key;
    std::string_view text;  // of a text: without quotes, with escapes
    DecimalValue value;
    bool is_text = false;
  };

  static std::string_view without_return(std::string_view line) {
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    return line;
  }

  void fail(std::size_t at, std::string reason) {
    sink_.reject(number_,
                 {"", "at byte " + std::to_string(at + 1) + " of the line: " + std::move(reason)});
  }
  std::string found_at(std::size_t at) const {
    return at < line_.size() ? "found " + shown(line_.substr(at, kShownBytes))
                             : std::string("found the end of the line");
  }

  void read_line() {
    if (line_.size() > kInfluxLineBytesMax) {
      return fail(kInfluxLineBytesMax, "found a line of " + std::to_string(line_.size()) +
                                           " bytes, expected at most " +
                                           std::to_string(kInfluxLineBytesMax));
    }
    const std::size_t key_end = end_of_key(line_);
    if (key_end == line_.size()) {
      return fail(line_.size(), "found the end of the line, expected a blank and fields");
    }
    std::size_t at = key_end;
    while (at < line_.size() && line_[at] == ' ') ++at;
    fields_.clear();
    if (!read_fields(at)) return;
    bool has_time = false;
    std::int64_t time_ns = 0;
    if (!read_time(at, has_time, time_ns)) return;
    if (events_.next_item(number_, line_.size())) forget();
    const Slot* series = find_or_make(line_.substr(0, key_end));
    if (series == nullptr) return;
    take(*series, events_.time_of(has_time, time_ns));
  }

  // ---- fields

  bool read_fields(std::size_t& at) {
    for (;;) {
      const std::size_t key_start = at;
      at = end_of_field_key(at);
      if (at >= line_.size() || line_[at] != '=' || at == key_start) {
        fail(at, found_at(at) + ", expected a field's name and '='");
        return false;
      }
      Field field;
      field.key = line_.substr(key_start, at - key_start);
      ++at;
      if (!read_value(at, field)) return false;
      if (fields_.size() == kInfluxFieldsMax) {
        fail(key_start, "found more than " + std::to_string(kInfluxFieldsMax) + " fields");
        return false;
      }
      fields_.push_back(field);
      if (at >= line_.size() || line_[at] != ',') return true;
      ++at;
    }
  }

  std::size_t end_of_field_key(std::size_t at) const {
    for (; at < line_.size(); ++at) {
      const char c = line_[at];
      if (c == '\\' && at + 1 < line_.size()) {
        ++at;
      } else if (c == '=' || c == ',' || c == ' ') {
        return at;
      }
    }
    return at;
  }

  bool read_value(std::size_t& at, Field& field) {
    if (at >= line_.size()) return fail_value(at);
    const char first = line_[at];
    if (first == '"') return read_text(at, field);
    if (is_digit(first) || first == '-' || first == '.' || first == '+') {
      return read_number(at, field);
    }
    const std::size_t end = std::min(line_.find_first_of(", ", at), line_.size());
    const std::string_view word = line_.substr(at, end - at);
    for (const std::string_view yes : {"t", "T", "true", "True", "TRUE"}) {
      if (word == yes) field.value = {1, 0, false};
    }
    const bool is_true = field.value.mantissa == 1;
    const bool is_false =
        word == "f" || word == "F" || word == "false" || word == "False" || word == "FALSE";
    if (!is_true && !is_false) return fail_value(at);
    at = end;
    return true;
  }

  bool fail_value(std::size_t at) {
    fail(at, found_at(at) + ", expected a number, a quoted text or a boolean");
    return false;
  }

  // Fifteen digits with a point somewhere is what nearly all numbers are.
  bool read_number(std::size_t& at, Field& field) {
    const std::size_t start = at;
    std::size_t here = at;
    const bool is_negative = line_[here] == '-';
    if (is_negative) ++here;
    std::int64_t mantissa = 0;
    std::size_t digits = 0;
    std::size_t scale = 0;
    const std::size_t limit = std::min(line_.size(), here + 17);
    bool has_point = false;
    for (; here < limit; ++here) {
      const char c = line_[here];
      if (is_digit(c)) {
        mantissa = mantissa * 10 + (c - '0');
        ++digits;
        scale += has_point ? 1 : 0;
      } else if (c == '.' && !has_point) {
        has_point = true;
      } else {
        break;
      }
    }
    const char behind = here < line_.size() ? line_[here] : ' ';
    const bool is_typed = (behind == 'i' || behind == 'u') && !has_point;
    const char next = is_typed ? (here + 1 < line_.size() ? line_[here + 1] : ' ') : behind;
    if (digits == 0 || digits > 15 || (next != ',' && next != ' ') ||
        (is_negative && (mantissa == 0 || behind == 'u'))) {
      return read_long_number(at, field);
    }
    field.value = {is_negative ? -mantissa : mantissa, static_cast<std::uint8_t>(scale), false};
    at = here + (is_typed ? 1 : 0);
    return at > start;
  }

  bool read_long_number(std::size_t& at, Field& field) {
    const std::size_t end = std::min(line_.find_first_of(", ", at), line_.size());
    std::string_view word = line_.substr(at, end - at);
    const char last = word.back();
    const char* const first = word.data();
    if (last == 'i' || last == 'u') {
      word.remove_suffix(1);
      std::int64_t integer = 0;
      std::uint64_t natural = 0;
      const char* const stop = word.data() + word.size();
      const auto [behind, error] = last == 'i' ? std::from_chars(first, stop, integer)
                                               : std::from_chars(first, stop, natural);
      if (error != std::errc() || behind != stop) {
        fail(at, found_at(at) + ", expected " + (last == 'i' ? "a" : "an unsigned") +
                     " 64-bit integer before '" + last + "'");
        return false;
      }
      field.value = last == 'i'            ? decimal_of(integer)
                    : natural <= INT64_MAX ? decimal_of(static_cast<std::int64_t>(natural))
                                           : decimal_of(static_cast<double>(natural));
    } else {
      double number = 0.0;
      const auto [behind, error] = std::from_chars(first, first + word.size(), number);
      const bool is_number =
          error == std::errc() && behind == first + word.size() && std::isfinite(number);
      if (!is_number) {
        fail(at, found_at(at) + ", expected a finite number");
        return false;
      }
      field.value = decimal_of(number);
    }
    at = end;
    return true;
  }

  // A text may hold line ends: the line then goes on behind them.
  bool read_text(std::size_t& at, Field& field) {
    const std::size_t from = start_ + at + 1;
    for (std::size_t here = from; here < body_.size() && here - start_ <= kInfluxLineBytesMax;
         ++here) {
      if (body_[here] == '\\' && here + 1 < body_.size()) {
        ++here;
        continue;
      }
      if (body_[here] != '"') continue;
      field.text = body_.substr(from, here - from);
      field.is_text = true;
      if (here - start_ >= line_.size()) extend_line(here);
      at = here + 1 - start_;
      if (simdjson::validate_utf8(field.text.data(), field.text.size())) return true;
      fail(at, "found a text that is no UTF-8");
      return false;
    }
    fail(at, found_at(at) + ", expected a text that ends with '\"'");
    return false;
  }

  void extend_line(std::size_t from) {
    number_ += static_cast<std::uint32_t>(
        std::count(body_.begin() + static_cast<std::ptrdiff_t>(next_ - 1),
                   body_.begin() + static_cast<std::ptrdiff_t>(from), '\n'));
    const std::size_t end = std::min(body_.find('\n', from), body_.size());
    line_ = without_return(body_.substr(start_, end - start_));
    next_ = end + 1;
  }

  bool read_time(std::size_t at, bool& has_time, std::int64_t& time_ns) {
    const std::size_t gap = at;
    while (at < line_.size() && line_[at] == ' ') ++at;
    if (at == line_.size()) return true;
    std::int64_t time = 0;
    const char* const first = line_.data() + at;
    std::size_t end = line_.size();
    while (end > at && line_[end - 1] == ' ') --end;
    const auto [behind, error] = std::from_chars(first, line_.data() + end, time);
    const bool is_good = at > gap && error == std::errc() && behind == line_.data() + end &&
                         !__builtin_mul_overflow(time, unit_ns_, &time_ns);
    if (!is_good) {
      fail(at,
           found_at(at) + ", expected a blank and a time as an integer, or the end of the line");
      return false;
    }
    has_time = true;
    return true;
  }

  // ---- series

  void forget() {
    std::ranges::fill(slots_, Slot());
    slots_used_ = 0;
    table_names_.clear();
  }

  // Null: the line is rejected.
  const Slot* find_or_make(std::string_view key) {
    const std::uint64_t hash = hash64(key);
    std::size_t at = hash & (slots_.size() - 1);
    for (; slots_[at].key != nullptr; at = (at + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[at];
      if (slot.hash == hash && slot.key_size == key.size() &&
          std::memcmp(slot.key, key.data(), key.size()) == 0) {
        return &slot;
      }
    }
    Slot made{hash, key.data(), static_cast<std::uint32_t>(key.size()), 0, 0};
    if (!make_series(key, made)) return nullptr;
    slots_[at] = made;
    if (++slots_used_ * 2 > slots_.size()) grow();
    return find_or_make_again(hash, key);
  }

  const Slot* find_or_make_again(std::uint64_t hash, std::string_view key) const {
    std::size_t at = hash & (slots_.size() - 1);
    while (slots_[at].key != key.data()) at = (at + 1) & (slots_.size() - 1);
    return &slots_[at];
  }

  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.key == nullptr) continue;
      std::size_t at = slot.hash & (slots_.size() - 1);
      while (slots_[at].key != nullptr) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = slot;
    }
  }

  bool make_series(std::string_view key, Slot& slot) {
    std::size_t at = end_of_token(key, 0, ",");
    const std::string measurement = unescaped(key.substr(0, at), ", ");
    std::string fault = name_fault("the measurement", measurement, kMetricNameBytesMax);
    if (!fault.empty()) return reject_key(0, fault);
    tags_.clear();
    while (at < key.size()) {
      const std::size_t start = at + 1;
      const std::size_t equals = end_of_token(key, start, "=,");
      const std::size_t end = end_of_token(key, std::min(equals + 1, key.size()), ",");
      if (equals >= key.size() || key[equals] != '=') {
        return reject_key(start, found_at(start) + ", expected a tag's name, '=' and its value");
      }
      tags_.emplace_back(unescaped(key.substr(start, equals - start), ",= "),
                         unescaped(key.substr(equals + 1, end - equals - 1), ",= "));
      fault = name_fault("a tag's name", tags_.back().first, kLabelNameBytesMax);
      if (fault.empty())
        fault = name_fault("a tag's value", tags_.back().second, kLabelValueBytesMax);
      if (!fault.empty()) return reject_key(start, fault);
      at = end;
    }
    std::ranges::sort(tags_);
    for (std::size_t i = 1; i < tags_.size(); ++i) {
      if (tags_[i].first != tags_[i - 1].first) continue;
      return reject_key(0, "found the tag " + shown(tags_[i].first) + " twice, expected it once");
    }
    if (tags_.size() > kLabelsMax || key.size() > kSeriesBytesMax) {
      return reject_key(0, "found " + std::to_string(tags_.size()) + " tags in " +
                               std::to_string(key.size()) + " bytes, expected at most " +
                               std::to_string(kLabelsMax) + " in " +
                               std::to_string(kSeriesBytesMax));
    }
    table_key_ = measurement;
    labels_.clear();
    for (const auto& [name, value] : tags_) {
      (table_key_ += '\n') += name;
      labels_.emplace_back(name, value);
    }
    slot.table = events_.batch().table(table_key_, labels_);
    slot.series = events_.batch().add_series(slot.table, labels_);
    if (slot.table >= table_names_.size()) table_names_.resize(slot.table + 1);
    table_names_[slot.table] = measurement;
    return true;
  }

  bool reject_key(std::size_t at, std::string reason) {
    fail(at, std::move(reason));
    return false;
  }

  void take(const Slot& slot, std::int64_t time_ns) {
    MetricBatch& batch = events_.batch();
    columns_.clear();
    for (std::uint32_t i = 0; i < fields_.size(); ++i) {
      const Field& field = fields_[i];
      // A text and a number of one name are two columns.
      key_.assign(1, field.is_text ? 't' : 'n');
      key_ += field.key;
      const std::uint32_t column = batch.column(slot.table, i, key_);
      if (batch.is_new_column(slot.table, column) && !describe(slot.table, column, field)) return;
      columns_.push_back(column);
    }
    batch.begin_row(slot.table, slot.series, time_ns);
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      if (fields_[i].is_text) {
        batch.set_text(slot.table, columns_[i], unescaped(fields_[i].text, "\"\\"));
      } else {
        batch.set(slot.table, columns_[i], fields_[i].value);
      }
    }
    events_.count_item();
  }

  bool describe(std::uint32_t table, std::uint32_t column, const Field& field) {
    const std::string field_name = unescaped(field.key, ",= ");
    std::string name = table_names_[table];
    if (field_name != "value") (name += '_') += field_name;
    const std::string fault = name_fault("measurement and field", name, kMetricNameBytesMax);
    if (!fault.empty())
      return reject_key(static_cast<std::size_t>(field.key.data() - line_.data()), fault);
    events_.batch().describe_column(table, column, std::move(name), {}, {});
    return true;
  }

  const std::string_view body_;
  const std::int64_t unit_ns_;
  MadeEventSink& sink_;
  MetricEvents events_;
  std::size_t at_ = 0;
  std::size_t start_ = 0;  // of the line in the body
  std::size_t next_ = 0;   // where the next line starts
  std::string_view line_;
  std::uint32_t number_ = 0;
  std::vector<Field> fields_;
  std::vector<std::uint32_t> columns_;
  std::vector<Slot> slots_;  // open addressing
  std::size_t slots_used_ = 0;
  std::vector<std::string> table_names_;
  std::vector<std::pair<std::string, std::string>> tags_;
  std::vector<MetricBatch::Label> labels_;
  std::string table_key_;
  std::string key_;
};

}  // namespace

void read_influx_lines(std::string_view body, std::int64_t unit_ns, const MadeContext& context,
                       MadeEventSink& sink) {
  LineReader(body, unit_ns, context, sink).read();
}

}  // namespace ephor::host
