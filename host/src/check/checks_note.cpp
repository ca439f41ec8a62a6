// SPDX-License-Identifier: Apache-2.0
//
// note/*: what the file says without being run.
#include <ephor/plugin.hpp>

#include "check/check.hpp"
#include "check/context.hpp"
#include "core/plugin_note.hpp"
#include "event/error.hpp"

namespace ephor::host::check {
namespace {

LibraryFacts facts_of(Context& context) {
  try {
    return read_library(context.target().file);
  } catch (const HostError& failure) {
    Context::fail(failure.what());
  }
}

void is_there(Context& context) {
  const LibraryFacts facts = facts_of(context);
  Context::expect(!facts.notes.empty(), "no note",
                  "one per plugin (EPHOR_PLUGIN, or EPHOR_NOTE in C)");
}

std::vector<std::string> texts(const ephor_view* views, std::uint32_t count) {
  std::vector<std::string> out;
  for (std::uint32_t i = 0; i < count && views != nullptr; ++i) out.emplace_back(to_text(views[i]));
  return out;
}

void is_true(Context& context) {
  const LibraryFacts facts = facts_of(context);
  if (facts.notes.empty()) Context::blocked_by("note/is_there");
  (void)context.info();
  const ephor_entry& entry = context.entry();
  Context::expect(facts.notes.size() == entry.info_count,
                  std::to_string(facts.notes.size()) + " notes for " +
                      std::to_string(entry.info_count) + " plugins",
                  "one for each");
  for (std::size_t i = 0; i < facts.notes.size(); ++i) {
    const PluginNote& note = facts.notes[i];
    const ephor_plugin_info& info = *entry.infos[i];
    const auto same = [](const std::string& what, const auto& noted, const auto& said) {
      Context::expect(noted == said, "another " + what + " in the note than in the entry",
                      "a note that tells the truth");
    };
    same("id", note.id, to_text(info.id));
    same("version", note.version, to_text(info.version));
    same("summary", note.summary, to_text(info.summary));
    same("capabilities", note.capabilities, info.capabilities);
    same("ABI", std::pair(note.abi_major, note.abi_minor),
         std::pair(entry.abi_major, entry.abi_minor_built));
    same("required ABI", note.abi_minor_required, entry.abi_minor_required);
    same("list of required extensions", note.required_extensions,
         texts(info.required_extensions, info.required_count));
    same("list of optional extensions", note.optional_extensions,
         texts(info.optional_extensions, info.optional_count));
    if (note.config_schema) {
      same("configuration schema", Json::parse(*note.config_schema, nullptr, false),
           Json::parse(to_text(info.config_schema), nullptr, false));
    }
  }
}

}  // namespace

std::vector<Check> note_checks() {
  return {
      {"note/is_there", "Its file says what it is in an ELF note.",
       "`ephor plugin list` and the check of a configuration read it without running any code.",
       &is_there},
      {"note/is_true", "Its note says what its entry says.",
       "Who allowed the plugin by its description would get another one.", &is_true},
  };
}

}  // namespace ephor::host::check
