// SPDX-License-Identifier: Apache-2.0
#include "core/options.hpp"

#include <ephor/abi.h>

#include <algorithm>
#include <array>
#include <sstream>

#include <boost/program_options.hpp>

#include "core/plugin_commands.hpp"
#include "event/error.hpp"

namespace ephor::host {
namespace {

namespace po = boost::program_options;

constexpr std::array kCommands{"run",     "replay",  "check",  "plugin", "query",
                               "tap",     "top",     "reload", "schema", "backup",
                               "restore", "journal", "export", "diff"};

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
      "tap: end after so many events; diff: show so many rows of a section (default 10)");
  add("canonical", po::bool_switch(&out.is_canonical),
      "export: in a form in which two runs can be compared");
  add("out", po::value<std::string>()->notifier([&](const std::string& v) { out.out = v; }),
      "export: write to this file");
  add("interval", po::value<double>(&out.interval_s), "top: seconds between two looks (default 1)");
  add("once", po::bool_switch(&out.once), "top: look once");
  add("json", po::bool_switch(&out.json),
      "top, diff, plugin list, journal verify|stat, backup, restore: answer in JSON");
  add("from", po::value<std::string>(&out.from),
      "journal export: from this sequence or RFC 3339 time on");
  add("to", po::value<std::string>(&out.to),
      "journal export: up to this sequence, or before this time");
  add("topic", po::value<std::string>(&out.topic), "journal export: events of this topic pattern");
  add("raw", po::bool_switch(&out.raw),
      "journal export: also the events of the host and its plugins");
  add("watch", po::bool_switch(&out.watch),
      "run: a plugin file that is built again is loaded anew");
  add("rebuild", po::bool_switch(&out.rebuild),
      "run: set ephor.db aside and derive it again from the journal");
  add("lang", po::value<std::string>(&out.language),
      "plugin new: the language, c++ or c (default c++)");
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
  if (out.command == "plugin" && !words.empty() && words[0] == "check") {
    out.arguments = words;  // it has options of its own
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
  text
      << "usage: ephor COMMAND [options]\n\n"
         "  run --config FILE                     run a host until SIGTERM\n"
         "  replay FILE.ndjson[.gz] --config FILE put a recorded session through it\n"
         "  replay --journal DIR --into NEWDIR --config FILE\n"
         "  check --config FILE                   say everything that is wrong with it\n"
      << plugin_usage()
      << "  query NAME [JSON]                     ask a running host, or its data\n"
         "  tap PATTERN [--limit N]               events as they come\n"
         "  top [--once] [--json]                 instances: lag, losses, delays and load\n"
         "  reload                                a running host reads its configuration again\n"
         "  backup FILE                           one archive of the data, also of a running host\n"
         "  restore FILE --into DIR               the data directory back out of it\n"
         "  journal verify|stat|export            check, count or print what the journal holds\n"
         "  schema                                JSON Schema of the configuration\n"
         "  NAME ...                              a plugin's command, e.g. simulate\n\n"
      << described(unused)
      << "\nExit codes: 0 done, 1 failed while running, 2 usage or configuration.\n";
  return text.str();
}

}  // namespace ephor::host
