// SPDX-License-Identifier: Apache-2.0
#include "store/sql_text.hpp"

#include <ephor/abi.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <utility>

#include "event/error.hpp"

namespace ephor::host {
namespace {

[[noreturn]] void fail(const std::string& found, const std::string& expected) {
  throw HostError(EPHOR_INVALID, "storage: select: found " + found + ", expected " + expected);
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

class SelectScanner {
 public:
  SelectScanner(std::string_view sql, bool named) : sql_(sql), named_(named) {}

  SelectText scan() {
    while (at_ < sql_.size()) step();
    while (!out_.sql.empty() && is_space(out_.sql.back())) out_.sql.pop_back();
    out_.sql.erase(0, out_.sql.find_first_not_of(" \t\r\n\f"));
    require_select();
    return std::move(out_);
  }

 private:
  char peek(std::size_t ahead = 1) const {
    return at_ + ahead < sql_.size() ? sql_[at_ + ahead] : '\0';
  }

  void step() {
    const char c = sql_[at_];
    if (c == '\0') fail("a NUL byte", "text");
    if (c == '-' && peek() == '-') return skip_line();
    if (c == '/' && peek() == '*') return skip_comment();
    if (is_space(c)) return put(' ');
    if (ended_) fail("text after ';'", "one statement");
    switch (c) {
      case '\'':
        // SOCI's parser knows no backslash escapes.
        if (!out_.sql.empty() && (out_.sql.back() == 'E' || out_.sql.back() == 'e') &&
            (out_.sql.size() < 2 || !is_word(out_.sql[out_.sql.size() - 2]))) {
          fail("an E'...' literal", "a plain literal or a parameter");
        }
        return copy_quoted(c);
      case '"':
      case '`':
        return copy_quoted(c);
      case ';':
        ended_ = true;
        ++at_;
        return;
      case '?':
        ++out_.parameter_count;
        if (named_) {
          out_.sql += ":p" + std::to_string(out_.parameter_count);
          ++at_;
          return;
        }
        return put(c);
      case ':':
        if (peek() == ':') {
          put(c);
          return put(c);
        }
        fail("':'", "'?' for parameters, or '::' for a cast");
      case '$':
        fail("'$'", "'?' for parameters");
      default:
        return put(c);
    }
  }

  void put(char c) {
    out_.sql += c;
    ++at_;
  }

  void copy_quoted(char quote) {
    const std::size_t end = sql_.find(quote, at_ + 1);
    if (end == std::string_view::npos) fail("a literal that does not end", "a closing quote");
    const std::string_view literal = sql_.substr(at_, end + 1 - at_);
    if (literal.find('\0') != std::string_view::npos) fail("a NUL byte", "text");
    out_.sql += literal;
    at_ = end + 1;
  }

  void skip_line() {
    at_ = std::min(sql_.find('\n', at_), sql_.size());
    out_.sql += ' ';
  }

  void skip_comment() {
    const std::size_t end = sql_.find("*/", at_ + 2);
    if (end == std::string_view::npos) fail("a comment that does not end", "*/");
    at_ = end + 2;
    out_.sql += ' ';
  }

  void require_select() const {
    std::string word;
    for (const char c : out_.sql) {
      if (!is_word(c)) break;
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    if (word != "select" && word != "with") {
      fail(word.empty() ? "no statement" : "'" + word + "'", "one SELECT or WITH");
    }
  }

  std::string_view sql_;
  bool named_;
  std::size_t at_ = 0;
  bool ended_ = false;
  SelectText out_;
};

// Length of the valid sequence at `at`, 0 if there is none. RFC 3629: no overlong forms, no
// surrogates, nothing above U+10FFFF; here also no NUL.
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[at + i]); };
  const std::uint8_t lead = byte(0);
  if (lead == 0) return 0;
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xC2 && lead < 0xE0   ? 2
                             : (lead & 0xF0) == 0xE0       ? 3
                             : lead >= 0xF0 && lead < 0xF5 ? 4
                                                           : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;
  if (lead == 0xED && byte(1) >= 0xA0) return 0;
  if (lead == 0xF0 && byte(1) < 0x90) return 0;
  if (lead == 0xF4 && byte(1) >= 0x90) return 0;
  return length;
}

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

SelectText check_select(std::string_view sql, bool named) {
  return SelectScanner(sql, named).scan();
}

std::string quoted_name(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + "\"";
}

void make_strict_utf8(std::string& text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t length = sequence_length(text, at);
    if (length == 0) break;
    at += length;
  }
  if (at == text.size()) return;
  std::string strict = text.substr(0, at);
  while (at < text.size()) {
    const std::size_t length = sequence_length(text, at);
    if (length == 0) {
      strict += "\xEF\xBF\xBD";
      ++at;
    } else {
      strict.append(text, at, length);
      at += length;
    }
  }
  text = std::move(strict);
}

std::string bytes_of_hex(std::string_view hex) {
  std::string bytes;
  bytes.reserve(hex.size() / 2);
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    const int high = digit_of(hex[i]);
    const int low = digit_of(hex[i + 1]);
    if (high < 0 || low < 0) break;
    bytes += static_cast<char>(high * 16 + low);
  }
  return bytes;
}

}  // namespace ephor::host
