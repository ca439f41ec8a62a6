// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "core/config.hpp"
#include "core/metric_registry.hpp"
#include "core/registry.hpp"
#include "core/schema.hpp"
#include "core/settings.hpp"
#include "event/error.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

namespace ephor::host {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

fs::path written(const testing::TemporaryDirectory& directory, const std::string& name,
                 const std::string& text) {
  const fs::path file = directory.path() / name;
  std::ofstream(file, std::ios::binary) << text;
  return file;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// ---- Config -----------------------------------------------------------------------------------

TEST_CASE("config: YAML and JSON give the same tree, each value with its place", "[unit][config]") {
  const testing::TemporaryDirectory directory;
  const fs::path yaml = written(directory, "a.yaml",
                                "# comment\n"
                                "data_dir: /tmp/x\n"
                                "log:\n"
                                "  level: debug\n"
                                "list: [1, -2.5e3, true, null, \"007\", text, ~, 007x]\n"
                                "a/b~c: {deep: \"\\u00e9 \\\"quoted\\\"\"}\n");
  const fs::path json =
      written(directory, "a.json",
              "{\n"
              "\t\"data_dir\": \"/tmp/x\",\n"
              "\t\"log\": {\"level\": \"debug\"},\n"
              "\t\"list\": [1, -2.5e3, true, null, \"007\", \"text\", null, \"007x\"],\n"
              "\t\"a/b~c\": {\"deep\": \"\\u00e9 \\\"quoted\\\"\"}\n"
              "}\n");
  std::vector<ConfigError> errors;
  const Config from_yaml = Config::load(yaml, {}, errors);
  const Config from_json = Config::load(json, {}, errors);
  for (const ConfigError& error : errors) UNSCOPED_INFO(error.text());
  REQUIRE(errors.empty());
  const Json expected = {{"data_dir", "/tmp/x"},
                         {"log", {{"level", "debug"}}},
                         {"list", {1, -2500.0, true, nullptr, "007", "text", nullptr, "007x"}},
                         {"a/b~c", {{"deep", "\xc3\xa9 \"quoted\""}}}};
  CHECK(from_yaml.tree() == expected);
  CHECK(from_json.tree() == expected);
  CHECK(from_yaml.place_of("/log/level") == yaml.string() + ":4:3");
  CHECK(from_yaml.place_of("/list/1") == yaml.string() + ":5:11");
  CHECK(from_yaml.place_of("/log/level/not/there") == yaml.string() + ":4:3");
  CHECK(from_yaml.place_of("/a~1b~0c/deep") == yaml.string() + ":6:9");
  CHECK(from_json.place_of("/log/level") == json.string() + ":3:10");
  const ConfigError error = from_yaml.error_at("/a~1b~0c/deep", "found x, expected y");
  CHECK(error.path == "a/b~c.deep");
  CHECK(error.text() == yaml.string() + ":6:9 a/b~c.deep: found x, expected y");
}

TEST_CASE("config: what cannot be read is one error with its place", "[unit][config]") {
  const testing::TemporaryDirectory directory;
  const auto only_error = [](const fs::path& file) {
    std::vector<ConfigError> errors;
    const Config config = Config::load(file, {}, errors);
    REQUIRE(errors.size() == 1);
    CHECK(config.tree().is_object());
    return errors[0].text();
  };
  const fs::path broken = written(directory, "broken.yaml", "a: 1\nb: [1, 2\nc: 3\n");
  CHECK(has(only_error(broken), "broken.yaml:3:"));
  const fs::path twice = written(directory, "twice.yaml", "a: 1\nb: {x: 1,\n    x: 2}\n");
  CHECK(only_error(twice) == twice.string() + ":3:5 b.x: found the key twice, expected once");
  CHECK(has(only_error(directory.path() / "absent.yaml"), "absent.yaml: found no readable file"));
  CHECK(has(only_error(directory.path()), "found a directory"));
  CHECK(has(only_error(written(directory, "list.yaml", "- 1\n- 2\n")), "expected a mapping"));
  std::vector<ConfigError> errors;
  CHECK(Config::load(written(directory, "empty.yaml", ""), {}, errors).tree() == Json::object());
  CHECK(errors.empty());
}

TEST_CASE("config: environment and secret files", "[unit][config]") {
  const testing::TemporaryDirectory directory;
  ::setenv("EPHOR_TEST_HOST", "db.example", 1);
  ::unsetenv("EPHOR_TEST_ABSENT");
  const fs::path secret = written(directory, "password", "hunter2 \n\n");
  const fs::path file =
      written(directory, "c.yaml",
              "url: \"postgresql://${EPHOR_TEST_HOST}:${EPHOR_TEST_ABSENT:-5432}/x\"\n"
              "fallback: ${EPHOR_TEST_ABSENT:-}\n"
              "plain: \"costs $5 {x} ${open\"\n"
              "password: \"file:" +
                  secret.string() +
                  "\"\n"
                  "missing: ${EPHOR_TEST_ABSENT}\n"
                  "gone: file:/nowhere/at/all\n");
  std::vector<ConfigError> errors;
  const Config config = Config::load(file, {}, errors);
  CHECK(config.tree()["url"] == "postgresql://db.example:5432/x");
  CHECK(config.tree()["fallback"] == "");
  CHECK(config.tree()["plain"] == "costs $5 {x} ${open");
  CHECK(config.tree()["password"] == "hunter2");
  const Json shown = config.shown();
  CHECK(shown["password"] == "***");
  CHECK(shown["url"] == "***");
  CHECK(shown["plain"] == "costs $5 {x} ${open");
  CHECK_FALSE(has(shown.dump(), "hunter2"));
  CHECK(config.error_at("/password", "found \"hunter2\", expected number").message ==
        "found *** (hidden), expected number");
  REQUIRE(errors.size() == 2);
  CHECK(has(errors[0].text(), "c.yaml:5:"));
  CHECK(has(errors[0].text(), "missing: found ${EPHOR_TEST_ABSENT}, expected"));
  CHECK(has(errors[1].text(), "gone: found file:/nowhere/at/all, expected a readable file"));
}

TEST_CASE("config: --set lies on top of the file", "[unit][config]") {
  const testing::TemporaryDirectory directory;
  const fs::path file = written(directory, "d.yaml", "a: {b: 1, c: 2}\nlist: [1, 2]\n");
  std::vector<ConfigError> errors;
  const Config config = Config::load(
      file, {"a.b=true", "x.y.z={k: [1, two]}", "text=\"1\"", "empty=", "list.1=5"}, errors);
  CHECK(errors.empty());
  CHECK(config.tree() == Json{{"a", {{"b", true}, {"c", 2}}},
                              {"x", {{"y", {{"z", {{"k", {1, "two"}}}}}}}},
                              {"text", "1"},
                              {"empty", nullptr},
                              {"list", {1, 5}}});
  CHECK(config.place_of("/a/b") == "--set");
  CHECK(config.place_of("/a/c") == file.string() + ":1:11");
  (void)Config::load(file, {"nothing", "=1", "a.b.c=1", "a.d=[1"}, errors);
  REQUIRE(errors.size() == 4);
  for (const ConfigError& error : errors) CHECK(error.place == "--set");
}

// ---- schema -----------------------------------------------------------------------------------

std::vector<SchemaError> errors_of(const Json& schema, Json value) {
  std::vector<SchemaError> errors;
  apply_schema(schema, value, "", errors);
  return errors;
}

TEST_CASE("schema: each keyword lets the right values through", "[unit][config]") {
  struct Case {
    Json schema, good, bad;
  };
  const double infinite = std::numeric_limits<double>::infinity();
  const std::vector<Case> cases{
      {{{"type", "object"}}, Json::object(), Json::array()},
      {{{"type", "array"}}, Json::array(), Json::object()},
      {{{"type", "string"}}, "", 1},
      {{{"type", "boolean"}}, false, 0},
      {{{"type", "null"}}, nullptr, false},
      {{{"type", "number"}}, 1.5, "1.5"},
      {{{"type", "integer"}}, 3, 3.5},
      {{{"type", "integer"}}, 3.0, infinite},
      {{{"type", "integer"}}, -1e15, 1e300},
      {{{"type", {"integer", "null"}}}, nullptr, "x"},
      {{{"enum", {"a", 2}}}, 2, "b"},
      {{{"const", "x"}}, "x", "y"},
      {{{"minimum", 3}}, 3, 2.999},
      {{{"maximum", 3}}, 3, 3.001},
      {{{"exclusiveMinimum", 3}}, 3.001, 3},
      {{{"exclusiveMaximum", 3}}, 2.999, 3},
      {{{"minLength", 2}}, "\xc3\xa9\xc3\xa9", "\xc3\xa9"},  // characters, not bytes
      {{{"maxLength", 2}}, "\xc3\xa9\xc3\xa9", "abc"},
      {{{"pattern", "^[a-z]+$"}}, "abc", "aBc"},
      {{{"minItems", 1}}, Json::array({1}), Json::array()},
      {{{"maxItems", 1}}, Json::array({1}), Json::array({1, 2})},
      {{{"items", {{"type", "string"}}}}, Json::array({"a"}), Json::array({"a", 1})},
      {{{"required", {"a"}}}, {{"a", nullptr}}, {{"b", 1}}},
      {{{"properties", {{"a", {{"type", "string"}}}}}}, {{"a", "x"}, {"b", 1}}, {{"a", 1}}},
      {{{"additionalProperties", false}, {"properties", {{"a", true}}}}, {{"a", 1}}, {{"b", 1}}},
      {{{"additionalProperties", {{"type", "string"}}}}, {{"x", "y"}}, {{"x", 1}}},
  };
  for (const Case& one : cases) {
    INFO(one.schema.dump() << " good " << one.good.dump() << " bad " << one.bad.dump());
    CHECK(errors_of(one.schema, one.good).empty());
    const auto errors = errors_of(one.schema, one.bad);
    REQUIRE(errors.size() == 1);
    CHECK(has(errors[0].message, "found "));
    CHECK(has(errors[0].message, "expected "));
  }
}

TEST_CASE("schema: fills defaults, also within defaults", "[unit][config]") {
  const Json schema = Json::parse(R"({"type": "object", "properties": {
      "a": {"type": "integer", "default": 5},
      "b": {"type": "object", "default": {}, "properties": {"c": {"type": "string", "default": "x"}}},
      "d": {"type": "string"}}})");
  std::vector<SchemaError> errors;
  Json value = {{"a", 1}};
  apply_schema(schema, value, "", errors);
  CHECK(errors.empty());
  CHECK(value == Json{{"a", 1}, {"b", {{"c", "x"}}}});
}

