// SPDX-License-Identifier: Apache-2.0
//
// The recorded session, line by line, and the loaded .so of one of our plugins.
#pragma once

#include <dlfcn.h>
#include <ephor/abi.h>
#include <zlib.h>

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ephor::testing {

// Calls `visit(line)` for each line of a file, gzip or plain.
template <typename Visit>
void for_each_line(const std::filesystem::path& path, Visit&& visit) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), &gzclose);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  gzbuffer(file.get(), 1 << 18);
  std::string line;
  char part[1 << 16];
  while (gzgets(file.get(), part, sizeof part) != nullptr) {
    line += part;
    if (line.empty() || line.back() != '\n') continue;
    visit(std::string_view(line));
    line.clear();
  }
  if (!line.empty()) visit(std::string_view(line));
}

// The entry of build/lib/ephor/plugins/NAME.so; the library stays loaded.
inline const ephor_entry& plugin_entry(const std::string& name) {
  const std::string path = std::string(EPHOR_BUILD_DIR) + "/lib/ephor/plugins/" + name + ".so";
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  const auto entry = reinterpret_cast<ephor_entry_function>(dlsym(library, EPHOR_ENTRY_SYMBOL));
  if (entry == nullptr) throw std::runtime_error(path + ": no entry");
  return *entry();
}

}  // namespace ephor::testing
