// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdint>
#include <ephor/state.hpp>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "support/catch.hpp"

using ephor::read_state;
using ephor::StateReader;
using ephor::StateWriter;

namespace {
std::string bytes_of(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) out.push_back(static_cast<char>(value));
  return out;
}
}  // namespace

TEST_CASE("state: numbers are little-endian and of fixed width", "[unit][state]") {
  std::string state;
  StateWriter(state).u8(0xAB).u32(0x01020304).u64(0x0102030405060708).i64(-2).f64(1.0);
  // IEEE 754: 1.0 is 0x3FF0000000000000.
  REQUIRE(state == bytes_of({0xAB,                                            //
                             0x04, 0x03, 0x02, 0x01,                          //
                             0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,  //
                             0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,  //
                             0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xF0, 0x3F}));
}

TEST_CASE("state: varints are LEB128 and zigzag", "[unit][state]") {
  std::string state;
  // 300 = 0xAC 0x02 is the worked example of the protobuf encoding guide; zigzag of -2 is 3.
  StateWriter(state).varint(300).varint(0).varint(127).signed_varint(-2).signed_varint(1);
  REQUIRE(state == bytes_of({0xAC, 0x02, 0x00, 0x7F, 0x03, 0x02}));
}

TEST_CASE("state: what was written is read back, extremes too", "[unit][state]") {
  const std::vector<std::uint64_t> numbers = {
      0,          1,          127,
      128,        16383,      16384,
      1ULL << 62, 1ULL << 63, std::numeric_limits<std::uint64_t>::max()};
  const std::vector<std::int64_t> signed_numbers = {
      0, -1, 1, std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()};
  std::string state;
  StateWriter out(state);
  for (const auto number : numbers) out.varint(number).u64(number);
  for (const auto number : signed_numbers) out.signed_varint(number).i64(number);
  out.f64(-0.0).f64(std::nan("")).optional_f64(std::nullopt).optional_f64(2.5);
  out.boolean(true).text(std::string_view("a\0b", 3)).bytes("").raw("xy");

  const bool is_read = read_state(state, [&](StateReader& in) {
    for (const auto number : numbers) {
      CHECK(in.varint() == number);
      CHECK(in.u64() == number);
    }
    for (const auto number : signed_numbers) {
      CHECK(in.signed_varint() == number);
      CHECK(in.i64() == number);
    }
    CHECK(std::signbit(in.f64()));
    CHECK(std::isnan(in.f64()));
    CHECK_FALSE(in.optional_f64().has_value());
    CHECK(in.optional_f64() == 2.5);
    CHECK(in.boolean());
    CHECK(in.text() == std::string_view("a\0b", 3));
    CHECK(in.bytes().empty());
    CHECK(in.raw(2) == "xy");
  });
  CHECK(is_read);
}

TEST_CASE("state: an overrun names the byte and throws", "[unit][state]") {
  StateReader in(std::string_view("\x01\x02\x03", 3));
  CHECK(in.u8() == 1);
  try {
    in.u64();
    FAIL("read behind the end");
  } catch (const ephor::Error& error) {
    CHECK(error.code() == EPHOR_INVALID);
    CHECK(std::string(error.what()) == "state, byte 1 of 3: found 2 bytes, expected 8");
  }
}

TEST_CASE("state: counts that cannot follow are refused before allocation", "[unit][state]") {
  std::string state;
  StateWriter(state).varint(1ULL << 60).raw("12345678");
  StateReader texts(state);
  CHECK_THROWS_AS(texts.text(), ephor::Error);
  StateReader counts(state);
  CHECK_THROWS_AS(counts.count(1), ephor::Error);

  std::string two;
  StateWriter(two).varint(2).raw("0123456789abcdef");
  CHECK(StateReader(two).count(8) == 2);
  CHECK_THROWS_AS(StateReader(two).count(9), ephor::Error);
}

TEST_CASE("state: hostile varints and booleans are refused", "[unit][state]") {
  CHECK_THROWS_AS(StateReader(std::string(11, '\xFF')).varint(), ephor::Error);
  // Ten bytes whose last one has bits above the 64th.
  CHECK_THROWS_AS(StateReader(std::string(9, '\xFF') + '\x02').varint(), ephor::Error);
  CHECK(StateReader(std::string(9, '\xFF') + '\x01').varint() == ~0ULL);
  CHECK_THROWS_AS(StateReader("\x02").boolean(), ephor::Error);
}

TEST_CASE("state: bytes left over are an unreadable state", "[unit][state]") {
  CHECK_FALSE(read_state("ab", [](StateReader& in) { in.u8(); }));
  CHECK(read_state("a", [](StateReader& in) { in.u8(); }));
  CHECK(read_state("", [](StateReader&) {}));
}

TEST_CASE("state: random bytes are refused or read, never more than there is", "[unit][state]") {
  std::mt19937_64 random(20240611);
  for (int round = 0; round < 20'000; ++round) {
    std::string state(random() % 64, '\0');
    for (char& byte : state) byte = static_cast<char>(random());
    std::size_t kept_bytes = 0;
    (void)read_state(state, [&](StateReader& in) {
      for (std::size_t left = in.count(2); left > 0; --left) {
        kept_bytes += in.text().size();
        in.signed_varint();
      }
    });
    REQUIRE(kept_bytes <= state.size());
  }
}