TEST_CASE("schema: every error at once, with its pointer and a near miss", "[unit][config]") {
  const Json schema =
      Json::parse(R"({"type": "object", "additionalProperties": false, "properties": {
      "interval_s": {"type": "number"}, "names": {"type": "array", "items": {"type": "string"}},
      "a/b~c": {"type": "object", "additionalProperties": false, "properties": {"x": {"const": 1}}}}})");
  std::vector<SchemaError> errors;
  Json value = {{"intervall_s", 1},
                {"interval_s", "soon"},
                {"names", {1, "ok", 2}},
                {"a/b~c", {{"x", 2}}},
                {"qqqqqqqqqq", 1}};
  apply_schema(schema, value, "/base", errors);
  const auto message_at = [&](const std::string& pointer) -> std::string {
    for (const SchemaError& error : errors) {
      if (error.pointer == pointer) return error.message;
    }
    return "";
  };
  CHECK(errors.size() == 6);
  CHECK(has(message_at("/base/intervall_s"), "did you mean interval_s?"));
  CHECK(has(message_at("/base/interval_s"), "found \"soon\", expected number"));
  CHECK(has(message_at("/base/names/0"), "found 1, expected string"));
  CHECK(has(message_at("/base/names/2"), "found 2"));
  CHECK(has(message_at("/base/a~1b~0c/x"), "found 2, expected 1"));
  CHECK(has(message_at("/base/qqqqqqqqqq"), "one of a/b~c, interval_s, names"));
}

