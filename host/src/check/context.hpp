// SPDX-License-Identifier: Apache-2.0
//
// What a check has in hand: the file, the library once it is loaded, its schema and one
// configuration that is valid. Everything is made when it is first asked for, so that the checks of
// the file run no code of it. One thread.
#pragma once

#include <ephor/abi.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "check/elf_image.hpp"

namespace ephor::host::check {

using Json = nlohmann::json;

// What is checked, and with what.
struct Target {
  std::filesystem::path file;
  std::filesystem::path directory;  // an empty one of this check's own; the working directory
  std::optional<Json> config;       // --config: required values, or harmless ones
  std::uint64_t seed = 1;
  double timeout_s = 10.0;  // of this check
};

// Where the child stands, in memory that its parent reads after a crash.
class StepBoard {
 public:
  static constexpr std::size_t kBytes = 4096;
  explicit StepBoard(char* memory) : memory_(memory) {}
  void write(std::string_view text);

 private:
  char* memory_;  // kBytes, shared
};

class Context {
 public:
  Context(Target target, std::string_view check, StepBoard board);

  const Target& target() const { return target_; }

  // Says what is done next: "call stop". It is named if that crashes or hangs.
  void step(std::string_view text) { board_.write(text); }

  const ElfImage& elf();            // blocked by load/is_elf
  const ephor_entry& entry();       // loads it; blocked by load/loads
  const ephor_plugin_info& info();  // the first one; blocked by descriptor/*
  void* library();                  // of dlopen; blocked by load/loads
  static std::string load_error(const std::filesystem::path& file, void*& library);

  const Json& schema();  // blocked by schema/is_json
  // One that the schema takes, defaults filled in: --config, or nothing but defaults. Blocked by
  // config/default_creates if the schema demands values and there are none.
  const Json& config();
  std::string config_text() { return config().dump(); }
  // `given` with the schema's defaults filled in; what is wrong with it, if anything.
  Json completed(Json given, std::string& wrong);

  // An instance with this configuration was made in this process.
  void note_created() { has_created_ = true; }
  bool has_created() const { return has_created_; }

  bool is_source() { return (info().capabilities & EPHOR_CAP_SOURCE) != 0; }

  // The same numbers for the same seed and check, on every platform.
  std::mt19937_64& random() { return random_; }
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : random_() % bound; }

  // Shown with the result if it passes: a figure, a count.
  void note(std::string text) { note_ = std::move(text); }
  const std::string& noted() const { return note_; }

  [[noreturn]] static void fail(const std::string& text);
  [[noreturn]] static void fail(const std::string& found, const std::string& expected);
  [[noreturn]] static void skip(const std::string& why);
  [[noreturn]] static void blocked_by(std::string_view check);
  static void expect(bool is_so, const std::string& found, const std::string& expected) {
    if (!is_so) fail(found, expected);
  }

 private:
  Target target_;
  StepBoard board_;
  std::mt19937_64 random_;
  std::string note_;
  std::optional<ElfImage> elf_;
  void* library_ = nullptr;
  const ephor_entry* entry_ = nullptr;
  std::optional<Json> schema_;
  std::optional<Json> config_;
  bool has_created_ = false;
};

}  // namespace ephor::host::check
