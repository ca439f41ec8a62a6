// SPDX-License-Identifier: Apache-2.0
#include "simulate.hpp"

#include <zlib.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <ephor/plugin.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "json_text.hpp"

namespace ephor::simulator {
namespace {

constexpr double kNsPerHour = 3600e9;
constexpr double kHoursMost = 24.0 * 366.0;
constexpr std::string_view kDefaultStart = "2025-01-01T00:00:00Z";

template <typename Number>
Number parse_number(std::string_view option, std::string_view text, Number least, Number most) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= least && value <= most) {
    return value;
  }
  std::string range;
  append_number(range, static_cast<double>(least), 3);
  range += " to ";
  append_number(range, static_cast<double>(most), 3);
  throw Error(EPHOR_INVALID, "simulate: " + std::string(option) + ": found '" + std::string(text) +
                                 "', expected a number from " + range);
}

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  for (;;) {
    const auto end = text.find(at);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// KIND:TARGET:FROM_H:TO_H[:STRENGTH], hours since the start.
Fault parse_fault(std::string_view text, std::int64_t start_ns) {
  const std::vector<std::string> parts = split(text, ':');
  if (parts.size() != 4 && parts.size() != 5) {
    throw Error(EPHOR_INVALID, "simulate: --fault: found '" + std::string(text) +
                                   "', expected KIND:TARGET:FROM_H:TO_H[:STRENGTH]");
  }
  try {
    Fault fault = make_fault(parts[0], parts[1]);
    const double from_h = parse_number("--fault FROM_H", parts[2], 0.0, kHoursMost);
    const double to_h = parse_number("--fault TO_H", parts[3], from_h, kHoursMost);
    fault.from_ns = start_ns + static_cast<std::int64_t>(from_h * kNsPerHour);
    fault.to_ns = start_ns + static_cast<std::int64_t>(to_h * kNsPerHour);
    if (parts.size() == 5) {
      const double strength = parse_number("--fault STRENGTH", parts[4], -100.0, 100.0);
      (fault.kind == FaultKind::error_burst ? fault.rate : fault.factor) = strength;
    }
    check_strength(fault);
    return fault;
  } catch (const Error& failure) {
    throw Error(failure.code(), "simulate: --fault " + std::string(text) + ": " + failure.what());
  }
}

// A file of text, compressed if its name ends in .gz. The gzip header carries no time, so equal
// lines give equal bytes.
class TextFile {
 public:
  explicit TextFile(const std::string& path) : path_(path) {
    const bool is_gzip = path.size() > 3 && path.ends_with(".gz");
    file_.reset(gzopen(path.c_str(), is_gzip ? "wb6" : "wbT"));
    if (file_ == nullptr) fail();
    gzbuffer(file_.get(), 1 << 17);
  }
  void write(std::string_view text) {
    const auto size = static_cast<unsigned>(text.size());
    if (gzwrite(file_.get(), text.data(), size) != static_cast<int>(size)) fail();
  }
  void close() {
    if (gzclose(file_.release()) != Z_OK) fail();
  }

 private:
  struct Close {
    void operator()(gzFile file) const { gzclose(file); }
  };
  [[noreturn]] void fail() const { throw Error(EPHOR_IO, "simulate: cannot write " + path_); }

  std::string path_;
  std::unique_ptr<gzFile_s, Close> file_;
};

nlohmann::ordered_json fault_json(const Fault& fault) {
  nlohmann::ordered_json json{{"kind", name_of(fault.kind)},
                              {"target", fault.target},
                              {"from", time_text(fault.from_ns)},
                              {"to", time_text(fault.to_ns)}};
  if (fault.has_factor()) json["factor"] = fault.factor;
  if (fault.kind == FaultKind::error_burst) json["rate"] = fault.rate;
  return json;
}

}  // namespace

const std::string_view kSimulateUsage =
    "usage: ephor simulate --out FILE.ndjson[.gz] [--hours 24] [--seed 1] "
    "[--start 2025-01-01T00:00:00Z]\n"
    "         [--interval-s 60] [--symbol BTCUSDT] [--truth FILE.json]\n"
    "         [--fault KIND:TARGET:FROM_H:TO_H[:STRENGTH]]...\n"
    "kinds: feature_drift broken_model latency_regression error_burst overconfidence "
    "stale_output\n";