// ---- settings ---------------------------------------------------------------------------------

TEST_CASE("settings: every fault of a configuration in one list, each with its place",
          "[unit][config]") {
  const testing::TemporaryDirectory directory;
  written(directory, "broken.so", "this is no library");
  const PluginLoader loader({directory.path(), fs::path(EPHOR_BUILD_DIR) / "lib/ephor/examples"});
  const fs::path file = written(directory, "e.yaml",
                                "data_dirr: x\n"
                                "bus:\n"
                                "  bytes_max: lots\n"
                                "plugins:\n"
                                "  minimal_cpp:\n"
                                "    config: {threshold: high}\n"
                                "  other:\n"
                                "    plugin: minimal_cpp\n"
                                "    config:\n"
                                "      treshold: 1\n"
                                "  not_there: {}\n"
                                "  broken: {}\n"
                                "  off: {enabled: false, plugin: not_there_either}\n");
  std::vector<ConfigError> errors;
  Config config = Config::load(file, {}, errors);
  (void)read_settings(config, loader, errors);
  std::vector<std::string> texts;
  for (const ConfigError& error : errors) {
    texts.push_back(error.text());
    UNSCOPED_INFO(error.text());
  }
  const auto count = [&](const std::string& place, const std::string& words) {
    return std::count_if(texts.begin(), texts.end(), [&](const std::string& text) {
      return text.starts_with(file.string() + place) && has(text, words);
    });
  };
  CHECK(texts.size() == 6);
  CHECK(count(":1:1 data_dirr:", "did you mean data_dir?") == 1);
  CHECK(count(":3:3 bus.bytes_max:", "found \"lots\", expected integer") == 1);
  CHECK(count(":6:14 plugins.minimal_cpp.config.threshold:", "found \"high\", expected number") ==
        1);
  CHECK(count(":10:7 plugins.other.config.treshold:", "did you mean threshold?") == 1);
  CHECK(count(":11:3 plugins.not_there:", "found no not_there.so, expected it in") == 1);
  CHECK(count(":12:3 plugins.broken:", "found no loadable library") == 1);
}

