// SPDX-License-Identifier: Apache-2.0
//
// `ephor plugin new`: the project of a plugin that builds, passes its tests and runs at once. Its
// files are those of sdk/templates, kept in the program.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/options.hpp"

namespace ephor::host {

struct ScaffoldFile {
  std::filesystem::path path;  // relative to the project's folder
  std::string text;
  bool is_program = false;
};

// The files of a project. `language`: "c++" or "c". `name`: words of lower-case letters and digits
// joined by single underscores, at most 32 characters, the first a letter. Throws HostError
// EPHOR_INVALID: what was found, what was expected.
std::vector<ScaffoldFile> scaffold_files(const std::string& name, std::string_view language);

// Writes them into `folder`, whose last part is the plugin's name. All or nothing: they are made
// beside it and moved in one step. Throws HostError EPHOR_INVALID for a bad name or language and
// where the folder holds something already, EPHOR_IO if it cannot be written.
void write_scaffold(const std::filesystem::path& folder, std::string_view language);

// ephor plugin new NAME [--lang c++|c]; NAME may stand behind a path.
int plugin_new_command(const Options& options);

}  // namespace ephor::host
