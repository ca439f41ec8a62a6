// SPDX-License-Identifier: Apache-2.0
//
// A small JSON reader (RFC 8259) for what is read seldom: a configuration, a request, a test's
// answer. It needs no library and keeps where each value stands in its text. <ephor/json.hpp> also
// writes and changes JSON; <ephor/events.hpp> is for events.
//
//   const JsonValue config = parse_json_value(text);
//   const std::int64_t limit = config.integer_of("limit", 100);
#pragma once

#include <charconv>
#include <cstdint>
#include <ephor/plugin.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ephor {

struct JsonMember;

// One value. Look-ups are linear in the number of members; a name given twice: the first counts.
struct JsonValue {
  enum class Kind { null, boolean, number, string, array, object };

  Kind kind = Kind::null;
  std::string_view raw;  // the value as it stands in the text that was parsed
  std::string text;      // of a string, unescaped
  std::vector<JsonMember> members;
  std::vector<JsonValue> elements;

  bool is_object() const { return kind == Kind::object; }
  bool is_string() const { return kind == Kind::string; }
  const JsonValue* find(std::string_view name) const;
  // The text of a string member; empty if there is none.
  std::string_view text_of(std::string_view name) const {
    const JsonValue* found = find(name);
    return found != nullptr && found->is_string() ? std::string_view(found->text)
                                                  : std::string_view();
  }
  // The value of a number or boolean; empty for another kind, and for a number that does not fit.
  std::optional<double> number() const { return read<double>(); }
  std::optional<std::int64_t> integer() const { return read<std::int64_t>(); }
  std::optional<bool> boolean() const {
    if (kind != Kind::boolean) return std::nullopt;
    return raw == "true";
  }
  // The same of a member, or `fallback` if there is none. Throws Error(EPHOR_INVALID) with the
  // member's pointer if it is something else.
  std::string text_of(std::string_view name, std::string_view fallback) const;
  double number_of(std::string_view name, double fallback) const;
  std::int64_t integer_of(std::string_view name, std::int64_t fallback) const;
  bool boolean_of(std::string_view name, bool fallback) const;

 private:
  template <typename Number>
  std::optional<Number> read() const {
    Number value{};
    if (kind != Kind::number) return std::nullopt;
    const auto [end, error] = std::from_chars(raw.data(), raw.data() + raw.size(), value);
    if (error != std::errc() || end != raw.data() + raw.size()) return std::nullopt;
    return value;
  }
};

struct JsonMember {
  std::string name;
  JsonValue value;
};

inline const JsonValue* JsonValue::find(std::string_view name) const {
  for (const JsonMember& member : members) {
    if (member.name == name) return &member.value;
  }
  return nullptr;
}

namespace detail {

[[noreturn]] inline void refuse_member(std::string_view name, const JsonValue& found,
                                       std::string_view expected) {
  std::string what(name);
  what.append(": found ").append(found.raw).append(", expected ").append(expected);
  throw Error(EPHOR_INVALID, what, "/" + std::string(name));
}

}  // namespace detail

inline std::string JsonValue::text_of(std::string_view name, std::string_view fallback) const {
  const JsonValue* found = find(name);
  if (found == nullptr) return std::string(fallback);
  if (!found->is_string()) detail::refuse_member(name, *found, "a text");
  return found->text;
}
inline double JsonValue::number_of(std::string_view name, double fallback) const {
  const JsonValue* found = find(name);
  if (found == nullptr) return fallback;
  if (const auto value = found->number()) return *value;
  detail::refuse_member(name, *found, "a number");
}
inline std::int64_t JsonValue::integer_of(std::string_view name, std::int64_t fallback) const {
  const JsonValue* found = find(name);
  if (found == nullptr) return fallback;
  if (const auto value = found->integer()) return *value;
  detail::refuse_member(name, *found, "an integer of 64 bits");
}
inline bool JsonValue::boolean_of(std::string_view name, bool fallback) const {
  const JsonValue* found = find(name);
  if (found == nullptr) return fallback;
  if (const auto value = found->boolean()) return *value;
  detail::refuse_member(name, *found, "true or false");
}

inline std::string json_quoted(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[c & 0xF];
    } else {
      out += c;
    }
  }
  return out += '"';
}

