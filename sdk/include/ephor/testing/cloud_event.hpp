// SPDX-License-Identifier: Apache-2.0
//
// CloudEvents for tests: writing one line, and reading one into what an event descriptor holds.
#pragma once

#include <ephor/abi.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ephor/plugin.hpp>
#include <ephor/testing/json_value.hpp>
#include <optional>
#include <string>
#include <string_view>

#if __has_include(<xxhash.h>)
#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>
#define EPHOR_TESTING_HAS_XXHASH 1
#endif

namespace ephor::testing {

using TraceId = std::array<std::uint8_t, 16>;

// ephor_event.correlation of a correlation id: XXH3-64 as the host computes it or, where xxhash.h
// is not installed, FNV-1a; never 0 for a text that is not empty.
inline std::uint64_t correlation_hash(std::string_view text) {
  if (text.empty()) return 0;
#ifdef EPHOR_TESTING_HAS_XXHASH
  const std::uint64_t hash = XXH3_64bits(text.data(), text.size());
#else
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
#endif
  return hash == 0 ? 1 : hash;
}

// 2017-11-07T06:29:00.072608193Z; the fraction has 9 digits or is left out.
inline std::string rfc3339(std::int64_t time_ns) {
  using namespace std::chrono;
  const sys_time<nanoseconds> time{nanoseconds(time_ns)};
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(time - day);
  char text[48];
  const int size = std::snprintf(
      text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
      static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
      static_cast<int>(clock.seconds().count()));
  std::string out(text, static_cast<std::size_t>(size));
  if (const auto fraction = clock.subseconds().count(); fraction != 0) {
    std::snprintf(text, sizeof text, ".%09lld", static_cast<long long>(fraction));
    out += text;
  }
  return out + "Z";
}

struct ReadTime {
  std::int64_t time_ns = 0;
  bool is_naive = false;  // named no zone: read as UTC
};

// Empty if `text` is no RFC 3339 time (a missing zone and a blank for the T are let through).
inline std::optional<ReadTime> parse_rfc3339(std::string_view text) {
  const auto number = [&](std::size_t at, std::size_t count) -> int {
    int value = -1;
    if (at + count > text.size()) return -1;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + at + count, value);
    return error == std::errc() && end == text.data() + at + count ? value : -1;
  };
  if (text.size() < 19 || text[4] != '-' || text[7] != '-' || text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const int year = number(0, 4), month = number(5, 2), day = number(8, 2);
  const int hour = number(11, 2), minute = number(14, 2), second = number(17, 2);
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (year < 0 || month < 0 || day < 0 || !date.ok() || hour < 0 || hour > 23 || minute < 0 ||
      minute > 59 || second < 0 || second > 60) {
    return std::nullopt;
  }
  std::size_t at = 19;
  std::int64_t fraction_ns = 0;
  if (at < text.size() && text[at] == '.') {
    std::int64_t unit_ns = 100'000'000;
    for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, unit_ns /= 10) {
      fraction_ns += (text[at] - '0') * unit_ns;
    }
  }
  ReadTime out;
  std::int64_t offset_s = 0;
  const std::string_view zone = text.substr(at);
  if (zone.empty()) {
    out.is_naive = true;
  } else if (zone != "Z" && zone != "z") {
    const int zone_hour = number(at + 1, 2), zone_minute = number(at + 4, 2);
    if (zone.size() != 6 || zone[3] != ':' || zone_hour < 0 || zone_minute < 0) return std::nullopt;
    offset_s = (zone[0] == '-' ? -1 : 1) * (zone_hour * 3600LL + zone_minute * 60LL);
  }
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t seconds = days * 86'400 + hour * 3600 + minute * 60 + second - offset_s;
  out.time_ns = seconds * 1'000'000'000 + fraction_ns;
  return out;
}

inline std::string hex_of(const std::uint8_t (&trace_id)[16]) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  bool is_zero = true;
  for (const std::uint8_t byte : trace_id) {
    out += kHex[byte >> 4];
    out += kHex[byte & 0xF];
    is_zero = is_zero && byte == 0;
  }
  return is_zero ? std::string() : out;
}

