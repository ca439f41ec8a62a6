// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <ephor/json_value.hpp>
#include <limits>
#include <string>
#include <string_view>

#include "support/catch.hpp"

using ephor::Error;
using ephor::JsonValue;
using ephor::parse_json_value;

namespace {

// What a refusal says, or nothing if there is none.
template <typename Read>
std::string refusal(Read&& read) {
  try {
    read();
    return {};
  } catch (const Error& error) {
    return error.json_pointer() + " " + error.what();
  }
}

}  // namespace

TEST_CASE("json value: members of every kind, and what stands in for an absent one",
          "[unit][json]") {
  const std::string text = R"({"a":-7,"b":2.5,"c":true,"d":"x\ny","e":false})";
  const JsonValue object = parse_json_value(text);
  CHECK(object.integer_of("a", 1) == -7);
  CHECK(object.number_of("a", 1.0) == -7.0);
  CHECK(object.number_of("b", 1.0) == 2.5);
  CHECK(object.boolean_of("c", false));
  CHECK_FALSE(object.boolean_of("e", true));
  CHECK(object.text_of("d", "?") == "x\ny");
  CHECK(object.integer_of("none", 3) == 3);
  CHECK(object.number_of("none", 0.5) == 0.5);
  CHECK(object.boolean_of("none", true));
  CHECK(object.text_of("none", "fallback") == "fallback");
}

TEST_CASE("json value: a member of another kind is refused with its pointer", "[unit][json]") {
  const std::string text = R"({"a":"7","b":[1,2],"c":1,"d":null})";
  const JsonValue object = parse_json_value(text);
  CHECK(refusal([&] { (void)object.integer_of("a", 0); }) ==
        R"(/a a: found "7", expected an integer of 64 bits)");
  CHECK(refusal([&] { (void)object.number_of("b", 0); }) == "/b b: found [1,2], expected a number");
  CHECK(refusal([&] { (void)object.boolean_of("c", false); }) ==
        "/c c: found 1, expected true or false");
  CHECK(refusal([&] { (void)object.text_of("d", ""); }) == "/d d: found null, expected a text");
}

TEST_CASE("json value: a number that does not fit is not bent", "[unit][json]") {
  CHECK(parse_json_value("9223372036854775807").integer() ==
        std::numeric_limits<std::int64_t>::max());
  CHECK_FALSE(parse_json_value("9223372036854775808").integer().has_value());
  CHECK_FALSE(parse_json_value("1.5").integer().has_value());
  CHECK_FALSE(parse_json_value("1e999").number().has_value());
  CHECK_FALSE(parse_json_value("\"1\"").number().has_value());
  CHECK_FALSE(parse_json_value("1").boolean().has_value());
}
