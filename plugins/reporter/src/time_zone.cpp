// SPDX-License-Identifier: Apache-2.0
#include "time_zone.hpp"

#include <algorithm>
#include <chrono>
#include <ephor/plugin.hpp>
#include <fstream>
#include <optional>
#include <sstream>

namespace ephor::reporter {
namespace {

constexpr std::int64_t kDayS = 86'400;
constexpr int kLastRuleYear = 2200;  // rules of the footer are written out until here

[[noreturn]] void fail(std::string_view zone, const std::string& what) {
  throw Error(EPHOR_INVALID, "timezone: found \"" + std::string(zone) + "\": " + what, "/timezone");
}

// Big-endian numbers of a TZif file.
class Bytes {
 public:
  Bytes(std::string_view zone, std::string_view bytes) : zone_(zone), bytes_(bytes) {}
  std::string_view take(std::size_t count) {
    if (count > bytes_.size()) fail(zone_, "its file ends too early");
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  std::int64_t number(std::size_t size) {
    std::uint64_t value = 0;
    for (const char byte : take(size)) value = value << 8 | static_cast<std::uint8_t>(byte);
    if (size == 4) return static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
    return static_cast<std::int64_t>(value);
  }
  std::size_t count() {
    const std::int64_t value = number(4);
    if (value < 0 || value > 1'000'000) fail(zone_, "its file holds an impossible count");
    return static_cast<std::size_t>(value);
  }
  std::string_view rest() const { return bytes_; }

 private:
  std::string_view zone_;
  std::string_view bytes_;
};

// One date rule of a POSIX TZ string: "M3.5.0/2", "J60", "59".
struct DateRule {
  char kind = 'M';
  int month = 0, week = 0, weekday = 0, day = 0;
  std::int64_t time_s = 7200;

