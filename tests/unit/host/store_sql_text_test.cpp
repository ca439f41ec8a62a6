// SPDX-License-Identifier: Apache-2.0
#include "event/error.hpp"
#include "store/sql_text.hpp"
#include "event/hex.hpp"
#include "support/catch.hpp"

using namespace ephor::host;

TEST_CASE("sql text: parameters are numbered outside of literals and comments", "[unit][storage]") {
  const SelectText text = check_select(
      " SELECT a, '?''?', \"b?\", c::text FROM t /* ? */ WHERE a=? -- ?\n AND b IN(?,?) ; -- end",
      true);
  CHECK(text.parameter_count == 3);
  CHECK(text.sql == "SELECT a, '?''?', \"b?\", c::text FROM t   WHERE a=:p1    AND b IN(:p2,:p3)");
  CHECK(check_select("select ?", false).sql == "select ?");
  CHECK(check_select("With x AS (SELECT 1) SELECT * FROM x", false).parameter_count == 0);
}

TEST_CASE("sql text: what is not one plain SELECT is refused", "[unit][storage]") {
  for (const char* sql : {"", "  ", ";", "-- only", "DELETE FROM t", "SELECT 1; SELECT 2",
                          "SELECT 'open", "/* open", "SELECT :name", "SELECT $1", "SELECT $$x$$",
                          "SELECT E'\\''", "selection", "EXPLAIN SELECT 1"}) {
    INFO(sql);
    CHECK_THROWS_AS(check_select(sql, true), HostError);
  }
  CHECK_THROWS_AS(check_select(std::string_view("SELECT 'a\0b'", 12), true), HostError);
}

TEST_CASE("sql text: only valid UTF-8 without NUL is left", "[unit][storage]") {
  const std::string mark = "\xEF\xBF\xBD";
  // Valid and invalid sequences after RFC 3629, sections 3 and 4.
  const std::pair<std::string, std::string> cases[] = {
      {"", ""},
      {"plain", "plain"},
      {"\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80", "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"},
      {std::string("a\0b", 3), "a" + mark + "b"},
      {"\xC0\xAF", mark + mark},                        // overlong
      {"\xED\xA0\x80", mark + mark + mark},             // a surrogate
      {"\xF4\x90\x80\x80", mark + mark + mark + mark},  // above U+10FFFF
      {"x\xE2\x82", "x" + mark + mark},                 // cut
  };
  for (const auto& [given, expected] : cases) {
    std::string text = given;
    make_strict_utf8(text);
    CHECK(text == expected);
  }
}

TEST_CASE("sql text: hex there and back", "[unit][storage]") {
  const std::string bytes("\0\x01\xFFz", 4);
  CHECK(hex_of(bytes) == "0001ff7a");
  CHECK(bytes_of_hex("0001FF7a") == bytes);
  CHECK(bytes_of_hex("00x1") == std::string(1, '\0'));
  CHECK(quoted_name("a\"b") == "\"a\"\"b\"");
}
