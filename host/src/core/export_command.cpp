// SPDX-License-Identifier: Apache-2.0
#include "core/export_command.hpp"

#include <ephor/abi.h>

#include <fstream>
#include <iostream>

#include <nlohmann/json.hpp>

#include "core/cli.hpp"
#include "core/control.hpp"
#include "core/diff.hpp"
#include "core/export.hpp"
#include "core/host.hpp"
#include "event/error.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

// kUsage if the configuration is wrong; said on standard error.
int export_directory(const Options& options, const LineSink& sink) {
  const auto streamed =
      ask_running_host(data_dir_of(options), {{"command", "export"}},
                       [&](const Json& line) { sink(line.get_ref<const std::string&>()); });
  if (streamed) return kDone;
  if (const auto missing = need_config(options)) return *missing;
  LoadedSettings loaded = load_settings(options);
  if (!loaded.errors.empty()) return report(loaded.errors);
  Host host(std::move(loaded.settings), RunMode::offline);
  host.start();
  export_canonical(host, sink);
  return kDone;
}

// Under another name until it is complete.
class NewFile {
 public:
  explicit NewFile(fs::path path)
      : path_(std::move(path)), unfinished_(path_.string() + ".unfinished"), out_(unfinished_) {}
  ~NewFile() {
    std::error_code ignored;
    if (!is_complete_) fs::remove(unfinished_, ignored);
  }
  std::ostream& stream() { return out_; }
  void complete() {
    out_.close();
    std::error_code failure;
    if (out_) fs::rename(unfinished_, path_, failure);
    if (!out_ || failure) throw HostError(EPHOR_IO, path_.string() + ": cannot be written");
    is_complete_ = true;
  }

 private:
  const fs::path path_;
  const fs::path unfinished_;
  std::ofstream out_;
  bool is_complete_ = false;
};

// Empty, with the exit code in `code`, if the configuration is wrong.
Export export_of(const std::string& path, const Options& options, int& code) {
  if (!fs::is_directory(path)) {
    std::ifstream in(path);
    if (!in) {
      throw HostError(EPHOR_INVALID,
                      path + ": found no such file, expected an export or a data directory");
    }
    return Export::read(in, path);
  }
  Options of_directory = options;
  of_directory.data_dir = path;
  Export out;
  out.name = path;
  code = export_directory(of_directory, [&](std::string_view line) { out.add_line(line, path); });
  return out;
}

}  // namespace

int export_command(const Options& options) {
  if (!options.is_canonical || !options.arguments.empty()) {
    throw HostError(EPHOR_INVALID, "export: expected --canonical and no arguments");
  }
  const auto to = [](std::ostream& out) {
    return [&out](std::string_view line) { out << line << '\n'; };
  };
  if (options.out.empty()) {
    const int code = export_directory(options, to(std::cout));
    if (!std::cout.flush()) throw HostError(EPHOR_IO, "standard output cannot be written");
    return code;
  }
  NewFile file(options.out);
  const int code = export_directory(options, to(file.stream()));
  if (code == kDone) file.complete();
  return code;
}

int diff_command(const Options& options) try {
  if (options.arguments.size() != 2) {
    throw HostError(EPHOR_INVALID, "diff: expected two exports or data directories");
  }
  int code = kDone;
  const Export a = export_of(options.arguments[0], options, code);
  if (code != kDone) return code;
  const Export b = export_of(options.arguments[1], options, code);
  if (code != kDone) return code;
  constexpr std::uint64_t kRowsShown = 10;
  const Difference difference = difference_of(a, b, options.limit.value_or(kRowsShown));
  if (options.json)
    print_answer(to_json(difference, a, b).dump());
  else
    std::cout << to_text(difference, a, b);
  return difference.is_equal() ? kDone : kFailed;
} catch (const HostError& failure) {  // never to be taken for "different"
  std::cerr << "ephor: " << failure.what() << "\n";
  return kUsage;
}

}  // namespace ephor::host