TEST_CASE("settings: defaults and given values arrive", "[unit][config]") {
  const testing::TemporaryDirectory directory;
  const PluginLoader loader({fs::path(EPHOR_BUILD_DIR) / "lib/ephor/examples"});
  std::vector<ConfigError> errors;
  Config config = Config::load({},
                               {"data_dir=/tmp/y", "plugins.two.plugin=minimal_cpp",
                                "plugins.one={plugin: minimal_cpp, config: {threshold: 7}}",
                                "checkpoint.interval_s=0.5", "journal.durability=off"},
                               errors);
  const Settings settings = read_settings(config, loader, errors);
  for (const ConfigError& error : errors) UNSCOPED_INFO(error.text());
  REQUIRE(errors.empty());
  CHECK(settings.data_dir == "/tmp/y");
  CHECK(settings.checkpoint_every_ns == 500'000'000);
  CHECK(settings.journal_durability == Durability::off);
  CHECK(settings.log.dedup_window == 2'000'000);
  REQUIRE(settings.instances.size() == 2);
  CHECK(settings.instances[0].name == "one");
  CHECK(Json::parse(settings.instances[0].config_json) == Json{{"threshold", 7}});
  CHECK(Json::parse(settings.instances[1].config_json) == Json{{"threshold", 100}});
}

// ---- metrics and routes -----------------------------------------------------------------------

