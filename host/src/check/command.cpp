// SPDX-License-Identifier: Apache-2.0
#include "check/command.hpp"

#include <ephor/abi.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <thread>

#include <unistd.h>

#include "check/check.hpp"
#include "check/report.hpp"
#include "check/run.hpp"
#include "check/suppressions.hpp"
#include "core/config.hpp"
#include "event/error.hpp"

namespace ephor::host::check {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Words {
  std::string target;
  std::vector<std::string> only;
  std::vector<std::string> skip;
  std::string format = "human";
  fs::path output;
  fs::path suppressions;
  bool wants_list = false;
  RunOptions run;
};

[[noreturn]] void refuse(const std::string& text) {
  throw HostError(EPHOR_INVALID, "plugin check: " + text);
}

template <typename Number>
Number number_of(const std::string& option, const std::string& text, Number least, Number most) {
  Number out{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (failure != std::errc() || end != text.data() + text.size() ||
      !(out >= least && out <= most)) {
    refuse(option + ": found " + text + ", expected a number from " + std::to_string(least) +
           " to " + std::to_string(most));
  }
  return out;
}

std::vector<std::string> patterns_of(const std::string& option, const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t end = std::min(text.find(',', from), text.size());
    std::string pattern = text.substr(from, end - from);
    from = end + 1;
    if (pattern.empty()) continue;
    // A group's name means all of the group.
    if (pattern.find('/') == std::string::npos && pattern.find('*') == std::string::npos) {
      pattern += "/*";
    }
    const bool is_known = std::any_of(
        all_checks().begin(), all_checks().end(),
        [&](const Check& check) { return matches(std::string(check.name), {pattern}); });
    if (!is_known) {
      refuse(option + ": found " + pattern + ", expected what a check matches (see --list)");
    }
    out.push_back(std::move(pattern));
  }
  return out;
}

Json config_of(const std::string& text) {
  Json config;
  if (text.find_first_not_of(" \t\n") != std::string::npos &&
      text[text.find_first_not_of(" \t\n")] == '{') {
    config = Json::parse(text, nullptr, false);
    if (!config.is_object())
      refuse("--config: found " + text + ", expected a JSON object or a file");
    return config;
  }
  std::vector<ConfigError> errors;
  config = Config::load(text, {}, errors).tree();
  std::string wrong;
  for (const ConfigError& error : errors) wrong += "\n" + error.text();
  if (!wrong.empty()) refuse("--config:" + wrong);
  return config;
}

Words read(const std::vector<std::string>& words) {
  Words out;
  out.run.jobs = std::max(1U, std::thread::hardware_concurrency());
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    if (!word.starts_with("--")) {
      if (!out.target.empty()) refuse("found a second plugin, " + word + ", expected one");
      out.target = word;
      continue;
    }
    if (word == "--list") {
      out.wants_list = true;
      continue;
    }
    std::optional<std::string> attached;
    if (const std::size_t equals = word.find('='); equals != std::string::npos) {
      attached = word.substr(equals + 1);
      word.resize(equals);
    }
    const auto value = [&]() -> std::string {
      if (attached) return *attached;
      if (i + 1 >= words.size()) refuse(word + ": found no value, expected one");
      return words[++i];
    };
    if (word == "--only") {
      for (std::string& one : patterns_of(word, value())) out.only.push_back(std::move(one));
    } else if (word == "--skip") {
      for (std::string& one : patterns_of(word, value())) out.skip.push_back(std::move(one));
    } else if (word == "--format") {
      out.format = value();
    } else if (word == "--output") {
      out.output = value();
    } else if (word == "--timeout") {
      out.run.timeout_s = number_of(word, value(), 0.1, 3600.0);
    } else if (word == "--seed") {
      out.run.seed = number_of<std::uint64_t>(word, value(), 0, UINT64_MAX);
    } else if (word == "--jobs") {
      out.run.jobs = number_of<unsigned>(word, value(), 1, 256);
    } else if (word == "--suppressions") {
      out.suppressions = value();
    } else if (word == "--config") {
      out.run.config = config_of(value());
    } else {
      refuse("found the option " + word +
             ", expected --only, --skip, --list, --format, --output, --timeout, --seed, "
             "--suppressions, --config or --jobs");
    }
  }
  const bool is_format = out.format == "human" || out.format == "json" ||
                         (out.wants_list ? out.format == "markdown" : out.format == "junit");
  if (!is_format) {
    refuse("--format: found " + out.format + ", expected human, json or " +
           (out.wants_list ? "markdown" : "junit"));
  }
  return out;
}

std::vector<const Check*> chosen(const Words& words) {
  std::vector<const Check*> out;
  for (const Check& check : all_checks()) {
    const std::string name(check.name);
    if (!words.only.empty() && !matches(name, words.only)) continue;
    if (matches(name, words.skip)) continue;
    out.push_back(&check);
  }
  if (out.empty()) refuse("found no check left to run, expected at least one");
  return out;
}

void print(const Words& words, const std::string& text) {
  if (words.output.empty()) {
    std::cout << text << std::flush;
    return;
  }
  std::ofstream out(words.output);
  out << text;
  if (!out.flush()) throw HostError(EPHOR_IO, words.output.string() + ": cannot be written");
}

}  // namespace

int plugin_check_command(const std::vector<std::string>& given,
                         const std::function<fs::path(std::string_view)>& find) {
  Words words = read(given);
  const std::vector<const Check*> checks = chosen(words);
  if (words.wants_list) {
    print(words, list_text(checks, words.format));
    return 0;
  }
  if (words.target.empty()) refuse("found no plugin, expected FILE.so or NAME");
  const bool is_file = words.target.ends_with(".so") || words.target.find('/') != std::string::npos;
  words.run.file = fs::absolute(is_file ? fs::path(words.target) : find(words.target));
  if (!fs::is_regular_file(words.run.file)) {
    refuse(words.run.file.string() + ": found no such file, expected a plugin");
  }
  std::vector<Suppression> suppressions;
  if (!words.suppressions.empty()) suppressions = read_suppressions(words.suppressions);

  Report report;
  report.file = words.run.file.string();
  report.plugin = words.run.file.stem().string();
  report.seed = words.run.seed;
  const auto began = std::chrono::steady_clock::now();
  report.results = run_checks(words.run, checks);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  settle_blocked(report.results);
  apply(suppressions, report.plugin, report.results);
  // Of another plugin, or of a check that was not run, none can be called unused.
  for (const Suppression& one : suppressions) {
    const bool is_meant = matches(report.plugin, {one.plugin}) &&
                          std::any_of(checks.begin(), checks.end(), [&](const Check* check) {
                            return matches(std::string(check->name), {one.check});
                          });
    if (!one.is_used && is_meant) report.unused.push_back(one);
  }
  const bool has_colour = words.output.empty() && ::isatty(STDOUT_FILENO) == 1;
  print(words, words.format == "json"    ? json_text(report)
               : words.format == "junit" ? junit_text(report)
                                         : human_text(report, has_colour));
  if (words.format != "human" || !words.output.empty()) {
    std::cerr << report.plugin << ": " << report.passed() << " passed, " << report.failed()
              << " failed, " << report.skipped() << " skipped, " << report.suppressed()
              << " suppressed\n";
  }
  return report.failed() == 0 ? 0 : 1;
}

}  // namespace ephor::host::check
