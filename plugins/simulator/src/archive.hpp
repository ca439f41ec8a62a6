// SPDX-License-Identifier: Apache-2.0
//
// One list of fields for saving and loading. A class says
//   template <typename Archive> void visit(Archive& archive) { archive(a_, b_, c_); }
// Loading throws ephor::Error on whatever cannot be: too short, a number that is not finite, a list
// longer than kListLimit.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <deque>
#include <ephor/state.hpp>
#include <string>
#include <type_traits>
#include <vector>

namespace ephor::simulator {

class Saver {
 public:
  explicit Saver(std::string& out) : out_(out) {}

  template <typename... Fields>
  void operator()(Fields&... fields) {
    (one(fields), ...);
  }

 private:
  template <typename Value>
  void one(Value& value) {
    if constexpr (std::is_same_v<Value, double>) {
      out_.f64(value);
    } else if constexpr (std::is_same_v<Value, bool>) {
      out_.boolean(value);
    } else if constexpr (std::is_integral_v<Value>) {
      out_.i64(static_cast<std::int64_t>(value));
    } else if constexpr (std::is_enum_v<Value>) {
      out_.u8(static_cast<std::uint8_t>(value));
    } else if constexpr (std::is_same_v<Value, std::string>) {
      out_.text(value);
    } else {
      value.visit(*this);
    }
  }
  template <typename Value, std::size_t kSize>
  void one(std::array<Value, kSize>& values) {
    for (Value& value : values) one(value);
  }
  template <typename Value>
  void one(std::vector<Value>& values) {
    list(values);
  }
  template <typename Value>
  void one(std::deque<Value>& values) {
    list(values);
  }
  template <typename List>
  void list(List& values) {
    out_.varint(values.size());
    for (auto& value : values) one(value);
  }

  StateWriter out_;
};

class Loader {
 public:
  static constexpr std::size_t kListLimit = 100'000;

  explicit Loader(StateReader& in) : in_(in) {}

  template <typename... Fields>
  void operator()(Fields&... fields) {
    (one(fields), ...);
  }

 private:
  template <typename Value>
  void one(Value& value) {
    if constexpr (std::is_same_v<Value, double>) {
      value = in_.f64();
      if (!std::isfinite(value)) throw Error(EPHOR_INVALID, "state: found a number not finite");
    } else if constexpr (std::is_same_v<Value, bool>) {
      value = in_.boolean();
    } else if constexpr (std::is_integral_v<Value>) {
      value = static_cast<Value>(in_.i64());
    } else if constexpr (std::is_enum_v<Value>) {
      value = static_cast<Value>(in_.u8());
      if (value >= Value::count) throw Error(EPHOR_INVALID, "state: found an unknown enumerator");
    } else if constexpr (std::is_same_v<Value, std::string>) {
      value = in_.text();
    } else {
      value.visit(*this);
    }
  }
  template <typename Value, std::size_t kSize>
  void one(std::array<Value, kSize>& values) {
    for (Value& value : values) one(value);
  }
  template <typename Value>
  void one(std::vector<Value>& values) {
    list(values);
  }
  template <typename Value>
  void one(std::deque<Value>& values) {
    list(values);
  }
  template <typename List>
  void list(List& values) {
    const std::size_t size = in_.count();
    if (size > kListLimit) throw Error(EPHOR_INVALID, "state: found a list too long");
    values.clear();
    for (std::size_t i = 0; i < size; ++i) one(values.emplace_back());
  }

  StateReader& in_;
};

}  // namespace ephor::simulator
