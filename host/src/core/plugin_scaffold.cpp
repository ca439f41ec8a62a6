// SPDX-License-Identifier: Apache-2.0
#include "core/plugin_scaffold.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <utility>

#include <stdlib.h>
#include <sys/stat.h>

#include "core/cli.hpp"
#include "event/error.hpp"

namespace ephor::host {
namespace {

namespace fs = std::filesystem;

struct Template {
  std::string_view language;  // "*": every one
  std::string_view path;
  std::string_view text;
};

constexpr Template kTemplates[] = {
#include "plugin_templates.inc"
};

// Longer ones would no longer be formatted as the templates are.
constexpr std::size_t kNameCharactersMax = 32;

bool is_name(std::string_view name) {
  const auto is_small = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (name.empty() || name.size() > kNameCharactersMax) return false;
  if (name.front() < 'a' || name.front() > 'z' || name.back() == '_') return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool is_joint = name[i] == '_' && name[i - 1] != '_';
    if (!is_small(name[i]) && !is_joint) return false;
  }
  return true;
}

void check_name(const std::string& name) {
  if (!is_name(name)) {
    throw HostError(EPHOR_INVALID, "plugin new: found the name \"" + name +
                                       "\", expected at most " +
                                       std::to_string(kNameCharactersMax) +
                                       " of a-z, 0-9 and single _ between them, a letter first: "
                                       "my_plugin");
  }
  // Names that mean something else where the plugin's own would stand.
  for (const std::string_view taken : {"allow", "ephor", "http_api"}) {
    if (name == taken) {
      throw HostError(EPHOR_INVALID, "plugin new: found the name \"" + name +
                                         "\", expected one Ephor does not use");
    }
  }
}

// my_plugin -> MyPlugin
std::string type_name(std::string_view name) {
  std::string out;
  bool is_first = true;
  for (const char c : name) {
    if (c != '_') out += is_first ? static_cast<char>(std::toupper(c)) : c;
    is_first = c == '_';
  }
  return out;
}

using Replacements = std::array<std::pair<std::string_view, std::string>, 5>;

std::string filled_in(std::string_view text, const Replacements& replacements) {
  std::string out;
  while (true) {
    std::size_t begin = std::string_view::npos;
    const Replacements::value_type* next = nullptr;
    for (const auto& one : replacements) {
      if (const std::size_t at = text.find(one.first); at < begin) {
        begin = at;
        next = &one;
      }
    }
    out += text.substr(0, begin);
    if (next == nullptr) return out;
    out += next->second;
    text.remove_prefix(begin + next->first.size());
  }
}

std::string reason() { return std::strerror(errno); }

void write_file(const fs::path& file, const ScaffoldFile& content) {
  fs::create_directories(file.parent_path());
  std::ofstream out(file, std::ios::binary);
  out << content.text;
  out.close();
  if (!out) throw HostError(EPHOR_IO, file.string() + ": cannot be written: " + reason());
  if (content.is_program) {
    fs::permissions(file, fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec,
                    fs::perm_options::add);
  }
}

// A folder beside the one that is to be, so that both are on one file system. Goes away unless it
// was moved.
class Workshop {
 public:
  explicit Workshop(const fs::path& target) {
    std::string pattern = (target.parent_path() / ".ephor-new-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw HostError(EPHOR_IO,
                      target.parent_path().string() + ": no folder can be made here: " + reason());
    }
    path_ = pattern;
    // mkdtemp's folder is the owner's alone; a project is what the umask says.
    const mode_t mask = ::umask(0);
    ::umask(mask);
    ::chmod(path_.c_str(), 0777 & ~mask);
  }
  ~Workshop() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;

  const fs::path& path() const { return path_; }
  // Takes the place of `target`, which is absent or an empty folder.
  void become(const fs::path& target) {
    if (std::rename(path_.c_str(), target.c_str()) == 0) {
      path_.clear();
      return;
    }
    if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR) {
      throw HostError(EPHOR_INVALID, "plugin new: " + target.string() +
                                         ": found something there, expected no or an empty folder");
    }
    throw HostError(EPHOR_IO, target.string() + ": cannot be made: " + reason());
  }

 private:
  fs::path path_;
};

}  // namespace

std::vector<ScaffoldFile> scaffold_files(const std::string& name, std::string_view language) {
  check_name(name);
  if (language != "c++" && language != "c") {
    throw HostError(EPHOR_INVALID,
                    "--lang: found " + std::string(language) + ", expected c++ or c");
  }
  const bool is_c = language == "c";
  const Replacements replacements{
      {{"@NAME@", name},
       {"@Name@", type_name(name)},
       {"@SOURCE@", "src/" + name + (is_c ? ".c" : ".cpp")},
       {"@SCHEMA@", is_c ? "src/config_schema.h" : "src/config_schema.hpp"},
       {"@NEEDS@", is_c ? "a C11 compiler (for the tests a C++20 one), CMake 3.25"
                        : "a C++20 compiler, CMake 3.25"}}};
  std::vector<ScaffoldFile> out;
  for (const Template& one : kTemplates) {
    if (one.language != "*" && one.language != language) continue;
    const bool is_program = one.path == ".ci/run";
    out.push_back(
        {filled_in(one.path, replacements), filled_in(one.text, replacements), is_program});
  }
  return out;
}

void write_scaffold(const fs::path& folder, std::string_view language) {
  fs::path target = fs::absolute(folder).lexically_normal();
  if (target.filename().empty()) target = target.parent_path();  // a slash at the end
  const std::vector<ScaffoldFile> files = scaffold_files(target.filename().string(), language);
  try {
    Workshop workshop(target);
    for (const ScaffoldFile& file : files) write_file(workshop.path() / file.path, file);
    workshop.become(target);
  } catch (const fs::filesystem_error& failure) {
    throw HostError(EPHOR_IO, failure.what());
  }
}

int plugin_new_command(const Options& options) {
  if (options.arguments.size() != 2) {
    throw HostError(EPHOR_INVALID, "plugin new: expected one NAME, and perhaps --lang c++ or c");
  }
  const fs::path folder = options.arguments[1];
  write_scaffold(folder, options.language);
  const std::string text = folder.string();
  std::cout << text << ": made. Next:\n"
            << "  cmake -S " << text << " -B " << text << "/b && cmake --build " << text << "/b\n"
            << "  ctest --test-dir " << text << "/b\n"
            << "  cd " << text << " && ephor run --config " << folder.filename().string()
            << ".yaml\n";
  return kDone;
}

}  // namespace ephor::host
