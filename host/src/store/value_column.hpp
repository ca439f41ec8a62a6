// SPDX-License-Identifier: Apache-2.0
//
// How the values of one field of many spans lie in a codec 3 body, in the way that takes fewest
// bytes. The count of values is not in it. Of numbers, in `head`: u8 mode, 128 added if all were
// divided by 1000, then
//   0  all the same: varint
//   1  an index into a dictionary: u8 size - 1, its numbers as varints | `numbers`: u8 each
//   2  less the least: varint least, u8 width w | `numbers`: the lowest byte of each, ..., the w-th
//   3  zigzag difference to the one before: u8 width | as mode 2
// Of texts: u8 mode, then
//   0  all the same: varint size | `texts`: the text
//   1  an index into a dictionary: u8 size - 1, varint sizes | `texts`, `numbers`: u8 each
//   2  the sizes as numbers | `texts`: one behind the other
// O(count). The readers throw std::runtime_error and take memory in proportion to the bytes read.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "store/byte_sections.hpp"

namespace ephor::host {

enum class Likely { unordered, ascending };  // which coding is tried first

// `values` are changed.
void put_numbers(SectionWriter& out, std::span<std::uint64_t> values,
                 Likely likely = Likely::unordered);
void put_texts(SectionWriter& out, std::span<const std::string_view> values);

class NumberColumn {
 public:
  void read(SectionReader& in, std::uint64_t count);
  // The next one; throws behind the last.
  std::uint64_t next() {
    if (at_ == count_) throw_end();
    return at(at_++);
  }
  std::uint64_t at(std::size_t index) const { return is_constant_ ? constant_ : values_[index]; }
  std::uint64_t count() const { return count_; }
  bool is_constant() const { return is_constant_; }
  bool is_done() const { return at_ == count_; }

 private:
  [[noreturn]] static void throw_end();

  std::vector<std::uint64_t> values_;
  std::uint64_t constant_ = 0;
  std::uint64_t count_ = 0;
  std::uint64_t at_ = 0;
  bool is_constant_ = true;
};

class TextColumn {
 public:
  // The texts are views into the sections.
  void read(SectionReader& in, std::uint64_t count);
  std::string_view next() {
    if (at_ == count_) throw_end();
    return at(at_++);
  }
  std::string_view at(std::size_t index) const { return is_constant_ ? constant_ : values_[index]; }
  bool is_done() const { return at_ == count_; }

 private:
  [[noreturn]] static void throw_end();

  std::vector<std::string_view> values_;
  std::string_view constant_;
  std::uint64_t count_ = 0;
  std::uint64_t at_ = 0;
  bool is_constant_ = true;
};

}  // namespace ephor::host
