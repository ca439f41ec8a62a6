// SPDX-License-Identifier: Apache-2.0
//
// descriptor/*: what the plugin says it is.
#include <ephor/plugin.hpp>

#include <algorithm>
#include <regex>
#include <set>

#include <simdjson.h>

#include "check/check.hpp"
#include "check/context.hpp"
#include "core/plugin_loader.hpp"

namespace ephor::host::check {
namespace {

constexpr std::uint32_t kStructBytesMax = 4096;

void magic(Context& context) {
  const std::uint32_t found = context.entry().magic;
  Context::expect(found == EPHOR_ENTRY_MAGIC, "magic " + std::to_string(found),
                  std::to_string(EPHOR_ENTRY_MAGIC) + " (EPHOR_ENTRY_MAGIC)");
}

void sizes(Context& context) {
  const auto is_good = [](std::uint32_t found, std::size_t least) {
    return found >= least && found <= kStructBytesMax;
  };
  const ephor_entry& entry = context.entry();
  Context::expect(is_good(entry.struct_size, sizeof entry),
                  "ephor_entry.struct_size " + std::to_string(entry.struct_size),
                  "sizeof(ephor_entry), " + std::to_string(sizeof entry));
  if (entry.infos == nullptr) Context::blocked_by("descriptor/info_table");
  for (unsigned i = 0; i < entry.info_count; ++i) {
    if (entry.infos[i] == nullptr) Context::blocked_by("descriptor/info_table");
    Context::expect(is_good(entry.infos[i]->struct_size, sizeof(ephor_plugin_info)),
                    "ephor_plugin_info.struct_size " + std::to_string(entry.infos[i]->struct_size),
                    "sizeof(ephor_plugin_info), " + std::to_string(sizeof(ephor_plugin_info)));
  }
}

void abi_version(Context& context) {
  const ephor_entry& entry = context.entry();
  Context::expect(entry.abi_major == EPHOR_ABI_MAJOR,
                  "ABI major " + std::to_string(entry.abi_major), std::to_string(EPHOR_ABI_MAJOR));
  Context::expect(entry.abi_minor_required <= entry.abi_minor_built,
                  "that it requires minor " + std::to_string(entry.abi_minor_required) +
                      " and was built with " + std::to_string(entry.abi_minor_built),
                  "no more than it was built with");
  Context::expect(entry.abi_minor_required <= EPHOR_ABI_MINOR,
                  "that it requires ABI minor " + std::to_string(entry.abi_minor_required),
                  "at most " + std::to_string(EPHOR_ABI_MINOR) + ", which this host has");
}

void info_table(Context& context) {
  const ephor_entry& entry = context.entry();
  Context::expect(entry.info_count >= 1 && entry.infos != nullptr, "no plugin in the entry",
                  "at least one");
  for (unsigned i = 0; i < entry.info_count; ++i) {
    const std::string which = "infos[" + std::to_string(i) + "]";
    Context::expect(entry.infos[i] != nullptr, which + " at NULL", "a plugin");
    Context::expect(entry.infos[i]->create != nullptr, which + " without create", "a function");
  }
}

bool is_id(std::string_view id) {
  static const std::regex kId("[a-z][a-z0-9_]{0,62}");
  return std::regex_match(id.begin(), id.end(), kId);
}

void text_is_utf8(Context& context) {
  const ephor_plugin_info& info = context.info();
  const auto look = [](ephor_view view, const std::string& what) {
    if (view.size == 0) return;
    Context::expect(view.data != nullptr && view.size < (64U << 20),
                    what + " of " + std::to_string(view.size) + " bytes" +
                        (view.data == nullptr ? " at NULL" : ""),
                    "its text");
    Context::expect(simdjson::validate_utf8(view.data, view.size), what + " that is no UTF-8",
                    "UTF-8");
    Context::expect(to_text(view).find('\0') == std::string_view::npos, what + " with a NUL in it",
                    "text without (the size leaves out the NUL)");
  };
  look(info.id, "id");
  look(info.version, "version");
  look(info.summary, "summary");
  look(info.config_schema, "config_schema");
  for (std::uint32_t i = 0; i < info.required_count && info.required_extensions != nullptr; ++i) {
    look(info.required_extensions[i], "required extension");
  }
  for (std::uint32_t i = 0; i < info.optional_count && info.optional_extensions != nullptr; ++i) {
    look(info.optional_extensions[i], "optional extension");
  }
}

void id(Context& context) {
  const std::string found(to_text(context.info().id));
  Context::expect(is_id(found), "id \"" + found + "\"", "[a-z][a-z0-9_]{0,62}");
}

void id_is_file_name(Context& context) {
  const std::string found(to_text(context.info().id));
  const std::string file = context.target().file.filename().string();
  Context::expect(file == found + ".so", "id \"" + found + "\" in the file " + file,
                  "the file " + found + ".so: the host looks for plugins by id");
}

void ids_differ(Context& context) {
  (void)context.info();
  const ephor_entry& entry = context.entry();
  std::set<std::string> seen;
  for (unsigned i = 0; i < entry.info_count; ++i) {
    if (entry.infos[i] == nullptr) Context::blocked_by("descriptor/info_table");
    const std::string found(to_text(entry.infos[i]->id));
    Context::expect(seen.insert(found).second, "two plugins of the id " + found, "ids that differ");
  }
}

void version(Context& context) {
  // semver.org: no leading zeros, a pre-release and build metadata are allowed.
  static const std::regex kSemantic(
      "(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)"
      "(-(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\\.(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]"
      "*))*)?"
      "(\\+[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*)?");
  const std::string found(to_text(context.info().version));
  Context::expect(found.size() < 128 && std::regex_match(found, kSemantic),
                  "version \"" + found + "\"", "a semantic version, MAJOR.MINOR.PATCH");
}

void summary(Context& context) {
  constexpr std::size_t kLengthMax = 200;
  const std::string found(to_text(context.info().summary));
  Context::expect(found.find_first_not_of(" \t\n") != std::string::npos, "no summary",
                  "a line that says what it is for");
  Context::expect(found.find_first_of("\n\r") == std::string::npos, "a summary of several lines",
                  "one line");
  Context::expect(found.size() <= kLengthMax, std::to_string(found.size()) + " bytes of summary",
                  "at most " + std::to_string(kLengthMax));
}

void capabilities(Context& context) {
  const std::uint32_t known = EPHOR_CAP_CONCURRENT_QUERY | EPHOR_CAP_SOURCE;
  const std::uint32_t unknown = context.info().capabilities & ~known;
  Context::expect(unknown == 0, "unknown capability bits " + std::to_string(unknown),
                  "bits of EPHOR_CAP_* alone: unknown ones get a meaning later");
}

std::vector<std::string> texts(const ephor_view* views, std::uint32_t count, const char* what) {
  Context::expect(count == 0 || views != nullptr,
                  std::to_string(count) + " " + what + " extensions at NULL", "their ids");
  Context::expect(count <= 1000, std::to_string(count) + " " + what + " extensions",
                  "a list that is meant");
  std::vector<std::string> out;
  for (std::uint32_t i = 0; i < count; ++i) out.emplace_back(to_text(views[i]));
  return out;
}

std::vector<std::string> required_of(const ephor_plugin_info& info) {
  return texts(info.required_extensions, info.required_count, "required");
}
std::vector<std::string> optional_of(const ephor_plugin_info& info) {
  return texts(info.optional_extensions, info.optional_count, "optional");
}

void extension_ids(Context& context) {
  static const std::regex kId("[a-z][a-z0-9_.-]*/[1-9][0-9]*");
  std::vector<std::string> all = required_of(context.info());
  for (std::string& one : optional_of(context.info())) all.push_back(std::move(one));
  for (const std::string& one : all) {
    Context::expect(std::regex_match(one, kId), "extension \"" + one + "\"",
                    "a name, a slash and a revision, such as ephor.query/1");
  }
}

void extensions_are_named_once(Context& context) {
  std::set<std::string> seen;
  for (const auto& list : {required_of(context.info()), optional_of(context.info())}) {
    for (const std::string& one : list) {
      Context::expect(seen.insert(one).second, "extension " + one + " twice",
                      "it once, required or optional");
    }
  }
}

void required_extensions_exist(Context& context) {
  const auto& offered = host_extensions();
  for (const std::string& one : required_of(context.info())) {
    Context::expect(std::find(offered.begin(), offered.end(), one) != offered.end(),
                    "that it requires " + one, "an extension that this host has");
  }
}

}  // namespace

std::vector<Check> descriptor_checks() {
  return {
      {"descriptor/magic", "The entry begins with EPHOR_ENTRY_MAGIC.",
       "It tells an Ephor plugin from any other library with a function of that name.", &magic},
      {"descriptor/sizes", "Every struct_size is that of its struct.",
       "The sizes are how host and plugin of different versions understand each other.", &sizes},
      {"descriptor/abi_version", "It is of this ABI major and requires no newer minor.",
       "The host refuses it otherwise.", &abi_version},
      {"descriptor/info_table", "The entry holds at least one plugin with a create function.",
       "There is nothing to make an instance of otherwise.", &info_table},
      {"descriptor/text_is_utf8", "Its texts are UTF-8 and their sizes right.",
       "They are printed, logged and put into JSON, which is UTF-8.", &text_is_utf8},
      {"descriptor/id", "Its id is a short lower-case name.",
       "The id is a file's name, a key of the configuration and a label of metrics.", &id},
      {"descriptor/id_is_file_name", "The file is named as its id.",
       "The host finds ID.so; under another name it is never found.", &id_is_file_name},
      {"descriptor/ids_differ", "The plugins of one file have different ids.",
       "Only the first of one id could ever be used.", &ids_differ},
      {"descriptor/version", "Its version is a semantic version.",
       "Ids of derived events contain it, and packages compare it.", &version},
      {"descriptor/summary", "It has a summary of one line.",
       "`ephor plugin list` shows it to who wonders what this file is.", &summary},
      {"descriptor/capabilities", "It sets known capability bits alone.",
       "A later host gives the others a meaning that it did not mean.", &capabilities},
      {"descriptor/extension_ids", "The ids of extensions have a revision.",
       "Without the exact id the host does not find the table.", &extension_ids},
      {"descriptor/extensions_are_named_once", "No extension is named twice.",
       "Required and optional at once says nothing.", &extensions_are_named_once},
      {"descriptor/required_extensions_exist", "This host has every extension that it requires.",
       "The host refuses it otherwise.", &required_extensions_exist},
  };
}

}  // namespace ephor::host::check