// 32 hexadecimal digits; all zero for anything else.
inline TraceId trace_id_of(std::string_view hex) {
  TraceId out{};
  if (hex.size() != 32) return out;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const char* const begin = hex.data() + 2 * i;
    const auto [end, error] = std::from_chars(begin, begin + 2, out[i], 16);
    if (error != std::errc() || end != begin + 2) return {};
  }
  return out;
}

// One CloudEvents line. What is left empty is left out; `id` is then made from topic and time.
struct CloudEvent {
  std::string topic;
  std::string data_json = "{}";
  std::int64_t time_ns = 0;
  std::string source = "test";
  std::string id = {};
  std::string correlation_id = {};
  std::string trace_id = {};  // 32 hexadecimal digits

  std::string line() const {
    std::string out = R"({"specversion":"1.0","id":)";
    out += json_quoted(id.empty() ? topic + "-" + std::to_string(time_ns) : id);
    out += R"(,"type":)" + json_quoted(topic) + R"(,"source":)" + json_quoted(source);
    out += R"(,"time":")" + rfc3339(time_ns) + '"';
    if (!correlation_id.empty()) out += R"(,"correlationid":)" + json_quoted(correlation_id);
    if (!trace_id.empty()) out += R"(,"traceparent":"00-)" + trace_id + R"(-00000000000000aa-01")";
    return out + R"(,"data":)" + data_json + "}";
  }
};

// What an event descriptor says about a record.
struct EnvelopeView {
  std::string id;
  std::string topic;
  std::string source;
  std::string correlation_id;
  TraceId trace_id{};
  std::optional<ReadTime> time;
  std::size_t data_offset = 0;  // = the record's length if it has no data
};

// Throws Error(EPHOR_INVALID) if `record` is no CloudEvents 1.0 object.
inline EnvelopeView read_envelope(std::string_view record) {
  const JsonValue object = parse_json_value(record);
  if (!object.is_object()) throw Error(EPHOR_INVALID, "record: expected a JSON object");
  EnvelopeView out;
  for (const std::string_view name : {"specversion", "id", "source", "type"}) {
    if (object.text_of(name).empty()) {
      throw Error(EPHOR_INVALID, "record: no text member " + std::string(name),
                  "/" + std::string(name));
    }
  }
  out.id = object.text_of("id");
  out.topic = object.text_of("type");
  out.source = object.text_of("source");
  out.correlation_id = object.text_of("correlationid");
  if (object.find("time") != nullptr) {
    out.time = parse_rfc3339(object.text_of("time"));
    if (!out.time) throw Error(EPHOR_INVALID, "record: time is not RFC 3339", "/time");
  }
  const JsonValue* data = object.find("data");
  out.data_offset =
      data == nullptr ? record.size() : static_cast<std::size_t>(data->raw.data() - record.data());
  const std::string_view traceparent = object.text_of("traceparent");
  if (traceparent.size() >= 35) {
    out.trace_id = trace_id_of(traceparent.substr(3, 32));
  } else if (data != nullptr && out.topic == "ephor.span") {
    out.trace_id = trace_id_of(data->text_of("trace_id"));
  }
  return out;
}

// A topic against a pattern: '*' stands for one token, a final '>' for one or more.
inline bool topic_matches(std::string_view pattern, std::string_view topic) {
  while (true) {
    if (pattern == ">") return !topic.empty();
    const std::size_t pattern_dot = pattern.find('.');
    const std::size_t topic_dot = topic.find('.');
    const std::string_view token = pattern.substr(0, pattern_dot);
    if (topic.empty() || (token != "*" && token != topic.substr(0, topic_dot))) return false;
    const bool is_last_token = pattern_dot == std::string_view::npos;
    const bool is_last_name = topic_dot == std::string_view::npos;
    if (is_last_token || is_last_name) return is_last_token && is_last_name;
    pattern.remove_prefix(pattern_dot + 1);
    topic.remove_prefix(topic_dot + 1);
  }
}

}  // namespace ephor::testing
