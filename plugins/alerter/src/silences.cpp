// SPDX-License-Identifier: Apache-2.0
#include "silences.hpp"

#include <algorithm>
#include <array>
#include <ephor/times.hpp>
#include <utility>

namespace ephor::alerter {
namespace {

constexpr std::array<std::string_view, 6> kFields{"alert_id",    "kind",     "target",
                                                  "target_kind", "severity", "source"};

std::string_view field_of(const Alert& alert, std::string_view name) {
  if (name == "alert_id") return alert.alert_id;
  if (name == "kind") return alert.kind;
  if (name == "target") return alert.target;
  if (name == "target_kind") return alert.target_kind;
  if (name == "severity") return name_of(alert.severity);
  return alert.source;
}

}  // namespace

bool is_like(std::string_view pattern, std::string_view text) {
  std::size_t at = 0;
  std::size_t in_text = 0;
  std::size_t star = std::string_view::npos;
  std::size_t star_text = 0;
  while (in_text < text.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      star_text = in_text;
    } else if (at < pattern.size() && pattern[at] == text[in_text]) {
      ++at;
      ++in_text;
    } else if (star != std::string_view::npos) {
      at = star + 1;
      in_text = ++star_text;
    } else {
      return false;
    }
  }
  while (at < pattern.size() && pattern[at] == '*') ++at;
  return at == pattern.size();
}

std::map<std::string, std::string> match_from(const Json& json) {
  const auto fail = [](const std::string& found) -> Error {
    return {EPHOR_INVALID,
            "match: found " + found +
                ", expected an object with one or more of alert_id, kind, target, target_kind, "
                "severity, source",
            "/match"};
  };
  if (!json.is_object() || json.empty()) throw fail(dump(json));
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : json.items()) {
    if (std::find(kFields.begin(), kFields.end(), name) == kFields.end()) throw fail(name);
    if (!value.is_string()) throw fail(dump(value));
    out[name] = value.get<std::string>();
  }
  return out;
}

bool Silence::matches(const Alert& alert) const {
  return std::all_of(match.begin(), match.end(), [&](const auto& wanted) {
    return is_like(wanted.second, field_of(alert, wanted.first));
  });
}

void Silences::add(Silence silence) {
  if (find(silence.silence_id) != nullptr) return;
  const auto at = std::lower_bound(
      silences_.begin(), silences_.end(), silence.silence_id,
      [](const Silence& one, const std::string& id) { return one.silence_id < id; });
  silences_.insert(at, std::move(silence));
  if (silences_.size() <= most_) return;
  silences_.erase(
      std::min_element(silences_.begin(), silences_.end(),
                       [](const Silence& a, const Silence& b) { return a.until_ns < b.until_ns; }));
}

bool Silences::end(std::string_view silence_id, std::int64_t time_ns) {
  for (Silence& silence : silences_) {
    if (silence.silence_id != silence_id) continue;
    silence.until_ns = std::min(silence.until_ns, time_ns);
    return true;
  }
  return false;
}

const Silence* Silences::find(std::string_view silence_id) const {
  const auto found = std::find_if(silences_.begin(), silences_.end(),
                                  [&](const Silence& one) { return one.silence_id == silence_id; });
  return found == silences_.end() ? nullptr : &*found;
}

const Silence* Silences::find_for(const Alert& alert, std::int64_t time_ns) const {
  const auto found = std::find_if(silences_.begin(), silences_.end(), [&](const Silence& one) {
    return one.covers(time_ns) && one.matches(alert);
  });
  return found == silences_.end() ? nullptr : &*found;
}

void Silences::write(StateWriter& out) const {
  out.varint(silences_.size());
  for (const Silence& one : silences_) {
    out.text(one.silence_id).i64(one.from_ns).i64(one.until_ns).text(one.comment).text(one.by);
    out.varint(one.match.size());
    for (const auto& [name, value] : one.match) out.text(name).text(value);
  }
}

void Silences::read(StateReader& in) {
  for (std::size_t left = in.count(20); left > 0; --left) {
    Silence one;
    one.silence_id = in.text();
    one.from_ns = in.i64();
    one.until_ns = in.i64();
    one.comment = in.text();
    one.by = in.text();
    for (std::size_t fields = in.count(2); fields > 0; --fields) {
      std::string name = in.text();
      one.match[std::move(name)] = in.text();
    }
    silences_.push_back(std::move(one));
  }
}

Json silence_json(const Silence& silence, std::int64_t now_ns) {
  return {{"silence_id", silence.silence_id},     {"match", silence.match},
          {"from", format_time(silence.from_ns)}, {"until", format_time(silence.until_ns)},
          {"active", silence.covers(now_ns)},     {"comment", text_or_null(silence.comment)},
          {"by", text_or_null(silence.by)}};
}

}  // namespace ephor::alerter
