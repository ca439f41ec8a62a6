// SPDX-License-Identifier: Apache-2.0
//
// Answers the few SELECTs of our plugins over the rows a fake host has committed: a select list,
// one table, optional conditions "column = ?", "column < ?" and "column >= ?" joined by AND, (? =
// '' OR column =
// ?), ORDER BY and LIMIT. No SQL engine: just enough to give back what was saved.
#pragma once

#include <algorithm>
#include <ephor/testing/fake_host.hpp>
#include <regex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ephor::testing {

inline std::vector<std::string> comma_list(const std::string& text) {
  std::vector<std::string> out;
  static const std::regex kName("[a-z_]+");
  for (std::sregex_iterator at(text.begin(), text.end(), kName), end; at != end; ++at) {
    out.push_back(at->str());
  }
  return out;
}

inline std::vector<std::vector<StoredCell>> select_rows(const FakeHost& host, std::string_view sql,
                                                        std::span<const ephor_cell> parameters) {
  const std::string text(sql);
  std::smatch parts;
  static const std::regex kShape(
      "SELECT (.*) FROM ([a-z_]+)(?: WHERE (.*?))?(?: ORDER BY ([a-z_, ]+?)( DESC)?)?( LIMIT "
      "\\?)?");
  if (!std::regex_match(text, parts, kShape)) throw Error(EPHOR_UNSUPPORTED, "test SQL: " + text);
  std::vector<StoredRow> rows = host.rows(parts[2].str());
  const std::string where = parts[3].str();
  std::size_t next = 0;
  static const std::regex kCondition("\\(\\? = '' OR ([a-z_]+) = \\?\\)|([a-z_]+) (>=|[<=]) \\?");
  for (std::sregex_iterator at(where.begin(), where.end(), kCondition), end; at != end; ++at) {
    const bool is_optional = (*at)[1].matched;
    const std::string column = is_optional ? (*at)[1].str() : (*at)[2].str();
    const StoredCell wanted = StoredCell::from(parameters[next]);
    next += is_optional ? 2 : 1;
    if (is_optional && wanted.bytes.empty()) continue;
    const std::string comparison = (*at)[3].str();
    std::erase_if(rows, [&](const StoredRow& row) {
      const StoredCell& cell = row.at(column);
      if (comparison == "<") return !(cell.integer < wanted.integer);
      if (comparison == ">=") return !(cell.integer >= wanted.integer);
      return cell.key() != wanted.key();
    });
  }
  const std::vector<std::string> order = comma_list(parts[4].str());
  const bool is_descending = parts[5].matched;
  std::stable_sort(rows.begin(), rows.end(), [&](const StoredRow& a, const StoredRow& b) {
    for (const std::string& column : order) {
      if (a.at(column).key() == b.at(column).key()) continue;
      return (a.at(column) < b.at(column)) != is_descending;
    }
    return false;
  });
  if (parts[6].matched) {
    rows.resize(std::min(rows.size(), static_cast<std::size_t>(parameters[next].integer)));
  }
  std::vector<std::vector<StoredCell>> out;
  for (const StoredRow& row : rows) {
    std::vector<StoredCell>& cells = out.emplace_back();
    for (const std::string& column : comma_list(parts[1].str())) cells.push_back(row.at(column));
  }
  return out;
}

}  // namespace ephor::testing
