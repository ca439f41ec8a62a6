// SPDX-License-Identifier: Apache-2.0
#include "core/diff.hpp"

#include <ephor/abi.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "core/canonical.hpp"
#include "event/error.hpp"
#include "event/times.hpp"

namespace ephor::host {
namespace {

using Json = nlohmann::json;
using Values = std::vector<std::string>;

constexpr std::size_t kShownMax = 120;
constexpr std::size_t kChangesMax = 20;  // of one row

// ---- rows -------------------------------------------------------------------------------------

void compare(const Json& a, const Json& b, const std::string& path, std::vector<Change>& out) {
  if (a == b) return;
  const auto below = [&](const std::string& name) {
    return path.empty() ? name : path + "/" + name;
  };
  if (a.is_object() && b.is_object()) {
    for (const auto& [name, value] : a.items()) {
      compare(value, b.contains(name) ? b[name] : Json(), below(name), out);
    }
    for (const auto& [name, value] : b.items()) {
      if (!a.contains(name)) out.push_back({below(name), Json(), value});
    }
  } else if (a.is_array() && b.is_array() && a.size() == b.size()) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      compare(a[i], b[i], below(std::to_string(i)), out);
    }
  } else {
    out.push_back({path, a, b});
  }
}

// Values of one key that both have are taken out of both.
void leave_out_common(Values& a, Values& b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  Values only_a;
  Values only_b;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(only_a));
  std::set_difference(b.begin(), b.end(), a.begin(), a.end(), std::back_inserter(only_b));
  a = std::move(only_a);
  b = std::move(only_b);
}

class SectionComparison {
 public:
  SectionComparison(std::string name, std::size_t rows_max) : rows_max_(rows_max) {
    out_.section = std::move(name);
  }

  SectionDifference run(const Export::Rows& a, const Export::Rows& b) {
    auto left = a.begin();
    auto right = b.begin();
    while (left != a.end() || right != b.end()) {
      if (right == b.end() || (left != a.end() && left->first < right->first)) {
        add(left->first, left->second, {});
        ++left;
      } else if (left == a.end() || right->first < left->first) {
        add(right->first, {}, right->second);
        ++right;
      } else {
        add(left->first, left->second, right->second);
        ++left;
        ++right;
      }
    }
    return std::move(out_);
  }

 private:
  void add(const std::string& key, const Values& given_a, const Values& given_b) {
    out_.rows_a += given_a.size();
    out_.rows_b += given_b.size();
    if (given_a == given_b) return;
    Values a = given_a;
    Values b = given_b;
    leave_out_common(a, b);
    const std::size_t pairs = std::min(a.size(), b.size());
    out_.changed += pairs;
    out_.only_a += a.size() - pairs;
    out_.only_b += b.size() - pairs;
    for (std::size_t i = 0; i < pairs; ++i) {
      if (RowDifference* row = tell(RowDifference::Kind::changed, key)) {
        compare(Json::parse(a[i]), Json::parse(b[i]), "", row->changes);
      }
    }
    for (std::size_t i = pairs; i < a.size(); ++i) tell(RowDifference::Kind::only_a, key);
    for (std::size_t i = pairs; i < b.size(); ++i) tell(RowDifference::Kind::only_b, key);
  }

  RowDifference* tell(RowDifference::Kind kind, const std::string& key) {
    if (out_.first.size() >= rows_max_) return nullptr;
    return &out_.first.emplace_back(RowDifference{kind, key, {}});
  }

  const std::size_t rows_max_;
  SectionDifference out_;
};

// ---- findings ---------------------------------------------------------------------------------

struct FindingStory {
  std::string source, kind, target;
  Json facts;  // {severity, onset, detected, closed, summary}
  std::int64_t detected_ns = 0;
};
// By (source, kind, target), in order of detection.
using Stories = std::map<std::string, std::vector<FindingStory>>;

std::string text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Stories stories_of(const Export& from) {
  std::map<std::string, FindingStory> by_id;
  const auto derived = from.sections().find("derived");
  if (derived == from.sections().end()) return {};
  for (const auto& [key_text, values] : derived->second) {
    const Json key = Json::parse(key_text);
    for (const std::string& value_text : values) {
      const Json data = Json::parse(value_text).value("data", Json());
      if (!data.is_object() || !data.contains("finding_id") || !data.contains("onset")) continue;
      // Alerts repeat the finding they were made of.
      if (!data.contains("detected")) continue;
      FindingStory& story = by_id[key[0].get<std::string>() + " " + text_of(data, "finding_id")];
      // It is told twice: when it opens and when it closes.
      if (!story.facts.is_null() && data.value("closed", Json()).is_null()) continue;
      story.source = key[0];
      story.kind = text_of(data, "kind");
      story.target = text_of(data, "target");
      story.facts = Json::object();
      for (const char* name : {"severity", "onset", "detected", "closed", "summary"}) {
        story.facts[name] = data.value(name, Json());
      }
      const auto detected = parse_time(text_of(data, "detected"));
      story.detected_ns = detected ? detected->ns : 0;
    }
  }
  Stories out;
  for (auto& [id, story] : by_id) {
    out[story.source + " " + story.kind + " " + story.target].push_back(std::move(story));
  }
  for (auto& [name, stories] : out) {
    std::stable_sort(stories.begin(), stories.end(),
                     [](const FindingStory& left, const FindingStory& right) {
                       return left.detected_ns < right.detected_ns;
                     });
  }
  return out;
}

