// SPDX-License-Identifier: Apache-2.0
#include <limits>
#include <string>

#include "ingest/json_fault.hpp"
#include "ingest/json_text.hpp"
#include "support/catch.hpp"

using namespace ephor::host;

namespace {

std::string data_at(std::string_view object) {
  return std::string(object.substr(data_offset_of(object)));
}

std::string round_trip(const std::string& text) {
  simdjson::dom::parser parser;
  simdjson::dom::element root = parser.parse(text);
  std::string out;
  append_json(out, root);
  return out;
}

}  // namespace

TEST_CASE("data offset: finds the top-level member behind anything", "[unit][ingest]") {
  CHECK(data_at(R"({"data":{"a":1}})") == R"({"a":1}})");
  CHECK(data_at(R"({"id":"x","data":[1]})") == "[1]}");
  CHECK(data_at("{ \"id\" : \"x\" ,\n \"data\" :\t7 }") == "7 }");
  CHECK(data_at(R"({"a":{"data":1},"b":["data"],"data":2})") == "2}");
  CHECK(data_at(R"({"a":"\"data\":5","b\\":"data","data":2})") == "2}");
  CHECK(data_at(R"({"n":-1.5e3,"t":true,"z":null,"data":2})") == "2}");
  CHECK(data_at(R"({"d\u0061ta":2,"data":3})") == "2,\"data\":3}");
  CHECK(data_at(R"({"x":"data"})").empty());
  CHECK(data_at("{}").empty());
}

TEST_CASE("end of value: matches brackets and quotes", "[unit][ingest]") {
  CHECK(end_of_value(R"({"a":"}"},1)", 0) == 9U);
  CHECK(end_of_value("[[],{}] ,", 0) == 7U);
  CHECK(end_of_value("12,", 0) == 2U);
  CHECK(end_of_value(R"("a\"b",)", 0) == 6U);
  CHECK_FALSE(end_of_value("[1,2", 0));
  CHECK_FALSE(end_of_value("\"open", 0));
  CHECK_FALSE(end_of_value("\"", 0));
}

TEST_CASE("json text: what is written reads back the same", "[unit][ingest]") {
  CHECK(round_trip(R"({"a":[1,-2,18446744073709551615],"b":{},"c":[]})") ==
        R"({"a":[1,-2,18446744073709551615],"b":{},"c":[]})");
  CHECK(round_trip(R"([0.1,1e300,3.0,true,false,null])") == R"([0.1,1e+300,3.0,true,false,null])");
  CHECK(round_trip(R"(["\u0001\n\r\t\"\\/é\ud83d\ude00"])") == "[\"\\u0001\\n\\r\\t\\\"\\\\/é😀\"]");
  std::string out;
  append_json_double(out, 5e-324);
  CHECK(out == "5e-324");
}

TEST_CASE("json text: a value is shown short and without control characters", "[unit][ingest]") {
  CHECK(shown(std::string_view("a\nb")) == R"("a\nb")");
  CHECK(shown(std::string(100, 'x')) == "\"" + std::string(60, 'x') + "\"... (100 bytes)");
  // 'é' is two bytes: never cut in its middle.
  CHECK(shown(std::string(59, 'x') + "éé") == "\"" + std::string(59, 'x') + "\"... (63 bytes)");
  CHECK(shown(std::string_view("a\xFF\xC3(")) == "\"a\xEF\xBF\xBD\xEF\xBF\xBD(\"");
}

TEST_CASE("json fault: names the place", "[unit][ingest]") {
  CHECK(json_fault(R"({"a":{"b":[1,NaN]}})", 64, "x").json_pointer == "/a/b/1");
  CHECK(json_fault(R"({"a":1e400})", 64, "x").json_pointer == "/a");
  CHECK(json_fault(R"({"a":[[[[1]]]]})", 4, "x").reason ==
        "found nesting deeper than 4 levels, expected less");
  CHECK(json_fault("{\"a\":\"\xFF\"}", 64, "x").reason.find("byte") != std::string::npos);
  CHECK(json_fault("{\"type\":\"trade_record\"", 64, "x").reason.find("found bad JSON") == 0);
}
