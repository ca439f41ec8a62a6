// SPDX-License-Identifier: Apache-2.0
#include "core/options.hpp"

#include <ephor/abi.h>

#include <algorithm>
#include <array>
#include <sstream>

#include <boost/program_options.hpp>

#include "event/error.hpp"

namespace ephor::host {
namespace {

namespace po = boost::program_options;

constexpr std::array kCommands{"run", "replay", "check", "plugin", "query", "tap", "top", "schema"};

po::options_description described(Options& out) {
  po::options_description all("Options");
  auto add = all.add_options();
  add("help,h", po::bool_switch(&out.wants_help), "show this");
  add("version", po::bool_switch(&out.wants_version), "show the version");
  add("config,c", po::value<std::string>()->notifier([&](const std::string& v) { out.config = v; }),
      "configuration, YAML or JSON");
  add("data-dir",
      po::value<std::string>()->notifier([&](const std::string& v) { out.data_dir = v; }),
      "directory of journal and storage; wins over data_dir of the configuration");
  add("set", po::value<std::vector<std::string>>(&out.overrides)->composing(),
      "path=value, as if it stood in the configuration; repeatable");
  add("journal", po::value<std::string>()->notifier([&](const std::string& v) { out.journal = v; }),
      "replay: the data directory to read from");
  add("into", po::value<std::string>()->notifier([&](const std::string& v) { out.into = v; }),
      "replay --journal: the new data directory");
  add("speed", po::value<std::string>(&out.speed),
      "replay: max, or Nx times log time (default max)");
  add("until", po::value<std::string>(&out.until),
      "replay: leave out records after this RFC 3339 time");
  add("summary", po::value<std::string>()->notifier([&](const std::string& v) { out.summary = v; }),
      "replay: write the figures to this file as JSON");
  add("limit", po::value<std::uint64_t>()->notifier([&](std::uint64_t v) { out.limit = v; }),
      "tap: end after so many events");
  add("interval", po::value<double>(&out.interval_s), "top: seconds between two looks (default 1)");
  add("once", po::bool_switch(&out.once), "top: look once");
  return all;
}

}  // namespace

bool is_host_command(const std::string& name) {
  return std::find(kCommands.begin(), kCommands.end(), name) != kCommands.end();
}

Options read_options(int argument_count, const char* const* arguments) {
  Options out;
  std::vector<std::string> words(arguments + 1, arguments + argument_count);
  if (!words.empty() && !words[0].starts_with('-')) {
    out.command = words[0];
    words.erase(words.begin());
  }
  if (!out.command.empty() && !is_host_command(out.command)) {
    out.arguments = words;  // the plugin reads them
    return out;
  }
  po::options_description all = described(out);
  all.add_options()("argument", po::value<std::vector<std::string>>(&out.arguments), "");
  po::positional_options_description positional;
  positional.add("argument", -1);
  try {
    po::variables_map values;
    po::store(po::command_line_parser(words).options(all).positional(positional).run(), values);
    po::notify(values);
  } catch (const po::error& failure) {
    throw HostError(EPHOR_INVALID, std::string("command line: ") + failure.what());
  }
  if (!out.into.empty()) out.data_dir = out.into;
  return out;
}

std::string usage() {
  Options unused;
  std::ostringstream text;
  text << "usage: ephor COMMAND [options]\n\n"
          "  run --config FILE                     run a host until SIGTERM\n"
          "  replay FILE.ndjson[.gz] --config FILE put a recorded session through it\n"
          "  replay --journal DIR --into NEWDIR --config FILE\n"
          "  check --config FILE                   say everything that is wrong with it\n"
          "  plugin list | plugin inspect NAME     what plugins there are\n"
          "  query NAME [JSON]                     ask a running host, or its data\n"
          "  tap PATTERN [--limit N]               events as they come\n"
          "  top                                   instances, lag and load\n"
          "  schema                                JSON Schema of the configuration\n"
          "  NAME ...                              a plugin's command, e.g. simulate\n\n"
       << described(unused)
       << "\nExit codes: 0 done, 1 failed while running, 2 usage or configuration.\n";
  return text.str();
}

}  // namespace ephor::host