void compare_pair(const FindingStory& a, const FindingStory& b,
                  std::vector<FindingDifference>& out) {
  FindingDifference base{"", a.source, a.kind, a.target, a.facts, b.facts, 0.0};
  const auto tell = [&](const char* what) { out.emplace_back(base).what = what; };
  if (a.detected_ns != b.detected_ns) {
    base.moved_s = static_cast<double>(b.detected_ns - a.detected_ns) * 1e-9;
    tell(base.moved_s < 0.0 ? "earlier" : "later");
  }
  if (a.facts["severity"] != b.facts["severity"]) tell("severity");
  if (a.facts["closed"] != b.facts["closed"]) tell("closed");
}

// Of one kind and target: first those with the same onset are pairs, then what is left is paired in
// order of detection.
void compare_stories(std::vector<FindingStory> a, std::vector<FindingStory> b,
                     std::vector<FindingDifference>& out) {
  const auto take_pair = [&](std::size_t i, std::size_t k) {
    compare_pair(a[i], b[k], out);
    a.erase(a.begin() + static_cast<std::ptrdiff_t>(i));
    b.erase(b.begin() + static_cast<std::ptrdiff_t>(k));
  };
  for (std::size_t i = 0; i < a.size();) {
    const auto same = std::find_if(b.begin(), b.end(), [&](const FindingStory& one) {
      return one.facts["onset"] == a[i].facts["onset"];
    });
    if (same == b.end())
      ++i;
    else
      take_pair(i, static_cast<std::size_t>(same - b.begin()));
  }
  while (!a.empty() && !b.empty()) take_pair(0, 0);
  for (const FindingStory& one : a) {
    out.push_back({"vanished", one.source, one.kind, one.target, one.facts, Json(), 0.0});
  }
  for (const FindingStory& one : b) {
    out.push_back({"opened", one.source, one.kind, one.target, Json(), one.facts, 0.0});
  }
}

std::vector<FindingDifference> findings_difference(const Export& a, const Export& b) {
  Stories left = stories_of(a);
  Stories right = stories_of(b);
  for (const auto& [name, unused] : right) left.try_emplace(name);
  std::vector<FindingDifference> out;
  for (auto& [name, stories] : left) {
    compare_stories(std::move(stories), std::move(right[name]), out);
  }
  return out;
}

// ---- showing ----------------------------------------------------------------------------------

std::string shown(const Json& value) {
  std::string text = canonical_text(value);
  if (text.size() > kShownMax) text = text.substr(0, kShownMax) + "...";
  return text;
}

const char* name_of(RowDifference::Kind kind) {
  if (kind == RowDifference::Kind::only_a) return "only_a";
  return kind == RowDifference::Kind::only_b ? "only_b" : "changed";
}

std::string duration_text(double seconds) {
  char text[64];
  std::snprintf(text, sizeof text, "%.0f s", std::abs(seconds));
  return text;
}

std::string line_of(const FindingDifference& one) {
  std::string out = "  " + one.what + ": " + one.source + " " + one.kind + " " + one.target + ": ";
  const auto at = [](const Json& facts, const char* name) {
    const Json value = facts.value(name, Json());
    return value.is_string() ? value.get<std::string>() : std::string("never");
  };
  if (one.what == "vanished" || one.what == "opened") {
    const Json& facts = one.what == "vanished" ? one.a : one.b;
    out += at(facts, "severity") + ", onset " + at(facts, "onset") + ", detected " +
           at(facts, "detected") + ": " + at(facts, "summary");
  } else if (one.what == "earlier" || one.what == "later") {
    out += "detected " + at(one.a, "detected") + " -> " + at(one.b, "detected") + ", " +
           duration_text(one.moved_s) + " " + one.what;
  } else {
    out += at(one.a, one.what.c_str()) + " -> " + at(one.b, one.what.c_str());
  }
  return out + "\n";
}

}  // namespace

