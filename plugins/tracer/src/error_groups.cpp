// SPDX-License-Identifier: Apache-2.0
#include "error_groups.hpp"

#include <algorithm>
#include <ephor/text_hash.hpp>

#include "text.hpp"

namespace ephor::tracer {
namespace {

constexpr std::size_t kPatternBytesMax = 300;
constexpr std::size_t kHexIdLengthMin = 8;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_word(char c) { return is_digit(c) || is_letter(c); }

// Each of these gives the length of what starts at `at`, 0 if nothing of the kind does.

std::size_t quoted_at(std::string_view text, std::size_t at) {
  const char quote = text[at];
  if (quote != '"' && quote != '\'' && quote != '`') return 0;
  if (at > 0 && is_word(text[at - 1])) return 0;  // an apostrophe
  const std::size_t end = text.find(quote, at + 1);
  return end == std::string_view::npos ? 0 : end - at + 1;
}

std::size_t hex_id_at(std::string_view text, std::size_t at) {
  if (at > 0 && is_word(text[at - 1])) return 0;
  const bool has_prefix = text.substr(at, 2) == "0x" || text.substr(at, 2) == "0X";
  std::size_t end = at + (has_prefix ? 2 : 0);
  std::size_t digits = 0;
  std::size_t letters = 0;
  // A dash is part of it (UUID) when hex goes on behind it.
  for (; end < text.size(); ++end) {
    if (is_digit(text[end]))
      ++digits;
    else if (is_hex(text[end]))
      ++letters;
    else if (text[end] != '-' || end + 1 >= text.size() || !is_hex(text[end + 1]))
      break;
  }
  if (end < text.size() && is_word(text[end])) return 0;  // an ordinary word that starts like hex
  if (has_prefix) return digits + letters > 0 ? end - at : 0;
  const bool is_id = digits > 0 && letters > 0 && digits + letters >= kHexIdLengthMin;
  return is_id ? end - at : 0;
}

std::size_t number_at(std::string_view text, std::size_t at) {
  // Digits inside a word (ema20) belong to the word.
  if (at > 0 && is_word(text[at - 1])) return 0;
  std::size_t end = at;
  const bool is_signed = (text[end] == '-' || text[end] == '+') && (at == 0 || text[at - 1] != '_');
  if (is_signed) ++end;
  const std::size_t first = end;
  while (end < text.size() &&
         (is_digit(text[end]) || ((text[end] == '.' || text[end] == ',') && end > first &&
                                  end + 1 < text.size() && is_digit(text[end + 1])))) {
    ++end;
  }
  if (end == first) return 0;
  // An exponent.
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    std::size_t exponent = end + 1;
    if (exponent < text.size() && (text[exponent] == '-' || text[exponent] == '+')) ++exponent;
    std::size_t digits = exponent;
    while (digits < text.size() && is_digit(text[digits])) ++digits;
    if (digits > exponent) end = digits;
  }
  return end - at;
}

}  // namespace

std::string normalise_message(std::string_view message) {
  std::string out;
  for (std::size_t at = 0; at < message.size() && out.size() < kPatternBytesMax;) {
    if (const std::size_t size = quoted_at(message, at)) {
      out += "<text>";
      at += size;
    } else if (const std::size_t id_size = hex_id_at(message, at)) {
      out += "<id>";
      at += id_size;
    } else if (const std::size_t number_size = number_at(message, at)) {
      out += "<n>";
      at += number_size;
    } else if (static_cast<unsigned char>(message[at]) <= ' ') {
      if (!out.empty() && out.back() != ' ') out += ' ';
      ++at;
    } else {
      out += message[at++];
    }
  }
  out.resize(cut_text(out, kPatternBytesMax).size());
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

std::uint64_t ErrorGroups::add(std::string_view component, std::string_view operation,
                               std::string_view message, std::int64_t time_ns,
                               std::string_view trace_id) {
  ++total_;
  std::string pattern = normalise_message(message);
  std::string key;
  key.append(component).append("\n").append(operation).append("\n").append(pattern);
  const std::uint64_t fingerprint = hash64(key);
  auto found = groups_.find(fingerprint);
  if (found == groups_.end()) {
    if (groups_.size() >= groups_max_) {
      ++ungrouped_;
      return fingerprint;
    }
    ErrorGroup fresh;
    fresh.component = component;
    fresh.operation = operation;
    fresh.pattern = std::move(pattern);
    fresh.first_seen_ns = fresh.last_seen_ns = time_ns;
    found = groups_.emplace(fingerprint, std::move(fresh)).first;
  }
  ErrorGroup& group = found->second;
  ++group.count;
  group.first_seen_ns = std::min(group.first_seen_ns, time_ns);
  group.last_seen_ns = std::max(group.last_seen_ns, time_ns);
  const std::string_view sample = cut_text(message, kMessageBytesMax);
  if (group.messages.size() < kMessagesMax && !sample.empty() &&
      std::find(group.messages.begin(), group.messages.end(), sample) == group.messages.end()) {
    group.messages.emplace_back(sample);
  }
  if (trace_id.empty() || (!group.trace_ids.empty() && group.trace_ids.back() == trace_id)) {
    return fingerprint;
  }
  if (group.trace_ids.size() == kTracesMax) group.trace_ids.erase(group.trace_ids.begin());
  group.trace_ids.emplace_back(trace_id);
  return fingerprint;
}

void ErrorGroups::write(StateWriter& out) const {
  out.varint(total_).varint(ungrouped_).varint(groups_.size());
  for (const auto& [fingerprint, group] : groups_) {
    out.u64(fingerprint).text(group.component).text(group.operation).text(group.pattern);
    out.varint(group.count).i64(group.first_seen_ns).i64(group.last_seen_ns);
    out.varint(group.messages.size());
    for (const std::string& message : group.messages) out.text(message);
    out.varint(group.trace_ids.size());
    for (const std::string& id : group.trace_ids) out.text(id);
  }
}

void ErrorGroups::read(StateReader& in) {
  total_ = in.varint();
  ungrouped_ = in.varint();
  for (std::size_t left = in.count(30); left > 0; --left) {
    ErrorGroup& group = groups_[in.u64()];
    group.component = in.text();
    group.operation = in.text();
    group.pattern = in.text();
    group.count = in.varint();
    group.first_seen_ns = in.i64();
    group.last_seen_ns = in.i64();
    for (std::size_t messages = in.count(); messages > 0; --messages) {
      group.messages.push_back(in.text());
    }
    for (std::size_t ids = in.count(); ids > 0; --ids) group.trace_ids.push_back(in.text());
  }
}

}  // namespace ephor::tracer
