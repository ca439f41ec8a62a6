// SPDX-License-Identifier: Apache-2.0
#include "check/report.hpp"

#include <algorithm>
#include <cstdio>
#include <map>

#include <nlohmann/json.hpp>

namespace ephor::host::check {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kNameWidth = 40;

std::size_t count_if(const Report& report, bool (*is)(const Result&)) {
  return static_cast<std::size_t>(std::count_if(report.results.begin(), report.results.end(), is));
}

std::string dumped(const Json& value) {
  return value.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string indented(const std::string& text, const char* margin) {
  std::string out = margin;
  for (const char c : text) {
    out += c;
    if (c == '\n') out += margin;
  }
  return out;
}

std::string seconds_text(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", seconds);
  return text;
}

std::string outcome_text(const Result& result) {
  return result.suppressed_by.empty() ? std::string(name_of(result.outcome)) : "suppressed";
}

const char* colour_of(const Result& result) {
  if (!result.suppressed_by.empty()) return "\033[33m";
  if (result.is_bad()) return "\033[1;31m";
  return result.outcome == Outcome::passed ? "\033[32m" : "\033[2m";
}

// XML 1.0 has no way to write control characters: they are shown as text.
std::string xml_escaped(const std::string& given) {
  // Invalid UTF-8 becomes U+FFFD by way of JSON.
  const std::string text =
      Json::parse(Json(given).dump(-1, ' ', false, Json::error_handler_t::replace));
  std::string out;
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\n' || c == '\t')
      out += c;
    else if (code < 0x20 || code == 0x7F) {
      char shown[8];
      std::snprintf(shown, sizeof shown, "\\x%02x", code);
      out += shown;
    } else {
      out += c;
    }
  }
  return out;
}

std::string xml_test_case(const Result& result) {
  const std::string name(result.check->name);
  const std::string group(group_of(name));
  std::string out = "    <testcase classname=\"" + xml_escaped(group) + "\" name=\"" +
                    xml_escaped(name) + "\" time=\"" + seconds_text(result.seconds) + "\">\n";
  const std::string message = xml_escaped(result.message);
  if (!result.suppressed_by.empty()) {
    out += "      <skipped message=\"suppressed: " + xml_escaped(result.suppressed_by) + "\"/>\n";
  } else if (result.outcome == Outcome::skipped) {
    out += "      <skipped message=\"" + message + "\"/>\n";
  } else if (result.outcome == Outcome::failed) {
    out += "      <failure message=\"" + message + "\">" +
           xml_escaped(std::string(result.check->why)) + "</failure>\n";
  } else if (result.is_bad()) {
    out += "      <error type=\"" + std::string(name_of(result.outcome)) + "\" message=\"" +
           message + "\">" + xml_escaped(std::string(result.check->why)) + "</error>\n";
  }
  if (!result.output.empty()) {
    out += "      <system-out>" + xml_escaped(result.output) + "</system-out>\n";
  }
  return out + "    </testcase>\n";
}

std::string summary_line(const Report& report) {
  return std::to_string(report.passed()) + " passed, " + std::to_string(report.failed()) +
         " failed, " + std::to_string(report.skipped()) + " skipped, " +
         std::to_string(report.suppressed()) + " suppressed";
}

std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

}  // namespace

std::size_t Report::passed() const {
  return count_if(*this, [](const Result& one) { return one.outcome == Outcome::passed; });
}
std::size_t Report::failed() const {
  return count_if(*this,
                  [](const Result& one) { return one.is_bad() && one.suppressed_by.empty(); });
}
std::size_t Report::skipped() const {
  return count_if(*this, [](const Result& one) { return one.outcome == Outcome::skipped; });
}
std::size_t Report::suppressed() const {
  return count_if(*this, [](const Result& one) { return !one.suppressed_by.empty(); });
}

void settle_blocked(std::vector<Result>& results) {
  const auto has_failed = [&](const std::string& name) {
    return std::any_of(results.begin(), results.end(),
                       [&](const Result& one) { return one.check->name == name && one.is_bad(); });
  };
  for (Result& result : results) {
    if (result.outcome != Outcome::blocked) continue;
    const bool is_said = has_failed(result.message);
    result.outcome = is_said ? Outcome::skipped : Outcome::failed;
    result.message = (is_said ? "it needs what " : "it cannot be checked: it needs what ") +
                     result.message + " asks for";
  }
}

