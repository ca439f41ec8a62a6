// SPDX-License-Identifier: Apache-2.0
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/canonical.hpp"
#include "core/diff.hpp"
#include "event/error.hpp"
#include "store/table_schema.hpp"
#include "support/catch.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;

Json without(std::vector<std::string> paths, const char* text) {
  Json value = Json::parse(text);
  RunDependent(std::move(paths)).leave_out_of(value);
  return value;
}

TEST_CASE("canonical: a path leaves out what it names and nothing else", "[unit][export]") {
  CHECK(without({"a"}, R"({"a":1,"b":{"a":2}})") == Json::parse(R"({"b":{"a":2}})"));
  CHECK(without({"b/a"}, R"({"a":1,"b":{"a":2,"c":3}})") == Json::parse(R"({"a":1,"b":{"c":3}})"));
  CHECK(without({"*/a"}, R"([{"a":1},{"b":2},3])") == Json::parse(R"([{},{"b":2},3])"));
  CHECK(without({"x/*/a"}, R"({"x":{"p":{"a":1,"b":2}},"a":1})") ==
        Json::parse(R"({"x":{"p":{"b":2}},"a":1})"));
  CHECK(without({"x/*"}, R"({"x":[1,2],"y":[3]})") == Json::parse(R"({"x":[],"y":[3]})"));
  CHECK(without({"**/a"}, R"({"a":1,"b":[{"a":2,"c":[{"a":3}]}]})") ==
        Json::parse(R"({"b":[{"c":[{}]}]})"));
  CHECK(without({"x/id=log"}, R"({"x":[{"id":"log","v":1},{"id":"logs","v":2},{"v":3}]})") ==
        Json::parse(R"({"x":[{"id":"logs","v":2},{"v":3}]})"));
  CHECK(without({"x/id=log/v"}, R"({"x":[{"id":"log","v":1},{"id":"b","v":2}]})") ==
        Json::parse(R"({"x":[{"id":"log"},{"id":"b","v":2}]})"));
  CHECK(without({"a/b/c", "q"}, R"({"a":[1],"q":null})") == Json::parse(R"({"a":[1]})"));
  CHECK(without({"a"}, "7") == Json(7));
}

TEST_CASE("canonical: a response schema may name members, or say that all of it is of the run",
          "[unit][export]") {
  CHECK(RunDependent::of_schema(R"({"type":"object","x-run-dependent":true})").is_everything());
  CHECK_FALSE(RunDependent::of_schema(R"({"x-run-dependent":["a"]})").is_everything());
  for (const char* schema :
       {"", "{", "[]", "{}", R"({"x-run-dependent":false})", R"({"x-run-dependent":[1,null]})"}) {
    Json value{{"a", 1}};
    const RunDependent none = RunDependent::of_schema(schema);
    CHECK_FALSE(none.is_everything());
    none.leave_out_of(value);
    CHECK(value == Json{{"a", 1}});
  }
  Json value{{"a", 1}, {"b", 2}};
  RunDependent::of_schema(R"({"x-run-dependent":["a"]})").leave_out_of(value);
  CHECK(value == Json{{"b", 2}});
}

