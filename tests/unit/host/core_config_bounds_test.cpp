// SPDX-License-Identifier: Apache-2.0
//
// Configurations that no one writes on purpose: most are findings of tests/fuzz/config_fuzz.cpp.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/config.hpp"
#include "core/plugin_loader.hpp"
#include "core/schema.hpp"
#include "core/settings.hpp"
#include "event/error.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;

ConfigSources made_up_sources() {
  return {[](const std::string& name) -> std::optional<std::string> {
            if (name == "TOKEN") return "hunter2";
            if (name == "BYTES") return "\xC3\x28";
            return std::nullopt;
          },
          [](const std::filesystem::path&) -> std::optional<std::string> { return std::nullopt; }};
}

struct Read {
  explicit Read(const std::string& text, const std::vector<std::string>& overrides = {})
      : config(Config::parse(text, "file", overrides, made_up_sources(), errors)) {}
  std::string only_error() const {
    REQUIRE(errors.size() == 1);
    return errors[0].text();
  }
  std::vector<ConfigError> errors;
  Config config;
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("config: aliases that hold themselves or multiply are refused", "[unit][config]") {
  CHECK(has(Read("a: &a [*a]\n").only_error(), "found more than 64 levels"));
  CHECK(has(Read("a: &a {b: *a, c: *a}\n").only_error(), "found more than 64 levels"));
  std::string bomb = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n";
  for (char name = 'b'; name <= 'k'; ++name) {
    const std::string before(1, static_cast<char>(name - 1));
    bomb += std::string(1, name) + ": &" + std::string(1, name) + " [";
    for (int i = 0; i < 10; ++i) bomb += (i == 0 ? "*" : ", *") + before;
    bomb += "]\n";
  }
  CHECK(has(Read(bomb).only_error(), "found more than 8 MiB of values"));
  CHECK(Read("a: &a [1, 2]\nb: [*a, *a]\n").config.tree() ==
        Json{{"a", {1, 2}}, {"b", {{1, 2}, {1, 2}}}});
}

TEST_CASE("config: --set makes one element at most", "[unit][config]") {
  CHECK(Read("a: [1]\n", {"a.1=2", "b.0.c=3"}).config.tree() ==
        Json{{"a", {1, 2}}, {"b", {{{"c", 3}}}}});
  CHECK(Read("a: [1]\n", {"a.99999999999=2"}).only_error() ==
        "--set a.99999999999: found no element 99999999999, expected 0 to 1");
  CHECK(has(Read("a: [1]\n", {"a.-=2"}).only_error(), "found no element -, expected 0 to 1"));
  // A number is a name where there is no array.
  CHECK(Read("", {"b.4000000000=1"}).config.tree() == Json{{"b", {{"4000000000", 1}}}});
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "a.";
  CHECK(has(Read("", {deep + "a=1"}).only_error(), "found more than 64 levels"));
}

TEST_CASE("config: what a secret is part of is hidden too", "[unit][config]") {
  Read read("a: {b: [\"${TOKEN}\"]}\nc: 1\n");
  CHECK(read.errors.empty());
  for (const char* pointer : {"/a", "/a/b", "/a/b/0"}) {
    CHECK(read.config.error_at(pointer, "found [\"hunter2\"], expected text").message ==
          "found *** (hidden), expected text");
  }
  CHECK(read.config.error_at("/c", "found 1, expected text").message == "found 1, expected text");
  read.config.note_copy("/a", "/c");
  CHECK(has(read.config.error_at("/c/b", "found 1, expected text").message, "hidden"));
  // What replaces a secret is none.
  Read replaced("a: \"${TOKEN}\"\n", {"a=5"});
  CHECK(replaced.config.error_at("/a", "found 5, expected text").message ==
        "found 5, expected text");
  CHECK(replaced.config.place_of("/a") == "--set");
}

TEST_CASE("config: a wrong key of the ingest section shows no secret and names its line",
          "[unit][config]") {
  Read read("ingest:\n  assume_timezone: \"${TOKEN}\"\n");
  const PluginLoader loader({});
  read_settings(read.config, loader, read.errors);
  CHECK(read.only_error() ==
        "file:2:3: found *** (hidden), expected \"UTC\" or an offset like \"+02:00\" (names of "
        "zones are not supported)");
}

TEST_CASE("config: text is UTF-8 and keys are text", "[unit][config]") {
  CHECK(Read("a: \"${BYTES}\"\n").only_error() ==
        "file:1:4 a: found *** (hidden), expected UTF-8 text");
  CHECK(Read("a: 1\nb\xFF: 2\nc: 3\n").only_error() ==
        "file:2: found bytes that are no UTF-8, expected YAML or JSON");
  CHECK(has(Read("", {"a=\xFF"}).only_error(), "--set a: found bytes that are no UTF-8"));
  CHECK(has(Read("? [a]\n: 1\n").only_error(), "found a key that is no text"));
}

TEST_CASE("config: numbers are finite and have one sign", "[unit][config]") {
  CHECK(Read("[nan(3), +-5, +5, -5, 1e999, inf]\n").errors.size() == 1);  // no mapping
  CHECK(Read("a: [nan(3), +-5, +5, -5, 1e999]\n").config.tree()["a"] ==
        Json{"nan(3)", "+-5", 5, -5, "1e999"});
}

TEST_CASE("config: endless times and limits are bounded", "[unit][config]") {
  Read read("shutdown: {drain_timeout_s: 1e300}\nlog_time: {allowed_lateness_s: 1e18}\n");
  const PluginLoader loader({});
  const Settings settings = read_settings(read.config, loader, read.errors);
  CHECK(read.errors.empty());
  CHECK(settings.drain_timeout_ns == 1'000'000'000'000'000'000);
}

TEST_CASE("config: a secret file is a regular one of at most 1 MiB", "[unit][config]") {
  const testing::TemporaryDirectory directory;
  const auto file = directory.path() / "large";
  std::ofstream(file) << std::string((1U << 20) + 1, 'x');
  const ConfigSources sources = ConfigSources::of_process();
  CHECK_FALSE(sources.file(file));
  CHECK_FALSE(sources.file(directory.path()));
  CHECK_FALSE(sources.file("/dev/zero"));
  std::ofstream(file) << "short\n";
  CHECK(sources.file(file) == "short\n");
}

TEST_CASE("schema: a pattern is not tried on text of any length", "[unit][config]") {
  Json value = std::string(1'000'000, 'a');
  std::vector<SchemaError> errors;
  apply_schema({{"pattern", "^a+$"}}, value, "/x", errors);
  CHECK(errors.size() == 1);
  value = "aaa";
  errors.clear();
  apply_schema({{"pattern", "^a+$"}}, value, "/x", errors);
  CHECK(errors.empty());
}

TEST_CASE("plugins: an id is a name, not a way", "[unit][config]") {
  const testing::TemporaryDirectory directory;
  std::ofstream(directory.path() / "x.so") << "no library";
  std::filesystem::create_directory(directory.path() / "inner");
  const PluginLoader loader({directory.path() / "inner"});
  const auto said = [&](std::string_view id) -> std::string {
    try {
      loader.load(id);
    } catch (const HostError& error) {
      return error.what();
    }
    return "loaded";
  };
  CHECK(has(said("../x"), "found the plugin id \"../x\", expected a file's name"));
  CHECK(has(said((directory.path() / "x").string()), "expected a file's name"));
  CHECK(has(said("x"), "found no x.so"));
}

}  // namespace
}  // namespace ephor::host
