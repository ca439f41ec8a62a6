// SPDX-License-Identifier: Apache-2.0
//
// The header baggage: names and values that travel with a request (w3.org/TR/baggage). C++17,
// standard library only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/trace_context.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::propagation {

// A bounded map in the order of the header. Values are any UTF-8 text; they travel percent-encoded.
class Baggage {
 public:
  struct Entry {
    std::string key;
    std::string value;
    std::string properties;  // "name;name=value" as it came, without its first ';'

    friend bool operator==(const Entry& one, const Entry& other) {
      return one.key == other.key && one.value == other.value && one.properties == other.properties;
    }
  };
  static constexpr std::size_t kEntriesMax = 64;
  static constexpr std::size_t kBytesMax = 8192;  // of the header

  // All values of the header, in order, are one list. A member that is not valid is left out alone;
  // of a key that comes twice the last counts, in the place of the first. What goes beyond the
  // limits is dropped from the end. Encoded bytes that are no UTF-8 become U+FFFD.
  static Baggage parse(const std::vector<std::string>& headers) {
    Baggage baggage;
    for (const std::string_view header : headers) {
      for (std::size_t begin = 0; begin <= header.size();) {
        const std::size_t end = std::min(header.find(',', begin), header.size());
        const std::optional<Entry> entry = parse_member(header.substr(begin, end - begin));
        begin = end + 1;
        if (entry) baggage.put(*entry);
      }
    }
    return baggage;
  }

  // A token of HTTP.
  static bool is_key(std::string_view key) {
    constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
    if (key.empty()) return false;
    for (const char c : key) {
      const char small = detail::lower(c);
      const bool is_plain = (small >= 'a' && small <= 'z') || (c >= '0' && c <= '9');
      if (!is_plain && kMarks.find(c) == std::string_view::npos) return false;
    }
    return true;
  }

  const std::vector<Entry>& entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }
  // Null if the key is not there. Until the next change.
  const std::string* get(std::string_view key) const {
    for (const Entry& entry : entries_) {
      if (entry.key == key) return &entry.value;
    }
    return nullptr;
  }
  // False, and nothing happens, if the key is no token, the value no UTF-8, or a limit is reached.
  bool set(std::string_view key, std::string_view value) {
    if (!is_key(key) || valid_utf8(value) != value) return false;
    return put({std::string(key), std::string(value), ""});
  }
  void erase(std::string_view key) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].key != key) continue;
      bytes_ -= size_of(entries_[i]);
      entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(i));
      return;
    }
  }
  std::string header() const {
    std::string out;
    for (const Entry& entry : entries_) {
      if (!out.empty()) out += ',';
      out.append(entry.key).append(1, '=');
      append_encoded(out, entry.value);
      if (!entry.properties.empty()) out.append(1, ';').append(entry.properties);
    }
    return out;
  }

  friend bool operator==(const Baggage& one, const Baggage& other) {
    return one.entries_ == other.entries_;
  }
  friend bool operator!=(const Baggage& one, const Baggage& other) { return !(one == other); }

 private:
  // baggage-octet: printable ASCII without blank, quotes, comma, semicolon and backslash.
  static bool is_octet(char c) {
    return c > ' ' && c <= '~' && c != '"' && c != ',' && c != ';' && c != '\\';
  }
  static int hex_value(char c) { return detail::hex_digit(detail::lower(c)); }

  static std::optional<Entry> parse_member(std::string_view member) {
    const std::size_t semicolon = std::min(member.find(';'), member.size());
    const std::string_view pair = member.substr(0, semicolon);
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string_view key = trim_blanks(pair.substr(0, equals));
    const std::string_view value = trim_blanks(pair.substr(equals + 1));
    if (!is_key(key)) return std::nullopt;
    for (const char c : value) {
      if (!is_octet(c)) return std::nullopt;
    }
    std::string properties;
    if (semicolon < member.size()) properties = trim_blanks(member.substr(semicolon + 1));
    for (const char c : properties) {
      if (!is_octet(c) && c != ';' && c != ' ' && c != '\t') return std::nullopt;
    }
    return Entry{std::string(key), valid_utf8(decoded(value)), properties};
  }

  static std::string decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const bool is_escape = text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 &&
                             hex_value(text[i + 2]) >= 0;
      if (!is_escape) {
        out += text[i];
        continue;
      }
      out += static_cast<char>(hex_value(text[i + 1]) << 4 | hex_value(text[i + 2]));
      i += 2;
    }
    return out;
  }
  static void append_encoded(std::string& out, std::string_view value) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    for (const char c : value) {
      if (is_octet(c) && c != '%') {
        out += c;
        continue;
      }
      const auto byte = static_cast<std::uint8_t>(c);
      out += '%';
      out += kDigits[byte >> 4U];
      out += kDigits[byte & 15U];
    }
  }

  // How many bytes of `text` are one character of UTF-8 (RFC 3629), 0 if none.
  static std::size_t character_size(std::string_view text) {
    const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(text[at]); };
    const std::uint8_t lead = byte(0);
    if (lead < 0x80) return 1;
    const std::size_t size = lead >= 0xF0 ? 4U : lead >= 0xE0 ? 3U : 2U;
    if (lead < 0xC2 || lead > 0xF4 || text.size() < size) return 0;
    for (std::size_t i = 1; i < size; ++i) {
      if ((byte(i) & 0xC0U) != 0x80U) return 0;
    }
    const bool is_bad = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F) ||
                        (lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) > 0x8F);
    return is_bad ? 0 : size;
  }
  static std::string valid_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
      const std::size_t size = character_size(text);
      if (size == 0) {
        out += "\xEF\xBF\xBD";
      } else {
        out.append(text.substr(0, size));
      }
      text.remove_prefix(std::max<std::size_t>(size, 1));
    }
    return out;
  }

  // In the header, with a comma.
  static std::size_t size_of(const Entry& entry) {
    std::string value;
    append_encoded(value, entry.value);
    return entry.key.size() + value.size() + entry.properties.size() + 3;
  }
  bool put(Entry entry) {
    const std::size_t size = size_of(entry);
    for (Entry& known : entries_) {
      if (known.key != entry.key) continue;
      const std::size_t before = size_of(known);
      if (bytes_ - before + size > kBytesMax) return false;
      bytes_ = bytes_ - before + size;
      known = std::move(entry);
      return true;
    }
    if (entries_.size() == kEntriesMax || bytes_ + size > kBytesMax) return false;
    bytes_ += size;
    entries_.push_back(std::move(entry));
    return true;
  }

  std::vector<Entry> entries_;
  std::size_t bytes_ = 0;
};

}  // namespace ephor::propagation