  std::int64_t local_s(int year) const {
    using namespace std::chrono;
    const sys_days january(std::chrono::year(year) / 1 / 1);
    sys_days date = january;
    if (kind == 'M') {
      const auto which = std::chrono::weekday(static_cast<unsigned>(weekday));
      const auto in_month =
          std::chrono::year(year) / std::chrono::month(static_cast<unsigned>(month));
      date = week == 5 ? sys_days(in_month / which[last])
                       : sys_days(in_month / which[static_cast<unsigned>(week)]);
    } else {
      const bool skips_leap_day = kind == 'J' && std::chrono::year(year).is_leap() && day >= 60;
      date = january + days(kind == 'J' ? day - 1 + (skips_leap_day ? 1 : 0) : day);
    }
    return date.time_since_epoch().count() * kDayS + time_s;
  }
};

class PosixScanner {
 public:
  explicit PosixScanner(std::string_view text) : text_(text) {}
  bool at_end() const { return text_.empty(); }
  bool take(char c) {
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool name() {
    std::size_t size = 0;
    if (take('<')) {
      size = text_.find('>');
      if (size == std::string_view::npos) return false;
      text_.remove_prefix(size + 1);
      return true;
    }
    while (size < text_.size() && ((text_[size] | 0x20) >= 'a' && (text_[size] | 0x20) <= 'z')) {
      ++size;
    }
    text_.remove_prefix(size);
    return size >= 3;
  }
  std::optional<int> number() {
    if (text_.empty() || text_.front() < '0' || text_.front() > '9') return std::nullopt;
    int value = 0;
    while (!text_.empty() && text_.front() >= '0' && text_.front() <= '9' && value < 10'000) {
      value = value * 10 + (text_.front() - '0');
      text_.remove_prefix(1);
    }
    return value;
  }
  // [+-]hh[:mm[:ss]]
  std::optional<std::int64_t> time_s() {
    const bool is_negative = take('-');
    if (!is_negative) take('+');
    const auto hours = number();
    if (!hours) return std::nullopt;
    std::int64_t seconds = *hours * 3600;
    if (take(':')) seconds += number().value_or(0) * 60;
    if (take(':')) seconds += number().value_or(0);
    return is_negative ? -seconds : seconds;
  }
  std::optional<DateRule> date() {
    DateRule rule;
    if (take('M')) {
      rule.month = number().value_or(0);
      take('.');
      rule.week = number().value_or(0);
      take('.');
      rule.weekday = number().value_or(7);
      if (rule.month < 1 || rule.month > 12 || rule.week < 1 || rule.week > 5 || rule.weekday > 6)
        return std::nullopt;
    } else {
      rule.kind = take('J') ? 'J' : '0';
      const auto day = number();
      if (!day || *day > 366) return std::nullopt;
      rule.day = *day;
    }
    if (take('/')) rule.time_s = time_s().value_or(7200);
    return rule;
  }

 private:
  std::string_view text_;
};

std::optional<std::int32_t> fixed_offset(std::string_view name) {
  if (name == "UTC" || name == "Z" || name.empty()) return 0;
  if (name.size() != 6 || (name[0] != '+' && name[0] != '-') || name[3] != ':') return std::nullopt;
  PosixScanner scanner(name);
  const auto offset = scanner.time_s();
  if (!offset || !scanner.at_end()) return std::nullopt;
  return static_cast<std::int32_t>(*offset);
}

}  // namespace

TimeZone TimeZone::load(std::string_view name, const std::filesystem::path& database) {
  if (const auto offset = fixed_offset(name)) {
    TimeZone zone;
    zone.name_ = name.empty() || name == "Z" ? "UTC" : std::string(name);
    zone.first_offset_s_ = *offset;
    return zone;
  }
  const bool is_name = !name.empty() && name.size() < 64 && name.front() != '/' &&
                       name.find("..") == std::string_view::npos &&
                       std::all_of(name.begin(), name.end(), [](char c) {
                         return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+' ||
                                c == '/';
                       });
  if (!is_name) fail(name, "expected UTC, +hh:mm or a name such as Europe/Paris");
  std::ifstream in(database / std::string(name), std::ios::binary);
  std::ostringstream bytes;
  if (in) bytes << in.rdbuf();
  if (!in || bytes.str().empty()) {
    fail(name,
         "no such zone below " + database.string() + ", expected UTC, +hh:mm or one of its names");
  }
  return parse(name, bytes.str());
}

TimeZone TimeZone::parse(std::string_view name, std::string_view file) {
  TimeZone zone;
  zone.name_ = name;
  Bytes in(name, file);
  // The first block has 32-bit times; from version 2 on a second one with 64-bit times follows.
  for (const bool is_second : {false, true}) {
    if (in.take(4) != "TZif") fail(name, "its file is no TZif file");
    const char version = in.take(1)[0];
    in.take(15);
    const std::size_t is_ut = in.count(), is_std = in.count(), leaps = in.count();
    const std::size_t times = in.count(), types = in.count(), chars = in.count();
    const std::size_t time_size = is_second ? 8 : 4;
    if (types == 0) fail(name, "its file has no local time type");
    if (!is_second && version >= '2') {
      in.take(times * 5 + types * 6 + chars + leaps * 8 + is_std + is_ut);
      continue;
    }
    std::vector<std::int64_t> at;
    for (std::size_t i = 0; i < times; ++i) at.push_back(in.number(time_size));
    const std::string_view type_of = in.take(times);
    std::vector<std::int32_t> offsets;
    for (std::size_t i = 0; i < types; ++i) {
      offsets.push_back(static_cast<std::int32_t>(in.number(4)));
      in.take(2);
    }
    zone.first_offset_s_ = offsets[0];
    for (std::size_t i = 0; i < times; ++i) {
      const auto type = static_cast<std::uint8_t>(type_of[i]);
      if (type >= offsets.size()) fail(name, "its file names a type that it does not have");
      zone.transitions_.push_back({at[i], offsets[type]});
    }
    in.take(chars + leaps * (time_size + 4) + is_std + is_ut);
    const std::string_view footer = in.rest();
    if (is_second && footer.size() > 2 && footer.front() == '\n') {
      zone.extend(footer.substr(1, footer.find('\n', 1) - 1));
    }
    break;
  }
  return zone;
}

// Writes the rule for the years behind the last transition out as transitions.
void TimeZone::extend(std::string_view posix) {
  PosixScanner in(posix);
  if (!in.name()) return;
  const auto west_s = in.time_s();
  if (!west_s) return;
  const auto standard = static_cast<std::int32_t>(-*west_s);
  if (in.at_end()) {
    if (transitions_.empty()) first_offset_s_ = standard;
    return;
  }
  if (!in.name()) return;
  std::int32_t summer = standard + 3600;
  if (!in.take(',')) {
    const auto summer_west_s = in.time_s();
    if (!summer_west_s || !in.take(',')) return;
    summer = static_cast<std::int32_t>(-*summer_west_s);
  }
  const auto begin = in.date();
  if (!begin || !in.take(',')) return;
  const auto end = in.date();
  if (!end) return;
  const std::int64_t last_s = transitions_.empty() ? INT64_MIN : transitions_.back().utc_s;
  for (int year = 1970; year <= kLastRuleYear; ++year) {
    Transition to_summer{begin->local_s(year) - standard, summer};
    Transition to_standard{end->local_s(year) - summer, standard};
    if (to_standard.utc_s < to_summer.utc_s) std::swap(to_summer, to_standard);
    for (const Transition& one : {to_summer, to_standard}) {
      if (one.utc_s > last_s) transitions_.push_back(one);
    }
  }
}

std::int32_t TimeZone::offset_s(std::int64_t utc_s) const {
  const auto next = std::upper_bound(
      transitions_.begin(), transitions_.end(), utc_s,
      [](std::int64_t time_s, const Transition& one) { return time_s < one.utc_s; });
  return next == transitions_.begin() ? first_offset_s_ : std::prev(next)->offset_s;
}

std::int64_t TimeZone::to_utc(std::int64_t local_s) const {
  // No zone is further than 26 h from UTC: the stretch that holds that instant is the first that
  // can reach the local time.
  auto next = std::upper_bound(
      transitions_.begin(), transitions_.end(), local_s - 26 * 3600,
      [](std::int64_t time_s, const Transition& one) { return time_s < one.utc_s; });
  std::int64_t begin_s = INT64_MIN;
  std::int32_t offset = first_offset_s_;
  if (next != transitions_.begin()) {
    begin_s = std::prev(next)->utc_s;
    offset = std::prev(next)->offset_s;
  }
  for (;; ++next) {
    const std::int64_t utc_s = std::max(begin_s, local_s - offset);
    if (next == transitions_.end() || utc_s < next->utc_s) return utc_s;
    begin_s = next->utc_s;
    offset = next->offset_s;
  }
}

}  // namespace ephor::reporter
