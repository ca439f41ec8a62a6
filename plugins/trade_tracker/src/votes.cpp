// SPDX-License-Identifier: Apache-2.0
#include "votes.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ephor/json.hpp>
#include <ephor/json_text.hpp>

#include "vocabulary.hpp"

namespace ephor::trade_tracker {
namespace {

constexpr std::size_t kMembersMax = 64;

void append_number(std::string& out, const std::optional<double>& number) {
  if (!number || !std::isfinite(*number)) {
    out += "null";
    return;
  }
  char text[32];
  out.append(text, std::to_chars(text, text + sizeof text, *number).ptr);
}

}  // namespace

std::string text_of(const LabelOrNumber& value) {
  if (!value.number) return std::string(value.label);
  char out[32];
  const auto [end, error] = std::to_chars(out, out + sizeof out, *value.number);
  return error == std::errc() ? std::string(out, end) : std::string();
}

int direction_of(std::string_view label) {
  if (label == "buy") return 1;  // the most frequent words first
  if (label == "sell") return -1;
  if (label == "hold") return 0;
  const std::string side = normalise_side(label);
  if (side == "buy" || side == "up" || side == "bull" || side == "bullish") return 1;
  if (side == "sell" || side == "down" || side == "bear" || side == "bearish") return -1;
  return 0;
}

int direction_of(const LabelOrNumber& value) {
  if (value.number) return *value.number > 0.0 ? 1 : *value.number < 0.0 ? -1 : 0;
  return direction_of(value.label);
}

std::string members_json(std::span<const MemberPrediction> members,
                         std::span<const NamedNumber> weights) {
  std::string out;
  for (const MemberPrediction& member : members.first(std::min(members.size(), kMembersMax))) {
    if (member.model_id.empty()) continue;
    out += out.empty() ? "[[" : ",[";
    append_json_text(out, member.model_id);
    out += ',';
    if (member.prediction.number) {
      append_number(out, member.prediction.number);
    } else if (member.prediction.label.empty()) {
      out += "null";
    } else {
      append_json_text(out, member.prediction.label);
    }
    out += ',';
    append_number(out, member.confidence);
    out += ',';
    const auto weight = std::find_if(weights.begin(), weights.end(), [&](const NamedNumber& named) {
      return named.name == member.model_id;
    });
    append_number(out, weight == weights.end() ? std::nullopt : std::optional(weight->value));
    out += ']';
  }
  if (!out.empty()) out += ']';
  return out;
}

std::string votes_of_members(const std::string& members_json) {
  std::string out;
  const Json members = json_or_null(members_json);
  if (!members.is_array()) return out;
  for (const Json& member : members) {
    if (!member.is_array() || member.size() < 2 || !member[0].is_string()) continue;
    const Json& prediction = member[1];
    if (prediction.is_null()) continue;
    LabelOrNumber value;
    if (prediction.is_number()) value.number = prediction.get<double>();
    if (prediction.is_string()) value.label = prediction.get_ref<const std::string&>();
    if (!out.empty()) out += '\n';
    const int direction = direction_of(value);
    out += direction > 0 ? '+' : direction < 0 ? '-' : '0';
    out += member[0].get_ref<const std::string&>();
  }
  return out;
}

int vote_of(std::string_view votes, std::string_view model_id) {
  int found = 2;
  for_each_vote(votes, [&](std::string_view model, int direction) {
    if (model == model_id) found = direction;
  });
  return found;
}

}  // namespace ephor::trade_tracker
