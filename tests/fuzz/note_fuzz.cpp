// SPDX-License-Identifier: Apache-2.0
//
// Plugin files, as `ephor plugin list` meets them. Input: 'F' and the bytes of a file, or 'N' and
// the notes of an otherwise good file. A reader takes what is there or refuses with a reason; it
// never asks for a byte outside.
#include <cstring>

#include <nlohmann/json.hpp>

#include "core/plugin_note.hpp"
#include "event/error.hpp"
#include "fuzz.hpp"
#include "../support/crafted_library.hpp"

namespace {

using namespace ephor::host;

class Memory final : public LibraryBytes {
 public:
  explicit Memory(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  void read(std::uint64_t offset, char* to, std::size_t size) const override {
    EPHOR_PROMISE(offset <= bytes_.size() && size <= bytes_.size() - offset, "inside the file");
    std::memcpy(to, bytes_.data() + offset, size);
  }

 private:
  std::string_view bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ephor::fuzz::Input input(data, size);
  const bool is_file = input.text(1) == "F";
  std::string bytes(input.rest());
  if (!is_file) bytes = ephor::testing::crafted_library(bytes);
  LibraryFacts facts;
  try {
    facts = read_library(Memory(bytes));
  } catch (const HostError& error) {
    EPHOR_PROMISE(std::string_view(error.what()).starts_with("found "), "an error has a reason");
    return 0;
  }
  EPHOR_PROMISE(facts.size == bytes.size(), "the size is that of the file");
  EPHOR_PROMISE(facts.notes.size() <= 64, "notes are bounded");
  for (const PluginNote& note : facts.notes) {
    EPHOR_PROMISE(!note.id.empty(), "a plugin has a name");
    if (!note.config_schema) continue;
    const auto schema = nlohmann::json::parse(*note.config_schema, nullptr, false);
    EPHOR_PROMISE(schema.is_object(), "a schema is an object");
  }
  return 0;
}