TEST_CASE("metrics: the text is that of the Prometheus format", "[unit][metrics]") {
  using Kind = MetricRegistry::Kind;
  MetricRegistry metrics;
  metrics.series(Kind::gauge, "b_gauge", "Line\nand \\ and \"", {}).value = 0.25;
  auto& first = metrics.series(Kind::counter, "a_total", "Counts.",
                               {{"z", "1"}, {"path", "C:\\x \"y\"\nend"}});
  first.value = 3;
  metrics.series(Kind::counter, "a_total", "ignored: the first help stays", {{"z", "2"}}).value =
      std::numeric_limits<double>::infinity();
  CHECK(&metrics.series(Kind::counter, "a_total", "", {{"path", "C:\\x \"y\"\nend"}, {"z", "1"}}) ==
        &first);
  int collected = 0;
  metrics.add_collector([&] {
    ++collected;
    metrics.series(Kind::gauge, "c_gauge", "Late.", {}).value = std::nan("");
  });
  CHECK(metrics.render() ==
        "# HELP a_total Counts.\n"
        "# TYPE a_total counter\n"
        "a_total{path=\"C:\\\\x \\\"y\\\"\\nend\",z=\"1\"} 3\n"
        "a_total{z=\"2\"} +Inf\n"
        "# HELP b_gauge Line\\nand \\\\ and \"\n"
        "# TYPE b_gauge gauge\n"
        "b_gauge 0.25\n"
        "# HELP c_gauge Late.\n"
        "# TYPE c_gauge gauge\n"
        "c_gauge NaN\n");
  CHECK(collected == 1);
}

template <typename Call>
std::string failure_of(ephor_status status, Call&& call) {
  try {
    call();
  } catch (const HostError& failure) {
    CHECK(failure.status() == status);
    return failure.what();
  }
  FAIL("nothing was thrown");
  return "";
}

TEST_CASE("metrics: bad names, another kind and too many series are refused", "[unit][metrics]") {
  using Kind = MetricRegistry::Kind;
  MetricRegistry metrics;
  metrics.series(Kind::counter, "a:total", "", {});
  for (const char* name : {"", "1a", "a-b", "a b"}) {
    INFO(name);
    CHECK(
        has(failure_of(EPHOR_INVALID, [&] { metrics.series(Kind::counter, name, "", {}); }), name));
    CHECK(has(failure_of(EPHOR_INVALID,
                         [&] {
                           metrics.series(Kind::counter, "ok", "", {{name, ""}});
                         }),
              name));
  }
  failure_of(EPHOR_INVALID, [&] { metrics.series(Kind::counter, "ok", "", {{"a:b", ""}}); });
  CHECK(has(failure_of(EPHOR_CONFLICT, [&] { metrics.series(Kind::gauge, "a:total", "", {}); }),
            "a:total"));
  for (std::size_t i = 1; i < MetricRegistry::kSeriesMax; ++i) {
    metrics.series(Kind::gauge, "many", "", {{"n", std::to_string(i)}});
  }
  failure_of(EPHOR_FULL, [&] { metrics.series(Kind::gauge, "many", "", {{"n", "one more"}}); });
  CHECK_NOTHROW(metrics.series(Kind::gauge, "many", "", {{"n", "7"}}));
}

TEST_CASE("registry: a taken route names the instance that has it", "[unit][registry]") {
  Registry registry;
  const auto route = [](const char* method, const char* path, const char* instance) {
    return RouteEntry{method, path, "q", "read", "", "", "", "", instance};
  };
  registry.add_route(route("GET", "/api/a/{id}", "first"));
  const std::uint64_t generation = registry.routes_generation();
  CHECK(has(failure_of(EPHOR_CONFLICT,
                       [&] { registry.add_route(route("GET", "/api/a/{other}", "second")); }),
            "instance first"));
  CHECK(registry.routes_generation() == generation);
  registry.add_route(route("POST", "/api/a/{id}", "second"));
  registry.add_route(route("GET", "/api/a/{id}/b", "second"));
  CHECK(registry.routes_generation() != generation);
  failure_of(EPHOR_INVALID, [&] { registry.add_route(route("GET", "api", "second")); });
  failure_of(EPHOR_INVALID, [&] { registry.add_route(route("", "/api", "second")); });
  int visited = 0;
  registry.visit_routes([&](const RouteEntry&) { ++visited; });
  CHECK(visited == 3);
}

}  // namespace
}  // namespace ephor::host
