// SPDX-License-Identifier: Apache-2.0
#include "core/top.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <thread>
#include <tuple>
#include <vector>

#include <unistd.h>

#include "core/cli.hpp"
#include "core/control.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;

std::string formatted(const char* format, double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

// At most six characters: 999, 12.3k, 4.56M.
std::string short_count(const Json& value) {
  if (!value.is_number()) return "-";
  double number = value.get<double>();
  for (const char* unit : {"", "k", "M", "G", "T"}) {
    if (number < 999.5 || *unit == 'T') {
      const bool is_whole = *unit == '\0' && number == std::floor(number);
      return formatted(is_whole || number >= 99.95 ? "%.0f"
                       : number >= 9.995           ? "%.1f"
                                                   : "%.2f",
                       number) +
             unit;
    }
    number /= 1000.0;
  }
  return "-";
}

// Milliseconds in at most six characters: 850ns, 12.3us, 4.56ms, 60.0s.
std::string short_duration(const Json& milliseconds) {
  if (!milliseconds.is_number()) return "-";
  double value = milliseconds.get<double>() * 1e6;
  for (const char* unit : {"ns", "us", "ms"}) {
    if (value < 999.5) {
      return formatted(value >= 99.95 ? "%.0f" : value >= 9.995 ? "%.1f" : "%.2f", value) + unit;
    }
    value /= 1000.0;
  }
  return formatted(value >= 99.95 ? "%.0fs" : "%.1fs", value);
}

std::string policy_text(const Json& reader) {
  const std::string policy = reader.value("policy", std::string("-"));
  return policy == "drop_oldest" ? "drop" : policy;
}

struct Column {
  const char* title;
  int width;  // negative: to the left
};
constexpr std::array<Column, 12> kColumns{{{"INSTANCE", -16},
                                           {"STATE", -8},
                                           {"HEALTH", -8},
                                           {"POLICY", -6},
                                           {"RATE/s", 6},
                                           {"LAG", 6},
                                           {"MAX", 6},
                                           {"LOST", 6},
                                           {"Q p99", 6},
                                           {"H p99", 6},
                                           {"BUSY%", 5},
                                           {"ERR", 5}}};

void append_row(std::string& out, const std::array<std::string, kColumns.size()>& cells) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto width = static_cast<std::size_t>(std::abs(kColumns[i].width));
    const std::string cell = cells[i].substr(0, width);
    const std::string padding(width - cell.size(), ' ');
    if (i != 0) line += ' ';
    line += kColumns[i].width < 0 ? cell + padding : padding + cell;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  out += line + "\n";
}

std::array<std::string, kColumns.size()> cells_of(const Json& instance) {
  const Json reader = instance.value("reader", Json::object());
  const auto figure = [&](const char* group, const char* name) {
    return reader.contains(group) ? reader[group].value(name, Json()) : Json();
  };
  const auto text = [&](const char* name) { return instance.value(name, std::string("-")); };
  Json lost;
  if (reader.contains("skipped")) {
    lost = reader["skipped"].get<std::uint64_t>() + reader["superseded"].get<std::uint64_t>();
  }
  return {text("instance"),
          text("state"),
          text("health"),
          policy_text(reader),
          short_count(reader.value("delivered_per_s", Json())),
          short_count(reader.value("lag", Json())),
          short_count(reader.value("lag_max", Json())),
          short_count(lost),
          short_duration(figure("queue_delay_ms", "recent_p99")),
          short_duration(figure("handler_ms", "recent_p99")),
          reader.contains("busy_share")
              ? formatted("%.1f", reader["busy_share"].get<double>() * 100.0)
              : "-",
          short_count(instance.value("errors", Json()))};
}

// What needs a look first: the ill, then who lags, then who works most.
auto urgency(const Json& instance) {
  const Json reader = instance.value("reader", Json::object());
  const std::string health = instance.value("health", std::string());
  const int illness = health == "failed" ? 0 : health == "degraded" ? 1 : 2;
  return std::tuple(illness, -reader.value("lag", 0.0), -reader.value("busy_share", 0.0),
                    instance.value("instance", std::string()));
}

}  // namespace

std::string top_table(const Json& status) {
  const Json ring = status.value("ring", Json::object());
  const Json log = status.value("log", Json::object());
  std::string out = "log time " + (status.value("log_time", Json()).is_string()
                                       ? status["log_time"].get<std::string>()
                                       : std::string("no data"));
  const auto add = [&out](const char* what, const std::string& figure) {
    out += "   ";
    out += what;
    out += ' ';
    out += figure;
  };
  add("events", short_count(log.value("events", Json())));
  add("at", short_count(ring.value("events_per_s", Json())) + "/s");
  add("derived", short_count(log.value("derived", Json())));
  add("late", short_count(log.value("late", Json())));
  out += "\n";
  std::array<std::string, kColumns.size()> titles;
  for (std::size_t i = 0; i < titles.size(); ++i) titles[i] = kColumns[i].title;
  append_row(out, titles);
  std::vector<Json> rows = status.at("instances").get<std::vector<Json>>();
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Json& a, const Json& b) { return urgency(a) < urgency(b); });
  for (const Json& row : rows) append_row(out, cells_of(row));
  return out;
}

int top_command(const Options& options) {
  const auto data_dir = data_dir_of(options);
  catch_stop_signals();
  for (;;) {
    const auto status = ask_running_host(data_dir, {{"command", "status"}});
    if (!status) throw_no_host(data_dir);
    if (!options.once && ::isatty(STDOUT_FILENO) != 0) std::cout << "\033[H\033[2J";
    std::cout << (options.json ? status->dump(2) + "\n" : top_table(*status)) << std::flush;
    if (options.once) return kDone;
    std::this_thread::sleep_for(std::chrono::duration<double>(std::max(0.1, options.interval_s)));
    if (should_stop()) return kDone;
  }
}

}  // namespace ephor::host
