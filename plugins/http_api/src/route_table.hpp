// SPDX-License-Identifier: Apache-2.0
//
// The routes of this moment: the plugin's own and those of the registry, rebuilt when the
// registry's generation changes; and the figures of each.
#pragma once

#include <array>
#include <cstdint>
#include <ephor/plugin.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "router.hpp"

namespace ephor::http_api {

std::vector<Endpoint> builtin_endpoints();

class RouteTable {
 public:
  explicit RouteTable(const Host& host);

  // [any] Lives as long as the caller holds it.
  std::shared_ptr<const Router> current();

 private:
  Router build() const;

  const Host& host_;
  const ephor_http* http_;
  std::mutex mutex_;  // guards router_, generation_
  std::shared_ptr<const Router> router_;
  std::uint64_t generation_ = 0;
};

// Requests and their latency, by route template and status class.
class RequestMetrics {
 public:
  explicit RequestMetrics(const Host& host) : host_(host) {}

  // [any] `route`: the template, or a fixed word; never what the client wrote.
  void count(std::string_view method, std::string_view route, int status, double seconds);

 private:
  struct Figures {
    std::array<Series, 6> by_class;  // [1] is 1xx
    Series seconds_sum;
    Series seconds_count;
  };
  Figures& of(std::string_view method, std::string_view route);

  const Host& host_;
  std::mutex mutex_;  // guards figures_, whose entries stay where they are
  std::map<std::string, std::unique_ptr<Figures>, std::less<>> figures_;
};

}  // namespace ephor::http_api
