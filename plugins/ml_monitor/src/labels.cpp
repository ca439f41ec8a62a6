// SPDX-License-Identifier: Apache-2.0
#include "labels.hpp"

#include <charconv>
#include <cmath>
#include <ephor/text_hash.hpp>

namespace ephor::ml_monitor {
namespace {

constexpr std::size_t kSpellingsMax = 4096;

std::string trimmed_lower(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::optional<double> as_number(std::string_view text) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Labels::Labels(const Config& config)
    : aliases_{{"long", "buy"},         {"enter_long", "buy"}, {"short", "sell"},
               {"enter_short", "sell"}, {"neutral", "hold"},   {"flat", "hold"}},
      score_dead_band_(config.score_dead_band) {
  for (const auto& [from, to] : config.aliases) {
    // One that leads to a built-in alias is resolved: "up": "long" means buy.
    const auto built_in = aliases_.find(trimmed_lower(to));
    aliases_[trimmed_lower(from)] =
        built_in == aliases_.end() ? trimmed_lower(to) : built_in->second;
  }
  for (const auto& [text, label] : config.numeric_outcome_labels) {
    const auto number = as_number(text);
    if (!number) {
      throw Error(EPHOR_INVALID,
                  "numeric_outcome_labels: found the key \"" + text + "\", expected a number",
                  "/numeric_outcome_labels/" + text);
    }
    number_names_.emplace_back(*number, canonical(label));
  }
  buy_ = intern("buy");
  sell_ = intern("sell");
  hold_ = intern("hold");
  for (const auto& [number, label] : number_names_) {
    number_labels_.emplace_back(number, intern(label));
  }
}

LabelId Labels::intern(std::string_view spelling) {
  const std::uint64_t hash = hash64(spelling);
  const std::uint32_t found =
      spelling_index_.find(hash, [&](std::uint32_t at) { return spellings_[at].text == spelling; });
  if (found != HashIndex::kNone) return spellings_[found].id;
  const LabelId id = intern_canonical(canonical(spelling));
  if (spellings_.size() < kSpellingsMax && spelling.size() <= kNameBytesMax) {
    spelling_index_.insert(hash, static_cast<std::uint32_t>(spellings_.size()));
    spellings_.push_back({std::string(spelling), id});
  }
  return id;
}

std::string Labels::canonical(std::string_view spelling) const {
  std::string text = trimmed_lower(spelling);
  if (const auto alias = aliases_.find(text); alias != aliases_.end()) return alias->second;
  if (const auto number = as_number(text)) {
    for (const auto& [key, label] : number_names_) {
      if (key == *number) return label;
    }
  }
  return text;
}

LabelId Labels::intern_canonical(std::string_view canonical) {
  const std::uint64_t hash = hash64(canonical);
  const std::uint32_t found =
      name_index_.find(hash, [&](std::uint32_t at) { return names_[at] == canonical; });
  if (found != HashIndex::kNone) return found;
  if (names_.size() >= kNamesMax || canonical.size() > kNameBytesMax) {
    return static_cast<LabelId>(hash >> 32) | kUnnamed;
  }
  const auto id = static_cast<LabelId>(names_.size());
  names_.emplace_back(canonical);
  name_index_.insert(hash, id);
  return id;
}

std::string_view Labels::name(LabelId id) const {
  return id < names_.size() ? std::string_view(names_[id]) : std::string_view("(other)");
}

std::optional<LabelId> Labels::of_number(double number) const {
  for (const auto& [key, label] : number_labels_) {
    if (key == number) return label;
  }
  return std::nullopt;
}

LabelId Labels::of_score(double score) const {
  if (std::abs(score) <= score_dead_band_) return hold_;
  return score > 0 ? buy_ : sell_;
}

std::optional<Labels::ClassPair> Labels::classes(const Value& predicted,
                                                 const Value& actual) const {
  using Kind = Value::Kind;
  if (predicted.kind == Kind::kLabel && actual.kind == Kind::kLabel) {
    return ClassPair{predicted.label, actual.label};
  }
  if (predicted.kind == Kind::kLabel && actual.kind == Kind::kNumber) {
    if (const auto label = of_number(actual.number)) return ClassPair{predicted.label, *label};
  }
  if (predicted.kind == Kind::kNumber && actual.kind == Kind::kLabel &&
      std::abs(predicted.number) <= 1.0) {
    return ClassPair{of_score(predicted.number), actual.label};
  }
  return std::nullopt;
}

void Labels::save(StateWriter& out) const {
  out.varint(names_.size());
  for (const std::string& name : names_) out.text(name);
}

// The names of the configuration come first on both sides; a changed configuration moves them, so
// what is saved decides the numbers and the rest is looked up anew.
void Labels::load(StateReader& in) {
  names_.clear();
  name_index_ = {};
  spellings_.clear();
  spelling_index_ = {};
  const std::size_t count = in.count();
  for (std::size_t i = 0; i < count; ++i) {
    if (intern_canonical(in.view()) != i) {
      throw Error(EPHOR_INVALID, "state: a class name twice, too long, or too many of them");
    }
  }
  buy_ = intern("buy");
  sell_ = intern("sell");
  hold_ = intern("hold");
  for (std::size_t i = 0; i < number_names_.size(); ++i) {
    number_labels_[i].second = intern(number_names_[i].second);
  }
}

}  // namespace ephor::ml_monitor
