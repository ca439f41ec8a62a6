// SPDX-License-Identifier: Apache-2.0
//
// What models and outcomes call a class, and when a prediction counts as right. Spellings are
// compared without case and blanks around them, after an alias table; a canonical spelling is
// interned as a small number. Classes beyond the bound are known by a hash: still compared rightly,
// only without a name.
#pragma once

#include <cstdint>
#include <ephor/state.hpp>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hash_index.hpp"

namespace ephor::ml_monitor {

using LabelId = std::uint32_t;

// What was predicted, or came true.
struct Value {
  enum class Kind : std::uint32_t { kNone, kLabel, kNumber };
  Kind kind = Kind::kNone;
  LabelId label = 0;
  double number = 0.0;

  static Value of_label(LabelId id) { return {Kind::kLabel, id, 0.0}; }
  static Value of_number(double value) { return {Kind::kNumber, 0, value}; }
  bool operator==(const Value&) const = default;
};

class Labels {
 public:
  static constexpr std::size_t kNamesMax = 1024;
  static constexpr std::size_t kNameBytesMax = 64;
  static constexpr LabelId kUnnamed = 0x80000000;  // this bit set: the rest is a hash

  struct Config {
    std::map<std::string, std::string> aliases;  // added to the built-in ones
    // The class a numeric outcome means for a model that predicts classes.
    std::map<std::string, std::string> numeric_outcome_labels{
        {"1", "buy"}, {"0", "sell"}, {"-1", "sell"}};
    // A score in [-1, 1] no further from 0 than this predicts "hold".
    double score_dead_band = 0.0;
  };

  // Two sides as classes, where they are ones.
  struct ClassPair {
    LabelId predicted = 0;
    LabelId actual = 0;
  };

  explicit Labels(const Config& config);

  LabelId intern(std::string_view spelling);
  std::string_view name(LabelId id) const;  // "(other)" if it has none
  bool is_valid(LabelId id) const { return (id & kUnnamed) != 0 || id < names_.size(); }

  // label/label; label/number by numeric_outcome_labels; score in [-1, 1]/label by its sign. Empty
  // for number/number (a regression) and for what has no meaning side by side.
  std::optional<ClassPair> classes(const Value& predicted, const Value& actual) const;

  void save(StateWriter& out) const;
  void load(StateReader& in);

 private:
  struct Spelling {
    std::string text;
    LabelId id;
  };

  LabelId intern_canonical(std::string_view canonical);
  std::string canonical(std::string_view spelling) const;
  std::optional<LabelId> of_number(double number) const;
  LabelId of_score(double score) const;

  std::map<std::string, std::string, std::less<>> aliases_;
  std::vector<std::pair<double, std::string>> number_names_;
  std::vector<std::pair<double, LabelId>> number_labels_;
  double score_dead_band_;
  LabelId buy_ = 0;
  LabelId sell_ = 0;
  LabelId hold_ = 0;

  std::vector<std::string> names_;  // by LabelId
  HashIndex name_index_;
  std::vector<Spelling> spellings_;  // a cache of canonical(); no result depends on it
  HashIndex spelling_index_;
};

}  // namespace ephor::ml_monitor
