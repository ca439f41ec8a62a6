// SPDX-License-Identifier: Apache-2.0
#include "core/canonical.hpp"

#include <span>

namespace ephor::host {
namespace {

using Json = nlohmann::json;
using Path = std::span<const std::string>;

std::vector<std::string> segments_of(std::string_view path) {
  std::vector<std::string> segments;
  while (true) {
    const std::size_t end = path.find('/');
    segments.emplace_back(path.substr(0, end));
    if (end == std::string_view::npos) return segments;
    path.remove_prefix(end + 1);
  }
}

bool has_text(const Json& value, std::string_view name, std::string_view text) {
  const auto found = value.is_object() ? value.find(name) : value.end();
  return found != value.end() && found->is_string() && found->get_ref<const std::string&>() == text;
}

void leave_out(Json& value, Path path);

void leave_out_where(Json& value, std::string_view name, std::string_view text, Path rest) {
  for (auto child = value.begin(); child != value.end();) {
    if (!has_text(*child, name, text)) {
      ++child;
    } else if (rest.empty()) {
      child = value.erase(child);
    } else {
      leave_out(*child++, rest);
    }
  }
}

void leave_out(Json& value, Path path) {
  if (!value.is_structured() || path.empty()) return;
  const std::string& first = path.front();
  const Path rest = path.subspan(1);
  if (first == "**") {
    leave_out(value, rest);
    for (Json& child : value) leave_out(child, path);
  } else if (first == "*") {
    if (rest.empty()) {
      value.clear();
    } else {
      for (Json& child : value) leave_out(child, rest);
    }
  } else if (const std::size_t at = first.find('='); at != std::string::npos) {
    leave_out_where(value, std::string_view(first).substr(0, at),
                    std::string_view(first).substr(at + 1), rest);
  } else if (value.is_object()) {
    const auto found = value.find(first);
    if (found == value.end()) return;
    if (rest.empty()) {
      value.erase(found);
    } else {
      leave_out(*found, rest);
    }
  }
}

}  // namespace

RunDependent::RunDependent(std::vector<std::string> paths) {
  for (const std::string& path : paths) {
    if (path == "**")
      is_everything_ = true;
    else
      paths_.push_back(segments_of(path));
  }
}

RunDependent RunDependent::of_schema(std::string_view json_schema) {
  const Json schema = Json::parse(json_schema, nullptr, false);
  if (!schema.is_object()) return RunDependent();
  const auto found = schema.find("x-run-dependent");
  if (found == schema.end()) return RunDependent();
  if (*found == true) return RunDependent({"**"});
  std::vector<std::string> paths;
  if (found->is_array()) {
    for (const Json& path : *found) {
      if (path.is_string()) paths.push_back(path.get<std::string>());
    }
  }
  return RunDependent(std::move(paths));
}

void RunDependent::leave_out_of(Json& value) const {
  for (const std::vector<std::string>& path : paths_) leave_out(value, path);
}

std::string canonical_text(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ephor::host
