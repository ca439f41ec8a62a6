// SPDX-License-Identifier: Apache-2.0
//
// Who may ask: bearer tokens, the Host header (DNS rebinding), the Origin header (other sites).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "connection.hpp"
#include "options.hpp"

namespace ephor::http_api {

class Access {
 public:
  Access(const Options& options, bool is_loopback, Entrance entrance = Entrance::main);

  // True if anybody may do everything: a loopback address and no token.
  bool is_open() const { return tokens_.empty(); }

  struct Verdict {
    bool is_known = false;    // the token is one of ours, or none is needed
    bool is_allowed = false;  // and it has the scope
    std::string_view name;    // of the token
  };
  // `bearer`: the token as presented, empty if none. An empty scope is open to everyone.
  Verdict check(std::string_view bearer, std::string_view scope) const;

  // A page of another name that resolves to loopback must not reach us.
  bool is_host_allowed(std::string_view host_header) const;

  bool is_same_origin(std::string_view origin, std::string_view host_header) const;
  bool is_cors_origin(std::string_view origin) const;

 private:
  struct Entry {
    std::string name;
    std::string sha256;
    std::vector<std::string> scopes;
  };
  std::vector<Entry> tokens_;
  std::vector<std::string> cors_origins_;
  std::vector<std::string> hosts_;  // empty: every host
};

// "Bearer TOKEN", or "Token TOKEN" as InfluxDB's clients say -> TOKEN; empty if it is another
// scheme.
std::string_view bearer_of(std::string_view authorization);
std::string sha256_hex(std::string_view text);

}  // namespace ephor::http_api
