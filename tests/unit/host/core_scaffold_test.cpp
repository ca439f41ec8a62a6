// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/plugin_scaffold.hpp"
#include "event/error.hpp"
#include "support/catch.hpp"
#include "support/shared_data.hpp"

namespace ephor::host {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) {
    text.replace(at, what.size(), by);
  }
}

// What is said about a name or language that is refused; empty if it is not.
std::string refusal(const std::string& name, std::string_view language = "c++") {
  try {
    (void)scaffold_files(name, language);
    return {};
  } catch (const HostError& failure) {
    CHECK(failure.status() == EPHOR_INVALID);
    return failure.what();
  }
}

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> out;
  for (const auto& entry : fs::directory_iterator(folder)) out.insert(entry.path().filename());
  return out;
}

}  // namespace

TEST_CASE("scaffold: a name is small words joined by single underscores", "[unit][scaffold]") {
  for (const char* good : {"a", "a1", "my_plugin", "a_1_b", "abcdefghijklmnopqrstuvwxyz_12345"}) {
    CHECK(refusal(good).empty());
  }
  for (const char* bad :
       {"", "A", "myPlugin", "1a", "_a", "a_", "a__b", "a-b", "a.b", "a b", "\xC3\xA4", "a/b", "..",
        "abcdefghijklmnopqrstuvwxyz_123456", "allow", "ephor", "http_api"}) {
    const std::string what = refusal(bad);
    CHECK(what.find("found the name \"" + std::string(bad) + "\"") != std::string::npos);
    CHECK(what.find("expected") != std::string::npos);
  }
}

TEST_CASE("scaffold: an unknown language is refused", "[unit][scaffold]") {
  CHECK(refusal("mine", "rust") == "--lang: found rust, expected c++ or c");
  CHECK(refusal("mine", "") == "--lang: found , expected c++ or c");
  CHECK(refusal("mine", "c").empty());
}

TEST_CASE("scaffold: the files are the templates with the names filled in", "[unit][scaffold]") {
  const fs::path templates = fs::path(EPHOR_SOURCE_DIR) / "sdk/templates";
  const auto language = GENERATE(as<std::string>{}, "c++", "c");
  const std::string kind = language == "c" ? "c" : "cpp";
  const std::string header = language == "c" ? "h" : "hpp";
  // Where each has to be, and of which template it is.
  const std::vector<std::pair<std::string, std::string>> expected{
      {".gitignore", "common/gitignore.in"},
      {".clang-format", "common/clang-format.in"},
      {".ci/run", "common/ci_run.in"},
      {"README.md", "common/README.md.in"},
      {"two_words.yaml", "common/config.yaml.in"},
      {"tests/two_words_test.cpp", "common/test.cpp.in"},
      {"CMakeLists.txt", kind + "/CMakeLists.txt.in"},
      {"src/config_schema." + header, kind + "/config_schema." + header + ".in"},
      {"src/two_words." + kind, kind + "/plugin." + kind + ".in"}};
  const std::vector<ScaffoldFile> files = scaffold_files("two_words", language);
  CHECK(files.size() == expected.size());
  for (const auto& [path, source] : expected) {
    std::string text = text_of(templates / source);
    REQUIRE(!text.empty());
    replace_all(text, "@NAME@", "two_words");
    replace_all(text, "@Name@", "TwoWords");
    replace_all(text, "@SOURCE@", "src/two_words." + kind);
    replace_all(text, "@SCHEMA@", "src/config_schema." + header);
    const auto found = std::find_if(files.begin(), files.end(), [&, name = path](const auto& file) {
      return file.path == name;
    });
    INFO(path);
    REQUIRE(found != files.end());
    if (path != "README.md") CHECK(found->text == text);  // it names compilers, too
    CHECK(found->is_program == (path == ".ci/run"));
    for (const char* left : {"@NAME", "@Name", "@SOURCE", "@SCHEMA", "@NEEDS"}) {
      CHECK(found->text.find(left) == std::string::npos);
    }
  }
}

TEST_CASE("scaffold: the project's format is the repository's", "[unit][scaffold]") {
  const fs::path root = EPHOR_SOURCE_DIR;
  CHECK(text_of(root / "sdk/templates/common/clang-format.in") == text_of(root / ".clang-format"));
}

TEST_CASE("scaffold: an absent or empty folder is filled, with programs that run",
          "[unit][scaffold]") {
  const testing::TemporaryDirectory directory;
  const auto is_there = GENERATE(false, true);
  const fs::path folder = directory.path() / "my_plugin";
  if (is_there) fs::create_directory(folder);
  write_scaffold(folder / "", "c++");
  CHECK(names_in(directory.path()) == std::set<std::string>{"my_plugin"});
  CHECK(names_in(folder) == std::set<std::string>{".ci", ".clang-format", ".gitignore",
                                                  "CMakeLists.txt", "README.md", "my_plugin.yaml",
                                                  "src", "tests"});
  for (const ScaffoldFile& file : scaffold_files("my_plugin", "c++")) {
    CHECK(text_of(folder / file.path) == file.text);
    const bool is_program =
        (fs::status(folder / file.path).permissions() & fs::perms::owner_exec) != fs::perms::none;
    CHECK(is_program == file.is_program);
  }
}

TEST_CASE("scaffold: what is there stays as it is, and nothing is left behind",
          "[unit][scaffold]") {
  const testing::TemporaryDirectory directory;
  const fs::path folder = directory.path() / "mine";
  const auto refused = [&] {
    try {
      write_scaffold(folder, "c");
      return std::string();
    } catch (const HostError& failure) {
      CHECK(failure.status() == EPHOR_INVALID);
      return std::string(failure.what());
    }
  };
  SECTION("a folder with a file in it") {
    fs::create_directory(folder);
    std::ofstream(folder / "notes.txt") << "mine";
    CHECK(refused().find("expected no or an empty folder") != std::string::npos);
    CHECK(names_in(folder) == std::set<std::string>{"notes.txt"});
  }
  SECTION("a file") {
    std::ofstream(folder) << "mine";
    CHECK(refused().find(folder.string()) != std::string::npos);
    CHECK(text_of(folder) == "mine");
  }
  SECTION("a link to nowhere") {
    fs::create_symlink("nowhere", folder);
    CHECK(!refused().empty());
    CHECK(fs::is_symlink(folder));
  }
  CHECK(names_in(directory.path()) == std::set<std::string>{"mine"});
}

TEST_CASE("scaffold: a folder that cannot be made is said so", "[unit][scaffold]") {
  const testing::TemporaryDirectory directory;
  try {
    write_scaffold(directory.path() / "absent" / "mine", "c++");
    FAIL("it was written");
  } catch (const HostError& failure) {
    CHECK(failure.status() == EPHOR_IO);
    CHECK(std::string(failure.what()).find("absent") != std::string::npos);
  }
  CHECK(names_in(directory.path()).empty());
}

}  // namespace ephor::host
