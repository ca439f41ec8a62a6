// SPDX-License-Identifier: Apache-2.0
//
// The parts of `ephor plugin check` that need no plugin: configurations made from a schema, the
// reader of library files, guarded text and the report.
#include <ephor/plugin.hpp>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <string>

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check/config_maker.hpp"
#include "check/elf_image.hpp"
#include "check/guarded_text.hpp"
#include "check/report.hpp"
#include "check/suppressions.hpp"
#include "core/schema.hpp"
#include "support/catch.hpp"

using namespace ephor::host;
using namespace ephor::host::check;
using nlohmann::json;

namespace {

const json kSchema = json::parse(R"({
  "type": "object", "additionalProperties": false, "required": ["name"],
  "properties": {
    "name": {"type": "string", "minLength": 2, "maxLength": 9},
    "unit": {"enum": ["s", "ms"]},
    "count": {"type": "integer", "minimum": 3, "exclusiveMaximum": 9},
    "part": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "is_on": {"type": ["boolean", "null"]},
    "list": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "integer"}},
    "free": {"type": "object", "additionalProperties": {"type": "string"}},
    "code": {"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["ABC"]}}})");
const json kBase{{"name", "base"}};

bool is_valid(json value) {
  std::vector<SchemaError> errors;
  apply_schema(kSchema, value, "", errors);
  return errors.empty();
}

std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A shared library of the system that every machine has: the C++ library itself.
std::filesystem::path some_library() {
  Dl_info info{};
  const auto address =
      reinterpret_cast<const void*>(static_cast<void* (*)(std::size_t)>(&operator new));
  REQUIRE(::dladdr(address, &info) != 0);
  return info.dli_fname;
}

// The signal that ends `body` in a process of its own; 0: it returned.
template <typename Body>
int signal_of(const Body& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGSEGV, SIG_DFL);  // not the test program's
    body();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}  // namespace

TEST_CASE("config_maker: random configurations are valid and reach all of a schema",
          "[unit][check]") {
  std::mt19937_64 random(7);
  ConfigMaker maker(kSchema, kBase, random);
  std::set<std::string> seen_keys;
  std::set<int> seen_counts;
  for (int i = 0; i < 2000; ++i) {
    const json config = maker.random_valid();
    INFO(config.dump());
    REQUIRE(is_valid(config));
    for (const auto& [key, unused] : config.items()) seen_keys.insert(key);
    if (config.contains("count")) seen_counts.insert(config["count"].get<int>());
  }
  REQUIRE(seen_keys.size() == kSchema["properties"].size());
  REQUIRE(seen_counts == std::set<int>{3, 4, 5, 6, 7, 8});
}

TEST_CASE("config_maker: the same seed makes the same configurations", "[unit][check]") {
  const auto made = [](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    ConfigMaker maker(kSchema, kBase, random);
    std::string out;
    for (int i = 0; i < 50; ++i) out += maker.random_valid().dump();
    return out;
  };
  REQUIRE(made(1) == made(1));
  REQUIRE(made(1) != made(2));
}

TEST_CASE("config_maker: bounds are those of the schema", "[unit][check]") {
  std::mt19937_64 random(7);
  ConfigMaker maker(kSchema, kBase, random);
  const auto cases = maker.at_bounds();
  const auto has = [&](const char* key, const json& value) {
    return std::any_of(cases.begin(), cases.end(), [&](const auto& one) {
      return one.config.contains(key) && one.config[key] == value;
    });
  };
  for (const auto& one : cases) {
    INFO(one.what);
    REQUIRE(is_valid(one.config));
  }
  REQUIRE(has("count", 3));
  REQUIRE(has("count", 8));  // below the exclusive 9
  REQUIRE(has("part", 1));
  REQUIRE(has("unit", "ms"));
  REQUIRE(has("name", "xxxxxxxxx"));
  REQUIRE_FALSE(has("list", json::array()));  // minItems
}

TEST_CASE("config_maker: refused configurations are refused by the schema", "[unit][check]") {
  std::mt19937_64 random(7);
  ConfigMaker maker(kSchema, kBase, random);
  const auto cases = maker.refused();
  for (const auto& one : cases) {
    INFO(one.what);
    REQUIRE_FALSE(is_valid(one.config));
  }
  REQUIRE(std::any_of(cases.begin(), cases.end(),
                      [](const auto& one) { return !one.config.contains("name"); }));
  REQUIRE(cases.size() > 20);
}

