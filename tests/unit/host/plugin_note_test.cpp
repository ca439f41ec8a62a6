// SPDX-License-Identifier: Apache-2.0
#include "core/plugin_note.hpp"

#include <ephor/note.hpp>

#include <cstring>
#include <fstream>

#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "event/error.hpp"
#include "support/catch.hpp"
#include "support/crafted_library.hpp"
#include "support/shared_data.hpp"

namespace ephor::host {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::crafted_library;
using testing::crafted_note;
using testing::put_number;

class Memory final : public LibraryBytes {
 public:
  explicit Memory(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  void read(std::uint64_t offset, char* to, std::size_t size) const override {
    REQUIRE(offset <= bytes_.size());
    REQUIRE(size <= bytes_.size() - offset);
    std::memcpy(to, bytes_.data() + offset, size);
  }

 private:
  std::string_view bytes_;
};

LibraryFacts facts_of(std::string_view bytes) { return read_library(Memory(bytes)); }

std::string failure_of(std::string_view bytes) {
  try {
    (void)facts_of(bytes);
  } catch (const HostError& failure) {
    return failure.what();
  }
  return "no failure";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

const char* const kCounter =
    R"~({"note":1,"id":"counter","version":"1.2.0","summary":"Counts \"all\"","abi":"1.0",)~"
    R"~("abi_required":0,"capabilities":"(0x01u | 0x02u)","sdk":"0.1.0","license":"MIT",)~"
    R"~("required_extensions":["ephor.query/1"],"config_schema":{"type":"object"}})~";

std::string with_note(std::string_view json) {
  return crafted_library(crafted_note("Ephor", 1, std::string(json) + '\0'));
}

TEST_CASE("note: every member arrives, other notes are passed over", "[unit][note]") {
  const std::string bytes = crafted_library(
      crafted_note("GNU", 3, "\x01\xab\xcd") + crafted_note("Ephor", 7, "of a later type") +
      crafted_note("Ephor", 1, kCounter) + std::string(8, '\0') +
      crafted_note("Ephor", 1,
                   R"({"id":"b","version":"2","summary":"","abi":"1.7","abi_required":3})"));
  const LibraryFacts facts = facts_of(bytes);
  CHECK(facts.size == bytes.size());
  CHECK(facts.build_id == "01abcd");
  CHECK_FALSE(facts.has_entry.has_value());
  REQUIRE(facts.notes.size() == 2);
  const PluginNote& note = facts.notes[0];
  CHECK(note.id == "counter");
  CHECK(note.version == "1.2.0");
  CHECK(note.summary == "Counts \"all\"");
  CHECK(note.abi_major == 1);
  CHECK(note.abi_minor == 0);
  CHECK(note.abi_minor_required == 0);
  CHECK(note.capabilities == 3);
  CHECK(note.sdk == "0.1.0");
  CHECK(note.license == "MIT");
  CHECK(note.required_extensions == std::vector<std::string>{"ephor.query/1"});
  CHECK(note.config_schema == R"({"type":"object"})");
  CHECK(facts.notes[1].abi_minor == 7);
  CHECK(facts.notes[1].abi_minor_required == 3);
  CHECK(facts.notes[1].capabilities == 0);
  CHECK_FALSE(facts.notes[1].config_schema.has_value());
  CHECK(facts_of(crafted_library("")).notes.empty());
  for (const std::size_t padding : {4U, 8U, 12U, 32U, 100U}) {
    CHECK(facts_of(crafted_library(std::string(padding, '\0') + crafted_note("Ephor", 1, kCounter) +
                                   std::string(padding, '\0')))
              .notes.size() == 1);
  }
}

TEST_CASE("note: what is no plugin for this machine is named", "[unit][note]") {
  const std::string good = with_note(kCounter);
  const auto broken = [&](std::size_t at, std::uint64_t value, std::size_t size) {
    std::string bytes = good;
    put_number(bytes, at, value, size);
    return failure_of(bytes);
  };
  CHECK(failure_of(good) == "no failure");
  CHECK(has(failure_of(""), "found no loadable library, expected a plugin: it has 0 bytes"));
  CHECK(has(failure_of(std::string(500, 'x')),
            "found no loadable library, expected a plugin: it is no ELF file"));
  CHECK(has(broken(testing::kAtClass, 1, 1), "class 1"));
  CHECK(has(broken(testing::kAtData, 2, 1), "data 2"));
  CHECK(has(broken(testing::kAtType, 2, 2), "ELF file of type 2"));
  CHECK(has(broken(testing::kAtMachine, 8, 2), "machine 8"));
  CHECK(has(broken(testing::kAtProgramHeaderCount, 0, 2), "found 0 program headers"));
  CHECK(has(broken(testing::kAtProgramHeaderCount, 65535, 2), "found 65535 program headers"));
  CHECK(has(broken(testing::kAtProgramHeaders, ~0ULL - 7, 8), "expected it inside the file"));
  CHECK(has(broken(testing::kAtSegmentOffset, ~0ULL, 8), "expected it inside the file"));
  CHECK(has(broken(testing::kAtSegmentSize, ~0ULL, 8), "found notes of more than"));
  CHECK(has(broken(testing::kAtSegmentSize, 1 << 20, 8), "expected it inside the file"));
  CHECK(has(broken(testing::kAtNotes, 0xfffffffe, 4), "expected it inside the segment"));
  CHECK(has(broken(testing::kAtNotes + 4, 0xfffffffe, 4), "expected it inside the segment"));
}

TEST_CASE("note: a description that is none says what is wrong with it", "[unit][note]") {
  const auto without = [](const char* name) {
    Json note = Json::parse(kCounter);
    note.erase(name);
    return failure_of(with_note(note.dump()));
  };
  const auto with = [](const char* name, const Json& value) {
    Json note = Json::parse(kCounter);
    note[name] = value;
    return failure_of(with_note(note.dump()));
  };
  CHECK(has(failure_of(with_note("{\"id\":")), "no JSON object"));
  CHECK(has(failure_of(with_note("[1]")), "no JSON object"));
  CHECK(has(failure_of(with_note("{\"id\":\"\xff\"}")), "no JSON object"));
  CHECK(has(failure_of(with_note(std::string(100000, '['))), "nested deeper than 64"));
  for (const char* name : {"id", "version", "summary", "abi", "abi_required"}) {
    CHECK(has(without(name), std::string("no \"") + name + "\" in the note"));
    CHECK(has(with(name, Json::array()), std::string("found [] as \"") + name + "\""));
  }
  CHECK(has(with("id", ""), "empty \"id\""));
  for (const char* abi : {"", "1", "1.", ".1", "1.0.0", "1.70000", "x.y", "-1.0"}) {
    CHECK(has(with("abi", abi), "expected \"MAJOR.MINOR\""));
  }
  CHECK(has(with("abi_required", 70000), "at most 65535"));
  for (const Json& bad : {Json("EPHOR_CAP_SOURCE"), Json("1 |"), Json(""), Json("0x"), Json(-1),
                          Json(5000000000), Json("0x100000000"), Json(nullptr)}) {
    CHECK(has(with("capabilities", bad), "expected a number, or C constants joined by |"));
  }
  CHECK(has(with("required_extensions", "x"), "expected a list of texts"));
  CHECK(has(with("required_extensions", {1}), "expected texts"));
  CHECK(has(with("config_schema", "{}"), "expected a JSON Schema"));
  CHECK(has(with("config_schema_hash", "12"), "expected 16 hexadecimal digits"));
  CHECK(has(failure_of(crafted_library([] {
              std::string many;
              for (int i = 0; i < 65; ++i) many += crafted_note("Ephor", 1, kCounter);
              return many;
            }())),
            "more than 64 plugins"));
}

TEST_CASE("note: cut off or damaged bytes are refused or read, never more", "[unit][note]") {
  const std::string good =
      crafted_library(crafted_note("GNU", 3, "1234") + crafted_note("Ephor", 1, kCounter));
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK(failure_of(std::string_view(good).substr(0, size)) != "no failure");
  }
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      std::string bytes = good;
      bytes[at] = static_cast<char>(value);
      (void)failure_of(bytes);  // Memory holds every read to the bytes
    }
  }
}