std::string human_text(const Report& report, bool has_colour) {
  std::string out = report.file + " (seed " + std::to_string(report.seed) + ")\n";
  std::string_view group;
  for (const Result& result : report.results) {
    const std::string_view name = result.check->name;
    if (group_of(name) != group) {
      group = group_of(name);
      out += "\n" + std::string(group) + "\n";
    }
    std::string word = outcome_text(result);
    if (result.is_bad() && result.suppressed_by.empty()) {
      std::transform(word.begin(), word.end(), word.begin(),
                     [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    }
    word = padded(word, 11);
    if (has_colour) word = colour_of(result) + word + "\033[0m";
    std::string line =
        "  " + word + padded(std::string(name), kNameWidth) + seconds_text(result.seconds) + " s";
    const bool is_short = result.outcome == Outcome::passed || result.outcome == Outcome::skipped;
    if (is_short && !result.message.empty()) line += "  " + result.message;
    out += line + "\n";
    if (!result.is_bad()) continue;
    out += indented(result.message, "             ") + "\n";
    if (!result.suppressed_by.empty()) {
      out += "             suppressed: " + result.suppressed_by + "\n";
      continue;
    }
    out += "             why: " + std::string(result.check->why) + "\n";
    if (!result.output.empty()) {
      out += "             it printed:\n" + indented(result.output, "             | ") + "\n";
    }
  }
  for (const Suppression& one : report.unused) {
    out += "\nunused suppression: " + one.check + " of " + one.plugin + " (" + one.reason + ")\n";
  }
  return out + "\n" + summary_line(report) + "\n";
}

std::string json_text(const Report& report) {
  Json results = Json::array();
  for (const Result& one : report.results) {
    Json entry{{"check", one.check->name}, {"summary", one.check->summary},
               {"why", one.check->why},    {"outcome", outcome_text(one)},
               {"message", one.message},   {"output", one.output},
               {"seconds", one.seconds}};
    if (!one.suppressed_by.empty()) {
      entry["suppressed_by"] = one.suppressed_by;
      entry["suppressed_outcome"] = name_of(one.outcome);
    }
    results.push_back(std::move(entry));
  }
  Json unused = Json::array();
  for (const Suppression& one : report.unused) {
    unused.push_back({{"check", one.check}, {"plugin", one.plugin}, {"reason", one.reason}});
  }
  return dumped({{"file", report.file},
                 {"plugin", report.plugin},
                 {"seed", report.seed},
                 {"seconds", report.seconds},
                 {"passed", report.passed()},
                 {"failed", report.failed()},
                 {"skipped", report.skipped()},
                 {"suppressed", report.suppressed()},
                 {"results", results},
                 {"unused_suppressions", unused}}) +
         "\n";
}

std::string junit_text(const Report& report) {
  // In the order in which the groups first appear.
  std::vector<std::string_view> groups;
  for (const Result& one : report.results) {
    const std::string_view group = group_of(one.check->name);
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"" +
                    xml_escaped(report.plugin) + "\" time=\"" + seconds_text(report.seconds) +
                    "\">\n";
  for (const std::string_view group : groups) {
    std::string cases;
    std::size_t tests = 0;
    std::size_t failures = 0;
    std::size_t errors = 0;
    std::size_t skipped = 0;
    double seconds = 0.0;
    for (const Result& one : report.results) {
      if (group_of(one.check->name) != group) continue;
      ++tests;
      seconds += one.seconds;
      if (!one.suppressed_by.empty() || one.outcome == Outcome::skipped)
        ++skipped;
      else if (one.outcome == Outcome::failed)
        ++failures;
      else if (one.is_bad())
        ++errors;
      cases += xml_test_case(one);
    }
    out += "  <testsuite name=\"" + xml_escaped(report.plugin + "." + std::string(group)) +
           "\" tests=\"" + std::to_string(tests) + "\" failures=\"" + std::to_string(failures) +
           "\" errors=\"" + std::to_string(errors) + "\" skipped=\"" + std::to_string(skipped) +
           "\" time=\"" + seconds_text(seconds) + "\">\n" + cases + "  </testsuite>\n";
  }
  return out + "</testsuites>\n";
}

std::string list_text(const std::vector<const Check*>& checks, std::string_view format) {
  if (format == "json") {
    Json out = Json::array();
    for (const Check* check : checks) {
      out.push_back({{"check", check->name}, {"summary", check->summary}, {"why", check->why}});
    }
    return dumped(out) + "\n";
  }
  std::string out;
  std::string_view group;
  for (const Check* check : checks) {
    if (format == "markdown") {
      if (group_of(check->name) != group) {
        group = group_of(check->name);
        out += (out.empty() ? "### " : "\n### ") + std::string(group) +
               "\n\n| check | a plugin that passes | why |\n|---|---|---|\n";
      }
      out += "| `" + std::string(check->name) + "` | " + std::string(check->summary) + " | " +
             std::string(check->why) + " |\n";
    } else {
      out += padded(std::string(check->name), kNameWidth) + std::string(check->summary) + "\n";
    }
  }
  return out;
}

}  // namespace ephor::host::check
