// SPDX-License-Identifier: Apache-2.0
//
// The headers traceparent and tracestate: W3C trace context, level 2 (w3.org/TR/trace-context-2),
// strict. Nothing here throws on bad input; what is not valid is not there. C++17, standard library
// only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ephor/trace_ids.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ephor::propagation {

// Optional white space of HTTP: blanks and tabs.
inline std::string_view trim_blanks(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

constexpr std::uint8_t kSampled = 0x01;   // the caller may have recorded its span
constexpr std::uint8_t kRandomId = 0x02;  // the last 56 bits of the trace id are random

struct Traceparent {
  TraceId trace_id;
  SpanId parent_id;        // the caller's span
  std::uint8_t flags = 0;  // kSampled, kRandomId; all other bits are dropped

  bool is_sampled() const { return (flags & kSampled) != 0; }
  bool has_random_id() const { return (flags & kRandomId) != 0; }

  // The value of one header. Blanks around it are allowed, upper-case digits are not; version ff
  // and ids of zeros are refused; version 00 must end after its flags, higher ones may go on after
  // a '-'.
  static std::optional<Traceparent> parse(std::string_view header) {
    constexpr std::size_t kSize = 55;  // 2-32-16-2 digits and three dashes
    header = trim_blanks(header);
    if (header.size() < kSize || header[2] != '-' || header[35] != '-' || header[52] != '-') {
      return std::nullopt;
    }
    const std::optional<std::uint8_t> version = byte_of(header.substr(0, 2));
    const std::optional<TraceId> trace_id = TraceId::parse(header.substr(3, 32));
    const std::optional<SpanId> parent_id = SpanId::parse(header.substr(36, 16));
    const std::optional<std::uint8_t> flags = byte_of(header.substr(53, 2));
    if (!version || *version == 0xFF || !trace_id || !parent_id || !flags) return std::nullopt;
    if (header.size() > kSize && (*version == 0 || header[kSize] != '-')) return std::nullopt;
    return Traceparent{*trace_id, *parent_id,
                       static_cast<std::uint8_t>(*flags & (kSampled | kRandomId))};
  }
  // All values of the header in one request: exactly one may be there.
  static std::optional<Traceparent> parse(const std::vector<std::string>& headers) {
    return headers.size() == 1 ? parse(std::string_view(headers.front())) : std::nullopt;
  }

  // Always version 00.
  std::string header() const {
    std::string out;
    out.reserve(55);
    out += "00-";
    trace_id.append_hex(out);
    out += '-';
    parent_id.append_hex(out);
    out += '-';
    append_byte(out, flags);
    return out;
  }

  friend bool operator==(const Traceparent& one, const Traceparent& other) {
    return one.trace_id == other.trace_id && one.parent_id == other.parent_id &&
           one.flags == other.flags;
  }
  friend bool operator!=(const Traceparent& one, const Traceparent& other) {
    return !(one == other);
  }

 private:
  static std::optional<std::uint8_t> byte_of(std::string_view digits) {
    const int high = detail::hex_digit(digits[0]);
    const int low = detail::hex_digit(digits[1]);
    if (high < 0 || low < 0) return std::nullopt;
    return static_cast<std::uint8_t>(high << 4 | low);
  }
  static void append_byte(std::string& out, std::uint8_t byte) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    out += kDigits[byte >> 4U];
    out += kDigits[byte & 15U];
  }
};

// What each tracing system of a trace wants carried on: at most 32 members, the newest first, each
// key once.
class Tracestate {
 public:
  using Member = std::pair<std::string, std::string>;
  static constexpr std::size_t kMembersMax = 32;
  static constexpr std::size_t kTextMax = 256;  // of a key, and of a value

  // All values of the header in the order of the request: they are one list. Empty members are
  // skipped; of a key that comes twice the first counts. One member that is not valid, or more than
  // 32, empties the whole: a list of which a part is missing would tell its systems something
  // wrong.
  static Tracestate parse(const std::vector<std::string>& headers) {
    Tracestate state;
    std::size_t count = 0;
    for (const std::string_view header : headers) {
      for (std::size_t begin = 0; begin <= header.size();) {
        const std::size_t end = std::min(header.find(',', begin), header.size());
        const std::string_view member = trim_blanks(header.substr(begin, end - begin));
        begin = end + 1;
        if (member.empty()) continue;
        const std::size_t equals = member.find('=');
        if (equals == std::string_view::npos || ++count > kMembersMax) return {};
        const std::string_view key = member.substr(0, equals);
        const std::string_view value = member.substr(equals + 1);
        if (!is_key(key) || !is_value(value)) return {};
        if (state.get(key) == nullptr) state.members_.emplace_back(key, value);
      }
    }
    return state;
  }

  static bool is_key(std::string_view key) {
    if (key.empty() || key.size() > kTextMax || !is_letter_or_digit(key.front())) return false;
    for (const char c : key) {
      const bool is_mark = c == '_' || c == '-' || c == '*' || c == '/' || c == '@';
      if (!is_letter_or_digit(c) && !is_mark) return false;
    }
    return true;
  }
  // Printable ASCII without ',' and '=', not ending in a blank.
  static bool is_value(std::string_view value) {
    if (value.empty() || value.size() > kTextMax || value.back() == ' ') return false;
    for (const char c : value) {
      if (c < ' ' || c > '~' || c == ',' || c == '=') return false;
    }
    return true;
  }

  const std::vector<Member>& members() const { return members_; }
  bool empty() const { return members_.empty(); }
  // Null if the key is not there. Until the next change.
  const std::string* get(std::string_view key) const {
    for (const Member& member : members_) {
      if (member.first == key) return &member.second;
    }
    return nullptr;
  }
  // Adds or changes a member, which moves to the front; the last one gives way to a 33rd. False,
  // and nothing happens, if key or value is not valid.
  bool set(std::string_view key, std::string_view value) {
    if (!is_key(key) || !is_value(value)) return false;
    Member member(key, value);  // before the erasure, which may end what the views look at
    erase(member.first);
    if (members_.size() == kMembersMax) members_.pop_back();
    members_.insert(members_.begin(), std::move(member));
    return true;
  }
  void erase(const std::string& key) {
    members_.erase(std::remove_if(members_.begin(), members_.end(),
                                  [&](const Member& member) { return member.first == key; }),
                   members_.end());
  }
  std::string header() const {
    std::string out;
    for (const Member& member : members_) {
      if (!out.empty()) out += ',';
      out.append(member.first).append(1, '=').append(member.second);
    }
    return out;
  }

  friend bool operator==(const Tracestate& one, const Tracestate& other) {
    return one.members_ == other.members_;
  }
  friend bool operator!=(const Tracestate& one, const Tracestate& other) { return !(one == other); }

 private:
  static bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  }

  std::vector<Member> members_;
};

}  // namespace ephor::propagation
