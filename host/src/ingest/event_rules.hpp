// SPDX-License-Identifier: Apache-2.0
//
// What the built-in event types must and may carry in `data`. One pass over the data object checks
// every known field and collects the join keys. Unknown types and unknown fields are taken as they
// are.
#pragma once

#include <simdjson.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "event/hash.hpp"
#include "ingest/fault.hpp"

namespace ephor::host {

inline constexpr std::size_t kIdBytesMax = 256;
inline constexpr std::size_t kTextBytesMax = 65'536;

enum class FieldKind : std::uint8_t {
  any,
  id,            // text, 1 to kIdBytesMax bytes, no control characters; empty = absent if optional
  text,          // free text, at most kTextBytesMax bytes
  title,         // free text of 1 to kTextBytesMax bytes
  number,        // finite
  integer,       // 64 bits
  integer_text,  // integer, or its decimal digits as text (OTLP/JSON)
  non_negative,  // number >= 0
  positive,      // number > 0
  label_or_number,  // an id or a number
  object,
  array,
  object_or_array,
  number_map,  // object of numbers; null: missing
  weight_map,  // object of numbers >= 0
  number_map_or_array,
  side,
  trade_status,
  order_status,
  span_status,
  metric_kind,
  retrain_status,
};

// Distinct join keys of a batch, nearly: a small filter drops what was added lately (neighbours
// share their correlation and trace ids); whoever needs them distinct sorts.
class JoinKeys {
 public:
  void add(JoinKind kind, std::uint64_t id_hash) {
    const std::uint64_t key = join_key(kind, id_hash);
    std::uint64_t& recent = recent_[key % recent_.size()];
    if (recent == key) return;
    recent = key;
    keys_.push_back(key);
  }
  std::size_t size() const { return keys_.size(); }
  // Forgets all keys after the first `size`.
  void roll_back(std::size_t size) {
    if (keys_.size() == size) return;
    keys_.resize(size);
    recent_.fill(0);
  }
  std::vector<std::uint64_t> take_sorted();

 private:
  std::vector<std::uint64_t> keys_;
  std::array<std::uint64_t, 256> recent_{};
};

// The rules of one type, compiled for look-up by field name. At most 64 fields.
class TypeRules {
 public:
  struct Field {
    std::string name;
    FieldKind kind = FieldKind::any;
    std::optional<JoinKind> join;
  };
  struct OneOf {
    std::vector<std::uint64_t> alternatives;  // each a mask of fields; one must be there whole
    std::string expected;
  };

  bool is_open() const { return is_open_; }  // nothing is required; data may be any JSON value
  // Checks `data` and adds its join keys to `joins`. False: `fault` says why, pointers below /data.
  bool check(simdjson::dom::object data, JoinKeys& joins, Fault& fault) const;

 private:
  friend class EventRules;
  const Field* find(std::string_view name, std::size_t& index) const;
  void add_attribute_joins(simdjson::dom::element attributes, JoinKeys& joins) const;
  std::size_t add(std::string_view name, FieldKind kind);
  void compile();

  std::vector<Field> fields_;
  std::array<std::uint8_t, 128> slots_{};  // open addressing; 0 = free, else index + 1
  std::uint64_t required_ = 0;
  std::vector<OneOf> one_of_;
  bool is_span_ = false;
  bool is_reference_ = false;
  bool is_open_ = true;
};

// All types. Built once; read by any thread.
class EventRules {
 public:
  // `join_attributes`: further data members whose text is a join key.
  explicit EventRules(const std::vector<std::string>& join_attributes = {});
  const TypeRules& of(std::string_view type) const;

 private:
  std::map<std::string, TypeRules, std::less<>> types_;
  TypeRules open_;
};

// Below 0x20, or 0x7F.
bool has_control_character(std::string_view text);

}  // namespace ephor::host