TEST_CASE("note: only regular files are read, and nothing waits", "[unit][note]") {
  const testing::TemporaryDirectory directory;
  const auto failure = [](const fs::path& file) {
    try {
      (void)read_library(file);
    } catch (const HostError& error) {
      return std::string(error.what());
    }
    return std::string("no failure");
  };
  const fs::path pipe = directory.path() / "pipe.so";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(failure(pipe) == pipe.string() + ": found a pipe, expected a shared library");
  CHECK(has(failure(directory.path()), "found a directory, expected a shared library"));
  CHECK(failure("/dev/zero") == "/dev/zero: found a device, expected a shared library");
  CHECK(has(failure(directory.path() / "none.so"), "No such file or directory, expected a plugin"));
  const fs::path empty = directory.path() / "empty.so";
  std::ofstream(empty).close();
  CHECK(has(failure(empty), empty.string() + ": found no loadable library"));
}

TEST_CASE("note: EPHOR_NOTE and EPHOR_PLUGIN write what the reader reads", "[unit][note]") {
  const fs::path folder = fs::path(EPHOR_BUILD_DIR) / "lib/ephor/examples";
  const LibraryFacts in_c = read_library(folder / "minimal_c.so");
  REQUIRE(in_c.notes.size() == 1);
  CHECK(in_c.notes[0].id == "minimal_c");
  CHECK(in_c.notes[0].version == "0.1.0");
  CHECK(in_c.notes[0].summary == "Counts events");
  CHECK(in_c.notes[0].capabilities == 0);
  CHECK(Json::parse(in_c.notes[0].config_schema.value())["additionalProperties"] == false);
  CHECK(in_c.has_entry == true);
  CHECK(in_c.exported_count == 1);
  CHECK(in_c.size == fs::file_size(folder / "minimal_c.so"));
  const LibraryFacts in_cpp = read_library(folder / "minimal_cpp.so");
  REQUIRE(in_cpp.notes.size() == 1);
  CHECK(in_cpp.notes[0].summary == "Alarms on metrics above a threshold");
  CHECK(Json::parse(in_cpp.notes[0].config_schema.value())["properties"]["threshold"]["default"] ==
        100);
  CHECK(in_cpp.notes[0].config_schema_hash.has_value());
  CHECK(in_cpp.has_entry == true);
}

