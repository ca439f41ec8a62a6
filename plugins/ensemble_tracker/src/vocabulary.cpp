// SPDX-License-Identifier: Apache-2.0
#include "vocabulary.hpp"

#include <charconv>
#include <cmath>
#include <ephor/text_hash.hpp>

namespace ephor::ensemble_tracker {
namespace {

constexpr std::size_t kNameBytesMax = 200;
constexpr std::size_t kSpellingsMax = 1024;

std::string_view cut(std::string_view text) {
  if (text.size() <= kNameBytesMax) return text;
  std::size_t size = kNameBytesMax;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  return text.substr(0, size);
}

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

NameId Names::intern(std::string_view name) {
  if (name.empty()) return kNoName;
  name = cut(name);
  const std::uint64_t hash = hash64(name);
  const std::uint32_t found = index_.find(hash);
  if (found != FlatIndex::kNone) return names_[found] == name ? static_cast<NameId>(found) : 0;
  if (names_.size() > bound_) return 0;
  index_.set(hash, static_cast<std::uint32_t>(names_.size()));
  names_.emplace_back(name);
  return static_cast<NameId>(names_.size() - 1);
}

NameId Names::find(std::string_view name) const {
  name = cut(name);
  const std::uint32_t found = index_.find(hash64(name));
  return found != FlatIndex::kNone && names_[found] == name ? static_cast<NameId>(found) : kNoName;
}

void Names::write(StateWriter& out) const {
  out.varint(names_.size());
  for (const std::string& name : names_) out.text(name);
}

void Names::read(StateReader& in) {
  names_.clear();
  index_ = {};
  const std::size_t count = in.count();
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view name = in.view();
    index_.set(hash64(name), static_cast<std::uint32_t>(i));
    names_.emplace_back(name);
  }
  if (names_.empty() || names_.size() >= kNoName) throw Error(EPHOR_INVALID, "state: bad names");
}

Labels::Labels(std::size_t bound, const std::map<std::string, std::string>& aliases,
               const std::map<std::string, std::string>& numbers, const std::string& hold)
    : aliases_{{"long", "buy"},         {"enter_long", "buy"}, {"short", "sell"},
               {"enter_short", "sell"}, {"neutral", "hold"},   {"flat", "hold"}},
      hold_name_(hold),
      names_(bound) {
  for (const auto& [from, to] : aliases) aliases_[trimmed_lower(from)] = trimmed_lower(to);
  for (const auto& [text, label] : numbers) {
    const auto number = as_number(text);
    if (!number) {
      throw Error(EPHOR_INVALID,
                  "numeric_outcome_labels: found the key \"" + text + "\", expected a number",
                  "/numeric_outcome_labels/" + text);
    }
    number_names_.emplace_back(*number, label);
  }
  resolve();
}

void Labels::resolve() {
  buy_ = intern("buy");
  sell_ = intern("sell");
  hold_ = intern(hold_name_);
  number_labels_.clear();
  for (const auto& [number, label] : number_names_) {
    number_labels_.emplace_back(number, intern(label));
  }
}

void Labels::read(StateReader& in) {
  names_.read(in);
  spellings_ = {};
  spelling_texts_.clear();
  spelling_ids_.clear();
  resolve();
}

std::string Labels::canonical(std::string_view spelling) const {
  std::string text = trimmed_lower(spelling);
  const auto alias = aliases_.find(text);
  if (alias != aliases_.end()) return alias->second;
  if (const auto number = as_number(text)) {
    for (const auto& [key, label] : number_names_) {
      if (key == *number) return label;
    }
  }
  return text;
}

NameId Labels::intern(std::string_view spelling) {
  if (spelling.empty()) return kNoName;
  const std::uint64_t hash = hash64(spelling);
  const std::uint32_t found = spellings_.find(hash);
  if (found != FlatIndex::kNone && spelling_texts_[found] == spelling) return spelling_ids_[found];
  const NameId id = names_.intern(canonical(spelling));
  if (found == FlatIndex::kNone && spelling_texts_.size() < kSpellingsMax &&
      spelling.size() <= kNameBytesMax) {
    spellings_.set(hash, static_cast<std::uint32_t>(spelling_texts_.size()));
    spelling_texts_.emplace_back(spelling);
    spelling_ids_.push_back(id);
  }
  return id;
}

NameId Labels::of_prediction(std::string_view label, std::optional<double> score) {
  if (!label.empty()) return intern(label);
  if (!score || !(std::abs(*score) <= 1.0)) return kNoName;
  if (*score == 0.0) return hold_;
  return *score > 0.0 ? buy_ : sell_;
}

NameId Labels::of_outcome(std::string_view label, std::optional<double> number) {
  if (!label.empty()) return intern(label);
  if (!number) return kNoName;
  for (const auto& [key, id] : number_labels_) {
    if (key == *number) return id;
  }
  return kNoName;
}

}  // namespace ephor::ensemble_tracker