namespace detail {

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  JsonValue whole() {
    JsonValue value = this->value(0);
    skip_blanks();
    if (at_ != text_.size()) fail("text behind the value");
    return value;
  }

 private:
  static constexpr int kDepthMax = 200;

  JsonValue value(int depth) {
    if (depth > kDepthMax) fail("more than 200 levels");
    skip_blanks();
    const std::size_t begin = at_;
    JsonValue out;
    switch (peek()) {
      case '{':
        object(out, depth);
        break;
      case '[':
        array(out, depth);
        break;
      case '"':
        out.kind = JsonValue::Kind::string;
        out.text = string();
        break;
      case 't':
        word("true", out, JsonValue::Kind::boolean);
        break;
      case 'f':
        word("false", out, JsonValue::Kind::boolean);
        break;
      case 'n':
        word("null", out, JsonValue::Kind::null);
        break;
      default:
        number(out);
    }
    out.raw = text_.substr(begin, at_ - begin);
    return out;
  }
  void object(JsonValue& out, int depth) {
    out.kind = JsonValue::Kind::object;
    ++at_;
    skip_blanks();
    if (take('}')) return;
    do {
      skip_blanks();
      if (peek() != '"') fail("no member name");
      JsonMember member{string(), {}};
      skip_blanks();
      if (!take(':')) fail("no ':' after a member name");
      member.value = value(depth + 1);
      out.members.push_back(std::move(member));
      skip_blanks();
    } while (take(','));
    if (!take('}')) fail("no '}'");
  }
  void array(JsonValue& out, int depth) {
    out.kind = JsonValue::Kind::array;
    ++at_;
    skip_blanks();
    if (take(']')) return;
    do {
      out.elements.push_back(value(depth + 1));
      skip_blanks();
    } while (take(','));
    if (!take(']')) fail("no ']'");
  }
  std::string string() {
    ++at_;
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      const char c = text_[at_++];
      if (static_cast<unsigned char>(c) < 0x20) fail("a control character in a string");
      if (c == '\\')
        escape(out);
      else
        out += c;
    }
    if (!take('"')) fail("a string without end");
    return out;
  }
  void escape(std::string& out) {
    const char c = peek();
    ++at_;
    switch (c) {
      case '"':
      case '\\':
      case '/':
        out += c;
        break;
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u':
        unicode(out);
        break;
      default:
        fail("an unknown escape");
    }
  }
  void unicode(std::string& out) {
    std::uint32_t code = hex4();
    if (code >= 0xD800 && code < 0xDC00) {
      if (!take('\\') || !take('u')) fail("half a surrogate pair");
      const std::uint32_t low = hex4();
      if (low < 0xDC00 || low > 0xDFFF) fail("half a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code < 0x80) {
      out += static_cast<char>(code);
      return;
    }
    const int tail_count = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    constexpr int kLead[] = {0, 0xC0, 0xE0, 0xF0};
    out += static_cast<char>(kLead[tail_count] | static_cast<int>(code >> (6 * tail_count)));
    for (int i = tail_count - 1; i >= 0; --i) {
      out += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F));
    }
  }
  std::uint32_t hex4() {
    std::uint32_t code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("no hexadecimal digit");
      code = code << 4 | static_cast<std::uint32_t>(digit);
    }
    return code;
  }
  void word(std::string_view expected, JsonValue& out, JsonValue::Kind kind) {
    if (text_.substr(at_, expected.size()) != expected) fail("an unknown word");
    at_ += expected.size();
    out.kind = kind;
  }
  void number(JsonValue& out) {
    out.kind = JsonValue::Kind::number;
    take('-');
    if (!take('0')) digits();
    if (take('.')) digits();
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      digits();
    }
  }
  void digits() {
    if (peek() < '0' || peek() > '9') fail("no digit");
    while (peek() >= '0' && peek() <= '9') ++at_;
  }
  void skip_blanks() {
    while (at_ < text_.size() &&
           std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) {
      ++at_;
    }
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  [[noreturn]] void fail(const std::string& found) const {
    throw Error(EPHOR_INVALID, "JSON, byte " + std::to_string(at_) + ": found " + found);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace detail

// `text` must outlive the value. Throws Error(EPHOR_INVALID) that names the byte.
inline JsonValue parse_json_value(std::string_view text) {
  return detail::JsonParser(text).whole();
}

}  // namespace ephor
