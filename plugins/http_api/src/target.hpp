// SPDX-License-Identifier: Apache-2.0
//
// Request targets: percent-decoding, path segments, query-string parameters.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ephor::http_api {

using Parameters = std::vector<std::pair<std::string, std::string>>;

struct Target {
  std::vector<std::string> segments;  // decoded; "/api/x" has two; an escaped '/' stays inside one
  Parameters query;                   // decoded, in order
};

// Empty on a bad escape, a control character or a target that is no path. '+' is a blank in the
// query string only.
std::optional<Target> parse_target(std::string_view raw);
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_blank);

// "/api/traces/{id}" as its segments, undecoded.
std::vector<std::string> split_path(std::string_view path);

// The last value of a parameter, empty if absent.
std::string_view find_parameter(const Parameters& parameters, std::string_view name);

}  // namespace ephor::http_api
