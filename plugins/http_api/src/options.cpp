// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <algorithm>
#include <ephor/json.hpp>

namespace ephor::http_api {
namespace {

template <typename Value>
void read(const Json& object, std::string_view name, Value& value) {
  value = member_or<Value>(object, name, value);
}

[[noreturn]] void refuse(const std::string& pointer, const std::string& message) {
  throw Error(EPHOR_INVALID, message, pointer);
}

void require_range(std::int64_t value, std::int64_t least, std::int64_t most,
                   const std::string& name) {
  if (value >= least && value <= most) return;
  refuse("/" + name, name + ": found " + std::to_string(value) + ", expected an integer from " +
                         std::to_string(least) + " to " + std::to_string(most));
}

bool is_sha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Token token_from(const Json& entry, const std::string& pointer) {
  Token token;
  read(entry, "name", token.name);
  read(entry, "token", token.token);
  read(entry, "sha256", token.sha256);
  read(entry, "scopes", token.scopes);
  if (token.token.empty() == token.sha256.empty()) {
    refuse(pointer, "tokens: expected either \"token\" or \"sha256\"");
  }
  if (!token.token.empty() && token.token.size() < 16) {
    refuse(pointer + "/token", "tokens: found " + std::to_string(token.token.size()) +
                                   " characters, expected at least 16");
  }
  if (token.token.empty() && !is_sha256(token.sha256)) {
    refuse(pointer + "/sha256", "tokens: expected 64 lower-case hexadecimal digits");
  }
  return token;
}

WebsocketOptions websocket_from(const Json& object) {
  WebsocketOptions options;
  read(object, "clients_max", options.clients_max);
  read(object, "queue_frames", options.queue_frames);
  read(object, "queue_bytes", options.queue_bytes);
  read(object, "message_bytes_max", options.message_bytes_max);
  read(object, "ping_interval_s", options.ping_interval_s);
  read(object, "topic_events_per_s", options.topic_events_per_s);
  return options;
}

}  // namespace

bool may_write(const Token& token) {
  return std::any_of(token.scopes.begin(), token.scopes.end(),
                     [](const std::string& scope) { return scope == "write" || scope == "admin"; });
}

bool has_writer(const Options& options) {
  return std::any_of(options.tokens.begin(), options.tokens.end(), may_write);
}

Options options_from(std::string_view config_json) {
  const Json config = parse_json(config_json, "configuration of http_api");
  Options options;
  read(config, "listen", options.listen);
  read(config, "address_file", options.address_file);
  read(config, "ingest_listen", options.ingest_listen);
  read(config, "ingest_address_file", options.ingest_address_file);
  read(config, "max_body_bytes", options.max_body_bytes);
  read(config, "max_inflated_bytes", options.max_inflated_bytes);
  read(config, "ingest_threads", options.ingest_threads);
  read(config, "ingest_queue", options.ingest_queue);
  read(config, "ingest_receivers", options.ingest_receivers);
  read(config, "threads", options.threads);
  read(config, "request_queue", options.request_queue);
  read(config, "max_connections", options.max_connections);
  read(config, "max_header_bytes", options.max_header_bytes);
  read(config, "max_uri_bytes", options.max_uri_bytes);
  read(config, "max_header_fields", options.max_header_fields);
  read(config, "keep_alive_timeout_s", options.keep_alive_timeout_s);
  read(config, "request_timeout_ms", options.request_timeout_ms);
  read(config, "header_timeout_ms", options.header_timeout_ms);
  read(config, "cors_origins", options.cors_origins);
  read(config, "allowed_hosts", options.allowed_hosts);
  read(config, "correlation_id_header", options.correlation_id_header);
  if (const auto found = config.find("websocket"); found != config.end()) {
    options.websocket = websocket_from(*found);
  }
  read(config, "update_interval_s", options.update_interval_s);
  read(config, "enable_real_time_updates", options.websocket.has_watches);
  read(config, "enable_websocket_broadcast", options.websocket.has_events);
  if (const auto found = config.find("tokens"); found != config.end()) {
    for (std::size_t i = 0; i < found->size(); ++i) {
      options.tokens.push_back(token_from((*found)[i], "/tokens/" + std::to_string(i)));
    }
  }
  constexpr std::int64_t kBytesMax = 1LL << 30;
  require_range(static_cast<std::int64_t>(options.max_body_bytes), 1024, kBytesMax,
                "max_body_bytes");
  require_range(static_cast<std::int64_t>(options.max_inflated_bytes), 1024, kBytesMax,
                "max_inflated_bytes");
  require_range(options.ingest_threads, 1, 1024, "ingest_threads");
  require_range(options.ingest_queue, 0, 65536, "ingest_queue");
  require_range(options.ingest_receivers, 1, 1024, "ingest_receivers");
  require_range(options.threads, 2, 4096, "threads");
  require_range(options.request_queue, 0, 1'000'000, "request_queue");
  require_range(options.max_connections, 2, 1'000'000, "max_connections");
  require_range(static_cast<std::int64_t>(options.max_header_bytes), 1024, 1 << 20,
                "max_header_bytes");
  require_range(static_cast<std::int64_t>(options.max_uri_bytes), 256, 1 << 16, "max_uri_bytes");
  require_range(options.max_header_fields, 8, 10'000, "max_header_fields");
  require_range(options.keep_alive_timeout_s, 1, 3600, "keep_alive_timeout_s");
  require_range(options.request_timeout_ms, 10, 3'600'000, "request_timeout_ms");
  require_range(options.header_timeout_ms, 10, 3'600'000, "header_timeout_ms");
  return options;
}

}  // namespace ephor::http_api