TEST_CASE("canonical: a table's run-dependent columns are checked where they are declared",
          "[unit][export]") {
  const auto declared = [](const std::string& run_dependent) {
    return R"({"version":1,"tables":[{"name":"t","key":["id"],"columns":[
      {"name":"id","type":"text"},{"name":"n","type":"integer"},{"name":"j","type":"json"}],
      "run_dependent":)" +
           run_dependent + "}]}";
  };
  CHECK(parse_tables(declared(R"(["n","j/files/*/name"])"))[0].run_dependent ==
        std::vector<std::string>{"n", "j/files/*/name"});
  const auto fault_of = [&](const std::string& run_dependent) {
    try {
      parse_tables(declared(run_dependent));
    } catch (const HostError& failure) {
      return std::string(failure.what());
    }
    return std::string("none");
  };
  CHECK(fault_of(R"(["m"])").find("/tables/0/run_dependent/0: found \"m\"") != std::string::npos);
  CHECK(fault_of(R"(["n/x"])").find("expected a column of type json") != std::string::npos);
  CHECK(fault_of(R"(["id"])").find("not of the key") != std::string::npos);
  CHECK(fault_of("7").find("expected an array") != std::string::npos);
}

// ---- diff -------------------------------------------------------------------------------------

std::string line(const std::string& section, const Json& key, const Json& value) {
  return Json{{"section", section}, {"key", key}, {"value", value}}.dump() + "\n";
}

Export made(const std::string& lines, const std::string& name = "x") {
  std::istringstream in(line("ephor export", Json::array(), {{"version", 1}}) + lines);
  return Export::read(in, name);
}

const SectionDifference& section(const Difference& difference, const std::string& name) {
  for (const SectionDifference& one : difference.sections) {
    if (one.section == name) return one;
  }
  throw std::runtime_error("no section " + name);
}

std::string finding(const std::string& id, const char* severity, const char* onset,
                    const char* detected, const Json& closed, const char* target = "m") {
  return line("derived", {"ephor/ml_monitor", "ephor.drift", detected},
              {{"data",
                {{"finding_id", id},
                 {"kind", "concept_drift"},
                 {"target", target},
                 {"severity", severity},
                 {"onset", onset},
                 {"detected", detected},
                 {"closed", closed},
                 {"summary", "s"}}}});
}

TEST_CASE("diff: equal exports are equal, whatever the order of their lines", "[unit][diff]") {
  const std::string one = line("table t", {"a"}, {{"x", 1}, {"y", 2.5}});
  const std::string other = line("table t", {"b"}, {{"x", 2}});
  const Difference difference = difference_of(made(one + other), made(other + one), 10);
  CHECK(difference.is_equal());
  CHECK(difference.findings.empty());
  CHECK(section(difference, "table t").rows_a == 2);
}

TEST_CASE("diff: rows of one side, and columns that changed", "[unit][diff]") {
  const Export a = made(line("table t", {"a"}, {{"x", 1}, {"j", {{"k", {1, 2}}}}}) +
                        line("table t", {"b"}, {{"x", 1}}) + line("table u", {"z"}, {{"x", 1}}));
  const Export b = made(line("table t", {"a"}, {{"x", 1}, {"j", {{"k", {1, 3}}}}, {"new", 4}}) +
                        line("table t", {"c"}, {{"x", 1}}) + line("table t", {"d"}, {{"x", 1}}));
  const Difference difference = difference_of(a, b, 10);
  CHECK_FALSE(difference.is_equal());
  const SectionDifference& t = section(difference, "table t");
  CHECK(t.rows_a == 2);
  CHECK(t.rows_b == 3);
  CHECK(t.only_a == 1);
  CHECK(t.only_b == 2);
  CHECK(t.changed == 1);
  REQUIRE(t.first.size() == 4);
  CHECK(t.first[0].key == R"(["a"])");
  REQUIRE(t.first[0].changes.size() == 2);
  CHECK(t.first[0].changes[0].path == "j/k/1");
  CHECK(t.first[0].changes[0].a == 2);
  CHECK(t.first[0].changes[0].b == 3);
  CHECK(t.first[0].changes[1].path == "new");
  CHECK(t.first[0].changes[1].a.is_null());
  CHECK(section(difference, "table u").only_a == 1);
  CHECK(difference_of(a, b, 1).sections[1].first.size() <= 1);
  const std::string text = to_text(difference, a, b);
  CHECK(text.find("table t: 2 in A, 3 in B; 1 only in A, 2 only in B, 1 changed") !=
        std::string::npos);
  CHECK(text.find("j/k/1: 2 -> 3") != std::string::npos);
  CHECK(to_json(difference, a, b)["equal"] == false);
}

TEST_CASE("diff: what has one key several times is compared as a bag", "[unit][diff]") {
  const std::string one = line("derived", {"s", "t", "1"}, {{"data", 1}});
  const std::string other = line("derived", {"s", "t", "1"}, {{"data", 2}});
  CHECK(difference_of(made(one + other), made(other + one), 10).is_equal());
  const Difference difference = difference_of(made(one + one), made(one), 10);
  CHECK(section(difference, "derived").only_a == 1);
  CHECK(section(difference, "derived").changed == 0);
}

TEST_CASE("diff: findings open, vanish, move, close and change severity", "[unit][diff]") {
  const char* t1 = "2025-01-01T01:00:00Z";
  const char* t2 = "2025-01-01T02:00:00Z";
  const char* t3 = "2025-01-01T03:00:00Z";
  const auto what = [](const std::string& a, const std::string& b) {
    std::string out;
    for (const FindingDifference& one : difference_of(made(a), made(b), 0).findings) {
      out += one.what + " ";
    }
    return out;
  };
  const std::string base = finding("i", "warning", t1, t2, nullptr);
  CHECK(what(base, base).empty());
  CHECK(what(base, "") == "vanished ");
  CHECK(what("", base) == "opened ");
  CHECK(what(base, finding("i", "critical", t1, t2, nullptr)) == "severity ");
  CHECK(what(base, finding("i", "warning", t1, t3, nullptr)) == "later ");
  // Another onset, so another id: still the same finding, seen at another time.
  CHECK(what(base, finding("k", "warning", t2, t3, nullptr)) == "later ");
  CHECK(what(finding("k", "warning", t2, t3, nullptr), base) == "earlier ");
  CHECK(what(base, base + finding("i", "warning", t1, t2, t3)) == "closed ");
  CHECK(what(base, base + finding("k", "warning", t1, t2, nullptr, "n")) == "opened ");
  const Difference moved =
      difference_of(made(base), made(finding("k", "warning", t2, t3, nullptr)), 0);
  REQUIRE(moved.findings.size() == 1);
  CHECK(moved.findings[0].moved_s == 3600.0);
}

TEST_CASE("diff: what is no export is refused, with its place", "[unit][diff]") {
  const auto fault_of = [](const std::string& text) {
    std::istringstream in(text);
    try {
      Export::read(in, "file");
    } catch (const HostError& failure) {
      return std::string(failure.what());
    }
    return std::string("none");
  };
  CHECK(fault_of("").find("file: found no export") != std::string::npos);
  CHECK(fault_of(line("ephor export", Json::array(), 1) + "{").find("file:2: found {") !=
        std::string::npos);
  CHECK(fault_of("[]\n").find("file:1:") != std::string::npos);
  CHECK(fault_of(line("table t", 7, 1)).find("file:1:") != std::string::npos);
}

}  // namespace
}  // namespace ephor::host