void Export::add_line(std::string_view line, const std::string& where) {
  const Json parsed = Json::parse(line, nullptr, false);
  const bool is_good = parsed.is_object() && parsed.contains("section") &&
                       parsed["section"].is_string() && parsed.contains("key") &&
                       parsed["key"].is_array() && parsed.contains("value");
  if (!is_good) {
    throw HostError(EPHOR_INVALID, where + ": found " + std::string(line.substr(0, kShownMax)) +
                                       ", expected a line of `ephor export --canonical`");
  }
  sections_[parsed["section"]][canonical_text(parsed["key"])].push_back(
      canonical_text(parsed["value"]));
}

Export Export::read(std::istream& in, const std::string& name) {
  Export out;
  out.name = name;
  std::size_t number = 0;
  for (std::string line; std::getline(in, line);) {
    out.add_line(line, name + ":" + std::to_string(++number));
  }
  if (!out.sections_.contains("ephor export")) {
    throw HostError(EPHOR_INVALID, name +
                                       ": found no export, expected the output of `ephor export"
                                       " --canonical` or a data directory");
  }
  return out;
}

bool Difference::is_equal() const {
  return std::all_of(sections.begin(), sections.end(),
                     [](const SectionDifference& section) { return section.is_equal(); });
}

Difference difference_of(const Export& a, const Export& b, std::size_t rows_max) {
  static const Export::Rows kNone;
  Difference out;
  std::map<std::string, std::pair<const Export::Rows*, const Export::Rows*>> sections;
  for (const auto& [name, rows] : a.sections()) sections[name] = {&rows, &kNone};
  for (const auto& [name, rows] : b.sections()) {
    sections.try_emplace(name, &kNone, nullptr).first->second.second = &rows;
  }
  for (const auto& [name, rows] : sections) {
    out.sections.push_back(SectionComparison(name, rows_max).run(*rows.first, *rows.second));
  }
  out.findings = findings_difference(a, b);
  return out;
}

std::string to_text(const Difference& difference, const Export& a, const Export& b) {
  std::string out = "A: " + a.name + "\nB: " + b.name + "\n";
  if (!difference.findings.empty()) out += "findings:\n";
  for (const FindingDifference& one : difference.findings) out += line_of(one);
  std::size_t equal = 0;
  for (const SectionDifference& section : difference.sections) {
    if (section.is_equal()) {
      ++equal;
      continue;
    }
    out += section.section + ": " + std::to_string(section.rows_a) + " in A, " +
           std::to_string(section.rows_b) + " in B; " + std::to_string(section.only_a) +
           " only in A, " + std::to_string(section.only_b) + " only in B, " +
           std::to_string(section.changed) + " changed\n";
    for (const RowDifference& row : section.first) {
      const char* sign = row.kind == RowDifference::Kind::only_a   ? "  A only "
                         : row.kind == RowDifference::Kind::only_b ? "  B only "
                                                                   : "  ";
      out += sign + row.key + "\n";
      for (std::size_t i = 0; i < row.changes.size() && i < kChangesMax; ++i) {
        const Change& change = row.changes[i];
        out += "    " + (change.path.empty() ? "" : change.path + ": ") + shown(change.a) + " -> " +
               shown(change.b) + "\n";
      }
      if (row.changes.size() > kChangesMax) {
        out += "    and " + std::to_string(row.changes.size() - kChangesMax) + " more\n";
      }
    }
    const std::size_t told = section.first.size();
    const std::size_t all = section.only_a + section.only_b + section.changed;
    if (told < all) out += "  and " + std::to_string(all - told) + " more\n";
  }
  out += std::to_string(equal) + " of " + std::to_string(difference.sections.size()) +
         " sections are equal\n";
  return out;
}

Json to_json(const Difference& difference, const Export& a, const Export& b) {
  Json out{{"a", a.name}, {"b", b.name}, {"equal", difference.is_equal()}};
  out["findings"] = Json::array();
  for (const FindingDifference& one : difference.findings) {
    out["findings"].push_back({{"what", one.what},
                               {"source", one.source},
                               {"kind", one.kind},
                               {"target", one.target},
                               {"a", one.a},
                               {"b", one.b},
                               {"moved_s", one.moved_s}});
  }
  out["sections"] = Json::array();
  for (const SectionDifference& section : difference.sections) {
    Json rows = Json::array();
    for (const RowDifference& row : section.first) {
      Json changes = Json::array();
      for (const Change& change : row.changes) {
        changes.push_back({{"path", change.path}, {"a", change.a}, {"b", change.b}});
      }
      rows.push_back({{"what", name_of(row.kind)},
                      {"key", Json::parse(row.key)},
                      {"changes", std::move(changes)}});
    }
    out["sections"].push_back({{"section", section.section},
                               {"rows_a", section.rows_a},
                               {"rows_b", section.rows_b},
                               {"only_a", section.only_a},
                               {"only_b", section.only_b},
                               {"changed", section.changed},
                               {"rows", std::move(rows)}});
  }
  return out;
}

}  // namespace ephor::host
