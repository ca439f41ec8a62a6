// SPDX-License-Identifier: Apache-2.0
//
// Windows of event time in which matching alerts are not sent. An alert is not hidden by one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/json.hpp>
#include <ephor/state.hpp>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "alert.hpp"

namespace ephor::alerter {

struct Silence {
  std::string silence_id;
  // Of an alert: alert_id, kind, target, target_kind, severity, source. '*' is any text.
  std::map<std::string, std::string> match;
  std::int64_t from_ns = 0;
  std::int64_t until_ns = 0;  // exclusive
  std::string comment;
  std::string by;

  bool matches(const Alert& alert) const;
  bool covers(std::int64_t time_ns) const { return time_ns >= from_ns && time_ns < until_ns; }
};

// Throws ephor::Error unless it is an object of at least one known name and a text.
std::map<std::string, std::string> match_from(const Json& json);

// `pattern` may hold '*'. O(pattern * text) at worst.
bool is_like(std::string_view pattern, std::string_view text);

class Silences {
 public:
  explicit Silences(std::size_t most) : most_(most) {}

  // Beyond the bound the one that ends first makes room.
  void add(Silence silence);
  // Ends it at `time_ns`, however the two commands come. False if it is not known.
  bool end(std::string_view silence_id, std::int64_t time_ns);
  const Silence* find(std::string_view silence_id) const;
  // The first that matches and covers the time; null if none does.
  const Silence* find_for(const Alert& alert, std::int64_t time_ns) const;
  const std::vector<Silence>& all() const { return silences_; }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  std::size_t most_;
  std::vector<Silence> silences_;  // in order of id
};

Json silence_json(const Silence& silence, std::int64_t now_ns);

}  // namespace ephor::alerter
