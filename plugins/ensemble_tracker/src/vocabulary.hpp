// SPDX-License-Identifier: Apache-2.0
//
// Names as small numbers: models, ensembles, symbols, regimes, and what is predicted or came true.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ephor/state.hpp>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flat_index.hpp"

namespace ephor::ensemble_tracker {

using NameId = std::uint16_t;
inline constexpr NameId kNoName = 0xFFFF;

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// A bounded table of names; 0 is "(other)", which is what names beyond the bound are. Names longer
// than 200 bytes are cut there.
class Names {
 public:
  explicit Names(std::size_t bound) : bound_(bound) { intern("(other)"); }

  NameId intern(std::string_view name);  // kNoName if empty
  NameId find(std::string_view name) const;
  const std::string& name(NameId id) const { return names_[id < names_.size() ? id : 0]; }
  std::size_t size() const { return names_.size(); }

  void write(StateWriter& out) const;
  void read(StateReader& in);

 private:
  std::size_t bound_;
  std::vector<std::string> names_;
  FlatIndex index_;
};

// Labels without case, blanks and aliases. A class table small enough to be hot.
class Labels {
 public:
  Labels(std::size_t bound, const std::map<std::string, std::string>& aliases,
         const std::map<std::string, std::string>& numbers, const std::string& hold);

  // Of a label, or of a score in [-1, 1] by its sign; kNoName for nothing or another number.
  NameId of_prediction(std::string_view label, std::optional<double> score);
  // Of a label, or of a number that the configuration names.
  NameId of_outcome(std::string_view label, std::optional<double> number);
  NameId intern(std::string_view spelling);
  const std::string& name(NameId id) const { return names_.name(id); }
  std::size_t size() const { return names_.size(); }

  NameId buy() const { return buy_; }
  NameId sell() const { return sell_; }
  NameId hold() const { return hold_; }

  void write(StateWriter& out) const { names_.write(out); }
  void read(StateReader& in);

 private:
  std::string canonical(std::string_view spelling) const;
  void resolve();

  std::map<std::string, std::string, std::less<>> aliases_;
  std::vector<std::pair<double, std::string>> number_names_;
  std::vector<std::pair<double, NameId>> number_labels_;
  std::string hold_name_;
  Names names_;
  FlatIndex spellings_;  // a cache of canonical(); no result depends on it
  std::vector<std::string> spelling_texts_;
  std::vector<NameId> spelling_ids_;
  NameId buy_ = 0;
  NameId sell_ = 0;
  NameId hold_ = 0;
};

}  // namespace ephor::ensemble_tracker
