// SPDX-License-Identifier: Apache-2.0
#include "store/value_column.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <stdexcept>
#include <string>

#include "event/hash.hpp"

namespace ephor::host {
namespace {

enum NumberMode : std::uint8_t { kSame = 0, kDictionary = 1, kAboveLeast = 2, kDifferences = 3 };
enum TextMode : std::uint8_t { kSameText = 0, kTextDictionary = 1, kTextsInOrder = 2 };
constexpr std::uint8_t kThousands = 0x80;
constexpr std::uint64_t kThousand = 1000;
constexpr std::size_t kEntriesMax = 256;

unsigned width_of(std::uint64_t greatest) {
  return (static_cast<unsigned>(std::bit_width(greatest)) + 7) / 8;
}

// Up to kEntriesMax values and where each of the column's stands among them. A look-up stops after
// a few probes: crafted collisions make a column longer, not slower.
template <typename Value, typename Hash>
class Dictionary {
 public:
  // False: it has no room left.
  bool add(const Value& value, const Hash& hash) {
    constexpr std::size_t kProbesMax = 16;
    std::size_t slot = hash(value) % kSlots;
    for (std::size_t probe = 0; probe < kProbesMax; ++probe, slot = (slot + 1) % kSlots) {
      if (slots_[slot] == 0) {
        if (entries_.size() == kEntriesMax) return false;
        entries_.push_back(value);
        slots_[slot] = static_cast<std::uint16_t>(entries_.size());
      }
      if (entries_[slots_[slot] - 1U] == value) {
        indices_.push_back(static_cast<char>(slots_[slot] - 1U));
        return true;
      }
    }
    return false;
  }
  const std::vector<Value>& entries() const { return entries_; }
  const std::string& indices() const { return indices_; }
  void clear() {
    slots_.fill(0);
    entries_.clear();
    indices_.clear();
  }

 private:
  static constexpr std::size_t kSlots = 1024;
  std::array<std::uint16_t, kSlots> slots_{};
  std::vector<Value> entries_;
  std::string indices_;
};

constexpr auto hash_of_number = [](std::uint64_t value) {
  return static_cast<std::size_t>((value * 0x9E3779B97F4A7C15ULL) >> 40U);
};
constexpr auto hash_of_text = [](std::string_view value) {
  return static_cast<std::size_t>(hash64(value));
};
using NumberDictionary = Dictionary<std::uint64_t, decltype(hash_of_number)>;
using TextDictionary = Dictionary<std::string_view, decltype(hash_of_text)>;

// Values that hardly repeat are not looked up to the end.
template <typename Values, typename Words, typename Hash>
bool fill(Words& words, const Values& values, const Hash& hash) {
  constexpr std::size_t kTried = 64;
  words.clear();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!words.add(values[i], hash)) return false;
    if (i >= kTried && words.entries().size() * 2 > i) return false;
  }
  return words.entries().size() == 1 || words.entries().size() * 2 <= values.size();
}

template <typename Number>
void put_planes(std::string& out, std::size_t count, unsigned width, Number&& number) {
  const std::size_t begin = out.size();
  out.resize(begin + count * width);
  char* const planes = out.data() + begin;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint64_t value = number(i);
    for (unsigned plane = 0; plane < width; ++plane, value >>= 8U) {
      planes[plane * count + i] = static_cast<char>(value);
    }
  }
}

bool divide(std::span<std::uint64_t> values) {
  for (const std::uint64_t value : values) {
    if (value % kThousand != 0) return false;
  }
  for (std::uint64_t& value : values) value /= kThousand;
  return true;
}

}  // namespace

void put_numbers(SectionWriter& out, std::span<std::uint64_t> values, Likely likely) {
  if (values.empty()) return;
  const auto [least, greatest] = std::ranges::minmax(values);
  if (least == greatest) {
    out.head += static_cast<char>(kSame);
    append_varint(out.head, least);
    return;
  }
  const bool is_divided = divide(values);
  const auto divisor = is_divided ? kThousand : 1;
  const auto put_mode = [&](NumberMode mode) {
    out.head += static_cast<char>(mode | (is_divided ? kThousands : 0));
  };
  const std::uint64_t base = least / divisor;
  const unsigned width = width_of(greatest / divisor - base);
  std::uint64_t step = 0;
  std::uint64_t previous = 0;
  for (const std::uint64_t value : values) {
    step |= zigzag(value - previous);
    previous = value;
  }
  const unsigned step_width = width_of(step);
  thread_local NumberDictionary words;
  if (width > 1 && fill(words, values, hash_of_number) &&
      words.entries().size() * 8 + values.size() < values.size() * std::min(width, step_width)) {
    put_mode(kDictionary);
    out.head += static_cast<char>(words.entries().size() - 1);
    for (const std::uint64_t entry : words.entries()) append_varint(out.head, entry);
    out.numbers += words.indices();
  } else if (step_width < width || (step_width == width && likely == Likely::ascending)) {
    put_mode(kDifferences);
    out.head += static_cast<char>(step_width);
    previous = 0;
    put_planes(out.numbers, values.size(), step_width, [&](std::size_t i) {
      const std::uint64_t difference = values[i] - previous;
      previous = values[i];
      return zigzag(difference);
    });
  } else {
    put_mode(kAboveLeast);
    append_varint(out.head, base);
    out.head += static_cast<char>(width);
    put_planes(out.numbers, values.size(), width, [&](std::size_t i) { return values[i] - base; });
  }
}