TEST_CASE("note: any text survives the way into the note", "[unit][note]") {
  // Test vectors of RFC 9923, appendix C (also on the authors' page).
  CHECK(fnv1a("", 0) == 0xcbf29ce484222325U);
  CHECK(fnv1a("a", 1) == 0xaf63dc4c8601ec8cU);
  CHECK(fnv1a("foobar", 6) == 0x85944171f73967e8U);
  std::string all;
  for (int code = 1; code < 0x80; ++code) all += static_cast<char>(code);
  all += "\xc3\xa9\xe2\x82\xac";
  detail::NoteFacts facts{"an \"id\"", "1\\2", all, R"({"a":["x"]})"};
  facts.license = "MIT";
  facts.capabilities = 4294967295U;
  std::string text(detail::write_note(facts, nullptr), '\0');
  CHECK(detail::write_note(facts, text.data()) == text.size());
  const Json note = Json::parse(text);
  CHECK(note["id"] == "an \"id\"");
  CHECK(note["version"] == "1\\2");
  CHECK(note["summary"] == all);
  CHECK(note["license"] == "MIT");
  CHECK(note["capabilities"] == 4294967295U);
  CHECK(note["config_schema"]["a"][0] == "x");
  const std::string bytes = with_note(text);
  CHECK(facts_of(bytes).notes.at(0).config_schema_hash == fnv1a(R"({"a":["x"]})", 11));
  // A schema above the bound is left out, and so is its hash: the plugin is asked instead.
  const std::string long_schema = "{\"a\":\"" + std::string(EPHOR_NOTE_SCHEMA_MAX, 'x') + "\"}";
  facts.config_schema = long_schema;
  text.assign(detail::write_note(facts, nullptr), '\0');
  detail::write_note(facts, text.data());
  CHECK_FALSE(Json::parse(text).contains("config_schema"));
  CHECK_FALSE(Json::parse(text).contains("config_schema_hash"));
  CHECK(detail::note_size(facts) % 4 == 0);
  CHECK(detail::note_size(facts) > text.size());
}

}  // namespace
}  // namespace ephor::host