SimulateOptions parse_simulate(const std::vector<std::string>& arguments) {
  SimulateOptions options;
  std::string start(kDefaultStart);
  std::vector<std::string> faults;
  for (std::size_t at = 0; at < arguments.size(); ++at) {
    std::string name = arguments[at];
    std::string value;
    if (const auto equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    } else if (at + 1 < arguments.size()) {
      value = arguments[++at];
    } else {
      throw Error(EPHOR_INVALID,
                  "simulate: " + name + ": found no value\n" + std::string(kSimulateUsage));
    }
    if (name == "--hours") {
      options.hours = parse_number(name, value, 0.001, kHoursMost);
    } else if (name == "--interval-s") {
      options.interval_s = parse_number(name, value, 1.0, 86400.0);
    } else if (name == "--seed") {
      options.settings.seed = parse_number<std::uint64_t>(name, value, 0, std::uint64_t{1} << 62);
    } else if (name == "--start") {
      start = value;
    } else if (name == "--symbol") {
      options.settings.symbol = value;
    } else if (name == "--out") {
      options.out = value;
    } else if (name == "--truth") {
      options.truth = value;
    } else if (name == "--fault") {
      faults.push_back(value);
    } else {
      throw Error(EPHOR_INVALID,
                  "simulate: found unknown option '" + name + "'\n" + std::string(kSimulateUsage));
    }
  }
  if (options.out.empty()) {
    throw Error(EPHOR_INVALID, "simulate: --out is missing\n" + std::string(kSimulateUsage));
  }
  try {
    options.start_ns = parse_time_text(start);
  } catch (const Error& failure) {
    throw Error(failure.code(), std::string("simulate: --start: ") + failure.what());
  }
  for (const std::string& fault : faults) {
    options.faults.push_back(parse_fault(fault, options.start_ns));
  }
  options.settings.epoch = "s" + std::to_string(options.settings.seed);
  return options;
}

Truth simulate(const SimulateOptions& options,
               const std::function<void(std::string_view lines)>& write) {
  Session session(options.settings);
  session.faults() = options.faults;
  Truth truth;
  truth.cycles = static_cast<std::uint64_t>(options.hours * 3600.0 / options.interval_s + 1e-9);
  truth.first_ns = options.start_ns;
  std::string lines;
  for (std::uint64_t step = 0; step < truth.cycles; ++step) {
    const auto offset_ns =
        static_cast<std::int64_t>(static_cast<double>(step) * options.interval_s * 1e9);
    lines.clear();
    const Cycle cycle = session.step(options.start_ns + offset_ns);
    truth.last_ns = render(options.settings, cycle, lines, truth.tally).last_time_ns;
    write(lines);
  }
  truth.final_equity = session.account().equity();
  truth.trades_closed = session.account().closed();
  truth.trades_won = session.account().won();
  return truth;
}

std::string truth_json(const SimulateOptions& options, const Truth& truth) {
  nlohmann::ordered_json json;
  json["symbol"] = options.settings.symbol;
  json["seed"] = options.settings.seed;
  json["decision_interval_s"] = options.interval_s;
  json["first"] = time_text(truth.first_ns);
  json["last"] = time_text(truth.last_ns);
  json["lines"] = truth.tally.total();
  json["unique_events"] = truth.tally.total();
  json["duplicate_lines"] = 0;
  auto& events = json["events_by_type"] = nlohmann::ordered_json::object();
  for (std::size_t type = 0; type < kEventTypeCount; ++type) {
    if (truth.tally.events[type] > 0) events[kEventTypeNames[type]] = truth.tally.events[type];
  }
  json["error_spans"] = truth.tally.error_spans;
  auto& models = json["models"] = nlohmann::ordered_json::object();
  for (std::size_t model = 0; model < kModelCount; ++model) {
    const auto outcomes = truth.tally.outcomes[model];
    const auto correct = truth.tally.correct[model];
    models[kModels[model].id] = {{"outcomes", outcomes}, {"correct", correct}};
  }
  json["initial_equity"] = options.settings.initial_equity;
  json["final_equity"] = truth.final_equity;
  json["trades_closed"] = truth.trades_closed;
  json["trades_won"] = truth.trades_won;
  auto& faults = json["faults"] = nlohmann::ordered_json::array();
  for (const Fault& fault : options.faults) faults.push_back(fault_json(fault));
  return json.dump(1) + "\n";
}

std::string simulate_to_files(const SimulateOptions& options) {
  TextFile file(options.out);
  const Truth truth = simulate(options, [&](std::string_view lines) { file.write(lines); });
  file.close();
  if (!options.truth.empty()) {
    TextFile truth_file(options.truth);
    truth_file.write(truth_json(options, truth));
    truth_file.close();
  }
  std::string equity;
  append_number(equity, truth.final_equity, 2);
  return "simulate: " + std::to_string(truth.tally.total()) + " events of " +
         std::to_string(truth.cycles) + " cycles in " + options.out + ", " +
         std::to_string(truth.trades_closed) + " trades closed, " +
         std::to_string(truth.trades_won) + " won, final equity " + equity + "\n";
}

}  // namespace ephor::simulator
