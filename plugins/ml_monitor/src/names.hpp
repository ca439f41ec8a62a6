// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <ephor/plugin.hpp>
#include <ephor/state.hpp>
#include <ephor/text_hash.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "hash_index.hpp"

namespace ephor::ml_monitor {

// Names as small numbers in order of appearance; number 0 is `unknown`, for the empty name.
// Bounded: all beyond share the last number, "(other)".
class Names {
 public:
  explicit Names(std::uint16_t names_max, std::string_view unknown = "") : names_max_(names_max) {
    names_.emplace_back(unknown);
  }

  std::uint16_t index_of(std::string_view name) {
    if (name.empty() || name == names_[0]) return 0;
    if (last_ < names_.size() && names_[last_] == name) return last_;
    const std::uint32_t found =
        index_.find(hash64(name), [&](std::uint32_t at) { return names_[at] == name; });
    if (found != HashIndex::kNone) return last_ = static_cast<std::uint16_t>(found);
    if (names_.size() > names_max_) return names_max_;
    names_.emplace_back(names_.size() == names_max_ ? std::string_view("(other)") : name);
    last_ = static_cast<std::uint16_t>(names_.size() - 1);
    if (last_ < names_max_) index_.insert(hash64(name), last_);
    return last_;
  }
  const std::string& name(std::uint16_t index) const { return names_[index]; }
  std::size_t size() const { return names_.size(); }
  bool is_known(std::uint64_t index) const { return index < names_.size(); }

  void save(StateWriter& out) const {
    out.varint(names_.size());
    for (const std::string& name : names_) out.text(name);
  }
  void load(StateReader& in) {
    const std::size_t count = in.count();
    if (count == 0 || count > names_max_ + 1U) {
      throw Error(EPHOR_INVALID, "state: a wrong number of names");
    }
    in.text();  // the unknown one
    for (std::size_t i = 1; i < count; ++i) {
      names_.push_back(in.text());
      if (i < names_max_) index_.insert(hash64(names_.back()), static_cast<std::uint32_t>(i));
    }
  }

 private:
  std::uint16_t names_max_;
  std::vector<std::string> names_;
  HashIndex index_;
  std::uint16_t last_ = 0;
};

}  // namespace ephor::ml_monitor
