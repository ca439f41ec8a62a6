// SPDX-License-Identifier: Apache-2.0
#include "router.hpp"

#include <algorithm>
#include <functional>
#include <span>
#include <tuple>
#include <utility>

namespace ephor::http_api {

struct Router::Node {
  std::map<std::string, std::unique_ptr<Node>, std::less<>> literals;
  std::unique_ptr<Node> parameter;
  std::map<std::string, Endpoint, std::less<>> by_method;

  // Depth first, literals before parameters. `values`: what the parameters matched, in order.
  const Node* find(std::span<const std::string> segments, std::vector<std::string>& values) const {
    if (segments.empty()) return by_method.empty() ? nullptr : this;
    if (const auto literal = literals.find(segments.front()); literal != literals.end()) {
      if (const Node* found = literal->second->find(segments.subspan(1), values)) return found;
    }
    if (parameter == nullptr) return nullptr;
    values.push_back(segments.front());
    if (const Node* found = parameter->find(segments.subspan(1), values)) return found;
    values.pop_back();
    return nullptr;
  }

  void collect(std::vector<const Endpoint*>& out) const {
    for (const auto& [method, endpoint] : by_method) out.push_back(&endpoint);
    for (const auto& [name, node] : literals) node->collect(out);
    if (parameter != nullptr) parameter->collect(out);
  }
};

namespace {

bool is_parameter(std::string_view segment) {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

std::string allow_of(const std::map<std::string, Endpoint, std::less<>>& by_method) {
  std::string allow;
  for (const auto& [method, endpoint] : by_method) {
    if (!allow.empty()) allow += ", ";
    allow += method == "GET" ? "GET, HEAD" : method;
  }
  return allow + ", OPTIONS";
}

}  // namespace

Router::Router() : root_(std::make_unique<Node>()) {}
Router::Router(Router&&) noexcept = default;
Router& Router::operator=(Router&&) noexcept = default;
Router::~Router() = default;

bool Router::add(Endpoint endpoint) {
  Node* node = root_.get();
  for (const std::string& segment : split_path(endpoint.path)) {
    auto& next = is_parameter(segment) ? node->parameter : node->literals[segment];
    if (next == nullptr) next = std::make_unique<Node>();
    node = next.get();
  }
  const std::string method = endpoint.method;
  return node->by_method.emplace(method, std::move(endpoint)).second;
}

Router::Match Router::find(std::string_view method,
                           const std::vector<std::string>& segments) const {
  Match match;
  std::vector<std::string> values;
  const Node* node = root_->find(segments, values);
  if (node == nullptr) return match;
  match.allow = allow_of(node->by_method);
  const auto found = node->by_method.find(method == "HEAD" ? "GET" : method);
  if (found == node->by_method.end()) return match;
  match.endpoint = &found->second;
  std::size_t index = 0;
  for (const std::string& segment : split_path(found->second.path)) {
    if (!is_parameter(segment)) continue;
    match.parameters.emplace_back(segment.substr(1, segment.size() - 2), values[index++]);
  }
  return match;
}

std::vector<const Endpoint*> Router::endpoints() const {
  std::vector<const Endpoint*> all;
  root_->collect(all);
  std::sort(all.begin(), all.end(), [](const Endpoint* left, const Endpoint* right) {
    return std::tie(left->path, left->method) < std::tie(right->path, right->method);
  });
  return all;
}

}  // namespace ephor::http_api