void put_texts(SectionWriter& out, std::span<const std::string_view> values) {
  if (values.empty()) return;
  thread_local TextDictionary words;
  const bool has_words = fill(words, values, hash_of_text);
  if (has_words && words.entries().size() == 1) {
    out.head += static_cast<char>(kSameText);
    append_varint(out.head, values[0].size());
    out.texts += values[0];
  } else if (has_words) {
    out.head += static_cast<char>(kTextDictionary);
    out.head += static_cast<char>(words.entries().size() - 1);
    for (const std::string_view entry : words.entries()) {
      append_varint(out.head, entry.size());
      out.texts += entry;
    }
    out.numbers += words.indices();
  } else {
    out.head += static_cast<char>(kTextsInOrder);
    thread_local std::vector<std::uint64_t> sizes;
    sizes.clear();
    for (const std::string_view value : values) {
      sizes.push_back(value.size());
      out.texts += value;
    }
    put_numbers(out, sizes);
  }
}

void NumberColumn::throw_end() { throw std::runtime_error("a column ends before its records"); }
void TextColumn::throw_end() { throw std::runtime_error("a column ends before its records"); }

void NumberColumn::read(SectionReader& in, std::uint64_t count) {
  *this = {};
  if (count == 0) return;
  const std::uint8_t coded = in.head.u8();
  const std::uint64_t factor = (coded & kThousands) != 0 ? kThousand : 1;
  const unsigned mode = coded & ~kThousands;
  count_ = count;
  if (mode == kSame) {
    constant_ = in.head.varint() * factor;
    return;
  }
  is_constant_ = false;
  // Each takes a byte at least.
  if (count > in.numbers.left()) {
    throw std::runtime_error("a column of " + std::to_string(count) + " numbers, but " +
                             std::to_string(in.numbers.left()) + " bytes of numbers are left");
  }
  if (mode == kDictionary) {
    std::vector<std::uint64_t> entries(std::size_t{in.head.u8()} + 1);
    for (std::uint64_t& entry : entries) entry = in.head.varint() * factor;
    const std::string_view indices = in.numbers.bytes(count);
    values_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto index = static_cast<std::uint8_t>(indices[i]);
      if (index >= entries.size()) {
        throw std::runtime_error("entry " + std::to_string(index) + " of a dictionary of " +
                                 std::to_string(entries.size()));
      }
      values_[i] = entries[index];
    }
    return;
  }
  if (mode != kAboveLeast && mode != kDifferences) {
    throw std::runtime_error("numbers in mode " + std::to_string(mode));
  }
  const std::uint64_t base = mode == kAboveLeast ? in.head.varint() : 0;
  const unsigned width = in.head.u8();
  if (width == 0 || width > 8) {
    throw std::runtime_error("numbers of " + std::to_string(width) + " bytes");
  }
  const std::string_view planes = in.numbers.bytes(count * width);
  values_.assign(count, 0);
  for (unsigned plane = 0; plane < width; ++plane) {
    const char* const bytes = planes.data() + plane * count;
    const unsigned shift = 8 * plane;
    for (std::size_t i = 0; i < count; ++i) {
      values_[i] |= std::uint64_t{static_cast<std::uint8_t>(bytes[i])} << shift;
    }
  }
  std::uint64_t previous = base;
  for (std::uint64_t& value : values_) {
    if (mode == kDifferences) {
      previous += unzigzag(value);
      value = previous * factor;
    } else {
      value = (base + value) * factor;
    }
  }
}

void TextColumn::read(SectionReader& in, std::uint64_t count) {
  *this = {};
  if (count == 0) return;
  count_ = count;
  const std::uint8_t mode = in.head.u8();
  if (mode == kSameText) {
    constant_ = in.texts.bytes(in.head.varint());
    return;
  }
  is_constant_ = false;
  if (mode == kTextDictionary) {
    std::vector<std::string_view> entries(std::size_t{in.head.u8()} + 1);
    for (std::string_view& entry : entries) entry = in.texts.bytes(in.head.varint());
    const std::string_view indices = in.numbers.bytes(count);
    values_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto index = static_cast<std::uint8_t>(indices[i]);
      if (index >= entries.size()) {
        throw std::runtime_error("entry " + std::to_string(index) + " of a dictionary of " +
                                 std::to_string(entries.size()));
      }
      values_[i] = entries[index];
    }
    return;
  }
  if (mode != kTextsInOrder) throw std::runtime_error("texts in mode " + std::to_string(mode));
  NumberColumn sizes;
  sizes.read(in, count);
  // Of one size: nothing was read yet that says that there are so many.
  if (sizes.is_constant() && (sizes.at(0) == 0 || count > in.texts.left() / sizes.at(0))) {
    throw std::runtime_error("a column of " + std::to_string(count) + " texts, but " +
                             std::to_string(in.texts.left()) + " bytes of texts are left");
  }
  values_.resize(count);
  for (std::size_t i = 0; i < count; ++i) values_[i] = in.texts.bytes(sizes.at(i));
}

}  // namespace ephor::host