TEST_CASE("elf_image: a library's symbols and needs are read", "[unit][check]") {
  const ElfImage image(some_library());
  const auto is_exported = [&](const char* name) {
    return std::any_of(image.symbols().begin(), image.symbols().end(), [&](const auto& symbol) {
      return symbol.is_defined && symbol.name == name;
    });
  };
  REQUIRE(is_exported("_Znwm"));  // operator new(unsigned long)
  REQUIRE_FALSE(is_exported("no_such_symbol"));
  const auto needed = image.texts_of(DT_NEEDED);
  REQUIRE(std::find(needed.begin(), needed.end(), "libc.so.6") != needed.end());
  REQUIRE(image.segment_of(PT_DYNAMIC) != nullptr);
}

TEST_CASE("elf_image: no byte of a file is trusted", "[unit][check]") {
  const std::string whole = bytes_of(some_library());
  const auto file = std::filesystem::temp_directory_path() /
                    ("ephor-check-test-" + std::to_string(::getpid()) + ".so");
  const auto read = [&](const std::string& bytes) {
    std::ofstream(file, std::ios::binary) << bytes;
    try {
      const ElfImage image(file);
      return true;
    } catch (const std::runtime_error& failure) {
      REQUIRE(std::string(failure.what()).find("expected") != std::string::npos);
      return false;
    }
  };
  REQUIRE(read(whole));
  for (const std::size_t size : {0, 3, 16, 63, 64, 100, 1000})
    REQUIRE_FALSE(read(whole.substr(0, size)));
  // Any byte of its headers may be another one: read or refused, nothing else.
  std::mt19937_64 random(11);
  for (int i = 0; i < 150; ++i) {
    std::string bytes = whole;
    for (int k = 0; k < 3; ++k) bytes[random() % 0x400] = static_cast<char>(random());
    (void)read(bytes);
  }
  std::filesystem::remove(file);
}

TEST_CASE("guarded_text: reading behind it or after it is a crash", "[unit][check]") {
  const GuardedText text("abc", 64);
  REQUIRE(ephor::to_text(text.view()) == "abc");
  REQUIRE(static_cast<unsigned char>(text.data()[3 + 63]) == 0xA5);
  const volatile char* end = text.data() + 3 + 64;
  REQUIRE(signal_of([&] { (void)*end; }) == SIGSEGV);
  const volatile char* kept = [] { return GuardedText("gone").data(); }();
  REQUIRE(signal_of([&] { (void)*kept; }) == SIGSEGV);
  REQUIRE(GuardedText("").view().data != nullptr);
}

TEST_CASE("report: what another check says is said once", "[unit][check]") {
  const Check entry{"load/entry", "", "", nullptr};
  const Check id{"descriptor/id", "", "", nullptr};
  const auto settled = [&](Outcome of_entry) {
    std::vector<Result> results(2);
    results[0].check = &entry;
    results[0].outcome = of_entry;
    results[1].check = &id;
    results[1].outcome = Outcome::blocked;
    results[1].message = "load/entry";
    settle_blocked(results);
    return results[1].outcome;
  };
  REQUIRE(settled(Outcome::failed) == Outcome::skipped);
  REQUIRE(settled(Outcome::crashed) == Outcome::skipped);
  REQUIRE(settled(Outcome::passed) == Outcome::failed);
}

TEST_CASE("suppressions: names and patterns, of one plugin or of all", "[unit][check]") {
  REQUIRE(matches("load/entry", {"load/entry"}));
  REQUIRE(matches("load/entry", {"x", "load/*"}));
  REQUIRE_FALSE(matches("load/entry", {"entry", "loa"}));
  const Check entry{"load/entry", "", "", nullptr};
  std::vector<Result> results(1);
  results[0].check = &entry;
  std::vector<Suppression> all{{"load/*", "other", "why", false},
                               {"load/*", "mine", "because", false}};
  apply(all, "mine", results);  // it passed: there is nothing to suppress
  REQUIRE(results[0].suppressed_by.empty());
  results[0].outcome = Outcome::failed;
  apply(all, "mine", results);
  REQUIRE(results[0].suppressed_by == "because");
  REQUIRE_FALSE(all[0].is_used);
  REQUIRE(all[1].is_used);
}
