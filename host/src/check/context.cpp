// SPDX-License-Identifier: Apache-2.0
#include "check/context.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <cstring>

#include <dlfcn.h>

#include "check/check.hpp"
#include "core/schema.hpp"
#include "event/hash.hpp"

namespace ephor::host::check {

void StepBoard::write(std::string_view text) {
  const std::size_t size = std::min(text.size(), kBytes - 1);
  std::memcpy(memory_, text.data(), size);
  memory_[size] = '\0';
}

Context::Context(Target target, std::string_view check, StepBoard board)
    : target_(std::move(target)), board_(board), random_(target_.seed ^ hash64(check)) {}

const ElfImage& Context::elf() {
  if (!elf_) {
    try {
      elf_.emplace(target_.file);
    } catch (const std::exception&) {
      blocked_by("load/is_elf");
    }
  }
  return *elf_;
}

std::string Context::load_error(const std::filesystem::path& file, void*& library) {
  ::dlerror();
  library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library != nullptr) return {};
  const char* text = ::dlerror();
  return text != nullptr ? text : "no reason";
}

void* Context::library() {
  if (library_ == nullptr) {
    step("load the library");
    if (!load_error(target_.file, library_).empty()) blocked_by("load/loads");
  }
  return library_;
}

const ephor_entry& Context::entry() {
  if (entry_ == nullptr) {
    void* symbol = ::dlsym(library(), EPHOR_ENTRY_SYMBOL);
    if (symbol == nullptr) blocked_by("load/entry");
    step("call " EPHOR_ENTRY_SYMBOL);
    entry_ = reinterpret_cast<ephor_entry_function>(symbol)();
    if (entry_ == nullptr) blocked_by("load/entry");
  }
  return *entry_;
}

const ephor_plugin_info& Context::info() {
  const ephor_entry& found = entry();
  if (found.magic != EPHOR_ENTRY_MAGIC) blocked_by("descriptor/magic");
  if (found.struct_size < sizeof(ephor_entry)) blocked_by("descriptor/sizes");
  if (found.abi_major != EPHOR_ABI_MAJOR) blocked_by("descriptor/abi_version");
  if (found.info_count < 1 || found.infos == nullptr || found.infos[0] == nullptr ||
      found.infos[0]->create == nullptr) {
    blocked_by("descriptor/info_table");
  }
  if (found.infos[0]->struct_size < sizeof(ephor_plugin_info)) blocked_by("descriptor/sizes");
  return *found.infos[0];
}

const Json& Context::schema() {
  if (!schema_) {
    Json parsed = Json::parse(to_text(info().config_schema), nullptr, false);
    if (!parsed.is_object()) blocked_by("schema/is_json");
    schema_ = std::move(parsed);
  }
  return *schema_;
}

Json Context::completed(Json given, std::string& wrong) {
  std::vector<SchemaError> errors;
  try {
    apply_schema(schema(), given, "", errors);
  } catch (const std::exception&) {  // of JSON, of a regular expression
    blocked_by("schema/keywords_are_used_rightly");
  }
  wrong.clear();
  for (const SchemaError& error : errors) {
    wrong += (wrong.empty() ? "" : "; ") + (error.pointer.empty() ? "/" : error.pointer) + ": " +
             error.message;
  }
  return given;
}

const Json& Context::config() {
  if (!config_) {
    std::string wrong;
    Json made = completed(target_.config.value_or(Json::object()), wrong);
    if (!wrong.empty()) blocked_by("config/default_creates");
    config_ = std::move(made);
  }
  return *config_;
}

void Context::fail(const std::string& text) { throw Failed(text); }
void Context::fail(const std::string& found, const std::string& expected) {
  throw Failed("found " + found + ", expected " + expected);
}
void Context::skip(const std::string& why) { throw Skipped(why); }
void Context::blocked_by(std::string_view check) { throw Blocked(std::string(check)); }

}  // namespace ephor::host::check
