// SPDX-License-Identifier: Apache-2.0
#include "core/plugin_gate.hpp"

#include <ephor/plugin.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <optional>

#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "core/plugin_copies.hpp"
#include "core/plugin_note.hpp"
#include "event/error.hpp"
#include "isolation/describe.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

// What tells one state of a file from the next without reading it.
struct Stamp {
  dev_t device = 0;
  ino_t node = 0;
  off_t size = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

Stamp stamp_of(int descriptor, const fs::path& file) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    throw HostError(EPHOR_IO, file.string() + ": " + std::strerror(errno));
  }
  const auto ns = [](const timespec& time) {
    return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
  };
  return {status.st_dev, status.st_ino, status.st_size, ns(status.st_mtim), ns(status.st_ctim)};
}

// One content of a file.
struct Version {
  Stamp stamp;
  Sha256 hash;
  fs::path copy;  // empty: the file itself
  std::optional<LoadedPlugin> described;
  std::optional<LoadedPlugin> mapped;  // in this process
};

// By the path of the file. What is mapped stays so: neither is ever destroyed.
struct Known {
  std::mutex mutex;                                     // guards both
  std::map<std::string, std::deque<Version>> versions;  // loaded ones, the newest last
  std::map<std::string, std::pair<Stamp, LoadedPlugin>> described;
};
Known& known() {
  static Known& all = *new Known();
  return all;
}

Json told_by(const PluginNote& note) {
  return {{"id", note.id},
          {"version", note.version},
          {"summary", note.summary},
          {"config_schema", *note.config_schema},
          {"capabilities", note.capabilities},
          {"required_extensions", note.required_extensions},
          {"optional_extensions", note.optional_extensions},
          {"abi_major", note.abi_major},
          {"abi_minor_built", note.abi_minor},
          {"abi_minor_required", note.abi_minor_required}};
}

// What its note says. Nothing, if there is none or it has no schema: then its code has to be asked.
std::optional<LoadedPlugin> noted(const fs::path& file, int descriptor) {
  const LibraryFacts facts = read_library(descriptor, file);
  if (facts.notes.empty()) return std::nullopt;
  check_fits(file, facts.notes[0]);
  if (!facts.notes[0].config_schema) return std::nullopt;
  return isolation::plugin_told(file, told_by(facts.notes[0]));
}

LoadedPlugin asked(const fs::path& file) {
  LoadedPlugin out = isolation::describe_plugin(file);
  PluginLoader::check(file.string() + ": ", *out.entry);
  return out;
}

LoadedPlugin described(const fs::path& file) {
  if (auto told = noted(file, OpenedFile(file).descriptor())) return *told;
  return asked(file);
}

// The version that the open file is, the last of `versions` from now on.
Version& version_of(std::deque<Version>& versions, const Stamp& stamp, int descriptor,
                    const fs::path& file, const CopyRule& rule) {
  if (!versions.empty() && versions.back().stamp == stamp) return versions.back();
  Version next;
  if (rule.when == CopyWhen::always || !versions.empty()) {
    PluginCopy copy = copy_plugin(descriptor, file, rule.parent);
    next.hash = std::move(copy.hash);
    next.copy = std::move(copy.file);
  } else {
    next.hash = sha256_of(descriptor, file);
  }
  // Touched, built again with nothing new, or put back.
  const auto same = std::find_if(versions.begin(), versions.end(),
                                 [&](const Version& one) { return one.hash == next.hash; });
  if (same != versions.end()) {
    next = *same;
    versions.erase(same);
  }
  next.stamp = stamp;
  versions.push_back(std::move(next));
  return versions.back();
}

}  // namespace

LoadedPlugin PluginGate::describe(std::string_view id) const {
  if (const LoadedPlugin* linked = loader_.linked(id)) return *linked;
  return describe_file(loader_.find(id));
}

LoadedPlugin PluginGate::describe_file(const fs::path& file) const {
  const OpenedFile opened(file);
  admit(opened.descriptor(), file);
  const Stamp stamp = stamp_of(opened.descriptor(), file);
  const std::scoped_lock lock(known().mutex);
  auto& [of, plugin] = known().described[file.string()];
  if (plugin.entry != nullptr && of == stamp) return plugin;
  if (auto told = noted(file, opened.descriptor())) {
    plugin = *told;
  } else if (policy_.allow) {
    // Code that runs is code whose hash is on the list, in a process of its own, too.
    const PluginCopy copy = copy_plugin(opened.descriptor(), file, CopyRule().parent);
    check_allowed(policy_, file, copy.hash);
    plugin = asked(copy.file);
    plugin.file = file;
  } else {
    plugin = asked(file);
  }
  of = stamp;
  return plugin;
}

void PluginGate::admit(int descriptor, const fs::path& file) const {
  check_not_writable(policy_, descriptor, file);
  if (policy_.allow) check_allowed(policy_, file, sha256_of(descriptor, file));
}

LoadedPlugin PluginGate::load(const LoadedPlugin& wanted, Isolation isolation,
                              const CopyRule& rule) const {
  if (!wanted.is_described_only) return wanted;
  const fs::path& file = wanted.file;
  const OpenedFile opened(file);
  check_not_writable(policy_, opened.descriptor(), file);
  const Stamp stamp = stamp_of(opened.descriptor(), file);
  const std::scoped_lock lock(known().mutex);
  if (const auto& [of, unused] = known().described[file.string()]; of != stamp) {
    throw HostError(EPHOR_STATE, file.string() +
                                     ": it has changed since its configuration was "
                                     "checked, expected it to stay as it is");
  }
  std::deque<Version>& versions = known().versions[file.string()];
  Version& version = version_of(versions, stamp, opened.descriptor(), file,
                                policy_.allow ? CopyRule{rule.parent, CopyWhen::always} : rule);
  check_allowed(policy_, file, version.hash);
  std::optional<LoadedPlugin>& plugin =
      isolation == Isolation::process ? version.described : version.mapped;
  if (!plugin) {
    const fs::path& image = version.copy.empty() ? file : version.copy;
    LoadedPlugin made =
        isolation == Isolation::in_process ? PluginLoader::load_file(image) : described(image);
    made.file = file;
    made.copy = version.copy;
    made.hash = version.hash;
    made.is_described_only = false;
    plugin = made;
  }
  return *plugin;
}

void check_fits(const fs::path& file, const PluginNote& note) {
  std::vector<ephor_view> required;
  for (const std::string& one : note.required_extensions) required.push_back(to_view(one));
  ephor_plugin_info info{};
  info.struct_size = sizeof info;
  info.required_extensions = required.data();
  info.required_count = static_cast<std::uint32_t>(required.size());
  info.create = [](const ephor_host*, ephor_view, ephor_view, ephor_plugin*,
                   ephor_error*) -> ephor_status { return EPHOR_STATE; };
  const ephor_plugin_info* infos[] = {&info};
  const ephor_entry entry{EPHOR_ENTRY_MAGIC,
                          sizeof(ephor_entry),
                          note.abi_major,
                          note.abi_minor,
                          note.abi_minor_required,
                          1,
                          infos};
  PluginLoader::check(file.string() + ": ", entry);
}

}  // namespace ephor::host
