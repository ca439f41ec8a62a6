// SPDX-License-Identifier: Apache-2.0
#include "error_groups.hpp"

#include <algorithm>
#include <ephor/text_hash.hpp>
#include <iterator>

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

constexpr std::size_t kFrameBytesMax = 200;

std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// "/srv/app/prices.py:12:7" -> "prices.py"
std::string file_name(std::string_view path) {
  for (std::size_t colon = path.rfind(':'); colon != std::string_view::npos;
       colon = path.rfind(':')) {
    const std::string_view rest = path.substr(colon + 1);
    if (rest.empty() || rest.find_first_not_of("0123456789") != std::string_view::npos) break;
    path = path.substr(0, colon);
  }
  const std::size_t slash = path.find_last_of("/\\");
  return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

std::string frame(std::string_view function, const std::string& file) {
  std::string out(trimmed(function));
  if (!file.empty()) out += out.empty() ? file : " (" + file + ")";
  return out;
}

// Python tells the latest call last:  File "/srv/prices.py", line 12, in load
std::string python_frame(std::string_view line) {
  constexpr std::string_view kFile = "File \"";
  constexpr std::string_view kIn = ", in ";
  if (line.substr(0, kFile.size()) != kFile) return {};
  line.remove_prefix(kFile.size());
  const std::size_t quote = line.find('"');
  const std::size_t in = line.rfind(kIn);
  if (quote == std::string_view::npos) return {};
  const std::string_view function =
      in == std::string_view::npos ? std::string_view() : line.substr(in + kIn.size());
  return frame(function, file_name(line.substr(0, quote)));
}

// at com.shop.Cart.add(Cart.java:31) | at load (/srv/prices.js:12:7) | at /srv/prices.js:12:7
// | at Shop.Cart.Add(Int32 n) in C:\\Cart.cs:line 31
std::string at_frame(std::string_view line) {
  constexpr std::string_view kAt = "at ";
  if (line.substr(0, kAt.size()) != kAt) return {};
  line.remove_prefix(kAt.size());
  const std::size_t in = line.find(") in ");
  if (in != std::string_view::npos) {
    std::string_view file = line.substr(in + 5);
    file = file.substr(0, file.rfind(":line "));
    return frame(line.substr(0, line.find('(')), file_name(file));
  }
  const std::size_t open = line.rfind('(');
  if (open == std::string_view::npos || line.back() != ')') return frame({}, file_name(line));
  return frame(line.substr(0, open), file_name(line.substr(open + 1, line.size() - open - 2)));
}

// prices.rb:12:in `load'
std::string ruby_frame(std::string_view line) {
  const std::size_t in = line.find(":in ");
  if (in == std::string_view::npos) return {};
  std::string_view function = line.substr(in + 4);
  while (!function.empty() && (function.front() == '`' || function.front() == '\'')) {
    function.remove_prefix(1);
  }
  while (!function.empty() && function.back() == '\'') function.remove_suffix(1);
  return frame(function, file_name(line.substr(0, in)));
}

// main.load(0xc000012345, 0x1)
//         /srv/prices.go:12 +0x1d
std::string go_frame(std::string_view line, std::string_view before) {
  const std::size_t end = line.find(".go:");
  if (end == std::string_view::npos || before.empty() || before.back() != ')') return {};
  return frame(before.substr(0, before.rfind('(')), file_name(line.substr(0, end + 3)));
}

// The counts of the latest kHoursMax hours, sorted.
void count_hour(std::vector<std::pair<std::int64_t, std::uint64_t>>& hours, std::int64_t time_ns) {
  const std::int64_t number = time_ns / ErrorGroups::kHourNs;
  auto at = hours.end();
  while (at != hours.begin() && std::prev(at)->first >= number) --at;
  if (at == hours.end() || at->first != number) at = hours.insert(at, {number, 0});
  ++at->second;
  const std::int64_t oldest =
      hours.back().first - static_cast<std::int64_t>(ErrorGroups::kHoursMax) + 1;
  std::erase_if(hours, [&](const auto& hour) { return hour.first < oldest; });
}

}  // namespace

std::string top_frame(std::string_view stacktrace) {
  std::string python;
  std::string_view before;
  while (!stacktrace.empty()) {
    const std::size_t end = std::min(stacktrace.find('\n'), stacktrace.size());
    const std::string_view line = trimmed(stacktrace.substr(0, end));
    stacktrace.remove_prefix(std::min(end + 1, stacktrace.size()));
    if (std::string found = python_frame(line); !found.empty()) {
      python = std::move(found);
    } else if (python.empty()) {
      std::string first = at_frame(line);
      if (first.empty()) first = go_frame(line, before);
      if (first.empty()) first = ruby_frame(line);
      if (!first.empty()) return std::string(cut_text(first, kFrameBytesMax));
    }
    before = line;
  }
  return std::string(cut_text(python, kFrameBytesMax));
}

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

std::uint64_t ErrorGroup::count_since(std::int64_t hour) const {
  std::uint64_t sum = 0;
  for (const auto& [number, hits] : hours) sum += number >= hour ? hits : 0;
  return sum;
}

std::uint64_t ErrorGroups::add(const ErrorFacts& facts) {
  ++total_;
  std::string pattern = normalise_message(facts.message);
  std::string key;
  key.append(facts.component).append("\n").append(facts.operation).append("\n").append(pattern);
  if (!facts.type.empty() || !facts.location.empty()) {
    key.append("\n").append(facts.type).append("\n").append(facts.location);
  }
  const std::uint64_t fingerprint = hash64(key);
  const std::int64_t time_ns = facts.time_ns;
  const std::string_view trace_id = facts.trace_id;
  auto found = groups_.find(fingerprint);
  if (found == groups_.end()) {
    if (groups_.size() >= groups_max_) {
      ++ungrouped_;
      return fingerprint;
    }
    ErrorGroup fresh;
    fresh.component = facts.component;
    fresh.operation = facts.operation;
    fresh.type = cut_text(facts.type, kMessageBytesMax);
    fresh.pattern = std::move(pattern);
    fresh.location = facts.location;
    fresh.first_seen_ns = fresh.last_seen_ns = time_ns;
    found = groups_.emplace(fingerprint, std::move(fresh)).first;
  }
  ErrorGroup& group = found->second;
  ++group.count;
  if (time_ns - group.last_seen_ns > gone_ns_) {
    ++group.regressions;
    group.regressed_ns = time_ns;
    group.absence_ns = time_ns - group.last_seen_ns;
  }
  count_hour(group.hours, time_ns);
  group.first_seen_ns = std::min(group.first_seen_ns, time_ns);
  group.last_seen_ns = std::max(group.last_seen_ns, time_ns);
  const std::string_view sample = cut_text(facts.message, kMessageBytesMax);
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
    out.text(group.type).text(group.location).varint(group.regressions);
    out.i64(group.regressed_ns).i64(group.absence_ns).varint(group.hours.size());
    for (const auto& [number, count] : group.hours) out.signed_varint(number).varint(count);
  }
}

void ErrorGroups::read(StateReader& in) {
  total_ = in.varint();
  ungrouped_ = in.varint();
  for (std::size_t left = in.count(48); left > 0; --left) {
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
    group.type = in.text();
    group.location = in.text();
    group.regressions = in.varint();
    group.regressed_ns = in.i64();
    group.absence_ns = in.i64();
    for (std::size_t hours = in.count(2); hours > 0; --hours) {
      const std::int64_t number = in.signed_varint();
      group.hours.emplace_back(number, in.varint());
    }
  }
}

}  // namespace ephor::tracer
