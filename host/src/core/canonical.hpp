// SPDX-License-Identifier: Apache-2.0
//
// JSON as two runs over the same events must agree on it: members in the order of their names, and
// without what is of the run and not of the events. That is said by name, by whoever writes it: a
// plugin beside the columns it declares and in the response schema of its routes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace ephor::host {

// Names of what depends on the run: positions in a journal, arrivals, paths, durations of the host.
class RunDependent {
 public:
  // Paths of member names with '/' between them; `*` stands for every member or element, `**` for
  // any number of them, `id=log` for those that have a member id of that text. "generated_at",
  // "reports/*/files", "**/first_sequence", "blocks/id=log"; "**" alone is all of it.
  explicit RunDependent(std::vector<std::string> paths = {});

  // Of `x-run-dependent` in the JSON Schema of an answer: true, or an array of paths. Empty where
  // there is none.
  static RunDependent of_schema(std::string_view json_schema);

  bool is_everything() const { return is_everything_; }
  void leave_out_of(nlohmann::json& value) const;

 private:
  std::vector<std::vector<std::string>> paths_;
  bool is_everything_ = false;
};

// One line, members sorted. Bytes that are no UTF-8 are replaced.
std::string canonical_text(const nlohmann::json& value);

}  // namespace ephor::host
