// SPDX-License-Identifier: Apache-2.0
#include "access.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <ephor/plugin.hpp>

namespace ephor::http_api {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& character : out) {
    if (character >= 'A' && character <= 'Z') character = static_cast<char>(character + 32);
  }
  return out;
}

// "[::1]:80" -> "[::1]", "localhost:80" -> "localhost".
std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

// Takes the same time whatever the texts hold, so an answer's delay tells nothing.
bool equals_in_constant_time(std::string_view left, std::string_view right) {
  if (left.size() != right.size()) return false;
  unsigned char difference = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    difference = static_cast<unsigned char>(difference | (left[i] ^ right[i]));
  }
  return difference == 0;
}

}  // namespace

std::string sha256_hex(std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha256(), nullptr) != 1) {
    throw Error(EPHOR_INTERNAL, "SHA-256 is not available");
  }
  std::string out;
  for (unsigned i = 0; i < size; ++i) {
    out += "0123456789abcdef"[digest[i] >> 4U];
    out += "0123456789abcdef"[digest[i] & 15U];
  }
  return out;
}

std::string_view bearer_of(std::string_view authorization) {
  const std::size_t blank = authorization.find(' ');
  if (blank == std::string_view::npos) return {};
  const std::string scheme = lower(authorization.substr(0, blank));
  if (scheme != "bearer" && scheme != "token") return {};
  authorization.remove_prefix(blank + 1);
  const std::size_t first = authorization.find_first_not_of(' ');
  return first == std::string_view::npos ? std::string_view() : authorization.substr(first);
}

// On the listener for ingest only tokens that may write count: where none is, loopback is open.
Access::Access(const Options& options, bool is_loopback, Entrance entrance)
    : cors_origins_(options.cors_origins) {
  for (const Token& token : options.tokens) {
    if (entrance == Entrance::ingest && !may_write(token)) continue;
    tokens_.push_back(
        {token.name, token.sha256.empty() ? sha256_hex(token.token) : token.sha256, token.scopes});
  }
  for (const std::string& host : options.allowed_hosts) hosts_.push_back(lower(host));
  if (is_loopback) hosts_.insert(hosts_.end(), {"localhost", "127.0.0.1", "[::1]"});
}

Access::Verdict Access::check(std::string_view bearer, std::string_view scope) const {
  if (scope.empty() || is_open()) return {true, true, {}};
  if (bearer.empty()) return {};
  const std::string digest = sha256_hex(bearer);
  for (const Entry& entry : tokens_) {
    if (!equals_in_constant_time(entry.sha256, digest)) continue;
    const auto has = [&entry](std::string_view wanted) {
      return std::find(entry.scopes.begin(), entry.scopes.end(), wanted) != entry.scopes.end();
    };
    return {true, has(scope) || has("admin"), entry.name};
  }
  return {};
}

bool Access::is_host_allowed(std::string_view host_header) const {
  if (hosts_.empty()) return true;
  const std::string whole = lower(host_header);
  const std::string_view name = without_port(whole);
  return std::any_of(hosts_.begin(), hosts_.end(), [&](const std::string& allowed) {
    return allowed == name || allowed == whole;
  });
}

bool Access::is_same_origin(std::string_view origin, std::string_view host_header) const {
  const std::size_t scheme = origin.find("://");
  if (scheme == std::string_view::npos) return false;
  return lower(origin.substr(scheme + 3)) == lower(host_header);
}

bool Access::is_cors_origin(std::string_view origin) const {
  return std::any_of(cors_origins_.begin(), cors_origins_.end(), [&](const std::string& allowed) {
    return allowed == "*" || allowed == origin;
  });
}

}  // namespace ephor::http_api
