// SPDX-License-Identifier: Apache-2.0
//
// What two canonical exports (core/export.hpp) differ in. Pure: text in, figures out.
#pragma once

#include <cstddef>
#include <istream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace ephor::host {

class Export {
 public:
  // Throws HostError EPHOR_INVALID, with `name` and the line, if it is no canonical export.
  static Export read(std::istream& in, const std::string& name);
  void add_line(std::string_view line, const std::string& where);

  // By key, as canonical text; several values have one key where the key does not name them.
  using Rows = std::map<std::string, std::vector<std::string>>;
  const std::map<std::string, Rows>& sections() const { return sections_; }
  std::string name;

 private:
  std::map<std::string, Rows> sections_;
};

struct Change {
  std::string path;  // member names with '/' between them, from the row
  nlohmann::json a;
  nlohmann::json b;
};

struct RowDifference {
  enum class Kind { only_a, only_b, changed };
  Kind kind = Kind::changed;
  std::string key;  // JSON
  std::vector<Change> changes;
};

struct SectionDifference {
  std::string section;
  std::size_t rows_a = 0;
  std::size_t rows_b = 0;
  std::size_t only_a = 0;
  std::size_t only_b = 0;
  std::size_t changed = 0;
  std::vector<RowDifference> first;  // the first ones in the order of their keys
  bool is_equal() const { return only_a + only_b + changed == 0; }
};

// What became of a finding. `what`: vanished (only A has it), opened (only B), earlier or later (it
// was detected at another time), severity, closed (it ended at another time, or in one only).
struct FindingDifference {
  std::string what;
  std::string source;
  std::string kind;
  std::string target;
  nlohmann::json a;  // {severity, onset, detected, closed, summary}; null if it is not there
  nlohmann::json b;
  double moved_s = 0.0;  // of earlier and later: B's detection less A's
};

struct Difference {
  std::vector<SectionDifference> sections;  // all of them, also the equal ones, by name
  std::vector<FindingDifference> findings;
  bool is_equal() const;
};

// `rows_max`: how many rows of a section are told one by one.
Difference difference_of(const Export& a, const Export& b, std::size_t rows_max);

std::string to_text(const Difference& difference, const Export& a, const Export& b);
nlohmann::json to_json(const Difference& difference, const Export& a, const Export& b);

}  // namespace ephor::host
